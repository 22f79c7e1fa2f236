"""Put a model's predictions into the scores table (see ``tables.SCORES``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.estimators.cuts import Cut
from repurchase.estimators.explain import Explanation
from repurchase.estimators.reasons import reasons
from repurchase.estimators.tiers import Tiers, label
from repurchase.estimators.timing import WITHIN_DAYS
from repurchase.features.history import History, day_number
from repurchase.features.rfm import rfm
from repurchase.tables import scores_table

__all__ = ["Prediction", "for_customers", "scores_frame"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What a model says about the customers of a cut, by horizon in days.

    Parameters
    ----------
    p : mapping of int to array of shape (n_customers,)
        Probability of a purchase day, rising with the horizon.
    p_alive : array of shape (n_customers,)
        BTYD's probability of still being a customer.
    next_order_days : tuple of three arrays of shape (n_customers,)
        Low, median and high days to the next order; NaN where none within a year is likely.
    orders : mapping of int to array
        Expected purchase days.
    spend : mapping of int to array
        Expected net money; empty without money.
    clv, clv_low, clv_high : arrays of shape (n_customers,)
        Discounted money over the CLV horizon and its 80 % range; NaN without money.
    """

    p: Mapping[int, Floats]
    p_alive: Floats
    next_order_days: tuple[Floats, Floats, Floats]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    clv: Floats
    clv_low: Floats
    clv_high: Floats


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
    cut: Cut,
    history: History,
    ids: pl.Series,
    prediction: Prediction,
    *,
    tiers: Tiers,
    explanation: Explanation,
    horizons: Sequence[int],
    model_version: str,
) -> pl.DataFrame:
    """Write one row per customer of a cut.

    Parameters
    ----------
    cut : Cut
        Customers, as the model sees them.
    history : History
        The same customers by the calendar: another one where the model leaves out a time when the shop was closed.
    ids : Series
        Customer ids by code.
    prediction : Prediction
        For the same customers.
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
    risk_p = prediction.p[tiers.risk_horizon_days]
    value = value_of(prediction, horizon_days=tiers.risk_horizon_days)
    frequency, _, _ = cut.rfm
    labels = label(
        tiers,
        p=risk_p,
        value=value,
        frequency=frequency,
        days_since_last=cut.features["days_since_last"].to_numpy(),
        gap_days=cut.features["gap_median_days"].to_numpy(),
    )
    low, median, high = prediction.next_order_days
    columns: dict[str, pl.Series] = {
        "p_alive": pl.Series(prediction.p_alive),
        **_per_horizon(prediction, horizons),
        **{name: pl.Series(getattr(prediction, name)) for name in ("clv", "clv_low", "clv_high")},
        "next_order_date": _days_after(cut, median),
        "next_order_date_low": _days_after(cut, low),
        "next_order_date_high": _days_after(cut, high),
        "next_order_note": _why_no_date(prediction),
        "value_at_risk": pl.Series((1.0 - risk_p) * prediction.clv),
    }
    figures, who = cut.features, cut.history.customer
    if history is cut.history:
        known = rfm(history, ids)
    else:
        known = rfm(history.take(np.flatnonzero(np.isin(history.customer, who))), ids)
        figures = figures.with_columns(known[name].cast(pl.Float64()) for name in ("days_since_last", "age_days"))
    table = scores_table(horizons)
    frame = pl.concat(
        [known, pl.DataFrame(columns), labels, reasons(cut.features, explanation, figures=figures)], how="horizontal"
    ).with_columns(
        pl.lit(cut.as_of).alias("as_of"),
        pl.lit(model_version, dtype=pl.String()).alias("model_version"),
        pl.lit("scored", dtype=pl.String()).alias("status"),
    )
    return table.check(
        frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()).with_columns(
            pl.col(pl.Float64).fill_nan(None)
        )
    )


def for_customers(scores: pl.DataFrame, customers: Sequence[str]) -> pl.DataFrame:
    """Give every customer asked for exactly one row, in the order asked.

    Parameters
    ----------
    scores : DataFrame
        Scores of the customers with history.
    customers : sequence of str
        Ids, each once.

    Returns
    -------
    DataFrame
        ``status`` is ``no_history`` where there is nothing to score.
    """
    asked = pl.DataFrame({"customer_id": pl.Series(list(customers), dtype=pl.String())})
    known = scores.select(pl.col("as_of", "model_version").first()) if scores.height else None
    joined = asked.join(scores, on="customer_id", how="left", maintain_order="left").select(scores.columns)
    filled = joined.with_columns(pl.col("status").fill_null("no_history"), pl.col("orders").fill_null(0))
    if known is None:
        return filled
    return filled.with_columns(pl.col(name).fill_null(known[name][0]) for name in known.columns)


def _per_horizon(prediction: Prediction, horizons: Sequence[int]) -> dict[str, pl.Series]:
    nothing = np.full(len(prediction.p_alive), np.nan)
    columns: dict[str, pl.Series] = {}
    for h in horizons:
        columns[f"p_repurchase_{h}d"] = pl.Series(prediction.p[h])
        columns[f"churn_risk_{h}d"] = pl.Series(1.0 - prediction.p[h])
        columns[f"orders_expected_{h}d"] = pl.Series(prediction.orders[h])
        columns[f"spend_expected_{h}d"] = pl.Series(prediction.spend.get(h, nothing))
    return columns


def _days_after(cut: Cut, days: Floats) -> pl.Series:
    return (pl.Series(days).fill_nan(None) + day_number(cut.as_of)).cast(pl.Int32).cast(pl.Date)


def _why_no_date(prediction: Prediction) -> pl.Series:
    within = prediction.p[max(h for h in prediction.p if h <= WITHIN_DAYS)]
    chance = pl.Series("chance", np.round(100.0 * within).astype(np.int64))
    words = pl.format("no date: the chance of an order within a year is {} %", pl.col("chance"))
    unknown = pl.Series("unknown", np.isnan(prediction.next_order_days[1]))
    return pl.select(pl.lit(chance), pl.lit(unknown)).select(pl.when("unknown").then(words).alias("note"))["note"]
