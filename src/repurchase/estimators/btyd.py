"""Buy-till-you-die models: the only module that knows lifetimes.

lifetimes fits; everything a fitted model answers is computed here from its few parameters, in closed form, so that a
saved model is a handful of numbers and carries no customer. All times are in one unit, days in this project.

Symbols, as in the papers: x ``frequency``, t_x ``recency_days``, T ``age_days``; purchases of a living customer are
Poisson with rate ~ Gamma(r, alpha); after a purchase a customer leaves with probability ~ Beta(a, b).

References
----------
.. [1] Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2): BG/NBD.
.. [2] Batislam, Denizel & Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base
   Analysis, IJRM 24(3): MBG/NBD, where a customer can also leave right after the first purchase.
.. [3] Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

import contextlib
import io
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, gammaln, hyp2f1

__all__ = ["FAMILIES", "Btyd", "Family", "GammaGamma", "fit_btyd", "fit_gamma_gamma"]

Floats = npt.NDArray[np.float64]
Family = Literal["bgnbd", "mbgnbd", "nbd"]

FAMILIES: tuple[Family, ...] = ("mbgnbd", "bgnbd")
LEAST_REPEAT_BUYERS = 10
ABSURD = 1e4
"""No parameter of a real log comes near this; a fit that ends there ran away."""


@dataclass(frozen=True)
class Btyd:
    """Purchases and dropout of a customer base, in six numbers.

    Parameters
    ----------
    family : {"bgnbd", "mbgnbd", "nbd"}
        ``nbd`` knows no dropout: the named fallback where neither of the others converges.
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
        quiet = np.exp((self.r + xs) * (np.log(self.alpha + ages) - np.log(self.alpha + ages + horizon_days)))
        return np.asarray(_alive(self, xs, ts, ages) * (1.0 - quiet))

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
        pairs, place = np.unique(np.column_stack([xs, ages]), axis=0, return_inverse=True)
        living = _expected_if_alive(self, pairs[:, 0], pairs[:, 1], horizon_days)
        return _alive(self, xs, ts, ages) * living[place.ravel()]


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


def fit_btyd(
    x: npt.ArrayLike,
    t_x: npt.ArrayLike,
    T: npt.ArrayLike,
    *,
    families: tuple[Family, ...] = FAMILIES,
    start: Btyd | None = None,
) -> Btyd:
    """Fit by maximum likelihood and keep the family that explains the customers best.

    Equal rows are collapsed into weights first: the same parameters in a fraction of the time.

    Parameters
    ----------
    x, t_x, T : array-like of shape (n_customers,)
        Frequency, recency and age, in one time unit.
    families : tuple of str
        Families to try; both have four parameters, so likelihoods compare.
    start : Btyd, optional
        Parameters to search from, such as those of an earlier day; the place of the maximum does not depend on it.

    Returns
    -------
    Btyd
        Always usable: where no family converges, a dropout-free NBD by moments, and the note says so.
    """
    rows, weights = np.unique(np.column_stack(_floats(x, t_x, T)), axis=0, return_counts=True)
    fits = [fit for family in families if (fit := _fit_family(family, rows, weights.astype(np.float64), start))]
    if fits:
        return max(fits, key=lambda fit: fit.log_likelihood)
    return _nbd_by_moments(rows, weights.astype(np.float64))


def fit_gamma_gamma(x: npt.ArrayLike, mean_spend: npt.ArrayLike) -> GammaGamma:
    """Fit money per purchase day to the repeat buyers.

    Parameters
    ----------
    x : array-like of shape (n_customers,)
        Repeat purchase days.
    mean_spend : array-like of shape (n_customers,)
        Mean money over them; customers without a positive one are left out.

    Returns
    -------
    GammaGamma
        Always usable: absurd parameters (FitError inside, p > 1000, q close to 1) give way to a shrunken median.
    """
    xs, means = _floats(x, mean_spend)
    usable = (xs > 0) & np.isfinite(means) & (means > 0)
    xs, means = xs[usable], means[usable]
    if len(xs) >= LEAST_REPEAT_BUYERS:
        rows, weights = np.unique(np.column_stack([xs, means]), axis=0, return_counts=True)
        found = _lifetimes_fit(
            "GammaGammaFitter", 0.0, rows[:, 0], rows[:, 1], weights=weights.astype(np.float64), q_constraint=True
        )
        if found and found["p"] <= 1e3 and found["q"] > 1.05 and np.isfinite(found["v"]):
            fit = GammaGamma(found["p"], found["q"], found["v"])
            return replace(fit, log_likelihood=_gamma_gamma_log_likelihood(fit, xs, means))
    middle = float(np.median(means)) if len(means) else 0.0
    nan = float("nan")
    return GammaGamma(nan, nan, nan, fallback_mean=middle)


def _fit_family(family: Family, rows: Floats, weights: Floats, start: Btyd | None) -> Btyd | None:
    if weights[rows[:, 0] > 0].sum() < LEAST_REPEAT_BUYERS:
        return None
    fitter = {"bgnbd": "BetaGeoFitter", "mbgnbd": "ModifiedBetaGeoFitter"}[family]
    begin = _search_from(start, oldest=float(rows[:, 2].max()))
    for penalty, tolerance, begin_here in (
        (0.0, 1e-7, begin),
        (0.0, 1e-5, None),
        (0.0001, 1e-5, None),
        (0.001, 1e-4, None),
    ):
        options = {"weights": weights, "tol": tolerance, "initial_params": begin_here}
        found = _lifetimes_fit(fitter, penalty, rows[:, 0], rows[:, 1], rows[:, 2], **options)
        if found is None or not _sane(found):
            continue
        a = found["a"] + (2e-6 if abs(found["a"] - 1.0) < 1e-6 else 0.0)
        fit = Btyd(family, found["r"], found["alpha"], a, found["b"])
        note = f"penalised by {penalty}: the plain likelihood did not converge" if penalty else ""
        return replace(fit, log_likelihood=_log_likelihood(fit, rows, weights), note=note)
    return None


def _search_from(start: Btyd | None, *, oldest: float) -> Floats | None:
    """Put parameters where lifetimes searches: logarithms, with time in units of the oldest customer's age."""
    if start is None or start.family == "nbd" or oldest <= 0:
        return None
    return np.log([start.r, start.alpha / oldest, start.a, start.b])


def _sane(found: dict[str, float]) -> bool:
    return all(np.isfinite(value) and 1e-6 < value < ABSURD for value in found.values())


def _lifetimes_fit(fitter: str, penalty: float, *columns: Floats, **options: Any) -> dict[str, float] | None:
    """Run one fit, shielding the process from the warning filters that lifetimes sets and from what it prints."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import lifetimes
        from lifetimes.utils import ConvergenceError

        try:
            fitted = getattr(lifetimes, fitter)(penalizer_coef=penalty).fit(*columns, **options)
        except (ConvergenceError, FloatingPointError, ValueError):
            return None
        return {name: float(value) for name, value in fitted.params_.items()}


def _nbd_by_moments(rows: Floats, weights: Floats) -> Btyd:
    """Match mean and spread of the purchase rate; half a purchase in hand keeps an all-one-time log finite."""
    x, age = rows[:, 0], np.maximum(rows[:, 2], 1.0)
    total_age = max(float(weights @ age), 1.0)
    rate = (float(weights @ x) + 0.5) / total_age
    spread = float(weights @ (x - rate * age) ** 2) - rate * total_age
    r = min(max(rate**2 * float(weights @ age**2) / spread if spread > 0 else 10.0, 0.05), 10.0)
    return Btyd(
        "nbd", r, r / rate, 0.0, 1.0, note="no dropout: neither BG/NBD nor MBG/NBD converged on these customers"
    )


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


def _expected_if_alive(fit: Btyd, x: Floats, T: Floats, horizon_days: float) -> Floats:
    if fit.family == "nbd":
        return np.asarray((fit.r + x) / (fit.alpha + T) * horizon_days)
    shift = 0.0 if fit.family == "bgnbd" else 1.0
    c = fit.a + fit.b + x - 1.0 + shift
    z = horizon_days / (fit.alpha + T + horizon_days)
    # Euler's transformation of 2F1(r+x, b+x+shift; c; z): what is left of the power cancels, and large x stays finite.
    leftover = np.exp((fit.a - 1.0) * np.log1p(-z))
    series = _gauss(c - fit.r - x, c - fit.b - x - shift, c, z)
    return np.asarray(np.maximum(c / (fit.a - 1.0) * (1.0 - leftover * series), 0.0))


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


def _log_likelihood(fit: Btyd, rows: Floats, weights: Floats) -> float:
    """Equation 6 of [1]_ for BG/NBD; MBG/NBD counts the dropout chance after the first purchase too."""
    x, t_x, T = rows.T
    shift = 0.0 if fit.family == "bgnbd" else 1.0
    r, alpha, a, b = fit.r, fit.alpha, fit.a, fit.b
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    stayed = betaln(a, b + x + shift) - betaln(a, b) - (r + x) * np.log(alpha + T)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = betaln(a + 1, b + x - 1.0 + shift) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    left = np.where((x > 0) | (fit.family == "mbgnbd"), left, -np.inf)
    return float(weights @ (rate + np.logaddexp(stayed, left)))


def _gamma_gamma_log_likelihood(fit: GammaGamma, x: Floats, m: Floats) -> float:
    """Equation 1a of [3]_."""
    p, q, v = fit.p, fit.q, fit.v
    terms = (
        gammaln(p * x + q)
        - gammaln(p * x)
        - gammaln(q)
        + q * np.log(v)
        + (p * x - 1) * np.log(m)
        + p * x * np.log(x)
        - (p * x + q) * np.log(x * m + v)
    )
    return float(terms.sum())


def _floats(*columns: npt.ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.ascontiguousarray(column, dtype=np.float64) for column in columns)
