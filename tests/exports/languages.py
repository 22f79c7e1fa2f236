"""Words of exports in twelve languages: headings, statuses, months and people's names."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LANGUAGES", "Language"]

_ROLES = (
    *("customer_id", "email", "name", "order_id", "date", "line_amount", "unit_price", "quantity", "order_total"),
    *("subtotal", "tax", "shipping", "discount", "refunded", "status", "fulfilment", "cancelled_at", "paid_flag"),
    *("cancelled_flag", "type", "sku", "product", "notes", "phone", "address", "shipped_at", "updated_at", "weight"),
)
_STATES = ("paid", "pending", "cancelled", "failed", "refunded", "partially_refunded", "sale", "refund")


@dataclass(frozen=True)
class Language:
    """The words of one language.

    ``columns`` gives the headings of a role, ``states`` the words of a state and of the types sale and refund.
    """

    code: str
    columns: Mapping[str, tuple[str, ...]]
    states: Mapping[str, tuple[str, ...]]
    months: tuple[str, ...]
    short_months: tuple[str, ...]
    people: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split("|"))


def _language(code: str, columns: str, states: str, months: str, people: str, short: str = "") -> Language:
    names, words = ([_words(line) for line in text.strip().split("/")] for text in (columns, states))
    full = tuple(months.split())
    return Language(
        code,
        dict(zip(_ROLES, names, strict=True)),
        dict(zip(_STATES, words, strict=True)),
        full,
        tuple(short.split()) or tuple(month[:3] for month in full),
        _words(people),
    )


_ENGLISH = _language(
    "en",
    "Customer ID|Client ID|Customer number|User ID/Email|Customer email|E-mail address/Customer name|Full name|Buyer/"
    "Order ID|Order number|Invoice no|Order #/Order date|Date|Created at|Purchase date/Line total|Amount|Line amount/"
    "Unit price|Price per unit|Item price/Quantity|Qty|Units/Order total|Grand total|Total|Total amount/Subtotal/"
    "Tax|VAT|Tax amount/Shipping|Shipping cost/Discount|Discount amount/Amount refunded|Refunded|Refund amount/"
    "Status|Order status|Payment status|State/Fulfillment status|Delivery status/Cancelled at|Cancellation date/"
    "Paid|Is paid/Cancelled|Is cancelled/Type|Transaction type|Record type/SKU|Item code|Article/Product|Item name/"
    "Notes|Comment/Phone|Phone number/Address|Billing address/Shipped at|Ship date/Updated at|Last modified/Weight",
    "paid|completed|shipped/pending payment|unpaid|awaiting payment/cancelled|canceled|voided/failed|declined/"
    "refunded/partially refunded/sale|order|payment/refund|chargeback",
    "January February March April May June July August September October November December",
    "Ann Smith|John O'Neill|Mary Brown|Peter Jones|Lucy Hill",
)
_GERMAN = _language(
    "de",
    "Kundennummer|Kunden-ID|Kunden-Nr./E-Mail|E-Mail-Adresse/Kundenname|Name/Bestellnummer|Auftragsnummer|Bestell-ID|"
    "Belegnummer/Bestelldatum|Datum|Auftragsdatum|Kaufdatum/Positionsbetrag|Betrag|Zeilensumme/Einzelpreis|Stückpreis|"
    "Preis pro Stück/Menge|Anzahl/Gesamtbetrag|Bestellsumme|Gesamtsumme/Zwischensumme/MwSt.|Steuer/Versandkosten|"
    "Versand/Rabatt|Nachlass/Erstattet|Erstattungsbetrag|Rückerstattung/Status|Bestellstatus|Zahlungsstatus/"
    "Versandstatus|Lieferstatus/Storniert am|Stornodatum/Bezahlt/Storniert/Art|Vorgangsart|Typ/Artikelnummer|Art.-Nr./"
    "Artikel|Produkt/Bemerkung|Notiz/Telefon/Adresse|Anschrift/Versanddatum/Geändert am/Gewicht",
    "bezahlt|abgeschlossen|versendet/Zahlung ausstehend|unbezahlt/storniert/fehlgeschlagen|abgelehnt/erstattet|"
    "rückerstattet/teilweise erstattet|teilerstattet/Verkauf|Bestellung/Erstattung|Rückerstattung|Gutschrift",
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "Jürgen Müller|Anna Groß|Käthe Weiß|Max Schäfer",
    "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
)
_FRENCH = _language(
    "fr",
    "Numéro client|ID client|Code client/E-mail|Adresse e-mail|Courriel/Nom du client|Nom/Numéro de commande|"
    "N° commande|Référence commande/Date de commande|Date|Date d'achat/Montant ligne|Montant|Total ligne/"
    "Prix unitaire|P.U./Quantité|Qté/Total commande|Montant total|Total/Sous-total/TVA|Taxe/Frais de port|Livraison/"
    "Remise|Réduction/Montant remboursé|Remboursé|Remboursement/Statut|État|Statut de la commande|"
    "Statut du paiement/Statut de livraison|État de livraison/Annulée le|Date d'annulation/Payée/Annulée/Type|"
    "Type d'opération/Référence article|Code article/Produit|Article/Commentaire|Remarque/Téléphone/Adresse/"
    "Date d'expédition/Modifiée le/Poids",
    "payée|terminée|expédiée/en attente de paiement|impayée/annulée/échouée|refusée/remboursée/"
    "partiellement remboursée/Vente|Commande/Remboursement|Avoir",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "Zoé Lefèvre|François Dubois|Élise Martin|Noël Garçon",
    "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
)
_SPANISH = _language(
    "es",
    "ID de cliente|Número de cliente|Código cliente/Correo electrónico|E-mail/Nombre del cliente|Nombre/"
    "Número de pedido|ID de pedido|N.º pedido/Fecha del pedido|Fecha|Fecha de compra/Importe de línea|Importe/"
    "Precio unitario|Precio por unidad/Cantidad|Unidades/Total del pedido|Importe total|Total/Subtotal/IVA|Impuestos/"
    "Gastos de envío|Envío/Descuento/Importe reembolsado|Reembolsado|Reembolso/Estado|Estado del pedido|"
    "Estado del pago/Estado de envío/Cancelado el|Fecha de cancelación/Pagado/Cancelado/Tipo|Tipo de transacción/"
    "Referencia|Código de artículo/Producto|Artículo/Notas|Observaciones/Teléfono/Dirección/Fecha de envío/"
    "Última modificación/Peso",
    "pagado|completado|enviado/pendiente de pago|impagado/cancelado|anulado/fallido|rechazado/reembolsado|devuelto/"
    "parcialmente reembolsado/Venta|Pedido/Reembolso|Devolución",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "José García|Sofía Muñoz|Íñigo López|Ana Peña",
)
_DUTCH = _language(
    "nl",
    "Klantnummer|Klant-ID|Klantcode/E-mail|E-mailadres/Klantnaam|Naam/Bestelnummer|Ordernummer|Factuurnummer/"
    "Besteldatum|Datum|Orderdatum/Regelbedrag|Bedrag|Regeltotaal/Stuksprijs|Prijs per stuk|Eenheidsprijs/Aantal|"
    "Hoeveelheid/Totaalbedrag|Ordertotaal|Totaal/Subtotaal/BTW/Verzendkosten|Verzending/Korting/Terugbetaald|"
    "Terugbetaald bedrag/Status|Orderstatus|Betaalstatus/Verzendstatus|Leverstatus/Geannuleerd op|Annuleringsdatum/"
    "Betaald/Geannuleerd/Soort|Type/Artikelnummer|Artikelcode/Product|Artikel/Opmerking|Notitie/Telefoon/Adres/"
    "Verzenddatum/Gewijzigd op/Gewicht",
    "betaald|voltooid|verzonden/wacht op betaling|onbetaald/geannuleerd/mislukt|geweigerd/terugbetaald/"
    "gedeeltelijk terugbetaald/Verkoop|Bestelling/Terugbetaling|Creditnota",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "Daniël de Vries|Zoë Jansen|René Bakker|Anneke Smit",
    "jan. feb. mrt. apr. mei jun. jul. aug. sep. okt. nov. dec.",
)
_NORWEGIAN = _language(
    "nb",
    "Kundenummer|Kunde-ID|Kundenr/E-post|E-postadresse/Kundenavn|Navn/Ordrenummer|Ordre-ID|Bestillingsnummer|"
    "Fakturanummer/Ordredato|Dato|Bestillingsdato|Kjøpsdato/Linjebeløp|Beløp|Linjesum/Enhetspris|Stykkpris/Antall/"
    "Ordretotal|Totalbeløp|Totalsum|Ordresum/Delsum|Varesum/MVA/Frakt|Fraktkostnad/Rabatt/Refundert|"
    "Refundert beløp|Refusjon/Status|Ordrestatus|Betalingsstatus/Leveringsstatus|Fraktstatus/Kansellert dato|"
    "Avbestilt dato/Betalt/Kansellert/Type|Transaksjonstype/Varenummer|Artikkelnummer/Produkt|Vare/Merknad|Notat/"
    "Telefon/Adresse/Sendt dato/Endret dato/Vekt",
    "betalt|fullført|sendt/venter på betaling|ubetalt/kansellert|avbestilt/mislykket|avvist/refundert/"
    "delvis refundert/Salg|Ordre/Refusjon|Kreditering|Retur",
    "januar februar mars april mai juni juli august september oktober november desember",
    "Bjørn Nordmann|Åse Dahl|Pål Løken|Ingrid Sæther",
)
_SWEDISH = _language(
    "sv",
    "Kundnummer|Kund-ID|Kundnr/E-post|E-postadress/Kundnamn|Namn/Ordernummer|Order-ID|Beställningsnummer/Orderdatum|"
    "Datum|Beställningsdatum|Köpdatum/Radbelopp|Belopp|Radsumma/Styckpris|À-pris|Pris per styck/Antal/Ordersumma|"
    "Totalbelopp|Totalt|Ordervärde/Delsumma/Moms/Frakt|Fraktkostnad/Rabatt/Återbetalt|Återbetalat belopp/Status|"
    "Orderstatus|Betalningsstatus/Leveransstatus|Fraktstatus/Avbruten datum|Annullerad den/Betald/Annullerad/Typ|"
    "Transaktionstyp/Artikelnummer|Artikelkod/Produkt|Artikel/Anteckning|Kommentar/Telefon/Adress/Skickad datum/"
    "Ändrad datum/Vikt",
    "betald|slutförd|skickad/väntar på betalning|obetald/avbruten|annullerad|makulerad/misslyckad|nekad/återbetald/"
    "delvis återbetald/Försäljning|Order/Återbetalning|Kreditering|Retur",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "Åsa Lindström|Björn Öberg|Märta Ek|Karin Nilsson",
)
_DANISH = _language(
    "da",
    "Kundenummer|Kunde-ID|Kundenr./E-mail|E-mailadresse/Kundenavn|Navn/Ordrenummer|Ordre-ID|Fakturanummer/Ordredato|"
    "Dato|Bestillingsdato|Købsdato/Linjebeløb|Beløb|Linjetotal/Stykpris|Enhedspris/Antal/Ordretotal|Samlet beløb|"
    "Total|I alt/Subtotal/Moms/Fragt|Forsendelse/Rabat/Refunderet|Refunderet beløb|Tilbagebetalt/Status|Ordrestatus|"
    "Betalingsstatus/Leveringsstatus|Forsendelsesstatus/Annulleret den|Annulleringsdato/Betalt/Annulleret/Type|"
    "Transaktionstype/Varenummer|Varenr./Produkt|Vare/Bemærkning|Note/Telefon/Adresse/Afsendt dato/Ændret dato/Vægt",
    "betalt|gennemført|afsendt/afventer betaling|ubetalt/annulleret/mislykket|afvist/refunderet|tilbagebetalt/"
    "delvist refunderet/Salg|Ordre/Refundering|Tilbagebetaling|Kreditnota",
    "januar februar marts april maj juni juli august september oktober november december",
    "Søren Jørgensen|Åge Kjær|Mette Sørensen|Ida Holm",
)
_RUSSIAN = _language(
    "ru",
    "ID клиента|Номер клиента|Код клиента/E-mail|Эл. почта|Электронная почта/Имя клиента|ФИО|Покупатель/Номер заказа|"
    "ID заказа|№ заказа/Дата заказа|Дата|Дата покупки/Сумма позиции|Сумма|Стоимость/Цена за единицу|Цена за шт./"
    "Количество|Кол-во/Сумма заказа|Итого|Общая сумма|Всего/Подытог|Стоимость товаров/НДС|Налог/Доставка|"
    "Стоимость доставки/Скидка/Сумма возврата|Возвращено/Статус|Статус заказа|Статус оплаты/Статус доставки/"
    "Дата отмены|Отменён/Оплачен|Оплачено/Отменён|Отменено/Тип|Тип операции/Артикул|Код товара/Товар|Наименование/"
    "Комментарий|Примечание/Телефон/Адрес/Дата отгрузки/Дата изменения/Вес",
    "оплачен|выполнен|отправлен/ожидает оплаты|не оплачен/отменён|отменен|аннулирован/ошибка оплаты|отклонён/"
    "возвращён|возврат/частичный возврат|частично возвращён/Продажа|Заказ/Возврат",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "Мария Иванова|Пётр Смирнов|Ольга Соколова|Юрий Щукин",
)
_POLISH = _language(
    "pl",
    "ID klienta|Numer klienta|Nr klienta/E-mail|Adres e-mail/Nazwa klienta|Imię i nazwisko/Numer zamówienia|"
    "ID zamówienia|Nr zamówienia/Data zamówienia|Data|Data zakupu/Wartość pozycji|Kwota|Wartość/Cena jednostkowa|"
    "Cena za sztukę/Ilość|Liczba sztuk/Wartość zamówienia|Kwota całkowita|Suma|Razem/Suma częściowa|Wartość towarów/"
    "VAT|Podatek/Koszt dostawy|Dostawa/Rabat|Zniżka/Kwota zwrotu|Zwrócono/Status|Status zamówienia|Status płatności/"
    "Status dostawy|Status wysyłki/Data anulowania|Anulowano dnia/Opłacone|Zapłacone/Anulowane/Typ|Rodzaj operacji/"
    "Kod produktu|Indeks/Produkt|Towar/Uwagi|Notatka/Telefon/Adres/Data wysyłki/Data modyfikacji/Waga",
    "opłacone|zrealizowane|wysłane/oczekuje na płatność|nieopłacone/anulowane/nieudane|odrzucone/zwrócone/"
    "częściowo zwrócone/Sprzedaż|Zamówienie/Zwrot|Korekta",
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "Łukasz Kowalski|Małgorzata Wójcik|Grażyna Żak|Paweł Nowak",
    "sty lut mar kwi maj cze lip sie wrz paź lis gru",
)
_PORTUGUESE = _language(
    "pt",
    "ID do cliente|Código do cliente|Número do cliente/E-mail|Endereço de e-mail/Nome do cliente|Nome/"
    "Número do pedido|ID do pedido|Nº do pedido|Número da encomenda/Data do pedido|Data|Data da compra/"
    "Valor da linha|Valor|Total da linha/Preço unitário|Valor unitário/Quantidade|Qtd./Total do pedido|Valor total|"
    "Total/Subtotal/Imposto|IVA/Frete|Envio/Desconto/Valor reembolsado|Reembolsado|Reembolso/Status|Estado|Situação|"
    "Status do pagamento/Status da entrega|Estado do envio/Cancelado em|Data de cancelamento/Pago/Cancelado/Tipo|"
    "Tipo de transação/Referência|Código do produto/Produto|Artigo/Observações|Notas/Telefone/Endereço|Morada/"
    "Data de envio/Última alteração/Peso",
    "pago|concluído|enviado/aguardando pagamento|pagamento pendente/cancelado/falhou|recusado/reembolsado|devolvido/"
    "parcialmente reembolsado/Venda|Pedido/Reembolso|Devolução|Estorno",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "João Gonçalves|Inês Simões|Conceição Araújo|Luís Brandão",
)
_ITALIAN = _language(
    "it",
    "ID cliente|Numero cliente|Codice cliente/E-mail|Indirizzo e-mail/Nome cliente|Nominativo/Numero ordine|ID ordine|"
    "N. ordine/Data ordine|Data|Data acquisto/Importo riga|Importo|Totale riga/Prezzo unitario|Prezzo per unità/"
    "Quantità|Q.tà/Totale ordine|Importo totale|Totale/Subtotale|Imponibile/IVA|Imposta/Spese di spedizione|Spedizione/"
    "Sconto/Importo rimborsato|Rimborsato|Rimborso/Stato|Stato ordine|Stato pagamento/Stato spedizione|Stato consegna/"
    "Annullato il|Data annullamento/Pagato/Annullato/Tipo|Tipo transazione/Codice articolo|Codice prodotto/Prodotto|"
    "Articolo/Note|Commento/Telefono/Indirizzo/Data spedizione/Ultima modifica/Peso",
    "pagato|completato|spedito/in attesa di pagamento|non pagato/annullato/fallito|rifiutato/rimborsato/"
    "parzialmente rimborsato/Vendita|Ordine/Rimborso|Storno",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "Niccolò Verità|Chiara Però|Mosè Città|Anna Bianchi",
)
LANGUAGES = (
    _ENGLISH,
    _GERMAN,
    _FRENCH,
    _SPANISH,
    _DUTCH,
    _NORWEGIAN,
    _SWEDISH,
    _DANISH,
    _RUSSIAN,
    _POLISH,
    _PORTUGUESE,
    _ITALIAN,
)
