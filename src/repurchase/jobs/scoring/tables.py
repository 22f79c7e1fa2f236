"""Scores into a PostgreSQL table: staged beside it, then put in its place in one transaction, or not at all."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from repurchase.errors import DeliveryError, first_few
from repurchase.jobs.scoring.destinations import ScoresTable
from repurchase.jobs.scoring.parts import ScoreParts
from repurchase.orders.addresses import quoted
from repurchase.orders.postgres import Watch, execute, with_server
from repurchase.tables import Column, horizon_columns, scores_table

if TYPE_CHECKING:
    from repurchase.orders.postgres import Connection

__all__ = ["Batch", "Written", "require_fitting", "write_scores"]

_SLICE_ROWS = 50_000
_LONGEST_NAME = 63
_STAGING = "repurchase_staging"
_KEY = ("customer_id", "as_of", "model_version")
_HORIZON = re.compile(rf"^(?:{'|'.join(column.name.removesuffix('_1d') for column in horizon_columns(1))})_\d+d$")
_TABLE_WORDS = "Scores of repurchase: one row per customer asked for, last day observed and model version."
_TYPES = {
    pl.Boolean: "boolean",
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.UInt8: "smallint",
    pl.Int32: "integer",
    pl.UInt16: "integer",
    pl.Int64: "bigint",
    pl.UInt32: "bigint",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.Date: "date",
}


@dataclass(frozen=True)
class Batch:
    """Scores that replace each other.

    Parameters
    ----------
    scores : ScoreParts
        See ``tables.scores_table``, with further columns of a customer list.
    as_of : date
        Their last day observed.
    model_version : str
        Their model.
    horizons : tuple of int
        Their days ahead.
    """

    scores: ScoreParts
    as_of: date
    model_version: str
    horizons: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """What came of writing.

    Parameters
    ----------
    rows : int
        Rows written.
    rows_replaced : int
        Rows of the same day and model that stood there before.
    is_new : bool
        Whether the table was made.
    columns_added : tuple of str
        Columns of horizons that the table did not have.
    sha256 : str
        Digest of the rows as they were sent.
    """

    rows: int
    rows_replaced: int
    is_new: bool
    columns_added: tuple[str, ...]
    sha256: str


def require_fitting(table: ScoresTable, *, horizons: Iterable[int], further: pl.Schema, seconds: float) -> None:
    """Find out whether a table can take scores before long work is done for them; nothing is changed.

    Parameters
    ----------
    table : ScoresTable
        Where they will go.
    horizons : iterable of int
        Days ahead of the scores.
    further : mapping of str to data type
        Columns that a customer list adds.
    seconds : float
        How long a server that has gone away is tried again.

    Raises
    ------
    DeliveryError
        If the server cannot be reached, the table may not be written, or has other columns.
    """
    contract = pl.Schema({column.name: column.dtype for column in scores_table(horizons).columns})

    types = _types({**contract, **further})
    _require_short_names(types, table)

    def work(connection: "Connection", _: Watch) -> None:
        there = _columns_there(connection, table)
        _columns_to_add(there, types, table)
        _require_rights(connection, table, is_new=there is None)
        _make_staging(connection, types)  # what the server does not take as a column, it refuses now

    with_server(table.server, work, seconds=seconds, refuse=DeliveryError)


def write_scores(
    table: ScoresTable, batch: Batch, *, seconds: float, before_commit: Callable[[Written], None]
) -> Written:
    """Put scores in the place of those of the same day and model; all of them, or none.

    Parameters
    ----------
    table : ScoresTable
        Where to; made if need be.
    batch : Batch
        The scores.
    seconds : float
        How long another try may begin after the first fault that may pass, and how long a lock is waited for.
    before_commit : callable
        Is told what will have been written; if it fails, nothing is. It may be called once per try.

    Returns
    -------
    Written
        What came of it.

    Raises
    ------
    DeliveryError
        If the table cannot be written; it is then as before.
    """

    def work(connection: "Connection", watch: Watch) -> Written:
        execute(connection, "SELECT set_config('lock_timeout', %s, true)", (f"{max(1, round(seconds))}s",))
        sha256 = _stage(connection, watch, batch)
        is_new, added = _fit_table(connection, table, batch)
        replaced = _replace(connection, table, batch)
        watch.beat()
        _require_arrived(connection, table, batch)
        watch.beat()
        written = Written(batch.scores.count(), replaced, is_new, added, sha256)
        before_commit(written)
        return written

    return with_server(
        table.server,
        work,
        seconds=seconds,
        refuse=lambda words: DeliveryError(f"{table.name[-1]} in {words} The table is as it was."),
    )


# What the columns are


def _types(schema: dict[str, pl.DataType]) -> dict[str, str]:
    return {name: _type(kind) for name, kind in schema.items()}


def _type(kind: pl.DataType) -> str:
    if isinstance(kind, pl.Decimal):
        return f"numeric({kind.precision},{kind.scale})"
    if isinstance(kind, pl.Datetime):
        return "timestamp with time zone" if kind.time_zone else "timestamp without time zone"
    return _TYPES.get(kind.base_type(), "text")


def _meanings(horizons: Iterable[int]) -> dict[str, Column]:
    return {column.name: column for column in scores_table(horizons).columns}


def _columns_there(connection: "Connection", table: ScoresTable) -> dict[str, str] | None:
    found = execute(
        connection,
        "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)",
        (quoted(table.name),),
    ).fetchone()
    if found is None:
        return None
    if found[0] not in ("r", "p"):
        raise DeliveryError(f"--out {table.shown}: that is no table (a view, or the like). Name another.")
    rows = execute(
        connection,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (quoted(table.name),),
    ).fetchall()
    return dict(rows)


def _columns_to_add(there: dict[str, str] | None, ours: dict[str, str], table: ScoresTable) -> list[str]:
    """Name the horizons' columns that a table lacks; any other difference is refused."""
    if there is None:
        return []
    missing = [name for name in ours if name not in there]
    differing = [
        f"{name} is {there[name]}, not {ours[name]}" for name in ours if there.get(name, ours[name]) != ours[name]
    ]
    lacking = [name for name in missing if not _HORIZON.match(name)]
    unknown = [name for name in there if name not in ours and not _HORIZON.match(name)]
    said = [
        f"it lacks {first_few(lacking)}" if lacking else "",
        f"it also has {first_few(unknown)}" if unknown else "",
        first_few(differing),
    ]
    if any(said):
        raise DeliveryError(
            f"--out {table.shown}: the table there has other columns than these scores: "
            f"{'; '.join(words for words in said if words)}. Nothing was changed. Name another table."
        )
    return missing


def _require_short_names(names: Iterable[str], table: ScoresTable) -> None:
    """Refuse names that PostgreSQL would cut, and so take for each other."""
    long = [name for name in (*table.name, *names) if len(name.encode()) > _LONGEST_NAME]
    if long:
        raise DeliveryError(
            f"--out {table.shown}: {len(long)} names are longer than the {_LONGEST_NAME} bytes that PostgreSQL takes: "
            f"{first_few(long)}. Rename these columns of the customer list, or name another table."
        )


def _require_rights(connection: "Connection", table: ScoresTable, *, is_new: bool) -> None:
    if not is_new:
        asked = (
            "SELECT has_table_privilege(to_regclass(%s), 'INSERT') AND has_table_privilege(to_regclass(%s), 'DELETE')"
        )
        may = execute(connection, asked, (quoted(table.name),) * 2).fetchone()[0]
        lacking = "write to that table. Ask for the rights INSERT, DELETE and SELECT on it"
    else:
        schema = table.name[0] if len(table.name) > 1 else None
        asked = (
            "SELECT bool_or(has_schema_privilege(oid, 'CREATE')) FROM pg_namespace "
            "WHERE nspname = coalesce(%s::text, current_schema())"
        )
        may = execute(connection, asked, (schema,)).fetchone()[0]
        if may is None:
            raise DeliveryError(f"--out {table.shown}: there is no schema {schema or ''}. Make it, or name another.")
        lacking = "make a table there. Ask for the right CREATE on the schema, or for the table to be made"
    if not may:
        raise DeliveryError(f"--out {table.shown}: this user may not {lacking}.")


# What is done to the table


def _make_staging(connection: "Connection", types: dict[str, str]) -> None:
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())
    execute(connection, f"CREATE TEMPORARY TABLE {_STAGING} ({columns}) ON COMMIT DROP")


def _stage(connection: "Connection", watch: Watch, batch: Batch) -> str:
    _make_staging(connection, _types(dict(batch.scores.schema)))
    digest = hashlib.sha256()
    with connection.cursor() as cursor, cursor.copy(f"COPY {_STAGING} FROM STDIN (FORMAT csv)".encode()) as copy:
        for part in (text for frame in batch.scores.frames() for text in _csv(frame)):
            digest.update(part)
            copy.write(part)
            watch.beat()
    return digest.hexdigest()


def _csv(scores: pl.DataFrame) -> Iterator[bytes]:
    nested = pl.col([name for name, kind in scores.schema.items() if kind.is_nested()]).cast(pl.String)
    for part in scores.with_columns(nested).iter_slices(_SLICE_ROWS):
        yield part.write_csv(include_header=False).encode()


def _fit_table(connection: "Connection", table: ScoresTable, batch: Batch) -> tuple[bool, tuple[str, ...]]:
    types = _types(dict(batch.scores.schema))
    there = _columns_there(connection, table)
    if there is None:
        _create(connection, table, types, batch)
        return True, ()
    # Others may read meanwhile, but not write: two runs for one table come one after the other.
    execute(connection, f"LOCK TABLE {quoted(table.name)} IN SHARE ROW EXCLUSIVE MODE")
    added = _columns_to_add(_columns_there(connection, table), types, table)
    for name in added:
        execute(connection, f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(name)} {types[name]}")
    _comment(connection, table, added, batch)
    return False, tuple(added)


def _create(connection: "Connection", table: ScoresTable, types: dict[str, str], batch: Batch) -> None:
    meanings = _meanings(batch.horizons)
    needed = {name for name, column in meanings.items() if not column.nullable}
    columns = [f"{quoted(name)} {kind}{' NOT NULL' if name in needed else ''}" for name, kind in types.items()]
    name = quoted(table.name)
    execute(connection, f"CREATE TABLE {name} ({', '.join(columns)})")
    # The key begins with the customer, whose history it finds; the nights are found by the other.
    execute(connection, f"CREATE UNIQUE INDEX ON {name} ({', '.join(_KEY)})")
    execute(connection, f"CREATE INDEX ON {name} (as_of, customer_id)")
    execute(connection, f"COMMENT ON TABLE {name} IS {_literal(_TABLE_WORDS)}")
    _comment(connection, table, types, batch)


def _comment(connection: "Connection", table: ScoresTable, names: Iterable[str], batch: Batch) -> None:
    meanings = _meanings(batch.horizons)
    for name in names:
        words = _literal(meanings[name].meaning if name in meanings else "from the customer list")
        execute(connection, f"COMMENT ON COLUMN {quoted(table.name)}.{quoted(name)} IS {words}")


def _literal(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


def _replace(connection: "Connection", table: ScoresTable, batch: Batch) -> int:
    name = quoted(table.name)
    columns = ", ".join(quoted(column) for column in batch.scores.schema)
    deleted = execute(
        connection,
        f"DELETE FROM {name.replace('%', '%%')} WHERE as_of = %s AND model_version = %s",  # noqa: S608 - quoted
        (batch.as_of, batch.model_version),
    )
    execute(connection, f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {_STAGING}")  # noqa: S608 - quoted
    return int(deleted.rowcount)


def _require_arrived(connection: "Connection", table: ScoresTable, batch: Batch) -> None:
    """Compare what stands in the table with what was sent: a trigger, a rule or row security may have changed it."""
    execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")  # what waits for the commit happens now
    columns = ", ".join(quoted(column).replace("%", "%%") for column in batch.scores.schema)
    counted = f"SELECT count(*), sum(hashtextextended(ROW({columns})::text, 0)) FROM"
    sent = execute(connection, f"{counted} {_STAGING}", ()).fetchone()
    there = execute(
        connection,
        f"{counted} {quoted(table.name).replace('%', '%%')} WHERE as_of = %s AND model_version = %s",
        (batch.as_of, batch.model_version),
    ).fetchone()
    if sent != there:
        found = f"{there[0]:,} stood in the table" if sent[0] != there[0] else "other values stood in the table"
        raise DeliveryError(
            f"--out {table.shown}: {sent[0]:,} rows were sent, and {found}: a trigger, a rule or row security changes "
            "what is written. The table is as it was. Take that away for this user, or name another table."
        )
