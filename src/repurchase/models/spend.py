"""Spend and purchase days of those who buy within a horizon, and the 80 % range of a customer's spend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.features.history import Floats
from repurchase.models.additive import AdditiveModel, fit_log_ratio, fit_log_spend
from repurchase.models.btyd.model import BtydForecast, BtydModel, expected_if_alive
from repurchase.models.calibration import (
    MIN_GROUP_SIZE,
    QUANTILE_LEVELS,
    ConditionalQuantiles,
    fit_conditional_quantiles,
    shift_to_share,
)
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import FeatureMatrix, expit, logit

_MIN_FURTHER_DAYS = 1e-6
_MAX_LOG_RATIO = 7.0
"""Bound of the correction: a factor of a thousand either way."""
_MAX_OFFSET_EFFECT, _MAX_SEASON_EFFECT = 0.4, 0.9
"""By how much, on the scale of logarithms, the calibration offset and the season may change how often buyers come. A
greater offset means that learned probabilities and BTYD's do not agree, not that buyers come more often."""


@dataclass(frozen=True)
class PurchaseDaysModel(JsonDataclass):
    """How many further purchase days a buyer has for each that BTYD expects."""

    curves: AdditiveModel

    def if_bought(self, design: FeatureMatrix, btyd_days: Floats, *, pace: float, horizon_days: int) -> Floats:
        """Expected purchase days, given at least one."""
        ratio = np.exp(np.clip(self.curves.total(design), -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
        further = (btyd_days - 1.0) * ratio * pace
        return np.asarray(np.minimum(1.0 + further, horizon_days))


def fit_purchase_days(
    design: FeatureMatrix, purchase_days: Floats, btyd_days: Floats, weight: Floats
) -> PurchaseDaysModel | None:
    """Learn a buyer's purchase days from earlier buyers."""
    if not len(purchase_days):
        return None
    expected = np.maximum(btyd_days - 1.0, _MIN_FURTHER_DAYS)
    return PurchaseDaysModel(fit_log_ratio(design, purchase_days - 1.0, expected, weight))


def pace_factor(level: float, season: float) -> float:
    """Factor by which purchases come faster than in the training windows."""
    held = np.clip(level, -_MAX_OFFSET_EFFECT, _MAX_OFFSET_EFFECT) + np.clip(
        season, -_MAX_SEASON_EFFECT, _MAX_SEASON_EFFECT
    )
    return float(np.exp(held))


def btyd_days_if_bought(btyd_forecast: BtydForecast, *, horizon_days: int) -> Floats:
    """Purchase days that BTYD expects of a customer who buys in a window at all."""
    return btyd_forecast.per_pair("days_if_bought", _days_if_bought, horizon_days)


def _days_if_bought(fit: BtydModel, x: Floats, T: Floats, horizon_days: float) -> Floats:
    p = -np.expm1(-(fit.r + x) * np.log1p(horizon_days / (fit.alpha + T)))  # exact however rarely one buys
    return np.asarray(np.clip(expected_if_alive(fit, x, T, horizon_days) / p, 1.0, horizon_days))


_OUTSIDE_SHARE = 0.20
_BUYERS_OUTSIDE_SHARE = 0.06
"""Of the 20 % that may lie outside, what is held back for buyers, whose money drifts with the window."""


_DEFAULT_LOG_SIGMA = 1.0
"""Standard deviation of a buyer's log spend where there are too few buyers to learn it from."""
_MAX_WINDOW_DRIFT = 1.0


@dataclass(frozen=True)
class ObservedWindow:
    """Expected and actual purchases of customers at an earlier snapshot."""

    log_odds: Floats
    bought: npt.NDArray[np.bool_]
    orders_if_bought: Floats
    spend_if_bought: Floats
    spend: Floats


@dataclass(frozen=True)
class SpendSpread(JsonDataclass):
    """How far a buyer's money lies around what was expected, and how far whole windows did."""

    scatter: ConditionalQuantiles
    drift_odds: float
    drift_spend: float

    @classmethod
    def unknown(cls) -> "SpendSpread":
        """Assume a log-normal scatter where there is none to learn from."""
        from scipy.special import ndtri

        log_ratios = _DEFAULT_LOG_SIGMA * ndtri(np.array(QUANTILE_LEVELS)) - _DEFAULT_LOG_SIGMA**2 / 2.0
        return cls(ConditionalQuantiles((0.0,), (tuple(map(float, log_ratios)),)), drift_odds=0.0, drift_spend=0.0)


def fit_spread(windows: Sequence[ObservedWindow]) -> SpendSpread:
    """Learn the spread from earlier windows."""
    ratios, orders = [], []
    for window in windows:
        usable = window.bought & (window.spend > 0) & (window.spend_if_bought > 0)
        ratios.append(np.log(window.spend[usable] / window.spend_if_bought[usable]))
        orders.append(np.log(window.orders_if_bought[usable]))
    if sum(len(ratio) for ratio in ratios) < MIN_GROUP_SIZE:
        return SpendSpread.unknown()
    shifts = [shift_to_share(window.log_odds, window.bought) for window in windows if len(window.bought)]
    levels = [float(ratio.mean()) for ratio in ratios if len(ratio) >= MIN_GROUP_SIZE]
    return SpendSpread(
        fit_conditional_quantiles(np.concatenate(orders), np.concatenate(ratios)),
        drift_odds=min(float(np.std(shifts)), _MAX_WINDOW_DRIFT),
        drift_spend=min(float(np.std(levels or [0.0])), _MAX_WINDOW_DRIFT),
    )


def spend_range(
    p: Floats, spend_if_bought: Floats, orders_if_bought: Floats, spread: SpendSpread
) -> tuple[Floats, Floats]:
    """Bounds that hold 80 % of outcomes.

    A customer with a fair chance of bringing nothing has 0 as lower bound, and all that may lie outside lies above;
    the others have as much on either side.
    """
    given = np.log(orders_if_bought)

    def bound(outside: Floats, side: float) -> Floats:
        p_then = expit(logit(p) + side * spread.drift_odds)
        level = outside if side < 0 else 1.0 - outside
        among_buyers = (level - (1.0 - p_then)) / p_then
        ratio = np.exp(spread.scatter.quantile(given, among_buyers) + side * spread.drift_spend)
        return np.where(among_buyers > 0, spend_if_bought * ratio, 0.0)

    outside = _OUTSIDE_SHARE - _BUYERS_OUTSIDE_SHARE * p
    low = bound(outside / 2.0, -1.0)
    high = bound(np.where(low > 0, outside / 2.0, outside), 1.0)
    return low, np.maximum(low, high)


_GAMMA_GAMMA_SHARE, _GAMMA_GAMMA_HALVED_AT = 0.50, 10.0
"""Share of Gamma-Gamma in the mean of the logarithms for one-time buyers, and the repeat purchases that halve it: it
steadies those of whom little is known (see benchmarks/FINDINGS.md)."""
_MIN_BUYERS = 100
_TOTAL_RATIO_BOUNDS = (0.90, 1.15)
"""How far what lies beyond the winsorised tail may move the total."""


@dataclass(frozen=True)
class SpendModel(JsonDataclass):
    """Expected money of a buyer, exp(a + b log-curves)."""

    curves: AdditiveModel
    a: float
    b: float
    low: float
    high: float

    def if_bought(self, design: FeatureMatrix) -> Floats:
        """Expected money, given that there is a purchase."""
        return np.asarray(np.exp(self.a + self.b * np.clip(self.curves.total(design), self.low, self.high)))


def fit_spend(design: FeatureMatrix, spend: Floats, weight: Floats) -> SpendModel | None:
    """Learn a buyer's money from earlier buyers."""
    usable = np.flatnonzero(spend > 0)
    if len(usable) < _MIN_BUYERS:
        return None
    design, spend, weight = design.rows(usable), spend[usable], weight[usable] / weight[usable].mean()
    curves = fit_log_spend(design, spend, weight)
    log_mean = curves.total(design)
    ratio = spend / np.exp(log_mean)
    held = np.minimum(spend, np.exp(log_mean) * 1.5 * np.quantile(ratio, 0.99))
    a, b = _gamma_line(log_mean, held, weight)
    total = np.average(spend, weights=weight) / np.average(np.exp(a + b * log_mean), weights=weight)
    a += float(np.log(np.clip(total, *_TOTAL_RATIO_BOUNDS)))
    return SpendModel(curves, a, b, float(log_mean.min()), float(log_mean.max()) + 0.5)


def mix_with_gamma_gamma(
    learned: Floats, *, per_order: Floats, rate: Floats, frequency: Floats, horizon_days: int
) -> Floats:
    """Mix learned money of a buyer with Gamma-Gamma's, on the scale of logarithms.

    Gamma-Gamma's share falls with the purchases a customer is known by.
    """
    parametric = per_order * orders_if_bought(rate, horizon_days=horizon_days)
    share = _GAMMA_GAMMA_SHARE * _GAMMA_GAMMA_HALVED_AT / (_GAMMA_GAMMA_HALVED_AT + frequency)
    return np.asarray(learned ** (1.0 - share) * parametric**share)


def orders_if_bought(rate: Floats, *, horizon_days: int) -> Floats:
    """Purchase days of a buyer in a window: those of a Poisson process that has at least one."""
    expected = rate * horizon_days
    return np.asarray(expected / -np.expm1(-expected))


def _gamma_line(x: Floats, money: Floats, weight: Floats) -> tuple[float, float]:
    """Fit E[money] = exp(a + b x) by gamma deviance, in Newton steps; b stays near 1."""
    middle = float(np.average(x, weights=weight))
    centred = x - middle
    a, b = float(np.log(np.average(money, weights=weight) / np.average(np.exp(centred), weights=weight))), 1.0
    for _ in range(20):
        ratio = weight * (money / np.exp(a + b * centred))
        slope = np.array([(ratio - weight).sum(), ((ratio - weight) * centred).sum()])
        cross = (ratio * centred).sum()
        curvature = np.array([[ratio.sum(), cross], [cross, (ratio * centred * centred).sum()]]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        a, b = a + float(np.clip(step[0], -1.0, 1.0)), float(np.clip(b + np.clip(step[1], -0.3, 0.3), 0.5, 1.5))
    return a - b * middle, b
