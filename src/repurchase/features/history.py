"""What is known of customers on a day, and what they did after it: arrays, one block of rows per customer."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["EPOCH", "MONEY", "PER_DAY", "PIECES", "Floats", "History", "Ints", "Outcomes", "day_number"]

MONEY = 10_000
"""Integer units of one unit of currency."""
PIECES = 1_000
"""Integer units of one piece."""

PER_DAY = ("day", "spend", "orders", "lines", "quantity", "discount")
"""A history's columns, one value a purchase day."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Count days since 1970-01-01.

    Parameters
    ----------
    day : date
        A calendar day.

    Returns
    -------
    int
        Days since the epoch; negative before it.

    Examples
    --------
    >>> day_number(date(1970, 1, 31))
    30
    """
    return (day - EPOCH).days


@dataclass(frozen=True)
class History:
    """Purchase days known on a day, one block of rows per customer, blocks and days rising.

    Parameters
    ----------
    as_of : date
        Last day known, inclusive.
    customer : array of shape (n_customers,)
        Codes of the customers with at least one purchase day, rising.
    start : array of shape (n_customers,)
        Where each customer's block begins.
    day, spend, orders, lines, quantity, discount : arrays of shape (n_days,)
        Per purchase day: day number; net money, pieces and discount in integer units; counts.
    net_total, returned : arrays of shape (n_customers,)
        Net money over all days, and money given back, in integer units.
    has_amounts : bool
        Whether the log knows money.
    """

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
    has_amounts: bool

    @cached_property
    def count(self) -> Ints:
        """Purchase days of each customer, >= 1."""
        return np.diff(np.append(self.start, len(self.day)))

    def take(self, places: Ints) -> "History":
        """Keep some customers.

        Parameters
        ----------
        places : int array of shape (n_kept,)
            Positions in ``customer``, rising.

        Returns
        -------
        History
            Their rows, as if no one else were in the log.
        """
        count = self.count[places]
        start = np.cumsum(count) - count
        rows = np.repeat(self.start[places] - start, count) + np.arange(count.sum())
        return History(
            as_of=self.as_of,
            customer=self.customer[places],
            start=start,
            **{name: getattr(self, name)[rows] for name in PER_DAY},
            net_total=self.net_total[places],
            returned=self.returned[places],
            has_amounts=self.has_amounts,
        )

    def total(self, values: Ints) -> Ints:
        """Add up a per-day array for each customer.

        Parameters
        ----------
        values : array of shape (n_days,)
            Integers, one per purchase day.

        Returns
        -------
        array of shape (n_customers,)
            Exact sums.
        """
        if not len(self.start):
            return np.zeros(0, dtype=np.int64)
        return np.add.reduceat(values, self.start)

    def position(self, before_or_on: int) -> Ints:
        """Find where each customer's days after a day begin.

        Parameters
        ----------
        before_or_on : int
            Day number.

        Returns
        -------
        array of shape (n_customers,)
            Index of the first row with a later day; the end of the block where there is none.
        """
        if before_or_on >= day_number(self.as_of):
            return self.start + self.count  # every day known lies before
        return np.searchsorted(self._clock, self._block_clock + before_or_on, side="right")

    @cached_property
    def _clock(self) -> Ints:
        blocks = np.repeat(np.arange(len(self.start), dtype=np.int64), self.count)
        return blocks * _LIFETIME + self.day

    @property
    def _block_clock(self) -> Ints:
        return np.arange(len(self.start), dtype=np.int64) * _LIFETIME


_LIFETIME = np.int64(1) << 32
"""Larger than any day number, so that customer and day fit one sortable integer."""


@dataclass(frozen=True)
class Outcomes:
    """What customers known on a day did in (``as_of``, ``as_of`` + ``horizon_days``].

    Parameters
    ----------
    bought : bool array of shape (n_customers,)
        Whether there was a purchase day.
    purchase_days : int array of shape (n_customers,)
        How many.
    spend : float array of shape (n_customers,)
        Net money dated in the window; NaN without money.
    wait_days : float array of shape (n_customers,)
        Days until the first of those purchase days; NaN without one.
    """

    bought: npt.NDArray[np.bool_]
    purchase_days: Ints
    spend: Floats
    wait_days: Floats
