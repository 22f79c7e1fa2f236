"""Scores partition by partition: what is finished is on disk, and a later run goes on from it."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.features.timeline import Ledger
from repurchase.jobs.books import Books
from repurchase.jobs.delivery import to_disk

__all__ = ["ScoreParts", "parts_folder", "score_books"]

Predict = Callable[[Ledger], pl.DataFrame]
Progress = Callable[[int, int], None]
_KEY = "key.json"


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


def _lazy(part: pl.DataFrame | Path) -> pl.LazyFrame:
    if isinstance(part, pl.DataFrame):
        return part.lazy()
    return pl.scan_parquet(part, glob=False, hive_partitioning=False)  # the folder's name may hold any signs


def parts_folder(folder: Path, about: Mapping[str, Any]) -> Path:
    """Find the parts that an earlier run finished, if it was about the very same; else begin anew.

    Parameters
    ----------
    folder : Path
        Where parts are kept; made if need be.
    about : mapping
        JSON-able: all that scores depend on.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    key = folder / _KEY
    if not key.is_file() or key.read_text(encoding="utf-8") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir()
        key.write_text(digest, encoding="utf-8")
    for unfinished in folder.glob("*.partial"):
        unfinished.unlink()
    return folder


def score_books(books: Books, predict: Predict, folder: Path | None, *, on_progress: Progress) -> ScoreParts:
    """Score every customer, one partition after the other.

    Parameters
    ----------
    books : Books
        Ledgers.
    predict : callable
        From a ledger to scores.
    folder : Path or None
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
    if folder is None:
        return ScoreParts(tuple(predict(book) for book in books))
    kept: list[Path] = []
    reused = 0
    for number in range(len(books)):
        part = folder / f"{number:05d}.parquet"
        if part.is_file():
            reused += 1
        else:
            partial = part.with_suffix(".partial")
            predict(books[number]).write_parquet(partial)
            to_disk(partial)
            partial.replace(part)
        kept.append(part)
        on_progress(number + 1, len(books))
    return ScoreParts(tuple(kept), reused)
