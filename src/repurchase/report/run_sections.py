"""The page's tables and sentences about the run: what came in, repeat business, how good, and from what."""

from collections.abc import Mapping
from typing import Any

from repurchase.report.evaluation_figures import SHOWN
from repurchase.report.reading import Facts
from repurchase.report.words import count, counted, decimal, horizon, listed, money, named, share

__all__ = ["evaluation_rows", "grade", "intake_rows", "measure_rows", "provenance"]

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
    return {
        "name": reason["reason"].replace("_", " "),
        "words": reason.get("words") or "",
        "treatment": "netted" if reason.get("treatment") == "netted" else "set aside",
        "rows": count(rows),
        "part": share(rows / n_raw),
        "also": f"{count(found - rows)} more show this too and are counted under another reason"
        if found > rows
        else "",
    }


def measure_rows(facts: Facts) -> list[tuple[str, str, str]]:
    """Write the measures of repeat business.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of (str, str, str)
        Measure, value, and how it is made.
    """
    m = facts.measures
    if not m:
        return []
    customers = count(m.get("n_customers"))
    rows = [
        (
            "Repeat purchase rate",
            share(m.get("repeat_purchase_rate")),
            f"customers with a second purchase day, of all {customers}",
        )
    ]
    observed = m.get("repeat_within_observed") or {}
    for days, part in (m.get("repeat_within") or {}).items():
        of = f", of the {count(observed[days])} watched that long" if days in observed else ""
        rows.append((f"Came back within {horizon(int(days))}", share(part), f"of the first purchase{of}"))
    median, within = m.get("median_days_to_second"), m.get("median_within_days")
    if median is not None and within:
        how = f"half of those who came back within {horizon(within)} had done so by then"
        rows.append(("Time to second purchase", f"{count(median)} days", how))
    kept = [row for row in m.get("monthly") or [] if row.get("retention") is not None]
    if kept:
        how = "bought in the 90 days before the last 90, and again in the last 90"
        rows.append(("Customers kept", share(kept[-1]["retention"]), how))
        rows.append(("Customers lost", share(1 - kept[-1]["retention"]), "the complement of customers kept"))
    if m.get("returning_sales_share") is not None:
        how = f"of {money(m.get('sales_total'), facts.currency)} net sales, made after a customer's first purchase day"
        rows.append(("Sales from returning customers", share(m["returning_sales_share"]), how))
    return rows


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
    mark = evaluation.get("grade")
    return {
        "mark": mark if mark and mark != "-" else "–",
        "words": evaluation.get("grade_words") or "The predictions were not judged.",
        "rule": evaluation.get("rule") or "",
        "reasons": list(evaluation.get("reasons") or []),
        "limits": list(evaluation.get("limits") or []),
        "money": _top_decile_words(evaluation.get("money_top_decile")),
    }


def _top_decile_words(best: Mapping[str, Any] | None) -> str:
    if not best or best.get("model") is None or best.get("best_rule") is None:
        return ""
    ours, rule = (money(best[key], best.get("currency")) for key in ("model", "best_rule"))
    return (
        f"The tenth of customers that the model would contact first spent {ours} in the judged periods; "
        f"the tenth that the best rule would contact first, {rule}."
    )


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
        return {"name": name, "why_not": row.get("why_not_judged") or "not judged", "predictors": []}
    metrics = {"model": row["model"], **(row.get("rules") or {})}
    return {
        "name": name,
        "why_not": "",
        "lead": _lead(row),
        "predictors": [_predictor(key, metrics[key]) for key in SHOWN if metrics.get(key)],
    }


def _lead(row: Mapping[str, Any]) -> list[str]:
    gain, n_cutoffs, mark = row.get("log_loss_gain"), row.get("n_cutoffs"), row.get("grade")
    says = [] if not mark or mark == "-" else [f"grade {mark}"]
    if gain is not None:
        says.append(f"log loss {share(abs(gain))} {'lower' if gain > 0 else 'higher'} than the best rule's")
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
        ("Model version", listed(versions)),
        ("Orders up to", facts.as_of.isoformat() if facts.as_of else ""),
        ("Orders from", orders.get("source")),
        ("Layout", orders.get("layout")),
        ("Digest of the orders", orders.get("digest")),
        ("Scored at", facts.run.get("created_at")),
        ("Scored by", f"repurchase {facts.run['repurchase_version']}" if facts.run.get("repurchase_version") else ""),
    ]
    return [(name, str(value)) for name, value in rows if value]
