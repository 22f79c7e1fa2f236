"""What an order log consists of: one part per file, each read batch by batch, as often as wished."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import Protocol

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.typed_dates import drop_impossible_dates, frame_from_arrow, unsupported_zones

__all__ = ["ParquetPart", "Part", "Spool", "Stamp", "open_parquet", "regrouped"]

SPOOLED_ROWS = 250_000
_PRIVATE = 0o700


class Part(Protocol):
    """Rows of one file, table or query, of known number and columns."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The columns and their types."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in pieces of about ``n_rows``; nothing is kept of a piece once it was given.

        Parameters
        ----------
        columns : sequence of str
            Some of the part's columns, at least one.
        n_rows : int
            About how many rows a piece has.

        Yields
        ------
        DataFrame
            Those columns.
        """


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was opened, so that it can be seen whether it still is.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Bytes.
    changed_ns : int
        When it was last written.
    shown : str
        What messages call it.
    """

    path: Path
    size: int
    changed_ns: int
    shown: str

    @classmethod
    def of(cls, path: Path, *, shown: str | None = None) -> "Stamp":
        """Note how a file is now.

        Parameters
        ----------
        path : Path
            The file.
        shown : str, optional
            What messages call it; default the path.

        Returns
        -------
        Stamp
            Its size and time.
        """
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns, shown or str(path))

    def require_unchanged(self) -> None:
        """Refuse to go on with a file that is another one by now.

        Raises
        ------
        OrdersError
            If it is gone or was written since.
        """
        now: stat_result | None
        try:
            now = self.path.stat()
        except OSError:
            now = None
        if now is None or (now.st_size, now.st_mtime_ns) != (self.size, self.changed_ns):
            what = "is gone" if now is None else "was written"
            raise OrdersError(f"{self.shown}: the file {what} while it was being read. Run this again.")


@dataclass(frozen=True)
class ParquetPart:
    """Parquet files that follow each other: one as given, or those of a spool.

    Parameters
    ----------
    stamps : tuple of Stamp
        The files.
    counts : tuple of int
        Rows in each.
    schema : mapping of str to DataType
        The columns that are read.
    """

    stamps: tuple[Stamp, ...]
    counts: tuple[int, ...]
    schema: Mapping[str, pl.DataType]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(self.counts)

    def batches(self, columns: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        """Give the rows in order, in pieces of at most ``n_rows``.

        Parameters
        ----------
        columns : sequence of str
            Some of the part's columns, at least one.
        n_rows : int
            The most rows of a piece.

        Yields
        ------
        DataFrame
            Those columns.

        Raises
        ------
        OrdersError
            If a file is damaged, or has changed since it was opened.
        """
        for stamp, count in zip(self.stamps, self.counts, strict=True):
            stamp.require_unchanged()
            try:
                scan = pl.scan_parquet(stamp.path, hive_partitioning=False, glob=False).select(columns)
                for start in range(0, count, n_rows):
                    rows = scan.slice(start, n_rows).collect()
                    yield rows.with_columns(drop_impossible_dates(rows[name]) for name in _dates(rows))
            except (pl.exceptions.PolarsError, OSError) as fault:
                raise OrdersError(_unreadable(stamp.shown, fault)) from fault


def open_parquet(path: Path, *, shown: str, spool: Path, whole: bool = False) -> tuple[ParquetPart, tuple[str, ...]]:
    """Open a Parquet file: its columns and number of rows, as its own end says.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What messages call it.
    spool : Path
        Folder for a copy of rows that Polars cannot read where they lie.
    whole : bool
        Read all of it once, so that damage within is known now and not halfway.

    Returns
    -------
    part : ParquetPart
        Its rows; columns of lists and records are left out.
    notes : tuple of str
        Which columns were left out.

    Raises
    ------
    OrdersError
        If it is damaged, or has no rows.
    """
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
    part = ParquetPart((Stamp.of(path, shown=shown),), (count,), schema)
    if whole:
        for _ in part.batches(tuple(schema), n_rows=SPOOLED_ROWS):
            pass
    return part, said


def _dates(rows: pl.DataFrame) -> list[str]:
    return [name for name, dtype in rows.schema.items() if dtype.is_temporal()]


def _converted(path: Path, shown: str, folder: Path) -> ParquetPart:
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
    """Takes rows in and keeps them as Parquet files in a folder that only its owner may look into.

    Parameters
    ----------
    folder : Path
        What lay there is removed first.
    shown : str
        What messages call the rows' source.
    """

    def __init__(self, folder: Path, *, shown: str) -> None:
        self._folder, self._shown = folder, shown
        self._held: list[pl.DataFrame] = []
        self._stamps: list[Stamp] = []
        self._counts: list[int] = []
        self._schema: Mapping[str, pl.DataType] = {}
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True, mode=_PRIVATE)
        except OSError as fault:
            raise self._full(fault) from fault

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in, after those before.

        Parameters
        ----------
        rows : DataFrame
            Columns as in the first rows; may be empty.
        """
        self._schema = self._schema or dict(rows.schema)
        self._held.append(rows)
        if sum(held.height for held in self._held) >= SPOOLED_ROWS:
            self._write()

    def part(self) -> ParquetPart:
        """Close the spool.

        Returns
        -------
        ParquetPart
            All rows that were taken in.
        """
        self._write()
        return ParquetPart(tuple(self._stamps), tuple(self._counts), self._schema)

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
        self._stamps.append(Stamp.of(path, shown=self._shown))
        self._counts.append(rows.height)

    def _full(self, fault: Exception) -> OrdersError:
        words = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault).splitlines()[0]
        return OrdersError(
            f"{self._shown}: cannot be kept in {self._folder} while it is read ({words}). "
            "Free space there, or set TMPDIR to a folder with more."
        )


def regrouped(frames: Iterator[pl.DataFrame], *, n_rows: int) -> Iterator[pl.DataFrame]:
    """Cut and join rows so that every piece but the last has the same number.

    Parameters
    ----------
    frames : iterator of DataFrame
        Of equal columns.
    n_rows : int
        Rows of a piece.

    Yields
    ------
    DataFrame
        The same rows in the same order.
    """
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
