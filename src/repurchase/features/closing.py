"""A time in which the shop was closed: no customer could buy, so silence in it says nothing of any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from repurchase.features.history import EPOCH, Ints, day_number

__all__ = ["Closing", "find_closing"]

LEAST_DAYS = 28
TIMES_AS_QUIET = 4
"""By how much a closing is longer than the next longest quiet spell."""
LEAST_MISSED = 30.0
"""Orders that the quieter of the two sides would have brought: chance alone leaves none once in e**30."""
AROUND_DAYS = 90


@dataclass(frozen=True)
class Closing:
    """Days without any order, between days with orders.

    Parameters
    ----------
    first, last : int
        Day numbers, inclusive.
    """

    first: int
    last: int

    @property
    def days(self) -> int:
        """How long it was."""
        return self.last - self.first + 1

    @property
    def words(self) -> str:
        """From when to when, and how long."""
        first, last = (EPOCH + timedelta(days=day) for day in (self.first, self.last))
        return f"no order from {first} to {last}, {self.days} days"

    def open_day(self, day: pl.Expr) -> pl.Expr:
        """Count a day as if the closing had been one day long: what lies before it moves towards it.

        Parameters
        ----------
        day : Expr
            Day numbers.

        Returns
        -------
        Expr
            Day numbers that rise as before; those after the closing stay.
        """
        moved = pl.when(day < self.first).then(day + (self.days - 1)).otherwise(self.last)
        return pl.when(day > self.last).then(day).otherwise(moved).cast(pl.Int32)

    def open_date(self, day: date) -> date:
        """Count a calendar day, as `open_day` does.

        Parameters
        ----------
        day : date
            A calendar day.

        Returns
        -------
        date
            Closer to the closing where it lies before it.
        """
        return EPOCH + timedelta(days=pl.select(self.open_day(pl.lit(day_number(day)))).item())

    def calendar_date(self, day: date) -> date:
        """Undo `open_date`.

        Parameters
        ----------
        day : date
            A counted day.

        Returns
        -------
        date
            The calendar day; of the closing the last one.
        """
        return day - timedelta(days=self.days - 1) if day_number(day) < self.last else day

    def to_dict(self) -> dict[str, int]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"first": self.first, "last": self.last}

    @classmethod
    def from_dict(cls, fields: Mapping[str, int]) -> "Closing":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : mapping
            What `to_dict` gave.

        Returns
        -------
        Closing
            Equal to the one saved.
        """
        return cls(fields["first"], fields["last"])


def find_closing(days: Ints) -> Closing | None:
    """Find the one spell without orders that cannot be chance.

    A shop that closes every year has several such spells: that is its season, and none is found.

    Parameters
    ----------
    days : array of shape (n_orders,)
        Day numbers of all orders, in any order.

    Returns
    -------
    Closing or None
        Four weeks at least, four times as long as any other spell, with orders on both sides that would hardly ever
        leave such a spell by chance.

    Examples
    --------
    >>> find_closing(np.array([*range(100), *range(160, 200)]))
    Closing(first=100, last=159)
    >>> find_closing(np.array([0, 30, 60, 160, 190])) is None
    True
    """
    open_days = np.unique(days)
    quiet = np.diff(open_days) - 1
    if len(quiet) < 2:
        return None
    at = int(quiet.argmax())
    length, next_longest = int(quiet[at]), int(np.delete(quiet, at).max())
    if length < LEAST_DAYS or length < TIMES_AS_QUIET * next_longest:
        return None
    before, after = int(open_days[at]), int(open_days[at + 1])
    sides = (
        _a_day(days, max(before - AROUND_DAYS + 1, int(open_days[0])), before),
        _a_day(days, after, min(after + AROUND_DAYS - 1, int(open_days[-1]))),
    )
    return Closing(before + 1, after - 1) if length * min(sides) >= LEAST_MISSED else None


def _a_day(days: Ints, first: int, last: int) -> float:
    return float(((days >= first) & (days <= last)).sum() / (last - first + 1))
