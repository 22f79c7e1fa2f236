"""`repurchase lists`: from a scores file to a folder, whole or not at all."""

import csv
import hashlib
import io
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from repurchase.cli.app import app
from repurchase.errors import DeliveryError, InputError
from repurchase.i18n.formatting import format_day
from repurchase.i18n.messages import render
from repurchase.jobs.customer_lists import read_customers
from repurchase.jobs.forget import forget_customers
from repurchase.jobs.lists import ListOptions, list_lines, write_lists
from repurchase.jobs.outputs import LISTS_RECORD, JobResult, id_column_of_list, read_lists_record
from repurchase.marketing.lists import ListLimit, list_settings
from repurchase.models.segments import SEGMENTS, SegmentThresholds
from repurchase.orders.ids import key_id, pseudonymise
from repurchase.schemas import scores_table
from repurchase.settings import Settings

AS_OF = date(2024, 6, 30)
KEY = "a key of at least sixteen bytes"
N = 24
IDS = [*(f"{number}" for number in range(N - 1)), "=1+1"]


def table(as_of: date = AS_OF, version: str = "1", **columns: list[Any]) -> pl.DataFrame:
    segments = [SEGMENTS[number % len(SEGMENTS)] for number in range(N)]
    given = {
        "customer_id": IDS,
        "as_of": [as_of] * N,
        "model_version": [version] * N,
        "status": ["scored"] * N,
        "orders": [2] * N,
        "frequency": [5] * N,
        "first_order_date": [as_of - timedelta(days=300)] * N,
        "last_order_date": [as_of - timedelta(days=20 + number) for number in range(N)],
        "days_since_last": [20 + number for number in range(N)],
        "churn_risk_90d": [0.5] * N,
        "clv": [100.0 + number for number in range(N)],
        "value_at_risk": [50.0 + number for number in range(N)],
        "segment": segments,
        "risk_band": ["medium"] * N,
        "reason_1": ["raises risk: last order 20 days ago"] * N,
        **columns,
    }
    schema = scores_table([90]).schema
    return pl.DataFrame({name: pl.Series(given.get(name, [None] * N), dtype=kind) for name, kind in schema.items()})


def write_scores(path: Path, frame: pl.DataFrame, **further: Any) -> Path:
    frame.write_parquet(path)
    tiers = SegmentThresholds(risk_horizon_days=90, high_value=100.0, second_purchase_days=60.0, worth_winning=0.1)
    run = {
        "schema": 1,
        "command": "score",
        "model_version": frame["model_version"][0],
        "tiers": tiers.to_dict(),
        "currency": "NOK",
        "outputs": {"scores": {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}},
        **further,
    }
    path.with_suffix(".run.json").write_text(json.dumps(run))
    return path


def contacts_file(path: Path, ids: list[str] = IDS, **columns: list[str]) -> Path:
    n = len(ids)
    given = {
        "id": ids,
        "Navn": ["Åse Bø"] * (n - 1) + ["=cmd()"],
        "email": [f"k{number}@example.no" for number in range(n)],
        "phone": ["+47 900 12 345"] * n,
        "consent": ["yes"] * n,
        **columns,
    }
    pl.DataFrame(given).write_csv(path)
    return path


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write_scores(tmp_path / "scores.parquet", table())


def make(scores: Path, out: Path | None = None, *, told: dict[str, Any] | None = None, **asked: Any) -> JobResult:
    out = out or scores.parent / "lists"
    return write_lists(
        scores, out=out, options=ListOptions(**asked), rules=list_settings(told or {}), settings=Settings()
    )


def cells(path: Path, separator: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=separator))


def segment_files(made: JobResult) -> dict[str, list[dict[str, str]]]:
    return {told["segment"]: cells(made.path / told["name"]) for told in made.record["files"] if told["segment"]}


def test_every_customer_stands_in_one_segments_list(scores: Path) -> None:
    made = make(scores)
    by_segment = segment_files(made)
    named = sorted(row["customer_id"] for rows in by_segment.values() for row in rows)
    assert named == sorted(["'=1+1" if one == "=1+1" else one for one in IDS])
    reached = [row["customer_id"] for row in cells(made.path / "all.csv")]
    assert len(reached) == N - len(by_segment["lost"])
    assert not {row["customer_id"] for row in by_segment["lost"]} & set(reached)
    told = {segment["segment"]: segment["customers"] for segment in made.record["segments"]}
    assert sum(told.values()) == N
    assert "no history" in told
    assert made.record["thresholds"]["high_value"] == 100.0
    lines = list_lines(made.record, made.path)
    assert list(told) != made.record["rules"]["tried"]
    assert set(told) <= set(made.record["rules"]["tried"])
    record = json.loads((made.path / "lists.json").read_text())
    texts = [record["assumptions"]["words"], record["rules"]["words"], *(row["rule"] for row in record["segments"])]
    assert all(set(text) == {"key", "params"} for text in texts)
    assert all(render(text, locale="en") != text["key"] for text in texts)
    assert any("margin 30% × value at risk × effect 5%" in line for line in lines)


def test_rights_and_record(scores: Path) -> None:
    out = scores.parent / "new" / "lists"
    done = CliRunner().invoke(app, ["lists", str(scores), "--out", str(out), "--home", str(scores.parent)])
    assert done.exit_code == 0, done.output
    record = json.loads((out / "lists.json").read_text())
    assert {file["name"] for file in record["files"]} | {"lists.json"} == {path.name for path in out.iterdir()}
    for file in record["files"]:
        assert hashlib.sha256((out / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    assert [path.name for path in out.parent.iterdir()] == ["lists"]


def test_contacts_consent_and_suppression(scores: Path) -> None:
    consent = ["no", "", *["yes"] * (N - 2)]
    email = ["x@x.no", "y@x.no", "broken", *[f"k{number}@example.no" for number in range(3, N)]]
    phone = ["", "", "nei", *["+47 900 12 345"] * (N - 3)]
    path = contacts_file(scores.parent / "c.csv", consent=consent, email=email, phone=phone)
    contacted = scores.parent / "contacted.csv"
    pl.DataFrame({"customer_id": ["3", "4"], "date": ["2024-06-29", "2024-01-01"]}).write_csv(contacted)
    made = make(scores, contacts=path, contacted=contacted, told={"locale": "nb", "contacted_within_days": 10})
    assert made.record["left_out"] == {"no_consent": 2, "no_valid_address": 1, "just_contacted": 1}
    assert made.record["contacts"]["repair"] == {"invalid email": 1, "invalid phone": 1, "no phone": 2}
    rows = cells(made.path / "all.csv", ";")
    assert not {"0", "1", "2", "3"} & {row["Kunde-ID"] for row in rows}
    assert rows[0]["Navn"] == "Åse Bø"
    assert {row["Kunde-ID"]: row["Navn"] for row in cells(made.path / "9-lost.csv", ";")}["'=1+1"] == "'=cmd()"
    assert {row["Telefon"] for row in rows} == {"'+4790012345"}
    assert all("," in row["Verdi i fare"] for row in rows)
    repair = cells(made.path / "repair.csv", ";")
    assert {row["Står der nå"] for row in repair} == {"broken", "nei", ""}


ENGLISH = {"segment", "risk", "by", "the", "and", "now", "yes", "no", "last", "order", "orders", "days", "ago", "spend"}
ENGLISH |= {"customer", "win", "back", "lost", "reach", "first", "thank", "phone", "mail", "invalid", "reason", "found"}
ENGLISH |= {
    "action",
    "channel",
    "when",
    "changed",
    "what",
    "why",
    "ask",
    "value",
    "cost",
    "due",
    "newly",
    "came",
    "who",
}
SPOKEN_TOO = {"nb": {"segment", "by"}, "nl": {"segment", "order", "mail"}, "ru": set()}
"""Words that the language itself has."""


@pytest.mark.parametrize("locale", ["nb", "nl", "ru"])
@pytest.mark.parametrize("tool", ["plain", "klaviyo"])
def test_lists_speak_the_language_of_the_locale(scores: Path, locale: str, tool: str) -> None:
    then = ["regular"] * 6 + ["win back"] * 6 + table()["segment"].to_list()[12:]
    earlier = write_scores(scores.with_name("before.parquet"), table(AS_OF - timedelta(days=30), segment=then))
    write_scores(scores, table(frequency=[5, 0] * (N // 2), next_order_date=[AS_OF + timedelta(days=9)] * N))
    email = ["nei", "", *[f"k{number}@example.no" for number in range(2, N)]]
    path = contacts_file(scores.parent / "c.csv", Navn=["Åse Bø"] * N, email=email)
    made = make(scores, contacts=path, since=earlier, told={"locale": locale, "mail_tool": tool})
    assert {told["segment"] for told in made.record["segments"]} >= {"win back", "no history"}
    assert made.record["locale"] == locale
    for told in made.record["files"]:
        rows = cells(made.path / told["name"], ";" if tool == "plain" or told["name"] == "repair.csv" else ",")
        assert len(rows) == told["rows"]
        assert all(row[told["id_column"]].strip("'") in IDS for row in rows)
        shown = [cell for row in rows for cell in row.values()]
        shown += list(rows[0]) if rows and (tool == "plain" or told["name"] == "repair.csv") else []
        words = {word for cell in shown for word in re.findall(r"[a-z]+", re.sub(r"\S+@\S+", "", cell.lower()))}
        assert not words & ENGLISH - SPOKEN_TOO[locale], told["name"]
    assert "Full Name" in cells(made.path / "all.csv")[0] or tool == "plain"
    reached = cells(made.path / "all.csv", ";" if tool == "plain" else ",")
    assert any(cell == str(AS_OF + timedelta(days=1)) for cell in reached[0].values())  # days stay what they were


@pytest.mark.parametrize("locale", ["nb", "nl", "ru"])
def test_lists_of_every_language_are_read_back(scores: Path, locale: str) -> None:
    made = make(scores, contacts=contacts_file(scores.parent / "c.csv", phone=["x"] * N), told={"locale": locale})
    everyone = made.path / "all.csv"
    ids = {row[made.record["id_column"]].strip("'") for row in cells(everyone, ";")}
    assert made.record["id_column"] != "customer_id"
    assert set(read_customers(everyone, column_map={}).rows["customer_id"]) == ids
    copied = scores.parent / "copied.csv"  # without the record beside it
    copied.write_bytes((made.path / "1-valuable-and-slipping.csv").read_bytes())
    assert set(read_customers(copied, column_map={}).rows["customer_id"]) <= ids
    again = make(scores, scores.parent / "again", contacted=everyone, told={"locale": locale})
    assert again.record["left_out"]["just_contacted"] == len(ids)
    with pytest.raises(DeliveryError, match=r"may remain in 1 place .*: copied\.csv: names 1 of these"):
        list(forget_customers(["0", "=1+1"], settings=Settings(home=scores.parent)))
    for told in json.loads((made.path / "lists.json").read_text())["files"]:
        assert not {row[told["id_column"]] for row in cells(made.path / told["name"], ";")} & {"0", "'=1+1"}


def test_names_that_are_told_win_over_those_of_the_language(scores: Path) -> None:
    names = {"plain": {"customer_id": "Nr", "clv": ""}}
    made = make(scores, told={"locale": "nb", "columns": names})
    row = cells(made.path / "all.csv", ";")[0]
    assert "Nr" in row
    assert "Livstidsverdi" not in row
    assert "Verdi i fare" in row
    assert made.record["id_column"] == "Nr"
    assert read_customers(made.path / "all.csv", column_map={}).rows.height == made.record["worth"]["contacts"]


def test_lists_of_an_earlier_version_name_their_column_once(scores: Path) -> None:
    made = make(scores, told={"columns": {"plain": {"customer_id": "Nr"}}})
    older = {**made.record, "files": [{**file} for file in made.record["files"]]}
    for file in older["files"]:
        del file["id_column"]
    (made.path / "lists.json").write_text(json.dumps(older))
    list(forget_customers(["0"], settings=Settings(home=scores.parent)))
    assert not any(row["Nr"] == "0" for path in made.path.glob("*.csv") for row in cells(path))


def test_who_just_bought_is_left_alone(scores: Path) -> None:
    silence = [0, 1, *[30] * (N - 2)]
    write_scores(scores, table(days_since_last=silence))
    assert make(scores).record["left_out"] == {"just_bought": 1}
    assert make(scores, told={"bought_within_hours": 48}).record["left_out"] == {"just_bought": 2}
    assert make(scores, told={"bought_within_hours": 0}).record["left_out"] == {}


def test_a_mail_tool_gets_its_columns(scores: Path) -> None:
    path = contacts_file(scores.parent / "c.csv")
    made = make(scores, contacts=path, told={"mail_tool": "klaviyo", "locale": "nb"})
    content = (made.path / "all.csv").read_bytes()
    assert content.startswith(b"Full Name,Email,Phone Number,customer_id,")
    assert {row["Phone Number"] for row in cells(made.path / "all.csv")} == {"+4790012345"}
    with pytest.raises(InputError, match="--mail-tool klaviyo needs addresses"):
        make(scores, told={"mail_tool": "klaviyo"})


def test_length_and_budget(scores: Path) -> None:
    made = make(scores, limit=ListLimit(length=3))
    rows = cells(made.path / "all.csv")
    assert [row["customer_id"] for row in rows] == ["22", "21", "20"]
    paid = make(scores, limit=ListLimit(budget=2.0, cost_per_contact=0.5))
    assert paid.record["worth"]["contacts"] == 4
    assert paid.record["worth"]["cost"] == 2.0
    assert paid.record["left_out"]["beyond_the_budget"] == 16


def test_what_changed_since(scores: Path) -> None:
    before = AS_OF - timedelta(days=30)
    now = [SEGMENTS[number % len(SEGMENTS)] for number in range(N)]
    then = ["regular"] * 6 + ["win back"] * 6 + now[12:]
    last = [AS_OF - timedelta(days=2) if number in {6, 8, 9} else before for number in range(N)]
    write_scores(scores, table(last_order_date=last))
    earlier = write_scores(scores.with_name("before.parquet"), table(before, segment=then))
    made = make(scores, since=earlier)
    risky = {"valuable and slipping", "win back", "lost"}
    fresh = [number for number in range(6) if now[number] in risky]
    back = [number for number in (6, 8, 9) if now[number] not in risky]
    assert 0 < len(back) < 3  # who bought but is silent again has not come back
    assert made.record["changes"] == {"newly at risk": len(fresh), "came back": len(back)}
    listed = {row["customer_id"] for row in cells(made.path / "newly-at-risk.csv")}
    assert listed == {str(number) for number in fresh if now[number] != "lost"}
    assert {row["customer_id"] for row in cells(made.path / "came-back.csv")} == {str(number) for number in back}


def test_earlier_lists_are_replaced_and_other_files_are_not(scores: Path) -> None:
    out = scores.parent / "lists"
    make(scores, contacts=contacts_file(scores.parent / "c.csv"))
    assert (out / "repair.csv").exists()
    make(scores)
    assert not (out / "repair.csv").exists()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no lists of ours, such as notes.txt"):
        make(scores)
    assert sorted(path.name for path in scores.parent.iterdir()) == [
        "c.csv",
        "lists",
        "scores.parquet",
        "scores.run.json",
    ]


@pytest.mark.parametrize(
    "files",
    [None, 5, "all.csv", ["all.csv"], [{"rows": 1}], [{"name": "../all.csv", "rows": 1}], [{"name": "all.csv"}]],
)
def test_a_record_that_was_changed_by_hand_is_none(scores: Path, files: object) -> None:
    made = make(scores)
    (made.path / LISTS_RECORD).write_text(json.dumps(made.record | {"files": files}))
    before = {path.name: path.read_bytes() for path in made.path.iterdir()}
    assert read_lists_record(made.path) is None
    assert id_column_of_list(made.path / "all.csv") is None
    with pytest.raises(InputError, match="holds files that are no lists of ours"):
        make(scores)
    assert {path.name: path.read_bytes() for path in made.path.iterdir()} == before


def test_a_folder_with_somebody_elses_record_alone_is_not_replaced(scores: Path) -> None:
    out = scores.parent / "lists"
    out.mkdir()
    (out / LISTS_RECORD).write_text("{}")
    with pytest.raises(InputError, match=r"such as lists\.json"):
        make(scores)
    assert (out / LISTS_RECORD).read_text() == "{}"


def test_a_refused_folder_leaves_the_earlier_lists(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = scores.parent / "lists"
    make(scores)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("repurchase.storage.atomic_files.sync_to_disk", full)
    with pytest.raises(DeliveryError, match="No space left on device"):
        make(scores, limit=ListLimit(length=1))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(scores.parent.glob(".*"))
    with pytest.raises(DeliveryError):
        make(scores, scores.parent / "a" / "b")
    assert not (scores.parent / "a").exists()


def test_a_swap_that_fails_half_way_is_taken_back(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = scores.parent / "lists"
    make(scores)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == out and self.name != "earlier":
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr("repurchase.storage.atomic_files._exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DeliveryError, match="Permission denied"):
        make(scores, limit=ListLimit(length=1))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(scores.parent.glob(".*"))


def bad_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
    good = str(write_scores(folder / "scores.parquet", table()))
    stale = write_scores(folder / "stale.parquet", table())
    table(clv=[1.0] * N).write_parquet(stale)
    strange = str(write_scores(folder / "strange.parquet", table(segment=["dormant"] * N)))
    mixed = str(write_scores(folder / "mixed.parquet", table(model_version=["1", "2"] * (N // 2))))
    other = str(write_scores(folder / "other.parquet", table(AS_OF - timedelta(days=9), version="0")))
    no_ids, odd_ids, no_mail, nobody = (folder / f"{name}.csv" for name in ("no_ids", "odd_ids", "no_mail", "nobody"))
    pl.DataFrame({"name": ["Åse"], "consent": ["yes"]}).write_csv(no_ids)
    pl.DataFrame({"Fullt navn": ["1"], "Samtykke": ["ja"]}).write_csv(odd_ids)
    pl.DataFrame({"Kundenummer": IDS, "Navn": IDS, "Samtykke": ["ja"] * N}).write_csv(no_mail)
    nobody.write_text("customer_id,email,consent\n")
    torn = contacts_file(folder / "torn.csv", ["1", "1"], consent=["yes", "no"])
    words = contacts_file(folder / "words.csv", ["1", "2"], consent=["perhaps", "yes"])
    foreign = contacts_file(folder / "foreign.csv", ["x1", "x2"])
    return {
        "stale": ([str(stale)], "scores of another version: stale.run.json belongs to other scores"),
        "strange": ([strange], "scores of another version: 1 segments are not known here: dormant"),
        "mixed": ([mixed], "scores of 2 models (1, 2)"),
        "since another model": ([good, "--since", other], "scores of another version: model 0"),
        "since itself": ([good, "--since", good], "expected a day before"),
        "no ids": (
            [good, "--contacts", str(no_ids)],
            "Give the column of ids the name customer_id, or say which it is:",
        ),
        "odd ids": ([good, "--contacts", str(odd_ids)], "say which it is: --columns 'customer_id=Fullt navn'."),
        "no addresses": (
            [good, "--contacts", str(no_mail)],
            "or postal addresses, so nobody can be reached. Found: Ku",
        ),
        "no e-mail": (
            [good, "--contacts", str(no_mail), "--mail-tool", "klaviyo"],
            "no_mail.csv: no column of e-mail addresses, without which klaviyo reaches nobody. Found: Kundenummer, ",
        ),
        "nobody": ([good, "--contacts", str(nobody)], "a heading but no rows below it"),
        "two consents": ([good, "--contacts", str(torn)], "two consents for one person"),
        "unknown consent": ([good, "--contacts", str(words)], "say neither yes nor no: 'perhaps'"),
        "another shop": ([good, "--contacts", str(foreign)], "of another shop? None of its 2 customer ids"),
        "contacted elsewhere": ([good, "--contacted", str(foreign)], "of another shop?"),
        "no budget": ([good, "--budget", "0", "--cost-per-contact", "1"], "--budget must be above 0"),
        "no cost": ([good, "--budget", "5"], "needs --cost-per-contact"),
        "locale": ([good, "--locale", "xx"], "locale must be one of en, "),
        "tool": ([good, "--mail-tool", "pigeon"], "one of plain, klaviyo, mailchimp"),
        "no such scores": ([str(folder / "none.parquet")], "no such file"),
        "no such contacts": ([good, "--contacts", str(folder / "none.csv")], "no such file"),
    }


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    runner = CliRunner()
    for name, (words, expected) in bad_inputs(tmp_path).items():
        done = runner.invoke(app, ["lists", *words, "--out", str(tmp_path / "out"), "--home", str(tmp_path)])
        assert isinstance(done.exception, InputError), name
        assert expected in str(done.exception), name
        assert "\n" not in str(done.exception), name
        assert not (tmp_path / "out").exists(), name
        assert not list(tmp_path.glob(".partial*")), name


def test_forgetting_reaches_every_list(scores: Path) -> None:
    made = make(scores, contacts=contacts_file(scores.parent / "c.csv", phone=["nei", *["+4790012345"] * (N - 1)]))
    (lost,) = (cells(made.path / told["name"])[0] for told in made.record["files"] if told["segment"] == "lost")
    gone = ["0", "=1+1", lost["customer_id"].removeprefix("'")]
    said = list(forget_customers(gone, settings=Settings(home=scores.parent), dry_run=True))
    assert any("lists/all.csv: 1 row would be removed" in line or "lists/all.csv: 2 rows" in line for line in said)
    list(forget_customers(gone, settings=Settings(home=scores.parent)))
    for path in made.path.glob("*.csv"):
        named = {row["customer_id"] for row in cells(path)}
        assert not named & {"0", "'=1+1", lost["customer_id"]}, path.name
    record = json.loads((made.path / "lists.json").read_text())
    for file in record["files"]:
        assert file["rows"] == len(cells(made.path / file["name"]))
        assert hashlib.sha256((made.path / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    make(scores)  # still ours


def test_hashed_scores_meet_plain_contacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = table(customer_id=pseudonymise(pl.Series(IDS), KEY.encode()).to_list())
    scores = write_scores(tmp_path / "scores.parquet", hashed, pseudonyms=key_id(KEY.encode()))
    path = contacts_file(tmp_path / "c.csv")
    monkeypatch.delenv("REPURCHASE_ID_KEY", raising=False)
    with pytest.raises(InputError, match="its ids are keyed hashes"):
        make(scores, contacts=path)
    monkeypatch.setenv("REPURCHASE_ID_KEY", KEY)
    made = make(scores, contacts=path)
    assert made.record["contacts"]["of_the_scores"] == N
    assert all(len(row["customer_id"]) == 32 for row in cells(made.path / "all.csv"))
    list(forget_customers(["3"], settings=Settings(home=tmp_path)))
    mark = pseudonymise(pl.Series(["3"]), KEY.encode())[0]
    assert mark not in (made.path / "all.csv").read_text()


def test_scores_without_money_without_a_record_and_of_a_list(tmp_path: Path) -> None:
    nothing = [None] * N
    frame = table(clv=nothing, value_at_risk=nothing, status=["no_history", *["scored"] * (N - 1)])
    frame = frame.with_columns(city=pl.lit("Bø"), email=pl.lit("list@example.no"))
    path = tmp_path / "scores.csv"
    frame.write_csv(path)
    made = make(path, contacts=contacts_file(tmp_path / "c.csv"), limit=ListLimit(length=5))
    rows = cells(made.path / "all.csv")
    assert len(rows) == 5
    assert {row["contact_cost_at_most"] for row in rows} == {""}
    assert "list@example.no" not in {row["email"] for row in rows}
    assert {told["segment"]: told["customers"] for told in made.record["segments"]}["no history"] == 1
    assert made.record["thresholds"] is None
    with pytest.raises(InputError, match="know no money"):
        make(path, limit=ListLimit(budget=5.0, cost_per_contact=1.0))


def test_customers_may_be_their_addresses(tmp_path: Path) -> None:
    addresses = [f"k{number}@example.no" for number in range(N)]
    scores = write_scores(tmp_path / "scores.parquet", table(customer_id=addresses))
    path = tmp_path / "c.csv"
    pl.DataFrame({"Email": addresses, "consent": ["yes"] * N}).write_csv(path)
    made = make(scores, contacts=path)
    assert [row["email"] for row in cells(made.path / "all.csv")] == [
        row["customer_id"] for row in cells(made.path / "all.csv")
    ]


@pytest.mark.parametrize("partitions", [1, 3])
def test_who_is_due_for_a_refill(scores: Path, partitions: int) -> None:
    write_scores(scores, table(segment=["regular"] * N))
    days = [AS_OF - timedelta(days=ago) for ago in (118, 88, 58, 28)]
    buyers = [one for one in IDS[:12] if one != "0"]  # which stands for nobody among orders
    lines = [(one, "s1", "Soap", day) for one in buyers for day in days]
    lines += [(one, "post", "Shipping", day) for one in IDS[12:] for day in days]
    orders = scores.parent / "orders.csv"
    columns = ("customer_id", "product_id", "product_name", "order_date")
    log = pl.DataFrame(dict(zip(columns, zip(*lines, strict=True), strict=True)))
    log = log.with_columns(amount=pl.lit(10.0), order_id=pl.format("{}-{}", "customer_id", "order_date"))
    log.write_csv(orders)
    asked = ListOptions(orders=str(orders))
    out = scores.parent / "lists"
    made = write_lists(
        scores, out=out, options=asked, rules=list_settings({}), settings=Settings(partitions=partitions)
    )
    due = segment_files(made)["due for a refill"]
    assert sorted(row["customer_id"] for row in due) == sorted(buyers)
    assert {row["refill_product"] for row in due} == {"Soap"}
    assert {row["when"] for row in due} == {f"by {format_day(due[0]['refill_on'])}"}
    assert AS_OF < date.fromisoformat(due[0]["refill_on"]) < AS_OF + timedelta(days=15)
    assert made.record["refills"]["due"] == 11
    log.drop("product_id", "product_name").write_csv(orders)
    with pytest.raises(InputError, match="no column of products"):
        make(scores, orders=str(orders))
