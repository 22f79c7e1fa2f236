"""How the rows of a text are written, and rows of it as frames."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from repurchase.orders.dialects import Dialect

__all__ = ["Form", "said"]

_SWAPPED = str.maketrans("\"'", "'\"")


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
    padding : int
        How many of the last columns are not in the heading line: rows only end with so many delimiters more.
    preamble : tuple of tuple of str
        The records above the heading.
    swaps_quotes : bool
        Whether apostrophes and quotation marks have changed places in the text.
    """

    delimiter: str
    heading: tuple[str, ...]
    names: tuple[str, ...]
    start: int
    lines: int
    padding: int = 0
    preamble: tuple[tuple[str, ...], ...] = ()
    swaps_quotes: bool = False

    @classmethod
    def of(cls, dialect: Dialect, *, start: int, swaps_quotes: bool) -> "Form":
        """Give columns of equal names different ones.

        Parameters
        ----------
        dialect : Dialect
            How the text is written.
        start : int
            Bytes up to the end of the heading line.
        swaps_quotes : bool
            Whether apostrophes and quotation marks have changed places in the text.

        Returns
        -------
        Form
            With names that differ.
        """
        mark = dialect.delimiter
        heading = (*dialect.heading, *[""] * dialect.padding)
        names = pl.read_csv(_line(heading, mark), separator=mark, infer_schema=False, glob=False).columns
        if swaps_quotes:
            names = [name.translate(_SWAPPED) for name in names]
        return cls(mark, heading, tuple(names), start, dialect.lines, dialect.padding, dialect.preamble, swaps_quotes)

    @property
    def most_fields(self) -> int:
        """Fields in the heading line."""
        return len(self.heading) - self.padding

    @property
    def n_named(self) -> int:
        """Fields up to the last one with a name."""
        return max((n for n, name in enumerate(self.heading, start=1) if name.strip()), default=0)

    @property
    def unnamed(self) -> set[str]:
        """Columns without a name of their own."""
        return {name for name, found in zip(self.names, self.heading, strict=True) if not found.strip()}

    def without_headings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows that repeat the heading, as joined exports have them, and what stood above it.

        Parameters
        ----------
        rows : DataFrame
            With all columns.

        Returns
        -------
        DataFrame
            The others.
        """
        at = next(n for n, name in enumerate(self.heading) if name.strip())
        first = self._shown(self.heading[at])
        if not self.preamble and not rows[self.names[at]].is_in([first, f"\ufeff{first}"]).any():
            return rows
        repeats = [self._equals(record) for record in (self.heading, *self.preamble)]
        return rows.filter(~pl.any_horizontal(repeats))

    def _equals(self, record: Sequence[str]) -> pl.Expr:
        padded = [*record, *[""] * len(self.names)][: len(self.names)]
        values = [self._shown(value) or None for value in padded]
        cells = [pl.col(name).str.strip_prefix("\ufeff") for name in self.names]
        return pl.all_horizontal(
            [cell.eq_missing(pl.lit(value, dtype=pl.String)) for cell, value in zip(cells, values, strict=True)]
        )

    def _shown(self, value: str) -> str:
        return value.translate(_SWAPPED) if self.swaps_quotes else value

    def _restored(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self.swaps_quotes:
            return rows
        return rows.with_columns(pl.all().str.replace_many(["'", '"'], ['"', "'"]))

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
        head = _line(self.names, self.delimiter)
        rows = pl.read_csv(
            head + piece,
            separator=self.delimiter,
            infer_schema=False,
            null_values="" if b'""' in piece else None,
            columns=None if columns is None else list(columns),
            glob=False,
        )
        return self._restored(rows if columns is None else rows.select(columns))

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
        return self._restored(pl.DataFrame(whole, schema=dict.fromkeys(self.names, pl.String), orient="row"))


def _line(heading: Sequence[str], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(heading)
    return out.getvalue().encode("utf-8")


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
