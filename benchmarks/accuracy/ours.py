"""Ours, as one more predictor: orders in, scores out, nothing of the benchmark's own features."""

from functools import lru_cache

import numpy as np
import polars as pl

from benchmarks.accuracy.logs import Log, as_date
from benchmarks.accuracy.prediction import Prediction
from repurchase import schemas as tables

NAME = "repurchase"


def repurchase(log: Log, cutoff: int) -> Prediction:
    """Fit on what was known at the cut-off, score everybody who is judged.

    The protocol also judges customers whose only sales were taken back on the same day; our scores have no purchase
    day for them and no probability. They get the median of everybody else, as a user would guess.
    """
    days, h = log.history(cutoff), log.horizon_days
    rows = judged_scores(log, cutoff)
    p = _column(rows, f"p_repurchase_{h}d")
    return Prediction(p, _column(rows, f"spend_expected_{h}d") if days.has_money else None)


def judged_scores(log: Log, cutoff: int) -> pl.DataFrame:
    """Our scores of everybody who is judged, in the order of ``Days.customer_id``."""
    customers = pl.DataFrame({"customer_id": log.history(cutoff).customer_id}, schema={"customer_id": pl.String})
    return customers.join(_scores(log, cutoff), on="customer_id", how="left", maintain_order="left")


@lru_cache(maxsize=8)
def _scores(log: Log, cutoff: int) -> pl.DataFrame:
    from repurchase import RepurchaseModel

    as_of, horizon = as_date(cutoff), log.horizon_days
    known = as_orders(log.orders).filter(pl.col("order_date").dt.date() <= as_of)
    model = RepurchaseModel(horizons=(horizon,), clv_horizon_days=horizon, discount_rate=0.0).fit(known, as_of=as_of)
    return model.predict(known, as_of=as_of)


def as_orders(orders: pl.DataFrame) -> pl.DataFrame:
    """The log under the orders contract; returns stay on their own day."""
    kept = [column.name for column in tables.ORDERS.columns if column.name in orders.columns]
    casts = {column.name: column.dtype for column in tables.ORDERS.columns if column.name in kept}
    return tables.ORDERS.check(orders.select(kept).cast(casts))


def _column(rows: pl.DataFrame, name: str) -> np.ndarray:
    values = rows[name].cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(values), values, np.nanmedian(values))
