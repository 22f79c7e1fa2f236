"""Headline, key figures, risk bands and segments with their rules."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from repurchase.i18n.formatting import format_count, format_money, format_share, join_list
from repurchase.i18n.messages import (
    Message,
    format_horizon,
    format_quantity,
    format_within,
    message,
    render,
    translate,
    within_message,
)
from repurchase.marketing.segments import NO_HISTORY, REFILL
from repurchase.models.segments import (
    BEST,
    FIRST_TIME,
    HIGH_RISK,
    LOST,
    REGULAR,
    SEGMENTS,
    SLIPPING,
    WIN_BACK,
    SegmentThresholds,
)
from repurchase.report.record_texts import action_name, band_name, segment_name
from repurchase.storage.run_records import ScoredRun, order_risk_bands

RULE_ORDER: Mapping[str, str] = {
    NO_HISTORY: "no_history",
    LOST: "lost",
    FIRST_TIME: "first_time",
    SLIPPING: "slipping",
    BEST: "best",
    WIN_BACK: "win_back",
    REFILL: "refill",
    REGULAR: "regular",
}
"""Message keys, in the order of the rules in ``models.segments.label_segments`` and ``marketing.lists.list_rows``."""


class SegmentRuleTexts(NamedTuple):
    """The rules as messages."""

    intro: Message
    by_segment: dict[str, Message]


def segment_rule_texts(
    tiers: Mapping[str, Any] | None, *, has_money: bool, currency: str | None = None
) -> SegmentRuleTexts:
    """State the rules of the segments with the thresholds that a shop's model learned."""
    if not tiers:
        unknown = message("rule.unknown")
        return SegmentRuleTexts(unknown, dict.fromkeys(RULE_ORDER, unknown))
    own = SegmentThresholds.from_dict(dict(tiers))

    def worth(value: float) -> float | Message:
        return value if has_money else message("rule.orders", value=value)

    params = {
        "second": round(own.second_purchase_days),
        "within": within_message(own.risk_horizon_days),
        "p": own.worth_winning,
        "low": worth(own.worth_value),
        "high": worth(own.high_value),
        "currency": currency,
        "loyal": own.loyal_purchases,
        "risk": HIGH_RISK,
        "when": _second_purchase_message(own),
    }
    rules = {segment: message(f"rule.{key}", **params) for segment, key in RULE_ORDER.items()}
    return SegmentRuleTexts(message("rule.intro", second=params["second"], late=own.late_from), rules)


def _second_purchase_message(own: SegmentThresholds) -> Message:
    days = (own.second_purchase_from_days, own.second_purchase_median_days)
    if None in days:
        return message("rule.second")
    quarter, half = (within_message(round(day)) for day in days if day is not None)
    return message("rule.second_by_part", quarter=quarter, half=half)


_Row = dict[str, Any]


def headline(facts: ScoredRun) -> str:
    """Say in one sentence what a marketer should do first."""
    if not facts.scored.height:
        return translate("headline.nobody")
    slipping = facts.scored.filter(pl.col("segment") == SLIPPING)
    if not slipping.height:
        return f"{_at_high_risk(facts)}."
    text: str = translate("headline.slipping", n=slipping.height)
    if facts.has_money:
        text += translate(
            "headline.slipping_money", at_risk=format_money(_sum(slipping, "value_at_risk"), facts.currency)
        )
    return f"{text}."


def summary(facts: ScoredRun) -> str:
    """Say in two sentences how all customers stand, and how far to trust that."""
    if not facts.scored.height:
        return ""
    sentences = [f"{_at_high_risk(facts)}."] if SLIPPING in facts.scored["segment"] else []
    mark, days = facts.evaluation.get("grade"), facts.evaluation.get("primary_horizon_days")
    if not mark or mark == "-":
        sentences.append(translate("headline.not_judged"))
    elif days:
        sentences.append(translate("headline.graded_for", mark=mark, horizon=format_horizon(days)))
    else:
        sentences.append(translate("headline.graded", mark=mark))
    unchecked = {row.get("horizon_days") for row in facts.evaluation.get("horizons") or [] if not row.get("judged")}
    if facts.risk_days and facts.risk_days in unchecked:
        sentences.append(translate("headline.unchecked", horizon=format_horizon(facts.risk_days)))
    return " ".join(sentences)


def _at_high_risk(facts: ScoredRun) -> str:
    high = facts.scored.filter(pl.col("risk_band") == "high")
    everyone = format_quantity(facts.scored.height, "customer", form="of")
    text: str = translate("headline.risk", n=high.height, customers=everyone, ahead=_horizon_text(facts))
    if facts.has_money:
        at_risk = format_money(_sum(high, "value_at_risk"), facts.currency)
        text += translate(
            "headline.money",
            at_risk=at_risk,
            everything=format_money(_sum(facts.scored, "value_at_risk"), facts.currency),
        )
    return text


def _horizon_text(facts: ScoredRun) -> str:
    return f" {format_within(facts.risk_days)}" if facts.risk_days else ""


def key_figures(facts: ScoredRun) -> list[tuple[str, str]]:
    """Pick the few numbers that stand large at the top."""
    scored, days = facts.scored, facts.primary_days
    high = scored.filter(pl.col("risk_band") == "high")
    figures = [
        (format_count(scored.height), translate("key.scored")),
        (format_count(_sum(scored, f"p_repurchase_{days}d")), translate("key.buyers", within=format_within(days))),
        (format_count(high.height), translate("key.high", ahead=_horizon_text(facts))),
    ]
    if facts.has_money:
        figures.append((format_money(_sum(scored, "value_at_risk"), facts.currency), translate("key.at_risk")))
    figures.append((str(facts.evaluation.get("grade") or "–"), translate("key.grade")))
    return figures


def _sum(rows: pl.DataFrame, column: str) -> float:
    return float(rows[column].sum())


def band_rows(facts: ScoredRun) -> list[_Row]:
    """Sum up customers, expected buyers and money by risk band."""
    known = facts.scored.with_columns(pl.col("risk_band").fill_null("none"))
    rows = [
        _group(facts, known.filter(pl.col("risk_band") == band), band) for band in order_risk_bands(known["risk_band"])
    ]
    for row in rows:
        risks = known.filter(pl.col("risk_band") == row["key"])[facts.risk_column].drop_nulls().to_list()
        row["risk"] = (
            translate("risk.range_words", low=format_share(min(risks)), high=format_share(max(risks)))
            if risks
            else format_share(None)
        )
    rows += [{**_group(facts, known, "all"), "risk": ""}] if rows else []
    return [{**row, "name": band_name(row["key"])} for row in rows]


def _group(facts: ScoredRun, rows: pl.DataFrame, key: str) -> _Row:
    def in_money(column: str) -> str:
        return format_money(_sum(rows, column) if facts.has_money else None, facts.currency)

    return {
        "key": key,
        "customers": format_count(rows.height),
        "part": format_share(rows.height / max(facts.scored.height, 1)),
        "buyers": format_count(_sum(rows, f"p_repurchase_{facts.primary_days}d")),
        "spend": in_money(f"spend_expected_{facts.primary_days}d"),
        "clv": in_money("clv"),
        "at_risk": in_money("value_at_risk"),
    }


def segment_rows(facts: ScoredRun) -> list[_Row]:
    """Sum up customers, expected buyers and money by segment, with the action most often advised."""
    known = facts.scored.filter(pl.col("segment").is_not_null())
    there = set(known["segment"])
    rows = []
    for name in [*(name for name in SEGMENTS if name in there), *sorted(there - set(SEGMENTS))]:
        members = known.filter(pl.col("segment") == name)
        usual = members["action"].drop_nulls().value_counts().sort(["count", "action"], descending=[True, False])
        action = action_name(usual["action"][0]) if usual.height else "–"
        rows.append({**_group(facts, members, name), "name": segment_name(name), "action": action})
    return rows


def segment_rule_rows(facts: ScoredRun) -> _Row | None:
    """State the rules of the segments with the thresholds that this shop's model learned."""
    if not facts.run.get("tiers"):
        return None
    texts = segment_rule_texts(facts.run["tiers"], has_money=facts.has_money, currency=facts.currency)
    rules = [(segment_name(name), render(rule)) for name, rule in texts.by_segment.items()]
    return {"intro": render(texts.intro), "rules": rules}


def horizon_texts(facts: ScoredRun) -> str:
    """Name the days ahead that there are probabilities for."""
    return join_list([format_horizon(days) for days in facts.horizons])
