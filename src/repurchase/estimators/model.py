"""One object from orders to scores.

Training and scoring share every step, since the model owns its features: they cannot drift apart. A customer's row
depends on that customer's orders, the model and ``as_of``, on nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from repurchase.errors import InputError, OrdersError
from repurchase.estimators.blend import logit
from repurchase.estimators.cuts import Cut, Cuts, purchase_rate
from repurchase.estimators.explain import Explanation
from repurchase.estimators.forecaster import Forecast, Forecaster, fit_forecaster
from repurchase.estimators.ranges import KnownWindow, SpendSpread, fit_spread, spend_range
from repurchase.estimators.scores import Prediction, for_customers, scores_frame, value_of
from repurchase.estimators.spend import orders_if_bought
from repurchase.estimators.tiers import Tiers, fit_tiers
from repurchase.estimators.timing import Waits, days_to_next_order, fit_waits
from repurchase.estimators.trials import learn_reasons
from repurchase.estimators.value import discount_factor
from repurchase.features.closing import Closing
from repurchase.features.timeline import ledger
from repurchase.orders.sufficiency import supported_horizons
from repurchase.settings import Settings
from repurchase.tables import Frame, as_polars

__all__ = ["RepurchaseModel"]

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365
UNREGISTERED = "unregistered"
WELL_EXPLAINED = 0.9
"""Share of the differences in risk that reasons must hold, or a note says so."""
RANGE_CUTOFFS = 6
RANGE_CUSTOMERS = 8_000
"""Customers of a cut-off from whom the scatter of money and waits is learned, at most."""


class RepurchaseModel(BaseEstimator):  # type: ignore[misc]
    """Repurchase probability, expected orders and money, and lifetime value of every customer.

    Per horizon three models, averaged on the scale of log odds: MBG/NBD, and a sum of curves and boosted trees that
    learned from several earlier cut-offs whose outcomes were known by ``as_of``. A horizon that the history cannot
    teach is answered by BTYD alone, and ``notes_`` says so.

    Parameters
    ----------
    horizons : sequence of int, optional
        Days ahead. Without it: 30, 90, 180, 365, cut to what the history supports.
    clv_horizon_days : int
        Days over which lifetime value is counted.
    discount_rate : float
        Yearly rate at which later money counts less.
    random_state : int
        Seed of everything random.
    n_jobs : int
        Fits side by side.

    Attributes
    ----------
    horizons_ : tuple of int
        Days ahead that are delivered.
    learned_ : tuple of int
        Those of them that outcomes taught.
    as_of_ : date
        Last day the model saw.
    closing_ : Closing or None
        A time in which the shop was closed: silence in it is not held against anyone.
    forecaster_ : Forecaster
        Purchases and money.
    spread_ : SpendSpread
        How far a customer's money lies around what is expected.
    waits_ : Waits or None
        How long those who come back wait; None where no outcome taught it.
    tiers_ : Tiers
        Thresholds of segments and risk bands.
    explanation_ : Explanation
        What moves the risk, by facts that can be told.
    notes_ : tuple of str
        What the reader of the scores must know, in words.

    Examples
    --------
    >>> RepurchaseModel(horizons=(30,)).predict(pl.DataFrame())
    Traceback (most recent call last):
        ...
    sklearn.exceptions.NotFittedError: This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.
    """

    def __init__(
        self,
        *,
        horizons: Sequence[int] | None = None,
        clv_horizon_days: int = 365,
        discount_rate: float = 0.10,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.horizons = horizons
        self.clv_horizon_days = clv_horizon_days
        self.discount_rate = discount_rate
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, orders: Frame, as_of: date | None = None) -> Self:
        """Learn from orders up to a day.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``tables.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.

        Returns
        -------
        RepurchaseModel
            Itself, fitted.

        Raises
        ------
        InsufficientHistory
            If a horizon that was asked for is longer than the history, or no one has bought yet.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        frame = as_polars(orders)
        day = _last_day(frame) if as_of is None else as_of
        book = ledger(frame, observed_until=day)
        settings = Settings(horizons=None if self.horizons is None else tuple(self.horizons))
        horizons = supported_horizons(first_day=book.first_day, as_of=day, settings=settings)
        return self.fit_cuts(Cuts(book, horizons=horizons), day)

    def fit_cuts(self, cuts: Cuts, as_of: date) -> Self:
        """Learn from cuts that others share; asks only for days and windows that end by ``as_of``.

        Parameters
        ----------
        cuts : Cuts
            Of a log that may reach beyond ``as_of``.
        as_of : date
            Last day that may be known, inclusive.

        Returns
        -------
        RepurchaseModel
            Itself, fitted.

        Raises
        ------
        InsufficientHistory
            If no one has bought yet.
        """
        self.as_of_ = as_of
        self.version_ = UNREGISTERED
        self.closing_ = cuts.book.closing
        self.horizons_ = tuple(sorted(set(self.horizons or cuts.horizons)))
        self.forecaster_ = fit_forecaster(
            cuts, as_of, horizons=self.horizons_, random_state=self.random_state, n_jobs=self.n_jobs
        )
        self.learned_ = tuple(self.forecaster_.heads)
        self.spread_ = SpendSpread.unknown()
        self.waits_: Waits | None = None
        if self.learned_:
            self._learn_ranges(cuts)
        now = cuts.at(as_of)
        self._learn_tiers(now)
        self.explanation_ = learn_reasons(now, self._risk_log_odds, random_state=self.random_state)
        self.notes_ = self._notes()
        return self

    def predict(self, orders: Frame, as_of: date | None = None, customers: Sequence[str] | None = None) -> pl.DataFrame:
        """Score customers.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``tables.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.
        customers : sequence of str, optional
            Whom to score, each once; without it everyone with a purchase day by ``as_of``.

        Returns
        -------
        DataFrame
            See ``tables.scores_table(horizons_)``, sorted by id, or in the order of ``customers``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OrdersError
            If the orders are not clean, or carry no amounts while the model learned from amounts.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        if not hasattr(self, "as_of_"):
            raise NotFittedError("This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.")
        frame = as_polars(orders)
        day = _last_day(frame) if as_of is None else as_of
        if customers is not None and frame.schema.get("customer_id") == pl.String():
            frame = frame.filter(pl.col("customer_id").is_in(pl.Series(list(customers), dtype=pl.String()).implode()))
        book = ledger(frame, observed_until=day)
        if self.forecaster_.gamma_gamma is not None and not book.has_amounts:
            raise OrdersError(
                f"orders: no amount in any of {frame.height:,} rows, but the model learned from amounts. Send orders "
                "with amounts, or train on orders without."
            )
        history, opened = book.history(day), book.without(self.closing_)
        cut = Cut(history if opened is book else opened.history(day))
        scores = scores_frame(
            cut,
            history,
            book.ids,
            self.predict_cut(cut),
            tiers=self.tiers_,
            explanation=self.explanation_,
            horizons=self.horizons_,
            model_version=self.version_,
        )
        if customers is None:
            return scores
        return for_customers(scores, customers).with_columns(
            pl.col("as_of").fill_null(day), pl.col("model_version").fill_null(self.version_)
        )

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
        forecast = self.forecaster_.forecast(cut, days=(*self.horizons_, self.clv_horizon_days, YEAR_DAYS))
        design = forecast.designs[self.waits_.horizon_days] if self.waits_ else None
        return Prediction(
            p=forecast.p,
            p_alive=self.forecaster_.btyd.p_alive(*cut.rfm),
            next_order_days=days_to_next_order(forecast.p, waits=self.waits_, design=design),
            orders=forecast.orders,
            spend=forecast.spend,
            **self._lifetime_value(cut, forecast),
        )

    def to_state(self) -> dict[str, Any]:
        """Take the fitted model apart.

        Returns
        -------
        dict
            Plain JSON values, no customer among them; each top-level key has one meaning (``btyd``, ``calibration``,
            ``tiers`` …).
        """
        forecaster = self.forecaster_.to_dict()
        return {
            "settings": {**self.get_params(), "horizons": self.horizons and list(self.horizons)},
            "closing": self.closing_ and self.closing_.to_dict(),
            "horizons": list(self.horizons_),
            "notes": list(self.notes_),
            "btyd": forecaster["btyd"],
            "calibration": {
                "heads": forecaster["heads"],
                "spend_spread": self.spread_.to_dict(),
                "waits": self.waits_.to_dict() if self.waits_ else None,
                "reasons": self.explanation_.to_dict(),
            },
            "tiers": self.tiers_.to_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "RepurchaseModel":
        """Put a fitted model together again.

        Parameters
        ----------
        state : mapping
            What `to_state` gave.

        Returns
        -------
        RepurchaseModel
            Predicts the same numbers.
        """
        learned = state["calibration"]
        model = cls(**state["settings"])
        model.version_ = state.get("model_version", UNREGISTERED)
        model.closing_ = Closing.from_dict(state["closing"]) if state.get("closing") else None
        model.horizons_, model.notes_ = tuple(state["horizons"]), tuple(state["notes"])
        model.forecaster_ = Forecaster.from_dict({"btyd": state["btyd"], "heads": learned["heads"]})
        model.as_of_, model.learned_ = model.forecaster_.as_of, tuple(model.forecaster_.heads)
        model.spread_ = SpendSpread.from_dict(learned["spend_spread"])
        model.waits_ = Waits.from_dict(learned["waits"]) if learned["waits"] else None
        model.tiers_ = Tiers.from_dict(state["tiers"])
        model.explanation_ = Explanation.from_dict(learned["reasons"])
        return model

    def _lifetime_value(self, cut: Cut, forecast: Forecast) -> dict[str, Floats]:
        if not forecast.spend:
            nothing = np.full(len(cut.features), np.nan)
            return {"clv": nothing, "clv_low": nothing, "clv_high": nothing}
        h, btyd = self.clv_horizon_days, self.forecaster_.btyd
        p = forecast.p[h]
        clv = forecast.spend[h] * discount_factor(btyd, cut.rfm, horizon_days=h, yearly_rate=self.discount_rate)
        days = orders_if_bought(purchase_rate(cut, btyd), horizon_days=h)
        low, high = spend_range(p, clv / np.maximum(p, 1e-9), days, self.spread_)
        return {"clv": clv, "clv_low": low, "clv_high": high}

    def _learn_ranges(self, cuts: Cuts) -> None:
        """Learn from earlier windows how buyers' money scatters and how long they wait."""
        self.waits_ = self._learn_waits(cuts, horizon_days=self.learned_[0])
        forecaster = self.forecaster_
        h = max(h for h in self.learned_ if h <= YEAR_DAYS or h == self.learned_[0])
        if forecaster.heads[h].spend is None:
            return
        windows = []
        for day in cuts.train_days(self.as_of_, horizon_days=h, most=RANGE_CUTOFFS):
            cut = cuts.sample(day, most=RANGE_CUSTOMERS, random_state=self.random_state)
            outcome, design = cuts.outcomes(cut, horizon_days=h), forecaster.design(cut, horizon_days=h)
            windows.append(
                KnownWindow(
                    log_odds=design["btyd_logit"].to_numpy(),
                    bought=outcome.bought,
                    orders_if_bought=orders_if_bought(design["btyd_rate"].to_numpy(), horizon_days=h),
                    spend_if_bought=forecaster.spend_if_bought(cut, design, horizon_days=h),
                    spend=outcome.spend,
                )
            )
        self.spread_ = fit_spread(windows)

    def _learn_waits(self, cuts: Cuts, *, horizon_days: int) -> Waits | None:
        # Of the shortest horizon: beyond it, dates are read off the probabilities, and cannot contradict them.
        designs, waits = [], []
        for day in cuts.train_days(self.as_of_, horizon_days=horizon_days, most=RANGE_CUTOFFS):
            cut = cuts.sample(day, most=RANGE_CUSTOMERS, random_state=self.random_state)
            designs.append(self.forecaster_.design(cut, horizon_days=horizon_days))
            waits.append(cuts.outcomes(cut, horizon_days=horizon_days).wait_days)
        return fit_waits(pl.concat(designs), np.concatenate(waits), horizon_days=horizon_days)

    def _learn_tiers(self, cut: Cut) -> None:
        prediction = self.predict_cut(cut)
        known = self.learned_ or self.horizons_
        risk_days = max((h for h in known if h <= YEAR_DAYS), default=known[0])
        second = cut.history.start[cut.history.count > 1] + 1
        self.tiers_ = fit_tiers(
            p=prediction.p[risk_days],
            value=value_of(prediction, horizon_days=risk_days),
            first_gap_days=(cut.history.day[second] - cut.history.day[second - 1]).astype(np.float64),
            risk_horizon_days=risk_days,
        )

    def _risk_log_odds(self, cut: Cut) -> Floats:
        days = self.tiers_.risk_horizon_days
        return logit(self.forecaster_.forecast(cut, days=(days,)).p[days])

    def _notes(self) -> tuple[str, ...]:
        notes = [
            f"{h} days ahead: answered by BTYD alone, since too few outcomes of both kinds are known to learn from"
            for h in self.horizons_
            if h not in self.learned_
        ]
        if self.closing_:
            notes.append(f"{self.closing_.words}: taken as a time when the shop was closed, not as customers' silence")
        if self.forecaster_.btyd.note:
            notes.append(f"BTYD: {self.forecaster_.btyd.note}")
        explained = self.explanation_.explained
        if explained is not None and explained < WELL_EXPLAINED:
            notes.append(
                f"reasons hold {max(explained, 0.0):.0%} of what the model's risk differs by between customers"
            )
        if self.forecaster_.gamma_gamma is None:
            notes.append("the orders carry no amounts: expected spend and lifetime value are absent")
        elif self.forecaster_.gamma_gamma.fallback_mean is not None:
            notes.append(
                "money per purchase: Gamma-Gamma did not fit; the shop's median stands in, shrunk to own means"
            )
        return tuple(notes)


def _last_day(orders: pl.DataFrame) -> date:
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
