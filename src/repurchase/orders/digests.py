"""A digest of rows that does not depend on their order: a database gives the same table in another order tomorrow."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import polars.selectors as cs

__all__ = ["RowDigest", "lines_of"]

_HASH_BYTES = 16


class RowDigest:
    """Adds up the rows' BLAKE2b hashes of 128 bits, in two halves modulo 2**64.

    A sum keeps count of equal rows, which an exclusive or would not. It tells accident and change, not malice.

    Examples
    --------
    >>> first, second = RowDigest(), RowDigest()
    >>> first.add([b"a,1", b"b,2"])
    >>> second.add([b"b,2"])
    >>> second.add([b"a,1"])
    >>> first.hexdigest(["id", "n"]) == second.hexdigest(["id", "n"])
    True
    """

    def __init__(self) -> None:
        self._sums = np.zeros(2, dtype=np.uint64)
        self._count = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Add rows.

        Parameters
        ----------
        lines : iterable of bytes
            Each row, written so that different rows differ.
        """
        hashes = b"".join([hashlib.blake2b(line, digest_size=_HASH_BYTES).digest() for line in lines])
        halves = np.frombuffer(hashes, dtype="<u8").reshape(-1, 2)
        self._sums += halves.sum(axis=0, dtype=np.uint64)
        self._count += len(halves)

    def hexdigest(self, names: Sequence[str]) -> str:
        """Digest what was added.

        Parameters
        ----------
        names : sequence of str
            The columns, in order.

        Returns
        -------
        str
            A sha256 over the sums, the number of rows and the names.
        """
        said = [str(self._count), *(str(half) for half in self._sums), *names]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


def lines_of(rows: pl.DataFrame) -> list[bytes]:
    r"""Write each row as one line, whatever signs are in it.

    Parameters
    ----------
    rows : DataFrame
        Of plain columns.

    Returns
    -------
    list of bytes
        One per row; nothing and an empty text differ.

    Examples
    --------
    >>> lines_of(pl.DataFrame({"a": ["x", None], "b": ["", "two lines".replace(" ", chr(10))]}))
    [b'x,""', b',two\\nlines']
    """
    plain = rows.with_columns(cs.string().str.replace_many({"\\": "\\\\", "\n": "\\n"}))
    return plain.write_csv(include_header=False).encode().split(b"\n")[:-1]
