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
    GRADING_RULE,
    MIN_CUTOFFS_IF_ALWAYS_BETTER,
    Grade,
    HorizonEvaluation,
    evaluate_horizon,
    excess_ece,
    percent,
    shortfalls,
)

_MIN_JUDGED_CUSTOMERS = 1000
"""Below this many customers a cut-off, groups of a tenth are too small to trust."""
_MIN_JUDGED_BUYERS = 100
_MAX_BASE_RATE_RATIO = 1.2
"""Highest over lowest base rate of a horizon's cut-offs, from which the world is said to have moved."""
_ONE_YEAR_DAYS = 365


def _grade_reasons(verdict: HorizonEvaluation, *, currency: str | None = None) -> list[str]:
    """Say in figures why the grade is what it is."""
    sentences = [_lead(verdict), _btyd_alone(verdict), _by_cutoff(verdict), _calibration(verdict), _buyers(verdict)]
    if verdict.money:
        sentences.append(_money(verdict.money, currency))
    sentences.append(_total(verdict.buyer_totals, "The number of buyers"))
    if verdict.spend_totals:
        sentences.append(_total(verdict.spend_totals, "Spend"))
    missing = shortfalls(verdict.standing, GRADE_REQUIREMENTS[0])
    if verdict.grade.letter in "BC" and missing:
        sentences.append(f"What keeps it from an {GRADE_REQUIREMENTS[0].letter}: {'; '.join(missing)}.")
    return [sentence for sentence in sentences if sentence]


def _evaluation_limits(
    verdicts: Mapping[int, HorizonEvaluation], why_not: Mapping[int, str], *, primary: int | None, asked: int | None
) -> list[str]:
    """Say what the judgement cannot tell."""
    sentences = [f"{h} days ahead could not be judged: {_clause(why)}." for h, why in why_not.items()]
    if asked is not None and primary is not None and asked != primary:
        sentences.append(f"The grade is for {primary} days ahead, as {asked} days could not be judged.")
    for h, verdict in verdicts.items():
        if h != primary and verdict.grade.letter == "D":
            rule = RULE_NAMES[verdict.standing.best_rule]
            sentences.append(
                f"{h} days ahead the model is not shown to be better than a simple rule: use {rule} there."
            )
    if primary is not None and primary in verdicts:
        sentences += _of_the_data(verdicts[primary].cutoffs)
    return sentences


def _lead(verdict: HorizonEvaluation) -> str:
    standing, gain = verdict.standing, verdict.gain
    return (
        f"Of what is open about who buys within {verdict.horizon_days} days, the model explains "
        f"{_explained(standing.explained)} and the best rule ({RULE_NAMES[standing.best_rule]}) "
        f"{_explained(standing.rule_explained)}: "
        f"log loss {standing.model_loss:.4f} against {standing.rule_loss:.4f}, {_size(gain.value)} "
        f"(95 % interval {_range((gain.low, gain.high), 1)} saved)."
    )


def _btyd_alone(verdict: HorizonEvaluation) -> str:
    if BTYD not in verdict.figures:
        return ""
    return (
        f"The purchase-rate model alone (MBG/NBD) explains {_explained(verdict.explained(BTYD))}: "
        f"log loss {verdict.means(BTYD)['log_loss']:.4f}."
    )


def _explained(share: float) -> str:
    return percent(share, 1) if share > 0 else "nothing"


def _size(gain: float) -> str:
    return f"{percent(abs(gain), 1)} {'lower' if gain >= 0 else 'higher'}"


def _by_cutoff(verdict: HorizonEvaluation) -> str:
    gains = verdict.standing.gains_by_cutoff
    won = sum(gain > 0 for gain in gains)
    saved = f", saving {_range(gains, 1)} of log loss" if len(gains) > 1 else ""
    return f"It beat every rule at {won} of {_count(len(gains), 'cut-off')}{saved}."


def _calibration(verdict: HorizonEvaluation) -> str:
    ece, chance = verdict.standing.ece, verdict.standing.chance_ece
    beyond = excess_ece(ece, chance)
    return (
        f"Promised and actual share of buyers differ by {ece:.3f} on average over ten equal groups; with this many "
        f"customers chance alone makes {chance:.3f}, which leaves {beyond:.3f}."
    )


def _buyers(verdict: HorizonEvaluation) -> str:
    found, lift = verdict.buyers, verdict.means(MODEL)["top_decile_lift"]
    if not found.available > 0:
        return ""
    return (
        f"The top {percent(CONTACTED_SHARE)} of its list hold {lift:.1f} times the buyers of a random "
        f"list: {found.model:,.0f} of "
        f"{found.available:,.0f}, {_against(found, '')}."
    )


def _money(found: ListComparison, currency: str | None) -> str:
    if not found.available > 0:
        return ""
    unit = f" {currency}" if currency else ""
    return (
        f"Contacting the top {percent(CONTACTED_SHARE)} by expected spend would have reached customers who spent "
        f"{found.model:,.0f}{unit} ({percent(found.model / found.available)} of all), {_against(found, unit)}."
    )


def _against(found: ListComparison, unit: str) -> str:
    return (
        f"against {found.rule:,.0f}{unit} with the best rule ({RULE_NAMES[found.rule_name]}): {found.gain.value:+,.0f}"
        f"{unit} (95 % interval {found.gain.low:+,.0f} to {found.gain.high:+,.0f})"
    )


def _total(totals: TotalError, what: str) -> str:
    bias, judged = totals.bias, totals.defined
    if not judged:
        return ""
    seen = f"{_range(judged)} at {len(judged)} cut-offs; " if len(judged) > 1 else ""
    return (
        f"{what} in total: expect an error of {percent(totals.error)}; so far the model promised "
        f"{percent(abs(bias.value))} {'more' if bias.value >= 0 else 'less'} than came "
        f"({seen}95 % interval {_range((bias.low, bias.high))})."
    )


def _of_the_data(cutoffs: Sequence[Cutoff]) -> list[str]:
    sentences = (_few_customers(cutoffs), _few_cutoffs(cutoffs), _overlap(cutoffs), _season(cutoffs), _moved(cutoffs))
    return [sentence for sentence in sentences if sentence]


def _few_customers(cutoffs: Sequence[Cutoff]) -> str:
    customers = min(len(cutoff.customers) for cutoff in cutoffs)
    buyers = min(int(cutoff.bought.sum()) for cutoff in cutoffs)
    if customers >= _MIN_JUDGED_CUSTOMERS and buyers >= _MIN_JUDGED_BUYERS:
        return ""
    return f"Few to judge by: {customers:,} customers and {buyers:,} buyers at a cut-off, so the intervals are wide."


def _few_cutoffs(cutoffs: Sequence[Cutoff]) -> str:
    if len(cutoffs) >= MIN_CUTOFFS_IF_ALWAYS_BETTER:
        return ""
    return f"Judged at {_count(len(cutoffs), 'cut-off')} only: how much the figures vary over time is not known."


def _overlap(cutoffs: Sequence[Cutoff]) -> str:
    steps = [(after.day - before.day).days for before, after in pairwise(cutoffs)]
    if not steps or min(steps) >= cutoffs[0].horizon_days:
        return ""
    return (
        f"The {len(cutoffs)} cut-offs lie {min(steps)} days apart and look {cutoffs[0].horizon_days} days ahead: "
        "they share outcomes and are less than as many independent draws."
    )


def _season(cutoffs: Sequence[Cutoff]) -> str:
    first, last = cutoffs[0].day, cutoffs[-1].day + timedelta(days=cutoffs[0].horizon_days)
    if (last - first).days >= _ONE_YEAR_DAYS:
        return ""
    return (
        f"The outcomes judged lie between {first + timedelta(days=1)} and {last}, {(last - first).days} days: how the "
        "model does in the rest of the year was not seen."
    )


def _moved(cutoffs: Sequence[Cutoff]) -> str:
    """Tell of a base rate that moved by more than its size and chance allow."""
    rates = sorted((float(cutoff.bought.mean()), len(cutoff.bought)) for cutoff in cutoffs)
    (low, n_low), (high, n_high) = rates[0], rates[-1]
    chance = math.sqrt(low * (1 - low) / n_low + high * (1 - high) / n_high)
    if high <= _MAX_BASE_RATE_RATIO * low or high - low <= 2 * chance:
        return ""
    return (
        f"The share that bought lay between {percent(low, 1)} and {percent(high, 1)} (season, growth or campaigns): "
        "probabilities may be off again when it moves next."
    )


def _range(shares: Sequence[float], digits: int = 0) -> str:
    low, high = (percent(end(shares), digits, signed=True) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _clause(words: str) -> str:
    return words.strip().rstrip(".")


_EVALUATION_SCHEMA = 1
_PREFERRED_HORIZON_DAYS = 90
_DIGITS = 6
_NOT_GRADED = Grade("-", "Not judged: the history is too short to hold back later orders.")


def summarise_evaluation(
    predictions: pl.DataFrame,
    *,
    primary_horizon_days: int | None = None,
    not_judged: Mapping[int, str] | None = None,
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
        "grade_words": grade.words,
        "rule": GRADING_RULE,
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
        "grade_words": verdict.grade.words,
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


def _unjudged_horizon(horizon_days: int, why: str) -> dict[str, Any]:
    return {
        "horizon_days": horizon_days,
        "judged": False,
        "n_cutoffs": 0,
        "grade": "-",
        "grade_words": f"Not judged: {why}",
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


def _horizon_records(verdicts: Mapping[int, HorizonEvaluation], why_not: Mapping[int, str]) -> list[dict[str, Any]]:
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
            if name in cutoff.said:
                yield {**about, "predictor": name, **next(figures[name])}


def _curves(verdicts: Iterable[HorizonEvaluation]) -> dict[str, list[dict[str, Any]]]:
    spoke = [
        (name, [cutoff for cutoff in verdict.cutoffs if name in cutoff.said])
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
    if isinstance(value, list):
        return [to_json_values(part) for part in value]
    if isinstance(value, float):
        return round(float(value), _DIGITS) if math.isfinite(value) else None
    return value
