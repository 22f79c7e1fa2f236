"""Equal customers counted once: buy-till-you-die models see few distinct rows, however many customers there are."""

from collections.abc import Callable, Hashable
from threading import Lock

import numpy as np
import numpy.typing as npt

__all__ = ["Pairs", "collapse", "distinct_pairs"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LARGEST_KEY = 2**62


def collapse(*columns: Floats) -> tuple[Floats, Floats]:
    """Count equal rows.

    Parameters
    ----------
    *columns : arrays of shape (n,)
        Such as frequency, recency and age.

    Returns
    -------
    rows : array of shape (n_rows, n_columns)
        The distinct ones, sorted by the first column, then the next.
    counts : array of shape (n_rows,)
        How often each occurs, as floats.
    """
    sizes = [_size_if_whole(column) for column in columns]
    if any(size is None for size in sizes) or np.prod([float(size or 0) for size in sizes]) > LARGEST_KEY:
        return _collapse_any(*columns)
    whole = [size or 0 for size in sizes]
    key = columns[0].astype(np.int64)
    for column, size in zip(columns[1:], whole[1:], strict=True):
        key = key * size + column.astype(np.int64)
    key, counts = np.unique(key, return_counts=True)
    rows = np.empty((len(key), len(columns)))
    for place in reversed(range(1, len(columns))):
        key, rows[:, place] = np.divmod(key, whole[place])
    rows[:, 0] = key
    return rows, counts.astype(np.float64)


def distinct_pairs(first: Floats, second: Floats) -> tuple[Floats, Floats, Ints]:
    """Find the distinct pairs of two columns, and where each row finds its own.

    Parameters
    ----------
    first, second : arrays of shape (n,)
        Such as frequency and age.

    Returns
    -------
    first, second : arrays of shape (n_pairs,)
        Each pair once.
    place : array of shape (n,)
        Position of each row's pair.
    """
    width, height = _size_if_whole(second), _size_if_whole(first)
    if width is None or height is None or float(width) * height > 1e6 + 4.0 * len(first):
        pairs, place = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
        return pairs[:, 0], pairs[:, 1], place.ravel()
    key = first.astype(np.int64) * width + second.astype(np.int64)
    seen = np.zeros(width * height, dtype=bool)
    seen[key] = True
    found = np.flatnonzero(seen)
    number = np.empty(len(seen), dtype=np.int64)
    number[found] = np.arange(len(found))
    return (found // width).astype(np.float64), (found % width).astype(np.float64), number[key]


class Pairs:
    """Distinct pairs of frequency and age: what depends on them alone is computed once for all customers.

    Parameters
    ----------
    first, second : arrays of shape (n_customers,)
        Frequency and age.
    """

    def __init__(self, first: Floats, second: Floats) -> None:
        self.first, self.second, self.place = distinct_pairs(first, second)
        self._known: dict[Hashable, Floats] = {}
        self._lock = Lock()

    def rows(self, first: int, last: int) -> "Pairs":
        """Look at customers that stand side by side; what is computed is shared.

        Parameters
        ----------
        first, last : int
            Positions, the second one exclusive.

        Returns
        -------
        Pairs
            Of those customers.
        """
        some = object.__new__(Pairs)
        some.first, some.second, some.place = self.first, self.second, self.place[first:last]
        some._known, some._lock = self._known, self._lock
        return some

    def look_up(self, name: Hashable, function: Callable[[Floats, Floats], Floats]) -> Floats:
        """Give each customer the value of its pair.

        Parameters
        ----------
        name : hashable
            What the function stands for: asked for again, it is not called again.
        function : callable
            Of the distinct pairs' frequency and age.

        Returns
        -------
        array of shape (n_customers,)
            One value per customer.
        """
        with self._lock:
            if name not in self._known:
                self._known[name] = function(self.first, self.second)
        return self._known[name].take(self.place)


def _size_if_whole(column: Floats) -> int | None:
    """One more than the largest value, where all are whole and none is negative."""
    if not len(column):
        return 1
    if not (column[0] == np.floor(column[0]) and column.min() >= 0 and column.max() < 2**31):  # most often enough
        return None
    return int(column.max()) + 1 if (column == np.floor(column)).all() else None


def _collapse_any(*columns: Floats) -> tuple[Floats, Floats]:
    """Count equal rows of any numbers, by sorting."""
    order = np.lexsort(columns[::-1])
    rows = np.column_stack([column[order] for column in columns])
    begins = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
    return rows[begins], np.diff(np.r_[begins, len(rows)]).astype(np.float64)
