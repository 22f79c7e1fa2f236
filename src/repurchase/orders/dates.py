"""Dates and times of order, whichever way the export writes them.

Every value is put into the one form ``YYYY-MM-DD HH:MM:SS`` by the first way of writing that fits it. Where day and
month can change places, the whole column decides: one ``31/12/2024`` settles every ``03/04/2024``. A column that does
not decide is asked about, never guessed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import polars as pl

from repurchase.orders.dateforms import NUMBERS, TIME, DateEvidence, DateForm, DateOrder, as_text

__all__ = ["LATEST_ZONE", "DatesRead", "offsets_note", "read_dates"]


_YEAR_FIRST = r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + TIME
_WEEKDAY = r"^(?:\pL{2,10}\.?,?\s+)?"
_MONTH_FIRST = _WEEKDAY + r"(?P<name>\pL{3,10})\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year>\d{4})" + TIME
_DAY_FIRST = (
    _WEEKDAY + r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?[\s-]+(?P<name>\pL{3,10})\.?,?[\s-]+(?P<year>\d{4}|\d{2})" + TIME
)
_COMPACT = (
    r"^(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})"
    r"(?:[T ]?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?)?$"
)

_MONTHS = {
    1: ("jan", "jän", "gen", "ene"),
    2: ("feb", "fév", "fev"),
    3: ("mar", "mär", "mrz", "maa", "mrt"),
    4: ("apr", "avr", "abr"),
    5: ("may", "mai", "maj", "mei", "mag"),
    6: ("jun", "giu", "juin"),
    7: ("jul", "lug", "juil"),
    8: ("aug", "aoû", "aou", "ago"),
    9: ("sep", "set"),
    10: ("oct", "okt", "ott", "out"),
    11: ("nov",),
    12: ("dec", "dez", "des", "déc", "dic"),
}

LATEST_ZONE = timezone(timedelta(hours=14))
"""Where a day begins first on Earth: without a configured zone, no order of today is called future anywhere."""

_EARLIEST = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: clock time of the shop
_LATEST = datetime(2200, 1, 1)  # noqa: DTZ001
_ISO_FORMS = {"%Y-%m-%d %H:%M:%S": 19, "%Y-%m-%dT%H:%M:%S": 19, "%Y-%m-%d": 10}
_PARTS = ("year", "month", "day", "hour", "minute", "second", "fraction", "half", "offset")


@dataclass(frozen=True)
class DatesRead:
    """What came of a column of dates.

    Parameters
    ----------
    values : Series of datetime
        Clock time of the configured zone (or as written); null where no date could be read.
    notes : tuple of str
        What had to be decided, in words.
    offsets : frozenset of int
        Different offsets, in minutes east, where no zone was told.
    """

    values: pl.Series
    notes: tuple[str, ...] = ()
    offsets: frozenset[int] = frozenset()


def read_dates(
    values: pl.Series,
    *,
    source: str = "orders",
    timezone: str | None = None,
    date_order: DateOrder | None = None,
    form: DateForm | None = None,
) -> DatesRead:
    """Read a column of dates.

    Parameters
    ----------
    values : Series
        Text, dates, timestamps with or without a zone, or numbers (``20240131``, seconds or milliseconds since 1970,
        days since 1899-12-30 as spreadsheets count them; the last three only if every value is of that kind).
    source : str
        What a message calls the log.
    timezone : str, optional
        IANA zone. Times with an offset are converted to it; times without one are taken as already in it. Without a
        zone every time stays as written.
    date_order : {"day_first", "month_first"}, optional
        What ``03/04/2024`` means; it wins over what the column suggests.
    form : DateForm, optional
        What was decided by all rows, where these are some of them.

    Returns
    -------
    DatesRead
        Timestamps without a zone, and notes. A date before 1970 or after 2199, or one that contradicts the decided
        order of day and month, is null.

    Raises
    ------
    OrdersError
        If day and month can change places, and neither the column nor ``date_order`` decides.

    Examples
    --------
    >>> read_dates(pl.Series(["03/04/2024", "31/12/2024"])).values.to_list()
    [datetime.datetime(2024, 4, 3, 0, 0), datetime.datetime(2024, 12, 31, 0, 0)]
    >>> read_dates(pl.Series("Date", ["03/04/2024", "05/06/2024"]), source="orders.csv")
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: orders.csv: the dates in 'Date' can be read in two ways: '03/04/2024' is 3 April \
or March 4, and none of the 2 different dates decides. Say which: --date-order day_first or --date-order month_first.
    """
    if values.dtype.is_temporal():
        return DatesRead(_in_range(_from_timestamps(values, timezone)))
    if form is None:
        evidence = DateEvidence.of(values)
        form = evidence.decide(column=values.name, source=source, timezone=timezone, date_order=date_order)
    text = as_text(values)
    distinct = text.unique().drop_nulls()
    read, offsets = _read_distinct(distinct.alias("text"), form, timezone)
    pairs = pl.DataFrame({"text": distinct, "when": read})
    joined = text.to_frame("text").join(pairs, on="text", how="left", maintain_order="left")
    return DatesRead(_in_range(joined["when"].alias(values.name)), (*form.notes, *offsets_note(offsets)), offsets)


def offsets_note(offsets: frozenset[int]) -> tuple[str, ...]:
    """Say that times carry several offsets.

    Parameters
    ----------
    offsets : frozenset of int
        Minutes east.

    Returns
    -------
    tuple of str
        One sentence, or none.
    """
    if len(offsets) < 2:
        return ()
    return ("Times carry different offsets; each day is counted as written (set timezone to count in one zone).",)


def _in_range(values: pl.Series) -> pl.Series:
    outside = (values < _EARLIEST) | (values >= _LATEST)
    return values.set(outside.fill_null(value=False), None)


def _from_timestamps(values: pl.Series, timezone: str | None) -> pl.Series:
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        zoned = values.dt.convert_time_zone(timezone) if timezone else values
        values = zoned.dt.replace_time_zone(None)
    return values.cast(pl.Datetime("us"))


def _read_distinct(texts: pl.Series, form: DateForm, timezone: str | None) -> tuple[pl.Series, frozenset[int]]:
    if form.counted is not None:
        return _from_counts(texts, form.counted, timezone), frozenset()
    plain = _plain_iso(texts)
    if plain is not None:
        return plain, frozenset()
    parts = _parts(texts, form.order)
    local = _local_time(parts)
    offset = _offset_minutes(parts["offset"])
    if timezone:
        return _to_zone(local, offset, timezone), frozenset()
    return local, frozenset(offset.drop_nulls().unique().to_list())


def _from_counts(texts: pl.Series, digits: int, timezone: str | None) -> pl.Series:
    numbers = texts.cast(pl.Float64, strict=False)
    if digits == 5:
        return (((numbers - 25569) * 86400).round(0).cast(pl.Int64) * 1_000_000).cast(pl.Datetime("us"))
    micros = (numbers * (1e6 if digits == 10 else 1e3)).round(0).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return _from_timestamps(micros, timezone)


def _plain_iso(texts: pl.Series) -> pl.Series | None:
    """Read a column that is ISO throughout the quick way; most exports are.

    Parameters
    ----------
    texts : Series of str
        Distinct values.

    Returns
    -------
    Series of datetime or None
        Timestamps, or None if any value is written otherwise.
    """
    for form, length in _ISO_FORMS.items():
        if (texts.str.len_bytes() == length).all() and texts.head(100).str.to_datetime(
            form, strict=False
        ).is_not_null().all():
            read = texts.str.to_datetime(form, strict=False, time_unit="us")
            return read if read.null_count() == 0 else None
    return None


def _parts(texts: pl.Series, order: DateOrder) -> pl.DataFrame:
    day, month = ("first", "second_number") if order == "day_first" else ("second_number", "first")
    ways = (
        _matched(texts, _YEAR_FIRST),
        _matched(texts, _COMPACT),
        _matched(texts, NUMBERS).with_columns(pl.col(day).alias("day"), pl.col(month).alias("month")),
        _matched(texts, _MONTH_FIRST).with_columns(_month_of_name().alias("month")),
        _matched(texts, _DAY_FIRST).with_columns(_month_of_name().alias("month")),
    )
    return pl.DataFrame({name: _coalesce([way[name] for way in ways if name in way.columns]) for name in _PARTS})


def _matched(texts: pl.Series, pattern: str) -> pl.DataFrame:
    return texts.str.extract_groups(pattern).struct.unnest()


def _coalesce(columns: list[pl.Series]) -> pl.Series:
    named = pl.DataFrame({str(number): column for number, column in enumerate(columns)})
    return named.select(pl.coalesce(pl.all())).to_series()


def _month_of_name() -> pl.Expr:
    name = pl.col("name").str.to_lowercase()
    table = {start: str(month) for month, starts in _MONTHS.items() for start in starts}
    by_four = name.str.slice(0, 4).replace_strict(table, default=None, return_dtype=pl.String)
    by_three = name.str.slice(0, 3).replace_strict(table, default=None, return_dtype=pl.String)
    return pl.coalesce(by_four, by_three)


def _local_time(parts: pl.DataFrame) -> pl.Series:
    year = pl.when(pl.col("year").str.len_chars() == 2).then("20" + pl.col("year")).otherwise(pl.col("year"))
    hour = pl.col("hour").cast(pl.Int32)
    half = pl.col("half").str.slice(0, 1).str.to_lowercase()
    hour24 = pl.when(half == "p").then(hour % 12 + 12).when(half == "a").then(hour % 12).otherwise(hour).fill_null(0)
    stamp = pl.format(
        "{}-{}-{} {}:{}:{}.{}",
        year,
        pl.col("month").str.zfill(2),
        pl.col("day").str.zfill(2),
        hour24.cast(pl.String).str.zfill(2),
        pl.col("minute").fill_null("00"),
        pl.col("second").fill_null("00"),
        pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6),
    )
    return parts.select(stamp.str.to_datetime("%Y-%m-%d %H:%M:%S.%6f", strict=False, time_unit="us")).to_series()


def _offset_minutes(offsets: pl.Series) -> pl.Series:
    digits = pl.col("offset").str.replace(":", "", literal=True)
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours, minutes = (
        digits.str.slice(1, 2).cast(pl.Int64, strict=False),
        digits.str.slice(3, 2).cast(pl.Int64, strict=False),
    )
    zulu = pl.col("offset").str.contains("(?i)^(Z|UTC|GMT)$")
    minutes_east = pl.when(zulu).then(0).otherwise(sign * (hours * 60 + minutes.fill_null(0)))
    return offsets.to_frame("offset").select(minutes_east).to_series()


def _to_zone(local: pl.Series, offset_minutes: pl.Series, timezone: str) -> pl.Series:
    frame = pl.DataFrame({"local": local, "offset": offset_minutes})
    utc = (pl.col("local") - pl.duration(minutes=pl.col("offset"))).dt.replace_time_zone("UTC")
    converted = utc.dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    return frame.select(pl.when(pl.col("offset").is_null()).then("local").otherwise(converted)).to_series()
