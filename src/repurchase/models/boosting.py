"""Boosted trees: fitted with scikit-learn, stored and evaluated as plain numbers.

References
----------
.. [1] Lucchese, C., Nardini, F. M., Orlando, S., Perego, R., Tonellotto, N., Venturini, R. (2015). QuickScorer: a fast
   algorithm to rank documents with additive ensembles of regression trees. SIGIR 2015, 73-82.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from repurchase.features.history import Floats
from repurchase.models.snapshots import FeatureMatrix, stack_matrices
from typing import Any
from typing import NamedTuple
import numpy as np
import numpy.typing as npt


MAX_LEAVES = 8
"""As many as there are bits in a byte."""
_LOWEST_UNSET_BIT = np.array([(~bits & -~bits).bit_length() - 1 for bits in range(256)])
"""Lowest bit that a byte leaves unset; of 255, none of a byte."""
_MAX_FLOAT = float(np.finfo(np.float64).max)
"""Stands for infinity, the threshold of a question that only tells missing values from all others."""
BLOCK_ROWS = 32_768
"""Few enough for what is ruled out and the columns to stay in the processor's cache from one tree to the next."""


@dataclass(frozen=True)
class Tree:
    """Questions and leaves of one tree."""

    column: tuple[int, ...]
    threshold: tuple[float, ...]
    missing_left: tuple[bool, ...]
    ruled_out: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def table(self) -> Floats:
        """What the leftmost leaf adds that a byte of ruled out leaves leaves over."""
        leaf = np.minimum(_LOWEST_UNSET_BIT, len(self.values))
        return np.asarray(np.array([*self.values, np.nan])[leaf])


class _Split(NamedTuple):
    column: int
    threshold: float
    missing_left: bool

    def right(self, values: Floats) -> npt.NDArray[np.bool_]:
        if self.missing_left:
            return values > self.threshold
        left = values <= self.threshold
        return np.logical_not(left, out=left)


@dataclass(frozen=True)
class TreeEnsemble:
    """A sum of trees."""

    baseline: float
    trees: tuple[Tree, ...]

    def total(self, columns: Sequence[Floats]) -> Floats:
        """Add up the trees."""
        total = np.full(len(columns[0]), self.baseline)
        for start in range(0, len(total), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            self._add(total[rows], [column[rows] for column in columns])
        return total

    def _add(self, total: Floats, columns: Sequence[Floats]) -> None:
        gone = np.zeros((len(self.trees), len(total)), dtype=np.uint8)
        for question, askers in self._questions.items():
            right = question.right(columns[question.column]).view(np.uint8)
            for tree, leaves in askers:
                gone[tree] |= right * leaves
        for table, ruled_out in zip(self._tables, gone, strict=True):
            total += table.take(ruled_out, mode="clip")

    @cached_property
    def _tables(self) -> list[Floats]:
        return [tree.table for tree in self.trees]

    @cached_property
    def _questions(self) -> dict["_Split", list[tuple[int, np.uint8]]]:
        """Each question once, column by column, with the trees that ask it and the leaves it rules out there."""
        asked: dict[_Split, list[tuple[int, np.uint8]]] = {}
        for number, tree in enumerate(self.trees):
            questions = map(_Split, tree.column, tree.threshold, tree.missing_left)
            for question, leaves in zip(questions, tree.ruled_out, strict=True):
                asked.setdefault(question, []).append((number, np.uint8(leaves)))
        return dict(sorted(asked.items()))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {"baseline": self.baseline, "trees": [[list(field) for field in _fields(tree)] for tree in self.trees]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "TreeEnsemble":
        """Restore from `to_dict`."""
        return cls(fields["baseline"], tuple(Tree(*(tuple(field) for field in tree)) for tree in fields["trees"]))


def read_trees(booster: Any) -> TreeEnsemble:
    """Take the trees out of a fitted booster."""
    # scikit-learn has no public door to its trees; a test holds the sum to its own, bit for bit.
    inside = vars(booster)
    nodes = [predictor[0].nodes for predictor in inside["_predictors"]]
    return TreeEnsemble(float(inside["_baseline_prediction"].ravel()[0]), tuple(_read(tree) for tree in nodes))


def _read(nodes: npt.NDArray[Any]) -> Tree:
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


def _fields(tree: Tree) -> tuple[tuple[Any, ...], ...]:
    return tree.column, tree.threshold, tree.missing_left, tree.ruled_out, tree.values


_ONLY_FOR_SPEND = (
    "fading_spend_15d",
    "fading_spend_60d",
    "fading_spend_240d",
    "fading_spend_rate",
    "fading_value",
    "spend_last_window",
    "spend_window",
)
_ROWS_FOR_BIN_EDGES = 15_000
_MAX_FEATURE_VALUES = 62
"""Values a feature can take while trees are grown."""
_MIN_ROWS = 200
_MIN_ROWS_PER_CLASS = 20


@dataclass(frozen=True)
class TrainingSet:
    """Customers at earlier cut-offs, and what they did."""

    design: FeatureMatrix
    bought: npt.NDArray[np.bool_]
    weight: Floats

    @property
    def has_enough_of_both(self) -> bool:
        """Whether there is enough of both outcomes to learn from."""
        n_bought = int(self.bought.sum())
        rarer = min(n_bought, len(self.bought) - n_bought)
        return len(self.bought) >= _MIN_ROWS and rarer >= _MIN_ROWS_PER_CLASS


@dataclass(frozen=True)
class BoostedModel:
    """Trees and the features they were grown on."""

    columns: tuple[str, ...]
    trees: TreeEnsemble

    def log_odds(self, design: FeatureMatrix) -> Floats:
        """Log odds of a purchase."""
        return self.trees.total([design[name] for name in self.columns])

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {"columns": list(self.columns), **self.trees.to_dict()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BoostedModel":
        """Restore from `to_dict`."""
        return cls(tuple(fields["columns"]), TreeEnsemble.from_dict(fields))


def build_training_set(
    designs: Sequence[FeatureMatrix],
    bought: Sequence[npt.NDArray[np.bool_]],
    ages_days: Sequence[int],
    horizon_days: int,
) -> TrainingSet:
    """Stack the customers of several cut-offs."""
    weight = np.concatenate(
        [
            np.full(design.n_customers, 2.0 ** (-age / horizon_days))
            for design, age in zip(designs, ages_days, strict=True)
        ]
    )
    return TrainingSet(stack_matrices(designs), np.concatenate(bought), weight / weight.mean())


def fit_boosted(rows: TrainingSet, *, random_state: int) -> BoostedModel:
    """Grow a booster."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = _usable_features(rows.design)
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
            _binned_columns(np.column_stack([rows.design[name] for name in columns])), rows.bought, sample_weight=rows.weight
        )
    return BoostedModel(tuple(columns), read_trees(booster))


def _usable_features(design: FeatureMatrix) -> list[str]:
    """Features to grow on: not only about money, not nearly always missing, not the same for all."""
    kept = []
    for name, values in design.items():
        known = values[~np.isnan(values)]
        if not name.startswith(_ONLY_FOR_SPEND) and len(known) > 0.01 * len(values) and known.min() < known.max():
            kept.append(name)
    return kept


def _binned_columns(matrix: Floats) -> Floats:
    """Put values into at most ``LEVELS`` groups of equal size, each value at its group's mean."""
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
    # scikit-learn's OpenMP threads spin when cores are busy and get ten times slower; heads run side by side instead.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="openmp")
