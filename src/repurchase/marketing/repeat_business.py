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
    MONTHLY,
    REPEAT_DAYS,
    RETENTION_DAYS,
    RHYTHM_DAYS,
    SPENDERS,
    WEEKLY_UP_TO_DAYS,
    YEAR_DAYS,
    PurchaseCounts,
    count_purchases,
    period_number,
)
from repurchase.schemas import Frame

_COHORT_COVERAGE = 0.9


def repeat_business(counts: PurchaseCounts) -> dict[str, Any]:
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

    References
    ----------
    The retention rate is the usual (E - N) / S: customers at the end less new ones, over customers at the start.
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
        **_win_back_measures(counts, n_customers),
        **_sales_totals(counts, monthly),
        "reorder_rate": _share(int((monthly["orders"] - monthly["first_orders"]).sum()), int(monthly["orders"].sum())),
        "spenders": _spenders(counts),
        "rhythm": _rhythm(counts.rhythm),
        "retention_window_days": RETENTION_DAYS,
        "monthly": _monthly(counts, monthly),
        **_cohorts(counts, n_customers),
    }


def measure_orders(orders: Frame, *, as_of: date) -> dict[str, Any]:
    """Measure repeat business in clean orders that fit into memory."""
    return repeat_business(count_purchases(build_ledger(orders, observed_until=as_of), as_of=as_of))


def _win_back_measures(counts: PurchaseCounts, n_customers: int) -> dict[str, Any]:
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


def _sales_totals(counts: PurchaseCounts, monthly: Mapping[str, Ints]) -> dict[str, float | None]:
    if not counts.has_amounts:
        return {"sales_total": None, "returning_sales_share": None}
    total, returning = int(monthly["sales"].sum()), int(monthly["returning_sales"].sum())
    share = returning / total if 0 <= returning <= total and total else None
    return {"sales_total": total / MONEY_SCALE, "returning_sales_share": share}


def _spenders(counts: PurchaseCounts) -> dict[str, dict[str, Any]]:
    rows = [dict(zip(SPENDERS, row, strict=True)) for row in counts.spenders.tolist()]
    return {
        name: {
            "customers": row["customers"],
            "sales_per_customer": _money_per(counts, row["sales"], row["customers"]),
            "sales_per_purchase_day": _money_per(counts, row["sales"], row["purchase_days"]),
        }
        for name, row in zip(("once", "returning"), rows, strict=True)
    }


def _money_per(counts: PurchaseCounts, sales: int, number: int) -> float | None:
    return sales / MONEY_SCALE / number if counts.has_amounts and number else None


def _rhythm(histogram: Ints) -> dict[str, Any] | None:
    n = int(histogram.sum())
    if not n:
        return None
    up_to = np.cumsum(histogram)
    places = {"quarter_days": (n + 3) // 4, "median_days": (n + 1) // 2, "three_quarters_days": (3 * n + 3) // 4}
    days = {name: int(np.searchsorted(up_to, place)) for name, place in places.items()}
    return {"customers": n, **days, "longest_days": RHYTHM_DAYS}


def _monthly(counts: PurchaseCounts, monthly: Mapping[str, Ints]) -> list[dict[str, Any]]:
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
                "sales": month["sales"] / MONEY_SCALE if counts.has_amounts else None,
                "returning_sales": month["returning_sales"] / MONEY_SCALE if counts.has_amounts else None,
                "repeat_rate": _share(int(again[place]), int(so_far[place])),
                "reorders": month["orders"] - month["first_orders"],
                "retention": _share(month["kept"], month["before"]) if seen >= 2 * RETENTION_DAYS else None,
                "retention_year": _share(month["kept_year"], month["before_year"]) if seen >= 2 * YEAR_DAYS else None,
                "complete": end <= now,
            }
        )
    return rows


def _cohorts(counts: PurchaseCounts, n_customers: int) -> dict[str, Any]:
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


def _cohort_unit(counts: PurchaseCounts, n_customers: int) -> tuple[str, Ints]:
    tables = dict(zip(COHORT_UNITS, counts.cohorts, strict=True))
    if counts.first_purchase is not None and day_number(counts.as_of) - counts.first_purchase > WEEKLY_UP_TO_DAYS:
        tables.pop("week")
    for unit, table in tables.items():
        if int(table.trace()) >= _COHORT_COVERAGE * n_customers:
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


BENCHMARKS_FILE = "yardsticks.toml"
_BENCHMARK_MEASURES = (
    "repeat_purchase_rate",
    "retention",
    "retention_year",
    "lost",
    "lost_year",
    "reorder_rate",
    "returning_sales",
)
"""What may have a yardstick: the measures on the page that are shares of one meaning."""


class Benchmark(NamedTuple):
    """A number from elsewhere."""

    measure: str
    low: float
    high: float
    source: str
    address: str
    caveat: Mapping[str, str]

    def caveat_in(self, locale: str) -> str:
        """Say what speaks against comparing."""
        return self.caveat.get(locale) or self.caveat["en"]


def read_benchmarks(path: Path | None = None) -> tuple[Benchmark, ...]:
    """Read the yardsticks."""
    source = files("repurchase.marketing").joinpath(BENCHMARKS_FILE) if path is None else path
    try:
        told = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as fault:
        raise InputError(f"{path}: cannot be read as TOML ({fault}). Mend it or remove it.") from fault
    rows, others = told.pop("yardstick", []), list(told)
    if others or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        found = first_few(others) if others else f"yardstick = {rows}"
        raise InputError(f"{source}: each yardstick is a table headed [[yardstick]], and nothing else. Found: {found}.")
    return tuple(_validate_benchmark(row, f"{source}: yardstick {number}") for number, row in enumerate(rows, start=1))


def _validate_benchmark(row: Mapping[str, Any], told: str) -> Benchmark:
    missing = [name for name in ("measure", "low", "high", "source", "caveat") if name not in row]
    if missing:
        raise InputError(f"{told} lacks {', '.join(missing)}. A yardstick without source and caveat is not shown.")
    if row["measure"] not in _BENCHMARK_MEASURES:
        known = first_few(_BENCHMARK_MEASURES, shown=len(_BENCHMARK_MEASURES))
        raise InputError(f"{told} is of '{row['measure']}'. A yardstick may be of: {known}.")
    low, high = row["low"], row["high"]
    if not all(_is_number(end) for end in (low, high)) or not 0 <= low <= high <= 1:
        raise InputError(f"{told}: low and high must be shares from 0 to 1, low first. Got {low} and {high} instead.")
    caveat = row["caveat"] if isinstance(row["caveat"], dict) else {}
    if not caveat.get("en") or not _are_texts(row["source"], *caveat.values()):
        raise InputError(f"{told} needs a source, and a caveat in English at least: [yardstick.caveat] en = ...")
    return Benchmark(row["measure"], low, high, row["source"], str(row.get("address") or ""), caveat)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) and value.strip() for value in values)
