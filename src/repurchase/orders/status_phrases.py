"""What several words of a status say together: a payment that came in beside waiting, a refund that was not made."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Literal, NamedTuple

from repurchase.orders.vocabulary import fold

__all__ = ["KeptMoney", "is_paid_and_waits", "without_kept_money"]

_FILE = tomllib.loads(resources.files(__package__).joinpath("status_phrases.toml").read_text(encoding="utf-8"))
_WORDS: Mapping[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _FILE.items()}
_STEMS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _FILE.items()}
_CLAUSE_ENDS = re.compile(r"[,;:()\[\]|/+]|\s[-–—]+\s|\.\s")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_SHORT = 4
_FAR, _NEAR = 5, 2
_Kind = Literal["paid", "came_in", "wait", "wait_and_pay", "pay", "goods", "break", "plain"]


class KeptMoney(NamedTuple):
    """A status without what it says of refunds that were not made.

    Parameters
    ----------
    rest : str
        The other words.
    is_refused : bool
        Whether a refund was asked for, and declined or not made.
    """

    rest: str
    is_refused: bool


def is_paid_and_waits(text: str) -> bool:
    """Say whether a status tells of a payment that came in, and of waiting for something else.

    Parameters
    ----------
    text : str
        As it stands in the export.

    Returns
    -------
    bool
        False where it is the payment that is waited for.

    Examples
    --------
    >>> is_paid_and_waits("Betalt - venter på levering"), is_paid_and_waits("Order received, awaiting payment")
    (True, False)
    """
    clauses = list(_clauses(text))
    kinds = [[_kind(word) for word in words] for words in clauses]
    if not any(kind in {"wait", "wait_and_pay"} for clause in kinds for kind in clause):
        return False
    if any(_waits_for_payment(clause) for clause in kinds):
        return False
    if any("goods" in clause for clause in kinds) and any(_WORDS["paid_alone"] >= set(words) for words in clauses):
        return True
    return any(_came_in(words, clause) for words, clause in zip(clauses, kinds, strict=True))


def without_kept_money(text: str, refunded: tuple[str, ...]) -> KeptMoney | None:
    """Take out of a status what it says of refunds that were not made.

    Parameters
    ----------
    text : str
        As it stands in the export.
    refunded : tuple of str
        Beginnings of words for refunds.

    Returns
    -------
    KeptMoney or None
        None where it says nothing of such.

    Examples
    --------
    >>> without_kept_money("Complete - refund declined", ("refund",))
    KeptMoney(rest='complete', is_refused=True)
    >>> without_kept_money("Refunded", ("refund",)) is None
    True
    """
    rest, denied, refused = [], False, False
    for words in _clauses(text):
        kept = words
        for place, word in enumerate(words):
            first, last = _denied(words, place) if _begins(word, refunded) else (place, place)
            denied |= first < last
            if first == last and word in _WORDS["refund_nouns"]:
                first, last = _refused(words, place)
                refused |= first < last
            if first == last and _is_denied_compound(word, refunded):
                first, last, denied = place, place + 1, True
            if first < last:
                kept = [*words[:first], *words[last:]]
                break
        rest.append(" ".join(kept))
    if not denied and not refused:
        return None
    return KeptMoney(", ".join(filter(None, rest)), refused)


def _clauses(text: str) -> Iterator[list[str]]:
    for clause in _CLAUSE_ENDS.split(text):
        words = _WORD.findall(fold(_HUMP.sub(" ", clause)))
        if words:
            yield words


def _kind(word: str) -> _Kind:
    waits, pays = _begins(word, _STEMS["wait"]), _begins(word, _STEMS["pay"])
    kinds: Iterable[tuple[_Kind, bool]] = (
        ("paid", word in _WORDS["paid"]),
        ("wait_and_pay", waits and pays),
        ("goods", word.startswith(_STEMS["goods"])),
        ("wait", waits),
        ("pay", pays),
        ("came_in", word.startswith(_STEMS["came_in"])),
        ("break", word in _WORDS["breaks"]),
    )
    return next((kind for kind, holds in kinds if holds), "plain")


def _begins(word: str, stems: tuple[str, ...]) -> bool:
    return word.startswith(stems) or any(len(stem) > _SHORT and stem in word for stem in stems)


def _waits_for_payment(kinds: list[_Kind]) -> bool:
    if "wait_and_pay" in kinds:
        return True
    for place, kind in enumerate(kinds):
        after = kinds[place + 1 : place + 1 + _FAR]
        telling = next((other for other in after if other not in {"plain", "wait"}), None)
        is_direct = after[:1] == ["paid"]  # "pending paid" is two words, "waiting to be paid" one thing
        if kind == "wait" and (telling == "pay" or (telling == "paid" and not is_direct)):
            return True
        next_word = next((other for other in after if other != "plain"), None)
        if kind == "pay" and next_word == "wait" and "goods" not in after:
            return True
    return False


def _came_in(words: list[str], kinds: list[_Kind]) -> bool:
    """Whether a clause says that something was paid, or that a payment came in."""
    speaking = {"paid", "came_in"} if "pay" in kinds else {"paid"}
    against = _WORDS["negations"] | _WORDS["to_be"]
    return any(
        kind in speaking and not against & set(words[max(place - _NEAR - 1, 0) : place])
        for place, kind in enumerate(kinds)
    )


def _denied(words: list[str], place: int) -> tuple[int, int]:
    """The words of ``not yet refunded``, from the first to behind the last; nothing where it was refunded."""
    for first in range(place - 1, -1, -1):
        if words[first] in _WORDS["negations"]:
            return first, place + 1
        if words[first] not in _WORDS["fillers"]:
            break
    return place, place


def _refused(words: list[str], place: int) -> tuple[int, int]:
    """The words of ``refund was declined`` or ``declined refund``; nothing where it was not."""
    stems = (*_STEMS["refusals"], *_STEMS["failures"])
    for last, word in enumerate(words[place + 1 : place + 2 + _NEAR], start=place + 2):
        if word.startswith(stems) or word in _WORDS["negations_after"]:
            return place, len(words) if word in _WORDS["negations_after"] else last
    if place and words[place - 1].startswith(_STEMS["refusals"]):
        return place - 1, place + 1
    return place, place


def _is_denied_compound(word: str, refunded: tuple[str, ...]) -> bool:
    long = tuple(stem for stem in refunded if len(stem) > _SHORT)
    return any(word.startswith(no) and word.removeprefix(no).startswith(long) for no in _WORDS["negations"])
