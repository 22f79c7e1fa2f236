"""What the values of columns of money show: per line, per order or per unit, and which columns agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from repurchase.orders.column_profiles import ColumnProfile, money_rank, rank_columns, share
from repurchase.orders.layout import Fact

_Grain = Literal["line", "order", "first_line", "single", "unclear"]
"""``single``: too few orders have several lines for the difference to show."""

CENT = 0.011
"""Amounts that differ by less are equal."""
SAME = 0.98
"""Share of equal amounts from which two columns say the same."""
_MIN_ORDERS = 5
_CONSTANT = 0.95
_DIFFERENT = 0.80
_FIRST_LINE = 0.90
_AGREES = 0.90
_MIN_ROWS = 30
_MIN_CUSTOMERS = 8
_USUAL_QUANTITIES = 5.0
_SLOPE_OF_UNITS, _SLOPE_OF_TOTALS = 0.3, 0.6
"""Slopes of log money on log quantity: at most that of prices per unit, at least that of money of a line."""
_UnitCounts = tuple[int, int]


@dataclass(frozen=True)
class GrainEvidence:
    """Whether the values of a column belong to lines or to orders."""

    grain: _Grain
    orders: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class _UnitEvidence:
    """Whether the values of a column are prices per unit or money of a line."""

    per_unit: int = 0
    per_line: int = 0

    @property
    def decides(self) -> Literal["unit", "line"] | None:
        """What the evidence shows, if it is clear."""
        total = self.per_unit + self.per_line
        if total < _MIN_ORDERS or max(self.per_unit, self.per_line) < _AGREES * total:
            return None
        return "unit" if self.per_unit > self.per_line else "line"

    @property
    def is_balanced(self) -> bool:
        """Whether there is evidence, but for both."""
        return self.per_unit + self.per_line >= _MIN_ORDERS and self.decides is None


def grain_evidence(values: pl.Series, orders: pl.Series, *, enough: int = _MIN_ORDERS) -> GrainEvidence:
    """Compare the values of a column within orders."""
    known = pl.DataFrame({"order": orders, "value": values}).filter(pl.col("order").is_not_null())
    several = (
        known.group_by("order", maintain_order=True)
        .agg(
            pl.len().alias("lines"),
            pl.col("value").count().alias("filled"),
            pl.col("value").drop_nulls().n_unique().alias("different"),
            pl.col("value").first().is_not_null().alias("first_filled"),
        )
        .filter((pl.col("lines") > 1) & (pl.col("filled") > 0))
    )
    count = several.height
    if count < enough:
        return GrainEvidence("single", count)
    first_only = share(several["first_filled"] & (several["filled"] == 1))
    if first_only >= _FIRST_LINE:
        return GrainEvidence("first_line", count, first_only)
    repeated = several.filter(pl.col("filled") > 1)
    if repeated.height < enough:
        return GrainEvidence("single", repeated.height)
    constant = share(repeated["different"] == 1)
    if constant >= _CONSTANT:
        return GrainEvidence("order", repeated.height, constant)
    grain: _Grain = "line" if constant <= _DIFFERENT else "unclear"
    return GrainEvidence(grain, repeated.height, 1.0 - constant)


def _slope_shows(money: pl.Series, quantity: pl.Series) -> Literal["unit", "line"] | None:
    """Compare money over rows of different quantities, where nothing else tells whether it is a price per unit.

    The slope of log money on log quantity is about 0 for prices per unit and about 1 for money of a line or an order.
    """
    rows = pl.DataFrame({"money": money.abs(), "quantity": quantity.abs()}).drop_nulls()
    rows = rows.filter((pl.col("money") > 0) & (pl.col("quantity") > 0))
    # Fuel in thousandths of a gallon would outweigh everything that is sold by the piece.
    rows = rows.filter(pl.col("quantity") <= _USUAL_QUANTITIES * pl.col("quantity").median())
    if rows.height < _MIN_ROWS or rows["quantity"].n_unique() < 2:
        return None
    x, y = rows["quantity"].log().to_numpy(), rows["money"].log().to_numpy()
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - slope * x
    error = float(np.sqrt((rest * rest).sum() / max(len(x) - 2, 1) / (x * x).sum()))
    least, most = slope - 2.0 * error, slope + 2.0 * error
    if least > _SLOPE_OF_UNITS and most > _SLOPE_OF_TOTALS:
        return "line"
    return "unit" if most < _SLOPE_OF_TOTALS and least < _SLOPE_OF_UNITS else None


def is_of_customers(values: pl.Series, customers: pl.Series) -> bool:
    """Find out whether a column says something of customers, such as all they ever spent."""
    rows = pl.DataFrame({"customer": customers, "value": values}).drop_nulls()
    several = (
        rows.group_by("customer").agg(pl.len(), pl.col("value").n_unique().alias("different")).filter(pl.col("len") > 1)
    )
    if several.height < _MIN_CUSTOMERS or rows["value"].n_unique() < several.height // 2:
        return False
    return share(several["different"] == 1) >= _CONSTANT


def _count_agreeing(rows: pl.DataFrame, per_unit: pl.Expr, per_line: pl.Expr) -> _UnitCounts:
    unit, line = rows.select(per_unit.sum().alias("unit"), per_line.sum().alias("line")).row(0)
    return int(unit or 0), int(line or 0)


def _by_product(rows: pl.DataFrame, products: pl.Series) -> _UnitCounts:
    """Count products of several quantities whose money, or whose money per unit, is the same."""
    rows = rows.with_columns(products.alias("product"), (pl.col("money") / pl.col("quantity")).alias("price"))
    sold = rows.filter((pl.col("quantity") > 0) & (pl.col("money") > 0) & pl.col("product").is_not_null())
    is_same = [(pl.col(name).max() / pl.col(name).min() < 1.01).alias(name) for name in ("money", "price")]
    several = sold.group_by("product").agg(pl.col("quantity").n_unique(), *is_same).filter(pl.col("quantity") > 1)
    money, price = pl.col("money"), pl.col("price")
    return _count_agreeing(several, money & ~price, ~money & price)


def _by_line(rows: pl.DataFrame, totals: pl.Series) -> _UnitCounts:
    """Count lines whose total is the money times the quantity, or the money."""
    money, quantity, total = pl.col("money"), pl.col("quantity"), pl.col("total")
    several = rows.with_columns(totals.alias("total")).filter((quantity != 1) & (money > 0))
    return _count_agreeing(several, (money * quantity - total).abs() < CENT, (money - total).abs() < CENT)


def _by_order(rows: pl.DataFrame, totals: pl.Series) -> _UnitCounts:
    """Count orders whose total is the sum of money times quantity, or of money."""
    money, multiplied, total = pl.col("money"), pl.col("multiplied"), pl.col("total")
    sums = (
        rows.with_columns(totals.alias("total"), (money * pl.col("quantity")).alias("multiplied"))
        .filter(pl.col("order").is_not_null())
        .group_by("order")
        .agg(money.sum(), multiplied.sum(), total.drop_nulls().first())
        .filter((money - multiplied).abs() > CENT)
    )
    return _count_agreeing(sums, (multiplied - total).abs() < CENT, (money - total).abs() < CENT)


@dataclass(frozen=True)
class MoneyRows:
    """What is known of the rows before their money is understood."""

    orders: pl.Series
    customers: pl.Series
    sales: pl.Series
    first_line_only: bool


class MoneyEvidence:
    """What a sample of rows shows of columns of money."""

    def __init__(
        self,
        profiles: Mapping[str, ColumnProfile],
        named: Mapping[str, str],
        free: Sequence[ColumnProfile],
        rows: MoneyRows,
    ) -> None:
        self.profiles, self.named, self.free = profiles, named, list(free)
        self.orders, self.customers, self.sales = rows.orders, rows.customers, rows.sales
        self.first_line_only = rows.first_line_only
        self._grains: dict[str, GrainEvidence] = {}
        self.quantity, self.price = self._column("quantity"), self._column("price")

    def _column(self, role: str) -> ColumnProfile | None:
        if role in self.named:
            return self.profiles[self.named[role]]
        fitting = (found.profile for found in rank_columns(self.free, role) if found.against is None)
        return next(fitting, None)

    def grain(self, column: ColumnProfile) -> GrainEvidence:
        """Whether a column is of lines or of orders."""
        if column.text not in self._grains:
            # Rows that pay money back would differ from the sale of the same order number.
            paid = self.sales & ~(column.numbers < 0).fill_null(value=False)
            self._grains[column.text] = grain_evidence(column.numbers.filter(paid), self.orders.filter(paid))
        return self._grains[column.text]

    def is_repeated_total(self, column: ColumnProfile) -> bool:
        """Whether a column called the total of an order is alike on all lines of the few orders that have several."""
        named = column.name.has("order", "receipt", "invoice", "transaction") and column.name.has("total", "grand")
        return named and grain_evidence(column.numbers, self.orders, enough=1).grain == "order"

    def by_slope(self, column: ColumnProfile) -> Literal["unit", "line"] | None:
        """What the money of rows of different quantities shows, unless the name leaves nothing open."""
        if column.name.has("price") and column.name.has("unit"):
            return "unit"
        shown = _slope_shows(column.numbers, self.quantity.numbers) if self.quantity is not None else None
        of_line = column.name.has("price") and column.name.has("line")  # item price: per piece, unless values deny it
        return "unit" if of_line and shown is None else shown

    def units(self, column: ColumnProfile) -> _UnitEvidence:
        """Whether a column is a price per unit or money of a line."""
        if self.quantity is None:
            return _UnitEvidence()
        rows = pl.DataFrame(
            {"money": column.numbers.abs(), "quantity": self.quantity.numbers.abs(), "order": self.orders}
        )
        products = rank_columns(self.free, "product_id")
        counts = [_by_product(rows, products[0].profile.ids)] if products else []
        others = {
            profile.text: profile for profile in (*self.free, *(self.profiles[name] for name in self.named.values()))
        }
        for profile in others.values():
            if profile is column or profile is self.price or money_rank(profile) is None or profile.number_share < 0.5:
                continue
            grain = self.grain(profile).grain
            if grain != "unclear":
                compare = _by_order if grain in {"order", "first_line"} else _by_line
                counts.append(compare(rows, profile.numbers.abs()))
        return _UnitEvidence(sum(unit for unit, _ in counts), sum(line for _, line in counts))

    def _with_line_values(self, column: ColumnProfile) -> pl.DataFrame | None:
        """A column next to quantity × price, of rows that have an order."""
        if self.price is None or self.quantity is None:
            return None
        values = self.price.numbers * self.quantity.numbers
        rows = pl.DataFrame({"order": self.orders, "line": values, "value": column.numbers})
        return rows.filter(pl.col("order").is_not_null())

    def matches_lines(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals quantity × price line by line, also in orders with several lines."""
        rows = self._with_line_values(column)
        if rows is None or self.price is column:
            return None
        several = rows.drop_nulls().filter(pl.len().over("order") > 1)
        agreeing = share((several["line"] - several["value"]).abs() < CENT)
        n_orders = several["order"].n_unique()
        return Fact("sums_match", {"share": agreeing, "orders": n_orders}) if agreeing >= 0.9 else None

    def matches_sums(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals the sum of quantity × price over the order."""
        rows = self._with_line_values(column)
        if rows is None:
            return None
        totals = rows.group_by("order").agg(pl.len(), pl.col("line").sum(), pl.col("value").drop_nulls().first())
        several = totals.filter(pl.col("len") > 1)
        agreeing = share((several["line"] - several["value"]).abs() < CENT)
        return Fact("sums_match", {"share": agreeing, "orders": several.height}) if agreeing >= 0.5 else None

    def is_unit_price(self, column: ColumnProfile) -> bool:
        """Whether a column is to be multiplied by the quantity."""
        return column is self.price or self.units(column).decides == "unit"

    def total(self, column: ColumnProfile) -> float:
        """The sum over all rows."""
        return float(column.numbers.sum() or 0.0)

    def order_total(self, column: ColumnProfile) -> float:
        """The sum over all orders, one value of each."""
        rows = pl.DataFrame({"order": self.orders, "value": column.numbers}).filter(pl.col("order").is_not_null())
        return float(rows.group_by("order").agg(pl.col("value").drop_nulls().first())["value"].sum() or 0.0)

    def equal(self, one: ColumnProfile, other: ColumnProfile) -> bool:
        """Whether two columns hold the same amounts."""
        pair = pl.DataFrame({"one": one.numbers, "other": other.numbers}).drop_nulls()
        return pair.is_empty() or share((pair["one"] - pair["other"]).abs() < CENT) >= SAME
