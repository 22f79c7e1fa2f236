"""What Spark's executors do with the ledger of a partition's customers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.estimators.btyd_rows import collapse
from repurchase.estimators.cuts import Cut
from repurchase.estimators.fitted import FittedModel
from repurchase.evaluation.look import Look, look_at
from repurchase.features.closing import Closing
from repurchase.features.history import Ints
from repurchase.features.timeline import Ledger
from repurchase.jobs.spark.notes import Batches, book_notes, book_of, note, table_notes
from repurchase.marketing.counting import count_purchases
from repurchase.orders.ids import id_hash

__all__ = ["Asked", "Day", "Lessons", "draw_customers", "gather_lessons", "only", "score_partition"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Day:
    """What must be known of the whole log before a ledger can be looked at.

    Parameters
    ----------
    as_of : date
        Last day observed, inclusive.
    has_amounts : bool
        Whether the log knows money.
    """

    as_of: date
    has_amounts: bool


@dataclass(frozen=True)
class Asked:
    """What is to be said of every customer.

    Parameters
    ----------
    state : mapping
        The model, see `FittedModel.to_state`.
    day : Day
        When.
    customers : Series of str, optional
        Whom to score; default everyone.
    """

    state: Mapping[str, Any]
    day: Day
    customers: pl.Series | None = None


@dataclass(frozen=True)
class Lessons:
    """What all customers of a partition teach: equal ones counted once.

    Parameters
    ----------
    rfm : array of shape (n_rows, 3)
        Distinct frequencies, recencies and ages.
    counts : array of shape (n_rows,)
        How many customers have them.
    spend : array of shape (n_rows, 2)
        Frequency and mean money of those who came back.
    spend_counts : array of shape (n_rows,)
        How many have them.
    look : Look
        What the orders look like.
    """

    rfm: Floats
    counts: Floats
    spend: Floats
    spend_counts: Floats
    look: Look


def score_partition(batches: Batches, asked: Asked) -> Batches:
    """Score the customers of a ledger, and count and look at what is needed of all.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Notes of a ledger.
    asked : Asked
        The model and the day.

    Yields
    ------
    RecordBatch
        Notes: scores, `Counts` and `Look`.
    """
    for book, number in _books(batches, asked.day):
        wanted = None
        if asked.customers is not None:
            wanted = asked.customers.filter(asked.customers.is_in(book.customers(asked.day.as_of).implode())).to_list()
        scores = FittedModel.from_state(asked.state).predict(book, asked.day.as_of, wanted)
        yield from table_notes("scores", scores, number)
        yield note("counts", count_purchases(book, as_of=asked.day.as_of), number)
        yield note("look", look_at(book, as_of=asked.day.as_of, closing=_closing(asked.state)), number)


def draw_customers(batches: Batches, day: Day, below: int) -> Batches:
    """Take the ledger of those customers whose ids have small hashes.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Notes of a ledger.
    day : Day
        What is known of the log.
    below : int
        Hashes up to here, inclusive, are drawn.

    Yields
    ------
    RecordBatch
        Notes: their ledger.
    """
    for book, number in _books(batches, day):
        yield from book_notes(only(book, np.flatnonzero(id_hash(book.ids).to_numpy() <= np.uint64(below))), number)


def gather_lessons(batches: Batches, day: Day, closing: Closing | None) -> Batches:
    """Count the customers of a ledger as buy-till-you-die models see them, and look at them.

    Parameters
    ----------
    batches : iterator of RecordBatch
        Notes of a ledger.
    day : Day
        What is known of the log.
    closing : Closing, optional
        A time in which the shop was closed.

    Yields
    ------
    RecordBatch
        One note: `Lessons`.
    """
    for book, number in _books(batches, day):
        cut = Cut(book.without(closing).history(day.as_of))
        came_back = (cut.rfm[0] > 0) & book.has_amounts
        look = look_at(book, as_of=day.as_of, closing=closing)
        spend = collapse(cut.rfm[0][came_back], cut.repeat_spend_mean[came_back])
        yield note("lessons", Lessons(*collapse(*cut.rfm), *spend, look), number)


def only(book: Ledger, customers: Ints) -> Ledger:
    """Keep some customers.

    Parameters
    ----------
    book : Ledger
        Of more.
    customers : int array
        Their places among its ids, rising.

    Returns
    -------
    Ledger
        Of these.
    """
    code = np.full(len(book.ids), -1, dtype=np.int64)
    code[customers] = np.arange(len(customers))
    entries = book.entries.with_columns(pl.Series("customer", code[book.entries["customer"].to_numpy()]))
    kept = entries.filter(pl.col("customer") >= 0).with_columns(pl.col("customer").cast(pl.UInt32))
    return replace(book, ids=book.ids.gather(customers), entries=kept)


def _books(batches: Batches, day: Day) -> Iterator[tuple[Ledger, int]]:
    """Put a partition's ledger together, if it has one."""
    notes = [row for batch in batches for row in batch.to_pylist()]
    pairs = ((row["kind"], row["content"]) for row in notes)
    book = book_of(pairs, as_of=day.as_of, has_amounts=day.has_amounts)
    if book is not None:
        yield book, notes[0]["part"]


def _closing(state: Mapping[str, Any]) -> Closing | None:
    known = state.get("closing")
    return Closing.from_dict(known) if known else None
