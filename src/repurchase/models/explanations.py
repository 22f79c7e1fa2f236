"""Reasons: the model's log odds as a sum of curves over plain facts, checked with counterfactual purchase histories."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.features.history import MONEY_SCALE, PER_DAY_COLUMNS, Floats, History, Ints, day_number
from repurchase.models.additive import AdditiveModel, fit_curves
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import DEFAULT_TYPICAL_SPEND, FeatureMatrix, Snapshot, expit, money_unit_for

_Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]


FACT_FEATURES: Mapping[str, tuple[str, ...]] = {
    "silence": ("days_since_last", "silence_in_spreads", "silence_to_gap"),
    "often": ("frequency", "age_days", "days_bought_365d", "usual_log_gap"),
    "lately": ("days_bought_90d", "days_bought_90d_before"),
    "rhythm": ("gap_irregularity", "gap_longest_days"),
    "money": ("spend_typical",),
}
"""What moves a customer's risk, and its features: correlated features belong to one fact."""
DIRECTIONS = ("raises", "lowers")
_EXPLANATION_FEATURES = tuple(name for names in FACT_FEATURES.values() for name in names)
_TYPICAL_VALUE_FEATURES = ("days_since_last", "frequency", "days_bought_365d", "rate", "spend_typical")
_EXPLANATION_PENALTY = 10.0
"""Small: the model's log odds contain no noise."""
_MIN_CUSTOMERS_TO_CHECK = 100
MIN_AGREEMENT = 0.8
"""Share of counterfactuals that must agree, or a fact is not shown in that direction."""


@dataclass(frozen=True)
class Explanation(JsonDataclass):
    """Log odds of a purchase as one curve per plain feature, around the shop's usual buyer."""

    curves: AdditiveModel
    base: tuple[float, ...]
    usual: Mapping[str, float]
    dearer_stays: bool
    explained: float | None
    agreement: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    typical_spend: int = DEFAULT_TYPICAL_SPEND

    def parts(self, features: FeatureMatrix) -> dict[str, Floats]:
        """Split each customer's distance from the base over the facts."""
        heights = self.curves.contributions(_in_money_units(features, self.typical_spend))
        base = dict(zip(self.curves.columns, self.base, strict=True))
        parts = {fact: np.zeros(features.n_customers) for fact in FACT_FEATURES}
        for fact, names in FACT_FEATURES.items():
            for name in names:
                if name in heights:
                    parts[fact] += heights[name] - base[name]
        return parts

    def trusts(self, fact: str, part: Floats) -> _Flags:
        """Where counterfactuals agree with a fact."""
        agreement = self.agreement.get(fact, {})
        raises, lowers = (agreement.get(side, 1.0) >= MIN_AGREEMENT for side in DIRECTIONS)
        return np.where(part < 0.0, raises, lowers)


def fit_explanation(
    features: FeatureMatrix, log_odds: Floats, *, typical_spend: int = DEFAULT_TYPICAL_SPEND
) -> Explanation:
    """Fit curves of plain facts to a model's log odds."""
    plain = _in_money_units(features, typical_spend)
    curves = fit_curves(plain, log_odds, features=_EXPLANATION_FEATURES, penalty=_EXPLANATION_PENALTY)
    heights, chance = curves.contributions(plain), expit(log_odds)
    usual = {name: _weighted_median(features[name], chance) for name in _TYPICAL_VALUE_FEATURES if name in features}
    base = {name: float(np.average(heights[name], weights=chance)) for name in curves.columns}
    dearer_stays = True
    if "spend_typical" in heights:
        money, size = heights["spend_typical"], np.log(features["spend_typical"])
        base["spend_typical"] = float(money[np.argmin(np.abs(size - np.log(usual["spend_typical"])))])
        dearer_stays = bool(np.sum(chance * (size - np.average(size, weights=chance)) * money) >= 0.0)
    explained = _explained_share(plain, log_odds)
    return Explanation(curves, tuple(base.values()), usual, dearer_stays, explained, typical_spend=typical_spend)


def _in_money_units(features: FeatureMatrix, typical_spend: int) -> FeatureMatrix:
    """Money in the models' unit instead of the currency's."""
    if "spend_typical" not in features:
        return features
    money = features["spend_typical"] * (MONEY_SCALE / money_unit_for(typical_spend))
    return FeatureMatrix({"spend_typical": money}, parent=features)


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(running, running[-1] / 2.0)])


def _explained_share(features: FeatureMatrix, log_odds: Floats) -> float | None:
    """Fit every second customer and judge the others."""
    odd = np.arange(len(log_odds)) % 2 == 1
    spread = float(np.var(log_odds[odd])) if len(log_odds) >= _MIN_CUSTOMERS_TO_CHECK else 0.0
    if spread < 1e-12:
        return None
    curves = fit_curves(
        features.rows(~odd), log_odds[~odd], features=_EXPLANATION_FEATURES, penalty=_EXPLANATION_PENALTY
    )
    return 1.0 - float(np.mean((log_odds[odd] - curves.total(features.rows(odd))) ** 2)) / spread


MAX_REASONS = 3
REASON_FACTS = ("once", "silence", "often", "lately", "rhythm", "money")
"""Facts that may be shown."""
MIN_REASON_LOG_ODDS = 0.15
"""In log odds; what moves the risk less is not shown."""
_REASON_FIGURES = (
    *("frequency", "age_days", "days_since_last", "rate"),
    *("gap_median_days", "gap_longest_days", "gap_irregularity"),
    *("days_bought_90d", "days_bought_90d_before", "days_bought_365d"),
)
SPEND_FEATURE = "spend_typical"


def reason_figures(features: FeatureMatrix) -> dict[str, Floats]:
    """Figures that reasons contain."""
    return {name: features[name] for name in (*_REASON_FIGURES, SPEND_FEATURE) if name in features}


def rank_reasons(features: FeatureMatrix, explanation: Explanation) -> Codes:
    """Find what moves each customer's risk most."""
    parts = np.column_stack(list(reason_contributions(features, explanation).values()))
    strength = np.abs(parts)
    strength[strength < MIN_REASON_LOG_ODDS] = 0.0
    order = np.argsort(-strength, axis=1, kind="stable")[:, :MAX_REASONS]
    lowers = np.take_along_axis(parts, order, axis=1) >= 0.0
    nothing = np.take_along_axis(strength, order, axis=1) == 0.0
    return np.where(nothing, -1, 2 * order + lowers).astype(np.int8)


def reason_contributions(features: FeatureMatrix, explanation: Explanation) -> dict[str, Floats]:
    """Split each customer's distance from the base over the facts that may be shown for that customer.

    A one-time buyer has one fact apart from money: one purchase, so many days ago. A trend without two
    purchases to show it is counted with the silence or with how often; a rhythm with them too, unless it shows and
    the customer still keeps it; and few purchases with the silence of those who are long overdue.
    """
    who = {name: features[name] for name in _REASON_FIGURES}
    silence, often, lately, rhythm, money = explanation.parts(features).values()
    repeat, quiet = who["frequency"] > 0, who["days_bought_90d"] + who["days_bought_90d_before"] <= 1
    overdue = who["days_since_last"] > np.fmax(who["gap_longest_days"], 2.0 * who["gap_median_days"])
    once = silence + often + lately + rhythm
    trend = _supports_trend(who, lately) & explanation.trusts("lately", lately)
    steps = _supports_rhythm(who, rhythm) & ~overdue & explanation.trusts("rhythm", rhythm)
    silence = silence + np.where(~trend & quiet, lately, 0.0) + np.where(~steps & overdue, rhythm, 0.0)
    often = often + np.where(~trend & ~quiet, lately, 0.0) + np.where(~steps & ~overdue, rhythm, 0.0)
    shows = _supports_silence(who, silence, explanation.usual)
    often = often + np.where(shows, 0.0, silence)
    combined = shows & overdue & (silence < 0.0) & (often < 0.0)
    silence, often = silence + np.where(combined, often, 0.0), np.where(combined, 0.0, often)
    facts = {
        "once": (once, ~repeat & ((once < 0.0) | (who["days_since_last"] <= explanation.usual["days_since_last"]))),
        "silence": (silence, repeat & shows),
        "often": (often, repeat & _supports_frequency(who, often, explanation.usual)),
        "lately": (lately, repeat & trend),
        "rhythm": (rhythm, repeat & steps),
        "money": (money, _supports_spend(features, money, explanation)),
    }
    return {fact: np.where(shown & explanation.trusts(fact, part), part, 0.0) for fact, (part, shown) in facts.items()}


def _supports_trend(who: dict[str, Floats], part: Floats) -> _Flags:
    recent, before = who["days_bought_90d"], who["days_bought_90d_before"]
    more = (recent > before) & (recent >= 2) & ((before > 0) | (who["age_days"] >= 180))
    return np.where(part < 0.0, (recent < before) & (before >= 2), more)


def _supports_rhythm(who: dict[str, Floats], part: Floats) -> _Flags:
    uneven = (who["gap_irregularity"] > 0.8) & (who["gap_longest_days"] > 2.5 * who["gap_median_days"])
    return np.where(part < 0.0, uneven, who["gap_irregularity"] < 0.6) & (who["frequency"] >= 3)


def _supports_silence(who: dict[str, Floats], part: Floats, usual: Mapping[str, float]) -> _Flags:
    days, gap, elsewhere = who["days_since_last"], who["gap_median_days"], usual["days_since_last"]
    return np.where(part < 0.0, (days > gap) | (days > elsewhere), (days <= gap) | (days <= elsewhere))


def _supports_frequency(who: dict[str, Floats], part: Floats, usual: Mapping[str, float]) -> _Flags:
    above = [who[name] - usual[name] for name in ("frequency", "rate", "days_bought_365d")]
    return np.asarray(np.where(part < 0.0, np.minimum.reduce(above) <= 0.0, np.maximum.reduce(above) >= 0.0))


def _supports_spend(features: FeatureMatrix, part: Floats, explanation: Explanation) -> _Flags:
    if SPEND_FEATURE not in explanation.usual or SPEND_FEATURE not in features:
        return np.zeros(len(part), dtype=np.bool_)
    times = features[SPEND_FEATURE] / explanation.usual[SPEND_FEATURE]
    return np.asarray(np.where((part > 0.0) == explanation.dearer_stays, times > 1.1, times < 0.9))


_MAX_EXPLAINED_CUSTOMERS = 5_000
"""Largest number of customers that the curves are fitted to."""
_MAX_COUNTERFACTUALS = 100
"""Per fact and side, at most."""
_MIN_COUNTERFACTUALS = 5
_MIN_LONG_SILENCE_DAYS = 30


def learn_explanation(
    snapshot: Snapshot,
    log_odds_of: Callable[[Snapshot], Floats],
    *,
    random_state: int,
    typical_spend: int = DEFAULT_TYPICAL_SPEND,
) -> Explanation:
    """Learn what moves a fitted model's risk, and check it with counterfactuals."""
    rng = np.random.default_rng([random_state, 3])
    if len(snapshot.history.customer) > _MAX_EXPLAINED_CUSTOMERS:
        snapshot = Snapshot(
            snapshot.history.take(_sampled(np.arange(len(snapshot.history.customer)), _MAX_EXPLAINED_CUSTOMERS, rng))
        )
    log_odds = log_odds_of(snapshot)
    explanation = fit_explanation(snapshot.features, log_odds, typical_spend=typical_spend)
    counterfactuals = _choose_counterfactuals(reason_contributions(snapshot.features, explanation), rng)
    if not counterfactuals:
        return explanation
    changed = History.concat(
        [
            counterfactual_history(snapshot.history.take(who), *chosen, explanation.usual)
            for chosen, who in counterfactuals.items()
        ]
    )
    moved = log_odds_of(Snapshot(changed)) - log_odds[np.concatenate(list(counterfactuals.values()))]
    ends = np.cumsum([len(who) for who in counterfactuals.values()])[:-1]
    agreement: dict[str, dict[str, float]] = {}
    for (fact, side), moves in zip(counterfactuals, np.split(moved, ends), strict=True):
        as_expected = moves > 0.0 if side == "raises" else moves < 0.0
        agreement.setdefault(fact, {})[side] = float(as_expected.mean())
    return replace(explanation, agreement=agreement)


def counterfactual_history(history: History, fact: str, side: str, usual: Mapping[str, float]) -> History:
    """Change customers' purchase days so that a fact no longer holds.

    A silence is ended by moving the last purchase to the day before, or lengthened by moving all of them back; many
    purchases are thinned, few are doubled in between; those of the last 90 days and of the 90 before are moved to the
    other; a rhythm is evened out or broken; money is scaled to what is usual. A one-time buyer buys again, or has
    bought long ago.
    """
    who = np.repeat(np.arange(len(history.start)), history.count)
    if fact == "money":
        own = np.exp(np.add.reduceat(np.log(history.spend), history.start) / history.count)
        spend = history.spend * (usual["spend_typical"] * MONEY_SCALE / own)[who]
        return replace(history, spend=np.maximum(np.round(spend), 1.0).astype(np.int64))
    if side == "lowers" and fact in {"once", "silence"}:
        return _rebuilt_history(history, *_with_long_silence(history, who, usual["days_since_last"]))
    return _rebuilt_history(history, *_COUNTERFACTUALS[fact, side](history, who))


def _choose_counterfactuals(parts: Mapping[str, Floats], rng: np.random.Generator) -> dict[tuple[str, str], Ints]:
    """Choose customers who have a fact as reason, by fact and direction."""
    counterfactuals = {}
    for fact, part in parts.items():
        for side, sign in zip(DIRECTIONS, (-1.0, 1.0), strict=True):
            chosen = np.flatnonzero(sign * part >= MIN_REASON_LOG_ODDS)
            if len(chosen) >= _MIN_COUNTERFACTUALS:
                counterfactuals[fact, side] = _sampled(chosen, _MAX_COUNTERFACTUALS, rng)
    return counterfactuals


_PurchaseRows = tuple[Ints, Ints, Ints]
"""Customer, day and the row of the history that a purchase day's other figures come from."""


def _with_another_purchase(history: History, who: Ints) -> _PurchaseRows:
    last, now = history.last_row, day_number(history.as_of)
    day = np.where(history.day[last] == now - 1, now, now - 1)
    rows = np.arange(len(who))
    return np.append(who, np.arange(len(last))), np.append(history.day, day), np.append(rows, last)


def _with_last_purchase_yesterday(history: History, who: Ints) -> _PurchaseRows:
    day = history.day.copy()
    day[history.last_row] = np.maximum(day[history.last_row], day_number(history.as_of) - 1)
    return who, day, np.arange(len(who))


def _with_long_silence(history: History, who: Ints, usual_days: float) -> _PurchaseRows:
    gap = Snapshot(history).features["gap_median_days"]
    shift = 3.0 * np.fmax(gap, max(usual_days, _MIN_LONG_SILENCE_DAYS))
    return who, history.day - shift.astype(np.int64)[who], np.arange(len(who))


def _with_purchases_doubled(history: History, who: Ints) -> _PurchaseRows:
    rows = np.arange(len(who))
    wide = np.flatnonzero((np.diff(who) == 0) & (np.diff(history.day) >= 2))
    between = (history.day[wide] + history.day[wide + 1]) // 2
    return np.append(who, who[wide]), np.append(history.day, between), np.append(rows, wide)


def _with_purchases_halved(history: History, who: Ints) -> _PurchaseRows:
    index, count = _position_within_customer(history, who), history.count[who]
    kept = np.flatnonzero(np.where(count == 2, index == 1, (index % 2 == 0) | (index == count - 1)))
    return who[kept], history.day[kept], kept


def _with_recent_purchases(history: History, who: Ints) -> _PurchaseRows:
    now = day_number(history.as_of)
    before = (history.day > now - 180) & (history.day <= now - 90)
    return who, history.day + 90 * before, np.arange(len(who))


def _with_earlier_purchases(history: History, who: Ints) -> _PurchaseRows:
    recent = history.day > day_number(history.as_of) - 90
    recent[history.last_row] = False
    return who, history.day - 90 * recent, np.arange(len(who))


def _with_even_gaps(history: History, who: Ints) -> _PurchaseRows:
    first, last = history.day[history.start], history.day[history.last_row]
    share = _position_within_customer(history, who) / np.maximum(history.count - 1, 1)[who]
    return who, first[who] + np.round(share * (last - first)[who]).astype(np.int64), np.arange(len(who))


def _with_uneven_gaps(history: History, who: Ints) -> _PurchaseRows:
    index = _position_within_customer(history, who)
    moved = np.flatnonzero((index % 2 == 1) & (index < history.count[who] - 1))
    day = history.day.copy()
    day[moved] = history.day[moved - 1] + 1
    return who, day, np.arange(len(who))


_COUNTERFACTUALS: Mapping[tuple[str, str], Callable[[History, Ints], _PurchaseRows]] = {
    ("once", "raises"): _with_another_purchase,
    ("silence", "raises"): _with_last_purchase_yesterday,
    ("often", "raises"): _with_purchases_doubled,
    ("often", "lowers"): _with_purchases_halved,
    ("lately", "raises"): _with_recent_purchases,
    ("lately", "lowers"): _with_earlier_purchases,
    ("rhythm", "raises"): _with_even_gaps,
    ("rhythm", "lowers"): _with_uneven_gaps,
}


def _rebuilt_history(history: History, who: Ints, day: Ints, source: Ints) -> History:
    """Put rows in order, one a day."""
    order = np.lexsort((day, who))
    who, day, source = who[order], day[order], source[order]
    new = (np.diff(who, prepend=-1) != 0) | (np.diff(day, prepend=day[:1] - 1) != 0)
    who, day, source = who[new], day[new], source[new]
    figures: dict[str, Any] = {name: getattr(history, name)[source] for name in PER_DAY_COLUMNS}
    return replace(history, **{**figures, "day": day, "start": np.flatnonzero(np.diff(who, prepend=-1))})


def _position_within_customer(history: History, who: Ints) -> Ints:
    return np.arange(len(who)) - history.start[who]


def _sampled(among: Ints, most: int, rng: np.random.Generator) -> Ints:
    return among if len(among) <= most else np.sort(rng.choice(among, most, replace=False))
