"""Rows of delimited text, a few megabytes at a time: cut where a row ends, parsed, and blank lines left out."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.parts import Stamp
from repurchase.orders.textbytes import Text

__all__ = ["Form", "TextPart", "Unplain", "is_well_quoted", "pieces", "records", "said"]

_LARGEST_PIECE = 1 << 26
_RECORDS = 50_000
_LINE_FEED, _RETURN, _QUOTE = b'\n\r"'


class Unplain(Exception):  # noqa: N818 - a finding, caught nearby
    """Quotation marks stand within values, so rows cannot be told apart by counting them."""


@dataclass(frozen=True)
class Form:
    """How the rows of a text are written.

    Parameters
    ----------
    delimiter : str
        Between fields.
    heading : tuple of str
        The columns' names as in the text.
    names : tuple of str
        The same, each once.
    start : int
        Bytes up to the end of the heading line.
    lines : int
        Lines up to there.
    """

    delimiter: str
    heading: tuple[str, ...]
    names: tuple[str, ...]
    start: int
    lines: int

    @classmethod
    def of(cls, heading: Sequence[str], *, delimiter: str, start: int, lines: int) -> "Form":
        """Give columns of equal names different ones.

        Parameters
        ----------
        heading : sequence of str
            As in the text.
        delimiter : str
            Between fields.
        start : int
            Bytes up to the end of the heading line.
        lines : int
            Lines up to there.

        Returns
        -------
        Form
            With names that differ.
        """
        names = pl.read_csv(_line(heading, delimiter), separator=delimiter, infer_schema=False, glob=False).columns
        return cls(delimiter, tuple(heading), tuple(names), start, lines)

    def parse(self, piece: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read whole rows.

        Parameters
        ----------
        piece : bytes
            UTF-8, from the beginning of a row to the end of one.
        columns : sequence of str, optional
            Those wanted; default all.

        Returns
        -------
        DataFrame of str
            Blank lines are rows without values.
        """
        head = _line(self.heading, self.delimiter)
        rows = pl.read_csv(
            head + piece,
            separator=self.delimiter,
            infer_schema=False,
            columns=None if columns is None else list(columns),
            glob=False,
        )
        return rows if columns is None else rows.select(columns)

    def frame(self, fields: Sequence[Sequence[str]]) -> pl.DataFrame:
        """Make a frame of rows that were taken apart by hand.

        Parameters
        ----------
        fields : sequence of sequence of str
            Rows, none longer than the heading.

        Returns
        -------
        DataFrame of str
            Empty fields are null, and so are those that a row lacks.
        """
        width = len(self.names)
        whole = [[value or None for value in row] + [None] * (width - len(row)) for row in fields]
        return pl.DataFrame(whole, schema=dict.fromkeys(self.names, pl.String), orient="row")


def _line(heading: Sequence[str], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(heading)
    return out.getvalue().encode("utf-8")


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
    has_quotes, has_blank_rows : bool
        Whether quotation marks may hold line ends, and whether there are rows to leave out.
    """

    text: Text
    stamp: Stamp
    form: Form
    schema: Mapping[str, pl.DataType]
    n_rows: int
    has_quotes: bool
    has_blank_rows: bool

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
            if self.has_blank_rows:
                yield said(self.form.parse(piece)).select(columns)
            else:
                yield self.form.parse(piece, columns)


def said(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out rows without any value.

    Parameters
    ----------
    rows : DataFrame
        As parsed.

    Returns
    -------
    DataFrame
        Rows that say something.
    """
    return rows.filter(~pl.all_horizontal(pl.all().is_null()))


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
        If it cannot be taken apart.
    """
    numbered = _numbered(lines, form.delimiter)
    try:
        while rows := list(islice(numbered, _RECORDS)):
            fitting = []
            for number, row in rows:
                if len(row) > len(form.names):
                    on_long(before + number, row)
                else:
                    fitting.append(row)
            yield said(form.frame(fitting))
    except csv.Error as fault:
        raise OrdersError(
            f"{shown}: not readable as delimited text ({fault}). Export it again as CSV.", withheld=str(fault)
        ) from fault


def _numbered(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter)
    for row in reader:
        yield reader.line_num, row
