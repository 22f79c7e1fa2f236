"""Expected orders, and the worth of later money."""

import numpy as np
import numpy.typing as npt

from repurchase.models.btyd.model import BtydForecast, BtydModel, DistinctPairs
from repurchase.models.calibration import discount_factor, expected_orders, expected_spend, non_decreasing

BTYD = BtydModel("mbgnbd", 0.6, 30.0, 0.8, 3.0)
WHO = (np.array([0.0, 0, 1, 5, 40, 3]), np.array([0.0, 0, 30, 200, 399, 10]), np.array([0.0, 300, 60, 210, 400, 2_000]))


def of(fit: BtydModel, who: tuple[npt.NDArray[np.float64], ...] = WHO) -> BtydForecast:
    frequency, recency, age = who
    return BtydForecast(fit, (frequency, recency, age), DistinctPairs(frequency, age))


class TestExpectedOrders:
    horizons = (7, 30, 60, 90, 365)

    def p(self) -> dict[int, npt.NDArray[np.float64]]:
        return {h: BTYD.p_purchase(*WHO, horizon_days=h) for h in self.horizons}

    def test_are_btyds_where_nothing_was_learned(self) -> None:
        found = expected_orders(self.p(), {}, of(BTYD))
        for h in self.horizons:
            wanted = BTYD.expected_purchases(*WHO, horizon_days=h)
            np.testing.assert_allclose(found[h], np.clip(wanted, self.p()[h], h), rtol=1e-9)

    def test_are_the_chance_times_the_days_of_a_buyer_where_they_were_learned(self) -> None:
        found = expected_orders(self.p(), {30: np.full(6, 1.0), 90: np.full(6, 2.5)}, of(BTYD))
        np.testing.assert_array_equal(found[30], self.p()[30])
        np.testing.assert_array_equal(found[90], 2.5 * self.p()[90])

    def test_go_on_from_the_last_learned_horizon_by_what_btyd_adds(self) -> None:
        found = expected_orders(self.p(), {30: np.full(6, 1.0), 90: np.full(6, 2.5)}, of(BTYD))
        added = of(BTYD).expected_purchases(365) - of(BTYD).expected_purchases(90)
        np.testing.assert_allclose(found[365], np.maximum(found[90] + added, self.p()[365]))

    def test_rise_with_the_horizon_between_the_chance_and_the_days_there_are(self) -> None:
        odd = {30: np.array([1.0, 30, 30, 1, 1, 2]), 90: np.array([90.0, 1, 30, 1, 3, 2])}
        found = expected_orders(self.p(), odd, of(BTYD))
        for h, orders in found.items():
            assert ((self.p()[h] <= orders) & (orders <= h)).all()
        assert (np.diff(list(found.values()), axis=0) >= 0).all()

    def test_no_horizon_moves_another(self) -> None:
        learned = {30: np.full(6, 1.2), 90: np.full(6, 1.5)}
        every = expected_orders(self.p(), learned, of(BTYD))
        for h in self.horizons:
            some = {day: self.p()[day] for day in sorted({h, 30, 90})}
            np.testing.assert_array_equal(expected_orders(some, learned, of(BTYD))[h], every[h])


class TestDiscountFactor:
    def test_is_one_without_a_rate(self) -> None:
        np.testing.assert_allclose(discount_factor(of(BTYD), horizon_days=365, yearly_rate=0.0), 1.0)

    def test_falls_with_the_rate_and_the_horizon_and_stays_between_its_bounds(self) -> None:
        found = np.array(
            [
                [discount_factor(of(BTYD), horizon_days=h, yearly_rate=rate) for h in (30, 365, 1095)]
                for rate in (0.05, 0.10, 0.5)
            ]
        )
        assert (np.diff(found, axis=0) < 0).all()
        assert (np.diff(found, axis=1) < 0).all()
        assert (found <= 1).all()
        assert (found[1, 1] >= 1.1**-1).all()

    def test_by_hand_for_even_purchases(self) -> None:
        even = BtydModel("nbd", 0.5, 30.0, 0.0, 1.0)
        wanted = np.mean(1.1 ** -np.linspace(1 / 16, 2 - 1 / 16, 16))  # two years, sixteen slices
        found = discount_factor(of(even), horizon_days=730, yearly_rate=0.10)
        np.testing.assert_allclose(found, wanted, rtol=1e-3)

    def test_is_finite_for_who_will_hardly_come_back(self) -> None:
        gone = (np.array([5_000.0]), np.array([200.0]), np.array([3_000.0]))
        assert BTYD.expected_purchases(*gone, horizon_days=365)[0] < 1e-12
        assert 1 / 1.1 <= discount_factor(of(BTYD, gone), horizon_days=365, yearly_rate=0.1)[0] <= 1


def test_a_longer_horizon_never_holds_less() -> None:
    raised = non_decreasing({90: np.array([1.0, 5.0]), 30: np.array([2.0, 3.0]), 365: np.array([1.5, 9.0])})
    assert {h: values.tolist() for h, values in raised.items()} == {30: [2.0, 3.0], 90: [2.0, 5.0], 365: [2.0, 9.0]}


def test_money_beyond_what_was_learned_grows_with_the_expected_orders() -> None:
    orders = {30: np.array([1.0, 0.5]), 90: np.array([2.0, 1.0]), 365: np.array([6.0, 1.5])}
    per_order = np.array([10.0, 20.0])
    learned = {30: np.array([9.0, 9.0]), 90: np.array([18.0, 30.0])}
    assert expected_spend(90, learned, orders, per_order).tolist() == [18.0, 30.0]
    assert expected_spend(365, learned, orders, per_order).tolist() == [54.0, 45.0]
    assert expected_spend(365, {}, orders, per_order).tolist() == [60.0, 30.0]
