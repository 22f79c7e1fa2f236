"""The ledgers of a log's customers: one in memory, or one per partition on disk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from repurchase.features.timeline import Ledger

__all__ = ["Books", "keep_book"]


@dataclass(frozen=True)
class Books:
    """Ledgers by partition; customers rise from one to the next, and each is in one of them.

    Parameters
    ----------
    kept : tuple of Ledger or Path
        In memory, or where `keep_book` put them.
    as_of : date
        Last day observed, inclusive: no ledger holds anything later, and quiet days up to it are observations.
    has_amounts : bool
        Whether the log knows money.
    """

    kept: tuple[Ledger | Path, ...]
    as_of: date
    has_amounts: bool

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, number: int) -> Ledger:
        book = self.kept[number]
        return book if isinstance(book, Ledger) else self._read(book)

    def __iter__(self) -> Iterator[Ledger]:
        return (self[number] for number in range(len(self)))

    def whole(self) -> Ledger:
        """Put all ledgers together.

        Returns
        -------
        Ledger
            Of every customer; some fifty bytes per purchase day.
        """
        if len(self.kept) == 1:
            return self[0]
        ids, entries, no_sale, before = [], [], [], 0
        for book in self:
            ids.append(book.ids)
            no_sale += [] if book.no_sale is None else [book.no_sale]
            entries.append(book.entries.with_columns((pl.col("customer") + before).cast(pl.UInt32)))
            before += len(book.ids)
        together = Ledger(pl.concat(ids), pl.concat(entries), self.as_of, self.has_amounts)
        return replace(together, no_sale=pl.concat(no_sale) if no_sale else None)

    def _read(self, path: Path) -> Ledger:
        entries = pl.scan_ipc(path / _ENTRIES, glob=False).collect()
        ids = pl.scan_ipc(path / _IDS, glob=False).collect().to_series()
        no_sale = pl.scan_ipc(path / _NO_SALE, glob=False).collect() if (path / _NO_SALE).is_file() else None
        return Ledger(ids, entries, self.as_of, self.has_amounts, no_sale=no_sale).until(self.as_of)


_ENTRIES, _IDS, _NO_SALE = "entries.arrow", "ids.arrow", "no_sale.arrow"


def keep_book(book: Ledger, folder: Path) -> Path:
    """Write a ledger to disk.

    Parameters
    ----------
    book : Ledger
        Of one partition.
    folder : Path
        Is made.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OSError
        If the disk is full or the place goes away.
    """
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    book.ids.to_frame().write_ipc(folder / _IDS)
    book.entries.write_ipc(folder / _ENTRIES)
    if book.no_sale is not None:
        book.no_sale.write_ipc(folder / _NO_SALE)
    return folder
