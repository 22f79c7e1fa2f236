"""Dates that have a type already, in Parquet files and databases, where the type holds what Polars cannot convert."""

import re
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["drop_impossible_dates", "frame_from_arrow", "unsupported_zones"]

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Days since 1970 of the years 1 and 9999, all that Python's dates hold."""
_MOST = 2**63 - 1
_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_OFFSET = re.compile(r"^([+-])(\d\d):?(\d\d)$")


def drop_impossible_dates(values: pl.Series) -> pl.Series:
    """Remove typed dates outside the years 1 to 9999, which Python does not hold and Polars cannot print.

    Parameters
    ----------
    values : Series
        As a Parquet file or a database holds them, such as the year 0 or 20240; other types are given back as they are.

    Returns
    -------
    Series
        Of the same type; null for those.

    Examples
    --------
    >>> drop_impossible_dates(pl.Series([19_000, 2**31 - 1], dtype=pl.Int32).cast(pl.Date)).to_list()
    [datetime.date(2022, 1, 8), None]
    """
    if not isinstance(values.dtype, pl.Date | pl.Datetime):
        return values
    unit = _A_DAY[values.dtype.time_unit] if isinstance(values.dtype, pl.Datetime) else 1
    counted = values.to_physical()
    possible = counted.is_between(max(_FIRST_DAY * unit, -_MOST), min(_LAST_DAY * unit, _MOST))
    if possible.all():
        return values
    return counted.set(~possible.fill_null(value=True), None).cast(values.dtype)


def unsupported_zones(schema: "pa.Schema") -> tuple[str, ...]:
    """Find timestamp columns in zones that Polars does not know, such as ``+05:30``, and stops at.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of a file (``pyarrow.parquet.read_schema``) or a result.

    Returns
    -------
    tuple of str
        Names of the columns; without any, Polars can read the rows itself.
    """
    import pyarrow as pa

    return tuple(field.name for field in schema if pa.types.is_timestamp(field.type) and not _is_known(field.type.tz))


def frame_from_arrow(rows: "pa.Table | pa.RecordBatch") -> pl.DataFrame:
    """Make a Polars table of an Arrow table, whatever the zones of its timestamps.

    Parameters
    ----------
    rows : pyarrow.Table or RecordBatch
        Rows as another library read them.

    Returns
    -------
    DataFrame
        The same columns in the same order. Times in an unknown zone are text with their offset, such as
        ``2024-06-22T12:07:21.000000+05:30``, which `read_dates` understands; where the zone is no offset, UTC stands.
    """
    import pyarrow as pa

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    unknown = unsupported_zones(table.schema)
    known = (
        pl.DataFrame(pl.from_arrow(table.drop_columns(list(unknown))))
        if unknown
        else pl.DataFrame(pl.from_arrow(table))
    )
    written = [_with_offset(name, table.column(name)) for name in unknown]
    return known.with_columns(written).select(table.column_names) if unknown else known


def _with_offset(name: str, column: "pa.ChunkedArray[Any]") -> pl.Series:
    import pyarrow as pa

    found = _OFFSET.match(column.type.tz or "")
    minutes = 0 if found is None else int(f"{found[1]}1") * (int(found[2]) * 60 + int(found[3]))
    shown = "+00:00" if found is None else f"{found[1]}{found[2]}:{found[3]}"
    counted = pl.Series(name, pl.from_arrow(column.cast(pa.int64())))
    day = _A_DAY[column.type.unit]
    possible = counted.is_between(max(_FIRST_DAY * day, -_MOST), min(_LAST_DAY * day, _MOST)).fill_null(value=False)
    counted = counted.set(~possible, None)
    micros = counted // 1_000 if column.type.unit == "ns" else counted * _MICROS[column.type.unit]
    clock = (micros + minutes * 60_000_000).cast(pl.Datetime("us"))
    return clock.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f") + shown


def _is_known(zone: str | None) -> bool:
    if zone is None:
        return True
    if _OFFSET.match(zone):
        return False
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone))
    except pl.exceptions.PolarsError:
        return False
    return True
