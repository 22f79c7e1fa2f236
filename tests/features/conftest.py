"""Small logs written by hand, and random ones for properties."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from repurchase.features.history import History

START = date(2024, 1, 1)


def orders_of(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Clean orders from (customer, day, amount), then maybe the day of a return's sale, then maybe the order id."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "order_id": [row[4] if len(row) > 4 else f"o{number}" for number, row in enumerate(rows)],
            "order_date": [datetime.fromisoformat(row[1]) for row in rows],
            "amount": [row[2] for row in rows],
            "sale_date": [date.fromisoformat(row[3]) if len(row) > 3 and row[3] else None for row in rows],
        },
        schema={
            "customer_id": pl.String(),
            "order_id": pl.String(),
            "order_date": pl.Datetime("us"),
            "amount": pl.Float64(),
            "sale_date": pl.Date(),
        },
    )


def purchase_days(history: History, ids: pl.Series) -> dict[str, list[tuple[str, float]]]:
    """Customer id to (day, net money) of every purchase day in a history."""
    days = (pl.Series(history.day).cast(pl.Int32).cast(pl.Date)).to_list()
    found: dict[str, list[tuple[str, float]]] = {}
    for index, code in enumerate(history.customer):
        block = range(history.start[index], history.start[index] + history.count[index])
        found[ids[int(code)]] = [(days[row].isoformat(), history.spend[row] / 10_000) for row in block]
    return found


@pytest.fixture(scope="session")
def make_orders() -> Callable[[Sequence[tuple[Any, ...]]], pl.DataFrame]:
    return orders_of


@pytest.fixture(scope="session")
def days_of() -> Callable[[History, pl.Series], dict[str, list[tuple[str, float]]]]:
    return purchase_days


@st.composite
def random_logs(draw: st.DrawFn, *, returns: bool = True) -> pl.DataFrame:
    """Up to 40 rows of up to 5 customers over two years; some sales are returned, in part or in full, later."""
    sale = st.tuples(st.sampled_from("abcde"), st.integers(0, 700), st.integers(0, 50_000), st.integers(0, 120))
    rows: list[tuple[Any, ...]] = []
    for number, (who, day, cents, later) in enumerate(draw(st.lists(sale, min_size=1, max_size=30))):
        when, order = START + timedelta(days=day), f"o{number // 2}-{who}"
        rows.append((who, when.isoformat(), cents / 100, None, order))
        if returns and later % 3 == 0 and cents > 1:
            back = when + timedelta(days=later)
            part = cents / 100 if later % 2 else (cents // 2) / 100
            known = when.isoformat() if later % 4 else None
            rows.append((who, back.isoformat(), -part, known, f"r{number}"))
    return orders_of(rows)


@pytest.fixture(scope="session")
def logs() -> st.SearchStrategy[pl.DataFrame]:
    """A strategy, to be drawn from with ``data.draw``."""
    return random_logs()
