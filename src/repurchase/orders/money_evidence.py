"""What the values of columns of money show: per line, per order or per unit, and which columns agree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from repurchase.orders.column_profiles import ColumnProfile, money_rank, rank_columns, share
from repurchase.orders.layout import Fact

_Grain = Literal["line", "order", "first_line", "single", "unclear"]
"""``single``: too few orders have several lines for the difference to show."""

_ENOUGH_ORDERS = 5
_CONSTANT = 0.95
_DIFFERENT = 0.80
_FIRST_LINE = 0.90
_AGREES = 0.90
_CENT = 0.011
_ENOUGH_ROWS = 30
_ENOUGH_CUSTOMERS = 8
_SLOPE_OF_NONE = 0.3
_USUAL_QUANTITIES = 5.0
_SLOPE_OF_TOTALS = 0.6


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
        if total < _ENOUGH_ORDERS:
            return None
        if self.per_unit >= _AGREES * total:
            return "unit"
        return "line" if self.per_line >= _AGREES * total else None

    @property
    def is_balanced(self) -> bool:
        """Whether there is evidence, but for both."""
        return self.per_unit + self.per_line >= _ENOUGH_ORDERS and self.decides is None

    @property
    def share(self) -> float:
        """Share of the evidence that agrees with the decision."""
        return max(self.per_unit, self.per_line) / max(self.per_unit + self.per_line, 1)


def grain_evidence(values: pl.Series, orders: pl.Series, *, enough: int = _ENOUGH_ORDERS) -> GrainEvidence:
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


def _unit_evidence(
    money: pl.Series,
    quantity: pl.Series,
    *,
    orders: pl.Series,
    products: pl.Series | None,
    order_totals: Iterable[pl.Series] = (),
    line_totals: Iterable[pl.Series] = (),
) -> _UnitEvidence:
    """Find out whether money must be multiplied by the quantity."""
    rows = pl.DataFrame({"money": money.abs(), "quantity": quantity.abs(), "order": orders})
    per_unit = per_line = 0
    found = [
        *([_by_product(rows.with_columns(products.alias("product")))] if products is not None else []),
        *(_by_line(rows, total.abs()) for total in line_totals),
        *(_by_order(rows, total.abs()) for total in order_totals),
    ]
    for unit, line in found:
        per_unit, per_line = per_unit + unit, per_line + line
    return _UnitEvidence(per_unit, per_line)


def _grows_with(money: pl.Series, quantity: pl.Series) -> Literal["unit", "line"] | None:
    """Compare money over rows of different quantities, where nothing else tells whether it is a price per unit.

    The slope of log money on log quantity is about 0 for prices per unit and about 1 for money of a line or an order.
    """
    rows = pl.DataFrame({"money": money.abs(), "quantity": quantity.abs()}).drop_nulls()
    rows = rows.filter((pl.col("money") > 0) & (pl.col("quantity") > 0))
    # Fuel in thousandths of a gallon would outweigh everything that is sold by the piece.
    rows = rows.filter(pl.col("quantity") <= _USUAL_QUANTITIES * pl.col("quantity").median())
    if rows.height < _ENOUGH_ROWS or rows["quantity"].n_unique() < 2:
        return None
    x, y = rows["quantity"].log().to_numpy(), rows["money"].log().to_numpy()
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - slope * x
    error = float(np.sqrt((rest * rest).sum() / max(len(x) - 2, 1) / (x * x).sum()))
    if slope - 2.0 * error > _SLOPE_OF_NONE and slope + 2.0 * error > _SLOPE_OF_TOTALS:
        return "line"
    return "unit" if slope + 2.0 * error < _SLOPE_OF_TOTALS and slope - 2.0 * error < _SLOPE_OF_NONE else None


def is_of_customers(values: pl.Series, customers: pl.Series) -> bool:
    """Find out whether a column says something of customers, such as all they ever spent."""
    rows = pl.DataFrame({"customer": customers, "value": values}).drop_nulls()
    several = (
        rows.group_by("customer").agg(pl.len(), pl.col("value").n_unique().alias("different")).filter(pl.col("len") > 1)
    )
    if several.height < _ENOUGH_CUSTOMERS or rows["value"].n_unique() < several.height // 2:
        return False
    return share(several["different"] == 1) >= _CONSTANT


def _by_product(rows: pl.DataFrame) -> tuple[int, int]:
    sold = rows.filter((pl.col("quantity") > 0) & (pl.col("money") > 0) & pl.col("product").is_not_null())
    spread = sold.group_by("product").agg(
        pl.col("quantity").n_unique().alias("quantities"),
        ((pl.col("money").max() / pl.col("money").min()) < 1.01).alias("same_money"),
        (((pl.col("money") / pl.col("quantity")).max() / (pl.col("money") / pl.col("quantity")).min()) < 1.01).alias(
            "same_price"
        ),
    )
    tells = spread.filter(pl.col("quantities") > 1)
    return (
        tells.filter(pl.col("same_money") & ~pl.col("same_price")).height,
        tells.filter(~pl.col("same_money") & pl.col("same_price")).height,
    )


def _by_line(rows: pl.DataFrame, totals: pl.Series) -> tuple[int, int]:
    tells = rows.with_columns(totals.alias("total")).filter((pl.col("quantity") != 1) & (pl.col("money") > 0))
    return (
        tells.filter((pl.col("money") * pl.col("quantity") - pl.col("total")).abs() < _CENT).height,
        tells.filter((pl.col("money") - pl.col("total")).abs() < _CENT).height,
    )


def _by_order(rows: pl.DataFrame, totals: pl.Series) -> tuple[int, int]:
    sums = (
        rows.with_columns(totals.alias("total"))
        .filter(pl.col("order").is_not_null())
        .group_by("order")
        .agg(
            pl.col("money").sum(),
            (pl.col("money") * pl.col("quantity")).sum().alias("multiplied"),
            pl.col("total").drop_nulls().first(),
        )
        .filter((pl.col("money") - pl.col("multiplied")).abs() > _CENT)
    )
    return (
        sums.filter((pl.col("multiplied") - pl.col("total")).abs() < _CENT).height,
        sums.filter((pl.col("money") - pl.col("total")).abs() < _CENT).height,
    )


CENT = 0.011
"""Amounts that differ by less are equal."""
SAME = 0.98
"""Share of equal amounts from which two columns say the same."""


@dataclass(frozen=True)
class MoneyRows:
    """What is known of the rows before their money is understood."""

    orders: pl.Series
    customers: pl.Series
    sales: pl.Series
    first_line_only: bool


class MoneyEvidence:
    """Questions about columns of money, answered by a sample of rows."""

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
        self.quantity = self._part("quantity")
        self.price = self._part("price")

    def _part(self, role: str) -> ColumnProfile | None:
        if role in self.named:
            return self.profiles[self.named[role]]
        candidates = [found for found in rank_columns(self.free, role) if found.against is None]
        return candidates[0].profile if candidates else None

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

    def by_slope(self, column: ColumnProfile) -> str | None:
        """What the money of rows of different quantities says, unless the name leaves nothing open."""
        if column.name.has("price") and column.name.has("unit"):
            return "unit"
        grows = _grows_with(column.numbers, self.quantity.numbers) if self.quantity is not None else None
        of_line = column.name.has("price") and column.name.has("line")  # item price: per piece, unless values deny it
        return "unit" if of_line and grows is None else grows

    def units(self, column: ColumnProfile) -> _UnitEvidence:
        """Whether a column is a price per unit or money of a line."""
        if self.quantity is None:
            return _UnitEvidence()
        others = [
            profile
            for profile in (*self.free, *(self.profiles[name] for name in self.named.values()))
            if profile is not column and profile is not self.price and money_rank(profile) is not None
        ]
        grains = {profile.text: self.grain(profile).grain for profile in others if profile.number_share >= 0.5}
        products = rank_columns(self.free, "product_id")
        return _unit_evidence(
            column.numbers,
            self.quantity.numbers,
            orders=self.orders,
            products=products[0].profile.ids if products else None,
            order_totals=[
                self.profiles[name].numbers for name, grain in grains.items() if grain in {"order", "first_line"}
            ],
            line_totals=[self.profiles[name].numbers for name, grain in grains.items() if grain in {"line", "single"}],
        )

    def _line_values(self) -> pl.Series | None:
        if self.price is None or self.quantity is None:
            return None
        return self.price.numbers * self.quantity.numbers

    def matches_lines(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals quantity × price line by line, also in orders with several lines."""
        values = self._line_values()
        if values is None or self.price is column:
            return None
        rows = pl.DataFrame({"order": self.orders, "line": values, "value": column.numbers}).drop_nulls()
        several = rows.filter(pl.col("order").is_not_null() & (pl.len().over("order") > 1))
        agreeing = share((several["line"] - several["value"]).abs() < CENT)
        n_orders = several["order"].n_unique()
        return Fact("sums_match", {"share": agreeing, "orders": n_orders}) if agreeing >= 0.9 else None

    def matches_sums(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals the sum of quantity × price over the order."""
        values = self._line_values()
        if values is None:
            return None
        rows = pl.DataFrame({"order": self.orders, "line": values, "value": column.numbers})
        sums = (
            rows.filter(pl.col("order").is_not_null())
            .group_by("order")
            .agg(pl.len(), pl.col("line").sum(), pl.col("value").drop_nulls().first())
            .filter(pl.col("len") > 1)
        )
        agreeing = share((sums["line"] - sums["value"]).abs() < CENT)
        return Fact("sums_match", {"share": agreeing, "orders": sums.height}) if agreeing >= 0.5 else None

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
