"""The digest of a file's or a text's content, and of a record within itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["has_own_digest", "sha256_of", "with_digest"]

_DIGEST = "digest"


def sha256_of(content: Path | bytes) -> str:
    """Digest a file, or bytes.

    Parameters
    ----------
    content : Path or bytes
        A file that can be read, or bytes.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> sha256_of(b"")[:12]
    'e3b0c44298fc'
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Put a digest of everything else into a record, so that a change by hand is noticed.

    Parameters
    ----------
    record : mapping
        JSON-able.

    Returns
    -------
    dict
        With ``digest``, which is that of the record as JSON gives it back.
    """
    rest = json.loads(json.dumps({name: value for name, value in record.items() if name != _DIGEST}))
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False)
    return {**record, _DIGEST: sha256_of(text.encode("utf-8", errors="surrogatepass"))}


def has_own_digest(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is as it was written.

    Parameters
    ----------
    record : mapping
        As read.

    Returns
    -------
    bool
        False for one that was changed, or holds no digest.
    """
    return bool(with_digest(record)[_DIGEST] == record.get(_DIGEST))
