"""What the values of a column look like: the evidence that its name is checked against."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from repurchase.errors import InputError
from repurchase.orders.amounts import NumberEvidence, read_numbers
from repurchase.orders.dates import read_dates
from repurchase.orders.ids import clean_ids
from repurchase.orders.layouts import FILE_COLUMN
from repurchase.orders.statuses import FALSE_WORDS, TRUE_WORDS, classify_status, classify_types
from repurchase.orders.vocabulary import ColumnName, fold, parse_name

__all__ = ["ColumnProfile", "profile_columns", "share"]

_FEW_VALUES = 40
_MOST_VALUES = 0.8
_DATES_TRIED = 300
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PERSON = r"^\p{L}[\p{L}'’.\-]*(\s+[\p{L}'’.\-]+)+$"
_CLOCK = r"^\s*\d{1,2}[:.]\d{2}([:.]\d{2}([.,]\d+)?)?\s*(?i:[ap]\.?\s?m\.?)?\s*$"


@dataclass(frozen=True)
class ColumnProfile:
    """A column of a sample of rows, looked at as often as needed.

    Parameters
    ----------
    name : ColumnName
        Its name, taken apart.
    values : Series
        As the export has them.
    files : Series of int, optional
        The file of each row, where there are several: each writes its numbers and dates in its own way.
    """

    name: ColumnName
    values: pl.Series
    files: pl.Series | None = None

    @property
    def text(self) -> str:
        """The column's name as written."""
        return self.name.text

    @cached_property
    def ids(self) -> pl.Series:
        """Values with one spelling each; null for blanks and stand-ins for nothing."""
        return clean_ids(self.values)

    @cached_property
    def filled(self) -> pl.Series:
        """Whether a row has a value."""
        return self.ids.is_not_null()

    @cached_property
    def n_filled(self) -> int:
        """Rows with a value."""
        return int(self.filled.sum())

    @cached_property
    def n_distinct(self) -> int:
        """Different values."""
        return self.ids.drop_nulls().n_unique()

    @cached_property
    def few_values(self) -> Mapping[str, int]:
        """Rows of each value, most frequent first; empty where there are many."""
        if not 0 < self.n_distinct <= _FEW_VALUES:
            return {}
        return dict(self.ids.drop_nulls().value_counts(sort=True).rows())

    @cached_property
    def numbers(self) -> pl.Series:
        """Values as numbers; all null where the column is no column of numbers."""
        nothing = pl.Series(self.values.name, [None], dtype=pl.Float64).new_from_index(0, len(self.values))
        if self.values.dtype.is_temporal() or self.values.dtype == pl.Boolean:
            return nothing
        if self.values.dtype != pl.String:
            return read_numbers(self.values)[0]
        if self.files is None:
            return _numbers(self.values)
        for number in self.files.unique():
            inside = self.files == number
            nothing = _numbers(self.values.set(~inside, None)).zip_with(inside, nothing)
        return nothing

    @cached_property
    def has_currency_signs(self) -> bool:
        """Whether most values are numbers with the sign or the code of a currency."""
        if self.values.dtype != pl.String or self.number_share < _MOST_VALUES:
            return False
        return sum(NumberEvidence.of(self.values).currencies.values()) >= _MOST_VALUES * self.n_filled > 0

    @cached_property
    def number_share(self) -> float:
        """Share of values that are numbers."""
        return self._share(self.numbers.is_not_null())

    @cached_property
    def zero_share(self) -> float:
        """Share of rows whose number is zero or missing."""
        return share(self.numbers.fill_null(0.0) == 0)

    @cached_property
    def date_share(self) -> float:
        """Share of (some) values that can be read as dates."""
        if self.values.dtype.is_temporal():
            return 0.0 if self.values.dtype in {pl.Time, pl.Duration} else 1.0
        some = self.values.filter(self.filled).unique(maintain_order=True)
        some = some.gather_every(max(1, len(some) // _DATES_TRIED))
        if some.is_empty():
            return 0.0
        try:
            read = [read_dates(some, date_order=order).values for order in ("day_first", "month_first")]
        except InputError:
            return 0.0
        return max(share(dates.is_not_null()) for dates in read)

    @cached_property
    def digit_share(self) -> float:
        """Share of values with a digit in them."""
        return 1.0 if self.values.dtype.is_temporal() else self._share(self.ids.str.contains(r"\d"))

    @cached_property
    def clock_share(self) -> float:
        """Share of values that are times of day without a date."""
        if self.values.dtype == pl.Time:
            return 1.0
        return self._share(self.values.cast(pl.String, strict=False).str.contains(_CLOCK))

    @cached_property
    def email_share(self) -> float:
        """Share of values that are e-mail addresses."""
        return self._share(self.ids.str.contains(_EMAIL))

    @cached_property
    def person_share(self) -> float:
        """Share of values that look like names of persons."""
        return self._share(self.ids.str.contains(_PERSON))

    @cached_property
    def currency_share(self) -> float:
        """Share of values that are three letters."""
        return self._share(self.ids.str.contains(r"^(?i:[a-z]{3})$"))

    @cached_property
    def is_flag(self) -> bool:
        """Whether every value says yes or no."""
        if self.values.dtype == pl.Boolean:
            return True
        words = {fold(value) for value in self.few_values}
        return 0 < len(words) <= 3 and words <= TRUE_WORDS | FALSE_WORDS

    @cached_property
    def status_share(self) -> float:
        """Share of rows whose value is a known status, where the values are few; 0 otherwise."""
        return self._understood({value for value in self.few_values if classify_status(value) != "unknown"})

    @cached_property
    def excludes_orders(self) -> bool:
        """Whether a value says that an order is no sale or was paid back."""
        return any(classify_status(value) in {"not_sale", "refunded"} for value in self.few_values)

    @cached_property
    def type_share(self) -> float:
        """Share of rows whose value is a known type of record."""
        return self._understood({value for value, kind in classify_types(self.few_values).items() if kind != "unknown"})

    @cached_property
    def has_refund_type(self) -> bool:
        """Whether a value says that a record is a refund or no order at all."""
        return any(kind in {"refund", "other"} for kind in classify_types(self.few_values).values())

    def _understood(self, values: set[str]) -> float:
        rows = sum(count for value, count in self.few_values.items() if value in values)
        return rows / self.n_filled if self.n_filled else 0.0

    def _share(self, mask: pl.Series) -> float:
        return float((mask & self.filled).fill_null(value=False).sum()) / self.n_filled if self.n_filled else 0.0


def _numbers(values: pl.Series) -> pl.Series:
    evidence = NumberEvidence.of(values)
    try:
        form = evidence.decide()
    except InputError:  # its decimal mark is open, and is asked about when the column is read
        form = evidence.decide(decimal_mark="point")
    return read_numbers(values, form=form)[0]


def share(mask: pl.Series) -> float:
    """Say which share of a column is true.

    Parameters
    ----------
    mask : Series of bool
        Missing values count for neither.

    Returns
    -------
    float
        0 for a column without values.

    Examples
    --------
    >>> share(pl.Series([True, False, None])), share(pl.Series([], dtype=pl.Boolean))
    (0.5, 0.0)
    """
    return int(mask.sum()) / max(len(mask) - mask.null_count(), 1)


def profile_columns(rows: pl.DataFrame) -> list[ColumnProfile]:
    """Prepare the profiles of all columns.

    Parameters
    ----------
    rows : DataFrame
        A sample of the export, with ``survey.FILE_COLUMN`` where there are several files.

    Returns
    -------
    list of ColumnProfile
        In the order of the columns.
    """
    files = rows[FILE_COLUMN] if FILE_COLUMN in rows.columns else None
    return [ColumnProfile(parse_name(name), rows[name], files) for name in rows.columns if name != FILE_COLUMN]
