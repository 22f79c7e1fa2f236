"""Sentences of the record of a run, said again in the language that is spoken.

The record is English. Its sentences are made of templates: each stands in the English catalogue, under ``record``,
with the same key as in the others. A sentence is recognised by its template, what stands in the gaps is written with
the language's marks (see ``slots``), and a gap that holds a clause, or several, is recognised in its turn. What is not
recognised, as in records of another version, is left to be shown as it stands.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from repurchase.report.language import catalogue, locale, say
from repurchase.report.slots import SLOTS, figure, kind_of, listed

__all__ = ["CLAUSES", "Template", "retold", "said_again", "templates"]

_NO_SENTENCES = ("record.word.", "record.rule.")


class _Clauses(NamedTuple):
    """Clauses of a group stand in a gap, one, or several with a separator between them."""

    group: str
    separator: str = ""


CLAUSES: Mapping[str, _Clauses] = {
    "lead": _Clauses("lead"),
    "against": _Clauses("against"),
    "total": _Clauses("total"),
    "why": _Clauses("why"),
    "unknown": _Clauses("unknown"),
    "weak": _Clauses("shortfall", " and "),
    "missing": _Clauses("shortfall", "; "),
    "drifts": _Clauses("drifting", "; "),
    "train": _Clauses("train", "; "),
    "keep": _Clauses("keep", "; "),
}
"""Gaps that hold clauses."""


class Template(NamedTuple):
    """A sentence with gaps.

    Parameters
    ----------
    key : str
        Of the catalogues.
    pattern : Pattern
        Of the whole English sentence.
    """

    key: str
    pattern: "re.Pattern[str]"


def retold(text: str, *, within: str = "record") -> str | None:
    """Say a recorded sentence.

    Parameters
    ----------
    text : str
        As it was recorded, with or without its full stop.
    within : str
        Part of the catalogue in which to look.

    Returns
    -------
    str or None
        In the language that is spoken; in English as it stands. None where it is not recognised.

    Examples
    --------
    >>> from repurchase.report.language import speaking
    >>> with speaking("nb"):
    ...     retold("Worse than a simple rule: use days since the last order instead.")
    'Dårligere enn en enkel regel: bruk heller dager siden siste ordre.'
    """
    if locale() == "en":
        return text
    return said_again(text, within=within)


def said_again(text: str, *, within: str = "record") -> str | None:
    """Say a recorded sentence, in English too, as its template has it.

    Parameters
    ----------
    text : str
        As it was recorded, with or without its full stop.
    within : str
        Part of the catalogue in which to look.

    Returns
    -------
    str or None
        None where it is not recognised.
    """
    told = _said(text, within)
    if told is None:
        stopped = _said(text.removesuffix(".") if text.endswith(".") else f"{text}.", within)
        told = stopped and (f"{stopped}." if text.endswith(".") else stopped.removesuffix("."))
    return told and re.sub(r"(?<!\.)\.\.(?=\s|$)", ".", told)  # a year's own full stop ends the sentence


def _said(text: str, within: str) -> str | None:
    for template in templates(within):
        found = template.pattern.fullmatch(text)
        if found:
            filled = {slot: _filled(kind_of(slot), value) for slot, value in found.groupdict().items()}
            if None not in filled.values():
                return say(template.key, **filled)
    return None


def _filled(kind: str, text: str) -> str | None:
    if kind in SLOTS:
        try:
            said = SLOTS[kind].said
            return said(text) if said else listed(text, _feature)
        except ValueError:  # a day that no calendar has, a number that is none
            return None
    group, separator = CLAUSES[kind]
    if not separator:
        return _said(text, f"record.{group}")
    clauses = _clauses(text.split(separator), separator, f"record.{group}")
    joined = f" {say('list.and')} " if separator == " and " else separator
    return joined.join(clauses) if clauses else None


def _feature(text: str) -> str:
    """Name a feature with its PSI."""
    name, _, psi = text.partition(" (PSI ")
    plain = name.replace("_", " ")
    return f"{retold(plain, within='record.feature') or plain} (PSI {figure(psi.rstrip(')'))})"


def _clauses(parts: list[str], separator: str, group: str) -> list[str] | None:
    # A clause may hold the separator itself: the longest that is recognised is taken.
    told: list[str] = []
    while parts:
        longest = next(
            ((end, said) for end in range(len(parts), 0, -1) if (said := _said(separator.join(parts[:end]), group))),
            None,
        )
        if longest is None:
            return None
        parts = parts[longest[0] :]
        told.append(longest[1])
    return told


@cache
def templates(within: str) -> tuple[Template, ...]:
    """Read the English templates of a part of the catalogue.

    Parameters
    ----------
    within : str
        The beginning of their keys.

    Returns
    -------
    tuple of Template
        Those with the most words of their own first: a sentence is taken for what says most of it.
    """
    texts = {
        key: text
        for key, text in catalogue("en").items()
        if key.startswith(f"{within}.") and not key.startswith(_NO_SENTENCES) and isinstance(text, str)
    }
    return tuple(Template(key, _compiled(text)) for key, text in sorted(texts.items(), key=_own_words, reverse=True))


def _own_words(item: tuple[str, str]) -> tuple[int, str]:
    return len(re.sub(r"\{\w+\}", "", item[1])), item[0]


def _compiled(text: str) -> "re.Pattern[str]":
    def gap(slot: "re.Match[str]") -> str:
        return f"(?P<{slot[1]}>{_pattern(kind_of(slot[1]))})"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", gap, re.escape(text)), re.DOTALL)


def _pattern(kind: str) -> str:
    return SLOTS[kind].pattern if kind in SLOTS else ".+"
