"""Ids as text in one spelling per customer, order and product, and as keyed hashes."""

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.sources.vocabulary import BLANK_PATTERN, BLANK_WORDS, INVISIBLE

PLACEHOLDER_WORDS = {
    "guest": (
        "guest|guests|guest customer|guest user|guest checkout|visitor|gast|gastkunde|gastbestellung|gäste"
        "|bezoeker|invité|invite|client invité|visiteur|invitado|visitante|ospite|convidado|gość|gosc|гость"
        "|gjest|gäst|gæst|vieras|host"
    ),
    "anonymous": (
        "anonymous|anonymous user|anonymous customer|anon|anonym|anonyme|anónimo|anonimo|anônimo|anoniem"
        "|anonimowy|аноним"
    ),
    "unknown": (
        "unknown|unknown customer|unbekannt|unbekannter kunde|inconnu|desconocido|desconhecido|sconosciuto"
        "|onbekend|ukjent|ukendt|okänd|nieznany|неизвестно|неизвестный"
    ),
    "till": (
        "walk-in|walk in|walkin|walk-in customer|walk in customer|cash|cash sale|cash sales|cash customer"
        "|counter sale|laufkunde|laufkundschaft|barverkauf|barkunde|kontant|kontantkunde|kontantsalg"
        "|client de passage|client comptoir|cliente ocasional|cliente contado|público en general"
        "|consumidor final|cliente generico|passant|losse klant|розничный покупатель|частное лицо"
        "|klient detaliczny"
    ),
    "any customer": (
        "default|default customer|standard customer|customer|no customer|kunde|kunde ohne konto|ohne konto"
        "|client|cliente|klant|klient|kund|покупатель|клиент"
    ),
    "nothing": (
        "not set|(not set)|not provided|not available|no name|no email|undefined|unassigned|(other)|(none)"
        "|none|null|nil|nan|n/a|na|n.a.|k.a.|keine angabe|empty|blank|test|test user|test customer|testkunde"
        "|dummy|deleted|deleted user"
    ),
}
"""Names, by what they mean, of customers that are nobody in particular; in lower case, separated by bars."""

_PLACEHOLDERS = frozenset(word for words in PLACEHOLDER_WORDS.values() for word in words.split("|"))
_PLACEHOLDER_FORMS = (
    r"^(?:-?0+(?:\.0+)?|-1|[-–—_.*?#/x\s]+"
    r"|[({\[]?(?:0{8}-(?:0{4}-){3}0{12}|f{8}-(?:f{4}-){3}f{12})[)}\]]?)$"
)
_PLACEHOLDER_ADDRESSES = (
    r"^(?:guest|gast|invite|invitado|gjest|anonymous|anonym|unknown|no-?reply|do-?not-?reply|no-?e?-?mail|none|null|na"
    r"|n/a|test|dummy|walk-?in|customer|example|noemailprovided|keine-?e?-?mail|ohne-?e?-?mail)@"
)
_DAMAGED = (
    r"^[+-]?\d(?:[.,]\d+)?[eE]\+\d{1,3}$|^[+-]?\d[.,]\d+[eE]\d{1,3}$|^#{2,}$"
    r"|^#(?:REF|NAME|VALUE|N/A|NUM|DIV/0|NULL|WERT|BEZUG|NV|ZAHL|VALOR|ИМЯ)[!?]?$"
)
_WHOLE_NUMBER_AS_DECIMAL = r"^([1-9]\d*|0)\.0+$"

_Hashes = npt.NDArray[np.uint64]
_WORD = 8
_AT_ONCE = 1 << 14
"""Ids handled together, few enough to stay in the cache."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXING = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_TO_TIDY = r"^\s|\s$|\.0+$|[A-Z].*@|@.*[A-Z]|^" + BLANK_PATTERN + r"$|^['\x22=]|\x22$|[\x00-\x1F\x7F]"
"""One cheap check finds whether any id needs cleaning; those of most exports do not."""


def clean_ids(values: pl.Series) -> pl.Series:
    """Give every id one spelling.

    A spreadsheet or a pandas column with gaps turns the id 13085 into ``13085.0``; both are the same customer. So are
    ``'13085`` and ``="13085"``, by which exports keep spreadsheets from changing an id, and ids with blanks around them
    or invisible characters anywhere. Ids with leading zeros stay as they are (``00001`` is not ``1``), wide digits and
    letters become plain ones, and mail addresses are compared in lower case.
    """
    if values.dtype.is_float():
        return _from_floats(values)
    text = values.cast(pl.String)
    is_wide = (text.str.len_bytes() != text.str.len_chars()).any()
    if not is_wide and not text.str.contains(_TO_TIDY).any():
        return text
    distinct = text.unique()
    tidy = _tidy(distinct)
    spelling = pl.DataFrame({"id": distinct, "tidy": tidy})
    return (
        pl.DataFrame({"id": text})
        .join(spelling, on="id", how="left", nulls_equal=True, maintain_order="left")["tidy"]
        .alias(values.name)
    )


def damaged_ids(values: pl.Series) -> pl.Series:
    """Find ids that a spreadsheet has destroyed: ``7.12E+12``, ``########``, ``#REF!``."""
    return _of_distinct(values, lambda ids: ids.str.contains(_DAMAGED))


def placeholder_ids(values: pl.Series) -> pl.Series:
    """Find ids of no particular customer: ``Guest``, ``0``, ``(not set)``, the zero UUID."""
    return _of_distinct(values, _is_placeholder)


def known_ids(values: pl.Series) -> pl.Series:
    """Clean ids, null for those of no particular customer."""
    ids = clean_ids(values)
    return ids.set(placeholder_ids(ids).fill_null(value=False), None)


def id_hash(ids: pl.Series) -> pl.Series:
    """Give every id a number that looks random and is the same in every version, on every machine and in any order.

    Every eight bytes of the UTF-8 text are folded in by the finaliser of SplitMix64. It keeps nobody from making ids
    that collide, and a number that is known can be traced back by trying ids: it is no secret.

    References
    ----------
    Steele, Lea & Flood (2014). Fast splittable pseudorandom number generators. OOPSLA (mix64variant13).
    """
    text = ids.cast(pl.String).fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, places, content = text.buffers()
    start = np.frombuffer(places, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    known = np.frombuffer(content, dtype=np.uint8)[: start[-1]] if content else np.zeros(0, dtype=np.uint8)
    padded = np.append(known, np.zeros(_WORD, dtype=np.uint8))
    words = np.ndarray((len(known) + 1,), dtype="<u8", buffer=padded.data, strides=(1,))
    hashes = np.empty(len(text), dtype=np.uint64)
    for first in range(0, len(text), _AT_ONCE):
        some = start[first : first + _AT_ONCE + 1]
        hashes[first : first + _AT_ONCE] = _hashed(words, some[:-1], np.diff(some))
    return pl.Series(ids.name, hashes)


def _hashed(words: _Hashes, start: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> _Hashes:
    hashes = _mixed(length.astype(np.uint64))
    for done in range(0, int(length.max()), _WORD):
        rows = np.flatnonzero(length > done)
        unused = np.maximum(done + _WORD - length[rows], 0).astype(np.uint64) * np.uint64(8)
        word = words[start[rows] + done].astype(np.uint64, copy=False) << unused
        hashes[rows] = _mixed(hashes[rows] ^ word)
    return hashes


def _mixed(state: _Hashes) -> _Hashes:
    state = state + _GOLDEN
    for shift, factor in _MIXING:
        state ^= state >> shift
        state *= factor
    return state ^ (state >> np.uint64(31))


def _is_placeholder(ids: pl.Series) -> pl.Series:
    names = ids.str.to_lowercase().str.replace_all(r"\s+", " ")
    written = names.str.contains(_PLACEHOLDER_FORMS) | names.str.contains(_PLACEHOLDER_ADDRESSES)
    return names.is_in(_PLACEHOLDERS) | written


def _of_distinct(values: pl.Series, test: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Test every different id once, cleaned; placeholders are tested too, missing ids are not."""
    text = values.cast(pl.String) if not values.dtype.is_float() else _from_floats(values)
    distinct = text.unique().drop_nulls()
    cleaned = clean_ids(distinct)
    found = distinct.filter(test(cleaned.fill_null(distinct)).fill_null(value=False))
    return text.is_in(found.implode()).fill_null(value=False).alias(values.name)


def _tidy(ids: pl.Series) -> pl.Series:
    visible = pl.col("id").str.replace_all(INVISIBLE, "").str.normalize("NFKC").str.strip_chars()
    bare = visible.str.replace(r"^=?\"(.*)\"$", "$1").str.replace(r"^['’]([\d+].*)$", "$1").str.strip_chars()
    stripped = bare.str.replace(_WHOLE_NUMBER_AS_DECIMAL, "$1")
    lowered = stripped.str.to_lowercase()
    one_spelling = pl.when(stripped.str.contains("@", literal=True)).then(lowered).otherwise(stripped)
    nothing = lowered.is_in(BLANK_WORDS)
    return ids.to_frame("id").select(pl.when(~nothing).then(one_spelling).alias(ids.name)).to_series()


def _from_floats(values: pl.Series) -> pl.Series:
    whole = values.is_finite() & (values == values.round(0)) & (values.abs() < 2**63)
    as_int = values.set(~whole.fill_null(value=False), None).cast(pl.Int64).cast(pl.String)
    return as_int.zip_with(whole.fill_null(value=True), values.fill_nan(None).cast(pl.String)).alias(values.name)


_KEY, _KEY_FILE = "REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE"
_LEAST_BYTES = 16
_DIGITS = 32
_METHOD = "HMAC-SHA-256, first 32 hexadecimal digits"
_BLOCK_BYTES = 64
_INNER, _OUTER = 0x36, 0x5C
_KEY_ID_MESSAGE = b"repurchase: which key is this"


class IdKey(bytes):
    """A key that does not show itself where values are shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IdKey(…)"

    __str__ = __repr__


def read_key(environment: Mapping[str, str] | None = None) -> IdKey:
    """Read the key of the hashes from the environment, or from a file that the environment names."""
    given = os.environ if environment is None else environment
    given_names = [name for name in (_KEY, _KEY_FILE) if given.get(name)]
    if len(given_names) != 1:
        found = "both are set" if given_names else "neither is set"
        raise InputError(f"Keyed hashes of ids need a key, in {_KEY} or in a file named by {_KEY_FILE}; {found}.")
    (name,) = given_names
    key = os.fsencode(given[_KEY]) if name == _KEY else _from_file(Path(given[_KEY_FILE]))
    if len(key) < _LEAST_BYTES:
        raise InputError(
            f"{name}: the key has {len(key)} bytes; at least {_LEAST_BYTES} are needed. Make one with "
            "`openssl rand -hex 32` and keep it: another key gives other ids."
        )
    return IdKey(key)


def _from_file(path: Path) -> bytes:
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as fault:
        raise InputError(f"{_KEY_FILE}: {path} cannot be read: {fault.strerror or type(fault).__name__}.") from fault


def key_id(key: bytes) -> dict[str, str]:
    """Say how ids were hashed, so that a later run can tell whether it has the same key."""
    return {"method": _METHOD, "key": hmac.new(key, _KEY_ID_MESSAGE, hashlib.sha256).hexdigest()[:8]}


def read_matching_key(mark: Mapping[str, str], *, what: str) -> IdKey:
    """Read the key with which ids were hashed."""
    try:
        key = read_key()
    except InputError as fault:
        raise InputError(f"{what}: its ids are keyed hashes. {fault}") from fault
    if key_id(key) != dict(mark):
        raise InputError(f"{what}: its ids were hashed with another key. Give that one, in {_KEY} or {_KEY_FILE}.")
    return key


def pseudonymise(ids: pl.Series, key: bytes) -> pl.Series:
    """Replace ids by keyed hashes: HMAC-SHA-256 (RFC 2104), the first 32 hexadecimal digits."""
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
        return around.hexdigest()[:_DIGITS]

    return hashed


def pseudonymise_rows(rows: pl.DataFrame, ids: pl.Series, key: bytes) -> pl.DataFrame:
    """Replace each row's own id wherever it occurs in that row, as it was exported or before an ``@``.

    Rows that were set aside and customer lists hold an id as the export spells it, in more than one column at times,
    and order ids may be made of it (``13085@2024-01-31``).
    """
    hashed = pseudonymise(ids, key)
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    return rows.with_columns(_pseudonymised_cells(rows[name], ids, hashed) for name in texts)


def _pseudonymised_cells(cells: pl.Series, ids: pl.Series, hashed: pl.Series) -> pl.Series:
    table = pl.DataFrame({"cell": cells, "id": ids, "hashed": hashed, "spelled": clean_ids(cells)})
    is_own = (pl.col("spelled") == pl.col("id")).fill_null(value=False)
    begins = pl.col("cell").str.starts_with(pl.concat_str("id", pl.lit("@"))).fill_null(value=False)
    rest = pl.col("cell").str.slice(pl.col("id").str.len_chars())
    hidden = pl.when(is_own).then("hashed").when(begins).then(pl.concat_str("hashed", rest)).otherwise("cell")
    return table.select(hidden.alias(cells.name)).to_series()
