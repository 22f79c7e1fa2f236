"""Level and season: one number per horizon that moves every customer's log odds alike."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.estimators.blend import expit
from repurchase.estimators.cuts import Cut, Cuts
from repurchase.estimators.level import Season, learn_season, level_shift, shift_to_mean
from repurchase.features.timeline import ledger

START = date(2022, 1, 1)


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.97])
def test_a_shift_reaches_the_mean_asked_for(mean: float) -> None:
    log_odds = np.random.default_rng(0).normal(-1, 2, 1_000)
    assert expit(log_odds + shift_to_mean(log_odds, mean)).mean() == pytest.approx(mean, abs=1e-6)


def test_a_mean_out_of_reach_is_not_chased() -> None:
    assert shift_to_mean(np.full(3, -40.0), 0.5) == 8.0
    assert shift_to_mean(np.full(3, 40.0), 0.5) == -8.0


def test_the_level_lies_between_what_was_taught_and_btyd() -> None:
    log_odds = np.random.default_rng(1).normal(0, 1, 1_000)
    learned, btyd = np.full(1_000, 0.2), np.full(1_000, 0.4)
    mean = expit(log_odds + level_shift(log_odds, learned=learned, btyd=btyd)).mean()
    assert 0.27 < mean < 0.32
    agreed = level_shift(log_odds, learned=expit(log_odds), btyd=expit(log_odds))
    assert agreed == pytest.approx(0.0, abs=1e-6)


class TestSeason:
    @pytest.fixture(scope="class")
    @classmethod
    def cuts(cls, simulate_orders: Callable[..., pl.DataFrame]) -> Cuts:
        """As many customers from the first weeks on, over three years."""
        orders = simulate_orders(customers=150, days=1_000, arrival_days=30, start=START, a=0.05, b=5.0)
        return Cuts(ledger(orders, observed_until=START + timedelta(days=1_000)), horizons=(30,))

    def learn(self, cuts: Cuts, as_of: date, *, peak: Callable[[date], bool]) -> Season:
        """A model that is off by 1 in log odds, and by 0.5 in log money, in windows that open on a peak day."""

        def miss(cut: Cut) -> tuple[float, float]:
            return (1.0, 0.5) if peak(cut.as_of) else (0.0, 0.0)

        return learn_season(cuts, as_of, horizon_days=30, miss=miss, random_state=0)

    def test_that_came_last_year_is_expected_again_in_part(self, cuts: Cuts) -> None:
        as_of = START + timedelta(days=900)
        season = self.learn(cuts, as_of, peak=lambda day: day == as_of - timedelta(days=365))
        purchase, spend = season.at(0)
        assert 0.5 < purchase < 1.0
        assert spend == pytest.approx(purchase / 2)

    def test_that_just_ended_is_expected_to_end(self, cuts: Cuts) -> None:
        as_of = START + timedelta(days=900)
        season = self.learn(cuts, as_of, peak=lambda day: day == as_of - timedelta(days=395))
        assert season.at(0)[0] < -0.5

    def test_is_not_made_up_where_the_log_is_too_short(self, cuts: Cuts) -> None:
        season = self.learn(cuts, START + timedelta(days=380), peak=lambda day: True)
        assert season.at(0) == season.at(60) == (0.0, 0.0)

    def test_never_asks_for_windows_that_end_after_the_day(self, cuts: Cuts) -> None:
        as_of, asked = START + timedelta(days=900), []

        def miss(cut: Cut) -> tuple[float, float]:
            asked.append(cut.as_of)
            return 0.0, 0.0

        learn_season(cuts, as_of, horizon_days=300, miss=miss, random_state=0)
        assert asked
        assert max(asked) + timedelta(days=300) <= as_of

    def test_between_two_days_is_mixed_and_beyond_the_last_is_kept(self) -> None:
        season = Season((0, 30, 60), (0.0, 0.3, -0.3), (0.0, 0.1, 0.1))
        assert season.at(15) == pytest.approx((0.15, 0.05))
        assert season.at(400) == pytest.approx((-0.3, 0.1))
        assert season.at(-20) == (0.0, 0.0)
