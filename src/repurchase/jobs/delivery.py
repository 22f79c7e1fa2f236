"""Put a job's files where they were asked for: all of them whole, or none, and one job at a time."""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from repurchase.errors import DeliveryError, InputError

__all__ = ["FORMATS", "Delivery", "deliver_to", "require_file_name", "require_writable"]

FORMATS = (".parquet", ".csv")
_PARTS = "parts"


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
        DeliveryError
            If the folder refuses.
        """
        made = sorted(self.staging.iterdir(), key=lambda path: path.name == self.out.name)
        for path in made:
            path.replace(self.out.parent / path.name)


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
    made = _make_folders(out.parent)
    try:
        with _only_one(out), _refusals(out):
            _clear_leftovers(out)
            staging = Path(tempfile.mkdtemp(prefix=_partial(out), dir=out.parent))
            delivery = Delivery(out, staging, _work(out))
            try:
                yield delivery
            except OSError:  # the disk may be full: nothing may stay
                shutil.rmtree(delivery.work, ignore_errors=True)
                raise
            except BaseException:
                _clear_work(delivery.work)
                raise
            else:
                shutil.rmtree(delivery.work, ignore_errors=True)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    finally:
        for folder in reversed(made):
            _remove_if_empty(folder)


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


@contextmanager
def _refusals(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise DeliveryError(
            f"{out} cannot be written: {fault.strerror or fault}. Nothing was changed. Mend it or choose another --out."
        ) from fault


def _make_folders(folder: Path) -> list[Path]:
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    with _refusals(folder):
        for path in missing:
            path.mkdir()
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Hold a lock beside the output; a killed holder lets go by itself, since SQLite's lock is the system's."""
    lock, note = out.with_name(f".{out.name}.lock"), out.with_name(f".{out.name}.holder")
    try:
        holder = sqlite3.connect(lock, timeout=0.0, isolation_level=None)
        with closing(holder):
            holder.execute("BEGIN EXCLUSIVE")
            note.write_text(json.dumps({"pid": os.getpid(), "since": f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC"}))
            try:
                yield
            finally:
                note.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
    except sqlite3.OperationalError as fault:
        if "locked" not in str(fault):
            raise DeliveryError(
                f"{out} cannot be written ({fault}). Choose another --out or mend its rights."
            ) from fault
        raise DeliveryError(f"{out} is being written by another run{_whose(note)}. Wait for it to end.") from fault


def _whose(note: Path) -> str:
    try:
        holder = json.loads(note.read_text())
    except (OSError, ValueError):
        return ""
    return f" (process {holder.get('pid')}, since {holder.get('since')})"
