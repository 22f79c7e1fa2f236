"""The page's sentences and tables about groups of customers, as plain values for the template."""

from typing import Any

import polars as pl

from repurchase.estimators.tiers import SEGMENTS, SLIPPING
from repurchase.report.language import say
from repurchase.report.phrases import action_name, band_name, segment_name
from repurchase.report.reading import Facts, in_order
from repurchase.report.segment_rules import rules_told
from repurchase.report.words import count, counted, horizon, listed, money, share, within

__all__ = ["band_rows", "headline", "horizons_in_words", "key_figures", "segment_rows", "segment_rules", "summary"]

Row = dict[str, Any]


def headline(facts: Facts) -> str:
    """Say in one sentence what a marketer should do first.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    str
        Whom to reach first, and the money at risk; where nobody valuable is slipping, how many are at high risk.
    """
    if not facts.scored.height:
        return say("headline.nobody")
    slipping = facts.scored.filter(pl.col("segment") == SLIPPING)
    if not slipping.height:
        return f"{_at_high_risk(facts)}."
    text: str = say("headline.slipping", n=slipping.height)
    if facts.has_money:
        text += say("headline.slipping_money", at_risk=money(_sum(slipping, "value_at_risk"), facts.currency))
    return f"{text}."


def summary(facts: Facts) -> str:
    """Say in two sentences how all customers stand, and how far to trust that.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    str
        Those at high risk and the money at risk, unless the headline says so; the grade. Empty without customers.
    """
    if not facts.scored.height:
        return ""
    told = [f"{_at_high_risk(facts)}."] if SLIPPING in facts.scored["segment"] else []
    mark, days = facts.evaluation.get("grade"), facts.evaluation.get("primary_horizon_days")
    if not mark or mark == "-":
        told.append(say("headline.not_judged"))
    elif days:
        told.append(say("headline.graded_for", mark=mark, horizon=horizon(days)))
    else:
        told.append(say("headline.graded", mark=mark))
    unchecked = {row.get("horizon_days") for row in facts.evaluation.get("horizons") or [] if not row.get("judged")}
    if facts.risk_days and facts.risk_days in unchecked:
        told.append(say("headline.unchecked", horizon=horizon(facts.risk_days)))
    return " ".join(told)


def _at_high_risk(facts: Facts) -> str:
    high = facts.scored.filter(pl.col("risk_band") == "high")
    everyone = counted(facts.scored.height, "customer", form="of")
    text: str = say("headline.risk", n=high.height, customers=everyone, ahead=_ahead(facts))
    if facts.has_money:
        at_risk = money(_sum(high, "value_at_risk"), facts.currency)
        text += say(
            "headline.money", at_risk=at_risk, everything=money(_sum(facts.scored, "value_at_risk"), facts.currency)
        )
    return text


def _ahead(facts: Facts) -> str:
    return f" {within(facts.risk_days)}" if facts.risk_days else ""


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
        (count(scored.height), say("key.scored")),
        (count(_sum(scored, f"p_repurchase_{days}d")), say("key.buyers", within=within(days))),
        (count(high.height), say("key.high", ahead=_ahead(facts))),
    ]
    if facts.has_money:
        figures.append((money(_sum(scored, "value_at_risk"), facts.currency), say("key.at_risk")))
    figures.append((str(facts.evaluation.get("grade") or "–"), say("key.grade")))
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
    known = facts.scored.with_columns(pl.col("risk_band").fill_null("none"))
    rows = [_group(facts, known.filter(pl.col("risk_band") == band), band) for band in in_order(known["risk_band"])]
    for row in rows:
        risks = known.filter(pl.col("risk_band") == row["key"])[facts.risk_column].drop_nulls().to_list()
        row["risk"] = say("risk.range_words", low=share(min(risks)), high=share(max(risks))) if risks else share(None)
    rows += [{**_group(facts, known, "all"), "risk": ""}] if rows else []
    return [{**row, "name": band_name(row["key"])} for row in rows]


def _group(facts: Facts, rows: pl.DataFrame, key: str) -> Row:
    def in_money(column: str) -> str:
        return money(_sum(rows, column) if facts.has_money else None, facts.currency)

    return {
        "key": key,
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
        One row per segment, in the order in which an hour is best spent on them; unknown ones last.
    """
    known = facts.scored.filter(pl.col("segment").is_not_null())
    there = set(known["segment"])
    rows = []
    for name in [*(name for name in SEGMENTS if name in there), *sorted(there - set(SEGMENTS))]:
        members = known.filter(pl.col("segment") == name)
        usual = members["action"].drop_nulls().value_counts().sort(["count", "action"], descending=[True, False])
        action = action_name(usual["action"][0]) if usual.height else "–"
        rows.append({**_group(facts, members, name), "name": segment_name(name), "action": action})
    return rows


def segment_rules(facts: Facts) -> Row | None:
    """State the rules of the segments with the thresholds that this shop's model learned.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    dict, optional
        What "silent" means, and segment and rule in the order in which they are tried; None without thresholds.
    """
    if not facts.run.get("tiers"):
        return None
    told = rules_told(facts.run["tiers"], has_money=facts.has_money, currency=facts.currency)
    return {"intro": told.intro, "rules": [(segment_name(name), rule) for name, rule in told.by_segment.items()]}


def horizons_in_words(facts: Facts) -> str:
    """Name the days ahead that there are probabilities for.

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
