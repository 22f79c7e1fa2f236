"""What orders look like on a day: counts that add up over customers, and a sample of customers that does so too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.features.behaviour import behaviour_table
from repurchase.features.closing import Closing
from repurchase.features.history import MONEY, PER_DAY, History, Ints, day_number
from repurchase.features.timeline import Ledger
from repurchase.orders.ids import id_hash

__all__ = ["LOOKED_AT", "Look", "Sample", "look_at", "sample_of"]

LOOKED_AT = 20_000
"""Customers whose features are looked at, at most: a share is then right within a point."""
WEEKS = 52
WINDOW_DAYS = 28
"""Newcomers are counted among the buyers of four weeks: whole weeks, so that no weekend is missing."""
WINDOWS = WEEKS * 7 // WINDOW_DAYS

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Sample:
    """The customers with the smallest hashes of their ids: of two logs' samples, the sample of both can be made.

    Parameters
    ----------
    drawn : array of shape (n_drawn,)
        Hashes of the customers drawn, rising; at most 20,000, more only where the last ones are equal.
    hashes : array of shape (n_customers,)
        Those of them with a purchase day, rising.
    history : History
        Their purchase days, in the order of ``hashes``.
    """

    drawn: Hashes
    hashes: Hashes
    history: History

    def __add__(self, other: "Sample") -> "Sample":
        """Draw from both, which share no customer."""
        drawn = _smallest(np.concatenate([self.drawn, other.drawn]))
        hashes = np.concatenate([self.hashes, other.hashes])
        kept = np.argsort(hashes, kind="stable")
        kept = kept[: np.searchsorted(hashes[kept], drawn[-1:].max(initial=0), side="right")]
        return Sample(drawn, hashes[kept], _renumbered(_joined(self.history, other.history).take(kept)))


@dataclass(frozen=True, eq=False)
class Look:
    """What orders look like on a day. Looks at logs that share no customer add up, in any order.

    Parameters
    ----------
    as_of : date
        Last day observed, inclusive.
    n_customers : int
        Customers with an order or a return by then.
    first_day : int, optional
        Day number of the first sale; None without one.
    spent : int
        Money of all purchase days, in ten-thousandths; 0 without money.
    weeks : int array of shape (52,)
        Purchase days in the week up to ``as_of``, the one before it, and so on.
    windows : int array of shape (4, 13)
        In the four weeks up to ``as_of``, the four before them, and so on: purchase days, buyers, buyers who had
        never bought before, and money in ten-thousandths.
    sample : Sample
        At most 20,000 of the customers.
    """

    as_of: date
    n_customers: int
    first_day: int | None
    spent: int
    weeks: Ints
    windows: Ints
    sample: Sample

    def __add__(self, other: "Look") -> "Look":
        """Look at both logs together, which share no customer; exact, in any order."""
        if self.as_of != other.as_of:
            raise InputError(f"Looks on {self.as_of} and on {other.as_of} do not add up. Look on one day.")
        first_days = [day for day in (self.first_day, other.first_day) if day is not None]
        return Look(
            as_of=self.as_of,
            n_customers=self.n_customers + other.n_customers,
            first_day=min(first_days, default=None),
            spent=self.spent + other.spent,
            weeks=self.weeks + other.weeks,
            windows=self.windows + other.windows,
            sample=self.sample + other.sample,
        )

    @cached_property
    def features(self) -> pl.DataFrame:
        """Behaviour of the customers of the sample, see `behaviour_table`."""
        return behaviour_table(self.sample.history)

    @property
    def weekly(self) -> tuple[int, ...]:
        """Purchase days in each of the last 52 whole weeks, oldest first; fewer where the orders begin later."""
        whole = min(WEEKS, self._days // 7)
        return tuple(self.weeks[:whole][::-1].tolist())

    @property
    def newcomers(self) -> tuple[float, ...]:
        """In each of the last 13 stretches of four weeks, the share of its buyers who had never bought before."""
        return tuple(new / buyers for _, buyers, new, _ in self._windows_shown())

    @property
    def baskets(self) -> tuple[float, ...]:
        """In the same stretches, mean money per purchase day; empty without money."""
        if self.spent <= 0:
            return ()
        return tuple(money / MONEY / days for days, _, _, money in self._windows_shown())

    @property
    def _days(self) -> int:
        return 0 if self.first_day is None else day_number(self.as_of) - self.first_day + 1

    def _windows_shown(self) -> Iterator[list[int]]:
        # Those in the later half of a log: in the earlier half too many buyers are new to it.
        whole = min(WEEKS * 7, self._days // 2) // WINDOW_DAYS
        return (window for window in self.windows[:, :whole].T[::-1].tolist() if window[0])


def look_at(book: Ledger, *, as_of: date, closing: Closing | None = None) -> Look:
    """Look at a log, or at all entries of some of its customers.

    A purchase day is a day with a sale, taken back later or not. Its money is net of what was given back on that day,
    never below 0.

    Parameters
    ----------
    book : Ledger
        Entries that became known later are not read. ``has_amounts`` must be that of the whole log.
    as_of : date
        Last day observed, inclusive.
    closing : Closing, optional
        A time in which the shop was closed, left out as the model leaves it out.

    Returns
    -------
    Look
        Of these customers; looks at others can be added.
    """
    known = book.until(as_of)
    drawn, few, n_customers = sample_of(known)
    few = few.without(closing)
    shift = closing if closing and few.closing is not None and known.closing is None else None
    sales = known.entries.filter(pl.col("orders") > 0)
    first_day, spent, weeks, windows = _counted(sales, day_number(as_of), shift)
    return Look(as_of, n_customers, first_day, spent, weeks, windows, _looked_at(drawn, few, as_of))


def sample_of(book: Ledger) -> tuple[Hashes, Ledger, int]:
    """Draw at most 20,000 customers, the same ones from the same customers in any order.

    Parameters
    ----------
    book : Ledger
        A log.

    Returns
    -------
    drawn : array of shape (n_drawn,)
        Hashes of the ids drawn, rising.
    few : Ledger
        What is known of these customers, with codes in the order of ``drawn``.
    n_customers : int
        Customers with entries, from whom was drawn.
    """
    customer = book.entries["customer"].to_numpy()
    codes = customer[_changes(customer)]
    ids = book.ids if len(codes) == len(book.ids) else book.ids.gather(codes)
    hashes = id_hash(ids).to_numpy()
    drawn = _smallest(hashes)
    chosen = np.flatnonzero(hashes <= drawn[-1:].max(initial=0))
    chosen = chosen[np.argsort(hashes[chosen], kind="stable")]
    asked = np.zeros(len(book.ids), dtype=np.bool_)
    asked[codes[chosen]] = True
    entries = book.entries.filter(pl.Series(asked[customer]))
    place = np.zeros(len(book.ids), dtype=np.uint32)
    place[codes[chosen]] = np.arange(len(chosen), dtype=np.uint32)
    renamed = entries.with_columns(pl.Series("customer", place[entries["customer"].to_numpy()]))
    few = replace(book, ids=ids.gather(chosen), entries=renamed.sort("customer", "known", "day"))
    return drawn, few, len(codes)


def _looked_at(drawn: Hashes, few: Ledger, as_of: date) -> Sample:
    history = few.history(as_of)
    return Sample(drawn, drawn[history.customer], _renumbered(history))


def _counted(sales: pl.DataFrame, now: int, closing: Closing | None) -> tuple[int | None, int, Ints, Ints]:
    if sales.is_empty():
        return None, 0, np.zeros(WEEKS, dtype=np.int64), np.zeros((4, WINDOWS), dtype=np.int64)
    customer = sales["customer"].to_numpy()
    day = sales.select(closing.open_day(pl.col("known")) if closing else "known").to_series().to_numpy()
    ago = now - day
    length = int(ago.max()) + 1
    newcomer = _changes(customer)
    purchase_days = np.bincount(ago[newcomer | _changes(day)], minlength=length)
    money = np.zeros(length, dtype=np.int64)
    np.add.at(money, ago, np.maximum(sales["spend"].to_numpy(), 0))  # whole numbers: bincount would add up floats
    window = (np.arange(length) // WINDOW_DAYS).astype(np.int32)[ago]
    buyers = np.bincount(window[newcomer | _changes(window)], minlength=WINDOWS)[:WINDOWS]
    new = np.bincount(ago[newcomer], minlength=length)
    windows = np.stack([_by_length(purchase_days), buyers, _by_length(new), _by_length(money)])
    weeks = _by_length(purchase_days, 7, most=WEEKS)
    return now - length + 1, int(money.sum()), weeks, windows


def _by_length(by_day: Ints, days: int = WINDOW_DAYS, *, most: int = WINDOWS) -> Ints:
    # Of what was counted per day, today first: sums of as many days each, as many sums as are asked for.
    whole = np.zeros(days * most, dtype=np.int64)
    whole[: len(by_day)] = by_day[: len(whole)]
    sums: Ints = whole.reshape(most, days).sum(axis=1)
    return sums


def _changes(values: Places) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before it."""
    changes = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _smallest(hashes: Hashes) -> Hashes:
    if len(hashes) > LOOKED_AT:
        hashes = hashes[hashes <= np.partition(hashes, LOOKED_AT - 1)[LOOKED_AT - 1]]
    return np.sort(hashes)


def _joined(one: History, other: History) -> History:
    if not len(one.customer) or not len(other.customer):
        return one if len(one.customer) else other
    if one.has_amounts != other.has_amounts:
        raise InputError("Looks with and without money do not add up. Tell every part whether the whole log has it.")
    rows, customers = (
        {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names}
        for names in (PER_DAY, ("customer", "net_total", "returned", "orders_total"))
    )
    start = np.concatenate([one.start, other.start + len(one.day)])
    return History(as_of=one.as_of, start=start, has_amounts=one.has_amounts, **rows, **customers)


def _renumbered(history: History) -> History:
    return replace(history, customer=np.arange(len(history.customer), dtype=np.int64))
