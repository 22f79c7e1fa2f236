"""What the model would say had a customer done otherwise: the trial that every kind of reason must pass to be told.

For customers of whom a fact is told, their own purchase days are changed so that the fact no longer holds, everything
is computed anew from them, and the model is asked again. If a reason is said to raise the risk, it must now be lower.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.baseline import USUAL_SPEND
from repurchase.estimators.cuts import Cut
from repurchase.estimators.explain import SIDES, Explanation, fit_explanation
from repurchase.estimators.reasons import LEAST_TOLD, told_parts
from repurchase.features.history import MONEY, PER_DAY, History, Ints, day_number

__all__ = ["learn_reasons", "otherwise"]

Floats = npt.NDArray[np.float64]

MOST_CUSTOMERS = 5_000
"""Whom the curves are fitted to, at most."""
TRIALS = 100
"""Per fact and side, at most."""
FEW_TRIALS = 5
LONG_DAYS = 30


def learn_reasons(
    cut: Cut, log_odds_of: Callable[[Cut], Floats], *, random_state: int, typical_spend: int = USUAL_SPEND
) -> Explanation:
    """Learn what moves a fitted model, and try it.

    Parameters
    ----------
    cut : Cut
        The shop's customers, or a sample of them.
    log_odds_of : callable
        Log odds of a purchase that the model delivers for the customers of a cut.
    random_state : int
        Seed of the samples.
    typical_spend : int, optional
        The model's (see `cuts.Baseline`).

    Returns
    -------
    Explanation
        With its agreement.
    """
    rng = np.random.default_rng([random_state, 3])
    if len(cut.history.customer) > MOST_CUSTOMERS:
        cut = Cut(cut.history.take(_chosen(np.arange(len(cut.history.customer)), MOST_CUSTOMERS, rng)))
    log_odds = log_odds_of(cut)
    explanation = fit_explanation(cut.features, log_odds, typical_spend=typical_spend)
    trials = _trials(told_parts(cut.features, explanation), rng)
    if not trials:
        return explanation
    changed = _joined([otherwise(cut.history.take(who), *told, explanation.usual) for told, who in trials.items()])
    moved = log_odds_of(Cut(changed)) - log_odds[np.concatenate(list(trials.values()))]
    ends = np.cumsum([len(who) for who in trials.values()])[:-1]
    agreement: dict[str, dict[str, float]] = {}
    for (fact, side), moves in zip(trials, np.split(moved, ends), strict=True):
        as_told = moves > 0.0 if side == "raises" else moves < 0.0
        agreement.setdefault(fact, {})[side] = float(as_told.mean())
    return replace(explanation, agreement=agreement)


def otherwise(history: History, fact: str, side: str, usual: Mapping[str, float]) -> History:
    """Change customers' purchase days so that a fact no longer holds.

    A silence is ended by moving the last purchase to the day before, or lengthened by moving all of them back; many
    purchases are thinned, few are doubled in between; those of the last 90 days and of the 90 before are moved to the
    other; a rhythm is evened out or broken; money is scaled to what is usual. A one-time buyer buys again, or has
    bought long ago.

    Parameters
    ----------
    history : History
        The customers; all of them must be of the kind that the fact is told of.
    fact : str
        See `told_parts`.
    side : {"raises", "lowers"}
        What the fact is said to do to their risk.
    usual : mapping of str to float
        The shop's (see `Explanation`).

    Returns
    -------
    History
        The same customers on the same day.
    """
    who = np.repeat(np.arange(len(history.start)), history.count)
    if fact == "money":
        own = np.exp(np.add.reduceat(np.log(history.spend), history.start) / history.count)
        spend = history.spend * (usual["spend_typical"] * MONEY / own)[who]
        return replace(history, spend=np.maximum(np.round(spend), 1.0).astype(np.int64))
    if side == "lowers" and fact in {"once", "silence"}:
        return _rebuilt(history, *_long_ago(history, who, usual["days_since_last"]))
    return _rebuilt(history, *_CHANGES[fact, side](history, who))


def _trials(parts: Mapping[str, Floats], rng: np.random.Generator) -> dict[tuple[str, str], Ints]:
    """Choose customers of whom a fact is told, by fact and side."""
    trials = {}
    for fact, part in parts.items():
        for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
            told = np.flatnonzero(sign * part >= LEAST_TOLD)
            if len(told) >= FEW_TRIALS:
                trials[fact, side] = _chosen(told, TRIALS, rng)
    return trials


Rows = tuple[Ints, Ints, Ints]
"""Customer, day and the row of the history that a purchase day's other figures come from."""


def _bought_again(history: History, who: Ints) -> Rows:
    last, now = _last(history), day_number(history.as_of)
    day = np.where(history.day[last] == now - 1, now, now - 1)
    rows = np.arange(len(who))
    return np.append(who, np.arange(len(last))), np.append(history.day, day), np.append(rows, last)


def _bought_last_day(history: History, who: Ints) -> Rows:
    day = history.day.copy()
    day[_last(history)] = np.maximum(day[_last(history)], day_number(history.as_of) - 1)
    return who, day, np.arange(len(who))


def _long_ago(history: History, who: Ints, usual_days: float) -> Rows:
    gap = Cut(history).features["gap_median_days"]
    shift = 3.0 * np.fmax(gap, max(usual_days, LONG_DAYS))
    return who, history.day - shift.astype(np.int64)[who], np.arange(len(who))


def _doubled(history: History, who: Ints) -> Rows:
    rows = np.arange(len(who))
    wide = np.flatnonzero((np.diff(who) == 0) & (np.diff(history.day) >= 2))
    between = (history.day[wide] + history.day[wide + 1]) // 2
    return np.append(who, who[wide]), np.append(history.day, between), np.append(rows, wide)


def _thinned(history: History, who: Ints) -> Rows:
    place, count = _place(history, who), history.count[who]
    kept = np.flatnonzero(np.where(count == 2, place == 1, (place % 2 == 0) | (place == count - 1)))
    return who[kept], history.day[kept], kept


def _later(history: History, who: Ints) -> Rows:
    now = day_number(history.as_of)
    before = (history.day > now - 180) & (history.day <= now - 90)
    return who, history.day + 90 * before, np.arange(len(who))


def _earlier(history: History, who: Ints) -> Rows:
    recent = history.day > day_number(history.as_of) - 90
    recent[_last(history)] = False
    return who, history.day - 90 * recent, np.arange(len(who))


def _evened(history: History, who: Ints) -> Rows:
    first, last = history.day[history.start], history.day[_last(history)]
    share = _place(history, who) / np.maximum(history.count - 1, 1)[who]
    return who, first[who] + np.round(share * (last - first)[who]).astype(np.int64), np.arange(len(who))


def _broken(history: History, who: Ints) -> Rows:
    place = _place(history, who)
    moved = np.flatnonzero((place % 2 == 1) & (place < history.count[who] - 1))
    day = history.day.copy()
    day[moved] = history.day[moved - 1] + 1
    return who, day, np.arange(len(who))


_CHANGES: Mapping[tuple[str, str], Callable[[History, Ints], Rows]] = {
    ("once", "raises"): _bought_again,
    ("silence", "raises"): _bought_last_day,
    ("often", "raises"): _doubled,
    ("often", "lowers"): _thinned,
    ("lately", "raises"): _later,
    ("lately", "lowers"): _earlier,
    ("rhythm", "raises"): _evened,
    ("rhythm", "lowers"): _broken,
}


def _rebuilt(history: History, who: Ints, day: Ints, source: Ints) -> History:
    """Put rows in order, one a day."""
    order = np.lexsort((day, who))
    who, day, source = who[order], day[order], source[order]
    new = (np.diff(who, prepend=-1) != 0) | (np.diff(day, prepend=day[:1] - 1) != 0)
    who, day, source = who[new], day[new], source[new]
    figures: dict[str, Any] = {name: getattr(history, name)[source] for name in PER_DAY}
    return replace(history, **{**figures, "day": day, "start": np.flatnonzero(np.diff(who, prepend=-1))})


def _joined(histories: Sequence[History]) -> History:
    """Put customers of the same day side by side."""
    starts = np.cumsum([0, *(len(one.day) for one in histories)])
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in histories])
        for name in ("customer", *PER_DAY, "net_total", "returned")
    }
    start = np.concatenate([one.start + offset for one, offset in zip(histories, starts[:-1], strict=True)])
    return replace(histories[0], start=start, **columns)


def _last(history: History) -> Ints:
    return history.start + history.count - 1


def _place(history: History, who: Ints) -> Ints:
    return np.arange(len(who)) - history.start[who]


def _chosen(among: Ints, most: int, rng: np.random.Generator) -> Ints:
    return among if len(among) <= most else np.sort(rng.choice(among, most, replace=False))
