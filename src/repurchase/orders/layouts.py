"""Which column of an export is which: recognised by name, or told."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repurchase.errors import LayoutError, first_few
from repurchase.orders.vocabulary import DEAD_STATUSES, EXPORTS, HINTS, ROLES, SYNONYMS, WHOLE_ORDER, Export, plain

__all__ = ["Layout", "recognise"]

_NEEDED = ("customer_id", "order_date")
_MUST_BE_CLEAR = ("customer_id", "order_date", "amount")
_REPEATED_HEADING = re.compile(r"_duplicated_\d+$")
_SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class Layout:
    """What an export's columns are.

    Parameters
    ----------
    name : str
        What reports call the format.
    columns : mapping of str to str
        Role (see ``vocabulary.ROLES``) to the export's column.
    grain : {"lines", "orders"}
        Whether a row is an order line or a whole order.
    amount_rule : {"amount", "order_total", "quantity_price", "none"}
        Where money comes from: a column of it, an order's total put on its lines, quantity times price, or nowhere.
    dead_statuses, refunded_statuses : tuple of str
        Order statuses of sales that never came about, and of those paid back in full.
    cancellation_prefix : str or None
        Order ids that begin so are cancellations.
    guest_ids : tuple of str
        Customer ids that stand for nobody in particular.
    first_line_only : bool
        Order fields stand on the first line of an order only, so equal lines are lines in their own right.
    notes : tuple of str
        What a reader should know, in words.
    """

    name: str
    columns: Mapping[str, str]
    grain: str
    amount_rule: str
    dead_statuses: tuple[str, ...] = ()
    refunded_statuses: tuple[str, ...] = ()
    cancellation_prefix: str | None = None
    guest_ids: tuple[str, ...] = ()
    first_line_only: bool = False
    notes: tuple[str, ...] = ()


def recognise(columns: Sequence[str], *, told: Mapping[str, str] | None = None, source: str = "orders") -> Layout:
    """Tell the columns of an export apart by their names.

    Known export formats come first (their own names leave no question), then our names and their synonyms. What the
    caller told wins over both.

    Parameters
    ----------
    columns : sequence of str
        The export's columns.
    told : mapping of str to str, optional
        Role to column, from ``--columns`` or the settings file.
    source : str
        What a message calls the log.

    Returns
    -------
    Layout
        The format and its columns.

    Raises
    ------
    LayoutError
        If the customer or the date is missing, if two columns have equal right to be one of them or the amount, or if
        a told role or column does not exist.

    Examples
    --------
    >>> recognise(["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"]).name
    'UCI Online Retail'
    >>> recognise(["Kunde", "Dato", "Beløp"], source="orders.csv")
    Traceback (most recent call last):
        ...
    repurchase.errors.LayoutError: orders.csv: 2 of the 2 needed columns are missing: customer_id, order_date. \
Found: Kunde, Dato, Beløp. Say which is which: --columns customer_id=Kunde,order_date=Dato,amount=Beløp
    """
    given = {role: _told_column(role, name, columns, source) for role, name in (told or {}).items()}
    by_plain: dict[str, list[str]] = {}
    for column in columns:
        by_plain.setdefault(plain(_REPEATED_HEADING.sub("", column)), []).append(column)
    export = next((known for known in EXPORTS if _fits(known, by_plain)), None)
    found = _known_roles(export, by_plain) if export else _named_roles(by_plain, given, source)
    if export is None and plain(found.get("amount", "")) in WHOLE_ORDER and "order_id" in found | given:
        found["order_total"] = found.pop("amount")
    roles = _one_kind_of_money(found | given)
    missing = [role for role in _NEEDED if role not in roles]
    if missing:
        raise LayoutError(_missing(missing, roles, columns, source))
    _refuse_shared(roles, source)
    return _layout(export, roles, columns)


def _one_kind_of_money(roles: dict[str, str]) -> dict[str, str]:
    """Let a line's amount win over the order's total, and take a total for an amount where nothing names the order.

    Parameters
    ----------
    roles : dict
        Role to column.

    Returns
    -------
    dict
        The same, with at most one of ``amount`` and ``order_total``.
    """
    total = roles.pop("order_total", None)
    if total is None or "amount" in roles:
        return roles
    return roles | {"order_total" if "order_id" in roles else "amount": total}


def _fits(export: Export, by_plain: Mapping[str, list[str]]) -> bool:
    return all(any(name in by_plain for name in group) for group in export.needs)


def _known_roles(export: Export, by_plain: Mapping[str, list[str]]) -> dict[str, str]:
    found = ((role, next((name for name in names if name in by_plain), None)) for role, names in export.roles.items())
    return {role: by_plain[name][0] for role, name in found if name is not None}


def _named_roles(by_plain: Mapping[str, list[str]], given: Mapping[str, str], source: str) -> dict[str, str]:
    free = {name: [c for c in listed if c not in given.values()] for name, listed in by_plain.items()}
    found: dict[str, str] = {}
    for role, tiers in SYNONYMS.items():
        if role in given:
            continue
        candidates = _candidates(tiers, free)
        if len(candidates) > 1 and role in _MUST_BE_CLEAR:
            raise LayoutError(_unclear(role, candidates, source))
        if candidates:
            found[role] = candidates[0]
    return found


def _candidates(tiers: Iterable[tuple[str, ...]], free: Mapping[str, list[str]]) -> list[str]:
    for tier in tiers:
        matches = [column for name in tier for column in free.get(name, ())]
        if matches:
            return matches
    return []


def _unclear(role: str, candidates: Sequence[str], source: str) -> str:
    wanted = {"customer_id": "the customer", "order_date": "the date of the order", "amount": "the amount"}[role]
    choices = " or ".join(f"--columns {role}={column}" for column in candidates[:3])
    return (
        f"{source}: {len(candidates)} columns could be {wanted} ({role}) with equal right: "
        f"{first_few(candidates)}. Say which: {choices}"
    )


def _missing(missing: Sequence[str], roles: Mapping[str, str], columns: Sequence[str], source: str) -> str:
    wanted = [*missing, *(["amount"] if "amount" not in roles and "price" not in roles else [])]
    taken = set(roles.values())
    guesses = {}
    for role in wanted:
        guess = next((c for hint in HINTS[role] for c in columns if hint in plain(c) and c not in taken), None)
        if guess is not None or role in missing:
            guesses[role] = guess or "..."
            taken.add(guesses[role])
    pairs = ",".join(f"{role}={column}" for role, column in guesses.items())
    option = f'"{pairs}"' if " " in pairs else pairs
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{source}: {len(missing)} of the {len(_NEEDED)} needed columns {are} missing: {', '.join(missing)}. "
        f"Found: {first_few(columns, shown=_SHOWN_COLUMNS)}. Say which is which: --columns {option}"
    )


def _told_column(role: str, name: str, columns: Sequence[str], source: str) -> str:
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
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Found: {first_few(columns, shown=_SHOWN_COLUMNS)}."
    raise LayoutError(f"{source}: --columns {role}={name} names a column that is not there. {hint}")


def _refuse_shared(roles: Mapping[str, str], source: str) -> None:
    for role in _NEEDED:
        twins = [other for other in _MUST_BE_CLEAR if other != role and roles.get(other) == roles[role]]
        if twins:
            raise LayoutError(
                f"{source}: column '{roles[role]}' cannot be both {role} and {twins[0]}. "
                f"Say which is which: --columns {role}=...,{twins[0]}=..."
            )


def _layout(export: Export | None, roles: Mapping[str, str], columns: Sequence[str]) -> Layout:
    rule = _amount_rule(roles)
    notes = [*(export.notes if export else ())]
    if rule == "none":
        notes.append(
            f"No column of money was found among {first_few(columns, shown=_SHOWN_COLUMNS)}: purchases are predicted, "
            "money is not. If one of them is money, name it: --columns amount=..."
        )
    also = [column for column in columns if plain(column) == "netamount" and column != roles.get("amount")]
    if export is None and rule == "amount" and also:
        notes.append(f"Money is read from '{roles['amount']}'; '{also[0]}' could be meant: --columns amount={also[0]}")
    in_lines = rule in {"order_total", "quantity_price"} or "product_id" in roles
    return Layout(
        name=export.name if export else "orders with named columns",
        columns={role: roles[role] for role in ROLES if role in roles},
        grain="lines" if in_lines else "orders",
        amount_rule=rule,
        dead_statuses=export.dead_statuses if export else DEAD_STATUSES,
        refunded_statuses=export.refunded_statuses if export else (),
        cancellation_prefix=export.cancellation_prefix if export else None,
        guest_ids=export.guest_ids if export else (),
        first_line_only=export.first_line_only if export else False,
        notes=tuple(notes),
    )


def _amount_rule(roles: Mapping[str, str]) -> str:
    if "amount" in roles:
        return "amount"
    if "order_total" in roles:
        return "order_total"
    return "quantity_price" if {"quantity", "price"} <= roles.keys() else "none"
