"""The unit of money is a matter of the currency: it scales money and moves nothing else."""

import json
from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from repurchase.features.history import MONEY_SCALE
from repurchase.features.ledger import build_ledger
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import DEFAULT_TYPICAL_SPEND, Snapshot, Snapshots

HORIZON = 30
MONEY_COLUMNS = (
    "spend_total",
    "spend_mean",
    "clv",
    "clv_low",
    "clv_high",
    "value_at_risk",
    f"spend_expected_{HORIZON}d",
)


@pytest.fixture(scope="module")
def orders(simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """350 customers whose amounts, even in thousandths, are whole ten-thousandths, as clean orders hold them."""
    orders = simulate_orders(customers=350, days=500, arrival_days=350, start=date(2023, 6, 1), seed=4)
    return orders.with_columns(pl.max_horizontal(pl.col("amount").round(1), 0.1))


@pytest.fixture(scope="module")
def model(orders: pl.DataFrame) -> RepurchaseModel:
    return RepurchaseModel(horizons=(HORIZON,)).fit(orders)


def in_units(orders: pl.DataFrame, times: float) -> pl.DataFrame:
    return orders.with_columns((pl.col("amount") * times).round(4))


@pytest.mark.parametrize("times", [1e-3, 1e3, 1e6])
def test_another_unit_scales_money_and_moves_nothing_else(
    orders: pl.DataFrame, model: RepurchaseModel, times: float
) -> None:
    assert model.learned_ == (HORIZON,)
    rescaled = in_units(orders, times)
    before, after = model.predict(orders), RepurchaseModel(horizons=(HORIZON,)).fit(rescaled).predict(rescaled)
    for name, dtype in before.schema.items():
        if name in MONEY_COLUMNS:
            np.testing.assert_allclose(after[name].to_numpy(), times * before[name].to_numpy(), rtol=1e-6, err_msg=name)
        elif dtype.is_float():
            np.testing.assert_allclose(after[name].to_numpy(), before[name].to_numpy(), atol=1e-9, err_msg=name)
        elif not name.startswith("reason"):  # they name amounts
            assert after[name].equals(before[name], null_equal=True), name


def test_what_moves_the_risk_is_told_alike_in_any_unit(orders: pl.DataFrame, model: RepurchaseModel) -> None:
    rescaled = in_units(orders, 1e3)
    other = RepurchaseModel(horizons=(HORIZON,)).fit(rescaled)
    mine, theirs = (
        one.explanation_.parts(Snapshot(build_ledger(log, observed_until=one.as_of_).history(one.as_of_)).features)
        for one, log in ((model, orders), (other, rescaled))
    )
    assert np.ptp(mine["money"]) > 0.01
    for fact, part in mine.items():
        np.testing.assert_allclose(theirs[fact], part, atol=1e-9, err_msg=fact)


def test_the_typical_purchase_day_is_what_was_known_and_is_kept(orders: pl.DataFrame, model: RepurchaseModel) -> None:
    snapshot = Snapshot(build_ledger(orders, observed_until=model.as_of_).history(model.as_of_))
    assert model.forecaster_.reference.typical_spend == np.quantile(snapshot.history.spend, 0.5, method="higher")
    again = RepurchaseModel.from_state(json.loads(json.dumps(model.to_state())))
    assert again.predict(orders).equals(model.predict(orders))
    later = Snapshots(build_ledger(orders, observed_until=model.as_of_), horizons=(HORIZON,)).typical_spend(
        date(2023, 12, 1)
    )
    assert later == Snapshots(
        build_ledger(
            orders.filter(pl.col("order_date").dt.date() <= date(2023, 12, 1)), observed_until=date(2023, 12, 1)
        ),
        horizons=(HORIZON,),
    ).typical_spend(date(2023, 12, 1))


def test_a_model_saved_without_it_counts_money_in_its_own_unit(orders: pl.DataFrame, model: RepurchaseModel) -> None:
    state = json.loads(json.dumps(model.to_state()))
    del state["btyd"]["typical_spend"], state["calibration"]["reasons"]["typical_spend"]
    for _, head in state["calibration"]["heads"]:
        del head["days"]
    old = RepurchaseModel.from_state(state)
    assert old.forecaster_.reference.typical_spend == DEFAULT_TYPICAL_SPEND
    snapshot = Snapshot(build_ledger(orders, observed_until=old.as_of_).history(old.as_of_))
    read = old.forecaster_.features(snapshot, horizon_days=HORIZON)
    np.testing.assert_array_equal(read["spend_typical"], snapshot.features["spend_typical"])
    np.testing.assert_array_equal(read["fading_spend_60d"], snapshot.features["fading_spend_60d"])
    spent = snapshot.history.spend_between(int(snapshot.history.day.max()) - HORIZON, 10**6) / MONEY_SCALE
    assert read["spend_last_window"].sum() == pytest.approx(spent.sum())
    scores = old.predict(orders)
    assert (scores[f"orders_expected_{HORIZON}d"] >= scores[f"p_repurchase_{HORIZON}d"]).all()
