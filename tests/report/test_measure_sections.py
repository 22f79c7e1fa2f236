"""Measures on the page: now, beside earlier periods and benchmarks, each with its formula; and campaigns."""

import copy
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.marketing.repeat_business import read_benchmarks
from repurchase.report.history_sections import campaign_rows, measure_section, read_campaigns
from repurchase.storage.run_records import validate_scored_run

MEASURED: dict[str, Any] = {
    "schema": 1, "command": "campaign measure", "campaign": "May", "day": "2024-05-01", "horizon_days": 90,
    "observed_days": 90, "is_over": True, "currency": "GBP", "window_ends": "2024-07-30",
    "groups": {
        "treatment": {"customers": 1200, "share_bought": 0.2}, "control": {"customers": 300, "share_bought": 0.15},
    },
    "repurchase": {"adjusted": {"value": 5.0, "low": 1.0, "high": 9.0, "can_tell": True}},
    "totals": {
        "sales": {"value": 5000.0, "low": -100.0, "high": 10000.0}, "profit": {"value": 1.0, "low": 0.0, "high": 2.0},
    },
}  # fmt: skip
PLANNED = {
    "schema": 1, "command": "campaign plan", "campaign": "June", "day": "2024-06-01", "window_ends": "2024-08-30",
    "arms": {"treatment": 100, "control": 50},
}  # fmt: skip


@pytest.fixture
def part(scored: pl.DataFrame, run: dict[str, Any]) -> dict[str, Any]:
    found = measure_section(validate_scored_run(scored, run), read_benchmarks())
    assert found is not None
    return found


def test_periods_are_sums_of_their_months(part: dict[str, Any], run: dict[str, Any]) -> None:
    whole = [row for row in run["measures"]["monthly"] if row["complete"]]
    rows = {row["key"]: row for row in part["rows"]}
    recent, before = whole[-3:], whole[-6:-3]
    orders = [sum(row["orders"] for row in months) for months in (recent, before)]
    assert rows["orders"]["periods"][:2] == [f"{n:,}" for n in orders]
    again = sum(row["reorders"] for row in recent) / orders[0]
    assert rows["reorder_rate"]["periods"][0] == f"{100 * again:.0f}%"
    assert rows["repeat_purchase_rate"]["periods"][1] == f"{100 * before[-1]['repeat_rate']:.0f}%"


def test_a_year_earlier_is_the_same_months(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    month = run["measures"]["monthly"][-1] | {"complete": True}
    numbered = [month | {"month": f"{2023 + n // 12}-{n % 12 + 1:02d}", "orders": n} for n in range(15)]
    run["measures"] = run["measures"] | {"monthly": numbered}
    found = measure_section(validate_scored_run(scored, run), ())
    assert found is not None
    orders = next(row for row in found["rows"] if row["key"] == "orders")
    assert orders["periods"] == ["39", "30", "3"]
    assert "January 2024 to March 2024" in found["lead"]


def test_every_measure_has_a_formula_and_benchmarks_stand_apart(part: dict[str, Any]) -> None:
    keys = {row["key"] for row in part["rows"]}
    assert keys >= {
        "repeat_purchase_rate", "repeat_within", "time_to_second", "retention", "lost", "reorder_rate", "rhythm",
        "returning_sales", "spend_returning", "spend_once",
    }  # fmt: skip
    assert all(row["formula"] for row in part["rows"])
    assert {row["key"] for row in part["rows"] if row["benchmark"]} <= {
        "repeat_purchase_rate",
        "returning_sales",
        "lost_year",
    }
    assert all(stick["source"] and stick["caveat"] for stick in part["benchmarks"])


def test_records_of_earlier_versions_are_shown_as_far_as_they_go(scored: pl.DataFrame, run: dict[str, Any]) -> None:
    old = copy.deepcopy(run)
    for name in ("reorder_rate", "spenders", "rhythm"):
        del old["measures"][name]
    for row in old["measures"]["monthly"]:
        del row["reorders"], row["retention_year"]
    found = measure_section(validate_scored_run(scored, old), ())
    assert found is not None
    assert "reorder_rate" not in {row["key"] for row in found["rows"]}


def test_campaigns_are_found_measured_before_planned(tmp_path: Path) -> None:
    (tmp_path / "may").mkdir()
    plan = PLANNED | {"campaign": "May", "day": "2024-05-01"}
    (tmp_path / "may" / "campaign.json").write_text(json.dumps(plan))
    (tmp_path / "may" / "campaign.measured.json").write_text(json.dumps(MEASURED))
    (tmp_path / "june.json").write_text(json.dumps(PLANNED))
    (tmp_path / "scores.run.json").write_text(json.dumps({"schema": 1, "command": "score"}))
    (tmp_path / "torn.json").write_text("{")
    june, may = campaign_rows(read_campaigns(tmp_path))
    assert (june["name"], june["reached"]) == ("June", "100")
    assert "30 Aug 2024" in june["verdict"]
    assert may["reached"] == "1,200; 20% bought"
    assert may["uplift"] == "+5.0 (+1.0 to +9.0)"
    assert may["sales"] == "£5,000 (-£100 to £10,000)"
    assert may["verdict"] == "those reached bought more often because of it"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"is_over": False, "observed_days": 45}, "cannot tell yet: 45 of 90 days are over"),
        ({"repurchase": {"adjusted": {"value": 1.0, "low": -1.0, "high": 3.0, "can_tell": False}}}, "holds zero"),
        (
            {"repurchase": {"adjusted": {"value": -2.0, "low": -3.0, "high": -1.0, "can_tell": True}}},
            "bought less often",
        ),
    ],
)
def test_a_campaign_is_not_praised_beyond_what_is_known(change: dict[str, Any], told: str) -> None:
    (row,) = campaign_rows([MEASURED | change])
    assert told in row["verdict"]


@pytest.mark.parametrize("record", [PLANNED, MEASURED], ids=["planned", "measured"])
def test_a_campaign_that_does_not_say_everything_is_passed_over(tmp_path: Path, record: dict[str, Any]) -> None:
    def found(**changed: Any) -> int:
        kept = {name: value for name, value in (record | changed).items() if value is not None}
        (tmp_path / "may.json").write_text(json.dumps(kept))
        return len(read_campaigns(tmp_path))

    needed = {"arms", "window_ends"} if record is PLANNED else {"groups", "repurchase", "is_over"}
    assert found() == 1
    assert not [name for name in ("day", "campaign", *needed) if found(**{name: None})]
    wrong = {"day": 5, "campaign": ["May"], "observed_days": "9", "planned": "x"} | dict.fromkeys(
        needed - {"is_over", "window_ends"}, "x"
    )
    assert not [name for name, value in wrong.items() if found(**{name: value})]


def test_a_folder_of_campaigns_that_is_not_there(tmp_path: Path) -> None:
    assert read_campaigns(tmp_path / "none") == []
    with pytest.raises(InputError, match="no such folder"):
        read_campaigns(tmp_path / "none", must_be=True)
