"""A generated shop with known customers, orders and money, from which exports of any layout are written."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

State = Literal["paid", "pending", "cancelled", "failed", "refunded", "partially_refunded"]
SALE_STATES: tuple[State, ...] = ("paid", "refunded", "partially_refunded")
_FIRST_DAY = datetime.fromisoformat("2023-03-01")
_DAYS = 480
_FIRST_NAMES = ("Anna", "José", "Łukasz", "Ingrid", "Zoë", "Peter", "Мария", "Sofía", "Jürgen", "Marie-Claire")
_LAST_NAMES = (
    "Nordmann",
    "García López",
    "Kowalski",
    "Müller",
    "O'Brien",
    "Lindström",
    "Иванова",
    "de Vries",
    "Dubois",
)


@dataclass(frozen=True)
class Customer:
    """Someone who buys."""

    number: int
    first_name: str
    last_name: str

    @property
    def email(self) -> str:
        return f"customer{self.number:04d}@example.com"

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True)
class Line:
    """One product of an order; money is in cents."""

    sku: str
    quantity: int
    unit_price: int

    @property
    def name(self) -> str:
        return f"Product {self.sku}"

    @property
    def value(self) -> int:
        return self.quantity * self.unit_price


@dataclass(frozen=True)
class Order:
    """One order; money is in cents."""

    number: int
    customer: Customer
    placed_at: datetime
    lines: tuple[Line, ...]
    shipping: int = 0
    discount: int = 0
    refunded: int = 0
    state: State = "paid"

    @property
    def goods(self) -> int:
        return sum(line.value for line in self.lines)

    @property
    def total(self) -> int:
        return self.goods + self.shipping - self.discount

    @property
    def paid(self) -> int:
        """What was paid at first; 0 where no sale came about."""
        return self.total if self.state in SALE_STATES else 0

    @property
    def net(self) -> int:
        """What the shop kept; 0 where no sale came about."""
        return self.paid - self.refunded if self.paid else 0


@dataclass(frozen=True)
class Truth:
    """What a correct reading finds: orders with money kept, and their customers. Money is in currency units."""

    customers: int
    orders: int
    money: float
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Shop:
    """All orders, by time."""

    orders: tuple[Order, ...]
    currency: str = "EUR"

    @property
    def sold(self) -> tuple[Order, ...]:
        """Orders that were paid, whether or not they were paid back."""
        return tuple(order for order in self.orders if order.state in SALE_STATES)

    @property
    def truth(self) -> Truth:
        return self.truth_of(lambda order: order.net)

    def truth_of(self, money: Callable[[Order], int]) -> Truth:
        """What a correct reading finds where a layout shows ``money`` of an order; at or below 0 it is no sale."""
        sales = [order for order in self.orders if money(order) > 0]
        return Truth(
            customers=len({order.customer.number for order in sales}),
            orders=len(sales),
            money=round(sum(money(order) for order in sales) / 100, 2),
            first_day=min(order.placed_at for order in sales).date(),
            last_day=max(order.placed_at for order in sales).date(),
        )


@dataclass(frozen=True)
class Export:
    """A file as a platform writes it, and what a correct reading of it finds.

    Parameters
    ----------
    path : Path
        The file, or the folder of files.
    columns : mapping
        The setting ``columns`` that a shop owner has to give; empty where the file speaks for itself.
    truth : Truth
        What a correct reading finds.
    also : tuple of Truth
        Other readings that can be defended, such as line money with shipping where shipping stands beside it.
    """

    path: Path
    columns: Mapping[str, str]
    truth: Truth
    also: tuple[Truth, ...] = ()


def generate_shop(
    random_state: int,
    *,
    n_customers: int = 40,
    unpaid: float = 0.0,
    refunds: float = 0.0,
    extras: bool = False,
    whole_money: bool = False,
    price_level: int = 1,
) -> Shop:
    """Generate a shop.

    Parameters
    ----------
    random_state : int
        Seed; the same seed gives the same shop.
    n_customers : int
        Customers, about 60 % of whom buy again.
    unpaid, refunds : float
        Share of orders that are pending, cancelled or failed, and of those paid back in full or in part.
    extras : bool
        Whether orders carry shipping and discounts.
    whole_money : bool
        Whether prices have no cents.
    price_level : int
        Factor on every price; 1 gives prices about 12.00, so that no amount needs a thousands separator.
    """
    rng = random.Random(random_state)
    unit = 100 if whole_money else 1
    prices = {
        f"SKU{n:02d}": max(1, round(rng.lognormvariate(2.5, 0.6) * 100 / unit)) * unit * price_level for n in range(30)
    }
    placed = []
    for number in range(n_customers):
        customer = Customer(number, rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES))
        at = _FIRST_DAY + timedelta(seconds=rng.randrange(_DAYS * 86_400 // 2))
        for _ in range(1 + (rng.random() < 0.6) * rng.randrange(1, 9)):
            placed.append((at.replace(hour=8 + at.hour // 2), customer))
            at += timedelta(seconds=rng.randrange(86_400, 60 * 86_400))
    until = _FIRST_DAY + timedelta(days=_DAYS)
    placed = sorted(((at, customer) for at, customer in placed if at < until), key=lambda row: row[0])
    orders = []
    for number, (at, customer) in enumerate(placed):
        skus = rng.sample(sorted(prices), k=rng.choice((1, 1, 2, 2, 3, 4)))
        lines = tuple(Line(sku, rng.choice((1, 1, 1, 2, 3)), prices[sku]) for sku in skus)
        goods = sum(line.value for line in lines)
        shipping = rng.choice((0, 0, 500)) if extras else 0
        discount = goods // 10 // unit * unit if extras and rng.random() < 0.15 else 0
        state: State = "paid"
        refunded = 0
        total = goods + shipping - discount
        if rng.random() < unpaid:
            state = rng.choice(("pending", "cancelled", "failed"))
        elif rng.random() < refunds:
            whole = rng.random() < 0.5
            state, refunded = (
                ("refunded", total) if whole else ("partially_refunded", max(unit, total // 3 // unit * unit))
            )
        orders.append(Order(10_001 + number, customer, at, lines, shipping, discount, refunded, state))
    return Shop(tuple(orders))
