"""What every job begins with: read and clean orders into ledgers, settle `as_of`, report progress."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from repurchase.errors import InputError, OrdersError
from repurchase.features.ledger import Ledger, build_ledger_from_clean
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.orders.checks import (
    SufficiencyRule,
    complete_decision,
    implausible,
    notes_on_named_statuses,
    require_plausible,
    resolve_as_of,
    sufficiency,
    supported_horizons,
)
from repurchase.orders.cleaning import (
    CleanedRows,
    clean_rows,
    collect_format_evidence,
    decisive_columns,
    partition_bounds,
    partition_rows,
    partitions_of,
    require_sales,
    today_in,
)
from repurchase.orders.cleaning_report import CleaningCounts, CleaningReport
from repurchase.orders.cleaning_rules import CleaningRules, decide_rules
from repurchase.orders.format_inference import ColumnFormats, FormatEvidence
from repurchase.orders.layout import ReadingDecision, log_line
from repurchase.orders.log import FileRead, OrderLog, open_orders
from repurchase.orders.values import LogStatistics, read_values
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource

_logger = logging.getLogger("repurchase")


@dataclass(frozen=True)
class LedgerPartitions:
    """Ledgers by partition; customers rise from one to the next, and each is in one of them."""

    kept: tuple[Ledger | Path, ...]
    as_of: date
    has_amounts: bool

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, number: int) -> Ledger:
        book = self.kept[number]
        return book if isinstance(book, Ledger) else self._read(book)

    def __iter__(self) -> Iterator[Ledger]:
        return (self[number] for number in range(len(self)))

    def whole(self) -> Ledger:
        """Put all ledgers together."""
        if len(self.kept) == 1:
            return self[0]
        ids, entries, no_sale, before = [], [], [], 0
        for book in self:
            ids.append(book.ids)
            no_sale += [] if book.no_sale is None else [book.no_sale]
            entries.append(book.entries.with_columns((pl.col("customer") + before).cast(pl.UInt32)))
            before += len(book.ids)
        together = Ledger(pl.concat(ids), pl.concat(entries), self.as_of, self.has_amounts)
        return replace(together, no_sale=pl.concat(no_sale) if no_sale else None)

    def _read(self, path: Path) -> Ledger:
        entries = pl.scan_ipc(path / _ENTRIES_FILE, glob=False).collect()
        ids = pl.scan_ipc(path / _IDS_FILE, glob=False).collect().to_series()
        no_sale = pl.scan_ipc(path / _NO_SALE_FILE, glob=False).collect() if (path / _NO_SALE_FILE).is_file() else None
        return Ledger(ids, entries, self.as_of, self.has_amounts, no_sale=no_sale).until(self.as_of)


_ENTRIES_FILE, _IDS_FILE, _NO_SALE_FILE = "entries.arrow", "ids.arrow", "no_sale.arrow"


def _write_ledger(book: Ledger, folder: Path) -> Path:
    """Write a ledger to disk."""
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    book.ids.to_frame().write_ipc(folder / _IDS_FILE)
    book.entries.write_ipc(folder / _ENTRIES_FILE)
    if book.no_sale is not None:
        book.no_sale.write_ipc(folder / _NO_SALE_FILE)
    return folder


def cdnow_orders() -> Path:
    """Find the full CDNOW log, 69,659 orders of 23,570 customers, without importing lifetimes."""
    spec = find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise InputError(
            "The CDNOW orders ship inside the package lifetimes, which is not installed. Run `make install`."
        )
    return Path(spec.origin).parent / "datasets" / "CDNOW_master.txt"


@dataclass(frozen=True)
class Intake:
    """Orders ready for use."""

    log: OrderLog
    report: CleaningReport
    tally: CleaningCounts
    books: LedgerPartitions
    set_aside: pl.LazyFrame
    as_of: date
    decision: ReadingDecision = field(default_factory=ReadingDecision)
    doubts: tuple[OrdersError, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Rows, customers and partitions, for the log of a step."""
        report = self.report
        return {
            "rows": report.n_raw,
            "rows_kept": report.n_kept,
            "customers": report.n_customers,
            "partitions": len(self.books),
        }

    def describe(self) -> dict[str, Any]:
        """Describe the log for ``run.json`` and MLflow."""
        report = self.report
        return {
            "source": self.log.source,
            "files": [_file_record(file) for file in self.log.files],
            "digest": self.log.digest,
            "layout": report.layout,
            "columns": dict(report.columns or {}),
            "reading": self.decision.to_dict(),
            "first_order_date": report.first_day and report.first_day.isoformat(),
            "last_order_date": report.last_day and report.last_day.isoformat(),
            "n_customers": report.n_customers,
            "n_orders": report.n_orders,
            "sales_total": round(self.tally.sales_total, 2) if report.has_amounts else None,
        }


@dataclass(frozen=True)
class OrderCheck:
    """What a log is good for."""

    intake: Intake
    rules: tuple[SufficiencyRule, ...]
    horizons: tuple[int, ...]


def _file_record(file: FileRead) -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if value is not None}


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a place for what does not fit into memory."""
    with tempfile.TemporaryDirectory(prefix="repurchase-") as folder:
        yield Path(folder)


_Progress = Callable[[int, int], None]


class _CleaningDecisions(NamedTuple):
    """What all rows of a log have settled."""

    forms: ColumnFormats
    facts: LogStatistics
    ruled: CleaningRules


def load_orders(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    folder: Path,
    as_of: date | None = None,
    on_progress: _Progress | None = None,
    veil: Pseudonymizer | None = None,
) -> Intake:
    """Read and clean orders, and settle the last day known."""
    return accept_intake(
        _load_orders(source, settings=settings, folder=folder, as_of=as_of, on_progress=on_progress, veil=veil)
    )


def accept_intake(taken: Intake) -> Intake:
    """Log how orders were understood, and refuse them if the result is not plausible."""
    _log_decision(taken.decision)
    require_plausible(taken.doubts)
    return taken


def _log_decision(decision: ReadingDecision) -> None:
    """Log which column was read as what, without values of any column."""
    for role in decision.roles:
        fields = {"role": role.role, "column": role.column, "meaning": role.meaning.key}
        _logger.info("%s", log_line(role), extra={"event": "reading", **fields})


def _load_orders(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    folder: Path,
    as_of: date | None = None,
    on_progress: _Progress | None = None,
    veil: Pseudonymizer | None = None,
) -> Intake:
    spool = folder / "spool"
    folder.mkdir(exist_ok=True)  # never its parents: an output folder that has gone away is not made anew
    spool.mkdir(exist_ok=True)
    log = open_orders(source, settings=settings, spool=spool)
    log = veil.orders(log) if veil else log
    partitions = partitions_of(log, settings=settings)
    if partitions == 1:
        return _load_whole(log, settings, as_of)
    _logger.info(
        "%d rows are worked through in %d partitions, to stay within %.1f GB of memory",
        log.n_rows,
        partitions,
        settings.memory_gb,
        extra={"event": "partitions", "rows": log.n_rows, "partitions": partitions, "memory_gb": settings.memory_gb},
    )
    return _load_partitioned(
        log, settings, as_of, folder=folder, partitions=partitions, on_progress=on_progress or _no_progress
    )


def _no_progress(_done: int, _total: int) -> None:
    return


def _load_whole(log: OrderLog, settings: Settings, as_of: date | None) -> Intake:
    rows = log.read()
    forms = FormatEvidence.of(rows, log.layout).decide(log.layout, settings=settings, source=log.source)
    reading = read_values(rows, log.layout, forms, settings=settings)
    ruled = _cleaning_rules(reading.facts, log, settings)
    judged = clean_rows(rows, reading, log.layout, ruled, settings=settings)
    notes_on_named_statuses(judged.tally, log.layout, settings=settings, source=log.source)
    require_sales(judged.tally, source=log.source)
    day = resolve_as_of(judged.tally.days, as_of=as_of)
    book = replace(
        build_ledger_from_clean(judged.kept, observed_until=day), has_amounts=ruled.has_amounts, no_sale=judged.no_sale
    )
    books = LedgerPartitions((book.until(day),), day, ruled.has_amounts)
    return _build_intake(
        log,
        judged.tally,
        books,
        judged.set_aside.lazy(),
        settled=_CleaningDecisions(forms, reading.facts, ruled),
        settings=settings,
    )


def _load_partitioned(
    log: OrderLog, settings: Settings, as_of: date | None, *, folder: Path, partitions: int, on_progress: _Progress
) -> Intake:
    layout = log.layout
    survey, ids = collect_format_evidence(log.batches(decisive_columns(log.schema, layout)), layout)
    forms = survey.decide(layout, settings=settings, source=log.source)
    bounds = partition_bounds(ids, partitions=partitions)
    spill, facts = partition_rows(log.batches(), layout, forms, bounds, folder / "rows", settings=settings)
    ruled = _cleaning_rules(facts, log, settings)
    tally, kept, aside = CleaningCounts(), [], []
    for number in spill:
        rows = spill.rows(number)
        spill.remove(number)
        judged = clean_rows(rows, read_values(rows, layout, forms, settings=settings), layout, ruled, settings=settings)
        tally += judged.tally
        kept.append(_write_partition_ledger(judged, folder / "books" / f"{number:05d}", ruled))
        aside.append(_write_set_aside(judged, folder / "aside" / f"{number:05d}.parquet"))
        on_progress(number + 1, spill.partitions)
    notes_on_named_statuses(tally, layout, settings=settings, source=log.source)
    require_sales(tally, source=log.source)
    day = resolve_as_of(tally.days, as_of=as_of)
    books = LedgerPartitions(tuple(book for book in kept if book), day, ruled.has_amounts)
    set_aside = pl.concat([pl.scan_parquet(part, glob=False, hive_partitioning=False) for part in aside])
    return _build_intake(
        log, tally, books, set_aside, settled=_CleaningDecisions(forms, facts, ruled), settings=settings
    )


def _write_partition_ledger(judged: CleanedRows, folder: Path, ruled: CleaningRules) -> Path | None:
    if not judged.kept.height and not judged.no_sale.height:
        return None
    book = build_ledger_from_clean(judged.kept, observed_until=max(judged.tally.days, default=date.max))
    return _write_ledger(replace(book, has_amounts=ruled.has_amounts, no_sale=judged.no_sale), folder)


def _write_set_aside(judged: CleanedRows, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    judged.set_aside.write_parquet(path)
    return path


def _cleaning_rules(facts: LogStatistics, log: OrderLog, settings: Settings) -> CleaningRules:
    return decide_rules(facts, log.layout, settings=settings, source=log.source, today=today_in(settings))


def _build_intake(
    log: OrderLog,
    tally: CleaningCounts,
    books: LedgerPartitions,
    set_aside: pl.LazyFrame,
    *,
    settled: _CleaningDecisions,
    settings: Settings,
) -> Intake:
    forms, facts, ruled = settled
    named = notes_on_named_statuses(tally, log.layout, settings=settings, source=log.source)
    notes = (*log.notes, *forms.notes, *facts.notes(log.layout), *named)
    report = tally.report(log.layout, ruled, notes=notes)
    decision = complete_decision(log.layout, forms, tally)
    files = tuple(Path(file.path).name for file in log.files)
    doubts = implausible(tally, log.layout, files=files, settings=settings, source=log.source)
    return Intake(log, report, tally, books, set_aside, books.as_of, decision, doubts)


def check_orders(
    source: str | DatabaseSource, *, settings: Settings, folder: Path, as_of: date | None = None
) -> OrderCheck:
    """Say what a log is good for; writes nothing that stays."""
    intake = _load_orders(source, settings=settings, folder=folder, as_of=as_of)
    rules = sufficiency(intake.books.whole().extent(intake.as_of), settings=settings)
    history = next((rule for rule in rules if rule.name == "history"), None)
    first = intake.report.first_day
    if first is None or (history is not None and not history.holds):
        return OrderCheck(intake, rules, ())
    return OrderCheck(intake, rules, supported_horizons(first_day=first, as_of=intake.as_of, settings=settings))


def with_model_settings(settings: Settings, remembered: Mapping[str, Any]) -> Settings:
    """Fill what a run was not told with what the model's own orders were cleaned with."""
    default = Settings()
    untold = {
        name: value
        for name, value in remembered.items()
        if hasattr(default, name) and getattr(settings, name) == getattr(default, name)
    }
    return replace(settings, **untold)


class Steps(Protocol):
    """Someone who watches a job."""

    timings_seconds: dict[str, float]

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Say that a step runs, and how long it took."""

    def progress(self, done: int, total: int) -> None:
        """Say how far the current step is."""


class LogSteps:
    """Log lines: one when a step ends, and one at every part of a long one."""

    def __init__(self) -> None:
        self.timings_seconds: dict[str, float] = {}
        self._name = ""

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Log a step when it ends."""
        self._name = name
        counts: dict[str, int] = {}
        begin = time.perf_counter()
        yield counts
        seconds = self.timings_seconds[name] = round(time.perf_counter() - begin, 3)
        about = {"event": "step", "step": name, "seconds": seconds, "counts": counts}
        _logger.info("%s: done in %.1f s", name, seconds, extra=about)

    def progress(self, done: int, total: int) -> None:
        """Log how far the current step is."""
        if 0 < done < total:
            about = {"event": "progress", "step": self._name, "done": done, "total": total}
            _logger.info("%s: %d of %d", self._name, done, total, extra=about)
