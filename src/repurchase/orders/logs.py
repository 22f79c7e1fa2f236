"""An order log that can be larger than memory: its columns and length are known, its rows come in batches."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.layouts import FILE_COLUMN, Layout
from repurchase.orders.parts import Part, regrouped

__all__ = ["FileFault", "FileRead", "Found", "OrderLog", "agreed_columns", "differing_columns", "digest_of", "stacked"]

BATCH_ROWS = 500_000


@dataclass(frozen=True)
class FileRead:
    """One file, or one table or query of a database, that was read.

    Parameters
    ----------
    path : str
        As found; a database's or an object store's address without password.
    rows : int
        Rows in it.
    sha256 : str
        Digest of the file as stored, here or in the object store. Of a database, of its rows, whatever order they come
        in: the BLAKE2b hashes (128 bits) of the rows are added up in two halves modulo 2**64, and sum, number of rows
        and columns' names are digested.
    query : str, optional
        What a database was asked.
    """

    path: str
    rows: int
    sha256: str
    query: str | None = None


@dataclass(frozen=True)
class FileFault:
    """A damaged file that was left out because that was asked for.

    Parameters
    ----------
    path : str
        As found.
    why : str
        What is wrong with it; nothing of its rows.
    """

    path: str
    why: str


@dataclass(frozen=True)
class Found:
    """One part of a log, as opened.

    Parameters
    ----------
    part : Part
        Its rows.
    file : FileRead
        Where they come from.
    folders : mapping of str to str
        Columns that the names of its folders hold.
    """

    part: Part
    file: FileRead
    folders: Mapping[str, str | None]


@dataclass(frozen=True)
class OrderLog:
    """An order log as exported, opened but not read.

    Parameters
    ----------
    source : str
        What messages call the log.
    layout : Layout
        Which column is which.
    files : tuple of FileRead
        What it consists of, sorted by path.
    digest : str
        One sha256 over the files' digests.
    notes : tuple of str
        What a reader should know, in words.
    schema : mapping of str to DataType
        The columns: text from CSV, typed from Parquet, text where the files' types differ. Columns of lists and
        records are left out.
    parts : tuple of Found
        The rows, file by file.
    bad_files : tuple of FileFault
        Damaged files that were left out.
    n_bad_lines : int
        Damaged lines that were left out.
    veil : callable, optional
        What is done to rows as they are read, before anything else sees them (see ``pseudonyms.veiled``).
    """

    source: str
    layout: Layout
    files: tuple[FileRead, ...]
    digest: str
    notes: tuple[str, ...]
    schema: Mapping[str, pl.DataType]
    parts: tuple[Found, ...]
    bad_files: tuple[FileFault, ...] = ()
    n_bad_lines: int = 0
    veil: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    @property
    def n_rows(self) -> int:
        """Rows in all files together."""
        return sum(found.part.n_rows for found in self.parts)

    def read(self) -> pl.DataFrame:
        """Read everything at once.

        Returns
        -------
        DataFrame
            All rows, in the order of the files and within each as it lies there.

        Raises
        ------
        OrdersError
            If a file is damaged, or has changed since the log was opened.
        """
        return pl.concat(self._frames(tuple(self.schema), n_rows=max(self.n_rows, 1)))

    def batches(self, columns: Sequence[str] | None = None, n_rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the same rows in the same order, with memory for about two batches; as often as wished.

        Parameters
        ----------
        columns : sequence of str, optional
            Those wanted, at least one; default all.
        n_rows : int
            Rows of a batch; the last may have fewer.

        Yields
        ------
        DataFrame
            Those columns, in that order; then, of a log of several files, ``survey.FILE_COLUMN``.

        Raises
        ------
        OrdersError
            If a file is damaged, or has changed since the log was opened.
        """
        wanted = tuple(self.schema) if columns is None else tuple(columns)
        yield from regrouped(self._frames(wanted, n_rows=n_rows), n_rows=n_rows)

    def _frames(self, wanted: Sequence[str], *, n_rows: int) -> Iterator[pl.DataFrame]:
        for number, found in enumerate(self.parts):
            stored = [name for name in wanted if name in found.part.schema]
            carried = stored or [next(iter(found.part.schema))]
            told = [pl.lit(found.folders[name], dtype=pl.String).alias(name) for name in wanted if name not in stored]
            cast = [
                pl.col(name).cast(self.schema[name]) for name in stored if found.part.schema[name] != self.schema[name]
            ]
            numbered = [pl.lit(number, dtype=pl.UInt32).alias(FILE_COLUMN)] if len(self.parts) > 1 else []
            for rows in found.part.batches(carried, n_rows=n_rows):
                seen = rows.with_columns(*cast, *told).select(*wanted, *numbered)
                yield self.veil(seen) if self.veil else seen


def digest_of(files: Sequence[FileRead]) -> str:
    """Digest what a log consists of.

    Parameters
    ----------
    files : sequence of FileRead
        In order.

    Returns
    -------
    str
        One sha256 over the files' own; names do not matter.
    """
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


def agreed_columns(opened: Sequence[Found]) -> Found:
    """Find the part whose columns most parts have.

    Parameters
    ----------
    opened : sequence of Found
        At least one.

    Returns
    -------
    Found
        The first such.
    """
    kinds = Counter(frozenset(found.part.schema) for found in opened)
    most = max(kinds.values())
    return next(found for found in opened if kinds[frozenset(found.part.schema)] == most)


def differing_columns(found: Found, model: Found) -> str:
    """Say how a part's columns differ from another's.

    Parameters
    ----------
    found, model : Found
        The part, and the one it is held against.

    Returns
    -------
    str
        Empty where they do not.
    """
    missing = [name for name in model.part.schema if name not in found.part.schema]
    extra = [name for name in found.part.schema if name not in model.part.schema]
    if not missing and not extra:
        return ""
    lacks = f"lacks {first_few(missing)}" if missing else ""
    has = f"has {first_few(extra)} more" if extra else ""
    return f"{lacks}{' and ' if lacks and has else ''}{has} beside {model.file.path.rpartition('/')[2]}"


def stacked(opened: Sequence[Found], *, several_advice: str) -> dict[str, pl.DataType]:
    """Agree on the columns and types of all parts together.

    Parameters
    ----------
    opened : sequence of Found
        At least one.
    several_advice : str
        What a message adds where the files could be left out.

    Returns
    -------
    dict
        Column to type, in the first part's order; text where types differ.

    Raises
    ------
    OrdersError
        If the columns differ.
    """
    first = opened[0]
    for found in opened[1:]:
        differs = differing_columns(found, first)
        if differs:
            raise OrdersError(
                f"{found.file.path}: {differs}. All files of one log must have the same columns: export them alike, "
                f"or give them one at a time.{several_advice}"
            )
    return {
        name: kind if all(found.part.schema[name] == kind for found in opened) and not _is_coded(kind) else pl.String()
        for name, kind in first.part.schema.items()
    }


def _is_coded(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Categorical | pl.Enum)
