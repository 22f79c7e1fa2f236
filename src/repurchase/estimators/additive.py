"""A regularised logistic regression on bent features: a sum of piecewise linear curves, one per feature.

On few data it is steadier than trees, and a customer's log odds are, exactly, the sum of one contribution per feature.
Once fitted, every curve is a handful of points, so a saved head is plain numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["AdditiveHead", "fit_additive"]

Floats = npt.NDArray[np.float64]

STRENGTH = 0.001
"""Inverse penalty of the standardised coefficients (scikit-learn's C); small, so that no single bend counts much."""
QUARTILES = (0.25, 0.5, 0.75)
AS_THEY_ARE = ("usual_log_gap", "silence_in_spreads", "came_back_in_time", "btyd_logit", "btyd_other_logit")
SHARES = ("active_windows_share", "active_months_share", "discount_share", "returned_share")
RATES = ("rate", "btyd_rate", "spend_last_to_typical")


@dataclass(frozen=True)
class AdditiveHead:
    """Log odds as an intercept and one curve per feature.

    Parameters
    ----------
    columns : tuple of str
        Features.
    knots, heights : tuple of tuple of float
        Each curve: values of the bent feature, rising, and the log odds there; flat beyond the ends.
    missing : tuple of float
        Log odds where the feature does not apply.
    intercept : float
        Log odds of all curves at 0.
    """

    columns: tuple[str, ...]
    knots: tuple[tuple[float, ...], ...]
    heights: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    intercept: float

    def contributions(self, design: pl.DataFrame) -> dict[str, Floats]:
        """Split log odds over the features.

        Parameters
        ----------
        design : DataFrame of shape (n_customers, n_features)
            With at least ``columns``.

        Returns
        -------
        dict of str to array of shape (n_customers,)
            Their sum and ``intercept`` are the log odds.
        """
        parts: dict[str, Floats] = {}
        for name, knots, heights, missing in zip(self.columns, self.knots, self.heights, self.missing, strict=True):
            bent = _bend(name, design[name].to_numpy())
            parts[name] = np.where(np.isnan(bent), missing, np.interp(bent, knots, heights))
        return parts

    def log_odds(self, design: pl.DataFrame) -> Floats:
        """Log odds of a purchase.

        Parameters
        ----------
        design : DataFrame of shape (n_customers, n_features)
            With at least ``columns``.

        Returns
        -------
        array of shape (n_customers,)
            Added up feature by feature, so that a customer's digits do not depend on the others.
        """
        total = np.full(len(design), self.intercept)
        for part in self.contributions(design).values():
            total += part
        return total

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {
            "columns": list(self.columns),
            "knots": [list(curve) for curve in self.knots],
            "heights": [list(curve) for curve in self.heights],
            "missing": list(self.missing),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "AdditiveHead":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        AdditiveHead
            Equal to the one saved.
        """
        return cls(
            tuple(fields["columns"]),
            tuple(tuple(curve) for curve in fields["knots"]),
            tuple(tuple(curve) for curve in fields["heights"]),
            tuple(fields["missing"]),
            fields["intercept"],
        )


def fit_additive(design: pl.DataFrame, bought: npt.NDArray[np.bool_], weight: Floats) -> AdditiveHead:
    """Fit the curves.

    Each feature is bent (logarithms of counts, days and money), set to its median where missing, and enters as
    itself, as three hinges at its quartiles, and as a flag of being missing; all standardised, with one ridge penalty.

    Parameters
    ----------
    design : DataFrame of shape (n_rows, n_features)
        Customers at earlier cut-offs.
    bought : bool array of shape (n_rows,)
        What they did.
    weight : float array of shape (n_rows,)
        How much a row counts.

    Returns
    -------
    AdditiveHead
        Flat outside the range it was fitted on.
    """
    from sklearn.linear_model import LogisticRegression

    bases = [_Basis.of(name, design[name].to_numpy()) for name in usable_columns(design.columns)]
    blocks = [basis.terms(design[basis.name].to_numpy()) for basis in bases]
    sizes = [block.shape[1] for block in blocks]
    matrix = np.hstack(blocks)
    middle, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread = np.where(spread > 1e-4, spread, np.inf)
    fitted = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-4)
    fitted.fit((matrix - middle) / spread, bought, sample_weight=weight)
    slopes = fitted.coef_[0] / spread
    shift = float(fitted.intercept_[0] - slopes @ middle)
    curves = [basis.curve(part) for basis, part in zip(bases, np.split(slopes, np.cumsum(sizes)[:-1]), strict=True)]
    return AdditiveHead(
        tuple(basis.name for basis in bases),
        tuple(curve[0] for curve in curves),
        tuple(curve[1] for curve in curves),
        tuple(curve[2] for curve in curves),
        shift,
    )


@dataclass(frozen=True)
class _Basis:
    """Where one feature bends."""

    name: str
    low: float
    high: float
    middle: float
    bends: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Floats) -> "_Basis":
        bent = _bend(name, values)
        known = bent[~np.isnan(bent)]
        filled = np.where(np.isnan(bent), np.median(known), bent)
        bends = np.unique(np.quantile(filled, QUARTILES))
        return cls(name, float(known.min()), float(known.max()), float(np.median(known)), tuple(map(float, bends)))

    def terms(self, values: Floats) -> Floats:
        bent = _bend(self.name, values)
        gone = np.isnan(bent)
        inside = np.clip(np.where(gone, self.middle, bent), self.low, self.high)
        hinges = [np.maximum(inside - bend, 0.0) for bend in self.bends]
        return np.column_stack([inside, *hinges, gone.astype(np.float64)])

    def curve(self, slopes: Floats) -> tuple[tuple[float, ...], tuple[float, ...], float]:
        knots = np.unique([self.low, *(bend for bend in self.bends if self.low < bend < self.high), self.high])
        heights = self._height(knots, slopes)
        missing = float(self._height(np.array([self.middle]), slopes)[0] + slopes[-1])
        return tuple(map(float, knots)), tuple(map(float, heights)), missing

    def _height(self, at: Floats, slopes: Floats) -> Floats:
        total = slopes[0] * at
        for bend, slope in zip(self.bends, slopes[1:-1], strict=True):
            total = total + slope * np.maximum(at - bend, 0.0)
        return np.asarray(total)


def _bend(name: str, values: Floats) -> Floats:
    if name in AS_THEY_ARE or name in SHARES:
        return np.ascontiguousarray(values)
    if name in RATES or name.startswith("fading_rate"):
        return np.asarray(np.log(np.maximum(values, 0.0) + 1e-3))
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def usable_columns(names: Sequence[str]) -> list[str]:
    """Choose the features that a sum of curves can use: those that are not near copies of others.

    Parameters
    ----------
    names : sequence of str
        Features at hand.

    Returns
    -------
    list of str
        In the order given.
    """
    return [name for name in names if name not in LEFT_TO_TREES]


LEFT_TO_TREES = (
    *(f"days_bought_{window}d" for window in (7, 14, 30, 60, 90, 180, 365)),
    "days_bought_90d_before",
    "gap_mean_days",
    "gap_median_days",
    "gap_third_last_days",
    "silence_to_longest_gap",
    "silences_as_long",
    "bought_year_ago",
    "bought_about_year_ago",
    "fading_rate_7d",
    "fading_rate_15d",
    "fading_rate_60d",
    "fading_rate_240d",
    "rate",
    "orders_per_day",
    "lines_per_day",
    "lines_last",
    "pieces_per_day",
    "discount_share",
    "returned_share",
    "spend_days_total",
    "spend_per_day",
    "spend_first",
    "spend_smallest",
    "fading_spend_480d",
    "btyd_p_alive",
    "btyd_orders",
)
