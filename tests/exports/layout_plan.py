"""What a random export looks like: independent draws, without the few combinations that no program can tell apart."""

import random
from dataclasses import dataclass, replace

from tests.exports.languages import LANGUAGES, Language

__all__ = ["FIRST_LINE_GRAINS", "Plan", "draw_plan"]

FIRST_LINE_GRAINS = ("first-line", "blank-id")

_PARTS = ("subtotal", "shipping", "tax", "discount", "order_total")
_MONEY = {
    "orders": {
        "total": ("order_total",),
        "total-named-amount": ("order_total",),
        "total-named-price": ("order_total", "item_count"),
        "parts": _PARTS,
    },
    "lines": {
        "line-amount": ("line_amount",),
        "line-amount-quantity": ("quantity", "line_amount"),
        "price-quantity": ("unit_price", "quantity"),
        "price-quantity-amount": ("unit_price", "quantity", "line_amount"),
        "total-repeated": ("order_total",),
        "total-repeated-price-quantity": ("unit_price", "quantity", "order_total"),
        "total-repeated-amount": ("line_amount", "order_total"),
        "total-first-line": ("unit_price", "quantity", "order_total"),
        "parts-repeated": ("unit_price", "quantity", *_PARTS),
        "price-is-of-line": ("line_amount", "quantity"),
        "amount-is-unit-price": ("unit_price", "quantity"),
        "order-value-is-of-line": ("line_amount",),
        "total-is-of-line": ("line_amount", "quantity"),
    },
    "first-line": {
        "total": ("order_total",),
        "total-price-quantity": ("unit_price", "quantity", "order_total"),
        "parts": ("unit_price", "quantity", *_PARTS),
        "line-amount": ("line_amount",),
        "price-quantity": ("unit_price", "quantity"),
        "total-line-amount": ("line_amount", "order_total"),
    },
}
_REFUNDS = ("none", "none", "column", "column", "negative-rows", "positive-rows", "status")
_STATUSES = ("none", "none", "column", "column", "column-and-fulfilment", "cancelled-at", "paid-flag", "cancelled-flag")
_CUSTOMERS = ("id", "id", "email", "id+email", "id+email", "id+name", "id+email+name", "email+name")
_GUESTS = ("0", "guest", "Guest", "", "00000000-0000-0000-0000-000000000000", "-", "(not set)", "anonymous")
_CUSTOMER_IDS = ("number", "padded", "letter", "uuid", "long", "underscore")
_ORDER_IDS = ("number", "hash", "prefix", "uuid", "date-number")
_EXTRAS = (
    *("product", "notes", "phone", "address", "weight", "shipped_at", "updated_at", "payment_id"),
    *("currency", "country", "staff", "customer_group", "tax_rate", "line_id", "channel", "empty", "total_spent"),
    *("fee", "accepts_marketing"),
)
_ODDITIES = (
    *("formula-text", "zero-dates", "id-noise", "id-decimals", "email-case", "apostrophe-ids", "damaged-ids"),
    *(f"null-word {word}" for word in ("NULL", "N/A", "nan", "None", "-", r"\N")),
)
_CONTAINERS = (
    *("csv",) * 11,
    *("csv.gz", "csv.zip", "parquet", "parquet", "xlsx", "xlsx", "folder-mixed", "folder-mixed", "folder-same"),
    *("folder-overlap", "two-shops-files", "two-shops-column"),
)


@dataclass(frozen=True)
class Plan:
    """Every choice about an export's content, apart from how cells and files are written."""

    language: Language
    status_language: Language
    grain: str
    money: str
    refunds: str
    refund_ids: str
    refund_status: str
    refund_column: str
    status: str
    customers: str
    guest: str | None
    guests_have_email: bool
    sparse_emails: bool
    customer_ids: str
    order_ids: str
    heading_style: str
    heading_suffix: str
    extras: tuple[str, ...]
    has_sku: bool
    container: str
    row_order: str
    scale: int
    only_first_days: bool
    settings: str
    oddity: str
    charge_lines: bool
    copies: bool
    sheet: str

    @property
    def money_columns(self) -> tuple[str, ...]:
        """Roles of the columns that hold money or quantities."""
        grain = "first-line" if self.grain in FIRST_LINE_GRAINS else self.grain
        return _MONEY[grain][self.money]

    @property
    def has_total(self) -> bool:
        return "order_total" in self.money_columns

    @property
    def is_typed(self) -> bool:
        """Whether the container has types of its own."""
        return self.container == "parquet" or (self.container == "xlsx" and self.sheet != "text")

    @property
    def has_refund_rows(self) -> bool:
        return self.refunds in {"negative-rows", "positive-rows"}

    @property
    def traits(self) -> list[str]:
        """Tags of the choices."""
        tags = [
            f"grain:{self.grain}",
            f"money:{self.grain}:{self.money}",
            f"refunds:{self.refunds}",
            f"status:{self.status}",
            f"customers:{self.customers}",
            f"headings:{self.language.code}",
            f"heading-style:{self.heading_style}",
            f"customer-ids:{self.customer_ids}",
            f"order-ids:{self.order_ids}",
            f"container:{self.container}",
            f"rows:{self.row_order}",
            f"scale:{self.scale}",
            f"settings:{self.settings}",
            *(f"extra:{name}" for name in self.extras),
        ]
        tags += [f"refund-rows:{self.refund_ids}-id", f"refund-rows:{self.refund_status}"] * self.has_refund_rows
        tags += [f"refund-column:{self.refund_column}"] * (self.refunds == "column" and self.grain == "lines")
        tags += [f"status-words:{self.status_language.code}"] * self.status.startswith("column")
        tags += [f"heading-suffix:{self.heading_suffix}"] * bool(self.heading_suffix)
        tags += [f"cells:{self.oddity}"] * bool(self.oddity)
        tags += ["lines:charges"] * self.charge_lines + ["rows:copies"] * self.copies
        tags += [f"xlsx:{self.sheet}"] * (self.container == "xlsx")
        tags += ["emails:sparse"] * self.sparse_emails
        tags += ["sku:none"] * (not self.has_sku and self.grain != "orders")
        tags += ["dates:first-twelve-days"] * self.only_first_days
        if self.guest is not None:
            tags.append(f"guests:{self.guest or 'blank'}:{'email' if self.guests_have_email else 'nothing'}")
        return tags


def draw_plan(rng: random.Random) -> Plan:
    """Draw every choice, then take back what contradicts another."""
    language = LANGUAGES[0] if rng.random() < 0.4 else rng.choice(LANGUAGES)
    grain = rng.choice(("orders", "orders", "lines", "lines", "first-line", "blank-id"))
    plan = Plan(
        language=language,
        status_language=language if rng.random() < 0.7 else rng.choice(LANGUAGES),
        grain=grain,
        money=rng.choice([*_MONEY["first-line" if grain in FIRST_LINE_GRAINS else grain]]),
        refunds=rng.choice(_REFUNDS),
        refund_ids=rng.choice(("own", "same", "prefixed")),
        refund_status=rng.choice(("paid", "paid", "refunded", "both-refunded")),
        refund_column=rng.choice(("repeated", "first-line")),
        status=rng.choice(_STATUSES),
        customers=rng.choice(_CUSTOMERS),
        guest=rng.choice(_GUESTS) if rng.random() < 0.35 else None,
        guests_have_email=rng.random() < 0.8,
        sparse_emails=rng.random() < 0.15,
        customer_ids=rng.choice(_CUSTOMER_IDS),
        order_ids="none" if rng.random() < 0.08 else rng.choice(_ORDER_IDS),
        heading_style=rng.choice(("as-is", "as-is", "snake", "camel", "upper", "title")),
        heading_suffix=rng.choice(("", "", "", "", "", "unit", " *", ":")),
        extras=tuple(name for name in _EXTRAS if rng.random() < 0.2),
        has_sku=rng.random() < 0.7,
        container=rng.choice(_CONTAINERS),
        row_order=rng.choice(("time", "latest-first", "shuffled", "customer")),
        scale=rng.choice((1, 1, 1, 100, 10_000)),
        only_first_days=rng.random() < 0.04,
        settings=rng.choice(("none", "none", "none", "ids", "all", "date-order")),
        oddity=rng.choice(_ODDITIES) if rng.random() < 0.3 else "",
        charge_lines=rng.random() < 0.25,
        copies=rng.random() < 0.06,
        sheet=rng.choice(("typed", "typed", "text", "preamble")),
    )
    return _consistent(plan)


def _consistent(plan: Plan) -> Plan:
    for rule in (_sound_refunds, _sound_customers, _sound_ids, _sound_oddity):
        plan = rule(plan)
    if plan.grain == "orders":
        plan = replace(plan, extras=tuple(name for name in plan.extras if name not in {"product", "line_id"}))
    return plan


def _sound_refunds(plan: Plan) -> Plan:
    if plan.refunds == "status" and not plan.status.startswith("column"):
        plan = replace(plan, status="column")
    if plan.refund_status != "paid" and not plan.status.startswith("column"):
        plan = replace(plan, refund_status="paid")
    # A refund under its sale's number contradicts a total that stands once per order, or for all its lines.
    total_of_lines = plan.has_total and plan.grain != "orders"
    if plan.refund_ids == "same" and (total_of_lines or plan.grain in FIRST_LINE_GRAINS):
        plan = replace(plan, refund_ids="own")
    return plan


def _sound_customers(plan: Plan) -> Plan:
    has_id, has_email = plan.customers.startswith("id"), "email" in plan.customers
    if not has_id:
        plan = replace(plan, guest=None)
    if not (has_id and has_email):
        plan = replace(plan, guests_have_email=False, sparse_emails=False)
    if plan.guest is None:
        plan = replace(plan, guests_have_email=False)
    # A named column is what it is: e-mails are named for guests, ids where some e-mails are missing.
    names_customer = plan.settings in {"ids", "all"}
    return replace(plan, sparse_emails=plan.sparse_emails and not (plan.guests_have_email and names_customer))


def _sound_ids(plan: Plan) -> Plan:
    """Without an order id only one row per order, and no refund under a number, can be understood."""
    if plan.order_ids == "none" and (plan.grain != "orders" or plan.has_refund_rows):
        plan = replace(plan, order_ids="number")
    if plan.order_ids == "none" and plan.container.startswith("two-shops"):
        plan = replace(plan, container="csv")
    if plan.order_ids in {"uuid", "date-number"} and plan.container.startswith("two-shops"):
        plan = replace(plan, order_ids="hash")
    if plan.order_ids == "none" and plan.container == "folder-overlap":
        plan = replace(plan, container="folder-same")
    if plan.copies and (plan.order_ids == "none" or plan.grain in FIRST_LINE_GRAINS or plan.container != "csv"):
        plan = replace(plan, copies=False)
    if plan.charge_lines and (plan.grain == "orders" or plan.has_total):
        plan = replace(plan, charge_lines=False)
    if plan.only_first_days and plan.order_ids == "none":
        plan = replace(plan, only_first_days=False)
    return plan


def _sound_oddity(plan: Plan) -> Plan:
    """Drop an oddity of cells that the export has no cells for."""
    has_id = plan.customers.startswith("id")
    has_cells = {
        "zero-dates": plan.status == "cancelled-at",
        "id-decimals": has_id and plan.customer_ids == "number",
        "email-case": "email" in plan.customers,
        "apostrophe-ids": has_id,
        "damaged-ids": has_id,
    }.get(plan.oddity, True)
    typed = plan.is_typed and plan.oddity not in {"id-noise", "email-case"}
    no_blanks = plan.oddity.startswith("null-word") and plan.grain in FIRST_LINE_GRAINS
    differing_copies = (plan.container == "folder-overlap" or plan.copies) and plan.oddity in {"id-noise", "email-case"}
    if not has_cells or typed or no_blanks or differing_copies:
        return replace(plan, oddity="")
    return replace(plan, customer_ids="long") if plan.oddity == "damaged-ids" else plan
