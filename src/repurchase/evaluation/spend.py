"""How good expected spend and counts are, in numbers: who spends (ranks) and how much (totals).

Row order does not matter, ties are shared fairly, and what is undefined is nan, as in ``metrics``.
"""

import math

import numpy as np
import numpy.typing as npt

from repurchase.evaluation.metrics import GROUPS
from repurchase.evaluation.ties import group_edges, group_sums, mean, mean_ranks, ranked, running_total, total

__all__ = ["decile_error", "poisson_deviance", "spearman", "spend_gini", "total_bias"]


def spend_gini(spend: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Area of the gains curve of spend above the diagonal, as a share of the perfect order's: normalised Gini.

    Ranks only; a few large customers decide it, so it moves a lot between cut-offs.

    Parameters
    ----------
    spend : array of shape (n,)
        Net spend that came.
    expected : array of shape (n,)
        Spend predicted; only its order counts.

    Returns
    -------
    float
        1 for the perfect order, 0 for a constant, negative where worse; nan if the total is not above zero or all
        spent the same.

    Examples
    --------
    >>> round(spend_gini([0, 5, 20, 1], [1, 2, 3, 0]), 3)
    0.969
    """
    best = _gini(spend, spend)
    return _gini(spend, expected) / best if best > 0 else math.nan


def spearman(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Rank correlation, ties at their mean rank (Spearman 1904).

    Where most customers spend nothing, their tie caps it well below 1 for any model that tells them apart.

    Parameters
    ----------
    actual : array of shape (n,)
        What came.
    expected : array of shape (n,)
        What was predicted.

    Returns
    -------
    float
        -1 to 1; nan if either is constant.

    Examples
    --------
    >>> round(spearman([1, 2, 3, 4], [1, 2, 4, 3]), 3)
    0.8
    """
    first, second = (ranks - (len(ranks) - 1) / 2 for ranks in (mean_ranks(actual), mean_ranks(expected)))
    scale = math.sqrt(total(first**2) * total(second**2))
    return total(first * second) / scale if scale > 0 else math.nan


def decile_error(spend: npt.ArrayLike, expected: npt.ArrayLike, *, groups: int = GROUPS) -> float:
    """Mean of abs(expected total / actual total - 1) over the higher half of the groups by expected spend.

    Five deciles of ten: below them totals are small and a relative error is mostly luck.

    Parameters
    ----------
    spend : array of shape (n,)
        Net spend that came.
    expected : array of shape (n,)
        Spend predicted, >= 0.
    groups : int
        Groups of equal count, by rising ``expected``; ties are shared.

    Returns
    -------
    float
        0 for exact totals; nan if one of the groups' actual totals is not above zero.

    Examples
    --------
    >>> round(decile_error([0, 0, 10, 20], [1, 2, 8, 22], groups=4), 2)
    0.15
    """
    score, actual = ranked(expected, spend)
    edges = group_edges(len(score), groups)
    half = (len(edges) - 1) // 2
    came, predicted = (group_sums(values, edges)[half:] for values in (actual, score))
    if not len(came) or not np.all(came > 0):
        return math.nan
    return mean(np.abs(predicted / came - 1))


def total_bias(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Expected total over actual total, less one: +0.1 means a tenth too much was promised.

    Errors of customers cancel in it: a total may be right and every customer wrong.

    Parameters
    ----------
    actual : array of shape (n,)
        What came: bought, or net spend.
    expected : array of shape (n,)
        What was predicted: p, or spend.

    Returns
    -------
    float
        > -1 where nothing negative was predicted; nan if the actual total is not above zero.

    Examples
    --------
    >>> round(total_bias([10, 0, 30], [20, 4, 20]), 2)
    0.1
    """
    came = total(np.asarray(actual, dtype=np.float64))
    return total(np.asarray(expected, dtype=np.float64)) / came - 1 if came > 0 else math.nan


def poisson_deviance(counts: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Mean Poisson deviance of expected counts: what is smallest, on average, for the true expectation.

    Parameters
    ----------
    counts : array of shape (n,)
        What came.
    expected : array of shape (n,)
        What was predicted, >= 0.

    Returns
    -------
    float
        0 for exact counts; nan for no rows or a count where none at all was expected.

    Examples
    --------
    >>> round(poisson_deviance([0, 1, 3], [0.5, 1, 2]), 3)
    0.478
    """
    came, told = (np.asarray(values, dtype=np.float64) for values in (counts, expected))
    if not len(came) or np.any((came > 0) & (told <= 0)):
        return math.nan
    ratio = np.divide(came, told, out=np.ones_like(told), where=came > 0)
    return mean(2.0 * (came * np.log(ratio) - (came - told)))


def _gini(values: npt.ArrayLike, score: npt.ArrayLike) -> float:
    curve = running_total(values, score)
    n = len(curve) - 1
    return 2 * float(curve.sum() - curve[-1] / 2) / (n * float(curve[-1])) - 1 if n and curve[-1] > 0 else math.nan
