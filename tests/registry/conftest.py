"""A small model, its evaluation, and home folders whose tracking store is copied instead of made anew."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from repurchase.features.ledger import build_ledger
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshots
from repurchase.registry.bundle import TrainingRun, save_bundle
from repurchase.registry.store import Store, open_store, relocate
from repurchase.settings import Settings

CUTOFFS = ("1998-01-31", "1998-02-28", "1998-03-31")
SECRET_FOLDER = "/srv/shop-of-the-customer/exports"


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def state() -> dict[str, Any]:
    return {
        "btyd": {"r": 0.1 + 0.2, "alpha": 1 / 3, "tiny": 5e-324, "huge": 1.7976931348623157e308},
        "calibration": {"knots": [[90, -0.0], [180, float(np.float64(2) ** 0.5)]]},
        "tiers": {"high": 0.7},
        "settings": {"horizons": [90]},
        "horizons": [90],
        "notes": ["größer als gedacht"],
    }


def evaluate(model: float = 0.31, rule: float = 0.33, *, days: int = 90, customers: int = 900) -> dict[str, Any]:
    """An evaluation in which the mean log losses are as given, and differ between cut-offs."""
    losses = {"model": model, "days_since_last": rule + 0.2, "past_rate": rule}
    backtest = [
        {"horizon_days": days, "cutoff": cutoff, "n_customers": customers, "predictor": name, "log_loss": loss + shift}
        for cutoff, shift in zip(CUTOFFS, (-0.01, 0.0, 0.01), strict=True)
        for name, loss in losses.items()
    ]
    horizon = {
        "horizon_days": days,
        "judged": True,
        "model": {"log_loss": model, "auc": 0.8, "spend_gini": None},
        "rules": {name: {"log_loss": losses[name]} for name in ("days_since_last", "past_rate")},
        "parts": {"btyd": {"log_loss": model + 0.001}},
        "log_loss_gain": 1 - model / rule,
    }
    return {
        "schema": 1,
        "primary_horizon_days": days,
        "grade": "B",
        "grade_words": "Clearly better than the rules.",
        "reasons": ["It saves log loss at every cut-off."],
        "limits": ["One winter only."],
        "horizons": [horizon],
        "backtest": backtest,
    }


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., dict[str, Any]]:
    return evaluate


@pytest.fixture(scope="session")
def make_training(state: dict[str, Any]) -> Callable[..., TrainingRun]:
    def make(**changes: Any) -> TrainingRun:
        known: Mapping[str, Any] = {
            "state": state,
            "as_of": date(1998, 6, 30),
            "horizons": (90,),
            "orders": {
                "source": f"{SECRET_FOLDER}/orders.csv",
                "digest": "0123456789abcdef" * 4,
                "layout": "own",
                "n_customers": 900,
                "n_orders": 2000,
                "reading": {
                    "roles": [
                        {"role": "customer_id", "column": "Kundenr"},
                        {"role": "order_date", "column": "Dato"},
                        {"role": "order_id", "column": None},
                    ]
                },
            },
            "cleaning": {"n_raw": 2010, "n_kept": 2000},
            "evaluation": evaluate(),
            "settings": Settings(currency="NOK"),
            "params": {"most_cutoffs": 8},
            "pictures": {"gains": b"\x89PNG gains", "calibration.png": b"\x89PNG calibration"},
        }
        return TrainingRun(**{**known, **changes})

    return make


@pytest.fixture
def bundle(state: dict[str, Any], tmp_path: Path) -> Path:
    return save_bundle(
        state,
        tmp_path / "models" / "3",
        manifest={"model_version": "3", "as_of": "1998-06-30", "horizons": [90], "data_digest": "ab" * 32},
        evaluation=evaluate(),
        card="# A card\n",
    )


@pytest.fixture
def home(empty_home: Path, tmp_path: Path) -> Path:
    """A home of one's own, with an empty tracking store."""
    place = tmp_path / "home"
    shutil.copytree(empty_home, place)
    relocate(place)
    return place


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(home)


@pytest.fixture(scope="session")
def shop(simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """Clean orders of a shop with ids that can be searched for."""
    orders = simulate_orders(customers=260, days=300, arrival_days=150)
    return orders.with_columns("SECRET-" + pl.col("customer_id"), pl.lit(None, pl.Date()).alias("sale_date"))


@pytest.fixture(scope="session")
def fitted(shop: pl.DataFrame) -> Iterator[RepurchaseModel]:
    day = shop["order_date"].dt.date().max()
    assert isinstance(day, date)
    cuts = Snapshots(build_ledger(shop, observed_until=day), horizons=(30,))
    with threadpool_limits(1):
        yield RepurchaseModel(horizons=(30,)).fit_snapshots(cuts, day)
