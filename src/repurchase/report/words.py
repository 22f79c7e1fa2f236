"""Numbers, money, days and names, as people read them, in the language that is spoken (see `language`)."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from repurchase.report.language import fact, grouped, is_known, say

__all__ = [
    "brief",
    "count",
    "counted",
    "day",
    "decimal",
    "horizon",
    "in_a_hundred",
    "listed",
    "money",
    "month",
    "named",
    "share",
    "short_money",
    "within",
]

NOTHING = "–"
THIN = "\u202f"
SYMBOLS: Mapping[str, str] = {"GBP": "£", "EUR": "€", "USD": "$", "NOK": "kr", "SEK": "kr", "DKK": "kr", "RUB": "₽"}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def brief(name: str, *, longest: int = 28) -> str:
    """Cut a name to what fits beside an axis.

    Parameters
    ----------
    name : str
        Any text.
    longest : int
        Characters.

    Returns
    -------
    str
        The name, or its beginning.

    Examples
    --------
    >>> brief("an amount that is not a number", longest=20)
    'an amount that is n…'
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def count(value: float | None) -> str:
    """Write a whole number.

    Parameters
    ----------
    value : float, optional
        The number.

    Returns
    -------
    str
        With thousands separators; a dash for None.

    Examples
    --------
    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return NOTHING if value is None else grouped(value)


def counted(number: float, noun: str, *, form: str = "n") -> str:
    """Count things.

    Parameters
    ----------
    number : float
        How many, whole.
    noun : str
        What, in the English singular.
    form : {"n", "of"}
        On its own, or after "of".

    Returns
    -------
    str
        Number and noun.

    Examples
    --------
    >>> counted(1, "customer"), counted(2345, "customer")
    ('1 customer', '2,345 customers')
    """
    key = f"{form}.{noun.replace('-', '_')}"
    return say(key, n=number) if is_known(key) else f"{count(number)} {noun}{'' if number == 1 else 's'}"


def decimal(value: float | None, places: int = 3) -> str:
    """Write a number with decimals.

    Parameters
    ----------
    value : float, optional
        The number.
    places : int
        Digits after the point.

    Returns
    -------
    str
        The number; a dash for None.

    Examples
    --------
    >>> decimal(0.32071), decimal(2.5, 1)
    ('0.321', '2.5')
    """
    return NOTHING if value is None else grouped(value, places)


def share(value: float | None) -> str:
    """Write a share as a percentage, never rounding something to nothing or almost all to all.

    Parameters
    ----------
    value : float, optional
        From 0 to 1.

    Returns
    -------
    str
        The percentage; one digit more below 10 % and above 99 %.

    Examples
    --------
    >>> [share(value).replace(THIN, " ") for value in (0.344, 0.0123, 0.0001, 0.9996, 1.0, 0.0)]
    ['34 %', '1.2 %', '< 0.1 %', '> 99.9 %', '100 %', '0 %']
    """
    if value is None:
        return NOTHING
    percent = 100 * value
    if 0 < percent < 0.1:
        return f"<{THIN}{_percent(0.1, 1)}"
    if 99.9 < percent < 100:
        return f">{THIN}{_percent(99.9, 1)}"
    places = 1 if 0 < abs(percent) < 9.95 or 99 < percent < 100 else 0
    return _percent(percent, places)


def _percent(percent: float, places: int) -> str:
    return say("number.percent", value=grouped(percent, places))


def in_a_hundred(value: float) -> str:
    """Write a share as "42 of 100".

    Parameters
    ----------
    value : float
        From 0 to 1.

    Returns
    -------
    str
        Whole customers of a hundred, or of a thousand where that would be none.

    Examples
    --------
    >>> in_a_hundred(0.4212), in_a_hundred(0.003)
    ('42 of 100', '3 of 1,000')
    """
    if 0 < value < 0.01:
        return say("number.of_thousand", value=count(1000 * value), whole=count(1000))
    return say("number.of_hundred", value=count(100 * value))


def money(value: float | None, currency: str | None = None) -> str:
    """Write an amount of money in whole units.

    Parameters
    ----------
    value : float, optional
        The amount.
    currency : str, optional
        ISO code, or any name.

    Returns
    -------
    str
        With the sign of the currency where it is known.

    Examples
    --------
    >>> money(1234.4, "GBP").replace(THIN, " "), money(-1234.4, "CHF").replace(THIN, " "), money(12)
    ('£ 1,234', 'CHF −1,234', '12')
    """
    return NOTHING if value is None else _with_sign(grouped(abs(value)), value, currency)


def short_money(value: float, currency: str | None = None) -> str:
    """Write an amount of money for an axis or a label.

    Parameters
    ----------
    value : float
        The amount.
    currency : str, optional
        ISO code, or any name.

    Returns
    -------
    str
        Three digits at most, with k, M or bn.

    Examples
    --------
    >>> [short_money(value) for value in (950, 12_345, 2_500_000, 0)]
    ['950', '12.3k', '2.5M', '0']
    """
    size = abs(value)
    mark = fact("number.decimal")
    for limit, letter in ((1e9, "bn"), (1e6, "million"), (1e3, "thousand")):
        if size >= 0.9995 * limit:
            digits = f"{size / limit:.3g}".replace(".", mark)
            return _with_sign(f"{digits}{fact(f'number.{letter}')}", value, currency)
    return _with_sign(f"{size:.3g}".replace(".", mark) if size < 999.5 else f"{size:.0f}", value, currency)


def _with_sign(digits: str, value: float, currency: str | None) -> str:
    minus = "−" if value < 0 and any(digit in digits for digit in "123456789") else ""
    if not currency:
        return f"{minus}{digits}"
    return say("number.money", sign=SYMBOLS.get(currency, currency), minus=minus, value=digits)


def day(value: date | str | None, *, short: bool = False) -> str:
    """Write a day.

    Parameters
    ----------
    value : date or str, optional
        A day, or one in ISO form.
    short : bool
        With the month in three letters.

    Returns
    -------
    str
        Day, month, year.

    Examples
    --------
    >>> day("2011-12-09"), day("2011-12-09", short=True), day(None)
    ('9 December 2011', '9 Dec 2011', '–')
    """
    if value is None:
        return NOTHING
    try:
        parsed = date.fromisoformat(value[:10]) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    name = fact(f"month.{'short' if short else 'long'}.{MONTHS[parsed.month - 1]}")
    return say("date.short" if short else "date.long", day=parsed.day, month=name, year=parsed.year)


def month(value: str) -> str:
    """Write a month.

    Parameters
    ----------
    value : str
        Year and month, as in "2011-12".

    Returns
    -------
    str
        Month, year.

    Examples
    --------
    >>> month("2011-12")
    'December 2011'
    """
    parsed = date.fromisoformat(f"{value}-01")
    return say("date.month", month=fact(f"month.alone.{MONTHS[parsed.month - 1]}"), year=parsed.year)


def horizon(days: int) -> str:
    """Name a stretch of days.

    Parameters
    ----------
    days : int
        How many.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> horizon(365), horizon(90), horizon(1)
    ('a year', '90 days', '1 day')
    """
    return say("time.year") if days in {365, 366} else counted(days, "day")


def within(days: int) -> str:
    """Say how soon.

    Parameters
    ----------
    days : int
        How many.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> within(365), within(90)
    ('within a year', 'within 90 days')
    """
    return say("time.within_year") if days in {365, 366} else say("time.within_days", n=days)


def listed(items: list[str]) -> str:
    """Join items with commas and an "and".

    Parameters
    ----------
    items : list of str
        What to join.

    Returns
    -------
    str
        One phrase.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    last = say("list.and")
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def named(predictor: Any) -> str:
    """Name a predictor of the evaluation.

    Parameters
    ----------
    predictor : str
        Its key.

    Returns
    -------
    str
        What readers call it.

    Examples
    --------
    >>> named("past_rate"), named("other_rule")
    ('Rule: own past rate', 'Other rule')
    """
    key = str(predictor)
    known = f"predictor.{key}"
    return say(known) if is_known(known) else key.replace("_", " ").capitalize()
