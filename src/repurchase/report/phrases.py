"""What the scores say in English words, in the language that is spoken.

Segments, risk bands and actions are fixed names. Reasons are made of templates (see ``estimators.reasons``): they are
recognised by the English catalogue's templates, and said again with those of another catalogue. What is not
recognised, as in scores of another version, is shown as it stands.
"""

import re
from collections.abc import Mapping
from functools import cache

from repurchase.estimators.tiers import ACTIONS, BEST, FIRST_TIME, LOST, REGULAR, SLIPPING, WIN_BACK
from repurchase.marketing.segments import NO_HISTORY, REFILL
from repurchase.report.language import catalogue, grouped, say

__all__ = ["SEGMENT_KEYS", "action_name", "band_name", "reason_parts", "reason_words", "segment_name"]

SEGMENT_KEYS = {
    SLIPPING: "slipping",
    WIN_BACK: "win_back",
    FIRST_TIME: "first_time",
    BEST: "best",
    REGULAR: "regular",
    LOST: "lost",
}
_FURTHER = {REFILL: "refill", NO_HISTORY: "no_history"}
"""Segments that only lists know."""
_ACTION_KEYS = {ACTIONS[name]: key for name, key in SEGMENT_KEYS.items()}
_BANDS = ("high", "medium", "low", "none", "all")

_SPAN = r"\d+ (?:day|month|year)s?"
_AMOUNT = r"\d+(?:\.\d\d)?"
_SLOTS = {
    "ago": rf"today|{_SPAN} ago",
    "every": rf"every (?:day|{_SPAN})",
    "span": _SPAN,
    "purchases": r"\d+ purchases?",
    "lately": r"no purchase|\d+ purchases?",
    "before": r"none|\d+",
    "money": _AMOUNT,
    "usual": _AMOUNT,
}
_ALONE = {"today": "today", "every day": "daily", "no purchase": "no_purchase", "none": "no_before"}
_NOT_FACTS = ("raises", "lowers", "nothing")


def segment_name(name: str) -> str:
    """Name a segment of the scores.

    Parameters
    ----------
    name : str
        As in the scores.

    Returns
    -------
    str
        In the language that is spoken; as it stands if it is not known.

    Examples
    --------
    >>> segment_name("win back"), segment_name("of another version")
    ('win back', 'of another version')
    """
    key = SEGMENT_KEYS.get(name) or _FURTHER.get(name)
    return say(f"segment.{key}") if key else name


def action_name(name: str) -> str:
    """Say what to do.

    Parameters
    ----------
    name : str
        As in the scores.

    Returns
    -------
    str
        In the language that is spoken; as it stands if it is not known.
    """
    return say(f"action.{_ACTION_KEYS[name]}") if name in _ACTION_KEYS else name


def band_name(name: str) -> str:
    """Name a risk band.

    Parameters
    ----------
    name : str
        As in the scores.

    Returns
    -------
    str
        In the language that is spoken; as it stands if it is not known.
    """
    return say(f"band.{name}") if name in _BANDS else name


def reason_words(reason: str) -> str:
    """Say one reason.

    Parameters
    ----------
    reason : str
        As in the scores.

    Returns
    -------
    str
        In the language that is spoken; as it stands if it is not known.

    Examples
    --------
    >>> from repurchase.report.language import speaking
    >>> with speaking("nb"):
    ...     reason_words("raises risk: last order 84 days ago, usually every 21 days")
    'øker risikoen: siste ordre for 84 dager siden, vanligvis hver 21. dag'
    """
    side, fact = reason_parts(reason)
    return say(f"reason.{side}", told=fact) if side else fact


def reason_parts(reason: str) -> tuple[str, str]:
    """Say one reason, its direction apart.

    Parameters
    ----------
    reason : str
        As in the scores.

    Returns
    -------
    side : str
        ``raises``, ``lowers`` or, where it is not known, nothing.
    fact : str
        In the language that is spoken, or the whole reason as it stands.
    """
    english = catalogue("en")
    for side in ("raises", "lowers"):
        start = str(english[f"reason.{side}"]).removesuffix("{told}")
        if reason.startswith(start):
            told = reason.removeprefix(start)
            return side, _translated(told) or told
    return "", reason


def _translated(told: str) -> str | None:
    for key, pattern in _patterns().items():
        found = pattern.fullmatch(told)
        if found:
            return say(key, **{slot: _filled(slot, found[slot]) for slot in pattern.groupindex})
    return None


@cache
def _patterns() -> Mapping[str, "re.Pattern[str]"]:
    facts = {key: str(text) for key, text in catalogue("en").items() if key.startswith("reason.")}
    return {
        key: re.compile(re.sub(r"\\\{(\w+)\\\}", lambda slot: f"(?P<{slot[1]}>{_SLOTS[slot[1]]})", re.escape(text)))
        for key, text in facts.items()
        if key.removeprefix("reason.") not in _NOT_FACTS
    }


def _filled(slot: str, text: str) -> str:
    if text in _ALONE:
        return say(f"phrase.{_ALONE[text]}")
    if slot in {"money", "usual"}:
        return grouped(float(text), 2 if "." in text else 0)
    number, *unit = [part[0] for part in re.finditer(r"\d+|day|month|year|purchase", text)]
    if slot == "before":
        return number
    if slot == "every":
        return say(f"phrase.every.{unit[0]}", n=int(number))
    span: str = say(f"n.{unit[0]}", n=int(number))
    return say("phrase.ago", span=span) if slot == "ago" else span
