"""Spreadsheets: the sheet with the orders, its heading, and cells that keep their types."""

import base64
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from repurchase.errors import OrdersError
from repurchase.i18n.messages import render
from repurchase.sources import spreadsheets
from repurchase.sources.files import open_file
from repurchase.sources.tables import OpenedFile


def texts(messages):
    return [render(one, locale="en") for one in messages]


HEADING = ("Customer", "Order", "Date", "Amount")
ROWS = [(f"k{n % 5}", 1000 + n, date(2024, 1, n % 28 + 1), n + 0.5) for n in range(50)]
OLD_EXCEL = (
    "c-rk)O=uHA6#i!OAKGM7Q?XTQC|EVNg7o60U8~ieQmYrO2%4BZNNgh8^q?23HAg}4q<AS*MGsXk{-A<_2M<C;4}u^hdh{eHcxbb}"
    "dAqA=t<ZoLTJ{U`X6C(lZ(erhy_wxNGqLjI{niQ=pcfug%@F)GJV7PobX1VsG-cDNgH%ixD+-|?Eu`OvCylQIat-BrSD@gY_XSbl"
    "6P2Sljln`*Pb?#Lvkz$@edr-7aGf|2w6IrAOiwUf!}KnXe9Ckeb1pIMp|NFg1T)%Ta;LqE4=e2~i$L0a$T}aGvjfd|C3o?;%fcG#"
    "L!WUneQJdX+Pn>z0xjr(p4Sc8kKzWxz%ZdJmFnv6FC$KiJ%#UP0{G@c_49<wUtYcd@qf(c2mZnj(jqS8Us1fkILzZ5BqiF^8@yH^"
    "?>Dl#F*=KG4r;%Zp!bZ877HV~;e#covHj_yPSU=S!dSjY`zTE%6PCH2bAviBH#Bn0G!V@q%Iz3Oj!MR7Z-0H8$_#18m^04jfpuzZ"
    "l1{?Jd8t9l5tewEN=cG6wlTfHR@Za8m1&%|HPszM&30qo1dqAM(hi!ZoAFNDT+`k{?b4S6kJ?I~wXM{i9;lp+PruhD(N3pWmh|Os"
    "0-d5$T)QgqSaWJ&XPA#nTmHy4K}EHFH|?V_ia8lygcwt+C!db^)l=+eW%WGN^Vqh;BDMtEl27Lu*0HZK+>FZHmwYKL<y2`yYAcIq"
    "E3ECawXJo!!`j<f`_@LO-K#X=fgDOX^Ebk9;lhOr7cN}5aIsn;_+Dz=#pPYoXW#P!_II5*DpmJ0$*RRc6zEr^m&(1!Q*Gc(UHfM("
    "e8RCMmZ;-=FO)b$vm3}E!+zxI-oNyoCTjoBk`>i|7ee*UU#-W_|2+Rs#(CUn"
)
"""A workbook of Excel 97 with two orders, compressed."""

Sheet = Sequence[Sequence[object]]


def workbook(path: Path, sheets: Mapping[str, Sheet], *, hidden: Sequence[str] = ()) -> Path:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if cell is not None:
                        sheet.write(at, column, cell)
        for sheet in book.worksheets():
            if sheet.name in hidden:
                sheet.hide()
    return path


def opened(path: Path, **options: object) -> tuple[OpenedFile, pl.DataFrame]:
    file = open_file(path, shown=str(path), spool=path.parent / "spool", **options)
    return file, pl.concat(file.table.batches(tuple(file.table.schema), n_rows=30))


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(OrdersError) as caught:
        opened(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cells_keep_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "_ROWS", 7)
    file, rows = opened(workbook(tmp_path / "orders.xlsx", {"Orders": [HEADING, *ROWS]}))
    assert rows.rows() == ROWS
    assert rows.dtypes == [pl.String, pl.Int64, pl.Date, pl.Float64]
    assert file.notes == ()


def test_a_time_of_day_is_kept(tmp_path: Path) -> None:
    times = [datetime(2024, 1, 31, 10, 5, 7), date(2024, 2, 1), datetime(2024, 2, 2, 23, 59)]  # noqa: DTZ001
    path = tmp_path / "orders.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "at"])
        forms = [book.add_format({"num_format": form}) for form in ("dd.mm.yyyy hh:mm:ss", "dd.mm.yyyy", "m/d/yy h:mm")]
        for n, (time, form) in enumerate(zip(times, forms, strict=True)):
            sheet.write(n + 1, 0, n)
            sheet.write_datetime(n + 1, 1, time, form)
    _, rows = opened(path)
    assert rows["at"].to_list() == [times[0], datetime(2024, 2, 1), times[2]]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ((123, "A17", 7120000000000), ["123", "A17", "7120000000000"]),
        ((1e20, "00123", 0.00001), ["100000000000000000000", "00123", "0.00001"]),
        ((10.5, "10,50", 3), ["10,5", "10,50", "3"]),
        ((date(2024, 1, 31), "13/02/2024", 7), ["2024-01-31", "13/02/2024", "7"]),
        ((True, "no", 1), ["true", "no", "1"]),
    ],
)
def test_mixed_columns_are_text_without_exponents(tmp_path: Path, cells: Sequence[object], text: list[str]) -> None:
    table = [("id", "x"), *((f"a{n}", cell) for n, cell in enumerate(cells))]
    file, rows = opened(workbook(tmp_path / "a.xlsx", {"A": table}))
    assert rows["x"].to_list() == text
    assert any("dates and text are mixed in x" in note for note in texts(file.notes)) == isinstance(cells[0], date)


def test_lines_around_the_table(tmp_path: Path) -> None:
    above = [("Sales report",), ("Period", date(2024, 1, 1), date(2024, 2, 1)), (), HEADING]
    below = [(), HEADING, ROWS[0], ("Total", None, None, 1300.0), (), ("Printed by the shop",)]
    file, rows = opened(workbook(tmp_path / "report.xlsm", {"Tabelle1": [*above, *ROWS, *below]}))
    assert rows.rows() == [*ROWS, ROWS[0]]
    assert rows.dtypes == [pl.String, pl.Int64, pl.Date, pl.Float64]
    assert texts(file.notes)[0].startswith("report.xlsm: 2 lines above the heading left out: Sales report, Period")
    assert (
        texts(file.notes)[1]
        == "report.xlsm: 2 lines below the table left out, no orders: Total 1300, Printed by the shop."
    )


CUSTOMERS = [("Customer", "Name", "City"), ("k1", "Anna", "Bonn"), ("k2", "Bert", "Köln")]


def test_the_sheet_with_dates_holds_the_orders(tmp_path: Path) -> None:
    sheets = {"About": [("Shop export",)], "Customers": CUSTOMERS, "Orders": [HEADING, *ROWS], "Empty": []}
    file, rows = opened(workbook(tmp_path / "a.xlsx", sheets))
    assert rows.rows() == ROWS
    assert "a.xlsx: read from the sheet 'Orders', not from Customers." in texts(file.notes)


def test_several_sheets_with_orders_are_refused_by_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"January": [HEADING, *ROWS], "February": [HEADING, *ROWS]})
    assert "2 sheets could hold the orders: January, February." in refusal(path)


def test_named_columns_decide_between_sheets(tmp_path: Path) -> None:
    other = [("Kunde", "Tag"), ("x", date(2024, 5, 1))]
    path = workbook(tmp_path / "a.xlsx", {"Orders": [HEADING, *ROWS], "Besuche": other})
    assert "2 sheets" in refusal(path)
    assert opened(path, columns=["Kunde"])[1].rows() == other[1:]


def test_hidden_sheets_are_not_read(tmp_path: Path) -> None:
    sheets = {"Orders": [HEADING, *ROWS], "Old": [HEADING, *ROWS[:5]]}
    assert opened(workbook(tmp_path / "a.xlsx", sheets, hidden=["Old"]))[1].rows() == ROWS


def test_an_old_workbook(tmp_path: Path) -> None:
    path = tmp_path / "orders.xls"
    path.write_bytes(zlib.decompress(base64.b85decode(OLD_EXCEL)))
    rows = opened(path)[1].rows()
    assert rows == [("a", 1001, date(2024, 1, 31), 10.5), ("b", 1002, date(2024, 2, 1), 20.25)]


def test_an_open_document(tmp_path: Path) -> None:
    def cell(shown: str, kind: str = "string", value: str = "") -> str:
        given = (
            f'office:{kind if kind == "date" else ""}{"-" if kind == "date" else ""}value="{value}"' if value else ""
        )
        return f'<table:table-cell office:value-type="{kind}" {given}><text:p>{shown}</text:p></table:table-cell>'

    order = (
        cell("k1"),
        cell("1001", "float", "1001"),
        cell("31.01.", "date", "2024-01-31"),
        cell("x", "float", "10.5"),
    )
    lines = "".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in (map(cell, HEADING), order))
    urn = "urn:oasis:names:tc:opendocument:xmlns"
    spaces = " ".join(f'xmlns:{name}="{urn}:{name}:1.0"' for name in ("office", "table", "text"))
    sheet = f'<office:spreadsheet><table:table table:name="A">{lines}</table:table></office:spreadsheet>'
    body = f"<office:body>{sheet}</office:body>"
    path = tmp_path / "orders.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
    _, rows = opened(path)
    assert rows.columns == list(HEADING)
    assert [str(cell)[:10] for cell in rows.row(0)] == ["k1", "1001", "2024-01-31", "10.5"]


def test_a_workbook_named_as_text_is_read_by_its_content(tmp_path: Path) -> None:
    path = workbook(tmp_path / "orders.xlsx", {"A": [HEADING, *ROWS]}).rename(tmp_path / "orders.csv")
    assert opened(path)[1].rows() == ROWS


@pytest.mark.parametrize("content", [b"PK\x03\x04 xlsx", b"\xd0\xcf\x11\xe0 xls", b"PK\x03\x04"])
def test_what_is_no_spreadsheet_but_begins_like_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "orders.xlsx"
    path.write_bytes(content)
    assert "Save it again" in refusal(path)


def test_sheets_without_orders(tmp_path: Path) -> None:
    assert "no sheet holds a table" in refusal(workbook(tmp_path / "a.xlsx", {"A": [], "B": []}))
    assert "a heading but no rows" in refusal(workbook(tmp_path / "b.xlsx", {"A": [HEADING]}))


def test_a_workbook_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "a.xlsx", {"A": [HEADING, *ROWS]})
    monkeypatch.setattr(spreadsheets, "_MOST_BYTES", 5000)
    assert "unpacks to more than" in refusal(path)
