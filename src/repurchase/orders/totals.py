"""An order's total put on its lines, exact to the cent."""

import polars as pl

__all__ = ["spread_totals"]


def spread_totals(lines: pl.DataFrame) -> pl.Series:
    """Put each order's net total on its lines in proportion to what the lines are worth.

    Shops state shipping, taxes, discounts and refunds for the order as a whole. Spread over the lines, product-level
    and order-level money are both right: shares are cut to whole cents and the first line takes the rest, so that the
    lines add up to the total.

    Parameters
    ----------
    lines : DataFrame
        ``order`` (any key), ``line_value`` (price times quantity; null or negative counts as nothing) and ``net_total``
        (the same on every line of an order).

    Returns
    -------
    Series of float
        Money per line. Where no line is worth anything, the first one takes the whole.

    Examples
    --------
    >>> spread_totals(pl.DataFrame({
    ...     "order": [1, 1, 1], "line_value": [10.0, 10.0, 10.0], "net_total": [10.0, 10.0, 10.0]
    ... })).to_list()
    [3.34, 3.33, 3.33]
    """
    worth = pl.col("line_value").fill_null(0.0).clip(lower_bound=0.0)
    part = pl.when(pl.col("all_worth") > 0).then(pl.col("worth") / pl.col("all_worth")).otherwise(0.0)
    cents = (pl.col("net_total") * 100 * part).round(6).truncate()
    rest = (pl.col("net_total") * 100 - pl.col("cents").sum().over("order")).round(2)
    is_first = pl.int_range(pl.len()).over("order") == 0
    return (
        lines.with_columns(worth.alias("worth"))
        .with_columns(pl.col("worth").sum().over("order").alias("all_worth"))
        .with_columns(cents.alias("cents"))
        .select(((pl.col("cents") + pl.when(is_first).then(rest).otherwise(0.0)) / 100).round(4) + 0.0)
        .to_series()
        .alias("amount")
    )
