"""Where scores go: a file, or a table of a PostgreSQL database."""

import re
from dataclasses import dataclass
from pathlib import Path

from repurchase.errors import InputError
from repurchase.orders.addresses import Server, is_database, read_server, table_name

__all__ = ["ScoresTable", "scores_destination"]

RECORD = ".postgresql"


@dataclass(frozen=True)
class ScoresTable:
    """A table to write scores to.

    Parameters
    ----------
    server : Server
        Its database.
    name : tuple of str
        Schema and table, or the table alone, which then lies where the database's search path says.
    """

    server: Server
    name: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The address without password."""
        return f"{self.server.shown}/{'.'.join(self.name)}"

    def record(self, home: Path) -> Path:
        """Name what stands for the table among files.

        Parameters
        ----------
        home : Path
            The home folder.

        Returns
        -------
        Path
            In ``outputs/``; no such file is made, but ``<stem>.run.json`` and its like have their names from it.
        """
        stem = re.sub(r"[^\w.-]", "_", ".".join((self.server.database, *self.name)).strip("."))
        return home / "outputs" / f"{stem}{RECORD}"


def scores_destination(out: str) -> ScoresTable | None:
    """Say which table is meant.

    Parameters
    ----------
    out : str
        ``postgresql://[user[:password]@]host[:port]/database/[schema.]table``, or a file.

    Returns
    -------
    ScoresTable or None
        None for a file.

    Raises
    ------
    InputError
        If the address names no table, or a database that scores do not go to.

    Examples
    --------
    >>> scores_destination("postgresql://anna:secret@db.example/shop/marketing.scores").shown
    'postgresql://anna@db.example/shop/marketing.scores'
    >>> scores_destination("outputs/scores.parquet") is None
    True
    >>> scores_destination("postgresql://db.example/shop")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --out postgresql://db.example/shop: no table is named. \
Expected postgresql://host/database/schema.table.
    """
    if not is_database(out):
        return None
    if not out.lower().startswith(("postgresql", "postgres")):
        raise InputError(
            "--out: scores go to a .parquet or .csv file, or to postgresql://host/database/schema.table; not to other "
            "databases."
        )
    server, rest = read_server(out)
    if len(rest) != 1 or not server.database:
        found = "no table is named" if not rest else "more than a database and a table follow the host"
        raise InputError(f"--out {server.shown}: {found}. Expected postgresql://host/database/schema.table.")
    return ScoresTable(server, table_name(rest[0]))
