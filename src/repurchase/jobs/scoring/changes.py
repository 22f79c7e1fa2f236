"""What has changed in the orders since the scores that lie at the same place were made."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.features.rfm import rfm
from repurchase.features.timeline import Ledger
from repurchase.jobs.intake import Intake
from repurchase.tables import SCORES

__all__ = ["LastRun", "changes_since", "last_run"]

logger = logging.getLogger("repurchase")

_HISTORY = ("orders", "last_order_date", "spend_total")
_SAME_MONEY = 0.005


@dataclass(frozen=True)
class LastRun:
    """The run whose scores lie where new ones will.

    Parameters
    ----------
    run : mapping
        Its record.
    as_of : date
        Its last day observed.
    scores : LazyFrame or None
        What it knew of customers: ``customer_id``, ``orders``, ``last_order_date``, ``spend_total``; None where they
        are not files, or their ids cannot be compared.
    """

    run: Mapping[str, Any]
    as_of: date
    scores: pl.LazyFrame | None

    @property
    def is_of_a_list(self) -> bool:
        """Whether it scored a customer list and not everyone."""
        return self.run.get("list") is not None


class _Compared(NamedTuple):
    """Customers known of the last run's day now: as then, otherwise, or not known then."""

    same: int
    corrected: int
    late: int


def last_run(scores: Path, run: Mapping[str, Any] | None, *, pseudonyms: Mapping[str, str] | None) -> LastRun | None:
    """Find the scores that will be replaced.

    Parameters
    ----------
    scores : Path
        Where they lie, if they are a file.
    run : mapping, optional
        Their record.
    pseudonyms : mapping, optional
        How ids are hashed tonight.

    Returns
    -------
    LastRun or None
        None if there is no record of any.
    """
    try:
        as_of = date.fromisoformat(str((run or {})["as_of"]))
    except (KeyError, ValueError):
        return None
    comparable = scores.is_file() and (run or {}).get("pseudonyms") == pseudonyms
    return LastRun(run or {}, as_of, _known_then(scores) if comparable else None)


def _known_then(scores: Path) -> pl.LazyFrame | None:
    # Every value of a CSV is read as text: a guess at the type of ids loses their zeros.
    if scores.suffix == ".csv":
        lazy = pl.scan_csv(scores, infer_schema=False, glob=False)
    else:
        lazy = pl.scan_parquet(scores, glob=False, hive_partitioning=False)
    try:
        columns = set(lazy.collect_schema().names())
    except (OSError, pl.exceptions.PolarsError):
        return None
    if not {"customer_id", "status", *_HISTORY} <= columns:
        return None
    known = lazy.filter(pl.col("status") == "scored")
    return known.select("customer_id", *(pl.col(name).cast(SCORES.schema[name], strict=False) for name in _HISTORY))


def changes_since(last: LastRun | None, intake: Intake) -> dict[str, Any] | None:
    """Say what has changed in the orders since the last run.

    What was known of a customer then is compared with what the orders of tonight say of the same day: equal unless
    orders came late, were corrected, or customers were merged or erased. Orders of later days are no change.

    Parameters
    ----------
    last : LastRun, optional
        From `last_run`.
    intake : Intake
        Tonight's orders.

    Returns
    -------
    dict or None
        ``since`` (when the last run was), ``as_of`` (its day), ``same_orders`` (whether the very same were read),
        ``rows_more``, ``customers_more``, and ``customers``: how many are the ``same`` as on that day, were
        ``corrected``, are ``gone``, or came ``late`` (null for a list, which does not name everyone); null where
        customers could not be compared. None without a last run.
    """
    if last is None:
        return None
    try:
        return _changes(last, intake)
    except (OSError, pl.exceptions.PolarsError) as fault:  # the scores of last night, not tonight's
        logger.warning("What has changed is not known: the earlier scores cannot be read (%s)", type(fault).__name__)
        return None


def _changes(last: LastRun, intake: Intake) -> dict[str, Any]:
    orders, cleaning = last.run.get("orders") or {}, last.run.get("cleaning") or {}
    compared = None
    if last.scores is not None and last.as_of <= intake.as_of:
        same, corrected, late = map(sum, zip(*(_compared(book, last) for book in intake.books), strict=True))
        gone = _n_rows(last.scores) - same - corrected
        compared = {"same": same, "corrected": corrected, "gone": gone, "late": None if last.is_of_a_list else late}
    return {
        "since": last.run.get("created_at"),
        "as_of": last.as_of.isoformat(),
        "same_orders": orders.get("digest") == intake.log.digest,
        "rows_more": intake.report.n_raw - int(cleaning.get("n_raw") or 0),
        "customers_more": intake.report.n_customers - int(orders.get("n_customers") or 0),
        "customers": compared,
    }


def _n_rows(scores: pl.LazyFrame) -> int:
    return int(scores.select(pl.len()).collect(engine="streaming").item())


def _compared(book: Ledger, last: LastRun) -> _Compared:
    if last.scores is None or not len(book.ids):
        return _Compared(0, 0, 0)
    here = pl.col("customer_id").is_between(pl.lit(book.ids[0]), pl.lit(book.ids[-1]))
    then = last.scores.filter(here).collect(engine="streaming")
    now = rfm(book.history(last.as_of), book.ids).select("customer_id", *_HISTORY)
    both = now.join(then, on="customer_id", suffix="_then")
    other = pl.any_horizontal(
        pl.col("orders") != pl.col("orders_then"),
        pl.col("last_order_date") != pl.col("last_order_date_then"),
        (pl.col("spend_total") - pl.col("spend_total_then")).abs() > _SAME_MONEY,
    ).fill_null(value=False)
    corrected = int(both.select(other.sum()).item())
    return _Compared(same=both.height - corrected, corrected=corrected, late=now.height - both.height)
