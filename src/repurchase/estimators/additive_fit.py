"""How curves are learned: regularised regressions on bent features (see `additive`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.design import Design, bend

__all__ = ["PURCHASE_FEATURES", "fit_additive", "fit_curves", "fit_log_ratio", "fit_log_spend"]

Floats = npt.NDArray[np.float64]

PENALTY = 1000.0
"""Of the squared standardised slopes; large, so that no single bend counts much."""
QUARTILES = (0.25, 0.5, 0.75)
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
DAYS_FEATURES = (
    *("frequency", "age_days", "days_since_last"),
    *(f"fading_days_{days}d" for days in (15, 60, 240)),
    *(f"fading_rate_{days}d" for days in (30, 120, 480)),
    *("bought_last_window", "bought_window_before", "bought_year_ago", "active_windows_share"),
    *("usual_log_gap", "gap_irregularity", "gap_last_days", "btyd_logit", "btyd_rate"),
)
RATIO_PENALTY = 200.0
"""Of the squared standardised slopes of a ratio of counts, in expected counts."""
HELD_BY_COUNTS = 10.0
"""Counts, come as expected, that hold a ratio to one."""


def fit_additive(design: Design, bought: npt.NDArray[np.bool_], weight: Floats) -> AdditiveHead:
    """Fit log odds of a purchase: a logistic regression with one ridge penalty.

    Each feature is bent (logarithms of counts, days and money), set to its median where missing, and enters as
    itself, as three hinges at its quartiles, and as a flag of being missing; all standardised.

    Parameters
    ----------
    design : Design of shape (n_rows, n_features)
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


def fit_log_spend(design: Design, spend: Floats, weight: Floats) -> AdditiveHead:
    """Fit the logarithm of a buyer's money: a ridge regression on the same kind of curves.

    Parameters
    ----------
    design : Design of shape (n_buyers, n_features)
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


def fit_log_ratio(design: Design, counts: Floats, expected: Floats, weight: Floats) -> AdditiveHead:
    """Fit the logarithm of counts over expected counts: a Poisson regression on the same kind of curves.

    One more row, in the middle of all features, has ten counts of ten expected: few counts move the ratio little, and
    none at all do not send it to zero.

    Parameters
    ----------
    design : Design of shape (n_rows, n_features)
        Customers; of ``DAYS_FEATURES`` those it has are used.
    counts, expected : float arrays of shape (n_rows,)
        What came, >= 0, and what was expected, > 0.
    weight : float array of shape (n_rows,)
        How much a row counts.

    Returns
    -------
    AdditiveHead
        Flat outside the range it was fitted on, save for its rarest thousandth.
    """
    from sklearn.linear_model import PoissonRegressor

    bases = _bases(design, DAYS_FEATURES, tail=TAIL)
    matrix, middle, spread = _standardised(bases, design)
    exposure = np.append(weight * expected, HELD_BY_COUNTS)
    fitted = PoissonRegressor(alpha=RATIO_PENALTY / exposure.sum(), solver="newton-cholesky").fit(
        np.vstack([matrix, np.zeros(matrix.shape[1])]), np.append(counts / expected, 1.0), sample_weight=exposure
    )
    return _head(bases, fitted.coef_ / spread, float(fitted.intercept_), middle)


def fit_curves(
    design: Design,
    values: Floats,
    *,
    features: Sequence[str],
    penalty: float = PENALTY,
    weight: Floats | None = None,
) -> AdditiveHead:
    """Fit any number of a customer: a ridge regression on the same kind of curves.

    Parameters
    ----------
    design : Design of shape (n_rows, n_features)
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


def _reaches_back(design: Design, name: str) -> bool:
    return name in design and not np.isnan(design[name]).mean() > 1.0 - LEAST_WITH_YEAR_AGO


def _bases(design: Design, features: Sequence[str], *, tail: float = 0.0) -> list["_Basis"]:
    there = [name for name in features if name in design and not np.isnan(design[name]).all()]
    return [_Basis.of(name, design[name], tail=tail) for name in there]


def _standardised(bases: Sequence["_Basis"], design: Design) -> tuple[Floats, Floats, Floats]:
    matrix = np.hstack([basis.terms(design[basis.name]) for basis in bases])
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
        bent = bend(name, values)
        known = bent[~np.isnan(bent)]
        filled = np.where(np.isnan(bent), np.median(known), bent)
        bends = np.unique(np.quantile(filled, QUARTILES))
        low, high = np.quantile(known, [tail, 1.0 - tail])
        return cls(name, float(low), float(high), float(np.median(known)), tuple(map(float, bends)))

    def terms(self, values: Floats) -> Floats:
        bent = bend(self.name, values)
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
        for knot, slope in zip(self.bends, slopes[1:-1], strict=True):
            total = total + slope * np.maximum(at - knot, 0.0)
        return np.asarray(total)
