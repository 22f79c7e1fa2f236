"""The words shops use for the columns of an order log.

A name is compared without case, blanks, underscores and signs: ``Customer ID``, ``customer_id`` and ``CustomerID`` are
one. A new export format is one more `Export` in ``EXPORTS``; a new word for a column is one more entry in ``SYNONYMS``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["EXPORTS", "HINTS", "ROLES", "SYNONYMS", "WHOLE_ORDER", "Export", "plain"]

ROLES = (
    "customer_id",
    "order_id",
    "order_date",
    "amount",
    "order_total",
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
    "cancelled_at",
    "employee",
)
"""What a column can be. ``order_total`` and ``refunded`` are money of a whole order, on its first line or on each."""


def plain(name: str) -> str:
    """Reduce a column name to what counts in a comparison.

    Parameters
    ----------
    name : str
        As it stands in the export.

    Returns
    -------
    str
        Letters and digits only, in lower case.

    Examples
    --------
    >>> plain(" Customer_ID"), plain("Order #")
    ('customerid', 'order')
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@dataclass(frozen=True)
class Export:
    """A known export format.

    Parameters
    ----------
    name : str
        What reports call it.
    needs : tuple of tuple of str
        The format is recognised if one plain name of each group is there.
    roles : mapping
        Role to plain names, the better one first; here an earlier name wins without a question.
    dead_statuses : tuple of str
        Order statuses under which no sale came about.
    refunded_statuses : tuple of str
        Order statuses of orders that were paid back in full.
    cancellation_prefix : str or None
        Order ids that begin so are cancellations.
    guest_ids : tuple of str
        Customer ids that stand for nobody in particular.
    first_line_only : bool
        Order fields stand on the first line of an order only.
    notes : tuple of str
        What a reader of such a log should know, in words.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    roles: Mapping[str, tuple[str, ...]]
    dead_statuses: tuple[str, ...] = ()
    refunded_statuses: tuple[str, ...] = ()
    cancellation_prefix: str | None = None
    guest_ids: tuple[str, ...] = ()
    first_line_only: bool = False
    notes: tuple[str, ...] = field(default=())


_WOO_DEAD = (
    "cancelled",
    "canceled",
    "failed",
    "pending",
    "pendingpayment",
    "trash",
    "draft",
    "checkoutdraft",
    "autodraft",
)

EXPORTS = (
    Export(
        name="Shopify orders",
        needs=(("name",), ("createdat",), ("total", "lineitemprice"), ("financialstatus", "lineitemquantity")),
        roles={
            "customer_id": ("customerid", "custid", "email", "phone"),
            "order_id": ("name",),
            "order_date": ("createdat", "processedat", "paidat"),
            "order_total": ("total",),
            "refunded": ("refundedamount",),
            "price": ("lineitemprice",),
            "quantity": ("lineitemquantity",),
            "line_discount": ("lineitemdiscount",),
            "product_id": ("lineitemsku", "lineitemname"),
            "discount": ("discountamount",),
            "channel": ("source",),
            "currency": ("currency",),
            "status": ("financialstatus",),
            "cancelled_at": ("cancelledat", "canceledat"),
            "employee": ("employee",),
        },
        dead_statuses=("voided", "expired"),
        first_line_only=True,
    ),
    Export(
        name="UCI Online Retail",
        needs=(
            ("invoice", "invoiceno"),
            ("stockcode",),
            ("quantity",),
            ("invoicedate",),
            ("price", "unitprice"),
            ("customerid",),
        ),
        roles={
            "customer_id": ("customerid",),
            "order_id": ("invoice", "invoiceno"),
            "order_date": ("invoicedate",),
            "price": ("price", "unitprice"),
            "quantity": ("quantity",),
            "product_id": ("stockcode",),
        },
        cancellation_prefix="C",
        notes=(
            "Lines that are not goods (POST, M, D, ADJUST, BANK CHARGES, ...) are kept: money was paid or got back.",
        ),
    ),
    Export(
        name="CDNOW",
        needs=(("customerid",), ("date",), ("numberofcds",), ("dollarvalue",)),
        roles={
            "customer_id": ("customerid",),
            "order_date": ("date",),
            "amount": ("dollarvalue",),
            "quantity": ("numberofcds",),
        },
    ),
    Export(
        name="WooCommerce analytics",
        needs=(("ordernumber", "order"), ("date",), ("status",), ("customer",), ("nrevenue", "netsales", "nettotal")),
        roles={
            "customer_id": ("customerid", "email", "customeremail", "customer"),
            "order_id": ("ordernumber", "order"),
            "order_date": ("date",),
            "amount": ("nrevenue", "netsales", "nettotal"),
            "quantity": ("itemssold",),
            "channel": ("attribution", "origin"),
            "currency": ("currency",),
            "status": ("status",),
        },
        dead_statuses=_WOO_DEAD,
        refunded_statuses=("refunded",),
        guest_ids=("0",),
    ),
    Export(
        name="WooCommerce orders",
        needs=(
            ("orderid", "ordernumber"),
            ("orderdate", "date", "datecreated"),
            ("status", "orderstatus"),
            ("ordertotal", "ordertotalamount", "total"),
            ("billingemail", "emailbilling", "customeremail", "customeruser", "customeruserid", "customerid"),
        ),
        roles={
            "customer_id": (
                "billingemail",
                "emailbilling",
                "customeremail",
                "customeruser",
                "customeruserid",
                "customerid",
            ),
            "order_id": ("orderid", "ordernumber"),
            "order_date": ("orderdate", "datecreated", "date"),
            "order_total": ("ordertotal", "ordertotalamount", "total"),
            "refunded": ("orderrefundamount", "orderrefunded", "refundedtotal", "totalrefunded", "refundtotal"),
            "price": ("itemcost", "itemprice", "itemunitprice", "productprice"),
            "quantity": ("itemquantity", "quantity", "productqty", "qty"),
            "product_id": ("itemsku", "sku", "productid", "itemid", "itemname", "productname"),
            "category": ("category", "productcategory"),
            "discount": ("cartdiscount", "cartdiscountamount", "discounttotal"),
            "currency": ("ordercurrency", "currency"),
            "status": ("status", "orderstatus"),
            "channel": ("createdvia", "origin"),
        },
        dead_statuses=_WOO_DEAD,
        refunded_statuses=("refunded",),
        guest_ids=("0",),
    ),
)

DEAD_STATUSES = (
    "cancelled",
    "canceled",
    "void",
    "voided",
    "failed",
    "declined",
    "pendingpayment",
    "trash",
    "draft",
    "abandoned",
)
"""What a status column of an unknown shop must say for an order not to count."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "customer_id": (
        "customerid",
        (
            "customer custid clientid customernumber customerno customerkey userid memberid buyerid shopperid "
            "accountid householdid householdkey customercode clientnumber customerref"
        ),
        "email customeremail emailaddress user client cust buyer member account",
    ),
    "order_id": (
        "orderid",
        (
            "ordernumber orderno invoiceno invoice invoiceid invoicenumber transactionid basketid receiptid receiptno "
            "ordername orderref ordernr transactionno saleid"
        ),
        "order transaction basket receipt",
    ),
    "order_date": (
        "orderdate",
        (
            "date orderdatetime orderedat ordertime ordertimestamp invoicedate purchasedate transactiondate "
            "transactiontimestamp createdat ordercreatedat datecreated timestamp datetime saledate salesdate placedat "
            "purchasedat orderpurchasetimestamp processedat paidat paiddate"
        ),
        "day time created when",
    ),
    "amount": (
        "amount",
        (
            "netamount orderamount ordertotal ordervalue totalamount totalprice lineamount linetotal nettotal netsales "
            "salesamount salesvalue revenue netrevenue grandtotal dollarvalue totalsales turnover amountpaid "
            "paymentvalue transactionamount spend netvalue totalspent"
        ),
        "total sales value subtotal monetaryvalue sum",
    ),
    "price": ("unitprice price itemprice priceperunit lineitemprice pricepaid itemcost productprice",),
    "quantity": ("quantity qty units pieces itemquantity lineitemquantity numberofitems unitssold",),
    "product_id": (
        "productid",
        "sku stockcode itemid articleid productcode itemcode lineitemsku productsku article upc ean",
        "product productname item itemname",
    ),
    "category": ("category", "productcategory categoryname department producttype itemcategory"),
    "discount": ("discount", "discountamount totaldiscount cartdiscount rebate"),
    "channel": ("channel", "saleschannel orderchannel source sourcename platform"),
    "currency": ("currency", "currencycode ordercurrency ccy"),
    "status": ("orderstatus status financialstatus",),
    "cancelled_at": ("cancelledat canceledat cancellationdate",),
}
SYNONYMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    role: tuple(tuple(tier.split()) for tier in tiers) for role, tiers in _SYNONYMS.items()
}
"""Role to tiers of plain names. Two names of the same tier have equal right; a name of an earlier tier wins."""

WHOLE_ORDER = ("ordertotal", "ordervalue", "orderamount", "grandtotal")
"""Names of money that is the whole order's, also where it stands on each of its lines."""

_HINTS: Mapping[str, str] = {
    "customer_id": (
        "kunde kund client cliente klant asiakas klient cust buyer member user email epost shopper guest account "
        "household person"
    ),
    "order_date": "dato datum fecha data date päivä day time tid zeit created when bought",
    "amount": (
        "beløp belop betrag montant importe importo bedrag summa summe umsatz valor kwota total amount price pris "
        "preis prix precio revenue sales value paid spend"
    ),
}
HINTS: Mapping[str, tuple[str, ...]] = {role: tuple(words.split()) for role, words in _HINTS.items()}
"""Parts of names that make a good guess in a message; never enough to decide."""
