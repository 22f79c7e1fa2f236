"""How a column writes its dates: decided by all its rows together, however they are split."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import polars as pl

from repurchase.errors import OrdersError, first_few

__all__ = ["NUMBERS", "TIME", "DateEvidence", "DateForm", "DateOrder", "as_text"]

DateOrder = Literal["day_first", "month_first"]

TIME = (
    r"(?:(?:T|,?\s+|\s+at\s+)(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?\s*(?P<offset>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
"""A time of day and an offset, where there are any."""
NUMBERS = r"^(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second_number>\d{1,2})[-/.](?P<year>\d{4}|\d{2})" + TIME
"""A date whose day and month might change places."""
_SPREADSHEET_DAYS = (25569, 73050)
_COUNTED = r"^\d{5}(\.\d+)?$|^\d{10}(\.\d+)?$|^\d{13}$"


@dataclass(frozen=True)
class DateForm:
    """How a column writes its dates.

    Parameters
    ----------
    order : {"day_first", "month_first"}
        What ``03/04/2024`` means.
    counted : {5, 10, 13}, optional
        Digits of numbers that count: days of a spreadsheet, seconds or milliseconds since 1970.
    notes : tuple of str
        What had to be decided, in words.
    """

    order: DateOrder = "day_first"
    counted: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DateEvidence:
    """What some rows of a column say about how it writes dates; adds up over any split of the rows.

    Parameters
    ----------
    heads : frozenset of tuple of str
        Different dates whose day and month might change places: first number, mark, second number, year.
    digits : frozenset of int
        Whole digits of the values, if every value is a number that may count.
    counts : bool
        Whether every value is such a number.
    """

    heads: frozenset[tuple[str, str, str, str]] = frozenset()
    digits: frozenset[int] = frozenset()
    counts: bool = True

    @classmethod
    def of(cls, values: pl.Series) -> "DateEvidence":
        """Look at some rows.

        Parameters
        ----------
        values : Series
            Dates as the export has them.

        Returns
        -------
        DateEvidence
            Nothing for timestamps: they leave nothing to decide.
        """
        if values.dtype.is_temporal():
            return cls()
        texts = as_text(values).unique().drop_nulls()
        numbers = texts.str.extract_groups(NUMBERS).struct.unnest().drop_nulls("first")
        heads = numbers.select("first", "mark", "second_number", "year").unique().rows()
        counts = bool(texts.str.contains(_COUNTED).all())
        digits = texts.str.extract(r"^(\d+)").str.len_chars() if counts else pl.Series(dtype=pl.UInt32)
        spreadsheet = texts.filter(texts.str.len_chars() > 0).cast(pl.Float64, strict=False) if 5 in digits else None
        if spreadsheet is not None and not spreadsheet.is_between(*_SPREADSHEET_DAYS).all():
            counts = False
        return cls(frozenset(heads), frozenset(digits.unique().to_list()), counts)

    def __add__(self, other: "DateEvidence") -> "DateEvidence":
        return DateEvidence(self.heads | other.heads, self.digits | other.digits, self.counts and other.counts)

    def decide(
        self,
        *,
        column: str = "",
        source: str = "orders",
        timezone: str | None = None,
        date_order: DateOrder | None = None,
    ) -> DateForm:
        """Decide how the column writes its dates.

        Parameters
        ----------
        column, source : str
            What messages call the column and the log.
        timezone : str, optional
            Zone that seconds since 1970 are read in.
        date_order : {"day_first", "month_first"}, optional
            Wins over what the column suggests.

        Returns
        -------
        DateForm
            How to read it.

        Raises
        ------
        OrdersError
            If day and month can change places, and neither the column nor ``date_order`` decides.
        """
        if self.counts and len(self.digits) == 1:
            (digits,) = self.digits
            return DateForm(counted=digits, notes=(_counted_note(digits, timezone or "UTC"),))
        if not self.heads or date_order is not None:
            return DateForm(date_order or "day_first")
        days_first, months_first = self._votes
        if days_first != months_first:
            order: DateOrder = "day_first" if days_first > months_first else "month_first"
            shown = "day" if order == "day_first" else "month"
            return DateForm(order, notes=(f"Dates are read {shown} first, as the column shows.",))
        if days_first == 0 and all(mark == "." for _, mark, _, _ in self.heads):
            return DateForm(notes=("Dates are read day first, as dates with points are.",))
        if days_first == 0 and all(int(first) == int(second) for first, _, second, _ in self.heads):
            return DateForm()
        raise OrdersError(self._question(column, source))

    @cached_property
    def _votes(self) -> tuple[int, int]:
        return sum(int(head[0]) > 12 for head in self.heads), sum(int(head[2]) > 12 for head in self.heads)

    def _question(self, column: str, source: str) -> str:
        shown = sorted(f"{first}{mark}{second}{mark}{year}" for first, mark, second, year in self.heads)
        undecided = sorted(
            (f"{first}{mark}{second}{mark}{year}", int(first), int(second))
            for first, mark, second, year in self.heads
            if int(first) <= 12 and int(second) <= 12 and int(first) != int(second)
        )
        if not undecided or self._votes[0]:
            return (
                f"{source}: the dates in '{column}' contradict each other, half day first and half month first: "
                f"{first_few(shown)}. Say which is right: --date-order day_first or --date-order month_first."
            )
        pick, a, b = undecided[0]
        return (
            f"{source}: the dates in '{column}' can be read in two ways: '{pick}' is {a} {_month_name(b)} or "
            f"{_month_name(a)} {b}, and none of the {len(self.heads):,} different dates decides. "
            "Say which: --date-order day_first or --date-order month_first."
        )


def as_text(values: pl.Series) -> pl.Series:
    """Write dates as text, and whole numbers without a decimal point.

    Parameters
    ----------
    values : Series
        Dates as the export has them.

    Returns
    -------
    Series of str
        Without blanks around them.
    """
    if values.dtype.is_float():  # 20240131.0 stands in a column of whole numbers that has gaps
        whole = (values % 1 == 0).fill_null(value=False)
        return (
            values.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, values.fill_nan(None).cast(pl.String))
        )
    return values.cast(pl.String).str.strip_chars()


def _counted_note(digits: int, zone: str) -> str:
    if digits == 5:
        return "Dates are day numbers of a spreadsheet (45,292 is 2024-01-01)."
    unit = "seconds" if digits == 10 else "milliseconds"
    return f"Dates are {unit} since 1970, read as clock time in {zone}."


def _month_name(month: int) -> str:
    return datetime(2024, month, 1).strftime("%B")  # noqa: DTZ001 - only its name is used
