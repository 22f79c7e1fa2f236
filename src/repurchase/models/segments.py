"""Segments, risk bands and actions: a shop's thresholds, learned in fit, applied to one customer at a time."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.features.history import Floats
from repurchase.models.serialization import JsonDataclass

BEST, SLIPPING, REGULAR = "best and most loyal", "valuable and slipping", "regular"
FIRST_TIME, WIN_BACK, LOST = "first-time buyer", "win back", "lost"

ACTIONS = {
    SLIPPING: "reach first, in person: ask what changed and offer a reason to come back",
    WIN_BACK: "win back: one clear offer, then stop",
    FIRST_TIME: "bring to a second purchase: show what goes with the first one",
    BEST: "thank and reward: early access, no discount needed",
    REGULAR: "keep the rhythm: thank, invite, let them bring a friend",
    LOST: "spend nothing: leave out of campaigns, or ask once why they left",
}
"""Segment to what to do, the most worthwhile first."""
SEGMENTS = tuple(ACTIONS)

RISK_BANDS = ("low", "medium", "high")
HIGH_RISK, _LOW_RISK = 0.70, 0.30
"""Churn risk over the longest horizon up to a year from which it is called high, and below which low."""
_HIGH_QUANTILE = 0.80
"""A long gap in a shop: one that four of five gaps do not reach."""
_LATE_FACTOR_BOUNDS = (1.25, 3.0)
"""Bounds of how many times the own rhythm a silence may last before it is called one."""
_MIN_LOYAL_PURCHASES = 3
"""Purchase days below which nobody is called loyal."""


@dataclass(frozen=True)
class SegmentThresholds(JsonDataclass):
    """Thresholds of one shop."""

    risk_horizon_days: int
    high_value: float
    second_purchase_days: float
    worth_winning: float
    worth_value: float = 0.0
    second_purchase_from_days: float | None = None
    second_purchase_median_days: float | None = None
    usual_gap_days: float = 0.0
    late_from: float = 1.5
    loyal_purchases: int = _MIN_LOYAL_PURCHASES

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {**super().to_dict(), "high_risk_from": HIGH_RISK, "low_risk_below": _LOW_RISK}


class SegmentLabels(NamedTuple):
    """Kinds of customers."""

    segment: npt.NDArray[np.int8]
    risk_band: npt.NDArray[np.int8]


def fit_segment_thresholds(
    *,
    p: Floats,
    value: Floats,
    first_gap_days: Floats,
    risk_horizon_days: int,
    purchases: Floats | None = None,
    own_gap_days: Floats | None = None,
    gap_over_own: Floats | None = None,
) -> SegmentThresholds:
    """Learn a shop's thresholds."""
    usual = float(np.quantile(first_gap_days, _HIGH_QUANTILE)) if len(first_gap_days) else 90.0
    early, middle = np.quantile(first_gap_days, (0.25, 0.5)).tolist() if len(first_gap_days) else (None, None)
    gaps, often = _finite(own_gap_days), _finite(purchases)
    ratio = _finite(gap_over_own)
    return SegmentThresholds(
        risk_horizon_days=risk_horizon_days,
        high_value=float(np.quantile(value, _HIGH_QUANTILE)),
        second_purchase_days=max(usual, 7.0),
        worth_winning=float(np.clip(np.mean(p) / 2.0, 0.02, 0.20)),
        worth_value=float(np.quantile(value, 1.0 - _HIGH_QUANTILE)),
        second_purchase_from_days=early,
        second_purchase_median_days=middle,
        usual_gap_days=float(np.median(gaps)) if len(gaps) else 0.0,
        late_from=float(np.clip(np.quantile(ratio, _HIGH_QUANTILE), *_LATE_FACTOR_BOUNDS)) if len(ratio) else 1.5,
        loyal_purchases=max(_MIN_LOYAL_PURCHASES, int(np.median(often))) if len(often) else _MIN_LOYAL_PURCHASES,
    )


def _finite(values: Floats | None) -> Floats:
    return np.zeros(0) if values is None else values[np.isfinite(values)]


def label_segments(
    thresholds: SegmentThresholds,
    *,
    p: Floats,
    value: Floats,
    frequency: Floats,
    days_since_last: Floats,
    gap_days: Floats,
) -> SegmentLabels:
    """Name each customer's segment, risk band and action.

    *Silent* is a one-time buyer after ``second_purchase_days``, and anybody else after ``late_from`` times the own
    rhythm: the usual gap, in which the shop's ``usual_gap_days`` counts as one gap more. The first rule that holds
    decides: *lost* (silent, and p below ``worth_winning`` or value below ``worth_value``); *first-time buyer* (one
    purchase day, not silent); *valuable and slipping* (high value, bought more than once, silent); *best and most
    loyal* (high value, ``loyal_purchases`` or more, not silent, not at high risk); *win back* (silent); *regular*.
    """
    risk = 1.0 - p
    once = frequency == 0
    silent = days_since_last > np.where(
        once,
        thresholds.second_purchase_days,
        thresholds.late_from * _purchase_rhythm_days(thresholds, frequency, gap_days),
    )
    high_value = value >= thresholds.high_value
    segment = np.select(
        [
            silent & ((p < thresholds.worth_winning) | (value < thresholds.worth_value)),
            once & ~silent,
            high_value & silent & ~once,
            high_value & (risk < HIGH_RISK) & (frequency + 1 >= thresholds.loyal_purchases) & ~silent,
            silent,
        ],
        [np.int8(SEGMENTS.index(name)) for name in (LOST, FIRST_TIME, SLIPPING, BEST, WIN_BACK)],
        default=np.int8(SEGMENTS.index(REGULAR)),
    )
    return SegmentLabels(segment, (risk >= _LOW_RISK).astype(np.int8) + (risk >= HIGH_RISK))


def _purchase_rhythm_days(thresholds: SegmentThresholds, frequency: Floats, gap_days: Floats) -> Floats:
    """Usual days between purchases, shrunk to the shop's where a customer has few gaps."""
    own = np.where(np.isnan(gap_days), thresholds.second_purchase_days, gap_days)
    if not thresholds.usual_gap_days:
        return own
    return np.asarray((frequency * own + thresholds.usual_gap_days) / (frequency + 1.0))


def segment_texts(label: SegmentLabels) -> dict[str, pl.Series]:
    """Render labels as text."""
    return {
        "segment": pl.Series(SEGMENTS).gather(label.segment),
        "risk_band": pl.Series(RISK_BANDS).gather(label.risk_band),
        "action": pl.Series(ACTIONS.values()).gather(label.segment),
    }
