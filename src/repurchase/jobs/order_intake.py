"""What every job begins with: read and clean orders into ledgers, settle `as_of`, report progress."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from repurchase.errors import InputError
from repurchase.features.ledger import Ledger, build_ledger_from_clean, concat_ledgers
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.orders.checks import (
    SufficiencyRule,
    require_plausible,
    resolve_as_of,
    sufficiency,
    supported_horizons,
)
from repurchase.orders.cleaning_report import CleaningCounts, CleaningReport
from repurchase.orders.layout import ReadingDecision, log_line
from repurchase.orders.log import FileRead, OrderLog, open_orders
from repurchase.orders.pipeline import CleanedRows, CleaningResult, clean_log, count_partitions
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
        ledger = self.kept[number]
        return ledger if isinstance(ledger, Ledger) else self._read(ledger)

    def __iter__(self) -> Iterator[Ledger]:
        return (self[number] for number in range(len(self)))

    def whole(self) -> Ledger:
        """Put all ledgers together."""
        return concat_ledgers(self)

    def _read(self, path: Path) -> Ledger:
        entries = pl.scan_ipc(path / _ENTRIES_FILE, glob=False).collect()
        ids = pl.scan_ipc(path / _IDS_FILE, glob=False).collect().to_series()
        no_sale = pl.scan_ipc(path / _NO_SALE_FILE, glob=False).collect() if (path / _NO_SALE_FILE).is_file() else None
        return Ledger(ids, entries, self.as_of, self.has_amounts, no_sale=no_sale).until(self.as_of)


_ENTRIES_FILE, _IDS_FILE, _NO_SALE_FILE = "entries.arrow", "ids.arrow", "no_sale.arrow"


def _write_ledger(ledger: Ledger, folder: Path) -> Path:
    """Write a ledger to disk."""
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    ledger.ids.to_frame().write_ipc(folder / _IDS_FILE)
    ledger.entries.write_ipc(folder / _ENTRIES_FILE)
    if ledger.no_sale is not None:
        ledger.no_sale.write_ipc(folder / _NO_SALE_FILE)
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
    cleaning: CleaningResult
    ledgers: LedgerPartitions
    set_aside: pl.LazyFrame

    @property
    def report(self) -> CleaningReport:
        """The report on all rows."""
        return self.cleaning.report

    @property
    def as_of(self) -> date:
        """The last observed day, inclusive."""
        return self.ledgers.as_of

    @property
    def counts(self) -> dict[str, int]:
        """Rows, customers and partitions, for the log of a step."""
        report = self.report
        return {
            "rows": report.n_raw,
            "rows_kept": report.n_kept,
            "customers": report.n_customers,
            "partitions": len(self.ledgers),
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
            "reading": self.cleaning.decision.to_dict(),
            "first_order_date": report.first_day and report.first_day.isoformat(),
            "last_order_date": report.last_day and report.last_day.isoformat(),
            "n_customers": report.n_customers,
            "n_orders": report.n_orders,
            "sales_total": round(self.cleaning.counts.sales_total, 2) if report.has_amounts else None,
        }


@dataclass(frozen=True)
class OrderCheck:
    """What a log is sufficient for."""

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


class OrderEngine(Protocol):
    """What reads and cleans orders outside this process."""

    def load_orders(
        self,
        source: str | DatabaseSource,
        *,
        settings: Settings,
        folder: Path,
        as_of: date | None = None,
        pseudonymizer: Pseudonymizer | None = None,
    ) -> Intake:
        """Read and clean orders, and settle the last observed day."""


def load_orders(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    folder: Path,
    as_of: date | None = None,
    pseudonymizer: Pseudonymizer | None = None,
    steps: "Steps | None" = None,
    engine: OrderEngine | None = None,
) -> Intake:
    """Read and clean orders, and settle the last observed day; a step of the job, here or on a cluster."""
    steps = steps or LogSteps()
    with steps.step("Reading and cleaning orders") as counts:
        read = engine.load_orders if engine else partial(_load_orders, on_progress=steps.progress)
        intake = read(source, settings=settings, folder=folder, as_of=as_of, pseudonymizer=pseudonymizer)
        _log_decision(intake.cleaning.decision)
        require_plausible(intake.cleaning.problems)
        counts.update(intake.counts)
    return intake


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
    pseudonymizer: Pseudonymizer | None = None,
) -> Intake:
    spool = folder / "spool"
    folder.mkdir(exist_ok=True)  # never its parents: an output folder that has gone away is not made anew
    spool.mkdir(exist_ok=True)
    log = open_orders(source, settings=settings, spool=spool)
    log = pseudonymizer.orders(log) if pseudonymizer else log
    partitions = count_partitions(log, settings=settings)
    if partitions > 1:
        _logger.info(
            "%d rows are worked through in %d partitions, to stay within %.1f GB of memory",
            log.n_rows,
            partitions,
            settings.memory_gb,
            extra={
                "event": "partitions",
                "rows": log.n_rows,
                "partitions": partitions,
                "memory_gb": settings.memory_gb,
            },
        )
    cleaner, cleaned = clean_log(log, settings=settings, folder=folder / "rows", on_progress=on_progress)
    store = _PartitionStore(folder if partitions > 1 else None, has_amounts=cleaner.rules.has_amounts)
    for rows in cleaned:
        store.add(rows)
    cleaning = cleaner.summarize(store.counts)
    return Intake(log, cleaning, store.ledgers(resolve_as_of(store.counts.days, as_of=as_of)), store.set_aside())


class _PartitionStore:
    """Ledgers and rows set aside of one partition after the other, on disk where there are several."""

    def __init__(self, folder: Path | None, *, has_amounts: bool) -> None:
        self.counts = CleaningCounts()
        self._folder, self._has_amounts = folder, has_amounts
        self._ledgers: list[Ledger | Path] = []
        self._set_aside: list[pl.LazyFrame] = []

    def add(self, rows: CleanedRows) -> None:
        """Add all rows of some customers."""
        self.counts += rows.counts
        ledger = build_ledger_from_clean(rows.kept, observed_until=max(rows.counts.days, default=date.max))
        ledger = replace(ledger, has_amounts=self._has_amounts, no_sale=rows.no_sale)
        if self._folder is None:
            self._ledgers.append(ledger)
            self._set_aside.append(rows.set_aside.lazy())
            return
        name = f"{len(self._set_aside):05d}"
        if rows.kept.height or rows.no_sale.height:
            self._ledgers.append(_write_ledger(ledger, self._folder / "ledgers" / name))
        path = self._folder / "set_aside" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        rows.set_aside.write_parquet(path)
        self._set_aside.append(pl.scan_parquet(path, glob=False, hive_partitioning=False))

    def ledgers(self, as_of: date) -> LedgerPartitions:
        """All ledgers as of a day."""
        kept = tuple(
            replace(ledger, observed_until=as_of).until(as_of) if isinstance(ledger, Ledger) else ledger
            for ledger in self._ledgers
        )
        return LedgerPartitions(kept, as_of, self._has_amounts)

    def set_aside(self) -> pl.LazyFrame:
        """All rows that were set aside."""
        return pl.concat(self._set_aside)


def check_orders(
    source: str | DatabaseSource, *, settings: Settings, folder: Path, as_of: date | None = None
) -> OrderCheck:
    """Check what a log is sufficient for; writes nothing that stays."""
    intake = _load_orders(source, settings=settings, folder=folder, as_of=as_of)
    rules = sufficiency(intake.ledgers.whole().extent(intake.as_of), settings=settings)
    history = next((rule for rule in rules if rule.name == "history"), None)
    first = intake.report.first_day
    if first is None or (history is not None and not history.holds):
        return OrderCheck(intake, rules, ())
    return OrderCheck(intake, rules, supported_horizons(first_day=first, as_of=intake.as_of, settings=settings))


def with_model_settings(settings: Settings, remembered: Mapping[str, Any]) -> Settings:
    """Fill settings that have their defaults with those that the model's own orders were cleaned with."""
    default = Settings()
    unset = {
        name: value
        for name, value in remembered.items()
        if hasattr(default, name) and getattr(settings, name) == getattr(default, name)
    }
    return replace(settings, **unset)


class Steps(Protocol):
    """What shows or logs the steps of a job."""

    timings_seconds: dict[str, float]

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Show that a step runs, and how long it took."""

    def progress(self, done: int, total: int) -> None:
        """Show how far the current step is."""


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
