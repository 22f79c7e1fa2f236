"""Text files as plain UTF-8: compression, code page detection, decoding, line ends."""

import codecs
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from repurchase.errors import OrdersError
from repurchase.i18n.messages import Message, message
from repurchase.sources.folders import MOST_UNPACKED, decompressed_bytes, is_compressed
from repurchase.sources.statuses import classify_status
from repurchase.sources.vocabulary import is_known_word, month_numbers, word_table

_SAMPLE_BYTES = 1 << 16
_TABLES = word_table("code_pages.toml")
_PAGES, _EAST_ASIAN = _TABLES["alphabetic"]["pages"], _TABLES["east_asian"]["pages"]
_CASELESS = ("cyrillic", "greek")
_NAMES: Mapping[str, str] = {page["codec"]: page["name"] for page in (*_PAGES, *_EAST_ASIAN)}
_KNOWN_WORD, _MOST_KNOWN_WORDS, _MOST_CONTEXTS, _LETTER_BY_DIGIT = 5.0, 12, 5, -12.0
_FOREIGN, _SYMBOL, _SYMBOL_IN_WORD, _HARMLESS_SYMBOL, _CASE_BREAK = -7.0, -9.0, -7.0, -4.0, -8.0
_TOO_MANY_ACCENTS, _COMMON_CHARACTER, _KANA, _CHARACTER, _RARE_CHARACTER = -5.0, -4.0, -4.5, -7.0, -14.0
_HARMLESS = frozenset("€£¥§°©®™«»“”„‘’‚–—…·•´¨¿¡№ªº²³½¼¾×±\u00a0\u00ad")
_CLEAR, _OTHER_LANGUAGE = 6.0, -1.5
_MARKS = (
    ((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32", "UTF-32"),
    ((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16", "UTF-16"),
)
_ZEROS = (  # codec, which of four bytes are never zero, which often
    ("utf-32-le", (0,), (2, 3)),
    ("utf-32-be", (3,), (0, 1)),
    ("utf-16-le", (0, 2), (1, 3)),
    ("utf-16-be", (1, 3), (0, 2)),
)
CHUNK_BYTES = 1 << 23
EDGE_BYTES = 1 << 20
LONGEST_LINE = 1 << 26
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_NOT_ASCII = re.compile(rb"[^\r\n]*[\x80-\xff][^\r\n]*")
_ESCAPED = re.compile(rb'\\(["\\])')
_SWAPPED = bytes.maketrans(b"\"'", b"'\"")


@dataclass(frozen=True)
class Encoding:
    """How a text is encoded."""

    codec: str | None = None
    name: str = "UTF-8"
    others: tuple[str, ...] = ()
    is_mostly_utf8: bool = False

    @property
    def also(self) -> str:
        """Names of the code pages that read the text nearly as well."""
        return " or ".join(_NAMES.get(codec, codec) for codec in self.others[:2])


UTF_8 = Encoding()


def unicode_mark(head: bytes) -> Encoding | None:
    """Recognise UTF-16 and UTF-32 by their byte order mark, or by where they have zeros."""
    for marks, codec, name in _MARKS:
        if head.startswith(marks):
            return Encoding(codec, name)
    sample = head[: len(head) // 4 * 4][:8000]
    if len(sample) < 8 or 0 not in sample:
        return None
    zeros = [sample[n::4].count(0) / len(sample) * 4 for n in range(4)]
    found = next((codec for codec, low, high in _ZEROS if _has_zeros(zeros, low, high)), None)
    return None if found is None else Encoding(found, found[:6].upper())


def _has_zeros(zeros: Sequence[float], low: Sequence[int], high: Sequence[int]) -> bool:
    """Whether the high bytes of characters are often zero, the low ones never."""
    return min(zeros[n] for n in high) > 0.15 and max(zeros[n] for n in low) < 0.02


def detect_encoding(lines: Iterable[bytes], *, preferred: Sequence[str] = ()) -> Encoding:
    """Decide how lines that are not ASCII were encoded."""
    sample = list(dict.fromkeys(lines))
    rest = [line for line in sample if not _is_utf8(line)]
    n_utf8 = len(sample) - len(rest)
    if not rest:
        return UTF_8
    found = _best_page(rest, preferred)
    if n_utf8 >= 3 and n_utf8 >= len(rest):
        return Encoding(found.codec, f"UTF-8, with lines in {found.name}", (), is_mostly_utf8=True)
    return found


def agreed_encodings(found: Iterable[Encoding]) -> tuple[str, ...]:
    """Name the code pages of the files of a log that show theirs, the most frequent first."""
    clear = Counter(one.codec for one in found if one.codec is not None and not one.others)
    return tuple(codec for codec, _ in clear.most_common())


def _best_page(lines: Sequence[bytes], preferred: Sequence[str]) -> Encoding:
    scores = _scores(b"\n".join(lines))
    if not scores:
        return _guess(b"\n".join(lines))
    texts = {codec: b"\n".join(lines).decode(codec) for codec in scores}
    best = max(scores, key=lambda codec: scores[codec])
    near = [codec for codec in scores if scores[codec] > scores[best] - _CLEAR and texts[codec] != texts[best]]
    agreed = next((codec for codec in preferred if codec in near or texts.get(codec) == texts[best]), None)
    if agreed is not None:
        return Encoding(agreed, _NAMES[agreed])
    distinct = {texts[codec]: codec for codec in sorted(near, key=lambda codec: scores[codec])}
    return Encoding(best, _NAMES[best], tuple(sorted(distinct.values(), key=lambda codec: -scores[codec])))


def _scores(sample: bytes) -> dict[str, float]:
    """Log likelihood of each code page that can decode the sample."""
    scores: dict[str, float] = {}
    for page in _PAGES:
        text = _decoded(sample, page["codec"])
        if text is not None:
            fit = page["prior"] + _fit_symbols(text) + _fit_words(_split_words(text), page["letters"])
            scores[page["codec"]] = max(scores.get(page["codec"], -math.inf), fit)
    for page in _EAST_ASIAN:
        text = _decoded(sample, page["codec"])
        if text is not None:
            scores[page["codec"]] = _fit_east_asian(text, page) - 1.0
    return scores


def _decoded(sample: bytes, codec: str) -> str | None:
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError:
        return None
    return None if any("\x7f" <= one <= "\x9f" or "\ue000" <= one <= "\uf8ff" for one in text) else text


def _is_utf8(line: bytes) -> bool:
    return _can_decode(codecs.getincrementaldecoder("utf-8")(), line, final=True)


def _split_words(text: str) -> set[str]:
    return {word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()}


def _fit_symbols(text: str) -> float:
    """How well symbols fit their places: those of money and blanks are next to digits, letters are not."""
    contexts: dict[str, set[str]] = {}
    for context in set(re.findall(r"(?=(.?[^\w\x00-\x7f].?))", text)):
        at = 1 if context[0] <= "\x7f" or context[0].isalpha() else 0
        symbol = context[at : at + 1] or context[0]
        contexts.setdefault(symbol, set()).add(context.replace(symbol, " "))
    total = sum(_fit_symbol(symbol, found) for symbol, found in contexts.items())
    adjacent_to_digits: set[str] = set(
        re.findall(r"(?<=\d)[^\W\d_](?=\d)|(?<![^\W_])[^\W\d_](?=\d)|(?<=\d)[^\W\d_](?![^\W\d_])", text)
    )
    return total + _LETTER_BY_DIGIT * sum(letter > "\x7f" for letter in adjacent_to_digits)


def _fit_symbol(symbol: str, contexts: set[str]) -> float:
    if symbol not in _HARMLESS:
        return _SYMBOL * min(len(contexts), _MOST_CONTEXTS)
    if all(any(map(str.isdigit, context)) for context in contexts):
        return 0.0
    within = sum(sum(map(str.isalpha, context)) > 1 for context in contexts)
    return _SYMBOL_IN_WORD * min(within, _MOST_CONTEXTS) + _HARMLESS_SYMBOL * (within == 0)


@cache
def _weights(letters: str, *, caseless: bool) -> dict[str, float]:
    total = sum(1 / (rank + 2) for rank in range(len(letters)))
    weights = {letter: math.log(1 / (rank + 2) / total) for rank, letter in enumerate(letters)}
    capitals = {letter.upper(): weight - 0.5 for letter, weight in weights.items()}
    return capitals | weights if caseless else weights


def _fit_words(words: set[str], group: str) -> float:
    """How well words fit one language, or some of them another."""
    alphabets = [*_TABLES["letters"][group].values()]
    fits = [[_fit(word, letters, caseless=group in _CASELESS) for letters in alphabets] for word in words]
    if not fits:
        return 0.0
    main = max(range(len(alphabets)), key=lambda n: sum(fit[n] for fit in fits))
    known = min(sum(map(_is_export_word, words)), _MOST_KNOWN_WORDS)
    return sum(max(fit[main], max(fit) + _OTHER_LANGUAGE) for fit in fits) + _KNOWN_WORD * known


def _is_export_word(word: str) -> bool:
    """Whether a word is one of headings, statuses or months, so that it was decoded rightly."""
    return is_known_word(word) or classify_status(word) != "unknown" or word.lower() in month_numbers()


def _fit(word: str, letters: str, *, caseless: bool) -> float:
    weights = _weights(letters, caseless=caseless)
    accented = [letter for letter in word if letter > "\x7f"]
    spelled = map(str.lower, accented) if caseless and word.isupper() else accented
    breaks = sum(a.islower() and b.isupper() and not b.isascii() for a, b in pairwise(word))
    is_mixed = caseless and len(accented) < len(word)
    is_crowded = not caseless and len(accented) > 0.6 * len(word) and len(word) > 1
    fit = sum(weights.get(letter, _FOREIGN) for letter in spelled)
    return fit + _CASE_BREAK * (breaks + is_mixed) + _TOO_MANY_ACCENTS * is_crowded


def _fit_east_asian(text: str, page: Mapping[str, Any]) -> float:
    characters = [character for word in set(re.findall(r"[^\x00-\x7f]+", text)) for character in word]
    mixed = re.findall(r"[a-z][^\x00-\x7f]|[^\x00-\x7f][a-z]", text)
    total = sum(_COMMON_CHARACTER if one in page["common"] else _weight_east_asian(one, page) for one in characters)
    return total + _CASE_BREAK * len(mixed)


def _weight_east_asian(character: str, page: Mapping[str, Any]) -> float:
    raw = character.encode(page["codec"])
    if "\u3000" <= character <= "\u303f" or "\uff01" <= character <= "\uff5e":
        return _CHARACTER
    if len(raw) != 2:
        return _RARE_CHARACTER
    if page["codec"] in {"cp932", "euc_jp"} and "\u3040" <= character <= "\u30ff":
        return _KANA
    first, last, least_second = page["range"]
    return _CHARACTER if first <= raw[0] <= last and raw[1] >= least_second else _RARE_CHARACTER


def _guess(sample: bytes) -> Encoding:
    from charset_normalizer import from_bytes

    match = from_bytes(sample).best()
    if match is None:
        return Encoding("latin-1", "Latin-1")
    return Encoding(match.encoding, match.encoding, ("latin-1",))


class ByteStatistics:
    """What one pass over the bytes of a text counts."""

    def __init__(self, shown: str) -> None:
        self.tail = b""
        self.lines = self.quotes = self.escaped_quotes = self.size = 0
        self.is_utf8 = True
        self._shown, self._line_bytes = shown, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on and count what is in them."""
        for chunk in chunks:
            self._add(chunk)
            yield chunk
        self.is_utf8 = self.is_utf8 and _can_decode(self._decoder, b"", final=True)

    def _add(self, chunk: bytes) -> None:
        n_lines, n_quotes = chunk.count(b"\n"), chunk.count(b'"')
        has_end = n_lines > 0 or b"\r" in chunk or b"\0" in chunk
        self._line_bytes = 0 if has_end else self._line_bytes + len(chunk)
        if self._line_bytes > LONGEST_LINE:
            raise OrdersError(_endless(self._shown, self.lines + 1))
        self.tail = chunk[-EDGE_BYTES:] if len(chunk) >= EDGE_BYTES else (self.tail + chunk)[-EDGE_BYTES:]
        self.lines += n_lines
        self.quotes += n_quotes
        self.escaped_quotes += chunk.count(b'\\"') if n_quotes else 0
        self.size += len(chunk)
        self.is_utf8 = self.is_utf8 and _can_decode(self._decoder, chunk)


@dataclass(frozen=True)
class TextFile:
    """A text file, and how it is turned into plain UTF-8."""

    path: Path
    shown: str
    member: str | None = None
    encoding: Encoding = UTF_8
    is_old_mac: bool = False
    is_blank_separated: bool = False
    swaps_quotes: bool = False
    has_escapes: bool = False
    stop: int | None = None
    footer: tuple[str, ...] = ()
    most_bytes: int = field(default=MOST_UNPACKED, compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the text, up to its end."""
        return replace(self, stop=None, footer=()) == TextFile(self.path, self.shown) and self.is_stored_text

    @property
    def is_stored_text(self) -> bool:
        """Whether the file is neither compressed nor in an archive, so that reading the text reads all its bytes."""
        return self.member is None and not is_compressed(self.path)

    def chunks(self, *, size: int | None = None, digest: "hashlib._Hash | None" = None) -> Iterator[bytes]:
        """Stream the text as UTF-8 without a byte order mark; the bytes as stored go into the digest."""
        chunks = decompressed_bytes(
            self.path, shown=self.shown, member=self.member, size=size or CHUNK_BYTES, most_bytes=self.most_bytes
        )
        if digest is not None:
            chunks = _digested(chunks, digest)
        if self.encoding.codec is not None:
            codec = self.encoding.codec
            if self.encoding.is_mostly_utf8:
                chunks = _rewritten(chunks, partial(_as_utf8, encoding=codec))
            else:
                chunks = _decode_chunks(chunks, codec)
        chunks = _without_mark(chunks)
        if self.is_old_mac:
            chunks = (chunk.replace(b"\r", b"\n") for chunk in chunks)
        if self.is_blank_separated:
            chunks = _rewritten(chunks, _with_tabs)
        if self.swaps_quotes:
            chunks = (chunk.translate(_SWAPPED) for chunk in chunks)
        if self.has_escapes:
            chunks = _doubled(chunks)
        return chunks if self.stop is None else _until(chunks, self.stop)

    def lines(self) -> Iterator[str]:
        """Stream the text line by line, each with its own line end."""
        with io.TextIOWrapper(io.BufferedReader(_ChunkReader(self.chunks())), encoding="utf-8", newline="") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), ""), start=1):
                if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
                    raise OrdersError(_endless(self.shown, number))
                yield line

    def head(self) -> bytes:
        """Read the beginning of the text."""
        head = b""
        for chunk in self.chunks(size=EDGE_BYTES):
            head += chunk
            if len(head) >= EDGE_BYTES:
                break
        return head[:EDGE_BYTES]


def recognise_encoding(text: TextFile, *, preferred: Sequence[str]) -> TextFile:
    """Set the encoding that the beginning of a file shows."""
    head = text.head()
    encoding = unicode_mark(head)
    if encoding is not None:
        return replace(text, encoding=encoding)
    _refuse_binary(head, text.shown)
    is_utf8 = _can_decode(codecs.getincrementaldecoder("utf-8")(), head)
    return text if is_utf8 else replace_encoding(text, preferred=preferred)


def replace_encoding(text: TextFile, *, preferred: Sequence[str]) -> TextFile:
    """Set the encoding of a file that is not UTF-8."""
    return replace(text, encoding=detect_encoding(_lines_not_ascii(text), preferred=preferred))


def encoding_notes(name: str, encoding: Encoding) -> tuple[Message, ...]:
    """Say which encoding a file was read in, where it is not UTF-8."""
    if encoding.codec is None:
        return ()
    if encoding.is_mostly_utf8:
        return (message("file_note.mixed_encoding", name=name, encoding=encoding.name),)
    if encoding.others:
        return (message("file_note.encoding_doubt", name=name, encoding=encoding.name, also=encoding.also),)
    return (message("file_note.encoding", name=name, encoding=encoding.name),)


def _lines_not_ascii(text: TextFile) -> Iterator[bytes]:
    """Give different lines that are not ASCII: a sample of those in UTF-8, and one of the others."""
    bytes_left = {True: _SAMPLE_BYTES, False: _SAMPLE_BYTES}
    seen, rest = set[bytes](), b""
    for chunk in chain(text.chunks(), (b"\n",)):
        held = rest + chunk
        end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
        whole, rest = held[:end], held[end:]
        for line in _NOT_ASCII.findall(whole) if not whole.isascii() else ():
            is_utf8 = _is_utf8(line)
            if line not in seen and bytes_left[is_utf8] >= 0:
                seen.add(line)
                bytes_left[is_utf8] -= len(line)
                yield line
            if bytes_left[False] < 0:
                return


def _endless(shown: str, line: int) -> str:
    return (
        f"{shown}: line {line:,} is longer than {LONGEST_LINE >> 20} MB, so this is no table of orders. "
        "Check the file, or export it again."
    )


def _can_decode(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _digested(chunks: Iterator[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _decode_chunks(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8")
    yield decoder.decode(b"", True).encode("utf-8")


def _rewritten(chunks: Iterator[bytes], rewrite: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Rewrite whole lines."""
    rest = b""
    for chunk in chunks:
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        yield rewrite(whole + end)
    yield rewrite(rest)


def _as_utf8(text: bytes, encoding: str) -> bytes:
    if _is_utf8(text):
        return text
    lines = text.splitlines(keepends=True)
    if len(lines) > 1:
        return b"".join(_as_utf8(line, encoding) for line in lines)
    return text.decode(encoding, errors="replace").encode("utf-8")


def _doubled(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Double quotation marks that have a backslash before them, as CSV does."""
    rest = b""
    for chunk in chunks:
        held = rest + chunk
        backslashes = len(held) - len(held.rstrip(b"\\"))
        cut = len(held) - backslashes % 2
        rest = held[cut:]
        yield _ESCAPED.sub(lambda found: b'""' if found[1] == b'"' else b"\\", held[:cut])
    yield rest


def _until(chunks: Iterator[bytes], stop: int) -> Iterator[bytes]:
    left = stop
    for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next((chunk for chunk in chunks if chunk), b"")
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _with_tabs(lines: bytes) -> bytes:
    return re.sub(rb"[ ]+", b"\t", re.sub(rb"(?m)^[ ]+|[ \r]+$", b"", lines))


def _refuse_binary(head: bytes, shown: str) -> None:
    if head.startswith(_BINARY):
        raise OrdersError(f"{shown}: a spreadsheet or an archive, not text. Save it as CSV or Parquet and try again.")
    if head.lstrip().startswith((b"<", b"{", b"[")):
        raise OrdersError(f"{shown}: a web page, XML or JSON, not a table. Save the orders as CSV or Parquet.")
    if b"\0" in head:
        raise OrdersError(f"{shown}: neither text nor Parquet. Expected CSV (also .gz), TSV or Parquet.")


class _ChunkReader(io.RawIOBase):
    """Chunks as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
