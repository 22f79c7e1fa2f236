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
8.  ``cancelled_order`` - the order's status or cancellation date says that no sale came about
9.  ``zero_total`` - an order whose lines are all worth zero; a free line of a paying order stays

These are set aside. The following stay among the orders as negative money (or are set aside, by ``settings.returns``,
and always where the log has no money that could be netted):

10. ``cancellation`` - an order id that says so (UCI: ``C...``)
11. ``return`` - a negative amount or quantity
12. ``refunded_in_full`` - an order of which no money was kept (refunds that stand on the order, without a date of
    their own); its lines carry no money and make no purchase day

Lines that are not goods (postage, manual corrections, discounts) are money the customer paid or got back: they stay.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.accounts import REASONS, CleaningReport, Reason
from repurchase.orders.dates import LATEST_ZONE
from repurchase.orders.layouts import Layout, recognise
from repurchase.orders.policy import NETTED, duplicates_note, judge, one_currency
from repurchase.orders.returns import sale_dates
from repurchase.orders.sources import RawOrders
from repurchase.orders.values import read_values
from repurchase.settings import Settings
from repurchase.tables import ORDERS, Frame, as_polars

__all__ = ["CleanOrders", "CleaningReport", "Reason", "clean_orders"]

_DESCRIBING = ("product_id", "category", "quantity", "discount", "channel")
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
    reading = read_values(log.rows, log.layout, settings=settings, source=log.source)
    currency = one_currency(reading.rows["currency"], settings, log.source)
    last_day = today or _today(settings)
    rows = judge(log.rows, reading, log.layout, settings=settings, currency=currency, today=last_day)
    rows = rows.with_columns(_treatment(settings, reading.has_amounts))
    reasons = _reasons(rows)
    kept = rows.filter(pl.col("treatment") != "set_aside")
    if kept["reason"].null_count() == 0:
        raise OrdersError(_nothing_left(reasons, log))
    orders = _orders(kept, log, reading.has_amounts)
    notes = (*log.notes, *reading.notes, *_notes(rows, log, reading.has_amounts))
    report = _report(
        orders,
        rows,
        layout=log.layout,
        reasons=reasons,
        notes=notes,
        has_amounts=reading.has_amounts,
        currency=currency,
    )
    return CleanOrders(orders, _set_aside(rows, log.rows), report)


def _as_raw(frame: Frame, settings: Settings) -> RawOrders:
    rows = as_polars(frame)
    if rows.is_empty():
        raise OrdersError(f"orders: no rows. Found the columns {first_few(rows.columns, shown=12)}.")
    layout = recognise(rows.columns, told=settings.columns)
    return RawOrders(rows=rows, layout=layout, files=(), digest="", notes=layout.notes)


def _today(settings: Settings) -> date:
    zone = ZoneInfo(settings.timezone) if settings.timezone else LATEST_ZONE
    return datetime.now(tz=UTC).astimezone(zone).date()


def _treatment(settings: Settings, has_amounts: bool) -> pl.Expr:
    nettable = pl.col("reason").is_in(NETTED) & pl.lit(settings.returns == "net" and has_amounts)
    named = pl.when(nettable).then(pl.lit("netted")).otherwise(pl.lit("set_aside"))
    return pl.when(pl.col("reason").is_null()).then(pl.lit("kept")).otherwise(named).alias("treatment")


def _reasons(rows: pl.DataFrame) -> tuple[Reason, ...]:
    found = rows.select(pl.col(name).sum() for name in REASONS).row(0, named=True)
    counted = {name: (count, how) for name, how, count in rows.group_by("reason", "treatment").len().rows()}
    named = ((name, *counted.get(name, (0, "netted" if name in NETTED else "set_aside"))) for name in REASONS)
    return tuple(Reason(name, count, found[name], how, REASONS[name]) for name, count, how in named if found[name])


def _nothing_left(reasons: tuple[Reason, ...], log: RawOrders) -> str:
    why = first_few(f"{reason.rows:,} {reason.reason}" for reason in reasons if reason.rows)
    return f"{log.source}: none of the {log.rows.height:,} rows is a sale: {why}. Check the export and its columns."


def _orders(kept: pl.DataFrame, log: RawOrders, has_amounts: bool) -> pl.DataFrame:
    """Put the kept rows into the form of ``tables.ORDERS``, with the export's further columns beside it.

    Parameters
    ----------
    kept : DataFrame
        Sales and netted returns.
    log : RawOrders
        The export.
    has_amounts : bool
        Whether there is money.

    Returns
    -------
    DataFrame
        Orders, sorted.
    """
    given = [role for role in _DESCRIBING if role in log.layout.columns]
    amount = pl.col("amount") if has_amounts else pl.lit(None, pl.Float64).alias("amount")
    named = kept.select("row", "customer_id", "order_id", "order_date", amount, sale_dates(kept), *given)
    ordered = named.sort([name for name in _SORTED_BY if name in named.columns], nulls_last=True, maintain_order=True)
    further = _further_columns(log)
    beside = log.rows[ordered["row"]].select(pl.col(name).alias(own) for name, own in further.items())
    return ORDERS.check(pl.concat([ordered.drop("row"), beside], how="horizontal"))


def _further_columns(log: RawOrders) -> dict[str, str]:
    ours = {"customer_id", "order_id", "order_date", "amount", *_DESCRIBING}
    used = {column for role, column in log.layout.columns.items() if role in ours}
    free = [name for name in log.rows.columns if name not in used and name != "sale_date"]
    return {name: f"{name}_in_export" if name in ORDERS.names else name for name in free}


def _set_aside(rows: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    aside = rows.filter(pl.col("treatment") == "set_aside")
    text = raw[aside["row"]].rename({"reason": "reason_in_export"} if "reason" in raw.columns else {})
    return text.select(pl.all().cast(pl.String)).with_columns(aside["reason"])


def _notes(rows: pl.DataFrame, log: RawOrders, has_amounts: bool) -> list[str]:
    sales = rows.filter(pl.col("treatment") == "kept")
    notes = [duplicates_note(log.rows, log.layout, rows["order_date"])]
    if log.layout.amount_rule == "order_total":
        notes.append(_partly_refunded(sales))
    notes.append(_statuses(sales, log.layout))
    staff = sales.filter(pl.col("employee"))["order_id"].n_unique()
    if staff:
        notes.append(f"{staff:,} orders are marked as employees' and were kept as orders like any other.")
    if not has_amounts and rows.select(pl.any_horizontal("cancellation", "return").any()).item():
        notes.append("Returns were set aside: the log has no money they could be taken off.")
    return [note for note in notes if note is not None]


def _statuses(sales: pl.DataFrame, layout: Layout) -> str | None:
    if "status" not in layout.columns:
        return None
    kept = sales["status"].drop_nulls().value_counts(sort=True).sort("count", "status", descending=[True, False])
    shown = first_few(f"{status} ({rows:,} rows)" for status, rows in kept.rows())
    return f"Order statuses that count as sales: {shown}." if kept.height else None


def _partly_refunded(sales: pl.DataFrame) -> str | None:
    totals = sales.group_by("customer_id", "order_id").agg(
        (pl.col("gross_total") - pl.col("net_total")).first().alias("back")
    )
    partly = totals.filter(pl.col("back") > 0)["back"]
    if partly.is_empty():
        return None
    return f"{len(partly):,} orders were paid back in part; {partly.sum():,.2f} in all was taken off them."


def _report(
    orders: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    layout: Layout,
    reasons: tuple[Reason, ...],
    notes: tuple[str, ...],
    has_amounts: bool,
    currency: str | None,
) -> CleaningReport:
    sales = rows.filter(pl.col("treatment") == "kept")
    days = orders["order_date"].dt.date()
    return CleaningReport(
        n_raw=rows.height,
        n_kept=sales.height,
        reasons=reasons,
        notes=notes,
        has_amounts=has_amounts,
        currency=currency,
        first_day=days.min(),  # type: ignore[arg-type]
        last_day=days.max(),  # type: ignore[arg-type]
        n_customers=orders["customer_id"].n_unique(),
        n_orders=sales.select("customer_id", "order_id").n_unique(),
        layout=layout.name,
        columns=dict(layout.columns),
    )
