"""What typical misreadings of an export make of its money, to name the fault behind a wrong total."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from tests.exports.layout_plan import Plan
from tests.exports.records import is_guest
from tests.exports.shop import SALE_STATES, Order

__all__ = ["money_by_mistake"]

_MEASURES: Mapping[str, Callable[[Order], int]] = {
    "": lambda order: order.total,
    "order total counted on every line": lambda order: order.total * len(order.lines),
    "only the first line counted": lambda order: order.lines[0].value,
    "quantity ignored": lambda order: sum(line.unit_price for line in order.lines),
    "line amount multiplied by quantity": lambda order: sum(line.value * line.quantity for line in order.lines),
    "order total multiplied by items": lambda order: order.total * sum(line.quantity for line in order.lines),
    "goods only": lambda order: order.goods,
}
_REFUNDS = {"": -1, "refunds ignored": 0, "refunds added": 1, "refunds taken off twice": -2}


def money_by_mistake(orders: Sequence[Order], plan: Plan) -> dict[str, float]:
    """Give the total under each combination of misreadings, in units of currency."""
    chosen = {
        "": [order for order in orders if order.state in SALE_STATES],
        "unpaid orders counted": list(orders),
    }
    if plan.guest is not None:
        chosen |= {
            f"{name}, guests lost".removeprefix(", "): [order for order in some if not is_guest(order.customer, plan)]
            for name, some in chosen.items()
        }
    found: dict[str, float] = {"money not seen": 0.0}
    for (who, some), (what, measure), (how, sign) in product(chosen.items(), _MEASURES.items(), _REFUNDS.items()):
        names = ", ".join(name for name in (who, what, how) if name)
        total = sum(measure(order) + sign * order.refunded for order in some)
        found.setdefault(names or "none", total * plan.scale / 100)
    return found
