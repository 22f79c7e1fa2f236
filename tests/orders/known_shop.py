"""A shop whose true orders are known, for exports that say the same in different columns."""

from datetime import date, timedelta

import polars as pl

N_ORDERS = 60
PRICES = (3.5, 12.25, 7.9, 20.0, 5.1)


def shop_lines() -> pl.DataFrame:
    """Lines of 60 orders of 17 customers: one to three products each, one to three units."""
    rows = []
    for order in range(N_ORDERS):
        day = date(2024, 1, 1) + timedelta(days=4 * order)
        for line in range(1 + order % 3):
            product, units = (order + 2 * line) % len(PRICES), 1 + (order // 2 + line) % 3
            who = (f"k{order % 17:02d}", f"buyer{order % 17}@shop.example")
            rows.append((f"A{1000 + order}", day.isoformat(), *who, f"p{product}", units, PRICES[product]))
    names = ["order", "day", "customer", "email", "product", "units", "each"]
    lines = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        line=(pl.col("units") * pl.col("each")).round(2)
    )
    total = (pl.col("line").sum().over("order") + 4.95).round(2)
    return lines.with_columns(total.alias("total"), first=pl.col("order").is_first_distinct())


def shop_orders() -> pl.DataFrame:
    """The same orders, a row each."""
    return shop_lines().filter("first").select("order", "day", "customer", "email", "total")


LINES, ORDERS = shop_lines(), shop_orders()
"""Read only."""
TOTAL = round(float(ORDERS["total"].sum()), 2)
GOODS = round(float(LINES["line"].sum()), 2)
