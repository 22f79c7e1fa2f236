"""Days until the next order."""

import numpy as np
import pytest

from repurchase.models.snapshots import FeatureMatrix
from repurchase.models.timing import WaitModel, days_to_next_order, fit_wait_model

RATES = np.array([0.02, 0.004, 0.0018, 1.0])


def steady(*horizons: int) -> dict[int, np.ndarray]:
    return {h: 1 - np.exp(-RATES * h) for h in horizons}


@pytest.mark.parametrize("horizons", [(365,), (30, 90, 365), (30, 90, 180, 365, 730)])
def test_by_hand_for_a_steady_buyer(horizons: tuple[int, ...]) -> None:
    """A constant rate: the quantile q of those who order within the year is -log(1 - q p(365)) / rate."""
    within = 1 - np.exp(-RATES * 365)
    for found, share in zip(days_to_next_order(steady(*horizons)), (0.11, 0.5, 0.91), strict=True):
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


def test_days_are_interpolated_from_today_to_the_first_horizon() -> None:
    steady = {100: np.array([1 - np.exp(-1.0)]), 365: np.array([1 - 1e-9])}
    low, median, _ = days_to_next_order(steady)
    assert (low[0], median[0]) == (np.ceil(-100 * np.log(0.89)), np.ceil(100 * np.log(2))) == (12, 70)


def test_a_range_from_the_second_day_on_keeps_its_late_end() -> None:
    curve = {2: np.array([0.109]), 365: np.array([1 - 1e-9])}
    low, _, high = days_to_next_order(curve)
    later = days_to_next_order({2: np.array([0.2]), 365: np.array([1 - 1e-9])})
    assert (low[0], later[0][0]) == (3, 2)
    for days, p in ((high[0], 0.109), (later[2][0], 0.2)):
        start, end = -np.log1p(-p), -np.log(1e-9)
        assert days == np.ceil(2 + 363 * (-np.log1p(-0.91 * (1 - 1e-9)) - start) / (end - start))


def test_only_windows_beyond_a_year_give_no_day() -> None:
    assert np.isnan(days_to_next_order({730: np.array([0.9, 0.99])})).all()


def test_a_range_that_begins_tomorrow_leaves_out_only_what_is_late() -> None:
    daily = {365: np.array([1 - 1e-9])}
    low, _, high = days_to_next_order({1: np.array([0.3]), **daily})
    assert low[0] == 1
    assert high[0] < days_to_next_order({1: np.array([0.1]), **daily})[2][0]


def customers(rng: np.random.Generator, n: int = 4_000) -> tuple[FeatureMatrix, np.ndarray]:
    gap = np.exp(rng.uniform(np.log(20), np.log(80), n))
    wait = np.ceil(gap * np.exp(rng.normal(0, 0.2, n)))
    return FeatureMatrix({"gap_last_days": gap, "frequency": np.full(n, 5.0)}), np.where(wait <= 90, wait, np.nan)


@pytest.fixture(scope="module")
def waits() -> WaitModel:
    design, wait = customers(np.random.default_rng(0))
    fitted = fit_wait_model(design, wait, horizon_days=90)
    assert fitted is not None
    return fitted


class TestWaits:
    """Customers with a rhythm of their own: the wait is what is left of it, give or take a fifth."""

    def test_hold_four_fifths_of_who_comes_in_time_and_are_much_narrower_than_the_curve_alone(
        self, waits: WaitModel
    ) -> None:
        design, wait = customers(np.random.default_rng(1))
        p = {90: np.full(4_000, 0.95), 365: np.full(4_000, 0.96)}
        low, median, high = days_to_next_order(p, waits=waits, features=design)
        came = np.isfinite(wait)
        assert ((wait >= low) & (wait <= high))[came].mean() == pytest.approx(0.82, abs=0.03)
        assert (wait <= median)[came].mean() == pytest.approx(0.5, abs=0.06)
        by_curve = days_to_next_order(p)
        assert (high - low)[came].mean() < 0.5 * (by_curve[2] - by_curve[0])[came].mean()

    def test_low_median_and_high_are_in_order(self, waits: WaitModel) -> None:
        design, _ = customers(np.random.default_rng(2))
        rng = np.random.default_rng(3)
        p = dict(zip((90, 365), np.sort(rng.random((2, 4_000)), axis=0), strict=True))
        low, median, high = (days[p[365] > 0.5] for days in days_to_next_order(p, waits=waits, features=design))
        assert (low >= 1).all()
        assert (low <= median).all()
        assert (median <= high).all()
        assert (high <= 365).all()

    def test_survive_json(self, waits: WaitModel) -> None:
        import json

        assert WaitModel.from_dict(json.loads(json.dumps(waits.to_dict()))) == waits

    def test_a_few_buyers_teach_none(self) -> None:
        design, wait = customers(np.random.default_rng(0), n=150)
        wait[99:] = np.nan
        assert fit_wait_model(design, wait, horizon_days=90) is None
