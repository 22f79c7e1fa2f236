"""Equal customers counted once: nobody is lost, whatever the numbers look like."""

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.models.btyd.model import DistinctPairs, count_equal_rows, distinct_pairs

Floats = npt.NDArray[np.float64]

RNG = np.random.default_rng(5)
X = RNG.integers(0, 4, 2_000).astype(float)
COLUMNS = {
    "whole days": (X, RNG.integers(0, 30, 2_000).astype(float)),
    "weeks": (X, RNG.integers(0, 30, 2_000) / 7.0),
    "money": (X, RNG.gamma(2.0, 10.0, 2_000).round(1)),
    "some below zero": (X, RNG.integers(-3, 30, 2_000).astype(float)),
    "large and far apart": (X * 1e6, RNG.integers(0, 3, 2_000) * 1e9),
    "half a day at the end": (X, np.r_[np.arange(1_999.0) % 7, 0.5]),
    "one": (np.array([3.0]), np.array([9.0])),
    "nobody": (np.zeros(0), np.zeros(0)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_and_counts_are_those_of_numpy(name: str) -> None:
    columns = (*COLUMNS[name], np.floor(np.abs(COLUMNS[name][1])))
    rows, counts = count_equal_rows(*columns)
    expected, expected_counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)
    assert rows.tolist() == expected.tolist()
    assert counts.tolist() == expected_counts.tolist()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_row_finds_its_own_pair(name: str) -> None:
    first, second = COLUMNS[name]
    some_first, some_second, index = distinct_pairs(first, second)
    assert some_first[index].tolist() == first.tolist()
    assert some_second[index].tolist() == second.tolist()
    assert len(some_first) == len(set(zip(first.tolist(), second.tolist(), strict=True)))


def test_what_a_pair_decides_is_computed_once_for_all_blocks() -> None:
    frequency, age = np.array([3.0, 0.0, 3.0, 1.0]), np.array([9.0, 5.0, 9.0, 5.0])
    asked = []

    def both(first: Floats, second: Floats) -> Floats:
        asked.append(len(first))
        return 100 * first + second

    pairs = DistinctPairs(frequency, age)
    blocks = [pairs.rows(0, 3), pairs.rows(3, 4), pairs]
    assert [block.look_up("both", both).tolist() for block in blocks] == [
        [309.0, 5.0, 309.0],
        [105.0],
        [309.0, 5.0, 309.0, 105.0],
    ]
    assert asked == [3]
