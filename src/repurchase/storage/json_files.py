"""Strict, bounded JSON files and SHA-256 digests."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

from repurchase.errors import BundleError

_DIGEST = "digest"
MAX_JSON_BYTES = 1 << 28


def sha256_of(content: Path | bytes) -> str:
    """Digest a file, or bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Put a digest of everything else into a record, so that a change by hand is noticed."""
    rest = json.loads(json.dumps({name: value for name, value in record.items() if name != _DIGEST}))
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False)
    return {**record, _DIGEST: sha256_of(text.encode("utf-8", errors="surrogatepass"))}


def has_valid_digest(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is as it was written."""
    return bool(with_digest(record)[_DIGEST] == record.get(_DIGEST))


def json_bytes(value: Any, *, name: str) -> bytes:
    """Write a value as JSON in the one form that bundles use; every float comes back with the same bits."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_numpy_scalar_to_number)
        return (text + "\n").encode("utf-8")
    except (TypeError, ValueError) as fault:
        raise BundleError(f"{name} cannot be written as JSON: {fault}.") from fault


def _numpy_scalar_to_number(value: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is neither number, text, list nor mapping")


def read_json(path: Path) -> Any:
    """Read a JSON file that anyone may have written; ValueError if it is not strict JSON, too large or too deep."""
    return parse_json(read_bounded(path))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a record; what is not readable as one is empty."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def read_bounded(path: Path) -> bytes:
    """Read a regular file of bounded size."""
    found = path.stat()
    if not S_ISREG(found.st_mode):
        raise ValueError("no regular file")
    if found.st_size > MAX_JSON_BYTES:
        raise ValueError(f"{found.st_size:,} bytes, more than {MAX_JSON_BYTES:,}")
    return path.read_bytes()


def parse_json(content: bytes) -> Any:
    """Parse strict JSON: UTF-8, finite numbers, not too deeply nested."""
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_reject_constant, parse_float=_parse_finite)
    except RecursionError as fault:
        raise ValueError("nested too deeply") from fault


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _parse_finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _reject_constant(text[:20])
