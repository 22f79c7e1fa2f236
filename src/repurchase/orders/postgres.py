"""Talk to PostgreSQL: connect, notice when it has gone, tell faults that pass from those that stay, stream a query."""

import importlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import dup
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from repurchase.errors import InputError, RepurchaseError
from repurchase.orders.addresses import Server
from repurchase.orders.patience import retried

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

__all__ = [
    "ColumnType",
    "Watch",
    "columns_of",
    "execute",
    "load_driver",
    "require_one_statement",
    "stream",
    "with_server",
]

Result = TypeVar("Result")
ColumnType = tuple[str, int]
"""A column's name, and PostgreSQL's number of its type."""

CHUNK_BYTES = 1 << 23
CONNECT_SECONDS = 10
SILENCE_SECONDS = 30
_PASSING_STATES = ("08", "40", "53", "57P01", "57P02", "57P03", "57P05", "25P03")
_LOCKED = "55P03"
_OF_VALUES = ("22", "23", "P0")
_STAYING = re.compile(
    r"no password supplied|not known|invalid |does not support SSL|certificate"
    r"|FATAL: (?!.*(?:starting up|shutting down|recovery|too many|connection slots|not accept|terminating))"
)
_PASSWORD = re.compile(r"password", re.IGNORECASE)


def load_driver(package: str) -> ModuleType:
    """Import a database's driver, which is installed on demand.

    Parameters
    ----------
    package : str
        Such as ``psycopg``.

    Returns
    -------
    module
        The driver.

    Raises
    ------
    InputError
        If it is not installed.

    Examples
    --------
    >>> load_driver("no_such_driver")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: This database needs the package no_such_driver, which is not installed. \
Install it: pip install 'repurchase[sql]'.
    """
    try:
        return importlib.import_module(package)
    except ImportError as fault:
        raise InputError(
            f"This database needs the package {package}, which is not installed. "
            "Install it: pip install 'repurchase[sql]'."
        ) from fault


class Watch:
    """Notices when a server no longer answers, however long a query may take.

    A query may rest for an hour and be well. So silence alone is no fault: after some of it the server is asked for
    another connection, and only if that is not given the work is cut off, as if the server had closed the line.

    Parameters
    ----------
    connection : Connection
        The work's own.
    server : Server
        Where to ask.
    silence_seconds : float
        Silence after which to ask.
    """

    def __init__(self, connection: "Connection", server: Server, *, silence_seconds: float) -> None:
        self._connection, self._server, self._silence = connection, server, silence_seconds
        self._heard = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="database-watch", daemon=True)

    def beat(self) -> None:
        """Note a sign of life."""
        self._heard = time.monotonic()

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self._silence / 4):
            if time.monotonic() - self._heard < self._silence:
                continue
            if self._answers():
                self.beat()
            elif not self._ended.is_set():
                self._cut()
                return

    def _answers(self) -> bool:
        driver = load_driver("psycopg")
        try:
            _connect(self._server, seconds=max(2, int(self._silence))).close()
        except driver.Error as fault:
            return "FATAL" in str(fault)
        return True

    def _cut(self) -> None:
        with (
            suppress(OSError, load_driver("psycopg").Error),
            socket.socket(fileno=dup(self._connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


def with_server(
    server: Server,
    work: Callable[["Connection", Watch], Result],
    *,
    seconds: float,
    refuse: Callable[[str], RepurchaseError],
) -> Result:
    """Do work in one transaction, anew if the server goes away, is full, or breaks a deadlock.

    Parameters
    ----------
    server : Server
        The database.
    work : callable
        Takes a connection in a transaction, and the watch to tell of every sign of life; all or none of it is kept.
    seconds : float
        How long after the first fault another try may begin.
    refuse : callable
        Makes the error to raise of words.

    Returns
    -------
    object
        What the work gave, after commit.

    Raises
    ------
    InputError
        If psycopg is not installed.
    RepurchaseError
        What ``refuse`` made, if the server refused, or was away for too long.
    """
    driver = load_driver("psycopg")

    def once() -> Result:
        silence = min(float(SILENCE_SECONDS), max(1.0, seconds))
        with _connect(server, seconds=min(CONNECT_SECONDS, max(2, int(seconds)))) as connection:
            with Watch(connection, server, silence_seconds=silence) as watch:
                done = work(connection, watch)
                connection.commit()
            return done

    def refused(fault: Exception, tries: str) -> RepurchaseError:
        error = refuse(f"{server.shown}: {_words(fault)}{tries}.{_advice(fault, tried=bool(tries))}")
        if str(getattr(fault, "sqlstate", None)).startswith(_OF_VALUES):
            error.withheld = _words(fault)  # PostgreSQL quotes the value that it cannot take
        return error

    return retried(
        once,
        seconds=seconds,
        faults=(driver.Error,),
        may_pass=_may_pass,
        refuse=refused,
        shown=server.shown,
    )


def _connect(server: Server, *, seconds: int) -> "Connection":
    driver = load_driver("psycopg")
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


def _may_pass(fault: Exception) -> bool:
    state = getattr(fault, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    return isinstance(fault, load_driver("psycopg").OperationalError) and not _STAYING.search(str(fault))


def _words(fault: Exception) -> str:
    diagnosis = getattr(fault, "diag", None)
    primary = getattr(diagnosis, "message_primary", None) or str(fault).strip().splitlines()[0]
    hint = getattr(diagnosis, "message_hint", None)
    words = str(primary).removeprefix("connection failed: ").rstrip(".")
    return f"{words}. {hint}".rstrip(".") if hint else words


def _advice(fault: Exception, *, tried: bool) -> str:
    state = getattr(fault, "sqlstate", None)
    if state == _LOCKED:
        return " Another session holds a lock on it; pg_stat_activity and pg_locks say which."
    if state is None and _PASSWORD.search(str(fault)):
        return " Set PGPASSWORD, or name a password file in PGPASSFILE."
    if tried:
        return " See that the database runs and can be reached, then run this again."
    return ""


def execute(connection: "Connection", statement: str, values: tuple[object, ...] | None = None) -> Any:
    """Run one statement.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    statement : str
        SQL; names in it are quoted by `addresses.quoted`.
    values : tuple, optional
        What stands for ``%s``.

    Returns
    -------
    Cursor
        With the result.
    """
    return connection.execute(statement.encode(), values)


def columns_of(connection: "Connection", select: str) -> list[ColumnType]:
    """Name a query's columns and their types without running it.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    select : str
        One query.

    Returns
    -------
    list of ColumnType
        In the query's order.
    """
    described = execute(connection, f"SELECT * FROM (\n{select}\n) AS orders LIMIT 0").description  # noqa: S608 - one query
    return [(column.name, column.type_code) for column in described or ()]


def require_one_statement(connection: "Connection", select: str) -> None:
    """Let the server itself parse a query, which takes one statement only, before any of it runs.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    select : str
        One query.

    Raises
    ------
    psycopg.Error
        If the server sees several statements, or none.
    """
    parsed = connection.pgconn.prepare(b"", _copy(select))
    if parsed.status == load_driver("psycopg").pq.ExecStatus.FATAL_ERROR:
        raise load_driver("psycopg").errors.error_from_result(parsed)


def stream(connection: "Connection", select: str, watch: Watch) -> Iterator[bytes]:
    """Stream a query's rows as PostgreSQL's text format has them.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    select : str
        One query.
    watch : Watch
        Is told of every row.

    Yields
    ------
    bytes
        Whole rows, some megabytes at a time.
    """
    held: list[bytes] = []
    size = 0
    with _copying(connection, select) as blocks:
        for block in blocks:
            watch.beat()
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
