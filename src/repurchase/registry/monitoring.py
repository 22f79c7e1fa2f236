"""What came of scores, as a run beside the trainings: metrics that MLflow draws over time, and the whole record."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repurchase.registry.pending import settle_pending
from repurchase.registry.store import mlflow_faults, open_existing

__all__ = ["log_monitoring", "monitoring_metrics"]

SHOWN = ("log_loss", "auc", "ece", "chance_ece", "excess_ece", "base_rate", "top_decile_lift")
PER_BATCH = 500


def log_monitoring(home: Path, record: Mapping[str, Any]) -> str | None:
    """Log a record of `repurchase monitor`.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.
    record : mapping
        As written beside the scores.

    Returns
    -------
    str or None
        The run; None where the home folder has no MLflow store.

    Raises
    ------
    DeliveryError
        If the store cannot be written; a run that was begun is then marked as failed.
    """
    store = open_existing(home)
    if store is None:
        return None
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in monitoring_metrics(record)]
    with mlflow_faults(store.uri, "This was not logged."), ExitStack() as undo:
        run = store.client.create_run(store.experiment_id, run_name=f"monitor {record['as_of']}", tags=_tags(record))
        run_id: str = run.info.run_id
        undo.callback(store.client.set_terminated, run_id, "FAILED")
        for first in range(0, len(metrics), PER_BATCH):
            store.client.log_batch(run_id, metrics=metrics[first : first + PER_BATCH])
        store.client.log_text(run_id, json.dumps(record, indent=1, ensure_ascii=False), "monitor.json")
        undo.pop_all()
        store.client.set_terminated(run_id, "FINISHED")
    settle_pending(store)
    return run_id


def monitoring_metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Take from a record what can be drawn.

    Parameters
    ----------
    record : mapping
        As written beside the scores.

    Yields
    ------
    (str, float)
        Such as ``since/log_loss_90d`` and ``drift/psi/frequency``; undefined figures are left out.

    Examples
    --------
    >>> list(monitoring_metrics({"horizons": [], "drift": {"known": False}, "advice": {"retrain": True}}))
    [('retrain', 1.0)]
    """
    for row in record["horizons"]:
        if row["passed"]:
            days = f"{row['horizon_days']}d"
            figures = {**{name: row["model"].get(name) for name in SHOWN}, **dict(_totals(row))}
            figures |= {name: row.get(name) for name in ("p_mean", "bought_share", "log_loss_gain")}
            yield from ((f"since/{key}_{days}", float(value)) for key, value in figures.items() if _defined(value))
    drift = record["drift"]
    if drift["known"]:
        moved = {"psi_max": drift["psi_max"], **{f"psi/{row['feature']}": row["psi"] for row in drift["features"]}}
        yield from ((f"drift/{key}", float(value)) for key, value in moved.items() if _defined(value))
    yield "retrain", float(record["advice"]["retrain"])


def _tags(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "mlflow.source.name": "repurchase monitor",
        "mlflow.source.type": "JOB",
        "model_version": str(record["model_version"]),
        "observed_until": str(record["observed_until"]),
        "retrain": str(record["advice"]["retrain"]).lower(),
        "advice": str(record["advice"]["words"]),
    }


def _totals(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("orders", "spend"):
        for side in ("expected", "came"):
            yield f"{name}_{side}", (row.get(name) or {}).get(side)


def _defined(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
