"""Which rows make an order: lines that follow each other, and numbers that several customers have."""

import polars as pl

from repurchase.orders.column_profiles import share

__all__ = ["in_blocks", "shared_numbers"]

_FEWEST_SHARED = 5
_SHARED = 0.2


def in_blocks(orders: pl.Series, files: pl.Series | None) -> pl.Series:
    """Name the rows of one number that follow each other: two orders of one number are no order with two first lines.

    Parameters
    ----------
    orders : Series of str
        The order number of each row.
    files : Series of str, optional
        The file of each row, where there are several.

    Returns
    -------
    Series of str
        Equal for the rows of one block.
    """
    file = files if files is not None else pl.lit("")
    return pl.select(pl.concat_str(orders, orders.rle_id(), file, separator="\0")).to_series()


def shared_numbers(orders: pl.Series, customers: pl.Series) -> float | None:
    """Say whether order numbers begin anew, each year or in each shop.

    Parameters
    ----------
    orders, customers : Series of str
        Order number and customer of each row.

    Returns
    -------
    float or None
        Share of the numbers that several customers have; None if they are so few that they are slips.
    """
    known = pl.DataFrame({"order": orders, "customer": customers}).drop_nulls()
    several = known.group_by("order").agg(pl.col("customer").n_unique())["customer"] > 1
    return None if several.sum() < _FEWEST_SHARED or share(several) < _SHARED else share(several)
