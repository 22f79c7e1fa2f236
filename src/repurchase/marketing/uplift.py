"""Who buys *because* of a contact: learned from past campaigns whose groups were drawn by lot.

One logistic regression says who buys, from what was known before (as it is, with a bend at each quartile, and as
products of two), and from how all of that goes together with the contact. A customer's uplift is what it says with a
contact less what it says without. Effects mostly differ far less than outcomes do, so what tells customers' effects
apart is drawn to zero by a penalty of its own ([1]_, with a ridge in place of the lasso); how hard, is what foretells
outcomes of customers left out best.

Chosen on one half of Hillstrom's customers, where it found more than doubly robust, R- and X-learners did; on all of
them a doubly robust one with trees is as good, and better where generated effects bend (``benchmarks/uplift.md``).
Whether it is used is not taken on trust: `targeting` judges it on customers it has not seen.

References
----------
.. [1] Imai, K., Ratkovic, M. (2013). Estimating treatment effect heterogeneity in randomized program evaluation. Annals
   of Applied Statistics 7, 443-470; eq. 2.1, separate penalties for main effects and interactions.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

__all__ = ["UpliftModel", "fit_uplift"]

Floats = npt.NDArray[np.float64]

LEAST_OUTCOMES = 20
"""Customers of either group with an outcome above zero, below which nothing is learned."""
OF_CUSTOMERS = 0.3
"""Standard deviation that the coefficients of who buys are expected to have, in log odds."""
OF_EFFECTS = (0.055, 0.17, 0.55)
"""Those of whom a contact moves: one of these."""
FOLDS, MOST_TRIED, LEAST_P = 4, 10_000, 1e-12
RIDGE_OF_MONEY = 10.0
"""The same penalty where the outcome, in standard deviations, is no share."""


class _Columns(NamedTuple):
    """What a regression is given of features: they, hinges at their quartiles, squares and products; standardised."""

    middle: Floats
    quartiles: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, x: Floats) -> "_Columns":
        known = [column[~np.isnan(column)] for column in x.T]
        cuts = np.array([np.quantile(one, (0.25, 0.5, 0.75)) if len(one) else np.zeros(3) for one in known])
        bare = cls(cuts[:, 1], cuts.T, np.zeros(1), np.ones(1))
        columns = bare.made(x)
        spread = columns.std(axis=0)
        return bare._replace(mean=columns.mean(axis=0), spread=np.where(spread > 0, spread, 1.0))

    def made(self, x: Floats) -> Floats:
        filled = np.where(np.isnan(x), self.middle, x)
        hinges = [np.maximum(filled - cut, 0.0) for cut in self.quartiles]
        one, other = np.triu_indices(x.shape[1])
        columns = np.hstack([filled, *hinges, filled[:, one] * filled[:, other]])
        return np.asarray((columns - self.mean) / self.spread, dtype=np.float64)


class UpliftModel:
    """A learned uplift.

    Parameters
    ----------
    prepared : object
        Turns features into columns by ``made``.
    regression : object
        Fitted to columns that `_with_contact` makes.
    of_effects : float
        How far effects were expected to differ.
    scale : float
        One of the regression's units in the outcome's.
    """

    def __init__(self, prepared: _Columns, regression: Any, *, of_effects: float, scale: float = 1.0) -> None:
        self.prepared = prepared
        self.regression = regression
        self.of_effects = of_effects
        self.scale = scale

    def predict(self, features: npt.ArrayLike) -> Floats:
        """Say how much each customer's outcome rises because of a contact.

        Parameters
        ----------
        features : array of shape (n, n_features)
            As in training; nan where not known.

        Returns
        -------
        array of shape (n,)
            In the outcome's unit; may be negative.
        """
        columns = self.prepared.made(np.asarray(features, dtype=np.float64))
        sides = [_with_contact(columns, np.full(len(columns), side), self.of_effects) for side in (0.5, -0.5)]
        reached, held = (_told(self.regression, both) for both in sides)
        return (reached - held) * self.scale


def fit_uplift(
    features: npt.ArrayLike, treated: npt.ArrayLike, outcome: npt.ArrayLike, *, weight: npt.ArrayLike | None = None
) -> UpliftModel:
    """Learn whom a contact moves.

    Parameters
    ----------
    features : array of shape (n, n_features)
        Known before the campaign; nan where not known. Long tails are best sent as logarithms.
    treated : bool array of shape (n,)
        Whether the lot put the customer among those to be reached.
    outcome : array of shape (n,)
        What the customer did: 0 and 1, or money (a linear regression then).
    weight : array of shape (n,), optional
        How much each customer counts; default all alike. Of several campaigns see `targeting.even_weights`.

    Returns
    -------
    UpliftModel
        Fitted; the same from the same rows.

    Raises
    ------
    InputError
        If a group is missing or has hardly an outcome.

    Examples
    --------
    >>> fit_uplift([[1.0], [2.0]], [True, True], [0.0, 1.0])
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: An uplift is learned from two groups drawn by lot, each with at least 20 outcomes. ...
    """
    from threadpoolctl import threadpool_limits

    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    least = min(int((y[group] != 0).sum()), int((y[~group] != 0).sum()))
    if least < LEAST_OUTCOMES:
        raise InputError(
            f"An uplift is learned from two groups drawn by lot, each with at least {LEAST_OUTCOMES} outcomes. The "
            f"smaller one has {least}."
        )
    prepared = _Columns.of(x)
    is_share = bool(np.isin(y, (0.0, 1.0)).all() and y.min() < y.max())
    make, scale = (_logistic, 1.0) if is_share else (_linear, float(y.std()) or 1.0)
    columns, side = prepared.made(x), np.where(group, 0.5, -0.5)
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    with threadpool_limits(1):  # several threads on busy cores are many times slower
        of_effects = _best(columns, side, y / scale, weights, make)
        fitted = make().fit(_with_contact(columns, side, of_effects), y / scale, sample_weight=weights)
    return UpliftModel(prepared, fitted, of_effects=of_effects, scale=scale)


def _best(columns: Floats, side: Floats, y: Floats, weight: Floats, make: Callable[[], Any]) -> float:
    """How far effects are to differ: what errs least on customers left out, in folds alike in contact and outcome."""
    order = np.lexsort((y, side))
    kept = order[:: math.ceil(len(y) / MOST_TRIED)]
    fold, y, weight = np.arange(len(kept)) % FOLDS, y[kept], weight[kept]
    found = []
    for of_effects in OF_EFFECTS:
        both, told = _with_contact(columns[kept], side[kept], of_effects), np.empty(len(kept))
        for number in range(FOLDS):
            here = fold == number
            fitted = make().fit(both[~here], y[~here], sample_weight=weight[~here])
            told[here] = _told(fitted, both[here])
        found.append((_error(told, y, weight, is_share=make is _logistic), of_effects))
    return min(found)[1]


def _error(told: Floats, y: Floats, weight: Floats, *, is_share: bool) -> float:
    """Log loss, or mean square."""
    if is_share:
        return float(np.average(-np.log(np.maximum(np.where(y > 0, told, 1 - told), LEAST_P)), weights=weight))
    return float(np.average((y - told) ** 2, weights=weight))


def _told(regression: Any, columns: Floats) -> Floats:
    if hasattr(regression, "predict_proba"):
        return np.asarray(regression.predict_proba(columns)[:, 1], dtype=np.float64)
    return np.asarray(regression.predict(columns), dtype=np.float64)


def _with_contact(columns: Floats, side: Floats, of_effects: float) -> Floats:
    """Columns alone, the contact alone, and both together: half of the effect is added on either side."""
    contact = side[:, None]
    return np.hstack([columns * OF_CUSTOMERS, contact, columns * contact * of_effects])


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=200)


def _linear() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=RIDGE_OF_MONEY)
