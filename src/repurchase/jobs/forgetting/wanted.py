"""Who is to be forgotten: under plain ids and under hashes; and who was found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.customers import read_customers
from repurchase.orders.ids import clean_ids
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.settings import Settings

__all__ = ["Wanted", "ids_given", "under_all_names"]

_RUNS = tuple("=+-@＝＋－＠")


@dataclass
class Wanted:
    """Customers under all their names.

    Parameters
    ----------
    ids : frozenset of str
        Plain ids and hashes.
    plain_of : dict of str to str
        Each of them to the plain id.
    found : set of str
        Plain ids that were seen somewhere.
    remaining : list of str
        Lines about places where they may remain.
    """

    ids: frozenset[str]
    plain_of: dict[str, str]
    found: set[str] = field(default_factory=set)
    remaining: list[str] = field(default_factory=list)

    def saw(self, names: Iterable[str]) -> None:
        """Note who was found.

        Parameters
        ----------
        names : iterable of str
            Of ``ids``.
        """
        self.found.update(self.plain_of[name] for name in names)

    def may_remain(self, line: str) -> str:
        """Note a place where they may remain.

        Parameters
        ----------
        line : str
            Which, and why.

        Returns
        -------
        str
            The line.
        """
        self.remaining.append(line)
        return line

    @property
    def plain_ids(self) -> frozenset[str]:
        """Ids as cleaning spells them."""
        return frozenset(self.plain_of.values())

    @property
    def in_cells(self) -> dict[str, str]:
        """How ids may stand in lists: behind an apostrophe too, if they would run as formulas."""
        return {**{one: one for one in self.ids}, **{f"'{one}": one for one in self.ids if one.startswith(_RUNS)}}


def ids_given(customers: Iterable[str], from_file: Path | None, settings: Settings) -> frozenset[str]:
    """Read who is named.

    Parameters
    ----------
    customers : iterable of str
        Ids or e-mail addresses.
    from_file : Path or None
        A customer list with more ids.
    settings : Settings
        ``columns`` may name the list's column of ids.

    Returns
    -------
    frozenset of str
        As cleaning spells them.

    Raises
    ------
    InputError
        If nobody is named, or an id is empty.
    """
    given = list(customers)
    ids = clean_ids(pl.Series(given, dtype=pl.String()))
    if ids.null_count():
        raise InputError(f"{ids.null_count()} of {len(given)} ids are empty. Name each customer to forget.")
    listed = read_customers(from_file, told=settings.columns).rows["customer_id"].to_list() if from_file else []
    if not given and not listed:
        raise InputError("nobody is named. Give ids, or a list with --from-file.")
    return frozenset([*ids.to_list(), *listed])


def under_all_names(ids: frozenset[str], records: Mapping[Path, Mapping[str, Any]]) -> Wanted:
    """Hash ids with the key of each record that has hashes.

    Parameters
    ----------
    ids : frozenset of str
        As cleaning spells them.
    records : mapping of Path to mapping
        Records of scores and of lists.

    Returns
    -------
    Wanted
        Nobody found yet.
    """
    plain_of = {one: one for one in ids}
    for path, record in records.items():
        if mark := record.get("pseudonyms"):
            plain = sorted(ids)
            hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), key_of(mark, what=str(path)))
            plain_of.update({name: one for name, one in zip(hashed, plain, strict=True) if name not in plain_of})
    return Wanted(frozenset(plain_of), plain_of)
