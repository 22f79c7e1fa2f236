"""What kind of customer this is now: thresholds learned when the model is fitted, applied to one customer at a time."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "ACTIONS",
    "BANDS",
    "BEST",
    "FIRST_TIME",
    "HIGH_RISK",
    "LOST",
    "LOW_RISK",
    "REGULAR",
    "SEGMENTS",
    "SLIPPING",
    "WIN_BACK",
    "Label",
    "Tiers",
    "fit_tiers",
    "label",
    "rhythm",
    "words_of",
]

Floats = npt.NDArray[np.float64]

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
"""Segment to what to do, in the order in which a marketer's hour is best spent."""
SEGMENTS = tuple(ACTIONS)

BANDS = ("low", "medium", "high")
HIGH_RISK, LOW_RISK = 0.70, 0.30
"""Churn risk over the longest horizon up to a year from which it is called high, and below which low."""
RARE = 0.80
"""What is long in a shop: a gap that four of five gaps do not reach."""
LATE_FROM = (1.25, 3.0)
"""Bounds of how many times the own rhythm a silence may last before it is called one."""
LEAST_LOYAL = 3
"""Purchase days below which nobody is called loyal."""


@dataclass(frozen=True)
class Tiers:
    """Thresholds of one shop.

    Parameters
    ----------
    risk_horizon_days : int
        Horizon whose churn risk makes the band.
    high_value : float
        Expected value (money, or orders without money) from which a customer is among the best fifth.
    second_purchase_days : float
        Days within which 80 % of second purchases came.
    worth_winning : float
        Probability of buying below which a silent customer counts as lost: half the shop's average.
    worth_value : float
        Expected value below which a silent customer counts as lost: the lowest fifth ends there.
    second_purchase_from_days, second_purchase_median_days : float or None
        Days within which 25 % and 50 % of second purchases came; None where nobody came back.
    usual_gap_days : float
        Days between purchases of the usual returning customer; 0 where it is not known.
    late_from : float
        How many times the own rhythm a silence must last to be called one: four of five gaps of those who bought
        often were not as long.
    loyal_purchases : int
        Purchase days from which a customer is called loyal: the median of returning customers, at least three.
    """

    risk_horizon_days: int
    high_value: float
    second_purchase_days: float
    worth_winning: float
    worth_value: float = 0.0
    second_purchase_from_days: float | None = None
    second_purchase_median_days: float | None = None
    usual_gap_days: float = 0.0
    late_from: float = 1.5
    loyal_purchases: int = LEAST_LOYAL

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields, and the fixed risk bounds for the reader.
        """
        return {**asdict(self), "high_risk_from": HIGH_RISK, "low_risk_below": LOW_RISK}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Tiers":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Tiers
            Equal to the one saved; what an older version did not learn has its default.
        """
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__ if name in fields})


class Label(NamedTuple):
    """Kinds of customers.

    Parameters
    ----------
    segment : int8 array of shape (n_customers,)
        Positions in ``SEGMENTS``.
    risk_band : int8 array of shape (n_customers,)
        Positions in ``BANDS``.
    """

    segment: npt.NDArray[np.int8]
    risk_band: npt.NDArray[np.int8]


def fit_tiers(
    *,
    p: Floats,
    value: Floats,
    first_gap_days: Floats,
    risk_horizon_days: int,
    purchases: Floats | None = None,
    own_gap_days: Floats | None = None,
    gap_over_own: Floats | None = None,
) -> Tiers:
    """Learn a shop's thresholds.

    Parameters
    ----------
    p : array of shape (n_customers,)
        Probability of buying within the risk horizon.
    value : array of shape (n_customers,)
        Expected value per active customer.
    first_gap_days : array of shape (n_repeat_buyers,)
        Days from first to second purchase day.
    risk_horizon_days : int
        Which horizon ``p`` is for.
    purchases, own_gap_days : arrays of shape (n_repeat_buyers,), optional
        Purchase days, and the median gap between them; without them, what is usual elsewhere.
    gap_over_own : array of shape (n_gaps,), optional
        Gaps of those who bought often, over the median gap of the same customer.

    Returns
    -------
    Tiers
        Thresholds.
    """
    usual = float(np.quantile(first_gap_days, RARE)) if len(first_gap_days) else 90.0
    early, middle = np.quantile(first_gap_days, (0.25, 0.5)).tolist() if len(first_gap_days) else (None, None)
    gaps, often = _known(own_gap_days), _known(purchases)
    ratio = _known(gap_over_own)
    return Tiers(
        risk_horizon_days=risk_horizon_days,
        high_value=float(np.quantile(value, RARE)),
        second_purchase_days=max(usual, 7.0),
        worth_winning=float(np.clip(np.mean(p) / 2.0, 0.02, 0.20)),
        worth_value=float(np.quantile(value, 1.0 - RARE)),
        second_purchase_from_days=early,
        second_purchase_median_days=middle,
        usual_gap_days=float(np.median(gaps)) if len(gaps) else 0.0,
        late_from=float(np.clip(np.quantile(ratio, RARE), *LATE_FROM)) if len(ratio) else 1.5,
        loyal_purchases=max(LEAST_LOYAL, int(np.median(often))) if len(often) else LEAST_LOYAL,
    )


def _known(values: Floats | None) -> Floats:
    return np.zeros(0) if values is None else values[np.isfinite(values)]


def label(
    tiers: Tiers, *, p: Floats, value: Floats, frequency: Floats, days_since_last: Floats, gap_days: Floats
) -> Label:
    """Name each customer's segment, risk band and action.

    *Silent* is a one-time buyer after ``second_purchase_days``, and anybody else after ``late_from`` times the own
    rhythm: the usual gap, in which the shop's ``usual_gap_days`` counts as one gap more. The first rule that holds
    decides: *lost* (silent, and p below ``worth_winning`` or value below ``worth_value``); *first-time buyer* (one
    purchase day, not silent); *valuable and slipping* (high value, bought more than once, silent); *best and most
    loyal* (high value, ``loyal_purchases`` or more, not silent, not at high risk); *win back* (silent); *regular*.

    Parameters
    ----------
    tiers : Tiers
        Learned thresholds.
    p, value : arrays of shape (n_customers,)
        As for `fit_tiers`.
    frequency, days_since_last, gap_days : arrays of shape (n_customers,)
        Repeat purchase days, silence, and the customer's usual gap (NaN without one).

    Returns
    -------
    Label
        One code per customer, whatever the numbers: what is not known holds in no rule.
    """
    risk = 1.0 - p
    once = frequency == 0
    silent = days_since_last > np.where(
        once, tiers.second_purchase_days, tiers.late_from * rhythm(tiers, frequency, gap_days)
    )
    high_value = value >= tiers.high_value
    segment = np.select(
        [
            silent & ((p < tiers.worth_winning) | (value < tiers.worth_value)),
            once & ~silent,
            high_value & silent & ~once,
            high_value & (risk < HIGH_RISK) & (frequency + 1 >= tiers.loyal_purchases) & ~silent,
            silent,
        ],
        [np.int8(SEGMENTS.index(name)) for name in (LOST, FIRST_TIME, SLIPPING, BEST, WIN_BACK)],
        default=np.int8(SEGMENTS.index(REGULAR)),
    )
    return Label(segment, (risk >= LOW_RISK).astype(np.int8) + (risk >= HIGH_RISK))


def rhythm(tiers: Tiers, frequency: Floats, gap_days: Floats) -> Floats:
    """Say how often customers buy, cautiously where few gaps tell.

    Parameters
    ----------
    tiers : Tiers
        Learned thresholds.
    frequency, gap_days : arrays of shape (n_customers,)
        Repeat purchase days, and the customer's usual gap (NaN without one).

    Returns
    -------
    array of shape (n_customers,)
        Days; the shop's usual gap counts as one gap more.
    """
    own = np.where(np.isnan(gap_days), tiers.second_purchase_days, gap_days)
    if not tiers.usual_gap_days:
        return own
    return np.asarray((frequency * own + tiers.usual_gap_days) / (frequency + 1.0))


def words_of(label: Label) -> dict[str, pl.Series]:
    """Put labels into words.

    Parameters
    ----------
    label : Label
        Codes.

    Returns
    -------
    dict of str to Series of shape (n_customers,)
        ``segment``, ``risk_band``, ``action``.
    """
    return {
        "segment": pl.Series(SEGMENTS).gather(label.segment),
        "risk_band": pl.Series(BANDS).gather(label.risk_band),
        "action": pl.Series(ACTIONS.values()).gather(label.segment),
    }
