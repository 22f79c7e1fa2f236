"""Which of several columns of customers tells that one of them came back."""

from collections.abc import Sequence

import polars as pl

from repurchase.orders.column_profiles import ColumnProfile
from repurchase.orders.column_ranking import Candidate

__all__ = ["who_comes_back"]

_FEWEST_ORDERS = 50
_ONE_EACH = 0.99
_FEWER, _FEWEST = 0.9, 0.05
_FILLED = 0.95


def who_comes_back(best: Candidate, others: Sequence[Candidate], orders: ColumnProfile | None) -> Candidate:
    """Replace a column that has a new customer for every order, as some marketplaces write it.

    Parameters
    ----------
    best : Candidate
        The column that fits best by its name.
    others : sequence of Candidate
        The other columns that could name customers.
    orders : ColumnProfile, optional
        Order numbers.

    Returns
    -------
    Candidate
        One of the others, with ids or mail addresses, if each customer of the best column is one customer of it and it
        has fewer; otherwise the best one.
    """
    if orders is None or orders.n_distinct < _FEWEST_ORDERS:
        return best
    customers = best.profile.n_distinct
    if customers < _ONE_EACH * orders.n_distinct:
        return best
    for other in others:
        profile = other.profile
        if profile is best.profile or not profile.name.has("id", "email") or profile.name.has("person"):
            continue
        is_filled = profile.n_filled >= _FILLED * best.profile.n_filled
        if is_filled and _FEWEST * customers <= profile.n_distinct <= _FEWER * customers:
            pairs = pl.DataFrame({"one": best.profile.ids, "other": profile.ids}).drop_nulls().unique()
            if pairs["one"].n_unique() == pairs.height:
                return other
    return best
