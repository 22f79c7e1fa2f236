"""Boosted trees on behaviour and BTYD outputs, one booster per horizon."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.design import Design, stacked
from repurchase.estimators.trees import MOST_LEAVES, Trees, read_trees

__all__ = ["BoostedHead", "TrainingSet", "fit_boosted", "training_set"]

Floats = npt.NDArray[np.float64]

ONLY_FOR_SPEND = (
    "fading_spend_15d",
    "fading_spend_60d",
    "fading_spend_240d",
    "fading_spend_rate",
    "fading_value",
    "spend_last_window",
    "spend_window",
)
ROWS_FOR_EDGES = 15_000
LEVELS = 62
"""Values a feature can take while trees are grown."""
LEAST_ROWS = 200
LEAST_OF_EACH_CLASS = 20


@dataclass(frozen=True)
class TrainingSet:
    """Customers at earlier cut-offs, and what they did.

    Parameters
    ----------
    design : Design of shape (n_rows, n_features)
        See `design_matrix`.
    bought : bool array of shape (n_rows,)
        Whether there was a purchase day.
    weight : float array of shape (n_rows,)
        How much a row counts; 1 on average.
    """

    design: Design
    bought: npt.NDArray[np.bool_]
    weight: Floats

    @property
    def teaches(self) -> bool:
        """Whether there is enough of both outcomes to learn from."""
        n_bought = int(self.bought.sum())
        rarer = min(n_bought, len(self.bought) - n_bought)
        return len(self.bought) >= LEAST_ROWS and rarer >= LEAST_OF_EACH_CLASS


@dataclass(frozen=True)
class BoostedHead:
    """Trees and the features they were grown on.

    Parameters
    ----------
    columns : tuple of str
        In order.
    trees : Trees
        Fitted.
    """

    columns: tuple[str, ...]
    trees: Trees

    def log_odds(self, design: Design) -> Floats:
        """Log odds of a purchase.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            With at least ``columns``.

        Returns
        -------
        array of shape (n_customers,)
            Finite.
        """
        return self.trees.total([design[name] for name in self.columns])

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"columns": list(self.columns), **self.trees.to_dict()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BoostedHead":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        BoostedHead
            Predicts the same numbers.
        """
        return cls(tuple(fields["columns"]), Trees.from_dict(fields))


def training_set(
    designs: Sequence[Design],
    bought: Sequence[npt.NDArray[np.bool_]],
    ages_days: Sequence[int],
    horizon_days: int,
) -> TrainingSet:
    """Stack the customers of several cut-offs.

    Parameters
    ----------
    designs : sequence of Design
        One per cut-off, latest first.
    bought : sequence of bool arrays
        What their customers did.
    ages_days : sequence of int
        Days by which each cut-off is older than the latest.
    horizon_days : int
        A cut-off that is older by this much counts half.

    Returns
    -------
    TrainingSet
        One row per customer and cut-off.
    """
    weight = np.concatenate(
        [
            np.full(design.n_customers, 2.0 ** (-age / horizon_days))
            for design, age in zip(designs, ages_days, strict=True)
        ]
    )
    return TrainingSet(stacked(designs), np.concatenate(bought), weight / weight.mean())


def fit_boosted(rows: TrainingSet, *, random_state: int) -> BoostedHead:
    """Grow a booster.

    Parameters
    ----------
    rows : TrainingSet
        Earlier cut-offs.
    random_state : int
        Seed of the features each split may use.

    Returns
    -------
    BoostedHead
        Fitted.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = _telling(rows.design)
    booster = HistGradientBoostingClassifier(
        learning_rate=0.07,
        max_iter=100,
        max_leaf_nodes=MOST_LEAVES,
        max_bins=LEVELS + 1,
        min_samples_leaf=int(np.clip(len(rows.bought) / 200, 20, 200)),
        l2_regularization=10.0,
        max_features=0.5,
        early_stopping=False,
        random_state=random_state,
    )
    with _one_thread():
        booster.fit(
            _coarse(np.column_stack([rows.design[name] for name in columns])), rows.bought, sample_weight=rows.weight
        )
    return BoostedHead(tuple(columns), read_trees(booster))


def _telling(design: Design) -> list[str]:
    """Features to grow on: not only about money, not nearly always missing, not the same for all."""
    kept = []
    for name, values in design.items():
        known = values[~np.isnan(values)]
        if not name.startswith(ONLY_FOR_SPEND) and len(known) > 0.01 * len(values) and known.min() < known.max():
            kept.append(name)
    return kept


def _coarse(matrix: Floats) -> Floats:
    """Put values into at most ``LEVELS`` groups of equal size, each value at its group's mean."""
    # scikit-learn finds bins of weighted rows by one weighted percentile at a time, which took longer than all the
    # trees; of a column with few values it makes bins at once. Predictions are made on the values as they are.
    coarse = matrix.copy()
    for column in coarse.T:
        known = ~np.isnan(column)
        some = column[known][:: max(1, int(known.sum()) // ROWS_FOR_EDGES)]
        edges = np.unique(np.quantile(some, np.linspace(0.0, 1.0, LEVELS + 1)))
        group = np.searchsorted(edges[1:-1], column[known], side="right")
        size = np.bincount(group, minlength=1)
        column[known] = (np.bincount(group, weights=column[known]) / np.maximum(size, 1))[group]
    return coarse


def _one_thread() -> Any:
    # scikit-learn's OpenMP threads spin when cores are busy and get ten times slower; heads run side by side instead.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="openmp")
