"""Orders in object stores and on web servers: named, and fetched once into a spool, from where they are read.

Credentials come from the environment, as the store's own tools take them (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME`` and so on), or from the address; `shown` never has
them.
"""

import fnmatch
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from repurchase.errors import OrdersError
from repurchase.orders.folders import readable_among
from repurchase.orders.patience import retried

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Store", "is_stored", "open_store"]

_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_WEB = ("http", "https")
_SCHEME = re.compile(r"^([a-z][a-z0-9]*)://", re.IGNORECASE)
_CHUNK_BYTES = 1 << 23
_SILENCE_SECONDS = 60
_STAYING = re.compile(
    r"ACCESS_DENIED|NO_SUCH|INVALID|UNAUTHORIZED|SIGNATURE|HTTP status 40[0134]|credential|Forbidden|not authorized",
    re.IGNORECASE,
)
_SIGNS_OF_PATTERNS = "*?["


@dataclass(frozen=True)
class Store:
    """A place that is no folder of this machine.

    Parameters
    ----------
    shown : str
        The address without user, password and signature.
    names : tuple of str
        The files' addresses, shown alike and sorted.
    fetch_one : callable
        Opens the file of that number.
    notes : tuple of str
        What else lay there.
    seconds : int
        How long a store that has gone away is tried again.
    secrets : tuple of str
        What no message may hold.
    """

    shown: str
    names: tuple[str, ...]
    fetch_one: Callable[[int], Any] = field(repr=False)
    notes: tuple[str, ...]
    seconds: int
    secrets: tuple[str, ...] = field(repr=False)

    def fetch(self, number: int, folder: Path) -> Path:
        """Fetch a file as it is stored.

        Parameters
        ----------
        number : int
            Which of ``names``.
        folder : Path
            Where to; made if it is not there.

        Returns
        -------
        Path
            The copy.

        Raises
        ------
        OrdersError
            If it cannot be fetched, or not kept.
        """
        name = self.names[number]
        target = folder / f"{number:05d}" / name.rpartition("/")[2]

        def once() -> Path:
            with closing(self.fetch_one(number)) as stored, _opened_for(target, name) as copy:
                while chunk := stored.read(_CHUNK_BYTES):
                    _write(copy, chunk, name)
            return target

        return _patiently(once, shown=name, seconds=self.seconds, secrets=self.secrets)


def is_stored(text: str) -> bool:
    """Say whether a source lies in an object store or on a web server.

    Parameters
    ----------
    text : str
        What the caller wrote.

    Returns
    -------
    bool
        By its scheme.

    Examples
    --------
    >>> [is_stored(text) for text in ("s3://shop/orders/*.parquet", "https://shop.example/o.csv", "s3/orders.csv")]
    [True, True, False]
    """
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1].lower() in (*_BUCKETS, *_WEB)


def shown_address(text: str) -> str:
    """Leave out of an address what nobody else may see.

    Parameters
    ----------
    text : str
        ``scheme://[user[:password]@]place/path[?signature]``.

    Returns
    -------
    str
        ``scheme://place/path``.

    Examples
    --------
    >>> shown_address("https://anna:geheim@shop.example/orders.csv?sig=abc")
    'https://shop.example/orders.csv'
    """
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{place.rpartition('@')[2]}{slash}{_without_query(path, scheme.lower())}"


def _without_query(path: str, scheme: str) -> str:
    if scheme in _WEB:
        return path.partition("?")[0].partition("#")[0]
    # In a bucket a question mark is a pattern's, unless options follow it.
    return re.sub(r"\?(?=[\w-]+=).*$", "", path)
