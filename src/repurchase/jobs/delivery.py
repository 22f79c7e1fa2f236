"""Put a job's files where they were asked for: all of them whole, or none, and one job at a time."""

import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EISDIR
from functools import partial
from pathlib import Path
from types import TracebackType

from repurchase.errors import DeliveryError, InputError, RepurchaseError
from repurchase.jobs.ending import unbroken

__all__ = ["FORMATS", "Delivery", "deliver_to", "require_file_name", "require_writable", "to_disk"]

FORMATS = (".parquet", ".csv")
_PARTS = "parts"
_SYSTEM = re.compile(r"([^:]+?)\s*\(os error \d+\)")
_TRIES = 10
_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long parts of a run that was broken off wait to be gone on from, where each night has a name of its own."""


@dataclass(frozen=True)
class Delivery:
    """A place to make files ready, and the names they get in the end.

    Parameters
    ----------
    out : Path
        The main file.
    staging : Path
        Folder beside it where files are made ready.
    work : Path
        Folder beside it for what does not fit into memory; need not exist. Its ``parts`` outlive a run that was broken
        off, so that the next one can go on from them.
    """

    out: Path
    staging: Path
    work: Path

    @property
    def parts(self) -> Path:
        """What a run that is broken off leaves to the next."""
        return self.work / _PARTS

    def beside(self, suffix: str) -> Path:
        """Name a file that belongs to the main one.

        Parameters
        ----------
        suffix : str
            Such as ``.run.json``.

        Returns
        -------
        Path
            ``<stem><suffix>`` in the same folder.
        """
        return self.out.with_name(self.out.stem + suffix)

    def staged(self, target: Path) -> Path:
        """Say where a file is made ready.

        Parameters
        ----------
        target : Path
            Where it will be.

        Returns
        -------
        Path
            In the staging folder.
        """
        return self.staging / target.name

    def publish(self) -> None:
        """Give every staged file its name, the main one last: who sees it, sees all.

        Raises
        ------
        OSError
            If the disk or the folder refuses; `deliver_to` makes a `DeliveryError` of it.
        IsADirectoryError
            Likewise, if a folder has one of the names.
        """
        made = sorted(self.staging.iterdir(), key=lambda path: path.name == self.out.name)
        targets = {path: self.out.parent / path.name for path in made}
        in_the_way = [target for target in targets.values() if target.is_dir()]
        if in_the_way:
            raise IsADirectoryError(EISDIR, f"a folder named {in_the_way[0].name} is in the way")
        for path in made:
            to_disk(path)
        with unbroken():
            for path, target in targets.items():
                path.replace(target)
            self.staging.rmdir()


@contextmanager
def deliver_to(out: Path, *, formats: tuple[str, ...] = FORMATS) -> Iterator[Delivery]:
    """Hold a place for one job's files until they are published.

    Parameters
    ----------
    out : Path
        The main file; folders are made if need be. It may stand for a table elsewhere and never be made.
    formats : tuple of str
        Endings it may have.

    Yields
    ------
    Delivery
        Where to make files ready. What is not published is removed, and so is a folder made for it.

    Raises
    ------
    InputError
        If the ending says no known format.
    DeliveryError
        If the place cannot be written, or another job is writing the same file.
    """
    require_file_name(out, formats=formats)
    made: list[Path] = []
    try:
        with _refusals(out), ExitStack() as held:
            with unbroken():
                _make_folders(out.parent, made)
                held.enter_context(_only_one(out))
                _clear_leftovers(out)
                _clear_forsaken(out.parent)
                delivery = Delivery(out, Path(tempfile.mkdtemp(prefix=_partial(out), dir=out.parent)), _work(out))
                held.push(partial(_leave, delivery))
            yield delivery
    finally:
        with unbroken():
            for folder in reversed(made):
                _remove_if_empty(folder)


def to_disk(path: Path) -> None:
    """Wait until a file is on the disk, so that it outlives a loss of power under the name it is then given.

    Parameters
    ----------
    path : Path
        Written and closed.

    Raises
    ------
    OSError
        If the disk refuses now what it took before.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_file_name(out: Path, *, formats: tuple[str, ...] = FORMATS) -> None:
    """Refuse a name that no file of ours can have.

    Parameters
    ----------
    out : Path
        The main file.
    formats : tuple of str
        Endings it may have.

    Raises
    ------
    InputError
        If the ending says no known format.
    DeliveryError
        If it is a folder.
    """
    if out.suffix not in formats:
        raise InputError(f"--out {out}: the ending must be {' or '.join(formats)}. Got '{out.suffix}' instead.")
    if out.is_dir():
        raise DeliveryError(f"--out {out}: that is a folder; name a file in it, such as {out / 'scores.parquet'}.")


def require_writable(folder: Path) -> None:
    """Find out whether a folder can be written, or made, before long work is done for it.

    Parameters
    ----------
    folder : Path
        Need not exist; it is not made.

    Raises
    ------
    DeliveryError
        If it cannot be written.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".repurchase-", dir=nearest):
            return
    except OSError as fault:
        raise DeliveryError(
            f"{folder} cannot be written: {fault.strerror or fault}. Mend it or choose another folder."
        ) from fault


def _partial(out: Path) -> str:
    return f".{out.name}.partial-"


def _work(out: Path) -> Path:
    return out.with_name(f".{out.name}.work")


def _clear_leftovers(out: Path) -> None:
    """Remove what a killed run left half-written; the lock is ours, so nobody is at work on it."""
    for left in out.parent.iterdir():
        if left.name.startswith(_partial(out)):
            shutil.rmtree(left, ignore_errors=True)
    _clear_work(_work(out))


def _clear_work(work: Path) -> None:
    """Leave only parts, and those only if any was finished."""
    if not work.is_dir():
        return
    for left in work.iterdir():
        if left.name != _PARTS:
            shutil.rmtree(left, ignore_errors=True)
    if not any((work / _PARTS).glob("*.parquet")):
        shutil.rmtree(work, ignore_errors=True)


def _clear_forsaken(folder: Path) -> None:
    """Remove parts of other outputs' runs that nobody came back for: they hold customers, and fill the disk."""
    for work in folder.glob(".*.work"):
        out = work.with_name(work.name.removeprefix(".").removesuffix(".work"))
        is_ours = out.suffix in {*FORMATS, ".postgresql"} and (work / _PARTS).is_dir()
        if is_ours and time.time() - _last_changed(work) > _KEPT_SECONDS:
            with suppress(DeliveryError, OSError), _only_one(out):
                shutil.rmtree(work, ignore_errors=True)


def _last_changed(work: Path) -> float:
    changed = [time.time()]
    with suppress(OSError):
        changed = [path.stat().st_mtime for path in (work, *work.rglob("*"))]
    return max(changed)


def _leave(
    delivery: Delivery, _kind: type[BaseException] | None, fault: BaseException | None, _trace: TracebackType | None
) -> None:
    is_over = fault is None or _refused(fault) is not None  # a full disk is given back all of it
    with unbroken():
        is_published = not delivery.staging.exists()
        shutil.rmtree(delivery.staging, ignore_errors=True)
        if is_over or is_published:
            shutil.rmtree(delivery.work, ignore_errors=True)
        else:
            _clear_work(delivery.work)


@contextmanager
def _refusals(out: Path) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        why = _refused(fault)
        if why is None:
            raise
        gone = isinstance(fault, FileNotFoundError) and not out.parent.exists()
        where = f", the folder {out.parent} is gone" if gone else ""
        raise DeliveryError(
            f"{out} cannot be written: {why}{where}. Nothing was changed. Mend it or choose another --out."
        ) from fault


def _refused(fault: BaseException) -> str | None:
    """Say why the system refused, if that is what the fault is; Polars hides some refusals in errors of its own."""
    if isinstance(fault, RepurchaseError):
        return None
    told = _SYSTEM.search(str(fault)) if isinstance(fault, Exception) else None
    if isinstance(fault, OSError):
        return fault.strerror or (told[1].strip() if told else str(fault))
    return told[1].strip() if told else None


def _make_folders(folder: Path, made: list[Path]) -> None:
    for path in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
        try:
            path.mkdir()
        except OSError as fault:
            raise DeliveryError(
                f"{folder} cannot be written: {fault.strerror or fault}. Nothing was changed. Mend it or choose "
                "another --out."
            ) from fault
        made.append(path)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Hold a lock beside the output; a killed holder lets go by itself, since SQLite's lock is the system's."""
    lock, note = out.with_name(f".{out.name}.lock"), out.with_name(f".{out.name}.holder")
    try:
        with closing(_locked(lock)):
            try:
                since = f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
                note.write_text(json.dumps({"pid": os.getpid(), "since": since}))
                yield
            finally:
                for path in (note, lock):
                    with suppress(OSError):  # the folder may be gone, or closed to us: the fault itself says so
                        path.unlink()
    except sqlite3.OperationalError as fault:
        if "locked" not in str(fault):
            lock.unlink(missing_ok=True)
            raise DeliveryError(
                f"{out} cannot be written ({fault}). Choose another --out or mend its rights."
            ) from fault
        raise DeliveryError(f"{out} is being written by another run{_whose(note)}. Wait for it to end.") from fault


def _locked(lock: Path) -> sqlite3.Connection:
    # Who ends removes the file. Whoever had opened it just before then holds a lock that nobody else will meet.
    for _ in range(_TRIES):
        if not lock.exists():
            lock.touch()
        opened = lock.stat().st_ino
        holder = sqlite3.connect(lock, timeout=0.0, isolation_level=None)
        try:
            holder.execute("BEGIN EXCLUSIVE")
            if lock.exists() and lock.stat().st_ino == opened:
                return holder
        except BaseException:
            holder.close()
            raise
        holder.close()
    raise sqlite3.OperationalError("database is locked")


def _whose(note: Path) -> str:
    try:
        holder = json.loads(note.read_text())
    except (OSError, ValueError):
        return ""
    return f" (process {holder.get('pid')}, since {holder.get('since')})"
