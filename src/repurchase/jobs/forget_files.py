"""Find and take out customers in single files of a home folder; all else in them stays as it is."""

import codecs
import csv
import gzip
import html
import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import DeliveryError, InputError
from repurchase.jobs.customer_lists import id_column, read_customers
from repurchase.marketing.csv_export import escaped_ids
from repurchase.orders.ids import clean_ids, pseudonymise, read_matching_key
from repurchase.settings import Settings
from repurchase.storage.atomic_files import exclusive_lock, partial_prefix, remove_path
from repurchase.storage.delivery import REGISTRY_FOLDERS, clear_leftovers, is_report_page

_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_ARROW_MAGIC = "ARROW:schema"
_FAULTS = (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, csv.Error)
_DELIMITERS = ",;\t|"
_HEAD_BYTES = 4096
_SCORES_OF = re.compile(r'<meta name="repurchase-scores" content="([^"]*)">')
_LANGUAGE = re.compile(r'<html lang="([a-z]+)">')
_ROW_HEADER = re.compile(r'<th role="rowheader" scope="row">(.*?)</th>', re.DOTALL)
_LISTED = re.compile(r'<script type="application/json" id="customer-data">(.*?)</script>', re.DOTALL)


def ids_in_table(path: Path, column: str, wanted: Collection[str]) -> dict[str, int]:
    """Count a table's rows of some customers; only the column of ids is read."""
    with _require_readable(path):
        return _count_ids(_scan_table(path).select(column).collect()[column], wanted)


def _count_ids(given: pl.Series, wanted: Collection[str]) -> dict[str, int]:
    ids = clean_ids(given).alias("id")
    found = ids.filter(ids.is_in(pl.Series(sorted(wanted), dtype=pl.String()).implode())).value_counts()
    return dict(found.iter_rows())


def ids_in_csv(path: Path, headings: Collection[str], wanted: Collection[str]) -> dict[str, int]:
    """Count rows of some customers in a CSV file that anybody may have written."""
    heading = next(_split_records(_read_head(path).removeprefix("\ufeff")), "")
    delimiter = max(_DELIMITERS, key=heading.count)
    column = next((name for name in _split_fields(heading, delimiter) if name in headings), None)
    if column is None:
        return {}
    with _require_readable(path):
        rows = pl.scan_csv(
            path,
            separator=delimiter,
            infer_schema=False,
            glob=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )
        return _count_ids(rows.select(column).collect()[column], wanted)


def ids_in_parquet(path: Path, headings: Collection[str], wanted: Collection[str]) -> dict[str, int]:
    """Count rows of some customers in a Parquet file that anybody may have written."""
    with _require_readable(path):
        rows = _scan_table(path)
        column = next((name for name in rows.collect_schema() if name in headings), None)
        return {} if column is None else _count_ids(rows.select(column).collect()[column], wanted)


def stage_table_without(path: Path, column: str, wanted: Collection[str], staged: Path) -> int:
    """Write a table without some customers' rows."""
    table = _scan_table(path)
    given = table.select(column).unique().collect()[column]
    spelled = clean_ids(given).is_in(pl.Series(sorted(wanted), dtype=pl.String()).implode())
    theirs = given.filter(spelled)
    left = table.filter(~pl.col(column).is_in(theirs.implode()).fill_null(value=False))
    if path.suffix.lower() == ".csv":
        left.sink_csv(staged)
    else:
        mark = {name: text for name, text in pl.read_parquet_metadata(path).items() if name != _ARROW_MAGIC}
        left.sink_parquet(staged, metadata=mark)
    return int(_scan_table(staged).select(pl.len()).collect().item())


def _scan_table(path: Path) -> pl.LazyFrame:
    if path.suffix.lower() == ".csv":
        return pl.scan_csv(path, infer_schema=False, glob=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def list_without(path: Path, wanted: Collection[str], *, told: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """Take customers out of a list that somebody keeps: encoding, delimiter and every other line stay as they are."""
    with _require_readable(path):
        content = path.read_bytes()
        if content.startswith(_PARQUET_MAGIC):
            return _parquet_without(path, wanted, told)
        zipped = content.startswith(_GZIP_MAGIC)
        plain, found = _lines_without(gzip.decompress(content) if zipped else content, path, wanted, told)
        return (gzip.compress(plain, mtime=0) if zipped else plain), found


@contextmanager
def _require_readable(path: Path) -> Iterator[None]:
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
    before, records, names, cells = _split_at_heading(content.decode(encoding))
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
    """Read a list in CSV."""
    with _require_readable(path):
        content = path.read_bytes()
        return _split_at_heading(content.decode(_encoding(content)))[2:]


def _split_at_heading(text: str) -> tuple[list[str], list[str], list[str], list[list[str]]]:
    """The lines down to the heading (none without one), those below, and the cells of both."""
    records = list(_split_records(text))
    first = 1 if records and records[0].lower().startswith("sep=") else 0
    if len(records) <= first:
        return [], [], [], []
    heading = records[first].removeprefix("\ufeff")
    delimiter = max(_DELIMITERS, key=heading.count)
    below = records[first + 1 :]
    return (
        records[: first + 1],
        below,
        _split_fields(heading, delimiter),
        [_split_fields(record, delimiter) for record in below],
    )


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if content.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"  # Windows-1252 too: no byte is changed on the way there and back
    return "utf-8"


def _split_records(text: str) -> Iterator[str]:
    """Cut a text at the line ends that stand outside quotation marks."""
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
    """Say from which scores a page was made."""
    head = _read_head(path)
    if not is_report_page(path):
        return None
    told = _SCORES_OF.search(head)
    return html.unescape(told[1]) if told else ""


def language_of(path: Path) -> str:
    """Say in which language a page of ours is."""
    told = _LANGUAGE.search(_read_head(path))
    return told[1] if told else "en"


def draws_purchases(path: Path) -> bool:
    """Say whether a page was made with orders, whose purchases it draws."""
    with _require_readable(path):
        return any("bought" in json.loads(listed) for listed in _LISTED.findall(path.read_text(encoding="utf-8")))


def _read_head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except OSError as fault:
        raise InputError(f"{path} cannot be read: {fault.strerror}.") from fault


def ids_in_page(path: Path, is_requested: Callable[[str], bool]) -> list[str]:
    """List customers that a page names."""
    with _require_readable(path):
        page = path.read_text(encoding="utf-8")
        named = {html.unescape(one) for one in _ROW_HEADER.findall(page)}
        for listed in _LISTED.findall(page):
            named.update(json.loads(listed)["columns"]["id"])
    return sorted(one for one in named if is_requested(one))


def relative_name(path: Path, home: Path) -> str:
    """Name a file as it is seen from the home folder."""
    return str(path.relative_to(home) if path.is_relative_to(home) and path != home else path)


def action_line(what: str, dry_run: bool) -> str:
    """Say what was done, or would be."""
    return f"would be {what}" if dry_run else what


def format_count(number: int, noun: str) -> str:
    """Say a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def os_refusals(path: Path) -> Iterator[None]:
    """Make one line of what the system refuses."""
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
        f"{path} cannot be written: {why}. It is as it was; what was named before is done. Correct that and run again."
    )


_LEFTOVER_NAMES = re.compile(
    r"^\.((?P<out>.+)\.partial-.+|partial-.+|(?P<of>.+\.(parquet|csv|json|postgresql))\.work)$"
)
_HOME_MARKERS = ("repurchase.toml", *REGISTRY_FOLDERS)


@dataclass
class HomeContents:
    """What was found below a home folder."""

    home: Path
    files: list[Path] = field(default_factory=list)
    left: list[tuple[Path, Path | None]] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def named(self, *endings: str) -> Iterator[Path]:
        """Give the files with an ending."""
        yield from (path for path in self.files if path.name.lower().endswith(endings))

    def holds(self, path: Path) -> bool:
        """Tell whether a file was found, under whatever name."""
        found = path.stat()
        return (found.st_dev, found.st_ino) in self.seen

    def is_new(self, path: Path) -> bool:
        """Tell whether a file or folder is met for the first time."""
        found = path.stat()
        identity = (found.st_dev, found.st_ino)
        if identity in self.seen:
            return False
        self.seen.add(identity)
        return True


def search_home(home: Path) -> HomeContents:
    """Search a home folder; links are followed, unless they lead to another home or above this one."""
    places = HomeContents(home)
    places.is_new(home)
    folders = [home]
    while folders:
        folders = [*_search_folder(folders.pop(0), places), *folders]
    return places


def _search_folder(folder: Path, places: HomeContents) -> list[Path]:
    """Note what lies in one folder, and name the folders in it."""
    home, inner = places.home, []
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        places.unreached.append(f"{relative_name(folder, home)}: cannot be searched: {fault.strerror}.")
        return []
    for path in entries:
        if match := _LEFTOVER_NAMES.match(path.name):
            out = match["out"] or match["of"]
            places.left.append((path, path.with_name(out) if out else None))
        if path.name.startswith(".") or (folder == home and path.name in REGISTRY_FOLDERS):
            continue
        why_not = _link_refusal(path, home)
        if why_not:
            places.unreached.append(f"{relative_name(path, home)}: {why_not}.")
        elif path.is_dir() and places.is_new(path):
            inner.append(path)
        elif path.is_file() and places.is_new(path):
            places.files.append(path)
            places.left.extend(_leftovers_behind_link(path))
    return inner


def _link_refusal(path: Path, home: Path) -> str | None:
    """Say why a link is not followed."""
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
    """What a killed run left beside the file that a link leads to."""
    if not path.is_symlink():
        return []
    real = path.resolve()
    try:
        return [(left, path) for left in real.parent.iterdir() if left.name.startswith(partial_prefix(real))]
    except OSError:
        return []


def clear_interrupted_writes(left: Path, out: Path | None, home: Path, *, dry_run: bool) -> Iterator[str]:
    """Remove what a killed run left half-written: it holds customers, and nobody reads it."""
    if not dry_run:
        if out is None:
            remove_path(left)
        else:
            with exclusive_lock(out):
                clear_leftovers(out, parts=True)
                remove_path(left)
    yield f"{relative_name(left, home)}: left by a run that was killed; {action_line('removed', dry_run)}."


@dataclass
class ForgetRequest:
    """Customers under all their names."""

    ids: frozenset[str]
    plain_of: dict[str, str]
    found: set[str] = field(default_factory=set)
    remaining: list[str] = field(default_factory=list)

    def saw(self, names: Iterable[str]) -> None:
        """Note who was found."""
        self.found.update(self.plain_of[name] for name in names)

    def may_remain(self, line: str) -> str:
        """Note a place where they may remain."""
        self.remaining.append(line)
        return line

    @property
    def plain_ids(self) -> frozenset[str]:
        """Ids as cleaning spells them."""
        return frozenset(self.plain_of.values())

    @property
    def find_in_values(self) -> dict[str, str]:
        """How ids may stand in lists: behind an apostrophe too, if they would run as formulas."""
        return {one: one for one in self.ids} | escaped_ids(self.ids)


def requested_ids(customers: Iterable[str], from_file: Path | None, settings: Settings) -> frozenset[str]:
    """Read who is named."""
    given = list(customers)
    ids = clean_ids(pl.Series(given, dtype=pl.String()))
    if ids.null_count():
        raise InputError(f"{ids.null_count()} of {len(given)} ids are empty. Name each customer to forget.")
    listed = read_customers(from_file, told=settings.columns).rows["customer_id"].to_list() if from_file else []
    if not given and not listed:
        raise InputError("nobody is named. Give ids, or a list with --from-file.")
    return frozenset([*ids.to_list(), *listed])


def with_hashed_ids(ids: frozenset[str], records: Mapping[Path, Mapping[str, Any]]) -> ForgetRequest:
    """Hash ids with the key of each record that has hashes."""
    plain_of = {one: one for one in ids}
    for path, record in records.items():
        if mark := record.get("pseudonyms"):
            plain = sorted(ids)
            hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), read_matching_key(mark, what=str(path)))
            plain_of.update({name: one for name, one in zip(hashed, plain, strict=True) if name not in plain_of})
    return ForgetRequest(frozenset(plain_of), plain_of)
