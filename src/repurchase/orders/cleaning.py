"""The cleaning pipeline, in memory or by partitions of customers on disk."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import ceil
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from repurchase.errors import OrdersError, first_few
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
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.orders.log import OrderLog, RawOrders
from repurchase.orders.values import LogStatistics, OrderValues, read_customers, read_values
from repurchase.schemas import ORDERS, Frame, as_polars
from repurchase.settings import Settings

_DESCRIBING = ("product_id", "category", "quantity", "discount", "channel")
_NO_SALE = ("cancelled_order", "zero_total", *NETTED)
_SORTED_BY = ("customer_id", "order_date", "order_id", "product_id", "amount", "quantity")


@dataclass(frozen=True)
class CleanOrders:
    """Orders, what was set aside, and the account of both."""

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
        If a frame's columns cannot be told apart.

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
    forms = FormatEvidence.of(log.rows, log.layout).decide(log.layout, settings=settings, source=log.source)
    reading = read_values(log.rows, log.layout, forms, settings=settings)
    day = today or today_in(settings)
    ruled = decide_rules(reading.facts, log.layout, settings=settings, source=log.source, today=day)
    judged = clean_rows(log.rows, reading, log.layout, ruled, settings=settings)
    require_sales(judged.tally, source=log.source)
    notes = (*log.notes, *forms.notes, *reading.facts.notes(log.layout))
    report = judged.tally.report(log.layout, ruled, notes=notes)
    return CleanOrders(_orders(judged.kept, log), judged.set_aside, report)


@dataclass(frozen=True)
class CleanedRows:
    """Rows after cleaning: all rows of some customers."""

    kept: pl.DataFrame
    set_aside: pl.DataFrame
    tally: CleaningCounts
    no_sale: pl.DataFrame


def clean_rows(
    raw: pl.DataFrame, reading: OrderValues, layout: Layout, ruled: CleaningRules, *, settings: Settings
) -> CleanedRows:
    """Clean all rows of some customers, by what all rows of the log have settled."""
    plain = raw.drop(FILE_COLUMN, strict=False)
    rows = classify_rows(plain, reading, layout, ruled, settings=settings)
    rows = rows.with_columns(_treatment(settings, ruled.has_amounts))
    tally = CleaningCounts.of(rows, raw, layout, ruled)
    kept = rows.filter(pl.col("treatment") != "set_aside")
    amount = pl.col("amount") if ruled.has_amounts else pl.lit(None, pl.Float64).alias("amount")
    given = [role for role in _DESCRIBING if role in layout.columns]
    charged = pl.when(counts_as_order(layout)).then(pl.coalesce("gross", "amount")).otherwise(0.0).alias("charged")
    named = kept.select("row", "customer_id", "order_id", "order_date", amount, charged, sale_dates(kept), *given)
    return CleanedRows(named, _set_aside(rows, plain), tally, _no_sale(rows))


def require_sales(tally: CleaningCounts, *, source: str) -> None:
    """Refuse a log without a single sale."""
    if not tally.n_kept:
        found = [reason for reason in tally.reasons if reason.rows]
        why = first_few(f"{reason.words} ({reason.rows:,} row{'s' * (reason.rows > 1)})" for reason in found)
        raise OrdersError(
            f"{source}: none of the {tally.n_raw:,} rows is a sale: {why}. Check the export and its columns."
        )


def today_in(settings: Settings) -> date:
    """Say what day it is."""
    zone = ZoneInfo(settings.timezone) if settings.timezone else LATEST_ZONE
    return datetime.now(tz=UTC).astimezone(zone).date()


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
    # Into the form of ``tables.ORDERS``, sorted, with the export's further columns beside it.
    ordered = kept.sort([name for name in _SORTED_BY if name in kept.columns], nulls_last=True, maintain_order=True)
    further = _further_columns(log, taken=ordered.columns)
    beside = log.rows[ordered["row"]].select(pl.col(name).alias(own) for name, own in further.items())
    return ORDERS.check(pl.concat([ordered.drop("row"), beside], how="horizontal"))


def _further_columns(log: RawOrders, *, taken: Sequence[str]) -> dict[str, str]:
    ours = {"customer_id", "order_id", "order_date", "amount", *_DESCRIBING}
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
_VALUES_HELD = 8
"""Values of a row besides its columns: what is made of them."""
_AT_REST_GB = 0.6
"""What the program needs with the smallest log."""
_LEAST_GB = 0.1
SAMPLED_PER_BATCH = 2_000
_BUCKET = "_partition"


def partitions_needed(n_rows: int, n_columns: int, *, memory_gb: float) -> int:
    """Say in how many partitions a log is to be worked through."""
    needed_gb = n_rows * (n_columns + _VALUES_HELD) * _BYTES_PER_VALUE / 1e9
    return max(1, ceil(needed_gb / max(memory_gb - _AT_REST_GB, _LEAST_GB)))


def partitions_of(log: OrderLog, *, settings: Settings) -> int:
    """Say in how many partitions a log is to be worked through on this machine."""
    if log.layout.first_line_only:
        return 1
    return settings.partitions or partitions_needed(log.n_rows, len(log.schema), memory_gb=settings.memory_gb)


def decisive_columns(schema: Mapping[str, pl.DataType], layout: Layout) -> list[str]:
    """Name the columns that `survey_rows` must see."""
    customers = [layout.columns[role] for role in ("customer_id", "customer_fallback") if role in layout.columns]
    return list(dict.fromkeys([*customers, *untyped_columns(schema, layout)]))


def collect_format_evidence(batches: Iterable[pl.DataFrame], layout: Layout) -> tuple[FormatEvidence, pl.Series]:
    """Look once at the columns that decide something, and at some customers."""
    survey, ids = FormatEvidence(), [pl.Series(dtype=pl.String)]
    for batch in batches:
        survey += FormatEvidence.of(batch, layout)
        step = max(1, batch.height // SAMPLED_PER_BATCH)
        ids.append(read_customers(batch.gather_every(step), layout).rename(""))
    return survey, pl.concat(ids).drop_nulls()


def partition_bounds(sampled_ids: pl.Series, *, partitions: int) -> pl.Series:
    """Choose the ranges of customer ids."""
    ordered = sampled_ids.sort()
    places = sorted({len(ordered) * number // partitions for number in range(1, partitions)})
    return ordered.gather(places).unique().sort() if len(ordered) else ordered


@dataclass(frozen=True)
class _Partitions:
    """Rows of a log on disk, by partition."""

    folder: Path
    partitions: int

    def rows(self, number: int) -> pl.DataFrame:
        """Read a partition."""
        return pl.concat(
            [pl.scan_ipc(file, glob=False).collect() for file in sorted(_folder(self.folder, number).iterdir())]
        )

    def remove(self, number: int) -> None:
        """Give the disk space of a partition back."""
        for file in _folder(self.folder, number).iterdir():
            file.unlink()

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(self.partitions) if any(_folder(self.folder, number).iterdir()))


def partition_rows(
    batches: Iterable[pl.DataFrame],
    layout: Layout,
    forms: ColumnFormats,
    bounds: pl.Series,
    folder: Path,
    *,
    settings: Settings,
) -> tuple[_Partitions, LogStatistics]:
    """Put every row into its customer's partition, and gather what must be known of all rows."""
    spill, facts = _Partitions(folder, len(bounds) + 1), LogStatistics()
    folder.mkdir(exist_ok=True)
    for number in range(spill.partitions):
        _folder(folder, number).mkdir()
    for count, batch in enumerate(batches):
        reading = read_values(batch, layout, forms, settings=settings)
        facts += reading.facts
        bucket = bounds.search_sorted(reading.rows["customer_id"], side="right").fill_null(0)
        placed = batch.with_columns(bucket.alias(_BUCKET))
        for (number,), rows in placed.partition_by(_BUCKET, as_dict=True, include_key=False).items():
            rows.write_ipc(_folder(folder, int(str(number))) / f"{count:06d}.arrow")
    return spill, facts


def _folder(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"
