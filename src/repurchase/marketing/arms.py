"""Who is reached and who is held out: drawn by lot within strata, so that nobody's choice decides and it can be redone.

A customer's lot is a hash of the id, the campaign's name and the seed. It does not depend on the rows' order nor on who
else is on the list, another campaign gives another lot, and whoever has the campaign file can draw again.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError

__all__ = ["Arms", "draw", "lots", "strata_of"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LEVELS = (3, 2, 1)
LEAST_IN_STRATUM = 5
"""Customers that the smaller group has in every stratum on average, or there are fewer strata."""
LEAST_IN_GROUP = 2
DRAWS = 2**53


class Arms(NamedTuple):
    """A draw.

    Parameters
    ----------
    treated : bool array of shape (n,)
        Whether a customer is to be reached; the others are held out.
    stratum : int array of shape (n,)
        From 0.
    lot : float array of shape (n,)
        The customer's lot, 0 to 1; the lowest of a stratum are held out.
    """

    treated: npt.NDArray[np.bool_]
    stratum: Codes
    lot: Floats


def draw(ids: Iterable[str], *, risk: Floats, value: Floats, n_control: int, campaign: str, seed: int) -> Arms:
    """Hold out customers by lot, as many of each stratum as its size asks for.

    Parameters
    ----------
    ids : iterable of str
        Who; each once.
    risk, value : arrays of shape (n,)
        What the strata are made of.
    n_control : int
        Customers to hold out.
    campaign : str
        Its name.
    seed : int
        Another one gives another draw.

    Returns
    -------
    Arms
        Exactly ``n_control`` are held out.

    Raises
    ------
    InputError
        If a group would have less than two customers.

    Examples
    --------
    >>> arms = draw("abcdef", risk=np.zeros(6), value=np.zeros(6), n_control=2, campaign="May", seed=0)
    >>> int((~arms.treated).sum())
    2
    >>> draw("abc", risk=np.zeros(3), value=np.zeros(3), n_control=3, campaign="May", seed=0)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: 3 customers cannot be parted into 3 held out and 0 reached: each group needs 2.
    """
    lot = lots(ids, campaign=campaign, seed=seed)
    n = len(lot)
    if not LEAST_IN_GROUP <= n_control <= n - LEAST_IN_GROUP:
        raise InputError(
            f"{n:,} customers cannot be parted into {n_control:,} held out and {n - n_control:,} reached: each group "
            f"needs {LEAST_IN_GROUP}."
        )
    stratum = strata_of(risk, value, share=min(n_control, n - n_control) / n)
    order = np.lexsort((lot, stratum))
    size = np.bincount(stratum)
    held = _shared_out(n_control, size)
    place = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
    treated = np.ones(n, dtype=np.bool_)
    treated[order[place < np.repeat(held, size)]] = False
    return Arms(treated, stratum, lot)


def lots(ids: Iterable[str], *, campaign: str, seed: int) -> Floats:
    """Draw every customer's lot.

    Parameters
    ----------
    ids : iterable of str
        Who.
    campaign : str
        Its name.
    seed : int
        Another one gives other lots.

    Returns
    -------
    array of shape (n,)
        Even on 0 to 1, by a keyed hash of the id.

    Examples
    --------
    >>> first, again = lots(["a", "b"], campaign="May", seed=0), lots(["b", "a"], campaign="May", seed=0)
    >>> bool((first == again[::-1]).all()), bool((first == lots(["a", "b"], campaign="June", seed=0)).any())
    (True, False)
    """
    key = hashlib.blake2b(f"{campaign}\n{seed}".encode(), digest_size=32).digest()
    hashed = (hashlib.blake2b(one.encode(), digest_size=8, key=key).digest() for one in ids)
    return np.array([int.from_bytes(one) >> 11 for one in hashed], dtype=np.float64) / DRAWS


def strata_of(risk: Floats, value: Floats, *, share: float) -> Codes:
    """Part customers by risk and by value, each into thirds, or more coarsely where groups would be too small.

    Parameters
    ----------
    risk, value : arrays of shape (n,)
        What is known before the campaign.
    share : float
        Share of the smaller group.

    Returns
    -------
    array of shape (n,)
        Codes from 0 without gaps; equal customers are in the same stratum.
    """
    for levels in LEVELS:
        parts = _level(risk, levels) * levels + _level(value, levels)
        _, code, size = np.unique(parts, return_inverse=True, return_counts=True)
        if size.min() * share >= LEAST_IN_STRATUM:
            break
    stratum: Codes = code.reshape(-1).astype(np.int64)
    return stratum


def _level(values: Floats, levels: int) -> Codes:
    edges = np.quantile(values, np.arange(1, levels) / levels) if len(values) else np.zeros(0)
    level: Codes = np.asarray(np.searchsorted(edges, values, side="left"), dtype=np.int64)
    return level


def _shared_out(total: int, size: Codes) -> Codes:
    """Whole numbers in proportion to ``size`` that add up to ``total``: by largest remainder."""
    exact = total * size / size.sum()
    whole: Codes = np.floor(exact).astype(np.int64)
    first = np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]
    whole[first] += 1
    return whole
