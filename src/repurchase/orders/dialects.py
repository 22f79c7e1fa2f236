"""How a delimited text is written: where its table begins, what separates fields, and how they are quoted."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from repurchase.errors import first_few

__all__ = [
    "Dialect",
    "dialect_of",
    "escapes_quotes",
    "locate_table",
    "preamble_note",
    "uses_single_quotes",
]

DELIMITERS = (",", ";", "\t", "|")
_RECORDS = 200
_LONGEST_PREAMBLE = 60
_HEAD_BYTES = 1 << 18
_SEPARATOR_LINE = re.compile(r'^"?sep=(.|\\t)"?\s*$', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How a text is written.

    Parameters
    ----------
    delimiter : str
        Between fields.
    heading : tuple of str
        The columns' names; empty where the text has no line with anything in it.
    lines : int
        Lines up to the end of the heading.
    preamble : tuple of tuple of str
        The records above the heading.
    padding : int
        Fields without a value that rows have beyond the heading.
    """

    delimiter: str
    heading: tuple[str, ...]
    lines: int
    preamble: tuple[tuple[str, ...], ...] = ()
    padding: int = 0


@dataclass(frozen=True)
class _Record:
    """One record and the number of the line on which it ends."""

    fields: tuple[str, ...]
    line: int

    @property
    def n_filled(self) -> int:
        return sum(bool(field.strip()) for field in self.fields)


def dialect_of(lines: Sequence[str], *, delimiters: Sequence[str] = DELIMITERS) -> Dialect:
    r"""Find the heading of a table and what separates its fields.

    Parameters
    ----------
    lines : sequence of str
        The text's first lines, each with its line end.
    delimiters : sequence of str
        What may separate fields; a line ``sep=`` decides where there is one.

    Returns
    -------
    Dialect
        The heading is the first line as wide as the table below it that holds names only; where no line is, the first.

    Examples
    --------
    >>> found = dialect_of(["Sales report\n", "\n", "customer;date\n", "7;2024-01-31\n"])
    >>> found.delimiter, found.heading, found.lines
    (';', ('customer', 'date'), 3)
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    declared = _SEPARATOR_LINE.match(lines[first]) if lines else None
    skip = first + 1 if declared else 0
    wanted = (declared[1].replace("\\t", "\t"),) if declared else delimiters
    found = [locate_table(_parsed(lines[skip:], delimiter, skip), delimiter) for delimiter in wanted]
    if declared and len(found[0][1].heading) == 1:
        found = [locate_table(_parsed(lines[skip:], delimiter, skip), delimiter) for delimiter in DELIMITERS]
    best = max(found, key=lambda one: (one[0], one[0] and not one[1].preamble, len(one[1].heading)))[1]
    if len(best.heading) > 1:
        return best
    widths = {len(line.split()) for line in lines[skip:][:20] if line.strip()}
    is_blank_separated = len(widths) == 1 and widths != {1}
    return Dialect(" " if is_blank_separated else ",", best.heading, best.lines)


def locate_table(rows: Sequence[tuple[int, Sequence[str]]], delimiter: str = ",") -> tuple[bool, Dialect]:
    """Find the heading among rows that are taken apart already.

    Parameters
    ----------
    rows : sequence of tuple
        The number of the line on which each ends, and its fields; those without a value are left out.
    delimiter : str
        What separated the fields.

    Returns
    -------
    fits : bool
        Whether a heading was found that the rows below it fit.
    dialect : Dialect
        With that heading, or with the first row for one.
    """
    records = [_Record(tuple(fields), line) for line, fields in rows]
    if not records:
        return False, Dialect(delimiter, (), 0)
    width = Counter(len(record.fields) for record in records[1:] or records).most_common(1)[0][0]
    below = [record for record in records if len(record.fields) == width and not _is_textual(record)]
    filled = {n for record in below for n, field in enumerate(record.fields) if field.strip()}
    padding = width - max(filled, default=width - 1) - 1
    at = _heading_at(records, width - padding, filled) if width - padding > 1 else None
    heading = records[at or 0]
    lacking = 0 if at is None else max(width - len(heading.fields), 0)
    preamble = tuple(record.fields for record in records[: at or 0])
    return at is not None, Dialect(delimiter, heading.fields, heading.line, preamble, lacking)


def _parsed(lines: Sequence[str], delimiter: str, skipped: int) -> list[tuple[int, list[str]]]:
    reader = csv.reader(iter(lines), delimiter=delimiter)
    said = ((skipped + reader.line_num, fields) for fields in reader if any(field.strip() for field in fields))
    rows: list[tuple[int, list[str]]] = []
    with suppress(csv.Error):
        rows.extend(islice(said, _RECORDS))
    return rows


def _heading_at(records: Sequence[_Record], width: int, filled: set[int]) -> int | None:
    """Index of the first record that is as wide as the table and names most of its columns."""
    best, most = None, 0.0
    for at, record in enumerate(records[:_LONGEST_PREAMBLE]):
        if len(record.fields) < width or not _is_textual(record):
            continue
        named = sum(n in filled and bool(field.strip()) for n, field in enumerate(record.fields))
        share = named / max(len(filled), 1) if filled else record.n_filled / len(record.fields)
        if at == 0 and (share >= 0.8 or not filled):
            return 0
        if share >= 0.5 and share > most:
            best, most = at, share
    return best


def _is_textual(record: _Record) -> bool:
    """Whether every field that says something is made of letters rather than digits."""
    fields = [field for field in record.fields if field.strip()]
    return len(fields) > 1 and sum(map(_is_name, fields)) >= 0.8 * len(fields)


def _is_name(field: str) -> bool:
    letters = sum(sign.isalpha() for sign in field)
    digits = sum(sign.isdigit() for sign in field)
    return letters > 0 and digits < 0.3 * (letters + digits) and "@" not in field


def escapes_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    r"""Say whether quotation marks within values are written with a backslash before them.

    Parameters
    ----------
    lines : sequence of str
        Some lines that follow each other, with a backslash before a quotation mark among them.
    dialect : Dialect
        How the text is written otherwise.

    Returns
    -------
    bool
        Whether more records have the table's width when read so than when read without.

    Examples
    --------
    >>> table = Dialect(",", ("a", "b"), 1)
    >>> escapes_quotes([r'1,"a \"5\" inch, nice"'], table), escapes_quotes([r'"C:\dir\",2'], table)
    (True, False)
    """
    return _count_fitting(lines, dialect, "\\") > _count_fitting(lines, dialect, None)


def _count_fitting(lines: Sequence[str], dialect: Dialect, escape: str | None) -> int:
    """Count records of the table's width up to the first that quotation marks do not allow."""
    width, count = len(dialect.heading), 0
    reader = csv.reader(iter(lines), delimiter=dialect.delimiter, escapechar=escape, strict=True)
    with suppress(csv.Error):
        for record in reader:
            count += len(record) >= width and not any(record[width:])
    return count


def uses_single_quotes(lines: Sequence[str], delimiter: str) -> bool:
    """Say whether values are clearly enclosed in apostrophes.

    Parameters
    ----------
    lines : sequence of str
        The text's first lines.
    delimiter : str
        Between fields.

    Returns
    -------
    bool
        Whether on nearly every line apostrophes begin and end fields, and none stands elsewhere.

    Examples
    --------
    >>> uses_single_quotes(["'a';'b'", "'x, y';'2'"], ";"), uses_single_quotes(["a;b", "O'Brien;'2"], ";")
    (True, False)
    """
    said = [line.strip() for line in lines if line.strip()]
    mark = re.escape(delimiter)
    enclosed = re.compile(rf"(?:(?<=[{mark}\n])|^)'(?:[^']|'')*'(?=[{mark}\n]|$)")
    text = "\n".join(said)
    found = [*enclosed.finditer(text)]
    if len(said) < 2 or len(found) < 0.9 * len(said):
        return False
    return "'" not in enclosed.sub("", text[: found[-1].end()])


def preamble_note(name: str, dialect: Dialect) -> tuple[str, ...]:
    """Say which lines above the heading were left out.

    Parameters
    ----------
    name : str
        What the note calls the file.
    dialect : Dialect
        How it is written.

    Returns
    -------
    tuple of str
        Nothing, or one note.
    """
    said = [" ".join(field for field in record if field.strip()) for record in dialect.preamble]
    if not said:
        return ()
    lines = "line" if len(said) == 1 else "lines"
    return (f"{name}: {len(said)} {lines} above the heading left out: {first_few(said, shown=3)}.",)
