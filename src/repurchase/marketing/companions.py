"""What goes with a product: what others bought on the purchase day after, more often than by chance.

Of all steps from one purchase day of a customer to the next, let n_a have product a on the first day, n_b have b on the
second, n_ab both, and N be all: lift = (n_ab / n_a) / (n_b / N). Support is the number of customers among the n_ab.
Where the log knows categories or brands, only pairs that share one of them count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

__all__ = ["LEAST_LIFT", "LEAST_SUPPORT", "NEXT", "SAME_BRAND", "SAME_CATEGORY", "Steps", "companions", "count_steps"]

SAME_CATEGORY, SAME_BRAND, NEXT = "same category", "same brand", "bought next by others"
"""How a product goes with another."""

LEAST_SUPPORT, LEAST_LIFT = 20, 1.5
"""Customers who must have bought a pair of products, and how many times more often than by chance."""
_AT_ONCE = 200
"""Customers whose pairs are counted together, so that memory stays bounded."""


_PAIRS = {"product_id": pl.String, "goes_with": pl.String, "steps": pl.Int64, "customers": pl.Int64}


@dataclass(frozen=True)
class Steps:
    """Counts that add up over customers.

    Parameters
    ----------
    pairs : DataFrame
        ``product_id``, ``goes_with``, ``steps``, ``customers``.
    before, after : DataFrame
        ``product_id`` and ``steps`` with it on the first, and on the second day.
    total : int
        All steps.
    """

    pairs: pl.DataFrame
    before: pl.DataFrame
    after: pl.DataFrame
    total: int

    @classmethod
    def none(cls) -> "Steps":
        """Count nobody.

        Returns
        -------
        Steps
            What adds nothing.
        """
        single = {"product_id": pl.String, "steps": pl.Int64}
        return cls(pl.DataFrame(schema=_PAIRS), pl.DataFrame(schema=single), pl.DataFrame(schema=single), 0)

    def __add__(self, other: "Steps") -> "Steps":
        """Count both, which share no customer."""
        return Steps(
            _added([self.pairs, other.pairs], ["product_id", "goes_with"]),
            _added([self.before, other.before], ["product_id"]),
            _added([self.after, other.after], ["product_id"]),
            self.total + other.total,
        )


def count_steps(
    days: pl.DataFrame,
    wanted: pl.Series,
    *,
    category: Mapping[str, str] | None = None,
    brand: Mapping[str, str] | None = None,
) -> Steps:
    """Count what was bought on the purchase day after a product.

    Parameters
    ----------
    days : DataFrame
        See ``refill.PRODUCT_DAYS``: all days of some customers.
    wanted : Series of str
        Products for which something is looked for.
    category, brand : mapping of str to str, optional
        Of products. With either, only pairs of one category or of one brand are counted; with neither, all are.

    Returns
    -------
    Steps
        Of these customers.
    """
    known = days.filter(pl.col("product_id").is_not_null()).unique()
    place = pl.col("day").rank("dense").over("customer_id").cast(pl.Int32)
    placed = known.with_columns(place=place)
    steps = placed.select("customer_id", "place").unique()
    total = int(steps.filter(pl.col("place") > 1).height)
    last = pl.col("place").max().over("customer_id")
    first_days, second_days = placed.filter(pl.col("place") < last), placed.filter(pl.col("place") > 1)
    pairs = [pl.DataFrame(schema=_PAIRS)]
    kinds = [kind for kind in (category, brand) if kind]
    sought = first_days.filter(pl.col("product_id").is_in(wanted.implode()))
    customers = sought["customer_id"].unique(maintain_order=True)
    for start in range(0, len(customers), _AT_ONCE):
        some = customers.slice(start, _AT_ONCE).implode()
        pairs.append(_pairs(sought.filter(pl.col("customer_id").is_in(some)), second_days, kinds))
    counted = (frame.group_by("product_id").agg(steps=pl.len().cast(pl.Int64)) for frame in (first_days, second_days))
    before, after = counted
    return Steps(_added(pairs, ["product_id", "goes_with"]), before, after, total)


def _pairs(sought: pl.DataFrame, second_days: pl.DataFrame, kinds: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    after = second_days.select("customer_id", pl.col("place") - 1, goes_with="product_id")
    both = sought.select("customer_id", "place", "product_id").join(after, on=["customer_id", "place"])
    both = both.filter(pl.col("product_id") != pl.col("goes_with"))
    if kinds:
        both = both.filter(pl.any_horizontal(_shared(kind) for kind in kinds))
    counted = both.group_by("product_id", "goes_with").agg(
        steps=pl.len().cast(pl.Int64), customers=pl.col("customer_id").n_unique().cast(pl.Int64)
    )
    return counted.select(list(_PAIRS))


def _shared(kind: Mapping[str, str]) -> pl.Expr:
    first, second = (
        pl.col(name).replace_strict(kind, default=None, return_dtype=pl.String) for name in ("product_id", "goes_with")
    )
    return (first == second).fill_null(value=False)


def _added(parts: Iterable[pl.DataFrame], key: list[str]) -> pl.DataFrame:
    return pl.concat(parts).group_by(key).agg(pl.all().sum()).sort(key)


def companions(
    steps: Steps,
    *,
    least_support: int = LEAST_SUPPORT,
    least_lift: float = LEAST_LIFT,
    category: Mapping[str, str] | None = None,
    brand: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Choose what goes with each product.

    Parameters
    ----------
    steps : Steps
        Of all customers.
    least_support : int
        Customers who must have bought the pair.
    least_lift : float
        How many times more often than by chance.
    category, brand : mapping of str to str, optional
        As the steps were counted with.

    Returns
    -------
    DataFrame
        One row per product that has a companion: ``product_id``, ``goes_with``, ``lift``, ``share`` (of the steps from
        the product), ``support`` (customers) and ``relation`` (the same category, else the same brand, else neither
        known to be so: bought next by others); the one bought most beyond chance wins.
    """
    after = steps.after.rename({"product_id": "goes_with", "steps": "after"})
    before = steps.before.rename({"steps": "before"})
    joined = steps.pairs.join(before, on="product_id").join(after, on="goes_with")
    share = pl.col("steps") / pl.col("before")
    measured = joined.select(
        "product_id",
        "goes_with",
        lift=share / (pl.col("after") / max(steps.total, 1)),
        share=share,
        support=pl.col("customers"),
    )
    kept = measured.filter((pl.col("support") >= least_support) & (pl.col("lift") >= least_lift))
    beyond = pl.col("share") - pl.col("share") / pl.col("lift")
    ranked = kept.sort("product_id", beyond, "goes_with", descending=[False, True, False])
    of_brand = pl.when(_shared(brand or {})).then(pl.lit(SAME_BRAND)).otherwise(pl.lit(NEXT))
    relation = pl.when(_shared(category or {})).then(pl.lit(SAME_CATEGORY)).otherwise(of_brand)
    return ranked.unique("product_id", keep="first", maintain_order=True).with_columns(relation=relation)
