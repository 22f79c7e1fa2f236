"""WooCommerce orders, as its own analytics and the common export plug-ins write them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.exports.delimited import cents, export_of, line_discounts, newest_first, tax_in, write_rows
from tests.exports.shop import Customer, Export, Order, Shop

_TAX_PERCENT = 20
_NOTE = 'Please ring twice,<br />\nor leave it with the neighbour; "no. 5"'
_ADDRESS = ("company", "address_1", "address_2", "postcode", "city", "state", "country")
_BILLING = ("billing_first_name", "billing_last_name", "billing_email", "billing_phone")
_SHIPPING = ("shipping_first_name", "shipping_last_name")


def status_of(order: Order) -> str:
    """WooCommerce has no status of its own for an order paid back in part."""
    paid = "processing" if order.number % 5 == 0 else "completed"
    return paid if order.state in {"paid", "partially_refunded"} else order.state


def _was_paid(order: Order) -> bool:
    return order.state in {"paid", "refunded", "partially_refunded"}


def _ex_tax(money: int) -> int:
    return money - tax_in(money, _TAX_PERCENT)


def _short(money: int) -> str:
    """45.5, as PHP prints a number."""
    return cents(money).rstrip("0").rstrip(".")


def _account(customer: Customer) -> int:
    return customer.number + 2  # 1 is the shop's administrator


def _address(prefix: str) -> dict[str, object]:
    values = ("", "12 High Street", "Flat 3, 2nd floor", "'01234", "Springfield", "", "GB")
    return {f"{prefix}_{name}": value for name, value in zip(_ADDRESS, values, strict=True)}


def _people(order: Order) -> dict[str, object]:
    who = order.customer
    names = {"first_name": who.first_name, "last_name": who.last_name}
    return {
        **{f"{prefix}_{name}": value for prefix in ("billing", "shipping") for name, value in names.items()},
        "billing_email": who.email,
        "billing_phone": f"'+44 20 7946 {who.number:04d}",
        **_address("billing"),
        **_address("shipping"),
    }


def _sums(order: Order) -> dict[str, object]:
    shipping_tax = tax_in(order.shipping, _TAX_PERCENT)
    return {
        "shipping_total": cents(order.shipping - shipping_tax),
        "shipping_tax_total": cents(shipping_tax),
        "fee_total": cents(0),
        "fee_tax_total": cents(0),
        "tax_total": cents(tax_in(order.total, _TAX_PERCENT)),
        "discount_total": cents(_ex_tax(order.discount)),
        "order_total": cents(order.total),
        "order_currency": "GBP",
    }


def _items(order: Order) -> Iterator[dict[str, object]]:
    """An order's products; WooCommerce keeps their money without tax."""
    for place, (line, discount) in enumerate(zip(order.lines, line_discounts(order), strict=True)):
        whole = order.refunded == order.total
        yield {
            "item_id": order.number * 10 + place,
            "item_product_id": 500 + int(line.sku[3:]),
            "item_name": f"<strong>{line.name}</strong> &#8211; blue",
            "item_sku": line.sku,
            "item_quantity": line.quantity,
            "item_subtotal": cents(_ex_tax(line.value)),
            "item_subtotal_tax": cents(tax_in(line.value, _TAX_PERCENT)),
            "item_total": cents(_ex_tax(line.value - discount)),
            "item_total_tax": cents(tax_in(line.value - discount, _TAX_PERCENT)),
            "item_refunded": cents(_ex_tax(line.value - discount) if whole else 0),
            "item_refunded_qty": line.quantity if whole else 0,
            "item_meta": "",
        }


_ITEM = (
    *("item_id", "item_product_id", "item_name", "item_sku", "item_quantity", "item_subtotal", "item_subtotal_tax"),
    *("item_total", "item_total_tax", "item_refunded", "item_refunded_qty", "item_meta"),
)


def _packed(order: Order) -> list[str]:
    """Products as one cell each."""
    names = ("name", "product_id", "sku", "quantity", "total", "sub_total")
    keys = ("item_name", "item_product_id", "item_sku", "item_quantity", "item_total", "item_subtotal")
    return ["|".join(f"{name}:{item[key]}" for name, key in zip(names, keys, strict=True)) for item in _items(order)]


def write_analytics(shop: Shop, folder: Path) -> Export:
    """Analytics > Orders > Download: refunds are rows of their own under the order's number; names instead of ids.

    The formatted revenue is the order's total, also beside a refund, with the total after refunds behind it; only the
    net sales (goods without tax and shipping) are numbers. Orders not paid are left out by the shop's settings.
    """
    header = ("Date", "Order #", "N. Revenue (formatted)", "Status", "Customer", "Customer type", "Product(s)")
    header = (*header, "Items sold", "Coupon(s)", "Net Sales", "Attribution")

    def sold(order: Order) -> int:
        return _ex_tax(order.goods - order.discount)

    def given_back(order: Order) -> int:
        return sold(order) if order.state == "refunded" else min(_ex_tax(order.refunded), sold(order))

    last = shop.orders[-1].placed_at
    seen: set[int] = set()
    rows = []
    for order in shop.orders:
        if not _was_paid(order):
            continue
        kept = f" £{cents(order.total - order.refunded)}" if order.refunded else ""
        row: dict[str, object] = {
            "Date": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
            "Order #": order.number,
            "N. Revenue (formatted)": f"£{cents(order.total)}{kept}",
            "Status": status_of(order),
            "Customer": order.customer.name,
            "Customer type": "returning" if order.customer.number in seen else "new",
            "Product(s)": ", ".join(f"{line.quantity}× {line.name}" for line in order.lines),
            "Items sold": sum(line.quantity for line in order.lines),
            "Coupon(s)": "welcome10" if order.discount else "",
            "Net Sales": _short(sold(order)),
            "Attribution": "Organic: Google" if order.number % 3 else "Direct",
        }
        seen.add(order.customer.number)
        rows.append((order.placed_at, row))
        if order.refunded:
            at = min(order.placed_at + timedelta(days=2), last)
            units = sum(line.quantity for line in order.lines) if order.state == "refunded" else 0
            refund: dict[str, object] = {
                "Date": f"{at:%Y-%m-%d %H:%M:%S}",
                "Items sold": f"'-{units}" if units else 0,
                "Net Sales": f"'-{_short(given_back(order))}",
            }
            rows.append((at, row | refund))
    rows.sort(key=lambda pair: pair[0], reverse=True)
    path = write_rows(folder / "wc-orders-report-export-16094.csv", header, (row for _, row in rows))
    return export_of(
        path,
        shop,
        money=lambda order: sold(order) - given_back(order) if _was_paid(order) else 0,
        customer=lambda order: order.customer.name,
    )


_SKYVERGE = (
    *("order_id", "order_number", "order_number_formatted", "date", "status", "shipping_total", "shipping_tax_total"),
    *("fee_total", "fee_tax_total", "tax_total", "discount_total", "order_total", "refunded_total", "order_currency"),
    *("payment_method", "shipping_method", "customer_id", *_BILLING, *(f"billing_{name}" for name in _ADDRESS)),
    *(*_SHIPPING, *(f"shipping_{name}" for name in _ADDRESS), "customer_note"),
)
_SKYVERGE_TAIL = (
    *("shipping_items", "fee_items", "tax_items", "coupon_items", "refunds", "order_notes", "download_permissions"),
)


def _skyverge(order: Order, *, guest: bool) -> dict[str, object]:
    back = f"id:{order.number}|date:{order.placed_at:%Y-%m-%d}|amount:{cents(order.refunded)}|reason:Damaged"
    return {
        "order_id": order.number * 3,
        "order_number": order.number,
        "order_number_formatted": f"#{order.number}",
        "date": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
        "status": status_of(order),
        **_sums(order),
        "refunded_total": cents(order.refunded),
        "payment_method": "stripe",
        "shipping_method": "Flat rate",
        "customer_id": 0 if guest else _account(order.customer),
        **_people(order),
        "customer_note": _NOTE if order.number % 9 == 0 else "",
        "refunds": back if order.refunded else "",
        "order_notes": "Payment complete.|Order status changed from Pending payment to Processing.",
        "download_permissions": 0,
    }


def _with_guests(shop: Shop) -> Iterator[tuple[Order, bool]]:
    """Every third customer's first order is a guest's; the account came later."""
    seen: set[int] = set()
    for order in shop.orders:
        first = order.customer.number not in seen
        seen.add(order.customer.number)
        yield order, first and order.customer.number % 3 == 0


def write_skyverge_orders(shop: Shop, folder: Path) -> Export:
    """Customer/Order/Coupon Export, default format, one row per order: customer 0 is a guest."""
    rows = [
        {**_skyverge(order, guest=guest), "line_items": ";".join(_packed(order))} for order, guest in _with_guests(shop)
    ]
    header = (*_SKYVERGE, "line_items", *_SKYVERGE_TAIL)
    return export_of(write_rows(folder / "orders-export-2024.csv", header, rows), shop)


def write_skyverge_items(shop: Shop, folder: Path) -> Export:
    """Customer/Order/Coupon Export, one row per item: an order's money is repeated on each of its rows."""
    rows = [{**_skyverge(order, guest=guest), **item} for order, guest in _with_guests(shop) for item in _items(order)]
    header = (*_SKYVERGE, *_ITEM, *_SKYVERGE_TAIL)
    return export_of(write_rows(folder / "orders-export-items.csv", header, rows), shop)


_WEBTOFFEE = (
    *("order_id", "order_number", "order_date", "paid_date", "status", "shipping_total", "shipping_tax_total"),
    *("fee_total", "fee_tax_total", "tax_total", "cart_discount", "order_discount", "discount_total", "order_total"),
    *("order_subtotal", "order_currency", "payment_method", "payment_method_title", "transaction_id"),
    *("customer_ip_address", "customer_user_agent", "shipping_method", "customer_id", "customer_user"),
    *("customer_email", *_BILLING, *(f"billing_{name}" for name in _ADDRESS), *_SHIPPING, "shipping_phone"),
    *(*(f"shipping_{name}" for name in _ADDRESS), "customer_note", "wt_import_key", "shipping_items", "fee_items"),
    *("tax_items", "coupon_items", "refund_items", "order_notes", "download_permissions"),
)


def _webtoffee(order: Order) -> dict[str, object]:
    guest = order.customer.number % 4 == 0
    discount = cents(_ex_tax(order.discount))
    paid = order.placed_at + timedelta(minutes=3)
    back = f"amount:{cents(order.refunded)}|reason:Damaged, see <a href='#'>photo</a>|date:{paid:%Y-%m-%d %H:%M:%S}"
    return {
        "order_id": order.number,
        "order_number": order.number,
        "order_date": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
        "paid_date": f"{paid:%Y-%m-%d %H:%M:%S}" if _was_paid(order) else "",
        "status": status_of(order),
        **_sums(order),
        "cart_discount": discount,
        "order_discount": discount,
        "order_subtotal": cents(_ex_tax(order.goods)),
        "payment_method": "stripe",
        "payment_method_title": "Credit Card (Stripe)",
        "transaction_id": f"ch_{order.number * 7919:x}" if _was_paid(order) else "",
        "customer_ip_address": "203.0.113.7",
        "customer_user_agent": "Mozilla/5.0 (X11; Linux x86_64), Gecko",
        "shipping_method": "flat_rate",
        "customer_id": 0 if guest else _account(order.customer),
        "customer_user": 0 if guest else _account(order.customer),
        "customer_email": "" if guest else order.customer.email,
        **_people(order),
        "customer_note": _NOTE if order.number % 9 == 0 else "",
        "wt_import_key": order.number,
        "shipping_items": f"items:Product × 1|method_id:flat_rate|total:{cents(_ex_tax(order.shipping))}",
        "tax_items": f"rate_id:1|code:GB-VAT-1|total:{cents(tax_in(order.total, _TAX_PERCENT))}|label:VAT",
        "coupon_items": f"code:welcome10|amount:{discount}" if order.discount else "",
        "refund_items": back if order.refunded else "",
        "download_permissions": 1,
    }


def _refunds_shown_or_not(path: Path, shop: Shop) -> Export:
    """Partial refunds stand within a cell of text only: they are taken off, or the reading names that column."""
    export = export_of(path, shop)
    shown = export_of(path, shop, money=lambda order: order.total if order.state == "partially_refunded" else order.net)
    return replace(export, also=(*export.also, shown.truth, *shown.also))


def write_webtoffee_orders(shop: Shop, folder: Path) -> Export:
    """Order Export & Order Import: a cell per product, refunds in a cell of ``name:value`` pairs, guests by e-mail."""
    rows = []
    for order in newest_first(shop):
        cells = {f"line_item_{place}": cell for place, cell in enumerate(_packed(order), 1)}
        rows.append(_webtoffee(order) | cells)
    header = (*_WEBTOFFEE, "meta:wpml_language", *(f"line_item_{place}" for place in range(1, 5)))
    return _refunds_shown_or_not(write_rows(folder / "order_export_2024-06-22.csv", header, rows), shop)


def write_webtoffee_items(shop: Shop, folder: Path) -> Export:
    """Order Export & Order Import with line items in rows of their own."""
    items = [name for name in _ITEM if name != "item_id"]
    rows = [
        {**_webtoffee(order), **{name: item[name] for name in items}}
        for order in newest_first(shop)
        for item in _items(order)
    ]
    return _refunds_shown_or_not(write_rows(folder / "order_export_items.csv", (*_WEBTOFFEE, *items), rows), shop)


_ADVANCED = (
    *("Order Number", "Order Status", "Order Date", "Customer Note", "First Name (Billing)", "Last Name (Billing)"),
    *("Company (Billing)", "Address 1&2 (Billing)", "City (Billing)", "Postcode (Billing)", "Country Code (Billing)"),
    *("Email (Billing)", "Phone (Billing)", "First Name (Shipping)", "Last Name (Shipping)", "City (Shipping)"),
    *("Payment Method Title", "Cart Discount Amount", "Order Subtotal Amount", "Shipping Method Title"),
    *("Order Shipping Amount", "Order Refund Amount", "Order Total Amount", "Order Total Tax Amount", "SKU", "Item #"),
    *("Item Name", "Quantity (- Refund)", "Item Cost", "Coupon Code", "Discount Amount", "Discount Amount Tax"),
)
_LABELS = {
    "completed": "Completed",
    "processing": "Processing",
    "pending": "Pending payment",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "refunded": "Refunded",
}


def _advanced(shop: Shop, *, fill: bool) -> Iterator[dict[str, object]]:
    for order in newest_first(shop):
        who = order.customer
        whole: dict[str, object] = {
            "Order Status": _LABELS[status_of(order)],
            "Order Date": f"{order.placed_at:%Y-%m-%d %H:%M}",
            "Customer Note": _NOTE if order.number % 9 == 0 else "",
            "First Name (Billing)": who.first_name,
            "Last Name (Billing)": who.last_name,
            "Address 1&2 (Billing)": "12 High Street, Flat 3",
            "City (Billing)": "Springfield",
            "Country Code (Billing)": "GB",
            "Email (Billing)": who.email,
            "Phone (Billing)": f"+4420794{who.number:05d}",
            "First Name (Shipping)": who.first_name,
            "Last Name (Shipping)": who.last_name,
            "Payment Method Title": "PayPal",
            "Cart Discount Amount": cents(order.discount),
            "Order Subtotal Amount": cents(order.goods),
            "Shipping Method Title": "Flat rate",
            "Order Shipping Amount": cents(order.shipping),
            "Order Refund Amount": cents(order.refunded),
            "Order Total Amount": cents(order.total),
            "Order Total Tax Amount": cents(0),
            "Coupon Code": "welcome10" if order.discount else "",
            "Discount Amount": cents(order.discount) if order.discount else "",
        }
        for place, line in enumerate(order.lines, 1):
            product = {
                "Order Number": order.number,
                "SKU": line.sku,
                "Item #": place,
                "Item Name": line.name,
                "Quantity (- Refund)": 0 if order.state == "refunded" else line.quantity,
                "Item Cost": cents(line.unit_price),
            }
            yield (whole | product) if fill or place == 1 else product


def write_advanced_items(shop: Shop, folder: Path) -> Export:
    """Advanced Order Export: a row per product, the order's columns repeated; quantities are after refunds."""
    return export_of(write_rows(folder / "orders-24-06-22.csv", _ADVANCED, _advanced(shop, fill=True)), shop)


def write_advanced_first_line(shop: Shop, folder: Path) -> Export:
    """Advanced Order Export without "fill order columns for all rows": only the order number is repeated."""
    return export_of(write_rows(folder / "orders-first.csv", _ADVANCED, _advanced(shop, fill=False)), shop)


def write_all_export(shop: Shop, folder: Path) -> Export:
    """WP All Export: statuses as the database spells them, and a refund in a column of the order."""
    header = ("Order ID", "Order Key", "Title", "Order Status", "Order Date", "Completed Date", "Modified Date")
    header = (*header, "Customer User ID", "Customer Account Email Address", "Billing First Name", "Billing Last Name")
    header = (*header, "Billing Email Address", "Billing Phone", "Payment Method Title", "Discount Amount")
    header = (*header, "Shipping Total Amount", "Order Total Amount", "Total Tax Amount", "Refund Amounts", "SKUs")
    rows = []
    for order, guest in _with_guests(shop):
        done = order.placed_at + timedelta(days=3)
        rows.append(
            {
                "Order ID": order.number,
                "Order Key": f"wc_order_{order.number * 104_729:x}",
                "Title": f"Order &ndash; {order.placed_at:%Y-%m-%d @ %H:%M}",
                "Order Status": f"wc-{status_of(order)}",
                "Order Date": f"{order.placed_at:%Y-%m-%d}",
                "Completed Date": f"{done:%Y-%m-%d}" if status_of(order) == "completed" else "",
                "Modified Date": f"{done + timedelta(days=order.number % 40):%Y-%m-%d}",
                "Customer User ID": 0 if guest else _account(order.customer),
                "Customer Account Email Address": "" if guest else order.customer.email,
                "Billing First Name": order.customer.first_name,
                "Billing Last Name": order.customer.last_name,
                "Billing Email Address": order.customer.email,
                "Billing Phone": f"'0{7_700_900_000 + order.customer.number}",
                "Payment Method Title": "Direct bank transfer",
                "Discount Amount": cents(order.discount),
                "Shipping Total Amount": cents(order.shipping),
                "Order Total Amount": cents(order.total),
                "Total Tax Amount": cents(tax_in(order.total, _TAX_PERCENT)),
                "Refund Amounts": cents(order.refunded) if order.refunded else "",
                "SKUs": "|".join(line.sku for line in order.lines),
            }
        )
    return export_of(write_rows(folder / "Orders-Export-2024-June-22.csv", header, rows), shop)


LAYOUTS = (
    write_analytics,
    write_skyverge_orders,
    write_skyverge_items,
    write_webtoffee_orders,
    write_webtoffee_items,
    write_advanced_items,
    write_advanced_first_line,
    write_all_export,
)
