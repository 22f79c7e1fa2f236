"""What is counted of a log's purchase days: tables of whole numbers that add up over customers.

Logs that share no customer can be counted apart, in any order: the sum is what the whole log would have given, to the
last digit. No customer is in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.features.history import Ints, day_number

__all__ = [
    "COHORT_UNITS",
    "MAX_COHORTS",
    "MONTHLY",
    "REPEAT_DAYS",
    "RETENTION_DAYS",
    "RHYTHM_DAYS",
    "SPENDERS",
    "WEEKLY_UP_TO_DAYS",
    "YEAR_DAYS",
    "Counts",
    "period_number",
]

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
class Counts:
    """Purchase days, counted.

    Parameters
    ----------
    as_of : date
        Last day known, inclusive.
    has_amounts : bool
        Whether the log knows money; False where nothing was counted.
    first_entry, first_purchase : int, optional
        Day numbers of the earliest day with an order or a return, and with a purchase; None without one.
    monthly : int array of shape (11, n_months)
        One row per name in ``MONTHLY``, one column per calendar month up to that of ``as_of``, gaps included. Money
        is in ten-thousandths.
    watched : int array of shape (4,)
        Customers whose first purchase day is at least 30, 90, 180, 365 days ago.
    gaps : int array of shape (4, 366)
        Of those, how many came back after so many days; later than 30, 90, 180, 365 is not counted.
    cohorts : int array of shape (4, 24, 24)
        Customers by week, month, quarter and year: ``[unit, c, p]`` bought for the first time c periods ago and had a
        purchase day p periods ago. Weeks are left at 0 once the first purchase is more than half a year ago.
    cohort_sales : int array of shape (4, 24, 24)
        The same customers' net sales in those periods, from the first purchase day on, in ten-thousandths.
    spenders : int array of shape (2, 3)
        Customers with one purchase day, and with more: how many, their purchase days, and their net sales in
        ten-thousandths.
    rhythm : int array of shape (731,)
        Customers with two purchase days or more by the mean of their gaps, in whole days; the last holds all longer
        ones.
    """

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
    def none(cls, as_of: date) -> "Counts":
        """Count nobody.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        Counts
            What adds nothing.
        """
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

    def __add__(self, other: "Counts") -> "Counts":
        """Count both logs together, which share no customer; exact, in any order."""
        if self.as_of != other.as_of:
            raise InputError(f"Counts up to {self.as_of} and up to {other.as_of} do not add up. Count up to one day.")
        if self.first_entry is not None and other.first_entry is not None and self.has_amounts != other.has_amounts:
            raise InputError(
                "Counts with and without money do not add up. Tell every part whether the whole log has it."
            )
        weekly = all(_may_be_weekly(part) for part in (self, other))
        cohorts, sales = self.cohorts + other.cohorts, self.cohort_sales + other.cohort_sales
        return Counts(
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
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields; arrays as lists.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value.tolist() for name, value in plain.items() if isinstance(value, np.ndarray)}
        return {**plain, "as_of": self.as_of.isoformat(), **arrays}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Counts":
        """Restore from `to_dict`.

        Parameters
        ----------
        plain : mapping
            What `to_dict` gave.

        Returns
        -------
        Counts
            Equal to those saved.
        """
        shapes = {"monthly": (len(MONTHLY), -1), "watched": (-1,), "gaps": (len(REPEAT_DAYS), -1), "rhythm": (-1,)}
        shapes |= dict.fromkeys(("cohorts", "cohort_sales"), (len(COHORT_UNITS), MAX_COHORTS, MAX_COHORTS))
        shapes["spenders"] = (2, len(SPENDERS))
        arrays = {name: np.asarray(plain[name], dtype=np.int64).reshape(shape) for name, shape in shapes.items()}
        return cls(**{**plain, "as_of": date.fromisoformat(plain["as_of"]), **arrays})


def period_number(day: npt.ArrayLike, unit: str) -> Ints:
    """Number the calendar periods; consecutive ones have consecutive numbers.

    Parameters
    ----------
    day : int array
        Day numbers.
    unit : str
        Of ``COHORT_UNITS``; a week begins on Monday.

    Returns
    -------
    int array
        0 for the period of 1970-01-01.

    Examples
    --------
    >>> [period_number([0, 4, 31, 365], unit).tolist() for unit in ("week", "month", "year")]
    [[0, 1, 4, 52], [0, 0, 1, 12], [0, 0, 0, 1]]
    """
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


def _may_be_weekly(part: Counts) -> bool:
    return part.first_purchase is None or day_number(part.as_of) - part.first_purchase <= WEEKLY_UP_TO_DAYS


def _without_weeks(cohorts: Ints) -> Ints:
    cohorts[0] = 0
    return cohorts
