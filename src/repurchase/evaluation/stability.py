"""How far one set of shares lies from another, what chance alone does, and how far a figure usually strays."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_LOG_SD", "LEAST_NEWCOMER_SD", "band_of", "chance_psi", "psi"]

FLOOR = 1e-4
"""Share that an empty bin is given, or one new customer would make the index infinite."""
SURE = 3.0
"""Standard deviations beyond which a figure is not taken for chance: some sixty features are looked at every night."""
LEAST_LOG_SD = 0.10
LEAST_NEWCOMER_SD = 0.03


def psi(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """Population stability index of two sets of shares: Σ (a - e) ln(a / e).

    It is the symmetric Kullback-Leibler divergence (Jeffreys): 0 for equal shares, the same both ways, never negative.
    By Siddiqi's rule of thumb below 0.1 is steady, up to 0.25 moved, above that drifted. It misleads in small samples
    (see `chance_psi`), and it sees each feature alone.

    Parameters
    ----------
    expected, actual : arrays of shape (n_bins,)
        Shares of the same bins, each adding up to 1; empty bins count as ``FLOOR``.

    Returns
    -------
    float
        >= 0.

    References
    ----------
    Siddiqi, N. (2006). Credit Risk Scorecards. Wiley, chapter 10 (system stability index).

    Examples
    --------
    >>> round(psi([0.5, 0.5], [0.25, 0.75]), 4)
    0.2747
    """
    then, now = (np.maximum(np.asarray(shares, dtype=np.float64), FLOOR) for shares in (expected, actual))
    return math.fsum(((now - then) * np.log(now / then)).tolist())


def chance_psi(n_expected: int, n_actual: int, *, bins: int) -> float:
    """The PSI that two samples of one and the same population pass about once in 700 times.

    PSI is about (1/n + 1/m) χ² with bins - 1 degrees of freedom (Yurdakul 2018); its quantile at three standard
    deviations by Wilson and Hilferty (1931). Too high where both samples hold the same customers: it errs to silence.

    Parameters
    ----------
    n_expected, n_actual : int
        Customers in either sample, > 0.
    bins : int
        Bins, empty ones included.

    Returns
    -------
    float
        0 for one bin.

    References
    ----------
    Yurdakul, B. (2018). Statistical properties of population stability index. Western Michigan University.

    Examples
    --------
    >>> round(chance_psi(1000, 1000, bins=10), 3), round(chance_psi(100, 100, bins=10), 2)
    (0.055, 0.55)
    """
    k = bins - 1
    if k < 1:
        return 0.0
    quantile = k * (1.0 - 2.0 / (9.0 * k) + SURE * math.sqrt(2.0 / (9.0 * k))) ** 3
    return (1.0 / n_expected + 1.0 / n_actual) * quantile


def band_of(values: Sequence[float], *, least_sd: float) -> tuple[float, float]:
    """Mean of past figures, and how far the next one may lie from it.

    Parameters
    ----------
    values : sequence of float
        Past figures, at least one.
    least_sd : float
        Spread that is granted however alike they were.

    Returns
    -------
    mean, sd : float
        The spread is that of one more figure: sd · sqrt(1 + 1/n), sd with n - 1 in its denominator.

    Examples
    --------
    >>> [round(part, 3) for part in band_of([1.0, 2.0, 3.0], least_sd=0.1)]
    [2.0, 1.155]
    """
    known = np.asarray(values, dtype=np.float64)
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return float(known.mean()), max(spread, least_sd) * math.sqrt(1.0 + 1.0 / len(known))
