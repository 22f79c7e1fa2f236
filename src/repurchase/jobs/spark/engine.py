"""The jobs' heavy part on a Spark cluster: the same functions in each partition, and only Spark moves rows.

Rows are read by Spark's own reader and looked at twice (how columns are written; what must be known of all rows). Then
they are shared out by ranges of customers, cleaned, and made into ledgers, which stay on the cluster's disks: scores,
counts and samples are made of them there. This program sees notes, samples and finished scores only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl

from repurchase.errors import OrdersError
from repurchase.evaluation.look import Look
from repurchase.jobs.intake import Intake, accepted
from repurchase.jobs.scoring.parts import ScoreParts
from repurchase.jobs.spark.books import (
    ClusterBooks,
    books_of,
    fetched,
    made_there,
    of_kind,
    opened_one_by_one,
    rows_of,
)
from repurchase.jobs.spark.notes import BOOK, NOTE, frame_of, opened
from repurchase.jobs.spark.orders import ClusterLog, open_on_cluster
from repurchase.jobs.spark.reading import (
    BUCKET,
    CORRUPT,
    FILE,
    Found,
    Reading,
    clean_partition,
    facts_of_rows,
    place_rows,
    survey_of_rows,
)
from repurchase.jobs.spark.sampling import RowCounts, as_notes, count_rows, sample_of_rows
from repurchase.jobs.spark.scoring import Asked, score_partition
from repurchase.jobs.spark.session import spark_session
from repurchase.jobs.veil import Veil
from repurchase.marketing.counts import Counts
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.cleaning import require_sales, today_in
from repurchase.orders.facts import Facts
from repurchase.orders.interpretation import interpret
from repurchase.orders.logs import FileRead, OrderLog, digest_of
from repurchase.orders.named_statuses import notes_on_named_statuses
from repurchase.orders.plausibility import implausible
from repurchase.orders.policy import rulings
from repurchase.orders.reading_summary import final_decision
from repurchase.orders.sampling import MOST_ROWS, OrderSampling
from repurchase.orders.spill import decisive_columns, partition_bounds, partitions_needed
from repurchase.orders.sufficiency import resolve_as_of
from repurchase.orders.tally import Tally
from repurchase.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Cluster", "ScoredThere", "on_cluster"]

logger = logging.getLogger("repurchase")

_HEAD_ROWS = 10_000
TASK_MEMORY_GB = 1.6
"""What a task's Python may use, about; ``memory_gb`` may ask for less."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredThere:
    """What a cluster came to.

    Parameters
    ----------
    scores : ScoreParts
        Fetched, part by part.
    counts : Counts
        Of all customers.
    look : Look or None
        At all customers.
    """

    scores: ScoreParts
    counts: Counts
    look: Look | None


class Cluster:
    """A Spark cluster at work for one job.

    Parameters
    ----------
    session : SparkSession
        With it.
    """

    def __init__(self, session: "SparkSession") -> None:
        self._session = session

    def describe(self) -> dict[str, Any]:
        """Describe the cluster for ``run.json``.

        Returns
        -------
        dict
            JSON-able: engine, master, Spark's version, and how many tasks run side by side.
        """
        context = self._session.sparkContext
        return {
            "engine": "spark",
            "master": context.master,
            "spark_version": self._session.version,
            "parallel_tasks": context.defaultParallelism,
        }

    def take_in(
        self,
        source: str | DatabaseSource,
        *,
        settings: Settings,
        folder: Path,
        as_of: date | None = None,
        veil: Veil | None = None,
    ) -> Intake:
        """Read and clean orders on the cluster, and settle the last day known.

        Parameters
        ----------
        source : str or DatabaseSource
            Parquet or CSV: a file, a folder or a glob, where the cluster can read it.
        settings : Settings
            How to read and clean.
        folder : Path
            For rows that are set aside; must outlive the intake.
        as_of : date, optional
            Last day known; default the last order's day.
        veil : Veil, optional
            Hides customer ids as they are read.

        Returns
        -------
        Intake
            As from `intake.take_in`, but that the books stay on the cluster.

        Raises
        ------
        InputError
            If Spark is not for these orders, they cannot be used, or the result is not plausible.
        """
        log = self._counted(open_on_cluster(self._session, source, settings=settings), settings)
        log = log.interpreted(interpret(self._sample(log, settings), named=settings.columns, source=log.source))
        found = self._survey(log, settings)
        plain = _plain_log(log)
        plain = veil.orders(plain) if veil else plain
        forms = found.survey.decide(log.layout, settings=settings, source=log.source)
        reading = replace(_reading(log, settings), forms=forms, veil=plain.veil)
        used = [name for name in log.columns if log.is_text or name in log.layout.columns.values()]
        facts: Facts = self._sum(_chosen(log, used).mapInArrow(partial(facts_of_rows, reading=reading), NOTE))
        ruled = rulings(facts, log.layout, settings=settings, source=log.source, today=today_in(settings))
        notes, partitions = self._shared_out(log, found, replace(reading, ruled=ruled))
        tally = reduce(add, (opened(row["content"]) for row in rows_of(of_kind(notes, "tally"))), Tally())
        named = notes_on_named_statuses(tally, log.layout, settings=settings, source=log.source)
        require_sales(tally, source=log.source)
        day = resolve_as_of(tally.days, as_of=as_of)
        books = ClusterBooks((), day, ruled.has_amounts, notes, partitions)
        said = (*log.notes, *forms.notes, *facts.notes(log.layout), *named)
        report = tally.report(log.layout, ruled, notes=said)
        aside = fetched(of_kind(notes, "aside"), folder / "aside")
        set_aside = pl.scan_parquet(aside, glob=False, hive_partitioning=False) if aside else pl.LazyFrame()
        names = tuple(Path(unquote(path)).name for path in log.numbers)
        doubts = implausible(tally, log.layout, files=names, settings=settings, source=log.source)
        decision = final_decision(log.layout, forms, tally)
        return accepted(Intake(plain, report, tally, books, set_aside, day, decision, doubts))

    def score(
        self,
        intake: Intake,
        state: Mapping[str, Any],
        customers: pl.Series | None,
        *,
        folder: Path,
        on_progress: Progress,
    ) -> ScoredThere:
        """Score every customer on the cluster, and fetch the scores part by part.

        Parameters
        ----------
        intake : Intake
            From `take_in`.
        state : mapping
            The model, see `FittedModel.to_state`.
        customers : Series of str or None
            Whom to score; None for everyone.
        folder : Path
            For the parts.
        on_progress : callable
            Is told how many parts are fetched, and of how many.

        Returns
        -------
        ScoredThere
            Rows sorted by customer.
        """
        books, as_of = books_of(intake), intake.as_of
        asked = Asked(state, books.day, customers)
        with made_there(books.told(*BOOK).mapInArrow(partial(score_partition, asked=asked), NOTE)) as made:
            counts = sum(opened_one_by_one(of_kind(made, "counts")), Counts.none(as_of))
            looks = opened_one_by_one(of_kind(made, "look"))
            look = reduce(add, looks, next(looks, None))
            parts = fetched(of_kind(made, "scores"), folder, on_progress=on_progress, total=len(books))
        return ScoredThere(ScoreParts(tuple(parts)), counts, look)

    def release(self, intake: Intake) -> None:
        """Give the cluster's disk space back.

        Parameters
        ----------
        intake : Intake
            From `take_in`; its books can no longer be read at their old cost.
        """
        notes = books_of(intake).notes
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
                "spark out to be told which, or export again."
            )
        if not counts.rows:
            raise _no_orders(log)
        unnamed = [name for name in log.columns if not name.strip() and name not in counts.used]
        return replace(log.without(unnamed), counts=counts)

    def _counts(self, log: ClusterLog, settings: Settings) -> RowCounts:
        reading = replace(_reading(log, settings), has_blank_rows=log.is_text)
        head = self._tables(log.table.limit(_HEAD_ROWS).mapInArrow(as_notes, NOTE))
        if not head:
            raise _no_orders(log)
        sampling = OrderSampling.of(reading.rows(pl.concat(head)), named=settings.columns)
        counts: RowCounts = self._sum(
            log.table.mapInArrow(partial(count_rows, reading=reading, sampling=sampling), NOTE)
        )
        return counts

    def _sample(self, log: ClusterLog, settings: Settings) -> pl.DataFrame:
        reading, sampling = _reading(log, settings), log.counts.sampling
        if sampling is None:
            raise ValueError("the rows of the log are not counted yet")
        take = partial(sample_of_rows, reading=reading, sampling=sampling, depth=sampling.depth())
        sampled = pl.concat(self._tables(log.table.mapInArrow(take, NOTE)))
        return reading.rows(reading.ordered(sampled)).head(MOST_ROWS)

    def _survey(self, log: ClusterLog, settings: Settings) -> Found:
        decisive = decisive_columns(log.schema, log.layout)
        reading = _reading(log, settings)
        looked_at = list(log.columns) if log.is_text else decisive
        found: Found = self._sum(_chosen(log, looked_at).mapInArrow(partial(survey_of_rows, reading=reading), NOTE))
        if found.n_mangled and log.is_text:
            raise OrdersError(
                f"{log.source}: {found.n_mangled:,} customers' ids are not UTF-8, which is all that --engine spark "
                "reads. Leave it out, or export as UTF-8."
            )
        return found

    def _shared_out(self, log: ClusterLog, found: Found, reading: Reading) -> "tuple[DataFrame, int]":
        from pyspark import StorageLevel
        from pyspark.sql.types import IntegerType, StructField, StructType

        wanted = self._partitions(log, reading.settings)
        ids = found.ids
        if reading.veil:
            ids = reading.veil(ids.to_frame(log.layout.columns["customer_id"])).to_series().rename("").drop_nulls()
        bounds = partition_bounds(ids, partitions=wanted)
        partitions = len(bounds) + 1
        plain = log.table.drop(CORRUPT)
        schema = StructType([*plain.schema.fields, StructField(BUCKET, IntegerType())])
        placed = plain.mapInArrow(partial(place_rows, reading=reading, bounds=bounds), schema)
        shared = placed.repartitionById(partitions, BUCKET)
        notes = shared.mapInArrow(partial(clean_partition, reading=reading), NOTE)
        logger.info(
            "%d rows are worked through on the cluster in %d partitions",
            sum(log.counts.rows.values()),
            partitions,
            extra={"event": "partitions", "rows": sum(log.counts.rows.values()), "partitions": partitions},
        )
        return notes.persist(StorageLevel.DISK_ONLY), partitions

    def _partitions(self, log: ClusterLog, settings: Settings) -> int:
        memory_gb = min(settings.memory_gb, TASK_MEMORY_GB)
        needed = partitions_needed(sum(log.counts.rows.values()), len(log.columns), memory_gb=memory_gb)
        return settings.partitions or max(needed, self._session.sparkContext.defaultParallelism)

    def _tables(self, notes: "DataFrame") -> list[pl.DataFrame]:
        return [frame_of(row["content"]) for row in rows_of(notes)]

    def _sum(self, notes: "DataFrame") -> Any:
        return reduce(add, (opened(row["content"]) for row in rows_of(notes)))


@contextmanager
def on_cluster(master: str | None, told: Mapping[str, str], folder: Path) -> Iterator[Cluster]:
    """Work on a Spark cluster.

    Parameters
    ----------
    master : str, optional
        Such as ``spark://host:7077``; default what Spark's own configuration says, or this machine.
    told : mapping of str to str
        Further settings of Spark.
    folder : Path
        For Spark's own log.

    Yields
    ------
    Cluster
        Until the session ends.
    """
    with spark_session(master, told, folder) as session:
        yield Cluster(session)


def _no_orders(log: ClusterLog) -> OrdersError:
    return OrdersError(f"{log.source}: columns but no orders. Found {', '.join([*log.columns][:12])}.")


def _reading(log: ClusterLog, settings: Settings) -> Reading:
    own = replace(settings, home=Path())
    return Reading(log.columns, log.layout, own, files=log.numbers, has_blank_rows=log.counts.n_blank > 0)


def _plain_log(log: ClusterLog) -> OrderLog:
    rows = {_address(unquote(path)): count for path, count in log.counts.rows.items()}
    shown = [(_address(file.path), file) for file in log.files]
    files = tuple(FileRead(address, rows.get(address, 0), file.digest) for address, file in shown)
    return OrderLog(log.source, log.layout, files, digest_of(files), log.notes, log.schema, ())


def _address(written: str) -> str:
    """Write an address one way: a file of this machine by its path alone, for which Spark has two other ways."""
    return f"/{written.removeprefix('file:').lstrip('/')}" if written.startswith("file:") else written


def _chosen(log: ClusterLog, names: list[str]) -> "DataFrame":
    beside = [name for name in (CORRUPT, FILE) if name in log.table.columns]
    return log.table.select(*(log.columns[name] for name in names), *beside)
