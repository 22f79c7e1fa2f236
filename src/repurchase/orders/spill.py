"""SPLIT: the rows of a log in partitions by range of customer ids, on disk, so that memory need not hold them all.

Ranges and not hashes: each partition's customers are sorted, so their scores in the order of the partitions are the
whole table sorted by customer, however many partitions there are. The bounds are quantiles of a sample of rows, so
partitions hold about as many rows each.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import polars as pl

from repurchase.orders.facts import Facts
from repurchase.orders.layouts import Layout
from repurchase.orders.logs import OrderLog
from repurchase.orders.survey import Forms, Survey, surveyed_columns
from repurchase.orders.values import read_customers, read_values
from repurchase.settings import Settings

__all__ = [
    "Spill",
    "decisive_columns",
    "partition_bounds",
    "partitions_needed",
    "partitions_of",
    "spill_rows",
    "survey_rows",
]

BYTES_PER_VALUE = 80
"""Memory that a value of a log needs at most while its rows are cleaned, as measured."""
VALUES_BESIDE = 8
"""Values of a row besides its columns: what is made of them."""
AT_REST_GB = 0.6
"""What the program needs with the smallest log."""
LEAST_GB = 0.1
SAMPLED_PER_BATCH = 2_000
_BUCKET = "_partition"


def partitions_needed(n_rows: int, n_columns: int, *, memory_gb: float) -> int:
    """Say in how many partitions a log is to be worked through.

    Parameters
    ----------
    n_rows, n_columns : int
        Size of the log.
    memory_gb : float
        What the whole process may use.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> partitions_needed(3_000_000, 4, memory_gb=4.0), partitions_needed(34_000_000, 4, memory_gb=4.0)
    (1, 10)
    """
    needed_gb = n_rows * (n_columns + VALUES_BESIDE) * BYTES_PER_VALUE / 1e9
    return max(1, ceil(needed_gb / max(memory_gb - AT_REST_GB, LEAST_GB)))


def partitions_of(log: OrderLog, *, settings: Settings) -> int:
    """Say in how many partitions a log is to be worked through on this machine.

    Parameters
    ----------
    log : OrderLog
        As opened.
    settings : Settings
        The number, or the memory there is.

    Returns
    -------
    int
        At least 1; 1 where an order's later lines do not name its customer.
    """
    if log.layout.first_line_only:
        return 1
    return settings.partitions or partitions_needed(log.n_rows, len(log.schema), memory_gb=settings.memory_gb)


def decisive_columns(schema: Mapping[str, pl.DataType], layout: Layout) -> list[str]:
    """Name the columns that `survey_rows` must see.

    Parameters
    ----------
    schema : mapping of str to data type
        The export's columns.
    layout : Layout
        Which column is which.

    Returns
    -------
    list of str
        Those of customers, and `surveyed_columns`.
    """
    customers = [layout.columns[role] for role in ("customer_id", "customer_fallback") if role in layout.columns]
    return list(dict.fromkeys([*customers, *surveyed_columns(schema, layout)]))


def survey_rows(batches: Iterable[pl.DataFrame], layout: Layout) -> tuple[Survey, pl.Series]:
    """Look once at the columns that decide something, and at some customers.

    Parameters
    ----------
    batches : iterable of DataFrame
        All rows, with at least the `decisive_columns`.
    layout : Layout
        Which column is which.

    Returns
    -------
    survey : Survey
        Evidence of all rows.
    ids : Series of str
        Customers of evenly spaced rows.
    """
    survey, ids = Survey(), [pl.Series(dtype=pl.String)]
    for batch in batches:
        survey += Survey.of(batch, layout)
        step = max(1, batch.height // SAMPLED_PER_BATCH)
        ids.append(read_customers(batch.gather_every(step), layout).rename(""))
    return survey, pl.concat(ids).drop_nulls()


def partition_bounds(sampled_ids: pl.Series, *, partitions: int) -> pl.Series:
    """Choose the ranges of customer ids.

    Parameters
    ----------
    sampled_ids : Series of str
        From `survey_rows`.
    partitions : int
        How many.

    Returns
    -------
    Series of str
        The first id of every partition but the first, rising; fewer where few customers have most of the rows.

    Examples
    --------
    >>> partition_bounds(pl.Series(["d", "a", "c", "b"]), partitions=2).to_list()
    ['c']
    """
    ordered = sampled_ids.sort()
    places = sorted({len(ordered) * number // partitions for number in range(1, partitions)})
    return ordered.gather(places).unique().sort() if len(ordered) else ordered


@dataclass(frozen=True)
class Spill:
    """Rows of a log on disk, by partition.

    Parameters
    ----------
    folder : Path
        Holds one folder per partition.
    partitions : int
        How many.
    """

    folder: Path
    partitions: int

    def rows(self, number: int) -> pl.DataFrame:
        """Read a partition.

        Parameters
        ----------
        number : int
            Which, from 0.

        Returns
        -------
        DataFrame
            Rows of the export, in its order: all rows of these customers.
        """
        return pl.concat(
            [pl.scan_ipc(file, glob=False).collect() for file in sorted(_folder(self.folder, number).iterdir())]
        )

    def remove(self, number: int) -> None:
        """Give the disk space of a partition back.

        Parameters
        ----------
        number : int
            Which, from 0.
        """
        for file in _folder(self.folder, number).iterdir():
            file.unlink()

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(self.partitions) if any(_folder(self.folder, number).iterdir()))


def spill_rows(
    batches: Iterable[pl.DataFrame],
    layout: Layout,
    forms: Forms,
    bounds: pl.Series,
    folder: Path,
    *,
    settings: Settings,
) -> tuple[Spill, Facts]:
    """Put every row into its customer's partition, and gather what must be known of all rows.

    Parameters
    ----------
    batches : iterable of DataFrame
        All rows and columns of the export.
    layout : Layout
        Which column is which; order fields must stand on every line.
    forms : Forms
        How dates and numbers are written.
    bounds : Series of str
        From `partition_bounds`.
    folder : Path
        Empty.
    settings : Settings
        Time zone.

    Returns
    -------
    spill : Spill
        The rows.
    facts : Facts
        Of all of them.

    Raises
    ------
    OSError
        If the disk is full or the folder goes away.
    """
    spill, facts = Spill(folder, len(bounds) + 1), Facts()
    folder.mkdir(exist_ok=True)
    for number in range(spill.partitions):
        _folder(folder, number).mkdir()
    for count, batch in enumerate(batches):
        reading = read_values(batch, layout, forms, settings=settings)
        facts += reading.facts
        bucket = bounds.search_sorted(reading.rows["customer_id"], side="right").fill_null(0)
        placed = batch.with_columns(bucket.alias(_BUCKET))
        for (number,), rows in placed.partition_by(_BUCKET, as_dict=True, include_key=False).items():
            rows.write_ipc(_folder(folder, int(str(number))) / f"{count:06d}.arrow")
    return spill, facts


def _folder(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"
