"""Purchase days of a buyer: learned where buyers teach, BTYD's where they do not."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.models.btyd.model import BtydForecast, BtydModel, DistinctPairs
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import FeatureMatrix
from repurchase.models.spend import PurchaseDaysModel, btyd_days_if_bought, fit_purchase_days, pace_factor

N = 4_000


def buyers(*, seed: int, n: int = N) -> tuple[FeatureMatrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    rate = rng.gamma(2.0, 0.02, n)
    return FeatureMatrix({"btyd_rate": rate, "frequency": np.floor(rng.gamma(1.0, 3.0, n))}), 1.0 + 60.0 * rate


def learned(factor: float, *, n: int = N) -> tuple[PurchaseDaysModel, FeatureMatrix, np.ndarray]:
    """A head taught by buyers who came ``factor`` times as often again as BTYD expected."""
    design, btyd_days = buyers(seed=1, n=n)
    days = np.asarray(1.0 + np.random.default_rng(2).poisson(factor * (btyd_days - 1.0)), dtype=np.float64)
    head = fit_purchase_days(design, days, btyd_days, np.ones(n))
    assert head is not None
    return head, design, btyd_days


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0])
def test_outcomes_correct_btyd(factor: float) -> None:
    head, design, btyd_days = learned(factor)
    found = head.if_bought(design, btyd_days, pace=1.0, horizon_days=90)
    assert (found - 1.0).sum() == pytest.approx(factor * (btyd_days - 1.0).sum(), rel=0.03)


def test_buyers_who_never_come_twice_leave_one_day() -> None:
    head, design, btyd_days = learned(0.0)
    found = head.if_bought(design, btyd_days, pace=1.0, horizon_days=30)
    assert 1.0 < found.mean() < 1.02


def test_few_buyers_move_btyd_little() -> None:
    head, design, btyd_days = learned(0.0, n=2)
    found = head.if_bought(design, btyd_days, pace=1.0, horizon_days=90)
    held = 10.0 / (10.0 + (btyd_days - 1.0).sum())
    np.testing.assert_allclose(found - 1.0, held * (btyd_days - 1.0), rtol=0.1)


def test_none_teach_nothing() -> None:
    design, _ = buyers(seed=1)
    assert fit_purchase_days(design.rows(slice(0, 0)), np.zeros(0), np.zeros(0), np.zeros(0)) is None


def test_pace_counts_and_no_window_has_more_days() -> None:
    head, design, btyd_days = learned(1.0)
    slow, fast = (head.if_bought(design, btyd_days, pace=pace, horizon_days=10**6) - 1.0 for pace in (1.0, 1.2))
    np.testing.assert_allclose(fast, 1.2 * slow)
    assert head.if_bought(design, btyd_days, pace=1.0, horizon_days=2).max() == 2.0


def test_pace_follows_level_and_season_up_to_a_bound_each() -> None:
    assert pace_factor(0.0, 0.0) == 1.0
    assert pace_factor(0.2, -0.5) == pytest.approx(np.exp(-0.3))
    assert pace_factor(3.0, 0.0) == pytest.approx(np.exp(0.4)) == pytest.approx(1.0 / pace_factor(-3.0, 0.0))
    assert pace_factor(0.0, 3.0) == pytest.approx(np.exp(0.9)) == pytest.approx(1.0 / pace_factor(0.0, -3.0))


def test_the_correction_is_a_factor_of_a_thousand_at_most() -> None:
    head, design, btyd_days = learned(1.0)
    for intercept, factor in ((20.0, np.exp(7.0)), (-20.0, np.exp(-7.0))):
        extreme = PurchaseDaysModel(replace(head.curves, intercept=intercept))
        found = extreme.if_bought(design, btyd_days, pace=1.0, horizon_days=10**9)
        np.testing.assert_allclose(found, 1.0 + factor * (btyd_days - 1.0))


def test_a_saved_head_says_the_same() -> None:
    head, design, btyd_days = learned(2.0)
    again = PurchaseDaysModel.from_dict(json.loads(json.dumps(head.to_dict())))
    said, said_again = (one.if_bought(design, btyd_days, pace=1.0, horizon_days=90) for one in (head, again))
    np.testing.assert_array_equal(said, said_again)


def test_btyds_days_of_a_buyer_are_its_days_over_its_chance() -> None:
    fit = BtydModel("mbgnbd", 0.6, 30.0, 0.8, 3.0)
    who = (np.array([0.0, 1, 5]), np.array([0.0, 30, 200]), np.array([300.0, 60, 210]))
    found = btyd_days_if_bought(BtydForecast(fit, who, DistinctPairs(who[0], who[2])), horizon_days=90)
    wanted = fit.expected_purchases(*who, horizon_days=90) / fit.p_purchase(*who, horizon_days=90)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    rare = BtydModel("nbd", 1e-9, 1e6, 0.0, 1.0)
    never = (np.zeros(1), np.zeros(1), np.full(1, 10.0))
    alone = btyd_days_if_bought(BtydForecast(rare, never, DistinctPairs(never[0], never[2])), horizon_days=30)
    assert alone[0] == pytest.approx(1.0, abs=1e-4)


def test_who_buys_on_the_first_of_a_month_is_not_expected_twice_in_one() -> None:
    """BTYD spreads a rate evenly over time; earlier outcomes say that a month never held two purchase days."""
    rng = np.random.default_rng(5)
    months = [date(2022 + month // 12, month % 12 + 1, 1) for month in range(28)]
    rows = []
    for who in range(150):
        first = int(rng.integers(0, 24))
        for month in months[first : first + int(rng.geometric(0.06))]:
            rows.append((f"c{who:03}", f"{who}-{month:%y%m}", month, 20.0))
    schema = {"customer_id": pl.String, "order_id": pl.String, "order_date": pl.Date, "amount": pl.Float64}
    orders = pl.DataFrame(rows, schema=schema, orient="row").cast({"order_date": pl.Datetime("us")})
    model = RepurchaseModel(horizons=(28,)).fit(orders, as_of=months[-1] + timedelta(days=2))
    scores = model.predict(orders, as_of=model.as_of_)
    assert model.learned_ == (28,)
    assert scores["orders_expected_28d"].sum() < 1.1 * scores["p_repurchase_28d"].sum()
    assert scores["p_repurchase_28d"].sum() > 20
