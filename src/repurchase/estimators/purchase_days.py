"""Purchase days of a buyer in a window: BTYD's expectation, corrected by what earlier buyers did.

A buyer has one purchase day for certain; BTYD says how many further ones to expect. How many came for each that was
expected is learned from earlier buyers as a curve per feature, and held to one for one where few days teach.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.additive_fit import fit_log_ratio
from repurchase.estimators.btyd import Btyd, Outlook, expected_if_alive
from repurchase.estimators.design import Design

__all__ = ["PurchaseDaysHead", "btyd_days_if_bought", "fit_purchase_days", "pace_of"]

Floats = npt.NDArray[np.float64]

LEAST_FURTHER = 1e-6
MOST_LOG_RATIO = 7.0
"""Bound of the correction: a factor of a thousand either way."""
MOST_LEVEL, MOST_SEASON = 0.4, 0.9
"""By how much, on the scale of logarithms, the shop's level and its season may change how often buyers come. A level
beyond that says that the learned probabilities and BTYD's are of different worlds, not that buyers hurry."""


@dataclass(frozen=True)
class PurchaseDaysHead:
    """How many further purchase days a buyer has for each that BTYD expects.

    Parameters
    ----------
    curves : AdditiveHead
        Logarithm of the ratio.
    """

    curves: AdditiveHead

    def if_bought(self, design: Design, btyd_days: Floats, *, pace: float, horizon_days: int) -> Floats:
        """Expected purchase days, given at least one.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            See `design_matrix`.
        btyd_days : array of shape (n_customers,)
            See `btyd_days_if_bought`.
        pace : float
            See `pace_of`.
        horizon_days : int
            Length of the window h.

        Returns
        -------
        array of shape (n_customers,)
            In [1, h].
        """
        ratio = np.exp(np.clip(self.curves.total(design), -MOST_LOG_RATIO, MOST_LOG_RATIO))
        further = (btyd_days - 1.0) * ratio * pace
        return np.asarray(np.minimum(1.0 + further, horizon_days))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"curves": self.curves.to_dict()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PurchaseDaysHead":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        PurchaseDaysHead
            Equal to the one saved.
        """
        return cls(AdditiveHead.from_dict(fields["curves"]))


def fit_purchase_days(
    design: Design, purchase_days: Floats, btyd_days: Floats, weight: Floats
) -> PurchaseDaysHead | None:
    """Learn a buyer's purchase days from earlier buyers.

    Parameters
    ----------
    design : Design of shape (n_buyers, n_features)
        Buyers at earlier snapshots.
    purchase_days : array of shape (n_buyers,)
        On how many days they bought in the window, >= 1.
    btyd_days : array of shape (n_buyers,)
        How many BTYD expected of a buyer, >= 1.
    weight : array of shape (n_buyers,)
        How much each counts; 1 for a buyer at the latest snapshot.

    Returns
    -------
    PurchaseDaysHead or None
        None without a buyer.
    """
    if not len(purchase_days):
        return None
    expected = np.maximum(btyd_days - 1.0, LEAST_FURTHER)
    return PurchaseDaysHead(fit_log_ratio(design, purchase_days - 1.0, expected, weight))


def pace_of(level: float, season: float) -> float:
    """Expect by how much faster purchases come than in the windows that taught.

    Parameters
    ----------
    level, season : float
        By how much all log odds of a purchase are moved (see `level`).

    Returns
    -------
    float
        1 where neither moves them.
    """
    held = np.clip(level, -MOST_LEVEL, MOST_LEVEL) + np.clip(season, -MOST_SEASON, MOST_SEASON)
    return float(np.exp(held))


def btyd_days_if_bought(outlook: Outlook, *, horizon_days: int) -> Floats:
    """Purchase days that BTYD expects of a customer who buys in a window at all.

    Parameters
    ----------
    outlook : Outlook
        Of a fitted BTYD model.
    horizon_days : int
        Length of the window h.

    Returns
    -------
    array of shape (n_customers,)
        In [1, h]: a window has no more days.
    """
    return outlook.per_pair("days_if_bought", _days_if_bought, horizon_days)


def _days_if_bought(fit: Btyd, x: Floats, T: Floats, horizon_days: float) -> Floats:
    p = -np.expm1(-(fit.r + x) * np.log1p(horizon_days / (fit.alpha + T)))  # exact however rarely one buys
    return np.asarray(np.clip(expected_if_alive(fit, x, T, horizon_days) / p, 1.0, horizon_days))
