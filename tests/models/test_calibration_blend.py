"""One curve of probabilities over the horizons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from repurchase.models.calibration import average_log_odds, increasing_probabilities, shrink_to_btyd, trees_share
from repurchase.models.snapshots import expit, logit

HORIZONS = (30, 90, 180, 365)
shares = arrays.arrays(np.float64, (4, 5), elements=st.floats(0.0, 1.0))


def test_btyd_continues_where_nothing_was_learned() -> None:
    curve = increasing_probabilities({30: np.array([0.5])}, {30: np.array([0.2]), 90: np.array([0.4])})
    assert curve[30].tolist() == [0.5]
    assert curve[90] == pytest.approx(1 - 0.5 * 0.6 / 0.8)  # 1 - (1 - p) (1 - btyd now) / (1 - btyd before)


def test_btyd_alone_is_left_as_it_is() -> None:
    btyd = {h: np.array([share, share / 2]) for h, share in zip(HORIZONS, (0.1, 0.3, 0.4, 0.9), strict=True)}
    curve = increasing_probabilities({}, btyd)
    for h in HORIZONS:
        np.testing.assert_allclose(curve[h], btyd[h], rtol=1e-12)


def test_a_longer_horizon_that_says_less_is_lifted_to_just_above() -> None:
    learned = {30: np.array([0.6, 0.6]), 90: np.array([0.4, 0.4])}
    p = increasing_probabilities(learned, {30: np.array([0.1, 0.1]), 90: np.array([0.1, 0.4])})[90]
    assert p[0] == 0.6  # no chance in between
    assert p[1] == pytest.approx(1 - 0.4 * (0.6 / 0.9) ** 0.1)


def test_btyd_starts_the_curve_where_the_shortest_horizon_was_not_learned() -> None:
    curve = increasing_probabilities({90: np.array([0.5])}, {30: np.array([0.2]), 90: np.array([0.4])})
    assert curve[30] == pytest.approx(0.2)
    assert curve[90].tolist() == [0.5]


@settings(deadline=None)
@given(learned=shares, steps=shares, taught=st.sets(st.sampled_from(HORIZONS)))
def test_never_falls_and_stays_a_probability(learned: np.ndarray, steps: np.ndarray, taught: set[int]) -> None:
    btyd = dict(zip(HORIZONS, np.maximum.accumulate(steps, axis=0), strict=True))
    curve = increasing_probabilities({h: p for h, p in zip(HORIZONS, learned, strict=True) if h in taught}, btyd)
    found = np.array([curve[h] for h in HORIZONS])
    assert list(curve) == list(HORIZONS)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found, axis=0) >= 0).all()


def test_log_odds_and_back() -> None:
    p = np.array([0.0, 1e-9, 0.2, 0.5, 1.0])
    assert np.isfinite(logit(p)).all()
    np.testing.assert_allclose(expit(logit(p)), [1e-6, 1e-6, 0.2, 0.5, 1 - 1e-6], rtol=1e-9)
    assert expit([-1e4, 1e4]).tolist() == [0.0, 1.0]


def test_btyd_moves_what_was_learned_a_little_way_and_never_far() -> None:
    found = shrink_to_btyd(np.zeros(4), np.array([0.0, 0.5, 1.0, -30.0]))
    np.testing.assert_allclose(found, [0.0, 0.1, 0.2, -0.2])
    np.testing.assert_allclose(shrink_to_btyd(np.array([2.0, 2.0]), np.array([1.5, -9.0])), [1.9, 1.8])


def test_trees_count_for_little_where_rows_are_few_and_never_for_more_than_half() -> None:
    shares = [trees_share(rows) for rows in (200, 1_000, 10_000, 60_000, 10**9)]
    assert (np.diff(shares) > 0).all()
    assert shares[0] < 0.05
    assert 0.4 < shares[3] < shares[4] < 0.5
    np.testing.assert_allclose(average_log_odds(np.array([-1.0]), np.array([1.0]), share=0.25), [-0.5])
