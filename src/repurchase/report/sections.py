"""The page's tables and sentences, as plain values for the template."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from repurchase.report.evaluation_figures import SHOWN
from repurchase.report.reading import Facts, in_order
from repurchase.report.words import count, counted, day, decimal, horizon, listed, money, named, share

__all__ = [
    "at_risk_rows",
    "band_rows",
    "evaluation_rows",
    "grade",
    "headline",
    "horizons_in_words",
    "intake_rows",
    "key_figures",
    "measure_rows",
    "provenance",
    "segment_rows",
    "top_customers",
]

TOP_CUSTOMERS = 50
Row = dict[str, Any]


def headline(facts: Facts) -> str:
    """Say the whole page in one sentence or two.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    str
        Customers, those at high risk, the money at risk, the grade.
    """
    customers = facts.scored.height
    if not customers:
        return "None of the customers asked for has a purchase to learn from, so there is nothing to predict."
    high = facts.scored.filter(pl.col("risk_band") == "high")
    verb = "is" if high.height == 1 else "are"
    text = f"Of {counted(customers, 'customer')}, {count(high.height)} {verb} at high risk of not buying again"
    text += _ahead(facts)
    if facts.has_money:
        at_risk = money(float(high["value_at_risk"].sum()), facts.currency)
        everything = money(float(facts.scored["value_at_risk"].sum()), facts.currency)
        text += f"; {at_risk} of the {everything} at risk is theirs"
    mark = facts.evaluation.get("grade")
    if not mark or mark == "-":
        return f"{text}. How good the predictions are has not been judged."
    return f"{text}. The predictions earned grade {mark} on later orders."


def _ahead(facts: Facts) -> str:
    return f" within {horizon(facts.risk_days)}" if facts.risk_days else ""


def key_figures(facts: Facts) -> list[tuple[str, str]]:
    """Pick the few numbers that stand large at the top.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of (str, str)
        Number and what it is.
    """
    scored, days = facts.scored, facts.primary_days
    high = scored.filter(pl.col("risk_band") == "high")
    figures = [
        (count(scored.height), "customers scored"),
        (count(_sum(scored, f"p_repurchase_{days}d")), f"expected to buy within {horizon(days)}"),
        (count(high.height), f"at high risk of not buying{_ahead(facts)}"),
    ]
    if facts.has_money:
        figures.append((money(_sum(scored, "value_at_risk"), facts.currency), "expected spending at risk"))
    figures.append((str(facts.evaluation.get("grade") or "–"), "grade of the predictions"))
    return figures


def _sum(rows: pl.DataFrame, column: str) -> float:
    return float(rows[column].sum())


def band_rows(facts: Facts) -> list[Row]:
    """Sum up customers, expected buyers and money by risk band.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of dict
        One row per band, high first, and their total.
    """
    days = facts.risk_days or facts.primary_days
    known = facts.scored.with_columns(pl.col("risk_band").fill_null("no band"))
    rows = [_group(facts, known.filter(pl.col("risk_band") == band), band) for band in in_order(known["risk_band"])]
    for row in rows:
        risks = known.filter(pl.col("risk_band") == row["name"])[f"churn_risk_{days}d"].drop_nulls().to_list()
        row["risk"] = f"{share(min(risks))} to {share(max(risks))}" if risks else share(None)
    return [*rows, {**_group(facts, known, "all"), "risk": ""}] if rows else []


def _group(facts: Facts, rows: pl.DataFrame, name: str) -> Row:
    def in_money(column: str) -> str:
        return money(_sum(rows, column) if facts.has_money else None, facts.currency)

    return {
        "name": name,
        "customers": count(rows.height),
        "part": share(rows.height / max(facts.scored.height, 1)),
        "buyers": count(_sum(rows, f"p_repurchase_{facts.primary_days}d")),
        "spend": in_money(f"spend_expected_{facts.primary_days}d"),
        "clv": in_money("clv"),
        "at_risk": in_money("value_at_risk"),
    }


def segment_rows(facts: Facts) -> list[Row]:
    """Sum up customers, expected buyers and money by segment, with the action most often advised.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of dict
        One row per segment, most money at risk (or customers) first.
    """
    known = facts.scored.filter(pl.col("segment").is_not_null())
    order = pl.col("value_at_risk").sum() if facts.has_money else pl.len()
    names = known.group_by("segment").agg(order=order).sort(["order", "segment"], descending=[True, False])["segment"]
    rows = []
    for name in names:
        members = known.filter(pl.col("segment") == name)
        usual = members["action"].drop_nulls().value_counts().sort(["count", "action"], descending=[True, False])
        rows.append({**_group(facts, members, name), "action": usual["action"][0] if usual.height else "–"})
    return rows


def top_customers(facts: Facts) -> pl.DataFrame:
    """Pick the customers with the most to lose.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    DataFrame
        At most 50 rows of the scores: most money at risk first; without money, the most purchases among those at
        high risk.
    """
    if facts.has_money:
        known = facts.scored.filter(pl.col("value_at_risk") > 0)
        return known.sort(["value_at_risk", "customer_id"], descending=[True, False]).head(TOP_CUSTOMERS)
    known = facts.scored.filter(pl.col("risk_band") == "high")
    return known.sort(["frequency", "customer_id"], descending=[True, False]).head(TOP_CUSTOMERS)


def at_risk_rows(facts: Facts) -> list[Row]:
    """Write the customers with the most to lose, with reasons and action.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    list of dict
        One row per customer.
    """
    return [
        {
            "customer": row["customer_id"],
            "segment": row["segment"] or "–",
            "band": row["risk_band"] or "–",
            "last": day(row["last_order_date"], short=True),
            "silent": _ago(row["days_since_last"]),
            "orders": count(row["orders"]),
            "p": share(row[f"p_repurchase_{facts.primary_days}d"]),
            "clv": money(row["clv"], facts.currency),
            "at_risk": money(row["value_at_risk"], facts.currency),
            "reasons": [row[name] for name in ("reason_1", "reason_2", "reason_3") if row[name]],
            "action": row["action"] or "–",
        }
        for row in top_customers(facts).iter_rows(named=True)
    ]


def _ago(days: int | None) -> str:
    return "" if days is None else f"{counted(days, 'day')} before" if days else "on the last day"


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


def horizons_in_words(facts: Facts) -> str:
    """List the horizons.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    str
        Such as "30 days, 90 days and a year".
    """
    return listed([horizon(days) for days in facts.horizons])


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
