"""Companion products, product repurchase rhythm and refill dates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

SAME_CATEGORY, SAME_BRAND, BOUGHT_NEXT = "same category", "same brand", "bought next by others"
RELATION_KEYS = {SAME_CATEGORY: "same_category", SAME_BRAND: "same_brand", BOUGHT_NEXT: "bought_next"}
"""How a product goes with another, and the key of the message that says so."""
"""How a product goes with another."""

MIN_SUPPORT, MIN_LIFT = 20, 1.5
"""Customers who must have bought a pair of products, and how many times more often than by chance."""
_BATCH_SIZE = 200
"""Customers whose pairs are counted together, so that memory stays bounded."""


_PAIR_SCHEMA = {"product_id": pl.String, "goes_with": pl.String, "steps": pl.Int64, "customers": pl.Int64}


@dataclass(frozen=True)
class PurchasePairs:
    """Counts that add up over customers."""

    pairs: pl.DataFrame
    before: pl.DataFrame
    after: pl.DataFrame
    total: int

    @classmethod
    def none(cls) -> "PurchasePairs":
        """Count nobody."""
        single = {"product_id": pl.String, "steps": pl.Int64}
        return cls(pl.DataFrame(schema=_PAIR_SCHEMA), pl.DataFrame(schema=single), pl.DataFrame(schema=single), 0)

    def __add__(self, other: "PurchasePairs") -> "PurchasePairs":
        """Count both, which share no customer."""
        return PurchasePairs(
            _sum_counts([self.pairs, other.pairs], ["product_id", "goes_with"]),
            _sum_counts([self.before, other.before], ["product_id"]),
            _sum_counts([self.after, other.after], ["product_id"]),
            self.total + other.total,
        )


def count_purchase_pairs(
    days: pl.DataFrame,
    wanted: pl.Series,
    *,
    category: Mapping[str, str] | None = None,
    brand: Mapping[str, str] | None = None,
) -> PurchasePairs:
    """Count what was bought on the purchase day after a product."""
    known = days.filter(pl.col("product_id").is_not_null()).unique()
    place = pl.col("day").rank("dense").over("customer_id").cast(pl.Int32)
    placed = known.with_columns(place=place)
    steps = placed.select("customer_id", "place").unique()
    total = int(steps.filter(pl.col("place") > 1).height)
    last = pl.col("place").max().over("customer_id")
    first_days, second_days = placed.filter(pl.col("place") < last), placed.filter(pl.col("place") > 1)
    pairs = [pl.DataFrame(schema=_PAIR_SCHEMA)]
    kinds = [kind for kind in (category, brand) if kind]
    sought = first_days.filter(pl.col("product_id").is_in(wanted.implode()))
    customers = sought["customer_id"].unique(maintain_order=True)
    for start in range(0, len(customers), _BATCH_SIZE):
        some = customers.slice(start, _BATCH_SIZE).implode()
        pairs.append(_pair_rows(sought.filter(pl.col("customer_id").is_in(some)), second_days, kinds))
    counted = (frame.group_by("product_id").agg(steps=pl.len().cast(pl.Int64)) for frame in (first_days, second_days))
    before, after = counted
    return PurchasePairs(_sum_counts(pairs, ["product_id", "goes_with"]), before, after, total)


def _pair_rows(sought: pl.DataFrame, second_days: pl.DataFrame, kinds: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    after = second_days.select("customer_id", pl.col("place") - 1, goes_with="product_id")
    both = sought.select("customer_id", "place", "product_id").join(after, on=["customer_id", "place"])
    both = both.filter(pl.col("product_id") != pl.col("goes_with"))
    if kinds:
        both = both.filter(pl.any_horizontal(_shares_attribute(kind) for kind in kinds))
    counted = both.group_by("product_id", "goes_with").agg(
        steps=pl.len().cast(pl.Int64), customers=pl.col("customer_id").n_unique().cast(pl.Int64)
    )
    return counted.select(list(_PAIR_SCHEMA))


def _shares_attribute(kind: Mapping[str, str]) -> pl.Expr:
    first, second = (
        pl.col(name).replace_strict(kind, default=None, return_dtype=pl.String) for name in ("product_id", "goes_with")
    )
    return (first == second).fill_null(value=False)


def _sum_counts(parts: Iterable[pl.DataFrame], key: list[str]) -> pl.DataFrame:
    return pl.concat(parts).group_by(key).agg(pl.all().sum()).sort(key)


def companion_products(
    steps: PurchasePairs,
    *,
    least_support: int = MIN_SUPPORT,
    least_lift: float = MIN_LIFT,
    category: Mapping[str, str] | None = None,
    brand: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Choose what goes with each product."""
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
    of_brand = pl.when(_shares_attribute(brand or {})).then(pl.lit(SAME_BRAND)).otherwise(pl.lit(BOUGHT_NEXT))
    relation = pl.when(_shares_attribute(category or {})).then(pl.lit(SAME_CATEGORY)).otherwise(of_brand)
    return ranked.unique("product_id", keep="first", maintain_order=True).with_columns(relation=relation)


_MAX_PRODUCTS = 20
"""Products that are told of."""


def product_rhythm(gaps: pl.DataFrame, *, due: pl.DataFrame | None = None, most: int = _MAX_PRODUCTS) -> pl.DataFrame:
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


_Floats = npt.NDArray[np.float64]

_PRODUCT_DAYS = {"customer_id": pl.String, "product_id": pl.String, "day": pl.Date}
"""What is read: one row per customer, product and day on which it was bought."""
_OWN_GAPS, _PRODUCT_GAPS, _OWN_SPREAD = 3.0, 10.0, 6.0
"""How many gaps the product's middle counts beside the customer's own, the shop's beside the product's, and the shop's
spread beside the customer's own."""
_OWN_PRIOR_PURCHASES, _PRODUCT_PRIOR_PURCHASES = 2.0, 20.0
"""The same of purchases, for the share that is followed by another."""
_LAST_PURCHASE_WEIGHT = 0.5
"""What the last purchase, of which nobody knows yet, counts among those that could have been followed."""
_MIN_SPREAD = 0.2
NON_PRODUCT_PATTERN = (
    r"(?i)\b(shipping|insurance|postage|delivery|gift ?card|e-?gift|tip|donation|surcharge|frakt|porto|gavekort|"
    r"verzendkosten|cadeaubon|доставка)\b|^(post|dot|m|d|c2|bank charges|amazonfee|adjust.*|manual)$"
)
"""Lines that nobody runs out of, by the name or id of the product."""
MIN_DUE_PURCHASES, MIN_DUE_PROBABILITY = 2, 0.10
"""Purchases of a product from which it is called due, and the chance."""


@dataclass(frozen=True)
class _RefillRates:
    """What a shop's purchases say of its products."""

    products: pl.DataFrame
    log_gap: float
    spread: float
    again: float


def product_gaps(days: pl.DataFrame, *, as_of: date) -> pl.DataFrame:
    """Sum up each customer's purchases of each product."""
    known = days.filter((pl.col("day") <= as_of) & pl.col("product_id").is_not_null()).unique()
    own = ["customer_id", "product_id"]
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in own)
    gap = pl.when(same).then(pl.col("day").diff().dt.total_days())
    log = pl.col("gap").cast(pl.Float64).log()
    return (
        known.sort(*own, "day")
        .with_columns(gap=gap)
        .with_columns(log=log, log2=log**2)
        .group_by(own, maintain_order=True)
        .agg(
            purchases=pl.len(),
            first=pl.col("day").first(),
            last=pl.col("day").last(),
            last_gap=pl.col("gap").last(),
            sum_log=pl.col("log").sum(),
            sum_log2=pl.col("log2").sum(),
        )
    )


def refill_rates(gaps: pl.DataFrame) -> _RefillRates:
    """Learn how soon, and how often at all, products are bought again."""
    again = pl.col("purchases") - 1
    whole = gaps.select(n=again.sum(), tries=pl.col("purchases").sum(), sum=pl.col("sum_log").sum()).row(0, named=True)
    n = max(int(whole["n"] or 0), 1)
    log_gap, share = float(whole["sum"] or 0.0) / n, float(n) / max(int(whole["tries"] or 0), 1)
    products = gaps.group_by("product_id").agg(
        n=again.sum(), tries=pl.col("purchases").sum(), sum=pl.col("sum_log").sum()
    )
    products = products.select(
        "product_id",
        log_gap=(pl.col("sum") + _PRODUCT_GAPS * log_gap) / (pl.col("n") + _PRODUCT_GAPS),
        again=(pl.col("n") + _PRODUCT_PRIOR_PURCHASES * share) / (pl.col("tries") + _PRODUCT_PRIOR_PURCHASES),
    ).sort("product_id")
    placed = gaps.filter(pl.col("purchases") > 1).join(products, on="product_id", how="left")
    # Squares about the customer's own shrunk middle, with one degree of freedom taken by each pair's own part.
    about = pl.col("sum_log2") - pl.col("sum_log") ** 2 / again
    inner = placed.filter(again > 1).select(squares=about.sum(), freedom=(again - 1).sum()).row(0, named=True)
    spread = float(np.sqrt((inner["squares"] or 0.0) / max(int(inner["freedom"] or 0), 1)))
    return _RefillRates(products, log_gap, max(spread, _MIN_SPREAD), min(share, 0.99))


def due_products(gaps: pl.DataFrame, rates: _RefillRates, *, as_of: date, within_days: int) -> pl.DataFrame:
    """Say when each customer's products run out."""
    from scipy.special import ndtr, ndtri

    joined = gaps.join(rates.products, on="product_id", how="left", maintain_order="left")
    n = (joined["purchases"] - 1).cast(pl.Float64).to_numpy()
    of_product = joined["log_gap"].fill_null(rates.log_gap).to_numpy()
    middle = (joined["sum_log"].to_numpy() + _OWN_GAPS * of_product) / (n + _OWN_GAPS)
    again = joined["again"].fill_null(rates.again).to_numpy()
    share = (n + _OWN_PRIOR_PURCHASES * again) / (n + _LAST_PURCHASE_WEIGHT + _OWN_PRIOR_PURCHASES)
    squares = joined["sum_log2"].to_numpy() - joined["sum_log"].to_numpy() ** 2 / np.maximum(n, 1.0)
    freedom = np.maximum(n - 1.0, 0.0)
    variance = (np.maximum(squares, 0.0) + _OWN_SPREAD * rates.spread**2) / (freedom + _OWN_SPREAD)
    spread = np.sqrt(variance * (1.0 + 1.0 / (n + _OWN_GAPS)))
    silence = (pl.Series([as_of]) - joined["last"]).dt.total_days().cast(pl.Float64).to_numpy()

    def before(days: _Floats) -> _Floats:
        return np.asarray(ndtr((np.log(np.maximum(days, 0.5)) - middle) / spread))

    passed = before(silence)
    chance = share * (before(silence + within_days) - passed) / (1.0 - share * passed)
    left = np.maximum(1.0 - passed, 1e-12)

    def day(part: float) -> pl.Series:
        wait = np.exp(middle + spread * ndtri(np.clip(passed + part * left, 1e-12, 1.0 - 1e-9))) - silence
        return pl.Series(np.clip(np.rint(wait), 1, 3650).astype(np.int64))

    on = {"refill_on": 0.5, "refill_low": 0.1, "refill_high": 0.9}
    dates = [
        (pl.lit(as_of) + pl.duration(days=pl.lit(day(part)))).cast(pl.Date).alias(name) for name, part in on.items()
    ]
    return (
        joined.drop("log_gap", "again", "sum_log", "sum_log2")
        .with_columns(chance=pl.Series(chance))
        .with_columns(dates)
    )


def due_soon(due: pl.DataFrame, *, as_of: date, within_days: int) -> pl.DataFrame:
    """Keep the products that are worth a reminder."""
    runs_out = pl.col("refill_on") <= as_of + timedelta(days=within_days)
    return due.filter((pl.col("purchases") >= MIN_DUE_PURCHASES) & (pl.col("chance") >= MIN_DUE_PROBABILITY) & runs_out)


def most_likely_due(due: pl.DataFrame) -> pl.DataFrame:
    """Choose the one product per customer that is worth a reminder."""
    ranked = due.sort("customer_id", "chance", "product_id", descending=[False, True, False])
    return ranked.unique("customer_id", keep="first", maintain_order=True)
