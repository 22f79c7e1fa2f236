"""Customer list and product data for the page and its script."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from repurchase.i18n.catalogues import active_locale, babel_locale, load_catalogue
from repurchase.i18n.formatting import (
    NO_VALUE,
    format_count,
    format_day,
    format_decimal,
    format_money,
    format_share,
    month_names,
    number_templates,
)
from repurchase.i18n.messages import format_quantity, format_within, translate
from repurchase.marketing.lists import AT_RISK
from repurchase.marketing.products import RELATION_KEYS
from repurchase.models.segments import SLIPPING
from repurchase.report.record_texts import action_name, band_name, segment_name, split_reason
from repurchase.storage.run_records import RISK_BANDS, ScoredRun

_Row = dict[str, Any]


_MAX_DAYS_DRAWN, MAX_MARKS = 200, 500_000
"""Purchase days that are drawn of one customer, and on the whole page."""
_DAY_LIMITS = (100, 50, 25, 10)


@dataclass(frozen=True)
class PurchaseDetails:
    """What orders tell; plain tables."""

    days: pl.DataFrame
    earlier: Mapping[str, int] = field(default_factory=dict)
    products: pl.DataFrame | None = None
    due: pl.DataFrame | None = None
    within_days: int = 30
    changed: bool = False


def max_days_drawn(purchases: pl.Series) -> int:
    """Say how many purchase days of one customer may be drawn, so that the page stays of a size that can be sent."""
    fitting = (
        most for most in (_MAX_DAYS_DRAWN, *_DAY_LIMITS) if int(purchases.clip(upper_bound=most).sum()) <= MAX_MARKS
    )
    return next(fitting, _DAY_LIMITS[-1])


def purchase_day_data(bought: PurchaseDetails, listed: pl.DataFrame, *, as_of: date) -> _Row:
    """Pack purchases and refills for the page's script."""
    places = listed.select("customer_id").with_row_index("place")
    days = bought.days.join(places, on="customer_id").sort("place", "day", descending=[False, True])
    ago = (pl.lit(as_of) - pl.col("day")).dt.total_days()
    back = days.select(ago - ago.shift(1).over("place").fill_null(0)).to_series()
    counts = days.group_by("place").agg(n=pl.len())
    n = places.join(counts, on="place", how="left", maintain_order="left")["n"].fill_null(0)
    at = dict(places.select("customer_id", "place").iter_rows())
    has_money = bool(days["money"].is_not_null().any())
    packed = {
        "n": n.to_list(),
        "back": back.to_list(),
        "money": days["money"].fill_null(0.0).round().cast(pl.Int64).to_list() if has_money else None,
        "earlier": {str(at[who]): number for who, number in bought.earlier.items() if who in at},
    }
    return {"bought": packed, **_due_data(bought, at, as_of)}


def _due_data(bought: PurchaseDetails, at: Mapping[str, int], as_of: date) -> _Row:
    if bought.due is None:
        return {"due": [], "goods": []}
    goods: dict[str, int] = {}
    products: list[list[str]] = []
    rows: list[list[int]] = []
    for row in bought.due.iter_rows(named=True):
        if row["customer_id"] not in at:
            continue
        if row["product_id"] not in goods:
            goods[row["product_id"]] = len(products)
            products.append([row["name"], _goes_with_sentence(row)])
        days = ((row[f"refill_{end}"] - as_of).days for end in ("on", "low", "high"))
        rows.append([at[row["customer_id"]], goods[row["product_id"]], *days])
    return {"due": rows, "goods": products}


def _relation_text(name: str | None) -> str:
    return translate(f"products.{RELATION_KEYS[name]}") if name is not None and name in RELATION_KEYS else ""


def _goes_with_sentence(row: Mapping[str, Any]) -> str:
    if row["goes_with"] is None:
        return ""
    return translate(
        "products.goes_with_sentence",
        product=row["goes_with"],
        relation=_relation_text(row["relation"]),
        share=format_share(row["share"]),
        lift=format_decimal(row["lift"], 1),
        customers=format_quantity(row["support"], "customer"),
    )


def product_rows(bought: PurchaseDetails | None) -> list[_Row]:
    """Write the table of products."""
    if bought is None or bought.products is None:
        return []
    return [
        {
            "name": row["name"],
            "customers": format_count(row["customers"]),
            "again": translate(
                "products.again_words", share=format_share(row["share_again"]), number=format_count(row["again"])
            ),
            "usual": format_quantity(round(row["median_days"]), "day"),
            "half": translate(
                "products.half", low=format_count(round(row["low_days"])), high=format_count(round(row["high_days"]))
            ),
            "due": format_count(row["due"]),
            "goes_with": row["goes_with"] or NO_VALUE,
            "how": _companion_text(row),
        }
        for row in bought.products.iter_rows(named=True)
    ]


def _companion_text(row: Mapping[str, Any]) -> str:
    if row["goes_with"] is None:
        return ""
    return translate(
        "products.goes_with_words",
        relation=_relation_text(row["relation"]),
        lift=format_decimal(row["lift"], 1),
        customers=format_quantity(row["support"], "customer"),
    )


MAX_LISTED, _MAX_SHOWN = 50_000, 50
_REASON_COLUMNS = ("reason_1", "reason_2", "reason_3")


def listed_customers(facts: ScoredRun) -> pl.DataFrame:
    """Put the customers into the order of the list."""
    if facts.has_money:
        worth = pl.col("value_at_risk").fill_null(-1.0)
        ordered = facts.scored.sort([worth, "customer_id"], descending=[True, False])
    else:
        band = pl.col("risk_band").replace_strict(
            {name: i for i, name in enumerate(RISK_BANDS)}, default=len(RISK_BANDS)
        )
        ordered = facts.scored.sort([band, "frequency", "customer_id"], descending=[False, True, False])
    return ordered.head(MAX_LISTED)


def static_rows(facts: ScoredRun, listed: pl.DataFrame) -> list[_Row]:
    """Write the first customers of the list, with reasons and action."""
    return [
        {
            "customer": row["customer_id"],
            "segment": segment_name(row["segment"]) if row["segment"] else NO_VALUE,
            "band": row["risk_band"] or "",
            "risk": band_name(row["risk_band"]) if row["risk_band"] else NO_VALUE,
            "last": format_day(row["last_order_date"], short=True),
            "silent": _days_ago_text(row["days_since_last"]),
            "orders": format_count(row["frequency"] + 1),
            "p": format_share(_to_places(row[f"p_repurchase_{facts.primary_days}d"])),
            "clv": format_money(row["clv"], facts.currency),
            "at_risk": format_money(row["value_at_risk"], facts.currency),
            "reasons": [*_gap_ratio_text(row), *_reason_texts([row[name] for name in _REASON_COLUMNS if row[name]])],
            "action": action_name(row["action"]) if row["action"] else NO_VALUE,
        }
        for row in listed.head(_MAX_SHOWN).iter_rows(named=True)
    ]


def _to_places(p: float | None) -> float | None:
    """Round as in `list_data`, so that both write the same."""
    return None if p is None else round(p * 10_000) / 10_000


def _days_ago_text(days: int | None) -> str:
    if days is None:
        return NO_VALUE
    return translate("time.today") if days == 0 else translate("time.days_ago", n=days)


def _gap_ratio_text(row: _Row) -> list[str]:
    """Say beside which rhythm a customer is silent, where they stand in their segment for it and no reason says so."""
    if (
        row["segment"] not in AT_RISK
        or not row["frequency"]
        or any(_is_rhythm_reason(row[name]) for name in _REASON_COLUMNS)
    ):
        return []
    gap = max(int(row["recency_days"] / row["frequency"] + 0.5), 1)
    beyond = translate("people.beyond", silent=translate("n.day", n=row["days_since_last"]))
    # The rule goes by the customer's usual gap, of which the scores tell no more than the mean.
    if gap >= row["days_since_last"]:
        return [beyond]
    return [translate("people.beyond_average", beyond=beyond, every=translate("phrase.every.day", n=gap))]


def _is_rhythm_reason(reason: str | None) -> bool:
    return "usually every" in (reason or "")


def _reason_texts(reasons: list[str]) -> list[str]:
    """Name each direction once, the one of the strongest reason first."""
    facts: dict[str, list[str]] = {}
    for reason in reasons:
        side, fact = split_reason(reason)
        facts.setdefault(side, []).append(fact)
    return [
        translate(f"reason.{side}", fact="; ".join(texts)) if side else "; ".join(texts)
        for side, texts in facts.items()
    ]


def list_data(facts: ScoredRun, listed: pl.DataFrame, bought: PurchaseDetails | None = None) -> str:
    """Pack the list for the page's script."""
    as_of = facts.as_of or date.min
    reasons, reason_facts, rhythm = _encode_reasons(listed)
    segments, segment = _encode_column(listed["segment"], segment_name)
    known = listed["segment"].drop_nulls().unique(maintain_order=True).to_list()
    actions, action = _encode_column(listed["action"], action_name)
    bands, band = _encode_column(listed["risk_band"], band_name)
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
        "reasons": reason_facts,
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
    return json_for_html(packed if bought is None else packed | purchase_day_data(bought, listed, as_of=as_of))


def json_for_html(value: object) -> str:
    r"""Write JSON that may stand in a ``<script>`` element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _encode_column(column: pl.Series, name: Any) -> tuple[list[str], list[int | None]]:
    """Texts, each once in the language that is spoken, and for every row its place among them."""
    texts = column.drop_nulls().unique(maintain_order=True).to_list()
    places = {text: place for place, text in enumerate(texts)}
    return [name(text) for text in texts], [None if text is None else places[text] for text in column.to_list()]


def _encode_reasons(listed: pl.DataFrame) -> tuple[list[str], list[list[int]], list[int]]:
    """Facts, each once; per row thrice a fact's place, plus one if it raises the risk, else two; facts of a rhythm."""
    places: dict[str, int] = {}
    code: dict[str | None, int] = {}
    for reason in (
        pl.concat([listed[name].alias("reason") for name in _REASON_COLUMNS]).drop_nulls().unique(maintain_order=True)
    ):
        side, fact = split_reason(reason)
        code[reason] = 3 * places.setdefault(fact, len(places)) + ("", "raises", "lowers").index(side)
    rows = listed.select(_REASON_COLUMNS).iter_rows()
    rhythm = sorted({code[reason] // 3 for reason in code if _is_rhythm_reason(reason)})
    return list(places), [[code[reason] for reason in row if reason] for row in rows], rhythm


def list_messages(facts: ScoredRun) -> str:
    """Pack the messages of the page's script, and how it formats numbers and days."""
    sections = ("people", "story", "reason", "time")
    messages = load_catalogue(active_locale()).messages
    texts = {key: text for key, text in messages.items() if key.split(".")[0] in sections and isinstance(text, str)}
    plurals = {
        key: messages[key] for key in ("n.day", "phrase.every.day", "time.days_ago", "story.earlier", "story.table")
    }
    script_formats = {
        "locale": babel_locale().language,
        "texts": texts | number_templates(facts.currency),
        "plurals": plurals,
        "months": month_names(),
        "within": format_within(facts.primary_days),
        "clvWithin": format_within(facts.clv_days),
        "pages": _MAX_SHOWN,
    }
    return json_for_html(script_formats)
