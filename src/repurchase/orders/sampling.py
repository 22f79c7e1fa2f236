"""A sample of a log's rows that holds whole orders, for deciding what its columns mean."""

from collections.abc import Mapping
from math import ceil

import polars as pl

from repurchase.orders.column_profiles import profile_columns
from repurchase.orders.column_ranking import rank_columns
from repurchase.orders.ids import clean_ids
from repurchase.orders.logs import OrderLog

__all__ = ["sample_rows"]

MOST_ROWS = 200_000


def sample_rows(log: OrderLog, *, named: Mapping[str, str], most: int = MOST_ROWS) -> pl.DataFrame:
    """Read all rows of a small log, and all lines of some orders of a large one.

    Parameters
    ----------
    log : OrderLog
        As opened.
    named : mapping of str to str
        Roles that the user named.
    most : int
        About how many rows to take.

    Returns
    -------
    DataFrame
        As read. Which orders are taken depends on their numbers alone.
    """
    if log.n_rows <= most:
        return log.read()
    every = ceil(log.n_rows / most)
    column = named.get("order_id")
    taken = []
    for rows in log.batches():
        if column is None:
            found = rank_columns(profile_columns(rows.head(10_000)), "order_id")
            column = found[0].profile.text if found else ""
        if column not in rows.columns:
            taken.append(rows.head(ceil(rows.height / every)))
            continue
        orders = clean_ids(rows[column]).forward_fill()
        taken.append(rows.filter(orders.hash(seed=0) % every == 0))
    return pl.concat(taken)
