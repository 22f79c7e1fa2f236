"""Orders as PrestaShop and Shopware export them, in the shop's language."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tests.exports.delimited import cents, continental, export_of, newest_first, tax_in, write_rows
from tests.exports.shop import Export, Order, Shop, State

_FRENCH: dict[State, tuple[str, ...]] = {
    "paid": ("Livré", "Expédié", "Paiement accepté", "En cours de préparation"),
    "pending": ("En attente de virement bancaire", "En attente du paiement par chèque"),
    "cancelled": ("Annulé",),
    "failed": ("Erreur de paiement",),
    "refunded": ("Remboursé",),
    "partially_refunded": ("Livré",),
}
_SPANISH: dict[State, tuple[str, ...]] = {
    "paid": ("Entregado", "Enviado", "Pago aceptado", "Preparación en curso"),
    "pending": ("En espera de pago por transferencia bancaria", "En espera de pago por cheque"),
    "cancelled": ("Cancelado",),
    "failed": ("Error en pago",),
    "refunded": ("Reembolsado",),
    "partially_refunded": ("Entregado",),
}
_POLISH: dict[State, tuple[str, ...]] = {
    "paid": ("Dostarczone", "Wysłane", "Płatność zaakceptowana", "Przygotowanie w toku"),
    "pending": ("Oczekiwanie na płatność przelewem", "Oczekiwanie na płatność czekiem"),
    "cancelled": ("Anulowane",),
    "failed": ("Błąd płatności",),
    "refunded": ("Zwrot pieniędzy",),
    "partially_refunded": ("Dostarczone",),
}


def _pick(states: Sequence[str], order: Order) -> str:
    return states[order.number % len(states)]


def _reference(order: Order) -> str:
    """Nine letters, as PrestaShop draws them."""
    number, letters = order.number * 104_729 * 7919, ""
    for _ in range(9):
        number, place = divmod(number, 26)
        letters += chr(ord("A") + place)
    return letters


def _without_part_refunds(order: Order) -> int:
    return order.total if order.state in {"paid", "partially_refunded"} else 0


def _initial(order: Order) -> str:
    return f"{order.customer.first_name[0]}. {order.customer.last_name}"


def _grid(
    shop: Shop, path: Path, header: Sequence[str], states: dict[State, tuple[str, ...]], words: Sequence[str]
) -> Export:
    """The grid names a customer by an initial and a surname, and does not show what was paid back in part."""
    number, reference, new, country, customer, total, payment, status, date = header
    yes, no, home, abroad, card = words
    seen: set[int] = set()
    rows = []
    for order in shop.orders:
        rows.append(
            {
                number: order.number - 10_000,
                reference: _reference(order),
                new: no if order.customer.number in seen else yes,
                country: home if order.number % 5 else abroad,
                customer: _initial(order),
                total: continental(order.total, thousands="\u202f", after="\u00a0€"),
                payment: card if order.number % 3 else "PayPal",
                status: _pick(states[order.state], order),
                date: f"{order.placed_at:%d/%m/%Y %H:%M:%S}",
            }
        )
        seen.add(order.customer.number)
    write_rows(path, header, reversed(rows), delimiter=";", encoding="utf-8-sig")
    return export_of(path, shop, money=_without_part_refunds, customer=_initial)


def write_prestashop_french(shop: Shop, folder: Path) -> Export:
    """Commandes > Exporter."""
    header = ("ID", "Référence", "Nouveau client", "Livraison", "Client", "Total", "Paiement", "État", "Date")
    words = ("Oui", "Non", "France", "Belgique", "Carte bancaire")
    return _grid(shop, folder / "order_2024-06-22_101512.csv", header, _FRENCH, words)


def write_prestashop_spanish(shop: Shop, folder: Path) -> Export:
    """Pedidos > Exportar."""
    header = ("ID", "Referencia", "Cliente nuevo", "Entrega", "Cliente", "Total", "Pago", "Estado", "Fecha")
    words = ("Sí", "No", "España", "Portugal", "Tarjeta bancaria")
    return _grid(shop, folder / "order_2024-06-22_101513.csv", header, _SPANISH, words)


def write_prestashop_polish(shop: Shop, folder: Path) -> Export:
    """SQL manager, with the columns named by whoever wrote the query, and what the credit slips paid back."""
    header = ("id_zamowienia", "indeks", "id_klienta", "email", "klient", "suma_brutto", "suma_netto", "wysylka")
    header = (*header, "rabat", "kwota_zwrotu", "platnosc", "status", "data_dodania", "data_aktualizacji")
    rows = []
    for order in shop.orders:
        changed = order.placed_at + timedelta(days=order.number % 30, hours=1)
        rows.append(
            {
                "id_zamowienia": order.number - 10_000,
                "indeks": _reference(order),
                "id_klienta": order.customer.number + 3,
                "email": order.customer.email,
                "klient": order.customer.name,
                "suma_brutto": cents(order.total, 6),
                "suma_netto": cents(order.total - tax_in(order.total, 23), 6),
                "wysylka": cents(order.shipping, 6),
                "rabat": cents(order.discount, 6),
                "kwota_zwrotu": cents(order.refunded, 6) if order.refunded else "",
                "platnosc": "Przelew bankowy" if order.number % 3 else "Przelewy24",
                "status": _pick(_POLISH[order.state], order),
                "data_dodania": f"{order.placed_at:%Y-%m-%d %H:%M:%S}",
                "data_aktualizacji": f"{changed:%Y-%m-%d %H:%M:%S}",
            }
        )
    path = write_rows(folder / "request_sql_3.csv", header, rows, delimiter=";", quote_all=True)
    return export_of(path, shop)


_SHOPWARE_GERMAN: dict[State, tuple[str, str]] = {
    "paid": ("Abgeschlossen", "Bezahlt"),
    "pending": ("Offen", "Offen"),
    "cancelled": ("Abgebrochen", "Abgebrochen"),
    "failed": ("Offen", "Fehlgeschlagen"),
    "refunded": ("Abgeschlossen", "Erstattet"),
    "partially_refunded": ("Abgeschlossen", "Teilweise erstattet"),
}
_SHOPWARE: dict[State, tuple[str, str]] = {
    "paid": ("completed", "paid"),
    "pending": ("open", "open"),
    "cancelled": ("cancelled", "cancelled"),
    "failed": ("open", "failed"),
    "refunded": ("completed", "refunded"),
    "partially_refunded": ("completed", "refunded_partially"),
}


def _shopware_states(order: Order, states: dict[State, tuple[str, str]]) -> tuple[str, str]:
    """Of the order and of its payment; an order just paid is still open."""
    whole, payment = states[order.state]
    return (states["pending"][0] if order.state == "paid" and order.number % 4 == 0 else whole), payment


def write_shopware_german(shop: Shop, folder: Path) -> Export:
    """An export profile in German: three states side by side, of which the payment's decides."""
    header = ("Bestellnummer", "Bestelldatum", "Kundennummer", "Vorname", "Nachname", "E-Mail", "Gesamtbetrag")
    header = (*header, "Nettobetrag", "Versandkosten", "Rabatt", "Erstatteter Betrag", "Bestellstatus")
    header = (*header, "Zahlungsstatus", "Lieferstatus", "Zahlungsart", "Verkaufskanal", "Positionen", "Kommentar")
    rows = []
    for order in newest_first(shop):
        whole, payment = _shopware_states(order, _SHOPWARE_GERMAN)
        rows.append(
            {
                "Bestellnummer": order.number,
                "Bestelldatum": f"{order.placed_at:%d.%m.%Y, %H:%M}",
                "Kundennummer": 10_000 + order.customer.number,
                "Vorname": order.customer.first_name,
                "Nachname": order.customer.last_name,
                "E-Mail": order.customer.email,
                "Gesamtbetrag": continental(order.total, after=" €"),
                "Nettobetrag": continental(order.total - tax_in(order.total, 19), after=" €"),
                "Versandkosten": continental(order.shipping, after=" €"),
                "Rabatt": continental(order.discount, after=" €"),
                "Erstatteter Betrag": continental(order.refunded, after=" €"),
                "Bestellstatus": whole,
                "Zahlungsstatus": payment,
                "Lieferstatus": "Versandt" if payment == "Bezahlt" and order.number % 3 else "Offen",
                "Zahlungsart": "Rechnung",
                "Verkaufskanal": "Storefront",
                "Positionen": "|".join(f"{line.quantity}x {line.name}" for line in order.lines),
                "Kommentar": "Bitte klingeln;\nHinterhaus, <b>2. OG</b>" if order.number % 8 == 0 else "",
            }
        )
    path = write_rows(folder / "Bestellungen_20240622-101512.csv", header, rows, delimiter=";")
    return export_of(path, shop)


_SHOPWARE_DEFAULT = (
    *("id", "order_number", "sales_channel_id", "customer_firstname", "customer_lastname", "customer_email"),
    *("billing_address_street", "billing_address_zipcode", "billing_address_city", "billing_address_company"),
    *("shipping_address_street", "shipping_address_zipcode", "shipping_address_city", "amount_total"),
)


def _shopware(order: Order) -> dict[str, object]:
    return {
        "id": f"{order.number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}",
        "order_number": order.number,
        "sales_channel_id": "98432def39fc4624b33213a56b8c944d",
        "customer_firstname": order.customer.first_name,
        "customer_lastname": order.customer.last_name,
        "customer_email": order.customer.email,
        "billing_address_street": "Hauptstraße 1",
        "billing_address_zipcode": "01067",
        "billing_address_city": "Dresden",
        "shipping_address_street": "Hauptstraße 1",
        "shipping_address_zipcode": "01067",
        "shipping_address_city": "Dresden",
        "amount_total": f"{order.total / 100:g}" if order.total < 100_000 else cents(order.total),
        "line_items": "|".join(f"{line.quantity}x {line.sku}" for line in order.lines),
        "order_date_time": f"{order.placed_at:%Y-%m-%dT%H:%M:%S}.000+00:00",
    }


def write_shopware_states(shop: Shop, folder: Path) -> Export:
    """The default profile with the states' technical names added; what was paid back in part is not in it."""
    header = (*_SHOPWARE_DEFAULT, "order_state", "payment_state", "delivery_state", "line_items", "order_date_time")
    rows = []
    for order in shop.orders:
        whole, payment = _shopware_states(order, _SHOPWARE)
        delivery = "shipped" if payment == "paid" and order.number % 3 else "open"
        states = {"order_state": whole, "payment_state": payment, "delivery_state": delivery}
        rows.append(_shopware(order) | states)
    path = write_rows(folder / "Default_orders_20240622.csv", header, rows, delimiter=";")
    return export_of(path, shop, money=_without_part_refunds)


def write_shopware_default(shop: Shop, folder: Path) -> Export:
    """The default profile as it is: the only state is an id of the shop's database, which a reader cannot know."""
    ids = {"open": "018b1c6a4d7e7f0c", "completed": "018b1c6a4d7e7f1d", "cancelled": "018b1c6a4d7e7f2e"}
    header = (*_SHOPWARE_DEFAULT, "order_state_id", "line_items", "order_date_time")
    rows = [
        _shopware(order) | {"order_state_id": f"{ids[_shopware_states(order, _SHOPWARE)[0]]}{'a1' * 8}"}
        for order in shop.orders
    ]
    path = write_rows(folder / "Default_orders_20240622.csv", header, rows, delimiter=";")
    return export_of(path, shop)


LAYOUTS = (
    write_prestashop_french,
    write_prestashop_spanish,
    write_prestashop_polish,
    write_shopware_german,
    write_shopware_states,
)
