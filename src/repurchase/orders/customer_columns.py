"""Which of several columns names the customers: ids, addresses in their place, and customers who came back."""

from collections.abc import Sequence

import polars as pl

from repurchase.orders.column_profiles import ColumnProfile
from repurchase.orders.column_ranking import Candidate
from repurchase.orders.decisions import Fact
from repurchase.orders.ids import placeholder_ids

__all__ = ["adds_customers", "against_customer", "who_comes_back"]

_FEWEST_ORDERS = 50
_ONE_EACH = 0.99
_FEWER, _FEWEST = 0.9, 0.05
_FILLED = 0.95
_PLACEHOLDERS = 0.002


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


def adds_customers(profile: ColumnProfile, other: ColumnProfile) -> bool:
    """Say whether another column names customers on rows where the first one names nobody.

    Parameters
    ----------
    profile, other : ColumnProfile
        Columns of customers.

    Returns
    -------
    bool
        Whether there is such a row.
    """
    nobody = profile.ids.is_null() | placeholder_ids(profile.ids).fill_null(value=True)
    named = other.ids.is_not_null() & ~placeholder_ids(other.ids).fill_null(value=True)
    return bool((nobody & named).any())


def against_customer(profile: ColumnProfile, email: ColumnProfile) -> Fact | None:
    """Say why e-mail addresses are the better customer ids, if they are.

    Parameters
    ----------
    profile, email : ColumnProfile
        The column of ids and the one of addresses.

    Returns
    -------
    Fact or None
        What speaks against the ids.
    """
    value, rows = _placeholder_share(profile)
    if rows > _PLACEHOLDERS * profile.n_filled and email.n_filled >= profile.n_filled - rows:
        return Fact("placeholder", {"value": value, "rows": rows, "total": profile.n_filled})
    if profile.n_filled < 0.95 * email.n_filled:
        return Fact("mostly_empty", {"share": profile.n_filled / max(len(profile.values), 1)})
    if profile.person_share >= 0.5 and not profile.name.has("id"):
        return Fact("person_names")
    return None


def _placeholder_share(profile: ColumnProfile) -> tuple[str, int]:
    """The most frequent placeholder of a column of customers, and the rows of all of them."""
    marked = profile.ids.filter(placeholder_ids(profile.ids).fill_null(value=False))
    if marked.is_empty():
        return "", 0
    return str(marked.value_counts(sort=True).row(0)[0]), len(marked)
