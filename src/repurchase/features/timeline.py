"""The only place where time is cut: what was known on a day, and what came after it.

Customers are coded as integers and rows sorted once, by customer and day; every later step is then a cheap pass
over arrays. Money is summed as integers of a ten-thousandth, so a sum does not depend on the order of rows nor on
which other customers are in the log: a subset of customers gets the same digits as the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from repurchase.errors import InputError, InsufficientHistory
from repurchase.features.closing import Closing, find_closing
from repurchase.features.history import EPOCH, MONEY, PER_DAY, History, Ints, Outcomes, day_number
from repurchase.orders.sufficiency import Extent

__all__ = ["Ledger", "train_cutoffs"]


@dataclass(frozen=True)
class Ledger:
    """Orders coded, summed per customer and day, and sorted; what every cut is made from.

    Parameters
    ----------
    ids : Series of shape (n_customers,)
        Customer ids, sorted; a customer's position is the code.
    entries : DataFrame
        One row per customer, day on which the money became known (``known``), and day it counts on (``day``).
        They differ for a return whose sale was found.
    observed_until : date
        Last day that was observed, inclusive.
    has_amounts : bool
        Whether the log knows money.
    closing : Closing, optional
        A time in which the shop was closed, where days are counted without it (see `without`).
    no_sale : DataFrame, optional
        ``customer_id`` and first ``day`` of customers with orders that cleaning set aside as they are no sales; models
        do not see them.
    """

    ids: pl.Series
    entries: pl.DataFrame
    observed_until: date
    has_amounts: bool
    closing: Closing | None = None
    no_sale: pl.DataFrame | None = None

    @property
    def first_day(self) -> date:
        """First day with an order."""
        return EPOCH + timedelta(days=_as_int(self.entries["known"].min()))

    def customers(self, as_of: date) -> pl.Series:
        """Name everyone with an order by a day, a sale or not.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        Series of str
            Ids, each once, rising.
        """
        ids = self.ids.gather(self.until(as_of).entries["customer"].unique().sort())
        if self.no_sale is None or self.no_sale.is_empty():
            return ids
        others = self.no_sale.filter(pl.col("day") <= as_of)["customer_id"]
        return pl.concat([ids, others.rename(ids.name)]).unique().sort()

    def until(self, as_of: date) -> "Ledger":
        """Forget everything after a day.

        Parameters
        ----------
        as_of : date
            Last day to keep, inclusive.

        Returns
        -------
        Ledger
            As if the log had been exported at the end of ``as_of``.
        """
        last = self.entries["known"].max()
        if last is None or _as_int(last) <= day_number(as_of):
            return replace(self, observed_until=min(as_of, self.observed_until))
        kept = self.entries.filter(pl.col("known") <= day_number(as_of))
        return replace(self, entries=kept, observed_until=min(as_of, self.observed_until))

    def find_closing(self) -> Closing | None:
        """Find a time in which the shop was closed.

        Returns
        -------
        Closing or None
            See `features.closing.find_closing`; the one that is already left out, if any.
        """
        sales = self.entries.filter(pl.col("orders") > 0)
        return self.closing or find_closing(sales["known"].to_numpy())

    def without(self, closing: Closing | None) -> "Ledger":
        """Count days as if the shop had never been closed: what lies before it moves towards it.

        The last day observed stays, so that nothing changes for what comes next; windows and silences that reached
        over the closing are shorter.

        Parameters
        ----------
        closing : Closing or None
            From `find_closing` of the whole log, or of the one that a model learned from.

        Returns
        -------
        Ledger
            This one if there is nothing to leave out, or it had not ended by the last day observed.
        """
        if closing is None or self.closing is not None or closing.last >= day_number(self.observed_until):
            return self
        moved = self.entries.with_columns(closing.open_day(pl.col(name)) for name in ("known", "day"))
        entries = moved.group_by("customer", "known", "day").agg(pl.col(*_SUMS).sum()).sort("customer", "known", "day")
        return replace(self, entries=entries, closing=closing)

    def open_date(self, day: date) -> date:
        """Count a calendar day as this ledger counts days.

        Parameters
        ----------
        day : date
            A calendar day.

        Returns
        -------
        date
            The same, but before a closing that is left out.
        """
        return self.closing.open_date(day) if self.closing else day

    def calendar_date(self, day: date) -> date:
        """Undo `open_date`.

        Parameters
        ----------
        day : date
            A day as this ledger counts days.

        Returns
        -------
        date
            The calendar day.
        """
        return self.closing.calendar_date(day) if self.closing else day

    def history(self, as_of: date) -> History:
        """Cut out what was known on a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        History
            Purchase days up to ``as_of``, returns known by then taken off their sales.
        """
        known = self.until(as_of).entries
        days = _with_refunded(_purchase_days(known, self.has_amounts), known)
        everyone = _PerCustomer.of(known)
        buyers = everyone if days.height == known.height else _PerCustomer.of(days)
        spend = known["spend"].to_numpy()
        back = np.minimum(spend, 0) if (spend < 0).any() else None
        nothing = np.zeros(len(buyers.customer), dtype=np.int64)
        return History(
            as_of=as_of,
            customer=buyers.customer,
            start=buyers.start,
            **{name: days[name].to_numpy().astype(np.int64, copy=False) for name in PER_DAY},
            net_total=everyone.sums(spend, buyers.customer),
            orders_total=everyone.sums(known["orders"].to_numpy().astype(np.int64, copy=False), buyers.customer),
            returned=nothing if back is None else -everyone.sums(back, buyers.customer),
            has_amounts=self.has_amounts,
        )

    def extent(self, as_of: date) -> Extent:
        """Say how much there is to learn from.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        Extent
            What `orders.sufficiency.sufficiency` judges.
        """
        history = self.history(as_of)
        days = np.unique(history.day)
        return Extent(
            as_of=as_of,
            first_day=EPOCH + timedelta(days=int(days[0])) if len(days) else None,
            days=len(days),
            customers=len(history.customer),
            repeat_buyers=int((history.count > 1).sum()),
            has_amounts=self.has_amounts,
        )

    def outcomes(self, history: History, *, horizon_days: int) -> Outcomes:
        """Look up what the customers of a history did next.

        Parameters
        ----------
        history : History
            Customers to look up, known on ``history.as_of``.
        horizon_days : int
            Length of the window, > 0.

        Returns
        -------
        Outcomes
            One value per customer of ``history``, in its order.

        Raises
        ------
        InsufficientHistory
            If the log was not observed to the end of the window.
        """
        end = history.as_of + timedelta(days=horizon_days)
        if end > self.observed_until:
            raise InsufficientHistory(
                f"Outcomes of the {horizon_days} days after {history.as_of} are known on {end}, but orders were "
                f"observed until {self.observed_until}. Use an earlier day or a shorter horizon."
            )
        opening = day_number(history.as_of)
        window = self.entries.filter(pl.col("known").is_between(opening, day_number(end), closed="right"))
        days = _purchase_days(window.filter(pl.col("day") > opening), self.has_amounts)
        counted = (
            days.group_by("customer")
            .agg(pl.len().cast(pl.Int64).alias("days"), pl.col("day").min().alias("next"))
            .sort("customer")
        )
        found, n_days, following = (counted[name].to_numpy().astype(np.int64) for name in counted.columns)
        purchase_days = _lookup(found, n_days, history.customer)
        wait = np.where(purchase_days > 0, _lookup(found, following, history.customer) - opening, np.nan)
        spend = _PerCustomer.of(window).sums(window["spend"].to_numpy(), history.customer) / MONEY
        if not self.has_amounts:
            spend = np.full(len(history.customer), np.nan)
        return Outcomes(purchase_days > 0, purchase_days, spend, wait)


_SUMS = ("spend", "charged", "orders", "lines", "quantity", "discount")


def train_cutoffs(*, first_day: date, as_of: date, horizon_days: int, most: int, step_days: int) -> Sequence[date]:
    """Choose earlier days whose outcomes were known on ``as_of``, latest first.

    Parameters
    ----------
    first_day, as_of : date
        First and last day observed.
    horizon_days : int
        Days ahead.
    most : int
        Upper limit of how many.
    step_days : int
        Days between two cut-offs, > 0.

    Returns
    -------
    sequence of date
        ``as_of`` - h, then steps back, as long as half the horizon (14 days at least) lies before; maybe none.

    Raises
    ------
    InputError
        If a number is not positive.

    Examples
    --------
    >>> span = {"first_day": date(2024, 1, 1), "as_of": date(2024, 12, 31)}
    >>> days = train_cutoffs(**span, horizon_days=90, most=2, step_days=30)
    >>> [day.isoformat() for day in days]
    ['2024-10-02', '2024-09-02']
    >>> train_cutoffs(**span, horizon_days=0, most=2, step_days=30)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: horizon_days, most and step_days must be positive. Got 0, 2 and 30 instead.
    """
    if min(horizon_days, most, step_days) <= 0:
        raise InputError(
            f"horizon_days, most and step_days must be positive. Got {horizon_days}, {most} and {step_days} instead."
        )
    earliest = first_day + timedelta(days=max(14, horizon_days // 2))
    latest = as_of - timedelta(days=horizon_days)
    days = (latest - timedelta(days=step_days * number) for number in range(most))
    return [day for day in days if day >= earliest]


def _purchase_days(known: pl.DataFrame, has_amounts: bool) -> pl.DataFrame:
    days = known
    if (known["known"] != known["day"]).any():
        days = known.group_by("customer", "day").agg(pl.col(*_SUMS).sum()).sort("customer", "day")
    return days.filter(pl.col("spend") > 0) if has_amounts else days.filter(pl.col("orders") > 0)


def _with_refunded(days: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add the days, at the money charged then, on which customers bought who have given everything back."""
    if not (known["spend"] < known["charged"]).any():
        return days
    others = known.join(days.select("customer").unique(), on="customer", how="anti")
    bought = others.group_by("customer", "day").agg(pl.col(*_SUMS).sum()).filter(pl.col("charged") > 0)
    if bought.is_empty():
        return days
    charged = bought.with_columns(pl.col("charged").alias("spend"))
    return pl.concat([days.select(charged.columns), charged]).sort("customer", "day")


class _PerCustomer(NamedTuple):
    """Customers of some entries, and where the entries of each begin."""

    customer: Ints
    start: Ints

    @classmethod
    def of(cls, entries: pl.DataFrame) -> "_PerCustomer":
        customer = entries["customer"].to_numpy()
        begins = np.ones(len(customer), dtype=np.bool_)
        np.not_equal(customer[1:], customer[:-1], out=begins[1:])
        start = np.flatnonzero(begins)
        return cls(customer[start].astype(np.int64), start)

    def sums(self, values: Ints, customers: Ints) -> Ints:
        if not len(values):
            return np.zeros(len(customers), dtype=np.int64)
        return _lookup(self.customer, np.add.reduceat(values, self.start), customers)


def _lookup(found: Ints, values: Ints, customers: Ints) -> Ints:
    if np.array_equal(found, customers):
        return values
    if not len(found):
        return np.zeros(len(customers), dtype=np.int64)
    place = np.minimum(np.searchsorted(found, customers), len(found) - 1)
    return np.where(found[place] == customers, values[place], 0)


def _as_int(value: object) -> int:
    if isinstance(value, int):
        return value
    raise InputError("orders: no row is left to cut. Send orders dated up to the day asked for.")
