"""Which files an order log consists of: files, folders, patterns and zip archives; compressed files streamed."""

import bz2
import difflib
import gzip
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import pyarrow as pa

from repurchase.errors import OrdersError, first_few
from repurchase.i18n.messages import Message, first_items, message

_PARQUET = (".parquet", ".pq")
_PLAIN_TEXT = (".csv", ".tsv", ".txt", ".tab")
_TEXT = tuple(text + packed for text in _PLAIN_TEXT for packed in ("", ".gz", ".bz2", ".xz", ".zst"))
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_TABLE_ENDINGS = (*_PARQUET, *_TEXT, *_SPREADSHEETS, ".zip")
_UNREADABLE = (".numbers", ".xlsb", ".7z", ".rar", ".tar", ".tgz", ".tar.gz", *_SPREADSHEETS, ".zip")
SPARK_TABLES = (*_PARQUET, ".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_EXPLANATIONS = ("readme", "read me", "license", "licence", "liesmich", "lisezmoi", "leeme", "lesmeg", "lasmig")
_HIDDEN = (".", "_", "~$")
_PARQUET_MARK = b"PAR1"
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_SPREADSHEET_MEMBERS = {"[content_types].xml", "mimetype", "xl/workbook.xml", "content.xml", "index/document.iwa"}
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.CompressedInputStream(str(path), "zstd"),
}
_ARCHIVE_FAULTS = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_PRIVATE = 0o700
_CHUNK_BYTES = 1 << 22
MOST_UNPACKED = 1 << 32
"""Bytes that a file may unpack to where no setting says otherwise."""
_MOST_RATIO = 200
"""Orders shrink to a fiftieth at best; what shrinks further and is large was made to be."""


def is_compressed(path: Path) -> bool:
    """Say whether a file is compressed, by its first bytes."""
    return _first_bytes(path).startswith(tuple(_COMPRESSED))


def is_parquet(path: Path) -> bool:
    """Say whether a file is Parquet, by its first bytes or by its name."""
    return _first_bytes(path).startswith(_PARQUET_MARK) or path.suffix.lower() in _PARQUET


def is_zip(path: Path) -> bool:
    """Say whether a file is a zip archive and no spreadsheet."""
    if not _first_bytes(path).startswith(_ZIP_MARKS) or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not _SPREADSHEET_MEMBERS & {name.lower() for name in archive.namelist()}


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


def cannot_keep(shown: str, folder: Path, fault: Exception) -> OrdersError:
    """The error where what was read finds no place on disk."""
    reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault).splitlines()[0]
    return OrdersError(
        f"{shown}: cannot be kept in {folder} while it is read ({reason}). "
        "Free space there, or set TMPDIR to a folder with more."
    )


def decompressed_bytes(
    path: Path, *, shown: str, member: str | None, size: int, most_bytes: int = MOST_UNPACKED
) -> Iterator[bytes]:
    """Stream a file's bytes, decompressed."""
    n_bytes, packed = 0, path.stat().st_size
    try:
        with _opened(path, member) as file:
            while chunk := file.read(size):
                n_bytes += len(chunk)
                if n_bytes > max(most_bytes, _MOST_RATIO * packed):
                    raise OrdersError(
                        f"{shown}: {packed:,} bytes unpack to more than {n_bytes >> 20:,} MB, hardly orders. Check "
                        "the file; if they are, raise memory_gb or unpack it yourself."
                    )
                yield chunk
    except (*_ARCHIVE_FAULTS, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        raise OrdersError(
            f"{shown}: the compressed file is damaged or ends too early ({fault}). Export it again."
        ) from fault


def tables_in_zip(path: Path, *, shown: str) -> list[str]:
    """Name the tables in an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir() and not is_hidden(one.filename)]
    except _ARCHIVE_FAULTS as fault:
        raise OrdersError(f"{shown}: the archive is damaged ({fault}). Export it again.") from fault
    tables = [
        entry
        for entry in entries
        if entry.filename.lower().removesuffix(".gz").endswith((*_PLAIN_TEXT, *_PARQUET, *_SPREADSHEETS))
    ]
    tables = [entry for entry in tables if not _is_explanation(entry.filename)] or tables
    if len(entries) == 1 and not entries[0].filename.lower().endswith(".zip"):
        tables = entries
    if not tables:
        found = first_few(sorted(entry.filename for entry in entries)) if entries else "nothing"
        raise OrdersError(
            f"{shown}: no table in this archive. Found: {found}. Save the orders as CSV, Excel or Parquet."
        )
    locked = [entry.filename for entry in tables if entry.flag_bits & 1]
    if locked:
        raise OrdersError(
            f"{shown}: {first_few(locked)} needs a password. Unpack the archive and give the file itself."
        )
    return sorted(entry.filename for entry in tables)


def unpack_member(path: Path, member: str, target: Path, *, shown: str, most_bytes: int = MOST_UNPACKED) -> Path:
    """Unpack one file of an archive that cannot be read in pieces, such as a spreadsheet."""
    packed = path.stat().st_size
    shutil.rmtree(target, ignore_errors=True)
    copy, n_bytes = target / Path(member).name, 0
    try:
        target.mkdir(parents=True, mode=_PRIVATE)
        with copy.open("wb") as file:
            for chunk in decompressed_bytes(path, shown=shown, member=member, size=_CHUNK_BYTES):
                n_bytes += len(chunk)
                _refuse_bomb(n_bytes, packed, shown, most_bytes)
                file.write(chunk)
    except OSError as fault:
        raise cannot_keep(shown, target, fault) from fault
    return copy


def _refuse_bomb(n_bytes: int, packed: int, shown: str, most_bytes: int) -> None:
    least = min(most_bytes, 1 << 28)
    if n_bytes > MOST_UNPACKED or n_bytes > max(least, _MOST_RATIO * packed):
        raise OrdersError(
            f"{shown}: {packed:,} bytes unpack to more than {n_bytes >> 20:,} MB, too much for orders in this format. "
            "Save them as CSV."
        )


def require_bounded_size(path: Path, *, shown: str, most_bytes: int) -> None:
    """Refuse a zipped spreadsheet that would not fit into memory."""
    n_bytes, packed = 0, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _ARCHIVE_FAULTS as fault:
        raise OrdersError(f"{shown}: the spreadsheet is damaged ({fault}). Save it again.") from fault
    for name in names:
        for chunk in decompressed_bytes(path, shown=shown, member=name, size=_CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > most_bytes:
                raise OrdersError(
                    f"{shown}: a spreadsheet of {packed:,} bytes that unpacks to more than {most_bytes >> 20:,} MB. "
                    "Save the orders as CSV."
                )


def _is_explanation(name: str) -> bool:
    """Say whether a file explains an export."""
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return stem.startswith(_EXPLANATIONS) and stem.endswith((".txt", ".md"))


def _opened(path: Path, member: str | None) -> BinaryIO:
    if member is not None:
        return _opened_member(path, member)
    head = _first_bytes(path)
    opener = next((opener for mark, opener in _COMPRESSED.items() if head.startswith(mark)), None)
    return path.open("rb") if opener is None else cast("BinaryIO", opener(path))


def _opened_member(path: Path, member: str) -> BinaryIO:
    with zipfile.ZipFile(path) as archive:
        file = archive.open(member)  # keeps the archive's file open
    return cast("BinaryIO", gzip.open(file, "rb") if member.lower().endswith(".gz") else file)


def is_hidden(name: str) -> bool:
    """Whether a file in an archive or a store, or a folder above it, is not meant to be read."""
    return any(part.startswith((".", "_")) for part in name.replace("\\", "/").split("/"))


def _require_name(path: str | Path) -> None:
    """Refuse a name that is no text, as it could be neither shown nor written into a record."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as fault:
        shown = os.fsencode(path).decode("utf-8", errors="backslashreplace")
        raise OrdersError(f"{shown}: the name is not UTF-8. Rename it and try again.") from fault


class _FileCollector:
    """Collects files, each once, real ones before links to them."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._linked_files: list[Path] = []
        self._linked_folders: list[Path] = []
        self._seen: dict[tuple[int, int], Path] = {}
        self._notes: list[Message] = []

    def add(self, path: Path) -> None:
        _require_name(path)
        mode = _path_mode(path)
        if mode is None or not stat.S_ISDIR(mode):
            is_link = path.is_symlink() and mode is not None
            (self._linked_files if is_link else self._files).append(path)
        elif path.is_symlink():
            self._linked_folders.append(path)
        else:
            self.add_folder(path)

    def add_folder(self, folder: Path) -> None:
        if self._is_new(folder):
            for path in _listed(folder):
                self.add(path)

    def finished(self) -> tuple[list[Path], list[Message]]:
        while self._linked_folders:
            self.add_folder(self._linked_folders.pop(0))
        files = [path for path in self._files if not path.exists() or self._is_new(path)]
        files += [path for path in self._linked_files if self._is_new(path)]
        return sorted(set(files)), self._notes

    def _is_new(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError as fault:
            raise OrdersError(_unlisted(path, fault)) from fault
        first = self._seen.setdefault((found.st_dev, found.st_ino), path)
        if first != path:
            self._notes.append(message("file_note.same_as", path=str(path), first=str(first)))
        return first == path


def _matches(folder: Path, pattern: Sequence[str], above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """What matches the parts of a pattern below a folder; ``above`` are folders that ``**`` came through."""
    if not pattern:
        yield folder
        return
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        found = folder.stat()
        if (found.st_dev, found.st_ino) not in above:
            yield from _matches(folder, rest)
            for path in _folders(_listed(folder)):
                yield from _matches(path, pattern, (*above, (found.st_dev, found.st_ino)))
    elif _is_pattern(first):
        matching = [path for path in _listed(folder) if fnmatchcase(path.name, first)]
        for path in _folders(matching) if rest else matching:
            yield from _matches(path, rest)
    elif os.path.lexists(folder / first):
        yield from _matches(folder / first, rest)


def _is_pattern(text: str) -> bool:
    return any(wildcard in text for wildcard in "*?[")


def _folders(paths: Iterable[Path]) -> Iterator[Path]:
    for path in sorted(paths, key=Path.is_symlink):
        mode = _path_mode(path)
        if mode is not None and stat.S_ISDIR(mode):
            yield path


def _path_mode(path: Path) -> int | None:
    """What a path leads to; nothing where it has a table's name and cannot be followed."""
    try:
        return path.stat().st_mode
    except OSError as fault:
        if path.name.lower().endswith(_TABLE_ENDINGS):
            return None
        what = "a link that leads nowhere" if path.is_symlink() else "cannot be read"
        raise OrdersError(
            f"{path}: {what} ({fault.strerror}), so orders could be missing. Restore it, or remove it from there."
        ) from fault


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if not entry.name.startswith(_HIDDEN))
    except OSError as fault:
        raise OrdersError(_unlisted(folder, fault)) from fault


def _unlisted(folder: Path, fault: OSError) -> str:
    return (
        f"{folder}: this folder cannot be listed ({fault.strerror or fault}), so orders would be missing. "
        "Allow reading it, or move it away."
    )


def find_files(source: str) -> tuple[list[Path], list[Message]]:
    """Name the files of an order log."""
    _require_name(source)
    path = Path(source)
    mode = _file_mode(path)
    if mode is not None:
        return _in_folder(path) if stat.S_ISDIR(mode) else ([path], [])
    if not _is_pattern(source):
        raise OrdersError(f"{source}: no such file or folder.{nearest_names(path)}")
    n_fixed = len(Path(*pattern_root(source)).parts)
    root, files = Path(*path.parts[:n_fixed]), _FileCollector()
    for match in _matches(root, path.parts[n_fixed:]) if os.path.lexists(root) else ():
        files.add(match)
    found, notes = files.finished()
    if not found:
        raise OrdersError(f"{source}: no file matches. Check the pattern, and put it in quotation marks.")
    return found, notes


def _file_mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as fault:
        if not isinstance(fault, ValueError) and path.is_symlink():
            raise OrdersError(
                f"{path}: a link that leads nowhere, to {path.readlink()}. Check where it leads."
            ) from fault
        return None
    except OSError as fault:
        raise OrdersError(f"{path}: cannot be read ({fault.strerror}). Check the path.") from fault


def nearest_names(path: Path) -> str:
    """Say what else could have been meant by a path that leads nowhere."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return " Check the path."
    near = difflib.get_close_matches(path.name, names, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else " Check the path."


def partition_columns(paths: Sequence[str], *, root: str) -> list[dict[str, str | None]]:
    """Read the columns that folders' names hold, as in ``year=2024/month=01/part-0.parquet``."""
    above = len(pattern_root(root))
    found = [_pairs(path.split("/")[above:-1]) for path in paths]
    if len({tuple(pairs) for pairs in found}) > 1:
        return [{} for _ in paths]
    return found


def pattern_root(pattern: str) -> list[str]:
    """Name the folders of a pattern above its first wildcard."""
    parts = pattern.rstrip("/").split("/")
    return parts[: next((at for at, part in enumerate(parts) if _is_pattern(part)), len(parts))]


def _pairs(folders: Sequence[str]) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs if name}


def _in_folder(folder: Path) -> tuple[list[Path], list[Message]]:
    files = _FileCollector()
    files.add_folder(folder)
    entries, notes = files.finished()
    names = {entry: entry.relative_to(folder).as_posix() for entry in entries}
    readable, left_out = readable_files([*names.values()], where=str(folder))
    kept = set(readable)
    return [entry for entry, name in names.items() if name in kept], [*notes, *left_out]


def readable_files(
    names: Sequence[str], *, where: str, endings: tuple[str, ...] = _TABLE_ENDINGS
) -> tuple[list[str], list[Message]]:
    """Select the files of a folder that can hold orders, by their names."""
    tables = [name for name in names if name.lower().endswith(endings)]
    readable = [name for name in tables if not _is_explanation(name)] or tables
    others = [name.rpartition("/")[2] for name in names if name not in set(readable)]
    unreadable = [name for name in others if name.lower().endswith(_UNREADABLE)]
    if not readable:
        raise OrdersError(
            f"{where}: no CSV or Parquet file in this folder. Found: {first_few(others) if others else 'nothing'}. "
            "Save the orders as CSV or Parquet."
        )
    if unreadable:
        raise OrdersError(
            f"{where}: {len(unreadable)} of {len(names)} files cannot be read as orders: {first_few(unreadable)}. "
            "Save them as CSV or Parquet, or move them away."
        )
    return readable, [message("file_note.left_out", names=first_items(others))] if others else []
