"""Training on a cluster: what adds up is counted of all customers there, and a sample of them comes here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import ceil, sqrt
from operator import add

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import OrdersError
from repurchase.estimators.btyd import FAMILIES, Btyd, Family, GammaGamma
from repurchase.estimators.btyd_fit import fit_btyd_rows, fit_gamma_gamma_rows
from repurchase.evaluation.look import Look
from repurchase.features.timeline import Ledger
from repurchase.jobs.intake import Intake
from repurchase.jobs.spark.books import books_of, made_there, opened_one_by_one, rows_of
from repurchase.jobs.spark.engine import Cluster
from repurchase.jobs.spark.notes import BOOK, NOTE, book_of
from repurchase.jobs.spark.scoring import Lessons, draw_customers, gather_lessons, only
from repurchase.orders.ids import id_hash

__all__ = ["Taught", "pooled", "teach"]

Floats = npt.NDArray[np.float64]

_HASHES = 2**64
_SPREADS = 8.0
"""Standard deviations by which the sample is drawn too large before it is cut to size."""


@dataclass(frozen=True)
class Taught:
    """What a cluster has of a log for one machine to learn from.

    Parameters
    ----------
    book : Ledger
        A sample of the customers: those whose ids have the smallest hashes, whatever the partitions.
    n_customers : int
        All of them.
    btyd : dict of str to Btyd
        Fitted to all of them, by family.
    gamma_gamma : GammaGamma or None
        The same of money; None without any, or where nobody came back.
    look : Look
        At all of them.
    """

    book: Ledger
    n_customers: int
    btyd: dict[Family, Btyd]
    gamma_gamma: GammaGamma | None
    look: Look

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the model must know; nothing where the sample is everyone."""
        sampled = len(self.book.ids)
        if sampled == self.n_customers:
            return ()
        drawn = f"{sampled:,} of {self.n_customers:,} customers, drawn by a hash of their ids"
        fitted = "purchases and money a purchase (MBG/NBD, BG/NBD, Gamma-Gamma) from all"
        return (f"curves, boosting, ranges and this judgement come from {drawn}; {fitted}",)


def teach(cluster: Cluster, intake: Intake, *, most: int) -> Taught:
    """Draw a sample of customers, and fit what has a closed form to all of them.

    Parameters
    ----------
    cluster : Cluster
        Where the ledgers are.
    intake : Intake
        From `Cluster.take_in`.
    most : int
        Customers of the sample, at most.

    Returns
    -------
    Taught
        For `jobs.train`.
    """
    book = _sample(intake, most=most)
    books = books_of(intake)
    closing = book.find_closing()
    gathered = books.told(*BOOK).mapInArrow(partial(gather_lessons, day=books.day, closing=closing), NOTE)
    with made_there(gathered) as made:
        lessons = _pooled_lessons(opened_one_by_one(made))
    rows, counts = lessons.rfm, lessons.counts
    btyd = {family: fit_btyd_rows(rows, counts, families=(family,)) for family in FAMILIES}
    money = None
    if books.has_amounts:
        money = fit_gamma_gamma_rows(lessons.spend, lessons.spend_counts)
        money = None if money.fallback_mean == 0.0 else money
    cluster.release(intake)
    return Taught(book, intake.report.n_customers, btyd, money, lessons.look)


def pooled(counted: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Add up rows that were counted apart, as if they had been counted together.

    Parameters
    ----------
    counted : sequence of (array of shape (n, k), array of shape (n,))
        Distinct rows and how often each occurs, at least one.

    Returns
    -------
    rows : array of shape (n, k)
        Distinct, sorted by the first column, then the next.
    counts : array of shape (n,)
        How often each occurs in all.

    Examples
    --------
    >>> rows, counts = pooled([(np.array([[0.0, 2.0]]), np.ones(1)), (np.array([[0.0, 1.0], [0.0, 2.0]]), np.ones(2))])
    >>> rows.tolist(), counts.tolist()
    ([[0.0, 1.0], [0.0, 2.0]], [1.0, 2.0])
    """
    rows, counts = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    order = np.lexsort(rows.T[::-1])
    rows, counts = rows[order], counts[order]
    if not len(rows):
        return rows, counts
    begins = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
    return rows[begins], np.add.reduceat(counts, begins)


def _pooled_lessons(lessons: Iterator[Lessons]) -> Lessons:
    purchases, money = [], []
    looks: list[Look] = []
    for lesson in lessons:
        purchases.append((lesson.rfm, lesson.counts))
        money.append((lesson.spend, lesson.spend_counts))
        looks = [reduce(add, [*looks, lesson.look])]
    return Lessons(*pooled(purchases), *pooled(money), looks[0])


def _sample(intake: Intake, *, most: int) -> Ledger:
    books = books_of(intake)
    everyone = intake.report.n_customers
    share = min(1.0, (most + _SPREADS * sqrt(most)) / max(everyone, 1))
    below = min(ceil(share * _HASHES), _HASHES) - 1
    drawn = books.told(*BOOK).mapInArrow(partial(draw_customers, day=books.day, below=below), NOTE)
    parts: dict[int, list[tuple[str, bytes]]] = {}
    for row in rows_of(drawn):
        parts.setdefault(row["part"], []).append((row["kind"], bytes(row["content"])))
    made = (book_of(parts[number], as_of=books.as_of, has_amounts=books.has_amounts) for number in sorted(parts))
    found = [book for book in made if book]
    if not found:
        raise OrdersError(f"{intake.log.source}: no customer was drawn. Raise the setting 'spark_sample'.")
    book = _together(found)
    hashes = id_hash(book.ids).to_numpy()
    if len(hashes) <= most:
        return book
    return only(book, np.sort(np.argsort(hashes, kind="stable")[:most]))


def _together(books: Sequence[Ledger]) -> Ledger:
    before = np.cumsum([0, *(len(book.ids) for book in books)])
    entries = [
        book.entries.with_columns((pl.col("customer") + int(first)).cast(pl.UInt32))
        for book, first in zip(books, before, strict=False)
    ]
    return replace(books[0], ids=pl.concat([book.ids for book in books]), entries=pl.concat(entries))
