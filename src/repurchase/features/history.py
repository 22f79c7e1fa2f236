"""Customers' purchase days known on a day, and the outcomes that followed, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


Floats = npt.NDArray[np.float64]


MONEY_SCALE = 10_000
"""Integer units of one unit of currency."""
QUANTITY_SCALE = 1_000
"""Integer units of one piece."""

PER_DAY_COLUMNS = ("day", "spend", "orders", "lines", "quantity", "discount")
"""A history's columns, one value a purchase day."""
_PER_CUSTOMER_COLUMNS = ("customer", "net_total", "returned", "orders_total")


EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Count days since 1970-01-01."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class History:
    """Purchase days known on a day, one block of rows per customer, blocks and days rising."""

    as_of: date
    customer: Ints
    start: Ints
    day: Ints
    spend: Ints
    orders: Ints
    lines: Ints
    quantity: Ints
    discount: Ints
    net_total: Ints
    returned: Ints
    orders_total: Ints
    has_amounts: bool

    @cached_property
    def count(self) -> Ints:
        """Purchase days of each customer, >= 1."""
        return np.diff(self.start, append=len(self.day))

    @cached_property
    def last_row(self) -> Ints:
        """Row of each customer's latest purchase day."""
        return self.start + self.count - 1

    @cached_property
    def gap(self) -> Ints:
        """Days since the customer's previous purchase day, for each; 0 on the first."""
        gap = np.diff(self.day, prepend=self.day[:1])
        gap[self.start] = 0
        return gap

    @cached_property
    def gap_beyond_silence(self) -> Ints:
        """By how many days each gap was longer than the customer's present silence."""
        silence = day_number(self.as_of) - self.day[self.last_row]
        return self.gap - silence[self.customer_index]

    @cached_property
    def customer_index(self) -> Ints:
        """Position of each row's customer in ``customer``."""
        return np.repeat(np.arange(len(self.start)), self.count)

    def block(self, first: int, last: int) -> "History":
        """Keep customers that are neighbours, without copying their rows."""
        ends = np.append(self.start, len(self.day))
        rows = slice(int(ends[first]), int(ends[last]))
        return self._select(slice(first, last), rows, start=self.start[first:last] - ends[first])

    def take(self, indices: Ints) -> "History":
        """Keep some customers."""
        count = self.count[indices]
        start = np.cumsum(count) - count
        rows = np.repeat(self.start[indices] - start, count) + np.arange(count.sum())
        return self._select(indices, rows, start=start)

    def _select(self, customers: slice | Ints, rows: slice | Ints, *, start: Ints) -> "History":
        columns = {name: getattr(self, name)[customers] for name in _PER_CUSTOMER_COLUMNS}
        return replace(self, start=start, **columns, **{name: getattr(self, name)[rows] for name in PER_DAY_COLUMNS})

    @classmethod
    def concat(cls, histories: Sequence["History"]) -> "History":
        """Join the customers of several histories of one day."""
        ends = np.cumsum([0, *(len(history.day) for history in histories)])
        start = np.concatenate([history.start + end for history, end in zip(histories, ends[:-1], strict=True)])
        names = (*_PER_CUSTOMER_COLUMNS, *PER_DAY_COLUMNS)
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(history, name) for history in histories]) for name in names
        }
        return replace(histories[0], start=start, **columns)

    def total(self, values: Ints | npt.NDArray[np.bool_]) -> Ints:
        """Add up a per-day array for each customer."""
        if values.dtype == np.bool_:
            return np.bincount(self.customer_index, weights=values, minlength=len(self.start)).astype(np.int64)
        running = _running_sums(values)
        return np.asarray(running[self.start + self.count] - running[self.start])

    def sum(self, values: Floats) -> Floats:
        """Add up a per-day array of any numbers for each customer."""
        return np.asarray(np.bincount(self.customer_index, weights=values, minlength=len(self.start)), dtype=np.float64)

    def position(self, before_or_on: int) -> Ints:
        """Find where each customer's days after a day begin."""
        if before_or_on >= day_number(self.as_of):
            return self.start + self.count  # every day known lies before
        if before_or_on not in self._positions:
            self._positions[before_or_on] = self.start + self.total(self.day <= before_or_on)
        return self._positions[before_or_on]

    @cached_property
    def _positions(self) -> dict[int, Ints]:
        return {}

    def spend_between(self, after: int, until: int) -> Ints:
        """Add up net money on purchase days in a window."""
        return self._running_spend[self.position(until)] - self._running_spend[self.position(after)]

    @cached_property
    def _running_spend(self) -> Ints:
        return _running_sums(self.spend)


def _running_sums(values: Ints | npt.NDArray[np.bool_]) -> Ints:
    """Sums up to each row, the first one of none."""
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return running


@dataclass(frozen=True)
class Outcomes:
    """What customers known on a day did in (``as_of``, ``as_of`` + ``horizon_days``]."""

    bought: npt.NDArray[np.bool_]
    purchase_days: Ints
    spend: Floats
    wait_days: Floats
