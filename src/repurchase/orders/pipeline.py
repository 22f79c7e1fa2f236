"""The cleaning pipeline: raw rows, column formats, values, cleaning rules, clean orders and the report.

Formats are decided by `FormatEvidence` of all rows, rules by `LogStatistics` of all rows; `CleaningCounts` make the
report. All three add up over any split of the rows, so a log is cleaned at once, in partitions of its customers on
disk, or on a cluster by the same steps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import ceil
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.i18n.messages import Message, render
from repurchase.orders.checks import complete_decision, find_implausible, notes_on_named_statuses
from repurchase.orders.cleaning_report import CleaningCounts, CleaningReport
from repurchase.orders.cleaning_rules import (
    NETTED,
    CleaningRules,
    classify_rows,
    counts_as_order,
    decide_rules,
    sale_dates,
)
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.dates import LATEST_ZONE
from repurchase.orders.format_inference import ColumnFormats, FormatEvidence, untyped_columns
from repurchase.orders.layout import FILE_COLUMN, Layout, ReadingDecision
from repurchase.orders.log import OrderLog, RawOrders
from repurchase.orders.values import LogStatistics, OrderValues, read_customers, read_values
from repurchase.schemas import ORDERS, Frame, as_polars
from repurchase.settings import Settings

_DESCRIPTIVE = ("product_id", "category", "quantity", "discount", "channel")
_NO_SALE = ("cancelled_order", "zero_total", *NETTED)
_SORTED_BY = ("customer_id", "order_date", "order_id", "product_id", "amount", "quantity")

_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CleanOrders:
    """Orders, the rows that were set aside, and the report of both."""

    orders: pl.DataFrame
    set_aside: pl.DataFrame
    report: CleaningReport


def clean_orders(raw: RawOrders | Frame, *, settings: Settings | None = None, today: date | None = None) -> CleanOrders:
    """Make orders of an export's rows.

    Parameters
    ----------
    raw : RawOrders, DataFrame or pyarrow.Table
        What ``read_orders`` gave, or a frame whose columns can be recognised.
    settings : Settings, optional
        Columns, time zone, date order, currency, and what to do with duplicates and returns.
    today : date, optional
        Later dates are in the future; default the present day in the configured zone.

    Returns
    -------
    CleanOrders
        Orders in a fixed order (customer, time, order, product), the rest with reasons, and the report.

    Raises
    ------
    OrdersError
        If every customer is missing, most dates or amounts cannot be read, there are two currencies, or
        nothing is left.
    LayoutError
        If a frame's columns cannot be identified.

    Examples
    --------
    >>> log = pl.DataFrame({
    ...     "customer_id": ["7.0", "7", None], "order_date": ["2024-01-31", "2024-02-29", "2024-03-01"],
    ...     "amount": ["10", "-10", "5"]})
    >>> clean = clean_orders(log)
    >>> clean.orders["customer_id"].to_list(), clean.orders["amount"].to_list()
    (['7', '7'], [10.0, -10.0])
    >>> [(why.reason, why.rows, why.treatment) for why in clean.report.reasons]
    [('missing_customer', 1, 'set_aside'), ('return', 1, 'netted')]
    >>> clean_orders(pl.DataFrame({"customer_id": ["a"], "order_date": ["soon"]}))
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: orders: 1 of 1 dates in column 'order_date' cannot be read: 'soon'. Expected dates \
such as 2024-01-31, 31.12.2024 or 12/31/2024. Name the right column: --columns order_date=...
    """
    settings = settings or Settings()
    log = raw if isinstance(raw, RawOrders) else _as_raw(raw, settings)
    cleaner, cleaned = _clean_at_once(log.rows, log, settings=settings, today=today)
    return CleanOrders(_orders(cleaned.kept, log), cleaned.set_aside, cleaner.report(cleaned.counts))


@dataclass(frozen=True)
class CleanedRows:
    """All rows of some customers after cleaning."""

    raw: pl.DataFrame
    kept: pl.DataFrame
    set_aside: pl.DataFrame
    no_sale: pl.DataFrame
    counts: CleaningCounts


@dataclass(frozen=True)
class CleaningResult:
    """What the cleaning of a whole log shows: the report, the reading decision and reasons to refuse the log."""

    report: CleaningReport
    counts: CleaningCounts
    decision: ReadingDecision
    problems: tuple[OrdersError, ...] = ()


@dataclass(frozen=True)
class ValueReader:
    """Reads values from any rows of a log whose column formats are decided."""

    source: str
    layout: Layout
    settings: Settings
    formats: ColumnFormats
    notes: tuple[Message, ...] = ()
    files: tuple[str, ...] = ()

    @classmethod
    def from_evidence(cls, evidence: FormatEvidence, log: OrderLog | RawOrders, *, settings: Settings) -> "ValueReader":
        """Decide the column formats of a log by the evidence of all its rows."""
        formats = evidence.decide(log.layout, settings=settings, source=log.source)
        files = tuple(Path(file.path).name for file in log.files)
        return cls(log.source, log.layout, settings, formats, log.notes, files)

    def read(self, rows: pl.DataFrame) -> OrderValues:
        """Read the values of some rows."""
        return read_values(rows, self.layout, self.formats, settings=self.settings)

    def decide_rules(self, statistics: LogStatistics, *, today: date | None = None) -> "OrderCleaner":
        """Decide the cleaning rules by the statistics of all rows."""
        day = today or today_in(self.settings)
        rules = decide_rules(statistics, self.layout, settings=self.settings, source=self.source, today=day)
        return OrderCleaner(self, statistics, rules)


@dataclass(frozen=True)
class OrderCleaner:
    """Cleans any customers' rows of a log whose cleaning rules are decided, and reports on all of them."""

    reader: ValueReader
    statistics: LogStatistics
    rules: CleaningRules

    def clean(self, raw: pl.DataFrame, values: OrderValues | None = None) -> CleanedRows:
        """Clean all rows of some customers."""
        layout, settings, rules = self.reader.layout, self.reader.settings, self.rules
        plain = raw.drop(FILE_COLUMN, strict=False)
        rows = classify_rows(plain, values or self.reader.read(raw), layout, rules, settings=settings)
        rows = rows.with_columns(_treatment(settings, rules.has_amounts))
        counts = CleaningCounts.of(rows, raw, layout, rules)
        kept = rows.filter(pl.col("treatment") != "set_aside")
        amount = pl.col("amount") if rules.has_amounts else pl.lit(None, pl.Float64).alias("amount")
        given = [role for role in _DESCRIPTIVE if role in layout.columns]
        charged = pl.when(counts_as_order(layout)).then(pl.coalesce("gross", "amount")).otherwise(0.0).alias("charged")
        named = kept.select("row", "customer_id", "order_id", "order_date", amount, charged, sale_dates(kept), *given)
        return CleanedRows(raw, named, _set_aside(rows, plain), _no_sale(rows), counts)

    def report(self, counts: CleaningCounts, *, notes: Sequence[Message] = ()) -> CleaningReport:
        """Report on all rows; a log without a single sale is refused."""
        reader = self.reader
        _require_sales(counts, source=reader.source)
        found = (*reader.notes, *reader.formats.notes, *self.statistics.notes(reader.layout), *notes)
        return counts.report(reader.layout, self.rules, notes=found)

    def summarize(self, counts: CleaningCounts) -> CleaningResult:
        """Report on all rows, complete the reading decision, and find what speaks against it."""
        layout, settings, source = self.reader.layout, self.reader.settings, self.reader.source
        notes = notes_on_named_statuses(counts, layout, settings=settings, source=source)
        return CleaningResult(
            self.report(counts, notes=notes),
            counts,
            complete_decision(layout, self.reader.formats, counts),
            find_implausible(counts, layout, files=self.reader.files, settings=settings, source=source),
        )


def clean_log(
    log: OrderLog, *, settings: Settings, folder: Path, on_progress: _Progress | None = None
) -> tuple[OrderCleaner, Iterator[CleanedRows]]:
    """Clean an opened log, at once or in partitions of its customers that are kept in a folder meanwhile."""
    partitions = count_partitions(log, settings=settings)
    if partitions == 1:
        cleaner, cleaned = _clean_at_once(log.read(), log, settings=settings)
        return cleaner, iter([cleaned])
    evidence, ids = _collect_evidence(log.batches(deciding_columns(log.schema, log.layout)), log.layout)
    reader = ValueReader.from_evidence(evidence, log, settings=settings)
    stored = _Partitions(folder, partition_bounds(ids, partitions=partitions))
    cleaner = reader.decide_rules(stored.write(log.batches(), reader))
    return cleaner, _clean_partitions(stored, cleaner, on_progress)


def _clean_at_once(
    rows: pl.DataFrame, log: OrderLog | RawOrders, *, settings: Settings, today: date | None = None
) -> tuple[OrderCleaner, CleanedRows]:
    reader = ValueReader.from_evidence(FormatEvidence.of(rows, log.layout), log, settings=settings)
    values = reader.read(rows)
    cleaner = reader.decide_rules(values.statistics, today=today)
    return cleaner, cleaner.clean(rows, values)


def _clean_partitions(
    stored: "_Partitions", cleaner: OrderCleaner, on_progress: _Progress | None
) -> Iterator[CleanedRows]:
    for number in stored:
        yield cleaner.clean(stored.take(number))
        if on_progress:
            on_progress(number + 1, len(stored))


def _collect_evidence(batches: Iterable[pl.DataFrame], layout: Layout) -> tuple[FormatEvidence, pl.Series]:
    """Read the columns that decide something once, and sample customers."""
    evidence, ids = FormatEvidence(), [pl.Series(dtype=pl.String)]
    for batch in batches:
        evidence += FormatEvidence.of(batch, layout)
        ids.append(sample_customers(batch, layout))
    return evidence, pl.concat(ids)


def today_in(settings: Settings) -> date:
    """Find the present day in the configured zone."""
    zone = ZoneInfo(settings.timezone) if settings.timezone else LATEST_ZONE
    return datetime.now(tz=UTC).astimezone(zone).date()


def _require_sales(counts: CleaningCounts, *, source: str) -> None:
    if not counts.n_kept:
        found = [reason for reason in counts.reasons if reason.rows]
        why = first_few(
            f"{render(reason.message, locale='en')} ({reason.rows:,} row{'s' * (reason.rows > 1)})" for reason in found
        )
        raise OrdersError(
            f"{source}: none of the {counts.n_raw:,} rows is a sale: {why}. Check the export and its columns."
        )


def _as_raw(frame: Frame, settings: Settings) -> RawOrders:
    rows = as_polars(frame)
    if rows.is_empty():
        raise OrdersError(f"orders: no rows. Found the columns {first_few(rows.columns, shown=12)}.")
    layout = detect_layout(rows, named=settings.columns)
    return RawOrders(rows=rows, layout=layout, files=(), digest="", notes=layout.notes)


def _treatment(settings: Settings, has_amounts: bool) -> pl.Expr:
    nettable = pl.col("reason").is_in(NETTED) & pl.lit(settings.returns == "net" and has_amounts)
    named = pl.when(nettable).then(pl.lit("netted")).otherwise(pl.lit("set_aside"))
    return pl.when(pl.col("reason").is_null()).then(pl.lit("kept")).otherwise(named).alias("treatment")


def _orders(kept: pl.DataFrame, log: RawOrders) -> pl.DataFrame:
    """Sort clean orders, and put the export's further columns next to them."""
    ordered = kept.sort([name for name in _SORTED_BY if name in kept.columns], nulls_last=True, maintain_order=True)
    further = _further_columns(log, taken=ordered.columns)
    beside = log.rows[ordered["row"]].select(pl.col(name).alias(own) for name, own in further.items())
    return ORDERS.check(pl.concat([ordered.drop("row"), beside], how="horizontal"))


def _further_columns(log: RawOrders, *, taken: Sequence[str]) -> dict[str, str]:
    ours = {"customer_id", "order_id", "order_date", "amount", *_DESCRIPTIVE}
    used = {column for role, column in log.layout.columns.items() if role in ours}
    free = [name for name in log.rows.columns if name not in {*used, "sale_date", "charged", FILE_COLUMN}]
    return {name: f"{name}_in_export" if name in {*taken, *ORDERS.names} else name for name in free}


def _no_sale(rows: pl.DataFrame) -> pl.DataFrame:
    aside = rows.filter((pl.col("treatment") == "set_aside") & pl.col("reason").is_in(_NO_SALE))
    return aside.group_by("customer_id").agg(day=pl.col("order_date").dt.date().min()).sort("customer_id")


def _set_aside(rows: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    aside = rows.filter(pl.col("treatment") == "set_aside")
    text = raw[aside["row"]].rename({"reason": "reason_in_export"} if "reason" in raw.columns else {})
    return text.select(pl.all().cast(pl.String)).with_columns(aside["reason"])


_BYTES_PER_VALUE = 80
"""Memory that a value of a log needs at most while its rows are cleaned, as measured."""
_EXTRA_VALUES = 8
"""Values made of a row, in addition to its columns."""
_BASE_MEMORY_GB = 0.6
"""What the program needs with the smallest log."""
_MIN_ROW_MEMORY_GB = 0.1
_CUSTOMERS_PER_BATCH = 2_000
_PARTITION_COLUMN = "_partition"


def partitions_needed(n_rows: int, n_columns: int, *, memory_gb: float) -> int:
    """Count the partitions in which a log stays within some memory."""
    needed_gb = n_rows * (n_columns + _EXTRA_VALUES) * _BYTES_PER_VALUE / 1e9
    return max(1, ceil(needed_gb / max(memory_gb - _BASE_MEMORY_GB, _MIN_ROW_MEMORY_GB)))


def count_partitions(log: OrderLog, *, settings: Settings) -> int:
    """Count the partitions in which a log is cleaned on this machine."""
    if log.layout.first_line_only:
        return 1
    return settings.partitions or partitions_needed(log.n_rows, len(log.schema), memory_gb=settings.memory_gb)


def deciding_columns(schema: Mapping[str, pl.DataType], layout: Layout) -> list[str]:
    """Name the columns that decide formats and partitions."""
    return list(dict.fromkeys([*layout.customer_columns, *untyped_columns(schema, layout)]))


def sample_customers(batch: pl.DataFrame, layout: Layout) -> pl.Series:
    """Sample customer ids of a batch of rows."""
    step = max(1, batch.height // _CUSTOMERS_PER_BATCH)
    return read_customers(batch.gather_every(step), layout).rename("").drop_nulls()


def partition_bounds(sampled_ids: pl.Series, *, partitions: int) -> pl.Series:
    """Choose the ranges of customer ids."""
    ordered = sampled_ids.sort()
    places = sorted({len(ordered) * number // partitions for number in range(1, partitions)})
    return ordered.gather(places).unique().sort() if len(ordered) else ordered


@dataclass(frozen=True)
class _Partitions:
    """Rows of a log on disk, by ranges of customer ids."""

    folder: Path
    bounds: pl.Series

    def __len__(self) -> int:
        return len(self.bounds) + 1

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(len(self)) if any(self._part(number).iterdir()))

    def write(self, batches: Iterable[pl.DataFrame], reader: ValueReader) -> LogStatistics:
        """Write every row into its customer's partition, and collect the statistics of all rows."""
        statistics = LogStatistics()
        self.folder.mkdir(exist_ok=True)
        for number in range(len(self)):
            self._part(number).mkdir()
        for count, batch in enumerate(batches):
            values = reader.read(batch)
            statistics += values.statistics
            places = self.bounds.search_sorted(values.rows["customer_id"], side="right").fill_null(0)
            placed = batch.with_columns(places.alias(_PARTITION_COLUMN))
            for (part,), rows in placed.partition_by(_PARTITION_COLUMN, as_dict=True, include_key=False).items():
                rows.write_ipc(self._part(int(str(part))) / f"{count:06d}.arrow")
        return statistics

    def take(self, number: int) -> pl.DataFrame:
        """Read a partition, and give its disk space back."""
        files = sorted(self._part(number).iterdir())
        rows = pl.concat([pl.scan_ipc(file, glob=False).collect() for file in files])
        for file in files:
            file.unlink()
        return rows

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:05d}"
