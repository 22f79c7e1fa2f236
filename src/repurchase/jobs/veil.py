"""Outputs that name customers by keyed hashes only: scores, set-aside rows, and the record of the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from repurchase.orders.ids import clean_ids
from repurchase.orders.pseudonyms import IdKey, key_mark, pseudonymise, pseudonymise_rows, read_key
from repurchase.settings import Settings
from repurchase.tables import scores_table

__all__ = ["Veil", "aside_column", "veil_of"]


_SCORES = scores_table([1]).names
_PER_HORIZON = {name.removesuffix("_1d") for name in _SCORES if name.endswith("_1d")}
_OURS = {name for name in _SCORES if not name.endswith("_1d")}


@dataclass(frozen=True)
class Veil:
    """What is done to outputs before they are written.

    Parameters
    ----------
    key : IdKey
        Of the hashes.
    """

    key: IdKey

    def scores(self, scores: pl.DataFrame) -> pl.DataFrame:
        """Hash the ids of scores, and wherever a customer list repeats them.

        Parameters
        ----------
        scores : DataFrame
            See ``tables.scores_table``, with a list's further columns; all customers, or a part of them.

        Returns
        -------
        DataFrame
            The same rows in the order of the hashes: the order of a list or of plain ids would give them away.
        """
        ours = {name for name in scores.columns if name in _OURS or name.rsplit("_", 1)[0] in _PER_HORIZON}
        further = scores.select(name for name in scores.columns if name not in ours)
        hidden = pseudonymise_rows(further, scores["customer_id"], self.key)
        hashed = scores.with_columns(pseudonymise(scores["customer_id"], self.key), *hidden.get_columns())
        return hashed.sort("customer_id")

    def set_aside(self, rows: pl.DataFrame, *, columns: Mapping[str, str]) -> pl.DataFrame:
        """Hash the ids in rows that were set aside; what else an export tells of customers stays in them.

        Parameters
        ----------
        rows : DataFrame
            As exported, with ``reason``.
        columns : mapping of str to str
            Our name to the export's.

        Returns
        -------
        DataFrame
            The same rows in the same order.
        """
        name = aside_column(columns)
        reason = rows["reason"]
        return pseudonymise_rows(rows.drop("reason"), clean_ids(rows[name]), self.key).with_columns(reason)

    def record(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Hash the ids in a run's record, and say that it was done.

        Parameters
        ----------
        run : mapping
            What is to stand in ``run.json``.

        Returns
        -------
        dict
            With ``pseudonyms``.
        """
        duplicates = pseudonymise(pl.Series(list(run.get("duplicates") or ()), dtype=pl.String()), self.key)
        return {**run, "duplicates": duplicates.to_list(), "pseudonyms": key_mark(self.key)}


def veil_of(settings: Settings) -> Veil | None:
    """Read the key where pseudonyms are asked for; call it before orders are read.

    Parameters
    ----------
    settings : Settings
        ``pseudonyms`` says whether.

    Returns
    -------
    Veil or None
        None where plain ids are written.

    Raises
    ------
    InputError
        If there is no key, or it is too short.
    """
    return Veil(read_key()) if settings.pseudonyms else None


def aside_column(columns: Mapping[str, str]) -> str:
    """Name the column of customer ids among rows that were set aside.

    Parameters
    ----------
    columns : mapping of str to str
        Our name to the export's.

    Returns
    -------
    str
        The export's name; ``reason`` gave way to ours.

    Examples
    --------
    >>> aside_column({"customer_id": "Kunde"}), aside_column({"customer_id": "reason"})
    ('Kunde', 'reason_in_export')
    """
    name = columns.get("customer_id", "customer_id")
    return "reason_in_export" if name == "reason" else name
