"""Likelihoods of the buy-till-you-die models with slope and curvature, and the way to their peak.

Parameters are logarithms here, so that none leaves its range. Sums run in one order, whatever the number of threads:
the same customers give the same digits every time. Symbols as in `btyd`.

References
----------
.. [1] Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): BG/NBD.
.. [2] Batislam, Denizel & Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base
   Analysis, IJRM 24(3): MBG/NBD.
.. [3] Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
.. [4] Nocedal & Wright (2006), Numerical Optimization, 2nd edition: trust regions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, psi, zeta

from repurchase.estimators.btyd import Family

__all__ = ["Likelihood", "Peak", "Point", "climb", "money_likelihood", "purchase_likelihood", "with_prior"]

Floats = npt.NDArray[np.float64]

MOST_STEPS = 100
BLOCK = 16_384
"""Rows at a time: what a step needs of them stays in the processor's cache."""
FARTHEST = 15.0
"""A logarithm this far from where the search began has run away."""


@dataclass(frozen=True)
class Point:
    """A log-likelihood at some parameters, of all customers in total.

    Parameters
    ----------
    value : float
        The log-likelihood.
    slope : array of shape (k,)
        First derivatives by the logarithms of the parameters.
    curvature : array of shape (k, k)
        Second derivatives.
    """

    value: float
    slope: Floats
    curvature: Floats


Likelihood = Callable[[Floats], Point]


@dataclass(frozen=True)
class Peak:
    """Where a climb ended.

    Parameters
    ----------
    at : array of shape (k,)
        Logarithms of the parameters.
    point : Point
        The likelihood there.
    settled : bool
        Whether nothing more is to be gained nearby.
    """

    at: Floats
    point: Point
    settled: bool

    @property
    def least_known(self) -> tuple[float, Floats]:
        """Information on the direction these customers tell least about (1 / its variance), and that direction."""
        information, directions = np.linalg.eigh(-self.point.curvature)
        return float(information[0]), directions[:, 0]


def purchase_likelihood(family: Family, rows: Floats, weights: Floats) -> Likelihood:
    """Prepare the log-likelihood of BG/NBD or MBG/NBD.

    As x is whole, ratios of gamma functions are finite products: ln Γ(r+x)/Γ(r) = Σ ln(r+i) and ln B(a,b+x)/B(a,b) =
    -Σ ln(1 + a/(b+i)) over i < x. No digit cancels for any parameters, and one term serves all customers with x > i.

    Parameters
    ----------
    family : {"bgnbd", "mbgnbd"}
        Equation 6 of [1]_ for BG/NBD; MBG/NBD [2]_ counts the dropout chance after the first purchase too.
    rows : array of shape (n_rows, 3)
        Frequency (whole), recency and age.
    weights : array of shape (n_rows,)
        Customers in each row.

    Returns
    -------
    callable
        From the logarithms of r, alpha, a, b.
    """
    x, t_x, T = (np.ascontiguousarray(column) for column in rows.T)
    chances = x if family == "bgnbd" else x + 1.0  # how often a customer could have left
    bought, could_leave = _how_many_exceed(x, weights), _how_many_exceed(chances, weights)
    ages, place = np.unique(T, return_inverse=True)
    of_age = np.bincount(place.ravel(), weights=weights, minlength=len(ages))
    bought_by_age = np.bincount(place.ravel(), weights=weights * x, minlength=len(ages))
    who = np.flatnonzero(chances > 0)
    gone = [
        _Gone(x[some], t_x[some], (T - t_x)[some], (chances[some] - 1.0).astype(np.intp), weights[some])
        for some in np.split(who, range(BLOCK, len(who), BLOCK))
        if len(some)
    ]

    def at(theta: Floats) -> Point:
        parameters = np.exp(theta)
        r, alpha, a, b = parameters
        value, slope, curvature = 0.0, np.zeros(4), np.zeros((4, 4))
        for block in gone:
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
        bend = (could_leave / leaves**2).sum()
        curvature[0, 0] -= (bought / rates**2).sum()
        curvature[0, 1] += faded
        curvature[1, 1] -= r * (of_age * ages * (alpha + aged) / (alpha * aged) ** 2).sum()
        curvature[1, 1] += (bought_by_age / aged**2).sum()
        curvature[2, 2] += bend
        curvature[2, 3] += bend
        curvature[3, 3] -= a * (could_leave * (stays + leaves) / (stays * leaves) ** 2).sum()
        return _by_logarithms(parameters, value, slope, curvature)

    return at


def money_likelihood(x: Floats, mean_spend: Floats, weights: Floats) -> Likelihood:
    """Prepare the log-likelihood of Gamma-Gamma.

    With z = x m, equation 1a of [3]_ is -ln B(px, q) - px ln(1 + v/z) - q ln(1 + z/v) - ln m: nothing large cancels.

    Parameters
    ----------
    x : array of shape (n_rows,)
        Repeat purchase days, whole, > 0.
    mean_spend : array of shape (n_rows,)
        Mean money over them, m > 0.
    weights : array of shape (n_rows,)
        Customers in each row.

    Returns
    -------
    callable
        From the logarithms of p, q, v.
    """
    days, place = np.unique(x, return_inverse=True)
    with_days = np.bincount(place.ravel(), weights=weights, minlength=len(days))
    total, weighted_x, n = x * mean_spend, weights * x, float(weights.sum())
    constant = (weights * np.log(mean_spend)).sum()

    def at(theta: Floats) -> Point:
        parameters = np.exp(theta)
        p, q, v = parameters
        px = p * days
        over, under = (weighted_x * np.log1p(v / total)).sum(), (weights * np.log1p(total / v)).sum()
        inverse = 1.0 / (total + v)
        share, rest = weighted_x * inverse, weights * total * inverse / v
        value = -(with_days * betaln(px, q)).sum() - p * over - q * under - constant
        both, bend = psi(px + q), zeta(2.0, px + q)  # zeta(2, .) is the trigamma function
        slope = np.array(
            [
                (with_days * days * (both - psi(px))).sum() - over,
                (with_days * both).sum() - n * psi(q) - under,
                q * rest.sum() - p * share.sum(),
            ]
        )
        curvature = np.zeros((3, 3))
        curvature[0, 0] = (with_days * days**2 * (bend - zeta(2.0, px))).sum()
        curvature[0, 1] = (with_days * days * bend).sum()
        curvature[0, 2] = -share.sum()
        curvature[1, 1] = (with_days * bend).sum() - n * zeta(2.0, q)
        curvature[1, 2] = rest.sum()
        curvature[2, 2] = p * (share * inverse).sum() - q * (rest * (inverse + 1.0 / v)).sum()
        return _by_logarithms(parameters, value, slope, curvature)

    return at


def with_prior(likelihood: Likelihood, centre: Floats, *, spread: float) -> Likelihood:
    """Add a normal prior on the logarithms, as if a little had been known before.

    Parameters
    ----------
    likelihood : callable
        What the customers say.
    centre : array of shape (k,)
        Logarithms of usual parameters.
    spread : float
        Standard deviation of each logarithm.

    Returns
    -------
    callable
        Log-likelihood plus log prior, but for a constant.
    """

    def at(theta: Floats) -> Point:
        point, pull = likelihood(theta), (centre - theta) / spread**2
        value = point.value - 0.5 * float(((centre - theta) ** 2).sum()) / spread**2
        return Point(value, point.slope + pull, point.curvature - np.eye(len(theta)) / spread**2)

    return at


def climb(likelihood: Likelihood, start: Floats) -> Peak:
    """Follow a likelihood to its peak by Newton's method, each step within a region that has proved trustworthy.

    Parameters
    ----------
    likelihood : callable
        What to maximise.
    start : array of shape (k,)
        Where to begin.

    Returns
    -------
    Peak
        Algorithm 4.1 of [4]_; settled once a further step, which still is taken, promises less than 1e-9 of a
        log-likelihood unit (for large ones 1e-13 of the whole).
    """
    theta, here, radius = start, likelihood(start), 1.0
    for _ in range(MOST_STEPS):
        if not np.isfinite(here.value) or np.abs(theta - start).max() > FARTHEST or radius < 1e-9:
            break
        step, gain = _step(here, radius)
        length = float(np.sqrt((step**2).sum()))
        if gain < 1e-9 + 1e-13 * abs(here.value) and length < radius:
            return Peak(theta + step, likelihood(theta + step), settled=True)
        there = likelihood(theta + step)
        kept = (there.value - here.value) / gain
        if kept > 0.1:
            theta, here = theta + step, there
        if not kept > 0.25:
            radius = length / 4.0
        elif kept > 0.75 and length > 0.9 * radius:
            radius = min(2.0 * radius, 4.0)
    return Peak(theta, here, settled=False)


def _step(here: Point, radius: float) -> tuple[Floats, float]:
    """Find the best step no longer than ``radius`` on the parabola, and what it promises."""
    bend, directions = np.linalg.eigh(-here.curvature)
    uphill = (directions * here.slope[:, None]).sum(axis=0)

    def steps(damping: float) -> Floats:
        return np.asarray(uphill / (bend + damping))

    low = max(0.0, -float(bend[0])) + 1e-12 * (1.0 + float(np.abs(bend).max()))
    damping = 0.0 if bend[0] > 0 else low
    if (steps(damping) ** 2).sum() > radius**2:
        high = low + float(np.sqrt((uphill**2).sum())) / radius  # long enough: every step is then within the radius
        for _ in range(60):
            damping = (low + high) / 2.0
            low, high = (damping, high) if (steps(damping) ** 2).sum() > radius**2 else (low, damping)
        damping = high
    along = steps(damping)
    return (directions * along).sum(axis=1), float((uphill * along - 0.5 * bend * along**2).sum())


@dataclass(frozen=True)
class _Gone:
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
        gone = self.weights * np.where(log_odds >= 0.0, 1.0, small) / (1.0 + small)
        unsure = gone * np.where(log_odds >= 0.0, small, 1.0) / (1.0 + small)
        now = since / (1.0 + shrink)  # 1 / (alpha + T)
        by_alpha = -shrink * now  # of the silence
        d_alpha = shape * by_alpha
        n_gone, n_unsure = gone.sum(), unsure.sum()
        left_by_b = (gone * counted).sum()
        slope[:] = (gone * silence).sum(), (gone * d_alpha).sum(), n_gone / a, -left_by_b
        unsure_silence, unsure_alpha, unsure_b = unsure * silence, unsure * d_alpha, unsure * counted
        curvature[0, 0] = (unsure_silence * silence).sum()
        curvature[0, 1] = (unsure_silence * d_alpha).sum() + (gone * by_alpha).sum()
        curvature[0, 2] = unsure_silence.sum() / a
        curvature[0, 3] = -(unsure_silence * counted).sum()
        curvature[1, 1] = (unsure_alpha * d_alpha).sum() - (gone * d_alpha * (since + now)).sum()
        curvature[1, 2] = unsure_alpha.sum() / a
        curvature[1, 3] = -(unsure_alpha * counted).sum()
        curvature[2, 2] = (n_unsure - n_gone) / a**2
        curvature[2, 3] = -unsure_b.sum() / a
        curvature[3, 3] = (unsure_b * counted).sum() + (gone * counted**2).sum()
        return float(value), slope, curvature


def _how_many_exceed(x: Floats, weights: Floats) -> Floats:
    """Customers with x > 0, x > 1 … up to the largest x."""
    counts = np.bincount(x.astype(np.intp), weights=weights)
    return np.asarray(counts[::-1].cumsum()[::-1][1:])


def _by_logarithms(parameters: Floats, value: float, slope: Floats, curvature: Floats) -> Point:
    """Turn derivatives by the parameters into those by their logarithms; the curvature's upper triangle is enough."""
    whole = np.triu(curvature) + np.triu(curvature, 1).T
    steepness = parameters * slope
    return Point(float(value), steepness, np.outer(parameters, parameters) * whole + np.diag(steepness))
