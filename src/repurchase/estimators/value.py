"""Orders and money to expect over every horizon."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from repurchase.estimators.btyd import Btyd, Outlook, expected_if_alive

__all__ = ["discount_factor", "expected_orders", "expected_spend", "never_falling"]

Floats = npt.NDArray[np.float64]

LEAST_EXPECTED = 1e-12
"""Purchase days; of those who bring less, money counts as coming late."""


def expected_orders(
    p: Mapping[int, Floats], days_if_bought: Mapping[int, Floats], outlook: Outlook
) -> dict[int, Floats]:
    """Expect purchase days over every horizon: the chance of any, times the days of a buyer where they were learned.

    After a learned horizon BTYD's purchase days between the two are added, as `blend.rising` adds its chances; before
    the first one they come at BTYD's pace. Without any learned horizon BTYD answers alone.

    Parameters
    ----------
    p : mapping of int to array of shape (n_customers,)
        Every horizon to the probability of a purchase day, rising.
    days_if_bought : mapping of int to array of shape (n_customers,)
        Learned horizons to the expected purchase days of a buyer, >= 1.
    outlook : Outlook
        Of the fitted BTYD model.

    Returns
    -------
    dict of int to array
        By rising horizon h: rising, in [p, h]. Which horizons are asked for besides does not move one.
    """
    btyd = {h: outlook.expected_purchases(h) for h in p}
    learned = never_falling({h: p[h] * days for h, days in days_if_bought.items()})
    orders = {}
    for h in sorted(p):
        before = max((known for known in learned if known <= h), default=None)
        after = min((known for known in learned if known >= h), default=None)
        if before is not None:
            expected, lowest = learned[before] + (btyd[h] - btyd[before]), np.maximum(p[h], learned[before])
        elif after is not None:
            expected, lowest = learned[after] * btyd[h] / np.maximum(btyd[after], LEAST_EXPECTED), p[h]
        else:
            expected, lowest = btyd[h], p[h]
        orders[h] = np.clip(expected, lowest, h if after is None else learned[after])
    return never_falling(orders)


def discount_factor(outlook: Outlook, *, horizon_days: int, yearly_rate: float) -> Floats:
    """Mean worth today of money that comes when BTYD expects the purchases, as a share.

    Parameters
    ----------
    outlook : Outlook
        When purchases come.
    horizon_days : int
        Over which money is counted.
    yearly_rate : float
        Discount rate a year.

    Returns
    -------
    array of shape (n_customers,)
        In (0, 1]; four equal periods, each discounted from its middle.
    """
    worth = outlook.per_pair("worth", _worth_if_alive, horizon_days, yearly_rate)
    latest = (1.0 + yearly_rate) ** (-horizon_days / 365.0)
    some = np.minimum(outlook.expected_purchases(horizon_days) / LEAST_EXPECTED, 1.0)
    return np.clip(worth * some, latest, 1.0)


def _worth_if_alive(fit: Btyd, x: Floats, T: Floats, horizon_days: float, yearly_rate: float) -> Floats:
    edges = [horizon_days * quarter / 4 for quarter in range(5)]
    by_then = [np.zeros_like(x)] + [expected_if_alive(fit, x, T, edge) for edge in edges[1:]]
    worth = np.zeros_like(x)
    for quarter in range(4):
        middle = (edges[quarter] + edges[quarter + 1]) / 2
        worth += (by_then[quarter + 1] - by_then[quarter]) / by_then[-1] / (1.0 + yearly_rate) ** (middle / 365.0)
    return worth


def never_falling(by_horizon: Mapping[int, Floats]) -> dict[int, Floats]:
    """Raise what a longer horizon expects to what a shorter one does.

    Parameters
    ----------
    by_horizon : mapping of int to array of shape (n_customers,)
        Horizon to an amount.

    Returns
    -------
    dict of int to array
        Rising with the horizon for each customer.
    """
    raised: dict[int, Floats] = {}
    floor: Floats | None = None
    for h in sorted(by_horizon):
        floor = by_horizon[h] if floor is None else np.maximum(floor, by_horizon[h])
        raised[h] = floor
    return raised


def expected_spend(
    horizon_days: int, learned: Mapping[int, Floats], orders: Mapping[int, Floats], per_order: Floats
) -> Floats:
    """Take learned money, or, beyond what was learned, the nearest learned one carried on by the expected orders.

    Parameters
    ----------
    horizon_days : int
        Days ahead.
    learned : mapping of int to array of shape (n_customers,)
        Horizon to learned money; maybe empty.
    orders : mapping of int to array
        Every horizon to expected purchase days.
    per_order : array of shape (n_customers,)
        Money per purchase day, where nothing was learned.

    Returns
    -------
    array of shape (n_customers,)
        Expected money.
    """
    if horizon_days in learned:
        return learned[horizon_days]
    nearest = min(learned, key=lambda h: abs(h - horizon_days), default=None)
    if nearest is None:
        return orders[horizon_days] * per_order
    return learned[nearest] * orders[horizon_days] / np.maximum(orders[nearest], 1e-12)
