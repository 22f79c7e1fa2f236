"""Orders in object stores and on web servers: listed, and each file fetched once into a spool, from where it is read.

So every pass over the rows sees the same bytes, and each is paid for once. Credentials come from the environment, as
the stores' own tools take them (``AWS_ACCESS_KEY_ID`` or ``AWS_PROFILE``, ``GOOGLE_APPLICATION_CREDENTIALS``,
``AZURE_STORAGE_ACCOUNT_NAME`` and so on); no message holds them.
"""

import os
import re
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.error import HTTPError

from repurchase.errors import OrdersError
from repurchase.orders.folders import fixed_part, readable_among
from repurchase.orders.patience import retried

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["StoredFile", "fetch", "is_stored", "list_stored", "shown_address"]

Result = TypeVar("Result")

_S3, _GOOGLE, _AZURE, _WEB = ("s3", "s3a"), ("gs", "gcs"), ("az", "abfs", "abfss"), ("http", "https")
_SCHEME = re.compile(r"^([a-z][a-z0-9]*)://", re.IGNORECASE)
_CHUNK_BYTES = 1 << 23
_SILENCE_SECONDS = 60
_PRIVATE = 0o700
_STAYING = re.compile(
    r"ACCESS_DENIED|NO_SUCH|NOT_FOUND|INVALID|SIGNATURE|UNRECOGNIZED|HTTP status 40[0134]|HTTP Error 4(?!08|29)"
    r"|credential|Forbidden|Unauthorized|resolve host|not known|certificate",
    re.IGNORECASE,
)
_SECRET_NAMES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
_SIGNED = re.compile(r"((?:sig|signature|token|key|x-amz-[a-z-]+)=)[^&\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class StoredFile:
    """A file in a store.

    Parameters
    ----------
    shown : str
        Its address without credentials.
    address : str
        Its address, which may be signed.
    path : str
        Bucket and key; empty on a web server.
    size : int or None
        Bytes, where the store says.
    """

    shown: str
    address: str = field(repr=False)
    path: str = ""
    size: int | None = None


class _StoreError(Exception):
    """What went wrong, in words without credentials."""

    def __init__(self, words: str, *, may_pass: bool) -> None:
        super().__init__(words)
        self.may_pass = may_pass


def is_stored(text: str) -> bool:
    """Say whether a source lies in an object store or on a web server.

    Parameters
    ----------
    text : str
        What the caller wrote.

    Returns
    -------
    bool
        By its scheme; nothing is opened.

    Examples
    --------
    >>> [is_stored(text) for text in ("s3://shop/orders/*.parquet", "https://shop.example/o.csv", "s3/orders.csv")]
    [True, True, False]
    """
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1].lower() in (*_S3, *_GOOGLE, *_AZURE, *_WEB)


def shown_address(text: str) -> str:
    """Leave credentials and signatures out of an address.

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
    >>> shown_address("s3://shop/orders/day-?.csv")
    's3://shop/orders/day-?.csv'
    """
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    # In a bucket a question mark belongs to a pattern, unless name=value follows it.
    query = r"[?#].*$" if scheme.lower() in _WEB else r"\?[\w.-]+=.*$"
    shown = place if scheme.lower() in _AZURE and ":" not in place else place.rpartition("@")[2]
    return f"{scheme.lower()}://{shown}{slash}{re.sub(query, '', path)}"


def list_stored(text: str, *, seconds: int) -> tuple[list[StoredFile], list[str]]:
    """Name the files of an order log in a store.

    Parameters
    ----------
    text : str
        The address of a file; in object stores also of a folder (all that begins so), or a glob.
    seconds : int
        How long a store that has gone away is tried again.

    Returns
    -------
    files : list of StoredFile
        Sorted by address.
    notes : list of str
        What else lay there.

    Raises
    ------
    OrdersError
        If there is none, or the store cannot be reached or refuses.
    """
    shown = shown_address(text)
    scheme = shown.partition("://")[0]
    if scheme in _WEB:
        return [StoredFile(shown, text)], []
    if text.partition("://")[2] != shown.partition("://")[2]:
        raise OrdersError(
            f"{shown}: credentials and options in the address are not taken. Leave them to the environment, such as "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL."
        )
    return _patiently(lambda: _listed(shown, scheme), shown=shown, seconds=seconds)


def fetch(file: StoredFile, target: Path, *, seconds: int) -> Path:
    """Fetch a file as it is stored.

    Parameters
    ----------
    file : StoredFile
        Which.
    target : Path
        Where to, without an ending; the file's own is added.
    seconds : int
        How long a store that has gone away is tried again.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    OrdersError
        If it cannot be fetched whole, or not kept.
    """
    ending = PurePosixPath(file.shown).suffix
    copy = target.with_suffix(ending if ending[1:].isalnum() else "")

    def once() -> Path:
        stored, size = _open_stored(file)
        with closing(stored):
            got = _copied(stored, copy, shown=file.shown)
        if size is not None and got != size:
            raise _StoreError(f"it ended after {got:,} of {size:,} bytes", may_pass=True)
        return copy

    return _patiently(once, shown=file.shown, seconds=seconds)


def _listed(shown: str, scheme: str) -> tuple[list[StoredFile], list[str]]:
    from pyarrow.fs import FileSelector, FileType

    store, path = _store(shown, scheme)
    base = "/".join(fixed_part(path))
    if base == path.rstrip("/"):
        found = store.get_file_info(base)
        if found.type == FileType.File:
            return [StoredFile(shown, shown, found.path, found.size)], []
    entries = store.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
    sizes = {entry.path: entry.size for entry in entries if entry.type == FileType.File and entry.size}
    names = sorted(name for name in sizes if not _is_hidden(name.removeprefix(f"{base}/")))
    if not names:
        raise OrdersError(f"{shown}: no such file or folder. Check the address.")
    notes: list[str] = []
    if base == path.rstrip("/"):
        names, notes = readable_among(names, where=shown)
    else:
        names = [name for name in names if _fits(name.split("/"), path.split("/"))]
    if not names:
        raise OrdersError(f"{shown}: no file matches. Check the pattern, and put it in quotation marks.")
    before = shown[: len(shown) - len(path)] if shown.endswith(path) else f"{scheme}://"
    return [StoredFile(f"{before}{name}", f"{before}{name}", name, sizes[name]) for name in names], notes


def _store(shown: str, scheme: str) -> "tuple[FileSystem, str]":
    from pyarrow import fs

    path = shown.partition("://")[2]
    if scheme in _S3:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            secure, _, place = endpoint.rpartition("://")
            return fs.S3FileSystem(region=region, scheme=secure or "https", endpoint_override=place.rstrip("/")), path
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(path.partition("/")[0])), path
    if scheme in _GOOGLE:
        return fs.GcsFileSystem(), path
    if scheme == "az":
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
        if account is None:
            raise OrdersError(f"{shown}: the account is not known. Set AZURE_STORAGE_ACCOUNT_NAME.")
        key, token = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"), os.environ.get("AZURE_STORAGE_SAS_TOKEN")
        return fs.AzureFileSystem(account, account_key=key, sas_token=token), path
    store, path = fs.FileSystem.from_uri(shown)
    return store, path


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (bool(parts) and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _open_stored(file: StoredFile) -> tuple[IO[bytes], int | None]:
    if file.path:
        store, _ = _store(file.shown, file.shown.partition("://")[0])
        return store.open_input_stream(file.path, compression=None), file.size
    answer = urllib.request.urlopen(file.address, timeout=_SILENCE_SECONDS)  # noqa: S310 - http or https, as asked
    size = answer.headers.get("Content-Length")
    return answer, None if size is None else int(size)


def _copied(stored: IO[bytes], target: Path, *, shown: str) -> int:
    got = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        copy = target.open("wb")
    except OSError as fault:
        raise _unkept(shown, target, fault) from fault
    with copy:
        while chunk := stored.read(_CHUNK_BYTES):
            got += len(chunk)
            try:
                copy.write(chunk)
            except OSError as fault:
                raise _unkept(shown, target, fault) from fault
    return got


def _unkept(shown: str, target: Path, fault: OSError) -> OrdersError:
    return OrdersError(
        f"{shown}: cannot be kept in {target.parent} while it is read ({fault.strerror or fault}). "
        "Free space there, or set TMPDIR to a folder with more."
    )


def _patiently(action: Callable[[], Result], *, shown: str, seconds: int) -> Result:
    def once() -> Result:
        try:
            return action()
        except (OSError, HTTPException) as fault:
            if isinstance(fault, HTTPError):
                fault.close()
            words = _plain_words(fault)
            raise _StoreError(words, may_pass=_may_pass(fault, words)) from None

    return retried(
        once,
        seconds=seconds,
        faults=(_StoreError,),
        may_pass=lambda fault: isinstance(fault, _StoreError) and fault.may_pass,
        refuse=lambda fault, tries: OrdersError(
            f"{shown}: cannot be read ({str(fault).rstrip('.')}){tries}. Check the address and the credentials."
        ),
        shown=shown,
    )


def _may_pass(fault: Exception, words: str) -> bool:
    return not isinstance(fault, FileNotFoundError | PermissionError) and not _STAYING.search(words)


def _plain_words(fault: Exception) -> str:
    words = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
    for name in _SECRET_NAMES:
        words = words.replace(os.environ.get(name) or "\0", "…")
    return _SIGNED.sub(r"\1…", words)
