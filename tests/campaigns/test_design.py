"""Random assignment, and the size of the control group."""

import numpy as np
import polars as pl
import pytest

from repurchase.campaigns.design import (
    EXPLAINED_SHARE_COUNTED,
    PowerAnalysis,
    assign_groups,
    variance_explained,
)
from repurchase.marketing.economics import CampaignCandidates


def customers(n: int = 3000) -> tuple[pl.Series, CampaignCandidates]:
    random = np.random.default_rng(0)
    p, spend = random.beta(1.0, 2.0, n), np.exp(random.normal(3.5, 0.8, n))
    return pl.Series([f"c{number:05d}" for number in range(n)]), CampaignCandidates.of(p, p * spend)


@pytest.mark.parametrize(
    ("n", "p1", "p2", "power"),
    [(50, 0.50, 0.75, 0.740), (76.7, 0.50, 0.75, 0.90), (50, 0.50, 0.8026, 0.90)],
)
def test_power_is_that_of_published_examples(n: float, p1: float, p2: float, power: float) -> None:
    """R Core Team, stats::power.prop.test, examples (equal groups, two-sided 5 %)."""
    assert PowerAnalysis(base=p1).power_of(p2 - p1, n_treated=n, n_control=n) == pytest.approx(power, abs=1e-3)


def test_power_of_unequal_groups_is_what_a_simulation_finds() -> None:
    random, repeats, n_t, n_c = np.random.default_rng(1), 40_000, 1800, 300
    reached, held = random.binomial(n_t, 0.27, repeats) / n_t, random.binomial(n_c, 0.20, repeats) / n_c
    pooled = (reached * n_t + held * n_c) / (n_t + n_c)
    z = (reached - held) / np.sqrt(pooled * (1 - pooled) * (1 / n_t + 1 / n_c))
    seen = float((np.abs(z) > 1.959964).mean())
    assert PowerAnalysis(base=0.20).power_of(0.07, n_treated=n_t, n_control=n_c) == pytest.approx(seen, abs=0.01)


def test_the_control_group_is_the_smallest_that_shows_the_effect() -> None:
    size = PowerAnalysis(base=0.2).control_size(10_000, effect=0.03)
    assert size is not None
    assert PowerAnalysis(base=0.2).power_of(0.03, n_treated=10_000 - size, n_control=size) >= 0.8
    assert PowerAnalysis(base=0.2).power_of(0.03, n_treated=10_001 - size, n_control=size - 1) < 0.8
    assert PowerAnalysis(base=0.2).control_size(500, effect=0.03) is None
    assert PowerAnalysis(base=0.2).detectable_effect(n_treated=10_000 - size, n_control=size) == pytest.approx(
        0.03, abs=1e-4
    )


def test_scores_explain_what_they_say_they_do() -> None:
    """Of outcomes drawn by the chances themselves, the squared correlation with them is the share that is told."""
    _, who = customers(200_000)
    bought = np.random.default_rng(2).random(200_000) < who.p
    assert variance_explained(who.p) == pytest.approx(
        EXPLAINED_SHARE_COUNTED * np.corrcoef(who.p, bought)[0, 1] ** 2, abs=0.005
    )


def test_the_same_customers_give_the_same_draw_in_any_order() -> None:
    ids, who = customers(500)
    lot = {"n_control": 100, "campaign": "May", "seed": 0}
    first = assign_groups(ids, risk=1 - who.p, value=who.spend, **lot)
    order = np.random.default_rng(4).permutation(500)
    again = assign_groups(ids.gather(pl.Series(order)), risk=1 - who.p[order], value=who.spend[order], **lot)
    assert (first.treated[order] == again.treated).all()
    other = assign_groups(ids, risk=1 - who.p, value=who.spend, **{**lot, "campaign": "June"})
    assert 0.1 < (first.treated != other.treated).mean() < 0.5


def test_groups_are_alike_in_every_stratum() -> None:
    ids, who = customers()
    arms = assign_groups(ids, risk=1 - who.p, value=who.p * who.spend, n_control=600, campaign="May", seed=0)
    assert (~arms.treated).sum() == 600
    share = [(~arms.treated[arms.stratum == code]).mean() for code in range(9)]
    assert np.ptp(share) < 0.01
    chance = [
        abs(
            who.p[
                assign_groups(ids, risk=1 - who.p, value=who.spend, n_control=600, campaign="May", seed=s).treated
            ].mean()
            - who.p.mean()
        )
        for s in range(20)
    ]
    assert max(chance) < 0.01
