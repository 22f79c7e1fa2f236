"""The tracking store: where it is, opening it, making it once, and its faults in one line.

Everything lies in ``<home>/mlruns/``: ``mlflow.db`` and ``artifacts/``, without a server. ``MLFLOW_TRACKING_URI``
points elsewhere. The client is given its store explicitly, so that nothing global changes in the process that trains.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from urllib.request import pathname2url

from repurchase.errors import DeliveryError
from repurchase.registry.disk import clear_partial, locked, partial_sibling, read_json
from repurchase.registry.reachability import require_reachable
from repurchase.registry.relocation import follow_move, move_paths
from repurchase.storage.publishing import sync_folder, sync_to_disk
from repurchase.storage.redaction import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "BUNDLE",
    "EXPERIMENT",
    "MODEL",
    "Store",
    "current",
    "database_of",
    "experiment_of",
    "mlflow_faults",
    "mlflow_versions",
    "open_existing",
    "open_store",
    "relocate",
    "store_uri",
]

MODEL = "repurchase"
EXPERIMENT = "repurchase"
URI = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
BUNDLE = "bundle_sha256"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no call home
    "MLFLOW_UV_AUTO_DETECT": "false",  # no copy of a stranger's uv.lock among a model's files
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that goes away meanwhile is not waited for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""What MLflow takes from the environment, where nobody has set it."""


@dataclass(frozen=True)
class Store:
    """An open tracking store.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/`` and ``mlruns/``.
    uri : str
        Where MLflow keeps runs and versions; ``mlflow.set_tracking_uri`` takes it.
    client : MlflowClient
        MLflow's own client of that store.
    experiment_id : str
        Under which runs are logged.
    """

    home: Path
    uri: str
    client: "MlflowClient"
    experiment_id: str


def store_uri(home: Path) -> str:
    """Where MLflow keeps the runs of a home folder.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.

    Returns
    -------
    str
        ``MLFLOW_TRACKING_URI`` if set, otherwise the SQLite file in the home folder.
    """
    return os.environ.get(URI) or f"sqlite:///{pathname2url(str(home.resolve() / 'mlruns' / DATABASE))}"


def open_store(home: Path) -> Store:
    """Open the tracking store of a home folder, and make it on first use.

    A folder that was moved is mended on the way; see ``relocation``.

    Parameters
    ----------
    home : Path
        Folder that holds, or will hold, ``mlruns/``.

    Returns
    -------
    Store
        Ready to log.

    Raises
    ------
    StoreUnreachable
        If the store is a server that does not answer within seconds.
    DeliveryError
        If the store cannot be read or written, or is a copy whose paths point to the original.
    """
    home = home.resolve()
    uri = store_uri(home)
    database = database_of(uri)
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    require_reachable(uri)
    with ExitStack() as held:
        held.enter_context(mlflow_faults(uri, "Nothing was logged."))
        if database is not None:
            held.enter_context(locked(database.parent))
            clear_partial(database.parent)
            if not database.exists():
                _create(database)
            follow_move(database, experiment=EXPERIMENT)
        client = _client(uri)
        return Store(home, uri, client, _experiment(client, database, EXPERIMENT))


def open_existing(home: Path) -> Store | None:
    """Open the tracking store of a home folder, if it has one.

    Parameters
    ----------
    home : Path
        Folder that may hold ``mlruns/``.

    Returns
    -------
    Store or None
        See `open_store`.

    Raises
    ------
    DeliveryError
        As `open_store`.
    """
    database = database_of(store_uri(home))
    return None if database is not None and not database.exists() else open_store(home)


def experiment_of(store: Store, name: str) -> str:
    """Find an experiment beside the trainings' own, and make it on first use.

    Parameters
    ----------
    store : Store
        Where to look.
    name : str
        The experiment's.

    Returns
    -------
    str
        Its id.
    """
    return store.experiment_id if name == EXPERIMENT else _experiment(store.client, database_of(store.uri), name)


def mlflow_versions(store: Store) -> dict[str, str]:
    """Versions of ``models/`` that MLflow knows.

    Parameters
    ----------
    store : Store
        Where to look.

    Returns
    -------
    dict of str to str
        Our number to MLflow's. They differ where a version was kept while a shared server was away, and another home
        took its number meanwhile; MLflow's version then carries the digest of our bundle.
    """
    found = store.client.search_model_versions(f"name = '{MODEL}'")
    numbers = {str(entry.version): str(entry.version) for entry in found if BUNDLE not in entry.tags}
    elsewhere = {entry.tags[BUNDLE]: str(entry.version) for entry in found if BUNDLE in entry.tags}
    for manifest in (store.home / "models").glob("*/manifest.json") if elsewhere else ():
        with suppress(OSError, ValueError, AttributeError):
            digest = read_json(manifest).get("manifest_sha256")
            numbers |= {manifest.parent.name: elsewhere[digest]} if digest in elsewhere else {}
    return numbers


def relocate(home: Path) -> Path | None:
    """Make a moved or copied ``mlruns/`` stand on its own.

    Parameters
    ----------
    home : Path
        Folder that holds it.

    Returns
    -------
    Path or None
        Where it was, or None if its paths were right.

    Raises
    ------
    DeliveryError
        If there is no store in that folder.
    """
    database = database_of(store_uri(home))
    if database is None or not database.is_file():
        raise DeliveryError(f"{home / 'mlruns'}: no {DATABASE} there to relocate. Give its folder with --home.")
    with locked(database.parent):
        return follow_move(database, experiment=EXPERIMENT, force=True)


def database_of(uri: str) -> Path | None:
    """Tell a SQLite store from a server.

    Parameters
    ----------
    uri : str
        Of a store.

    Returns
    -------
    Path or None
        The database file; None for a server.

    Examples
    --------
    >>> database_of("https://mlflow.example.org") is None
    True
    """
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///"))).resolve()


def _create(database: Path) -> None:
    """Make an empty store beside its place and move it there, so that a killed creation leaves nothing."""
    partial = partial_sibling(database)
    with _only_warnings():
        _client(f"sqlite:///{pathname2url(str(partial))}").search_experiments()
    # MLflow notes the working directory as the place of its own experiment "Default".
    move_paths(partial, old=Path.cwd() / "mlruns", new=database.parent / "artifacts")
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
    """Turn MLflow's own faults into one line.

    Parameters
    ----------
    uri : str
        Of the store.
    outcome : str
        What the fault means for the caller, as a sentence.

    Yields
    ------
    None
        While MLflow works.

    Raises
    ------
    DeliveryError
        If MLflow, its database or the disk below it fails.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as fault:
        first = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
        raise DeliveryError(
            f"MLflow at {redacted(uri)} failed: {redacted(first).rstrip('.')}. {outcome} "
            f"Mend the store, or set {URI} to another one."
        ) from fault


@contextmanager
def current(uri: str) -> Iterator[None]:
    """Make a store the one that MLflow takes when it is not told.

    Parameters
    ----------
    uri : str
        Of the store.

    Yields
    ------
    None
        While it is.
    """
    before = os.environ.get(URI)
    os.environ[URI] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ[URI]
        else:
            os.environ[URI] = before


@contextmanager
def _only_warnings() -> Iterator[None]:
    """Keep the migrations' log lines of a store's first creation to themselves."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
