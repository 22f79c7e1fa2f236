"""A backtest judges expected purchase days beside those that came, as it does probabilities and money."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.evaluation.backtest import record_predictions
from repurchase.evaluation.summary import summarise_evaluation
from repurchase.features.ledger import build_ledger
from repurchase.models.horizons import fit_forecaster
from repurchase.models.snapshots import Snapshots

HORIZON = 60


@pytest.fixture(scope="module")
def predictions(simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    orders = simulate_orders(customers=600, days=600, arrival_days=400, start=date(2023, 6, 1), seed=3)
    day = date(2024, 11, 15)
    snapshots = Snapshots(build_ledger(orders, observed_until=day + timedelta(days=HORIZON)), horizons=(HORIZON,))
    forecaster = fit_forecaster(snapshots, day, horizons=(HORIZON,), random_state=0, days_ahead=(0,))
    return record_predictions(forecaster, snapshots, day, horizon_days=HORIZON)


def test_purchase_days_are_predicted_beside_what_came(predictions: pl.DataFrame) -> None:
    said = {str(name): part for (name,), part in predictions.partition_by("predictor", as_dict=True).items()}
    for name, part in said.items():
        assert ((part["purchase_days"] > 0) == part["bought"]).all()
        assert part["purchase_days_expected"].null_count() in (
            {part.height} if name in {"additive", "boosting"} else {0}
        )
    assert (said["model"]["purchase_days_expected"] >= said["model"]["p"]).all()
    rule = said["past_rate"]
    ratio = (rule["purchase_days_expected"] / rule["p"]).to_numpy()
    np.testing.assert_allclose(ratio, ratio[0])
    assert ratio[0] > 1.0


def test_the_evaluation_tells_how_far_totals_and_customers_were_off(predictions: pl.DataFrame) -> None:
    horizon = summarise_evaluation(predictions)["horizons"][0]
    model = predictions.filter(pl.col("predictor") == "model")
    came, expected = (model[name].cast(pl.Float64) for name in ("purchase_days", "purchase_days_expected"))
    figures = horizon["model"]
    assert figures["purchase_days_bias"] == pytest.approx(expected.sum() / came.sum() - 1.0, abs=1e-6)
    assert figures["purchase_days_error"] == pytest.approx((expected - came).abs().mean(), abs=1e-6)
    for rule in horizon["rules"].values():
        assert 0 < figures["purchase_days_deviance"] < rule["purchase_days_deviance"]
    assert horizon["parts"]["additive"]["purchase_days_bias"] is None


def test_predictions_without_purchase_days_are_judged_without(predictions: pl.DataFrame) -> None:
    figures = summarise_evaluation(predictions.drop("purchase_days", "purchase_days_expected"))["horizons"][0]["model"]
    assert figures["purchase_days_bias"] is figures["purchase_days_deviance"] is None
    assert figures["log_loss"] > 0
