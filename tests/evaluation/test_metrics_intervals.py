"""Intervals in closed form, held against the bootstrap and against repeated draws of the world."""

import math

import numpy as np
import pytest

from repurchase.evaluation.metrics import Z95, estimate_with_interval, ratio_influence, top_influence, top_total


def _half(n: int, influence: np.ndarray) -> float:
    return estimate_with_interval(0.0, [influence], [np.arange(n)]).high


def _world(rng: np.random.Generator, n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    score = rng.gamma(2, 20, n)
    return np.where(rng.random(n) < 0.4, score * rng.gamma(3, 1 / 3, n), 0.0), score


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    draws = np.random.default_rng(0).normal(size=400)
    found = estimate_with_interval(draws.mean(), [(draws - draws.mean()) / 400], [np.arange(400)])
    assert found.value == draws.mean()
    assert found.high - found.value == pytest.approx(Z95 * draws.std(ddof=1) / 20)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_a_customer_at_two_cutoffs_is_one_draw() -> None:
    draws = np.random.default_rng(1).normal(size=400)
    influence = (draws - draws.mean()) / 400
    same, other = np.arange(400), np.arange(400, 800)
    once = estimate_with_interval(0.0, [influence], [same]).high
    twice_the_same = estimate_with_interval(0.0, [influence / 2, influence / 2], [same, same]).high
    two_draws = estimate_with_interval(0.0, [influence / 2, influence / 2], [same, other]).high
    assert twice_the_same == pytest.approx(once)
    assert two_draws == pytest.approx(once / math.sqrt(2), rel=0.01)


def test_customers_are_matched_by_who_they_are_not_by_where_they_lie() -> None:
    influence = np.array([1.0, -1.0, 0.0])
    cancels = estimate_with_interval(0.0, [influence, influence], [np.array([1, 2, 3]), np.array([2, 1, 3])])
    assert cancels.high == 0


def test_an_undefined_figure_has_no_interval() -> None:
    found = estimate_with_interval(math.nan, [np.zeros(2)], [np.arange(2)])
    assert all(map(math.isnan, (found.value, found.low, found.high)))


def test_influences_sum_to_zero() -> None:
    spend, score = _world(np.random.default_rng(2))
    assert ratio_influence(score, spend).sum() == pytest.approx(0, abs=1e-9)
    assert top_influence(spend, score, share=0.1).sum() == pytest.approx(0, abs=1e-6)
    assert top_influence(spend, score.round(-1), share=0.1).sum() == pytest.approx(0, abs=1e-6)


def test_a_ratio_to_nothing_is_undefined() -> None:
    assert np.isnan(ratio_influence(np.ones(3), np.zeros(3))).all()


@pytest.mark.parametrize("decimals", [17, -1])
def test_the_bootstrap_finds_the_same_spread(decimals: int) -> None:
    rng = np.random.default_rng(3)
    spend, score = _world(rng)
    score = score.round(decimals)
    n = len(spend)
    drawn = [rng.integers(0, n, n) for _ in range(1000)]
    top = np.std([top_total(spend[i], score[i], share=0.1) for i in drawn])
    ratio = np.std([score[i].sum() / spend[i].sum() for i in drawn])
    assert _half(n, top_influence(spend, score, share=0.1)) / Z95 == pytest.approx(top, rel=0.1)
    assert _half(n, ratio_influence(score, spend)) / Z95 == pytest.approx(ratio, rel=0.1)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    all_spend, all_score = _world(rng, n=400_000)
    truth = top_total(all_spend, all_score, share=0.1) / 400
    held = 0
    for part in np.split(np.arange(400_000), 400):
        spend, score = all_spend[part], all_score[part]
        influence = top_influence(spend, score, share=0.1)
        found = estimate_with_interval(top_total(spend, score, share=0.1), [influence], [part])
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 400 <= 0.98


def test_the_top_of_a_tie_brings_its_mean() -> None:
    assert top_total([4, 0, 0, 0], [1, 1, 1, 1], share=0.5) == 2.0
    assert top_total([5, 1, 3, 0], [4, 3, 2, 1], share=0.3) == pytest.approx(5.2)
