"""How many rows a log on a cluster has, and a sample of them that holds whole orders."""

from collections import Counter
from dataclasses import dataclass, field

from repurchase.jobs.spark.notes import Batches, frames, note, table_notes
from repurchase.jobs.spark.reading import CORRUPT, FILE, Reading
from repurchase.orders.sampling import OrderSampling

__all__ = ["RowCounts", "as_notes", "count_rows", "sample_of_rows"]


@dataclass(frozen=True)
class RowCounts:
    """How many rows there are.

    Parameters
    ----------
    rows : Counter of str
        Rows of each file.
    n_blank, n_corrupt : int
        Rows without a value, and lines that do not fit the heading.
    used : frozenset of str
        Columns without a name that hold a value.
    sampling : OrderSampling, optional
        Of all rows.
    """

    rows: Counter[str] = field(default_factory=Counter)
    n_blank: int = 0
    n_corrupt: int = 0
    used: frozenset[str] = frozenset()
    sampling: OrderSampling | None = None

    def __add__(self, other: "RowCounts") -> "RowCounts":
        known = [counts.sampling for counts in (self, other) if counts.sampling is not None]
        return RowCounts(
            rows=self.rows + other.rows,
            n_blank=self.n_blank + other.n_blank,
            n_corrupt=self.n_corrupt + other.n_corrupt,
            used=self.used | other.used,
            sampling=known[0] + known[1] if len(known) == 2 else next(iter(known), None),
        )


def as_notes(batches: Batches) -> Batches:
    """Bring rows to the job as they are.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Few.

    Yields
    ------
    RecordBatch
        Notes.
    """
    for table in frames(batches):
        yield from table_notes("rows", table, 0)


def count_rows(batches: Batches, reading: Reading, sampling: OrderSampling) -> Batches:
    """Count rows, by file and for a sample.

    Parameters
    ----------
    batches : iterator of RecordBatch
        All columns, and where each row stands.
    reading : Reading
        Whose layout is not decided yet.
    sampling : OrderSampling
        Which column holds order numbers.

    Yields
    ------
    RecordBatch
        One note: `RowCounts`.
    """
    counts = RowCounts()
    for table in frames(batches):
        filled = reading.filled(table)
        rows = reading.rows(filled)
        unnamed = [name for name in rows.columns if not name.strip()]
        counts += RowCounts(
            rows=Counter(dict(filled[FILE].value_counts().rows())),
            n_blank=table.height - filled.height,
            n_corrupt=len(table[CORRUPT].drop_nulls()) if CORRUPT in table.columns else 0,
            used=frozenset(name for name in unnamed if rows[name].null_count() < rows.height),
            sampling=sampling.counting(rows),
        )
    yield note("counts", counts)


def sample_of_rows(batches: Batches, reading: Reading, sampling: OrderSampling, depth: int) -> Batches:
    """Take all lines of some orders.

    Parameters
    ----------
    batches : iterator of RecordBatch
        All columns, and where each row stands.
    reading : Reading
        Whose layout is not decided yet.
    sampling : OrderSampling
        Which column holds order numbers.
    depth : int
        Of the sample, see `OrderSampling.depth`.

    Yields
    ------
    RecordBatch
        Notes: the rows as Spark gives them.
    """
    for table in frames(batches):
        filled = reading.filled(table)
        yield from table_notes("rows", filled.filter(sampling.chosen(reading.rows(filled), depth)), 0)
