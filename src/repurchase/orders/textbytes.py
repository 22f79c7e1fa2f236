"""The bytes of a text file as UTF-8, streamed: decompressed, decoded, and with line ends and blanks made plain."""

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from repurchase.errors import OrdersError
from repurchase.orders.archives import MOST_UNPACKED, is_compressed, stored_bytes
from repurchase.orders.encodings import SAMPLE_BYTES, UTF_8, Encoding, detect_encoding, unicode_mark

__all__ = ["EDGE_BYTES", "Survey", "Text", "text_of"]

CHUNK_BYTES = 1 << 23
EDGE_BYTES = 1 << 20
LONGEST_LINE = 1 << 26
_BINARY = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_NOT_ASCII = re.compile(rb"[^\r\n]*[\x80-\xff][^\r\n]*")
_ESCAPED = re.compile(rb'\\(["\\])')
_SWAPPED = bytes.maketrans(b"\"'", b"'\"")


@dataclass(frozen=True)
class Survey:
    """What one pass over the bytes tells.

    Parameters
    ----------
    head, tail : bytes
        The first and the last megabyte.
    lines : int
        Line ends.
    quotes : int
        Quotation marks.
    escaped_quotes : int
        Those behind a backslash.
    size : int
        Bytes.
    is_utf8 : bool
        Whether all of it is UTF-8.
    """

    head: bytes
    tail: bytes
    lines: int
    quotes: int
    escaped_quotes: int
    size: int
    is_utf8: bool


@dataclass(frozen=True)
class Text:
    """A text file, and what makes plain UTF-8 of it.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What messages call it.
    member : str, optional
        Which file of an archive, where the path is one.
    encoding : Encoding
        What its bytes mean.
    is_old_mac : bool
        Whether lines end with a carriage return alone.
    is_blank_separated : bool
        Whether runs of blanks are to be tabs.
    swaps_quotes : bool
        Whether apostrophes and quotation marks are to change places.
    has_escapes : bool
        Whether quotation marks behind a backslash are to be doubled instead.
    stop : int, optional
        Where the table ends, in bytes of the text.
    most_bytes : int
        What it may unpack to; see `stored_bytes`.
    """

    path: Path
    shown: str
    member: str | None = None
    encoding: Encoding = UTF_8
    is_old_mac: bool = False
    is_blank_separated: bool = False
    swaps_quotes: bool = False
    has_escapes: bool = False
    stop: int | None = None
    most_bytes: int = field(default=MOST_UNPACKED, compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the text, up to its end."""
        return replace(self, stop=None) == Text(self.path, self.shown) and not is_compressed(self.path)

    def chunks(self) -> Iterator[bytes]:
        """Stream the text as UTF-8 without a mark at its beginning.

        Returns
        -------
        iterator of bytes
            Some megabytes each, cut anywhere.
        """
        chunks = stored_bytes(
            self.path, shown=self.shown, member=self.member, size=CHUNK_BYTES, most_bytes=self.most_bytes
        )
        if self.encoding.codec is not None:
            decode = _decoded_by_line if self.encoding.is_mostly_utf8 else _decoded
            chunks = decode(chunks, self.encoding.codec)
        chunks = _without_mark(chunks)
        if self.is_old_mac:
            chunks = (chunk.replace(b"\r", b"\n") for chunk in chunks)
        if self.is_blank_separated:
            chunks = _tabbed(chunks)
        if self.swaps_quotes:
            chunks = (chunk.translate(_SWAPPED) for chunk in chunks)
        if self.has_escapes:
            chunks = _doubled(chunks)
        return chunks if self.stop is None else _until(chunks, self.stop)

    def survey(self) -> Survey:
        """Go over the text once.

        Returns
        -------
        Survey
            What it tells.

        Raises
        ------
        OrdersError
            If it is not in lines.
        """
        head = tail = b""
        lines = quotes = escaped = size = in_line = 0
        decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        for chunk in self.chunks():
            head = head if len(head) >= EDGE_BYTES else head + chunk[:EDGE_BYTES]
            tail = chunk[-EDGE_BYTES:] if len(chunk) >= EDGE_BYTES else (tail + chunk)[-EDGE_BYTES:]
            ends = chunk.count(b"\n")
            in_line = 0 if ends or b"\r" in chunk or b"\0" in chunk else in_line + len(chunk)
            if in_line > LONGEST_LINE:
                raise OrdersError(_endless(self.shown, lines + 1))
            lines += ends
            marks = chunk.count(b'"')
            quotes += marks
            escaped += chunk.count(b'\\"') if marks else 0
            size += len(chunk)
            decoder = decoder if decoder and _decodes(decoder, chunk) else None
        ends_well = decoder is not None and _decodes(decoder, b"", final=True)
        return Survey(head, tail, lines, quotes, escaped, size, ends_well)

    def lines(self) -> Iterator[str]:
        """Stream the text line by line, each with its own line end.

        Yields
        ------
        str
            One line.

        Raises
        ------
        OrdersError
            If a line is endless.
        """
        with io.TextIOWrapper(io.BufferedReader(_Reader(self.chunks())), encoding="utf-8", newline="") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), ""), start=1):
                if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
                    raise OrdersError(_endless(self.shown, number))
                yield line

    def head(self) -> bytes:
        """Read the beginning of the stored bytes.

        Returns
        -------
        bytes
            At most `EDGE_BYTES`, decompressed but not decoded.
        """
        head = b""
        for chunk in stored_bytes(self.path, shown=self.shown, member=self.member, size=EDGE_BYTES):
            head += chunk
            if len(head) >= EDGE_BYTES:
                break
        return head[:EDGE_BYTES]


def text_of(
    path: Path,
    *,
    shown: str,
    member: str | None = None,
    encodings: Sequence[str] = (),
    most_bytes: int = MOST_UNPACKED,
) -> tuple[Text, Survey, tuple[str, ...]]:
    """Find out how a file is to be read so that it is plain UTF-8 text with plain line ends.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What messages call it.
    member : str, optional
        Which file of an archive, where the path is one.
    encodings : sequence of str
        Codecs of other files of the same log, for a file that does not show its own.
    most_bytes : int
        What it may unpack to; see `stored_bytes`.

    Returns
    -------
    text : Text
        How to read it.
    survey : Survey
        Of the text as it is read.
    notes : tuple of str
        The encoding, where it is not UTF-8.

    Raises
    ------
    OrdersError
        If it is no text, or its compression is damaged.
    """
    text = Text(path, shown, member, most_bytes=most_bytes)
    head = text.head()
    encoding = unicode_mark(head)
    if encoding is None:
        _refuse_binary(head, shown)
        survey = text.survey()
        encoding = UTF_8 if survey.is_utf8 else detect_encoding(_lines_not_ascii(text), preferred=encodings)
    text = replace(text, encoding=encoding)
    survey = survey if encoding.codec is None else text.survey()
    if survey.lines == 0 and b"\r" in survey.head:
        text = replace(text, is_old_mac=True)
        survey = text.survey()
    return text, survey, _encoding_notes(Path(shown).name, encoding)


def _encoding_notes(name: str, encoding: Encoding) -> tuple[str, ...]:
    if encoding.codec is None:
        return ()
    if encoding.is_mostly_utf8:
        return (f"{name}: read as {encoding.name}: some lines are not UTF-8.",)
    doubt = f" Too few letters show it: {encoding.also} would be possible too." if encoding.others else ""
    return (f"{name}: read as {encoding.name}, not UTF-8.{doubt}",)


def _lines_not_ascii(text: Text) -> Iterator[bytes]:
    """Give different lines that are not ASCII, up to the size of a sample."""
    size, seen, rest = 0, set[bytes](), b""
    for chunk in chain(text.chunks(), (b"\n",)):
        held = rest + chunk
        cut = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
        whole, rest = held[:cut], held[cut:]
        for line in _NOT_ASCII.findall(whole) if not whole.isascii() else ():
            if line not in seen:
                seen.add(line)
                size += len(line)
                yield line
            if size > SAMPLE_BYTES:
                return


def _endless(shown: str, line: int) -> str:
    return (
        f"{shown}: line {line:,} is longer than {LONGEST_LINE >> 20} MB, so this is no table of orders. "
        "Check the file, or export it again."
    )


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8")
    yield decoder.decode(b"", True).encode("utf-8")


def _decoded_by_line(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Keep lines that are UTF-8, and decode the others."""
    rest = b""
    for chunk in chunks:
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        yield _as_utf8(whole + end, encoding)
    yield _as_utf8(rest, encoding)


def _as_utf8(text: bytes, encoding: str) -> bytes:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        lines = text.splitlines(keepends=True)
        if len(lines) > 1:
            return b"".join(_as_utf8(line, encoding) for line in lines)
        return text.decode(encoding, errors="replace").encode("utf-8")
    return text


def _doubled(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Write quotation marks behind a backslash doubled instead."""
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


def _tabbed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        yield _with_tabs(whole) + end
    yield _with_tabs(rest)


def _with_tabs(lines: bytes) -> bytes:
    return re.sub(rb"[ ]+", b"\t", re.sub(rb"(?m)^[ ]+|[ \r]+$", b"", lines))


def _refuse_binary(head: bytes, shown: str) -> None:
    if head.startswith(_BINARY):
        raise OrdersError(f"{shown}: a spreadsheet or an archive, not text. Save it as CSV or Parquet and try again.")
    if head.lstrip().startswith((b"<", b"{", b"[")):
        raise OrdersError(f"{shown}: a web page, XML or JSON, not a table. Save the orders as CSV or Parquet.")
    if b"\0" in head:
        raise OrdersError(f"{shown}: neither text nor Parquet. Expected CSV (also .gz), TSV or Parquet.")


class _Reader(io.RawIOBase):
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
