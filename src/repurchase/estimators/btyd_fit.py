"""Fit buy-till-you-die models by maximum likelihood, on equal customers counted once.

A fit depends on its customers alone: not on their order, nor on other fits. Where they hardly tell a parameter (nobody
leaves, all buy at one rate, too few to say), the likelihood rises without end or nearly so; then a weak prior holds the
parameters to usual values, and the note says which. Symbols and references as in `btyd`.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from repurchase.estimators.btyd import FAMILIES, Btyd, Family, GammaGamma
from repurchase.estimators.btyd_likelihood import Peak, climb, money_likelihood, purchase_likelihood, with_prior
from repurchase.estimators.btyd_rows import collapse

__all__ = ["fit_btyd", "fit_btyd_rows", "fit_gamma_gamma", "fit_gamma_gamma_rows"]

Floats = npt.NDArray[np.float64]

NAMES = ("r", "alpha", "a", "b")
LEAST_REPEAT_BUYERS = 10
USUAL = (0.5, 0.8, 2.5)
"""r, a and b of many a shop: where the search begins, and what the prior holds to; alpha follows from the mean rate."""
OTHER_STARTS = ((0.2, 0.1, 1.0), (3.0, 0.1, 10.0), (1.0, 3.0, 3.0))
PRIOR_SPREAD = 3.0
"""Of each logarithm: one standard deviation is a factor of 20. It acts only where customers tell less than it does."""
LARGEST_P = 1e3
LEAST_Q = 1.05


def fit_btyd(
    x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, families: tuple[Family, ...] = FAMILIES
) -> Btyd:
    """Fit by maximum likelihood and keep the family that explains the customers best.

    Parameters
    ----------
    x, t_x, T : array-like of shape (n_customers,)
        Frequency (whole numbers), recency and age, both in one time unit.
    families : tuple of str
        Families to try; both have four parameters, so likelihoods compare.

    Returns
    -------
    Btyd
        Always usable: a weak prior where the customers hardly tell a parameter; with fewer than ten repeat buyers a
        dropout-free NBD by moments. The note says so.
    """
    return fit_btyd_rows(*collapse(*_floats(x, t_x, T)), families=families)


def fit_btyd_rows(rows: Floats, weights: Floats, *, families: tuple[Family, ...] = FAMILIES) -> Btyd:
    """Fit as `fit_btyd` does, to customers that are counted already.

    Parameters
    ----------
    rows : array of shape (n_rows, 3)
        Distinct frequency, recency and age, sorted as `btyd_rows.collapse` does.
    weights : array of shape (n_rows,)
        How many customers have them.
    families : tuple of str
        Families to try.

    Returns
    -------
    Btyd
        See `fit_btyd`.
    """
    if weights[rows[:, 0] > 0].sum() >= LEAST_REPEAT_BUYERS:
        fits = [fit for family in families if (fit := _fit_family(family, rows, weights))]
        if fits:
            return max(fits, key=lambda fit: fit.log_likelihood)
    return _nbd_by_moments(rows, weights)


def fit_gamma_gamma(x: npt.ArrayLike, mean_spend: npt.ArrayLike) -> GammaGamma:
    """Fit money per purchase day to the repeat buyers.

    Parameters
    ----------
    x : array-like of shape (n_customers,)
        Repeat purchase days.
    mean_spend : array-like of shape (n_customers,)
        Mean money over them; customers without a positive one are left out.

    Returns
    -------
    GammaGamma
        Always usable: absurd parameters (no peak, p > 1000, q close to 1 or below) give way to a shrunken median.
    """
    xs, means = _floats(x, mean_spend)
    usable = (xs > 0) & np.isfinite(means) & (means > 0)
    return fit_gamma_gamma_rows(*collapse(xs[usable], means[usable]))


def fit_gamma_gamma_rows(rows: Floats, weights: Floats) -> GammaGamma:
    """Fit as `fit_gamma_gamma` does, to repeat buyers that are counted already.

    Parameters
    ----------
    rows : array of shape (n_rows, 2)
        Distinct repeat purchase days and mean money, both > 0, sorted as `btyd_rows.collapse` does.
    weights : array of shape (n_rows,)
        How many customers have them.

    Returns
    -------
    GammaGamma
        See `fit_gamma_gamma`.
    """
    if weights.sum() >= LEAST_REPEAT_BUYERS:
        typical = float((weights * np.log(rows[:, 1])).sum() / weights.sum())
        begin = np.array([np.log(2.0), np.log(3.0), typical])  # p v / (q - 1) is the typical mean
        peak = climb(money_likelihood(rows[:, 0], rows[:, 1], weights), begin)
        p, q, v = (float(value) for value in np.exp(peak.at))
        if peak.settled and peak.least_known[0] > 0 and p <= LARGEST_P and q > LEAST_Q:
            return GammaGamma(p, q, v, log_likelihood=peak.point.value)
    means = np.repeat(rows[:, 1], weights.astype(np.int64))
    middle = float(np.median(means)) if len(means) else 0.0
    nan = float("nan")
    return GammaGamma(nan, nan, nan, fallback_mean=middle)


def _fit_family(family: Family, rows: Floats, weights: Floats) -> Btyd | None:
    likelihood = purchase_likelihood(family, rows, weights)
    rate = float((weights * rows[:, 0]).sum()) / max(float((weights * rows[:, 2]).sum()), 1.0)
    usual = _logarithms(USUAL, rate)
    peak = climb(likelihood, usual)
    for other in OTHER_STARTS:
        if not peak.settled:
            peak = climb(likelihood, _logarithms(other, rate))
    note = ""
    if not peak.settled or peak.least_known[0] < 1.0 / PRIOR_SPREAD**2:
        note = f"{_hardly_told(peak)} held to usual values by a weak prior: these customers hardly tell them"
        peak = climb(with_prior(likelihood, usual, spread=PRIOR_SPREAD), usual)
        if not peak.settled:
            return None
    r, alpha, a, b = (float(value) for value in np.exp(peak.at))
    if abs(a - 1.0) < 1e-6:
        a += 2e-6  # the closed forms divide by a - 1
    fit = Btyd(family, r, alpha, a, b, note=note)
    return replace(fit, log_likelihood=likelihood(np.log([r, alpha, a, b])).value)


def _logarithms(start: tuple[float, float, float], rate: float) -> Floats:
    r, a, b = start
    return np.log([r, r / rate, a, b])


def _hardly_told(peak: Peak) -> str:
    """Name the parameters that take part in the direction known least."""
    if not np.isfinite(peak.point.curvature).all():
        return "parameters"
    shares = np.abs(peak.least_known[1])
    return ", ".join(name for name, share in zip(NAMES, shares, strict=True) if share > 0.3)


def _nbd_by_moments(rows: Floats, weights: Floats) -> Btyd:
    """Match mean and spread of the purchase rate; half a purchase in hand keeps an all-one-time log finite."""
    x, age = rows[:, 0], np.maximum(rows[:, 2], 1.0)
    total_age = max(float((weights * age).sum()), 1.0)
    rate = (float((weights * x).sum()) + 0.5) / total_age
    spread = float((weights * (x - rate * age) ** 2).sum()) - rate * total_age
    r = min(max(rate**2 * float((weights * age**2).sum()) / spread if spread > 0 else 10.0, 0.05), 10.0)
    return Btyd(
        "nbd",
        r,
        r / rate,
        0.0,
        1.0,
        note="no dropout: too few repeat buyers, or neither BG/NBD nor MBG/NBD converged on these customers",
    )


def _floats(*columns: npt.ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in columns)
