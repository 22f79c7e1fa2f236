"""Who buys *because* of a contact: learned from past campaigns whose groups were drawn by lot.

A doubly robust learner ([1]_): outcomes with and without a contact are predicted by models that have not seen the
customer (cross-fitting), each customer's effect is made of them and of what the customer did,

    effect_i = m1(x_i) - m0(x_i) + t_i (y_i - m1(x_i)) / e - (1 - t_i) (y_i - m0(x_i)) / (1 - e)

with t whether the lot reached the customer and e the lot's share; and this noisy but unbiased effect is then learned
from what was known before. The lot is known, so nothing depends on the outcome models being right, and
ridge regressions do.
Effects differ far less than outcomes do, so their learners are small too: a ridge regression and a few shallow boosted
trees, averaged.

References
----------
.. [1] Kennedy, E. H. (2023). Towards optimal doubly robust estimation of heterogeneous causal effects. Electronic
   Journal of Statistics 17, 3008-3049; algorithm 1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

__all__ = ["UpliftModel", "fit_uplift"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FOLDS = 3
LEAST_OUTCOMES = 20
"""Customers of either group with an outcome above zero, below which nothing is learned."""
RIDGE = 100.0


class UpliftModel:
    """A learned uplift.

    Parameters
    ----------
    parts : list
        Fitted regressors whose mean is the uplift.
    """

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

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
        x = np.asarray(features, dtype=np.float64)
        return np.asarray(np.mean([part.predict(x) for part in self.parts], axis=0), dtype=np.float64)


def fit_uplift(
    features: npt.ArrayLike,
    treated: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    propensity: float | None = None,
    random_state: int = 0,
) -> UpliftModel:
    """Learn whom a contact moves.

    Parameters
    ----------
    features : array of shape (n, n_features)
        Known before the campaign; nan where not known.
    treated : bool array of shape (n,)
        Whether the lot put the customer among those to be reached.
    outcome : array of shape (n,)
        What the customer did: 0 and 1, or money.
    propensity : float, optional
        The lot's share of those to be reached; default the share found.
    random_state : int
        Of folds and trees.

    Returns
    -------
    UpliftModel
        Fitted.

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
    x, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    group = np.asarray(treated, dtype=np.bool_)
    least = min(int((y[group] != 0).sum()), int((y[~group] != 0).sum()))
    if least < LEAST_OUTCOMES:
        raise InputError(
            f"An uplift is learned from two groups drawn by lot, each with at least {LEAST_OUTCOMES} outcomes. The "
            f"smaller one has {least}."
        )
    share = float(group.mean()) if propensity is None else propensity
    effects = _effects(x, group, y, share, random_state)
    return UpliftModel([_linear().fit(x, effects), _trees(len(y), random_state).fit(x, effects)])


def _effects(x: Floats, group: Flags, y: Floats, share: float, random_state: int) -> Floats:
    fold = np.random.default_rng(random_state).permutation(len(y)) % FOLDS
    with_contact, without = np.zeros(len(y)), np.zeros(len(y))
    for number in range(FOLDS):
        here = fold == number
        for side, predicted in ((True, with_contact), (False, without)):
            seen = ~here & (group == side)
            predicted[here] = _linear().fit(x[seen], y[seen]).predict(x[here])
    left = np.where(group, (y - with_contact) / share, -(y - without) / (1 - share))
    return np.asarray(with_contact - without + left)


def _linear() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(filled, StandardScaler(), Ridge(alpha=RIDGE))


def _trees(n: int, random_state: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=60,
        learning_rate=0.06,
        max_leaf_nodes=6,
        min_samples_leaf=max(20, n // 60),
        l2_regularization=10.0,
        early_stopping=False,
        random_state=random_state,
    )
