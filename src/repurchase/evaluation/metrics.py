"""Metrics of probabilities, spend and counts, and their intervals: exact sums, independent of row order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.features.history import Floats

_WholeNumbers = npt.NDArray[np.int64]


def exact_sum(values: Floats) -> float:
    """Sum, exactly rounded, so that the order of the values does not matter."""
    return math.fsum(values.tolist())


def exact_mean(values: Floats) -> float:
    """Mean, from the exact sum."""
    return exact_sum(values) / len(values) if len(values) else math.nan


def _tie_counts(bought: npt.ArrayLike, score: npt.ArrayLike) -> tuple[_WholeNumbers, _WholeNumbers]:
    """Count buyers and customers per distinct score."""
    scores = np.asarray(score, dtype=np.float64)
    order = np.argsort(scores)
    starts = _group_starts(scores[order])
    happened = np.asarray(bought, dtype=np.int64)[order]
    buyers = np.add.reduceat(happened, starts) if len(starts) else happened
    return buyers, _group_sizes(starts, len(scores))


def sort_with_tied_means(score: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Sort by score; customers with equal scores get the mean of their values."""
    keys, beside = np.asarray(score, dtype=np.float64), np.asarray(values)
    order = np.argsort(keys)
    starts = _group_starts(keys[order])
    if len(starts) == len(keys):
        return keys[order], beside[order].astype(np.float64)
    if beside.dtype.kind == "f":  # sums of floats depend on their order, of whole numbers not
        order = np.lexsort((beside, keys))
    sizes = _group_sizes(starts, len(keys))
    sums = np.add.reduceat(beside[order].astype(np.float64), starts)
    return keys[order], np.repeat(sums / sizes, sizes)


def cumulative_total(values: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """Add up what the customers with the highest scores bring."""
    _, shared = sort_with_tied_means(-np.asarray(score, dtype=np.float64), values)
    return np.concatenate([[0.0], np.cumsum(shared)])


def mean_ranks(values: npt.ArrayLike) -> Floats:
    """Rank from 0, ties at their mean rank."""
    array = np.asarray(values, dtype=np.float64)
    order = np.argsort(array)
    starts = _group_starts(array[order])
    sizes = _group_sizes(starts, len(array))
    ranks = np.empty(len(array))
    ranks[order] = np.repeat(starts + (sizes - 1) / 2, sizes)
    return ranks


def group_edges(n: int, groups: int) -> _WholeNumbers:
    """Cut n sorted customers into groups whose sizes differ by one at most."""
    made = min(groups, n)
    return np.arange(made + 1, dtype=np.int64) * n // max(made, 1)


def group_sums(values: Floats, edges: _WholeNumbers) -> Floats:
    """Add up each group."""
    return np.add.reduceat(values, edges[:-1]) if len(edges) > 1 else np.zeros(0)


def _group_starts(ordered: Floats) -> _WholeNumbers:
    changed = np.ones(len(ordered), dtype=bool)
    changed[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(changed)


def _group_sizes(starts: _WholeNumbers, n: int) -> _WholeNumbers:
    return np.diff(np.append(starts, n))


CLIP = 1e-6
"""Probabilities are clipped to [CLIP, 1 - CLIP] in the log loss: one certain miss costs 13.8, not infinity."""

_GROUPS = 10
"""Equal-count groups of calibration and decile measures."""


@dataclass(frozen=True)
class _Bins:
    """Groups of equal count by rising prediction."""

    predicted: Floats
    observed: Floats
    size: _WholeNumbers


def log_losses(bought: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """Log loss of each customer: -ln of the probability given to what happened."""
    happened = np.asarray(bought, dtype=bool)
    clipped = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    losses: Floats = -np.log(np.where(happened, clipped, 1 - clipped))
    return losses


def log_loss(bought: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Mean log loss, -1/n Σ [y ln p + (1 - y) ln(1 - p)]: the figure everything here is graded by.

    A proper score (Good 1952): nothing beats saying the true probability. It misleads across logs and horizons: the
    best that can be reached depends on the base rate, so compare predictors on the same customers only.

    References
    ----------
    Good, I. J. (1952). Rational decisions. JRSS B 14(1), 107-114.
    """
    return exact_mean(log_losses(bought, p))


def brier(bought: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Mean squared error of the probabilities, 1/n Σ (p - y)² (Brier 1950).

    Proper, and bounded, so one certain miss weighs little: it hides overconfidence that the log loss shows.
    """
    return exact_mean((np.asarray(p, dtype=np.float64) - np.asarray(bought, dtype=np.float64)) ** 2)


def auc(bought: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Chance that a buyer is ranked above a non-buyer, ties counting half (Mann & Whitney 1947); O(n log n).

    It sees ranks only: halve every probability and it does not move. With few buyers it can look splendid while the
    top of the list, which is what a campaign reaches, is poor: read it together with `average_precision`.
    """
    buyers, sizes = _tie_counts(bought, score)
    others = sizes - buyers
    n_pairs = int(buyers.sum()) * int(others.sum())
    if n_pairs == 0:
        return math.nan
    below = np.cumsum(others) - others
    return int((buyers * (2 * below + others)).sum()) / (2 * n_pairs)


def average_precision(bought: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Precision averaged over the buyers found, Σ (R_k - R_{k-1}) P_k, one step per distinct score.

    Not interpolated, as in scikit-learn. Its floor is the base rate, so it cannot be compared between logs.
    """
    buyers, sizes = (block[::-1] for block in _tie_counts(bought, score))
    n_buyers = int(buyers.sum())
    if n_buyers == 0:
        return math.nan
    return exact_sum(buyers * (np.cumsum(buyers) / np.cumsum(sizes))) / n_buyers


def calibration_bins(bought: npt.ArrayLike, p: npt.ArrayLike, *, groups: int = _GROUPS) -> _Bins:
    """Predicted against observed share of buyers, in groups of equal count."""
    score, outcome = sort_with_tied_means(p, bought)
    edges = group_edges(len(score), groups)
    size = np.diff(edges)
    return _Bins(predicted=group_sums(score, edges) / size, observed=group_sums(outcome, edges) / size, size=size)


def ece(bought: npt.ArrayLike, p: npt.ArrayLike, *, groups: int = _GROUPS) -> float:
    """Expected calibration error: mean over groups of abs(mean p - share that bought), weighted by size.

    Chance alone makes it positive: see `chance_ece`. A constant at the base rate scores 0, so it does not measure
    how well customers are separated.

    References
    ----------
    Naeini, M. P., Cooper, G. F., Hauskrecht, M. (2015). Obtaining well calibrated probabilities using Bayesian
    binning. AAAI.
    """
    bins = calibration_bins(bought, p, groups=groups)
    n = int(bins.size.sum())
    return exact_sum(bins.size.astype(np.float64) * np.abs(bins.predicted - bins.observed)) / n if n else math.nan


def chance_ece(p: npt.ArrayLike, *, groups: int = _GROUPS) -> float:
    """The `ece` to be expected if every probability were exactly true.

    In a group of m customers the observed share misses by sqrt(2/π · mean(p(1 - p)) / m) on average (normal
    approximation; rough where m·p is below about 5).
    """
    score = np.sort(np.asarray(p, dtype=np.float64))
    edges = group_edges(len(score), groups)
    size = np.diff(edges)
    misses = np.sqrt(2 / math.pi * group_sums(score * (1 - score), edges) / size) / np.sqrt(size)
    return exact_sum(size * misses) / len(score) if len(score) else math.nan


def found_share(values: npt.ArrayLike, score: npt.ArrayLike, contacted_share: npt.ArrayLike) -> Floats:
    """Share of a total (buyers, spend) found by contacting the customers with the highest scores: the gains curve."""
    shares = np.asarray(contacted_share, dtype=np.float64)
    curve = cumulative_total(values, score)
    if not curve[-1] > 0:
        return np.full(shares.shape, math.nan)
    n = len(curve) - 1
    found: Floats = np.interp(shares * n, np.arange(n + 1), curve / curve[-1])
    return found


def top_lift(bought: npt.ArrayLike, score: npt.ArrayLike, *, share: float = 0.1) -> float:
    """How many times more buyers the top of the list holds than a random list of its length.

    It cannot exceed 1/base rate: a lift of 2 is all there is where half buy anyway.
    """
    return float(found_share(bought, score, [share])[0]) / share


def spend_gini(spend: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Area of the gains curve of spend above the diagonal, as a share of the perfect order's: normalised Gini.

    Ranks only; a few large customers decide it, so it moves a lot between cut-offs.
    """
    best = _gini(spend, spend)
    return _gini(spend, expected) / best if best > 0 else math.nan


def spearman(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Rank correlation, ties at their mean rank (Spearman 1904).

    Where most customers spend nothing, their tie caps it well below 1 for any model that separates them.
    """
    first, second = (ranks - (len(ranks) - 1) / 2 for ranks in (mean_ranks(actual), mean_ranks(expected)))
    scale = math.sqrt(exact_sum(first**2) * exact_sum(second**2))
    return exact_sum(first * second) / scale if scale > 0 else math.nan


def decile_error(spend: npt.ArrayLike, expected: npt.ArrayLike, *, groups: int = _GROUPS) -> float:
    """Mean of abs(expected total / actual total - 1) over the higher half of the groups by expected spend.

    Five deciles of ten: below them totals are small and a relative error is mostly luck.
    """
    score, actual = sort_with_tied_means(expected, spend)
    edges = group_edges(len(score), groups)
    half = (len(edges) - 1) // 2
    came, predicted = (group_sums(values, edges)[half:] for values in (actual, score))
    if not len(came) or not np.all(came > 0):
        return math.nan
    return exact_mean(np.abs(predicted / came - 1))


def total_bias(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Expected total over actual total, less one: +0.1 means a tenth too much was promised.

    Errors of customers cancel in it: a total may be right and every customer wrong.
    """
    came = exact_sum(np.asarray(actual, dtype=np.float64))
    return exact_sum(np.asarray(expected, dtype=np.float64)) / came - 1 if came > 0 else math.nan


def poisson_deviance(counts: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Mean Poisson deviance of expected counts: what is smallest, on average, for the true expectation."""
    came, predicted = (np.asarray(values, dtype=np.float64) for values in (counts, expected))
    if not len(came) or np.any((came > 0) & (predicted <= 0)):
        return math.nan
    ratio = np.divide(came, predicted, out=np.ones_like(predicted), where=came > 0)
    return exact_mean(2.0 * (came * np.log(ratio) - (came - predicted)))


def _gini(values: npt.ArrayLike, score: npt.ArrayLike) -> float:
    curve = cumulative_total(values, score)
    n = len(curve) - 1
    return 2 * float(curve.sum() - curve[-1] / 2) / (n * float(curve[-1])) - 1 if n and curve[-1] > 0 else math.nan


_Customers = npt.NDArray[np.int64]

Z95 = 1.959963984540054
_MARGIN_SHARE = 0.025
"""Half width, as a share of the list, of the stretch around a contact list's end that shows what its last customer
brings."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over customers."""

    value: float
    low: float
    high: float


def estimate_with_interval(value: float, influences: Sequence[Floats], customers: Sequence[_Customers]) -> Estimate:
    """Put an interval around a figure, clustered by customer."""
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    who, index = np.unique(np.concatenate(customers), return_inverse=True)
    per_customer = np.bincount(index, weights=np.concatenate(influences), minlength=len(who)).astype(np.float64)
    n = len(who)
    spread = Z95 * math.sqrt(exact_sum(per_customer**2) * n / max(n - 1, 1))
    return Estimate(value, value - spread, value + spread)


def ratio_influence(numerator: Floats, denominator: Floats) -> Floats:
    """Influence of each customer on total(numerator) / total(denominator)."""
    below = exact_sum(denominator)
    if not below > 0:
        return np.full(len(numerator), math.nan)
    return (numerator - exact_sum(numerator) / below * denominator) / below


def top_total(values: npt.ArrayLike, score: npt.ArrayLike, *, share: float) -> float:
    """Total that the customers with the highest scores bring."""
    curve = cumulative_total(values, score)
    return float(np.interp(share * (len(curve) - 1), np.arange(len(curve)), curve))


def top_influence(values: Floats, score: Floats, *, share: float) -> Floats:
    """Influence of each customer on `top_total`.

    A customer added to the top brings their own value and pushes out the last one contacted, so
    a_i (v_i - q) + share · q - total / n, where a_i is the part of i that is contacted and q is what is
    brought by those near the end of the list.
    """
    n = len(values)
    curve = cumulative_total(values, score)
    low, end, high = (float(np.clip(share + step, 0, 1)) * n for step in (-_MARGIN_SHARE, 0.0, _MARGIN_SHARE))
    reached = np.interp([low, end, high], np.arange(n + 1), curve)
    last = (reached[2] - reached[0]) / (high - low)
    contacted = _contacted_share(score, end)
    influence: Floats = contacted * (values - last) + share * last - reached[1] / n
    return influence


def _contacted_share(score: Floats, reach: float) -> Floats:
    """Part of each customer that is contacted, 0 to 1, when the first ``reach`` are; the tied share alike."""
    rank = mean_ranks(-score)
    _, tie, size = np.unique(rank, return_inverse=True, return_counts=True)
    before = rank - (size[tie] - 1) / 2
    parts: Floats = np.clip((reach - before) / size[tie], 0, 1)
    return parts
