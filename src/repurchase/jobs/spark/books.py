"""Ledgers and notes that stay on a Spark cluster, and how they come here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase.features.timeline import Ledger
from repurchase.jobs.books import Books
from repurchase.jobs.intake import Intake
from repurchase.jobs.spark.notes import BOOK, book_of, frame_of, opened
from repurchase.jobs.spark.scoring import Day
from repurchase.jobs.spark.session import translated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

__all__ = ["ClusterBooks", "books_of", "fetched", "made_there", "of_kind", "one_by_one", "opened_one_by_one", "rows_of"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClusterBooks(Books):
    """Ledgers that stay on the cluster; going through them brings one after the other here.

    Parameters
    ----------
    notes : DataFrame
        Spark's: the notes of `clean_partition`, kept on the cluster's disks.
    partitions : int
        How many.
    """

    notes: "DataFrame | None" = None
    partitions: int = 0

    def __len__(self) -> int:
        return self.partitions

    def __getitem__(self, number: int) -> Ledger:
        if not 0 <= number < self.partitions:
            raise IndexError(number)
        from pyspark.sql import functions

        rows = rows_of(self.told(*BOOK).filter(functions.col("part") == number))
        return self._book(rows) or self._empty()

    def __iter__(self) -> Iterator[Ledger]:
        rows: list[Row] = []
        for row in one_by_one(self.told(*BOOK)):
            if rows and row["part"] != rows[-1]["part"]:
                yield self._book(rows) or self._empty()
                rows = []
            rows.append(row)
        if rows:
            yield self._book(rows) or self._empty()

    @property
    def day(self) -> Day:
        """The last day observed, and whether the whole log has money."""
        return Day(self.as_of, self.has_amounts)

    def told(self, *kinds: str) -> "DataFrame":
        """Choose notes.

        Parameters
        ----------
        *kinds : str
            Which.

        Returns
        -------
        DataFrame
            Spark's; each partition's in its order.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.notes is None:
            raise ValueError("these ledgers are on no cluster")
        return of_kind(self.notes, *kinds)

    def _book(self, rows: "list[Row]") -> Ledger | None:
        pairs = ((row["kind"], bytes(row["content"])) for row in rows)
        return book_of(pairs, as_of=self.as_of, has_amounts=self.has_amounts)

    def _empty(self) -> Ledger:
        entries = {name: pl.Int32() for name in ("known", "day")}
        sums = dict.fromkeys(("spend", "charged", "orders", "lines", "quantity", "discount"), pl.Int64())
        nobody = pl.DataFrame(schema={"customer": pl.UInt32(), **entries, **sums})
        return Ledger(pl.Series("customer_id", dtype=pl.String()), nobody, self.as_of, self.has_amounts)


def books_of(intake: Intake) -> ClusterBooks:
    """Give the ledgers that `Cluster.take_in` left on the cluster.

    Parameters
    ----------
    intake : Intake
        From there.

    Returns
    -------
    ClusterBooks
        Its books.

    Raises
    ------
    TypeError
        If it comes from elsewhere.
    """
    if not isinstance(intake.books, ClusterBooks):
        raise TypeError("these ledgers are not on a cluster")
    return intake.books


def of_kind(notes: "DataFrame", *kinds: str) -> "DataFrame":
    """Choose notes.

    Parameters
    ----------
    notes : DataFrame
        Spark's.
    *kinds : str
        Which.

    Returns
    -------
    DataFrame
        In the same order.
    """
    from pyspark.sql import functions

    return notes.filter(functions.col("kind").isin(*kinds))


@contextmanager
def made_there(notes: "DataFrame") -> Iterator["DataFrame"]:
    """Make notes on the cluster, all partitions side by side, and hold them on its disks.

    Parameters
    ----------
    notes : DataFrame
        Spark's.

    Yields
    ------
    DataFrame
        The same; what a worker that dies takes along is made again.
    """
    from pyspark import StorageLevel

    held = notes.persist(StorageLevel.DISK_ONLY)
    translated(held.count)
    try:
        yield held
    finally:
        held.unpersist()


def one_by_one(notes: "DataFrame") -> Iterator["Row"]:
    """Bring notes here, one partition after the other.

    Parameters
    ----------
    notes : DataFrame
        Spark's.

    Yields
    ------
    Row
        In the order of the partitions.
    """
    rows = translated(notes.toLocalIterator)
    while (row := translated(lambda: next(rows, None))) is not None:
        yield row


def opened_one_by_one(notes: "DataFrame") -> Iterator[Any]:
    """Bring what was noted here, one partition after the other.

    Parameters
    ----------
    notes : DataFrame
        Spark's.

    Yields
    ------
    object
        In the order of the partitions.
    """
    for row in one_by_one(notes):
        yield opened(bytes(row["content"]))


def rows_of(notes: "DataFrame") -> "list[Row]":
    """Bring notes here.

    Parameters
    ----------
    notes : DataFrame
        Spark's.

    Returns
    -------
    list of Row
        In the order of the partitions.
    """
    return translated(notes.collect)


def fetched(notes: "DataFrame", folder: Path, *, on_progress: Progress | None = None, total: int = 0) -> list[Path]:
    """Bring tables here, one note after the other.

    Parameters
    ----------
    notes : DataFrame
        Spark's, of tables.
    folder : Path
        Is made, for one file each.
    on_progress : callable, optional
        Is told how many partitions are here, and of how many.
    total : int
        Of how many.

    Returns
    -------
    list of Path
        Parquet files, in the order of the partitions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    for row in one_by_one(notes):
        parts.append(folder / f"{row['part']:05d}-{len(parts):05d}.parquet")
        frame_of(bytes(row["content"])).write_parquet(parts[-1])
        if on_progress:
            on_progress(row["part"] + 1, total)
    return parts
