"""Choose whom to contact and forecast the outcome under the assumed uplift."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.campaigns.design import (
    MIN_CONTROL_SIZE,
    Assignment,
    CampaignDesign,
    UpliftAssumption,
    assign_groups,
    control_size,
    detectable_effect,
    explained_variance_share,
    power_of,
    required_list_size,
    variance_explained,
)
from repurchase.errors import InputError
from repurchase.marketing.economics import (
    CampaignCandidates,
    CampaignTerms,
    ExpectedOutcome,
    break_even_uplift,
    expected_outcome,
    expected_profit,
    log_odds_shift,
    probability_gain,
)

_Floats = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.int64]

TREATMENT, CONTROL = "treatment", "control"
_MAX_REASSIGNMENTS = 50
_LOG_ODDS_RANGE, _LOG_ODDS_GRID_SIZE, _REFINEMENT_STEPS = (1e-3, 12.0), 25, 16
"""Pushes on the log odds that are tried first, how many, and how often the right one is then closed in."""
_MAX_UPLIFT_OVERSHOOT = 0.05


class PlannedCampaign(NamedTuple):
    """A campaign."""

    customers: pl.DataFrame
    facts: dict[str, Any]


def plan_campaign(
    ids: pl.Series,
    who: CampaignCandidates,
    *,
    terms: CampaignTerms,
    design: CampaignDesign,
    assumption: UpliftAssumption,
    learned: _Floats | None = None,
    has_money: bool = True,
) -> PlannedCampaign:
    """Choose whom to reach within the budget, by expected gain per unit of money, and hold some of them out by lot.

    Only customers who are expected to bring more than they cost are chosen; held out are some of the chosen, so that
    both groups are alike.
    """
    if learned is None:
        by = _log_odds_of_selection(ids, who, assumption.uplift, terms=terms, design=design, has_money=has_money)
        uplift = probability_gain(who.p, by)
    else:
        uplift = np.maximum(learned, 0.0)
    cost, gain = _gain(who, uplift, terms, has_money=has_money)
    ranked = _ranked(ids, cost, gain)
    if not len(ranked):
        raise InputError(
            f"Of {len(ids):,} customers nobody is expected to bring more than they cost, if those reached buy "
            f"{100 * assumption.uplift:.3g} points more often: the cheapest contact costs {cost.min():.2f}. Lower the "
            "costs, or leave it."
        )
    chosen, arms = _within_budget(ids, who, cost, ranked, terms=terms, design=design)
    mine = who.take(chosen)

    def moved(share: float) -> _Floats:
        if learned is not None:
            return uplift[chosen] * (share / assumption.uplift)
        return log_odds_shift(mine.p, min(share, _max_contacts(mine)))

    lifted = moved(assumption.uplift)
    final_cost, final_gain = expected_profit(mine, lifted, terms)
    customers = pl.DataFrame(
        {
            "customer_id": ids.gather(pl.Series(chosen)),
            "arm": np.where(arms.treated, TREATMENT, CONTROL),
            "stratum": arms.stratum,
            "lot": arms.lot,
            "p": mine.p,
            "spend": mine.p * mine.spend if has_money else np.full(len(chosen), np.nan),
            "uplift": lifted,
            "cost": final_cost,
            "gain": final_gain if has_money else np.full(len(chosen), np.nan),
        }
    ).sort("customer_id")
    facts = {
        "candidates": {"asked": len(ids), "worth_reaching": len(ranked), "chosen": len(chosen)},
        "arms": _counts(arms),
        "power": _power(mine, arms, design),
        **_outlook(mine, moved, arms.treated, terms=terms, assumption=assumption, has_money=has_money),
        "strata": _strata(arms),
    }
    return PlannedCampaign(customers, facts)


def _max_contacts(who: CampaignCandidates) -> float:
    """As much as an assumption may come to; a list of sure buyers cannot rise further."""
    return float(1 - who.p.mean()) * 0.999


def _gain(
    who: CampaignCandidates, uplift: _Floats, terms: CampaignTerms, *, has_money: bool
) -> tuple[_Floats, _Floats]:
    cost, gain = expected_profit(who, uplift, terms)
    return cost, gain if has_money else uplift


def _ranked(ids: pl.Series, cost: _Floats, gain: _Floats) -> _Codes:
    """Positions of those worth reaching, best per unit of money first; a tie goes by id, not by row."""
    rate = np.where(cost > 0, gain / np.where(cost > 0, cost, 1.0), gain)
    table = pl.DataFrame({"id": ids, "rate": rate, "place": np.arange(len(ids))})
    kept = table.filter(pl.Series(gain > 0)).sort(pl.col("rate"), pl.col("id"), descending=[True, False])
    return kept["place"].to_numpy()


def _log_odds_of_selection(
    ids: pl.Series,
    who: CampaignCandidates,
    uplift: float,
    *,
    terms: CampaignTerms,
    design: CampaignDesign,
    has_money: bool,
) -> float:
    """Find the push on the log odds at which those who are then chosen buy so many points more often."""
    # Who is chosen depends on the push: the stronger, the more are worth their cost. Of several that fit, the strongest
    # is taken, which is that of the longest list.

    def mean_of_chosen(by: float) -> float:
        lifted = probability_gain(who.p, by)
        cost, gain = _gain(who, lifted, terms, has_money=has_money)
        if terms.budget is None:
            return float(lifted[gain > 0].mean()) if (gain > 0).any() else 0.0
        ranked = _ranked(ids, cost, gain)
        n = _affordable(who, cost, ranked, terms=terms, design=design)
        return float(lifted[ranked[:n]].mean()) if n else 0.0

    tried = np.geomspace(*_LOG_ODDS_RANGE, num=_LOG_ODDS_GRID_SIZE)
    short = np.flatnonzero([mean_of_chosen(by) < uplift for by in tried])
    if not len(short):
        return float(tried[0])
    if short[-1] == len(tried) - 1:
        return float(tried[-1])
    low, high = float(tried[short[-1]]), float(tried[short[-1] + 1])
    for _ in range(_REFINEMENT_STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if mean_of_chosen(middle) < uplift else (low, middle)
    # Where the mean jumps over what was asked for, nobody is worth the cost at so weak a push.
    return high if mean_of_chosen(high) <= uplift * (1 + _MAX_UPLIFT_OVERSHOOT) else low


def _within_budget(
    ids: pl.Series,
    who: CampaignCandidates,
    cost: _Floats,
    ranked: _Codes,
    *,
    terms: CampaignTerms,
    design: CampaignDesign,
) -> tuple[_Codes, Assignment]:
    budget = np.inf if terms.budget is None else terms.budget
    n = _affordable(who, cost, ranked, terms=terms, design=design)
    for _ in range(_MAX_REASSIGNMENTS):
        if n < 2 * MIN_CONTROL_SIZE:
            break
        chosen = np.sort(ranked[:n])
        arms = _assign(ids, who, chosen, design)
        over = float(cost[chosen][arms.treated].sum()) - budget
        if over <= 0:
            return chosen, arms
        n -= max(1, int(over / float(cost[chosen].mean())))
    told = f" for {terms.budget:g}" if terms.budget else ""
    raise InputError(
        f"Only {max(n, 0):,} customers can be reached and held out{told}; {2 * MIN_CONTROL_SIZE} are the "
        "least. Raise the "
        "budget or send a longer list."
    )


def _affordable(
    who: CampaignCandidates, cost: _Floats, ranked: _Codes, *, terms: CampaignTerms, design: CampaignDesign
) -> int:
    """How many of the best the budget pays for, those held out costing nothing."""
    if terms.budget is None:
        return len(ranked)
    budget, running, size = terms.budget, np.cumsum(cost[ranked]), np.arange(1, len(ranked) + 1)
    base, square = np.cumsum(who.p[ranked]) / size, np.cumsum(who.p[ranked] ** 2) / size

    def spent(n: int) -> float:
        mean = float(base[n - 1])
        held = design.n_control(n, mean, explained_variance_share(mean, float(square[n - 1])))
        return float(running[n - 1]) * (1 - held / n)

    return _largest_affordable(lambda n: spent(n) <= budget, len(ranked))


def _largest_affordable(fits: Callable[[int], bool], most: int) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _assign(ids: pl.Series, who: CampaignCandidates, chosen: _Codes, design: CampaignDesign) -> Assignment:
    mine, names = who.take(chosen), ids.gather(pl.Series(chosen)).to_list()
    if not design.holds_out:
        none = np.zeros(len(chosen), dtype=np.int64)
        return Assignment(np.ones(len(chosen), dtype=np.bool_), none, np.ones(len(chosen)))
    held = max(MIN_CONTROL_SIZE, design.n_control(len(chosen), float(mine.p.mean()), variance_explained(mine.p)))
    return assign_groups(
        names, risk=1 - mine.p, value=mine.p * mine.spend, n_control=held, campaign=design.campaign, seed=design.seed
    )


def _counts(arms: Assignment) -> dict[str, Any]:
    treated = int(arms.treated.sum())
    held = len(arms.treated) - treated
    return {TREATMENT: treated, CONTROL: held, "control_share": held / len(arms.treated)}


def _strata(arms: Assignment) -> list[dict[str, Any]]:
    rows = []
    for stratum in np.unique(arms.stratum):
        held = (arms.stratum == stratum) & ~arms.treated
        of = int((arms.stratum == stratum).sum())
        last = float(arms.lot[held].max()) if held.any() else None
        rows.append({"stratum": int(stratum), "customers": of, CONTROL: int(held.sum()), "last_lot_held_out": last})
    return rows


def _power(mine: CampaignCandidates, arms: Assignment, design: CampaignDesign) -> dict[str, Any]:
    """What the groups can show: drawn and adjusted by the scores, as it will be measured, and without them."""
    base, explained, counts = float(mine.p.mean()), variance_explained(mine.p), _counts(arms)
    return {
        "effect_points": 100 * design.effect,
        "power": design.power,
        "alpha": design.alpha,
        "base_share": base,
        "explained_by_scores": explained,
        **_rounded_figures(design, counts, base, explained),
        "without_scores": _rounded_figures(design, counts, base, 0.0),
    }


def _rounded_figures(design: CampaignDesign, counts: dict[str, Any], base: float, explained: float) -> dict[str, Any]:
    told = {"base": base, "alpha": design.alpha, "explained": explained}
    groups = {"n_treated": counts[TREATMENT], "n_control": counts[CONTROL], **told}
    seen = power_of(design.effect, **groups) if counts[CONTROL] else 0.0
    least = detectable_effect(power=design.power, **groups) if counts[CONTROL] else None
    return {
        "reached_power": seen,
        "enough": seen >= design.power - 1e-3,
        "detectable_points": least and 100 * least,
        "needed_control": control_size(
            counts[TREATMENT] + counts[CONTROL], effect=design.effect, power=design.power, **told
        ),
        "needed_customers": required_list_size(effect=design.effect, power=design.power, **told),
    }


def _outlook(
    mine: CampaignCandidates,
    moved: Callable[[float], _Floats],
    treated: npt.NDArray[np.bool_],
    *,
    terms: CampaignTerms,
    assumption: UpliftAssumption,
    has_money: bool,
) -> dict[str, Any]:
    """Expected of those reached, as assumed and in other scenarios."""
    reached = mine.take(treated)
    pays = break_even_uplift(reached, terms) if has_money else None
    scenarios = []
    for name, share in _scenarios(assumption):
        told = _scenario_record(expected_outcome(reached, moved(share)[treated], terms))
        scenarios.append({"name": name, "uplift_points": 100 * share, **told})
    main = expected_outcome(
        reached, moved(assumption.uplift)[treated], terms, relative_error=assumption.error / assumption.uplift
    )
    return {
        "expected": _scenario_record(main) if has_money else _without_money(_scenario_record(main)),
        "scenarios": scenarios if has_money else [_without_money(row) for row in scenarios],
        "break_even_points": pays and 100 * pays,
    }


def _scenarios(assumption: UpliftAssumption) -> list[tuple[str, float]]:
    if assumption.low is not None and assumption.high is not None:
        low, high = max(assumption.low, 0.0), assumption.high
        return [("low end of what was measured", low), ("as measured", assumption.uplift), ("high end", high)]
    return [("nobody is moved", 0.0), ("half of it", assumption.uplift / 2), ("as assumed", assumption.uplift)]


def _scenario_record(found: ExpectedOutcome) -> dict[str, Any]:
    ranges = {name: dict(zip(("value", "low", "high"), getattr(found, name), strict=True)) for name in _MONEY}
    return {
        "reached": found.reached,
        "buyers_anyway": found.buyers_anyway,
        "buyers_more": found.buyers_more,
        **ranges,
    }


_MONEY = ("sales", "cost", "profit")


def _without_money(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in ("sales", "profit")}
