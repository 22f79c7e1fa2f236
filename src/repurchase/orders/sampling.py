"""A sample of a log's rows that holds whole orders, for deciding what its columns mean."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from repurchase.orders.column_profiles import profile_columns
from repurchase.orders.column_ranking import rank_columns
from repurchase.orders.ids import clean_ids
from repurchase.orders.layouts import FILE_COLUMN
from repurchase.orders.logs import OrderLog

__all__ = ["MOST_ROWS", "OrderSampling", "sample_rows"]

MOST_ROWS = 200_000
_LOOKED_AT = 10_000
_DEEPEST = 32


@dataclass(frozen=True)
class OrderSampling:
    """Which rows belong to a sample of at most so many rows; the same however the rows are split.

    Each order has a depth, a number that half of all orders reach, a quarter surpass by one, and so on. A sample holds
    the orders of at least some depth.

    Parameters
    ----------
    column : str, optional
        Of order numbers; without one, every row is an order.
    counts : Counter of int
        Rows seen, by depth.
    """

    column: str | None
    counts: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: pl.DataFrame, *, named: Mapping[str, str]) -> "OrderSampling":
        """Find the column of order numbers.

        Parameters
        ----------
        rows : DataFrame
            Some rows of the log.
        named : mapping of str to str
            Roles that the user named.

        Returns
        -------
        OrderSampling
            No row is counted yet.
        """
        if named.get("order_id") in rows.columns:
            return cls(named["order_id"])
        found = rank_columns(profile_columns(rows.head(_LOOKED_AT)), "order_id")
        return cls(found[0].profile.text if found else None)

    def counting(self, rows: pl.DataFrame) -> "OrderSampling":
        """Count further rows.

        Parameters
        ----------
        rows : DataFrame
            Of the log.

        Returns
        -------
        OrderSampling
            With them.
        """
        depths = self._depths(rows).value_counts()
        return OrderSampling(self.column, self.counts + Counter(dict(depths.iter_rows())))

    def __add__(self, other: "OrderSampling") -> "OrderSampling":
        return OrderSampling(self.column, self.counts + other.counts)

    def depth(self, most: int = MOST_ROWS) -> int:
        """Find the depth that orders of the sample have.

        Parameters
        ----------
        most : int
            Rows that the sample may have.

        Returns
        -------
        int
            The least that keeps to it and leaves any row.
        """
        left = sum(self.counts.values())
        for depth in range(_DEEPEST + 1):
            after = left - self.counts[depth]
            if left <= most or not after:
                return depth
            left = after
        return _DEEPEST

    def take(self, rows: pl.DataFrame, depth: int) -> pl.DataFrame:
        """Take the rows of the sample.

        Parameters
        ----------
        rows : DataFrame
            Of the log.
        depth : int
            From `depth`.

        Returns
        -------
        DataFrame
            Whole orders.
        """
        return rows.filter(self.chosen(rows, depth)) if depth else rows

    def chosen(self, rows: pl.DataFrame, depth: int) -> pl.Series:
        """Say which rows the sample has.

        Parameters
        ----------
        rows : DataFrame
            Of the log.
        depth : int
            From `depth`.

        Returns
        -------
        Series of bool
            One value per row.
        """
        return self._depths(rows) >= depth

    def _depths(self, rows: pl.DataFrame) -> pl.Series:
        if self.column in rows.columns:
            hashes = clean_ids(rows[self.column]).forward_fill().fill_null("").hash(seed=0)
        else:
            hashes = rows.drop(FILE_COLUMN, strict=False).hash_rows(seed=0)
        depths: pl.Series = (hashes % 2**_DEEPEST).bitwise_trailing_zeros().clip(upper_bound=_DEEPEST)
        return depths.cast(pl.Int64).rename("")


def sample_rows(log: OrderLog, *, named: Mapping[str, str], most: int = MOST_ROWS) -> pl.DataFrame:
    """Read all rows of a small log, and all lines of some orders of a large one.

    Parameters
    ----------
    log : OrderLog
        As opened.
    named : mapping of str to str
        Roles that the user named.
    most : int
        How many rows to take at most.

    Returns
    -------
    DataFrame
        As read. Which orders are taken depends on their numbers alone.
    """
    if log.n_rows <= most:
        return log.read()
    sampling, depth, taken = None, 0, list[pl.DataFrame]()
    for rows in log.batches():
        sampling = (sampling or OrderSampling.of(rows, named=named)).counting(rows)
        taken.append(sampling.take(rows, depth))
        deeper = sampling.depth(most)
        if deeper > depth:
            taken, depth = [sampling.take(part, deeper) for part in taken], deeper
    return pl.concat(taken).head(most)
