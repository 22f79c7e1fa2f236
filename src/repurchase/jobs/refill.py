"""Which product runs out for whom: orders with products, read partition by partition.

Products do not stand in a ledger. Of each partition only the purchases summed up by customer and product are kept, and
counts of what was bought after what, which add up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.marketing.companions import LEAST_LIFT, LEAST_SUPPORT, Steps, companions, count_steps
from repurchase.marketing.refill import (
    DUE_CHANCE,
    DUE_PURCHASES,
    NOT_GOODS,
    due_now,
    due_products,
    product_gaps,
    refill_rates,
)
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.cleaning import clean_rows, today_in
from repurchase.orders.policy import rulings
from repurchase.orders.pseudonyms import IdKey, veiled
from repurchase.orders.sources import OrderLog, open_orders
from repurchase.orders.spill import partition_bounds, partitions_needed, spill_rows, survey_rows
from repurchase.orders.survey import Survey, surveyed_columns
from repurchase.orders.values import read_values
from repurchase.orders.vocabulary import plain
from repurchase.settings import Settings

__all__ = ["WITHIN_DAYS", "Refills", "find_refills"]

WITHIN_DAYS = 30
"""Days ahead within which a product that runs out is called due."""
_NAMES = ("productname", "lineitemname", "itemname", "producttitle", "description", "title", "varenavn", "artikel")


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


@dataclass(frozen=True)
class _Part:
    """Of some customers: product days, and how products are called and sorted."""

    days: pl.DataFrame
    products: pl.DataFrame


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
    parts = list(_parts(veiled(log, key) if key else log, settings, folder, as_of))
    gaps = pl.concat(product_gaps(part.days, as_of=as_of) for part in parts)
    if not gaps.height:
        raise InputError(f"{log.source}: no purchase of a named product by {as_of}.")
    due = due_now(
        due_products(gaps, refill_rates(gaps), as_of=as_of, within_days=within_days),
        as_of=as_of,
        within_days=within_days,
    )
    products = pl.concat(part.products for part in parts).unique("product_id", keep="first", maintain_order=True)
    category = dict(products.drop_nulls("category").select("product_id", "category").iter_rows())
    wanted = due["product_id"].unique()
    steps = Steps.none()
    for part in parts:
        steps += count_steps(part.days, wanted, category=category or None)
    return Refills(
        _rows(due, companions(steps), products),
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
                f"what others bought on the purchase day after{', of the same category' if category else ''}: at "
                f"least {LEAST_SUPPORT} customers, at least {LEAST_LIFT:g} times as often as by chance"
            ),
        },
    )


def _rows(due: pl.DataFrame, goes_with: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    called = dict(products.select("product_id", pl.coalesce("name", "product_id")).iter_rows())
    joined = due.join(goes_with, on="product_id", how="left", maintain_order="left")
    percent = (100.0 * pl.col("share")).round().cast(pl.Int64)
    words = pl.format(
        "{} % of those who bought the one bought the other next, {} times as often as usual ({} customers)",
        percent,
        pl.col("lift").round(1),
        pl.col("support"),
    )
    return joined.select(
        "customer_id",
        refill_product=pl.col("product_id").replace_strict(called, default=None, return_dtype=pl.String),
        refill_on="refill_on",
        refill_low="refill_low",
        refill_high="refill_high",
        refill_chance_percent=(100.0 * pl.col("chance")).round().cast(pl.Int64),
        goes_with=pl.col("goes_with").replace_strict(called, default=None, return_dtype=pl.String),
        goes_with_words=words,
    )


def _parts(log: OrderLog, settings: Settings, folder: Path, as_of: date) -> Iterator[_Part]:
    layout, source, today = log.layout, log.source, today_in(settings)
    needed = (
        1
        if layout.first_line_only
        else settings.partitions or partitions_needed(log.n_rows, len(log.schema), memory_gb=settings.memory_gb)
    )
    if needed == 1:
        raw = log.read()
        forms = Survey.of(raw, layout).decide(layout, settings=settings, source=source)
        reading = read_values(raw, layout, forms, settings=settings)
        ruled = rulings(reading.facts, layout, settings=settings, source=source, today=today)
        yield _part(raw, clean_rows(raw, reading, layout, ruled, settings=settings).kept, as_of)
        return
    columns = dict.fromkeys([layout.columns["customer_id"], *surveyed_columns(log.schema, layout)])
    survey, ids = survey_rows(log.batches(list(columns)), layout)
    forms = survey.decide(layout, settings=settings, source=source)
    bounds = partition_bounds(ids, partitions=needed)
    spill, facts = spill_rows(log.batches(), layout, forms, bounds, folder / "rows", settings=settings)
    ruled = rulings(facts, layout, settings=settings, source=source, today=today)
    for number in spill:
        raw = spill.rows(number)
        spill.remove(number)
        reading = read_values(raw, layout, forms, settings=settings)
        yield _part(raw, clean_rows(raw, reading, layout, ruled, settings=settings).kept, as_of)


def _part(raw: pl.DataFrame, kept: pl.DataFrame, as_of: date) -> _Part:
    by_name = {plain(column): column for column in reversed(raw.columns)}
    named = next((by_name[name] for name in _NAMES if name in by_name), None)
    name = (
        raw[named].cast(pl.String).gather(kept["row"])
        if named
        else pl.repeat(None, kept.height, dtype=pl.String, eager=True)
    )
    category = pl.col("category") if "category" in kept.columns else pl.lit(None, pl.String)
    sold = (pl.col("amount") > 0).fill_null(value=True) & (pl.col("order_date").dt.date() <= as_of)
    other = pl.any_horizontal(pl.col(column).str.contains(NOT_GOODS) for column in ("name", "product_id"))
    goods = pl.col("product_id").is_not_null() & ~other.fill_null(value=False)
    lines = kept.with_columns(name=name, category=category).filter(sold & goods)
    days = lines.select("customer_id", "product_id", day=pl.col("order_date").dt.date()).unique()
    products = lines.group_by("product_id", maintain_order=True).agg(pl.col("name").last(), pl.col("category").last())
    return _Part(days, products.select("product_id", "name", pl.col("category").cast(pl.String)))
