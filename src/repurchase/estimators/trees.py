"""Boosted trees as plain numbers, read many times faster than scikit-learn reads them, to the same last bit.

A tree with at most eight leaves is seven questions. Every question that a customer answers with "right" rules out the
leaves to the left of it; of the leaves that remain, the leftmost is the customer's. So a tree is read without
following branches: one byte per customer and tree collects what is ruled out, question by question, and is then looked
up ([1]_, QuickScorer). Trees that ask the same share the answer.

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

__all__ = ["MOST_LEAVES", "Tree", "Trees", "read_trees"]

Floats = npt.NDArray[np.float64]

MOST_LEAVES = 8
"""As many as there are bits in a byte."""
_LEFTMOST = np.array([(~bits & -~bits).bit_length() - 1 for bits in range(256)])
"""Lowest bit that a byte leaves unset; of 255, none of a byte."""
LARGEST = float(np.finfo(np.float64).max)
"""Stands for infinity, the threshold of a question that only tells missing values from all others."""
ROWS_AT_ONCE = 32_768
"""Few enough for what is ruled out and the columns to stay in the processor's cache from one tree to the next."""


@dataclass(frozen=True)
class Tree:
    """Questions and leaves of one tree.

    Parameters
    ----------
    column : tuple of int
        Which column each question asks about.
    threshold : tuple of float
        Up to which a value goes left.
    missing_left : tuple of bool
        Whether a missing value goes left.
    ruled_out : tuple of int
        Leaves to the left of each question, as bits: those a customer who goes right cannot reach.
    values : tuple of float
        Log odds that each leaf adds, from left to right.
    """

    column: tuple[int, ...]
    threshold: tuple[float, ...]
    missing_left: tuple[bool, ...]
    ruled_out: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def table(self) -> Floats:
        """What the leftmost leaf adds that a byte of ruled out leaves leaves over."""
        leaf = np.minimum(_LEFTMOST, len(self.values))
        return np.asarray(np.array([*self.values, np.nan])[leaf])


class _Question(NamedTuple):
    column: int
    threshold: float
    missing_left: bool

    def right(self, values: Floats) -> npt.NDArray[np.bool_]:
        if self.missing_left:
            return values > self.threshold
        left = values <= self.threshold
        return np.logical_not(left, out=left)


@dataclass(frozen=True)
class Trees:
    """A sum of trees.

    Parameters
    ----------
    baseline : float
        Log odds before any tree.
    trees : tuple of Tree
        In the order in which they are added up.
    """

    baseline: float
    trees: tuple[Tree, ...]

    def total(self, columns: Sequence[Floats]) -> Floats:
        """Add up the trees.

        Parameters
        ----------
        columns : sequence of float arrays of shape (n_customers,)
            Features in the order of the fit; NaN where missing.

        Returns
        -------
        array of shape (n_customers,)
            Log odds, the same bits as scikit-learn's.
        """
        total = np.full(len(columns[0]), self.baseline)
        for start in range(0, len(total), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
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
    def _questions(self) -> dict["_Question", list[tuple[int, np.uint8]]]:
        """Each question once, column by column, with the trees that ask it and the leaves it rules out there."""
        asked: dict[_Question, list[tuple[int, np.uint8]]] = {}
        for number, tree in enumerate(self.trees):
            questions = map(_Question, tree.column, tree.threshold, tree.missing_left)
            for question, leaves in zip(questions, tree.ruled_out, strict=True):
                asked.setdefault(question, []).append((number, np.uint8(leaves)))
        return dict(sorted(asked.items()))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"baseline": self.baseline, "trees": [[list(field) for field in _fields(tree)] for tree in self.trees]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Trees":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Trees
            Adds up to the same bits.
        """
        return cls(fields["baseline"], tuple(Tree(*(tuple(field) for field in tree)) for tree in fields["trees"]))


def read_trees(booster: Any) -> Trees:
    """Take the trees out of a fitted booster.

    Parameters
    ----------
    booster : HistGradientBoostingClassifier
        Of two classes, without categories, at most eight leaves a tree.

    Returns
    -------
    Trees
        Without the booster.
    """
    # scikit-learn has no public door to its trees; a test holds the sum to its own, bit for bit.
    inside = vars(booster)
    nodes = [predictor[0].nodes for predictor in inside["_predictors"]]
    return Trees(float(inside["_baseline_prediction"].ravel()[0]), tuple(_read(tree) for tree in nodes))


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
        threshold = min(float(node["num_threshold"]), LARGEST)
        questions.append((int(node["feature_idx"]), threshold, missing_left, left_leaves))

    walk(0)
    column, threshold, missing_left, ruled_out = zip(*questions, strict=True) if questions else ((), (), (), ())
    return Tree(column, threshold, missing_left, ruled_out, tuple(values))


def _fields(tree: Tree) -> tuple[tuple[Any, ...], ...]:
    return tree.column, tree.threshold, tree.missing_left, tree.ruled_out, tree.values
