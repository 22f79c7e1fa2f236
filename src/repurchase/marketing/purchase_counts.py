"""Additive counts of purchase days, cohorts and sales."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.features.history import Ints, day_number
from repurchase.features.ledger import Ledger

REPEAT_DAYS = (30, 90, 180, 365)
RETENTION_DAYS = 90
YEAR_DAYS = 365
RHYTHM_DAYS = 730
"""Mean gaps from which on customers are counted together."""
MAX_COHORTS = 24
WEEKLY_UP_TO_DAYS = 182
COHORT_UNITS = {"week": 7, "month": 1, "quarter": 3, "year": 12}
"""How long a cohort's period may be: days of a week, calendar months of the others."""
MONTHLY = (
    *("customers", "new_customers", "second_purchases", "orders", "sales", "returning_sales", "before", "kept"),
    *("first_orders", "before_year", "kept_year"),
)
"""Rows of `Counts.monthly`; those of customers before and kept are counted at the month's end, see
`measures.repeat_business`."""
SPENDERS = ("customers", "purchase_days", "sales")
"""Columns of `Counts.spenders`."""


@dataclass(frozen=True, eq=False)
class PurchaseCounts:
    """Purchase days, counted."""

    as_of: date
    has_amounts: bool
    first_entry: int | None
    first_purchase: int | None
    monthly: Ints
    watched: Ints
    gaps: Ints
    cohorts: Ints
    cohort_sales: Ints
    spenders: Ints
    rhythm: Ints

    @classmethod
    def none(cls, as_of: date) -> "PurchaseCounts":
        """Count nobody."""
        return cls(
            as_of=as_of,
            has_amounts=False,
            first_entry=None,
            first_purchase=None,
            monthly=np.zeros((len(MONTHLY), 0), dtype=np.int64),
            watched=np.zeros(len(REPEAT_DAYS), dtype=np.int64),
            gaps=np.zeros((len(REPEAT_DAYS), max(REPEAT_DAYS) + 1), dtype=np.int64),
            cohorts=np.zeros((len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS), dtype=np.int64),
            cohort_sales=np.zeros((len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS), dtype=np.int64),
            spenders=np.zeros((2, len(SPENDERS)), dtype=np.int64),
            rhythm=np.zeros(RHYTHM_DAYS + 1, dtype=np.int64),
        )

    def __add__(self, other: "PurchaseCounts") -> "PurchaseCounts":
        """Count both logs together, which share no customer; exact, in any order."""
        if self.as_of != other.as_of:
            raise InputError(f"Counts up to {self.as_of} and up to {other.as_of} do not add up. Count up to one day.")
        if self.first_entry is not None and other.first_entry is not None and self.has_amounts != other.has_amounts:
            raise InputError(
                "Counts with and without money do not add up. Tell every part whether the whole log has it."
            )
        weekly = all(_may_be_weekly(part) for part in (self, other))
        cohorts, sales = self.cohorts + other.cohorts, self.cohort_sales + other.cohort_sales
        return PurchaseCounts(
            as_of=self.as_of,
            has_amounts=self.has_amounts or other.has_amounts,
            first_entry=_earlier(self.first_entry, other.first_entry),
            first_purchase=_earlier(self.first_purchase, other.first_purchase),
            monthly=_added_at_the_end(self.monthly, other.monthly),
            watched=self.watched + other.watched,
            gaps=self.gaps + other.gaps,
            cohorts=cohorts if weekly else _without_weeks(cohorts),
            cohort_sales=sales if weekly else _without_weeks(sales),
            spenders=self.spenders + other.spenders,
            rhythm=self.rhythm + other.rhythm,
        )

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value.tolist() for name, value in plain.items() if isinstance(value, np.ndarray)}
        return {**plain, "as_of": self.as_of.isoformat(), **arrays}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "PurchaseCounts":
        """Restore from `to_dict`."""
        shapes = {"monthly": (len(MONTHLY), -1), "watched": (-1,), "gaps": (len(REPEAT_DAYS), -1), "rhythm": (-1,)}
        shapes |= dict.fromkeys(("cohorts", "cohort_sales"), (len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS))
        shapes["spenders"] = (2, len(SPENDERS))
        arrays = {name: np.asarray(plain[name], dtype=np.int64).reshape(shape) for name, shape in shapes.items()}
        return cls(**{**plain, "as_of": date.fromisoformat(plain["as_of"]), **arrays})


def period_number(day: npt.ArrayLike, unit: str) -> Ints:
    """Number the calendar periods; consecutive ones have consecutive numbers."""
    number = np.asarray(day, dtype=np.int64)
    if unit == "week":
        return (number + 3) // 7
    return number.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) // COHORT_UNITS[unit]


def _added_at_the_end(one: Ints, other: Ints) -> Ints:
    short, long = sorted((one, other), key=lambda table: table.shape[1])
    total = long.copy()
    if short.shape[1]:
        total[:, -short.shape[1] :] += short
    return total


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((day for day in (one, other) if day is not None), default=None)


def _may_be_weekly(part: PurchaseCounts) -> bool:
    return part.first_purchase is None or day_number(part.as_of) - part.first_purchase <= WEEKLY_UP_TO_DAYS


def _without_weeks(cohorts: Ints) -> Ints:
    cohorts[0] = 0
    return cohorts


_Places = npt.NDArray[np.integer[Any]]


def count_purchases(book: Ledger, *, as_of: date) -> PurchaseCounts:
    """Count what customers did, up to a day."""
    if book.closing is not None:
        raise InputError("Repeat business is counted on calendar days. Send the ledger that leaves no closing out.")
    days = _known_days(book, as_of)
    if not len(days.day):
        return PurchaseCounts.none(as_of)
    now, first_entry = day_number(as_of), int(days.day.min())
    months = _Months(first_entry, now)
    month = months.of(days.day)
    made = _purchases(days, month, has_amounts=book.has_amounts)
    sales = _sales(days, month, made, months.n) if book.has_amounts else {}
    monthly, watched, gaps, cohorts = _tables(made, months, sales)
    paid = _CustomerSales(days, month, made) if book.has_amounts else None
    return PurchaseCounts(
        as_of=as_of,
        has_amounts=book.has_amounts,
        first_entry=first_entry,
        first_purchase=int(made.first.min()) if len(made.first) else None,
        monthly=monthly,
        watched=watched,
        gaps=gaps,
        cohorts=cohorts,
        cohort_sales=_cohort_sales(made, paid, months),
        spenders=_spenders(made, paid),
        rhythm=_rhythm(made),
    )


@dataclass(frozen=True)
class _Days:
    """One row per customer and day that money counts on, sorted."""

    customer: _Places
    day: _Places
    spend: _Places
    orders: _Places


@dataclass(frozen=True)
class _Purchases:
    """Purchase days, blocks of customers; ``count`` and ``first`` have one value a customer."""

    bought: npt.NDArray[np.bool_]
    customer: _Places
    day: _Places
    month: _Places
    orders: _Places
    start: Ints
    count: Ints
    first: _Places


class _Months:
    """Calendar months from the one of the first day up to that of the last, by number; the last may be cut short."""

    def __init__(self, first: int, now: int) -> None:
        self.first, self.now = first, now
        month = period_number(np.arange(first, now + 1), "month")
        self.numbers = np.arange(month[0], month[-1] + 1)
        self.n = len(self.numbers)
        self._index = (month - month[0]).astype(np.int32)
        ends = np.append(np.flatnonzero(np.diff(month)), now - first)
        self._ended = np.searchsorted(ends, np.arange(now - first + 2), side="left").astype(np.int32)

    def of(self, day: _Places) -> _Places:
        month: _Places = self._index[day - self.first]
        return month

    def ended_before(self, day: _Places) -> _Places:
        ended: _Places = self._ended[np.minimum(day, self.now + 1) - self.first]
        return ended


def _known_days(book: Ledger, as_of: date) -> _Days:
    entries = book.entries
    now = day_number(as_of)
    if len(entries) and int(entries["known"].to_numpy().max()) > now:
        entries = entries.filter(pl.col("known") <= now)
    days = _Days(*(entries[name].to_numpy() for name in ("customer", "day", "spend", "orders")))
    return days if bool((entries["known"].to_numpy() == days.day).all()) else _merged(days)


def _merged(days: _Days) -> _Days:
    key = (days.customer.astype(np.int64) << 32) + days.day
    order = np.argsort(key, kind="stable")  # nearly sorted already
    key = key[order]
    start = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    at = order[start]
    sums = (np.add.reduceat(values[order], start) for values in (days.spend, days.orders))
    return _Days(days.customer[at], days.day[at], *sums)


def _purchases(days: _Days, month: _Places, *, has_amounts: bool) -> _Purchases:
    bought = days.spend > 0 if has_amounts else days.orders > 0
    columns = [days.customer, days.day, month, days.orders]
    customer, day, month, orders = columns if bought.all() else [values[bought] for values in columns]
    start = _run_starts(customer)
    return _Purchases(bought, customer, day, month, orders, start, np.diff(np.append(start, len(day))), day[start])


def _sales(days: _Days, month: _Places, made: _Purchases, n_months: int) -> dict[str, Ints]:
    after = made.bought.copy()
    after[np.flatnonzero(after)[made.start]] = False
    rest = np.flatnonzero(~made.bought)  # days of returns, or of nothing paid: after the first purchase, or not
    first = np.full(int(days.customer[-1]) + 1, np.iinfo(np.int32).max, dtype=np.int32)
    first[made.customer[made.start]] = made.first
    after[rest] = days.day[rest] > first[days.customer[rest]]
    sales, early = _sums(month, days.spend, n_months), _sums(month[~after], days.spend[~after], n_months)
    return {"sales": sales, "returning_sales": sales - early}


class _CustomerSales:
    """Money of customers from their first purchase day on: place in `_Purchases.first`, day, month, net sales."""

    def __init__(self, days: _Days, month: _Places, made: _Purchases) -> None:
        place = np.full(int(days.customer[-1]) + 1, -1, dtype=np.int32)
        place[made.customer[made.start]] = np.arange(len(made.start), dtype=np.int32)
        who = place[days.customer]
        counts = who >= 0
        counts[counts] = days.day[counts] >= made.first[who[counts]]
        self.who, self.day, self.month = who[counts], days.day[counts], month[counts]
        self.sales = days.spend[counts]


def _spenders(made: _Purchases, paid: _CustomerSales | None) -> Ints:
    again = (made.count > 1).astype(np.int64)
    sales = np.zeros(2, dtype=np.int64) if paid is None else _sums(again[paid.who], paid.sales, 2)
    return np.stack([_histogram(again, 2), _sums(again, made.count, 2), sales], axis=1)


def _rhythm(made: _Purchases) -> Ints:
    # The mean gap, rounded to whole days without floats.
    several = made.count > 1
    start, gaps = made.start[several], made.count[several] - 1
    span = made.day[start + gaps].astype(np.int64) - made.day[start]
    return _histogram(np.minimum((2 * span + gaps) // (2 * gaps), RHYTHM_DAYS), RHYTHM_DAYS + 1)


def _cohort_sales(made: _Purchases, paid: _CustomerSales | None, months: _Months) -> Ints:
    tables = np.zeros((len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS), dtype=np.int64)
    if paid is None or not len(made.day):
        return tables
    earliest = int(made.first.min())
    if months.now - earliest <= WEEKLY_UP_TO_DAYS:
        week = period_number(np.arange(earliest, months.now + 1), "week")
        ago = (week[-1] - week).astype(np.int64)
        tables[0] = _paired(ago[made.first - earliest][paid.who], ago[paid.day - earliest], paid.sales, MAX_COHORTS)
    span = min(months.n, MAX_COHORTS * 12)
    left = months.n - span
    by_month = _paired(made.month[made.start][paid.who] - left, paid.month - left, paid.sales, span)
    for place, length in enumerate((1, 3, 12), start=1):
        tables[place] = _latest(by_month, months.numbers[-span:] // length)
    return tables


def _paired(first: _Places, then: _Places, values: _Places, length: int) -> Ints:
    shown = (first >= 0) & (first < length) & (then >= 0) & (then < length)
    place = first[shown].astype(np.int64) * length + then[shown]
    return _sums(place, values[shown], length * length).reshape(length, length)


def _tables(made: _Purchases, months: _Months, sales: Mapping[str, Ints]) -> tuple[Ints, Ints, Ints, Ints]:
    second = made.start[made.count > 1] + 1
    new_month = _changes(made.month, made.start)
    none = np.zeros(months.n, dtype=np.int64)
    rows = {
        "customers": _histogram(made.month[new_month], months.n),
        "new_customers": _histogram(made.month[made.start], months.n),
        "second_purchases": _histogram(made.month[second], months.n),
        "orders": _sums(made.month, made.orders, months.n),
        "first_orders": _sums(made.month[made.start], made.orders[made.start], months.n),
        **_retention(made, months, RETENTION_DAYS),
        **{f"{name}_year": row for name, row in _retention(made, months, YEAR_DAYS).items()},
        **sales,
    }
    watched, gaps = _win_back_counts(made, second, months.now)
    monthly = np.stack([rows.get(name, none) for name in MONTHLY])
    return monthly, watched, gaps, _cohorts(made, new_month, months)


def _retention(made: _Purchases, months: _Months, window: int) -> dict[str, Ints]:
    # Of each month's end e and window w: who bought in (e - 2w, e - w], and who of them also in (e - w, e]. At most one
    # purchase day d of a customer is the last one by e - w, so every customer is counted once at e, at d: in a run of
    # ends.
    later = np.append(made.day[1:], 0).astype(np.int32)
    later[made.start + made.count - 1] = months.now + 1
    since = made.day + window
    over = np.minimum(since, later) + window  # the first day that is too late
    stop = months.ended_before(over)
    back = np.minimum(np.maximum(since, later), over)
    return {
        "before": _runs(months.ended_before(since), stop, months.n),
        "kept": _runs(months.ended_before(back), stop, months.n),
    }


def _runs(start: _Places, stop: _Places, length: int) -> Ints:
    change = _histogram(start, length + 1) - _histogram(stop, length + 1)
    return np.cumsum(change)[:length]


def _win_back_counts(made: _Purchases, second: Ints, now: int) -> tuple[Ints, Ints]:
    seen, gap = now - made.first, made.day[second] - made.day[second - 1]
    seen_again, longest = now - made.day[second - 1], max(REPEAT_DAYS)
    watched = np.array([(seen >= days).sum() for days in REPEAT_DAYS], dtype=np.int64)
    gaps = [_histogram(gap[(gap <= days) & (seen_again >= days)], longest + 1) for days in REPEAT_DAYS]
    return watched, np.stack(gaps)


def _cohorts(made: _Purchases, new_month: npt.NDArray[np.bool_], months: _Months) -> Ints:
    tables = np.zeros((len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS), dtype=np.int64)
    if not len(made.day):
        return tables
    earliest = int(made.first.min())
    if months.now - earliest <= WEEKLY_UP_TO_DAYS:
        tables[0] = _weekly_cohorts(made, earliest, months.now)
    for place, counted in enumerate(_calendar_cohorts(made, new_month, months), start=1):
        tables[place] = counted
    return tables


def _calendar_cohorts(made: _Purchases, new_month: npt.NDArray[np.bool_], months: _Months) -> list[Ints]:
    # One histogram of a customer's first month, a month bought in, and whether that begins a quarter and a year for
    # the customer, holds the tables of months, quarters and years.
    span = min(months.n, MAX_COHORTS * 12)
    month, start = made.month[new_month], _run_starts(made.customer[new_month])
    quarter, year = (_changes((months.numbers // length).astype(np.int32)[month], start) for length in (3, 12))
    first = np.repeat(month[start], np.diff(np.append(start, len(month)))) - (months.n - span)
    place = (((first * span) + month - (months.n - span)) * 2 + quarter) * 2 + year
    joint = _histogram(place[first >= 0], span * span * 4).reshape(span, span, 2, 2)
    counted = [joint.sum(axis=(2, 3)), joint[:, :, 1].sum(axis=2), joint[:, :, :, 1].sum(axis=2)]
    return [_latest(table, months.numbers[-span:] // length) for table, length in zip(counted, (1, 3, 12), strict=True)]


def _latest(table: Ints, period: Ints) -> Ints:
    # From months to the latest periods, counted backwards.
    ago = period[-1] - period
    shown = ago < MAX_COHORTS
    out = np.zeros((MAX_COHORTS, MAX_COHORTS), dtype=np.int64)
    np.add.at(out, np.ix_(ago[shown], ago[shown]), table[np.ix_(shown, shown)])
    return out


def _weekly_cohorts(made: _Purchases, earliest: int, now: int) -> Ints:
    week = period_number(np.arange(earliest, now + 1), "week")
    period = (week[-1] - week)[made.day - earliest]
    cohort = np.repeat(period[made.start], made.count)
    shown = _changes(period, made.start) & (cohort < MAX_COHORTS)
    place = cohort[shown] * MAX_COHORTS + period[shown]
    return _histogram(place, MAX_COHORTS**2).reshape(MAX_COHORTS, MAX_COHORTS)


def _run_starts(customer: _Places) -> Ints:
    """Where each customer's block begins."""
    return np.flatnonzero(_changes(customer, np.zeros(0, dtype=np.int64)))


def _changes(values: _Places, start: Ints) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before it, or a customer begins."""
    changes = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    changes[start] = True
    return changes


def _histogram(values: _Places, length: int) -> Ints:
    return np.bincount(values, minlength=length).astype(np.int64, copy=False)


def _sums(place: _Places, values: _Places, length: int) -> Ints:
    out = np.zeros(length, dtype=np.int64)
    np.add.at(out, place, values)  # whole numbers: bincount would add up floats
    return out
