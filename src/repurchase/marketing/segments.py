"""How segments are contacted: action, channel and time.

The segment itself is in the scores: its thresholds were learned in `fit` (see ``models.segments``), so that a
customer's segment depends on no other customer. What to do follows from the scores alone; the rules are put into
words by ``report.customer_sections``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.models.segments import (
    ACTIONS,
    BEST,
    FIRST_TIME,
    LOST,
    REGULAR,
    SEGMENTS,
    SLIPPING,
    WIN_BACK,
    SegmentThresholds,
)
from repurchase.storage.run_records import ScoredRun

NO_HISTORY = "no history"
REFILL = "due for a refill"
_REMIND_DAYS = 3
"""Days before a product runs out on which a reminder is sent."""


class SegmentContact(NamedTuple):
    """How a segment is contacted."""

    file_name: str
    channel: str
    action: str


CONTACTED_BY = {
    SLIPPING: SegmentContact("1-valuable-and-slipping", "phone", ACTIONS[SLIPPING]),
    WIN_BACK: SegmentContact("2-win-back", "e-mail", ACTIONS[WIN_BACK]),
    REFILL: SegmentContact("3-due-for-a-refill", "e-mail", "remind that it runs out, with what goes with it"),
    FIRST_TIME: SegmentContact("4-first-time-buyers", "e-mail", ACTIONS[FIRST_TIME]),
    BEST: SegmentContact("5-best-and-most-loyal", "personal e-mail", ACTIONS[BEST]),
    REGULAR: SegmentContact("6-regulars", "e-mail", ACTIONS[REGULAR]),
    LOST: SegmentContact("9-lost", "none", "spend nothing: leave out of campaigns"),
}
"""Segments in the order in which a marketer's time is best spent."""
LISTED_SEGMENTS = tuple(segment for segment in CONTACTED_BY if segment != LOST)
"""Segments that are contacted."""
FILE_NAMES = {segment: contact.file_name for segment, contact in CONTACTED_BY.items()}
_CHANNELS = {segment: contact.channel for segment, contact in CONTACTED_BY.items()}
_ACTIONS = {segment: contact.action for segment, contact in CONTACTED_BY.items()}
_NO_HISTORY_ACTION = "nothing: no purchase is known"
_SURVEY_ACTION, _SURVEY_CHANNEL = "ask once why they left; spend nothing else", "personal e-mail"


def segment_of(scores: pl.DataFrame, *, name: str = "scores") -> pl.Series:
    """Segment of every customer."""
    known = scores["segment"].fill_null(NO_HISTORY)
    unknown = sorted(set(known) - {*SEGMENTS, NO_HISTORY})
    if unknown:
        raise InputError(
            f"{name}: scores of another version: {len(unknown)} segments are not known here: {first_few(unknown)}. "
            f"Known: {', '.join(SEGMENTS)}. Score again with this version.",
            withheld=first_few(unknown),
        )
    no_history = scores["status"] == "no_history"
    return known.set(no_history.fill_null(value=False), NO_HISTORY).alias("segment")


def lost_survey_customers(tiers: Mapping[str, Any] | None) -> pl.Expr:
    """Lost customers who are worth asking why they left: those who had become loyal."""
    loyal = SegmentThresholds.from_dict(dict(tiers)).loyal_purchases if tiers else 3
    return ((pl.col("segment") == LOST) & (pl.col("frequency") + 1 >= loyal)).fill_null(value=False)


def actions() -> pl.Expr:
    """Recommended action by segment."""
    known = pl.col("segment").replace_strict(
        {**_ACTIONS, NO_HISTORY: _NO_HISTORY_ACTION}, default=None, return_dtype=pl.String
    )
    return pl.when("ask_why").then(pl.lit(_SURVEY_ACTION)).otherwise(known)


def channels(has: Mapping[str, pl.Expr] | None = None) -> pl.Expr:
    """Recommended channel: the segment's own or, where it is known how customers can be reached, one that does."""
    wanted = pl.col("segment").replace_strict(_CHANNELS, default="none", return_dtype=pl.String)
    wanted = pl.when("ask_why").then(pl.lit(_SURVEY_CHANNEL)).otherwise(wanted)
    if has is None:
        return wanted
    email = pl.when(wanted == "e-mail").then(wanted).otherwise(pl.lit("personal e-mail"))
    return (
        pl.when((wanted == "none") | ((wanted == "phone") & has["phone"]))
        .then(wanted)
        .when(has["email"])
        .then(email)
        .when(has["address"])
        .then(pl.lit("letter"))
        .when(has["phone"])
        .then(pl.lit("phone"))
    )


def contact_timing(tiers: Mapping[str, Any] | None, *, refills: bool = False) -> tuple[pl.Expr, pl.Expr]:
    """First day on which to contact a customer, and the period in words.

    First-time buyers from the day by which a quarter of this shop's second purchases had come, and before the day by
    which four of five had; regulars and the best before their next order is due; for a refill, a few days before the
    product runs out; who is silent, now.
    """
    tomorrow = pl.col("as_of") + timedelta(days=1)
    begins, ends = pl.lit(None, pl.Date), pl.lit(None, pl.Date)
    if tiers:
        thresholds = SegmentThresholds.from_dict(dict(tiers))
        begins = pl.col("first_order_date") + timedelta(days=round(thresholds.second_purchase_from_days or 0))
        ends = pl.col("first_order_date") + timedelta(days=round(thresholds.second_purchase_days))
    runs_out = pl.col("refill_on") if refills else pl.lit(None, pl.Date)
    segment = pl.col("segment")
    is_first_time, is_refill = segment == FIRST_TIME, segment == REFILL
    is_expected, is_silent = segment.is_in([BEST, REGULAR]), segment.is_in([SLIPPING, WIN_BACK]) | pl.col("ask_why")
    earliest = (
        pl.when(is_first_time)
        .then(begins)
        .when(is_refill)
        .then(runs_out - timedelta(days=_REMIND_DAYS))
        .when(is_expected)
        .then(pl.col("next_order_date_low"))
    )
    contact_on = pl.when(is_first_time | is_refill | is_expected | is_silent).then(
        pl.max_horizontal(earliest, tomorrow)
    )
    deadline = pl.when(is_first_time).then(ends).when(is_expected).then(pl.col("next_order_date"))
    when = (
        pl.when(is_silent)
        .then(_when("now"))
        .when(is_first_time & (begins > tomorrow))
        .then(_when("on", begins))
        .when(is_refill)
        .then(_when("by", runs_out))
        .when(deadline > tomorrow)
        .then(_when("by", deadline))
        .when(is_first_time)
        .then(_when("now"))
        .when(is_expected)
        .then(_when("any_time"))
        .otherwise(_when("never"))
    )
    return contact_on, when


def _when(key: str, date: pl.Expr | None = None) -> pl.Expr:
    """The key of a message and its date."""
    return pl.struct(pl.lit(key).alias("key"), (pl.lit(None, pl.Date) if date is None else date).alias("date"))


def require_single_run(facts: ScoredRun, *, name: str = "scores") -> ScoredRun:
    """Require that scores are what one run wrote: of one model, one day, and segments that this version knows."""
    versions = facts.scores["model_version"].unique().sort().to_list()
    days = facts.scores["as_of"].unique().sort().to_list()
    if len(versions) > 1 or len(days) > 1:
        raise InputError(
            f"{name}: scores of {len(versions)} models ({first_few(versions)}) and {len(days)} days "
            f"({first_few(days)}) in one table. Send what one run of `repurchase score` wrote."
        )
    recorded = facts.run.get("model_version")
    if versions and facts.run and str(recorded) != versions[0]:
        raise InputError(
            f"{name}: scores of another version: model {versions[0]}, but their record says {recorded}. Score again, "
            "or send the scores without that record."
        )
    segment_of(facts.scores, name=name)
    return facts
