"""What every job begins with: read, clean, settle the day, and see whether it is enough."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import OrdersError
from repurchase.features.ledgers import ledger_of
from repurchase.jobs.books import Books, keep_book
from repurchase.jobs.veil import Veil
from repurchase.orders.accounts import CleaningReport
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.cleaning import Judged, clean_rows, require_sales, today_in
from repurchase.orders.decisions import ReadingDecision, log_line
from repurchase.orders.facts import Facts
from repurchase.orders.named_statuses import notes_on_named_statuses
from repurchase.orders.plausibility import implausible, require_plausible
from repurchase.orders.policy import Rulings, rulings
from repurchase.orders.reading_summary import final_decision
from repurchase.orders.sources import FileRead, OrderLog, open_orders
from repurchase.orders.spill import decisive_columns, partition_bounds, partitions_of, spill_rows, survey_rows
from repurchase.orders.sufficiency import Rule, resolve_as_of, sufficiency, supported_horizons
from repurchase.orders.survey import Forms, Survey
from repurchase.orders.tally import Tally
from repurchase.orders.values import read_values
from repurchase.settings import Settings

__all__ = ["Checked", "Intake", "accepted", "check_orders", "settings_of", "take_in", "workspace"]

logger = logging.getLogger("repurchase")


@dataclass(frozen=True)
class Intake:
    """Orders ready for use.

    Parameters
    ----------
    log : OrderLog
        What was read.
    report : CleaningReport
        What was kept, what was set aside, and why.
    tally : Tally
        The counts it was made of.
    books : Books
        Every customer's days.
    set_aside : LazyFrame
        Rows of the export as text, with ``reason``.
    as_of : date
        Last day known, inclusive.
    decision : ReadingDecision
        Which column was used for what, how it is understood, and why.
    doubts : tuple of OrdersError
        What speaks against the reading; only `check_orders` goes on in spite of them.
    """

    log: OrderLog
    report: CleaningReport
    tally: Tally
    books: Books
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
        """Describe the log for ``run.json`` and MLflow.

        Returns
        -------
        dict
            JSON-able: source, files, digest, layout, days, counts and sales.
        """
        report = self.report
        return {
            "source": self.log.source,
            "files": [_told(file) for file in self.log.files],
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
class Checked:
    """What a log is good for.

    Parameters
    ----------
    intake : Intake
        The log.
    rules : tuple of Rule
        Each condition, and whether it holds.
    horizons : tuple of int
        Days ahead the history supports; empty where it supports none.
    """

    intake: Intake
    rules: tuple[Rule, ...]
    horizons: tuple[int, ...]


def _told(file: FileRead) -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if value is not None}


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a place for what does not fit into memory.

    Yields
    ------
    Path
        A folder among the system's temporary ones, removed in the end.
    """
    with tempfile.TemporaryDirectory(prefix="repurchase-") as folder:
        yield Path(folder)


Progress = Callable[[int, int], None]


class _Settled(NamedTuple):
    """What all rows of a log have settled."""

    forms: Forms
    facts: Facts
    ruled: Rulings


def take_in(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    folder: Path,
    as_of: date | None = None,
    on_progress: Progress | None = None,
    veil: Veil | None = None,
) -> Intake:
    """Read and clean orders, and settle the last day known.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob; or a table or query of a database.
    settings : Settings
        How to read and clean. Where the log would need more memory than ``memory_gb``, its customers are worked
        through in partitions.
    folder : Path
        For what does not fit into memory; must outlive the intake.
    as_of : date, optional
        Last day known; default the last order's day.
    on_progress : callable, optional
        Is told how many partitions are done, and of how many.
    veil : Veil, optional
        Hides customer ids as they are read.

    Returns
    -------
    Intake
        Orders ready for use; the same however many partitions there are.

    Raises
    ------
    OrdersError
        If the orders cannot be read, or the result is not plausible.
    """
    return accepted(_take_in(source, settings=settings, folder=folder, as_of=as_of, on_progress=on_progress, veil=veil))


def accepted(taken: Intake) -> Intake:
    """Log how orders were understood, and refuse them if the result is not plausible.

    Parameters
    ----------
    taken : Intake
        With its decision and doubts.

    Returns
    -------
    Intake
        The same.

    Raises
    ------
    OrdersError
        The first doubt.
    """
    _log_decision(taken.decision)
    require_plausible(taken.doubts)
    return taken


def _log_decision(decision: ReadingDecision) -> None:
    """Log which column was read as what, without values of any column."""
    for role in decision.roles:
        fields = {"role": role.role, "column": role.column, "meaning": role.meaning.key}
        logger.info("%s", log_line(role), extra={"event": "reading", **fields})


def _take_in(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    folder: Path,
    as_of: date | None = None,
    on_progress: Progress | None = None,
    veil: Veil | None = None,
) -> Intake:
    spool = folder / "spool"
    folder.mkdir(exist_ok=True)  # never its parents: an output folder that has gone away is not made anew
    spool.mkdir(exist_ok=True)
    log = open_orders(source, settings=settings, spool=spool)
    log = veil.orders(log) if veil else log
    partitions = partitions_of(log, settings=settings)
    if partitions == 1:
        return _at_once(log, settings, as_of)
    logger.info(
        "%d rows are worked through in %d partitions, to stay within %.1f GB of memory",
        log.n_rows,
        partitions,
        settings.memory_gb,
        extra={"event": "partitions", "rows": log.n_rows, "partitions": partitions, "memory_gb": settings.memory_gb},
    )
    return _in_partitions(
        log, settings, as_of, folder=folder, partitions=partitions, on_progress=on_progress or _untold
    )


def _untold(_done: int, _total: int) -> None:
    return


def _at_once(log: OrderLog, settings: Settings, as_of: date | None) -> Intake:
    rows = log.read()
    forms = Survey.of(rows, log.layout).decide(log.layout, settings=settings, source=log.source)
    reading = read_values(rows, log.layout, forms, settings=settings)
    ruled = _rulings(reading.facts, log, settings)
    judged = clean_rows(rows, reading, log.layout, ruled, settings=settings)
    notes_on_named_statuses(judged.tally, log.layout, settings=settings, source=log.source)
    require_sales(judged.tally, source=log.source)
    day = resolve_as_of(judged.tally.days, as_of=as_of)
    book = replace(ledger_of(judged.kept, observed_until=day), has_amounts=ruled.has_amounts, no_sale=judged.no_sale)
    books = Books((book.until(day),), day, ruled.has_amounts)
    return _intake(
        log,
        judged.tally,
        books,
        judged.set_aside.lazy(),
        settled=_Settled(forms, reading.facts, ruled),
        settings=settings,
    )


def _in_partitions(
    log: OrderLog, settings: Settings, as_of: date | None, *, folder: Path, partitions: int, on_progress: Progress
) -> Intake:
    layout = log.layout
    survey, ids = survey_rows(log.batches(decisive_columns(log.schema, layout)), layout)
    forms = survey.decide(layout, settings=settings, source=log.source)
    bounds = partition_bounds(ids, partitions=partitions)
    spill, facts = spill_rows(log.batches(), layout, forms, bounds, folder / "rows", settings=settings)
    ruled = _rulings(facts, log, settings)
    tally, kept, aside = Tally(), [], []
    for number in spill:
        rows = spill.rows(number)
        spill.remove(number)
        judged = clean_rows(rows, read_values(rows, layout, forms, settings=settings), layout, ruled, settings=settings)
        tally += judged.tally
        kept.append(_keep(judged, folder / "books" / f"{number:05d}", ruled))
        aside.append(_keep_aside(judged, folder / "aside" / f"{number:05d}.parquet"))
        on_progress(number + 1, spill.partitions)
    notes_on_named_statuses(tally, layout, settings=settings, source=log.source)
    require_sales(tally, source=log.source)
    day = resolve_as_of(tally.days, as_of=as_of)
    books = Books(tuple(book for book in kept if book), day, ruled.has_amounts)
    set_aside = pl.concat([pl.scan_parquet(part, glob=False, hive_partitioning=False) for part in aside])
    return _intake(log, tally, books, set_aside, settled=_Settled(forms, facts, ruled), settings=settings)


def _keep(judged: Judged, folder: Path, ruled: Rulings) -> Path | None:
    if not judged.kept.height and not judged.no_sale.height:
        return None
    book = ledger_of(judged.kept, observed_until=max(judged.tally.days, default=date.max))
    return keep_book(replace(book, has_amounts=ruled.has_amounts, no_sale=judged.no_sale), folder)


def _keep_aside(judged: Judged, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    judged.set_aside.write_parquet(path)
    return path


def _rulings(facts: Facts, log: OrderLog, settings: Settings) -> Rulings:
    return rulings(facts, log.layout, settings=settings, source=log.source, today=today_in(settings))


def _intake(
    log: OrderLog, tally: Tally, books: Books, set_aside: pl.LazyFrame, *, settled: _Settled, settings: Settings
) -> Intake:
    forms, facts, ruled = settled
    named = notes_on_named_statuses(tally, log.layout, settings=settings, source=log.source)
    notes = (*log.notes, *forms.notes, *facts.notes(log.layout), *named)
    report = tally.report(log.layout, ruled, notes=notes)
    decision = final_decision(log.layout, forms, tally)
    files = tuple(Path(file.path).name for file in log.files)
    doubts = implausible(tally, log.layout, files=files, settings=settings, source=log.source)
    return Intake(log, report, tally, books, set_aside, books.as_of, decision, doubts)


def check_orders(
    source: str | DatabaseSource, *, settings: Settings, folder: Path, as_of: date | None = None
) -> Checked:
    """Say what a log is good for; writes nothing that stays.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob; or a table or query of a database.
    settings : Settings
        How to read and clean, and what is asked for.
    folder : Path
        For what does not fit into memory.
    as_of : date, optional
        Last day known.

    Returns
    -------
    Checked
        Rules and horizons.
    """
    intake = _take_in(source, settings=settings, folder=folder, as_of=as_of)
    rules = sufficiency(intake.books.whole().extent(intake.as_of), settings=settings)
    history = next((rule for rule in rules if rule.name == "history"), None)
    first = intake.report.first_day
    if first is None or (history is not None and not history.holds):
        return Checked(intake, rules, ())
    return Checked(intake, rules, supported_horizons(first_day=first, as_of=intake.as_of, settings=settings))


def settings_of(settings: Settings, remembered: Mapping[str, Any]) -> Settings:
    """Fill what a run was not told with what the model's own orders were cleaned with.

    Parameters
    ----------
    settings : Settings
        Told now.
    remembered : mapping
        From the bundle's manifest.

    Returns
    -------
    Settings
        What is told now and differs from the default wins.
    """
    default = Settings()
    untold = {
        name: value
        for name, value in remembered.items()
        if hasattr(default, name) and getattr(settings, name) == getattr(default, name)
    }
    return replace(settings, **untold)
