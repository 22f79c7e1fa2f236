"""Which product runs out for whom: orders with products, read partition by partition."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.products.goods import WITHIN_DAYS, GoodsPart, Shelf
from repurchase.jobs.products.lines import clean_lines
from repurchase.marketing.companions import LEAST_LIFT, LEAST_SUPPORT
from repurchase.marketing.refill import DUE_CHANCE, DUE_PURCHASES, likeliest_due
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.pseudonyms import IdKey, veiled
from repurchase.orders.sources import open_orders
from repurchase.settings import Settings

__all__ = ["WITHIN_DAYS", "Refills", "find_refills"]


@dataclass(frozen=True)
class Refills:
    """What is due.

    Parameters
    ----------
    rows : DataFrame
        One row per customer who has a product that runs out: ``refill_product``, ``refill_on``, ``refill_low``,
        ``refill_high``, ``refill_chance_percent``, ``goes_with``, ``goes_with_words``.
    account : dict
        JSON-able: counts and rules.
    """

    rows: pl.DataFrame
    account: dict[str, Any]


def find_refills(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date,
    folder: Path,
    key: IdKey | None = None,
    within_days: int = WITHIN_DAYS,
) -> Refills:
    """Find the product that runs out next for each customer, and what goes with it.

    Parameters
    ----------
    source : str or DatabaseSource
        Orders with products.
    settings : Settings
        How to read and clean.
    as_of : date
        Last day known, inclusive.
    folder : Path
        For what does not fit into memory.
    key : IdKey, optional
        With which the customers of the scores were hashed.
    within_days : int
        Days ahead.

    Returns
    -------
    Refills
        Rows and account.

    Raises
    ------
    InputError
        If the orders name no products, or none by ``as_of``.
    """
    spool = folder / "spool"
    spool.mkdir(parents=True)
    log = open_orders(source, settings=settings, spool=spool)
    if "product_id" not in log.layout.columns:
        raise InputError(
            f"{log.source}: no column of products, so no refill can be told. Say which it is: --columns product_id=..."
        )
    lines = clean_lines(veiled(log, key) if key else log, settings=settings, folder=folder)
    shelf = Shelf([GoodsPart.of(part, as_of) for part in lines], as_of, within_days)
    gaps = shelf.gaps
    if not gaps.height:
        raise InputError(f"{log.source}: no purchase of a named product by {as_of}.")
    due = likeliest_due(shelf.due_soon)
    goes_with = shelf.companions(due["product_id"].unique())
    related = " or ".join(kind for kind, known in shelf.kinds.items() if known)
    return Refills(
        _rows(due, goes_with, shelf),
        {
            "source": log.source,
            "within_days": within_days,
            "customers_and_products": gaps.height,
            "due": due.height,
            "rule": (
                f"bought on at least {DUE_PURCHASES} days, runs out within {within_days} days, and is bought again in "
                f"these days with a chance of at least {100 * DUE_CHANCE:g} %; the likeliest product of a customer"
            ),
            "goes_with": (
                f"what others bought on the purchase day after{f', of the same {related}' if related else ''}: at "
                f"least {LEAST_SUPPORT} customers, at least {LEAST_LIFT:g} times as often as by chance"
            ),
        },
    )


def _rows(due: pl.DataFrame, goes_with: pl.DataFrame, shelf: Shelf) -> pl.DataFrame:
    joined = due.join(goes_with, on="product_id", how="left", maintain_order="left")
    percent = (100.0 * pl.col("share")).round().cast(pl.Int64)
    words = pl.format(
        "{}: {} % of those who bought the one bought the other next, {} times as often as usual ({} customers)",
        pl.col("relation"),
        percent,
        pl.col("lift").round(1),
        pl.col("support"),
    )
    return joined.select(
        "customer_id",
        refill_product=pl.col("product_id").replace_strict(shelf.called, default=None, return_dtype=pl.String),
        refill_on="refill_on",
        refill_low="refill_low",
        refill_high="refill_high",
        refill_chance_percent=(100.0 * pl.col("chance")).round().cast(pl.Int64),
        goes_with=pl.col("goes_with").replace_strict(shelf.called, default=None, return_dtype=pl.String),
        goes_with_words=words,
    )
