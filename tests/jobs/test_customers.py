"""A list of customers, as people keep it."""

from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.jobs.customer_lists import read_customers


@pytest.fixture
def write(tmp_path):
    def write(text: str, *, encoding: str = "utf-8") -> Path:
        path = tmp_path / "list.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_ids_are_spelled_as_among_orders(write):
    listed = read_customers(write("customer_id,city\n13085.0,Oslo\n 7 ,Bergen\n"), column_map={})

    assert listed.rows.rows() == [("13085", "Oslo"), ("7", "Bergen")]


def test_the_first_row_of_a_customer_counts_and_the_rest_are_named(write):
    listed = read_customers(write("customer_id,city\n7,Oslo\n8,Bergen\n7.0,Hamar\n7,Bodø\n"), column_map={})

    assert listed.rows["city"].to_list() == ["Oslo", "Bergen"]
    assert listed.duplicates == ("7",)


def test_rows_without_an_id_are_counted(write):
    listed = read_customers(write("customer_id,city\n7,Oslo\n,Bergen\n"), column_map={})

    assert listed.without_id == 1
    assert listed.rows.height == 1


@pytest.mark.parametrize("heading", ["customer_id", "Customer ID", "CustomerID", "id", "Kunde"])
def test_the_column_of_ids_is_found_by_name(write, heading):
    listed = read_customers(write(f"city,{heading}\nOslo,7\n"), column_map={"customer_id": "Kunde"})

    assert listed.rows.columns == ["customer_id", "city"]
    assert listed.rows["customer_id"].to_list() == ["7"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_any_usual_encoding_and_delimiter(write, encoding):
    listed = read_customers(write("customer_id;city\n7;Bodø\n8;Ålesund\n", encoding=encoding), column_map={})

    assert listed.rows["city"].to_list() == ["Bodø", "Ålesund"]


def test_numbers_in_parquet(tmp_path):
    pl.DataFrame({"customer_id": [13085.0, None, 7.0], "weight": [1, 2, 3]}).write_parquet(tmp_path / "list.parquet")

    listed = read_customers(tmp_path / "list.parquet", column_map={})

    assert listed.rows["customer_id"].to_list() == ["13085", "7"]
    assert listed.without_id == 1


def test_a_further_column_of_the_same_name_is_kept_under_another(write):
    listed = read_customers(write("Kunde,customer_id\n7,x\n"), column_map={"customer_id": "Kunde"})

    assert listed.rows.rows(named=True) == [{"customer_id": "7", "list_customer_id": "x"}]


@pytest.mark.parametrize("name", ["Kundenummer", "kunde-nr", "Kunde", "Klantnummer", "Klant ID", "Номер покупателя"])
def test_the_column_of_ids_in_other_languages(write, name):
    assert read_customers(write(f"Email,{name}\na@shop.example,7\n"), column_map={}).rows["customer_id"].to_list() == [
        "7"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("city,weight\nOslo,1\n", "no column of customer ids. Found: city, weight"),
        ("customer_id,city\n,Oslo\n,Bergen\n", "2 rows, and not one id in column 'customer_id'"),
        ("customer_id,city\n", r"a heading but no rows below it\. Found the columns customer_id, city\."),
        ("", "empty"),
    ],
)
def test_what_cannot_be_used_is_refused(write, text, says):
    with pytest.raises(InputError, match=says):
        read_customers(write(text), column_map={})
