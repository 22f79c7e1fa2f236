"""Forty RFM and window features, as a user of boosting would build them."""

import numpy as np

from benchmarks.accuracy.logs import Days

WINDOWS = (7, 14, 30, 60, 90, 180, 365)


def window_features(days: Days, horizon_days: int) -> np.ndarray:
    """One row per customer of ``days``."""
    day, customer, n = days.day, days.customer, days.n
    x, T, since = days.count - 1, days.cutoff - days.first, days.cutoff - days.last
    columns = [days.count, T, since, days.last - days.first, days.count / (T + 1), *_gaps(days)]
    columns.append(since / np.where(x > 0, (days.last - days.first) / np.maximum(x, 1), np.nan))
    ages = days.cutoff - day
    columns.extend(np.bincount(customer[ages < window], minlength=n) for window in (*WINDOWS, horizon_days))
    previous = (ages >= horizon_days) & (ages < 2 * horizon_days)
    columns.append(np.bincount(customer[previous], minlength=n))
    if days.has_money:
        columns += _money(days, ages, previous, horizon_days)
    return np.column_stack([np.asarray(column, dtype=float) for column in columns])


def _gaps(days: Days) -> list[np.ndarray]:
    gap = np.diff(days.day, prepend=0).astype(float)
    gap[days.starts] = np.nan
    repeat = np.isfinite(gap)
    who, values = days.customer[repeat], gap[repeat]
    number = np.bincount(who, minlength=days.n).astype(float)
    number[number == 0] = np.nan
    mean = np.bincount(who, weights=values, minlength=days.n) / number
    variance = np.bincount(who, weights=values**2, minlength=days.n) / number - mean**2
    longest = np.full(days.n, -1.0)
    np.maximum.at(longest, who, values)
    last = gap[days.starts + days.count - 1]
    return [mean, np.sqrt(variance.clip(0)), np.where(longest < 0, np.nan, longest), last]


def _money(days: Days, ages: np.ndarray, previous: np.ndarray, horizon_days: int) -> list[np.ndarray]:
    customer, spend, n = days.customer, days.spend, days.n
    total = np.bincount(customer, weights=spend, minlength=n)
    mean = total / days.count
    variance = np.bincount(customer, weights=spend**2, minlength=n) / days.count - mean**2
    highest = np.maximum.reduceat(spend, days.starts)
    lowest = np.minimum.reduceat(spend, days.starts)
    columns = [total, mean, np.sqrt(variance.clip(0)), highest, lowest, spend[days.starts]]
    columns.append(spend[days.starts + days.count - 1])
    columns.append(total / (days.cutoff - days.first + 1))
    for window in (*WINDOWS, horizon_days):
        recent = ages < window
        columns.append(np.bincount(customer[recent], weights=spend[recent], minlength=n))
    columns.append(np.bincount(customer[previous], weights=spend[previous], minlength=n))
    return columns
