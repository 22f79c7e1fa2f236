"""Additive counts of purchase days, cohorts and sales; their size does not grow with the number of customers."""

from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.features.history import Ints, day_number
from repurchase.features.ledger import Ledger

REPEAT_DAYS = (30, 90, 180, 365)
RETENTION_DAYS = 90
YEAR_DAYS = 365
MAX_MEAN_GAP_DAYS = 730
"""Mean gap from which on customers are counted together."""
MAX_COHORTS = 24
MAX_WEEKLY_DAYS = 182
"""Age of a log up to which weekly cohorts are counted."""
COHORT_UNITS = {"week": 7, "month": 1, "quarter": 3, "year": 12}
"""Length of a cohort's period: days of a week, calendar months of the others."""
MONTHLY_COUNTS = (
    *("customers", "new_customers", "second_purchases", "orders", "sales", "returning_sales", "before", "kept"),
    *("first_orders", "before_year", "kept_year"),
)
"""Rows of `PurchaseCounts.monthly`; the retention counts hold at the month's end, see `repeat_business`."""
GROUP_COUNTS = ("customers", "purchase_days", "sales")
"""Columns of `PurchaseCounts.groups`."""

_COHORT_SHAPE = (len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS)
_NEVER = np.iinfo(np.int32).max

_Values = npt.NDArray[np.integer[Any]]
_Flags = npt.NDArray[np.bool_]


_SHAPES = {
    "monthly": (len(MONTHLY_COUNTS), 0),
    "observed": (len(REPEAT_DAYS),),
    "gaps": (len(REPEAT_DAYS), max(REPEAT_DAYS) + 1),
    "cohorts": _COHORT_SHAPE,
    "cohort_sales": _COHORT_SHAPE,
    "groups": (2, len(GROUP_COUNTS)),
    "mean_gaps": (MAX_MEAN_GAP_DAYS + 1,),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PurchaseCounts:
    """What the customers of a log did up to a day; counts of logs that share no customer add up."""

    as_of: date
    has_amounts: bool
    first_entry: int | None
    first_purchase: int | None
    monthly: Ints
    observed: Ints
    gaps: Ints
    cohorts: Ints
    cohort_sales: Ints
    groups: Ints
    mean_gaps: Ints

    @classmethod
    def none(cls, as_of: date) -> "PurchaseCounts":
        """Return the counts of no customers."""
        tables = {name: np.zeros(shape, dtype=np.int64) for name, shape in _SHAPES.items()}
        return cls(as_of=as_of, has_amounts=False, first_entry=None, first_purchase=None, **tables)

    def __add__(self, other: "PurchaseCounts") -> "PurchaseCounts":
        """Add the counts of other customers: exact, in any order."""
        if self.as_of != other.as_of:
            raise InputError(f"Counts up to {self.as_of} and up to {other.as_of} do not add up. Count up to one day.")
        if self.first_entry is not None and other.first_entry is not None and self.has_amounts != other.has_amounts:
            raise InputError(
                "Counts with and without amounts do not add up. Read every part with the whole log's columns."
            )
        totals = {name: getattr(self, name) + getattr(other, name) for name in _SHAPES if name != "monthly"}
        if not (self._has_weeks and other._has_weeks):
            totals["cohorts"][0] = totals["cohort_sales"][0] = 0
        return PurchaseCounts(
            as_of=self.as_of,
            has_amounts=self.has_amounts or other.has_amounts,
            first_entry=_earlier(self.first_entry, other.first_entry),
            first_purchase=_earlier(self.first_purchase, other.first_purchase),
            monthly=_add_latest_months(self.monthly, other.monthly),
            **totals,
        )

    @property
    def _has_weeks(self) -> bool:
        return self.first_purchase is None or day_number(self.as_of) - self.first_purchase <= MAX_WEEKLY_DAYS


def period_number(day: npt.ArrayLike, unit: str) -> Ints:
    """Number the calendar periods; consecutive ones have consecutive numbers."""
    number = np.asarray(day, dtype=np.int64)
    if unit == "week":
        return (number + 3) // 7
    return number.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) // COHORT_UNITS[unit]


def _add_latest_months(one: Ints, other: Ints) -> Ints:
    short, long = sorted((one, other), key=lambda table: table.shape[1])
    total = long.copy()
    total[:, long.shape[1] - short.shape[1] :] += short
    return total


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((day for day in (one, other) if day is not None), default=None)


def count_purchases(ledger: Ledger, *, as_of: date) -> PurchaseCounts:
    """Count what customers did, up to a day."""
    if ledger.closing is not None:
        raise InputError("Repeat business is counted on calendar days. Send the ledger that leaves no closing out.")
    days = _customer_days(ledger, as_of)
    if not len(days.day):
        return PurchaseCounts.none(as_of)
    months = _Months(int(days.day.min()), day_number(as_of))
    bought = days.where(_is_purchase(days, ledger.has_amounts))
    # Money of customers counts from their first purchase day on.
    paid = days.where(days.day >= days.first) if ledger.has_amounts else None
    observed, gaps = _second_purchases(bought, months.now)
    groups, mean_gaps = _buyer_groups(bought, paid)
    cohorts, cohort_sales = _cohorts(bought, paid, months.now)
    return PurchaseCounts(
        as_of=as_of,
        has_amounts=ledger.has_amounts,
        first_entry=months.first,
        first_purchase=int(bought.first.min()) if len(bought.first) else None,
        monthly=_monthly(days, bought, months, has_amounts=ledger.has_amounts),
        observed=observed,
        gaps=gaps,
        cohorts=cohorts,
        cohort_sales=cohort_sales,
        groups=groups,
        mean_gaps=mean_gaps,
    )


class _Days(NamedTuple):
    """One row per customer and day that money counts on, sorted; ``first`` is the customer's first purchase day."""

    customer: _Values
    day: _Values
    spend: _Values
    orders: _Values
    first: _Values

    def where(self, kept: _Flags) -> "_Days":
        return self if kept.all() else _Days(*(column[kept] for column in self))

    @property
    def is_first(self) -> _Flags:
        return np.asarray(self.day == self.first)

    def next_day(self) -> _Values:
        """The customer's next day, or never."""
        return np.where(np.roll(self.is_first, -1), np.int32(_NEVER), np.roll(self.day, -1))

    def begins(self, period: _Values) -> _Flags:
        """Whether the row is the customer's first one in its period."""
        begins = self.is_first
        begins[1:] |= period[1:] != period[:-1]
        return begins


class _Months:
    """Calendar months from the one of the first day up to that of the last, numbered from 0; the last may be cut."""

    def __init__(self, first: int, now: int) -> None:
        self.first, self.now = first, now
        month = period_number(np.arange(first, now + 1), "month")
        self.n = int(month[-1] - month[0]) + 1
        self._month = np.append(month - month[0], self.n).astype(np.int32)

    def of(self, day: _Values) -> _Values:
        """Number of the month, which is how many months ended before the day; all of them did after the last day."""
        return np.asarray(self._month[np.minimum(day, self.now + 1) - self.first])

    def sums(self, day: _Values, values: _Values) -> Ints:
        return _sums(self.of(day), values, self.n)

    def counts(self, day: _Values) -> Ints:
        return _histogram(self.of(day), self.n)


def _customer_days(ledger: Ledger, as_of: date) -> _Days:
    entries = ledger.until(as_of).entries
    if (entries["known"] != entries["day"]).any():
        entries = entries.group_by("customer", "day").agg(pl.col("spend", "orders").sum()).sort("customer", "day")
    customer, day, spend, orders = (entries[name].to_numpy() for name in ("customer", "day", "spend", "orders"))
    days = _Days(customer, day, spend, orders, first=day)
    if not len(day):
        return days
    bought = _is_purchase(days, ledger.has_amounts)
    first_of_customer = np.full(int(customer[-1]) + 1, _NEVER, dtype=np.int32)
    # Sorted backwards, so that the first day is written last.
    first_of_customer[customer[bought][::-1]] = day[bought][::-1]
    return days._replace(first=first_of_customer[customer])


def _is_purchase(days: _Days, has_amounts: bool) -> _Flags:
    return np.asarray(days.spend > 0 if has_amounts else days.orders > 0)


def _monthly(days: _Days, bought: _Days, months: _Months, *, has_amounts: bool) -> Ints:
    is_first, month = bought.is_first, months.of(bought.day)
    rows = {
        "customers": months.counts(bought.day[bought.begins(month)]),
        "new_customers": months.counts(bought.day[is_first]),
        "second_purchases": months.counts(bought.day[_is_second(bought)]),
        "orders": months.sums(bought.day, bought.orders),
        "first_orders": months.sums(bought.day[is_first], bought.orders[is_first]),
        **_retention(bought, months, RETENTION_DAYS),
        **{f"{name}_year": row for name, row in _retention(bought, months, YEAR_DAYS).items()},
    }
    if has_amounts:
        returning = days.where(days.day > days.first)
        rows["sales"] = months.sums(days.day, days.spend)
        rows["returning_sales"] = months.sums(returning.day, returning.spend)
    nothing = np.zeros(months.n, dtype=np.int64)
    return np.stack([rows.get(name, nothing) for name in MONTHLY_COUNTS])


def _is_second(bought: _Days) -> _Flags:
    return np.roll(bought.is_first, 1) & ~bought.is_first


def _retention(bought: _Days, months: _Months, window: int) -> dict[str, Ints]:
    # Of each month's end e and window w: who bought in (e - 2w, e - w], and who of them also in (e - w, e]. At most one
    # purchase day d of a customer is the last one by e - w, so every customer is counted once at e, at d: in a run of
    # ends.
    following = bought.next_day()
    since = bought.day + window
    too_late = np.minimum(since, following) + window
    returned = np.minimum(np.maximum(since, following), too_late)
    return {
        "before": _runs(months.of(since), months.of(too_late), months.n),
        "kept": _runs(months.of(returned), months.of(too_late), months.n),
    }


def _runs(start: _Values, stop: _Values, length: int) -> Ints:
    change = _histogram(start, length + 1) - _histogram(stop, length + 1)
    return np.cumsum(change)[:length]


def _second_purchases(bought: _Days, now: int) -> tuple[Ints, Ints]:
    """Customers observed long enough, and the gaps to the second purchase of those who came back in time."""
    first, second = bought.first[bought.is_first], bought.where(_is_second(bought))
    gap, observed_days = second.day - second.first, now - second.first
    observed = np.array([(now - first >= days).sum() for days in REPEAT_DAYS], dtype=np.int64)
    gaps = [_histogram(gap[(gap <= days) & (observed_days >= days)], max(REPEAT_DAYS) + 1) for days in REPEAT_DAYS]
    return observed, np.stack(gaps)


def _buyer_groups(bought: _Days, paid: _Days | None) -> tuple[Ints, Ints]:
    """Counts of those who bought once and more often, and a histogram of the mean gaps of the latter."""
    n_days = np.bincount(bought.customer)
    purchase_days = n_days[n_days > 0]
    returning = (purchase_days > 1).astype(np.int64)
    sales = (
        np.zeros(2, dtype=np.int64)
        if paid is None
        else _sums((n_days > 1).astype(np.int64)[paid.customer], paid.spend, 2)
    )
    groups = np.stack([_histogram(returning, 2), _sums(returning, purchase_days, 2), sales], axis=1)
    last = bought.where((bought.next_day() == _NEVER) & ~bought.is_first)
    span, gaps = last.day.astype(np.int64) - last.first, n_days[last.customer] - 1
    rounded = (2 * span + gaps) // (2 * gaps)  # the mean gap in whole days, without floats
    return groups, _histogram(np.minimum(rounded, MAX_MEAN_GAP_DAYS), MAX_MEAN_GAP_DAYS + 1)


def _cohorts(bought: _Days, paid: _Days | None, now: int) -> tuple[Ints, Ints]:
    """Active customers and sales by unit, first period and later period, both counted backwards from the last one."""
    active, sales = np.zeros((2, *_COHORT_SHAPE), dtype=np.int64)
    earliest = int(bought.first.min(initial=now))
    for place, unit in enumerate(COHORT_UNITS):
        if unit == "week" and now - earliest > MAX_WEEKLY_DAYS:
            continue
        period = period_number(np.arange(earliest, now + 1), unit)
        ago = (period[-1] - period).astype(np.int32)
        begins = bought.begins(ago[bought.day - earliest])
        active[place] = _cohort_table(ago, earliest, bought.where(begins), None)
        if paid is not None:
            sales[place] = _cohort_table(ago, earliest, paid, paid.spend)
    return active, sales


def _cohort_table(ago: _Values, earliest: int, days: _Days, values: _Values | None) -> Ints:
    cohort, then = ago[days.first - earliest], ago[days.day - earliest]
    shown = cohort < MAX_COHORTS
    cell = cohort[shown] * MAX_COHORTS + then[shown]
    counted = _histogram(cell, MAX_COHORTS**2) if values is None else _sums(cell, values[shown], MAX_COHORTS**2)
    return counted.reshape(MAX_COHORTS, MAX_COHORTS)


def _histogram(values: _Values, length: int) -> Ints:
    return np.bincount(values, minlength=length).astype(np.int64, copy=False)


def _sums(place: _Values, values: _Values, length: int) -> Ints:
    out = np.zeros(length, dtype=np.int64)
    np.add.at(out, place, values)  # whole numbers: bincount would add up floats
    return out
