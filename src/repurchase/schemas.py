"""Table contracts: grain, key, columns, types, units.

Terms used throughout: a *day* is a calendar day in the configured zone;
*money* is net, in the orders' own currency; a *horizon* of h days after ``as_of`` is the days in
(``as_of``, ``as_of`` + h].
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from repurchase.errors import InputError, OrdersError, first_few

Frame = object
"""A pandas or Polars DataFrame or a pyarrow Table: what public functions take."""


@dataclass(frozen=True)
class Column:
    """One column of a contract.

    Parameters
    ----------
    name : str
        Its name everywhere.
    dtype : polars data type
        Its type inside.
    meaning : str
        One line, with the unit.
    nullable : bool
        Whether a value may be missing.
    optional : bool
        Whether the column itself may be missing.
    low, high : float
        Range of a number, both ends included; infinity is in none.
    """

    name: str
    dtype: pl.DataType
    meaning: str
    nullable: bool = False
    optional: bool = False
    low: float = -sys.float_info.max
    high: float = sys.float_info.max


@dataclass(frozen=True)
class Table:
    """A table's contract.

    Parameters
    ----------
    name : str
        What messages call it.
    grain : str
        What one row is.
    columns : tuple of Column
        In their order.
    key : tuple of str
        Columns that are unique together; empty where rows may repeat.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Name to type, in order."""
        return {column.name: column.dtype for column in self.columns}

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Hold a frame against this contract.

        Parameters
        ----------
        frame : DataFrame
            Rows to check; columns beyond the contract are allowed.

        Returns
        -------
        DataFrame
            The same frame.

        Raises
        ------
        OrdersError
            If a column is missing, has another type, or has values it may not have: missing, repeated, or numbers
            out of range.
        """
        needed = [column.name for column in self.columns if not column.optional]
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise OrdersError(
                f"{self.name}: {len(missing)} of the {len(needed)} needed columns are missing: {first_few(missing)}. "
                f"Found: {first_few(frame.columns, shown=12)}."
            )
        for column in self.columns:
            if column.name in frame.columns:
                self._check_column(frame[column.name], column)
        if self.key and frame.select(self.key).is_duplicated().any():
            twice = frame.filter(frame.select(self.key).is_duplicated()).select(self.key).unique(maintain_order=True)
            shown = first_few(row[0] for row in twice.iter_rows())
            raise OrdersError(
                f"{self.name}: {twice.height:,} keys ({', '.join(self.key)}) appear more than once: {shown}. "
                f"Each must appear once: {self.grain}.",
                withheld=shown,
            )
        return frame

    def _check_column(self, values: pl.Series, column: Column) -> None:
        if values.dtype != column.dtype:
            raise OrdersError(
                f"{self.name}: column '{column.name}' must be {column.dtype} ({column.meaning}). "
                f"Got {values.dtype} instead."
            )
        if not column.nullable and values.null_count():
            raise OrdersError(
                f"{self.name}: column '{column.name}' has {values.null_count():,} missing values of {len(values):,}; "
                "none is allowed. Run clean_orders first."
            )
        if column.dtype.is_float():
            self._check_range(values.drop_nulls(), column)

    def _check_range(self, values: pl.Series, column: Column) -> None:
        outside = values.filter(~values.is_between(column.low, column.high))
        if len(outside):
            ends = "finite" if column.high == sys.float_info.max else f"from {column.low:g} to {column.high:g}"
            shown = f", such as {outside[0]:g}"
            raise OrdersError(
                f"{self.name}: column '{column.name}' must be {ends} ({column.meaning}). {len(outside):,} of "
                f"{len(values):,} values are not{shown}.",
                withheld=shown,
            )


ORDERS = Table(
    name="orders",
    grain="one row per order line or order",
    columns=(
        Column("customer_id", pl.String(), "who bought"),
        Column("order_id", pl.String(), "which order"),
        Column("order_date", pl.Datetime("us"), "when, on the clock of the configured zone"),
        Column("amount", pl.Float64(), "net money; negative for a return; null where the log has none", nullable=True),
        Column("sale_date", pl.Date(), "of a return: the day of the sale it reverses", nullable=True, optional=True),
        Column("product_id", pl.String(), "what was bought", nullable=True, optional=True),
        Column("category", pl.String(), "kind of product", nullable=True, optional=True),
        Column("quantity", pl.Float64(), "pieces; negative for a return", nullable=True, optional=True),
        Column("discount", pl.Float64(), "money taken off before `amount`", nullable=True, optional=True),
        Column("channel", pl.String(), "where it was bought", nullable=True, optional=True),
    ),
)

_MAX_AMOUNT = 9e16  # what a ledger that counts hundredths in 64 bits can hold


def _money(name: str, meaning: str) -> Column:
    return Column(name, pl.Float64(), meaning, nullable=True, low=-_MAX_AMOUNT, high=_MAX_AMOUNT)


def _share(name: str, meaning: str) -> Column:
    return Column(name, pl.Float64(), meaning, nullable=True, low=0.0, high=1.0)


_HISTORY = (
    Column("orders", pl.Int64(), "orders up to `as_of`"),
    Column("first_order_date", pl.Date(), "first purchase day", nullable=True),
    Column("last_order_date", pl.Date(), "last purchase day up to `as_of`", nullable=True),
    Column("days_since_last", pl.Int64(), "days from the last purchase day to `as_of`", nullable=True),
    _money("spend_total", "net money up to `as_of`"),
    Column("frequency", pl.Int64(), "repeat purchase days, x", nullable=True),
    Column("recency_days", pl.Int64(), "days from first to last purchase day, t_x", nullable=True),
    Column("age_days", pl.Int64(), "days from the first purchase day to `as_of`, T", nullable=True),
    _money("spend_mean", "net money per repeat purchase day; null without one"),
)

RFM = Table(
    name="RFM",
    grain="one row per customer with a purchase day up to `as_of`",
    key=("customer_id",),
    columns=(Column("customer_id", pl.String(), "who"), *_HISTORY),
)

STATUSES = ("scored", "no_history", "no_purchases")
"""Of a row of the scores. ``no_history``: no order is known by `as_of`. ``no_purchases``: orders, but no purchase day,
as all was cancelled, free or given back; ``orders`` and ``spend_total`` are filled, predictions are not."""


def horizon_columns(horizon_days: int) -> tuple[Column, ...]:
    """Columns that every horizon adds to the scores.

    Parameters
    ----------
    horizon_days : int
        Days ahead.

    Returns
    -------
    tuple of Column
        Probability of a purchase day, of none, expected orders, expected net spend.

    Examples
    --------
    >>> [column.name for column in horizon_columns(30)]
    ['p_repurchase_30d', 'churn_risk_30d', 'orders_expected_30d', 'spend_expected_30d']
    """
    h = horizon_days
    return (
        _share(f"p_repurchase_{h}d", f"probability of a purchase day within {h} days"),
        _share(f"churn_risk_{h}d", f"1 - p_repurchase_{h}d"),
        Column(f"orders_expected_{h}d", pl.Float64(), f"purchase days expected within {h} days", nullable=True),
        _money(f"spend_expected_{h}d", f"net money expected within {h} days"),
    )


def scores_table(horizons: Iterable[int]) -> Table:
    """The scores contract for a set of horizons.

    Parameters
    ----------
    horizons : iterable of int
        Days ahead, rising.

    Returns
    -------
    Table
        One row per requested customer, key ``customer_id``.

    Examples
    --------
    >>> scores_table([30]).key
    ('customer_id',)
    """
    per_horizon = tuple(column for h in horizons for column in horizon_columns(h))
    return Table(
        name="scores",
        grain="one row per requested customer",
        key=("customer_id",),
        columns=(
            Column("customer_id", pl.String(), "who"),
            Column("as_of", pl.Date(), "last day observed, inclusive"),
            Column("model_version", pl.String(), "which model"),
            Column("status", pl.String(), f"one of {', '.join(STATUSES)}"),
            *_HISTORY,
            _share("p_alive", "MBG/NBD: still a customer at all; not churn"),
            *per_horizon,
            _money("clv", "expected net spend over the CLV horizon, discounted"),
            _money("clv_low", "low end of a range that holds that spend in 80 % of cases"),
            _money("clv_high", "high end of that range"),
            Column("next_order_date", pl.Date(), "median day of the next order, if one is likely", nullable=True),
            Column(
                "next_order_date_low",
                pl.Date(),
                "low end of a range that holds that day in 80 % of cases",
                nullable=True,
            ),
            Column("next_order_date_high", pl.Date(), "high end of that range", nullable=True),
            Column("next_order_note", pl.String(), "why there is no such day", nullable=True),
            Column("segment", pl.String(), "what kind of customer this is now", nullable=True),
            Column("risk_band", pl.String(), "high, medium or low churn risk", nullable=True),
            _money("value_at_risk", "churn risk times `clv`; ranks whom to reach, is no loss to book"),
            Column("reason_1", pl.String(), "what raises or lowers the risk most", nullable=True),
            Column("reason_2", pl.String(), "what moves it next", nullable=True),
            Column("reason_3", pl.String(), "and next", nullable=True),
            Column("action", pl.String(), "what to do", nullable=True),
        ),
    )


SCORES = scores_table([30, 90, 180, 365])
"""The scores with the default horizons."""


def as_polars(frame: Frame, *, name: str = "orders") -> pl.DataFrame:
    """Take a pandas or Polars frame or an Arrow table.

    Parameters
    ----------
    frame : DataFrame or pyarrow.Table
        Rows.
    name : str
        What a message calls it.

    Returns
    -------
    polars.DataFrame
        The same rows; a pandas index is left behind.

    Raises
    ------
    InputError
        If it is none of the three.

    Examples
    --------
    >>> as_polars([1, 2])
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: orders must be a pandas or Polars DataFrame or a pyarrow Table. Got list instead.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    kind = type(frame)
    if kind.__module__.startswith(("pandas", "pyarrow")) and hasattr(frame, "shape"):
        table: Any = frame
        converted = pl.from_pandas(table) if kind.__module__.startswith("pandas") else pl.from_arrow(table)
        if isinstance(converted, pl.DataFrame):
            return converted
    raise InputError(f"{name} must be a pandas or Polars DataFrame or a pyarrow Table. Got {kind.__name__} instead.")
