"""Customers' histories as of a day, and the feature matrices that the models read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.features.behaviour import behaviour_features, money_features, window_features
from repurchase.features.history import MONEY_SCALE, Floats, History, Outcomes, day_number
from repurchase.features.ledger import Ledger, train_cutoffs
from repurchase.models.btyd.fitting import fit_btyd, fit_gamma_gamma
from repurchase.models.btyd.model import BtydForecast, BtydModel, DistinctPairs, Family, GammaGamma

_UNITS_OF_TYPICAL_SPEND = 32
"""In which the models count a typical purchase day: a power of two, which leaves every bit of a number as it is. Curves
transform money as log(1 + x), so that what is far below a typical purchase day counts as next to nothing."""
DEFAULT_TYPICAL_SPEND = _UNITS_OF_TYPICAL_SPEND * MONEY_SCALE
"""Typical purchase day, in integer units of money, of a log without money; models saved without one count money in its
own unit, which is the same."""


def money_unit_for(typical_spend: int) -> float:
    """Choose the unit in which features count money."""
    return typical_spend / _UNITS_OF_TYPICAL_SPEND


@dataclass(frozen=True)
class FeatureReference:
    """What the features of customers are measured against: fitted on what was known on one day."""

    btyd: BtydModel
    other_btyd: BtydModel
    typical_spend: int

    @property
    def money_unit(self) -> float:
        """Integer units of money that features count as one."""
        return money_unit_for(self.typical_spend)


def logit(p: npt.ArrayLike) -> Floats:
    """Log odds, with probabilities kept off 0 and 1."""
    inside = np.clip(np.asarray(p, dtype=np.float64), 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def expit(log_odds: npt.ArrayLike) -> Floats:
    """Probability of log odds."""
    from scipy.special import expit as stable

    return np.asarray(stable(np.asarray(log_odds, dtype=np.float64)))


IndexArray = npt.NDArray[np.int64]
_RowSelection = IndexArray | npt.NDArray[np.bool_] | slice

MAX_WHOLE_VALUE = 4_096
_WHOLE_CHECK_ROWS = 64
"""Values that are enough, most often, to see that not all are whole."""

_UNTRANSFORMED_FEATURES = ("usual_log_gap", "silence_in_spreads", "came_back_in_time", "btyd_logit", "btyd_other_logit")
_SHARE_FEATURES = ("active_windows_share", "active_months_share", "discount_share", "returned_share")
_RATE_FEATURES = ("rate", "btyd_rate", "spend_last_to_typical")


class FeatureMatrix(Mapping[str, Floats]):
    """Features of customers, column by column."""

    def __init__(self, columns: Mapping[str, Floats], *, parent: "FeatureMatrix | None" = None) -> None:
        self._own = dict(columns)
        self._parent = parent
        self._transformed: dict[str, TransformedColumn] = {}

    def __getitem__(self, name: str) -> Floats:
        """Read a feature."""
        if self._parent is None or name in self._own:
            return self._own[name]
        return self._parent[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, those of the parent first."""
        inherited = self._parent or ()
        yield from inherited
        yield from (name for name in self._own if name not in inherited)

    def __len__(self) -> int:
        """Count the columns."""
        return sum(1 for _ in self)

    @property
    def n_customers(self) -> int:
        """How many rows."""
        return len(next(iter(self.values())))

    def transformed(self, name: str) -> "TransformedColumn":
        """Transform a feature, once."""
        if self._parent is not None and name not in self._own:
            return self._parent.transformed(name)
        if name not in self._transformed:
            self._transformed[name] = _transformed_column(name, self._own[name])
        return self._transformed[name]

    def rows(self, indices: _RowSelection) -> "FeatureMatrix":
        """Keep some customers."""
        return FeatureMatrix({name: values[indices] for name, values in self.items()})


class TransformedColumn:
    """A transformed feature; with ``index``, ``values`` holds distinct values only."""

    __slots__ = ("index", "missing", "values")

    def __init__(self, values: Floats, missing: Floats | None, index: IndexArray | None = None) -> None:
        self.values = values
        self.missing = missing
        self.index = index

    def rows(self, indices: IndexArray) -> "TransformedColumn":
        """Keep some customers."""
        if self.index is not None:
            return TransformedColumn(self.values, self.missing, self.index[indices])
        return TransformedColumn(self.values[indices], None if self.missing is None else self.missing[indices])


def _transformed_column(name: str, values: Floats) -> TransformedColumn:
    index = _whole_number_codes(values)
    transformed = transform_feature(
        name, values if index is None else np.append(np.nan, np.arange(index.max(initial=1)))
    )
    missing = np.isnan(transformed)
    return (
        TransformedColumn(np.fmax(transformed, -np.inf), missing.astype(np.float64), index)
        if missing.any()
        else TransformedColumn(transformed, None, index)
    )


def _whole_number_codes(values: Floats) -> IndexArray | None:
    """One more than each value, 0 where it is missing; None unless all are whole, not negative and not large."""
    first = values[:_WHOLE_CHECK_ROWS]
    if not (np.isnan(first) | (first == np.floor(first))).all():
        return None
    if not (np.fmin.reduce(values, initial=0.0) >= 0.0 and np.fmax.reduce(values, initial=0.0) < MAX_WHOLE_VALUE):
        return None
    from_one = np.fmax(values, -1.0) + 1.0
    index = from_one.astype(np.int64)
    return index if (index == from_one).all() else None


def stack_matrices(designs: Sequence[FeatureMatrix]) -> FeatureMatrix:
    """Put customers below each other."""
    return FeatureMatrix({name: np.concatenate([design[name] for design in designs]) for name in designs[0]})


def transform_feature(name: str, values: Floats) -> Floats:
    """Take logarithms of counts, days, money and rates, and leave shares and log odds as they are."""
    if name in _UNTRANSFORMED_FEATURES or name in _SHARE_FEATURES:
        return np.ascontiguousarray(values)
    if name in _RATE_FEATURES or name.startswith(("fading_rate", "fading_spend_rate")):
        return np.asarray(np.log(np.maximum(values, 0.0) + 1e-3))
    if not np.fmin.reduce(values, initial=0.0) < 0.0:
        return np.asarray(np.log1p(values))
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


_MAX_TRAIN_CUTOFFS = 10
_MIN_TRAIN_STEP_DAYS = 7
_MAX_CACHED_CUSTOMERS = 10_000
"""Snapshots up to this size are cached: the fits of one process use the same days again and again."""


@dataclass(frozen=True)
class Snapshot:
    """Everything known about customers on a day."""

    history: History
    precomputed_pairs: DistinctPairs | None = None

    @property
    def as_of(self) -> date:
        """Last day known, inclusive."""
        return self.history.as_of

    @property
    def n_customers(self) -> int:
        """How many."""
        return len(self.history.customer)

    def block(self, first: int, last: int) -> "Snapshot":
        """Keep customers that are neighbours; what they share with the others is computed once."""
        return Snapshot(self.history.block(first, last), self.pairs.rows(first, last))

    @cached_property
    def features(self) -> FeatureMatrix:
        """Behaviour of every customer, money in currency (see `behaviour_features`)."""
        return FeatureMatrix(behaviour_features(self.history))

    def features_in(self, money_unit: float) -> FeatureMatrix:
        """Behaviour of every customer, money in any unit."""
        if money_unit not in self._in_units:
            money = money_features(self.history, money_unit=money_unit)
            self._in_units[money_unit] = FeatureMatrix(money, parent=self.features)
        return self._in_units[money_unit]

    @cached_property
    def _in_units(self) -> dict[float, FeatureMatrix]:
        return {MONEY_SCALE: self.features}

    @cached_property
    def rfm(self) -> tuple[Floats, Floats, Floats]:
        """Frequency, recency and age in days, as BTYD models take them."""
        history = self.history
        first, last = history.day[history.start], history.day[history.last_row]
        frequency, recency, age = history.count - 1, last - first, day_number(self.as_of) - first
        return frequency.astype(np.float64), recency.astype(np.float64), age.astype(np.float64)

    @cached_property
    def pairs(self) -> DistinctPairs:
        """Distinct pairs of frequency and age."""
        return self.precomputed_pairs or DistinctPairs(self.rfm[0], self.rfm[2])

    def btyd_forecast(self, fit: BtydModel) -> BtydForecast:
        """Predictions of a fitted BTYD model, cached."""
        if fit not in self._btyd_forecasts:
            self._btyd_forecasts[fit] = BtydForecast(fit, self.rfm, self.pairs)
        return self._btyd_forecasts[fit]

    @cached_property
    def _btyd_forecasts(self) -> dict[BtydModel, BtydForecast]:
        return {}

    @property
    def repeat_spend_mean(self) -> Floats:
        """Mean net money per repeat purchase day; 0 without one."""
        repeat = self.history.total(self.history.spend) - self.history.spend[self.history.start]
        return np.asarray(repeat / MONEY_SCALE / np.maximum(self.history.count - 1, 1))


def feature_matrix(snapshot: Snapshot, baseline: FeatureReference, *, horizon_days: int) -> FeatureMatrix:
    """Join behaviour with what BTYD expects."""
    btyd_forecast = snapshot.btyd_forecast(baseline.btyd)
    outputs = {
        "btyd_logit": logit(btyd_forecast.p_purchase(horizon_days)),
        "btyd_other_logit": logit(snapshot.btyd_forecast(baseline.other_btyd).p_purchase(horizon_days)),
        "btyd_p_alive": btyd_forecast.p_alive,
        "btyd_rate": purchase_rate(snapshot, baseline.btyd),
    }
    recent = window_features(snapshot.history, horizon_days=horizon_days, money_unit=baseline.money_unit)
    return FeatureMatrix({**recent, **outputs}, parent=snapshot.features_in(baseline.money_unit))


def purchase_rate(snapshot: Snapshot, btyd: BtydModel) -> Floats:
    """Expected purchases per day of customers who have not left."""
    x, _, T = snapshot.rfm
    return np.asarray((btyd.r + x) / (btyd.alpha + T))


class Snapshots:
    """Snapshots, outcomes and BTYD fits of one ledger, with a cache.

    Nothing here knows which day a model is fitted for: a model uses only days and windows that end by then.
    """

    def __init__(self, ledger: Ledger, *, horizons: Sequence[int]) -> None:
        self.ledger = ledger.without(ledger.find_closing())
        self.horizons = tuple(horizons)
        self._btyd: dict[tuple[date, Family], BtydModel] = {}
        self._gamma_gamma: dict[date, GammaGamma] = {}
        self._snapshots: dict[date, Snapshot] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cached snapshots out: another process makes them faster than it reads them."""
        return {**self.__dict__, "_cuts": {}}

    def at(self, as_of: date) -> Snapshot:
        """Snapshot as of a day."""
        if as_of in self._snapshots:
            return self._snapshots[as_of]
        snapshot = Snapshot(self.ledger.history(as_of))
        if len(snapshot.history.customer) <= _MAX_CACHED_CUSTOMERS:
            self._snapshots[as_of] = snapshot
        return snapshot

    def sample(self, as_of: date, *, most: int, random_state: int) -> Snapshot:
        """Snapshot as of a day with a random sample of its customers."""
        snapshot = self.at(as_of)
        n_customers = len(snapshot.history.customer)
        if n_customers <= most:
            return snapshot
        rng = np.random.default_rng([random_state, as_of.toordinal()])
        return Snapshot(snapshot.history.take(np.sort(rng.choice(n_customers, most, replace=False))))

    def outcomes(self, snapshot: Snapshot, *, horizon_days: int) -> Outcomes:
        """Outcomes of the customers of a snapshot."""
        return self.ledger.outcomes(snapshot.history, horizon_days=horizon_days)

    def btyd(self, as_of: date, family: Family) -> BtydModel:
        """Fit purchases and dropout on what was known on a day."""
        if (as_of, family) not in self._btyd:
            self._btyd[as_of, family] = fit_btyd(*self.at(as_of).rfm, families=(family,))
        return self._btyd[as_of, family]

    def typical_spend(self, as_of: date) -> int:
        """Find the median purchase day of what was known on a day."""
        if not self.ledger.has_amounts:
            return DEFAULT_TYPICAL_SPEND
        spend = self.at(as_of).history.spend
        return int(np.partition(spend, len(spend) // 2)[len(spend) // 2])

    def set_fits(self, as_of: date, btyd: Mapping[Family, BtydModel], gamma_gamma: GammaGamma | None) -> None:
        """Use fits of a day that were made elsewhere, of more customers than these."""
        self._btyd.update({(as_of, family): fit for family, fit in btyd.items()})
        if gamma_gamma is not None:
            self._gamma_gamma[as_of] = gamma_gamma

    def gamma_gamma(self, as_of: date) -> GammaGamma | None:
        """Fit money per purchase day on what was known on a day."""
        if not self.ledger.has_amounts:
            return None
        if as_of in self._gamma_gamma:
            return self._gamma_gamma[as_of]
        snapshot = self.at(as_of)
        fit = fit_gamma_gamma(snapshot.rfm[0], snapshot.repeat_spend_mean)
        if fit.fallback_mean == 0.0:  # nobody came back: only first purchases are known
            return replace(fit, fallback_mean=float(np.median(snapshot.history.spend)) / MONEY_SCALE)
        return fit

    def train_days(self, as_of: date, *, horizon_days: int, most: int = _MAX_TRAIN_CUTOFFS) -> Sequence[date]:
        """Choose earlier days whose outcomes were known on a day."""
        return train_cutoffs(
            first_day=self.ledger.first_day,
            as_of=as_of,
            horizon_days=horizon_days,
            most=most,
            step_days=max(_MIN_TRAIN_STEP_DAYS, horizon_days // 3),
        )
