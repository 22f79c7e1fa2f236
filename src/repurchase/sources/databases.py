"""Orders from PostgreSQL, SQLite and DuckDB, spooled as they arrive."""

import hashlib
import importlib
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from os import dup
from pathlib import Path
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from zoneinfo import available_timezones

import numpy as np
import polars as pl
import polars.selectors as cs

from repurchase.errors import InputError, NoRowsError, OrdersError, RepurchaseError, first_few
from repurchase.i18n.messages import message
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource, Server, retry
from repurchase.sources.tables import OpenedFile, Spool

if TYPE_CHECKING:
    import psycopg


Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Result = TypeVar("Result")
_ColumnType = tuple[str, int]
"""A column's name, and PostgreSQL's number of its type."""
CHUNK_BYTES = 1 << 23
_HASH_BYTES = 16
_CONNECT_SECONDS = 10
SILENCE_SECONDS = 30
_TRANSIENT_STATES = ("08", "40", "53", "57P01", "57P02", "57P03", "57P05", "25P03")
_LOCKED = "55P03"
_OF_VALUES = ("22", "23", "P0")
_PERMANENT_STATES = re.compile(
    r"no password supplied|not known|invalid |does not support SSL|certificate"
    r"|FATAL: (?!.*(?:starting up|shutting down|recovery|too many|connection slots|not accept|terminating))"
)
_PASSWORD = re.compile(r"password", re.IGNORECASE)
_BATCH_ROWS = 100_000
_SQLITE_MARK = b"SQLite format 3\0"
_DUCKDB_MARK = b"DUCK"
_NUMBERS = {20: pl.Int64, 21: pl.Int64, 23: pl.Int64, 26: pl.Int64, 700: pl.Float64, 701: pl.Float64}
_BOOLEAN, _DATE, _TIMESTAMP, _ZONED = 16, 1082, 1114, 1184
_ESCAPED = {"\\\\": "\\", "\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\v": "\v"}
_DUCKDB_NATIVE_TYPES = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "VARCHAR")
_ZONED_BY_DUCKDB = "TIMESTAMP WITH TIME ZONE"
_Batch = tuple[pl.DataFrame, list[bytes]]
"""Rows, and each of them as it goes into the digest."""


class _RowDigest:
    """Adds up the rows' BLAKE2b hashes of 128 bits, in two halves modulo 2**64.

    A sum counts equal rows, which an exclusive or would not. It detects accidental changes, not malicious ones.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(2, dtype=np.uint64)
        self._count = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Add rows."""
        hashes = b"".join([hashlib.blake2b(line, digest_size=_HASH_BYTES).digest() for line in lines])
        halves = np.frombuffer(hashes, dtype="<u8").reshape(-1, 2)
        self._sums += halves.sum(axis=0, dtype=np.uint64)
        self._count += len(halves)

    def hexdigest(self, names: Sequence[str]) -> str:
        """Digest what was added."""
        lines = [str(self._count), *(str(half) for half in self._sums), *names]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _row_lines(rows: pl.DataFrame) -> list[bytes]:
    r"""Write each row as one line, whatever characters it has."""
    plain = rows.with_columns(cs.string().str.replace_many({"\\": "\\\\", "\n": "\\n"}))
    return plain.write_csv(include_header=False).encode().split(b"\n")[:-1]


def _load_driver(package: str) -> ModuleType:
    """Import a database's driver, which is installed on demand."""
    try:
        return importlib.import_module(package)
    except ImportError as fault:
        raise InputError(
            f"This database needs the package {package}, which is not installed. "
            "Install it: pip install 'repurchase[sql]'."
        ) from fault


class ConnectionMonitor:
    """Notices when a server no longer answers, however long a query may take.

    A query may be silent for an hour and still run. So after some silence the server is asked for a second connection,
    and only if it gives none is the first one closed, as if the server had closed it.
    """

    def __init__(self, connection: "Connection", server: Server, *, silence_seconds: float) -> None:
        self._connection, self._server, self._silence = connection, server, silence_seconds
        self._last_answer = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._monitor, name="database-monitor", daemon=True)

    def note_answer(self) -> None:
        """Note that the server answered."""
        self._last_answer = time.monotonic()

    def __enter__(self) -> "ConnectionMonitor":
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._ended.set()
        self._thread.join()

    def _monitor(self) -> None:
        while not self._ended.wait(self._silence / 4):
            if time.monotonic() - self._last_answer < self._silence:
                continue
            if self._answers():
                self.note_answer()
            elif not self._ended.is_set():
                self._close()
                return

    def _answers(self) -> bool:
        driver = _load_driver("psycopg")
        try:
            _connect(self._server, seconds=max(2, int(self._silence))).close()
        except driver.Error as fault:
            return "FATAL" in str(fault)
        return True

    def _close(self) -> None:
        with (
            suppress(OSError, _load_driver("psycopg").Error),
            socket.socket(fileno=dup(self._connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


def with_server(
    server: Server,
    work: Callable[["Connection", ConnectionMonitor], Result],
    *,
    seconds: float,
    refuse: Callable[[str], RepurchaseError],
) -> Result:
    """Do work in one transaction, anew if the server goes away, is full, or breaks a deadlock."""
    driver = _load_driver("psycopg")

    def once() -> Result:
        silence = min(float(SILENCE_SECONDS), max(1.0, seconds))
        with _connect(server, seconds=min(_CONNECT_SECONDS, max(2, int(seconds)))) as connection:
            with ConnectionMonitor(connection, server, silence_seconds=silence) as monitor:
                done = work(connection, monitor)
                connection.commit()
            return done

    def refused(fault: Exception, tries: str) -> RepurchaseError:
        error = refuse(f"{server.shown}: {_reason_of(fault)}{tries}.{_advice(fault, tried=bool(tries))}")
        if str(getattr(fault, "sqlstate", None)).startswith(_OF_VALUES):
            error.withheld = _reason_of(fault)  # PostgreSQL quotes the value that it cannot take
        return error

    return retry(
        once,
        seconds=seconds,
        faults=(driver.Error,),
        is_transient=_is_transient,
        refuse=refused,
        shown=server.shown,
    )


def _connect(server: Server, *, seconds: int) -> "Connection":
    driver = _load_driver("psycopg")
    defaults = {
        "application_name": "repurchase",
        "connect_timeout": seconds,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    given = {**defaults, **server.options, "client_encoding": "utf8"}
    connection: Connection = driver.connect(prepare_threshold=None, **given)
    return connection


def _is_transient(fault: Exception) -> bool:
    state = getattr(fault, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_TRANSIENT_STATES)
    return isinstance(fault, _load_driver("psycopg").OperationalError) and not _PERMANENT_STATES.search(str(fault))


def _reason_of(fault: Exception) -> str:
    diagnosis = getattr(fault, "diag", None)
    primary = getattr(diagnosis, "message_primary", None) or str(fault).strip().splitlines()[0]
    hint = getattr(diagnosis, "message_hint", None)
    reason = str(primary).removeprefix("connection failed: ").rstrip(".")
    return f"{reason}. {hint}".rstrip(".") if hint else reason


def _advice(fault: Exception, *, tried: bool) -> str:
    state = getattr(fault, "sqlstate", None)
    if state == _LOCKED:
        return " Another session holds a lock on it; pg_stat_activity and pg_locks say which."
    if state is None and _PASSWORD.search(str(fault)):
        return " Set PGPASSWORD, or name a password file in PGPASSFILE."
    if tried:
        return " See that the database runs and can be reached, then run this again."
    return ""


def execute_statement(connection: "Connection", statement: str, values: tuple[object, ...] | None = None) -> Any:
    """Run one statement."""
    return connection.execute(statement.encode(), values)


def _query_columns(connection: "Connection", select: str) -> list[_ColumnType]:
    """Name a query's columns and their types without running it."""
    described = execute_statement(connection, f"SELECT * FROM (\n{select}\n) AS orders LIMIT 0").description  # noqa: S608 - one query
    return [(column.name, column.type_code) for column in described or ()]


def _require_one_statement(connection: "Connection", select: str) -> None:
    """Let the server itself parse a query, which takes one statement only, before any of it runs."""
    parsed = connection.pgconn.prepare(b"", _copy(select))
    if parsed.status == _load_driver("psycopg").pq.ExecStatus.FATAL_ERROR:
        raise _load_driver("psycopg").errors.error_from_result(parsed)


def stream_query(connection: "Connection", select: str, monitor: ConnectionMonitor) -> Iterator[bytes]:
    """Stream a query's rows as PostgreSQL's text format has them."""
    held: list[bytes] = []
    size = 0
    with _copying(connection, select) as blocks:
        for block in blocks:
            monitor.note_answer()
            held.append(bytes(block))
            size += len(block)
            if size >= CHUNK_BYTES:
                content = b"".join(held)
                end = content.rfind(b"\n") + 1
                held, size = [content[end:]], len(content) - end
                yield content[:end]
    if size:
        yield b"".join(held)


@contextmanager
def _copying(connection: "Connection", select: str) -> Iterator[Any]:
    with connection.cursor() as cursor, cursor.copy(_copy(select)) as copy:
        yield copy


def _copy(select: str) -> bytes:
    return f"COPY (\n{select}\n) TO STDOUT".encode()


def open_database(source: DatabaseSource, *, settings: Settings, spool: Path) -> OpenedFile:
    """Read orders from a database into a spool; nothing in the database is changed."""
    if isinstance(source.database, Server):

        def work(connection: "Connection", monitor: ConnectionMonitor) -> OpenedFile:
            kept = _spool_batches(source, _from_postgresql(connection, monitor, source.select, settings), spool)
            connection.rollback()
            return kept

        read = with_server(source.database, work, seconds=settings.retry_seconds, refuse=OrdersError)
    else:
        read = _read_file(source, source.database, settings, spool)
    kinds = read.table.schema.values()
    zones = sorted({str(kind.time_zone) for kind in kinds if isinstance(kind, pl.Datetime) and kind.time_zone})
    if zones and settings.timezone is None:
        note = message("file_note.zone", zone=zones[0])
        return replace(read, notes=(note,))
    return read


def _spool_batches(source: DatabaseSource, batches: Iterator[_Batch], folder: Path) -> OpenedFile:
    digest = _RowDigest()
    spool = Spool(folder, shown=str(source))
    for rows, lines in batches:
        digest.add(lines)
        spool.add(rows)
    table = spool.table()
    if table.n_rows == 0:
        raise NoRowsError(f"{source}: no rows. Found the columns {first_few(table.schema, shown=12)}.")
    return OpenedFile(table, sha256=digest.hexdigest(list(table.schema)))


def _refuse_repeated(names: list[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OrdersError(f"{source}: columns that appear more than once: {first_few(twice)}. Name each once, with AS.")


# PostgreSQL


def _from_postgresql(
    connection: "Connection", monitor: ConnectionMonitor, select: str, settings: Settings
) -> Iterator[_Batch]:
    execute_statement(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    execute_statement(connection, "SET LOCAL datestyle = 'ISO'")
    execute_statement(connection, "SET LOCAL extra_float_digits = 3")
    execute_statement(connection, "SET LOCAL synchronize_seqscans = off")
    if settings.timezone is not None:
        execute_statement(connection, "SELECT set_config('TimeZone', %s, true)", (settings.timezone,))
    zone = str(execute_statement(connection, "SHOW TimeZone").fetchone()[0])
    zone = zone if zone in available_timezones() else "UTC"
    _require_one_statement(connection, select)
    columns = _query_columns(connection, select)
    _refuse_repeated([name for name, _ in columns], "The query")
    yield _typed(b"", columns, zone), []
    for content in stream_query(connection, select, monitor):
        yield _typed(content, columns, zone), content.split(b"\n")[:-1]


def _typed(content: bytes, columns: list[_ColumnType], zone: str) -> pl.DataFrame:
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


def _read_file(source: DatabaseSource, path: Path, settings: Settings, spool: Path) -> OpenedFile:
    kind = _kind_of(path)
    driver = sqlite3 if kind == "SQLite" else _load_driver("duckdb")
    open_rows = _from_sqlite if kind == "SQLite" else _from_duckdb

    def refused(fault: Exception, tries: str) -> OrdersError:
        reason = str(fault).strip().splitlines()[0].rstrip(".")
        quotes_values = isinstance(fault, getattr(driver, "DataError", ()))
        return OrdersError(f"{source}: {reason}{tries}.", withheld=reason if quotes_values else "")

    return retry(
        lambda: _spool_batches(source, open_rows(path, source.select, settings), spool),
        seconds=settings.retry_seconds,
        faults=(driver.Error,),
        is_transient=_is_held_by_another,
        refuse=refused,
        shown=str(path),
    )


def _is_held_by_another(fault: Exception) -> bool:
    return any(text in str(fault) for text in ("database is locked", "database table is locked", "Conflicting lock"))


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


def _from_sqlite(path: Path, select: str, settings: Settings) -> Iterator[_Batch]:
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


def _from_duckdb(path: Path, select: str, settings: Settings) -> Iterator[_Batch]:
    driver = _load_driver("duckdb")
    with closing(
        driver.connect(str(path), read_only=True, config={"autoinstall_known_extensions": "false"})
    ) as connection:
        if settings.timezone is not None:
            connection.execute("SET TimeZone = ?", [settings.timezone])
        _require_one_select(driver, f"DESCRIBE {select}", path)
        described = connection.execute(f"DESCRIBE {select}").fetchall()
        _refuse_repeated([name for name, *_ in described], str(path))
        columns = ", ".join(_kept_or_text(name, kind) for name, kind, *_ in described)
        reader = connection.sql(f"SELECT {columns} FROM (\n{select}\n)").to_arrow_reader(_BATCH_ROWS)  # noqa: S608 - one query
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
    if kind in (*_DUCKDB_NATIVE_TYPES, _ZONED_BY_DUCKDB):
        return column
    return f"CAST({column} AS VARCHAR) AS {column}"


def _plain(batch: Any) -> pl.DataFrame:
    rows = pl.DataFrame(pl.from_arrow(batch))
    whole = [name for name, kind in rows.schema.items() if kind.is_integer()]
    return rows.with_columns(pl.col(whole).cast(pl.Int64))


def _digested(rows: pl.DataFrame) -> _Batch:
    return rows, _row_lines(rows)
