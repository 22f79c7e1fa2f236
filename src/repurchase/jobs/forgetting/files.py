"""Take customers out of one file: the rest of it stays as it is, and readers see the old file or the new one."""

import codecs
import csv
import gzip
import html
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.customers import id_column
from repurchase.orders.ids import clean_ids
from repurchase.storage.outputs import is_page

__all__ = [
    "draws_purchases",
    "ids_in_csv",
    "ids_in_page",
    "ids_in_parquet",
    "ids_in_table",
    "language_of",
    "list_without",
    "made_from",
    "rows_of_list",
    "stage_without",
]

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ARROW = "ARROW:schema"
_FAULTS = (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, csv.Error)
_DELIMITERS = ",;\t|"
_HEAD_BYTES = 4096
_SCORES_OF = re.compile(r'<meta name="repurchase-scores" content="([^"]*)">')
_LANGUAGE = re.compile(r'<html lang="([a-z]+)">')
_ROW_HEADER = re.compile(r'<th role="rowheader" scope="row">(.*?)</th>', re.DOTALL)
_LISTED = re.compile(r'<script type="application/json" id="customer-data">(.*?)</script>', re.DOTALL)


def ids_in_table(path: Path, column: str, wanted: Collection[str]) -> dict[str, int]:
    """Count a table's rows of some customers; only the column of ids is read.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.csv``.
    column : str
        The column of ids, as exported or cleaned.
    wanted : collection of str
        Ids as `clean_ids` spells them.

    Returns
    -------
    dict of str to int
        Each id that is there, and its rows.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    with _readable(path):
        return _counts(_scan(path).select(column).collect()[column], wanted)


def _counts(given: pl.Series, wanted: Collection[str]) -> dict[str, int]:
    ids = clean_ids(given).alias("id")
    found = ids.filter(ids.is_in(pl.Series(sorted(wanted), dtype=pl.String()).implode())).value_counts()
    return dict(found.iter_rows())


def ids_in_csv(path: Path, headings: Collection[str], wanted: Collection[str]) -> dict[str, int]:
    """Count rows of some customers in a CSV file that anybody may have written.

    Parameters
    ----------
    path : Path
        Of any size.
    headings : collection of str
        What a column of ids may be called.
    wanted : collection of str
        Ids as `clean_ids` spells them.

    Returns
    -------
    dict of str to int
        Each id that is there, and its rows; nobody where no column is called so.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    heading = next(_records(_head(path).removeprefix("\ufeff")), "")
    delimiter = max(_DELIMITERS, key=heading.count)
    column = next((name for name in _fields(heading, delimiter) if name in headings), None)
    if column is None:
        return {}
    with _readable(path):
        rows = pl.scan_csv(
            path,
            separator=delimiter,
            infer_schema=False,
            glob=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )
        return _counts(rows.select(column).collect()[column], wanted)


def ids_in_parquet(path: Path, headings: Collection[str], wanted: Collection[str]) -> dict[str, int]:
    """Count rows of some customers in a Parquet file that anybody may have written.

    Parameters
    ----------
    path : Path
        Of any size.
    headings : collection of str
        What a column of ids may be called.
    wanted : collection of str
        Ids as `clean_ids` spells them.

    Returns
    -------
    dict of str to int
        Each id that is there, and its rows; nobody where no column is called so.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with _readable(path):
        rows = _scan(path)
        column = next((name for name in rows.collect_schema() if name in headings), None)
        return {} if column is None else _counts(rows.select(column).collect()[column], wanted)


def stage_without(path: Path, column: str, wanted: Collection[str], staged: Path) -> int:
    """Write a table without some customers' rows.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.csv``; every column, its type and its order are kept.
    column : str
        The column of ids, as exported or cleaned.
    wanted : collection of str
        Ids as `clean_ids` spells them.
    staged : Path
        Where to.

    Returns
    -------
    int
        Rows that are left.
    """
    table = _scan(path)
    given = table.select(column).unique().collect()[column]
    spelled = clean_ids(given).is_in(pl.Series(sorted(wanted), dtype=pl.String()).implode())
    theirs = given.filter(spelled)
    left = table.filter(~pl.col(column).is_in(theirs.implode()).fill_null(value=False))
    if path.suffix.lower() == ".csv":
        left.sink_csv(staged)
    else:
        mark = {name: text for name, text in pl.read_parquet_metadata(path).items() if name != _ARROW}
        left.sink_parquet(staged, metadata=mark)
    return int(_scan(staged).select(pl.len()).collect().item())


def _scan(path: Path) -> pl.LazyFrame:
    if path.suffix.lower() == ".csv":
        return pl.scan_csv(path, infer_schema=False, glob=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def list_without(path: Path, wanted: Collection[str], *, told: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """Take customers out of a list that somebody keeps: encoding, delimiter and every other line stay as they are.

    Parameters
    ----------
    path : Path
        CSV (also compressed) or Parquet.
    wanted : collection of str
        Ids as `clean_ids` spells them.
    told : mapping
        ``customer_id`` to the name that the column of ids has.

    Returns
    -------
    content : bytes
        The list without them.
    found : dict of str to int
        Each id that is there, and its rows.

    Raises
    ------
    InputError
        If the list cannot be read.
    """
    with _readable(path):
        content = path.read_bytes()
        if content.startswith(_PARQUET):
            return _parquet_without(path, wanted, told)
        zipped = content.startswith(_GZIP)
        plain, found = _lines_without(gzip.decompress(content) if zipped else content, path, wanted, told)
        return (gzip.compress(plain, mtime=0) if zipped else plain), found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (*_FAULTS, pl.exceptions.PolarsError) as fault:
        raise InputError(f"{path} cannot be read, so nobody can be taken out of it. Mend it or remove it.") from fault


def _parquet_without(path: Path, wanted: Collection[str], told: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    ids = clean_ids(rows[id_column(rows.columns, told=told, path=path)]).alias("id")
    theirs = ids.is_in(pl.Series(sorted(wanted), dtype=pl.String()).implode()).fill_null(value=False)
    content = io.BytesIO()
    rows.filter(~theirs).write_parquet(content)
    return content.getvalue(), dict(ids.filter(theirs).value_counts().iter_rows())


def _lines_without(
    content: bytes, path: Path, wanted: Collection[str], told: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    encoding = _encoding(content)
    before, records, names, cells = _cut(content.decode(encoding))
    if not before:
        return content, {}
    place = names.index(id_column(names, told=told, path=path))
    ids = clean_ids(pl.Series([row[place] if place < len(row) else None for row in cells], dtype=pl.String()))
    found: dict[str, int] = {}
    kept = before
    for record, one in zip(records, ids, strict=True):
        if one in wanted:
            found[one] = found.get(one, 0) + 1
        else:
            kept.append(record)
    return "".join(kept).encode(encoding), found


def rows_of_list(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a list in CSV.

    Parameters
    ----------
    path : Path
        Of the list.

    Returns
    -------
    names : list of str
        Its heading.
    cells : list of list of str
        The lines below.

    Raises
    ------
    InputError
        If the list cannot be read.
    """
    with _readable(path):
        content = path.read_bytes()
        return _cut(content.decode(_encoding(content)))[2:]


def _cut(text: str) -> tuple[list[str], list[str], list[str], list[list[str]]]:
    """The lines down to the heading (none without one), those below, and the cells of both."""
    records = list(_records(text))
    first = 1 if records and records[0].lower().startswith("sep=") else 0
    if len(records) <= first:
        return [], [], [], []
    heading = records[first].removeprefix("\ufeff")
    delimiter = max(_DELIMITERS, key=heading.count)
    below = records[first + 1 :]
    return records[: first + 1], below, _fields(heading, delimiter), [_fields(record, delimiter) for record in below]


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if content.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"  # Windows-1252 too: no byte is changed on the way there and back
    return "utf-8"


def _records(text: str) -> Iterator[str]:
    """Cut a text at the line ends that stand outside quotation marks."""
    record = ""
    for line in re.findall(r"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+$", text):
        record += line
        if record.count('"') % 2 == 0:
            yield record
            record = ""
    if record:
        yield record


def _fields(record: str, delimiter: str) -> list[str]:
    return next(csv.reader([record.strip("\r\n")], delimiter=delimiter), []) if record.strip() else []


def made_from(path: Path) -> str | None:
    """Say from which scores a page was made.

    Parameters
    ----------
    path : Path
        Any ``.html`` file.

    Returns
    -------
    str or None
        The scores' place, seen from the page's folder and without ending, or "" where the page does not say; None if
        it is not ours.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    head = _head(path)
    if not is_page(path):
        return None
    told = _SCORES_OF.search(head)
    return html.unescape(told[1]) if told else ""


def language_of(path: Path) -> str:
    """Say in which language a page of ours is.

    Parameters
    ----------
    path : Path
        The page.

    Returns
    -------
    str
        As in its ``<html lang>``; English where it does not say.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    told = _LANGUAGE.search(_head(path))
    return told[1] if told else "en"


def draws_purchases(path: Path) -> bool:
    """Say whether a page was made with orders, whose purchases it draws.

    Parameters
    ----------
    path : Path
        A page of ours.

    Returns
    -------
    bool
        Whether its data hold them.

    Raises
    ------
    InputError
        If the page was changed and cannot be read.
    """
    with _readable(path):
        return any("bought" in json.loads(listed) for listed in _LISTED.findall(path.read_text(encoding="utf-8")))


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except OSError as fault:
        raise InputError(f"{path} cannot be read: {fault.strerror}.") from fault


def ids_in_page(path: Path, is_wanted: Callable[[str], bool]) -> list[str]:
    """List customers that a page names.

    Parameters
    ----------
    path : Path
        A page of ours.
    is_wanted : callable
        Which of them.

    Returns
    -------
    list of str
        Their ids.

    Raises
    ------
    InputError
        If the page was changed and cannot be read.
    """
    with _readable(path):
        page = path.read_text(encoding="utf-8")
        named = {html.unescape(one) for one in _ROW_HEADER.findall(page)}
        for listed in _LISTED.findall(page):
            named.update(json.loads(listed)["columns"]["id"])
    return sorted(one for one in named if is_wanted(one))
