"""What a customer's purchase days say beyond recency, frequency and money.

Every feature is computed from that customer's own days up to the cut, so a customer's row is the same in any list.
A feature that does not apply (a rhythm without a second purchase, a year-ago window before the first one) is NaN,
which the boosted trees treat as a case of its own.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.features.timeline import MONEY, PIECES, Floats, History, Ints, day_number

__all__ = ["behaviour_table"]

WINDOWS_DAYS = (7, 14, 30, 60, 90, 180, 365)
HALF_LIVES_DAYS = (14, 30, 90, 365)
YEAR_DAYS = 364
"""52 weeks, so that weekdays match."""


def behaviour_table(history: History, *, horizons: Iterable[int]) -> pl.DataFrame:
    """Describe the behaviour of every customer in a history.

    Parameters
    ----------
    history : History
        Purchase days up to ``history.as_of``.
    horizons : iterable of int
        Days ahead: each adds what happened in the same window a year ago.

    Returns
    -------
    DataFrame of shape (n_customers, n_features)
        Float columns, one row per customer in the order of ``history.customer``. Money columns are absent where
        the log has none.
    """
    columns = {
        **_tenure(history),
        **_rhythm(history),
        **_windows(history),
        **_fading_rates(history),
        **_same_window_a_year_ago(history, horizons),
        **_basket(history),
    }
    if history.has_amounts:
        columns |= _value(history)
    return pl.DataFrame({name: np.asarray(values, dtype=np.float64) for name, values in columns.items()})


def _tenure(history: History) -> dict[str, npt.ArrayLike]:
    now, first, last = _ends(history)
    return {
        "frequency": history.count - 1,
        "recency_days": last - first,
        "age_days": now - first,
        "days_since_last": now - last,
        "recency_share": _ratio(last - first, now - first),
        "rate_per_year": 365.0 * (history.count - 1) / (now - first + 30.0),
    }


def _rhythm(history: History) -> dict[str, npt.ArrayLike]:
    """Gaps between purchase days, and how long the present silence is beside them."""
    now, first, last = _ends(history)
    repeats = history.count - 1
    gap = _gaps(history)
    gap_mean = _ratio(last - first, repeats)
    gap_spread = np.sqrt(np.maximum(_ratio(history.total(gap * gap), repeats) - gap_mean**2, 0.0))
    longest = _where(repeats > 0, np.maximum.reduceat(gap, history.start))
    typical = _median_gap(history, gap)
    silence = (now - last).astype(np.float64)
    return {
        "gap_mean_days": gap_mean,
        "gap_median_days": typical,
        "gap_spread_days": gap_spread,
        "gap_longest_days": longest,
        "gap_last_days": _where(repeats > 0, gap[_last_row(history)]),
        "gap_recent_days": _recent_gap(history, most=3),
        "silence_to_gap": silence / (typical + 1.0),
        "silence_to_longest_gap": silence / (longest + 1.0),
        "silence_in_spreads": (silence - gap_mean) / (gap_spread + 0.25 * gap_mean + 1.0),
        "rhythm_irregularity": gap_spread / (gap_mean + 1.0),
    }


def _windows(history: History) -> dict[str, npt.ArrayLike]:
    now = day_number(history.as_of)
    columns: dict[str, npt.ArrayLike] = {}
    ends = history.position(now)
    for window in WINDOWS_DAYS:
        columns[f"days_bought_{window}d"] = ends - history.position(now - window)
    for window in (30, 90, 180):
        before = history.position(now - window) - history.position(now - 2 * window)
        columns[f"trend_{window}d"] = (ends - history.position(now - window) + 0.5) / (before + 0.5)
    if history.has_amounts:
        running = _running(history.spend)
        for window in (30, 90, 180, 365):
            spent = running[ends] - running[history.position(now - window)]
            columns[f"spend_{window}d"] = spent / MONEY
    return columns


def _fading_rates(history: History) -> dict[str, npt.ArrayLike]:
    """Purchase days and spend weighted by exp(-ln 2 · age / half-life)."""
    age = day_number(history.as_of) - history.day
    columns: dict[str, npt.ArrayLike] = {}
    for half_life in HALF_LIVES_DAYS:
        weight = _decay(age, half_life)
        columns[f"fading_days_{half_life}d"] = np.add.reduceat(weight, history.start)
        if history.has_amounts and half_life >= 90:
            columns[f"fading_spend_{half_life}d"] = np.add.reduceat(weight * (history.spend / MONEY), history.start)
    return columns


def _same_window_a_year_ago(history: History, horizons: Iterable[int]) -> dict[str, npt.ArrayLike]:
    now, first, _ = _ends(history)
    then = now - YEAR_DAYS
    seen = first <= then
    running = _running(history.spend)
    columns: dict[str, npt.ArrayLike] = {}
    for horizon in horizons:
        if horizon > YEAR_DAYS:
            continue
        opening, closing = history.position(then), history.position(then + horizon)
        columns[f"year_ago_days_{horizon}d"] = _where(seen, closing - opening)
        if history.has_amounts:
            columns[f"year_ago_spend_{horizon}d"] = _where(seen, (running[closing] - running[opening]) / MONEY)
    return columns


def _basket(history: History) -> dict[str, npt.ArrayLike]:
    days = history.count
    columns: dict[str, npt.ArrayLike] = {
        "orders_per_day": history.total(history.orders) / days,
        "lines_per_day": history.total(history.lines) / days,
        "lines_last": history.lines[_last_row(history)],
        "pieces_per_day": history.total(history.quantity) / PIECES / days,
    }
    if history.has_amounts:
        gross = history.total(history.spend) + history.total(history.discount)
        columns["discount_share"] = _ratio(history.total(history.discount), gross)
        columns["returned_share"] = _ratio(history.returned, history.returned + history.total(history.spend))
    return columns


def _value(history: History) -> dict[str, npt.ArrayLike]:
    days = history.count
    spend = history.spend / MONEY
    log_spend = np.log1p(spend)
    log_mean = np.add.reduceat(log_spend, history.start) / days
    log_square = np.add.reduceat(log_spend * log_spend, history.start) / days
    mean = history.total(history.spend) / MONEY / days
    return {
        "spend_total": history.net_total / MONEY,
        "spend_per_day": mean,
        "spend_typical": np.expm1(log_mean),
        "spend_first": spend[history.start],
        "spend_last": spend[_last_row(history)],
        "spend_largest": np.maximum.reduceat(spend, history.start),
        "spend_irregularity": np.sqrt(np.maximum(log_square - log_mean**2, 0.0)),
        "spend_last_to_mean": spend[_last_row(history)] / mean,
    }


def _ends(history: History) -> tuple[int, Ints, Ints]:
    return day_number(history.as_of), history.day[history.start], history.day[_last_row(history)]


def _last_row(history: History) -> Ints:
    return history.start + history.count - 1


def _gaps(history: History) -> Ints:
    """Days since the customer's previous purchase day; 0 on the first."""
    gap = np.diff(history.day, prepend=history.day[:1])
    gap[history.start] = 0
    return gap


def _median_gap(history: History, gap: Ints) -> Floats:
    """Median over each customer's gaps; the first row's 0 sorts to the front of the block and is stepped over."""
    block = np.repeat(np.arange(len(history.start), dtype=np.int64) << 32, history.count)
    ordered = np.sort(block + gap) & 0xFFFFFFFF
    repeats = history.count - 1
    lower = history.start + 1 + (repeats - 1) // 2
    upper = history.start + 1 + repeats // 2
    end = len(ordered) - 1
    return _where(repeats > 0, (ordered[np.minimum(lower, end)] + ordered[np.minimum(upper, end)]) / 2.0)


def _recent_gap(history: History, *, most: int) -> Floats:
    """Mean of the customer's last few gaps."""
    taken = np.minimum(history.count - 1, most)
    last = _last_row(history)
    return _ratio(history.day[last] - history.day[last - taken], taken)


def _decay(age_days: Ints, half_life_days: int) -> Floats:
    oldest = int(age_days.max(initial=0))
    table = np.exp2(-np.arange(oldest + 1) / half_life_days)
    decayed: Floats = table[age_days]
    return decayed


def _running(values: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(values)])


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    below = np.asarray(denominator, dtype=np.float64)
    out = np.full(below.shape, np.nan)
    return np.divide(np.asarray(numerator, dtype=np.float64), below, out=out, where=below > 0)


def _where(applies: npt.NDArray[np.bool_], values: npt.ArrayLike) -> Floats:
    return np.where(applies, np.asarray(values, dtype=np.float64), np.nan)
