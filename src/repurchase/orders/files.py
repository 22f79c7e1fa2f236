"""Any one file of an order log, opened by what it is: Parquet, a spreadsheet, an archive, or text."""

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.archives import MOST_UNPACKED, is_zip, tables_in_zip, unpacked
from repurchase.orders.folders import is_parquet
from repurchase.orders.parts import Part, open_parquet
from repurchase.orders.spreadsheets import is_spreadsheet, open_spreadsheet
from repurchase.orders.textfiles import LongLines, OpenedFile, open_text

__all__ = ["open_file"]

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_UNSTREAMED = (".parquet", ".pq", ".xlsx", ".xlsm", ".xls", ".ods")


@dataclass(frozen=True)
class _JoinedPart:
    """The tables of one archive, one after the other."""

    parts: tuple[Part, ...]
    schema: Mapping[str, pl.DataType]

    @property
    def n_rows(self) -> int:
        return sum(part.n_rows for part in self.parts)

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        for part in self.parts:
            casts = [pl.col(name).cast(self.schema[name]) for name in columns if part.schema[name] != self.schema[name]]
            for rows in part.batches(columns, n_rows=n_rows):
                yield rows.with_columns(*casts)


def open_file(
    path: Path,
    *,
    shown: str,
    spool: Path,
    set_aside: bool = False,
    encodings: Sequence[str] = (),
    wanted: Sequence[str] = (),
    most_bytes: int = MOST_UNPACKED,
) -> OpenedFile:
    """Open a file, whatever it is.

    Parameters
    ----------
    path : Path
        Text (plain or compressed), Parquet, a spreadsheet, or a zip archive of such.
    shown : str
        What messages call it.
    spool : Path
        Folder for rows that cannot be read where they lie.
    set_aside : bool
        Leave damaged lines out, and read Parquet once to find damage now.
    encodings : sequence of str
        Codecs of other files of the same log, for a text that does not show its own.
    wanted : sequence of str
        Columns that the caller named; they decide between the sheets of a spreadsheet.
    most_bytes : int
        From where on a compressed file may have no more than some hundred times its size.

    Returns
    -------
    OpenedFile
        Its rows.

    Raises
    ------
    OrdersError
        If it cannot be read, is damaged, or does not hold one table.
    """
    try:
        _require_file(path, shown)
        if is_parquet(path):
            return OpenedFile(*open_parquet(path, shown=shown, spool=spool, whole=set_aside))
        if is_zip(path):
            open_unpacked = partial(open_file, set_aside=set_aside, wanted=wanted, most_bytes=most_bytes)
            open_member = partial(open_text, path, set_aside=set_aside, encodings=encodings, most_bytes=most_bytes)
            unpack = partial(unpacked, path, most_bytes=most_bytes)
            return _open_zip(path, shown, spool, unpack=unpack, open_unpacked=open_unpacked, open_member=open_member)
        if is_spreadsheet(path):
            return OpenedFile(*open_spreadsheet(path, shown=shown, spool=spool, wanted=wanted, most_bytes=most_bytes))
        return open_text(
            path, shown=shown, spool=spool, set_aside=set_aside, encodings=encodings, most_bytes=most_bytes
        )
    except OSError as fault:
        raise OrdersError(f"{shown}: cannot be read ({fault.strerror or fault}). Check the file.") from fault


def _require_file(path: Path, shown: str) -> None:
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        raise OrdersError(f"{shown}: {what}, which can be read only once or not at all. Save the orders as a file.")


def _open_zip(
    path: Path,
    shown: str,
    spool: Path,
    *,
    unpack: Callable[..., Path],
    open_unpacked: Callable[..., OpenedFile],
    open_member: Callable[..., OpenedFile],
) -> OpenedFile:
    opened: dict[str, OpenedFile] = {}
    for number, member in enumerate(tables_in_zip(path, shown=shown)):
        name, folder = f"{shown}/{member}", spool / f"{number:05d}"
        if member.lower().endswith(_UNSTREAMED):
            copy = unpack(member, folder / "unpacked", shown=name)
            opened[member] = open_unpacked(copy, shown=name, spool=folder / "rows")
        else:
            opened[member] = open_member(shown=name, spool=folder, member=member)
    return _joined(opened, shown)


def _joined(opened: Mapping[str, OpenedFile], shown: str) -> OpenedFile:
    files = [*opened.values()]
    first = files[0]
    if any(set(file.part.schema) != set(first.part.schema) for file in files):
        raise OrdersError(
            f"{shown}: {len(files)} tables with different columns lie in this archive: {first_few(opened)}. "
            "Unpack it, and give the one with the orders."
        )
    schema = {
        name: kind if all(file.part.schema[name] == kind for file in files) else pl.String()
        for name, kind in first.part.schema.items()
    }
    part = first.part if len(files) == 1 else _JoinedPart(tuple(file.part for file in files), schema)
    notes = tuple(note for file in files for note in file.notes)
    doubtful = next((file.encoding for file in files if file.encoding.others), first.encoding)
    return OpenedFile(part, notes, reduce(LongLines.plus, (file.long_lines for file in files)), doubtful)
