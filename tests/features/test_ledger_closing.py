"""When the shop was closed, and how days are counted without it."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.features.history import day_number
from repurchase.features.ledger import Closing, build_ledger, find_closing

FIRST, LAST = 100, 159


def orders_on(*spans: tuple[int, int], a_day: int = 1) -> np.ndarray:
    return np.repeat(np.concatenate([np.arange(first, end) for first, end in spans]), a_day)


class TestFind:
    def test_two_months_among_daily_orders(self) -> None:
        days = orders_on((0, FIRST), (LAST + 1, 200))
        assert find_closing(days) == find_closing(np.random.default_rng(0).permutation(days)) == Closing(FIRST, LAST)
        assert Closing(FIRST, LAST).days == 60

    def test_within_days_of_opening_again(self) -> None:
        assert find_closing(orders_on((0, FIRST), (LAST + 1, LAST + 3))) == Closing(FIRST, LAST)

    @pytest.mark.parametrize(
        "days",
        [
            pytest.param(orders_on((0, 300)), id="open every day"),
            pytest.param(orders_on((0, 100)), id="not open again yet"),
            pytest.param(orders_on((0, 100), (127, 300)), id="below four weeks"),
            pytest.param(orders_on((0, 100), (130, 400), (460, 700)), id="closed every year"),
            pytest.param(np.array([0, 9, 20, 28, 38, 100, 111, 120, 131]), id="an order in ten days"),
            pytest.param(np.array([5]), id="one day"),
            pytest.param(np.array([5, 80]), id="two days"),
        ],
    )
    def test_nothing(self, days: np.ndarray) -> None:
        assert find_closing(days) is None


class TestCounting:
    closing = Closing(FIRST, LAST)

    def test_days_before_move_up_and_keep_their_distances(self) -> None:
        days = pl.DataFrame({"day": [0, 98, 99, 100, 130, 159, 160, 300]})
        counted = days.select(self.closing.open_day(pl.col("day")))["day"].to_list()
        assert counted == [59, 157, 158, 159, 159, 159, 160, 300]

    def test_dates_come_back(self) -> None:
        first = date(1970, 1, 1)
        open_days = [first + timedelta(days=day) for day in (*range(FIRST), *range(LAST + 1, 200))]
        counted = [self.closing.open_date(day) for day in open_days]
        assert counted == sorted(set(counted))
        assert [self.closing.calendar_date(day) for day in counted] == open_days
        assert Closing.from_dict(self.closing.to_dict()) == self.closing


class TestLedger:
    START = date(2024, 1, 1)

    def ledger(self, days: int = 200):
        numbers = orders_on((0, FIRST), (LAST + 1, 200))
        orders = pl.DataFrame(
            {
                "customer_id": [f"c{number % 7}" for number in numbers],
                "order_id": [f"o{number}" for number in numbers],
                "order_date": [self.START + timedelta(days=int(number)) for number in numbers],
                "amount": np.arange(len(numbers)) + 1.0,
            }
        )
        return build_ledger(orders, observed_until=self.START + timedelta(days=days - 1))

    def test_is_counted_without_what_it_finds(self) -> None:
        ledger = self.ledger()
        closing = ledger.find_closing()
        opened = ledger.without(closing)
        assert closing == Closing(day_number(self.START) + FIRST, day_number(self.START) + LAST)
        assert opened.find_closing() == closing
        assert opened.without(closing) is opened
        assert opened.first_day == self.START + timedelta(days=59)
        assert opened.open_date(self.START) == opened.first_day
        assert opened.calendar_date(opened.first_day) == ledger.calendar_date(self.START) == self.START
        now, before = (one.history(ledger.observed_until) for one in (opened, ledger))
        np.testing.assert_array_equal(now.customer, before.customer)
        np.testing.assert_array_equal(now.spend, before.spend)
        assert np.diff(now.day[: now.count[0]]).max() < 10 < np.diff(before.day[: before.count[0]]).max()

    def test_a_window_over_it_is_as_long_as_any_other(self) -> None:
        opened = self.ledger().without(self.ledger().find_closing())
        then = opened.open_date(self.START + timedelta(days=89))
        outcome = opened.outcomes(opened.history(then), horizon_days=20)
        assert outcome.purchase_days.sum() == 19  # of twenty days one is left of the closing

    @pytest.mark.parametrize("days", [80, 140, LAST + 1])
    def test_on_a_day_when_it_had_not_ended_nothing_is_left_out(self, days: int) -> None:
        ledger = self.ledger(days)
        assert ledger.find_closing() is None
        assert ledger.without(self.ledger().find_closing()) is ledger
        assert ledger.without(None) is ledger
