"""Segments, and what to do, by which channel and when.

The segment itself stands in the scores: its thresholds were learned in `fit` (see ``models.segments``), so that a
customer's segment depends on no other customer. Here what to do follows from the scores alone; ``report.segment_rules``
puts the rules into words.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

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
LISTED_SEGMENTS = (SLIPPING, WIN_BACK, REFILL, FIRST_TIME, BEST, REGULAR)
"""Segments that are reached, in the order in which a marketer's hour is best spent."""
FILE_NAMES = {
    SLIPPING: "1-valuable-and-slipping",
    WIN_BACK: "2-win-back",
    REFILL: "3-due-for-a-refill",
    FIRST_TIME: "4-first-time-buyers",
    BEST: "5-best-and-most-loyal",
    REGULAR: "6-regulars",
    LOST: "9-lost",
}
_REMIND_DAYS = 3
"""Days before a product runs out from which a reminder is in time."""
_CHANNELS = {
    SLIPPING: "phone",
    WIN_BACK: "e-mail",
    REFILL: "e-mail",
    FIRST_TIME: "e-mail",
    BEST: "personal e-mail",
    REGULAR: "e-mail",
}
_ACTIONS = {
    **ACTIONS,
    REFILL: "remind that it runs out, with what goes with it",
    LOST: "spend nothing: leave out of campaigns",
    NO_HISTORY: "nothing: no purchase is known",
}
_SURVEY_ACTION = "ask once why they left; spend nothing else"


def segment_of(scores: pl.DataFrame, *, name: str = "scores") -> pl.Series:
    """Name every customer's one segment."""
    known = scores["segment"].fill_null(NO_HISTORY)
    strange = sorted(set(known) - {*SEGMENTS, NO_HISTORY})
    if strange:
        raise InputError(
            f"{name}: scores of another version: {len(strange)} segments are not known here: {first_few(strange)}. "
            f"Known: {', '.join(SEGMENTS)}. Score again with this version.",
            withheld=first_few(strange),
        )
    no_history = scores["status"] == "no_history"
    return known.set(no_history.fill_null(value=False), NO_HISTORY).alias("segment")


def lost_survey_customers(tiers: Mapping[str, Any] | None) -> pl.Expr:
    """Say who of the lost is worth asking why: those who had become loyal."""
    loyal = SegmentThresholds.from_dict(dict(tiers)).loyal_purchases if tiers else 3
    return ((pl.col("segment") == LOST) & (pl.col("frequency") + 1 >= loyal)).fill_null(value=False)


def actions() -> pl.Expr:
    """Say what to do."""
    known = pl.col("segment").replace_strict(_ACTIONS, default=None, return_dtype=pl.String)
    return pl.when("ask_why").then(pl.lit(_SURVEY_ACTION)).otherwise(known)


def channels(has: Mapping[str, pl.Expr] | None = None) -> pl.Expr:
    """Suggest a channel that reaches the customer."""
    wanted = pl.col("segment").replace_strict(_CHANNELS, default="none", return_dtype=pl.String)
    wanted = pl.when("ask_why").then(pl.lit("personal e-mail")).otherwise(wanted)
    if has is None:
        return wanted
    personal = wanted != "e-mail"
    by_mail = pl.when(personal).then(pl.lit("personal e-mail")).otherwise(pl.lit("e-mail"))
    written = pl.when(has["email"]).then(by_mail)
    return (
        pl.when(wanted == "none")
        .then(wanted)
        .when((wanted == "phone") & has["phone"])
        .then(wanted)
        .otherwise(
            written.when(has["address"]).then(pl.lit("letter")).when(has["phone"]).then(pl.lit("phone")).otherwise(None)
        )
    )


def contact_timing(tiers: Mapping[str, Any] | None, *, refills: bool = False) -> tuple[pl.Expr, pl.Expr]:
    """Say when to reach a customer.

    First-time buyers from the day by which a quarter of this shop's second purchases had come, and before the day by
    which four of five had; regulars and the best before their next order is due; for a refill, a few days before the
    product runs out; who is silent, now.
    """
    own = SegmentThresholds.from_dict(dict(tiers)) if tiers else None
    tomorrow = pl.col("as_of") + timedelta(days=1)
    begins, ends = pl.lit(None, pl.Date), pl.lit(None, pl.Date)
    if own is not None:
        begins = pl.col("first_order_date") + timedelta(days=round(own.second_purchase_from_days or 0))
        ends = pl.col("first_order_date") + timedelta(days=round(own.second_purchase_days))
    due, earliest = pl.col("next_order_date"), pl.col("next_order_date_low")
    once, silent = pl.col("segment") == FIRST_TIME, pl.col("segment").is_in([SLIPPING, WIN_BACK])
    expected = pl.col("segment").is_in([BEST, REGULAR])
    runs_out = pl.col("refill_on") if refills else pl.lit(None, pl.Date)
    refill = pl.col("segment") == REFILL
    on = (
        pl.when(once)
        .then(pl.max_horizontal(begins, tomorrow))
        .when(refill)
        .then(pl.max_horizontal(runs_out - timedelta(days=_REMIND_DAYS), tomorrow))
        .when(expected)
        .then(pl.max_horizontal(earliest, tomorrow))
        .when(silent | pl.col("ask_why"))
        .then(tomorrow)
    )
    when = (
        pl.when(silent | pl.col("ask_why"))
        .then(_when("now"))
        .when(once & (begins > tomorrow))
        .then(_when("on", begins))
        .when(once & (ends > tomorrow))
        .then(_when("by", ends))
        .when(once)
        .then(_when("now"))
        .when(expected & (due > tomorrow))
        .then(_when("by", due))
        .when(expected)
        .then(_when("any_time"))
        .when(refill)
        .then(_when("by", runs_out))
        .otherwise(_when("never"))
    )
    return on, when


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
