"""Where orders lie when they lie in a database: the address, what is asked of it, and how both are shown.

A password may stand in an address; it is kept apart at once, and `shown` never has it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from repurchase.errors import InputError
from repurchase.storage.redaction import redacted

__all__ = [
    "DatabaseSource",
    "Server",
    "is_database",
    "orders_source",
    "quoted",
    "read_server",
    "require_one_select",
    "table_name",
]

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


@dataclass(frozen=True)
class Server:
    """A PostgreSQL database.

    Parameters
    ----------
    shown : str
        The address as messages, logs and records have it: without password and options.
    database : str
        The database's name; empty where the environment names it.
    options : mapping of str to str
        Connection parameters as libpq names them. It may hold a password, so it is never shown.
    """

    shown: str
    database: str
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class DatabaseSource:
    """Orders in a database: a table, or what a query gives.

    Parameters
    ----------
    database : Server or Path
        A PostgreSQL database, or an SQLite or DuckDB file.
    query : str, optional
        One SELECT or WITH.
    table : tuple of str, optional
        Schema and table, or the table alone.
    """

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
        return self.query if self.query is not None else f"SELECT * FROM {quoted(self.table or ())}"  # noqa: S608 - quoted

    def __str__(self) -> str:
        return f"{self.shown} ({'query' if self.table is None else 'table ' + '.'.join(self.table)})"


def is_database(text: str) -> bool:
    """Say whether a source or an output is a database and no file of orders.

    Parameters
    ----------
    text : str
        What the caller wrote.

    Returns
    -------
    bool
        By its scheme or its ending; nothing is opened.

    Examples
    --------
    >>> [is_database(text) for text in ("postgresql://host/shop", "shop.sqlite", "orders.csv", "s3://shop/orders")]
    [True, True, False, False]
    """
    scheme = _SCHEME.match(text)
    known = (*_SERVERS, *_FILES, *_OTHER_DATABASES)
    return (scheme is not None and scheme[1].lower() in known) or text.lower().endswith(_FILE_ENDINGS)


def orders_source(text: str, *, query: str | None = None, table: str | None = None) -> str | DatabaseSource:
    """Say where orders come from, as the command line has it.

    Parameters
    ----------
    text : str
        A file, folder or glob; ``postgresql://[user[:password]@]host[:port]/database``; an SQLite or DuckDB file, also
        as ``sqlite:///file`` or ``duckdb:///file``.
    query : str, optional
        One SELECT or WITH; databases only.
    table : str, optional
        ``[schema.]table``, spelled as in SQL; databases only.

    Returns
    -------
    str or DatabaseSource
        The text itself where it names files.

    Raises
    ------
    InputError
        If a file comes with a query or a table, a database with neither or with both, or either is not understood.

    Examples
    --------
    >>> source = orders_source("postgresql://anna:secret@db.example/shop", table="sales.orders")
    >>> str(source), source.select
    ('postgresql://anna@db.example/shop (table sales.orders)', 'SELECT * FROM "sales"."orders"')
    >>> orders_source("orders.csv", table="orders")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: orders.csv: --table is for databases, and this is none. Leave it out.
    """
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
    return DatabaseSource(database, table=table_name(table or ""))


def _database(text: str) -> tuple[Server | Path, str]:
    scheme = _SCHEME.match(text)
    kind = scheme[1].lower() if scheme else ""
    if kind in _SERVERS:
        server, rest = read_server(text)
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


def read_server(text: str) -> tuple[Server, list[str]]:
    """Take a PostgreSQL address apart.

    Parameters
    ----------
    text : str
        ``postgresql://[user[:password]@]host[:port][,…]/[database[/…]][?option=value&…]``, each part with ``%XX`` for
        signs of its own.

    Returns
    -------
    server : Server
        The database.
    rest : list of str
        What follows the database's name in the path.

    Raises
    ------
    InputError
        If it cannot be taken apart. The message does not repeat it: a piece of a password could be anywhere.

    Examples
    --------
    >>> server, rest = read_server("postgresql://anna:p%40ss@db.example:5433/shop/scores?sslmode=require")
    >>> server.shown, rest
    ('postgresql://anna@db.example:5433/shop', ['scores'])
    >>> read_server("postgresql://anna:p@/ss@db.example/shop")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: The database address cannot be taken apart: in user, password and names, write % as \
%25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23. Or leave the password to PGPASSWORD or PGPASSFILE.
    """
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


def table_name(text: str) -> tuple[str, ...]:
    """Read a table's name as SQL does.

    Parameters
    ----------
    text : str
        ``table`` or ``schema.table``; in quotation marks where it has capitals or signs.

    Returns
    -------
    tuple of str
        Its parts; without quotation marks in lower case.

    Raises
    ------
    InputError
        If it is no name.

    Examples
    --------
    >>> table_name('Sales."Order Lines"')
    ('sales', 'Order Lines')
    >>> table_name("orders; drop table orders")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: 'orders; drop table orders' is no table's name. Expected table or schema.table; in \
quotation marks where it has capitals or signs: '"Order Lines"'.
    """
    match = _TABLE.match(text)
    if match is None:
        raise InputError(
            f"'{text}' is no table's name. Expected table or schema.table; in quotation marks where it has capitals or "
            "signs: '\"Order Lines\"'."
        )
    parts = (part for part in match.groups() if part is not None)
    return tuple(part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in parts)


def quoted(name: tuple[str, ...] | str) -> str:
    """Write a name so that SQL takes it as it is.

    Parameters
    ----------
    name : str or tuple of str
        One name, or schema and table.

    Returns
    -------
    str
        In quotation marks.

    Examples
    --------
    >>> quoted(("sales", 'a"b'))
    '"sales"."a""b"'
    """
    parts = (name,) if isinstance(name, str) else name
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def require_one_select(query: str) -> str:
    r"""Refuse a query that is not one SELECT or WITH.

    Parameters
    ----------
    query : str
        SQL; comments and one semicolon at the end are allowed.

    Returns
    -------
    str
        The query without what follows its last word.

    Raises
    ------
    InputError
        If it begins otherwise, or there is more than one statement.

    Examples
    --------
    >>> require_one_select("select ';' as sign -- all;\n;")
    "select ';' as sign"
    >>> require_one_select("delete from orders")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --query must be one SELECT or WITH. It begins with 'delete' instead.
    """
    bare = _SQL_PARTS.sub(lambda part: (" " if part["comment"] else "x") * len(part[0]), query)
    end = len(bare.rstrip("; \t\r\n"))
    bare = bare[:end]
    if not _SELECT.match(bare):
        # Redacted before it is cut: a part of a password is not known as one.
        begins = f"It begins with '{redacted(bare.split()[0])[:20]}' instead" if bare.strip() else "It is empty"
        raise InputError(f"--query must be one SELECT or WITH. {begins}.")
    if ";" in bare:
        raise InputError("--query must be one SELECT or WITH. Several statements were given; send one.")
    if not _is_balanced(bare):
        raise InputError("--query must be one SELECT or WITH. Its parentheses do not match.")
    return query[:end].strip()


def _is_balanced(text: str) -> bool:
    depth = 0
    for sign in re.findall(r"[()]", text):
        depth += 1 if sign == "(" else -1
        if depth < 0:
            return False
    return depth == 0
