"""How large a control group must be to see an effect, and which effect a list of customers can show.

Two shares are compared, of those reached and of those held out. The test takes the pooled share under "no effect" and
each group's own share under the effect; the far tail is left out ([1]_, eq. 3; [2]_, eq. 3.14 for equal groups):

    |d| = z_a sqrt(p q (1/n_t + 1/n_c)) + z_b sqrt(p_t q_t / n_t + p_c q_c / n_c)

with d = p_t - p_c, p the share over both groups, q = 1 - p, z_a and z_b the normal quantiles of 1 - alpha/2 and of the
power.

A campaign is measured adjusted for the scores of before it, and how much that helps is known before it goes
out: of outcomes that come with the chances p_i, the share Var(p_i) / (p q) is explained by the chances themselves, and
only the rest scatters ([3]_, eq. 5), so that both roots shrink by sqrt(1 - R2). That holds for scores that are right.
Scores that are a little too sure of themselves explain less, so only four fifths of it are counted (`COUNTED`): of
1,000 generated campaigns stated to be seen with 80 %, about 82 % are seen where scores are right, 80 % where their log
odds lie 1.4 times too far apart. Strata by risk take off the same variance; it is not counted twice. Where few buy and
few are held out, the pooled share makes the statement too low (86 % seen of stated 80 at 30 % buyers, 14 % held out).

References
----------
.. [1] Fleiss, J. L., Tytun, A., Ury, H. K. (1980). A simple approximation for calculating sample sizes for comparing
   independent proportions. Biometrics 36, 343-346; without its continuity correction.
.. [2] Fleiss, J. L. (1981). Statistical Methods for Rates and Proportions, 2nd ed. Wiley.
.. [3] Deng, A., Xu, Y., Kohavi, R., Walker, T. (2013). Improving the sensitivity of online controlled experiments by
   utilizing pre-experiment data. WSDM 2013, 123-132.
"""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

__all__ = ["control_size", "detectable_effect", "explained_by", "explained_share", "list_size", "power_of"]

_NORMAL = NormalDist()
STEPS = 60
LEAST_CONTROL = 2
MOST_CUSTOMERS = 2**40
COUNTED = 0.8
"""Of what right scores would explain, the share that is counted on."""


def explained_by(p: npt.ArrayLike) -> float:
    """Say which share of the outcome's variance the scores are counted on to explain.

    Parameters
    ----------
    p : array of shape (n,)
        Probability of a purchase, told before the campaign.

    Returns
    -------
    float
        ``COUNTED`` · Var(p) / (mean p · (1 - mean p)), 0 to ``COUNTED``; 0 where all are alike.

    Examples
    --------
    >>> explained_by([0.2, 0.2]), round(explained_by([0.1, 0.5]), 3)
    (0.0, 0.152)
    """
    chance = np.asarray(p, dtype=np.float64)
    return explained_share(float(chance.mean()), float((chance**2).mean())) if len(chance) else 0.0


def explained_share(mean: float, mean_square: float) -> float:
    """Say the same of two moments.

    Parameters
    ----------
    mean, mean_square : float
        Of the probabilities.

    Returns
    -------
    float
        As `explained_by`.
    """
    scatter = mean * (1 - mean)
    return COUNTED * min(max((mean_square - mean**2) / scatter, 0.0), 1.0) if scatter > 0 else 0.0


def power_of(
    effect: float, *, base: float, n_treated: float, n_control: float, alpha: float = 0.05, explained: float = 0.0
) -> float:
    """Probability of seeing an effect that is there.

    Parameters
    ----------
    effect : float
        Share of buyers among those reached less that among those held out.
    base : float
        Share of buyers without the campaign, 0 to 1.
    n_treated, n_control : float
        Customers reached and held out, > 0.
    alpha : float
        Probability of an alarm where there is no effect (two-sided).
    explained : float
        Share of the outcome's variance that the adjustment takes off, 0 up to below 1.

    Returns
    -------
    float
        0 to 1; 0 where ``base`` + ``effect`` is no share.

    Examples
    --------
    >>> round(power_of(0.25, base=0.50, n_treated=50, n_control=50), 3)
    0.74
    """
    reached = base + effect
    if not 0 <= reached <= 1 or not 0 <= base <= 1:
        return 0.0
    pooled = (n_treated * reached + n_control * base) / (n_treated + n_control)
    left = math.sqrt(1 - explained)
    none = left * math.sqrt(pooled * (1 - pooled) * (1 / n_treated + 1 / n_control))
    some = left * math.sqrt(reached * (1 - reached) / n_treated + base * (1 - base) / n_control)
    beyond = abs(effect) - _NORMAL.inv_cdf(1 - alpha / 2) * none
    return _NORMAL.cdf(beyond / some) if some > 0 else float(beyond > 0)


def control_size(
    n: int, *, effect: float, base: float, power: float = 0.8, alpha: float = 0.05, explained: float = 0.0
) -> int | None:
    """Smallest control group that shows an effect, of a list whose others are all reached.

    Parameters
    ----------
    n : int
        Customers on the list, both groups together.
    effect : float
        Uplift to be seen, as a share (0.02 for two points).
    base : float
        Share of buyers without the campaign.
    power : float
        Probability of seeing it.
    alpha : float
        Probability of a false alarm.
    explained : float
        Share of the outcome's variance that the adjustment takes off, 0 up to below 1.

    Returns
    -------
    int or None
        At most half of the list; None if not even half is enough.

    Examples
    --------
    >>> control_size(154, effect=0.25, base=0.50, power=0.90)
    71
    >>> control_size(1000, effect=0.25, base=0.50, power=0.90)
    38
    >>> control_size(100, effect=0.25, base=0.50, power=0.90) is None
    True
    """
    low, high = LEAST_CONTROL, n // 2

    def shows(size: int) -> bool:
        groups = {"n_treated": n - size, "n_control": size}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    if high < low or not shows(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return low


def list_size(
    *, effect: float, base: float, power: float = 0.8, alpha: float = 0.05, explained: float = 0.0
) -> int | None:
    """Shortest list that shows an effect, half of it held out.

    Parameters
    ----------
    effect : float
        Uplift to be seen, as a share.
    base : float
        Share of buyers without the campaign.
    power : float
        Probability of seeing it.
    alpha : float
        Probability of a false alarm.
    explained : float
        Share of the outcome's variance that the adjustment takes off, 0 up to below 1.

    Returns
    -------
    int or None
        Customers, an even number; None where no list would do.

    Examples
    --------
    >>> list_size(effect=0.25, base=0.50, power=0.90), list_size(effect=0.25, base=0.50, power=0.90, explained=0.3)
    (154, 108)
    >>> list_size(effect=0.25, base=0.90) is None
    True
    """
    low, high = LEAST_CONTROL, MOST_CUSTOMERS

    def shows(half: int) -> bool:
        groups = {"n_treated": half, "n_control": half}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    if not shows(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return 2 * low


def detectable_effect(
    *,
    base: float,
    n_treated: float,
    n_control: float,
    power: float = 0.8,
    alpha: float = 0.05,
    explained: float = 0.0,
) -> float | None:
    """Smallest rise in the share of buyers that two groups can show.

    Parameters
    ----------
    base : float
        Share of buyers without the campaign.
    n_treated, n_control : float
        Customers reached and held out.
    power : float
        Probability of seeing it.
    alpha : float
        Probability of a false alarm.
    explained : float
        Share of the outcome's variance that the adjustment takes off, 0 up to below 1.

    Returns
    -------
    float or None
        As a share; None if not even a rise to 1 would be seen.

    Examples
    --------
    >>> round(0.50 + detectable_effect(base=0.50, n_treated=50, n_control=50, power=0.90), 4)
    0.8026
    >>> detectable_effect(base=0.99, n_treated=5, n_control=5) is None
    True
    """

    def shows(effect: float) -> bool:
        groups = {"n_treated": n_treated, "n_control": n_control}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    low, high = 0.0, 1.0 - base
    if not shows(high):
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
