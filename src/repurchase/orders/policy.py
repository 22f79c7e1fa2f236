"""Which rows are sales, which are returns, and which are neither, and why.

Every function here looks at the values of all rows and gives one mask or one value per row; the order of reasons is
that of ``accounts.REASONS``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.accounts import REASONS
from repurchase.orders.facts import Facts
from repurchase.orders.layouts import Layout
from repurchase.orders.totals import spread_totals
from repurchase.orders.values import Reading
from repurchase.settings import Settings

__all__ = ["NETTED", "Rulings", "counts_as_order", "exact_repeats", "judge", "rulings"]

NETTED = ("cancellation", "return", "refunded_in_full")
_ORDER = ("customer_id", "order_id", "usable")


@dataclass(frozen=True)
class Rulings:
    """What all rows together have settled for each of them.

    Parameters
    ----------
    has_amounts : bool
        Whether the log has money.
    currency : str or None
        The currency to keep.
    repeats_are_faults : bool
        Whether a row that equals an earlier one is that row written twice.
    today : date
        The last day that can have orders.
    refunds_have_rows : bool
        Whether the log holds rows of nothing but refunds.
    """

    has_amounts: bool
    currency: str | None
    repeats_are_faults: bool
    today: date
    refunds_have_rows: bool = False


def rulings(facts: Facts, layout: Layout, *, settings: Settings, source: str, today: date) -> Rulings:
    """Settle what concerns every row.

    Parameters
    ----------
    facts : Facts
        Of all rows.
    layout : Layout
        The export format.
    settings : Settings
        May name the currency to keep.
    source : str
        What a message calls the log.
    today : date
        The last day that can have orders.

    Returns
    -------
    Rulings
        The same for the same rows, however they were split.

    Raises
    ------
    OrdersError
        If most rows cannot be read, or if there are several currencies and the settings name none of them.
    """
    facts.require_usable(layout, source=source)
    currency = _one_currency(facts.currencies, settings, source)
    return Rulings(facts.has_amounts, currency, facts.repeats_are_faults(layout), today, facts.refund_rows > 0)


def _one_currency(currencies: Mapping[str, int], settings: Settings, source: str) -> str | None:
    counts = sorted(currencies.items(), key=lambda item: (-item[1], item[0]))
    present = [name for name, _ in counts]
    wanted = settings.currency.upper() if settings.currency else None
    if wanted is not None and present and wanted not in present:
        raise OrdersError(
            f"{source}: no row is in {wanted}, the currency of the settings. Found: {first_few(present)}. "
            "Correct the setting 'currency', or leave it out.",
            withheld=first_few(present),
        )
    if wanted is None and len(present) > 1:
        shown = first_few(f"{name} ({rows:,} rows)" for name, rows in counts)
        raise OrdersError(
            f"{source}: {len(present)} currencies in one log: {shown}. Money of two currencies cannot be added. "
            f"Convert it before, or keep one: currency = '{present[0]}' in repurchase.toml sets the others aside.",
            withheld=(shown, f"'{present[0]}'"),
        )
    return wanted or (present[0] if present else None)


def judge(raw: pl.DataFrame, reading: Reading, layout: Layout, ruled: Rulings, *, settings: Settings) -> pl.DataFrame:
    """Give every row its reason, or none, and its money.

    Parameters
    ----------
    raw : DataFrame
        The export's rows, for the search for duplicates; all rows of each customer in it.
    reading : Reading
        Their values.
    layout : Layout
        The export format.
    ruled : Rulings
        What is settled for all rows.
    settings : Settings
        What to do with duplicates.

    Returns
    -------
    DataFrame
        The reading's rows in their order, with ``order_id`` filled, ``amount``, ``reason`` (null for a plain sale) and
        a column per reason that says whether the row shows that fault at all.
    """
    rows = _with_line_faults(_apart(reading.rows), raw, layout, ruled)
    waived = {"duplicate_line"} if settings.duplicates == "keep" else set()
    early = [name for name in REASONS if name in rows.columns and name not in waived]
    usable = ~pl.any_horizontal(early)
    rows = _with_order_ids(rows.with_columns(usable.alias("usable")), layout)
    rows = _with_later_faults(_with_amounts(rows, layout, ruled), layout, ruled.has_amounts)
    reason = pl.coalesce(*(pl.when(name).then(pl.lit(name)) for name in REASONS if name not in waived))
    return rows.with_columns(reason.alias("reason"))


def _apart(rows: pl.DataFrame) -> pl.DataFrame:
    """Give a further order of the same number and customer its own number, unless it is a copy of the first."""
    if not (rows["copy"] > 1).any():
        return rows.with_columns(pl.lit(value=False).alias("repeated_order"))
    header = ["order_id", "customer_id", "order_date", "gross_total"]
    rows = rows.with_columns(
        ((pl.col("copy") > 1) & (pl.col("copy") > pl.col("copy").min().over(header))).alias("repeated_order"),
        (pl.col("copy") > pl.col("copy").min().over("order_id", "customer_id").clip(lower_bound=1)).alias("later"),
    )
    numbered = pl.format("{}/{}", "order_id", "copy")
    own = pl.when(pl.col("later") & ~pl.col("repeated_order")).then(numbered).otherwise("order_id")
    return rows.with_columns(own.alias("order_id")).drop("later")


def _with_line_faults(rows: pl.DataFrame, raw: pl.DataFrame, layout: Layout, ruled: Rulings) -> pl.DataFrame:
    money = "net_total" if _has_totals(layout) else "amount"
    repeats = exact_repeats(raw) if ruled.repeats_are_faults else _none(raw.height)
    stopped = pl.any_horizontal(
        "cancelled",
        (pl.col("validity") == "not_sale").fill_null(value=False),
        (pl.col("record_type") == "void").fill_null(value=False),
    )
    rows = _with_stops(rows.with_columns(stopped.alias("stopped")), layout)
    return rows.with_columns(
        pl.col("customer_id").is_null().alias("missing_customer"),
        pl.col("order_date").is_null().alias("unreadable_date"),
        (pl.col("order_date").dt.date() > ruled.today).fill_null(value=False).alias("future_date"),
        (pl.col(money).is_null() & pl.lit(ruled.has_amounts)).alias("amount_not_a_number"),
        (pl.col("currency") != pl.lit(ruled.currency, pl.String)).fill_null(value=False).alias("other_currency"),
        repeats.alias("duplicate_line"),
        (pl.col("record_type") == "other").fill_null(value=False).alias("not_an_order"),
    ).rename({"stopped": "cancelled_order"})


def _with_stops(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Settle which rows no sale came of: what gives money back counts, unless its own sale does not.

    Parameters
    ----------
    rows : DataFrame
        Values, and ``stopped``: a status, a flag or a type says that no sale came about.
    layout : Layout
        The export format.

    Returns
    -------
    DataFrame
        With the final ``stopped``.
    """
    if not rows["stopped"].any():
        return rows
    rows = rows.with_columns(_gives_back(layout).alias("gives_back"))
    rows = rows.with_columns((pl.col("stopped") & ~pl.col("gives_back")).alias("stopped"))
    if rows["gives_back"].any():
        order = ["customer_id", "order_id"]
        sold = (~pl.col("gives_back") & ~pl.col("stopped")).any().over(order)
        undone = pl.col("order_id").is_not_null() & pl.col("stopped").any().over(order) & ~sold
        rows = rows.with_columns((pl.col("stopped") | (pl.col("gives_back") & undone)).alias("stopped"))
    return rows.drop("gives_back")


def _gives_back(layout: Layout) -> pl.Expr:
    """Whether a row is part of an order of nothing but negative money: a cancellation is then the return itself."""
    money = pl.any_horizontal((pl.col(name) > 0).fill_null(value=False) for name in ("amount", "gross_total"))
    backwards = (pl.col("quantity") < 0).fill_null(value=False) | _is_cancellation(layout)
    forwards = money & ~backwards
    negative = backwards | pl.any_horizontal(
        (pl.col(name) < 0).fill_null(value=False) for name in ("amount", "gross_total")
    )
    return negative & ~forwards.any().over("customer_id", "order_id", "copy")


def _has_totals(layout: Layout) -> bool:
    return layout.amount_rule == "order_total" or layout.refund_per == "line"


def exact_repeats(rows: pl.DataFrame) -> pl.Series:
    """Mark rows equal in every column to an earlier row.

    Parameters
    ----------
    rows : DataFrame
        Any rows.

    Returns
    -------
    Series of bool
        True for the second and later copies. Hashes only narrow the search; the rows themselves are compared.

    Examples
    --------
    >>> exact_repeats(pl.DataFrame({"a": [1, 1, 2, 1], "b": ["x", "x", "x", "y"]})).to_list()
    [False, True, False, False]
    """
    suspects = rows.hash_rows(seed=0).is_duplicated().arg_true()
    first = rows[suspects].select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return _none(rows.height).scatter(suspects.filter(~first), values=True)


def _none(height: int) -> pl.Series:
    return pl.Series([False]).new_from_index(0, height)


def _is_paid_back() -> pl.Expr:
    """Whether the status of a sale says that it was paid back in full."""
    return (pl.col("validity") == "refunded").fill_null(value=False) & ~pl.col("is_refund")


def counts_as_order(layout: Layout) -> pl.Expr:
    """Say whether an order counts although its money was paid back.

    Parameters
    ----------
    layout : Layout
        Whether a column says how much was paid back.

    Returns
    -------
    Expr of bool
        False where only a status says that nothing was kept: such an order is as good as cancelled.
    """
    if layout.refund_per is not None:
        return pl.lit(value=True)
    return (pl.col("validity") != "refunded").fill_null(value=True)


def _with_order_ids(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Make order ids where there are none: the customer and the time, numbered where a row is an order of its own.

    Parameters
    ----------
    rows : DataFrame
        Values.
    layout : Layout
        Whether rows are lines or orders.

    Returns
    -------
    DataFrame
        With ``order_id`` wherever there are a customer and a date.
    """
    if rows["order_id"].null_count() == 0:
        return rows
    when = pl.col("order_date").dt.strftime("%Y-%m-%dT%H:%M:%S")
    when = when.str.strip_suffix("T00:00:00")
    made = pl.format("{}@{}", "customer_id", when)
    if layout.grain == "orders":
        place = ["customer_id", "order_date"]
        rows = rows.sort(*place, "amount", "quantity", "row")
        number = pl.int_range(1, pl.len() + 1).over(place)
        made = pl.when(number > 1).then(pl.format("{}#{}", made, number)).otherwise(made)
    return rows.with_columns(pl.coalesce("order_id", made)).sort("row")


def _with_amounts(rows: pl.DataFrame, layout: Layout, ruled: Rulings) -> pl.DataFrame:
    """Give every row its net money, negative where it is a return.

    Parameters
    ----------
    rows : DataFrame
        Values.
    layout : Layout
        Where money comes from.
    ruled : Rulings
        Whether refunds have rows of their own.

    Returns
    -------
    DataFrame
        With ``amount`` and, for the order's zero test, ``gross``.
    """
    # Where refunds have rows of their own, the money is taken off by those.
    emptied = pl.when(_is_paid_back() & ~pl.lit(ruled.refunds_have_rows)).then(0.0)
    if layout.amount_rule != "order_total" and layout.refund_per == "order":
        rows = _with_order_refunds(rows)
    if layout.amount_rule == "order_total" or layout.refund_per == "order":
        order = pl.struct(_ORDER).alias("order")
        net = emptied.otherwise("net_total").alias("net_total")
        rows = rows.with_columns(net)
        spread = spread_totals(rows.select(order, "line_value", "net_total"))
        return rows.with_columns(spread, pl.col("gross_total").alias("gross"))
    backwards = _is_cancellation(layout) | (pl.col("quantity") < 0).fill_null(value=False)
    signed = pl.when(backwards).then(-pl.col("amount").abs()).otherwise("amount") + 0.0
    kept = pl.when(signed >= 0).then(pl.coalesce("net_total", signed)).otherwise(signed)
    return rows.with_columns(signed.alias("gross"), (emptied.otherwise(kept) + 0.0).alias("amount"))


def _with_order_refunds(rows: pl.DataFrame) -> pl.DataFrame:
    """Add up the lines of each order, without those that are no lines of it, and take its refund off."""
    whole = [*_ORDER, "copy"]
    gross = pl.col("amount").sum().over(whole)
    refund = pl.col("refunded").abs().drop_nulls().first().over(whole).fill_null(0.0)
    net = pl.when(gross >= 0).then(gross - refund).otherwise(gross).round(6)
    return rows.with_columns(
        pl.when(pl.col("amount").is_not_null()).then(gross).alias("gross_total"),
        pl.when(pl.col("amount").is_not_null()).then(net).alias("net_total"),
        pl.col("amount").alias("line_value"),
    )


def _is_cancellation(layout: Layout) -> pl.Expr:
    if layout.cancellation_prefix is None:
        return pl.lit(value=False)
    return pl.col("order_id").str.to_uppercase().str.starts_with(layout.cancellation_prefix).fill_null(value=False)


def _with_later_faults(rows: pl.DataFrame, layout: Layout, has_amounts: bool) -> pl.DataFrame:
    cancellation = _is_cancellation(layout)
    backwards = (pl.col("gross") < 0).fill_null(value=False)
    if layout.amount_rule != "order_total":
        backwards |= (pl.col("quantity") < 0).fill_null(value=False)
    emptied = (pl.col("net_total") <= 0).fill_null(value=False) & ~backwards
    worthless = (pl.col("gross") == 0).fill_null(value=False)
    nothing = pl.lit(value=False)
    if has_amounts and rows.select(worthless.any()).item():  # the search by order costs more than all the rest
        nothing = worthless.all().over(_ORDER)
    return rows.with_columns(
        nothing.alias("zero_total"),
        cancellation.alias("cancellation"),
        (backwards & ~cancellation).alias("return"),
        ((emptied | _is_paid_back()) & (pl.col("gross") != 0)).fill_null(value=False).alias("refunded_in_full"),
    )
