"""Find and take out customers in single files of a home folder; all else in them stays as it is."""

import codecs
import csv
import gzip
import html
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from repurchase.errors import DeliveryError, InputError, NoRowsError
from repurchase.jobs.customer_lists import id_column
from repurchase.marketing.csv_export import unescape_formulas
from repurchase.orders.ids import clean_ids
from repurchase.orders.log import read_table
from repurchase.storage.atomic_files import exclusive_lock, partial_prefix, remove_path
from repurchase.storage.delivery import REGISTRY_FOLDERS, clear_leftovers, is_report_page

_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_ARROW_MAGIC = "ARROW:schema"
_FAULTS = (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, csv.Error, pl.exceptions.PolarsError)
_DELIMITERS = ",;\t|"
_HEAD_BYTES = 4096
_SCORES_OF = re.compile(r'<meta name="repurchase-scores" content="([^"]*)">')
_LANGUAGE = re.compile(r'<html lang="([a-z]+)">')
_ROW_HEADER = re.compile(r'<th role="rowheader" scope="row">(.*?)</th>', re.DOTALL)
_CUSTOMER_DATA = re.compile(r'<script type="application/json" id="customer-data">(.*?)</script>', re.DOTALL)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _FAULTS as fault:
        raise InputError(f"{path} cannot be read, so nobody can be taken out of it. Repair it or remove it.") from fault


def _requested(ids: pl.Series, requested: Collection[str]) -> pl.Series:
    return ids.is_in(pl.Series(sorted(requested), dtype=pl.String()).implode()).fill_null(value=False)


def _count_requested(values: pl.Series, requested: Collection[str]) -> dict[str, int]:
    ids = clean_ids(values).alias("id")
    return dict(ids.filter(_requested(ids, requested)).value_counts().iter_rows())


def ids_in_table(path: Path, column: str, requested: Collection[str], *, escaped: bool = False) -> dict[str, int]:
    """Count the rows of requested customers in a table of ours; ids may be escaped as in `csv_export`."""
    with _readable(path):
        values = _scan_table(path).select(column).collect()[column]
        return _count_requested(unescape_formulas(values) if escaped else values, requested)


def ids_in_other_table(path: Path, headings: Collection[str], requested: Collection[str]) -> dict[str, int]:
    """Count the rows of requested customers in a table that anybody may have written."""
    with _readable(path):
        rows = _scan_other_csv(path) if path.suffix.lower() == ".csv" else _scan_table(path)
        column = next((name for name in rows.collect_schema() if name in headings), None) if rows is not None else None
        if rows is None or column is None:
            return {}
        return _count_requested(unescape_formulas(rows.select(column).collect()[column]), requested)


def stage_table_without(
    path: Path, column: str, requested: Collection[str], staged: Path, *, escaped: bool = False
) -> int:
    """Write a table without the rows of requested customers, and count those that stay."""
    table = _scan_table(path)
    values = table.select(column).unique().collect()[column]
    ids = clean_ids(unescape_formulas(values) if escaped else values)
    removed = values.filter(_requested(ids, requested))
    rest = table.filter(~pl.col(column).is_in(removed.implode()).fill_null(value=False))
    if path.suffix.lower() == ".csv":
        rest.sink_csv(staged)
    else:
        metadata = {name: text for name, text in pl.read_parquet_metadata(path).items() if name != _ARROW_MAGIC}
        rest.sink_parquet(staged, metadata=metadata)
    return int(_scan_table(staged).select(pl.len()).collect().item())


def _scan_table(path: Path) -> pl.LazyFrame:
    if path.suffix.lower() == ".csv":
        return pl.scan_csv(path, infer_schema=False, glob=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _scan_other_csv(path: Path) -> pl.LazyFrame | None:
    heading = next(_split_records(_read_head(path).removeprefix("\ufeff")), "")
    if not heading.strip():
        return None
    return pl.scan_csv(
        path,
        separator=_delimiter(heading),
        infer_schema=False,
        glob=False,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    )


def list_without(
    path: Path, requested: Collection[str], *, column_map: Mapping[str, str], escaped: bool = False
) -> tuple[bytes, dict[str, int]]:
    """Take customers out of a list that somebody keeps: encoding, delimiter and every other line stay as they are."""
    with _readable(path):
        content = path.read_bytes()
        if content.startswith(_PARQUET_MAGIC):
            return _parquet_without(path, requested, column_map)
        is_compressed = content.startswith(_GZIP_MAGIC)
        text = _CsvText.parse(gzip.decompress(content) if is_compressed else content)
        if not text.head:
            return content, {}
        position = text.columns.index(id_column(text.columns, column_map=column_map, path=path))
        values = pl.Series([row[position] if position < len(row) else None for row in text.rows], dtype=pl.String())
        values = unescape_formulas(values) if escaped else values
        removed = _requested(clean_ids(values), requested)
        kept = [record for record, is_removed in zip(text.records, removed, strict=True) if not is_removed]
        plain = "".join([*text.head, *kept]).encode(text.encoding)
        return (gzip.compress(plain, mtime=0) if is_compressed else plain), _count_requested(values, requested)


def _parquet_without(
    path: Path, requested: Collection[str], column_map: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    values = rows[id_column(rows.columns, column_map=column_map, path=path)]
    content = io.BytesIO()
    rows.filter(~_requested(clean_ids(values), requested)).write_parquet(content)
    return content.getvalue(), _count_requested(values, requested)


def read_list(path: Path) -> pl.DataFrame:
    """Read a list of ours; one without rows is a table without columns."""
    with _readable(path):
        try:
            return read_table(path)
        except NoRowsError:
            return pl.DataFrame()


@dataclass(frozen=True)
class _CsvText:
    """A CSV file cut into records, so that those that stay can be written as they were."""

    encoding: str
    head: list[str]
    records: list[str]
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def parse(cls, content: bytes) -> "_CsvText":
        encoding = _encoding(content)
        records = list(_split_records(content.decode(encoding)))
        first = 1 if records and records[0].lower().startswith("sep=") else 0
        if len(records) <= first:
            return cls(encoding, [], [], [], [])
        heading, below = records[first].removeprefix("\ufeff"), records[first + 1 :]
        delimiter = _delimiter(heading)
        rows = [_split_fields(record, delimiter) for record in below]
        return cls(encoding, records[: first + 1], below, _split_fields(heading, delimiter), rows)


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if content.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"  # Windows-1252 too: no byte is changed on the way there and back
    return "utf-8"


def _delimiter(heading: str) -> str:
    return max(_DELIMITERS, key=heading.count)


def _split_records(text: str) -> Iterator[str]:
    """Cut a text at the line ends outside quotation marks."""
    record = ""
    for line in re.findall(r"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+$", text):
        record += line
        if record.count('"') % 2 == 0:
            yield record
            record = ""
    if record:
        yield record


def _split_fields(record: str, delimiter: str) -> list[str]:
    return next(csv.reader([record.strip("\r\n")], delimiter=delimiter), []) if record.strip() else []


def scores_of_page(path: Path) -> str | None:
    """Name the scores that a page of ours was made from; None for other pages."""
    head = _read_head(path)
    if not is_report_page(path):
        return None
    name = _SCORES_OF.search(head)
    return html.unescape(name[1]) if name else ""


def language_of(path: Path) -> str:
    """Return the language of a page of ours."""
    language = _LANGUAGE.search(_read_head(path))
    return language[1] if language else "en"


def draws_purchases(path: Path) -> bool:
    """Tell whether a page was made with orders, whose purchases it draws."""
    with _readable(path):
        return any("bought" in json.loads(data) for data in _CUSTOMER_DATA.findall(path.read_text(encoding="utf-8")))


def ids_in_page(path: Path, requested: Collection[str]) -> list[str]:
    """List the requested customers that a page names."""
    with _readable(path):
        page = path.read_text(encoding="utf-8")
        ids = {html.unescape(cell) for cell in _ROW_HEADER.findall(page)}
        for data in _CUSTOMER_DATA.findall(page):
            ids.update(json.loads(data)["columns"]["id"])
    return sorted(ids.intersection(requested))


def _read_head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except OSError as fault:
        raise InputError(f"{path} cannot be read: {fault.strerror}.") from fault


@contextmanager
def write_refusals(path: Path) -> Iterator[None]:
    """Turn what the system refuses into one line."""
    try:
        yield
    except DeliveryError as fault:
        if "another run" in str(fault):
            raise
        raise DeliveryError(_refusal_message(path, fault.__cause__)) from fault
    except (OSError, pl.exceptions.ComputeError) as fault:
        raise DeliveryError(_refusal_message(path, fault)) from fault


def _refusal_message(path: Path, fault: BaseException | None) -> str:
    why = (fault.strerror if isinstance(fault, OSError) else None) or "no right or no space"
    return (
        f"{path} cannot be written: {why}. It was not changed; the files named above are done. Correct that and run "
        "again."
    )


_LEFTOVER_NAMES = re.compile(
    r"^\.((?P<out>.+)\.partial-.+|partial-.+|(?P<of>.+\.(parquet|csv|json|postgresql))\.work)$"
)
_HOME_MARKERS = ("repurchase.toml", *REGISTRY_FOLDERS)


@dataclass
class HomeContents:
    """The files below a home folder, what killed runs left, and what could not be searched."""

    home: Path
    files: list[Path] = field(default_factory=list)
    leftovers: list[tuple[Path, Path | None]] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def relative_name(self, path: Path) -> str:
        """Name a file as it is seen from the home folder."""
        is_below = path.is_relative_to(self.home) and path != self.home
        return str(path.relative_to(self.home) if is_below else path)

    def named(self, *endings: str) -> Iterator[Path]:
        """Iterate over the files with one of these endings."""
        yield from (path for path in self.files if path.name.lower().endswith(endings))

    def holds(self, path: Path) -> bool:
        """Tell whether a file was found, under whatever name."""
        return _identity(path) in self.seen

    def is_new(self, path: Path) -> bool:
        """Tell whether a file or folder is met for the first time."""
        identity = _identity(path)
        is_new = identity not in self.seen
        self.seen.add(identity)
        return is_new


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def search_home(home: Path) -> HomeContents:
    """Search a home folder; links are followed, unless they lead to another home or above this one."""
    contents = HomeContents(home)
    contents.is_new(home)
    folders = [home]
    while folders:
        folders = [*_search_folder(folders.pop(0), contents), *folders]
    return contents


def _search_folder(folder: Path, contents: HomeContents) -> list[Path]:
    """Note what is in one folder, and return its own folders."""
    home, inner = contents.home, []
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        contents.unreached.append(f"{contents.relative_name(folder)}: cannot be searched: {fault.strerror}.")
        return []
    for path in entries:
        if match := _LEFTOVER_NAMES.match(path.name):
            out = match["out"] or match["of"]
            contents.leftovers.append((path, path.with_name(out) if out else None))
        if path.name.startswith(".") or (folder == home and path.name in REGISTRY_FOLDERS):
            continue
        refusal = _link_refusal(path, home)
        if refusal:
            contents.unreached.append(f"{contents.relative_name(path)}: {refusal}.")
        elif path.is_dir() and contents.is_new(path):
            inner.append(path)
        elif path.is_file() and contents.is_new(path):
            contents.files.append(path)
            contents.leftovers.extend(_leftovers_behind_link(path))
    return inner


def _link_refusal(path: Path, home: Path) -> str | None:
    """Return why a link is not followed, if so."""
    if not path.is_symlink():
        return None
    try:
        target = path.resolve(strict=True)
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as fault:
        why = getattr(fault, "strerror", None) or "links lead in a circle"
        return f"leads to {path.readlink()}, which cannot be reached: {why}"
    if is_folder and home.resolve().is_relative_to(target):
        return f"leads to {target}, which holds this home folder, and was not searched"
    if is_folder and any((target / name).exists() for name in _HOME_MARKERS):
        return f"leads to {target}, another home folder, which was not searched: forget them there too"
    return None


def _leftovers_behind_link(path: Path) -> list[tuple[Path, Path | None]]:
    """List what a killed run left beside the file that a link leads to."""
    if not path.is_symlink():
        return []
    real = path.resolve()
    try:
        return [(left, path) for left in real.parent.iterdir() if left.name.startswith(partial_prefix(real))]
    except OSError:
        return []


def clear_interrupted_write(leftover: Path, out: Path | None) -> None:
    """Remove what a killed run left half-written: it holds customers, and nobody reads it."""
    if out is None:
        remove_path(leftover)
        return
    with exclusive_lock(out):
        clear_leftovers(out, keep_partitions=False)
        remove_path(leftover)
