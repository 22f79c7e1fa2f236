"""Recency, frequency and money, beside two second opinions on CDNOW: lifetimes, and SQL."""

import sqlite3
import warnings
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from repurchase.features.behaviour import rfm_table
from repurchase.schemas import RFM

END = date(1998, 6, 30)
NUMBERS = ["frequency", "recency_days", "age_days", "spend_mean"]

# CDNOW holds 80 orders of no money; a purchase day has net sales above zero.
SUMMARY_IN_SQL = """
    with days as (
        select customer_id, day, sum(cents) as cents, count(distinct order_id) as orders
        from lines where day <= :as_of group by customer_id, day having sum(cents) > 0
    ), firsts as (
        select customer_id, min(day) as first, max(day) as last from days group by customer_id
    )
    select days.customer_id, first, last,
           count(*) - 1 as frequency,
           cast(julianday(last) - julianday(first) as integer) as recency_days,
           cast(julianday(:as_of) - julianday(first) as integer) as age_days,
           cast(julianday(:as_of) - julianday(last) as integer) as days_since_last,
           sum(orders) as orders,
           sum(case when day > first then cents end) / 100.0 / (count(*) - 1) as spend_mean,
           sum(cents) / 100.0 as spend_total
    from days join firsts using (customer_id) group by days.customer_id order by days.customer_id
"""


@pytest.mark.parametrize("as_of", [END, date(1997, 9, 30), date(1997, 1, 5)])
def test_equals_sql_on_cdnow(cdnow_orders: pl.DataFrame, as_of: date) -> None:
    store = sqlite3.connect(":memory:")
    store.execute("create table lines (customer_id text, order_id text, day text, cents integer)")
    lines = cdnow_orders.select(
        "customer_id", "order_id", pl.col("order_date").dt.to_string("%Y-%m-%d"), (pl.col("amount") * 100).round()
    )
    store.executemany("insert into lines values (?, ?, ?, ?)", lines.iter_rows())
    rows = store.execute(SUMMARY_IN_SQL, {"as_of": as_of.isoformat()}).fetchall()
    store.close()
    found = rfm_table(cdnow_orders, as_of=as_of).with_columns(
        pl.col("first_order_date", "last_order_date").dt.to_string("%Y-%m-%d")
    )
    order = ["customer_id", "first_order_date", "last_order_date", "frequency", "recency_days", "age_days"]
    wanted = pl.DataFrame(rows, schema=[*order, "days_since_last", "orders", "spend_mean", "spend_total"], orient="row")
    assert_frame_equal(found.select(wanted.columns), wanted, rel_tol=1e-12)


@pytest.mark.parametrize(("as_of", "n_customers"), [(END, 23_502), (date(1997, 9, 30), None)])
def test_equals_lifetimes_on_cdnow(cdnow_orders: pl.DataFrame, as_of: date, n_customers: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes.utils import summary_data_from_transaction_data

        paid = cdnow_orders.filter(pl.col("amount") > 0)  # lifetimes counts days without money as purchases
        summary = summary_data_from_transaction_data(
            paid.to_pandas(),
            "customer_id",
            "order_date",
            monetary_value_col="amount",
            observation_period_end=as_of.isoformat(),
            freq="D",
            include_first_transaction=False,
        )
    found = rfm_table(cdnow_orders, as_of=as_of)
    theirs = pl.from_pandas(summary.reset_index()).sort("customer_id")
    assert n_customers in {None, found.height}
    assert found["customer_id"].to_list() == theirs["customer_id"].to_list()
    ours = found.select(
        pl.col("frequency", "recency_days", "age_days").cast(pl.Float64), pl.col("spend_mean").fill_null(0.0)
    )
    named = theirs.select(frequency="frequency", recency_days="recency", age_days="T", spend_mean="monetary_value")
    assert_frame_equal(ours, named, rel_tol=1e-12)


def test_satisfies_its_contract(cdnow_orders: pl.DataFrame) -> None:
    table = RFM.check(rfm_table(cdnow_orders, as_of=END))
    assert table["customer_id"].is_sorted()
    assert (table["recency_days"] + table["days_since_last"] == table["age_days"]).all()


def test_a_one_time_buyer_has_no_repeat_spend(make_orders: Callable[..., Any]) -> None:
    table = rfm_table(make_orders([("a", "2024-01-05", 9.5), ("a", "2024-01-05", 0.5)]), as_of=date(2024, 1, 31))
    row = table.row(0, named=True)
    assert row["spend_mean"] is None
    assert (row["frequency"], row["recency_days"], row["age_days"], row["spend_total"]) == (0, 0, 26, 10.0)


def test_a_day_that_nets_to_nothing_is_no_purchase_day(make_orders: Callable[..., Any]) -> None:
    rows = [("a", "2024-01-05", 10.0), ("a", "2024-01-20", 7.0), ("a", "2024-01-20", -9.0), ("a", "2024-01-25", 0.0)]
    row = rfm_table(make_orders(rows), as_of=date(2024, 1, 31)).row(0, named=True)
    assert (row["frequency"], row["days_since_last"]) == (0, 26)
    assert row["spend_total"] == 8.0  # money is net over all days, purchase days or not


def test_without_amounts_money_is_null_not_zero(make_orders: Callable[..., Any]) -> None:
    table = rfm_table(make_orders([("a", "2024-01-05", None), ("a", "2024-01-09", None)]), as_of=date(2024, 1, 31))
    assert table.row(0, named=True)["frequency"] == 1
    assert table["spend_total"].to_list() == table["spend_mean"].to_list() == [None]


def test_nobody_yet(make_orders: Callable[..., Any]) -> None:
    table = rfm_table(make_orders([("a", "2024-01-05", 1.0)]), as_of=date(2024, 1, 4))
    assert table.height == 0
    assert table.schema == RFM.schema
