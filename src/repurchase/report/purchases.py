"""What the orders tell beyond the scores: every purchase day of the customers listed, products, and what runs out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from repurchase.report.language import say
from repurchase.report.slots import RELATIONS
from repurchase.report.words import NOTHING, count, counted, decimal, share

__all__ = ["MOST_DRAWN", "MOST_MARKS", "Bought", "drawn_at_most", "product_rows", "purchase_data"]

MOST_DRAWN, MOST_MARKS = 200, 500_000
"""Purchase days that are drawn of one customer, and on the whole page."""
_FEWER = (100, 50, 25, 10)
Row = dict[str, Any]


@dataclass(frozen=True)
class Bought:
    """What orders tell; plain tables.

    Parameters
    ----------
    days : DataFrame
        ``customer_id``, ``day``, ``money`` (net; null where the log knows none): a row per purchase day up to the
        scores' day, rising, of listed customers alone.
    earlier : mapping of str to int
        Purchase days before those, by customer, where there are any.
    products : DataFrame, optional
        From ``product_rhythm``, with ``name``, and ``goes_with``, ``relation``, ``share``, ``lift`` and ``support`` of
        its companion; None where the log names no products.
    due : DataFrame, optional
        ``customer_id``, ``product_id``, ``name``, ``refill_on``, ``refill_low``, ``refill_high`` and the companion's
        columns: the product that runs out next, of listed customers alone.
    within_days : int
        Days ahead within which a product that runs out is called due.
    changed : bool
        Whether these are not the orders that the scores were made from.
    """

    days: pl.DataFrame
    earlier: Mapping[str, int] = field(default_factory=dict)
    products: pl.DataFrame | None = None
    due: pl.DataFrame | None = None
    within_days: int = 30
    changed: bool = False


def drawn_at_most(purchases: pl.Series) -> int:
    """Say how many purchase days of one customer may be drawn, so that the page stays of a size that can be sent.

    Parameters
    ----------
    purchases : Series of int
        Purchase days of each customer listed.

    Returns
    -------
    int
        200, or fewer where that would be more than 500,000 on the whole page.

    Examples
    --------
    >>> drawn_at_most(pl.Series([3, 400])), drawn_at_most(pl.Series([300] * 4000))
    (200, 100)
    """
    fitting = (most for most in (MOST_DRAWN, *_FEWER) if int(purchases.clip(upper_bound=most).sum()) <= MOST_MARKS)
    return next(fitting, _FEWER[-1])


def purchase_data(bought: Bought, listed: pl.DataFrame, *, as_of: date) -> Row:
    """Pack purchases and refills for the page's script.

    Parameters
    ----------
    bought : Bought
        What the orders tell.
    listed : DataFrame
        Rows of the scores, as the page lists them.
    as_of : date
        Last day known.

    Returns
    -------
    dict
        JSON-able. ``bought``: ``n`` purchase days of every row; ``back``, one row's after the other's, latest first:
        the days from ``as_of`` back to the latest, then from each to the one before; ``money``, in whole units, null
        without; ``earlier``, by row. ``due``: row, place in ``goods``, and the day, low and high as days from
        ``as_of``. ``goods``: name, and what goes with it.
    """
    places = listed.select("customer_id").with_row_index("place")
    days = bought.days.join(places, on="customer_id").sort("place", "day", descending=[False, True])
    ago = (pl.lit(as_of) - pl.col("day")).dt.total_days()
    back = days.select(ago - ago.shift(1).over("place").fill_null(0)).to_series()
    counts = days.group_by("place").agg(n=pl.len())
    n = places.join(counts, on="place", how="left", maintain_order="left")["n"].fill_null(0)
    at = dict(places.select("customer_id", "place").iter_rows())
    has_money = bool(days["money"].is_not_null().any())
    packed = {
        "n": n.to_list(),
        "back": back.to_list(),
        "money": days["money"].fill_null(0.0).round().cast(pl.Int64).to_list() if has_money else None,
        "earlier": {str(at[who]): number for who, number in bought.earlier.items() if who in at},
    }
    return {"bought": packed, **_due_data(bought, at, as_of)}


def _due_data(bought: Bought, at: Mapping[str, int], as_of: date) -> Row:
    if bought.due is None:
        return {"due": [], "goods": []}
    goods: dict[str, int] = {}
    told: list[list[str]] = []
    rows: list[list[int]] = []
    for row in bought.due.iter_rows(named=True):
        if row["customer_id"] not in at:
            continue
        if row["product_id"] not in goods:
            goods[row["product_id"]] = len(told)
            told.append([row["name"], _goes_with_sentence(row)])
        days = ((row[f"refill_{end}"] - as_of).days for end in ("on", "low", "high"))
        rows.append([at[row["customer_id"]], goods[row["product_id"]], *days])
    return {"due": rows, "goods": told}


def _relation(name: str | None) -> str:
    return say(RELATIONS[name]) if name is not None and name in RELATIONS else ""


def _goes_with_sentence(row: Mapping[str, Any]) -> str:
    if row["goes_with"] is None:
        return ""
    return say(
        "products.goes_with_sentence",
        product=row["goes_with"],
        relation=_relation(row["relation"]),
        share=share(row["share"]),
        lift=decimal(row["lift"], 1),
        customers=counted(row["support"], "customer"),
    )


def product_rows(bought: Bought | None) -> list[Row]:
    """Write the table of products.

    Parameters
    ----------
    bought : Bought, optional
        What the orders tell.

    Returns
    -------
    list of dict
        One row per product, as texts; none where the orders name no products, or were not given.
    """
    if bought is None or bought.products is None:
        return []
    return [
        {
            "name": row["name"],
            "customers": count(row["customers"]),
            "again": say("products.again_words", share=share(row["share_again"]), number=count(row["again"])),
            "usual": counted(round(row["median_days"]), "day"),
            "half": say("products.half", low=count(round(row["low_days"])), high=count(round(row["high_days"]))),
            "due": count(row["due"]),
            "goes_with": row["goes_with"] or NOTHING,
            "how": _how(row),
        }
        for row in bought.products.iter_rows(named=True)
    ]


def _how(row: Mapping[str, Any]) -> str:
    if row["goes_with"] is None:
        return ""
    return say(
        "products.goes_with_words",
        relation=_relation(row["relation"]),
        lift=decimal(row["lift"], 1),
        customers=counted(row["support"], "customer"),
    )
