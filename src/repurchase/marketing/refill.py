"""Due for a refill: per customer and product the day when the same product runs out.

The gap between two purchases of a product by a customer is taken as log-normal. Its middle is the customer's own,
shrunk to the product's, shrunk to the shop's; its spread is the customer's own, shrunk to the shop's. Not every
purchase is followed by another: the share that is, is shrunk in the same way. A silence of s days then says two things
at once, how far the product has run down and how likely the customer has left it:

    chance of a purchase within w days = q (F(s + w) - F(s)) / (1 - q F(s))

with F the gap's distribution and q the share of purchases that are followed by another.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "DUE_CHANCE",
    "DUE_PURCHASES",
    "NOT_GOODS",
    "PRODUCT_DAYS",
    "RefillRates",
    "due_products",
    "due_soon",
    "likeliest_due",
    "product_gaps",
    "refill_rates",
]

Floats = npt.NDArray[np.float64]

PRODUCT_DAYS = {"customer_id": pl.String, "product_id": pl.String, "day": pl.Date}
"""What is read: one row per customer, product and day on which it was bought."""
OWN_GAPS, PRODUCT_GAPS, OWN_SPREAD = 3.0, 10.0, 6.0
"""How many gaps the product's middle counts beside the customer's own, the shop's beside the product's, and the shop's
spread beside the customer's own."""
OWN_TRIES, PRODUCT_TRIES = 2.0, 20.0
"""The same of purchases, for the share that is followed by another."""
LAST_TRY = 0.5
"""What the last purchase, of which nobody knows yet, counts among those that could have been followed."""
LEAST_SPREAD = 0.2
NOT_GOODS = (
    r"(?i)\b(shipping|insurance|postage|delivery|gift ?card|e-?gift|tip|donation|surcharge|frakt|porto|gavekort|"
    r"verzendkosten|cadeaubon|доставка)\b|^(post|dot|m|d|c2|bank charges|amazonfee|adjust.*|manual)$"
)
"""Lines that nobody runs out of, by the name or id of the product."""
DUE_PURCHASES, DUE_CHANCE = 2, 0.10
"""Purchases of a product from which it is called due, and the chance."""


@dataclass(frozen=True)
class RefillRates:
    """What a shop's purchases say of its products.

    Parameters
    ----------
    products : DataFrame
        ``product_id``, ``log_gap`` (middle of the log gap), ``again`` (share of purchases followed by another).
    log_gap, spread, again : float
        The shop's middle and spread of the log gap, and its share.
    """

    products: pl.DataFrame
    log_gap: float
    spread: float
    again: float


def product_gaps(days: pl.DataFrame, *, as_of: date) -> pl.DataFrame:
    """Sum up each customer's purchases of each product.

    Parameters
    ----------
    days : DataFrame
        See ``PRODUCT_DAYS``; days after ``as_of`` are not read.
    as_of : date
        Last day known, inclusive.

    Returns
    -------
    DataFrame
        One row per customer and product: ``purchases`` (days), ``first``, ``last``, ``last_gap`` (days; null after
        one), ``sum_log`` and ``sum_log2`` of the gaps.
    """
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


def refill_rates(gaps: pl.DataFrame) -> RefillRates:
    """Learn how soon, and how often at all, products are bought again.

    Parameters
    ----------
    gaps : DataFrame
        From `product_gaps`.

    Returns
    -------
    RefillRates
        Of the shop and its products.
    """
    again = pl.col("purchases") - 1
    whole = gaps.select(n=again.sum(), tries=pl.col("purchases").sum(), sum=pl.col("sum_log").sum()).row(0, named=True)
    n = max(int(whole["n"] or 0), 1)
    log_gap, share = float(whole["sum"] or 0.0) / n, float(n) / max(int(whole["tries"] or 0), 1)
    products = gaps.group_by("product_id").agg(
        n=again.sum(), tries=pl.col("purchases").sum(), sum=pl.col("sum_log").sum()
    )
    products = products.select(
        "product_id",
        log_gap=(pl.col("sum") + PRODUCT_GAPS * log_gap) / (pl.col("n") + PRODUCT_GAPS),
        again=(pl.col("n") + PRODUCT_TRIES * share) / (pl.col("tries") + PRODUCT_TRIES),
    ).sort("product_id")
    placed = gaps.filter(pl.col("purchases") > 1).join(products, on="product_id", how="left")
    # Squares about the customer's own shrunk middle, with one degree of freedom taken by each pair's own part.
    about = pl.col("sum_log2") - pl.col("sum_log") ** 2 / again
    inner = placed.filter(again > 1).select(squares=about.sum(), freedom=(again - 1).sum()).row(0, named=True)
    spread = float(np.sqrt((inner["squares"] or 0.0) / max(int(inner["freedom"] or 0), 1)))
    return RefillRates(products, log_gap, max(spread, LEAST_SPREAD), min(share, 0.99))


def due_products(gaps: pl.DataFrame, rates: RefillRates, *, as_of: date, within_days: int) -> pl.DataFrame:
    """Say when each customer's products run out.

    Parameters
    ----------
    gaps : DataFrame
        From `product_gaps`.
    rates : RefillRates
        From `refill_rates`.
    as_of : date
        Last day known, inclusive.
    within_days : int
        Days ahead for ``chance``.

    Returns
    -------
    DataFrame
        One row per customer and product: ``chance`` of a purchase of it in (``as_of``, ``as_of`` + within_days];
        ``refill_on`` (the middle of the days that remain, if it is bought again), ``refill_low`` and ``refill_high``
        (80 % of such days); ``purchases``, ``last``, ``last_gap``.
    """
    from scipy.special import ndtr, ndtri

    joined = gaps.join(rates.products, on="product_id", how="left", maintain_order="left")
    n = (joined["purchases"] - 1).cast(pl.Float64).to_numpy()
    of_product = joined["log_gap"].fill_null(rates.log_gap).to_numpy()
    middle = (joined["sum_log"].to_numpy() + OWN_GAPS * of_product) / (n + OWN_GAPS)
    again = joined["again"].fill_null(rates.again).to_numpy()
    share = (n + OWN_TRIES * again) / (n + LAST_TRY + OWN_TRIES)
    squares = joined["sum_log2"].to_numpy() - joined["sum_log"].to_numpy() ** 2 / np.maximum(n, 1.0)
    freedom = np.maximum(n - 1.0, 0.0)
    variance = (np.maximum(squares, 0.0) + OWN_SPREAD * rates.spread**2) / (freedom + OWN_SPREAD)
    spread = np.sqrt(variance * (1.0 + 1.0 / (n + OWN_GAPS)))
    silence = (pl.Series([as_of]) - joined["last"]).dt.total_days().cast(pl.Float64).to_numpy()

    def before(days: Floats) -> Floats:
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
    """Keep the products that are worth a reminder.

    Parameters
    ----------
    due : DataFrame
        From `due_products`.
    as_of : date
        Last day known, inclusive.
    within_days : int
        Days ahead within which they run out.

    Returns
    -------
    DataFrame
        Rows of products bought at least ``DUE_PURCHASES`` times that run out in these days with a chance of at least
        ``DUE_CHANCE``.
    """
    runs_out = pl.col("refill_on") <= as_of + timedelta(days=within_days)
    return due.filter((pl.col("purchases") >= DUE_PURCHASES) & (pl.col("chance") >= DUE_CHANCE) & runs_out)


def likeliest_due(due: pl.DataFrame) -> pl.DataFrame:
    """Choose the one product per customer that is worth a reminder.

    Parameters
    ----------
    due : DataFrame
        From `due_soon`.

    Returns
    -------
    DataFrame
        One row per customer: the likeliest.
    """
    ranked = due.sort("customer_id", "chance", "product_id", descending=[False, True, False])
    return ranked.unique("customer_id", keep="first", maintain_order=True)
