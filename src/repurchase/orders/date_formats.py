"""How a column writes its dates: decided by all its rows together, however they are split."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.blanks import BLANK_WORDS
from repurchase.orders.date_shapes import COUNTS, NUMBER_UNITS, DateUnit, Shape, shape_of
from repurchase.orders.text_shapes import distinct_shapes, shapes_of, tidy_texts

__all__ = [
    "CLEAR_SHARE",
    "STRAY_SHARE",
    "DateEvidence",
    "DateForm",
    "DateOrder",
    "as_text",
    "count_unit",
    "require_dates",
]

DateOrder = Literal["day_first", "month_first"]

CLEAR_SHARE = 0.95
"""Share of the values that must be numbers that count, for a column to be read as such."""
STRAY_SHARE = 0.02
"""From this share on, values that contradict the others are no slips of the pen."""
_BULK_ROWS, _BULK_SHARE = 50, 0.005
"""So many rows are no slips either, even if they are few among very many."""
_RANGES = {
    "days": (25570, 73050),
    "s": (1e8, 7.26e9),
    "ms": (1e12, 7.26e12),
    "us": (1e15, 7.26e15),
    "ns": (1e18, 7.26e18),
}
_ISO = r"^[12]\d{3}-\d\d-\d\d(?:[T ]\d\d:\d\d|$)"
_YEARS_OF_A_LOG = 25
_SEVERAL = 3


@dataclass(frozen=True)
class DateForm:
    """How a column writes its dates.

    Parameters
    ----------
    order : {"day_first", "month_first"}
        What ``03/04/2024`` means.
    counted : {"days", "s", "ms", "us", "ns"}, optional
        What numbers count: days of a spreadsheet, or time since 1970.
    short_year_first : bool
        Whether ``24/06/22`` begins with the year.
    notes : tuple of str
        What had to be decided, in words.
    """

    order: DateOrder = "day_first"
    counted: DateUnit | None = None
    short_year_first: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DateEvidence:
    """What some rows of a column say about how it writes dates; adds up over any split of the rows.

    Parameters
    ----------
    rows : int
        Rows that say something.
    counted : mapping of str to int
        Rows of numbers that may count, by what they count (``days``, ``s``, ``ms``, ``us``, ``ns``).
    pairs : mapping of (int, int, str, bool) to int
        Rows of dates whose day and month might change places: first number, second number, what stands between them,
        and whether the year has two digits.
    last_numbers : mapping of int to int
        Of those with a year of two digits, rows by that last number.
    examples : mapping of str to str
        The first text, in alphabetical order, of each kind: ``day``, ``month``, ``either``.
    """

    rows: int = 0
    counted: Mapping[DateUnit, int] = field(default_factory=dict)
    pairs: Mapping[tuple[int, int, str, bool], int] = field(default_factory=dict)
    last_numbers: Mapping[int, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)

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
            Nothing but a count for timestamps and ISO dates: they leave nothing to decide.

        Raises
        ------
        OrdersError
            If the column holds durations or times of day.
        """
        require_dates(values)
        if values.dtype.is_temporal():
            return cls(len(values) - values.null_count())
        texts = as_text(values)
        if texts.dtype == pl.String and texts.str.contains(_ISO).all():
            return cls(len(texts) - texts.null_count())
        counts = texts.drop_nulls().alias("text").value_counts(name="rows")
        counts = counts.with_columns(tidy_texts(counts["text"]).alias("text"))
        counts = counts.with_columns(shapes_of(counts["text"]).alias("shape"))
        blank = pl.col("shape").is_not_null() & pl.col("shape").is_in(_blank_shapes(counts["shape"]))
        counts = counts.filter(~blank)
        shapes = distinct_shapes(counts["shape"])
        return cls(int(counts["rows"].sum()), _counted(counts, shapes), *_swappable(counts, shapes))

    def __add__(self, other: "DateEvidence") -> "DateEvidence":
        both = {*self.examples, *other.examples}
        return DateEvidence(
            self.rows + other.rows,
            dict(Counter(self.counted) + Counter(other.counted)),
            dict(Counter(self.pairs) + Counter(other.pairs)),
            dict(Counter(self.last_numbers) + Counter(other.last_numbers)),
            {kind: min(side.examples[kind] for side in (self, other) if kind in side.examples) for kind in both},
        )

    def decide(
        self,
        *,
        column: str = "",
        source: str = "orders",
        timezone: str | None = None,
        date_order: DateOrder | None = None,
        folder: "DateEvidence | None" = None,
    ) -> DateForm:
        """Decide how the column writes its dates.

        Parameters
        ----------
        column, source : str
            What messages call the column and the log.
        timezone : str, optional
            Zone that seconds since 1970 are read in.
        date_order : {"day_first", "month_first"}, optional
            Decides where these rows do not, or contradict each other.
        folder : DateEvidence, optional
            Of all files together; it decides where these rows do not.

        Returns
        -------
        DateForm
            How to read it. Rows that contradict it are few, and cannot be read.

        Raises
        ------
        OrdersError
            If day and month can change places, and neither the column, the other files nor ``date_order`` decides.
        """
        for unit, rows in self.counted.items():
            if rows >= CLEAR_SHARE * self.rows:
                return DateForm(counted=unit, notes=(_counted_note(unit, timezone or "UTC"),))
        if self._begins_with_short_year:
            return DateForm(short_year_first=True, notes=("Dates begin with a year of two digits.",))
        if "either" not in self.examples and not any(self._votes):
            return DateForm(date_order or "day_first")
        if self._is_silent or (self._is_contradiction and date_order is not None):
            folder = folder or self
            return DateForm(date_order) if date_order else self._from_folder(folder, column=column, source=source)
        form = self._of_votes(column=column, source=source)
        if date_order not in {None, form.order}:
            note = f"{form.notes[0]} The setting date_order says otherwise and was not used."
            return DateForm(form.order, notes=(note,))
        return form

    def _of_votes(self, *, column: str, source: str) -> DateForm:
        days, months = self._votes
        if self._is_contradiction:
            raise OrdersError(
                f"{source}: the dates in '{column}' contradict each other: {days:,} rows are day first, such as "
                f"'{self.examples['day']}', and {months:,} month first, such as '{self.examples['month']}'. "
                "Say which is right: --date-order day_first or --date-order month_first.",
                withheld=(self.examples["day"], self.examples["month"]),
            )
        order: DateOrder = "day_first" if days > months else "month_first"
        note = f"Dates are read {order.removesuffix('_first')} first, as the column shows."
        return DateForm(order, notes=(note,))

    def _from_folder(self, folder: "DateEvidence", *, column: str, source: str) -> DateForm:
        has_points = all(mark == "." for _, _, mark, _ in self.pairs)
        if has_points and not folder._votes[1]:  # noqa: SLF001 - of the same class
            return DateForm(notes=("Dates are read day first, as dates with points are.",))
        if not folder._is_silent:  # noqa: SLF001
            form = folder._of_votes(column=column, source=source)  # noqa: SLF001
            if not self._denies(form.order):
                return DateForm(form.order, notes=(f"Dates are read {form.order[:-6]} first, as other files show.",))
        pick = self.examples["either"]
        day, month = (int(number) for number in pick.replace("/", "-").replace(".", "-").split("-")[:2])
        rows = sum(self.pairs.values())
        raise OrdersError(
            f"{source}: the dates in '{column}' can be read in two ways: '{pick}' is {day} {_month_name(month)} or "
            f"{_month_name(day)} {month}, and none of {rows:,} such dates decides. "
            "Say which: --date-order day_first or --date-order month_first.",
            withheld=(pick, f"{day} {_month_name(month)}", f"{_month_name(day)} {month}"),
        )

    def _denies(self, order: DateOrder) -> bool:
        """Whether an order would put all dates on one day of several months, where the other has days of one month."""
        firsts, seconds = ({pair[number] for pair in self.pairs} for number in (0, 1))
        days, months = (firsts, seconds) if order == "day_first" else (seconds, firsts)
        return len(days) == 1 and len(months) >= _SEVERAL

    @property
    def _votes(self) -> tuple[int, int]:
        """Rows that can only be read day first, and only month first."""
        votes: Counter[str] = Counter()
        for (first, second, _, _), rows in self.pairs.items():
            votes[_kind(first, second)] += rows
        return votes["day"], votes["month"]

    @property
    def _is_silent(self) -> bool:
        """Whether nothing decides, or so few of many rows that they may be slips."""
        votes, either = (
            sum(self._votes),
            sum(rows for (a, b, _, _), rows in self.pairs.items() if _kind(a, b) == "either"),
        )
        return not votes or (votes < STRAY_SHARE * (votes + either) and either >= _BULK_ROWS)

    @property
    def _is_contradiction(self) -> bool:
        """Whether so many rows are read either way that neither are slips."""
        stray, votes = min(self._votes), sum(self._votes)
        return stray > 0 and (stray >= STRAY_SHARE * votes or (stray >= _BULK_ROWS and stray >= _BULK_SHARE * votes))

    @property
    def _begins_with_short_year(self) -> bool:
        """Whether the first number is a year: it spans few years, where the last one would span too many."""
        firsts = {first for first, _, _, short in self.pairs if short}
        lasts = set(self.last_numbers)
        if not firsts or not all(short for *_, short in self.pairs) or max(lasts) > 31 or min(firsts) <= 12:
            return False
        return max(lasts) - min(lasts) >= _YEARS_OF_A_LOG > max(firsts) - min(firsts)


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
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float():  # 20240131.0 stands in a column of whole numbers that has gaps
        whole = (values % 1 == 0).fill_null(value=False)
        return (
            values.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, values.fill_nan(None).cast(pl.String))
        )
    return values.cast(pl.String, strict=False).str.strip_chars()


def require_dates(values: pl.Series, *, source: str = "orders") -> None:
    """Refuse a column whose type cannot hold dates.

    Parameters
    ----------
    values : Series
        The column.
    source : str
        What a message calls the log.

    Raises
    ------
    OrdersError
        If it holds durations, times of day, truth values or nested values.
    """
    dtype = values.dtype
    if any(dtype == kind for kind in (pl.Time, pl.Duration, pl.Boolean)) or dtype.is_nested():
        raise OrdersError(
            f"{source}: the column '{values.name}' has the type {dtype}, which is no date. "
            "Name the column of order dates with --columns order_date=..."
        )


def count_unit(shape: str) -> DateUnit | None:
    """Tell what a number may count.

    Parameters
    ----------
    shape : str
        A number with ``9`` for every digit.

    Returns
    -------
    {"days", "s", "ms", "us", "ns"} or None
        None for what is no such number.

    Examples
    --------
    >>> count_unit("9999999999.999"), count_unit("99999999")
    ('s', None)
    """
    found = COUNTS.match(shape)
    return NUMBER_UNITS[len(found.group(1))] if found else None


def _blank_shapes(shapes: pl.Series) -> list[str]:
    return [shape for shape in distinct_shapes(shapes) if shape.lower() in BLANK_WORDS]


def _counted(counts: pl.DataFrame, shapes: list[str]) -> dict[DateUnit, int]:
    units = {shape: unit for shape in shapes if (unit := count_unit(shape)) is not None}
    if not units:
        return {}
    counted = pl.col("shape").replace_strict(units, default=None, return_dtype=pl.String)
    numbers = counts.select(
        counted.alias("unit"),
        pl.col("text").str.replace(",", ".").cast(pl.Float64, strict=False).alias("number"),
        "rows",
    )
    fits = [(pl.col("unit") == name) & pl.col("number").is_between(*span) for name, span in _RANGES.items()]
    return dict(numbers.filter(pl.any_horizontal(fits)).group_by("unit").agg(pl.col("rows").sum()).rows())


def _swappable(
    counts: pl.DataFrame, shapes: list[str]
) -> tuple[dict[tuple[int, int, str, bool], int], dict[int, int], dict[str, str]]:
    known = {shape: found for shape in shapes if (found := shape_of(shape)) is not None and found.mark is not None}
    pairs: Counter[tuple[int, int, str, bool]] = Counter()
    lasts: Counter[int] = Counter()
    examples: dict[str, str] = {}
    for shape, part in counts.filter(pl.col("shape").is_in(list(known))).partition_by("shape", as_dict=True).items():
        found = known[str(shape[0])]
        for first, second, year, rows in _numbers(part, found).rows():
            short = len(year) == 2
            pairs[first, second, found.mark or "", short] += rows
            if short:
                lasts[int(year)] += rows
            kind = _kind(first, second)
            text = f"{first:02}{found.mark}{second:02}{found.mark}{year}"
            examples[kind] = min(examples.get(kind, text), text)
    return dict(pairs), dict(lasts), examples


def _kind(first: int, second: int) -> str:
    """Tell what a pair of numbers proves: ``day`` or ``month`` first, ``either``, or nothing."""
    if not (1 <= min(first, second) <= 12 and max(first, second) <= 31) or first == second:
        return ""
    return "day" if first > 12 else "month" if second > 12 else "either"


def _numbers(texts: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    numbers = texts.select(
        *(
            pl.col("text").str.slice(*shape.spans[name]).cast(pl.Int64).alias(name)
            for name in ("first", "second_number")
        ),
        pl.col("text").str.slice(*shape.spans["year"]).alias("year"),
        "rows",
    )
    return numbers.group_by("first", "second_number", "year").agg(pl.col("rows").sum())


def _counted_note(unit: str, zone: str) -> str:
    if unit == "days":
        return "Dates are day numbers of a spreadsheet (45,292 is 2024-01-01)."
    words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
    return f"Dates are {words[unit]} since 1970, read as clock time in {zone}."


def _month_name(month: int) -> str:
    return datetime(2024, month, 1).strftime("%B")  # noqa: DTZ001 - only its name is used
