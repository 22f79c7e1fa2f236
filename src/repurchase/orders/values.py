"""The values of an export under our names: ids as text, dates as timestamps, money as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.amounts import read_numbers
from repurchase.orders.dates import read_dates
from repurchase.orders.ids import clean_ids
from repurchase.orders.layouts import Layout
from repurchase.orders.vocabulary import plain
from repurchase.settings import Settings

__all__ = ["Reading", "read_values"]

_IDS = ("customer_id", "order_id", "product_id", "category", "channel")
_NUMBERS = ("amount", "order_total", "refunded", "price", "quantity", "line_discount", "discount")
_TEXT_OF_THE_ORDER = ("customer_id", "order_date", "status", "currency")
_FLAGS_OF_THE_ORDER = ("cancelled", "employee")
_TRUE = ("true", "yes", "1", "1.0", "y", "t")
_BLANK = ("", "nan", "none", "null", "na", "n/a", "<na>", "nat")


@dataclass(frozen=True)
class Reading:
    """An export's values, one row per row of the export, in its order.

    Parameters
    ----------
    rows : DataFrame
        ``row``, ``copy`` (1, or more for a repeated order), the ids, ``order_date``, ``amount`` (money of the line),
        ``net_total`` and ``gross_total`` (of the order, under that amount rule), ``line_value``, ``quantity``,
        ``status``, ``currency``, ``cancelled`` and ``employee``; null where there is none.
    has_amounts : bool
        Whether there is money at all.
    notes : tuple of str
        What was decided, in words.
    """

    rows: pl.DataFrame
    has_amounts: bool
    notes: tuple[str, ...]


def read_values(rows: pl.DataFrame, layout: Layout, *, settings: Settings, source: str) -> Reading:
    """Read every column that has a role.

    Parameters
    ----------
    rows : DataFrame
        The export.
    layout : Layout
        Which column is which.
    settings : Settings
        Time zone and order of day and month.
    source : str
        What a message calls the log.

    Returns
    -------
    Reading
        The values.

    Raises
    ------
    OrdersError
        If every customer is missing, or most dates or most amounts cannot be read.
    """
    dates = read_dates(
        rows[layout.columns["order_date"]], source=source, timezone=settings.timezone, date_order=settings.date_order
    )
    numbers, number_notes = _numbers(rows, layout, source)
    values = pl.DataFrame(
        {
            "row": pl.int_range(rows.height, dtype=pl.UInt32, eager=True),
            **{role: _ids(rows, layout, role) for role in _IDS},
            "order_date": dates.values,
            **numbers,
            "status": _words(rows, layout, "status"),
            "currency": _words(rows, layout, "currency").str.to_uppercase(),
            "cancelled": _flag(rows, layout, "cancelled_at"),
            "employee": _words(rows, layout, "employee").is_in(_TRUE).fill_null(value=False),
        }
    )
    nobody = pl.col("customer_id").is_in(list(layout.guest_ids)).fill_null(value=False)
    values = values.with_columns(pl.when(~nobody).then("customer_id").alias("customer_id"))
    values = _with_copies(values, layout)
    if layout.first_line_only:
        values = _as_on_first_line(values)
    _refuse_unusable(values, rows, layout, source)
    priced, has_amounts = _with_money(values, layout)
    notes = [*dates.notes, *number_notes]
    if not has_amounts and layout.amount_rule != "none":
        notes.append("The column of money is empty: purchases are predicted, money is not.")
    return Reading(priced, has_amounts, tuple(notes))


def _column(rows: pl.DataFrame, layout: Layout, role: str) -> pl.Series | None:
    name = layout.columns.get(role)
    return rows[name] if name is not None else None


def _empty(rows: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    return pl.Series([None], dtype=dtype).new_from_index(0, rows.height)


def _ids(rows: pl.DataFrame, layout: Layout, role: str) -> pl.Series:
    column = _column(rows, layout, role)
    return clean_ids(column) if column is not None else _empty(rows, pl.String())


def _words(rows: pl.DataFrame, layout: Layout, role: str) -> pl.Series:
    column = _column(rows, layout, role)
    if column is None:
        return _empty(rows, pl.String())
    text = column.cast(pl.String)
    spellings = {
        word: plain(word).removeprefix("wc") if role == "status" else plain(word) for word in text.unique().drop_nulls()
    }
    return text.replace_strict(spellings, default=None, return_dtype=pl.String)


def _flag(rows: pl.DataFrame, layout: Layout, role: str) -> pl.Series:
    column = _column(rows, layout, role)
    return _filled(column) if column is not None else _empty(rows, pl.Boolean()).fill_null(value=False)


def _filled(values: pl.Series) -> pl.Series:
    if values.dtype != pl.String:
        return values.is_not_null()
    return (~values.str.strip_chars().str.to_lowercase().is_in(_BLANK)).fill_null(value=False)


def _numbers(rows: pl.DataFrame, layout: Layout, source: str) -> tuple[dict[str, pl.Series], list[str]]:
    found: dict[str, pl.Series] = {}
    notes: list[str] = []
    money = {"amount": ("amount",), "order_total": ("order_total",), "quantity_price": ("quantity", "price")}
    for role in _NUMBERS:
        column = _column(rows, layout, role)
        if column is None:
            found[role] = _empty(rows, pl.Float64())
            continue
        found[role], note = read_numbers(column)
        if note:
            notes.append(f"In '{column.name}' {note}.")
        if role in money.get(layout.amount_rule, ()):
            _refuse_text(column, found[role], source, role)
    return found, notes


def _refuse_text(written: pl.Series, read: pl.Series, source: str, role: str) -> None:
    if read.null_count() == written.null_count():
        return
    filled = _filled(written)
    unread = written.filter(filled & read.is_null())
    if len(unread) * 2 > int(filled.sum()):
        raise OrdersError(
            f"{source}: {len(unread):,} of {int(filled.sum()):,} values in the {role} column '{written.name}' are not "
            f"numbers: {_examples(unread)}. Name the right column: --columns {role}=..."
        )


def _examples(values: pl.Series) -> str:
    shown = [f"'{str(value)[:40]}'" for value in values.unique(maintain_order=True).head(6)]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")


def _with_copies(values: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Number the copies of an order: where order fields stand on its first line only, a second total is a second copy.

    Parameters
    ----------
    values : DataFrame
        Values in the order of the export.
    layout : Layout
        Whether order fields stand on the first line only.

    Returns
    -------
    DataFrame
        With ``copy``.
    """
    if not (layout.first_line_only and "order_total" in layout.columns and "order_id" in layout.columns):
        return values.with_columns(pl.lit(1, pl.Int64).alias("copy"))
    begins = pl.col("order_total").is_not_null().cast(pl.Int64)
    return values.with_columns(begins.cum_sum().over("order_id").clip(lower_bound=1).alias("copy"))


def _as_on_first_line(values: pl.DataFrame) -> pl.DataFrame:
    """Give every line of an order the customer, date, status and currency of the order's first line that has them.

    Parameters
    ----------
    values : DataFrame
        Values of an export whose order fields stand on the first line only.

    Returns
    -------
    DataFrame
        The same rows.
    """
    firsts = values.group_by("order_id", "copy", maintain_order=True).agg(
        *(pl.col(name).drop_nulls().first() for name in _TEXT_OF_THE_ORDER),
        *(pl.col(name).any() for name in _FLAGS_OF_THE_ORDER),
    )
    alone = values.filter(pl.col("order_id").is_null())
    joined = values.drop(_TEXT_OF_THE_ORDER, _FLAGS_OF_THE_ORDER).join(firsts, on=["order_id", "copy"])
    return pl.concat([joined.select(values.columns), alone]).sort("row")


def _refuse_unusable(values: pl.DataFrame, rows: pl.DataFrame, layout: Layout, source: str) -> None:
    customer, when = layout.columns["customer_id"], layout.columns["order_date"]
    if values["customer_id"].null_count() == values.height:
        raise OrdersError(
            f"{source}: all {values.height:,} rows lack a customer in column '{customer}'. "
            "Name the column that tells customers apart: --columns customer_id=..."
        )
    unread = rows[when].filter(values["order_date"].is_null())
    if len(unread) * 2 > values.height:
        blank = len(unread) - int(_filled(unread).sum())
        shown = _examples(unread.filter(_filled(unread))) if blank < len(unread) else "all of them are empty"
        raise OrdersError(
            f"{source}: {len(unread):,} of {values.height:,} dates in column '{when}' cannot be read: {shown}. "
            "Expected dates such as 2024-01-31, 31.12.2024 or 12/31/2024. "
            "Name the right column: --columns order_date=..."
        )


def _with_money(values: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, bool]:
    line_value = pl.col("price") * pl.col("quantity").fill_null(1.0) - pl.col("line_discount").fill_null(0.0)
    values = values.with_columns(line_value.alias("line_value"))
    if layout.amount_rule == "quantity_price":
        values = values.with_columns((pl.col("price") * pl.col("quantity")).alias("amount"))
    if layout.amount_rule == "order_total":
        values = _with_totals(values, layout)
    else:
        empty = pl.lit(None, pl.Float64)
        values = values.with_columns(empty.alias("gross_total"), empty.alias("net_total"))
    money = "net_total" if layout.amount_rule == "order_total" else "amount"
    return values, values[money].null_count() < values.height


def _with_totals(values: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Give every line its order's total before and after refunds.

    Parameters
    ----------
    values : DataFrame
        Values with ``order_total`` and ``refunded`` on some or all lines of an order.
    layout : Layout
        Statuses of orders that were paid back in full.

    Returns
    -------
    DataFrame
        With ``gross_total`` and ``net_total``.
    """
    known = values.filter(pl.col("order_id").is_not_null())
    totals = known.group_by("order_id", "copy", maintain_order=True).agg(
        pl.col("order_total").drop_nulls().first().alias("gross_total"),
        pl.col("refunded").drop_nulls().first().abs().fill_null(0.0).alias("refund"),
    )
    joined = values.join(totals, on=["order_id", "copy"], how="left", maintain_order="left").with_columns(
        pl.coalesce("gross_total", "order_total"), pl.coalesce("refund", pl.col("refunded").abs(), 0.0)
    )
    paid_back = _is_one_of(layout.refunded_statuses)
    net = (pl.col("gross_total") - pl.col("refund")).round(4)
    return joined.with_columns(pl.when(paid_back).then(0.0).otherwise(net).alias("net_total")).drop("refund")


def _is_one_of(statuses: Iterable[str]) -> pl.Expr:
    return pl.col("status").is_in(list(statuses)).fill_null(value=False)
