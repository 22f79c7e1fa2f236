"""What stands below a table: totals and remarks, which are no orders."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from repurchase.errors import first_few

__all__ = ["Footer", "count_footers", "find_footer", "footer_note", "last_records"]

_TOTAL_WORDS = re.compile(
    r"^\W*(grand\W|sub\W?|net\W|zwischen|gesamt)?"
    r"(totals?|totaux|totaal|totale|totalt|sums?|summe|suma|somme|summa|gesamt\w*|insgesamt|razem|celkem|összesen|toplam"
    r"|yhteensä|итого|всего|сумма|σύνολο)(?!\w)|^\W*(合計|小計|総計|总计|合计|小计|總計|合計|합계|총계)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\W\d_]{4}")
_MOST_LINES = 5
_REMARK = re.compile(
    r"^(#\s|--|\*\*|//|\(?\d[\d.,]*\s+(rows?|records?|lines?|orders?|zeilen?|lignes?|filas?|строк)\b)", re.IGNORECASE
)


@dataclass(frozen=True)
class Footer:
    """What stands below the table.

    Parameters
    ----------
    n_bytes : int
        Its length.
    records : tuple of str
        Its lines that say something.
    """

    n_bytes: int = 0
    records: tuple[str, ...] = ()


def find_footer(tail: bytes, delimiter: str) -> Footer:
    """Find totals and remarks below a table.

    Parameters
    ----------
    tail : bytes
        The end of the text, nothing of the heading in it.
    delimiter : str
        Between fields.

    Returns
    -------
    Footer
        The last records, as far as they lack values that every row has and begin with a word for a total, a sign for
        a remark, or stand apart.
    """
    records = last_records(tail, delimiter)
    ends = tail.endswith((b"\n", b"\r"))
    cut = count_footers([fields for fields, _ in records], ends=ends)
    lines = [raw.decode("utf-8", errors="replace").strip() for fields, raw in records[:cut] if _filled(fields)]
    return Footer(sum(len(raw) for _, raw in records[:cut]), tuple(reversed(lines)))


def count_footers(rows: Sequence[Sequence[str]], *, ends: bool = True) -> int:
    """Count the totals and remarks at the end of a table.

    Parameters
    ----------
    rows : sequence of sequence of str
        The last rows, the last one first.
    ends : bool
        Whether the last one has a line end.

    Returns
    -------
    int
        How many of them belong to no order, blank ones between them counted.
    """
    most = max((len(_filled(fields)) for fields in rows), default=0)
    whole = [fields for fields in rows if len(_filled(fields)) >= 0.6 * most and not _TOTAL_WORDS.match(fields[0])]
    if not whole:
        return 0
    always = set.intersection(*(_filled(fields) for fields in whole))
    gaps = [fields for fields in rows if _filled(fields) and always - _filled(fields)]
    are_usual = len(gaps) > _MOST_LINES  # such as further lines of an order
    n_blank = sum(not _filled(fields) for fields in rows)
    has_words = any(" " in fields[0].strip() for fields in whole)
    cut = 0
    for at, fields in enumerate(rows):
        if not _filled(fields):
            continue
        apart = at + 1 < len(rows) and not _filled(rows[at + 1]) and n_blank <= 3
        is_sentence = not has_words and (at > 0 or ends)
        is_footer = _is_total(fields) if are_usual else _is_footer(fields, always, apart=apart, is_sentence=is_sentence)
        if not is_footer:
            break
        cut = at + 1
    return cut


def last_records(tail: bytes, delimiter: str, *, count: int = 40) -> list[tuple[list[str], bytes]]:
    """Parse the last records: reading backwards, one begins where the quotation marks since then pair up.

    Parameters
    ----------
    tail : bytes
        The end of a text.
    delimiter : str
        Between fields.
    count : int
        How many at most.

    Returns
    -------
    list of tuple
        The fields and the bytes of each, the last one first.
    """
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


def footer_note(name: str, footer: Footer) -> tuple[str, ...]:
    """Say which lines below the table were left out.

    Parameters
    ----------
    name : str
        What the note calls the file.
    footer : Footer
        The lines.

    Returns
    -------
    tuple of str
        Nothing, or one note.
    """
    if not footer.records:
        return ()
    count = len(footer.records)
    lines = "line" if count == 1 else "lines"
    return (f"{name}: {count} {lines} below the table left out, no orders: {first_few(footer.records, shown=3)}.",)


def _is_total(fields: Sequence[str]) -> bool:
    """Whether a row has a word for a total in its first column, and numbers otherwise."""
    found = _TOTAL_WORDS.match(fields[0])
    return found is not None and not _WORDS.search(" ".join((fields[0][found.end() :], *fields[1:])))


def _is_footer(fields: Sequence[str], always: set[int], *, apart: bool, is_sentence: bool) -> bool:
    """Whether a row without a value that every row has is a total, a remark, or stands apart."""
    filled = _filled(fields)
    if not always - filled:
        return False
    values = [fields[n].strip() for n in sorted(filled)]
    if _TOTAL_WORDS.match(values[0]):
        return not any(_WORDS.search(value) for value in values[1:])
    if len(values) == 1 and _REMARK.match(values[0]):
        return True
    if apart and len(filled) <= max(2, len(always) // 3):
        return True
    return len(values) == 1 and is_sentence and " " in values[0]


def _filled(fields: Sequence[str]) -> set[int]:
    return {n for n, field in enumerate(fields) if field.strip()}
