"""CLEAN: from an export's rows to orders, under a stated policy; no row is lost without a name.

The order of reasons (a row that shows several faults counts under the first):

1.  ``missing_customer`` - no customer id; nothing can be learned about a customer without one
2.  ``unreadable_date`` - no date, one before 1970, or one against the column's order of day and month
3.  ``future_date`` - after today
4.  ``amount_not_a_number`` - in a log that has money
5.  ``other_currency`` - only if the settings name one of several currencies
6.  ``duplicate_line`` - equal in every column to an earlier row. Not where order fields stand on an order's first line
    only (Shopify): two equal lines are then two lines of one order. Nor where a log has neither order ids nor times
    of day (CDNOW): two equal purchases on a day cannot be told from one row written twice.
7.  ``repeated_order`` - where 6 does not apply: an order whose total appears again (overlapping exports)
8.  ``not_an_order`` - the record's type says that it is a payout, a fee or a transfer
9.  ``cancelled_order`` - the status, the type (a voided receipt), the cancellation date or flags of an order say that
    no sale came about; what was given back of such an order goes with it
10. ``zero_total`` - an order whose lines are all worth zero; a free line of a paying order stays

These are set aside. The following stay among the orders as negative money (or are set aside, by ``settings.returns``,
and always where the log has no money that could be netted):

11. ``cancellation`` - an order id that says so (UCI: ``C...``)
12. ``return`` - a negative amount or quantity
13. ``refunded_in_full`` - an order of which no money was kept (refunds that stand on the order, without a date of
    their own); its lines carry no money and make no purchase day

Lines that are not goods (postage, manual corrections, discounts) are money the customer paid or got back: they stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.accounts import CleaningReport, Reason
from repurchase.orders.dates import LATEST_ZONE
from repurchase.orders.interpretation import interpret
from repurchase.orders.layouts import FILE_COLUMN, Layout
from repurchase.orders.policy import NETTED, Rulings, counts_as_order, judge, rulings
from repurchase.orders.returns import sale_dates
from repurchase.orders.sources import RawOrders
from repurchase.orders.survey import Survey
from repurchase.orders.tally import Tally
from repurchase.orders.values import Reading, read_values
from repurchase.settings import Settings
from repurchase.tables import ORDERS, Frame, as_polars

__all__ = [
    "CleanOrders",
    "CleaningReport",
    "Judged",
    "Reason",
    "clean_orders",
    "clean_rows",
    "require_sales",
    "today_in",
]

_DESCRIBING = ("product_id", "category", "quantity", "discount", "channel")
_NO_SALE = ("cancelled_order", "zero_total", *NETTED)
_SORTED_BY = ("customer_id", "order_date", "order_id", "product_id", "amount", "quantity")


@dataclass(frozen=True)
class CleanOrders:
    """Orders, what was set aside, and the account of both.

    Parameters
    ----------
    orders : DataFrame
        See ``tables.ORDERS``; returns that were netted are rows with negative money.
    set_aside : DataFrame
        Rows of the export as text, with ``reason``.
    report : CleaningReport
        The counts.
    """

    orders: pl.DataFrame
    set_aside: pl.DataFrame
    report: CleaningReport


def clean_orders(raw: RawOrders | Frame, *, settings: Settings | None = None, today: date | None = None) -> CleanOrders:
    """Make orders of an export's rows.

    Parameters
    ----------
    raw : RawOrders, DataFrame or pyarrow.Table
        What ``read_orders`` gave, or a frame whose columns can be recognised.
    settings : Settings, optional
        Columns, time zone, date order, currency, and what to do with duplicates and returns.
    today : date, optional
        Later dates are in the future; default the present day in the configured zone.

    Returns
    -------
    CleanOrders
        Orders in a fixed order (customer, time, order, product), the rest with reasons, and the report.

    Raises
    ------
    OrdersError
        If every customer is missing, most dates or amounts cannot be read, there are two currencies, or
        nothing is left.
    LayoutError
        If a frame's columns cannot be told apart.

    Examples
    --------
    >>> log = pl.DataFrame({
    ...     "customer_id": ["7.0", "7", None], "order_date": ["2024-01-31", "2024-02-29", "2024-03-01"],
    ...     "amount": ["10", "-10", "5"]})
    >>> clean = clean_orders(log)
    >>> clean.orders["customer_id"].to_list(), clean.orders["amount"].to_list()
    (['7', '7'], [10.0, -10.0])
    >>> [(why.reason, why.rows, why.treatment) for why in clean.report.reasons]
    [('missing_customer', 1, 'set_aside'), ('return', 1, 'netted')]
    >>> clean_orders(pl.DataFrame({"customer_id": ["a"], "order_date": ["soon"]}))
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: orders: 1 of 1 dates in column 'order_date' cannot be read: 'soon'. Expected dates \
such as 2024-01-31, 31.12.2024 or 12/31/2024. Name the right column: --columns order_date=...
    """
    settings = settings or Settings()
    log = raw if isinstance(raw, RawOrders) else _as_raw(raw, settings)
    forms = Survey.of(log.rows, log.layout).decide(log.layout, settings=settings, source=log.source)
    reading = read_values(log.rows, log.layout, forms, settings=settings)
    day = today or today_in(settings)
    ruled = rulings(reading.facts, log.layout, settings=settings, source=log.source, today=day)
    judged = clean_rows(log.rows, reading, log.layout, ruled, settings=settings)
    require_sales(judged.tally, source=log.source)
    notes = (*log.notes, *forms.notes, *reading.facts.notes(log.layout))
    report = judged.tally.report(log.layout, ruled, notes=notes)
    return CleanOrders(_orders(judged.kept, log), judged.set_aside, report)


@dataclass(frozen=True)
class Judged:
    """Rows after cleaning: all rows of some customers.

    Parameters
    ----------
    kept : DataFrame
        Sales and netted returns: the ids, ``order_date``, ``sale_date``, ``amount`` and what describes a line; ``row``
        is the place among the rows of the export.
    set_aside : DataFrame
        Rows of the export as text, with ``reason``.
    tally : Tally
        Their counts.
    no_sale : DataFrame
        ``customer_id`` with an order that was set aside as it is no sale (cancelled, free or given back), and the
        first ``day`` of one.
    """

    kept: pl.DataFrame
    set_aside: pl.DataFrame
    tally: Tally
    no_sale: pl.DataFrame


def clean_rows(raw: pl.DataFrame, reading: Reading, layout: Layout, ruled: Rulings, *, settings: Settings) -> Judged:
    """Clean all rows of some customers, by what all rows of the log have settled.

    Parameters
    ----------
    raw : DataFrame
        Rows of the export.
    reading : Reading
        Their values.
    layout : Layout
        The export format.
    ruled : Rulings
        Of the whole log.
    settings : Settings
        What to do with duplicates and returns.

    Returns
    -------
    Judged
        For each customer the same as if the whole log had been cleaned at once.
    """
    plain = raw.drop(FILE_COLUMN, strict=False)
    rows = judge(plain, reading, layout, ruled, settings=settings)
    rows = rows.with_columns(_treatment(settings, ruled.has_amounts))
    tally = Tally.of(rows, raw, layout, ruled)
    kept = rows.filter(pl.col("treatment") != "set_aside")
    amount = pl.col("amount") if ruled.has_amounts else pl.lit(None, pl.Float64).alias("amount")
    given = [role for role in _DESCRIBING if role in layout.columns]
    charged = pl.when(counts_as_order(layout)).then(pl.coalesce("gross", "amount")).otherwise(0.0).alias("charged")
    named = kept.select("row", "customer_id", "order_id", "order_date", amount, charged, sale_dates(kept), *given)
    return Judged(named, _set_aside(rows, plain), tally, _no_sale(rows))


def require_sales(tally: Tally, *, source: str) -> None:
    """Refuse a log without a single sale.

    Parameters
    ----------
    tally : Tally
        Of all rows.
    source : str
        What a message calls the log.

    Raises
    ------
    OrdersError
        With the reasons.
    """
    if not tally.n_kept:
        found = [reason for reason in tally.reasons if reason.rows]
        why = first_few(f"{reason.words} ({reason.rows:,} row{'s' * (reason.rows > 1)})" for reason in found)
        raise OrdersError(
            f"{source}: none of the {tally.n_raw:,} rows is a sale: {why}. Check the export and its columns."
        )


def today_in(settings: Settings) -> date:
    """Say what day it is.

    Parameters
    ----------
    settings : Settings
        The time zone; without one it is the day where it begins first on Earth.

    Returns
    -------
    date
        No order of today is in the future.
    """
    zone = ZoneInfo(settings.timezone) if settings.timezone else LATEST_ZONE
    return datetime.now(tz=UTC).astimezone(zone).date()


def _as_raw(frame: Frame, settings: Settings) -> RawOrders:
    rows = as_polars(frame)
    if rows.is_empty():
        raise OrdersError(f"orders: no rows. Found the columns {first_few(rows.columns, shown=12)}.")
    layout = interpret(rows, named=settings.columns)
    return RawOrders(rows=rows, layout=layout, files=(), digest="", notes=layout.notes)


def _treatment(settings: Settings, has_amounts: bool) -> pl.Expr:
    nettable = pl.col("reason").is_in(NETTED) & pl.lit(settings.returns == "net" and has_amounts)
    named = pl.when(nettable).then(pl.lit("netted")).otherwise(pl.lit("set_aside"))
    return pl.when(pl.col("reason").is_null()).then(pl.lit("kept")).otherwise(named).alias("treatment")


def _orders(kept: pl.DataFrame, log: RawOrders) -> pl.DataFrame:
    # Into the form of ``tables.ORDERS``, sorted, with the export's further columns beside it.
    ordered = kept.sort([name for name in _SORTED_BY if name in kept.columns], nulls_last=True, maintain_order=True)
    further = _further_columns(log, taken=ordered.columns)
    beside = log.rows[ordered["row"]].select(pl.col(name).alias(own) for name, own in further.items())
    return ORDERS.check(pl.concat([ordered.drop("row"), beside], how="horizontal"))


def _further_columns(log: RawOrders, *, taken: Sequence[str]) -> dict[str, str]:
    ours = {"customer_id", "order_id", "order_date", "amount", *_DESCRIBING}
    used = {column for role, column in log.layout.columns.items() if role in ours}
    free = [name for name in log.rows.columns if name not in {*used, "sale_date", "charged", FILE_COLUMN}]
    return {name: f"{name}_in_export" if name in {*taken, *ORDERS.names} else name for name in free}


def _no_sale(rows: pl.DataFrame) -> pl.DataFrame:
    aside = rows.filter((pl.col("treatment") == "set_aside") & pl.col("reason").is_in(_NO_SALE))
    return aside.group_by("customer_id").agg(day=pl.col("order_date").dt.date().min()).sort("customer_id")


def _set_aside(rows: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    aside = rows.filter(pl.col("treatment") == "set_aside")
    text = raw[aside["row"]].rename({"reason": "reason_in_export"} if "reason" in raw.columns else {})
    return text.select(pl.all().cast(pl.String)).with_columns(aside["reason"])
