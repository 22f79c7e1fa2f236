"""How a delimited text is written: heading, delimiter, quotes, footers, and its rows as frames."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import polars as pl

from repurchase.i18n.messages import Message, first_items, message

_DELIMITERS = (",", ";", "\t", "|")
_RECORDS = 200
_LONGEST_PREAMBLE = 60
_TOTAL_WORDS = re.compile(
    r"^\W*(grand\W|sub\W?|net\W|zwischen|gesamt)?"
    r"(totals?|totaux|totaal|totale|totalt|sums?|summe|suma|somme|summa|gesamt\w*|insgesamt|razem|celkem|összesen|toplam"
    r"|yhteensä|итого|всего|сумма|σύνολο)(?!\w)|^\W*(合計|小計|総計|总计|合计|小计|總計|合計|합계|총계)",
    re.IGNORECASE,
)
_TOTAL_WORD_PATTERN = re.compile(r"[^\W\d_]{4}")
_MOST_LINES = 5
_REMARK = re.compile(
    r"^(#\s|--|\*\*|//|\(?\d[\d.,]*\s+(rows?|records?|lines?|orders?|zeilen?|lignes?|filas?|строк)\b)", re.IGNORECASE
)
_SWAPPED = str.maketrans("\"'", "'\"")
_SEPARATOR_LINE = re.compile(r'^"?sep=(.|\\t)"?\s*$', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How a text is written."""

    delimiter: str
    heading: tuple[str, ...]
    lines: int
    preamble: tuple[tuple[str, ...], ...] = ()
    padding: int = 0


@dataclass(frozen=True)
class _NumberedRecord:
    """One record and the number of the line on which it ends."""

    fields: tuple[str, ...]
    line: int

    @property
    def n_filled(self) -> int:
        return sum(bool(field.strip()) for field in self.fields)


def dialect_of(lines: Sequence[str], *, delimiters: Sequence[str] = _DELIMITERS) -> Dialect:
    r"""Find the heading of a table and what separates its fields."""
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    declared = _SEPARATOR_LINE.match(lines[first]) if lines else None
    skip = first + 1 if declared else 0
    found = _tables(lines, skip, (declared[1].replace("\\t", "\t"),) if declared else delimiters)
    if declared and len(found[0][1].heading) == 1:
        found = _tables(lines, skip, _DELIMITERS)
    best = max(found, key=lambda one: (one[0], one[0] and not one[1].preamble, len(one[1].heading)))[1]
    if len(best.heading) > 1:
        return best
    widths = {len(line.split()) for line in lines[skip:][:20] if line.strip()}
    is_blank_separated = len(widths) == 1 and widths != {1}
    return Dialect(" " if is_blank_separated else ",", best.heading, best.lines)


def _tables(lines: Sequence[str], skip: int, delimiters: Sequence[str]) -> list[tuple[bool, Dialect]]:
    return [locate_table(_parsed(lines[skip:], delimiter, skip), delimiter) for delimiter in delimiters]


def locate_table(rows: Sequence[tuple[int, Sequence[str]]], delimiter: str = ",") -> tuple[bool, Dialect]:
    """Find the heading among rows that are taken apart already."""
    records = [_NumberedRecord(tuple(fields), line) for line, fields in rows]
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
    filled = ((skipped + reader.line_num, fields) for fields in reader if any(field.strip() for field in fields))
    rows: list[tuple[int, list[str]]] = []
    with suppress(csv.Error):
        rows.extend(islice(filled, _RECORDS))
    return rows


def _heading_at(records: Sequence[_NumberedRecord], width: int, filled: set[int]) -> int | None:
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


def _is_textual(record: _NumberedRecord) -> bool:
    """Whether nearly every filled field is made of letters rather than digits."""
    fields = [field for field in record.fields if field.strip()]
    return len(fields) > 1 and sum(map(_is_name, fields)) >= 0.8 * len(fields)


def _is_name(field: str) -> bool:
    letters = sum(map(str.isalpha, field))
    digits = sum(map(str.isdigit, field))
    return letters > 0 and digits < 0.3 * (letters + digits) and "@" not in field


def escapes_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    r"""Say whether quotation marks within values are written with a backslash before them."""
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
    """Say whether values are clearly enclosed in apostrophes."""
    filled = [line.strip() for line in lines if line.strip()]
    edge = re.escape(delimiter)
    enclosed = re.compile(rf"(?:(?<=[{edge}\n])|^)'(?:[^']|'')*'(?=[{edge}\n]|$)")
    text = "\n".join(filled)
    found = [*enclosed.finditer(text)]
    if len(filled) < 2 or len(found) < 0.9 * len(filled):
        return False
    return "'" not in enclosed.sub("", text[: found[-1].end()])


def left_out_notes(name: str, *, above: Sequence[Sequence[str]], below: Sequence[str]) -> tuple[Message, ...]:
    """Say which lines above the heading and below the table were left out."""
    preamble = [" ".join(field for field in record if field.strip()) for record in above]
    left_out = (("preamble", preamble), ("footer", below))
    return tuple(
        message(f"file_note.{key}", name=name, n=len(lines), lines=first_items(lines))
        for key, lines in left_out
        if lines
    )


def find_footer(tail: bytes, delimiter: str) -> tuple[int, tuple[str, ...]]:
    """Find totals and remarks below a table: how many bytes they take, and what they say."""
    records = last_records(tail, delimiter)
    n_footers = count_footers([fields for fields, _ in records], ends=tail.endswith((b"\n", b"\r")))
    lines = [raw.decode("utf-8", errors="replace").strip() for fields, raw in records[:n_footers] if _filled(fields)]
    return sum(len(raw) for _, raw in records[:n_footers]), tuple(reversed(lines))


def count_footers(rows: Sequence[Sequence[str]], *, ends: bool = True) -> int:
    """Count the totals and remarks at the end of a table."""
    most = max((len(_filled(fields)) for fields in rows), default=0)
    whole = [fields for fields in rows if len(_filled(fields)) >= 0.6 * most and not _TOTAL_WORDS.match(fields[0])]
    if not whole:
        return 0
    always = set.intersection(*(_filled(fields) for fields in whole))
    gaps = [fields for fields in rows if _filled(fields) and always - _filled(fields)]
    are_usual = len(gaps) > _MOST_LINES  # such as further lines of an order
    n_blank = sum(not _filled(fields) for fields in rows)
    has_words = any(" " in fields[0].strip() for fields in whole)
    n_footers = 0
    for at, fields in enumerate(rows):
        if not _filled(fields):
            continue
        apart = at + 1 < len(rows) and not _filled(rows[at + 1]) and n_blank <= 3
        is_sentence = not has_words and (at > 0 or ends)
        is_footer = _is_total(fields) if are_usual else _is_footer(fields, always, apart=apart, is_sentence=is_sentence)
        if not is_footer:
            break
        n_footers = at + 1
    return n_footers


def last_records(tail: bytes, delimiter: str, *, count: int = 40) -> list[tuple[list[str], bytes]]:
    """Parse the last records: read backwards, a record begins where its quotation marks are paired."""
    records: list[tuple[list[str], bytes]] = []
    pending: list[bytes] = []
    for line in reversed(tail.splitlines(keepends=True)):
        pending.insert(0, line)
        raw = b"".join(pending)
        if raw.count(b'"') % 2:
            if len(pending) > 1000:
                break
            continue
        text = io.StringIO(raw.decode("utf-8", errors="replace"), newline="")
        try:
            records.append((next(csv.reader(text, delimiter=delimiter), []) or [""], raw))
        except csv.Error:
            break
        pending = []
        if len(records) == count:
            break
    return records


def _is_total(fields: Sequence[str]) -> bool:
    """Whether a row has a word for a total in its first column, and numbers otherwise."""
    found = _TOTAL_WORDS.match(fields[0])
    return found is not None and not _TOTAL_WORD_PATTERN.search(" ".join((fields[0][found.end() :], *fields[1:])))


def _is_footer(fields: Sequence[str], always: set[int], *, apart: bool, is_sentence: bool) -> bool:
    """Whether a row without a value that every row has is a total, a remark, or set apart by a blank line."""
    filled = _filled(fields)
    if not always - filled:
        return False
    values = [fields[n].strip() for n in sorted(filled)]
    if _TOTAL_WORDS.match(values[0]):
        return not any(_TOTAL_WORD_PATTERN.search(value) for value in values[1:])
    if len(values) == 1 and _REMARK.match(values[0]):
        return True
    if apart and len(filled) <= max(2, len(always) // 3):
        return True
    return len(values) == 1 and is_sentence and " " in values[0]


def _filled(fields: Sequence[str]) -> set[int]:
    return {n for n, field in enumerate(fields) if field.strip()}


@dataclass(frozen=True)
class RowFormat:
    """How the rows of a text are written."""

    delimiter: str
    heading: tuple[str, ...]
    names: tuple[str, ...]
    start: int
    lines: int
    padding: int = 0
    preamble: tuple[tuple[str, ...], ...] = ()
    swaps_quotes: bool = False

    @classmethod
    def of(cls, dialect: Dialect, *, start: int, swaps_quotes: bool) -> "RowFormat":
        """Give columns of equal names different ones."""
        delimiter = dialect.delimiter
        heading = (*dialect.heading, *[""] * dialect.padding)
        names = pl.read_csv(
            _joined_line(heading, delimiter), separator=delimiter, infer_schema=False, glob=False
        ).columns
        if swaps_quotes:
            names = [name.translate(_SWAPPED) for name in names]
        return cls(
            delimiter, heading, tuple(names), start, dialect.lines, dialect.padding, dialect.preamble, swaps_quotes
        )

    @property
    def most_fields(self) -> int:
        """Fields in the heading line."""
        return len(self.heading) - self.padding

    @property
    def n_named(self) -> int:
        """Fields up to the last one with a name."""
        return max((n for n, name in enumerate(self.heading, start=1) if name.strip()), default=0)

    @property
    def unnamed(self) -> set[str]:
        """Columns without a name of their own."""
        return {name for name, found in zip(self.names, self.heading, strict=True) if not found.strip()}

    def without_headings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows that repeat the heading, as joined exports have them, and what stood above it."""
        at = next(n for n, name in enumerate(self.heading) if name.strip())
        first = self._shown(self.heading[at])
        if not self.preamble and not rows[self.names[at]].is_in([first, f"\ufeff{first}"]).any():
            return rows
        repeats = [self._equals(record) for record in (self.heading, *self.preamble)]
        return rows.filter(~pl.any_horizontal(repeats))

    def _equals(self, record: Sequence[str]) -> pl.Expr:
        padded = [*record, *[""] * len(self.names)][: len(self.names)]
        values = [self._shown(value) or None for value in padded]
        cells = [pl.col(name).str.strip_prefix("\ufeff") for name in self.names]
        return pl.all_horizontal(
            [cell.eq_missing(pl.lit(value, dtype=pl.String)) for cell, value in zip(cells, values, strict=True)]
        )

    def _shown(self, value: str) -> str:
        return value.translate(_SWAPPED) if self.swaps_quotes else value

    def _restored(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self.swaps_quotes:
            return rows
        return rows.with_columns(pl.all().str.replace_many(["'", '"'], ['"', "'"]))

    def parse(self, piece: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read whole rows."""
        head = _joined_line(self.names, self.delimiter)
        rows = pl.read_csv(
            head + piece,
            separator=self.delimiter,
            infer_schema=False,
            null_values="" if b'""' in piece else None,
            columns=None if columns is None else list(columns),
            glob=False,
        )
        return self._restored(rows if columns is None else rows.select(columns))

    def frame(self, fields: Sequence[Sequence[str]]) -> pl.DataFrame:
        """Make a frame of parsed records."""
        width = len(self.names)
        whole = [[value or None for value in row] + [None] * (width - len(row)) for row in fields]
        return self._restored(pl.DataFrame(whole, schema=dict.fromkeys(self.names, pl.String), orient="row"))


def _joined_line(heading: Sequence[str], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(heading)
    return out.getvalue().encode("utf-8")


def drop_blank_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out rows without any value."""
    return rows.filter(~pl.all_horizontal(pl.all().is_null()))
