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

from repurchase.errors import InputError
from repurchase.estimators.blend import blend, rising
from repurchase.estimators.boosting import MEMBERS, Head, TrainingSet, design_matrix, grow, p_purchase, training_set
from repurchase.estimators.btyd import FAMILIES, Btyd, GammaGamma
from repurchase.estimators.cuts import Cut, Cuts, make_cut
from repurchase.estimators.scores import Prediction, for_customers, scores_frame, value_of
from repurchase.estimators.state import ModelState
from repurchase.estimators.tiers import Tiers, fit_tiers
from repurchase.estimators.value import (
    SpendSpread,
    discount_factor,
    expected_orders,
    fit_spread,
    spend_range,
    total_ratio,
)
from repurchase.features.timeline import ledger
from repurchase.orders.sufficiency import supported_horizons
from repurchase.settings import Settings
from repurchase.tables import Frame, as_polars

__all__ = ["RepurchaseModel"]

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365
UNREGISTERED = "unregistered"


class RepurchaseModel(BaseEstimator):  # type: ignore[misc]
    """Repurchase probability, expected orders and money, and lifetime value of every customer.

    Per horizon a BTYD model and boosted trees, averaged on the scale of log odds; trained on several earlier
    cut-offs whose outcomes were known by ``as_of``. A horizon that the history cannot teach is answered by BTYD
    alone, and ``notes_`` says so.

    Parameters
    ----------
    horizons : sequence of int, optional
        Days ahead. Without it: 30, 90, 180, 365, cut to what the history supports.
    clv_horizon_days : int
        Days over which lifetime value is counted.
    discount_rate : float
        Yearly rate at which later money counts less.
    most_cutoffs : int
        Upper limit of earlier cut-offs that teach a horizon.
    random_state : int
        Seed of everything random.
    n_jobs : int
        Fits side by side.

    Attributes
    ----------
    horizons_ : tuple of int
        Days ahead that are delivered.
    learned_ : tuple of int
        Those of them that boosting learned.
    as_of_ : date
        Last day the model saw.
    btyd_ : Btyd
        Purchases and dropout.
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
        most_cutoffs: int = 8,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.horizons = horizons
        self.clv_horizon_days = clv_horizon_days
        self.discount_rate = discount_rate
        self.most_cutoffs = most_cutoffs
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
            If a horizon that was asked for is longer than the history.
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
        """
        self.as_of_ = as_of
        self.version_ = UNREGISTERED
        self.horizons_ = tuple(sorted(self.horizons or cuts.horizons))
        self.curve_days_ = tuple(sorted({*self.horizons_, self.clv_horizon_days, YEAR_DAYS}))
        self.feature_horizons_ = cuts.horizons
        days = {h: cuts.train_days(as_of, horizon_days=h, most=self.most_cutoffs) for h in self.horizons_}
        self.btyd_ = cuts.btyd(as_of)
        self.families_ = FAMILIES if self.btyd_.family == "nbd" else (self.btyd_.family,)
        cuts.prepare((day for some in days.values() for day in some), self.families_, jobs=self.n_jobs)
        self.gamma_gamma_ = cuts.gamma_gamma(as_of)
        self.heads_ = self._grow_heads({h: self._training_set(cuts, some, h) for h, some in days.items() if some})
        self.learned_ = tuple(self.heads_)
        self._learn_money(cuts, days)
        self._learn_tiers(cuts.at(as_of))
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
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        if not hasattr(self, "as_of_"):
            raise NotFittedError("This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.")
        frame = as_polars(orders)
        day = _last_day(frame) if as_of is None else as_of
        if customers is not None:
            frame = frame.filter(pl.col("customer_id").is_in(pl.Series(list(customers), dtype=pl.String()).implode()))
        book = ledger(frame, observed_until=day)
        cut = make_cut(book, day, horizons=self.feature_horizons_)
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
        return self._predict(cut, self.btyd_, self.gamma_gamma_)

    def to_state(self) -> ModelState:
        """Take the fitted model apart.

        Returns
        -------
        ModelState
            Plain numbers and scikit-learn estimators.
        """
        estimators = {
            _member(h, number): booster
            for h, head in self.heads_.items()
            for number, booster in enumerate(head.members)
        }
        parameters = {
            "settings": {**self.get_params(), "horizons": self.horizons and list(self.horizons)},
            "as_of": self.as_of_.isoformat(),
            "horizons": list(self.horizons_),
            "feature_horizons": list(self.feature_horizons_),
            "learned": list(self.learned_),
            "features": [[h, list(head.columns)] for h, head in self.heads_.items()],
            "notes": list(self.notes_),
            "btyd": {
                "purchases": self.btyd_.to_dict(),
                "money": self.gamma_gamma_ and self.gamma_gamma_.to_dict(),
            },
            "calibration": {
                "spend_ratio": [[h, ratio] for h, ratio in self.spend_ratio_.items()],
                "spend_spread": {"orders": list(self.spread_.orders), "sigma": list(self.spread_.sigma)},
            },
            "tiers": self.tiers_.to_dict(),
        }
        return ModelState(parameters, estimators)

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
        model = cls(**known["settings"])
        model.as_of_ = date.fromisoformat(known["as_of"])
        model.version_ = known.get("model_version", UNREGISTERED)
        model.horizons_ = tuple(known["horizons"])
        model.feature_horizons_ = tuple(known["feature_horizons"])
        model.curve_days_ = tuple(sorted({*model.horizons_, model.clv_horizon_days, YEAR_DAYS}))
        model.learned_ = tuple(known["learned"])
        model.notes_ = tuple(known["notes"])
        model.btyd_ = Btyd.from_dict(known["btyd"]["purchases"])
        money = known["btyd"]["money"]
        model.gamma_gamma_ = GammaGamma.from_dict(money) if money else None
        model.spend_ratio_ = dict(known["calibration"]["spend_ratio"])
        spread = known["calibration"]["spend_spread"]
        model.spread_ = SpendSpread(tuple(spread["orders"]), tuple(spread["sigma"]))
        model.tiers_ = Tiers.from_dict(known["tiers"])
        model.heads_ = {
            h: Head(tuple(columns), tuple(state.estimators[_member(h, number)] for number in range(MEMBERS)))
            for h, columns in known["features"]
        }
        return model

    def _training_set(self, cuts: Cuts, days: Sequence[date], horizon_days: int) -> TrainingSet:
        designs = [
            design_matrix(cuts.at(day), cuts.btyd(day, self.families_), horizon_days=horizon_days) for day in days
        ]
        return training_set(designs, [cuts.outcomes(day, horizon_days=horizon_days).bought for day in days])

    def _grow_heads(self, sets: Mapping[int, TrainingSet]) -> dict[int, Head]:
        tasks = [(h, member) for h, rows in sets.items() if rows.teaches for member in range(MEMBERS)]
        grown = Parallel(n_jobs=self.n_jobs)(
            delayed(grow)(sets[h], member=member, random_state=self.random_state) for h, member in tasks
        )
        members: dict[int, list[Any]] = {}
        for (h, _), booster in zip(tasks, grown, strict=True):
            members.setdefault(h, []).append(booster)
        return {h: Head(tuple(sets[h].design.columns), tuple(members[h])) for h in members}

    def _learn_money(self, cuts: Cuts, days: Mapping[int, Sequence[date]]) -> None:
        """Hold expected money to the totals of the two latest known windows, and learn how far customers scatter."""
        self.spend_ratio_: dict[int, float] = {}
        self.spread_ = SpendSpread((1.0,), (1.0,))
        if self.gamma_gamma_ is None:
            return
        for h in self.learned_:
            latest = days[h][:2]
            expected = [
                self._predict(cuts.at(day), cuts.btyd(day, self.families_), self.gamma_gamma_) for day in latest
            ]
            came = [cuts.outcomes(day, horizon_days=h) for day in latest]
            self.spend_ratio_[h] = total_ratio(
                [prediction.spend[h] for prediction in expected], [outcome.spend for outcome in came]
            )
            bought = came[0].bought
            self.spread_ = fit_spread(
                expected[0].orders[h][bought],
                (self.spend_ratio_[h] * expected[0].spend[h] / expected[0].p[h])[bought],
                came[0].spend[bought],
            )

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

    def _predict(self, cut: Cut, btyd: Btyd, money: GammaGamma | None) -> Prediction:
        p_btyd = {h: btyd.p_purchase(*cut.rfm, horizon_days=h) for h in self.curve_days_}
        boosting = {h: p_purchase(head, design_matrix(cut, btyd, horizon_days=h)) for h, head in self.heads_.items()}
        p = rising({h: blend(boosting[h], p_btyd[h]) for h in boosting}, p_btyd)
        orders = {
            h: expected_orders(p[h], p_btyd[h], btyd.expected_purchases(*cut.rfm, horizon_days=h))
            for h in self.curve_days_
        }
        orders = _never_falling(orders)
        nothing = np.full(len(cut.features), np.nan)
        spend: dict[int, Floats] = {}
        clv = low = high = nothing
        if money is not None:
            per_order = money.expected_value(cut.rfm[0], cut.repeat_spend_mean)
            spend = _never_falling({h: orders[h] * per_order * self._ratio(h) for h in self.curve_days_})
            h = self.clv_horizon_days
            worth = discount_factor(btyd, cut.rfm, horizon_days=h, yearly_rate=self.discount_rate)
            clv = spend[h] * worth
            low, high = spend_range(p[h], clv, orders[h], self.spread_)
        return Prediction(p, p_btyd, boosting, orders, spend, btyd.p_alive(*cut.rfm), clv, low, high)

    def _ratio(self, horizon_days: int) -> float:
        """Spend ratio of the nearest horizon that learned one."""
        ratios = getattr(self, "spend_ratio_", {})
        if not ratios:
            return 1.0
        nearest = min(ratios, key=lambda h: abs(h - horizon_days))
        return float(ratios[nearest])

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


def _member(horizon_days: int, number: int) -> str:
    return f"purchase_{horizon_days}d_{number}"


def _never_falling(by_horizon: Mapping[int, Floats]) -> dict[int, Floats]:
    raised: dict[int, Floats] = {}
    floor: Floats | None = None
    for h in sorted(by_horizon):
        floor = by_horizon[h] if floor is None else np.maximum(floor, by_horizon[h])
        raised[h] = floor
    return raised


def _last_day(orders: pl.DataFrame) -> date:
    if "order_date" not in orders.columns or not orders.height:
        raise InputError("orders: no row with an order_date. Send clean orders (see clean_orders).")
    latest = orders["order_date"].cast(pl.Datetime("us")).max()
    return pl.Series([latest]).dt.date()[0]  # type: ignore[no-any-return]
