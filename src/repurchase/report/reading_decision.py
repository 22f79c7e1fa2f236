"""The page's table of columns: which one was read as what, why, and which were not used."""

from collections.abc import Mapping
from typing import Any

from repurchase.orders.decisions import SHOWN, counted
from repurchase.report.language import is_known, say
from repurchase.report.words import count, share

__all__ = ["reading_rows"]

Row = dict[str, Any]


def reading_rows(orders: Mapping[str, Any]) -> Row | None:
    """Say how an export was read, in the language that is spoken.

    Parameters
    ----------
    orders : mapping
        How the record describes its orders; those of earlier versions have no ``reading``.

    Returns
    -------
    dict or None
        ``roles``, each with its column, its meaning and the reasons; ``ignored``, each with its column and the
        reason. None where it is not known.
    """
    reading = orders.get("reading")
    if not reading or not reading["roles"]:
        return None
    return {
        "roles": [_role(role) for role in reading["roles"]],
        "ignored": [{"column": row["column"], "why": _said(row["why"])} for row in reading["ignored"]],
    }


def _role(role: Mapping[str, Any]) -> Row:
    title = f"reading.role.{role['role']}"
    considered = [row["column"] for row in role["rejected"] if row["why"]["key"] == "lower_rank"]
    reasons = [_said(fact) for fact in role["evidence"] if fact["key"] != "single_lines"]  # its meaning says so
    if considered:
        reasons.append(say("columns.considered", columns=", ".join(considered)))
    reasons += [
        say("columns.rejected", column=row["column"], why=_said(row["why"]))
        for row in role["rejected"]
        if row["why"]["key"] != "lower_rank"
    ]
    return {
        "name": say(title) if is_known(title) else role["role"],
        "column": role["column"] or "",
        "meaning": _said(role["meaning"]),
        "reasons": [reason for reason in reasons if reason],
    }


def _said(fact: Mapping[str, Any]) -> str:
    """A fact in words; the key of one that another version wrote in another way."""
    key, params = f"reading.fact.{fact['key']}", fact["params"]
    try:
        return say(key, n=counted(params), **{name: _shown(value) for name, value in params.items()})
    except KeyError:
        return str(fact["key"])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return share(value)
    if isinstance(value, int):
        return count(value)
    if not isinstance(value, list):
        return str(value)
    shown = [str(name) if number is None else f"{name} ({count(number)})" for name, number in value[:SHOWN]]
    more = [say("columns.more", n=len(value) - SHOWN)] if len(value) > SHOWN else []
    return ", ".join([*shown, *more])
