"""The table of orders in a spreadsheet."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase.errors import NoRowsError, OrdersError, first_few
from repurchase.i18n.messages import Message, first_items, message
from repurchase.sources.dialects import Dialect, RowFormat, count_footers, left_out_notes, locate_table
from repurchase.sources.folders import require_bounded_size
from repurchase.sources.tables import FileOptions, OpenedFile, Spool

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook


_Cell = int | float | str | bool | time | date | datetime | timedelta

_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_MOST_BYTES = 1 << 31
_HEAD_ROWS, _TAIL_ROWS, _ROWS = 300, 40, 20_000
_LARGEST_WHOLE = 2**63
_DECIMAL_COMMA = re.compile(r"^\D*\d[\d.\s]*,\d{1,2}\D*$")
_DATE = re.compile(r"^\s*\d{1,4}[-./]\d{1,2}[-./]\d{2,4}\b")
_KEPT = {int: pl.Int64(), float: pl.Float64(), date: pl.Date(), datetime: pl.Datetime("us")}


@dataclass(frozen=True)
class _SheetTable:
    """The table of one sheet."""

    sheet: "CalamineSheet"
    dialect: Dialect
    n_rows: int
    footer: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return RowFormat.of(self.dialect, start=0, swaps_quotes=False).names

    def rows(self) -> Iterator[list[_Cell]]:
        """The rows below the heading, without blank ones and repeated headings."""
        heading = self.dialect.heading
        at = next(n for n, name in enumerate(heading) if name.strip())
        for row in islice(self.sheet.iter_rows(), self.dialect.lines, self.dialect.lines + self.n_rows):
            if row[at] == heading[at] and tuple(map(_cell_text, row)) == heading:
                continue
            if any(cell != "" for cell in row):
                yield row

    def has_dates(self) -> bool:
        """Whether a cell of the first rows is a date."""
        cells = (cell for row in islice(self.rows(), _HEAD_ROWS) for cell in row)
        return any(isinstance(cell, date) or (isinstance(cell, str) and _DATE.match(cell)) for cell in cells)


def is_spreadsheet(path: Path) -> bool:
    """Say whether a file may be a spreadsheet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) in _MARKS


def open_spreadsheet(path: Path, *, shown: str, spool: Path, options: FileOptions) -> OpenedFile:
    """Open the table in a spreadsheet."""
    with path.open("rb") as file:
        is_zipped = file.read(2) == b"PK"
    if is_zipped:
        require_bounded_size(path, shown=shown, most_bytes=min(options.most_bytes, _MOST_BYTES))
    table, notes = _one_table(_workbook(path, shown), shown, options.columns)
    columns = _SheetColumns(table)
    if not columns.n_rows:
        found = first_few(table.dialect.heading, shown=12)
        raise NoRowsError(f"{shown}: a heading but no rows below it. Found the columns {found}.")
    spooled = Spool(spool, shown=shown)
    for frame in columns.frames():
        spooled.add(frame)
    return OpenedFile(spooled.table(), (*notes, *columns.notes(Path(shown).name)))


class _SheetColumns:
    """What kinds of cells the columns of a table hold, and the table as frames."""

    def __init__(self, table: _SheetTable) -> None:
        self._table, self._names = table, table.names
        self._kinds: list[set[type]] = [set() for _ in self._names]
        self._has_comma = [False] * len(self._names)
        self.n_rows = 0
        for row in table.rows():
            self.n_rows += 1
            for n, cell in enumerate(row[: len(self._names)]):
                if cell == "":
                    continue
                if isinstance(cell, str) and not self._has_comma[n]:
                    self._has_comma[n] = bool(_DECIMAL_COMMA.match(cell))
                self._kinds[n].add(_whole_or_not(cell) if isinstance(cell, float) else type(cell))

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        named = zip(self._names, self._table.dialect.heading, self._kinds, strict=False)
        return {name: _type(kinds) for name, heading, kinds in named if heading.strip() or kinds}

    def frames(self) -> Iterator[pl.DataFrame]:
        rows, schema = self._table.rows(), self.schema
        while block := list(islice(rows, _ROWS)):
            columns = enumerate(zip(self._names, zip(*block, strict=False), strict=False))
            yield pl.DataFrame(
                {name: self._values(cells, n, schema[name]) for n, (name, cells) in columns if name in schema}, schema
            )

    def _values(self, cells: Sequence[_Cell], n: int, kind: pl.DataType) -> list[object]:
        if kind == pl.String():
            decimal_mark = "," if self._has_comma[n] else "."
            return [_cell_text(cell, decimal_mark) or None for cell in cells]
        cast = _CASTS.get(kind)
        return [None if cell == "" else cast(cell) if cast else cell for cell in cells]

    def notes(self, name: str) -> tuple[Message, ...]:
        mixed = [
            column
            for column, kinds in zip(self._names, self._kinds, strict=True)
            if str in kinds and kinds & {date, datetime}
        ]
        warning = (message("file_note.mixed_dates", name=name, columns=first_items(mixed)),) if mixed else ()
        left_out = left_out_notes(name, above=self._table.dialect.preamble, below=self._table.footer)
        return (*left_out, *warning)


def _workbook(path: Path, shown: str) -> "CalamineWorkbook":
    from python_calamine import CalamineError, PasswordError, load_workbook

    try:
        return load_workbook(path)
    except PasswordError as fault:
        raise OrdersError(f"{shown}: the spreadsheet needs a password. Save it without one and try again.") from fault
    except CalamineError as fault:
        raise OrdersError(
            f"{shown}: named or made like a spreadsheet, but not readable as one ({fault}). "
            "Save it again as Excel workbook or CSV."
        ) from fault


def _one_table(
    workbook: "CalamineWorkbook", shown: str, columns: Sequence[str]
) -> tuple[_SheetTable, tuple[Message, ...]]:
    tables = _tables(workbook, shown)
    if not tables:
        raise OrdersError(f"{shown}: no sheet holds a table. Expected a heading and one row per order.")
    fitting = [name for name, table in tables.items() if set(columns) <= set(table.dialect.heading)]
    dated = [name for name in fitting if tables[name].has_dates()]
    names = [*tables] if len(tables) == 1 else dated or fitting or [*tables]
    if len(names) > 1:
        raise OrdersError(
            f"{shown}: {len(names)} sheets could hold the orders: {first_few(names)}. "
            "Keep the one with the orders in the file, or save each as a CSV file into one folder."
        )
    others = [name for name in tables if name not in names]
    note = message("file_note.sheet", name=Path(shown).name, sheet=names[0], others=first_items(others))
    return tables[names[0]], (note,) if others else ()


def _tables(workbook: "CalamineWorkbook", shown: str) -> dict[str, _SheetTable]:
    from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum

    tables: dict[str, _SheetTable] = {}
    rest: dict[str, _SheetTable] = {}
    for found in workbook.sheets_metadata:
        if found.typ != SheetTypeEnum.WorkSheet or found.visible != SheetVisibleEnum.Visible:
            continue
        try:
            sheet = workbook.get_sheet_by_name(found.name)
        except CalamineError as fault:
            raise OrdersError(f"{shown}: the sheet '{found.name}' is damaged ({fault}). Save it again.") from fault
        fits, table = _table(sheet)
        if table is not None:
            (tables if fits else rest)[found.name] = table
    return tables or rest


def _table(sheet: "CalamineSheet") -> tuple[bool, _SheetTable | None]:
    head = [(n, _cut(row)) for n, row in enumerate(islice(sheet.iter_rows(), _HEAD_ROWS), start=1)]
    width = max((len(row) for _, row in head), default=0)
    padded = [(n, [*row, *[""] * (width - len(row))]) for n, row in head if row]
    fits, dialect = locate_table(padded)
    if not dialect.heading:
        return False, None
    last = islice(sheet.iter_rows(), max(sheet.height - _TAIL_ROWS, dialect.lines), None)
    rows = [[_cell_text(cell) for cell in row] for row in last]
    n_footers = count_footers(rows[::-1])
    below = (" ".join(filter(None, row)) for row in rows[len(rows) - n_footers :] if any(row))
    return fits, _SheetTable(sheet, dialect, sheet.height - dialect.lines - n_footers, tuple(below))


def _cut(row: Sequence[_Cell]) -> list[str]:
    fields = [_cell_text(cell) for cell in row]
    while fields and not fields[-1].strip():
        fields.pop()
    return fields


def _whole_or_not(cell: float) -> type:
    return int if cell.is_integer() and abs(cell) < _LARGEST_WHOLE else float


def _type(kinds: set[type]) -> pl.DataType:
    if kinds == {int, float}:
        return pl.Float64()
    if kinds == {date, datetime}:
        return pl.Datetime("us")
    return _KEPT.get(next(iter(kinds)), pl.String()) if len(kinds) == 1 else pl.String()


def _cell_time(cell: date) -> datetime:
    return cell if isinstance(cell, datetime) else datetime.combine(cell, time())


_CASTS: dict[pl.DataType, Callable[[Any], object]] = {
    pl.Int64(): int,
    pl.Float64(): float,
    pl.Datetime("us"): _cell_time,
}


def _cell_text(cell: _Cell, decimal_mark: str = ".") -> str:
    """A cell as text: whole numbers without a point, none with an exponent, dates as in ISO 8601."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, int | float):
        whole = float(cell).is_integer()
        return str(int(cell)) if whole else format(Decimal(repr(cell)), "f").replace(".", decimal_mark)
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)
