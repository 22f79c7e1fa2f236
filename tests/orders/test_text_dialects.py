"""The dialects of delimited text: lines around the table, quoting, delimiters at line ends, joined exports."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError, OrdersError
from repurchase.i18n.messages import render
from repurchase.orders.log import read_table
from repurchase.sources import delimited_text as textrows
from repurchase.sources import encodings as textbytes
from repurchase.sources.dialects import dialect_of
from repurchase.sources.files import open_file
from repurchase.sources.tables import OpenedFile


def texts(messages):
    return [render(one, locale="en") for one in messages]


HEADING = ("Kunde", "Bestellung", "Datum", "Betrag")
ROWS = [(f"k{n % 7}", str(1000 + n), f"2024-01-{n % 28 + 1:02d}", f"{n}.50") for n in range(60)]


def table(delimiter: str = ",", *, end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in (HEADING, *ROWS))


def opened(folder: Path, text: str | bytes, **options: object) -> tuple[OpenedFile, pl.DataFrame]:
    path = folder / "orders.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    file = open_file(path, shown=str(path), spool=folder / "spool", **options)
    return file, pl.concat(file.table.batches(tuple(file.table.schema), n_rows=25))


def refusal(folder: Path, text: str | bytes, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=[1 << 23, 997], ids=["whole", "in pieces"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbytes, "CHUNK_BYTES", request.param)


PREAMBLES = {
    "title": ("Sales report\nShop: Test\nPeriod: 2023-03-01 - 2024-06-30\n\n", ",", 3),
    "padded_by_a_spreadsheet": ("Umsatzbericht;;;\nErstellt am;01.02.2024;;\n;;;\n", ";", 2),
    "commas_in_prose": ("Orders, all shops, net\nExported by Anna, 2024-07-01 08:00\n", ";", 2),
    "one_line": ("Bestellungen Januar\n", "\t", 1),
    "a_small_table": ("Filter;Wert\nStatus;bezahlt\nLand;DE\n\n", ";", 3),
    "quoted": ('"Report: ""Orders"""\n"From 2024-01-01"\n', "|", 2),
    "separator_line": ("sep=;\nBericht\n", ";", 1),
    "quoted_separator_line": ('"sep=;"\n', ";", 0),
}


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("name", PREAMBLES)
def test_lines_above_the_heading_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    above, delimiter, count = PREAMBLES[name]
    file, rows = opened(tmp_path, above + table(delimiter))
    assert rows.columns == list(HEADING)
    assert rows.rows() == ROWS
    assert sum(f"{count} line" in note and "above the heading" in note for note in texts(file.notes)) == (count > 0)


def test_a_heading_without_lines_above_it_stays_the_heading(tmp_path: Path) -> None:
    """Rows of text alone, names with digits, and an unnamed column do not push the heading down."""
    texts = ("Name,Ort,Notiz\nAnna,Bonn,gut\nBert,Köln,na ja\n", "id,2023,2024\nx,1,2\ny,3,4\n", ",b,c\nx,y,z\nu,v,w\n")
    for text in texts:
        file, rows = opened(tmp_path, text)
        assert rows.height == 2
        assert file.notes == ()


FOOTERS = {
    "total": "Total;;;1234.50\n",
    "total_without_line_end": "Summe;60;;1234.50",
    "short_total": "\nGesamtsumme;1234.50\n",
    "totals_in_other_columns": ";;Итого:;1234.50\n",
    "rows_affected": "\n(60 rows affected)\n",
    "remark": "# end of export\n",
    "signature": "Erstellt von Shop 3.1 am 2024-07-01\n",
    "apart": "\nEnde;Shop\n",
    "two": "Subtotal;;;10\nGrand total;;;20\n\nPage 1 of 1\n",
}


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("name", FOOTERS)
def test_lines_below_the_table_become_no_orders(tmp_path: Path, name: str) -> None:
    file, rows = opened(tmp_path, table(";") + FOOTERS[name])
    assert rows.rows() == ROWS
    assert any("below the table left out" in note for note in texts(file.notes))


def test_a_customer_called_total_stays(tmp_path: Path) -> None:
    file, rows = opened(tmp_path, table(";") + "Total;2000;2024-02-01;5.00\n")
    assert rows.height == len(ROWS) + 1
    assert not any("below" in note for note in texts(file.notes))


@pytest.mark.parametrize("product", ["Total body lotion", "#12 screw", "2 rows of beads", "Summe"])
def test_further_lines_of_an_order_are_no_footers(tmp_path: Path, product: str) -> None:
    """Where order fields stand on the first line of an order only, rows with gaps are usual."""
    lines = [f"k{n};{n};2024-01-0{n % 9 + 1};soap;1.00\n;;;{product};2.00\n" for n in range(9)]
    file, rows = opened(tmp_path, "customer;order;day;product;price\n" + "".join(lines))
    assert rows.height == 18
    assert not any("below" in note for note in texts(file.notes))
    file, rows = opened(tmp_path, "customer;order;day;product;price\n" + "".join(lines) + "Total (18);;;;27.00\n")
    assert rows.height == 18
    assert any("below" in note for note in texts(file.notes))


@pytest.mark.usefixtures("_pieces")
def test_quoted_nothing_is_nothing(tmp_path: Path) -> None:
    text = '"id","day","note",""\n"a","2024-01-01","",""\n"","","",""\n"b","2024-01-02","x",""\n'
    _, rows = opened(tmp_path, text)
    assert rows.columns == ["id", "day", "note"]
    assert rows.rows() == [("a", "2024-01-01", None), ("b", "2024-01-02", "x")]


@pytest.mark.parametrize("rest", ["k1;20", "k1", "k1;2000;2024-0"])
def test_a_file_cut_off_is_no_file_with_a_footer(tmp_path: Path, rest: str) -> None:
    assert "cut off in line 62" in refusal(tmp_path, table(";") + rest)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("n_more", [1, 2])
@pytest.mark.parametrize("where", ["everywhere", "rows", "some rows", "heading"])
def test_delimiters_at_line_ends_add_no_column(tmp_path: Path, delimiter: str, n_more: int, where: str) -> None:
    lines = table(delimiter).splitlines()
    ends = {"everywhere": range(61), "rows": range(1, 61), "some rows": range(1, 61, 3), "heading": range(1)}[where]
    text = "".join(line + delimiter * n_more * (n in ends) + "\n" for n, line in enumerate(lines))
    _, rows = opened(tmp_path, text)
    assert rows.columns == list(HEADING)
    assert rows.rows() == ROWS


def test_a_value_behind_the_last_delimiter_is_refused(tmp_path: Path) -> None:
    lines = [line + "," for line in table().splitlines()[1:]]
    lines[50] = "k1,1050,2024-01-01,1,50"
    text = "\n".join([",".join(HEADING), *lines]) + "\n"
    assert "line 52 has 5 columns where the heading has 4" in refusal(tmp_path, text)
    file, rows = opened(tmp_path, text, set_aside=True)
    assert (rows.height, file.long_lines.count, file.long_lines.first) == (59, 1, (52,))


NOTES = (
    'Gift!\nWrite: "Happy\nbirthday"',
    '5" wide',
    'a "5" inch, nice',
    "C:\\temp\\",
    'two\nlines "x"',
    "plain",
    "",
    '"',
    "back\\slash",
)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_quotation_marks_behind_a_backslash(tmp_path: Path, delimiter: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL)
    written = [(*row, NOTES[n % len(NOTES)]) for n, row in enumerate(ROWS)]
    writer.writerows([(*HEADING, "Notiz"), *written])
    file, rows = opened(tmp_path, out.getvalue())
    assert [(*row[:4], row[4] or "") for row in rows.rows()] == written
    assert any("written with a backslash" in note for note in texts(file.notes))


def test_a_backslash_at_the_end_of_a_value_escapes_nothing(tmp_path: Path) -> None:
    text = "id,path,note\n" + "".join(f'{n},"C:\\dir\\","a, b"\n' for n in range(5))
    file, rows = opened(tmp_path, text)
    assert rows["path"].to_list() == ["C:\\dir\\"] * 5
    assert rows["note"].to_list() == ["a, b"] * 5
    assert file.notes == ()


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("bare_numbers", [False, True])
@pytest.mark.parametrize("note", ["O''Brien, 5", '15" screen', "two\nlines", "plain"])
def test_values_in_apostrophes(tmp_path: Path, bare_numbers: bool, note: str) -> None:
    mark = "" if bare_numbers else "'"
    text = "'id','day','note','amount'\n" + "".join(f"'k{n}','2024-01-01','{note}',{mark}1.5{mark}\n" for n in range(9))
    file, rows = opened(tmp_path, text)
    assert rows.columns == ["id", "day", "note", "amount"]
    assert set(rows.drop("id").rows()) == {("2024-01-01", note.replace("''", "'"), "1.5")}
    assert any("apostrophes" in words for words in texts(file.notes))


def test_apostrophes_within_values_enclose_nothing(tmp_path: Path) -> None:
    for text in ("id,name\n'0012,O'Brien\n'0013,D'Arcy\n", "id,name\n1,'t Hooft\n2,'s-Hertogenbosch\n"):
        _, rows = opened(tmp_path, text)
        assert "'" in rows["name"][1]
        assert rows.rows() == [tuple(line.split(",")) for line in text.splitlines()[1:]]


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("above", ["", "Bericht\nJanuar 2024\n\n"])
def test_joined_exports_repeat_their_heading(tmp_path: Path, above: str, mark: str) -> None:
    one = mark + above + table(";")
    file, rows = opened(tmp_path, one * 3)
    assert rows.rows() == ROWS * 3
    assert any(f"{6 if above else 2} lines left out as a repeated heading" in note for note in texts(file.notes))
    assert rows.equals(pl.concat(file.table.batches(HEADING, n_rows=7)))
    assert pl.concat(file.table.batches(["Datum"], n_rows=7)).height == rows.height


def test_formula_text_is_left_as_it_is(tmp_path: Path) -> None:
    text = 'id;day;amount\n="00123";2024-01-01;="68.86"\n"=""00124""";2024-01-02;5\n'
    _, rows = opened(tmp_path, text)
    assert rows.rows() == [('="00123"', "2024-01-01", '="68.86"'), ('="00124"', "2024-01-02", "5")]


def test_a_note_longer_than_the_usual_limit_of_fields(tmp_path: Path) -> None:
    long = 'He said "yes", ' * 20_000
    text = f'id,day,note\na,2024-01-01,15" wide\nb,2024-01-02,"{long.replace(chr(34), chr(34) * 2)}"\n'
    _, rows = opened(tmp_path, text)
    assert rows["note"].to_list() == ['15" wide', long]


def test_an_open_quotation_mark_is_one_line_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = table().replace("k3,1010,", '"k3,1010,')
    large = text + table().split("\n", 1)[1] * 150
    assert len(large) > 200_000
    for whole in (text, large):
        assert "line 12 opens a quotation mark that is never closed" in refusal(tmp_path, whole)
        assert "line 12" in refusal(tmp_path, whole, set_aside=True)
    monkeypatch.setattr(textrows, "LONGEST_FIELD", 100_000)
    assert "begins in line 12 is longer" in refusal(tmp_path, large)


def test_two_open_quotation_marks_swallow_no_rows(tmp_path: Path) -> None:
    text = table().replace("k3,1010,", '"k3,1010,').replace("k5,1040,", '"k5,1040,')
    assert "line 12 opens a quotation mark that is closed only in line 42, around 29 lines" in refusal(tmp_path, text)


def test_a_line_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbytes, "LONGEST_LINE", 10_000)
    monkeypatch.setattr(textbytes, "CHUNK_BYTES", 1000)
    assert "line 2 is longer than" in refusal(tmp_path, "id,day\n" + "x" * 20_000)


def test_more_columns_than_any_export(tmp_path: Path) -> None:
    assert "20,000 columns" in refusal(tmp_path, ",".join(["a"] * 20_000) + "\n" + "," * 19_999 + "\n")


def test_the_same_reading_for_a_single_table(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("Export\n\nid;mail;\n1;a@b.example;\n2;c@d.example;\nTotal;;\n")
    assert read_table(path).rows() == [("1", "a@b.example"), ("2", "c@d.example")]


def test_nothing_in_the_file(tmp_path: Path) -> None:
    assert dialect_of([]).heading == ()
    for text in ("", "\n\n", "sep=;\n"):
        with pytest.raises(OrdersError, match="the file is empty"):
            opened(tmp_path, text)
