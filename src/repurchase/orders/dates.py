"""Dates and times of orders as timestamps, in any notation."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from datetime import timezone as fixed_offset
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from repurchase.i18n.messages import Message, message
from repurchase.orders.format_inference import (
    DateEvidence,
    DateFormat,
    DateOrder,
    DateShape,
    count_unit,
    dates_as_text,
    require_dates,
    shape_of,
)
from repurchase.sources.tables import drop_impossible_dates
from repurchase.sources.vocabulary import ZONE_MINUTES, distinct_shapes, shapes_of, tidy_texts

_MOST = 100_000
"""So many different texts in no known format are no column of dates."""
_TRIED_FIRST = 200
_DEFAULTS = (datetime(2001, 3, 17), datetime(2014, 8, 26))  # noqa: DTZ001 - clock time
_YEAR = re.compile(r"(?<!\d)(?:19|20|21)\d\d(?!\d)")
_ISO_WEEK = re.compile(r"^\d{4}-?W\d\d-?\d")


def _parse_with_dateutil(
    texts: pl.Series, is_rest: pl.Series, local: pl.Series, offset: pl.Series, *, timezone: str | None
) -> tuple[pl.Series, pl.Series]:
    """Read the texts that nothing else could read."""
    rest = texts.filter(is_rest)
    rest = rest.filter(rest.str.contains(r"\d{4}") & rest.str.contains(r"\d.*[^\d]|[^\d].*\d"))
    read = _parsed(rest, timezone) if 0 < len(rest) <= _MOST else {}
    if not read:
        return local, offset
    local_of = {text: when for text, (when, _) in read.items()}
    offset_of = {text: minutes for text, (_, minutes) in read.items()}
    found = texts.replace_strict(local_of, default=None, return_dtype=pl.Datetime("us"))
    east = texts.replace_strict(offset_of, default=None, return_dtype=pl.Int64)
    is_found = found.is_not_null()
    return found.zip_with(is_found, local), east.zip_with(is_found, offset)


def _parsed(texts: pl.Series, timezone: str | None) -> dict[str, tuple[datetime, int | None]]:
    read: dict[str, tuple[datetime, int | None]] = {}
    for place, text in enumerate(texts):
        if place == _TRIED_FIRST and not read:
            break
        found = _parse(text, timezone)
        if found is not None:
            read[text] = found
    return read


def _parse(text: str, timezone: str | None) -> tuple[datetime, int | None] | None:
    from dateutil import parser

    if _ISO_WEEK.match(text) is None and _YEAR.search(text) is None:
        return None
    try:
        readings = {parser.isoparse(text)} if _ISO_WEEK.match(text) else _possible_dates(text, timezone)
    except (ValueError, OverflowError, TypeError, AttributeError):
        return None
    if len(readings) != 1:
        return None
    when = readings.pop()
    east = when.utcoffset()
    return when.replace(tzinfo=None), None if east is None else int(east.total_seconds() // 60)


def _possible_dates(text: str, timezone: str | None) -> set[datetime]:
    from dateutil import parser

    def zone(name: str | None, seconds: int | None) -> tzinfo | None:
        minutes = ZONE_MINUTES.get((name or "").lower())
        if seconds is None and minutes is None and timezone is not None:
            raise ValueError(name)
        if seconds is not None:
            return fixed_offset(timedelta(seconds=seconds))
        return None if minutes is None else fixed_offset(timedelta(minutes=minutes))

    options: list[dict[str, Any]] = [
        {"default": default, "dayfirst": day_first, "yearfirst": year_first}
        for default in _DEFAULTS
        for day_first in (False, True)
        for year_first in (False, True)
    ]
    return {parser.parse(text, tzinfos=zone, **option) for option in options}


LATEST_ZONE = timezone(timedelta(hours=14))
"""Where a day begins first on Earth: without a configured zone, no order of today is called future anywhere."""

_EARLIEST = datetime(1970, 1, 2)  # noqa: DTZ001 - naive on purpose: clock time of the shop; 1970-01-01 is a zero
_LATEST = datetime(2200, 1, 1)  # noqa: DTZ001
_ISO_FORMATS = {"%Y-%m-%d %H:%M:%S": 19, "%Y-%m-%dT%H:%M:%S": 19, "%Y-%m-%d": 10}
_MICROS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_PIVOT = 69
"""Years of two digits from here on lie in the 20th century, as in POSIX."""
_PLACEHOLDER = (
    r"^(?:0+|-1|(?:0000|0001|1753|1900|1899|1970|9999)[-/.](?:00|01|12)[-/.](?:00|01|30|31)|(?:00|01|30|31)[-/.](?:00|01|12)"
    r"[-/.](?:0000|0001|1900|1899|1970|9999))(?:[T ]\d\d:\d\d.*)?$"
)


@dataclass(frozen=True)
class DatesRead:
    """A column of dates as timestamps."""

    values: pl.Series
    notes: tuple[Message, ...] = ()
    offsets: frozenset[int] = frozenset()


def read_dates(
    values: pl.Series,
    *,
    source: str = "orders",
    timezone: str | None = None,
    date_order: DateOrder | None = None,
    date_format: DateFormat | None = None,
) -> DatesRead:
    """Read a column of dates."""
    require_dates(values, source=source)
    if values.dtype.is_temporal():
        return DatesRead(_in_range(_from_timestamps(values, timezone)))
    if date_format is None:
        evidence = DateEvidence.of(values)
        date_format = evidence.decide(column=values.name, source=source, timezone=timezone, date_order=date_order)
    text = dates_as_text(values)
    distinct = text.unique().drop_nulls()
    read, offsets = _read_distinct(distinct.alias("text"), date_format, timezone)
    pairs = pl.DataFrame({"text": distinct, "when": read})
    joined = text.to_frame("text").join(pairs, on="text", how="left", maintain_order="left")
    return DatesRead(
        _in_range(joined["when"].alias(values.name)), (*date_format.notes, *offsets_note(offsets)), offsets
    )


def offsets_note(offsets: frozenset[int]) -> tuple[Message, ...]:
    """Warn of times that carry several offsets."""
    if len(offsets) < 2:
        return ()
    return (message("format_note.offsets"),)


def placeholder_dates(values: pl.Series) -> pl.Series:
    """Find dates that programs write where there is none: ``0000-00-00``, ``1900-01-01``, ``9999-12-31``, zero."""
    if values.dtype.is_temporal():
        return _in_range(_from_timestamps(values, None)).is_null() & values.is_not_null()
    return dates_as_text(values).str.contains(_PLACEHOLDER).fill_null(value=False)


def _in_range(values: pl.Series) -> pl.Series:
    outside = (values < _EARLIEST) | (values >= _LATEST)
    return values.set(outside.fill_null(value=False), None)


def _from_timestamps(values: pl.Series, timezone: str | None) -> pl.Series:
    values = drop_impossible_dates(values)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        zoned = values.dt.convert_time_zone(timezone) if timezone else values
        values = zoned.dt.replace_time_zone(None)
    return values.cast(pl.Datetime("us"))


def _read_distinct(texts: pl.Series, date_format: DateFormat, timezone: str | None) -> tuple[pl.Series, frozenset[int]]:
    if date_format.counted is not None:
        return _from_counts(tidy_texts(texts), date_format.counted, timezone), frozenset()
    plain = _plain_iso(texts)
    if plain is not None:
        return plain, frozenset()
    texts = tidy_texts(texts)
    local, offset, is_known = _by_shape(texts, date_format, timezone)
    local, offset = _parse_with_dateutil(texts, ~is_known, local, offset, timezone=timezone)
    if timezone:
        return _to_zone(local, offset, timezone), frozenset()
    return local, frozenset(offset.filter(local.is_not_null()).drop_nulls().unique().to_list())


def _from_counts(texts: pl.Series, unit: str, timezone: str | None) -> pl.Series:
    shapes = shapes_of(texts)
    fitting = [shape for shape in distinct_shapes(shapes) if count_unit(shape) == unit]
    written = texts.set(~shapes.is_in(fitting).fill_null(value=False), None)
    numbers = written.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    if unit == "days":
        return (((numbers - 25569) * 86400).round(0).cast(pl.Int64) * 1_000_000).cast(pl.Datetime("us"))
    micros = (numbers * _MICROS[unit]).round(0).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return _from_timestamps(micros, timezone)


def _plain_iso(texts: pl.Series) -> pl.Series | None:
    """Read a column that is ISO throughout, as most exports are, in one step; None if any value is not."""
    for pattern, length in _ISO_FORMATS.items():
        has_length = (texts.str.len_bytes() == length).all()
        if has_length and texts.head(100).str.to_datetime(pattern, strict=False).is_not_null().all():
            read = texts.str.to_datetime(pattern, strict=False, time_unit="us")
            return read if read.null_count() == 0 else None
    return None


def _by_shape(
    texts: pl.Series, date_format: DateFormat, timezone: str | None
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Cut the parts out of the texts: local time and minutes east, null where there are none, and known shapes."""
    shapes = shapes_of(texts)
    places = {shape: shape_of(shape) for shape in distinct_shapes(shapes)}
    rows = [{"shape": shape, **_places(found, timezone)} for shape, found in places.items() if found is not None]
    table = pl.DataFrame(rows, schema=_SCHEMA)
    found = pl.DataFrame({"text": texts, "shape": shapes}).join(table, on="shape", how="left", maintain_order="left")
    numbers = found.with_columns(_cut(name) for name in _DIGITS)
    parts = _with_order(numbers, date_format)
    return _local_time(parts), parts.select(_minutes_east()).to_series(), found["readable"].is_not_null()


_DIGITS = ("year", "month", "day", "hour", "minute", "second", "first", "second_number", "east_h", "east_m")
_LIMITS = {
    "year": (1900, 2300),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
_SCHEMA: dict[str, Any] = {
    "shape": pl.String,
    **{f"{name}_{what}": pl.Int64 for name in (*_DIGITS, "fraction") for what in ("at", "length")},
    **dict.fromkeys(("named_month", "half", "sign", "zone_minutes"), pl.Int32),
    "readable": pl.Boolean,
}


def _places(shape: DateShape, timezone: str | None) -> dict[str, Any]:
    places = {f"{name}_at": start for name, (start, _) in shape.spans.items()}
    places |= {f"{name}_length": length for name, (_, length) in shape.spans.items()}
    minutes = ZONE_MINUTES.get(shape.zone or "")
    is_local = shape.zone is None or timezone is None or shape.zone in _names_of(timezone)
    return {
        **places,
        "named_month": shape.month,
        "half": shape.half,
        "sign": shape.sign,
        "zone_minutes": None if timezone and shape.zone in _names_of(timezone) else minutes,
        "readable": minutes is not None or is_local,
    }


@cache
def _names_of(timezone: str) -> frozenset[str]:
    """What a zone's own clock is called: ``est`` needs no conversion in New York."""
    days = (datetime(2024, month, 15, tzinfo=ZoneInfo(timezone)) for month in (1, 7))
    return frozenset({timezone.lower(), *(name.lower() for day in days if (name := day.tzname()))})


def _cut(name: str) -> pl.Expr:
    digits = pl.col("text").str.slice(pl.col(f"{name}_at"), pl.col(f"{name}_length"))
    return pl.when(pl.col(f"{name}_at").is_not_null()).then(digits).cast(pl.Int32, strict=False).alias(name)


def _with_order(parts: pl.DataFrame, date_format: DateFormat) -> pl.DataFrame:
    """Give the numbers that might change places their meaning."""
    first, second, last = pl.col("first"), pl.col("second_number"), pl.col("year")
    day, month = (first, second) if date_format.order == "day_first" else (second, first)
    begins_with_year = (pl.col("year_length") == 2) & first.is_not_null() & date_format.short_year_first
    day, month = (
        pl.when(begins_with_year).then(last).otherwise(day),
        pl.when(begins_with_year).then(second).otherwise(month),
    )
    year = pl.when(begins_with_year).then(first).otherwise(last)
    century = pl.when(year < _PIVOT).then(2000).otherwise(1900)
    return parts.with_columns(
        pl.when(pl.col("year_length") == 2).then(year + century).otherwise(year).alias("year"),
        pl.coalesce("day", day).alias("day"),
        pl.coalesce("named_month", "month", month).alias("month"),
    )


def _local_time(parts: pl.DataFrame) -> pl.Series:
    hour = pl.col("hour").fill_null(0)
    half = pl.col("half")
    hour24 = pl.when(half == 2).then(hour % 12 + 12).when(half == 1).then(hour % 12).otherwise(hour)
    micros = pl.col("text").str.slice(pl.col("fraction_at"), pl.col("fraction_length"))
    whole = parts.select(
        "year",
        "month",
        "day",
        hour24.alias("hour"),
        pl.col("minute").fill_null(0),
        pl.col("second").fill_null(0),
        micros.str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False).fill_null(0).alias("micro"),
        "readable",
    )
    within = (pl.col(name).is_between(*limits) for name, limits in _LIMITS.items())
    possible = pl.all_horizontal(pl.col("readable"), *within)
    start = pl.date(pl.when(possible).then("year"), pl.when(possible).then("month"), 1)
    seconds = (pl.col("hour") * 3600 + pl.col("minute") * 60 + pl.col("second")).cast(pl.Int64)
    micros_of_day = seconds * 1_000_000 + pl.col("micro")
    stamp = (start.cast(pl.Int64) + pl.col("day") - 1) * 86_400_000_000 + micros_of_day
    in_month = pl.col("day") <= start.dt.month_end().dt.day()
    return whole.select(pl.when(possible & in_month).then(stamp).cast(pl.Datetime("us"))).to_series()


def _minutes_east() -> pl.Expr:
    written = pl.col("sign") * (pl.col("east_h") * 60 + pl.col("east_m").fill_null(0))
    return pl.coalesce(pl.when(pl.col("sign") != 0).then(written), "zone_minutes").cast(pl.Int64).alias("offset")


def _to_zone(local: pl.Series, offset_minutes: pl.Series, timezone: str) -> pl.Series:
    frame = pl.DataFrame({"local": local, "offset": offset_minutes})
    utc = (pl.col("local") - pl.duration(minutes=pl.col("offset"))).dt.replace_time_zone("UTC")
    converted = utc.dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    return frame.select(pl.when(pl.col("offset").is_null()).then("local").otherwise(converted)).to_series()
