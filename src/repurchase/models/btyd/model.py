"""Fitted buy-till-you-die models: probabilities and expectations, computed once per distinct (frequency, age).

References
----------
.. [1] Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): BG/NBD.
.. [2] Batislam, Denizel & Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base
   Analysis, IJRM 24(3): MBG/NBD, where a customer can also leave right after the first purchase.
.. [3] Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import hyp2f1

from repurchase.features.history import Floats, Ints
from repurchase.i18n.messages import Message

_MAX_KEY = 2**62


def count_equal_rows(*columns: Floats) -> tuple[Floats, Floats]:
    """Count equal rows."""
    sizes = [_size_if_whole(column) for column in columns]
    if any(size is None for size in sizes) or np.prod([float(size or 0) for size in sizes]) > _MAX_KEY:
        return _count_equal_rows_by_sorting(*columns)
    whole = [size or 0 for size in sizes]
    key = columns[0].astype(np.int64)
    for column, size in zip(columns[1:], whole[1:], strict=True):
        key = key * size + column.astype(np.int64)
    key, counts = np.unique(key, return_counts=True)
    rows = np.empty((len(key), len(columns)))
    for index in reversed(range(1, len(columns))):
        key, rows[:, index] = np.divmod(key, whole[index])
    rows[:, 0] = key
    return rows, counts.astype(np.float64)


def distinct_pairs(first: Floats, second: Floats) -> tuple[Floats, Floats, Ints]:
    """Find the distinct pairs of two columns, and where each row finds its own."""
    width, height = _size_if_whole(second), _size_if_whole(first)
    if width is None or height is None or float(width) * height > 1e6 + 4.0 * len(first):
        pairs, index = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
        return pairs[:, 0], pairs[:, 1], index.ravel()
    key = first.astype(np.int64) * width + second.astype(np.int64)
    seen = np.zeros(width * height, dtype=bool)
    seen[key] = True
    found = np.flatnonzero(seen)
    number = np.empty(len(seen), dtype=np.int64)
    number[found] = np.arange(len(found))
    return (found // width).astype(np.float64), (found % width).astype(np.float64), number[key]


class DistinctPairs:
    """Distinct pairs of frequency and age: what depends on them alone is computed once for all customers."""

    def __init__(self, first: Floats, second: Floats) -> None:
        self.first, self.second, self.index = distinct_pairs(first, second)
        self._known: dict[Hashable, Floats] = {}
        self._lock = Lock()

    def rows(self, first: int, last: int) -> "DistinctPairs":
        """Keep customers that are neighbours; computed values are shared."""
        some = object.__new__(DistinctPairs)
        some.first, some.second, some.index = self.first, self.second, self.index[first:last]
        some._known, some._lock = self._known, self._lock
        return some

    def look_up(self, name: Hashable, function: Callable[[Floats, Floats], Floats]) -> Floats:
        """Give each customer the value of its pair."""
        with self._lock:
            if name not in self._known:
                self._known[name] = function(self.first, self.second)
        return self._known[name].take(self.index)


def _size_if_whole(column: Floats) -> int | None:
    """One more than the largest value, where all are whole and none is negative."""
    if not len(column):
        return 1
    if not (column[0] == np.floor(column[0]) and column.min() >= 0 and column.max() < 2**31):  # most often enough
        return None
    return int(column.max()) + 1 if (column == np.floor(column)).all() else None


def _count_equal_rows_by_sorting(*columns: Floats) -> tuple[Floats, Floats]:
    """Count equal rows of any numbers, by sorting."""
    order = np.lexsort(columns[::-1])
    rows = np.column_stack([column[order] for column in columns])
    begins = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
    return rows[begins], np.diff(np.r_[begins, len(rows)]).astype(np.float64)


Family = Literal["bgnbd", "mbgnbd", "nbd"]

FAMILIES: tuple[Family, ...] = ("mbgnbd", "bgnbd")


@dataclass(frozen=True)
class BtydModel:
    """Purchases and dropout of a customer base, in six numbers."""

    family: Family
    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")
    note: Message | None = field(default=None, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        fields = asdict(self)
        fields["log_likelihood"] = None if np.isnan(self.log_likelihood) else self.log_likelihood
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BtydModel":
        """Restore from `to_dict`."""
        known = float("nan") if fields["log_likelihood"] is None else fields["log_likelihood"]
        return cls(**{**fields, "log_likelihood": known})

    def p_alive(self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike) -> Floats:
        """Probability of still being a customer at T.

        BG/NBD gives every one-time buyer 1, however long ago: never rank churn by it.
        """
        return _p_alive(self, *_float_columns(x, t_x, T))

    def p_purchase(self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, horizon_days: float) -> Floats:
        """Probability of at least one purchase in (T, T + h].

        A living customer's rate given the history is Gamma(r + x, alpha + T), and dropout happens only after a
        purchase: P = P(alive) (1 - ((alpha + T) / (alpha + T + h))^(r + x)).
        """
        xs, ts, ages = _float_columns(x, t_x, T)
        return np.asarray(_p_alive(self, xs, ts, ages) * _p_if_alive(self, xs, ages, horizon_days))

    def expected_purchases(
        self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, horizon_days: float
    ) -> Floats:
        """Expected purchase days in (T, T + h]."""
        xs, ts, ages = _float_columns(x, t_x, T)
        return BtydForecast(self, (xs, ts, ages), DistinctPairs(xs, ages)).expected_purchases(horizon_days)


@dataclass(frozen=True)
class GammaGamma:
    """Money per purchase day: gamma around a customer's own mean, which is itself spread over customers."""

    p: float
    q: float
    v: float
    fallback_mean: float | None = None
    log_likelihood: float = float("nan")

    def expected_value(self, x: npt.ArrayLike, mean_spend: npt.ArrayLike) -> Floats:
        """Expected money per purchase day, shrunk from the customer's mean toward the shop's."""
        xs, means = _float_columns(x, mean_spend)
        means = np.where(xs > 0, means, 0.0)
        if self.fallback_mean is not None:
            weight = xs / (xs + 2.0)
            return weight * means + (1.0 - weight) * self.fallback_mean
        weight = self.p * xs / (self.p * xs + self.q - 1.0)
        return (1.0 - weight) * self.v * self.p / (self.q - 1.0) + weight * means

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {key: None if value is None or np.isnan(value) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "GammaGamma":
        """Restore from `to_dict`."""
        numbers = {key: float("nan") if value is None else value for key, value in fields.items()}
        return cls(**{**numbers, "fallback_mean": fields["fallback_mean"]})


class BtydForecast:
    """Predictions of a fitted model over several horizons; what these share is computed once."""

    def __init__(self, fit: BtydModel, rfm: tuple[Floats, Floats, Floats], pairs: DistinctPairs) -> None:
        self.fit = fit
        self._rfm = rfm
        self._pairs = pairs

    @cached_property
    def p_alive(self) -> Floats:
        """Probability of still being a customer (see `Btyd.p_alive`)."""
        return _p_alive(self.fit, *self._rfm)

    def p_purchase(self, horizon_days: float) -> Floats:
        """Probability of a purchase (see `Btyd.p_purchase`)."""
        return self.p_alive * self.per_pair("p", _p_if_alive, horizon_days)

    def expected_purchases(self, horizon_days: float) -> Floats:
        """Expected purchase days (see `Btyd.expected_purchases`)."""
        return self.p_alive * self.per_pair("orders", expected_if_alive, horizon_days)

    def per_pair(self, name: str, function: Callable[..., Floats], *further: float) -> Floats:
        """Compute what frequency and age decide, once for each distinct pair of them."""
        return self._pairs.look_up((self.fit, name, *further), lambda x, T: function(self.fit, x, T, *further))


def expected_if_alive(fit: BtydModel, x: Floats, T: Floats, horizon_days: float) -> Floats:
    """Expected purchase days in (T, T + h] of those who are still customers at T."""
    if fit.family == "nbd":
        return np.asarray((fit.r + x) / (fit.alpha + T) * horizon_days)
    shift = 0.0 if fit.family == "bgnbd" else 1.0
    c = fit.a + fit.b + x - 1.0 + shift
    z = horizon_days / (fit.alpha + T + horizon_days)
    # Euler's transformation of 2F1(r+x, b+x+shift; c; z): what is left of the power cancels, and large x stays finite.
    leftover = np.exp((fit.a - 1.0) * np.log1p(-z))
    series = _hyp2f1(c - fit.r - x, c - fit.b - x - shift, c, z)
    expected = c / (fit.a - 1.0) * (1.0 - leftover * series)
    # Dropout only reduces. Where digits are lost, as for a huge r, the value without dropout is used.
    without_dropout = (fit.r + x) / (fit.alpha + T) * horizon_days
    return np.where((expected > 0.0) & (expected <= without_dropout), expected, without_dropout)


def _p_alive(fit: BtydModel, x: Floats, t_x: Floats, T: Floats) -> Floats:
    if fit.family == "nbd":
        return np.ones_like(x)
    with np.errstate(over="ignore", divide="ignore"):
        power = (fit.r + x) * (np.log(fit.alpha + T) - np.log(fit.alpha + t_x))
        chance = fit.b + x - 1.0 if fit.family == "bgnbd" else fit.b + x
        dropout_odds = np.exp(power + np.log(fit.a) - np.log(np.where(chance > 0, chance, np.nan)))
    if fit.family == "bgnbd":
        dropout_odds = np.where(x > 0, dropout_odds, 0.0)
    return np.asarray(1.0 / (1.0 + dropout_odds))


def _p_if_alive(fit: BtydModel, x: Floats, T: Floats, horizon_days: float) -> Floats:
    return np.asarray(1.0 - np.exp((fit.r + x) * (np.log(fit.alpha + T) - np.log(fit.alpha + T + horizon_days))))


def _hyp2f1(a: Floats, b: Floats, c: Floats, z: Floats) -> Floats:
    """2F1(a, b; c; z), summed term by term where scipy overflows: a large c, for which the terms soon vanish."""
    found = np.asarray(hyp2f1(a, b, c, z))
    lost = ~np.isfinite(found)
    if lost.any():
        al, bl, cl, zl = a[lost], b[lost], c[lost], z[lost]
        term, total = np.ones_like(zl), np.ones_like(zl)
        for n in range(500):
            term = term * (al + n) * (bl + n) / ((cl + n) * (n + 1)) * zl
            total += term
        found[lost] = total
    return found


def _float_columns(*columns: npt.ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in columns)
