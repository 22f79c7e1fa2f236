"""A tracking folder that was moved or copied: MLflow writes absolute paths into its database.

MLflow itself would go on writing to the old place, silently, and would say "No such artifact" when reading. So the
stored paths are compared with the folder's own place whenever it is opened.
"""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repurchase.errors import DeliveryError

__all__ = ["follow_move", "move_paths"]

logger = logging.getLogger(__name__)

_UPDATES = (
    "UPDATE experiments SET artifact_location = moved(artifact_location)",
    "UPDATE runs SET artifact_uri = moved(artifact_uri)",
    "UPDATE logged_models SET artifact_location = moved(artifact_location)",
    "UPDATE model_versions SET storage_location = moved(storage_location), source = moved(source)",
    "UPDATE trace_tags SET value = moved(value) WHERE key = 'mlflow.artifactLocation'",
)
"""Every column of the pinned MLflow's schema that holds an absolute path."""


def follow_move(database: Path, *, experiment: str, force: bool = False) -> Path | None:
    """Mend a database whose folder is no longer where its paths say.

    Parameters
    ----------
    database : Path
        ``mlflow.db``; artifacts belong beside it.
    experiment : str
        Whose artifact location tells where the folder was.
    force : bool
        Mend it although the old place is still there, that is, make a copy stand on its own.

    Returns
    -------
    Path or None
        Where the folder was, if anything was mended.

    Raises
    ------
    DeliveryError
        If the old place is still there and ``force`` was not given, or the database cannot be read.
    """
    root = database.parent
    old = _stored_root(database, experiment)
    if old is None or old == root:
        return None
    if not force and any((old / name).exists() for name in (database.name, "artifacts")):
        raise DeliveryError(
            f"{root} is a copy of {old}, and its paths still point there: new runs would land in the original. "
            "Make the copy stand on its own with `repurchase models relocate`."
        )
    changed = move_paths(database, old=old, new=root)
    logger.warning("%s was moved from %s; %d stored paths now say so.", root, old, changed)
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


def move_paths(database: Path, *, old: Path, new: Path) -> int:
    """Rewrite every stored path below one folder to lie below another; in one transaction.

    Parameters
    ----------
    database : Path
        ``mlflow.db``.
    old, new : Path
        Where the artifacts were, and where they are. Absolute.

    Returns
    -------
    int
        How many paths were rewritten.

    Raises
    ------
    DeliveryError
        If the database cannot be written; then nothing was changed.
    """
    changed: list[str] = []
    moved = _mover(((old.as_uri(), new.as_uri()), (str(old), str(new))), changed)
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.create_function("moved", 1, moved, deterministic=True)
            for update in _UPDATES:
                connection.execute(update)
    except sqlite3.Error as fault:
        raise DeliveryError(f"{database} cannot be rewritten ({fault}). Nothing was changed.") from fault
    return len(changed)


def _mover(prefixes: tuple[tuple[str, str], ...], changed: list[str]) -> Callable[[str | None], str | None]:
    def moved(location: str | None) -> str | None:
        for old, new in prefixes:
            if location is not None and (location == old or location.startswith(f"{old}/")):
                changed.append(location)
                return new + location[len(old) :]
        return location

    return moved
