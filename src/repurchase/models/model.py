"""RepurchaseModel: fit and predict, from orders to scores."""

from collections.abc import Mapping
from collections.abc import Sequence
from datetime import date
from repurchase.features.ledger import Closing, build_ledger
from repurchase.models.explanations import Explanation, learn_explanation
from repurchase.models.horizons import Forecaster, fit_forecaster
from repurchase.models.scoring import (
    FittedModel,
    Prediction,
    Predictor,
    YEAR_DAYS,
    last_order_day,
    predict_in_blocks,
    ranking_value,
)
from repurchase.models.segments import SegmentThresholds, fit_segment_thresholds
from repurchase.models.snapshots import Snapshot, Snapshots, logit, stack_matrices
from repurchase.models.spend import ObservedWindow, SpendSpread, fit_spread, orders_if_bought
from repurchase.models.timing import WaitModel, fit_wait_model
from repurchase.orders.checks import supported_horizons
from repurchase.schemas import Frame, as_polars
from repurchase.settings import Settings
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from typing import Any
from typing import Self
import numpy as np
import polars as pl


_MIN_EXPLAINED_SHARE = 0.9
"""Share of the differences in risk that reasons must hold, or a note says so."""
_MIN_DAYS_FOR_OWN_GAP = 4
"""Purchase days from which a customer's gaps tell how long a usual gap can become."""
_RANGE_CUTOFFS = 6
_RANGE_CUSTOMERS = 8_000
"""Customers of a cut-off from whom the scatter of money and waits is learned, at most."""


def _learn_ranges(snapshots: Snapshots, forecaster: Forecaster, *, random_state: int) -> tuple[SpendSpread, WaitModel | None]:
    """Learn from earlier windows how buyers' money scatters and how long they wait."""
    learned = tuple(forecaster.horizon_models)
    if not learned:
        return SpendSpread.unknown(), None
    # Waits are of the shortest horizon: beyond it, dates are read off the probabilities, and cannot contradict them.
    waits = _learn_waits(snapshots, forecaster, horizon_days=learned[0], random_state=random_state)
    h = max(h for h in learned if h <= YEAR_DAYS or h == learned[0])
    if forecaster.horizon_models[h].spend is None:
        return SpendSpread.unknown(), waits
    windows = []
    for day in snapshots.train_days(forecaster.as_of, horizon_days=h, most=_RANGE_CUTOFFS):
        snapshot = snapshots.sample(day, most=_RANGE_CUSTOMERS, random_state=random_state)
        outcome, design = snapshots.outcomes(snapshot, horizon_days=h), forecaster.design(snapshot, horizon_days=h)
        windows.append(
            ObservedWindow(
                log_odds=design["btyd_logit"],
                bought=outcome.bought,
                orders_if_bought=orders_if_bought(design["btyd_rate"], horizon_days=h),
                spend_if_bought=forecaster.spend_if_bought(snapshot, design, horizon_days=h),
                spend=outcome.spend,
            )
        )
    return fit_spread(windows), waits


def _learn_segment_thresholds(snapshot: Snapshot, prediction: Prediction, predictor: Predictor) -> SegmentThresholds:
    """Learn thresholds of segments and risk bands."""
    known = tuple(predictor.forecaster.horizon_models) or predictor.horizons
    risk_days = max((h for h in known if h <= YEAR_DAYS), default=known[0])
    history = snapshot.history
    back, often = history.count > 1, history.count >= _MIN_DAYS_FOR_OWN_GAP
    second = history.start[back] + 1
    own_gap = snapshot.features["gap_median_days"]
    gaps = often[history.customer_index] & (history.gap > 0)
    return fit_segment_thresholds(
        p=prediction.p[risk_days],
        value=ranking_value(prediction, horizon_days=risk_days),
        first_gap_days=(history.day[second] - history.day[second - 1]).astype(np.float64),
        risk_horizon_days=risk_days,
        purchases=history.count[back].astype(np.float64),
        own_gap_days=own_gap[back],
        gap_over_own=history.gap[gaps] / own_gap[history.customer_index[gaps]],
    )


def model_notes(predictor: Predictor, explanation: Explanation, closing: Closing | None) -> tuple[str, ...]:
    """Say what the reader of the scores must know."""
    forecaster = predictor.forecaster
    notes = [
        f"{h} days ahead: answered by BTYD alone, since too few outcomes of both kinds are known to learn from"
        for h in predictor.horizons
        if h not in forecaster.horizon_models
    ]
    if closing:
        notes.append(f"{closing.words}: taken as a time when the shop was closed, not as customers' silence")
    if forecaster.btyd.note:
        notes.append(f"BTYD: {forecaster.btyd.note}")
    explained = explanation.explained
    if explained is not None and explained < _MIN_EXPLAINED_SHARE:
        notes.append(f"reasons hold {max(explained, 0.0):.0%} of what the model's risk differs by between customers")
    if forecaster.gamma_gamma is None:
        notes.append("the orders carry no amounts: expected spend and lifetime value are absent")
    elif forecaster.gamma_gamma.fallback_mean is not None:
        notes.append("money per purchase: Gamma-Gamma did not fit; the shop's median stands in, shrunk to own means")
    return tuple(notes)


def _learn_waits(snapshots: Snapshots, forecaster: Forecaster, *, horizon_days: int, random_state: int) -> WaitModel | None:
    designs, waits = [], []
    for day in snapshots.train_days(forecaster.as_of, horizon_days=horizon_days, most=_RANGE_CUTOFFS):
        snapshot = snapshots.sample(day, most=_RANGE_CUSTOMERS, random_state=random_state)
        designs.append(forecaster.design(snapshot, horizon_days=horizon_days))
        waits.append(snapshots.outcomes(snapshot, horizon_days=horizon_days).wait_days)
    return fit_wait_model(stack_matrices(designs), np.concatenate(waits), horizon_days=horizon_days)


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
    fitted_ : FittedModel
        What was learned; the properties below read it.

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
        day = last_order_day(frame) if as_of is None else as_of
        ledger = build_ledger(frame, observed_until=day)
        settings = Settings(horizons=None if self.horizons is None else tuple(self.horizons))
        horizons = supported_horizons(first_day=ledger.first_day, as_of=day, settings=settings)
        return self.fit_snapshots(Snapshots(ledger, horizons=horizons), day)

    def fit_snapshots(self, snapshots: Snapshots, as_of: date) -> Self:
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
        horizons = tuple(sorted(set(self.horizons or snapshots.horizons)))
        forecaster = fit_forecaster(snapshots, as_of, horizons=horizons, random_state=self.random_state, n_jobs=self.n_jobs)
        spread, waits = _learn_ranges(snapshots, forecaster, random_state=self.random_state)
        predictor = Predictor(forecaster, spread, waits, horizons, self.clv_horizon_days, self.discount_rate)
        now = snapshots.at(as_of)
        thresholds = _learn_segment_thresholds(now, predict_in_blocks(now, predictor.predict, n_jobs=self.n_jobs), predictor)
        explanation = learn_explanation(
            now,
            lambda snapshot: logit(forecaster.forecast(snapshot, days=(thresholds.risk_horizon_days,)).p[thresholds.risk_horizon_days]),
            random_state=self.random_state,
            typical_spend=forecaster.typical_spend,
        )
        self.fitted_ = FittedModel(
            predictor,
            thresholds,
            explanation,
            snapshots.ledger.closing,
            model_notes(predictor, explanation, snapshots.ledger.closing),
            settings={**self.get_params(), "horizons": self.horizons and list(self.horizons)},
        )
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
        return self._fitted().predict_orders(orders, as_of, customers, n_jobs=self.n_jobs)

    def predict_snapshot(self, snapshot: Snapshot) -> Prediction:
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
        return self._fitted().predict_snapshot(snapshot)

    def to_state(self) -> dict[str, Any]:
        """Take the fitted model apart.

        Returns
        -------
        dict
            See `FittedModel.to_state`.
        """
        return self._fitted().to_state()

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
        model = cls(**state["settings"])
        model.fitted_ = FittedModel.from_state(state)
        return model

    def _fitted(self) -> FittedModel:
        if not hasattr(self, "fitted_"):
            raise NotFittedError("This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.")
        return self.fitted_

    @property
    def horizons_(self) -> tuple[int, ...]:
        """Days ahead that are delivered."""
        return self._fitted().horizons

    @property
    def learned_(self) -> tuple[int, ...]:
        """Those of them that outcomes taught."""
        return self._fitted().learned

    @property
    def as_of_(self) -> date:
        """Last day the model saw."""
        return self._fitted().as_of

    @property
    def closing_(self) -> Closing | None:
        """A time in which the shop was closed."""
        return self._fitted().closing

    @property
    def forecaster_(self) -> Forecaster:
        """Purchases and money."""
        return self._fitted().predictor.forecaster

    @property
    def segment_thresholds_(self) -> SegmentThresholds:
        """Thresholds of segments and risk bands."""
        return self._fitted().thresholds

    @property
    def explanation_(self) -> Explanation:
        """What moves the risk."""
        return self._fitted().explanation

    @property
    def notes_(self) -> tuple[str, ...]:
        """What the reader of the scores must know."""
        return self._fitted().notes
