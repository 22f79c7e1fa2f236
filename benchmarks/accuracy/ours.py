"""Ours, as one more predictor: orders in, scores out, nothing of the benchmark's own features."""

import numpy as np
import polars as pl

from benchmarks.accuracy.logs import Log, as_date
from benchmarks.accuracy.peers import Prediction
from repurchase import tables

NAME = "repurchase"


def repurchase(log: Log, cutoff: int) -> Prediction:
    """Fit on what was known at the cut-off, score everybody who is judged.

    The protocol also judges customers whose only sales were taken back on the same day; our scores have no purchase
    day for them and no probability. They get the mean probability and spend of everybody else, as a user would guess.
    """
    from repurchase import RepurchaseModel

    as_of, horizon = as_date(cutoff), log.horizon_days
    known = as_orders(log.orders).filter(pl.col("order_date").dt.date() <= as_of)
    model = RepurchaseModel(horizons=(horizon,)).fit(known, as_of=as_of)
    scores = model.predict(known, as_of=as_of)
    days = log.history(cutoff)
    judged = pl.DataFrame({"customer_id": days.customer_id}, schema={"customer_id": pl.String})
    rows = judged.join(scores, on="customer_id", how="left", maintain_order="left")
    p = _column(rows, f"p_repurchase_{horizon}d")
    return Prediction(p, _column(rows, f"spend_expected_{horizon}d") if days.has_money else None)


def as_orders(orders: pl.DataFrame) -> pl.DataFrame:
    """The log under the orders contract; returns stay on their own day."""
    kept = [column.name for column in tables.ORDERS.columns if column.name in orders.columns]
    casts = {column.name: column.dtype for column in tables.ORDERS.columns if column.name in kept}
    return tables.ORDERS.check(orders.select(kept).cast(casts))


def _column(rows: pl.DataFrame, name: str) -> np.ndarray:
    values = rows[name].cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(values), values, np.nanmean(values))
