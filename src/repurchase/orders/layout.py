"""The layout of an export: which column has which role, how it is understood, and on what evidence."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from repurchase.i18n.catalogues import has_message, use_locale
from repurchase.i18n.formatting import format_count, format_share
from repurchase.i18n.messages import Message, message, translate
from repurchase.sources.statuses import StatusClass
from repurchase.sources.vocabulary import column_key

_IMPLIED = frozenset({"by_name", "customer_id", "order_id", "dates", "single_lines"})
"""Says nothing that the role and the column do not."""
_BRIEF = frozenset({"named", "by_content", "only_dates", "day_first", "month_first", "decimal_comma"})
"""Evidence shown on the same line as the column."""
_WITH_VALUES = frozenset({"currency", "placeholder"})
_WIDTH = 100
_SHOWN_VALUES = 8
"""Values of a list, such as statuses, that are shown."""
_PLURAL_PARAMS = ("orders", "rows", "shared", "count")
"""Parameters that decide the plural form; the first that a fact has."""


@dataclass(frozen=True)
class Fact:
    """A statement as a message key and parameters."""

    key: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fact as plain values."""
        return {"key": self.key, "params": dict(self.params)}

    def __str__(self) -> str:
        """The fact in the active language."""
        return render_fact(self.key, self.params)


@dataclass(frozen=True)
class RoleDecision:
    """How one role was filled."""

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
    """How an export was understood."""

    roles: tuple[RoleDecision, ...] = ()
    ignored: tuple[tuple[str, Fact], ...] = ()

    def with_role(self, decision: RoleDecision) -> "ReadingDecision":
        """Replace or add the decision of one role."""
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
        r"""The decision for a shop owner: a line per role, with the details indented below it."""
        titles = [role_title(decision.role) for decision in self.roles]
        titles += [role_title("ignored")] if self.ignored else []
        width = max(map(len, titles), default=0) + 2
        columns_of: dict[str, list[str]] = {}
        for column, why in self.ignored:
            columns_of.setdefault(str(why), []).append(f"'{column}'")
        ignored = [f"{', '.join(columns)} {why}" for why, columns in columns_of.items()]
        paragraphs = [*(_sentences(decision) for decision in self.roles), *([ignored] if ignored else [])]
        return [
            line
            for title, sentences in zip(titles, paragraphs, strict=True)
            for number, sentence in enumerate(sentences)
            for line in _wrapped(sentence, title if number == 0 else "", width)
        ]


def render_fact(key: str, params: Mapping[str, Any]) -> str:
    """A fact in the active language; the key of one that another version wrote."""
    plural = next((int(params[param]) for param in _PLURAL_PARAMS if param in params), 0)
    texts = {param: _formatted_value(value) for param, value in params.items()}
    try:
        return translate(f"reading.fact.{key}", **{**texts, "n": plural})
    except KeyError:
        return key


def role_title(role: str) -> str:
    """Name a role."""
    name = f"reading.role.{role}"
    return translate(name) if has_message(name) else role


def log_line(decision: RoleDecision) -> str:
    """Say a decision for a log, without values of the column."""
    column = f"'{decision.column}'" if decision.column else ""
    with use_locale("en"):
        meaning = "" if decision.meaning.key in _WITH_VALUES else str(decision.meaning)
        return ": ".join(part for part in (role_title(decision.role), column, meaning) if part)


def _sentences(decision: RoleDecision) -> list[str]:
    """What is shown of a decision, a line each: the column and its meaning, then the evidence, then other columns."""
    brief = [str(fact) for fact in decision.evidence if fact.key in _BRIEF]
    meaning = [] if decision.meaning.key in _IMPLIED else [str(decision.meaning)]
    column = f"'{decision.column}'" if decision.column else ""
    first = ": ".join(part for part in (column, "; ".join([*meaning, *brief])) if part)
    evidence = [str(fact) for fact in decision.evidence if fact.key not in _IMPLIED | _BRIEF]
    others = [f"'{name}'" for name, why in decision.rejected if why.key == "lower_rank"]
    considered = [translate("columns.considered", columns=", ".join(others))] if others else []
    against = [
        translate("columns.rejected", column=name, why=str(why))
        for name, why in decision.rejected
        if why.key != "lower_rank"
    ]
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


def _formatted_value(value: Any) -> str:
    """A share as a percentage, a whole number with separators, a list with the count of each, and text as it is."""
    if isinstance(value, float):
        return format_share(value)
    if isinstance(value, list | tuple):
        shown = [str(name) if n is None else f"{name} ({format_count(n)})" for name, n in value[:_SHOWN_VALUES]]
        more = len(value) - _SHOWN_VALUES
        return ", ".join([*shown, *([translate("columns.more", n=more)] if more > 0 else [])])
    return format_count(value) if isinstance(value, int) else str(value)


FILE_COLUMN = "_file"
"""Additional column of an export of several files: the number of the row's file."""

STATUS_ROLES = ("status", "payment_status")
MONEY_COLUMN_ROLES = ("amount", "order_total", "price")
"""Roles of the column that money is read from."""
AmountRule = Literal["amount", "order_total", "quantity_price", "none"]


@dataclass(frozen=True)
class Layout:
    """What an export's columns are."""

    name: str
    columns: Mapping[str, str]
    grain: Literal["lines", "orders"]
    amount_rule: AmountRule
    refund_per: Literal["order", "line"] | None = None
    header_column: str | None = None
    continued: bool = False
    cancellation_prefix: str | None = None
    shop_statuses: Mapping[str, StatusClass] = field(default_factory=dict)
    numbers_recur: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Message, ...] = ()
    decision: ReadingDecision = field(default_factory=ReadingDecision)

    @property
    def customer_columns(self) -> list[str]:
        """Columns of customers: the first, and the one used where the first names nobody."""
        roles = ("customer_id", "customer_fallback")
        return [self.columns[role] for role in roles if role in self.columns]

    @property
    def status_columns(self) -> list[str]:
        """Columns of statuses."""
        return [self.columns[role] for role in STATUS_ROLES if role in self.columns]

    @property
    def first_line_only(self) -> bool:
        """Whether order fields are filled on the first line of an order only."""
        return self.header_column is not None or self.continued


@dataclass(frozen=True)
class KnownExport:
    """Software whose exports are recognised by the names of their columns: one name of each group."""

    name: str
    needs: tuple[str, ...] = ()
    cancellation_prefix: str | None = None
    statuses: Mapping[str, StatusClass] = field(default_factory=dict)
    notes: tuple[Message, ...] = ()

    def matches(self, keys: frozenset[str]) -> bool:
        """Say whether columns with these keys are of this software."""
        return all(not keys.isdisjoint(group.split("|")) for group in self.needs)


_WOO: Mapping[str, StatusClass] = {"pending": "not_sale", "onhold": "sale"}
_WOO_CUSTOMERS = "billingemail|emailbilling|customeremail|customeruser|customeruserid|billingemailaddress|customerid"
_EXPORTS = (
    KnownExport("Shopify orders", ("name", "createdat", "total|lineitemprice", "financialstatus|lineitemquantity")),
    KnownExport("Squarespace orders", ("orderid", "financialstatus", "lineitemprice")),
    KnownExport(
        "UCI Online Retail",
        ("invoice|invoiceno", "stockcode", "quantity", "invoicedate", "price|unitprice", "customerid"),
        cancellation_prefix="C",
        notes=(message("cleaning_note.not_goods"),),
    ),
    KnownExport("CDNOW", ("customerid", "date", "numberofcds", "dollarvalue")),
    KnownExport(
        "WooCommerce analytics",
        ("ordernumber|order", "date", "status", "customer", "nrevenue|netsales|nettotal"),
        statuses=_WOO,
    ),
    KnownExport(
        "WooCommerce orders",
        (
            "orderid|ordernumber",
            "orderdate|date|datecreated",
            "status|orderstatus",
            "ordertotal|ordertotalamount|total",
            _WOO_CUSTOMERS,
        ),
        statuses=_WOO,
    ),
)


def known_export(columns: Iterable[str]) -> KnownExport | None:
    """Recognise the software that wrote an export."""
    keys = frozenset(column_key(column) for column in columns)
    return next((known for known in _EXPORTS if known.matches(keys)), None)
