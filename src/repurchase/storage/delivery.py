"""Put a job's files where they belong: all of them whole, or none, and one job at a time."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from repurchase.errors import DeliveryError, InputError, RepurchaseError
from repurchase.storage.locks import exclusive
from repurchase.storage.outputs import OutputKind, require_outputs
from repurchase.storage.publishing import (
    clear_partial,
    partial_prefix,
    publish_files,
    publish_folder,
    real_path,
    remove,
)
from repurchase.storage.signals import deferred_signals

__all__ = [
    "FORMATS",
    "Delivery",
    "clear_leftovers",
    "deliver_folder",
    "deliver_to",
    "require_file_name",
    "require_writable",
    "work_folder",
]

FORMATS = (".parquet", ".csv")
_PARTS = "parts"
_SYSTEM = re.compile(r"([^:]+?)\s*\(os error \d+\)")
_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the parts of an interrupted run wait to be resumed, where each night has a name of its own."""


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
        Folder beside it for what does not fit into memory; need not exist. Its ``parts`` outlive a run that was
        interrupted, so that the next one can resume.
    elsewhere : dict of Path to Path
        Folders to which links lead, and where files for them are made ready.
    """

    out: Path
    staging: Path
    work: Path
    elsewhere: dict[Path, Path] = field(default_factory=dict)

    @property
    def parts(self) -> Path:
        """What an interrupted run leaves to the next."""
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
            Where it will be; of a link, what it leads to is replaced.

        Returns
        -------
        Path
            In the staging folder, or in one beside the file that a link leads to.
        """
        folder = real_path(target).parent
        if not target.is_symlink() or folder.resolve() == self.out.parent.resolve():
            return self.staging / target.name
        if folder not in self.elsewhere:
            clear_partial(real_path(target))
            made = tempfile.mkdtemp(prefix=partial_prefix(real_path(target)), dir=folder)
            self.elsewhere[folder] = Path(made)
        return self.elsewhere[folder] / target.name

    def publish(self, *, removed: Iterable[Path] = ()) -> None:
        """Give every staged file its name, the main one last: who sees it, sees all.

        Parameters
        ----------
        removed : iterable of Path
            Files of an earlier run that have no successor.

        Raises
        ------
        OSError
            If the disk or the folder refuses; `deliver_to` makes a `DeliveryError` of it. Every file is as it was.
        IsADirectoryError
            Likewise, if a folder has one of the names.
        """
        folders = (self.staging, *self.elsewhere.values())
        made = [path for folder in folders for path in folder.iterdir() if path.is_file()]
        ordered = sorted(made, key=lambda path: (path.name == self.out.name, path.name))
        publish_files(self.staging, {path: self.out.parent / path.name for path in ordered}, removed=removed)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def deliver_to(
    out: Path,
    *,
    formats: tuple[str, ...] = FORMATS,
    kinds: dict[Path, OutputKind] | None = None,
) -> Iterator[Delivery]:
    """Hold a place for one job's files until they are published.

    Parameters
    ----------
    out : Path
        The main file; folders are made if need be. It may stand for a table elsewhere and never be made.
    formats : tuple of str
        Endings it may have.
    kinds : dict of Path to OutputKind, optional
        Files that will be written or removed: what lies there now must be of its kind.

    Yields
    ------
    Delivery
        Where to make files ready. What is not published is removed, and so is a folder made for it.

    Raises
    ------
    InputError
        If the ending says no known format, or a file that this program did not write would be replaced.
    DeliveryError
        If the place cannot be written, or another job is writing the same file.
    """
    require_file_name(out, formats=formats)
    with _made_folders(out.parent), _refusals(out), ExitStack() as held:
        with deferred_signals():
            held.enter_context(exclusive(out))
            clear_leftovers(out)
            _clear_forsaken(out.parent)
            require_outputs(kinds or {})
            staging = Path(tempfile.mkdtemp(prefix=partial_prefix(out), dir=out.parent))
            delivery = Delivery(out, staging, work_folder(out))
            held.push(partial(_leave, delivery))
        yield delivery


@contextmanager
def deliver_folder(out: Path, *, kind: OutputKind) -> Iterator[Path]:
    """Make a folder ready and put it in its place at the end, in one step.

    Parameters
    ----------
    out : Path
        Its place; an earlier folder of the same kind is replaced. A link stays, and the folder it leads to is replaced.
    kind : OutputKind
        What it will be.

    Yields
    ------
    Path
        Where to make the files ready; removed if that fails.

    Raises
    ------
    InputError
        If the place holds something else.
    DeliveryError
        If it cannot be written, or another job is writing it.
    """
    place = real_path(out)
    require_outputs({out: kind})
    with _made_folders(place.parent), _refusals(out), exclusive(place):
        clear_partial(place)
        require_outputs({out: kind})
        staging = Path(tempfile.mkdtemp(prefix=partial_prefix(place), dir=place.parent))
        try:
            yield staging
            publish_folder(staging, place)
        finally:
            with deferred_signals():
                shutil.rmtree(staging, ignore_errors=True)


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
            f"{folder} cannot be written: {fault.strerror or fault}. Correct that or choose another folder."
        ) from fault


def work_folder(out: Path) -> Path:
    """Name the folder for what does not fit into memory.

    Parameters
    ----------
    out : Path
        The main file.

    Returns
    -------
    Path
        Hidden, beside it.
    """
    return out.with_name(f".{out.name}.work")


def clear_leftovers(out: Path, *, parts: bool = False) -> None:
    """Remove what a killed run left; finished parts stay for the next run.

    Parameters
    ----------
    out : Path
        The main file; its lock is held, so that nobody is at work on it.
    parts : bool
        Whether finished parts go too.
    """
    clear_partial(out)
    work = work_folder(out)
    if parts:
        _discard(work)
    else:
        _clear_work(work)


def _clear_work(work: Path) -> None:
    """Leave only parts, and those only if any was finished; links that somebody put there go."""
    finished = work / _PARTS
    if work.is_symlink() or finished.is_symlink() or not any(finished.glob("*.parquet")):
        _discard(work)
        return
    for left in work.iterdir():
        if left != finished:
            _discard(left)


def _discard(path: Path) -> None:
    """Remove without a word; what cannot go is met again by whoever writes there."""
    with suppress(OSError):
        remove(path)
    shutil.rmtree(path, ignore_errors=True)


def _clear_forsaken(folder: Path) -> None:
    """Remove parts of other outputs' runs that nobody came back for: they hold customers, and fill the disk."""
    for work in folder.glob(".*.work"):
        out = work.with_name(work.name.removeprefix(".").removesuffix(".work"))
        is_ours = out.suffix in {*FORMATS, ".postgresql"} and (work / _PARTS).is_dir() and not work.is_symlink()
        if is_ours and time.time() - _last_changed(work) > _KEPT_SECONDS:
            with suppress(DeliveryError, OSError), exclusive(out):
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
    with deferred_signals():
        is_published = not delivery.staging.exists()
        for folder in (delivery.staging, *delivery.elsewhere.values()):
            shutil.rmtree(folder, ignore_errors=True)
        if is_over or is_published:
            _discard(delivery.work)
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
            f"{out} cannot be written: {why}{where}. Nothing was changed. Correct that or choose another --out."
        ) from fault


def _refused(fault: BaseException) -> str | None:
    """Say why the system refused, if that is what the fault is; Polars hides some refusals in errors of its own."""
    if isinstance(fault, RepurchaseError):
        return None
    words = _SYSTEM.search(str(fault)) if isinstance(fault, Exception) else None
    if isinstance(fault, OSError):
        return fault.strerror or (words[1].strip() if words else str(fault))
    return words[1].strip() if words else None


@contextmanager
def _made_folders(folder: Path) -> Iterator[None]:
    """Make missing folders, and remove them again if nothing came to lie in them."""
    made: list[Path] = []
    try:
        with _refusals(folder), deferred_signals():
            for path in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
                path.mkdir()
                made.append(path)
        yield
    finally:
        with deferred_signals():
            for path in reversed(made):
                with suppress(OSError):
                    path.rmdir()
