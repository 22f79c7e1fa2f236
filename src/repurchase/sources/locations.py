"""Orders that lie elsewhere: database addresses, object stores and web servers, and retries of transient faults."""

import logging
import os
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.client import HTTPException
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.error import HTTPError
from urllib.parse import parse_qsl, unquote

from repurchase.errors import InputError, OrdersError, RepurchaseError
from repurchase.i18n.messages import Message
from repurchase.sources.folders import cannot_keep, is_hidden, pattern_root, readable_files
from repurchase.storage.redaction import redact

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Result = TypeVar("Result")
_SERVERS = ("postgresql", "postgres")
_FILES = ("sqlite", "duckdb")
_FILE_ENDINGS = (".db", ".db3", ".sqlite", ".sqlite3", ".duckdb", ".ddb")
_OTHER_DATABASES = ("mysql", "mariadb", "mssql", "oracle", "snowflake", "bigquery", "redshift", "odbc", "jdbc")
_SCHEME = re.compile(r"^([a-z][a-z0-9]*)(?:\+[a-z0-9_]+)?:(?://)?", re.IGNORECASE)
_HOST = re.compile(r"^(\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?$")
_NAME = r'"(?:[^"]|"")+"|[^\W\d][\w$]*'
_TABLE = re.compile(rf"^\s*({_NAME})(?:\.({_NAME}))?\s*$")
_SQL_PARTS = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\b[eE]'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)",
    re.DOTALL,
)
_SELECT = re.compile(r"[\s(]*(?:select|with)\b", re.IGNORECASE)
_logger = logging.getLogger("repurchase")
_FIRST_RETRY_SECONDS = 0.25
_MAX_RETRY_PAUSE_SECONDS = 8.0
_S3, _GOOGLE, _AZURE, _WEB = ("s3", "s3a"), ("gs", "gcs"), ("az", "abfs", "abfss"), ("http", "https")
_STORE_SCHEME = re.compile(r"^([a-z][a-z0-9]*)://", re.IGNORECASE)
_CHUNK_BYTES = 1 << 23
_SILENCE_SECONDS = 60
_PRIVATE = 0o700
_PERMANENT_FAULTS = re.compile(
    r"ACCESS_DENIED|NO_SUCH|NOT_FOUND|INVALID|SIGNATURE|UNRECOGNIZED|HTTP status 40[0134]|HTTP Error 4(?!08|29)"
    r"|credential|Forbidden|Unauthorized|resolve host|not known|certificate",
    re.IGNORECASE,
)
_SECRET_NAMES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
_SIGNED = re.compile(r"((?:sig|signature|token|key|x-amz-[a-z-]+)=)[^&\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL database."""

    shown: str
    database: str
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class DatabaseSource:
    """Orders in a database: a table, or what a query gives."""

    database: Server | Path
    query: str | None = None
    table: tuple[str, ...] | None = None

    @property
    def shown(self) -> str:
        """The database's address without password."""
        return self.database.shown if isinstance(self.database, Server) else str(self.database)

    @property
    def select(self) -> str:
        """The query that gives the orders."""
        return self.query if self.query is not None else f"SELECT * FROM {quote_identifier(self.table or ())}"  # noqa: S608 - quoted

    def __str__(self) -> str:
        return f"{self.shown} ({'query' if self.table is None else 'table ' + '.'.join(self.table)})"


def is_database(text: str) -> bool:
    """Say whether a source or an output is a database and no file of orders."""
    scheme = _SCHEME.match(text)
    known = (*_SERVERS, *_FILES, *_OTHER_DATABASES)
    return (scheme is not None and scheme[1].lower() in known) or text.lower().endswith(_FILE_ENDINGS)


def parse_orders_source(text: str, *, query: str | None = None, table: str | None = None) -> str | DatabaseSource:
    """Say where orders come from, as the command line has it."""
    given = [name for name, value in (("--query", query), ("--table", table)) if value is not None]
    if not is_database(text):
        if given:
            verb = "is" if len(given) == 1 else "are"
            raise InputError(f"{text}: {' and '.join(given)} {verb} for databases, and this is none. Leave it out.")
        return text
    database, shown = _database(text)
    if len(given) != 1:
        found = "both --query and --table were given" if given else "neither --query nor --table was given"
        raise InputError(f"{shown}: {found}. Say which orders, one way: --table schema.orders or --query 'select …'.")
    if query is not None:
        return DatabaseSource(database, query=require_one_select(query))
    return DatabaseSource(database, table=parse_table_name(table or ""))


def _database(text: str) -> tuple[Server | Path, str]:
    scheme = _SCHEME.match(text)
    kind = scheme[1].lower() if scheme else ""
    if kind in _SERVERS:
        server, rest = parse_server(text)
        if rest:
            raise InputError(
                f"{server.shown}: more than a database's name follows the host. Give the table as "
                f"--table {'.'.join(rest)}."
            )
        return server, server.shown
    if kind in _OTHER_DATABASES:
        raise InputError(
            f"{kind}: such databases are not read. Known are PostgreSQL (postgresql://…), SQLite and DuckDB files; "
            "from others, export the orders as CSV or Parquet."
        )
    path = Path(re.sub(r"^/", "", text[scheme.end() :]) if scheme and kind in _FILES else text)
    return path, str(path)


def parse_server(text: str) -> tuple[Server, list[str]]:
    """Take a PostgreSQL address apart."""
    scheme, _, after = text.partition("://")
    if not after:
        raise InputError(
            f"The database address must begin with {_SERVERS[0]}://. Got {scheme.partition(':')[0]}: instead."
        )
    userinfo, at, remainder = after.rpartition("@")
    remainder, _, query = remainder.partition("?")
    hosts, _, path = remainder.partition("/")
    found = [_HOST.match(host) for host in hosts.split(",")]
    if re.search(r"[/?#\s]", userinfo) or "#" in remainder + query or not all(found):
        raise InputError(
            "The database address cannot be taken apart: in user, password and names, write % as %25, @ as %40, "
            ": as %3A, / as %2F, ? as %3F, # as %23. Or leave the password to PGPASSWORD or PGPASSFILE."
        )
    user, _, password = userinfo.partition(":")
    database, *rest = [unquote(part) for part in path.rstrip("/").split("/")]
    named = {
        "user": unquote(user),
        "password": unquote(password),
        "host": ",".join(unquote(match[1].strip("[]")) for match in found if match),
        "port": ",".join(match[2] or "" for match in found if match).strip(","),
        "dbname": database,
    }
    options = {**{name: value for name, value in named.items() if value}, **dict(parse_qsl(query))}
    return Server(f"postgresql://{user}{at}{hosts}/{database}", options.get("dbname", ""), options), rest


def parse_table_name(text: str) -> tuple[str, ...]:
    """Read a table's name as SQL does."""
    match = _TABLE.match(text)
    if match is None:
        raise InputError(
            f"'{text}' is no table's name. Expected table or schema.table; in quotation marks where it has capitals or "
            "other characters: '\"Order Lines\"'."
        )
    parts = (part for part in match.groups() if part is not None)
    return tuple(part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in parts)


def quote_identifier(name: tuple[str, ...] | str) -> str:
    """Write a name so that SQL takes it as it is."""
    parts = (name,) if isinstance(name, str) else name
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def require_one_select(query: str) -> str:
    r"""Refuse a query that is not one SELECT or WITH."""
    bare = _SQL_PARTS.sub(lambda part: (" " if part["comment"] else "x") * len(part[0]), query)
    end = len(bare.rstrip("; \t\r\n"))
    bare = bare[:end]
    if not _SELECT.match(bare):
        # Redacted before it is shortened: a part of a password would not be recognised.
        begins = f"It begins with '{redact(bare.split()[0])[:20]}' instead" if bare.strip() else "It is empty"
        raise InputError(f"--query must be one SELECT or WITH. {begins}.")
    if ";" in bare:
        raise InputError("--query must be one SELECT or WITH. Several statements were given; send one.")
    if not _is_balanced(bare):
        raise InputError("--query must be one SELECT or WITH. Its parentheses do not match.")
    return query[:end].strip()


def _is_balanced(text: str) -> bool:
    depths = [*accumulate(1 if bracket == "(" else -1 for bracket in re.findall(r"[()]", text))]
    return not depths or (depths[-1] == 0 and min(depths) >= 0)


def retry(
    action: Callable[[], Result],
    *,
    seconds: float,
    faults: tuple[type[Exception], ...],
    is_transient: Callable[[Exception], bool],
    refuse: Callable[[Exception, str], RepurchaseError],
    shown: str,
) -> Result:
    """Do something, again and again while the fault is one that passes."""
    until: float | None = None
    pause, tries = _FIRST_RETRY_SECONDS, 0
    while True:
        tries += 1
        try:
            return action()
        except faults as fault:
            if not is_transient(fault):
                raise refuse(fault, "") from fault
            now = time.monotonic()
            until = now + seconds if until is None else until
            if now >= until:
                count = f"{tries} {'try' if tries == 1 else 'tries'}"
                raise refuse(fault, f" ({count} within {seconds:g} s)") from fault
            wait = min(pause, until - now)
            _logger.warning("%s: %s; trying again in %.2f s", shown, str(fault).strip().splitlines()[0], wait)
        time.sleep(wait)
        pause = min(2 * pause, _MAX_RETRY_PAUSE_SECONDS)


@dataclass(frozen=True)
class _RemoteFile:
    """A file in a store."""

    shown: str
    address: str = field(repr=False)
    path: str = ""
    size: int | None = None


class _StoreError(Exception):
    """What went wrong in a store; the message has no credentials."""

    def __init__(self, fault: Exception) -> None:
        reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        for name in _SECRET_NAMES:
            reason = reason.replace(os.environ.get(name) or "\0", "…")
        reason = _SIGNED.sub(r"\1…", reason)
        super().__init__(reason)
        is_missing = isinstance(fault, FileNotFoundError | PermissionError)
        self.is_transient = not is_missing and not _PERMANENT_FAULTS.search(reason)


def is_remote(text: str) -> bool:
    """Say whether a source lies in an object store or on a web server."""
    scheme = _STORE_SCHEME.match(text)
    return scheme is not None and scheme[1].lower() in (*_S3, *_GOOGLE, *_AZURE, *_WEB)


def redacted_address(text: str) -> str:
    """Leave credentials and signatures out of an address."""
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    # In a bucket a question mark belongs to a pattern, unless name=value follows it.
    query = r"[?#].*$" if scheme.lower() in _WEB else r"\?[\w.-]+=.*$"
    shown = place if scheme.lower() in _AZURE and ":" not in place else place.rpartition("@")[2]
    return f"{scheme.lower()}://{shown}{slash}{re.sub(query, '', path)}"


def list_remote_files(text: str, *, seconds: int) -> tuple[list[_RemoteFile], list[Message]]:
    """Name the files of an order log in a store."""
    shown = redacted_address(text)
    scheme = shown.partition("://")[0]
    if scheme in _WEB:
        return [_RemoteFile(shown, text)], []
    if text.partition("://")[2] != shown.partition("://")[2]:
        raise OrdersError(
            f"{shown}: credentials and options in the address are not taken. Leave them to the environment, such as "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL."
        )
    return _with_retry(lambda: _list_once(shown, scheme), shown=shown, seconds=seconds)


def fetch_file(file: _RemoteFile, target: Path, *, seconds: int) -> Path:
    """Fetch a file as it is stored."""
    ending = PurePosixPath(file.shown).suffix
    copy = target.with_suffix(ending if ending[1:].isalnum() else "")

    def once() -> Path:
        stored, size = _open_remote(file)
        with closing(stored):
            n_bytes = _copied(stored, copy, shown=file.shown)
        if size is not None and n_bytes != size:
            raise OSError(f"it ended after {n_bytes:,} of {size:,} bytes")
        return copy

    return _with_retry(once, shown=file.shown, seconds=seconds)


def _list_once(shown: str, scheme: str) -> tuple[list[_RemoteFile], list[Message]]:
    from pyarrow.fs import FileSelector, FileType

    store, path = _store(shown, scheme)
    base = "/".join(pattern_root(path))
    if base == path.rstrip("/"):
        found = store.get_file_info(base)
        if found.type == FileType.File:
            return [_RemoteFile(shown, shown, found.path, found.size)], []
    entries = store.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
    sizes = {entry.path: entry.size for entry in entries if entry.type == FileType.File and entry.size}
    names = sorted(name for name in sizes if not is_hidden(name.removeprefix(f"{base}/")))
    if not names:
        raise OrdersError(f"{shown}: no such file or folder. Check the address.")
    notes: list[Message] = []
    if base == path.rstrip("/"):
        names, notes = readable_files(names, where=shown)
    else:
        names = [name for name in names if _fits(name.split("/"), path.split("/"))]
    if not names:
        raise OrdersError(f"{shown}: no file matches. Check the pattern, and put it in quotation marks.")
    before = shown[: len(shown) - len(path)] if shown.endswith(path) else f"{scheme}://"
    return [_RemoteFile(f"{before}{name}", f"{before}{name}", name, sizes[name]) for name in names], notes


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


def _open_remote(file: _RemoteFile) -> tuple[IO[bytes], int | None]:
    if file.path:
        store, _ = _store(file.shown, file.shown.partition("://")[0])
        return store.open_input_stream(file.path, compression=None), file.size
    answer = urllib.request.urlopen(file.address, timeout=_SILENCE_SECONDS)  # noqa: S310 - http or https, checked by the caller
    size = answer.headers.get("Content-Length")
    return answer, None if size is None else int(size)


def _copied(stored: IO[bytes], target: Path, *, shown: str) -> int:
    n_bytes = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        copy = target.open("wb")
    except OSError as fault:
        raise cannot_keep(shown, target.parent, fault) from fault
    with copy:
        while chunk := stored.read(_CHUNK_BYTES):
            n_bytes += len(chunk)
            try:
                copy.write(chunk)
            except OSError as fault:
                raise cannot_keep(shown, target.parent, fault) from fault
    return n_bytes


def _with_retry(action: Callable[[], Result], *, shown: str, seconds: int) -> Result:
    def once() -> Result:
        try:
            return action()
        except (OSError, HTTPException) as fault:
            if isinstance(fault, HTTPError):
                fault.close()
            raise _StoreError(fault) from None

    return retry(
        once,
        seconds=seconds,
        faults=(_StoreError,),
        is_transient=lambda fault: isinstance(fault, _StoreError) and fault.is_transient,
        refuse=lambda fault, tries: OrdersError(
            f"{shown}: cannot be read ({str(fault).rstrip('.')}){tries}. Check the address and the credentials."
        ),
        shown=shown,
    )
