"""Tables of orders in batches, as every kind of source gives them; Parquet files, and spools of them."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.i18n.messages import Message, first_items, message
from repurchase.sources.encodings import UTF_8, Encoding
from repurchase.sources.folders import MOST_UNPACKED, cannot_keep

if TYPE_CHECKING:
    import pyarrow as pa

SPOOLED_ROWS = 250_000
_PRIVATE = 0o700
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Days since 1970 of the years 1 and 9999, all that Python's dates hold."""
_MOST = 2**63 - 1
_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_OFFSET = re.compile(r"^([+-])(\d\d):?(\d\d)$")


class SourceTable(Protocol):
    """Rows of one file, table or query, of known number and columns."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns and their types."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in pieces of about ``n_rows``; nothing is kept of a piece once it was given."""


@dataclass(frozen=True)
class FileStamp:
    """Size and time of change of a file when it was opened, to notice later changes."""

    path: Path
    size: int
    changed_ns: int
    shown: str

    @classmethod
    def of(cls, path: Path, *, shown: str | None = None) -> "FileStamp":
        """Record how a file is now."""
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns, shown or str(path))

    def require_unchanged(self) -> None:
        """Refuse to go on with a file that is another one by now."""
        now: stat_result | None
        try:
            now = self.path.stat()
        except OSError:
            now = None
        if now is None or (now.st_size, now.st_mtime_ns) != (self.size, self.changed_ns):
            what = "is gone" if now is None else "was written"
            raise OrdersError(f"{self.shown}: the file {what} while it was being read. Run this again.")


@dataclass(frozen=True)
class JoinedTables:
    """Tables that follow each other, such as those of an archive."""

    tables: tuple[SourceTable, ...]
    schema: Mapping[str, pl.DataType]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(table.n_rows for table in self.tables)

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in types that fit all tables."""
        casts = [pl.col(name).cast(self.schema[name]) for name in columns]
        for table in self.tables:
            for rows in table.batches(columns, n_rows=n_rows):
                yield rows.with_columns(casts)


@dataclass(frozen=True)
class LongLines:
    """Lines with more fields than the heading, left out as the settings say."""

    count: int = 0
    first: tuple[int, ...] = ()

    def __add__(self, other: "LongLines") -> "LongLines":
        return LongLines(self.count + other.count, (*self.first, *other.first)[:5])


@dataclass(frozen=True)
class FileOptions:
    """How a file is opened: whether damage is set aside, likely encodings, expected columns, size at most."""

    set_aside: bool = False
    encodings: Sequence[str] = ()
    columns: Sequence[str] = ()
    most_bytes: int = MOST_UNPACKED


@dataclass(frozen=True)
class OpenedFile:
    """The table of a file, and what was noticed about it."""

    table: SourceTable
    notes: tuple[Message, ...] = ()
    long_lines: LongLines = LongLines()
    encoding: Encoding = UTF_8
    sha256: str = ""


@dataclass(frozen=True)
class ParquetTable:
    """Parquet files that follow each other: one as given, or those of a spool; each with its number of rows."""

    files: tuple[tuple[FileStamp, int], ...]
    schema: Mapping[str, pl.DataType]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(count for _, count in self.files)

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in pieces of at most ``n_rows``."""
        for stamp, count in self.files:
            stamp.require_unchanged()
            try:
                scan = pl.scan_parquet(stamp.path, hive_partitioning=False, glob=False).select(columns)
                for start in range(0, count, n_rows):
                    rows = scan.slice(start, n_rows).collect()
                    yield rows.with_columns(map(drop_impossible_dates, rows))
            except (pl.exceptions.PolarsError, OSError) as fault:
                raise _unreadable(stamp.shown, fault) from fault


def open_parquet(path: Path, *, shown: str, spool: Path, options: FileOptions) -> OpenedFile:
    """Open a Parquet file: its columns and number of rows, as its own end says."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if unsupported_zones(parquet.read_schema(path)):
            return OpenedFile(_converted(path, shown, spool))
        scan = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        found = scan.collect_schema()
        count = int(scan.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as fault:
        raise _unreadable(shown, fault) from fault
    _require_rows(count, found, shown)
    schema = {name: dtype for name, dtype in found.items() if not dtype.is_nested()}
    nested = [name for name in found if name not in schema]
    note = message("file_note.nested", name=Path(shown).name, names=first_items(nested))
    table = ParquetTable(((FileStamp.of(path, shown=shown), count),), schema)
    if options.set_aside:  # damage is found now, while the file can still be left out
        for _ in table.batches(tuple(schema), n_rows=SPOOLED_ROWS):
            pass
    return OpenedFile(table, (note,) if nested else ())


def _converted(path: Path, shown: str, folder: Path) -> ParquetTable:
    """Copy a file whose times are in zones that Polars does not know, with those times as text."""
    from pyarrow import parquet

    spool = Spool(folder, shown=shown)
    with parquet.ParquetFile(path) as file:
        flat = [field.name for field in file.schema_arrow if not field.type.num_fields]
        for batch in file.iter_batches(batch_size=SPOOLED_ROWS, columns=flat):
            spool.add(frame_from_arrow(batch))
    table = spool.table()
    _require_rows(table.n_rows, flat, shown)
    return table


def _require_rows(count: int, columns: Iterable[str], shown: str) -> None:
    if count == 0:
        raise OrdersError(f"{shown}: columns but no orders. Found the columns {first_few(columns, shown=12)}.")


def _unreadable(shown: str, fault: Exception) -> OrdersError:
    return OrdersError(f"{shown}: not readable as Parquet ({str(fault).splitlines()[0]}). Export it again.")


class Spool:
    """Takes rows in and keeps them as Parquet files in a folder that only its owner may read."""

    def __init__(self, folder: Path, *, shown: str) -> None:
        self._folder, self._shown = folder, shown
        self._held: list[pl.DataFrame] = []
        self._files: list[tuple[FileStamp, int]] = []
        self._schema: Mapping[str, pl.DataType] = {}
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True, mode=_PRIVATE)
        except OSError as fault:
            raise cannot_keep(self._shown, self._folder, fault) from fault

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in, after those before."""
        self._schema = self._schema or dict(rows.schema)
        self._held.append(rows)
        if sum(held.height for held in self._held) >= SPOOLED_ROWS:
            self._write()

    def table(self) -> ParquetTable:
        """Close the spool."""
        self._write()
        return ParquetTable(tuple(self._files), self._schema)

    def _write(self) -> None:
        rows = pl.concat(self._held) if self._held else pl.DataFrame()
        self._held = []
        if rows.is_empty():
            return
        path = self._folder / f"{len(self._files):05d}.parquet"
        try:
            rows.write_parquet(path, compression="lz4", statistics=False)
        except (pl.exceptions.PolarsError, OSError) as fault:
            raise cannot_keep(self._shown, self._folder, fault) from fault
        self._files.append((FileStamp.of(path, shown=self._shown), rows.height))


def rebatched(frames: Iterator[pl.DataFrame], *, n_rows: int) -> Iterator[pl.DataFrame]:
    """Cut and join rows so that every piece but the last has the same number."""
    held: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        held.append(frame)
        height += frame.height
        if height < n_rows:
            continue
        together = pl.concat(held)
        whole = height - height % n_rows
        for start in range(0, whole, n_rows):
            yield together.slice(start, n_rows)
        held, height = [together.slice(whole)], height - whole
    if height:
        yield pl.concat(held)


def drop_impossible_dates(values: pl.Series) -> pl.Series:
    """Remove typed dates outside the years 1 to 9999, which Python does not hold and Polars cannot print."""
    if not isinstance(values.dtype, pl.Date | pl.Datetime):
        return values
    units = 86_400 * _UNITS_PER_SECOND[values.dtype.time_unit] if isinstance(values.dtype, pl.Datetime) else 1
    counted = values.to_physical()
    possible = _is_possible(counted, units)
    return values if possible.all() else counted.set(~possible.fill_null(value=True), None).cast(values.dtype)


def _is_possible(counted: pl.Series, units_per_day: int) -> pl.Series:
    """Which times, counted since 1970, lie in the years 1 to 9999."""
    return counted.is_between(max(_FIRST_DAY * units_per_day, -_MOST), min(_LAST_DAY * units_per_day, _MOST))


def unsupported_zones(schema: "pa.Schema") -> tuple[str, ...]:
    """Find timestamp columns in zones that Polars does not know, such as ``+05:30``, and stops at."""
    import pyarrow as pa

    return tuple(field.name for field in schema if pa.types.is_timestamp(field.type) and not _is_known(field.type.tz))


def frame_from_arrow(rows: "pa.Table | pa.RecordBatch") -> pl.DataFrame:
    """Make a Polars table of an Arrow table, whatever the zones of its timestamps."""
    import pyarrow as pa

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    unknown = unsupported_zones(table.schema)
    known = pl.DataFrame(pl.from_arrow(table.drop_columns(list(unknown)) if unknown else table))
    return known.with_columns(_with_offset(name, table.column(name)) for name in unknown).select(table.column_names)


def _with_offset(name: str, column: "pa.ChunkedArray[Any]") -> pl.Series:
    """Times in a zone that Polars does not know, as text with their offset from UTC."""
    import pyarrow as pa

    found = _OFFSET.match(column.type.tz or "")
    minutes = 0 if found is None else int(f"{found[1]}1") * (int(found[2]) * 60 + int(found[3]))
    offset = "+00:00" if found is None else f"{found[1]}{found[2]}:{found[3]}"
    per_second = _UNITS_PER_SECOND[column.type.unit]
    counted = pl.Series(name, pl.from_arrow(column.cast(pa.int64())))
    counted = counted.set(~_is_possible(counted, 86_400 * per_second).fill_null(value=False), None)
    micros = counted // 1_000 if per_second > 1_000_000 else counted * (1_000_000 // per_second)
    clock = (micros + minutes * 60_000_000).cast(pl.Datetime("us"))
    return clock.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f") + offset


def _is_known(zone: str | None) -> bool:
    if zone is None:
        return True
    if _OFFSET.match(zone):
        return False
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone))
    except pl.exceptions.PolarsError:
        return False
    return True
