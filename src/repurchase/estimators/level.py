"""Where the probabilities lie as a whole: the level of all customers together, and the season.

A model ranks customers by what they did; how many buy in all depends on growth and on the time of the year too. Both
corrections are one number per horizon, learned in `fit`, and move every customer's log odds alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from repurchase.estimators.blend import expit, logit
from repurchase.estimators.btyd import Btyd
from repurchase.estimators.cuts import Cut, Cuts

__all__ = [
    "LOOK_AHEAD_DAYS",
    "Season",
    "carried_on",
    "latest_misses",
    "learn_season",
    "level_shift",
    "shift_to_mean",
    "shift_to_share",
]

Floats = npt.NDArray[np.float64]

YEAR_DAYS = 365
KEPT_OF_LAST_YEAR = 0.8
"""How much of last year's swing is expected again."""
LEAST_DAYS_BEFORE = 90
LOOK_AHEAD_DAYS = (0, 30, 60, 90, 135, 180)
"""A model goes on scoring for a while after it was fitted: the season is learned for those days too."""
SEASON_CUSTOMERS = 20_000
MOST_SHIFT = 2.0
BTYD_SHARE = 2 / 3
"""Of the level: outcomes are a horizon old when they are known, BTYD sees the latest days."""
MISS_WINDOWS, LEAST_MISS_DAYS = 3, 7
MISS_CUSTOMERS, LEAST_MISS_CUSTOMERS = 8_000, 100
LEAST_DAYS_KNOWN = 30
MOST_CARRIED, USUAL_MISS = 0.8, 0.4
"""How much of the latest miss lasts where the level moves much, and the miss, in log odds, where half of that does."""


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


def latest_misses(cuts: Cuts, as_of: date, btyd: Btyd, *, horizon_days: int, random_state: int) -> tuple[float, ...]:
    """Look by how much BTYD was off in the latest windows, half a horizon long each.

    Outcomes of the whole horizon are old news; those of half of it tell more of the shop as it is now. BTYD keeps the
    parameters of ``as_of``, so that what it misses is the shop's own going up and down.

    Parameters
    ----------
    cuts : Cuts
        Of a log that may reach beyond ``as_of``.
    as_of : date
        Last day that may be known; the latest window ends there.
    btyd : Btyd
        Fitted on what was known by ``as_of``.
    horizon_days : int
        Days ahead.
    random_state : int
        Seed of the samples.

    Returns
    -------
    tuple of float
        Latest first, at most three: shifts of log odds that would have been right; none where the log is too young.
    """
    window = max(LEAST_MISS_DAYS, horizon_days // 2)
    misses: list[float] = []
    for number in range(1, MISS_WINDOWS + 1):
        day = as_of - timedelta(days=number * window)
        if (day - cuts.book.first_day).days < LEAST_DAYS_KNOWN:
            break
        cut = cuts.sample(day, most=MISS_CUSTOMERS, random_state=random_state)
        if len(cut.history.customer) < LEAST_MISS_CUSTOMERS:
            break
        bought = cuts.outcomes(cut, horizon_days=window).bought
        log_odds = logit(btyd.p_purchase(*cut.rfm, horizon_days=window))
        misses.append(shift_to_share(log_odds, bought))
    return tuple(misses)


def carried_on(misses: Sequence[float]) -> float:
    """Expect how much of the latest miss lasts.

    In a steady shop a miss is chance, and nothing of it lasts. The more the level moved lately, the more does.

    Parameters
    ----------
    misses : sequence of float
        See `latest_misses`.

    Returns
    -------
    float
        Log odds; 0 without a miss.
    """
    if not misses:
        return 0.0
    moved = float(np.mean(np.square(misses)))
    return MOST_CARRIED * moved / (moved + USUAL_MISS**2) * misses[0]


def level_shift(log_odds: Floats, *, learned: Floats, btyd: Floats, carried: float = 0.0) -> float:
    """Find the number that puts the mean between what outcomes taught and what BTYD expects.

    Where a shop grows or shrinks the two disagree, and between them was better than either.

    Parameters
    ----------
    log_odds : array of shape (n_customers,)
        The blend's.
    learned, btyd : arrays of shape (n_customers,)
        Probabilities of the two.
    carried : float
        See `carried_on`.

    Returns
    -------
    float
        To be added to the blend's log odds.
    """
    between = (1.0 - BTYD_SHARE) * logit(learned.mean()) + BTYD_SHARE * logit(btyd.mean())
    return shift_to_mean(log_odds, float(expit(between + carried)))


def shift_to_share(log_odds: Floats, bought: npt.NDArray[np.bool_]) -> float:
    """Find the number that moves log odds to the share that bought.

    Parameters
    ----------
    log_odds : array of shape (n_customers,)
        Of any customers, one at least.
    bought : bool array of shape (n_customers,)
        What they did.

    Returns
    -------
    float
        In [-2, 2], finite also where all bought or none.
    """
    least = 0.5 / len(bought)
    share = float(np.clip(bought.mean(), least, 1.0 - least))
    return float(np.clip(shift_to_mean(log_odds, share), -MOST_SHIFT, MOST_SHIFT))


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
    days_ahead: Sequence[int] = LOOK_AHEAD_DAYS,
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
    days_ahead : sequence of int, optional
        On which days after the fit scores will be asked for; rising from 0.

    Returns
    -------
    Season
        No shift where the log does not reach back that far.
    """
    days: list[int] = []
    purchase: list[float] = []
    spend: list[float] = []
    for ahead in days_ahead:
        then = cuts.book.open_date(as_of + timedelta(days=ahead - YEAR_DAYS))
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
