"""Names of segments, bands and actions, reasons, and the texts of lists, in the active language."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl

from repurchase.i18n.catalogues import LOCALES, active_locale, load_catalogue
from repurchase.i18n.formatting import NO_BREAK_SPACE, THIN_SPACE, format_number
from repurchase.i18n.messages import translate, translate_text
from repurchase.marketing.lists import ListSettings
from repurchase.marketing.segments import NO_HISTORY, REFILL
from repurchase.models.segments import ACTIONS, BEST, FIRST_TIME, LOST, REGULAR, SLIPPING, WIN_BACK

SEGMENT_KEYS = {
    SLIPPING: "slipping",
    WIN_BACK: "win_back",
    FIRST_TIME: "first_time",
    BEST: "best",
    REGULAR: "regular",
    LOST: "lost",
}
_LIST_SEGMENT_KEYS = {REFILL: "refill", NO_HISTORY: "no_history"}
"""Segments that only lists know."""
_ACTION_KEYS = {ACTIONS[name]: key for name, key in SEGMENT_KEYS.items()}
_BANDS = ("high", "medium", "low", "none", "all")


def segment_name(name: str) -> str:
    """Name a segment of the scores."""
    key = SEGMENT_KEYS.get(name) or _LIST_SEGMENT_KEYS.get(name)
    return translate(f"segment.{key}") if key else name


def action_name(name: str) -> str:
    """Name an action."""
    return translate(f"action.{_ACTION_KEYS[name]}") if name in _ACTION_KEYS else name


def band_name(name: str) -> str:
    """Name a risk band."""
    return translate(f"band.{name}") if name in _BANDS else name


# Reasons are English text in the scores, which marketers open. They are recognised by the templates they are made of.

_SPAN = r"\d+ (?:day|month|year)s?"
_AMOUNT = r"\d+(?:\.\d\d)?"
_REASON_PARAMS = {
    "ago": rf"today|{_SPAN} ago",
    "every": rf"every (?:day|{_SPAN})",
    "span": _SPAN,
    "purchases": r"\d+ purchases?",
    "lately": r"no purchase|\d+ purchases?",
    "before": r"none|\d+",
    "money": _AMOUNT,
    "usual": _AMOUNT,
}
_FIXED_PHRASES = {"today": "today", "every day": "daily", "no purchase": "no_purchase", "none": "no_before"}
_NOT_REASON_FACTS = ("raises", "lowers", "nothing")


def translate_reason(reason: str) -> str:
    """Translate one reason."""
    side, fact = split_reason(reason)
    return translate(f"reason.{side}", fact=fact) if side else fact


def split_reason(reason: str) -> tuple[str, str]:
    """Say one reason, its direction apart."""
    english = load_catalogue("en").messages
    for side in ("raises", "lowers"):
        start = str(english[f"reason.{side}"]).removesuffix("{fact}")
        if reason.startswith(start):
            fact = reason.removeprefix(start)
            return side, _translate_reason_fact(fact) or fact
    return "", reason


def _translate_reason_fact(fact: str) -> str | None:
    for key, pattern in _reason_patterns().items():
        found = pattern.fullmatch(fact)
        if found:
            return translate(key, **{slot: _translate_reason_param(slot, found[slot]) for slot in pattern.groupindex})
    return None


@cache
def _reason_patterns() -> Mapping[str, "re.Pattern[str]"]:
    facts = {key: str(text) for key, text in load_catalogue("en").messages.items() if key.startswith("reason.")}
    return {
        key: re.compile(
            re.sub(r"\\\{(\w+)\\\}", lambda slot: f"(?P<{slot[1]}>{_REASON_PARAMS[slot[1]]})", re.escape(text))
        )
        for key, text in facts.items()
        if key.removeprefix("reason.") not in _NOT_REASON_FACTS
    }


def _translate_reason_param(slot: str, text: str) -> str:
    if text in _FIXED_PHRASES:
        return translate(f"phrase.{_FIXED_PHRASES[text]}")
    if slot in {"money", "usual"}:
        return format_number(float(text), 2 if "." in text else 0)
    number, *unit = [part[0] for part in re.finditer(r"\d+|day|month|year|purchase", text)]
    if slot == "before":
        return number
    if slot == "every":
        return translate(f"phrase.every.{unit[0]}", n=int(number))
    span: str = translate(f"n.{unit[0]}", n=int(number))
    return translate("phrase.ago", span=span) if slot == "ago" else span


# Lists


def translate_headings(rules: ListSettings) -> ListSettings:
    """Give the plain lists readable headings."""
    if rules.mail_tool != "plain" or active_locale() == "en":
        return rules
    return replace(rules, columns={**rules.columns, "plain": {**_headings(), **rules.columns.get("plain", {})}})


def id_headings() -> list[str]:
    """Name the column of ids in every language."""
    return [str(load_catalogue(name).messages["lists.column.customer_id"]) for name in LOCALES]


def _headings() -> dict[str, str]:
    prefix, messages = "lists.column.", load_catalogue(active_locale()).messages
    return {key.removeprefix(prefix): str(text) for key, text in messages.items() if key.startswith(prefix)}


def render_list_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Render the cells of a list."""
    return rows.with_columns(_rendered(rows[name]) for name in rows.columns if name in _RENDERED_COLUMNS)


def translate_contact_faults(repair: pl.DataFrame) -> pl.DataFrame:
    """Name what is wrong with contacts, under readable headings."""
    if active_locale() == "en":
        return repair
    headings = _headings()
    translated = repair.with_columns(_rendered(repair["what"]))
    return translated.rename({name: headings.get(name, name) for name in translated.columns})


_RENDERED_COLUMNS = (
    *("segment", "changed", "action", "channel", "when", "what", "ask_why", "goes_with_words"),
    *("reason_1", "reason_2", "reason_3"),
)


def _rendered(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.Struct):
        return _rendered_messages(values)
    if values.dtype == pl.Boolean:
        flags = {flag: translate(f"lists.flag.{str(flag).lower()}") for flag in (True, False)}
        return values.replace_strict(flags, return_dtype=pl.String)
    texts = {value: _cell_text(values.name, value) for value in values.unique().drop_nulls()}
    rendered = [None if value is None else texts[value] for value in values.to_list()]
    return pl.Series(values.name, rendered, dtype=pl.String)


def _rendered_messages(values: pl.Series) -> pl.Series:
    """Cells that are the key of a message and its parameters."""
    cells, group = values.struct.unnest(), _GROUPS.get(values.name, values.name)
    known = cells.unique()
    texts = [_message_text(f"lists.{group}", **row) for row in known.iter_rows(named=True)]
    known = known.with_columns(text=pl.Series(texts, dtype=pl.String))
    joined = cells.join(known, on=cells.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined["text"].rename(values.name)


def _message_text(group: str, *, key: str | None, **params: Any) -> str | None:
    return None if key is None else _plain_spaces(translate(f"{group}.{key}", **params))


def _plain_spaces(text: str) -> str:
    """Cells are searched and sorted; there a blank is a blank."""
    return text.replace(NO_BREAK_SPACE, " ").replace(THIN_SPACE, " ")


def _cell_text(column: str, value: Any) -> str:
    if column.startswith("reason_"):
        text = translate_reason(value)
    elif column == "segment":
        text = segment_name(value)
    elif column == "action":
        text = translate_text(action_name(value), "lists.action.")
    else:
        text = translate_text(value, f"lists.{_GROUPS.get(column, column)}.")
    return _plain_spaces(text)


_GROUPS = {"what": "repair", "goes_with_words": "companion"}
"""Groups of messages by column, where they differ."""
