"""What the status of an order, or the type of a record, says about whether money was earned.

A value is looked up by the stems of its words, in twelve languages. What is not understood is never dropped: it is
reported, and too much of it stops the run (see ``cleaning_rules``).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Literal

from repurchase.orders.status_phrases import is_paid_and_waits, without_kept_money
from repurchase.orders.vocabulary import fold

__all__ = [
    "FALSE_WORDS",
    "TRUE_WORDS",
    "RecordType",
    "StatusClass",
    "classify_status",
    "classify_type",
    "classify_types",
    "is_void",
    "status_key",
]

StatusClass = Literal["sale", "not_sale", "refunded", "unclear", "unknown"]
"""``unclear``: understood, but shops mean different things by it (``on hold``); ``unknown``: not in the vocabulary."""
RecordType = Literal["sale", "refund", "other", "unknown"]
"""``other``: no order that counts; `is_void` tells those that were undone at the till."""

_SHORT = 4
_FILE = tomllib.loads(resources.files(__package__).joinpath("status_words.toml").read_text(encoding="utf-8"))
_STEMS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _FILE["statuses"].items()}
TRUE_WORDS, FALSE_WORDS = frozenset(_STEMS["true"]), frozenset(_STEMS["false"])
_CLASSES: tuple[tuple[StatusClass, str], ...] = (
    ("sale", "fulfilment"),
    ("not_sale", "unpaid"),
    ("not_sale", "not_sale"),
    ("refunded", "refunded"),
    ("not_sale", "pending"),
    ("unclear", "unclear"),
    ("sale", "sale"),
)
_TYPES: tuple[RecordType, ...] = ("refund", "other", "sale")
_TYPE_STEMS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _FILE["types"].items()}


def status_key(text: str) -> str:
    """Reduce a status to what counts in a comparison.

    Parameters
    ----------
    text : str
        As it stands in the export.

    Returns
    -------
    str
        Letters and digits without accents or case; WooCommerce's ``wc-`` is dropped.

    Examples
    --------
    >>> status_key("wc-on-hold"), status_key("Zurückerstattet")
    ('onhold', 'zuruckerstattet')
    """
    letters = "".join(sign for sign in fold(text) if sign.isalnum())
    return letters.removeprefix("wc") if fold(text).startswith("wc-") else letters


def classify_status(
    text: str,
    *,
    sale: Iterable[str] = (),
    not_sale: Iterable[str] = (),
    shop: Mapping[str, StatusClass] | None = None,
    payment: bool = False,
) -> StatusClass:
    """Say what a status means.

    Parameters
    ----------
    text : str
        As it stands in the export.
    sale, not_sale : iterable of str
        Statuses that the settings name. Where ``sale`` is given, no other status counts as a sale; ``refunded`` is
        still told apart, as such a row may be the refund of a sale.
    shop : mapping, optional
        What single statuses mean in the software that wrote the export, by `status_key`.
    payment : bool
        Whether it is the status of a payment: an open one was not paid.

    Returns
    -------
    StatusClass
        ``unknown`` where the vocabulary has no word for it.

    Examples
    --------
    >>> [classify_status(word) for word in ("paid", "Awaiting Payment", "storniert", "on hold", "A7")]
    ['sale', 'not_sale', 'not_sale', 'unclear', 'unknown']
    """
    key = status_key(text)
    wanted, unwanted = {status_key(word) for word in sale}, {status_key(word) for word in not_sale}
    if key in unwanted:
        return "not_sale"
    if key in wanted:
        return "sale"
    is_open = payment and key.startswith(_STEMS["open_payment"])
    found = (shop or {}).get(key) or ("not_sale" if is_open else _in_vocabulary(text, key))
    return "not_sale" if wanted and found != "refunded" else found


def _in_vocabulary(text: str, key: str) -> StatusClass:
    kept = without_kept_money(text, _STEMS["refunded"])
    if kept is not None:
        found = _in_vocabulary(kept.rest, status_key(kept.rest)) if kept.rest else "unknown"
        return ("unclear" if kept.is_refused else "sale") if found == "unknown" else found
    if not _begins(key, _STEMS["unpaid"]) and is_paid_and_waits(text):
        against = (meaning for meaning, name in _CLASSES if name in {"not_sale", "refunded"} and _holds(key, name))
        return next(against, "sale")
    first, _, rest = text.strip().replace("_", " ").partition(" ")
    if rest and fold(first) in _STEMS["negations"] and _vocabulary_class(status_key(rest)) == "sale":
        return "not_sale"
    found = _vocabulary_class(key)
    return "unknown" if found == "sale" and _is_denied_later(text) else found


def _is_denied_later(text: str) -> bool:
    """Whether a word amid a status denies it, as in ``Zahlung nicht eingegangen``, and no sale is stated before it."""
    words = [fold(word) for word in text.replace("_", " ").split()]
    at = next((place for place, word in enumerate(words) if place and word in _STEMS["negations"]), None)
    return at is not None and _vocabulary_class(status_key(" ".join(words[:at]))) != "sale"


@lru_cache(maxsize=4096)
def _vocabulary_class(key: str) -> StatusClass:
    if _mentions(key, "refunded") and _mentions(key, "partial"):
        return "sale"
    if not key.startswith(_STEMS["fulfilment"]) and _mentions(key, "wait") and _mentions(key, "pay"):
        return "not_sale"
    return next((meaning for meaning, name in _CLASSES if _begins(key, _STEMS[name])), "unknown")


def _mentions(key: str, name: str) -> bool:
    return any(stem in key for stem in _STEMS[name])


def _holds(key: str, name: str) -> bool:
    return _begins(key, _STEMS[name])


def _begins(key: str, stems: tuple[str, ...]) -> bool:
    """Whether a text begins with a stem, or holds one that is long enough not to be there by chance."""
    return key.startswith(stems) or any(len(stem) > _SHORT and stem in key for stem in stems)


@lru_cache(maxsize=4096)
def is_void(text: str) -> bool:
    """Say whether a record was undone at the till: its money was never paid, and is none that was given back.

    Parameters
    ----------
    text : str
        Its type, as it stands in the export.

    Returns
    -------
    bool
        Whether a word of it begins like ``void``.

    Examples
    --------
    >>> [is_void(word) for word in ("Void", "Voided sale", "Refund", "Avoir")]
    [True, True, False, False]
    """
    words = re.findall(r"[^\W_]+", fold(text))
    return any(word.startswith(_TYPE_STEMS["void"]) for word in words)


@lru_cache(maxsize=4096)
def classify_type(text: str) -> RecordType:
    """Say what a record is.

    Parameters
    ----------
    text : str
        Its type, as it stands in the export.

    Returns
    -------
    RecordType
        ``other``: no order at all, such as a payout or a fee, or one that was voided.

    Examples
    --------
    >>> [classify_type(word) for word in ("Sale", "Refund", "payout", "B2B")]
    ['sale', 'refund', 'other', 'unknown']
    """
    key = status_key(text)
    if is_void(text):
        return "other"
    return next((kind for kind in _TYPES if _begins(key, _TYPE_STEMS[kind])), "unknown")


def classify_types(texts: Iterable[str]) -> dict[str, RecordType]:
    """Say what the records of an export are, by all types that occur.

    Parameters
    ----------
    texts : iterable of str
        The different types.

    Returns
    -------
    dict of str to RecordType
        Where an order has a record of its own (``Sale``), those of its lines and payments (``Sale Line``, ``Payment``)
        repeat its money and are ``other``.

    Examples
    --------
    >>> classify_types(["Sale", "Sale Line", "Payment"])
    {'Sale': 'sale', 'Sale Line': 'other', 'Payment': 'other'}
    """
    keys = {text: status_key(text) for text in texts}
    heads = {key for key in keys.values() if f"{key}line" in keys.values() or f"{key}item" in keys.values()}
    parts = {f"{head}{part}" for head in heads for part in ("line", "item")}
    if heads:
        parts |= {key for key in keys.values() if key.startswith(("payment", "tender"))}
    return {text: "other" if key in parts else classify_type(text) for text, key in keys.items()}
