"""Learn uplift from past campaigns and compare targeting policies on held-out customers.

References
----------
.. [1] Imai, K., Ratkovic, M. (2013). Estimating treatment effect heterogeneity in randomized program evaluation. Annals
   of Applied Statistics 7, 443-470; eq. 2.1, separate penalties for main effects and interactions.
.. [1] Radcliffe, N. J. (2007). Using control groups to target on predicted lift. Direct Marketing Analytics Journal 1,
   14-21; in the scaling of Gutierrez, P., Gerardy, J.-Y. (2017). Causal inference and uplift modelling. PMLR 67, 1-13.
.. [2] Robins, J. M., Hernán, M. A., Brumback, B. (2000). Marginal structural models and causal inference in
   epidemiology. Epidemiology 11, 550-560; stabilised weights.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.evaluation.metrics import mean_ranks

_Floats = npt.NDArray[np.float64]

_MIN_OUTCOMES = 20
"""Customers of either group with an outcome above zero, below which nothing is learned."""
_CUSTOMER_PRIOR_SD = 0.3
"""Standard deviation that the coefficients of who buys are expected to have, in log odds."""
_EFFECT_PRIOR_SDS = (0.055, 0.17, 0.55)
"""Those of whom a contact moves: one of these."""
_UPLIFT_FOLDS, _MAX_CUSTOMERS_TUNED, _MIN_TUNING_PROBABILITY = 4, 10_000, 1e-12
_MONEY_RIDGE = 10.0
"""The same penalty where the outcome, in standard deviations, is no share."""


class _UpliftColumns(NamedTuple):
    """What a regression is given of features: they, hinges at their quartiles, squares and products; standardised."""

    middle: _Floats
    quartiles: _Floats
    mean: _Floats
    spread: _Floats

    @classmethod
    def of(cls, x: _Floats) -> "_UpliftColumns":
        known = [column[~np.isnan(column)] for column in x.T]
        cuts = np.array([np.quantile(one, (0.25, 0.5, 0.75)) if len(one) else np.zeros(3) for one in known])
        bare = cls(cuts[:, 1], cuts.T, np.zeros(1), np.ones(1))
        columns = bare.made(x)
        spread = columns.std(axis=0)
        return bare._replace(mean=columns.mean(axis=0), spread=np.where(spread > 0, spread, 1.0))

    def made(self, x: _Floats) -> _Floats:
        filled = np.where(np.isnan(x), self.middle, x)
        hinges = [np.maximum(filled - cut, 0.0) for cut in self.quartiles]
        one, other = np.triu_indices(x.shape[1])
        columns = np.hstack([filled, *hinges, filled[:, one] * filled[:, other]])
        return np.asarray((columns - self.mean) / self.spread, dtype=np.float64)


class UpliftModel:
    """A learned uplift."""

    def __init__(self, prepared: _UpliftColumns, regression: Any, *, of_effects: float, scale: float = 1.0) -> None:
        self.prepared = prepared
        self.regression = regression
        self.of_effects = of_effects
        self.scale = scale

    def predict(self, features: npt.ArrayLike) -> _Floats:
        """Say how much each customer's outcome rises because of a contact."""
        columns = self.prepared.made(np.asarray(features, dtype=np.float64))
        sides = [_add_interactions(columns, np.full(len(columns), side), self.of_effects) for side in (0.5, -0.5)]
        reached, held = (_predict(self.regression, both) for both in sides)
        return (reached - held) * self.scale


def fit_uplift(
    features: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> UpliftModel:
    """Learn whom a contact moves."""
    from threadpoolctl import threadpool_limits

    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    least = min(int((y[group] != 0).sum()), int((y[~group] != 0).sum()))
    if least < _MIN_OUTCOMES:
        raise InputError(
            f"An uplift is learned from two groups drawn by lot, each with at least {_MIN_OUTCOMES} outcomes. The "
            f"smaller one has {least}."
        )
    prepared = _UpliftColumns.of(x)
    is_share = bool(np.isin(y, (0.0, 1.0)).all() and y.min() < y.max())
    make, scale = (_fit_logistic, 1.0) if is_share else (_fit_linear, float(y.std()) or 1.0)
    columns, side = prepared.made(x), np.where(group, 0.5, -0.5)
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    with threadpool_limits(1):  # several threads on busy cores are many times slower
        of_effects = _best_effect_prior_sd(columns, side, y / scale, weights, make)
        fitted = make().fit(_add_interactions(columns, side, of_effects), y / scale, sample_weight=weights)
    return UpliftModel(prepared, fitted, of_effects=of_effects, scale=scale)


def _best_effect_prior_sd(
    columns: _Floats, side: _Floats, y: _Floats, weight: _Floats, make: Callable[[], Any]
) -> float:
    """How far effects are to differ: what errs least on customers left out, in folds alike in contact and outcome."""
    order = np.lexsort((y, side))
    kept = order[:: math.ceil(len(y) / _MAX_CUSTOMERS_TUNED)]
    fold, y, weight = np.arange(len(kept)) % _UPLIFT_FOLDS, y[kept], weight[kept]
    found = []
    for of_effects in _EFFECT_PRIOR_SDS:
        both, told = _add_interactions(columns[kept], side[kept], of_effects), np.empty(len(kept))
        for number in range(_UPLIFT_FOLDS):
            here = fold == number
            fitted = make().fit(both[~here], y[~here], sample_weight=weight[~here])
            told[here] = _predict(fitted, both[here])
        found.append((_validation_error(told, y, weight, is_share=make is _fit_logistic), of_effects))
    return min(found)[1]


def _validation_error(told: _Floats, y: _Floats, weight: _Floats, *, is_share: bool) -> float:
    """Log loss, or mean square."""
    if is_share:
        return float(
            np.average(-np.log(np.maximum(np.where(y > 0, told, 1 - told), _MIN_TUNING_PROBABILITY)), weights=weight)
        )
    return float(np.average((y - told) ** 2, weights=weight))


def _predict(regression: Any, columns: _Floats) -> _Floats:
    if hasattr(regression, "predict_proba"):
        return np.asarray(regression.predict_proba(columns)[:, 1], dtype=np.float64)
    return np.asarray(regression.predict(columns), dtype=np.float64)


def _add_interactions(columns: _Floats, side: _Floats, of_effects: float) -> _Floats:
    """Columns alone, the contact alone, and both together: half of the effect is added on either side."""
    contact = side[:, None]
    return np.hstack([columns * _CUSTOMER_PRIOR_SD, contact, columns * contact * of_effects])


def _fit_logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=200)


def _fit_linear() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=_MONEY_RIDGE)


_Codes = npt.NDArray[np.int64]

_RANDOM_POLICY, _LEARNED_POLICY = "random", "learned"
_BOOTSTRAP_SAMPLES, _BOOTSTRAP_BATCH_SIZE = 500, 2_000_000
_TARGETING_FOLDS = 3
_QINI_STEPS = 50


class _TargetingComparison(NamedTuple):
    """What one way of choosing earns beyond another."""

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


class _TargetingTrial(NamedTuple):
    """Learned targeting, judged."""

    share: float
    qini: float
    comparisons: list[_TargetingComparison]

    @property
    def beats_all(self) -> bool:
        """Whether it earns more than every rival, beyond chance."""
        return all(one.beats for one in self.comparisons)


def targeted_share(score: npt.ArrayLike, *, share: float) -> _Floats:
    """Say in which part each customer is chosen when the highest scores are."""
    rank = mean_ranks(-np.asarray(score, dtype=np.float64))
    _, tie, size = np.unique(rank, return_inverse=True, return_counts=True)
    before = rank - (size[tie] - 1) / 2
    parts: _Floats = np.clip((share * len(rank) - before) / size[tie], 0.0, 1.0)
    return parts


def group_weights(treated: npt.ArrayLike, campaign: npt.ArrayLike) -> _Floats:
    """Weigh customers of several campaigns as if each had reached the same share."""
    group = np.asarray(treated, dtype=np.bool_)
    _, code = np.unique(np.asarray(campaign), return_inverse=True)
    reached = (np.bincount(code, weights=group) / np.bincount(code))[code]
    weights: _Floats = np.where(group, group.mean() / reached, (1 - group.mean()) / (1 - reached))
    return weights


def qini_curve(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> tuple[_Floats, _Floats]:
    """What reaching more and more customers earns, best first."""
    sides, y = _compared_policies(treated, weight), np.asarray(outcome, dtype=np.float64)
    shares = np.linspace(0.0, 1.0, _QINI_STEPS + 1)
    gains = [_gain(targeted_share(score, share=float(share)), sides, y) if share else 0.0 for share in shares]
    return shares, np.array(gains)


def qini(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> float:
    """Area between a way of choosing and the lot."""
    shares, gains = qini_curve(score, treated, outcome, weight=weight)
    whole = gains[-1]
    return float(np.trapezoid(gains - whole * shares, shares) / whole) if whole > 0 else float("nan")


def compare_targeting(
    score: npt.ArrayLike,
    rivals: Mapping[str, npt.ArrayLike],
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    share: float,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> list[_TargetingComparison]:
    """Hold a way of choosing against others, and against the lot.

    Customers are drawn again with Poisson weights, with all of their rows; who is chosen stays, as it would in use.
    """
    sides, y = _compared_policies(treated, weight), np.asarray(outcome, dtype=np.float64)
    everyone = np.full(len(y), share)
    parts = [
        targeted_share(score, share=share),
        everyone,
        *(targeted_share(one, share=share) for one in rivals.values()),
    ]
    gains = [_gain(part, sides, y) for part in parts]
    drawn = _bootstrap(np.stack(parts), sides, y, _codes(customer, len(y)), np.random.default_rng(random_state))
    found = []
    for place, rival in enumerate([_RANDOM_POLICY, *rivals], start=1):
        low, high = np.quantile(drawn[:, 0] - drawn[:, place], [0.025, 0.975])
        found.append(
            _TargetingComparison(rival, gains[0], gains[place], gains[0] - gains[place], float(low), float(high))
        )
    return found


def cross_fitted_uplift(
    features: npt.ArrayLike,
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> _Floats:
    """Rank every customer by an uplift learned without them."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    code = _codes(customer, len(y))
    fold = (
        np.random.default_rng([random_state, _TARGETING_FOLDS]).permutation(int(code.max()) + 1) % _TARGETING_FOLDS
    )[code]
    rank = np.zeros(len(y))
    for number in range(_TARGETING_FOLDS):
        here = fold == number
        model = fit_uplift(x[~here], group[~here], y[~here], weight=weights[~here])
        rank[here] = (mean_ranks(model.predict(x[here])) + 0.5) / int(here.sum())
    return rank


def evaluate_targeting(
    features: npt.ArrayLike,
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    rivals: Mapping[str, npt.ArrayLike],
    share: float = 0.3,
    weight: npt.ArrayLike | None = None,
    customer: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> _TargetingTrial:
    """Find out on held-out customers whether learned targeting earns more than simpler ways."""
    score = cross_fitted_uplift(features, treated, outcome, weight=weight, customer=customer, random_state=random_state)
    found = compare_targeting(
        score, rivals, treated, outcome, share=share, weight=weight, customer=customer, random_state=random_state
    )
    return _TargetingTrial(share, qini(score, treated, outcome, weight=weight), found)


class _ComparedPolicies(NamedTuple):
    """Weights among the reached, and among the held out; 0 for the others."""

    reached: _Floats
    held: _Floats


def _compared_policies(treated: npt.ArrayLike, weight: npt.ArrayLike | None) -> _ComparedPolicies:
    group = np.asarray(treated, dtype=np.bool_)
    weights = np.ones(len(group)) if weight is None else np.asarray(weight, dtype=np.float64)
    return _ComparedPolicies(weights * group, weights * ~group)


def _codes(customer: npt.ArrayLike | None, n: int) -> _Codes:
    """Number customers from 0."""
    if customer is None:
        return np.arange(n)
    return np.unique(np.asarray(customer), return_inverse=True)[1].reshape(-1)


def _gain(part: _Floats, sides: _ComparedPolicies, y: _Floats) -> float:
    reached, held = part * sides.reached, part * sides.held
    if not (reached.sum() > 0 and held.sum() > 0):
        return 0.0
    return float(part.sum() * (reached @ y / reached.sum() - held @ y / held.sum()))


def _bootstrap(
    parts: _Floats, sides: _ComparedPolicies, y: _Floats, customer: _Codes, random: np.random.Generator
) -> _Floats:
    reached, held = parts * sides.reached, parts * sides.held
    columns = np.concatenate([reached * y, reached, held * y, held]).T
    total, n_ways = parts.sum(axis=1), len(parts)
    rows, n_customers = [], int(customer.max()) + 1
    step = max(1, _BOOTSTRAP_BATCH_SIZE // len(y))
    for begin in range(0, _BOOTSTRAP_SAMPLES, step):
        drawn = random.poisson(1.0, (min(step, _BOOTSTRAP_SAMPLES - begin), n_customers)).astype(np.float64)
        weight = drawn if n_customers == len(y) else drawn[:, customer]
        sums = (weight @ columns).reshape(len(weight), 4, n_ways)
        mean = sums[:, 0] / np.maximum(sums[:, 1], 1e-12) - sums[:, 2] / np.maximum(sums[:, 3], 1e-12)
        rows.append(total * mean)
    return np.concatenate(rows)
