"""Message catalogues (gettext) and the active locale.

``catalogues/messages.pot`` holds every message in English, a ``.po`` file beside it one other language. ``msgctxt`` is
the key of a message. A language needs no more than its file; a message without a translation is shown in English.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from repurchase.errors import InputError

if TYPE_CHECKING:
    from babel import Locale

MessageText = str | Mapping[str, str]
"""A template, or one per plural category (Unicode CLDR)."""
_PLURAL_CATEGORIES = ("zero", "one", "two", "few", "many", "other")
_FOLDER = files("repurchase.i18n").joinpath("catalogues")
LOCALES = (
    "en",
    *sorted(entry.name.removesuffix(".po") for entry in _FOLDER.iterdir() if entry.name.endswith(".po")),
)
_ACTIVE_LOCALE: ContextVar[str] = ContextVar("locale", default="en")


class Catalogue(NamedTuple):
    """The messages of one language by key, and its formats of numbers and dates."""

    locale: "Locale"
    messages: Mapping[str, MessageText]


def require_locale(name: str) -> str:
    """Check that there is a catalogue for a locale."""
    if name not in LOCALES:
        raise InputError(f"unknown locale '{name}'. Known: {', '.join(LOCALES)}.")
    return name


@contextmanager
def use_locale(name: str) -> Iterator[None]:
    """Render messages in another language for a while."""
    before = _ACTIVE_LOCALE.set(require_locale(name))
    try:
        yield
    finally:
        _ACTIVE_LOCALE.reset(before)


def set_locale(name: str) -> None:
    """Render messages in another language from now on."""
    _ACTIVE_LOCALE.set(require_locale(name))


def environment_locale() -> str:
    """The language that the environment asks for, if there is a catalogue for it."""
    named = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "en")
    language = named.partition(".")[0].partition("_")[0].lower()
    language = {"no": "nb"}.get(language, language)
    return language if language in LOCALES else "en"


def active_locale() -> str:
    """Name the language that messages are rendered in."""
    return _ACTIVE_LOCALE.get()


def babel_locale() -> "Locale":
    """Formats of numbers and dates of the active language."""
    return load_catalogue(active_locale()).locale


@cache
def load_catalogue(name: str) -> Catalogue:
    """Read a catalogue."""
    from babel.messages.pofile import read_po

    file_name = "messages.pot" if name == "en" else f"{name}.po"
    with _FOLDER.joinpath(file_name).open("rb") as file:
        catalogue = read_po(file)
    locale = catalogue.locale
    if locale is None:
        raise InputError(f"{file_name}: its header names no language, such as 'Language: de'.")
    categories = integer_plural_categories(locale)
    messages: dict[str, MessageText] = {}
    for message in catalogue:
        if not message.context:
            continue
        translation = message.string if isinstance(message.string, str) else list(message.string or ())
        is_translated = name != "en" and not message.fuzzy and bool(translation) and all(translation)
        text = translation if is_translated else message.id
        forms = categories if is_translated else ("one", "other")
        messages[message.context] = text if isinstance(text, str) else dict(zip(forms, text, strict=True))
    return Catalogue(locale, messages)


def integer_plural_categories(locale: "Locale") -> tuple[str, ...]:
    """Plural categories that whole numbers have, in the order of gettext's plural forms."""
    used = {locale.plural_form(n) for n in range(200)}
    return tuple(category for category in _PLURAL_CATEGORIES if category in used)


def has_message(key: str) -> bool:
    """Whether there is such a message."""
    return key in load_catalogue(active_locale()).messages


def message_template(key: str, n: float = 0) -> str:
    """Look up a template; of one with plural forms the form for a number."""
    locale, messages = load_catalogue(active_locale())
    text = messages[key]
    if isinstance(text, str):
        return text
    return text.get(locale.plural_form(abs(round(n)))) or list(text.values())[-1]
