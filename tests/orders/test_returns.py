"""Returns find the sale they reverse, looking backwards only."""

from datetime import date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.orders.cleaning_rules import sale_dates

START = datetime(2024, 1, 1)  # noqa: DTZ001
SCHEMA = {
    "customer_id": pl.String,
    "product_id": pl.String,
    "order_date": pl.Datetime("us"),
    "amount": pl.Float64,
}
Line = tuple[str, str | None, int, float]


def lines(*rows: Line) -> pl.DataFrame:
    dated = [(who, what, START + timedelta(days=day), amount) for who, what, day, amount in rows]
    return pl.DataFrame(dated, schema=SCHEMA, orient="row")


def days(*rows: Line) -> list[int | None]:
    return [None if day is None else (day - date(2024, 1, 1)).days for day in sale_dates(lines(*rows)).to_list()]


def by_hand(rows: list[Line]) -> list[int | None]:
    """The stack spelled out, row by row."""
    stacks: dict[tuple[str, str | None, float], list[int]] = {}
    found: dict[int, int | None] = {}
    for place in sorted(range(len(rows)), key=lambda place: (rows[place][2], -rows[place][3])):
        who, what, day, amount = rows[place]
        stack = stacks.setdefault((who, what, abs(amount)), [])
        if amount > 0:
            stack.append(day)
        elif amount < 0 and stack:
            found[place] = stack.pop()
    return [found.get(place) for place in range(len(rows))]


def test_the_latest_sale_not_yet_reversed() -> None:
    assert days(("a", "p", 0, 5), ("a", "p", 9, 5), ("a", "p", 10, -5), ("a", "p", 11, -5), ("a", "p", 12, -5)) == [
        None,
        None,
        9,
        0,
        None,
    ]


def test_only_the_same_customer_product_and_amount() -> None:
    assert days(("a", "p", 0, 5), ("b", "p", 1, -5), ("a", "q", 1, -5), ("a", "p", 1, -4.99)) == [None] * 4


def test_a_sale_after_the_return_is_not_reversed_by_it() -> None:
    assert days(("a", "p", 5, -5), ("a", "p", 6, 5), ("a", "p", 7, -5)) == [None, None, 6]


def test_a_log_without_products_matches_by_amount() -> None:
    assert days(("a", None, 0, 5), ("a", None, 3, -5)) == [None, 0]


def test_nothing_to_match() -> None:
    assert days(("a", "p", 0, 5)) == [None]
    assert sale_dates(lines()).to_list() == []


LINE = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["p", "q", None]),
    st.integers(0, 30),
    st.sampled_from([-2.0, -1.0, 1.0, 2.0]),
)


@settings(deadline=None)
@given(st.lists(LINE, max_size=40))
def test_as_a_stack_spelled_out(rows: list[Line]) -> None:
    assert days(*rows) == by_hand(rows)


@settings(deadline=None)
@given(st.lists(LINE, max_size=30), st.integers(0, 30))
def test_later_rows_change_nothing_found_before(rows: list[Line], until: int) -> None:
    known = [row for row in rows if row[2] <= until]
    later = [row for row in rows if row[2] > until]
    assert days(*known, *later)[: len(known)] == days(*known)


def test_money_beyond_64_bits_is_matched_too() -> None:
    assert days(("a", "p", 0, 2e15), ("a", "p", 1, 3e15), ("a", "p", 9, -2e15)) == [None, None, 0]
