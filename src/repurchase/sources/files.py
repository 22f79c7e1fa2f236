"""The files of an order log, and each opened by what it is: Parquet, a spreadsheet, an archive, or text."""

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.i18n.messages import Message
from repurchase.sources.delimited_text import open_text
from repurchase.sources.folders import MOST_UNPACKED, find_files, is_parquet, is_zip, tables_in_zip, unpack_member
from repurchase.sources.locations import fetch_file, is_remote, list_remote_files, redacted_address
from repurchase.sources.spreadsheets import is_spreadsheet, open_spreadsheet
from repurchase.sources.tables import FileOptions, JoinedTables, LongLines, OpenedFile, open_parquet
from repurchase.storage.json_files import sha256_of

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_UNSTREAMED = (".parquet", ".pq", ".xlsx", ".xlsm", ".xls", ".ods")


@dataclass(frozen=True)
class LocatedFiles:
    """The files of an order log: their names as shown, and their paths, which fetch those of a store one by one."""

    root: str
    names: tuple[str, ...]
    paths: Iterable[Path]
    notes: tuple[Message, ...]


def locate_files(source: str, *, seconds: int, spool: Path) -> LocatedFiles:
    """Find the files of an order log, here, in an object store or on a web server."""
    if not is_remote(source):
        paths, notes = find_files(source)
        return LocatedFiles(source, tuple(map(str, paths)), paths, tuple(notes))
    stored, notes = list_remote_files(source, seconds=seconds)
    fetched = (fetch_file(file, spool / f"{number:05d}", seconds=seconds) for number, file in enumerate(stored))
    return LocatedFiles(redacted_address(source), tuple(file.shown for file in stored), fetched, tuple(notes))


def open_file(
    path: Path,
    *,
    shown: str,
    spool: Path,
    set_aside: bool = False,
    encodings: Sequence[str] = (),
    columns: Sequence[str] = (),
    most_bytes: int = MOST_UNPACKED,
) -> OpenedFile:
    """Open a file, whatever it is."""
    try:
        _require_file(path, shown)
        options = FileOptions(set_aside, encodings, columns, most_bytes)
        opened = _open_any(path, shown=shown, spool=spool, options=options)
        return opened if opened.sha256 else replace(opened, sha256=sha256_of(path))
    except OSError as fault:
        raise OrdersError(f"{shown}: cannot be read ({fault.strerror or fault}). Check the file.") from fault


def _require_file(path: Path, shown: str) -> None:
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        raise OrdersError(f"{shown}: {what}, which can be read only once or not at all. Save the orders as a file.")


def _open_any(path: Path, *, shown: str, spool: Path, options: FileOptions) -> OpenedFile:
    kinds = ((is_parquet, open_parquet), (is_zip, _open_zip), (is_spreadsheet, open_spreadsheet))
    open_kind = next((opener for is_kind, opener in kinds if is_kind(path)), open_text)
    return open_kind(path, shown=shown, spool=spool, options=options)


def _open_zip(path: Path, *, shown: str, spool: Path, options: FileOptions) -> OpenedFile:
    opened: dict[str, OpenedFile] = {}
    for number, member in enumerate(tables_in_zip(path, shown=shown)):
        name, folder = f"{shown}/{member}", spool / f"{number:05d}"
        if member.lower().endswith(_UNSTREAMED):
            copy = unpack_member(path, member, folder / "unpacked", shown=name, most_bytes=options.most_bytes)
            opened[member] = _open_any(copy, shown=name, spool=folder / "rows", options=options)
        else:
            opened[member] = open_text(path, shown=name, spool=folder, options=options, member=member)
    return _joined(opened, shown)


def _joined(opened: Mapping[str, OpenedFile], shown: str) -> OpenedFile:
    files = [*opened.values()]
    tables = tuple(file.table for file in files)
    first = tables[0].schema
    if any(set(table.schema) != set(first) for table in tables):
        raise OrdersError(
            f"{shown}: {len(files)} tables with different columns lie in this archive: {first_few(opened)}. "
            "Unpack it, and give the one with the orders."
        )
    if len(files) == 1:
        return replace(files[0], sha256="")
    schema = {
        name: kind if all(table.schema[name] == kind for table in tables) else pl.String()
        for name, kind in first.items()
    }
    notes = tuple(note for file in files for note in file.notes)
    uncertain = next((file.encoding for file in files if file.encoding.others), files[0].encoding)
    long_lines = sum((file.long_lines for file in files), LongLines())
    return OpenedFile(JoinedTables(tables, schema), notes, long_lines, uncertain)
