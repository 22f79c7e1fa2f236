"""Numbers, money, days and names, as people read them."""

from collections.abc import Mapping
from datetime import date
from typing import Any

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
]

NOTHING = "–"
THIN = "\u202f"
SYMBOLS: Mapping[str, str] = {"GBP": "£", "EUR": "€", "USD": "$", "NOK": "kr", "SEK": "kr", "DKK": "kr", "RUB": "₽"}
PREDICTORS: Mapping[str, str] = {
    "model": "This model",
    "days_since_last": "Rule: days since last order",
    "past_rate": "Rule: own past rate",
}


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
    return NOTHING if value is None else f"{value:,.0f}"


def counted(number: int, noun: str) -> str:
    """Count things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        What, in the singular.

    Returns
    -------
    str
        Number and noun.

    Examples
    --------
    >>> counted(1, "customer"), counted(2345, "customer")
    ('1 customer', '2,345 customers')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


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
    return NOTHING if value is None else f"{value:,.{places}f}"


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
        return f"<{THIN}0.1{THIN}%"
    if 99.9 < percent < 100:
        return f">{THIN}99.9{THIN}%"
    places = 1 if 0 < abs(percent) < 9.95 or 99 < percent < 100 else 0
    return f"{percent:,.{places}f}{THIN}%"


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
    return f"{1000 * value:.0f} of 1,000" if 0 < value < 0.01 else f"{100 * value:.0f} of 100"


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
    return NOTHING if value is None else _with_sign(f"{abs(value):,.0f}", value, currency)


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
    for limit, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * limit:
            return _with_sign(f"{size / limit:.3g}{letter}", value, currency)
    return _with_sign(f"{size:.3g}" if size < 999.5 else f"{size:.0f}", value, currency)


def _with_sign(digits: str, value: float, currency: str | None) -> str:
    minus = "−" if value < 0 and any(digit in digits for digit in "123456789") else ""
    unit = f"{SYMBOLS.get(currency, currency)}{THIN}" if currency else ""
    return f"{unit}{minus}{digits}"


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
    return f"{parsed.day} {parsed:%b %Y}" if short else f"{parsed.day} {parsed:%B %Y}"


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
    return f"{date.fromisoformat(f'{value}-01'):%B %Y}"


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
    return "a year" if days in {365, 366} else counted(days, "day")


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
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


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
    return PREDICTORS.get(key, key.replace("_", " ").capitalize())
