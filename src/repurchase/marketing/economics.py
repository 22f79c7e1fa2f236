"""Expected profit of contacting customers, break-even uplift and the value of retention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

_Floats = npt.NDArray[np.float64]


_MIN_PROBABILITY, _MAX_PROBABILITY = 1e-4, 1 - 1e-6
_STEPS = 48
_Z95 = 1.959963984540054
_SPEND_VARIATION = 1.0
"""Standard deviation of what a buyer spends, over its mean: that of an exponential law."""


@dataclass(frozen=True, kw_only=True)
class CampaignTerms:
    """What a campaign costs and earns."""

    margin: float = 1.0
    cost_per_contact: float = 0.0
    offer_cost: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if not 0 < self.margin <= 1:
            raise InputError(f"--margin must be above 0 and at most 1 (0.3 for 30 %). Got {self.margin:g} instead.")
        for name in ("cost_per_contact", "offer_cost"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"--{name.replace('_', '-')} must be 0 or more. Got {value:g} instead.")
        if self.budget is not None and not (self.budget > 0 and math.isfinite(self.budget)):
            raise InputError(f"--budget must be above 0: nobody can be reached for {self.budget:g}.")


class CampaignCandidates(NamedTuple):
    """What the scores say of customers who could be reached."""

    p: _Floats
    spend: _Floats

    @classmethod
    def of(cls, p: npt.ArrayLike, spend_expected: npt.ArrayLike | None) -> "CampaignCandidates":
        """Take the scores of a horizon."""
        chance = np.asarray(p, dtype=np.float64)
        if spend_expected is None:
            return cls(np.clip(chance, _MIN_PROBABILITY, _MAX_PROBABILITY), np.ones(len(chance)))
        spend = np.asarray(spend_expected, dtype=np.float64) / np.maximum(chance, _MIN_PROBABILITY)
        return cls(np.clip(chance, _MIN_PROBABILITY, _MAX_PROBABILITY), np.maximum(spend, 0.0))

    def take(self, which: npt.NDArray[np.generic]) -> "CampaignCandidates":
        """Keep some customers."""
        return CampaignCandidates(self.p[which], self.spend[which])


def log_odds_shift(p: _Floats, uplift: float) -> _Floats:
    """Move everybody's log odds alike, so that the mean share of buyers rises by ``uplift``."""
    if not len(p):
        return np.zeros(0)
    if not uplift < 1 - p.mean():
        raise InputError(
            f"An uplift of {100 * uplift:.3g} points cannot be: {100 * p.mean():.1f} % of these customers buy anyway."
        )
    low, high = 0.0, 50.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if probability_gain(p, middle).mean() >= uplift else (middle, high)
    return probability_gain(p, high)


def probability_gain(p: _Floats, by: float) -> _Floats:
    """Move everybody's log odds by the same amount."""
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
    sales: tuple[float, float, float]
    cost: tuple[float, float, float]
    profit: tuple[float, float, float]


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
    low, high = 0.0, float(1 - who.p.mean()) * (1 - 1e-6) if len(who.p) else 0.0
    mine = slice(None) if reached is None else reached

    def pays(uplift: float) -> bool:
        return float(expected_profit(who, log_odds_shift(who.p, uplift), terms)[1][mine].sum()) >= 0

    if not high > 0 or not pays(high):
        return None
    for _ in range(_STEPS // 2):
        middle = (low + high) / 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high


def _normal_interval(value: float, error: float) -> tuple[float, float, float]:
    return value, value - _Z95 * error, value + _Z95 * error


_Triple = tuple[float, float, float]

_POINTS = 60
_ONE_POINT = 0.01
_HALF_TO_TWICE = (0.5, 1.0, 2.0)


class ReachCurve(NamedTuple):
    """Profit by how many are reached, best first."""

    reached: npt.NDArray[np.int64]
    profit: _Floats
    best: int


class _ReachOutcome(NamedTuple):
    """Reaching some customers."""

    customers: int
    scenarios: list[tuple[str, float, ExpectedOutcome]]
    break_even: float | None


def retention_point_value(who: CampaignCandidates, *, margin: float, off: Sequence[float] = ()) -> dict[str, _Triple]:
    """What it is worth if one more customer in a hundred buys within the horizon."""
    if not len(who.p):
        raise InputError("No scored customer: nothing to count. Send scores of customers with a history.")
    found = expected_outcome(who, log_odds_shift(who.p, _ONE_POINT), CampaignTerms(margin=margin))
    kept = _ONE_POINT * len(who.p)
    low, high = _total_error_factors(off)
    value = round(found.sales[0], 6)
    sales = (value, max(0.0, found.sales[1]) * low, found.sales[2] * high)
    return {
        "customers": (kept, kept, kept),
        "sales": sales,
        "margin": (margin * sales[0], margin * sales[1], margin * sales[2]),
    }


def reach_curve(who: CampaignCandidates, *, uplift: float, terms: CampaignTerms) -> ReachCurve:
    """Profit by how many are reached, those with the highest expected gain first."""
    gains = [
        expected_profit(who, log_odds_shift(who.p, _bounded(who, share * uplift)), terms)[1] for share in _HALF_TO_TWICE
    ]
    order = np.argsort(-gains[1], kind="stable")
    running = np.stack([np.concatenate([[0.0], np.cumsum(gain[order])]) for gain in gains])
    best = int(np.argmax(running[1]))
    shown = np.unique(np.append(np.linspace(0, len(who.p), _POINTS).round().astype(np.int64), best))
    return ReachCurve(shown, running[:, shown], best)


def reach_outcome(
    who: CampaignCandidates, n: int, *, uplift: float, terms: CampaignTerms, off: Sequence[float] = ()
) -> _ReachOutcome:
    """What reaching the best customers brings, on the assumed uplift and on half and twice of it."""
    if not 0 < n <= len(who.p):
        raise InputError(f"--reach must be 1 to {len(who.p):,}, the customers there are. Got {n:,} instead.")
    lifts = [log_odds_shift(who.p, _bounded(who, share * uplift)) for share in _HALF_TO_TWICE]
    order = np.argsort(-expected_profit(who, lifts[1], terms)[1], kind="stable")[:n]
    mine = who.take(order)
    rows = []
    for name, share, lift in zip(("half of it", "as assumed", "twice"), _HALF_TO_TWICE, lifts, strict=True):
        found = expected_outcome(mine, lift[order], terms)
        rows.append((name, share * uplift, _widen_interval(found, terms, off)))
    return _ReachOutcome(n, rows, break_even_uplift(who, terms, reached=order))


def retention_cost_limit(found: ExpectedOutcome) -> float | None:
    """Money that keeping one more customer costs."""
    return found.cost[0] / found.buyers_more if found.buyers_more > 0 else None


def table_rows(retention: dict[str, _Triple], reach: _ReachOutcome) -> list[dict[str, Any]]:
    """Lay out all figures as rows."""
    rows = [
        _curve_row("one point of retention", "one more of 100 buys", name, triple) for name, triple in retention.items()
    ]
    for name, uplift, found in reach.scenarios:
        about = f"{name}: {format_points(100 * uplift)}"
        what = f"reaching the best {reach.customers:,}"
        more = found.buyers_more
        rows.append(_curve_row(what, about, "customers kept", (more, more, more)))
        rows.extend(_curve_row(what, about, part, getattr(found, part)) for part in ("sales", "cost", "profit"))
    return rows


def format_points(value: float) -> str:
    """Write a number of points."""
    return f"{value:.3g} point{'' if value == 1 else 's'}"


def _curve_row(what: str, assumption: str, figure: str, triple: _Triple) -> dict[str, Any]:
    value, low, high = triple
    return {"what": what, "assumption": assumption, "figure": figure, "value": value, "low": low, "high": high}


def _total_error_factors(off: Sequence[float]) -> tuple[float, float]:
    """By how much actual totals were below and above the expected ones; 1 and 1 where that is not known."""
    ratios = [1 / (1 + one) for one in off if one > -0.9]
    return (min([1.0, *ratios]), max([1.0, *ratios]))


def _widen_interval(found: ExpectedOutcome, terms: CampaignTerms, off: Sequence[float]) -> ExpectedOutcome:
    low, high = _total_error_factors(off)
    sales = (found.sales[0], max(0.0, found.sales[1]) * low, found.sales[2] * high)
    more = terms.margin * (sales[2] - found.sales[2])
    less = terms.margin * (max(0.0, found.sales[1]) - sales[1])
    return found._replace(sales=sales, profit=(found.profit[0], found.profit[1] - less, found.profit[2] + more))


def _bounded(who: CampaignCandidates, uplift: float) -> float:
    return min(uplift, float(1 - who.p.mean()) * 0.999)
