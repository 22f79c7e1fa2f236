"""Generated campaigns with a known effect: intervals hold it, and where there is none there is no alarm."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.campaigns.design import assign_groups
from repurchase.campaigns.measurement import (
    CampaignOutcomes,
    Effect,
    adjust_outcome,
    effects_by_segment,
    estimate_effect,
    measure_campaign,
    permutation_effect,
    pool_effects,
)
from repurchase.errors import InputError
from repurchase.marketing.economics import CampaignTerms, log_odds_shift

REPEATS = 1000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Repeats:
    """Of 1,000 campaigns: whether each interval holds the truth, tells something, and how wide it is."""

    holds: Floats
    tells: Floats
    width: Floats


def campaigns(*, lift: float, n: int = 320, control: float = 0.3, seed: int = 1) -> Repeats:
    """Customers who scatter in risk and value; those reached buy more often, and what a buyer spends is log-normal."""
    random = np.random.default_rng(seed)
    holds, tells, width = (np.zeros((REPEATS, 4)) for _ in range(3))
    for repeat in range(REPEATS):
        p, spend = random.beta(1.2, 2.5, n), np.exp(random.normal(3.5, 0.6, n))
        arms = assign_groups(
            map(str, range(n)), risk=1 - p, value=p * spend, n_control=int(control * n), campaign="c", seed=repeat
        )
        moved = log_odds_shift(p, lift) if lift else np.zeros(n)
        bought = (random.random(n) < p + moved * arms.treated).astype(np.float64)
        money = bought * spend * np.exp(random.normal(-0.32, 0.8, n))
        known = np.stack([p, p * spend], axis=1)
        truths = (moved.mean(), moved.mean(), (moved * spend).mean(), (moved * spend).mean())
        where = {"stratum": arms.stratum}
        again = {**where, "permutations": 199, "seed": repeat}
        found = [
            estimate_effect(bought, arms.treated, **where),
            estimate_effect(adjust_outcome(bought, known, **where), arms.treated, **where),
            permutation_effect(money, arms.treated, **again),
            permutation_effect(adjust_outcome(money, known, **where), arms.treated, **again),
        ]
        holds[repeat] = [one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True)]
        tells[repeat] = [one.is_significant for one in found]
        width[repeat] = [one.high - one.low for one in found]
    return Repeats(holds.mean(axis=0), tells.mean(axis=0), width.mean(axis=0))


def test_intervals_hold_the_known_effect() -> None:
    found = campaigns(lift=0.10)
    assert ((found.holds >= 0.93) & (found.holds <= 0.97)).all(), found.holds
    assert found.width[1] < found.width[0]
    assert found.width[3] < found.width[2]


def test_without_an_effect_there_is_hardly_an_alarm() -> None:
    found = campaigns(lift=0.0, seed=2)
    assert (found.tells <= 0.06).all(), found.tells


def test_a_few_giant_customers_raise_no_alarm() -> None:
    """Money of which a few customers bring most: Student's t sees an effect too often where few are held out."""
    random = np.random.default_rng(3)
    n, alarms, naive = 600, 0, 0
    money = np.exp(random.normal(3.0, 2.5, n))
    for repeat in range(300):
        arms = assign_groups(
            map(str, range(n)), risk=np.zeros(n), value=np.zeros(n), n_control=60, campaign="g", seed=repeat
        )
        alarms += permutation_effect(money, arms.treated, stratum=arms.stratum, permutations=199).is_significant
        naive += estimate_effect(money, arms.treated, stratum=arms.stratum).is_significant
    assert alarms <= 0.06 * 300
    assert naive > 0.10 * 300


def test_a_difference_by_hand() -> None:
    # Two strata of 4 and 6: differences 2 and 1, so 0.4 x 2 + 0.6 x 1; Neyman's variance in each.
    outcome = [3.0, 5.0, 1.0, 3.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0]
    treated = [True, True, False, False, True, True, True, False, False, False]
    found = estimate_effect(outcome, treated, stratum=[0] * 4 + [1] * 6)
    assert found.value == pytest.approx(1.4)
    assert found.error**2 == pytest.approx(0.4**2 * (2 / 2 + 2 / 2) + 0.6**2 * (4 / 3 + 4 / 3))
    assert permutation_effect(outcome, treated, stratum=[0] * 4 + [1] * 6).value == pytest.approx(1.4)


def test_what_was_known_before_takes_nothing_off_where_it_says_nothing() -> None:
    outcome = np.arange(12.0)
    assert adjust_outcome(outcome, np.ones((12, 2)), stratum=np.zeros(12)) == pytest.approx(outcome)


def test_a_group_of_one_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="Two groups of at least 2"):
        estimate_effect([1.0, 2.0, 3.0], [True, True, False], stratum=[0, 0, 0])


def test_parts_are_drawn_to_the_mean_and_raised_for_their_number() -> None:
    random = np.random.default_rng(5)
    part = np.repeat(["a", "b", "c", "d"], 500)
    treated = np.tile([True, False], 1000)
    parts = effects_by_segment(random.normal(size=2000), treated, segment=part)
    own = np.array([one.effect.value for one in parts if one.effect])
    drawn = np.array([one.shrunken for one in parts])
    assert np.ptp(drawn) < np.ptp(own)
    assert all(one.p_holm >= one.effect.p_value for one in parts if one.effect and one.p_holm is not None)
    least = min(parts, key=lambda one: one.effect.p_value if one.effect else 1.0)
    assert least.p_holm == pytest.approx(min(1.0, 4 * least.effect.p_value))


def test_pooling_one_campaign_changes_nothing_and_unlike_ones_widen() -> None:
    one, other = Effect(2.0, 1.0, 3.0, 0.5, 0.0), Effect(8.0, 7.0, 9.0, 0.5, 0.0)
    assert pool_effects([one]).value == pytest.approx(2.0)
    assert pool_effects([one]).error == pytest.approx(0.5)
    both = pool_effects([one, other])
    assert both.value == pytest.approx(5.0)
    assert both.error > 2.5


def assigned(n: int = 4000, *, lift: float = 0.1) -> CampaignOutcomes:
    random = np.random.default_rng(11)
    p, spend = random.beta(1.2, 2.5, n), np.exp(random.normal(3.5, 0.6, n))
    arms = assign_groups(map(str, range(n)), risk=1 - p, value=p * spend, n_control=n // 2, campaign="c", seed=0)
    bought = random.random(n) < p + (log_odds_shift(p, lift) if lift else 0.0) * arms.treated
    return CampaignOutcomes(
        arms.treated, arms.stratum, bought, bought * spend, p, p * spend, np.full(n, "all", dtype=np.str_)
    )


def test_profit_is_margin_on_more_sales_less_what_was_spent() -> None:
    who = assigned()
    found = measure_campaign(
        who, terms=CampaignTerms(margin=0.5, cost_per_contact=2.0, offer_cost=1.0), effect_points=5.0
    )
    share = who.bought[who.treated].mean()
    assert found["totals"]["cost"] == pytest.approx(2000 * (2.0 + share))
    spent = np.where(who.treated, 2.0 + who.bought, 0.0)
    by_hand = estimate_effect(0.5 * who.sales - spent, who.treated, stratum=who.stratum)
    assert found["profit"]["unadjusted"]["value"] == pytest.approx(by_hand.value)
    per_unit = found["profit"]["adjusted"]["value"] * 2000 / found["totals"]["cost"]
    assert found["return_on_spend"]["value"] == pytest.approx(per_unit)


def test_without_money_only_repurchase_is_measured() -> None:
    found = measure_campaign(assigned()._replace(sales=None), terms=CampaignTerms(), effect_points=5.0)
    assert found["sales"] is None
    assert found["repurchase"]["adjusted"]["can_tell"]


def test_nobody_held_out_cannot_be_measured() -> None:
    who = assigned(100)
    with pytest.raises(InputError, match="cannot be measured"):
        measure_campaign(who._replace(treated=np.ones(100, dtype=np.bool_)), terms=CampaignTerms(), effect_points=5.0)
