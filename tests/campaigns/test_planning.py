"""Whom a campaign contacts, what it can show, and what is expected of it."""

import numpy as np
import polars as pl
import pytest

from repurchase.campaigns.design import (
    CampaignDesign,
    PowerAnalysis,
    UpliftAssumption,
    assign_groups,
)
from repurchase.campaigns.measurement import CampaignOutcomes, estimate_effect, measure_campaign
from repurchase.campaigns.planning import CONTROL, TREATMENT, PlannedCampaign, plan_campaign
from repurchase.errors import InputError
from repurchase.marketing.economics import (
    CampaignCandidates,
    CampaignTerms,
    log_odds_shift,
)


def customers(n: int = 3000) -> tuple[pl.Series, CampaignCandidates]:
    random = np.random.default_rng(0)
    p, spend = random.beta(1.0, 2.0, n), np.exp(random.normal(3.5, 0.8, n))
    return pl.Series([f"c{number:05d}" for number in range(n)]), CampaignCandidates.of(p, p * spend)


def planned(**wishes: object) -> PlannedCampaign:
    ids, who = customers()
    terms = CampaignTerms(
        **{"margin": 0.4, "cost_per_contact": 0.5, **{k: v for k, v in wishes.items() if k == "budget"}}
    )  # type: ignore[arg-type]
    told = {k: v for k, v in wishes.items() if k in {"control_share", "seed", "campaign"}}
    design = CampaignDesign(**{"campaign": "May", "effect": 0.08, **told})  # type: ignore[arg-type]
    return plan_campaign(ids, who, terms=terms, design=design, assumption=UpliftAssumption(uplift=0.05))


# Power


REPEATS, UPLIFT = 1000, 0.09


def seen_of(base: PlannedCampaign, *, too_sure: float = 1.0, seed: int = 5) -> tuple[float, float]:
    """Run a planned campaign again and again and measure it: how often its effect is seen, and without the scores.

    Scores that are too sure of themselves have log odds that lie too far apart.
    """
    random = np.random.default_rng(seed)
    told = base.customers["p"].to_numpy()
    logit = np.log(told / (1 - told))
    p = 1 / (1 + np.exp(-(logit.mean() + (logit - logit.mean()) / too_sure)))
    buy, n_control = p + log_odds_shift(p, UPLIFT), base.facts["arms"][CONTROL]
    ids, part = base.customers["customer_id"].to_list(), np.full(len(p), "all", dtype=np.str_)
    value, found = told * base.customers["spend"].to_numpy(), np.zeros(2)
    for number in range(REPEATS):
        arms = assign_groups(ids, risk=1 - told, value=value, n_control=n_control, campaign="s", seed=number)
        dice = random.random(len(p))
        bought = dice < np.where(arms.treated, buy, p)
        who = CampaignOutcomes(arms.treated, arms.stratum, bought, None, told, np.full(len(p), np.nan), part)
        measured = measure_campaign(who, terms=CampaignTerms(), effect_points=100 * UPLIFT)["repurchase"]
        plain = random.permutation(arms.treated)  # neither drawn nor compared by the scores
        bare = estimate_effect(dice < np.where(plain, buy, p), plain, stratum=np.zeros(len(p)))
        found += [measured["adjusted"]["low"] > 0, bare.low > 0]
    return tuple(found / REPEATS)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def of_power() -> PlannedCampaign:
    """Scores whose spread explains a quarter of who buys; the effect to be seen sizes the control group."""
    p = np.random.default_rng(3).beta(1.4, 1.7, 1500)
    ids = pl.Series([f"c{number:05d}" for number in range(1500)])
    design = CampaignDesign(campaign="s", effect=UPLIFT)
    return plan_campaign(
        ids,
        CampaignCandidates.of(p, p),
        terms=CampaignTerms(),
        design=design,
        assumption=UpliftAssumption(uplift=UPLIFT),
        has_money=False,
    )


def test_the_power_that_is_stated_is_kept(of_power: PlannedCampaign) -> None:
    power = of_power.facts["power"]
    assert power["reached_power"] == pytest.approx(0.8, abs=0.01)
    adjusted, without = seen_of(of_power)
    assert 0.77 <= adjusted <= 0.84  # right scores explain a little more than is counted
    assert without == pytest.approx(power["without_scores"]["reached_power"], abs=0.04)
    assert without < 0.77


def test_scores_that_are_too_sure_of_themselves_still_keep_it(of_power: PlannedCampaign) -> None:
    adjusted, _ = seen_of(of_power, too_sure=1.4)
    assert 0.77 <= adjusted <= 0.83


def test_without_the_scores_more_must_be_held_out_and_more_customers_are_needed(of_power: PlannedCampaign) -> None:
    facts, power = of_power.facts, of_power.facts["power"]
    assert facts["arms"][CONTROL] == power["needed_control"]
    assert power["without_scores"]["needed_control"] > 1.2 * power["needed_control"]
    assert power["without_scores"]["needed_customers"] > 1.15 * power["needed_customers"]
    assert power["without_scores"]["detectable_points"] > power["detectable_points"]
    assert not power["without_scores"]["enough"]
    half = power["needed_customers"] // 2
    analysis = PowerAnalysis(base=power["base_share"], explained=power["explained_by_scores"])
    assert analysis.power_of(UPLIFT, n_treated=half, n_control=half) >= 0.8
    assert analysis.list_size(effect=UPLIFT) == 2 * half


# Whom to reach


def test_a_plan_stays_within_its_budget_and_takes_the_best() -> None:
    small, large = planned(budget=300.0), planned()
    reached = small.customers.filter(pl.col("arm") == TREATMENT)
    assert 250.0 < reached["cost"].sum() <= 300.0
    assert small.customers["gain"].mean() > large.customers["gain"].mean()
    assert large.facts["candidates"]["worth_reaching"] < large.facts["candidates"]["asked"]


def test_the_control_group_follows_from_the_effect() -> None:
    facts = planned().facts
    assert facts["power"]["enough"]
    assert facts["power"]["reached_power"] == pytest.approx(0.8, abs=0.01)
    assert facts["arms"][CONTROL] < facts["arms"][TREATMENT]
    tight = planned(budget=60.0).facts
    assert not tight["power"]["enough"]
    assert tight["power"]["detectable_points"] > 8.0


def test_scenarios_end_in_what_is_expected() -> None:
    facts = planned().facts
    assert [row["name"] for row in facts["scenarios"]] == ["no effect", "half of it", "as assumed"]
    assert facts["scenarios"][-1]["profit"]["value"] == pytest.approx(facts["expected"]["profit"]["value"])
    assert facts["scenarios"][0]["profit"]["value"] == pytest.approx(-facts["expected"]["cost"]["value"])


def test_without_money_the_most_moved_come_first() -> None:
    ids, who = customers()
    bare = CampaignCandidates(who.p, np.ones(len(ids)))
    plan = plan_campaign(
        ids,
        bare,
        terms=CampaignTerms(cost_per_contact=1.0, budget=200.0),
        design=CampaignDesign(campaign="May", effect=0.05),
        assumption=UpliftAssumption(uplift=0.05),
        has_money=False,
    )
    assert "profit" not in plan.facts["expected"]
    assert plan.customers["p"].min() > 0.2
    assert plan.customers["p"].max() < 0.8


def test_nobody_worth_reaching_is_said() -> None:
    ids, who = customers(100)
    with pytest.raises(InputError, match="is expected to bring more than they cost"):
        plan_campaign(
            ids,
            who,
            terms=CampaignTerms(margin=0.1, cost_per_contact=1e6),
            design=CampaignDesign(campaign="May", effect=0.05),
            assumption=UpliftAssumption(uplift=0.05),
        )


def test_nobody_is_chosen_at_a_loss() -> None:
    made = planned()

    assert made.facts["candidates"]["chosen"] < made.facts["candidates"]["asked"]
    assert made.customers["gain"].min() > 0


class TestThoseReachedBuySoManyPointsMoreOften:
    """The uplift is that of the campaign's customers, whoever else stood on the list."""

    @pytest.mark.parametrize("terms", [
        CampaignTerms(margin=0.3), CampaignTerms(margin=0.3, cost_per_contact=0.5),
        CampaignTerms(margin=0.3, cost_per_contact=0.5, offer_cost=0.2, budget=150.0),
    ], ids=["free", "at a cost", "within a budget"])  # fmt: skip
    def test_buyers_more_are_customers_times_points(self, terms: CampaignTerms) -> None:
        random = np.random.default_rng(5)
        p = np.where(random.random(6000) < 0.8, random.beta(1, 12, 6000), random.beta(5, 5, 6000))
        who = CampaignCandidates.of(p, p * random.gamma(2, 40, 6000))
        made = plan_campaign(
            pl.Series([f"c{i:05d}" for i in range(6000)]),
            who,
            terms=terms,
            design=CampaignDesign(campaign="may", effect=0.03, control_share=0.2),
            assumption=UpliftAssumption(uplift=0.03),
        )

        assert made.customers["uplift"].mean() == pytest.approx(0.03, rel=1e-6)
        told, half = made.facts["expected"], made.facts["scenarios"][1]
        assert told["buyers_more"] == pytest.approx(0.03 * told["reached"], rel=0.05)
        assert half["buyers_more"] == pytest.approx(0.015 * told["reached"], rel=0.05)
        assert made.facts["candidates"]["chosen"] < 6000 or terms.cost_per_contact == 0
        pays = made.facts["break_even_points"] / 100
        assert (told["profit"]["value"] > 0) == (pays < 0.03)
