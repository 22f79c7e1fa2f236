"""A fitted model: from a ledger and a day to scores, without anything that only fitting needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError, OrdersError
from repurchase.estimators.cuts import Cut
from repurchase.estimators.explain import Explanation
from repurchase.estimators.forecaster import Forecaster
from repurchase.estimators.predictor import BLOCK, Prediction, Predictor, in_blocks
from repurchase.estimators.ranges import SpendSpread
from repurchase.estimators.scores import Judged, for_customers, judge, scores_frame, with_no_purchases
from repurchase.estimators.tiers import Tiers
from repurchase.estimators.timing import Waits
from repurchase.features.closing import Closing
from repurchase.features.ledgers import ledger
from repurchase.features.timeline import Ledger
from repurchase.tables import Frame, as_polars

__all__ = ["UNREGISTERED", "FittedModel", "last_day"]

Floats = npt.NDArray[np.float64]

UNREGISTERED = "unregistered"


@dataclass(frozen=True)
class FittedModel:
    """What was learned, as numbers, and what it says of customers.

    Parameters
    ----------
    predictor : Predictor
        Purchases, money and waits.
    tiers : Tiers
        Thresholds of segments and risk bands.
    explanation : Explanation
        What moves the risk, by facts that can be told.
    closing : Closing or None
        A time in which the shop was closed: silence in it is not held against anyone.
    notes : tuple of str
        What the reader of the scores must know, in words.
    version : str
        Which model.
    settings : mapping
        Parameters of the estimator that fitted it.
    """

    predictor: Predictor
    tiers: Tiers
    explanation: Explanation
    closing: Closing | None
    notes: tuple[str, ...]
    version: str = UNREGISTERED
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
        return tuple(self.predictor.forecaster.heads)

    def predict(
        self,
        book: Ledger,
        as_of: date,
        customers: Sequence[str] | None = None,
        *,
        n_jobs: int = 1,
        customers_per_block: int = BLOCK,
    ) -> pl.DataFrame:
        """Score customers.

        Parameters
        ----------
        book : Ledger
            Their orders, maybe beyond ``as_of``.
        as_of : date
            Last day known, inclusive.
        customers : sequence of str, optional
            Whom to score, each once; without it everyone with an order by ``as_of``. Who has orders but no purchase
            day gets a row with status ``no_purchases`` and nothing predicted.
        n_jobs : int, optional
            Threads.
        customers_per_block : int, optional
            See `in_blocks`; no digit depends on it, nor on ``n_jobs``.

        Returns
        -------
        DataFrame
            See ``tables.scores_table(horizons)``, sorted by id, or in the order of ``customers``.

        Raises
        ------
        OrdersError
            If the orders carry no amounts while the model learned from amounts.
        """
        if self.predictor.forecaster.gamma_gamma is not None and not book.has_amounts:
            raise OrdersError(
                f"orders: no amount in any of {book.entries['lines'].sum():,} rows, but the model learned from "
                "amounts. Send orders with amounts, or train on orders without."
            )
        own, opened = book.history(as_of), book.without(self.closing)
        history = own if opened is book else opened.history(as_of)
        if customers is not None:
            asked = np.flatnonzero(book.ids.is_in(pl.Series(list(customers), dtype=pl.String()).implode()).to_numpy())
            history = history.take(np.flatnonzero(np.isin(history.customer, asked)))
            own = history if opened is book else own
        scores = scores_frame(
            history,
            book.ids,
            self._judged(Cut(history), n_jobs=n_jobs, customers_per_block=customers_per_block),
            own=own,
            tiers=self.tiers,
            explanation=self.explanation,
            horizons=self.horizons,
            model_version=self.version,
        )
        scores = with_no_purchases(scores, book, as_of=as_of, model_version=self.version, customers=customers)
        if customers is None:
            return scores
        return for_customers(scores, customers, as_of=as_of, model_version=self.version)

    def _judged(self, cut: Cut, *, n_jobs: int, customers_per_block: int) -> Judged:
        def judged(block: Cut) -> Judged:
            return judge(block, self.predictor.predict(block), tiers=self.tiers, explanation=self.explanation)

        return in_blocks(cut, judged, n_jobs=n_jobs, customers_per_block=customers_per_block)

    def predict_orders(
        self,
        orders: Frame,
        as_of: date | None = None,
        customers: Sequence[str] | None = None,
        *,
        n_jobs: int = 1,
    ) -> pl.DataFrame:
        """Score the customers of a table of orders.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``tables.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.
        customers : sequence of str, optional
            See `predict`.
        n_jobs : int, optional
            Threads.

        Returns
        -------
        DataFrame
            See `predict`.

        Raises
        ------
        OrdersError
            If the orders are not clean, or carry no amounts while the model learned from amounts.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        frame = as_polars(orders)
        day = last_day(frame) if as_of is None else as_of
        if customers is not None and frame.schema.get("customer_id") == pl.String():
            frame = frame.filter(pl.col("customer_id").is_in(pl.Series(list(customers), dtype=pl.String()).implode()))
        return self.predict(ledger(frame, observed_until=day), day, customers, n_jobs=n_jobs)

    def predict_cut(self, cut: Cut) -> Prediction:
        """Predict for the customers of a cut.

        Parameters
        ----------
        cut : Cut
            Customers on a day.

        Returns
        -------
        Prediction
            By horizon, the longer ones of lifetime value and the year included.
        """
        return in_blocks(cut, self.predictor.predict)

    def to_state(self) -> dict[str, Any]:
        """Take the fitted model apart.

        Returns
        -------
        dict
            Plain JSON values, no customer among them; each top-level key has one meaning (``btyd``, ``calibration``,
            ``tiers`` …).
        """
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
            "tiers": self.tiers.to_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "FittedModel":
        """Put a fitted model together again.

        Parameters
        ----------
        state : mapping
            What `to_state` gave.

        Returns
        -------
        FittedModel
            Predicts the same numbers.
        """
        learned, settings = state["calibration"], state["settings"]
        return cls(
            Predictor(
                forecaster=Forecaster.from_dict({"btyd": state["btyd"], "heads": learned["heads"]}),
                spread=SpendSpread.from_dict(learned["spend_spread"]),
                waits=Waits.from_dict(learned["waits"]) if learned["waits"] else None,
                horizons=tuple(state["horizons"]),
                clv_horizon_days=settings["clv_horizon_days"],
                discount_rate=settings["discount_rate"],
            ),
            tiers=Tiers.from_dict(state["tiers"]),
            explanation=Explanation.from_dict(learned["reasons"]),
            closing=Closing.from_dict(state["closing"]) if state.get("closing") else None,
            notes=tuple(state["notes"]),
            version=state.get("model_version", UNREGISTERED),
            settings=settings,
        )


def last_day(orders: pl.DataFrame) -> date:
    """Find the day of the last order.

    Parameters
    ----------
    orders : DataFrame
        Clean orders.

    Returns
    -------
    date
        A calendar day.

    Raises
    ------
    InputError
        If there is no row with an ``order_date``.
    """
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
