"""What came of scores since they were delivered, and how the orders drifted: for the page and for the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from repurchase.report.language import locale, say
from repurchase.report.reading import Facts
from repurchase.report.words import count, counted, day, decimal, horizon, money, share

__all__ = ["drift_part", "since_lines", "since_part"]

Row = dict[str, Any]

DRIFTED_SHOWN = 8


def since_part(monitored: Mapping[str, Any], facts: Facts) -> Row | None:
    """Lay out what came of the scores on a page.

    Parameters
    ----------
    monitored : mapping
        What `repurchase monitor` wrote beside the scores; empty where it did not.
    facts : Facts
        The scores.

    Returns
    -------
    dict, optional
        The advice, a row per horizon, ranges and notes; None without a record.
    """
    if not monitored:
        return None
    rows = [_row(row, facts.currency) for row in monitored["horizons"]]
    return {
        "until": day(monitored["observed_until"]),
        "advice": monitored["advice"]["words"],
        "retrain": monitored["advice"]["retrain"],
        "rows": [row for row in rows if row["passed"]],
        "waiting": [row["words"] for row in rows if not row["passed"]],
        "ranges": _range_words(monitored["ranges"]),
        "notes": list(monitored.get("notes") or []),
    }


def drift_part(facts: Facts) -> Row | None:
    """Lay out how the orders that were scored lie from those the model learned from.

    Parameters
    ----------
    facts : Facts
        The scores and the record of their run.

    Returns
    -------
    dict, optional
        A sentence, and the features that moved most; None where the record does not say.
    """
    drift = facts.run.get("drift") or {}
    if not drift:
        return None
    moved = [row for row in drift.get("features") or [] if row["level"] != "steady"]
    return {"words": drift["words"], "drifted": drift["drifted"], "rows": _features(moved)}


def since_lines(monitored: Mapping[str, Any]) -> list[str]:
    """Say in lines what came of the scores.

    Parameters
    ----------
    monitored : mapping
        What `repurchase monitor` writes.

    Returns
    -------
    list of str
        A line on each horizon, the ranges, drift, the notes, and last whether to train again.
    """
    customers, version = monitored["customers"], monitored["model_version"]
    lines = [
        f"Scores of {monitored['as_of']} by version {version}, beside orders up to {monitored['observed_until']}: "
        f"{counted(customers['compared'], 'customer')} compared"
        + (f", {count(customers['gone'])} no longer in the orders." if customers["gone"] else ".")
    ]
    for row in monitored["horizons"]:
        lines.extend(_passed_lines(row, monitored.get("currency")) if row["passed"] else [_waiting(row)])
    lines.extend(_range_words(monitored["ranges"]))
    lines.append(monitored["drift"]["words"])
    lines.extend(f"Note: {words}." for words in monitored["notes"])
    lines.append(monitored["advice"]["words"])
    return [line.replace("\u202f", " ") for line in lines]


def _row(row: Mapping[str, Any], currency: str | None) -> Row:
    if not row["passed"]:
        return {"passed": False, "words": _waiting(row)}
    model, then = row["model"], row.get("then") or {}
    return {
        "passed": True,
        "name": horizon(row["horizon_days"]),
        "customers": count(row["n_customers"]),
        "promised": share(row["p_mean"]),
        "came": share(row["bought_share"]),
        "miss": share(model["ece"]),
        "miss_then": share(then.get("ece")),
        "log_loss": decimal(model["log_loss"]),
        "rule_log_loss": decimal(_best(row)),
        "auc": decimal(model["auc"]),
        "auc_then": decimal(then.get("auc")),
        "grade": _mark(row["grade"]),
        "grade_then": _mark(then.get("grade")),
        "spend": _beside(row["spend"], currency),
    }


def _passed_lines(row: Mapping[str, Any], currency: str | None) -> list[str]:
    model, then, days = row["model"], row.get("then") or {}, row["horizon_days"]
    reference = f" ({decimal(then['ece'])} in training)" if then.get("ece") is not None else ""
    rule = f", best rule {decimal(_best(row), 4)}" if row["rules"] else ""
    lines = [
        f"{days} days ahead: {share(row['p_mean'])} promised to buy, {share(row['bought_share'])} came; calibration "
        f"error {decimal(model['ece'])}{reference}, {decimal(model['excess_ece'])} beyond chance; log loss "
        f"{decimal(model['log_loss'], 4)}{rule}; AUC {decimal(model['auc'])}; grade {_mark(row['grade'])}"
        + (f" ({_mark(then['grade'])} in training)." if then.get("grade") else ".")
    ]
    totals = [f"{count(row['orders']['came'])} purchase days of {count(row['orders']['expected'])} expected"]
    if row["spend"]:
        totals.append(f"spend {_beside(row['spend'], currency)}")
    lines.append(f"  {'; '.join(totals)}.")
    if row["money_top_decile"]:
        lines.append(f"  {_top_decile(row['money_top_decile'], currency)}")
    return lines


def _top_decile(found: Mapping[str, Any], currency: str | None) -> str:
    said = [f"by expected spend brought {_part(found, 'by_expected_spend', currency)}"]
    if found["by_value_at_risk"] is not None:
        said.append(f"by value at risk {_part(found, 'by_value_at_risk', currency)}")
    if found["by_best_rule"] is not None:
        said.append(f"by the best rule {_part(found, 'by_best_rule', currency)}")
    return f"The tenth of customers ranked first {', '.join(said)} of what came."


def _part(found: Mapping[str, Any], key: str, currency: str | None) -> str:
    available = found["available"]
    of = f" ({share(found[key] / available)})" if available > 0 else ""
    return f"{money(found[key], currency)}{of}"


def _beside(totals: Mapping[str, Any] | None, currency: str | None) -> str:
    if not totals:
        return ""
    came, expected = (money(totals[name], currency) for name in ("came", "expected"))
    return say("since.beside", came=came, expected=expected)


def _best(row: Mapping[str, Any]) -> float | None:
    losses = [figures["log_loss"] for figures in row["rules"].values() if figures["log_loss"] is not None]
    return min(losses, default=None)


def _waiting(row: Mapping[str, Any]) -> str:
    missing = counted(row["days_missing"], "day")
    ends = row["ends"] if locale() == "en" else day(row["ends"])  # English keeps the record's own form
    return say("since.waiting", days=counted(row["horizon_days"], "day"), ends=ends, missing=missing)


def _range_words(ranges: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = {"clv": "since.clv_range", "next_order": "since.next_range"}
    return [
        say(name, share=share(ranges[key]["inside"]), n=ranges[key]["n"])
        for key, name in names.items()
        if ranges[key]["inside"] is not None
    ]


def _features(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        {
            "name": row["feature"].replace("_", " "),
            "psi": decimal(row["psi"], 2),
            "usual": decimal(row["usual"], 2),
            "level": row["level"],
        }
        for row in rows[:DRIFTED_SHOWN]
    ]


def _mark(grade: str | None) -> str:
    return "–" if grade in {None, "-"} else str(grade)
