"""RepurchaseModel: fit and predict, from orders to scores."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from inspect import signature
from typing import Any, Self

import numpy as np
import polars as pl

from repurchase.errors import OrdersError
from repurchase.features.history import Floats, Outcomes
from repurchase.features.ledger import Closing, Ledger, build_ledger
from repurchase.i18n.messages import Message, message
from repurchase.models.calibration import discount_factor
from repurchase.models.explanations import Explanation, learn_explanation
from repurchase.models.horizons import Forecast, Forecaster, fit_forecaster
from repurchase.models.scoring import (
    BLOCK_CUSTOMERS,
    LabelledPrediction,
    Prediction,
    add_customers_without_purchases,
    label_prediction,
    last_order_day,
    predict_in_blocks,
    ranking_value,
    scores_frame,
    select_customers,
)
from repurchase.models.segments import SegmentThresholds, fit_segment_thresholds
from repurchase.models.snapshots import FeatureMatrix, Snapshot, Snapshots, logit, purchase_rate, stack_matrices
from repurchase.models.spend import ObservedWindow, SpendSpread, fit_spread, orders_if_bought, spend_range
from repurchase.models.timing import WaitModel, days_to_next_order, fit_wait_model
from repurchase.orders.checks import supported_horizons
from repurchase.schemas import Frame, as_polars
from repurchase.settings import Settings

_YEAR_DAYS = 365
_UNREGISTERED = "unregistered"
_MIN_EXPLAINED_SHARE = 0.9
"""Share of the differences in risk that reasons must explain; below it, a note says so."""
_MIN_DAYS_FOR_OWN_GAP = 4
"""Purchase days from which a customer's gaps show how long a usual gap can become."""
_RANGE_CUTOFFS = 6
_RANGE_CUSTOMERS = 8_000
"""Customers of a snapshot from whom the scatter of money and waits is learned, at most."""


def _earlier_windows(
    snapshots: Snapshots, forecaster: Forecaster, *, horizon_days: int, random_state: int
) -> Iterator[tuple[Snapshot, FeatureMatrix, Outcomes]]:
    """Snapshots whose outcomes were known when the forecaster was fitted, with features and outcomes."""
    for day in snapshots.train_days(forecaster.as_of, horizon_days=horizon_days, most=_RANGE_CUTOFFS):
        snapshot = snapshots.sample(day, most=_RANGE_CUSTOMERS, random_state=random_state)
        features = forecaster.features(snapshot, horizon_days=horizon_days)
        yield snapshot, features, snapshots.outcomes(snapshot, horizon_days=horizon_days)


def _fit_spend_spread(snapshots: Snapshots, forecaster: Forecaster, *, random_state: int) -> SpendSpread:
    """Learn from earlier windows how buyers' spend scatters."""
    learned = tuple(forecaster.horizon_models)
    if not learned:
        return SpendSpread.unknown()
    h = max(h for h in learned if h <= _YEAR_DAYS or h == learned[0])
    if forecaster.horizon_models[h].spend is None:
        return SpendSpread.unknown()
    windows = [
        ObservedWindow(
            log_odds=features["btyd_logit"],
            bought=outcome.bought,
            orders_if_bought=orders_if_bought(features["btyd_rate"], horizon_days=h),
            spend_if_bought=forecaster.spend_if_bought(snapshot, features, horizon_days=h),
            spend=outcome.spend,
        )
        for snapshot, features, outcome in _earlier_windows(
            snapshots, forecaster, horizon_days=h, random_state=random_state
        )
    ]
    return fit_spread(windows)


def _fit_waits(snapshots: Snapshots, forecaster: Forecaster, *, random_state: int) -> WaitModel | None:
    """Learn from earlier windows how long buyers wait."""
    if not forecaster.horizon_models:
        return None
    # Waits are of the shortest horizon: beyond it, dates are read off the probabilities, and cannot contradict them.
    h = next(iter(forecaster.horizon_models))
    windows = list(_earlier_windows(snapshots, forecaster, horizon_days=h, random_state=random_state))
    wait_days = np.concatenate([outcome.wait_days for _, _, outcome in windows])
    return fit_wait_model(stack_matrices([features for _, features, _ in windows]), wait_days, horizon_days=h)


def _fit_thresholds(snapshot: Snapshot, prediction: Prediction, risk_horizon_days: int) -> SegmentThresholds:
    """Learn thresholds of segments and risk bands."""
    history = snapshot.history
    repeat, often = history.count > 1, history.count >= _MIN_DAYS_FOR_OWN_GAP
    second = history.start[repeat] + 1
    own_gap = snapshot.features["gap_median_days"]
    gaps = often[history.customer_index] & (history.gap > 0)
    return fit_segment_thresholds(
        p=prediction.p[risk_horizon_days],
        value=ranking_value(prediction, horizon_days=risk_horizon_days),
        first_gap_days=(history.day[second] - history.day[second - 1]).astype(np.float64),
        risk_horizon_days=risk_horizon_days,
        purchases=history.count[repeat].astype(np.float64),
        own_gap_days=own_gap[repeat],
        gap_over_own=history.gap[gaps] / own_gap[history.customer_index[gaps]],
    )


def model_notes(
    forecaster: Forecaster, horizons: Sequence[int], explanation: Explanation, closing: Closing | None
) -> tuple[Message, ...]:
    """Say what the reader of the scores must know."""
    notes = [message("model_note.btyd_alone", days=h) for h in horizons if h not in forecaster.horizon_models]
    if closing:
        notes.append(message("model_note.closing", **closing.dates(), days=closing.days))
    if forecaster.reference.btyd.note:
        notes.append(forecaster.reference.btyd.note)
    explained = explanation.explained
    if explained is not None and explained < _MIN_EXPLAINED_SHARE:
        notes.append(message("model_note.reasons", explained=max(explained, 0.0)))
    if forecaster.gamma_gamma is None:
        notes.append(message("model_note.no_money"))
    elif forecaster.gamma_gamma.fallback_mean is not None:
        notes.append(message("model_note.money_median"))
    return tuple(notes)


class RepurchaseModel:
    """Repurchase probability, expected orders and money, and lifetime value of every customer.

    Per horizon three models, averaged on the scale of log odds: MBG/NBD, and a sum of curves and boosted trees that
    learned from several earlier snapshots whose outcomes were known by ``as_of``. A horizon that the history cannot
    support is predicted by BTYD alone; ``notes_`` lists it.

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
        Number of parallel fits.

    Attributes
    ----------
    horizons_ : tuple of int
        Days ahead that are delivered.
    learned_ : tuple of int
        Those of them that were learned from outcomes.
    as_of_ : date
        Last day the model saw.
    closing_ : Closing or None
        A time in which the shop was closed.
    notes_ : tuple of Message
        What the reader of the scores must know.
    version_ : str
        Version in the registry, or "unregistered".
    forecaster_ : Forecaster
        Purchases and money.
    spend_spread_ : SpendSpread
        How far a buyer's spend lies around what is expected.
    wait_model_ : WaitModel or None
        Days until the next purchase day.
    segment_thresholds_ : SegmentThresholds
        Thresholds of segments and risk bands.
    explanation_ : Explanation
        What moves the risk.

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
            Clean orders (see ``schemas.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.

        Returns
        -------
        RepurchaseModel
            Itself, fitted.

        Raises
        ------
        InsufficientHistory
            If a requested horizon is longer than the history, or no one has bought yet.
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
        """Learn from snapshots that others share; uses only days and windows that end by ``as_of``.

        Parameters
        ----------
        snapshots : Snapshots
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
        self.horizons_ = tuple(sorted(set(self.horizons or snapshots.horizons)))
        self.closing_ = snapshots.ledger.closing
        self.version_ = _UNREGISTERED
        forecaster = fit_forecaster(
            snapshots, as_of, horizons=self.horizons_, random_state=self.random_state, n_jobs=self.n_jobs
        )
        self._set_forecaster(forecaster)
        self.spend_spread_ = _fit_spend_spread(snapshots, forecaster, random_state=self.random_state)
        self.wait_model_ = _fit_waits(snapshots, forecaster, random_state=self.random_state)
        now = snapshots.at(as_of)
        prediction = predict_in_blocks(now, self._predict_block, n_jobs=self.n_jobs)
        known = self.learned_ or self.horizons_
        risk_days = max((h for h in known if h <= _YEAR_DAYS), default=known[0])
        self.segment_thresholds_ = _fit_thresholds(now, prediction, risk_days)
        self.explanation_ = learn_explanation(
            now,
            lambda snapshot: logit(forecaster.forecast(snapshot, days=(risk_days,)).p[risk_days]),
            random_state=self.random_state,
            typical_spend=forecaster.reference.typical_spend,
        )
        self.notes_ = model_notes(forecaster, self.horizons_, self.explanation_, self.closing_)
        return self

    def predict(self, orders: Frame, as_of: date | None = None, customers: Sequence[str] | None = None) -> pl.DataFrame:
        """Score customers.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``schemas.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.
        customers : sequence of str, optional
            Whom to score, each once; without it everyone with a purchase day by ``as_of``.

        Returns
        -------
        DataFrame
            See ``schemas.scores_table(horizons_)``, sorted by id, or in the order of ``customers``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OrdersError
            If the orders are not clean, or carry no amounts while the model learned from amounts.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        self._require_fitted()
        frame = as_polars(orders)
        day = last_order_day(frame) if as_of is None else as_of
        if customers is not None and frame.schema.get("customer_id") == pl.String():
            frame = frame.filter(pl.col("customer_id").is_in(pl.Series(list(customers), dtype=pl.String()).implode()))
        return self.predict_ledger(build_ledger(frame, observed_until=day), day, customers, n_jobs=self.n_jobs)

    def predict_ledger(
        self,
        ledger: Ledger,
        as_of: date,
        customers: Sequence[str] | None = None,
        *,
        n_jobs: int = 1,
        customers_per_block: int = BLOCK_CUSTOMERS,
    ) -> pl.DataFrame:
        """Score customers of a ledger, see `predict`."""
        self._require_amounts(ledger)
        own, opened = ledger.history(as_of), ledger.without(self.closing_)
        history = own if opened is ledger else opened.history(as_of)
        if customers is not None:
            wanted = pl.Series(list(customers), dtype=pl.String())
            codes = np.flatnonzero(ledger.ids.is_in(wanted.implode()).to_numpy())
            history = history.take(np.flatnonzero(np.isin(history.customer, codes)))
            own = history if opened is ledger else own
        labelled = predict_in_blocks(
            Snapshot(history), self._label_block, n_jobs=n_jobs, customers_per_block=customers_per_block
        )
        scores = scores_frame(
            history,
            ledger.ids,
            labelled,
            own=own,
            thresholds=self.segment_thresholds_,
            explanation=self.explanation_,
            horizons=self.horizons_,
            model_version=self.version_,
        )
        scores = add_customers_without_purchases(
            scores, ledger, as_of=as_of, model_version=self.version_, customers=customers
        )
        if customers is None:
            return scores
        return select_customers(scores, customers, as_of=as_of, model_version=self.version_)

    def predict_snapshot(self, snapshot: Snapshot) -> Prediction:
        """Predict for the customers of a snapshot, by horizon; those of lifetime value and the year are included."""
        self._require_fitted()
        return predict_in_blocks(snapshot, self._predict_block)

    def _label_block(self, snapshot: Snapshot) -> LabelledPrediction:
        prediction = self._predict_block(snapshot)
        return label_prediction(
            snapshot, prediction, thresholds=self.segment_thresholds_, explanation=self.explanation_
        )

    def _predict_block(self, snapshot: Snapshot) -> Prediction:
        days = (*self.horizons_, self.clv_horizon_days, _YEAR_DAYS)
        forecast = self.forecaster_.forecast(snapshot, days=days)
        waits = self.wait_model_
        features = forecast.features[waits.horizon_days] if waits else None
        clv, clv_low, clv_high = self._lifetime_value(snapshot, forecast)
        return Prediction(
            p=forecast.p,
            p_alive=snapshot.btyd_forecast(self.forecaster_.reference.btyd).p_alive,
            next_order_days=days_to_next_order(forecast.p, waits=waits, features=features),
            orders=forecast.orders,
            spend=forecast.spend,
            clv=clv,
            clv_low=clv_low,
            clv_high=clv_high,
        )

    def _lifetime_value(self, snapshot: Snapshot, forecast: Forecast) -> tuple[Floats, Floats, Floats]:
        if not forecast.spend:
            unknown = np.full(snapshot.n_customers, np.nan)
            return unknown, unknown, unknown
        h, btyd = self.clv_horizon_days, self.forecaster_.reference.btyd
        p = forecast.p[h]
        discount = discount_factor(snapshot.btyd_forecast(btyd), horizon_days=h, yearly_rate=self.discount_rate)
        clv = forecast.spend[h] * discount
        days = orders_if_bought(purchase_rate(snapshot, btyd), horizon_days=h)
        return clv, *spend_range(p, clv / np.maximum(p, 1e-9), days, self.spend_spread_)

    def to_state(self) -> dict[str, Any]:
        """Turn the fitted model into plain JSON values.

        Returns
        -------
        dict
            The parts of a bundle, from which `from_state` makes the same model.
        """
        self._require_fitted()
        forecaster = self.forecaster_.to_dict()
        return {
            "settings": {**self.get_params(), "horizons": self.horizons and list(self.horizons)},
            "closing": self.closing_ and self.closing_.to_dict(),
            "horizons": list(self.horizons_),
            "notes": list(self.notes_),
            "btyd": forecaster["btyd"],
            "calibration": {
                "heads": forecaster["heads"],
                "spend_spread": self.spend_spread_.to_dict(),
                "waits": self.wait_model_ and self.wait_model_.to_dict(),
                "reasons": self.explanation_.to_dict(),
            },
            "tiers": self.segment_thresholds_.to_dict(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "RepurchaseModel":
        """Restore a fitted model.

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
        model.horizons_ = tuple(state["horizons"])
        model.closing_ = Closing.from_dict(state["closing"]) if state.get("closing") else None
        model.notes_ = tuple(state["notes"])
        model.version_ = state.get("model_version", _UNREGISTERED)
        model._set_forecaster(Forecaster.from_dict({"btyd": state["btyd"], "heads": learned["heads"]}))
        model.spend_spread_ = SpendSpread.from_dict(learned["spend_spread"])
        model.wait_model_ = WaitModel.from_dict(learned["waits"]) if learned["waits"] else None
        model.segment_thresholds_ = SegmentThresholds.from_dict(state["tiers"])
        model.explanation_ = Explanation.from_dict(learned["reasons"])
        return model

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as scikit-learn asks for them.

        Parameters
        ----------
        deep : bool
            Without effect: no parameter is an estimator.

        Returns
        -------
        dict
            In alphabetical order.
        """
        del deep
        return {name: getattr(self, name) for name in sorted(signature(type(self)).parameters)}

    def set_params(self, **params: Any) -> Self:
        """Change parameters.

        Parameters
        ----------
        **params
            Parameters of the constructor.

        Returns
        -------
        RepurchaseModel
            Itself.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"Invalid parameter {name!r} for RepurchaseModel. Valid parameters are: {[*known]}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Show the parameters that differ from their defaults."""
        defaults = signature(type(self)).parameters
        changed = [f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name].default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Tags by which scikit-learn knows what an estimator can do."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=InputTags())

    def _set_forecaster(self, forecaster: Forecaster) -> None:
        self.forecaster_ = forecaster
        self.as_of_ = forecaster.as_of
        self.learned_ = tuple(forecaster.horizon_models)

    def _require_fitted(self) -> None:
        # The scoring path has no other use for scikit-learn, which takes a second to import.
        if not hasattr(self, "explanation_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.")

    def _require_amounts(self, ledger: Ledger) -> None:
        if self.forecaster_.gamma_gamma is not None and not ledger.has_amounts:
            raise OrdersError(
                f"orders: no amount in any of {ledger.entries['lines'].sum():,} rows, but the model learned from "
                "amounts. Send orders with amounts, or train on orders without."
            )
