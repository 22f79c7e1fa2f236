"""Measures of repeat business: what customers did, from orders alone.

A *purchase day* is a customer's calendar day with net sales above zero (any order, where the log has no amounts).
A return that names the day of its sale (``sale_date``) counts against that day. Nothing after ``as_of`` is read, and
no share counts customers who have not been watched long enough to be in it.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from repurchase.tables import ORDERS

__all__ = ["REPEAT_DAYS", "RETENTION_DAYS", "repeat_business"]

REPEAT_DAYS = (30, 90, 180, 365)
RETENTION_DAYS = 90
MAX_COHORTS = 24
COHORT_COVERAGE = 0.9
WEEKLY_UP_TO_DAYS = 182
MONEY_UNITS = 10_000


def repeat_business(orders: pl.DataFrame, *, as_of: date) -> dict[str, Any]:
    """Measure how customers came back, up to a day.

    Every share is null where nobody could be in it. With C the customers with a purchase day, first(c) and second(c)
    their first and second purchase days:

    ``repeat_purchase_rate``
        #{c: second(c) exists} / #C. It misleads in a growing shop: newcomers had no time to return.
    ``repeat_within[h]``
        #{c: second(c) - first(c) <= h} / #{c: as_of - first(c) >= h}, both among customers watched for h days or
        more; ``repeat_within_observed[h]`` is that denominator.
    ``median_days_to_second``
        Median of second(c) - first(c) among customers watched for H days who came back within H, where H
        (``median_within_days``) is the longest of 30, 90, 180, 365 for which a tenth of C was watched.
    ``returning_sales_share``
        Net sales on days after first(c) / all net sales.
    ``monthly``
        One row per calendar month, gaps included. ``customers`` = ``new_customers`` (first(c) in the month) +
        ``returning_customers`` (first(c) in an earlier month). ``returning_sales`` is net sales on days after
        first(c). ``repeat_rate`` is the repeat purchase rate of everyone so far, as it stood at the month's end.
        ``retention`` = (customers at the end - new ones) / customers at the start, over the 90 days up to the
        month's end, where a customer at a day is one with a purchase day in the 90 days up to it: the share of those
        who bought in days 91 to 180 before who also bought in the last 90; null until the log is 180 days old.
        ``complete`` is false for a month that ``as_of`` cuts short.
    ``cohorts``
        Customers by the period of first(c): ``active_share[k]`` is the share of them with a purchase day in the k-th
        period after it; ``active_share[0]`` is 1. A period cut short by ``as_of`` is left out.
        The period (``cohort_period``) is the finest of week (logs up to half a year), month, quarter and year of
        which the latest 24 hold nine customers in ten; ``cohorts_left_out`` counts the customers of older ones.

    Parameters
    ----------
    orders : DataFrame
        Clean orders (see ``tables.ORDERS``).
    as_of : date
        Last day known, inclusive.

    Returns
    -------
    dict
        JSON-able: the measures above, ``n_customers``, ``n_orders`` (orders with a sale on a purchase day),
        ``repeat_customers``, ``sales_total`` (all net sales, null without amounts), ``first_day``, ``as_of``.

    Raises
    ------
    OrdersError
        If the orders break their contract.

    References
    ----------
    The retention rate is the usual (E - N) / S: customers at the end less new ones, over customers at the start.

    Examples
    --------
    >>> from datetime import datetime
    >>> days = [datetime(2024, 1, 1), datetime(2024, 1, 21), datetime(2024, 1, 5)]
    >>> log = pl.DataFrame({"customer_id": ["a", "a", "b"], "order_id": ["1", "2", "3"], "order_date": days})
    >>> log = log.with_columns(amount=pl.Series([5.0, 5.0, 10.0]))
    >>> measures = repeat_business(log, as_of=date(2024, 3, 31))
    >>> measures["repeat_purchase_rate"], measures["returning_sales_share"], measures["median_days_to_second"]
    (0.5, 0.25, 20.0)
    >>> repeat_business(log.drop("order_id"), as_of=date(2024, 3, 31))
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: orders: 1 of the 4 needed columns are missing: order_id. Found: ...
    """
    rows = _known_rows(ORDERS.check(orders), as_of)
    has_money = bool(rows["money"].is_not_null().any())
    days = _customer_days(rows, has_money=has_money)
    purchases = days.filter("bought")
    people = _people(purchases, as_of)
    sales = days.join(people.select("customer_id", "customer", "first"), on="customer_id", how="left")
    bought = sales.filter("bought").select("customer", "day", "first")
    orders_made = _orders_made(rows, purchases)
    return {
        "as_of": as_of.isoformat(),
        "first_day": _iso(purchases["day"].min()),
        "n_customers": people.height,
        "n_orders": orders_made.height,
        "repeat_customers": int(people["second"].count()),
        "repeat_purchase_rate": _share(people["second"].count(), people.height),
        **_comeback(people),
        **_sales_totals(sales, has_money=has_money),
        "retention_window_days": RETENTION_DAYS,
        "monthly": _monthly(bought, people, orders_made, sales if has_money else None, as_of),
        **_cohorts(bought, people, as_of),
    }


def _known_rows(orders: pl.DataFrame, as_of: date) -> pl.DataFrame:
    # Rows known on the day, each on the day it counts for, money in exact ten-thousandths.
    own_day = pl.col("order_date").dt.date()
    sale_day = pl.col("sale_date") if "sale_date" in orders.columns else pl.lit(None, dtype=pl.Date)
    counts_on = pl.when(pl.col("amount") < 0).then(pl.coalesce(sale_day, own_day)).otherwise(own_day)
    money = (pl.col("amount") * MONEY_UNITS).round().cast(pl.Int64)
    return orders.filter(own_day <= as_of).select("customer_id", "order_id", day=counts_on, known=own_day, money=money)


def _customer_days(rows: pl.DataFrame, *, has_money: bool) -> pl.DataFrame:
    bought = pl.col("money") > 0 if has_money else pl.lit(value=True)
    return rows.group_by("customer_id", "day").agg(pl.col("money").sum()).with_columns(bought.alias("bought"))


def _people(purchases: pl.DataFrame, as_of: date) -> pl.DataFrame:
    # One row per customer: first and second purchase day, days watched since the first.
    day = pl.col("day")
    people = purchases.group_by("customer_id").agg(first=day.min(), second=day.filter(day > day.min()).min())
    return people.with_row_index("customer").with_columns(
        watched=(pl.lit(as_of) - pl.col("first")).dt.total_days(),
        gap=(pl.col("second") - pl.col("first")).dt.total_days(),
    )


def _orders_made(rows: pl.DataFrame, purchases: pl.DataFrame) -> pl.DataFrame:
    # One row per order with a sale on a purchase day, on the first such day.
    sold = rows.filter(pl.col("money").is_null() | (pl.col("money") > 0))
    on_purchase_days = sold.join(purchases, on=["customer_id", "day"], how="semi")
    return on_purchase_days.group_by("customer_id", "order_id").agg(pl.col("day").min())


def _comeback(people: pl.DataFrame) -> dict[str, Any]:
    within: dict[str, float | None] = {}
    observed: dict[str, int] = {}
    longest: int | None = None
    for horizon_days in REPEAT_DAYS:
        watched = people.filter(pl.col("watched") >= horizon_days)
        observed[str(horizon_days)] = watched.height
        within[str(horizon_days)] = _share(watched.filter(pl.col("gap") <= horizon_days).height, watched.height)
        if watched.height and watched.height * 10 >= people.height:
            longest = horizon_days
    in_time = people.filter(pl.col("watched") >= (longest or 0), pl.col("gap") <= (longest or 0))
    return {
        "repeat_within": within,
        "repeat_within_observed": observed,
        "median_days_to_second": in_time["gap"].median() if longest else None,
        "median_within_days": longest,
    }


def _sales_totals(sales: pl.DataFrame, *, has_money: bool) -> dict[str, float | None]:
    if not has_money:
        return {"sales_total": None, "returning_sales_share": None}
    total = int(sales["money"].sum())
    returning = int(sales.filter(pl.col("day") > pl.col("first"))["money"].sum())
    share = returning / total if 0 <= returning <= total and total else None
    return {"sales_total": total / MONEY_UNITS, "returning_sales_share": share}


def _monthly(
    bought: pl.DataFrame, people: pl.DataFrame, orders_made: pl.DataFrame, sales: pl.DataFrame | None, as_of: date
) -> list[dict[str, Any]]:
    if bought.is_empty():
        return []
    month = pl.col("day").dt.truncate("1mo")
    earliest = bought["day"].min() if sales is None else sales["day"].min()
    start = pl.Series([earliest]).dt.month_start().item()
    months = pl.date_range(start, as_of, "1mo", eager=True).alias("month").to_frame()
    tables = [
        bought.group_by(month.alias("month")).agg(customers=pl.col("customer").n_unique()),
        _count_by_month(people["first"], "new_customers"),
        _count_by_month(people["second"].drop_nulls(), "second_purchases"),
        _count_by_month(orders_made["day"], "orders"),
    ]
    if sales is not None:
        after_first = pl.when(pl.col("day") > pl.col("first")).then(pl.col("money")).otherwise(0)
        tables.append(
            sales.group_by(month.alias("month")).agg(sales=pl.col("money").sum(), returning_sales=after_first.sum())
        )
    for table in tables:
        months = months.join(table, on="month", how="left", maintain_order="left")
    months = months.fill_null(0).with_columns(
        end=pl.col("month").dt.month_end(),
        repeat_rate=pl.col("second_purchases").cum_sum() / pl.col("new_customers").cum_sum(),
    )
    retention = _retention(bought, [min(end, as_of) for end in months["end"]])
    return [_month_row(row, kept, as_of) for row, kept in zip(months.iter_rows(named=True), retention, strict=True)]


def _count_by_month(days: pl.Series, name: str) -> pl.DataFrame:
    return days.alias("month").to_frame().group_by(pl.col("month").dt.truncate("1mo")).agg(pl.len().alias(name))


def _month_row(row: dict[str, Any], retention: float | None, as_of: date) -> dict[str, Any]:
    has_money = "sales" in row
    return {
        "month": f"{row['month']:%Y-%m}",
        "customers": row["customers"],
        "new_customers": row["new_customers"],
        "returning_customers": row["customers"] - row["new_customers"],
        "orders": row["orders"],
        "sales": row["sales"] / MONEY_UNITS if has_money else None,
        "returning_sales": row["returning_sales"] / MONEY_UNITS if has_money else None,
        "repeat_rate": row["repeat_rate"] if row["repeat_rate"] == row["repeat_rate"] else None,
        "retention": retention,
        "complete": row["end"] <= as_of,
    }


def _retention(bought: pl.DataFrame, ends: list[date]) -> list[float | None]:
    # Share of those who bought in days (e-180, e-90] who also bought in (e-90, e], for each end e.
    ordered = bought.sort("day")
    day = ordered["day"].cast(pl.Int32).to_numpy()
    customer = ordered["customer"].to_numpy()
    n_customers = int(customer.max()) + 1
    shares: list[float | None] = []
    for end in ends:
        last = (end - date(1970, 1, 1)).days
        edges = [last - 2 * RETENTION_DAYS, last - RETENTION_DAYS, last]
        start, middle, stop = np.searchsorted(day, edges, side="right")
        before, since = np.zeros(n_customers, bool), np.zeros(n_customers, bool)
        before[customer[start:middle]] = True
        since[customer[middle:stop]] = True
        watched = int(day[0]) <= edges[0] + 1
        shares.append(_share(int((before & since).sum()), int(before.sum())) if watched else None)
    return shares


def _period(day: pl.Expr, unit: str) -> pl.Expr:
    # Number of the period a day lies in; consecutive periods have consecutive numbers.
    year = day.dt.year().cast(pl.Int64)
    if unit == "week":
        return (day.cast(pl.Int32).cast(pl.Int64) + 3) // 7
    if unit == "month":
        return year * 12 + day.dt.month() - 1
    if unit == "quarter":
        return year * 4 + day.dt.quarter() - 1
    return year


def _period_name(number: int, unit: str) -> str:
    if unit == "week":
        return (date(1970, 1, 1) + timedelta(days=number * 7 - 3)).isoformat()
    if unit == "month":
        return f"{number // 12:04d}-{number % 12 + 1:02d}"
    if unit == "quarter":
        return f"{number // 4:04d}-Q{number % 4 + 1}"
    return f"{number:04d}"


def _cohort_unit(people: pl.DataFrame, as_of: date) -> str:
    young = people["watched"].max() if people.height else 0
    candidates = ["week"] if int(young or 0) <= WEEKLY_UP_TO_DAYS else []  # type: ignore[arg-type]
    for unit in [*candidates, "month", "quarter"]:
        shown = people.select(_period(pl.col("first"), unit) > _number(as_of, unit) - MAX_COHORTS).to_series().sum()
        if shown >= COHORT_COVERAGE * people.height:
            return unit
    return "year"


def _number(day: date, unit: str) -> int:
    return int(pl.select(_period(pl.lit(day), unit)).item())


def _cohorts(bought: pl.DataFrame, people: pl.DataFrame, as_of: date) -> dict[str, Any]:
    unit = _cohort_unit(people, as_of)
    current = _number(as_of, unit)
    last_whole = _number(as_of + timedelta(days=1), unit) - 1
    first = _period(pl.col("first"), unit).alias("cohort")
    active = (
        bought.select("customer", first, period=_period(pl.col("day"), unit))
        .unique()
        .group_by("cohort", "period")
        .agg(active=pl.len())
    )
    counts = {(cohort, period): number for cohort, period, number in active.iter_rows()}
    shown = sorted({cohort for cohort, _ in counts if cohort > current - MAX_COHORTS})
    cohorts = [
        {
            "cohort": _period_name(cohort, unit),
            "size": counts[cohort, cohort],
            "active_share": [
                counts.get((cohort, period), 0) / counts[cohort, cohort]
                for period in range(cohort, max(last_whole, cohort) + 1)
            ],
        }
        for cohort in shown
    ]
    left_out = people.height - sum(counts[cohort, cohort] for cohort in shown)
    return {"cohort_period": unit, "cohorts": cohorts, "cohorts_left_out": left_out}


def _share(part: int, whole: int) -> float | None:
    return int(part) / int(whole) if whole else None


def _iso(day: object) -> str | None:
    return day.isoformat() if isinstance(day, date) else None
