"""Whom to reach, and what it is expected to bring: scores, costs, and an uplift that is assumed or was measured.

Scores say who will buy, not who will buy *because* of a contact. Without campaigns of the past that is an assumption,
and a single one is made: a contact pushes everybody's log odds of buying by the same amount, so those on the fence move
most, and neither sure buyers nor the lost move much; the amount is such that those reached buy so many points more
often. A customer who buys spends as the scores expect of a buyer. Hence, of reaching one customer,

    cost = contact + offer · (p + u)        gain = margin · u · s - cost        s = expected spend / p

with p the probability of a purchase anyway and u the uplift: the offer also goes to those who would have bought.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

__all__ = ["Candidates", "Expected", "Terms", "break_even", "expected", "push", "rise", "worth"]

Floats = npt.NDArray[np.float64]

LEAST_P, MOST_P = 1e-4, 1 - 1e-6
STEPS = 48
Z95 = 1.959963984540054
SPEND_VARIATION = 1.0
"""Standard deviation of what a buyer spends, over its mean: that of an exponential law."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a campaign costs and earns.

    Parameters
    ----------
    margin : float
        Share of sales that is left after the goods are paid, above 0 and up to 1.
    cost_per_contact : float
        Money per customer reached, >= 0.
    offer_cost : float
        Money per customer reached who buys: discount, gift, postage; >= 0.
    budget : float, optional
        Money there is for contacts and offers, > 0.

    Raises
    ------
    InputError
        If a value is outside its range.

    Examples
    --------
    >>> Terms(margin=30)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --margin must be above 0 and at most 1 (0.3 for 30 %). Got 30 instead.
    """

    margin: float = 1.0
    cost_per_contact: float = 0.0
    offer_cost: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        InputError
            If one is outside its range.
        """
        if not 0 < self.margin <= 1:
            raise InputError(f"--margin must be above 0 and at most 1 (0.3 for 30 %). Got {self.margin:g} instead.")
        for name in ("cost_per_contact", "offer_cost"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"--{name.replace('_', '-')} must be 0 or more. Got {value:g} instead.")
        if self.budget is not None and not (self.budget > 0 and math.isfinite(self.budget)):
            raise InputError(f"--budget must be above 0: nobody can be reached for {self.budget:g}.")


class Candidates(NamedTuple):
    """What the scores say of customers who could be reached.

    Parameters
    ----------
    p : array of shape (n,)
        Probability of a purchase day within the horizon without a contact.
    spend : array of shape (n,)
        Net money expected of a buyer within the horizon; 1 each where the log has no money.
    """

    p: Floats
    spend: Floats

    @classmethod
    def of(cls, p: npt.ArrayLike, spend_expected: npt.ArrayLike | None) -> "Candidates":
        """Take the scores of a horizon.

        Parameters
        ----------
        p : array of shape (n,)
            ``p_repurchase_{h}d``.
        spend_expected : array of shape (n,), optional
            ``spend_expected_{h}d``; None without money.

        Returns
        -------
        Candidates
            Probabilities kept off 0 and 1, so that odds can be told.
        """
        chance = np.asarray(p, dtype=np.float64)
        if spend_expected is None:
            return cls(np.clip(chance, LEAST_P, MOST_P), np.ones(len(chance)))
        spend = np.asarray(spend_expected, dtype=np.float64) / np.maximum(chance, LEAST_P)
        return cls(np.clip(chance, LEAST_P, MOST_P), np.maximum(spend, 0.0))

    def take(self, which: npt.NDArray[np.generic]) -> "Candidates":
        """Keep some customers.

        Parameters
        ----------
        which : array
            Flags or positions.

        Returns
        -------
        Candidates
            Of those.
        """
        return Candidates(self.p[which], self.spend[which])


def push(p: Floats, uplift: float) -> Floats:
    """Move everybody's log odds alike, so that the mean share of buyers rises by ``uplift``.

    Parameters
    ----------
    p : array of shape (n,)
        Probability of a purchase without a contact, above 0 and below 1.
    uplift : float
        Mean rise, as a share (0.02 for two points).

    Returns
    -------
    array of shape (n,)
        Each customer's rise.

    Raises
    ------
    InputError
        If so many do not even exist.

    Examples
    --------
    >>> push(np.array([0.01, 0.5, 0.99]), 0.05).round(3)
    array([0.008, 0.138, 0.004])
    >>> push(np.array([0.9, 0.9]), 0.2)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: An uplift of 20 points cannot be: 90.0 % of these customers buy anyway.
    """
    if not len(p):
        return np.zeros(0)
    if not uplift < 1 - p.mean():
        raise InputError(
            f"An uplift of {100 * uplift:.3g} points cannot be: {100 * p.mean():.1f} % of these customers buy anyway."
        )
    low, high = 0.0, 50.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rise(p, middle).mean() >= uplift else (middle, high)
    return rise(p, high)


def rise(p: Floats, by: float) -> Floats:
    """Move everybody's log odds by the same amount.

    Parameters
    ----------
    p : array of shape (n,)
        Probability of a purchase without a contact, above 0 and below 1.
    by : float
        Amount, on the scale of log odds.

    Returns
    -------
    array of shape (n,)
        Each customer's rise.

    Examples
    --------
    >>> rise(np.array([0.1, 0.5, 0.9]), 0.5).round(3)
    array([0.055, 0.122, 0.037])
    """
    pushed = p / (1 - p) * math.exp(by)
    return np.asarray(pushed / (1 + pushed) - p)


def worth(who: Candidates, uplift: Floats, terms: Terms) -> tuple[Floats, Floats]:
    """What reaching each customer is expected to cost and to gain.

    Parameters
    ----------
    who : Candidates
        Customers.
    uplift : array of shape (n,)
        Rise of each one's probability to buy.
    terms : Terms
        Costs and margin.

    Returns
    -------
    cost, gain : arrays of shape (n,)
        Money; the gain is after the cost.
    """
    cost = terms.cost_per_contact + terms.offer_cost * (who.p + uplift)
    return cost, terms.margin * uplift * who.spend - cost


class Expected(NamedTuple):
    """What reaching customers is expected to bring, with the range that chance alone leaves (95 %).

    Parameters
    ----------
    reached : int
        Customers.
    buyers_anyway, buyers_more : float
        Who would buy without a contact, and those who come on top.
    sales, cost, profit : tuple of float
        Value, low end, high end; money.
    """

    reached: int
    buyers_anyway: float
    buyers_more: float
    sales: tuple[float, float, float]
    cost: tuple[float, float, float]
    profit: tuple[float, float, float]


def expected(who: Candidates, uplift: Floats, terms: Terms, *, relative_error: float = 0.0) -> Expected:
    """Add up what reaching customers is expected to bring.

    Whether a customer is moved is a coin with the chance u, what a buyer spends scatters as widely as its mean, and
    customers are independent. Where the uplift was measured, its own error is added.

    Parameters
    ----------
    who : Candidates
        Those to be reached.
    uplift : array of shape (n,)
        Rise of each one's probability to buy.
    terms : Terms
        Costs and margin.
    relative_error : float
        Standard error of the uplift over the uplift.

    Returns
    -------
    Expected
        Totals and ranges.
    """
    cost, _ = worth(who, uplift, terms)
    buy = who.p + uplift
    sales = float(uplift @ who.spend)
    of_sales = float((uplift * (1 + SPEND_VARIATION**2) - uplift**2) @ who.spend**2) + (relative_error * sales) ** 2
    of_buyers = float((buy * (1 - buy)).sum()) + (relative_error * float(uplift.sum())) ** 2
    total = float(cost.sum())
    profit_error = math.hypot(terms.margin * math.sqrt(of_sales), terms.offer_cost * math.sqrt(of_buyers))
    return Expected(
        len(who.p),
        float(who.p.sum()),
        float(uplift.sum()),
        _around(sales, math.sqrt(of_sales)),
        _around(total, terms.offer_cost * math.sqrt(of_buyers)),
        _around(terms.margin * sales - total, profit_error),
    )


def break_even(who: Candidates, terms: Terms, *, reached: npt.NDArray[np.generic] | None = None) -> float | None:
    """Uplift from which reaching customers pays.

    Parameters
    ----------
    who : Candidates
        Customers, over whom the uplift is the mean.
    terms : Terms
        Costs and margin.
    reached : array, optional
        Flags or positions of those to be reached; default all.

    Returns
    -------
    float or None
        As a share; None where no uplift would pay.
    """
    low, high = 0.0, float(1 - who.p.mean()) * (1 - 1e-6) if len(who.p) else 0.0
    mine = slice(None) if reached is None else reached

    def pays(uplift: float) -> bool:
        return float(worth(who, push(who.p, uplift), terms)[1][mine].sum()) >= 0

    if not high > 0 or not pays(high):
        return None
    for _ in range(STEPS // 2):
        middle = (low + high) / 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high


def _around(value: float, error: float) -> tuple[float, float, float]:
    return value, value - Z95 * error, value + Z95 * error
