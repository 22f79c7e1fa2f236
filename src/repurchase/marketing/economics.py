"""What a point of retention, or reaching the best customers, is worth to this shop: from its own scores and costs.

Nothing is borrowed from other shops. What customers will spend are the scores; margin and costs are told; by how many
points a contact raises the share of buyers is an assumption, and every figure is also given for half and twice of it.
How it falls on customers is that of `marketing.reach`: one push on everybody's log odds. A range is made of two parts:
how far the scores' totals of sales were off when they were judged, where that is known, and what chance leaves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.marketing.reach import Candidates, Expected, Terms, break_even, expected, push, worth

__all__ = ["Curve", "Reach", "keep_cost", "point_of_retention", "points", "reach_curve", "reaching", "table_rows"]

Floats = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

POINTS = 60
ONE_POINT = 0.01
HALF_TO_TWICE = (0.5, 1.0, 2.0)


class Curve(NamedTuple):
    """Profit by how many are reached, best first.

    Parameters
    ----------
    reached : int array of shape (n_points,)
        Customers.
    profit : float array of shape (3, n_points)
        With half the uplift, the uplift, and twice of it.
    best : int
        Customers at which the middle one is highest.
    """

    reached: npt.NDArray[np.int64]
    profit: Floats
    best: int


class Reach(NamedTuple):
    """Reaching some customers.

    Parameters
    ----------
    customers : int
        How many.
    scenarios : list of (str, float, Expected)
        Name, uplift as a share, and what it brings.
    break_even : float or None
        Uplift from which it pays, as a share, on average over all customers.
    """

    customers: int
    scenarios: list[tuple[str, float, Expected]]
    break_even: float | None


def point_of_retention(who: Candidates, *, margin: float, off: Sequence[float] = ()) -> dict[str, Triple]:
    """What it is worth if one more customer in a hundred buys within the horizon.

    Parameters
    ----------
    who : Candidates
        All customers.
    margin : float
        Share of sales left after the goods.
    off : sequence of float
        Expected total over actual total, less one, each time the scores were judged.

    Returns
    -------
    dict of str to (value, low, high)
        ``customers`` kept, their ``sales`` and ``margin`` within the horizon, before any cost.

    Raises
    ------
    InputError
        If there are no customers, or more than 99 % buy anyway.

    Examples
    --------
    >>> who = Candidates.of(np.full(1000, 0.5), np.full(1000, 20.0))
    >>> point_of_retention(who, margin=0.5)["sales"][0]
    400.0
    """
    if not len(who.p):
        raise InputError("No scored customer: nothing to count. Send scores of customers with a history.")
    found = expected(who, push(who.p, ONE_POINT), Terms(margin=margin))
    kept = ONE_POINT * len(who.p)
    low, high = _off(off)
    value = round(found.sales[0], 6)
    sales = (value, max(0.0, found.sales[1]) * low, found.sales[2] * high)
    return {
        "customers": (kept, kept, kept),
        "sales": sales,
        "margin": (margin * sales[0], margin * sales[1], margin * sales[2]),
    }


def reach_curve(who: Candidates, *, uplift: float, terms: Terms) -> Curve:
    """Profit by how many are reached, those with the highest expected gain first.

    Parameters
    ----------
    who : Candidates
        All customers.
    uplift : float
        Assumed, as a share, on average over all.
    terms : Terms
        Margin and costs.

    Returns
    -------
    Curve
        Up to all customers.
    """
    gains = [worth(who, push(who.p, _bounded(who, share * uplift)), terms)[1] for share in HALF_TO_TWICE]
    order = np.argsort(-gains[1], kind="stable")
    running = np.stack([np.concatenate([[0.0], np.cumsum(gain[order])]) for gain in gains])
    best = int(np.argmax(running[1]))
    shown = np.unique(np.append(np.linspace(0, len(who.p), POINTS).round().astype(np.int64), best))
    return Curve(shown, running[:, shown], best)


def reaching(who: Candidates, n: int, *, uplift: float, terms: Terms, off: Sequence[float] = ()) -> Reach:
    """What reaching the best customers brings, on the assumed uplift and on half and twice of it.

    Parameters
    ----------
    who : Candidates
        All customers.
    n : int
        How many to reach: those with the highest expected gain.
    uplift : float
        Assumed, as a share, on average over all.
    terms : Terms
        Margin and costs.
    off : sequence of float
        As for `point_of_retention`.

    Returns
    -------
    Reach
        Expected sales, cost and profit with ranges.

    Raises
    ------
    InputError
        If there are not so many.
    """
    if not 0 < n <= len(who.p):
        raise InputError(f"--reach must be 1 to {len(who.p):,}, the customers there are. Got {n:,} instead.")
    lifts = [push(who.p, _bounded(who, share * uplift)) for share in HALF_TO_TWICE]
    order = np.argsort(-worth(who, lifts[1], terms)[1], kind="stable")[:n]
    mine = who.take(order)
    rows = []
    for name, share, lift in zip(("half of it", "as assumed", "twice"), HALF_TO_TWICE, lifts, strict=True):
        found = expected(mine, lift[order], terms)
        rows.append((name, share * uplift, _widened(found, terms, off)))
    return Reach(n, rows, break_even(who, terms, reached=order))


def keep_cost(found: Expected) -> float | None:
    """Money that keeping one more customer costs.

    Parameters
    ----------
    found : Expected
        Of those reached.

    Returns
    -------
    float or None
        Cost per buyer on top; None without one.
    """
    return found.cost[0] / found.buyers_more if found.buyers_more > 0 else None


def table_rows(retention: dict[str, Triple], reach: Reach) -> list[dict[str, Any]]:
    """Lay out all figures as rows.

    Parameters
    ----------
    retention : dict
        From `point_of_retention`.
    reach : Reach
        From `reaching`.

    Returns
    -------
    list of dict
        ``what``, ``assumption``, ``value``, ``low``, ``high``.
    """
    rows = [_row("one point of retention", "one more of 100 buys", name, triple) for name, triple in retention.items()]
    for name, uplift, found in reach.scenarios:
        about = f"{name}: {points(100 * uplift)}"
        what = f"reaching the best {reach.customers:,}"
        more = found.buyers_more
        rows.append(_row(what, about, "customers kept", (more, more, more)))
        rows.extend(_row(what, about, part, getattr(found, part)) for part in ("sales", "cost", "profit"))
    return rows


def points(value: float) -> str:
    """Write a number of points.

    Parameters
    ----------
    value : float
        Points.

    Returns
    -------
    str
        With its noun.

    Examples
    --------
    >>> points(1.0), points(0.5)
    ('1 point', '0.5 points')
    """
    return f"{value:.3g} point{'' if value == 1 else 's'}"


def _row(what: str, assumption: str, figure: str, triple: Triple) -> dict[str, Any]:
    value, low, high = triple
    return {"what": what, "assumption": assumption, "figure": figure, "value": value, "low": low, "high": high}


def _off(off: Sequence[float]) -> tuple[float, float]:
    """By how much actual totals were below and above the expected ones; 1 and 1 where that is not known."""
    ratios = [1 / (1 + one) for one in off if one > -0.9]
    return (min([1.0, *ratios]), max([1.0, *ratios]))


def _widened(found: Expected, terms: Terms, off: Sequence[float]) -> Expected:
    low, high = _off(off)
    sales = (found.sales[0], max(0.0, found.sales[1]) * low, found.sales[2] * high)
    more = terms.margin * (sales[2] - found.sales[2])
    less = terms.margin * (max(0.0, found.sales[1]) - sales[1])
    return found._replace(sales=sales, profit=(found.profit[0], found.profit[1] - less, found.profit[2] + more))


def _bounded(who: Candidates, uplift: float) -> float:
    return min(uplift, float(1 - who.p.mean()) * 0.999)
