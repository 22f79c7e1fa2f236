"""One job at a time per output: a lock that dies with its holder.

SQLite's file lock, because the standard library has no other that works on every system and is let go when its holder
is killed.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from repurchase.errors import DeliveryError
from repurchase.storage.outputs import json_in

__all__ = ["exclusive", "locked_file"]

_TRIES = 10


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Hold the lock of an output: hidden files beside it, which are removed at the end.

    Parameters
    ----------
    out : Path
        A file or a folder; its own folder must exist.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    DeliveryError
        If another run holds it, or the folder cannot be written.
    """
    lock, note = out.with_name(f".{out.name}.lock"), out.with_name(f".{out.name}.holder")
    try:
        with closing(locked_file(lock)):
            try:
                _write_note(note)
                yield
            finally:
                for path in (note, lock):
                    with suppress(OSError):  # the folder may be gone, or closed to us: the fault itself says so
                        path.unlink()
    except sqlite3.Error as fault:
        if "locked" not in str(fault):
            lock.unlink(missing_ok=True)
            raise DeliveryError(
                f"{out} cannot be written ({fault}). Choose another --out or correct its permissions."
            ) from fault
        raise DeliveryError(f"{out} is being written by another run{_holder(note)}. Wait for it to end.") from fault


def locked_file(lock: Path, *, wait_seconds: float = 0.0) -> sqlite3.Connection:
    """Lock a file.

    Parameters
    ----------
    lock : Path
        Is made if need be.
    wait_seconds : float
        How long to wait for another holder.

    Returns
    -------
    Connection
        Holds the lock until it is closed, or the process ends.

    Raises
    ------
    OperationalError
        If another holds it ("database is locked").
    OSError
        If the folder cannot be written.
    """
    # Who ends removes the file. Whoever had opened it just before then holds a lock that nobody else will meet.
    for _ in range(_TRIES):
        _touch(lock)
        opened = lock.stat().st_ino
        holder = sqlite3.connect(lock, timeout=wait_seconds, isolation_level=None)
        try:
            holder.execute("BEGIN EXCLUSIVE")
            if lock.exists() and lock.stat().st_ino == opened:
                return holder
        except BaseException:
            holder.close()
            raise
        holder.close()
    raise sqlite3.OperationalError("database is locked")


def _touch(lock: Path) -> None:
    """Make the lock's file; a link in its place is no lock of ours, and is not followed."""
    if lock.is_symlink():
        lock.unlink()
    if not lock.exists():
        lock.touch()


def _write_note(note: Path) -> None:
    """Say who holds the lock; whatever lies there is replaced, not written through."""
    with suppress(OSError):
        note.unlink()
    with note.open("x") as file:
        since = f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
        file.write(json.dumps({"pid": os.getpid(), "since": since}))


def _holder(note: Path) -> str:
    try:
        holder = json_in(note)
        return f" (process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
