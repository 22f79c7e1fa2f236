"""Segments: exclusive, stated, and what follows from them."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import InputError
from repurchase.marketing.lists import ListSettings, list_rows
from repurchase.marketing.segments import FILE_NAMES, LISTED_SEGMENTS, NO_HISTORY, segment_of
from repurchase.models.segments import LOST, SEGMENTS, SegmentThresholds, fit_segment_thresholds, label_segments
from repurchase.schemas import scores_table

AS_OF = date(2024, 6, 30)
TIERS = SegmentThresholds(
    risk_horizon_days=90,
    high_value=100.0,
    second_purchase_days=60.0,
    worth_winning=0.10,
    worth_value=5.0,
    second_purchase_from_days=14.0,
    second_purchase_median_days=30.0,
    usual_gap_days=40.0,
    late_from=2.0,
    loyal_purchases=4,
)


def scores(**columns: list[object]) -> pl.DataFrame:
    """Scores of one horizon; what is not given is null, but for the key and what may not be."""
    n = len(next(iter(columns.values())))
    usual = {
        "customer_id": [f"c{number}" for number in range(n)],
        "as_of": [AS_OF] * n,
        "model_version": ["1"] * n,
        "status": ["scored"] * n,
        "orders": [1] * n,
    }
    given_columns = {**usual, **columns}
    schema = scores_table([90]).schema
    return pl.DataFrame(
        {name: pl.Series(given_columns.get(name, [None] * n), dtype=kind) for name, kind in schema.items()}
    )


def rows(**columns: list[object]) -> pl.DataFrame:
    return list_rows(scores(**columns), tiers=TIERS.to_dict(), risk_days=90, rules=ListSettings())


anything = st.one_of(st.floats(-10.0, 1e6), st.just(np.nan))


@settings(max_examples=200, deadline=None)
@given(
    p=st.one_of(st.floats(0.0, 1.0), st.just(np.nan)),
    value=anything,
    frequency=st.one_of(st.integers(0, 400).map(float), st.just(np.nan)),
    silence=st.one_of(st.integers(0, 5000).map(float), st.just(np.nan)),
    gap=anything,
)
def test_every_customer_meets_exactly_one_rule(
    p: float, value: float, frequency: float, silence: float, gap: float
) -> None:
    """The rules as the record tells them, written anew here, each on its own: one holds, and it is the label."""
    one = {"p": p, "value": value, "frequency": frequency, "days_since_last": silence, "gap_days": gap}
    found = SEGMENTS[label_segments(TIERS, **{name: np.array([number]) for name, number in one.items()}).segment[0]]
    own = 60.0 if np.isnan(gap) else gap
    rhythm = (frequency * own + 40.0) / (frequency + 1.0)
    once, high = frequency == 0, value >= 100.0
    silent = bool(silence > (60.0 if once else 2.0 * rhythm))
    gone = silent and (p < 0.10 or value < 5.0)
    best = not silent and not once and high and frequency + 1 >= 4 and 1.0 - p < 0.70
    told = {
        "lost": gone,
        "first-time buyer": once and not silent,
        "valuable and slipping": silent and not gone and high and not once,
        "win back": silent and not gone and not (high and not once),
        "best and most loyal": best,
        "regular": not silent and not once and not best,
    }
    assert [name for name, holds in told.items() if holds] == [found]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_scores_every_customer_has_one_segment_and_one_list(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    segment = data.draw(st.lists(st.one_of(st.none(), st.sampled_from(SEGMENTS)), min_size=n, max_size=n))
    status = data.draw(st.lists(st.sampled_from(["scored", "no_history"]), min_size=n, max_size=n))
    money = data.draw(st.lists(st.one_of(st.none(), st.floats(-5, 500)), min_size=n, max_size=n))
    made = rows(segment=segment, status=status, value_at_risk=money, frequency=[None] * n)
    assert made["segment"].is_in([*SEGMENTS, NO_HISTORY]).all()
    assert made.height == n
    in_lists = made["segment"].is_in([*LISTED_SEGMENTS, LOST]).cast(pl.Int64) + (made["segment"] == NO_HISTORY).cast(
        pl.Int64
    )
    assert in_lists.to_list() == [1] * n
    assert made.select("channel", "action", "when", "ask_why", "weight").null_count().row(0) == (0,) * 5
    assert (made.filter(pl.col("segment") == NO_HISTORY)["channel"] == "none").all()


def test_scores_of_another_version_are_refused() -> None:
    with pytest.raises(InputError, match="scores of another version: 1 segments are not known here: sleeping"):
        segment_of(scores(segment=["sleeping", "lost"]), name="a.parquet")


def test_every_list_has_a_file_of_its_own() -> None:
    assert len(set(FILE_NAMES.values())) == len(FILE_NAMES)


def test_thresholds_are_learned() -> None:
    gaps = np.concatenate([np.full(80, 1.0), np.full(20, 2.6)])
    learned = fit_segment_thresholds(
        p=np.full(10, 0.5),
        value=np.arange(10.0),
        first_gap_days=np.arange(1.0, 101.0),
        risk_horizon_days=90,
        purchases=np.array([2.0, 6.0, 9.0]),
        own_gap_days=np.array([10.0, 20.0, np.nan]),
        gap_over_own=np.concatenate([gaps, [np.nan]]),
    )
    assert learned.loyal_purchases == 6
    assert learned.usual_gap_days == 15.0
    assert learned.second_purchase_median_days == pytest.approx(50.5)
    assert learned.worth_value == pytest.approx(1.8)
    assert learned.late_from == pytest.approx(1.32)
    old = {name: value for name, value in learned.to_dict().items() if name not in {"late_from", "loyal_purchases"}}
    assert SegmentThresholds.from_dict(old).loyal_purchases == 3


def test_when_to_reach() -> None:
    tomorrow = AS_OF + timedelta(days=1)
    bought = [AS_OF, AS_OF - timedelta(days=20), AS_OF - timedelta(days=400), AS_OF - timedelta(days=90), None, AS_OF]
    made = rows(
        segment=[
            "first-time buyer",
            "first-time buyer",
            "valuable and slipping",
            "regular",
            "lost",
            "best and most loyal",
        ],
        first_order_date=bought,
        next_order_date=[None, None, None, date(2024, 8, 1), None, None],
        next_order_date_low=[None, None, None, date(2024, 7, 11), None, None],
        frequency=[0, 0, 4, 4, 5, 9],
    )
    assert [(when["key"], when["date"]) for when in made["when"]] == [
        ("on", date(2024, 7, 14)),
        ("by", date(2024, 8, 9)),
        ("now", None),
        ("by", date(2024, 8, 1)),
        ("now", None),
        ("any_time", None),
    ]
    assert made["reach_on"].to_list() == [
        date(2024, 7, 14),
        tomorrow,
        tomorrow,
        date(2024, 7, 11),
        tomorrow,
        tomorrow,
    ]
    assert made["ask_why"].to_list() == [False, False, False, False, True, False]
    assert made["channel"].to_list() == ["e-mail", "e-mail", "phone", "e-mail", "personal e-mail", "personal e-mail"]
    assert "ask once why" in made["action"][4]


def test_what_a_contact_may_cost() -> None:
    made = rows(
        segment=["regular", "lost", "regular"], value_at_risk=[200.0, 50.0, None], churn_risk_90d=[0.5, 0.9, 0.2]
    )
    assert made["contact_cost_at_most"].to_list() == [pytest.approx(0.30 * 0.05 * 200.0), None, None]
    assert ListSettings().assumptions()["words"] == {"key": "assumptions", "params": {"margin": 0.3, "effect": 0.05}}


def test_figures_of_a_list() -> None:
    made = rows(
        segment=["regular", "regular", "first-time buyer"],
        value_at_risk=[200.0, None, -1.0],
        churn_risk_90d=[0.456, 0.2, 0.5],
        orders_expected_90d=[3.0, 1.5, 1.0],
        frequency=[4, 3, 0],
        recency_days=[132, 1, 0],
    )
    assert made["churn_risk_percent"].to_list() == [46, 20, 50]
    assert made["risk_over_days"].to_list() == [90, 90, 90]
    assert made["average_gap_days"].to_list() == [33, 1, None]
    assert made["weight"].to_list() == pytest.approx([0.30 * 0.05 * 200.0, 0.2 * 1.5, 0.0])
