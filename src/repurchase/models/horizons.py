"""The models of one horizon, fitted on earlier snapshots, and the forecast over all horizons."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from datetime import date
from repurchase.errors import InsufficientHistory
from repurchase.features.history import Floats
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
from typing import Any
from typing import NamedTuple
import numpy as np


_MAX_TRAIN_ROWS = 60_000
_MIN_ROWS_PER_CUTOFF = 3_000
_SPEND_CUTOFFS = 6
_MAX_TRAIN_BUYERS = 60_000
_CALIBRATION_CUSTOMERS = 20_000
_MAX_SPEND_SHIFT = 1.0
_NO_SEASON = Season()


class _LogOddsParts(NamedTuple):
    """Log odds of a purchase, one value per customer: of each part, of curves and trees together, and of all."""

    additive: Floats
    trees: Floats
    learned: Floats
    blended: Floats


@dataclass(frozen=True)
class _HorizonModel:
    """What was learned about one horizon."""

    additive: AdditiveModel
    trees: BoostedModel
    spend: SpendModel | None
    days: PurchaseDaysModel | None
    trees_share: float
    level: float = 0.0
    season: Season = _NO_SEASON

    def log_odds(self, design: FeatureMatrix) -> _LogOddsParts:
        """Log odds of the curves, of the trees, of both, and of both with BTYD at the learned level, without season."""
        additive, trees = self.additive.total(design), self.trees.log_odds(design)
        learned = average_log_odds(additive, trees, share=self.trees_share)
        return _LogOddsParts(additive, trees, learned, shrink_to_btyd(learned, design["btyd_logit"]) + self.level)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {
            "additive": self.additive.to_dict(),
            "trees": self.trees.to_dict(),
            "spend": self.spend and self.spend.to_dict(),
            "days": self.days and self.days.to_dict(),
            "trees_share": self.trees_share,
            "level": self.level,
            "season": {
                "days_ahead": list(self.season.days_ahead),
                "purchase": list(self.season.purchase),
                "spend": list(self.season.spend),
            },
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "_HorizonModel":
        """Restore from `to_dict`."""
        return cls(
            additive=AdditiveModel.from_dict(fields["additive"]),
            trees=BoostedModel.from_dict(fields["trees"]),
            spend=SpendModel.from_dict(fields["spend"]) if fields["spend"] else None,
            days=PurchaseDaysModel.from_dict(fields["days"]) if fields.get("days") else None,
            trees_share=fields["trees_share"],
            level=fields["level"],
            season=Season(**{name: tuple(values) for name, values in fields["season"].items()}),
        )


@dataclass(frozen=True)
class _HorizonTrainingSet:
    """Earlier customers to learn one horizon from."""

    rows: TrainingSet
    buyers: FeatureMatrix
    spend: Floats
    days: Floats
    btyd_days: Floats
    weight: Floats


def _build_horizon_training_set(snapshots: Snapshots, as_of: date, baseline: FeatureReference, *, horizon_days: int, random_state: int) -> _HorizonTrainingSet | None:
    """Gather customers at earlier cut-offs and what they did.

    BTYD keeps the parameters of ``as_of`` at every cut-off: parameters refitted at each would tell the heads of
    another world than the one they are asked about.
    """
    days = snapshots.train_days(as_of, horizon_days=horizon_days)
    if not days:
        return None
    most = max(_MIN_ROWS_PER_CUTOFF, _MAX_TRAIN_ROWS // len(days))
    known = [snapshots.sample(day, most=most, random_state=random_state) for day in days]
    if not any(len(snapshot.history.customer) for snapshot in known):
        return None
    rows = build_training_set(
        [feature_matrix(snapshot, baseline, horizon_days=horizon_days) for snapshot in known],
        [snapshots.outcomes(snapshot, horizon_days=horizon_days).bought for snapshot in known],
        [(days[0] - day).days for day in days],
        horizon_days,
    )
    if not rows.has_enough_of_both:
        return None
    return _HorizonTrainingSet(rows, *_buyer_rows(snapshots, days[:_SPEND_CUTOFFS], baseline, horizon_days))


def _fit_horizon_model(training_set: _HorizonTrainingSet, *, random_state: int) -> _HorizonModel:
    """Learn one horizon, level and season left out."""
    rows = training_set.rows
    return _HorizonModel(
        fit_additive(rows.design, rows.bought, rows.weight),
        fit_boosted(rows, random_state=random_state),
        fit_spend(training_set.buyers, training_set.spend, training_set.weight),
        fit_purchase_days(training_set.buyers, training_set.days, training_set.btyd_days, training_set.weight),
        trees_share(len(rows.bought)),
    )


def _calibrate_horizon_model(
    head: _HorizonModel,
    snapshots: Snapshots,
    as_of: date,
    baseline: FeatureReference,
    *,
    horizon_days: int,
    random_state: int,
    days_ahead: Sequence[int] = SEASON_DAYS_AHEAD,
) -> _HorizonModel:
    """Learn the level and the season of a fitted head."""

    def miss(snapshot: Snapshot) -> tuple[float, float]:
        return _observed_shifts(head, feature_matrix(snapshot, baseline, horizon_days=horizon_days), snapshots, snapshot, horizon_days)

    now = snapshots.sample(as_of, most=_CALIBRATION_CUSTOMERS, random_state=random_state)
    design = feature_matrix(now, baseline, horizon_days=horizon_days)
    log_odds = head.log_odds(design)
    misses = latest_btyd_offsets(snapshots, as_of, baseline.btyd, horizon_days=horizon_days, random_state=random_state)
    level = calibration_offset(
        log_odds.blended,
        learned=expit(log_odds.learned),
        btyd=expit(design["btyd_logit"]),
        carried=carried_offset(misses),
    )
    season = learn_season(
        snapshots, as_of, horizon_days=horizon_days, miss=miss, random_state=random_state, days_ahead=days_ahead
    )
    return replace(head, level=level, season=season)


def _observed_shifts(head: _HorizonModel, design: FeatureMatrix, snapshots: Snapshots, snapshot: Snapshot, horizon_days: int) -> tuple[float, float]:
    """Shifts of log odds and of log money that would have been right at a cut."""
    outcome = snapshots.outcomes(snapshot, horizon_days=horizon_days)
    purchase = shift_to_share(head.additive.total(design), outcome.bought)
    bought = np.flatnonzero(outcome.bought & (np.nan_to_num(outcome.spend) > 0))
    if head.spend is None or not len(bought):
        return purchase, 0.0
    spend = float(np.mean(np.log(outcome.spend[bought]) - head.spend.curves.total(design.rows(bought))))
    return purchase, float(np.clip(spend, -_MAX_SPEND_SHIFT, _MAX_SPEND_SHIFT))


def _buyer_rows(
    snapshots: Snapshots, days: Sequence[date], baseline: FeatureReference, horizon_days: int
) -> tuple[FeatureMatrix, Floats, Floats, Floats, Floats]:
    designs = []
    figures: list[Sequence[Floats]] = []
    for day in days:
        everyone = snapshots.at(day)
        outcome = snapshots.outcomes(everyone, horizon_days=horizon_days)
        bought = np.flatnonzero(outcome.bought)
        kept = bought[np.linspace(0, len(bought) - 1, min(len(bought), _MAX_TRAIN_BUYERS // len(days))).astype(np.int64)]
        snapshot = Snapshot(everyone.history.take(kept))
        designs.append(feature_matrix(snapshot, baseline, horizon_days=horizon_days))
        figures.append(
            (
                outcome.spend[kept],
                outcome.purchase_days[kept].astype(np.float64),
                btyd_days_if_bought(snapshot.btyd_forecast(baseline.btyd), horizon_days=horizon_days),
                np.full(len(kept), 2.0 ** (-(days[0] - day).days / (2.0 * horizon_days))),
            )
        )
    spend, purchase_days, btyd_days, weight = map(np.concatenate, zip(*figures, strict=True))
    return stack_matrices(designs), spend, purchase_days, btyd_days, weight


@dataclass(frozen=True)
class Forecast:
    """What is expected of the customers of a cut, by horizon in days."""

    p: Mapping[int, Floats]
    p_parts: Mapping[str, Mapping[int, Floats]]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    designs: Mapping[int, FeatureMatrix]


@dataclass(frozen=True)
class Forecaster:
    """Fitted models of purchases and money."""

    as_of: date
    btyd: BtydModel
    other_btyd: BtydModel
    gamma_gamma: GammaGamma | None
    horizon_models: Mapping[int, _HorizonModel]
    typical_spend: int = DEFAULT_TYPICAL_SPEND

    @property
    def baseline(self) -> FeatureReference:
        """What features are measured against."""
        return FeatureReference(self.btyd, self.other_btyd, self.typical_spend)

    def forecast(self, snapshot: Snapshot, *, days: Sequence[int]) -> Forecast:
        """Say what to expect of the customers of a cut."""
        horizons = sorted({*days, *self.horizon_models})
        btyd_forecast = snapshot.btyd_forecast(self.btyd)
        p_btyd = {h: btyd_forecast.p_purchase(h) for h in horizons}
        designs = {h: self.design(snapshot, horizon_days=h) for h in self.horizon_models}
        log_odds = {h: head.log_odds(designs[h]) for h, head in self.horizon_models.items()}
        p = increasing_probabilities({h: expit(parts.blended + self._season(snapshot, h)[0]) for h, parts in log_odds.items()}, p_btyd)
        orders = expected_orders(p, self._days_if_bought(snapshot, designs), btyd_forecast)
        parts = {
            "btyd": p_btyd,
            "additive": {h: expit(parts.additive) for h, parts in log_odds.items()},
            "boosting": {h: expit(parts.trees) for h, parts in log_odds.items()},
        }
        return Forecast(p, parts, orders, self._spend(snapshot, designs, p, orders), designs)

    def design(self, snapshot: Snapshot, *, horizon_days: int) -> FeatureMatrix:
        """Put together what a head reads."""
        return feature_matrix(snapshot, self.baseline, horizon_days=horizon_days)

    def spend_if_bought(self, snapshot: Snapshot, design: FeatureMatrix, *, horizon_days: int) -> Floats:
        """Expect a buyer's money in a window, the time of the year left out."""
        if self.gamma_gamma is None:
            return np.full(design.n_customers, np.nan)
        per_order = self.gamma_gamma.expected_value(snapshot.rfm[0], snapshot.repeat_spend_mean)
        head = self.horizon_models[horizon_days].spend
        if head is None:
            return per_order
        rate = design["btyd_rate"]
        return mix_with_gamma_gamma(
            head.if_bought(design), per_order=per_order, rate=rate, frequency=snapshot.rfm[0], horizon_days=horizon_days
        )

    def _days_if_bought(self, snapshot: Snapshot, designs: Mapping[int, FeatureMatrix]) -> dict[int, Floats]:
        """Purchase days of a buyer; what moves all customers' chances moves how often they come."""
        days = {h: btyd_days_if_bought(snapshot.btyd_forecast(self.btyd), horizon_days=h) for h in self.horizon_models}
        for h, head in self.horizon_models.items():
            if head.days is not None:
                pace = pace_factor(head.level, self._season(snapshot, h)[0])
                days[h] = head.days.if_bought(designs[h], days[h], pace=pace, horizon_days=h)
        return days

    def _season(self, snapshot: Snapshot, horizon_days: int) -> tuple[float, float]:
        return self.horizon_models[horizon_days].season.at((snapshot.as_of - self.as_of).days)

    def _spend(
        self, snapshot: Snapshot, designs: Mapping[int, FeatureMatrix], p: Mapping[int, Floats], orders: Mapping[int, Floats]
    ) -> dict[int, Floats]:
        if self.gamma_gamma is None:
            return {}
        per_order = self.gamma_gamma.expected_value(snapshot.rfm[0], snapshot.repeat_spend_mean)
        learned = {
            h: p[h] * np.exp(self._season(snapshot, h)[1]) * self.spend_if_bought(snapshot, designs[h], horizon_days=h)
            for h, head in self.horizon_models.items()
            if head.spend is not None
        }
        return non_decreasing({h: expected_spend(h, learned, orders, per_order) for h in orders})

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        btyd = {
            "as_of": self.as_of.isoformat(),
            "mbgnbd": self.btyd.to_dict(),
            "bgnbd": self.other_btyd.to_dict(),
            "gamma_gamma": self.gamma_gamma and self.gamma_gamma.to_dict(),
            "typical_spend": self.typical_spend,
        }
        return {"btyd": btyd, "heads": [[h, head.to_dict()] for h, head in self.horizon_models.items()]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Forecaster":
        """Restore from `to_dict`."""
        btyd = fields["btyd"]
        money = btyd["gamma_gamma"]
        return cls(
            as_of=date.fromisoformat(btyd["as_of"]),
            btyd=BtydModel.from_dict(btyd["mbgnbd"]),
            other_btyd=BtydModel.from_dict(btyd["bgnbd"]),
            gamma_gamma=GammaGamma.from_dict(money) if money else None,
            horizon_models={h: _HorizonModel.from_dict(head) for h, head in fields["heads"]},
            typical_spend=btyd.get("typical_spend", DEFAULT_TYPICAL_SPEND),
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
    """Learn purchases and money; asks only for days and windows that end by ``as_of``."""
    if not len(snapshots.at(as_of).history.customer):
        raise InsufficientHistory(
            f"orders: no customer has a day with net sales above zero up to {as_of}, so there is nothing to learn "
            "from. Send orders with sales, or a later day."
        )
    from joblib import Parallel, delayed

    baseline = FeatureReference(snapshots.btyd(as_of, "mbgnbd"), snapshots.btyd(as_of, "bgnbd"), snapshots.typical_spend(as_of))
    fitted = Parallel(n_jobs=n_jobs)(
        delayed(_fit_horizon)(snapshots, as_of, baseline, days_ahead, horizon_days=h, random_state=random_state)
        for h in horizons
    )
    horizon_models = {h: head for h, head in zip(horizons, fitted, strict=True) if head is not None}
    return Forecaster(as_of, baseline.btyd, baseline.other_btyd, snapshots.gamma_gamma(as_of), horizon_models, baseline.typical_spend)


def _fit_horizon(
    snapshots: Snapshots, as_of: date, baseline: FeatureReference, days_ahead: Sequence[int], *, horizon_days: int, random_state: int
) -> _HorizonModel | None:
    asked = {"horizon_days": horizon_days, "random_state": random_state}
    training_set = _build_horizon_training_set(snapshots, as_of, baseline, **asked)
    if training_set is None:
        return None
    head = _fit_horizon_model(training_set, random_state=random_state)
    return _calibrate_horizon_model(head, snapshots, as_of, baseline, days_ahead=days_ahead, **asked)
