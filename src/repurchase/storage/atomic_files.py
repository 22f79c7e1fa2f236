"""Publish files and folders atomically, under locks that end with their holder and with signals deferred."""

import ctypes
import json
import os
import secrets
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from errno import EINVAL, EISDIR, ENOSYS, EOPNOTSUPP, EPERM
from pathlib import Path
from types import FrameType

from repurchase.errors import DeliveryError
from repurchase.storage.json_files import read_json

_MAX_ATTEMPTS = 10


@contextmanager
def exclusive_lock(out: Path) -> Iterator[None]:
    """Hold the lock of an output: hidden files next to it, which are removed at the end."""
    lock, note = out.with_name(f".{out.name}.lock"), out.with_name(f".{out.name}.holder")
    try:
        with closing(_open_lock_file(lock)):
            try:
                _write_note(note)
                yield
            finally:
                for path in (note, lock):
                    with suppress(
                        OSError
                    ):  # the folder was removed or made read-only: the error that is raised reports it
                        path.unlink()
    except sqlite3.Error as fault:
        if "locked" not in str(fault):
            lock.unlink(missing_ok=True)
            raise DeliveryError(
                f"{out} cannot be written ({fault}). Choose another --out or correct its permissions."
            ) from fault
        raise DeliveryError(f"{out} is being written by another run{_holder(note)}. Wait for it to end.") from fault


def _open_lock_file(lock: Path, *, wait_seconds: float = 0.0) -> sqlite3.Connection:
    """Open a file and lock it; the lock ends with the process that holds it."""
    # The holder removes the file at its end. A process that opened it just before would hold a lock nobody else sees.
    for _ in range(_MAX_ATTEMPTS):
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
    """Create the lock file; a link in its place is not followed."""
    if lock.is_symlink():
        lock.unlink()
    if not lock.exists():
        lock.touch()


def _write_note(note: Path) -> None:
    """Record who holds the lock; an existing file or link is replaced, not followed."""
    with suppress(OSError):
        note.unlink()
    with note.open("x") as file:
        since = f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
        file.write(json.dumps({"pid": os.getpid(), "since": since}))


def _holder(note: Path) -> str:
    try:
        holder = read_json(note)
        return f" (process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Delay signals while files are moved or removed, so that a second Ctrl-C leaves nothing half done."""
    held: list[int] = []
    before = set_handlers(lambda number, _frame: held.append(number), only_callable=True)
    try:
        yield
    finally:
        restore_handlers(before)
        for number in held[:1]:
            signal.raise_signal(number)


def set_handlers(
    handler: Callable[[int, FrameType | None], object], *, only_callable: bool = False
) -> dict[int, _Handler]:
    """Handle SIGINT and SIGTERM; an ignored one stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    before: dict[int, _Handler] = {}
    for number, handled in found.items():
        if handled is signal.SIG_IGN or (only_callable and not callable(handled)):
            continue
        before[number] = handled
        signal.signal(number, handler)
    return before


def restore_handlers(before: dict[int, _Handler]) -> None:
    """Restore the earlier handlers."""
    for number, handler in before.items():
        signal.signal(number, handler)


_JOURNAL, _BACKUP, _PREVIOUS = "journal.json", "before", "earlier"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT_EXCHANGE = {ENOSYS, EINVAL, EOPNOTSUPP, EPERM}


def real_path(path: Path) -> Path:
    """Follow links: a link stays, and its target is replaced."""
    return path.resolve(strict=path.exists()) if path.is_symlink() else path


def partial_prefix(path: Path) -> str:
    """Return the prefix of the names of temporary siblings of a path."""
    return f".{path.name}.partial-"


def remove_path(path: Path) -> None:
    """Remove a file, a link or a whole folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def sync_to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk; its name is once `sync_folder` waited for the folder too."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, so that files outlive a loss of power under them.

    Errors are ignored: the files have their names already, and not every file system can do this.
    """
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    partial: Path | None = None
    try:
        target = real_path(path)
        number, name = tempfile.mkstemp(prefix=partial_prefix(target), dir=target.parent)
        partial = Path(name)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(_mode_of(target))
        partial.replace(target)
        sync_folder(target.parent)
    except OSError as fault:
        raise DeliveryError(f"{path} cannot be written: {fault.strerror or fault}. Nothing was changed.") from fault
    finally:
        if partial is not None:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Return the permissions of the existing file, or those of a new one."""
    return path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Several files


def publish_files(staging: Path, files: Mapping[Path, Path], *, removed: Iterable[Path] = ()) -> None:
    """Rename staged files to their targets, in order; all of them, or none."""
    removed = [path for path in removed if path.exists()]
    for path in (*files.values(), *removed):
        if path.is_dir():
            raise IsADirectoryError(EISDIR, f"a folder named {path.name} is in the way")
    for staged in files:
        sync_to_disk(staged)
    entries = [_journal_entry(staging, target, staged) for staged, target in files.items()]
    entries += [_journal_entry(staging, target, None) for target in removed]
    journal = staging / _JOURNAL
    journal.write_text(json.dumps(entries), encoding="utf-8")
    sync_to_disk(journal)
    places = {real_path(path).parent for path in (*files.values(), *removed)}
    places |= {folder for made in (staging, *(staged.parent for staged in files)) for folder in (made / _BACKUP, made)}
    for folder in places:  # the journal and what it keeps come before the names
        sync_folder(folder)
    with deferred_signals():
        try:
            for staged, target in files.items():
                staged.replace(real_path(target))
            for target in removed:
                real_path(target).unlink()
        except BaseException:
            _roll_back_files(staging)
            raise
        for folder in places:
            sync_folder(folder)
        journal.unlink()


def _journal_entry(staging: Path, target: Path, staged: Path | None) -> dict[str, object]:
    """Record what a name will be and was, and keep the earlier file."""
    before: str | None = None
    real = real_path(target)
    if real.exists():
        folder = (staged.parent if staged else staging) / _BACKUP
        folder.mkdir(exist_ok=True)
        kept = folder / target.name
        try:
            os.link(real, kept)
        except OSError:  # a file system without hard links, or a file of somebody else
            shutil.copy2(real, kept)
        before = str(kept.relative_to(staging) if kept.is_relative_to(staging) else kept)
    return {"name": target.name, "new": _inode_of(staged) if staged else None, "before": before}


def _inode_of(path: Path) -> list[int] | None:
    """Identify a file; renaming does not change this."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _roll_back_files(staging: Path) -> None:
    """Restore the earlier files of a publication that was not finished."""
    try:
        entries = read_json(staging / _JOURNAL)
        places = [(real_path(staging.parent / Path(one["name"]).name), one["new"], one["before"]) for one in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if all(_inode_of(place) == new for place, new, _ in places):
        return  # it was finished
    for place, new, before in places:
        if _inode_of(place) != new:
            continue  # this name was not yet given, or somebody has replaced the file since
        with suppress(OSError):
            if before is None:
                place.unlink()
            else:
                (staging / before).replace(place)


# A folder


def publish_folder(staging: Path, out: Path) -> None:
    """Put a folder in the place of another in one step, and remove the other."""
    for path in staging.iterdir():
        sync_to_disk(path)
    sync_folder(staging)
    staging.chmod(0o777 & ~_umask())
    with deferred_signals():
        if not out.exists():
            staging.rename(out)
            sync_folder(out.parent)
        elif _exchanged(staging, out):
            sync_folder(out.parent)
            shutil.rmtree(staging, ignore_errors=True)
        else:
            _replaced_in_two_steps(staging, out)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _replaced_in_two_steps(staging: Path, out: Path) -> None:
    """Move the earlier folder aside first; after a kill, `recover_interrupted_publication` puts it back."""
    aside = Path(tempfile.mkdtemp(prefix=partial_prefix(out), dir=out.parent))
    out.rename(aside / _PREVIOUS)
    try:
        staging.rename(out)
    except OSError:
        (aside / _PREVIOUS).rename(out)
        aside.rmdir()
        raise
    sync_folder(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


# After a kill


def recover_interrupted_publication(out: Path) -> None:
    """Remove what a killed run left half-written, and undo a publication that it did not finish."""
    prefix = partial_prefix(out)
    for left in sorted(path for path in out.parent.iterdir() if path.name.startswith(prefix)):
        if left.is_dir() and not left.is_symlink():
            _roll_back_files(left)
            if not out.exists() and (left / _PREVIOUS).is_dir():
                (left / _PREVIOUS).rename(out)
        with suppress(OSError):
            remove_path(left)


def partial_sibling_path(path: Path) -> Path:
    """Name a temporary sibling of a path in which it can be prepared."""
    return path.with_name(f"{partial_prefix(path)}{secrets.token_hex(4)}")


def remove_partial_siblings(folder: Path) -> None:
    """Remove what a killed process left half-written; call it with `locked_folder` held."""
    for left in (*folder.glob(".partial-*"), *folder.glob(".*.partial-*")):
        remove_path(left)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder with its files: all of it, or nothing."""
    partial = partial_sibling_path(folder)
    try:
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
        publish_folder(partial, folder)
    except OSError as fault:
        raise DeliveryError(f"{folder} cannot be written: {fault.strerror}. Nothing was left there.") from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)


LOCK_WAIT_SECONDS = 300.0


@contextmanager
def locked_folder(folder: Path, *, wait_seconds: float | None = None) -> Iterator[None]:
    """Hold a folder against other processes of ours.

    The folder and an empty file ``.lock`` in it are made if need be.
    """
    seconds = LOCK_WAIT_SECONDS if wait_seconds is None else wait_seconds
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holder = _open_lock_file(folder / ".lock", wait_seconds=seconds)
    except (OSError, sqlite3.Error) as fault:
        if "locked" in str(fault):
            raise DeliveryError(
                f"{folder} is in use by another run ({fault}). Wait for it to end, then try again."
            ) from fault
        raise DeliveryError(
            f"{folder} cannot be written ({fault}). Choose another --home or correct its permissions."
        ) from fault
    with closing(holder):
        yield
