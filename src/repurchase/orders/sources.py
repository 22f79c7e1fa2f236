"""READ: orders from files, object stores and databases, as they come, with their columns told apart.

Nothing is corrected here: `open_orders` says which column is which and gives the rows of the export in batches,
`read_orders` all at once; ``cleaning`` reads the values.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from repurchase.errors import InputError, LayoutError, OrdersError, first_few
from repurchase.orders.addresses import DatabaseSource, is_database, orders_source
from repurchase.orders.customer_aliases import customer_aliases
from repurchase.orders.databases import spool_database
from repurchase.orders.encodings import agreed_encodings
from repurchase.orders.files import open_file
from repurchase.orders.folders import find_files, nearest_names, partition_columns
from repurchase.orders.interpretation import interpret
from repurchase.orders.layouts import Layout
from repurchase.orders.logs import (
    FileFault,
    FileRead,
    Found,
    OrderLog,
    agreed_columns,
    differing_columns,
    digest_of,
    stacked,
)
from repurchase.orders.sampling import sample_rows
from repurchase.orders.stores import fetch, is_stored, list_stored, shown_address
from repurchase.orders.textfiles import LongLines, OpenedFile
from repurchase.settings import Settings

__all__ = ["FileFault", "FileRead", "OrderLog", "RawOrders", "open_orders", "read_orders", "read_table"]

_SPOOL = "orders"
_UNREAD = Layout("", {}, "orders", "none")
"""Of a log whose columns were not looked at yet."""
_ADVICE = " Or leave such files out with --on-bad-file set-aside."


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
    bad_files : tuple of FileFault
        Damaged files that were left out.
    n_bad_lines : int
        Damaged lines that were left out.
    """

    rows: pl.DataFrame
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[str, ...] = ()
    source: str = "orders"
    bad_files: tuple[FileFault, ...] = ()
    n_bad_lines: int = 0


def read_orders(source: str | Path | DatabaseSource, *, settings: Settings | None = None) -> RawOrders:
    """Read an order log, all of it at once.

    Parameters
    ----------
    source : str, Path or DatabaseSource
        As for `open_orders`.
    settings : Settings, optional
        As for `open_orders`.

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
    with _own_spool() as spool:
        log = open_orders(source, settings=settings or Settings(), spool=spool)
        return RawOrders(
            log.read(), log.layout, log.files, log.digest, log.notes, log.source, log.bad_files, log.n_bad_lines
        )


def open_orders(source: str | Path | DatabaseSource, *, settings: Settings, spool: Path) -> OrderLog:
    """Open an order log: see what it consists of, find its faults, and read its rows later, in batches.

    Parameters
    ----------
    source : str, Path or DatabaseSource
        A CSV (also .gz; comma, semicolon, tab, bar or blanks; UTF-8, UTF-16 or Latin-1) or Parquet file, a folder of
        them (searched to the bottom; hidden files are left out), or a glob; or a table or query of a database (see
        ``addresses.orders_source``).
    settings : Settings
        ``columns`` says which column is which where the names do not; ``on_bad_file`` whether damaged files and lines
        are left out.
    spool : Path
        Folder in which ``orders/`` is made anew, for rows that cannot be read in batches where they lie: those of
        databases, and of text that is not plain UTF-8. It must stay as long as batches are read.

    Returns
    -------
    OrderLog
        What is known of it, and its rows in batches.

    Raises
    ------
    OrdersError
        If there is no such file, a file cannot be read, is empty or cut off, or the files' columns differ; or if a
        database cannot be reached or refuses.
    LayoutError
        If the columns cannot be told apart.
    InputError
        If a database comes without a table or query.
    """
    folder = spool / _SPOOL
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(source, str | Path) and is_database(str(source)):
        source = orders_source(str(source))
    if isinstance(source, DatabaseSource):
        return _open_database(source, settings, folder)
    if is_stored(str(source)):
        return _open_stored(str(source), settings, folder)
    return _open_files(str(source), settings, folder)


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
        raise OrdersError(f"{file}: no such file.{nearest_names(file)}")
    with _own_spool() as spool:
        part = open_file(file, shown=str(file), spool=spool / _SPOOL).part
        return pl.concat(part.batches(tuple(part.schema), n_rows=part.n_rows))


@contextmanager
def _own_spool() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="repurchase-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _open_files(source: str, settings: Settings, folder: Path) -> OrderLog:
    paths, left_out = find_files(source)
    shown = [str(path) for path in paths]
    opened = _opened(paths, shown, root=source, folder=folder, settings=settings)
    return _log(source, opened, settings, [*left_out, *opened.notes])


def _open_stored(source: str, settings: Settings, folder: Path) -> OrderLog:
    stored, left_out = list_stored(source, seconds=settings.retry_seconds)
    shown = [file.shown for file in stored]
    paths = (
        fetch(file, folder / "fetched" / f"{number:05d}", seconds=settings.retry_seconds)
        for number, file in enumerate(stored)
    )
    root = shown_address(source)
    opened = _opened(paths, shown, root=root, folder=folder, settings=settings)
    return _log(root, opened, settings, [*left_out, *opened.notes])


@dataclass
class _Opened:
    """What opening one file after the other came to."""

    found: list[Found]
    notes: list[str]
    faults: list[FileFault]
    n_bad_lines: int = 0


def _opened(paths: Iterable[Path], shown: Sequence[str], *, root: str, folder: Path, settings: Settings) -> _Opened:
    opened = _Opened([], [], [])
    set_aside = settings.on_bad_file == "set_aside"
    folders = partition_columns(shown, root=root)
    files: dict[int, tuple[Path, OpenedFile]] = {}
    open_one = partial(
        open_file,
        set_aside=set_aside,
        wanted=tuple(settings.columns.values()),
        most_bytes=int(settings.memory_gb * 1e9),
    )
    for number, (path, name) in enumerate(zip(paths, shown, strict=True)):
        try:
            files[number] = path, open_one(path, shown=name, spool=folder / f"{number:05d}")
        except (OrdersError, LayoutError) as fault:
            if len(shown) == 1:
                raise
            if not set_aside:
                raise _with_advice(fault) from fault
            opened.faults.append(FileFault(name, _reason(fault, name)))
    known = agreed_encodings([file.encoding for _, file in files.values()])
    for number, (path, found) in files.items():
        name, file = shown[number], found
        if file.encoding.others and known:
            file = open_one(path, shown=name, spool=folder / f"{number:05d}", encodings=known)
        opened.found.append(Found(file.part, FileRead(name, file.part.n_rows, _sha256(path, name)), folders[number]))
        opened.notes.extend((*file.notes, *_words(file.long_lines, Path(name))))
        opened.n_bad_lines += file.long_lines.count
    if not opened.found:
        first = opened.faults[0]
        words = f"{root}: none of the {len(shown)} files can be read. The first, {first.path}: {first.why}"
        raise OrdersError(words, withheld=first.why)  # why may quote the file's rows
    if set_aside:
        _leave_out_differing(opened)
    return opened


def _leave_out_differing(opened: _Opened) -> None:
    model = agreed_columns(opened.found)
    differing = {found.file.path: differing_columns(found, model) for found in opened.found}
    opened.faults.extend(FileFault(path, f"{words}.") for path, words in differing.items() if words)
    opened.found = [found for found in opened.found if not differing[found.file.path]]


def _log(source: str, opened: _Opened, settings: Settings, notes: Sequence[str]) -> OrderLog:
    faults = tuple(sorted(opened.faults, key=lambda fault: fault.path))
    schema = stacked(opened.found, several_advice=_ADVICE)
    files = tuple(found.file for found in opened.found)
    count = len(faults) + len(files)
    aside = [f"Set aside, as damaged: {len(faults)} of {count} files: {_listed(faults)}."] if faults else []
    log = OrderLog(
        source,
        _UNREAD,
        files,
        digest_of(files),
        (*aside, *notes),
        schema,
        tuple(opened.found),
        faults,
        opened.n_bad_lines,
    )
    return _interpreted(log, settings)


def _interpreted(log: OrderLog, settings: Settings) -> OrderLog:
    """Decide the layout of a log that was opened."""
    by_folder = {name: pl.String() for name in log.parts[0].folders if name not in log.schema}
    # Folders' names are columns only where the files' own do not do: a row that two days' exports share stays one row.
    try:
        return _with_layout(log, settings)
    except LayoutError:
        if not by_folder:
            raise
    wider = _with_layout(replace(log, schema={**log.schema, **by_folder}), settings)
    used = {name: kind for name, kind in by_folder.items() if name in wider.layout.columns.values()}
    return replace(wider, schema={**log.schema, **used})


def _with_layout(log: OrderLog, settings: Settings) -> OrderLog:
    layout = interpret(sample_rows(log, named=settings.columns), named=settings.columns, source=log.source)
    layout = replace(layout, aliases=customer_aliases(log, layout))
    return replace(log, layout=layout, notes=(*log.notes, *layout.notes))


def _sha256(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise _unreadable(shown, fault) from fault


def _unreadable(shown: str, fault: OSError) -> OrdersError:
    return OrdersError(f"{shown}: cannot be read ({fault.strerror or fault}). Check the file.")


def _with_advice(fault: InputError) -> InputError:
    advice = "" if "set-aside" in str(fault) else _ADVICE
    return type(fault)(f"{fault}{advice}", withheld=fault.withheld)


def _reason(fault: InputError, shown: str) -> str:
    return fault.log_words.removeprefix(f"{shown}: ")


def _words(long_lines: LongLines, path: Path) -> tuple[str, ...]:
    if not long_lines.count:
        return ()
    numbers = ", ".join(f"{number:,}" for number in long_lines.first)
    more = (
        f", and {long_lines.count - len(long_lines.first):,} more" if long_lines.count > len(long_lines.first) else ""
    )
    are = "line was" if long_lines.count == 1 else "lines were"
    return (
        f"{path.name}: {long_lines.count:,} {are} set aside, with more columns than the heading: line {numbers}{more}.",
    )


def _listed(faults: Sequence[FileFault]) -> str:
    return first_few([f"{Path(fault.path).name} ({fault.why.rstrip('.')})" for fault in faults])


def _open_database(source: DatabaseSource, settings: Settings, folder: Path) -> OrderLog:
    read = spool_database(source, settings=settings, spool=folder)
    part = read.part
    queried = FileRead(path=source.shown, rows=part.n_rows, sha256=read.sha256, query=source.select)
    parts = (Found(part, queried, {}),)
    log = OrderLog(str(source), _UNREAD, (queried,), digest_of((queried,)), read.notes, part.schema, parts)
    return _interpreted(log, settings)
