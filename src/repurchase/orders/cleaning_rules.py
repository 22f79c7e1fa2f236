"""Which rows are sales, which are returns, and which are neither, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.amounts import MONEY_UNITS
from repurchase.orders.layout import Layout
from repurchase.orders.values import LogStatistics, OrderValues
from repurchase.settings import Settings

REASONS = (
    "missing_customer",
    "unreadable_date",
    "future_date",
    "amount_not_a_number",
    "other_currency",
    "duplicate_line",
    "repeated_order",
    "not_an_order",
    "cancelled_order",
    "zero_total",
    "cancellation",
    "return",
    "refunded_in_full",
)
"""The order of reasons: a row that shows several faults is counted under the first of them."""


def spread_totals(lines: pl.DataFrame) -> pl.Series:
    """Put each order's net total on its lines in proportion to what the lines are worth.

    Shops state shipping, taxes, discounts and refunds for the order as a whole. Spread over the lines, product-level
    and order-level money are both right: shares are cut to whole cents and the first line takes the rest, so that the
    lines add up to the total.
    """
    worth = pl.col("line_value").fill_null(0.0).clip(lower_bound=0.0)
    part = pl.when(pl.col("all_worth") > 0).then(pl.col("worth") / pl.col("all_worth")).otherwise(0.0)
    cents = (pl.col("net_total") * 100 * part).round(6).truncate()
    rest = (pl.col("net_total") * 100 - pl.col("cents").sum().over("order")).round(2)
    is_first = pl.int_range(pl.len()).over("order") == 0
    return (
        lines.with_columns(worth.alias("worth"))
        .with_columns(pl.col("worth").sum().over("order").alias("all_worth"))
        .with_columns(cents.alias("cents"))
        .select(((pl.col("cents") + pl.when(is_first).then(rest).otherwise(0.0)) / 100).round(4) + 0.0)
        .to_series()
        .alias("amount")
    )


NETTED = ("cancellation", "return", "refunded_in_full")
_ORDER = ("customer_id", "order_id", "usable")


@dataclass(frozen=True)
class CleaningRules:
    """What all rows together decide for each of them."""

    has_amounts: bool
    currency: str | None
    repeats_are_faults: bool
    today: date
    refunds_have_rows: bool = False


def decide_rules(
    statistics: LogStatistics, layout: Layout, *, settings: Settings, source: str, today: date
) -> CleaningRules:
    """Decide what concerns every row."""
    statistics.require_usable(layout, source=source)
    return CleaningRules(
        statistics.has_amounts,
        _one_currency(statistics.currencies, settings, source),
        statistics.repeats_are_faults(layout),
        today,
        statistics.refund_rows > 0,
    )


def _one_currency(currencies: Mapping[str, int], settings: Settings, source: str) -> str | None:
    counts = sorted(currencies.items(), key=lambda item: (-item[1], item[0]))
    present = [name for name, _ in counts]
    requested = settings.currency.upper() if settings.currency else None
    if requested is not None and present and requested not in present:
        raise OrdersError(
            f"{source}: no row is in {requested}, the currency of the settings. Found: {first_few(present)}. "
            "Correct the setting 'currency', or leave it out.",
            withheld=first_few(present),
        )
    if requested is None and len(present) > 1:
        shown = first_few(f"{name} ({rows:,} rows)" for name, rows in counts)
        raise OrdersError(
            f"{source}: {len(present)} currencies in one log: {shown}. Money of two currencies cannot be added. "
            f"Convert it before, or keep one: currency = '{present[0]}' in repurchase.toml sets the others aside.",
            withheld=(shown, f"'{present[0]}'"),
        )
    return requested or (present[0] if present else None)


def classify_rows(
    raw: pl.DataFrame, values: OrderValues, layout: Layout, rules: CleaningRules, *, settings: Settings
) -> pl.DataFrame:
    """Give every row its reason, or none, and its money."""
    rows = _with_line_faults(_with_separate_orders(values.rows), raw, layout, rules)
    waived = {"duplicate_line"} if settings.duplicates == "keep" else set()
    early = [name for name in REASONS if name in rows.columns and name not in waived]
    usable = ~pl.any_horizontal(early)
    rows = _with_order_ids(rows.with_columns(usable.alias("usable")), layout)
    rows = _with_later_faults(_with_amounts(rows, layout, rules), layout, rules.has_amounts)
    reason = pl.coalesce(*(pl.when(name).then(pl.lit(name)) for name in REASONS if name not in waived))
    return rows.with_columns(reason.alias("reason"))


def _with_separate_orders(rows: pl.DataFrame) -> pl.DataFrame:
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


def _with_line_faults(rows: pl.DataFrame, raw: pl.DataFrame, layout: Layout, rules: CleaningRules) -> pl.DataFrame:
    money = "net_total" if _has_totals(layout) else "amount"
    repeats = exact_repeats(raw) if rules.repeats_are_faults else _all_false(raw.height)
    is_cancelled = pl.any_horizontal(
        "cancelled",
        (pl.col("validity") == "not_sale").fill_null(value=False),
        (pl.col("record_type") == "void").fill_null(value=False),
    )
    rows = _with_cancelled_orders(rows.with_columns(is_cancelled.alias("cancelled_order")), layout)
    return rows.with_columns(
        pl.col("customer_id").is_null().alias("missing_customer"),
        pl.col("order_date").is_null().alias("unreadable_date"),
        (pl.col("order_date").dt.date() > rules.today).fill_null(value=False).alias("future_date"),
        (pl.col(money).is_null() & pl.lit(rules.has_amounts)).alias("amount_not_a_number"),
        (pl.col("currency") != pl.lit(rules.currency, pl.String)).fill_null(value=False).alias("other_currency"),
        repeats.alias("duplicate_line"),
        (pl.col("record_type") == "other").fill_null(value=False).alias("not_an_order"),
    )


def _with_cancelled_orders(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Decide which rows are no sales: what gives money back counts, unless its own sale does not."""
    if not rows["cancelled_order"].any():
        return rows
    rows = rows.with_columns(_gives_back(layout).alias("gives_back"))
    rows = rows.with_columns((pl.col("cancelled_order") & ~pl.col("gives_back")).alias("cancelled_order"))
    if rows["gives_back"].any():
        order = ["customer_id", "order_id"]
        sold = (~pl.col("gives_back") & ~pl.col("cancelled_order")).any().over(order)
        undone = pl.col("order_id").is_not_null() & pl.col("cancelled_order").any().over(order) & ~sold
        rows = rows.with_columns((pl.col("cancelled_order") | (pl.col("gives_back") & undone)).alias("cancelled_order"))
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
    """Mark rows equal in every column to an earlier row."""
    suspects = rows.hash_rows(seed=0).is_duplicated().arg_true()
    first = rows[suspects].select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return _all_false(rows.height).scatter(suspects.filter(~first), values=True)


def _all_false(height: int) -> pl.Series:
    return pl.Series([False]).new_from_index(0, height)


def _is_paid_back() -> pl.Expr:
    """Whether the status of a sale says that it was paid back in full."""
    return (pl.col("validity") == "refunded").fill_null(value=False) & ~pl.col("is_refund")


def counts_as_order(layout: Layout) -> pl.Expr:
    """Say whether an order counts although its money was paid back."""
    if layout.refund_per is not None:
        return pl.lit(value=True)
    return (pl.col("validity") != "refunded").fill_null(value=True)


def _with_order_ids(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Make order ids where there are none: the customer and the time, numbered where a row is an order of its own."""
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


def _with_amounts(rows: pl.DataFrame, layout: Layout, rules: CleaningRules) -> pl.DataFrame:
    """Give every row its net money, negative where it is a return."""
    # Where refunds have rows of their own, the money is taken off by those.
    emptied = pl.when(_is_paid_back() & ~pl.lit(rules.refunds_have_rows)).then(0.0)
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


def sale_dates(lines: pl.DataFrame) -> pl.Series:
    """Find, for each return, the day of the sale it reverses.

    A return reverses the latest sale, not reversed before, of the same customer, the same product and the same amount
    at or before it. This looks backwards only: rows that come later never change what was found for earlier ones.

    Sales are pushed on a stack and returns pop it, one stack per customer, product and amount. On sorted rows that
    needs no loop: a running sum of +1 and -1 is the height of the stack, at one height sales and returns take turns,
    and a return belongs to the sale before it at its height. A return that finds the stack empty reaches a height at
    which nothing was before.
    """
    if not (lines["amount"] < 0).any():
        return pl.Series("sale_date", [None], dtype=pl.Date).new_from_index(0, lines.height)
    key = ["customer_id", "product_id", "size"]
    order = pl.col("order_id") if "order_id" in lines.columns else pl.lit(None, pl.String).alias("order_id")
    sized = lines.select(
        order,
        "customer_id",
        "product_id",
        "order_date",
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("line"),
        (pl.col("amount").abs() * MONEY_UNITS).round(0).alias("size"),
        pl.col("amount").sign().cast(pl.Int8).alias("step"),
    ).filter(pl.col("step") != 0)
    returned = sized.filter(pl.col("step") < 0).select(key).unique()
    pairs = _paired_returns(sized.join(returned, on=key, how="semi", nulls_equal=True), key)
    placed = lines.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("line"))
    return placed.join(pairs, on="line", how="left", maintain_order="left")["sale_date"]


def _paired_returns(lines: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Pair each return with the sale before it at its height of the stack."""
    by = [*key, "order_date", "step", "order_id"]
    ordered = lines.sort(by, descending=[name == "step" for name in by], nulls_last=True)
    running = pl.col("step").cast(pl.Int64).cum_sum().over(key)
    height = pl.when(pl.col("step") > 0).then(running).otherwise(running + 1)
    before = pl.col("order_date").shift(1).over([*key, "height"]).dt.date()
    paired = ordered.with_columns(height.alias("height")).with_columns(before.alias("sale_date"))
    return paired.filter(pl.col("step") < 0).select("line", "sale_date")
