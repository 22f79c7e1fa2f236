"""Order lists of accounting systems in eleven languages, with amounts, days and statuses as written there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.exports.delimited import continental, write_rows
from tests.exports.shop import Export, Order, Shop, State

_STATES: tuple[State, ...] = ("paid", "pending", "cancelled", "failed", "refunded", "partially_refunded")
_PLAIN, _NARROW = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Accounts:
    """How one country's accounting writes an order list.

    ``headings`` are those of customer number, name, order number, order date, due date, amount, refunded, status and
    salesperson; ``states`` are the words of `_STATES`; in ``long_day``, {} is the month's name.
    """

    name: str
    headings: str
    states: str
    months: str
    day: str
    long_day: str
    money: tuple[str, str, str]
    """Thousands separator, and what stands before and after an amount."""
    encoding: str = "cp1252"

    def amount(self, cents: int) -> str:
        thousands, before, after = self.money
        return continental(cents, thousands=thousands, before=before, after=after)

    def long_date(self, at: datetime) -> str:
        return self.long_day.format(self.months.split()[at.month - 1], day=at.day, year=at.year)


_ACCOUNTS = (
    Accounts(
        "norwegian",
        "Kundenr|Kundenavn|Ordrenr|Ordredato|Forfallsdato|Beløp|Refundert beløp|Status|Selger",
        "Betalt|Venter på betaling|Kansellert|Mislykket|Refundert|Delvis refundert",
        "januar februar mars april mai juni juli august september oktober november desember",
        "%d.%m.%Y",
        "{day}. {} {year}",
        (_PLAIN, "", ""),
    ),
    Accounts(
        "swedish",
        "Kundnr|Kundnamn|Ordernr|Orderdatum|Förfallodatum|Belopp|Återbetalt|Status|Säljare",
        "Betald|Väntar på betalning|Avbruten|Misslyckad|Återbetald|Delvis återbetald",
        "januari februari mars april maj juni juli augusti september oktober november december",
        "%Y-%m-%d",
        "{day} {} {year}",
        (" ", "", " kr"),
        "utf-8-sig",
    ),
    Accounts(
        "danish",
        "Kundenr.|Kundenavn|Ordrenr.|Ordredato|Forfaldsdato|Beløb|Refunderet|Status|Sælger",
        "Betalt|Afventer betaling|Annulleret|Mislykket|Refunderet|Delvist refunderet",
        "januar februar marts april maj juni juli august september oktober november december",
        "%d-%m-%Y",
        "{day}. {} {year}",
        (".", "", " kr."),
    ),
    Accounts(
        "dutch",
        "Klantnummer|Klantnaam|Ordernummer|Orderdatum|Vervaldatum|Bedrag|Terugbetaald|Status|Verkoper",
        "Betaald|In afwachting van betaling|Geannuleerd|Mislukt|Terugbetaald|Gedeeltelijk terugbetaald",
        "januari februari maart april mei juni juli augustus september oktober november december",
        "%d-%m-%Y",
        "{day} {} {year}",
        (".", "€ ", ""),
        "utf-8",
    ),
    Accounts(
        "italian",
        "Codice cliente|Ragione sociale|Numero ordine|Data ordine|Scadenza|Importo|Rimborsato|Stato|Agente",
        "Pagato|In attesa di pagamento|Annullato|Fallito|Rimborsato|Parzialmente rimborsato",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "%d/%m/%Y",
        "{day} {} {year}",
        (".", "", " €"),
    ),
    Accounts(
        "polish",
        "Numer klienta|Firma|Numer zamówienia|Data zamówienia|Termin płatności|Kwota|Zwrócono|Status|Handlowiec",
        "Opłacone|Oczekuje na płatność|Anulowane|Nieudane|Zwrócone|Częściowo zwrócone",
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        "%d.%m.%Y",
        "{day} {} {year}",
        (_PLAIN, "", " zł"),
        "cp1250",
    ),
    Accounts(
        "russian",
        "Код клиента|Клиент|Номер заказа|Дата заказа|Срок оплаты|Сумма|Возвращено|Статус|Менеджер",
        "Оплачен|Ожидает оплаты|Отменён|Ошибка оплаты|Возвращён|Частично возвращён",
        "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
        "%d.%m.%Y",
        "{day} {} {year} г.",
        (_PLAIN, "", " руб."),
        "cp1251",
    ),
    Accounts(
        "portuguese",
        "Código do cliente|Nome do cliente|Número do pedido|Data do pedido|Vencimento|Valor|Valor reembolsado|Situação|"
        "Vendedor",
        "Pago|Aguardando pagamento|Cancelado|Falhou|Reembolsado|Parcialmente reembolsado",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "%d/%m/%Y",
        "{day} de {} de {year}",
        (".", "R$ ", ""),
        "utf-8",
    ),
    Accounts(
        "french",
        "N° client|Nom du client|N° commande|Date de commande|Échéance|Montant|Montant remboursé|Statut|Vendeur",
        "Payée|En attente de paiement|Annulée|Échouée|Remboursée|Partiellement remboursée",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "%d/%m/%Y",
        "{day} {} {year}",
        (_NARROW, "", " €"),
        "utf-8",
    ),
    Accounts(
        "spanish",
        "Código de cliente|Nombre|Número de pedido|Fecha de pedido|Vencimiento|Importe|Reembolsado|Estado|Vendedor",
        "Pagado|Pendiente de pago|Cancelado|Fallido|Reembolsado|Parcialmente reembolsado",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "%d/%m/%Y",
        "{day} de {} de {year}",
        (".", "", " €"),
    ),
    Accounts(
        "german",
        "Kundennummer|Kundenname|Auftragsnummer|Auftragsdatum|Fällig am|Betrag|Erstattet|Status|Verkäufer",
        "Bezahlt|Zahlung ausstehend|Storniert|Fehlgeschlagen|Erstattet|Teilweise erstattet",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "%d.%m.%Y",
        "{day}. {} {year}",
        (".", "", " EUR"),
    ),
)


def write_accounts(accounts: Accounts, shop: Shop, folder: Path, *, long_dates: bool = False) -> Export:
    """A line per order: number, days, amount, what was paid back, and the status."""
    headings, states = accounts.headings.split("|"), dict(zip(_STATES, accounts.states.split("|"), strict=True))

    def day(at: datetime) -> str:
        return accounts.long_date(at) if long_dates else f"{at:{accounts.day}}"

    def row(order: Order) -> tuple[object, ...]:
        name = order.customer.name.encode(accounts.encoding, "replace").decode(accounts.encoding)
        days = day(order.placed_at), day(order.placed_at + timedelta(days=30))
        money = accounts.amount(order.total), accounts.amount(order.refunded)
        return order.customer.number + 10_000, name, order.number, *days, *money, states[order.state], "Holm"

    rows = [dict(zip(headings, row(order), strict=True)) for order in shop.orders]
    path = write_rows(folder / f"{accounts.name}.csv", headings, rows, delimiter=";", encoding=accounts.encoding)
    return Export(path, {}, shop.truth)


def _layout(accounts: Accounts, *, long_dates: bool) -> Callable[[Shop, Path], Export]:
    def write(shop: Shop, folder: Path) -> Export:
        return write_accounts(accounts, shop, folder, long_dates=long_dates)

    write.__name__ = f"write_{accounts.name}_accounts{'_long_dates' if long_dates else ''}"
    return write


LAYOUTS: tuple[Callable[[Shop, Path], Export], ...] = tuple(
    _layout(accounts, long_dates=long_dates) for accounts in _ACCOUNTS for long_dates in (False, True)
)
