"""What the page stands on: a scores file, and the ``run.json`` beside it."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.marketing.segments import segment_of
from repurchase.report.recorded import misshapen, misshapen_monitor
from repurchase.storage.digests import has_own_digest, sha256_of
from repurchase.storage.outputs import json_in
from repurchase.tables import scores_table

__all__ = ["BANDS", "MONITOR", "Facts", "gather", "in_order", "one_run", "read_monitor", "read_run", "read_scores"]

BANDS = ("high", "medium", "low")
USUAL_HORIZON_DAYS = 90
RUN_SCHEMA = 1
MONITOR, MONITOR_SCHEMA = ".monitor.json", 1
MONEY_COLUMNS = ("spend_total", "spend_mean", "clv", "clv_low", "clv_high", "value_at_risk")


@dataclass(frozen=True)
class Facts:
    """Scores and the record of their run, with what every part of the page asks of them.

    Parameters
    ----------
    scores : DataFrame
        One row per customer asked for (see ``tables.scores_table``).
    run : mapping
        The run's record; empty where there is none.
    horizons : tuple of int
        Days ahead, rising.
    """

    scores: pl.DataFrame
    run: Mapping[str, Any]
    horizons: tuple[int, ...]

    @cached_property
    def scored(self) -> pl.DataFrame:
        """Customers with scores."""
        return self.scores.filter(pl.col("status") == "scored")

    @cached_property
    def as_of(self) -> date | None:
        """The last day observed."""
        days = self.scores["as_of"].drop_nulls().unique().sort().to_list()
        return days[-1] if days else None

    @cached_property
    def primary_days(self) -> int:
        """The horizon shown where one must do: the evaluation's own, else the one nearest to 90 days."""
        judged = self.evaluation.get("primary_horizon_days")
        if isinstance(judged, int) and judged in self.horizons:
            return judged
        return min(self.horizons, key=lambda days: (abs(days - USUAL_HORIZON_DAYS), days))

    @cached_property
    def risk_column(self) -> str:
        """The churn risk shown beside the bands."""
        days = self.risk_days if self.risk_days in self.horizons else self.primary_days
        return f"churn_risk_{days}d"

    @cached_property
    def risk_days(self) -> int | None:
        """The horizon whose churn risk makes the bands: as recorded, else the longest at which they do not overlap."""
        told = (self.run.get("tiers") or {}).get("risk_horizon_days")
        if told is not None:
            return int(told)
        for days in reversed(self.horizons):
            risk = pl.col(f"churn_risk_{days}d")
            ranges = self.scored.group_by("risk_band").agg(low=risk.min(), high=risk.max())
            spans = {band: (low, high) for band, low, high in ranges.drop_nulls().iter_rows() if band in BANDS}
            ordered = [spans[band] for band in BANDS if band in spans]
            if len(ordered) > 1 and all(above[0] >= below[1] for above, below in pairwise(ordered)):
                return days
        return None

    @cached_property
    def has_money(self) -> bool:
        """Whether any customer has money at risk or a lifetime value."""
        return any(bool(self.scored[name].is_not_null().any()) for name in ("clv", "value_at_risk"))

    @property
    def currency(self) -> str | None:
        """The currency, if the run names one."""
        named = self.run.get("currency") or self.cleaning.get("currency")
        return str(named) if named else None

    @property
    def cleaning(self) -> Mapping[str, Any]:
        """What came in and was set aside."""
        return self.run.get("cleaning") or {}

    @property
    def measures(self) -> Mapping[str, Any]:
        """Measures of repeat business."""
        return self.run.get("measures") or {}

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """How good the predictions were on later orders."""
        return self.run.get("evaluation") or {}

    @property
    def clv_days(self) -> int:
        """Days over which lifetime value counts."""
        return int(self.run.get("clv_horizon_days") or 365)


def in_order(bands: pl.Series) -> list[str]:
    """List the risk bands there are.

    Parameters
    ----------
    bands : Series of str
        A band per customer; missing ones are passed over.

    Returns
    -------
    list of str
        Each once: high, medium, low, then any other.

    Examples
    --------
    >>> in_order(pl.Series(["low", "high", None, "low"]))
    ['high', 'low']
    """
    there = set(bands.drop_nulls())
    return [band for band in BANDS if band in there] + sorted(there - set(BANDS))


def gather(scores: pl.DataFrame, run: Mapping[str, Any] | None, *, name: str = "scores") -> Facts:
    """Hold scores against their contract and put them beside the record of their run.

    Parameters
    ----------
    scores : DataFrame
        Scores; the horizons are those of its columns. Money columns may be missing.
    run : mapping, optional
        The run's record.
    name : str
        What a message calls the scores.

    Returns
    -------
    Facts
        Both.

    Raises
    ------
    InputError
        If these are not scores.

    Examples
    --------
    >>> gather(pl.DataFrame({"customer_id": ["1"]}), None, name="a.csv")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: a.csv is not a scores table: no column p_repurchase_<days>d. Found: customer_id. ...
    """
    horizons = _horizons(scores.columns)
    if not horizons:
        found = ", ".join(scores.columns[:12]) or "no columns"
        raise InputError(
            f"{name} is not a scores table: no column p_repurchase_<days>d. Found: {found}. "
            "Send what `repurchase score` wrote."
        )
    money = [*MONEY_COLUMNS, *(f"spend_expected_{days}d" for days in horizons)]
    absent = [pl.lit(None, dtype=pl.Float64).alias(column) for column in money if column not in scores.columns]
    try:
        checked = scores_table(horizons).check(scores.with_columns(absent))
    except InputError as fault:
        raise InputError(f"{name} is not a scores table: {fault} Send what `repurchase score` wrote.") from fault
    return Facts(checked, run or {}, horizons)


def one_run(facts: Facts, *, name: str = "scores") -> Facts:
    """Require that scores are what one run wrote: of one model, one day, and segments that this version knows.

    Parameters
    ----------
    facts : Facts
        From `gather`; no customers at all are one run's too.
    name : str
        What a message calls the scores.

    Returns
    -------
    Facts
        The same.

    Raises
    ------
    InputError
        If they are of several, the record is of another model, or a segment is not known.
    """
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


def _horizons(columns: list[str]) -> tuple[int, ...]:
    matches = (re.fullmatch(r"p_repurchase_(\d+)d", column) for column in columns)
    return tuple(sorted(int(match[1]) for match in matches if match))


def read_scores(path: Path) -> pl.DataFrame:
    """Read a scores file.

    Parameters
    ----------
    path : Path
        Parquet or CSV, as `repurchase score` writes it.

    Returns
    -------
    DataFrame
        Its rows, in the contract's types.

    Raises
    ------
    InputError
        If there is no such file, or it is neither.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Send what `repurchase score` wrote, a .parquet or .csv file.")
    try:
        return (
            _read_csv(path)
            if path.suffix.lower() == ".csv"
            else pl.read_parquet(path, glob=False, hive_partitioning=False)
        )
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as fault:
        why = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        words = f"{path}: not readable as scores ({why}). Send what `repurchase score` wrote."
        raise InputError(words, withheld=why) from fault


def _read_csv(path: Path) -> pl.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = next(csv.reader(lines), [])
    known = scores_table(_horizons(header)).schema
    return pl.read_csv(path, glob=False, schema_overrides={name: known.get(name, pl.String()) for name in header})


def read_run(scores_path: Path) -> tuple[dict[str, Any], str | None]:
    """Read the record beside a scores file, if it belongs to that file.

    Parameters
    ----------
    scores_path : Path
        The scores file; its record has the same name, ending in ``.run.json``.

    Returns
    -------
    run : dict
        The record; empty where it cannot be used.
    why_not : str, optional
        Why it cannot, as a sentence.
    """
    path = scores_path.with_suffix(".run.json")
    if not path.is_file():
        return {}, f"There is no {path.name} beside the scores."
    try:
        run = json_in(path)
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read as JSON."
    if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
        return {}, f"{path.name} is not the record of a scoring run that this version knows."
    fault = "digest" if "digest" in run and not has_own_digest(run) else misshapen(run)
    if fault:
        return {}, f"{path.name} was changed by hand: {fault} is not as `repurchase score` writes it."
    written = ((run.get("outputs") or {}).get("scores") or {}).get("sha256")
    if written != sha256_of(scores_path):
        return {}, f"{path.name} belongs to other scores: their digest is not that of {scores_path.name}."
    return run, None


def read_monitor(scores_path: Path) -> tuple[dict[str, Any], str | None]:
    """Read what `repurchase monitor` wrote beside a scores file, if it belongs to that file.

    Parameters
    ----------
    scores_path : Path
        The scores file; the record has the same name, ending in ``.monitor.json``.

    Returns
    -------
    record : dict
        The record; empty where there is none or it cannot be used.
    why_not : str, optional
        Why one that is there cannot be used, as a sentence.
    """
    path = scores_path.with_name(scores_path.stem + MONITOR)
    if not path.is_file():
        return {}, None
    try:
        record = json_in(path)
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read as JSON."
    unknown = f"{path.name} is not a record of `repurchase monitor` that this version knows."
    if not isinstance(record, dict) or record.get("schema") != MONITOR_SCHEMA or record.get("command") != "monitor":
        return {}, unknown
    scores = record.get("scores")
    if not isinstance(scores, dict) or scores.get("sha256") != sha256_of(scores_path):
        return {}, f"{path.name} belongs to other scores: monitor these again."
    if misshapen_monitor(record) is not None or ("digest" in record and not has_own_digest(record)):
        return {}, unknown
    return record, None
