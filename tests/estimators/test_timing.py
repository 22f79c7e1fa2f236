"""Days until the next order."""

import numpy as np
import pytest

from repurchase.estimators.timing import days_to_next_order

RATES = np.array([0.02, 0.004, 0.0018, 1.0])


def steady(*horizons: int) -> dict[int, np.ndarray]:
    return {h: 1 - np.exp(-RATES * h) for h in horizons}


@pytest.mark.parametrize("horizons", [(365,), (30, 90, 365), (30, 90, 180, 365, 730)])
def test_by_hand_for_a_steady_buyer(horizons: tuple[int, ...]) -> None:
    """A constant rate: the quantile q of those who order within the year is -log(1 - q p(365)) / rate."""
    within = 1 - np.exp(-RATES * 365)
    for found, share in zip(days_to_next_order(steady(*horizons)), (0.1, 0.5, 0.9), strict=True):
        wanted = np.maximum(np.ceil(-np.log1p(-share * within) / RATES), 1)
        np.testing.assert_allclose(found[:2], wanted[:2], atol=1)


def test_nobody_who_is_unlikely_to_order_gets_a_day() -> None:
    low, median, high = days_to_next_order(steady(90, 365))
    assert np.isnan([low[2], median[2], high[2]]).all()  # p(365) is 0.48
    assert not np.isnan([low[1], median[1], high[1]]).any()


def test_low_median_and_high_are_in_order_and_within_the_window() -> None:
    rng = np.random.default_rng(0)
    p = np.sort(rng.random((3, 400)), axis=0)
    p[:, :50] = p[0, :50]  # nothing to gain from waiting longer
    p[:, 50:60] = 1.0
    low, median, high = (days[~np.isnan(days)] for days in days_to_next_order(dict(zip((30, 90, 365), p, strict=True))))
    assert len(low) == (p[2] > 0.5).sum()
    assert (low >= 1).all()
    assert (low <= median).all()
    assert (median <= high).all()
    assert (high <= 365).all()


def test_only_windows_beyond_a_year_give_no_day() -> None:
    assert np.isnan(days_to_next_order({730: np.array([0.9, 0.99])})).all()
