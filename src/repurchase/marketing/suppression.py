"""Whom to leave alone: each reason in its order, each with a count."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.orders.ids import clean_ids
from repurchase.orders.vocabulary import plain

__all__ = ["REASONS", "Contacted", "read_contacted", "suppressed"]

REASONS: Mapping[str, str] = {
    "not_in_contacts": "not in the contact file",
    "no_consent": "no consent",
    "opted_out": "opted out",
    "complained": "complained",
    "staff": "staff",
    "no_valid_address": "no valid way to reach them",
    "just_bought": "bought just now",
    "just_contacted": "contacted lately",
}
"""Reason to words, in the order in which the first one that holds is counted."""
_DATES = ("date", "contactedon", "contactedat", "contacted", "sentat", "sent", "day", "dato", "datum", "дата")
HOURS = 24


@dataclass(frozen=True)
class Contacted:
    """Who was contacted, and when.

    Parameters
    ----------
    rows : DataFrame
        ``customer_id`` and ``contacted_on``; one row per customer, the latest day; a missing day is taken as lately.
    has_days : bool
        Whether the file says when.
    """

    rows: pl.DataFrame
    has_days: bool


def read_contacted(rows: pl.DataFrame, *, id_column: str, source: str) -> Contacted:
    """Read who was contacted.

    Parameters
    ----------
    rows : DataFrame
        A list that was made earlier, or a mail tool's own: ids, and maybe a column of days (YYYY-MM-DD …).
    id_column : str
        Its column of customer ids.
    source : str
        What messages call the file.

    Returns
    -------
    Contacted
        One row per customer.

    Raises
    ------
    InputError
        If a day cannot be read.
    """
    ids = clean_ids(rows[id_column].cast(pl.String).str.strip_prefix("'")).alias("customer_id")
    by_name = {plain(name): name for name in reversed(rows.columns)}
    column = next((by_name[name] for name in _DATES if name in by_name), None)
    days = pl.repeat(None, rows.height, dtype=pl.Date, eager=True) if column is None else _days(rows[column], source)
    known = pl.DataFrame([ids, days.alias("contacted_on")]).filter(pl.col("customer_id").is_not_null())
    latest = known.group_by("customer_id", maintain_order=True).agg(pl.col("contacted_on").max())
    return Contacted(latest, column is not None)


def _days(values: pl.Series, source: str) -> pl.Series:
    if values.dtype.is_temporal():
        return values.cast(pl.Date)
    text = values.cast(pl.String).str.strip_chars().str.slice(0, 10)
    days = text.str.to_date("%Y-%m-%d", strict=False)
    wrong = values.filter(days.is_null() & (text != "")).cast(pl.String)
    if len(wrong):
        raise InputError(
            f"{source}: {len(wrong):,} days in column '{values.name}' cannot be read: {first_few(wrong)}. "
            "Expected days such as 2024-12-31.",
            withheld=first_few(wrong),
        )
    return days


def suppressed(
    rows: pl.DataFrame,
    *,
    as_of: date,
    bought_within_hours: int,
    contacted: Contacted | None = None,
    contacted_within_days: int = 0,
    reachable: pl.Expr | None = None,
) -> pl.Series:
    """Say why a customer is left alone.

    A purchase counts as one of the last N hours if it may be: its day ended less than N hours before ``as_of`` did.

    Parameters
    ----------
    rows : DataFrame
        Scores; with contacts also ``in_contacts``, ``consent``, ``opted_out``, ``complained`` and ``staff``.
    as_of : date
        Last day observed.
    bought_within_hours : int
        0: nobody is left alone for a purchase.
    contacted : Contacted, optional
        Who was contacted.
    contacted_within_days : int
        How long that keeps a customer off the lists.
    reachable : Expr of bool, optional
        Whether there is a valid address.

    Returns
    -------
    Series of str
        A key of ``REASONS``; null for those who may be listed.
    """
    rules: dict[str, pl.Expr] = {}
    if "consent" in rows.columns:
        rules["not_in_contacts"] = ~pl.col("in_contacts")
        rules["no_consent"] = ~pl.col("consent")
        rules |= {name: pl.col(name) for name in ("opted_out", "complained", "staff")}
    if reachable is not None:
        rules["no_valid_address"] = ~reachable
    rules["just_bought"] = pl.col("days_since_last") * HOURS < bought_within_hours
    if contacted is not None:
        rows = rows.join(contacted.rows, on="customer_id", how="left", maintain_order="left")
        listed = pl.col("customer_id").is_in(contacted.rows["customer_id"].implode())
        ago = (pl.lit(as_of) - pl.col("contacted_on")).dt.total_days()
        rules["just_contacted"] = listed & (ago < contacted_within_days).fill_null(value=True)
    why = pl.coalesce(
        pl.when(rules[name].fill_null(value=name == "no_valid_address")).then(pl.lit(name))
        for name in REASONS
        if name in rules
    )
    return rows.select(why.alias("left_out")).to_series()
