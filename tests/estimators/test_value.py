"""Expected orders, the worth of later money, and the range of what a customer brings."""

import numpy as np
import pytest

from repurchase.estimators.btyd import Btyd
from repurchase.estimators.value import discount_factor, expected_orders, fit_spread, never_falling, spend_range

BTYD = Btyd("mbgnbd", 0.6, 30.0, 0.8, 3.0)
WHO = (np.array([0.0, 0, 1, 5, 40, 3]), np.array([0.0, 0, 30, 200, 399, 10]), np.array([0.0, 300, 60, 210, 400, 2_000]))


class TestExpectedOrders:
    def test_are_btyds_where_the_probabilities_agree(self) -> None:
        p, orders = BTYD.p_purchase(*WHO, horizon_days=90), BTYD.expected_purchases(*WHO, horizon_days=90)
        np.testing.assert_allclose(expected_orders(p, p, orders), np.maximum(orders, p), rtol=1e-9)

    def test_rise_with_the_probability_and_never_fall_below_it(self) -> None:
        btyd, orders = np.full(7, 0.3), np.full(7, 0.5)
        p = np.array([0.0, 0.05, 0.3, 0.6, 0.95, 0.9999, 1.0])
        found = expected_orders(p, btyd, orders)
        assert np.isfinite(found).all()
        assert (np.diff(found) >= 0).all()
        assert (found >= p).all()

    def test_are_at_least_the_probability_where_btyd_expects_next_to_nothing(self) -> None:
        found = expected_orders(np.array([0.9]), np.array([0.01]), np.array([0.01]))
        assert found.tolist() == [0.9]


class TestDiscountFactor:
    def test_is_one_without_a_rate(self) -> None:
        np.testing.assert_allclose(discount_factor(BTYD, WHO, horizon_days=365, yearly_rate=0.0), 1.0)

    def test_falls_with_the_rate_and_the_horizon_and_stays_between_its_bounds(self) -> None:
        found = np.array(
            [
                [discount_factor(BTYD, WHO, horizon_days=h, yearly_rate=rate) for h in (30, 365, 1095)]
                for rate in (0.05, 0.10, 0.5)
            ]
        )
        assert (np.diff(found, axis=0) < 0).all()
        assert (np.diff(found, axis=1) < 0).all()
        assert (found <= 1).all()
        assert (found[1, 1] >= 1.1**-1).all()

    def test_by_hand_for_even_purchases(self) -> None:
        even = Btyd("nbd", 0.5, 30.0, 0.0, 1.0)
        wanted = np.mean(1.1 ** -np.linspace(1 / 16, 2 - 1 / 16, 16))  # two years, sixteen slices
        found = discount_factor(even, WHO, horizon_days=730, yearly_rate=0.10)
        np.testing.assert_allclose(found, wanted, rtol=1e-3)

    def test_is_finite_for_who_will_hardly_come_back(self) -> None:
        gone = (np.array([5_000.0]), np.array([200.0]), np.array([3_000.0]))
        assert 1 / 1.1 <= discount_factor(BTYD, gone, horizon_days=365, yearly_rate=0.1)[0] <= 1


class TestSpendRange:
    @pytest.mark.parametrize("p_buy", [0.95, 0.7, 0.3])
    def test_holds_four_fifths_of_outcomes(self, p_buy: float) -> None:
        """Learned from one draw of 6,000 customers, held against another: 80 %, give or take two points."""
        rng = np.random.default_rng(8)
        n, sigma = 6_000, 0.8

        def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            mean_of_buyer, orders = rng.gamma(3.0, 30.0, n), rng.gamma(2.0, 1.0, n)
            spend = mean_of_buyer * np.exp(rng.normal(-(sigma**2) / 2, sigma, n)) * (rng.random(n) < p_buy)
            return mean_of_buyer, orders, spend, np.full(n, p_buy)

        mean_of_buyer, orders, spend, _ = draw()
        bought = spend > 0
        spread = fit_spread(orders[bought], mean_of_buyer[bought], spend[bought])
        mean_of_buyer, orders, spend, p = draw()
        low, high = spend_range(p, p * mean_of_buyer, orders, spread)
        assert (spend > high).mean() == pytest.approx(0.10, abs=0.02)
        assert (spend < low).mean() == pytest.approx(0.10 if p_buy > 0.9 else 0.0, abs=0.02)

    def test_is_in_order_and_grows_with_what_is_expected(self) -> None:
        p = np.array([0.0, 0.05, 0.1, 0.5, 0.9, 0.95, 1.0, 1.0])
        expected = np.array([0.0, 1.0, 1.0, 20.0, 20.0, 20.0, 20.0, 40.0])
        low, high = spend_range(p, expected, np.full(8, 1.0), fit_spread(np.ones(3), np.ones(3), np.ones(3)))
        assert np.isfinite([low, high]).all()
        assert (low >= 0).all()
        assert (low <= high).all()
        assert low[:4].tolist() == [0.0] * 4  # not buying alone covers the lowest tenth
        assert high[:2].tolist() == [0.0, 0.0]
        assert 0 < low[6] < 20 < high[6]
        assert (low[7], high[7]) == (pytest.approx(2 * low[6]), pytest.approx(2 * high[6]))

    def test_a_few_buyers_teach_no_spread(self) -> None:
        rng = np.random.default_rng(0)
        assert set(fit_spread(np.ones(49), np.ones(49), rng.gamma(1, 1, 49)).sigma) == {1.0}
        assert set(fit_spread(np.ones(50), np.ones(50), rng.lognormal(0, 0.2, 50)).sigma) != {1.0}


def test_a_longer_horizon_never_holds_less() -> None:
    raised = never_falling({90: np.array([1.0, 5.0]), 30: np.array([2.0, 3.0]), 365: np.array([1.5, 9.0])})
    assert {h: values.tolist() for h, values in raised.items()} == {30: [2.0, 3.0], 90: [2.0, 5.0], 365: [2.0, 9.0]}
