"""Notes: what a task of Spark found out, on its way to another task or to the job that started it.

A note is a row: the number of the partition, what it is, and its bytes.
"""

import io
import pickle
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import polars as pl
import pyarrow as pa

from repurchase.features.timeline import Ledger

__all__ = ["BOOK", "NOTE", "Batches", "book_notes", "book_of", "frame_of", "frames", "note", "opened", "table_notes"]

Batches = Iterator[pa.RecordBatch]

BOOK = ("ids", "entries", "no_sale")
"""Kinds of the notes that make a ledger."""
NOTE = "part int, kind string, content binary"
ROWS_PER_NOTE = 200_000

_NOTE = pa.schema([("part", pa.int32()), ("kind", pa.string()), ("content", pa.binary())])


def note(kind: str, value: object, part: int = 0) -> pa.RecordBatch:
    """Write a note.

    Parameters
    ----------
    kind : str
        What it is.
    value : object
        What was found out.
    part : int
        Number of the partition.

    Returns
    -------
    RecordBatch
        One row.
    """
    return _row(kind, pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL), part)


def table_notes(kind: str, table: pl.DataFrame, part: int) -> Batches:
    """Write rows into notes.

    Parameters
    ----------
    kind : str
        What they are.
    table : DataFrame
        Rows; without any, one note still says the columns.
    part : int
        Number of the partition.

    Yields
    ------
    RecordBatch
        One row each.
    """
    for rows in table.iter_slices(ROWS_PER_NOTE) if table.height else (table,):
        content = io.BytesIO()
        rows.write_ipc(content, compression="lz4")
        yield _row(kind, content.getvalue(), part)


def book_notes(book: Ledger, part: int) -> Batches:
    """Write a ledger into notes, for `book_of`.

    Parameters
    ----------
    book : Ledger
        Of some customers.
    part : int
        Number of the partition.

    Yields
    ------
    RecordBatch
        One row each.
    """
    yield from table_notes("ids", book.ids.to_frame(), part)
    yield from table_notes("entries", book.entries, part)
    if book.no_sale is not None:
        yield from table_notes("no_sale", book.no_sale, part)


def frames(batches: Batches) -> Iterator[pl.DataFrame]:
    """Take what Spark hands to a task.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Some may be empty.

    Yields
    ------
    DataFrame
        Never empty.
    """
    for batch in batches:
        if batch.num_rows:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


def opened(content: bytes) -> Any:
    """Read what another task of the same job wrote.

    Parameters
    ----------
    content : bytes
        Of a note.

    Returns
    -------
    object
        What was noted.
    """
    return pickle.loads(content)  # noqa: S301 - written by this job's own tasks


def frame_of(content: bytes) -> pl.DataFrame:
    """Read rows out of a note.

    Parameters
    ----------
    content : bytes
        Of a note.

    Returns
    -------
    DataFrame
        The same bits.
    """
    return pl.read_ipc(io.BytesIO(content))


def book_of(notes: Iterable[tuple[str, bytes]], *, as_of: date, has_amounts: bool) -> Ledger | None:
    """Put a partition's ledger together.

    Parameters
    ----------
    notes : iterable of (str, bytes)
        Kind and content, in order.
    as_of : date
        Last day observed, inclusive; what became known later is left out.
    has_amounts : bool
        Whether it knows money.

    Returns
    -------
    Ledger or None
        None where the partition has no customer.
    """
    found: dict[str, list[pl.DataFrame]] = {kind: [] for kind in BOOK}
    for kind, content in notes:
        if kind in found:
            found[kind].append(frame_of(content))
    if not found["ids"]:
        return None
    ids, entries = pl.concat(found["ids"]).to_series(), pl.concat(found["entries"])
    no_sale = pl.concat(found["no_sale"]) if found["no_sale"] else None
    return Ledger(ids, entries, as_of, has_amounts, no_sale=no_sale).until(as_of)


def _row(kind: str, content: bytes, part: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"part": part, "kind": kind, "content": content}], schema=_NOTE)
