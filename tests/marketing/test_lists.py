"""Rows, columns and limits of lists."""

import polars as pl
import pytest

from repurchase.errors import InputError
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
        ({"budget": 0.0, "cost_per_contact": 1.0}, "--budget must be above 0. Got 0.0 instead"),
        ({"budget": -5.0, "cost_per_contact": 1.0}, "--budget must be above 0"),
        ({"budget": 5.0}, "--budget needs --cost-per-contact"),
        ({"budget": 5.0, "cost_per_contact": 0.0}, "--cost-per-contact must be above 0"),
        ({"budget": 5.0, "cost_per_contact": 6.0}, "does not pay for one contact"),
        ({"budget": 5.0, "cost_per_contact": 1.0, "length": 3}, "exclude each other"),
        ({"length": 0}, "--length must be 1 or more"),
    ],
)
def test_limits_that_make_no_sense(told: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ListLimit(**told)


def test_a_budget_of_one_contact_is_enough() -> None:
    assert ListLimit(budget=5.0, cost_per_contact=5.0).budget == 5.0


def test_without_money_a_cost_cannot_be_weighed() -> None:
    rows = people([1.0]).with_columns(value_at_risk=pl.lit(None, pl.Float64))
    with pytest.raises(InputError, match="know no money"):
        limit_exclusions(rows, ListLimit(cost_per_contact=1.0), costs={})
    assert limit_exclusions(rows, ListLimit(length=1), costs={}).to_list() == [None]


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
        ({"locale": "xx"}, "locale must be one of en, .*nl, .*Got 'xx' instead"),
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
