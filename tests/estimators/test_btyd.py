"""Buy-till-you-die models: what every answer must satisfy, known parameters found again, and named fallbacks."""

import json
import warnings

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.estimators.btyd import Btyd, Family, GammaGamma, fit_btyd, fit_gamma_gamma

Floats = npt.NDArray[np.float64]
HORIZONS = (1.0, 7.0, 30.0, 90.0, 365.0, 3650.0)
MODELS = {
    "usual": Btyd("mbgnbd", 0.55, 60.0, 0.9, 3.0),
    "usual, dropout after repeats": Btyd("bgnbd", 0.55, 60.0, 0.9, 3.0),
    "a just below 1": Btyd("bgnbd", 0.8, 30.0, 1 - 1e-6, 2.5),
    "a just above 1": Btyd("mbgnbd", 0.8, 30.0, 1 + 2e-6, 2.5),
    "a above 1": Btyd("bgnbd", 1.3, 12.0, 2.2, 9.0),
    "hardly any dropout": Btyd("mbgnbd", 0.3, 5.0, 1e-3, 50.0),
    "most drop out": Btyd("bgnbd", 5.0, 400.0, 6.0, 0.2),
    "no dropout": Btyd("nbd", 0.4, 20.0, 0.0, 1.0),
}


def simulate(
    family: Family, *, customers: int, r: float, alpha: float, a: float, b: float, until: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, Floats, Floats]:
    """x, t_x, T, and purchases in (T, T + ``until``], in continuous time; T is spread evenly over 100 to 700 days."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(100, 700, customers)
    rate, leaves = rng.gamma(r, 1 / alpha, customers), rng.beta(a, b, customers)
    alive = rng.random(customers) >= leaves if family == "mbgnbd" else np.ones(customers, dtype=bool)
    clock, x, t_x, after = np.zeros(customers), np.zeros(customers), np.zeros(customers), np.zeros(customers)
    while alive.any():
        clock = clock + rng.exponential(1, customers) / rate
        seen = alive & (clock <= age)
        x, t_x = x + seen, np.where(seen, clock, t_x)
        after = after + (alive & (clock > age) & (clock <= age + until))
        alive &= (clock <= age + until) & (rng.random(customers) >= leaves)
    return x, t_x, age, after


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
            fit.expected_purchases(*(column[[place]] for column in who), horizon_days=90)[0] for place in range(40)
        ]
        assert whole[:40].tolist() == alone

    def test_come_through_json_exactly(self, name: str) -> None:
        fit = MODELS[name]
        again = Btyd.from_dict(json.loads(json.dumps(fit.to_dict())))
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
        return Btyd("mbgnbd", 0.8, 30.0, a, 2.5).expected_purchases(
            [0, 3, 40], [0, 50, 390], [90, 90, 400], horizon_days=90
        )

    np.testing.assert_allclose(orders(1 + 2e-6), (orders(1 - 1e-3) + orders(1 + 1e-3)) / 2, rtol=1e-5)


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_agrees_with_simulated_customers(family: Family) -> None:
    """Within four standard errors, in each of seven kinds of customers, of 60,000 whose parameters are known."""
    world = {"r": 0.8, "alpha": 50.0, "a": 0.8, "b": 2.0}
    x, t_x, T, after = simulate(family, customers=60_000, **world, until=60.0, seed=11)
    fit = Btyd(family, **world)
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


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_finds_known_parameters_again(family: Family) -> None:
    """20,000 customers: r, alpha and the mean dropout within 6 %, how alike customers' dropout is within 15 %."""
    x, t_x, T, _ = simulate(family, customers=20_000, r=0.6, alpha=45.0, a=0.9, b=2.5, seed=0)
    fit = fit_btyd(x, t_x, T, families=(family,))
    assert (fit.family, fit.note) == (family, "")
    assert fit.r == pytest.approx(0.6, rel=0.06)
    assert fit.alpha == pytest.approx(45.0, rel=0.06)
    assert fit.a / (fit.a + fit.b) == pytest.approx(0.9 / 3.4, rel=0.06)
    assert fit.a + fit.b == pytest.approx(3.4, rel=0.15)


@pytest.fixture(scope="module")
def shop() -> tuple[Floats, Floats, Floats]:
    x, t_x, T, _ = simulate("bgnbd", customers=3_000, r=0.7, alpha=40.0, a=0.8, b=2.5, seed=4)
    return x, np.round(t_x), np.round(T)


@pytest.fixture(scope="module")
def fitted(shop: tuple[Floats, Floats, Floats]) -> Btyd:
    return fit_btyd(*shop, families=("bgnbd",))


class TestFit:
    def test_equal_rows_count_as_often_as_they_occur(self, shop: tuple[Floats, Floats, Floats], fitted: Btyd) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from lifetimes import BetaGeoFitter

            peer = BetaGeoFitter().fit(*shop, tol=1e-9)  # a row per customer
        found = [fitted.r, fitted.alpha, fitted.a, fitted.b]
        np.testing.assert_allclose(found, peer.params_[["r", "alpha", "a", "b"]], rtol=2e-3)
        five_times = fit_btyd(*(np.tile(column, 5) for column in shop), families=("bgnbd",))
        np.testing.assert_allclose([five_times.r, five_times.alpha, five_times.a, five_times.b], found, rtol=1e-6)
        assert five_times.log_likelihood == pytest.approx(5 * fitted.log_likelihood, rel=1e-9)

    @pytest.mark.parametrize("start", [Btyd("bgnbd", 3.0, 400.0, 4.0, 0.5), Btyd("bgnbd", 0.05, 1.0, 0.05, 30.0)])
    def test_ends_in_the_same_place_wherever_it_starts(
        self, shop: tuple[Floats, Floats, Floats], fitted: Btyd, start: Btyd
    ) -> None:
        again = fit_btyd(*shop, families=("bgnbd",), start=start)
        assert again.log_likelihood == pytest.approx(fitted.log_likelihood, abs=0.01)
        np.testing.assert_allclose(
            [again.r, again.alpha, again.a, again.b], [fitted.r, fitted.alpha, fitted.a, fitted.b], rtol=0.02
        )

    def test_the_order_of_customers_does_not_matter(self, shop: tuple[Floats, Floats, Floats], fitted: Btyd) -> None:
        mixed = np.random.default_rng(0).permutation(len(shop[0]))
        assert fit_btyd(*(column[mixed] for column in shop), families=("bgnbd",)) == fitted

    def test_leaves_the_process_as_it_was(
        self, shop: tuple[Floats, Floats, Floats], capfd: pytest.CaptureFixture[str]
    ) -> None:
        filters, errors = list(warnings.filters), np.geterr()
        fit_btyd(*(column[:300] for column in shop))
        fit_btyd(np.full(50, 3), np.full(50, 30), np.full(50, 30))
        fit_gamma_gamma(np.arange(1, 51), np.full(50, 12.5))
        assert warnings.filters == filters
        assert np.geterr() == errors
        assert capfd.readouterr() == ("", "")


HARD = {
    "all bought once": (np.zeros(500), np.zeros(500), np.linspace(1, 500, 500)),
    "nine repeat buyers": (np.r_[np.ones(9), np.zeros(400)], np.r_[np.full(9, 5), np.zeros(400)], np.full(409, 90)),
    "one customer": ([3], [60], [90]),
    "first day": (np.zeros(80), np.zeros(80), np.zeros(80)),
    "all the same": (np.full(200, 3), np.full(200, 90), np.full(200, 100)),
    "like clockwork, nobody leaves": (np.arange(100, 400) // 10, np.arange(100, 400) - 1.0, np.arange(100, 400)),
    "one buys 20,000 times": (np.r_[np.arange(60) % 4, 20_000], np.r_[np.arange(60) % 4 * 20, 730], np.full(61, 731)),
    "nobody": ([], [], []),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_logs_end_in_usable_parameters(name: str) -> None:
    fit = fit_btyd(*HARD[name])
    assert np.isfinite([fit.r, fit.alpha, fit.a, fit.b]).all()
    assert min(fit.r, fit.alpha, fit.b) > 0
    if fit.family == "nbd":
        assert fit.note.startswith("no dropout: ")
    who = customers()
    for h in (7.0, 365.0):
        p, orders = fit.p_purchase(*who, horizon_days=h), fit.expected_purchases(*who, horizon_days=h)
        assert ((p >= 0) & (p <= 1)).all()
        assert (orders >= p - 1e-9).all()
    assert json.loads(json.dumps(fit.to_dict(), allow_nan=False)) == fit.to_dict()


@pytest.mark.parametrize("name", ["all bought once", "nine repeat buyers", "one customer", "first day", "nobody"])
def test_too_few_repeat_buyers_fall_back_by_name(name: str) -> None:
    fit = fit_btyd(*HARD[name])
    assert fit.family == "nbd"
    assert "neither BG/NBD nor MBG/NBD converged" in fit.note


def test_customers_who_never_leave_are_not_said_to() -> None:
    rng = np.random.default_rng(1)
    age = rng.uniform(200, 700, 2_000)
    x = rng.poisson(rng.gamma(3.0, 1 / 60, 2_000) * age).astype(float)
    t_x = np.where(
        x > 0, age * rng.beta(np.maximum(x, 1), 1), 0.0
    )  # the last of x purchases spread evenly over the age
    fit = fit_btyd(x, t_x, age)
    assert fit.family == "nbd" or fit.a / (fit.a + fit.b) < 0.02
    assert fit.r / fit.alpha == pytest.approx(3.0 / 60, rel=0.1)


def test_the_fallback_keeps_the_mean_rate() -> None:
    fit = fit_btyd(np.zeros(400), np.zeros(400), np.full(400, 100.0))
    assert fit.r / fit.alpha == pytest.approx(0.5 / 40_000)


class TestGammaGamma:
    def shop(self, *, p: float, q: float, v: float, customers: int) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(9)
        x = 1.0 + rng.poisson(2.0, customers)
        return x, rng.gamma(p * x, 1 / rng.gamma(q, 1 / v, customers)) / x

    def test_finds_known_parameters_again(self) -> None:
        """20,000 repeat buyers: each parameter within 10 %, the mean within 2 %."""
        x, means = self.shop(p=6.0, q=4.0, v=15.0, customers=20_000)
        fit = fit_gamma_gamma(x, means)
        assert fit.fallback_mean is None
        assert (fit.p, fit.q, fit.v) == (
            pytest.approx(6, rel=0.1),
            pytest.approx(4, rel=0.1),
            pytest.approx(15, rel=0.1),
        )
        assert fit.p * fit.v / (fit.q - 1) == pytest.approx(30.0, rel=0.02)

    def test_shrinks_toward_the_shop_the_less_the_more_is_known(self) -> None:
        fit = GammaGamma(6.0, 4.0, 15.0)
        newcomer, *known = fit.expected_value([0, 1, 3, 50, 5_000], [np.nan, 90, 90, 90, 90])
        assert newcomer == pytest.approx(30.0)
        assert (np.diff([newcomer, *known]) > 0).all()
        assert known[-1] == pytest.approx(90, rel=1e-3)

    @pytest.mark.parametrize(
        "means",
        [
            np.full(300, 12.5),
            np.full(300, 1e-3),
            12.5 + np.arange(300) % 2 * 0.01,
            np.random.default_rng(3).pareto(0.8, 300) * 10 + 1,
            np.r_[np.full(9, 20.0), np.zeros(291)],
            np.r_[np.full(299, 20.0), 1e9],
            np.full(0, 1.0),
        ],
        ids=[
            "constant",
            "constant and small",
            "nearly constant",
            "pareto",
            "nine repeat buyers",
            "one giant",
            "nobody",
        ],
    )
    def test_money_that_does_not_fit_still_gives_money(self, means: Floats) -> None:
        x = np.where(means > 0, 1.0 + np.arange(len(means)) % 5, 0.0)
        fit = fit_gamma_gamma(x, means)
        if fit.fallback_mean is None:
            assert fit.q > 1.05
            assert fit.p <= 1e3
        asked = [0, 1, 4, 4_000]
        value = fit.expected_value(asked, [np.nan, 20.0, 20.0, 20.0])
        assert np.isfinite(value).all()
        assert (value >= 0).all()
        again = GammaGamma.from_dict(json.loads(json.dumps(fit.to_dict(), allow_nan=False)))
        assert again.expected_value(asked, [np.nan, 20.0, 20.0, 20.0]).tolist() == value.tolist()

    def test_the_fallback_is_the_median_shrunk_to_own_means(self) -> None:
        means = np.r_[np.full(200, 12.5), np.full(100, 40.0)][:9]
        fit = fit_gamma_gamma(np.ones(9), means)
        assert fit.fallback_mean == 12.5
        assert fit.expected_value([0, 2], [np.nan, 50.0]).tolist() == [12.5, 31.25]
