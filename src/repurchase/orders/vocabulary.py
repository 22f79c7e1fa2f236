"""Words for the columns of order exports, in twelve languages, and the concepts that a column name consists of.

A name is split into words (``Order Total (inc tax)``, ``orderTotal``, ``Bestellsumme``) and each word is looked up
without case or accents; compounds such as ``Kundennummer`` are split into the words they are made of. Names alone
never decide what a column means: they rank candidates, and ``interpretation`` checks them against the values.
"""

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

__all__ = ["NOT_FOR", "ROLES", "ColumnName", "fold", "is_known_word", "parse_name", "plain"]

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

_FILE = tomllib.loads(resources.files(__package__).joinpath("column_words.toml").read_text(encoding="utf-8"))
_WORDS: Mapping[str, str] = {word: concept for concept, words in _FILE["words"].items() for word in words.split()}
_STEMS: Mapping[str, tuple[str, ...]] = {concept: tuple(words.split()) for concept, words in _FILE["stems"].items()}
NOT_FOR: Mapping[str, tuple[str, ...]] = {role: tuple(words.split()) for role, words in _FILE["not_for"].items()}
"""Concepts that the name of a column for a role does not have."""
_SHORT = 4
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
    """A column name, taken apart.

    Parameters
    ----------
    text : str
        As it stands in the export.
    concepts : tuple of str
        Concepts of its words, in order; each once.
    unknown : int
        Letters in words that are not in the vocabulary.
    """

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
    """Lower-case a text without accents.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Comparable over spellings; Cyrillic letters stay.

    Examples
    --------
    >>> fold("Zurückerstattet"), fold("Beløp")
    ('zuruckerstattet', 'belop')
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_FOLDED).casefold().replace("й", "\0"))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).replace("\0", "й")


def plain(name: str) -> str:
    """Reduce a column name to its letters and digits, in lower case.

    Parameters
    ----------
    name : str
        As it stands in the export.

    Returns
    -------
    str
        Comparable over spellings.

    Examples
    --------
    >>> plain(" Customer_ID"), plain("Order #")
    ('customerid', 'order')
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_known_word(word: str) -> bool:
    """Say whether a word is made of words of column names.

    Parameters
    ----------
    word : str
        One word.

    Returns
    -------
    bool
        Whether all of its letters are accounted for.

    Examples
    --------
    >>> is_known_word("Bestelldatum"), is_known_word("qwerty")
    (True, False)
    """
    concepts, unknown = _split_word(fold(word))
    return bool(concepts) and unknown == 0


@lru_cache(maxsize=4096)
def parse_name(text: str) -> ColumnName:
    """Take a column name apart.

    Parameters
    ----------
    text : str
        As it stands in the export.

    Returns
    -------
    ColumnName
        Its concepts.

    Examples
    --------
    >>> parse_name("Kundennummer").concepts, parse_name("orderTotal").concepts, parse_name("Order #").concepts
    (('customer', 'id'), ('order', 'total'), ('order', 'id'))
    """
    name = _UNIT.sub("", _NUMBER_SIGN.sub(" id ", _REPEATED_HEADING.sub("", text)))
    name = re.sub(r"(?i)\be[-_ ](mail|post)", r"e\1", name)
    name = _COUNT.sub(" quantity ", name)
    words = [fold(word) for part in re.split(r"[^\w]|_", name) for word in _CAMEL.split(part) if word]
    if len(words) > 1 and (known := _WORDS.get("".join(words))):
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
    if word in _WORDS:
        return [_WORDS[word]], 0
    whole = _compound(word)
    if whole is not None:
        return whole, 0
    for concept, stems in _STEMS.items():
        if word.startswith(stems):
            return [concept], 0
    found: list[str] = []
    left_over = len(word.strip("0123456789"))
    for start in range(len(word)):
        for end in range(len(word), start + _SHORT, -1):
            if word[start:end] in _WORDS:
                return [*found, _WORDS[word[start:end]]], left_over - (end - start)
    return found, left_over


@lru_cache(maxsize=4096)
def _compound(word: str) -> list[str] | None:
    """Split a compound into words of the vocabulary, longest first; None where letters are left over."""
    if not word:
        return []
    for end in range(len(word), 1, -1):
        concept = _WORDS.get(word[:end])
        if concept is None:
            continue
        for link in ("", *_LINKS):
            if word.startswith(link, end) and (rest := _compound(word[end + len(link) :])) is not None:
                return [concept, *rest] if not rest or rest[0] != concept else rest
    return None
