"""Delimited text as it comes: any usual delimiter and encoding, compressed or not, but never cut off in mid-line."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl

from repurchase.errors import LayoutError, OrdersError, first_few

__all__ = ["read_text"]

_CHUNK = 1 << 23
_EDGE = 1 << 20
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_DELIMITERS = (",", ";", "\t", "|")
_DELIMITER_WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}


@dataclass(frozen=True)
class _Survey:
    """What one pass over the bytes tells.

    Parameters
    ----------
    head, tail : bytes
        The first and the last megabyte.
    lines : int
        Line ends.
    quotes : int
        Quotation marks.
    is_utf8 : bool
        Whether all of it is UTF-8.
    """

    head: bytes
    tail: bytes
    lines: int
    quotes: int
    is_utf8: bool


def read_text(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read a delimited text file with every value as text.

    Parameters
    ----------
    path : Path
        A CSV, TSV, semicolon-, bar- or blank-separated file with a heading line; plain or gzip; UTF-8, UTF-16,
        Windows-1252 or Latin-1.

    Returns
    -------
    rows : DataFrame of str
        One row per line, in the file's order.
    notes : tuple of str
        Encoding and delimiter, where they are not UTF-8 and comma.

    Raises
    ------
    OrdersError
        If the file is empty, has a heading only, is not text, is damaged, or is cut off in mid-line.
    LayoutError
        If the first line is data and not a heading.
    """
    content, survey, notes = _as_utf8(path)
    if not survey.head.strip():
        raise OrdersError(f"{path}: the file is empty. Expected a heading line and one line per order.")
    if survey.lines == 0 and b"\r" in survey.head:
        content = _all_bytes(content).replace(b"\r", b"\n")
        survey = _survey(iter([content]))
    skip = 1 if survey.head.lower().startswith(b"sep=") else 0
    delimiter = _delimiter(_first_lines(survey.head)[skip:])
    if delimiter == " ":
        content = _tabbed(_all_bytes(content))
        survey = _survey(iter([content]))
    heading = _heading(survey.head, delimiter, skip, path)
    _refuse_cut_off(content, survey, delimiter if delimiter != " " else "\t", len(heading), path)
    rows = _without_blanks(_parse(content, delimiter if delimiter != " " else "\t", skip, path))
    if rows.is_empty():
        raise OrdersError(
            f"{path}: a heading but no orders below it. Found the columns {first_few(heading, shown=12)}."
        )
    if delimiter != ",":
        notes += (f"{path.name}: columns are separated by {_DELIMITER_WORDS[delimiter]}.",)
    return rows, notes


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with _open(path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise OrdersError(
            f"{path}: the compressed file is damaged or ends too early ({fault}). Export it again."
        ) from fault


def _survey(chunks: Iterator[bytes]) -> _Survey:
    head = tail = b""
    lines = quotes = 0
    decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    for chunk in chunks:
        head = head if len(head) >= _EDGE else head + chunk[:_EDGE]
        tail = chunk[-_EDGE:] if len(chunk) >= _EDGE else (tail + chunk)[-_EDGE:]
        lines += chunk.count(b"\n")
        quotes += chunk.count(b'"')
        decoder = decoder if decoder and _decodes(decoder, chunk) else None
    ends_well = decoder is not None and _decodes(decoder, b"", final=True)
    return _Survey(head.removeprefix(codecs.BOM_UTF8), tail.removeprefix(codecs.BOM_UTF8), lines, quotes, ends_well)


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(path: Path) -> tuple[Path | bytes, _Survey, tuple[str, ...]]:
    survey = _survey(_chunks(path))
    utf16 = _utf16(survey.head)
    if utf16 is None:
        _refuse_binary(survey.head, path)
        if survey.is_utf8:
            return path, survey, ()
    stored = b"".join(_chunks(path))
    text, name = (stored.decode(utf16, errors="replace"), "UTF-16") if utf16 else _western(stored)
    content = text.removeprefix("\ufeff").encode("utf-8")
    return content, _survey(iter([content])), (f"{path.name}: read as {name}, not UTF-8.",)


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[:4000]
    for codec, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if len(sample) > 8 and zeros.count(0) > 0.6 * len(zeros) and sample.count(0) < 0.6 * len(sample):
            return codec
    return None


def _western(stored: bytes) -> tuple[str, str]:
    try:
        return stored.decode("cp1252"), "Windows-1252 (Latin-1)"
    except UnicodeDecodeError:
        return stored.decode("latin-1"), "Latin-1"


def _refuse_binary(head: bytes, path: Path) -> None:
    if head.startswith((_ZIP, _OLD_EXCEL)):
        raise OrdersError(f"{path}: a spreadsheet or an archive, not text. Save it as CSV or Parquet and try again.")
    if head.lstrip().startswith((b"<", b"{", b"[")):
        raise OrdersError(f"{path}: a web page, XML or JSON, not a table. Save the orders as CSV or Parquet.")
    if b"\0" in head:
        raise OrdersError(f"{path}: neither text nor Parquet. Expected CSV (also .gz), TSV or Parquet.")


def _first_lines(head: bytes, *, count: int = 20) -> list[str]:
    lines = re.split(r"\r\n|\n|\r", head[: _EDGE // 4].decode("utf-8", errors="replace"))
    whole = lines[:-1] if len(lines) > count else lines
    return [line for line in whole if line.strip()][:count]


def _delimiter(lines: list[str]) -> str:
    if not lines:
        return ","
    fields = {mark: len(next(csv.reader([lines[0]], delimiter=mark))) for mark in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda mark: fields[mark])
    if fields[best] > 1:
        return best
    widths = {len(line.split()) for line in lines}
    return " " if len(widths) == 1 and widths != {1} else ","


def _tabbed(content: bytes) -> bytes:
    lines = re.sub(rb"(?m)^[ ]+|[ \r]+$", b"", content)
    return re.sub(rb"[ ]+", b"\t", lines)


def _all_bytes(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else b"".join(_chunks(content)).removeprefix(codecs.BOM_UTF8)


def _heading(head: bytes, delimiter: str, skip: int, path: Path) -> list[str]:
    text = head.decode("utf-8", errors="replace")
    records = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if delimiter == " " else delimiter)
    heading = next((record for number, record in enumerate(records) if number >= skip and any(record)), [])
    if heading and not any(letter.isalpha() for name in heading for letter in name):
        shown = first_few(heading)
        raise LayoutError(
            f"{path}: the first line is data, not a heading: {shown}. "
            "Put a line with the columns' names above it, such as customer_id,order_date,amount.",
            withheld=shown,
        )
    return heading


def _refuse_cut_off(content: Path | bytes, survey: _Survey, delimiter: str, width: int, path: Path) -> None:
    if survey.quotes % 2:
        _refuse_open_quote(content, delimiter, path)
    last = _last_records(survey.tail, delimiter)
    if not last or len(last[-1]) >= width or survey.lines == 0:
        return
    if len(last) > 1 and len(last[-2]) < width:
        return
    line = survey.lines + (0 if survey.tail.endswith(b"\n") else 1)
    shown = first_few(last[-1])
    raise OrdersError(
        f"{path}: cut off in line {line:,}, which has {len(last[-1])} of the {width} columns "
        f"({shown}). The export is not whole: export it again, or delete that line.",
        withheld=shown,
    )


def _last_records(tail: bytes, delimiter: str) -> list[list[str]]:
    """Parse the last two records of a file whose quotation marks pair up.

    Parameters
    ----------
    tail : bytes
        The end of the file.
    delimiter : str
        Between fields.

    Returns
    -------
    list of list of str
        At most two records. Reading backwards, a record begins where the quotation marks since then pair up.
    """
    lines = tail.decode("utf-8", errors="replace").rstrip("\r\n").splitlines()
    records: list[list[str]] = []
    pending: list[str] = []
    for line in reversed(lines):
        pending.insert(0, line)
        if "\n".join(pending).count('"') % 2 == 0:
            records.insert(0, next(csv.reader(io.StringIO("\n".join(pending), newline=""), delimiter=delimiter), []))
            pending = []
        if len(records) == 2:
            break
    return records


def _refuse_open_quote(content: Path | bytes, delimiter: str, path: Path) -> None:
    reader = csv.reader(_text_lines(content), delimiter=delimiter)
    start, last = 1, [""]
    before = 0
    for record in reader:
        start, before, last = before + 1, reader.line_num, record
    if any("\n" in field for field in last[-1:]) or _is_open(content, start, delimiter):
        raise OrdersError(
            f"{path}: cut off in mid-line: line {start:,} opens a quotation mark that is never closed. "
            "The export is not whole: export it again, or delete that line."
        )


def _is_open(content: Path | bytes, start: int, delimiter: str) -> bool:
    rest = (line for number, line in enumerate(_text_lines(content), start=1) if number >= start)
    try:
        for _ in csv.reader(rest, delimiter=delimiter, strict=True):
            pass
    except csv.Error as fault:
        return "unexpected end of data" in str(fault)
    return False


def _text_lines(content: Path | bytes) -> Iterator[str]:
    binary = io.BytesIO(content) if isinstance(content, bytes) else _open(content)
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as lines:
        yield from lines


def _parse(content: Path | bytes, delimiter: str, skip: int, path: Path) -> pl.DataFrame:
    """Parse with Polars, and once more in plain quotation where marks within values confuse it.

    Parameters
    ----------
    content : Path or bytes
        The file, or its text as UTF-8.
    delimiter : str
        Between fields.
    skip : int
        Lines before the heading.
    path : Path
        For messages.

    Returns
    -------
    DataFrame of str
        The rows.

    Raises
    ------
    OrdersError
        If a line has more fields than the heading, or the text cannot be parsed at all.
    """
    try:
        return pl.read_csv(content, separator=delimiter, infer_schema=False, skip_rows=skip, glob=False)
    except pl.exceptions.PolarsError:
        _refuse_long_line(content, delimiter, skip, path)
    try:
        return pl.read_csv(_requoted(content, delimiter), separator=delimiter, infer_schema=False, skip_rows=skip)
    except pl.exceptions.PolarsError as fault:
        why = str(fault).splitlines()[0]
        raise OrdersError(
            f"{path}: not readable as delimited text ({why}). Export it again as CSV.", withheld=why
        ) from fault


def _without_blanks(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out lines with nothing on them, and columns with neither a name nor a value (a delimiter at line ends).

    Parameters
    ----------
    rows : DataFrame
        As parsed.

    Returns
    -------
    DataFrame
        Lines that say something.
    """
    nameless = [name for name in rows.columns if not name.strip() and rows[name].null_count() == rows.height]
    return rows.drop(nameless).filter(~pl.all_horizontal(pl.all().is_null()))


def _requoted(content: Path | bytes, delimiter: str) -> bytes:
    plain = io.StringIO(newline="")
    csv.writer(plain, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(
        csv.reader(_text_lines(content), delimiter=delimiter)
    )
    return plain.getvalue().encode("utf-8")


def _refuse_long_line(content: Path | bytes, delimiter: str, skip: int, path: Path) -> None:
    reader = csv.reader(_text_lines(content), delimiter=delimiter)
    width = 0
    for number, record in enumerate(reader):
        width = width or (len(record) if number >= skip else 0)
        if len(record) > width > 0:
            shown = first_few(record)
            raise OrdersError(
                f"{path}: line {reader.line_num:,} has {len(record)} columns where the heading has {width} "
                f"({shown}). Put values that contain the delimiter in quotation marks and try again.",
                withheld=shown,
            )
