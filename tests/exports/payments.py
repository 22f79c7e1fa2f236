"""Exports of tills and payment services: Square and Stripe."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from tests.exports.delimited import Row, cents, line_discounts, newest_first, write_rows
from tests.exports.marketplace_headings import SQUARE_ITEMS, SQUARE_TRANSACTIONS, STRIPE_BALANCE, STRIPE_PAYMENTS
from tests.exports.shop import Export, Order, Shop, State
from tests.exports.tills import dollars, is_known, known, refund_time

_STRIPE_STATUS: dict[State, str] = {
    "paid": "Paid",
    "pending": "Pending",
    "cancelled": "Canceled",
    "failed": "Failed",
    "refunded": "Refunded",
    "partially_refunded": "Paid",
}


def write_square_transactions(shop: Shop, folder: Path) -> Export:
    """Transactions: payments and refunds, date and time apart; every fifth customer is not known."""
    rows = [_square_transaction(order, money, at) for order, money, at in _latest_first(shop)]
    path = write_rows(folder / "transactions-2023-03-01-2024-06-30.csv", SQUARE_TRANSACTIONS, rows)
    return Export(path, {}, known(shop).truth)


def write_square_items(shop: Shop, folder: Path) -> Export:
    """Items: what was sold and returned, line by line; service charges are not among them."""
    rows = []
    for order, money, at in _latest_first(shop):
        if money > 0:
            lines = zip(order.lines, line_discounts(order), strict=True)
            rows += [_square_item(order, at, line.sku, line.quantity, line.value, off) for line, off in lines]
        elif order.state == "refunded":
            lines = zip(order.lines, line_discounts(order), strict=True)
            rows += [_square_item(order, at, line.sku, -line.quantity, -line.value, -off) for line, off in lines]
        else:
            rows.append(_square_item(order, at, order.lines[0].sku, -1, -_refunded_goods(order), 0))
    path = write_rows(folder / "items-2023-03-01-2024-06-30.csv", SQUARE_ITEMS, rows)
    kept = known(shop)
    return Export(path, {}, kept.truth_of(lambda o: o.goods - o.discount - _refunded_goods(o) if o.paid else 0))


def write_stripe_payments(shop: Shop, folder: Path) -> Export:
    """Payments: what came back stands beside what was paid, and again in the account's currency."""
    rows = [
        {
            "id": f"ch_3N{order.number * 7_919:010d}",
            "Created date (UTC)": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
            "Amount": cents(order.total),
            "Amount Refunded": cents(order.refunded),
            "Currency": "usd",
            "Captured": str(order.paid > 0).lower(),
            "Converted Amount": cents(order.total),
            "Converted Amount Refunded": cents(order.refunded),
            "Converted Currency": "usd",
            "Decline Reason": "insufficient_funds" if order.state == "failed" else "",
            "Description": f"Payment for order {order.number}",
            "Fee": cents(round(order.total * 0.029) + 30 if order.paid else 0),
            "Is Link": "false",
            "Mode": "Live",
            "PaymentIntent ID": f"pi_3N{order.number * 6_271:010d}",
            "Payment Source Type": "card",
            "Refunded date (UTC)": f"{order.placed_at + timedelta(days=2):%Y-%m-%d %H:%M:%S}" if order.refunded else "",
            "Statement Descriptor": "MY SHOP",
            "Status": _STRIPE_STATUS[order.state],
            "Seller Message": "Payment complete." if order.paid else "The bank did not return any further details.",
            "Taxes On Fee": "0.00",
            "Card Name": order.customer.name,
            "Customer ID": f"cus_N{order.customer.number * 104_729:010d}",
            "Customer Email": order.customer.email,
        }
        for order in newest_first(shop)
    ]
    return Export(write_rows(folder / "unified_payments.csv", STRIPE_PAYMENTS, rows), {}, shop.truth)


def write_stripe_balance(shop: Shop, folder: Path) -> Export:
    """Balance history: charges, refunds, fees and payouts; the shop wrote its order and customer beside them."""
    rows: list[Row] = []
    for n, (order, money, at) in enumerate(reversed(_latest_first(shop))):
        fee = round(money * 0.029) + 30 if money > 0 else 0
        charge = _stripe_move(n, "charge" if money > 0 else "refund", money, fee, at)
        source = "ch" if money > 0 else "re"
        rows.append(
            charge
            | {
                "Source": f"{source}_3N{order.number * 7_919:010d}",
                "Description": f"{'' if money > 0 else 'REFUND FOR CHARGE '}(Order {order.number})",
                "Customer Facing Amount": cents(money),
                "Customer Facing Currency": "usd",
                "customer_email (metadata)": order.customer.email,
                "order_id (metadata)": order.number,
            }
        )
        if n % 10 == 9:
            rows.append(_stripe_move(n, "payout", -50_000, 0, at) | {"Description": "STRIPE PAYOUT"})
        if n % 50 == 49:
            rows.append(_stripe_move(n, "stripe_fee", -1_200, 0, at) | {"Description": "Billing - Usage Fee"})
    path = write_rows(folder / "balance_history.csv", STRIPE_BALANCE, reversed(rows))
    return Export(path, {"order_id": "order_id (metadata)"}, shop.truth)


LAYOUTS: tuple[Callable[[Shop, Path], Export], ...] = (
    write_square_transactions,
    write_square_items,
    write_stripe_payments,
    write_stripe_balance,
)


def _events(shop: Shop) -> Iterator[tuple[Order, int, datetime]]:
    """Payments, and refunds as negative money."""
    for order in shop.sold:
        yield order, order.total, order.placed_at
        if order.refunded:
            yield order, -order.refunded, refund_time(order, shop)


def _latest_first(shop: Shop) -> list[tuple[Order, int, datetime]]:
    return sorted(_events(shop), key=lambda event: event[2], reverse=True)


def _refunded_goods(order: Order) -> int:
    """What came back for goods, where service charges are left out of a layout."""
    return min(order.refunded, order.goods - order.discount)


def _square_event(order: Order, at: datetime, *, refund: bool) -> dict[str, object]:
    return {
        "Date": f"{at:%Y-%m-%d}",
        "Time": f"{at:%H:%M:%S}",
        "Time Zone": "Eastern Time (US & Canada)",
        "Transaction ID": f"H0gw{order.number * 7_919:010d}ZY",
        "Payment ID": f"F8r3{order.number * 6_271:010d}{'R' if refund else 'P'}",
        "Device Name": "Counter iPad",
        "Details": f"https://squareup.com/dashboard/sales/transactions/H0gw{order.number * 7_919:010d}ZY",
        "Event Type": "Refund" if refund else "Payment",
        "Location": "Main",
        "Customer ID": f"{order.customer.number * 104_729:010d}QKX" if is_known(order.customer) else "",
        "Customer Name": order.customer.name if is_known(order.customer) else "",
    }


def _square_transaction(order: Order, money: int, at: datetime) -> Row:
    refund, cash = money < 0, order.number % 3 == 0
    fees = 0 if refund or cash else -(round(money * 0.026) + 10)
    discount, shipping = (0, 0) if refund else (order.discount, order.shipping)
    return _square_event(order, at, refund=refund) | {
        "Gross Sales": dollars(money + discount - shipping),
        "Discounts": dollars(-discount),
        "Service Charges": dollars(shipping),
        "Net Sales": dollars(money),
        "Gift Card Sales": "$0.00",
        "Tax": "$0.00",
        "Tip": "$0.00",
        "Partial Refunds": "$0.00",
        "Total Collected": dollars(money),
        "Source": "Point of Sale",
        "Card": dollars(0 if cash else money),
        "Card Entry Methods": "N/A" if cash else "Tapped",
        "Cash": dollars(money if cash else 0),
        "Square Gift Card": "$0.00",
        "Other Tender": "$0.00",
        "Fees": dollars(fees),
        "Net Total": dollars(money + fees),
        "Card Brand": "" if cash else "Visa",
        "PAN Suffix": "" if cash else f"{order.customer.number:04d}",
        "Staff Name": "Linh",
        "Description": ", ".join(f"{line.name} x {line.quantity}" for line in order.lines),
        "Refund Reason": "Returned goods" if refund else "",
        "Transaction Status": "Complete",
    }


def _square_item(order: Order, at: datetime, sku: str, quantity: int, value: int, discount: int) -> Row:
    return _square_event(order, at, refund=quantity < 0) | {
        "Category": "Goods",
        "Item": f"Product {sku}",
        "Qty": f"{quantity:.1f}",
        "Price Point Name": "Regular",
        "SKU": sku,
        "Gross Sales": dollars(value),
        "Discounts": dollars(-discount),
        "Net Sales": dollars(value - discount),
        "Tax": "$0.00",
        "Unit": "ea",
        "Count": 1,
        "Itemization Type": "Physical Good",
        "Commission": "$0.00",
    }


def _stripe_move(n: int, kind: str, money: int, fee: int, at: datetime) -> dict[str, object]:
    return {
        "id": f"txn_3N{n * 104_729:09d}{kind[0]}",
        "Type": kind,
        "Amount": cents(money),
        "Fee": cents(fee),
        "Net": cents(money - fee),
        "Currency": "usd",
        "Created (UTC)": f"{at:%Y-%m-%d %H:%M}",
        "Available On (UTC)": f"{at + timedelta(days=2):%Y-%m-%d 00:00}",
    }
