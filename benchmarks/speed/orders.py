"""Orders of a generated shop: BG/NBD customers with known parameters, about 3.4 orders each."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

R, ALPHA, A, B = 0.6, 43.0, 0.78, 3.4
"""Days: rates are Gamma(R, ALPHA), the chance to leave after a purchase is Beta(A, B)."""
MONEY_P, MONEY_Q, MONEY_V = 6.0, 4.0, 90.0
DAYS = 730
FIRST = date(2024, 1, 1)


def write_orders(path: Path, n_customers: int, *, seed: int = 0) -> int:
    """Write a Parquet file of orders, shuffled as an export would be, and say how many there are."""
    rng = np.random.default_rng(seed)
    who, day = _purchases(rng, n_customers)
    nu = rng.gamma(MONEY_Q, 1 / MONEY_V, n_customers)
    amount = np.round(rng.gamma(MONEY_P, 1 / nu[who]), 2).clip(0.01)
    shuffled = rng.permutation(len(who))
    frame = pl.DataFrame({"customer": who[shuffled], "day": day[shuffled], "amount": amount[shuffled]})
    start = pl.lit(FIRST)
    frame.select(
        customer_id=pl.format("c{}", pl.col("customer").cast(pl.String).str.zfill(8)),
        order_id=pl.format("o{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(9)),
        order_date=(start + pl.duration(days=pl.col("day"))).cast(pl.Datetime("us")),
        amount=pl.col("amount"),
    ).write_parquet(path)
    return len(who)


def _purchases(rng: np.random.Generator, n_customers: int) -> tuple[np.ndarray, np.ndarray]:
    first = rng.integers(0, DAYS - 1, n_customers)
    rate, leaves = rng.gamma(R, 1 / ALPHA, n_customers), rng.beta(A, B, n_customers)
    who, days = [np.arange(n_customers)], [first]
    active, clock = np.arange(n_customers), first.astype(float)
    while len(active):
        active = active[rng.random(len(active)) >= leaves[active]]
        clock[active] += rng.exponential(size=len(active)) / rate[active]
        active = active[clock[active] < DAYS]
        who.append(active)
        days.append(clock[active].astype(np.int64))
    return np.concatenate(who), np.concatenate(days)
