"""Choose whom to contact and forecast the outcome under the assumed uplift."""

import math
from collections.abc import Sequence
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
    explained_variance_share,
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
"""Shifts of the log odds that are tried first, how many, and the bisection steps that follow."""
_MAX_UPLIFT_OVERSHOOT = 0.05


class PlannedCampaign(NamedTuple):
    """The customers of a campaign with their groups, and what is recorded about it."""

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
    """Choose customers within the budget, by expected gain per unit of money, and assign some to a control group.

    Only customers who are expected to bring more than they cost are chosen; the control group is a random part of the
    chosen, so that both groups are alike.
    """
    selection = _Selection(ids, who, terms, design, has_money)
    if learned is None:
        uplift = probability_gain(who.p, selection.log_odds_shift(assumption.uplift))
    else:
        uplift = np.maximum(learned, 0.0)
    cost, gain = selection.cost_and_gain(uplift)
    ranked = selection.ranked(cost, gain)
    if not len(ranked):
        raise InputError(
            f"None of {len(ids):,} customers is expected to bring more than they cost, if contacted customers buy "
            f"{100 * assumption.uplift:.3g} points more often: the cheapest contact costs {cost.min():.2f}. Lower the "
            "costs, or do not run this campaign."
        )
    positions, groups = selection.within_budget(cost, ranked)
    chosen = who.take(positions)

    def scenario_uplift(share: float) -> _Floats:
        if learned is not None:
            return uplift[positions] * (share / assumption.uplift)
        return log_odds_shift(chosen.p, min(share, chosen.max_uplift))

    expected = scenario_uplift(assumption.uplift)
    scenarios = [(name, share, scenario_uplift(share)[groups.treated]) for name, share in _scenarios(assumption)]
    facts = {
        "candidates": {"asked": len(ids), "worth_reaching": len(ranked), "chosen": len(positions)},
        "arms": _group_counts(groups),
        "power": _power_record(chosen, groups, design),
        **_forecast(
            chosen.take(groups.treated),
            expected[groups.treated],
            scenarios,
            terms=terms,
            relative_error=assumption.error / assumption.uplift,
            has_money=has_money,
        ),
        "strata": _stratum_records(groups),
    }
    customers = _customer_table(chosen, groups, expected, terms=terms, has_money=has_money)
    customers.insert_column(0, ids.gather(pl.Series(positions)).alias("customer_id"))
    return PlannedCampaign(customers.sort("customer_id"), facts)


def _customer_table(
    chosen: CampaignCandidates, groups: Assignment, uplift: _Floats, *, terms: CampaignTerms, has_money: bool
) -> pl.DataFrame:
    cost, gain = expected_profit(chosen, uplift, terms)
    unknown = np.full(len(cost), np.nan)
    return pl.DataFrame(
        {
            "arm": np.where(groups.treated, TREATMENT, CONTROL),
            "stratum": groups.stratum,
            "lot": groups.rank,
            "p": chosen.p,
            "spend": chosen.p * chosen.spend if has_money else unknown,
            "uplift": uplift,
            "cost": cost,
            "gain": gain if has_money else unknown,
        }
    )


class _Selection(NamedTuple):
    """Choice of customers from a list."""

    ids: pl.Series
    who: CampaignCandidates
    terms: CampaignTerms
    design: CampaignDesign
    has_money: bool

    def cost_and_gain(self, uplift: _Floats) -> tuple[_Floats, _Floats]:
        """Expected cost of each contact, and its gain in money or in buyers."""
        cost, gain = expected_profit(self.who, uplift, self.terms)
        return cost, gain if self.has_money else uplift

    def ranked(self, cost: _Floats, gain: _Floats) -> _Codes:
        """Positions of customers with a gain, highest per unit of money first; ties are broken by id, not by row."""
        rate = np.where(cost > 0, gain / np.where(cost > 0, cost, 1.0), gain)
        table = pl.DataFrame({"id": self.ids, "rate": rate, "place": np.arange(len(self.ids))})
        kept = table.filter(pl.Series(gain > 0)).sort(pl.col("rate"), pl.col("id"), descending=[True, False])
        return kept["place"].to_numpy()

    def log_odds_shift(self, uplift: float) -> float:
        """Shift of the log odds at which the mean uplift of those who are then chosen is the assumed one."""
        # Who is chosen depends on the shift: the larger, the more customers are worth their cost. Of several that fit,
        # the largest is taken, which is that of the longest list.
        shifts = np.geomspace(*_LOG_ODDS_RANGE, num=_LOG_ODDS_GRID_SIZE)
        too_small = np.flatnonzero([self._mean_uplift_of_chosen(shift) < uplift for shift in shifts])
        if not len(too_small):
            return float(shifts[0])
        if too_small[-1] == len(shifts) - 1:
            return float(shifts[-1])
        low, high = float(shifts[too_small[-1]]), float(shifts[too_small[-1] + 1])
        for _ in range(_REFINEMENT_STEPS):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._mean_uplift_of_chosen(middle) < uplift else (low, middle)
        # Where the mean jumps over the assumed uplift, nobody is worth the cost at a smaller shift.
        return high if self._mean_uplift_of_chosen(high) <= uplift * (1 + _MAX_UPLIFT_OVERSHOOT) else low

    def _mean_uplift_of_chosen(self, shift: float) -> float:
        uplift = probability_gain(self.who.p, shift)
        cost, gain = self.cost_and_gain(uplift)
        if self.terms.budget is None:
            chosen = uplift[gain > 0]
        else:
            ranked = self.ranked(cost, gain)
            chosen = uplift[ranked[: self._n_affordable(cost, ranked)]]
        return float(chosen.mean()) if len(chosen) else 0.0

    def within_budget(self, cost: _Floats, ranked: _Codes) -> tuple[_Codes, Assignment]:
        """Positions of the best customers whom the budget pays for, and their groups."""
        budget = np.inf if self.terms.budget is None else self.terms.budget
        n = self._n_affordable(cost, ranked)
        for _ in range(_MAX_REASSIGNMENTS):
            if n < 2 * MIN_CONTROL_SIZE:
                break
            chosen = np.sort(ranked[:n])
            groups = self._assign(chosen)
            excess = float(cost[chosen][groups.treated].sum()) - budget
            if excess <= 0:
                return chosen, groups
            n -= max(1, int(excess / float(cost[chosen].mean())))
        budget_text = f" for {self.terms.budget:g}" if self.terms.budget else ""
        raise InputError(
            f"Only {max(n, 0):,} customers can be chosen{budget_text}, the control group included; at least "
            f"{2 * MIN_CONTROL_SIZE} are needed. Raise the budget or send a longer list."
        )

    def _n_affordable(self, cost: _Floats, ranked: _Codes) -> int:
        """How many of the best the budget pays for; the control group costs nothing."""
        if self.terms.budget is None:
            return len(ranked)
        running, size = np.cumsum(cost[ranked]), np.arange(1, len(ranked) + 1)
        p = self.who.p[ranked]
        mean, mean_square = np.cumsum(p) / size, np.cumsum(p**2) / size
        low, high = 0, len(ranked)
        while low < high:
            middle = (low + high + 1) // 2
            base, square = float(mean[middle - 1]), float(mean_square[middle - 1])
            n_control = self.design.n_control(middle, base, explained_variance_share(base, square))
            spent = float(running[middle - 1]) * (1 - n_control / middle)
            low, high = (middle, high) if spent <= self.terms.budget else (low, middle - 1)
        return low

    def _assign(self, chosen: _Codes) -> Assignment:
        n, candidates = len(chosen), self.who.take(chosen)
        if not self.design.holds_out:
            return Assignment(np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.int64), np.ones(n))
        n_control = self.design.n_control(n, float(candidates.p.mean()), variance_explained(candidates.p))
        return assign_groups(
            self.ids.gather(pl.Series(chosen)).to_list(),
            risk=1 - candidates.p,
            value=candidates.p * candidates.spend,
            n_control=max(MIN_CONTROL_SIZE, n_control),
            campaign=self.design.campaign,
            seed=self.design.seed,
        )


def _group_counts(groups: Assignment) -> dict[str, Any]:
    n_treated, n = int(groups.treated.sum()), len(groups.treated)
    return {TREATMENT: n_treated, CONTROL: n - n_treated, "control_share": (n - n_treated) / n}


def _stratum_records(groups: Assignment) -> list[dict[str, Any]]:
    records = []
    for stratum in np.unique(groups.stratum):
        inside = groups.stratum == stratum
        control = groups.rank[inside & ~groups.treated]
        last = float(control.max()) if len(control) else None
        records.append(
            {"stratum": int(stratum), "customers": int(inside.sum()), CONTROL: len(control), "last_lot_held_out": last}
        )
    return records


def _power_record(candidates: CampaignCandidates, groups: Assignment, design: CampaignDesign) -> dict[str, Any]:
    """What the groups can show: assigned and adjusted by the scores, as it will be measured, and without them."""
    base, explained, counts = float(candidates.p.mean()), variance_explained(candidates.p), _group_counts(groups)
    return {
        "effect_points": 100 * design.effect,
        "power": design.power,
        "alpha": design.alpha,
        "base_share": base,
        "explained_by_scores": explained,
        **_power_figures(design, counts, base, explained),
        "without_scores": _power_figures(design, counts, base, 0.0),
    }


def _power_figures(design: CampaignDesign, counts: dict[str, Any], base: float, explained: float) -> dict[str, Any]:
    analysis = design.analysis(base, explained)
    n_treated, n_control = counts[TREATMENT], counts[CONTROL]
    power, detectable = 0.0, None
    if n_control:
        power = analysis.power_of(design.effect, n_treated=n_treated, n_control=n_control)
        detectable = analysis.detectable_effect(n_treated=n_treated, n_control=n_control)
    return {
        "reached_power": power,
        "enough": power >= design.power - 1e-3,
        "detectable_points": detectable and 100 * detectable,
        "needed_control": analysis.control_size(n_treated + n_control, effect=design.effect),
        "needed_customers": analysis.list_size(effect=design.effect),
    }


def _forecast(
    contacted: CampaignCandidates,
    expected: _Floats,
    scenarios: list[tuple[str, float, _Floats]],
    *,
    terms: CampaignTerms,
    relative_error: float,
    has_money: bool,
) -> dict[str, Any]:
    """Expected outcome of the contacted, as assumed and in other scenarios."""

    def record(uplift: _Floats, error: float = 0.0) -> dict[str, Any]:
        outcome = expected_outcome(contacted, uplift, terms, relative_error=error)
        return _outcome_record(outcome, ("sales", "cost", "profit") if has_money else ("cost",))

    pays = break_even_uplift(contacted, terms) if has_money else None
    return {
        "expected": record(expected, relative_error),
        "scenarios": [
            {"name": name, "uplift_points": 100 * share, **record(uplift)} for name, share, uplift in scenarios
        ],
        "break_even_points": pays and 100 * pays,
    }


def _scenarios(assumption: UpliftAssumption) -> list[tuple[str, float]]:
    if assumption.low is not None and assumption.high is not None:
        low, high = max(assumption.low, 0.0), assumption.high
        return [("low end of what was measured", low), ("as measured", assumption.uplift), ("high end", high)]
    return [("no effect", 0.0), ("half of it", assumption.uplift / 2), ("as assumed", assumption.uplift)]


def _outcome_record(outcome: ExpectedOutcome, money: Sequence[str]) -> dict[str, Any]:
    return {
        "reached": outcome.reached,
        "buyers_anyway": outcome.buyers_anyway,
        "buyers_more": outcome.buyers_more,
        **{name: dict(zip(("value", "low", "high"), getattr(outcome, name), strict=True)) for name in money},
    }
