"""What must be known of all rows before any can be judged; adds up over any split of the rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.blanks import BLANK_WORDS
from repurchase.orders.dates import offsets_note
from repurchase.orders.layouts import Layout

__all__ = ["Facts", "Unread", "filled"]

_SHOWN = 5
_MONEY = {"amount": ("amount",), "order_total": ("order_total",), "quantity_price": ("quantity", "price")}


@dataclass(frozen=True)
class Unread:
    """Values of a column that could not be read.

    Parameters
    ----------
    rows : int
        Rows looked at that say something.
    unread : int
        Rows of them without a value that could be read.
    examples : tuple of str
        The first few of those, as written.
    """

    rows: int = 0
    unread: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, written: pl.Series, read: pl.Series) -> "Unread":
        """Compare a column as written with what was read.

        Parameters
        ----------
        written, read : Series
            Of equal length.

        Returns
        -------
        Unread
            Counts and examples.
        """
        if read.null_count() == 0:
            return cls(rows=len(read))
        says = filled(written)
        lost = written.filter(says & read.is_null())
        first = lost.unique(maintain_order=True).head(_SHOWN + 1)
        return cls(int(says.sum()), len(lost), tuple(f"'{str(value)[:40]}'" for value in first))

    def __add__(self, other: "Unread") -> "Unread":
        examples = tuple(dict.fromkeys((*self.examples, *other.examples)))[: _SHOWN + 1]
        return Unread(self.rows + other.rows, self.unread + other.unread, examples)

    @property
    def shown(self) -> str:
        """The examples, for a message."""
        return ", ".join(self.examples[:_SHOWN]) + (", ..." if len(self.examples) > _SHOWN else "")


def filled(values: pl.Series) -> pl.Series:
    """Tell values that say something from blanks and the usual stand-ins for nothing.

    Parameters
    ----------
    values : Series
        As the export has them.

    Returns
    -------
    Series of bool
        True where something is said.
    """
    if values.dtype != pl.String:
        return values.is_not_null()
    return (~values.str.strip_chars().str.to_lowercase().is_in(BLANK_WORDS)).fill_null(value=False)


@dataclass(frozen=True)
class Facts:
    """What must be known of all rows.

    Parameters
    ----------
    n_rows, n_named, n_dated, n_priced : int
        Rows; those with a customer, a date, money.
    dates : Unread
        Dates that could not be read.
    numbers : mapping of str to Unread
        The same, of each role that money is made of.
    has_times : bool
        Whether any order has a time of day.
    currencies : Counter of str
        Rows of each currency.
    offsets : frozenset of int
        Different offsets of times, in minutes east.
    refund_rows : int
        Rows that are nothing but refunds.
    damaged_ids : int
        Rows whose customer id a spreadsheet destroyed (``7.12E+12``).
    """

    n_rows: int = 0
    n_named: int = 0
    n_dated: int = 0
    n_priced: int = 0
    dates: Unread = field(default_factory=Unread)
    numbers: Mapping[str, Unread] = field(default_factory=dict)
    has_times: bool = False
    currencies: Counter[str] = field(default_factory=Counter)
    offsets: frozenset[int] = frozenset()
    refund_rows: int = 0
    damaged_ids: int = 0

    def __add__(self, other: "Facts") -> "Facts":
        roles = {**self.numbers, **other.numbers}
        return Facts(
            n_rows=self.n_rows + other.n_rows,
            n_named=self.n_named + other.n_named,
            n_dated=self.n_dated + other.n_dated,
            n_priced=self.n_priced + other.n_priced,
            dates=self.dates + other.dates,
            numbers={role: self.numbers.get(role, Unread()) + other.numbers.get(role, Unread()) for role in roles},
            has_times=self.has_times or other.has_times,
            currencies=self.currencies + other.currencies,
            offsets=self.offsets | other.offsets,
            refund_rows=self.refund_rows + other.refund_rows,
            damaged_ids=self.damaged_ids + other.damaged_ids,
        )

    @property
    def has_amounts(self) -> bool:
        """Whether there is money at all."""
        return self.n_priced > 0

    def repeats_are_faults(self, layout: Layout) -> bool:
        """Say whether a row that equals an earlier one is that row written twice.

        Parameters
        ----------
        layout : Layout
            The export format.

        Returns
        -------
        bool
            False where two equal rows can be two lines, or two purchases on a day.
        """
        if layout.first_line_only:
            return False
        return "order_id" in layout.columns or self.has_times

    def notes(self, layout: Layout) -> tuple[str, ...]:
        """Say in words what these facts decide.

        Parameters
        ----------
        layout : Layout
            The export format.

        Returns
        -------
        tuple of str
            Sentences.
        """
        empty = not self.has_amounts and layout.amount_rule != "none"
        no_money = ("The column of money is empty: purchases are predicted, money is not.",) if empty else ()
        return (*offsets_note(self.offsets), *no_money)

    def require_usable(self, layout: Layout, *, source: str) -> None:
        """Refuse a log most of which cannot be read.

        Parameters
        ----------
        layout : Layout
            The export format.
        source : str
            What a message calls the log.

        Raises
        ------
        OrdersError
            If every customer is missing, or most dates or most amounts cannot be read.
        """
        for role in _MONEY.get(layout.amount_rule, ()):
            self._require_numbers(role, layout, source)
        if not self.n_named:
            raise OrdersError(
                f"{source}: all {self.n_rows:,} rows lack a customer in column '{layout.columns['customer_id']}'. "
                "Name the column that tells customers apart: --columns customer_id=..."
            )
        if self.damaged_ids:
            raise OrdersError(
                f"{source}: {self.damaged_ids:,} customer ids in column '{layout.columns['customer_id']}' were damaged "
                "by a spreadsheet (such as 7.12E+12): different customers became one. Export the orders again without "
                "opening them in a spreadsheet, or name another column: --columns customer_id=..."
            )
        undated = self.n_rows - self.n_dated
        if undated * 2 > self.n_rows:
            shown = self.dates.shown or "all of them are empty"
            raise OrdersError(
                f"{source}: {undated:,} of {self.n_rows:,} dates in column '{layout.columns['order_date']}' cannot be "
                f"read: {shown}. Expected dates such as 2024-01-31, 31.12.2024 or 12/31/2024. "
                "Name the right column: --columns order_date=...",
                withheld=self.dates.shown,
            )

    def _require_numbers(self, role: str, layout: Layout, source: str) -> None:
        found = self.numbers.get(role, Unread())
        if found.unread * 2 > found.rows:
            raise OrdersError(
                f"{source}: {found.unread:,} of {found.rows:,} values in the {role} column '{layout.columns[role]}' "
                f"are not numbers: {found.shown}. Name the right column: --columns {role}=...",
                withheld=found.shown,
            )
