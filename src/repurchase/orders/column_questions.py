"""What is said where a column cannot be found, or two have equal right to be one."""

import difflib
from collections.abc import Mapping, Sequence

from repurchase.errors import LayoutError, first_few
from repurchase.orders.vocabulary import ROLES, parse_name, plain

__all__ = ["ASKED_ROLES", "SHOWN_COLUMNS", "missing_roles", "named_column", "unclear_role"]

SHOWN_COLUMNS = 12
ASKED_ROLES = {"customer_id": "the customer", "order_date": "the date of the order", "amount": "the amount"}
"""Roles that are asked about, and what they are called."""
_HINTS: Mapping[str, tuple[str, ...]] = {
    "customer_id": ("customer", "email", "person", "phone"),
    "order_date": ("date", "time", "created"),
}


def unclear_role(role: str, candidates: Sequence[str], source: str) -> str:
    """Ask which of several columns has a role.

    Parameters
    ----------
    role : str
        One of ``ASKED_ROLES``.
    candidates : sequence of str
        The columns.
    source : str
        What the message calls the log.

    Returns
    -------
    str
        The message.
    """
    choices = " or ".join(f"--columns {role}={column}" for column in candidates[:3])
    return (
        f"{source}: {len(candidates)} columns could be {ASKED_ROLES[role]} ({role}) equally well: "
        f"{first_few(candidates)}. Say which: {choices}"
    )


def missing_roles(missing: Sequence[str], roles: Mapping[str, str], columns: Sequence[str], source: str) -> str:
    """Say which roles have no column, and how to name it.

    Parameters
    ----------
    missing : sequence of str
        Those roles.
    roles : mapping of str to str
        Role to column, of the others.
    columns : sequence of str
        All columns.
    source : str
        What the message calls the log.

    Returns
    -------
    str
        The message.
    """
    taken = set(roles.values())
    guesses = {}
    for role in missing:
        guesses[role] = next((c for c in columns if parse_name(c).has(*_HINTS[role]) and c not in taken), "...")
        taken.add(guesses[role])
    pairs = ",".join(f"{role}={column}" for role, column in guesses.items())
    option = f'"{pairs}"' if " " in pairs else pairs
    were = "column was" if len(missing) == 1 else "columns were"
    return (
        f"{source}: {len(missing)} required {were} not found: {', '.join(missing)}. "
        f"Columns: {first_few(columns, shown=SHOWN_COLUMNS)}. Name them: --columns {option}"
    )


def named_column(role: str, name: str, columns: Sequence[str], source: str) -> str:
    """Find a column that the user named.

    Parameters
    ----------
    role, name : str
        As in ``--columns role=name``.
    columns : sequence of str
        All columns.
    source : str
        What a message calls the log.

    Returns
    -------
    str
        The column as the export spells it.

    Raises
    ------
    LayoutError
        If there is no such role or column.
    """
    if role not in ROLES:
        near = difflib.get_close_matches(role, ROLES, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known are: {', '.join(ROLES)}."
        raise LayoutError(f"{source}: --columns names '{role}', which is not one of our columns. {hint}")
    if name in columns:
        return name
    alike = [column for column in columns if plain(column) == plain(name)]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Found: {first_few(columns, shown=SHOWN_COLUMNS)}."
    raise LayoutError(f"{source}: --columns {role}={name} names a column that is not there. {hint}")
