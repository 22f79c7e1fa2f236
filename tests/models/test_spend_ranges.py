"""The range of what a customer brings."""

import numpy as np
import pytest

from repurchase.models.calibration import QUANTILE_LEVELS, ConditionalQuantiles, fit_conditional_quantiles
from repurchase.models.snapshots import logit
from repurchase.models.spend import ObservedWindow, SpendSpread, fit_spread, spend_range

SIGMA = 0.8


def window(rng: np.random.Generator, p: float | np.ndarray, *, n: int = 6_000, moved: float = 0.0) -> ObservedWindow:
    """Customers whose money scatters log-normally around what is expected, all of it moved by one factor."""
    p = np.broadcast_to(p, n)
    bought = rng.random(n) < p
    expected, orders = rng.gamma(3.0, 30.0, n), 1.0 + rng.gamma(2.0, 1.0, n)
    scatter = SIGMA / np.sqrt(orders)
    ratio = np.exp(rng.normal(-(scatter**2) / 2, scatter) + moved)
    return ObservedWindow(logit(p), bought, orders, expected, np.where(bought, expected * ratio, 0.0))


class TestRange:
    @pytest.mark.parametrize("p_buy", [0.99, 0.95, 0.7, 0.3])
    def test_holds_what_it_promises_where_windows_are_alike(self, p_buy: float) -> None:
        """Learned from one draw, held against another: 80 %, and 6 points more for buyers, give or take two."""
        rng = np.random.default_rng(8)
        spread = fit_spread([window(rng, p_buy)])
        later = window(rng, p_buy)
        low, high = spend_range(np.full(6_000, p_buy), later.spend_if_bought, later.orders_if_bought, spread)
        inside = (later.spend >= low) & (later.spend <= high)
        assert inside.mean() == pytest.approx(0.80 + 0.06 * p_buy, abs=0.02)
        if p_buy < 0.9:
            assert (low == 0).all()
        else:
            assert (later.spend < low).mean() == pytest.approx(0.07, abs=0.015)

    def test_holds_80_percent_where_windows_differ(self) -> None:
        """Six windows whose money and share of buyers move as a whole; 300 later windows, each moved anew."""
        rng = np.random.default_rng(3)
        p = rng.beta(2, 2, 3_000)

        def moved() -> ObservedWindow:
            odds, money = rng.normal(0, 0.3), rng.normal(0, 0.2)
            actual = 1 / (1 + np.exp(-(logit(p) + odds)))
            drawn = window(rng, actual, n=3_000, moved=money)
            return ObservedWindow(logit(p), drawn.bought, drawn.orders_if_bought, drawn.spend_if_bought, drawn.spend)

        covered = []
        for _ in range(30):
            spread = fit_spread([moved() for _ in range(6)])
            for _ in range(3):
                later = moved()
                low, high = spend_range(p, later.spend_if_bought, later.orders_if_bought, spread)
                covered.append(((later.spend >= low) & (later.spend <= high)).mean())
        assert 0.79 < np.mean(covered) < 0.92

    def test_is_narrower_for_who_orders_often(self) -> None:
        rng = np.random.default_rng(1)
        spread = fit_spread([window(rng, 0.9, n=20_000)])
        low, high = spend_range(np.ones(2), np.full(2, 100.0), np.array([1.2, 6.0]), spread)
        assert high[0] - low[0] > 1.5 * (high[1] - low[1])

    def test_is_in_order_and_in_proportion_to_what_is_expected(self) -> None:
        p = np.array([0.0, 0.05, 0.1, 0.5, 0.9, 1.0, 1.0])
        expected = np.array([0.0, 20.0, 20.0, 20.0, 20.0, 20.0, 40.0])
        low, high = spend_range(p, expected, np.full(7, 1.5), SpendSpread.unknown())
        assert np.isfinite([low, high]).all()
        assert (low >= 0).all()
        assert (low <= high).all()
        assert low[:4].tolist() == [0.0] * 4
        assert high[:3].tolist() == [0.0] * 3  # not buying alone covers more than four fifths
        assert 0 < low[5] < 20 < high[5]
        assert (low[6], high[6]) == (pytest.approx(2 * low[5]), pytest.approx(2 * high[5]))

    def test_windows_that_differ_more_widen_it(self) -> None:
        rng = np.random.default_rng(2)
        steady = fit_spread([window(rng, 0.95) for _ in range(4)])
        moving = fit_spread([window(rng, 0.95, moved=moved) for moved in (-0.4, 0.0, 0.4, 0.0)])
        assert steady.drift_spend < 0.03 < 0.2 < moving.drift_spend
        ranges = [spend_range(np.ones(1), np.ones(1), np.full(1, 3.0), spread) for spread in (steady, moving)]
        assert ranges[1][0] < ranges[0][0] < ranges[0][1] < ranges[1][1]


class TestSpread:
    def test_a_few_buyers_teach_none(self) -> None:
        rng = np.random.default_rng(0)
        assert fit_spread([window(rng, 1.0, n=39)]) == SpendSpread.unknown()
        assert fit_spread([]) == SpendSpread.unknown()
        assert fit_spread([window(rng, 1.0, n=40)]) != SpendSpread.unknown()

    def test_small_spend_counts_and_none_does_not(self) -> None:
        one = window(np.random.default_rng(0), 1.0, n=400)
        cheap = ObservedWindow(
            one.log_odds, one.bought, one.orders_if_bought, one.spend_if_bought / 1e3, one.spend / 1e3
        )
        assert (cheap.spend < 1.0).all()
        found, wanted = fit_spread([cheap]), fit_spread([one])
        np.testing.assert_allclose(found.scatter.quantiles, wanted.scatter.quantiles, rtol=1e-9)
        unpaid = np.append(np.zeros(100), np.ones(300))
        partly = ObservedWindow(one.log_odds, one.bought, one.orders_if_bought, one.spend_if_bought, one.spend * unpaid)
        rest = ObservedWindow(*(column[100:] for column in vars(one).values()))
        assert fit_spread([partly]).scatter == fit_spread([rest]).scatter

    def test_survives_json(self) -> None:
        import json

        spread = fit_spread([window(np.random.default_rng(0), 0.5)])
        assert SpendSpread.from_dict(json.loads(json.dumps(spread.to_dict()))) == spread


class TestScatter:
    def test_quantiles_match_the_normal_ones_they_were_learned_from(self) -> None:
        from scipy.special import ndtri

        rng = np.random.default_rng(5)
        given = rng.random(60_000)
        found = fit_conditional_quantiles(given, rng.normal(0, 1 + given))
        levels = np.array([0.1, 0.25, 0.5, 0.9])
        np.testing.assert_allclose(found.quantile(np.full(4, 0.5), levels), 1.5 * ndtri(levels), atol=0.06)

    def test_rises_with_the_level_and_stays_inside_what_was_learned(self) -> None:
        scatter = ConditionalQuantiles((0.0, 1.0), (tuple(np.arange(17.0)), tuple(2 * np.arange(17.0))))
        levels = np.linspace(0, 1, 101)
        for given in (-5.0, 0.0, 0.4, 1.0, 9.0):
            found = scatter.quantile(np.full(101, given), levels)
            assert (np.diff(found) >= 0).all()
            assert found[-1] == 16 * (1 + np.clip(given, 0, 1))
        assert scatter.quantile(np.array([0.5]), np.array([QUANTILE_LEVELS[3]])).tolist() == [4.5]

    def test_equal_customers_make_one_group(self) -> None:
        assert fit_conditional_quantiles(np.ones(1_000), np.arange(1_000.0)).at == (1.0,)
