"""Groups of whole numbers with long tails: few, named, and none nearly empty."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

__all__ = ["DAY_EDGES", "ORDER_EDGES", "edges_for", "interval_names"]

ORDER_EDGES = (1, 2, 3, 4, 6, 10, 20, 50, 100, 200, 500, 1000)
DAY_EDGES = (0, 8, 15, 31, 61, 91, 181, 366, 731, 1461)


def edges_for(values: pl.Series, candidates: Sequence[int], *, at_most: int = 7) -> list[int]:
    """Choose where groups begin.

    Parameters
    ----------
    values : Series of int
        What to group; none below the first candidate.
    candidates : sequence of int
        Lower edges allowed, rising.
    at_most : int
        Groups wanted at most: the two neighbours with the fewest values between them are joined until that holds.

    Returns
    -------
    list of int
        Lower edges, rising, beginning with that of the smallest value.

    Examples
    --------
    >>> edges_for(pl.Series([1, 1, 1, 2, 2, 3, 7, 40]), ORDER_EDGES, at_most=4)
    [1, 2, 3, 4]
    """
    place = np.searchsorted(np.asarray(candidates), values.to_numpy(), side="right") - 1
    counts = np.bincount(place, minlength=len(candidates))
    used = np.flatnonzero(counts)
    edges = list(candidates[used[0] : used[-1] + 1])
    sizes = [int(size) for size in counts[used[0] : used[-1] + 1]]
    while len(edges) > at_most:
        joined = min(range(1, len(sizes)), key=lambda i: (sizes[i - 1] + sizes[i], -i))
        sizes[joined - 1 : joined + 1] = [sizes[joined - 1] + sizes[joined]]
        del edges[joined]
    return edges


def interval_names(edges: Sequence[int], *, last: int) -> list[str]:
    """Name the groups that begin at the edges.

    Parameters
    ----------
    edges : sequence of int
        Lower edges, rising.
    last : int
        The largest value there is.

    Returns
    -------
    list of str
        Such as "4–5"; the last group is open unless it holds one value.

    Examples
    --------
    >>> interval_names([1, 2, 4, 6], last=60)
    ['1', '2–3', '4–5', '6+']
    """
    closed = [f"{low}" if high == low + 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    return [*closed, f"{edges[-1]}" if last == edges[-1] else f"{edges[-1]}+"]
