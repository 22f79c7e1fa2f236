"""The table of columns: in every language, with its number marks, escaped, and absent where it is not known."""

import json
from typing import Any

import polars as pl
import pytest

from repurchase.i18n.catalogues import LOCALES, load_catalogue, use_locale
from repurchase.orders.layout import Fact, ReadingDecision, RoleDecision
from repurchase.report import charts
from repurchase.report.page import build_report
from repurchase.report.run_sections import reading_rows
from repurchase.storage.run_records import find_run_record_fault


def recorded(decision: ReadingDecision) -> dict[str, Any]:
    """What a record holds of it."""
    return {"reading": json.loads(json.dumps(decision.to_dict()))}


def test_columns_are_told_in_norwegian(record: dict[str, Any]) -> None:
    with use_locale("nb"):
        shown = reading_rows(record["orders"])
    assert shown is not None
    customer, order, money, status = shown["roles"]
    assert (customer["name"], customer["column"]) == ("Kunde", "E-post")
    assert customer["reasons"] == [
        "gjenkjent på navnet",
        "også vurdert: Navn",
        "«Kundenr» er ikke brukt: «0» på 1 av 2\xa0000 rader står ikke for noen kunde",
    ]
    assert order["column"] == ""
    assert money["reasons"][1] == "den samme på alle linjer i 99,5\xa0% av 21 ordrer med flere linjer"
    assert status["reasons"] == [
        "salg (ordrer): Betalt (12\xa0345), Sendt (1), S0 (1), S1 (1), S2 (1), S3 (1), S4 (1), S5 (1), 2 til"
    ]
    assert shown["ignored"] == [{"column": "Refusjonsnotat", "why": "kan inneholde refusjoner"}]


def test_russian_counts_orders_as_russian_does(record: dict[str, Any]) -> None:
    with use_locale("ru"):
        shown = reading_rows(record["orders"])
    assert shown is not None
    assert shown["roles"][2]["reasons"][1].endswith("из 21 заказа с несколькими строками")


@pytest.mark.parametrize("known", [{}, {"reading": None}, {"reading": {"roles": [], "ignored": []}}])
def test_records_without_a_decision_have_no_table(known: dict[str, Any]) -> None:
    assert reading_rows(known) is None


def test_a_fact_of_another_version_is_shown_by_its_key() -> None:
    role = RoleDecision("loyalty", "Card", Fact("card_number"), (Fact("placeholder", {"value": "0"}),))
    shown = reading_rows(recorded(ReadingDecision((role,))))
    assert shown is not None
    (row,) = shown["roles"]
    assert (row["name"], row["meaning"], row["reasons"]) == ("loyalty", "card_number", ["placeholder"])


def test_the_page_shows_and_escapes_what_the_shop_wrote(
    scored: pl.DataFrame, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    attack = "<script>alert(1)</script>"
    facts = (Fact("status_sale", {"statuses": [[attack, 3]]}),)
    role = RoleDecision("status", attack, Fact("dates_and_times", {"column": attack}), facts, ((attack, facts[0]),))
    del run["orders"]["reading"]
    before = build_report(scored, run)
    run["orders"] |= recorded(ReadingDecision((role,), ((attack, Fact("unused_test")),)))
    assert find_run_record_fault(run) is None
    page = build_report(scored, run)
    assert attack not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 6
    assert "How the columns of the export were read" in page
    assert "How the columns of the export were read" not in before


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("roles", "all"),
        ("ignored", [{"column": "x"}]),
        ("roles.0.column", 3),
        ("roles.0.meaning", "customer"),
        ("roles.3.evidence.0.params.statuses", [["paid", "many"]]),
        ("roles.3.evidence.0.params.statuses", ["paid"]),
    ],
)
def test_an_edited_decision_is_named(run: dict[str, Any], place: str, value: object) -> None:
    assert find_run_record_fault(run) is None
    *path, last = place.split(".")
    inner: Any = run["orders"]["reading"]
    for name in path:
        inner = inner[int(name) if name.isdecimal() else name]
    inner[last] = value
    assert str(find_run_record_fault(run)).startswith("orders.reading.")


def test_every_language_has_words_for_every_fact_and_role() -> None:
    names = [key.split(".") for key in load_catalogue("en").messages if key.startswith("reading.")]
    for name in LOCALES:
        with use_locale(name):
            for key in [name for _, kind, name in names if kind == "fact"]:
                role = RoleDecision("money", "a", Fact(key, dict.fromkeys(PARAMS, 2)))
                shown = reading_rows(recorded(ReadingDecision((role,))))
                assert shown is not None
                assert shown["roles"][0]["meaning"] != key
            for key in [name for _, kind, name in names if kind == "role"]:
                shown = reading_rows(recorded(ReadingDecision((RoleDecision(key, "a", Fact("named")),))))
                assert shown is not None
                assert shown["roles"][0]["name"] != key


PARAMS = (
    "column",
    "option",
    "quantity",
    "count",
    "share",
    "orders",
    "rows",
    "total",
    "value",
    "statuses",
    "types",
    "currencies",
)
