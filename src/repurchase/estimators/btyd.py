"""Buy-till-you-die models: what they say of a customer.

Everything a fitted model answers is computed here from its few parameters, in closed form, so that a saved model is a
handful of numbers and carries no customer. `btyd_fit` finds them. All times are in one unit, days in this project.

Symbols, as in the papers: x ``frequency``, t_x ``recency_days``, T ``age_days``; purchases of a living customer are
Poisson with rate ~ Gamma(r, alpha); after a purchase a customer leaves with probability ~ Beta(a, b).

References
----------
.. [1] Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): BG/NBD.
.. [2] Batislam, Denizel & Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base
   Analysis, IJRM 24(3): MBG/NBD, where a customer can also leave right after the first purchase.
.. [3] Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import hyp2f1

from repurchase.estimators.btyd_rows import Pairs

__all__ = ["FAMILIES", "Btyd", "Family", "GammaGamma", "Outlook", "expected_if_alive"]

Floats = npt.NDArray[np.float64]
Family = Literal["bgnbd", "mbgnbd", "nbd"]

FAMILIES: tuple[Family, ...] = ("mbgnbd", "bgnbd")


@dataclass(frozen=True)
class Btyd:
    """Purchases and dropout of a customer base, in six numbers.

    Parameters
    ----------
    family : {"bgnbd", "mbgnbd", "nbd"}
        ``nbd`` knows no dropout: the named fallback where neither of the others can be fitted.
    r, alpha : float
        Purchase rates ~ Gamma(r, alpha); ``alpha`` in days.
    a, b : float
        Dropout probabilities ~ Beta(a, b); 0 and 1 for ``nbd``.
    log_likelihood : float
        Of all customers, in total; NaN where it was not fitted by likelihood.
    note : str
        How the fit came about, if not plainly.
    """

    family: Family
    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        fields = asdict(self)
        fields["log_likelihood"] = None if np.isnan(self.log_likelihood) else self.log_likelihood
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Btyd":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Btyd
            Equal to the one saved.
        """
        known = float("nan") if fields["log_likelihood"] is None else fields["log_likelihood"]
        return cls(**{**fields, "log_likelihood": known})

    def p_alive(self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike) -> Floats:
        """Probability of still being a customer at T.

        BG/NBD gives every one-time buyer 1, however long ago: never rank churn by it.

        Parameters
        ----------
        x, t_x, T : array-like of shape (n,)
            Frequency, recency and age in days.

        Returns
        -------
        array of shape (n,)
            In [0, 1]. Equation 7 of [1]_ rearranged; [2]_ for MBG/NBD.
        """
        return _alive(self, *_floats(x, t_x, T))

    def p_purchase(self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, horizon_days: float) -> Floats:
        """Probability of at least one purchase in (T, T + h].

        A living customer's rate given the history is Gamma(r + x, alpha + T), and dropout happens only after a
        purchase: P = P(alive) (1 - ((alpha + T) / (alpha + T + h))^(r + x)).

        Parameters
        ----------
        x, t_x, T : array-like of shape (n,)
            Frequency, recency and age in days.
        horizon_days : float
            h, > 0.

        Returns
        -------
        array of shape (n,)
            In [0, 1].
        """
        xs, ts, ages = _floats(x, t_x, T)
        return np.asarray(_alive(self, xs, ts, ages) * _p_if_alive(self, xs, ages, horizon_days))

    def expected_purchases(
        self, x: npt.ArrayLike, t_x: npt.ArrayLike, T: npt.ArrayLike, *, horizon_days: float
    ) -> Floats:
        """Expected purchase days in (T, T + h].

        Parameters
        ----------
        x, t_x, T : array-like of shape (n,)
            Frequency, recency and age in days.
        horizon_days : float
            h, > 0.

        Returns
        -------
        array of shape (n,)
            >= 0. Equation 10 of [1]_; the hypergeometric term once for each distinct pair (x, T).
        """
        xs, ts, ages = _floats(x, t_x, T)
        return Outlook(self, (xs, ts, ages), Pairs(xs, ages)).expected_purchases(horizon_days)


@dataclass(frozen=True)
class GammaGamma:
    """Money per purchase day: gamma around a customer's own mean, which is itself spread over customers.

    Parameters
    ----------
    p, q, v : float
        As in [3]_.
    fallback_mean : float, optional
        Used instead of the formula where the fit gave no usable parameters: the shop's median purchase day.
    log_likelihood : float
        Of all repeat buyers, in total; NaN for the fallback.
    """

    p: float
    q: float
    v: float
    fallback_mean: float | None = None
    log_likelihood: float = float("nan")

    def expected_value(self, x: npt.ArrayLike, mean_spend: npt.ArrayLike) -> Floats:
        """Expected money per purchase day, shrunk from the customer's mean toward the shop's.

        Parameters
        ----------
        x : array-like of shape (n,)
            Repeat purchase days behind the mean; 0 gives the shop's mean.
        mean_spend : array-like of shape (n,)
            Mean over them; ignored where x is 0.

        Returns
        -------
        array of shape (n,)
            Money, > 0. Equation 5 of [3]_.
        """
        xs, means = _floats(x, mean_spend)
        means = np.where(xs > 0, means, 0.0)
        if self.fallback_mean is not None:
            weight = xs / (xs + 2.0)
            return weight * means + (1.0 - weight) * self.fallback_mean
        weight = self.p * xs / (self.p * xs + self.q - 1.0)
        return (1.0 - weight) * self.v * self.p / (self.q - 1.0) + weight * means

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {key: None if value is None or np.isnan(value) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "GammaGamma":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        GammaGamma
            Equal to the one saved.
        """
        numbers = {key: float("nan") if value is None else value for key, value in fields.items()}
        return cls(**{**numbers, "fallback_mean": fields["fallback_mean"]})


class Outlook:
    """What a fit says of customers over several horizons, what these share being computed once.

    Parameters
    ----------
    fit : Btyd
        Fitted.
    rfm : tuple of three arrays of shape (n_customers,)
        Frequency, recency and age in days.
    pairs : Pairs
        Of frequency and age, maybe of more customers than these.
    """

    def __init__(self, fit: Btyd, rfm: tuple[Floats, Floats, Floats], pairs: Pairs) -> None:
        self.fit = fit
        self._rfm = rfm
        self._pairs = pairs

    @cached_property
    def p_alive(self) -> Floats:
        """Probability of still being a customer (see `Btyd.p_alive`)."""
        return _alive(self.fit, *self._rfm)

    def p_purchase(self, horizon_days: float) -> Floats:
        """Probability of a purchase (see `Btyd.p_purchase`).

        Parameters
        ----------
        horizon_days : float
            h, > 0.

        Returns
        -------
        array of shape (n_customers,)
            The same bits.
        """
        return self.p_alive * self.per_pair("p", _p_if_alive, horizon_days)

    def expected_purchases(self, horizon_days: float) -> Floats:
        """Expected purchase days (see `Btyd.expected_purchases`).

        Parameters
        ----------
        horizon_days : float
            h, > 0.

        Returns
        -------
        array of shape (n_customers,)
            The same bits.
        """
        return self.p_alive * self.per_pair("orders", expected_if_alive, horizon_days)

    def per_pair(self, name: str, function: Callable[..., Floats], *further: float) -> Floats:
        """Compute what frequency and age decide, once for each distinct pair of them.

        Parameters
        ----------
        name : str
            What the function stands for.
        function : callable
            Of the fit, frequency, age and ``further``.
        *further : float
            Such as the horizon.

        Returns
        -------
        array of shape (n_customers,)
            One value per customer.
        """
        return self._pairs.look_up((self.fit, name, *further), lambda x, T: function(self.fit, x, T, *further))


def expected_if_alive(fit: Btyd, x: Floats, T: Floats, horizon_days: float) -> Floats:
    """Expected purchase days in (T, T + h] of those who are still customers at T.

    Parameters
    ----------
    fit : Btyd
        Fitted.
    x, T : arrays of shape (n,)
        Frequency and age in days.
    horizon_days : float
        h, > 0.

    Returns
    -------
    array of shape (n,)
        > 0.
    """
    if fit.family == "nbd":
        return np.asarray((fit.r + x) / (fit.alpha + T) * horizon_days)
    shift = 0.0 if fit.family == "bgnbd" else 1.0
    c = fit.a + fit.b + x - 1.0 + shift
    z = horizon_days / (fit.alpha + T + horizon_days)
    # Euler's transformation of 2F1(r+x, b+x+shift; c; z): what is left of the power cancels, and large x stays finite.
    leftover = np.exp((fit.a - 1.0) * np.log1p(-z))
    series = _gauss(c - fit.r - x, c - fit.b - x - shift, c, z)
    expected = c / (fit.a - 1.0) * (1.0 - leftover * series)
    # Dropout only takes away. Where digits are lost, as for a huge r, what would come without it stands in.
    without_dropout = (fit.r + x) / (fit.alpha + T) * horizon_days
    return np.where((expected > 0.0) & (expected <= without_dropout), expected, without_dropout)


def _alive(fit: Btyd, x: Floats, t_x: Floats, T: Floats) -> Floats:
    if fit.family == "nbd":
        return np.ones_like(x)
    with np.errstate(over="ignore", divide="ignore"):
        power = (fit.r + x) * (np.log(fit.alpha + T) - np.log(fit.alpha + t_x))
        chance = fit.b + x - 1.0 if fit.family == "bgnbd" else fit.b + x
        gone = np.exp(power + np.log(fit.a) - np.log(np.where(chance > 0, chance, np.nan)))
    if fit.family == "bgnbd":
        gone = np.where(x > 0, gone, 0.0)
    return np.asarray(1.0 / (1.0 + gone))


def _p_if_alive(fit: Btyd, x: Floats, T: Floats, horizon_days: float) -> Floats:
    return np.asarray(1.0 - np.exp((fit.r + x) * (np.log(fit.alpha + T) - np.log(fit.alpha + T + horizon_days))))


def _gauss(a: Floats, b: Floats, c: Floats, z: Floats) -> Floats:
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


def _floats(*columns: npt.ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in columns)
