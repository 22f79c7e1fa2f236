"""How far a night's orders lie from those a model learned from: PSI, volume, newcomers, baskets, rows set aside.

Pure functions: a profile (see ``profile``) and a look at tonight's orders go in, a JSON-able verdict comes out.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from repurchase.evaluation.look import Look
from repurchase.evaluation.profile import bin_shares
from repurchase.evaluation.stability import chance_psi, psi

__all__ = ["LEVELS", "MOVED", "STEADY", "drift_from", "unknown_drift"]

STEADY, MOVED = 0.10, 0.25
"""Siddiqi's bounds: below the first a feature is steady, above the second it has drifted."""
LEVELS = ("steady", "moved", "drifted")
MARGIN = 1.5
"""How many times as far as between earlier days a feature may move before it is called drifted."""
BAND_MOVED, BAND_DRIFTED = 2.0, 3.0
SET_ASIDE_MOVED, SET_ASIDE_DRIFTED = 0.05, 0.10
SHOWN = 3
MANY = 0.05
"""Share of the features that must have drifted: of so many, one may stray."""
FAR = 2.0
"""Or one that lies this many times beyond its limit."""


def drift_from(profile: Mapping[str, Any], look: Look, *, set_aside_share: float | None = None) -> dict[str, Any]:
    """Compare tonight's orders with those a model learned from.

    A feature has *drifted* if its PSI is above 0.25, above what chance does with so many customers, and above one and a
    half times what it was between earlier days of the training orders about as far apart: in a young shop the age of
    customers moves by more than that every month, and the model was taught so. Above 0.1, but not drifted: *moved*.
    The orders have drifted if a twentieth of the features have, or one of them twice as far as would do; if volume,
    newcomers or money per purchase day lie more than three standard deviations from the year before; or if cleaning
    sets aside a tenth more or less.

    Parameters
    ----------
    profile : mapping
        See `profile.profile_of`.
    look : Look
        At tonight's orders.
    set_aside_share : float, optional
        Rows that cleaning set aside tonight, of all.

    Returns
    -------
    dict
        JSON-able: ``level``, ``drifted``, ``words``, ``features`` by falling PSI, ``volume``, ``newcomers``,
        ``set_aside``, and which days are compared.
    """
    then = date.fromisoformat(profile["as_of"])
    days = abs((look.as_of - then).days)
    features = _features(profile, look, days)
    parts = {
        "volume": _volume(profile["weekly"], look.weekly),
        "newcomers": _newcomers(profile["newcomers"], look.newcomers),
        "baskets": _baskets(profile.get("baskets"), look.baskets),
        "set_aside": _set_aside(profile.get("set_aside_share"), set_aside_share),
    }
    levels = [_together(features), *(part["level"] for part in parts.values() if part)]
    level = max(levels, key=LEVELS.index)
    counts = {name: sum(row["level"] == name for row in features) for name in LEVELS}
    drift = {
        "known": True,
        "level": level,
        "drifted": level == LEVELS[-1],
        "profile_as_of": then.isoformat(),
        "as_of": look.as_of.isoformat(),
        "n_customers": look.n_customers,
        "n_customers_then": profile["n_customers"],
        "n_features": counts,
        "psi_max": features[0]["psi"] if features else None,
        "features": features,
        **parts,
    }
    return {**drift, "words": _words(drift)}


def unknown_drift(why: str) -> dict[str, Any]:
    """Say that there is nothing to compare with.

    Parameters
    ----------
    why : str
        A clause.

    Returns
    -------
    dict
        As `drift_from`, of what is known.
    """
    return {"known": False, "level": None, "drifted": False, "words": f"Drift of the orders is not known: {why}."}


def _features(profile: Mapping[str, Any], look: Look, days: int) -> list[dict[str, Any]]:
    usual = _usual(profile["usual"], days)
    rows = []
    for name, known in profile["features"].items():
        if name not in look.features.columns:
            continue
        now = bin_shares(look.features[name].to_numpy(), known["edges"])
        moved = psi(known["shares"], now)
        chance = chance_psi(profile["n_looked_at"], len(look.features), bins=len(now))
        before = usual.get(name, 0.0)
        limit = max(MOVED, chance, MARGIN * before)
        rows.append(
            {
                "feature": name,
                "psi": round(moved, 4),
                "usual": round(before, 4),
                "limit": round(limit, 4),
                "missing": round(float(now[-1]), 4),
                "missing_then": round(float(known["shares"][-1]), 4),
                "level": LEVELS[2] if moved > limit else LEVELS[1] if moved >= STEADY else LEVELS[0],
            }
        )
    return sorted(rows, key=lambda row: (-row["psi"], row["feature"]))


def _usual(usual: Sequence[Mapping[str, Any]], days: int) -> Mapping[str, float]:
    """The highest PSI between earlier days up to as far apart, or the next farther: some features move in waves."""
    nearer = [row for row in usual if row["days"] < days]
    farther = [row for row in usual if row["days"] >= days][:1]
    found: dict[str, float] = {}
    for row in (*nearer, *farther):
        for name, moved in row["psi"].items():
            found[name] = max(moved, found.get(name, 0.0))
    return found


def _together(features: Sequence[Mapping[str, Any]]) -> str:
    drifted = [row for row in features if row["level"] == LEVELS[2]]
    if drifted and (len(drifted) >= MANY * len(features) or any(row["psi"] > FAR * row["limit"] for row in drifted)):
        return LEVELS[2]
    return LEVELS[0] if all(row["level"] == LEVELS[0] for row in features) else LEVELS[1]


def _volume(weekly: Mapping[str, Any], now: Sequence[int]) -> dict[str, Any] | None:
    if not weekly["weeks"] or not now:
        return None
    mean, sd = weekly["log_mean"], weekly["log_sd"]
    recent = {"last_week": now[-1], "last_four_weeks": float(np.mean(now[-4:]))}
    far = max(abs(math.log1p(value) - mean) / sd for value in recent.values())
    low, high = (math.expm1(mean + side * BAND_DRIFTED * sd) for side in (-1.0, 1.0))
    return {
        **{name: round(value, 1) for name, value in recent.items()},
        "usual": round(math.expm1(mean), 1),
        "low": round(max(low, 0.0), 1),
        "high": round(high, 1),
        "level": _level(far),
    }


def _newcomers(known: Mapping[str, Any], now: Sequence[float]) -> dict[str, Any] | None:
    if not known["windows"] or not now:
        return None
    mean, sd = known["mean"], known["sd"]
    low, high = mean - BAND_DRIFTED * sd, mean + BAND_DRIFTED * sd
    return {
        "share": round(now[-1], 4),
        "usual": round(mean, 4),
        "low": round(max(low, 0.0), 4),
        "high": round(min(high, 1.0), 4),
        "level": _level(abs(now[-1] - mean) / sd),
    }


def _baskets(known: Mapping[str, Any] | None, now: Sequence[float]) -> dict[str, Any] | None:
    if not known or not known["windows"] or not now:
        return None
    mean, sd = known["log_mean"], known["log_sd"]
    low, high = (math.expm1(mean + side * BAND_DRIFTED * sd) for side in (-1.0, 1.0))
    return {
        "mean": round(now[-1], 2),
        "usual": round(math.expm1(mean), 2),
        "low": round(max(low, 0.0), 2),
        "high": round(high, 2),
        "level": _level(abs(math.log1p(now[-1]) - mean) / sd),
    }


def _set_aside(then: float | None, now: float | None) -> dict[str, Any] | None:
    if then is None or now is None:
        return None
    gap = abs(now - then)
    level = LEVELS[2] if gap > SET_ASIDE_DRIFTED else LEVELS[1] if gap > SET_ASIDE_MOVED else LEVELS[0]
    return {"share": round(now, 4), "then": round(then, 4), "level": level}


def _level(spreads: float) -> str:
    return LEVELS[2] if spreads > BAND_DRIFTED else LEVELS[1] if spreads > BAND_MOVED else LEVELS[0]


def _words(drift: Mapping[str, Any]) -> str:
    beside = f"the orders up to {drift['profile_as_of']} that the model learned from"
    if drift["level"] == LEVELS[0]:
        return f"The orders are like {beside}."
    why = _why(drift, drift["level"])
    if drift["drifted"]:
        return f"The orders have drifted from {beside}: {'; '.join(why)}."
    return f"The orders have moved from {beside}, within what is usual: {'; '.join(why)}."


def _why(drift: Mapping[str, Any], level: str) -> list[str]:
    why = []
    volume, newcomers, aside = (drift[name] for name in ("volume", "newcomers", "set_aside"))
    if volume and volume["level"] == level:
        why.append(
            f"{volume['last_week']:,.0f} purchase days in the last week and {volume['last_four_weeks']:,.0f} a week in "
            f"the last four, where {volume['low']:,.0f} to {volume['high']:,.0f} were to be expected"
        )
    if newcomers and newcomers["level"] == level:
        why.append(
            f"{newcomers['share']:.0%} of the last four weeks' buyers are new, where {newcomers['low']:.0%} to "
            f"{newcomers['high']:.0%} were to be expected"
        )
    baskets = drift["baskets"]
    if baskets and baskets["level"] == level:
        why.append(
            f"{baskets['mean']:,.2f} spent on a purchase day of the last four weeks, where {baskets['low']:,.2f} to "
            f"{baskets['high']:,.2f} were to be expected"
        )
    if aside and aside["level"] == level:
        why.append(f"{aside['share']:.0%} of the rows were set aside, {aside['then']:.0%} in training")
    rows = [row for row in drift["features"] if LEVELS.index(row["level"]) >= LEVELS.index(level)]
    if rows:
        named = ", ".join(f"{row['feature']} (PSI {row['psi']:.2f})" for row in rows[:SHOWN])
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        why.append(f"customers differ in {named}{more}")
    return why
