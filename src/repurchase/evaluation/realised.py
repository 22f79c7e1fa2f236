"""Realised outcomes of delivered scores, and whether to retrain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.evaluation.comparison import CONTACTED_SHARE, MODEL, Cutoff, PredictorOutput, fit_rules
from repurchase.evaluation.grade import HorizonEvaluation, evaluate_horizon, excess_ece, predictor_metrics
from repurchase.evaluation.metrics import estimate_with_interval, exact_sum, top_total
from repurchase.features.history import Floats, Outcomes
from repurchase.features.ledger import Ledger
from repurchase.i18n.messages import Message, message
from repurchase.models.snapshots import Snapshots

_MAX_CALIBRATION_ERROR = 0.04
"""Calibration error less random variation from which a model is to be trained again: what grade B allows."""
MAX_AGE_DAYS = 180
_GRADE_ORDER = "ABCD"
_BEST_GRADE_AT_ONE_CUTOFF = "B"
"""An A asks for three cut-offs; scores that were delivered once are one."""
_COMPARED_METRICS = ("log_loss", "auc", "ece", "chance_ece", "base_rate", "top_decile_lift")


def training_reference(evaluation: Mapping[str, Any], *, horizon_days: int) -> dict[str, Any] | None:
    """Take from a training's evaluation what a horizon of its scores is compared with."""
    for row in evaluation.get("horizons") or []:
        if row.get("horizon_days") == horizon_days and row.get("judged") and row.get("model"):
            figures = {name: row["model"].get(name) for name in _COMPARED_METRICS}
            return {"grade": row.get("grade"), "log_loss_gain": row.get("log_loss_gain"), **figures}
    return None


def retraining_advice(
    horizons: Sequence[Mapping[str, Any]],
    *,
    drift: Mapping[str, Any],
    age_days: int,
    primary_horizon_days: int | None = None,
    max_age_days: int = MAX_AGE_DAYS,
) -> dict[str, Any]:
    """Say whether to train again.

    Reasons are: probabilities that were off by 0.04 more than random variation explains at a horizon that has passed;
    a grade that fell by more than chance at the horizon the model is graded on; drifted orders; and age.
    """
    passed = [row for row in horizons if row["passed"]]
    reasons = [
        *_calibration_reasons(passed),
        *_grade_reasons(passed, primary_horizon_days),
        *_drift_reasons(drift),
        *_age_reasons(age_days, max_age_days),
    ]
    advice = "advice.train" if reasons else "advice.keep"
    shown = [reason for _, reason in reasons] or _reasons_to_keep(passed, horizons, drift, age_days)
    return {
        "retrain": bool(reasons),
        "reasons": [{"kind": kind, "words": reason} for kind, reason in reasons],
        "words": message(advice, reasons=shown),
    }


def _calibration_reasons(passed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Message]]:
    for row in passed:
        off = row["model"]["excess_ece"]
        if off > _MAX_CALIBRATION_ERROR:
            days, predicted, bought = row["horizon_days"], row["p_mean"], row["bought_share"]
            figures = {"days": days, "excess_ece": off, "predicted": predicted, "bought": bought}
            yield "calibration", message("advice_reason.calibration", **figures)


def _grade_reasons(passed: Sequence[Mapping[str, Any]], primary: int | None) -> Iterator[tuple[str, Message]]:
    judged = [row for row in passed if row["grade"] in _GRADE_ORDER]
    own = [row for row in judged if row["horizon_days"] == primary] or judged[-1:]
    for row in own:
        then = row.get("then") or {}
        if then.get("grade") not in list(_GRADE_ORDER) or then.get("log_loss_gain") is None:
            continue
        expected = max(then["grade"], _BEST_GRADE_AT_ONE_CUTOFF)
        if row["grade"] > expected and row["log_loss_gain_high"] < then["log_loss_gain"]:
            yield (
                "grade",
                message(
                    "advice_reason.grade",
                    days=row["horizon_days"],
                    grade=row["grade"],
                    grade_then=then["grade"],
                    gain=row["log_loss_gain"],
                    gain_then=then["log_loss_gain"],
                ),
            )


def _drift_reasons(drift: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    if drift["drifted"]:
        yield "drift", message("advice_reason.drift", **drift["words"]["params"])


def _age_reasons(age_days: int, most: int) -> Iterator[tuple[str, Message]]:
    if age_days > most:
        yield "age", message("advice_reason.age", days=age_days, allowed=most)


def _reasons_to_keep(
    passed: Sequence[Mapping[str, Any]], horizons: Sequence[Mapping[str, Any]], drift: Mapping[str, Any], age_days: int
) -> list[Message]:
    reasons = []
    if passed:
        ahead = [row["horizon_days"] for row in passed]
        reasons.append(message("advice_keep.calibrated", horizons=ahead, allowed=_MAX_CALIBRATION_ERROR))
    elif horizons:
        reasons.append(message("advice_keep.not_passed", first=min(row["ends"] for row in horizons)))
    if drift.get("known"):
        reasons.append(message("advice_keep.steady"))
    return [*reasons, message("advice_keep.age", days=age_days) if age_days > 0 else message("advice_keep.newest")]


_NEXT_ORDER_DAYS = 365
"""A next order is dated if one is to be expected within so many days (see ``models.timing``)."""
_MIN_MATCHED_SHARE = 0.5
"""Share of the scored customers that the orders must know, or they are not the same shop's whole log."""
_RANGE_COVERAGE = 0.80


@dataclass(frozen=True)
class DeliveredScores:
    """Delivered scores joined with the orders known by now."""

    scores: pl.DataFrame
    customer: npt.NDArray[np.int64]
    ledger: Ledger
    as_of: date
    n_gone: int

    def ends(self, horizon_days: int) -> date:
        """Last day of a window."""
        return self.as_of + timedelta(days=horizon_days)

    def has_passed(self, horizon_days: int) -> bool:
        """Whether all of a window is known."""
        return self.ends(horizon_days) <= self.ledger.observed_until

    def outcomes(self, horizon_days: int) -> Outcomes:
        """Outcomes of the scored customers."""
        history = self.ledger.history(self.as_of)
        return self.ledger.outcomes(
            history.take(np.flatnonzero(np.isin(history.customer, self.customer))), horizon_days=horizon_days
        )

    def column(self, name: str) -> Floats | None:
        """A column of the scores, None unless it is complete."""
        if name not in self.scores.columns or self.scores[name].null_count():
            return None
        return self.scores[name].to_numpy().astype(np.float64)


def match_scores(scores: pl.DataFrame, ledger: Ledger, *, as_of: date) -> DeliveredScores:
    """Join scores with the orders."""
    scored = scores.filter(pl.col("status") == "scored")
    if not scored.height:
        raise InputError("The scores hold no scored customer: there is nothing to compare.")
    known = ledger.history(as_of).customer
    codes = pl.DataFrame({"customer_id": ledger.ids.gather(known), "customer": known})
    found = scored.join(codes, on="customer_id", how="inner").sort("customer")
    if found.height < _MIN_MATCHED_SHARE * scored.height:
        raise InputError(
            f"The orders know {found.height:,} of {scored.height:,} scored customers by {as_of}. Send the whole log of "
            "the same shop, with the orders before that day."
        )
    return DeliveredScores(
        found.drop("customer"), found["customer"].to_numpy(), ledger, as_of, n_gone=scored.height - found.height
    )


def evaluate_delivered(delivered: DeliveredScores, *, horizon_days: int) -> dict[str, Any]:
    """Evaluate one horizon of the scores by its outcomes."""
    about = {"horizon_days": horizon_days, "ends": delivered.ends(horizon_days).isoformat()}
    if not delivered.has_passed(horizon_days):
        missing = (delivered.ends(horizon_days) - delivered.ledger.observed_until).days
        return {**about, "passed": False, "days_missing": missing}
    outcome = delivered.outcomes(horizon_days)
    cutoff = _delivered_cutoff(delivered, outcome, horizon_days)
    rules = [name for name in cutoff.outputs if name != MODEL]
    verdict = evaluate_horizon([cutoff]) if rules else None
    return {
        **about,
        "passed": True,
        "n_customers": len(cutoff.bought),
        "n_bought": int(cutoff.bought.sum()),
        **_predicted_and_actual(cutoff),
        "model": _metrics_of(cutoff, MODEL),
        "rules": {name: _metrics_of(cutoff, name) for name in rules},
        "orders": _spend_totals(delivered.column(f"orders_expected_{horizon_days}d"), outcome.purchase_days),
        "spend": _spend_totals(cutoff.outputs[MODEL].spend, cutoff.spend),
        "money_top_decile": _top_decile_spend(delivered, cutoff, verdict),
        **_grade_record(verdict),
    }


def range_coverage(delivered: DeliveredScores, *, clv_horizon_days: int) -> dict[str, dict[str, Any]]:
    """Share of outcomes inside the stated 80 % ranges.

    Money is counted as it was spent, not discounted; money given back counts as none spent. The next order is judged
    among those for whom one was dated and who came back within a year: until a year has passed, only the early ones
    would be seen.
    """
    ranges = {"clv": (clv_horizon_days, _clv_inside), "next_order": (_NEXT_ORDER_DAYS, _next_order_inside)}
    found: dict[str, dict[str, Any]] = {}
    for name, (days, judge) in ranges.items():
        about = {
            "ends": delivered.ends(days).isoformat(),
            "passed": delivered.has_passed(days),
            "promised": _RANGE_COVERAGE,
        }
        inside = judge(delivered, delivered.outcomes(days)) if about["passed"] else None
        counted = inside is not None and len(inside) > 0
        found[name] = {
            **about,
            "n": len(inside) if inside is not None and counted else 0,
            "inside": float(inside.mean()) if inside is not None and counted else None,
        }
    return found


def _delivered_cutoff(delivered: DeliveredScores, outcome: Outcomes, horizon_days: int) -> Cutoff:
    p = delivered.column(f"p_repurchase_{horizon_days}d")
    if p is None:
        raise InputError(f"The scores lack probabilities for {horizon_days} days. Send what `repurchase score` wrote.")
    spend = outcome.spend if delivered.ledger.has_amounts else None
    expected = delivered.column(f"spend_expected_{horizon_days}d")
    outputs = {MODEL: PredictorOutput(p, expected if spend is not None else None)}
    return Cutoff(
        day=delivered.as_of,
        horizon_days=horizon_days,
        customers=delivered.customer,
        bought=outcome.bought,
        spend=spend,
        outputs={**outputs, **_rule_outputs(delivered, horizon_days)},
    )


def _rule_outputs(delivered: DeliveredScores, horizon_days: int) -> dict[str, PredictorOutput]:
    """Fit the rules on what was known on the day of the scores; none where nothing was known of earlier windows."""
    snapshots = Snapshots(delivered.ledger.until(delivered.as_of), horizons=(horizon_days,))
    rules, _ = fit_rules(snapshots, delivered.as_of, horizon_days=horizon_days)
    now = snapshots.at(delivered.as_of)
    if not np.isin(delivered.customer, now.history.customer).all():
        return {}
    index = np.searchsorted(now.history.customer, delivered.customer)
    return {name: PredictorOutput(rule.p_purchase(now)[index], None) for name, rule in rules.items()}


def _metrics_of(cutoff: Cutoff, predictor: str) -> dict[str, float]:
    figures = predictor_metrics(cutoff, predictor=predictor)
    return {**figures, "excess_ece": excess_ece(figures["ece"], figures["chance_ece"])}


def _predicted_and_actual(cutoff: Cutoff) -> dict[str, float]:
    p, n = cutoff.outputs[MODEL].p, len(cutoff.bought)
    gap = p - cutoff.bought
    mean_gap = exact_sum(gap) / n
    off = estimate_with_interval(mean_gap, [(gap - mean_gap) / n], [cutoff.customers])
    return {
        "p_mean": exact_sum(p) / n,
        "bought_share": float(cutoff.bought.mean()),
        "p_mean_off": off.value,
        "p_mean_off_low": off.low,
        "p_mean_off_high": off.high,
    }


def _spend_totals(expected: Floats | None, came: npt.ArrayLike | None) -> dict[str, float] | None:
    if expected is None or came is None:
        return None
    return {"expected": exact_sum(expected), "came": exact_sum(np.asarray(came, dtype=np.float64))}


def _top_decile_spend(
    delivered: DeliveredScores, cutoff: Cutoff, verdict: HorizonEvaluation | None
) -> dict[str, Any] | None:
    """What the customers spent that a list of a tenth would have reached, by each of the lists a shop may make."""
    if cutoff.spend is None:
        return None
    by_value = delivered.column("value_at_risk")
    contest = verdict.money if verdict else None
    return {
        "contacted": CONTACTED_SHARE,
        "available": exact_sum(cutoff.spend),
        "by_expected_spend": top_total(cutoff.spend, cutoff.outputs[MODEL].spend_order, share=CONTACTED_SHARE),
        "by_value_at_risk": None if by_value is None else top_total(cutoff.spend, by_value, share=CONTACTED_SHARE),
        "by_best_rule": contest.rule if contest else None,
        "best_rule": contest.rule_name if contest else None,
    }


def _grade_record(verdict: HorizonEvaluation | None) -> dict[str, Any]:
    if verdict is None:
        return {
            "grade": "-",
            "grade_words": message("verdict.no_window"),
            "best_rule": None,
            "log_loss_gain": None,
            "log_loss_gain_low": None,
            "log_loss_gain_high": None,
        }
    return {
        "grade": verdict.grade.letter,
        "grade_words": verdict.grade.message,
        "best_rule": verdict.standing.best_rule,
        "log_loss_gain": verdict.gain.value,
        "log_loss_gain_low": verdict.gain.low,
        "log_loss_gain_high": verdict.gain.high,
    }


def _clv_inside(delivered: DeliveredScores, outcome: Outcomes) -> npt.NDArray[np.bool_] | None:
    low, high = (delivered.column(name) for name in ("clv_low", "clv_high"))
    if low is None or high is None or not delivered.ledger.has_amounts:
        return None
    spent = np.maximum(outcome.spend, 0.0)
    return np.asarray((spent >= low) & (spent <= high))


def _next_order_inside(delivered: DeliveredScores, outcome: Outcomes) -> npt.NDArray[np.bool_] | None:
    low, high = (_days_ahead(delivered, name) for name in ("next_order_date_low", "next_order_date_high"))
    judged = ~np.isnan(low) & ~np.isnan(high) & ~np.isnan(outcome.wait_days)
    wait = outcome.wait_days[judged]
    return np.asarray((wait >= low[judged]) & (wait <= high[judged]))


def _days_ahead(delivered: DeliveredScores, name: str) -> Floats:
    days = delivered.scores.select((pl.col(name) - pl.lit(delivered.as_of)).dt.total_days().cast(pl.Float64))
    return np.asarray(days.to_series().fill_null(np.nan).to_numpy(), dtype=np.float64)
