"""Scores partition by partition: what is finished is on disk, and a later run resumes there.

A small manifest holds what the scores depend on and the digest of every finished part. A part that is missing, damaged
or not the one that was written is computed again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import DeliveryError
from repurchase.features.timeline import Ledger
from repurchase.jobs.books import Books
from repurchase.storage.digests import sha256_of
from repurchase.storage.outputs import read_json
from repurchase.storage.publishing import remove, sync_folder, sync_to_disk

__all__ = ["PartsFolder", "ScoreParts", "parts_folder", "score_books"]

Predict = Callable[[Ledger], pl.DataFrame]
Progress = Callable[[int, int], None]
_KEY = "key.json"
_ID = "customer_id"


@dataclass(frozen=True)
class ScoreParts:
    """Scores, in the order of their rows: one frame, or one file per partition.

    Parameters
    ----------
    kept : tuple of DataFrame or Path
        At least one.
    reused : int
        How many of them an earlier run had finished.
    """

    kept: tuple[pl.DataFrame | Path, ...]
    reused: int = 0

    @property
    def schema(self) -> pl.Schema:
        """The columns and their types."""
        first = self.kept[0]
        return first.schema if isinstance(first, pl.DataFrame) else _lazy(first).collect_schema()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Give the scores part by part.

        Yields
        ------
        DataFrame
            Rows of one part.
        """
        for part in self.kept:
            yield part if isinstance(part, pl.DataFrame) else _lazy(part).collect()

    def lazy(self) -> pl.LazyFrame:
        """Give the scores as one table that need not be in memory.

        Returns
        -------
        LazyFrame
            Rows in their order.
        """
        parts = [_lazy(part) for part in self.kept]
        return pl.concat(parts)

    def count(self, **values: str) -> int:
        """Count rows.

        Parameters
        ----------
        **values
            A column's name and the value it must have.

        Returns
        -------
        int
            Rows that have them.
        """
        rows = self.lazy().filter(*(pl.col(name) == value for name, value in values.items()))
        return int(rows.select(pl.len()).collect(engine="streaming").item())

    def require_unique(self) -> None:
        """Require that every customer has one row.

        Raises
        ------
        DeliveryError
            If one has several, or a row names nobody.
        """
        figures = [_extent(part) for part in self.kept]
        rows, distinct = sum(one.rows for one in figures), sum(one.distinct for one in figures)
        ranges = sorted((one.first, one.last) for one in figures if one.rows and one.distinct)
        if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):  # parts that overlap are counted as one
            distinct = _extent(self.lazy()).distinct
        if distinct != rows:
            raise DeliveryError(
                f"{rows - distinct:,} of {rows:,} rows of the scores repeat a customer or name none. Nothing was "
                "written. Remove the hidden folder .work beside the output and run again; if that does not help, "
                "report it."
            )


class _Extent(NamedTuple):
    rows: int
    distinct: int
    first: str
    last: str


def _extent(part: pl.DataFrame | pl.LazyFrame | Path) -> _Extent:
    ids = pl.col(_ID)
    lazy = part if isinstance(part, pl.LazyFrame) else _lazy(part)
    figures = lazy.select(pl.len(), n=ids.drop_nulls().n_unique(), first=ids.min(), last=ids.max())
    rows, distinct, first, last = figures.collect(engine="streaming").row(0)
    return _Extent(int(rows), int(distinct), str(first), str(last))


def _lazy(part: pl.DataFrame | Path) -> pl.LazyFrame:
    if isinstance(part, pl.DataFrame):
        return part.lazy()
    return pl.scan_parquet(part, glob=False, hive_partitioning=False)  # the folder's name may hold any signs


class PartsFolder:
    """Finished parts of a run, each with its digest.

    Parameters
    ----------
    folder : Path
        Where they lie.
    key : str
        Digest of all that scores depend on.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        manifest = read_json(folder / _KEY)
        digests = manifest.get("parts")
        self.is_same = manifest.get("key") == key and isinstance(digests, dict) and not folder.is_symlink()
        self._digests: dict[str, Any] = dict(digests) if self.is_same and digests else {}

    def restart(self) -> None:
        """Remove what other runs left, and begin a manifest."""
        remove(self._folder)
        self._folder.parent.mkdir(exist_ok=True)
        self._folder.mkdir()
        sync_folder(self._folder.parent)
        self._write_manifest()

    def clear_partial(self) -> None:
        """Remove what is half-written."""
        for left in self._folder.glob("*.partial"):
            remove(left)

    def finished(self, number: int) -> Path | None:
        """Find a part.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        Path or None
            None if it is missing, or is not what was written.
        """
        path = self._path(number)
        try:
            is_whole = not path.is_symlink() and sha256_of(path) == self._digests.get(path.name)
        except OSError:
            return None
        return path if is_whole else None

    def write(self, number: int, scores: pl.DataFrame) -> Path:
        """Keep a part.

        Parameters
        ----------
        number : int
            Which.
        scores : DataFrame
            Its rows.

        Returns
        -------
        Path
            Where it lies.

        Raises
        ------
        OSError
            If the disk is full or the folder goes away.
        """
        path = self._path(number)
        partial = path.with_suffix(".partial")
        scores.write_parquet(partial)
        sync_to_disk(partial)
        digest = sha256_of(partial)
        if path.is_dir():
            remove(path)
        partial.replace(path)
        self._digests[path.name] = digest
        self._write_manifest()
        return path

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.parquet"

    def _write_manifest(self) -> None:
        partial = self._folder / f"{_KEY}.partial"
        partial.write_text(json.dumps({"key": self._key, "parts": self._digests}), encoding="utf-8")
        sync_to_disk(partial)
        partial.replace(self._folder / _KEY)
        sync_folder(self._folder)  # the names of the parts before it, too


def parts_folder(folder: Path, about: Mapping[str, Any]) -> PartsFolder:
    """Find the parts that an earlier run finished, if it was about the very same; else begin anew.

    Parameters
    ----------
    folder : Path
        Where parts are kept; made if need be.
    about : mapping
        JSON-able: all that scores depend on.

    Returns
    -------
    PartsFolder
        With what is finished.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    parts = PartsFolder(folder, sha256_of(json.dumps(about, sort_keys=True, default=str).encode()))
    if not parts.is_same:
        parts.restart()
    parts.clear_partial()
    return parts


def score_books(books: Books, predict: Predict, parts: PartsFolder | None, *, on_progress: Progress) -> ScoreParts:
    """Score every customer, one partition after the other.

    Parameters
    ----------
    books : Books
        Ledgers.
    predict : callable
        From a ledger to scores.
    parts : PartsFolder or None
        From `parts_folder`; None keeps one partition's scores in memory.
    on_progress : callable
        Is told how many partitions are done, and of how many.

    Returns
    -------
    ScoreParts
        In the order of the ledgers.

    Raises
    ------
    OSError
        If the disk is full or the folder goes away.
    """
    if parts is None:
        return ScoreParts(tuple(predict(book) for book in books))
    kept: list[Path] = []
    reused = 0
    for number in range(len(books)):
        finished = parts.finished(number)
        reused += finished is not None
        kept.append(finished or parts.write(number, predict(books[number])))
        on_progress(number + 1, len(books))
    return ScoreParts(tuple(kept), reused)
