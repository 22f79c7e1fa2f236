"""Drift of the orders since training: input summary, stored profile, PSI, volume, newcomers, basket size."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.features.behaviour import behaviour_table
from repurchase.features.history import MONEY_SCALE, Floats, History, Ints, day_number
from repurchase.features.ledger import Closing, Ledger
from repurchase.i18n.messages import Message, first_items, message
from repurchase.orders.ids import id_hash

MAX_SAMPLE_CUSTOMERS = 20_000
"""Largest number of customers whose features are compared: a share is then off by at most a point."""
_WEEKS = 52
_WINDOW_DAYS = 28
"""Newcomers are counted among the buyers of four weeks: whole weeks, so that no weekend is missing."""
_WINDOWS = _WEEKS * 7 // _WINDOW_DAYS

_Hashes = npt.NDArray[np.uint64]
_IndexArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class _CustomerSample:
    """The customers with the smallest hashes of their ids: of two logs' samples, the sample of both can be made."""

    drawn: _Hashes
    hashes: _Hashes
    history: History

    def __add__(self, other: "_CustomerSample") -> "_CustomerSample":
        """Draw from both, which share no customer."""
        drawn = _smallest_hashes(np.concatenate([self.drawn, other.drawn]))
        hashes = np.concatenate([self.hashes, other.hashes])
        kept = np.argsort(hashes, kind="stable")
        kept = kept[: np.searchsorted(hashes[kept], drawn[-1:].max(initial=0), side="right")]
        return _CustomerSample(drawn, hashes[kept], _renumbered(_joined(self.history, other.history).take(kept)))


@dataclass(frozen=True, eq=False)
class InputSummary:
    """Summary of the orders on a day. Summaries of logs that share no customer can be added, in any order."""

    as_of: date
    n_customers: int
    first_day: int | None
    spent: int
    weeks: Ints
    windows: Ints
    sample: _CustomerSample

    def __add__(self, other: "InputSummary") -> "InputSummary":
        """Summary of both logs, which share no customer; exact, in any order."""
        if self.as_of != other.as_of:
            raise InputError(
                f"Input summaries of {self.as_of} and {other.as_of} cannot be added. Summarise all parts as of one day."
            )
        first_days = [day for day in (self.first_day, other.first_day) if day is not None]
        return InputSummary(
            as_of=self.as_of,
            n_customers=self.n_customers + other.n_customers,
            first_day=min(first_days, default=None),
            spent=self.spent + other.spent,
            weeks=self.weeks + other.weeks,
            windows=self.windows + other.windows,
            sample=self.sample + other.sample,
        )

    @cached_property
    def features(self) -> pl.DataFrame:
        """Behaviour of the customers of the sample, see `behaviour_table`."""
        return behaviour_table(self.sample.history)

    @property
    def weekly(self) -> tuple[int, ...]:
        """Purchase days in each of the last 52 whole weeks, oldest first; fewer where the orders begin later."""
        whole = min(_WEEKS, self._days // 7)
        return tuple(self.weeks[:whole][::-1].tolist())

    @property
    def newcomers(self) -> tuple[float, ...]:
        """In each of the last 13 stretches of four weeks, the share of its buyers who had never bought before."""
        return tuple(new / buyers for _, buyers, new, _ in self._complete_windows())

    @property
    def baskets(self) -> tuple[float, ...]:
        """In the same stretches, mean money per purchase day; empty without money."""
        if self.spent <= 0:
            return ()
        return tuple(money / MONEY_SCALE / days for days, _, _, money in self._complete_windows())

    @property
    def _days(self) -> int:
        return 0 if self.first_day is None else day_number(self.as_of) - self.first_day + 1

    def _complete_windows(self) -> Iterator[list[int]]:
        # Those in the later half of a log: in the earlier half too many buyers are new to it.
        whole = min(_WEEKS * 7, self._days // 2) // _WINDOW_DAYS
        return (window for window in self.windows[:, :whole].T[::-1].tolist() if window[0])


def summarise_input(ledger: Ledger, *, as_of: date, closing: Closing | None = None) -> InputSummary:
    """Summarise a log, or all entries of some of its customers.

    A purchase day is a day with a sale, taken back later or not. Its money is net of what was given back on that day,
    never below 0.
    """
    known = ledger.until(as_of)
    drawn, few, n_customers = _draw_sample(known)
    few = few.without(closing)
    shift = closing if closing and few.closing is not None and known.closing is None else None
    sales = known.entries.filter(pl.col("orders") > 0)
    first_day, spent, weeks, windows = _count_sales(sales, day_number(as_of), shift)
    return InputSummary(as_of, n_customers, first_day, spent, weeks, windows, _sampled_history(drawn, few, as_of))


def _draw_sample(ledger: Ledger) -> tuple[_Hashes, Ledger, int]:
    """Draw at most 20,000 customers, the same ones from the same customers in any order."""
    customer = ledger.entries["customer"].to_numpy()
    codes = customer[_changes(customer)]
    ids = ledger.ids if len(codes) == len(ledger.ids) else ledger.ids.gather(codes)
    hashes = id_hash(ids).to_numpy()
    drawn = _smallest_hashes(hashes)
    chosen = np.flatnonzero(hashes <= drawn[-1:].max(initial=0))
    chosen = chosen[np.argsort(hashes[chosen], kind="stable")]
    sampled = np.zeros(len(ledger.ids), dtype=np.bool_)
    sampled[codes[chosen]] = True
    entries = ledger.entries.filter(pl.Series(sampled[customer]))
    index = np.zeros(len(ledger.ids), dtype=np.uint32)
    index[codes[chosen]] = np.arange(len(chosen), dtype=np.uint32)
    renamed = entries.with_columns(pl.Series("customer", index[entries["customer"].to_numpy()]))
    few = replace(ledger, ids=ids.gather(chosen), entries=renamed.sort("customer", "known", "day"))
    return drawn, few, len(codes)


def _sampled_history(drawn: _Hashes, few: Ledger, as_of: date) -> _CustomerSample:
    history = few.history(as_of)
    return _CustomerSample(drawn, drawn[history.customer], _renumbered(history))


def _count_sales(sales: pl.DataFrame, now: int, closing: Closing | None) -> tuple[int | None, int, Ints, Ints]:
    if sales.is_empty():
        return None, 0, np.zeros(_WEEKS, dtype=np.int64), np.zeros((4, _WINDOWS), dtype=np.int64)
    customer = sales["customer"].to_numpy()
    day = sales.select(closing.open_day(pl.col("known")) if closing else "known").to_series().to_numpy()
    ago = now - day
    length = int(ago.max()) + 1
    newcomer = _changes(customer)
    purchase_days = np.bincount(ago[newcomer | _changes(day)], minlength=length)
    money = np.zeros(length, dtype=np.int64)
    np.add.at(money, ago, np.maximum(sales["spend"].to_numpy(), 0))  # whole numbers: bincount would add up floats
    window = (np.arange(length) // _WINDOW_DAYS).astype(np.int32)[ago]
    buyers = np.bincount(window[newcomer | _changes(window)], minlength=_WINDOWS)[:_WINDOWS]
    new = np.bincount(ago[newcomer], minlength=length)
    windows = np.stack([_sum_by_period(purchase_days), buyers, _sum_by_period(new), _sum_by_period(money)])
    weeks = _sum_by_period(purchase_days, 7, most=_WEEKS)
    return now - length + 1, int(money.sum()), weeks, windows


def _sum_by_period(by_day: Ints, days: int = _WINDOW_DAYS, *, most: int = _WINDOWS) -> Ints:
    # Counts per day, today first, become `most` sums of `days` days each.
    whole = np.zeros(days * most, dtype=np.int64)
    whole[: len(by_day)] = by_day[: len(whole)]
    sums: Ints = whole.reshape(most, days).sum(axis=1)
    return sums


def _changes(values: _IndexArray) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before it."""
    changes = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _smallest_hashes(hashes: _Hashes) -> _Hashes:
    if len(hashes) > MAX_SAMPLE_CUSTOMERS:
        hashes = hashes[hashes <= np.partition(hashes, MAX_SAMPLE_CUSTOMERS - 1)[MAX_SAMPLE_CUSTOMERS - 1]]
    return np.sort(hashes)


def _joined(one: History, other: History) -> History:
    if not len(one.customer) or not len(other.customer):
        return one if len(one.customer) else other
    if one.has_amounts != other.has_amounts:
        raise InputError(
            "Input summaries with and without amounts cannot be added. Tell every part whether the whole log has them."
        )
    return History.concat([one, other])


def _renumbered(history: History) -> History:
    return replace(history, customer=np.arange(len(history.customer), dtype=np.int64))


_MIN_BIN_SHARE = 1e-4
"""Share that an empty bin is given, or one new customer would make the index infinite."""
_CHANCE_SDS = 3.0
"""Standard deviations beyond which a figure is not taken for chance: some sixty features are compared every night."""
_MIN_LOG_SD = 0.10
_MIN_NEWCOMER_SD = 0.03


def psi(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """Population stability index of two sets of shares: Σ (a - e) ln(a / e).

    It is the symmetric Kullback-Leibler divergence (Jeffreys): 0 for equal shares, the same both ways, never negative.
    By Siddiqi's rule of thumb below 0.1 is steady, up to 0.25 moved, above that drifted. It misleads in small samples
    (see `chance_psi`), and it sees each feature alone.

    References
    ----------
    Siddiqi, N. (2006). Credit Risk Scorecards. Wiley, chapter 10 (system stability index).
    """
    then, now = (np.maximum(np.asarray(shares, dtype=np.float64), _MIN_BIN_SHARE) for shares in (expected, actual))
    return math.fsum(((now - then) * np.log(now / then)).tolist())


def chance_psi(n_expected: int, n_actual: int, *, bins: int) -> float:
    """The PSI that two samples of one and the same population pass about once in 700 times.

    PSI is about (1/n + 1/m) χ² with bins - 1 degrees of freedom (Yurdakul 2018); its quantile at three standard
    deviations by Wilson and Hilferty (1931). Too high where both samples hold the same customers: it errs to silence.

    References
    ----------
    Yurdakul, B. (2018). Statistical properties of population stability index. Western Michigan University.
    """
    k = bins - 1
    if k < 1:
        return 0.0
    quantile = k * (1.0 - 2.0 / (9.0 * k) + _CHANCE_SDS * math.sqrt(2.0 / (9.0 * k))) ** 3
    return (1.0 / n_expected + 1.0 / n_actual) * quantile


def expected_band(values: Sequence[float], *, least_sd: float) -> tuple[float, float]:
    """Mean of past figures, and how far the next one may lie from it."""
    known = np.asarray(values, dtype=np.float64)
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return float(known.mean()), max(spread, least_sd) * math.sqrt(1.0 + 1.0 / len(known))


PROFILE_SCHEMA = 2
PROFILE_BINS = 10
_EARLIER_DAYS = (7, 20, 45, 100, 190, 365)
"""Not whole months: what is counted in months would look steady from one to the next."""
_MIN_PROFILE_CUSTOMERS = 50


def input_profile(
    ledger: Ledger,
    *,
    as_of: date,
    closing: Closing | None = None,
    set_aside_share: float | None = None,
    summary: InputSummary | None = None,
) -> dict[str, Any]:
    """Describe a model's input: per feature the shares of at most ten bins, volume and newcomers with their spread.

    Beside it stands how far each feature moved between earlier days and ``as_of``: what moves anyway is no drift.
    """
    summary = summary or summarise_input(ledger, as_of=as_of, closing=closing)
    features = {name: _binned(summary.features[name].to_numpy()) for name in summary.features.columns}
    logs, money = (np.log1p(values).tolist() for values in (summary.weekly, summary.baskets))
    weekly, baskets = (_band_or_zero(values, least_sd=_MIN_LOG_SD) for values in (logs, money))
    newcomers = _band_or_zero(summary.newcomers, least_sd=_MIN_NEWCOMER_SD)
    return {
        "schema": PROFILE_SCHEMA,
        "as_of": as_of.isoformat(),
        "n_customers": summary.n_customers,
        "n_looked_at": summary.features.height,
        "features": features,
        "usual": list(_earlier_psi(_draw_sample(ledger.until(as_of))[1].without(closing), features, as_of)),
        "weekly": {"weeks": len(logs), "log_mean": weekly[0], "log_sd": weekly[1]},
        "newcomers": {"windows": len(summary.newcomers), "mean": newcomers[0], "sd": newcomers[1]},
        "baskets": {"windows": len(money), "log_mean": baskets[0], "log_sd": baskets[1]},
        "set_aside_share": set_aside_share,
    }


def _band_or_zero(values: Sequence[float], *, least_sd: float) -> tuple[float, float]:
    return expected_band(values, least_sd=least_sd) if values else (0.0, 0.0)


def bin_edges(values: Floats) -> list[float]:
    """Inner edges of at most ten bins that hold as many customers each; ties make fewer."""
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.arange(1, PROFILE_BINS) / PROFILE_BINS, method="inverted_cdf"))
    if len(edges) == 1:  # nearly constant: what lies below, on and above it
        return [float(np.nextafter(edges[0], -np.inf)), float(edges[0])]
    return [float(edge) for edge in edges]


def bin_shares(values: Floats, edges: Sequence[float]) -> Floats:
    """Shares of customers per bin; the last is of those to whom the feature does not apply."""
    missing = np.isnan(values)
    index = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(index, minlength=len(edges) + 2) / max(len(values), 1)


def _binned(values: Floats) -> dict[str, list[float]]:
    edges = bin_edges(values)
    return {"edges": edges, "shares": [float(share) for share in bin_shares(values, edges)]}


def _earlier_psi(ledger: Ledger, features: Mapping[str, Mapping[str, Any]], as_of: date) -> Iterator[dict[str, Any]]:
    """PSI between earlier days and ``as_of``, as long as as much history lies before the earlier day."""
    for days in _EARLIER_DAYS:
        earlier = as_of - timedelta(days=days)
        if (earlier - ledger.first_day).days < days:
            return
        then = behaviour_table(ledger.history(earlier))
        if then.height < _MIN_PROFILE_CUSTOMERS:
            return
        moved = {
            name: psi(bin_shares(then[name].to_numpy(), known["edges"]), known["shares"])
            for name, known in features.items()
        }
        yield {"days": days, "psi": {name: round(value, 4) for name, value in moved.items()}}


_STEADY_PSI, _DRIFTED_PSI = 0.10, 0.25
"""Siddiqi's bounds: below the first a feature is steady, above the second it has drifted."""
DRIFT_LEVELS = ("steady", "moved", "drifted")
_USUAL_PSI_FACTOR = 1.5
"""How many times as far as between earlier days a feature may move before it is called drifted."""
_BAND_MOVED, _BAND_DRIFTED = 2.0, 3.0
_QUARANTINE_MOVED, _QUARANTINE_DRIFTED = 0.05, 0.10
_MAX_FEATURES_NAMED = 3
_MIN_DRIFTED_SHARE = 0.05
"""Share of the features that must have drifted: of so many, one may stray."""
_FAR_BEYOND_LIMIT = 2.0
"""Or one that lies this many times beyond its limit."""


def measure_drift(
    profile: Mapping[str, Any], summary: InputSummary, *, set_aside_share: float | None = None
) -> dict[str, Any]:
    """Compare tonight's orders with those a model learned from.

    A feature has *drifted* if its PSI is above 0.25, above what chance does with so many customers, and above one and a
    half times what it was between earlier days of the training orders about as far apart: in a young shop the age of
    customers moves by more than that every month, and the model has learned from that. Above 0.1: *moved*.
    The orders have drifted if a twentieth of the features have, or one of them twice as far as would do; if volume,
    newcomers or money per purchase day lie more than three standard deviations from the year before; or if cleaning
    sets aside a tenth more or less.
    """
    then = date.fromisoformat(profile["as_of"])
    days = abs((summary.as_of - then).days)
    features = _feature_drift(profile, summary, days)
    parts = {
        "volume": _volume_drift(profile["weekly"], summary.weekly),
        "newcomers": _newcomer_drift(profile["newcomers"], summary.newcomers),
        "baskets": _basket_drift(profile.get("baskets"), summary.baskets),
        "set_aside": _quarantine_drift(profile.get("set_aside_share"), set_aside_share),
    }
    levels = [_overall_level(features), *(part["level"] for part in parts.values() if part)]
    level = max(levels, key=DRIFT_LEVELS.index)
    counts = {name: sum(row["level"] == name for row in features) for name in DRIFT_LEVELS}
    drift = {
        "known": True,
        "level": level,
        "drifted": level == DRIFT_LEVELS[-1],
        "profile_as_of": then.isoformat(),
        "as_of": summary.as_of.isoformat(),
        "n_customers": summary.n_customers,
        "n_customers_then": profile["n_customers"],
        "n_features": counts,
        "psi_max": features[0]["psi"] if features else None,
        "features": features,
        **parts,
    }
    return {**drift, "words": _drift_message(drift)}


def unknown_drift(why: Message) -> dict[str, Any]:
    """Say that there is nothing to compare with."""
    return {"known": False, "level": None, "drifted": False, "words": message("drift.unknown", why=why)}


def _feature_drift(profile: Mapping[str, Any], summary: InputSummary, days: int) -> list[dict[str, Any]]:
    usual = _usual_psi(profile["usual"], days)
    rows = []
    for name, known in profile["features"].items():
        if name not in summary.features.columns:
            continue
        now = bin_shares(summary.features[name].to_numpy(), known["edges"])
        moved = psi(known["shares"], now)
        chance = chance_psi(profile["n_looked_at"], len(summary.features), bins=len(now))
        before = usual.get(name, 0.0)
        limit = max(_DRIFTED_PSI, chance, _USUAL_PSI_FACTOR * before)
        rows.append(
            {
                "feature": name,
                "psi": round(moved, 4),
                "usual": round(before, 4),
                "limit": round(limit, 4),
                "missing": round(float(now[-1]), 4),
                "missing_then": round(float(known["shares"][-1]), 4),
                "level": DRIFT_LEVELS[(moved >= _STEADY_PSI) + (moved > limit)],
            }
        )
    return sorted(rows, key=lambda row: (-row["psi"], row["feature"]))


def _usual_psi(usual: Sequence[Mapping[str, Any]], days: int) -> Mapping[str, float]:
    """The highest PSI between earlier days up to as far apart, or the next farther: some features move in waves."""
    nearer = [row for row in usual if row["days"] < days]
    farther = [row for row in usual if row["days"] >= days][:1]
    found: dict[str, float] = {}
    for row in (*nearer, *farther):
        for name, moved in row["psi"].items():
            found[name] = max(moved, found.get(name, 0.0))
    return found


def _overall_level(features: Sequence[Mapping[str, Any]]) -> str:
    drifted = [row for row in features if row["level"] == DRIFT_LEVELS[2]]
    if drifted and (
        len(drifted) >= _MIN_DRIFTED_SHARE * len(features)
        or any(row["psi"] > _FAR_BEYOND_LIMIT * row["limit"] for row in drifted)
    ):
        return DRIFT_LEVELS[2]
    return DRIFT_LEVELS[0] if all(row["level"] == DRIFT_LEVELS[0] for row in features) else DRIFT_LEVELS[1]


def _volume_drift(weekly: Mapping[str, Any], now: Sequence[int]) -> dict[str, Any] | None:
    if not weekly["weeks"] or not now:
        return None
    mean, sd = weekly["log_mean"], weekly["log_sd"]
    recent = {"last_week": now[-1], "last_four_weeks": float(np.mean(now[-4:]))}
    deviation = max(abs(math.log1p(value) - mean) / sd for value in recent.values())
    return {
        **{name: round(value, 1) for name, value in recent.items()},
        **_usual_range(mean, sd, inverse=math.expm1, digits=1),
        "level": _deviation_level(deviation),
    }


def _newcomer_drift(known: Mapping[str, Any], now: Sequence[float]) -> dict[str, Any] | None:
    if not known["windows"] or not now:
        return None
    mean, sd = known["mean"], known["sd"]
    return {
        "share": round(now[-1], 4),
        **_usual_range(mean, sd, inverse=lambda share: min(share, 1.0), digits=4),
        "level": _deviation_level(abs(now[-1] - mean) / sd),
    }


def _basket_drift(known: Mapping[str, Any] | None, now: Sequence[float]) -> dict[str, Any] | None:
    if not known or not known["windows"] or not now:
        return None
    mean, sd = known["log_mean"], known["log_sd"]
    return {
        "mean": round(now[-1], 2),
        **_usual_range(mean, sd, inverse=math.expm1, digits=2),
        "level": _deviation_level(abs(math.log1p(now[-1]) - mean) / sd),
    }


def _usual_range(mean: float, sd: float, *, inverse: Callable[[float], float], digits: int) -> dict[str, float]:
    """The usual figure, and the range outside which it has drifted; ``inverse`` undoes the scale of mean and sd."""
    low, high = (inverse(mean + side * _BAND_DRIFTED * sd) for side in (-1.0, 1.0))
    return {"usual": round(inverse(mean), digits), "low": round(max(low, 0.0), digits), "high": round(high, digits)}


def _quarantine_drift(then: float | None, now: float | None) -> dict[str, Any] | None:
    if then is None or now is None:
        return None
    level = _level(abs(now - then), moved=_QUARANTINE_MOVED, drifted=_QUARANTINE_DRIFTED)
    return {"share": round(now, 4), "then": round(then, 4), "level": level}


def _deviation_level(deviation: float) -> str:
    return _level(deviation, moved=_BAND_MOVED, drifted=_BAND_DRIFTED)


def _level(value: float, *, moved: float, drifted: float) -> str:
    """How far a figure has gone, both bounds excluded."""
    return DRIFT_LEVELS[(value > moved) + (value > drifted)]


def _drift_message(drift: Mapping[str, Any]) -> Message:
    level, profile_as_of = drift["level"], drift["profile_as_of"]
    if level == DRIFT_LEVELS[0]:
        return message("drift.steady", profile_as_of=profile_as_of)
    return message(f"drift.{level}", profile_as_of=profile_as_of, reasons=_drift_reasons(drift, level))


def _drift_reasons(drift: Mapping[str, Any], level: str) -> list[Message]:
    reasons = []
    for name in ("volume", "newcomers", "baskets", "set_aside"):
        figures = drift[name]
        if figures and figures["level"] == level:
            reasons.append(message(f"drift_reason.{name}", **figures))
    rows = [row for row in drift["features"] if DRIFT_LEVELS.index(row["level"]) >= DRIFT_LEVELS.index(level)]
    if rows:
        features = [message("drifted_feature", feature=row["feature"], psi=row["psi"]) for row in rows]
        reasons.append(message("drift_reason.features", features=first_items(features, _MAX_FEATURES_NAMED)))
    return reasons
