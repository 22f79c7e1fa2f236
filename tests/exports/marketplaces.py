"""Exports of marketplaces: Etsy, eBay and Amazon."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from tests.exports.delimited import cents, continental, line_discounts, write_rows
from tests.exports.marketplace_headings import AMAZON_ALL_ORDERS, AMAZON_ORDERS, EBAY, ETSY_ITEMS, ETSY_ORDERS
from tests.exports.shop import Customer, Export, Order, Shop, State, Truth

_ETSY_STATUS: dict[State, str] = {
    "paid": "Completed",
    "pending": "Payment Processing",
    "cancelled": "Canceled",
    "failed": "Unpaid",
    "refunded": "Fully Refunded",
    "partially_refunded": "Partially Refunded",
}
_EBAY_GERMAN = {
    "Sales Record Number": "Verkaufsprotokollnummer",
    "Order Number": "Bestellnummer",
    "Buyer Username": "Nutzername des Käufers",
    "Buyer Name": "Name des Käufers",
    "Buyer Email": "E-Mail-Adresse des Käufers",
    "Item Number": "Artikelnummer",
    "Item Title": "Angebotstitel",
    "Custom Label": "Bestandseinheit",
    "Quantity": "Anzahl",
    "Sold For": "Verkauft für",
    "Shipping And Handling": "Verpackung und Versand",
    "Total Price": "Gesamtbetrag",
    "Payment Method": "Zahlungsmethode",
    "Sale Date": "Verkauft am",
    "Paid On Date": "Zahlungsdatum",
    "Shipped On Date": "Versanddatum",
    "Transaction ID": "Transaktions-ID",
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS_GERMAN = ("Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez")


def write_etsy_orders(shop: Shop, folder: Path) -> Export:
    """Sold Orders: a line per order; the adjusted total is what is left of an order."""
    rows = [_etsy_order(order) | {"Adjusted Order Total": cents(order.total - order.refunded)} for order in shop.orders]
    return Export(write_rows(folder / "EtsySoldOrders2024.csv", ETSY_ORDERS, rows), {}, shop.truth)


def write_etsy_orders_sparse(shop: Shop, folder: Path) -> Export:
    """Sold Orders as of another year: the adjusted total is 0.00 but for orders paid back in part."""
    adjusted = {o.number: o.total - o.refunded if o.state == "partially_refunded" else 0 for o in shop.orders}
    rows = [_etsy_order(order) | {"Adjusted Order Total": cents(adjusted[order.number])} for order in shop.orders]
    return Export(write_rows(folder / "EtsySoldOrders2023.csv", ETSY_ORDERS, rows), {}, shop.truth)


def write_etsy_items(shop: Shop, folder: Path) -> Export:
    """Sold Order Items: a line per product sold, without status and refunds; the order's shipping on each line."""
    rows = [
        {
            "Sale Date": f"{order.placed_at:%m/%d/%y}",
            "Item Name": line.name,
            "Buyer": _username(order.customer),
            "Quantity": line.quantity,
            "Price": cents(line.unit_price),
            "Coupon Code": "THANKYOU10" if discount else "",
            "Discount Amount": cents(discount),
            "Shipping Discount": "0.00",
            "Order Shipping": cents(order.shipping),
            "Order Sales Tax": "0.00",
            "Item Total": cents(line.value),
            "Currency": "USD",
            "Transaction ID": f"{order.number:07d}{n}",
            "Listing ID": 905_000_000 + int(line.sku[3:]),
            "Date Paid": f"{order.placed_at:%m/%d/%Y}",
            "Date Shipped": f"{order.placed_at + timedelta(days=2):%m/%d/%Y}",
            "Ship Name": order.customer.name,
            "Ship Country": "United States",
            "Order ID": order.number * 1009,
            "Order Type": "online",
            "Listings Type": "listing",
            "Payment Type": "online_cc",
            "SKU": line.sku,
        }
        for order in shop.sold
        for n, (line, discount) in enumerate(zip(order.lines, line_discounts(order), strict=True))
    ]
    truth, also = _line_money(shop)
    return Export(write_rows(folder / "EtsySoldOrderItems2024.csv", ETSY_ITEMS, rows), {}, truth, also)


def write_ebay_orders(shop: Shop, folder: Path) -> Export:
    """Orders report: an order of several items has a line with its money, and below it a line per item."""
    truth = shop.truth_of(lambda order: order.paid)
    return Export(_write_ebay(shop.sold, folder / "eBay-OrdersReport.csv"), {}, truth)


def write_ebay_awaiting_payment(shop: Shop, folder: Path) -> Export:
    """Orders report with buyers who have not paid: no day of payment, and nothing else that says so."""
    listed = [order for order in shop.orders if order.state != "cancelled"]
    return Export(_write_ebay(listed, folder / "eBay-OrdersReport.csv"), {}, shop.truth_of(lambda order: order.paid))


def write_ebay_germany(shop: Shop, folder: Path) -> Export:
    """Orders report of eBay.de: semicolons, ``116,99 €`` and ``10-Dez-25``."""
    names = [_EBAY_GERMAN[name] for name in EBAY if name in _EBAY_GERMAN]
    rows = [
        {_EBAY_GERMAN[name]: _in_german(name, value) for name, value in row.items() if name in _EBAY_GERMAN}
        for order in shop.sold
        for row in _ebay_rows(order)
    ]
    path = write_rows(folder / "eBay-Bestellbericht.csv", names, rows, delimiter=";", encoding="utf-8-sig")
    text = path.read_text(encoding="utf-8-sig")
    footer = f'\n"{len(shop.sold)}";"Datensätze heruntergeladen"\n"Verkäufer: mein-laden"\n'
    path.write_text(";" * (len(names) - 1) + "\n" + text + footer, encoding="utf-8-sig")
    return Export(path, {}, shop.truth_of(lambda order: order.paid))


def write_amazon_all_orders(shop: Shop, folder: Path) -> Export:
    """All Orders: tabs, a line per item, cancelled and pending orders among the rest; refunds are elsewhere."""
    status = {"pending": "Pending", "cancelled": "Cancelled", "failed": "Cancelled"}
    rows = []
    for order in shop.orders:
        state = status.get(order.state, ("Shipped", "Shipped - Delivered to Buyer", "Unshipped")[order.number % 3])
        items = {"Pending": "Unshipped", "Cancelled": "Cancelled"}.get(state, state.partition(" ")[0])
        unpriced = order.state in {"pending", "failed"}
        rows += [
            row
            | {
                "amazon-order-id": _amazon_id(order),
                "merchant-order-id": _amazon_id(order),
                "last-updated-date": f"{order.placed_at + timedelta(days=3):%Y-%m-%dT%H:%M:%S}+00:00",
                "order-status": state,
                "fulfillment-channel": "Merchant",
                "sales-channel": "Amazon.com",
                "asin": f"B00{row['sku']}",
                "item-status": items,
                "quantity": 0 if state == "Cancelled" else row["quantity"],
                "gift-wrap-price": "",
                "is-business-order": "false",
            }
            | ({"item-price": "", "shipping-price": "", "currency": ""} if unpriced else {})
            for row in _amazon_rows(order, zone="+00:00")
        ]
    path = write_rows(folder / "53423019874.txt", AMAZON_ALL_ORDERS, rows, delimiter="\t")
    truth, also = _line_money(shop)
    return Export(path, {}, truth, also)


def write_amazon_orders(shop: Shop, folder: Path) -> Export:
    """Order report: tabs, a line per item, paid orders only, in the zone of the marketplace."""
    rows = []
    for order in shop.sold:
        for n, row in enumerate(_amazon_rows(order, zone="-08:00")):
            named = {("quantity-purchased" if name == "quantity" else name): value for name, value in row.items()}
            rows.append(
                named
                | {
                    "order-id": _amazon_id(order),
                    "order-item-id": f"{order.number * 1_000_003:014d}{n}",
                    "payments-date": row["purchase-date"],
                    "buyer-name": order.customer.name,
                    "buyer-phone-number": "206-555-0100",
                    "recipient-name": order.customer.name,
                    "sales-channel": "Amazon.com",
                }
            )
    path = write_rows(folder / "order-report.txt", AMAZON_ORDERS, rows, delimiter="\t")
    truth, also = _line_money(shop)
    return Export(path, {}, truth, also)


LAYOUTS: tuple[Callable[[Shop, Path], Export], ...] = (
    write_etsy_orders,
    write_etsy_orders_sparse,
    write_etsy_items,
    write_ebay_orders,
    write_ebay_awaiting_payment,
    write_ebay_germany,
    write_amazon_all_orders,
    write_amazon_orders,
)


def _line_money(shop: Shop) -> tuple[Truth, tuple[Truth, ...]]:
    """The goods of orders paid for, or these without discounts, or with shipping; refunds are not shown."""
    goods = shop.truth_of(lambda order: order.goods if order.paid else 0)
    net = shop.truth_of(lambda order: order.goods - order.discount if order.paid else 0)
    total = shop.truth_of(lambda order: order.paid)
    return goods, (net, total)


def _username(customer: Customer) -> str:
    first = re.sub("[^a-z]", "", customer.first_name.lower()) or "buyer"
    return f"{first}_{customer.number * 37 + 11}"


def _etsy_order(order: Order) -> dict[str, object]:
    fees = round(order.total * 0.03) + 25
    return {
        "Sale Date": f"{order.placed_at:%m/%d/%y}",
        "Order ID": order.number * 1009,
        "Buyer User ID": _username(order.customer),
        "Full Name": order.customer.name,
        "First Name": order.customer.first_name,
        "Last Name": order.customer.last_name,
        "Number of Items": sum(line.quantity for line in order.lines),
        "Payment Method": "Credit Card",
        "Date Shipped": f"{order.placed_at + timedelta(days=2):%m/%d/%y}" if order.paid else "",
        "Ship City": "Austin",
        "Ship Zipcode": "78701",
        "Ship Country": "United States",
        "Currency": "USD",
        "Order Value": cents(order.goods),
        "Coupon Code": "THANKYOU10" if order.discount else "",
        "Discount Amount": cents(order.discount),
        "Shipping Discount": "0.00",
        "Shipping": cents(order.shipping),
        "Sales Tax": "0.00",
        "Order Total": cents(order.total),
        "Status": _ETSY_STATUS[order.state],
        "Card Processing Fees": cents(fees),
        "Order Net": cents(order.total - fees),
        "Adjusted Card Processing Fees": cents(fees if order.refunded else 0),
        "Adjusted Net Order Amount": cents(max(0, order.net - fees) if order.refunded else 0),
        "Buyer": order.customer.name,
        "Order Type": "online",
        "Payment Type": "online_cc",
        "SKU": ",".join(line.sku for line in order.lines),
    }


def _ebay_rows(order: Order) -> Iterator[dict[str, object]]:
    paid = order.placed_at if order.paid else None
    whole = {
        "Sales Record Number": order.number - 9_000,
        "Order Number": f"{order.number % 28 + 1:02d}-{order.number * 13 % 100_000:05d}-{order.number:05d}",
        "Buyer Username": _username(order.customer),
        "Sale Date": order.placed_at,
    }
    payment = {
        "Buyer Name": order.customer.name,
        "Buyer Email": order.customer.email,
        "Buyer Country": "United States",
        "Ship To Name": order.customer.name,
        "Quantity": sum(line.quantity for line in order.lines),
        "Sold For": order.lines[0].unit_price if len(order.lines) == 1 else order.goods,
        "Shipping And Handling": order.shipping,
        "Seller Collected Tax": 0,
        "eBay Collected Tax": 0,
        "eBay Collected Charges": 0,
        "Total Price": order.total,
        "eBay Collected Tax and Fees Included in Total": "No",
        "Payment Method": "PayPal" if paid else "",
        "Paid On Date": paid,
        "Ship By Date": order.placed_at + timedelta(days=3),
        "Shipped On Date": order.placed_at + timedelta(days=2) if paid else None,
    }
    items = [
        {
            "Item Number": 254_000_000_000 + int(line.sku[3:]),
            "Item Title": line.name,
            "Custom Label": line.sku,
            "Sold Via Promoted Listings": "No",
            "Item Location": "South Bend",
            "Transaction ID": f"{order.number * 100_003}{n}",
            "Quantity": line.quantity,
            "Sold For": line.unit_price,
        }
        for n, line in enumerate(order.lines)
    ]
    if len(items) == 1:
        yield items[0] | whole | payment
        return
    yield whole | payment
    for item in items:
        yield whole | item | {"Shipping And Handling": 0}


def _ebay_text(value: object, name: str) -> object:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{_MONTHS[value.month - 1]}-{value:%d-%y}"
    money = name in {"Sold For", "Shipping And Handling", "Total Price"} or name.startswith(
        ("Seller Coll", "eBay Coll")
    )
    return f"${value / 100:,.2f}" if money and isinstance(value, int) else value


def _in_german(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%d}-{_MONTHS_GERMAN[value.month - 1]}-{value:%y}"
    money = name in {"Sold For", "Shipping And Handling", "Total Price"}
    return continental(value, after=" €") if money and isinstance(value, int) else _ebay_text(value, name)


def _write_ebay(orders: Sequence[Order], path: Path) -> Path:
    rows: list[Mapping[str, object]] = [{}]  # below the heading stands a line of empty fields
    rows += [
        {name: _ebay_text(value, name) for name, value in row.items()} for order in orders for row in _ebay_rows(order)
    ]
    write_rows(path, EBAY, rows, quote_all=True)
    days = (_ebay_text(order.placed_at, "Sale Date") for order in (orders[0], orders[-1]))
    footer = f'\n"{len(orders)}","record(s) downloaded","from {" to ".join(map(str, days))}"\n"Seller ID : my-shop"\n'
    path.write_text("," * (len(EBAY) - 1) + "\n" + path.read_text(encoding="utf-8") + footer, encoding="utf-8")
    return path


def _amazon_id(order: Order) -> str:
    return f"{111 + order.number % 4}-{order.number * 7_919 % 10_000_000:07d}-{order.number:07d}"


def _amazon_rows(order: Order, *, zone: str) -> Iterator[dict[str, object]]:
    for n, (line, discount) in enumerate(zip(order.lines, line_discounts(order), strict=True)):
        yield {
            "purchase-date": f"{order.placed_at:%Y-%m-%dT%H:%M:%S}{zone}",
            "buyer-email": f"q{order.customer.number * 7_919:07d}x@marketplace.amazon.com",
            "ship-service-level": "Standard",
            "product-name": line.name,
            "sku": line.sku,
            "quantity": line.quantity,
            "currency": "USD",
            "item-price": cents(line.value),
            "item-tax": "0.00",
            "shipping-price": cents(order.shipping if n == 0 else 0),
            "shipping-tax": "0.00",
            "item-promotion-discount": cents(discount),
            "ship-promotion-discount": "0.00",
            "ship-city": "SEATTLE",
            "ship-postal-code": "98101",
            "ship-country": "US",
        }
