"""One probability from several models, one curve from several horizons."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["blend", "expit", "logit", "mixed", "rising", "trees_share"]

Floats = npt.NDArray[np.float64]


FEW_ROWS = 3_000
"""Rows at which trees count half as much as they do with very many."""
BTYD_WEIGHT = 0.20
"""By how much of their distance BTYD moves what was learned."""
FURTHEST = 1.0
"""Log odds beyond which a greater distance counts no more: a regular buyer's short silence is certain death to BTYD."""
LEAST_BETWEEN = 0.1
"""Of BTYD's chance of a first purchase between two horizons, what is left where outcomes taught none."""


def trees_share(n_rows: int) -> float:
    """How much trees count beside curves: few customers teach curves, but not yet trees.

    Parameters
    ----------
    n_rows : int
        Customers at earlier cut-offs that both learned from.

    Returns
    -------
    float
        From 0 to a half, which many rows come close to.

    Examples
    --------
    >>> trees_share(3_000), round(trees_share(60_000), 2)
    (0.25, 0.48)
    """
    return 0.5 * n_rows / (n_rows + FEW_ROWS)


def mixed(additive: Floats, trees: Floats, *, share: float) -> Floats:
    """Average curves and trees on the scale of log odds.

    Parameters
    ----------
    additive, trees : arrays of shape (n_customers,)
        Log odds of the same event.
    share : float
        How much the trees count.

    Returns
    -------
    array of shape (n_customers,)
        Log odds.
    """
    return (1.0 - share) * additive + share * trees


def blend(learned: Floats, btyd: Floats) -> Floats:
    """Move what was learned some way towards BTYD, on the scale of log odds.

    The weight is fixed: weights learned from the few latest cut-offs helped where the world was steady and hurt
    where it moved (benchmarks/FINDINGS.md).

    Parameters
    ----------
    learned, btyd : arrays of shape (n_customers,)
        Log odds of the same event.

    Returns
    -------
    array of shape (n_customers,)
        Log odds.
    """
    return np.asarray(learned + BTYD_WEIGHT * np.clip(btyd - learned, -FURTHEST, FURTHEST))


def rising(learned: Mapping[int, Floats], btyd: Mapping[int, Floats]) -> dict[int, Floats]:
    """Make one curve of the horizons: it rises, and BTYD continues it where nothing was learned.

    A horizon without a learned probability is reached from the one before it by BTYD's chance of buying in the days
    between, given none before: 1 - p(h) = (1 - p(h')) (1 - p_btyd(h)) / (1 - p_btyd(h')). A learned probability below
    the one before it is lifted to just above: of days that follow, a tenth of BTYD's chance is left.

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
    quiet_btyd = {h: 1.0 - np.clip(p, 0.0, 1.0 - 1e-9) for h, p in btyd.items()}
    quiet = _lifted(learned, quiet_btyd)
    for horizon in sorted(set(btyd) - set(quiet)):
        before = max((h for h in learned if h < horizon), default=None)
        after = min((h for h in learned if h > horizon), default=None)
        carried = quiet_btyd[horizon]
        if before is not None:  # a ratio of equal chances is 1 to the last bit, so that nothing falls by rounding
            carried = quiet[before] * (carried / quiet_btyd[before])
        quiet[horizon] = carried if after is None else np.maximum(carried, quiet[after])
    return {horizon: np.asarray(1.0 - quiet[horizon]) for horizon in sorted(quiet)}


def _lifted(learned: Mapping[int, Floats], quiet_btyd: Mapping[int, Floats]) -> dict[int, Floats]:
    """Chances of no purchase where outcomes taught them, falling: what is asked for besides does not move them."""
    quiet: dict[int, Floats] = {}
    before: int | None = None
    for horizon in sorted(learned):
        quiet[horizon] = np.asarray(1.0 - learned[horizon])
        if before is not None:
            between = quiet_btyd[horizon] / quiet_btyd[before]
            quiet[horizon] = np.minimum(quiet[before] * between**LEAST_BETWEEN, quiet[horizon])
        before = horizon
    return quiet


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
