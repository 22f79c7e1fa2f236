"""Outputs that name customers by keyed hashes only: orders and lists are hashed as they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from repurchase.jobs.customers import CustomerList
from repurchase.orders.ids import clean_ids
from repurchase.orders.logs import OrderLog
from repurchase.orders.pseudonyms import IdKey, key_mark, pseudonymise, pseudonymise_rows, read_key, veiled
from repurchase.settings import Settings

__all__ = ["Veil", "aside_column", "veil_of"]


@dataclass(frozen=True)
class Veil:
    """What is done to orders and lists before anything else sees them.

    Parameters
    ----------
    key : IdKey
        Of the hashes.
    """

    key: IdKey

    @property
    def mark(self) -> dict[str, str]:
        """How ids were hashed, for the record of the run."""
        return key_mark(self.key)

    def orders(self, log: OrderLog) -> OrderLog:
        """Hash the customers of a log.

        Parameters
        ----------
        log : OrderLog
            As opened.

        Returns
        -------
        OrderLog
            See `pseudonyms.veiled`.
        """
        return veiled(log, self.key)

    def asked(self, asked: CustomerList) -> CustomerList:
        """Hash the customers of a list, also where further columns repeat them.

        Parameters
        ----------
        asked : CustomerList
            As read.

        Returns
        -------
        CustomerList
            The same customers in the order of the hashes: that of the list would give them away.
        """
        ids, rows = asked.rows["customer_id"], asked.rows
        known = [name for name in rows.columns if rows[name].dtype.is_numeric() and _repeats(rows[name], ids)]
        hidden = pseudonymise_rows(rows.with_columns(pl.col(known).cast(pl.String)), ids, self.key)
        duplicates = pseudonymise(pl.Series(asked.duplicates, dtype=pl.String()), self.key)
        return replace(asked, rows=hidden.sort("customer_id"), duplicates=tuple(duplicates))


def _repeats(values: pl.Series, ids: pl.Series) -> bool:
    spelled = clean_ids(values)
    return spelled.null_count() < len(spelled) and bool((spelled == ids).fill_null(value=True).all())


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
