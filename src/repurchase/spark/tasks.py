"""What Spark executors do with a partition: read, sample, clean, count and score; results travel as notes."""

import io
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.evaluation.drift import InputSummary, summarise_input
from repurchase.features.history import Ints
from repurchase.features.ledger import Closing, Ledger, build_ledger_from_clean
from repurchase.marketing.purchase_counts import count_purchases
from repurchase.models.btyd.model import count_equal_rows
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshot
from repurchase.orders.format_inference import FormatEvidence
from repurchase.orders.ids import id_hash
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.orders.log import OrderSampling
from repurchase.orders.pipeline import OrderCleaner, ValueReader, sample_customers
from repurchase.orders.values import LogStatistics, read_customers
from repurchase.settings import Settings

_Batches = Iterator[pa.RecordBatch]

LEDGER_KINDS = ("ids", "entries", "no_sale")
"""Kinds of the notes that make a ledger."""
NOTE_SCHEMA = "part int, kind string, content binary"
_ROWS_PER_NOTE = 200_000

_NOTE_ARROW_SCHEMA = pa.schema([("part", pa.int32()), ("kind", pa.string()), ("content", pa.binary())])


def _note(kind: str, value: object, part: int = 0) -> pa.RecordBatch:
    """Write a note."""
    return _row(kind, pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL), part)


def _table_notes(kind: str, table: pl.DataFrame, part: int) -> _Batches:
    """Write rows into notes."""
    for rows in table.iter_slices(_ROWS_PER_NOTE) if table.height else (table,):
        content = io.BytesIO()
        rows.write_ipc(content, compression="lz4")
        yield _row(kind, content.getvalue(), part)


def _ledger_notes(ledger: Ledger, part: int) -> _Batches:
    """Write a ledger into notes, for `book_of`."""
    yield from _table_notes("ids", ledger.ids.to_frame(), part)
    yield from _table_notes("entries", ledger.entries, part)
    if ledger.no_sale is not None:
        yield from _table_notes("no_sale", ledger.no_sale, part)


def _iterate_frames(batches: _Batches) -> Iterator[pl.DataFrame]:
    """Take what Spark hands to a task."""
    for batch in batches:
        if batch.num_rows:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


def unpack_value(content: bytes) -> Any:
    """Read what another task of the same job wrote."""
    return pickle.loads(content)  # noqa: S301 - written by this job's own tasks


def unpack_frame(content: bytes) -> pl.DataFrame:
    """Read rows out of a note."""
    return pl.read_ipc(io.BytesIO(content))


def ledger_from_notes(notes: Iterable[tuple[str, bytes]], *, as_of: date, has_amounts: bool) -> Ledger | None:
    """Put a partition's ledger together."""
    found: dict[str, list[pl.DataFrame]] = {kind: [] for kind in LEDGER_KINDS}
    for kind, content in notes:
        if kind in found:
            found[kind].append(unpack_frame(content))
    if not found["ids"]:
        return None
    ids, entries = pl.concat(found["ids"]).to_series(), pl.concat(found["entries"])
    no_sale = pl.concat(found["no_sale"]) if found["no_sale"] else None
    return Ledger(ids, entries, as_of, has_amounts, no_sale=no_sale).until(as_of)


def _row(kind: str, content: bytes, part: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"part": part, "kind": kind, "content": content}], schema=_NOTE_ARROW_SCHEMA)


FILE_PATH, BLOCK_START, ROW_POSITION, PARTITION, CORRUPT_LINE = (
    "_of_file",
    "_of_block",
    "_of_row",
    "_of_partition",
    "_corrupt",
)
"""Columns beside those of the export: where a row stands, its partition, and a line that is not one."""
_CUSTOMERS_KIND = ("customer_id", "customer_fallback")


@dataclass(frozen=True)
class RowReader:
    """How the rows of a log are read."""

    columns: Mapping[str, str]
    layout: Layout
    settings: Settings
    files: Mapping[str, int] = field(default_factory=dict)
    pseudonymize: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    has_blank_rows: bool = False
    version: str = __version__

    def rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Take the export's columns out of what Spark gives."""
        if self.version != __version__:
            raise InputError(
                f"repurchase {__version__} is installed on a machine of the cluster, but {self.version} where the job "
                "was started. Install the same version on all of them."
            )
        there = set(table.columns)
        rows = table.select(pl.col(stored).alias(name) for name, stored in self.columns.items() if stored in there)
        rows = self.pseudonymize(rows) if self.pseudonymize else rows
        return rows.with_columns(table.select(self._number().alias(FILE_COLUMN))) if len(self.files) > 1 else rows

    def filled(self, table: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows without any value."""
        if not self.has_blank_rows:
            return table
        return table.filter(~pl.all_horizontal(pl.col(list(set(self.columns.values()))).is_null()))

    def ordered(self, table: pl.DataFrame) -> pl.DataFrame:
        """Put rows into the order in which one machine reads them."""
        return table.sort(self._number(), BLOCK_START, ROW_POSITION)

    def _number(self) -> pl.Expr:
        return pl.col(FILE_PATH).replace_strict(self.files, return_dtype=pl.UInt32)


@dataclass(frozen=True)
class ColumnSamples:
    """What the decisive columns of a task's rows show."""

    evidence: FormatEvidence = field(default_factory=FormatEvidence)
    ids: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String()))
    n_mangled: int = 0

    def __add__(self, other: "ColumnSamples") -> "ColumnSamples":
        return ColumnSamples(
            evidence=self.evidence + other.evidence,
            ids=pl.concat([self.ids, other.ids]),
            n_mangled=self.n_mangled + other.n_mangled,
        )


def sample_columns(batches: _Batches, reading: RowReader) -> _Batches:
    """Look at columns that decide something, and at some customers."""
    found = ColumnSamples()
    for table in _iterate_frames(batches):
        rows = reading.rows(table)
        customers = [name for role, name in reading.layout.columns.items() if role in _CUSTOMERS_KIND]
        found += ColumnSamples(
            evidence=FormatEvidence.of(rows, reading.layout),
            ids=sample_customers(rows, reading.layout),
            n_mangled=sum(
                int(rows[name].cast(pl.String).str.contains("\ufffd", literal=True).sum()) for name in customers
            ),
        )
    yield _note("found", found)


def collect_statistics(batches: _Batches, reading: RowReader, values: ValueReader) -> _Batches:
    """Gather what must be known of all rows."""
    statistics = LogStatistics()
    for table in _iterate_frames(batches):
        statistics += values.read(reading.rows(reading.filled(table))).statistics
    yield _note("statistics", statistics)


def assign_partitions(batches: _Batches, reading: RowReader, bounds: pl.Series) -> _Batches:
    """Say to which partition each row belongs."""
    for batch in batches:
        table = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        ids = read_customers(reading.rows(table), reading.layout)
        number = bounds.search_sorted(ids, side="right").set(ids.is_null(), 0).cast(pl.Int32)
        yield batch.append_column(PARTITION, number.to_arrow().cast(pa.int32()))


def clean_partition(batches: _Batches, reading: RowReader, cleaner: OrderCleaner) -> _Batches:
    """Clean all rows of some customers."""
    tables = list(_iterate_frames(batches))
    if tables:
        number = int(tables[0][PARTITION][0])
        rows = reading.rows(reading.filled(reading.ordered(pl.concat(tables))))
        tables.clear()
        cleaned = cleaner.clean(rows)
        yield _note("cleaning_counts", cleaned.counts, number)
        yield from _table_notes("set_aside", cleaned.set_aside, number)
        if cleaned.kept.height or cleaned.no_sale.height:
            ledger = build_ledger_from_clean(cleaned.kept, observed_until=max(cleaned.counts.days, default=date.max))
            yield from _ledger_notes(replace(ledger, no_sale=cleaned.no_sale), number)


@dataclass(frozen=True)
class RowCounts:
    """How many rows there are."""

    rows: Counter[str] = field(default_factory=Counter)
    n_blank: int = 0
    n_corrupt: int = 0
    used: frozenset[str] = frozenset()
    sampling: OrderSampling | None = None

    def __add__(self, other: "RowCounts") -> "RowCounts":
        known = [counts.sampling for counts in (self, other) if counts.sampling is not None]
        return RowCounts(
            rows=self.rows + other.rows,
            n_blank=self.n_blank + other.n_blank,
            n_corrupt=self.n_corrupt + other.n_corrupt,
            used=self.used | other.used,
            sampling=known[0] + known[1] if len(known) == 2 else next(iter(known), None),
        )


def rows_as_notes(batches: _Batches) -> _Batches:
    """Bring rows to the job as they are."""
    for table in _iterate_frames(batches):
        yield from _table_notes("rows", table, 0)


def count_rows(batches: _Batches, reading: RowReader, sampling: OrderSampling) -> _Batches:
    """Count rows, by file and for a sample."""
    counts = RowCounts()
    for table in _iterate_frames(batches):
        filled = reading.filled(table)
        rows = reading.rows(filled)
        unnamed = [name for name in rows.columns if not name.strip()]
        counts += RowCounts(
            rows=Counter(dict(filled[FILE_PATH].value_counts().rows())),
            n_blank=table.height - filled.height,
            n_corrupt=len(table[CORRUPT_LINE].drop_nulls()) if CORRUPT_LINE in table.columns else 0,
            used=frozenset(name for name in unnamed if rows[name].null_count() < rows.height),
            sampling=sampling.counting(rows),
        )
    yield _note("counts", counts)


def sample_of_rows(batches: _Batches, reading: RowReader, sampling: OrderSampling, depth: int) -> _Batches:
    """Take all lines of some orders."""
    for table in _iterate_frames(batches):
        filled = reading.filled(table)
        yield from _table_notes("rows", filled.filter(sampling.chosen(reading.rows(filled), depth)), 0)


_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LedgerContext:
    """What must be known of the whole log before a ledger can be looked at."""

    as_of: date
    has_amounts: bool


@dataclass(frozen=True)
class ScoringTask:
    """What a worker needs to score one partition."""

    state: Mapping[str, Any]
    day: LedgerContext
    customers: pl.Series | None = None


@dataclass(frozen=True)
class BtydCounts:
    """What all customers of a partition teach: equal ones counted once."""

    rfm: _Floats
    counts: _Floats
    spend: _Floats
    spend_counts: _Floats
    input_summary: InputSummary


def score_partition(batches: _Batches, task: ScoringTask) -> _Batches:
    """Score the customers of a ledger, and count and look at what is needed of all."""
    for ledger, number in _partition_ledgers(batches, task.day):
        wanted = None
        if task.customers is not None:
            wanted = task.customers.filter(task.customers.is_in(ledger.customers(task.day.as_of).implode())).to_list()
        scores = RepurchaseModel.from_state(task.state).predict_ledger(ledger, task.day.as_of, wanted)
        yield from _table_notes("scores", scores, number)
        yield _note("counts", count_purchases(ledger, as_of=task.day.as_of), number)
        yield _note(
            "input_summary",
            summarise_input(ledger, as_of=task.day.as_of, closing=_closing_from_state(task.state)),
            number,
        )


def draw_customers(batches: _Batches, day: LedgerContext, below: int) -> _Batches:
    """Take the ledger of those customers whose ids have small hashes."""
    for ledger, number in _partition_ledgers(batches, day):
        yield from _ledger_notes(
            select_customers(ledger, np.flatnonzero(id_hash(ledger.ids).to_numpy() <= np.uint64(below))), number
        )


def count_btyd_rows(batches: _Batches, day: LedgerContext, closing: Closing | None) -> _Batches:
    """Count the customers of a ledger as buy-till-you-die models see them, and look at them."""
    for ledger, number in _partition_ledgers(batches, day):
        cut = Snapshot(ledger.without(closing).history(day.as_of))
        came_back = (cut.rfm[0] > 0) & ledger.has_amounts
        summary = summarise_input(ledger, as_of=day.as_of, closing=closing)
        spend = count_equal_rows(cut.rfm[0][came_back], cut.repeat_spend_mean[came_back])
        yield _note("btyd_counts", BtydCounts(*count_equal_rows(*cut.rfm), *spend, summary), number)


def select_customers(ledger: Ledger, customers: Ints) -> Ledger:
    """Keep some customers."""
    code = np.full(len(ledger.ids), -1, dtype=np.int64)
    code[customers] = np.arange(len(customers))
    entries = ledger.entries.with_columns(pl.Series("customer", code[ledger.entries["customer"].to_numpy()]))
    kept = entries.filter(pl.col("customer") >= 0).with_columns(pl.col("customer").cast(pl.UInt32))
    return replace(ledger, ids=ledger.ids.gather(customers), entries=kept)


def _partition_ledgers(batches: _Batches, day: LedgerContext) -> Iterator[tuple[Ledger, int]]:
    """Put a partition's ledger together, if it has one."""
    notes = [row for batch in batches for row in batch.to_pylist()]
    pairs = ((row["kind"], row["content"]) for row in notes)
    ledger = ledger_from_notes(pairs, as_of=day.as_of, has_amounts=day.has_amounts)
    if ledger is not None:
        yield ledger, notes[0]["part"]


def _closing_from_state(state: Mapping[str, Any]) -> Closing | None:
    known = state.get("closing")
    return Closing.from_dict(known) if known else None
