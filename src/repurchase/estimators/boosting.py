"""Gradient boosting on behaviour and BTYD outputs, one head per horizon."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.estimators.blend import expit, logit
from repurchase.estimators.btyd import Btyd
from repurchase.estimators.cuts import Cut

__all__ = ["MEMBERS", "Head", "TrainingSet", "design_matrix", "grow", "p_purchase", "training_set"]

Floats = npt.NDArray[np.float64]

MEMBERS = 3
"""Boosters in a head, each grown on its own sample of rows and columns."""
ROWS_PER_MEMBER = 50_000
LEAST_ROWS = 200
LEAST_OF_EACH_CLASS = 20


@dataclass(frozen=True)
class TrainingSet:
    """Customers at earlier cut-offs, and what they did.

    Parameters
    ----------
    design : DataFrame of shape (n_rows, n_features)
        See `design_matrix`.
    bought : bool array of shape (n_rows,)
        Whether there was a purchase day.
    weight : float array of shape (n_rows,)
        How much a row counts.
    """

    design: pl.DataFrame
    bought: npt.NDArray[np.bool_]
    weight: Floats

    @property
    def teaches(self) -> bool:
        """Whether there is enough of both outcomes to learn from."""
        n_bought = int(self.bought.sum())
        rarer = min(n_bought, len(self.bought) - n_bought)
        return len(self.bought) >= LEAST_ROWS and rarer >= LEAST_OF_EACH_CLASS


@dataclass(frozen=True)
class Head:
    """The boosters of one horizon.

    Parameters
    ----------
    columns : tuple of str
        Features, in the order they were grown on.
    members : tuple of HistGradientBoostingClassifier
        Averaged on the scale of log odds.
    """

    columns: tuple[str, ...]
    members: tuple[Any, ...]


def design_matrix(cut: Cut, btyd: Btyd, *, horizon_days: int) -> pl.DataFrame:
    """Put behaviour and what BTYD expects side by side.

    Parameters
    ----------
    cut : Cut
        Customers.
    btyd : Btyd
        Fitted on what was known at the cut, or earlier.
    horizon_days : int
        Days ahead.

    Returns
    -------
    DataFrame of shape (n_customers, n_features)
        Float columns.
    """
    p = btyd.p_purchase(*cut.rfm, horizon_days=horizon_days)
    return cut.features.with_columns(
        pl.Series("btyd_p_alive", btyd.p_alive(*cut.rfm)),
        pl.Series("btyd_logit", logit(p)),
        pl.Series("btyd_orders", btyd.expected_purchases(*cut.rfm, horizon_days=horizon_days)),
    )


def training_set(designs: Sequence[pl.DataFrame], bought: Sequence[npt.NDArray[np.bool_]]) -> TrainingSet:
    """Stack the customers of several cut-offs.

    Parameters
    ----------
    designs : sequence of DataFrame
        One per cut-off, latest first.
    bought : sequence of bool arrays
        What their customers did.

    Returns
    -------
    TrainingSet
        Every cut-off counts the same however many customers it has. Features that are nearly always missing, or
        the same for all, are left out.
    """
    most = max(len(design) for design in designs)
    weight = np.concatenate([np.full(len(design), most / len(design)) for design in designs])
    stacked = pl.concat(designs)
    return TrainingSet(stacked.select(_telling(stacked)), np.concatenate(bought), weight)


def grow(rows: TrainingSet, *, member: int, random_state: int) -> Any:
    """Grow one booster of a head.

    Parameters
    ----------
    rows : TrainingSet
        Earlier cut-offs.
    member : int
        Which of the ``MEMBERS``; each sees its own sample of rows and columns.
    random_state : int
        Seed.

    Returns
    -------
    HistGradientBoostingClassifier
        Fitted.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng([random_state, member])
    size = min(len(rows.bought), ROWS_PER_MEMBER)
    sample = np.sort(rng.choice(len(rows.bought), size, replace=False))
    booster = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=120,
        max_leaf_nodes=12,
        min_samples_leaf=max(20, size // 500),
        l2_regularization=10.0,
        max_features=0.4,
        early_stopping=False,
        random_state=random_state + member,
    )
    return booster.fit(rows.design.to_numpy()[sample], rows.bought[sample], sample_weight=rows.weight[sample])


def p_purchase(head: Head, design: pl.DataFrame) -> Floats:
    """Average the members of a head.

    Parameters
    ----------
    head : Head
        Fitted.
    design : DataFrame of shape (n_customers, n_features)
        See `design_matrix`.

    Returns
    -------
    array of shape (n_customers,)
        Probability, from the mean of the logits.
    """
    matrix = design.select(head.columns).to_numpy()
    logits = np.zeros(len(matrix))
    for member in head.members:
        logits += member.decision_function(matrix)
    return expit(logits / len(head.members))


def _telling(design: pl.DataFrame) -> list[str]:
    known = design.select(pl.all().is_not_nan().mean()).row(0)
    spread = design.select((pl.all().fill_nan(None).max() - pl.all().fill_nan(None).min()).fill_null(0.0)).row(0)
    return [
        name for name, share, width in zip(design.columns, known, spread, strict=True) if share > 0.01 and width > 0
    ]
