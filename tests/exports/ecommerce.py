"""Orders as Shopify, Squarespace, Wix, Magento and BigCommerce export them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tests.exports.delimited import (
    american_day,
    american_time,
    cents,
    export_of,
    newest_first,
    tax_in,
    with_offset,
    write_rows,
)
from tests.exports.shop import Customer, Export, Order, Shop, State

_PAID: tuple[State, ...] = ("paid", "refunded", "partially_refunded")
_NOTE = 'Gift!\nPlease write: "Happy birthday,\nGrandma"'
_ADDRESS = ("Name", "Street", "Address1", "Address2", "Company", "City", "Zip", "Province", "Country", "Phone")
_LINE = ("quantity", "name", "price", "compare at price", "sku", "requires shipping", "taxable", "fulfillment status")


def _shipped(order: Order) -> bool:
    return order.state in _PAID and order.number % 6 != 0


def _shop_address(prefix: str, who: Customer) -> dict[str, object]:
    values = (who.name, "Rue de la Paix 7, 2e", "Rue de la Paix 7", "2e", "", "Paris", "'01234", "", "FR")
    phone = f"'+33 6 12 34 {who.number:04d}"
    return {f"{prefix} {name}": value for name, value in zip(_ADDRESS, (*values, phone), strict=True)}


_SHOPIFY = (
    *("Name", "Email", "Financial Status", "Paid at", "Fulfillment Status", "Fulfilled at", "Accepts Marketing"),
    *("Currency", "Subtotal", "Shipping", "Taxes", "Total", "Discount Code", "Discount Amount", "Shipping Method"),
    *("Created at", *(f"Lineitem {name}" for name in _LINE), *(f"Billing {name}" for name in _ADDRESS)),
    *(*(f"Shipping {name}" for name in _ADDRESS), "Notes", "Note Attributes", "Cancelled at", "Payment Method"),
    *("Payment Reference", "Refunded Amount", "Vendor", "Outstanding Balance", "Employee", "Location", "Device ID"),
    *("Id", "Tags", "Risk Level", "Source", "Lineitem discount", "Tax 1 Name", "Tax 1 Value", "Tax 2 Name"),
    *("Tax 2 Value", "Phone", "Receipt Number", "Duties", "Billing Province Name", "Shipping Province Name"),
    *("Payment ID", "Payment Terms Name", "Next Payment Due At", "Payment References"),
)
_SHOPIFY_STATES = {"pending": "pending", "failed": "expired", "cancelled": "voided"}


def _shopify_order(order: Order) -> dict[str, object]:
    paid = order.state in _PAID
    later = order.placed_at + timedelta(days=2)
    reference = f"c{order.number * 7919}.1" if paid else ""
    return {
        "Financial Status": _SHOPIFY_STATES.get(order.state, order.state),
        "Paid at": with_offset(order.placed_at + timedelta(seconds=2)) if paid else "",
        "Fulfillment Status": "fulfilled" if _shipped(order) else "unfulfilled",
        "Fulfilled at": with_offset(later) if _shipped(order) else "",
        "Accepts Marketing": "yes" if order.customer.number % 2 else "no",
        "Currency": "EUR",
        "Subtotal": cents(order.goods - order.discount),
        "Shipping": cents(order.shipping),
        "Taxes": cents(tax_in(order.total, 20)),
        "Total": cents(order.total),
        "Discount Code": "WELCOME10" if order.discount else "",
        "Discount Amount": cents(order.discount),
        "Shipping Method": "Livraison rapide [4 à 5 jours ouvrés]" if order.shipping else "",
        **_shop_address("Billing", order.customer),
        **_shop_address("Shipping", order.customer),
        "Notes": _NOTE if order.number % 8 == 0 else "",
        "Cancelled at": with_offset(later) if order.state == "cancelled" else "",
        "Payment Method": "Shopify Payments",
        "Payment Reference": reference,
        "Refunded Amount": cents(order.refunded),
        "Outstanding Balance": cents(0 if paid or order.state == "cancelled" else order.total),
        "Id": 5_400_000_000_000 + order.number,
        "Risk Level": "Low",
        "Source": "web",
        "Tax 1 Name": "TVA 20%",
        "Tax 1 Value": cents(tax_in(order.total, 20)),
        "Payment ID": reference,
        "Payment References": reference,
    }


def _shopify_rows(shop: Shop) -> Iterator[dict[str, object]]:
    for order in newest_first(shop):
        for place, line in enumerate(order.lines):
            yield {
                "Name": f"#{order.number - 9_000}",
                "Email": order.customer.email,
                **(_shopify_order(order) if place == 0 else {}),
                "Created at": with_offset(order.placed_at),
                "Lineitem quantity": line.quantity,
                "Lineitem name": f"{line.name} - Blue / M",
                "Lineitem price": cents(line.unit_price),
                "Lineitem compare at price": cents(line.unit_price + 500) if line.unit_price % 2 else "",
                "Lineitem sku": line.sku,
                "Lineitem requires shipping": "true",
                "Lineitem taxable": "true",
                "Lineitem fulfillment status": "fulfilled" if _shipped(order) else "pending",
                "Vendor": "Maison & Co",
                "Lineitem discount": cents(0),
            }


def write_shopify(shop: Shop, folder: Path) -> Export:
    """Orders > Export: an order's fields stand on the first of its lines only; all else but the line is empty."""
    return export_of(write_rows(folder / "orders_export_1.csv", _SHOPIFY, _shopify_rows(shop)), shop)


def write_shopify_tests(shop: Shop, folder: Path) -> Export:
    """The same with the owner's test orders, discounted to nothing: no sale, and the owner is no customer."""
    owner = Customer(0, "Shop", "Owner")
    rows = list(_shopify_rows(shop))
    for place, order in enumerate(shop.orders[10:200:60]):
        test = Order(9_001 + place, owner, order.placed_at, order.lines[:1], discount=order.lines[0].value)
        (row,) = _shopify_rows(Shop((test,)))
        method = "(for testing) Bogus Gateway"
        rows.append(row | {"Email": "owner@example.com", "Payment Method": method, "Tags": "test"})
    return export_of(write_rows(folder / "orders_export_1.csv", _SHOPIFY, rows), shop)


def write_shopify_customers(shop: Shop, folder: Path) -> Path:
    """Customers > Export: ids with an apostrophe that keeps spreadsheets from rounding them; orders know e-mails."""
    header = ("Customer ID", "First Name", "Last Name", "Email", "Accepts Email Marketing", "Default Address Company")
    header = (*header, "Default Address City", "Default Address Phone", "Phone", "Accepts SMS Marketing")
    header = (*header, "Total Spent", "Total Orders", "Note", "Tax Exempt", "Tags")
    spent: dict[Customer, list[int]] = {}
    for order in shop.orders:
        spent.setdefault(order.customer, []).append(order.net)
    rows = [
        {
            "Customer ID": f"'{7_410_991_464_714 + customer.number}",
            "First Name": customer.first_name,
            "Last Name": customer.last_name,
            "Email": customer.email,
            "Accepts Email Marketing": "yes",
            "Default Address City": "Paris",
            "Phone": f"'+33612340{customer.number:04d}",
            "Accepts SMS Marketing": "no",
            "Total Spent": cents(sum(money)),
            "Total Orders": sum(net > 0 for net in money),
            "Tax Exempt": "no",
            "Tags": "vip, newsletter" if len(money) > 4 else "",
        }
        for customer, money in spent.items()
    ]
    return write_rows(folder / "customers_export.csv", header, rows)


_SQUARESPACE = (
    *("Order ID", "Email", "Financial Status", "Paid at", "Fulfillment Status", "Fulfilled at", "Currency", "Subtotal"),
    *("Shipping", "Taxes", "Amount Refunded", "Total", "Discount Code", "Discount Amount", "Shipping Method"),
    *("Created at", "Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem sku", "Lineitem variant"),
    *("Lineitem requires shipping", "Lineitem taxable", "Lineitem fulfillment status"),
    *(f"Billing {name}" for name in _ADDRESS if name not in {"Street", "Company"}),
    *(f"Shipping {name}" for name in _ADDRESS if name not in {"Street", "Company"}),
    *("Cancelled at", "Private Notes", "Channel Type", "Channel Name", "Channel Order Number", "Payment Method"),
    "Payment Reference",
)
_SQUARESPACE_STATES = {"refunded": "REFUNDED", "partially_refunded": "PARTIALLY_REFUNDED", "paid": "PAID"}


def write_squarespace(shop: Shop, folder: Path) -> Export:
    """Orders > Download CSV: all but the order's number and its lines stand on the first line only, dates too.

    A cancelled order was paid and paid back in full; one not paid waits for its payment.
    """
    rows = []
    for order in newest_first(shop):
        gone = order.state == "cancelled"
        at = with_offset(order.placed_at)
        address = {**_shop_address("Billing", order.customer), **_shop_address("Shipping", order.customer)}
        whole: dict[str, object] = {
            "Email": order.customer.email,
            "Financial Status": "REFUNDED" if gone else _SQUARESPACE_STATES.get(order.state, "PENDING"),
            "Paid at": at if gone or order.state in _PAID else "",
            "Fulfillment Status": "CANCELED" if gone else "FULFILLED" if _shipped(order) else "PENDING",
            "Fulfilled at": with_offset(order.placed_at + timedelta(days=4)) if _shipped(order) else "",
            "Currency": "USD",
            "Subtotal": cents(order.goods),
            "Shipping": cents(order.shipping),
            "Taxes": cents(0),
            "Amount Refunded": cents(order.total if gone else order.refunded),
            "Total": cents(order.total),
            "Discount Code": "SPRING" if order.discount else "",
            "Discount Amount": cents(order.discount),
            "Shipping Method": "Flat Rate",
            "Created at": at,
            **{name: value for name, value in address.items() if name in _SQUARESPACE},
            "Cancelled at": with_offset(order.placed_at + timedelta(days=1)) if gone else "",
            "Private Notes": _NOTE if order.number % 8 == 0 else "",
            "Channel Type": "web",
            "Channel Name": "Squarespace",
            "Payment Method": "Stripe",
            "Payment Reference": f"ch_{order.number * 7919:x}",
        }
        for place, line in enumerate(order.lines):
            product = {
                "Order ID": f"{order.number - 9_000:05d}",
                "Lineitem quantity": line.quantity,
                "Lineitem name": line.name,
                "Lineitem price": cents(line.unit_price),
                "Lineitem sku": f"SQ{line.sku[3:]}09144",
                "Lineitem variant": "200g / Whole bean",
                "Lineitem requires shipping": "true",
                "Lineitem taxable": "true",
                "Lineitem fulfillment status": "fulfilled" if _shipped(order) else "pending",
            }
            rows.append((whole if place == 0 else {}) | product)
    return export_of(write_rows(folder / "orders.csv", _SQUARESPACE, rows), shop)


_WIX_PLACE = ("Delivery country", "Delivery state", "Delivery city", "Delivery address", "Delivery zip/postal code")
_WIX = (
    *("Order number", "Date created", "Time", "Fulfill by", "Total order quantity", "Contact email"),
    *("Note from customer", "Additional checkout info", "Item", "Variant", "SKU", "Qty", "Quantity refunded", "Price"),
    *("Weight", "Custom text", "Deposit amount", "Delivery method", "Delivery time", "Recipient name"),
    *("Recipient phone", "Recipient company name", *_WIX_PLACE, "Billing name", "Billing phone"),
    *("Billing company name", *_WIX_PLACE, "Payment status", "Payment method", "Coupon code", "Gift card amount"),
    *("Shipping rate", "Total tax", "Total", "Currency", "Refunded amount", "Net amount", "Additional fees"),
    *("Fulfillment status", "Tracking number", "Fulfillment service", "Shipping label"),
)
_WIX_STATES: dict[State, tuple[str, str]] = {
    "paid": ("Paid", "Fulfilled"),
    "pending": ("Unpaid", "Unfulfilled"),
    "cancelled": ("Unpaid", "Canceled"),
    "failed": ("Declined", "Unfulfilled"),
    "refunded": ("Refunded", "Fulfilled"),
    "partially_refunded": ("Partially refunded", "Fulfilled"),
}


def write_wix(shop: Shop, folder: Path) -> Export:
    """Orders > Export: a row per item with the order's totals on each, day and time apart, columns named twice."""
    rows = []
    for order in newest_first(shop):
        payment, fulfilment = _WIX_STATES[order.state]
        for line in order.lines:
            rows.append(
                {
                    "Order number": order.number,
                    "Date created": american_day(order.placed_at),
                    "Time": american_time(order.placed_at),
                    "Total order quantity": sum(each.quantity for each in order.lines),
                    "Contact email": order.customer.email,
                    "Note from customer": _NOTE if order.number % 8 == 0 else "",
                    "Item": line.name,
                    "Variant": "Color: Blue|Size: M",
                    "SKU": line.sku,
                    "Qty": line.quantity,
                    "Quantity refunded": line.quantity if order.state == "refunded" else 0,
                    "Price": cents(line.unit_price),
                    "Weight": 0.5,
                    "Custom text": "<p>Engraving: <b>A&amp;B</b></p>" if order.number % 7 == 0 else "",
                    "Delivery method": "Standard",
                    "Recipient name": order.customer.name,
                    "Recipient phone": f"'+4915{order.customer.number:08d}",
                    "Delivery country": "DEU",
                    "Delivery city": "Berlin",
                    "Delivery address": "Hauptstraße 1, Hinterhaus",
                    "Delivery zip/postal code": "'10115",
                    "Billing name": order.customer.name,
                    "Payment status": payment,
                    "Payment method": "Credit/Debit Cards",
                    "Coupon code": "SAVE10" if order.discount else "",
                    "Shipping rate": cents(order.shipping),
                    "Total tax": cents(tax_in(order.total, 19)),
                    "Total": cents(order.total),
                    "Currency": "EUR",
                    "Refunded amount": cents(order.refunded),
                    "Net amount": cents(order.total - order.refunded),
                    "Additional fees": cents(0),
                    "Fulfillment status": fulfilment,
                }
            )
    path = write_rows(folder / "Orders.csv", _WIX, rows, quote_all=True, encoding="utf-8-sig")
    return export_of(path, shop)


_MAGENTO_STATES: dict[State, tuple[str, ...]] = {
    "paid": ("Complete", "Complete", "Processing"),
    "pending": ("Pending Payment", "Pending"),
    "cancelled": ("Canceled",),
    "failed": ("Canceled",),
    "refunded": ("Closed",),
    "partially_refunded": ("Complete",),
}


def write_magento(shop: Shop, folder: Path) -> Export:
    """Sales > Orders > Export: a row per order, numbers that begin with zeros, two grand totals, no customer id."""
    header = ("ID", "Purchase Point", "Purchase Date", "Bill-to Name", "Ship-to Name", "Grand Total (Base)")
    header = (*header, "Grand Total (Purchased)", "Status", "Billing Address", "Shipping Address")
    header = (*header, "Shipping Information", "Customer Email", "Customer Group", "Subtotal", "Shipping and Handling")
    header = (*header, "Customer Name", "Payment Method", "Total Refunded", "Allocated sources", "Pickup Location Code")
    rows = []
    for order in newest_first(shop):
        states, who = _MAGENTO_STATES[order.state], order.customer
        rows.append(
            {
                "ID": f"{order.number:09d}",
                "Purchase Point": "Main Website\n    Main Website Store\n        Default Store View",
                "Purchase Date": f"{american_day(order.placed_at)} {american_time(order.placed_at)}",
                "Bill-to Name": who.name,
                "Ship-to Name": "Reception" if order.number % 5 == 0 else who.name,
                "Grand Total (Base)": cents(order.total, 4),
                "Grand Total (Purchased)": cents(order.total, 4),
                "Status": states[order.number % len(states)],
                "Billing Address": "12 Main St,Springfield,Illinois,62701",
                "Shipping Address": "12 Main St,Springfield,Illinois,62701",
                "Shipping Information": "Flat Rate - Fixed",
                "Customer Email": who.email,
                "Customer Group": "NOT LOGGED IN" if who.number % 4 == 0 else "General",
                "Subtotal": cents(order.goods, 4),
                "Shipping and Handling": cents(order.shipping, 4),
                "Customer Name": "Guest" if who.number % 4 == 0 else who.name,
                "Payment Method": "checkmo",
                "Total Refunded": cents(order.refunded, 4) if order.refunded else "",
            }
        )
    return export_of(write_rows(folder / "export.csv", header, rows), shop)


_BIGCOMMERCE = (
    *("Order ID", "Customer ID", "Customer Name", "Customer Email", "Customer Phone", "Order Date", "Order Status"),
    *("Subtotal (inc tax)", "Subtotal (ex tax)", "Tax Total", "Shipping Cost (inc tax)", "Shipping Cost (ex tax)"),
    *("Ship Method", "Handling Cost (inc tax)", "Handling Cost (ex tax)", "Store Credit Redeemed"),
    *("Gift Certificate Amount Redeemed", "Coupon Details", "Order Total (inc tax)", "Order Total (ex tax)"),
    *("Payment Method", "Total Quantity", "Total Shipped", "Date Shipped", "Order Currency Code", "Exchange Rate"),
    *("Order Notes", "Customer Message", "Billing First Name", "Billing Last Name", "Billing Zip", "Billing Email"),
    *("Shipping First Name", "Shipping Last Name", "Product Details", "Refund Amount", "Channel ID", "Channel Name"),
)
_BIGCOMMERCE_STATES: dict[State, tuple[str, ...]] = {
    "paid": ("Completed", "Shipped", "Completed", "Awaiting Fulfillment"),
    "pending": ("Awaiting Payment", "Pending", "Incomplete"),
    "cancelled": ("Cancelled",),
    "failed": ("Declined",),
    "refunded": ("Refunded",),
    "partially_refunded": ("Partially Refunded",),
}


def write_bigcommerce(shop: Shop, folder: Path) -> Export:
    """Orders > Export, default template: customer 0 is a guest, months before days, products packed into one cell."""
    rows = []
    for order in newest_first(shop):
        states, who, guest = _BIGCOMMERCE_STATES[order.state], order.customer, order.customer.number % 4 == 0
        sent = order.placed_at + timedelta(days=3)
        units = sum(line.quantity for line in order.lines)
        rows.append(
            {
                "Order ID": order.number,
                "Customer ID": 0 if guest else 500 + who.number,
                "Customer Name": who.name,
                "Customer Email": who.email,
                "Customer Phone": f"'(555) 010-{who.number:04d}",
                "Order Date": f"{order.placed_at:%m/%d/%Y}",
                "Order Status": states[order.number % len(states)],
                "Subtotal (inc tax)": cents(order.goods),
                "Subtotal (ex tax)": cents(order.goods - tax_in(order.goods, 10)),
                "Tax Total": cents(tax_in(order.total, 10)),
                "Shipping Cost (inc tax)": cents(order.shipping),
                "Shipping Cost (ex tax)": cents(order.shipping - tax_in(order.shipping, 10)),
                "Ship Method": "Ship by Weight",
                "Handling Cost (inc tax)": cents(0),
                "Handling Cost (ex tax)": cents(0),
                "Store Credit Redeemed": cents(0),
                "Gift Certificate Amount Redeemed": cents(0),
                "Coupon Details": f"Coupon Code: TEN, Coupon Value: {cents(order.discount)}" if order.discount else "",
                "Order Total (inc tax)": cents(order.total),
                "Order Total (ex tax)": cents(order.total - tax_in(order.total, 10)),
                "Payment Method": "Authorize.net",
                "Total Quantity": units,
                "Total Shipped": units if _shipped(order) else 0,
                "Date Shipped": f"{sent:%m/%d/%Y}" if _shipped(order) else "",
                "Order Currency Code": "AUD",
                "Exchange Rate": "1.0000000000",
                "Customer Message": _NOTE if order.number % 8 == 0 else "",
                "Billing First Name": who.first_name,
                "Billing Last Name": who.last_name,
                "Billing Zip": "02928",
                "Billing Email": who.email,
                "Shipping First Name": who.first_name,
                "Shipping Last Name": who.last_name,
                "Product Details": "|".join(
                    f"Product ID: {int(line.sku[3:])}, Product Qty: {line.quantity}, Product SKU: {line.sku}, "
                    f"Product Name: {line.name}, Product Unit Price: {cents(line.unit_price)}, "
                    f"Product Total Price: {cents(line.value)}"
                    for line in order.lines
                ),
                "Refund Amount": cents(order.refunded),
                "Channel ID": 1,
                "Channel Name": "Storefront",
            }
        )
    return export_of(write_rows(folder / "orders-2024-06-22.csv", _BIGCOMMERCE, rows, quote_all=True), shop)


LAYOUTS = (write_shopify, write_shopify_tests, write_squarespace, write_wix, write_magento, write_bigcommerce)
