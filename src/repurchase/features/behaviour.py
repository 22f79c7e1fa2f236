"""RFM and behaviour features of every customer in a history.

References
----------
Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): x, t_x, T.
Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value: the mean over repeat transactions.
"""

from collections.abc import Callable
from datetime import date
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.features.history import MONEY_SCALE, QUANTITY_SCALE, Floats, History, Ints, day_number
from repurchase.features.ledger import build_ledger
from repurchase.schemas import RFM, Frame

_WINDOWS_DAYS = (7, 14, 30, 60, 90, 180, 365)
_HALF_LIVES_DAYS = (7, 15, 30, 60, 120, 240, 480)
_SPEND_HALF_LIVES_DAYS = (15, 30, 60, 120, 240, 480)
_MEAN_HALF_LIFE_DAYS = 240
_YEAR_DAYS = 365
_TYPICAL_LOG_GAP, _TYPICAL_LOG_GAP_SPREAD = 3.4, 1.0
"""A month between purchases, give or take a factor e: what a customer with few gaps is shrunk toward."""


def behaviour_table(history: History) -> pl.DataFrame:
    """Describe the behaviour of every customer in a history."""
    return pl.DataFrame(behaviour_features(history))


def behaviour_features(history: History) -> dict[str, Floats]:
    """Describe the behaviour of every customer in a history, column by column."""
    columns = {
        **_tenure(history),
        **_rhythm(history),
        **_fixed_windows(history),
        **_fading(history),
        **(_fading_money(history, MONEY_SCALE) if history.has_amounts else {}),
        **_basket(history),
        **(_value(history, MONEY_SCALE) if history.has_amounts else {}),
    }
    return _floats(columns)


def money_features(history: History, *, money_unit: float) -> dict[str, Floats]:
    """Describe how much customers spend, counted in any unit of money."""
    if not history.has_amounts:
        return {}
    return _floats({**_fading_money(history, money_unit), **_value(history, money_unit)})


def window_features(history: History, *, horizon_days: int, money_unit: float = MONEY_SCALE) -> dict[str, Floats]:
    """Describe what customers did in windows as long as the one to be predicted, column by column."""
    now, first, _ = _ends(history)
    age = now - first
    last_window = _bought_between(history, now - horizon_days, now)
    before = _bought_between(history, now - 2 * horizon_days, now - horizon_days)
    then = now - _YEAR_DAYS
    seen = first <= then
    beyond = history.gap_beyond_silence
    longer = history.total(beyond > 0)
    came_back = history.total((beyond > 0) & (beyond <= horizon_days))
    block = (now - history.day) // horizon_days
    new_block = np.diff(block, prepend=-1) != 0
    new_block[history.start] = True
    blocks_seen = age // horizon_days + 1
    columns: dict[str, npt.ArrayLike] = {
        "bought_last_window": last_window,
        "bought_window_before": before,
        "bought_year_ago": _where(seen, _bought_between(history, then, then + horizon_days)),
        "bought_about_year_ago": _where(seen, _bought_between(history, then - 15, then + horizon_days + 15)),
        "silences_as_long": longer,
        "came_back_in_time": (came_back + 0.5) / (longer + 1.5),
        "active_windows_share": history.total(new_block) / blocks_seen,
    }
    if history.has_amounts:
        columns["spend_last_window"] = history.spend_between(now - horizon_days, now) / money_unit
        columns["spend_window_before"] = history.spend_between(now - 2 * horizon_days, now - horizon_days) / money_unit
    return _floats(columns)


def _tenure(history: History) -> dict[str, npt.ArrayLike]:
    now, first, last = _ends(history)
    return {
        "frequency": history.count - 1,
        "recency_days": last - first,
        "age_days": now - first,
        "days_since_last": now - last,
        "rate": history.count / (now - first + 30.0),
    }


def _rhythm(history: History) -> dict[str, npt.ArrayLike]:
    """Gaps between purchase days, and how long the present silence is compared with them."""
    now, first, last = _ends(history)
    silence = (now - last).astype(np.float64)
    repeats = history.count - 1
    gap = history.gap
    mean = _ratio(last - first, repeats)
    spread = np.sqrt(np.maximum(_ratio(history.total(gap * gap), repeats) - mean**2, 0.0))
    longest = _where(repeats > 0, np.maximum.reduceat(gap, history.start))
    log_gap = _by_whole_day(gap, np.log1p)
    log_sum, square = history.sum(log_gap), history.sum(log_gap * log_gap)
    log_mean = (log_sum + _TYPICAL_LOG_GAP) / (repeats + 1)
    log_variance = np.maximum(_ratio(square, repeats) - _ratio(log_sum, repeats) ** 2, 0)
    usual_spread = np.sqrt((np.nan_to_num(log_variance) * repeats + 2 * _TYPICAL_LOG_GAP_SPREAD**2) / (repeats + 2))
    row = history.last_row
    return {
        "gap_mean_days": mean,
        "gap_median_days": _median_gap(history, gap),
        "gap_irregularity": np.where(repeats > 1, spread / np.maximum(mean, 1.0), np.nan),
        "gap_longest_days": longest,
        "gap_last_days": _where(repeats > 0, gap[row]),
        "gap_before_last_days": _where(repeats > 1, gap[np.maximum(row - 1, 0)]),
        "gap_third_last_days": _where(repeats > 2, gap[np.maximum(row - 2, 0)]),
        "usual_log_gap": log_mean,
        "silence_in_spreads": (np.log1p(silence) - log_mean) / usual_spread,
        "silence_to_gap": silence / np.maximum(mean, 1.0),
        "silence_to_longest_gap": silence / np.maximum(longest, 1.0),
    }


def _fixed_windows(history: History) -> dict[str, npt.ArrayLike]:
    now, first, _ = _ends(history)
    columns: dict[str, npt.ArrayLike] = {
        f"days_bought_{window}d": _bought_between(history, now - window, now) for window in _WINDOWS_DAYS
    }
    columns["days_bought_90d_before"] = _bought_between(history, now - 180, now - 90)
    month = (now - history.day) // 30
    new_month = np.diff(month, prepend=-1) != 0
    new_month[history.start] = True
    columns["active_months_share"] = history.total(new_month) / ((now - first) // 30 + 1)
    return columns


def _fading(history: History) -> dict[str, Floats]:
    """Purchase days weighted by 2^(-age / half-life), and the rate that this weight implies."""
    columns: dict[str, Floats] = {}
    for half_life in _HALF_LIVES_DAYS:
        weight, observed = _fading_weights(history, half_life)
        columns[f"fading_days_{half_life}d"] = faded = history.sum(weight)
        columns[f"fading_rate_{half_life}d"] = faded / observed
    return columns


def _fading_money(history: History, money_unit: float) -> dict[str, Floats]:
    """The same of spend, and its mean by purchase day."""
    spend = history.spend / money_unit
    columns: dict[str, Floats] = {}
    for half_life in _SPEND_HALF_LIVES_DAYS:
        weight, observed = _fading_weights(history, half_life)
        columns[f"fading_spend_{half_life}d"] = faded = history.sum(weight * spend)
        columns[f"fading_spend_rate_{half_life}d"] = faded / observed
    weight, _ = _fading_weights(history, _MEAN_HALF_LIFE_DAYS)
    columns["fading_value"] = columns[f"fading_spend_{_MEAN_HALF_LIFE_DAYS}d"] / history.sum(weight)
    return columns


def _fading_weights(history: History, half_life_days: int) -> tuple[Floats, Floats]:
    """Weight of each purchase day, and days of observation that count."""
    now, first, _ = _ends(history)
    weight = _by_whole_day(now - history.day, partial(_decay, half_life_days=half_life_days))
    return weight, _by_whole_day(now - first, partial(_observed, half_life_days=half_life_days))


def _basket(history: History) -> dict[str, npt.ArrayLike]:
    days = history.count
    columns: dict[str, npt.ArrayLike] = {
        "orders_per_day": history.total(history.orders) / days,
        "lines_per_day": history.total(history.lines) / days,
        "lines_last": history.lines[history.last_row],
        "pieces_per_day": history.total(history.quantity) / QUANTITY_SCALE / days,
    }
    if history.has_amounts:
        discount, spend = history.total(history.discount), history.total(history.spend)
        columns["discount_share"] = _ratio(discount, spend + discount)
        columns["returned_share"] = _ratio(history.returned, history.returned + spend)
    return columns


def _value(history: History, money_unit: float) -> dict[str, npt.ArrayLike]:
    days, total = history.count, history.total(history.spend) / money_unit
    spend = history.spend / money_unit
    log_spend = np.log(spend)
    log_mean = history.sum(log_spend) / days
    log_square = history.sum(log_spend * log_spend) / days
    typical, last = np.exp(log_mean), spend[history.last_row]
    return {
        "spend_days_total": total,
        "spend_per_day": total / days,
        "spend_typical": typical,
        "spend_irregularity": np.sqrt(np.maximum(log_square - log_mean**2, 0.0)),
        "spend_first": spend[history.start],
        "spend_last": last,
        "spend_largest": np.maximum.reduceat(spend, history.start),
        "spend_smallest": np.minimum.reduceat(spend, history.start),
        "spend_last_to_typical": last / typical,
    }


def _floats(columns: dict[str, npt.ArrayLike]) -> dict[str, Floats]:
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def _ends(history: History) -> tuple[int, Ints, Ints]:
    return day_number(history.as_of), history.day[history.start], history.day[history.last_row]


def _bought_between(history: History, after: int, until: int) -> Ints:
    """Purchase days in (after, until]."""
    return history.position(until) - history.position(after)


def _median_gap(history: History, gap: Ints) -> Floats:
    """Median over each customer's gaps; the first row's 0 sorts to the front of the block and is stepped over."""
    ordered = np.sort((history.customer_index << 32) + gap) & 0xFFFFFFFF
    repeats = history.count - 1
    lower = history.start + 1 + (repeats - 1) // 2
    upper = history.start + 1 + repeats // 2
    end = len(ordered) - 1
    return _where(repeats > 0, (ordered[np.minimum(lower, end)] + ordered[np.minimum(upper, end)]) / 2.0)


def _by_whole_day(days: Ints, function: Callable[[Floats], Floats]) -> Floats:
    """Compute a function of whole days once per day; no day is negative."""
    table = function(np.arange(int(days.max(initial=0)) + 1, dtype=np.float64))
    return table[days]


def _decay(age_days: Floats, *, half_life_days: int) -> Floats:
    return np.asarray(np.exp2(-age_days / half_life_days))


def _observed(tenure_days: Floats, *, half_life_days: int) -> Floats:
    """Days of observation that count, as weights fade."""
    share = 1.0 - np.exp2(-(tenure_days + half_life_days / 4.0) / half_life_days)
    return np.asarray(half_life_days / np.log(2.0) * share)


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    below = np.asarray(denominator, dtype=np.float64)
    out = np.full(below.shape, np.nan)
    np.divide(np.asarray(numerator, dtype=np.float64), below, out=out, where=below > 0)
    return out


def _where(applies: npt.NDArray[np.bool_], values: npt.ArrayLike) -> Floats:
    return np.where(applies, np.asarray(values, dtype=np.float64), np.nan)


def rfm_table(orders: Frame, *, as_of: date) -> pl.DataFrame:
    """Summarise each customer's purchase days up to a day."""
    ledger = build_ledger(orders, observed_until=as_of)
    history = ledger.history(as_of)
    return rfm_of_history(history, ledger.ids)


def rfm_of_history(history: History, ids: pl.Series) -> pl.DataFrame:
    """Summarise a history."""
    first, last = history.day[history.start], history.day[history.start + history.count - 1]
    frequency = history.count - 1
    repeat_spend = history.total(history.spend) - history.spend[history.start]
    with np.errstate(invalid="ignore", divide="ignore"):
        spend_mean = np.where(frequency > 0, repeat_spend / MONEY_SCALE / frequency, np.nan)
    table = pl.DataFrame(
        {
            "customer_id": ids.gather(history.customer),
            "orders": history.orders_total,
            "first_order_date": _calendar_dates(first),
            "last_order_date": _calendar_dates(last),
            "days_since_last": day_number(history.as_of) - last,
            "spend_total": history.net_total / MONEY_SCALE,
            "frequency": frequency,
            "recency_days": last - first,
            "age_days": day_number(history.as_of) - first,
            "spend_mean": spend_mean,
        },
        schema=RFM.schema,
    ).with_columns(pl.col("spend_mean").fill_nan(None))
    if history.has_amounts:
        return table
    return table.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("spend_total", "spend_mean"))


def _calendar_dates(days: Ints) -> pl.Series:
    return pl.Series(days.astype(np.int32)).cast(pl.Date)
