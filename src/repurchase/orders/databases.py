"""READ from databases: a table's or a query's rows, kept in a spool as they arrive, never all of them in memory.

Each column comes as the database has it, or as text.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.addresses import DatabaseSource, Server
from repurchase.orders.digests import RowDigest, lines_of
from repurchase.orders.parts import ParquetPart, Spool
from repurchase.orders.patience import retried
from repurchase.orders.postgres import (
    ColumnType,
    Watch,
    columns_of,
    execute,
    load_driver,
    require_one_statement,
    stream,
    with_server,
)
from repurchase.settings import Settings

if TYPE_CHECKING:
    from repurchase.orders.postgres import Connection

__all__ = ["DatabaseRead", "spool_database"]

_BATCH_ROWS = 100_000
_SQLITE_MARK = b"SQLite format 3\0"
_DUCKDB_MARK = b"DUCK"
_NUMBERS = {20: pl.Int64, 21: pl.Int64, 23: pl.Int64, 26: pl.Int64, 700: pl.Float64, 701: pl.Float64}
_BOOLEAN, _DATE, _TIMESTAMP, _ZONED = 16, 1082, 1114, 1184
_ESCAPED = {"\\\\": "\\", "\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
_KEPT_BY_DUCKDB = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "VARCHAR")
_ZONED_BY_DUCKDB = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class DatabaseRead:
    """What a database gave.

    Parameters
    ----------
    part : ParquetPart
        The rows in the order they came. Numbers of fixed precision are text, so none of their digits is lost.
    sha256 : str
        Digest of the rows, whatever their order.
    notes : tuple of str
        What a reader should know, in words.
    """

    part: ParquetPart
    sha256: str
    notes: tuple[str, ...]


Batch = tuple[pl.DataFrame, list[bytes]]
"""Rows, and each of them as it goes into the digest."""


def spool_database(source: DatabaseSource, *, settings: Settings, spool: Path) -> DatabaseRead:
    """Read orders from a database into a spool; nothing in the database is changed.

    Parameters
    ----------
    source : DatabaseSource
        Where, and which.
    settings : Settings
        ``retry_seconds`` says how long a database that has gone away is waited for; ``timezone`` is the zone in which
        the database, too, counts the days of times with a zone.
    spool : Path
        Folder for the rows; made anew, with every try.

    Returns
    -------
    DatabaseRead
        All rows, as they were at one moment.

    Raises
    ------
    OrdersError
        If the database cannot be reached or read, does not know the table, refuses the query, or has no rows.
    """
    if isinstance(source.database, Server):

        def work(connection: "Connection", watch: Watch) -> DatabaseRead:
            kept = _kept(source, _from_postgresql(connection, watch, source.select, settings), spool)
            connection.rollback()
            return kept

        read = with_server(source.database, work, seconds=settings.retry_seconds, refuse=OrdersError)
    else:
        read = _read_file(source, source.database, settings, spool)
    kinds = read.part.schema.values()
    zones = sorted({str(kind.time_zone) for kind in kinds if isinstance(kind, pl.Datetime) and kind.time_zone})
    if zones and settings.timezone is None:
        note = f"Times with a zone are counted in {zones[0]}, the database's own; --timezone names another."
        return DatabaseRead(read.part, read.sha256, (note,))
    return read


def _kept(source: DatabaseSource, batches: Iterator[Batch], folder: Path) -> DatabaseRead:
    digest = RowDigest()
    spool = Spool(folder, shown=str(source))
    for rows, lines in batches:
        digest.add(lines)
        spool.add(rows)
    part = spool.part()
    if part.n_rows == 0:
        raise OrdersError(f"{source}: no rows. Found the columns {first_few(part.schema, shown=12)}.")
    return DatabaseRead(part, digest.hexdigest(list(part.schema)), ())


def _refuse_repeated(names: list[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OrdersError(f"{source}: columns that appear more than once: {first_few(twice)}. Name each once, with AS.")


# PostgreSQL


def _from_postgresql(connection: "Connection", watch: Watch, select: str, settings: Settings) -> Iterator[Batch]:
    execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    execute(connection, "SET LOCAL datestyle = 'ISO'")
    execute(connection, "SET LOCAL extra_float_digits = 3")
    execute(connection, "SET LOCAL synchronize_seqscans = off")
    if settings.timezone is not None:
        execute(connection, "SELECT set_config('TimeZone', %s, true)", (settings.timezone,))
    zone = str(execute(connection, "SHOW TimeZone").fetchone()[0])
    zone = zone if zone in available_timezones() else "UTC"
    require_one_statement(connection, select)
    columns = columns_of(connection, select)
    _refuse_repeated([name for name, _ in columns], "The query")
    yield _typed(b"", columns, zone), []
    for content in stream(connection, select, watch):
        yield _typed(content, columns, zone), content.split(b"\n")[:-1]


def _typed(content: bytes, columns: list[ColumnType], zone: str) -> pl.DataFrame:
    names = [name for name, _ in columns]
    texts = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    if content:
        texts = pl.read_csv(
            content,
            has_header=False,
            separator="\t",
            quote_char=None,
            null_values="\\N",
            empty_string_is_null=False,
            schema=dict.fromkeys(names, pl.String),
            glob=False,
        )
    return texts.select(_column(pl.col(name), kind, zone).alias(name) for name, kind in columns)


def _column(text: pl.Expr, kind: int, zone: str) -> pl.Expr:
    # What has no place in our types, such as the date 'infinity', becomes null, and cleaning counts it.
    if kind in _NUMBERS:
        return text.cast(_NUMBERS[kind])
    if kind == _BOOLEAN:
        return text == "t"
    if kind == _DATE:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if kind == _TIMESTAMP:
        return text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    if kind == _ZONED:
        moment = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
        return moment.dt.convert_time_zone(zone)
    return text.str.replace_many(_ESCAPED)


# Files


def _read_file(source: DatabaseSource, path: Path, settings: Settings, spool: Path) -> DatabaseRead:
    kind = _kind_of(path)
    driver = sqlite3 if kind == "SQLite" else load_driver("duckdb")
    open_rows = _from_sqlite if kind == "SQLite" else _from_duckdb

    def refused(fault: Exception, tries: str) -> OrdersError:
        words = str(fault).strip().splitlines()[0].rstrip(".")
        quotes_values = isinstance(fault, getattr(driver, "DataError", ()))
        return OrdersError(f"{source}: {words}{tries}.", withheld=words if quotes_values else "")

    return retried(
        lambda: _kept(source, open_rows(path, source.select, settings), spool),
        seconds=settings.retry_seconds,
        faults=(driver.Error,),
        may_pass=_is_held_by_another,
        refuse=refused,
        shown=str(path),
    )


def _is_held_by_another(fault: Exception) -> bool:
    return any(words in str(fault) for words in ("database is locked", "database table is locked", "Conflicting lock"))


def _kind_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as fault:
        raise OrdersError(f"{path}: no such file. Check the path.") from fault
    except OSError as fault:
        raise OrdersError(f"{path}: cannot be read ({fault.strerror or fault}). Check the file.") from fault
    if head == _SQLITE_MARK:
        return "SQLite"
    if head[8:12] == _DUCKDB_MARK:
        return "DuckDB"
    raise OrdersError(f"{path}: neither an SQLite nor a DuckDB file. Check the path.")


def _from_sqlite(path: Path, select: str, settings: Settings) -> Iterator[Batch]:
    # An SQLite column may hold any type in any row, so all of it is read as text, like a CSV.
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=min(5.0, settings.retry_seconds))) as connection:
        connection.text_factory = lambda text: text.decode("utf-8", errors="replace")
        cursor = connection.execute(select)
        names = [column[0] for column in cursor.description]
        _refuse_repeated(names, str(path))
        schema = dict.fromkeys(names, pl.String)
        yield pl.DataFrame(schema=schema), []
        while rows := cursor.fetchmany(_BATCH_ROWS):
            texts = {name: _as_texts(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
            yield _digested(pl.DataFrame(texts, schema=schema))


def _as_texts(values: tuple[Any, ...]) -> Sequence[str | None]:
    return values if set(map(type, values)) <= {str, NoneType} else [_as_text(value) for value in values]


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else repr(value)


def _from_duckdb(path: Path, select: str, settings: Settings) -> Iterator[Batch]:
    driver = load_driver("duckdb")
    with closing(
        driver.connect(str(path), read_only=True, config={"autoinstall_known_extensions": "false"})
    ) as connection:
        if settings.timezone is not None:
            connection.execute("SET TimeZone = ?", [settings.timezone])
        _require_one_select(driver, f"DESCRIBE {select}", path)
        described = connection.execute(f"DESCRIBE {select}").fetchall()
        _refuse_repeated([name for name, *_ in described], str(path))
        wanted = ", ".join(_kept_or_text(name, kind) for name, kind, *_ in described)
        reader = connection.sql(f"SELECT {wanted} FROM (\n{select}\n)").to_arrow_reader(_BATCH_ROWS)  # noqa: S608 - one query
        yield _plain(reader.schema.empty_table()), []
        for batch in reader:
            yield _digested(_plain(batch))


def _require_one_select(driver: Any, statement: str, path: Path) -> None:
    """Let DuckDB itself count the statements: each of them would run."""
    n_statements = len(driver.extract_statements(statement))
    if n_statements != 1:
        raise OrdersError(f"{path}: --query must be one SELECT or WITH. DuckDB sees {n_statements} statements.")


def _kept_or_text(name: str, kind: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    if kind in (*_KEPT_BY_DUCKDB, _ZONED_BY_DUCKDB):
        return column
    return f"CAST({column} AS VARCHAR) AS {column}"


def _plain(batch: Any) -> pl.DataFrame:
    rows = pl.DataFrame(pl.from_arrow(batch))
    whole = [name for name, kind in rows.schema.items() if kind.is_integer()]
    return rows.with_columns(pl.col(whole).cast(pl.Int64))


def _digested(rows: pl.DataFrame) -> Batch:
    return rows, lines_of(rows)
