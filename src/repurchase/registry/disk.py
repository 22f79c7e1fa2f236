"""Writing that either happens or does not, and a lock that dies with its holder."""

import json
import math
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from repurchase.errors import BundleError, DeliveryError
from repurchase.storage.digests import sha256_of as sha256
from repurchase.storage.locks import locked_file
from repurchase.storage.publishing import remove
from repurchase.storage.publishing import write_file as write_whole

__all__ = [
    "clear_partial",
    "json_bytes",
    "locked",
    "parse_json",
    "partial_sibling",
    "read_json",
    "sha256",
    "write_whole",
]

MOST_BYTES = 256 << 20
PARTIAL = ".partial-"
LOCK = ".lock"
LOCK_WAIT_SECONDS = 300.0


def json_bytes(value: Any, *, name: str) -> bytes:
    r"""Write a value as JSON, in the one form that bundles use; every float comes back with the same bits.

    Parameters
    ----------
    value : JSON-able
        Mappings, lists, strings, finite numbers, booleans, None; numpy scalars count as numbers.
    name : str
        What a message calls it.

    Returns
    -------
    bytes
        UTF-8, indented by two, keys in their order, one line break at the end.

    Raises
    ------
    BundleError
        If the value holds something else, or a number that is not finite.

    Examples
    --------
    >>> json_bytes({"r": 0.1}, name="btyd.json")
    b'{\n  "r": 0.1\n}\n'
    >>> json_bytes({"r": float("nan")}, name="btyd.json")
    Traceback (most recent call last):
        ...
    repurchase.errors.BundleError: btyd.json cannot be written as JSON: Out of range float values are not JSON...
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_as_number)
        return (text + "\n").encode("utf-8")
    except (TypeError, ValueError) as fault:
        raise BundleError(f"{name} cannot be written as JSON: {fault}.") from fault


def parse_json(content: bytes | str) -> Any:
    """Read JSON that anyone may have written.

    Parameters
    ----------
    content : bytes or str
        UTF-8.

    Returns
    -------
    JSON value
        Numbers in it are finite.

    Raises
    ------
    ValueError
        If it is no JSON, larger than any file of ours, nested too deeply, or has a number that is not finite.

    Examples
    --------
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
        ...
    ValueError: nested too deeply
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes, more than {MOST_BYTES:,}")
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as fault:
        raise ValueError("nested too deeply") from fault


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text[:20])


def read_json(path: Path) -> Any:
    """Read a file of JSON that anyone may have written; see `parse_json`.

    Parameters
    ----------
    path : Path
        A file; larger ones than any of ours are not read.

    Returns
    -------
    JSON value
        Its content.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        As of `parse_json`.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{size:,} bytes, more than {MOST_BYTES:,}")
    return parse_json(path.read_bytes())


def _as_number(value: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is neither number, text, list nor mapping")


def partial_sibling(path: Path) -> Path:
    """Name a place beside a path where it can be made ready.

    Parameters
    ----------
    path : Path
        What will be there in the end.

    Returns
    -------
    Path
        A hidden name in the same folder, so that a rename suffices; see `clear_partial`.
    """
    return path.parent / f"{PARTIAL}{path.name}-{secrets.token_hex(4)}"


def clear_partial(folder: Path) -> None:
    """Remove what a killed process left half-written; call it with the folder `locked`.

    Parameters
    ----------
    folder : Path
        Where to look; names made by `partial_sibling` go.
    """
    for left in (*folder.glob(f"{PARTIAL}*"), *folder.glob(f".*{PARTIAL}*")):
        remove(left)


@contextmanager
def locked(folder: Path, *, wait_seconds: float | None = None) -> Iterator[None]:
    """Hold a folder against other processes of ours.

    The folder and an empty file ``.lock`` in it are made if need be.

    Parameters
    ----------
    folder : Path
        What to hold.
    wait_seconds : float, optional
        How long to wait for another holder; default some minutes.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    DeliveryError
        If the folder cannot be written, or someone else holds it longer than that.
    """
    seconds = LOCK_WAIT_SECONDS if wait_seconds is None else wait_seconds
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holder = locked_file(folder / LOCK, wait_seconds=seconds)
    except (OSError, sqlite3.Error) as fault:
        if "locked" in str(fault):
            raise DeliveryError(
                f"{folder} is in use by another run ({fault}). Wait for it to end, then try again."
            ) from fault
        raise DeliveryError(
            f"{folder} cannot be written ({fault}). Choose another --home or mend its rights."
        ) from fault
    with closing(holder):
        yield
