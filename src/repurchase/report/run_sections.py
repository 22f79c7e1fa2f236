"""The page's tables and sentences about the run: what came in, how good the predictions are, and from what."""

from collections.abc import Mapping
from typing import Any

from repurchase.report.evaluation_figures import SHOWN
from repurchase.report.history_figures import reason_name
from repurchase.report.language import is_known, say
from repurchase.report.reading import Facts
from repurchase.report.retold import retold
from repurchase.report.words import count, counted, decimal, horizon, listed, money, named, share

__all__ = ["evaluation_rows", "grade", "intake_rows", "provenance"]

Row = dict[str, Any]


def intake_rows(cleaning: Mapping[str, Any]) -> Row | None:
    """Lay out the rows of the export as a sum.

    Parameters
    ----------
    cleaning : mapping
        The cleaning report.

    Returns
    -------
    dict, optional
        Rows read, each reason, rows used, and the sum in words; None without a report.
    """
    if not cleaning.get("n_raw"):
        return None
    n_raw, n_kept = int(cleaning["n_raw"]), int(cleaning.get("n_kept") or 0)
    reasons = [reason for reason in cleaning.get("reasons") or [] if reason["rows"] or reason.get("found")]
    taken = [int(reason["rows"]) for reason in reasons if reason["rows"]]
    holds = n_raw - sum(taken) == n_kept
    sum_in_words = " − ".join(count(number) for number in [n_raw, *taken]) + f" = {count(n_raw - sum(taken))}"
    return {
        "n_raw": count(n_raw),
        "n_kept": count(n_kept),
        "kept_part": share(n_kept / n_raw),
        "reasons": [_reason(reason, n_raw) for reason in reasons],
        "sum": sum_in_words,
        "holds": holds,
        "notes": list(cleaning.get("notes") or []),
    }


def _reason(reason: Mapping[str, Any], n_raw: int) -> Row:
    rows, found = int(reason["rows"]), int(reason.get("found") or 0)
    treatment = "netted" if reason.get("treatment") == "netted" else "set_aside"
    return {
        "name": say(f"intake.{treatment}", what=reason_name(reason["reason"])),
        "words": reason.get("words") or "",
        "rows": count(rows),
        "part": share(rows / n_raw),
        "also": say("intake.also", n=found - rows) if found > rows else "",
    }


def grade(evaluation: Mapping[str, Any]) -> Row | None:
    """Take the grade with its reasons and limits as the evaluation gives them.

    Parameters
    ----------
    evaluation : mapping
        The evaluation.

    Returns
    -------
    dict, optional
        None without an evaluation.
    """
    if not evaluation:
        return None
    mark, words = evaluation.get("grade"), evaluation.get("grade_words") or ""
    return {
        "mark": mark if mark and mark != "-" else "–",
        "meaning": say(f"grade.{mark}") if retold(words) is None and is_known(f"grade.{mark}") else "",
        "words": words,
        "rule": evaluation.get("rule") or "",
        "reasons": list(evaluation.get("reasons") or []),
        "limits": list(evaluation.get("limits") or []),
        "money": _top_decile_words(evaluation.get("money_top_decile")),
    }


def _top_decile_words(best: Mapping[str, Any] | None) -> str:
    if not best or best.get("model") is None or best.get("best_rule") is None:
        return ""
    ours, rule = (money(best[key], best.get("currency")) for key in ("model", "best_rule"))
    return say("trust.money", ours=ours, rule=rule)


def evaluation_rows(evaluation: Mapping[str, Any]) -> list[Row]:
    """Write model and rules side by side, per horizon.

    Parameters
    ----------
    evaluation : mapping
        The evaluation.

    Returns
    -------
    list of dict
        Per horizon its predictors, or why it was not judged.
    """
    return [_horizon_rows(row) for row in evaluation.get("horizons") or []]


def _horizon_rows(row: Mapping[str, Any]) -> Row:
    name = horizon(int(row["horizon_days"]))
    if not row.get("judged") or not row.get("model"):
        return {"name": name, "why_not": row.get("why_not_judged") or "", "predictors": []}
    metrics = {"model": row["model"], **(row.get("rules") or {})}
    return {
        "name": name,
        "why_not": "",
        "lead": _lead(row),
        "predictors": [_predictor(key, metrics[key]) for key in SHOWN if metrics.get(key)],
    }


def _lead(row: Mapping[str, Any]) -> list[str]:
    gain, n_cutoffs, mark = row.get("log_loss_gain"), row.get("n_cutoffs"), row.get("grade")
    says = [] if not mark or mark == "-" else [say("trust.lead_grade", mark=mark)]
    if gain is not None:
        says.append(say("trust.lead_lower" if gain > 0 else "trust.lead_higher", share=share(abs(gain))))
    if n_cutoffs:
        says.append(counted(n_cutoffs, "cut-off"))
    return says


def _predictor(key: str, metrics: Mapping[str, Any]) -> Row:
    base, lift = metrics.get("base_rate"), metrics.get("top_decile_lift")
    return {
        "name": named(key),
        "is_model": key == "model",
        "log_loss": decimal(metrics.get("log_loss")),
        "auc": decimal(metrics.get("auc")),
        "miss": share(metrics.get("ece")),
        "top": share(None if base is None or lift is None else min(base * lift, 1.0)),
        "base": share(base),
    }


def provenance(facts: Facts) -> list[tuple[str, str]]:
    """Say which model, orders and software the page stands on.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of (str, str)
        Name and value, of what is known.
    """
    orders = facts.run.get("orders") or {}
    versions = sorted(set(facts.scores["model_version"]))
    rows = [
        (say("made.version"), listed(versions)),
        (say("made.up_to"), facts.as_of.isoformat() if facts.as_of else ""),
        (say("made.from"), orders.get("source")),
        (say("made.layout"), retold(str(orders.get("layout") or "")) or orders.get("layout")),
        (say("made.digest"), orders.get("digest")),
        (say("made.scored_at"), facts.run.get("created_at")),
        (
            say("made.scored_by"),
            f"repurchase {facts.run['repurchase_version']}" if facts.run.get("repurchase_version") else "",
        ),
    ]
    return [(name, str(value)) for name, value in rows if value]
