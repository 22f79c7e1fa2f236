"""Delimited text files (CSV and the like), checked to the last row and read in batches."""

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from repurchase.errors import LayoutError, OrdersError, first_few
from repurchase.sources.dialects import (
    Dialect,
    RowFormat,
    dialect_of,
    drop_blank_rows,
    escapes_quotes,
    find_footer,
    footer_note,
    last_records,
    preamble_note,
    uses_single_quotes,
)
from repurchase.sources.encodings import EDGE_BYTES, UTF_8, ByteStatistics, Encoding, TextFile, inspect_text_file
from repurchase.sources.folders import MOST_UNPACKED
from repurchase.sources.parquet import FileStamp, SourceTable, Spool

LONGEST_FIELD = 1 << 24
_ROWS_WITHIN = 3
_LARGEST_PIECE = 1 << 26
_RECORDS = 50_000
_BLANK_LINES = re.compile(rb"\n{2,}")
_LINE_FEED, _RETURN, _QUOTE = b'\n\r"'


class _QuotesWithinValues(Exception):  # noqa: N818 - a finding, caught nearby
    """Quotation marks stand within values, so rows cannot be told apart by counting them."""


@dataclass(frozen=True)
class _DelimitedTable:
    """Plain delimited text that is parsed anew on every pass."""

    text: TextFile
    stamp: FileStamp
    form: RowFormat
    schema: Mapping[str, pl.DataType]
    n_rows: int
    has_quotes: bool
    has_other_rows: bool

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - by bytes
        """Give the rows in order, some megabytes at a time, whatever ``n_rows`` is."""
        self.stamp.require_unchanged()
        for piece in _row_chunks(self.text.chunks(), self.form, has_quotes=self.has_quotes):
            if self.has_other_rows:
                yield drop_blank_rows(self.form.without_headings(self.form.parse(piece))).select(columns)
            else:
                yield self.form.parse(piece, columns)


def _row_chunks(chunks: Iterator[bytes], form: RowFormat, *, has_quotes: bool) -> Iterator[bytes]:
    """Cut text where a row ends."""
    rest, to_skip = b"", form.start
    for chunk in chunks:
        skipped = min(to_skip, len(chunk))
        to_skip -= skipped
        rest += chunk[skipped:]
        end = _last_row_end(rest) if has_quotes else rest.rfind(b"\n") + 1
        if end:
            yield _checked(rest[:end], form, has_quotes=has_quotes)
            rest = rest[end:]
        elif len(rest) > _LARGEST_PIECE:
            raise _QuotesWithinValues
    if rest:
        yield _checked(rest, form, has_quotes=has_quotes)


def _last_row_end(text: bytes) -> int:
    marks = text.count(b'"')
    end = len(text)
    while (found := text.rfind(b"\n", 0, end)) >= 0:
        marks -= text.count(b'"', found, end)
        end = found
        if marks % 2 == 0:
            return end + 1
    return 0


def _checked(piece: bytes, form: RowFormat, *, has_quotes: bool) -> bytes:
    if has_quotes and not _is_well_quoted(piece, form.delimiter):
        raise _QuotesWithinValues
    if not has_quotes and piece.count(b"\n\n\n\n") * 8 > len(piece):  # hardly anything but blank lines
        return _BLANK_LINES.sub(b"\n", piece)
    return piece


def _is_well_quoted(piece: bytes, delimiter: str) -> bool:
    """Say whether quotation marks stand only around whole values, or doubled within them."""
    signs = np.frombuffer(piece, dtype=np.uint8)
    marks = np.flatnonzero(signs == _QUOTE)
    if len(marks) % 2:
        return False
    edges = np.array([_LINE_FEED, _RETURN, ord(delimiter), _QUOTE], dtype=np.uint8)
    opening, closing = marks[::2], marks[1::2]
    before = signs[opening[opening > 0] - 1]
    after = signs[closing[closing < len(signs) - 1] + 1]
    return bool(np.isin(before, edges).all() and np.isin(after, edges).all())


def _parse_records(
    lines: Iterable[str], form: RowFormat, *, shown: str, before: int, on_long: Callable[[int, list[str]], None]
) -> Iterator[pl.DataFrame]:
    """Take rows apart one by one, as spreadsheets do: for text in which quotation marks stand within values."""
    numbered = _numbered_records(lines, form.delimiter, shown=shown, before=before)
    while rows := list(islice(numbered, _RECORDS)):
        fitting = []
        for number, row in rows:
            _refuse_swallowed(row, form, number, shown)
            while len(row) > form.most_fields and not row[-1]:
                row.pop()
            if len(row) > form.most_fields:
                on_long(number, row)
            else:
                fitting.append(row)
        yield drop_blank_rows(form.frame(fitting))


def _refuse_swallowed(row: Sequence[str], form: RowFormat, number: int, shown: str) -> None:
    for field in row:
        within = field.splitlines()[1:-1] if "\n" in field else ()
        if len(within) < _ROWS_WITHIN:
            continue
        widths = {len(fields) for fields in csv.reader(within, delimiter=form.delimiter)}
        if widths == {form.most_fields}:
            start = number - len(within) - 1
            raise OrdersError(
                f"{shown}: line {start:,} opens a quotation mark that is closed only in line {number:,}, around "
                f"{len(within):,} lines that look like rows. Correct both lines, or export it again."
            )


def _numbered_records(
    lines: Iterable[str], delimiter: str, *, shown: str, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Take records apart, whatever the length of their fields up to a bound."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(lines, delimiter=delimiter)
    end = 0
    try:
        for record in reader:
            yield before + reader.line_num, record
            end = reader.line_num
    except csv.Error as fault:
        raise OrdersError(
            f"{shown}: a field that begins in line {before + end + 1:,} is longer than {LONGEST_FIELD >> 20} million "
            "characters: most likely a quotation mark there is never closed. Correct that line, or export it again."
        ) from fault


_MOST_COLUMNS = 10_000
_LINES_AROUND = 500
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}


@dataclass(frozen=True)
class LongLines:
    """Lines with more fields than the heading, left out because that was asked for."""

    count: int = 0
    first: tuple[int, ...] = ()

    def and_one(self, number: int) -> "LongLines":
        """Count one more."""
        return LongLines(self.count + 1, (*self.first, number)[:5])

    def plus(self, other: "LongLines") -> "LongLines":
        """Add those of another file."""
        return LongLines(self.count + other.count, (*self.first, *other.first)[:5])


@dataclass(frozen=True)
class OpenedFile:
    """A file's rows, and what is to be said about them."""

    part: SourceTable
    notes: tuple[str, ...] = ()
    long_lines: LongLines = LongLines()
    encoding: Encoding = UTF_8


def open_text(
    path: Path,
    *,
    shown: str,
    spool: Path,
    set_aside: bool = False,
    member: str | None = None,
    encodings: Sequence[str] = (),
    most_bytes: int = MOST_UNPACKED,
) -> OpenedFile:
    """Open a delimited text file, every value of which is text, and go through all of it once."""
    text, survey, notes = inspect_text_file(
        path, shown=shown, member=member, encodings=encodings, most_bytes=most_bytes
    )
    if not survey.head.strip():
        _refuse_empty(shown)
    name = Path(shown).name
    text, survey, dialect = _dialect(text, survey)
    if dialect.delimiter != ",":
        notes += (f"{name}: columns are separated by {DELIMITER_NAMES.get(dialect.delimiter, dialect.delimiter)}.",)
    if dialect.delimiter == " ":
        text = replace(text, is_blank_separated=True)
        survey = text.survey()
        dialect = dialect_of(_line_ends(survey.head), delimiters=("\t",))
    text, survey, words = _with_usual_quotes(text, survey, dialect)
    form = _row_format(_line_ends(survey.head), dialect, shown, swaps_quotes=text.swaps_quotes)
    footer = find_footer(survey.tail[max(form.start - survey.size, -len(survey.tail)) :], dialect.delimiter)
    if footer.n_bytes:
        text = replace(text, stop=survey.size - footer.n_bytes)
    else:
        _refuse_cut_off(text, survey, form)
    notes += (*preamble_note(name, dialect), *words, *footer_note(name, footer))
    reading = _FileScan(text, survey, form, spool, set_aside=set_aside)
    part = reading.part()
    return OpenedFile(part, (*notes, *reading.notes(name)), reading.long_lines, text.encoding)


def _dialect(text: TextFile, survey: ByteStatistics) -> tuple[TextFile, ByteStatistics, Dialect]:
    """How a text is written, with quotation marks around values where it has apostrophes."""
    lines = _line_ends(survey.head)
    dialect = dialect_of(lines)
    if uses_single_quotes(lines[dialect.lines - 1 :][:100], dialect.delimiter):
        text = replace(text, swaps_quotes=True)
        survey = text.survey()
        dialect = dialect_of(_line_ends(survey.head))
    return text, survey, dialect


def _with_usual_quotes(
    text: TextFile, survey: ByteStatistics, dialect: Dialect
) -> tuple[TextFile, ByteStatistics, tuple[str, ...]]:
    """Have quotation marks within values doubled, where the file has backslashes before them."""
    name = Path(text.shown).name
    notes: tuple[str, ...] = (f"{name}: values are enclosed in apostrophes.",) if text.swaps_quotes else ()
    if survey.escaped_quotes and escapes_quotes(_around_escapes(text), dialect):
        text = replace(text, has_escapes=True)
        survey = text.survey()
        notes += (f"{name}: quotation marks within values are written with a backslash.",)
    return text, survey, notes


def _around_escapes(text: TextFile) -> list[str]:
    """The lines around the first quotation mark behind a backslash; from the beginning, if it is not far."""
    lines: deque[str] = deque(maxlen=_LINES_AROUND * 10)
    rest = text.lines()
    for line in rest:
        lines.append(line)
        if '\\"' in line:
            break
    return [*lines, *islice(rest, _LINES_AROUND)]


class _FileScan:
    """The one pass over a file that finds every fault, counts the rows, and keeps them where that is needed."""

    def __init__(
        self, text: TextFile, survey: ByteStatistics, form: RowFormat, spool: Path, *, set_aside: bool
    ) -> None:
        self._text, self._survey, self._form, self._spool = text, survey, form, spool
        self._set_aside, self._is_by_hand = set_aside, False
        self._start_anew()

    def part(self) -> SourceTable:
        if self._text.is_plain:
            try:
                return self._as_it_lies()
            except (_QuotesWithinValues, pl.exceptions.PolarsError):
                self._start_anew()
        try:
            return self._kept(self._frames())
        except _QuotesWithinValues:
            self._start_anew()
        self._is_by_hand = True
        return self._kept(self._frames_by_hand())

    def _start_anew(self) -> None:
        self.long_lines = LongLines()
        self._n_rows = self._n_parsed = self._n_headings = 0
        self._empty = self._form.unnamed

    def notes(self, name: str) -> tuple[str, ...]:
        if not self._n_headings:
            return ()
        lines = "line" if self._n_headings == 1 else "lines"
        return (f"{name}: {self._n_headings:,} {lines} left out as a repeated heading, as in joined exports.",)

    def _as_it_lies(self) -> SourceTable:
        for piece in self._pieces():
            self._count(self._form.parse(piece))
        return _DelimitedTable(
            self._text,
            FileStamp.of(self._text.path, shown=self._text.shown),
            self._form,
            self._schema(),
            self._n_rows,
            has_quotes=self._survey.quotes > 0,
            has_other_rows=self._n_rows < self._n_parsed,
        )

    def _kept(self, frames: Iterator[pl.DataFrame]) -> SourceTable:
        spool = Spool(self._spool, shown=self._text.shown)
        for frame in frames:
            spool.add(self._count(frame))
        return replace(spool.part(), schema=self._schema())

    def _count(self, rows: pl.DataFrame) -> pl.DataFrame:
        self._n_parsed += rows.height
        below = self._form.without_headings(rows)
        self._n_headings += rows.height - below.height
        self._empty = {name for name in self._empty if below[name].null_count() == below.height}
        if not self._is_by_hand and not self._empty.issuperset(self._form.names[self._form.most_fields :]):
            raise _QuotesWithinValues  # a row with a value too many
        full = drop_blank_rows(below)
        self._n_rows += full.height
        return full

    def _schema(self) -> dict[str, pl.DataType]:
        if self._n_rows == 0:
            found = first_few(self._form.names, shown=12)
            raise OrdersError(
                f"{self._text.shown}: a heading but no rows below it. Found the columns {found}."
                if self.long_lines.count == 0
                else f"{self._text.shown}: every line has more columns than the heading: {found}. Export it again."
            )
        return {name: pl.String() for name in self._form.names if name not in self._empty}

    def _pieces(self) -> Iterator[bytes]:
        return _row_chunks(self._text.chunks(), self._form, has_quotes=self._survey.quotes > 0)

    def _frames(self) -> Iterator[pl.DataFrame]:
        lines = self._form.lines
        for piece in self._pieces():
            try:
                yield self._form.parse(piece)
            except pl.exceptions.PolarsError:
                with io.TextIOWrapper(io.BytesIO(piece), encoding="utf-8", newline="") as within:
                    yield from self._by_hand(within, before=lines)
            lines += piece.count(b"\n")

    def _frames_by_hand(self) -> Iterator[pl.DataFrame]:
        yield from self._by_hand(islice(self._text.lines(), self._form.lines, None), before=self._form.lines)

    def _by_hand(self, lines: Iterable[str], *, before: int) -> Iterator[pl.DataFrame]:
        on_long: Callable[[int, list[str]], None] = self._leave_out if self._set_aside else self._refuse
        return _parse_records(lines, self._form, shown=self._text.shown, before=before, on_long=on_long)

    def _leave_out(self, number: int, _: list[str]) -> None:
        self.long_lines = self.long_lines.and_one(number)

    def _refuse(self, number: int, fields: list[str]) -> NoReturn:
        shown = first_few(fields)
        raise OrdersError(
            f"{self._text.shown}: line {number:,} has {len(fields)} columns where the heading has "
            f"{self._form.most_fields} ({shown}). Put values that contain the delimiter in quotation marks and try "
            "again. Or leave such lines out with --on-bad-file set-aside.",
            withheld=shown,
        )


def _refuse_empty(shown: str) -> NoReturn:
    raise OrdersError(f"{shown}: the file is empty. Expected a heading line and one line per order.")


def _line_ends(head: bytes) -> list[str]:
    """Cut the beginning of a text into lines, each with its end."""
    return re.split(r"(?<=\n)|(?<=\r)(?!\n)", head[: EDGE_BYTES // 4].decode("utf-8", errors="replace"))


def delimiter_of(lines: Sequence[str]) -> str:
    """Tell what stands between the fields of a text."""
    return dialect_of(lines).delimiter


def _row_format(lines: Sequence[str], dialect: Dialect, shown: str, *, swaps_quotes: bool) -> RowFormat:
    heading = dialect.heading
    if not heading:
        _refuse_empty(shown)
    if len(heading) > _MOST_COLUMNS:
        raise LayoutError(f"{shown}: {len(heading):,} columns, more than {_MOST_COLUMNS:,}: no table of orders.")
    if not any(letter.isalpha() for name in heading for letter in name):
        words = first_few(heading)
        raise LayoutError(
            f"{shown}: the first line is data, not a heading: {words}. "
            "Put a line with the columns' names above it, such as customer_id,order_date,amount.",
            withheld=words,
        )
    start = len("".join(lines[: dialect.lines]).encode("utf-8"))
    return RowFormat.of(dialect, start=start, swaps_quotes=swaps_quotes)


def _refuse_cut_off(text: TextFile, survey: ByteStatistics, form: RowFormat) -> None:
    if survey.quotes % 2:
        _refuse_open_quote(text, form.delimiter)
    last = _last_records(survey.tail, form.delimiter)
    width = form.n_named
    if not last or len(last[-1]) >= width or survey.lines == 0:
        return
    if len(last) > 1 and len(last[-2]) < width:
        return
    line = survey.lines + (0 if survey.tail.endswith(b"\n") else 1)
    shown = first_few(last[-1])
    raise OrdersError(
        f"{text.shown}: cut off in line {line:,}, which has {len(last[-1])} of the {width} columns "
        f"({shown}). The export is not whole: export it again, or delete that line.",
        withheld=shown,
    )


def _last_records(tail: bytes, delimiter: str) -> list[list[str]]:
    """The last two records of a text."""
    last = [fields for fields, _ in last_records(tail.rstrip(b"\r\n"), delimiter, count=2)]
    return last[::-1]


def _refuse_open_quote(text: TextFile, delimiter: str) -> None:
    start, before, last = 1, 0, [""]
    for end, record in _numbered_records(text.lines(), delimiter, shown=text.shown):
        start, before, last = before + 1, end, record
    if any("\n" in field for field in last[-1:]) or _is_open(text, start, delimiter):
        raise OrdersError(
            f"{text.shown}: cut off in mid-line: line {start:,} opens a quotation mark that is never closed. "
            "The export is not whole: export it again, or delete that line."
        )


def _is_open(text: TextFile, start: int, delimiter: str) -> bool:
    try:
        for _ in csv.reader(islice(text.lines(), start - 1, None), delimiter=delimiter, strict=True):
            pass
    except csv.Error as fault:
        return "unexpected end of data" in str(fault)
    return False
