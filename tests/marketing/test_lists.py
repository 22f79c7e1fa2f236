"""Rows, money and cells of lists."""

import csv
import io
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.errors import InputError
from repurchase.marketing.csv_export import CSV_FORMATS, csv_bytes, csv_format, unescape_formulas
from repurchase.marketing.lists import ListLimit, ListSettings, export_columns, limit_exclusions, list_settings


def people(gains: list[float], channels: list[str] | None = None) -> pl.DataFrame:
    n = len(gains)
    return pl.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(n)],
            "channel": channels or ["e-mail"] * n,
            "weight": gains,
            "value_at_risk": gains,
        }
    )


def test_a_budget_goes_to_the_highest_gain() -> None:
    why = limit_exclusions(people([1.0, 9.0, 5.0, 0.4, 7.0]), ListLimit(budget=2.0, cost_per_contact=1.0), costs={})
    assert why.to_list() == [
        "costs_more_than_it_brings",
        None,
        "beyond_the_budget",
        "costs_more_than_it_brings",
        None,
    ]


def test_a_budget_weighs_gain_against_the_cost_of_the_channel() -> None:
    rows = people([12.0, 5.0, 4.0], ["phone", "e-mail", "e-mail"])
    why = limit_exclusions(rows, ListLimit(budget=4.0, cost_per_contact=2.0), costs={"phone": 10.0})
    assert why.to_list() == ["beyond_the_budget", None, None]


def test_a_length_takes_the_highest_gain() -> None:
    why = limit_exclusions(people([1.0, 9.0, 5.0]), ListLimit(length=2), costs={})
    assert why.to_list() == ["beyond_the_length", None, None]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"budget": 0.0, "cost_per_contact": 1.0}, "--budget must be money above 0. Got 0 instead"),
        ({"budget": -5.0, "cost_per_contact": 1.0}, "--budget must be money above 0"),
        ({"budget": 5.0}, "--budget needs --cost-per-contact"),
        ({"budget": 5.0, "cost_per_contact": 0.0}, "--cost-per-contact must be money above 0"),
        ({"budget": 5.0, "cost_per_contact": 6.0}, "does not pay for one contact"),
        ({"budget": 5.0, "cost_per_contact": 1.0, "length": 3}, "exclude each other"),
        ({"length": 0}, "--length must be 1 or more"),
    ],
)
def test_limits_that_make_no_sense(told: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ListLimit(**told)


def test_without_money_a_cost_cannot_be_weighed() -> None:
    rows = people([1.0]).with_columns(value_at_risk=pl.lit(None, pl.Float64))
    with pytest.raises(InputError, match="know no money"):
        limit_exclusions(rows, ListLimit(cost_per_contact=1.0), costs={})
    assert limit_exclusions(rows, ListLimit(length=1), costs={}).to_list() == [None]


@pytest.mark.parametrize("name", CSV_FORMATS)
def test_a_file_of_a_locale(name: str) -> None:
    locale = csv_format(name)
    rows = pl.DataFrame(
        {
            "id": ["007", 'a"b', "c;d,e"],
            "money": [-12.5, 1234.016, None],
            "day": [date(2024, 1, 31), None, None],
            "ask": [True, False, None],
            "n": [1, -2, None],
        }
    )
    content = csv_bytes(rows, locale)
    assert content.startswith(b"\xef\xbb\xbf")
    read = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=locale.separator))
    mark = "," if name != "en" else "."
    assert read == [
        ["id", "money", "day", "ask", "n"],
        ["007", f"-12{mark}50", "2024-01-31", "yes", "1"],
        ['a"b', f"1234{mark}02", "", "no", "-2"],
        ["c;d,e", "", "", "", ""],
    ]


def test_mail_tools_have_separators_of_their_own() -> None:
    content = csv_bytes(pl.DataFrame({"phone": ["+4790012345"], "x": [1.5]}), csv_format("nb", mail_tool="klaviyo"))
    assert content == b"phone,x\r\n'+4790012345,1.50\r\n"
    as_is = csv_bytes(
        pl.DataFrame({"phone": ["+4790012345"]}), csv_format("nb", mail_tool="klaviyo"), checked=["phone"]
    )
    assert as_is == b"phone\r\n+4790012345\r\n"


@given(st.text(max_size=12), st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "\n", "\x00", " =", "＝", "'", '"']))
def test_no_cell_begins_a_formula(text: str, begin: str) -> None:
    content = csv_bytes(pl.DataFrame({"first": [begin + text], "name": [begin + text]}), csv_format("nb"))
    read = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert len(read) <= 2  # no cell breaks a line
    for cell in read[1] if len(read) > 1 else []:
        number = cell.lstrip("-").replace(",", ".", 1).replace(".", "", 1)
        assert not cell.startswith(("=", "+", "@", "\t", "\r", "＝"))
        assert not cell.startswith("-") or number.isdigit()


@pytest.mark.parametrize("locale", ["en", "nb"])
@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("text", ["x;=1+1", "x,=1+1", "x|@sum", "x\t=1+1", 'x;"=1+1"', "x;+1", "=a;=b"])
def test_no_cell_begins_a_formula_under_another_separator(text: str, separator: str, locale: str) -> None:
    content = csv_bytes(pl.DataFrame({"id": ["1"], "name": [text]}), csv_format(locale)).decode("utf-8-sig")
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    assert not [cell for row in rows for cell in row if cell.lstrip('"').startswith(("=", "+", "-", "@"))]


def test_ids_are_found_as_lists_spell_them() -> None:
    spelled = pl.Series(["1", "'=1", "x;'=2", "a-b", "'17"])
    assert unescape_formulas(spelled).to_list() == ["1", "=1", "x;=2", "a-b", "'17"]


def test_columns_are_named_as_the_tool_wants_them() -> None:
    rows = pl.DataFrame(
        {"customer_id": ["1"], "email": ["a@x.no"], "segment": ["lost"], "when": ["now"], "weight": [1.0]}
    )
    assert export_columns(rows, ListSettings()).columns == ["customer_id", "email", "segment", "when"]
    assert export_columns(rows, ListSettings(mail_tool="mailchimp")).columns[0] == "Email Address"
    told = {"columns": {"klaviyo": {"segment": "Segment", "when": ""}}, "mail_tool": "klaviyo"}
    assert export_columns(rows, list_settings(told)).columns == ["Email", "customer_id", "Segment"]
    with pytest.raises(InputError, match="two columns would have one name"):
        export_columns(rows, list_settings({"columns": {"plain": {"segment": "when"}}}))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"locale": "xx"}, "unknown locale or out of range: it must be one of en, nb, nl, ru. Got 'xx'"),
        ({"mail_tool": "pigeon"}, "one of plain, klaviyo, mailchimp"),
        ({"margin": 0}, "margin"),
        ({"effect": 1.5}, "effect"),
        ({"costs": {"phone": -1}}, "costs"),
        ({"columns": {"pigeon": {}}}, "columns"),
        ({"contacts": {"email": 3}}, "contacts"),
        ({"contacted_within_days": -1}, "contacted_within_days"),
        ({"colour": "red"}, r"\[lists\]: unknown: colour"),
    ],
)
def test_rules_that_cannot_be(told: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        list_settings(told)
