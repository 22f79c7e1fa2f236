"""Campaign designs, sample sizes and stratified random assignment.

References
----------
.. [1] Fleiss, J. L., Tytun, A., Ury, H. K. (1980). A simple approximation for calculating sample sizes for comparing
   independent proportions. Biometrics 36, 343-346; without its continuity correction.
.. [2] Fleiss, J. L. (1981). Statistical Methods for Rates and Proportions, 2nd ed. Wiley.
.. [3] Deng, A., Xu, Y., Kohavi, R., Walker, T. (2013). Improving the sensitivity of online controlled experiments by
   utilizing pre-experiment data. WSDM 2013, 123-132.
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.marketing.economics import lowest_where
from repurchase.validation import Check, Nullable, Schema, above, require_options, text_matching

_Floats = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.int64]

_STRATUM_LEVELS = (3, 2, 1)
_MIN_STRATUM_SIZE = 5
"""Customers of the smaller group in every stratum, on average; with fewer, strata are merged."""
_MIN_GROUP_SIZE = 2
_HASH_RANGE = 2**53


class Assignment(NamedTuple):
    """Customers assigned to groups."""

    treated: npt.NDArray[np.bool_]
    stratum: _Codes
    rank: _Floats


def assign_groups(
    ids: Iterable[str], *, risk: _Floats, value: _Floats, n_control: int, campaign: str, seed: int
) -> Assignment:
    """Assign customers to a control group at random, in proportion to the size of each stratum."""
    rank = _random_ranks(ids, campaign=campaign, seed=seed)
    n = len(rank)
    if not _MIN_GROUP_SIZE <= n_control <= n - _MIN_GROUP_SIZE:
        raise InputError(
            f"{n:,} customers cannot be split into a control group of {n_control:,} and {n - n_control:,} to contact: "
            f"each group needs at least {_MIN_GROUP_SIZE}."
        )
    stratum = _build_strata(risk, value, share=min(n_control, n - n_control) / n)
    order = np.lexsort((rank, stratum))
    size = np.bincount(stratum)
    held = _allocate_proportionally(n_control, size)
    place = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    treated = np.ones(n, dtype=np.bool_)
    treated[order[place < np.repeat(held, size)]] = False
    return Assignment(treated, stratum, rank)


def _random_ranks(ids: Iterable[str], *, campaign: str, seed: int) -> _Floats:
    """Rank every customer at random, from 0 to 1, by a keyed hash of the id."""
    key = hashlib.blake2b(f"{campaign}\n{seed}".encode(), digest_size=32).digest()
    hashed = (hashlib.blake2b(customer.encode(), digest_size=8, key=key).digest() for customer in ids)
    return np.array([int.from_bytes(one) >> 11 for one in hashed], dtype=np.float64) / _HASH_RANGE


def _build_strata(risk: _Floats, value: _Floats, *, share: float) -> _Codes:
    """Split customers by risk and by value, each into thirds, or more coarsely where groups would be too small."""
    for levels in _STRATUM_LEVELS:
        crossed = _quantile_level(risk, levels) * levels + _quantile_level(value, levels)
        _, code, size = np.unique(crossed, return_inverse=True, return_counts=True)
        if size.min() * share >= _MIN_STRATUM_SIZE:
            break
    stratum: _Codes = code.reshape(-1).astype(np.int64)
    return stratum


def _quantile_level(values: _Floats, levels: int) -> _Codes:
    edges = np.quantile(values, np.arange(1, levels) / levels) if len(values) else np.zeros(0)
    level: _Codes = np.asarray(np.searchsorted(edges, values, side="left"), dtype=np.int64)
    return level


def _allocate_proportionally(total: int, size: _Codes) -> _Codes:
    """Whole numbers in proportion to ``size`` that add up to ``total``: by largest remainder."""
    exact = total * size / size.sum()
    whole: _Codes = np.floor(exact).astype(np.int64)
    first = np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]
    whole[first] += 1
    return whole


_NORMAL = NormalDist()
_STEPS = 60
MIN_CONTROL_SIZE = 2
_MAX_CUSTOMERS = 2**40
EXPLAINED_SHARE_COUNTED = 0.8
"""Share that is relied on, of what correct scores would explain."""


def variance_explained(p: npt.ArrayLike) -> float:
    """Share of the outcome's variance that the scores are expected to explain."""
    chance = np.asarray(p, dtype=np.float64)
    return explained_variance_share(float(chance.mean()), float((chance**2).mean())) if len(chance) else 0.0


def explained_variance_share(mean: float, mean_square: float) -> float:
    """The same from the mean and the mean square of the probabilities."""
    scatter = mean * (1 - mean)
    return EXPLAINED_SHARE_COUNTED * min(max((mean_square - mean**2) / scatter, 0.0), 1.0) if scatter > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class PowerAnalysis:
    """Sizes of groups that show an effect: share of buyers without contact, power, false alarms, variance explained."""

    base: float
    power: float = 0.8
    alpha: float = 0.05
    explained: float = 0.0

    def power_of(self, effect: float, *, n_treated: float, n_control: float) -> float:
        """Probability that an effect of this size is found statistically significant."""
        base, treated = self.base, self.base + effect
        if not 0 <= treated <= 1 or not 0 <= base <= 1:
            return 0.0
        pooled = (n_treated * treated + n_control * base) / (n_treated + n_control)
        unexplained = math.sqrt(1 - self.explained)
        error_without_effect = unexplained * math.sqrt(pooled * (1 - pooled) * (1 / n_treated + 1 / n_control))
        error = unexplained * math.sqrt(treated * (1 - treated) / n_treated + base * (1 - base) / n_control)
        beyond = abs(effect) - _NORMAL.inv_cdf(1 - self.alpha / 2) * error_without_effect
        return _NORMAL.cdf(beyond / error) if error > 0 else float(beyond > 0)

    def shows(self, effect: float, *, n_treated: float, n_control: float) -> bool:
        """Whether the groups have the wanted power."""
        return self.power_of(effect, n_treated=n_treated, n_control=n_control) >= self.power

    def control_size(self, n: int, *, effect: float) -> int | None:
        """Smallest control group that shows an effect, of a list whose others are all contacted."""
        return _smallest_group(lambda size: self.shows(effect, n_treated=n - size, n_control=size), n // 2)

    def list_size(self, *, effect: float) -> int | None:
        """Shortest list that shows an effect, half of it in the control group."""
        size = _smallest_group(lambda size: self.shows(effect, n_treated=size, n_control=size), _MAX_CUSTOMERS)
        return None if size is None else 2 * size

    def detectable_effect(self, *, n_treated: float, n_control: float) -> float | None:
        """Smallest rise in the share of buyers that two groups can show."""

        def shows(effect: float) -> bool:
            return self.shows(effect, n_treated=n_treated, n_control=n_control)

        highest = 1.0 - self.base
        return lowest_where(shows, 0.0, highest, steps=_STEPS) if shows(highest) else None


def _smallest_group(shows: Callable[[int], bool], most: int) -> int | None:
    """Smallest size up to ``most`` that shows an effect, which larger ones show too."""
    if most < MIN_CONTROL_SIZE or not shows(most):
        return None
    return MIN_CONTROL_SIZE + bisect_left(range(MIN_CONTROL_SIZE, most), x=True, key=shows)


@dataclass(frozen=True, kw_only=True)
class UpliftAssumption:
    """How much more often contacted customers are assumed to buy."""

    uplift: float
    error: float = 0.0
    low: float | None = None
    high: float | None = None
    source: str = "assumed"


_DESIGN_SCHEMA: Mapping[str, Schema] = {
    "name": text_matching(r"(?s).*\S.*", "a name that is not empty: it decides the random assignment"),
    "effect": above(0, 100, "above 0 and below 100 points (2 for two in a hundred)"),
    "control_share": Nullable(
        Check(
            lambda share: 0 <= share < 1,
            "0 or more and below 1, such as 0.2: a control group of everyone leaves nobody to contact",
        )
    ),
}


@dataclass(frozen=True, kw_only=True)
class CampaignDesign:
    """How a campaign is to be measured."""

    campaign: str
    effect: float
    power: float = 0.8
    alpha: float = 0.05
    control_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        options = {"name": self.campaign, "effect": 100 * self.effect, "control_share": self.control_share}
        require_options(options, _DESIGN_SCHEMA)
        require_options({"alpha": self.alpha, "power": self.power}, {"alpha": above(0, 0.5), "power": above(0, 1)})
        if self.power <= self.alpha:
            raise InputError(f"--power must be above --alpha, {self.alpha:g}. Got {self.power:g} instead.")

    @property
    def holds_out(self) -> bool:
        """Whether there is a control group."""
        return self.control_share is None or self.control_share > 0

    def analysis(self, base: float, explained: float) -> PowerAnalysis:
        """Power analysis of customers of whom a share buys without contact."""
        return PowerAnalysis(base=base, power=self.power, alpha=self.alpha, explained=explained)

    def n_control(self, n: int, base: float, explained: float = 0.0) -> int:
        """Size of the control group of a list."""
        if self.control_share is not None:
            return round(self.control_share * n)
        return self.analysis(base, explained).control_size(n, effect=self.effect) or n // 2
