"""A buyer's money: totals are held, outliers are not followed."""

import json

import numpy as np
import pytest

from repurchase.models.snapshots import FeatureMatrix
from repurchase.models.spend import SpendModel, _gamma_line, fit_spend, mix_with_gamma_gamma


def buyers(n: int, *, seed: int) -> tuple[FeatureMatrix, np.ndarray]:
    """Buyers whose money is, on average, two and a half times their typical day."""
    rng = np.random.default_rng(seed)
    typical = rng.lognormal(3, 0.8, n)
    design = FeatureMatrix({"spend_typical": typical, "frequency": np.floor(rng.gamma(1, 3, n)), "rate": rng.random(n)})
    return design, 2.5 * typical * rng.lognormal(-0.32, 0.8, n)


@pytest.fixture(scope="module")
def head() -> SpendModel:
    head = fit_spend(*buyers(5_000, seed=1), np.ones(5_000))
    assert head is not None
    return head


def test_holds_the_total_and_follows_the_customer(head: SpendModel) -> None:
    design, spend = buyers(5_000, seed=2)
    expected = head.if_bought(design)
    assert expected.sum() == pytest.approx(spend.sum(), rel=0.05)
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        typical = design["spend_typical"]
        band = (typical >= np.quantile(typical, low)) & (typical <= np.quantile(typical, high))
        assert expected[band].sum() == pytest.approx(spend[band].sum(), rel=0.15)


def test_a_giant_order_moves_no_one_elses_money_much(head: SpendModel) -> None:
    design, spend = buyers(5_000, seed=1)
    giant = np.where(np.arange(5_000) == 77, 1e9, spend)
    moved = fit_spend(design, giant, np.ones(5_000))
    assert moved is not None
    ratio = moved.if_bought(design) / head.if_bought(design)
    assert 0.8 < np.median(ratio) < 1.25


def test_stays_in_bounds_for_a_customer_unlike_any_seen(head: SpendModel) -> None:
    odd = FeatureMatrix(
        {
            "spend_typical": np.array([1e12, 1e-9, np.nan]),
            "frequency": np.array([1e6, 0.0, 0.0]),
            "rate": np.zeros(3),
        }
    )
    money = head.if_bought(odd)
    _, spend = buyers(5_000, seed=1)
    assert ((money > 0) & (money < 3 * spend.max())).all()


def test_few_buyers_or_none_teach_nothing() -> None:
    design, spend = buyers(150, seed=3)
    assert fit_spend(design.rows(slice(99)), spend[:99], np.ones(99)) is None
    assert fit_spend(design, np.where(np.arange(150) < 99, spend, -1.0), np.ones(150)) is None
    assert fit_spend(design, spend, np.ones(150)) is not None


def test_one_price_is_that_price() -> None:
    design, _ = buyers(300, seed=4)
    head = fit_spend(FeatureMatrix({**design, "spend_typical": np.full(300, 12.5)}), np.full(300, 12.5), np.ones(300))
    assert head is not None
    np.testing.assert_allclose(head.if_bought(design), 12.5, rtol=0.05)


def test_comes_through_json_exactly(head: SpendModel) -> None:
    assert SpendModel.from_dict(json.loads(json.dumps(head.to_dict(), allow_nan=False))) == head


@pytest.mark.parametrize(("true", "found"), [(0.2, 0.5), (0.6, 0.6), (1.0, 1.0), (1.4, 1.4), (3.0, 1.5)])
def test_the_slope_of_money_is_found_within_bounds(true: float, found: float) -> None:
    x = np.linspace(-1.0, 1.0, 201)
    a, b = _gamma_line(x, np.exp(0.3 + true * x), np.ones(201))
    assert b == pytest.approx(found, abs=1e-4)
    if true == found:
        assert a == pytest.approx(0.3, abs=1e-4)


def test_the_mix_lies_between_its_parts() -> None:
    learned, per_order, rate = np.array([50.0, 50.0]), np.array([20.0, 20.0]), np.array([1e-6, 0.1])
    seen = np.array([0.0, 0.0])
    mixed = mix_with_gamma_gamma(learned, per_order=per_order, rate=rate, frequency=seen, horizon_days=30)
    days = 0.1 * 30 / -np.expm1(-0.1 * 30)
    assert 20 < mixed[0] < 50  # hardly more than one purchase day, at 20
    assert 50 < mixed[1] < 20 * days


def test_gamma_gamma_has_less_of_a_say_about_a_well_known_customer() -> None:
    learned, rate, seen = np.full(3, 50.0), np.full(3, 1e-6), np.array([0.0, 10.0, 1e6])
    mixed = mix_with_gamma_gamma(learned, per_order=np.full(3, 20.0), rate=rate, frequency=seen, horizon_days=30)
    np.testing.assert_allclose(mixed, [50**0.5 * 20**0.5, 50**0.75 * 20**0.25, 50.0], rtol=1e-3)
