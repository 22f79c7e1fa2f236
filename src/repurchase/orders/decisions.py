"""The reading decision: which column was used for what, how it is understood, on what evidence, and what was ignored.

A decision holds facts (a key and its parameters); sentences are made of them where they are shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fact", "ReadingDecision", "RoleDecision", "render"]

_TEXTS: Mapping[str, str] = {
    "named": "named by you",
    "by_name": "by its name",
    "only_dates": "the only column of dates",
    "by_content": "by its values",
    "customer_id": "customer id",
    "customer_email": "e-mail address as customer id",
    "customer_name": "a name as customer id: two customers of one name become one",
    "customer_phone": "telephone number as customer id",
    "fallback": "where it is empty, '{column}' is used",
    "order_id": "order number",
    "order_id_by_customer": "order number; {shared} numbers are used by several customers and kept apart",
    "no_order_id": "none: {made}",
    "dates": "order date",
    "dates_and_times": "order date, with the time of day in '{column}'",
    "day_first": "day before month",
    "month_first": "month before day",
    "by_file": "{count} files write them differently and are read so",
    "decimal_comma": "the comma is the decimal mark",
    "money_order": "money of the whole order, stated {where}",
    "money_line": "money of the line",
    "money_row": "money of the order",
    "money_quantity_price": "price per unit, multiplied by '{quantity}'",
    "money_none": "none: purchases are predicted, money is not",
    "line_total": "money of the line, not a price per unit: it grows with '{quantity}'",
    "constant": "equal on all lines in {share:.0%} of {orders:,} orders with several lines",
    "differs": "differs between lines in {share:.0%} of {orders:,} orders with several lines",
    "first_line": "filled on the first line only in {share:.0%} of {orders:,} orders with several lines",
    "single_lines": "every order has one line",
    "sums_match": "confirmed by quantity × price in {share:.0%} of {orders:,} cases",
    "contradicts_name": "the values contradict its name",
    "refund_order": "refunds, taken off the order's total",
    "refund_line": "refunds, taken off the line's money",
    "refund_included": "refunds, already taken off in '{column}'",
    "status": "these count: {sale}; these do not: {not_sale}",
    "status_all": "all orders count: {sale}",
    "status_with_other": "read together with the other status",
    "status_doubted": "not understood, and counted as sales: {statuses}",
    "record_type": "refunds: {refund}; no orders: {other}; sales: {sale}",
    "cancelled": "rows where it is filled are no sales",
    "cancelled_flag": "rows where it says yes are no sales",
    "paid_flag": "rows where it says no are no sales",
    "paid_at": "orders without a day of payment, and whose status does not say that they count, are no sales",
    "currency": "{currencies}",
    "placeholder": "holds '{value}' for {rows:,} of {total:,} rows, which names nobody",
    "mostly_empty": "filled on {share:.0%} of the rows only",
    "person_names": "holds names, which are not unique",
    "not_dates": "cannot be read as dates",
    "not_numbers": "holds no numbers",
    "mostly_zero": "zero on {share:.0%} of the rows",
    "lower_rank": "fits less well than '{column}'",
    "of_customers": "is the same on all orders of a customer",
    "not_smaller": "exceeds the total on {share:.0%} of the rows",
    "unused_money": "could be money",
    "unused_refund": "may hold refunds",
    "unused_status": "may say which orders count",
    "unused_type": "may say which rows are refunds",
    "unused_cancelled": "may say which orders were cancelled",
    "unused_test": "may mark test orders",
}
_ROLE_TITLES: Mapping[str, str] = {
    "customer_id": "Customer",
    "order_id": "Order",
    "order_date": "Date",
    "money": "Money",
    "refunded": "Refunds",
    "status": "Status",
    "payment_status": "Payment status",
    "record_type": "Type of row",
    "cancelled_at": "Cancelled",
    "cancelled": "Cancelled",
    "paid": "Paid",
    "paid_at": "Paid on",
    "currency": "Currency",
}


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
        """The decision for a shop owner, one line per role.

        Returns
        -------
        list of str
            Such as ``Money: 'Total': money of the whole order, stated on its first line``.
        """
        width = max((len(_ROLE_TITLES.get(decision.role, decision.role)) for decision in self.roles), default=0)
        found = [_line(decision, width) for decision in self.roles]
        if self.ignored:
            shown = "; ".join(f"'{column}' ({render(why)})" for column, why in self.ignored)
            found.append(f"{'Not used':<{width}}  {shown}")
        return found


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
    'equal on all lines in 99% of 1,200 orders with several lines'
    """
    return _TEXTS[fact.key].format(**fact.params)


def _line(decision: RoleDecision, width: int) -> str:
    title = _ROLE_TITLES.get(decision.role, decision.role)
    column = f"'{decision.column}': " if decision.column else ""
    evidence = _listed(decision.evidence)
    rejected = "; ".join(f"not '{name}': {render(why)}" for name, why in decision.rejected)
    return (
        f"{title:<{width}}  {column}{render(decision.meaning)}"
        f"{f' ({evidence})' if evidence else ''}{f'; {rejected}' if rejected else ''}"
    )


def _listed(facts: Iterable[Fact]) -> str:
    return "; ".join(render(fact) for fact in facts)
