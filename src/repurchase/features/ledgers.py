"""Orders become a ledger: customers coded as integers, rows added up per customer and day, and sorted once.

Money is summed as integers of a ten-thousandth, so a sum does not depend on the order of rows nor on which other
customers are in the log: a subset of customers gets the same digits as the whole.
"""

from datetime import date

import numpy as np
import polars as pl

from repurchase.errors import LeakageError, OrdersError, first_few
from repurchase.features.history import MONEY, PIECES
from repurchase.features.timeline import Ledger
from repurchase.tables import ORDERS, Frame, as_polars

__all__ = ["ledger", "ledger_of"]

_MOST_UNITS = 9e18


def ledger(orders: Frame, *, observed_until: date) -> Ledger:
    """Code, add up and sort orders, once for all later cuts.

    Parameters
    ----------
    orders : DataFrame of shape (n_rows, >=4)
        Clean orders (see ``tables.ORDERS``).
    observed_until : date
        Last day observed, inclusive; later orders are left out, unread.

    Returns
    -------
    Ledger
        Sorted by customer, day known, day counted on.

    Raises
    ------
    OrdersError
        If the orders are not clean, or their money is too much to be counted exactly.
    LeakageError
        If a return names a sale later than itself.
    InputError
        If it is not a table.
    """
    rows = ORDERS.check(_typed(as_polars(orders)))
    return ledger_of(rows.filter(pl.col("order_date").dt.date() <= observed_until), observed_until=observed_until)


def ledger_of(rows: pl.DataFrame, *, observed_until: date) -> Ledger:
    """Code, add up and sort orders that are known to be clean.

    Parameters
    ----------
    rows : DataFrame of shape (n_rows, >=4)
        Of the types of ``tables.ORDERS``, none later than ``observed_until``.
    observed_until : date
        Last day observed, inclusive.

    Returns
    -------
    Ledger
        As from `ledger`.

    Raises
    ------
    LeakageError
        If a return names a sale later than itself.
    OrdersError
        If money or pieces are too much to be counted exactly.
    """
    for name, unit in (("amount", MONEY), ("quantity", PIECES), ("discount", MONEY)):
        if name in rows.columns:
            _require_countable(rows[name], unit)
    has_amounts = not rows.height or rows["amount"].null_count() < rows.height
    coded = _coded(rows)
    early = coded.filter(pl.col("day") > pl.col("known"))
    if early.height:
        raise LeakageError(
            f"orders: {early.height:,} returns have a sale_date later than their own order_date; a return can only "
            "reverse an earlier sale. Leave sale_date empty where the sale is not known."
        )
    ids = rows["customer_id"].unique().sort()
    codes = pl.DataFrame({"customer_id": ids, "customer": np.arange(len(ids), dtype=np.uint32)})
    joined = coded.join(codes, on="customer_id", how="left", maintain_order="left").drop("customer_id")
    return Ledger(ids, _entries(joined, has_amounts=has_amounts), observed_until, has_amounts)


def _require_countable(column: pl.Series, unit: int) -> None:
    """Refuse what 64 bits cannot add up; the sum of floats is near enough for that."""
    sizes = np.abs(column.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy())
    total = float(sizes.sum())
    if total * unit > _MOST_UNITS:
        raise OrdersError(
            f"orders: the column '{column.name}' adds up to {total:.3g}, more than the {_MOST_UNITS / unit:.0e} that "
            f"can be counted exactly; its largest value is {sizes.max():,.2f}. Correct it, or state money in thousands."
        )


def _entries(lines: pl.DataFrame, *, has_amounts: bool) -> pl.DataFrame:
    """Add up lines per customer, day known and day counted on; sorted so, every sum is a pass over its block."""
    key = ("customer", "known", "day")
    lines = lines.sort(*key, "order")
    if not lines.height:
        empty = pl.lit(0, dtype=pl.Int64)
        counts = (empty.alias("orders"), empty.alias("lines"))
        return lines.select(*key, "spend", "charged", *counts, "quantity", "discount")
    at = {name: lines[name].to_numpy() for name in lines.columns}
    begins = np.concatenate([[True], np.logical_or.reduce([np.diff(at[name].view(np.int32)) != 0 for name in key])])
    begins_order = begins | np.concatenate([[True], at["order"][1:] != at["order"][:-1]])
    start, order_start = np.flatnonzero(begins), np.flatnonzero(begins_order)
    charged = np.maximum.reduceat(at["charged"], order_start) > 0
    sold = charged if has_amounts else np.maximum.reduceat(at["spend"], order_start) >= 0
    sums = {
        "spend": np.add.reduceat(at["spend"], start),
        "charged": np.add.reduceat(at["charged"], start),
        "orders": np.add.reduceat(sold.astype(np.int64), np.searchsorted(order_start, start)),
        "lines": np.diff(np.append(start, lines.height)),
        "quantity": np.add.reduceat(at["quantity"], start),
        "discount": np.add.reduceat(at["discount"], start),
    }
    return lines.select(key)[start].with_columns(pl.Series(name, values) for name, values in sums.items())


def _typed(orders: pl.DataFrame) -> pl.DataFrame:
    for name, dtype in ORDERS.schema.items():
        if name in orders.columns and name != "customer_id" and orders.schema[name] != dtype:
            orders = orders.with_columns(_cast(orders[name], dtype))
    return orders


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        return column.cast(dtype)
    except pl.exceptions.PolarsError as fault:
        shown = first_few(column.drop_nulls().unique(maintain_order=True))
        raise OrdersError(
            f"orders: column '{column.name}' must be {dtype}. Got {column.dtype} that does not convert, such as "
            f"{shown}. Run clean_orders first.",
            withheld=shown,
        ) from fault


def _coded(rows: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("order_date").dt.date().cast(pl.Int32)
    applied = pl.col("sale_date").cast(pl.Int32).fill_null(known) if "sale_date" in rows.columns else known
    return rows.select(
        "customer_id",
        pl.col("order_id").hash().alias("order"),  # told apart only within one customer's day
        known.alias("known"),
        applied.alias("day"),
        _integer("amount", MONEY).alias("spend"),
        _integer("charged" if "charged" in rows.columns else "amount", MONEY).clip(lower_bound=0).alias("charged"),
        (_integer("quantity", PIECES) if "quantity" in rows.columns else pl.lit(0, dtype=pl.Int64)).alias("quantity"),
        (_integer("discount", MONEY) if "discount" in rows.columns else pl.lit(0, dtype=pl.Int64)).alias("discount"),
    )


def _integer(name: str, unit: int) -> pl.Expr:
    return (pl.col(name).fill_null(0.0).fill_nan(0.0) * unit).round().cast(pl.Int64)
