"""Words of order exports: column names, statuses, months, blanks, and the shapes of texts."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

BLANK_WORDS = (
    *(
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        "\\n",
        "\\\\n",
        "nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "n.a.",
        "n/d",
        "k.a.",
        "nat",
    ),
    *("#n/a", "#nv", "#n/v", "<na>", "<null>", "(null)", "(none)", "(blank)", "(empty)", "(leer)"),
)
r"""In lower case, without blanks around them; ``\N`` is how databases write it."""
BLANK_PATTERN = (
    r"(?i:nan|none|null|nil|na|n/a|n\.a\.|n/d|k\.a\.|nat|\#n/a|\#nv|\#n/v|<na>|<null>"
    r"|\((?:null|none|blank|empty|leer)\)|\\{1,2}n|-{1,3}|–|—)?"
)
"""The same as part of a regular expression."""


_DATE_LOCALES = ("en", "en_GB", "de", "de_AT", "fr", "es", "nl", "nb", "sv", "da", "ru", "pl", "pt", "pt_PT", "it")
_FURTHER_LOCALES = ("fi", "cs", "tr", "hu", "ro", "uk", "el")
"""Their names count where no language above has the same name for another month."""
_WITHOUT_CLDR_ENTRY = {"mrz": 3, "maa": 3}
_FILLERS = "at um om kl klo uhr h à as às a alle o ore godz в de del d of the den la las los г p р le el il der van ч e"
_HALVES = {"am": 1, "pm": 2, "vorm": 1, "nachm": 2, "上午": 1, "下午": 2, "午前": 1, "午後": 2, "오전": 1, "오후": 2}
_HALVES |= {"fm": 1, "em": 2, "dop": 1, "odp": 2, "de.": 1, "du.": 2, "πμ": 1, "μμ": 2, "дп": 1, "пп": 2}

ZONE_MINUTES = {
    **dict.fromkeys(("z", "utc", "gmt", "ut", "wet", "etc/utc", "etc/gmt"), 0),
    **dict.fromkeys(("cet", "mez", "west"), 60),
    **dict.fromkeys(("cest", "mesz", "eet"), 120),
    **dict.fromkeys(("eest", "msk"), 180),
    "jst": 540,
    "kst": 540,
    "aest": 600,
    "aedt": 660,
    "nzst": 720,
    "nzdt": 780,
    "sgt": 480,
    "hkt": 480,
    "adt": -180,
    "ast": -240,
    "edt": -240,
    "est": -300,
    "cdt": -300,
    "cst": -360,
    "mdt": -360,
    "mst": -420,
    "pdt": -420,
    "pst": -480,
    "akdt": -480,
    "akst": -540,
    "hst": -600,
    "brt": -180,
}
"""Minutes east of Greenwich. Words that several zones share (``ist``, ``bst``) are left out."""


@cache
def month_numbers() -> dict[str, int]:
    """Number every name of a month."""
    names: dict[str, int] = {}
    for locale in (*_DATE_LOCALES, *_FURTHER_LOCALES):
        for month, name in _cldr_names(locale, "get_month_names", ("wide", "abbreviated")):
            for spelling in _spellings(name):
                names.setdefault(spelling, month)
    return {**_abbreviated(names), **_WITHOUT_CLDR_ENTRY, **names}


@cache
def weekdays() -> frozenset[str]:
    """Collect the names of weekdays."""
    found = (
        spelling
        for locale in (*_DATE_LOCALES, *_FURTHER_LOCALES)
        for _, name in _cldr_names(locale, "get_day_names", ("wide", "abbreviated", "short"))
        for part in (name, name.partition("-")[0])  # "segunda-feira"
        for spelling in _spellings(part)
    )
    return frozenset((*found, "feira", "thur", "thurs", "tues", "wednes"))


@cache
def filler_words() -> frozenset[str]:
    """Collect the words that only join the parts of a date: ``de``, ``um``, ``kl.``, ``г.``."""
    return frozenset(_FILLERS.split())


@cache
def half_of_day() -> dict[str, int]:
    """Number the words for the halves of a day."""
    return dict(_HALVES)


def _cldr_names(locale: str, getter: str, widths: Iterable[str]) -> Iterable[tuple[int, str]]:
    from babel import dates

    for width in widths:
        for context in ("format", "stand-alone"):
            yield from getattr(dates, getter)(width, context, locale).items()


def _spellings(name: str) -> tuple[str, str]:
    plain = unicodedata.normalize("NFC", name.casefold()).replace(".", "").strip()
    bare = "".join(letter for letter in unicodedata.normalize("NFD", plain) if not unicodedata.combining(letter))
    return plain, bare


def _abbreviated(names: dict[str, int]) -> dict[str, int]:
    """Cut long names to three and four letters, where only one month begins so."""
    found: dict[str, set[int]] = {}
    for name, month in names.items():
        for length in (3, 4):
            if len(name) > length:
                found.setdefault(name[:length], set()).add(month)
    return {start: months.pop() for start, months in found.items() if len(months) == 1}


ROLES = (
    "customer_id",
    "order_id",
    "order_date",
    "order_time",
    "amount",
    "order_total",
    "adjusted_total",
    "refunded",
    "price",
    "quantity",
    "line_discount",
    "product_id",
    "category",
    "discount",
    "channel",
    "currency",
    "status",
    "payment_status",
    "record_type",
    "cancelled_at",
    "cancelled",
    "paid",
    "paid_at",
    "employee",
    "email",
)
"""Roles that a column can have; those that ``--columns`` and ``[columns]`` accept.

``order_total`` and ``refunded`` may be stated per order (on its first line or on each) or per line: the values decide.
"""

_COLUMN_WORDS = tomllib.loads(resources.files(__package__).joinpath("column_words.toml").read_text(encoding="utf-8"))
_COLUMN_CONCEPTS: Mapping[str, str] = {
    word: concept for concept, words in _COLUMN_WORDS["words"].items() for word in words.split()
}
_COLUMN_STEMS: Mapping[str, tuple[str, ...]] = {
    concept: tuple(words.split()) for concept, words in _COLUMN_WORDS["stems"].items()
}
NOT_FOR: Mapping[str, tuple[str, ...]] = {
    role: tuple(words.split()) for role, words in _COLUMN_WORDS["not_for"].items()
}
"""Concepts that the name of a column for a role does not have."""
_SHORT_COLUMN_WORD = 4
_LINKS = ("s", "n", "en", "es", "e")
_FOLDED = str.maketrans(
    {"ø": "o", "Ø": "O", "æ": "ae", "ł": "l", "Ł": "L", "đ": "d", "ı": "i", "œ": "oe", "ъ": "", "ё": "е"}
)
_NUMBER_SIGN = re.compile(r"[#№]|\bn[º°]")
_LOWER, _UPPER = "a-zà-öø-ÿа-яё", "A-ZÀ-ÖØ-ÞА-ЯЁ"
_CAMEL = re.compile(rf"(?<=[{_LOWER}0-9])(?=[{_UPPER}])|(?<=[{_UPPER}])(?=[{_UPPER}][{_LOWER}])")
_UNIT = re.compile(r"[(\[](?:[A-Z]{3}|[€$£¥₽₹]|in [A-Z]{3})[)\]]")
_COUNT = re.compile(r"(?i)^(?:number|count)[ _-]+of[ _-]+")
_REPEATED_HEADING = re.compile(r"_duplicated_\d+$")


@dataclass(frozen=True)
class ColumnName:
    """A column name, taken apart."""

    text: str
    concepts: tuple[str, ...]
    unknown: int

    def has(self, *concepts: str) -> bool:
        """Whether the name has at least one of these concepts."""
        return any(concept in self.concepts for concept in concepts)

    def only(self, *concepts: str) -> bool:
        """Whether the name consists of nothing but these concepts."""
        return bool(self.concepts) and set(self.concepts) <= set(concepts) and self.unknown == 0


def fold(text: str) -> str:
    """Lower-case a text without accents."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_FOLDED).casefold().replace("й", "\0"))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).replace("\0", "й")


def column_key(name: str) -> str:
    """Reduce a column name to its letters and digits, in lower case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_known_word(word: str) -> bool:
    """Say whether a word is made of words of column names."""
    concepts, unknown = _split_word(fold(word))
    return bool(concepts) and unknown == 0


@lru_cache(maxsize=4096)
def parse_name(text: str) -> ColumnName:
    """Take a column name apart."""
    name = _UNIT.sub("", _NUMBER_SIGN.sub(" id ", _REPEATED_HEADING.sub("", text)))
    name = re.sub(r"(?i)\be[-_ ](mail|post)", r"e\1", name)
    name = _COUNT.sub(" quantity ", name)
    words = [fold(word) for part in re.split(r"[^\w]|_", name) for word in _CAMEL.split(part) if word]
    if len(words) > 1 and (known := _COLUMN_CONCEPTS.get("".join(words))):
        return ColumnName(text, (known,), 0)
    concepts: list[str] = []
    unknown = 0
    for word in words:
        parts, left_over = _split_word(word)
        concepts.extend(part for part in parts if part not in concepts)
        unknown += left_over
    return ColumnName(text, tuple(concepts), unknown)


def _split_word(word: str) -> tuple[list[str], int]:
    """The concepts of one word, and how many of its letters are in none of them."""
    if word in _COLUMN_CONCEPTS:
        return [_COLUMN_CONCEPTS[word]], 0
    whole = _compound(word)
    if whole is not None:
        return whole, 0
    for concept, stems in _COLUMN_STEMS.items():
        if word.startswith(stems):
            return [concept], 0
    found: list[str] = []
    left_over = len(word.strip("0123456789"))
    for start in range(len(word)):
        for end in range(len(word), start + _SHORT_COLUMN_WORD, -1):
            if word[start:end] in _COLUMN_CONCEPTS:
                return [*found, _COLUMN_CONCEPTS[word[start:end]]], left_over - (end - start)
    return found, left_over


@lru_cache(maxsize=4096)
def _compound(word: str) -> list[str] | None:
    """Split a compound into words of the vocabulary, longest first; None where letters are left over."""
    if not word:
        return []
    for end in range(len(word), 1, -1):
        concept = _COLUMN_CONCEPTS.get(word[:end])
        if concept is None:
            continue
        for link in ("", *_LINKS):
            if word.startswith(link, end) and (rest := _compound(word[end + len(link) :])) is not None:
                return [concept, *rest] if not rest or rest[0] != concept else rest
    return None


_PHRASES = tomllib.loads(resources.files(__package__).joinpath("status_phrases.toml").read_text(encoding="utf-8"))
_PHRASE_WORDS: Mapping[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _PHRASES.items()}
_PHRASE_STEMS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _PHRASES.items()}
_CLAUSE_ENDS = re.compile(r"[,;:()\[\]|/+]|\s[-–—]+\s|\.\s")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PHRASE_WORD = re.compile(r"[^\W_]+")
_SHORT_PHRASE_STEM = 4
_FAR, _NEAR = 5, 2
_Kind = Literal["paid", "came_in", "wait", "wait_and_pay", "pay", "goods", "break", "plain"]


class _UnrefundedStatus(NamedTuple):
    """A status without what it says of refunds that were not made."""

    rest: str
    is_refused: bool


def _is_paid_and_waits(text: str) -> bool:
    """Say whether a status tells of a payment that came in, and of waiting for something else."""
    clauses = list(_clauses(text))
    kinds = [[_phrase_kind(word) for word in words] for words in clauses]
    if not any(kind in {"wait", "wait_and_pay"} for clause in kinds for kind in clause):
        return False
    if any(_waits_for_payment(clause) for clause in kinds):
        return False
    if any("goods" in clause for clause in kinds) and any(
        _PHRASE_WORDS["paid_alone"] >= set(words) for words in clauses
    ):
        return True
    return any(_came_in(words, clause) for words, clause in zip(clauses, kinds, strict=True))


def _without_denied_refunds(text: str, refunded: tuple[str, ...]) -> _UnrefundedStatus | None:
    """Take out of a status what it says of refunds that were not made."""
    rest, denied, refused = [], False, False
    for words in _clauses(text):
        kept = words
        for place, word in enumerate(words):
            first, last = _denied(words, place) if _begins_with_stem(word, refunded) else (place, place)
            denied |= first < last
            if first == last and word in _PHRASE_WORDS["refund_nouns"]:
                first, last = _refused(words, place)
                refused |= first < last
            if first == last and _is_denied_compound(word, refunded):
                first, last, denied = place, place + 1, True
            if first < last:
                kept = [*words[:first], *words[last:]]
                break
        rest.append(" ".join(kept))
    if not denied and not refused:
        return None
    return _UnrefundedStatus(", ".join(filter(None, rest)), refused)


def _clauses(text: str) -> Iterator[list[str]]:
    for clause in _CLAUSE_ENDS.split(text):
        words = _PHRASE_WORD.findall(fold(_HUMP.sub(" ", clause)))
        if words:
            yield words


def _phrase_kind(word: str) -> _Kind:
    waits, pays = _begins_with_stem(word, _PHRASE_STEMS["wait"]), _begins_with_stem(word, _PHRASE_STEMS["pay"])
    kinds: Iterable[tuple[_Kind, bool]] = (
        ("paid", word in _PHRASE_WORDS["paid"]),
        ("wait_and_pay", waits and pays),
        ("goods", word.startswith(_PHRASE_STEMS["goods"])),
        ("wait", waits),
        ("pay", pays),
        ("came_in", word.startswith(_PHRASE_STEMS["came_in"])),
        ("break", word in _PHRASE_WORDS["breaks"]),
    )
    return next((kind for kind, holds in kinds if holds), "plain")


def _begins_with_stem(word: str, stems: tuple[str, ...]) -> bool:
    return word.startswith(stems) or any(len(stem) > _SHORT_PHRASE_STEM and stem in word for stem in stems)


def _waits_for_payment(kinds: list[_Kind]) -> bool:
    if "wait_and_pay" in kinds:
        return True
    for place, kind in enumerate(kinds):
        after = kinds[place + 1 : place + 1 + _FAR]
        telling = next((other for other in after if other not in {"plain", "wait"}), None)
        is_direct = after[:1] == ["paid"]  # "pending paid" is two words, "waiting to be paid" one thing
        if kind == "wait" and (telling == "pay" or (telling == "paid" and not is_direct)):
            return True
        next_word = next((other for other in after if other != "plain"), None)
        if kind == "pay" and next_word == "wait" and "goods" not in after:
            return True
    return False


def _came_in(words: list[str], kinds: list[_Kind]) -> bool:
    """Whether a clause says that something was paid, or that a payment came in."""
    speaking = {"paid", "came_in"} if "pay" in kinds else {"paid"}
    against = _PHRASE_WORDS["negations"] | _PHRASE_WORDS["to_be"]
    return any(
        kind in speaking and not against & set(words[max(place - _NEAR - 1, 0) : place])
        for place, kind in enumerate(kinds)
    )


def _denied(words: list[str], place: int) -> tuple[int, int]:
    """The words of ``not yet refunded``, from the first to behind the last; nothing where it was refunded."""
    for first in range(place - 1, -1, -1):
        if words[first] in _PHRASE_WORDS["negations"]:
            return first, place + 1
        if words[first] not in _PHRASE_WORDS["fillers"]:
            break
    return place, place


def _refused(words: list[str], place: int) -> tuple[int, int]:
    """The words of ``refund was declined`` or ``declined refund``; nothing where it was not."""
    stems = (*_PHRASE_STEMS["refusals"], *_PHRASE_STEMS["failures"])
    for last, word in enumerate(words[place + 1 : place + 2 + _NEAR], start=place + 2):
        if word.startswith(stems) or word in _PHRASE_WORDS["negations_after"]:
            return place, len(words) if word in _PHRASE_WORDS["negations_after"] else last
    if place and words[place - 1].startswith(_PHRASE_STEMS["refusals"]):
        return place - 1, place + 1
    return place, place


def _is_denied_compound(word: str, refunded: tuple[str, ...]) -> bool:
    long = tuple(stem for stem in refunded if len(stem) > _SHORT_PHRASE_STEM)
    return any(word.startswith(no) and word.removeprefix(no).startswith(long) for no in _PHRASE_WORDS["negations"])


StatusClass = Literal["sale", "not_sale", "refunded", "unclear", "unknown"]
"""``unclear``: understood, but shops mean different things by it (``on hold``); ``unknown``: not in the vocabulary."""
_RecordType = Literal["sale", "refund", "other", "unknown"]
"""``other``: no order that counts; `is_void` tells those that were undone at the till."""

_SHORT_STATUS_STEM = 4
_STATUSES = tomllib.loads(resources.files(__package__).joinpath("status_words.toml").read_text(encoding="utf-8"))
_STATUS_STEMS: Mapping[str, tuple[str, ...]] = {
    name: tuple(words.split()) for name, words in _STATUSES["statuses"].items()
}
TRUE_WORDS, FALSE_WORDS = frozenset(_STATUS_STEMS["true"]), frozenset(_STATUS_STEMS["false"])
_CLASSES: tuple[tuple[StatusClass, str], ...] = (
    ("sale", "fulfilment"),
    ("not_sale", "unpaid"),
    ("not_sale", "not_sale"),
    ("refunded", "refunded"),
    ("not_sale", "pending"),
    ("unclear", "unclear"),
    ("sale", "sale"),
)
_TYPES: tuple[_RecordType, ...] = ("refund", "other", "sale")
_TYPE_STEMS: Mapping[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _STATUSES["types"].items()}


def status_key(text: str) -> str:
    """Reduce a status to what counts in a comparison."""
    letters = "".join(sign for sign in fold(text) if sign.isalnum())
    return letters.removeprefix("wc") if fold(text).startswith("wc-") else letters


def classify_status(
    text: str,
    *,
    sale: Iterable[str] = (),
    not_sale: Iterable[str] = (),
    shop: Mapping[str, StatusClass] | None = None,
    payment: bool = False,
) -> StatusClass:
    """Say what a status means."""
    key = status_key(text)
    wanted, unwanted = {status_key(word) for word in sale}, {status_key(word) for word in not_sale}
    if key in unwanted:
        return "not_sale"
    if key in wanted:
        return "sale"
    is_open = payment and key.startswith(_STATUS_STEMS["open_payment"])
    found = (shop or {}).get(key) or ("not_sale" if is_open else _in_vocabulary(text, key))
    return "not_sale" if wanted and found != "refunded" else found


def _in_vocabulary(text: str, key: str) -> StatusClass:
    kept = _without_denied_refunds(text, _STATUS_STEMS["refunded"])
    if kept is not None:
        found = _in_vocabulary(kept.rest, status_key(kept.rest)) if kept.rest else "unknown"
        return ("unclear" if kept.is_refused else "sale") if found == "unknown" else found
    if not _begins(key, _STATUS_STEMS["unpaid"]) and _is_paid_and_waits(text):
        against = (meaning for meaning, name in _CLASSES if name in {"not_sale", "refunded"} and _holds(key, name))
        return next(against, "sale")
    first, _, rest = text.strip().replace("_", " ").partition(" ")
    if rest and fold(first) in _STATUS_STEMS["negations"] and _vocabulary_class(status_key(rest)) == "sale":
        return "not_sale"
    found = _vocabulary_class(key)
    return "unknown" if found == "sale" and _is_denied_later(text) else found


def _is_denied_later(text: str) -> bool:
    """Whether a word amid a status denies it, as in ``Zahlung nicht eingegangen``, and no sale is stated before it."""
    words = [fold(word) for word in text.replace("_", " ").split()]
    at = next((place for place, word in enumerate(words) if place and word in _STATUS_STEMS["negations"]), None)
    return at is not None and _vocabulary_class(status_key(" ".join(words[:at]))) != "sale"


@lru_cache(maxsize=4096)
def _vocabulary_class(key: str) -> StatusClass:
    if _mentions(key, "refunded") and _mentions(key, "partial"):
        return "sale"
    if not key.startswith(_STATUS_STEMS["fulfilment"]) and _mentions(key, "wait") and _mentions(key, "pay"):
        return "not_sale"
    return next((meaning for meaning, name in _CLASSES if _begins(key, _STATUS_STEMS[name])), "unknown")


def _mentions(key: str, name: str) -> bool:
    return any(stem in key for stem in _STATUS_STEMS[name])


def _holds(key: str, name: str) -> bool:
    return _begins(key, _STATUS_STEMS[name])


def _begins(key: str, stems: tuple[str, ...]) -> bool:
    """Whether a text begins with a stem, or holds one that is long enough not to be there by chance."""
    return key.startswith(stems) or any(len(stem) > _SHORT_STATUS_STEM and stem in key for stem in stems)


@lru_cache(maxsize=4096)
def is_void(text: str) -> bool:
    """Say whether a record was undone at the till: its money was never paid, and is none that was given back."""
    words = re.findall(r"[^\W_]+", fold(text))
    return any(word.startswith(_TYPE_STEMS["void"]) for word in words)


@lru_cache(maxsize=4096)
def classify_type(text: str) -> _RecordType:
    """Say what a record is."""
    key = status_key(text)
    if is_void(text):
        return "other"
    return next((kind for kind in _TYPES if _begins(key, _TYPE_STEMS[kind])), "unknown")


def classify_types(texts: Iterable[str]) -> dict[str, _RecordType]:
    """Say what the records of an export are, by all types that occur."""
    keys = {text: status_key(text) for text in texts}
    heads = {key for key in keys.values() if f"{key}line" in keys.values() or f"{key}item" in keys.values()}
    parts = {f"{head}{part}" for head in heads for part in ("line", "item")}
    if heads:
        parts |= {key for key in keys.values() if key.startswith(("payment", "tender"))}
    return {text: "other" if key in parts else classify_type(text) for text, key in keys.items()}


_UNTIDY = r"[^\x20-\x7E]|^[='\"\s]|[\"\s]$"
INVISIBLE = (
    r"[\u{200B}-\u{200F}\u{202A}-\u{202E}\u{2060}\u{2066}-\u{2069}\u{FEFF}\u{061C}\u{00AD}]"
    r"|[\p{Cc}&&[^\t\n\r]]"
)
_MAX_TEXT_LENGTH = 80
_MAX_SHAPES = 50_000
_EQUAL_DIGITS = np.where(np.isin(np.arange(256), list(b"0123456789")), ord("9"), np.arange(256)).astype(np.uint8)


def tidy_texts(texts: pl.Series) -> pl.Series:
    """Remove what is not part of a value: quotation marks, apostrophes, invisible and wide characters."""
    if not texts.str.contains(_UNTIDY).any():
        return texts
    plain = texts.str.replace_all(INVISIBLE, "").str.normalize("NFKC").str.replace_all(r"\s+", " ")
    plain = _ascii_digits(plain).str.replace_all("[‐‑‒–—−]", "-").str.strip_chars()
    return plain.str.replace(r"^=?\s*\"(.*)\"$", "$1").str.replace(r"^['’](.*?)['’]?$", "$1").str.strip_chars()


def shapes_of(texts: pl.Series) -> pl.Series:
    """Make every digit equal."""
    short = texts.set((texts.str.len_bytes() > _MAX_TEXT_LENGTH).fill_null(value=True), None)
    written = short.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    known, places, content = written.buffers()
    if content is None:
        return short
    equal = pa.py_buffer(_EQUAL_DIGITS[np.frombuffer(content, dtype=np.uint8)])  # five times as fast as replacing
    return pl.Series(
        texts.name, pa.Array.from_buffers(written.type, len(written), [known, places, equal], offset=written.offset)
    )


def distinct_shapes(shapes: pl.Series) -> list[str]:
    """List the shapes of a column."""
    distinct = shapes.drop_nulls().unique()
    return distinct.to_list() if len(distinct) <= _MAX_SHAPES else []


def _ascii_digits(texts: pl.Series) -> pl.Series:
    if not texts.str.contains(r"[\p{Nd}&&[^0-9]]").any():
        return texts
    found = {
        digit
        for text in texts.drop_nulls().str.extract_all(r"[\p{Nd}&&[^0-9]]").explode().unique()
        for digit in text or ""
    }
    return texts.str.replace_many({digit: str(unicodedata.digit(digit)) for digit in sorted(found)})
