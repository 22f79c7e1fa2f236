"""Translate English texts of records, scores and lists (to be replaced by message keys)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import polars as pl

from repurchase.evaluation.comparison import RULE_NAMES
from repurchase.i18n.catalogues import LOCALES, active_locale, has_message, load_catalogue
from repurchase.i18n.formatting import currency_symbol, format_day, format_number, format_percent, join_list
from repurchase.i18n.messages import format_quantity, translate
from repurchase.marketing.lists import ListSettings
from repurchase.marketing.products import BOUGHT_NEXT, SAME_BRAND, SAME_CATEGORY
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


def segment_name(name: str) -> str:
    """Name a segment of the scores."""
    key = SEGMENT_KEYS.get(name) or _LIST_SEGMENT_KEYS.get(name)
    return translate(f"segment.{key}") if key else name


def action_name(name: str) -> str:
    """Say what to do."""
    return translate(f"action.{_ACTION_KEYS[name]}") if name in _ACTION_KEYS else name


def band_name(name: str) -> str:
    """Name a risk band."""
    return translate(f"band.{name}") if name in _BANDS else name


def translate_reason(reason: str) -> str:
    """Say one reason."""
    side, fact = split_reason(reason)
    return translate(f"reason.{side}", told=fact) if side else fact


def split_reason(reason: str) -> tuple[str, str]:
    """Say one reason, its direction apart."""
    english = load_catalogue("en").messages
    for side in ("raises", "lowers"):
        start = str(english[f"reason.{side}"]).removesuffix("{told}")
        if reason.startswith(start):
            told = reason.removeprefix(start)
            return side, _translate_reason_fact(told) or told
    return "", reason


def _translate_reason_fact(told: str) -> str | None:
    for key, pattern in _reason_patterns().items():
        found = pattern.fullmatch(told)
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


_NUMBER = r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?"
_PERCENT = rf"{_NUMBER} ?%"
_ANYTHING = r".+?"
_AND_MORE = re.compile(r"(?P<listed>.+?),? and (?P<n>[\d,]+) more")
_NOUNS = {
    "days": "day",
    "customers": "customer",
    "buyers": "buyer",
    "cutoffs": "cut-off",
    "rows": "row",
    "orders": "order",
}
_FEATURE = r"\w+ \(PSI [\d.]+\)"
_LINES = r"[\d,]+ (?:line was|lines were)"
RELATION_KEYS: Mapping[str, str] = {
    SAME_CATEGORY: "products.same_category",
    SAME_BRAND: "products.same_brand",
    BOUGHT_NEXT: "products.bought_next",
}
"""How a product goes with another, and the key of its words."""


class _MessageParam(NamedTuple):
    """A kind of gap."""

    pattern: str
    said: Callable[[str], str] | None


def param_kind(slot: str) -> str:
    """Tell what kind of gap bears a name."""
    return slot.rstrip("0123456789")


def _translate_number(text: str) -> str:
    """Say a number."""
    sign = text[0] if text[0] in "+-" else ""
    digits = text.removeprefix(sign).replace(",", "")
    minus = "-" if active_locale() == "en" else "−"
    return f"{minus if sign == '-' else sign}{format_number(float(digits), len(digits.partition('.')[2]))}"


def _percent(text: str) -> str:
    digits = text.rstrip("% ").replace(",", "")
    said = format_percent(abs(float(digits)) / 100, len(digits.partition(".")[2]))
    minus = "-" if active_locale() == "en" else "−"
    return f"{minus if digits[0] == '-' else '+' if digits[0] == '+' else ''}{said}"


def _money(text: str) -> str:
    number, _, unit = text.partition(" ")
    told = unit if active_locale() == "en" else currency_symbol(unit)
    return f"{_translate_number(number)} {told}".rstrip()


def _day(text: str) -> str:
    return text if active_locale() == "en" else format_day(text)


def _range(text: str) -> str:
    low, _, high = text.partition(" to ")
    return translate("record.word.range", low=_percent(low), high=_percent(high)) if high else _percent(low)


def _explained_share(text: str) -> str:
    return translate("record.word.nothing") if text == "nothing" else _percent(text)


def _relative_size(text: str) -> str:
    share, _, side = text.rpartition(" ")
    return translate(f"record.word.{side}", percent=_percent(share))


def _quantity(noun: str, form: str = "n") -> Callable[[str], str]:
    return lambda text: format_quantity(int(text.partition(" ")[0].replace(",", "")), noun, form=form)


def _lines(text: str) -> str:
    told: str = translate("record.word.lines", n=int(text.partition(" ")[0].replace(",", "")))
    return told


def _rule(text: str) -> str:
    key = next(key for key, words in RULE_NAMES.items() if words == text)
    return translate(f"record.rule.{key}")


def _relation(text: str) -> str:
    return translate(RELATION_KEYS[text])


def _translate_list(text: str, item: Callable[[str], str], separator: str = ", ") -> str:
    """Say a list, of which the last may be that there are more."""
    found = _AND_MORE.fullmatch(text)
    items = separator.join(item(one) for one in (found["listed"] if found else text).split(separator))
    if not found:
        return items
    return translate("record.word.more", listed=items, n=int(found["n"].replace(",", "")))


def _status(text: str) -> str:
    return re.sub(r"\(([\d,]+ rows?)\)$", lambda rows: f"({_quantity('row')(rows[1])})", text)


def _delimiter_name(text: str) -> str:
    key = f"record.word.{text}"
    return translate(key) if has_message(key) else text


def _unchanged(text: str) -> str:
    return text


MESSAGE_PARAMS: Mapping[str, _MessageParam] = {
    "number": _MessageParam(_NUMBER, _translate_number),
    "percent": _MessageParam(_PERCENT, _percent),
    "money": _MessageParam(rf"{_NUMBER}(?: [^\s\d(),.;:%]{{1,12}})?", _money),
    "date": _MessageParam(r"\d{4}-\d\d-\d\d", _day),
    "range": _MessageParam(rf"{_PERCENT}(?: to {_PERCENT})?", _range),
    "explained": _MessageParam(rf"nothing|{_PERCENT}", _explained_share),
    "size": _MessageParam(rf"{_PERCENT} (?:lower|higher)", _relative_size),
    "rule": _MessageParam("|".join(re.escape(words) for words in RULE_NAMES.values()), _rule),
    "relation": _MessageParam("|".join(RELATION_KEYS), _relation),
    "mark": _MessageParam("[A-D]", _unchanged),
    "delimiter": _MessageParam("comma|semicolon|tab|bar|blanks", _delimiter_name),
    "lines": _MessageParam(_LINES, _lines),
    "of_cutoffs": _MessageParam(r"[\d,]+ cut-offs?", _quantity("cut-off", "of")),
    "of_customers": _MessageParam(r"[\d,]+ customers?", _quantity("customer", "of")),
    "numbers": _MessageParam(r"\d[\d,. and]*?(?: more)?", lambda text: _translate_list(text, _translate_number)),
    "features": _MessageParam(rf"{_FEATURE}(?:, {_FEATURE})*(?: and \d+ more)?", None),
    "statuses": _MessageParam(_ANYTHING, lambda text: _translate_list(text, _status)),
    "names": _MessageParam(_ANYTHING, lambda text: _translate_list(text, _unchanged)),
    "name": _MessageParam(_ANYTHING, _unchanged),
    **{kind: _MessageParam(rf"[\d,]+ {noun}s?", _quantity(noun)) for kind, noun in _NOUNS.items()},
}
"""What stands in each kind of gap."""


_NOT_SENTENCES = ("record.word.", "record.rule.")


class _Clauses(NamedTuple):
    """Clauses of a group stand in a gap, one, or several with a separator between them."""

    group: str
    separator: str = ""


CLAUSE_PARAMS: Mapping[str, _Clauses] = {
    "lead": _Clauses("lead"),
    "against": _Clauses("against"),
    "total": _Clauses("total"),
    "why": _Clauses("why"),
    "unknown": _Clauses("unknown"),
    "weak": _Clauses("shortfall", " and "),
    "missing": _Clauses("shortfall", "; "),
    "drifts": _Clauses("drifting", "; "),
    "train": _Clauses("train", "; "),
    "keep": _Clauses("keep", "; "),
}
"""Gaps that hold clauses."""


class _SentenceTemplate(NamedTuple):
    """A sentence with gaps."""

    key: str
    pattern: "re.Pattern[str]"


def translate_sentence(text: str, *, within: str = "record") -> str | None:
    """Say a recorded sentence."""
    if active_locale() == "en":
        return text
    return rerender_sentence(text, within=within)


def rerender_sentence(text: str, *, within: str = "record") -> str | None:
    """Say a recorded sentence, in English too, as its template has it."""
    told = _translate_exact(text, within)
    if told is None:
        stopped = _translate_exact(text.removesuffix(".") if text.endswith(".") else f"{text}.", within)
        told = stopped and (f"{stopped}." if text.endswith(".") else stopped.removesuffix("."))
    return told and re.sub(r"(?<!\.)\.\.(?=\s|$)", ".", told)  # a year's own full stop ends the sentence


def _translate_exact(text: str, within: str) -> str | None:
    for template in sentence_templates(within):
        found = template.pattern.fullmatch(text)
        if found:
            filled = {slot: _translate_param(param_kind(slot), value) for slot, value in found.groupdict().items()}
            if None not in filled.values():
                return translate(template.key, **filled)
    return None


def _translate_param(kind: str, text: str) -> str | None:
    if kind in MESSAGE_PARAMS:
        try:
            said = MESSAGE_PARAMS[kind].said
            return said(text) if said else _translate_list(text, _translate_feature)
        except ValueError:  # a day that no calendar has, a number that is none
            return None
    group, separator = CLAUSE_PARAMS[kind]
    if not separator:
        return _translate_exact(text, f"record.{group}")
    clauses = _translate_clauses(text.split(separator), separator, f"record.{group}")
    if not clauses:
        return None
    return join_list(clauses) if separator == " and " else separator.join(clauses)


def _translate_feature(text: str) -> str:
    """Name a feature with its PSI."""
    name, _, psi = text.partition(" (PSI ")
    plain = name.replace("_", " ")
    return f"{translate_sentence(plain, within='record.feature') or plain} (PSI {_translate_number(psi.rstrip(')'))})"


def _translate_clauses(parts: list[str], separator: str, group: str) -> list[str] | None:
    # A clause may hold the separator itself: the longest that is recognised is taken.
    told: list[str] = []
    while parts:
        longest = next(
            (
                (end, said)
                for end in range(len(parts), 0, -1)
                if (said := _translate_exact(separator.join(parts[:end]), group))
            ),
            None,
        )
        if longest is None:
            return None
        parts = parts[longest[0] :]
        told.append(longest[1])
    return told


@cache
def sentence_templates(within: str) -> tuple[_SentenceTemplate, ...]:
    """Read the English templates of a part of the catalogue."""
    texts = {
        key: text
        for key, text in load_catalogue("en").messages.items()
        if key.startswith(f"{within}.") and not key.startswith(_NOT_SENTENCES) and isinstance(text, str)
    }
    return tuple(
        _SentenceTemplate(key, _compile_template(text))
        for key, text in sorted(texts.items(), key=_template_specificity, reverse=True)
    )


def _template_specificity(item: tuple[str, str]) -> tuple[int, str]:
    return len(re.sub(r"\{\w+\}", "", item[1])), item[0]


def _compile_template(text: str) -> "re.Pattern[str]":
    def gap(slot: "re.Match[str]") -> str:
        return f"(?P<{slot[1]}>{_param_pattern(param_kind(slot[1]))})"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", gap, re.escape(text)), re.DOTALL)


def _param_pattern(kind: str) -> str:
    return MESSAGE_PARAMS[kind].pattern if kind in MESSAGE_PARAMS else ".+"


_BLANKS = {ord("\u00a0"): " ", ord("\u202f"): " "}
"""Cells are searched and sorted; there a blank is a blank."""


def translate_headings(rules: ListSettings) -> ListSettings:
    """Give the plain lists headings that can be read."""
    if rules.mail_tool != "plain" or active_locale() == "en":
        return rules
    return replace(rules, columns={**rules.columns, "plain": {**_headings(), **rules.columns.get("plain", {})}})


def id_headings() -> list[str]:
    """Name the column of ids in every language."""
    return [str(load_catalogue(name).messages["lists.column.customer_id"]) for name in LOCALES]


def _headings() -> dict[str, str]:
    start = "lists.column."
    return {
        key.removeprefix(start): str(text)
        for key, text in load_catalogue(active_locale()).messages.items()
        if key.startswith(start)
    }


def translate_list_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Say what stands in the cells of a list."""
    if active_locale() == "en":
        return rows
    return rows.with_columns(
        _translate_values(rows[name], translate_value)
        for name, translate_value in _COLUMN_TRANSLATORS.items()
        if name in rows.columns
    )


def translate_contact_faults(repair: pl.DataFrame) -> pl.DataFrame:
    """Say what is wrong with contacts, under headings that can be read."""
    if active_locale() == "en":
        return repair
    told = repair.with_columns(_translate_values(repair["what"], _translator_of("repair")))
    headings = _headings()
    return told.rename({name: headings.get(name, name) for name in told.columns})


def _translate_values(values: pl.Series, translate_value: Callable[[str], str]) -> pl.Series:
    if values.dtype == pl.Boolean:
        flags = {flag: translate(f"lists.flag.{str(flag).lower()}") for flag in (True, False)}
        return values.replace_strict(flags, return_dtype=pl.String)
    given = values.unique().drop_nulls()
    told = {text: translate_value(text).translate(_BLANKS) for text in given}
    return values.replace_strict(told, default=None, return_dtype=pl.String)


def _translator_of(part: str) -> Callable[[str], str]:
    return lambda text: translate_sentence(text, within=f"lists.{part}") or text


def _translate_segment(text: str) -> str:
    return translate_sentence(text, within="lists.segment") or segment_name(text)


def _translate_action(text: str) -> str:
    return translate_sentence(text, within="lists.action") or action_name(text)


_COLUMN_TRANSLATORS: Mapping[str, Callable[[str], str]] = {
    "segment": _translate_segment,
    "changed": _translator_of("changed"),
    "action": _translate_action,
    "channel": _translator_of("channel"),
    "when": _translator_of("when"),
    "reason_1": translate_reason,
    "reason_2": translate_reason,
    "reason_3": translate_reason,
    "goes_with_words": _translator_of("companion"),
    "ask_why": str,
}
