"""Cleaning, column reading, evaluation, provenance, and monitoring since scoring."""

from collections.abc import Mapping, Sequence
from typing import Any

from repurchase.i18n.catalogues import has_message
from repurchase.i18n.formatting import (
    NO_BREAK_SPACE,
    THIN_SPACE,
    format_count,
    format_day,
    format_decimal,
    format_money,
    format_share,
    join_list,
)
from repurchase.i18n.messages import (
    feature_name,
    format_horizon,
    format_quantity,
    message,
    predictor_name,
    render,
    translate,
)
from repurchase.orders.layout import render_fact, role_title
from repurchase.report.history_charts import cleaning_reason_name
from repurchase.report.prediction_charts import EVALUATION_PREDICTORS
from repurchase.storage.run_records import ScoredRun

_Row = dict[str, Any]


def reading_rows(orders: Mapping[str, Any]) -> _Row | None:
    """Say how an export was read, in the language that is spoken."""
    reading = orders.get("reading")
    if not reading or not reading["roles"]:
        return None
    return {
        "roles": [_role_row(role) for role in reading["roles"]],
        "ignored": [{"column": row["column"], "why": _fact_text(row["why"])} for row in reading["ignored"]],
    }


def _role_row(role: Mapping[str, Any]) -> _Row:
    considered = [row["column"] for row in role["rejected"] if row["why"]["key"] == "lower_rank"]
    reasons = [_fact_text(fact) for fact in role["evidence"] if fact["key"] != "single_lines"]  # its meaning says so
    if considered:
        reasons.append(translate("columns.considered", columns=", ".join(considered)))
    reasons += [
        translate("columns.rejected", column=row["column"], why=_fact_text(row["why"]))
        for row in role["rejected"]
        if row["why"]["key"] != "lower_rank"
    ]
    return {
        "name": role_title(role["role"]),
        "column": role["column"] or "",
        "meaning": _fact_text(role["meaning"]),
        "reasons": [reason for reason in reasons if reason],
    }


def _fact_text(fact: Mapping[str, Any]) -> str:
    return render_fact(fact["key"], fact["params"])


def intake_rows(cleaning: Mapping[str, Any]) -> _Row | None:
    """Lay out the rows of the export as a sum."""
    if not cleaning.get("n_raw"):
        return None
    n_raw, n_kept = int(cleaning["n_raw"]), int(cleaning.get("n_kept") or 0)
    reasons = [reason for reason in cleaning.get("reasons") or [] if reason["rows"] or reason.get("found")]
    taken = [int(reason["rows"]) for reason in reasons if reason["rows"]]
    holds = n_raw - sum(taken) == n_kept
    sum_in_words = (
        " − ".join(format_count(number) for number in [n_raw, *taken]) + f" = {format_count(n_raw - sum(taken))}"
    )
    return {
        "n_raw": format_count(n_raw),
        "n_kept": format_count(n_kept),
        "kept_part": format_share(n_kept / n_raw),
        "reasons": [_cleaning_reason_row(reason, n_raw) for reason in reasons],
        "sum": sum_in_words,
        "holds": holds,
        "notes": list(cleaning.get("notes") or []),
    }


def _cleaning_reason_row(reason: Mapping[str, Any], n_raw: int) -> _Row:
    rows, found = int(reason["rows"]), int(reason.get("found") or 0)
    treatment = "netted" if reason.get("treatment") == "netted" else "set_aside"
    return {
        "name": translate(f"intake.{treatment}", what=cleaning_reason_name(reason["reason"])),
        "words": reason.get("words") or "",
        "rows": format_count(rows),
        "part": format_share(rows / n_raw),
        "also": translate("intake.also", n=found - rows) if found > rows else "",
    }


def grade_section(evaluation: Mapping[str, Any]) -> _Row | None:
    """Take the grade with its reasons and limits as the evaluation gives them."""
    if not evaluation:
        return None
    mark, words = evaluation.get("grade"), evaluation.get("grade_words") or ""
    return {
        "mark": mark if mark and mark != "-" else "–",
        "meaning": translate(f"grade.{mark}") if isinstance(words, str) and has_message(f"grade.{mark}") else "",
        "words": words,
        "rule": evaluation.get("rule") or "",
        "reasons": list(evaluation.get("reasons") or []),
        "limits": list(evaluation.get("limits") or []),
        "money": _top_decile_text(evaluation.get("money_top_decile")),
    }


def _top_decile_text(best: Mapping[str, Any] | None) -> str:
    if not best or best.get("model") is None or best.get("best_rule") is None:
        return ""
    ours, rule = (format_money(best[key], best.get("currency")) for key in ("model", "best_rule"))
    return translate("trust.money", ours=ours, rule=rule)


def evaluation_rows(evaluation: Mapping[str, Any]) -> list[_Row]:
    """Write model and rules side by side, per horizon."""
    return [_horizon_rows(row) for row in evaluation.get("horizons") or []]


def _horizon_rows(row: Mapping[str, Any]) -> _Row:
    name = format_horizon(int(row["horizon_days"]))
    if not row.get("judged") or not row.get("model"):
        return {"name": name, "why_not": row.get("why_not_judged") or "", "predictors": []}
    metrics = {"model": row["model"], **(row.get("rules") or {})}
    return {
        "name": name,
        "why_not": "",
        "lead": _lead_text(row),
        "predictors": [_predictor_cells(key, metrics[key]) for key in EVALUATION_PREDICTORS if metrics.get(key)],
    }


def _lead_text(row: Mapping[str, Any]) -> list[str]:
    gain, n_cutoffs, mark = row.get("log_loss_gain"), row.get("n_cutoffs"), row.get("grade")
    says = [] if not mark or mark == "-" else [translate("trust.lead_grade", mark=mark)]
    if gain is not None:
        says.append(translate("trust.lead_lower" if gain > 0 else "trust.lead_higher", share=format_share(abs(gain))))
    if n_cutoffs:
        says.append(format_quantity(n_cutoffs, "cut-off"))
    return says


def _predictor_cells(key: str, metrics: Mapping[str, Any]) -> _Row:
    base, lift = metrics.get("base_rate"), metrics.get("top_decile_lift")
    return {
        "name": predictor_name(key),
        "is_model": key == "model",
        "log_loss": format_decimal(metrics.get("log_loss")),
        "auc": format_decimal(metrics.get("auc")),
        "miss": format_share(metrics.get("ece")),
        "top": format_share(None if base is None or lift is None else min(base * lift, 1.0)),
        "base": format_share(base),
    }


def provenance_rows(facts: ScoredRun) -> list[tuple[str, str]]:
    """Say which model, orders and software the page stands on."""
    orders = facts.run.get("orders") or {}
    versions = sorted(set(facts.scores["model_version"]))
    rows = [
        (translate("made.version"), join_list(versions)),
        (translate("made.up_to"), facts.as_of.isoformat() if facts.as_of else ""),
        (translate("made.from"), orders.get("source")),
        (translate("made.layout"), _layout_name(str(orders.get("layout") or ""))),
        (translate("made.digest"), orders.get("digest")),
        (translate("made.scored_at"), facts.run.get("created_at")),
        (
            translate("made.scored_by"),
            f"repurchase {facts.run['repurchase_version']}" if facts.run.get("repurchase_version") else "",
        ),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _layout_name(name: str) -> str:
    key = f"layout.{name}"
    return translate(key) if has_message(key) else name


_MAX_DRIFTED_SHOWN = 8


def monitoring_section(monitored: Mapping[str, Any], facts: ScoredRun) -> _Row | None:
    """Lay out what came of the scores on a page."""
    if not monitored:
        return None
    rows = [_monitoring_row(row, facts.currency) for row in monitored["horizons"]]
    return {
        "until": format_day(monitored["observed_until"]),
        "advice": monitored["advice"]["words"],
        "retrain": monitored["advice"]["retrain"],
        "rows": [row for row in rows if row["passed"]],
        "waiting": [row["words"] for row in rows if not row["passed"]],
        "ranges": _range_texts(monitored["ranges"]),
        "notes": list(monitored.get("notes") or []),
    }


def drift_section(facts: ScoredRun) -> _Row | None:
    """Lay out how the orders that were scored lie from those the model learned from."""
    drift = facts.run.get("drift") or {}
    if not drift:
        return None
    moved = [row for row in drift.get("features") or [] if row["level"] != "steady"]
    return {"words": drift["words"], "drifted": drift["drifted"], "rows": _drifted_feature_rows(moved)}


def monitoring_lines(monitored: Mapping[str, Any]) -> list[str]:
    """Report in lines what came after the scores."""
    customers, gone = monitored["customers"], monitored["customers"]["gone"]
    lines = [
        translate(
            "monitor_line.scores",
            as_of=monitored["as_of"],
            version=monitored["model_version"],
            until=monitored["observed_until"],
            customers=customers["compared"],
            gone=message("monitor_line.gone", gone=gone) if gone else "",
        )
    ]
    for row in monitored["horizons"]:
        lines.extend(
            _elapsed_horizon_lines(row, monitored.get("currency")) if row["passed"] else [_pending_horizon_text(row)]
        )
    lines.extend(_range_texts(monitored["ranges"]))
    lines.append(render(monitored["drift"]["words"]))
    lines.extend(translate("monitor_line.note", note=note) for note in monitored["notes"])
    lines.append(render(monitored["advice"]["words"]))
    return [line.replace(NO_BREAK_SPACE, " ").replace(THIN_SPACE, " ") for line in lines]


def _monitoring_row(row: Mapping[str, Any], currency: str | None) -> _Row:
    if not row["passed"]:
        return {"passed": False, "words": _pending_horizon_text(row)}
    model, then = row["model"], row.get("then") or {}
    return {
        "passed": True,
        "name": format_horizon(row["horizon_days"]),
        "customers": format_count(row["n_customers"]),
        "promised": format_share(row["p_mean"]),
        "came": format_share(row["bought_share"]),
        "miss": format_share(model["ece"]),
        "miss_then": format_share(then.get("ece")),
        "log_loss": format_decimal(model["log_loss"]),
        "rule_log_loss": format_decimal(_best_rule_loss(row)),
        "auc": format_decimal(model["auc"]),
        "auc_then": format_decimal(then.get("auc")),
        "grade": _grade_text(row["grade"]),
        "grade_then": _grade_text(then.get("grade")),
        "spend": _totals_text(row["spend"], currency),
    }


def _elapsed_horizon_lines(row: Mapping[str, Any], currency: str | None) -> list[str]:
    model, then, rule_loss = row["model"], row.get("then") or {}, _best_rule_loss(row)
    lines = [
        translate(
            "monitor_line.horizon",
            days=row["horizon_days"],
            predicted=row["p_mean"],
            bought=row["bought_share"],
            ece=model["ece"],
            excess_ece=model.get("excess_ece"),
            loss=model["log_loss"],
            auc=model["auc"],
            grade=_grade_text(row["grade"]),
            then=_in_training(then.get("ece") is not None and format_decimal(then["ece"])),
            grade_then=_in_training(then.get("grade") and _grade_text(then["grade"])),
            rule=message("monitor_line.best_rule", loss=rule_loss) if row["rules"] else "",
        )
    ]
    totals = [translate("monitor_line.orders", **row["orders"])]
    if row["spend"]:
        totals.append(translate("monitor_line.spend", totals=_totals_text(row["spend"], currency)))
    lines.append(f"  {'; '.join(totals)}.")
    if row["money_top_decile"]:
        lines.append(f"  {_top_decile_line(row['money_top_decile'], currency)}")
    return lines


def _in_training(value: Any) -> Any:
    return message("monitor_line.in_training", value=value) if value else ""


def _top_decile_line(found: Mapping[str, Any], currency: str | None) -> str:
    lists = [
        message(f"monitor_line.{name}", amount=_captured_money(found, name, currency))
        for name in ("by_expected_spend", "by_value_at_risk", "by_best_rule")
        if found.get(name) is not None
    ]
    return translate("monitor_line.top_decile", lists=lists)


def _captured_money(found: Mapping[str, Any], key: str, currency: str | None) -> str:
    available = found["available"]
    of = f" ({format_share(found[key] / available)})" if available > 0 else ""
    return f"{format_money(found[key], currency)}{of}"


def _totals_text(totals: Mapping[str, Any] | None, currency: str | None) -> str:
    if not totals:
        return ""
    came, expected = (format_money(totals[name], currency) for name in ("came", "expected"))
    return translate("since.beside", came=came, expected=expected)


def _best_rule_loss(row: Mapping[str, Any]) -> float | None:
    losses = [figures["log_loss"] for figures in row["rules"].values() if figures["log_loss"] is not None]
    return min(losses, default=None)


def _pending_horizon_text(row: Mapping[str, Any]) -> str:
    missing = format_quantity(row["days_missing"], "day")
    days = format_quantity(row["horizon_days"], "day")
    return translate("since.waiting", days=days, ends=format_day(row["ends"]), missing=missing)


def _range_texts(ranges: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = {"clv": "since.clv_range", "next_order": "since.next_range"}
    return [
        translate(name, share=format_share(ranges[key]["inside"]), n=ranges[key]["n"])
        for key, name in names.items()
        if ranges[key]["inside"] is not None
    ]


def _drifted_feature_rows(rows: Sequence[Mapping[str, Any]]) -> list[_Row]:
    return [
        {
            "name": feature_name(row["feature"]),
            "psi": format_decimal(row["psi"], 2),
            "usual": format_decimal(row["usual"], 2),
            "level": translate(f"drift_level.{row['level']}"),
        }
        for row in rows[:_MAX_DRIFTED_SHOWN]
    ]


def _grade_text(grade: str | None) -> str:
    return "–" if grade in {None, "-"} else str(grade)
