"""Orders and money to expect, and the range in which a customer's own money will fall."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.estimators.btyd import Btyd

__all__ = [
    "SpendSpread",
    "discount_factor",
    "expected_orders",
    "fit_spread",
    "never_falling",
    "spend_range",
]

Floats = npt.NDArray[np.float64]
Rfm = tuple[Floats, Floats, Floats]

LOW, HIGH = 0.10, 0.90
"""The interval holds 80 % of outcomes."""
SPREAD_GROUPS = 5


def expected_orders(p: Floats, p_btyd: Floats, orders_btyd: Floats) -> Floats:
    """Scale BTYD's expected purchase days to a better probability of buying at all.

    A probability p stands for an intensity of -log(1 - p); the ratio of the two intensities moves the count.

    Parameters
    ----------
    p, p_btyd : array of shape (n_customers,)
        Probability of a purchase day: ours and BTYD's.
    orders_btyd : array of shape (n_customers,)
        BTYD's expected purchase days in the same window.

    Returns
    -------
    array of shape (n_customers,)
        Never below ``p``, since buying at all is at least one purchase day.
    """
    ours = -np.log1p(-np.clip(p, 1e-9, 0.999))
    theirs = -np.log1p(-np.clip(p_btyd, 1e-9, 0.999))
    return np.asarray(np.maximum(orders_btyd * np.clip(ours / theirs, 0.1, 10.0), p))


def discount_factor(btyd: Btyd, rfm: Rfm, *, horizon_days: int, yearly_rate: float) -> Floats:
    """Mean worth today of money that comes when BTYD expects the purchases, as a share.

    Parameters
    ----------
    btyd : Btyd
        When purchases come.
    rfm : tuple of three arrays of shape (n_customers,)
        Frequency, recency, age in days.
    horizon_days : int
        Over which money is counted.
    yearly_rate : float
        Discount rate a year.

    Returns
    -------
    array of shape (n_customers,)
        In (0, 1]; four equal periods, each discounted from its middle.
    """
    edges = [horizon_days * quarter / 4 for quarter in range(5)]
    by_then = [np.zeros_like(rfm[0])] + [btyd.expected_purchases(*rfm, horizon_days=edge) for edge in edges[1:]]
    total = np.maximum(by_then[-1], 1e-12)
    factor = np.zeros_like(total)
    for quarter in range(4):
        middle = (edges[quarter] + edges[quarter + 1]) / 2
        factor += (by_then[quarter + 1] - by_then[quarter]) / total / (1.0 + yearly_rate) ** (middle / 365.0)
    latest = (1.0 + yearly_rate) ** (-horizon_days / 365.0)
    return np.clip(factor, latest, 1.0)


@dataclass(frozen=True)
class SpendSpread:
    """How far a buyer's money lies around what was expected of a buyer, on the log scale.

    Parameters
    ----------
    orders : tuple of float
        Expected purchase days, rising.
    sigma : tuple of float
        Standard deviation of log(spend / expected spend of a buyer) there; between points it is interpolated.
    """

    orders: tuple[float, ...]
    sigma: tuple[float, ...]


def fit_spread(expected_orders_: Floats, expected_if_bought: Floats, spend: Floats) -> SpendSpread:
    """Learn the spread from customers who bought at an earlier cut-off.

    Parameters
    ----------
    expected_orders_ : array of shape (n_buyers,)
        Purchase days expected of each.
    expected_if_bought : array of shape (n_buyers,)
        Money expected of each, given that there is a purchase.
    spend : array of shape (n_buyers,)
        Money that came.

    Returns
    -------
    SpendSpread
        In groups of equal size; 1.0 everywhere where fewer than 50 buyers teach it.
    """
    usable = (spend > 0) & (expected_if_bought > 0)
    if usable.sum() < 50:
        return SpendSpread((1.0,), (1.0,))
    miss = np.log(spend[usable] / expected_if_bought[usable])
    order = np.argsort(expected_orders_[usable], kind="stable")
    groups = np.array_split(order, SPREAD_GROUPS)
    centres = [float(np.median(expected_orders_[usable][group])) for group in groups]
    sigmas = [float(np.clip(_robust_spread(miss[group]), 0.1, 3.0)) for group in groups]
    return SpendSpread(tuple(centres), tuple(sigmas))


def spend_range(p: Floats, spend_expected: Floats, orders: Floats, spread: SpendSpread) -> tuple[Floats, Floats]:
    """Bounds that hold 80 % of outcomes: nothing with probability 1 - p, else log-normal around a buyer's mean.

    Parameters
    ----------
    p : array of shape (n_customers,)
        Probability of buying at all.
    spend_expected : array of shape (n_customers,)
        Expected money, buyers or not.
    orders : array of shape (n_customers,)
        Expected purchase days.
    spread : SpendSpread
        Learned.

    Returns
    -------
    low, high : arrays of shape (n_customers,)
        The 10 % and 90 % quantiles, 0 where not buying alone covers the quantile.
    """
    sigma = np.interp(orders, spread.orders, spread.sigma)
    if_bought = spend_expected / np.maximum(p, 1e-9)
    bounds = [_quantile(share, p, if_bought, sigma) for share in (LOW, HIGH)]
    return bounds[0], bounds[1]


def _quantile(share: float, p: Floats, if_bought: Floats, sigma: Floats) -> Floats:
    from scipy.special import ndtri

    among_buyers = np.clip((share - (1.0 - p)) / np.maximum(p, 1e-9), 0.0, 1.0)
    inside = among_buyers > 0
    z = ndtri(np.where(inside, among_buyers, 0.5))
    return np.where(inside, if_bought * np.exp(sigma * z - sigma**2 / 2.0), 0.0)


def _robust_spread(values: Floats) -> float:
    """Half the range between the 10 % and 90 % quantiles, in standard deviations of a normal."""
    low, high = np.quantile(values, [LOW, HIGH])
    return float(high - low) / 2.563


def never_falling(by_horizon: Mapping[int, Floats]) -> dict[int, Floats]:
    """Raise what a longer horizon expects to what a shorter one does.

    Parameters
    ----------
    by_horizon : mapping of int to array of shape (n_customers,)
        Horizon to an amount.

    Returns
    -------
    dict of int to array
        Rising with the horizon for each customer.
    """
    raised: dict[int, Floats] = {}
    floor: Floats | None = None
    for h in sorted(by_horizon):
        floor = by_horizon[h] if floor is None else np.maximum(floor, by_horizon[h])
        raised[h] = floor
    return raised
