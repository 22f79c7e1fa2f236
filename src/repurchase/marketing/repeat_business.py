"""Repeat-purchase measures and published benchmarks."""

import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from repurchase.errors import InputError, first_few
from repurchase.features.history import EPOCH, MONEY_SCALE, Ints, day_number
from repurchase.features.ledger import build_ledger
from repurchase.marketing.purchase_counts import (
    COHORT_UNITS,
    MAX_COHORTS,
    MAX_MEAN_GAP_DAYS,
    MAX_WEEKLY_DAYS,
    MONTHLY_COUNTS,
    REPEAT_DAYS,
    RETENTION_DAYS,
    YEAR_DAYS,
    PurchaseCounts,
    count_purchases,
    period_number,
)
from repurchase.schemas import Frame
from repurchase.validation import TEXT, Check, Schema, first_fault, number, one_of

_COHORT_COVERAGE = 0.9


def repeat_business(counts: PurchaseCounts) -> dict[str, Any]:
    """Measure how customers came back, up to a day.

    Every share is null where nobody could be in it. With C the customers with a purchase day, first(c) and second(c)
    their first and second purchase days:

    ``repeat_purchase_rate``
        #{c: second(c) exists} / #C. It misleads in a growing shop: newcomers had no time to return.
    ``repeat_within[h]``
        #{c: second(c) - first(c) <= h} / #{c: as_of - first(c) >= h}, both among customers observed for h days or
        more; ``repeat_within_observed[h]`` is that denominator.
    ``median_days_to_second``
        Median of second(c) - first(c) among customers observed for H days who came back within H, where H
        (``median_within_days``) is the longest of 30, 90, 180, 365 for which a tenth of C was observed.
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

    References
    ----------
    The retention rate is the usual (E - N) / S: customers at the end less new ones, over customers at the start.
    """
    monthly = dict(zip(MONTHLY_COUNTS, counts.monthly, strict=True))
    n_customers, n_repeat = (int(monthly[name].sum()) for name in ("new_customers", "second_purchases"))
    return {
        "as_of": counts.as_of.isoformat(),
        "first_day": _iso(counts.first_purchase),
        "n_customers": n_customers,
        "n_orders": int(monthly["orders"].sum()),
        "repeat_customers": n_repeat,
        "repeat_purchase_rate": _ratio(n_repeat, n_customers),
        **_second_purchase_measures(counts, n_customers),
        **_sales_totals(counts, monthly),
        "reorder_rate": _ratio(int((monthly["orders"] - monthly["first_orders"]).sum()), int(monthly["orders"].sum())),
        "spenders": _buyer_groups(counts),
        "rhythm": _mean_gap_quartiles(counts.mean_gaps),
        "retention_window_days": RETENTION_DAYS,
        "monthly": _monthly(counts, monthly),
        **_cohorts(counts, n_customers),
    }


def measure_orders(orders: Frame, *, as_of: date) -> dict[str, Any]:
    """Measure repeat business in clean orders that fit into memory."""
    return repeat_business(count_purchases(build_ledger(orders, observed_until=as_of), as_of=as_of))


def _second_purchase_measures(counts: PurchaseCounts, n_customers: int) -> dict[str, Any]:
    names = [str(days) for days in REPEAT_DAYS]
    observed, returned = counts.observed.tolist(), counts.gaps.sum(axis=1).tolist()
    usable = [place for place, number in enumerate(observed) if number and number * 10 >= n_customers]
    longest = max(usable, default=None)
    return {
        "repeat_within": {name: _ratio(*pair) for name, *pair in zip(names, returned, observed, strict=True)},
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


def _sales_totals(counts: PurchaseCounts, monthly: Mapping[str, Ints]) -> dict[str, float | None]:
    if not counts.has_amounts:
        return {"sales_total": None, "returning_sales_share": None}
    total, returning = int(monthly["sales"].sum()), int(monthly["returning_sales"].sum())
    share = _ratio(returning, total) if 0 <= returning <= total else None
    return {"sales_total": total / MONEY_SCALE, "returning_sales_share": share}


def _buyer_groups(counts: PurchaseCounts) -> dict[str, dict[str, Any]]:
    def per(sales: int, number: int) -> float | None:
        return sales / MONEY_SCALE / number if counts.has_amounts and number else None

    return {
        name: {
            "customers": customers,
            "sales_per_customer": per(sales, customers),
            "sales_per_purchase_day": per(sales, purchase_days),
        }
        for name, (customers, purchase_days, sales) in zip(("once", "returning"), counts.groups.tolist(), strict=True)
    }


def _mean_gap_quartiles(histogram: Ints) -> dict[str, Any] | None:
    n = int(histogram.sum())
    if not n:
        return None
    ranks = {"quarter_days": (n + 3) // 4, "median_days": (n + 1) // 2, "three_quarters_days": (3 * n + 3) // 4}
    days = {name: int(np.searchsorted(np.cumsum(histogram), rank)) for name, rank in ranks.items()}
    return {"customers": n, **days, "longest_days": MAX_MEAN_GAP_DAYS}


def _monthly(counts: PurchaseCounts, monthly: Mapping[str, Ints]) -> list[dict[str, Any]]:
    first = counts.first_entry if counts.has_amounts else counts.first_purchase
    if first is None or counts.first_purchase is None:
        return []
    columns = {name: values.tolist() for name, values in monthly.items()}
    columns["customers_so_far"] = np.cumsum(monthly["new_customers"]).tolist()
    columns["returned_so_far"] = np.cumsum(monthly["second_purchases"]).tolist()
    months = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    last = int(period_number(day_number(counts.as_of), "month"))
    shown = last - int(period_number(first, "month")) + 1
    numbers = range(last - shown + 1, last + 1)
    return [_month_record(counts, number, month) for number, month in zip(numbers, months[-shown:], strict=True)]


def _month_record(counts: PurchaseCounts, number: int, month: Mapping[str, int]) -> dict[str, Any]:
    now, end = day_number(counts.as_of), _first_of_month(number + 1) - 1
    observed_days = min(end, now) - (counts.first_purchase or 0) + 1
    money = MONEY_SCALE if counts.has_amounts else 0
    return {
        "month": _period_name(number, "month"),
        "customers": month["customers"],
        "new_customers": month["new_customers"],
        "returning_customers": month["customers"] - month["new_customers"],
        "orders": month["orders"],
        "sales": _ratio(month["sales"], money),
        "returning_sales": _ratio(month["returning_sales"], money),
        "repeat_rate": _ratio(month["returned_so_far"], month["customers_so_far"]),
        "reorders": month["orders"] - month["first_orders"],
        "retention": _ratio(month["kept"], month["before"]) if observed_days >= 2 * RETENTION_DAYS else None,
        "retention_year": _ratio(month["kept_year"], month["before_year"]) if observed_days >= 2 * YEAR_DAYS else None,
        "complete": end <= now,
    }


def _cohorts(counts: PurchaseCounts, n_customers: int) -> dict[str, Any]:
    place = _cohort_unit(counts, n_customers)
    unit = list(COHORT_UNITS)[place]
    active, sales = counts.cohorts[place].tolist(), counts.cohort_sales[place].tolist()
    now = day_number(counts.as_of)
    current = int(period_number(now, unit))
    cut_short = current - int(period_number(now + 1, unit)) + 1
    cohorts = []
    for ago in reversed(range(MAX_COHORTS)):
        size, first_sales = active[ago][ago], sales[ago][ago]
        if not size:
            continue
        # Periods are counted backwards; the current one is left out where it is cut short, but for its own cohort.
        periods = range(ago, min(cut_short, ago) - 1, -1)
        shares = [_ratio(sales[ago][period], max(first_sales, 0)) for period in periods]
        cohorts.append(
            {
                "cohort": _period_name(current - ago, unit),
                "size": size,
                "active_share": [active[ago][period] / size for period in periods],
                "sales_share": shares if counts.has_amounts else None,
            }
        )
    n_shown = sum(row["size"] for row in cohorts)
    return {"cohort_period": unit, "cohorts": cohorts, "cohorts_left_out": n_customers - n_shown}


def _cohort_unit(counts: PurchaseCounts, n_customers: int) -> int:
    """Index of the finest unit of which the latest periods hold most customers."""
    young = counts.first_purchase is None or day_number(counts.as_of) - counts.first_purchase <= MAX_WEEKLY_DAYS
    places = range(0 if young else 1, len(COHORT_UNITS))
    enough = (place for place in places if int(counts.cohorts[place].trace()) >= _COHORT_COVERAGE * n_customers)
    return next(enough, places[-1])


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


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _iso(day: int | None) -> str | None:
    return None if day is None else (EPOCH + timedelta(days=day)).isoformat()


BENCHMARK_FILES = ("benchmarks.toml", "yardsticks.toml")
"""Names of a user's own file beside the scores, the first one preferred; the second is the earlier name."""
_BENCHMARK_TABLES = ("benchmark", "yardstick")
_SHARE = number(0, 1, "a share from 0 to 1")
_SENTENCE = Check(lambda value: isinstance(value, str) and bool(value.strip()), "a text that is not empty")
_BENCHMARK_SCHEMA: Mapping[str, Schema] = {
    "measure": one_of(
        *("repeat_purchase_rate", "retention", "retention_year", "lost", "lost_year", "reorder_rate", "returning_sales")
    ),
    "low": _SHARE,
    "high": _SHARE,
    "source": _SENTENCE,
    "address?": TEXT,
    "caveat": {"en": _SENTENCE, "*": _SENTENCE},
}
"""A benchmark is of a measure on the page that is a share; without source and caveat it is not shown."""


class Benchmark(NamedTuple):
    """A figure that others report."""

    measure: str
    low: float
    high: float
    source: str
    caveat: Mapping[str, str]
    address: str = ""

    def caveat_in(self, locale: str) -> str:
        """Return what speaks against comparing."""
        return self.caveat.get(locale) or self.caveat["en"]


def find_benchmarks(scores: Path) -> Path | None:
    """Find the user's own benchmarks beside the scores."""
    paths = (scores.with_name(name) for name in BENCHMARK_FILES)
    return next((path for path in paths if path.is_file()), None)


def read_benchmarks(path: Path | None = None) -> tuple[Benchmark, ...]:
    """Read benchmarks: the user's own, or those of this package."""
    source = files("repurchase.marketing").joinpath(BENCHMARK_FILES[0]) if path is None else path
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as fault:
        raise InputError(f"{path}: cannot be read as TOML ({fault}). Fix it or remove it.") from fault
    unknown = [name for name in tables if name not in _BENCHMARK_TABLES]
    if unknown:
        raise InputError(f"{source}: expected tables headed [[benchmark]], nothing else. Found: {first_few(unknown)}.")
    fault_found = first_fault(tables, {f"{name}?": [_BENCHMARK_SCHEMA] for name in _BENCHMARK_TABLES})
    if fault_found:
        raise InputError(f"{source}: {fault_found.path} {fault_found}")
    rows = [row for name in _BENCHMARK_TABLES for row in tables.get(name, [])]
    for row in rows:
        if row["low"] > row["high"]:
            raise InputError(f"{source}: low must not be above high. Got {row['low']} and {row['high']} instead.")
    return tuple(Benchmark(**{name: row[name] for name in Benchmark._fields if name in row}) for row in rows)
