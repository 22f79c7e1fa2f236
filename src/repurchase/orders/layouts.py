"""The layout of an export: which column has which role, and how its rows and money are to be understood."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from repurchase.orders.decisions import ReadingDecision
from repurchase.orders.statuses import StatusClass
from repurchase.orders.vocabulary import plain

__all__ = ["FILE_COLUMN", "KnownExport", "Layout", "known_export"]

FILE_COLUMN = "_file"
"""Beside the columns of an export that has several files: the number of the file a row stands in."""

AmountRule = Literal["amount", "order_total", "quantity_price", "none"]


@dataclass(frozen=True)
class Layout:
    """What an export's columns are.

    Parameters
    ----------
    name : str
        What reports call the format.
    columns : mapping of str to str
        Role (see ``vocabulary.ROLES``) to the export's column.
    grain : {"lines", "orders"}
        Whether a row is an order line or a whole order.
    amount_rule : {"amount", "order_total", "quantity_price", "none"}
        Where money comes from: a column of it, an order's total put on its lines, quantity times price, or nowhere.
    refund_per : {"order", "line"} or None
        Whether a column of refunds is of orders or of lines; None where there is none.
    header_column : str or None
        A column that is filled on the first line of an order only, where order fields stand there only; equal lines
        are then lines in their own right.
    continued : bool
        Further lines of an order have not even its number: they belong to the order above them.
    cancellation_prefix : str or None
        Order ids that begin so are cancellations.
    shop_statuses : mapping of str to StatusClass
        What single statuses mean in the software that wrote the export.
    numbers_recur : bool
        Order numbers begin anew, each year or in each shop: sales of one number on two days are two orders.
    aliases : mapping of str to str
        Of customers that some rows name by another column only: that id to the one used for them.
    notes : tuple of str
        What a reader should know, in words.
    decision : ReadingDecision
        How all this was found.
    """

    name: str
    columns: Mapping[str, str]
    grain: Literal["lines", "orders"]
    amount_rule: AmountRule
    refund_per: Literal["order", "line"] | None = None
    header_column: str | None = None
    continued: bool = False
    cancellation_prefix: str | None = None
    shop_statuses: Mapping[str, StatusClass] = field(default_factory=dict)
    numbers_recur: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decision: ReadingDecision = field(default_factory=ReadingDecision)

    @property
    def first_line_only(self) -> bool:
        """Whether order fields stand on the first line of an order only."""
        return self.header_column is not None or self.continued


@dataclass(frozen=True)
class KnownExport:
    """Software whose exports are recognised by the names of their columns.

    Parameters
    ----------
    name : str
        What reports call it.
    needs : tuple of tuple of str
        Recognised where one plain name of each group is there.
    cancellation_prefix : str or None
        Order ids that begin so are cancellations.
    statuses : mapping of str to StatusClass
        Statuses that mean something else here than elsewhere.
    notes : tuple of str
        What a reader of such a log should know, in words.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    cancellation_prefix: str | None = None
    statuses: Mapping[str, StatusClass] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_WOO: Mapping[str, StatusClass] = {"pending": "not_sale", "onhold": "sale"}
_EXPORTS = (
    KnownExport(
        "Shopify orders",
        (("name",), ("createdat",), ("total", "lineitemprice"), ("financialstatus", "lineitemquantity")),
    ),
    KnownExport("Squarespace orders", (("orderid",), ("financialstatus",), ("lineitemprice",))),
    KnownExport(
        "UCI Online Retail",
        (
            ("invoice", "invoiceno"),
            ("stockcode",),
            ("quantity",),
            ("invoicedate",),
            ("price", "unitprice"),
            ("customerid",),
        ),
        cancellation_prefix="C",
        notes=(
            "Lines that are not goods (POST, M, D, ADJUST, BANK CHARGES, ...) are kept: money was paid or got back.",
        ),
    ),
    KnownExport("CDNOW", (("customerid",), ("date",), ("numberofcds",), ("dollarvalue",))),
    KnownExport(
        "WooCommerce analytics",
        (("ordernumber", "order"), ("date",), ("status",), ("customer",), ("nrevenue", "netsales", "nettotal")),
        statuses=_WOO,
    ),
    KnownExport(
        "WooCommerce orders",
        (
            ("orderid", "ordernumber"),
            ("orderdate", "date", "datecreated"),
            ("status", "orderstatus"),
            ("ordertotal", "ordertotalamount", "total"),
            (
                "billingemail",
                "emailbilling",
                "customeremail",
                "customeruser",
                "customeruserid",
                "billingemailaddress",
                "customerid",
            ),
        ),
        statuses=_WOO,
    ),
)


def known_export(columns: Mapping[str, object] | list[str]) -> KnownExport | None:
    """Recognise the software that wrote an export.

    Parameters
    ----------
    columns : collection of str
        The export's columns.

    Returns
    -------
    KnownExport or None
        The first whose columns are all there.

    Examples
    --------
    >>> known_export(["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"]).name
    'UCI Online Retail'
    """
    names = {plain(column) for column in columns}
    return next(
        (known for known in _EXPORTS if all(any(name in names for name in group) for group in known.needs)), None
    )
