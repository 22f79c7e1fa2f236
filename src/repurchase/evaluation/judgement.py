"""From predictions made at earlier cut-offs to the evaluation that is kept, graded and shown.

Per horizon and cut-off every predictor is measured on the same customers. A horizon's figures are means over its
cut-offs, as each cut-off is one look at the future. Calibration is shown over all cut-offs together, gains curves as
the mean of the cut-offs' curves.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from repurchase.evaluation.comparison import Contest, Totals
from repurchase.evaluation.curves import calibration_row, gains_row
from repurchase.evaluation.cutoffs import MODEL, PARTS, RULES, cutoffs_at
from repurchase.evaluation.grade import RULE, Grade
from repurchase.evaluation.sentences import limits_of, reasons_of
from repurchase.evaluation.verdict import Verdict, verdict_on

__all__ = ["SCHEMA", "judge", "plain"]

SCHEMA = 1
PREFERRED_HORIZON_DAYS = 90
DIGITS = 6
UNJUDGED = Grade("-", "Not judged: the history is too short to hold back later orders.")


def judge(
    predictions: pl.DataFrame,
    *,
    primary_horizon_days: int | None = None,
    not_judged: Mapping[int, str] | None = None,
    currency: str | None = None,
) -> dict[str, Any]:
    """Judge a model by what came after each cut-off, beside the rules and its own parts.

    Parameters
    ----------
    predictions : DataFrame
        One row per horizon, cut-off, predictor and customer, in any order: ``horizon_days``, ``cutoff``,
        ``predictor`` (model, days_since_last, past_rate, btyd, boosting), ``customer``, ``p``, ``spend_expected``,
        ``bought``, ``spend``; ``purchase_days_expected`` and ``purchase_days`` where they are judged too.
        The model and at least one rule speak at every cut-off.
    primary_horizon_days : int, optional
        Horizon whose grade is the model's. Without it, or where it could not be judged: the one nearest to 90 days of
        those that have a grade, or else of those that were looked at.
    not_judged : mapping of int to str, optional
        Horizons that could not be judged, and why, as a clause.
    currency : str, optional
        As shown beside money.

    Returns
    -------
    dict
        The evaluation, JSON-able: undefined figures are None, shares have six digits. The same predictions give the
        same digits in any row order.

    Raises
    ------
    InputError
        If the predictions do not fit together.

    Examples
    --------
    >>> from datetime import date
    >>> bought = [number % 4 == 0 for number in range(200)]
    >>> sure = pl.DataFrame({"p": [0.9 if yes else 0.05 for yes in bought], "predictor": "model"})
    >>> vague = pl.DataFrame({"p": [0.25] * 200, "predictor": "past_rate"})
    >>> rows = pl.concat([sure, vague]).with_columns(
    ...     horizon_days=90, cutoff=date(2024, 1, 1), spend=None, spend_expected=None,
    ...     customer=pl.Series([*range(200)] * 2), bought=pl.Series(bought * 2),
    ... )
    >>> evaluation = judge(rows)
    >>> evaluation["grade"], round(evaluation["horizons"][0]["log_loss_gain"], 2)
    ('B', 0.88)
    >>> judge(rows.drop("bought"))
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: predictions: 1 of 8 columns are missing: bought.
    """
    days = sorted(predictions["horizon_days"].unique().to_list())
    verdicts = {h: verdict_on(cutoffs_at(predictions, horizon_days=h)) for h in days}
    why_not = {h: why for h, why in sorted((not_judged or {}).items()) if h not in verdicts}
    graded = [h for h, verdict in verdicts.items() if verdict.grade.letter != UNJUDGED.letter]
    primary = primary_horizon_days if primary_horizon_days in days else _nearest(graded or days)
    evaluation = {
        "schema": SCHEMA,
        "primary_horizon_days": primary,
        **_headline(verdicts.get(primary) if primary is not None else None, currency),
        "limits": limits_of(verdicts, why_not, primary=primary, asked=primary_horizon_days),
        "horizons": _horizons(verdicts, why_not),
        "backtest": [row for verdict in verdicts.values() for row in _rows(verdict)],
        **_curves(verdicts.values()),
    }
    return {key: plain(value) for key, value in evaluation.items()}


def _headline(verdict: Verdict | None, currency: str | None) -> dict[str, Any]:
    grade = verdict.grade if verdict else UNJUDGED
    return {
        "grade": grade.letter,
        "grade_words": grade.words,
        "rule": RULE,
        "best_rule": verdict.standing.best_rule if verdict else None,
        "reasons": reasons_of(verdict, currency=currency) if verdict else [],
        "buyers_top_decile": _contest(verdict.buyers, verdict.horizon_days, None) if verdict else None,
        "money_top_decile": (
            _contest(verdict.money, verdict.horizon_days, currency) if verdict and verdict.money else None
        ),
    }


def _nearest(judged: Sequence[int]) -> int | None:
    return min(judged, key=lambda h: (abs(h - PREFERRED_HORIZON_DAYS), h), default=None)


def _judged(verdict: Verdict) -> dict[str, Any]:
    standing = verdict.standing
    return {
        "horizon_days": verdict.horizon_days,
        "judged": True,
        "n_cutoffs": len(verdict.cutoffs),
        "grade": verdict.grade.letter,
        "grade_words": verdict.grade.words,
        "best_rule": standing.best_rule,
        "model": verdict.means(MODEL),
        "rules": {name: verdict.means(name) for name in RULES if name in verdict.figures},
        "parts": {name: verdict.means(name) for name in PARTS if name in verdict.figures},
        "log_loss_gain": verdict.gain.value,
        "log_loss_gain_low": verdict.gain.low,
        "log_loss_gain_high": verdict.gain.high,
        "log_loss_gain_by_cutoff": list(standing.gains_by_cutoff),
        "explained": standing.explained,
        "explained_by_best_rule": standing.rule_explained,
        "buyers_total": _totals(verdict.buyer_totals),
        "spend_total": _totals(verdict.spend_totals) if verdict.spend_totals else None,
        "why_not_judged": None,
    }


def _unjudged(horizon_days: int, why: str) -> dict[str, Any]:
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


def _horizons(verdicts: Mapping[int, Verdict], why_not: Mapping[int, str]) -> list[dict[str, Any]]:
    judged = {h: _judged(verdict) for h, verdict in verdicts.items()}
    unjudged = {h: _unjudged(h, why) for h, why in why_not.items()}
    return [horizon for _, horizon in sorted({**judged, **unjudged}.items())]


def _rows(verdict: Verdict) -> Iterator[dict[str, Any]]:
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


def _curves(verdicts: Iterable[Verdict]) -> dict[str, list[dict[str, Any]]]:
    spoke = [
        (name, [cutoff for cutoff in verdict.cutoffs if name in cutoff.said])
        for verdict in verdicts
        for name in verdict.figures
    ]
    return {
        "calibration": [calibration_row(cutoffs, predictor=name) for name, cutoffs in spoke],
        "gains": [gains_row(cutoffs, predictor=name) for name, cutoffs in spoke],
    }


def _contest(contest: Contest, horizon_days: int, currency: str | None) -> dict[str, Any]:
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


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "error": totals.error,
        "bias": totals.bias.value,
        "bias_low": totals.bias.low,
        "bias_high": totals.bias.high,
        "bias_by_cutoff": list(totals.by_cutoff),
    }


def plain(value: Any) -> Any:
    """Make figures ready for JSON, which has no nan.

    Parameters
    ----------
    value : Any
        Figures, in mappings and lists.

    Returns
    -------
    Any
        The same, undefined figures None, others rounded to six digits.

    Examples
    --------
    >>> plain({"log_loss": 0.32071234, "auc": [math.nan]})
    {'log_loss': 0.320712, 'auc': [None]}
    """
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return round(float(value), DIGITS) if math.isfinite(value) else None
    return value
