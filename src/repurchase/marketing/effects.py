"""What a campaign changed: those reached against those held out by lot, with intervals.

Everyone counts in the group the lot put them in, reached or not in the end (intention to treat). The draw was made
within strata, so groups are compared within strata and the differences put together by the strata's sizes ([1]_).
The adjusted estimate first takes off what the scores of before the campaign already said: y - b'(x - mean x), with
slopes b common to both groups and all strata (CUPED, [2]_). A covariate of before the campaign is balanced by the lot,
so the estimate stays right whatever the slopes are, and as far as the scores were right, less is left to scatter.
Slopes of each group's own are never worse with very many customers ([5]_); with few held out they lean on those few.
Tried on generated campaigns and on Hillstrom's, they erred more with 100 held out, and gained .3 % at most on Hillstrom
(``benchmarks/FINDINGS.md``), so common ones are kept.

Shares are judged by Student's t. Money is not: one customer may bring as much as a thousand others, and then t misses.
For money the lot is drawn again many times, within the same strata, on what is left when the estimated effect is taken
off; how far such differences lie from zero, in their own standard errors, is the yardstick ([3]_, [4]_).

References
----------
.. [1] Imbens, G. W., Rubin, D. B. (2015). Causal Inference for Statistics, Social, and Biomedical Sciences. Cambridge,
   ch. 9 (strata), ch. 6 (variance).
.. [2] Deng, A., Xu, Y., Kohavi, R., Walker, T. (2013). Improving the sensitivity of online controlled experiments by
   utilizing pre-experiment data. WSDM 2013, 123-132; eq. 4 and its extension to several covariates.
.. [3] Rosenbaum, P. R. (2002). Covariance adjustment in randomized experiments and observational studies. Statistical
   Science 17, 286-327.
.. [4] Wu, J., Ding, P. (2021). Randomization tests for weak null hypotheses in randomized experiments. Journal of the
   American Statistical Association 116, 1898-1913; why the statistic is studentised.
.. [5] Lin, W. (2013). Agnostic notes on regression adjustments to experimental data: reexamining Freedman's critique.
   Annals of Applied Statistics 7, 295-318.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

__all__ = ["LEAST", "Effect", "adjusted", "effect", "redrawn_effect", "with_interval"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

LEAST = 2
"""Customers that each group needs in each stratum, so that a spread can be told."""
USEFUL_SPREAD = 1e-9
MOST_REDRAWS, LEAST_REDRAWS, MOST_SHUFFLED = 1999, 199, 200_000_000
AT_ONCE = 4_000_000
"""Numbers that are shuffled at once."""


@dataclass(frozen=True)
class Effect:
    """A difference between the groups, and its interval.

    Parameters
    ----------
    value : float
        Mean of those reached less that of those held out.
    low, high : float
        Interval of ``1 - alpha``, by Student's t.
    error : float
        Standard error.
    p_value : float
        Two-sided, against no difference.
    """

    value: float
    low: float
    high: float
    error: float
    p_value: float

    @property
    def can_tell(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> "Effect":
        """Count in another unit.

        Parameters
        ----------
        factor : float
            Above zero.

        Returns
        -------
        Effect
            Everything but the p-value multiplied.
        """
        return Effect(self.value * factor, self.low * factor, self.high * factor, self.error * factor, self.p_value)


class _Cells(NamedTuple):
    """Groups within strata: cell 2 s is the control of stratum s, 2 s + 1 those reached."""

    code: Codes
    size: Floats
    weight: Floats

    def mean(self, values: Floats) -> Floats:
        return np.bincount(self.code, weights=values, minlength=len(self.size)) / self.size

    def spread(self, left: Floats) -> Floats:
        """Variance of each cell's mean."""
        squares = np.bincount(self.code, weights=(left - self.mean(left)[self.code]) ** 2, minlength=len(self.size))
        return np.asarray(squares / (self.size - 1) / self.size)


def effect(outcome: npt.ArrayLike, treated: npt.ArrayLike, *, stratum: npt.ArrayLike, alpha: float = 0.05) -> Effect:
    """Compare the groups as they are, within strata.

    Parameters
    ----------
    outcome : array of shape (n,)
        What each customer did; money, or 0 and 1.
    treated : bool array of shape (n,)
        Whether the lot put the customer among those to be reached.
    stratum : int array of shape (n,)
        Strata within which the lot was drawn.
    alpha : float
        One less the interval's share.

    Returns
    -------
    Effect
        Mean difference per customer.

    Raises
    ------
    InputError
        If a stratum has less than two customers of either group.

    Examples
    --------
    >>> found = effect([3, 5, 1, 3], [True, True, False, False], stratum=[0, 0, 0, 0])
    >>> found.value, round(found.error, 3)
    (2.0, 1.414)
    """
    y = np.asarray(outcome, dtype=np.float64)
    cells = _cells(np.asarray(treated, dtype=np.bool_), np.asarray(stratum))
    return _effect(cells, cells.mean(y), cells.spread(y), alpha)


def redrawn_effect(
    outcome: npt.ArrayLike,
    treated: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
    alpha: float = 0.05,
    redraws: int | None = None,
    seed: int = 0,
) -> Effect:
    """Compare the groups, with an interval from drawing the lot again; for money, whose tails are long.

    Parameters
    ----------
    outcome : array of shape (n,)
        What each customer brought.
    treated : bool array of shape (n,)
        Whether the lot put the customer among those to be reached.
    stratum : int array of shape (n,)
        Strata within which the lot was drawn.
    alpha : float
        One less the interval's share.
    redraws : int, optional
        How often the lot is drawn again; default 1,999, fewer for very many customers.
    seed : int
        Of the redraws.

    Returns
    -------
    Effect
        The same estimate as from `effect`; the interval need not be symmetric.

    Raises
    ------
    InputError
        If a stratum has less than two customers of either group.
    """
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    cells = _cells(group, np.asarray(stratum))
    found = _effect(cells, cells.mean(y), cells.spread(y), alpha)
    if not found.error > 0:
        return found
    times = redraws or int(np.clip(MOST_SHUFFLED / len(y), LEAST_REDRAWS, MOST_REDRAWS))
    drawn = np.sort(_redrawn(y - found.value * group, cells, times, np.random.default_rng(seed)))
    # The rank that a difference without effect exceeds with the probability asked for: (times + 1) alpha / 2.
    beyond = max(int((times + 1) * alpha / 2), 1) - 1
    low, high = drawn[times - 1 - beyond], drawn[beyond]
    ratio = found.value / found.error
    more = (1 + min(int((drawn >= ratio).sum()), int((drawn <= ratio).sum()))) / (times + 1)
    return Effect(
        found.value,
        found.value - float(low) * found.error,
        found.value - float(high) * found.error,
        found.error,
        min(1.0, 2 * more),
    )


def adjusted(outcome: npt.ArrayLike, covariates: npt.ArrayLike, *, stratum: npt.ArrayLike) -> Floats:
    """Take off what was known before the campaign.

    Parameters
    ----------
    outcome : array of shape (n,)
        What each customer did.
    covariates : array of shape (n, n_covariates)
        Known before the campaign; no missing values.
    stratum : int array of shape (n,)
        Strata within which the lot was drawn.

    Returns
    -------
    array of shape (n,)
        The outcome less its regression on the covariates, both less their stratum's mean; scaled up for the slopes
        that were fitted, so that spreads are not taken too small.

    Examples
    --------
    >>> adjusted([1.0, 2.0, 3.0, 4.0], [[1.0], [2.0], [3.0], [4.0]], stratum=[0, 0, 0, 0]).round(6)
    array([2.5, 2.5, 2.5, 2.5])
    """
    y = np.asarray(outcome, dtype=np.float64)
    _, code = np.unique(np.asarray(stratum), return_inverse=True)
    code = code.reshape(-1)
    x = _within(np.asarray(covariates, dtype=np.float64), code)
    spread = np.sqrt((x**2).mean(axis=0))
    x = x[:, spread > USEFUL_SPREAD * max(float(spread.max(initial=0.0)), USEFUL_SPREAD)]
    freedom = len(y) - int(code.max(initial=0)) - 1
    if not x.shape[1] or freedom <= 2 * x.shape[1]:
        return y
    inner = _within(y[:, None], code)[:, 0]
    slope, *_ = np.linalg.lstsq(x / x.std(axis=0), inner, rcond=None)
    left = inner - (x / x.std(axis=0)) @ slope
    scaled: Floats = y - inner + left * math.sqrt(freedom / (freedom - x.shape[1]))
    return scaled


def _cells(treated: Flags, stratum: npt.NDArray[np.generic]) -> _Cells:
    _, code = np.unique(stratum, return_inverse=True)
    cell = 2 * code.reshape(-1) + treated
    size = np.bincount(cell, minlength=2 * (int(code.max()) + 1) if len(code) else 2).astype(np.float64)
    if not len(cell) or size.min() < LEAST:
        raise InputError(
            f"Two groups of at least {LEAST} customers in each stratum are needed to compare them. "
            f"Found a group of {int(size.min()) if len(cell) else 0}."
        )
    weight = (size[0::2] + size[1::2]) / len(cell)
    return _Cells(cell, size, weight)


def _within(x: Floats, stratum: Codes) -> Floats:
    size = np.bincount(stratum)
    return np.stack([column - (np.bincount(stratum, weights=column) / size)[stratum] for column in x.T], axis=1)


def _redrawn(left: Floats, cells: _Cells, times: int, random: np.random.Generator) -> Floats:
    """Differences in their own standard errors, of lots that are drawn again."""
    value, variance = np.zeros(times), np.zeros(times)
    for stratum, weight in enumerate(cells.weight):
        mine = left[cells.code // 2 == stratum]
        mine = mine - mine.mean()
        n_control, n = int(cells.size[2 * stratum]), len(mine)
        few = min(n_control, n - n_control)
        total, squares = float(mine.sum()), float((mine**2).sum())
        step = max(1, AT_ONCE // n)
        for begin in range(0, times, step):
            here = slice(begin, min(begin + step, times))
            picked = random.permuted(np.broadcast_to(mine, (here.stop - begin, n)), axis=1)[:, :few]
            sums, sums_sq = picked.sum(axis=1), (picked**2).sum(axis=1)
            smaller = sums / few, _variance(sums, sums_sq, few)
            larger = (total - sums) / (n - few), _variance(total - sums, squares - sums_sq, n - few)
            sign = 1.0 if few == n_control else -1.0
            value[here] += weight * sign * (larger[0] - smaller[0])
            variance[here] += weight**2 * (smaller[1] + larger[1])
    tiny = np.finfo(np.float64).tiny
    return np.asarray(value / np.sqrt(np.maximum(variance, tiny)))


def _variance(sums: Floats, squares: Floats, n: int) -> Floats:
    return np.asarray(np.maximum(squares - sums**2 / n, 0.0) / (n - 1) / n)


def _effect(cells: _Cells, mean: Floats, variance: Floats, alpha: float) -> Effect:
    value = float(cells.weight @ (mean[1::2] - mean[0::2]))
    parts = np.repeat(cells.weight, 2) ** 2 * variance
    error = math.sqrt(float(parts.sum()))
    if error == 0.0:
        return Effect(value, value, value, 0.0, 1.0 if value == 0.0 else 0.0)
    freedom = float(parts.sum() ** 2 / (parts**2 / (cells.size - 1)).sum())  # Satterthwaite 1946
    return with_interval(value, error, freedom=freedom, alpha=alpha)


def with_interval(value: float, error: float, *, freedom: float, alpha: float = 0.05) -> Effect:
    """Put an interval around an estimate.

    Parameters
    ----------
    value, error : float
        The estimate and its standard error, > 0.
    freedom : float
        Degrees of freedom of Student's t.
    alpha : float
        One less the interval's share.

    Returns
    -------
    Effect
        Estimate, interval, p-value.
    """
    from scipy import special

    reach = float(special.stdtrit(freedom, 1 - alpha / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Effect(value, value - reach, value + reach, error, p_value)
