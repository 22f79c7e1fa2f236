"""The fitted model: predictions in blocks of customers, and the scores table."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from typing import Any, TypeVar

import numpy as np
import polars as pl

from repurchase.errors import InputError
from repurchase.features.behaviour import rfm_of_history
from repurchase.features.history import MONEY_SCALE, Floats, History, day_number
from repurchase.features.ledger import Ledger
from repurchase.models.explanations import Codes, Explanation, rank_reasons, reason_figures
from repurchase.models.reason_texts import render_reasons
from repurchase.models.segments import SegmentLabels, SegmentThresholds, label_segments, segment_texts
from repurchase.models.snapshots import Snapshot
from repurchase.models.timing import MAX_DATED_DAYS
from repurchase.schemas import scores_table

Answer = TypeVar("Answer")

BLOCK_CUSTOMERS = 65_536
"""Customers predicted together: fewer lose time in calls, more do not fit the processor's cache."""
YEAR_DAYS = 365


@dataclass(frozen=True)
class Prediction:
    """Predictions for the customers of a snapshot, by horizon in days."""

    p: Mapping[int, Floats]
    p_alive: Floats
    next_order_days: tuple[Floats, Floats, Floats]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    clv: Floats
    clv_low: Floats
    clv_high: Floats


def predict_in_blocks(
    snapshot: Snapshot,
    answer_of: Callable[[Snapshot], Answer],
    *,
    n_jobs: int = 1,
    customers_per_block: int = BLOCK_CUSTOMERS,
) -> Answer:
    """Predict the customers of a snapshot block by block, and join the results."""
    ends = range(0, max(snapshot.n_customers, 1), customers_per_block)
    blocks = (snapshot.block(first, min(first + customers_per_block, snapshot.n_customers)) for first in ends)
    if n_jobs == 1 or len(ends) == 1:
        answers = [answer_of(block) for block in blocks]
    else:
        with ThreadPoolExecutor(n_jobs) as threads:
            answers = list(threads.map(answer_of, blocks))
    joined: Answer = _concatenated(answers)
    return joined


def _concatenated(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, Mapping):
        return {name: _concatenated([part[name] for part in parts]) for name in first}
    if is_dataclass(first) and not isinstance(first, type):
        return type(first)(*(_concatenated([getattr(part, item.name) for part in parts]) for item in fields(first)))
    together = [_concatenated(some) for some in zip(*parts, strict=True)]
    return type(first)(*together) if hasattr(first, "_fields") else tuple(together)


@dataclass(frozen=True)
class LabelledPrediction:
    """What is delivered of customers, before it is rendered as text."""

    prediction: Prediction
    label: SegmentLabels
    reasons: Codes
    figures: Mapping[str, Floats]


def label_prediction(
    snapshot: Snapshot, prediction: Prediction, *, thresholds: SegmentThresholds, explanation: Explanation
) -> LabelledPrediction:
    """Find segments, risk bands and reasons of customers."""
    features = snapshot.features
    named = label_segments(
        thresholds,
        p=prediction.p[thresholds.risk_horizon_days],
        value=ranking_value(prediction, horizon_days=thresholds.risk_horizon_days),
        frequency=features["frequency"],
        days_since_last=features["days_since_last"],
        gap_days=features["gap_median_days"],
    )
    return LabelledPrediction(prediction, named, rank_reasons(features, explanation), reason_figures(features))


def ranking_value(prediction: Prediction, *, horizon_days: int) -> Floats:
    """What a customer is expected to bring, by which customers are ranked."""
    return prediction.clv if prediction.spend else prediction.orders[horizon_days]


def scores_frame(
    history: History,
    ids: pl.Series,
    labelled: LabelledPrediction,
    *,
    own: History,
    thresholds: SegmentThresholds,
    explanation: Explanation,
    horizons: Sequence[int],
    model_version: str,
) -> pl.DataFrame:
    """Write one row per customer."""
    prediction, figures = labelled.prediction, dict(labelled.figures)
    if own is history:
        known = rfm_of_history(history, ids)
    else:
        known = rfm_of_history(own.take(np.flatnonzero(np.isin(own.customer, history.customer))), ids)
        figures |= {name: known[name].cast(pl.Float64).to_numpy() for name in ("days_since_last", "age_days")}
    today = day_number(history.as_of)
    columns = {
        **_number_columns(prediction, horizons, risk_days=thresholds.risk_horizon_days),
        **_next_order_dates(prediction, today),
        "next_order_note": _no_date_notes(prediction),
        **segment_texts(labelled.label),
        **render_reasons(labelled.reasons, figures, explanation),
    }
    constant = {"as_of": history.as_of, "model_version": model_version, "status": "scored"}
    table = replace(scores_table(horizons), key=())  # a ledger has each customer once
    frame = known.with_columns(pl.lit(value).alias(name) for name, value in constant.items()).with_columns(
        values.alias(name) for name, values in columns.items()
    )
    return table.check(frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()))


def add_customers_without_purchases(
    scores: pl.DataFrame,
    ledger: Ledger,
    *,
    as_of: date,
    model_version: str,
    customers: Sequence[str] | pl.Series | None = None,
) -> pl.DataFrame:
    """Add a row for every customer who has orders but no purchase day: cancelled, free, or given back."""
    known = ledger.customers(as_of)
    if customers is not None:
        known = known.filter(known.is_in(pl.Series(customers, dtype=pl.String()).implode()))
    if len(known) == scores.height:
        return scores
    added = pl.DataFrame({"customer_id": known}).join(scores, on="customer_id", how="anti")
    codes = pl.DataFrame({"customer_id": ledger.ids, "customer": np.arange(len(ledger.ids), dtype=np.uint32)})
    coded = added.join(codes, on="customer_id", how="left")
    entries = ledger.until(as_of).entries.join(coded, on="customer", how="semi")
    sums = entries.group_by("customer").agg(pl.col("orders", "spend").sum())
    spend = pl.col("spend").fill_null(0) / MONEY_SCALE if ledger.has_amounts else pl.lit(None, dtype=pl.Float64)
    rows = coded.join(sums, on="customer", how="left").select(
        "customer_id",
        pl.lit(as_of).alias("as_of"),
        pl.lit(model_version).alias("model_version"),
        pl.lit("no_purchases").alias("status"),
        pl.col("orders").fill_null(0),
        spend.alias("spend_total"),
    )
    return pl.concat([scores, rows], how="diagonal").sort("customer_id")


def select_customers(
    scores: pl.DataFrame, customers: Sequence[str] | pl.Series, *, as_of: date, model_version: str
) -> pl.DataFrame:
    """Return exactly one row per requested customer, in the requested order."""
    requested = pl.DataFrame({"customer_id": pl.Series(customers, dtype=pl.String())})
    joined = requested.join(scores, on="customer_id", how="left", maintain_order="left").select(scores.columns)
    return joined.with_columns(
        pl.col("status").fill_null("no_history"),
        pl.col("orders").fill_null(0),
        pl.col("as_of").fill_null(as_of),
        pl.col("model_version").fill_null(model_version),
    )


def _number_columns(prediction: Prediction, horizons: Sequence[int], *, risk_days: int) -> dict[str, pl.Series]:
    numbers = {"p_alive": prediction.p_alive}
    for h in horizons:
        numbers[f"p_repurchase_{h}d"] = prediction.p[h]
        numbers[f"churn_risk_{h}d"] = 1.0 - prediction.p[h]
        numbers[f"orders_expected_{h}d"] = prediction.orders[h]
    values = {name: pl.Series(column) for name, column in numbers.items()}
    money = {f"spend_expected_{h}d": prediction.spend.get(h) for h in horizons}
    money |= {name: getattr(prediction, name) for name in ("clv", "clv_low", "clv_high")}
    money["value_at_risk"] = (1.0 - prediction.p[risk_days]) * prediction.clv
    if prediction.spend:
        return values | {name: pl.Series(column, nan_to_null=True) for name, column in money.items()}
    return values | {name: pl.repeat(None, len(prediction.clv), dtype=pl.Float64, eager=True) for name in money}


def _next_order_dates(prediction: Prediction, today: int) -> dict[str, pl.Series]:
    names = ("next_order_date_low", "next_order_date", "next_order_date_high")
    return {
        name: (pl.Series(days, nan_to_null=True) + today).cast(pl.Int32).cast(pl.Date)
        for name, days in zip(names, prediction.next_order_days, strict=True)
    }


def _no_date_notes(prediction: Prediction) -> pl.Series:
    within = prediction.p[max(h for h in prediction.p if h <= MAX_DATED_DAYS)]
    chance = np.round(100.0 * within).astype(np.int8)
    texts = [f"no date: the chance of an order within a year is {percent} %" for percent in range(101)]
    index = np.where(np.isnan(prediction.next_order_days[1]), chance, len(texts))
    return pl.Series([*texts, None], dtype=pl.String()).gather(index)


def last_order_day(orders: pl.DataFrame) -> date:
    """Find the day of the last order."""
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
