"""Tables read in batches from Parquet files, and the spool of Parquet files for rows that cannot be read twice."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from repurchase.errors import OrdersError, first_few

if TYPE_CHECKING:
    import pyarrow as pa


_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Days since 1970 of the years 1 and 9999, all that Python's dates hold."""
_MOST = 2**63 - 1
_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_OFFSET = re.compile(r"^([+-])(\d\d):?(\d\d)$")


def drop_impossible_dates(values: pl.Series) -> pl.Series:
    """Remove typed dates outside the years 1 to 9999, which Python does not hold and Polars cannot print."""
    if not isinstance(values.dtype, pl.Date | pl.Datetime):
        return values
    unit = _A_DAY[values.dtype.time_unit] if isinstance(values.dtype, pl.Datetime) else 1
    counted = values.to_physical()
    possible = counted.is_between(max(_FIRST_DAY * unit, -_MOST), min(_LAST_DAY * unit, _MOST))
    if possible.all():
        return values
    return counted.set(~possible.fill_null(value=True), None).cast(values.dtype)


def unsupported_zones(schema: "pa.Schema") -> tuple[str, ...]:
    """Find timestamp columns in zones that Polars does not know, such as ``+05:30``, and stops at."""
    import pyarrow as pa

    return tuple(field.name for field in schema if pa.types.is_timestamp(field.type) and not _is_known(field.type.tz))


def frame_from_arrow(rows: "pa.Table | pa.RecordBatch") -> pl.DataFrame:
    """Make a Polars table of an Arrow table, whatever the zones of its timestamps."""
    import pyarrow as pa

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    unknown = unsupported_zones(table.schema)
    known = (
        pl.DataFrame(pl.from_arrow(table.drop_columns(list(unknown))))
        if unknown
        else pl.DataFrame(pl.from_arrow(table))
    )
    written = [_with_offset(name, table.column(name)) for name in unknown]
    return known.with_columns(written).select(table.column_names) if unknown else known


def _with_offset(name: str, column: "pa.ChunkedArray[Any]") -> pl.Series:
    import pyarrow as pa

    found = _OFFSET.match(column.type.tz or "")
    minutes = 0 if found is None else int(f"{found[1]}1") * (int(found[2]) * 60 + int(found[3]))
    shown = "+00:00" if found is None else f"{found[1]}{found[2]}:{found[3]}"
    counted = pl.Series(name, pl.from_arrow(column.cast(pa.int64())))
    day = _A_DAY[column.type.unit]
    possible = counted.is_between(max(_FIRST_DAY * day, -_MOST), min(_LAST_DAY * day, _MOST)).fill_null(value=False)
    counted = counted.set(~possible, None)
    micros = counted // 1_000 if column.type.unit == "ns" else counted * _MICROS[column.type.unit]
    clock = (micros + minutes * 60_000_000).cast(pl.Datetime("us"))
    return clock.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f") + shown


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


SPOOLED_ROWS = 250_000
_PRIVATE = 0o700


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
    """A file as it was when it was opened, so that it can be seen whether it still is."""

    path: Path
    size: int
    changed_ns: int
    shown: str

    @classmethod
    def of(cls, path: Path, *, shown: str | None = None) -> "FileStamp":
        """Note how a file is now."""
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
class ParquetTable:
    """Parquet files that follow each other: one as given, or those of a spool."""

    stamps: tuple[FileStamp, ...]
    counts: tuple[int, ...]
    schema: Mapping[str, pl.DataType]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(self.counts)

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in pieces of at most ``n_rows``."""
        for stamp, count in zip(self.stamps, self.counts, strict=True):
            stamp.require_unchanged()
            try:
                scan = pl.scan_parquet(stamp.path, hive_partitioning=False, glob=False).select(columns)
                for start in range(0, count, n_rows):
                    rows = scan.slice(start, n_rows).collect()
                    yield rows.with_columns(
                        drop_impossible_dates(rows[name]) for name in _without_impossible_dates(rows)
                    )
            except (pl.exceptions.PolarsError, OSError) as fault:
                raise OrdersError(_unreadable(stamp.shown, fault)) from fault


def open_parquet(path: Path, *, shown: str, spool: Path, whole: bool = False) -> tuple[ParquetTable, tuple[str, ...]]:
    """Open a Parquet file: its columns and number of rows, as its own end says."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if unsupported_zones(parquet.read_schema(path)):
            return _converted(path, shown, spool), ()
        scan = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        found = scan.collect_schema()
        count = int(scan.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as fault:
        raise OrdersError(_unreadable(shown, fault)) from fault
    if count == 0:
        raise OrdersError(f"{shown}: columns but no orders. Found the columns {first_few(found, shown=12)}.")
    nested = [name for name, dtype in found.items() if dtype.is_nested()]
    said = (f"{Path(shown).name}: columns of lists and records were left out: {first_few(nested)}.",) if nested else ()
    schema = {name: dtype for name, dtype in found.items() if name not in nested}
    part = ParquetTable((FileStamp.of(path, shown=shown),), (count,), schema)
    if whole:
        for _ in part.batches(tuple(schema), n_rows=SPOOLED_ROWS):
            pass
    return part, said


def _without_impossible_dates(rows: pl.DataFrame) -> list[str]:
    return [name for name, dtype in rows.schema.items() if dtype.is_temporal()]


def _converted(path: Path, shown: str, folder: Path) -> ParquetTable:
    """Copy a file whose times are in zones that Polars does not know, with those times as text."""
    from pyarrow import parquet

    spool = Spool(folder, shown=shown)
    with parquet.ParquetFile(path) as file:
        flat = [
            name
            for name, dtype in zip(file.schema_arrow.names, file.schema_arrow.types, strict=True)
            if not dtype.num_fields
        ]
        for batch in file.iter_batches(batch_size=SPOOLED_ROWS, columns=flat):
            spool.add(frame_from_arrow(batch))
    part = spool.part()
    if part.n_rows == 0:
        raise OrdersError(f"{shown}: columns but no orders. Found the columns {first_few(flat, shown=12)}.")
    return part


def _unreadable(shown: str, fault: Exception) -> str:
    return f"{shown}: not readable as Parquet ({str(fault).splitlines()[0]}). Export it again."


class Spool:
    """Takes rows in and keeps them as Parquet files in a folder that only its owner may look into."""

    def __init__(self, folder: Path, *, shown: str) -> None:
        self._folder, self._shown = folder, shown
        self._held: list[pl.DataFrame] = []
        self._stamps: list[FileStamp] = []
        self._counts: list[int] = []
        self._schema: Mapping[str, pl.DataType] = {}
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True, mode=_PRIVATE)
        except OSError as fault:
            raise self._full(fault) from fault

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in, after those before."""
        self._schema = self._schema or dict(rows.schema)
        self._held.append(rows)
        if sum(held.height for held in self._held) >= SPOOLED_ROWS:
            self._write()

    def part(self) -> ParquetTable:
        """Close the spool."""
        self._write()
        return ParquetTable(tuple(self._stamps), tuple(self._counts), self._schema)

    def _write(self) -> None:
        rows = pl.concat(self._held) if self._held else pl.DataFrame()
        self._held = []
        if rows.is_empty():
            return
        path = self._folder / f"{len(self._stamps):05d}.parquet"
        try:
            rows.write_parquet(path, compression="lz4", statistics=False)
        except (pl.exceptions.PolarsError, OSError) as fault:
            raise self._full(fault) from fault
        self._stamps.append(FileStamp.of(path, shown=self._shown))
        self._counts.append(rows.height)

    def _full(self, fault: Exception) -> OrdersError:
        words = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault).splitlines()[0]
        return OrdersError(
            f"{self._shown}: cannot be kept in {self._folder} while it is read ({words}). "
            "Free space there, or set TMPDIR to a folder with more."
        )


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
