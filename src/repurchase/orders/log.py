"""An order log opened from any source: columns known, rows in batches, sampled to detect its layout."""

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
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.column_profiles import profile_columns, rank_columns
from repurchase.orders.ids import clean_ids, placeholder_ids, pseudonymise, pseudonymise_rows
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.settings import Settings
from repurchase.sources.databases import open_database
from repurchase.sources.encodings import agreed_encodings
from repurchase.sources.files import LocatedFiles, locate_files, open_file
from repurchase.sources.folders import nearest_names, partition_columns
from repurchase.sources.locations import (
    DatabaseSource,
    is_database,
    parse_orders_source,
)
from repurchase.sources.tables import LongLines, OpenedFile, SourceTable, rebatched

_BATCH_ROWS = 500_000


@dataclass(frozen=True)
class FileRead:
    """One file, or one table or query of a database, that was read."""

    path: str
    rows: int
    sha256: str
    query: str | None = None


@dataclass(frozen=True)
class _FileFault:
    """A damaged file that was left out because that was asked for."""

    path: str
    why: str


@dataclass(frozen=True)
class _OpenedTable:
    """One file, table or query of a log, as opened."""

    table: SourceTable
    file: FileRead
    folders: Mapping[str, str | None]


@dataclass(frozen=True)
class OrderLog:
    """An order log as exported, opened but not read."""

    source: str
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[str, ...]
    schema: Mapping[str, pl.DataType]
    tables: tuple[_OpenedTable, ...]
    bad_files: tuple[_FileFault, ...] = ()
    n_bad_lines: int = 0
    pseudonymize: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    @property
    def n_rows(self) -> int:
        """Rows in all files together."""
        return sum(found.table.n_rows for found in self.tables)

    def read(self) -> pl.DataFrame:
        """Read everything at once."""
        return pl.concat(self._frames(tuple(self.schema), n_rows=max(self.n_rows, 1)))

    def batches(self, columns: Sequence[str] | None = None, n_rows: int = _BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the same rows in the same order, with memory for about two batches; as often as wished."""
        wanted = tuple(self.schema) if columns is None else tuple(columns)
        yield from rebatched(self._frames(wanted, n_rows=n_rows), n_rows=n_rows)

    def _frames(self, wanted: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        for number, found in enumerate(self.tables):
            stored = [name for name in wanted if name in found.table.schema]
            carried = stored or [next(iter(found.table.schema))]
            told = [pl.lit(found.folders[name], dtype=pl.String).alias(name) for name in wanted if name not in stored]
            cast = [
                pl.col(name).cast(self.schema[name]) for name in stored if found.table.schema[name] != self.schema[name]
            ]
            numbered = [pl.lit(number, dtype=pl.UInt32).alias(FILE_COLUMN)] if len(self.tables) > 1 else []
            for rows in found.table.batches(carried, n_rows=n_rows):
                seen = rows.with_columns(*cast, *told).select(*wanted, *numbered)
                yield self.pseudonymize(seen) if self.pseudonymize else seen


def log_digest(files: Sequence[FileRead]) -> str:
    """Digest what a log consists of."""
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


def _table_with_usual_columns(opened: Sequence[_OpenedTable]) -> _OpenedTable:
    """Find the part whose columns most parts have."""
    kinds = Counter(frozenset(found.table.schema) for found in opened)
    most = max(kinds.values())
    return next(found for found in opened if kinds[frozenset(found.table.schema)] == most)


def _differing_columns(found: _OpenedTable, model: _OpenedTable) -> str:
    """Say how a part's columns differ from another's."""
    missing = [name for name in model.table.schema if name not in found.table.schema]
    extra = [name for name in found.table.schema if name not in model.table.schema]
    if not missing and not extra:
        return ""
    lacks = f"lacks {first_few(missing)}" if missing else ""
    has = f"has {first_few(extra)} more" if extra else ""
    return f"{lacks}{' and ' if lacks and has else ''}{has} beside {model.file.path.rpartition('/')[2]}"


def _common_schema(opened: Sequence[_OpenedTable], *, several_advice: str) -> dict[str, pl.DataType]:
    """Agree on the columns and types of all parts together."""
    first = opened[0]
    for found in opened[1:]:
        differs = _differing_columns(found, first)
        if differs:
            raise OrdersError(
                f"{found.file.path}: {differs}. All files of one log must have the same columns: export them alike, "
                f"or give them one at a time.{several_advice}"
            )
    return {
        name: kind if all(found.table.schema[name] == kind for found in opened) and not _is_coded(kind) else pl.String()
        for name, kind in first.table.schema.items()
    }


def _is_coded(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Categorical | pl.Enum)


def _customer_aliases(log: OrderLog, layout: Layout) -> dict[str, str]:
    """Find the id in the first column of customers that is known only by the second on some rows."""
    roles = ("customer_id", "customer_fallback")
    if any(role not in layout.columns for role in roles):
        return {}
    first, second = (layout.columns[role] for role in roles)
    pairs = pl.DataFrame(schema={"first": pl.String(), "second": pl.String()})
    alone = pl.Series("second", dtype=pl.String())
    for rows in log.batches([first, second]):
        ids = pl.DataFrame({"first": clean_ids(rows[first]), "second": clean_ids(rows[second])})
        named = {name: ids[name].set(placeholder_ids(ids[name]).fill_null(value=False), None) for name in ids.columns}
        known = pl.DataFrame(named).filter(pl.col("second").is_not_null()).unique()
        pairs = pl.concat([pairs, known.drop_nulls()]).unique()
        alone = pl.concat([alone, known.filter(pl.col("first").is_null())["second"]]).unique()
    single = pairs.filter(pl.col("second").is_in(alone.implode()) & ~pl.col("second").is_duplicated())
    return dict(single.select("second", "first").sort("second").rows())


MOST_ROWS = 200_000
_PROFILED_ROWS = 10_000
_DEEPEST = 32


@dataclass(frozen=True)
class OrderSampling:
    """Which rows belong to a sample of at most so many rows; the same however the rows are split.

    Each order has a depth, a number that half of all orders reach, a quarter surpass by one, and so on. A sample holds
    the orders of at least some depth.
    """

    column: str | None
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
        depths = self._depths(rows).value_counts()
        return OrderSampling(self.column, self.counts + Counter(dict(depths.iter_rows())))

    def __add__(self, other: "OrderSampling") -> "OrderSampling":
        return OrderSampling(self.column, self.counts + other.counts)

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
_UNREAD = Layout("", {}, "orders", "none")
"""Of a log whose columns were not looked at yet."""
_ADVICE = " Or leave such files out with --on-bad-file set-aside."


@dataclass(frozen=True)
class RawOrders:
    """An order log as exported."""

    rows: pl.DataFrame
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[str, ...] = ()
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
    """Open an order log: see what it consists of, find its faults, and read its rows later, in batches."""
    folder = spool / _SPOOL
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(source, str | Path) and is_database(str(source)):
        source = parse_orders_source(str(source))
    if isinstance(source, DatabaseSource):
        return _open_database(source, settings, folder)
    return _open_files(str(source), settings, folder)


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


def _open_files(source: str, settings: Settings, folder: Path) -> OrderLog:
    located = locate_files(source, seconds=settings.retry_seconds, spool=folder / "fetched")
    opened = _open_all(located, folder=folder, settings=settings)
    return _build_log(located.root, opened, settings, [*located.notes, *opened.notes])


@dataclass
class _OpenedTables:
    """What opening one file after the other came to."""

    found: list[_OpenedTable]
    notes: list[str]
    faults: list[_FileFault]
    n_bad_lines: int = 0


def _open_all(located: LocatedFiles, *, folder: Path, settings: Settings) -> _OpenedTables:
    opened = _OpenedTables([], [], [])
    set_aside = settings.on_bad_file == "set_aside"
    folders = partition_columns(located.names, root=located.root)
    files: dict[int, tuple[Path, OpenedFile]] = {}
    open_one = partial(
        open_file,
        set_aside=set_aside,
        columns=tuple(settings.columns.values()),
        most_bytes=int(settings.memory_gb * 1e9),
    )
    for number, (path, name) in enumerate(zip(located.paths, located.names, strict=True)):
        try:
            files[number] = path, open_one(path, shown=name, spool=folder / f"{number:05d}")
        except (OrdersError, LayoutError) as fault:
            if len(located.names) == 1:
                raise
            if not set_aside:
                raise _with_advice(fault) from fault
            opened.faults.append(_FileFault(name, _fault_reason(fault, name)))
    known = agreed_encodings([file.encoding for _, file in files.values()])
    for number, (path, found) in files.items():
        name, file = located.names[number], found
        if file.encoding.others and known:
            file = open_one(path, shown=name, spool=folder / f"{number:05d}", encodings=known)
        opened.found.append(_OpenedTable(file.table, FileRead(name, file.table.n_rows, file.sha256), folders[number]))
        opened.notes.extend((*file.notes, *_long_lines_note(file.long_lines, Path(name))))
        opened.n_bad_lines += file.long_lines.count
    if not opened.found:
        first = opened.faults[0]
        n_files = len(located.names)
        message = f"{located.root}: none of the {n_files} files can be read. The first, {first.path}: {first.why}"
        raise OrdersError(message, withheld=first.why)  # why may quote the file's rows
    if set_aside:
        _leave_out_differing(opened)
    return opened


def _leave_out_differing(opened: _OpenedTables) -> None:
    model = _table_with_usual_columns(opened.found)
    differing = {found.file.path: _differing_columns(found, model) for found in opened.found}
    opened.faults.extend(_FileFault(path, f"{words}.") for path, words in differing.items() if words)
    opened.found = [found for found in opened.found if not differing[found.file.path]]


def _build_log(source: str, opened: _OpenedTables, settings: Settings, notes: Sequence[str]) -> OrderLog:
    faults = tuple(sorted(opened.faults, key=lambda fault: fault.path))
    schema = _common_schema(opened.found, several_advice=_ADVICE)
    files = tuple(found.file for found in opened.found)
    count = len(faults) + len(files)
    aside = [f"Set aside, as damaged: {len(faults)} of {count} files: {_listed(faults)}."] if faults else []
    log = OrderLog(
        source,
        _UNREAD,
        files,
        log_digest(files),
        (*aside, *notes),
        schema,
        tuple(opened.found),
        faults,
        opened.n_bad_lines,
    )
    return _interpreted(log, settings)


def _interpreted(log: OrderLog, settings: Settings) -> OrderLog:
    """Decide the layout of a log that was opened."""
    by_folder = {name: pl.String() for name in log.tables[0].folders if name not in log.schema}
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
    layout = detect_layout(_sample_rows(log, named=settings.columns), named=settings.columns, source=log.source)
    layout = replace(layout, aliases=_customer_aliases(log, layout))
    return replace(log, layout=layout, notes=(*log.notes, *layout.notes))


def _with_advice(fault: InputError) -> InputError:
    advice = "" if "set-aside" in str(fault) else _ADVICE
    return type(fault)(f"{fault}{advice}", withheld=fault.withheld)


def _fault_reason(fault: InputError, shown: str) -> str:
    return fault.log_message.removeprefix(f"{shown}: ")


def _long_lines_note(long_lines: LongLines, path: Path) -> tuple[str, ...]:
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


def _listed(faults: Sequence[_FileFault]) -> str:
    return first_few([f"{Path(fault.path).name} ({fault.why.rstrip('.')})" for fault in faults])


def _open_database(source: DatabaseSource, settings: Settings, folder: Path) -> OrderLog:
    read = open_database(source, settings=settings, spool=folder)
    queried = FileRead(path=source.shown, rows=read.table.n_rows, sha256=read.sha256, query=source.select)
    tables = (_OpenedTable(read.table, queried, {}),)
    log = OrderLog(str(source), _UNREAD, (queried,), log_digest((queried,)), read.notes, read.table.schema, tables)
    return _interpreted(log, settings)


def pseudonymise_log(log: OrderLog, key: bytes) -> OrderLog:
    """Hash the customers of a log as it is read: whatever is made of it, on disk or in memory, knows hashes alone."""
    roles = ("customer_id", "customer_fallback")
    columns = [log.layout.columns[role] for role in roles if role in log.layout.columns]

    def pseudonymize(rows: pl.DataFrame) -> pl.DataFrame:
        spelled = [clean_ids(rows[column]) for column in columns if column in rows.columns]
        for ids in spelled:
            rows = pseudonymise_rows(rows, ids.set(placeholder_ids(ids).fill_null(value=False), None), key)
        return rows

    names = (log.layout.aliases.keys(), log.layout.aliases.values())
    hashed = (pseudonymise(pl.Series(list(ids), dtype=pl.String()), key) for ids in names)
    layout = replace(log.layout, aliases=dict(zip(*hashed, strict=True)))
    return replace(
        log, layout=layout, schema={**log.schema, **dict.fromkeys(columns, pl.String())}, pseudonymize=pseudonymize
    )
