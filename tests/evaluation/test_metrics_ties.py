"""Sums and ties that no row order can change."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from repurchase.evaluation.metrics import (
    cumulative_total,
    exact_mean,
    exact_sum,
    group_edges,
    group_sums,
    mean_ranks,
    sort_with_tied_means,
)

SCORES = hnp.arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0]))


def test_the_sum_is_exact_where_numpy_is_not() -> None:
    assert exact_sum(np.array([1e16, 1.0, -1e16])) == 1.0
    assert math.isnan(exact_mean(np.array([])))


@given(SCORES, st.randoms(use_true_random=False))
def test_values_of_a_tie_are_shared_whatever_the_row_order(score: np.ndarray, random) -> None:
    values = np.random.default_rng(len(score)).normal(size=len(score))
    order = np.array(random.sample(range(len(score)), len(score)))
    first, second = sort_with_tied_means(score, values), sort_with_tied_means(score[order], values[order])
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    for level in np.unique(score):
        assert first[1][first[0] == level] == pytest.approx(values[score == level].mean())


@given(SCORES)
def test_mean_ranks_are_those_of_scipy(score: np.ndarray) -> None:
    np.testing.assert_array_equal(mean_ranks(score), rankdata(score, method="average") - 1)


@given(SCORES)
def test_the_running_total_ends_at_the_total_and_takes_the_best_first(score: np.ndarray) -> None:
    curve = cumulative_total(score, score)
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(score.sum())
    assert np.all(np.diff(curve, 2) <= 1e-9)


@given(st.integers(0, 500), st.integers(1, 12))
def test_groups_cover_all_and_differ_by_one_at_most(n: int, groups: int) -> None:
    edges = group_edges(n, groups)
    sizes = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, n)
    assert len(sizes) == min(n, groups)
    assert n == 0 or sizes.max() - sizes.min() <= 1
    assert group_sums(np.ones(n), edges).tolist() == sizes.tolist()
