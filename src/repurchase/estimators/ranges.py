"""The range in which a customer's own money will fall: nothing, or a buyer's money scattered around its mean.

How far it scatters, and by how much whole windows differed from what was expected of them, is learned from earlier
cut-offs, so the range is one of outcomes, not of the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.blend import expit, logit
from repurchase.estimators.level import shift_to_share

__all__ = ["KnownWindow", "Scatter", "SpendSpread", "fit_scatter", "fit_spread", "spend_range"]

Floats = npt.NDArray[np.float64]

OUTSIDE = 0.20
KEPT_FOR_BUYERS = 0.06
"""Of the 20 % that may lie outside, what is held back for buyers, whose money drifts with the window."""
LEVELS = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.95, 0.98, 0.99)
GROUPS = 6
LEAST_IN_GROUP = 40
UNKNOWN_SIGMA = 1.0
"""Scatter of a buyer's log money where too few buyers teach it."""
MOST_DRIFT = 1.0


@dataclass(frozen=True)
class KnownWindow:
    """What was expected of customers at an earlier cut-off, and what they did.

    Parameters
    ----------
    log_odds : float array of shape (n_customers,)
        Of a purchase, as expected.
    bought : bool array of shape (n_customers,)
        Whether there was one.
    orders_if_bought, spend_if_bought : float arrays of shape (n_customers,)
        Purchase days and money expected of a buyer.
    spend : float array of shape (n_customers,)
        Net money that came.
    """

    log_odds: Floats
    bought: npt.NDArray[np.bool_]
    orders_if_bought: Floats
    spend_if_bought: Floats
    spend: Floats


@dataclass(frozen=True)
class Scatter:
    """Quantiles of a quantity, given another that it depends on.

    Parameters
    ----------
    at : tuple of float
        Values of the other, rising.
    quantiles : tuple of tuple of float
        One row per value, one column per level of ``LEVELS``; between values they are interpolated.
    """

    at: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]

    def quantile(self, given: Floats, level: Floats) -> Floats:
        """Read off a quantile for each customer.

        Parameters
        ----------
        given : array of shape (n_customers,)
            The other quantity.
        level : array of shape (n_customers,)
            In [0, 1]; held inside the learned levels.

        Returns
        -------
        array of shape (n_customers,)
            The quantile.
        """
        inside = np.clip(level, LEVELS[0], LEVELS[-1])
        above = np.clip(np.searchsorted(LEVELS, inside), 1, len(LEVELS) - 1)
        found = np.zeros(len(given))
        for number in range(1, len(LEVELS)):
            here = np.flatnonzero(above == number)
            if not len(here):
                continue
            low, high = (
                np.interp(given[here], self.at, [row[column] for row in self.quantiles])
                for column in (number - 1, number)
            )
            share = (inside[here] - LEVELS[number - 1]) / (LEVELS[number] - LEVELS[number - 1])
            found[here] = low + share * (high - low)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"at": list(self.at), "quantiles": [list(row) for row in self.quantiles]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Scatter":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Scatter
            Equal to the one saved.
        """
        return cls(tuple(fields["at"]), tuple(tuple(row) for row in fields["quantiles"]))


def fit_scatter(given: Floats, values: Floats) -> Scatter:
    """Learn quantiles in groups of equal size.

    Parameters
    ----------
    given, values : arrays of shape (n_rows,)
        What they depend on, and what scatters; at least one row.

    Returns
    -------
    Scatter
        Up to six groups of at least 40 rows; one group where there are fewer.
    """
    n_groups = int(np.clip(len(given) // LEAST_IN_GROUP, 1, GROUPS))
    groups = np.array_split(np.argsort(given, kind="stable"), n_groups)
    centres = [float(np.median(given[group])) for group in groups]
    kept = [number for number, centre in enumerate(centres) if number == 0 or centre > centres[number - 1]]
    return Scatter(
        tuple(centres[number] for number in kept),
        tuple(tuple(map(float, np.quantile(values[groups[number]], LEVELS))) for number in kept),
    )


@dataclass(frozen=True)
class SpendSpread:
    """How far a buyer's money lies around what was expected, and how far whole windows did.

    Parameters
    ----------
    scatter : Scatter
        Of log(spend / expected spend of a buyer), given the logarithm of a buyer's expected purchase days.
    drift_odds, drift_spend : float
        Standard deviation, over earlier windows, of the shift of all log odds, and of all buyers' log money, that
        would have been right.
    """

    scatter: Scatter
    drift_odds: float
    drift_spend: float

    @classmethod
    def unknown(cls) -> "SpendSpread":
        """Assume a log-normal scatter where nothing teaches one.

        Returns
        -------
        SpendSpread
            The same for everyone.
        """
        from scipy.special import ndtri

        log_ratios = UNKNOWN_SIGMA * ndtri(np.array(LEVELS)) - UNKNOWN_SIGMA**2 / 2.0
        return cls(Scatter((0.0,), (tuple(map(float, log_ratios)),)), drift_odds=0.0, drift_spend=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"scatter": self.scatter.to_dict(), "drift_odds": self.drift_odds, "drift_spend": self.drift_spend}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SpendSpread":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        SpendSpread
            Equal to the one saved.
        """
        return cls(Scatter.from_dict(fields["scatter"]), fields["drift_odds"], fields["drift_spend"])


def fit_spread(windows: Sequence[KnownWindow]) -> SpendSpread:
    """Learn the spread from earlier windows.

    Parameters
    ----------
    windows : sequence of KnownWindow
        Of one horizon, whose outcomes are known.

    Returns
    -------
    SpendSpread
        The assumed one where fewer than 40 buyers teach it.
    """
    misses, orders = [], []
    for window in windows:
        usable = window.bought & (window.spend > 0) & (window.spend_if_bought > 0)
        misses.append(np.log(window.spend[usable] / window.spend_if_bought[usable]))
        orders.append(np.log(window.orders_if_bought[usable]))
    if sum(len(miss) for miss in misses) < LEAST_IN_GROUP:
        return SpendSpread.unknown()
    shifts = [shift_to_share(window.log_odds, window.bought) for window in windows if len(window.bought)]
    levels = [float(miss.mean()) for miss in misses if len(miss) >= LEAST_IN_GROUP]
    return SpendSpread(
        fit_scatter(np.concatenate(orders), np.concatenate(misses)),
        drift_odds=min(float(np.std(shifts)), MOST_DRIFT),
        drift_spend=min(float(np.std(levels or [0.0])), MOST_DRIFT),
    )


def spend_range(
    p: Floats, spend_if_bought: Floats, orders_if_bought: Floats, spread: SpendSpread
) -> tuple[Floats, Floats]:
    """Bounds that hold 80 % of outcomes.

    A customer with a fair chance of bringing nothing has 0 as lower bound, and all that may lie outside lies above;
    the others have as much on either side.

    Parameters
    ----------
    p : array of shape (n_customers,)
        Probability of buying at all.
    spend_if_bought, orders_if_bought : arrays of shape (n_customers,)
        Money and purchase days expected of a buyer.
    spread : SpendSpread
        Learned.

    Returns
    -------
    low, high : arrays of shape (n_customers,)
        >= 0.
    """
    given = np.log(orders_if_bought)

    def bound(outside: Floats, side: float) -> Floats:
        p_then = expit(logit(p) + side * spread.drift_odds)
        level = outside if side < 0 else 1.0 - outside
        among_buyers = (level - (1.0 - p_then)) / p_then
        ratio = np.exp(spread.scatter.quantile(given, among_buyers) + side * spread.drift_spend)
        return np.where(among_buyers > 0, spend_if_bought * ratio, 0.0)

    outside = OUTSIDE - KEPT_FOR_BUYERS * p
    low = bound(outside / 2.0, -1.0)
    high = bound(np.where(low > 0, outside / 2.0, outside), 1.0)
    return low, np.maximum(low, high)
