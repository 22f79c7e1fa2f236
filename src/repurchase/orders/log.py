"""An order log opened from any source: its columns and layout are known, its rows are read in batches."""

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import polars as pl

from repurchase.errors import InputError, LayoutError, OrdersError, first_few
from repurchase.i18n.messages import Message, message
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.column_profiles import profile_columns, rank_columns
from repurchase.orders.ids import clean_ids, known_ids, pseudonymise, pseudonymise_rows
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.orders.mergeable import Mergeable
from repurchase.settings import Settings
from repurchase.sources.databases import open_database
from repurchase.sources.encodings import agreed_encodings
from repurchase.sources.files import LocatedFiles, locate_files, open_file
from repurchase.sources.folders import nearest_names, partition_columns
from repurchase.sources.locations import DatabaseSource, is_database, parse_orders_source
from repurchase.sources.tables import OpenedFile, SourceTable, rebatched

_BATCH_ROWS = 500_000
_ADVICE = " Or leave such files out with --on-bad-file set-aside."


@dataclass(frozen=True)
class FileRead:
    """One file, or one table or query of a database, that was read."""

    path: str
    rows: int
    sha256: str
    query: str | None = None


@dataclass(frozen=True)
class _FileFault:
    """A damaged file that was left out, as the settings allow."""

    path: str
    why: str


@dataclass(frozen=True)
class _OpenedTable:
    """One file, table or query of a log, as opened."""

    table: SourceTable
    file: FileRead
    folders: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns."""
        return frozenset(self.table.schema)


@dataclass(frozen=True)
class OrderLog:
    """An order log as exported, opened but not read."""

    source: str
    layout: Layout
    files: tuple[FileRead, ...]
    notes: tuple[Message, ...]
    schema: Mapping[str, pl.DataType]
    tables: tuple[_OpenedTable, ...] = ()
    bad_files: tuple[_FileFault, ...] = ()
    n_bad_lines: int = 0
    pseudonymize: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    @property
    def n_rows(self) -> int:
        """Rows in all files together."""
        return sum(opened.table.n_rows for opened in self.tables)

    @property
    def digest(self) -> str:
        """A digest of all files together."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()

    def read(self) -> pl.DataFrame:
        """Read everything at once."""
        return pl.concat(self._frames(tuple(self.schema), n_rows=max(self.n_rows, 1)))

    def batches(self, columns: Sequence[str] | None = None, n_rows: int = _BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the same rows in the same order, any number of times, with memory for about two batches."""
        chosen = tuple(self.schema) if columns is None else tuple(columns)
        yield from rebatched(self._frames(chosen, n_rows=n_rows), n_rows=n_rows)

    def _frames(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        for number, opened in enumerate(self.tables):
            schema = opened.table.schema
            stored = [name for name in columns if name in schema]
            added = [
                pl.lit(opened.folders[name], dtype=pl.String).alias(name) for name in columns if name not in stored
            ]
            cast = [pl.col(name).cast(self.schema[name]) for name in stored if schema[name] != self.schema[name]]
            numbered = [pl.lit(number, dtype=pl.UInt32).alias(FILE_COLUMN)] if len(self.tables) > 1 else []
            for batch in opened.table.batches(stored or [next(iter(schema))], n_rows=n_rows):
                rows = batch.with_columns(*cast, *added).select(*columns, *numbered)
                yield self.pseudonymize(rows) if self.pseudonymize else rows


def _usual_table(opened: Sequence[_OpenedTable]) -> _OpenedTable:
    """Find a table whose columns most tables have."""
    counts = Counter(table.columns for table in opened)
    most = max(counts.values())
    return next(table for table in opened if counts[table.columns] == most)


def _differing_columns(opened: _OpenedTable, other: _OpenedTable) -> str:
    """Say how a table's columns differ from another's."""
    missing = [name for name in other.table.schema if name not in opened.columns]
    extra = [name for name in opened.table.schema if name not in other.columns]
    lacks = [f"lacks {first_few(missing)}"] if missing else []
    has = [f"also has {first_few(extra)}"] if extra else []
    differences = " and ".join([*lacks, *has])
    return f"{differences}, compared with {other.file.path.rpartition('/')[2]}" if differences else ""


def _common_schema(opened: Sequence[_OpenedTable]) -> dict[str, pl.DataType]:
    """Agree on the columns and types of all tables together."""
    first = opened[0]
    for table in opened[1:]:
        differs = _differing_columns(table, first)
        if differs:
            raise OrdersError(
                f"{table.file.path}: {differs}. All files of one log must have the same columns: export them alike, "
                f"or give them one at a time.{_ADVICE}"
            )
    return {name: kind if _is_common(name, kind, opened) else pl.String() for name, kind in first.table.schema.items()}


def _is_common(name: str, kind: pl.DataType, opened: Sequence[_OpenedTable]) -> bool:
    is_coded = isinstance(kind, pl.Categorical | pl.Enum)
    return not is_coded and all(table.table.schema[name] == kind for table in opened)


def _customer_aliases(log: OrderLog, layout: Layout) -> dict[str, str]:
    """Find the id in the first column of customers that is known only by the second on some rows."""
    columns = layout.customer_columns
    if len(columns) < 2:
        return {}
    pairs = pl.DataFrame(schema={"first": pl.String(), "second": pl.String()})
    alone = pl.Series("second", dtype=pl.String())
    for rows in log.batches(columns):
        ids = dict(zip(("first", "second"), (known_ids(rows[column]) for column in columns), strict=True))
        known = pl.DataFrame(ids).drop_nulls("second").unique()
        pairs = pl.concat([pairs, known.drop_nulls()]).unique()
        alone = pl.concat([alone, known.filter(pl.col("first").is_null())["second"]]).unique()
    single = pairs.filter(pl.col("second").is_in(alone.implode()) & ~pl.col("second").is_duplicated())
    return dict(single.select("second", "first").sort("second").rows())


MOST_ROWS = 200_000
_PROFILED_ROWS = 10_000
_DEEPEST = 32


@dataclass(frozen=True)
class OrderSampling(Mergeable):
    """Which rows belong to a sample of at most so many rows; the same however the rows are split.

    Each order has a depth, a number that half of all orders reach, a quarter surpass by one, and so on. A sample holds
    the orders of at least some depth.
    """

    column: str | None = field(metadata={"merge": lambda column, _: column})
    counts: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: pl.DataFrame, *, named: Mapping[str, str]) -> "OrderSampling":
        """Find the column of order numbers."""
        if named.get("order_id") in rows.columns:
            return cls(named["order_id"])
        found = rank_columns(profile_columns(rows.head(_PROFILED_ROWS)), "order_id")
        return cls(found[0].profile.text if found else None)

    def counting(self, rows: pl.DataFrame) -> "OrderSampling":
        """Count further rows."""
        return self + OrderSampling(self.column, Counter(dict(self._depths(rows).value_counts().iter_rows())))

    def depth(self, most: int = MOST_ROWS) -> int:
        """Find the depth that orders of the sample have."""
        left = sum(self.counts.values())
        for depth in range(_DEEPEST + 1):
            after = left - self.counts[depth]
            if left <= most or not after:
                return depth
            left = after
        return _DEEPEST

    def take(self, rows: pl.DataFrame, depth: int) -> pl.DataFrame:
        """Take the rows of the sample."""
        return rows.filter(self.chosen(rows, depth)) if depth else rows

    def chosen(self, rows: pl.DataFrame, depth: int) -> pl.Series:
        """Say which rows the sample has."""
        return self._depths(rows) >= depth

    def _depths(self, rows: pl.DataFrame) -> pl.Series:
        if self.column in rows.columns:
            hashes = clean_ids(rows[self.column]).forward_fill().fill_null("").hash(seed=0)
        else:
            hashes = rows.drop(FILE_COLUMN, strict=False).hash_rows(seed=0)
        depths: pl.Series = (hashes % 2**_DEEPEST).bitwise_trailing_zeros().clip(upper_bound=_DEEPEST)
        return depths.cast(pl.Int64).rename("")


def _sample_rows(log: OrderLog, *, named: Mapping[str, str], most: int = MOST_ROWS) -> pl.DataFrame:
    """Read all rows of a small log, and all lines of some orders of a large one."""
    if log.n_rows <= most:
        return log.read()
    sampling, depth, taken = None, 0, list[pl.DataFrame]()
    for rows in log.batches():
        sampling = (sampling or OrderSampling.of(rows, named=named)).counting(rows)
        taken.append(sampling.take(rows, depth))
        deeper = sampling.depth(most)
        if deeper > depth:
            taken, depth = [sampling.take(part, deeper) for part in taken], deeper
    return pl.concat(taken).head(most)


_SPOOL = "orders"
_NO_LAYOUT = Layout("", {}, "orders", "none")
"""Of a log whose columns are not detected yet."""


@dataclass(frozen=True)
class RawOrders:
    """An order log as exported."""

    rows: pl.DataFrame
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[Message, ...] = ()
    source: str = "orders"
    bad_files: tuple[_FileFault, ...] = ()
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
        If the columns cannot be identified.
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
    """Open an order log: see what it consists of, find its faults, and read its rows later, in batches."""
    folder = spool / _SPOOL
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(source, str | Path) and is_database(str(source)):
        source = parse_orders_source(str(source))
    log = (
        _open_database(source, settings, folder)
        if isinstance(source, DatabaseSource)
        else _open_files(str(source), settings, folder)
    )
    return _with_layout(log, settings)


def read_table(path: str | Path) -> pl.DataFrame:
    """Read any one table, with the same care for delimiters and encodings as orders."""
    file = Path(path)
    if not file.is_file():
        raise OrdersError(f"{file}: no such file.{nearest_names(file)}")
    with _own_spool() as spool:
        table = open_file(file, shown=str(file), spool=spool / _SPOOL).table
        return pl.concat(table.batches(tuple(table.schema), n_rows=table.n_rows))


@contextmanager
def _own_spool() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="repurchase-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _open_database(source: DatabaseSource, settings: Settings, folder: Path) -> OrderLog:
    read = open_database(source, settings=settings, spool=folder)
    file = FileRead(path=source.shown, rows=read.table.n_rows, sha256=read.sha256, query=source.select)
    return OrderLog(str(source), _NO_LAYOUT, (file,), read.notes, read.table.schema, (_OpenedTable(read.table, file),))


def _open_files(source: str, settings: Settings, folder: Path) -> OrderLog:
    """Open files of this machine or of an object store; damaged ones are an error or are left out."""
    located = locate_files(source, seconds=settings.retry_seconds, spool=folder / "fetched")
    root, names = located.root, located.names
    files, faults = _open_each(located, folder=folder, settings=settings)
    if not files:
        first = faults[0]
        message = f"{root}: none of the {len(names)} files can be read. The first, {first.path}: {first.why}"
        raise OrdersError(message, withheld=first.why)  # why may quote the file's rows
    folders = partition_columns(names, root=root)
    opened = [
        _OpenedTable(file.table, FileRead(names[number], file.table.n_rows, file.sha256), folders[number])
        for number, file in files.items()
    ]
    notes = [note for number, file in files.items() for note in _file_notes(file, Path(names[number]))]
    if settings.on_bad_file == "set_aside":
        usual = _usual_table(opened)
        differing = {table.file.path: _differing_columns(table, usual) for table in opened}
        faults += [_FileFault(path, f"{differs}.") for path, differs in differing.items() if differs]
        opened = [table for table in opened if not differing[table.file.path]]
    faults.sort(key=lambda fault: fault.path)
    return OrderLog(
        root,
        _NO_LAYOUT,
        tuple(table.file for table in opened),
        (*_faults_note(faults, len(names)), *located.notes, *notes),
        _common_schema(opened),
        tuple(opened),
        tuple(faults),
        sum(file.long_lines.count for file in files.values()),
    )


def _open_each(
    located: LocatedFiles, *, folder: Path, settings: Settings
) -> tuple[dict[int, OpenedFile], list[_FileFault]]:
    """Open one file after the other, by their numbers; those of unsure encoding are opened as the others are."""
    files: dict[int, OpenedFile] = {}
    found: dict[int, Path] = {}
    faults: list[_FileFault] = []
    open_one = partial(
        open_file,
        set_aside=settings.on_bad_file == "set_aside",
        columns=tuple(settings.columns.values()),
        most_bytes=int(settings.memory_gb * 1e9),
    )
    for number, (path, name) in enumerate(zip(located.paths, located.names, strict=True)):
        try:
            files[number] = open_one(path, shown=name, spool=folder / f"{number:05d}")
            found[number] = path
        except (OrdersError, LayoutError) as fault:
            if len(located.names) == 1:
                raise
            if settings.on_bad_file != "set_aside":
                raise _with_advice(fault) from fault
            faults.append(_FileFault(name, fault.log_message.removeprefix(f"{name}: ")))
    known = agreed_encodings([file.encoding for file in files.values()])
    for number, file in files.items():
        if file.encoding.others and known:
            spool = folder / f"{number:05d}"
            files[number] = open_one(found[number], shown=located.names[number], spool=spool, encodings=known)
    return files, faults


def _with_advice(fault: InputError) -> InputError:
    advice = "" if "set-aside" in str(fault) else _ADVICE
    return type(fault)(f"{fault}{advice}", withheld=fault.withheld)


def _file_notes(file: OpenedFile, path: Path) -> tuple[Message, ...]:
    count, first = file.long_lines.count, list(file.long_lines.first)
    if not count:
        return file.notes
    numbers = message("list_and_more", listed=first, n=count - len(first)) if count > len(first) else first
    return (*file.notes, message("file_note.long_lines", name=path.name, lines=count, numbers=numbers))


def _faults_note(faults: Sequence[_FileFault], n_files: int) -> tuple[Message, ...]:
    if not faults:
        return ()
    shown = first_few([f"{Path(fault.path).name} ({fault.why.rstrip('.')})" for fault in faults])
    return (message("file_note.damaged", damaged=len(faults), files=n_files, names=shown),)


def _with_layout(log: OrderLog, settings: Settings) -> OrderLog:
    """Detect the layout of a log that was opened."""
    by_folder = {name: pl.String() for name in log.tables[0].folders if name not in log.schema}
    # Folders' names are columns only where the files' own do not do: a row that two days' exports share stays one row.
    try:
        return _detect_layout(log, settings)
    except LayoutError:
        if not by_folder:
            raise
    wider = _detect_layout(replace(log, schema={**log.schema, **by_folder}), settings)
    used = {name: kind for name, kind in by_folder.items() if name in wider.layout.columns.values()}
    return replace(wider, schema={**log.schema, **used})


def _detect_layout(log: OrderLog, settings: Settings) -> OrderLog:
    layout = detect_layout(_sample_rows(log, named=settings.columns), named=settings.columns, source=log.source)
    layout = replace(layout, aliases=_customer_aliases(log, layout))
    return replace(log, layout=layout, notes=(*log.notes, *layout.notes))


def pseudonymise_log(log: OrderLog, key: bytes) -> OrderLog:
    """Hash the customers of a log as it is read, so that only hashes are on disk and in memory."""
    columns = log.layout.customer_columns

    def pseudonymize(rows: pl.DataFrame) -> pl.DataFrame:
        spelled = [known_ids(rows[column]) for column in columns if column in rows.columns]
        for ids in spelled:
            rows = pseudonymise_rows(rows, ids, key)
        return rows

    names = (log.layout.aliases.keys(), log.layout.aliases.values())
    hashed = (pseudonymise(pl.Series(list(ids), dtype=pl.String()), key) for ids in names)
    layout = replace(log.layout, aliases=dict(zip(*hashed, strict=True)))
    schema = {**log.schema, **dict.fromkeys(columns, pl.String())}
    return replace(log, layout=layout, schema=schema, pseudonymize=pseudonymize)
