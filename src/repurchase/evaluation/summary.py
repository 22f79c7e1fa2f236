"""The evaluation record: what is stored, graded, and shown about a backtest."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from repurchase.evaluation.comparison import (
    BTYD,
    CONTACTED_SHARE,
    MODEL,
    MODEL_PARTS,
    RULE_NAMES,
    Cutoff,
    ListComparison,
    TotalError,
    calibration_row,
    cutoffs_at,
    gains_row,
)
from repurchase.evaluation.grade import (
    GRADE_REQUIREMENTS,
    MIN_CUTOFFS_IF_ALWAYS_BETTER,
    Grade,
    HorizonEvaluation,
    evaluate_horizon,
    excess_ece,
    grading_rule,
    shortfalls,
)
from repurchase.i18n.messages import Message, message

_MIN_JUDGED_CUSTOMERS = 1000
"""Below this many customers a cut-off, groups of a tenth are too small to trust."""
_MIN_JUDGED_BUYERS = 100
_MAX_BASE_RATE_RATIO = 1.2
"""Highest over lowest base rate of a horizon's cut-offs, from which the world is said to have moved."""
_ONE_YEAR_DAYS = 365


def _grade_reasons(verdict: HorizonEvaluation, *, currency: str | None = None) -> list[Message]:
    """Say in figures why the grade is what it is."""
    reasons = [_lead(verdict), _btyd_alone(verdict), _by_cutoff(verdict), _calibration(verdict), _buyers(verdict)]
    if verdict.money:
        reasons.append(_money(verdict.money, currency))
    reasons.append(_total(verdict.buyer_totals, "buyers"))
    if verdict.spend_totals:
        reasons.append(_total(verdict.spend_totals, "spend"))
    best = GRADE_REQUIREMENTS[0]
    missing = shortfalls(verdict.standing, best)
    if verdict.grade.letter in "BC" and missing:
        reasons.append(message("evidence.keeps_from", grade=best.letter, shortfalls=missing))
    return [reason for reason in reasons if reason]


def _evaluation_limits(
    verdicts: Mapping[int, HorizonEvaluation],
    why_not: Mapping[int, Message],
    *,
    primary: int | None,
    asked: int | None,
) -> list[Message]:
    """Say what the evaluation cannot show."""
    limits = [message("limit.not_judged", days=h, why=why) for h, why in why_not.items()]
    if asked is not None and primary is not None and asked != primary:
        limits.append(message("limit.other_horizon", days=primary, requested_days=asked))
    for h, verdict in verdicts.items():
        if h != primary and verdict.grade.letter == "D":
            limits.append(message("limit.no_better", days=h, rule=verdict.standing.best_rule))
    if primary is not None and primary in verdicts:
        limits += _of_the_data(verdicts[primary].cutoffs)
    return limits


def _lead(verdict: HorizonEvaluation) -> Message:
    standing, gain = verdict.standing, verdict.gain
    return message(
        "evidence.lead",
        days=verdict.horizon_days,
        rule=standing.best_rule,
        explained=_explained(standing.explained),
        rule_explained=_explained(standing.rule_explained),
        loss=standing.model_loss,
        rule_loss=standing.rule_loss,
        difference=message("difference.lower" if gain.value >= 0 else "difference.higher", share=abs(gain.value)),
        saved=[gain.low, gain.high],
    )


def _btyd_alone(verdict: HorizonEvaluation) -> Message | None:
    if BTYD not in verdict.figures:
        return None
    explained = _explained(verdict.explained(BTYD))
    return message("evidence.btyd", explained=explained, loss=verdict.means(BTYD)["log_loss"])


def _explained(share: float) -> float | Message:
    return share if share > 0 else message("nothing")


def _by_cutoff(verdict: HorizonEvaluation) -> Message:
    gains = verdict.standing.gains_by_cutoff
    won = sum(gain > 0 for gain in gains)
    if len(gains) == 1:
        return message("evidence.by_one_cutoff", won=won, cutoffs=1)
    return message("evidence.by_cutoff", won=won, cutoffs=len(gains), saved=[min(gains), max(gains)])


def _calibration(verdict: HorizonEvaluation) -> Message:
    ece, chance = verdict.standing.ece, verdict.standing.chance_ece
    return message("evidence.calibration", ece=ece, chance_ece=chance, excess_ece=excess_ece(ece, chance))


def _buyers(verdict: HorizonEvaluation) -> Message | None:
    found, lift = verdict.buyers, verdict.means(MODEL)["top_decile_lift"]
    if not found.available > 0:
        return None
    return message(
        "evidence.buyers",
        contacted=CONTACTED_SHARE,
        lift=lift,
        reached=found.model,
        available=found.available,
        against=_against(found, None),
    )


def _money(found: ListComparison, currency: str | None) -> Message | None:
    if not found.available > 0:
        return None
    return message(
        "evidence.money",
        contacted=CONTACTED_SHARE,
        reached=found.model,
        currency=currency,
        share=found.model / found.available,
        against=_against(found, currency),
    )


def _against(found: ListComparison, currency: str | None) -> Message:
    gain = found.gain
    return message(
        "against",
        rule_reached=found.rule,
        rule=found.rule_name,
        currency=currency,
        gain=gain.value,
        low=gain.low,
        high=gain.high,
    )


def _total(totals: TotalError, what: str) -> Message | None:
    bias, judged = totals.bias, totals.defined
    if not judged:
        return None
    side = "more" if bias.value >= 0 else "less"
    figures = {"error": totals.error, "bias": abs(bias.value), "interval": [bias.low, bias.high]}
    if len(judged) == 1:
        total = message(f"total.{side}", **figures)
    else:
        total = message(f"total.{side}_seen", **figures, seen=[min(judged), max(judged)], cutoffs=len(judged))
    return message(f"evidence.{what}_total", total=total)


def _of_the_data(cutoffs: Sequence[Cutoff]) -> list[Message]:
    limits = (_few_customers(cutoffs), _few_cutoffs(cutoffs), _overlap(cutoffs), _season(cutoffs), _moved(cutoffs))
    return [limit for limit in limits if limit]


def _few_customers(cutoffs: Sequence[Cutoff]) -> Message | None:
    customers = min(len(cutoff.customers) for cutoff in cutoffs)
    buyers = min(int(cutoff.bought.sum()) for cutoff in cutoffs)
    if customers >= _MIN_JUDGED_CUSTOMERS and buyers >= _MIN_JUDGED_BUYERS:
        return None
    return message("limit.few", customers=customers, buyers=buyers)


def _few_cutoffs(cutoffs: Sequence[Cutoff]) -> Message | None:
    if len(cutoffs) >= MIN_CUTOFFS_IF_ALWAYS_BETTER:
        return None
    return message("limit.few_cutoffs", cutoffs=len(cutoffs))


def _overlap(cutoffs: Sequence[Cutoff]) -> Message | None:
    steps = [(after.day - before.day).days for before, after in pairwise(cutoffs)]
    if not steps or min(steps) >= cutoffs[0].horizon_days:
        return None
    return message("limit.overlap", cutoffs=len(cutoffs), step_days=min(steps), days=cutoffs[0].horizon_days)


def _season(cutoffs: Sequence[Cutoff]) -> Message | None:
    first, last = cutoffs[0].day, cutoffs[-1].day + timedelta(days=cutoffs[0].horizon_days)
    if (last - first).days >= _ONE_YEAR_DAYS:
        return None
    day_after = (first + timedelta(days=1)).isoformat()
    return message("limit.season", first=day_after, last=last.isoformat(), days=(last - first).days)


def _moved(cutoffs: Sequence[Cutoff]) -> Message | None:
    """Report a base rate that moved by more than its size and chance allow."""
    rates = sorted((float(cutoff.bought.mean()), len(cutoff.bought)) for cutoff in cutoffs)
    (low, n_low), (high, n_high) = rates[0], rates[-1]
    chance = math.sqrt(low * (1 - low) / n_low + high * (1 - high) / n_high)
    if high <= _MAX_BASE_RATE_RATIO * low or high - low <= 2 * chance:
        return None
    return message("limit.moved", low=low, high=high)


_EVALUATION_SCHEMA = 1
_PREFERRED_HORIZON_DAYS = 90
_DIGITS = 6
_NOT_GRADED = Grade("-", message("verdict.too_short"))


def summarise_evaluation(
    predictions: pl.DataFrame,
    *,
    primary_horizon_days: int | None = None,
    not_judged: Mapping[int, Message] | None = None,
    currency: str | None = None,
) -> dict[str, Any]:
    """Judge a model by what came after each cut-off, beside the rules and its own parts."""
    days = sorted(predictions["horizon_days"].unique().to_list())
    verdicts = {h: evaluate_horizon(cutoffs_at(predictions, horizon_days=h)) for h in days}
    why_not = {h: why for h, why in sorted((not_judged or {}).items()) if h not in verdicts}
    graded = [h for h, verdict in verdicts.items() if verdict.grade.letter != _NOT_GRADED.letter]
    primary = primary_horizon_days if primary_horizon_days in days else _nearest(graded or days)
    evaluation = {
        "schema": _EVALUATION_SCHEMA,
        "primary_horizon_days": primary,
        **_headline(verdicts.get(primary) if primary is not None else None, currency),
        "limits": _evaluation_limits(verdicts, why_not, primary=primary, asked=primary_horizon_days),
        "horizons": _horizon_records(verdicts, why_not),
        "backtest": [row for verdict in verdicts.values() for row in _metric_rows(verdict)],
        **_curves(verdicts.values()),
    }
    return {key: to_json_values(value) for key, value in evaluation.items()}


def _headline(verdict: HorizonEvaluation | None, currency: str | None) -> dict[str, Any]:
    grade = verdict.grade if verdict else _NOT_GRADED
    return {
        "grade": grade.letter,
        "grade_words": grade.message,
        "rule": grading_rule(),
        "best_rule": verdict.standing.best_rule if verdict else None,
        "reasons": _grade_reasons(verdict, currency=currency) if verdict else [],
        "buyers_top_decile": _list_comparison_record(verdict.buyers, verdict.horizon_days, None) if verdict else None,
        "money_top_decile": (
            _list_comparison_record(verdict.money, verdict.horizon_days, currency)
            if verdict and verdict.money
            else None
        ),
    }


def _nearest(judged: Sequence[int]) -> int | None:
    return min(judged, key=lambda h: (abs(h - _PREFERRED_HORIZON_DAYS), h), default=None)


def _judged_horizon(verdict: HorizonEvaluation) -> dict[str, Any]:
    standing = verdict.standing
    return {
        "horizon_days": verdict.horizon_days,
        "judged": True,
        "n_cutoffs": len(verdict.cutoffs),
        "grade": verdict.grade.letter,
        "grade_words": verdict.grade.message,
        "best_rule": standing.best_rule,
        "model": verdict.means(MODEL),
        "rules": {name: verdict.means(name) for name in RULE_NAMES if name in verdict.figures},
        "parts": {name: verdict.means(name) for name in MODEL_PARTS if name in verdict.figures},
        "log_loss_gain": verdict.gain.value,
        "log_loss_gain_low": verdict.gain.low,
        "log_loss_gain_high": verdict.gain.high,
        "log_loss_gain_by_cutoff": list(standing.gains_by_cutoff),
        "explained": standing.explained,
        "explained_by_best_rule": standing.rule_explained,
        "buyers_total": _total_error_record(verdict.buyer_totals),
        "spend_total": _total_error_record(verdict.spend_totals) if verdict.spend_totals else None,
        "why_not_judged": None,
    }


def _unjudged_horizon(horizon_days: int, why: Message) -> dict[str, Any]:
    return {
        "horizon_days": horizon_days,
        "judged": False,
        "n_cutoffs": 0,
        "grade": "-",
        "grade_words": message("verdict.not_judged", why=why),
        "best_rule": None,
        "model": None,
        "rules": {},
        "parts": {},
        "log_loss_gain": None,
        "log_loss_gain_low": None,
        "log_loss_gain_high": None,
        "log_loss_gain_by_cutoff": [],
        "explained": None,
        "explained_by_best_rule": None,
        "buyers_total": None,
        "spend_total": None,
        "why_not_judged": why,
    }


def _horizon_records(verdicts: Mapping[int, HorizonEvaluation], why_not: Mapping[int, Message]) -> list[dict[str, Any]]:
    judged = {h: _judged_horizon(verdict) for h, verdict in verdicts.items()}
    unjudged = {h: _unjudged_horizon(h, why) for h, why in why_not.items()}
    return [horizon for _, horizon in sorted({**judged, **unjudged}.items())]


def _metric_rows(verdict: HorizonEvaluation) -> Iterator[dict[str, Any]]:
    figures = {name: iter(rows) for name, rows in verdict.figures.items()}
    for cutoff in verdict.cutoffs:
        about = {
            "horizon_days": cutoff.horizon_days,
            "cutoff": cutoff.day.isoformat(),
            "n_customers": len(cutoff.customers),
            "n_bought": int(cutoff.bought.sum()),
        }
        for name in verdict.figures:
            if name in cutoff.outputs:
                yield {**about, "predictor": name, **next(figures[name])}


def _curves(verdicts: Iterable[HorizonEvaluation]) -> dict[str, list[dict[str, Any]]]:
    spoke = [
        (name, [cutoff for cutoff in verdict.cutoffs if name in cutoff.outputs])
        for verdict in verdicts
        for name in verdict.figures
    ]
    return {
        "calibration": [calibration_row(cutoffs, predictor=name) for name, cutoffs in spoke],
        "gains": [gains_row(cutoffs, predictor=name) for name, cutoffs in spoke],
    }


def _list_comparison_record(contest: ListComparison, horizon_days: int, currency: str | None) -> dict[str, Any]:
    return {
        "model": contest.model,
        "best_rule": contest.rule,
        "rule": contest.rule_name,
        "gain": contest.gain.value,
        "gain_low": contest.gain.low,
        "gain_high": contest.gain.high,
        "available": contest.available,
        "horizon_days": horizon_days,
        "currency": currency,
    }


def _total_error_record(totals: TotalError) -> dict[str, Any]:
    return {
        "error": totals.error,
        "bias": totals.bias.value,
        "bias_low": totals.bias.low,
        "bias_high": totals.bias.high,
        "bias_by_cutoff": list(totals.by_cutoff),
    }


def to_json_values(value: Any) -> Any:
    """Make figures ready for JSON, which has no nan."""
    if isinstance(value, Mapping):
        return {key: to_json_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(part) for part in value]
    if isinstance(value, float):
        return round(float(value), _DIGITS) if math.isfinite(value) else None
    return value
