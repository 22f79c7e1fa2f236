"""Products of an order log: how often bought again, due refills, and companions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.i18n.formatting import format_percent
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.marketing.products import (
    MIN_DUE_PROBABILITY,
    MIN_DUE_PURCHASES,
    MIN_LIFT,
    MIN_SUPPORT,
    NON_PRODUCT_PATTERN,
    RELATION_KEYS,
    PurchasePairs,
    companion_products,
    count_purchase_pairs,
    due_products,
    due_soon,
    most_likely_due,
    product_gaps,
    product_rhythm,
    refill_rates,
)
from repurchase.orders.log import open_orders
from repurchase.orders.pipeline import CleanedRows, clean_log
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.sources.vocabulary import column_key


def _text_column(rows: CleanedRows, *names: str) -> pl.Series:
    """Read a column that has no role, by the first of its names."""
    by_name = {column_key(column): column for column in reversed(rows.raw.columns)}
    column = next((by_name[name] for name in names if name in by_name), None)
    if column is None:
        return pl.repeat(None, rows.kept.height, dtype=pl.String, eager=True)
    return rows.raw[column].cast(pl.String).gather(rows.kept["row"])


_REFILL_DAYS = 30
"""Days ahead within which a product that runs out is called due."""
_PRODUCT_COLUMNS = ("name", "category", "brand")
"""What a log may say of a product; where it says several things, the latest holds."""
_NAMES = ("productname", "lineitemname", "itemname", "producttitle", "description", "title", "varenavn", "artikel")
_BRANDS = (
    "brand",
    "brandname",
    "productbrand",
    "lineitemvendor",
    "vendor",
    "productvendor",
    "manufacturer",
    "manufacturername",
    "manufacturerid",
    "merke",
    "varemerke",
    "merk",
    "бренд",
    "производитель",
)


@dataclass(frozen=True)
class ProductPartition:
    """Of some customers: on which days they bought which product, and what products were called and when."""

    days: pl.DataFrame
    product_facts: pl.DataFrame

    @classmethod
    def of(cls, lines: CleanedRows, as_of: date) -> "ProductPartition":
        """Sum up lines that were paid for, of what is goods."""
        category = pl.col("category") if "category" in lines.kept.columns else pl.lit(None, pl.String)
        sold = (pl.col("amount") > 0).fill_null(value=True) & (pl.col("order_date").dt.date() <= as_of)
        other = pl.any_horizontal(pl.col(column).str.contains(NON_PRODUCT_PATTERN) for column in ("name", "product_id"))
        goods = pl.col("product_id").is_not_null() & ~other.fill_null(value=False)
        named = lines.kept.with_columns(
            name=_text_column(lines, *_NAMES).str.strip_chars(),
            category=category.cast(pl.String),
            brand=_text_column(lines, *_BRANDS).str.strip_chars(),
        )
        bought = named.filter(sold & goods)
        days = bought.select("customer_id", "product_id", day=pl.col("order_date").dt.date()).unique()
        long = bought.unpivot(_PRODUCT_COLUMNS, index=["product_id", "order_date"], variable_name="kind").filter(
            pl.col("value").is_not_null() & (pl.col("value") != "")
        )
        return cls(days, long.group_by("product_id", "kind", "value").agg(seen=pl.col("order_date").max()))


@dataclass(frozen=True)
class ProductHistory:
    """The products of a whole log on a day."""

    parts: Sequence[ProductPartition]
    as_of: date
    within_days: int = _REFILL_DAYS

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """One row per customer and product (see ``marketing.products.product_gaps``)."""
        return pl.concat(product_gaps(part.days, as_of=self.as_of) for part in self.parts)

    @cached_property
    def due_soon(self) -> pl.DataFrame:
        """What runs out within these days (see ``marketing.products.due_soon``)."""
        chances = due_products(self.gaps, refill_rates(self.gaps), as_of=self.as_of, within_days=self.within_days)
        return due_soon(chances, as_of=self.as_of, within_days=self.within_days)

    @cached_property
    def rhythm(self) -> pl.DataFrame:
        """The products that most customers bought again (see ``product_rhythm``)."""
        return product_rhythm(self.gaps, due=self.due_soon)

    @cached_property
    def products(self) -> pl.DataFrame:
        """``product_id``, ``name``, ``category``, ``brand`` as last seen; null where the log does not say."""
        product_facts = pl.concat(part.product_facts for part in self.parts).sort("product_id", "kind", "seen", "value")
        last = product_facts.unique(["product_id", "kind"], keep="last", maintain_order=True)
        products = self.gaps.select("product_id").unique().sort("product_id")
        for kind in _PRODUCT_COLUMNS:
            of_kind = last.filter(pl.col("kind") == kind).select("product_id", pl.col("value").alias(kind))
            products = products.join(of_kind, on="product_id", how="left", maintain_order="left")
        return products

    @cached_property
    def kinds(self) -> Mapping[str, Mapping[str, str]]:
        """Category and brand of the products that have one."""
        return {
            kind: dict(self.products.drop_nulls(kind).select("product_id", kind).iter_rows())
            for kind in _PRODUCT_COLUMNS[1:]
        }

    @cached_property
    def called(self) -> Mapping[str, str]:
        """Product ids to names, or to themselves."""
        return dict(self.products.select("product_id", pl.coalesce("name", "product_id")).iter_rows())

    def companions(self, wanted: pl.Series) -> pl.DataFrame:
        """Find what goes with some products."""
        category, brand = (self.kinds[kind] for kind in ("category", "brand"))
        steps = PurchasePairs.none()
        for part in self.parts:
            steps += count_purchase_pairs(part.days, wanted, category=category, brand=brand)
        names = (
            pl.col(name).replace_strict(self.called, default=None, return_dtype=pl.String)
            for name in ("product_id", "goes_with")
        )
        first, second = names  # one product of two ids does not go with itself
        steps = replace(steps, pairs=steps.pairs.filter(first != second))
        return companion_products(steps, category=category, brand=brand)


@dataclass(frozen=True)
class DueRefills:
    """What is due."""

    rows: pl.DataFrame
    account: dict[str, Any]


def find_refills(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date,
    folder: Path,
    pseudonymizer: Pseudonymizer | None = None,
    within_days: int = _REFILL_DAYS,
) -> DueRefills:
    """Find the product that runs out next for each customer, and what goes with it."""
    spool = folder / "spool"
    spool.mkdir(parents=True)
    log = open_orders(source, settings=settings, spool=spool)
    if "product_id" not in log.layout.columns:
        raise InputError(
            f"{log.source}: no column of products, so no refill can be predicted. Name it: --columns product_id=..."
        )
    log = pseudonymizer.orders(log) if pseudonymizer else log
    _, lines = clean_log(log, settings=settings, folder=folder / "rows")
    shelf = ProductHistory([ProductPartition.of(part, as_of) for part in lines], as_of, within_days)
    gaps = shelf.gaps
    if not gaps.height:
        raise InputError(f"{log.source}: no purchase of a named product by {as_of}.")
    due = most_likely_due(shelf.due_soon)
    goes_with = shelf.companions(due["product_id"].unique())
    related = " or ".join(kind for kind, known in shelf.kinds.items() if known)
    return DueRefills(
        _refill_rows(due, goes_with, shelf),
        {
            "source": log.source,
            "within_days": within_days,
            "customers_and_products": gaps.height,
            "due": due.height,
            "rule": (
                f"bought on at least {MIN_DUE_PURCHASES} days, runs out within {within_days} days, and is "
                "bought again in "
                f"these days with a chance of at least {format_percent(MIN_DUE_PROBABILITY)}; the likeliest "
                "product of a customer"
            ),
            "goes_with": (
                f"what others bought on the purchase day after{f', of the same {related}' if related else ''}: at "
                f"least {MIN_SUPPORT} customers, at least {MIN_LIFT:g} times as often as by chance"
            ),
        },
    )


def _refill_rows(due: pl.DataFrame, goes_with: pl.DataFrame, shelf: ProductHistory) -> pl.DataFrame:
    joined = due.join(goes_with, on="product_id", how="left", maintain_order="left")
    how = pl.struct(
        pl.when(pl.col("goes_with").is_not_null()).then(pl.lit("share")).alias("key"),
        pl.col("relation").replace_strict(RELATION_KEYS, default=None, return_dtype=pl.String),
        "share",
        "lift",
        pl.col("support").alias("customers"),
    )
    return joined.select(
        "customer_id",
        refill_product=pl.col("product_id").replace_strict(shelf.called, default=None, return_dtype=pl.String),
        refill_on="refill_on",
        refill_low="refill_low",
        refill_high="refill_high",
        refill_chance_percent=(100.0 * pl.col("chance")).round().cast(pl.Int64),
        goes_with=pl.col("goes_with").replace_strict(shelf.called, default=None, return_dtype=pl.String),
        goes_with_words=how,
    )
