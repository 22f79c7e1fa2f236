"""Locate, open, probe and relocate the MLflow tracking store."""

import http.client
import logging
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import pathname2url, urlopen

from repurchase.errors import DeliveryError
from repurchase.storage.atomic_files import (
    locked_folder,
    partial_sibling_path,
    remove_partial_siblings,
    sync_folder,
    sync_to_disk,
)
from repurchase.storage.json_files import read_json
from repurchase.storage.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient


PROBE_SECONDS = 2.4
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}
_GATEWAY_ERROR_CODES = (502, 503, 504)
"""What a proxy answers for a server that does not."""


class StoreUnreachable(DeliveryError):  # noqa: N818 - the name says what is wrong
    """The tracking server does not answer."""


def require_reachable(uri: str, *, seconds: float | None = None) -> None:
    """Refuse a tracking server that does not answer in time."""
    address = urlsplit(uri)
    scheme = address.scheme.partition("+")[0].lower()
    limit = PROBE_SECONDS if seconds is None else seconds
    if scheme in ("http", "https"):
        why = _call_with_timeout(limit, lambda: _probe_http(address, limit))
    elif scheme in _PORTS and address.hostname:
        why = _call_with_timeout(limit, lambda: _probe_tcp(address, _PORTS[scheme], limit))
    else:
        return
    if why is not None:
        raise StoreUnreachable(
            f"MLflow at {redact(uri)} does not answer ({why}). Start the server, or set {_URI} to another one."
        )


def _call_with_timeout(seconds: float, probe: Callable[[], str | None]) -> str | None:
    """Probe in a thread of its own: resolving a host name may take long, and cannot be ended."""
    results: list[str | None] = []
    thread = threading.Thread(target=lambda: results.append(probe()), name="store-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else f"no answer within {seconds:g} s"


def _probe_http(address: SplitResult, seconds: float) -> str | None:
    host = address.netloc.rpartition("@")[2]
    health = urlunsplit((address.scheme, host, f"{address.path.rstrip('/')}/health", "", ""))
    try:
        with urlopen(health, timeout=seconds):  # noqa: S310 - http or https
            return None
    except HTTPError as fault:
        return f"{fault.code} {fault.reason}" if fault.code in _GATEWAY_ERROR_CODES else None
    except URLError as fault:
        refused = isinstance(fault.reason, OSError) and "CERTIFICATE" not in str(fault.reason)
        return _fault_text(fault.reason) if refused else None  # MLflow may know the certificate
    except (OSError, http.client.HTTPException, ValueError) as fault:
        return _fault_text(fault)


def _probe_tcp(address: SplitResult, port: int, seconds: float) -> str | None:
    try:
        socket.create_connection((str(address.hostname), address.port or port), timeout=seconds).close()
    except (OSError, ValueError) as fault:
        return _fault_text(fault)
    return None


def _fault_text(fault: object) -> str:
    if isinstance(fault, OSError) and fault.errno is not None and fault.errno > 0 and fault.strerror:
        return os.strerror(fault.errno)
    return redact(str(fault)) or type(fault).__name__


_logger = logging.getLogger("repurchase")

_UPDATES = (
    "UPDATE experiments SET artifact_location = moved(artifact_location)",
    "UPDATE runs SET artifact_uri = moved(artifact_uri)",
    "UPDATE logged_models SET artifact_location = moved(artifact_location)",
    "UPDATE model_versions SET storage_location = moved(storage_location), source = moved(source)",
    "UPDATE trace_tags SET value = moved(value) WHERE key = 'mlflow.artifactLocation'",
)
"""Every column of the pinned MLflow's schema that holds an absolute path."""


def _update_moved_store(database: Path, *, experiment: str, force: bool = False) -> Path | None:
    """Correct the stored paths of a database whose folder was moved."""
    root = database.parent
    old = _stored_root(database, experiment)
    if old is None or old == root:
        return None
    if not force and any((old / name).exists() for name in (database.name, "artifacts")):
        raise DeliveryError(
            f"{root} is a copy of {old}, and its paths still point there: new runs would land in the original. "
            "Make the copy independent with `repurchase models relocate`."
        )
    changed = rewrite_stored_paths(database, old=old, new=root)
    _logger.warning("%s was moved from %s; %d stored paths were updated.", root, old, changed)
    return old


def _stored_root(database: Path, experiment: str) -> Path | None:
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(query, (experiment,)).fetchone()
    except sqlite3.Error as fault:
        raise DeliveryError(
            f"{database}: not readable as an MLflow database ({fault}). Restore it, or move it away to start anew; "
            "models/ stays usable either way."
        ) from fault
    location = urlsplit(row[0]) if row else None
    if location is None or location.scheme not in {"", "file"}:
        return None
    return Path(unquote(location.path) if location.scheme else row[0]).parent.parent


def rewrite_stored_paths(database: Path, *, old: Path, new: Path) -> int:
    """Rewrite every stored path below one folder to lie below another; in one transaction."""
    changed: list[str] = []
    moved = _path_rewriter(((old.as_uri(), new.as_uri()), (str(old), str(new))), changed)
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.create_function("moved", 1, moved, deterministic=True)
            for update in _UPDATES:
                connection.execute(update)
    except sqlite3.Error as fault:
        raise DeliveryError(f"{database} cannot be rewritten ({fault}). Nothing was changed.") from fault
    return len(changed)


def _path_rewriter(prefixes: tuple[tuple[str, str], ...], changed: list[str]) -> Callable[[str | None], str | None]:
    def moved(location: str | None) -> str | None:
        for old, new in prefixes:
            if location is not None and (location == old or location.startswith(f"{old}/")):
                changed.append(location)
                return new + location[len(old) :]
        return location

    return moved


MODEL = "repurchase"
EXPERIMENT = "repurchase"
_URI = "MLFLOW_TRACKING_URI"
_DATABASE = "mlflow.db"
BUNDLE = "bundle_sha256"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no call home
    "MLFLOW_UV_AUTO_DETECT": "false",  # no copy of a stranger's uv.lock among a model's files
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # do not wait minutes for a server that stops answering
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""What MLflow takes from the environment, where nobody has set it."""


@dataclass(frozen=True)
class Store:
    """An open tracking store."""

    home: Path
    uri: str
    client: "MlflowClient"
    experiment_id: str


def store_uri(home: Path) -> str:
    """Return the address of the store of a home folder."""
    return os.environ.get(_URI) or f"sqlite:///{pathname2url(str(home.resolve() / 'mlruns' / _DATABASE))}"


def open_store(home: Path) -> Store:
    """Open the tracking store of a home folder, and make it on first use.

    Stored paths of a folder that was moved are corrected on the way.
    """
    home = home.resolve()
    uri = store_uri(home)
    database = database_of(uri)
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    require_reachable(uri)
    with ExitStack() as held:
        held.enter_context(mlflow_faults(uri, "Nothing was logged."))
        if database is not None:
            held.enter_context(locked_folder(database.parent))
            remove_partial_siblings(database.parent)
            if not database.exists():
                _create(database)
            _update_moved_store(database, experiment=EXPERIMENT)
        client = _client(uri)
        return Store(home, uri, client, _experiment(client, database, EXPERIMENT))


def open_existing(home: Path) -> Store | None:
    """Open the tracking store of a home folder, if it has one."""
    database = database_of(store_uri(home))
    return None if database is not None and not database.exists() else open_store(home)


def experiment_of(store: Store, name: str) -> str:
    """Find an experiment other than that of trainings, and make it on first use."""
    return store.experiment_id if name == EXPERIMENT else _experiment(store.client, database_of(store.uri), name)


def mlflow_versions(store: Store) -> dict[str, str]:
    """Map the versions of ``models/`` that MLflow knows to their numbers there."""
    found = store.client.search_model_versions(f"name = '{MODEL}'")
    numbers = {str(entry.version): str(entry.version) for entry in found if BUNDLE not in entry.tags}
    elsewhere = {entry.tags[BUNDLE]: str(entry.version) for entry in found if BUNDLE in entry.tags}
    for manifest in (store.home / "models").glob("*/manifest.json") if elsewhere else ():
        with suppress(OSError, ValueError, AttributeError):
            digest = read_json(manifest).get("manifest_sha256")
            numbers |= {manifest.parent.name: elsewhere[digest]} if digest in elsewhere else {}
    return numbers


def relocate(home: Path) -> Path | None:
    """Make a moved or copied ``mlruns/`` independent of the original."""
    database = database_of(store_uri(home))
    if database is None or not database.is_file():
        raise DeliveryError(f"{home / 'mlruns'}: no {_DATABASE} there to relocate. Give its folder with --home.")
    with locked_folder(database.parent):
        return _update_moved_store(database, experiment=EXPERIMENT, force=True)


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for a server."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///"))).resolve()


def _create(database: Path) -> None:
    """Make an empty store next to its place and move it there, so that a killed creation leaves nothing."""
    partial = partial_sibling_path(database)
    with _only_warnings():
        _client(f"sqlite:///{pathname2url(str(partial))}").search_experiments()
    # MLflow notes the working directory as the place of its own experiment "Default".
    rewrite_stored_paths(partial, old=Path.cwd() / "mlruns", new=database.parent / "artifacts")
    sync_to_disk(partial)
    partial.rename(database)
    sync_folder(database.parent)


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _experiment(client: "MlflowClient", database: Path | None, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = None if database is None else (database.parent / "artifacts" / name).as_uri()
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException as fault:  # another home got there first on a shared server
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return _experiment(client, database, name)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


@contextmanager
def mlflow_faults(uri: str, outcome: str) -> Iterator[None]:
    """Turn MLflow's own errors into a `DeliveryError` of one line."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as fault:
        first = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
        raise DeliveryError(
            f"MLflow at {redact(uri)} failed: {redact(first).rstrip('.')}. {outcome} "
            f"Repair the store, or set {_URI} to another one."
        ) from fault


@contextmanager
def active_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's current one."""
    before = os.environ.get(_URI)
    os.environ[_URI] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[_URI]
        else:
            os.environ[_URI] = before


@contextmanager
def _only_warnings() -> Iterator[None]:
    """Silence the log lines of the migrations when a store is first created."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
