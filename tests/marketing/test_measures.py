"""Measures of repeat business against a log done by hand, a second opinion in plain Python, and published counts."""

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.marketing.measures import repeat_business

START = date(2024, 1, 1)


def log(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Orders from (customer, order, ISO day, amount[, ISO day of the sale a return reverses])."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "order_id": [row[1] for row in rows],
            "order_date": [datetime.fromisoformat(row[2]) for row in rows],
            "amount": [row[3] for row in rows],
            "sale_date": [date.fromisoformat(row[4]) if len(row) > 4 else None for row in rows],
        },
        schema={
            "customer_id": pl.String(),
            "order_id": pl.String(),
            "order_date": pl.Datetime("us"),
            "amount": pl.Float64(),
            "sale_date": pl.Date(),
        },
    )


BY_HAND = log(
    ("anna", "1", "2024-01-10T09:00", 40.0),
    ("anna", "1", "2024-01-10T09:00", 10.0),  # a second line of the same order
    ("anna", "2", "2024-01-10T17:00", 10.0),  # a second order on the same day: one purchase day
    ("anna", "3", "2024-02-04T12:00", 40.0),  # 25 days later
    ("bert", "4", "2024-01-20T12:00", 100.0),
    ("bert", "5", "2024-04-19T12:00", 50.0),  # exactly 90 days later
    ("cleo", "6", "2024-02-01T12:00", 30.0),
    ("cleo", "7", "2024-03-01T12:00", 20.0),
    ("cleo", "8", "2024-03-05T12:00", -20.0, "2024-03-01"),  # takes the second purchase day back
    ("dora", "9", "2024-04-25T12:00", 20.0),
    ("ezra", "10", "2024-03-01T12:00", 0.0),  # never paid anything: not a customer
)
AS_OF = date(2024, 4, 30)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return repeat_business(BY_HAND, as_of=AS_OF)


def test_totals_by_hand(measured: dict[str, Any]) -> None:
    assert measured["n_customers"] == 4
    assert measured["n_orders"] == 7
    assert measured["sales_total"] == 300.0
    assert measured["repeat_purchase_rate"] == 2 / 4
    assert measured["returning_sales_share"] == pytest.approx(90 / 300)


def test_only_customers_watched_long_enough_are_in_a_share(measured: dict[str, Any]) -> None:
    # dora was watched for 5 days, cleo for 89: of three watched for 30 days anna came back, of two for 90 both
    assert measured["repeat_within_observed"] == {"30": 3, "90": 2, "180": 0, "365": 0}
    assert measured["repeat_within"] == {"30": pytest.approx(1 / 3), "90": 1.0, "180": None, "365": None}
    assert measured["median_within_days"] == 90
    assert measured["median_days_to_second"] == (25 + 90) / 2


def test_months_by_hand(measured: dict[str, Any]) -> None:
    by_month = {row["month"]: row for row in measured["monthly"]}
    assert list(by_month) == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert [row["new_customers"] for row in by_month.values()] == [2, 1, 0, 1]
    assert [row["returning_customers"] for row in by_month.values()] == [0, 1, 0, 1]
    assert [row["orders"] for row in by_month.values()] == [3, 2, 0, 2]
    assert [row["sales"] for row in by_month.values()] == [160.0, 70.0, 0.0, 70.0]
    assert [row["returning_sales"] for row in by_month.values()] == [0.0, 40.0, 0.0, 50.0]
    assert [row["repeat_rate"] for row in by_month.values()] == [0.0, 1 / 3, 1 / 3, 2 / 4]
    assert [row["retention"] for row in by_month.values()] == [None] * 4
    assert all(row["complete"] for row in by_month.values())


def test_retention_by_hand() -> None:
    rows = log(
        ("a", "1", "2024-01-01", 5.0),
        ("a", "2", "2024-06-01", 5.0),  # kept
        ("b", "3", "2024-03-30", 5.0),  # lost
        ("c", "4", "2024-03-31", 5.0),  # new in the last 90 days
        ("d", "5", "2024-02-01", 5.0),
        ("d", "6", "2024-06-28", 5.0),  # kept
    )
    last = repeat_business(rows, as_of=date(2024, 6, 28))["monthly"][-1]
    assert last["retention"] == pytest.approx(2 / 3)
    assert not last["complete"]
    assert repeat_business(rows, as_of=date(2024, 6, 27))["monthly"][-1]["retention"] is None  # 179 days old


def test_cohorts_leave_out_the_period_that_is_not_over() -> None:
    rows = log(
        ("a", "1", "2023-01-05", 5.0),
        ("b", "2", "2023-01-09", 5.0),
        ("a", "3", "2023-02-20", 5.0),
        ("c", "4", "2023-02-21", 5.0),
        ("a", "5", "2023-09-15", 5.0),
    )
    measured = repeat_business(rows, as_of=date(2023, 9, 29))
    assert measured["cohort_period"] == "month"
    assert measured["cohorts"] == [
        {"cohort": "2023-01", "size": 2, "active_share": [1.0, 0.5, 0, 0, 0, 0, 0, 0]},
        {"cohort": "2023-02", "size": 1, "active_share": [1.0, 0, 0, 0, 0, 0, 0]},
    ]
    whole = repeat_business(rows, as_of=date(2023, 9, 30))["cohorts"]
    assert whole[0]["active_share"][8] == 0.5


@pytest.mark.parametrize(("days", "period"), [(100, "week"), (500, "month"), (1500, "quarter"), (4000, "year")])
def test_a_cohort_matrix_stays_readable(days: int, period: str) -> None:
    rows = log(*((f"c{i}", f"{i}", (START + timedelta(days=i)).isoformat(), 1.0) for i in range(0, days, 3)))
    measured = repeat_business(rows, as_of=START + timedelta(days=days))
    assert measured["cohort_period"] == period
    assert 3 <= len(measured["cohorts"]) <= 24
    assert sum(row["size"] for row in measured["cohorts"]) + measured["cohorts_left_out"] == measured["n_customers"]


def test_a_burst_of_growth_keeps_months_and_counts_the_old_cohorts() -> None:
    old = [(f"old{i}", f"o{i}", (date(2018, 1, 1) + timedelta(days=40 * i)).isoformat(), 1.0) for i in range(5)]
    new = [(f"new{i}", f"n{i}", (date(2024, 1, 1) + timedelta(days=i % 90)).isoformat(), 1.0) for i in range(95)]
    measured = repeat_business(log(*old, *new), as_of=date(2024, 3, 31))
    assert (measured["cohort_period"], measured["cohorts_left_out"]) == ("month", 5)


def test_without_amounts_any_order_makes_a_purchase_day() -> None:
    measured = repeat_business(BY_HAND.with_columns(amount=pl.lit(None, dtype=pl.Float64)), as_of=AS_OF)
    assert measured["n_customers"] == 5
    assert measured["repeat_customers"] == 3
    assert measured["sales_total"] is None
    assert measured["returning_sales_share"] is None
    assert {row["sales"] for row in measured["monthly"]} == {None}


def test_no_orders_yet_is_an_answer_too() -> None:
    measured = repeat_business(BY_HAND, as_of=date(2023, 12, 31))
    assert measured["n_customers"] == 0
    assert measured["repeat_purchase_rate"] is None
    assert (measured["monthly"], measured["cohorts"]) == ([], [])


def test_a_return_that_comes_to_light_later_is_not_known_before() -> None:
    early = repeat_business(BY_HAND, as_of=date(2024, 3, 4))
    assert early["repeat_customers"] == 2  # anna, and cleo until she sends it back on 5 March


def test_orders_that_are_not_orders_are_refused() -> None:
    with pytest.raises(OrdersError, match="amount"):
        repeat_business(BY_HAND.drop("amount"), as_of=AS_OF)


order_rows = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.integers(0, 30),
        st.integers(0, 500),
        st.sampled_from([-30.0, -10.0, 0.0, 10.0, 12.5, 30.0]),
        st.one_of(st.none(), st.integers(0, 60)),
    ),
    min_size=1,
    max_size=60,
)


def made(rows: list[tuple[str, int, int, float, int | None]]) -> pl.DataFrame:
    return log(
        *(
            (who, f"{who}{order}", (START + timedelta(days=day)).isoformat(), amount)
            + (((START + timedelta(days=max(day - back, 0))).isoformat(),) if back is not None and amount < 0 else ())
            for who, order, day, amount, back in rows
        )
    )


def second_opinion(orders: pl.DataFrame, as_of: date) -> dict[str, Any]:
    """The same measures, one customer at a time."""
    net: dict[tuple[str, date], float] = defaultdict(float)
    for row in orders.iter_rows(named=True):
        if row["order_date"].date() <= as_of:
            own_day = row["order_date"].date()
            net[row["customer_id"], (row["sale_date"] or own_day) if row["amount"] < 0 else own_day] += row["amount"]
    days: dict[str, list[date]] = defaultdict(list)
    for (who, day), amount in sorted(net.items()):
        if amount > 0:
            days[who].append(day)
    gaps = {who: (bought[1] - bought[0]).days if len(bought) > 1 else None for who, bought in days.items()}
    watched = {who: (as_of - bought[0]).days for who, bought in days.items()}
    within = {}
    for h in (30, 90, 180, 365):
        seen = [who for who in days if watched[who] >= h]
        back = [who for who in seen if gaps[who] is not None and gaps[who] <= h]
        within[str(h)] = len(back) / len(seen) if seen else None
    start, middle = as_of - timedelta(days=180), as_of - timedelta(days=90)
    before = {who for who, bought in days.items() if any(start < day <= middle for day in bought)}
    kept = {who for who in before if any(middle < day <= as_of for day in days[who])}
    old_enough = days and min(bought[0] for bought in days.values()) <= start + timedelta(days=1)
    return {
        "n_customers": len(days),
        "repeat_customers": sum(gap is not None for gap in gaps.values()),
        "repeat_within": within,
        "sales_total": sum(net.values()),
        "returning_sales": sum(amount for (who, day), amount in net.items() if who in days and day > days[who][0]),
        "retention": len(kept) / len(before) if old_enough and before else None,
    }


@settings(max_examples=150, deadline=None)
@given(order_rows, st.integers(0, 520))
def test_second_opinion(rows: list[tuple[str, int, int, float, int | None]], watched_days: int) -> None:
    orders, as_of = made(rows), START + timedelta(days=watched_days)
    measured, expected = repeat_business(orders, as_of=as_of), second_opinion(orders, as_of)
    for name in ("n_customers", "repeat_customers", "repeat_within"):
        assert measured[name] == expected[name], name
    if measured["n_customers"]:
        assert measured["sales_total"] == pytest.approx(expected["sales_total"])
        assert sum(row["sales"] for row in measured["monthly"]) == pytest.approx(expected["sales_total"])
        assert sum(row["returning_sales"] for row in measured["monthly"]) == pytest.approx(expected["returning_sales"])
        assert sum(row["orders"] for row in measured["monthly"]) == measured["n_orders"]
        assert sum(row["new_customers"] for row in measured["monthly"]) == measured["n_customers"]
        assert measured["monthly"][-1]["retention"] == pytest.approx(expected["retention"])
        assert measured["monthly"][-1]["repeat_rate"] == measured["repeat_purchase_rate"]


@settings(max_examples=50, deadline=None)
@given(order_rows, order_rows, st.integers(0, 520))
def test_later_orders_and_row_order_change_nothing(
    rows: list[tuple[str, int, int, float, int | None]],
    later: list[tuple[str, int, int, float, int | None]],
    watched_days: int,
) -> None:
    as_of = START + timedelta(days=watched_days)
    known = made([row for row in rows if row[2] <= watched_days])
    future = made([row for row in later if row[2] > watched_days])
    measured = repeat_business(known, as_of=as_of)
    assert json.dumps(repeat_business(pl.concat([future, known.reverse()]), as_of=as_of)) == json.dumps(measured)


def test_published_counts_of_cdnow(cdnow_file: Path, cdnow_orders: pl.DataFrame) -> None:
    """Fader, Hardie & Lee (2005), Marketing Science 24(2): of 2,357 sampled customers 946 bought again by week 39."""
    rows = [line.split() for line in cdnow_file.with_name("CDNOW_sample.txt").read_text().splitlines()]
    sample = pl.DataFrame(
        {
            "customer_id": [row[1] for row in rows],
            "order_id": [f"{number}" for number in range(len(rows))],
            "order_date": pl.Series([row[2] for row in rows]).str.to_datetime("%Y%m%d", time_unit="us"),
            "amount": pl.Series([None] * len(rows), dtype=pl.Float64),  # the paper counts orders, paid or not
        }
    )
    measured = repeat_business(sample, as_of=date(1997, 9, 30))
    assert (measured["n_customers"], measured["repeat_customers"]) == (2357, 946)
    unpaid_too = repeat_business(
        cdnow_orders.with_columns(amount=pl.lit(None, dtype=pl.Float64)), as_of=date(1998, 6, 30)
    )
    assert (unpaid_too["n_customers"], unpaid_too["n_orders"]) == (23570, 69659)


def test_real_logs_give_small_json(shared_data: Path) -> None:
    orders = pl.read_parquet(shared_data / "online_retail_ii.parquet").with_columns(
        pl.col("quantity").cast(pl.Float64), pl.col("order_date").cast(pl.Datetime("us"))
    )
    measured = repeat_business(orders, as_of=date(2011, 12, 9))
    assert len(json.dumps(measured, allow_nan=False)) < 20_000
    assert measured["cohort_period"] == "quarter"
