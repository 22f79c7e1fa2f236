"""Delimited text as it comes: any usual delimiter and encoding, compressed or not, but never cut off in mid-line."""

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

import polars as pl

from repurchase.errors import LayoutError, OrdersError, first_few
from repurchase.orders.archives import MOST_UNPACKED
from repurchase.orders.dialects import (
    Dialect,
    dialect_of,
    escapes_quotes,
    preamble_note,
    uses_single_quotes,
)
from repurchase.orders.encodings import UTF_8, Encoding
from repurchase.orders.footers import find_footer, footer_note, last_records
from repurchase.orders.parts import Part, Spool, Stamp
from repurchase.orders.textbytes import EDGE_BYTES, Survey, Text, text_of
from repurchase.orders.textforms import Form, said
from repurchase.orders.textrows import TextPart, Unplain, numbered_records, pieces, records

__all__ = ["DELIMITER_WORDS", "LongLines", "OpenedFile", "delimiter_of", "open_text"]

_MOST_COLUMNS = 10_000
_LINES_AROUND = 500
DELIMITER_WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}


@dataclass(frozen=True)
class LongLines:
    """Lines with more fields than the heading, left out because that was asked for.

    Parameters
    ----------
    count : int
        How many.
    first : tuple of int
        The first few, by number.
    """

    count: int = 0
    first: tuple[int, ...] = ()

    def and_one(self, number: int) -> "LongLines":
        """Count one more.

        Parameters
        ----------
        number : int
            The line's.

        Returns
        -------
        LongLines
            With it.
        """
        return LongLines(self.count + 1, (*self.first, number)[:5])

    def plus(self, other: "LongLines") -> "LongLines":
        """Add those of another file.

        Parameters
        ----------
        other : LongLines
            The other's.

        Returns
        -------
        LongLines
            Both.
        """
        return LongLines(self.count + other.count, (*self.first, *other.first)[:5])


@dataclass(frozen=True)
class OpenedFile:
    """A file's rows, and what is to be said about them.

    Parameters
    ----------
    part : Part
        The rows.
    notes : tuple of str
        What a reader should know, in words.
    long_lines : LongLines
        What was left out.
    encoding : Encoding
        What the bytes of a text mean.
    """

    part: Part
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
    """Open a delimited text file, every value of which is text, and go through all of it once.

    Parameters
    ----------
    path : Path
        A CSV, TSV, semicolon-, bar- or blank-separated file with a heading line; plain or compressed; in UTF-8, UTF-16,
        UTF-32 or a code page.
    shown : str
        What messages call it.
    spool : Path
        Folder for the rows, where the file is not plain UTF-8 or has lines to leave out.
    set_aside : bool
        Leave lines with more fields than the heading out, and count them.
    member : str, optional
        Which file of an archive, where the path is one.
    encodings : sequence of str
        Codecs of other files of the same log, for a file that does not show its own.
    most_bytes : int
        What it may unpack to; see `stored_bytes`.

    Returns
    -------
    OpenedFile
        One row per line, in the file's order. Left out are lines above the heading and below the table, lines that
        repeat the heading or say nothing, and columns with neither a name nor a value, such as a delimiter at line ends
        makes.

    Raises
    ------
    OrdersError
        If the file is empty, has a heading only, is not text, is damaged, is cut off in mid-line, or has a line with
        more fields than the heading.
    LayoutError
        If the first line is data and not a heading.
    """
    text, survey, notes = text_of(path, shown=shown, member=member, encodings=encodings, most_bytes=most_bytes)
    if not survey.head.strip():
        _refuse_empty(shown)
    name = Path(shown).name
    text, survey, dialect = _dialect(text, survey)
    if dialect.delimiter != ",":
        notes += (f"{name}: columns are separated by {DELIMITER_WORDS.get(dialect.delimiter, dialect.delimiter)}.",)
    if dialect.delimiter == " ":
        text = replace(text, is_blank_separated=True)
        survey = text.survey()
        dialect = dialect_of(_line_ends(survey.head), delimiters=("\t",))
    text, survey, words = _with_usual_quotes(text, survey, dialect)
    form = _form(_line_ends(survey.head), dialect, shown, swaps_quotes=text.swaps_quotes)
    footer = find_footer(survey.tail[max(form.start - survey.size, -len(survey.tail)) :], dialect.delimiter)
    if footer.n_bytes:
        text = replace(text, stop=survey.size - footer.n_bytes)
    else:
        _refuse_cut_off(text, survey, form)
    notes += (*preamble_note(name, dialect), *words, *footer_note(name, footer))
    reading = _Reading(text, survey, form, spool, set_aside=set_aside)
    part = reading.part()
    return OpenedFile(part, (*notes, *reading.notes(name)), reading.long_lines, text.encoding)


def _dialect(text: Text, survey: Survey) -> tuple[Text, Survey, Dialect]:
    """How a text is written, with quotation marks around values where it has apostrophes."""
    lines = _line_ends(survey.head)
    dialect = dialect_of(lines)
    if uses_single_quotes(lines[dialect.lines - 1 :][:100], dialect.delimiter):
        text = replace(text, swaps_quotes=True)
        survey = text.survey()
        dialect = dialect_of(_line_ends(survey.head))
    return text, survey, dialect


def _with_usual_quotes(text: Text, survey: Survey, dialect: Dialect) -> tuple[Text, Survey, tuple[str, ...]]:
    """Have quotation marks within values doubled, where the file has backslashes before them."""
    name = Path(text.shown).name
    notes: tuple[str, ...] = (f"{name}: values are enclosed in apostrophes.",) if text.swaps_quotes else ()
    if survey.escaped_quotes and escapes_quotes(_around_escapes(text), dialect):
        text = replace(text, has_escapes=True)
        survey = text.survey()
        notes += (f"{name}: quotation marks within values are written with a backslash.",)
    return text, survey, notes


def _around_escapes(text: Text) -> list[str]:
    """The lines around the first quotation mark behind a backslash; from the beginning, if it is not far."""
    lines: deque[str] = deque(maxlen=_LINES_AROUND * 10)
    rest = text.lines()
    for line in rest:
        lines.append(line)
        if '\\"' in line:
            break
    return [*lines, *islice(rest, _LINES_AROUND)]


class _Reading:
    """The one pass over a file that finds every fault, counts the rows, and keeps them where that is needed."""

    def __init__(self, text: Text, survey: Survey, form: Form, spool: Path, *, set_aside: bool) -> None:
        self._text, self._survey, self._form, self._spool = text, survey, form, spool
        self._set_aside, self._is_by_hand = set_aside, False
        self._start_anew()

    def part(self) -> Part:
        if self._text.is_plain:
            try:
                return self._as_it_lies()
            except (Unplain, pl.exceptions.PolarsError):
                self._start_anew()
        try:
            return self._kept(self._frames())
        except Unplain:
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

    def _as_it_lies(self) -> Part:
        for piece in self._pieces():
            self._count(self._form.parse(piece))
        return TextPart(
            self._text,
            Stamp.of(self._text.path, shown=self._text.shown),
            self._form,
            self._schema(),
            self._n_rows,
            has_quotes=self._survey.quotes > 0,
            has_other_rows=self._n_rows < self._n_parsed,
        )

    def _kept(self, frames: Iterator[pl.DataFrame]) -> Part:
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
            raise Unplain  # a row with a value too many
        full = said(below)
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
        return pieces(self._text.chunks(), self._form, has_quotes=self._survey.quotes > 0)

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
        return records(lines, self._form, shown=self._text.shown, before=before, on_long=on_long)

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
    """Tell what stands between the fields of a text.

    Parameters
    ----------
    lines : sequence of str
        Its first lines that say something, the heading first.

    Returns
    -------
    str
        One sign; a blank where columns are set apart by any number of them.

    Examples
    --------
    >>> delimiter_of(["customer;date", "7;2024-01-31"])
    ';'
    """
    return dialect_of(lines).delimiter


def _form(lines: Sequence[str], dialect: Dialect, shown: str, *, swaps_quotes: bool) -> Form:
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
    return Form.of(dialect, start=start, swaps_quotes=swaps_quotes)


def _refuse_cut_off(text: Text, survey: Survey, form: Form) -> None:
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


def _refuse_open_quote(text: Text, delimiter: str) -> None:
    start, before, last = 1, 0, [""]
    for end, record in numbered_records(text.lines(), delimiter, shown=text.shown):
        start, before, last = before + 1, end, record
    if any("\n" in field for field in last[-1:]) or _is_open(text, start, delimiter):
        raise OrdersError(
            f"{text.shown}: cut off in mid-line: line {start:,} opens a quotation mark that is never closed. "
            "The export is not whole: export it again, or delete that line."
        )


def _is_open(text: Text, start: int, delimiter: str) -> bool:
    try:
        for _ in csv.reader(islice(text.lines(), start - 1, None), delimiter=delimiter, strict=True):
            pass
    except csv.Error as fault:
        return "unexpected end of data" in str(fault)
    return False
