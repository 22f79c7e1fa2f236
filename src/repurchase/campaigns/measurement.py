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
.. [1] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6,
   65-70.
.. [2] DerSimonian, R., Laird, N. (1986). Meta-analysis in clinical trials. Controlled Clinical Trials 7, 177-188.
.. [3] Efron, B., Morris, C. (1975). Data analysis using Stein's estimator and its generalizations. Journal of the
   American Statistical Association 70, 311-319.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.marketing.economics import CampaignTerms

_Floats = npt.NDArray[np.float64]


_Flags = npt.NDArray[np.bool_]
_Codes = npt.NDArray[np.int64]

_MIN_GROUP_SIZE = 2
"""Customers that each group needs in each stratum, so that a spread can be told."""
_USEFUL_SPREAD = 1e-9
_MAX_PERMUTATIONS, _MIN_PERMUTATIONS, _MAX_SHUFFLED_VALUES = 1999, 199, 200_000_000
_PERMUTATION_BATCH_SIZE = 4_000_000
"""Numbers that are shuffled at once."""


@dataclass(frozen=True)
class Effect:
    """A difference between the groups, and its interval."""

    value: float
    low: float
    high: float
    error: float
    p_value: float

    @property
    def can_tell(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> "Effect":
        """Count in another unit."""
        return Effect(self.value * factor, self.low * factor, self.high * factor, self.error * factor, self.p_value)


class _Strata(NamedTuple):
    """Groups within strata: cell 2 s is the control of stratum s, 2 s + 1 those reached."""

    code: _Codes
    size: _Floats
    weight: _Floats

    def mean(self, values: _Floats) -> _Floats:
        return np.bincount(self.code, weights=values, minlength=len(self.size)) / self.size

    def spread(self, left: _Floats) -> _Floats:
        """Variance of each cell's mean."""
        squares = np.bincount(self.code, weights=(left - self.mean(left)[self.code]) ** 2, minlength=len(self.size))
        return np.asarray(squares / (self.size - 1) / self.size)


def estimate_effect(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, *, stratum: npt.ArrayLike, alpha: float = 0.05
) -> Effect:
    """Compare the groups as they are, within strata."""
    y = np.asarray(outcome, dtype=np.float64)
    cells = _build_strata(np.asarray(treated, dtype=np.bool_), np.asarray(stratum))
    return _effect_from_moments(cells, cells.mean(y), cells.spread(y), alpha)


def permutation_effect(
    outcome: npt.ArrayLike,
    treated: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
    alpha: float = 0.05,
    redraws: int | None = None,
    seed: int = 0,
) -> Effect:
    """Compare the groups, with an interval from drawing the lot again; for money, whose tails are long."""
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    cells = _build_strata(group, np.asarray(stratum))
    found = _effect_from_moments(cells, cells.mean(y), cells.spread(y), alpha)
    if not found.error > 0:
        return found
    times = redraws or int(np.clip(_MAX_SHUFFLED_VALUES / len(y), _MIN_PERMUTATIONS, _MAX_PERMUTATIONS))
    drawn = np.sort(_permuted_effects(y - found.value * group, cells, times, np.random.default_rng(seed)))
    # The rank that a difference without effect exceeds with the probability asked for: (times + 1) alpha / 2.
    beyond = max(int((times + 1) * alpha / 2), 1) - 1
    low, high = drawn[times - 1 - beyond], drawn[beyond]
    ratio = found.value / found.error
    more = (1 + min(int((drawn >= ratio).sum()), int((drawn <= ratio).sum()))) / (times + 1)
    return Effect(
        found.value,
        found.value - float(low) * found.error,
        found.value - float(high) * found.error,
        found.error,
        min(1.0, 2 * more),
    )


def adjust_outcome(outcome: npt.ArrayLike, covariates: npt.ArrayLike, *, stratum: npt.ArrayLike) -> _Floats:
    """Take off what was known before the campaign."""
    y = np.asarray(outcome, dtype=np.float64)
    _, code = np.unique(np.asarray(stratum), return_inverse=True)
    code = code.reshape(-1)
    x = _center_within_strata(np.asarray(covariates, dtype=np.float64), code)
    spread = np.sqrt((x**2).mean(axis=0))
    x = x[:, spread > _USEFUL_SPREAD * max(float(spread.max(initial=0.0)), _USEFUL_SPREAD)]
    freedom = len(y) - int(code.max(initial=0)) - 1
    if not x.shape[1] or freedom <= 2 * x.shape[1]:
        return y
    inner = _center_within_strata(y[:, None], code)[:, 0]
    slope, *_ = np.linalg.lstsq(x / x.std(axis=0), inner, rcond=None)
    left = inner - (x / x.std(axis=0)) @ slope
    scaled: _Floats = y - inner + left * math.sqrt(freedom / (freedom - x.shape[1]))
    return scaled


def _build_strata(treated: _Flags, stratum: npt.NDArray[np.generic]) -> _Strata:
    _, code = np.unique(stratum, return_inverse=True)
    cell = 2 * code.reshape(-1) + treated
    size = np.bincount(cell, minlength=2 * (int(code.max()) + 1) if len(code) else 2).astype(np.float64)
    if not len(cell) or size.min() < _MIN_GROUP_SIZE:
        raise InputError(
            f"Two groups of at least {_MIN_GROUP_SIZE} customers in each stratum are needed to compare them. "
            f"Found a group of {int(size.min()) if len(cell) else 0}."
        )
    weight = (size[0::2] + size[1::2]) / len(cell)
    return _Strata(cell, size, weight)


def _center_within_strata(x: _Floats, stratum: _Codes) -> _Floats:
    size = np.bincount(stratum)
    return np.stack([column - (np.bincount(stratum, weights=column) / size)[stratum] for column in x.T], axis=1)


def _permuted_effects(left: _Floats, cells: _Strata, times: int, random: np.random.Generator) -> _Floats:
    """Differences in their own standard errors, of lots that are drawn again."""
    value, variance = np.zeros(times), np.zeros(times)
    for stratum, weight in enumerate(cells.weight):
        mine = left[cells.code // 2 == stratum]
        mine = mine - mine.mean()
        n_control, n = int(cells.size[2 * stratum]), len(mine)
        few = min(n_control, n - n_control)
        total, squares = float(mine.sum()), float((mine**2).sum())
        step = max(1, _PERMUTATION_BATCH_SIZE // n)
        for begin in range(0, times, step):
            here = slice(begin, min(begin + step, times))
            picked = random.permuted(np.broadcast_to(mine, (here.stop - begin, n)), axis=1)[:, :few]
            sums, sums_sq = picked.sum(axis=1), (picked**2).sum(axis=1)
            smaller = sums / few, _variance(sums, sums_sq, few)
            larger = (total - sums) / (n - few), _variance(total - sums, squares - sums_sq, n - few)
            sign = 1.0 if few == n_control else -1.0
            value[here] += weight * sign * (larger[0] - smaller[0])
            variance[here] += weight**2 * (smaller[1] + larger[1])
    tiny = np.finfo(np.float64).tiny
    return np.asarray(value / np.sqrt(np.maximum(variance, tiny)))


def _variance(sums: _Floats, squares: _Floats, n: int) -> _Floats:
    return np.asarray(np.maximum(squares - sums**2 / n, 0.0) / (n - 1) / n)


def _effect_from_moments(cells: _Strata, mean: _Floats, variance: _Floats, alpha: float) -> Effect:
    value = float(cells.weight @ (mean[1::2] - mean[0::2]))
    parts = np.repeat(cells.weight, 2) ** 2 * variance
    error = math.sqrt(float(parts.sum()))
    if error == 0.0:
        return Effect(value, value, value, 0.0, 1.0 if value == 0.0 else 0.0)
    freedom = float(parts.sum() ** 2 / (parts**2 / (cells.size - 1)).sum())  # Satterthwaite 1946
    return _effect_with_interval(value, error, freedom=freedom, alpha=alpha)


def _effect_with_interval(value: float, error: float, *, freedom: float, alpha: float = 0.05) -> Effect:
    """Put an interval around an estimate."""
    from scipy import special

    reach = float(special.stdtrit(freedom, 1 - alpha / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Effect(value, value - reach, value + reach, error, p_value)


_NORMAL_DEGREES_OF_FREEDOM = 1e6
"""Degrees of freedom at which Student's t is the normal law."""


class _SegmentEffect(NamedTuple):
    """What a campaign changed in a part of its customers."""

    name: str
    n_treated: int
    n_control: int
    effect: Effect | None
    drawn: float | None
    p_holm: float | None


def effects_by_segment(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, *, part: npt.ArrayLike, alpha: float = 0.05
) -> list[_SegmentEffect]:
    """Compare the groups within parts of the customers."""
    y, group = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.bool_)
    names = np.asarray(part, dtype=np.str_)
    rows = []
    for name in np.unique(names):
        here = names == name
        rows.append(
            (str(name), int((here & group).sum()), int((here & ~group).sum()), _segment_effect(y, group, here, alpha))
        )
    told = [found for *_, found in rows if found]
    drawn, p_holm = iter(_shrunken_effects(told)), iter(_holm_p_values([found.p_value for found in told]))
    parts = [_SegmentEffect(*row, next(drawn) if row[3] else None, next(p_holm) if row[3] else None) for row in rows]
    return sorted(parts, key=lambda one: (-one.n_treated - one.n_control, one.name))


def pool_effects(effects: Sequence[Effect], *, alpha: float = 0.05) -> Effect:
    """Put the effects of several campaigns together, allowing that they differ (random effects, [2]_)."""
    value, variance = _effect_arrays(effects)
    weight = 1 / (variance + _between_variance(value, variance))
    return _effect_with_interval(
        float(weight @ value / weight.sum()),
        float(weight.sum() ** -0.5),
        freedom=_NORMAL_DEGREES_OF_FREEDOM,
        alpha=alpha,
    )


def _segment_effect(
    y: _Floats, group: npt.NDArray[np.bool_], here: npt.NDArray[np.bool_], alpha: float
) -> Effect | None:
    if min(int((here & group).sum()), int((here & ~group).sum())) < _MIN_GROUP_SIZE:
        return None
    found = estimate_effect(y[here], group[here], stratum=np.zeros(int(here.sum()), dtype=np.int64), alpha=alpha)
    return found if found.error > 0 else None


def _effect_arrays(effects: Sequence[Effect]) -> tuple[_Floats, _Floats]:
    return np.array([one.value for one in effects]), np.array([one.error**2 for one in effects])


def _between_variance(value: _Floats, variance: _Floats) -> float:
    """Variance between estimates beyond chance, by moments."""
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
    return [float(one) for one in centre + (value - centre) * between / (between + variance)]


def _holm_p_values(p_values: Sequence[float]) -> list[float]:
    order = np.argsort(p_values)
    raised = np.array(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    out = np.empty(len(p_values))
    out[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(raised) else raised
    return [float(p) for p in out]


class CampaignOutcomes(NamedTuple):
    """A campaign's customers, by the group the lot put them in, and what they did."""

    treated: npt.NDArray[np.bool_]
    stratum: npt.NDArray[np.int64]
    bought: npt.NDArray[np.bool_]
    sales: _Floats | None
    p: _Floats
    spend: _Floats
    part: npt.NDArray[np.str_]

    @property
    def known_before(self) -> _Floats:
        """What the scores said, as covariates: they narrow the interval as far as they were right."""
        if np.isnan(self.spend).any():
            return self.p[:, None]
        return np.stack([self.p, self.spend, np.log1p(np.maximum(self.spend, 0.0))], axis=1)


def measure_campaign(
    who: CampaignOutcomes, *, terms: CampaignTerms, effect_points: float, power: float = 0.8, alpha: float = 0.05
) -> dict[str, Any]:
    """Measure what a campaign changed.

    Profit per customer is margin · sales less, of those to be reached, the contact and, of those who bought, the offer;
    its difference between the groups is what a contact brought, with its own interval.
    """
    n_treated = int(who.treated.sum())
    if min(n_treated, len(who.treated) - n_treated) < _MIN_GROUP_SIZE:
        raise InputError(
            f"This campaign cannot be measured: {len(who.treated) - n_treated} customers were held out and "
            f"{n_treated} were to be reached; both groups are needed, by lot. Plan the next one with a control group."
        )
    who = who._replace(stratum=_comparable_strata(who))
    bought = who.bought.astype(np.float64)
    found: dict[str, Any] = {
        "groups": {
            name: _group_record(who, who.treated == side) for name, side in (("treatment", True), ("control", False))
        },
        "repurchase": _adjusted_and_plain_effect(who, 100 * bought, alpha),
        "sales": None,
        "profit": None,
        "totals": None,
        "return_on_spend": None,
    }
    if who.sales is not None:
        found.update(_money_effects(who, who.sales, bought, terms, alpha))
    error = found["repurchase"]["adjusted"]["error"]
    found["needed_customers"] = _needed_customers(
        len(bought), error=error, effect=effect_points, power=power, alpha=alpha
    )
    found["segments"] = [
        _segment_record(one) for one in effects_by_segment(100 * bought, who.treated, part=who.part, alpha=alpha)
    ]
    return found


def _needed_customers(n: int, *, error: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """How many customers would show an effect, if they scatter like these and are parted alike.

    The error falls with the square root of the number: n (z_a + z_b)² error² / effect².
    """
    from statistics import NormalDist

    if not error > 0:
        return None
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return math.ceil(n * (z * error / effect) ** 2)


def _comparable_strata(who: CampaignOutcomes) -> npt.NDArray[np.int64]:
    """The strata of the draw, or a single one where too few of one are left."""
    _, code = np.unique(who.stratum, return_inverse=True)
    cells = np.bincount(2 * code.reshape(-1) + who.treated, minlength=2 * (int(code.max()) + 1))
    return who.stratum if cells.min() >= _MIN_GROUP_SIZE else np.zeros_like(who.stratum)


def _money_effects(
    who: CampaignOutcomes, sales: _Floats, bought: _Floats, terms: CampaignTerms, alpha: float
) -> dict[str, Any]:
    spent = np.where(who.treated, terms.cost_per_contact + terms.offer_cost * bought, 0.0)
    cost, n_treated = float(spent.sum()), int(who.treated.sum())
    profit = _adjusted_and_plain_effect(who, terms.margin * sales - spent, alpha, is_money=True)
    on_sales = _adjusted_and_plain_effect(who, sales, alpha, is_money=True)
    returned = None
    if cost > 0:
        per_unit = n_treated / cost
        returned = {name: profit["adjusted"][name] * per_unit for name in ("value", "low", "high")}
    return {
        "sales": on_sales,
        "profit": profit,
        "totals": {
            "cost": cost,
            "sales": {name: on_sales["adjusted"][name] * n_treated for name in ("value", "low", "high")},
            "profit": {name: profit["adjusted"][name] * n_treated for name in ("value", "low", "high")},
        },
        "return_on_spend": returned,
    }


def _adjusted_and_plain_effect(
    who: CampaignOutcomes, outcome: _Floats, alpha: float, *, is_money: bool = False
) -> dict[str, Any]:
    left = adjust_outcome(outcome, who.known_before, stratum=who.stratum)
    estimate = permutation_effect if is_money else estimate_effect
    return {
        name: _effect_record(estimate(values, who.treated, stratum=who.stratum, alpha=alpha))
        for name, values in (("unadjusted", outcome), ("adjusted", left))
    }


def _effect_record(found: Effect) -> dict[str, Any]:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "error": found.error,
        "p_value": found.p_value,
        "can_tell": found.can_tell,
    }


def _group_record(who: CampaignOutcomes, mine: npt.NDArray[np.bool_]) -> dict[str, Any]:
    sales = None if who.sales is None else float(who.sales[mine].mean())
    return {
        "customers": int(mine.sum()),
        "bought": int(who.bought[mine].sum()),
        "share_bought": float(who.bought[mine].mean()),
        "expected_share": float(who.p[mine].mean()),
        "sales_per_customer": sales,
    }


def _segment_record(one: _SegmentEffect) -> Mapping[str, Any]:
    alone = None if one.effect is None else _effect_record(one.effect)
    return {
        "segment": one.name,
        "treatment": one.n_treated,
        "control": one.n_control,
        "points": alone,
        "points_drawn_to_the_mean": one.drawn,
        "p_value_for_all_looked_at": one.p_holm,
    }
