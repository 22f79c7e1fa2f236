"""How exports write days, times and money as text: drawn at random, the same for a whole file."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.exports.languages import Language

__all__ = ["DateStyle", "MoneyStyle", "draw_date_style", "draw_money_style"]

_EXCEL_EPOCH = datetime.fromisoformat("1899-12-30")
_SUMMER = range(4, 11)


@dataclass(frozen=True)
class DateStyle:
    """One way to write a moment; ``can_swap`` where day and month can change places."""

    kind: str
    write: Callable[[datetime], str]
    can_swap: bool = False
    has_time: bool = True


def _pattern(kind: str, pattern: str, *, can_swap: bool = False) -> DateStyle:
    return DateStyle(kind, lambda at: at.strftime(pattern), can_swap, "%H" in pattern or "%I" in pattern)


def _with_offset(at: datetime, mark: str) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f"+02{mark}00" if at.month in _SUMMER else f"+01{mark}00")


_PLAIN = (
    _pattern("iso-time", "%Y-%m-%d %H:%M:%S"),
    _pattern("iso-time", "%Y-%m-%dT%H:%M:%S"),
    _pattern("iso-time", "%Y-%m-%d %H:%M"),
    _pattern("iso-day", "%Y-%m-%d"),
    _pattern("year-first", "%Y/%m/%d %H:%M"),
    _pattern("compact", "%Y%m%d"),
    _pattern("iso-zulu", "%Y-%m-%dT%H:%M:%SZ"),
    _pattern("iso-utc-word", "%Y-%m-%d %H:%M:%S UTC"),
    DateStyle("iso-offset", lambda at: _with_offset(at, ":")),
    DateStyle("iso-offset", lambda at: _with_offset(at, "").replace("T", " ").replace("+", " +")),
    _pattern("iso-fraction", "%Y-%m-%d %H:%M:%S.%f"),
    _pattern("day-first", "%d/%m/%Y %H:%M", can_swap=True),
    _pattern("day-first", "%d/%m/%Y", can_swap=True),
    _pattern("day-first", "%d-%m-%Y", can_swap=True),
    _pattern("day-first-short-year", "%d/%m/%y", can_swap=True),
    _pattern("day-first-points", "%d.%m.%Y %H:%M:%S"),
    _pattern("day-first-points", "%d.%m.%Y"),
    _pattern("day-first-points-comma", "%d.%m.%Y, %H:%M"),
    _pattern("month-first", "%m/%d/%Y %I:%M %p", can_swap=True),
    _pattern("month-first", "%m/%d/%Y", can_swap=True),
    _pattern("month-first-short-year", "%m/%d/%y %H:%M", can_swap=True),
    DateStyle("unpadded", lambda at: f"{at.month}/{at.day}/{at.year} {at:%H:%M}", can_swap=True),
    DateStyle("unpadded", lambda at: f"{at.day}.{at.month}.{at.year}"),
    _pattern("month-day-short-year", "%b-%d-%y"),
    _pattern("log-file", "%d/%b/%Y:%H:%M:%S"),
    _pattern("rfc-2822", "%a, %d %b %Y %H:%M:%S +0000"),
    _pattern("javascript", "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"),
    _pattern("java", "%a %b %d %H:%M:%S UTC %Y"),
    DateStyle("epoch-seconds", lambda at: str(int(at.replace(tzinfo=UTC).timestamp()))),
    DateStyle("epoch-milliseconds", lambda at: str(int(at.replace(tzinfo=UTC).timestamp() * 1000))),
    DateStyle("excel-serial", lambda at: f"{(at - _EXCEL_EPOCH) / timedelta(days=1):.6f}".rstrip("0").rstrip(".")),
    DateStyle("excel-serial", lambda at: str((at - _EXCEL_EPOCH).days), has_time=False),
)


def _named(language: Language) -> tuple[DateStyle, ...]:
    full, short = language.months, language.short_months
    kind = f"month-name-{language.code}"
    joint = {"es": " de ", "pt": " de ", "de": ". ", "nb": ". ", "da": ". "}.get(language.code, " ")
    styles = [
        DateStyle(kind, lambda at: f"{at.day}{joint}{full[at.month - 1]}{joint.strip('.')}{at.year}", has_time=False),
        DateStyle(kind, lambda at: f"{at.day} {short[at.month - 1]} {at.year} {at:%H:%M}"),
        DateStyle(kind, lambda at: f"{at.day:02d}-{short[at.month - 1].strip('.')}-{at.year}", has_time=False),
    ]
    if language.code == "en":
        styles.append(DateStyle(kind, lambda at: f"{full[at.month - 1]} {at.day}, {at.year} {at:%I:%M:%S %p}"))
    return tuple(styles)


def draw_date_style(rng: random.Random, language: Language, *, must_have_time: bool = False) -> DateStyle:
    """Draw a way to write days: one in four names the month in the language."""
    styles = _named(language) if rng.random() < 0.25 else _PLAIN
    return rng.choice([style for style in styles if style.has_time or not must_have_time])


@dataclass(frozen=True)
class MoneyStyle:
    """One way to write an amount of cents."""

    decimal: str = "."
    thousands: str = ""
    decimals: int | None = 2
    is_lakh: bool = False
    before: str = ""
    after: str = ""
    negative: str = "-{}"

    @property
    def kind(self) -> str:
        marks = {"": "none", " ": "blank", "\u00a0": "no-break", "\u202f": "thin", "'": "apostrophe"}
        grouping = "lakh" if self.is_lakh else marks.get(self.thousands, self.thousands)
        decimals = "trimmed" if self.decimals is None else self.decimals
        return f"{self.decimal}/{grouping}/{decimals}"

    @property
    def currency(self) -> str:
        """The code of the sign or word."""
        return _CODES.get((self.before + self.after).strip(), "EUR")

    @property
    def is_ambiguous(self) -> bool:
        """Whether ``12.395`` can be twelve and a bit as well as twelve thousand."""
        return self.decimals == 0 and self.thousands in {".", ","} and not self.is_lakh

    def write(self, cents: int) -> str:
        whole, part = divmod(abs(cents), 100)
        text = self._grouped(str(whole))
        if self.decimals is None:
            tail = f"{part:02d}".rstrip("0")
            text += self.decimal + tail if tail else ""
        elif self.decimals:
            text += self.decimal + f"{part:02d}".ljust(self.decimals, "0")
        if self.negative.startswith("{before}"):
            return f"{self.before}-{text}{self.after}" if cents < 0 else f"{self.before}{text}{self.after}"
        text = f"{self.before}{text}{self.after}"
        return self.negative.format(text) if cents < 0 else text

    def _grouped(self, whole: str) -> str:
        head, tail = whole[:-3], whole[-3:]
        size = 2 if self.is_lakh else 3
        groups = []
        while self.thousands and head:
            groups.append(head[-size:])
            head = head[:-size]
        return self.thousands.join([*reversed(groups), tail]) if self.thousands else whole


_CODES = {
    "$": "USD",
    "USD": "USD",
    "£": "GBP",
    "A$": "AUD",
    "R$": "BRL",
    "₹": "INR",
    "Rs.": "INR",
    "kr": "NOK",
    "kr.": "DKK",
    "CHF": "CHF",
    "¥": "JPY",
    "円": "JPY",
    "zł": "PLN",
    "PLN": "PLN",
    "₽": "RUB",
    "руб.": "RUB",
    "Ft": "HUF",
    "Kč": "CZK",
}
_BEFORE = ("€", "$", "£", "€ ", "$ ", "A$", "R$ ", "₹", "Rs. ", "EUR ", "USD ", "kr ", "CHF ", "¥")
_AFTER = (" €", "€", " kr", " kr.", " zł", " ₽", " руб.", " EUR", " PLN", " Ft", " Kč", "円", ",-")
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (",", "\u00a0"), (",", "\u202f"), (".", "'"))


def draw_money_style(rng: random.Random, *, scale: int) -> MoneyStyle:
    """Draw a way to write money; without decimals only where the scale leaves none."""
    if rng.random() < 0.35:
        return MoneyStyle(decimals=rng.choice((2, 2, None)))
    decimal, thousands = rng.choice(_MARKS)
    is_lakh = scale >= 10_000 and rng.random() < 0.4
    decimals = rng.choice((2, 2, 2, None, 4) if scale == 1 else (2, 2, 0))
    before = rng.choice(_BEFORE) if rng.random() < 0.3 else ""
    after = rng.choice(_AFTER) if not before and rng.random() < 0.3 else ""
    if after == ",-" and (decimals != 0 or thousands == ","):
        after = ""
    negative = rng.choice(("-{}", "-{}", "({})", "{}-", "−{}", "{before}"))
    if is_lakh:
        return MoneyStyle(".", ",", decimals, is_lakh=True, before=before, after=after, negative=negative)
    if decimals == 0 and thousands in {".", ","} and rng.random() < 0.7:
        thousands = ""
    return MoneyStyle(decimal, thousands, decimals, before=before, after=after, negative=negative)
