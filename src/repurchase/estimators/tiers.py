"""What kind of customer this is now: thresholds learned when the model is fitted, applied to one customer at a time."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["ACTIONS", "BANDS", "SEGMENTS", "Label", "Tiers", "fit_tiers", "label", "words_of"]

Floats = npt.NDArray[np.float64]

BEST, SLIPPING, REGULAR = "best and most loyal", "valuable and slipping", "regular"
FIRST_TIME, WIN_BACK, LOST = "first-time buyer", "win back", "lost"

ACTIONS = {
    SLIPPING: "reach first, in person: ask what changed and offer a reason to come back",
    WIN_BACK: "win back: one clear offer, then stop",
    FIRST_TIME: "bring to a second purchase: show what goes with the first one",
    BEST: "thank and reward: early access, no discount needed",
    REGULAR: "keep the rhythm: remind when the next order is due",
    LOST: "spend nothing: leave out of campaigns, or ask once why they left",
}
"""Segment to what to do, in the order in which a marketer's hour is best spent."""
SEGMENTS = tuple(ACTIONS)

BANDS = ("low", "medium", "high")
HIGH_RISK, LOW_RISK = 0.70, 0.30
"""Churn risk over the longest horizon up to a year from which it is called high, and below which low."""


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
    """

    risk_horizon_days: int
    high_value: float
    second_purchase_days: float
    worth_winning: float

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
            Equal to the one saved.
        """
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


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


def fit_tiers(*, p: Floats, value: Floats, first_gap_days: Floats, risk_horizon_days: int) -> Tiers:
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

    Returns
    -------
    Tiers
        Thresholds.
    """
    usual = float(np.quantile(first_gap_days, 0.8)) if len(first_gap_days) else 90.0
    return Tiers(
        risk_horizon_days=risk_horizon_days,
        high_value=float(np.quantile(value, 0.8)),
        second_purchase_days=max(usual, 7.0),
        worth_winning=float(np.clip(np.mean(p) / 2.0, 0.02, 0.20)),
    )


def label(
    tiers: Tiers, *, p: Floats, value: Floats, frequency: Floats, days_since_last: Floats, gap_days: Floats
) -> Label:
    """Name each customer's segment, risk band and action.

    The first rule that holds decides: *lost* (p below ``worth_winning`` and silent beyond the usual rhythm);
    *first-time buyer* (one purchase day, within ``second_purchase_days``); *valuable and slipping* (high value,
    bought more than once, silent for half again the own rhythm); *best and most loyal* (high value, three purchase
    days or more, on rhythm, not at high risk); *win back* (high risk, or silent); *regular*.

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
        One code per customer.
    """
    risk = 1.0 - p
    rhythm = np.where(np.isnan(gap_days), tiers.second_purchase_days, gap_days)
    silent = days_since_last > 1.5 * rhythm
    high_value = value >= tiers.high_value
    segment = np.select(
        [
            (p < tiers.worth_winning) & silent,
            (frequency == 0) & (days_since_last <= tiers.second_purchase_days),
            high_value & silent & (frequency >= 1),
            high_value & ~silent & (risk < HIGH_RISK) & (frequency >= 2),
            (risk >= HIGH_RISK) | silent,
        ],
        [np.int8(SEGMENTS.index(name)) for name in (LOST, FIRST_TIME, SLIPPING, BEST, WIN_BACK)],
        default=np.int8(SEGMENTS.index(REGULAR)),
    )
    return Label(segment, (risk >= LOW_RISK).astype(np.int8) + (risk >= HIGH_RISK))


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
