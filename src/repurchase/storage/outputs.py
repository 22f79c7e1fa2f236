"""What an output may replace: nothing that a run reads, nothing of the models, and only files of its own kind.

A file is recognised by its content, never by its name alone: a key in Parquet metadata, the generator of a page, the
``command`` and ``schema`` of a JSON record, or a CSV heading beside such a record.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import polars as pl

from repurchase.errors import InputError

__all__ = [
    "REGISTRY_FOLDERS",
    "OutputKind",
    "csv_heading",
    "exported_model",
    "is_page",
    "json_in",
    "json_record",
    "page",
    "parquet_mark",
    "read_json",
    "require_apart",
    "require_outputs",
    "require_outside_registry",
    "table",
]

REGISTRY_FOLDERS = ("models", "mlruns")
"""Folders of a home that hold models and runs, and no other output."""

_PARQUET_KEY = "repurchase"
_MOST_BYTES = 1 << 28
_HEAD_BYTES = 4096
_PAGE_SIGNS = ('<meta name="generator" content="repurchase ', "<title>Who will buy again")


@dataclass(frozen=True)
class OutputKind:
    """A kind of output.

    Parameters
    ----------
    name : str
        What a message calls it.
    recognises : callable
        Whether a file or folder is one; may raise `InputError` to say more of what else it is.
    """

    name: str
    recognises: Callable[[Path], bool]


# What an output may not touch


def require_outputs(outputs: Mapping[Path, OutputKind]) -> None:
    """Refuse to replace what this program did not write as that kind of output.

    Parameters
    ----------
    outputs : mapping of Path to OutputKind
        What will be written or removed.

    Raises
    ------
    InputError
        If something else lies there, or if it is a place for models.
    """
    for path, kind in outputs.items():
        require_outside_registry(path)
        if os.path.lexists(path) and not _recognised(path, kind):
            raise InputError(
                f"{path}: what lies there was not written as {kind.name} by this program, and is not replaced. Move "
                "it away or choose another --out."
            )


def _recognised(path: Path, kind: OutputKind) -> bool:
    if path.is_symlink() and not path.exists():
        return True  # a link to a place where nothing is yet
    try:
        return kind.recognises(path)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, zlib.error, pl.exceptions.PolarsError):
        return not os.path.lexists(path)  # gone in the meantime


def require_outside_registry(path: Path, *, home: Path | None = None) -> None:
    """Refuse to write among models and runs.

    Parameters
    ----------
    path : Path
        What will be written.
    home : Path, optional
        Its ``models/`` and ``mlruns/`` are refused even before anything is in them.

    Raises
    ------
    InputError
        If it lies below one of these folders.
    """
    own = {(home / name).resolve() for name in REGISTRY_FOLDERS} if home else set()
    place = Path(os.path.realpath(path))
    for folder in (place, *place.parents):
        if folder in own or _is_registry(folder):
            raise InputError(f"--out {path}: {folder} holds models and their runs, and no other files. Choose another.")


def _is_registry(folder: Path) -> bool:
    if (folder / "manifest.json").is_file() and (folder / "card.md").is_file():
        return True
    if folder.name == "models":
        return (folder / "aliases.json").is_file() or any(folder.glob("*/manifest.json"))
    return folder.name == "mlruns" and any((folder / name).exists() for name in ("mlflow.db", "artifacts"))


def require_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse outputs that are inputs, under whatever name.

    Parameters
    ----------
    outputs : iterable of Path
        Files that will be written or removed, and folders that will be replaced or removed with all that is in them.
    inputs : iterable of Path
        Files that will be read; folders and patterns stand for the files in them.

    Raises
    ------
    InputError
        If one of the outputs is an input, or one of the inputs lies in a folder that goes.
    """
    places = [(path, Path(os.path.realpath(path))) for path in outputs]
    known = {identity: path for path, _ in places if (identity := _identity(path)) is not None}
    for read in (file for path in inputs for file in _files(path)):
        real = Path(os.path.realpath(read))
        clash = known.get(_identity(read) or (-1, -1))
        around = clash or next((path for path, place in places if real.is_relative_to(place)), None)
        if around is not None:
            what = f"{around} is" if clash else f"{read} in {around} is"
            raise InputError(
                f"--out: {what} one of the inputs and would be overwritten. Choose another name or folder."
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path, followlinks=True):
            yield from (Path(folder) / name for name in names)
    elif path.exists():
        yield path
    else:
        with suppress(ValueError, NotImplementedError, OSError):
            yield from Path(path.anchor).glob(str(path.relative_to(path.anchor)))


# Kinds


def read_json(path: Path) -> dict[str, Any]:
    """Read a record.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    dict
        Empty where it is no JSON object, or is absurdly large or deep.
    """
    try:
        return _parsed(path)
    except (OSError, ValueError):
        return {}


def json_in(path: Path) -> Any:
    """Read a file of JSON that anyone may have written.

    Parameters
    ----------
    path : Path
        Any file; one that is larger than any of ours is not read, nor a pipe.

    Returns
    -------
    JSON value
        Its content.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no regular file, no JSON, too large, or nested too deeply.
    """
    found = path.stat()
    if not S_ISREG(found.st_mode):
        raise ValueError(f"{path}: no regular file")
    if found.st_size > _MOST_BYTES:
        raise ValueError(f"{path}: {found.st_size:,} bytes, more than {_MOST_BYTES:,}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as fault:
        raise ValueError(f"{path}: nested too deeply") from fault


def _parsed(path: Path) -> dict[str, Any]:
    record = json_in(path)
    return record if isinstance(record, dict) else {}


def json_record(name: str, command: str) -> OutputKind:
    """Describe a JSON record.

    Parameters
    ----------
    name : str
        What a message calls it.
    command : str
        The command that writes it.

    Returns
    -------
    OutputKind
        Recognised by ``command`` and ``schema``.
    """

    def recognises(path: Path) -> bool:
        record = _parsed(path)
        return record.get("command") == command and isinstance(record.get("schema"), int)

    return OutputKind(name, recognises)


def parquet_mark(kind: str) -> dict[str, str]:
    """Mark a Parquet file as ours.

    Parameters
    ----------
    kind : str
        What it is.

    Returns
    -------
    dict of str to str
        For Polars' ``metadata``.
    """
    return {_PARQUET_KEY: kind}


def table(name: str, kind: str, *, columns: Iterable[str], named_by: Callable[[Path], bool]) -> OutputKind:
    """Describe a table, in Parquet or CSV.

    Parameters
    ----------
    name : str
        What a message calls it.
    kind : str
        The mark in Parquet.
    columns : iterable of str
        Columns that every such table has.
    named_by : callable
        Whether a record beside the file names it; asked where there is no mark: of CSV, and of earlier versions' files.

    Returns
    -------
    OutputKind
        Recognised by the mark, or by columns and record.
    """
    needed = {*columns}

    def recognises(path: Path) -> bool:
        if path.suffix.lower() == ".csv":
            return needed <= {*csv_heading(path)} and named_by(path)
        if pl.read_parquet_metadata(path).get(_PARQUET_KEY) == kind:
            return True
        return needed <= {*pl.read_parquet_schema(path)} and named_by(path)

    return OutputKind(name, recognises)


def csv_heading(path: Path) -> list[str]:
    """Read the names of a CSV file's columns.

    Parameters
    ----------
    path : Path
        Comma-separated, UTF-8.

    Returns
    -------
    list of str
        As they stand.
    """
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", errors="replace")
    return [cell.strip().strip('"') for cell in line.split(",")]


def is_page(path: Path) -> bool:
    """Tell whether a file is a report of ours.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        By its generator.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    return any(sign in head for sign in _PAGE_SIGNS)


page = OutputKind("a report", is_page)


def _is_exported(path: Path) -> bool:
    with path.open("rb") as file:
        head = zlib.decompressobj().decompress(file.read(_HEAD_BYTES), _HEAD_BYTES)
    return b"repurchase.estimators.model" in head and b"RepurchaseModel" in head


exported_model = OutputKind("an exported model", _is_exported)
