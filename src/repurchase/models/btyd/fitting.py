"""Maximum-likelihood fits of the buy-till-you-die models on distinct customers, with analytic derivatives.

References
----------
.. [1] Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): BG/NBD.
.. [2] Batislam, Denizel & Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base
   Analysis, IJRM 24(3): MBG/NBD.
.. [3] Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
.. [4] Nocedal & Wright (2006), Numerical Optimization, 2nd edition: trust regions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, psi, zeta

from repurchase.features.history import Floats
from repurchase.i18n.messages import message
from repurchase.models.btyd.model import FAMILIES, BtydModel, Family, GammaGamma, count_equal_rows

_MAX_STEPS = 100
_BLOCK_ROWS = 16_384
"""Rows at a time: what a step needs of them stays in the processor's cache."""
_MAX_DISTANCE = 15.0
"""A logarithm this far from where the search began has run away."""


@dataclass(frozen=True)
class LikelihoodPoint:
    """A log-likelihood at some parameters, of all customers in total."""

    value: float
    slope: Floats
    curvature: Floats


Likelihood = Callable[[Floats], LikelihoodPoint]


@dataclass(frozen=True)
class Optimum:
    """Where maximisation ended."""

    at: Floats
    point: LikelihoodPoint
    converged: bool

    @property
    def least_identified(self) -> tuple[float, Floats]:
        """Information on the direction that is identified least (1 / its variance), and that direction."""
        information, directions = np.linalg.eigh(-self.point.curvature)
        return float(information[0]), directions[:, 0]


def purchase_likelihood(family: Family, rows: Floats, weights: Floats) -> Likelihood:
    """Prepare the log-likelihood of BG/NBD or MBG/NBD.

    As x is whole, ratios of gamma functions are finite products: ln Γ(r+x)/Γ(r) = Σ ln(r+i) and ln B(a,b+x)/B(a,b) =
    -Σ ln(1 + a/(b+i)) over i < x. No digit cancels for any parameters, and one term serves all customers with x > i.
    """
    x, t_x, T = (np.ascontiguousarray(column) for column in rows.T)
    chances = x if family == "bgnbd" else x + 1.0  # how often a customer could have left
    bought, could_leave = _counts_above(x, weights), _counts_above(chances, weights)
    ages, index = np.unique(T, return_inverse=True)
    of_age = np.bincount(index.ravel(), weights=weights, minlength=len(ages))
    bought_by_age = np.bincount(index.ravel(), weights=weights * x, minlength=len(ages))
    who = np.flatnonzero(chances > 0)
    dropout = [
        _DropoutOdds(x[some], t_x[some], (T - t_x)[some], (chances[some] - 1.0).astype(np.intp), weights[some])
        for some in np.split(who, range(_BLOCK_ROWS, len(who), _BLOCK_ROWS))
        if len(some)
    ]

    def at(theta: Floats) -> LikelihoodPoint:
        parameters = np.exp(theta)
        r, alpha, a, b = parameters
        value, slope, curvature = 0.0, np.zeros(4), np.zeros((4, 4))
        for block in dropout:
            part = block.at(parameters)
            value, slope, curvature = value + part[0], slope + part[1], curvature + part[2]
        rates, stays = r + np.arange(len(bought)), b + np.arange(len(could_leave))
        leaves = a + stays
        aged = alpha + ages
        value += (bought * np.log(rates)).sum() - (could_leave * np.log1p(a / stays)).sum()
        value -= r * (of_age * np.log1p(ages / alpha)).sum() + (bought_by_age * np.log(aged)).sum()
        faded = (of_age * ages / (alpha * aged)).sum()
        slope[0] += (bought / rates).sum() - (of_age * np.log1p(ages / alpha)).sum()
        slope[1] += r * faded - (bought_by_age / aged).sum()
        slope[2] -= (could_leave / leaves).sum()
        slope[3] += a * (could_leave / (stays * leaves)).sum()
        information = (could_leave / leaves**2).sum()
        curvature[0, 0] -= (bought / rates**2).sum()
        curvature[0, 1] += faded
        curvature[1, 1] -= r * (of_age * ages * (alpha + aged) / (alpha * aged) ** 2).sum()
        curvature[1, 1] += (bought_by_age / aged**2).sum()
        curvature[2, 2] += information
        curvature[2, 3] += information
        curvature[3, 3] -= a * (could_leave * (stays + leaves) / (stays * leaves) ** 2).sum()
        return _log_derivatives(parameters, value, slope, curvature)

    return at


def spend_likelihood(x: Floats, mean_spend: Floats, weights: Floats) -> Likelihood:
    """Prepare the log-likelihood of Gamma-Gamma.

    With z = x m, equation 1a of [3]_ is -ln B(px, q) - px ln(1 + v/z) - q ln(1 + z/v) - ln m: nothing large cancels.
    """
    days, index = np.unique(x, return_inverse=True)
    with_days = np.bincount(index.ravel(), weights=weights, minlength=len(days))
    total, weighted_x, n = x * mean_spend, weights * x, float(weights.sum())
    constant = (weights * np.log(mean_spend)).sum()

    def at(theta: Floats) -> LikelihoodPoint:
        parameters = np.exp(theta)
        p, q, v = parameters
        px = p * days
        over, under = (weighted_x * np.log1p(v / total)).sum(), (weights * np.log1p(total / v)).sum()
        inverse = 1.0 / (total + v)
        share, rest = weighted_x * inverse, weights * total * inverse / v
        value = -(with_days * betaln(px, q)).sum() - p * over - q * under - constant
        both, trigamma = psi(px + q), zeta(2.0, px + q)  # zeta(2, .) is the trigamma function
        slope = np.array(
            [
                (with_days * days * (both - psi(px))).sum() - over,
                (with_days * both).sum() - n * psi(q) - under,
                q * rest.sum() - p * share.sum(),
            ]
        )
        curvature = np.zeros((3, 3))
        curvature[0, 0] = (with_days * days**2 * (trigamma - zeta(2.0, px))).sum()
        curvature[0, 1] = (with_days * days * trigamma).sum()
        curvature[0, 2] = -share.sum()
        curvature[1, 1] = (with_days * trigamma).sum() - n * zeta(2.0, q)
        curvature[1, 2] = rest.sum()
        curvature[2, 2] = p * (share * inverse).sum() - q * (rest * (inverse + 1.0 / v)).sum()
        return _log_derivatives(parameters, value, slope, curvature)

    return at


def with_prior(likelihood: Likelihood, centre: Floats, *, spread: float) -> Likelihood:
    """Add a normal prior on the logarithms, as if a little had been known before."""

    def at(theta: Floats) -> LikelihoodPoint:
        point, pull = likelihood(theta), (centre - theta) / spread**2
        value = point.value - 0.5 * float(((centre - theta) ** 2).sum()) / spread**2
        return LikelihoodPoint(value, point.slope + pull, point.curvature - np.eye(len(theta)) / spread**2)

    return at


def newton_maximize(likelihood: Likelihood, start: Floats) -> Optimum:
    """Follow a likelihood to its peak by Newton's method, each step within a region that has proved trustworthy."""
    theta, here, radius = start, likelihood(start), 1.0
    for _ in range(_MAX_STEPS):
        if not np.isfinite(here.value) or np.abs(theta - start).max() > _MAX_DISTANCE or radius < 1e-9:
            break
        step, gain = _step(here, radius)
        length = float(np.sqrt((step**2).sum()))
        if gain < 1e-9 + 1e-13 * abs(here.value) and length < radius:
            return Optimum(theta + step, likelihood(theta + step), converged=True)
        there = likelihood(theta + step)
        kept = (there.value - here.value) / gain
        if kept > 0.1:
            theta, here = theta + step, there
        if not kept > 0.25:
            radius = length / 4.0
        elif kept > 0.75 and length > 0.9 * radius:
            radius = min(2.0 * radius, 4.0)
    return Optimum(theta, here, converged=False)


def _step(here: LikelihoodPoint, radius: float) -> tuple[Floats, float]:
    """Find the best step no longer than ``radius`` on the parabola, and what it promises."""
    information, directions = np.linalg.eigh(-here.curvature)
    uphill = (directions * here.slope[:, None]).sum(axis=0)

    def steps(damping: float) -> Floats:
        return np.asarray(uphill / (information + damping))

    low = max(0.0, -float(information[0])) + 1e-12 * (1.0 + float(np.abs(information).max()))
    damping = 0.0 if information[0] > 0 else low
    if (steps(damping) ** 2).sum() > radius**2:
        high = low + float(np.sqrt((uphill**2).sum())) / radius  # long enough: every step is then within the radius
        for _ in range(60):
            damping = (low + high) / 2.0
            low, high = (damping, high) if (steps(damping) ** 2).sum() > radius**2 else (low, damping)
        damping = high
    along = steps(damping)
    return (directions * along).sum(axis=1), float((uphill * along - 0.5 * information * along**2).sum())


@dataclass(frozen=True)
class _DropoutOdds:
    """Who may have left: ln(1 + odds), odds = a / (b + passed) ((alpha + T) / (alpha + t_x))^(r + x); gap = T - t_x."""

    x: Floats
    t_x: Floats
    gap: Floats
    passed: npt.NDArray[np.intp]
    weights: Floats

    def at(self, parameters: Floats) -> tuple[float, Floats, Floats]:
        """Value, slope and curvature by the parameters themselves, of the upper triangle."""
        r, alpha, a, b = parameters
        slope, curvature = np.zeros(4), np.zeros((4, 4))
        stays = b + np.arange(int(self.passed.max()) + 1)
        counted, shape = 1.0 / stays[self.passed], r + self.x
        since = 1.0 / (alpha + self.t_x)
        shrink = self.gap * since
        silence = np.log1p(shrink)
        log_odds = np.log(a / stays)[self.passed] + shape * silence
        small = np.exp(-np.abs(log_odds))
        value = (self.weights * (np.maximum(log_odds, 0.0) + np.log1p(small))).sum()
        dropout = self.weights * np.where(log_odds >= 0.0, 1.0, small) / (1.0 + small)
        unsure = dropout * np.where(log_odds >= 0.0, small, 1.0) / (1.0 + small)
        now = since / (1.0 + shrink)  # 1 / (alpha + T)
        by_alpha = -shrink * now  # of the silence
        d_alpha = shape * by_alpha
        n_gone, n_unsure = dropout.sum(), unsure.sum()
        left_by_b = (dropout * counted).sum()
        slope[:] = (dropout * silence).sum(), (dropout * d_alpha).sum(), n_gone / a, -left_by_b
        unsure_silence, unsure_alpha, unsure_b = unsure * silence, unsure * d_alpha, unsure * counted
        curvature[0, 0] = (unsure_silence * silence).sum()
        curvature[0, 1] = (unsure_silence * d_alpha).sum() + (dropout * by_alpha).sum()
        curvature[0, 2] = unsure_silence.sum() / a
        curvature[0, 3] = -(unsure_silence * counted).sum()
        curvature[1, 1] = (unsure_alpha * d_alpha).sum() - (dropout * d_alpha * (since + now)).sum()
        curvature[1, 2] = unsure_alpha.sum() / a
        curvature[1, 3] = -(unsure_alpha * counted).sum()
        curvature[2, 2] = (n_unsure - n_gone) / a**2
        curvature[2, 3] = -unsure_b.sum() / a
        curvature[3, 3] = (unsure_b * counted).sum() + (dropout * counted**2).sum()
        return float(value), slope, curvature


def _counts_above(x: Floats, weights: Floats) -> Floats:
    """Customers with x > 0, x > 1 … up to the largest x."""
    counts = np.bincount(x.astype(np.intp), weights=weights)
    return np.asarray(counts[::-1].cumsum()[::-1][1:])


def _log_derivatives(parameters: Floats, value: float, slope: Floats, curvature: Floats) -> LikelihoodPoint:
    """Turn derivatives by the parameters into those by their logarithms; the curvature's upper triangle is enough."""
    whole = np.triu(curvature) + np.triu(curvature, 1).T
    steepness = parameters * slope
    return LikelihoodPoint(float(value), steepness, np.outer(parameters, parameters) * whole + np.diag(steepness))


_PARAMETER_NAMES = ("r", "alpha", "a", "b")
_MIN_REPEAT_BUYERS = 10
_TYPICAL_PARAMETERS = (0.5, 0.8, 2.5)
"""r, a and b of many a shop: where the search begins, and what the prior holds to; alpha follows from the mean rate."""
_OTHER_STARTS = ((0.2, 0.1, 1.0), (3.0, 0.1, 10.0), (1.0, 3.0, 3.0))
_PRIOR_SPREAD = 3.0
"""Of each logarithm: one standard deviation is a factor of 20. It matters only where customers say less."""
_MAX_P = 1e3
_MIN_Q = 1.05


def fit_btyd(
    x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, families: tuple[Family, ...] = FAMILIES
) -> BtydModel:
    """Fit by maximum likelihood and keep the family that explains the customers best."""
    return fit_btyd_rows(*count_equal_rows(*_float_columns(x, t_x, T)), families=families)


def fit_btyd_rows(rows: Floats, weights: Floats, *, families: tuple[Family, ...] = FAMILIES) -> BtydModel:
    """Fit as `fit_btyd` does, to customers that are counted already."""
    if weights[rows[:, 0] > 0].sum() >= _MIN_REPEAT_BUYERS:
        fits = [fit for family in families if (fit := _fit_family(family, rows, weights))]
        if fits:
            return max(fits, key=lambda fit: fit.log_likelihood)
    return _nbd_by_moments(rows, weights)


def fit_gamma_gamma(x: npt.ArrayLike, mean_spend: npt.ArrayLike) -> GammaGamma:
    """Fit money per purchase day to the repeat buyers."""
    xs, means = _float_columns(x, mean_spend)
    usable = (xs > 0) & np.isfinite(means) & (means > 0)
    return fit_gamma_gamma_rows(*count_equal_rows(xs[usable], means[usable]))


def fit_gamma_gamma_rows(rows: Floats, weights: Floats) -> GammaGamma:
    """Fit as `fit_gamma_gamma` does, to repeat buyers that are counted already."""
    if weights.sum() >= _MIN_REPEAT_BUYERS:
        typical = float((weights * np.log(rows[:, 1])).sum() / weights.sum())
        begin = np.array([np.log(2.0), np.log(3.0), typical])  # p v / (q - 1) is the typical mean
        peak = newton_maximize(spend_likelihood(rows[:, 0], rows[:, 1], weights), begin)
        p, q, v = (float(value) for value in np.exp(peak.at))
        if peak.converged and peak.least_identified[0] > 0 and p <= _MAX_P and q > _MIN_Q:
            return GammaGamma(p, q, v, log_likelihood=peak.point.value)
    means = np.repeat(rows[:, 1], weights.astype(np.int64))
    middle = float(np.median(means)) if len(means) else 0.0
    nan = float("nan")
    return GammaGamma(nan, nan, nan, fallback_mean=middle)


def _fit_family(family: Family, rows: Floats, weights: Floats) -> BtydModel | None:
    likelihood = purchase_likelihood(family, rows, weights)
    rate = float((weights * rows[:, 0]).sum()) / max(float((weights * rows[:, 2]).sum()), 1.0)
    usual = _logarithms(_TYPICAL_PARAMETERS, rate)
    peak = newton_maximize(likelihood, usual)
    for other in _OTHER_STARTS:
        if not peak.converged:
            peak = newton_maximize(likelihood, _logarithms(other, rate))
    note = None
    if not peak.converged or peak.least_identified[0] < 1.0 / _PRIOR_SPREAD**2:
        note = message("model_note.prior", names=_least_identified(peak))
        peak = newton_maximize(with_prior(likelihood, usual, spread=_PRIOR_SPREAD), usual)
        if not peak.converged:
            return None
    r, alpha, a, b = (float(value) for value in np.exp(peak.at))
    if abs(a - 1.0) < 1e-6:
        a += 2e-6  # the closed forms divide by a - 1
    fit = BtydModel(family, r, alpha, a, b, note=note)
    return replace(fit, log_likelihood=likelihood(np.log([r, alpha, a, b])).value)


def _logarithms(start: tuple[float, float, float], rate: float) -> Floats:
    r, a, b = start
    return np.log([r, r / rate, a, b])


def _least_identified(peak: Optimum) -> str:
    """Name the parameters that take part in the direction known least."""
    if not np.isfinite(peak.point.curvature).all():
        return "parameters"
    shares = np.abs(peak.least_identified[1])
    return ", ".join(name for name, share in zip(_PARAMETER_NAMES, shares, strict=True) if share > 0.3)


def _nbd_by_moments(rows: Floats, weights: Floats) -> BtydModel:
    """Match mean and spread of the purchase rate; half a purchase in hand keeps an all-one-time log finite."""
    x, age = rows[:, 0], np.maximum(rows[:, 2], 1.0)
    total_age = max(float((weights * age).sum()), 1.0)
    rate = (float((weights * x).sum()) + 0.5) / total_age
    spread = float((weights * (x - rate * age) ** 2).sum()) - rate * total_age
    r = min(max(rate**2 * float((weights * age**2).sum()) / spread if spread > 0 else 10.0, 0.05), 10.0)
    return BtydModel(
        "nbd",
        r,
        r / rate,
        0.0,
        1.0,
        note=message("model_note.no_dropout"),
    )


def _float_columns(*columns: npt.ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in columns)
