"""Ids as text: one spelling per customer, order and product; and a number that stands for an id everywhere."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.orders.blanks import BLANK_PATTERN, BLANK_WORDS
from repurchase.orders.text_shapes import INVISIBLE

__all__ = ["PLACEHOLDER_WORDS", "clean_ids", "damaged_ids", "id_hash", "placeholder_ids"]

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
"""Names, by what they mean, of customers that stand for nobody in particular; in lower case, separated by bars."""

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

_Words = npt.NDArray[np.uint64]
_WORD = 8
_AT_ONCE = 1 << 14
"""Ids handled together, few enough to stay in the cache."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXING = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_TO_TIDY = r"^\s|\s$|\.0+$|[A-Z].*@|@.*[A-Z]|^" + BLANK_PATTERN + r"$|^['\x22=]|\x22$|[\x00-\x1F\x7F]"
"""One cheap look finds whether any id is spelled otherwise; most exports are tidy."""


def clean_ids(values: pl.Series) -> pl.Series:
    """Give every id one spelling.

    A spreadsheet or a pandas column with gaps turns the id 13085 into ``13085.0``; both are the same customer. So are
    ``'13085`` and ``="13085"``, by which exports keep spreadsheets from changing an id, and ids with blanks around them
    or invisible characters anywhere. Ids with leading zeros stay as they are (``00001`` is not ``1``), wide digits and
    letters become plain ones, and mail addresses are compared in lower case.

    Parameters
    ----------
    values : Series of any type
        Ids as they stand in the export.

    Returns
    -------
    Series of str
        Stripped ids; empty text and the usual stand-ins for nothing (``nan``, ``None``, ``NULL``, ``#N/A``) are null.

    Examples
    --------
    >>> clean_ids(pl.Series(["13085.0", " 13085", "00001", "Anna@Shop.no", "nan"])).to_list()
    ['13085', '13085', '00001', 'anna@shop.no', None]
    >>> clean_ids(pl.Series(["'13085", '="00123"', "Anna\u200b", "\u00a0B-7 "])).to_list()
    ['13085', '00123', 'Anna', 'B-7']
    >>> clean_ids(pl.Series([13085.0, None])).to_list()
    ['13085', None]
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
    """Find ids that a spreadsheet has destroyed: ``7.12E+12``, ``########``, ``#REF!``.

    Parameters
    ----------
    values : Series of any type
        Ids.

    Returns
    -------
    Series of bool
        True for those; many customers share each of them.

    Examples
    --------
    >>> damaged_ids(pl.Series(["7.12E+12", "7,12E+12", "#REF!", "7120000000001", None])).to_list()
    [True, True, True, False, False]
    """
    return _of_distinct(values, lambda ids: ids.str.contains(_DAMAGED))


def placeholder_ids(values: pl.Series) -> pl.Series:
    """Find ids that stand for no particular customer: ``Guest``, ``0``, ``(not set)``, the zero UUID.

    Parameters
    ----------
    values : Series of any type
        Ids.

    Returns
    -------
    Series of bool
        True for words of `PLACEHOLDER_WORDS`, in any case, and for numbers, signs and mail addresses that shops write
        where there is no customer; false for missing ids.

    Examples
    --------
    >>> placeholder_ids(pl.Series(["GUEST", "00000", "-", "noreply@shop.no", "Gaston", "1000", None])).to_list()
    [True, True, True, True, False, False, False]
    """
    return _of_distinct(values, _is_placeholder)


def id_hash(ids: pl.Series) -> pl.Series:
    """Give every id a number that looks random and is the same in every version, on every machine and in any order.

    Every eight bytes of the UTF-8 text are folded in by the finaliser of SplitMix64. It keeps nobody from making ids
    that collide, and a number that is known can be traced back by trying ids: it is no secret.

    Parameters
    ----------
    ids : Series of str
        Ids; a missing one counts as empty text.

    Returns
    -------
    Series of u64
        One number per id, in their order.

    References
    ----------
    Steele, Lea & Flood (2014). Fast splittable pseudorandom number generators. OOPSLA (mix64variant13).

    Examples
    --------
    >>> id_hash(pl.Series(["c1", "c2", "c1"])).to_list()
    [16285873752848743962, 3148850315404925048, 16285873752848743962]
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


def _hashed(words: _Words, start: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> _Words:
    hashes = _mixed(length.astype(np.uint64))
    for done in range(0, int(length.max()), _WORD):
        rows = np.flatnonzero(length > done)
        unused = np.maximum(done + _WORD - length[rows], 0).astype(np.uint64) * np.uint64(8)
        word = words[start[rows] + done].astype(np.uint64, copy=False) << unused
        hashes[rows] = _mixed(hashes[rows] ^ word)
    return hashes


def _mixed(state: _Words) -> _Words:
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
    """Test every different id once, cleaned; stand-ins for nothing are tested too, missing ones are not."""
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
