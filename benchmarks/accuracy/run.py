"""Run predictors over logs and cut-offs, and average."""

import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from benchmarks.accuracy.logs import Log, as_date
from benchmarks.accuracy.metrics import PROBABILITY, SPEND, probability_metrics, spend_metrics
from benchmarks.accuracy.prediction import Prediction, Predictor

Row = dict[str, object]


def judge(log: Log, predictors: Mapping[str, Predictor]) -> Iterator[Row]:
    """One row per cut-off and predictor."""
    for cutoff in log.cutoffs:
        outcome = log.outcome(log.history(cutoff))
        about = {
            "log": log.name,
            "horizon_days": log.horizon_days,
            "cutoff": as_date(cutoff).isoformat(),
            "n_customers": len(outcome.bought),
            "share_bought": float(outcome.bought.mean()),
        }
        for name, predictor in predictors.items():
            began = time.perf_counter()
            prediction = predictor(log, cutoff)
            seconds = time.perf_counter() - began
            yield about | {"model": name, "seconds": seconds} | _measure(outcome, prediction)


def _measure(outcome, prediction: Prediction) -> dict[str, float]:
    measures = probability_metrics(outcome.bought, prediction.p)
    if outcome.spend is not None and prediction.spend is not None:
        measures |= spend_metrics(outcome.spend, prediction.spend)
    return measures


def summarise(rows: Iterable[Row]) -> list[Row]:
    """Mean over a log's cut-offs, and the lowest and highest, per log and model."""
    grouped: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["log"], row["model"]), []).append(row)
    return [_mean(key, members) for key, members in grouped.items()]


def _mean(key: tuple[object, object], members: list[Row]) -> Row:
    mean: Row = {"log": key[0], "model": key[1], "n_cutoffs": len(members)}
    for metric in (*PROBABILITY, *SPEND):
        values = [row[metric] for row in members if metric in row]
        if values:
            mean[metric] = float(np.mean(values))
            mean[f"{metric}_range"] = [float(np.min(values)), float(np.max(values))]
    return mean
