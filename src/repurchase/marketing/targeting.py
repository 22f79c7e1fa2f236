"""Does a way of choosing earn more than another? Judged on customers it has not seen, with the lot as the judge.

Choosing the best share k of n customers and reaching them earns

    gain(k) = k n (mean outcome of the reached among them - mean outcome of the held out among them)

more than reaching nobody; choosing by lot earns k n times the mean effect. Over all k this is the Qini curve ([1]_),
and its area above the straight line, as a share of n times the whole effect where that is above zero, the Qini
coefficient. Ties are reached in equal parts.

Of several campaigns those that reached a larger share weigh more among the reached than among the held out, and a
season would pass for an effect. So customers are weighted (`even_weights`) as if each campaign had reached the same
share: means are then of the same mix of campaigns on both sides ([2]_).

References
----------
.. [1] Radcliffe, N. J. (2007). Using control groups to target on predicted lift. Direct Marketing Analytics Journal 1,
   14-21; in the scaling of Gutierrez, P., Gerardy, J.-Y. (2017). Causal inference and uplift modelling. PMLR 67, 1-13.
.. [2] Robins, J. M., Hernán, M. A., Brumback, B. (2000). Marginal structural models and causal inference in
   epidemiology. Epidemiology 11, 550-560; stabilised weights.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.evaluation.ties import mean_ranks
from repurchase.marketing.uplift import fit_uplift

__all__ = [
    "Comparison",
    "Trial",
    "chosen_share",
    "compare",
    "even_weights",
    "held_out_uplift",
    "qini",
    "qini_curve",
    "try_targeting",
]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

RANDOM, LEARNED = "random", "learned"
REDRAWS, AT_ONCE = 500, 2_000_000
FOLDS = 3
QINI_STEPS = 50


class Comparison(NamedTuple):
    """What one way of choosing earns beyond another.

    Parameters
    ----------
    rival : str
        The other one.
    gain, rival_gain : float
        Outcomes earned by reaching the share, of all customers judged.
    difference, low, high : float
        Their difference and its 95 % interval by bootstrap.
    """

    rival: str
    gain: float
    rival_gain: float
    difference: float
    low: float
    high: float

    @property
    def beats(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0


class Trial(NamedTuple):
    """Learned targeting, judged.

    Parameters
    ----------
    share : float
        Share of customers reached.
    qini : float
        Of the learned one, on customers it had not seen.
    comparisons : list of Comparison
        With each rival.
    """

    share: float
    qini: float
    comparisons: list[Comparison]

    @property
    def beats_all(self) -> bool:
        """Whether it earns more than every rival, beyond chance."""
        return all(one.beats for one in self.comparisons)


def chosen_share(score: npt.ArrayLike, *, share: float) -> Floats:
    """Say in which part each customer is chosen when the highest scores are.

    Parameters
    ----------
    score : array of shape (n,)
        Higher is chosen first.
    share : float
        Share of customers chosen.

    Returns
    -------
    array of shape (n,)
        0 to 1; between only for a tie that the share cuts in two. Sums to ``share`` · n.

    Examples
    --------
    >>> chosen_share([3.0, 2.0, 2.0, 1.0], share=0.5)
    array([1. , 0.5, 0.5, 0. ])
    """
    rank = mean_ranks(-np.asarray(score, dtype=np.float64))
    _, tie, size = np.unique(rank, return_inverse=True, return_counts=True)
    before = rank - (size[tie] - 1) / 2
    parts: Floats = np.clip((share * len(rank) - before) / size[tie], 0.0, 1.0)
    return parts


def even_weights(treated: npt.ArrayLike, campaign: npt.ArrayLike) -> Floats:
    """Weigh customers of several campaigns as if each had reached the same share.

    Parameters
    ----------
    treated : bool array of shape (n,)
        By lot within the campaign.
    campaign : array of shape (n,)
        Which one; each has customers of both groups.

    Returns
    -------
    array of shape (n,)
        Share of the customer's group over all campaigns, over its share in the customer's own.

    Examples
    --------
    >>> even_weights([True, False, True, True, False, False], [0, 0, 1, 1, 1, 1])
    array([1., 1., 1., 1., 1., 1.])
    >>> even_weights([True, True, True, False, True, False], [0, 0, 0, 0, 1, 1]).round(3)
    array([0.889, 0.889, 0.889, 1.333, 1.333, 0.667])
    """
    group = np.asarray(treated, dtype=np.bool_)
    _, code = np.unique(np.asarray(campaign), return_inverse=True)
    reached = (np.bincount(code, weights=group) / np.bincount(code))[code]
    weights: Floats = np.where(group, group.mean() / reached, (1 - group.mean()) / (1 - reached))
    return weights


def qini_curve(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """What reaching more and more customers earns, best first.

    Parameters
    ----------
    score : array of shape (n,)
        Higher is reached first.
    treated : bool array of shape (n,)
        By lot.
    outcome : array of shape (n,)
        What each customer did.
    weight : array of shape (n,), optional
        From `even_weights`; default all alike.

    Returns
    -------
    share, gain : arrays of shape (51,)
        From nobody to all.
    """
    sides, y = _sides(treated, weight), np.asarray(outcome, dtype=np.float64)
    shares = np.linspace(0.0, 1.0, QINI_STEPS + 1)
    gains = [_gain(chosen_share(score, share=float(share)), sides, y) if share else 0.0 for share in shares]
    return shares, np.array(gains)


def qini(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> float:
    """Area between a way of choosing and the lot.

    Parameters
    ----------
    score : array of shape (n,)
        Higher is reached first.
    treated : bool array of shape (n,)
        By lot.
    outcome : array of shape (n,)
        What each customer did.
    weight : array of shape (n,), optional
        From `even_weights`; default all alike.

    Returns
    -------
    float
        0 for the lot; over the whole effect where that is above zero, else nan.
    """
    shares, gains = qini_curve(score, treated, outcome, weight=weight)
    whole = gains[-1]
    return float(np.trapezoid(gains - whole * shares, shares) / whole) if whole > 0 else float("nan")


def compare(
    score: npt.ArrayLike,
    rivals: Mapping[str, npt.ArrayLike],
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    share: float,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> list[Comparison]:
    """Hold a way of choosing against others, and against the lot.

    Customers are drawn again with Poisson weights, with all of their rows; who is chosen stays, as it would in use.

    Parameters
    ----------
    score : array of shape (n,)
        Made without these customers' outcomes.
    rivals : mapping of str to array of shape (n,)
        Other scores.
    treated : bool array of shape (n,)
        By lot.
    outcome : array of shape (n,)
        What each customer did.
    share : float
        Share of customers reached, above 0.
    weight : array of shape (n,), optional
        From `even_weights`; default all alike.
    customer : array of shape (n,), optional
        Whose row it is; default everyone has one.
    random_state : int
        Of the bootstrap.

    Returns
    -------
    list of Comparison
        The lot first, then the rivals.
    """
    sides, y = _sides(treated, weight), np.asarray(outcome, dtype=np.float64)
    everyone = np.full(len(y), share)
    parts = [chosen_share(score, share=share), everyone, *(chosen_share(one, share=share) for one in rivals.values())]
    gains = [_gain(part, sides, y) for part in parts]
    drawn = _bootstrap(np.stack(parts), sides, y, _codes(customer, len(y)), np.random.default_rng(random_state))
    found = []
    for place, rival in enumerate([RANDOM, *rivals], start=1):
        low, high = np.quantile(drawn[:, 0] - drawn[:, place], [0.025, 0.975])
        found.append(Comparison(rival, gains[0], gains[place], gains[0] - gains[place], float(low), float(high)))
    return found


def held_out_uplift(
    features: npt.ArrayLike,
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> Floats:
    """Rank every customer by an uplift learned without them.

    Parameters
    ----------
    features : array of shape (n, n_features)
        Known before the campaign.
    treated : bool array of shape (n,)
        By lot.
    outcome : array of shape (n,)
        What each customer did.
    weight : array of shape (n,), optional
        From `even_weights`; default all alike.
    customer : array of shape (n,), optional
        Whose row it is: all of a customer's are held out at once. Default everyone has one.
    random_state : int
        Of the folds.

    Returns
    -------
    array of shape (n,)
        Rank within the customer's fold, 0 to 1: uplifts of different fits are not compared.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    code = _codes(customer, len(y))
    fold = (np.random.default_rng([random_state, FOLDS]).permutation(int(code.max()) + 1) % FOLDS)[code]
    rank = np.zeros(len(y))
    for number in range(FOLDS):
        here = fold == number
        model = fit_uplift(x[~here], group[~here], y[~here], weight=weights[~here])
        rank[here] = (mean_ranks(model.predict(x[here])) + 0.5) / int(here.sum())
    return rank


def try_targeting(
    features: npt.ArrayLike,
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    rivals: Mapping[str, npt.ArrayLike],
    share: float = 0.3,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> Trial:
    """Find out on held-out customers whether learned targeting earns more than simpler ways.

    Parameters
    ----------
    features : array of shape (n, n_features)
        Known before the campaign.
    treated : bool array of shape (n,)
        By lot.
    outcome : array of shape (n,)
        What each customer did.
    rivals : mapping of str to array of shape (n,)
        Other ways of choosing: their scores.
    share : float
        Share of customers reached.
    weight : array of shape (n,), optional
        From `even_weights`; default all alike.
    customer : array of shape (n,), optional
        Whose row it is; default everyone has one.
    random_state : int
        Of folds and bootstrap.

    Returns
    -------
    Trial
        It is used only where ``beats_all``.
    """
    score = held_out_uplift(features, treated, outcome, weight=weight, customer=customer, random_state=random_state)
    found = compare(
        score, rivals, treated, outcome, share=share, weight=weight, customer=customer, random_state=random_state
    )
    return Trial(share, qini(score, treated, outcome, weight=weight), found)


class _Sides(NamedTuple):
    """Weights among the reached, and among the held out; 0 for the others."""

    reached: Floats
    held: Floats


def _sides(treated: npt.ArrayLike, weight: npt.ArrayLike | None) -> _Sides:
    group = np.asarray(treated, dtype=np.bool_)
    weights = np.ones(len(group)) if weight is None else np.asarray(weight, dtype=np.float64)
    return _Sides(weights * group, weights * ~group)


def _codes(customer: npt.ArrayLike | None, n: int) -> Codes:
    """Number customers from 0."""
    if customer is None:
        return np.arange(n)
    return np.unique(np.asarray(customer), return_inverse=True)[1].reshape(-1)


def _gain(part: Floats, sides: _Sides, y: Floats) -> float:
    reached, held = part * sides.reached, part * sides.held
    if not (reached.sum() > 0 and held.sum() > 0):
        return 0.0
    return float(part.sum() * (reached @ y / reached.sum() - held @ y / held.sum()))


def _bootstrap(parts: Floats, sides: _Sides, y: Floats, customer: Codes, random: np.random.Generator) -> Floats:
    reached, held = parts * sides.reached, parts * sides.held
    columns = np.concatenate([reached * y, reached, held * y, held]).T
    total, n_ways = parts.sum(axis=1), len(parts)
    rows, n_customers = [], int(customer.max()) + 1
    step = max(1, AT_ONCE // len(y))
    for begin in range(0, REDRAWS, step):
        drawn = random.poisson(1.0, (min(step, REDRAWS - begin), n_customers)).astype(np.float64)
        weight = drawn if n_customers == len(y) else drawn[:, customer]
        sums = (weight @ columns).reshape(len(weight), 4, n_ways)
        mean = sums[:, 0] / np.maximum(sums[:, 1], 1e-12) - sums[:, 2] / np.maximum(sums[:, 3], 1e-12)
        rows.append(total * mean)
    return np.concatenate(rows)
