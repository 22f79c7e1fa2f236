"""Receipts of tills: sales and returns, date and time apart, and customers without a name."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.exports.delimited import american_time, cents, continental, line_discounts, newest_first, write_rows
from tests.exports.shop import Export, Order, Shop
from tests.exports.tills import is_known, known, refund_time, truths_of_own_refunds

_RECEIPTS = (
    *("Date", "Receipt number", "Receipt type", "Gross sales", "Discounts", "Net sales", "Taxes", "Total collected"),
    *("Cost of goods", "Gross profit", "Payment type", "Description", "Dining option", "POS", "Store", "Cashier name"),
    *("Customer name", "Customer contacts", "Status"),
)
_TILL_LINES = (
    *("receipt_id", "till", "cashier", "date", "time", "type", "customer", "sku", "description", "quantity"),
    *("unit_price", "line_discount", "line_total", "payment", "original_receipt"),
)
_GERMAN_LINES = (
    *("Bonnummer", "Filiale", "Kasse", "Bediener", "Datum", "Uhrzeit", "Vorgang", "Kundennummer", "Artikelnummer"),
    *("Bezeichnung", "Menge", "Einzelpreis", "Betrag", "Zahlungsart"),
)


def write_pos_receipts(shop: Shop, folder: Path) -> Export:
    """A line per receipt: of a refund the gross sales are positive, what was collected is negative."""
    rows = []
    for order in newest_first(shop):
        if order.state != "pending":
            rows.append(_receipt(order, order.placed_at, f"1-{order.number}", order.total))
        if order.refunded:
            rows.append(_receipt(order, refund_time(order, shop), f"2-{order.number}", -order.refunded))
    path = write_rows(folder / "receipts-2023-03-01-2024-06-30.csv", _RECEIPTS, rows)
    return Export(path, {}, *truths_of_own_refunds(known(shop)))


def write_till_lines(shop: Shop, folder: Path) -> Export:
    """A line per product; of a return all amounts are positive too, and only its type says that it is one."""
    rows = []
    for order in shop.sold:
        sale = _till_line(order, order.placed_at, "Sale")
        for line, off in zip(order.lines, line_discounts(order), strict=True):
            rows.append(sale | _priced(line.sku, line.name, line.quantity, line.unit_price, off))
        if order.shipping:
            rows.append(sale | _priced("DELIVERY", "Home delivery", 1, order.shipping, 0))
        if order.refunded:
            back = _till_line(order, refund_time(order, shop), "Return")
            rows.append(back | _priced(order.lines[0].sku, "Returned goods", 1, order.refunded, 0))
    path = write_rows(folder / "till_lines.csv", _TILL_LINES, rows)
    return Export(path, {}, *truths_of_own_refunds(known(shop)))


def write_kassenbons(shop: Shop, folder: Path) -> Export:
    """A line per product of a German till: customer 0 is nobody, a return has positive amounts."""
    rows = []
    for order in shop.sold:
        sale = _bon(order, order.placed_at, "Verkauf", order.number)
        for line, off in zip(order.lines, line_discounts(order), strict=True):
            rows.append(sale | _position(line.sku, line.name, line.quantity, line.unit_price, line.value - off))
        if order.shipping:
            rows.append(sale | _position("LIEFERUNG", "Lieferung", 1, order.shipping, order.shipping))
        if order.refunded:
            back = _bon(order, refund_time(order, shop), "Retoure", order.number + 50_000)
            rows.append(back | _position(order.lines[0].sku, "Rückgabe", 1, order.refunded, order.refunded))
    path = write_rows(folder / "Kassenbons.csv", _GERMAN_LINES, rows, delimiter=";", encoding="cp1252")
    return Export(path, {}, *truths_of_own_refunds(known(shop)))


LAYOUTS: tuple[Callable[[Shop, Path], Export], ...] = (write_pos_receipts, write_till_lines, write_kassenbons)


def _receipt(order: Order, at: datetime, number: str, money: int) -> dict[str, object]:
    who, sale = order.customer, money > 0
    off = order.discount if sale else 0
    time = american_time(at).replace(f":{at:%S} ", " ")
    return {
        "Date": f"{at.month}/{at.day}/{at:%y} {time}",
        "Receipt number": number,
        "Receipt type": "Sale" if sale else "Refund",
        "Gross sales": cents(abs(money) + off),
        "Discounts": cents(off),
        "Net sales": cents(money),
        "Taxes": "0.00",
        "Total collected": cents(money),
        "Cost of goods": cents(money // 3),
        "Gross profit": cents(money - money // 3),
        "Payment type": "Card",
        "Description": ", ".join(f"{line.quantity} x {line.name}" for line in order.lines) if sale else "1 x Refund",
        "POS": "POS 1",
        "Store": "Main Street",
        "Cashier name": "Linh",
        "Customer name": who.name if is_known(who) else "",
        "Customer contacts": who.email if is_known(who) else "",
        "Status": "Cancelled" if order.state in {"cancelled", "failed"} else "Closed",
    }


def _till_line(order: Order, at: datetime, kind: str) -> dict[str, object]:
    receipt = f"T{order.number % 3 + 1}-{order.number}"
    return {
        "receipt_id": receipt if kind == "Sale" else f"{receipt}-R",
        "till": order.number % 3 + 1,
        "cashier": "Linh",
        "date": f"{at:%d/%m/%Y}",
        "time": f"{at:%H:%M}",
        "type": kind,
        "customer": f"LOY{order.customer.number:06d}" if is_known(order.customer) else "WALK-IN",
        "payment": "card",
        "original_receipt": "" if kind == "Sale" else receipt,
    }


def _priced(sku: str, name: str, quantity: int, price: int, off: int) -> dict[str, object]:
    return {
        "sku": sku,
        "description": name,
        "quantity": quantity,
        "unit_price": cents(price),
        "line_discount": cents(off),
        "line_total": cents(quantity * price - off),
    }


def _bon(order: Order, at: datetime, kind: str, number: int) -> dict[str, object]:
    return {
        "Bonnummer": number,
        "Filiale": "001",
        "Kasse": order.number % 3 + 1,
        "Bediener": "Müller",
        "Datum": f"{at:%d.%m.%Y}",
        "Uhrzeit": f"{at:%H:%M}",
        "Vorgang": kind,
        "Kundennummer": order.customer.number + 200_000 if is_known(order.customer) else 0,
        "Zahlungsart": "EC-Karte",
    }


def _position(sku: str, name: str, quantity: int, price: int, value: int) -> dict[str, object]:
    return {
        "Artikelnummer": sku,
        "Bezeichnung": name,
        "Menge": quantity,
        "Einzelpreis": continental(price),
        "Betrag": continental(value),
    }
