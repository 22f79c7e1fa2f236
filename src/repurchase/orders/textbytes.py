"""The bytes of a text file as UTF-8, streamed: decompressed, decoded, and with line ends and blanks made plain."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from repurchase.errors import OrdersError

__all__ = ["EDGE_BYTES", "Survey", "Text", "text_of"]

CHUNK_BYTES = 1 << 23
EDGE_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_UNKNOWN_TO_WINDOWS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


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
    is_utf8 : bool
        Whether all of it is UTF-8.
    """

    head: bytes
    tail: bytes
    lines: int
    quotes: int
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
    encoding : str, optional
        Where it is not UTF-8.
    is_old_mac : bool
        Whether lines end with a carriage return alone.
    is_blank_separated : bool
        Whether runs of blanks are to be tabs.
    """

    path: Path
    shown: str
    encoding: str | None = None
    is_old_mac: bool = False
    is_blank_separated: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the text."""
        return self.encoding is None and not self.is_old_mac and not self.is_blank_separated and not _is_gzip(self.path)

    def chunks(self) -> Iterator[bytes]:
        """Stream the text as UTF-8 without a mark at its beginning.

        Returns
        -------
        iterator of bytes
            Some megabytes each, cut anywhere.
        """
        chunks = self._stored() if self.encoding is None else _decoded(self._stored(), self.encoding)
        chunks = _without_mark(chunks)
        if self.is_old_mac:
            chunks = (chunk.replace(b"\r", b"\n") for chunk in chunks)
        return _tabbed(chunks) if self.is_blank_separated else chunks

    def survey(self) -> Survey:
        """Go over the text once.

        Returns
        -------
        Survey
            What it tells.
        """
        head = tail = b""
        lines = quotes = 0
        decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        for chunk in self.chunks():
            head = head if len(head) >= EDGE_BYTES else head + chunk[:EDGE_BYTES]
            tail = chunk[-EDGE_BYTES:] if len(chunk) >= EDGE_BYTES else (tail + chunk)[-EDGE_BYTES:]
            lines += chunk.count(b"\n")
            quotes += chunk.count(b'"')
            decoder = decoder if decoder and _decodes(decoder, chunk) else None
        ends_well = decoder is not None and _decodes(decoder, b"", final=True)
        return Survey(head, tail, lines, quotes, ends_well)

    def lines(self) -> io.TextIOWrapper:
        """Open the text line by line, each with its own line end.

        Returns
        -------
        TextIOWrapper
            To be closed.
        """
        return io.TextIOWrapper(io.BufferedReader(_Reader(self.chunks())), encoding="utf-8", newline="")

    def _stored(self) -> Iterator[bytes]:
        try:
            with _open(self.path) as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
            raise OrdersError(
                f"{self.shown}: the compressed file is damaged or ends too early ({fault}). Export it again."
            ) from fault


def text_of(path: Path, *, shown: str) -> tuple[Text, Survey, tuple[str, ...]]:
    """Find out how a file is to be read so that it is plain UTF-8 text with plain line ends.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What messages call it.

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
    text = Text(path, shown)
    survey = text.survey()
    name, encoding = _utf16(survey.head)
    if encoding is None:
        _refuse_binary(survey.head, shown)
        if not survey.is_utf8:
            name, encoding = ("Windows-1252 (Latin-1)", "cp1252") if _is_windows(text) else ("Latin-1", "latin-1")
    notes: tuple[str, ...] = ()
    if encoding is not None:
        text = replace(text, encoding=encoding)
        survey = text.survey()
        notes = (f"{Path(shown).name}: read as {name}, not UTF-8.",)
    if survey.lines == 0 and b"\r" in survey.head:
        text = replace(text, is_old_mac=True)
        survey = text.survey()
    return text, survey, notes


def _is_windows(text: Text) -> bool:
    return not any(_UNKNOWN_TO_WINDOWS.search(chunk) for chunk in text.chunks())


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if _is_gzip(path) else path.open("rb")  # type: ignore[return-value]


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


def _utf16(head: bytes) -> tuple[str, str | None]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16", "utf-16"
    sample = head[:4000]
    for codec, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if len(sample) > 8 and zeros.count(0) > 0.6 * len(zeros) and sample.count(0) < 0.6 * len(sample):
            return "UTF-16", codec
    return "UTF-8", None


def _refuse_binary(head: bytes, shown: str) -> None:
    if head.startswith((_ZIP, _OLD_EXCEL)):
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
