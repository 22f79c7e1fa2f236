"""Additive models: one piecewise linear curve per feature, fitted with a ridge penalty."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from repurchase.features.history import Floats
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import FeatureMatrix, IndexArray, TransformedColumn, transform_feature

_NEAREST_KNOTS = 1e-10
"""Between knots closer than this a slope would be made of rounding."""


@dataclass(frozen=True)
class AdditiveModel(JsonDataclass):
    """Log odds, or the logarithm of money, as an intercept and one curve per feature."""

    columns: tuple[str, ...]
    knots: tuple[tuple[float, ...], ...]
    heights: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    intercept: float

    def contributions(self, design: FeatureMatrix) -> dict[str, Floats]:
        """Split the total over the features."""
        return {name: hinges.total(design.transformed(name)) + hinges.added for name, hinges in self._hinges.items()}

    def total(self, design: FeatureMatrix, indices: IndexArray | None = None) -> Floats:
        """Add up the curves."""
        total = np.full(design.n_customers if indices is None else len(indices), self._added)
        for name, hinges in self._hinges.items():
            transformed = design.transformed(name)
            total += hinges.total(transformed if indices is None else transformed.rows(indices))
        return total

    @cached_property
    def _hinges(self) -> dict[str, "_HingeCurve"]:
        curves = zip(self.columns, self.knots, self.heights, self.missing, strict=True)
        return {name: _HingeCurve.of(knots, heights, missing) for name, knots, heights, missing in curves}

    @cached_property
    def _added(self) -> float:
        return self.intercept + sum(hinges.added for hinges in self._hinges.values())


@dataclass(frozen=True)
class _HingeCurve:
    """A curve with knots k where its slope changes by d: the sum of d max(x, k), and what is added to it."""

    # Flat beyond the ends and without look-ups: a few passes over the customers, the same for any of them.
    terms: tuple[tuple[float, float], ...]
    added: float
    added_where_missing: float

    @classmethod
    def of(cls, knots: Sequence[float], heights: Sequence[float], missing: float) -> "_HingeCurve":
        kept = np.diff(knots, prepend=-np.inf) > _NEAREST_KNOTS
        at, height = np.array(knots)[kept], np.array(heights)[kept]
        changes = np.diff(np.diff(height) / np.diff(at), prepend=0.0, append=0.0)
        terms = tuple((float(knot), float(change)) for knot, change in zip(at, changes, strict=True) if change != 0.0)
        lowest = float(height[0])
        return cls(terms, lowest - sum(knot * change for knot, change in terms), missing - lowest)

    def total(self, transformed: TransformedColumn) -> Floats:
        part = np.zeros(len(transformed.values))
        step = np.empty_like(part)
        for knot, change in self.terms:
            np.maximum(transformed.values, knot, out=step)
            np.multiply(step, change, out=step)
            np.add(part, step, out=part)
        if transformed.missing is not None:
            np.multiply(transformed.missing, self.added_where_missing, out=step)
            np.add(part, step, out=part)
        return part if transformed.index is None else part.take(transformed.index)


PENALTY = 1000.0
"""Of the squared standardised slopes; large, so that no single knot counts much."""
_QUARTILES = (0.25, 0.5, 0.75)
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
_YEAR_AGO_FEATURES = ("bought_year_ago", "bought_about_year_ago")
_MIN_SHARE_WITH_YEAR_AGO = 0.2
"""Share of rows that reach back a year, below which only the first few customers would determine the season."""
TAIL_SHARE = 0.001
"""Share of values at either end of curves of purchases where the curve is flat, so that no outlier bends it."""
_SPEND_FEATURES = (
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
_DAYS_FEATURES = (
    *("frequency", "age_days", "days_since_last"),
    *(f"fading_days_{days}d" for days in (15, 60, 240)),
    *(f"fading_rate_{days}d" for days in (30, 120, 480)),
    *("bought_last_window", "bought_window_before", "bought_year_ago", "active_windows_share"),
    *("usual_log_gap", "gap_irregularity", "gap_last_days", "btyd_logit", "btyd_rate"),
)
_RATIO_PENALTY = 200.0
"""Of the squared standardised slopes of a ratio of counts, in expected counts."""
_RATIO_PRIOR_COUNTS = 10.0
"""Counts, come as expected, that hold a ratio to one."""


def fit_additive(design: FeatureMatrix, bought: npt.NDArray[np.bool_], weight: Floats) -> AdditiveModel:
    """Fit log odds of a purchase: a logistic regression with one ridge penalty.

    Each feature is transformed (logarithms of counts, days and money), set to its median where missing, and enters as
    itself, as three hinges at its quartiles, and as a flag of being missing; all standardised.
    """
    from sklearn.linear_model import LogisticRegression

    features = [*PURCHASE_FEATURES, *(name for name in _YEAR_AGO_FEATURES if _has_year_ago(design, name))]
    bases = _bases(design, features, tail=TAIL_SHARE)
    matrix, middle, spread = _standardised(bases, design)
    fitted = LogisticRegression(C=1.0 / PENALTY, solver="newton-cholesky").fit(matrix, bought, sample_weight=weight)
    return _additive_model(bases, fitted.coef_[0] / spread, float(fitted.intercept_[0]), middle)


def fit_log_spend(design: FeatureMatrix, spend: Floats, weight: Floats) -> AdditiveModel:
    """Fit the logarithm of a buyer's money: a ridge regression on the same kind of curves."""
    floored = np.log(np.maximum(spend, np.quantile(spend, 0.002)))
    return fit_curves(design, floored, features=_SPEND_FEATURES, weight=weight)


def fit_log_ratio(design: FeatureMatrix, counts: Floats, expected: Floats, weight: Floats) -> AdditiveModel:
    """Fit the logarithm of counts over expected counts: a Poisson regression on the same kind of curves.

    One more row, in the middle of all features, has ten counts of ten expected: few counts move the ratio little, and
    none at all do not send it to zero.
    """
    from sklearn.linear_model import PoissonRegressor

    bases = _bases(design, _DAYS_FEATURES, tail=TAIL_SHARE)
    matrix, middle, spread = _standardised(bases, design)
    exposure = np.append(weight * expected, _RATIO_PRIOR_COUNTS)
    fitted = PoissonRegressor(alpha=_RATIO_PENALTY / exposure.sum(), solver="newton-cholesky").fit(
        np.vstack([matrix, np.zeros(matrix.shape[1])]), np.append(counts / expected, 1.0), sample_weight=exposure
    )
    return _additive_model(bases, fitted.coef_ / spread, float(fitted.intercept_), middle)


def fit_curves(
    design: FeatureMatrix,
    values: Floats,
    *,
    features: Sequence[str],
    penalty: float = PENALTY,
    weight: Floats | None = None,
) -> AdditiveModel:
    """Fit any number of a customer: a ridge regression on the same kind of curves."""
    from sklearn.linear_model import Ridge

    bases = _bases(design, features)
    matrix, middle, spread = _standardised(bases, design)
    fitted = Ridge(alpha=penalty).fit(matrix, values, sample_weight=weight)
    return _additive_model(bases, fitted.coef_ / spread, float(fitted.intercept_), middle)


def _has_year_ago(design: FeatureMatrix, name: str) -> bool:
    return name in design and not np.isnan(design[name]).mean() > 1.0 - _MIN_SHARE_WITH_YEAR_AGO


def _bases(design: FeatureMatrix, features: Sequence[str], *, tail: float = 0.0) -> list["_Basis"]:
    there = [name for name in features if name in design and not np.isnan(design[name]).all()]
    return [_Basis.of(name, design[name], tail=tail) for name in there]


def _standardised(bases: Sequence["_Basis"], design: FeatureMatrix) -> tuple[Floats, Floats, Floats]:
    matrix = np.hstack([basis.terms(design[basis.name]) for basis in bases])
    middle, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread = np.where(spread > 1e-4, spread, np.inf)
    return (matrix - middle) / spread, middle, spread


def _additive_model(bases: Sequence["_Basis"], slopes: Floats, intercept: float, middle: Floats) -> AdditiveModel:
    ends = np.cumsum([len(basis.inner_knots) + 2 for basis in bases])[:-1]
    curves = [basis.curve(part) for basis, part in zip(bases, np.split(slopes, ends), strict=True)]
    return AdditiveModel(
        tuple(basis.name for basis in bases),
        tuple(curve[0] for curve in curves),
        tuple(curve[1] for curve in curves),
        tuple(curve[2] for curve in curves),
        intercept - float(slopes @ middle),
    )


@dataclass(frozen=True)
class _Basis:
    """The knots of one feature."""

    name: str
    low: float
    high: float
    middle: float
    inner_knots: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Floats, *, tail: float) -> "_Basis":
        transformed = transform_feature(name, values)
        known = transformed[~np.isnan(transformed)]
        filled = np.where(np.isnan(transformed), np.median(known), transformed)
        inner_knots = np.unique(np.quantile(filled, _QUARTILES))
        low, high = np.quantile(known, [tail, 1.0 - tail])
        return cls(name, float(low), float(high), float(np.median(known)), tuple(map(float, inner_knots)))

    def terms(self, values: Floats) -> Floats:
        transformed = transform_feature(self.name, values)
        missing = np.isnan(transformed)
        inside = np.clip(np.where(missing, self.middle, transformed), self.low, self.high)
        hinges = [np.maximum(inside - knot, 0.0) for knot in self.inner_knots]
        return np.column_stack([inside, *hinges, missing.astype(np.float64)])

    def curve(self, slopes: Floats) -> tuple[tuple[float, ...], tuple[float, ...], float]:
        knots = np.unique([self.low, *(knot for knot in self.inner_knots if self.low < knot < self.high), self.high])
        heights = self._height(knots, slopes)
        missing = float(self._height(np.array([self.middle]), slopes)[0] + slopes[-1])
        return tuple(map(float, knots)), tuple(map(float, heights)), missing

    def _height(self, at: Floats, slopes: Floats) -> Floats:
        total = slopes[0] * at
        for knot, slope in zip(self.inner_knots, slopes[1:-1], strict=True):
            total = total + slope * np.maximum(at - knot, 0.0)
        return np.asarray(total)
