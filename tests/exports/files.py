"""Tables of text written to files in the dialects of shops, spreadsheets and archives."""

import csv
import gzip
import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

__all__ = ["Cell", "Dialect", "draw_dialect", "write_text", "write_xlsx"]

Cell = str | int | float | bool | datetime | None
_EXCEL_EPOCH = datetime.fromisoformat("1899-12-30")
_DELIMITERS = (",", ",", ",", ";", ";", "\t", "|")
_ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1252", "cp1250", "cp1251")


@dataclass(frozen=True)
class Dialect:
    """How the rows of a text are written."""

    delimiter: str = ","
    quotes_all: bool = False
    line_end: str = "\n"
    backslash: bool = False
    trailing: str = "none"
    preamble: int = 0
    repeats_heading: bool = False
    footer: bool = False
    blank_lines: bool = False
    names_delimiter: bool = False
    encodings: tuple[str, ...] = ("utf-8",)

    @property
    def traits(self) -> list[str]:
        """Tags of what is unusual."""
        shown = {"\t": "tab"}.get(self.delimiter, self.delimiter)
        tags = [f"delimiter:{shown}"]
        tags += [f"dialect:trailing-delimiter-{self.trailing}"] if self.trailing != "none" else []
        tags += ["dialect:preamble"] if self.preamble else []
        names = ("backslash", "repeats_heading", "footer", "blank_lines", "names_delimiter")
        tags += [f"dialect:{name.replace('_', '-')}" for name in names if getattr(self, name)]
        tags += ["dialect:crlf"] if self.line_end == "\r\n" else []
        return tags + (["dialect:quote-all"] if self.quotes_all else [])


def draw_dialect(rng: random.Random) -> Dialect:
    """Draw a dialect; each oddity is rare, so that most files have none or one."""
    return Dialect(
        delimiter=rng.choice(_DELIMITERS),
        quotes_all=rng.random() < 0.3,
        line_end=rng.choice(("\n", "\r\n")),
        backslash=rng.random() < 0.08,
        trailing=rng.choice(("heading-too", "rows-only")) if rng.random() < 0.08 else "none",
        preamble=rng.choice((1, 3, 4)) if rng.random() < 0.08 else 0,
        repeats_heading=rng.random() < 0.06,
        footer=rng.random() < 0.06,
        blank_lines=rng.random() < 0.05,
        names_delimiter=rng.random() < 0.04,
        encodings=tuple(rng.sample(_ENCODINGS, k=len(_ENCODINGS))),
    )


def _preamble(dialect: Dialect, width: int) -> list[list[str]]:
    lines = [["Sales report"], ["Shop: Test"], ["Period: 2023-03-01 - 2024-06-30"], []]
    padded = width - 1 if dialect.preamble == 3 else 0
    return [line + [""] * padded for line in lines[: dialect.preamble]]


def _records(
    rows: Sequence[Sequence[str]], heading: Sequence[str], dialect: Dialect, footer: list[str]
) -> list[list[str]]:
    end = [""] if dialect.trailing != "none" else []
    records: list[list[str]] = [[*row, *end] for row in rows]
    first = [*heading, *([""] if dialect.trailing == "heading-too" else [])]
    middle = len(records) // 2
    if dialect.repeats_heading and dialect.trailing != "rows-only":
        records.insert(middle, first)
    if dialect.blank_lines:
        records.insert(middle, [])
        records.append([])
    if dialect.footer and footer:
        records.append([*footer, *end])
    return [*_preamble(dialect, len(heading)), first, *records]


def write_text(
    path: Path, heading: Sequence[str], rows: Sequence[Sequence[str]], dialect: Dialect, *, footer: list[str]
) -> str:
    """Write a text file, gzipped or zipped by its suffix; give the encoding used, the first that holds all signs."""
    out = io.StringIO(newline="")
    writer = csv.writer(
        out,
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_ALL if dialect.quotes_all else csv.QUOTE_MINIMAL,
        lineterminator=dialect.line_end,
        doublequote=not dialect.backslash,
        escapechar="\\" if dialect.backslash else None,
    )
    writer.writerows(_records(rows, heading, dialect, footer))
    text = (f"sep={dialect.delimiter}{dialect.line_end}" if dialect.names_delimiter else "") + out.getvalue()
    encoding, encoded = _encode(text, dialect.encodings)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(encoded))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.csv", encoded)
    else:
        path.write_bytes(encoded)
    return encoding if not text.isascii() or encoding.startswith("utf-16") else "ascii"


def _encode(text: str, encodings: Sequence[str]) -> tuple[str, bytes]:
    for encoding in encodings:
        encoded = text.encode(encoding, errors="ignore")
        if encoded.decode(encoding) == text:
            return encoding, encoded
    return "utf-8", text.encode()


def _xlsx_cell(value: Cell) -> str:
    if value is None or value == "":
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime):
        return f'<c s="1"><v>{(value - _EXCEL_EPOCH) / timedelta(days=1):.10f}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value!r}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_XLSX_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
    f'ContentType="{_TYPES}.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPES}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" '
    f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Orders" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/styles.xml": f'<styleSheet {_MAIN}><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf/>'
    '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
}


def write_xlsx(path: Path, heading: Sequence[str], rows: Sequence[Sequence[Cell]], *, has_preamble: bool) -> None:
    """Write a spreadsheet of one sheet with typed cells, below a title if wanted."""
    title: list[list[Cell]] = [["Sales report"], []] if has_preamble else []
    lines = ("<row>" + "".join(map(_xlsx_cell, row)) + "</row>" for row in [*title, heading, *rows])
    sheet = f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in {**_XLSX_PARTS, "xl/worksheets/sheet1.xml": sheet}.items():
            archive.writestr(name, _HEAD + part)
