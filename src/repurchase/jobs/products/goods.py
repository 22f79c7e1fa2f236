"""What a log says of its products: when they were bought, how often again, for whom they run out, what goes with them.

Products do not stand in a ledger. Of each partition only the days on which a customer bought a product are kept, and
counts of what was bought after what, which add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import polars as pl

from repurchase.jobs.products.lines import CleanLines
from repurchase.marketing.companions import Steps, companions, count_steps
from repurchase.marketing.product_rhythm import product_rhythm
from repurchase.marketing.refill import NOT_GOODS, due_products, due_soon, product_gaps, refill_rates

__all__ = ["WITHIN_DAYS", "GoodsPart", "Shelf"]

WITHIN_DAYS = 30
"""Days ahead within which a product that runs out is called due."""
KINDS = ("name", "category", "brand")
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
class GoodsPart:
    """Of some customers: on which days they bought which product, and what products were called and when.

    Parameters
    ----------
    days : DataFrame
        See ``refill.PRODUCT_DAYS``.
    told : DataFrame
        ``product_id``, ``kind`` (of ``KINDS``), ``value``, and when it was last ``seen``: one row per value.
    """

    days: pl.DataFrame
    told: pl.DataFrame

    @classmethod
    def of(cls, lines: CleanLines, as_of: date) -> "GoodsPart":
        """Sum up lines that were paid for, of what is goods.

        Parameters
        ----------
        lines : CleanLines
            All lines of some customers, with ``product_id``.
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        GoodsPart
            Up to that day.
        """
        category = pl.col("category") if "category" in lines.kept.columns else pl.lit(None, pl.String)
        sold = (pl.col("amount") > 0).fill_null(value=True) & (pl.col("order_date").dt.date() <= as_of)
        other = pl.any_horizontal(pl.col(column).str.contains(NOT_GOODS) for column in ("name", "product_id"))
        goods = pl.col("product_id").is_not_null() & ~other.fill_null(value=False)
        named = lines.kept.with_columns(
            name=lines.text(*_NAMES).str.strip_chars(),
            category=category.cast(pl.String),
            brand=lines.text(*_BRANDS).str.strip_chars(),
        )
        bought = named.filter(sold & goods)
        days = bought.select("customer_id", "product_id", day=pl.col("order_date").dt.date()).unique()
        long = bought.unpivot(KINDS, index=["product_id", "order_date"], variable_name="kind").filter(
            pl.col("value").is_not_null() & (pl.col("value") != "")
        )
        return cls(days, long.group_by("product_id", "kind", "value").agg(seen=pl.col("order_date").max()))


@dataclass(frozen=True)
class Shelf:
    """The products of a whole log on a day.

    Parameters
    ----------
    parts : sequence of GoodsPart
        Which share no customer.
    as_of : date
        Last day known, inclusive.
    within_days : int
        Days ahead within which a product that runs out is called due.
    """

    parts: Sequence[GoodsPart]
    as_of: date
    within_days: int = WITHIN_DAYS

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """One row per customer and product (see ``refill.product_gaps``)."""
        return pl.concat(product_gaps(part.days, as_of=self.as_of) for part in self.parts)

    @cached_property
    def due_soon(self) -> pl.DataFrame:
        """What runs out within these days (see ``refill.due_soon``)."""
        chances = due_products(self.gaps, refill_rates(self.gaps), as_of=self.as_of, within_days=self.within_days)
        return due_soon(chances, as_of=self.as_of, within_days=self.within_days)

    @cached_property
    def rhythm(self) -> pl.DataFrame:
        """The products that most customers bought again (see ``product_rhythm``)."""
        return product_rhythm(self.gaps, due=self.due_soon)

    @cached_property
    def products(self) -> pl.DataFrame:
        """``product_id``, ``name``, ``category``, ``brand`` as last seen; null where the log does not say."""
        told = pl.concat(part.told for part in self.parts).sort("product_id", "kind", "seen", "value")
        last = told.unique(["product_id", "kind"], keep="last", maintain_order=True)
        products = self.gaps.select("product_id").unique().sort("product_id")
        for kind in KINDS:
            of_kind = last.filter(pl.col("kind") == kind).select("product_id", pl.col("value").alias(kind))
            products = products.join(of_kind, on="product_id", how="left", maintain_order="left")
        return products

    @cached_property
    def kinds(self) -> Mapping[str, Mapping[str, str]]:
        """Category and brand of the products that have one."""
        return {kind: dict(self.products.drop_nulls(kind).select("product_id", kind).iter_rows()) for kind in KINDS[1:]}

    @cached_property
    def called(self) -> Mapping[str, str]:
        """Product ids to names, or to themselves."""
        return dict(self.products.select("product_id", pl.coalesce("name", "product_id")).iter_rows())

    def companions(self, wanted: pl.Series) -> pl.DataFrame:
        """Find what goes with some products.

        Parameters
        ----------
        wanted : Series of str
            Products.

        Returns
        -------
        DataFrame
            See ``companions.companions``.
        """
        category, brand = (self.kinds[kind] for kind in ("category", "brand"))
        steps = Steps.none()
        for part in self.parts:
            steps += count_steps(part.days, wanted, category=category, brand=brand)
        names = (
            pl.col(name).replace_strict(self.called, default=None, return_dtype=pl.String)
            for name in ("product_id", "goes_with")
        )
        first, second = names  # one product of two ids does not go with itself
        steps = replace(steps, pairs=steps.pairs.filter(first != second))
        return companions(steps, category=category, brand=brand)
