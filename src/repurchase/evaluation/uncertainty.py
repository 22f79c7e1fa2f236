"""How far a figure could be off by chance: intervals over customers, in closed form.

A figure averaged over cut-offs is, to first order, a sum of each customer's influence on it (the delta method). A
customer who is judged at several cut-offs is one draw, not several, so influences are added up per customer before
they are squared. No resampling, hence no seed, and any row order gives the same digits.

What these intervals leave out: every cut-off of a log lies in the same few seasons. The range over cut-offs stands
beside them for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repurchase.evaluation.ties import Floats, mean_ranks, running_total, total

__all__ = ["Z95", "Estimate", "estimate", "ratio_influence", "top_influence", "top_total"]

Customers = npt.NDArray[np.int64]

Z95 = 1.959963984540054
NEAR = 0.025
"""Half width, as a share of the list, of the stretch around a contact list's end that tells what its last customer
brings."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over customers.

    Parameters
    ----------
    value : float
        The figure.
    low, high : float
        Normal approximation; rough where a few customers decide the figure.
    """

    value: float
    low: float
    high: float


def estimate(value: float, influences: Sequence[Floats], customers: Sequence[Customers]) -> Estimate:
    """Put an interval around a figure, clustered by customer.

    Parameters
    ----------
    value : float
        The figure, over all cut-offs.
    influences : sequence of arrays of shape (n_customers at the cut-off,)
        Influence of each customer on the figure, by cut-off; together they sum to zero.
    customers : sequence of arrays of shape (n_customers at the cut-off,)
        Who they are.

    Returns
    -------
    Estimate
        nan throughout where the value is nan.

    Examples
    --------
    >>> draws = np.array([1.0, 2.0, 3.0, 4.0])
    >>> round(estimate(2.5, [(draws - 2.5) / 4], [np.arange(4)]).high, 3)
    3.765
    """
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    who, place = np.unique(np.concatenate(customers), return_inverse=True)
    per_customer = np.bincount(place, weights=np.concatenate(influences), minlength=len(who)).astype(np.float64)
    n = len(who)
    spread = Z95 * math.sqrt(total(per_customer**2) * n / max(n - 1, 1))
    return Estimate(value, value - spread, value + spread)


def ratio_influence(numerator: Floats, denominator: Floats) -> Floats:
    """Influence of each customer on total(numerator) / total(denominator).

    Parameters
    ----------
    numerator, denominator : arrays of shape (n,)
        What each customer brings to either total.

    Returns
    -------
    array of shape (n,)
        (a_i - r b_i) / B, with r the ratio and B the lower total; nan where that is not above zero.
    """
    below = total(denominator)
    if not below > 0:
        return np.full(len(numerator), math.nan)
    return (numerator - total(numerator) / below * denominator) / below


def top_total(values: npt.ArrayLike, score: npt.ArrayLike, *, share: float) -> float:
    """Total that the customers with the highest scores bring.

    Parameters
    ----------
    values : array of shape (n,)
        What each customer brings.
    score : array of shape (n,)
        Higher is contacted first; a tie cut in two brings its mean.
    share : float
        Share of customers contacted.

    Returns
    -------
    float
        The total; a part of a customer where ``share`` · n is not whole.

    Examples
    --------
    >>> top_total([5, 1, 3, 0], [4, 3, 2, 1], share=0.5)
    6.0
    """
    curve = running_total(values, score)
    return float(np.interp(share * (len(curve) - 1), np.arange(len(curve)), curve))


def top_influence(values: Floats, score: Floats, *, share: float) -> Floats:
    """Influence of each customer on `top_total`.

    A customer added to the top brings their own value and pushes out the last one contacted, so
    a_i (v_i - q) + share · q - total / n, where a_i tells whether (or in which part) i is contacted and q is what is
    brought by those near the end of the list.

    Parameters
    ----------
    values : array of shape (n,)
        What each customer brings.
    score : array of shape (n,)
        Higher is contacted first.
    share : float
        Share of customers contacted.

    Returns
    -------
    array of shape (n,)
        Sums to zero.
    """
    n = len(values)
    curve = running_total(values, score)
    low, end, high = (float(np.clip(share + step, 0, 1)) * n for step in (-NEAR, 0.0, NEAR))
    reached = np.interp([low, end, high], np.arange(n + 1), curve)
    last = (reached[2] - reached[0]) / (high - low)
    contacted = _contacted(score, end)
    influence: Floats = contacted * (values - last) + share * last - reached[1] / n
    return influence


def _contacted(score: Floats, reach: float) -> Floats:
    """Part of each customer that is contacted, 0 to 1, when the first ``reach`` are; the tied share alike."""
    rank = mean_ranks(-score)
    _, tie, size = np.unique(rank, return_inverse=True, return_counts=True)
    before = rank - (size[tie] - 1) / 2
    parts: Floats = np.clip((reach - before) / size[tie], 0, 1)
    return parts
