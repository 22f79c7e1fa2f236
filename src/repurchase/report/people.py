"""The list of customers: as values for the page's script, and the first of them as rows for who reads without it."""

import json
from datetime import date
from typing import Any

import polars as pl

from repurchase.estimators.tiers import SLIPPING
from repurchase.marketing.lists import AT_RISK
from repurchase.report.language import catalogue, fact, locale, say
from repurchase.report.phrases import action_name, band_name, reason_parts, segment_name
from repurchase.report.purchases import Bought, purchase_data
from repurchase.report.reading import BANDS, Facts
from repurchase.report.words import MONTHS, NOTHING, SYMBOLS, count, day, money, share, within

__all__ = ["MOST_LISTED", "MOST_SHOWN", "list_data", "list_words", "listed_customers", "shown_rows"]

MOST_LISTED, MOST_SHOWN = 50_000, 50
REASONS = ("reason_1", "reason_2", "reason_3")
Row = dict[str, Any]


def listed_customers(facts: Facts) -> pl.DataFrame:
    """Put the customers into the order of the list.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    DataFrame
        At most 50,000 rows of the scores: most money at risk first; without money, those at high risk first, the most
        purchases first.
    """
    if facts.has_money:
        worth = pl.col("value_at_risk").fill_null(-1.0)
        ordered = facts.scored.sort([worth, "customer_id"], descending=[True, False])
    else:
        band = pl.col("risk_band").replace_strict({name: i for i, name in enumerate(BANDS)}, default=len(BANDS))
        ordered = facts.scored.sort([band, "frequency", "customer_id"], descending=[False, True, False])
    return ordered.head(MOST_LISTED)


def shown_rows(facts: Facts, listed: pl.DataFrame) -> list[Row]:
    """Write the first customers of the list, with reasons and action.

    Parameters
    ----------
    facts : Facts
        Scores and run.
    listed : DataFrame
        From `listed_customers`.

    Returns
    -------
    list of dict
        At most 50 rows.
    """
    return [
        {
            "customer": row["customer_id"],
            "segment": segment_name(row["segment"]) if row["segment"] else NOTHING,
            "band": row["risk_band"] or "",
            "risk": band_name(row["risk_band"]) if row["risk_band"] else NOTHING,
            "last": day(row["last_order_date"], short=True),
            "silent": _ago(row["days_since_last"]),
            "orders": count(row["frequency"] + 1),
            "p": share(_to_places(row[f"p_repurchase_{facts.primary_days}d"])),
            "clv": money(row["clv"], facts.currency),
            "at_risk": money(row["value_at_risk"], facts.currency),
            "reasons": [*_beyond(row), *_told([row[name] for name in REASONS if row[name]])],
            "action": action_name(row["action"]) if row["action"] else NOTHING,
        }
        for row in listed.head(MOST_SHOWN).iter_rows(named=True)
    ]


def _to_places(p: float | None) -> float | None:
    """Round as in `list_data`, so that both write the same."""
    return None if p is None else round(p * 10_000) / 10_000


def _ago(days: int | None) -> str:
    if days is None:
        return NOTHING
    return say("time.today") if days == 0 else say("time.days_ago", n=days)


def _beyond(row: Row) -> list[str]:
    """Say beside which rhythm a customer is silent, where they stand in their segment for it and no reason says so."""
    if row["segment"] not in AT_RISK or not row["frequency"] or any(_tells_rhythm(row[name]) for name in REASONS):
        return []
    gap = max(int(row["recency_days"] / row["frequency"] + 0.5), 1)
    beyond = say("people.beyond", silent=say("n.day", n=row["days_since_last"]))
    # The rule goes by the customer's usual gap, of which the scores tell no more than the mean.
    if gap >= row["days_since_last"]:
        return [beyond]
    return [say("people.beyond_average", beyond=beyond, every=say("phrase.every.day", n=gap))]


def _tells_rhythm(reason: str | None) -> bool:
    return "usually every" in (reason or "")


def _told(reasons: list[str]) -> list[str]:
    """Name each direction once, the one of the strongest reason first."""
    facts: dict[str, list[str]] = {}
    for reason in reasons:
        side, told = reason_parts(reason)
        facts.setdefault(side, []).append(told)
    return [say(f"reason.{side}", told="; ".join(told)) if side else "; ".join(told) for side, told in facts.items()]


def list_data(facts: Facts, listed: pl.DataFrame, bought: Bought | None = None) -> str:
    """Pack the list for the page's script.

    Parameters
    ----------
    facts : Facts
        Scores and run.
    listed : DataFrame
        From `listed_customers`.
    bought : Bought, optional
        What the orders tell beyond the scores.

    Returns
    -------
    str
        JSON that may stand inside HTML: a column per fact, texts once each; with orders, see `purchase_data`.
    """
    as_of = facts.as_of or date.min
    reasons, told, rhythm = _coded_reasons(listed)
    segments, segment = _coded(listed["segment"], segment_name)
    known = listed["segment"].drop_nulls().unique(maintain_order=True).to_list()
    actions, action = _coded(listed["action"], action_name)
    bands, band = _coded(listed["risk_band"], band_name)
    day_of = {
        "first": "first_order_date", "last": "last_order_date", "due": "next_order_date",
        "low": "next_order_date_low", "high": "next_order_date_high",
    }  # fmt: skip
    columns: dict[str, Any] = {
        "id": listed["customer_id"].to_list(),
        "segment": segment,
        "band": band,
        "action": action,
        "days": (listed["frequency"] + 1).to_list(),
        "p": (listed[f"p_repurchase_{facts.primary_days}d"] * 10_000).round().cast(pl.Int64).to_list(),
        **{name: (listed[column] - as_of).dt.total_days().to_list() for name, column in day_of.items()},
        "reasons": told,
    }
    if facts.has_money:
        money_of = {"clv": "clv", "risk": "value_at_risk", "spent": "spend_total"}
        columns |= {name: listed[column].round().cast(pl.Int64).to_list() for name, column in money_of.items()}
    packed = {
        "asOf": as_of.isoformat(),
        "segments": segments,
        "silent": [place for place, name in enumerate(known) if name in AT_RISK],
        "first": known.index(SLIPPING) if SLIPPING in known else None,
        "bands": bands,
        "bandKeys": listed["risk_band"].drop_nulls().unique(maintain_order=True).to_list(),
        "actions": actions,
        "facts": reasons,
        "rhythm": rhythm,
        "columns": columns,
    }
    return in_html(packed if bought is None else packed | purchase_data(bought, listed, as_of=as_of))


def in_html(value: object) -> str:
    r"""Write JSON that may stand in a ``<script>`` element.

    Parameters
    ----------
    value : object
        JSON-able.

    Returns
    -------
    str
        Without the signs that end an element or begin a comment.

    Examples
    --------
    >>> in_html(["</script>"])
    '["\\u003c/script>"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _coded(column: pl.Series, name: Any) -> tuple[list[str], list[int | None]]:
    """Texts, each once in the language that is spoken, and for every row its place among them."""
    texts = column.drop_nulls().unique(maintain_order=True).to_list()
    places = {text: place for place, text in enumerate(texts)}
    return [name(text) for text in texts], [None if text is None else places[text] for text in column.to_list()]


def _coded_reasons(listed: pl.DataFrame) -> tuple[list[str], list[list[int]], list[int]]:
    """Facts, each once; per row thrice a fact's place, plus one if it raises the risk, else two; facts of a rhythm."""
    places: dict[str, int] = {}
    code: dict[str | None, int] = {}
    for reason in (
        pl.concat([listed[name].alias("reason") for name in REASONS]).drop_nulls().unique(maintain_order=True)
    ):
        side, told = reason_parts(reason)
        code[reason] = 3 * places.setdefault(told, len(places)) + ("", "raises", "lowers").index(side)
    rows = listed.select(REASONS).iter_rows()
    rhythm = sorted({code[reason] // 3 for reason in code if _tells_rhythm(reason)})
    return list(places), [[code[reason] for reason in row if reason] for row in rows], rhythm


def list_words(facts: Facts) -> str:
    """Pack what the page's script says, and how it writes numbers and days.

    Parameters
    ----------
    facts : Facts
        Scores and run.

    Returns
    -------
    str
        JSON that may stand inside HTML.
    """
    sections = ("people", "story", "reason", "number", "date", "time")
    spoken = catalogue(locale())
    texts = {key: text for key, text in spoken.items() if key.split(".")[0] in sections and isinstance(text, str)}
    plurals = {
        key: spoken[key] for key in ("n.day", "phrase.every.day", "time.days_ago", "story.earlier", "story.table")
    }
    currency = facts.currency
    told = {
        "locale": locale(),
        "texts": texts,
        "plurals": plurals,
        "months": [fact(f"month.short.{name}") for name in MONTHS],
        "sign": SYMBOLS.get(currency, currency) if currency else "",
        "within": within(facts.primary_days),
        "clvWithin": within(facts.clv_days),
        "pages": MOST_SHOWN,
    }
    return in_html(told)
