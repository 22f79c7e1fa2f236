"""Words of order exports: column names, months, blanks, and the shapes of texts."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

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
_UNTIDY = r"[^\x20-\x7E]|^[='\"\s]|[\"\s]$"
INVISIBLE = (
    r"[\u{200B}-\u{200F}\u{202A}-\u{202E}\u{2060}\u{2066}-\u{2069}\u{FEFF}\u{061C}\u{00AD}]"
    r"|[\p{Cc}&&[^\t\n\r]]"
)
_MAX_TEXT_LENGTH = 80
_MAX_SHAPES = 50_000
_EQUAL_DIGITS = np.where(np.isin(np.arange(256), list(b"0123456789")), ord("9"), np.arange(256)).astype(np.uint8)


def word_table(name: str) -> dict[str, Any]:
    """Read one of the word lists beside this module."""
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def words_by_name(table: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Split each list of words."""
    return {name: tuple(words.split()) for name, words in table.items()}


_COLUMN_WORDS, _DATE_WORDS = word_table("column_words.toml"), word_table("date_words.toml")
BLANK_WORDS = ("", *_COLUMN_WORDS["blanks"].split())
"""In lower case, without blanks around them."""
BLANK_PATTERN = f"(?i:{'|'.join(re.escape(word) for word in sorted(BLANK_WORDS[1:], key=len, reverse=True))})?"
"""The same as part of a regular expression."""
ROLES = tuple(_COLUMN_WORDS["roles"].split())
ZONE_MINUTES = {name: int(minutes) for minutes, names in _DATE_WORDS["zones"].items() for name in names.split()}
"""Minutes east of Greenwich."""
FILLER_WORDS = frozenset(_DATE_WORDS["fillers"].split())
"""Words that only join the parts of a date: ``de``, ``um``, ``kl.``, ``г.``."""
HALVES_OF_DAY = {word: half for half in (1, 2) for word in _DATE_WORDS["halves"][str(half)].split()}
_LOCALES = (*_DATE_WORDS["locales"].split(), *_DATE_WORDS["further_locales"].split())


@cache
def month_numbers() -> dict[str, int]:
    """Number every name of a month."""
    names: dict[str, int] = {}
    for locale in _LOCALES:
        for month, name in _cldr_names(locale, "get_month_names", ("wide", "abbreviated")):
            for spelling in _spellings(name):
                names.setdefault(spelling, month)
    return {**_abbreviated(names), **_DATE_WORDS["months"], **names}


@cache
def weekdays() -> frozenset[str]:
    """Collect the names of weekdays."""
    found = (
        spelling
        for locale in _LOCALES
        for _, name in _cldr_names(locale, "get_day_names", ("wide", "abbreviated", "short"))
        for part in (name, name.partition("-")[0])  # "segunda-feira"
        for spelling in _spellings(part)
    )
    return frozenset((*found, "feira", "thur", "thurs", "tues", "wednes"))


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


_COLUMN_CONCEPTS = {word: concept for concept, words in _COLUMN_WORDS["words"].items() for word in words.split()}
_COLUMN_STEMS = words_by_name(_COLUMN_WORDS["stems"])
NOT_FOR = words_by_name(_COLUMN_WORDS["not_for"])
"""Concepts that the name of a column for a role does not have."""


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
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).replace("\0", "й")


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
