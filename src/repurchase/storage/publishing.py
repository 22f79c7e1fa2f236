"""Files and folders get their names in one step, or stay as they were.

Several files cannot be renamed at once. So what lies in their places is kept beside the staged files, under a journal,
until all have their names: a fault on the way, or the next run after a kill, puts everything back.
"""

import ctypes
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from errno import EINVAL, EISDIR, ENOSYS, EOPNOTSUPP, EPERM
from pathlib import Path

from repurchase.errors import DeliveryError
from repurchase.storage.outputs import json_in
from repurchase.storage.signals import deferred_signals

__all__ = [
    "clear_partial",
    "partial_prefix",
    "publish_files",
    "publish_folder",
    "real_path",
    "remove",
    "sync_folder",
    "sync_to_disk",
    "write_file",
]

JOURNAL, BEFORE, EARLIER = "journal.json", "before", "earlier"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT_EXCHANGE = {ENOSYS, EINVAL, EOPNOTSUPP, EPERM}


def real_path(path: Path) -> Path:
    """Follow links: a link stays, and what it leads to is replaced.

    Parameters
    ----------
    path : Path
        Need not exist.

    Returns
    -------
    Path
        The path itself unless it is a link.

    Raises
    ------
    OSError
        If links lead in a circle.
    """
    return path.resolve(strict=path.exists()) if path.is_symlink() else path


def partial_prefix(path: Path) -> str:
    """Name what is made ready for a path.

    Parameters
    ----------
    path : Path
        A file or folder.

    Returns
    -------
    str
        How hidden names beside it begin.
    """
    return f".{path.name}.partial-"


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; links are not followed.

    Parameters
    ----------
    path : Path
        Need not exist.

    Raises
    ------
    OSError
        If the system refuses.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def sync_to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk; its name is once `sync_folder` waited for the folder too.

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


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, so that files outlive a loss of power under them.

    Nothing happens where the system or the file system cannot: the names are given, and a refusal would deny that.

    Parameters
    ----------
    folder : Path
        In which names were given or removed.
    """
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Parameters
    ----------
    path : Path
        An earlier file is replaced; where it is a link, the file that it leads to.
    content : bytes
        What.

    Raises
    ------
    DeliveryError
        If the place cannot be written.
    """
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
    """Permissions of the file that is there, or of a new one."""
    return path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Several files


def publish_files(staging: Path, files: Mapping[Path, Path], *, removed: Iterable[Path] = ()) -> None:
    """Give staged files their names, the last one last; all of them, or none.

    Parameters
    ----------
    staging : Path
        Folder for the journal; it is left for the caller to remove.
    files : mapping of Path to Path
        Each staged file, and its name in the folder of ``staging``; a link there stays and its target is replaced.
    removed : iterable of Path
        Files beside them that go.

    Raises
    ------
    OSError
        If the system refuses; everything is as it was.
    IsADirectoryError
        If a folder has one of the names.
    """
    removed = [path for path in removed if path.exists()]
    for path in (*files.values(), *removed):
        if path.is_dir():
            raise IsADirectoryError(EISDIR, f"a folder named {path.name} is in the way")
    for staged in files:
        sync_to_disk(staged)
    entries = [_entry(staging, target, staged) for staged, target in files.items()]
    entries += [_entry(staging, target, None) for target in removed]
    journal = staging / JOURNAL
    journal.write_text(json.dumps(entries), encoding="utf-8")
    sync_to_disk(journal)
    places = {real_path(path).parent for path in (*files.values(), *removed)}
    places |= {folder for made in (staging, *(staged.parent for staged in files)) for folder in (made / BEFORE, made)}
    for folder in places:  # the journal and what it keeps come before the names
        sync_folder(folder)
    with deferred_signals():
        try:
            for staged, target in files.items():
                staged.replace(real_path(target))
            for target in removed:
                real_path(target).unlink()
        except BaseException:
            _undo(staging)
            raise
        for folder in places:
            sync_folder(folder)
        journal.unlink()


def _entry(staging: Path, target: Path, staged: Path | None) -> dict[str, object]:
    """Note what a name will be and was, and keep what was."""
    before: str | None = None
    real = real_path(target)
    if real.exists():
        folder = (staged.parent if staged else staging) / BEFORE
        folder.mkdir(exist_ok=True)
        kept = folder / target.name
        try:
            os.link(real, kept)
        except OSError:  # a file system without hard links, or a file of somebody else
            shutil.copy2(real, kept)
        before = str(kept.relative_to(staging) if kept.is_relative_to(staging) else kept)
    return {"name": target.name, "new": _identity(staged) if staged else None, "before": before}


def _identity(path: Path) -> list[int] | None:
    """Tell a file from others; it keeps this when it is renamed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _undo(staging: Path) -> None:
    """Put back what lay under the names of a publication that was not finished."""
    try:
        entries = json_in(staging / JOURNAL)
        places = [(real_path(staging.parent / Path(one["name"]).name), one["new"], one["before"]) for one in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if all(_identity(place) == new for place, new, _ in places):
        return  # it was finished
    for place, new, before in places:
        if _identity(place) != new:
            continue  # this name was not yet given, or somebody has replaced the file since
        with suppress(OSError):
            if before is None:
                place.unlink()
            else:
                (staging / before).replace(place)


# A folder


def publish_folder(staging: Path, out: Path) -> None:
    """Put a folder in the place of another in one step, and remove the other.

    Parameters
    ----------
    staging : Path
        Made ready, beside its place.
    out : Path
        Its place; need not exist.

    Raises
    ------
    OSError
        If the system refuses; the earlier folder is where it was.
    """
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
    """Move the earlier folder aside; `clear_partial` puts it back if the process is killed between the steps."""
    aside = Path(tempfile.mkdtemp(prefix=partial_prefix(out), dir=out.parent))
    out.rename(aside / EARLIER)
    try:
        staging.rename(out)
    except OSError:
        (aside / EARLIER).rename(out)
        aside.rmdir()
        raise
    sync_folder(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


# After a kill


def clear_partial(out: Path) -> None:
    """Remove what a killed run left half-written, and undo a publication that it did not finish.

    Parameters
    ----------
    out : Path
        The main file, or the folder; its lock is held, so that nobody is at work on it.
    """
    prefix = partial_prefix(out)
    for left in sorted(path for path in out.parent.iterdir() if path.name.startswith(prefix)):
        if left.is_dir() and not left.is_symlink():
            _undo(left)
            if not out.exists() and (left / EARLIER).is_dir():
                (left / EARLIER).rename(out)
        with suppress(OSError):
            remove(left)
