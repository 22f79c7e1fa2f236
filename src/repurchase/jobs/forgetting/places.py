"""Where a home folder's outputs lie: every folder below it, also behind links, and what could not be searched."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from repurchase.jobs.forgetting.words import done, shown
from repurchase.storage.delivery import clear_leftovers
from repurchase.storage.locks import exclusive
from repurchase.storage.outputs import REGISTRY_FOLDERS
from repurchase.storage.publishing import partial_prefix, remove

__all__ = ["Places", "clear_killed", "search_home"]

_LEFT_BY_A_KILL = re.compile(
    r"^\.((?P<out>.+)\.partial-.+|partial-.+|(?P<of>.+\.(parquet|csv|json|postgresql))\.work)$"
)
_SIGNS_OF_A_HOME = ("repurchase.toml", *REGISTRY_FOLDERS)


@dataclass
class Places:
    """What was found below a home folder.

    Parameters
    ----------
    home : Path
        The folder.
    files : list of Path
        Files that are not hidden, folder by folder; each once, under the first name that leads to it.
    left : list of (Path, Path or None)
        What killed runs left, and the output that it belongs to.
    unreached : list of str
        Lines about what could not be searched: a customer may remain there.
    seen : set of (int, int)
        Device and inode of every file and folder that was met.
    """

    home: Path
    files: list[Path] = field(default_factory=list)
    left: list[tuple[Path, Path | None]] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def named(self, *endings: str) -> Iterator[Path]:
        """Give the files with an ending.

        Parameters
        ----------
        *endings : str
            In small letters.

        Yields
        ------
        Path
            In order.
        """
        yield from (path for path in self.files if path.name.lower().endswith(endings))

    def holds(self, path: Path) -> bool:
        """Tell whether a file was found, under whatever name.

        Parameters
        ----------
        path : Path
            Any file.

        Returns
        -------
        bool
            False for one that lies elsewhere.
        """
        found = path.stat()
        return (found.st_dev, found.st_ino) in self.seen

    def is_new(self, path: Path) -> bool:
        """Tell whether a file or folder is met for the first time.

        Parameters
        ----------
        path : Path
            There.

        Returns
        -------
        bool
            False if it was met under another name.
        """
        found = path.stat()
        identity = (found.st_dev, found.st_ino)
        if identity in self.seen:
            return False
        self.seen.add(identity)
        return True


def search_home(home: Path) -> Places:
    """Search a home folder; links are followed, unless they lead to another home or above this one.

    Parameters
    ----------
    home : Path
        The folder.

    Returns
    -------
    Places
        Files, leftovers, and what could not be searched.
    """
    places = Places(home)
    places.is_new(home)
    folders = [home]
    while folders:
        folders = [*_search(folders.pop(0), places), *folders]
    return places


def _search(folder: Path, places: Places) -> list[Path]:
    """Note what lies in one folder, and name the folders in it."""
    home, inner = places.home, []
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        places.unreached.append(f"{shown(folder, home)}: cannot be searched: {fault.strerror}.")
        return []
    for path in entries:
        if match := _LEFT_BY_A_KILL.match(path.name):
            out = match["out"] or match["of"]
            places.left.append((path, path.with_name(out) if out else None))
        if path.name.startswith(".") or (folder == home and path.name in REGISTRY_FOLDERS):
            continue
        why_not = _why_not(path, home)
        if why_not:
            places.unreached.append(f"{shown(path, home)}: {why_not}.")
        elif path.is_dir() and places.is_new(path):
            inner.append(path)
        elif path.is_file() and places.is_new(path):
            places.files.append(path)
            places.left.extend(_left_behind_link(path))
    return inner


def _why_not(path: Path, home: Path) -> str | None:
    """Say why a link is not followed."""
    if not path.is_symlink():
        return None
    try:
        target = path.resolve(strict=True)
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as fault:
        why = getattr(fault, "strerror", None) or "links lead in a circle"
        return f"leads to {path.readlink()}, which cannot be reached: {why}"
    if is_folder and home.resolve().is_relative_to(target):
        return f"leads to {target}, which holds this home folder, and was not searched"
    if is_folder and any((target / name).exists() for name in _SIGNS_OF_A_HOME):
        return f"leads to {target}, another home folder, which was not searched: forget them there too"
    return None


def _left_behind_link(path: Path) -> list[tuple[Path, Path | None]]:
    """What a killed run left beside the file that a link leads to."""
    if not path.is_symlink():
        return []
    real = path.resolve()
    try:
        return [(left, path) for left in real.parent.iterdir() if left.name.startswith(partial_prefix(real))]
    except OSError:
        return []


def clear_killed(left: Path, out: Path | None, home: Path, *, dry_run: bool) -> Iterator[str]:
    """Remove what a killed run left half-written: it holds customers, and nobody reads it.

    Parameters
    ----------
    left : Path
        A hidden file or folder.
    out : Path or None
        The output it belongs to; an unfinished publication of it is undone.
    home : Path
        For words.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    str
        One line.
    """
    if not dry_run:
        if out is None:
            remove(left)
        else:
            with exclusive(out):
                clear_leftovers(out, parts=True)
                remove(left)
    yield f"{shown(left, home)}: left by a run that was killed; {done('removed', dry_run)}."
