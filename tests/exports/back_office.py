"""Exports of shop systems and ERP: Lightspeed, Odoo and SAP."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from tests.exports.delimited import american_time, cents, continental, line_discounts, newest_first, tax_in, write_rows
from tests.exports.shop import Customer, Export, Order, Shop, State
from tests.exports.tills import dollars, is_known, known, refund_time, truths_of_own_refunds

_LIGHTSPEED_X = (
    *("Date", "Receipt Number", "Line Type", "Customer Code", "Customer Name", "Note", "Quantity", "Subtotal"),
    *("Sales Tax", "Discount", "Loyalty", "Total", "Paid", "Details", "Register", "User", "Status", "Sku"),
    *("AccountCodeSale", "AccountCodePurchase"),
)
_LIGHTSPEED_R = (
    *("Sale ID", "Date", "Shop", "Register", "Employee", "Customer ID", "Customer", "Item", "System ID", "Qty"),
    *("Price", "Subtotal", "Discount", "Tax", "Total", "Completed", "Voided"),
)
_ODOO = (
    *("Order Reference", "Order Date", "Customer", "Customer/ID", "Salesperson", "Sales Team", "Status"),
    *("Invoice Status", "Currency", "Total", "Order Lines/Product", "Order Lines/Quantity", "Order Lines/Unit Price"),
    *("Order Lines/Discount (%)", "Order Lines/Subtotal"),
)
_ODOO_REPORT = (
    *("Order Date", "Order Reference", "Customer", "Product Variant", "Product Category", "Qty Ordered"),
    *("Untaxed Total", "Total", "Status", "Salesperson", "Sales Team"),
)
_ODOO_STATUS: dict[State, str] = {
    "paid": "Sales Order",
    "pending": "Quotation Sent",
    "cancelled": "Cancelled",
    "failed": "Quotation",
    "refunded": "Sales Order",
    "partially_refunded": "Sales Order",
}
_SAP = (
    *(
        "Belegart",
        "Bezeichnung Belegart",
        "Beleg",
        "Position",
        "Belegdatum",
        "Angelegt von",
        "VkOrg",
        "Kunde",
        "Name 1",
    ),
    *("Material", "Bezeichnung", "Auftragsmenge", "ME", "Nettopreis", "Nettowert", "Währg", "Gesamtstatus"),
    *("Absagegrund", "Referenzbeleg"),
)
_BUSINESS_ONE = (
    *("Belegart", "Belegnr.", "Buchungsdatum", "Fälligkeitsdatum", "Kundennr.", "Kundenname", "Belegsumme"),
    *("Angewendeter Betrag", "Belegstatus", "Storniert", "Basisbeleg", "Bemerkungen"),
)


def write_lightspeed_x(shop: Shop, folder: Path) -> Export:
    """Sales history of the X-Series: the sale, below it its lines and its payment; a return has its own receipt."""
    state = {"pending": "SAVED", "cancelled": "VOIDED", "failed": "VOIDED"}
    rows = []
    for order in newest_first(shop):
        if order.refunded:
            money = {"Quantity": -1, "Total": cents(-order.refunded), "Paid": cents(-order.refunded)}
            back = _receipt(refund_time(order, shop), f"R{order.number}", "CLOSED")
            rows += [back | _till_customer(order) | {"Line Type": "Sale"} | money]
            rows += [back | {"Line Type": "Sale Line", "Details": "Returned goods"} | money]
        receipt = _receipt(order.placed_at, str(order.number), state.get(order.state, "CLOSED"))
        total = {"Subtotal": cents(order.total), "Total": cents(order.total), "Sales Tax": "0.00"}
        quantity = sum(line.quantity for line in order.lines)
        paid = {"Paid": cents(order.paid), "Discount": cents(order.discount), "Quantity": quantity}
        rows.append(receipt | _till_customer(order) | {"Line Type": "Sale"} | total | paid)
        for sku, name, number, value, off in _lines(order):
            money = {"Quantity": number, "Subtotal": cents(value), "Discount": cents(off), "Total": cents(value - off)}
            rows.append(receipt | {"Line Type": "Sale Line", "Sku": sku, "Details": name, "Sales Tax": "0.00"} | money)
        if order.paid:
            rows.append(receipt | {"Line Type": "Payment", "Details": "Card", "Paid": cents(order.paid)})
    path = write_rows(folder / "vend-sales_history.csv", _LIGHTSPEED_X, rows, quote_all=True)
    return Export(path, {}, *truths_of_own_refunds(known(shop)))


def write_lightspeed_r(shop: Shop, folder: Path) -> Export:
    """Lines of the R-Series: every line with its sale; columns say whether it was completed, and whether voided."""
    rows = []
    for order in newest_first(shop):
        for sku, name, quantity, value, off in _lines(order):
            rows.append(_r_line(order, order.placed_at, order.number, sku, name, quantity, value, off))
        if order.refunded:
            at, name = refund_time(order, shop), "Refunded goods"
            rows.append(_r_line(order, at, order.number + 50_000, "SKU00", name, -1, -order.refunded, 0))
    path = write_rows(folder / "listings_transaction_lines.csv", _LIGHTSPEED_R, rows)
    return Export(path, {}, *truths_of_own_refunds(known(shop)))


def write_odoo_orders(shop: Shop, folder: Path) -> Export:
    """Sales orders with their lines: what belongs to the order, its reference too, is on its first line only."""
    rows = []
    for order in newest_first(shop):
        head: dict[str, object] = {
            "Order Reference": f"S{order.number:05d}",
            "Order Date": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
            "Customer": order.customer.name,
            "Customer/ID": f"__export__.res_partner_{order.customer.number + 40}_{order.customer.number * 7_919:08x}",
            "Salesperson": "Mitchell Admin",
            "Sales Team": "Sales",
            "Status": _ODOO_STATUS[order.state],
            "Invoice Status": "Fully Invoiced" if order.paid else "Nothing to Invoice",
            "Currency": "EUR",
            "Total": cents(order.total),
        }
        for sku, name, quantity, value, off in _lines(order):
            share = round(100 * off / value, 6) if value else 0
            line = {
                "Order Lines/Product": f"[{sku}] {name}",
                "Order Lines/Quantity": f"{quantity:.1f}",
                "Order Lines/Unit Price": cents(value // quantity),
                "Order Lines/Discount (%)": f"{share:.6f}",
                "Order Lines/Subtotal": cents(value - off),
            }
            rows.append(head | line)
            head = {}
    path = write_rows(folder / "sale.order.csv", _ODOO, rows, quote_all=True)
    return Export(path, {}, shop.truth_of(lambda order: order.paid))


def write_odoo_report(shop: Shop, folder: Path) -> Export:
    """Sales analysis: a row per product, with and without tax; quotations are among the orders."""
    rows = [
        {
            "Order Date": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
            "Order Reference": f"S{order.number:05d}",
            "Customer": f"[C{order.customer.number:04d}] {order.customer.name}",
            "Product Variant": f"[{sku}] {name}",
            "Product Category": "All / Saleable",
            "Qty Ordered": f"{quantity:.2f}",
            "Untaxed Total": cents(value - off - tax_in(value - off, 25)),
            "Total": cents(value - off),
            "Status": _ODOO_STATUS[order.state],
            "Salesperson": "Mitchell Admin",
            "Sales Team": "Sales",
        }
        for order in newest_first(shop)
        for sku, name, quantity, value, off in _lines(order)
    ]
    path = write_rows(folder / "sale.report.csv", _ODOO_REPORT, rows, quote_all=True)
    return Export(path, {}, shop.truth_of(lambda order: order.paid))


def write_sap_documents(shop: Shop, folder: Path) -> Export:
    """Sales documents of SAP by position: ``1.234,56-`` where goods came back; what was never paid is not in SAP."""
    rows = []
    for order in shop.orders:
        if order.state == "pending":
            continue
        for n, (sku, name, quantity, value, off) in enumerate(_lines(order)):
            rows.append(_sap_row(order, order.placed_at, n, sku, quantity, value - off) | {"Bezeichnung": name})
        if order.refunded:
            kind = ("RE", "Retoure") if order.state == "refunded" else ("G2", "Gutschriftsanford.")
            back = _sap_row(order, refund_time(order, shop), 0, order.lines[0].sku, -1, -order.refunded)
            numbers = {"Beleg": f"00600{order.number:05d}", "Referenzbeleg": f"00000{order.number:05d}"}
            rows.append(back | numbers | dict(zip(("Belegart", "Bezeichnung Belegart"), kind, strict=True)))
    path = write_rows(folder / "VA05.csv", _SAP, rows, delimiter=";", encoding="utf-8-sig")
    return Export(path, {}, *truths_of_own_refunds(shop))


def write_sap_business_one(shop: Shop, folder: Path) -> Export:
    """Invoices and credit notes of Business One, all amounts positive: the kind of document says which is which."""
    rows = []
    for order in shop.orders:
        if order.state == "pending":
            continue
        number, at = order.number, order.placed_at
        rows.append(_invoice(order, "Ausgangsrechnung", number, at, order.total))
        if order.refunded:
            at = refund_time(order, shop)
            back = _invoice(order, "Ausgangsgutschrift", number + 70_000, at, order.refunded)
            rows.append(back | {"Basisbeleg": f"Ausgangsrechnung {number}"})
    path = write_rows(folder / "Belege.csv", _BUSINESS_ONE, rows, delimiter=";", encoding="utf-8-sig")
    return Export(path, {}, *truths_of_own_refunds(shop))


LAYOUTS: tuple[Callable[[Shop, Path], Export], ...] = (
    write_lightspeed_x,
    write_lightspeed_r,
    write_odoo_orders,
    write_odoo_report,
    write_sap_documents,
    write_sap_business_one,
)


def _lines(order: Order) -> Iterator[tuple[str, str, int, int, int]]:
    """SKU, name, quantity, value and discount of each line; shipping is a line too."""
    for line, off in zip(order.lines, line_discounts(order), strict=True):
        yield line.sku, line.name, line.quantity, line.value, off
    if order.shipping:
        yield "DELIVERY", "Standard delivery", 1, order.shipping, 0


def _receipt(at: datetime, number: str, status: str) -> dict[str, object]:
    return {
        "Date": f"{at:%Y-%m-%d %H:%M:%S}",
        "Receipt Number": number,
        "Register": "Main Register",
        "User": "Linh",
        "Status": status,
    }


def _till_customer(order: Order) -> dict[str, object]:
    who = order.customer
    known_as = f"{who.first_name[:4]}-{who.number:04X}"
    return {
        "Customer Code": known_as if is_known(who) else "WALKIN",
        "Customer Name": who.name if is_known(who) else "",
    }


def _r_line(
    order: Order, at: datetime, sale: int, sku: str, name: str, quantity: int, value: int, off: int
) -> dict[str, object]:
    who = order.customer
    return {
        "Sale ID": sale,
        "Date": f"{at.month}/{at.day}/{at.year} {american_time(at)}",
        "Shop": "Main Street",
        "Register": "Register 1",
        "Employee": "Linh Tran",
        "Customer ID": who.number + 1 if is_known(who) else "",
        "Customer": f"{who.last_name}, {who.first_name}" if is_known(who) else "",
        "Item": name,
        "System ID": f"2100000{sku}",
        "Qty": quantity,
        "Price": dollars(value // quantity),
        "Subtotal": dollars(value),
        "Discount": dollars(off),
        "Tax": "$0.00",
        "Total": dollars(value - off),
        "Completed": "No" if order.state == "pending" else "Yes",
        "Voided": "Yes" if order.state in {"cancelled", "failed"} else "No",
    }


def _sap_minus(money: int) -> str:
    return continental(abs(money)) + ("-" if money < 0 else "")


def _sap_customer(customer: Customer) -> str:
    return f"{customer.number + 100_000:010d}"


def _sap_row(order: Order, at: datetime, n: int, sku: str, quantity: int, value: int) -> dict[str, object]:
    lost = order.state in {"cancelled", "failed"}
    return {
        "Belegart": "TA",
        "Bezeichnung Belegart": "Terminauftrag",
        "Beleg": f"00000{order.number:05d}",
        "Position": f"{(n + 1) * 10:06d}",
        "Belegdatum": f"{at:%d.%m.%Y}",
        "Angelegt von": "MUELLERK",
        "VkOrg": "1000",
        "Kunde": _sap_customer(order.customer),
        "Name 1": order.customer.name,
        "Material": sku,
        "Auftragsmenge": f"{abs(quantity)},000{'-' if quantity < 0 else ''}",
        "ME": "ST",
        "Nettopreis": _sap_minus(abs(value // quantity)),
        "Nettowert": _sap_minus(value),
        "Währg": "EUR",
        "Gesamtstatus": "Storniert" if lost else "Erledigt",
        "Absagegrund": "Kunde hat storniert" if lost else "",
    }


def _invoice(order: Order, kind: str, number: int, at: datetime, money: int) -> dict[str, object]:
    return {
        "Belegart": kind,
        "Belegnr.": number,
        "Buchungsdatum": f"{at:%d.%m.%Y}",
        "Fälligkeitsdatum": f"{at:%d.%m.%Y}",
        "Kundennr.": f"D{order.customer.number + 10_000}",
        "Kundenname": order.customer.name,
        "Belegsumme": continental(money, before="EUR "),
        "Angewendeter Betrag": continental(money if order.paid else 0, before="EUR "),
        "Belegstatus": "Geschlossen",
        "Storniert": "Nein" if order.paid else "Ja",
        "Bemerkungen": f"Basierend auf Kundenauftrag {order.number - 5_000}.",
    }
