"""Standard terms: words that the project replaced do not come back, in names, texts and documentation.

``python -m tests.test_vocabulary`` prints what is left, by package, and shortens ``vocabulary_left.txt``.
"""

import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "repurchase"
TEXTS = sorted([*SOURCES.rglob("*.py"), *SOURCES.rglob("*.html"), *SOURCES.rglob("*.js"), *SOURCES.rglob("*.pot")])
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README.md"), *ROOT.glob("CONTRIBUTING.md")])

WORDS = frozenset(
    {
        *("asked", "told", "retold", "said"),
        *("veil", "veils", "spill", "spills", "spilled", "spilling", "lesson", "lessons", "patience"),
        *("rehearse", "rehearsed", "rehearsal", "mend", "mends", "mended", "hear", "hears", "heard"),
        *("rulings", "dateforms", "tally", "tallies"),
    }
)
"""Avoided everywhere: in names, strings, comments and documentation."""
PHRASES = (
    "by lot",
    "the lot",
    "beyond chance",
    "right within",
    "hardly tell",
    "cannot be had",
    "of what is open",
    "nobody is moved",
    "what came of",
    "stands beside",
    "stand beside",
    "gone on from",
    "goes on from",
    "money at risk",
    "keep_book",
)
NAMES = frozenset(
    {
        *("arms", "book", "books", "cuts", "heads", "look", "looks", "slots", "survey", "surveyed"),
        *("tiers", "trials", "veiled", "watch", "watched"),
    }
)
"""Avoided as a part of a Python name; ordinary English elsewhere."""

LEFT = Path(__file__).with_name("vocabulary_left.txt")
"""Uses that are still to be replaced, a word and a file per line. The list only shrinks."""
ALLOWED = {tuple(line.split("\t")) for line in LEFT.read_text(encoding="utf-8").splitlines()}


def parts(name: str) -> list[str]:
    """Words of a name: ``keep_book`` and ``KeepBook`` are keep and book."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def avoided_in(text: str) -> Iterator[str]:
    """Avoided words and phrases of a text, names in it included."""
    found = Counter(word for name in re.findall(r"[A-Za-z_]+", text) for word in parts(name) if word in WORDS)
    yield from found.elements()
    flat = " ".join(text.lower().split())
    for phrase in PHRASES:
        yield from re.findall(rf"(?<!\w){phrase}(?!\w)", flat)


def avoided_names(source: str) -> Iterator[str]:
    """Avoided words in the names of Python code."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield from (word for word in parts(token.string) if word in NAMES)


@cache
def uses(path: Path) -> Counter[str]:
    """How often a file uses each avoided word."""
    text = path.read_text(encoding="utf-8")
    names = avoided_names(text) if path.suffix == ".py" else ()
    return Counter([*avoided_in(text), *names])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What was told", ["told"]),
        ("self.keep_book(Veil)", ["veil", "keep_book"]),
        ("chosen by\n    lot", ["by lot"]),
        ("a slotted spoon, foretold", []),
    ],
)
def test_avoided_words_are_found(text: str, words: list[str]) -> None:
    assert list(avoided_in(text)) == words


def test_names_are_split() -> None:
    assert list(avoided_names("def look(OrderBook): return 'look at the book'  # watch")) == ["look", "book"]


@pytest.mark.parametrize("path", [*TEXTS, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_avoided_words(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    assert {word: count for word, count in uses(path).items() if (word, name) not in ALLOWED} == {}


def gone() -> set[tuple[str, ...]]:
    """Entries of the list whose word the file no longer uses."""
    return {(word, name) for word, name in ALLOWED if not (ROOT / name).exists() or not uses(ROOT / name)[word]}


def test_the_list_of_what_is_left_shrinks() -> None:
    assert gone() == set()


def main() -> None:
    """Print counts by package and file, and shorten the list of what is left."""
    packages: dict[str, Counter[str]] = {}
    for path in [*TEXTS, *PAGES]:
        package = str(path.relative_to(ROOT)).removeprefix("src/repurchase/").split("/")[0]
        packages.setdefault(package, Counter()).update(uses(path))
    by_file = {str(path.relative_to(ROOT)): uses(path) for path in [*TEXTS, *PAGES]}
    for title, counts in (("packages", packages), ("files", by_file)):
        sys.stdout.write(f"{title}\n")
        for name, words in sorted(counts.items(), key=lambda item: -item[1].total()):
            listing = ", ".join(f"{word} {number}" for word, number in words.most_common())
            sys.stdout.write(f"{words.total():>5}  {name}: {listing}\n" if words else "")
    LEFT.write_text("".join(sorted(f"{word}\t{name}\n" for word, name in ALLOWED - gone())), encoding="utf-8")


if __name__ == "__main__":
    main()
