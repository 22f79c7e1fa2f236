"""What retention and reach are worth: counted by hand where it can be."""

import numpy as np
import pytest

from repurchase.errors import InputError
from repurchase.marketing.economics import (
    CampaignCandidates,
    CampaignTerms,
    break_even_uplift,
    expected_outcome,
    expected_profit,
    log_odds_shift,
    reach_curve,
    reach_outcome,
    retention_cost_limit,
    retention_point_value,
    table_rows,
)

TERMS = CampaignTerms(margin=0.4, cost_per_contact=0.5)


def shop(n: int = 1000) -> CampaignCandidates:
    random = np.random.default_rng(2)
    p, spend = random.beta(1.0, 2.0, n), np.exp(random.normal(3.5, 0.8, n))
    return CampaignCandidates.of(p, p * spend)


def test_a_point_of_retention_of_equal_customers() -> None:
    # 1,000 customers who spend 20 if they buy: ten buy more, 200 of sales, 80 of margin.
    found = retention_point_value(CampaignCandidates.of(np.full(1000, 0.3), np.full(1000, 6.0)), margin=0.4)
    assert found["customers"][0] == pytest.approx(10.0)
    assert found["sales"][0] == pytest.approx(200.0)
    assert found["margin"][0] == pytest.approx(80.0)
    assert found["sales"][1] < 200.0 < found["sales"][2]


def test_ranges_widen_by_how_far_sales_were_off() -> None:
    known, unknown = (retention_point_value(shop(), margin=0.4, sales_bias=off)["sales"] for off in ((0.25, -0.2), ()))
    assert known[0] == unknown[0]
    assert known[1] == pytest.approx(unknown[1] / 1.25)
    assert known[2] == pytest.approx(unknown[2] / 0.8)


def test_the_best_reach_is_where_the_next_customer_no_longer_pays() -> None:
    who = shop()
    curve = reach_curve(who, uplift=0.03, terms=TERMS)
    assert 0 < curve.best < 1000
    best = reach_outcome(who, curve.best, uplift=0.03, terms=TERMS).scenarios[1][2].profit[0]
    for n in (curve.best - 1, curve.best + 1):
        assert reach_outcome(who, n, uplift=0.03, terms=TERMS).scenarios[1][2].profit[0] < best
    assert curve.profit[1][curve.reached == curve.best] == pytest.approx([best])


def test_twice_the_uplift_brings_more_at_the_same_cost() -> None:
    half, middle, twice = (found for _, _, found in reach_outcome(shop(), 300, uplift=0.02, terms=TERMS).scenarios)
    assert half.profit[0] < middle.profit[0] < twice.profit[0]
    assert half.cost == middle.cost == twice.cost
    assert retention_cost_limit(middle) == pytest.approx(150.0 / middle.buyers_more)


def test_every_figure_has_a_row() -> None:
    rows = table_rows(retention_point_value(shop(), margin=0.4), reach_outcome(shop(), 100, uplift=0.02, terms=TERMS))
    assert len(rows) == 3 + 3 * 4
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


@pytest.mark.parametrize("n", [0, 1001])
def test_more_than_there_are_cannot_be_reached(n: int) -> None:
    with pytest.raises(InputError, match="--reach must be 1 to 1,000"):
        reach_outcome(shop(), n, uplift=0.02, terms=TERMS)


def test_a_push_has_the_mean_asked_for_and_moves_those_on_the_fence_most() -> None:
    p = np.linspace(0.01, 0.99, 99)
    moved = log_odds_shift(p, 0.03)
    assert moved.mean() == pytest.approx(0.03)
    assert 0.3 < p[np.argmax(moved)] < 0.7
    assert (p + moved < 1).all()


def test_the_offer_also_goes_to_those_who_would_have_bought() -> None:
    who = CampaignCandidates.of([0.5], [10.0])
    cost, gain = expected_profit(who, np.array([0.1]), CampaignTerms(margin=0.5, cost_per_contact=0.2, offer_cost=1.0))
    assert cost == pytest.approx([0.2 + 0.6])
    assert gain == pytest.approx([0.5 * 0.1 * 20.0 - 0.8])


def test_the_range_of_sales_holds_what_chance_gives() -> None:
    who = shop(800)
    moved, random = log_odds_shift(who.p, 0.05), np.random.default_rng(9)
    told = expected_outcome(who, moved, CampaignTerms(margin=0.4))
    more = random.random((2000, 800)) < moved
    sales = (more * random.exponential(who.spend, (2000, 800))).sum(axis=1)
    assert told.sales[0] == pytest.approx(sales.mean(), rel=0.02)
    assert ((sales >= told.sales[1]) & (sales <= told.sales[2])).mean() == pytest.approx(0.95, abs=0.02)


def test_at_the_break_even_uplift_nothing_is_earned() -> None:
    who = shop(3000)
    terms = CampaignTerms(margin=0.4, cost_per_contact=0.5)
    uplift = break_even_uplift(who, terms)
    assert uplift is not None
    assert expected_profit(who, log_odds_shift(who.p, uplift), terms)[1].sum() == pytest.approx(0.0, abs=0.01)
    assert break_even_uplift(who, CampaignTerms(margin=0.01, cost_per_contact=500.0)) is None


def test_nobody_to_contact_has_no_break_even() -> None:
    assert break_even_uplift(CampaignCandidates.of([], []), TERMS) is None


def test_scenarios_are_half_the_uplift_and_twice() -> None:
    found = reach_outcome(shop(), 1000, uplift=0.02, terms=TERMS).scenarios
    assert [(name, uplift) for name, uplift, _ in found] == [
        ("half of it", 0.01),
        ("as assumed", 0.02),
        ("twice", 0.04),
    ]
    assert [outcome.buyers_more for *_, outcome in found] == pytest.approx([10.0, 20.0, 40.0])


def test_a_bias_of_nine_tenths_says_nothing() -> None:
    unknown = retention_point_value(shop(), margin=0.4)
    assert retention_point_value(shop(), margin=0.4, sales_bias=(-0.9,)) == unknown
    assert retention_point_value(shop(), margin=0.4, sales_bias=(-0.8,))["sales"][2] == pytest.approx(
        5 * unknown["sales"][2]
    )


def test_ranges_of_profit_widen_with_those_of_sales() -> None:
    """By margin times how far the ends of sales move; a low end below zero counts as zero."""
    plain, biased = (
        reach_outcome(shop(), 1000, uplift=0.2, terms=TERMS, sales_bias=bias).scenarios[1][2]
        for bias in ((), (0.25, -0.2))
    )
    assert plain.sales[1] > 0
    assert biased.sales == pytest.approx((plain.sales[0], plain.sales[1] / 1.25, plain.sales[2] / 0.8))
    assert biased.profit[0] == plain.profit[0]
    assert biased.profit[1] == pytest.approx(plain.profit[1] - 0.4 * (plain.sales[1] - biased.sales[1]))
    assert biased.profit[2] == pytest.approx(plain.profit[2] + 0.4 * (biased.sales[2] - plain.sales[2]))


def test_sales_of_a_point_of_retention_are_rounded() -> None:
    value, *_ = retention_point_value(shop(), margin=0.4)["sales"]
    assert value == round(value, 6)
