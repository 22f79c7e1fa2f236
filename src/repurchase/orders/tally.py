"""Counts of a cleaning that add up over any split of the customers, and the report made of their sum."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from repurchase.orders.accounts import REASONS, CleaningReport, Reason, Treatment
from repurchase.orders.amounts import exact_units
from repurchase.orders.ids import clean_ids, id_hash
from repurchase.orders.layouts import FILE_COLUMN, Layout
from repurchase.orders.loss_patterns import LossCounts
from repurchase.orders.policy import NETTED, Rulings, counts_as_order, exact_repeats

__all__ = ["CustomerExample", "Tally"]

_UNITS = 10_000
_LARGEST = 2
_EXAMPLES = 3
_FEW = (2, 6)
"""Orders of a customer that are quickly compared."""


@dataclass(frozen=True)
class CustomerExample:
    """A customer as read, to compare with the shop's own back office.

    Parameters
    ----------
    customer_id : str
        Who.
    orders : int
        Orders that count.
    money : float
        Their net money.
    first_day, last_day : date
        Of those orders.
    """

    customer_id: str
    orders: int
    money: float
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Tally:
    """What came of some customers' rows.

    Parameters
    ----------
    n_raw, n_kept : int
        Rows read, and rows kept as plain sales.
    found : Counter of str
        Rows that show each fault.
    treated : Counter of (str, str)
        Rows of each reason and treatment; no row is counted twice.
    days : frozenset of date
        Days of the rows among the orders.
    n_customers, n_orders : int
        Customers among the orders, and their orders (returns left out).
    sales : int
        Net money, in ten-thousandths.
    statuses, refunded_statuses, excluded_statuses : Counter of str
        Orders that are sales, those of them that were paid back in full, and those that are no sales for their
        status, by that.
    written_statuses : frozenset of str
        All statuses of the rows, as they are written.
    employee_orders, paid_back_orders : int
        Orders kept that are marked as employees', and that were paid back in part.
    paid_back : int
        What was paid back in part, in ten-thousandths.
    equal_rows : int
        Rows that equal an earlier one and were kept for it.
    lost_returns : bool
        Whether returns were set aside for want of money.
    not_understood, not_understood_money : Counter of str
        Orders whose status is not understood and that were counted as sales, and their money in ten-thousandths.
    losses : LossCounts
        Where rows could not be read.
    largest : tuple of (int, str)
        The customers with most orders, and how many.
    examples : tuple of CustomerExample
        A few customers to compare with the shop's own back office.
    """

    n_raw: int = 0
    n_kept: int = 0
    found: Counter[str] = field(default_factory=Counter)
    treated: Counter[tuple[str, Treatment]] = field(default_factory=Counter)
    days: frozenset[date] = frozenset()
    n_customers: int = 0
    n_orders: int = 0
    sales: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    employee_orders: int = 0
    paid_back_orders: int = 0
    paid_back: int = 0
    equal_rows: int = 0
    lost_returns: bool = False
    refunded_statuses: Counter[str] = field(default_factory=Counter)
    excluded_statuses: Counter[str] = field(default_factory=Counter)
    not_understood: Counter[str] = field(default_factory=Counter)
    not_understood_money: Counter[str] = field(default_factory=Counter)
    written_statuses: frozenset[str] = frozenset()
    losses: LossCounts = field(default_factory=LossCounts)
    largest: tuple[tuple[int, str], ...] = ()
    examples: tuple[CustomerExample, ...] = ()

    @classmethod
    def of(cls, rows: pl.DataFrame, raw: pl.DataFrame, layout: Layout, ruled: Rulings) -> "Tally":
        """Count judged rows.

        Parameters
        ----------
        rows : DataFrame
            As `policy.judge` gave them, with ``treatment``.
        raw : DataFrame
            The same rows of the export, with ``FILE_COLUMN`` where there are several files.
        layout : Layout
            The export format.
        ruled : Rulings
            What was settled for all rows.

        Returns
        -------
        Tally
            Their counts.
        """
        sales = rows.filter(pl.col("treatment") == "kept") if _any(rows, pl.col("treatment") != "kept") else rows
        kept = rows.filter(pl.col("treatment") != "set_aside") if sales.height < rows.height else rows
        found = rows.select(pl.col(name).sum() for name in REASONS).row(0, named=True)
        treated = rows.filter(pl.col("reason").is_not_null()).group_by("reason", "treatment").len().rows()
        partly = (
            _paid_back_in_part(sales)
            if layout.amount_rule == "order_total" or layout.refund_per
            else pl.Series(dtype=pl.Float64)
        )
        staff = sales.filter("employee") if sales["employee"].any() else sales.head(0)
        columns = {"unreadable_date": layout.columns["order_date"], "amount_not_a_number": _money_column(layout)}
        doubted = (
            sales.filter(pl.col("validity").is_in(["unknown", "unclear"]))
            .group_by("status")
            .agg(pl.struct("customer_id", "order_id").n_unique().alias("orders"), pl.col("amount").sum())
        )
        lost = not ruled.has_amounts and _any(rows, pl.col("cancellation") | pl.col("return"))
        return cls(
            n_raw=rows.height,
            n_kept=sales.height,
            found=Counter({name: count for name, count in found.items() if count}),
            treated=Counter({(reason, how): count for reason, how, count in treated}),
            days=frozenset(kept["order_date"].dt.date().unique().to_list()),
            n_customers=kept["customer_id"].hash().n_unique(),
            n_orders=_n_orders(_orders(rows, sales, layout)),
            sales=exact_units(kept["amount"]) if ruled.has_amounts else 0,
            statuses=_statuses(sales),
            refunded_statuses=_statuses(rows.filter(pl.col("reason") == "refunded_in_full")),
            employee_orders=_n_orders(staff),
            paid_back_orders=len(partly),
            paid_back=exact_units(partly),
            equal_rows=0 if ruled.repeats_are_faults else int(exact_repeats(raw.drop(FILE_COLUMN, strict=False)).sum()),
            lost_returns=lost,
            excluded_statuses=_statuses(
                rows.filter((pl.col("reason") == "cancelled_order") & (pl.col("validity") == "not_sale"))
            ),
            not_understood=Counter(dict(doubted.select("status", "orders").rows())),
            not_understood_money=Counter(
                {status: exact_units(pl.Series([money])) for status, _, money in doubted.rows()}
            ),
            written_statuses=_written_statuses(raw, layout),
            losses=LossCounts.of(rows, raw, columns),
            largest=_largest(sales),
            examples=_examples(_orders(rows, sales, layout), kept),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            n_raw=self.n_raw + other.n_raw,
            n_kept=self.n_kept + other.n_kept,
            found=self.found + other.found,
            treated=self.treated + other.treated,
            days=self.days | other.days,
            n_customers=self.n_customers + other.n_customers,
            n_orders=self.n_orders + other.n_orders,
            sales=self.sales + other.sales,
            statuses=self.statuses + other.statuses,
            employee_orders=self.employee_orders + other.employee_orders,
            paid_back_orders=self.paid_back_orders + other.paid_back_orders,
            paid_back=self.paid_back + other.paid_back,
            equal_rows=self.equal_rows + other.equal_rows,
            lost_returns=self.lost_returns or other.lost_returns,
            refunded_statuses=self.refunded_statuses + other.refunded_statuses,
            excluded_statuses=self.excluded_statuses + other.excluded_statuses,
            not_understood=self.not_understood + other.not_understood,
            not_understood_money=self.not_understood_money + other.not_understood_money,
            written_statuses=self.written_statuses | other.written_statuses,
            losses=self.losses + other.losses,
            largest=tuple(sorted({*self.largest, *other.largest}, reverse=True)[:_LARGEST]),
            examples=_shown((*self.examples, *other.examples)),
        )

    @property
    def sales_total(self) -> float:
        """Net money."""
        return self.sales / _UNITS

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why rows are not plain sales, in the order of ``accounts.REASONS``."""
        counted: dict[str, tuple[int, Treatment]] = {name: (rows, how) for (name, how), rows in self.treated.items()}
        named = (
            (name, *counted.get(name, (0, "netted" if name in NETTED else "set_aside")))
            for name in REASONS
            if self.found[name]
        )
        return tuple(Reason(name, rows, self.found[name], how, REASONS[name]) for name, rows, how in named)

    def report(self, layout: Layout, ruled: Rulings, *, notes: tuple[str, ...]) -> CleaningReport:
        """Make the account of all rows.

        Parameters
        ----------
        layout : Layout
            The export format.
        ruled : Rulings
            What was settled for all rows.
        notes : tuple of str
            What was decided before, in words.

        Returns
        -------
        CleaningReport
            The counts and every note.
        """
        return CleaningReport(
            n_raw=self.n_raw,
            n_kept=self.n_kept,
            reasons=self.reasons,
            notes=(*notes, *self._notes(layout)),
            has_amounts=ruled.has_amounts,
            currency=ruled.currency,
            first_day=min(self.days, default=None),
            last_day=max(self.days, default=None),
            n_customers=self.n_customers,
            n_orders=self.n_orders,
            layout=layout.name,
            columns=dict(layout.columns),
        )

    def _notes(self, layout: Layout) -> list[str]:
        notes = []
        if self.equal_rows and layout.first_line_only:
            notes.append(
                f"{self.equal_rows:,} rows equal an earlier row; each is a line of an order of its own and was kept."
            )
        elif self.equal_rows:
            notes.append(
                f"{self.equal_rows:,} rows equal an earlier row and were kept: without order ids or times of day, two "
                "equal purchases on one day cannot be told from a row written twice."
            )
        if self.paid_back_orders:
            money = self.paid_back / _UNITS
            notes.append(
                f"{self.paid_back_orders:,} orders were paid back in part; {money:,.2f} in all was taken off them."
            )
        if self.employee_orders:
            notes.append(
                f"{self.employee_orders:,} orders are marked as employees' and were kept as orders like any other."
            )
        if self.lost_returns:
            notes.append("Returns were set aside: the log has no money they could be taken off.")
        return notes


def _any(rows: pl.DataFrame, mask: pl.Expr) -> bool:
    return bool(rows.select(mask.any()).item())


def _orders(rows: pl.DataFrame, sales: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Sales, and orders that were paid back in full."""
    paid_back = (pl.col("treatment") == "netted") & (pl.col("reason") == "refunded_in_full") & counts_as_order(layout)
    returned = rows.filter(paid_back & (pl.col("gross") > 0))
    return sales if returned.is_empty() else pl.concat([sales, returned])


_ORDER_HASH = pl.col("customer_id").hash(1) ^ pl.col("order_id").hash(2)
"""64 bits count three times as fast as text, and two of a hundred million meet once in thousands of logs."""


def _n_orders(rows: pl.DataFrame) -> int:
    return rows.select(_ORDER_HASH).to_series().n_unique()


def _statuses(rows: pl.DataFrame) -> Counter[str]:
    """Orders by status."""
    known = rows.filter(pl.col("status").is_not_null())
    return Counter(dict(known.group_by("status").agg(_ORDER_HASH.n_unique()).rows()))


def _written_statuses(raw: pl.DataFrame, layout: Layout) -> frozenset[str]:
    columns = [layout.columns[role] for role in ("status", "payment_status") if role in layout.columns]
    words = (clean_ids(raw[name].unique()).drop_nulls() for name in columns)
    return frozenset(word for column in words for word in column)


def _paid_back_in_part(sales: pl.DataFrame) -> pl.Series:
    back = (pl.col("gross_total") - pl.col("net_total")).first().round(4).alias("back")
    totals = sales.group_by("customer_id", "order_id").agg(back)
    return totals.filter(pl.col("back") > 0)["back"]


def _money_column(layout: Layout) -> str | None:
    roles = ("amount", "order_total", "price")
    return next((layout.columns[role] for role in roles if role in layout.columns), None)


def _largest(sales: pl.DataFrame) -> tuple[tuple[int, str], ...]:
    counts = sales.group_by("customer_id").agg(pl.col("order_id").n_unique().alias("orders"))
    top = counts.top_k(_LARGEST, by=["orders", "customer_id"]).select("orders", "customer_id")
    return tuple(sorted(((int(orders), str(who)) for orders, who in top.rows()), reverse=True))


def _examples(orders: pl.DataFrame, kept: pl.DataFrame) -> tuple[CustomerExample, ...]:
    """Customers drawn by a hash of their ids, with a few orders each if there are such; money is net of returns."""
    counts = orders.group_by("customer_id").agg(pl.col("order_id").n_unique().alias("orders"))
    drawn = counts.with_columns(
        (~pl.col("orders").is_between(*_FEW)).alias("many"), id_hash(counts["customer_id"]).alias("hash")
    )
    chosen = drawn.bottom_k(_EXAMPLES, by=["many", "hash", "customer_id"])["customer_id"]
    is_chosen = pl.col("customer_id").is_in(chosen.implode())
    money = kept.filter(is_chosen).group_by("customer_id").agg(pl.col("amount").sum().round(2).alias("money"))
    found = (
        orders.filter(is_chosen)
        .group_by("customer_id")
        .agg(
            pl.col("order_id").n_unique().alias("orders"),
            pl.col("order_date").min().dt.date().alias("first_day"),
            pl.col("order_date").max().dt.date().alias("last_day"),
        )
    )
    shown = found.join(money, on="customer_id", how="left", validate="1:1").sort("customer_id")
    return tuple(CustomerExample(**row) for row in shown.rows(named=True))


def _shown(examples: Sequence[CustomerExample]) -> tuple[CustomerExample, ...]:
    """Those that would have been drawn from all customers at once."""
    hashes = id_hash(pl.Series([example.customer_id for example in examples], dtype=pl.String)).to_list()
    ranks = {
        example.customer_id: (not _FEW[0] <= example.orders <= _FEW[1], number, example.customer_id)
        for example, number in zip(examples, hashes, strict=True)
    }
    drawn = sorted(examples, key=lambda example: ranks[example.customer_id])[:_EXAMPLES]
    return tuple(sorted(drawn, key=lambda example: example.customer_id))
