"""What Spark's executors do with rows of an export: the same steps as on one machine, from batch to batch.

Every task takes and gives Arrow batches, as ``DataFrame.mapInArrow`` asks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl
import pyarrow as pa

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.features.ledgers import ledger_of
from repurchase.jobs.spark.notes import Batches, book_notes, frames, note, table_notes
from repurchase.orders.cleaning import clean_rows
from repurchase.orders.facts import Facts
from repurchase.orders.layouts import FILE_COLUMN, Layout
from repurchase.orders.policy import Rulings
from repurchase.orders.spill import SAMPLED_PER_BATCH
from repurchase.orders.survey import Forms, Survey
from repurchase.orders.values import read_customers, read_values
from repurchase.settings import Settings

__all__ = [
    "AT",
    "BLOCK",
    "BUCKET",
    "CORRUPT",
    "FILE",
    "Found",
    "Reading",
    "clean_partition",
    "facts_of_rows",
    "place_rows",
    "survey_of_rows",
]

FILE, BLOCK, AT, BUCKET, CORRUPT = "_of_file", "_of_block", "_of_row", "_of_partition", "_corrupt"
"""Columns beside those of the export: where a row stands, its partition, and a line that is not one."""
_CUSTOMERS = ("customer_id", "customer_fallback")


@dataclass(frozen=True)
class Reading:
    """How the rows of a log are read.

    Parameters
    ----------
    columns : mapping of str to str
        Those of the export, in order, and what they are called on the cluster.
    layout : Layout
        Which is which.
    settings : Settings
        How to clean.
    files : mapping of str to int
        Files as Spark names them, and their numbers.
    forms : Forms, optional
        How dates and numbers are written, once that is decided.
    ruled : Rulings, optional
        What all rows have settled, once they have.
    veil : callable, optional
        Hides customer ids.
    has_blank_rows : bool
        Whether rows without any value may occur.
    version : str
        Of this package, where the job was started.
    """

    columns: Mapping[str, str]
    layout: Layout
    settings: Settings
    files: Mapping[str, int] = field(default_factory=dict)
    forms: Forms | None = None
    ruled: Rulings | None = None
    veil: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    has_blank_rows: bool = False
    version: str = __version__

    def rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Take the export's columns out of what Spark gives.

        Parameters
        ----------
        table : DataFrame
            With columns beside them.

        Returns
        -------
        DataFrame
            As the job on one machine reads them; of several files, with ``FILE_COLUMN``.

        Raises
        ------
        InputError
            If another version of this package is installed here.
        """
        if self.version != __version__:
            raise InputError(
                f"repurchase {__version__} is installed on a machine of the cluster, but {self.version} where the job "
                "was started. Install the same version on all of them."
            )
        there = set(table.columns)
        rows = table.select(pl.col(stored).alias(name) for name, stored in self.columns.items() if stored in there)
        rows = self.veil(rows) if self.veil else rows
        return rows.with_columns(table.select(self._number().alias(FILE_COLUMN))) if len(self.files) > 1 else rows

    def filled(self, table: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows without any value.

        Parameters
        ----------
        table : DataFrame
            As Spark gives it, with all columns of the export.

        Returns
        -------
        DataFrame
            The other rows.
        """
        if not self.has_blank_rows:
            return table
        return table.filter(~pl.all_horizontal(pl.col(list(set(self.columns.values()))).is_null()))

    def ordered(self, table: pl.DataFrame) -> pl.DataFrame:
        """Put rows into the order in which one machine reads them.

        Parameters
        ----------
        table : DataFrame
            With where each row stands.

        Returns
        -------
        DataFrame
            The same rows, by file and place.
        """
        return table.sort(self._number(), BLOCK, AT)

    def _number(self) -> pl.Expr:
        return pl.col(FILE).replace_strict(self.files, return_dtype=pl.UInt32)

    def settled(self) -> tuple[Forms, Rulings]:
        """Give what has been decided by now.

        Returns
        -------
        forms : Forms
            How dates and numbers are written.
        ruled : Rulings
            What all rows have settled.

        Raises
        ------
        ValueError
            If it has not.
        """
        if self.forms is None or self.ruled is None:
            raise ValueError("the forms and rulings of the log are not settled yet")
        return self.forms, self.ruled


@dataclass(frozen=True)
class Found:
    """What the decisive columns of a task's rows show.

    Parameters
    ----------
    survey : Survey
        How columns are written.
    ids : Series of str
        Customers of evenly spaced rows.
    n_mangled : int
        Customers' ids that are not UTF-8.
    """

    survey: Survey = field(default_factory=Survey)
    ids: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String()))
    n_mangled: int = 0

    def __add__(self, other: "Found") -> "Found":
        return Found(
            survey=self.survey + other.survey,
            ids=pl.concat([self.ids, other.ids]),
            n_mangled=self.n_mangled + other.n_mangled,
        )


def survey_of_rows(batches: Batches, reading: Reading) -> Batches:
    """Look at columns that decide something, and at some customers.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Columns of the survey, and where each row stands.
    reading : Reading
        Which is which.

    Yields
    ------
    RecordBatch
        One note: `Found`.
    """
    found = Found()
    for table in frames(batches):
        rows = reading.rows(table)
        customers = [name for role, name in reading.layout.columns.items() if role in _CUSTOMERS]
        step = max(1, rows.height // SAMPLED_PER_BATCH)
        found += Found(
            survey=Survey.of(rows, reading.layout),
            ids=read_customers(rows.gather_every(step), reading.layout).rename("").drop_nulls(),
            n_mangled=sum(
                int(rows[name].cast(pl.String).str.contains("\ufffd", literal=True).sum()) for name in customers
            ),
        )
    yield note("found", found)


def facts_of_rows(batches: Batches, reading: Reading) -> Batches:
    """Gather what must be known of all rows.

    Parameters
    ----------
    batches : iterator of RecordBatch
        All columns that have a role.
    reading : Reading
        With forms.

    Yields
    ------
    RecordBatch
        One note: `Facts`.

    Raises
    ------
    ValueError
        If the forms are not decided.
    """
    if reading.forms is None:
        raise ValueError("the forms of the log are not decided yet")
    facts = Facts()
    for table in frames(batches):
        rows = reading.rows(reading.filled(table))
        facts += read_values(rows, reading.layout, reading.forms, settings=reading.settings).facts
    yield note("facts", facts)


def place_rows(batches: Batches, reading: Reading, bounds: pl.Series) -> Batches:
    """Say to which partition each row belongs.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Rows of the export.
    reading : Reading
        Which column is the customer's.
    bounds : Series of str
        First customer of every partition but the first.

    Yields
    ------
    RecordBatch
        The same rows, as they are, with a number: that of a row without customer is 0.
    """
    for batch in batches:
        table = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        ids = read_customers(reading.rows(table), reading.layout)
        number = bounds.search_sorted(ids, side="right").set(ids.is_null(), 0).cast(pl.Int32)
        yield batch.append_column(BUCKET, number.to_arrow().cast(pa.int32()))


def clean_partition(batches: Batches, reading: Reading) -> Batches:
    """Clean all rows of some customers.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Rows of one partition, in any order.
    reading : Reading
        With forms and rulings.

    Yields
    ------
    RecordBatch
        Notes: the tally, the ledger, and the rows that were set aside.
    """
    forms, ruled = reading.settled()
    tables = list(frames(batches))
    if tables:
        number = int(tables[0][BUCKET][0])
        rows = reading.rows(reading.filled(reading.ordered(pl.concat(tables))))
        tables.clear()
        values = read_values(rows, reading.layout, forms, settings=reading.settings)
        judged = clean_rows(rows, values, reading.layout, ruled, settings=reading.settings)
        yield note("tally", judged.tally, number)
        yield from table_notes("aside", judged.set_aside, number)
        if judged.kept.height or judged.no_sale.height:
            book = ledger_of(judged.kept, observed_until=max(judged.tally.days, default=date.max))
            yield from book_notes(replace(book, no_sale=judged.no_sale), number)
