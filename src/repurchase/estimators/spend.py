"""Money of a buyer in a window: learned curves, mixed with Gamma-Gamma, and no outlier counts for more than itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.additive_fit import fit_log_spend
from repurchase.estimators.design import Design

__all__ = ["SpendHead", "fit_spend", "mix_with_gamma_gamma", "orders_if_bought"]

Floats = npt.NDArray[np.float64]

GAMMA_GAMMA_SHARE, HALVED_AT = 0.50, 10.0
"""Share of Gamma-Gamma in the mean of the logarithms for one-time buyers, and the repeat purchases that halve it: it
steadies those of whom little is known (see benchmarks/FINDINGS.md)."""
LEAST_BUYERS = 100
TOTAL_HELD = (0.90, 1.15)
"""How far what lies beyond the winsorised tail may move the total."""


@dataclass(frozen=True)
class SpendHead:
    """Expected money of a buyer, exp(a + b log-curves).

    Parameters
    ----------
    curves : AdditiveHead
        Mean of the logarithm.
    a, b : float
        From the logarithm's mean to money's mean, so that totals are held.
    low, high : float
        Range of the curves' total; beyond it the prediction is held.
    """

    curves: AdditiveHead
    a: float
    b: float
    low: float
    high: float

    def if_bought(self, design: Design) -> Floats:
        """Expected money, given that there is a purchase.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            See `design_matrix`.

        Returns
        -------
        array of shape (n_customers,)
            > 0.
        """
        return np.asarray(np.exp(self.a + self.b * np.clip(self.curves.total(design), self.low, self.high)))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"curves": self.curves.to_dict(), "a": self.a, "b": self.b, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SpendHead":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        SpendHead
            Equal to the one saved.
        """
        return cls(**{**fields, "curves": AdditiveHead.from_dict(fields["curves"])})


def fit_spend(design: Design, spend: Floats, weight: Floats) -> SpendHead | None:
    """Learn a buyer's money from earlier buyers.

    Parameters
    ----------
    design : Design of shape (n_buyers, n_features)
        Buyers at earlier cut-offs.
    spend : array of shape (n_buyers,)
        Their net money in the window; those without a positive one are left out.
    weight : array of shape (n_buyers,)
        How much a row counts.

    Returns
    -------
    SpendHead or None
        None where fewer than 100 buyers teach.
    """
    usable = np.flatnonzero(spend > 0)
    if len(usable) < LEAST_BUYERS:
        return None
    design, spend, weight = design.rows(usable), spend[usable], weight[usable] / weight[usable].mean()
    curves = fit_log_spend(design, spend, weight)
    log_mean = curves.total(design)
    ratio = spend / np.exp(log_mean)
    held = np.minimum(spend, np.exp(log_mean) * 1.5 * np.quantile(ratio, 0.99))
    a, b = _gamma_line(log_mean, held, weight)
    total = np.average(spend, weights=weight) / np.average(np.exp(a + b * log_mean), weights=weight)
    a += float(np.log(np.clip(total, *TOTAL_HELD)))
    return SpendHead(curves, a, b, float(log_mean.min()), float(log_mean.max()) + 0.5)


def mix_with_gamma_gamma(
    learned: Floats, *, per_order: Floats, rate: Floats, frequency: Floats, horizon_days: int
) -> Floats:
    """Mix learned money of a buyer with Gamma-Gamma's, on the scale of logarithms.

    Gamma-Gamma's share falls with the purchases a customer is known by.

    Parameters
    ----------
    learned : array of shape (n_customers,)
        Expected money given a purchase.
    per_order : array of shape (n_customers,)
        Gamma-Gamma's money per purchase day.
    rate : array of shape (n_customers,)
        Purchase days a day while a customer.
    frequency : array of shape (n_customers,)
        Repeat purchase days.
    horizon_days : int
        h.

    Returns
    -------
    array of shape (n_customers,)
        Expected money given a purchase.
    """
    parametric = per_order * orders_if_bought(rate, horizon_days=horizon_days)
    share = GAMMA_GAMMA_SHARE * HALVED_AT / (HALVED_AT + frequency)
    return np.asarray(learned ** (1.0 - share) * parametric**share)


def orders_if_bought(rate: Floats, *, horizon_days: int) -> Floats:
    """Purchase days of a buyer in a window: those of a Poisson process that has at least one.

    Parameters
    ----------
    rate : array of shape (n_customers,)
        Purchase days a day while a customer, > 0.
    horizon_days : int
        Length of the window h.

    Returns
    -------
    array of shape (n_customers,)
        rate h / (1 - exp(-rate h)), above 1.
    """
    expected = rate * horizon_days
    return np.asarray(expected / -np.expm1(-expected))


def _gamma_line(x: Floats, money: Floats, weight: Floats) -> tuple[float, float]:
    """Fit E[money] = exp(a + b x) by gamma deviance, in Newton steps; b stays near 1."""
    middle = float(np.average(x, weights=weight))
    centred = x - middle
    a, b = float(np.log(np.average(money, weights=weight) / np.average(np.exp(centred), weights=weight))), 1.0
    for _ in range(20):
        miss = weight * (money / np.exp(a + b * centred))
        slope = np.array([(miss - weight).sum(), ((miss - weight) * centred).sum()])
        cross = (miss * centred).sum()
        curvature = np.array([[miss.sum(), cross], [cross, (miss * centred * centred).sum()]]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        a, b = a + float(np.clip(step[0], -1.0, 1.0)), float(np.clip(b + np.clip(step[1], -0.3, 0.3), 0.5, 1.5))
    return a - b * middle, b
