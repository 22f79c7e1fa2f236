"""Days until the next purchase day: median and 80 % range."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from repurchase.features.history import Floats
from repurchase.models.additive import PURCHASE_FEATURES, AdditiveModel, fit_curves
from repurchase.models.calibration import ConditionalQuantiles, fit_conditional_quantiles
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import FeatureMatrix, IndexArray

MAX_DATED_DAYS = 365
_LOW, _MEDIAN, _HIGH = 0.11, 0.50, 0.91
"""More may lie before the range than after it: after some months only the early ones can be observed."""
_HIGH_FROM_TOMORROW = 0.80
"""Where the range begins tomorrow nothing lies before it."""
_MIN_BUYERS = 100


@dataclass(frozen=True)
class WaitModel(JsonDataclass):
    """How many days pass until the next purchase day of those who buy within a window."""

    horizon_days: int
    curves: AdditiveModel
    scatter: ConditionalQuantiles

    def log_days(self, features: FeatureMatrix, indices: IndexArray | None = None) -> Floats:
        """Mean of log(days - 1/2) until the purchase."""
        return self.curves.total(features, indices)

    def days(self, log_days: Floats, level: Floats) -> Floats:
        """Days by which a share of a customer's possible futures has seen the purchase, given that there is one."""
        middle_of_day = np.exp(log_days + self.scatter.quantile(log_days, level))
        return np.clip(np.ceil(middle_of_day), 1.0, self.horizon_days)


def fit_wait_model(features: FeatureMatrix, wait_days: Floats, *, horizon_days: int) -> WaitModel | None:
    """Learn waits from earlier customers."""
    bought = np.flatnonzero(np.isfinite(wait_days))
    if len(bought) < _MIN_BUYERS:
        return None
    log_wait = np.log(wait_days[bought] - 0.5)
    curves = fit_curves(features.rows(bought), log_wait, features=PURCHASE_FEATURES)
    mean = curves.total(features.rows(bought))
    return WaitModel(horizon_days, curves, fit_conditional_quantiles(mean, log_wait - mean))


def days_to_next_order(
    curve: Mapping[int, Floats], *, waits: WaitModel | None = None, features: FeatureMatrix | None = None
) -> tuple[Floats, Floats, Floats]:
    """Days until the next order: median and the range that holds 80 %, among those who do order within a year.

    Up to the window of ``waits`` days are read off what was learned; elsewhere the hazard -log(1 - p) grows evenly
    between horizons.
    """
    horizons = [horizon for horizon in sorted(curve) if horizon <= MAX_DATED_DAYS]
    if not horizons:
        nothing = np.full(len(next(iter(curve.values()))), np.nan)
        return nothing, nothing, nothing
    within = curve[horizons[-1]]
    likely = np.flatnonzero(within > 0.5)
    log_days = waits.log_days(features, likely) if waits is not None and features is not None else None
    some = {horizon: p[likely] for horizon, p in curve.items()}
    days = _days(within[likely], some, waits, log_days)
    low, median, high = np.full((3, len(within)), np.nan)
    low[likely], median[likely], high[likely] = days
    return low, median, high


def _days(
    within: Floats, curve: Mapping[int, Floats], waits: WaitModel | None, log_days: Floats | None
) -> tuple[Floats, Floats, Floats]:
    horizons = [horizon for horizon in sorted(curve) if horizon <= MAX_DATED_DAYS]

    def reached(share: Floats | float) -> Floats:
        p = np.asarray(share * within)
        days = _days_until(p, horizons, curve)
        if waits is not None and log_days is not None:
            by_then = curve[waits.horizon_days]
            learned = waits.days(log_days, p / np.maximum(by_then, 1e-9))
            days = np.where(p <= by_then, learned, np.maximum(days, waits.horizon_days))
        return days

    low = reached(_LOW)
    return low, reached(_MEDIAN), reached(np.where(low > 1.0, _HIGH, _HIGH_FROM_TOMORROW))


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
