"""Customers side by side, and windows that share their ends."""

from collections.abc import Callable
from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.features.history import History, day_number
from repurchase.features.ledger import build_ledger

AS_OF = date(2024, 6, 30)


@pytest.fixture(scope="module")
def history(make_orders: Callable[[list[tuple[Any, ...]]], pl.DataFrame]) -> History:
    rng = np.random.default_rng(5)
    rows = [
        (f"c{rng.integers(60):02}", (date(2024, 1, 1) + timedelta(days=int(rng.integers(200)))).isoformat(), amount)
        for amount in rng.uniform(1, 99, 400)
    ]
    return build_ledger(make_orders(rows), observed_until=date(2024, 12, 31)).history(AS_OF)


@pytest.mark.parametrize(("first", "last"), [(0, 60), (7, 8), (20, 45), (0, 0), (60, 60), (59, 60)])
def test_a_block_is_what_taking_the_same_customers_gives(history: History, first: int, last: int) -> None:
    block, taken = history.block(first, last), history.take(np.arange(first, last))
    for item in fields(History):
        assert np.array_equal(getattr(block, item.name), getattr(taken, item.name)), item.name
    assert np.array_equal(block.count, taken.count)
    assert np.array_equal(block.customer_index, np.repeat(np.arange(last - first), history.count[first:last]))


def test_a_block_copies_no_row(history: History) -> None:
    assert np.shares_memory(history.block(20, 45).spend, history.spend)


@pytest.mark.parametrize("days_back", [-5, 0, 1, 30, 90, 181, 182, 1_000])
def test_windows_begin_where_counting_says(history: History, days_back: int) -> None:
    day = day_number(AS_OF) - days_back
    for some in (history, history.block(13, 40)):
        rows = [range(start, start + count) for start, count in zip(some.start, some.count, strict=True)]
        before = [sum(some.day[row] <= day for row in block) for block in rows]
        assert (some.position(day) - some.start).tolist() == before
        assert some.position(day) is some.position(day) or days_back <= 0
        spent = [sum(int(some.spend[row]) for row in block if day - 30 < some.day[row] <= day) for block in rows]
        assert some.spend_between(day - 30, day).tolist() == spent


def test_sums_are_each_customers_own(history: History) -> None:
    weight = history.spend / 7.0
    by_hand = [
        sum(weight[start : start + count].tolist(), 0.0)
        for start, count in zip(history.start, history.count, strict=True)
    ]
    assert history.sum(weight).tolist() == by_hand
    assert history.total(history.spend).tolist() == np.add.reduceat(history.spend, history.start).tolist()
    assert history.block(9, 9).sum(np.zeros(0)).tolist() == history.block(9, 9).total(history.day[:0]).tolist() == []
