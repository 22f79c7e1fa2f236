"""CSV of a locale, and cells that no spreadsheet runs."""

import csv
import io
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.i18n.catalogues import LOCALES
from repurchase.marketing.csv_export import csv_bytes, csv_format, unescape_formulas


@pytest.mark.parametrize("name", LOCALES)
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
