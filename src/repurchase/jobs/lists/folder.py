"""The record of a folder of lists, by which the folder is recognised."""

import json
import re
from pathlib import Path
from typing import Any

from repurchase.errors import InputError
from repurchase.storage.outputs import OutputKind, read_json
from repurchase.storage.publishing import write_file

__all__ = ["LISTS", "RECORD", "SCHEMA", "ids_of_ours", "read_record", "write_record"]

RECORD, SCHEMA = "lists.json", 1


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
    record = read_json(folder / RECORD)
    is_ours = record.get("schema") == SCHEMA and record.get("command") == "lists"
    files = record.get("files") if is_ours else None
    mark, forgotten = record.get("pseudonyms"), record.get("forgotten", [])
    if not isinstance(files, list) or not isinstance(forgotten, list) or not isinstance(mark, dict | None):
        return None
    return record if all(_is_file(told) for told in files) else None


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
    write_file(path, (text + "\n").encode())


def _is_ours(folder: Path) -> bool:
    """Whether a folder is empty, or holds lists of ours and nothing else; the refusal names what else."""
    if not folder.is_dir():
        raise InputError(f"--out {folder}: that is a file. Name a folder for the lists.")
    record = read_record(folder) or {}
    files = {file["name"]: file.get("id_column") or record.get("id_column") for file in record.get("files", [])}
    ours = {RECORD} if record else set()
    ours |= {name for name, column in files.items() if _has_heading(folder / name, column)}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        raise InputError(
            f"--out {folder}: the folder holds files that are no lists of ours, such as {others[0]}. Choose another."
        )
    return True


def _has_heading(path: Path, column: str | None) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", errors="replace")
    return column is None or column in re.split("[,;\t]", line.strip().replace('"', ""))


LISTS = OutputKind("a folder of lists", _is_ours)
