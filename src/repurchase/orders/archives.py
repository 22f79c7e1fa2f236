"""Compressed files and archives: what lies in them, streamed; nothing is unpacked that could be endless."""

import bz2
import gzip
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from repurchase.errors import OrdersError, first_few

__all__ = [
    "MOST_UNPACKED",
    "TABLES",
    "is_compressed",
    "is_explanation",
    "is_zip",
    "require_bounded",
    "stored_bytes",
    "tables_in_zip",
    "unpacked",
]

TABLES = (".csv", ".tsv", ".txt", ".tab", ".parquet", ".pq", ".xlsx", ".xlsm", ".xls", ".ods")
_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_SPREADSHEET_MEMBERS = {"[content_types].xml", "mimetype", "xl/workbook.xml", "content.xml", "index/document.iwa"}
_FAULTS = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)
_EXPLANATIONS = ("readme", "read me", "license", "licence", "liesmich", "lisezmoi", "leeme", "lesmeg", "lasmig")
_PRIVATE = 0o700
_CHUNK_BYTES = 1 << 22
MOST_UNPACKED = 1 << 32
"""Bytes that a file may unpack to where no setting says otherwise."""
_MOST_RATIO = 200
"""Orders shrink to a fiftieth at best; what shrinks further and is large was made to be."""


def is_compressed(path: Path) -> bool:
    """Say whether a file is compressed, by its first bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        For gzip, bzip2, xz and Zstandard.
    """
    return _compression(path) is not None


def is_zip(path: Path) -> bool:
    """Say whether a file is a zip archive and no spreadsheet.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        By its first bytes and by what lies in it.
    """
    with path.open("rb") as file:
        if file.read(4) not in _ZIP or not zipfile.is_zipfile(file):
            return False
    with zipfile.ZipFile(path) as archive:
        return not _SPREADSHEET_MEMBERS & {name.lower() for name in archive.namelist()}


def stored_bytes(
    path: Path, *, shown: str, member: str | None, size: int, most_bytes: int = MOST_UNPACKED
) -> Iterator[bytes]:
    """Stream a file's bytes, decompressed.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What messages call it.
    member : str, optional
        Which file of an archive, where the path is one.
    size : int
        Bytes of a piece, at most.
    most_bytes : int
        From where on it may have no more than some hundred times its compressed size; counted, not believed.

    Yields
    ------
    bytes
        The pieces.

    Raises
    ------
    OrdersError
        If it is damaged, or absurdly large for its compressed size.
    OSError
        If it cannot be read.
    """
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
    except _FAULTS as fault:
        raise OrdersError(
            f"{shown}: the compressed file is damaged or ends too early ({fault}). Export it again."
        ) from fault
    except OSError as fault:
        if fault.errno is not None:
            raise
        raise OrdersError(
            f"{shown}: the compressed file is damaged or ends too early ({fault}). Export it again."
        ) from fault


def tables_in_zip(path: Path, *, shown: str) -> list[str]:
    """Name the tables in an archive.

    Parameters
    ----------
    path : Path
        The archive.
    shown : str
        What messages call it.

    Returns
    -------
    list of str
        Sorted; hidden files and those that are no tables are left out.

    Raises
    ------
    OrdersError
        If there is none, or the archive is damaged or needs a password.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
    except _FAULTS as fault:
        raise OrdersError(f"{shown}: the archive is damaged ({fault}). Export it again.") from fault
    tables = [entry for entry in entries if entry.filename.lower().removesuffix(".gz").endswith(TABLES)]
    tables = [entry for entry in tables if not is_explanation(entry.filename)] or tables
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


def unpacked(path: Path, member: str, target: Path, *, shown: str, most_bytes: int = MOST_UNPACKED) -> Path:
    """Unpack one file of an archive that cannot be read in pieces, such as a spreadsheet.

    Parameters
    ----------
    path : Path
        The archive.
    member : str
        Which file.
    target : Path
        The folder to put it in.
    shown : str
        What messages call it.
    most_bytes : int
        As in `stored_bytes`.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    OrdersError
        If it is damaged, absurdly large for its compressed size, or cannot be kept.
    """
    packed = path.stat().st_size
    shutil.rmtree(target, ignore_errors=True)
    copy, n_bytes = target / Path(member).name, 0
    try:
        target.mkdir(parents=True, mode=_PRIVATE)
        with copy.open("wb") as file:
            for chunk in stored_bytes(path, shown=shown, member=member, size=_CHUNK_BYTES):
                n_bytes += len(chunk)
                _refuse_bomb(n_bytes, packed, shown, most_bytes)
                file.write(chunk)
    except OSError as fault:
        raise OrdersError(
            f"{shown}: cannot be unpacked in {target} ({fault.strerror or fault}). "
            "Free space there, or set TMPDIR to a folder with more."
        ) from fault
    return copy


def _refuse_bomb(n_bytes: int, packed: int, shown: str, most_bytes: int) -> None:
    least = min(most_bytes, 1 << 28)
    if n_bytes > MOST_UNPACKED or n_bytes > max(least, _MOST_RATIO * packed):
        raise OrdersError(
            f"{shown}: {packed:,} bytes unpack to more than {n_bytes >> 20:,} MB, too much for orders in this format. "
            "Save them as CSV."
        )


def require_bounded(path: Path, *, shown: str, most_bytes: int) -> None:
    """Refuse a zipped spreadsheet that would not fit into memory.

    Parameters
    ----------
    path : Path
        The spreadsheet.
    shown : str
        What messages call it.
    most_bytes : int
        What its parts may have together, unpacked; they are counted, not believed.

    Raises
    ------
    OrdersError
        If it is larger, or damaged.
    """
    n_bytes, packed = 0, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _FAULTS as fault:
        raise OrdersError(f"{shown}: the spreadsheet is damaged ({fault}). Save it again.") from fault
    for name in names:
        for chunk in stored_bytes(path, shown=shown, member=name, size=_CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > most_bytes:
                raise OrdersError(
                    f"{shown}: a spreadsheet of {packed:,} bytes that unpacks to more than {most_bytes >> 20:,} MB. "
                    "Save the orders as CSV."
                )


def is_explanation(name: str) -> bool:
    """Say whether a file explains an export.

    Parameters
    ----------
    name : str
        Of the file, with or without its folder.

    Returns
    -------
    bool
        True for ``README.txt`` and the like.

    Examples
    --------
    >>> is_explanation("export/README.txt"), is_explanation("orders.txt")
    (True, False)
    """
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return stem.startswith(_EXPLANATIONS) and stem.endswith((".txt", ".md"))


def _compression(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(6)
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def _opened(path: Path, member: str | None) -> BinaryIO:
    if member is not None:
        return _opened_member(path, member)
    match _compression(path):
        case "gzip":
            return cast("BinaryIO", gzip.open(path, "rb"))
        case "bz2":
            return cast("BinaryIO", bz2.open(path, "rb"))
        case "xz":
            return cast("BinaryIO", lzma.open(path, "rb"))
        case "zstd":
            import pyarrow as pa

            return cast("BinaryIO", pa.CompressedInputStream(str(path), "zstd"))
        case _:
            return path.open("rb")


def _opened_member(path: Path, member: str) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    try:
        file = archive.open(member)
    finally:
        archive.close()  # the member keeps the file open
    return cast("BinaryIO", gzip.open(file, "rb") if member.lower().endswith(".gz") else file)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.replace("\\", "/").split("/"))
