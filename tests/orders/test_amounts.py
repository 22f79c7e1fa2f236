"""Money as shops write it."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.orders.amounts import read_numbers


def read(*values: object) -> list[float | None]:
    return read_numbers(pl.Series(list(values)))[0].to_list()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("12.50", 12.5),
        ("€ 12.50", 12.5),
        ("12.50 USD", 12.5),
        ("$1,234.56", 1234.56),
        ("1'234.56", 1234.56),
        ("1.234,56", 1234.56),
        ("1 234,56", 1234.56),
        ("1\u00a0234,56", 1234.56),
        ("12,50 kr", 12.5),
        ("100,-", 100.0),
        ("(12.50)", -12.5),
        ("12.50-", -12.5),
        ("−12,50", -12.5),
        ("1e3", 1000.0),
        ("-0.0", 0.0),
    ],
)
def test_usual_forms(written: str, meant: float) -> None:
    assert read(written) == [meant]


@pytest.mark.parametrize("written", ["free", "", "12.3.4,5", "NaN", "inf", "1e13", "12 pcs of 3"])
def test_what_is_no_amount_is_null(written: str) -> None:
    assert read(written, "1.00")[0] is None


def test_the_whole_column_decides_the_decimal_mark() -> None:
    assert read("1,234", "5,50") == [1.234, 5.5]
    assert read("1,234", "$5.50") == [1234.0, 5.5]
    assert read("1.234", "5,50") == [1234.0, 5.5]


def test_numbers_stay_and_absurd_ones_go() -> None:
    assert read(1, 2, None) == [1.0, 2.0, None]
    assert read(1.5, float("nan"), float("inf"), 2e12) == [1.5, None, None, None]


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1, max_size=20))
def test_either_decimal_mark_gives_the_same_money(amounts: list[object]) -> None:
    english = [f"{amount:,.2f}" for amount in amounts]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    expected = [float(str(amount)) + 0.0 for amount in amounts]
    assert read(*english) == expected
    assert read(*german) == expected
