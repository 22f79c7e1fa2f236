"""Messages as key and parameters, rendered in the active language.

A template holds its parameters in braces, with a format after a colon: ``{share:.1%}`` and ``{loss:.4f}`` are numbers,
``{day:date}`` a date, ``{spent:money}`` money in the message's ``currency``, ``{days:n.day}`` a number with its noun
(the message ``n.day`` with plural forms), ``{rule:predictor.*}`` the message ``predictor.<value>``, and ``{names:, }``
a list with that separator (without one: commas and an "and"). A parameter may be a message itself.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from string import Formatter
from typing import Any, TypedDict

from repurchase.i18n.catalogues import active_locale, has_message, load_catalogue, message_template, use_locale
from repurchase.i18n.formatting import (
    NO_VALUE,
    format_count,
    format_currency,
    format_day,
    format_number,
    format_percent,
    format_share,
    join_list,
    significant_places,
)

_YEAR_DAYS = (365, 366)


class Message(TypedDict):
    """What a record holds instead of a sentence."""

    key: str
    params: dict[str, Any]


def message(key: str, /, **params: Any) -> Message:
    """Make a message."""
    return {"key": key, "params": params}


def first_items(items: Sequence[Any], shown: int = 3) -> list[Any] | Message:
    """The first of several items and how many more there are, as a parameter."""
    more = len(items) - shown
    return list(items) if more <= 0 else message("list_and_more", listed=list(items[:shown]), n=more)


def render(content: Mapping[str, Any] | str, *, locale: str | None = None) -> str:
    """Render a message; a sentence of an earlier version is shown as it is, and the key of a message unknown here."""
    if isinstance(content, str):
        return content
    with use_locale(locale or active_locale()):
        try:
            return translate(content["key"], **content["params"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return str(content.get("key"))


def translate(key: str, /, **params: Any) -> str:
    """Render the message of a key; ``n`` decides its plural form."""
    return "".join(
        literal if name is None else literal + _format_param(params[name], spec, params)
        for literal, name, spec in _parse_template(message_template(key, params.get("n", 0)))
    )


@cache
def _parse_template(template: str) -> tuple[tuple[str, str | None, str], ...]:
    return tuple((literal, name, spec or "") for literal, name, spec, _ in Formatter().parse(template))


def _format_param(value: Any, spec: str, params: Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        return render(value)
    if isinstance(value, list | tuple):
        return _format_items(value, spec, params)
    return NO_VALUE if value is None else _format_scalar(value, spec, params)


def _format_scalar(value: Any, spec: str, params: Mapping[str, Any]) -> str:
    if spec in _NAMED_FORMATS:
        return _NAMED_FORMATS[spec](value, params)
    if spec.endswith(".*"):
        key = f"{spec[:-1]}{value}"
        return translate(key) if has_message(key) else str(value).replace("_", " ")
    if spec[:1].isalpha():
        return translate(spec, n=value)
    return str(value) if isinstance(value, str | bool) else _format_figure(value, spec)


def _format_items(items: Sequence[Any], spec: str, params: Mapping[str, Any]) -> str:
    """A list; two numbers with a number's format are the ends of a range."""
    if any(sign in spec for sign in "%f"):
        low, high = (_format_param(item, spec, params) for item in items)
        return low if low == high else translate("range", low=low, high=high)
    texts = [_format_param(item, "", params) for item in items]
    return spec.join(texts) if spec else join_list(texts)


def _format_figure(value: float, spec: str) -> str:
    if not spec:
        return format_number(value) if float(value).is_integer() else f"{format_number(value, 2)}"
    places = int(spec.strip("+,f%").removeprefix(".") or 0)
    text = (format_percent if spec.endswith("%") else format_number)(value, places)
    return f"+{text}" if spec.startswith("+") and value >= 0 else text


_NAMED_FORMATS: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "share": lambda value, _: format_share(value),
    "percent": lambda value, _: format_percent(value, significant_places(100 * value)),
    "date": lambda value, _: format_day(value),
    "money": lambda value, params: format_currency(value, params.get("currency")),
    "cents": lambda value, params: format_currency(value, params.get("currency"), 2),
    "change": lambda value, params: f"{'+' if value >= 0 else ''}{format_currency(value, params.get('currency'))}",
}


def format_quantity(number: float, noun: str, *, form: str = "n") -> str:
    """A number with its noun."""
    key = f"{form}.{noun.replace('-', '_')}"
    if has_message(key):
        return translate(key, n=number)
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


def format_in_hundred(value: float) -> str:
    """A share as "42 of 100"."""
    if 0 < value < 0.01:
        return translate("number.of_thousand", value=format_count(1000 * value), whole=format_count(1000))
    return translate("number.of_hundred", value=format_count(100 * value))


def format_horizon(days: int) -> str:
    """A number of days; a year by its name."""
    return translate("time.year") if days in _YEAR_DAYS else format_quantity(days, "day")


def within_message(days: int) -> Message:
    """Within so many days, as a message."""
    return message("time.within_year") if days in _YEAR_DAYS else message("time.within_days", n=days)


def format_within(days: int) -> str:
    """Within so many days."""
    return render(within_message(days))


def predictor_name(predictor: str) -> str:
    """Name a predictor of the evaluation."""
    key = f"predictor.{predictor}"
    return translate(key) if has_message(key) else predictor.replace("_", " ").capitalize()


def feature_name(feature: str) -> str:
    """Name a feature of customers."""
    key = f"feature.{feature}"
    return translate(key) if has_message(key) else feature.replace("_", " ")


def translate_text(text: str, prefix: str) -> str:
    """Translate an English text that is one of the messages whose keys begin so; another text stays as it is."""
    if active_locale() == "en":
        return text
    return _translations(active_locale(), prefix).get(text, text)


@cache
def _translations(locale: str, prefix: str) -> Mapping[str, str]:
    english, messages = (load_catalogue(name).messages for name in ("en", locale))
    return {str(text): str(messages[key]) for key, text in english.items() if key.startswith(prefix)}
