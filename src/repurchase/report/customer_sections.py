"""The page's tables and sentences about customers, as plain values for the template."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from repurchase.report.reading import Facts, in_order
from repurchase.report.words import count, counted, day, horizon, listed, money, share

__all__ = ["at_risk_rows", "band_rows", "headline", "horizons_in_words", "key_figures", "segment_rows", "top_customers"]

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
        text += f"; {at_risk} of the {everything} of money at risk is theirs"
    mark = facts.evaluation.get("grade")
    if not mark or mark == "-":
        return f"{text}. How good the predictions are has not been judged."
    days = facts.evaluation.get("primary_horizon_days")
    ahead = f" for {horizon(days)}" if days else ""
    return f"{text}. The predictions{ahead} earned grade {mark} on later orders."


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
        figures.append((money(_sum(scored, "value_at_risk"), facts.currency), "money at risk, to rank by"))
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
    known = facts.scored.with_columns(pl.col("risk_band").fill_null("no band"))
    rows = [_group(facts, known.filter(pl.col("risk_band") == band), band) for band in in_order(known["risk_band"])]
    for row in rows:
        risks = known.filter(pl.col("risk_band") == row["name"])[facts.risk_column].drop_nulls().to_list()
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
            "reasons": _by_direction([row[name] for name in ("reason_1", "reason_2", "reason_3") if row[name]]),
            "action": row["action"] or "–",
        }
        for row in top_customers(facts).iter_rows(named=True)
    ]


def _by_direction(reasons: Sequence[str]) -> list[str]:
    """Name each direction once, the one of the strongest reason first."""
    facts: dict[str, list[str]] = {}
    for reason in reasons:
        direction, colon, fact = reason.partition(": ")
        facts.setdefault(direction + colon, []).append(fact)
    return [direction + "; ".join(told) for direction, told in facts.items()]


def _ago(days: int | None) -> str:
    return "" if days is None else f"{counted(days, 'day')} before" if days else "on the last day"


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
