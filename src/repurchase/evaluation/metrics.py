"""How good probabilities of a purchase are, in numbers; expected spend is judged in ``spend``.

Three promises hold for every function here. *Row order does not matter*, bit for bit. *Ties are shared fairly*: where
a group boundary or a contact list cuts through customers with equal predictions, each counts with the mean of the
tied (``ties``). *What is undefined is nan*, never a number that looks like an answer: AUC where nobody bought.

Arrays have shape (n,), one element per customer; ``p`` in [0, 1]; ``bought`` boolean or 0/1.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.evaluation.ties import (
    Floats,
    Whole,
    group_edges,
    group_sums,
    mean,
    ranked,
    running_total,
    tie_counts,
    total,
)

__all__ = [
    "CLIP",
    "GROUPS",
    "Bins",
    "auc",
    "average_precision",
    "brier",
    "calibration_bins",
    "chance_ece",
    "ece",
    "found_share",
    "log_loss",
    "log_losses",
    "top_lift",
]

CLIP = 1e-6
"""Probabilities are clipped to [CLIP, 1 - CLIP] in the log loss: one certain miss costs 13.8, not infinity."""

GROUPS = 10
"""Equal-count groups of calibration and decile measures."""


@dataclass(frozen=True)
class Bins:
    """Groups of equal count by rising prediction.

    Parameters
    ----------
    predicted : array of shape (groups,)
        Mean prediction in the group.
    observed : array of shape (groups,)
        Mean outcome in the group.
    size : array of shape (groups,)
        Customers in the group; sizes differ by one at most.
    """

    predicted: Floats
    observed: Floats
    size: Whole


def log_losses(bought: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """Log loss of each customer: -ln of the probability given to what happened.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    p : array of shape (n,)
        Predicted probability; clipped to [``CLIP``, 1 - ``CLIP``].

    Returns
    -------
    array of shape (n,)
        Losses in nats, >= 0.

    Examples
    --------
    >>> log_losses([1, 0], [0.5, 0.0]).round(6).tolist()
    [0.693147, 1e-06]
    """
    happened = np.asarray(bought, dtype=bool)
    clipped = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    losses: Floats = -np.log(np.where(happened, clipped, 1 - clipped))
    return losses


def log_loss(bought: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Mean log loss, -1/n Σ [y ln p + (1 - y) ln(1 - p)]: the figure everything here is graded by.

    A proper score (Good 1952): nothing beats saying the true probability. It misleads across logs and horizons: the
    best that can be reached depends on the base rate, so compare predictors on the same customers only.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    p : array of shape (n,)
        Predicted probability; clipped to [``CLIP``, 1 - ``CLIP``].

    Returns
    -------
    float
        Nats per customer, lower is better; nan without customers.

    References
    ----------
    Good, I. J. (1952). Rational decisions. JRSS B 14(1), 107-114.

    Examples
    --------
    >>> round(log_loss([1, 0, 0, 1], [0.9, 0.1, 0.2, 0.65]), 4)
    0.2162
    """
    return mean(log_losses(bought, p))


def brier(bought: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Mean squared error of the probabilities, 1/n Σ (p - y)² (Brier 1950).

    Proper, and bounded, so one certain miss weighs little: it hides overconfidence that the log loss shows.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    p : array of shape (n,)
        Predicted probability.

    Returns
    -------
    float
        0 (perfect) to 1; nan without customers.

    Examples
    --------
    >>> brier([1, 0], [0.8, 0.4])
    0.1
    """
    return mean((np.asarray(p, dtype=np.float64) - np.asarray(bought, dtype=np.float64)) ** 2)


def auc(bought: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Chance that a buyer is ranked above a non-buyer, ties counting half (Mann & Whitney 1947); O(n log n).

    It sees ranks only: halve every probability and it does not move. With few buyers it can look splendid while the
    top of the list, which is what a campaign reaches, is poor: read it beside `average_precision`.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    score : array of shape (n,)
        Higher means likelier to buy; only its order counts.

    Returns
    -------
    float
        0 to 1, 0.5 for a constant score; nan if all or none bought.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    buyers, sizes = tie_counts(bought, score)
    others = sizes - buyers
    n_pairs = int(buyers.sum()) * int(others.sum())
    if n_pairs == 0:
        return math.nan
    below = np.cumsum(others) - others
    return int((buyers * (2 * below + others)).sum()) / (2 * n_pairs)


def average_precision(bought: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Precision averaged over the buyers found, Σ (R_k - R_{k-1}) P_k, one step per distinct score.

    Not interpolated, as in scikit-learn. Its floor is the base rate, so it cannot be compared between logs.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    score : array of shape (n,)
        Higher means likelier to buy; only its order counts.

    Returns
    -------
    float
        Base rate (constant score) to 1 (all buyers on top), lower where the ranking is worse than none; nan if nobody
        bought.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    buyers, sizes = (block[::-1] for block in tie_counts(bought, score))
    n_buyers = int(buyers.sum())
    if n_buyers == 0:
        return math.nan
    return total(buyers * (np.cumsum(buyers) / np.cumsum(sizes))) / n_buyers


def calibration_bins(bought: npt.ArrayLike, p: npt.ArrayLike, *, groups: int = GROUPS) -> Bins:
    """Predicted against observed share of buyers, in groups of equal count.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    p : array of shape (n,)
        Predicted probability.
    groups : int
        How many groups; no more than customers are made.

    Returns
    -------
    Bins
        Groups by rising ``p``. Customers with the same ``p`` on both sides of a boundary each bring the mean outcome
        of their tie.

    Examples
    --------
    >>> calibration_bins([0, 1, 1, 1], [0.2, 0.2, 0.8, 0.9], groups=2).observed.tolist()
    [0.5, 1.0]
    """
    score, outcome = ranked(p, bought)
    edges = group_edges(len(score), groups)
    size = np.diff(edges)
    return Bins(predicted=group_sums(score, edges) / size, observed=group_sums(outcome, edges) / size, size=size)


def ece(bought: npt.ArrayLike, p: npt.ArrayLike, *, groups: int = GROUPS) -> float:
    """Expected calibration error: mean over groups of abs(mean p - share that bought), weighted by size.

    Chance alone makes it positive: see `chance_ece`. A constant at the base rate scores 0, so it says nothing of how
    well customers are told apart.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    p : array of shape (n,)
        Predicted probability.
    groups : int
        Groups of equal count (Naeini et al. 2015 use equal width; equal count is steadier where p is skewed).

    Returns
    -------
    float
        0 to 1; nan without customers.

    References
    ----------
    Naeini, M. P., Cooper, G. F., Hauskrecht, M. (2015). Obtaining well calibrated probabilities using Bayesian
    binning. AAAI.

    Examples
    --------
    >>> round(ece([0, 1, 1, 1], [0.2, 0.2, 0.8, 0.9], groups=2), 3)
    0.225
    """
    bins = calibration_bins(bought, p, groups=groups)
    n = int(bins.size.sum())
    return total(bins.size.astype(np.float64) * np.abs(bins.predicted - bins.observed)) / n if n else math.nan


def chance_ece(p: npt.ArrayLike, *, groups: int = GROUPS) -> float:
    """The `ece` to be expected if every probability were exactly true.

    In a group of m customers the observed share misses by sqrt(2/π · mean(p(1 - p)) / m) on average (normal
    approximation; rough where m·p is below about 5).

    Parameters
    ----------
    p : array of shape (n,)
        Predicted probability.
    groups : int
        Groups of equal count.

    Returns
    -------
    float
        Falls with the square root of n; nan without customers.

    Examples
    --------
    >>> round(chance_ece([0.2] * 2500), 3)
    0.02
    """
    score = np.sort(np.asarray(p, dtype=np.float64))
    edges = group_edges(len(score), groups)
    size = np.diff(edges)
    misses = np.sqrt(2 / math.pi * group_sums(score * (1 - score), edges) / size) / np.sqrt(size)
    return total(size * misses) / len(score) if len(score) else math.nan


def found_share(values: npt.ArrayLike, score: npt.ArrayLike, contacted_share: npt.ArrayLike) -> Floats:
    """Share of a total (buyers, spend) found by contacting the customers with the highest scores: the gains curve.

    Parameters
    ----------
    values : array of shape (n,)
        What is to be found: bought, or net spend.
    score : array of shape (n,)
        Higher is contacted first; a tie that is contacted in part brings its mean.
    contacted_share : array of shape (k,)
        Shares of customers contacted, 0 to 1.

    Returns
    -------
    array of shape (k,)
        0 at 0, 1 at 1; nan where the total is not above zero. With returns among the spend it may pass 1 on the way.

    Examples
    --------
    >>> found_share([0, 1, 1, 0], [1, 2, 3, 4], [0, 0.25, 0.5, 1]).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    shares = np.asarray(contacted_share, dtype=np.float64)
    curve = running_total(values, score)
    if not curve[-1] > 0:
        return np.full(shares.shape, math.nan)
    n = len(curve) - 1
    found: Floats = np.interp(shares * n, np.arange(n + 1), curve / curve[-1])
    return found


def top_lift(bought: npt.ArrayLike, score: npt.ArrayLike, *, share: float = 0.1) -> float:
    """How many times more buyers the top of the list holds than a random list of its length.

    It cannot exceed 1/base rate: a lift of 2 is all there is where half buy anyway.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    score : array of shape (n,)
        Higher is contacted first.
    share : float
        How much of the list, 0 to 1.

    Returns
    -------
    float
        1 for a random order; nan if nobody bought.

    Examples
    --------
    >>> top_lift([1, 0, 1, 0], [4, 3, 2, 1], share=0.25)
    2.0
    """
    return float(found_share(bought, score, [share])[0]) / share
