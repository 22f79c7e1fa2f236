"""What a campaign changed in each part of its customers, without being fooled by how many parts are looked at.

Of many parts one will look good by chance. So each p-value is raised by the number of parts (Holm, [1]_), and each
estimate is drawn towards the mean of all by what is chance in it: the spread between parts beyond chance is estimated
by moments ([2]_), and what an estimate keeps of its own is its share of that spread ([3]_).

References
----------
.. [1] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6,
   65-70.
.. [2] DerSimonian, R., Laird, N. (1986). Meta-analysis in clinical trials. Controlled Clinical Trials 7, 177-188.
.. [3] Efron, B., Morris, C. (1975). Data analysis using Stein's estimator and its generalizations. Journal of the
   American Statistical Association 70, 311-319.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.marketing.effects import LEAST, Effect, effect, with_interval

__all__ = ["Part", "by_part", "pool"]

Floats = npt.NDArray[np.float64]
LARGE = 1e6
"""Degrees of freedom at which Student's t is the normal law."""


class Part(NamedTuple):
    """What a campaign changed in a part of its customers.

    Parameters
    ----------
    name : str
        Of the part.
    n_treated, n_control : int
        Customers.
    effect : Effect or None
        Of this part alone; None where a group has too few customers or nobody differs.
    drawn : float or None
        The estimate, drawn towards the mean of all parts.
    p_holm : float or None
        The p-value for having looked at all parts.
    """

    name: str
    n_treated: int
    n_control: int
    effect: Effect | None
    drawn: float | None
    p_holm: float | None


def by_part(outcome: npt.ArrayLike, treated: npt.ArrayLike, *, part: npt.ArrayLike, alpha: float = 0.05) -> list[Part]:
    """Compare the groups within parts of the customers.

    Parameters
    ----------
    outcome : array of shape (n,)
        What each customer did.
    treated : bool array of shape (n,)
        Whether the lot put the customer among those to be reached.
    part : str array of shape (n,)
        The customer's part, known before the campaign.
    alpha : float
        One less the intervals' share.

    Returns
    -------
    list of Part
        Largest first.
    """
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    names = np.asarray(part, dtype=np.str_)
    rows = []
    for name in np.unique(names):
        here = names == name
        rows.append((str(name), int((here & group).sum()), int((here & ~group).sum()), _alone(y, group, here, alpha)))
    told = [found for *_, found in rows if found]
    drawn, p_holm = iter(_drawn(told)), iter(_holm([found.p_value for found in told]))
    parts = [Part(*row, next(drawn) if row[3] else None, next(p_holm) if row[3] else None) for row in rows]
    return sorted(parts, key=lambda one: (-one.n_treated - one.n_control, one.name))


def pool(effects: Sequence[Effect], *, alpha: float = 0.05) -> Effect:
    """Put the effects of several campaigns together, allowing that they differ (random effects, [2]_).

    Parameters
    ----------
    effects : sequence of Effect
        At least one, each with an error above zero.
    alpha : float
        One less the interval's share.

    Returns
    -------
    Effect
        The mean effect, and an interval of it; of one campaign its own.
    """
    value, variance = _arrays(effects)
    weight = 1 / (variance + _between(value, variance))
    return with_interval(float(weight @ value / weight.sum()), float(weight.sum() ** -0.5), freedom=LARGE, alpha=alpha)


def _alone(y: Floats, group: npt.NDArray[np.bool_], here: npt.NDArray[np.bool_], alpha: float) -> Effect | None:
    if min(int((here & group).sum()), int((here & ~group).sum())) < LEAST:
        return None
    found = effect(y[here], group[here], stratum=np.zeros(int(here.sum()), dtype=np.int64), alpha=alpha)
    return found if found.error > 0 else None


def _arrays(effects: Sequence[Effect]) -> tuple[Floats, Floats]:
    return np.array([one.value for one in effects]), np.array([one.error**2 for one in effects])


def _between(value: Floats, variance: Floats) -> float:
    """Variance between estimates beyond chance, by moments."""
    weight = 1 / variance
    mean = weight @ value / weight.sum()
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    excess = float(weight @ (value - mean) ** 2) - (len(value) - 1)
    return max(0.0, excess / float(scale)) if scale > 0 else 0.0


def _drawn(effects: Sequence[Effect]) -> list[float]:
    if not effects:
        return []
    value, variance = _arrays(effects)
    between = _between(value, variance)
    centre = pool(effects).value
    return [float(one) for one in centre + (value - centre) * between / (between + variance)]


def _holm(p_values: Sequence[float]) -> list[float]:
    order = np.argsort(p_values)
    raised = np.array(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    out = np.empty(len(p_values))
    out[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(raised) else raised
    return [float(p) for p in out]
