"""Orders' totals on their lines."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.orders.cleaning_rules import spread_totals


def spread(total: float, *worth: float | None) -> list[float]:
    lines = pl.DataFrame(
        {"order": [1] * len(worth), "line_value": list(worth), "net_total": [total] * len(worth)},
        schema={"order": pl.Int64, "line_value": pl.Float64, "net_total": pl.Float64},
    )
    return spread_totals(lines).to_list()


def test_in_proportion_and_the_rest_on_the_first_line() -> None:
    assert spread(100.0, 1, 1, 1) == [33.34, 33.33, 33.33]
    assert spread(30.0, 20, 10) == [20.0, 10.0]


def test_lines_worth_nothing_leave_it_to_the_first() -> None:
    assert spread(7.5, None, 0) == [7.5, 0.0]
    assert spread(7.5, 0, 10) == [0.0, 7.5]


@settings(deadline=None)
@given(st.integers(-(10**6), 10**7), st.lists(st.integers(0, 10**5), min_size=1, max_size=12))
def test_exact_to_the_cent(cents: int, worth: list[int]) -> None:
    shares = spread(cents / 100, *(value / 100 for value in worth))
    assert sum(round(share * 100) for share in shares) == cents
    assert all(share == pytest.approx(round(share, 2), abs=1e-9) for share in shares)
    if cents >= 0:
        assert min(shares) >= 0
