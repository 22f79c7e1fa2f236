"""Fits: known parameters found again, nothing but the customers matters, and every log ends in usable parameters."""

import json
import warnings
from collections.abc import Callable
from datetime import date

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.i18n.messages import message
from repurchase.models.btyd.fitting import LikelihoodPoint, Optimum, fit_btyd, fit_gamma_gamma, purchase_likelihood
from repurchase.models.btyd.model import BtydModel, Family, GammaGamma, count_equal_rows
from repurchase.models.snapshots import Snapshots

Floats = npt.NDArray[np.float64]
Customers = tuple[Floats, Floats, Floats]
Simulate = Callable[..., tuple[Floats, ...]]


def parameters(fit: BtydModel) -> list[float]:
    return [fit.r, fit.alpha, fit.a, fit.b]


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_finds_known_parameters_again(family: Family, simulate_customers: Simulate) -> None:
    """20,000 customers: r, alpha and the mean dropout within 6 %, how alike customers' dropout is within 15 %."""
    x, t_x, T, _ = simulate_customers(family, customers=20_000, r=0.6, alpha=45.0, a=0.9, b=2.5, seed=0)
    fit = fit_btyd(x, t_x, T, families=(family,))
    assert (fit.family, fit.note) == (family, None)
    assert fit.r == pytest.approx(0.6, rel=0.06)
    assert fit.alpha == pytest.approx(45.0, rel=0.06)
    assert fit.a / (fit.a + fit.b) == pytest.approx(0.9 / 3.4, rel=0.06)
    assert fit.a + fit.b == pytest.approx(3.4, rel=0.15)


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
@pytest.mark.parametrize("truth", [(0.6, 45.0, 0.9, 2.5), (2.0, 60.0, 0.2, 4.0), (0.2, 20.0, 3.0, 3.0)])
def test_is_no_further_from_the_truth_than_chance_allows(
    family: Family, truth: tuple[float, ...], simulate_customers: Simulate
) -> None:
    """The logarithms' distance, in standard errors and squared, is chi-squared: above 23.5 once in 10,000 times."""
    world = dict(zip(("r", "alpha", "a", "b"), truth, strict=True))
    x, t_x, T, _ = simulate_customers(family, customers=4_000, **world, seed=8)
    fit = fit_btyd(x, t_x, T, families=(family,))
    assert fit.note is None
    error = np.log(parameters(fit)) - np.log(truth)
    point = purchase_likelihood(family, *count_equal_rows(x, t_x, T))(np.log(parameters(fit)))
    assert error @ -point.curvature @ error < 23.5
    assert (np.abs(point.slope) < 1e-4 * np.sqrt(-np.diag(point.curvature))).all()


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_knows_the_family_the_customers_came_from(family: Family, simulate_customers: Simulate) -> None:
    x, t_x, T, _ = simulate_customers(family, customers=5_000, r=0.6, alpha=45.0, a=0.9, b=2.5, seed=3)
    assert fit_btyd(x, t_x, T).family == family


@pytest.fixture(scope="module")
def shop(simulate_customers: Simulate) -> Customers:
    x, t_x, T, _ = simulate_customers("bgnbd", customers=3_000, r=0.7, alpha=40.0, a=0.8, b=2.5, seed=4)
    return x, np.round(t_x), np.round(T)


@pytest.fixture(scope="module")
def fitted(shop: Customers) -> BtydModel:
    return fit_btyd(*shop, families=("bgnbd",))


class TestFit:
    def test_equal_rows_count_as_often_as_they_occur(self, shop: Customers, fitted: BtydModel) -> None:
        five_times = fit_btyd(*(np.tile(column, 5) for column in shop), families=("bgnbd",))
        np.testing.assert_allclose(parameters(five_times), parameters(fitted), rtol=1e-9)
        assert five_times.log_likelihood == pytest.approx(5 * fitted.log_likelihood, rel=1e-12)

    @pytest.mark.parametrize("start", [(0.05, 0.05, 30.0), (8.0, 4.0, 0.5), (0.5, 30.0, 30.0)])
    def test_ends_in_the_same_place_wherever_it_starts(
        self, shop: Customers, fitted: BtydModel, start: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("repurchase.models.btyd.fitting._TYPICAL_PARAMETERS", start)
        again = fit_btyd(*shop, families=("bgnbd",))
        assert again.log_likelihood == pytest.approx(fitted.log_likelihood, abs=1e-6)
        np.testing.assert_allclose(parameters(again), parameters(fitted), rtol=1e-5)

    def test_a_first_search_that_fails_is_not_the_last(
        self, shop: Customers, fitted: BtydModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("repurchase.models.btyd.fitting._TYPICAL_PARAMETERS", (1e-9, 0.8, 2.5))
        again = fit_btyd(*shop, families=("bgnbd",))
        assert again.note is None
        np.testing.assert_allclose(parameters(again), parameters(fitted), rtol=1e-5)

    def test_the_order_of_customers_does_not_matter(self, shop: Customers, fitted: BtydModel) -> None:
        mixed = np.random.default_rng(0).permutation(len(shop[0]))
        assert fit_btyd(*(column[mixed] for column in shop), families=("bgnbd",)) == fitted

    def test_weeks_say_what_days_say(self, shop: Customers, fitted: BtydModel) -> None:
        x, t_x, T = shop
        weeks = fit_btyd(x, t_x / 7, T / 7, families=("bgnbd",))
        np.testing.assert_allclose(parameters(weeks), [fitted.r, fitted.alpha / 7, fitted.a, fitted.b], rtol=1e-7)
        assert weeks.log_likelihood == pytest.approx(fitted.log_likelihood + x.sum() * np.log(7), rel=1e-10)

    def test_leaves_the_process_as_it_was(self, shop: Customers, capfd: pytest.CaptureFixture[str]) -> None:
        filters, errors = list(warnings.filters), np.geterr()
        fit_btyd(*(column[:300] for column in shop))
        fit_btyd(np.full(50, 3), np.full(50, 30), np.full(50, 30))
        fit_gamma_gamma(np.arange(1, 51), np.full(50, 12.5))
        assert warnings.filters == filters
        assert np.geterr() == errors
        assert capfd.readouterr() == ("", "")


def test_other_days_fits_change_no_digit(shop_snapshots: Snapshots) -> None:
    days = [date(2024, 6, 30), date(2024, 9, 30), date(2024, 12, 31)]
    forward, backward = (Snapshots(shop_snapshots.ledger, horizons=(60,)) for _ in range(2))
    first = [forward.btyd(day, "mbgnbd") for day in days]
    assert [backward.btyd(day, "mbgnbd") for day in reversed(days)] == first[::-1]
    assert len({fit.r for fit in first}) == 3


HARD = {
    "all bought once": (np.zeros(500), np.zeros(500), np.linspace(1, 500, 500)),
    "nine repeat buyers": (np.r_[np.ones(9), np.zeros(400)], np.r_[np.full(9, 5), np.zeros(400)], np.full(409, 90)),
    "ten repeat buyers": (np.r_[np.ones(10), np.zeros(400)], np.r_[np.full(10, 5), np.zeros(400)], np.full(410, 90)),
    "one customer": ([3], [60], [90]),
    "first day": (np.zeros(80), np.zeros(80), np.zeros(80)),
    "second day": (np.arange(80) % 2, np.arange(80) % 2, np.ones(80)),
    "all the same": (np.full(200, 3), np.full(200, 90), np.full(200, 100)),
    "like clockwork, nobody leaves": (np.arange(100, 400) // 10, np.arange(100, 400) - 1.0, np.arange(100, 400)),
    "everyone leaves after one more": (np.ones(500), np.linspace(1, 50, 500), np.full(500, 700)),
    "one buys 1,000 times": (np.r_[np.arange(199) % 4, 1_000], np.r_[np.arange(199) % 4 * 20, 730], np.full(200, 731)),
    "one buys 20,000 times": (np.r_[np.arange(60) % 4, 20_000], np.r_[np.arange(60) % 4 * 20, 730], np.full(61, 731)),
    "nobody": ([], [], []),
}


def kinds() -> Customers:
    """Customers of every kind: new, one-time and old, active and lapsed, up to 20,000 repeat purchases."""
    x, share, age = np.meshgrid([0, 1, 2, 10, 300, 20_000], [0.0, 0.3, 0.9, 1.0], [0, 1, 30, 400, 5_000])
    return x.ravel().astype(float), (np.where(x == 0, 0.0, share) * age).ravel(), age.ravel().astype(float)


@pytest.mark.parametrize("families", [("mbgnbd", "bgnbd"), ("mbgnbd",), ("bgnbd",)])
@pytest.mark.parametrize("name", HARD)
def test_hard_logs_end_in_usable_parameters(name: str, families: tuple[Family, ...]) -> None:
    fit = fit_btyd(*HARD[name], families=families)
    assert np.isfinite(parameters(fit)).all()
    assert min(fit.r, fit.alpha, fit.b) > 0
    assert fit.family in {*families, "nbd"}
    if fit.family == "nbd":
        assert fit.note == message("model_note.no_dropout")
    for h in (7.0, 365.0):
        p, orders = fit.p_purchase(*kinds(), horizon_days=h), fit.expected_purchases(*kinds(), horizon_days=h)
        assert ((p >= 0) & (p <= 1)).all()
        assert (orders >= p - 1e-9).all()
        assert np.isfinite(orders).all()
    assert json.loads(json.dumps(fit.to_dict(), allow_nan=False)) == fit.to_dict()


@pytest.mark.parametrize("name", ["all bought once", "nine repeat buyers", "one customer", "first day", "nobody"])
def test_too_few_repeat_buyers_fall_back_by_name(name: str) -> None:
    fit = fit_btyd(*HARD[name])
    assert fit.family == "nbd"
    assert fit.note == message("model_note.no_dropout")


def test_no_family_left_falls_back_too(shop: Customers) -> None:
    fit = fit_btyd(shop[0], shop[1], np.full(len(shop[0]), np.nan), families=("bgnbd",))
    assert fit.family == "nbd"


@pytest.mark.parametrize("seed", range(8))
def test_two_hundred_customers_are_enough_for_a_plain_fit(seed: int, simulate_customers: Simulate) -> None:
    x, t_x, T, after = simulate_customers(
        "mbgnbd", customers=200, r=0.5, alpha=60.0, a=0.5, b=1.5, until=90.0, seed=seed
    )
    fit = fit_btyd(x, t_x, T)
    assert fit.note is None
    assert fit.expected_purchases(x, t_x, T, horizon_days=90).sum() == pytest.approx(after.sum(), rel=0.35)


class TestRidges:
    """Where the likelihood rises without end, a weak prior ends it at little cost, and the note says so."""

    @pytest.mark.parametrize("customers", [200, 2_000])
    @pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
    def test_customers_who_never_leave_are_not_said_to(self, family: Family, customers: int) -> None:
        rng = np.random.default_rng(1)
        age = rng.uniform(200, 700, customers)
        x = rng.poisson(rng.gamma(3.0, 1 / 60, customers) * age).astype(float)
        last = age * rng.beta(np.maximum(x, 1), 1)  # of x purchases spread evenly over the age
        t_x = np.where(x > 0, last, 0.0)
        fit = fit_btyd(x, t_x, age, families=(family,))
        assert fit.family == family
        assert fit.note == message("model_note.prior", names="a, b")
        assert fit.a / (fit.a + fit.b) < 0.001
        assert fit.r / fit.alpha == pytest.approx(3.0 / 60, rel=0.1)
        never = purchase_likelihood(family, *count_equal_rows(x, t_x, age))(np.log([fit.r, fit.alpha, 1e-12, fit.b]))
        assert fit.log_likelihood == pytest.approx(never.value, abs=1.0)

    def test_customers_who_leave_at_once_are_said_to(self, simulate_customers: Simulate) -> None:
        x, t_x, T, _ = simulate_customers("bgnbd", customers=3_000, r=0.7, alpha=40.0, a=800.0, b=0.1, seed=4)
        assert x.max() == 1
        fit = fit_btyd(x, t_x, T, families=("bgnbd",))
        assert fit.note is not None
        assert fit.note["key"] == "model_note.prior"
        assert fit.a / (fit.a + fit.b) > 0.99
        assert (fit.p_alive(x, t_x, T)[x > 0] < 0.01).mean() > 0.9

    def test_customers_who_are_alike_are_said_to_be(self, simulate_customers: Simulate) -> None:
        x, t_x, T, _ = simulate_customers("bgnbd", customers=3_000, r=5e4, alpha=4e6, a=0.8, b=2.5, seed=4)
        fit = fit_btyd(x, t_x, T, families=("bgnbd",))
        assert fit.note == message("model_note.prior", names="r, alpha")
        assert fit.r > 50
        assert fit.r / fit.alpha == pytest.approx(5e4 / 4e6, rel=0.05)
        assert fit.a / (fit.a + fit.b) == pytest.approx(0.8 / 3.3, rel=0.1)


def test_a_is_kept_off_1_where_the_formulas_divide_by_zero(shop: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = Optimum(np.log([0.7, 40.0, 1.0, 2.5]), LikelihoodPoint(0.0, np.zeros(4), -10.0 * np.eye(4)), converged=True)
    monkeypatch.setattr("repurchase.models.btyd.fitting.newton_maximize", lambda *_: peak)
    fit = fit_btyd(*shop, families=("bgnbd",))
    assert fit.a == pytest.approx(1.0 + 2e-6, abs=1e-12)
    assert np.isfinite(fit.expected_purchases(*kinds(), horizon_days=90)).all()


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

    def test_the_order_of_customers_does_not_matter(self) -> None:
        x, means = self.shop(p=2.0, q=3.0, v=50.0, customers=3_000)
        mixed = np.random.default_rng(0).permutation(len(x))
        assert fit_gamma_gamma(x[mixed], means[mixed]) == fit_gamma_gamma(x, means)

    def test_cents_say_what_euros_say(self) -> None:
        x, means = self.shop(p=2.0, q=3.0, v=50.0, customers=3_000)
        euros, cents = fit_gamma_gamma(x, means), fit_gamma_gamma(x, means * 100)
        np.testing.assert_allclose([cents.p, cents.q, cents.v / 100], [euros.p, euros.q, euros.v], rtol=1e-8)
        assert cents.log_likelihood == pytest.approx(euros.log_likelihood - 3_000 * np.log(100), rel=1e-10)

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

    def test_customers_who_spend_the_same_each_time_give_way_to_the_median(self) -> None:
        x, means = self.shop(p=900.0, q=4.0, v=0.1, customers=500)
        assert fit_gamma_gamma(x, means).fallback_mean == np.median(means)

    @pytest.mark.parametrize(("name", "limit"), [("_MAX_P", 3.0), ("_MIN_Q", 8.0), ("_MIN_REPEAT_BUYERS", 3_001)])
    def test_what_is_out_of_bounds_gives_way(self, name: str, limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
        x, means = self.shop(p=6.0, q=4.0, v=15.0, customers=3_000)
        assert fit_gamma_gamma(x, means).fallback_mean is None
        monkeypatch.setattr(f"repurchase.models.btyd.fitting.{name}", limit)
        assert fit_gamma_gamma(x, means).fallback_mean == np.median(means)

    def test_the_fallback_is_the_median_shrunk_to_own_means(self) -> None:
        means = np.r_[np.full(200, 12.5), np.full(100, 40.0)][:9]
        fit = fit_gamma_gamma(np.ones(9), means)
        assert fit.fallback_mean == 12.5
        assert fit.expected_value([0, 2], [np.nan, 50.0]).tolist() == [12.5, 31.25]
