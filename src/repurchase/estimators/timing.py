"""When the next order comes: learned waits of those who came back, and beyond them the curve over the horizons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.additive_fit import PURCHASE_FEATURES, fit_curves
from repurchase.estimators.design import Design, Places
from repurchase.estimators.ranges import Scatter, fit_scatter

__all__ = ["WITHIN_DAYS", "Waits", "days_to_next_order", "fit_waits"]

Floats = npt.NDArray[np.float64]

WITHIN_DAYS = 365
LOW, MEDIAN, HIGH = 0.11, 0.50, 0.91
"""More may lie before the range than after it: whoever looks after some months sees the early ones only."""
HIGH_FROM_TOMORROW = 0.80
"""Where the range begins tomorrow nothing lies before it."""
LEAST_BUYERS = 100


@dataclass(frozen=True)
class Waits:
    """How many days pass until the next purchase day of those who buy within a window.

    Parameters
    ----------
    horizon_days : int
        Length of the window.
    curves : AdditiveHead
        Mean of log(days - 1/2).
    scatter : Scatter
        Of what is left, given that mean.
    """

    horizon_days: int
    curves: AdditiveHead
    scatter: Scatter

    def log_days(self, design: Design, places: Places | None = None) -> Floats:
        """Mean of log(days - 1/2) until the purchase.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            See `design_matrix`, of this window's length.
        places : array, optional
            Positions of those asked about; without it everyone.

        Returns
        -------
        array of shape (n_customers,)
            Finite.
        """
        return self.curves.total(design, places)

    def days(self, log_days: Floats, level: Floats) -> Floats:
        """Days by which a share of a customer's possible futures has seen the purchase, given that there is one.

        Parameters
        ----------
        log_days : array of shape (n_customers,)
            See `log_days`.
        level : array of shape (n_customers,)
            The share, in [0, 1].

        Returns
        -------
        array of shape (n_customers,)
            In [1, ``horizon_days``], whole.
        """
        middle_of_day = np.exp(log_days + self.scatter.quantile(log_days, level))
        return np.clip(np.ceil(middle_of_day), 1.0, self.horizon_days)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {
            "horizon_days": self.horizon_days,
            "curves": self.curves.to_dict(),
            "scatter": self.scatter.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Waits":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Waits
            Equal to the one saved.
        """
        return cls(
            fields["horizon_days"], AdditiveHead.from_dict(fields["curves"]), Scatter.from_dict(fields["scatter"])
        )


def fit_waits(design: Design, wait_days: Floats, *, horizon_days: int) -> Waits | None:
    """Learn waits from earlier customers.

    Parameters
    ----------
    design : Design of shape (n_rows, n_features)
        Customers at earlier cut-offs.
    wait_days : array of shape (n_rows,)
        Days to their next purchase day, NaN for those without one in the window.
    horizon_days : int
        Length of the window.

    Returns
    -------
    Waits or None
        None where fewer than 100 buyers teach.
    """
    bought = np.flatnonzero(np.isfinite(wait_days))
    if len(bought) < LEAST_BUYERS:
        return None
    log_wait = np.log(wait_days[bought] - 0.5)
    curves = fit_curves(design.rows(bought), log_wait, features=PURCHASE_FEATURES)
    mean = curves.total(design.rows(bought))
    return Waits(horizon_days, curves, fit_scatter(mean, log_wait - mean))


def days_to_next_order(
    curve: Mapping[int, Floats], *, waits: Waits | None = None, design: Design | None = None
) -> tuple[Floats, Floats, Floats]:
    """Days until the next order: median and the range that holds 80 %, among those who do order within a year.

    Up to the window of ``waits`` days are read off what was learned; elsewhere the hazard -log(1 - p) grows evenly
    between horizons.

    Parameters
    ----------
    curve : mapping of int to array of shape (n_customers,)
        Horizon to probability, rising; the last horizon up to 365 days is the window.
    waits : Waits, optional
        Learned; its window is one of the horizons.
    design : Design of shape (n_customers, n_features), optional
        What ``waits`` reads.

    Returns
    -------
    low, median, high : arrays of shape (n_customers,)
        Days after ``as_of``, >= 1; NaN for whom an order in the window is not more likely than not.
    """
    horizons = [horizon for horizon in sorted(curve) if horizon <= WITHIN_DAYS]
    if not horizons:
        nothing = np.full(len(next(iter(curve.values()))), np.nan)
        return nothing, nothing, nothing
    within = curve[horizons[-1]]
    likely = np.flatnonzero(within > 0.5)
    log_days = waits.log_days(design, likely) if waits is not None and design is not None else None
    some = {horizon: p[likely] for horizon, p in curve.items()}
    days = _days(within[likely], some, waits, log_days)
    low, median, high = np.full((3, len(within)), np.nan)
    low[likely], median[likely], high[likely] = days
    return low, median, high


def _days(
    within: Floats, curve: Mapping[int, Floats], waits: Waits | None, log_days: Floats | None
) -> tuple[Floats, Floats, Floats]:
    horizons = [horizon for horizon in sorted(curve) if horizon <= WITHIN_DAYS]

    def reached(share: Floats | float) -> Floats:
        p = np.asarray(share * within)
        days = _days_until(p, horizons, curve)
        if waits is not None and log_days is not None:
            by_then = curve[waits.horizon_days]
            learned = waits.days(log_days, p / np.maximum(by_then, 1e-9))
            days = np.where(p <= by_then, learned, np.maximum(days, waits.horizon_days))
        return days

    low = reached(LOW)
    return low, reached(MEDIAN), reached(np.where(low > 1.0, HIGH, HIGH_FROM_TOMORROW))


def _days_until(p: Floats, horizons: list[int], curve: Mapping[int, Floats]) -> Floats:
    wanted = _hazard(p)
    days = np.full_like(p, float(horizons[-1]))
    before_day, before_hazard = 0, np.zeros_like(p)
    reached = np.zeros(len(p), dtype=bool)
    for horizon in horizons:
        hazard = _hazard(curve[horizon])
        here = ~reached & (wanted <= hazard)
        step = np.maximum(hazard - before_hazard, 1e-12)
        days = np.where(here, before_day + (horizon - before_day) * (wanted - before_hazard) / step, days)
        reached |= here
        before_day, before_hazard = horizon, hazard
    return np.asarray(np.clip(np.ceil(days), 1.0, None))


def _hazard(p: Floats) -> Floats:
    return np.asarray(-np.log1p(-np.clip(p, 0.0, 1.0 - 1e-9)))
