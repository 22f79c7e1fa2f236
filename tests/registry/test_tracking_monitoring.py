from pathlib import Path
from typing import Any

import pytest

from repurchase.errors import DeliveryError
from repurchase.registry.store import Store
from repurchase.registry.tracking import log_monitoring, monitoring_metrics

RECORD: dict[str, Any] = {
    "as_of": "2024-01-01",
    "observed_until": "2024-06-01",
    "model_version": "3",
    "horizons": [
        {
            "horizon_days": 30,
            "passed": True,
            "model": {"log_loss": 0.31, "auc": None, "ece": 0.02},
            "p_mean": 0.2,
            "bought_share": 0.1,
            "log_loss_gain": 0.05,
            "orders": {"expected": 10.0, "came": 8.0},
            "spend": None,
        },
        {"horizon_days": 365, "passed": False},
    ],
    "drift": {"known": True, "psi_max": 0.4, "features": [{"feature": "frequency", "psi": 0.4}]},
    "advice": {"retrain": True, "words": "Train again: it is old."},
}


def test_a_run_holds_figures_advice_and_the_whole_record(store: Store) -> None:
    run_id = log_monitoring(store.home, RECORD)

    assert run_id is not None
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "monitor 2024-01-01"
    assert run.data.metrics == dict(monitoring_metrics(RECORD))
    assert run.data.metrics["since/log_loss_30d"] == 0.31
    assert run.data.metrics["since/orders_came_30d"] == 8.0
    assert run.data.metrics["drift/psi/frequency"] == 0.4
    assert (run.data.tags["retrain"], run.data.tags["model_version"]) == ("true", "3")
    assert [item.path for item in store.client.list_artifacts(run_id)] == ["monitor.json"]


def test_without_a_store_none_is_made(tmp_path: Path) -> None:
    assert log_monitoring(tmp_path, RECORD) is None
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_fails_is_one_line(store: Store) -> None:
    database = store.home / "mlruns" / "mlflow.db"
    database.write_bytes(b"not a database" * 100)

    with pytest.raises(DeliveryError, match="MLflow"):
        log_monitoring(store.home, RECORD)
