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
        """Return the counts of no customers."""
        single = {"product_id": pl.String, "steps": pl.Int64}
        return cls(pl.DataFrame(schema=_PAIR_SCHEMA), pl.DataFrame(schema=single), pl.DataFrame(schema=single), 0)

    def __add__(self, other: "PurchasePairs") -> "PurchasePairs":
        """Add the counts of other customers."""
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
    numbered = known.with_columns(step=pl.col("day").rank("dense").over("customer_id").cast(pl.Int32))
    has_next = pl.col("step") < pl.col("step").max().over("customer_id")
    first_days, second_days = numbered.filter(has_next), numbered.filter(pl.col("step") > 1)
    total = second_days.select("customer_id", "step").unique().height
    attributes = [attribute for attribute in (category, brand) if attribute]
    of_wanted = first_days.filter(pl.col("product_id").is_in(wanted.implode()))
    customers = of_wanted["customer_id"].unique(maintain_order=True)
    pairs = [pl.DataFrame(schema=_PAIR_SCHEMA)]
    for start in range(0, len(customers), _BATCH_SIZE):
        is_in_batch = pl.col("customer_id").is_in(customers.slice(start, _BATCH_SIZE).implode())
        pairs.append(_pair_rows(of_wanted.filter(is_in_batch), second_days, attributes))
    before, after = (
        side.group_by("product_id").agg(steps=pl.len().cast(pl.Int64)) for side in (first_days, second_days)
    )
    return PurchasePairs(_sum_counts(pairs, ["product_id", "goes_with"]), before, after, total)


def _pair_rows(
    first_days: pl.DataFrame, second_days: pl.DataFrame, attributes: Sequence[Mapping[str, str]]
) -> pl.DataFrame:
    after = second_days.select("customer_id", pl.col("step") - 1, goes_with="product_id")
    both = first_days.join(after, on=["customer_id", "step"]).filter(pl.col("product_id") != pl.col("goes_with"))
    if attributes:
        both = both.filter(pl.any_horizontal(_shares_attribute(attribute) for attribute in attributes))
    return both.group_by("product_id", "goes_with").agg(
        steps=pl.len().cast(pl.Int64), customers=pl.col("customer_id").n_unique().cast(pl.Int64)
    )


def _shares_attribute(attribute: Mapping[str, str]) -> pl.Expr:
    first, second = (
        pl.col(name).replace_strict(attribute, default=None, return_dtype=pl.String)
        for name in ("product_id", "goes_with")
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
    """Choose the companion of each product."""
    after = steps.after.rename({"product_id": "goes_with", "steps": "after"})
    joined = steps.pairs.join(steps.before.rename({"steps": "before"}), on="product_id").join(after, on="goes_with")
    share = pl.col("steps") / pl.col("before")
    usual_share = pl.col("after") / max(steps.total, 1)
    measured = joined.select(
        "product_id", "goes_with", lift=share / usual_share, share=share, support=pl.col("customers")
    )
    kept = measured.filter((pl.col("support") >= least_support) & (pl.col("lift") >= least_lift))
    excess = pl.col("share") - pl.col("share") / pl.col("lift")
    ranked = kept.sort("product_id", excess, "goes_with", descending=[False, True, False])
    relation = (
        pl.when(_shares_attribute(category or {}))
        .then(pl.lit(SAME_CATEGORY))
        .when(_shares_attribute(brand or {}))
        .then(pl.lit(SAME_BRAND))
        .otherwise(pl.lit(BOUGHT_NEXT))
    )
    return ranked.unique("product_id", keep="first", maintain_order=True).with_columns(relation=relation)


_MAX_PRODUCTS = 20
"""Products that are shown."""


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
        Customers for whom it runs out soon (see ``marketing.products.due_soon``); null where that was not requested.
    """
    mean_gap = (pl.col("last") - pl.col("first")).dt.total_days() / (pl.col("purchases") - 1)
    gap = mean_gap.filter(pl.col("purchases") > 1).sort()
    n = gap.len()
    measured = gaps.group_by("product_id").agg(
        customers=pl.len().cast(pl.Int64),
        again=n.cast(pl.Int64),
        share_again=n / pl.len(),
        low_days=gap.get((n + 3) // 4 - 1, null_on_oob=True),
        median_days=gap.get((n + 1) // 2 - 1, null_on_oob=True),
        high_days=gap.get((3 * n + 3) // 4 - 1, null_on_oob=True),
    )
    rhythm = measured.filter(pl.col("again") > 0)
    if due is None:
        rhythm = rhythm.with_columns(due=pl.lit(None, pl.Int64))
    else:
        n_due = due.group_by("product_id").agg(due=pl.len().cast(pl.Int64))
        rhythm = rhythm.join(n_due, on="product_id", how="left").with_columns(pl.col("due").fill_null(0))
    return rhythm.sort("again", "customers", "product_id", descending=[True, False, False]).head(most)


_Floats = npt.NDArray[np.float64]

_OWN_GAPS, _PRODUCT_GAPS, _OWN_SPREAD = 3.0, 10.0, 6.0
"""Prior weights: of the product's mean gap against the customer's own gaps, of the shop's against the product's, and of
the shop's spread against the customer's own."""
_OWN_PRIOR_PURCHASES, _PRODUCT_PRIOR_PURCHASES = 2.0, 20.0
"""Prior weights, in purchases, of the share of purchases that is followed by another."""
_LAST_PURCHASE_WEIGHT = 0.5
"""Weight of the last purchase, of which nothing is known yet, among those that may have been followed."""
_MIN_SPREAD = 0.2
NON_PRODUCT_PATTERN = (
    r"(?i)\b(shipping|insurance|postage|delivery|gift ?card|e-?gift|tip|donation|surcharge|frakt|porto|gavekort|"
    r"verzendkosten|cadeaubon|доставка)\b|^(post|dot|m|d|c2|bank charges|amazonfee|adjust.*|manual)$"
)
"""Lines that nobody runs out of, by the name or id of the product."""
MIN_DUE_PURCHASES, MIN_DUE_PROBABILITY = 2, 0.10
"""Purchases and probability from which a product is called due."""


@dataclass(frozen=True)
class _RefillRates:
    """How soon and how often products are bought again: by product, and in the whole shop."""

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
    sums = [again.sum().alias("n"), pl.col("purchases").sum().alias("tries"), pl.col("sum_log").sum().alias("sum")]
    n_again, n_tries, total_log = gaps.select(sums).row(0)
    n = max(n_again, 1)
    log_gap, share = total_log / n, n / max(n_tries, 1)
    products = (
        gaps.group_by("product_id")
        .agg(sums)
        .select(
            "product_id",
            log_gap=(pl.col("sum") + _PRODUCT_GAPS * log_gap) / (pl.col("n") + _PRODUCT_GAPS),
            again=(pl.col("n") + _PRODUCT_PRIOR_PURCHASES * share) / (pl.col("tries") + _PRODUCT_PRIOR_PURCHASES),
        )
        .sort("product_id")
    )
    # Squared deviations from each customer's own mean gap of a product, which takes one degree of freedom.
    deviations = pl.col("sum_log2") - pl.col("sum_log") ** 2 / again
    inner = gaps.filter(again > 1).select(squares=deviations.sum(), freedom=(again - 1).sum()).row(0, named=True)
    spread = float(np.sqrt((inner["squares"] or 0.0) / max(int(inner["freedom"] or 0), 1)))
    return _RefillRates(products, log_gap, max(spread, _MIN_SPREAD), min(share, 0.99))


def due_products(gaps: pl.DataFrame, rates: _RefillRates, *, as_of: date, within_days: int) -> pl.DataFrame:
    """Estimate when each customer's products run out, and the chance of a purchase within some days."""
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
