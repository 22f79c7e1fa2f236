"""The reading decision: which column was used for what, how it is understood, on what evidence, and what was ignored.

A decision holds facts (a key and its parameters); sentences are made of them where they are shown.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repurchase.orders.reading_texts import COUNTED, FACTS, ROLES

__all__ = ["SHOWN", "Fact", "ReadingDecision", "RoleDecision", "counted", "log_line", "render"]

_IMPLIED = frozenset({"by_name", "customer_id", "order_id", "dates", "single_lines"})
"""Says nothing that the role and the column do not."""
_BRIEF = frozenset({"named", "by_content", "only_dates", "day_first", "month_first", "decimal_comma"})
"""Evidence that stands on the same line as the column."""
_WITH_VALUES = frozenset({"currency", "placeholder"})
_WIDTH = 100
SHOWN = 8
"""Statuses of a list that are shown."""


@dataclass(frozen=True)
class Fact:
    """A statement without its words.

    Parameters
    ----------
    key : str
        Which statement.
    params : mapping
        What it is about; JSON values.
    """

    key: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fact as plain values."""
        return {"key": self.key, "params": dict(self.params)}


@dataclass(frozen=True)
class RoleDecision:
    """How one role was filled.

    Parameters
    ----------
    role : str
        See ``vocabulary.ROLES``; ``money`` for whatever money is read from.
    column : str or None
        The export's column.
    meaning : Fact
        How it is understood.
    evidence : tuple of Fact
        Why.
    rejected : tuple of (str, Fact)
        Other columns that were considered, and why they were not used.
    """

    role: str
    column: str | None
    meaning: Fact
    evidence: tuple[Fact, ...] = ()
    rejected: tuple[tuple[str, Fact], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain values."""
        return {
            "role": self.role,
            "column": self.column,
            "meaning": self.meaning.to_dict(),
            "evidence": [fact.to_dict() for fact in self.evidence],
            "rejected": [{"column": column, "why": why.to_dict()} for column, why in self.rejected],
        }


@dataclass(frozen=True)
class ReadingDecision:
    """How an export was understood.

    Parameters
    ----------
    roles : tuple of RoleDecision
        In the order in which they are shown.
    ignored : tuple of (str, Fact)
        Columns that were not used although their names suggest that they matter.
    """

    roles: tuple[RoleDecision, ...] = ()
    ignored: tuple[tuple[str, Fact], ...] = ()

    def with_role(self, decision: RoleDecision) -> "ReadingDecision":
        """Replace or add the decision of one role.

        Parameters
        ----------
        decision : RoleDecision
            The new one.

        Returns
        -------
        ReadingDecision
            With it.
        """
        if any(known.role == decision.role for known in self.roles):
            roles = tuple(decision if known.role == decision.role else known for known in self.roles)
        else:
            roles = (*self.roles, decision)
        return ReadingDecision(roles, self.ignored)

    def role(self, name: str) -> RoleDecision | None:
        """Find the decision of a role, if there is one."""
        return next((known for known in self.roles if known.role == name), None)

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain values, for JSON."""
        return {
            "roles": [decision.to_dict() for decision in self.roles],
            "ignored": [{"column": column, "why": why.to_dict()} for column, why in self.ignored],
        }

    def lines(self) -> list[str]:
        r"""The decision for a shop owner: a line per role, with the details indented below it.

        Returns
        -------
        list of str
            Lines of at most 100 signs, where words allow it.

        Examples
        --------
        >>> unused = (("Net", Fact("mostly_zero", {"share": 1.0})),)
        >>> role = RoleDecision("money", "Total", Fact("money_row"), rejected=unused)
        >>> print("\n".join(ReadingDecision((role,)).lines()))
        Money  'Total': total of the order, one row per order
               'Net' was not used: zero on 100% of the rows
        """
        titles = [ROLES.get(decision.role, decision.role) for decision in self.roles]
        titles += [ROLES["ignored"]] if self.ignored else []
        width = max(map(len, titles), default=0) + 2
        ignored = [f"'{column}' {render(why)}" for column, why in self.ignored]
        paragraphs = [*(_sentences(decision) for decision in self.roles), *([ignored] if ignored else [])]
        return [
            line
            for title, sentences in zip(titles, paragraphs, strict=True)
            for number, sentence in enumerate(sentences)
            for line in _wrapped(sentence, title if number == 0 else "", width)
        ]


def render(fact: Fact) -> str:
    """Say a fact in English.

    Parameters
    ----------
    fact : Fact
        What to say.

    Returns
    -------
    str
        Part of a sentence.

    Examples
    --------
    >>> render(Fact("constant", {"share": 0.99, "orders": 1200}))
    'the same on all lines in 99% of 1,200 orders with several lines'
    >>> render(Fact("status_sale", {"statuses": [["paid", 1200], ["open", 1]]}))
    'sales (orders): paid (1,200), open (1)'
    """
    text = FACTS[fact.key]
    if not isinstance(text, str):
        text = text["one" if counted(fact.params) == 1 else "other"]
    return text.format(**{name: _shown(value) for name, value in fact.params.items()})


def counted(params: Mapping[str, Any]) -> int:
    """Find the number that decides the plural of a fact.

    Parameters
    ----------
    params : mapping
        Of the fact.

    Returns
    -------
    int
        The first parameter of ``COUNTED`` that is there; zero without one.
    """
    return next((int(params[name]) for name in COUNTED if name in params), 0)


def log_line(decision: RoleDecision) -> str:
    """Say a decision for a log, without values of the column.

    Parameters
    ----------
    decision : RoleDecision
        Of one role.

    Returns
    -------
    str
        Role, column and meaning.
    """
    title, column = ROLES.get(decision.role, decision.role), decision.column
    meaning = "" if decision.meaning.key in _WITH_VALUES else render(decision.meaning)
    return ": ".join(part for part in (title, f"'{column}'" if column else "", meaning) if part)


def _sentences(decision: RoleDecision) -> list[str]:
    """What is shown of a decision, a line each: the column and its meaning, then the evidence, then other columns."""
    brief = [render(fact) for fact in decision.evidence if fact.key in _BRIEF]
    meaning = [] if decision.meaning.key in _IMPLIED else [render(decision.meaning)]
    column = f"'{decision.column}'" if decision.column else ""
    first = ": ".join(part for part in (column, "; ".join([*meaning, *brief])) if part)
    evidence = [render(fact) for fact in decision.evidence if fact.key not in _IMPLIED | _BRIEF]
    others = [f"'{name}'" for name, why in decision.rejected if why.key == "lower_rank"]
    considered = [f"also considered: {', '.join(others)}"] if others else []
    against = [f"'{name}' was not used: {render(why)}" for name, why in decision.rejected if why.key != "lower_rank"]
    return [first, *evidence, *considered, *against]


def _wrapped(sentence: str, title: str, width: int) -> list[str]:
    return textwrap.wrap(
        sentence,
        _WIDTH,
        initial_indent=f"{title:<{width}}",
        subsequent_indent=" " * (width + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _shown(value: Any) -> str:
    """A share as a percentage, a whole number with separators, a list with the count of each, and text as it is."""
    if isinstance(value, float):
        percent = f"{value:.0%}"
        return ">99%" if percent == "100%" and value < 1 else "<1%" if percent == "0%" and value > 0 else percent
    if isinstance(value, list | tuple):
        shown = [f"{name} ({number:,})" if number is not None else str(name) for name, number in value[:SHOWN]]
        more = len(value) - SHOWN
        return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
    return f"{value:,}" if isinstance(value, int) else str(value)
