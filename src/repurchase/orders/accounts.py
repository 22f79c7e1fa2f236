"""The account of a cleaning: every row is kept, netted or set aside, and the counts add up."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from repurchase.errors import OrdersError

__all__ = ["REASONS", "CleaningReport", "Reason", "Treatment"]

Treatment = Literal["set_aside", "netted"]
"""Set aside: not among the orders. Netted: among the orders, with the money taken off."""

REASONS: Mapping[str, str] = {
    "missing_customer": "no customer id",
    "unreadable_date": "no date that can be read (or one before 1970, or against the column's order of day and month)",
    "future_date": "a date in the future",
    "amount_not_a_number": "no amount that is a number (or one beyond a trillion)",
    "other_currency": "another currency than the one asked for",
    "duplicate_line": "equal in every column to an earlier row",
    "repeated_order": "a second copy of an order that was read before",
    "not_an_order": "a record that is no order (a payout, a fee, a transfer)",
    "cancelled_order": "its status, type or a flag says that this is not a sale (cancelled, failed, unpaid, or not "
    "among sale_statuses)",
    "zero_total": "an order with a total of zero (gifts, replacements, samples)",
    "cancellation": "a cancellation of an earlier sale",
    "return": "a return, with a negative amount",
    "refunded_in_full": "an order that was paid back in full",
}
"""The order of reasons: a row that shows several faults is counted under the first of them."""


@dataclass(frozen=True)
class Reason:
    """Why rows are not plain sales.

    Parameters
    ----------
    reason : str
        One of ``REASONS``.
    rows : int
        Rows counted here; no row is counted twice.
    found : int
        Rows that show this fault at all, also those counted under an earlier reason.
    treatment : {"set_aside", "netted"}
        Set aside: not among the orders. Netted: among the orders, with the money taken off.
    words : str
        For a reader.
    """

    reason: str
    rows: int
    found: int
    treatment: Treatment
    words: str


@dataclass(frozen=True)
class CleaningReport:
    """What came in, what was kept, and why the rest was not.

    Parameters
    ----------
    n_raw, n_kept : int
        Rows read, and rows kept as plain sales.
    reasons : tuple of Reason
        In the order of ``REASONS``; only those that were found.
    notes : tuple of str
        What was decided, in words.
    has_amounts : bool
        Whether the log has money.
    currency : str or None
        The orders' currency, where it is known.
    first_day, last_day : date or None
        Days of the first and the last row among the orders.
    n_customers, n_orders : int
        Customers among the orders, and their orders (returns left out).
    layout : str
        The export format.
    columns : mapping of str to str
        Our name to the export's.

    Raises
    ------
    OrdersError
        If the counts do not add up.

    Examples
    --------
    >>> CleaningReport(n_raw=3, n_kept=1, layout="orders")
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: The account of the rows does not add up: 3 read, but 1 kept + 0 named = 1.
    """

    n_raw: int
    n_kept: int
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    has_amounts: bool = True
    currency: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    n_customers: int = 0
    n_orders: int = 0
    layout: str = ""
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check that every row has its place.

        Raises
        ------
        OrdersError
            If the counts do not add up.
        """
        named = sum(reason.rows for reason in self.reasons)
        if self.n_raw != self.n_kept + named:
            raise OrdersError(
                f"The account of the rows does not add up: {self.n_raw:,} read, but {self.n_kept:,} kept + "
                f"{named:,} named = {self.n_kept + named:,}."
            )

    def count(self, treatment: Treatment) -> int:
        """Count the rows of one treatment.

        Parameters
        ----------
        treatment : {"set_aside", "netted"}
            Which.

        Returns
        -------
        int
            Rows.
        """
        return sum(reason.rows for reason in self.reasons if reason.treatment == treatment)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values.

        Returns
        -------
        dict
            For JSON: days as ISO text, everything else as it is.
        """
        plain = asdict(self)
        for name in ("first_day", "last_day"):
            plain[name] = plain[name].isoformat() if plain[name] else None
        return plain | {
            "reasons": [asdict(reason) for reason in self.reasons],
            "notes": list(self.notes),
            "columns": dict(self.columns or {}),
        }

    def words(self) -> list[str]:
        """The report in sentences for a shop owner.

        Returns
        -------
        list of str
            What was read, one sentence per reason, and the sum.

        Examples
        --------
        >>> why = Reason("missing_customer", rows=2, found=2, treatment="set_aside", words="no customer id")
        >>> CleaningReport(n_raw=5, n_kept=3, reasons=(why,), layout="CDNOW", n_customers=2, n_orders=3).words()
        ['5 rows came in, laid out as CDNOW.', '3 rows are sales and are kept as they are.', \
'2 rows were set aside: no customer id.', 'Together: 3 kept + 2 set aside + 0 netted = 5 rows.', \
'That leaves 2 customers with 3 orders.']
        """
        sentences = [f"{_rows(self.n_raw)} came in, laid out as {self.layout}."]
        one = self.n_kept == 1
        plain = "is a sale and is kept as it is" if one else "are sales and are kept as they are"
        sentences.append(f"{_rows(self.n_kept)} {plain}.")
        sentences.extend(_sentence(reason) for reason in self.reasons)
        aside, netted = self.count("set_aside"), self.count("netted")
        sentences.append(
            f"Together: {self.n_kept:,} kept + {aside:,} set aside + {netted:,} netted = {_rows(self.n_raw)}."
        )
        days = f", from {self.first_day} to {self.last_day}" if self.first_day else ""
        money = f", in {self.currency}" if self.currency else ""
        who, what = _count(self.n_customers, "customer"), _count(self.n_orders, "order")
        sentences.append(f"That leaves {who} with {what}{days}{money}.")
        return [*sentences, *self.notes]


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _rows(number: int) -> str:
    return _count(number, "row")


def _sentence(reason: Reason) -> str:
    done = "were set aside" if reason.treatment == "set_aside" else "were taken off the customer's spending"
    done = done.replace("were", "was") if reason.rows == 1 else done
    more = ""
    if reason.found > reason.rows:
        elsewhere = f"{reason.found - reason.rows:,} of them are counted under another reason"
        more = f" ({reason.found:,} rows show this; {elsewhere})"
    if not reason.rows:
        return f"{_rows(reason.found)} show this but are counted under another reason: {reason.words}."
    return f"{_rows(reason.rows)} {done}: {reason.words}{more}."
