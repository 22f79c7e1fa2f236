"""Where the probabilities lie as a whole: the level of all customers together, and the season.

A model ranks customers by what they did; how many buy in all depends on growth and on the time of the year too. Both
corrections are one number per horizon, learned in `fit`, and move every customer's log odds alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from repurchase.estimators.blend import expit, logit
from repurchase.estimators.cuts import Cut, Cuts

__all__ = ["Season", "learn_season", "level_shift", "shift_to_mean"]

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365
KEPT_OF_LAST_YEAR = 0.8
"""How much of last year's swing is expected again."""
LEAST_DAYS_BEFORE = 90
LOOK_AHEAD_DAYS = (0, 30, 60, 90)
"""A model goes on scoring for a while after it was fitted: the season is learned for those days too."""
SEASON_CUSTOMERS = 20_000


def shift_to_mean(log_odds: Floats, mean: float) -> float:
    """Find the number that moves log odds to a mean probability.

    Parameters
    ----------
    log_odds : array of shape (n_customers,)
        Of any customers.
    mean : float
        Mean probability to reach, in (0, 1).

    Returns
    -------
    float
        In [-8, 8].
    """
    from scipy.optimize import brentq

    def miss(shift: float) -> float:
        return float(expit(log_odds + shift).mean()) - mean

    if miss(-8.0) > 0 or miss(8.0) < 0:
        return -8.0 if miss(-8.0) > 0 else 8.0
    return float(brentq(miss, -8.0, 8.0, xtol=1e-10))


def level_shift(log_odds: Floats, *, learned: Floats, btyd: Floats) -> float:
    """Find the number that puts the mean halfway between what outcomes taught and what BTYD expects.

    Outcomes are a horizon old when they are known, BTYD sees the latest days: where a shop grows or shrinks they
    disagree, and halfway between was better than either.

    Parameters
    ----------
    log_odds : array of shape (n_customers,)
        The blend's.
    learned, btyd : arrays of shape (n_customers,)
        Probabilities of the two.

    Returns
    -------
    float
        To be added to the blend's log odds.
    """
    halfway = expit((logit(learned.mean()) + logit(btyd.mean())) / 2.0)
    return shift_to_mean(log_odds, float(halfway))


@dataclass(frozen=True)
class Season:
    """What the time of the year adds to log odds and to a buyer's log money.

    Parameters
    ----------
    days_ahead : tuple of int
        Days after the model was fitted, rising from 0.
    purchase, spend : tuple of float
        The shift there; between and beyond, the nearest two are mixed or the last is kept.
    """

    days_ahead: tuple[int, ...] = (0,)
    purchase: tuple[float, ...] = (0.0,)
    spend: tuple[float, ...] = (0.0,)

    def at(self, days_ahead: int) -> tuple[float, float]:
        """Read off both shifts.

        Parameters
        ----------
        days_ahead : int
            Days from the model's last day to the day of scoring.

        Returns
        -------
        purchase, spend : float
            Shifts.
        """
        purchase = np.interp(days_ahead, self.days_ahead, self.purchase)
        return float(purchase), float(np.interp(days_ahead, self.days_ahead, self.spend))


def learn_season(
    cuts: Cuts,
    as_of: date,
    *,
    horizon_days: int,
    miss: Callable[[Cut], tuple[float, float]],
    random_state: int,
) -> Season:
    """Learn from last year by how much the coming window differs from the latest known one.

    At a day u, ``miss`` says by how much the model is off in the window after u. The swing from the window that ended
    a year before ``as_of`` to the one that began there, shrunk by a fifth, and more where the history before it is
    short or the shop was much smaller, is expected to come again.

    Parameters
    ----------
    cuts : Cuts
        Of the log.
    as_of : date
        Last day that may be known.
    horizon_days : int
        Length of the window.
    miss : callable
        Cut to the shifts of log odds and of log money that would have been right there.
    random_state : int
        Seed of the sample.

    Returns
    -------
    Season
        No shift where the log does not reach back that far.
    """
    days: list[int] = []
    purchase: list[float] = []
    spend: list[float] = []
    for ahead in LOOK_AHEAD_DAYS:
        then = as_of + timedelta(days=ahead - YEAR_DAYS)
        before = then - timedelta(days=horizon_days)
        known = (before - cuts.book.first_day).days - LEAST_DAYS_BEFORE
        if ahead and not days:
            break  # without the swing that comes next, a later one would be mistaken for it
        if known < 0 or then + timedelta(days=horizon_days) > as_of:
            continue
        now, last, earlier = (
            cuts.sample(day, most=SEASON_CUSTOMERS, random_state=random_state) for day in (as_of, then, before)
        )
        if not len(earlier.history.customer):
            continue
        trust = min(1.0, known / 90.0) * min(1.0, 2.0 * len(earlier.history.customer) / len(now.history.customer))
        swing = [KEPT_OF_LAST_YEAR * trust * (b - a) for a, b in zip(miss(earlier), miss(last), strict=True)]
        days.append(ahead)
        purchase.append(swing[0])
        spend.append(swing[1])
    return Season(tuple(days), tuple(purchase), tuple(spend)) if days else Season()
