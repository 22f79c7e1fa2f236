"""Boosted trees: fitted with scikit-learn, stored and evaluated as plain numbers.

References
----------
.. [1] Lucchese, C., Nardini, F. M., Orlando, S., Perego, R., Tonellotto, N., Venturini, R. (2015). QuickScorer: a fast
   algorithm to rank documents with additive ensembles of regression trees. SIGIR 2015, 73-82.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.features.history import Floats
from repurchase.models.serialization import JsonDataclass
from repurchase.models.snapshots import FeatureMatrix, stack_matrices

MAX_LEAVES = 8
"""As many as there are bits in a byte."""
_LOWEST_UNSET_BIT = np.array([(~bits & -~bits).bit_length() - 1 for bits in range(256)])
"""Lowest bit that a byte leaves unset; of 255, none of a byte."""
_MAX_FLOAT = float(np.finfo(np.float64).max)
"""Stands for infinity, the threshold of a split that only separates missing values from all others."""
BLOCK_ROWS = 32_768
"""Few enough for the ruled out leaves and the columns to stay in the processor's cache from one tree to the next."""


class Tree(NamedTuple):
    """Splits and leaves of one tree; each split rules out the leaves left of it, as bits of a byte."""

    column: tuple[int, ...]
    threshold: tuple[float, ...]
    missing_left: tuple[bool, ...]
    ruled_out: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def table(self) -> Floats:
        """Value of the leftmost leaf that is left, by the byte of leaves that are ruled out."""
        leaf = np.minimum(_LOWEST_UNSET_BIT, len(self.values))
        return np.asarray(np.array([*self.values, np.nan])[leaf])


class _Split(NamedTuple):
    column: int
    threshold: float
    missing_left: bool

    def goes_right(self, values: Floats) -> npt.NDArray[np.bool_]:
        if self.missing_left:
            return values > self.threshold
        left = values <= self.threshold
        return np.logical_not(left, out=left)


@dataclass(frozen=True)
class BoostedModel(JsonDataclass):
    """A sum of trees, and the features they were grown on."""

    columns: tuple[str, ...]
    baseline: float
    trees: tuple[Tree, ...]

    def log_odds(self, features: FeatureMatrix) -> Floats:
        """Log odds of a purchase."""
        return self.total([features[name] for name in self.columns])

    def total(self, columns: Sequence[Floats]) -> Floats:
        """Add up the trees."""
        total = np.full(len(columns[0]), self.baseline)
        for start in range(0, len(total), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            self._add(total[rows], [column[rows] for column in columns])
        return total

    def _add(self, total: Floats, columns: Sequence[Floats]) -> None:
        ruled_out = np.zeros((len(self.trees), len(total)), dtype=np.uint8)
        for split, uses in self._splits.items():
            right = split.goes_right(columns[split.column]).view(np.uint8)
            for tree, leaves in uses:
                ruled_out[tree] |= right * leaves
        for table, leaves_out in zip(self._tables, ruled_out, strict=True):
            total += table.take(leaves_out, mode="clip")

    @cached_property
    def _tables(self) -> list[Floats]:
        return [tree.table for tree in self.trees]

    @cached_property
    def _splits(self) -> dict[_Split, list[tuple[int, np.uint8]]]:
        """Each split once, column by column, with the trees that use it and the leaves it rules out there."""
        uses: dict[_Split, list[tuple[int, np.uint8]]] = {}
        for number, tree in enumerate(self.trees):
            splits = map(_Split, tree.column, tree.threshold, tree.missing_left)
            for split, leaves in zip(splits, tree.ruled_out, strict=True):
                uses.setdefault(split, []).append((number, np.uint8(leaves)))
        return dict(sorted(uses.items()))


def read_trees(booster: Any, columns: Sequence[str]) -> BoostedModel:
    """Copy the trees of a fitted booster."""
    # scikit-learn has no public access to its trees; a test compares the sum with its own, bit for bit.
    inside = vars(booster)
    nodes = [predictor[0].nodes for predictor in inside["_predictors"]]
    return BoostedModel(tuple(columns), float(inside["_baseline_prediction"].ravel()[0]), tuple(map(_read_tree, nodes)))


def _read_tree(nodes: npt.NDArray[Any]) -> Tree:
    questions: list[tuple[int, float, bool, int]] = []
    values: list[float] = []

    def walk(at: int) -> None:
        node = nodes[at]
        if node["is_leaf"]:
            values.append(float(node["value"]))
            return
        before = len(values)
        walk(int(node["left"]))
        left_leaves = (1 << len(values)) - (1 << before)
        walk(int(node["right"]))
        missing_left = bool(node["missing_go_to_left"])
        threshold = min(float(node["num_threshold"]), _MAX_FLOAT)
        questions.append((int(node["feature_idx"]), threshold, missing_left, left_leaves))

    walk(0)
    column, threshold, missing_left, ruled_out = zip(*questions, strict=True) if questions else ((), (), (), ())
    return Tree(column, threshold, missing_left, ruled_out, tuple(values))


_ONLY_FOR_SPEND = (
    *("fading_spend_15d", "fading_spend_60d", "fading_spend_240d", "fading_spend_rate"),
    *("fading_value", "spend_last_window", "spend_window"),
)
_ROWS_FOR_BIN_EDGES = 15_000
_MAX_FEATURE_VALUES = 62
"""Values a feature can take while trees are grown."""
_MIN_ROWS = 200
_MIN_ROWS_PER_CLASS = 20


@dataclass(frozen=True)
class TrainingSet:
    """Customers at earlier snapshots, and their outcomes."""

    features: FeatureMatrix
    bought: npt.NDArray[np.bool_]
    weight: Floats

    @property
    def has_enough_of_both(self) -> bool:
        """Whether there is enough of both outcomes to learn from."""
        n_bought = int(self.bought.sum())
        rarer = min(n_bought, len(self.bought) - n_bought)
        return len(self.bought) >= _MIN_ROWS and rarer >= _MIN_ROWS_PER_CLASS


def build_training_set(
    features: Sequence[FeatureMatrix],
    bought: Sequence[npt.NDArray[np.bool_]],
    ages_days: Sequence[int],
    horizon_days: int,
) -> TrainingSet:
    """Stack the customers of several snapshots."""
    halved = [2.0 ** (-age / horizon_days) for age in ages_days]
    weight = np.repeat(halved, [one.n_customers for one in features])
    return TrainingSet(stack_matrices(features), np.concatenate(bought), weight / weight.mean())


def fit_boosted(rows: TrainingSet, *, random_state: int) -> BoostedModel:
    """Grow a booster."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = _usable_features(rows.features)
    booster = HistGradientBoostingClassifier(
        learning_rate=0.07,
        max_iter=100,
        max_leaf_nodes=MAX_LEAVES,
        max_bins=_MAX_FEATURE_VALUES + 1,
        min_samples_leaf=int(np.clip(len(rows.bought) / 200, 20, 200)),
        l2_regularization=10.0,
        max_features=0.5,
        early_stopping=False,
        random_state=random_state,
    )
    with _one_thread():
        booster.fit(
            _binned_columns(np.column_stack([rows.features[name] for name in columns])),
            rows.bought,
            sample_weight=rows.weight,
        )
    return read_trees(booster, columns)


def _usable_features(features: FeatureMatrix) -> list[str]:
    """Features to grow on: not only about money, not nearly always missing, not the same for all."""
    kept = []
    for name, values in features.items():
        known = values[~np.isnan(values)]
        if not name.startswith(_ONLY_FOR_SPEND) and len(known) > 0.01 * len(values) and known.min() < known.max():
            kept.append(name)
    return kept


def _binned_columns(matrix: Floats) -> Floats:
    """Put values into at most ``_MAX_FEATURE_VALUES`` groups of equal size, each value at its group's mean."""
    # scikit-learn finds bins of weighted rows by one weighted percentile at a time, which took longer than all the
    # trees; of a column with few values it makes bins at once. Predictions are made on the values as they are.
    coarse = matrix.copy()
    for column in coarse.T:
        known = ~np.isnan(column)
        some = column[known][:: max(1, int(known.sum()) // _ROWS_FOR_BIN_EDGES)]
        edges = np.unique(np.quantile(some, np.linspace(0.0, 1.0, _MAX_FEATURE_VALUES + 1)))
        group = np.searchsorted(edges[1:-1], column[known], side="right")
        size = np.bincount(group, minlength=1)
        column[known] = (np.bincount(group, weights=column[known]) / np.maximum(size, 1))[group]
    return coarse


def _one_thread() -> Any:
    # scikit-learn's OpenMP threads spin when cores are busy and get ten times slower; horizons run in parallel instead.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="openmp")
