"""From the parts' log odds to calibrated curves over the horizons: blend, offset, season, quantiles of outcomes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from repurchase.features.history import Floats
from repurchase.models.btyd.model import BtydForecast, BtydModel, expected_if_alive
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import Snapshot, Snapshots, expit, logit

_HALF_WEIGHT_ROWS = 3_000
"""Rows at which trees count half as much as they do with very many."""
_BTYD_WEIGHT = 0.20
"""By how much of their distance BTYD moves what was learned."""
_MAX_BTYD_DISTANCE = 1.0
"""Log odds beyond which a greater distance counts no more: a regular buyer's short silence is certain death to BTYD."""
_MIN_BETWEEN_SHARE = 0.1
"""Share of BTYD's probability of a first purchase between two horizons that is kept where outcomes show none."""


def trees_share(n_rows: int) -> float:
    """Weight of trees next to curves: few customers are enough to fit curves, but not trees."""
    return 0.5 * n_rows / (n_rows + _HALF_WEIGHT_ROWS)


def average_log_odds(additive: Floats, trees: Floats, *, share: float) -> Floats:
    """Average curves and trees on the scale of log odds."""
    return (1.0 - share) * additive + share * trees


def shrink_to_btyd(learned: Floats, btyd: Floats) -> Floats:
    """Move what was learned some way towards BTYD, on the scale of log odds.

    The weight is fixed: weights learned from the few latest snapshots helped in steady shops and hurt in
    changing ones (benchmarks/FINDINGS.md).
    """
    return np.asarray(learned + _BTYD_WEIGHT * np.clip(btyd - learned, -_MAX_BTYD_DISTANCE, _MAX_BTYD_DISTANCE))


def increasing_probabilities(learned: Mapping[int, Floats], btyd: Mapping[int, Floats]) -> dict[int, Floats]:
    """Make one curve of the horizons: it rises, and BTYD continues it where nothing was learned.

    A horizon without a learned probability is reached from the one before it by BTYD's chance of buying in the days
    between, given none before: 1 - p(h) = (1 - p(h')) (1 - p_btyd(h)) / (1 - p_btyd(h')). A learned probability below
    the one before it is lifted to just above: of days that follow, a tenth of BTYD's chance is left.
    """
    quiet_btyd = {h: 1.0 - np.clip(p, 0.0, 1.0 - 1e-9) for h, p in btyd.items()}
    quiet = _decreasing_survival(learned, quiet_btyd)
    for horizon in sorted(set(btyd) - set(quiet)):
        before = max((h for h in learned if h < horizon), default=None)
        after = min((h for h in learned if h > horizon), default=None)
        carried = quiet_btyd[horizon]
        if before is not None:  # a ratio of equal chances is 1 to the last bit, so that nothing falls by rounding
            carried = quiet[before] * (carried / quiet_btyd[before])
        quiet[horizon] = carried if after is None else np.maximum(carried, quiet[after])
    return {horizon: np.asarray(1.0 - quiet[horizon]) for horizon in sorted(quiet)}


def _decreasing_survival(learned: Mapping[int, Floats], quiet_btyd: Mapping[int, Floats]) -> dict[int, Floats]:
    """Decreasing probabilities of no purchase at the learned horizons, whatever further horizons are requested."""
    quiet: dict[int, Floats] = {}
    before: int | None = None
    for horizon in sorted(learned):
        quiet[horizon] = np.asarray(1.0 - learned[horizon])
        if before is not None:
            between = quiet_btyd[horizon] / quiet_btyd[before]
            quiet[horizon] = np.minimum(quiet[before] * between**_MIN_BETWEEN_SHARE, quiet[horizon])
        before = horizon
    return quiet


_YEAR_DAYS = 365
_KEPT_SEASON_SHARE = 0.8
"""How much of last year's swing is expected again."""
_MIN_DAYS_BEFORE = 90
SEASON_DAYS_AHEAD = (0, 30, 60, 90, 135, 180)
"""A model goes on scoring for a while after it was fitted: the season is learned for those days too."""
_SEASON_CUSTOMERS = 20_000
_MAX_SHIFT = 2.0
_BTYD_SHARE = 2 / 3
"""Of the level: outcomes are a horizon old when they are known, BTYD sees the latest days."""
_OFFSET_WINDOWS, _MIN_OFFSET_WINDOW_DAYS = 3, 7
_OFFSET_CUSTOMERS, _MIN_OFFSET_CUSTOMERS = 8_000, 100
_MIN_DAYS_KNOWN = 30
_MAX_CARRIED_SHARE, _TYPICAL_OFFSET = 0.8, 0.4
"""Share of the latest offset that lasts where offsets vary much; the offset (log odds) at which half of that does."""


def shift_to_mean(log_odds: Floats, mean: float) -> float:
    """Find the number that moves log odds to a mean probability."""
    from scipy.optimize import brentq

    def excess(shift: float) -> float:
        return float(expit(log_odds + shift).mean()) - mean

    if excess(-8.0) > 0 or excess(8.0) < 0:
        return -8.0 if excess(-8.0) > 0 else 8.0
    return float(brentq(excess, -8.0, 8.0, xtol=1e-10))


def latest_btyd_offsets(
    snapshots: Snapshots, as_of: date, btyd: BtydModel, *, horizon_days: int, random_state: int
) -> tuple[float, ...]:
    """Measure by how much BTYD was off in the latest windows, half a horizon long each.

    Outcomes of the whole horizon are old; those of half of it describe the shop as it is now. BTYD keeps the
    parameters of ``as_of``, so that what remains is the shop's own change.
    """
    window = max(_MIN_OFFSET_WINDOW_DAYS, horizon_days // 2)
    offsets: list[float] = []
    for number in range(1, _OFFSET_WINDOWS + 1):
        day = as_of - timedelta(days=number * window)
        if (day - snapshots.ledger.first_day).days < _MIN_DAYS_KNOWN:
            break
        snapshot = snapshots.sample(day, most=_OFFSET_CUSTOMERS, random_state=random_state)
        if len(snapshot.history.customer) < _MIN_OFFSET_CUSTOMERS:
            break
        bought = snapshots.outcomes(snapshot, horizon_days=window).bought
        log_odds = logit(btyd.p_purchase(*snapshot.rfm, horizon_days=window))
        offsets.append(shift_to_share(log_odds, bought))
    return tuple(offsets)


def carried_offset(offsets: Sequence[float]) -> float:
    """Expect how much of the latest offset lasts.

    In a steady shop an offset is random, and nothing of it lasts. The more the offsets varied lately, the more does.
    """
    if not offsets:
        return 0.0
    moved = float(np.mean(np.square(offsets)))
    return _MAX_CARRIED_SHARE * moved / (moved + _TYPICAL_OFFSET**2) * offsets[0]


def calibration_offset(log_odds: Floats, *, learned: Floats, btyd: Floats, carried: float = 0.0) -> float:
    """Find the shift that puts the mean between the learned mean and BTYD's.

    Where a shop grows or shrinks the two disagree, and between them was better than either.
    """
    between = (1.0 - _BTYD_SHARE) * logit(learned.mean()) + _BTYD_SHARE * logit(btyd.mean())
    return shift_to_mean(log_odds, float(expit(between + carried)))


def shift_to_share(log_odds: Floats, bought: npt.NDArray[np.bool_]) -> float:
    """Find the number that moves log odds to the share that bought."""
    least = 0.5 / len(bought)
    share = float(np.clip(bought.mean(), least, 1.0 - least))
    return float(np.clip(shift_to_mean(log_odds, share), -_MAX_SHIFT, _MAX_SHIFT))


@dataclass(frozen=True)
class Season(JsonDataclass):
    """What the time of the year adds to log odds and to a buyer's log money."""

    days_ahead: tuple[int, ...] = (0,)
    purchase: tuple[float, ...] = (0.0,)
    spend: tuple[float, ...] = (0.0,)

    def at(self, days_ahead: int) -> tuple[float, float]:
        """Read off both shifts."""
        purchase = np.interp(days_ahead, self.days_ahead, self.purchase)
        return float(purchase), float(np.interp(days_ahead, self.days_ahead, self.spend))


def learn_season(
    snapshots: Snapshots,
    as_of: date,
    *,
    horizon_days: int,
    observed_shifts: Callable[[Snapshot], tuple[float, float]],
    random_state: int,
    days_ahead: Sequence[int] = SEASON_DAYS_AHEAD,
) -> Season:
    """Learn from last year by how much the coming window differs from the latest known one.

    ``observed_shifts`` measures by how much the model is off in the window after a snapshot. The swing from the window
    that ended a year before ``as_of`` to the one that began there, shrunk by a fifth, and more where the history before
    it is short or the shop was much smaller, is expected to come again.
    """
    days: list[int] = []
    purchase: list[float] = []
    spend: list[float] = []
    for ahead in days_ahead:
        then = snapshots.ledger.open_date(as_of + timedelta(days=ahead - _YEAR_DAYS))
        before = then - timedelta(days=horizon_days)
        known = (before - snapshots.ledger.first_day).days - _MIN_DAYS_BEFORE
        if ahead and not days:
            break  # without the swing that comes next, a later one would be mistaken for it
        if known < 0 or then + timedelta(days=horizon_days) > as_of:
            continue
        now, last, earlier = (
            snapshots.sample(day, most=_SEASON_CUSTOMERS, random_state=random_state) for day in (as_of, then, before)
        )
        if not len(earlier.history.customer):
            continue
        trust = min(1.0, known / 90.0) * min(1.0, 2.0 * len(earlier.history.customer) / len(now.history.customer))
        swing = [
            _KEPT_SEASON_SHARE * trust * (b - a)
            for a, b in zip(observed_shifts(earlier), observed_shifts(last), strict=True)
        ]
        days.append(ahead)
        purchase.append(swing[0])
        spend.append(swing[1])
    return Season(tuple(days), tuple(purchase), tuple(spend)) if days else Season()


_MIN_EXPECTED_DAYS = 1e-12
"""Purchase days; of those who bring less, money counts as coming late."""


def expected_orders(
    p: Mapping[int, Floats], days_if_bought: Mapping[int, Floats], btyd_forecast: BtydForecast
) -> dict[int, Floats]:
    """Expect purchase days over every horizon: the chance of any, times the days of a buyer where they were learned.

    After a learned horizon BTYD's purchase days between the two are added, as `increasing_probabilities` adds its
    probabilities; before the first one they come at BTYD's pace. Without any learned horizon BTYD answers alone.
    """
    btyd = {h: btyd_forecast.expected_purchases(h) for h in p}
    learned = non_decreasing({h: p[h] * days for h, days in days_if_bought.items()})
    orders = {}
    for h in sorted(p):
        before = max((known for known in learned if known <= h), default=None)
        after = min((known for known in learned if known >= h), default=None)
        if before is not None:
            expected, lowest = learned[before] + (btyd[h] - btyd[before]), np.maximum(p[h], learned[before])
        elif after is not None:
            expected, lowest = learned[after] * btyd[h] / np.maximum(btyd[after], _MIN_EXPECTED_DAYS), p[h]
        else:
            expected, lowest = btyd[h], p[h]
        orders[h] = np.clip(expected, lowest, h if after is None else learned[after])
    return non_decreasing(orders)


def discount_factor(btyd_forecast: BtydForecast, *, horizon_days: int, yearly_rate: float) -> Floats:
    """Mean worth today of money that comes when BTYD expects the purchases, as a share."""
    worth = btyd_forecast.per_pair("worth", _worth_if_alive, horizon_days, yearly_rate)
    latest = (1.0 + yearly_rate) ** (-horizon_days / 365.0)
    some = np.minimum(btyd_forecast.expected_purchases(horizon_days) / _MIN_EXPECTED_DAYS, 1.0)
    return np.clip(worth * some, latest, 1.0)


def _worth_if_alive(fit: BtydModel, x: Floats, T: Floats, horizon_days: float, yearly_rate: float) -> Floats:
    edges = [horizon_days * quarter / 4 for quarter in range(5)]
    by_then = [np.zeros_like(x)] + [expected_if_alive(fit, x, T, edge) for edge in edges[1:]]
    worth = np.zeros_like(x)
    for quarter in range(4):
        middle = (edges[quarter] + edges[quarter + 1]) / 2
        worth += (by_then[quarter + 1] - by_then[quarter]) / by_then[-1] / (1.0 + yearly_rate) ** (middle / 365.0)
    return worth


def non_decreasing(by_horizon: Mapping[int, Floats]) -> dict[int, Floats]:
    """Raise what a longer horizon expects to what a shorter one does."""
    raised: dict[int, Floats] = {}
    floor: Floats | None = None
    for h in sorted(by_horizon):
        floor = by_horizon[h] if floor is None else np.maximum(floor, by_horizon[h])
        raised[h] = floor
    return raised


def expected_spend(
    horizon_days: int, learned: Mapping[int, Floats], orders: Mapping[int, Floats], per_order: Floats
) -> Floats:
    """Take learned money, or, beyond what was learned, the nearest learned one carried on by the expected orders."""
    if horizon_days in learned:
        return learned[horizon_days]
    nearest = min(learned, key=lambda h: abs(h - horizon_days), default=None)
    if nearest is None:
        return orders[horizon_days] * per_order
    return learned[nearest] * orders[horizon_days] / np.maximum(orders[nearest], 1e-12)


QUANTILE_LEVELS = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.95, 0.98, 0.99)
_QUANTILE_GROUPS = 6
MIN_GROUP_SIZE = 40


@dataclass(frozen=True)
class ConditionalQuantiles(JsonDataclass):
    """Quantiles of a quantity, given another that it depends on."""

    at: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]

    def quantile(self, given: Floats, level: Floats) -> Floats:
        """Read off a quantile for each customer."""
        inside = np.clip(level, QUANTILE_LEVELS[0], QUANTILE_LEVELS[-1])
        above = np.clip(np.searchsorted(QUANTILE_LEVELS, inside), 1, len(QUANTILE_LEVELS) - 1)
        found = np.zeros(len(given))
        for number in range(1, len(QUANTILE_LEVELS)):
            here = np.flatnonzero(above == number)
            if not len(here):
                continue
            low, high = (
                np.interp(given[here], self.at, [row[column] for row in self.quantiles])
                for column in (number - 1, number)
            )
            share = (inside[here] - QUANTILE_LEVELS[number - 1]) / (
                QUANTILE_LEVELS[number] - QUANTILE_LEVELS[number - 1]
            )
            found[here] = low + share * (high - low)
        return found


def fit_conditional_quantiles(given: Floats, values: Floats) -> ConditionalQuantiles:
    """Learn quantiles in groups of equal size."""
    n_groups = int(np.clip(len(given) // MIN_GROUP_SIZE, 1, _QUANTILE_GROUPS))
    groups = np.array_split(np.argsort(given, kind="stable"), n_groups)
    centres = [float(np.median(given[group])) for group in groups]
    kept = [number for number, centre in enumerate(centres) if number == 0 or centre > centres[number - 1]]
    return ConditionalQuantiles(
        tuple(centres[number] for number in kept),
        tuple(tuple(map(float, np.quantile(values[groups[number]], QUANTILE_LEVELS))) for number in kept),
    )
