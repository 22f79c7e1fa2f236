"""Shops that a model was not made for: every customer gets finite, honest scores, and notes say what stands in."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.i18n.messages import render
from repurchase.models.model import RepurchaseModel

START = date(2024, 1, 1)
Simulate = Callable[..., pl.DataFrame]
Honest = Callable[..., None]


def closed_at_the_end(simulate_orders: Simulate) -> pl.DataFrame:
    """No order in the last two months: the latest windows to learn from hold no purchase."""
    orders = simulate_orders(customers=400, days=240, arrival_days=150, seed=5)
    late = orders[[0]].with_columns(pl.lit(START + timedelta(days=299)).cast(pl.Datetime("us")).alias("order_date"))
    return pl.concat([orders, late.with_columns(order_id=pl.lit("last"))])


def one_price(simulate_orders: Simulate) -> pl.DataFrame:
    return simulate_orders(customers=400, days=300, seed=6).with_columns(pl.lit(12.5).alias("amount"))


def tiny(simulate_orders: Simulate) -> pl.DataFrame:
    return simulate_orders(customers=25, days=300)


WORLDS = (closed_at_the_end, one_price, tiny)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__)
def test_scores_are_honest(
    world: Callable[[Simulate], pl.DataFrame], simulate_orders: Simulate, honest: Honest
) -> None:
    orders = world(simulate_orders)
    model = RepurchaseModel(horizons=(30, 200)).fit(orders)
    assert 200 not in model.learned_  # no outcome of 200 days is known to whom was seen long enough before
    scores = model.predict(orders)
    honest(scores, (30, 200))
    assert any(note.startswith("200 days ahead: answered by BTYD alone") for note in map(render, model.notes_))


def test_a_giant_order_does_not_blow_up_what_others_are_worth(simulate_orders: Simulate, honest: Honest) -> None:
    ordinary = simulate_orders(customers=400, days=300, seed=7)
    giant = pl.when(pl.col("order_id") == "o0000100").then(5e8).otherwise("amount").alias("amount")
    usual, odd = (
        RepurchaseModel(horizons=(30,)).fit(orders).predict(orders)
        for orders in (ordinary, ordinary.with_columns(giant))
    )
    honest(odd, (30,))
    others = pl.col("customer_id") != ordinary.filter(pl.col("order_id") == "o0000100")["customer_id"][0]
    assert 0.5 < odd.filter(others)["clv"].sum() / usual.filter(others)["clv"].sum() < 2.0


class TestWithoutAmounts:
    @pytest.fixture(scope="class")
    @classmethod
    def orders(cls, simulate_orders: Simulate) -> pl.DataFrame:
        return simulate_orders(customers=350, days=300, money=False)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, orders: pl.DataFrame) -> RepurchaseModel:
        return RepurchaseModel(horizons=(30,)).fit(orders)

    def test_money_is_null_and_the_note_says_so(
        self, model: RepurchaseModel, orders: pl.DataFrame, honest: Honest
    ) -> None:
        assert model.learned_ == (30,)
        honest(model.predict(orders), (30,), money=False)
        assert any("no amounts" in note for note in map(render, model.notes_))

    def test_customers_still_have_segments_and_subsets_their_bits(
        self, model: RepurchaseModel, orders: pl.DataFrame, same_bits: Callable[[pl.DataFrame, pl.DataFrame], None]
    ) -> None:
        scores = model.predict(orders)
        assert scores["segment"].n_unique() > 2
        day = scores["as_of"][0]
        who = pl.col("customer_id").is_in(scores["customer_id"][::17].implode())
        same_bits(model.predict(orders.filter(who), day), scores.filter(who))

    def test_comes_back_from_its_state(self, model: RepurchaseModel, orders: pl.DataFrame) -> None:
        again = RepurchaseModel.from_state(model.to_state())
        assert again.predict(orders).equals(model.predict(orders))
        assert again.notes_ == model.notes_ != ()


class TestTooShortToLearn:
    """Forty days of history: nobody's 30 days were seen after enough days before."""

    def test_btyd_alone_answers_and_the_curve_still_rises(self, simulate_orders: Simulate, honest: Honest) -> None:
        orders = simulate_orders(customers=300, days=40, arrival_days=30, alpha=10.0)
        model = RepurchaseModel(horizons=(7, 30, 35)).fit(orders)
        assert 30 not in model.learned_
        assert 35 not in model.learned_
        scores = model.predict(orders)
        honest(scores, (7, 30, 35))
        rising = [scores[f"p_repurchase_{h}d"] for h in (7, 30, 35)]
        assert (rising[2] > rising[1]).all()
        assert sum("answered by BTYD alone" in note for note in map(render, model.notes_)) >= 2

    def test_alone_means_its_very_probability(self, simulate_orders: Simulate) -> None:
        orders = simulate_orders(customers=300, days=40, arrival_days=30, alpha=10.0)
        model = RepurchaseModel(horizons=(30,)).fit(orders)
        scores = model.predict(orders)
        rfm = [scores[name].to_numpy() for name in ("frequency", "recency_days", "age_days")]
        wanted = model.forecaster_.reference.btyd.p_purchase(*rfm, horizon_days=30)
        np.testing.assert_allclose(scores["p_repurchase_30d"].to_numpy(), wanted, rtol=1e-9)


def test_all_one_time_buyers_fall_back_by_name(simulate_orders: Simulate, honest: Honest) -> None:
    orders = simulate_orders(customers=300, days=300, arrival_days=290).unique("customer_id", keep="first")
    model = RepurchaseModel(horizons=(30,)).fit(orders)
    scores = model.predict(orders)
    honest(scores, (30,))
    assert model.learned_ == ()
    assert any("neither BG/NBD nor MBG/NBD converged" in note for note in map(render, model.notes_))
    assert scores["p_repurchase_30d"].max() < 0.05


def test_where_nobody_came_back_a_first_purchase_is_what_an_order_brings(simulate_orders: Simulate) -> None:
    orders = simulate_orders(customers=300, days=300, arrival_days=290).unique("customer_id", keep="first")
    per_order = RepurchaseModel(horizons=(30,)).fit(orders).forecaster_.gamma_gamma
    assert per_order is not None
    assert per_order.fallback_mean == pytest.approx(orders["amount"].median(), rel=0.02)


def test_risk_rests_on_a_horizon_that_outcomes_taught(simulate_orders: Simulate) -> None:
    model = RepurchaseModel(horizons=(30, 200)).fit(simulate_orders(customers=500, days=300, arrival_days=250))
    assert model.learned_ == (30,)
    assert model.segment_thresholds_.risk_horizon_days == 30
