"""Features of behaviour: figures worked out by hand, and properties that hold whatever the log."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repurchase.features.behaviour import behaviour_table, window_features
from repurchase.features.ledger import build_ledger

Make = Callable[[list[tuple[Any, ...]]], pl.DataFrame]
Logs = st.SearchStrategy[pl.DataFrame]

END = date(2026, 3, 1)
MIDDLE = date(2025, 1, 15)
few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def features(orders: pl.DataFrame, as_of: date, *, observed_until: date = END) -> pl.DataFrame:
    """Everything a model may hear of customers on a day, with who they are."""
    ledger = build_ledger(orders, observed_until=observed_until)
    history = ledger.history(as_of)
    windows = [
        pl.DataFrame(window_features(history, horizon_days=h)).rename(lambda name, h=h: f"{name}/{h}")
        for h in (30, 365)
    ]
    return pl.concat(
        [pl.DataFrame({"customer_id": ledger.ids.gather(history.customer)}), behaviour_table(history), *windows],
        how="horizontal",
    )


def assert_same_bits(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert one["customer_id"].to_list() == other["customer_id"].to_list()
    assert one.columns == other.columns
    for name in one.columns[1:]:
        assert np.array_equal(one[name].to_numpy(), other[name].to_numpy(), equal_nan=True), name


@pytest.fixture(scope="module")
def customer(make_orders: Make) -> dict[str, float]:
    """One customer on 2025-03-01: days 0, 10, 40, 50, 410 and 420 after 2024-01-01, which is day 425 itself."""
    days = [(0, 10.0), (10, 40.0), (40, 20.0), (50, 5.0), (410, 80.0), (420, 5.0)]
    rows = [("a", (date(2024, 1, 1) + timedelta(days=day)).isoformat(), spend) for day, spend in days]
    return features(make_orders(rows), date(2025, 3, 1)).row(0, named=True)


def test_by_hand_tenure_and_rhythm(customer: dict[str, float]) -> None:
    found = {name: customer[name] for name in ("frequency", "recency_days", "age_days", "days_since_last")}
    assert found == {"frequency": 5, "recency_days": 420, "age_days": 425, "days_since_last": 5}
    gaps = {name: value for name, value in customer.items() if name.startswith("gap_")}
    assert gaps == {
        "gap_mean_days": 84.0,
        "gap_median_days": 10.0,  # of 10, 30, 10, 360, 10
        "gap_irregularity": pytest.approx(np.std([10, 30, 10, 360, 10]) / 84),
        "gap_longest_days": 360,
        "gap_last_days": 10,
        "gap_before_last_days": 360,
        "gap_third_last_days": 10,
    }
    assert customer["silence_to_gap"] == pytest.approx(5 / 84)
    assert customer["silence_to_longest_gap"] == pytest.approx(5 / 360)


@pytest.mark.parametrize(
    ("gaps", "median"), [([7], 7), ([40, 10], 25), ([3, 50, 20], 20), ([9, 1, 30, 4], 6.5), ([5, 4, 3, 2, 1], 3)]
)
def test_by_hand_the_median_gap(make_orders: Make, gaps: list[int], median: float) -> None:
    days = np.concatenate([[0], np.cumsum(gaps)]).tolist()
    rows = [("b", (date(2024, 1, 1) + timedelta(days=day)).isoformat(), 1.0) for day in days]
    neighbours = [("a", "2024-01-03", 1.0), ("c", "2024-01-01", 1.0), ("c", "2024-04-01", 1.0)]
    found = features(make_orders([*neighbours, *rows]), date(2025, 1, 1))["gap_median_days"].to_list()
    assert found == [pytest.approx(np.nan, nan_ok=True), median, 91]


def test_by_hand_windows(customer: dict[str, float]) -> None:
    counts = {window: customer[f"days_bought_{window}d"] for window in (7, 14, 30, 60, 90, 180, 365)}
    assert counts == {7: 1, 14: 1, 30: 2, 60: 2, 90: 2, 180: 2, 365: 2}
    assert customer["days_bought_90d_before"] == 0
    assert customer["active_months_share"] == 4 / 15  # of the 15 months of 30 days before, those with a purchase
    assert (customer["bought_last_window/30"], customer["bought_window_before/30"]) == (2, 0)
    assert (customer["bought_last_window/365"], customer["bought_window_before/365"]) == (2, 4)  # day 60 opens it
    assert customer["active_windows_share/30"] == 4 / 15
    assert customer["active_windows_share/365"] == 1.0


def test_by_hand_the_same_days_a_year_ago(customer: dict[str, float]) -> None:
    assert customer["bought_year_ago/30"] == 0  # (day 60, day 90]
    assert customer["bought_about_year_ago/30"] == 1  # (day 45, day 105] holds day 50
    assert customer["bought_year_ago/365"] == 2  # (day 60, day 425]


def test_by_hand_silences_like_this_one(customer: dict[str, float]) -> None:
    assert customer["silences_as_long/30"] == 5  # every gap was longer than 5 days
    assert customer["came_back_in_time/30"] == pytest.approx((4 + 0.5) / (5 + 1.5))  # all but the one of 360 days


def test_by_hand_fading_and_money(customer: dict[str, float]) -> None:
    ages = np.array([425, 415, 385, 375, 15, 5])
    assert customer["fading_days_30d"] == pytest.approx(np.sum(0.5 ** (ages / 30)))
    spend = np.array([10.0, 40.0, 20.0, 5.0, 80.0, 5.0])
    assert customer["fading_spend_120d"] == pytest.approx(np.sum(spend * 0.5 ** (ages / 120)))
    assert (customer["spend_days_total"], customer["spend_largest"], customer["spend_smallest"]) == (160, 80, 5)
    assert (customer["spend_first"], customer["spend_last"]) == (10, 5)
    assert customer["spend_typical"] == pytest.approx(np.exp(np.log(spend).mean()))


def test_by_hand_baskets_and_returns(make_orders: Make) -> None:
    orders = make_orders(
        [
            ("a", "2024-01-10", 30.0, None, "o1"),
            ("a", "2024-01-10", 30.0, None, "o1"),
            ("a", "2024-01-10", 40.0, None, "o2"),
            ("a", "2024-02-10", 100.0, None, "o3"),
            ("a", "2024-02-20", -50.0, "2024-02-10", "r1"),
        ]
    ).with_columns(quantity=pl.Series([1.0, 2.0, 3.0, 8.0, -4.0]), discount=pl.Series([10.0, 0.0, 0.0, 0.0, 0.0]))
    found = features(orders, date(2024, 3, 1)).row(0, named=True)
    assert found["orders_per_day"] == 1.5
    assert found["pieces_per_day"] == 5.0  # (1 + 2 + 3 + 8 - 4) / 2
    assert found["discount_share"] == pytest.approx(10 / 160)
    assert found["returned_share"] == pytest.approx(50 / 200)


def test_a_rhythm_or_a_year_that_never_was_is_missing_not_zero(make_orders: Make) -> None:
    found = features(make_orders([("a", "2024-01-10", 30.0)]), date(2024, 3, 1)).row(0, named=True)
    missing = {name for name, value in found.items() if isinstance(value, float) and np.isnan(value)}
    assert missing >= {"gap_mean_days", "gap_median_days", "gap_last_days", "silence_to_gap", "bought_year_ago/30"}
    assert np.isfinite(
        [found[name] for name in ("silence_in_spreads", "rate", "days_bought_90d", "spend_typical")]
    ).all()


def test_without_amounts_money_columns_are_absent(make_orders: Make) -> None:
    found = features(make_orders([("a", "2024-01-10", None), ("a", "2024-02-10", None)]), date(2024, 3, 1))
    assert found["frequency"].to_list() == [1]
    assert [name for name in found.columns if "spend" in name or "discount" in name or "returned" in name] == []


def test_nobody_yet_gives_the_same_columns(make_orders: Make) -> None:
    orders = make_orders([("a", "2024-01-10", 30.0)])
    nobody = features(orders, date(2024, 1, 9))
    assert nobody.height == 0
    assert nobody.columns == features(orders, date(2024, 1, 10)).columns


@few
@given(data=st.data())
def test_orders_after_the_day_change_no_feature(logs: Logs, data: st.DataObject) -> None:
    past, future = data.draw(logs), data.draw(logs)
    known = past.filter(pl.col("order_date").dt.date() <= MIDDLE)
    later = future.filter(pl.col("order_date").dt.date() > MIDDLE)
    assert_same_bits(features(pl.concat([known, later]), MIDDLE), features(known, MIDDLE, observed_until=MIDDLE))


NEVER_RAISED = (
    "spend_days_total",
    "spend_largest",
    "spend_last_window",
    "spend_window_before",
    "fading_spend",
    "days_bought",
)


@few
@given(
    data=st.data(), sale=st.integers(0, 29), part=st.floats(0.01, 1.0), days=st.integers(0, 200), found=st.booleans()
)
def test_a_return_never_raises_spend(
    logs: Logs, data: st.DataObject, sale: int, part: float, days: int, found: bool
) -> None:
    orders = data.draw(logs)
    sold = orders.filter(pl.col("amount") > 0)
    if not sold.height:
        return
    row = sold.row(sale % sold.height, named=True)
    back = {
        **row,
        "order_id": "back",
        "order_date": row["order_date"] + timedelta(days=days),
        "amount": -row["amount"] * part,
        "sale_date": row["order_date"].date() if found else None,
    }
    returned = pl.concat([orders, pl.DataFrame([back], schema=orders.schema)])
    before = {row["customer_id"]: row for row in features(orders, END).iter_rows(named=True)}
    names = [
        name
        for name in features(orders, END).columns
        if name.startswith(NEVER_RAISED)
        and not name.startswith("fading_spend_rate")  # a shorter tenure can raise a rate
    ]
    assert {"spend_days_total", "spend_largest", "days_bought_90d", "fading_spend_120d"} <= set(names)
    day = pl.coalesce("sale_date", pl.col("order_date").dt.date())
    left = returned.group_by("customer_id", day.alias("day")).agg(pl.col("amount").round(4).sum().round(4))
    buyers = set(left.filter(pl.col("amount") > 0)["customer_id"])  # others are known by what they were charged
    for after in features(returned, END).iter_rows(named=True):
        for name in names if after["customer_id"] in buyers else ():
            assert after[name] <= before[after["customer_id"]][name] * (1 + 1e-12), name


@few
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(logs: Logs, data: st.DataObject, seed: int) -> None:
    orders = data.draw(logs)
    assert_same_bits(features(orders.sample(fraction=1.0, shuffle=True, seed=seed), END), features(orders, END))


@few
@given(data=st.data(), kept=st.sets(st.sampled_from("abcde"), min_size=1))
def test_some_customers_have_the_features_they_have_among_all(logs: Logs, data: st.DataObject, kept: set[str]) -> None:
    orders = data.draw(logs)
    chosen = pl.col("customer_id").is_in(sorted(kept))
    assert_same_bits(features(orders.filter(chosen), END), features(orders, END).filter(chosen))


def test_some_of_many_customers_have_the_same_bits(simulate_orders: Callable[..., pl.DataFrame]) -> None:
    """Sums over hundreds of blocks, where vectorised loops have a body and a tail."""
    orders = simulate_orders(customers=300, days=400)
    as_of = date(2025, 2, 1)
    whole = features(orders, as_of)
    rng = np.random.default_rng(5)
    for size in (1, 2, 17, 120):
        kept = pl.Series(rng.choice(whole["customer_id"].to_numpy(), size, replace=False)).implode()
        chosen = pl.col("customer_id").is_in(kept)
        assert_same_bits(features(orders.filter(chosen), as_of), whole.filter(chosen))
