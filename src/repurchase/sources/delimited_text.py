"""Delimited text files (CSV and the like), checked to the last row and read in batches."""

import csv
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from repurchase.errors import LayoutError, NoRowsError, OrdersError, first_few
from repurchase.i18n.messages import Message, message
from repurchase.sources.dialects import (
    Dialect,
    RowFormat,
    dialect_of,
    drop_blank_rows,
    escapes_quotes,
    find_footer,
    last_records,
    left_out_notes,
    uses_single_quotes,
)
from repurchase.sources.encodings import (
    EDGE_BYTES,
    UTF_8,
    ByteStatistics,
    TextFile,
    encoding_notes,
    recognise_encoding,
    replace_encoding,
)
from repurchase.sources.tables import FileOptions, FileStamp, LongLines, OpenedFile, SourceTable, Spool

LONGEST_FIELD = 1 << 24
_ROWS_WITHIN = 3
_LARGEST_PIECE = 1 << 26
_RECORDS = 50_000
_BLANK_LINES = re.compile(rb"\n{2,}")
_LINE_FEED, _RETURN, _QUOTE = b'\n\r"'
_MOST_COLUMNS = 10_000
_LINES_AROUND = 500
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}


class _QuotesWithinValuesError(Exception):
    """Quotation marks are inside values, so counting them does not show where a row ends."""


@dataclass(frozen=True)
class _DelimitedTable:
    """Plain delimited text that is parsed anew on every pass."""

    text: TextFile
    stamp: FileStamp
    row_format: RowFormat
    schema: Mapping[str, pl.DataType]
    n_rows: int
    has_other_rows: bool

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - by bytes
        """Give the rows in order, some megabytes at a time, whatever ``n_rows`` is."""
        self.stamp.require_unchanged()
        for piece in _whole_rows(self.text.chunks(), self.row_format):
            if self.has_other_rows:
                rows = self.row_format.without_headings(self.row_format.parse(piece))
                yield drop_blank_rows(rows).select(columns)
            else:
                yield self.row_format.parse(piece, columns)


def _whole_rows(chunks: Iterator[bytes], row_format: RowFormat) -> Iterator[bytes]:
    """Cut the text below the heading where a row ends."""
    rest, to_skip = b"", row_format.start
    for chunk in chunks:
        skipped = min(to_skip, len(chunk))
        to_skip -= skipped
        rest += chunk[skipped:]
        end = _last_row_end(rest)
        if end:
            yield _checked(rest[:end], row_format.delimiter)
            rest = rest[end:]
        elif len(rest) > _LARGEST_PIECE:
            raise _QuotesWithinValuesError
    if rest:
        yield _checked(rest, row_format.delimiter)


def _last_row_end(text: bytes) -> int:
    n_quotes = text.count(b'"')
    end = len(text)
    while (found := text.rfind(b"\n", 0, end)) >= 0:
        n_quotes -= text.count(b'"', found, end)
        end = found
        if n_quotes % 2 == 0:
            return end + 1
    return 0


def _checked(piece: bytes, delimiter: str) -> bytes:
    if b'"' in piece:
        if not _is_well_quoted(piece, delimiter):
            raise _QuotesWithinValuesError
    elif piece.count(b"\n\n\n\n") * 8 > len(piece):  # hardly anything but blank lines
        return _BLANK_LINES.sub(b"\n", piece)
    return piece


def _is_well_quoted(piece: bytes, delimiter: str) -> bool:
    """Say whether quotation marks only enclose whole values, or are doubled within them."""
    characters = np.frombuffer(piece, dtype=np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE)
    if len(quotes) % 2:
        return False
    edges = np.array([_LINE_FEED, _RETURN, ord(delimiter), _QUOTE], dtype=np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before = characters[opening[opening > 0] - 1]
    after = characters[closing[closing < len(characters) - 1] + 1]
    return bool(np.isin(before, edges).all() and np.isin(after, edges).all())


def _parse_records(
    lines: Iterable[str], row_format: RowFormat, *, shown: str, before: int, on_long: Callable[[int, list[str]], None]
) -> Iterator[pl.DataFrame]:
    """Parse rows one by one, as spreadsheets do: for text with quotation marks inside values."""
    numbered = _numbered_records(lines, row_format.delimiter, shown=shown, before=before)
    while rows := list(islice(numbered, _RECORDS)):
        fitting = []
        for number, row in rows:
            _refuse_swallowed(row, row_format, number, shown)
            while len(row) > row_format.most_fields and not row[-1]:
                row.pop()
            if len(row) > row_format.most_fields:
                on_long(number, row)
            else:
                fitting.append(row)
        yield drop_blank_rows(row_format.frame(fitting))


def _refuse_swallowed(row: Sequence[str], row_format: RowFormat, number: int, shown: str) -> None:
    for field in row:
        within = field.splitlines()[1:-1] if "\n" in field else ()
        if len(within) < _ROWS_WITHIN:
            continue
        widths = {len(fields) for fields in csv.reader(within, delimiter=row_format.delimiter)}
        if widths == {row_format.most_fields}:
            start = number - len(within) - 1
            raise OrdersError(
                f"{shown}: line {start:,} opens a quotation mark that is closed only in line {number:,}, around "
                f"{len(within):,} lines that look like rows. Correct both lines, or export it again."
            )


def _numbered_records(
    lines: Iterable[str], delimiter: str, *, shown: str, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Parse records and number their last lines; fields may be long, up to a bound."""
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


def open_text(
    path: Path,
    *,
    shown: str,
    spool: Path,
    options: FileOptions,
    member: str | None = None,
) -> OpenedFile:
    """Open a delimited text file, every value of which is text.

    One pass counts, checks and digests all of it; a further one follows only where the first shows that the file has
    to be read otherwise than its beginning suggests.
    """
    stamp = FileStamp.of(path, shown=shown)
    text = recognise_encoding(TextFile(path, shown, member, most_bytes=options.most_bytes), preferred=options.encodings)
    scan = _Scan(text, spool)
    digest = hashlib.sha256() if text.is_stored_text else None
    scan.run(digest)
    while (text := scan.corrected(options.encodings)) != scan.text:
        scan = _Scan(text, spool)
        scan.run()
    scan.refuse_cut_off()
    rows = scan.rows or _read_records(scan.text, scan.row_format, spool, set_aside=options.set_aside)
    table = rows.table(scan.text, stamp)
    stamp.require_unchanged()
    notes = (*scan.notes(), *rows.notes(Path(shown).name))
    return OpenedFile(table, notes, rows.long_lines, text.encoding, digest.hexdigest() if digest else "")


class _Scan:
    """One pass over a text, read as its beginning suggests."""

    def __init__(self, text: TextFile, spool: Path) -> None:
        self.text, self._lines, self._dialect = _find_dialect(text)
        self.row_format = _row_format(self._lines, self._dialect, text.shown, swaps_quotes=self.text.swaps_quotes)
        self._statistics, self._spool = ByteStatistics(text.shown), spool
        self.rows: _RowCollector | None = None

    def run(self, digest: "hashlib._Hash | None" = None) -> None:
        """Count bytes and rows; there are no rows where the text has to be taken apart record by record."""
        chunks = self._statistics.counted(self.text.chunks(digest=digest))
        spool = None if self.text.is_plain else Spool(self._spool, shown=self.text.shown)
        rows = _RowCollector(self.row_format, spool)
        try:
            for piece in _whole_rows(chunks, self.row_format):
                rows.add(self.row_format.parse(piece))
                if rows.has_wide_rows:
                    raise _QuotesWithinValuesError
            self.rows = rows
        except (_QuotesWithinValuesError, pl.exceptions.PolarsError):
            for _ in chunks:  # what is counted, checked and digested is the whole file
                pass

    def corrected(self, encodings: Sequence[str]) -> TextFile:
        """How the text has to be read by what the pass showed."""
        text, counted = self.text, self._statistics
        if not counted.is_utf8 and text.encoding == UTF_8:
            return replace_encoding(text, preferred=encodings)
        if counted.lines == 0 and any("\r" in line for line in self._lines):
            return replace(text, is_old_mac=True)
        if counted.escaped_quotes and not text.has_escapes and escapes_quotes(_around_escapes(text), self._dialect):
            return replace(text, has_escapes=True)
        if text.stop is None:
            below_heading = max(self.row_format.start - counted.size, -len(counted.tail))
            n_bytes, footer = find_footer(counted.tail[below_heading:], self._dialect.delimiter)
            return replace(text, stop=counted.size - n_bytes, footer=footer) if n_bytes else text
        return text

    def refuse_cut_off(self) -> None:
        if self.text.stop is None:
            _refuse_cut_off(self.text, self._statistics, self.row_format)

    def notes(self) -> tuple[Message, ...]:
        name, text = Path(self.text.shown).name, self.text
        delimiter = " " if text.is_blank_separated else self._dialect.delimiter
        found = (
            ("delimiter", delimiter != ","),
            ("apostrophes", text.swaps_quotes),
            ("backslashes", text.has_escapes),
        )
        params = {"name": name, "delimiter": DELIMITER_NAMES.get(delimiter, delimiter)}
        notes = (message(f"file_note.{key}", **params) for key, holds in found if holds)
        left_out = left_out_notes(name, above=self._dialect.preamble, below=text.footer)
        return (*encoding_notes(name, text.encoding), *notes, *left_out)


def _find_dialect(text: TextFile) -> tuple[TextFile, list[str], Dialect]:
    """How a text is written, with quotation marks for apostrophes around values and tabs for blanks between them."""
    head = text.head()
    if not head.strip():
        _refuse_empty(text.shown)
    lines = _line_ends(head)
    dialect = dialect_of(lines, delimiters=("\t",)) if text.is_blank_separated else dialect_of(lines)
    is_rewritten = text.swaps_quotes or text.is_blank_separated
    if not is_rewritten and uses_single_quotes(lines[dialect.lines - 1 :][:100], dialect.delimiter):
        return _find_dialect(replace(text, swaps_quotes=True))
    if dialect.delimiter == " " and not text.is_blank_separated:
        return _find_dialect(replace(text, is_blank_separated=True))
    return text, lines, dialect


def _around_escapes(text: TextFile) -> list[str]:
    """The lines around the first quotation mark behind a backslash; from the beginning, if it is not far."""
    lines: deque[str] = deque(maxlen=_LINES_AROUND * 10)
    rest = text.lines()
    for line in rest:
        lines.append(line)
        if '\\"' in line:
            break
    return [*lines, *islice(rest, _LINES_AROUND)]


class _RowCollector:
    """Counts the rows of a text, leaves out blank ones and repeated headings, and keeps the rest where asked."""

    def __init__(self, row_format: RowFormat, spool: Spool | None) -> None:
        self._format, self._spool = row_format, spool
        self._n_rows = self._n_parsed = self._n_headings = 0
        self._empty = row_format.unnamed
        self.long_lines = LongLines()

    @property
    def has_wide_rows(self) -> bool:
        """Whether a row has a value behind the last column of the heading."""
        return not self._empty.issuperset(self._format.names[self._format.most_fields :])

    def add(self, rows: pl.DataFrame) -> None:
        below = self._format.without_headings(rows)
        full = drop_blank_rows(below)
        self._n_parsed += rows.height
        self._n_headings += rows.height - below.height
        self._n_rows += full.height
        self._empty = {name for name in self._empty if below[name].null_count() == below.height}
        if self._spool is not None:
            self._spool.add(full)

    def table(self, text: TextFile, stamp: FileStamp) -> SourceTable:
        """The rows, in a spool or where they lie."""
        if self._n_rows == 0:
            found = first_few(self._format.names, shown=12)
            if self.long_lines.count:
                raise OrdersError(
                    f"{text.shown}: every line has more columns than the heading: {found}. Export it again."
                )
            raise NoRowsError(f"{text.shown}: a heading but no rows below it. Found the columns {found}.")
        schema = {name: pl.String() for name in self._format.names if name not in self._empty}
        if self._spool is not None:
            return replace(self._spool.table(), schema=schema)
        has_other_rows = self._n_rows < self._n_parsed
        return _DelimitedTable(text, stamp, self._format, schema, self._n_rows, has_other_rows)

    def notes(self, name: str) -> tuple[Message, ...]:
        if not self._n_headings:
            return ()
        return (message("file_note.repeated_heading", name=name, n=self._n_headings),)


def _read_records(text: TextFile, row_format: RowFormat, spool: Path, *, set_aside: bool) -> _RowCollector:
    """Read a text whose rows cannot be found by counting quotation marks, record by record."""
    rows = _RowCollector(row_format, Spool(spool, shown=text.shown))

    def on_long(number: int, fields: list[str]) -> None:
        if not set_aside:
            _refuse_long_line(text.shown, number, fields, row_format.most_fields)
        rows.long_lines = rows.long_lines + LongLines(1, (number,))

    lines = islice(text.lines(), row_format.lines, None)
    for frame in _parse_records(lines, row_format, shown=text.shown, before=row_format.lines, on_long=on_long):
        rows.add(frame)
    return rows


def _refuse_long_line(shown: str, number: int, fields: list[str], most_fields: int) -> NoReturn:
    found = first_few(fields)
    raise OrdersError(
        f"{shown}: line {number:,} has {len(fields)} columns where the heading has {most_fields} ({found}). "
        "Put values that contain the delimiter in quotation marks and try again. "
        "Or leave such lines out with --on-bad-file set-aside.",
        withheld=found,
    )


def _refuse_empty(shown: str) -> NoReturn:
    raise NoRowsError(f"{shown}: the file is empty. Expected a heading line and one line per order.")


def _line_ends(head: bytes) -> list[str]:
    """Cut the beginning of a text into lines, each with its end."""
    return re.split(r"(?<=\n)|(?<=\r)(?!\n)", head[: EDGE_BYTES // 4].decode("utf-8", errors="replace"))


def delimiter_of(lines: Sequence[str]) -> str:
    """Name the character between the fields of a text."""
    return dialect_of(lines).delimiter


def _row_format(lines: Sequence[str], dialect: Dialect, shown: str, *, swaps_quotes: bool) -> RowFormat:
    heading = dialect.heading
    if not heading:
        _refuse_empty(shown)
    if len(heading) > _MOST_COLUMNS:
        raise LayoutError(f"{shown}: {len(heading):,} columns, more than {_MOST_COLUMNS:,}: no table of orders.")
    if not any(letter.isalpha() for name in heading for letter in name):
        found = first_few(heading)
        raise LayoutError(
            f"{shown}: the first line is data, not a heading: {found}. "
            "Put a line with the columns' names above it, such as customer_id,order_date,amount.",
            withheld=found,
        )
    start = len("".join(lines[: dialect.lines]).encode("utf-8"))
    return RowFormat.of(dialect, start=start, swaps_quotes=swaps_quotes)


def _refuse_cut_off(text: TextFile, statistics: ByteStatistics, row_format: RowFormat) -> None:
    if statistics.quotes % 2:
        _refuse_open_quote(text, row_format.delimiter)
    last = [fields for fields, _ in last_records(statistics.tail.rstrip(b"\r\n"), row_format.delimiter, count=2)]
    width = row_format.n_named
    if not last or len(last[0]) >= width or statistics.lines == 0 or (len(last) > 1 and len(last[1]) < width):
        return
    line = statistics.lines + (0 if statistics.tail.endswith(b"\n") else 1)
    found = first_few(last[0])
    raise OrdersError(
        f"{text.shown}: cut off in line {line:,}, which has {len(last[0])} of the {width} columns ({found}). "
        "The export is not whole: export it again, or delete that line.",
        withheld=found,
    )


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
