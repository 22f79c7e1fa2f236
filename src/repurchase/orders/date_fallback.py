"""Dates in rare forms, read by dateutil one by one, and only if they can be read in one way."""

import re
from datetime import datetime, timedelta, tzinfo
from datetime import timezone as fixed_offset
from typing import Any

import polars as pl

from repurchase.orders.date_words import ZONE_MINUTES

__all__ = ["parse_rest"]

_MOST = 100_000
"""So many different texts in no known form are no column of dates."""
_TRIED_FIRST = 200
_DEFAULTS = (datetime(2001, 3, 17), datetime(2014, 8, 26))  # noqa: DTZ001 - clock time
_YEAR = re.compile(r"(?<!\d)(?:19|20|21)\d\d(?!\d)")
_ISO_WEEK = re.compile(r"^\d{4}-?W\d\d-?\d")


def parse_rest(
    texts: pl.Series, is_rest: pl.Series, local: pl.Series, offset: pl.Series, *, timezone: str | None
) -> tuple[pl.Series, pl.Series]:
    """Read the texts that nothing else could read.

    Parameters
    ----------
    texts : Series of str
        Distinct dates, tidied.
    is_rest : Series of bool
        Texts in no known form; what has one and is no date (``2024-02-30``) stays unread.
    local : Series of datetime
        What was read so far, null where nothing was.
    offset : Series of int
        Minutes east, where they are written.
    timezone : str, optional
        Zone that times are to be converted to; a zone whose offset is not known cannot be read then.

    Returns
    -------
    local, offset : Series
        With what dateutil reads in the same way whatever the order of day, month and year, and whatever the defaults
        for missing parts.
    """
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
        ways = {parser.isoparse(text)} if _ISO_WEEK.match(text) else _ways(text, timezone)
    except (ValueError, OverflowError, TypeError, AttributeError):
        return None
    if len(ways) != 1:
        return None
    when = ways.pop()
    east = when.utcoffset()
    return when.replace(tzinfo=None), None if east is None else int(east.total_seconds() // 60)


def _ways(text: str, timezone: str | None) -> set[datetime]:
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
