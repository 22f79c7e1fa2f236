"""Customers leave a file; every other byte of a list, and every other value of a table, stays."""

import gzip

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.jobs.forget_files import ids_in_page, ids_in_table, list_without, scores_of_page, stage_table_without

LIST = 'Name;Kunde;City\r\n"Olsen; Kari";17;Bø\r\n"two\r\nlines";8;"17"\r\nBerg;17.0;Ål\r\n;9;\r\n'
KEPT = 'Name;Kunde;City\r\n"two\r\nlines";8;"17"\r\n;9;\r\n'
TOLD = {"customer_id": "Kunde"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_list_keeps_encoding_delimiter_and_every_other_line(tmp_path, encoding, zipped):
    path = tmp_path / "list.csv"
    content = LIST.encode(encoding)
    path.write_bytes(gzip.compress(content) if zipped else content)

    left, found = list_without(path, {"17"}, column_map=TOLD)

    assert found == {"17": 2}
    assert (gzip.decompress(left) if zipped else left) == KEPT.encode(encoding)


def test_a_list_with_a_line_that_names_its_delimiter(tmp_path):
    (tmp_path / "list.csv").write_text("sep=;\ncustomer_id;n\n1;2\n2;1")

    left, found = list_without(tmp_path / "list.csv", {"2"}, column_map={})

    assert (left, found) == (b"sep=;\ncustomer_id;n\n1;2\n", {"2": 1})


def test_a_parquet_list_keeps_types(tmp_path):
    rows = pl.DataFrame({"customer_id": [17.0, 8.0, None], "since": [1, 2, 3]})
    rows.write_parquet(tmp_path / "list.parquet")

    left, found = list_without(tmp_path / "list.parquet", {"17"}, column_map={})

    assert found == {"17": 1}
    assert pl.read_parquet(left).equals(rows[1:])


@pytest.mark.parametrize("content", [b"PAR1 damaged", b"\x1f\x8b damaged", b"name\nKari\n"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "list.csv").write_bytes(content)

    with pytest.raises(InputError, match=r"list\.csv"):
        list_without(tmp_path / "list.csv", {"17"}, column_map={})


@pytest.mark.parametrize("content", [b"", b"sep=;\n"])
def test_an_empty_list_names_nobody(tmp_path, content):
    (tmp_path / "list.csv").write_bytes(content)

    assert list_without(tmp_path / "list.csv", {"17"}, column_map={}) == (content, {})


TABLE = pl.DataFrame(
    {
        "customer_id": ["17", "17.0", " anna@shop.no", "", None, "8"],
        "amount": [0.1 + 0.2, 1e-300, -0.0, 5.0, None, 1.0],
        "words": ['say "a, b"', "", None, "line\nbreak", "x", " y "],
    }
)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_table_keeps_every_other_row_column_and_type(tmp_path, ending):
    path, staged = tmp_path / f"table{ending}", tmp_path / f"staged{ending}"
    write = pl.DataFrame.write_csv if ending == ".csv" else pl.DataFrame.write_parquet
    write(TABLE, path)
    write(TABLE.filter(pl.Series([False, False, False, True, True, True])), tmp_path / f"wanted{ending}")

    found = ids_in_table(path, "customer_id", {"17", "anna@shop.no", "9"})
    rows = stage_table_without(path, "customer_id", {"17", "anna@shop.no", "9"}, staged)

    assert found == {"17": 2, "anna@shop.no": 1}
    assert rows == 3
    if ending == ".csv":
        assert staged.read_bytes() == (tmp_path / "wanted.csv").read_bytes()
    else:
        assert pl.read_parquet(staged).equals(pl.read_parquet(tmp_path / "wanted.parquet"))


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 damaged")
    pl.DataFrame({"who": ["1"]}).write_csv(tmp_path / "t.csv")

    for name in ("t.parquet", "t.csv"):
        with pytest.raises(InputError, match="cannot be read, so nobody can be taken out of it"):
            ids_in_table(tmp_path / name, "customer_id", {"1"})


def test_a_page_of_ours_is_told_from_others(tmp_path):
    row = '<tr role="row"><th role="rowheader" scope="row">{}</th>'
    title = "<title>Who will buy again – 1 May 2024</title>"
    meta = '<meta name="repurchase-scores" content="a&amp;b/scores">'
    (tmp_path / "ours.html").write_text(f"{title}\n{meta}\n{row.format('a&amp;b')}{row.format('17')}")
    (tmp_path / "before.html").write_text(title)
    (tmp_path / "other.html").write_text("<title>Something else</title>")

    assert scores_of_page(tmp_path / "ours.html") == "a&b/scores"
    assert scores_of_page(tmp_path / "before.html") == ""
    assert scores_of_page(tmp_path / "other.html") is None
    assert ids_in_page(tmp_path / "ours.html", {"a&b", "9"}) == ["a&b"]
