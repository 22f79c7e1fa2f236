"""What came since: on the page if a record lies beside the scores and belongs to them, and in lines."""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from repurchase.report import charts
from repurchase.report.page import build_report, write_report
from repurchase.report.run_sections import monitoring_lines, monitoring_section
from repurchase.storage.json_files import with_digest
from repurchase.storage.run_records import find_monitor_record_fault

MODEL = {"ece": 0.02, "excess_ece": 0.01, "log_loss": 0.3512, "auc": 0.81}
RECORD: dict[str, Any] = {
    "schema": 1,
    "command": "monitor",
    "as_of": "2024-12-31",
    "observed_until": "2025-05-01",
    "model_version": "4",
    "currency": "GBP",
    "customers": {"compared": 290, "gone": 10},
    "horizons": [
        {
            "horizon_days": 90,
            "ends": "2025-03-31",
            "passed": True,
            "n_customers": 290,
            "p_mean": 0.41,
            "bought_share": 0.39,
            "model": MODEL,
            "rules": {"past_rate": {"log_loss": 0.4}},
            "orders": {"expected": 120.4, "came": 111.0},
            "spend": {"expected": 5000.0, "came": 4321.0},
            "money_top_decile": {
                "available": 4321.0, "by_expected_spend": 2000.0, "by_value_at_risk": 900.0, "by_best_rule": 1500.0,
            },
            "grade": "B",
            "then": {"grade": "A", "ece": 0.011, "auc": 0.8},
        },
        {"horizon_days": 365, "ends": "2025-12-31", "passed": False, "days_missing": 244},
    ],
    "ranges": {"clv": {"inside": 0.81, "n": 290}, "next_order": {"inside": None, "n": 0}},
    "drift": {"known": True, "words": "The orders are like before.", "drifted": False},
    "advice": {"retrain": False, "words": "Keep the model: <it> is fine."},
    "notes": ["of one day only"],
}  # fmt: skip
DRIFT = {
    "known": True,
    "drifted": True,
    "words": "The orders have drifted from before.",
    "features": [
        {"feature": "days_since_last", "psi": 0.41, "usual": 0.1, "level": "drifted"},
        {"feature": "frequency", "psi": 0.01, "usual": 0.0, "level": "steady"},
    ],
}


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")


@pytest.fixture
def files(tmp_path: Path, scored: pl.DataFrame) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "scores.v1.parquet"
    scored.write_parquet(path)
    record = copy.deepcopy(RECORD)
    record["scores"] = {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return path, record


def test_the_page_shows_what_came_and_what_drifted(scored, record) -> None:
    page = build_report(scored, {**record, "drift": DRIFT}, RECORD)

    assert '<a href="#since">Since then</a>' in page
    assert "Keep the model: &lt;it&gt; is fine." in page
    assert "<td>drifted</td>" in page
    assert "days since last</th>" in page
    assert "frequency</th>" not in page
    assert "£4,321 of £5,000 expected" in page
    assert "365 days ahead: not over before 31 December 2025, 244 days are missing." in page


def test_without_either_there_is_no_section(scored, record) -> None:
    assert 'id="since"' not in build_report(scored, record)


def test_a_record_beside_the_scores_is_shown(files) -> None:
    path, record = files
    path.with_name("scores.v1.monitor.json").write_text(json.dumps(record))

    page = write_report(path, path.with_name("page.html")).read_text()

    assert "Keep the model" in page


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda record: json.dumps({**record, "scores": {"sha256": "0" * 64}}), "belongs to other scores"),
        (lambda record: json.dumps({**record, "schema": 9}), "that this version knows"),
        (lambda record: "{", "cannot be read as JSON"),
        (lambda record: "[" * 100_000, "cannot be read as JSON"),
        (lambda record: json.dumps({**record, "scores": 5}), "belongs to other scores"),
        (lambda record: json.dumps({**record, "horizons": 5}), "that this version knows"),
        (lambda record: json.dumps({**with_digest(record), "notes": ["by hand"]}), "that this version knows"),
    ],
)
def test_a_record_that_is_not_theirs_is_named_and_not_shown(files, spoil, words) -> None:
    path, record = files
    path.with_name("scores.v1.monitor.json").write_text(spoil(record))

    page = write_report(path, path.with_name("page.html")).read_text()

    assert words in page
    assert "Keep the model" not in page


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Everything that a record holds, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*at, name)
        yield from places(one, (*at, name))


def changed(at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    record = copy.deepcopy(RECORD)
    inner: Any = record
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return record


@pytest.mark.parametrize("value", [None, "x", -1, True, [], {}, [1], {"a": 1}, 10**400, float("nan"), "2024-13-45"])
def test_a_record_that_was_changed_by_hand_is_refused_or_shown(value: Any) -> None:
    facts, refused = SimpleNamespace(currency="GBP"), 0
    assert find_monitor_record_fault(RECORD) is None
    for at in places(RECORD):
        record = changed(at, value)
        if find_monitor_record_fault(record) is None:
            monitoring_section(record, facts)  # type: ignore[arg-type]
        else:
            refused += 1
    assert refused > 10


def test_lines_for_people() -> None:
    expected = """
Scores of 2024-12-31 by version 4, beside orders up to 2025-05-01: 290 customers compared, 10 no longer in the orders.
90 days ahead: 41% predicted to buy, 39% bought; calibration error 0.020 (0.011 in training), 0.010 more than random\
 variation explains;\
 log loss 0.3512, best rule 0.4000; AUC 0.810; grade B (A in training).
  111 purchase days of 120 expected; spend £4,321 of £5,000 expected.
  The tenth of customers ranked first by expected spend brought £2,000 (46%), by value at risk £900 (21%),\
 by the best rule £1,500 (35%) of what came.
365 days ahead: not over before 31 December 2025, 244 days are missing.
The 80 % ranges of lifetime value held 81% of 290 outcomes.
The orders are like before.
Note: of one day only.
Keep the model: <it> is fine.
"""

    assert monitoring_lines(RECORD) == expected.strip("\n").split("\n")
