"""What the status of an order, or the type of a record, says about whether money was earned.

A value is looked up by the stems of its words, in twelve languages. What is not understood is never dropped: it is
reported, and too much of it stops the run (see ``cleaning_rules``).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from repurchase.orders.vocabulary import fold

__all__ = [
    "FALSE_WORDS",
    "TRUE_WORDS",
    "RecordType",
    "StatusClass",
    "classify_status",
    "classify_type",
    "classify_types",
    "status_key",
]

StatusClass = Literal["sale", "not_sale", "refunded", "unclear", "unknown"]
"""``unclear``: understood, but shops mean different things by it (``on hold``); ``unknown``: not in the vocabulary."""
RecordType = Literal["sale", "refund", "other", "unknown"]

TRUE_WORDS = frozenset("true yes y t 1 1.0 x ja oui si sim tak да sann wahr vrai verdadero vero prawda".split())
FALSE_WORDS = frozenset("false no n f 0 0.0 nein non nei nej nao nie нет usann falsch faux falso falsz onwaar".split())

_UNPAID = (
    "unpaid notpaid ubetal impag unbezahlt nichtbezahlt nonpay impaye nopagad nonpagat onbetaald nietbetaald ikkebetalt obetal "
    "ejbetal nieoplacon niezaplacon неоплач naopag pendingpayment paymentpending awaitingpay waitingforpay requires "
    "zahlungausstehend zahlungoffen offenezahlung wartetaufzahlung attentedepaiement attentepaiement attentedepay "
    "attenteduvirement pendientedepago pendientepago esperandopago attesadipagamento attesapagamento attesadelpagamento "
    "wachtopbetal inafwachtingvanbetal venterpabetal avventerbetal vantarpabetal vantarbetal afventerbetal "
    "ожидаетоплат ожиданиеоплат oczekujenaplat oczekiwanienaplat oczekujenawplat oczekiwanienawplat aguardandopag "
    "aguardapag awaitingcheck awaitingbankwire awaitingcheque paymentprocessing paymenterror erreurdepaiement notcaptured uncaptured"
)
_NOT_SALE = (
    "cancel avbestil afbestil annul storn avbru abgebroch kansell makul отмен аннул anulow anulad anulat void voided fail fehlgeschl fehler gescheit "
    "echou echec fallid fallit fracas mislukt mislyk feilet misslyck неудач ошибк niepowod nieudan falh declin reject "
    "abgelehnt refus rechaz rifiut geweiger afgewezen avvist avslat nekad afvist отклон odrzuc recusad expired abgelauf "
    "expir udlob scadut verlop utgatt истек wygas abandon draft entwurf brouillon borrador bozza utkast kladde чернов "
    "szkic rascunh trash delet geloscht supprim eliminad eliminat verwijderd slettet raderad удален usunie excluid spam "
    "quotation quote angebot devis offert tilbud incomplet unvollst onvolled ufullst ofullst незаверш niekomplet fraud "
    "betrug test error blocked missing lost notcompleted notconfirmed checkoutdraft proforma simulated saved parked layby layaway blad onlinepaymentfailed"
)
_WAIT = (
    "await wait attente espera penden pendien attes wacht venter vant afvent ожид oczek aguard pending wart ausstehend"
)
_PAY = "pay paie pag zahl betal betaal оплат plat virement bankwire transfer cheque check"
_PENDING = "pending"
_OPEN_PAYMENT = "open offen ouvert abierto aperto apen aben oppen otwart открыт pendiente aberto due outstanding"
_PARTIAL = "partial teilweise teil partiel parcial parzial gedeeltelijk delvis частич czesciow"
_REFUNDED = (
    "refund erstatt ruckerstatt zuruckerstatt rembours reembols devuelt devolvid devoluc rimbors terugbetaal refusj aterbetal "
    "tilbagebetal tilbakebetal возвращ возврат zwroc zwrot estorn return retour retur chargeback chargedback reversed "
    "disputed disputelost creditnote gutschrift"
)
_UNCLEAR = (
    "onhold hold ausstehend wartend wartet enattente pendient inattesa attesa afwachting wacht avventer venter "
    "vantar afventer ожида oczek aguard pendent review holded paused paus suspend"
)
_FULFILMENT = (
    "unshipped awaitingship awaitingfulfil awaitingpickup awaitingdelivery readyfor unfulfil notfulfil pendingfulfil pendingship "
    "backorder partiallyship partiallypaid partiallyfulfil"
)
_SALE = (
    "paid bezahlt paye pagad pagat pago betaald betalt betald оплач oplacon zaplacon complet abgeschloss termin voltooid "
    "fullfor slutfor gennemfor fuldfor заверш выполн zakoncz zrealiz conclui finaliz success succeed erfolgreich reussi "
    "exito riuscit geslaagd vellyk lyckad lykked успеш sukces ship versand versend versch expedi enviad spedit verzond "
    "sendt skickad отправл wyslan deliver geliefert livr entreg consegn geleverd lever доставл dostarcz fulfil process "
    "bearbeitung encours enproceso inlavorazione behandel behandl обраб wtrakcie przetwarz emprocess authori autoris "
    "autoriz captur settled closed geschlossen invoiced done sale salesorder confirm bestatigt conferm bevestigd bekreft "
    "bekraft подтвержд potwierdz approv accept active locked ok new open offen ouvert abiert apert aberto apen oppen aben otwart открыт neu nouve nuevo nuov nieuw nowe novo новый "
    "принят received placed created sold verkauft fakturiert facture fattur erledigt zugestellt abgeholt pickedup "
    "collected valid progress dispatched packed picked prepara przygotow zaakcept akcept aceit acceta accept godkj godkan kompl tilsendt hentet gjort kvitter"
)
_NEGATIONS = frozenset("not non nicht ikke inte ej niet nie не no nao sin sans ohne without".split())
_TYPE_REFUND = (
    "refund return chargeback credit cancel storn erstatt rembours avoir reembols devoluc rimbors reso terugbet "
)
_TYPE_REFUND += (
    "retour retur refusj aterbet tilbage tilbake kredit возврат zwrot korekt estorn gutschrift reversal void"
)
_TYPE_OTHER = (
    "payout transfer fee adjustment withdrawal deposit auszahlung gebuhr virement bonifico uitbetaling utbetaling topup "
    "loan reserve tax conversion subscriptionfee cashin cashout pettycash noship opening closing"
)
_TYPE_SALE = (
    "sale charge payment order purchase receipt invoice verkauf vente venta vendita verkoop salg forsaljning продажа "
    "sprzedaz vend commande pedido bestell auftrag rechnung fatura facture factura fattura faktura kjop kop compra achat "
    "zahlung paiement pago pagament betaling betalning оплат platnosc normal standard regular pos online capture"
)


def _stems(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_CLASSES: tuple[tuple[StatusClass, tuple[str, ...]], ...] = (
    ("sale", _stems(_FULFILMENT)),
    ("not_sale", _stems(_UNPAID)),
    ("not_sale", _stems(_NOT_SALE)),
    ("refunded", _stems(_REFUNDED)),
    ("not_sale", _stems(_PENDING)),
    ("unclear", _stems(_UNCLEAR)),
    ("sale", _stems(_SALE)),
)
_TYPES: tuple[tuple[RecordType, tuple[str, ...]], ...] = (
    ("refund", _stems(_TYPE_REFUND)),
    ("other", _stems(_TYPE_OTHER)),
    ("sale", _stems(_TYPE_SALE)),
)


def status_key(text: str) -> str:
    """Reduce a status to what counts in a comparison.

    Parameters
    ----------
    text : str
        As it stands in the export.

    Returns
    -------
    str
        Letters and digits without accents or case; WooCommerce's ``wc-`` is dropped.

    Examples
    --------
    >>> status_key("wc-on-hold"), status_key("Zurückerstattet")
    ('onhold', 'zuruckerstattet')
    """
    letters = "".join(sign for sign in fold(text) if sign.isalnum())
    return letters.removeprefix("wc") if fold(text).startswith("wc-") else letters


def classify_status(
    text: str,
    *,
    sale: Iterable[str] = (),
    not_sale: Iterable[str] = (),
    shop: Mapping[str, StatusClass] | None = None,
    payment: bool = False,
) -> StatusClass:
    """Say what a status means.

    Parameters
    ----------
    text : str
        As it stands in the export.
    sale, not_sale : iterable of str
        Statuses that the settings name. Where ``sale`` is given, no other status counts as a sale.
    shop : mapping, optional
        What single statuses mean in the software that wrote the export, by `status_key`.
    payment : bool
        Whether it is the status of a payment: an open one was not paid.

    Returns
    -------
    StatusClass
        ``unknown`` where the vocabulary has no word for it.

    Examples
    --------
    >>> [classify_status(word) for word in ("paid", "Awaiting Payment", "partially_refunded", "storniert", "on hold", "A7")]
    ['sale', 'not_sale', 'sale', 'not_sale', 'unclear', 'unknown']
    """
    key = status_key(text)
    wanted, unwanted = {status_key(word) for word in sale}, {status_key(word) for word in not_sale}
    if key in unwanted:
        return "not_sale"
    if key in wanted:
        return "sale"
    is_open = payment and key.startswith(_stems(_OPEN_PAYMENT))
    found = (shop or {}).get(key) or ("not_sale" if is_open else _in_vocabulary(text, key))
    return "not_sale" if wanted and found != "refunded" else found


def _in_vocabulary(text: str, key: str) -> StatusClass:
    first, _, rest = text.strip().replace("_", " ").partition(" ")
    if rest and fold(first) in _NEGATIONS and _vocabulary_class(status_key(rest)) == "sale":
        return "not_sale"
    return _vocabulary_class(key)


@lru_cache(maxsize=4096)
def _vocabulary_class(key: str) -> StatusClass:
    if any(stem in key for stem in _stems(_REFUNDED)) and any(stem in key for stem in _stems(_PARTIAL)):
        return "sale"
    is_ready = key.startswith(_stems(_FULFILMENT))
    if not is_ready and any(word in key for word in _stems(_WAIT)) and any(word in key for word in _stems(_PAY)):
        return "not_sale"
    for meaning, stems in _CLASSES:
        if any(key.startswith(stem) or (len(stem) > 4 and stem in key) for stem in stems):
            return meaning
    return "unknown"


@lru_cache(maxsize=4096)
def classify_type(text: str) -> RecordType:
    """Say what a record is.

    Parameters
    ----------
    text : str
        Its type, as it stands in the export.

    Returns
    -------
    RecordType
        ``other``: no order at all, such as a payout or a fee.

    Examples
    --------
    >>> [classify_type(word) for word in ("Sale", "Refund", "payout", "B2B")]
    ['sale', 'refund', 'other', 'unknown']
    """
    key = status_key(text)
    for meaning, stems in _TYPES:
        if any(key.startswith(stem) or (len(stem) > 4 and stem in key) for stem in stems):
            return meaning
    return "unknown"


def classify_types(texts: Iterable[str]) -> dict[str, RecordType]:
    """Say what the records of an export are, by all types that occur.

    Parameters
    ----------
    texts : iterable of str
        The different types.

    Returns
    -------
    dict of str to RecordType
        Where an order has a record of its own (``Sale``), those of its lines and payments (``Sale Line``, ``Payment``)
        repeat its money and are ``other``.

    Examples
    --------
    >>> classify_types(["Sale", "Sale Line", "Payment"])
    {'Sale': 'sale', 'Sale Line': 'other', 'Payment': 'other'}
    """
    keys = {text: status_key(text) for text in texts}
    heads = {key for key in keys.values() if f"{key}line" in keys.values() or f"{key}item" in keys.values()}
    parts = {f"{head}{part}" for head in heads for part in ("line", "item")}
    if heads:
        parts |= {key for key in keys.values() if key.startswith(("payment", "tender"))}
    return {text: "other" if key in parts else classify_type(text) for text, key in keys.items()}
