"""The fitted model: predictions in blocks of customers, and the scores table."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import is_dataclass
from dataclasses import replace
from datetime import date
from repurchase.errors import InputError, OrdersError
from repurchase.features.behaviour import rfm_of_history
from repurchase.features.history import Floats, History, MONEY_SCALE, day_number
from repurchase.features.ledger import Closing, Ledger, build_ledger
from repurchase.models.calibration import discount_factor
from repurchase.models.explanations import Codes, Explanation, rank_reasons, reason_figures
from repurchase.models.horizons import Forecast, Forecaster
from repurchase.models.reason_texts import render_reasons
from repurchase.models.segments import SegmentLabels, SegmentThresholds, label_segments, segment_texts
from repurchase.models.snapshots import Snapshot, purchase_rate
from repurchase.models.spend import SpendSpread, orders_if_bought, spend_range
from repurchase.models.timing import MAX_DATED_DAYS, WaitModel, days_to_next_order
from repurchase.schemas import Frame, as_polars, scores_table
from typing import Any
from typing import TypeVar
import numpy as np
import polars as pl


Answer = TypeVar("Answer")

_BLOCK_CUSTOMERS = 65_536
"""Customers looked at together: fewer spend their time on calls, more do not fit the cache."""
YEAR_DAYS = 365


@dataclass(frozen=True)
class Prediction:
    """What a model says about the customers of a cut, by horizon in days."""

    p: Mapping[int, Floats]
    p_alive: Floats
    next_order_days: tuple[Floats, Floats, Floats]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    clv: Floats
    clv_low: Floats
    clv_high: Floats


@dataclass(frozen=True)
class Predictor:
    """Fitted models of purchases, money and waits."""

    forecaster: Forecaster
    spread: SpendSpread
    waits: WaitModel | None
    horizons: tuple[int, ...]
    clv_horizon_days: int
    discount_rate: float

    def predict(self, snapshot: Snapshot) -> Prediction:
        """Predict for the customers of a cut, all at once."""
        forecast = self.forecaster.forecast(snapshot, days=(*self.horizons, self.clv_horizon_days, YEAR_DAYS))
        design = forecast.designs[self.waits.horizon_days] if self.waits else None
        return Prediction(
            p=forecast.p,
            p_alive=snapshot.btyd_forecast(self.forecaster.btyd).p_alive,
            next_order_days=days_to_next_order(forecast.p, waits=self.waits, design=design),
            orders=forecast.orders,
            spend=forecast.spend,
            **self._lifetime_value(snapshot, forecast),
        )

    def _lifetime_value(self, snapshot: Snapshot, forecast: Forecast) -> dict[str, Floats]:
        if not forecast.spend:
            nothing = np.full(snapshot.n_customers, np.nan)
            return {"clv": nothing, "clv_low": nothing, "clv_high": nothing}
        h, btyd = self.clv_horizon_days, self.forecaster.btyd
        p = forecast.p[h]
        worth = discount_factor(snapshot.btyd_forecast(btyd), horizon_days=h, yearly_rate=self.discount_rate)
        clv = forecast.spend[h] * worth
        days = orders_if_bought(purchase_rate(snapshot, btyd), horizon_days=h)
        low, high = spend_range(p, clv / np.maximum(p, 1e-9), days, self.spread)
        return {"clv": clv, "clv_low": low, "clv_high": high}


def predict_in_blocks(
    snapshot: Snapshot, answer_of: Callable[[Snapshot], Answer], *, n_jobs: int = 1, customers_per_block: int = _BLOCK_CUSTOMERS
) -> Answer:
    """Ask about the customers of a cut block by block, and put the answers together."""
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
class _LabelledPrediction:
    """What is delivered of customers, before it is put into words."""

    prediction: Prediction
    label: SegmentLabels
    reasons: Codes
    figures: Mapping[str, Floats]


def _label_prediction(snapshot: Snapshot, prediction: Prediction, *, thresholds: SegmentThresholds, explanation: Explanation) -> _LabelledPrediction:
    """Name what customers are and what moves their risk."""
    features = snapshot.features
    named = label_segments(
        thresholds,
        p=prediction.p[thresholds.risk_horizon_days],
        value=ranking_value(prediction, horizon_days=thresholds.risk_horizon_days),
        frequency=features["frequency"],
        days_since_last=features["days_since_last"],
        gap_days=features["gap_median_days"],
    )
    return _LabelledPrediction(prediction, named, rank_reasons(features, explanation), reason_figures(features))


def ranking_value(prediction: Prediction, *, horizon_days: int) -> Floats:
    """What a customer is expected to bring, by which customers are ranked."""
    return prediction.clv if prediction.spend else prediction.orders[horizon_days]


def _scores_frame(
    history: History,
    ids: pl.Series,
    judged: _LabelledPrediction,
    *,
    own: History,
    thresholds: SegmentThresholds,
    explanation: Explanation,
    horizons: Sequence[int],
    model_version: str,
) -> pl.DataFrame:
    """Write one row per customer."""
    prediction, figures = judged.prediction, dict(judged.figures)
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
        **segment_texts(judged.label),
        **render_reasons(judged.reasons, figures, explanation),
    }
    constant = {"as_of": history.as_of, "model_version": model_version, "status": "scored"}
    table = replace(scores_table(horizons), key=())  # a ledger has each customer once
    frame = known.with_columns(pl.lit(value).alias(name) for name, value in constant.items()).with_columns(
        values.alias(name) for name, values in columns.items()
    )
    return table.check(frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()))


def _add_customers_without_purchases(
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
    """Give every customer asked for exactly one row, in the order asked."""
    asked = pl.DataFrame({"customer_id": pl.Series(customers, dtype=pl.String())})
    joined = asked.join(scores, on="customer_id", how="left", maintain_order="left").select(scores.columns)
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
    words = [f"no date: the chance of an order within a year is {percent} %" for percent in range(101)]
    index = np.where(np.isnan(prediction.next_order_days[1]), chance, len(words))
    return pl.Series([*words, None], dtype=pl.String()).gather(index)


_UNREGISTERED = "unregistered"


@dataclass(frozen=True)
class FittedModel:
    """What was learned, as numbers, and what it says of customers."""

    predictor: Predictor
    thresholds: SegmentThresholds
    explanation: Explanation
    closing: Closing | None
    notes: tuple[str, ...]
    version: str = _UNREGISTERED
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def as_of(self) -> date:
        """Last day the model saw."""
        return self.predictor.forecaster.as_of

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days ahead that are delivered."""
        return self.predictor.horizons

    @property
    def learned(self) -> tuple[int, ...]:
        """Those of them that outcomes taught."""
        return tuple(self.predictor.forecaster.horizon_models)

    def predict(
        self,
        ledger: Ledger,
        as_of: date,
        customers: Sequence[str] | None = None,
        *,
        n_jobs: int = 1,
        customers_per_block: int = _BLOCK_CUSTOMERS,
    ) -> pl.DataFrame:
        """Score customers."""
        if self.predictor.forecaster.gamma_gamma is not None and not ledger.has_amounts:
            raise OrdersError(
                f"orders: no amount in any of {ledger.entries['lines'].sum():,} rows, but the model learned from "
                "amounts. Send orders with amounts, or train on orders without."
            )
        own, opened = ledger.history(as_of), ledger.without(self.closing)
        history = own if opened is ledger else opened.history(as_of)
        if customers is not None:
            asked = np.flatnonzero(ledger.ids.is_in(pl.Series(list(customers), dtype=pl.String()).implode()).to_numpy())
            history = history.take(np.flatnonzero(np.isin(history.customer, asked)))
            own = history if opened is ledger else own
        scores = _scores_frame(
            history,
            ledger.ids,
            self._judged(Snapshot(history), n_jobs=n_jobs, customers_per_block=customers_per_block),
            own=own,
            thresholds=self.thresholds,
            explanation=self.explanation,
            horizons=self.horizons,
            model_version=self.version,
        )
        scores = _add_customers_without_purchases(scores, ledger, as_of=as_of, model_version=self.version, customers=customers)
        if customers is None:
            return scores
        return select_customers(scores, customers, as_of=as_of, model_version=self.version)

    def _judged(self, snapshot: Snapshot, *, n_jobs: int, customers_per_block: int) -> _LabelledPrediction:
        def judged(block: Snapshot) -> _LabelledPrediction:
            return _label_prediction(block, self.predictor.predict(block), thresholds=self.thresholds, explanation=self.explanation)

        return predict_in_blocks(snapshot, judged, n_jobs=n_jobs, customers_per_block=customers_per_block)

    def predict_orders(
        self,
        orders: Frame,
        as_of: date | None = None,
        customers: Sequence[str] | None = None,
        *,
        n_jobs: int = 1,
    ) -> pl.DataFrame:
        """Score the customers of a table of orders."""
        frame = as_polars(orders)
        day = last_order_day(frame) if as_of is None else as_of
        if customers is not None and frame.schema.get("customer_id") == pl.String():
            frame = frame.filter(pl.col("customer_id").is_in(pl.Series(list(customers), dtype=pl.String()).implode()))
        return self.predict(build_ledger(frame, observed_until=day), day, customers, n_jobs=n_jobs)

    def predict_snapshot(self, snapshot: Snapshot) -> Prediction:
        """Predict for the customers of a cut."""
        return predict_in_blocks(snapshot, self.predictor.predict)

    def to_state(self) -> dict[str, Any]:
        """Take the fitted model apart."""
        forecaster, waits = self.predictor.forecaster.to_dict(), self.predictor.waits
        return {
            "settings": dict(self.settings),
            "closing": self.closing and self.closing.to_dict(),
            "horizons": list(self.horizons),
            "notes": list(self.notes),
            "btyd": forecaster["btyd"],
            "calibration": {
                "heads": forecaster["heads"],
                "spend_spread": self.predictor.spread.to_dict(),
                "waits": waits and waits.to_dict(),
                "reasons": self.explanation.to_dict(),
            },
            "tiers": self.thresholds.to_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "FittedModel":
        """Put a fitted model together again."""
        learned, settings = state["calibration"], state["settings"]
        return cls(
            Predictor(
                forecaster=Forecaster.from_dict({"btyd": state["btyd"], "heads": learned["heads"]}),
                spread=SpendSpread.from_dict(learned["spend_spread"]),
                waits=WaitModel.from_dict(learned["waits"]) if learned["waits"] else None,
                horizons=tuple(state["horizons"]),
                clv_horizon_days=settings["clv_horizon_days"],
                discount_rate=settings["discount_rate"],
            ),
            thresholds=SegmentThresholds.from_dict(state["tiers"]),
            explanation=Explanation.from_dict(learned["reasons"]),
            closing=Closing.from_dict(state["closing"]) if state.get("closing") else None,
            notes=tuple(state["notes"]),
            version=state.get("model_version", _UNREGISTERED),
            settings=settings,
        )


def last_order_day(orders: pl.DataFrame) -> date:
    """Find the day of the last order."""
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
