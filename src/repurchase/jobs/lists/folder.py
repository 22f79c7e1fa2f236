"""A folder of lists: made ready beside its place and put there whole, or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repurchase.errors import DeliveryError, InputError
from repurchase.jobs.delivery import to_disk
from repurchase.jobs.ending import unbroken

__all__ = ["RECORD", "SCHEMA", "deliver_folder", "digest_of", "ids_of_ours", "read_record", "write_record"]

RECORD, SCHEMA = "lists.json", 1
_PARTIAL = ".partial-lists-"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a folder of lists.

    Parameters
    ----------
    folder : Path
        Any folder.

    Returns
    -------
    dict or None
        None if the folder holds none that this version knows, or one that was changed by hand.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(record, dict) and record.get("schema") == SCHEMA and record.get("command") == "lists"
    files = record.get("files") if is_ours else None
    return record if isinstance(files, list) and all(_is_file(told) for told in files) else None


def _is_file(told: Any) -> bool:
    """Whether it tells of a file in the folder and of its rows; earlier versions told the column of ids elsewhere."""
    if not isinstance(told, dict):
        return False
    name, rows, column = told.get("name"), told.get("rows"), told.get("id_column", "")
    is_here = isinstance(name, str) and Path(name).name == name
    return is_here and isinstance(rows, int) and isinstance(column, str)


def ids_of_ours(path: Path) -> str | None:
    """Find the column of ids of a list of ours, in whatever language its headings are.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    str or None
        Its name; None for a file that is not named in a record of lists beside it.
    """
    files: list[dict[str, Any]] = (read_record(path.parent) or {}).get("files", [])
    return next((file.get("id_column") for file in files if file.get("name") == path.name), None)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record of lists.

    Parameters
    ----------
    path : Path
        Where to.
    record : dict
        JSON-able.
    """
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")


def digest_of(path: Path) -> str:
    """Digest of a file.

    Parameters
    ----------
    path : Path
        Of it.

    Returns
    -------
    str
        SHA-256, in hexadecimal digits.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def deliver_folder(out: Path) -> Iterator[Path]:
    """Make a folder ready and swap it in at the end.

    Parameters
    ----------
    out : Path
        Its place; may hold earlier lists of ours, which are replaced, and nothing else.

    Yields
    ------
    Path
        Where to make the files ready; removed if that fails.

    Raises
    ------
    InputError
        If the place holds files that are no lists of ours.
    DeliveryError
        If it cannot be written.
    """
    _require_ours(out)
    staging: Path | None = None
    made: list[Path] = []
    try:
        with unbroken():
            for missing in [path for path in (out.parent, *out.parent.parents) if not path.exists()][::-1]:
                missing.mkdir()
                made.append(missing)
            staging = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=out.parent))
        yield staging
        for path in staging.iterdir():
            to_disk(path)
        staging.chmod(0o777 & ~_umask())
        with unbroken():
            _swap(staging, out)
    except OSError as fault:
        raise DeliveryError(
            f"{out} cannot be written: {fault.strerror or fault}. Nothing was changed. Mend it or choose another --out."
        ) from fault
    finally:
        with unbroken():
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
            for folder in reversed(made):
                if not any(folder.iterdir()):
                    folder.rmdir()


def _require_ours(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out {out}: that is a file. Name a folder for the lists.")
    there = sorted(path.name for path in out.iterdir())
    record = read_record(out)
    theirs = {RECORD, *(file["name"] for file in record["files"])} if record else set()
    others = [name for name in there if name not in theirs]
    if others:
        raise InputError(
            f"--out {out}: the folder holds files that are no lists of ours, such as {others[0]}. Choose another."
        )


def _swap(staging: Path, out: Path) -> None:
    if not out.exists():
        staging.rename(out)
        return
    before = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=out.parent))
    try:
        out.rename(before / "lists")
        try:
            staging.rename(out)
        except OSError:
            (before / "lists").rename(out)
            raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
