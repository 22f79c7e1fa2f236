"""In which language the page speaks: texts, plurals and number marks from catalogues, one file per language.

A catalogue is ``catalogues/<locale>.toml``, with the sentences of the record in ``<locale>_record.toml``, the words
of the lists in ``<locale>_lists.toml``, and how an export was read in ``<locale>_reading.toml``; in English that last
part is what the command line says too (``orders.reading_texts``). A text may hold ``{names}`` to fill in; a text that
counts is a table of plural forms (``one``, ``few``, ``many``, ``other``), chosen by the number ``n``. English is
what is spoken where nobody says otherwise, as on the command line.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from repurchase.errors import InputError
from repurchase.orders.reading_texts import FACTS, ROLES

__all__ = ["LOCALES", "catalogue", "fact", "grouped", "is_known", "locale", "plural_form", "say", "speaking"]

LOCALES = {"en": "English", "nb": "Norsk bokmål", "nl": "Nederlands", "ru": "Русский"}
PARTS = ("", "_record", "_lists")
FORMS = {"en": ("one", "other"), "nb": ("one", "other"), "nl": ("one", "other"), "ru": ("one", "few", "many")}
"""Plural forms of whole numbers (Unicode CLDR, plural rules)."""

_SPOKEN: ContextVar[str] = ContextVar("locale", default="en")
Text = str | Mapping[str, str]


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Speak a language for a while.

    Parameters
    ----------
    name : str
        Of ``LOCALES``.

    Yields
    ------
    None
        While it is spoken.

    Raises
    ------
    InputError
        If there is no such catalogue.

    Examples
    --------
    >>> with speaking("ru"):
    ...     [say("n.customer", n=n) for n in (1, 3, 11, 21)]
    ['1 покупатель', '3 покупателя', '11 покупателей', '21 покупатель']
    >>> with speaking("xx"): pass
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: unknown locale 'xx'. Known: en, nb, nl, ru.
    """
    if name not in LOCALES:
        raise InputError(f"unknown locale '{name}'. Known: {', '.join(LOCALES)}.")
    before = _SPOKEN.set(name)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def locale() -> str:
    """Name the language that is spoken.

    Returns
    -------
    str
        Of ``LOCALES``.
    """
    return _SPOKEN.get()


@cache
def catalogue(name: str) -> Mapping[str, Text]:
    """Read a catalogue.

    Parameters
    ----------
    name : str
        Of ``LOCALES``.

    Returns
    -------
    mapping of str to str or mapping
        Key, with dots, to text or plural forms.
    """
    folder = files("repurchase.report").joinpath("catalogues")
    parts = PARTS if name == "en" else (*PARTS, "_reading")
    tables = [tomllib.loads(folder.joinpath(f"{name}{part}.toml").read_text(encoding="utf-8")) for part in parts]
    if name == "en":
        tables.append({"reading": {"role": ROLES, "fact": FACTS}})
    return {key: text for table in tables for key, text in _flat(table, "")}


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Text]]:
    for name, value in table.items():
        if isinstance(value, dict) and not set(value) <= {"one", "few", "many", "other"}:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def is_known(key: str) -> bool:
    """Say whether there is such a text.

    Parameters
    ----------
    key : str
        With dots.

    Returns
    -------
    bool
        In the language that is spoken.
    """
    return key in catalogue(locale())


def fact(key: str) -> str:
    """Look up a text as it stands.

    Parameters
    ----------
    key : str
        With dots.

    Returns
    -------
    str
        Not filled in.
    """
    return str(catalogue(locale())[key])


def say(key: str, /, *, n: Any = None, **values: object) -> str:
    """Say something in the language that is spoken.

    Parameters
    ----------
    key : str
        Of the catalogue, with dots.
    n : int or float, optional
        What decides the plural; it stands in the text as ``{n}``, grouped.
    **values
        What stands in the text by name.

    Returns
    -------
    str
        The text, filled in.

    Examples
    --------
    >>> say("n.customer", n=2345)
    '2,345 customers'
    """
    text = catalogue(locale())[key]
    if not isinstance(text, str):
        text = text[plural_form(round(n or 0), locale())]
    if n is not None:
        values["n"] = grouped(n)
    return text.format(**values) if values else text


def plural_form(n: int, name: str) -> str:
    """Choose the plural form of a whole number.

    Parameters
    ----------
    n : int
        How many.
    name : str
        The locale.

    Returns
    -------
    str
        One of ``FORMS``.

    Examples
    --------
    >>> [plural_form(n, "ru") for n in (1, 4, 5, 12, 21)], plural_form(0, "nl")
    (['one', 'few', 'many', 'many', 'one'], 'other')
    """
    n = abs(n)
    if name != "ru":
        return "one" if n == 1 else "other"
    if n % 10 == 1 and n % 100 != 11:
        return "one"
    return "few" if 2 <= n % 10 <= 4 and not 12 <= n % 100 <= 14 else "many"


def grouped(value: float, places: int = 0) -> str:
    """Write a number with the language's marks.

    Parameters
    ----------
    value : float
        The number.
    places : int
        Digits after the decimal mark.

    Returns
    -------
    str
        Thousands grouped.

    Examples
    --------
    >>> with speaking("nl"):
    ...     grouped(12345.678, 1)
    '12.345,7'
    """
    return f"{value:,.{places}f}".translate({ord(","): fact("number.group"), ord("."): fact("number.decimal")})
