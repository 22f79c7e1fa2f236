"""The digest of a file's or a text's content."""

import hashlib
from pathlib import Path

__all__ = ["sha256_of"]


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
