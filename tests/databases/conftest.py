"""A real PostgreSQL of the tests' own, on a free loopback port with a folder that goes away with it."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import psycopg
import pytest

from repurchase.settings import Settings
from repurchase.sources.databases import open_database
from repurchase.sources.locations import DatabaseSource, Server, parse_orders_source, parse_server

PASSWORD = "geheim@42/ø"

NUMBERS = itertools.count(1)


def programs() -> Path:
    """The folder of initdb and pg_ctl; without it these tests are skipped, but not where CI must have it."""
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found or installed:
        return Path(found).parent if found else installed[-1].parent
    missing = "PostgreSQL's server programs (initdb, pg_ctl) are not installed; .ci/run installs them"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@dataclass
class Cluster:
    """A server that can be stopped, started and frozen."""

    folder: Path
    port: int
    programs: Path
    user: str | None
    frozen: list[int] = field(default_factory=list)

    def run(self, program: str, *words: str) -> None:
        extra: dict[str, Any] = {}
        if self.user:
            extra = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *words]
        with tempfile.TemporaryFile("w+") as said:  # no pipe: the server would hold it open
            done = subprocess.run(command, cwd=self.folder, stdout=said, stderr=said, check=False, **extra)
            said.seek(0)
            assert done.returncode == 0, said.read()

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 20,
            "timezone": "UTC",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.run("pg_ctl", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def freeze(self, pid: int) -> None:
        """Halt the server and one of its sessions: lines stay open, nothing answers."""
        for one in (int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), pid):
            os.kill(one, signal.SIGSTOP)
            self.frozen.append(one)

    def thaw(self) -> None:
        while self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)

    def admin(self, statement: str, database: str = "postgres", **options: Any) -> list[tuple[Any, ...]]:
        """What a superuser is told, through the socket and without a password."""
        with psycopg.connect(
            host=str(self.folder), port=self.port, user="admin", dbname=database, autocommit=True, **options
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def shop(self, name: str) -> "Shop":
        """One of its databases."""
        return Shop(self, name)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One server for the tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="repurchase-postgresql-"))
    one = Cluster(folder, free_port(), programs(), unprivileged())
    try:
        if one.user:
            shutil.chown(folder, one.user)
        one.run("initdb", "-U", "admin", "--no-sync", "-E", "UTF8", "--locale=C", "-A", "trust")
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (folder / "data" / "pg_hba.conf").write_text(rules)
        one.start()
        one.admin(f"CREATE ROLE night LOGIN PASSWORD '{PASSWORD}'")
        yield one
        one.thaw()
        one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Answer:
    """All that a database gave."""

    rows: pl.DataFrame
    sha256: str
    notes: tuple[str, ...]


def read_all(source: DatabaseSource, *, settings: Settings) -> Answer:
    """Read a database and gather the rows."""
    with tempfile.TemporaryDirectory() as folder:
        read = open_database(source, settings=settings, spool=Path(folder) / "rows")
        rows = pl.concat(read.table.batches(tuple(read.table.schema), n_rows=1000))
    return Answer(rows, read.sha256, read.notes)


@pytest.fixture(scope="session")
def read_database() -> Callable[..., Answer]:
    """All that a database gives."""
    return read_all


@dataclass
class Shop:
    """A database of its own, and its owner's address."""

    cluster: Cluster
    name: str

    @property
    def address(self) -> str:
        return f"postgresql://night@127.0.0.1:{self.cluster.port}/{self.name}"

    @property
    def with_password(self) -> str:
        return self.address.replace("night@", f"night:{quote(PASSWORD, safe='')}@")

    @property
    def server(self) -> Server:
        return parse_server(self.address)[0]

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        return self.cluster.admin(statement, self.name)

    def read(self, *, settings: Settings | None = None, **words: str) -> Answer:
        """What a query or a table gives."""
        settings = settings or Settings(retry_seconds=0)
        return read_all(parse_orders_source(self.with_password, **words), settings=settings)

    def session(self, state: str = "") -> int | None:
        """The process of the session that is at work for `repurchase`, once it is in that state."""
        found = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'repurchase' AND datname = current_database() "
            f"AND usename = 'night' {state}"
        )
        return found[0][0] if found else None

    def await_session(self, state: str = "") -> int:
        return until(lambda: self.session(state))

    @staticmethod
    def meanwhile(work: Callable[[], object]) -> threading.Thread:
        """Do something beside the test."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    @contextlib.contextmanager
    def other_session(self) -> Iterator[psycopg.Connection[Any]]:
        """A session of someone else's, in a transaction."""
        options: dict[str, Any] = {"host": str(self.cluster.folder), "port": self.cluster.port}
        with psycopg.connect(**options, user="admin", dbname=self.name) as connection:
            yield connection

    def await_session_gone(self) -> None:
        until(lambda: self.session() is None)

    def kill(self) -> None:
        self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'repurchase'")

    def load(self, table: str, rows: pl.DataFrame, **types: str) -> None:
        """Make a table of rows, as text where no type is given."""
        columns = ", ".join(f'"{name}" {types.get(name, "text")}' for name in rows.columns)
        self.ask(f"CREATE TABLE {table} ({columns})")
        with (
            psycopg.connect(
                host=str(self.cluster.folder), port=self.cluster.port, user="admin", dbname=self.name, autocommit=True
            ) as connection,
            connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            copy.write(rows.write_csv(include_header=False))
        self.ask(f"GRANT SELECT ON {table} TO night")


def until(found: Callable[[], Any]) -> Any:
    """Wait for something to be there."""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail("what was waited for did not come")


@pytest.fixture
def shop(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty database owned by a user whose password stands in the environment."""
    name = f"shop{next(NUMBERS)}"
    cluster.admin(f"CREATE DATABASE {name} OWNER night")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    yield Shop(cluster, name)
    cluster.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def _quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repurchase.sources.locations._FIRST_RETRY_SECONDS", 0.05)
