"""An evaluation as MLflow metrics, and the columns that were read as a parameter."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Metric

__all__ = ["columns_read", "run_metrics"]

ABOUT_A_ROW = frozenset({"horizon_days", "cutoff", "predictor"})
OF_THE_HORIZON = ("n_cutoffs", "log_loss_gain", "explained")


def run_metrics(evaluation: Mapping[str, Any], *, model_id: str | None = None) -> list["Metric"]:
    """Take every figure of an evaluation to where MLflow shows and compares it.

    ``log_loss_90d`` is the model's mean over the cut-offs, ``past_rate/log_loss_90d`` a rule's or a part's, and
    ``backtest/model/log_loss_90d`` has one step per cut-off, timed by the cut-off's day.

    Parameters
    ----------
    evaluation : mapping
        See ``evaluation.judgement``; keys may be missing.
    model_id : str, optional
        MLflow's id of the model that the means belong to.

    Returns
    -------
    list of Metric
        Figures that are not defined are left out.

    Examples
    --------
    >>> horizons = [{"horizon_days": 90, "judged": True, "model": {"log_loss": 0.31, "auc": None}, "rules": {}}]
    >>> [(metric.key, metric.value) for metric in run_metrics({"horizons": horizons})]
    [('log_loss_90d', 0.31)]
    """
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    means = [Metric(key, value, now, 0, model_id=model_id) for key, value in _means(evaluation)]
    return [*means, *(Metric(*entry) for entry in _by_cutoff(evaluation))]


def columns_read(orders: Mapping[str, Any]) -> str | None:
    """Say in one line which column of an export was read as what.

    Parameters
    ----------
    orders : mapping
        How a run describes its orders; ``reading`` may be missing.

    Returns
    -------
    str or None
        Role and column, apart from each other by blanks; None where it is not known.

    Examples
    --------
    >>> roles = [{"role": "customer_id", "column": "Kundenr"}, {"role": "order_id", "column": None}]
    >>> columns_read({"reading": {"roles": roles}})
    'customer_id=Kundenr'
    """
    roles = (orders.get("reading") or {}).get("roles") or []
    return " ".join(f"{role['role']}={role['column']}" for role in roles if role["column"]) or None


def _means(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for horizon in evaluation.get("horizons", []):
        days = f"{horizon['horizon_days']}d"
        named = {"": horizon.get("model") or {}, **(horizon.get("rules") or {}), **(horizon.get("parts") or {})}
        named[""] = {**named[""], **{key: horizon.get(key) for key in OF_THE_HORIZON}}
        for predictor, figures in named.items():
            prefix = f"{predictor}/" if predictor else ""
            yield from ((f"{prefix}{key}_{days}", float(value)) for key, value in figures.items() if _defined(value))


def _by_cutoff(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, int, int]]:
    rows = evaluation.get("backtest", [])
    for row in rows:
        days = row["horizon_days"]
        cutoffs = sorted({other["cutoff"] for other in rows if other["horizon_days"] == days})
        at = int(datetime.fromisoformat(row["cutoff"]).replace(tzinfo=UTC).timestamp() * 1000)
        for key, value in row.items():
            if key not in ABOUT_A_ROW and _defined(value):
                yield f"backtest/{row['predictor']}/{key}_{days}d", float(value), at, cutoffs.index(row["cutoff"])


def _defined(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
