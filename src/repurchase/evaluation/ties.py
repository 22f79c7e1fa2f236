"""Arithmetic that no row order can change: exact sums, and ties shared fairly.

Customers with equal scores cannot be told apart by the score. Sorting still puts them in some order, and a group
boundary that cuts through them would then depend on how the rows happened to lie. Here each member of a tie counts
with the mean of its tie, so every order of the rows gives the same digits.
"""

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Whole",
    "group_edges",
    "group_sums",
    "mean",
    "mean_ranks",
    "ranked",
    "running_total",
    "tie_counts",
    "total",
]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def total(values: Floats) -> float:
    """Sum, exactly rounded, so that the order of the values does not matter.

    Parameters
    ----------
    values : array of shape (n,)
        What to add up.

    Returns
    -------
    float
        The sum.

    Examples
    --------
    >>> total(np.array([1e16, 1.0, -1e16]))
    1.0
    """
    return math.fsum(values.tolist())


def mean(values: Floats) -> float:
    """Mean, from the exact sum.

    Parameters
    ----------
    values : array of shape (n,)
        What to average.

    Returns
    -------
    float
        The mean; nan of nothing.

    Examples
    --------
    >>> mean(np.array([]))
    nan
    """
    return total(values) / len(values) if len(values) else math.nan


def tie_counts(bought: npt.ArrayLike, score: npt.ArrayLike) -> tuple[Whole, Whole]:
    """Count buyers and customers per distinct score.

    Parameters
    ----------
    bought : array of shape (n,)
        Whether the customer bought.
    score : array of shape (n,)
        What customers are ranked by.

    Returns
    -------
    buyers, customers : arrays of shape (distinct scores,)
        By rising score.

    Examples
    --------
    >>> [counts.tolist() for counts in tie_counts([1, 0, 1], [0.5, 0.5, 0.1])]
    [[1, 1], [1, 2]]
    """
    scores = np.asarray(score, dtype=np.float64)
    order = np.argsort(scores)
    starts = _starts(scores[order])
    happened = np.asarray(bought, dtype=np.int64)[order]
    buyers = np.add.reduceat(happened, starts) if len(starts) else happened
    return buyers, _sizes(starts, len(scores))


def ranked(score: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Sort by score, each value replaced by the mean of its tie.

    Parameters
    ----------
    score : array of shape (n,)
        What to sort by.
    values : array of shape (n,)
        What lies beside it.

    Returns
    -------
    scores, values : arrays of shape (n,)
        By rising score.

    Examples
    --------
    >>> ranked([2, 1, 2], [10, 5, 20])[1].tolist()
    [5.0, 15.0, 15.0]
    """
    keys, beside = np.asarray(score, dtype=np.float64), np.asarray(values)
    order = np.argsort(keys)
    starts = _starts(keys[order])
    if len(starts) == len(keys):
        return keys[order], beside[order].astype(np.float64)
    if beside.dtype.kind == "f":  # sums of floats depend on their order, of whole numbers not
        order = np.lexsort((beside, keys))
    sizes = _sizes(starts, len(keys))
    sums = np.add.reduceat(beside[order].astype(np.float64), starts)
    return keys[order], np.repeat(sums / sizes, sizes)


def running_total(values: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """Add up what the customers with the highest scores bring.

    Parameters
    ----------
    values : array of shape (n,)
        What each brings.
    score : array of shape (n,)
        Higher comes first.

    Returns
    -------
    array of shape (n + 1,)
        Total of the first 0, 1, .. n customers.

    Examples
    --------
    >>> running_total([5, 1, 3], [0.1, 0.9, 0.9]).tolist()
    [0.0, 2.0, 4.0, 9.0]
    """
    _, shared = ranked(-np.asarray(score, dtype=np.float64), values)
    return np.concatenate([[0.0], np.cumsum(shared)])


def mean_ranks(values: npt.ArrayLike) -> Floats:
    """Rank from 0, ties at their mean rank.

    Parameters
    ----------
    values : array of shape (n,)
        What to rank.

    Returns
    -------
    array of shape (n,)
        Rank of each value, in the order given.

    Examples
    --------
    >>> mean_ranks([30, 10, 30]).tolist()
    [1.5, 0.0, 1.5]
    """
    array = np.asarray(values, dtype=np.float64)
    order = np.argsort(array)
    starts = _starts(array[order])
    sizes = _sizes(starts, len(array))
    ranks = np.empty(len(array))
    ranks[order] = np.repeat(starts + (sizes - 1) / 2, sizes)
    return ranks


def group_edges(n: int, groups: int) -> Whole:
    """Cut n sorted customers into groups whose sizes differ by one at most.

    Parameters
    ----------
    n : int
        Customers.
    groups : int
        Groups wanted; no more than customers are made.

    Returns
    -------
    array of shape (groups + 1,)
        Where each group starts, and n.

    Examples
    --------
    >>> group_edges(10, 4).tolist()
    [0, 2, 5, 7, 10]
    """
    made = min(groups, n)
    return np.arange(made + 1, dtype=np.int64) * n // max(made, 1)


def group_sums(values: Floats, edges: Whole) -> Floats:
    """Add up each group.

    Parameters
    ----------
    values : array of shape (n,)
        Sorted, as ``edges`` were cut.
    edges : array of shape (groups + 1,)
        From `group_edges`.

    Returns
    -------
    array of shape (groups,)
        Totals.

    Examples
    --------
    >>> group_sums(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 3])).tolist()
    [1.0, 5.0]
    """
    return np.add.reduceat(values, edges[:-1]) if len(edges) > 1 else np.zeros(0)


def _starts(ordered: Floats) -> Whole:
    changed = np.ones(len(ordered), dtype=bool)
    changed[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(changed)


def _sizes(starts: Whole, n: int) -> Whole:
    return np.diff(np.append(starts, n))
