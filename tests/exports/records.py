"""The rows of a planned export as roles and values, and what a correct reading finds in them."""

import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from tests.exports.files import Cell
from tests.exports.layout_plan import Plan
from tests.exports.shop import SALE_STATES, Customer, Line, Order

__all__ = ["MONEY_ROLES", "Accepted", "Group", "adapt_orders", "build_groups", "expect", "is_guest"]

MONEY_ROLES = (
    "unit_price",
    "line_amount",
    "order_total",
    "subtotal",
    "shipping",
    "tax",
    "discount",
    "refunded",
    "total_spent",
    "fee",
)
"""Roles whose values are cents."""
_FLAGS = (("yes", "no"), ("true", "false"), ("1", "0"), ("TRUE", "FALSE"), ("Y", "N"))
_NOTES = ("", "", "call before noon", 'a 5" inch screen, black', "left; right", "first line\nsecond line", "thanks!")
_LONGEST_GAP_DAYS = 21
Record = dict[str, Cell]


@dataclass(frozen=True)
class Group:
    """Rows that stay together in a file: an order or a refund."""

    at: datetime
    customer: int
    rows: tuple[Record, ...]


@dataclass(frozen=True)
class Accepted:
    """What a correct reading may find; more than one value where both are in use for the same facts."""

    customers: frozenset[int]
    orders: frozenset[int]
    money: float
    first_days: frozenset[date]
    last_days: frozenset[date]


def adapt_orders(orders: Sequence[Order], plan: Plan) -> list[Order]:
    """Reduce orders to what the planned export can express."""
    listed = (order for order in orders if order.state in SALE_STATES or plan.status != "none")
    adapted = [_expressible(order, plan) for order in listed]
    adapted = _until_thin(adapted, plan)
    if not plan.only_first_days:
        return adapted
    early = (order.placed_at.replace(day=1 + (order.placed_at.day - 1) % 12) for order in adapted)
    return [replace(order, placed_at=at) for order, at in zip(adapted, early, strict=True)]


def _until_thin(orders: list[Order], plan: Plan) -> list[Order]:
    """Leave out the last customers' orders, between which so many days lie that they look like mistyped dates."""
    times = [order.placed_at for order in orders if order.net > 0 and not _is_lost(order.customer, plan)]
    pairs = zip(times[len(times) // 2 :], times[len(times) // 2 + 1 :], strict=False)
    end = next((before for before, after in pairs if (after - before).days > _LONGEST_GAP_DAYS), times[-1])
    return [order for order in orders if order.placed_at <= end]


def _expressible(order: Order, plan: Plan) -> Order:
    if order.state in {"pending", "failed"} and plan.status in {"cancelled-at", "cancelled-flag"}:
        order = replace(order, state="cancelled")
    if not (plan.has_total or plan.charge_lines):
        order = replace(order, shipping=0, discount=0)
    if order.state == "refunded" and plan.refunds != "none":
        return replace(order, refunded=order.total)
    if order.state == "partially_refunded" and plan.refunds not in {"none", "status"}:
        return replace(order, refunded=max(1, order.total // 3))
    return replace(order, refunded=0, state="paid") if order.state in SALE_STATES else order


def expect(orders: Sequence[Order], groups: Sequence[Group], plan: Plan) -> Accepted:
    """Say what a correct reading of the rows finds."""
    known = [order for order in orders if not _is_lost(order.customer, plan)]
    sales = [order for order in known if order.state in SALE_STATES]
    net = [order for order in sales if order.net > 0]
    # An order that was paid back stays an order, unless nothing but its status says so.
    counted = {"status": (net,), "column": (sales,)}.get(plan.refunds, (net, sales))
    last = {max(order.placed_at for order in some).date() for some in (net, sales)}
    lost = {order.customer.number for order in orders} - {order.customer.number for order in known}
    if plan.has_refund_rows:
        last.add(max(group.at for group in groups if group.customer not in lost and _is_of_sale(group, sales)).date())
    return Accepted(
        customers=frozenset(len({order.customer.number for order in some}) for some in (net, sales)),
        orders=frozenset(len(some) for some in counted),
        money=round(sum(order.net for order in sales) * plan.scale / 100, 2),
        first_days=frozenset(min(order.placed_at for order in some).date() for some in (net, sales)),
        last_days=frozenset(last),
    )


def _is_of_sale(group: Group, sales: Sequence[Order]) -> bool:
    """Whether a group is a sale or a refund (only sales are refunded), not an order that came to nothing."""
    return group.rows[0].get("_refund") is not None or group.at in {order.placed_at for order in sales}


def is_guest(customer: Customer, plan: Plan) -> bool:
    """Say whether a customer buys without an account."""
    return plan.guest is not None and customer.number % 4 == 0


def _is_lost(customer: Customer, plan: Plan) -> bool:
    return is_guest(customer, plan) and not plan.guests_have_email


def _customer_id(customer: Customer, plan: Plan) -> str:
    number = customer.number
    styles = {
        "number": str(1_000 + number),
        "padded": f"{number + 1:06d}",
        "letter": f"K{number:04d}",
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, customer.email)),
        "long": str(7_100_000_000_000 + 137 * number),
        "underscore": f"cus_{number * 7919 % 100_003:05d}x",
    }
    return styles[plan.customer_ids]


class _OrderNumbers:
    """Numbers orders as the plan says; each of two shops counts from 1001."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counts: dict[str, int] = {}

    def next(self, store: str, at: datetime) -> str:
        number = self._counts[store] = self._counts.get(store, 1_000) + 1
        styles = {
            "number": str(number),
            "hash": f"#{number}",
            "prefix": f"ORD-{number:06d}",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "date-number": f"{at:%Y%m%d}-{number}",
            "none": "",
        }
        return styles[self._plan.order_ids]


class _Words:
    """Words drawn once for the whole export."""

    def __init__(self, rng: random.Random, plan: Plan) -> None:
        states = plan.status_language.states
        self.sale_states = rng.sample(states["paid"], k=min(len(states["paid"]), rng.choice((1, 2))))
        self.states = {state: rng.choice(words) for state, words in states.items() if state != "paid"}
        self.fulfilled = states["paid"][-1]
        change = rng.choice((str.lower, str.capitalize, str.upper, str))
        self.sale_states = [change(word) for word in self.sale_states]
        self.states = {state: change(word) for state, word in self.states.items()}
        self.yes, self.no = rng.choice(_FLAGS)
        self.nothing = rng.choice((0, None))
        self.discount_sign = rng.choice((1, 1, -1))
        self.names_refunded = rng.random() < 0.7
        self.has_type = plan.refunds == "positive-rows" or (plan.refunds == "negative-rows" and rng.random() < 0.3)

    def state(self, state: str, rng: random.Random) -> str:
        return rng.choice(self.sale_states) if state == "paid" else self.states[state]


def build_groups(orders: Sequence[Order], plan: Plan, rng: random.Random) -> list[Group]:
    """Make the rows of every order and of every refund that is a row of its own, by time."""
    words, numbers = _Words(rng, plan), _OrderNumbers(plan)
    spent: dict[int, int] = {}
    for order in orders:
        spent[order.customer.number] = spent.get(order.customer.number, 0) + order.net
    sales = []
    for order in orders:
        store = "B" if order.customer.number % 2 and plan.container.startswith("two-shops") else "A"
        number = numbers.next(store, order.placed_at)
        fields = _order_fields(order, number, store, plan, words, rng)
        if "total_spent" in plan.extras:
            fields["total_spent"] = spent[order.customer.number]
        sales.append((order, fields, Group(order.placed_at, order.customer.number, _rows(order, fields, plan, rng))))
    refunds: Iterable[Group] = ()
    if plan.has_refund_rows:
        refunded = [(order, fields) for order, fields, _ in sales if order.refunded]
        refunds = [_refund(order, fields, plan, words, numbers, rng) for order, fields in refunded]
    groups = [*(group for _, _, group in sales), *refunds]
    return _numbered(sorted(groups, key=lambda group: group.at), plan)


def _order_fields(order: Order, number: str, store: str, plan: Plan, words: _Words, rng: random.Random) -> Record:
    fields: Record = {} if plan.order_ids == "none" else {"order_id": number}
    fields |= {"date": order.placed_at, **_customer_fields(order, plan, rng)}
    if plan.container == "two-shops-column":
        fields["store"] = f"Shop {store}"
    fields |= _status_fields(order, plan, words, rng)
    if words.has_type:
        fields["type"] = words.states["sale"]
    if plan.refunds == "column":
        fields["refunded"] = order.refunded or words.nothing
    totals: Record = {
        "subtotal": order.goods,
        "shipping": order.shipping,
        "tax": order.total // 6,
        "discount": words.discount_sign * order.discount,
        "order_total": order.total,
        "item_count": sum(line.quantity for line in order.lines),
    }
    fields |= {role: value for role, value in totals.items() if role in plan.money_columns}
    return fields | _extra_fields(order, plan, rng)


def _customer_fields(order: Order, plan: Plan, rng: random.Random) -> Record:
    customer, fields = order.customer, dict[str, Cell]()
    guest = is_guest(customer, plan)
    if plan.customers.startswith("id"):
        fields["customer_id"] = plan.guest if guest else _customer_id(customer, plan)
    if "email" in plan.customers:
        blank = (guest and not plan.guests_have_email) or (plan.sparse_emails and not guest and rng.random() < 0.1)
        fields["email"] = "" if blank else customer.email
    if "name" in plan.customers:
        fields["name"] = plan.language.people[customer.number % len(plan.language.people)]
    return fields


def _status_fields(order: Order, plan: Plan, words: _Words, rng: random.Random) -> Record:
    is_sale = order.state in SALE_STATES
    if plan.status.startswith("column"):
        says_refunded = plan.refunds == "status" or (
            plan.refund_status == "both-refunded" if plan.has_refund_rows else words.names_refunded
        )
        state = order.state if not is_sale or says_refunded else "paid"
        fields: Record = {"status": words.state(state, rng)}
        if plan.status == "column-and-fulfilment":
            fields["fulfilment"] = words.fulfilled if is_sale and rng.random() < 0.9 else ""
        return fields
    if plan.status == "cancelled-at":
        return {"cancelled_at": None if is_sale else order.placed_at + timedelta(hours=3)}
    if plan.status == "paid-flag":
        return {"paid_flag": words.yes if is_sale else words.no}
    return {"cancelled_flag": words.no if is_sale else words.yes} if plan.status == "cancelled-flag" else {}


def _extra_fields(order: Order, plan: Plan, rng: random.Random) -> Record:
    number = order.customer.number
    values: Record = {
        "notes": rng.choice(_NOTES),
        "phone": f"+47 400 {number:05d}",
        "address": f"Main Street {number}, 01{number:02d} Town",
        "weight": f"{rng.randrange(1, 90) / 10}",
        "shipped_at": order.placed_at + timedelta(days=rng.randrange(1, 5)),
        "updated_at": order.placed_at + timedelta(days=rng.randrange(5, 30)),
        "payment_id": f"pi_{rng.randrange(16**10):010x}",
        "currency": "EUR",
        "country": ("NO", "DE", "FR", "US")[number % 4],
        "staff": ("Kim", "Alex", "Robin")[order.number % 3],
        "customer_group": ("General", "Wholesale")[number % 7 == 0],
        "tax_rate": ("20%", "10%")[order.number % 5 == 0],
        "channel": ("web", "pos")[order.number % 4 == 0],
        "fee": order.total // 40 + 30,
        "accepts_marketing": ("yes", "no")[number % 3 == 0],
        "empty": "",
    }
    return {name: value for name, value in values.items() if name in plan.extras}


def _rows(order: Order, fields: Record, plan: Plan, rng: random.Random) -> tuple[Record, ...]:
    if plan.grain == "orders":
        return (fields,)
    rows = []
    charges = [Line("SHIPPING", 1, order.shipping)] if order.shipping else []
    charges += [Line("DISCOUNT", 1, -order.discount)] if order.discount else []
    for place, line in enumerate([*order.lines, *(charges if plan.charge_lines else [])]):
        values: Record = {"sku": line.sku, "product": line.name, "quantity": line.quantity}
        values |= {"unit_price": line.unit_price, "line_amount": line.value, "line_id": rng.randrange(10**9)}
        wanted = {*plan.money_columns, *plan.extras, *(["sku"] if plan.has_sku else [])}
        own = {role: value for role, value in values.items() if role in wanted}
        rows.append(_later_line(fields, plan) | own if place else fields | own)
    return tuple(rows)


def _later_line(fields: Record, plan: Plan) -> Record:
    if plan.grain == "first-line":
        return {"order_id": fields["order_id"]}
    if plan.grain == "blank-id":
        return {}
    only_first = ["order_total"] if plan.money == "total-first-line" else []
    only_first += ["refunded"] if plan.refund_column == "first-line" else []
    return {role: value for role, value in fields.items() if role not in only_first}


def _refund(order: Order, sale: Record, plan: Plan, words: _Words, numbers: _OrderNumbers, rng: random.Random) -> Group:
    at = order.placed_at + timedelta(days=rng.randrange(2, 20), hours=rng.randrange(-2, 3))
    at = at.replace(hour=min(max(at.hour, 8), 19))
    sign = -1 if plan.refunds == "negative-rows" else 1
    money = sign * order.refunded
    sold_at = str(sale.get("store", ""))
    store = sold_at[-1:] or ("B" if order.customer.number % 2 and plan.container.startswith("two-shops") else "A")
    number = {"own": lambda: numbers.next(store, at), "prefixed": lambda: f"R{sale['order_id']}"}.get(
        plan.refund_ids, lambda: sale["order_id"]
    )()
    row: Record = {**sale, "order_id": number, "date": at}
    zeros = ("shipping", "tax", "discount")
    row |= {role: 0 for role in zeros if role in row}
    amounts = {"order_total": money, "subtotal": money, "line_amount": money, "unit_price": order.refunded}
    row |= {role: value for role, value in amounts.items() if role in plan.money_columns}
    row |= {role: sign for role in ("quantity", "item_count") if role in plan.money_columns}
    row |= {name: at + timedelta(days=1) for name in ("shipped_at", "updated_at") if name in row}
    row |= {"line_id": rng.randrange(10**9)} if "line_id" in plan.extras else {}
    if "status" in row:
        row["status"] = words.state("paid" if plan.refund_status == "paid" else "refunded", rng)
    if words.has_type:
        row["type"] = words.states["refund"]
    return Group(at, order.customer.number, ({**row, "_refund": True},))


def _numbered(groups: list[Group], plan: Plan) -> list[Group]:
    """Number the lines where two of an order would be equal: nothing tells those from a line written twice."""
    clear = plan.grain == "orders" or plan.grain == "blank-id"
    if clear or all(_differ(group.rows) for group in groups):
        return groups
    return [
        replace(group, rows=tuple({**row, "position": place} for place, row in enumerate(group.rows, start=1)))
        for group in groups
    ]


def _differ(rows: tuple[Record, ...]) -> bool:
    later = rows[1:]
    return len({tuple(sorted(map(str, row.items()))) for row in later}) == len(later) and rows[0] not in later
