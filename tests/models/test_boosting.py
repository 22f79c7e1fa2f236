"""Trees as plain numbers against scikit-learn's own reading of them."""

import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from repurchase.models.boosting import (
    BLOCK_ROWS,
    MAX_LEAVES,
    BoostedModel,
    Tree,
    _binned_columns,
    build_training_set,
    read_trees,
)
from repurchase.models.snapshots import FeatureMatrix

COLUMNS = 7


def table(rows: int, seed: int) -> np.ndarray:
    """Whole numbers, ties with thresholds, and missing values that tell something."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, COLUMNS))
    matrix[:, 1] = rng.integers(0, 5, rows)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    matrix[:, 2] = np.where(rng.random(rows) < 0.5, np.nan, 1.0)
    return matrix


@pytest.fixture(scope="module", params=[2, 5, MAX_LEAVES])
def booster(request: pytest.FixtureRequest) -> HistGradientBoostingClassifier:
    known = table(4_000, seed=0)
    filled = np.nan_to_num(known)
    odds = filled[:, 0] + filled[:, 1] * filled[:, 3] - np.isnan(known[:, 2]) + np.isnan(known[:, 4])
    bought = np.random.default_rng(1).random(4_000) < 1 / (1 + np.exp(-odds))
    with threadpool_limits(1):
        return HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=request.param, max_bins=63, early_stopping=False
        ).fit(known, bought)


@pytest.mark.parametrize("rows", [1, 3_000, BLOCK_ROWS + 1])
def test_adds_up_to_the_same_bits(booster: HistGradientBoostingClassifier, rows: int) -> None:
    asked = table(rows, seed=2)
    with threadpool_limits(1):
        wanted = booster.decision_function(asked)
    trees = read_trees(booster, [f"c{number}" for number in range(COLUMNS)])
    assert trees.total(list(asked.T)).tobytes() == wanted.tobytes()
    again = BoostedModel.from_dict(json.loads(json.dumps(trees.to_dict(), allow_nan=False)))
    assert again == trees
    assert again.total(list(asked.T)).tobytes() == wanted.tobytes()


def test_older_snapshots_count_half_as_much_for_every_horizon() -> None:
    parts = [FeatureMatrix({"a": np.zeros(rows)}) for rows in (2, 3)]
    bought = [np.zeros(2, dtype=bool), np.ones(3, dtype=bool)]
    rows = build_training_set(parts, bought, [0, 60], 30)
    np.testing.assert_allclose(rows.weight, np.array([1.0, 1.0, 0.25, 0.25, 0.25]) / (2.75 / 5))


def test_bins_are_of_equal_size_at_their_means() -> None:
    values = np.append(np.arange(620.0), np.nan)[:, None]
    coarse = _binned_columns(values)
    assert np.isnan(coarse[-1, 0])
    found, size = np.unique(coarse[:-1], return_counts=True)
    assert (len(found), size.min(), size.max()) == (62, 10, 10)
    np.testing.assert_allclose(found, np.arange(62) * 10 + 4.5)


def test_values_at_a_threshold_go_left_and_missing_ones_where_the_tree_sends_them() -> None:
    by_hand = Tree((0, 0), (1.0, 2.0), (True, False), (0b001, 0b010), (10.0, 20.0, 30.0))
    asked = [np.array([0.0, 1.0, np.nextafter(1.0, 2.0), 2.0, 3.0, np.nan])]
    assert BoostedModel(("a",), 0.5, (by_hand,)).total(asked).tolist() == [10.5, 10.5, 20.5, 20.5, 30.5, 10.5]
    other = Tree((0, 0), (1.0, 2.0), (False, False), (0b001, 0b010), (10.0, 20.0, 30.0))
    assert BoostedModel(("a",), 0.5, (other,)).total(asked).tolist()[-1] == 30.5


def test_without_customers_and_without_questions() -> None:
    only_a_leaf = BoostedModel(("a",), 0.25, (Tree((), (), (), (), (1.0,)),))
    assert only_a_leaf.total([np.zeros(0)]).tolist() == []
    assert only_a_leaf.total([np.zeros(3)]).tolist() == [1.25] * 3
