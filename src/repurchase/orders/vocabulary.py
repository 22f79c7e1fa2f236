"""Words for the columns of order exports, in twelve languages, and the concepts that a column name consists of.

A name is split into words (``Order Total (inc tax)``, ``orderTotal``, ``Bestellsumme``) and each word is looked up without
case or accents; compounds such as ``Kundennummer`` are split into the words they are made of. Names alone never decide
what a column means: they rank candidates, and ``interpretation`` checks them against the values.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ROLES", "ColumnName", "fold", "is_known_word", "parse_name", "plain"]

ROLES = (
    "customer_id",
    "order_id",
    "order_date",
    "order_time",
    "amount",
    "order_total",
    "adjusted_total",
    "refunded",
    "price",
    "quantity",
    "line_discount",
    "product_id",
    "category",
    "discount",
    "channel",
    "currency",
    "status",
    "payment_status",
    "record_type",
    "cancelled_at",
    "cancelled",
    "paid",
    "paid_at",
    "employee",
    "email",
)
"""Roles that a column can have; those that ``--columns`` and ``[columns]`` accept.

``order_total`` and ``refunded`` may be stated per order (on its first line or on each) or per line: the values decide.
"""

_LEXICON: Mapping[str, str] = {
    "customer": (
        "customer customers cust client clients kunde kunden kund kundens klant klanten cliente clienti klient klienta "
        "asiakas buyer buyers shopper member user account household consumer contact purchaser besteller kaufer "
        "auftraggeber debitor debtor acheteur comprador acquirente kjoper kopare kober koper kupujacy kupujacego nabywca "
        "клиент клиента покупатель покупателя заказчик заказчика utente usuario utilisateur benutzer bruker soldto "
        "geschaftspartner bp partner profile patient guest"
    ),
    "person": "name names navn namn naam nom nome nombre nazwa nazwisko imie имя фио firstname lastname fullname vorname "
    "nachname prenom cognome apellido apellidos fornavn etternavn efternamn achternaam voornaam surname",
    "id": (
        "id ids no nr num number key code ref reference nummer numero numer номер код identifier kennung kode codigo "
        "codice kod uid uuid guid nro numeral identifiant identificador bestillingsnr identificativo"
    ),
    "email": "email emails mail mailadresse emailadresse courriel correo epost epostadresse эл почта emailaddress "
    "posta mailadres",
    "phone": "phone telephone telefon telefoon mobile tel telefono telefone телефон mobil handy",
    "order": (
        "order orders ordre ordren bestellung bestell bestellungs auftrag auftrags bestelling bestel pedido pedidos "
        "commande commandes ordine ordini bestilling bestallning zamowienie zamowienia заказ заказа encomenda compra cart "
        "purchase purchases kauf kob kjop kop achat achats aankoop acquisto acquisti zakup zakupu покупка покупки"
    ),
    "invoice": (
        "invoice invoices inv rechnung rechnungs faktura fakturanr faktury factura facture fattura factuur счет bill "
        "billing fatura"
    ),
    "receipt": (
        "receipt receipts bon kassenbon kvitto kvittering ticket check чек scontrino paragon recibo kassabon beleg "
        "belegnummer voucher bong dokument document vbeln"
    ),
    "transaction": "transaction transactions trans txn transaktion transaktions transaksjon transactie transaccion "
    "transazione transacao transakcja transakcji charge",
    "sale": "sale sales verkauf vente ventes venta ventas vendita salg salgs forsaljning verkoop venda sprzedaz sprzedazy "
    "продажа продажи sold selling",
    "basket": "basket baskets session visit",
    "record": "record",
    "date": (
        "date datum dato datoen fecha data дата day dag tag timestamp datetime datetimeutc datetimes erdat audat fkdat "
        "day kuupaev dated"
    ),
    "time": "time zeit uhrzeit tid tidspunkt klokkeslett hora heure ora tijd godzina время klockslag when moment",
    "created": (
        "created creation create placed ordered ordered opprettet skapad oprettet erstellt angelegt cree creee creado "
        "creata creato criado aangemaakt utworzono utworzenia создан создания placement zlozenia bestellt gekauft bestilt"
    ),
    "paid": (
        "paid payment payments bezahlt zahlung zahlungs betaald betaling betalings betalt betald betalning paye paiement "
        "pago pagado pagamento pagato pagada platnosc platnosci oplacone zaplacono оплата оплаты оплачен captured "
        "settled settlement"
    ),
    "valid": "valid gyldig gultig valide valido confirmed approved success successful completed",
    "financial": "financial",
    "processed": "processed processing posted booked buchung buchungs",
    "shipped": (
        "shipped shipping ship shipment delivery delivered deliver fulfilled fulfillment fulfilment fulfil dispatch "
        "versand versandkosten versendet lieferung liefer levering leverings leverans frakt verzend verzending livraison "
        "expedition envio enviado entrega spedizione consegna porto dostawa dostawy wysylka доставка доставки freight "
        "postage tracking handling porte portes utleveret sendt skickad forsendelse"
    ),
    "modified": "modified updated update changed edited endret andrad andret geandert gewijzigd modifie modificado "
    "modificato aktualisiert zmieniono изменен last",
    "due": "due expiry expires expected estimated falligkeit forfall echeance vencimiento scadenza verval termin",
    "birth": "birth birthday birthdate geburtsdatum fodselsdato fodelsedatum naissance nacimiento nascita geboortedatum",
    "first": "first since registration registered signup joined",
    "total": (
        "total totals grandtotal gesamt gesamtbetrag gesamtsumme gesamtpreis summe sum summa totalt totale totalbelop "
        "bestellwert bestellsumme auftragssumme endbetrag rechnungsbetrag ordresum ordretotal totaal totaalbedrag "
        "suma samlet razem calkowita calkowity ialt zuzahlen tebetalen attbetala abetale netapayer итого всего итог totaux bestelsumma ordersumma orderbelopp ordrebelop sumtotal"
    ),
    "grand": "grand gross brutto bruttobetrag bruto brut lordo bruttobelop",
    "amount": (
        "amount amounts amt betrag belop belopp bedrag montant importe importo valor valore waarde wert warenwert kwota varde vaerdi verdi "
        "сумма сумму value dollarvalue belob monto wartosc стоимость somme bedraget paymentvalue"
    ),
    "lifetime": "lifetime ltv clv lifetimevalue totalspent totalspend totaltspendert kundenwert customervalue",
    "revenue": "revenue turnover umsatz omsetning omsattning omsaetning omsatning omzet ca ingresos fatturato receita "
    "faturamento przychod obrot выручка spend spent erlos proceeds earnings income takings dmbtr",
    "net": "net netto nett nettowert nettobetrag nettobelop neto netta netwr nettoumsatz",
    "subtotal": "subtotal subtotaal zwischensumme delsum delsumma soustotal subtotale subtotales czesciowa goods",
    "line": "line lines lineitem position pos zeile linje rad regel ligne linea linha riga pozycja строка row item items "
    "lineitems posten varelinje",
    "unit": "unit each per single einzel stuk unitario unitaire "
    "jednostkowa einheit einheits enhed enheds enhet enhets stykk stykke styk styck stuck stuks eenheid eenheids unidad unita",
    "price": "pu apris price prices preis pris prijs prix precio prezzo preco cena цена itemcost rate tarif cost",
    "costs": "cogs wareneinsatz einkaufspreis ek purchasecost innkjopspris costprice profit margin marge gewinn",
    "fee": "fee fees gebuhr gebuhren gebyr avgift frais comision commissione oplata комиссия commission processing tip "
    "tips gratuity surcharge",
    "tax": "tax taxes taxed vat mwst ust steuer moms mva avgifter btw tva iva imposto podatek ндс gst hst pst duty",
    "including": "inc incl including inkl inclusive inkludert ttc ivainclusa met",
    "excluding": "ex excl excluding exkl exclusive ekskl ht zzgl before",
    "base": "base",
    "purchased": "purchased",
    "balance": "balance outstanding due owed saldo restbetrag offen remaining credit store points punkte poeng bonus loyalty",
    "discount": (
        "discount discounts rabatt rabat rebate remise korting descuento sconto desconto znizka znizki скидка coupon "
        "gutschein kupong promo promotion reduction voucheramount avslag"
    ),
    "refund": (
        "refund refunds refunded refundtotal erstattung erstattet erstatteter erstattungsbetrag ruckerstattung "
        "ruckerstattet gutschrift remboursement rembourse rembourses remboursee reembolso reembolsado devolucion devuelto "
        "rimborso rimborsato terugbetaling terugbetaald refusjon refundert aterbetalning aterbetald aterbetalt refundering "
        "refunderet tilbagebetaling tilbagebetalt tilbakebetalt возврат возвращено возврата zwrot zwroty zwrocono estorno "
        "estornado reembolsada returned returns return retour retur retoure refundiert chargeback chargebacks reversed"
    ),
    "status": "status state zustand estado etat statut stato stan статус состояние tilstand situacao situation "
    "orderstatus auftragsstatus bestellstatus ordrestatus bestelstatus",
    "type": "type types typ tipo soort rodzaj тип kind event vorgang vorgangsart belegart art transaktionstyp "
    "transaktionstype transaksjonstype auart operation operacja операция",
    "cancelled": (
        "cancelled canceled cancellation cancel storno storniert stornierung stornodatum annule annulee annulation cancelado "
        "cancelada cancelacion annullato annullata geannuleerd kansellert kansellering avbrutt avbruten annulleret "
        "anulowano anulowane anulowanie отменен отменено отмена void voided deleted makulerad"
    ),
    "test": "test testmode sandbox testorder",
    "quantity": (
        "quantity quantities qty menge anzahl antall antal aantal quantite cantidad quantita quantidade ilosc sztuk "
        "количество кол ко qte qta unidades uds unidade liczba qtd qtde cant anz menge hoeveelheid pieces piece pcs stk units count stuckzahl unitssold itemssold kwmeng"
    ),
    "product": (
        "product products sku article artikel artikkel produkt produit producto prodotto produto towar товар товара "
        "артикул vare varenummer varenr stockcode upc ean gtin barcode isbn matnr material good goods plu prodotti"
    ),
    "category": "category categories kategorie kategori categorie categoria kategoria категория department warengruppe "
    "varegruppe group abteilung",
    "channel": "channel source platform kanal canal canale kanaal kanal origin attribution medium store shop outlet "
    "location filiale butikk butik",
    "currency": "currency ccy wahrung valuta valutakode devise moneda divisa moeda waluta валюта waerk currencycode "
    "wahrungscode devisa",
    "address": "address street city zip postal postcode country province region county adresse strasse ort plz land ville "
    "ciudad citta cidade miasto город адрес straat plaats postnummer postnr poststed company state1 address1 address2",
    "note": "note notes comment comments memo message description beschreibung kommentar instructions tags tag",
    "reason": "reason grund motivo raison arsak anledning reden przyczyna причина",
    "adjusted": "adjusted",
    "converted": "converted konvertiert",
    "weight": "weight gewicht vekt vikt poids peso waga вес size",
    "employee": "rep reps representative cashier kasserer kassiererin caissier selger saljare saelger verkaufer vendeur vendedor venditore verkoper handlowiec sprzedawca продавец employee staff mitarbeiter ansatt personal medewerker",
    "method": "method gateway provider card methode metode methodik zahlungsart zahlungsweise betalingsmate option",
}
_STEMS: Mapping[str, str] = {
    "cancelled": "cancel annul storn kansel avbest avbrut makuler отмен anulow anulad anulac",
    "refund": "refund refus erstatt ruckerstatt rembours reembols rimbors terugbet aterbet tilbagebet tilbakebet возвр zwrot "
    "zwroc devol devuel",
    "modified": "endr aendr andr modif actualiz aktualis gewijz opdat oppdat uppdat aktuali aggiorn bijgewerkt изменен обновл",
    "shipped": "versand versend expedi livrais enviad spediz verzend wysyl доставк",
    "paid": "zaplac oplac bezahl betaal pagad pagat оплач",
    "customer": "kund client klient покупат",
}
"""Beginnings of words whose endings differ too much to be listed."""
_WORDS: Mapping[str, str] = {word: concept for concept, words in _LEXICON.items() for word in words.split()}
_SHORT = 4
_LINKS = ("s", "n", "en", "es", "e")
_FOLDED = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "ł": "l", "Ł": "L", "đ": "d", "ı": "i", "œ": "oe", "ъ": "", "ё": "е"}
)
_NUMBER_SIGN = re.compile(r"[#№]|\bn[º°]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_UNIT = re.compile(r"[(\[](?:[A-Z]{3}|[€$£¥₽₹]|in [A-Z]{3})[)\]]")
_REPEATED_HEADING = re.compile(r"_duplicated_\d+$")


@dataclass(frozen=True)
class ColumnName:
    """A column name, taken apart.

    Parameters
    ----------
    text : str
        As it stands in the export.
    concepts : tuple of str
        Concepts of its words, in order; each once.
    unknown : int
        Letters in words that are not in the vocabulary.
    """

    text: str
    concepts: tuple[str, ...]
    unknown: int

    def has(self, *concepts: str) -> bool:
        """Whether the name has at least one of these concepts."""
        return any(concept in self.concepts for concept in concepts)

    def only(self, *concepts: str) -> bool:
        """Whether the name consists of nothing but these concepts."""
        return bool(self.concepts) and set(self.concepts) <= set(concepts) and self.unknown == 0


def fold(text: str) -> str:
    """Lower-case a text without accents.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Comparable over spellings; Cyrillic letters stay.

    Examples
    --------
    >>> fold("Zurückerstattet"), fold("Beløp")
    ('zuruckerstattet', 'belop')
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_FOLDED).casefold().replace("й", "\0"))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).replace("\0", "й")


def plain(name: str) -> str:
    """Reduce a column name to its letters and digits, in lower case.

    Parameters
    ----------
    name : str
        As it stands in the export.

    Returns
    -------
    str
        Comparable over spellings.

    Examples
    --------
    >>> plain(" Customer_ID"), plain("Order #")
    ('customerid', 'order')
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_known_word(word: str) -> bool:
    """Say whether a word is made of words of column names.

    Parameters
    ----------
    word : str
        One word.

    Returns
    -------
    bool
        Whether all of its letters are accounted for.

    Examples
    --------
    >>> is_known_word("Bestelldatum"), is_known_word("qwerty")
    (True, False)
    """
    concepts, unknown = _split_word(fold(word))
    return bool(concepts) and unknown == 0


@lru_cache(maxsize=4096)
def parse_name(text: str) -> ColumnName:
    """Take a column name apart.

    Parameters
    ----------
    text : str
        As it stands in the export.

    Returns
    -------
    ColumnName
        Its concepts.

    Examples
    --------
    >>> parse_name("Kundennummer").concepts, parse_name("orderTotal").concepts, parse_name("Order #").concepts
    (('customer', 'id'), ('order', 'total'), ('order', 'id'))
    """
    name = _UNIT.sub("", _NUMBER_SIGN.sub(" id ", _REPEATED_HEADING.sub("", text)))
    name = re.sub(r"(?i)\be[-_ ](mail|post)", r"e\1", name)
    words = [fold(word) for part in re.split(r"[^\w]|_", name) for word in _CAMEL.split(part) if word]
    if len(words) > 1 and (known := _WORDS.get("".join(words))):
        return ColumnName(text, (known,), 0)
    concepts: list[str] = []
    unknown = 0
    for word in words:
        parts, left_over = _split_word(word)
        concepts.extend(part for part in parts if part not in concepts)
        unknown += left_over
    return ColumnName(text, tuple(concepts), unknown)


def _split_word(word: str) -> tuple[list[str], int]:
    """The concepts of one word, and how many of its letters are in none of them."""
    if word in _WORDS:
        return [_WORDS[word]], 0
    whole = _compound(word)
    if whole is not None:
        return whole, 0
    for concept, stems in _STEMS.items():
        if word.startswith(tuple(stems.split())):
            return [concept], 0
    found: list[str] = []
    left_over = len(word.strip("0123456789"))
    for start in range(len(word)):
        for end in range(len(word), start + _SHORT, -1):
            if word[start:end] in _WORDS:
                return [*found, _WORDS[word[start:end]]], left_over - (end - start)
    return found, left_over


@lru_cache(maxsize=4096)
def _compound(word: str) -> list[str] | None:
    """Split a compound into words of the vocabulary, longest first; None where letters are left over."""
    if not word:
        return []
    for end in range(len(word), 1, -1):
        concept = _WORDS.get(word[:end])
        if concept is None:
            continue
        for link in ("", *_LINKS):
            if word.startswith(link, end) and (rest := _compound(word[end + len(link) :])) is not None:
                return [concept, *rest] if not rest or rest[0] != concept else rest
    return None
