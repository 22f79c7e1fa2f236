"""What may stand in the gaps of a recorded sentence, and how it is written in the language that is spoken.

A gap is named for what stands in it, with a digit where there are several: ``{percent1}``, ``{percent2}``.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from repurchase.evaluation.cutoffs import RULES
from repurchase.marketing.companions import NEXT, SAME_BRAND, SAME_CATEGORY
from repurchase.report.language import grouped, is_known, locale, say
from repurchase.report.words import SYMBOLS, counted, day

__all__ = ["RELATIONS", "SLOTS", "Slot", "figure", "kind_of", "listed"]

_NUMBER = r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?"
_PERCENT = rf"{_NUMBER} ?%"
_ANYTHING = r".+?"
_MORE = re.compile(r"(?P<listed>.+?),? and (?P<n>[\d,]+) more")
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
RELATIONS: Mapping[str, str] = {
    SAME_CATEGORY: "products.same_category",
    SAME_BRAND: "products.same_brand",
    NEXT: "products.bought_next",
}
"""How a product goes with another, and the key of its words."""


class Slot(NamedTuple):
    """A kind of gap.

    Parameters
    ----------
    pattern : str
        What stands in it, in English.
    said : callable, optional
        From that to what the spoken language says; ValueError where it is not what it seemed. None for features, whose
        names are said again as sentences are (see ``retold``).
    """

    pattern: str
    said: Callable[[str], str] | None


def kind_of(slot: str) -> str:
    """Tell what kind of gap bears a name.

    Parameters
    ----------
    slot : str
        Such as ``percent2``.

    Returns
    -------
    str
        Such as ``percent``.
    """
    return slot.rstrip("0123456789")


def figure(text: str) -> str:
    """Say a number.

    Parameters
    ----------
    text : str
        In English, with or without a sign.

    Returns
    -------
    str
        With the marks of the language that is spoken.

    Raises
    ------
    ValueError
        If it is none.
    """
    sign = text[0] if text[0] in "+-" else ""
    digits = text.removeprefix(sign).replace(",", "")
    minus = "-" if locale() == "en" else "−"
    return f"{minus if sign == '-' else sign}{grouped(float(digits), len(digits.partition('.')[2]))}"


def _percent(text: str) -> str:
    return say("number.percent", value=figure(text.rstrip("% ")))


def _money(text: str) -> str:
    number, _, unit = text.partition(" ")
    told = unit if locale() == "en" else SYMBOLS.get(unit, unit)
    return f"{figure(number)} {told}".rstrip()


def _day(text: str) -> str:
    return text if locale() == "en" else day(text)


def _range(text: str) -> str:
    low, _, high = text.partition(" to ")
    return say("record.word.range", low=_percent(low), high=_percent(high)) if high else _percent(low)


def _explained(text: str) -> str:
    return say("record.word.nothing") if text == "nothing" else _percent(text)


def _size(text: str) -> str:
    share, _, side = text.rpartition(" ")
    return say(f"record.word.{side}", percent=_percent(share))


def _counted(noun: str, form: str = "n") -> Callable[[str], str]:
    return lambda text: counted(int(text.partition(" ")[0].replace(",", "")), noun, form=form)


def _lines(text: str) -> str:
    told: str = say("record.word.lines", n=int(text.partition(" ")[0].replace(",", "")))
    return told


def _rule(text: str) -> str:
    key = next(key for key, words in RULES.items() if words == text)
    return say(f"record.rule.{key}")


def _relation(text: str) -> str:
    return say(RELATIONS[text])


def listed(text: str, item: Callable[[str], str], separator: str = ", ") -> str:
    """Say a list, of which the last may be that there are more.

    Parameters
    ----------
    text : str
        Items with separators between them.
    item : callable
        Says one of them.
    separator : str
        Between them.

    Returns
    -------
    str
        In the language that is spoken.
    """
    found = _MORE.fullmatch(text)
    items = separator.join(item(one) for one in (found["listed"] if found else text).split(separator))
    if not found:
        return items
    return say("record.word.more", listed=items, n=int(found["n"].replace(",", "")))


def _status(text: str) -> str:
    return re.sub(r"\(([\d,]+ rows?)\)$", lambda rows: f"({_counted('row')(rows[1])})", text)


def _delimiter(text: str) -> str:
    key = f"record.word.{text}"
    return say(key) if is_known(key) else text


def _as_it_stands(text: str) -> str:
    return text


SLOTS: Mapping[str, Slot] = {
    "number": Slot(_NUMBER, figure),
    "percent": Slot(_PERCENT, _percent),
    "money": Slot(rf"{_NUMBER}(?: [^\s\d(),.;:%]{{1,12}})?", _money),
    "date": Slot(r"\d{4}-\d\d-\d\d", _day),
    "range": Slot(rf"{_PERCENT}(?: to {_PERCENT})?", _range),
    "explained": Slot(rf"nothing|{_PERCENT}", _explained),
    "size": Slot(rf"{_PERCENT} (?:lower|higher)", _size),
    "rule": Slot("|".join(re.escape(words) for words in RULES.values()), _rule),
    "relation": Slot("|".join(RELATIONS), _relation),
    "mark": Slot("[A-D]", _as_it_stands),
    "delimiter": Slot("comma|semicolon|tab|bar|blanks", _delimiter),
    "lines": Slot(_LINES, _lines),
    "of_cutoffs": Slot(r"[\d,]+ cut-offs?", _counted("cut-off", "of")),
    "of_customers": Slot(r"[\d,]+ customers?", _counted("customer", "of")),
    "numbers": Slot(r"\d[\d,. and]*?(?: more)?", lambda text: listed(text, figure)),
    "features": Slot(rf"{_FEATURE}(?:, {_FEATURE})*(?: and \d+ more)?", None),
    "statuses": Slot(_ANYTHING, lambda text: listed(text, _status)),
    "names": Slot(_ANYTHING, lambda text: listed(text, _as_it_stands)),
    "name": Slot(_ANYTHING, _as_it_stands),
    **{kind: Slot(rf"[\d,]+ {noun}s?", _counted(noun)) for kind, noun in _NOUNS.items()},
}
"""What stands in each kind of gap."""
