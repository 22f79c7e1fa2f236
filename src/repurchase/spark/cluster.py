"""The cluster engine: read, score and collect training data with the same functions per partition."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial, reduce
from math import ceil, sqrt
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import OrdersError
from repurchase.features.ledger import Ledger, concat_ledgers
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.jobs.order_intake import Intake, LedgerPartitions
from repurchase.jobs.score_delivery import ClusterScores, PartitionedScores
from repurchase.jobs.train import ClusterTrainingData
from repurchase.marketing.purchase_counts import PurchaseCounts
from repurchase.models.btyd.fitting import fit_btyd_rows, fit_gamma_gamma_rows
from repurchase.models.btyd.model import FAMILIES
from repurchase.orders.checks import resolve_as_of
from repurchase.orders.cleaning_report import CleaningCounts
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.ids import id_hash
from repurchase.orders.log import MOST_ROWS, FileRead, OrderLog, OrderSampling
from repurchase.orders.pipeline import (
    OrderCleaner,
    ValueReader,
    deciding_columns,
    partition_bounds,
    partitions_needed,
)
from repurchase.orders.values import LogStatistics
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.spark.orders import ClusterLog, open_on_cluster
from repurchase.spark.session import spark_session, translate_spark_errors
from repurchase.spark.tasks import (
    CORRUPT_LINE,
    FILE_PATH,
    LEDGER_KINDS,
    NOTE_SCHEMA,
    PARTITION,
    BtydCounts,
    ColumnSamples,
    LedgerContext,
    RowCounts,
    RowReader,
    ScoringTask,
    assign_partitions,
    clean_partition,
    collect_statistics,
    count_btyd_rows,
    count_rows,
    draw_customers,
    ledger_from_notes,
    rows_as_notes,
    sample_columns,
    sample_of_rows,
    score_partition,
    select_customers,
    unpack_frame,
    unpack_value,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession


_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _ClusterLedgers(LedgerPartitions):
    """Ledgers that stay on the cluster; going through them brings one after the other here."""

    notes: "DataFrame | None" = None
    partitions: int = 0

    def __len__(self) -> int:
        return self.partitions

    def __getitem__(self, number: int) -> Ledger:
        if not 0 <= number < self.partitions:
            raise IndexError(number)
        from pyspark.sql import functions

        rows = _collect_notes(self.of_kinds(*LEDGER_KINDS).filter(functions.col("part") == number))
        return self._ledger_from_rows(rows) or self._empty()

    def __iter__(self) -> Iterator[Ledger]:
        rows: list[Row] = []
        for row in _iterate_notes(self.of_kinds(*LEDGER_KINDS)):
            if rows and row["part"] != rows[-1]["part"]:
                yield self._ledger_from_rows(rows) or self._empty()
                rows = []
            rows.append(row)
        if rows:
            yield self._ledger_from_rows(rows) or self._empty()

    @property
    def day(self) -> LedgerContext:
        """The last day observed, and whether the whole log has money."""
        return LedgerContext(self.as_of, self.has_amounts)

    def of_kinds(self, *kinds: str) -> "DataFrame":
        """Choose notes."""
        if self.notes is None:
            raise ValueError("these ledgers are on no cluster")
        return _notes_of_kind(self.notes, *kinds)

    def _ledger_from_rows(self, rows: "list[Row]") -> Ledger | None:
        pairs = ((row["kind"], bytes(row["content"])) for row in rows)
        return ledger_from_notes(pairs, as_of=self.as_of, has_amounts=self.has_amounts)

    def _empty(self) -> Ledger:
        entries = {name: pl.Int32() for name in ("known", "day")}
        sums = dict.fromkeys(("spend", "charged", "orders", "lines", "quantity", "discount"), pl.Int64())
        nobody = pl.DataFrame(schema={"customer": pl.UInt32(), **entries, **sums})
        return Ledger(pl.Series("customer_id", dtype=pl.String()), nobody, self.as_of, self.has_amounts)


def _cluster_ledgers(intake: Intake) -> _ClusterLedgers:
    """Give the ledgers that `Cluster.take_in` left on the cluster."""
    if not isinstance(intake.ledgers, _ClusterLedgers):
        raise TypeError("these ledgers are not on a cluster")
    return intake.ledgers


def _notes_of_kind(notes: "DataFrame", *kinds: str) -> "DataFrame":
    """Choose notes."""
    from pyspark.sql import functions

    return notes.filter(functions.col("kind").isin(*kinds))


@contextmanager
def computed_on_cluster(notes: "DataFrame") -> Iterator["DataFrame"]:
    """Make notes on the cluster, all partitions side by side, and hold them on its disks."""
    from pyspark import StorageLevel

    held = notes.persist(StorageLevel.DISK_ONLY)
    translate_spark_errors(held.count)
    try:
        yield held
    finally:
        held.unpersist()


def _iterate_notes(notes: "DataFrame") -> Iterator["Row"]:
    """Bring notes here, one partition after the other."""
    rows = translate_spark_errors(notes.toLocalIterator)
    while (row := translate_spark_errors(lambda: next(rows, None))) is not None:
        yield row


def _iterate_values(notes: "DataFrame") -> Iterator[Any]:
    """Bring what was noted here, one partition after the other."""
    for row in _iterate_notes(notes):
        yield unpack_value(bytes(row["content"]))


def _collect_notes(notes: "DataFrame") -> "list[Row]":
    """Bring notes here."""
    return translate_spark_errors(notes.collect)


def _fetch_tables(
    notes: "DataFrame", folder: Path, *, on_progress: _Progress | None = None, total: int = 0
) -> list[Path]:
    """Bring tables here, one note after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    for row in _iterate_notes(notes):
        parts.append(folder / f"{row['part']:05d}-{len(parts):05d}.parquet")
        unpack_frame(bytes(row["content"])).write_parquet(parts[-1])
        if on_progress:
            on_progress(row["part"] + 1, total)
    return parts


_logger = logging.getLogger("repurchase")

_HEAD_ROWS = 10_000
_TASK_MEMORY_GB = 1.6
"""What a task's Python may use, about; ``memory_gb`` may ask for less."""


class Cluster:
    """A Spark cluster at work for one job."""

    def __init__(self, session: "SparkSession") -> None:
        self._session = session

    def describe(self) -> dict[str, Any]:
        """Describe the cluster for ``run.json``."""
        context = self._session.sparkContext
        return {
            "engine": "spark",
            "master": context.master,
            "spark_version": self._session.version,
            "parallel_tasks": context.defaultParallelism,
        }

    def load_orders(
        self,
        source: str | DatabaseSource,
        *,
        settings: Settings,
        folder: Path,
        as_of: date | None = None,
        pseudonymizer: Pseudonymizer | None = None,
    ) -> Intake:
        """Read and clean orders on the cluster, and settle the last day known."""
        log = self._counted(open_on_cluster(self._session, source, settings=settings), settings)
        log = log.interpreted(detect_layout(self._sample(log, settings), named=settings.columns, source=log.source))
        found = self._sample_columns(log, settings)
        plain = _driver_log(log)
        plain = pseudonymizer.orders(plain) if pseudonymizer else plain
        reading = replace(_row_reader(log, settings), pseudonymize=plain.pseudonymize)
        cleaner = self._decide(log, plain, found, reading)
        notes, partitions = self._shared_out(log, found, reading, cleaner)
        counts = reduce(
            add,
            (unpack_value(row["content"]) for row in _collect_notes(_notes_of_kind(notes, "cleaning_counts"))),
            CleaningCounts(),
        )
        cleaning = cleaner.summarize(counts)
        ledgers = _ClusterLedgers(
            (), resolve_as_of(counts.days, as_of=as_of), cleaner.rules.has_amounts, notes, partitions
        )
        aside = _fetch_tables(_notes_of_kind(notes, "set_aside"), folder / "set_aside")
        set_aside = pl.scan_parquet(aside, glob=False, hive_partitioning=False) if aside else pl.LazyFrame()
        return Intake(plain, cleaning, ledgers, set_aside)

    def _decide(self, log: ClusterLog, plain: OrderLog, found: ColumnSamples, reading: RowReader) -> OrderCleaner:
        """Decide column formats and cleaning rules by all rows."""
        values = ValueReader.from_evidence(found.evidence, replace(plain, layout=log.layout), settings=reading.settings)
        values = replace(values, files=tuple(Path(unquote(path)).name for path in log.numbers))
        used = [name for name in log.columns if log.is_text or name in log.layout.columns.values()]
        statistics: LogStatistics = self._sum(
            _select_columns(log, used).mapInArrow(
                partial(collect_statistics, reading=reading, values=values), NOTE_SCHEMA
            )
        )
        return values.decide_rules(statistics)

    def score(
        self,
        intake: Intake,
        state: Mapping[str, Any],
        customers: pl.Series | None,
        *,
        folder: Path,
        on_progress: _Progress,
    ) -> ClusterScores:
        """Score every customer on the cluster, and fetch the scores part by part."""
        ledgers, as_of = _cluster_ledgers(intake), intake.as_of
        task = ScoringTask(state, ledgers.day, customers)
        with computed_on_cluster(
            ledgers.of_kinds(*LEDGER_KINDS).mapInArrow(partial(score_partition, task=task), NOTE_SCHEMA)
        ) as made:
            counts = sum(_iterate_values(_notes_of_kind(made, "counts")), PurchaseCounts.none(as_of))
            summaries = _iterate_values(_notes_of_kind(made, "input_summary"))
            summary = reduce(add, summaries, next(summaries, None))
            parts = _fetch_tables(_notes_of_kind(made, "scores"), folder, on_progress=on_progress, total=len(ledgers))
        return ClusterScores(PartitionedScores(tuple(parts)), counts, summary)

    def collect_training_data(self, intake: Intake, *, most: int) -> ClusterTrainingData:
        """Draw a sample of customers, and fit what has a closed form to all of them."""
        return _collect_training_data(self, intake, most=most)

    def release(self, intake: Intake) -> None:
        """Give the cluster's disk space back."""
        notes = _cluster_ledgers(intake).notes
        if notes is not None:
            notes.unpersist()

    def _counted(self, log: ClusterLog, settings: Settings) -> ClusterLog:
        counts = self._counts(log, settings)
        if counts.n_corrupt and log.is_text:
            log = log.with_long_rows(self._session)
            counts = self._counts(log, settings)
        if counts.n_corrupt:
            raise OrdersError(
                f"{log.source}: {counts.n_corrupt:,} lines have more or fewer columns than the heading. Leave --engine "
                "spark out to see which, or export again."
            )
        if not counts.rows:
            raise _no_orders(log)
        unnamed = [name for name in log.columns if not name.strip() and name not in counts.used]
        return replace(log.without(unnamed), counts=counts)

    def _counts(self, log: ClusterLog, settings: Settings) -> RowCounts:
        reading = replace(_row_reader(log, settings), has_blank_rows=log.is_text)
        head = self._tables(log.table.limit(_HEAD_ROWS).mapInArrow(rows_as_notes, NOTE_SCHEMA))
        if not head:
            raise _no_orders(log)
        sampling = OrderSampling.of(reading.rows(pl.concat(head)), named=settings.columns)
        counts: RowCounts = self._sum(
            log.table.mapInArrow(partial(count_rows, reading=reading, sampling=sampling), NOTE_SCHEMA)
        )
        return counts

    def _sample(self, log: ClusterLog, settings: Settings) -> pl.DataFrame:
        reading, sampling = _row_reader(log, settings), log.counts.sampling
        if sampling is None:
            raise ValueError("the rows of the log are not counted yet")
        take = partial(sample_of_rows, reading=reading, sampling=sampling, depth=sampling.depth())
        sampled = pl.concat(self._tables(log.table.mapInArrow(take, NOTE_SCHEMA)))
        return reading.rows(reading.ordered(sampled)).head(MOST_ROWS)

    def _sample_columns(self, log: ClusterLog, settings: Settings) -> ColumnSamples:
        deciding = deciding_columns(log.schema, log.layout)
        reading = _row_reader(log, settings)
        sampled_columns = list(log.columns) if log.is_text else deciding
        found: ColumnSamples = self._sum(
            _select_columns(log, sampled_columns).mapInArrow(partial(sample_columns, reading=reading), NOTE_SCHEMA)
        )
        if found.n_mangled and log.is_text:
            raise OrdersError(
                f"{log.source}: {found.n_mangled:,} customers' ids are not UTF-8, which is all that --engine spark "
                "reads. Leave it out, or export as UTF-8."
            )
        return found

    def _shared_out(
        self, log: ClusterLog, found: ColumnSamples, reading: RowReader, cleaner: OrderCleaner
    ) -> "tuple[DataFrame, int]":
        from pyspark import StorageLevel
        from pyspark.sql.types import IntegerType, StructField, StructType

        wanted = self._partitions(log, reading.settings)
        ids = found.ids
        if reading.pseudonymize:
            ids = (
                reading.pseudonymize(ids.to_frame(log.layout.columns["customer_id"]))
                .to_series()
                .rename("")
                .drop_nulls()
            )
        bounds = partition_bounds(ids, partitions=wanted)
        partitions = len(bounds) + 1
        plain = log.table.drop(CORRUPT_LINE)
        schema = StructType([*plain.schema.fields, StructField(PARTITION, IntegerType())])
        placed = plain.mapInArrow(partial(assign_partitions, reading=reading, bounds=bounds), schema)
        shared = placed.repartitionById(partitions, PARTITION)
        notes = shared.mapInArrow(partial(clean_partition, reading=reading, cleaner=cleaner), NOTE_SCHEMA)
        _logger.info(
            "%d rows are worked through on the cluster in %d partitions",
            sum(log.counts.rows.values()),
            partitions,
            extra={"event": "partitions", "rows": sum(log.counts.rows.values()), "partitions": partitions},
        )
        return notes.persist(StorageLevel.DISK_ONLY), partitions

    def _partitions(self, log: ClusterLog, settings: Settings) -> int:
        memory_gb = min(settings.memory_gb, _TASK_MEMORY_GB)
        needed = partitions_needed(sum(log.counts.rows.values()), len(log.columns), memory_gb=memory_gb)
        return settings.partitions or max(needed, self._session.sparkContext.defaultParallelism)

    def _tables(self, notes: "DataFrame") -> list[pl.DataFrame]:
        return [unpack_frame(row["content"]) for row in _collect_notes(notes)]

    def _sum(self, notes: "DataFrame") -> Any:
        return reduce(add, (unpack_value(row["content"]) for row in _collect_notes(notes)))


@contextmanager
def open_cluster(master: str | None, options: Mapping[str, str], folder: Path) -> Iterator[Cluster]:
    """Work on a Spark cluster."""
    with spark_session(master, options, folder) as session:
        yield Cluster(session)


def _no_orders(log: ClusterLog) -> OrdersError:
    return OrdersError(f"{log.source}: columns but no orders. Found {', '.join([*log.columns][:12])}.")


def _row_reader(log: ClusterLog, settings: Settings) -> RowReader:
    own = replace(settings, home=Path())
    return RowReader(log.columns, log.layout, own, files=log.numbers, has_blank_rows=log.counts.n_blank > 0)


def _driver_log(log: ClusterLog) -> OrderLog:
    rows = {_address(unquote(path)): count for path, count in log.counts.rows.items()}
    shown = [(_address(file.path), file) for file in log.files]
    files = tuple(FileRead(address, rows.get(address, 0), file.digest) for address, file in shown)
    return OrderLog(log.source, log.layout, files, log.notes, log.schema)


def _address(written: str) -> str:
    """Write an address one way: a file of this machine by its path alone, for which Spark has two other ways."""
    return f"/{written.removeprefix('file:').lstrip('/')}" if written.startswith("file:") else written


def _select_columns(log: ClusterLog, names: list[str]) -> "DataFrame":
    beside = [name for name in (CORRUPT_LINE, FILE_PATH) if name in log.table.columns]
    return log.table.select(*(log.columns[name] for name in names), *beside)


_Floats = npt.NDArray[np.float64]

_HASH_COUNT = 2**64
_SAMPLE_MARGIN_SD = 8.0
"""Standard deviations by which the sample is drawn too large before it is cut to size."""


def _collect_training_data(cluster: Cluster, intake: Intake, *, most: int) -> ClusterTrainingData:
    """Draw a sample of customers, and fit what has a closed form to all of them."""
    ledger = _draw_sample(intake, most=most)
    ledgers = _cluster_ledgers(intake)
    closing = ledger.find_closing()
    gathered = ledgers.of_kinds(*LEDGER_KINDS).mapInArrow(
        partial(count_btyd_rows, day=ledgers.day, closing=closing), NOTE_SCHEMA
    )
    with computed_on_cluster(gathered) as made:
        totals = _add_up_counts(_iterate_values(made))
    rows, counts = totals.rfm, totals.counts
    btyd = {family: fit_btyd_rows(rows, counts, families=(family,)) for family in FAMILIES}
    money = None
    if ledgers.has_amounts:
        money = fit_gamma_gamma_rows(totals.spend, totals.spend_counts)
        money = None if money.fallback_mean == 0.0 else money
    cluster.release(intake)
    return ClusterTrainingData(ledger, intake.report.n_customers, btyd, money, totals.input_summary)


def _add_up_rows(counted: Sequence[tuple[_Floats, _Floats]]) -> tuple[_Floats, _Floats]:
    """Add up rows that were counted apart, as if they had been counted together."""
    rows, counts = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    order = np.lexsort(rows.T[::-1])
    rows, counts = rows[order], counts[order]
    if not len(rows):
        return rows, counts
    begins = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
    return rows[begins], np.add.reduceat(counts, begins)


def _add_up_counts(counts: Iterable[BtydCounts]) -> BtydCounts:
    parts = list(counts)
    purchases = _add_up_rows([(part.rfm, part.counts) for part in parts])
    money = _add_up_rows([(part.spend, part.spend_counts) for part in parts])
    return BtydCounts(*purchases, *money, reduce(add, (part.input_summary for part in parts)))


def _draw_sample(intake: Intake, *, most: int) -> Ledger:
    ledgers = _cluster_ledgers(intake)
    everyone = intake.report.n_customers
    share = min(1.0, (most + _SAMPLE_MARGIN_SD * sqrt(most)) / max(everyone, 1))
    below = min(ceil(share * _HASH_COUNT), _HASH_COUNT) - 1
    drawn = ledgers.of_kinds(*LEDGER_KINDS).mapInArrow(
        partial(draw_customers, day=ledgers.day, below=below), NOTE_SCHEMA
    )
    parts: dict[int, list[tuple[str, bytes]]] = {}
    for row in _collect_notes(drawn):
        parts.setdefault(row["part"], []).append((row["kind"], bytes(row["content"])))
    made = (
        ledger_from_notes(parts[number], as_of=ledgers.as_of, has_amounts=ledgers.has_amounts)
        for number in sorted(parts)
    )
    found = [ledger for ledger in made if ledger]
    if not found:
        raise OrdersError(f"{intake.log.source}: no customer was drawn. Raise the setting 'spark_sample'.")
    ledger = concat_ledgers(found)
    hashes = id_hash(ledger.ids).to_numpy()
    if len(hashes) <= most:
        return ledger
    return select_customers(ledger, np.sort(np.argsort(hashes, kind="stable")[:most]))
