"""What a status or a type of record means: a sale or none, paid, refunded, unclear."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from repurchase.sources.vocabulary import fold, word_table, words_by_name

StatusClass = Literal["sale", "not_sale", "refunded", "unclear", "unknown"]
"""``unclear``: understood, but shops mean different things by it (``on hold``); ``unknown``: not in the vocabulary."""
_RecordType = Literal["sale", "refund", "other", "unknown"]
"""``other``: no order that counts; `is_void` tells those that were undone at the till."""
_ClauseWord = Literal["paid", "came_in", "wait", "wait_and_pay", "pay", "goods", "break", "plain"]

_TABLE = word_table("status_words.toml")
_STATUSES, _TYPES = words_by_name(_TABLE["statuses"]), words_by_name(_TABLE["types"])
_PHRASES = words_by_name(word_table("status_phrases.toml"))
TRUE_WORDS, FALSE_WORDS = frozenset(_STATUSES["true"]), frozenset(_STATUSES["false"])
_CLASSES: tuple[tuple[str, StatusClass], ...] = (  # the first list of words that fits decides
    ("fulfilment", "sale"),
    ("unpaid", "not_sale"),
    ("not_sale", "not_sale"),
    ("refunded", "refunded"),
    ("pending", "not_sale"),
    ("unclear", "unclear"),
    ("sale", "sale"),
)
_RECORD_TYPES: tuple[_RecordType, ...] = ("refund", "other", "sale")
_CLAUSE_ENDS = re.compile(r"[,;:()\[\]|/+]|\s[-–—]+\s|\.\s")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_SHORT_STEM = 4
_FAR, _NEAR = 5, 2


def status_key(text: str) -> str:
    """Reduce a status to what counts in a comparison."""
    letters = "".join(filter(str.isalnum, fold(text)))
    return letters.removeprefix("wc") if fold(text).startswith("wc-") else letters


def classify_status(
    text: str,
    *,
    sale: Iterable[str] = (),
    not_sale: Iterable[str] = (),
    shop: Mapping[str, StatusClass] | None = None,
    payment: bool = False,
) -> StatusClass:
    """Say what a status means."""
    key = status_key(text)
    sales, others = {status_key(word) for word in sale}, {status_key(word) for word in not_sale}
    if key in others:
        return "not_sale"
    if key in sales:
        return "sale"
    is_open = payment and key.startswith(_STATUSES["open_payment"])
    found = (shop or {}).get(key) or ("not_sale" if is_open else _class_of_text(text, key))
    return "not_sale" if sales and found != "refunded" else found


def _class_of_text(text: str, key: str) -> StatusClass:
    kept = _without_denied_refunds(text)
    if kept is not None:
        found = _class_of_text(kept.rest, status_key(kept.rest)) if kept.rest else "unknown"
        return ("unclear" if kept.is_refused else "sale") if found == "unknown" else found
    if not _has_stem(key, _STATUSES["unpaid"]) and _is_paid_and_waits(text):
        against: tuple[StatusClass, ...] = ("not_sale", "refunded")
        return next((found for found in against if _has_stem(key, _STATUSES[found])), "sale")
    first, _, rest = text.strip().replace("_", " ").partition(" ")
    if rest and fold(first) in _STATUSES["negations"] and _class_of_key(status_key(rest)) == "sale":
        return "not_sale"
    found = _class_of_key(key)
    return "unknown" if found == "sale" and _is_denied_later(text) else found


@lru_cache(maxsize=4096)
def _class_of_key(key: str) -> StatusClass:
    if _mentions(key, "refunded") and _mentions(key, "partial"):
        return "sale"
    if not key.startswith(_STATUSES["fulfilment"]) and _mentions(key, "wait") and _mentions(key, "pay"):
        return "not_sale"
    return next((found for name, found in _CLASSES if _has_stem(key, _STATUSES[name])), "unknown")


def _mentions(key: str, name: str) -> bool:
    return any(stem in key for stem in _STATUSES[name])


def _has_stem(word: str, stems: tuple[str, ...]) -> bool:
    """Whether a word begins with a stem, or holds one that is long enough not to be there by chance."""
    return word.startswith(stems) or any(len(stem) > _SHORT_STEM and stem in word for stem in stems)


def _is_denied_later(text: str) -> bool:
    """Whether a word amid a status denies it, as in ``Zahlung nicht eingegangen``, and no sale is stated before it."""
    words = [fold(word) for word in text.replace("_", " ").split()]
    at = next((place for place, word in enumerate(words) if place and word in _STATUSES["negations"]), None)
    return at is not None and _class_of_key(status_key(" ".join(words[:at]))) != "sale"


class _UnrefundedStatus(NamedTuple):
    """A status without what it says of refunds that were not made."""

    rest: str
    is_refused: bool


def _without_denied_refunds(text: str) -> _UnrefundedStatus | None:
    """Take out of a status what it says of refunds that were not made; None where it says nothing of the kind."""
    rest, unmade = [], list[_UnmadeRefund]()
    for words in _clauses(text):
        found = next(filter(None, (_unmade_refund(words, place) for place in range(len(words)))), None)
        unmade += [found] if found else []
        rest.append(" ".join([*words[: found.first], *words[found.end :]] if found else words))
    if not unmade:
        return None
    return _UnrefundedStatus(", ".join(filter(None, rest)), any(found.is_refused for found in unmade))


class _UnmadeRefund(NamedTuple):
    """Which words of a clause speak of a refund that was not made, from the first to behind the last."""

    first: int
    end: int
    is_refused: bool = False


def _unmade_refund(words: list[str], place: int) -> _UnmadeRefund | None:
    """The words around a place that speak of a refund that was not made, if they do."""
    word = words[place]
    if _has_stem(word, _STATUSES["refunded"]) and (first := _denial_before(words, place)) is not None:
        return _UnmadeRefund(first, place + 1)
    if word in _PHRASES["refund_nouns"] and (refused := _refused_refund(words, place)) is not None:
        return refused
    return _UnmadeRefund(place, place + 1) if _is_denied_compound(word) else None


def _denial_before(words: list[str], place: int) -> int | None:
    """Where ``not yet refunded`` begins; None where it was refunded."""
    for first in range(place - 1, -1, -1):
        if words[first] in _PHRASES["negations"]:
            return first
        if words[first] not in _PHRASES["fillers"]:
            return None
    return None


def _refused_refund(words: list[str], place: int) -> _UnmadeRefund | None:
    """The words of ``refund was declined`` or ``declined refund``; None where it was not."""
    for last, word in enumerate(words[place + 1 : place + 2 + _NEAR], start=place + 2):
        if word in _PHRASES["negations_after"]:
            return _UnmadeRefund(place, len(words), is_refused=True)
        if word.startswith((*_PHRASES["refusals"], *_PHRASES["failures"])):
            return _UnmadeRefund(place, last, is_refused=True)
    if place and words[place - 1].startswith(_PHRASES["refusals"]):
        return _UnmadeRefund(place - 1, place + 1, is_refused=True)
    return None


def _is_denied_compound(word: str) -> bool:
    """Whether a word denies a refund by itself, as ``nonrefunded`` does."""
    long = tuple(stem for stem in _STATUSES["refunded"] if len(stem) > _SHORT_STEM)
    return any(word.startswith(no) and word.removeprefix(no).startswith(long) for no in _PHRASES["negations"])


def _clauses(text: str) -> Iterator[list[str]]:
    for clause in _CLAUSE_ENDS.split(text):
        words = _WORD.findall(fold(_CAMEL_CASE.sub(" ", clause)))
        if words:
            yield words


def _is_paid_and_waits(text: str) -> bool:
    """Say whether a status tells of a payment that came in, and of waiting for something else."""
    clauses = [(words, [_kind_of_word(word) for word in words]) for words in _clauses(text)]
    kinds = {kind for _, clause in clauses for kind in clause}
    if not kinds & {"wait", "wait_and_pay"} or any(_waits_for_payment(clause) for _, clause in clauses):
        return False
    if "goods" in kinds and any(set(_PHRASES["paid_alone"]) >= set(words) for words, _ in clauses):
        return True
    return any(_came_in(words, clause) for words, clause in clauses)


def _kind_of_word(word: str) -> _ClauseWord:
    waits, pays = _has_stem(word, _PHRASES["wait"]), _has_stem(word, _PHRASES["pay"])
    kinds: tuple[tuple[_ClauseWord, bool], ...] = (
        ("paid", word in _PHRASES["paid"]),
        ("wait_and_pay", waits and pays),
        ("goods", word.startswith(_PHRASES["goods"])),
        ("wait", waits),
        ("pay", pays),
        ("came_in", word.startswith(_PHRASES["came_in"])),
        ("break", word in _PHRASES["breaks"]),
    )
    return next((kind for kind, holds in kinds if holds), "plain")


def _waits_for_payment(kinds: list[_ClauseWord]) -> bool:
    if "wait_and_pay" in kinds:
        return True
    for place, kind in enumerate(kinds):
        after = kinds[place + 1 : place + 1 + _FAR]
        decisive = next((other for other in after if other not in {"plain", "wait"}), None)
        is_direct = after[:1] == ["paid"]  # "pending paid" is two words, "waiting to be paid" one thing
        if kind == "wait" and (decisive == "pay" or (decisive == "paid" and not is_direct)):
            return True
        next_word = next((other for other in after if other != "plain"), None)
        if kind == "pay" and next_word == "wait" and "goods" not in after:
            return True
    return False


def _came_in(words: list[str], kinds: list[_ClauseWord]) -> bool:
    """Whether a clause says that something was paid, or that a payment came in."""
    decisive = {"paid", "came_in"} if "pay" in kinds else {"paid"}
    against = {*_PHRASES["negations"], *_PHRASES["to_be"]}
    return any(
        kind in decisive and not against & set(words[max(place - _NEAR - 1, 0) : place])
        for place, kind in enumerate(kinds)
    )


@lru_cache(maxsize=4096)
def is_void(text: str) -> bool:
    """Say whether a record was undone at the till: its money was never paid, and is none that was given back."""
    return any(word.startswith(_TYPES["void"]) for word in _WORD.findall(fold(text)))


@lru_cache(maxsize=4096)
def classify_type(text: str) -> _RecordType:
    """Say what a record is."""
    if is_void(text):
        return "other"
    key = status_key(text)
    return next((kind for kind in _RECORD_TYPES if _has_stem(key, _TYPES[kind])), "unknown")


def classify_types(texts: Iterable[str]) -> dict[str, _RecordType]:
    """Say what the records of an export are, by all types that occur."""
    keys = {text: status_key(text) for text in texts}
    heads = {key for key in keys.values() if {f"{key}line", f"{key}item"} & set(keys.values())}
    parts = {f"{head}{part}" for head in heads for part in ("line", "item")}
    if heads:
        parts |= {key for key in keys.values() if key.startswith(("payment", "tender"))}
    return {text: "other" if key in parts else classify_type(text) for text, key in keys.items()}
