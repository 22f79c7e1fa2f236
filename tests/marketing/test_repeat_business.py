"""Measures of repeat business against a log done by hand, a second opinion in plain Python, and published counts."""

import json
import math
import pickle
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import reduce
from operator import add
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import InputError, OrdersError
from repurchase.features.ledger import Closing, build_ledger
from repurchase.i18n.catalogues import LOCALES, use_locale
from repurchase.i18n.messages import translate_text
from repurchase.marketing.purchase_counts import PurchaseCounts, count_purchases
from repurchase.marketing.repeat_business import find_benchmarks, measure_orders, read_benchmarks, repeat_business

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
    return measure_orders(BY_HAND, as_of=AS_OF)


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
    last = measure_orders(rows, as_of=date(2024, 6, 28))["monthly"][-1]
    assert last["retention"] == pytest.approx(2 / 3)
    assert not last["complete"]
    assert measure_orders(rows, as_of=date(2024, 6, 27))["monthly"][-1]["retention"] is None  # 179 days old


def test_cohorts_leave_out_the_period_that_is_not_over() -> None:
    rows = log(
        ("a", "1", "2023-01-05", 5.0),
        ("b", "2", "2023-01-09", 5.0),
        ("a", "3", "2023-02-20", 5.0),
        ("c", "4", "2023-02-21", 5.0),
        ("a", "5", "2023-09-15", 5.0),
    )
    measured = measure_orders(rows, as_of=date(2023, 9, 29))
    assert measured["cohort_period"] == "month"
    shares = [[1.0, 0.5, 0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0]]
    assert measured["cohorts"] == [
        {"cohort": "2023-01", "size": 2, "active_share": shares[0], "sales_share": shares[0]},
        {"cohort": "2023-02", "size": 1, "active_share": shares[1], "sales_share": shares[1]},
    ]
    whole = measure_orders(rows, as_of=date(2023, 9, 30))["cohorts"]
    assert whole[0]["active_share"][8] == 0.5


@pytest.mark.parametrize(("days", "period"), [(100, "week"), (500, "month"), (1500, "quarter"), (4000, "year")])
def test_a_cohort_matrix_stays_readable(days: int, period: str) -> None:
    rows = log(*((f"c{i}", f"{i}", (START + timedelta(days=i)).isoformat(), 1.0) for i in range(0, days, 3)))
    measured = measure_orders(rows, as_of=START + timedelta(days=days))
    assert measured["cohort_period"] == period
    assert 3 <= len(measured["cohorts"]) <= 24
    assert sum(row["size"] for row in measured["cohorts"]) + measured["cohorts_left_out"] == measured["n_customers"]


def test_a_burst_of_growth_keeps_months_and_counts_the_old_cohorts() -> None:
    old = [(f"old{i}", f"o{i}", (date(2018, 1, 1) + timedelta(days=40 * i)).isoformat(), 1.0) for i in range(5)]
    new = [(f"new{i}", f"n{i}", (date(2024, 1, 1) + timedelta(days=i % 90)).isoformat(), 1.0) for i in range(95)]
    measured = measure_orders(log(*old, *new), as_of=date(2024, 3, 31))
    assert (measured["cohort_period"], measured["cohorts_left_out"]) == ("month", 5)


def test_a_unit_that_holds_nine_in_ten_is_fine_enough() -> None:
    old = ("old", "o", "2018-01-01", 1.0)
    new = [(f"new{i}", f"n{i}", "2024-03-01", 1.0) for i in range(9)]
    assert measure_orders(log(old, *new), as_of=date(2024, 3, 31))["cohort_period"] == "month"
    assert measure_orders(log(old, *new[1:]), as_of=date(2024, 3, 31))["cohort_period"] != "month"


def test_without_amounts_any_order_makes_a_purchase_day() -> None:
    measured = measure_orders(BY_HAND.with_columns(amount=pl.lit(None, dtype=pl.Float64)), as_of=AS_OF)
    assert measured["n_customers"] == 5
    assert measured["repeat_customers"] == 3
    assert measured["sales_total"] is None
    assert measured["returning_sales_share"] is None
    assert {row["sales"] for row in measured["monthly"]} == {None}


def test_no_orders_yet_is_an_answer_too() -> None:
    measured = measure_orders(BY_HAND, as_of=date(2023, 12, 31))
    assert measured["n_customers"] == 0
    assert measured["repeat_purchase_rate"] is None
    assert (measured["monthly"], measured["cohorts"]) == ([], [])


def test_a_log_of_returns_alone_has_no_months() -> None:
    measured = measure_orders(log(("anna", "1", "2024-01-10", -5.0)), as_of=AS_OF)
    assert (measured["n_customers"], measured["monthly"], measured["first_day"]) == (0, [], None)
    assert measured["sales_total"] == -5.0


def test_a_return_that_comes_to_light_later_is_not_known_before() -> None:
    early = measure_orders(BY_HAND, as_of=date(2024, 3, 4))
    assert early["repeat_customers"] == 2  # anna, and cleo until she sends it back on 5 March


def test_orders_that_are_not_orders_are_refused() -> None:
    with pytest.raises(OrdersError, match="amount"):
        measure_orders(BY_HAND.drop("amount"), as_of=AS_OF)


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
    """All measures, one customer and one day at a time, in exact money."""
    net: dict[tuple[str, date], int] = defaultdict(int)
    sold: dict[tuple[str, date], set[str]] = defaultdict(set)
    for row in orders.iter_rows(named=True):
        own_day = row["order_date"].date()
        if own_day <= as_of:
            net[row["customer_id"], row["sale_date"] or own_day] += round(row["amount"] * 100)
            if row["amount"] > 0:
                sold[row["customer_id"], own_day].add(row["order_id"])
    days: dict[str, list[date]] = defaultdict(list)
    for (who, day), amount in sorted(net.items()):
        if amount > 0:
            days[who].append(day)
    if not days:
        return {"n_customers": 0}
    gap = {who: (bought[1] - bought[0]).days for who, bought in days.items() if len(bought) > 1}
    watched = {who: (as_of - bought[0]).days for who, bought in days.items()}
    seen = {h: [who for who in days if watched[who] >= h] for h in (30, 90, 180, 365)}
    back = {h: [gap[who] for who in seen[h] if who in gap and gap[who] <= h] for h in seen}
    longest = max((h for h in seen if seen[h] and len(seen[h]) * 10 >= len(days)), default=None)
    later = sum(amount for (who, day), amount in net.items() if who in days and day > days[who][0])
    total = sum(net.values())
    return {
        "as_of": as_of.isoformat(),
        "first_day": min(bought[0] for bought in days.values()).isoformat(),
        "n_customers": len(days),
        "n_orders": sum(len(sold[who, day]) for who, bought in days.items() for day in bought),
        "repeat_customers": len(gap),
        "repeat_purchase_rate": len(gap) / len(days),
        "repeat_within": {str(h): len(back[h]) / len(seen[h]) if seen[h] else None for h in seen},
        "repeat_within_observed": {str(h): len(seen[h]) for h in seen},
        "median_days_to_second": float(median(back[longest])) if longest and back[longest] else None,
        "median_within_days": longest,
        "sales_total": total / 100,
        "returning_sales_share": later / total if 0 <= later <= total and total else None,
        "reorder_rate": _part(
            sum(len(sold[who, day]) for who, bought in days.items() for day in bought[1:]),
            sum(len(sold[who, day]) for who, bought in days.items() for day in bought),
        ),
        "spenders": spenders_one_by_one(net, days),
        "rhythm": rhythm_one_by_one(days),
        "retention_window_days": 90,
        "monthly": months_one_by_one(net, sold, days, as_of),
        **cohorts_one_by_one(net, days, as_of),
    }


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def spenders_one_by_one(net: dict[tuple[str, date], int], days: dict[str, list[date]]) -> dict[str, Any]:
    groups = {"once": [], "returning": []}
    for who, bought in days.items():
        groups["once" if len(bought) == 1 else "returning"].append(who)
    found = {}
    for name, members in groups.items():
        spent = sum(amount for (who, day), amount in net.items() if who in members and day >= days[who][0])
        found[name] = {
            "customers": len(members),
            "sales_per_customer": spent / 100 / len(members) if members else None,
            "sales_per_purchase_day": spent / 100 / sum(len(days[who]) for who in members) if members else None,
        }
    return found


def rhythm_one_by_one(days: dict[str, list[date]]) -> dict[str, Any] | None:
    means = [((bought[-1] - bought[0]).days, len(bought) - 1) for bought in days.values() if len(bought) > 1]
    gaps = sorted(min((2 * span + steps) // (2 * steps), 730) for span, steps in means)  # halves are rounded up
    if not gaps:
        return None
    quartiles = {
        name: gaps[-(-len(gaps) * part // 4) - 1]
        for part, name in ((1, "quarter_days"), (2, "median_days"), (3, "three_quarters_days"))
    }
    return {"customers": len(gaps), **quartiles, "longest_days": 730}


def months_one_by_one(
    net: dict[tuple[str, date], int], sold: dict[tuple[str, date], set[str]], days: dict[str, list[date]], as_of: date
) -> list[dict[str, Any]]:
    rows = []
    month = min(day for _, day in net).replace(day=1)
    while month <= as_of:
        following = (month + timedelta(days=31)).replace(day=1)
        end = min(following - timedelta(days=1), as_of)
        start, middle = end - timedelta(days=180), end - timedelta(days=90)
        here = {who for who, bought in days.items() if any(month <= day < following for day in bought)}
        new = {who for who in here if days[who][0] >= month}
        so_far = [bought for bought in days.values() if bought[0] < following]
        before = {who for who, bought in days.items() if any(start < day <= middle for day in bought)}
        kept = {who for who in before if any(middle < day <= end for day in days[who])}
        first = min(bought[0] for bought in days.values())
        old_enough = first <= start + timedelta(days=1)
        year, years = end - timedelta(days=365), end - timedelta(days=730)
        before_year = {who for who, bought in days.items() if any(years < day <= year for day in bought)}
        kept_year = {who for who in before_year if any(year < day <= end for day in days[who])}
        sales = {key: amount for key, amount in net.items() if month <= key[1] < following}
        rows.append(
            {
                "month": f"{month:%Y-%m}",
                "customers": len(here),
                "new_customers": len(new),
                "returning_customers": len(here - new),
                "orders": sum(len(sold[who, day]) for who in here for day in days[who] if month <= day < following),
                "reorders": sum(
                    len(sold[who, day]) for who in here for day in days[who][1:] if month <= day < following
                ),
                "sales": sum(sales.values()) / 100,
                "returning_sales": sum(v for (who, day), v in sales.items() if who in days and day > days[who][0])
                / 100,
                "repeat_rate": sum(any(day < following for day in bought[1:]) for bought in so_far) / len(so_far)
                if so_far
                else None,
                "retention": len(kept) / len(before) if old_enough and before else None,
                "retention_year": len(kept_year) / len(before_year)
                if before_year and first <= years + timedelta(days=1)
                else None,
                "complete": following - timedelta(days=1) <= as_of,
            }
        )
        month = following
    return rows


def cohorts_one_by_one(net: dict[tuple[str, date], int], days: dict[str, list[date]], as_of: date) -> dict[str, Any]:
    numbers: dict[str, Callable[[date], int]] = {
        "week": lambda day: (day - date(1999, 1, 4)).days // 7,
        "month": lambda day: day.year * 12 + day.month - 1,
        "quarter": lambda day: day.year * 4 + (day.month - 1) // 3,
        "year": lambda day: day.year,
    }
    names: dict[str, Callable[[int], str]] = {
        "week": lambda number: (date(1999, 1, 4) + timedelta(weeks=number)).isoformat(),
        "month": lambda number: f"{number // 12}-{number % 12 + 1:02d}",
        "quarter": lambda number: f"{number // 4}-Q{number % 4 + 1}",
        "year": str,
    }
    young = (as_of - min(bought[0] for bought in days.values())).days <= 182
    for unit in ("week", "month", "quarter", "year") if young else ("month", "quarter", "year"):
        number = numbers[unit]
        latest = {who: number(bought[0]) for who, bought in days.items() if number(bought[0]) > number(as_of) - 24}
        if len(latest) >= 0.9 * len(days):
            break
    over = number(as_of + timedelta(days=1)) - 1
    cohorts = []
    for cohort in sorted(set(latest.values())):
        members = [who for who in latest if latest[who] == cohort]
        active = [
            sum(any(number(day) == period for day in days[who]) for who in members) / len(members)
            for period in range(cohort, max(over, cohort) + 1)
        ]
        spent = [
            sum(
                amount
                for (who, day), amount in net.items()
                if who in members and day >= days[who][0] and number(day) == period
            )
            for period in range(cohort, max(over, cohort) + 1)
        ]
        shares = [part / spent[0] if spent[0] > 0 else None for part in spent]
        row = {"cohort": names[unit](cohort), "size": len(members), "active_share": active, "sales_share": shares}
        cohorts.append(row)
    return {"cohort_period": unit, "cohorts": cohorts, "cohorts_left_out": len(days) - len(latest)}


@settings(max_examples=150, deadline=None)
@given(order_rows, st.integers(0, 520))
def test_second_opinion(rows: list[tuple[str, int, int, float, int | None]], watched_days: int) -> None:
    orders, as_of = made(rows), START + timedelta(days=watched_days)
    measured, expected = measure_orders(orders, as_of=as_of), second_opinion(orders, as_of)
    assert {name: measured[name] for name in expected} == expected


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("days", [25, 170, 900, 2500, 9500])
def test_second_opinion_on_old_and_young_shops(days: int, seed: int) -> None:
    orders, as_of = random_log(days=days, seed=seed), START + timedelta(days=days - seed)
    assert measure_orders(orders, as_of=as_of) == second_opinion(orders, as_of)


def random_log(*, days: int, seed: int, customers: int = 40, orders: int = 160) -> pl.DataFrame:
    """Orders with returns of a known sale and of none, some of them on the day of a sale."""
    random = Random(seed)
    rows: list[tuple[Any, ...]] = []
    for number in range(orders):
        day = random.randrange(days)
        amount = random.choice([-25.0, -10.0, 0.0, 10.0, 19.99, 30.0])
        back = (iso(max(day - random.randrange(60), 0)),) if amount < 0 and number % 2 else ()
        rows.append((f"c{random.randrange(customers)}", f"{number // 2}", iso(day), amount, *back))
    return log(*rows, ("c0", "first", iso(0), 5.0))


def iso(day: int) -> str:
    return (START + timedelta(days=day)).isoformat()


@pytest.mark.parametrize("parts", [1, 3, 17])
@pytest.mark.parametrize("days", [25, 180, 900, 9500])
@pytest.mark.parametrize("money", [True, False])
def test_parts_that_share_no_customer_add_up_to_the_whole(days: int, parts: int, money: bool) -> None:
    orders, as_of = random_log(days=days, seed=parts, orders=400), START + timedelta(days=days - 3)
    if not money:
        orders = orders.with_columns(amount=pl.lit(None, dtype=pl.Float64), sale_date=pl.lit(None, dtype=pl.Date))
    part = pl.col("customer_id").hash(parts) % parts
    counts = [counted(orders.filter(part == number), as_of) for number in range(parts)]

    whole = json.dumps(measure_orders(orders, as_of=as_of))

    for ordered in (counts, counts[::-1], Random(1).sample(counts, parts)):
        assert json.dumps(repeat_business(reduce(add, ordered))) == whole
    one, *others = [pickle.loads(pickle.dumps(count)) for count in counts]
    assert json.dumps(repeat_business(reduce(add, others, one) + PurchaseCounts.none(as_of))) == whole


def counted(orders: pl.DataFrame, as_of: date) -> PurchaseCounts:
    return count_purchases(build_ledger(orders, observed_until=as_of), as_of=as_of)


def test_weeks_of_a_young_part_are_not_shown_in_an_old_whole() -> None:
    old, young = (log((who, "1", day, 1.0)) for who, day in (("a", "2023-07-01"), ("b", "2024-04-25")))
    assert repeat_business(counted(young, AS_OF))["cohort_period"] == "week"
    whole = counted(young, AS_OF) + counted(old, AS_OF)
    assert repeat_business(whole) == measure_orders(pl.concat([old, young]), as_of=AS_OF)
    again = whole + counted(log(("c", "1", "2024-04-01", 1.0)), AS_OF)
    assert repeat_business(again)["cohort_period"] == "month"
    assert not again.cohorts[0].any()


def test_counts_hold_no_more_the_more_customers_there_are() -> None:
    few, many = (random_log(days=700, seed=1, customers=n, orders=10 * n) for n in (20, 400))
    sizes = [len(pickle.dumps(counted(orders, START + timedelta(days=700)))) for orders in (few, many)]
    assert sizes[1] < 1.1 * sizes[0]


def test_what_does_not_add_up_is_refused() -> None:
    paid, unpaid = BY_HAND, BY_HAND.with_columns(amount=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(InputError, match="Count up to one day"):
        counted(paid, AS_OF) + counted(paid, AS_OF - timedelta(days=1))
    with pytest.raises(InputError, match="with and without amounts"):
        counted(paid, AS_OF) + counted(unpaid, AS_OF)
    closed = replace(build_ledger(paid, observed_until=AS_OF), closing=Closing(1, 40))
    with pytest.raises(InputError, match="calendar days"):
        count_purchases(closed, as_of=AS_OF)


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
    measured = measure_orders(known, as_of=as_of)
    assert json.dumps(measure_orders(pl.concat([future, known.reverse()]), as_of=as_of)) == json.dumps(measured)


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
    measured = measure_orders(sample, as_of=date(1997, 9, 30))
    assert (measured["n_customers"], measured["repeat_customers"]) == (2357, 946)
    unpaid_too = measure_orders(
        cdnow_orders.with_columns(amount=pl.lit(None, dtype=pl.Float64)), as_of=date(1998, 6, 30)
    )
    assert (unpaid_too["n_customers"], unpaid_too["n_orders"]) == (23570, 69659)


def test_real_logs_give_small_json(shared_data: Path) -> None:
    orders = pl.read_parquet(shared_data / "online_retail_ii.parquet").with_columns(
        pl.col("quantity").cast(pl.Float64), pl.col("order_date").cast(pl.Datetime("us"))
    )
    measured = measure_orders(orders, as_of=date(2011, 12, 9))
    assert len(json.dumps(measured, allow_nan=False)) < 20_000
    assert measured["cohort_period"] == "quarter"


def test_who_spends_how_often_and_in_which_rhythm_by_hand() -> None:
    found = measure_orders(
        log(
            ("anna", "1", "2022-01-10", 50.0),
            ("anna", "2", "2022-01-20", 30.0),
            ("anna", "3", "2023-01-05", 20.0),
            ("anna", "4", "2023-01-06", -5.0),
            ("bert", "5", "2022-02-01", 100.0),
            ("cleo", "6", "2022-03-01", 10.0),
            ("cleo", "7", "2022-03-31", 10.0),
            ("dora", "8", "2024-01-20", 8.0),
        ),
        as_of=date(2024, 1, 31),
    )

    assert found["spenders"] == {
        "once": {"customers": 2, "sales_per_customer": 54.0, "sales_per_purchase_day": 54.0},
        "returning": {"customers": 2, "sales_per_customer": 57.5, "sales_per_purchase_day": 23.0},
    }
    assert found["rhythm"] == {
        "customers": 2, "quarter_days": 30, "median_days": 30, "three_quarters_days": 180, "longest_days": 730,
    }  # fmt: skip
    assert found["reorder_rate"] == 3 / 7
    last = found["monthly"][-1]
    assert (last["orders"], last["reorders"]) == (1, 0)
    # In the year to the end of January 2023, and of those also in the year to the end of January 2024: nobody; anna,
    # bert and cleo bought in the first (anna twice), none in the second.
    assert last["retention_year"] == 0.0
    assert found["monthly"][-2]["retention_year"] is None
    cohorts = {row["cohort"]: row for row in found["cohorts"]}
    assert found["cohort_period"] == "quarter"
    assert cohorts["2022-Q1"]["sales_share"] == [1.0, 0, 0, 0, 15 / 200, 0, 0, 0]


def test_a_year_s_retention_by_a_second_opinion() -> None:
    random = Random(3)
    rows = [
        (f"c{who}", f"{who}-{number}", (date(2021, 1, 1) + timedelta(days=random.randrange(1200))).isoformat(), 5.0)
        for who in range(120)
        for number in range(random.randrange(1, 6))
    ]
    as_of = date(2024, 4, 30)
    bought = defaultdict(set)
    for who, _, when, _ in rows:
        bought[who].add(date.fromisoformat(when))
    found = measure_orders(log(*rows), as_of=as_of)

    for month, end in (("2024-04", as_of), ("2023-12", date(2023, 12, 31))):
        lately, before = end - timedelta(days=365), end - timedelta(days=730)
        start = {who for who, days in bought.items() if any(before < day <= lately for day in days)}
        kept = {who for who in start if any(lately < day <= end for day in bought[who])}
        row = next(row for row in found["monthly"] if row["month"] == month)
        assert row["retention_year"] == len(kept) / len(start)


def test_new_counts_of_parts_give_the_whole_s() -> None:
    rows = [
        (f"c{who % 40}", str(who), f"2023-{who % 12 + 1:02d}-{who % 27 + 1:02d}", 1.0 + who % 7 - 2.0 * (who % 11 == 0))
        for who in range(200)
    ]
    orders, as_of = log(*rows), date(2024, 2, 1)
    whole = measure_orders(orders, as_of=as_of)
    parts = [orders.filter(pl.col("customer_id").str.ends_with(str(last))) for last in range(10)]
    counts = [count_purchases(build_ledger(part, observed_until=as_of), as_of=as_of) for part in parts if part.height]

    added = repeat_business(reduce(add, counts))

    for name in ("spenders", "rhythm", "reorder_rate", "cohorts", "monthly"):
        assert added[name] == whole[name], name


# Benchmarks


def a_stick(**changed: object) -> str:
    """A benchmark in TOML, one thing of it changed."""
    caveat = {"en": "c"}
    told: dict[str, object] = {"measure": "lost", "low": 0.1, "high": 0.2, "source": "s", "caveat": caveat, **changed}
    values = {
        name: "{" + ", ".join(f"{key} = {json.dumps(word)}" for key, word in value.items()) + "}"
        if isinstance(value, dict)
        else json.dumps(value).lower()
        for name, value in told.items()
    }
    return "\n".join(["[[benchmark]]", *(f"{name} = {value}" for name, value in values.items())])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[yardstick", "cannot be read as TOML"),
        ('[[benchmark]]\nmeasure = "lost"\nlow = 0.1\nhigh = 0.2', "benchmark[0].source must be given"),
        (
            a_stick(low=20, high=40),
            "benchmark[0].low must be a share from 0 to 1. Got 20 instead.",
        ),
        (a_stick(source=" "), "benchmark[0].source must be a text that is not empty"),
        (a_stick(caveat={"en": "c", "nb": 5}), "benchmark[0].caveat.nb must be a text that is not empty"),
        (a_stick(caveat=5), "benchmark[0].caveat must be a table"),
        (a_stick(caveat={"nb": "c"}), "benchmark[0].caveat.en must be given"),
        (a_stick(measure="x"), "benchmark[0].measure must be one of repeat_purchase_rate, "),
        (a_stick(measure=[1]), "Got [1] instead"),
        (a_stick(high=True), "must be a share from 0 to 1"),
        (a_stick(low=math.nan), "must be a share from 0 to 1"),
        (a_stick(low=0.3), "low must not be above high"),
        ("benchmark = 5", "benchmark must be a list. Got 5 instead"),
        ("yardstick = [1]", "yardstick[0] must be a table. Got 1 instead"),
        ("[benchmark]", "benchmark must be a list"),
        (a_stick().replace("benchmark", "benchmarks"), "nothing else. Found: benchmarks"),
    ],
)
def test_benchmarks_that_cannot_be_shown(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "yardsticks.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(told)) as fault:
        read_benchmarks(path)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["benchmark", "yardstick"])
def test_benchmarks_of_ones_own(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}s.toml"
    path.write_text(f'[[{name}]]\nmeasure = "lost_year"\nlow = 0.3\nhigh = 0.3\nsource = "s"\ncaveat = {{ en = "c" }}')
    assert find_benchmarks(tmp_path / "scores.parquet") == path
    (stick,) = read_benchmarks(path)
    assert (stick.low, stick.caveat_in("ru")) == (0.3, "c")


@pytest.mark.parametrize("locale", sorted({*LOCALES} - {"en"}))
def test_benchmarks_of_the_package_are_translated(locale: str) -> None:
    benchmarks = read_benchmarks()
    assert [one.measure for one in benchmarks] == ["repeat_purchase_rate", "returning_sales", "lost_year"]
    with use_locale(locale):
        assert all(translate_text(one.caveat["en"], "benchmark.") != one.caveat["en"] for one in benchmarks)
