"""READ: orders from files and databases, as they come, with their columns told apart.

Nothing is corrected here: `read_orders` gives the rows of the export and says which column is which;
``cleaning.clean_orders`` reads the values.
"""

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.addresses import DatabaseSource, is_database, orders_source
from repurchase.orders.databases import read_database
from repurchase.orders.layouts import Layout, recognise
from repurchase.orders.textfiles import read_text
from repurchase.settings import Settings

__all__ = ["FileRead", "RawOrders", "read_orders", "read_table"]

_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".zip", ".numbers")
_PARQUET_MARK = b"PAR1"


@dataclass(frozen=True)
class FileRead:
    """One file, or one table or query of a database, that was read.

    Parameters
    ----------
    path : str
        As found; a database's address without password.
    rows : int
        Rows in it.
    sha256 : str
        Digest of the file as stored; of a database, of the rows in the order they came.
    query : str, optional
        What a database was asked.
    """

    path: str
    rows: int
    sha256: str
    query: str | None = None


@dataclass(frozen=True)
class RawOrders:
    """An order log as exported.

    Parameters
    ----------
    rows : DataFrame
        Columns as in the export (text from CSV, typed from Parquet), in the order of the files.
    layout : Layout
        Which column is which.
    files : tuple of FileRead
        What was read, sorted by path.
    digest : str
        One sha256 over the files' digests.
    notes : tuple of str
        What a reader should know, in words.
    source : str
        What messages call the log.
    """

    rows: pl.DataFrame
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[str, ...] = ()
    source: str = "orders"


def read_orders(source: str | Path | DatabaseSource, *, settings: Settings | None = None) -> RawOrders:
    """Read an order log.

    Parameters
    ----------
    source : str, Path or DatabaseSource
        A CSV (also .gz; comma, semicolon, tab, bar or blanks; UTF-8, UTF-16 or Latin-1) or Parquet file, a folder of
        them (searched to the bottom; hidden files are left out), or a glob; or a table or query of a database (see
        ``addresses.orders_source``).
    settings : Settings, optional
        ``columns`` says which column is which where the names do not.

    Returns
    -------
    RawOrders
        The rows and their layout.

    Raises
    ------
    OrdersError
        If there is no such file, a file cannot be read, is empty or cut off, or the files' columns differ; or if a
        database cannot be reached or refuses.
    LayoutError
        If the columns cannot be told apart.
    InputError
        If a database comes without a table or query.

    Examples
    --------
    >>> read_orders("no-such-folder/orders.csv")
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: no-such-folder/orders.csv: no such file or folder. Check the path.
    """
    settings = settings or Settings()
    if isinstance(source, str | Path) and is_database(str(source)):
        source = orders_source(str(source))
    if isinstance(source, DatabaseSource):
        return _from_database(source, settings)
    paths, left_out = _find(str(source))
    frames, files, notes = [], [], [*left_out]
    for path in paths:
        rows, said = _read_file(path)
        frames.append(rows)
        files.append(FileRead(path=str(path), rows=rows.height, sha256=_sha256(path)))
        notes.extend(said)
    together = _stack(frames, paths)
    layout = recognise(together.columns, told=settings.columns, source=str(source))
    digest = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    return RawOrders(together, layout, tuple(files), digest, (*notes, *layout.notes), str(source))


def _from_database(source: DatabaseSource, settings: Settings) -> RawOrders:
    read = read_database(source, settings=settings)
    layout = recognise(read.rows.columns, told=settings.columns, source=str(source))
    asked = FileRead(path=source.shown, rows=read.rows.height, sha256=read.sha256, query=source.select)
    digest = hashlib.sha256(read.sha256.encode()).hexdigest()
    return RawOrders(read.rows, layout, (asked,), digest, (*read.notes, *layout.notes), str(source))


def read_table(path: str | Path) -> pl.DataFrame:
    """Read any one table, with the same care for delimiters and encodings as orders.

    Parameters
    ----------
    path : str or Path
        A CSV (also .gz) or Parquet file.

    Returns
    -------
    DataFrame
        Columns as in the file: text from CSV, typed from Parquet.

    Raises
    ------
    OrdersError
        If there is no such file, or it cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise OrdersError(f"{file}: no such file.{_near(file)}")
    return _read_file(file)[0]


def _find(source: str) -> tuple[list[Path], list[str]]:
    path = Path(source)
    if path.is_file():
        return [path], []
    if path.is_dir():
        return _in_folder(path)
    if any(sign in source for sign in "*?["):
        matches = _matches(path)
        if matches:
            return matches, []
        raise OrdersError(f"{source}: no file matches. Check the pattern, and put it in quotation marks.")
    raise OrdersError(f"{source}: no such file or folder.{_near(path)}")


def _matches(pattern: Path) -> list[Path]:
    try:
        found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        return sorted(match for match in found if match.is_file() and not match.name.startswith((".", "_")))
    except ValueError:
        return []


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return " Check the path."
    near = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    return f" Did you mean {' or '.join(near)}?" if near else " Check the path."


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    entries = sorted(entry for entry in folder.rglob("*") if entry.is_file() and not _hidden(entry, folder))
    readable = [entry for entry in entries if entry.name.lower().endswith(_PARQUET + _TEXT)]
    sheets = [entry.name for entry in entries if entry.name.lower().endswith(_SPREADSHEETS)]
    others = [entry.name for entry in entries if entry not in set(readable)]
    if not readable:
        raise OrdersError(
            f"{folder}: no CSV or Parquet file in this folder. Found: {first_few(others) if others else 'nothing'}. "
            "Save the orders as CSV or Parquet."
        )
    if sheets:
        raise OrdersError(
            f"{folder}: {len(sheets)} of {len(entries)} files cannot be read as orders: {first_few(sheets)}. "
            "Save them as CSV or Parquet, or move them away."
        )
    return readable, [f"Left out, as neither CSV nor Parquet: {first_few(others)}."] if others else []


def _hidden(entry: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in entry.relative_to(folder).parts)


def _read_file(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            mark = file.read(4)
        if mark == _PARQUET_MARK or path.suffix.lower() in _PARQUET:
            return _read_parquet(path)
        return read_text(path)
    except OSError as fault:
        raise OrdersError(f"{path}: cannot be read ({fault.strerror or fault}). Check the file.") from fault


def _read_parquet(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    try:
        rows = pl.read_parquet(path, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise OrdersError(
            f"{path}: not readable as Parquet ({str(fault).splitlines()[0]}). Export it again."
        ) from fault
    if rows.is_empty():
        raise OrdersError(f"{path}: columns but no orders. Found the columns {first_few(rows.columns, shown=12)}.")
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
    said = (f"{path.name}: columns of lists and records were left out: {first_few(nested)}.",) if nested else ()
    return rows.drop(nested), said


def _stack(frames: Sequence[pl.DataFrame], paths: Sequence[Path]) -> pl.DataFrame:
    first = frames[0]
    for rows, path in zip(frames[1:], paths[1:], strict=True):
        missing = [name for name in first.columns if name not in rows.columns]
        extra = [name for name in rows.columns if name not in first.columns]
        if missing or extra:
            lacks = f" lacks {first_few(missing)}" if missing else ""
            has = f" has {first_few(extra)} more" if extra else ""
            raise OrdersError(
                f"{path}:{lacks}{' and' if lacks and has else ''}{has} beside {paths[0].name}. "
                "All files of one log must have the same columns: export them alike, or give them one at a time."
            )
    differing = [name for name in first.columns if len({rows.schema[name] for rows in frames}) > 1]
    return pl.concat([rows.select(first.columns).with_columns(pl.col(differing).cast(pl.String)) for rows in frames])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
