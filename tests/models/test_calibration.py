"""Level and season: one number per horizon that moves every customer's log odds alike."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.features.ledger import build_ledger
from repurchase.models.calibration import (
    SEASON_DAYS_AHEAD,
    Season,
    calibration_offset,
    carried_offset,
    latest_btyd_offsets,
    learn_season,
    shift_to_mean,
    shift_to_share,
)
from repurchase.models.snapshots import Snapshot, Snapshots, expit

START = date(2022, 1, 1)


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.97])
def test_a_shift_reaches_the_mean_asked_for(mean: float) -> None:
    log_odds = np.random.default_rng(0).normal(-1, 2, 1_000)
    assert expit(log_odds + shift_to_mean(log_odds, mean)).mean() == pytest.approx(mean, abs=1e-6)


def test_a_mean_out_of_reach_is_not_chased() -> None:
    assert shift_to_mean(np.full(3, -40.0), 0.5) == 8.0
    assert shift_to_mean(np.full(3, 40.0), 0.5) == -8.0
    assert shift_to_mean(np.full(3, 8.1), 0.5) == -8.0
    assert shift_to_mean(np.full(3, 7.9), 0.5) == pytest.approx(-7.9, abs=1e-6)


def test_the_level_lies_between_what_was_taught_and_btyd() -> None:
    log_odds = np.random.default_rng(1).normal(0, 1, 1_000)
    learned, btyd = np.full(1_000, 0.2), np.full(1_000, 0.4)
    mean = expit(log_odds + calibration_offset(log_odds, learned=learned, btyd=btyd)).mean()
    assert 0.29 < mean < 0.34  # a third of the way from BTYD's, in log odds
    agreed = calibration_offset(log_odds, learned=expit(log_odds), btyd=expit(log_odds))
    assert agreed == pytest.approx(0.0, abs=1e-6)
    assert calibration_offset(log_odds, learned=expit(log_odds), btyd=expit(log_odds), carried=0.3) > 0.3


@pytest.mark.parametrize("bought", [[True, True], [False, False]])
def test_a_share_of_all_or_none_is_not_chased(bought: list[bool]) -> None:
    assert abs(shift_to_share(np.array([-9.0, 9.0]), np.array(bought))) <= 2.0


def test_a_miss_is_carried_on_only_as_far_as_the_level_moves() -> None:
    assert carried_offset(()) == 0.0
    steady, moving = carried_offset((0.1, -0.1, 0.1)), carried_offset((0.5, 0.4, 0.6))
    assert 0.0 < steady < 0.01
    assert moving == pytest.approx(0.8 * (77 / 300) / (77 / 300 + 0.16) * 0.5)
    assert carried_offset((-0.5, -0.4, -0.6)) == -moving


class TestLatestMisses:
    LAST = START + timedelta(days=400)

    @pytest.fixture(scope="class")
    @classmethod
    def orders(cls, simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
        return simulate_orders(customers=600, days=500, arrival_days=300, start=START, a=0.05, b=5.0)

    def summary(self, orders: pl.DataFrame) -> tuple[float, ...]:
        snapshots = Snapshots(build_ledger(orders, observed_until=START + timedelta(days=500)), horizons=(60,))
        return latest_btyd_offsets(
            snapshots, self.LAST, snapshots.btyd(self.LAST, "mbgnbd"), horizon_days=60, random_state=0
        )

    def test_are_small_in_a_shop_as_btyd_takes_it_to_be(self, orders: pl.DataFrame) -> None:
        assert len(self.summary(orders)) == 3
        assert max(abs(miss) for miss in self.summary(orders)) < 0.5

    def test_tell_of_a_shop_that_hardly_sells_any_more(self, orders: pl.DataFrame) -> None:
        latest_days = pl.col("order_date").dt.date().is_between(self.LAST - timedelta(days=29), self.LAST)
        latest, *before = self.summary(orders.filter(~latest_days | (pl.int_range(pl.len()) % 10 == 0)))
        assert latest < -1.0
        assert all(latest < miss - 1.0 for miss in before)

    def test_see_nothing_after_the_day(self, orders: pl.DataFrame) -> None:
        assert self.summary(orders.filter(pl.col("order_date").dt.date() <= self.LAST)) == self.summary(orders)

    def test_are_not_looked_for_in_a_young_log(self, orders: pl.DataFrame) -> None:
        snapshots = Snapshots(build_ledger(orders, observed_until=self.LAST), horizons=(60,))
        day = START + timedelta(days=50)
        assert latest_btyd_offsets(snapshots, day, snapshots.btyd(day, "mbgnbd"), horizon_days=60, random_state=0) == ()


class TestSeason:
    @pytest.fixture(scope="class")
    @classmethod
    def snapshots(cls, simulate_orders: Callable[..., pl.DataFrame]) -> Snapshots:
        """As many customers from the first weeks on, over three years."""
        orders = simulate_orders(customers=150, days=1_000, arrival_days=30, start=START, a=0.05, b=5.0)
        return Snapshots(build_ledger(orders, observed_until=START + timedelta(days=1_000)), horizons=(30,))

    def learn(self, snapshots: Snapshots, as_of: date, *, peak: Callable[[date], bool]) -> Season:
        """A model that is off by 1 in log odds, and by 0.5 in log money, in windows that open on a peak day."""

        def miss(snapshot: Snapshot) -> tuple[float, float]:
            return (1.0, 0.5) if peak(snapshot.as_of) else (0.0, 0.0)

        return learn_season(snapshots, as_of, horizon_days=30, observed_shifts=miss, random_state=0)

    def test_that_came_last_year_is_expected_again_in_part(self, snapshots: Snapshots) -> None:
        as_of = START + timedelta(days=900)
        season = self.learn(snapshots, as_of, peak=lambda day: day == as_of - timedelta(days=365))
        purchase, spend = season.at(0)
        assert 0.5 < purchase < 1.0
        assert spend == pytest.approx(purchase / 2)

    def test_that_just_ended_is_expected_to_end(self, snapshots: Snapshots) -> None:
        as_of = START + timedelta(days=900)
        season = self.learn(snapshots, as_of, peak=lambda day: day == as_of - timedelta(days=395))
        assert season.at(0)[0] < -0.5

    def test_is_not_made_up_where_the_log_is_too_short(self, snapshots: Snapshots) -> None:
        season = self.learn(snapshots, START + timedelta(days=380), peak=lambda day: True)
        assert season.at(0) == season.at(60) == (0.0, 0.0)

    @pytest.mark.parametrize(("days", "known"), [(365 + 30 + 90, (0.0,)), (365 + 30 + 89, None)])
    def test_needs_ninety_days_before_the_window_before_last_years(
        self, snapshots: Snapshots, days: int, known: tuple[float, ...] | None
    ) -> None:
        as_of = snapshots.ledger.first_day + timedelta(days=days)
        asked: list[date] = []

        def shifts(snapshot: Snapshot) -> tuple[float, float]:
            asked.append(snapshot.as_of)
            return 0.0, 0.0

        learn_season(snapshots, as_of, horizon_days=30, observed_shifts=shifts, random_state=0)
        assert bool(asked) == (known is not None)

    def test_days_ahead_of_a_model_in_use(self) -> None:
        assert SEASON_DAYS_AHEAD == (0, 30, 60, 90, 135, 180)

    def test_never_asks_for_windows_that_end_after_the_day(self, snapshots: Snapshots) -> None:
        as_of, asked = START + timedelta(days=900), []

        def miss(snapshot: Snapshot) -> tuple[float, float]:
            asked.append(snapshot.as_of)
            return 0.0, 0.0

        learn_season(snapshots, as_of, horizon_days=300, observed_shifts=miss, random_state=0)
        assert asked
        assert max(asked) + timedelta(days=300) <= as_of

    def test_between_two_days_is_mixed_and_beyond_the_last_is_kept(self) -> None:
        season = Season((0, 30, 60), (0.0, 0.3, -0.3), (0.0, 0.1, 0.1))
        assert season.at(15) == pytest.approx((0.15, 0.05))
        assert season.at(400) == pytest.approx((-0.3, 0.1))
        assert season.at(-20) == (0.0, 0.0)
