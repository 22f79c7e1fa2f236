"""Ids as keyed hashes: the same customer has the same one every night, and only who has the key can look one up."""

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from repurchase.errors import InputError
from repurchase.orders.ids import clean_ids, placeholder_ids
from repurchase.orders.logs import OrderLog

__all__ = ["IdKey", "key_mark", "key_of", "pseudonymise", "pseudonymise_rows", "read_key", "veiled"]

KEY, KEY_FILE = "REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE"
LEAST_BYTES = 16
DIGITS = 32
METHOD = "HMAC-SHA-256, first 32 hexadecimal digits"
_BLOCK_BYTES = 64
_INNER, _OUTER = 0x36, 0x5C
_MARKED = b"repurchase: which key is this"


class IdKey(bytes):
    """A key that does not show itself where values are shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IdKey(…)"

    __str__ = __repr__


def read_key(environment: Mapping[str, str] | None = None) -> IdKey:
    """Read the key of the hashes from the environment, or from a file that the environment names.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Default the process's own.

    Returns
    -------
    IdKey
        At least 16 bytes; of a file without the line break at its end.

    Raises
    ------
    InputError
        If there is no key, two, one that is too short, or the file cannot be read. The key is in no message.

    Examples
    --------
    >>> read_key({"REPURCHASE_ID_KEY": "shorter"})
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: REPURCHASE_ID_KEY: the key has 7 bytes; at least 16 are needed. Make one with \
`openssl rand -hex 32` and keep it: another key gives other ids.
    >>> read_key({"REPURCHASE_ID_KEY": "sixteen bytes or more"})
    IdKey(…)
    """
    given = os.environ if environment is None else environment
    told = [name for name in (KEY, KEY_FILE) if given.get(name)]
    if len(told) != 1:
        found = "both are set" if told else "neither is set"
        raise InputError(f"Keyed hashes of ids need a key, in {KEY} or in a file named by {KEY_FILE}; {found}.")
    (name,) = told
    key = os.fsencode(given[KEY]) if name == KEY else _from_file(Path(given[KEY_FILE]))
    if len(key) < LEAST_BYTES:
        raise InputError(
            f"{name}: the key has {len(key)} bytes; at least {LEAST_BYTES} are needed. Make one with "
            "`openssl rand -hex 32` and keep it: another key gives other ids."
        )
    return IdKey(key)


def _from_file(path: Path) -> bytes:
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as fault:
        raise InputError(f"{KEY_FILE}: {path} cannot be read: {fault.strerror or type(fault).__name__}.") from fault


def key_mark(key: bytes) -> dict[str, str]:
    """Say how ids were hashed, so that a later run can tell whether it has the same key.

    Parameters
    ----------
    key : bytes
        The key.

    Returns
    -------
    dict of str to str
        ``method``, and ``key``: eight digits that follow from the key, and from which it does not follow.
    """
    return {"method": METHOD, "key": hmac.new(key, _MARKED, hashlib.sha256).hexdigest()[:8]}


def key_of(mark: Mapping[str, str], *, what: str) -> IdKey:
    """Read the key with which ids were hashed.

    Parameters
    ----------
    mark : mapping
        What `key_mark` said of it then.
    what : str
        What a message calls the file that holds the ids.

    Returns
    -------
    IdKey
        See `read_key`.

    Raises
    ------
    InputError
        If there is no key, or it is another one.
    """
    try:
        key = read_key()
    except InputError as fault:
        raise InputError(f"{what}: its ids are keyed hashes. {fault}") from fault
    if key_mark(key) != dict(mark):
        raise InputError(f"{what}: its ids were hashed with another key. Give that one, in {KEY} or {KEY_FILE}.")
    return key


def pseudonymise(ids: pl.Series, key: bytes) -> pl.Series:
    """Replace ids by keyed hashes: HMAC-SHA-256 (RFC 2104), the first 32 hexadecimal digits.

    Parameters
    ----------
    ids : Series of str
        As `clean_ids` spells them; null stays null.
    key : bytes
        See `read_key`.

    Returns
    -------
    Series of str
        In the same order, under the same name. Two ids of a million share a hash with a chance below 1 in 10^26.

    Examples
    --------
    >>> pseudonymise(pl.Series("customer_id", ["13085", None]), b"0123456789abcdef").to_list()
    ['662adef24af23c6b4ac5d1373cfb002b', None]
    """
    text = ids.cast(pl.String)
    distinct = text.unique(maintain_order=True)
    hashed = _hasher(key)
    made = pl.Series(ids.name, [None if one is None else hashed(one) for one in distinct], dtype=pl.String)
    return made if len(distinct) == len(text) else text.replace_strict(distinct, made, return_dtype=pl.String)


def _hasher(key: bytes) -> Callable[[str], str]:
    """Build HMAC of two half-done digests: `hmac` itself starts each anew, which takes twice as long."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (_INNER, _OUTER))

    def hashed(one: str) -> str:
        within, around = inner.copy(), outer.copy()
        within.update(one.encode())
        around.update(within.digest())
        return around.hexdigest()[:DIGITS]

    return hashed


def pseudonymise_rows(rows: pl.DataFrame, ids: pl.Series, key: bytes) -> pl.DataFrame:
    """Replace each row's own id wherever it stands in that row, as it was exported or before an ``@``.

    Rows that were set aside and customer lists hold an id as the export spells it, in more than one column at times,
    and order ids may be made of it (``13085@2024-01-31``).

    Parameters
    ----------
    rows : DataFrame of shape (n, any)
        With any columns.
    ids : Series of str of length n
        Whose row it is, as `clean_ids` spells it; null where nobody's.
    key : bytes
        See `read_key`.

    Returns
    -------
    DataFrame of shape (n, any)
        With the same columns; those that are not of text are as they were.

    Examples
    --------
    >>> rows = pl.DataFrame({"Kunde": ["7.0", "8"], "order_id": ["7@2024-01-31", "A-8"], "n": [7, 1]})
    >>> hidden = pseudonymise_rows(rows, clean_ids(rows["Kunde"]), b"0123456789abcdef")
    >>> [len(cell) for cell in hidden.row(0)[:2]], hidden["n"].to_list(), hidden["order_id"][1]
    ([32, 43], [7, 1], 'A-8')
    """
    hashed = pseudonymise(ids, key)
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    return rows.with_columns(_hidden(rows[name], ids, hashed) for name in texts)


def _hidden(cells: pl.Series, ids: pl.Series, hashed: pl.Series) -> pl.Series:
    beside = pl.DataFrame({"cell": cells, "id": ids, "hashed": hashed, "spelled": clean_ids(cells)})
    is_own = (pl.col("spelled") == pl.col("id")).fill_null(value=False)
    begins = pl.col("cell").str.starts_with(pl.concat_str("id", pl.lit("@"))).fill_null(value=False)
    rest = pl.col("cell").str.slice(pl.col("id").str.len_chars())
    hidden = pl.when(is_own).then("hashed").when(begins).then(pl.concat_str("hashed", rest)).otherwise("cell")
    return beside.select(hidden.alias(cells.name)).to_series()


def veiled(log: OrderLog, key: bytes) -> OrderLog:
    """Hash the customers of a log as it is read: whatever is made of it, on disk or in memory, knows hashes alone.

    Parameters
    ----------
    log : OrderLog
        As opened.
    key : bytes
        See `read_key`.

    Returns
    -------
    OrderLog
        The same rows. Ids that stand for guests stay, since cleaning sets them aside by name.
    """
    roles = ("customer_id", "customer_fallback")
    columns = [log.layout.columns[role] for role in roles if role in log.layout.columns]

    def veil(rows: pl.DataFrame) -> pl.DataFrame:
        spelled = [clean_ids(rows[column]) for column in columns if column in rows.columns]
        for ids in spelled:
            rows = pseudonymise_rows(rows, ids.set(placeholder_ids(ids).fill_null(value=False), None), key)
        return rows

    names = (log.layout.aliases.keys(), log.layout.aliases.values())
    hashed = (pseudonymise(pl.Series(list(ids), dtype=pl.String()), key) for ids in names)
    layout = replace(log.layout, aliases=dict(zip(*hashed, strict=True)))
    return replace(log, layout=layout, schema={**log.schema, **dict.fromkeys(columns, pl.String())}, veil=veil)
