"""Numbers, money, dates and lists, formatted by Babel for the active locale."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Literal

from repurchase.i18n.catalogues import active_locale, babel_locale, load_catalogue

if TYPE_CHECKING:
    from babel.numbers import NumberPattern

NO_VALUE = "–"
THIN_SPACE, NO_BREAK_SPACE = "\u202f", "\u00a0"
_SHOWN_DIGITS = 3
"""Significant digits of an abbreviated amount."""
_SHORTENED_FROM = 999.5


def truncate_name(name: str, *, longest: int = 28) -> str:
    """Shorten a name to what fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def format_number(value: float, places: int = 0) -> str:
    """A number with so many decimals."""
    return str(_pattern(active_locale(), "decimal", places).apply(_rounded(value, places), babel_locale()))


def format_percent(share: float, places: int = 0) -> str:
    """A share as a percentage with so many decimals."""
    rounded = _rounded(100 * share, places) / 100
    return str(_pattern(active_locale(), "percent", places).apply(rounded, babel_locale()))


def format_currency(value: float, currency: str | None, places: int = 0) -> str:
    """An amount of money; without a currency a plain number."""
    if not currency:
        return format_number(value, places)
    pattern, rounded = _pattern(active_locale(), "currency", places), _rounded(value, places)
    return _spaced_currency(pattern.apply(rounded, babel_locale(), currency=currency, currency_digits=False), currency)


@cache
def _pattern(locale: str, kind: Literal["decimal", "percent", "currency"], places: int) -> "NumberPattern":
    """The pattern of a locale with another number of decimals."""
    from babel.numbers import parse_pattern

    formats = load_catalogue(locale).locale
    standard = {
        "decimal": formats.decimal_formats[None],
        "percent": formats.percent_formats[None],
        "currency": formats.currency_formats["standard"],
    }
    whole = standard[kind].pattern.replace(".###", "").replace(".00", "")
    return parse_pattern(whole.replace("##0", f"##0.{places * '0'}") if places else whole)


def _spaced_currency(text: str, currency: str) -> str:
    """Put a space between letters and the number after them (CLDR, currency spacing)."""
    symbol = currency_symbol(currency)
    at = text.find(symbol) + len(symbol)
    return f"{text[:at]}{NO_BREAK_SPACE}{text[at:]}" if symbol[-1:].isalpha() and text[at : at + 1].isdigit() else text


def _rounded(value: float, places: int) -> Decimal:
    """Round the binary number, as the page's script does, and not its shortest decimal form."""
    rounded = Decimal(f"{value:.{places}f}")
    return rounded or abs(rounded)


def format_count(value: float | None) -> str:
    """A whole number."""
    return NO_VALUE if value is None else format_number(value)


def format_decimal(value: float | None, places: int = 3) -> str:
    """A number with decimals."""
    return NO_VALUE if value is None else format_number(value, places)


def format_share(value: float | None) -> str:
    """A share as a percentage; only nothing is 0 % and only all of it 100 %."""
    if value is None:
        return NO_VALUE
    percent = 100 * value
    if 0 < percent < 0.1:
        return f"<{THIN_SPACE}{format_percent(0.001, 1)}"
    if 99.9 < percent < 100:
        return f">{THIN_SPACE}{format_percent(0.999, 1)}"
    places = 1 if 0 < abs(percent) < 9.95 or 99 < percent < 100 else 0
    return format_percent(value, places)


def format_money(value: float | None, currency: str | None = None) -> str:
    """An amount of money in whole units."""
    return NO_VALUE if value is None else format_currency(value, currency)


def format_short_money(value: float, currency: str | None = None) -> str:
    """An amount of money for an axis or a label, such as £1.2m."""
    from babel.numbers import format_compact_currency, format_compact_decimal

    if abs(value) < _SHORTENED_FROM:
        return format_currency(value, currency, significant_places(value))
    places = _SHOWN_DIGITS - 1 - (len(f"{abs(value):.0f}") - 1) % 3
    if not currency:
        return format_compact_decimal(value, locale=babel_locale(), fraction_digits=places)
    text = format_compact_currency(value, currency, locale=babel_locale(), fraction_digits=places)
    return _spaced_currency(text, currency)


def significant_places(value: float) -> int:
    """Decimals that a number has when it is written with three significant digits."""
    return max(-int(Decimal(f"{value:.{_SHOWN_DIGITS}g}").normalize().as_tuple().exponent), 0)


def currency_symbol(currency: str) -> str:
    """The symbol of a currency."""
    from babel.numbers import get_currency_symbol

    return get_currency_symbol(currency, locale=babel_locale())


def format_day(value: date | str | None, *, short: bool = False) -> str:
    """A day, with the name of the month or, if short, an abbreviation."""
    from babel.dates import format_date

    if value is None:
        return NO_VALUE
    try:
        day = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    if not isinstance(day, date):
        raise TypeError(f"not a day: {day!r}")
    return format_date(day, "medium" if short else "long", locale=babel_locale())


def format_month(value: str) -> str:
    """A month with its year, from ``2024-05``."""
    from babel.dates import format_skeleton

    return format_skeleton("yMMMM", date.fromisoformat(f"{value}-01"), locale=babel_locale())


def join_list(items: Iterable[str]) -> str:
    """Join items with commas and an "and"."""
    from babel.lists import format_list

    return format_list(list(items), locale=babel_locale())


def month_names() -> list[str]:
    """Abbreviated names of the months, as they are written in dates."""
    names = babel_locale().months["format"]["abbreviated"]
    return [names[month] for month in range(1, 13)]


def number_templates(currency: str | None) -> dict[str, str]:
    """Marks and templates with which the page's script formats numbers and days as this module does."""
    locale, value = babel_locale(), "{value}"
    symbols = locale.number_symbols["latn"]
    day_parts = {"d": "{day}", "dd": "{day2}", "M": "{month1}", "MM": "{month2}", "MMM": "{month}", "y": "{year}"}
    return {
        "number.group": symbols["group"],
        "number.decimal": decimal_mark(),
        "number.percent": format_percent(0.01).replace("1", value),
        "number.money": format_currency(1, currency).replace("1", value),
        "number.negative_money": format_currency(-1, currency).replace("1", value),
        "number.csv_separator": csv_separator(),
        "date.short": locale.date_formats["medium"].format % day_parts,
    }


def csv_separator() -> str:
    """What separates columns in the CSV files that spreadsheets of the locale read."""
    return ";" if decimal_mark() == "," else ","


def decimal_mark() -> str:
    """The decimal mark of the locale."""
    return str(babel_locale().number_symbols["latn"]["decimal"])
