"""Put a model's predictions into the scores table (see ``tables.SCORES``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.estimators.cuts import Cut
from repurchase.estimators.explain import Explanation
from repurchase.estimators.predictor import Prediction
from repurchase.estimators.reasons import figures_of, ranked, told
from repurchase.estimators.tiers import Label, Tiers, label, words_of
from repurchase.estimators.timing import WITHIN_DAYS
from repurchase.features.history import MONEY, History, day_number
from repurchase.features.rfm import rfm
from repurchase.features.timeline import Ledger
from repurchase.tables import scores_table

__all__ = ["Judged", "for_customers", "judge", "scores_frame", "value_of", "with_no_purchases"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Judged:
    """What is delivered of customers, before it is put into words.

    Parameters
    ----------
    prediction : Prediction
        Numbers.
    label : Label
        Segment and risk band.
    reasons : int8 array of shape (n_customers, 3)
        See `reasons.ranked`.
    figures : mapping of str to array of shape (n_customers,)
        What reasons tell.
    """

    prediction: Prediction
    label: Label
    reasons: Codes
    figures: Mapping[str, Floats]


def judge(cut: Cut, prediction: Prediction, *, tiers: Tiers, explanation: Explanation) -> Judged:
    """Name what customers are and what moves their risk.

    Parameters
    ----------
    cut : Cut
        Customers, as the model sees them.
    prediction : Prediction
        For the same customers.
    tiers : Tiers
        Learned thresholds.
    explanation : Explanation
        What moves the model.

    Returns
    -------
    Judged
        For the same customers.
    """
    features = cut.features
    named = label(
        tiers,
        p=prediction.p[tiers.risk_horizon_days],
        value=value_of(prediction, horizon_days=tiers.risk_horizon_days),
        frequency=features["frequency"],
        days_since_last=features["days_since_last"],
        gap_days=features["gap_median_days"],
    )
    return Judged(prediction, named, ranked(features, explanation), figures_of(features))


def value_of(prediction: Prediction, *, horizon_days: int) -> Floats:
    """What a customer is expected to bring, by which customers are ranked.

    Parameters
    ----------
    prediction : Prediction
        Of any customers.
    horizon_days : int
        Window of the orders that stand in where there is no money.

    Returns
    -------
    array of shape (n_customers,)
        ``clv``, or expected orders without money.
    """
    return prediction.clv if prediction.spend else prediction.orders[horizon_days]


def scores_frame(
    history: History,
    ids: pl.Series,
    judged: Judged,
    *,
    own: History,
    tiers: Tiers,
    explanation: Explanation,
    horizons: Sequence[int],
    model_version: str,
) -> pl.DataFrame:
    """Write one row per customer.

    Parameters
    ----------
    history : History
        Customers, as the model sees them.
    ids : Series
        Customer ids by code.
    judged : Judged
        For the same customers.
    own : History
        The same customers by the calendar: another one where the model leaves out a time when the shop was closed.
    tiers : Tiers
        Learned thresholds.
    explanation : Explanation
        What moves the model.
    horizons : sequence of int
        Days ahead that are delivered.
    model_version : str
        Which model.

    Returns
    -------
    DataFrame
        See ``tables.scores_table(horizons)``, sorted by customer id.
    """
    prediction, figures = judged.prediction, dict(judged.figures)
    if own is history:
        known = rfm(history, ids)
    else:
        known = rfm(own.take(np.flatnonzero(np.isin(own.customer, history.customer))), ids)
        figures |= {name: known[name].cast(pl.Float64).to_numpy() for name in ("days_since_last", "age_days")}
    today = day_number(history.as_of)
    columns = {
        **_numbers(prediction, horizons, risk_days=tiers.risk_horizon_days),
        **_dates(prediction, today),
        "next_order_note": _why_no_date(prediction),
        **words_of(judged.label),
        **told(judged.reasons, figures, explanation),
    }
    constant = {"as_of": history.as_of, "model_version": model_version, "status": "scored"}
    table = replace(scores_table(horizons), key=())  # a ledger has each customer once
    frame = known.with_columns(pl.lit(value).alias(name) for name, value in constant.items()).with_columns(
        values.alias(name) for name, values in columns.items()
    )
    return table.check(frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()))


def with_no_purchases(
    scores: pl.DataFrame,
    book: Ledger,
    *,
    as_of: date,
    model_version: str,
    customers: Sequence[str] | pl.Series | None = None,
) -> pl.DataFrame:
    """Add a row for every customer who has orders but no purchase day: cancelled, free, or given back.

    Parameters
    ----------
    scores : DataFrame
        Of all customers with a purchase day, or of those among ``customers``; sorted by id.
    book : Ledger
        The orders.
    as_of : date
        Last day known.
    model_version : str
        Which model.
    customers : sequence of str, optional
        Whom to add; default everyone.

    Returns
    -------
    DataFrame
        Sorted by id. What is known is filled (``orders``, ``spend_total``), what is predicted is not.
    """
    known = book.customers(as_of)
    if customers is not None:
        known = known.filter(known.is_in(pl.Series(customers, dtype=pl.String()).implode()))
    if len(known) == scores.height:
        return scores
    added = pl.DataFrame({"customer_id": known}).join(scores, on="customer_id", how="anti")
    codes = pl.DataFrame({"customer_id": book.ids, "customer": np.arange(len(book.ids), dtype=np.uint32)})
    coded = added.join(codes, on="customer_id", how="left")
    entries = book.until(as_of).entries.join(coded, on="customer", how="semi")
    sums = entries.group_by("customer").agg(pl.col("orders", "spend").sum())
    spend = pl.col("spend").fill_null(0) / MONEY if book.has_amounts else pl.lit(None, dtype=pl.Float64)
    rows = coded.join(sums, on="customer", how="left").select(
        "customer_id",
        pl.lit(as_of).alias("as_of"),
        pl.lit(model_version).alias("model_version"),
        pl.lit("no_purchases").alias("status"),
        pl.col("orders").fill_null(0),
        spend.alias("spend_total"),
    )
    return pl.concat([scores, rows], how="diagonal").sort("customer_id")


def for_customers(
    scores: pl.DataFrame, customers: Sequence[str] | pl.Series, *, as_of: date, model_version: str
) -> pl.DataFrame:
    """Give every customer asked for exactly one row, in the order asked.

    Parameters
    ----------
    scores : DataFrame
        Scores of the customers with history.
    customers : sequence of str
        Ids, each once.
    as_of : date
        Last day known.
    model_version : str
        Which model.

    Returns
    -------
    DataFrame
        ``status`` is ``no_history`` where there is nothing to score.
    """
    asked = pl.DataFrame({"customer_id": pl.Series(customers, dtype=pl.String())})
    joined = asked.join(scores, on="customer_id", how="left", maintain_order="left").select(scores.columns)
    return joined.with_columns(
        pl.col("status").fill_null("no_history"),
        pl.col("orders").fill_null(0),
        pl.col("as_of").fill_null(as_of),
        pl.col("model_version").fill_null(model_version),
    )


def _numbers(prediction: Prediction, horizons: Sequence[int], *, risk_days: int) -> dict[str, pl.Series]:
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


def _dates(prediction: Prediction, today: int) -> dict[str, pl.Series]:
    names = ("next_order_date_low", "next_order_date", "next_order_date_high")
    return {
        name: (pl.Series(days, nan_to_null=True) + today).cast(pl.Int32).cast(pl.Date)
        for name, days in zip(names, prediction.next_order_days, strict=True)
    }


def _why_no_date(prediction: Prediction) -> pl.Series:
    within = prediction.p[max(h for h in prediction.p if h <= WITHIN_DAYS)]
    chance = np.round(100.0 * within).astype(np.int8)
    words = [f"no date: the chance of an order within a year is {percent} %" for percent in range(101)]
    place = np.where(np.isnan(prediction.next_order_days[1]), chance, len(words))
    return pl.Series([*words, None], dtype=pl.String()).gather(place)
