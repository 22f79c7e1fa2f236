"""What a column of money means, decided by its values: of a line, of a whole order, or per unit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from repurchase.orders.column_profiles import share

__all__ = ["Grain", "GrainEvidence", "UnitEvidence", "grain_evidence", "grows_with", "is_of_customers", "unit_evidence"]

Grain = Literal["line", "order", "first_line", "single", "unclear"]
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
    """Whether the values of a column belong to lines or to orders.

    Parameters
    ----------
    grain : Grain
        What they show.
    orders : int
        Orders with several lines that could tell.
    share : float
        Share of them that agree with ``grain``.
    """

    grain: Grain
    orders: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class UnitEvidence:
    """Whether the values of a column are prices per unit or money of a line.

    Parameters
    ----------
    per_unit, per_line : int
        Products, orders and lines that only agree with one of the two.
    """

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
    """Compare the values of a column within orders.

    Parameters
    ----------
    values : Series
        Numbers, dates or text, one per row; null where a row has none.
    orders : Series of str
        The order of each row, null where unknown.
    enough : int
        Orders with several lines that can tell.

    Returns
    -------
    GrainEvidence
        ``order`` where values are equal within nearly all orders with several lines, ``first_line`` where only the
        first line has one, ``line`` where they differ.

    Examples
    --------
    >>> orders = pl.Series([str(n // 2) for n in range(20)])
    >>> grain_evidence(pl.Series([float(n // 2) for n in range(20)]), orders).grain
    'order'
    >>> grain_evidence(pl.Series([float(n) for n in range(20)]), orders).grain
    'line'
    """
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
    grain: Grain = "line" if constant <= _DIFFERENT else "unclear"
    return GrainEvidence(grain, repeated.height, 1.0 - constant)


def unit_evidence(
    money: pl.Series,
    quantity: pl.Series,
    *,
    orders: pl.Series,
    products: pl.Series | None,
    order_totals: Iterable[pl.Series] = (),
    line_totals: Iterable[pl.Series] = (),
) -> UnitEvidence:
    """Find out whether money must be multiplied by the quantity.

    Parameters
    ----------
    money, quantity : Series of float
        The column in question, and how many units a line has.
    orders : Series of str
        The order of each row.
    products : Series of str, optional
        The product of each row: of one product at several quantities, a price per unit stays and a line's money grows.
    order_totals, line_totals : iterable of Series of float
        Other columns of money of whole orders and of lines: the sum, or the product, that equals them tells.

    Returns
    -------
    UnitEvidence
        Counts; lines of quantity one count for neither.
    """
    rows = pl.DataFrame({"money": money.abs(), "quantity": quantity.abs(), "order": orders})
    per_unit = per_line = 0
    found = [
        *([_by_product(rows.with_columns(products.alias("product")))] if products is not None else []),
        *(_by_line(rows, total.abs()) for total in line_totals),
        *(_by_order(rows, total.abs()) for total in order_totals),
    ]
    for unit, line in found:
        per_unit, per_line = per_unit + unit, per_line + line
    return UnitEvidence(per_unit, per_line)


def grows_with(money: pl.Series, quantity: pl.Series) -> Literal["unit", "line"] | None:
    """Compare money over rows of different quantities, where nothing else tells whether it is a price per unit.

    The slope of log money on log quantity is about 0 for prices per unit and about 1 for money of a line or an order.

    Parameters
    ----------
    money, quantity : Series of float
        One value per row.

    Returns
    -------
    {"unit", "line"} or None
        None where the rows are too few, or the slope is in between.

    Examples
    --------
    >>> quantity = pl.Series([1.0, 2.0, 3.0, 4.0] * 10)
    >>> grows_with(quantity * 10.0, quantity), grows_with(quantity * 0.0 + 10.0, quantity)
    ('line', 'unit')
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
    """Find out whether a column says something of customers, such as all they ever spent.

    Parameters
    ----------
    values : Series of float
        One value per row.
    customers : Series of str
        Whose row it is.

    Returns
    -------
    bool
        Whether the value is the same on all rows of nearly every customer with several, and differs between customers.
    """
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
