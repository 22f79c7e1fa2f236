"""Metrics of expected spend: second opinions, cases known by hand, and what is undefined."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from repurchase.evaluation.metrics import decile_error, poisson_deviance, spearman, spend_gini, total_bias

METRICS = [spend_gini, spearman, decile_error, total_bias]


def _sample(seed: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    expected = rng.gamma(2, 20, n).round(0) + 1
    return np.where(rng.random(n) < 0.3, expected * rng.gamma(3, 1, n), 0.0), expected


def test_scipy_says_the_same_rank_correlation() -> None:
    for seed in range(5):
        spend, expected = _sample(seed)
        assert spearman(spend, expected) == pytest.approx(stats.spearmanr(spend, expected).statistic, rel=1e-12)


def test_gini_by_counting_pairs() -> None:
    spend, expected = _sample(0, n=80)
    expected = expected + np.arange(80) / 1000  # no ties, so that each pair has an order

    def area(score: np.ndarray) -> float:
        ahead = score[:, None] > score[None, :]
        return float((ahead * (spend[:, None] - spend[None, :])).sum())

    by_spend = spend + np.arange(80) * 1e-9
    assert spend_gini(spend, expected) == pytest.approx(area(expected) / area(by_spend), rel=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_row_order_does_not_matter_to_the_last_bit(metric: Callable[[np.ndarray, np.ndarray], float]) -> None:
    spend, expected = _sample(1, n=997)
    figure = metric(spend, expected)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(spend))
        assert metric(spend[order], expected[order]) == figure


@pytest.mark.parametrize("metric", [spend_gini, spearman], ids=lambda metric: metric.__name__)
def test_ranks_are_all_that_gini_and_spearman_see(metric: Callable[[np.ndarray, np.ndarray], float]) -> None:
    spend, expected = _sample(2)
    assert metric(spend, 4 * expected - 8) == metric(spend, expected)
    assert metric(spend, np.full(len(spend), 7.0)) == pytest.approx(0, abs=1e-12) or metric is spearman


def test_perfect_expectations() -> None:
    spend = np.arange(1.0, 101)
    assert spend_gini(spend, spend) == 1
    assert spearman(spend, spend) == 1
    assert decile_error(spend, spend) == 0
    assert total_bias(spend, spend) == 0


def test_turned_around_they_are_as_bad_as_can_be() -> None:
    spend = np.arange(1.0, 101)
    assert spend_gini(spend, -spend) == pytest.approx(-1)
    assert spearman(spend, -spend) == pytest.approx(-1)


def test_decile_error_is_of_the_five_highest_deciles() -> None:
    expected = np.arange(1.0, 101)
    spend = np.where(expected > 90, expected / 2, expected)
    assert decile_error(spend, expected) == pytest.approx(1 / 5)
    low_half_wrong = np.where(expected <= 50, 1e6, expected)
    assert decile_error(low_half_wrong, expected) == 0


def test_totals_ten_percent_too_high() -> None:
    spend, _ = _sample(3)
    assert total_bias(spend, 1.1 * spend) == pytest.approx(0.1)


def test_where_nothing_was_spent_nothing_is_defined() -> None:
    none, expected = np.zeros(20), np.arange(20.0)
    assert math.isnan(spend_gini(none, expected))
    assert math.isnan(spearman(none, expected))
    assert math.isnan(decile_error(none, expected))
    assert math.isnan(total_bias(none, expected))
    assert math.isnan(spend_gini(np.ones(20), expected)), "all spent the same: no order is better than another"


def test_one_empty_decile_leaves_its_relative_error_undefined() -> None:
    expected = np.arange(1.0, 101)
    assert math.isnan(decile_error(np.where(expected > 90, 0.0, expected), expected))


def test_returns_may_outweigh_sales_for_a_customer() -> None:
    assert spend_gini([-5, 10, 30], [1, 2, 3]) == 1
    assert total_bias([-5, 10, 30], [0, 10, 25]) == 0


def test_no_customers_no_figure() -> None:
    none = np.array([])
    assert all(math.isnan(metric(none, none)) for metric in METRICS)


def test_poisson_deviance_is_smallest_at_the_mean_and_zero_where_exact() -> None:
    counts = np.array([0.0, 0.0, 1.0, 3.0])
    assert poisson_deviance(counts, counts) == 0.0
    around = [poisson_deviance(counts, np.full(4, value)) for value in (0.9, 1.0, 1.1)]
    assert around[1] == min(around)
    assert around[1] == pytest.approx(2.0 * 3.0 * np.log(3.0) / 4.0)
    assert math.isnan(poisson_deviance([1.0], [0.0]))
    assert math.isnan(poisson_deviance([], []))
