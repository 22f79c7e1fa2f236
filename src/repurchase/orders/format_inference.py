"""How the columns of an export write dates and numbers, decided by the evidence of all rows."""

import calendar
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Literal

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.i18n.messages import Message, message
from repurchase.orders.amounts import (
    BULK_ROWS,
    STRAY_SHARE,
    NumberEvidence,
    NumberFormat,
    contradict,
    different_currencies,
)
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.orders.mergeable import Mergeable, smallest_by_key
from repurchase.settings import Settings
from repurchase.sources.vocabulary import (
    BLANK_WORDS,
    FILLER_WORDS,
    HALVES_OF_DAY,
    ZONE_MINUTES,
    distinct_shapes,
    month_numbers,
    shapes_of,
    tidy_texts,
    weekdays,
)

_COUNTS = re.compile(r"^(9{5}|9{9,10}|9{13}|9{16}|9{19})([.,]9+)?$")
"""Numbers that may count something; ``9`` is any digit."""
_DateUnit = Literal["days", "s", "ms", "us", "ns"]
_NUMBER_UNITS: dict[int, _DateUnit] = {5: "days", 9: "s", 10: "s", 13: "ms", 16: "us", 19: "ns"}
"""What a number of so many whole digits counts."""

_DATE_COMPONENTS = [
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "fraction",
    "first",
    "second_number",
    "east_h",
    "east_m",
]

_GAP = r"[\s.,]*"
_ORDINAL = r"(?:st|nd|rd|th|er|[.ªº°oae]|-?го)?"
_SECOND = r"[:.m](?P<second>99)s?(?:[.,:](?P<fraction>9{1,9}))?"
_CLOCK = rf"(?P<hour>99?)(?:[:.]|\s?h\s?)(?P<minute>99)(?:{_SECOND})?\s*(?P<half>[@&]+)?"
_ZONE = r"(?:!*\s*(?P<sign>[+-])(?P<east_h>99?):?(?P<east_m>99)?|(?P<zone>!+))"
_TIME = rf"(?:(?:t|[\s,:_.-]+)(?:(?P<half_before>[@&]+)\s*)?{_CLOCK}|\s+(?P<hour_only>99?)\s*(?P<half_only>[@&]+))?"
_END = rf"\s*{_ZONE}?{_GAP}$"
_COMPACT_TIME = r"[t_ -]?(?P<hour>99):?(?P<minute>99)(?::?(?P<second>99)(?:[.,](?P<fraction>9+))?)?"
_SWAPPABLE = r"(?P<first>99?)\s?(?P<mark>[-/.])\s?(?P<second_number>99?)"
_DATE_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^{_GAP}(?P<year>9999)(?P<mark>[-/.])\s?(?P<month>99?)(?P=mark)\s?(?P<day>99?)\.?{_TIME}{_END}",
        rf"^{_GAP}{_SWAPPABLE}\s?(?P=mark)\s?(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^(?P<year>9999)(?P<month>99)(?P<day>99)(?:{_COMPACT_TIME}{_END})?$",
        rf"^{_GAP}(?P<day>99?){_ORDINAL}[\s./,-]*(?P<name>\#+)[\s./,'-]*(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<name>\#+)[\s./,-]*(?P<day>99?){_ORDINAL}[\s./,-]+(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<year>9999)[\s./,-]*(?P<name>\#+)[\s./,-]*(?P<day>99?){_ORDINAL}{_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<name>\#+)\s+(?P<day>99?)\s+{_CLOCK}\s*{_ZONE}?\s+(?P<year>9999)$",
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_HALF = re.compile(r"(?<=[\d\s])([ap])\s?\.?\s?m\b\.?|(?<=\d)([ap])$")
_ZONE_NAME = re.compile(
    r"(?<=[\d\s])(?:[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+)?|[A-Z]{2,5})(?=$|[\s+()\[\]-])"
)
_BRACKETS = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]\s*$")
_BETWEEN = re.compile(
    r"(?<=9)t(?=9)|(?<=9)\s?h\s?(?=99)|(?<=99)m(?=99)|(?<=99)s$|(?<=9)(?:st|nd|rd|th|er|-?го|[oaeªº])(?=\W)"
)
_EAST_ASIAN = str.maketrans({"年": "-", "月": "-", "日": " ", "년": "-", "월": "-", "일": " "})


@dataclass(frozen=True)
class DateShape:
    """Positions of the components of dates of one shape."""

    spans: dict[str, tuple[int, int]]
    month: int | None = None
    half: int = 0
    sign: int = 0
    zone: str | None = None
    mark: str | None = None


@lru_cache(maxsize=1 << 16)
def shape_of(shape: str) -> DateShape | None:
    """Find the parts of a date in one shape."""
    masked, named = _masked(shape)
    if masked is None:
        return None
    matches = (pattern.match(masked) for pattern in _DATE_PATTERNS)
    found = next((match for match in matches if match is not None), None)
    return None if found is None else _read(found, named)


def _read(found: "re.Match[str]", named: dict[str, Any]) -> DateShape | None:
    parts = {name: span for name, span in found.groupdict().items() if span is not None}
    spans = {name: (found.start(name), len(parts[name])) for name in _DATE_COMPONENTS if name in parts}
    if "hour_only" in parts:
        spans["hour"] = (found.start("hour_only"), len(parts["hour_only"]))
    half = next((parts[name] for name in ("half", "half_before", "half_only") if name in parts), "")
    zone = named.get("zone") if "zone" in parts else None
    if zone is not None and zone not in ZONE_MINUTES and "hour" not in spans:
        return None
    return DateShape(
        spans,
        month=named.get("month") if "name" in parts else None,
        half={"": 0, "@": 1, "&": 2}[half[:1]],
        sign={"+": 1, "-": -1}.get(parts.get("sign", ""), 0),
        zone=zone,
        mark=parts.get("mark") if "first" in parts else None,
    )


def _masked(shape: str) -> tuple[str | None, dict[str, Any]]:
    """Replace words by signs, one per letter: # month, @ before noon, & after noon, ! time zone."""
    text = shape.translate(_EAST_ASIAN).replace("-feira", " " * 6)
    named: dict[str, Any] = {}
    text = _without_brackets(text, named)
    zones = [match for match in _ZONE_NAME.finditer(text) if _is_zone(match.group())]
    if zones:
        zone = zones[-1]
        named["zone"] = zone.group().lower()
        text = text[: zone.start()] + "!" * len(zone.group()) + text[zone.end() :]
    text = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    text = _HALF.sub(lambda half: ("@" if "a" in half.group() else "&") * len(half.group()), text)
    pieces, end = [], 0
    between = {place for match in _BETWEEN.finditer(text) for place in range(*match.span())}
    months = [word for word in _WORD.finditer(text) if _folded(word.group()) in month_numbers()]
    for word in _WORD.finditer(text):
        sign = "" if word.start() in between else _sign(word, months, named)
        if sign is None:
            return None, named
        pieces += [text[end : word.start()], sign * len(word.group()) or word.group()]
        end = word.end()
    return re.sub(r"(?<=[#@&])\.", " ", "".join((*pieces, text[end:]))), named


def _without_brackets(text: str, named: dict[str, Any]) -> str:
    brackets = _BRACKETS.search(text)
    if brackets is None:
        return text
    inside = brackets.group(1)
    if _is_zone(inside) and not re.search(r"[+-]9\S*$|[A-Za-z]$", text[: brackets.start()]):
        named["zone"] = inside.lower()
        start = brackets.start(1)
        return text[: brackets.start()] + " " * (start - brackets.start()) + "!" * len(inside)
    return text[: brackets.start()]


def _sign(word: "re.Match[str]", months: "list[re.Match[str]]", named: dict[str, Any]) -> str | None:
    name = _folded(word.group())
    is_month = name in month_numbers()
    if is_month and (word.start() == months[-1].start() or name not in weekdays()):
        named["month"] = month_numbers()[name] if named.get("month") in (None, month_numbers()[name]) else None
        return "#"
    if name in HALVES_OF_DAY:
        return "@&"[HALVES_OF_DAY[name] - 1]
    if name in weekdays() or name in FILLER_WORDS:
        return " "
    if name in ZONE_MINUTES:
        named["zone"] = name
        return "!"
    return None


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _is_zone(word: str) -> bool:
    name = word.lower()
    if _folded(word) in {*HALVES_OF_DAY, *month_numbers(), *weekdays(), *FILLER_WORDS}:
        return False
    return name in ZONE_MINUTES or bool(re.fullmatch(r"[A-Z]{3,5}|[A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_]+)+", word))


DateOrder = Literal["day_first", "month_first"]

_CLEAR_SHARE = 0.95
"""Share of the values that must be numbers that count, for a column to be read as such."""
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
_MONTHS = dict(enumerate(calendar.month_name))


@dataclass(frozen=True)
class DateFormat:
    """How a column writes its dates."""

    order: DateOrder = "day_first"
    counted: _DateUnit | None = None
    short_year_first: bool = False
    notes: tuple[Message, ...] = ()


@dataclass(frozen=True)
class DateEvidence(Mergeable):
    """What some rows of a column show of how it writes dates."""

    rows: int = 0
    counted: Mapping[_DateUnit, int] = field(default_factory=dict)
    pairs: Mapping[tuple[int, int, str, bool], int] = field(default_factory=dict)
    last_numbers: Mapping[int, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict, metadata={"merge": smallest_by_key})

    @classmethod
    def of(cls, values: pl.Series) -> "DateEvidence":
        """Collect the evidence of some rows."""
        require_dates(values)
        if values.dtype.is_temporal():
            return cls(len(values) - values.null_count())
        texts = dates_as_text(values)
        if texts.dtype == pl.String and texts.str.contains(_ISO).all():
            return cls(len(texts) - texts.null_count())
        counts = texts.drop_nulls().alias("text").value_counts(name="rows")
        counts = counts.with_columns(tidy_texts(counts["text"]).alias("text"))
        counts = counts.with_columns(shapes_of(counts["text"]).alias("shape"))
        blank_shapes = [shape for shape in distinct_shapes(counts["shape"]) if shape.lower() in BLANK_WORDS]
        counts = counts.filter(~(pl.col("shape").is_not_null() & pl.col("shape").is_in(blank_shapes)))
        shapes = distinct_shapes(counts["shape"])
        return cls(int(counts["rows"].sum()), _counted(counts, shapes), *_swappable(counts, shapes))

    def decide(
        self,
        *,
        column: str = "",
        source: str = "orders",
        timezone: str | None = None,
        date_order: DateOrder | None = None,
        all_files: "DateEvidence | None" = None,
    ) -> DateFormat:
        """Decide how the column writes its dates; evidence of all files helps where this one has none."""
        for unit, rows in self.counted.items():
            if rows >= _CLEAR_SHARE * self.rows:
                return DateFormat(counted=unit, notes=(_counted_note(unit, timezone or "UTC"),))
        if self._begins_with_short_year:
            return DateFormat(short_year_first=True, notes=(message("format_note.short_year_first"),))
        if "either" not in self.examples and not any(self.votes):
            return DateFormat(date_order or "day_first")
        if date_order and (self.is_undecided or contradict(self.votes)):
            return DateFormat(date_order)
        decide = partial(self._as_other_files, all_files or self) if self.is_undecided else self.voted_format
        decided = decide(column=column, source=source)
        if date_order not in {None, decided.order}:
            note = message("format_note.date_order_not_used", note=decided.notes[0])
            return DateFormat(decided.order, notes=(note,))
        return decided

    def voted_format(self, *, column: str, source: str) -> DateFormat:
        """The format that rows which can be read in one way only agree on."""
        days, months = self.votes
        if contradict(self.votes):
            raise OrdersError(
                f"{source}: the dates in '{column}' contradict each other: {days:,} rows are day first, such as "
                f"'{self.examples['day']}', and {months:,} month first, such as '{self.examples['month']}'. "
                "Say which is right: --date-order day_first or --date-order month_first.",
                withheld=(self.examples["day"], self.examples["month"]),
            )
        order: DateOrder = "day_first" if days > months else "month_first"
        return DateFormat(order, notes=(message(f"format_note.{order}"),))

    def _as_other_files(self, all_files: "DateEvidence", *, column: str, source: str) -> DateFormat:
        has_points = all(mark == "." for _, _, mark, _ in self.pairs)
        if has_points and not all_files.votes[1]:
            return DateFormat(notes=(message("format_note.points"),))
        if not all_files.is_undecided:
            order = all_files.voted_format(column=column, source=source).order
            if not self._denies(order):
                return DateFormat(order, notes=(message(f"format_note.{order}_files"),))
        example = self.examples["either"]
        day, month = (int(number) for number in re.split(r"[-/.]", example)[:2])
        one, other = f"{day} {_MONTHS[month]}", f"{_MONTHS[day]} {month}"
        raise OrdersError(
            f"{source}: the dates in '{column}' can be read in two ways: '{example}' is {one} or {other}, and none of "
            f"{sum(self.pairs.values()):,} such dates decides. "
            "Say which: --date-order day_first or --date-order month_first.",
            withheld=(example, one, other),
        )

    def _denies(self, order: DateOrder) -> bool:
        """Whether an order would put all dates on one day of several months, where the other has days of one month."""
        firsts, seconds = ({pair[number] for pair in self.pairs} for number in (0, 1))
        days, months = (firsts, seconds) if order == "day_first" else (seconds, firsts)
        return len(days) == 1 and len(months) >= _SEVERAL

    def _rows_by_kind(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for (first, second, _, _), rows in self.pairs.items():
            kinds[_kind(first, second)] += rows
        return kinds

    @property
    def votes(self) -> tuple[int, int]:
        """Rows that can only be read day first, and only month first."""
        kinds = self._rows_by_kind()
        return kinds["day"], kinds["month"]

    @property
    def is_undecided(self) -> bool:
        """Whether nothing decides, or so few of many rows that they may be typing errors."""
        votes, either = sum(self.votes), self._rows_by_kind()["either"]
        return not votes or (votes < STRAY_SHARE * (votes + either) and either >= BULK_ROWS)

    @property
    def _begins_with_short_year(self) -> bool:
        """Whether the first number is a year: it spans few years, where the last one would span too many."""
        firsts = {first for first, _, _, short in self.pairs if short}
        lasts = set(self.last_numbers)
        if not firsts or not all(short for *_, short in self.pairs) or max(lasts) > 31 or min(firsts) <= 12:
            return False
        return max(lasts) - min(lasts) >= _YEARS_OF_A_LOG > max(firsts) - min(firsts)


def dates_as_text(values: pl.Series) -> pl.Series:
    """Write dates as text, and whole numbers without a decimal point."""
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float():  # 20240131.0 is a whole number in a column that has gaps
        whole = (values % 1 == 0).fill_null(value=False)
        return (
            values.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, values.fill_nan(None).cast(pl.String))
        )
    return values.cast(pl.String, strict=False).str.strip_chars()


def require_dates(values: pl.Series, *, source: str = "orders") -> None:
    """Refuse a column whose type cannot hold dates."""
    dtype = values.dtype
    if any(dtype == kind for kind in (pl.Time, pl.Duration, pl.Boolean)) or dtype.is_nested():
        raise OrdersError(
            f"{source}: the column '{values.name}' has the type {dtype}, which is no date. "
            "Name the column of order dates with --columns order_date=..."
        )


def count_unit(shape: str) -> _DateUnit | None:
    """Tell what a number may count."""
    found = _COUNTS.match(shape)
    return _NUMBER_UNITS[len(found.group(1))] if found else None


def _counted(counts: pl.DataFrame, shapes: list[str]) -> dict[_DateUnit, int]:
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


def _numbers(texts: pl.DataFrame, shape: DateShape) -> pl.DataFrame:
    numbers = texts.select(
        *(
            pl.col("text").str.slice(*shape.spans[name]).cast(pl.Int64).alias(name)
            for name in ("first", "second_number")
        ),
        pl.col("text").str.slice(*shape.spans["year"]).alias("year"),
        "rows",
    )
    return numbers.group_by("first", "second_number", "year").agg(pl.col("rows").sum())


def _counted_note(unit: str, zone: str) -> Message:
    if unit == "days":
        return message("format_note.spreadsheet_days")
    units = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
    return message(f"format_note.{units[unit]}", zone=zone)


NUMBERS = ("amount", "order_total", "adjusted_total", "refunded", "price", "quantity", "line_discount", "discount")
"""Roles whose columns hold numbers."""
_MONEY_ROLES = ("amount", "order_total", "adjusted_total", "price", "refunded")


@dataclass(frozen=True)
class ColumnFormats:
    """How the columns are to be read."""

    dates: DateFormat
    numbers: Mapping[str, NumberFormat]
    notes: tuple[Message, ...] = ()
    dates_by_file: Mapping[int, DateFormat] = field(default_factory=dict)
    numbers_by_file: Mapping[tuple[str, int], NumberFormat] = field(default_factory=dict)
    has_swappable_dates: bool = False


@dataclass(frozen=True)
class FormatEvidence(Mergeable):
    """What some rows show of how the columns are written."""

    dates: Mapping[int, DateEvidence] = field(default_factory=dict)
    numbers: Mapping[tuple[str, int], NumberEvidence] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pl.DataFrame, layout: Layout) -> "FormatEvidence":
        """Collect the evidence of some rows."""
        columns = {role: layout.columns[role] for role in NUMBERS if layout.columns.get(role) in rows.columns}
        has_dates = layout.columns["order_date"] in rows.columns
        found = cls()
        for number, part in _by_file(rows):
            found += cls(
                {number: DateEvidence.of(written_dates(part, layout))} if has_dates else {},
                {(role, number): NumberEvidence.of(part[column]) for role, column in columns.items()},
            )
        return found

    def decide(self, layout: Layout, *, settings: Settings, source: str) -> ColumnFormats:
        """Decide how to read the columns."""
        dates = self._date_formats(layout, settings=settings, source=source)
        usual = Counter(_without_notes(found) for found in dates.values()).most_common(1)
        main = next((found for found in dates.values() if _without_notes(found) == usual[0][0]), DateFormat())
        different = {number: found for number, found in dates.items() if _without_notes(found) != _without_notes(main)}
        self._require_one_currency(layout, source)
        numbers, by_file = self._number_formats(layout, settings=settings, source=source)
        notes = [
            *_notes_by_files([found.notes for found in dates.values()]),
            *(
                message("format_note.comma", column=layout.columns[role])
                for role, found in numbers.items()
                if found.mark == "comma"
            ),
            *_difference_note(len(different), len(dates), "dates"),
            *_difference_note(len({number for _, number in by_file}), len(dates), "numbers"),
        ]
        swappable = any(evidence.pairs for evidence in self.dates.values())
        return ColumnFormats(main, numbers, tuple(notes), different, by_file, swappable)

    def _date_formats(self, layout: Layout, *, settings: Settings, source: str) -> dict[int, DateFormat]:
        together = sum(self.dates.values(), DateEvidence())
        return {
            number: evidence.decide(
                column=layout.columns["order_date"],
                source=source,
                timezone=settings.timezone,
                date_order=settings.date_order,
                all_files=together,
            )
            for number, evidence in sorted(self.dates.items())
        }

    def _evidence_of(self, *roles: str) -> NumberEvidence:
        return sum((evidence for (role, _), evidence in self.numbers.items() if role in roles), NumberEvidence())

    def _require_one_currency(self, layout: Layout, source: str) -> None:
        """Refuse amounts with the signs of several currencies; a column of currencies is checked later."""
        for role in _MONEY_ROLES if "currency" not in layout.columns else ():
            found = self._evidence_of(role).currencies
            different = different_currencies(found)
            if different:
                shown = first_few(f"{currency} ({found[currency]:,} rows)" for currency in different)
                raise OrdersError(
                    f"{source}: the amounts in '{layout.columns[role]}' are in {len(different)} currencies: {shown}. "
                    "Money of two currencies cannot be added. Convert it before, or write the currency into a column "
                    "of its own and keep one: currency = '...' in repurchase.toml.",
                    withheld=shown,
                )

    def _number_formats(
        self, layout: Layout, *, settings: Settings, source: str
    ) -> tuple[dict[str, NumberFormat], dict[tuple[str, int], NumberFormat]]:
        formats = {role: NumberFormat() for role in NUMBERS if role in layout.columns}  # typed columns have no evidence
        by_file: dict[tuple[str, int], NumberFormat] = {}
        for role in dict.fromkeys(role for role, _ in self.numbers):
            # Columns of money of one export share their decimal mark, as do its files.
            together = self._evidence_of(*(_MONEY_ROLES if role in _MONEY_ROLES else (role,)))
            decided = {
                number: evidence.decide(
                    column=layout.columns[role],
                    source=source,
                    all_files=together,
                    decimal_mark=settings.decimal_mark,
                    counts=role == "quantity",
                )
                for (known, number), evidence in sorted(self.numbers.items(), key=lambda item: item[0])
                if known == role
            }
            formats[role] = Counter(decided.values()).most_common(1)[0][0]
            by_file |= {(role, number): found for number, found in decided.items() if found != formats[role]}
        return formats, by_file


def _notes_by_files(notes_of_files: list[tuple[Message, ...]]) -> list[Message]:
    """Notes of all files as they are, others with the number of their files."""
    notes: list[Message] = []
    for note in chain.from_iterable(notes_of_files):
        if note not in notes:
            notes.append(note)
    count = len(notes_of_files)
    of_files = [sum(note in found for found in notes_of_files) for note in notes]
    return [
        note if number == count else message("format_note.of_files", note=note, files=number, of=count)
        for note, number in zip(notes, of_files, strict=True)
    ]


def _difference_note(different: int, files: int, kind: str) -> list[Message]:
    return [message(f"format_note.files_{kind}", files=different, of=files)] if different else []


def untyped_columns(schema: Mapping[str, pl.DataType], layout: Layout) -> list[str]:
    """Name the columns of text whose format must be decided."""
    when = layout.columns["order_date"]
    clock = [layout.columns["order_time"]] if "order_time" in layout.columns else []
    numbers = [layout.columns[role] for role in NUMBERS if role in layout.columns]
    undecided = [when, *clock] if clock or not schema[when].is_temporal() else []
    return list(dict.fromkeys([*undecided, *(name for name in numbers if schema[name] == pl.String())]))


def written_dates(rows: pl.DataFrame, layout: Layout) -> pl.Series:
    """The order dates as the export writes them, with the time of day where that has a column of its own."""
    dates = rows[layout.columns["order_date"]]
    clock = layout.columns.get("order_time")
    if clock is None or clock not in rows.columns:
        return dates
    times = rows[clock].cast(pl.String, strict=False).str.strip_chars()
    both = pl.concat_str(dates_as_text(dates), times.fill_null("00:00"), separator=" ")
    return rows.select(both.alias(dates.name)).to_series()


def _by_file(rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    if FILE_COLUMN not in rows.columns:
        return [(0, rows)]
    parts = rows.partition_by(FILE_COLUMN, as_dict=True, maintain_order=True)
    return [(int(str(number)), part) for (number,), part in parts.items()]


def _without_notes(date_format: DateFormat) -> DateFormat:
    return replace(date_format, notes=())
