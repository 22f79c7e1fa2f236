"""The ledger: orders coded, summed per customer and day, without times in which the shop was closed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from repurchase.errors import InputError, InsufficientHistory, LeakageError, OrdersError, first_few
from repurchase.features.history import (
    EPOCH,
    MONEY_SCALE,
    PER_DAY_COLUMNS,
    QUANTITY_SCALE,
    History,
    Ints,
    Outcomes,
    day_number,
)
from repurchase.orders.checks import HistoryExtent
from repurchase.schemas import ORDERS, Frame, as_polars

_MIN_CLOSING_DAYS = 28
_QUIET_FACTOR = 4
"""By how much a closing is longer than the next longest quiet spell."""
_MIN_MISSED_ORDERS = 30.0
"""Orders that the quieter of the two sides would have brought: chance alone leaves none once in e**30."""
_NEIGHBOURING_DAYS = 90


@dataclass(frozen=True)
class Closing:
    """Days without any order, between days with orders."""

    first: int
    last: int

    @property
    def days(self) -> int:
        """How long it was."""
        return self.last - self.first + 1

    def dates(self) -> dict[str, str]:
        """Its first and last day."""
        return {name: (EPOCH + timedelta(days=getattr(self, name))).isoformat() for name in ("first", "last")}

    def open_day(self, day: pl.Expr) -> pl.Expr:
        """Count a day as if the closing had been one day long: what lies before it moves towards it."""
        moved = pl.when(day < self.first).then(day + (self.days - 1)).otherwise(self.last)
        return pl.when(day > self.last).then(day).otherwise(moved).cast(pl.Int32)

    def open_date(self, day: date) -> date:
        """Count a calendar day, as `open_day` does."""
        return EPOCH + timedelta(days=pl.select(self.open_day(pl.lit(day_number(day)))).item())

    def calendar_date(self, day: date) -> date:
        """Undo `open_date`."""
        return day - timedelta(days=self.days - 1) if day_number(day) < self.last else day

    def to_dict(self) -> dict[str, int]:
        """Turn into plain JSON values."""
        return {"first": self.first, "last": self.last}

    @classmethod
    def from_dict(cls, fields: Mapping[str, int]) -> "Closing":
        """Restore from `to_dict`."""
        return cls(fields["first"], fields["last"])


def find_closing(days: Ints) -> Closing | None:
    """Find the one spell without orders that cannot be chance.

    A shop that closes every year has several such spells: that is its season, and none is found.
    """
    open_days = np.unique(days)
    quiet = np.diff(open_days) - 1
    if len(quiet) < 2:
        return None
    at = int(quiet.argmax())
    length, next_longest = int(quiet[at]), int(np.delete(quiet, at).max())
    if length < _MIN_CLOSING_DAYS or length < _QUIET_FACTOR * next_longest:
        return None
    before, after = int(open_days[at]), int(open_days[at + 1])
    sides = (
        _orders_per_day(days, max(before - _NEIGHBOURING_DAYS + 1, int(open_days[0])), before),
        _orders_per_day(days, after, min(after + _NEIGHBOURING_DAYS - 1, int(open_days[-1]))),
    )
    return Closing(before + 1, after - 1) if length * min(sides) >= _MIN_MISSED_ORDERS else None


def _orders_per_day(days: Ints, first: int, last: int) -> float:
    return float(((days >= first) & (days <= last)).sum() / (last - first + 1))


@dataclass(frozen=True)
class Ledger:
    """Orders coded, summed per customer and day, and sorted; every snapshot is made from it."""

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
        """Name everyone with an order by a day, a sale or not."""
        ids = self.ids.gather(self.until(as_of).entries["customer"].unique().sort())
        if self.no_sale is None or self.no_sale.is_empty():
            return ids
        others = self.no_sale.filter(pl.col("day") <= as_of)["customer_id"]
        return pl.concat([ids, others.rename(ids.name)]).unique().sort()

    def until(self, as_of: date) -> "Ledger":
        """Drop everything after a day."""
        last = self.entries["known"].max()
        if last is None or _as_int(last) <= day_number(as_of):
            return replace(self, observed_until=min(as_of, self.observed_until))
        kept = self.entries.filter(pl.col("known") <= day_number(as_of))
        return replace(self, entries=kept, observed_until=min(as_of, self.observed_until))

    def find_closing(self) -> Closing | None:
        """Find a time in which the shop was closed."""
        sales = self.entries.filter(pl.col("orders") > 0)
        return self.closing or find_closing(sales["known"].to_numpy())

    def without(self, closing: Closing | None) -> "Ledger":
        """Count days as if the shop had never been closed: what lies before it moves towards it.

        The last day observed stays, so that nothing changes for what comes next; windows and silences that reached
        over the closing are shorter.
        """
        if closing is None or self.closing is not None or closing.last >= day_number(self.observed_until):
            return self
        moved = self.entries.with_columns(closing.open_day(pl.col(name)) for name in ("known", "day"))
        entries = (
            moved.group_by("customer", "known", "day")
            .agg(pl.col(*_SUMMED_COLUMNS).sum())
            .sort("customer", "known", "day")
        )
        return replace(self, entries=entries, closing=closing)

    def open_date(self, day: date) -> date:
        """Count a calendar day as this ledger counts days."""
        return self.closing.open_date(day) if self.closing else day

    def calendar_date(self, day: date) -> date:
        """Undo `open_date`."""
        return self.closing.calendar_date(day) if self.closing else day

    def history(self, as_of: date) -> History:
        """Purchase days known on a day."""
        known = self.until(as_of).entries
        days = _with_refunded(_purchase_days(known, self.has_amounts), known)
        everyone = _CustomerGroups.of(known)
        buyers = everyone if days.height == known.height else _CustomerGroups.of(days)
        spend = known["spend"].to_numpy()
        back = np.minimum(spend, 0) if (spend < 0).any() else None
        nothing = np.zeros(len(buyers.customer), dtype=np.int64)
        return History(
            as_of=as_of,
            customer=buyers.customer,
            start=buyers.start,
            **{name: days[name].to_numpy().astype(np.int64, copy=False) for name in PER_DAY_COLUMNS},
            net_total=everyone.sums(spend, buyers.customer),
            orders_total=everyone.sums(known["orders"].to_numpy().astype(np.int64, copy=False), buyers.customer),
            returned=nothing if back is None else -everyone.sums(back, buyers.customer),
            has_amounts=self.has_amounts,
        )

    def extent(self, as_of: date) -> HistoryExtent:
        """How much there is to learn from."""
        history = self.history(as_of)
        days = np.unique(history.day)
        return HistoryExtent(
            as_of=as_of,
            first_day=EPOCH + timedelta(days=int(days[0])) if len(days) else None,
            days=len(days),
            customers=len(history.customer),
            repeat_buyers=int((history.count > 1).sum()),
            has_amounts=self.has_amounts,
        )

    def outcomes(self, history: History, *, horizon_days: int) -> Outcomes:
        """Outcomes of the customers of a history."""
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
        spend = _CustomerGroups.of(window).sums(window["spend"].to_numpy(), history.customer) / MONEY_SCALE
        if not self.has_amounts:
            spend = np.full(len(history.customer), np.nan)
        return Outcomes(purchase_days > 0, purchase_days, spend, wait)


_SUMMED_COLUMNS = ("spend", "charged", "orders", "lines", "quantity", "discount")


def train_cutoffs(*, first_day: date, as_of: date, horizon_days: int, most: int, step_days: int) -> Sequence[date]:
    """Choose earlier days whose outcomes were known on ``as_of``, latest first."""
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
        days = known.group_by("customer", "day").agg(pl.col(*_SUMMED_COLUMNS).sum()).sort("customer", "day")
    return days.filter(pl.col("spend") > 0) if has_amounts else days.filter(pl.col("orders") > 0)


def _with_refunded(days: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add the days, at the money charged then, on which customers bought who have given everything back."""
    if not (known["spend"] < known["charged"]).any():
        return days
    others = known.join(days.select("customer").unique(), on="customer", how="anti")
    bought = others.group_by("customer", "day").agg(pl.col(*_SUMMED_COLUMNS).sum()).filter(pl.col("charged") > 0)
    if bought.is_empty():
        return days
    charged = bought.with_columns(pl.col("charged").alias("spend"))
    return pl.concat([days.select(charged.columns), charged]).sort("customer", "day")


class _CustomerGroups(NamedTuple):
    """Customers of some entries, and where the entries of each begin."""

    customer: Ints
    start: Ints

    @classmethod
    def of(cls, entries: pl.DataFrame) -> "_CustomerGroups":
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
    index = np.minimum(np.searchsorted(found, customers), len(found) - 1)
    return np.where(found[index] == customers, values[index], 0)


def _as_int(value: object) -> int:
    if isinstance(value, int):
        return value
    raise InputError("orders: no row is left. Send orders dated up to the requested day.")


_MAX_UNITS = 9e18


def build_ledger(orders: Frame, *, observed_until: date) -> Ledger:
    """Code, add up and sort orders, once for all snapshots."""
    rows = ORDERS.check(_typed(as_polars(orders)))
    return build_ledger_from_clean(
        rows.filter(pl.col("order_date").dt.date() <= observed_until), observed_until=observed_until
    )


def concat_ledgers(ledgers: Iterable[Ledger]) -> Ledger:
    """Put ledgers of disjoint customers together, in their order."""
    parts = list(ledgers)
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(len(part.ids) for part in parts[:-1])])
    entries = [
        part.entries.with_columns((pl.col("customer") + int(n)).cast(pl.UInt32))
        for part, n in zip(parts, first, strict=True)
    ]
    no_sale = [part.no_sale for part in parts if part.no_sale is not None]
    return replace(
        parts[0],
        ids=pl.concat([part.ids for part in parts]),
        entries=pl.concat(entries),
        no_sale=pl.concat(no_sale) if no_sale else None,
    )


def build_ledger_from_clean(rows: pl.DataFrame, *, observed_until: date) -> Ledger:
    """Code, add up and sort orders that are known to be clean."""
    for name, unit in (("amount", MONEY_SCALE), ("quantity", QUANTITY_SCALE), ("discount", MONEY_SCALE)):
        if name in rows.columns:
            _require_countable(rows[name], unit)
    has_amounts = not rows.height or rows["amount"].null_count() < rows.height
    coded = _coded(rows)
    early = coded.filter(pl.col("day") > pl.col("known"))
    if early.height:
        raise LeakageError(
            f"orders: {early.height:,} returns have a sale_date later than their own order_date; a return can only "
            "reverse an earlier sale. Leave sale_date empty where the sale is not known."
        )
    ids = rows["customer_id"].unique().sort()
    codes = pl.DataFrame({"customer_id": ids, "customer": np.arange(len(ids), dtype=np.uint32)})
    joined = coded.join(codes, on="customer_id", how="left", maintain_order="left").drop("customer_id")
    return Ledger(ids, _entries(joined, has_amounts=has_amounts), observed_until, has_amounts)


def _require_countable(column: pl.Series, unit: int) -> None:
    """Refuse what 64 bits cannot add up; the sum of floats is near enough for that."""
    sizes = np.abs(column.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy())
    total = float(sizes.sum())
    if total * unit > _MAX_UNITS:
        raise OrdersError(
            f"orders: the column '{column.name}' adds up to {total:.3g}, more than the {_MAX_UNITS / unit:.0e} that "
            f"can be counted exactly; its largest value is {sizes.max():,.2f}. Correct it, or state money in thousands."
        )


def _entries(lines: pl.DataFrame, *, has_amounts: bool) -> pl.DataFrame:
    """Add up lines per customer, day known and day counted on; sorted so, every sum is a pass over its block."""
    key = ("customer", "known", "day")
    lines = lines.sort(*key, "order")
    if not lines.height:
        empty = pl.lit(0, dtype=pl.Int64)
        counts = (empty.alias("orders"), empty.alias("lines"))
        return lines.select(*key, "spend", "charged", *counts, "quantity", "discount")
    at = {name: lines[name].to_numpy() for name in lines.columns}
    begins = np.concatenate([[True], np.logical_or.reduce([np.diff(at[name].view(np.int32)) != 0 for name in key])])
    begins_order = begins | np.concatenate([[True], at["order"][1:] != at["order"][:-1]])
    start, order_start = np.flatnonzero(begins), np.flatnonzero(begins_order)
    charged = np.maximum.reduceat(at["charged"], order_start) > 0
    sold = charged if has_amounts else np.maximum.reduceat(at["spend"], order_start) >= 0
    sums = {
        "spend": np.add.reduceat(at["spend"], start),
        "charged": np.add.reduceat(at["charged"], start),
        "orders": np.add.reduceat(sold.astype(np.int64), np.searchsorted(order_start, start)),
        "lines": np.diff(np.append(start, lines.height)),
        "quantity": np.add.reduceat(at["quantity"], start),
        "discount": np.add.reduceat(at["discount"], start),
    }
    return lines.select(key)[start].with_columns(pl.Series(name, values) for name, values in sums.items())


def _typed(orders: pl.DataFrame) -> pl.DataFrame:
    for name, dtype in ORDERS.schema.items():
        if name in orders.columns and name != "customer_id" and orders.schema[name] != dtype:
            orders = orders.with_columns(_cast(orders[name], dtype))
    return orders


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        return column.cast(dtype)
    except pl.exceptions.PolarsError as fault:
        shown = first_few(column.drop_nulls().unique(maintain_order=True))
        raise OrdersError(
            f"orders: column '{column.name}' must be {dtype}. Got {column.dtype} that does not convert, such as "
            f"{shown}. Run clean_orders first.",
            withheld=shown,
        ) from fault


def _coded(rows: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("order_date").dt.date().cast(pl.Int32)
    applied = pl.col("sale_date").cast(pl.Int32).fill_null(known) if "sale_date" in rows.columns else known
    return rows.select(
        "customer_id",
        pl.col("order_id").hash().alias("order"),  # distinct only within one customer's day
        known.alias("known"),
        applied.alias("day"),
        _integer("amount", MONEY_SCALE).alias("spend"),
        _integer("charged" if "charged" in rows.columns else "amount", MONEY_SCALE)
        .clip(lower_bound=0)
        .alias("charged"),
        (_integer("quantity", QUANTITY_SCALE) if "quantity" in rows.columns else pl.lit(0, dtype=pl.Int64)).alias(
            "quantity"
        ),
        (_integer("discount", MONEY_SCALE) if "discount" in rows.columns else pl.lit(0, dtype=pl.Int64)).alias(
            "discount"
        ),
    )


def _integer(name: str, unit: int) -> pl.Expr:
    return (pl.col(name).fill_null(0.0).fill_nan(0.0) * unit).round().cast(pl.Int64)
