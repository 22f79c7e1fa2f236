"""The models of one horizon, fitted on earlier snapshots, and the forecast over all horizons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from repurchase.errors import InsufficientHistory
from repurchase.features.history import Floats, Outcomes
from repurchase.models.additive import AdditiveModel, fit_additive
from repurchase.models.boosting import BoostedModel, TrainingSet, build_training_set, fit_boosted
from repurchase.models.btyd.model import BtydModel, GammaGamma
from repurchase.models.calibration import (
    SEASON_DAYS_AHEAD,
    Season,
    average_log_odds,
    calibration_offset,
    carried_offset,
    expected_orders,
    expected_spend,
    increasing_probabilities,
    latest_btyd_offsets,
    learn_season,
    non_decreasing,
    shift_to_share,
    shrink_to_btyd,
    trees_share,
)
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import (
    DEFAULT_TYPICAL_SPEND,
    FeatureMatrix,
    FeatureReference,
    Snapshot,
    Snapshots,
    expit,
    feature_matrix,
    stack_matrices,
)
from repurchase.models.spend import (
    PurchaseDaysModel,
    SpendModel,
    btyd_days_if_bought,
    fit_purchase_days,
    fit_spend,
    mix_with_gamma_gamma,
    pace_factor,
)

_MAX_TRAIN_ROWS = 60_000
_MIN_ROWS_PER_CUTOFF = 3_000
_SPEND_CUTOFFS = 6
_MAX_TRAIN_BUYERS = 60_000
_CALIBRATION_CUSTOMERS = 20_000
_MAX_SPEND_SHIFT = 1.0
_NO_SEASON = Season()


class LogOddsParts(NamedTuple):
    """Log odds of a purchase, one value per customer: of each part, of curves and trees together, and of all."""

    additive: Floats
    trees: Floats
    learned: Floats
    blended: Floats


@dataclass(frozen=True)
class HorizonModel(JsonDataclass):
    """What was learned about one horizon."""

    additive: AdditiveModel
    trees: BoostedModel
    spend: SpendModel | None
    days: PurchaseDaysModel | None = field(default=None, kw_only=True)
    trees_share: float
    calibration_offset: float = field(default=0.0, metadata={"key": "level"})
    season: Season = _NO_SEASON

    def log_odds(self, features: FeatureMatrix) -> LogOddsParts:
        """Log odds of the curves, the trees, both, and both with BTYD and the calibration offset; without season."""
        additive, trees = self.additive.total(features), self.trees.log_odds(features)
        learned = average_log_odds(additive, trees, share=self.trees_share)
        blended = shrink_to_btyd(learned, features["btyd_logit"]) + self.calibration_offset
        return LogOddsParts(additive, trees, learned, blended)


@dataclass(frozen=True)
class _Buyers:
    """Earlier customers who bought, and what they bought."""

    features: FeatureMatrix
    spend: Floats
    days: Floats
    btyd_days: Floats
    weight: Floats


@dataclass(frozen=True)
class _HorizonFitter:
    """Fits the models of one horizon on earlier snapshots.

    BTYD keeps the parameters of ``as_of`` at every snapshot: parameters fitted again at each would describe another
    shop than the one that is predicted.
    """

    snapshots: Snapshots
    as_of: date
    reference: FeatureReference
    horizon_days: int
    random_state: int
    days_ahead: Sequence[int]

    def fit(self) -> HorizonModel | None:
        """Fit and calibrate; None where too few outcomes of both kinds are known."""
        days = self.snapshots.train_days(self.as_of, horizon_days=self.horizon_days)
        rows = self._training_set(days)
        if rows is None or not rows.has_enough_of_both:
            return None
        buyers = self._buyers(days[:_SPEND_CUTOFFS])
        model = HorizonModel(
            additive=fit_additive(rows.features, rows.bought, rows.weight),
            trees=fit_boosted(rows, random_state=self.random_state),
            spend=fit_spend(buyers.features, buyers.spend, buyers.weight),
            days=fit_purchase_days(buyers.features, buyers.days, buyers.btyd_days, buyers.weight),
            trees_share=trees_share(len(rows.bought)),
        )
        return self._calibrated(model)

    def _training_set(self, days: Sequence[date]) -> TrainingSet | None:
        most = max(_MIN_ROWS_PER_CUTOFF, _MAX_TRAIN_ROWS // max(len(days), 1))
        known = [self.snapshots.sample(day, most=most, random_state=self.random_state) for day in days]
        if not any(snapshot.n_customers for snapshot in known):
            return None
        return build_training_set(
            [self._features(snapshot) for snapshot in known],
            [self._outcomes(snapshot).bought for snapshot in known],
            [(days[0] - day).days for day in days],
            self.horizon_days,
        )

    def _buyers(self, days: Sequence[date]) -> _Buyers:
        most = _MAX_TRAIN_BUYERS // len(days)
        parts = [self._buyers_after(day, most=most, age_days=(days[0] - day).days) for day in days]
        features, *figures = zip(*parts, strict=True)
        return _Buyers(stack_matrices(features), *map(np.concatenate, figures))

    def _buyers_after(
        self, day: date, *, most: int, age_days: int
    ) -> tuple[FeatureMatrix, Floats, Floats, Floats, Floats]:
        everyone = self.snapshots.at(day)
        outcome = self._outcomes(everyone)
        bought = np.flatnonzero(outcome.bought)
        kept = bought[np.linspace(0, len(bought) - 1, min(len(bought), most)).astype(np.int64)]
        snapshot = Snapshot(everyone.history.take(kept))
        return (
            self._features(snapshot),
            outcome.spend[kept],
            outcome.purchase_days[kept].astype(np.float64),
            btyd_days_if_bought(snapshot.btyd_forecast(self.reference.btyd), horizon_days=self.horizon_days),
            np.full(len(kept), 2.0 ** (-age_days / (2.0 * self.horizon_days))),
        )

    def _calibrated(self, model: HorizonModel) -> HorizonModel:
        window = {"horizon_days": self.horizon_days, "random_state": self.random_state}
        now = self.snapshots.sample(self.as_of, most=_CALIBRATION_CUSTOMERS, random_state=self.random_state)
        features = self._features(now)
        log_odds = model.log_odds(features)
        latest = latest_btyd_offsets(self.snapshots, self.as_of, self.reference.btyd, **window)
        offset = calibration_offset(
            log_odds.blended,
            learned=expit(log_odds.learned),
            btyd=expit(features["btyd_logit"]),
            carried=carried_offset(latest),
        )
        shifts = partial(self._observed_shifts, model)
        season = learn_season(self.snapshots, self.as_of, observed_shifts=shifts, days_ahead=self.days_ahead, **window)
        return replace(model, calibration_offset=offset, season=season)

    def _observed_shifts(self, model: HorizonModel, snapshot: Snapshot) -> tuple[float, float]:
        """Shifts of log odds and of log money that would have been right at a snapshot."""
        features, outcome = self._features(snapshot), self._outcomes(snapshot)
        purchase = shift_to_share(model.additive.total(features), outcome.bought)
        bought = np.flatnonzero(outcome.bought & (np.nan_to_num(outcome.spend) > 0))
        if model.spend is None or not len(bought):
            return purchase, 0.0
        spend = float(np.mean(np.log(outcome.spend[bought]) - model.spend.curves.total(features.rows(bought))))
        return purchase, float(np.clip(spend, -_MAX_SPEND_SHIFT, _MAX_SPEND_SHIFT))

    def _features(self, snapshot: Snapshot) -> FeatureMatrix:
        return feature_matrix(snapshot, self.reference, horizon_days=self.horizon_days)

    def _outcomes(self, snapshot: Snapshot) -> Outcomes:
        return self.snapshots.outcomes(snapshot, horizon_days=self.horizon_days)


@dataclass(frozen=True)
class Forecast:
    """What is expected of the customers of a snapshot, by horizon in days."""

    p: Mapping[int, Floats]
    p_parts: Mapping[str, Mapping[int, Floats]]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    features: Mapping[int, FeatureMatrix]


@dataclass(frozen=True)
class Forecaster:
    """Fitted models of purchases and money: BTYD for any horizon, and the models of the horizons that were learned."""

    as_of: date
    reference: FeatureReference
    gamma_gamma: GammaGamma | None
    horizon_models: Mapping[int, HorizonModel]

    def forecast(self, snapshot: Snapshot, *, days: Sequence[int]) -> Forecast:
        """Predict purchases and money of the customers of a snapshot."""
        horizons = sorted({*days, *self.horizon_models})
        btyd = snapshot.btyd_forecast(self.reference.btyd)
        p_btyd = {h: btyd.p_purchase(h) for h in horizons}
        features = {h: self.features(snapshot, horizon_days=h) for h in self.horizon_models}
        log_odds = {h: model.log_odds(features[h]) for h, model in self.horizon_models.items()}
        learned = {h: expit(parts.blended + self._season(snapshot, h)[0]) for h, parts in log_odds.items()}
        p = increasing_probabilities(learned, p_btyd)
        orders = expected_orders(p, self._days_if_bought(snapshot, features), btyd)
        p_parts = {
            "btyd": p_btyd,
            "additive": {h: expit(parts.additive) for h, parts in log_odds.items()},
            "boosting": {h: expit(parts.trees) for h, parts in log_odds.items()},
        }
        return Forecast(p, p_parts, orders, self._spend(snapshot, features, p, orders), features)

    def features(self, snapshot: Snapshot, *, horizon_days: int) -> FeatureMatrix:
        """Build what a horizon's models read."""
        return feature_matrix(snapshot, self.reference, horizon_days=horizon_days)

    def spend_if_bought(self, snapshot: Snapshot, features: FeatureMatrix, *, horizon_days: int) -> Floats:
        """Expected money of a buyer in a window, without season."""
        if self.gamma_gamma is None:
            return np.full(features.n_customers, np.nan)
        per_order = self._spend_per_order(snapshot)
        model = self.horizon_models[horizon_days].spend
        if model is None:
            return per_order
        return mix_with_gamma_gamma(
            model.if_bought(features),
            per_order=per_order,
            rate=features["btyd_rate"],
            frequency=snapshot.rfm[0],
            horizon_days=horizon_days,
        )

    def _spend_per_order(self, snapshot: Snapshot) -> Floats:
        if self.gamma_gamma is None:
            return np.full(snapshot.n_customers, np.nan)
        return self.gamma_gamma.expected_value(snapshot.rfm[0], snapshot.repeat_spend_mean)

    def _days_if_bought(self, snapshot: Snapshot, features: Mapping[int, FeatureMatrix]) -> dict[int, Floats]:
        """Purchase days of a buyer; what changes everybody's probability changes how often buyers come."""
        btyd = snapshot.btyd_forecast(self.reference.btyd)
        days = {h: btyd_days_if_bought(btyd, horizon_days=h) for h in self.horizon_models}
        for h, model in self.horizon_models.items():
            if model.days is not None:
                pace = pace_factor(model.calibration_offset, self._season(snapshot, h)[0])
                days[h] = model.days.if_bought(features[h], days[h], pace=pace, horizon_days=h)
        return days

    def _season(self, snapshot: Snapshot, horizon_days: int) -> tuple[float, float]:
        return self.horizon_models[horizon_days].season.at((snapshot.as_of - self.as_of).days)

    def _spend(
        self,
        snapshot: Snapshot,
        features: Mapping[int, FeatureMatrix],
        p: Mapping[int, Floats],
        orders: Mapping[int, Floats],
    ) -> dict[int, Floats]:
        if self.gamma_gamma is None:
            return {}
        per_order = self._spend_per_order(snapshot)
        learned = {
            h: p[h] * np.exp(self._season(snapshot, h)[1]) * self.spend_if_bought(snapshot, features[h], horizon_days=h)
            for h, model in self.horizon_models.items()
            if model.spend is not None
        }
        return non_decreasing({h: expected_spend(h, learned, orders, per_order) for h in orders})

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        btyd = {
            "as_of": self.as_of.isoformat(),
            "mbgnbd": self.reference.btyd.to_dict(),
            "bgnbd": self.reference.other_btyd.to_dict(),
            "gamma_gamma": self.gamma_gamma and self.gamma_gamma.to_dict(),
            "typical_spend": self.reference.typical_spend,
        }
        return {"btyd": btyd, "heads": [[h, model.to_dict()] for h, model in self.horizon_models.items()]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Forecaster":
        """Restore from `to_dict`."""
        btyd = values["btyd"]
        gamma_gamma = btyd["gamma_gamma"]
        reference = FeatureReference(
            BtydModel.from_dict(btyd["mbgnbd"]),
            BtydModel.from_dict(btyd["bgnbd"]),
            btyd.get("typical_spend", DEFAULT_TYPICAL_SPEND),
        )
        return cls(
            as_of=date.fromisoformat(btyd["as_of"]),
            reference=reference,
            gamma_gamma=GammaGamma.from_dict(gamma_gamma) if gamma_gamma else None,
            horizon_models={h: HorizonModel.from_dict(model) for h, model in values["heads"]},
        )


def fit_forecaster(
    snapshots: Snapshots,
    as_of: date,
    *,
    horizons: Sequence[int],
    random_state: int,
    n_jobs: int = 1,
    days_ahead: Sequence[int] = SEASON_DAYS_AHEAD,
) -> Forecaster:
    """Learn purchases and money; uses only days and windows that end by ``as_of``."""
    if not snapshots.at(as_of).n_customers:
        raise InsufficientHistory(
            f"orders: no customer has a day with net sales above zero up to {as_of}, so there is nothing to learn "
            "from. Send orders with sales, or a later day."
        )
    from joblib import Parallel, delayed

    reference = FeatureReference(
        snapshots.btyd(as_of, "mbgnbd"), snapshots.btyd(as_of, "bgnbd"), snapshots.typical_spend(as_of)
    )
    fitters = [_HorizonFitter(snapshots, as_of, reference, h, random_state, days_ahead) for h in horizons]
    fitted = Parallel(n_jobs=n_jobs)(delayed(_HorizonFitter.fit)(fitter) for fitter in fitters)
    models = {h: model for h, model in zip(horizons, fitted, strict=True) if model is not None}
    return Forecaster(as_of, reference, snapshots.gamma_gamma(as_of), models)
