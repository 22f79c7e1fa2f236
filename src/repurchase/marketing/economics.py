"""Expected profit of contacting customers, break-even uplift and the value of retention."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.validation import Check, Nullable, Schema, above, at_least, require_options

_Floats = npt.NDArray[np.float64]


_Interval = tuple[float, float, float]
"""Value, low end and high end."""

_MIN_PROBABILITY, _MAX_PROBABILITY = 1e-4, 1 - 1e-6
_UPLIFT_STEPS, _BREAK_EVEN_STEPS = 48, 24
_MAX_LOG_ODDS_SHIFT = 50.0
_Z95 = 1.959963984540054
_SPEND_VARIATION = 1.0
"""Standard deviation of what a buyer spends, over its mean: that of an exponential distribution."""
_ONE_POINT = 0.01
_SCENARIOS = (("half of it", 0.5), ("as assumed", 1.0), ("twice", 2.0))
_CURVE_POINTS = 60

_TERMS_SCHEMA: Mapping[str, Schema] = {
    "margin": Check(lambda value: 0 < value <= 1, "above 0 and at most 1 (0.3 for 30 %)"),
    "cost_per_contact": at_least(0),
    "offer_cost": at_least(0),
    "budget": Nullable(above(0)),
}


@dataclass(frozen=True, kw_only=True)
class CampaignTerms:
    """What a campaign costs and earns."""

    margin: float = 1.0
    cost_per_contact: float = 0.0
    offer_cost: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        require_options(vars(self), _TERMS_SCHEMA)


class CampaignCandidates(NamedTuple):
    """What the scores say of customers who could be reached."""

    p: _Floats
    spend: _Floats

    @classmethod
    def of(cls, p: npt.ArrayLike, spend_expected: npt.ArrayLike | None) -> "CampaignCandidates":
        """Take the scores of a horizon."""
        chance = np.asarray(p, dtype=np.float64)
        spend = np.ones(len(chance))
        if spend_expected is not None:
            spend = np.asarray(spend_expected, dtype=np.float64) / np.maximum(chance, _MIN_PROBABILITY)
        return cls(np.clip(chance, _MIN_PROBABILITY, _MAX_PROBABILITY), np.maximum(spend, 0.0))

    def take(self, which: npt.NDArray[np.generic]) -> "CampaignCandidates":
        """Keep some customers."""
        return CampaignCandidates(self.p[which], self.spend[which])

    @property
    def max_uplift(self) -> float:
        """Largest uplift that is assumed: a list of sure buyers cannot rise further."""
        return float(1 - self.p.mean()) * 0.999


def lowest_where(condition: Callable[[float], bool], low: float, high: float, *, steps: int) -> float:
    """Find by bisection from which value up a condition holds that holds at ``high``."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if condition(middle) else (middle, high)
    return high


def log_odds_shift(p: _Floats, uplift: float) -> _Floats:
    """Move everybody's log odds alike, so that the mean share of buyers rises by ``uplift``."""
    if not len(p):
        return np.zeros(0)
    if not uplift < 1 - p.mean():
        raise InputError(
            f"An uplift of {100 * uplift:.3g} points is impossible: {p.mean():.1%} of customers buy anyway."
        )
    shift = lowest_where(
        lambda by: bool(probability_gain(p, by).mean() >= uplift), 0.0, _MAX_LOG_ODDS_SHIFT, steps=_UPLIFT_STEPS
    )
    return probability_gain(p, shift)


def probability_gain(p: _Floats, by: float) -> _Floats:
    """Rise in everybody's probability when their log odds move by the same amount."""
    pushed = p / (1 - p) * math.exp(by)
    return np.asarray(pushed / (1 + pushed) - p)


def expected_profit(who: CampaignCandidates, uplift: _Floats, terms: CampaignTerms) -> tuple[_Floats, _Floats]:
    """What reaching each customer is expected to cost and to gain."""
    cost = terms.cost_per_contact + terms.offer_cost * (who.p + uplift)
    return cost, terms.margin * uplift * who.spend - cost


class ExpectedOutcome(NamedTuple):
    """What reaching customers is expected to bring, with the range that chance alone leaves (95 %)."""

    reached: int
    buyers_anyway: float
    buyers_more: float
    sales: _Interval
    cost: _Interval
    profit: _Interval


def expected_outcome(
    who: CampaignCandidates, uplift: _Floats, terms: CampaignTerms, *, relative_error: float = 0.0
) -> ExpectedOutcome:
    """Add up what reaching customers is expected to bring.

    Whether a customer is moved is a coin with the chance u, what a buyer spends scatters as widely as its mean, and
    customers are independent. Where the uplift was measured, its own error is added.
    """
    cost, _ = expected_profit(who, uplift, terms)
    buy = who.p + uplift
    sales = float(uplift @ who.spend)
    of_sales = float((uplift * (1 + _SPEND_VARIATION**2) - uplift**2) @ who.spend**2) + (relative_error * sales) ** 2
    of_buyers = float((buy * (1 - buy)).sum()) + (relative_error * float(uplift.sum())) ** 2
    total = float(cost.sum())
    profit_error = math.hypot(terms.margin * math.sqrt(of_sales), terms.offer_cost * math.sqrt(of_buyers))
    return ExpectedOutcome(
        len(who.p),
        float(who.p.sum()),
        float(uplift.sum()),
        _normal_interval(sales, math.sqrt(of_sales)),
        _normal_interval(total, terms.offer_cost * math.sqrt(of_buyers)),
        _normal_interval(terms.margin * sales - total, profit_error),
    )


def break_even_uplift(
    who: CampaignCandidates, terms: CampaignTerms, *, reached: npt.NDArray[np.generic] | None = None
) -> float | None:
    """Uplift from which reaching customers pays."""
    high = float(1 - who.p.mean()) * (1 - 1e-6) if len(who.p) else 0.0
    contacted = slice(None) if reached is None else reached

    def pays(uplift: float) -> bool:
        return float(expected_profit(who, log_odds_shift(who.p, uplift), terms)[1][contacted].sum()) >= 0

    if not high > 0 or not pays(high):
        return None
    return lowest_where(pays, 0.0, high, steps=_BREAK_EVEN_STEPS)


def _normal_interval(value: float, error: float) -> _Interval:
    return value, value - _Z95 * error, value + _Z95 * error


class ReachCurve(NamedTuple):
    """Profit by how many are reached, best first."""

    reached: npt.NDArray[np.int64]
    profit: _Floats
    best: int


class _ReachOutcome(NamedTuple):
    """What reaching some customers brings, by scenario."""

    customers: int
    scenarios: list[tuple[str, float, ExpectedOutcome]]
    break_even: float | None


def retention_point_value(
    who: CampaignCandidates, *, margin: float, sales_bias: Sequence[float] = ()
) -> dict[str, _Interval]:
    """What it is worth if one more customer in a hundred buys within the horizon."""
    if not len(who.p):
        raise InputError("No scored customer: nothing to count. Send scores of customers with a history.")
    found = expected_outcome(who, log_odds_shift(who.p, _ONE_POINT), CampaignTerms(margin=margin))
    kept = _ONE_POINT * len(who.p)
    value, low, high = _widen(found.sales, sales_bias)
    value = round(value, 6)
    return {
        "customers": (kept, kept, kept),
        "sales": (value, low, high),
        "margin": (margin * value, margin * low, margin * high),
    }


def reach_curve(who: CampaignCandidates, *, uplift: float, terms: CampaignTerms) -> ReachCurve:
    """Profit by how many are reached, those with the highest expected gain first."""
    gains = [expected_profit(who, lift, terms)[1] for lift in _scenario_uplifts(who, uplift)]
    order = np.argsort(-gains[1], kind="stable")
    running = np.stack([np.concatenate([[0.0], np.cumsum(gain[order])]) for gain in gains])
    best = int(np.argmax(running[1]))
    shown = np.unique(np.append(np.linspace(0, len(who.p), _CURVE_POINTS).round().astype(np.int64), best))
    return ReachCurve(shown, running[:, shown], best)


def reach_outcome(
    who: CampaignCandidates, n: int, *, uplift: float, terms: CampaignTerms, sales_bias: Sequence[float] = ()
) -> _ReachOutcome:
    """What reaching the best customers brings, on the assumed uplift and on half and twice of it."""
    if not 0 < n <= len(who.p):
        raise InputError(f"--reach must be 1 to {len(who.p):,}, the number of customers. Got {n:,} instead.")
    lifts = _scenario_uplifts(who, uplift)
    order = np.argsort(-expected_profit(who, lifts[1], terms)[1], kind="stable")[:n]
    scenarios = []
    for (name, share), lift in zip(_SCENARIOS, lifts, strict=True):
        outcome = expected_outcome(who.take(order), lift[order], terms)
        scenarios.append((name, share * uplift, _widen_outcome(outcome, terms, sales_bias)))
    return _ReachOutcome(n, scenarios, break_even_uplift(who, terms, reached=order))


def _scenario_uplifts(who: CampaignCandidates, uplift: float) -> list[_Floats]:
    return [log_odds_shift(who.p, min(share * uplift, who.max_uplift)) for _, share in _SCENARIOS]


def retention_cost_limit(found: ExpectedOutcome) -> float | None:
    """Money that keeping one more customer costs."""
    return found.cost[0] / found.buyers_more if found.buyers_more > 0 else None


def table_rows(retention: dict[str, _Interval], reach: _ReachOutcome) -> list[dict[str, Any]]:
    """Lay out all figures as rows."""
    rows = [("one point of retention", "one more of 100 buys", name, interval) for name, interval in retention.items()]
    what = f"reaching the best {reach.customers:,}"
    for name, uplift, found in reach.scenarios:
        assumption = f"{name}: {format_points(100 * uplift)}"
        figures = {"customers kept": (found.buyers_more,) * 3, "sales": found.sales, "cost": found.cost}
        figures["profit"] = found.profit
        rows += [(what, assumption, figure, interval) for figure, interval in figures.items()]
    return [
        {"what": what, "assumption": assumption, "figure": figure, "value": value, "low": low, "high": high}
        for what, assumption, figure, (value, low, high) in rows
    ]


def format_points(value: float) -> str:
    """Write a number of points."""
    return f"{value:.3g} point{'' if value == 1 else 's'}"


def _widen(interval: _Interval, bias: Sequence[float]) -> _Interval:
    """Widen an interval of sales by how far actual totals were below and above the expected ones, where known."""
    ratios = [1.0, *(1 / (1 + one) for one in bias if one > -0.9)]
    return interval[0], max(0.0, interval[1]) * min(ratios), interval[2] * max(ratios)


def _widen_outcome(found: ExpectedOutcome, terms: CampaignTerms, bias: Sequence[float]) -> ExpectedOutcome:
    sales = _widen(found.sales, bias)
    less = terms.margin * (max(0.0, found.sales[1]) - sales[1])
    more = terms.margin * (sales[2] - found.sales[2])
    return found._replace(sales=sales, profit=(found.profit[0], found.profit[1] - less, found.profit[2] + more))
