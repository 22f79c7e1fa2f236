"""Folders gone through to the bottom, so that nothing in them is missed without a word."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from repurchase.errors import OrdersError

__all__ = ["files_below", "files_matching", "require_name"]

_HIDDEN = (".", "_", "~$")


def require_name(path: str | Path) -> None:
    """Refuse a name that is no text, as it could be neither shown nor written into a record.

    Parameters
    ----------
    path : str or Path
        Any path.

    Raises
    ------
    OrdersError
        If it is not UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as fault:
        shown = os.fsencode(path).decode("utf-8", errors="backslashreplace")
        raise OrdersError(f"{shown}: the name is not UTF-8. Rename it and try again.") from fault


def files_below(folder: Path, *, endings: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Name the files of a folder and those below it.

    Parameters
    ----------
    folder : Path
        Where to begin. Links are followed; hidden files and folders are left out.
    endings : tuple of str
        How the names of tables end. What is named so is given even if it cannot be opened, for its reader to refuse.

    Returns
    -------
    files : list of Path
        Sorted, each once.
    notes : list of str
        Links that lead to what is there already.

    Raises
    ------
    OrdersError
        If a folder cannot be listed, or a link leads nowhere.
    """
    walk = _Walk(endings)
    walk.add_folder(folder)
    return walk.finished()


def files_matching(pattern: Path, *, fixed: int, endings: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Name the files that match a pattern, and those in folders that match.

    Parameters
    ----------
    pattern : Path
        With ``*``, ``?``, ``[`` and ``**``.
    fixed : int
        How many of its parts come before the first such sign.
    endings : tuple of str
        As for `files_below`.

    Returns
    -------
    files : list of Path
        Sorted, each once.
    notes : list of str
        Links that lead to what is there already.
    """
    walk = _Walk(endings)
    for match in _Pattern(endings).expanded(Path(*pattern.parts[:fixed]), pattern.parts[fixed:]):
        walk.add(match)
    return walk.finished()


class _Walk:
    """Collects files, each once, real ones before links to them."""

    def __init__(self, endings: tuple[str, ...]) -> None:
        self._endings = endings
        self._files: list[Path] = []
        self._linked_files: list[Path] = []
        self._linked_folders: list[Path] = []
        self._seen: dict[tuple[int, int], Path] = {}
        self._notes: list[str] = []

    def add(self, path: Path) -> None:
        require_name(path)
        mode = _mode(path, self._endings)
        if mode is None or not stat.S_ISDIR(mode):
            is_link = path.is_symlink() and mode is not None
            (self._linked_files if is_link else self._files).append(path)
        elif path.is_symlink():
            self._linked_folders.append(path)
        else:
            self.add_folder(path)

    def add_folder(self, folder: Path) -> None:
        if self._is_new(folder):
            for path in _listed(folder):
                self.add(path)

    def finished(self) -> tuple[list[Path], list[str]]:
        while self._linked_folders:
            self.add_folder(self._linked_folders.pop(0))
        files = [path for path in self._files if not path.exists() or self._is_new(path)]
        files += [path for path in self._linked_files if self._is_new(path)]
        return sorted(set(files)), self._notes

    def _is_new(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError as fault:
            raise OrdersError(_unlisted(path, fault)) from fault
        first = self._seen.setdefault((found.st_dev, found.st_ino), path)
        if first != path:
            self._notes.append(f"{path}: left out, as it is the same as {first}.")
        return first == path


@dataclass(frozen=True)
class _Pattern:
    """What is needed to expand a pattern."""

    endings: tuple[str, ...]

    def expanded(self, folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
        """What matches the parts of a pattern below a folder; ``above`` are folders that ``**`` came through."""
        if not parts:
            yield folder
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            yield from self._at_any_depth(folder, parts, above)
        elif any(sign in first for sign in "*?["):
            matches = [path for path in self._listed(folder) if fnmatchcase(path.name, first)]
            for path in self._folders(matches) if rest else matches:
                yield from self.expanded(path, rest)
        elif os.path.lexists(folder / first):
            yield from self.expanded(folder / first, rest)

    def _at_any_depth(self, folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        found = folder.stat()
        if (found.st_dev, found.st_ino) in above:
            return
        yield from self.expanded(folder, parts[1:])
        for path in self._folders(self._listed(folder)):
            yield from self.expanded(path, parts, (*above, (found.st_dev, found.st_ino)))

    def _listed(self, folder: Path) -> list[Path]:
        return _listed(folder) if os.path.lexists(folder) else []

    def _folders(self, paths: Iterable[Path]) -> Iterator[Path]:
        for path in sorted(paths, key=Path.is_symlink):
            mode = _mode(path, self.endings)
            if mode is not None and stat.S_ISDIR(mode):
                yield path


def _mode(path: Path, endings: tuple[str, ...]) -> int | None:
    """What a path leads to; nothing where it has a table's name and cannot be followed."""
    try:
        return path.stat().st_mode
    except OSError as fault:
        if path.name.lower().endswith(endings):
            return None
        what = "a link that leads nowhere" if path.is_symlink() else "cannot be read"
        raise OrdersError(
            f"{path}: {what} ({fault.strerror}), so orders could be missing. Restore it, or remove it from there."
        ) from fault


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if not entry.name.startswith(_HIDDEN))
    except OSError as fault:
        raise OrdersError(_unlisted(folder, fault)) from fault


def _unlisted(folder: Path, fault: OSError) -> str:
    return (
        f"{folder}: this folder cannot be listed ({fault.strerror or fault}), so orders would be missing. "
        "Allow reading it, or move it away."
    )
