"""What the values of a sample say about its columns of money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from repurchase.orders.column_profiles import ColumnProfile, share
from repurchase.orders.column_ranking import money_rank, rank_columns
from repurchase.orders.decisions import Fact
from repurchase.orders.money_meaning import GrainEvidence, UnitEvidence, grain_evidence, grows_with, unit_evidence

__all__ = ["CENT", "SAME", "MoneyEvidence", "MoneyRows"]

CENT = 0.011
"""Amounts that differ by less are equal."""
SAME = 0.98
"""Share of equal amounts from which two columns say the same."""


@dataclass(frozen=True)
class MoneyRows:
    """What is known of the rows before their money is understood.

    Parameters
    ----------
    orders, customers : Series of str
        The order and the customer of each row; null where unknown.
    sales : Series of bool
        Whether a row is no refund by its type.
    first_line_only : bool
        Whether order fields stand on the first line of an order only.
    """

    orders: pl.Series
    customers: pl.Series
    sales: pl.Series
    first_line_only: bool


class MoneyEvidence:
    """Questions about columns of money, answered by a sample of rows.

    Parameters
    ----------
    profiles : mapping of str to ColumnProfile
        All columns.
    named : mapping of str to str
        Roles that the user named.
    free : sequence of ColumnProfile
        Columns without a role.
    rows : MoneyRows
        What else is known of the rows.
    """

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
        grows = grows_with(column.numbers, self.quantity.numbers) if self.quantity is not None else None
        of_line = column.name.has("price") and column.name.has("line")  # item price: per piece, unless values deny it
        return "unit" if of_line and grows is None else grows

    def units(self, column: ColumnProfile) -> UnitEvidence:
        """Whether a column is a price per unit or money of a line."""
        if self.quantity is None:
            return UnitEvidence()
        others = [
            profile
            for profile in (*self.free, *(self.profiles[name] for name in self.named.values()))
            if profile is not column and profile is not self.price and money_rank(profile) is not None
        ]
        grains = {profile.text: self.grain(profile).grain for profile in others if profile.number_share >= 0.5}
        products = rank_columns(self.free, "product_id")
        return unit_evidence(
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
