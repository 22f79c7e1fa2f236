"""Purchase rhythm per product: who buys it again, after how long, and for how many it runs out."""

import polars as pl

__all__ = ["MOST_PRODUCTS", "product_rhythm"]

MOST_PRODUCTS = 20
"""Products that are told of."""


def product_rhythm(gaps: pl.DataFrame, *, due: pl.DataFrame | None = None, most: int = MOST_PRODUCTS) -> pl.DataFrame:
    """Measure how products are bought again, up to a day.

    A purchase day of a product is a customer's calendar day with a line of it that was paid for. For a product:

    ``customers``
        Customers with a purchase day of it.
    ``again``
        Those of them with two purchase days of it or more; ``share_again`` = again / customers. It misleads for a new
        product: its customers had no time to return.
    ``median_days``, ``low_days``, ``high_days``
        Median and quartiles, over the customers who bought it again, of the mean gap between their purchase days of
        it: (last - first) / (purchase days - 1). The k-th smallest of n values, k = ceil(n q). Whoever has not bought
        it again yet is not in it, so it is shorter than how long one must wait.
    ``due``
        Customers for whom it runs out soon (see ``refill.due_soon``); null where that was not asked.

    Parameters
    ----------
    gaps : DataFrame
        From ``refill.product_gaps``: one row per customer and product; of several parts of customers, all of them.
    due : DataFrame, optional
        From ``refill.due_soon``.
    most : int
        Products to keep.

    Returns
    -------
    DataFrame
        One row per product that anyone bought again, the one that most customers bought again first.

    Examples
    --------
    >>> from datetime import date, timedelta
    >>> from repurchase.marketing.refill import product_gaps
    >>> bought = {"a": (0, 10, 30), "b": (0, 21), "c": (5,)}
    >>> rows = [(who, "soap", date(2024, 1, 1) + timedelta(days=day)) for who, days in bought.items() for day in days]
    >>> log = pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row")
    >>> soap = product_rhythm(product_gaps(log, as_of=date(2024, 3, 1))).row(0, named=True)
    >>> soap["customers"], soap["again"], soap["low_days"], soap["median_days"], soap["high_days"]
    (3, 2, 15.0, 15.0, 21.0)
    """
    mean_gap = (pl.col("last") - pl.col("first")).dt.total_days() / (pl.col("purchases") - 1)
    returned = gaps.filter(pl.col("purchases") > 1).with_columns(gap=mean_gap).sort("gap", maintain_order=True)
    n = pl.len()
    rhythm = returned.group_by("product_id").agg(
        again=n.cast(pl.Int64),
        low_days=pl.col("gap").get((n + 3) // 4 - 1),
        median_days=pl.col("gap").get((n + 1) // 2 - 1),
        high_days=pl.col("gap").get((3 * n + 3) // 4 - 1),
    )
    customers = gaps.group_by("product_id").agg(customers=n.cast(pl.Int64))
    soon = pl.lit(None, pl.Int64).alias("due")
    told = rhythm.join(customers, on="product_id")
    if due is not None:
        told = told.join(due.group_by("product_id").agg(due=n.cast(pl.Int64)), on="product_id", how="left")
        soon = pl.col("due").fill_null(0)
    return (
        told.select(
            "product_id",
            "customers",
            "again",
            (pl.col("again") / pl.col("customers")).alias("share_again"),
            "low_days",
            "median_days",
            "high_days",
            soon,
        )
        .sort("again", "customers", "product_id", descending=[True, False, False])
        .head(most)
    )
