"""What a model's input looked like, small enough to keep beside the model and without a customer in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.evaluation.stability import LEAST_LOG_SD, LEAST_NEWCOMER_SD, band_of, psi
from repurchase.features.behaviour import behaviour_table
from repurchase.features.closing import Closing
from repurchase.features.history import day_number
from repurchase.features.timeline import Ledger, ledger

__all__ = ["BINS", "SCHEMA", "Look", "bin_edges", "bin_shares", "look_at", "profile_of"]

Floats = npt.NDArray[np.float64]

SCHEMA = 1
BINS = 10
LOOKED_AT = 20_000
"""Customers whose features are looked at, at most: a share is then right within a point."""
WEEKS = 52
WINDOW_DAYS = 28
"""Newcomers are counted among the buyers of four weeks: whole weeks, so that no weekend is missing."""
USUAL_DAYS = (7, 20, 45, 100, 190, 365)
"""Not whole months: what is counted in months would look steady from one to the next."""
LEAST_CUSTOMERS = 50


@dataclass(frozen=True)
class Look:
    """What orders look like on a day.

    Parameters
    ----------
    as_of : date
        Last day observed, inclusive.
    n_customers : int
        Customers with a purchase day by then.
    features : DataFrame of shape (n_looked_at, n_features)
        Behaviour of at most 20,000 of them (see `behaviour_table`).
    weekly : tuple of int
        Purchase days in each of the last 52 whole weeks that end on ``as_of``, oldest first; fewer where the orders
        begin later.
    newcomers : tuple of float
        In each of the last 13 stretches of four weeks, the share of its buyers who had never bought before.
    baskets : tuple of float
        In the same stretches, mean money per purchase day; empty without money.
    set_aside_share : float, optional
        Rows that cleaning set aside, of all.
    """

    as_of: date
    n_customers: int
    features: pl.DataFrame
    weekly: tuple[int, ...]
    newcomers: tuple[float, ...]
    baskets: tuple[float, ...] = ()
    set_aside_share: float | None = None


def look_at(
    orders: pl.DataFrame, *, as_of: date, closing: Closing | None = None, set_aside_share: float | None = None
) -> Look:
    """Look at clean orders.

    Parameters
    ----------
    orders : DataFrame of shape (n_rows, >=4)
        Clean orders (see ``tables.ORDERS``); later ones are not read.
    as_of : date
        Last day observed, inclusive.
    closing : Closing, optional
        A time in which the shop was closed, left out as the model leaves it out.
    set_aside_share : float, optional
        Rows that cleaning set aside, of all.

    Returns
    -------
    Look
        The same for the same orders in any row order.
    """
    days = _purchase_days(orders, as_of, closing)
    book, n_customers = _sampled_book(orders, as_of)
    return Look(
        as_of=as_of,
        n_customers=n_customers,
        features=behaviour_table(book.without(closing).history(as_of)),
        weekly=_weekly(days, day_number(as_of)),
        newcomers=tuple(_newcomers(days, day_number(as_of))),
        baskets=tuple(_baskets(days, day_number(as_of))),
        set_aside_share=set_aside_share,
    )


def profile_of(
    orders: pl.DataFrame, *, as_of: date, closing: Closing | None = None, set_aside_share: float | None = None
) -> dict[str, Any]:
    """Describe a model's input: per feature the shares of at most ten bins, volume and newcomers with their spread.

    Beside it stands how far each feature moved between earlier days and ``as_of``: what moves anyway is no drift.

    Parameters
    ----------
    orders : DataFrame of shape (n_rows, >=4)
        Clean orders that the model learned from.
    as_of : date
        Last day it saw, inclusive.
    closing : Closing, optional
        A time in which the shop was closed.
    set_aside_share : float, optional
        Rows that cleaning set aside, of all.

    Returns
    -------
    dict
        JSON-able; `drift.drift_from` compares with it.
    """
    look = look_at(orders, as_of=as_of, closing=closing, set_aside_share=set_aside_share)
    features = {name: _binned(look.features[name].to_numpy()) for name in look.features.columns}
    logs = np.log1p(look.weekly).tolist()
    weekly = band_of(logs, least_sd=LEAST_LOG_SD) if logs else (0.0, 0.0)
    newcomers = band_of(look.newcomers, least_sd=LEAST_NEWCOMER_SD) if look.newcomers else (0.0, 0.0)
    money = np.log1p(look.baskets).tolist()
    baskets = band_of(money, least_sd=LEAST_LOG_SD) if money else (0.0, 0.0)
    return {
        "schema": SCHEMA,
        "as_of": as_of.isoformat(),
        "n_customers": look.n_customers,
        "n_looked_at": look.features.height,
        "features": features,
        "usual": list(_usual(orders, features, as_of, closing)),
        "weekly": {"weeks": len(logs), "log_mean": weekly[0], "log_sd": weekly[1]},
        "newcomers": {"windows": len(look.newcomers), "mean": newcomers[0], "sd": newcomers[1]},
        "baskets": {"windows": len(money), "log_mean": baskets[0], "log_sd": baskets[1]},
        "set_aside_share": set_aside_share,
    }


def bin_edges(values: Floats) -> list[float]:
    """Inner edges of at most ten bins that hold as many customers each; ties make fewer.

    Parameters
    ----------
    values : array of shape (n_customers,)
        One feature; NaN where it does not apply.

    Returns
    -------
    list of float
        Rising; a bin reaches from above one edge up to the next, inclusive. Empty where the feature never applies.

    Examples
    --------
    >>> bin_edges(np.array([0.0] * 50 + [1.0] * 40 + [2.0] * 10))
    [0.0, 1.0]
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    if len(edges) == 1:  # nearly constant: what lies below, on and above it
        return [float(np.nextafter(edges[0], -np.inf)), float(edges[0])]
    return [float(edge) for edge in edges]


def bin_shares(values: Floats, edges: Sequence[float]) -> Floats:
    """Shares of customers per bin; the last is of those to whom the feature does not apply.

    Parameters
    ----------
    values : array of shape (n_customers,)
        One feature, NaN where it does not apply.
    edges : sequence of float
        See `bin_edges`.

    Returns
    -------
    array of shape (n_edges + 2,)
        Adds up to 1.

    Examples
    --------
    >>> bin_shares(np.array([0.0, 0.0, 1.5, np.nan]), [0.0, 1.0]).tolist()
    [0.5, 0.0, 0.25, 0.25]
    """
    missing = np.isnan(values)
    place = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(place, minlength=len(edges) + 2) / max(len(values), 1)


def _binned(values: Floats) -> dict[str, list[float]]:
    edges = bin_edges(values)
    return {"edges": edges, "shares": [float(share) for share in bin_shares(values, edges)]}


def _usual(
    orders: pl.DataFrame, features: Mapping[str, Mapping[str, Any]], as_of: date, closing: Closing | None
) -> Iterator[dict[str, Any]]:
    """PSI between earlier days and ``as_of``, as long as as much history lies before the earlier day."""
    book = _sampled_book(orders, as_of)[0].without(closing)
    for days in USUAL_DAYS:
        earlier = as_of - timedelta(days=days)
        if (earlier - book.first_day).days < days:
            return
        then = behaviour_table(book.history(earlier))
        if then.height < LEAST_CUSTOMERS:
            return
        moved = {
            name: psi(bin_shares(then[name].to_numpy(), known["edges"]), known["shares"])
            for name, known in features.items()
        }
        yield {"days": days, "psi": {name: round(value, 4) for name, value in moved.items()}}


def _sampled_book(orders: pl.DataFrame, as_of: date) -> tuple[Ledger, int]:
    known = orders.filter(pl.col("order_date").dt.date() <= as_of)
    ids = known["customer_id"].unique().sort()
    if len(ids) > LOOKED_AT:
        kept = np.sort(np.random.default_rng(0).choice(len(ids), LOOKED_AT, replace=False))
        known = known.filter(pl.col("customer_id").is_in(ids.gather(kept).implode()))
    return ledger(known, observed_until=as_of), len(ids)


def _purchase_days(orders: pl.DataFrame, as_of: date, closing: Closing | None) -> pl.DataFrame:
    """Every customer's days with a sale, as day numbers, and the money they brought."""
    sales = orders.filter((pl.col("order_date").dt.date() <= as_of) & (pl.col("amount").fill_null(1.0) >= 0))
    day = pl.col("order_date").dt.date().cast(pl.Int32)
    counted = closing.open_day(day) if closing and closing.last < day_number(as_of) else day
    return sales.group_by("customer_id", counted.alias("day")).agg(pl.col("amount").sum())


def _weekly(days: pl.DataFrame, now: int) -> tuple[int, ...]:
    if not days.height:
        return ()
    ago = now - days["day"].to_numpy().astype(np.int64)
    whole = min(WEEKS, int(ago.max() + 1) // 7)
    counts = np.bincount(ago[ago < whole * 7] // 7, minlength=whole)
    return tuple(int(count) for count in counts[::-1])


def _newcomers(days: pl.DataFrame, now: int) -> Iterator[float]:
    if not days.height:
        return
    customers = days.with_columns(first=pl.col("day").min().over("customer_id"))
    ago = now - customers["day"].to_numpy().astype(np.int64)
    first_ago = now - customers["first"].to_numpy().astype(np.int64)
    whole = _windows(ago)
    window = pl.DataFrame({"customer": customers["customer_id"], "window": ago // WINDOW_DAYS, "first": first_ago})
    counted = (
        window.filter(pl.col("window") < whole)
        .group_by("window")
        .agg(
            buyers=pl.col("customer").n_unique(),
            new=pl.col("customer").filter(pl.col("first") // WINDOW_DAYS == pl.col("window")).n_unique(),
        )
        .sort("window", descending=True)
    )
    yield from (counted["new"] / counted["buyers"]).to_list()


def _baskets(days: pl.DataFrame, now: int) -> Iterator[float]:
    spent = float(days["amount"].sum()) if days.height else 0.0
    if not spent > 0:
        return
    ago = now - days["day"].to_numpy().astype(np.int64)
    window = pl.DataFrame({"window": ago // WINDOW_DAYS, "amount": days["amount"]})
    counted = window.filter(pl.col("window") < _windows(ago)).group_by("window").agg(pl.col("amount").sort().mean())
    yield from counted.sort("window", descending=True)["amount"].to_list()


def _windows(ago: npt.NDArray[np.int64]) -> int:
    """Stretches of four weeks in the later half of a log: in the earlier half too many buyers are new to it."""
    return min(WEEKS * 7, int(ago.max() + 1) // 2) // WINDOW_DAYS
