"""What a fit depends on, and what it does not."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from repurchase.models.model import RepurchaseModel

START, DAY = date(2024, 1, 1), date(2025, 6, 4)


@pytest.fixture(scope="module")
def small(shop: pl.DataFrame) -> pl.DataFrame:
    """Every third customer of the shop."""
    return shop.filter(pl.col("customer_id").str.tail(1).is_in(["0", "3", "6", "9"]))


@pytest.fixture(scope="module")
def fitted(small: pl.DataFrame) -> RepurchaseModel:
    return RepurchaseModel(horizons=(30,)).fit(small, DAY)


def numbers(model: RepurchaseModel) -> str:
    return json.dumps(model.to_state(), sort_keys=True, allow_nan=False)


def trees_say(model: RepurchaseModel) -> dict[int, list[float]]:
    """Log odds of the trees for rows that nobody was fitted on."""
    said = {}
    for h, head in model.forecaster_.horizon_models.items():
        asked = np.random.default_rng(0).gamma(1.0, 20.0, (len(head.trees.columns), 200))
        said[h] = head.trees.total(list(asked)).tolist()
    return said


def assert_same_model(one: RepurchaseModel, other: RepurchaseModel) -> None:
    assert numbers(one) == numbers(other)
    assert trees_say(one) == trees_say(other)


def test_learned_something_to_compare(fitted: RepurchaseModel) -> None:
    assert fitted.learned_ == (30,)
    assert np.ptp(trees_say(fitted)[30]) > 0.1


def test_orders_after_the_day_change_nothing(small: pl.DataFrame, fitted: RepurchaseModel) -> None:
    known = small.filter(pl.col("order_date").dt.date() <= DAY)
    assert known.height < small.height
    again = known["customer_id"].unique()
    rush = pl.DataFrame(
        {
            "customer_id": pl.concat([again, "new-" + again]),
            "order_id": [f"later-{number}" for number in range(2 * len(again))],
            "order_date": [DAY + timedelta(days=1 + number % 300) for number in range(2 * len(again))],
            "amount": np.arange(2 * len(again)) * 1e5,
            "sale_date": [None] * (2 * len(again)),
        },
        schema_overrides=small.schema,
    )
    assert_same_model(RepurchaseModel(horizons=(30,)).fit(pl.concat([known, rush]), DAY), fitted)


def test_the_order_of_rows_and_the_kind_of_frame_change_nothing(small: pl.DataFrame, fitted: RepurchaseModel) -> None:
    mixed = small.sample(fraction=1.0, shuffle=True, seed=4).to_pandas()
    assert_same_model(RepurchaseModel(horizons=(30,)).fit(mixed, DAY), fitted)


def test_an_object_fitted_before_learns_afresh(small: pl.DataFrame, fitted: RepurchaseModel) -> None:
    used = RepurchaseModel(horizons=(30,)).fit(small, date(2024, 2, 5))
    assert used.learned_ == ()
    assert_same_model(used.fit(small, DAY), fitted)


def test_the_seed_is_heard_and_everything_else_stays(small: pl.DataFrame, fitted: RepurchaseModel) -> None:
    other = RepurchaseModel(horizons=(30,), random_state=1).fit(small, DAY)
    assert trees_say(other) != trees_say(fitted)
    assert other.forecaster_.reference.btyd == fitted.forecaster_.reference.btyd
    p, others = (one.predict(small, DAY)["p_repurchase_30d"] for one in (fitted, other))
    assert (p - others).abs().max() > 0
    assert (p - others).abs().mean() < 0.03


def test_money_is_counted_over_the_horizon_and_at_the_rate_asked_for(
    small: pl.DataFrame, fitted: RepurchaseModel
) -> None:
    def clv(**asked: Any) -> pl.Series:
        state = fitted.to_state()
        changed = {**state, "settings": {**state["settings"], **asked}}
        return RepurchaseModel.from_state(changed).predict(small, DAY)["clv"]

    usual = clv()
    assert (clv(discount_rate=0.3) < usual).all()
    assert (clv(discount_rate=0.0) > usual).all()
    assert (clv(clv_horizon_days=180) < 1.05 * usual).all()
    assert (clv(clv_horizon_days=730) > 0.95 * usual).all()
    assert clv(clv_horizon_days=180).sum() < 0.8 * usual.sum() < 0.8**2 * clv(clv_horizon_days=730).sum()


class TestKnownTruth:
    """2,000 customers of a BG/NBD world; the 60 days after the fit are not shown to the model."""

    DAY = START + timedelta(days=400)
    TRUTH: ClassVar[dict[str, float]] = {"r": 0.8, "alpha": 30.0, "a": 0.8, "b": 3.0}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def world(cls, simulate_orders: Callable[..., pl.DataFrame]) -> None:
        from repurchase.features.ledger import build_ledger
        from repurchase.models.btyd.model import BtydModel
        from repurchase.models.snapshots import Snapshot

        orders = simulate_orders(customers=2_000, days=470, arrival_days=350, start=START, seed=12, **cls.TRUTH)
        model = RepurchaseModel(horizons=(60,)).fit(orders, cls.DAY)
        cls.scores = model.predict(orders, cls.DAY)
        ledger = build_ledger(orders, observed_until=cls.DAY + timedelta(days=60))
        snapshot = Snapshot(ledger.history(cls.DAY))
        outcomes = ledger.outcomes(snapshot.history, horizon_days=60)
        cls.bought, cls.purchase_days, cls.spend = outcomes.bought, outcomes.purchase_days, outcomes.spend
        cls.p = cls.scores["p_repurchase_60d"].to_numpy()
        cls.true_p = BtydModel("bgnbd", **cls.TRUTH).p_purchase(*snapshot.rfm, horizon_days=60)

    def log_loss(self, p: np.ndarray) -> float:
        return float(-np.mean(np.where(self.bought, np.log(p), np.log1p(-p))))

    def test_as_many_buy_as_was_said(self) -> None:
        assert 0.2 < self.bought.mean() < 0.8
        assert self.p.mean() == pytest.approx(self.bought.mean(), abs=0.03)
        assert self.scores["orders_expected_60d"].mean() == pytest.approx(self.purchase_days.mean(), rel=0.12)

    def test_hardly_worse_than_who_knows_the_parameters(self) -> None:
        """A constant loses 0.2 and more to the true parameters here; the model 0.015 at most."""
        share = np.full(len(self.p), self.bought.mean())
        assert self.log_loss(share) > self.log_loss(self.true_p) + 0.1
        assert self.log_loss(self.p) < self.log_loss(self.true_p) + 0.015

    def test_close_to_the_true_probability_of_each_customer(self) -> None:
        assert np.abs(self.p - self.true_p).mean() < 0.05

    def test_money_adds_up_to_about_what_came(self) -> None:
        assert self.scores["spend_expected_60d"].sum() == pytest.approx(self.spend.sum(), rel=0.15)
