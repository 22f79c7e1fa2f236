"""Regularised regressions on bent features: a sum of piecewise linear curves, one per feature.

On few data they are steadier than trees, and what a customer gets is, exactly, the sum of one contribution per feature.
Once fitted, every curve is a handful of points, so a saved head is plain numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["PURCHASE_FEATURES", "AdditiveHead", "fit_additive", "fit_curves", "fit_log_spend"]

Floats = npt.NDArray[np.float64]

PENALTY = 1000.0
"""Of the squared standardised slopes; large, so that no single bend counts much."""
QUARTILES = (0.25, 0.5, 0.75)
AS_THEY_ARE = ("usual_log_gap", "silence_in_spreads", "came_back_in_time", "btyd_logit", "btyd_other_logit")
SHARES = ("active_windows_share", "active_months_share", "discount_share", "returned_share")
PURCHASE_FEATURES = (
    *("frequency", "age_days", "days_since_last", "recency_days"),
    *(f"fading_days_{days}d" for days in (7, 15, 30, 60, 120, 240, 480)),
    *(f"fading_rate_{days}d" for days in (30, 120, 480)),
    *("bought_last_window", "bought_window_before", "came_back_in_time"),
    *("active_windows_share", "active_months_share"),
    *("usual_log_gap", "silence_in_spreads", "silence_to_gap", "gap_irregularity"),
    *("gap_last_days", "gap_before_last_days", "gap_longest_days"),
    *("spend_typical", "spend_last_to_typical", "spend_last", "spend_largest", "spend_irregularity"),
    *("fading_spend_30d", "fading_spend_120d"),
    *("btyd_logit", "btyd_other_logit", "btyd_rate"),
)
YEAR_AGO_FEATURES = ("bought_year_ago", "bought_about_year_ago")
LEAST_WITH_YEAR_AGO = 0.2
"""Share of rows that reach back a year, below which only the first few customers would speak for the season."""
TAIL = 0.001
"""Of values at either end, where purchases are taught: curves are flat there, lest one odd customer bend them."""
SPEND_FEATURES = (
    *("frequency", "age_days", "days_since_last"),
    *(f"fading_days_{days}d" for days in (30, 120, 480)),
    *(f"fading_rate_{days}d" for days in (30, 120, 480)),
    *("bought_last_window", "bought_window_before", "came_back_in_time", "active_windows_share", "usual_log_gap"),
    *("spend_typical", "spend_last_to_typical", "spend_last", "spend_largest", "spend_irregularity", "spend_per_day"),
    *(f"fading_spend_{days}d" for days in (15, 30, 60, 120, 240, 480)),
    *(f"fading_spend_rate_{days}d" for days in (30, 120, 480)),
    *("spend_last_window", "spend_window_before", "fading_value", "bought_year_ago"),
    *("btyd_logit", "btyd_rate"),
)
RATES = ("rate", "btyd_rate", "spend_last_to_typical")


@dataclass(frozen=True)
class AdditiveHead:
    """Log odds, or the logarithm of money, as an intercept and one curve per feature.

    Parameters
    ----------
    columns : tuple of str
        Features.
    knots, heights : tuple of tuple of float
        Each curve: values of the bent feature, rising, and its height there; flat beyond the ends.
    missing : tuple of float
        Height where the feature does not apply.
    intercept : float
        With all curves at 0.
    """

    columns: tuple[str, ...]
    knots: tuple[tuple[float, ...], ...]
    heights: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    intercept: float

    def contributions(self, design: pl.DataFrame) -> dict[str, Floats]:
        """Split the total over the features.

        Parameters
        ----------
        design : DataFrame of shape (n_customers, n_features)
            With at least ``columns``.

        Returns
        -------
        dict of str to array of shape (n_customers,)
            Their sum and ``intercept`` are the `total`.
        """
        parts: dict[str, Floats] = {}
        for name, knots, heights, missing in zip(self.columns, self.knots, self.heights, self.missing, strict=True):
            bent = _bend(name, design[name].to_numpy())
            parts[name] = np.where(np.isnan(bent), missing, np.interp(bent, knots, heights))
        return parts

    def total(self, design: pl.DataFrame) -> Floats:
        """Add up the curves.

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
    """Fit log odds of a purchase: a logistic regression with one ridge penalty.

    Each feature is bent (logarithms of counts, days and money), set to its median where missing, and enters as
    itself, as three hinges at its quartiles, and as a flag of being missing; all standardised.

    Parameters
    ----------
    design : DataFrame of shape (n_rows, n_features)
        Customers at earlier cut-offs; ``PURCHASE_FEATURES`` are used, and ``YEAR_AGO_FEATURES`` where enough rows
        reach back that far.
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

    features = [*PURCHASE_FEATURES, *(name for name in YEAR_AGO_FEATURES if _reaches_back(design, name))]
    bases = _bases(design, features, tail=TAIL)
    matrix, middle, spread = _standardised(bases, design)
    fitted = LogisticRegression(C=1.0 / PENALTY, solver="newton-cholesky").fit(matrix, bought, sample_weight=weight)
    return _head(bases, fitted.coef_[0] / spread, float(fitted.intercept_[0]), middle)


def fit_log_spend(design: pl.DataFrame, spend: Floats, weight: Floats) -> AdditiveHead:
    """Fit the logarithm of a buyer's money: a ridge regression on the same kind of curves.

    Parameters
    ----------
    design : DataFrame of shape (n_buyers, n_features)
        Buyers at earlier cut-offs; ``SPEND_FEATURES`` are used.
    spend : float array of shape (n_buyers,)
        Their net money in the window, > 0.
    weight : float array of shape (n_buyers,)
        How much a row counts.

    Returns
    -------
    AdditiveHead
        Flat outside the range it was fitted on.
    """
    floored = np.log(np.maximum(spend, np.quantile(spend, 0.002)))
    return fit_curves(design, floored, features=SPEND_FEATURES, weight=weight)


def fit_curves(
    design: pl.DataFrame,
    values: Floats,
    *,
    features: Sequence[str],
    penalty: float = PENALTY,
    weight: Floats | None = None,
) -> AdditiveHead:
    """Fit any number of a customer: a ridge regression on the same kind of curves.

    Parameters
    ----------
    design : DataFrame of shape (n_rows, n_features)
        Customers; of ``features`` those it has are used.
    values : float array of shape (n_rows,)
        What to fit.
    features : sequence of str
        Which columns get a curve.
    penalty : float, optional
        Of the squared standardised slopes.
    weight : float array of shape (n_rows,), optional
        How much a row counts.

    Returns
    -------
    AdditiveHead
        Flat outside the range it was fitted on.
    """
    from sklearn.linear_model import Ridge

    bases = _bases(design, features)
    matrix, middle, spread = _standardised(bases, design)
    fitted = Ridge(alpha=penalty).fit(matrix, values, sample_weight=weight)
    return _head(bases, fitted.coef_ / spread, float(fitted.intercept_), middle)


def _reaches_back(design: pl.DataFrame, name: str) -> bool:
    return name in design.columns and design[name].is_not_nan().sum() >= LEAST_WITH_YEAR_AGO * len(design)


def _bases(design: pl.DataFrame, features: Sequence[str], *, tail: float = 0.0) -> list["_Basis"]:
    there = [name for name in features if name in design.columns and design[name].is_not_nan().any()]
    return [_Basis.of(name, design[name].to_numpy(), tail=tail) for name in there]


def _standardised(bases: Sequence["_Basis"], design: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    matrix = np.hstack([basis.terms(design[basis.name].to_numpy()) for basis in bases])
    middle, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread = np.where(spread > 1e-4, spread, np.inf)
    return (matrix - middle) / spread, middle, spread


def _head(bases: Sequence["_Basis"], slopes: Floats, intercept: float, middle: Floats) -> AdditiveHead:
    ends = np.cumsum([len(basis.bends) + 2 for basis in bases])[:-1]
    curves = [basis.curve(part) for basis, part in zip(bases, np.split(slopes, ends), strict=True)]
    return AdditiveHead(
        tuple(basis.name for basis in bases),
        tuple(curve[0] for curve in curves),
        tuple(curve[1] for curve in curves),
        tuple(curve[2] for curve in curves),
        intercept - float(slopes @ middle),
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
    def of(cls, name: str, values: Floats, *, tail: float) -> "_Basis":
        bent = _bend(name, values)
        known = bent[~np.isnan(bent)]
        filled = np.where(np.isnan(bent), np.median(known), bent)
        bends = np.unique(np.quantile(filled, QUARTILES))
        low, high = np.quantile(known, [tail, 1.0 - tail])
        return cls(name, float(low), float(high), float(np.median(known)), tuple(map(float, bends)))

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
    if name in RATES or name.startswith(("fading_rate", "fading_spend_rate")):
        return np.asarray(np.log(np.maximum(values, 0.0) + 1e-3))
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
