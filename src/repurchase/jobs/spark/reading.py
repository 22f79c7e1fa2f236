"""What Spark's executors do with rows of an export: the same steps as on one machine, from batch to batch.

Every task takes and gives Arrow batches, as ``DataFrame.mapInArrow`` asks.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl
import pyarrow as pa

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.features.ledgers import ledger_of
from repurchase.jobs.spark.notes import Batches, book_notes, note, table_notes
from repurchase.orders.cleaning import clean_rows
from repurchase.orders.facts import Facts
from repurchase.orders.ids import clean_ids
from repurchase.orders.layouts import Layout
from repurchase.orders.policy import Rulings
from repurchase.orders.spill import SAMPLED_PER_BATCH
from repurchase.orders.survey import Forms, Survey
from repurchase.orders.textforms import said
from repurchase.orders.values import read_values
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
            As the job on one machine reads them.

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
        return self.veil(rows) if self.veil else rows

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
    """What one look at the rows of a task found.

    Parameters
    ----------
    survey : Survey
        How columns are written.
    ids : Series of str
        Customers of evenly spaced rows.
    rows : Counter of str
        Rows of each file.
    said : frozenset of str
        Columns without a name that hold a value.
    n_blank, n_corrupt, n_mangled : int
        Rows without a value, lines that do not fit the heading, and customers' ids that are not UTF-8.
    """

    survey: Survey = field(default_factory=Survey)
    ids: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String()))
    rows: Counter[str] = field(default_factory=Counter)
    said: frozenset[str] = frozenset()
    n_blank: int = 0
    n_corrupt: int = 0
    n_mangled: int = 0

    def __add__(self, other: "Found") -> "Found":
        return Found(
            survey=self.survey + other.survey,
            ids=pl.concat([self.ids, other.ids]),
            rows=self.rows + other.rows,
            said=self.said | other.said,
            n_blank=self.n_blank + other.n_blank,
            n_corrupt=self.n_corrupt + other.n_corrupt,
            n_mangled=self.n_mangled + other.n_mangled,
        )


def survey_of_rows(batches: Batches, reading: Reading) -> Batches:
    """Look at columns that decide something, at some customers, and at how many rows there are.

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
    for table in _frames(batches):
        found += _looked_at(table, reading)
    yield note("found", found)


def _looked_at(table: pl.DataFrame, reading: Reading) -> Found:
    n_lines = table.height
    if reading.has_blank_rows:
        table = table.filter(~pl.all_horizontal(pl.col(list(set(reading.columns.values()))).is_null()))
    rows = reading.rows(table)
    customer = rows[reading.layout.columns["customer_id"]]
    unnamed = [name for name in rows.columns if not name.strip()]
    step = max(1, rows.height // SAMPLED_PER_BATCH)
    return Found(
        survey=Survey.of(rows, reading.layout),
        ids=clean_ids(customer.gather_every(step)).rename("").drop_nulls(),
        rows=Counter(dict(table[FILE].value_counts().rows())),
        said=frozenset(name for name in unnamed if rows[name].null_count() < rows.height),
        n_blank=n_lines - table.height,
        n_corrupt=len(table[CORRUPT].drop_nulls()) if CORRUPT in table.columns else 0,
        n_mangled=int(customer.cast(pl.String).str.contains("\ufffd", literal=True).sum()),
    )


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
    for table in _frames(batches):
        rows = _full(reading.rows(table), reading)
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
        ids = clean_ids(reading.rows(table)[reading.layout.columns["customer_id"]])
        number = bounds.search_sorted(ids, side="right").set(ids.is_null(), 0).cast(pl.Int32)
        yield batch.append_column(BUCKET, number.to_arrow().cast(pa.int32()))


def clean_partition(batches: Batches, reading: Reading, files: Sequence[str]) -> Batches:
    """Clean all rows of some customers.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Rows of one partition, in any order.
    reading : Reading
        With forms and rulings.
    files : sequence of str
        All files, in the order in which one machine reads them.

    Yields
    ------
    RecordBatch
        Notes: the tally, the ledger, and the rows that were set aside.
    """
    forms, ruled = reading.settled()
    tables = list(_frames(batches))
    if tables:
        number = int(tables[0][BUCKET][0])
        rows = _in_order(tables, reading, files)
        tables.clear()
        values = read_values(rows, reading.layout, forms, settings=reading.settings)
        judged = clean_rows(rows, values, reading.layout, ruled, settings=reading.settings)
        yield note("tally", judged.tally, number)
        yield from table_notes("aside", judged.set_aside, number)
        if judged.kept.height or judged.no_sale.height:
            book = ledger_of(judged.kept, observed_until=max(judged.tally.days, default=date.max))
            yield from book_notes(replace(book, no_sale=judged.no_sale), number)


def _in_order(tables: list[pl.DataFrame], reading: Reading, files: Sequence[str]) -> pl.DataFrame:
    rank = pl.col(FILE).replace_strict(list(files), list(range(len(files))), return_dtype=pl.Int32)
    return _full(reading.rows(pl.concat(tables).sort(rank, BLOCK, AT)), reading)


def _frames(batches: Batches) -> Iterator[pl.DataFrame]:
    for batch in batches:
        if batch.num_rows:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


def _full(rows: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    return said(rows) if reading.has_blank_rows else rows
