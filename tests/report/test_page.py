"""The page: self-contained, valid, escaped, true to its numbers, and in words where something is missing."""

import base64
import hashlib
import html
import json
import math
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import DeliveryError, InputError
from repurchase.models.segments import REGULAR, SLIPPING
from repurchase.report import charts
from repurchase.report.page import build_report, write_report

VOID = {"meta", "link", "br", "img", "hr", "input", "col", "wbr"}


class Outline(HTMLParser):
    """Collects what a browser would see, and every fault of nesting."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"line {self.getpos()[0]}: </{tag}>")

    def handle_data(self, text: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text.append(text)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\u202f", " ").replace("\u00a0", " ").split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def write_scores(folder: Path, frame: pl.DataFrame, run: dict[str, Any] | None) -> Path:
    path = folder / "scores.parquet"
    frame.write_parquet(path)
    if run is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        record = {**run, "outputs": {"scores": {"path": str(path), "rows": frame.height, "sha256": digest}}}
        (folder / "scores.run.json").write_text(json.dumps(record))
    return path


@pytest.fixture(scope="module")
def page(scored: pl.DataFrame, record: dict[str, Any]) -> str:
    """The page with everything on it, drawn once."""
    return build_report(scored, record)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures as empty frames: for tests that read the words."""
    monkeypatch.setattr(charts, "to_svg", lambda picture: f"<svg><title>{html.escape(picture.finding)}</title></svg>")


def test_nothing_leaves_the_page(page: str) -> None:
    outline = Outline(page)
    links = [*outline.attributes("src"), *outline.attributes("href"), *outline.attributes("xlink:href")]
    assert links
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert not {"iframe", "object", "img", "base"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttp|import\(", page)
    assert not outline.attributes("style")
    policy = next(content for content in outline.attributes("content") if content.startswith("default-src 'none'"))
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside]
        assert [f"{tag}-src 'sha256-{digest}'" in policy for digest in digests] == [True]


def test_valid_nesting_and_unique_ids(page: str) -> None:
    outline = Outline(page)
    assert outline.faults == []
    ids = outline.attributes("id")
    assert len(ids) == len(set(ids))
    targets = [link[1:] for name in ("href", "xlink:href") for link in outline.attributes(name) if link.startswith("#")]
    assert set(targets) <= set(ids)
    assert set(" ".join(outline.attributes("aria-labelledby")).split()) <= set(ids)


def test_readable_without_seeing(page: str) -> None:
    outline = Outline(page)
    tags = [tag for tag, _ in outline.tags]
    pictures = [attrs for tag, attrs in outline.tags if tag == "svg"]
    assert len(pictures) == 12
    assert all(attrs.get("role") == "img" and attrs.get("aria-labelledby") for attrs in pictures)
    assert tags.count("caption") == tags.count("table") == 7
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert tags.count("h1") == 1
    assert ("html", {"lang": "en"}) in outline.tags


def test_ids_are_text_not_markup(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    spoiled = scored.with_columns(
        pl.lit(evil).alias(name) if name != "customer_id" else pl.concat_str(pl.lit(evil), name).alias(name)
        for name in ("customer_id", "reason_1", "action", "model_version", "risk_band")
    )
    record = run | {
        "model_version": evil,
        "currency": evil,
        "notes": [evil],
        "orders": {"source": evil, "digest": evil},
    }
    record["cleaning"] = {
        **run["cleaning"],
        "reasons": [run["cleaning"]["reasons"][0] | {"reason": evil, "words": evil}],
    }
    outline = Outline(build_report(spoiled, record))
    assert [attrs.get("type") for tag, attrs in outline.tags if tag == "script"] == [
        "application/json", "application/json", None,
    ]  # fmt: skip
    assert outline.faults == []
    assert evil in outline.words


@pytest.mark.usefixtures("undrawn")
def test_headline_and_totals_follow_the_scores(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    valuable = (pl.col("segment") == REGULAR) & (pl.col("frequency") > 0)
    scored = scored.with_columns(segment=pl.when(valuable).then(pl.lit(SLIPPING)).otherwise("segment"))
    high = scored.filter(pl.col("risk_band") == "high")
    page = Outline(build_report(scored, run)).words
    slipping = scored.filter(pl.col("segment") == SLIPPING)
    assert slipping.height > 1
    first = f"{slipping.height} valuable customers are slipping away: reach them first"
    assert f"{first} – £{slipping['value_at_risk'].sum():,.0f} of what they are expected to spend is at risk." in page
    assert f"Of 300 customers, {high.height} are at high risk of not buying again within a year" in page
    at_risk, everything = high["value_at_risk"].sum(), scored["value_at_risk"].sum()
    assert f"£{at_risk:,.0f} of the £{everything:,.0f} of value at risk is theirs" in page
    assert "The predictions for 90 days earned grade A on later orders." in page
    fewer = Outline(build_report(scored.filter(pl.col("risk_band") != "high"), run)).words
    assert f"Of {300 - high.height} customers, 0 are at high risk" in fewer


@pytest.mark.usefixtures("undrawn")
def test_where_nobody_valuable_slips_the_headline_tells_the_risk_and_once(
    scored: pl.DataFrame, run: dict[str, Any]
) -> None:
    assert SLIPPING not in scored["segment"]
    page = Outline(build_report(scored, run)).words
    assert "slipping away" not in page
    assert page.count("are at high risk of not buying again") == 1


@pytest.mark.usefixtures("undrawn")
def test_what_came_in_adds_up(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    page = Outline(build_report(scored, run)).words
    assert "It adds up: 1,000 − 100 − 30 − 20 = 850." in page
    assert "15 more show this too and are counted under another reason" in page
    run["cleaning"]["n_kept"] = 851
    assert "It does not add up: 1,000 − 100 − 30 − 20 = 850, but 851 rows" in Outline(build_report(scored, run)).words


@pytest.mark.usefixtures("undrawn")
def test_the_grade_is_shown_as_it_was_given(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    page = Outline(build_report(scored, run)).words
    given = run["evaluation"]
    for sentence in (given["grade_words"], given["rule"], *given["reasons"], *given["limits"]):
        assert sentence in page
    assert "log loss 14% lower than the best rule's" in page
    assert "log loss 2.0% higher than the best rule's" in page
    assert "Not judged: the log is too short" in page
    assert "Rule: days since last order" in page


def test_most_at_risk_first_and_at_most_fifty(page: str, scored: pl.DataFrame) -> None:
    named = re.findall(r'<th role="rowheader" scope="row">(c\d+)</th>', page)
    assert named == scored.sort("value_at_risk", descending=True)["customer_id"].head(50).to_list()


@pytest.mark.usefixtures("undrawn")
def test_without_amounts_the_page_says_so(run: dict[str, Any], scores_without_money: pl.DataFrame) -> None:
    run["measures"] |= {"sales_total": None, "returning_sales_share": None}
    outline = Outline(build_report(scores_without_money, run))
    assert outline.faults == []
    assert "The orders have no amounts" in outline.words
    assert "Lifetime value" not in outline.words
    absent = scores_without_money.drop("clv", "clv_low", "clv_high", "value_at_risk", "spend_total", "spend_mean")
    assert "The orders have no amounts" in Outline(build_report(absent, run)).words


@pytest.mark.usefixtures("undrawn")
def test_without_evaluation_the_page_says_so(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    outline = Outline(build_report(scored, run | {"evaluation": None}))
    assert outline.faults == []
    assert "How good the predictions are has not been judged" in outline.words
    assert "Treat them as unproven" in outline.words


@pytest.mark.usefixtures("undrawn")
def test_a_grade_that_was_not_given(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    run["evaluation"] |= {
        "grade": "-", "primary_horizon_days": None, "best_rule": None, "calibration": [], "gains": [],
        "horizons": run["evaluation"]["horizons"][2:], "money_top_decile": None,
    }  # fmt: skip
    outline = Outline(build_report(scored, run))
    assert outline.faults == []
    assert "has not been judged" in outline.words


@pytest.mark.parametrize("customers", [0, 1, 3])
def test_few_customers(scored: pl.DataFrame, run: dict[str, Any], customers: int) -> None:
    outline = Outline(build_report(scored.head(customers), run))
    assert outline.faults == []
    told = f"Only {customers} customer" if customers else "None of the customers asked for"
    assert told in outline.words


@pytest.mark.usefixtures("undrawn")
def test_customers_without_history_are_counted(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    known = ("customer_id", "as_of", "model_version", "status", "orders")
    stranger = pl.DataFrame(
        {
            "customer_id": ["new"],
            "as_of": [date(2024, 12, 31)],
            "model_version": ["4"],
            "status": ["no_history"],
            "orders": [0],
        }
    )
    both = pl.concat([scored, stranger.select(known)], how="diagonal")
    assert "without scores: 1 customer asked for" in Outline(build_report(both, run)).words


def test_same_input_same_bytes(page: str, scored: pl.DataFrame, run: dict[str, Any]) -> None:
    assert build_report(scored, run) == page


@pytest.mark.usefixtures("undrawn")
def test_written_beside_its_record(tmp_path: Path, scored: pl.DataFrame, run: dict[str, Any]) -> None:
    out = tmp_path / "report.html"
    out.write_text("an older page")
    assert write_report(write_scores(tmp_path, scored, run), out) == out
    page = Outline(out.read_text(encoding="utf-8"))
    assert "It adds up" in page.words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "scores.parquet", "scores.run.json"]


@pytest.mark.usefixtures("undrawn")
def test_without_its_record_the_page_says_what_is_missing(tmp_path: Path, scored: pl.DataFrame) -> None:
    write_report(write_scores(tmp_path, scored, None), tmp_path / "report.html")
    page = Outline((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.faults == []
    assert "There is no scores.run.json beside the scores." in page.words
    assert "Of 300 customers" in page.words


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not the record of a scoring run"),
        ('{"schema": 9}', "is not the record of a scoring run"),
        ('{"schema": 1, "outputs": {"scores": {"sha256": "00"}}}', "belongs to other scores"),
        ('{"schema": 1, "outputs": "x"}', "was changed by hand: outputs is not as"),
        ('{"schema": 1, "tiers": "x"}', "was changed by hand: tiers is not as"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_record_that_does_not_belong_is_left_out(
    tmp_path: Path, scored: pl.DataFrame, record: str, told: str
) -> None:
    source = write_scores(tmp_path, scored, None)
    (tmp_path / "scores.run.json").write_text(record)
    write_report(source, tmp_path / "report.html")
    assert told in Outline((tmp_path / "report.html").read_text(encoding="utf-8")).words


@pytest.mark.usefixtures("undrawn")
def test_scores_as_csv_make_the_same_page(tmp_path: Path, scored: pl.DataFrame) -> None:
    scored.write_csv(tmp_path / "scores.csv")
    write_report(tmp_path / "scores.csv", tmp_path / "csv.html")
    write_report(write_scores(tmp_path, scored, None), tmp_path / "parquet.html")
    assert (tmp_path / "csv.html").read_text() == (tmp_path / "parquet.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.parquet", None, "no such file"),
        ("orders.csv", b"customer_id,amount\n1,2\n", "is not a scores table: no column p_repurchase_<days>d"),
        ("scores.csv", b"customer_id,p_repurchase_30d\n1,0.5\n", "needed columns are missing"),
        ("empty.csv", b"", "empty.csv"),
        ("torn.parquet", b"PAR1 torn", "not readable as scores"),
        ("utf16.csv", "customer_id,p_repurchase_30d\n".encode("utf-16"), "not readable as scores"),
    ],
)
def test_what_is_not_scores_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as fault:
        write_report(tmp_path / name, tmp_path / "report.html")
    assert told in str(fault.value)
    assert "\n" not in str(fault.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("p_repurchase_90d", math.nan, "must be from 0 to 1"),
        ("p_repurchase_90d", 2.0, "300 of 300 values are not, such as 2."),
        ("value_at_risk", math.inf, "must be from -9e+16 to 9e+16"),
        ("clv", 1e300, "must be from -9e+16 to 9e+16"),
        ("orders_expected_30d", -math.inf, "must be finite"),
        ("segment", "winback", "scores of another version: 1 segments are not known here: winback"),
        ("model_version", "9", "model 9, but their record says 4"),
    ],
)
def test_scores_that_were_spoiled_are_refused(
    tmp_path: Path, scored: pl.DataFrame, run: dict[str, Any], column: str, value: object, told: str
) -> None:
    source = write_scores(tmp_path, scored.with_columns(pl.lit(value).alias(column)), run)
    with pytest.raises(InputError) as fault:
        write_report(source, tmp_path / "report.html")
    assert told in str(fault.value)
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("column", [{"as_of": date(2024, 12, 30)}, {"model_version": "5"}])
def test_scores_of_two_runs_in_one_table_are_refused(scored: pl.DataFrame, column: dict[str, Any]) -> None:
    some = scored.head(9).with_columns(pl.lit(value).alias(name) for name, value in column.items())
    with pytest.raises(InputError, match=r"in one table\. Send what one run"):
        build_report(pl.concat([some, scored.tail(9)]))


@pytest.mark.usefixtures("undrawn")
def test_a_page_that_cannot_be_written(tmp_path: Path, scored: pl.DataFrame) -> None:
    source = write_scores(tmp_path, scored, None)
    with pytest.raises(DeliveryError, match="cannot be written there"):
        write_report(source, tmp_path / "nowhere" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(DeliveryError, match="cannot be written there"):
        write_report(source, tmp_path / "folder.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "scores.parquet"]


@pytest.mark.usefixtures("undrawn")
def test_reasons_of_one_direction_are_told_together(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    told = scored.with_columns(
        reason_1=pl.lit("lowers risk: 12 purchases in the last year"),
        reason_2=pl.lit("raises risk: last order 84 days ago, usually every 21 days"),
        reason_3=pl.lit("lowers risk: steady rhythm, about every 21 days"),
    )
    page = build_report(told, run)
    lowers = "lowers risk: 12 purchases in the last year; steady rhythm, about every 21 days"
    assert f"<span>{lowers}<br>raises risk: last order 84 days ago, usually every 21 days</span>" in page
