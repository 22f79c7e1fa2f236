"""Rows of delimited text, a few megabytes at a time: cut where a row ends, parsed, and blank lines left out."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.parts import Stamp
from repurchase.orders.textbytes import Text
from repurchase.orders.textforms import Form, said

__all__ = ["TextPart", "Unplain", "is_well_quoted", "numbered_records", "pieces", "records"]

LONGEST_FIELD = 1 << 24
_ROWS_WITHIN = 3
_LARGEST_PIECE = 1 << 26
_RECORDS = 50_000
_BLANK_LINES = re.compile(rb"\n{2,}")
_LINE_FEED, _RETURN, _QUOTE = b'\n\r"'


class Unplain(Exception):  # noqa: N818 - a finding, caught nearby
    """Quotation marks stand within values, so rows cannot be told apart by counting them."""


@dataclass(frozen=True)
class TextPart:
    """Plain delimited text that is parsed anew on every pass.

    Parameters
    ----------
    text : Text
        The file; its stored bytes are the text.
    stamp : Stamp
        The file as it was when it was opened.
    form : Form
        How its rows are written.
    schema : mapping of str to DataType
        The columns that are read, all text.
    n_rows : int
        Rows that say something.
    has_quotes, has_other_rows : bool
        Whether quotation marks may hold line ends, and whether there are rows to leave out: blank ones or headings.
    """

    text: Text
    stamp: Stamp
    form: Form
    schema: Mapping[str, pl.DataType]
    n_rows: int
    has_quotes: bool
    has_other_rows: bool

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - by bytes
        """Give the rows in order, some megabytes at a time, whatever ``n_rows`` is.

        Parameters
        ----------
        columns : sequence of str
            Some of the part's columns, at least one.
        n_rows : int
            Not needed here.

        Yields
        ------
        DataFrame of str
            Those columns.
        """
        self.stamp.require_unchanged()
        for piece in pieces(self.text.chunks(), self.form, has_quotes=self.has_quotes):
            if self.has_other_rows:
                yield said(self.form.without_headings(self.form.parse(piece))).select(columns)
            else:
                yield self.form.parse(piece, columns)


def pieces(chunks: Iterator[bytes], form: Form, *, has_quotes: bool) -> Iterator[bytes]:
    """Cut text where a row ends.

    Parameters
    ----------
    chunks : iterator of bytes
        The text, cut anywhere.
    form : Form
        Says where the heading ends; it is left out.
    has_quotes : bool
        Whether line ends may stand within quotation marks.

    Yields
    ------
    bytes
        Whole rows.

    Raises
    ------
    Unplain
        If quotation marks stand elsewhere than around a whole value, so no row's end is certain.
    """
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
            raise Unplain
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


def _checked(piece: bytes, form: Form, *, has_quotes: bool) -> bytes:
    if has_quotes and not is_well_quoted(piece, form.delimiter):
        raise Unplain
    if not has_quotes and piece.count(b"\n\n\n\n") * 8 > len(piece):  # hardly anything but blank lines
        return _BLANK_LINES.sub(b"\n", piece)
    return piece


def is_well_quoted(piece: bytes, delimiter: str) -> bool:
    """Say whether quotation marks stand only around whole values, or doubled within them.

    Parameters
    ----------
    piece : bytes
        Whole rows.
    delimiter : str
        Between fields.

    Returns
    -------
    bool
        Whether every opening mark follows a delimiter or a row's end, and every closing one precedes one.

    Examples
    --------
    >>> [is_well_quoted(row, ",") for row in (b'a,"1,5 m"', b'a,15" screen,21" screen')]
    [True, False]
    """
    signs = np.frombuffer(piece, dtype=np.uint8)
    marks = np.flatnonzero(signs == _QUOTE)
    if len(marks) % 2:
        return False
    edges = np.array([_LINE_FEED, _RETURN, ord(delimiter), _QUOTE], dtype=np.uint8)
    opening, closing = marks[::2], marks[1::2]
    before = signs[opening[opening > 0] - 1]
    after = signs[closing[closing < len(signs) - 1] + 1]
    return bool(np.isin(before, edges).all() and np.isin(after, edges).all())


def records(
    lines: Iterable[str], form: Form, *, shown: str, before: int, on_long: Callable[[int, list[str]], None]
) -> Iterator[pl.DataFrame]:
    """Take rows apart one by one, as spreadsheets do: for text in which quotation marks stand within values.

    Parameters
    ----------
    lines : iterable of str
        Below the heading, each with its line end.
    form : Form
        How its rows are written.
    shown : str
        What messages call the file.
    before : int
        Lines above the first.
    on_long : callable
        Is told the line's number and the fields of a row that has more of them than the heading; such are left out.

    Yields
    ------
    DataFrame of str
        Rows that say something.

    Raises
    ------
    OrdersError
        If quotation marks that are never closed make values of whole rows.
    """
    numbered = numbered_records(lines, form.delimiter, shown=shown, before=before)
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
        yield said(form.frame(fitting))


def _refuse_swallowed(row: Sequence[str], form: Form, number: int, shown: str) -> None:
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


def numbered_records(
    lines: Iterable[str], delimiter: str, *, shown: str, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Take records apart, whatever the length of their fields up to a bound.

    Parameters
    ----------
    lines : iterable of str
        Each with its line end.
    delimiter : str
        Between fields.
    shown : str
        What messages call the file.
    before : int
        Lines above the first.

    Yields
    ------
    number : int
        The line on which the record ends.
    record : list of str
        Its fields.

    Raises
    ------
    OrdersError
        If a field has no end.
    """
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
