"""Metrics of probabilities: second opinions from scikit-learn, cases known by hand, and properties."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from repurchase.evaluation.metrics import (
    CLIP,
    auc,
    average_precision,
    brier,
    calibration_bins,
    chance_ece,
    ece,
    found_share,
    log_loss,
    log_losses,
    top_lift,
)

Metric = Callable[[np.ndarray, np.ndarray], float]
ALL: list[Metric] = [log_loss, brier, auc, average_precision, ece, top_lift]
RANKING: list[Metric] = [auc, average_precision, top_lift]


def _sample(seed: int, n: int = 300, *, decimals: int = 17) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 3, n).round(decimals)
    bought = rng.random(n) < p
    bought[:2] = (True, False)
    return bought, p


@pytest.mark.parametrize("decimals", [17, 2, 1])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (auc, sk.roc_auc_score),
        (average_precision, sk.average_precision_score),
        (brier, sk.brier_score_loss),
        (log_loss, lambda y, p: sk.log_loss(y, np.clip(p, CLIP, 1 - CLIP))),
    ],
    ids=["auc", "average_precision", "brier", "log_loss"],
)
def test_scikit_learn_says_the_same(ours: Metric, theirs: Metric, decimals: int) -> None:
    for seed in range(5):
        bought, p = _sample(seed, decimals=decimals)
        assert ours(bought, p) == pytest.approx(theirs(bought, p), rel=1e-12)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("decimals", [17, 1])
def test_row_order_does_not_matter_to_the_last_bit(metric: Metric, decimals: int) -> None:
    bought, p = _sample(1, n=997, decimals=decimals)
    expected = metric(bought, p)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(p))
        assert metric(bought[order], p[order]) == expected


@pytest.mark.parametrize("metric", RANKING, ids=lambda metric: metric.__name__)
@given(seed=st.integers(0, 10_000), slope=st.sampled_from([0.5, 2.0, 1024.0]))
@settings(max_examples=25)
def test_a_rising_transform_changes_no_ranking_metric(metric: Metric, seed: int, slope: float) -> None:
    bought, p = _sample(seed, n=60, decimals=1)
    assert metric(bought, slope * p - 1) == metric(bought, p)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_turning_the_ranking_around_turns_auc_around(seed: int) -> None:
    bought, p = _sample(seed, n=60, decimals=1)
    assert auc(bought, -p) == pytest.approx(1 - auc(bought, p), abs=1e-15)


def test_perfect_predictions() -> None:
    bought = np.array([True, False, False, True, False])
    p = bought.astype(float)
    assert (auc(bought, p), average_precision(bought, p), brier(bought, p), ece(bought, p)) == (1, 1, 0, 0)
    assert log_loss(bought, p) == pytest.approx(CLIP, rel=1e-5)


def test_constant_predictions_tell_nobody_apart() -> None:
    bought, _ = _sample(2)
    p = np.full(len(bought), bought.mean())
    assert (auc(bought, p), top_lift(bought, p)) == (0.5, pytest.approx(1.0))
    assert average_precision(bought, p) == pytest.approx(bought.mean())
    assert ece(bought, p) == pytest.approx(0, abs=1e-12)


def test_one_certain_miss_costs_a_finite_loss() -> None:
    assert log_losses([True], [0.0]) == pytest.approx([-math.log(CLIP)])
    assert log_loss([False], [1.0]) == pytest.approx(13.8155, abs=1e-4)


@pytest.mark.parametrize("outcome", [True, False])
def test_one_outcome_only_leaves_the_ranking_undefined(outcome: bool) -> None:
    assert math.isnan(auc([outcome, outcome], [0.2, 0.8]))


def test_nobody_bought_leaves_precision_and_lift_undefined() -> None:
    assert math.isnan(average_precision([0, 0], [0.2, 0.8]))
    assert math.isnan(top_lift([0, 0], [0.2, 0.8]))
    assert np.isnan(found_share([0, 0], [0.2, 0.8], [0, 0.5, 1])).all()


@pytest.mark.parametrize("metric", [log_loss, brier, auc, average_precision, ece], ids=lambda metric: metric.__name__)
def test_no_customers_no_figure(metric: Metric) -> None:
    assert math.isnan(metric(np.array([], dtype=bool), np.array([])))


def test_no_customers_no_chance() -> None:
    assert math.isnan(chance_ece([]))


def test_calibration_groups_are_equal_and_hold_their_means() -> None:
    p = np.arange(100) / 100
    bins = calibration_bins(p >= 0.5, p)
    assert bins.size.tolist() == [10] * 10
    assert bins.observed.tolist() == [0] * 5 + [1] * 5
    np.testing.assert_allclose(bins.predicted, np.arange(10) / 10 + 0.045)
    assert ece(p >= 0.5, p) == pytest.approx(np.abs(bins.predicted - bins.observed).mean())


def test_a_tie_across_a_group_boundary_is_shared() -> None:
    bins = calibration_bins([1, 0, 0, 1], [0.3, 0.3, 0.3, 0.9], groups=2)
    np.testing.assert_allclose(bins.observed, [1 / 3, (1 / 3 + 1) / 2])


def test_no_more_groups_than_customers() -> None:
    assert calibration_bins([1, 0, 1], [0.1, 0.2, 0.3]).size.tolist() == [1, 1, 1]


def test_a_shift_of_all_probabilities_is_the_calibration_error() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.2, 0.7, 200_000)
    bought = rng.random(len(p)) < p
    assert ece(bought, p + 0.1) == pytest.approx(0.1, abs=0.005)


def test_chance_is_what_true_probabilities_show() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(2, 5, 1000)
    seen = np.mean([ece(rng.random(len(p)) < p, p) for _ in range(400)])
    assert chance_ece(p) == pytest.approx(seen, rel=0.05)


def test_gains_by_hand() -> None:
    found = found_share([1, 1, 0, 0], [0.9, 0.1, 0.5, 0.2], [0, 0.25, 0.5, 0.75, 1])
    assert found.tolist() == [0, 0.5, 0.5, 0.5, 1]


def test_gains_are_straight_within_a_tie() -> None:
    found = found_share([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.5], [0.125, 0.25, 0.5])
    np.testing.assert_allclose(found, [0.125, 0.25, 0.5])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_gains_of_buyers_rise_from_none_to_all(seed: int) -> None:
    bought, p = _sample(seed, n=50, decimals=1)
    found = found_share(bought, p, np.linspace(0, 1, 21))
    assert found[0] == 0
    assert found[-1] == pytest.approx(1)
    assert np.all(np.diff(found) >= -1e-12)


def test_lift_is_bounded_by_the_base_rate() -> None:
    bought = np.arange(100) < 20
    assert top_lift(bought, bought) == pytest.approx(5.0)
    assert top_lift(bought, ~bought) == 0
    assert top_lift(bought, -np.arange(100), share=0.5) == pytest.approx(2.0)
