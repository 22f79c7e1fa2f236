"""Learn uplift from past campaigns and compare targeting policies on held-out customers.

References
----------
.. [1] Imai, K., Ratkovic, M. (2013). Estimating treatment effect heterogeneity in randomized program evaluation. Annals
   of Applied Statistics 7, 443-470; eq. 2.1, separate penalties for main effects and interactions.
.. [2] Radcliffe, N. J. (2007). Using control groups to target on predicted lift. Direct Marketing Analytics Journal 1,
   14-21; in the scaling of Gutierrez, P., Gerardy, J.-Y. (2017). Causal inference and uplift modelling. PMLR 67, 1-13.
.. [3] Robins, J. M., Hernán, M. A., Brumback, B. (2000). Marginal structural models and causal inference in
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
_Codes = npt.NDArray[np.int64]

_MIN_OUTCOMES = 20
"""Customers of either group with an outcome above zero, below which nothing is learned."""
_CUSTOMER_PRIOR_SD = 0.3
"""Prior standard deviation of the coefficients of the outcome without contact, in log odds."""
_EFFECT_PRIOR_SDS = (0.055, 0.17, 0.55)
"""Candidates for that of the coefficients of the effect of a contact."""
_UPLIFT_FOLDS, _MAX_CUSTOMERS_TUNED, _MIN_TUNING_PROBABILITY = 4, 10_000, 1e-12
_MONEY_RIDGE = 10.0
"""The same penalty where the outcome, in standard deviations, is no share."""

_RANDOM_POLICY = "random"
_BOOTSTRAP_SAMPLES, _BOOTSTRAP_BATCH_SIZE = 500, 2_000_000
_TARGETING_FOLDS = 3
_QINI_STEPS = 50


class _UpliftColumns(NamedTuple):
    """Columns of the regression: features, hinges at their quartiles, squares and products; standardised."""

    middle: _Floats
    quartiles: _Floats
    mean: _Floats
    spread: _Floats

    @classmethod
    def fit(cls, x: _Floats) -> "_UpliftColumns":
        known = [column[~np.isnan(column)] for column in x.T]
        quartiles = np.array([np.quantile(one, (0.25, 0.5, 0.75)) if len(one) else np.zeros(3) for one in known])
        raw = cls(quartiles[:, 1], quartiles.T, np.zeros(1), np.ones(1))
        columns = raw.transform(x)
        spread = columns.std(axis=0)
        return raw._replace(mean=columns.mean(axis=0), spread=np.where(spread > 0, spread, 1.0))

    def transform(self, x: _Floats) -> _Floats:
        filled = np.where(np.isnan(x), self.middle, x)
        hinges = [np.maximum(filled - quartile, 0.0) for quartile in self.quartiles]
        one, other = np.triu_indices(x.shape[1])
        columns = np.hstack([filled, *hinges, filled[:, one] * filled[:, other]])
        return np.asarray((columns - self.mean) / self.spread, dtype=np.float64)


class UpliftModel:
    """A learned uplift."""

    def __init__(self, columns: _UpliftColumns, regression: Any, *, effect_prior_sd: float, scale: float) -> None:
        self.columns = columns
        self.regression = regression
        self.effect_prior_sd = effect_prior_sd
        self.scale = scale

    def predict(self, features: npt.ArrayLike) -> _Floats:
        """Predict by how much each customer's outcome rises because of a contact."""
        columns = self.columns.transform(np.asarray(features, dtype=np.float64))
        treated, control = (
            _predict(self.regression, _add_interactions(columns, np.full(len(columns), side), self.effect_prior_sd))
            for side in (0.5, -0.5)
        )
        return (treated - control) * self.scale


def fit_uplift(
    features: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> UpliftModel:
    """Learn whose outcome a contact changes."""
    from threadpoolctl import threadpool_limits

    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    n_outcomes = min(int((y[group] != 0).sum()), int((y[~group] != 0).sum()))
    if n_outcomes < _MIN_OUTCOMES:
        raise InputError(
            f"An uplift is learned from two randomly assigned groups, each with at least {_MIN_OUTCOMES} outcomes. The "
            f"smaller one has {n_outcomes}."
        )
    prepared = _UpliftColumns.fit(x)
    is_share = bool(np.isin(y, (0.0, 1.0)).all() and y.min() < y.max())
    regression, scale = (_logistic, 1.0) if is_share else (_ridge, float(y.std()) or 1.0)
    columns, side = prepared.transform(x), np.where(group, 0.5, -0.5)
    weights = _weights(weight, len(y))
    with threadpool_limits(1):  # several threads on busy cores are many times slower
        prior_sd = _best_effect_prior_sd(columns, side, y / scale, weights, regression)
        fitted = regression().fit(_add_interactions(columns, side, prior_sd), y / scale, sample_weight=weights)
    return UpliftModel(prepared, fitted, effect_prior_sd=prior_sd, scale=scale)


def _weights(weight: npt.ArrayLike | None, n: int) -> _Floats:
    return np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)


def _best_effect_prior_sd(
    columns: _Floats, side: _Floats, y: _Floats, weight: _Floats, regression: Callable[[], Any]
) -> float:
    """Choose how far effects differ by cross-validation, in folds alike in contact and outcome."""
    order = np.lexsort((y, side))
    kept = order[:: math.ceil(len(y) / _MAX_CUSTOMERS_TUNED)]
    fold, y, weight = np.arange(len(kept)) % _UPLIFT_FOLDS, y[kept], weight[kept]
    errors = []
    for prior_sd in _EFFECT_PRIOR_SDS:
        design, predicted = _add_interactions(columns[kept], side[kept], prior_sd), np.empty(len(kept))
        for number in range(_UPLIFT_FOLDS):
            test = fold == number
            fitted = regression().fit(design[~test], y[~test], sample_weight=weight[~test])
            predicted[test] = _predict(fitted, design[test])
        errors.append((_validation_error(predicted, y, weight, is_share=regression is _logistic), prior_sd))
    return min(errors)[1]


def _validation_error(predicted: _Floats, y: _Floats, weight: _Floats, *, is_share: bool) -> float:
    """Log loss, or mean squared error."""
    error = (y - predicted) ** 2
    if is_share:
        error = -np.log(np.maximum(np.where(y > 0, predicted, 1 - predicted), _MIN_TUNING_PROBABILITY))
    return float(np.average(error, weights=weight))


def _predict(regression: Any, columns: _Floats) -> _Floats:
    if hasattr(regression, "predict_proba"):
        return np.asarray(regression.predict_proba(columns)[:, 1], dtype=np.float64)
    return np.asarray(regression.predict(columns), dtype=np.float64)


def _add_interactions(columns: _Floats, side: _Floats, effect_prior_sd: float) -> _Floats:
    """Columns alone, the contact alone, and both together: half of the effect is added on either side."""
    contact = side[:, None]
    return np.hstack([columns * _CUSTOMER_PRIOR_SD, contact, columns * contact * effect_prior_sd])


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=200)


def _ridge() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=_MONEY_RIDGE)


class _TargetingComparison(NamedTuple):
    """Gain of one targeting policy over another, with its interval."""

    rival: str
    gain: float
    rival_gain: float
    difference: float
    low: float
    high: float


class _TargetingEvaluation(NamedTuple):
    """Learned targeting, evaluated on held-out customers."""

    share: float
    qini: float
    comparisons: list[_TargetingComparison]

    @property
    def beats_all(self) -> bool:
        """Whether it gains significantly more than every rival."""
        return all(comparison.low > 0 for comparison in self.comparisons)


class _GroupWeights(NamedTuple):
    """Weights in the treatment group and in the control group; 0 for the others."""

    treated: _Floats
    control: _Floats

    @classmethod
    def of(cls, treated: npt.ArrayLike, weight: npt.ArrayLike | None) -> "_GroupWeights":
        group = np.asarray(treated, dtype=np.bool_)
        weights = _weights(weight, len(group))
        return cls(weights * group, weights * ~group)


def targeted_share(score: npt.ArrayLike, *, share: float) -> _Floats:
    """By how much each customer is chosen when the highest scores are; tied customers are chosen in part."""
    rank = mean_ranks(-np.asarray(score, dtype=np.float64))
    _, tie, size = np.unique(rank, return_inverse=True, return_counts=True)
    before = rank - (size[tie] - 1) / 2
    chosen: _Floats = np.clip((share * len(rank) - before) / size[tie], 0.0, 1.0)
    return chosen


def group_weights(treated: npt.ArrayLike, campaign: npt.ArrayLike) -> _Floats:
    """Weight customers of several campaigns as if each had contacted the same share ([3]_)."""
    group, code = np.asarray(treated, dtype=np.bool_), _codes(campaign, 0)
    contacted = (np.bincount(code, weights=group) / np.bincount(code))[code]
    weights: _Floats = np.where(group, group.mean() / contacted, (1 - group.mean()) / (1 - contacted))
    return weights


def qini_curve(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> tuple[_Floats, _Floats]:
    """Gain of contacting more and more customers, best first ([2]_)."""
    weights, y = _GroupWeights.of(treated, weight), np.asarray(outcome, dtype=np.float64)
    shares = np.linspace(0.0, 1.0, _QINI_STEPS + 1)
    gains = [_gain(targeted_share(score, share=float(share)), weights, y) for share in shares]
    return shares, np.array(gains)


def qini(
    score: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> float:
    """Area between a targeting policy and random targeting."""
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
    """Compare a targeting policy with others, and with random targeting.

    Customers are resampled with Poisson weights, with all of their rows; who is chosen stays, as it would in use.
    """
    weights, y = _GroupWeights.of(treated, weight), np.asarray(outcome, dtype=np.float64)
    policies = np.stack(
        [
            targeted_share(score, share=share),
            np.full(len(y), share),
            *(targeted_share(rival, share=share) for rival in rivals.values()),
        ]
    )
    gain, *rival_gains = (_gain(policy, weights, y) for policy in policies)
    samples = _bootstrap(policies, weights, y, _codes(customer, len(y)), np.random.default_rng(random_state))
    low, high = np.quantile(samples[:, :1] - samples[:, 1:], [0.025, 0.975], axis=0).tolist()
    names = [_RANDOM_POLICY, *rivals]
    return [
        _TargetingComparison(name, gain, rival_gain, gain - rival_gain, *interval)
        for name, rival_gain, *interval in zip(names, rival_gains, low, high, strict=True)
    ]


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
    group, weights = np.asarray(treated, dtype=np.bool_), _weights(weight, len(y))
    code = _codes(customer, len(y))
    random = np.random.default_rng([random_state, _TARGETING_FOLDS])
    fold = (random.permutation(int(code.max()) + 1) % _TARGETING_FOLDS)[code]
    rank = np.zeros(len(y))
    for number in range(_TARGETING_FOLDS):
        test = fold == number
        model = fit_uplift(x[~test], group[~test], y[~test], weight=weights[~test])
        rank[test] = (mean_ranks(model.predict(x[test])) + 0.5) / int(test.sum())
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
) -> _TargetingEvaluation:
    """Evaluate on held-out customers whether learned targeting gains more than simpler policies."""
    score = cross_fitted_uplift(features, treated, outcome, weight=weight, customer=customer, random_state=random_state)
    comparisons = compare_targeting(
        score, rivals, treated, outcome, share=share, weight=weight, customer=customer, random_state=random_state
    )
    return _TargetingEvaluation(share, qini(score, treated, outcome, weight=weight), comparisons)


def _codes(values: npt.ArrayLike | None, n: int) -> _Codes:
    """Number the values from 0; without values, the rows."""
    if values is None:
        return np.arange(n)
    return np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1)


def _gain(chosen: _Floats, weights: _GroupWeights, y: _Floats) -> float:
    treated, control = chosen * weights.treated, chosen * weights.control
    if not (treated.sum() > 0 and control.sum() > 0):
        return 0.0
    return float(chosen.sum() * (treated @ y / treated.sum() - control @ y / control.sum()))


def _bootstrap(
    chosen: _Floats, weights: _GroupWeights, y: _Floats, customer: _Codes, random: np.random.Generator
) -> _Floats:
    """Gains of each policy in each sample."""
    treated, control = chosen * weights.treated, chosen * weights.control
    columns = np.concatenate([treated * y, treated, control * y, control]).T
    total, n_policies = chosen.sum(axis=1), len(chosen)
    gains, n_customers = [], int(customer.max()) + 1
    step = max(1, _BOOTSTRAP_BATCH_SIZE // len(y))
    for begin in range(0, _BOOTSTRAP_SAMPLES, step):
        drawn = random.poisson(1.0, (min(step, _BOOTSTRAP_SAMPLES - begin), n_customers)).astype(np.float64)
        sample = drawn if n_customers == len(y) else drawn[:, customer]
        sums = (sample @ columns).reshape(len(sample), 4, n_policies)
        mean_treated, mean_control = (sums[:, place] / np.maximum(sums[:, place + 1], 1e-12) for place in (0, 2))
        gains.append(total * (mean_treated - mean_control))
    return np.concatenate(gains)
