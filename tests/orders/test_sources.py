"""What can be read, and the one line that each unreadable log gets."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError, LayoutError, OrdersError
from repurchase.i18n.messages import render
from repurchase.orders.layout import FILE_COLUMN
from repurchase.orders.log import read_orders
from repurchase.settings import Settings


def texts(messages):
    return [render(one, locale="en") for one in messages]


HEADING = "customer_id,order_id,order_date,amount"
ROWS = ("a,1,2024-01-31,10.50", "b,2,2024-02-01,20.00", "a,3,2024-02-29,5.25")
WHOLE = "\n".join((HEADING, *ROWS)) + "\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(source: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        read_orders(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", WHOLE),
        ("crlf.csv", WHOLE.replace("\n", "\r\n")),
        ("no_last_line_end.csv", WHOLE.rstrip("\n")),
        ("semicolons.csv", WHOLE.replace(",", ";")),
        ("told_to_excel.csv", "sep=;\n" + WHOLE.replace(",", ";")),
        ("tabs.tsv", WHOLE.replace(",", "\t")),
        ("bars.txt", WHOLE.replace(",", "|")),
        ("blanks.txt", "\n".join("  " + line.replace(",", "   ") for line in WHOLE.splitlines())),
        ("bom.csv", WHOLE.encode("utf-8-sig")),
        ("utf16.csv", WHOLE.encode("utf-16")),
        ("utf16_without_mark.csv", WHOLE.encode("utf-16-le")),
        ("zipped.csv.gz", gzip.compress(WHOLE.encode(), mtime=0)),
        ("zipped_by_content.csv", gzip.compress(WHOLE.encode(), mtime=0)),
        ("old_mac.csv", WHOLE.replace("\n", "\r")),
        ("blank_lines.csv", "\n" + WHOLE.replace("\n", "\n\n") + "\n\n"),
        ("delimiter_at_line_ends.csv", WHOLE.replace("\n", ",\n")),
        ("quoted.csv", WHOLE.replace("a,1", '"a","1"')),
    ],
)
def test_every_usual_form_gives_the_same_rows(tmp_path: Path, name: str, content: str | bytes) -> None:
    raw = read_orders(write(tmp_path, name, content))
    assert raw.rows.columns == HEADING.split(",")
    assert raw.rows.rows() == [tuple(line.split(",")) for line in ROWS]


@pytest.mark.parametrize(("codec", "said"), [("cp1252", "Windows-1252"), ("utf-16", "UTF-16"), ("latin-1", "Latin-1")])
def test_other_encodings_are_read_and_said(tmp_path: Path, codec: str, said: str) -> None:
    path = write(tmp_path, "orders.csv", "customer_id,order_date,Beløp\nBjørn,2024-01-31,10\n".encode(codec))
    raw = read_orders(path, settings=Settings(columns={"amount": "Beløp"}))
    assert raw.rows["customer_id"].to_list() == ["Bjørn"]
    assert any(said in note for note in texts(raw.notes))


def test_bytes_unknown_to_windows_are_read_as_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", b"customer_id,order_date\nB\xf8rge\x81,2024-01-31\n")
    assert read_orders(path).rows.height == 1


def test_parquet_stays_typed(tmp_path: Path) -> None:
    frame = pl.DataFrame({"customer_id": [1.0], "order_date": ["2024-01-01"], "amount": [2.5]})
    frame.write_parquet(tmp_path / "orders.parquet")
    assert read_orders(tmp_path / "orders.parquet").rows.equals(frame)


def test_lists_in_parquet_are_left_out_and_said(tmp_path: Path) -> None:
    frame = pl.DataFrame({"customer_id": ["a"], "order_date": ["2024-01-01"], "amount": [2.5], "tags": [["x", "y"]]})
    frame.write_parquet(tmp_path / "orders.parquet")
    raw = read_orders(tmp_path / "orders.parquet")
    assert "tags" not in raw.rows.columns
    assert texts(raw.notes) == ["orders.parquet: columns of lists and records were left out: tags."]


def test_brackets_in_a_name_are_no_pattern(tmp_path: Path) -> None:
    assert read_orders(write(tmp_path, "orders[1].csv", WHOLE)).rows.height == 3


def test_a_folder_and_a_glob_are_one_log(tmp_path: Path) -> None:
    (tmp_path / "year=2024").mkdir()
    write(tmp_path, "b.csv", WHOLE)
    write(tmp_path / "year=2024", "a.csv", "amount,order_date,order_id,customer_id\n1,2024-03-01,9,z\n")
    write(tmp_path, "readme.md", "nothing")
    write(tmp_path, ".hidden.csv", "nothing")
    folder = read_orders(tmp_path)
    assert folder.rows.height == 4
    assert folder.rows.row(3) == ("z", "9", "2024-03-01", "1", 1)
    assert folder.rows[FILE_COLUMN].to_list() == [0, 0, 0, 1]
    assert [Path(file.path).name for file in folder.files] == ["b.csv", "a.csv"]
    assert any("readme.md" in note for note in texts(folder.notes))
    assert read_orders(str(tmp_path / "*.csv")).rows.height == 3
    assert read_orders(str(tmp_path / "**" / "a.*")).rows.height == 1


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    first = read_orders(write(tmp_path, "a.csv", WHOLE)).digest
    assert read_orders(write(tmp_path, "b.csv", WHOLE)).digest == first
    assert read_orders(write(tmp_path, "c.csv", WHOLE.replace("10.50", "10.51"))).digest != first


def test_files_of_unlike_types_are_joined_as_text(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", WHOLE)
    typed = pl.DataFrame({"customer_id": [7], "order_id": [8], "order_date": ["2024-01-01"], "amount": [1.5]})
    typed.write_parquet(tmp_path / "b.parquet")
    assert read_orders(tmp_path).rows.drop(FILE_COLUMN).row(3) == ("7", "8", "2024-01-01", "1.5")


def test_line_breaks_within_quotes_are_not_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path, "notes.csv", 'customer_id,order_date,note\na,2024-01-31,"two\nlines"\nb,2024-01-31,"1,5"" wide"\n'
    )
    assert read_orders(path).rows["note"].to_list() == ["two\nlines", '1,5" wide']


def test_an_inch_mark_is_not_an_open_quotation(tmp_path: Path) -> None:
    path = write(tmp_path, "screens.csv", 'customer_id,order_date,item\na,2024-01-31,15" screen\nb,2024-01-31,lamp\n')
    assert read_orders(path).rows.height == 2


def test_short_lines_are_a_habit_where_they_are_not_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "short.csv", "customer_id,order_date,amount,note\na,2024-01-31,1\nb,2024-01-31,2\n")
    assert read_orders(path).rows["note"].null_count() == 2


def test_an_empty_file(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", "")
    assert refusal(path) == f"{path}: the file is empty. Expected a heading line and one line per order."


def test_a_heading_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", HEADING + "\n")
    found = "customer_id, order_id, order_date, amount"
    assert refusal(path) == f"{path}: a heading but no rows below it. Found the columns {found}."


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    pl.DataFrame({"customer_id": [], "order_date": []}).write_parquet(path)
    assert refusal(path) == f"{path}: columns but no orders. Found the columns customer_id, order_date."


def test_no_such_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "orders_2024.csv", WHOLE)
    path = tmp_path / "order_2024.csv"
    assert refusal(path) == f"{path}: no such file or folder. Did you mean orders_2024.csv?"


def test_no_file_matches_the_pattern(tmp_path: Path) -> None:
    pattern = str(tmp_path / "*.csv")
    assert refusal(pattern) == f"{pattern}: no file matches. Check the pattern, and put it in quotation marks."


def test_a_folder_without_orders(tmp_path: Path) -> None:
    write(tmp_path, "notes.md", "x")
    expected = "no CSV or Parquet file in this folder. Found: notes.md. Save the orders as CSV or Parquet."
    assert refusal(tmp_path) == f"{tmp_path}: {expected}"


def test_a_folder_with_one_unreadable_file(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", WHOLE)
    bad = write(tmp_path, "b.parquet", b"PAR1 not really")
    message = refusal(tmp_path)
    assert message.startswith(f"{bad}: not readable as Parquet (")
    assert message.endswith("). Export it again. Or leave such files out with --on-bad-file set-aside.")


def test_a_folder_with_a_kind_of_table_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", WHOLE)
    write(tmp_path, "b.numbers", b"PK\x03\x04...")
    assert refusal(tmp_path) == (
        f"{tmp_path}: 1 of 2 files cannot be read as orders: b.numbers. Save them as CSV or Parquet, or move them away."
    )


@pytest.mark.parametrize("content", ["<!DOCTYPE html><html>\nLog in\n</html>", '[{"customer_id": 1},\n{}]'])
def test_a_page_saved_as_csv(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "orders.csv", content)
    assert refusal(path) == f"{path}: a web page, XML or JSON, not a table. Save the orders as CSV or Parquet."


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", bytes(range(256)) * 8)
    assert refusal(path) == f"{path}: neither text nor Parquet. Expected CSV (also .gz), TSV or Parquet."


def test_files_with_differing_columns(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", WHOLE)
    other = write(tmp_path, "b.csv", WHOLE.replace("amount", "total"))
    assert refusal(tmp_path) == (
        f"{other}: lacks amount and also has total, compared with a.csv. "
        "All files of one log must have the same columns: export them alike, or give them one at a time. "
        "Or leave such files out with --on-bad-file set-aside."
    )


def test_a_csv_cut_in_mid_line(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", WHOLE[:-8])
    assert refusal(path) == (
        f"{path}: cut off in line 4, which has 3 of the 4 columns (a, 3, 2024-02-). "
        "The export is not whole: export it again, or delete that line."
    )


def test_a_compressed_csv_cut_in_mid_line(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv.gz", gzip.compress(WHOLE[:-8].encode()))
    assert "cut off in line 4" in refusal(path)


def test_a_csv_cut_within_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", 'customer_id,order_date,note\na,2024-01-31,"fine"\nb,2024-01-31,"a long no')
    assert refusal(path) == (
        f"{path}: cut off in mid-line: line 3 opens a quotation mark that is never closed. "
        "The export is not whole: export it again, or delete that line."
    )


def test_a_compressed_file_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv.gz", gzip.compress(WHOLE.encode() * 50)[:-20])
    message = refusal(path)
    assert message.startswith(f"{path}: the compressed file is damaged or ends too early (")


def test_a_line_with_too_many_columns_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.csv", f"{HEADING}\na,1,2024-01-31,10,50\n{ROWS[1]}\n")
    assert refusal(path) == (
        f"{path}: line 2 has 5 columns where the heading has 4 (a, 1, 2024-01-31, 10, 50). "
        "Put values that contain the delimiter in quotation marks and try again. "
        "Or leave such lines out with --on-bad-file set-aside."
    )


def test_a_file_without_a_heading(tmp_path: Path) -> None:
    path = write(tmp_path, "orders.txt", "00004 0001 19970101  2   29.33\n00004 0001 19970118  2   29.73\n")
    with pytest.raises(LayoutError, match=r"first line is data, not a heading: 00004, 0001, 19970101, 2, 29\.33\. Put"):
        read_orders(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "orders.csv", WHOLE)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OrdersError) as caught:
        read_orders(path)
    assert str(caught.value) == f"{path}: cannot be read (Permission denied). Check the file."


def test_reading_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, "orders.csv", WHOLE)
    read_orders(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["orders.csv"]
