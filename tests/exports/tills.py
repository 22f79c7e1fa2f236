"""What tills have in common: customers without a name, returns some days later, dollars."""

from dataclasses import replace
from datetime import datetime, timedelta

from tests.exports.shop import Customer, Order, Shop, Truth


def is_known(customer: Customer) -> bool:
    """Whether a till knows the customer; every fifth buys without a name."""
    return customer.number % 5 != 3


def known(shop: Shop) -> Shop:
    """Only the orders of customers whom a till knows."""
    return replace(shop, orders=tuple(order for order in shop.orders if is_known(order.customer)))


def refund_time(order: Order, shop: Shop, *, days: int = 3) -> datetime:
    """Some days later, but never after the last sale, so that the last day is that of a sale in any reading."""
    last = max((o.placed_at for o in known(shop).orders if o.net > 0), default=order.placed_at)
    return max(order.placed_at, min(order.placed_at + timedelta(days=days), last))


def dollars(money: int) -> str:
    return f"{'-' if money < 0 else ''}${abs(money) / 100:,.2f}"


def truths_of_own_refunds(shop: Shop) -> tuple[Truth, tuple[Truth, ...]]:
    """Where a refund is a record with a number of its own: its sale stays an order, or is found and set against it."""
    kept = shop.truth
    return replace(shop.truth_of(lambda order: order.paid), money=kept.money), (kept,)
