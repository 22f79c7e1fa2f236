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
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

_Floats = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.int64]

_STRATUM_LEVELS = (3, 2, 1)
_MIN_STRATUM_SIZE = 5
"""Customers that the smaller group has in every stratum on average, or there are fewer strata."""
_MIN_GROUP_SIZE = 2
_HASH_RANGE = 2**53


class Assignment(NamedTuple):
    """A draw."""

    treated: npt.NDArray[np.bool_]
    stratum: _Codes
    lot: _Floats


def assign_groups(
    ids: Iterable[str], *, risk: _Floats, value: _Floats, n_control: int, campaign: str, seed: int
) -> Assignment:
    """Hold out customers by lot, as many of each stratum as its size asks for."""
    lot = _random_ranks(ids, campaign=campaign, seed=seed)
    n = len(lot)
    if not _MIN_GROUP_SIZE <= n_control <= n - _MIN_GROUP_SIZE:
        raise InputError(
            f"{n:,} customers cannot be parted into {n_control:,} held out and {n - n_control:,} reached: each group "
            f"needs {_MIN_GROUP_SIZE}."
        )
    stratum = _build_strata(risk, value, share=min(n_control, n - n_control) / n)
    order = np.lexsort((lot, stratum))
    size = np.bincount(stratum)
    held = _allocate_proportionally(n_control, size)
    place = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    treated = np.ones(n, dtype=np.bool_)
    treated[order[place < np.repeat(held, size)]] = False
    return Assignment(treated, stratum, lot)


def _random_ranks(ids: Iterable[str], *, campaign: str, seed: int) -> _Floats:
    """Draw every customer's lot."""
    key = hashlib.blake2b(f"{campaign}\n{seed}".encode(), digest_size=32).digest()
    hashed = (hashlib.blake2b(one.encode(), digest_size=8, key=key).digest() for one in ids)
    return np.array([int.from_bytes(one) >> 11 for one in hashed], dtype=np.float64) / _HASH_RANGE


def _build_strata(risk: _Floats, value: _Floats, *, share: float) -> _Codes:
    """Part customers by risk and by value, each into thirds, or more coarsely where groups would be too small."""
    for levels in _STRATUM_LEVELS:
        parts = _quantile_level(risk, levels) * levels + _quantile_level(value, levels)
        _, code, size = np.unique(parts, return_inverse=True, return_counts=True)
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
"""Of what right scores would explain, the share that is counted on."""


def variance_explained(p: npt.ArrayLike) -> float:
    """Say which share of the outcome's variance the scores are counted on to explain."""
    chance = np.asarray(p, dtype=np.float64)
    return explained_variance_share(float(chance.mean()), float((chance**2).mean())) if len(chance) else 0.0


def explained_variance_share(mean: float, mean_square: float) -> float:
    """Say the same of two moments."""
    scatter = mean * (1 - mean)
    return EXPLAINED_SHARE_COUNTED * min(max((mean_square - mean**2) / scatter, 0.0), 1.0) if scatter > 0 else 0.0


def power_of(
    effect: float, *, base: float, n_treated: float, n_control: float, alpha: float = 0.05, explained: float = 0.0
) -> float:
    """Probability of seeing an effect that is there."""
    reached = base + effect
    if not 0 <= reached <= 1 or not 0 <= base <= 1:
        return 0.0
    pooled = (n_treated * reached + n_control * base) / (n_treated + n_control)
    left = math.sqrt(1 - explained)
    none = left * math.sqrt(pooled * (1 - pooled) * (1 / n_treated + 1 / n_control))
    some = left * math.sqrt(reached * (1 - reached) / n_treated + base * (1 - base) / n_control)
    beyond = abs(effect) - _NORMAL.inv_cdf(1 - alpha / 2) * none
    return _NORMAL.cdf(beyond / some) if some > 0 else float(beyond > 0)


def control_size(
    n: int, *, effect: float, base: float, power: float = 0.8, alpha: float = 0.05, explained: float = 0.0
) -> int | None:
    """Smallest control group that shows an effect, of a list whose others are all reached."""
    low, high = MIN_CONTROL_SIZE, n // 2

    def shows(size: int) -> bool:
        groups = {"n_treated": n - size, "n_control": size}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    if high < low or not shows(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return low


def required_list_size(
    *, effect: float, base: float, power: float = 0.8, alpha: float = 0.05, explained: float = 0.0
) -> int | None:
    """Shortest list that shows an effect, half of it held out."""
    low, high = MIN_CONTROL_SIZE, _MAX_CUSTOMERS

    def shows(half: int) -> bool:
        groups = {"n_treated": half, "n_control": half}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    if not shows(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return 2 * low


def detectable_effect(
    *,
    base: float,
    n_treated: float,
    n_control: float,
    power: float = 0.8,
    alpha: float = 0.05,
    explained: float = 0.0,
) -> float | None:
    """Smallest rise in the share of buyers that two groups can show."""

    def shows(effect: float) -> bool:
        groups = {"n_treated": n_treated, "n_control": n_control}
        return power_of(effect, base=base, alpha=alpha, explained=explained, **groups) >= power

    low, high = 0.0, 1.0 - base
    if not shows(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


@dataclass(frozen=True, kw_only=True)
class UpliftAssumption:
    """How much more often those reached are taken to buy."""

    uplift: float
    error: float = 0.0
    low: float | None = None
    high: float | None = None
    source: str = "assumed"

    @property
    def is_measured(self) -> bool:
        """Whether past campaigns say so."""
        return self.low is not None


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
        if not self.campaign.strip():
            raise InputError("--name must not be empty: the campaign's name decides the lot.")
        if not 0 < self.effect < 1:
            raise InputError(
                f"--effect must be above 0 and below 100 points (2 for two in a hundred). Got {100 * self.effect:g}."
            )
        if not 0 < self.alpha < 0.5:
            raise InputError(f"--alpha must be above 0 and below 0.5. Got {self.alpha:g} instead.")
        if not self.alpha < self.power < 1:
            raise InputError(f"--power must be above --alpha and below 1. Got {self.power:g} instead.")
        share = self.control_share
        if share is not None and share >= 1:
            raise InputError(
                f"--control-share {share:g}: a control group of everyone leaves nobody to reach. Give a share below 1, "
                "such as 0.2."
            )
        if share is not None and not share >= 0:
            raise InputError(f"--control-share must be 0 or more and below 1. Got {share:g} instead.")

    @property
    def holds_out(self) -> bool:
        """Whether there is a control group."""
        return self.control_share is None or self.control_share > 0

    def n_control(self, n: int, base: float, explained: float = 0.0) -> int:
        """Say how many of a list to hold out."""
        if self.control_share is not None:
            return round(self.control_share * n)
        told = {"effect": self.effect, "base": base, "power": self.power, "alpha": self.alpha, "explained": explained}
        return control_size(n, **told) or n // 2
