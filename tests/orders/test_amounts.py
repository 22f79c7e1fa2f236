"""Money as shops write it."""

import pickle
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Literal

import polars as pl
import pytest
from babel.numbers import format_currency, format_decimal
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.orders.amounts import NumberEvidence, currency_of, exact_units, read_numbers


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
        ("1.234,-", 1234.0),
        ("249.-", 249.0),
        ("kr 100,--", 100.0),
        ("1.234.567", 1234567.0),
        ("12,34,567.50", 1234567.5),
        ("₹1,19,691.00", 119691.0),
        ("1\u202f234\u202f567,8", 1234567.8),
        ("1\u2009234,56 €", 1234.56),
        ("1’234.50 CHF", 1234.5),
        ("١٬٢٣٤٫٥٠", 1234.5),
        ("１２３．５０", 123.5),
        ("($1,234.50)", -1234.5),
        ("$-12.50", -12.5),
        ("-€12.50", -12.5),
        ("12.50 EUR-", -12.5),
        ("+12.5", 12.5),
        ("1 990 руб.", 1990.0),
        ("68,86 р.", 68.86),
        ("A$12.50", 12.5),
        ("12 345 Ft", 12345.0),
        ("¥1,234.5", 1234.5),
        ("1980.5円", 1980.5),
        ("12.50 د.إ", 12.5),
        ("Rs.1,234.50", 1234.5),
        ("€uro 12,50", 12.5),
        ("149,90 грн", 149.9),
        ('="68.86"', 68.86),
        ("'68.86", 68.86),
        ("1,2E+3", 1200.0),
        ("0.395", 0.395),
        (",50", 0.5),
    ],
)
def test_usual_forms(written: str, meant: float) -> None:
    assert read(written) == [meant]


@pytest.mark.parametrize(
    "written",
    [
        *("free", "", "12.3.4,5", "NaN", "inf", "1e13", "12 pcs of 3", "12 pcs", "12 %", "3x4", "12/2024", "12:50"),
        *("22.06.2024", "2024-06-22", "12 34", "1.23,45", "--5", "12⁵⁰ €", "½", "C1234", "1234A", "(5", "$", "5+-"),
    ],
)
def test_what_is_no_amount_is_null(written: str) -> None:
    assert read(written, "1.00")[0] is None


def test_the_whole_column_decides_the_decimal_mark() -> None:
    assert read("1,234", "5,50") == [1.234, 5.5]
    assert read("1,234", "$5.50") == [1234.0, 5.5]
    assert read("1.234", "5,50") == [1234.0, 5.5]


def test_three_digits_after_every_mark_are_asked_about() -> None:
    with pytest.raises(OrdersError) as caught:
        NumberEvidence.of(pl.Series(["23.938", "12.395"])).decide(column="Sum", source="orders.csv")
    assert str(caught.value) == (
        "orders.csv: the numbers in 'Sum' can be read in two ways: '12.395' is 12.395 if the point is the decimal "
        "mark, or 12,395 if it separates thousands, and none of 2 rows decides. Say which is the decimal mark: "
        "--decimal-mark point or --decimal-mark comma."
    )
    for texts in (["12,395", "1,500"], ["$12.395", "$23.938"], ["12.395", "4,518"], ["12.395", "1234"]):
        with pytest.raises(OrdersError, match="two ways"):
            read(*texts)


@pytest.mark.parametrize("texts", [["12.395"], ["12,395"]])
def test_the_setting_answers(texts: list[str]) -> None:
    evidence = NumberEvidence.of(pl.Series(texts))
    marks: tuple[Literal["point", "comma"], ...] = ("point", "comma")
    found = [
        read_numbers(pl.Series(texts), number_format=evidence.decide(decimal_mark=mark))[0].item() for mark in marks
    ]
    assert found == ([12.395, 12395.0] if "." in texts[0] else [12395.0, 12.395])
    assert NumberEvidence.of(pl.Series([*texts, "5.5"])).decide(decimal_mark="comma").mark != "comma"


def test_what_tells_thousands_from_decimals() -> None:
    assert read("12.395", "500", "7.120") == [12395.0, 500.0, 7120.0]  # small amounts have no mark
    assert read("12,395", "$500", "7,120") == [12395.0, 500.0, 7120.0]
    assert read("12.395", "1.234.567") == [12395.0, 1234567.0]
    assert read("12.395", "1.234,-") == [12395.0, 1234.0]
    assert read("12.395", "7.1") == [12.395, 7.1]  # a zero at the end is left out
    assert read("12.395", "0.120") == [12.395, 0.12]
    assert read(*["12.395", "500"] * 50, "5.5")[:2] == [12395.0, 500.0]  # one slip does not make decimals


def test_slips_do_not_turn_a_column_round() -> None:
    assert read(*["1.50"] * 99, "2,50")[-2:] == [1.5, None]
    with pytest.raises(
        OrdersError, match=r"in 98 rows the point is the decimal mark, such as '1\.50', and in 2 the comma"
    ):
        read(*["1.50"] * 98, "2,50", "2,50")
    told = NumberEvidence.of(pl.Series(["1.50", "2,50"])).decide(decimal_mark="comma")
    assert read_numbers(pl.Series(["1.50", "2,50"]), number_format=told)[0].to_list() == [None, 2.5]


def test_a_file_that_cannot_tell_follows_the_others() -> None:
    silent, comma = (NumberEvidence.of(pl.Series([text])) for text in ("12.395", "12,50"))
    assert silent.decide(all_files=silent + comma).mark == "comma"
    assert silent.decide(all_files=silent + NumberEvidence.of(pl.Series(["7.1"]))).mark == "plain"
    with pytest.raises(OrdersError, match="two ways"):
        silent.decide(all_files=silent + silent)


def test_a_word_that_stands_everywhere_is_no_part_of_the_number() -> None:
    assert read(*["12 шт."] * 9, "n/a", "3 kg") == [12.0] * 9 + [None, None]
    assert read(*["12 шт."] * 4) == [None] * 4  # too few to know


def test_sides_of_an_account() -> None:
    assert read("5.00 CR", "7.00", "8.00 DR") == [-5.0, 7.0, 8.0]
    assert read("5.00 CR", "7.00 Cr.", "8.00 DR") == [5.0, 7.0, -8.0]


def test_currencies_are_counted() -> None:
    texts = ["5 USD", "US$6", "7,50 €", "8 EUR", "9 kr", "10", "11 шт", "руб. 12"]
    evidence = NumberEvidence.of(pl.Series(texts))
    assert evidence.currencies == {"USD": 2, "EUR": 2, "kr": 1, "RUB": 1}
    assert evidence.words == {"шт": 1}
    assert [currency_of(word) for word in ("$", "¥", "NT$", "zł", "₺", "лв.", "ALL", "all", "x")] == [
        *("$", "¥", "TWD", "PLN", "TRY", "BGN", "ALL", None, None)
    ]


def test_sums_beyond_64_bits_are_exact() -> None:
    assert exact_units(pl.Series([9e14] * 3 + [0.01, None, float("nan")])) == 27 * 10**18 + 100
    assert exact_units(pl.Series([1e24, -1e24, 0.5])) == 5000
    assert exact_units(pl.Series([], dtype=pl.Float64)) == 0


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


LOCALES = (
    "en",
    "de",
    "fr",
    "es",
    "nl",
    "nb",
    "sv",
    "da",
    "ru",
    "pl",
    "pt",
    "it",
    "de_CH",
    "en_IN",
    "ja",
    "hu",
    "ar_EG",
)
CURRENCIES = ("EUR", "USD", "NOK", "RUB", "PLN", "INR", "CHF", "HUF", "JPY", "AED", "BRL")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20),
    st.sampled_from(LOCALES),
    st.sampled_from((*CURRENCIES, None)),
)
def test_money_in_the_writing_of_a_locale(cents: list[int], locale: str, currency: str | None) -> None:
    numbers = [number / 100 for number in cents]
    pattern = "#,##,##0.00" if locale == "en_IN" else "#,##0.00"
    written = [
        format_decimal(number, pattern, locale=locale, numbering_system="default")
        if currency is None
        else format_currency(
            number, currency, locale=locale, currency_digits=False, format=pattern + " ¤", numbering_system="default"
        )
        for number in numbers
    ]
    assert read(*written) == [number + 0.0 for number in numbers]


TEXTS = (
    "12.395",
    "7,120",
    "500",
    "1234",
    "1.5",
    "2,5",
    "5 USD",
    "6 €",
    "7 шт",
    "5 CR",
    "6 DR",
    "soon",
    "",
    None,
    "0.5",
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(TEXTS), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_evidence_adds_up_over_any_split(texts: list[str | None], cuts: list[int]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    edges = [0, *sorted(cut for cut in cuts if cut < len(texts)), len(texts)]
    parts = [NumberEvidence.of(column[a:b]) for a, b in pairwise(edges)]
    whole = NumberEvidence.of(column)
    assert reduce(add, parts, NumberEvidence()) == whole == reduce(add, reversed(parts), NumberEvidence())
    assert pickle.loads(pickle.dumps(whole)) == whole


def test_evidence_stays_small() -> None:
    words = pl.Series([f"5 {first}{second}" for first in "абвгдежзик" for second in "абвгдежзик"])
    halves = NumberEvidence.of(words[:50]), NumberEvidence.of(words[50:])
    assert all(len(half.words or {}) == 50 for half in halves)
    assert (halves[0] + halves[1]).words is None
    assert NumberEvidence.of(words).words is None
