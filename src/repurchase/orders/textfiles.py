"""Delimited text as it comes: any usual delimiter and encoding, compressed or not, but never cut off in mid-line."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import polars as pl

from repurchase.errors import LayoutError, OrdersError, first_few
from repurchase.orders.parts import Part, Spool, Stamp
from repurchase.orders.textbytes import EDGE_BYTES, Survey, Text, text_of
from repurchase.orders.textrows import Form, TextPart, Unplain, pieces, records, said

__all__ = ["DELIMITER_WORDS", "LongLines", "delimiter_of", "open_text"]

_DELIMITERS = (",", ";", "\t", "|")
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


def open_text(
    path: Path, *, shown: str, spool: Path, set_aside: bool = False
) -> tuple[Part, tuple[str, ...], LongLines]:
    """Open a delimited text file, every value of which is text, and go through all of it once.

    Parameters
    ----------
    path : Path
        A CSV, TSV, semicolon-, bar- or blank-separated file with a heading line; plain or gzip; UTF-8, UTF-16,
        Windows-1252 or Latin-1.
    shown : str
        What messages call it.
    spool : Path
        Folder for the rows, where the file is not plain UTF-8 or has lines to leave out.
    set_aside : bool
        Leave lines with more fields than the heading out, and count them.

    Returns
    -------
    part : Part
        One row per line, in the file's order; lines that say nothing are left out, and so are columns with neither a
        name nor a value, such as a delimiter at line ends makes.
    notes : tuple of str
        Encoding and delimiter, where they are not UTF-8 and comma.
    long_lines : LongLines
        What was left out.

    Raises
    ------
    OrdersError
        If the file is empty, has a heading only, is not text, is damaged, is cut off in mid-line, or has a line with
        more fields than the heading.
    LayoutError
        If the first line is data and not a heading.
    """
    text, survey, notes = text_of(path, shown=shown)
    if not survey.head.strip():
        _refuse_empty(shown)
    skip = 1 if survey.head.lower().startswith(b"sep=") else 0
    delimiter = delimiter_of(_first_lines(survey.head)[skip:])
    if delimiter != ",":
        notes += (f"{Path(shown).name}: columns are separated by {DELIMITER_WORDS[delimiter]}.",)
    if delimiter == " ":
        text, delimiter = replace(text, is_blank_separated=True), "\t"
        survey = text.survey()
    form = _form(survey.head, delimiter, skip, shown)
    _refuse_cut_off(text, survey, form)
    reading = _Reading(text, survey, form, spool, set_aside=set_aside)
    return reading.part(), notes, reading.long_lines


class _Reading:
    """The one pass over a file that finds every fault, counts the rows, and keeps them where that is needed."""

    def __init__(self, text: Text, survey: Survey, form: Form, spool: Path, *, set_aside: bool) -> None:
        self._text, self._survey, self._form, self._spool = text, survey, form, spool
        self._set_aside = set_aside
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
        return self._kept(self._frames_by_hand())

    def _start_anew(self) -> None:
        self.long_lines = LongLines()
        self._n_rows = self._n_parsed = 0
        self._empty = {name for name in self._form.names if not name.strip()}

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
            has_blank_rows=self._n_rows < self._n_parsed,
        )

    def _kept(self, frames: Iterator[pl.DataFrame]) -> Part:
        spool = Spool(self._spool, shown=self._text.shown)
        for frame in frames:
            spool.add(self._count(frame))
        return replace(spool.part(), schema=self._schema())

    def _count(self, rows: pl.DataFrame) -> pl.DataFrame:
        self._n_parsed += rows.height
        self._empty = {name for name in self._empty if rows[name].null_count() == rows.height}
        full = said(rows)
        self._n_rows += full.height
        return full

    def _schema(self) -> dict[str, pl.DataType]:
        if self._n_rows == 0:
            found = first_few(self._form.heading, shown=12)
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
        with self._text.lines() as lines:
            for _ in range(self._form.lines):
                next(lines, None)
            yield from self._by_hand(lines, before=self._form.lines)

    def _by_hand(self, lines: io.TextIOWrapper, *, before: int) -> Iterator[pl.DataFrame]:
        on_long: Callable[[int, list[str]], None] = self._leave_out if self._set_aside else self._refuse
        return records(lines, self._form, shown=self._text.shown, before=before, on_long=on_long)

    def _leave_out(self, number: int, _: list[str]) -> None:
        self.long_lines = self.long_lines.and_one(number)

    def _refuse(self, number: int, fields: list[str]) -> NoReturn:
        shown = first_few(fields)
        raise OrdersError(
            f"{self._text.shown}: line {number:,} has {len(fields)} columns where the heading has "
            f"{len(self._form.heading)} ({shown}). Put values that contain the delimiter in quotation marks and try "
            "again. Or leave such lines out with --on-bad-file set-aside.",
            withheld=shown,
        )


def _refuse_empty(shown: str) -> NoReturn:
    raise OrdersError(f"{shown}: the file is empty. Expected a heading line and one line per order.")


def _first_lines(head: bytes, *, count: int = 20) -> list[str]:
    lines = re.split(r"\r\n|\n|\r", head[: EDGE_BYTES // 4].decode("utf-8", errors="replace"))
    whole = lines[:-1] if len(lines) > count else lines
    return [line for line in whole if line.strip()][:count]


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
    if not lines:
        return ","
    fields = {mark: len(next(csv.reader([lines[0]], delimiter=mark))) for mark in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda mark: fields[mark])
    if fields[best] > 1:
        return best
    widths = {len(line.split()) for line in lines}
    return " " if len(widths) == 1 and widths != {1} else ","


def _form(head: bytes, delimiter: str, skip: int, shown: str) -> Form:
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", head.decode("utf-8", errors="replace"))
    reader = csv.reader(iter(lines), delimiter=delimiter)
    numbered = ((reader.line_num, record) for record in reader)
    first = next(((end, record) for n, (end, record) in enumerate(numbered) if n >= skip and any(record)), (0, []))
    end, heading = first
    if not heading:
        _refuse_empty(shown)
    if not any(letter.isalpha() for name in heading for letter in name):
        words = first_few(heading)
        raise LayoutError(
            f"{shown}: the first line is data, not a heading: {words}. "
            "Put a line with the columns' names above it, such as customer_id,order_date,amount.",
            withheld=words,
        )
    start = len("".join(lines[:end]).encode("utf-8"))
    return Form.of(heading, delimiter=delimiter, start=start, lines=end)


def _refuse_cut_off(text: Text, survey: Survey, form: Form) -> None:
    if survey.quotes % 2:
        _refuse_open_quote(text, form.delimiter)
    last = _last_records(survey.tail, form.delimiter)
    width = len(form.heading)
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
    """Parse the last two records of a file whose quotation marks pair up.

    Parameters
    ----------
    tail : bytes
        The end of the file.
    delimiter : str
        Between fields.

    Returns
    -------
    list of list of str
        At most two records. Reading backwards, a record begins where the quotation marks since then pair up.
    """
    lines = tail.decode("utf-8", errors="replace").rstrip("\r\n").splitlines()
    records: list[list[str]] = []
    pending: list[str] = []
    for line in reversed(lines):
        pending.insert(0, line)
        if "\n".join(pending).count('"') % 2 == 0:
            records.insert(0, next(csv.reader(io.StringIO("\n".join(pending), newline=""), delimiter=delimiter), []))
            pending = []
        if len(records) == 2:
            break
    return records


def _refuse_open_quote(text: Text, delimiter: str) -> None:
    start, last = 1, [""]
    before = 0
    with text.lines() as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        for record in reader:
            start, before, last = before + 1, reader.line_num, record
    if any("\n" in field for field in last[-1:]) or _is_open(text, start, delimiter):
        raise OrdersError(
            f"{text.shown}: cut off in mid-line: line {start:,} opens a quotation mark that is never closed. "
            "The export is not whole: export it again, or delete that line."
        )


def _is_open(text: Text, start: int, delimiter: str) -> bool:
    with text.lines() as lines:
        rest = (line for number, line in enumerate(lines, start=1) if number >= start)
        try:
            for _ in csv.reader(rest, delimiter=delimiter, strict=True):
                pass
        except csv.Error as fault:
            return "unexpected end of data" in str(fault)
    return False
