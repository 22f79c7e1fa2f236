"""One probability from several models, one curve from several horizons."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["blend", "expit", "logit", "rising"]

Floats = npt.NDArray[np.float64]


LEARNED_WEIGHT, BTYD_WEIGHT = 0.45, 0.10
"""Of the curves and of the trees each, and of BTYD, in the mean of the log odds."""


def blend(additive: Floats, trees: Floats, btyd: Floats) -> Floats:
    """Average models on the scale of log odds.

    The weights are fixed: weights learned from the few latest cut-offs helped where the world was steady and hurt
    where it moved (benchmarks/FINDINGS.md).

    Parameters
    ----------
    additive, trees, btyd : arrays of shape (n_customers,)
        Log odds of the same event.

    Returns
    -------
    array of shape (n_customers,)
        Log odds.
    """
    return LEARNED_WEIGHT * additive + LEARNED_WEIGHT * trees + BTYD_WEIGHT * btyd


def rising(learned: Mapping[int, Floats], btyd: Mapping[int, Floats]) -> dict[int, Floats]:
    """Make one curve of the horizons: it never falls, and BTYD continues it where nothing was learned.

    A horizon without a learned probability is reached from the one before it by BTYD's chance of buying in the days
    between, given none before: 1 - p(h) = (1 - p(h')) (1 - p_btyd(h)) / (1 - p_btyd(h')).

    Parameters
    ----------
    learned : mapping of int to array
        Horizon to probability, where outcomes taught one.
    btyd : mapping of int to array
        Every horizon to BTYD's probability.

    Returns
    -------
    dict of int to array
        Every horizon to a probability that rises with it for each customer.
    """
    curve: dict[int, Floats] = {}
    quiet = quiet_btyd = np.ones(len(next(iter(btyd.values()), np.zeros(0))))
    for horizon in sorted(btyd):
        quiet_now = 1.0 - np.clip(btyd[horizon], 0.0, 1.0 - 1e-9)
        if horizon in learned:
            quiet = np.minimum(quiet, 1.0 - learned[horizon])
        else:
            quiet = np.asarray(quiet * (quiet_now / quiet_btyd))
        curve[horizon] = np.asarray(1.0 - quiet)
        quiet_btyd = quiet_now
    return curve


def logit(p: npt.ArrayLike) -> Floats:
    """Log odds, with probabilities kept off 0 and 1.

    Parameters
    ----------
    p : array-like
        Probabilities.

    Returns
    -------
    array
        Finite log odds.
    """
    inside = np.clip(np.asarray(p, dtype=np.float64), 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def expit(log_odds: npt.ArrayLike) -> Floats:
    """Probability of log odds.

    Parameters
    ----------
    log_odds : array-like
        Any real numbers.

    Returns
    -------
    array
        In (0, 1).
    """
    from scipy.special import expit as stable

    return np.asarray(stable(np.asarray(log_odds, dtype=np.float64)))
