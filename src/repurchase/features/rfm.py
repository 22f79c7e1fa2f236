"""Recency, frequency and money as BTYD models define them.

References
----------
Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): x, t_x, T.
Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value: the mean over repeat transactions.
"""

from datetime import date

import numpy as np
import polars as pl

from repurchase.features.history import MONEY, History, Ints, day_number
from repurchase.features.ledgers import ledger
from repurchase.tables import RFM, Frame

__all__ = ["rfm", "rfm_table"]


def rfm_table(orders: Frame, *, as_of: date) -> pl.DataFrame:
    """Summarise each customer's purchase days up to a day.

    Parameters
    ----------
    orders : DataFrame of shape (n_rows, >=4)
        Clean orders (see ``tables.ORDERS``).
    as_of : date
        Last day known, inclusive.

    Returns
    -------
    DataFrame
        See ``tables.RFM``: one row per customer with a purchase day, sorted by id. ``spend_mean`` is the mean over
        *repeat* days, as Gamma-Gamma takes it; it is null, not 0, for who bought on one day only.

    Raises
    ------
    OrdersError
        If the orders are not clean.
    InputError
        If it is not a table.

    Examples
    --------
    >>> from datetime import datetime
    >>> orders = pl.DataFrame({"customer_id": ["a", "a"], "order_id": ["1", "2"], "amount": [10.0, 30.0],
    ...                        "order_date": [datetime(2024, 1, 1), datetime(2024, 1, 8)]})
    >>> table = rfm_table(orders, as_of=date(2024, 1, 31))
    >>> table.select("frequency", "recency_days", "age_days", "spend_mean").row(0)
    (1, 7, 30, 30.0)
    """
    book = ledger(orders, observed_until=as_of)
    history = book.history(as_of)
    return rfm(history, book.ids)


def rfm(history: History, ids: pl.Series) -> pl.DataFrame:
    """Summarise a history that is already cut.

    Parameters
    ----------
    history : History
        Purchase days up to ``history.as_of``.
    ids : Series
        Customer ids by code.

    Returns
    -------
    DataFrame
        See ``tables.RFM``.
    """
    first, last = history.day[history.start], history.day[history.start + history.count - 1]
    frequency = history.count - 1
    repeat_spend = history.total(history.spend) - history.spend[history.start]
    with np.errstate(invalid="ignore", divide="ignore"):
        spend_mean = np.where(frequency > 0, repeat_spend / MONEY / frequency, np.nan)
    table = pl.DataFrame(
        {
            "customer_id": ids.gather(history.customer),
            "orders": history.orders_total,
            "first_order_date": _dates(first),
            "last_order_date": _dates(last),
            "days_since_last": day_number(history.as_of) - last,
            "spend_total": history.net_total / MONEY,
            "frequency": frequency,
            "recency_days": last - first,
            "age_days": day_number(history.as_of) - first,
            "spend_mean": spend_mean,
        },
        schema=RFM.schema,
    ).with_columns(pl.col("spend_mean").fill_nan(None))
    if history.has_amounts:
        return table
    return table.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("spend_total", "spend_mean"))


def _dates(days: Ints) -> pl.Series:
    return pl.Series(days.astype(np.int32)).cast(pl.Date)
