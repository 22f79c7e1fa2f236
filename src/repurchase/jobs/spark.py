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

import polars as pl

from repurchase.errors import OrdersError
from repurchase.evaluation.look import Look
from repurchase.features.timeline import Ledger
from repurchase.jobs.books import Books
from repurchase.jobs.intake import Intake
from repurchase.jobs.score_parts import ScoreParts
from repurchase.jobs.spark_notes import NOTE, book_of, frame_of, opened
from repurchase.jobs.spark_orders import ClusterLog, open_on_cluster
from repurchase.jobs.spark_reading import (
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
from repurchase.jobs.spark_scoring import Asked, Day, score_partition
from repurchase.jobs.spark_session import spark_session, translated
from repurchase.jobs.veil import Veil
from repurchase.marketing.counts import Counts
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.cleaning import require_sales, today_in
from repurchase.orders.facts import Facts
from repurchase.orders.logs import FileRead, OrderLog, digest_of
from repurchase.orders.policy import rulings
from repurchase.orders.spill import partition_bounds, partitions_needed
from repurchase.orders.sufficiency import resolve_as_of
from repurchase.orders.survey import surveyed_columns
from repurchase.orders.tally import Tally
from repurchase.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

__all__ = ["Cluster", "ClusterBooks", "ScoredThere", "books_of", "on_cluster"]

logger = logging.getLogger("repurchase")

TASK_MEMORY_GB = 1.6
"""What a task's Python may use, about; ``memory_gb`` may ask for less."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClusterBooks(Books):
    """Ledgers that stay on the cluster; going through them brings one after the other here.

    Parameters
    ----------
    notes : DataFrame
        Spark's: the notes of `clean_partition`, kept on the cluster's disks.
    partitions : int
        How many.
    """

    notes: "DataFrame | None" = None
    partitions: int = 0

    def __len__(self) -> int:
        return self.partitions

    def __getitem__(self, number: int) -> Ledger:
        if not 0 <= number < self.partitions:
            raise IndexError(number)
        from pyspark.sql import functions

        rows = _rows(self.told("ids", "entries").filter(functions.col("part") == number))
        return self._book(rows) or self._empty()

    def __iter__(self) -> Iterator[Ledger]:
        rows: list[Row] = []
        for row in translated(lambda: self.told("ids", "entries").toLocalIterator()):
            if rows and row["part"] != rows[-1]["part"]:
                yield self._book(rows) or self._empty()
                rows = []
            rows.append(row)
        if rows:
            yield self._book(rows) or self._empty()

    @property
    def day(self) -> Day:
        """What is known of the whole log, on its last day."""
        return Day(self.observed_until, self.observed_until, self.has_amounts)

    def told(self, *kinds: str) -> "DataFrame":
        """Choose notes.

        Parameters
        ----------
        *kinds : str
            Which.

        Returns
        -------
        DataFrame
            Spark's; each partition's in its order.

        Raises
        ------
        OrdersError
            If there are none.
        """
        from pyspark.sql import functions

        if self.notes is None:
            raise OrdersError("the ledgers are no longer on the cluster")
        return self.notes.filter(functions.col("kind").isin(*kinds))

    def _book(self, rows: "list[Row]") -> Ledger | None:
        pairs = ((row["kind"], bytes(row["content"])) for row in rows)
        return book_of(pairs, observed_until=self.observed_until, has_amounts=self.has_amounts)

    def _empty(self) -> Ledger:
        raise OrdersError("a partition has no customer")


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
            If Spark is not for these orders, or they cannot be used.
        """
        log = open_on_cluster(self._session, source, settings=settings)
        log, found = self._surveyed(log, settings)
        plain = _plain_log(log, found)
        plain = veil.orders(plain) if veil else plain
        forms = found.survey.decide(log.layout, settings=settings, source=log.source)
        reading = replace(_reading(log, settings), forms=forms, veil=plain.veil, has_blank_rows=found.n_blank > 0)
        used = [name for name in log.columns if log.is_text or name in log.layout.columns.values()]
        facts: Facts = self._sum(_chosen(log, used).mapInArrow(partial(facts_of_rows, reading=reading), NOTE))
        ruled = rulings(facts, log.layout, settings=settings, source=log.source, today=today_in(settings))
        notes, partitions = self._shared_out(log, found, replace(reading, ruled=ruled))
        tally = reduce(add, (opened(row["content"]) for row in _rows(_of_kind(notes, "tally"))), Tally())
        require_sales(tally, source=log.source)
        books = ClusterBooks((), max(tally.days), ruled.has_amounts, notes, partitions)
        said = (*log.notes, *forms.notes, *facts.notes(log.layout))
        report = tally.report(log.layout, ruled, notes=said)
        aside = _fetched(_of_kind(notes, "aside"), folder / "aside")
        set_aside = pl.scan_parquet(aside) if aside else pl.LazyFrame()
        return Intake(plain, report, tally, books, set_aside, resolve_as_of(tally.days, as_of=as_of))

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
        from pyspark import StorageLevel

        books, as_of = books_of(intake), intake.as_of
        asked = Asked(state, replace(books.day, as_of=as_of), customers)
        made = books.told("ids", "entries").mapInArrow(partial(score_partition, asked=asked), NOTE)
        made = made.persist(StorageLevel.DISK_ONLY)
        counted = _rows(_of_kind(made, "counts", "look"))  # makes every partition, side by side
        counts = [opened(row["content"]) for row in counted if row["kind"] == "counts"]
        looks = [opened(row["content"]) for row in counted if row["kind"] == "look"]
        parts = _fetched(_of_kind(made, "scores"), folder, on_progress=on_progress, total=len(books))
        made.unpersist()
        look = reduce(add, looks) if looks else None
        return ScoredThere(ScoreParts(tuple(parts)), sum(counts, Counts.none(as_of)), look)

    def _surveyed(self, log: ClusterLog, settings: Settings) -> tuple[ClusterLog, Found]:
        found: Found = self._survey(log, settings)
        if found.n_corrupt and log.is_text and not log.has_long_rows:
            log = log.with_long_rows(self._session)
            found = self._survey(log, settings)
        if found.n_corrupt:
            raise OrdersError(
                f"{log.source}: {found.n_corrupt:,} lines have more or fewer columns than the heading. Leave --engine "
                "spark out to be told which, or export again."
            )
        if found.n_mangled and log.is_text:
            raise OrdersError(
                f"{log.source}: {found.n_mangled:,} customers' ids are not UTF-8, which is all that --engine spark "
                "reads. Leave it out, or export as UTF-8."
            )
        if not found.rows:
            raise OrdersError(f"{log.source}: columns but no orders. Found {', '.join(log.columns[:12])}.")
        unnamed = [name for name in log.columns if not name.strip() and name not in found.said]
        return log.without(unnamed), found

    def _survey(self, log: ClusterLog, settings: Settings) -> Found:
        decisive = [log.layout.columns["customer_id"], *surveyed_columns(log.schema, log.layout)]
        looked_at = list(log.columns) if log.is_text else list(dict.fromkeys(decisive))
        reading = replace(_reading(log, settings), has_blank_rows=log.is_text)
        found: Found = self._sum(_chosen(log, looked_at).mapInArrow(partial(survey_of_rows, reading=reading), NOTE))
        return found

    def _shared_out(self, log: ClusterLog, found: Found, reading: Reading) -> "tuple[DataFrame, int]":
        from pyspark import StorageLevel
        from pyspark.sql.types import IntegerType, StructField, StructType

        wanted = self._partitions(log, found, reading.settings)
        ids = found.ids
        if reading.veil:
            ids = reading.veil(ids.to_frame(log.layout.columns["customer_id"])).to_series().rename("")
        bounds = partition_bounds(ids, partitions=wanted)
        partitions = len(bounds) + 1
        files = sorted(found.rows, key=lambda path: path.split("/"))
        plain = log.table.drop(CORRUPT)
        schema = StructType([*plain.schema.fields, StructField(BUCKET, IntegerType())])
        placed = plain.mapInArrow(partial(place_rows, reading=reading, bounds=bounds), schema)
        shared = placed.repartitionById(partitions, BUCKET)
        notes = shared.mapInArrow(partial(clean_partition, reading=reading, files=files), NOTE)
        logger.info(
            "%d rows are worked through on the cluster in %d partitions",
            sum(found.rows.values()),
            partitions,
            extra={"event": "partitions", "rows": sum(found.rows.values()), "partitions": partitions},
        )
        return notes.persist(StorageLevel.DISK_ONLY), partitions

    def _partitions(self, log: ClusterLog, found: Found, settings: Settings) -> int:
        memory_gb = min(settings.memory_gb, TASK_MEMORY_GB)
        needed = partitions_needed(sum(found.rows.values()), len(log.columns), memory_gb=memory_gb)
        return settings.partitions or max(needed, self._session.sparkContext.defaultParallelism)

    def _sum(self, notes: "DataFrame") -> Any:
        return reduce(add, (opened(row["content"]) for row in _rows(notes)))


def books_of(intake: Intake) -> ClusterBooks:
    """Give the ledgers that `Cluster.take_in` left on the cluster.

    Parameters
    ----------
    intake : Intake
        From there.

    Returns
    -------
    ClusterBooks
        Its books.

    Raises
    ------
    TypeError
        If it comes from elsewhere.
    """
    if not isinstance(intake.books, ClusterBooks):
        raise TypeError("these ledgers are not on a cluster")
    return intake.books


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


def _reading(log: ClusterLog, settings: Settings) -> Reading:
    return Reading(log.columns, log.layout, replace(settings, home=Path()))


def _plain_log(log: ClusterLog, found: Found) -> OrderLog:
    rows = {_bare(path): count for path, count in found.rows.items()}
    files = tuple(FileRead(file.path, rows.get(_bare(file.path), 0), file.digest) for file in log.files)
    return OrderLog(log.source, log.layout, files, digest_of(files), log.notes, log.schema, ())


def _bare(address: str) -> str:
    """Leave out how many slashes stand before a path: Spark writes both file:/ and file:///."""
    scheme, _, path = address.partition(":")
    return f"{scheme}:{path.lstrip('/')}"


def _chosen(log: ClusterLog, names: list[str]) -> "DataFrame":
    beside = [name for name in (CORRUPT, FILE) if name in log.table.columns]
    return log.table.select(*(log.columns[name] for name in names), *beside)


def _of_kind(notes: "DataFrame", *kinds: str) -> "DataFrame":
    from pyspark.sql import functions

    return notes.filter(functions.col("kind").isin(*kinds))


def _rows(notes: "DataFrame") -> "list[Row]":
    return translated(notes.collect)


def _fetched(notes: "DataFrame", folder: Path, *, on_progress: Progress | None = None, total: int = 0) -> list[Path]:
    """Bring tables here, one note after the other, in the order of the partitions."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    rows = translated(notes.toLocalIterator)
    while (row := translated(lambda: next(rows, None))) is not None:
        parts.append(folder / f"{row['part']:05d}-{len(parts):05d}.parquet")
        frame_of(bytes(row["content"])).write_parquet(parts[-1])
        if on_progress:
            on_progress(row["part"] + 1, total)
    return parts
