"""Customers that some rows name by a second column only, such as guests known by their e-mail address."""

import polars as pl

from repurchase.orders.ids import clean_ids, placeholder_ids
from repurchase.orders.layouts import Layout
from repurchase.orders.logs import OrderLog

__all__ = ["customer_aliases"]


def customer_aliases(log: OrderLog, layout: Layout) -> dict[str, str]:
    """Find the id in the first column of customers that is known only by the second on some rows.

    Parameters
    ----------
    log : OrderLog
        As opened.
    layout : Layout
        With ``customer_fallback`` where there is such a column.

    Returns
    -------
    dict of str to str
        Id in the second column to the only id in the first that stands beside it on other rows.
    """
    roles = ("customer_id", "customer_fallback")
    if any(role not in layout.columns for role in roles):
        return {}
    first, second = (layout.columns[role] for role in roles)
    pairs = pl.DataFrame(schema={"first": pl.String(), "second": pl.String()})
    alone = pl.Series("second", dtype=pl.String())
    for rows in log.batches([first, second]):
        ids = pl.DataFrame({"first": clean_ids(rows[first]), "second": clean_ids(rows[second])})
        named = {name: ids[name].set(placeholder_ids(ids[name]).fill_null(value=False), None) for name in ids.columns}
        known = pl.DataFrame(named).filter(pl.col("second").is_not_null()).unique()
        pairs = pl.concat([pairs, known.drop_nulls()]).unique()
        alone = pl.concat([alone, known.filter(pl.col("first").is_null())["second"]]).unique()
    single = pairs.filter(pl.col("second").is_in(alone.implode()) & ~pl.col("second").is_duplicated())
    return dict(single.select("second", "first").sort("second").rows())
