"""What the registry of MLflow is to learn once it can be reached: versions kept in ``models/`` alone, and aliases.

Each is a file in ``pending/registry/`` beside the runs that wait (see ``pending``). Versions are registered in their
order; then gate and aliases, as ``models/aliases.json`` has them by then, are set in MLflow.
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repurchase.errors import BundleError, DeliveryError
from repurchase.registry.disk import json_bytes, locked, read_json, write_whole
from repurchase.registry.store import Store

__all__ = ["register_pending", "registrations", "write_alias_change", "write_registration"]

logger = logging.getLogger("repurchase")

SCHEMA = 1
PLACES = ("mlruns/pending/registry", "outputs/pending/registry")
ALIASES = "aliases-"
LOCK_WAIT_SECONDS = 10.0


def write_registration(home: Path, version: str, training: Mapping[str, Any]) -> Path:
    """Keep what is to be registered of a version beside its bundle.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    version : str
        Its number there.
    training : mapping
        What ``tracking.register`` takes, JSON-able.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    BundleError
        If it cannot be written as JSON.
    DeliveryError
        If the disk refuses.
    """
    return _write(home, f"{version}.json", {"schema": SCHEMA, "version": version, "training": training})


def write_alias_change(home: Path, tags: Mapping[str, Mapping[str, str]]) -> Path:
    """Keep that aliases in ``models/aliases.json`` were changed without MLflow.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    tags : mapping of str to mapping
        What is to be noted of versions.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DeliveryError
        If the disk refuses.
    """
    return _write(home, f"{ALIASES}{secrets.token_hex(8)}.json", {"schema": SCHEMA, "tags": tags})


def _write(home: Path, name: str, record: Mapping[str, Any]) -> Path:
    content = json_bytes(record, name=name)
    last: DeliveryError | None = None
    for place in PLACES:
        path = home / place / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as fault:
            last = DeliveryError(f"{path.parent} cannot be written: {fault.strerror}.")
        except DeliveryError as fault:
            last = fault
        else:
            return path
    raise last or DeliveryError(f"{home} cannot be written.")


def registrations(home: Path) -> dict[str, Path]:
    """Find the versions that wait to be registered.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.

    Returns
    -------
    dict of str to Path
        Version to its file, oldest version first.
    """
    found = [path for place in PLACES for path in (home / place).glob("*.json") if path.stem.isdecimal()]
    return {path.stem: path for path in sorted(found, key=lambda path: int(path.stem))}


def register_pending(store: Store) -> None:
    """Let MLflow learn what waits, each once.

    Parameters
    ----------
    store : Store
        Where to.

    Raises
    ------
    DeliveryError
        If the store fails, or another process is at it; what was not done still waits.
    """
    folders = [store.home / place for place in PLACES]
    if not any(path for folder in folders for path in folder.glob("*.json")):
        return
    from repurchase.registry.champion import publish_again

    with locked(next(folder for folder in folders if folder.is_dir()), wait_seconds=LOCK_WAIT_SECONDS):
        done = [_register(store, version, path) for version, path in registrations(store.home).items()]
        changes = [path for folder in folders for path in sorted(folder.glob(f"{ALIASES}*.json"))]
        if any(done) or changes:
            publish_again(store, [_tags(path) for path in changes])
        for path in changes:
            path.unlink(missing_ok=True)


def _register(store: Store, version: str, path: Path) -> bool:
    from repurchase.registry.tracking import register

    if not (store.home / "models" / version).is_dir():
        logger.warning("Version %s is no longer in models/; it is not registered.", version)
        path.unlink(missing_ok=True)
        return False
    try:
        record = read_json(path)
        register(store, version, record["training"])
    except (BundleError, OSError, ValueError, KeyError, TypeError) as fault:
        logger.warning("Version %s cannot be registered (%s); %s is left there.", version, fault, path)
        return False
    path.unlink(missing_ok=True)
    return True


def _tags(path: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(read_json(path)["tags"])
    except (OSError, ValueError, KeyError, TypeError):
        logger.warning("%s is no record of changed aliases; their times are not known.", path)
        return {}
