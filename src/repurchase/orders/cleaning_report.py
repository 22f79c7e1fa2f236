"""What was cleaned: counts that add up over any split of the customers, and the report made of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

import polars as pl

from repurchase.errors import OrdersError
from repurchase.i18n.messages import Message, message, render, translate
from repurchase.orders.amounts import MONEY_UNITS, exact_units
from repurchase.orders.cleaning_rules import NETTED, REASONS, CleaningRules, counts_as_order, exact_repeats
from repurchase.orders.ids import clean_ids, id_hash
from repurchase.orders.layout import FILE_COLUMN, MONEY_COLUMN_ROLES, Layout
from repurchase.orders.mergeable import Mergeable

_Treatment = Literal["set_aside", "netted"]
"""Set aside: not among the orders. Netted: among the orders, with the money taken off."""


@dataclass(frozen=True)
class Reason:
    """Why rows are not plain sales."""

    reason: str
    rows: int
    found: int
    treatment: _Treatment

    @property
    def message(self) -> Message:
        """What is wrong with the rows."""
        return message(f"cleaning_reason.{self.reason}")


@dataclass(frozen=True)
class CleaningReport:
    """What came in, what was kept, and why the rest was not."""

    n_raw: int
    n_kept: int
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Message, ...] = ()
    has_amounts: bool = True
    currency: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    n_customers: int = 0
    n_orders: int = 0
    layout: str = ""
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check that every row has its place."""
        named = sum(reason.rows for reason in self.reasons)
        if self.n_raw != self.n_kept + named:
            raise OrdersError(
                f"The cleaning report does not add up: {self.n_raw:,} rows read, but {self.n_kept:,} kept + "
                f"{named:,} with a reason = {self.n_kept + named:,}."
            )

    def count(self, treatment: _Treatment) -> int:
        """Count the rows of one treatment."""
        return sum(reason.rows for reason in self.reasons if reason.treatment == treatment)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        plain = asdict(self)
        for name in ("first_day", "last_day"):
            plain[name] = plain[name].isoformat() if plain[name] else None
        return plain | {
            "reasons": [{**asdict(reason), "words": reason.message} for reason in self.reasons],
            "notes": list(self.notes),
            "columns": dict(self.columns or {}),
        }

    def lines(self) -> list[str]:
        """The report for a shop owner, in the active language."""
        aside, netted = self.count("set_aside"), self.count("netted")
        period = message("cleaning_line.period", first=str(self.first_day), last=str(self.last_day))
        currency = message("cleaning_line.currency", currency=self.currency)
        return [
            translate("cleaning_line.read", rows=self.n_raw, layout=self.layout),
            translate("cleaning_line.kept", n=self.n_kept),
            *(_reason_line(reason) for reason in self.reasons),
            translate("cleaning_line.sum", kept=self.n_kept, aside=aside, netted=netted, rows=self.n_raw),
            translate(
                "cleaning_line.left",
                customers=self.n_customers,
                orders=self.n_orders,
                period=period if self.first_day else "",
                currency=currency if self.currency else "",
            ),
            *(render(note) for note in self.notes),
        ]


def _reason_line(reason: Reason) -> str:
    if not reason.rows:
        return translate("cleaning_line.found_only", rows=reason.found, reason=reason.message)
    elsewhere = message("cleaning_line.elsewhere", found=reason.found, elsewhere=reason.found - reason.rows)
    more = elsewhere if reason.found > reason.rows else ""
    return translate(f"cleaning_line.{reason.treatment}", n=reason.rows, reason=reason.message, more=more)


_ENOUGH_ROWS = 10
_MOST = 0.5
_DIMENSIONS: Mapping[str, str] = {
    "file": "of the rows of file {group}",
    "month": "of the rows of {group}",
    "status": "of the rows with status '{group}'",
    "written": "of the values written like '{group}'",
    "size": "of the amounts written with {group} digits",
}
_VALUE_KINDS: Mapping[str, str] = {"unreadable_date": "dates", "amount_not_a_number": "amounts"}


@dataclass(frozen=True)
class _LossCounts(Mergeable):
    """Rows and lost rows by reason, dimension and group."""

    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    lost: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: pl.DataFrame, raw: pl.DataFrame, columns: Mapping[str, str | None]) -> "_LossCounts":
        """Count rows that have their reasons."""
        found = cls()
        for reason, column in columns.items():
            if column is None or not rows[reason].any():
                continue
            text = raw[column].cast(pl.String, strict=False).str.strip_chars()
            has_digits = text.str.contains(r"\d").fill_null(value=False)
            written = (
                {"size": text.str.replace_all(r"\D", "").str.len_chars().cast(pl.String)}
                if reason == "amount_not_a_number"
                else {"written": _shapes(text)}
            )
            groups = {
                "file": raw.get_column(FILE_COLUMN, default=pl.repeat(0, raw.height, eager=True)).cast(pl.String),
                "month": rows["order_date"].dt.strftime("%B %Y"),
                "status": rows["status"],
                **{dimension: group.set(~has_digits, None) for dimension, group in written.items()},
            }
            lost = rows[reason] & ~rows["cancelled_order"] & ~rows["missing_customer"]
            table = pl.DataFrame({"lost": lost, **groups})
            for dimension in groups:
                counts = table.group_by(dimension).agg(pl.len(), pl.col("lost").sum()).drop_nulls(dimension)
                for group, count, n_lost in counts.rows():
                    found.rows[reason, dimension, group] += count
                    found.lost[reason, dimension, group] += n_lost
        return found

    def pattern(self, files: tuple[str, ...]) -> str | None:
        """Name the part of the export that is lost, if the losses are no scattered mistakes."""
        suspects = [
            (lost, key)
            for key, lost in self.lost.items()
            if lost >= _ENOUGH_ROWS and lost >= _MOST * self.rows[key] and (key[1] != "file" or len(files) > 1)
        ]
        if not suspects:
            return None
        lost, (reason, dimension, group) = max(suspects)
        named = files[int(group)] if dimension == "file" else group
        where = _DIMENSIONS[dimension].format(group=named)
        return (
            f"{lost:,} {_VALUE_KINDS[reason]} cannot be read: {lost / self.rows[reason, dimension, group]:.0%} {where}"
        )


def _shapes(text: pl.Series) -> pl.Series:
    """The shape of a text: every digit a 9, every word an a."""
    return text.str.slice(0, 40).str.replace_all(r"\d", "9").str.replace_all(r"\p{L}+", "a")


_LARGEST = 2
_EXAMPLES = 3
_FEW = (2, 6)
"""Orders of a customer that are quickly compared."""


@dataclass(frozen=True)
class CustomerExample:
    """A customer as read, to compare with the shop's own back office."""

    customer_id: str
    orders: int
    money: float
    first_day: date
    last_day: date


_Examples = tuple[CustomerExample, ...]


def _merge_largest(one: tuple[tuple[int, str], ...], other: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    return tuple(sorted({*one, *other}, reverse=True)[:_LARGEST])


def _merge_examples(
    one: tuple[CustomerExample, ...], other: tuple[CustomerExample, ...]
) -> tuple[CustomerExample, ...]:
    """Those that would have been drawn from all customers at once."""
    examples = (*one, *other)
    hashes = id_hash(pl.Series([example.customer_id for example in examples], dtype=pl.String)).to_list()
    ranked = sorted(
        (not _FEW[0] <= example.orders <= _FEW[1], number, example.customer_id, place)
        for place, (example, number) in enumerate(zip(examples, hashes, strict=True))
    )
    drawn = (examples[place] for *_, place in ranked[:_EXAMPLES])
    return tuple(sorted(drawn, key=lambda example: example.customer_id))


@dataclass(frozen=True)
class CleaningCounts(Mergeable):
    """Counts of some customers' rows after cleaning."""

    n_raw: int = 0
    n_kept: int = 0
    found: Counter[str] = field(default_factory=Counter)
    treated: Counter[tuple[str, _Treatment]] = field(default_factory=Counter)
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
    losses: _LossCounts = field(default_factory=_LossCounts)
    largest: tuple[tuple[int, str], ...] = field(default=(), metadata={"merge": _merge_largest})
    examples: tuple[CustomerExample, ...] = field(default=(), metadata={"merge": _merge_examples})

    @classmethod
    def of(cls, rows: pl.DataFrame, raw: pl.DataFrame, layout: Layout, rules: CleaningRules) -> "CleaningCounts":
        """Count rows that have their reasons and treatment."""
        sales = rows.filter(pl.col("treatment") == "kept") if _any(rows, pl.col("treatment") != "kept") else rows
        kept = rows.filter(pl.col("treatment") != "set_aside") if sales.height < rows.height else rows
        orders = _orders(rows, sales, layout)
        found = rows.select(pl.col(name).sum() for name in REASONS).row(0, named=True)
        treated = rows.filter(pl.col("reason").is_not_null()).group_by("reason", "treatment").len().rows()
        has_refunds = layout.amount_rule == "order_total" or layout.refund_per
        refunds = _paid_back_in_part(sales) if has_refunds else pl.Series(dtype=pl.Float64)
        staff = sales.filter("employee") if sales["employee"].any() else sales.head(0)
        money = next((layout.columns[role] for role in MONEY_COLUMN_ROLES if role in layout.columns), None)
        doubted = (
            sales.filter(pl.col("validity").is_in(["unknown", "unclear"]))
            .group_by("status")
            .agg(pl.struct("customer_id", "order_id").n_unique().alias("orders"), pl.col("amount").sum())
        )
        excluded = (pl.col("reason") == "cancelled_order") & (pl.col("validity") == "not_sale")
        return cls(
            n_raw=rows.height,
            n_kept=sales.height,
            found=Counter({name: count for name, count in found.items() if count}),
            treated=Counter({(reason, how): count for reason, how, count in treated}),
            days=frozenset(kept["order_date"].dt.date().unique().to_list()),
            n_customers=kept["customer_id"].hash().n_unique(),
            n_orders=_n_orders(orders),
            sales=exact_units(kept["amount"]) if rules.has_amounts else 0,
            statuses=_statuses(sales),
            refunded_statuses=_statuses(rows.filter(pl.col("reason") == "refunded_in_full")),
            employee_orders=_n_orders(staff),
            paid_back_orders=len(refunds),
            paid_back=exact_units(refunds),
            equal_rows=0 if rules.repeats_are_faults else int(exact_repeats(raw.drop(FILE_COLUMN, strict=False)).sum()),
            lost_returns=not rules.has_amounts and _any(rows, pl.col("cancellation") | pl.col("return")),
            excluded_statuses=_statuses(rows.filter(excluded)),
            not_understood=Counter(dict(doubted.select("status", "orders").rows())),
            not_understood_money=Counter(
                {status: exact_units(pl.Series([amount])) for status, _, amount in doubted.rows()}
            ),
            written_statuses=_written_statuses(raw, layout),
            losses=_LossCounts.of(
                rows, raw, {"unreadable_date": layout.columns["order_date"], "amount_not_a_number": money}
            ),
            largest=_largest_customers(sales),
            examples=_examples(orders, kept),
        )

    @property
    def sales_total(self) -> float:
        """Net money."""
        return self.sales / MONEY_UNITS

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why rows are not plain sales, in the order of ``REASONS``."""
        counted: dict[str, tuple[int, _Treatment]] = {name: (rows, how) for (name, how), rows in self.treated.items()}
        named = (
            (name, *counted.get(name, (0, "netted" if name in NETTED else "set_aside")))
            for name in REASONS
            if self.found[name]
        )
        return tuple(Reason(name, rows, self.found[name], how) for name, rows, how in named)

    def report(self, layout: Layout, rules: CleaningRules, *, notes: tuple[Message, ...]) -> CleaningReport:
        """Report on all rows."""
        return CleaningReport(
            n_raw=self.n_raw,
            n_kept=self.n_kept,
            reasons=self.reasons,
            notes=(*notes, *self._notes(layout)),
            has_amounts=rules.has_amounts,
            currency=rules.currency,
            first_day=min(self.days, default=None),
            last_day=max(self.days, default=None),
            n_customers=self.n_customers,
            n_orders=self.n_orders,
            layout=layout.name,
            columns=dict(layout.columns),
        )

    def _notes(self, layout: Layout) -> list[Message]:
        notes = []
        if self.equal_rows:
            kind = "equal_lines" if layout.first_line_only else "equal_rows"
            notes.append(message(f"cleaning_note.{kind}", rows=self.equal_rows))
        if self.paid_back_orders:
            amount = self.paid_back / MONEY_UNITS
            notes.append(message("cleaning_note.paid_back", orders=self.paid_back_orders, amount=amount))
        if self.employee_orders:
            notes.append(message("cleaning_note.employees", orders=self.employee_orders))
        if self.lost_returns:
            notes.append(message("cleaning_note.lost_returns"))
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
    columns = (clean_ids(raw[name].unique()).drop_nulls() for name in layout.status_columns)
    return frozenset(status for column in columns for status in column)


def _paid_back_in_part(sales: pl.DataFrame) -> pl.Series:
    back = (pl.col("gross_total") - pl.col("net_total")).first().round(4).alias("back")
    totals = sales.group_by("customer_id", "order_id").agg(back)
    return totals.filter(pl.col("back") > 0)["back"]


def _largest_customers(sales: pl.DataFrame) -> tuple[tuple[int, str], ...]:
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
