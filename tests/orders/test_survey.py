"""What all rows decide is the same however they are split."""

from functools import reduce
from operator import add

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.orders.facts import Facts, Unread
from repurchase.orders.layouts import Layout, recognise
from repurchase.orders.survey import Survey, surveyed_columns
from repurchase.orders.values import read_values
from repurchase.settings import Settings

DATES = ["03/04/2024", "31/12/2024", "12/31/2024", "2024-01-05", "5.6.2024", "45292", "soon", "", None]
AMOUNTS = ["7", "7,50", "1.234,56", "1,234.56", "12.5", "free", "", None]
LAYOUT = recognise(["customer_id", "order_date", "amount"])

rows_of = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(DATES), st.sampled_from(AMOUNTS)), min_size=2
)


def frame(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("customer_id", "order_date", "amount"), pl.String), orient="row")


def decided(survey: Survey, layout: Layout = LAYOUT) -> object:
    try:
        return survey.decide(layout, settings=Settings(), source="orders")
    except OrdersError as fault:
        return str(fault)


@given(rows_of, st.integers(1, 7))
def test_a_survey_of_pieces_is_that_of_the_whole(rows: list[tuple[str | None, ...]], size: int) -> None:
    whole = frame(rows)
    pieces = reduce(add, (Survey.of(piece, LAYOUT) for piece in whole.iter_slices(size)))

    assert decided(pieces) == decided(Survey.of(whole, LAYOUT))


@given(rows_of, st.integers(1, 7))
def test_facts_of_pieces_are_those_of_the_whole(rows: list[tuple[str | None, ...]], size: int) -> None:
    whole = frame(rows)
    settings = Settings(date_order="day_first")
    forms = Survey.of(whole, LAYOUT).decide(LAYOUT, settings=settings, source="orders")

    def facts(piece: pl.DataFrame) -> Facts:
        return read_values(piece, LAYOUT, forms, settings=settings).facts

    together, at_once = reduce(add, map(facts, whole.iter_slices(size))), facts(whole)
    for name in ("n_rows", "n_named", "n_dated", "n_priced", "has_times", "currencies", "offsets"):
        assert getattr(together, name) == getattr(at_once, name), name
    assert together.dates.unread == at_once.dates.unread
    assert together.numbers["amount"].unread == at_once.numbers["amount"].unread


def test_one_value_decides_for_all() -> None:
    many = frame([("a", "03/04/2024", "1.234")] * 500)
    one = frame([("b", "31/12/2024", "7,50")])

    forms = (Survey.of(many, LAYOUT) + Survey.of(one, LAYOUT)).decide(LAYOUT, settings=Settings(), source="orders")

    assert forms.dates.order == "day_first"
    assert forms.numbers["amount"] == "comma"
    assert isinstance(decided(Survey.of(many, LAYOUT)), str)


def test_typed_columns_leave_nothing_to_decide() -> None:
    schema = {"customer_id": pl.Int64(), "order_date": pl.Datetime("us"), "amount": pl.Float64()}

    assert surveyed_columns(schema, LAYOUT) == []
    assert surveyed_columns(schema | {"amount": pl.String()}, LAYOUT) == ["amount"]
    assert surveyed_columns(schema | {"order_date": pl.Int64()}, LAYOUT) == ["order_date"]


@pytest.mark.parametrize(("unread", "refused"), [(2, True), (1, False)])
def test_most_of_the_values_must_be_readable(unread: int, refused: bool) -> None:
    facts = Facts(n_rows=3, n_named=3, n_dated=3, numbers={"amount": Unread(3, unread, ("'free'",))})

    if refused:
        with pytest.raises(OrdersError, match="2 of 3 values in the amount column 'amount' are not numbers: 'free'"):
            facts.require_usable(LAYOUT, source="orders")
    else:
        facts.require_usable(LAYOUT, source="orders")
