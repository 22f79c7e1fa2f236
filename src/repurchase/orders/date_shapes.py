"""Where the parts of a written date stand: found once per shape, which is the text with every digit made equal.

A column of millions of dates has few shapes (``99 jun 9999 99:99``), so that each may be looked at with care and the
digits are then cut out of all texts of the shape together.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from repurchase.orders.date_words import ZONE_MINUTES, filler_words, half_of_day, month_numbers, weekdays

__all__ = ["COUNTS", "NUMBER_UNITS", "DateUnit", "Shape", "shape_of"]

COUNTS = re.compile(r"^(9{5}|9{9,10}|9{13}|9{16}|9{19})([.,]9+)?$")
"""Numbers that may count something; ``9`` stands for any digit."""
DateUnit = Literal["days", "s", "ms", "us", "ns"]
NUMBER_UNITS: dict[int, DateUnit] = {5: "days", 9: "s", 10: "s", 13: "ms", 16: "us", 19: "ns"}
"""What a number of so many whole digits counts."""

_PARTS = ("year", "month", "day", "hour", "minute", "second", "fraction", "first", "second_number", "east_h", "east_m")

_GAP = r"[\s.,]*"
_ORDINAL = r"(?:st|nd|rd|th|er|[.ªº°oae]|-?го)?"
_SECOND = r"[:.m](?P<second>99)s?(?:[.,:](?P<fraction>9{1,9}))?"
_CLOCK = rf"(?P<hour>99?)(?:[:.]|\s?h\s?)(?P<minute>99)(?:{_SECOND})?\s*(?P<half>[@&]+)?"
_ZONE = r"(?:!*\s*(?P<sign>[+-])(?P<east_h>99?):?(?P<east_m>99)?|(?P<zone>!+))"
_TIME = rf"(?:(?:t|[\s,:_.-]+)(?:(?P<half_before>[@&]+)\s*)?{_CLOCK}|\s+(?P<hour_only>99?)\s*(?P<half_only>[@&]+))?"
_END = rf"\s*{_ZONE}?{_GAP}$"
_COMPACT_TIME = r"[t_ -]?(?P<hour>99):?(?P<minute>99)(?::?(?P<second>99)(?:[.,](?P<fraction>9+))?)?"
_SWAPPABLE = r"(?P<first>99?)\s?(?P<mark>[-/.])\s?(?P<second_number>99?)"
_FORMS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^{_GAP}(?P<year>9999)(?P<mark>[-/.])\s?(?P<month>99?)(?P=mark)\s?(?P<day>99?)\.?{_TIME}{_END}",
        rf"^{_GAP}{_SWAPPABLE}\s?(?P=mark)\s?(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^(?P<year>9999)(?P<month>99)(?P<day>99)(?:{_COMPACT_TIME}{_END})?$",
        rf"^{_GAP}(?P<day>99?){_ORDINAL}[\s./,-]*(?P<name>\#+)[\s./,'-]*(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<name>\#+)[\s./,-]*(?P<day>99?){_ORDINAL}[\s./,-]+(?P<year>9999|99){_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<year>9999)[\s./,-]*(?P<name>\#+)[\s./,-]*(?P<day>99?){_ORDINAL}{_GAP}?{_TIME}{_END}",
        rf"^{_GAP}(?P<name>\#+)\s+(?P<day>99?)\s+{_CLOCK}\s*{_ZONE}?\s+(?P<year>9999)$",
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_HALF = re.compile(r"(?<=[\d\s])([ap])\s?\.?\s?m\b\.?|(?<=\d)([ap])$")
_ZONE_NAME = re.compile(
    r"(?<=[\d\s])(?:[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+)?|[A-Z]{2,5})(?=$|[\s+()\[\]-])"
)
_BRACKETS = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]\s*$")
_BETWEEN = re.compile(
    r"(?<=9)t(?=9)|(?<=9)\s?h\s?(?=99)|(?<=99)m(?=99)|(?<=99)s$|(?<=9)(?:st|nd|rd|th|er|-?го|[oaeªº])(?=\W)"
)
_EAST_ASIAN = str.maketrans({"年": "-", "月": "-", "日": " ", "년": "-", "월": "-", "일": " "})


@dataclass(frozen=True)
class Shape:
    """Where the parts of the dates of one shape stand.

    Parameters
    ----------
    spans : dict of str to (int, int)
        First place and length of every part that is written in digits.
    month : int, optional
        The month, where it is written as a word.
    half : int
        1 before noon, 2 after it, 0 for hours that count to 24.
    sign : int
        1 or -1 before an offset in digits, otherwise 0.
    zone : str, optional
        A word for the time zone, in lower case.
    mark : str, optional
        What separates numbers whose day and month might change places.
    """

    spans: dict[str, tuple[int, int]]
    month: int | None = None
    half: int = 0
    sign: int = 0
    zone: str | None = None
    mark: str | None = None


@lru_cache(maxsize=1 << 16)
def shape_of(shape: str) -> Shape | None:
    """Find the parts of a date in one shape.

    Parameters
    ----------
    shape : str
        A date with ``9`` for every digit.

    Returns
    -------
    Shape or None
        None if it has not the form of a date with year, month and day.

    Examples
    --------
    >>> shape_of("99 juin 9999").month, shape_of("juin 9999")
    (6, None)
    """
    masked, words = _masked(shape)
    if masked is None:
        return None
    for form in _FORMS:
        found = form.match(masked)
        if found is not None:
            return _read(found, words)
    return None


def _read(found: "re.Match[str]", words: dict[str, Any]) -> Shape | None:
    parts = {name: span for name, span in found.groupdict().items() if span is not None}
    spans = {name: (found.start(name), len(parts[name])) for name in _PARTS if name in parts}
    if "hour_only" in parts:
        spans["hour"] = (found.start("hour_only"), len(parts["hour_only"]))
    half = next((parts[name] for name in ("half", "half_before", "half_only") if name in parts), "")
    zone = words.get("zone") if "zone" in parts else None
    if zone is not None and zone not in ZONE_MINUTES and "hour" not in spans:
        return None
    return Shape(
        spans,
        month=words.get("month") if "name" in parts else None,
        half={"": 0, "@": 1, "&": 2}[half[:1]],
        sign={"+": 1, "-": -1}.get(parts.get("sign", ""), 0),
        zone=zone,
        mark=parts.get("mark") if "first" in parts else None,
    )


def _masked(shape: str) -> tuple[str | None, dict[str, Any]]:
    """Put signs in place of words, one per letter: # month, @ before noon, & after noon, ! time zone."""
    text = shape.translate(_EAST_ASIAN).replace("-feira", " " * 6)
    words: dict[str, Any] = {}
    text = _without_brackets(text, words)
    zones = [match for match in _ZONE_NAME.finditer(text) if _is_zone(match.group())]
    if zones:
        zone = zones[-1]
        words["zone"] = zone.group().lower()
        text = text[: zone.start()] + "!" * len(zone.group()) + text[zone.end() :]
    text = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    text = _HALF.sub(lambda half: ("@" if "a" in half.group() else "&") * len(half.group()), text)
    pieces, end = [], 0
    between = {place for match in _BETWEEN.finditer(text) for place in range(*match.span())}
    months = [word for word in _WORD.finditer(text) if _folded(word.group()) in month_numbers()]
    for word in _WORD.finditer(text):
        sign = "" if word.start() in between else _sign(word, months, words)
        if sign is None:
            return None, words
        pieces += [text[end : word.start()], sign * len(word.group()) or word.group()]
        end = word.end()
    return re.sub(r"(?<=[#@&])\.", " ", "".join((*pieces, text[end:]))), words


def _without_brackets(text: str, words: dict[str, Any]) -> str:
    brackets = _BRACKETS.search(text)
    if brackets is None:
        return text
    inside = brackets.group(1)
    if _is_zone(inside) and not re.search(r"[+-]9\S*$|[A-Za-z]$", text[: brackets.start()]):
        words["zone"] = inside.lower()
        start = brackets.start(1)
        return text[: brackets.start()] + " " * (start - brackets.start()) + "!" * len(inside)
    return text[: brackets.start()]


def _sign(word: "re.Match[str]", months: "list[re.Match[str]]", words: dict[str, Any]) -> str | None:
    name = _folded(word.group())
    is_month = name in month_numbers()
    if is_month and (word.start() == months[-1].start() or name not in weekdays()):
        words["month"] = month_numbers()[name] if words.get("month") in (None, month_numbers()[name]) else None
        return "#"
    if name in half_of_day():
        return "@&"[half_of_day()[name] - 1]
    if name in weekdays() or name in filler_words():
        return " "
    if name in ZONE_MINUTES:
        words["zone"] = name
        return "!"
    return None


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _is_zone(word: str) -> bool:
    name = word.lower()
    if _folded(word) in {*half_of_day(), *month_numbers(), *weekdays(), *filler_words()}:
        return False
    return name in ZONE_MINUTES or bool(re.fullmatch(r"[A-Z]{3,5}|[A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_]+)+", word))
