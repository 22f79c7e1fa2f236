"""Buy-till-you-die models: what every answer must satisfy."""

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.models.btyd.model import BtydForecast, BtydModel, DistinctPairs, Family, GammaGamma

Floats = npt.NDArray[np.float64]
HORIZONS = (1.0, 7.0, 30.0, 90.0, 365.0, 3650.0)
MODELS = {
    "usual": BtydModel("mbgnbd", 0.55, 60.0, 0.9, 3.0),
    "usual, dropout after repeats": BtydModel("bgnbd", 0.55, 60.0, 0.9, 3.0),
    "a just below 1": BtydModel("bgnbd", 0.8, 30.0, 1 - 1e-6, 2.5),
    "a just above 1": BtydModel("mbgnbd", 0.8, 30.0, 1 + 2e-6, 2.5),
    "a above 1": BtydModel("bgnbd", 1.3, 12.0, 2.2, 9.0),
    "hardly any dropout": BtydModel("mbgnbd", 0.3, 5.0, 1e-3, 50.0),
    "most drop out": BtydModel("bgnbd", 5.0, 400.0, 6.0, 0.2),
    "no dropout": BtydModel("nbd", 0.4, 20.0, 0.0, 1.0),
}


def customers() -> tuple[Floats, Floats, Floats]:
    """Every kind: new, one-time and old, active and lapsed, up to 20,000 repeat purchases."""
    x, share, age = np.meshgrid([0, 1, 2, 10, 300, 5_000, 20_000], [0.0, 0.3, 0.9, 1.0], [0, 1, 30, 400, 5_000])
    share = np.where(x == 0, 0.0, share)
    return x.ravel().astype(float), (share * age).ravel(), age.ravel().astype(float)


@pytest.mark.parametrize("name", MODELS)
class TestAnswers:
    def test_probabilities_are_probabilities_for_any_customer(self, name: str) -> None:
        fit, who = MODELS[name], customers()
        for values in (fit.p_alive(*who), *(fit.p_purchase(*who, horizon_days=h) for h in HORIZONS)):
            assert np.isfinite(values).all()
            assert ((values >= 0) & (values <= 1)).all()

    def test_longer_horizons_hold_more(self, name: str) -> None:
        fit, who = MODELS[name], customers()
        p = np.array([fit.p_purchase(*who, horizon_days=h) for h in HORIZONS])
        orders = np.array([fit.expected_purchases(*who, horizon_days=h) for h in HORIZONS])
        assert (np.diff(p, axis=0) >= 0).all()
        assert (np.diff(orders, axis=0) >= -1e-9 * orders[1:]).all()

    def test_expected_orders_are_finite_and_no_fewer_than_the_chance_of_one(self, name: str) -> None:
        fit, (x, t_x, T) = MODELS[name], customers()
        for h in HORIZONS:
            orders = fit.expected_purchases(x, t_x, T, horizon_days=h)
            assert np.isfinite(orders).all()
            assert (orders >= fit.p_purchase(x, t_x, T, horizon_days=h) - 1e-9).all()
            assert (orders <= (fit.r + x) / (fit.alpha + T) * h * (1 + 1e-9)).all()  # what a living customer would buy

    def test_customers_do_not_change_each_others_digits(self, name: str) -> None:
        fit, who = MODELS[name], customers()
        whole = fit.expected_purchases(*who, horizon_days=90)
        alone = [
            fit.expected_purchases(*(column[[index]] for column in who), horizon_days=90)[0] for index in range(40)
        ]
        assert whole[:40].tolist() == alone

    def test_come_through_json_exactly(self, name: str) -> None:
        fit = MODELS[name]
        again = BtydModel.from_dict(json.loads(json.dumps(fit.to_dict())))
        assert again.to_dict() == fit.to_dict()
        who = customers()
        again_p, p = (one.p_purchase(*who, horizon_days=30).tolist() for one in (again, fit))
        assert again_p == p


def test_a_heavy_buyer_long_silent_is_gone_and_a_recent_one_is_not() -> None:
    for fit in (MODELS["usual"], MODELS["usual, dropout after repeats"]):
        lapsed, active = fit.p_alive([20_000, 20_000], [100, 5_000], [5_000, 5_000])
        assert lapsed == 0.0
        assert active > 0.99


def test_one_time_buyers_fade_in_mbgnbd_only() -> None:
    assert MODELS["usual, dropout after repeats"].p_alive([0], [0], [3_000]) == [1.0]
    fading = MODELS["usual"].p_alive([0, 0, 0], [0, 0, 0], [0, 300, 3_000])
    assert (np.diff(fading) < 0).all()


def test_nothing_jumps_where_a_passes_1() -> None:
    def orders(a: float) -> Floats:
        return BtydModel("mbgnbd", 0.8, 30.0, a, 2.5).expected_purchases(
            [0, 3, 40], [0, 50, 390], [90, 90, 400], horizon_days=90
        )

    np.testing.assert_allclose(orders(1 + 2e-6), (orders(1 - 1e-3) + orders(1 + 1e-3)) / 2, rtol=1e-5)


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_agrees_with_simulated_customers(family: Family, simulate_customers: Callable[..., tuple[Floats, ...]]) -> None:
    """Within four standard errors, in each of seven kinds of customers, of 60,000 whose parameters are known."""
    world = {"r": 0.8, "alpha": 50.0, "a": 0.8, "b": 2.0}
    x, t_x, T, after = simulate_customers(family, customers=60_000, **world, until=60.0, seed=11)
    fit = BtydModel(family, **world)
    p = fit.p_purchase(x, t_x, T, horizon_days=60)
    orders = fit.expected_purchases(x, t_x, T, horizon_days=60)
    recent = T - t_x < 60
    kinds = [(x == 0) & (T < 300), (x == 0) & (T >= 300)]
    kinds += [(x == 1) & recent, (x == 1) & ~recent, (x > 1) & (x < 5) & ~recent, (x > 1) & recent, (x >= 5) & ~recent]
    for kind in kinds:
        n = kind.sum()
        assert n > 500
        assert p[kind].mean() == pytest.approx((after[kind] > 0).mean(), abs=4 * np.sqrt(0.25 / n))
        assert orders[kind].mean() == pytest.approx(after[kind].mean(), abs=4 * after[kind].std() / np.sqrt(n))


def test_spend_shrinks_toward_the_shop_the_less_the_more_is_known() -> None:
    fit = GammaGamma(6.0, 4.0, 15.0)
    newcomer, *known = fit.expected_value([0, 1, 3, 50, 5_000], [np.nan, 90, 90, 90, 90])
    assert newcomer == pytest.approx(30.0)
    assert (np.diff([newcomer, *known]) > 0).all()
    assert known[-1] == pytest.approx(90, rel=1e-3)


@pytest.mark.parametrize("horizon_days", [1, 90, 365])
def test_dropout_only_takes_away_also_where_digits_are_lost(horizon_days: int) -> None:
    """Nearly everybody buys daily: r and alpha run into the ten thousands, and the closed form loses all its digits."""
    daily = BtydModel("bgnbd", 52880.9, 52880.65, 0.00096, 10.6)
    x = np.array([0.0, 3.0, 20.0])
    found = daily.expected_purchases(x, x, x, horizon_days=horizon_days)
    without_dropout = (daily.r + x) / (daily.alpha + x) * horizon_days
    assert (found > 0).all()
    assert (found <= without_dropout).all()
    np.testing.assert_allclose(found, without_dropout, rtol=0.05)


@pytest.mark.parametrize("family", ["mbgnbd", "bgnbd", "nbd"])
def test_an_outlook_has_the_bits_of_each_answer_alone(family: Family) -> None:
    fit = BtydModel(family, 0.6, 30.0, 0.8, 3.0)
    rng = np.random.default_rng(0)
    x, T = np.floor(rng.gamma(0.6, 4.0, 500)), np.floor(rng.uniform(1, 700, 500))
    t_x = np.where(x > 0, np.floor(T * rng.random(500)), 0.0)
    pairs = DistinctPairs(x, T)
    some = slice(100, 200)
    block = BtydForecast(fit, (x[some], t_x[some], T[some]), pairs.rows(100, 200))
    assert block.p_alive.tobytes() == fit.p_alive(x, t_x, T)[some].tobytes()
    for days in (30, 365):
        wanted = fit.p_purchase(x, t_x, T, horizon_days=days), fit.expected_purchases(x, t_x, T, horizon_days=days)
        assert block.p_purchase(days).tobytes() == wanted[0][some].tobytes()
        assert block.expected_purchases(days).tobytes() == wanted[1][some].tobytes()
