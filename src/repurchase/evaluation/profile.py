"""What a model's input looked like, small enough to keep beside the model and without a customer in it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.evaluation.look import Look, look_at, sample_of
from repurchase.evaluation.stability import LEAST_LOG_SD, LEAST_NEWCOMER_SD, band_of, psi
from repurchase.features.behaviour import behaviour_table
from repurchase.features.closing import Closing
from repurchase.features.timeline import Ledger

__all__ = ["BINS", "SCHEMA", "Look", "bin_edges", "bin_shares", "look_at", "profile_of"]

Floats = npt.NDArray[np.float64]

SCHEMA = 2
BINS = 10
USUAL_DAYS = (7, 20, 45, 100, 190, 365)
"""Not whole months: what is counted in months would look steady from one to the next."""
LEAST_CUSTOMERS = 50


def profile_of(
    book: Ledger,
    *,
    as_of: date,
    closing: Closing | None = None,
    set_aside_share: float | None = None,
    look: Look | None = None,
) -> dict[str, Any]:
    """Describe a model's input: per feature the shares of at most ten bins, volume and newcomers with their spread.

    Beside it stands how far each feature moved between earlier days and ``as_of``: what moves anyway is no drift.

    Parameters
    ----------
    book : Ledger
        The orders that the model learned from.
    as_of : date
        Last day it saw, inclusive.
    closing : Closing, optional
        A time in which the shop was closed.
    set_aside_share : float, optional
        Rows that cleaning set aside, of all.
    look : Look, optional
        At all customers, where ``book`` holds only some: those whose ids have the smallest hashes.

    Returns
    -------
    dict
        JSON-able; `drift.drift_from` compares with it.
    """
    look = look or look_at(book, as_of=as_of, closing=closing)
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
        "usual": list(_usual(sample_of(book.until(as_of))[1].without(closing), features, as_of)),
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


def _usual(book: Ledger, features: Mapping[str, Mapping[str, Any]], as_of: date) -> Iterator[dict[str, Any]]:
    """PSI between earlier days and ``as_of``, as long as as much history lies before the earlier day."""
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
