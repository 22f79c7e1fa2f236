"""Numbers, money, days and lists formatted for the active locale."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from repurchase.i18n.catalogues import format_number, has_message, message_template, translate

NO_VALUE = "–"
THIN_SPACE = "\u202f"
CURRENCY_SYMBOLS: Mapping[str, str] = {
    "GBP": "£",
    "EUR": "€",
    "USD": "$",
    "NOK": "kr",
    "SEK": "kr",
    "DKK": "kr",
    "RUB": "₽",
}
MONTH_KEYS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def truncate_name(name: str, *, longest: int = 28) -> str:
    """Cut a name to what fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def format_count(value: float | None) -> str:
    """Write a whole number."""
    return NO_VALUE if value is None else format_number(value)


def format_quantity(number: float, noun: str, *, form: str = "n") -> str:
    """Count things."""
    key = f"{form}.{noun.replace('-', '_')}"
    return (
        translate(key, n=number) if has_message(key) else f"{format_count(number)} {noun}{'' if number == 1 else 's'}"
    )


def format_decimal(value: float | None, places: int = 3) -> str:
    """Write a number with decimals."""
    return NO_VALUE if value is None else format_number(value, places)


def format_share(value: float | None) -> str:
    """Write a share as a percentage, never rounding something to nothing or almost all to all."""
    if value is None:
        return NO_VALUE
    percent = 100 * value
    if 0 < percent < 0.1:
        return f"<{THIN_SPACE}{_percent(0.1, 1)}"
    if 99.9 < percent < 100:
        return f">{THIN_SPACE}{_percent(99.9, 1)}"
    places = 1 if 0 < abs(percent) < 9.95 or 99 < percent < 100 else 0
    return _percent(percent, places)


def _percent(percent: float, places: int) -> str:
    return translate("number.percent", value=format_number(percent, places))


def format_in_hundred(value: float) -> str:
    """Write a share as "42 of 100"."""
    if 0 < value < 0.01:
        return translate("number.of_thousand", value=format_count(1000 * value), whole=format_count(1000))
    return translate("number.of_hundred", value=format_count(100 * value))


def format_money(value: float | None, currency: str | None = None) -> str:
    """Write an amount of money in whole units."""
    return NO_VALUE if value is None else _with_sign(format_number(abs(value)), value, currency)


def format_short_money(value: float, currency: str | None = None) -> str:
    """Write an amount of money for an axis or a label."""
    size = abs(value)
    mark = message_template("number.decimal")
    for limit, letter in ((1e9, "bn"), (1e6, "million"), (1e3, "thousand")):
        if size >= 0.9995 * limit:
            digits = f"{size / limit:.3g}".replace(".", mark)
            return _with_sign(f"{digits}{message_template(f'number.{letter}')}", value, currency)
    return _with_sign(f"{size:.3g}".replace(".", mark) if size < 999.5 else f"{size:.0f}", value, currency)


def _with_sign(digits: str, value: float, currency: str | None) -> str:
    minus = "−" if value < 0 and any(digit in digits for digit in "123456789") else ""
    if not currency:
        return f"{minus}{digits}"
    return translate("number.money", sign=CURRENCY_SYMBOLS.get(currency, currency), minus=minus, value=digits)


def format_day(value: date | str | None, *, short: bool = False) -> str:
    """Write a day."""
    if value is None:
        return NO_VALUE
    try:
        parsed = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    name = message_template(f"month.{'short' if short else 'long'}.{MONTH_KEYS[parsed.month - 1]}")
    return translate("date.short" if short else "date.long", day=parsed.day, month=name, year=parsed.year)


def format_month(value: str) -> str:
    """Write a month."""
    parsed = date.fromisoformat(f"{value}-01")
    return translate(
        "date.month", month=message_template(f"month.alone.{MONTH_KEYS[parsed.month - 1]}"), year=parsed.year
    )


def format_horizon(days: int) -> str:
    """Name a stretch of days."""
    return translate("time.year") if days in {365, 366} else format_quantity(days, "day")


def format_within(days: int) -> str:
    """Say how soon."""
    return translate("time.within_year") if days in {365, 366} else translate("time.within_days", n=days)


def join_list(items: list[str]) -> str:
    """Join items with commas and an "and"."""
    last = translate("list.and")
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def predictor_name(predictor: Any) -> str:
    """Name a predictor of the evaluation."""
    key = str(predictor)
    known = f"predictor.{key}"
    return translate(known) if has_message(known) else key.replace("_", " ").capitalize()
