"""Every sentence of a record is known: by its template, which stands in the code word for word, and by what is made."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from repurchase.evaluation.drift import unknown_drift
from repurchase.features.behaviour import behaviour_table
from repurchase.features.ledger import Closing, build_ledger
from repurchase.i18n.catalogues import LOCALES, load_catalogue, use_locale
from repurchase.jobs import monitor, score
from repurchase.models.model import model_notes
from repurchase.orders.cleaning_rules import REASONS
from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import clean_orders
from repurchase.report import charts
from repurchase.report.page import build_report
from repurchase.report.record_texts import (
    CLAUSE_PARAMS,
    MESSAGE_PARAMS,
    param_kind,
    rerender_sentence,
    sentence_templates,
    translate_sentence,
)
from repurchase.settings import Settings
from repurchase.storage.run_records import read_monitor_record, read_run_record

OTHERS = [name for name in LOCALES if name != "en"]
SAMPLES = {
    "number": "1234.5",
    "percent": "12.3 %",
    "money": "1,234 NOK",
    "date": "2024-12-31",
    "range": "+1.2 % to +3 %",
    "explained": "nothing",
    "size": "4.7 % lower",
    "rule": "days since the last order",
    "mark": "B",
    "delimiter": "semicolon",
    "lines": "3 lines were",
    "of_customers": "400 customers",
    "of_cutoffs": "3 cut-offs",
    "numbers": "3, 17, 2,001 and 4 more",
    "features": "frequency (PSI 0.34), rate (PSI 0.30) and 3 more",
    "statuses": "paid (12 rows), sent (1 row)",
    "names": "a, b and 3 more",
    "name": "orders.csv",
    "relation": "same brand",
    "days": "90 days",
    "customers": "2 customers",
    "buyers": "1 buyer",
    "cutoffs": "1 cut-off",
    "rows": "1,234 rows",
    "orders": "2 orders",
}


def plainly(text: str) -> str:
    """As it is, whatever blanks and commas stand in its numbers."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.replace("\u202f", " ")).replace(", and ", " and ")
    text = re.sub(r"\b1 (customer|buyer|row|order|cut-off|day)s\b", r"1 \1", text)
    return re.sub(r"(?<=\d)%", " %", text)


def assert_known(sentences: list[str]) -> None:
    """Each is recognised, and English says it again as it was."""
    assert sentences
    for sentence in sentences:
        again = rerender_sentence(sentence)
        assert again is not None, f"no template for: {sentence}"
        assert plainly(again) == plainly(sentence)


def sample(key: str, text: str, seen: tuple[str, ...] = ()) -> str:
    """A sentence of a template, every gap filled."""
    return re.sub(r"\{(\w+)\}", lambda gap: _gap(param_kind(gap[1])), text)


def _gap(kind: str) -> str:
    if kind in MESSAGE_PARAMS:
        return SAMPLES[kind]
    clauses = [
        sample(one.key, str(load_catalogue("en").messages[one.key]))
        for one in sentence_templates(f"record.{CLAUSE_PARAMS[kind].group}")
    ]
    return CLAUSE_PARAMS[kind].separator.join(clauses[:2] if CLAUSE_PARAMS[kind].separator else clauses[:1])


def all_templates() -> list[str]:
    return [
        one.key for part in ("record", "lists") for one in sentence_templates(part) if "lists.column" not in one.key
    ]


def part_of(key: str) -> str:
    return "record" if key.startswith("record.") else key.rpartition(".")[0]


def test_a_template_that_is_filled_in_is_recognised_and_said_again() -> None:
    for key in all_templates():
        text = str(load_catalogue("en").messages[key])
        sentence = sample(key, text)
        assert plainly(rerender_sentence(sentence, within=part_of(key)) or "") == plainly(sentence), key
        first = next(one for one in sentence_templates(part_of(key)) if one.pattern.fullmatch(sentence))
        assert str(load_catalogue("en").messages[first.key]) == text, f"{key} is taken for {first.key}"


@pytest.mark.parametrize("locale", OTHERS)
def test_every_language_says_it_with_the_same_figures(locale: str) -> None:
    english = {"the", "and", "with", "than", "are", "were", "bought", "orders", "customers", "days"}
    for key in all_templates():
        sentence = sample(key, str(load_catalogue("en").messages[key])).replace("90d before", "before")
        with use_locale(locale):
            told = translate_sentence(sentence.replace("bought before", "bought 90d before"), within=part_of(key))
        assert told, key
        assert not re.search(r"[{}]", told), told
        assert not set(re.findall(r"[a-z]+", re.sub(r"`[^`]+`|orders\.csv", "", told.lower()))) & english, told
        digits = [number.replace(",", "") for number in re.findall(r"\d[\d,]*", sentence)]
        left = re.sub(r"\D", "", told)
        assert all(number in left or date_like(number, sentence) for number in digits), (sentence, told)


def date_like(number: str, sentence: str) -> bool:
    """Months are written out."""
    return f"-{number}-" in sentence


def test_every_kind_of_gap_has_a_sample() -> None:
    assert set(SAMPLES) == set(MESSAGE_PARAMS)


@cache
def code() -> str:
    """Every text of the code, gaps as {}, one a line."""
    root = Path(str(files("repurchase")))
    found = []
    for path in sorted(root.rglob("*.py")):
        if "report" not in path.parts[-2:] or path.name == "reading.py":
            found += list(_texts(ast.parse(path.read_text(encoding="utf-8"))))
    found.append(root.joinpath("marketing", "benchmarks.toml").read_text(encoding="utf-8"))
    return "\n".join(found)


def _texts(tree: ast.AST) -> Iterator[str]:
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if id(node) in explained:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


MADE_OF_WORDS = {
    "record.intake.seconds": ("seconds", "since 1970, read as clock time in"),
    "record.intake.milliseconds": ("milliseconds", "since 1970, read as clock time in"),
    "record.intake.day_first": ("Dates are read", "first, as the column shows."),
    "record.intake.month_first": ("Dates are read", "first, as the column shows."),
    "record.intake.day_first_files": ("Dates are read", "first, as other files show."),
    "record.intake.month_first_files": ("Dates are read", "first, as other files show."),
    "record.model.sample": (
        "curves, boosting, ranges and this judgement come from",
        "customers, drawn by a hash of their ids",
        "purchases and money a purchase (MBG/NBD, BG/NBD, Gamma-Gamma) from all",
    ),
    "record.grade.ahead": ("The model", "its probabilities are off by", "on average,", "beyond chance"),
    "record.train.drifted": ("have drifted from", "the orders up to", "that the model learned from"),
}
"""Templates whose words the code puts together from smaller ones."""
SMALL = (
    *("record.feature.", "record.reason.buyers_total", "record.reason.spend_total"),
    *("lists.column.", "lists.repair.no_", "lists.repair.bad_"),
)


def test_the_words_of_every_template_stand_in_the_code() -> None:
    for key in all_templates():
        if not key.startswith((*SMALL, "lists.flag.")):
            missing = words_missing(key)
            assert not missing, f"{key} holds what no sentence of the code says: {missing}"


def words_missing(key: str) -> list[str]:
    text = str(load_catalogue("en").messages[key])
    # What is put in: "3 cut-offs", "A", "bought", "more", "lower" are made apart from the sentence.
    words = r"\{\w+\}|\b(?:more|less|bought|did not buy|A|B|C|D|Spend|The number of buyers)\b|BTYD: "
    words += "|(?=the orders up to)|(?<=learned from)"
    parts = MADE_OF_WORDS.get(key) or [part.strip(" .:;,()'") for part in re.split(words, text)]
    return [part for part in parts if len(part) > 4 and part not in code()]


CSV = "customer_id,order_id,order_date,amount\n"
LOGS = {
    "blanks": "customer order_date amount\n7 2024-01-31 10\n8 2024-02-01 12\n",
    "semicolons, comma": "customer_id;order_id;order_date;amount\n1;a;31.01.2024;10,50\n2;b;01.02.2024;9,25\n",
    "tabs": "customer_id\torder_id\torder_date\tamount\n1\ta\t2024-01-31\t10\n",
    "bars": "customer_id|order_id|order_date|amount\n1|a|2024-01-31|10\n",
    "day first": f"{CSV}1,a,31/01/2024,10\n2,b,01/02/2024,9\n",
    "month first": f"{CSV}1,a,01/31/2024,10\n2,b,02/01/2024,9\n",
    "spreadsheet": f"{CSV}1,a,45292,10\n2,b,45300,9\n",
    "seconds": f"{CSV}1,a,1704067200,10\n2,b,1704167200,9\n",
    "milliseconds": f"{CSV}1,a,1704067200000,10\n2,b,1704167200000,9\n",
    "offsets": f"{CSV}1,a,2024-01-31T10:00:00+01:00,10\n2,b,2024-02-01T10:00:00+02:00,9\n",
    "no money": "customer_id,order_date\n1,2024-01-31\n2,2024-02-01\n",
    "empty money": "customer_id,order_date,amount\n1,2024-01-31,\n2,2024-02-01,\n",
    "returns without money": "customer_id,order_id,order_date,status\n1,a,2024-01-31,paid\n2,b,2024-02-01,cancelled\n",
    "equal rows": "customer_id,order_date,amount\n1,2024-01-31,10\n1,2024-01-31,10\n2,2024-02-01,12\n",
    "shopify": (
        "Name,Email,Financial Status,Created at,Total,Refunded Amount,Lineitem quantity,Lineitem price,Employee\n"
        "#1,a@x.no,paid,2024-01-31 10:00:00,20,5,1,10,Kim\n#1,a@x.no,,2024-01-31 10:00:00,,,1,10,\n"
        "#1,a@x.no,,2024-01-31 10:00:00,,,1,10,\n#2,b@x.no,paid,2024-02-01 10:00:00,10,0,1,10,\n"
    ),
    "uci": (
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
        "1,A,Tea,1,2011-01-31 10:00,10,7,UK\nC2,A,Tea,-1,2011-02-01 10:00,10,7,UK\n3,A,Tea,1,2011-02-02 10:00,10,8,UK\n"
    ),
    "every fault": (
        f"{CSV},a,2024-01-31,10\n1,b,never,10\n1,c,2199-01-31,10\n1,d,2024-01-31,ten\n1,e,2024-01-31,10\n"
        "1,e,2024-01-31,10\n2,f,2024-01-31,-4\n2,g,2024-02-03,10\n3,h,2024-02-03,0\n3,i,2024-02-04,5\n"
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_what_cleaning_says(name: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(LOGS[name], encoding="utf-8")
    report = clean_orders(read_orders(str(path))).report
    said = [*report.notes, *(reason.words for reason in report.reasons)]
    assert_known(said if name != "every fault" else [*said, *REASONS.values()])


def test_what_reading_says(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "a.csv").write_text(f"{CSV}1,a,2024-01-31,10\n1,a,2024-01-31,10,11,12\n2,b,2024-01-31,10\n")
    (folder / "b.csv").write_bytes(f"{CSV}Åse,c,2024-01-31,10\n".encode("latin-1"))
    (folder / "c.csv").write_text(f"{CSV}1,d,2024-02-31")
    (folder / "notes.md").write_text("mine")
    lists = pl.DataFrame({"customer_id": ["1"], "order_id": ["e"], "order_date": ["2024-01-31"], "amount": [1.0]})
    lists.with_columns(lines=pl.Series([["x"]])).write_parquet(folder / "d.parquet")
    log = read_orders(str(folder), settings=Settings(on_bad_file="set_aside"))
    assert len(log.notes) >= 4
    assert_known(list(log.notes))


def test_what_the_model_says() -> None:
    btyd = SimpleNamespace(note="a, b held to usual values by a weak prior: these customers hardly tell them")
    money = SimpleNamespace(fallback_mean=12.0)
    forecaster: Any = SimpleNamespace(horizon_models={30: 1}, reference=SimpleNamespace(btyd=btyd), gamma_gamma=money)
    explained: Any = SimpleNamespace(explained=0.41)
    said = list(model_notes(forecaster, (30, 365), explained, Closing(19_000, 19_059)))
    forecaster.gamma_gamma = None
    said += model_notes(forecaster, (30, 365), explained, None)
    said += score._age_note(date(2024, 1, 1), date(2024, 6, 30))
    assert len(said) == 10
    assert_known(said)


def test_every_feature_has_a_name(simulate_orders: Any) -> None:
    orders = simulate_orders(customers=40, days=200).with_columns(
        quantity=pl.lit(2.0), discount=pl.lit(1.0), product_id=pl.lit("a")
    )
    book = build_ledger(orders, observed_until=date(2024, 12, 31))
    features = behaviour_table(book.history(date(2024, 12, 31))).columns
    assert len(features) > 50
    for locale in OTHERS:
        with use_locale(locale):
            told = [translate_sentence(name.replace("_", " "), within="record.feature") for name in features]
        assert None not in told, (locale, features[told.index(None)])
        assert len(set(told)) == len(told)


def test_what_monitoring_says(tmp_path: Path) -> None:
    past: Any = SimpleNamespace(model_as_of=date(2024, 6, 30), as_of=date(2024, 1, 31))
    said = monitor._notes(past, {"horizons": [{"passed": True}]})
    nothing: Any = None
    for profile in (None, {"schema": -1}):
        bundle: Any = SimpleNamespace(profile=profile, version="7")
        said.append(monitor.assess_drift(bundle, nothing)["words"])
    said.append(unknown_drift("the model is not in models/")["words"])
    said.append(str(monitor._load_scoring_bundle(tmp_path, "9")[1]))
    assert_known(said)


def test_what_is_said_of_records_that_cannot_be_used(tmp_path: Path) -> None:
    scores, said = tmp_path / "scores.parquet", []
    scores.write_bytes(b"scores")
    said.append(read_run_record(scores)[1])
    for name, read in (("scores.run.json", read_run_record), ("scores.monitor.json", read_monitor_record)):
        for content in ("{", "[]", json.dumps({"schema": 1, "command": "monitor"})):
            (tmp_path / name).write_text(content)
            said.append(read(scores)[1])
    (tmp_path / "scores.run.json").write_text('{"schema": 1, "evaluation": {"horizons": [{"horizon_days": "x"}]}}')
    said.append(read_run_record(scores)[1])
    assert len(set(said)) == 8
    assert_known([str(words) for words in said])
    assert_known([str(words).rstrip(".") for words in said])  # as monitoring notes them


@pytest.mark.parametrize("locale", OTHERS)
def test_a_page_of_known_sentences_holds_no_english(
    locale: str, scored: pl.DataFrame, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    keys = [key for key in all_templates() if key.startswith("record.")]
    told = {key: sample(key, str(load_catalogue("en").messages[key])) for key in keys}
    of = {part: [text for key, text in told.items() if key.startswith(f"record.{part}.")] for part in PARTS}
    evaluation = {
        **record["evaluation"],
        "grade_words": told["record.grade.ahead"],
        "rule": told["record.grade.rule"],
        "reasons": of["reason"],
        "limits": [*of["limit"], *of["model"]],
    }
    evaluation["horizons"][-1]["why_not_judged"] = told["record.why.too_short"]
    reasons = [{**one, "words": told[f"record.cleaning.{one['reason']}"]} for one in record["cleaning"]["reasons"]]
    run = {
        **record,
        "evaluation": evaluation,
        "cleaning": {**record["cleaning"], "notes": of["intake"], "reasons": reasons},
        "drift": {"words": told["record.drift.drifted"], "drifted": True, "features": FEATURES},
        "notes": of["model"],
    }
    monitored = {
        "observed_until": "2025-05-01",
        "advice": {"words": told["record.advice.train"], "retrain": True},
        "horizons": [],
        "ranges": {name: {"inside": None} for name in ("clv", "next_order")},
        "notes": of["monitor"],
    }
    page = build_report(scored, run, monitored, locale=locale)
    assert 'lang="en"' not in page


PARTS = ("reason", "limit", "model", "intake", "monitor")
FEATURES = [
    {"feature": "fading_spend_rate_30d", "psi": 0.41, "usual": 0.1, "level": "drifted"},
    {"feature": "days_since_last", "psi": 0.2, "usual": 0.1, "level": "moved"},
]


def test_what_is_not_known_stays_as_it_stands() -> None:
    with use_locale("ru"):
        assert translate_sentence("The model likes Mondays.") is None
        assert translate_sentence("The model likes Mondays, but its lead could be chance.") is None
        assert translate_sentence("Train again: it is Monday.") is None
    assert translate_sentence("The model likes Mondays.") == "The model likes Mondays."


@pytest.mark.parametrize(
    ("locale", "said", "told"),
    [
        ("nl", "There is no b..c.txt beside the scores.", "Naast de scores staat geen b..c.txt."),
        ("ru", "no window of these scores has passed yet, the first does on 2024-06-30.",
         "ни один срок этих оценок ещё не прошёл, первый закончится 30 июня 2024\u00a0г."),
        ("ru", "a..b.csv: 21 lines were set aside, with more columns than the heading: line 3.",
         "a..b.csv: отложена 21 строка, где столбцов больше, чем в заголовке (номера строк: 3)."),
        ("ru", "a.csv: 3 lines were set aside, with more columns than the heading: line 9.",
         "a.csv: отложены 3 строки, где столбцов больше, чем в заголовке (номера строк: 9)."),
        ("nb", "1 row equal an earlier row; each is a line of an order of its own and was kept.",
         "1 rad er maken til en tidligere rad; hver av dem er en egen ordrelinje og er beholdt."),
    ],
)  # fmt: skip
def test_names_keep_their_points_and_numbers_their_forms(locale: str, said: str, told: str) -> None:
    with use_locale(locale):
        assert plainly(translate_sentence(said) or "") == told


def test_a_clause_may_hold_the_mark_that_parts_clauses() -> None:
    drifted = (
        "the orders have drifted from the orders up to 2024-06-30 that the model learned from: customers differ in"
    )
    said = f"Train again: {drifted} rate (PSI 0.30); the model is 200 days old; 180 are allowed."
    with use_locale("nl"):
        told = translate_sentence(said)
    assert told == (
        "Train opnieuw: de bestellingen zijn afgedreven van die tot en met 30 juni 2024 waarvan het model leerde: "
        "klanten verschillen in kooptempo (PSI 0,30); het model is 200 dagen oud; 180 is toegestaan."
    )
