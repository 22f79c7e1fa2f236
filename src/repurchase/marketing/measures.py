"""Measures of repeat business: what customers did, from orders alone.

A *purchase day* is a customer's calendar day with net sales above zero (any order, where the log has no amounts).
A return that names the day of its sale (``sale_date``) counts against that day. Nothing after ``as_of`` is read, and
no share counts customers who have not been watched long enough to be in it.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np

from repurchase.features.history import EPOCH, MONEY, Ints, day_number
from repurchase.features.ledgers import ledger
from repurchase.marketing.counting import count_purchases
from repurchase.marketing.counts import (
    COHORT_UNITS,
    MAX_COHORTS,
    MONTHLY,
    REPEAT_DAYS,
    RETENTION_DAYS,
    RHYTHM_DAYS,
    SPENDERS,
    WEEKLY_UP_TO_DAYS,
    YEAR_DAYS,
    Counts,
    period_number,
)
from repurchase.tables import Frame

__all__ = ["REPEAT_DAYS", "RETENTION_DAYS", "Counts", "count_purchases", "measures_of", "repeat_business"]

COHORT_COVERAGE = 0.9


def repeat_business(counts: Counts) -> dict[str, Any]:
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
        ``retention_year`` is the same over 365 days; 1 less it is the share of customers lost in a year.
        ``reorders`` = ``orders`` less those on a customer's first purchase day.
        ``complete`` is false for a month that ``as_of`` cuts short.
    ``reorder_rate``
        Orders after first(c) / all orders.
    ``spenders``
        For customers with one purchase day (``once``) and with more (``returning``): ``customers``,
        ``sales_per_customer`` and ``sales_per_purchase_day``, net.
    ``rhythm``
        Quartiles over customers with two purchase days or more of the mean gap between them,
        (last - first) / (purchase days - 1), in whole days; ``customers`` is how many they are. It leaves out whoever
        has not come back yet, so it is shorter than how long one must wait.
    ``cohorts``
        Customers by the period of first(c): ``active_share[k]`` is the share of them with a purchase day in the k-th
        period after it; ``active_share[0]`` is 1. A period cut short by ``as_of`` is left out.
        ``sales_share[k]`` is their net sales in that period over those in their first one (null without amounts).
        The period (``cohort_period``) is the finest of week (logs up to half a year), month, quarter and year of
        which the latest 24 hold nine customers in ten; ``cohorts_left_out`` counts the customers of older ones.

    Parameters
    ----------
    counts : Counts
        From `count_purchases`; of a log counted in parts, their sum.

    Returns
    -------
    dict
        JSON-able: the measures above, ``n_customers``, ``n_orders`` (orders on a purchase day that were not returns;
        one with lines on two such days counts on both), ``repeat_customers``, ``sales_total`` (all net sales, null
        without amounts), ``first_day``, ``as_of``.

    References
    ----------
    The retention rate is the usual (E - N) / S: customers at the end less new ones, over customers at the start.

    Examples
    --------
    >>> from datetime import datetime
    >>> import polars as pl
    >>> from repurchase.features.ledgers import ledger
    >>> days = [datetime(2024, 1, 1), datetime(2024, 1, 21), datetime(2024, 1, 5)]
    >>> log = pl.DataFrame({"customer_id": ["a", "a", "b"], "order_id": ["1", "2", "3"], "order_date": days})
    >>> log = log.with_columns(amount=pl.Series([5.0, 5.0, 10.0]))
    >>> last_day = date(2024, 3, 31)
    >>> parts = [log.filter(pl.col("customer_id") == who) for who in ("a", "b")]
    >>> one, other = (count_purchases(ledger(part, observed_until=last_day), as_of=last_day) for part in parts)
    >>> measures = repeat_business(one + other)
    >>> measures["repeat_purchase_rate"], measures["returning_sales_share"], measures["median_days_to_second"]
    (0.5, 0.25, 20.0)
    """
    monthly = dict(zip(MONTHLY, counts.monthly, strict=True))
    n_customers, n_repeat = (int(monthly[name].sum()) for name in ("new_customers", "second_purchases"))
    return {
        "as_of": counts.as_of.isoformat(),
        "first_day": _iso(counts.first_purchase),
        "n_customers": n_customers,
        "n_orders": int(monthly["orders"].sum()),
        "repeat_customers": n_repeat,
        "repeat_purchase_rate": _share(n_repeat, n_customers),
        **_comeback(counts, n_customers),
        **_sales_totals(counts, monthly),
        "reorder_rate": _share(int((monthly["orders"] - monthly["first_orders"]).sum()), int(monthly["orders"].sum())),
        "spenders": _spenders(counts),
        "rhythm": _rhythm(counts.rhythm),
        "retention_window_days": RETENTION_DAYS,
        "monthly": _monthly(counts, monthly),
        **_cohorts(counts, n_customers),
    }


def measures_of(orders: Frame, *, as_of: date) -> dict[str, Any]:
    """Measure repeat business in clean orders that fit into memory.

    Parameters
    ----------
    orders : DataFrame of shape (n_rows, >=4)
        Clean orders (see ``tables.ORDERS``).
    as_of : date
        Last day known, inclusive.

    Returns
    -------
    dict
        See `repeat_business`.

    Raises
    ------
    OrdersError
        If the orders break their contract.
    LeakageError
        If a return names a sale later than itself.
    InputError
        If it is not a table.

    Examples
    --------
    >>> import polars as pl
    >>> measures_of(pl.DataFrame({"customer_id": ["a"]}), as_of=date(2024, 3, 31))
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: orders: 3 of the 4 needed columns are missing: order_id, order_date, amount...
    """
    return repeat_business(count_purchases(ledger(orders, observed_until=as_of), as_of=as_of))


def _comeback(counts: Counts, n_customers: int) -> dict[str, Any]:
    names = [str(days) for days in REPEAT_DAYS]
    observed = counts.watched.tolist()
    within = [_share(came, seen) for came, seen in zip(counts.gaps.sum(axis=1).tolist(), observed, strict=True)]
    usable = [place for place, seen in enumerate(observed) if seen and seen * 10 >= n_customers]
    longest = max(usable, default=None)
    return {
        "repeat_within": dict(zip(names, within, strict=True)),
        "repeat_within_observed": dict(zip(names, observed, strict=True)),
        "median_days_to_second": None if longest is None else _median(counts.gaps[longest]),
        "median_within_days": None if longest is None else REPEAT_DAYS[longest],
    }


def _median(histogram: Ints) -> float | None:
    # Of whole numbers from 0, given how often each occurs.
    up_to = np.cumsum(histogram)
    n = int(up_to[-1])
    middle = np.searchsorted(up_to, [(n - 1) // 2, n // 2], side="right")
    return float(middle.sum() / 2) if n else None


def _sales_totals(counts: Counts, monthly: Mapping[str, Ints]) -> dict[str, float | None]:
    if not counts.has_amounts:
        return {"sales_total": None, "returning_sales_share": None}
    total, returning = int(monthly["sales"].sum()), int(monthly["returning_sales"].sum())
    share = returning / total if 0 <= returning <= total and total else None
    return {"sales_total": total / MONEY, "returning_sales_share": share}


def _spenders(counts: Counts) -> dict[str, dict[str, Any]]:
    rows = [dict(zip(SPENDERS, row, strict=True)) for row in counts.spenders.tolist()]
    return {
        name: {
            "customers": row["customers"],
            "sales_per_customer": _money_per(counts, row["sales"], row["customers"]),
            "sales_per_purchase_day": _money_per(counts, row["sales"], row["purchase_days"]),
        }
        for name, row in zip(("once", "returning"), rows, strict=True)
    }


def _money_per(counts: Counts, sales: int, number: int) -> float | None:
    return sales / MONEY / number if counts.has_amounts and number else None


def _rhythm(histogram: Ints) -> dict[str, Any] | None:
    n = int(histogram.sum())
    if not n:
        return None
    up_to = np.cumsum(histogram)
    places = {"quarter_days": (n + 3) // 4, "median_days": (n + 1) // 2, "three_quarters_days": (3 * n + 3) // 4}
    days = {name: int(np.searchsorted(up_to, place)) for name, place in places.items()}
    return {"customers": n, **days, "longest_days": RHYTHM_DAYS}


def _monthly(counts: Counts, monthly: Mapping[str, Ints]) -> list[dict[str, Any]]:
    first = counts.first_entry if counts.has_amounts else counts.first_purchase
    if first is None or counts.first_purchase is None:
        return []
    now = day_number(counts.as_of)
    n_months = monthly["customers"].size
    last = int(period_number(now, "month"))
    so_far, again = np.cumsum(monthly["new_customers"]), np.cumsum(monthly["second_purchases"])
    rows = []
    for place in range(n_months - 1 - last + int(period_number(first, "month")), n_months):
        number = last - (n_months - 1 - place)
        month = {name: int(values[place]) for name, values in monthly.items()}
        end = _first_of_month(number + 1) - 1
        seen = min(end, now) - counts.first_purchase + 1
        rows.append(
            {
                "month": _period_name(number, "month"),
                "customers": month["customers"],
                "new_customers": month["new_customers"],
                "returning_customers": month["customers"] - month["new_customers"],
                "orders": month["orders"],
                "sales": month["sales"] / MONEY if counts.has_amounts else None,
                "returning_sales": month["returning_sales"] / MONEY if counts.has_amounts else None,
                "repeat_rate": _share(int(again[place]), int(so_far[place])),
                "reorders": month["orders"] - month["first_orders"],
                "retention": _share(month["kept"], month["before"]) if seen >= 2 * RETENTION_DAYS else None,
                "retention_year": _share(month["kept_year"], month["before_year"]) if seen >= 2 * YEAR_DAYS else None,
                "complete": end <= now,
            }
        )
    return rows


def _cohorts(counts: Counts, n_customers: int) -> dict[str, Any]:
    unit, table = _cohort_unit(counts, n_customers)
    sales = counts.cohort_sales[list(COHORT_UNITS).index(unit)]
    now = day_number(counts.as_of)
    current, last_whole = int(period_number(now, unit)), int(period_number(now + 1, unit)) - 1
    sizes = table.diagonal().tolist()
    cohorts = [
        {
            "cohort": _period_name(current - ago, unit),
            "size": sizes[ago],
            "active_share": [
                int(table[ago, current - period]) / sizes[ago]
                for period in range(current - ago, max(last_whole, current - ago) + 1)
            ],
            "sales_share": [
                _of_first(int(sales[ago, current - period]), int(sales[ago, ago]))
                for period in range(current - ago, max(last_whole, current - ago) + 1)
            ]
            if counts.has_amounts
            else None,
        }
        for ago in reversed(range(MAX_COHORTS))
        if sizes[ago]
    ]
    return {"cohort_period": unit, "cohorts": cohorts, "cohorts_left_out": n_customers - sum(sizes)}


def _cohort_unit(counts: Counts, n_customers: int) -> tuple[str, Ints]:
    tables = dict(zip(COHORT_UNITS, counts.cohorts, strict=True))
    if counts.first_purchase is not None and day_number(counts.as_of) - counts.first_purchase > WEEKLY_UP_TO_DAYS:
        tables.pop("week")
    for unit, table in tables.items():
        if int(table.trace()) >= COHORT_COVERAGE * n_customers:
            return unit, table
    return unit, table


def _period_name(number: int, unit: str) -> str:
    if unit == "week":
        return (EPOCH + timedelta(days=number * 7 - 3)).isoformat()
    year, place = divmod(number * COHORT_UNITS[unit], 12)
    if unit == "month":
        return f"{EPOCH.year + year:04d}-{place + 1:02d}"
    if unit == "quarter":
        return f"{EPOCH.year + year:04d}-Q{place // 3 + 1}"
    return f"{EPOCH.year + year:04d}"


def _first_of_month(number: int) -> int:
    return int(np.datetime64(number, "M").astype("datetime64[D]").astype(np.int64))


def _of_first(part: int, whole: int) -> float | None:
    # Money, so it may be more than the whole; a first period of returns alone has no share.
    return part / whole if whole > 0 else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _iso(day: int | None) -> str | None:
    return None if day is None else (EPOCH + timedelta(days=day)).isoformat()
