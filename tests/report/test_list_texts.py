"""Whatever a list may say is said in every language; and English lists are as they were made."""

from datetime import date, timedelta

import polars as pl
import pytest

from repurchase.i18n.catalogues import LOCALES, load_catalogue, use_locale
from repurchase.i18n.messages import translate
from repurchase.marketing import lists, segments
from repurchase.marketing.contacts import DETAILS
from repurchase.marketing.lists import list_settings
from repurchase.models.segments import SEGMENTS
from repurchase.report.record_texts import (
    id_headings,
    render_list_rows,
    translate_contact_faults,
    translate_headings,
)

OTHERS = [name for name in LOCALES if name != "en"]
CHANNELS = [*sorted(set(segments._CHANNELS.values())), "letter", "none"]
WHEN = [
    {"key": "now", "date": None},
    {"key": "any_time", "date": None},
    {"key": "never", "date": None},
    {"key": "on", "date": date(2024, 7, 5)},
    {"key": "by", "date": date(2024, 7, 5)},
]
WHEN_TYPE = pl.Struct({"key": pl.String, "date": pl.Date})
SAID = {
    "segment": [*SEGMENTS, segments.REFILL, segments.NO_HISTORY],
    "action": [*segments._ACTIONS.values(), segments._SURVEY_ACTION],
    "channel": CHANNELS,
    "changed": list(lists.CHANGE_KINDS),
}


@pytest.mark.parametrize("locale", OTHERS)
@pytest.mark.parametrize("column", SAID)
def test_every_word_is_said(locale: str, column: str) -> None:
    rows = pl.DataFrame({column: [*SAID[column], None, "of another version"]})
    with use_locale(locale):
        told = render_list_rows(rows)[column].to_list()
    *known, nothing, other = told
    assert (nothing, other) == (None, "of another version")
    assert set(known) & set(SAID[column]) == ({"e-mail"} if (locale, column) == ("nl", "channel") else set())
    assert len(set(known)) == len(set(SAID[column]))


@pytest.mark.parametrize("locale", LOCALES)
def test_when_is_a_message_with_its_day(locale: str) -> None:
    rows = pl.DataFrame({"when": [*WHEN, {"key": None, "date": None}]}, schema_overrides={"when": WHEN_TYPE})
    with use_locale(locale):
        *texts, nothing = render_list_rows(rows)["when"].to_list()
    assert nothing is None
    assert len(set(texts)) == len(WHEN)
    assert [text for text in texts if "2024" in text] == texts[3:]
    if locale == "ru":
        assert texts[3:] == ["с 5 июля 2024 г.", "не позже 5 июля 2024 г."]


@pytest.mark.parametrize("locale", LOCALES)
def test_what_goes_with_a_product_is_a_message_with_its_figures(locale: str) -> None:
    how = {"key": "share", "relation": "same_brand", "share": 0.31, "lift": 2.4, "customers": 99}
    with use_locale(locale):
        (text,) = render_list_rows(pl.DataFrame({"goes_with_words": [how]}))["goes_with_words"]
        assert translate("products.same_brand") in text
    assert all(figure in text for figure in ("31", "99"))
    assert "2.4" in text or "2,4" in text


def test_flags_and_columns_that_are_not_text() -> None:
    rows = pl.DataFrame({"ask_why": [True, False, None], "reach_on": [date(2024, 7, 5)] * 3, "clv": [1.5, 2.0, None]})
    with use_locale("nl"):
        told = render_list_rows(rows)
    assert told["ask_why"].to_list() == ["ja", "nee", None]
    assert told.drop("ask_why").equals(rows.drop("ask_why"))


@pytest.mark.parametrize("locale", LOCALES)
def test_every_column_has_a_heading(locale: str) -> None:
    columns = {*lists._LIST_COLUMNS, *lists._REFILL_COLUMNS, *DETAILS, "what", "found"}
    start = "lists.column."
    headings = {
        key.removeprefix(start): text for key, text in load_catalogue(locale).messages.items() if key.startswith(start)
    }
    assert set(headings) == columns
    assert len(set(headings.values())) == len(headings)
    with use_locale(locale):
        rules = translate_headings(list_settings({"columns": {"plain": {"clv": "Mine"}}}))
        tool = translate_headings(list_settings({"mail_tool": "klaviyo"}))
    assert rules.names["clv"] == "Mine"
    assert rules.names.get("segment", "segment") == headings["segment"]
    assert headings["customer_id"] in id_headings()
    assert "segment" not in tool.names


@pytest.mark.parametrize("locale", OTHERS)
def test_what_is_to_be_repaired(locale: str) -> None:
    what = [f"{how} {role}" for how in ("no", "invalid") for role in ("email", "phone", "address")]
    what.append("two rows that differ")
    repair = pl.DataFrame({"customer_id": ["1"] * 7, "what": what, "found": ["x"] * 7})
    with use_locale(locale):
        told = translate_contact_faults(repair)
    assert told.columns[0] in id_headings()
    assert not set(told.columns) & set(repair.columns)
    assert not set(told.to_series(1)) & set(what)
    assert told.to_series(1).n_unique() == 7
    assert translate_contact_faults(repair).equals(repair)


def test_every_moment_that_lists_name_is_known() -> None:
    as_of = date(2024, 6, 30)
    n = len(SAID["segment"])
    rows = pl.DataFrame(
        {
            "segment": SAID["segment"],
            "as_of": [as_of] * n,
            "ask_why": [False] * n,
            "first_order_date": [as_of] * n,
            "next_order_date": [as_of + timedelta(days=9), *[None] * (n - 1)],
            "next_order_date_low": [as_of] * n,
            "refill_on": [as_of + timedelta(days=9)] * n,
        },
        schema_overrides={"next_order_date": pl.Date},
    )
    rows = pl.concat([rows, rows.with_columns(next_order_date=pl.col("refill_on"))])
    when = rows.select(when=segments.contact_timing(None, refills=True)[1])
    assert when["when"].n_unique() >= 4
    with use_locale("nb"):
        assert render_list_rows(when)["when"].n_unique() == when["when"].n_unique()
