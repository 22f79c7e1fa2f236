"""Returns and the sales they reverse."""

import polars as pl

__all__ = ["sale_dates"]

_UNITS = 10_000


def sale_dates(lines: pl.DataFrame) -> pl.Series:
    """Find, for each return, the day of the sale it reverses.

    A return reverses the latest sale, not reversed before, of the same customer, the same product and the same amount
    at or before it. This looks backwards only: rows that come later never change what was found for earlier ones.

    Sales are pushed on a stack and returns pop it, one stack per customer, product and amount. On sorted rows that
    needs no loop: a running sum of +1 and -1 is the height of the stack, at one height sales and returns take turns,
    and a return belongs to the sale before it at its height. A return that finds the stack empty reaches a height at
    which nothing was before.

    Parameters
    ----------
    lines : DataFrame
        Order lines with ``customer_id``, ``product_id``, ``order_date`` and ``amount``; of equal returns of one moment,
        that of the first ``order_id``, if there is such a column, is paired first.

    Returns
    -------
    Series of date
        One value per line: null for a sale, and for a return without a matching sale.

    Examples
    --------
    >>> from datetime import datetime
    >>> sale_dates(pl.DataFrame({
    ...     "customer_id": ["a", "a", "a"], "product_id": ["p", "p", "p"], "amount": [5.0, -5.0, -5.0],
    ...     "order_date": [datetime(2024, 1, 1), datetime(2024, 1, 9), datetime(2024, 2, 1)],
    ... })).to_list()
    [None, datetime.date(2024, 1, 1), None]
    """
    if not (lines["amount"] < 0).any():
        return pl.Series("sale_date", [None], dtype=pl.Date).new_from_index(0, lines.height)
    key = ["customer_id", "product_id", "size"]
    order = pl.col("order_id") if "order_id" in lines.columns else pl.lit(None, pl.String).alias("order_id")
    sized = lines.select(
        order,
        "customer_id",
        "product_id",
        "order_date",
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("line"),
        (pl.col("amount").abs() * _UNITS).round(0).alias("size"),
        pl.col("amount").sign().cast(pl.Int8).alias("step"),
    ).filter(pl.col("step") != 0)
    returned = sized.filter(pl.col("step") < 0).select(key).unique()
    pairs = _pairs(sized.join(returned, on=key, how="semi", nulls_equal=True), key)
    placed = lines.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("line"))
    return placed.join(pairs, on="line", how="left", maintain_order="left")["sale_date"]


def _pairs(lines: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Pair each return with the sale before it at its height of the stack.

    Parameters
    ----------
    lines : DataFrame
        Lines of keys that have a return, with ``step``: +1 for a sale, -1 for a return.
    key : list of str
        What must be equal.

    Returns
    -------
    DataFrame
        ``line`` and ``sale_date`` of the returns.
    """
    by = [*key, "order_date", "step", "order_id"]
    ordered = lines.sort(by, descending=[name == "step" for name in by], nulls_last=True)
    running = pl.col("step").cast(pl.Int64).cum_sum().over(key)
    height = pl.when(pl.col("step") > 0).then(running).otherwise(running + 1)
    before = pl.col("order_date").shift(1).over([*key, "height"]).dt.date()
    paired = ordered.with_columns(height.alias("height")).with_columns(before.alias("sale_date"))
    return paired.filter(pl.col("step") < 0).select("line", "sale_date")
