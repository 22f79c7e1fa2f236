"""The values of an export under our names: ids as text, dates as timestamps, money as numbers."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from repurchase.orders.amounts import read_numbers
from repurchase.orders.dates import DatesRead, read_dates
from repurchase.orders.facts import Facts, Unread, filled
from repurchase.orders.ids import clean_ids
from repurchase.orders.layouts import Layout
from repurchase.orders.survey import NUMBERS, Forms
from repurchase.orders.vocabulary import plain
from repurchase.settings import Settings

__all__ = ["Reading", "read_values"]

_IDS = ("customer_id", "order_id", "product_id", "category", "channel")
_TEXT_OF_THE_ORDER = ("customer_id", "order_date", "status", "currency")
_FLAGS_OF_THE_ORDER = ("cancelled", "employee")
_TRUE = ("true", "yes", "1", "1.0", "y", "t")
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Reading:
    """An export's values, one row per row of the export, in its order.

    Parameters
    ----------
    rows : DataFrame
        ``row``, ``copy`` (1, or more for a repeated order), the ids, ``order_date``, ``amount`` (money of the line),
        ``net_total`` and ``gross_total`` (of the order, under that amount rule), ``line_value``, ``quantity``,
        ``status``, ``currency``, ``cancelled`` and ``employee``; null where there is none.
    facts : Facts
        What these rows add to what must be known of all.
    """

    rows: pl.DataFrame
    facts: Facts


def read_values(rows: pl.DataFrame, layout: Layout, forms: Forms, *, settings: Settings) -> Reading:
    """Read every column that has a role.

    Parameters
    ----------
    rows : DataFrame
        The export, or some of its rows: whole orders, where order fields stand on an order's first line.
    layout : Layout
        Which column is which.
    forms : Forms
        How dates and numbers are written.
    settings : Settings
        Time zone.

    Returns
    -------
    Reading
        The values.
    """
    dates = read_dates(rows[layout.columns["order_date"]], timezone=settings.timezone, form=forms.dates)
    numbers, unread = _numbers(rows, layout, forms)
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
    if layout.guest_ids:
        nobody = pl.col("customer_id").is_in(list(layout.guest_ids)).fill_null(value=False)
        values = values.with_columns(pl.when(~nobody).then("customer_id").alias("customer_id"))
    values = _with_copies(values, layout)
    if layout.first_line_only:
        values = _as_on_first_line(values)
    priced = _with_money(values, layout)
    return Reading(priced, _facts(priced, rows, layout, dates, unread))


def _facts(
    values: pl.DataFrame, rows: pl.DataFrame, layout: Layout, dates: DatesRead, unread: dict[str, Unread]
) -> Facts:
    when = values["order_date"]
    money = values["net_total" if layout.amount_rule == "order_total" else "amount"]
    currencies = values["currency"].drop_nulls().value_counts()
    return Facts(
        n_rows=values.height,
        n_named=values.height - values["customer_id"].null_count(),
        n_dated=values.height - when.null_count(),
        n_priced=values.height - money.null_count(),
        dates=Unread.of(rows[layout.columns["order_date"]], when),
        numbers=unread,
        has_times=bool((when.to_physical() % _MICROSECONDS_A_DAY != 0).any()),
        currencies=Counter(dict(currencies.rows())),
        offsets=dates.offsets,
    )


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
    return filled(column) if column is not None else _empty(rows, pl.Boolean()).fill_null(value=False)


def _numbers(rows: pl.DataFrame, layout: Layout, forms: Forms) -> tuple[dict[str, pl.Series], dict[str, Unread]]:
    found: dict[str, pl.Series] = {}
    unread: dict[str, Unread] = {}
    for role in NUMBERS:
        column = _column(rows, layout, role)
        if column is None:
            found[role] = _empty(rows, pl.Float64())
            continue
        found[role], _ = read_numbers(column, form=forms.numbers[role])
        unread[role] = Unread.of(column, found[role])
    return found, unread


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


def _with_money(values: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    line_value = pl.col("price") * pl.col("quantity").fill_null(1.0) - pl.col("line_discount").fill_null(0.0)
    values = values.with_columns(line_value.alias("line_value"))
    if layout.amount_rule == "quantity_price":
        values = values.with_columns((pl.col("price") * pl.col("quantity")).alias("amount"))
    if layout.amount_rule == "order_total":
        return _with_totals(values, layout)
    empty = pl.lit(None, pl.Float64)
    return values.with_columns(empty.alias("gross_total"), empty.alias("net_total"))


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
    # By customer too: of an id that two customers share, each has an order of his own.
    order = ["order_id", "copy"] if layout.first_line_only else ["customer_id", "order_id", "copy"]
    known = values.filter(pl.col("order_id").is_not_null())
    totals = known.group_by(order, maintain_order=True).agg(
        pl.col("order_total").drop_nulls().first().alias("gross_total"),
        pl.col("refunded").drop_nulls().first().abs().fill_null(0.0).alias("refund"),
    )
    joined = values.join(totals, on=order, how="left", maintain_order="left", nulls_equal=True).with_columns(
        pl.coalesce("gross_total", "order_total"), pl.coalesce("refund", pl.col("refunded").abs(), 0.0)
    )
    paid_back = _is_one_of(layout.refunded_statuses)
    net = (pl.col("gross_total") - pl.col("refund")).round(4)
    return joined.with_columns(pl.when(paid_back).then(0.0).otherwise(net).alias("net_total")).drop("refund")


def _is_one_of(statuses: Iterable[str]) -> pl.Expr:
    return pl.col("status").is_in(list(statuses)).fill_null(value=False)
