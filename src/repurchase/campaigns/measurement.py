"""Estimate campaign effects against the control group, overall and by segment.

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
.. [6] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6,
   65-70.
.. [7] DerSimonian, R., Laird, N. (1986). Meta-analysis in clinical trials. Controlled Clinical Trials 7, 177-188.
.. [8] Efron, B., Morris, C. (1975). Data analysis using Stein's estimator and its generalizations. Journal of the
   American Statistical Association 70, 311-319.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.marketing.economics import CampaignTerms

_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]
_Codes = npt.NDArray[np.int64]

_MIN_GROUP_SIZE = 2
"""Customers that each group needs in each stratum, so that its variance can be estimated."""
_MIN_RELATIVE_SPREAD = 1e-9
_MAX_PERMUTATIONS, _MIN_PERMUTATIONS, _MAX_SHUFFLED_VALUES = 1999, 199, 200_000_000
_PERMUTATION_BATCH_SIZE = 4_000_000
"""Values that are shuffled at once."""
_NORMAL_DEGREES_OF_FREEDOM = 1e6
"""Degrees of freedom at which Student's t is the normal distribution."""


@dataclass(frozen=True)
class Effect:
    """A difference between the groups, and its interval."""

    value: float
    low: float
    high: float
    error: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


class _Groups(NamedTuple):
    """Groups within strata: group 2 s is the control of stratum s, 2 s + 1 its treatment."""

    code: _Codes
    size: _Floats
    weight: _Floats

    def mean(self, values: _Floats) -> _Floats:
        return np.bincount(self.code, weights=values, minlength=len(self.size)) / self.size

    def mean_variance(self, values: _Floats) -> _Floats:
        """Variance of each group's mean."""
        squares = (values - self.mean(values)[self.code]) ** 2
        return np.asarray(
            np.bincount(self.code, weights=squares, minlength=len(self.size)) / (self.size - 1) / self.size
        )


def estimate_effect(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, *, stratum: npt.ArrayLike, alpha: float = 0.05
) -> Effect:
    """Compare the groups as they are, within strata."""
    y = np.asarray(outcome, dtype=np.float64)
    groups = _groups_within_strata(np.asarray(treated, dtype=np.bool_), stratum)
    return _effect_within_strata(groups, y, alpha)


def permutation_effect(
    outcome: npt.ArrayLike,
    treated: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
    alpha: float = 0.05,
    permutations: int | None = None,
    seed: int = 0,
) -> Effect:
    """Compare the groups, with an interval from repeated random assignment; for money, whose tails are long."""
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    groups = _groups_within_strata(group, stratum)
    found = _effect_within_strata(groups, y, alpha)
    if not found.error > 0:
        return found
    times = permutations or int(np.clip(_MAX_SHUFFLED_VALUES / len(y), _MIN_PERMUTATIONS, _MAX_PERMUTATIONS))
    drawn = np.sort(_permuted_effects(y - found.value * group, groups, times, np.random.default_rng(seed)))
    # The rank that a difference without effect exceeds with the given probability: (times + 1) alpha / 2.
    beyond = max(int((times + 1) * alpha / 2), 1) - 1
    low, high = float(drawn[times - 1 - beyond]), float(drawn[beyond])
    ratio = found.value / found.error
    tail = (1 + min(int((drawn >= ratio).sum()), int((drawn <= ratio).sum()))) / (times + 1)
    return Effect(
        found.value,
        found.value - low * found.error,
        found.value - high * found.error,
        found.error,
        min(1.0, 2 * tail),
    )


def adjust_outcome(outcome: npt.ArrayLike, covariates: npt.ArrayLike, *, stratum: npt.ArrayLike) -> _Floats:
    """Subtract what was known before the campaign."""
    y = np.asarray(outcome, dtype=np.float64)
    code = _codes(stratum)
    x = _center_within_strata(np.asarray(covariates, dtype=np.float64), code)
    spread = np.sqrt((x**2).mean(axis=0))
    x = x[:, spread > _MIN_RELATIVE_SPREAD * max(float(spread.max(initial=0.0)), _MIN_RELATIVE_SPREAD)]
    freedom = len(y) - int(code.max(initial=0)) - 1
    if not x.shape[1] or freedom <= 2 * x.shape[1]:
        return y
    x = x / x.std(axis=0)
    centered = _center_within_strata(y[:, None], code)[:, 0]
    slope, *_ = np.linalg.lstsq(x, centered, rcond=None)
    residual = centered - x @ slope
    adjusted: _Floats = y - centered + residual * math.sqrt(freedom / (freedom - x.shape[1]))
    return adjusted


def _codes(values: npt.ArrayLike) -> _Codes:
    return np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1)


def _group_codes(treated: _Flags, stratum: npt.ArrayLike) -> tuple[_Codes, _Codes]:
    """Number the groups within strata, and count their customers."""
    code = _codes(stratum)
    group = 2 * code + treated
    return group, np.bincount(group, minlength=2 * (int(code.max(initial=0)) + 1))


def _groups_within_strata(treated: _Flags, stratum: npt.ArrayLike) -> _Groups:
    code, counts = _group_codes(treated, stratum)
    if counts.min() < _MIN_GROUP_SIZE:
        raise InputError(
            f"Two groups of at least {_MIN_GROUP_SIZE} customers in each stratum are needed to compare them. "
            f"Found a group of {counts.min()}."
        )
    size = counts.astype(np.float64)
    return _Groups(code, size, (size[0::2] + size[1::2]) / len(code))


def _center_within_strata(x: _Floats, stratum: _Codes) -> _Floats:
    size = np.bincount(stratum)
    return np.stack([column - (np.bincount(stratum, weights=column) / size)[stratum] for column in x.T], axis=1)


def _permuted_effects(y: _Floats, groups: _Groups, times: int, random: np.random.Generator) -> _Floats:
    """Differences in units of their own standard errors, when customers are assigned again at random."""
    value, variance = np.zeros(times), np.zeros(times)
    for stratum, weight in enumerate(groups.weight):
        inside = y[groups.code // 2 == stratum]
        inside = inside - inside.mean()
        n_control, n = int(groups.size[2 * stratum]), len(inside)
        n_small = min(n_control, n - n_control)
        sign = 1.0 if n_small == n_control else -1.0
        total, squares = float(inside.sum()), float((inside**2).sum())
        step = max(1, _PERMUTATION_BATCH_SIZE // n)
        for begin in range(0, times, step):
            batch = slice(begin, min(begin + step, times))
            small = random.permuted(np.broadcast_to(inside, (batch.stop - begin, n)), axis=1)[:, :n_small]
            sums, sums_sq = small.sum(axis=1), (small**2).sum(axis=1)
            smaller = sums / n_small, _variance_of_mean(sums, sums_sq, n_small)
            larger = (total - sums) / (n - n_small), _variance_of_mean(total - sums, squares - sums_sq, n - n_small)
            value[batch] += weight * sign * (larger[0] - smaller[0])
            variance[batch] += weight**2 * (smaller[1] + larger[1])
    return np.asarray(value / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)))


def _variance_of_mean(sums: _Floats, squares: _Floats, n: int) -> _Floats:
    return np.asarray(np.maximum(squares - sums**2 / n, 0.0) / (n - 1) / n)


def _effect_within_strata(groups: _Groups, y: _Floats, alpha: float) -> Effect:
    mean = groups.mean(y)
    value = float(groups.weight @ (mean[1::2] - mean[0::2]))
    variances = np.repeat(groups.weight, 2) ** 2 * groups.mean_variance(y)
    error = math.sqrt(float(variances.sum()))
    if error == 0.0:
        return Effect(value, value, value, 0.0, 1.0 if value == 0.0 else 0.0)
    freedom = float(variances.sum() ** 2 / (variances**2 / (groups.size - 1)).sum())  # Satterthwaite 1946
    return _effect_with_interval(value, error, freedom=freedom, alpha=alpha)


def _effect_with_interval(value: float, error: float, *, freedom: float, alpha: float) -> Effect:
    """Put an interval of Student's t around an estimate."""
    from scipy import special

    margin = float(special.stdtrit(freedom, 1 - alpha / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Effect(value, value - margin, value + margin, error, p_value)


class _SegmentEffect(NamedTuple):
    """What a campaign changed in a segment: alone, shrunken to the mean [8]_, and corrected for several tests [6]_."""

    name: str
    n_treated: int
    n_control: int
    effect: Effect | None
    shrunken: float | None = None
    p_holm: float | None = None


def effects_by_segment(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, *, segment: npt.ArrayLike, alpha: float = 0.05
) -> list[_SegmentEffect]:
    """Compare the groups within segments of the customers, the largest first."""
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    names = np.asarray(segment, dtype=np.str_)
    rows = [_segment_effect(str(name), y[names == name], group[names == name], alpha) for name in np.unique(names)]
    effects = {row.name: row.effect for row in rows if row.effect}
    shrunken = dict(zip(effects, _shrunken_effects(list(effects.values())), strict=True))
    p_holm = dict(zip(effects, _holm_p_values([effect.p_value for effect in effects.values()]), strict=True))
    rows = [row._replace(shrunken=shrunken.get(row.name), p_holm=p_holm.get(row.name)) for row in rows]
    return sorted(rows, key=lambda row: (-row.n_treated - row.n_control, row.name))


def _segment_effect(name: str, y: _Floats, treated: _Flags, alpha: float) -> _SegmentEffect:
    n_treated, n_control = int(treated.sum()), int((~treated).sum())
    effect = None
    if min(n_treated, n_control) >= _MIN_GROUP_SIZE:
        effect = estimate_effect(y, treated, stratum=np.zeros(len(y), dtype=np.int64), alpha=alpha)
    return _SegmentEffect(name, n_treated, n_control, effect if effect and effect.error > 0 else None)


def pool_effects(effects: Sequence[Effect], *, alpha: float = 0.05) -> Effect:
    """Combine the effects of several campaigns, allowing that they differ (random effects, [7]_)."""
    value, variance = _effect_arrays(effects)
    weight = 1 / (variance + _between_variance(value, variance))
    return _effect_with_interval(
        float(weight @ value / weight.sum()),
        float(weight.sum() ** -0.5),
        freedom=_NORMAL_DEGREES_OF_FREEDOM,
        alpha=alpha,
    )


def _effect_arrays(effects: Sequence[Effect]) -> tuple[_Floats, _Floats]:
    return np.array([effect.value for effect in effects]), np.array([effect.error**2 for effect in effects])


def _between_variance(value: _Floats, variance: _Floats) -> float:
    """Variance between estimates that chance does not explain, by moments."""
    weight = 1 / variance
    mean = weight @ value / weight.sum()
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    excess = float(weight @ (value - mean) ** 2) - (len(value) - 1)
    return max(0.0, excess / float(scale)) if scale > 0 else 0.0


def _shrunken_effects(effects: Sequence[Effect]) -> list[float]:
    if not effects:
        return []
    value, variance = _effect_arrays(effects)
    between = _between_variance(value, variance)
    centre = pool_effects(effects).value
    shrunken: list[float] = (centre + (value - centre) * between / (between + variance)).tolist()
    return shrunken


def _holm_p_values(p_values: Sequence[float]) -> list[float]:
    order = np.argsort(p_values)
    raised = np.array(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return [float(p) for p in adjusted]


class CampaignOutcomes(NamedTuple):
    """A campaign's customers, by the group they were assigned to, and what they did."""

    treated: _Flags
    stratum: _Codes
    bought: _Flags
    sales: _Floats | None
    p: _Floats
    spend: _Floats
    segment: npt.NDArray[np.str_]

    @property
    def covariates(self) -> _Floats:
        """What the scores said before: they narrow the interval as far as they were right."""
        if np.isnan(self.spend).any():
            return self.p[:, None]
        return np.stack([self.p, self.spend, np.log1p(np.maximum(self.spend, 0.0))], axis=1)


def measure_campaign(
    who: CampaignOutcomes, *, terms: CampaignTerms, effect_points: float, power: float = 0.8, alpha: float = 0.05
) -> dict[str, Any]:
    """Measure what a campaign changed.

    Profit per customer is margin · sales less, in the treatment group, the contact and, of those who bought, the offer;
    its difference between the groups is what a contact brought, with its own interval.
    """
    n_treated, n_control = int(who.treated.sum()), int((~who.treated).sum())
    if min(n_treated, n_control) < _MIN_GROUP_SIZE:
        raise InputError(
            f"This campaign cannot be measured: {n_control} customers in the control group and {n_treated} to contact; "
            "both groups are needed, assigned at random. Plan the next campaign with a control group."
        )
    if _group_codes(who.treated, who.stratum)[1].min() < _MIN_GROUP_SIZE:
        who = who._replace(stratum=np.zeros_like(who.stratum))
    bought = 100 * who.bought.astype(np.float64)
    repurchase = _effect_records(who, bought, alpha)
    error = repurchase["adjusted"]["error"]
    return {
        "groups": {"treatment": _group_record(who, who.treated), "control": _group_record(who, ~who.treated)},
        "repurchase": repurchase,
        **_money_effects(who, terms, alpha),
        "needed_customers": _needed_customers(len(bought), error=error, effect=effect_points, power=power, alpha=alpha),
        "segments": [
            _segment_record(row) for row in effects_by_segment(bought, who.treated, segment=who.segment, alpha=alpha)
        ],
    }


def _needed_customers(n: int, *, error: float, effect: float, power: float, alpha: float) -> int | None:
    """How many customers would show an effect, if they vary like these and are split alike.

    The error falls with the square root of the number: n (z_a + z_b)² error² / effect².
    """
    if not error > 0:
        return None
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return math.ceil(n * (z * error / effect) ** 2)


def _money_effects(who: CampaignOutcomes, terms: CampaignTerms, alpha: float) -> dict[str, Any]:
    if who.sales is None:
        return dict.fromkeys(("sales", "profit", "totals", "return_on_spend"))
    spent = np.where(who.treated, terms.cost_per_contact + terms.offer_cost * who.bought, 0.0)
    cost, n_treated = float(spent.sum()), int(who.treated.sum())
    sales = _effect_records(who, who.sales, alpha, is_money=True)
    profit = _effect_records(who, terms.margin * who.sales - spent, alpha, is_money=True)

    def scaled(records: dict[str, Any], factor: float) -> dict[str, float]:
        return {name: records["adjusted"][name] * factor for name in ("value", "low", "high")}

    return {
        "sales": sales,
        "profit": profit,
        "totals": {"cost": cost, "sales": scaled(sales, n_treated), "profit": scaled(profit, n_treated)},
        "return_on_spend": scaled(profit, n_treated / cost) if cost > 0 else None,
    }


def _effect_records(who: CampaignOutcomes, outcome: _Floats, alpha: float, *, is_money: bool = False) -> dict[str, Any]:
    """The effect as it is, and adjusted by the scores."""
    estimate = permutation_effect if is_money else estimate_effect
    adjusted = adjust_outcome(outcome, who.covariates, stratum=who.stratum)
    return {
        name: _effect_record(estimate(values, who.treated, stratum=who.stratum, alpha=alpha))
        for name, values in (("unadjusted", outcome), ("adjusted", adjusted))
    }


def _effect_record(found: Effect) -> dict[str, Any]:
    return {**asdict(found), "can_tell": found.is_significant}


def _group_record(who: CampaignOutcomes, group: _Flags) -> dict[str, Any]:
    return {
        "customers": int(group.sum()),
        "bought": int(who.bought[group].sum()),
        "share_bought": float(who.bought[group].mean()),
        "expected_share": float(who.p[group].mean()),
        "sales_per_customer": None if who.sales is None else float(who.sales[group].mean()),
    }


def _segment_record(row: _SegmentEffect) -> dict[str, Any]:
    return {
        "segment": row.name,
        "treatment": row.n_treated,
        "control": row.n_control,
        "points": None if row.effect is None else _effect_record(row.effect),
        "points_drawn_to_the_mean": row.shrunken,
        "p_value_for_all_looked_at": row.p_holm,
    }
