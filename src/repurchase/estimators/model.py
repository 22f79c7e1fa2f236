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
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from repurchase.errors import InputError, InsufficientHistory, OrdersError
from repurchase.estimators.blend import expit, rising
from repurchase.estimators.btyd import Btyd, GammaGamma
from repurchase.estimators.cuts import Cut, Cuts, design_matrix
from repurchase.estimators.heads import Head, fit_head, gather, place
from repurchase.estimators.scores import Prediction, for_customers, scores_frame, value_of
from repurchase.estimators.spend import mix_with_gamma_gamma
from repurchase.estimators.state import ModelState
from repurchase.estimators.tiers import Tiers, fit_tiers
from repurchase.estimators.value import (
    SpendSpread,
    discount_factor,
    expected_orders,
    fit_spread,
    never_falling,
    spend_range,
)
from repurchase.features.timeline import ledger
from repurchase.orders.sufficiency import supported_horizons
from repurchase.settings import Settings
from repurchase.tables import Frame, as_polars

__all__ = ["RepurchaseModel"]

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365
UNREGISTERED = "unregistered"
SPREAD_CUSTOMERS = 20_000
"""Customers from whom the scatter of money is learned, at most."""


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
    btyd_, other_btyd_ : Btyd
        Purchases and dropout: MBG/NBD, which speaks, and BG/NBD, which the heads hear too.
    gamma_gamma_ : GammaGamma or None
        Money per purchase day; None where the log has no money.
    tiers_ : Tiers
        Thresholds of segments and risk bands.
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
        now = cuts.at(as_of)
        if not len(now.history.customer):
            raise InsufficientHistory(
                f"orders: no customer has a day with net sales above zero up to {as_of}, so there is nothing to learn "
                "from. Send orders with sales, or a later day."
            )
        self.as_of_ = as_of
        self.version_ = UNREGISTERED
        self.horizons_ = tuple(sorted(set(self.horizons or cuts.horizons)))
        self.btyd_ = cuts.btyd(as_of, "mbgnbd")
        self.other_btyd_ = cuts.btyd(as_of, "bgnbd")
        self.gamma_gamma_ = cuts.gamma_gamma(as_of)
        self.heads_ = self._fit_heads(cuts)
        self.learned_ = tuple(self.heads_)
        self.spread_ = self._learn_spread(cuts)
        self._learn_tiers(now)
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
        if self.gamma_gamma_ is not None and not book.has_amounts:
            raise OrdersError(
                f"orders: no amount in any of {frame.height:,} rows, but the model learned from amounts. Send orders "
                "with amounts, or train on orders without."
            )
        cut = Cut(book.history(day))
        scores = scores_frame(
            cut,
            book.ids,
            self.predict_cut(cut),
            tiers=self.tiers_,
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
        curve_days = sorted({*self.horizons_, self.clv_horizon_days, YEAR_DAYS})
        p_btyd = {h: self.btyd_.p_purchase(*cut.rfm, horizon_days=h) for h in curve_days}
        orders_btyd = {h: self.btyd_.expected_purchases(*cut.rfm, horizon_days=h) for h in curve_days}
        designs = {h: design_matrix(cut, self.btyd_, self.other_btyd_, horizon_days=h) for h in self.heads_}
        log_odds = {h: head.log_odds(designs[h]) for h, head in self.heads_.items()}
        p = rising({h: expit(parts[2] + self._season(cut, h)[0]) for h, parts in log_odds.items()}, p_btyd)
        orders = never_falling({h: expected_orders(p[h], p_btyd[h], orders_btyd[h]) for h in curve_days})
        return Prediction(
            p=p,
            p_parts={
                "btyd": p_btyd,
                "additive": {h: expit(parts[0]) for h, parts in log_odds.items()},
                "boosting": {h: expit(parts[1]) for h, parts in log_odds.items()},
            },
            p_alive=self.btyd_.p_alive(*cut.rfm),
            orders=orders,
            **self._money(cut, designs, p, orders),
        )

    def to_state(self) -> ModelState:
        """Take the fitted model apart.

        Returns
        -------
        ModelState
            Plain numbers and scikit-learn estimators.
        """
        parameters = {
            "settings": {**self.get_params(), "horizons": self.horizons and list(self.horizons)},
            "as_of": self.as_of_.isoformat(),
            "horizons": list(self.horizons_),
            "learned": list(self.learned_),
            "notes": list(self.notes_),
            "btyd": {
                "mbgnbd": self.btyd_.to_dict(),
                "bgnbd": self.other_btyd_.to_dict(),
                "gamma_gamma": self.gamma_gamma_ and self.gamma_gamma_.to_dict(),
            },
            "calibration": {
                "heads": [[h, head.to_dict()] for h, head in self.heads_.items()],
                "spend_spread": {"orders": list(self.spread_.orders), "sigma": list(self.spread_.sigma)},
            },
            "tiers": self.tiers_.to_dict(),
        }
        return ModelState(parameters, {_head_name(h): head.trees.booster for h, head in self.heads_.items()})

    @classmethod
    def from_state(cls, state: ModelState) -> "RepurchaseModel":
        """Put a fitted model together again.

        Parameters
        ----------
        state : ModelState
            What `to_state` gave.

        Returns
        -------
        RepurchaseModel
            Predicts the same numbers.
        """
        known = state.parameters
        money, spread = known["btyd"]["gamma_gamma"], known["calibration"]["spend_spread"]
        model = cls(**known["settings"])
        model.as_of_ = date.fromisoformat(known["as_of"])
        model.version_ = known.get("model_version", UNREGISTERED)
        model.horizons_, model.learned_ = tuple(known["horizons"]), tuple(known["learned"])
        model.notes_ = tuple(known["notes"])
        model.btyd_ = Btyd.from_dict(known["btyd"]["mbgnbd"])
        model.other_btyd_ = Btyd.from_dict(known["btyd"]["bgnbd"])
        model.gamma_gamma_ = GammaGamma.from_dict(money) if money else None
        model.spread_ = SpendSpread(tuple(spread["orders"]), tuple(spread["sigma"]))
        model.tiers_ = Tiers.from_dict(known["tiers"])
        model.heads_ = {
            h: Head.from_dict(head, state.estimators[_head_name(h)]) for h, head in known["calibration"]["heads"]
        }
        return model

    def _fit_heads(self, cuts: Cuts) -> dict[int, Head]:
        models = (self.btyd_, self.other_btyd_)
        lessons = {
            h: gather(cuts, self.as_of_, *models, horizon_days=h, random_state=self.random_state)
            for h in self.horizons_
        }
        teaching = {h: some for h, some in lessons.items() if some is not None}
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_head)(some, random_state=self.random_state) for some in teaching.values()
        )
        return {
            h: place(head, cuts, self.as_of_, *models, horizon_days=h, random_state=self.random_state)
            for h, head in zip(teaching, fitted, strict=True)
        }

    def _season(self, cut: Cut, horizon_days: int) -> tuple[float, float]:
        return self.heads_[horizon_days].season.at((cut.as_of - self.as_of_).days)

    def _money(
        self,
        cut: Cut,
        designs: Mapping[int, pl.DataFrame],
        p: Mapping[int, Floats],
        orders: Mapping[int, Floats],
    ) -> dict[str, Any]:
        if self.gamma_gamma_ is None:
            nothing = np.full(len(cut.features), np.nan)
            return {"spend": {}, "clv": nothing, "clv_low": nothing, "clv_high": nothing}
        per_order = self.gamma_gamma_.expected_value(cut.rfm[0], cut.repeat_spend_mean)
        learned = {h: p[h] * self._if_bought(cut, designs[h], per_order, h) for h in self._spend_days()}
        spend = never_falling({h: _expected_spend(h, learned, orders, per_order) for h in orders})
        h = self.clv_horizon_days
        clv = spend[h] * discount_factor(self.btyd_, cut.rfm, horizon_days=h, yearly_rate=self.discount_rate)
        low, high = spend_range(p[h], clv, orders[h], self.spread_)
        return {"spend": spend, "clv": clv, "clv_low": low, "clv_high": high}

    def _spend_days(self) -> list[int]:
        return [h for h, head in self.heads_.items() if head.spend is not None]

    def _if_bought(self, cut: Cut, design: pl.DataFrame, per_order: Floats, horizon_days: int) -> Floats:
        head = self.heads_[horizon_days].spend
        if head is None:
            return per_order
        season = float(np.exp(self._season(cut, horizon_days)[1]))
        rate = design["btyd_rate"].to_numpy()
        learned = head.if_bought(design)
        return season * mix_with_gamma_gamma(learned, per_order=per_order, rate=rate, horizon_days=horizon_days)

    def _learn_spread(self, cuts: Cuts) -> SpendSpread:
        """Learn from the latest known window how far buyers' money scatters around what was expected of them."""
        self.spread_ = SpendSpread((1.0,), (1.0,))
        if not self._spend_days():
            return self.spread_
        h = max(self._spend_days())
        day = cuts.train_days(self.as_of_, horizon_days=h, most=1)[0]
        cut = cuts.sample(day, most=SPREAD_CUSTOMERS, random_state=self.random_state)
        expected, came = self.predict_cut(cut), cuts.outcomes(cut, horizon_days=h)
        if_bought = expected.spend[h] / np.maximum(expected.p[h], 1e-9)
        return fit_spread(expected.orders[h][came.bought], if_bought[came.bought], came.spend[came.bought])

    def _learn_tiers(self, cut: Cut) -> None:
        prediction = self.predict_cut(cut)
        risk_days = max((h for h in self.horizons_ if h <= YEAR_DAYS), default=self.horizons_[0])
        second = cut.history.start[cut.history.count > 1] + 1
        self.tiers_ = fit_tiers(
            p=prediction.p[risk_days],
            value=value_of(prediction, horizon_days=risk_days),
            first_gap_days=(cut.history.day[second] - cut.history.day[second - 1]).astype(np.float64),
            risk_horizon_days=risk_days,
        )

    def _notes(self) -> tuple[str, ...]:
        notes = [
            f"{h} days ahead: answered by BTYD alone, since the history is too short to learn from outcomes"
            for h in self.horizons_
            if h not in self.learned_
        ]
        if self.btyd_.note:
            notes.append(f"BTYD: {self.btyd_.note}")
        if self.gamma_gamma_ is None:
            notes.append("the orders carry no amounts: expected spend and lifetime value are absent")
        elif self.gamma_gamma_.fallback_mean is not None:
            notes.append(
                "money per purchase: Gamma-Gamma did not fit; the shop's median stands in, shrunk to own means"
            )
        return tuple(notes)


def _head_name(horizon_days: int) -> str:
    return f"purchase_{horizon_days}d"


def _expected_spend(
    horizon_days: int, learned: Mapping[int, Floats], orders: Mapping[int, Floats], per_order: Floats
) -> Floats:
    """Learned money, or, beyond what was learned, the nearest learned one carried on by the expected orders."""
    if horizon_days in learned:
        return learned[horizon_days]
    nearest = min(learned, key=lambda h: abs(h - horizon_days), default=None)
    if nearest is None:
        return orders[horizon_days] * per_order
    return learned[nearest] * orders[horizon_days] / np.maximum(orders[nearest], 1e-12)


def _last_day(orders: pl.DataFrame) -> date:
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
