"""Read and validate scores files with their run and monitoring records."""

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

from repurchase.errors import InputError
from repurchase.i18n.messages import Message, message
from repurchase.schemas import scores_table
from repurchase.storage.json_files import has_valid_digest, read_json, sha256_of
from repurchase.validation import (
    ANY,
    COUNT,
    DAY,
    FLAG,
    NUMBER,
    STATEMENT,
    TEXT,
    Check,
    Nullable,
    Schema,
    first_fault,
    is_number,
    one_of,
    optional_fields,
    text_matching,
)

# Schemas of the records


def _by_days(schema: Schema) -> Check:
    """Describe a table whose keys are numbers of days."""

    def holds(value: Any) -> bool:
        return first_fault(value, {"*": schema}) is None and all(days.isdecimal() for days in value)

    return Check(holds, "a table by numbers of days")


def _is_message_parameter(value: Any) -> bool:
    """Tell whether a value is a text, a number, or a list of pairs of a text and its count."""
    if not isinstance(value, list):
        return isinstance(value, str) or is_number(value)
    pair = Check(
        lambda item: isinstance(item, list) and [*map(type, item)] in ([str, int], [str, type(None)]), "a pair"
    )
    return first_fault(value, [pair]) is None


_MONTH_NAME = text_matching(r"\d{4}-(0[1-9]|1[0-2])", "a month such as 2024-12")
_COHORT_PERIOD = one_of("week", "month", "quarter", "year")
_MESSAGE_PARAMETER = Check(_is_message_parameter, "a text, a number or a list of counts")
_FIGURES = optional_fields(log_loss=NUMBER, auc=NUMBER, ece=NUMBER, base_rate=NUMBER, top_decile_lift=NUMBER)
_JUDGED = {
    "horizon_days": COUNT,
    **optional_fields(
        judged=FLAG,
        n_cutoffs=COUNT,
        grade=TEXT,
        log_loss_gain=NUMBER,
        why_not_judged=STATEMENT,
        model=_FIGURES,
        rules={"*": Nullable(_FIGURES)},
    ),
}
_CURVE = {"horizon_days": COUNT, "predictor": TEXT}
_BIN = {"n": COUNT, "p_mean": Nullable(NUMBER), "bought_share": Nullable(NUMBER)}
_GAINS = {**_CURVE, "buyers_share": Nullable([NUMBER]), "contacted_share?": Nullable([NUMBER])}
_EVALUATION = optional_fields(
    primary_horizon_days=COUNT,
    grade=TEXT,
    grade_words=STATEMENT,
    rule=STATEMENT,
    best_rule=TEXT,
    reasons=[STATEMENT],
    limits=[STATEMENT],
    horizons=[_JUDGED],
    backtest=[{**_CURVE, "spend_bias?": Nullable(NUMBER)}],
    calibration=[{**_CURVE, "bins": Nullable([_BIN])}],
    gains=[_GAINS],
    money_top_decile=optional_fields(model=NUMBER, best_rule=NUMBER, currency=TEXT),
)
_MONTH = {
    "month": _MONTH_NAME,
    "repeat_rate": Nullable(NUMBER),
    "retention": Nullable(NUMBER),
    "customers": COUNT,
    "returning_customers": COUNT,
    **optional_fields(new_customers=COUNT, orders=COUNT, sales=NUMBER, returning_sales=NUMBER, reorders=COUNT),
    **optional_fields(retention_year=NUMBER, complete=FLAG),
}
_COHORT = {
    "cohort": TEXT,
    "size": COUNT,
    "active_share": [NUMBER],
    "sales_share?": Nullable([Nullable(NUMBER)]),
}
_SPENDER = {
    "customers": COUNT,
    "sales_per_customer": Nullable(NUMBER),
    "sales_per_purchase_day": Nullable(NUMBER),
}
_RHYTHM = {"quarter_days": NUMBER, "median_days": NUMBER, "three_quarters_days": NUMBER}
_MEASURES = {
    "as_of": DAY,
    **optional_fields(
        n_customers=COUNT,
        n_orders=COUNT,
        repeat_purchase_rate=NUMBER,
        repeat_within=_by_days(Nullable(NUMBER)),
        repeat_within_observed=_by_days(COUNT),
        median_days_to_second=NUMBER,
        median_within_days=COUNT,
        sales_total=NUMBER,
        returning_sales_share=NUMBER,
        reorder_rate=NUMBER,
        spenders={"*": Nullable(_SPENDER)},
        rhythm=_RHYTHM,
        monthly=[_MONTH],
        cohorts=[_COHORT],
    ),
    "retention_window_days?": COUNT,
    "cohort_period?": _COHORT_PERIOD,
}
_REASON = {
    "reason": TEXT,
    "rows": COUNT,
    **optional_fields(found=COUNT, treatment=TEXT, words=STATEMENT),
}
_CLEANING = {
    "reasons?": [_REASON],
    **optional_fields(n_raw=COUNT, n_kept=COUNT, notes=[STATEMENT], currency=TEXT),
}
_FEATURE = {"feature": TEXT, "level": TEXT, "psi": Nullable(NUMBER), "usual": Nullable(NUMBER)}
_DRIFT = {"words": STATEMENT, "drifted": FLAG, "features?": Nullable([_FEATURE])}
_SEGMENT_RULES = {
    "risk_horizon_days": COUNT,
    "high_value": NUMBER,
    "second_purchase_days": NUMBER,
    "worth_winning": NUMBER,
    "worth_value?": NUMBER,
    "second_purchase_from_days?": Nullable(NUMBER),
    "second_purchase_median_days?": Nullable(NUMBER),
    "usual_gap_days?": NUMBER,
    "late_from?": NUMBER,
    "loyal_purchases?": COUNT,
}
_MESSAGE = {"key": TEXT, "params": {"*": _MESSAGE_PARAMETER}}
_IGNORED_COLUMN = {"column": TEXT, "why": _MESSAGE}
_COLUMN_READING = {
    "role": TEXT,
    "column": Nullable(TEXT),
    "meaning": _MESSAGE,
    "evidence": [_MESSAGE],
    "rejected": [_IGNORED_COLUMN],
}
_READING = {"roles": [_COLUMN_READING], "ignored": [_IGNORED_COLUMN]}
_RUN = optional_fields(
    created_at=TEXT,
    repurchase_version=TEXT,
    model_version=TEXT,
    model_as_of=DAY,
    clv_horizon_days=COUNT,
    discount_rate=NUMBER,
    currency=TEXT,
    notes=[STATEMENT],
    duplicates=[TEXT],
    forgotten=[{"*": ANY}],
    list=TEXT,
    pseudonyms={"method": TEXT, "key": TEXT},
    engine=optional_fields(engine=TEXT),
    orders=optional_fields(source=TEXT, digest=TEXT, layout=STATEMENT, columns={"*": TEXT}, reading=_READING),
    outputs={"*": Nullable({"path?": TEXT, "sha256?": Nullable(TEXT)})},
    cleaning=Nullable(_CLEANING),
    drift=_DRIFT,
    tiers=_SEGMENT_RULES,
    measures=_MEASURES,
    evaluation=_EVALUATION,
)
_TOTALS = {"expected": NUMBER, "came": NUMBER}
_TOP_DECILE = {
    "available": NUMBER,
    "by_expected_spend": NUMBER,
    **optional_fields(by_value_at_risk=NUMBER, by_best_rule=NUMBER),
}
_ELAPSED_HORIZON = {
    "passed": FLAG,
    "horizon_days": COUNT,
    "n_customers": COUNT,
    "p_mean": NUMBER,
    "bought_share": NUMBER,
    "model": {
        "log_loss": Nullable(NUMBER),
        "auc": Nullable(NUMBER),
        "ece": Nullable(NUMBER),
        "excess_ece?": Nullable(NUMBER),
    },
    "rules": {"*": {"log_loss": Nullable(NUMBER)}},
    "orders": _TOTALS,
    "spend": Nullable(_TOTALS),
    "money_top_decile": Nullable(_TOP_DECILE),
    "grade": Nullable(TEXT),
    "then?": Nullable(optional_fields(grade=TEXT, ece=NUMBER, auc=NUMBER)),
}
_PENDING_HORIZON = {"passed": FLAG, "horizon_days": COUNT, "days_missing": COUNT, "ends": DAY}


def _is_horizon(row: Any) -> bool:
    has_elapsed = isinstance(row, dict) and row.get("passed") is True
    return first_fault(row, _ELAPSED_HORIZON if has_elapsed else _PENDING_HORIZON) is None


_RANGE = {"n": COUNT, "inside": Nullable(NUMBER)}
_MONITOR = {
    "observed_until": DAY,
    "horizons": [Check(_is_horizon, "a horizon")],
    "ranges": {"clv": _RANGE, "next_order": _RANGE},
    "advice": {"retrain": FLAG, "words": STATEMENT},
    "notes?": Nullable([STATEMENT]),
}


def find_run_record_fault(run: Any) -> str | None:
    """Find the first field of a run's record that is not as `repurchase score` writes it."""
    fault = first_fault(run, _RUN)
    return fault.path if fault else _curve_length_fault(run)


def _curve_length_fault(run: Mapping[str, Any]) -> str | None:
    """Find the first gains curve whose two sides differ in length."""
    for number, curve in enumerate((run.get("evaluation") or {}).get("gains") or []):
        buyers, contacted = curve.get("buyers_share"), curve.get("contacted_share")
        if buyers and contacted and len(buyers) != len(contacted):
            return f"evaluation.gains[{number}]"
    return None


def find_monitor_record_fault(record: Any) -> str | None:
    """Find the first field of a monitoring record that is not as `repurchase monitor` writes it."""
    fault = first_fault(record, _MONITOR)
    return fault.path if fault else None


# Scores with the record of their run


RISK_BANDS = ("high", "medium", "low")
_DEFAULT_HORIZON_DAYS = 90
RUN_SCHEMA = 1
MONITOR_SUFFIX, _MONITOR_SCHEMA = ".monitor.json", 1
_MONEY_COLUMNS = ("spend_total", "spend_mean", "clv", "clv_low", "clv_high", "value_at_risk")


@dataclass(frozen=True)
class ScoredRun:
    """Scores and the record of their run, with the choices that every section of the report shares."""

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
        return min(self.horizons, key=lambda days: (abs(days - _DEFAULT_HORIZON_DAYS), days))

    @cached_property
    def risk_column(self) -> str:
        """The column of the churn risk shown next to the bands."""
        days = self.risk_days if self.risk_days in self.horizons else self.primary_days
        return f"churn_risk_{days}d"

    @cached_property
    def risk_days(self) -> int | None:
        """The horizon whose churn risk makes the bands: as recorded, else the longest at which they do not overlap."""
        recorded = (self.run.get("tiers") or {}).get("risk_horizon_days")
        if recorded is not None:
            return int(recorded)
        for days in reversed(self.horizons):
            risk = pl.col(f"churn_risk_{days}d")
            ranges = self.scored.group_by("risk_band").agg(low=risk.min(), high=risk.max())
            spans = {band: (low, high) for band, low, high in ranges.drop_nulls().iter_rows() if band in RISK_BANDS}
            ordered = [spans[band] for band in RISK_BANDS if band in spans]
            if len(ordered) > 1 and all(above[0] >= below[1] for above, below in pairwise(ordered)):
                return days
        return None

    @cached_property
    def has_money(self) -> bool:
        """Whether any customer has value at risk or a lifetime value."""
        return any(bool(self.scored[name].is_not_null().any()) for name in ("clv", "value_at_risk"))

    @property
    def currency(self) -> str | None:
        """The currency, if the run names one."""
        named = self.run.get("currency") or self.cleaning.get("currency")
        return str(named) if named else None

    @property
    def cleaning(self) -> Mapping[str, Any]:
        """Rows read, kept and set aside."""
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


def order_risk_bands(bands: pl.Series) -> list[str]:
    """List the risk bands that occur, from high to low."""
    found = set(bands.drop_nulls())
    return [band for band in RISK_BANDS if band in found] + sorted(found - set(RISK_BANDS))


def validate_scored_run(scores: pl.DataFrame, run: Mapping[str, Any] | None, *, name: str = "scores") -> ScoredRun:
    """Check scores against their contract, and combine them with the record of their run."""
    horizons = _horizons_of_columns(scores.columns)
    if not horizons:
        found = ", ".join(scores.columns[:12]) or "no columns"
        raise InputError(
            f"{name} is not a scores table: no column p_repurchase_<days>d. Found: {found}. "
            "Send what `repurchase score` wrote."
        )
    money = [*_MONEY_COLUMNS, *(f"spend_expected_{days}d" for days in horizons)]
    absent = [pl.lit(None, dtype=pl.Float64).alias(column) for column in money if column not in scores.columns]
    try:
        checked = scores_table(horizons).check(scores.with_columns(absent))
    except InputError as fault:
        raise InputError(f"{name} is not a scores table: {fault} Send what `repurchase score` wrote.") from fault
    return ScoredRun(checked, run or {}, horizons)


def _horizons_of_columns(columns: list[str]) -> tuple[int, ...]:
    matches = (re.fullmatch(r"p_repurchase_(\d+)d", column) for column in columns)
    return tuple(sorted(int(match[1]) for match in matches if match))


def read_scores(path: Path) -> pl.DataFrame:
    """Read a scores file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Send what `repurchase score` wrote, a .parquet or .csv file.")
    try:
        return (
            _read_scores_csv(path)
            if path.suffix.lower() == ".csv"
            else pl.read_parquet(path, glob=False, hive_partitioning=False)
        )
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as fault:
        why = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        message = f"{path}: not readable as scores ({why}). Send what `repurchase score` wrote."
        raise InputError(message, withheld=why) from fault


def _read_scores_csv(path: Path) -> pl.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = next(csv.reader(lines), [])
    known = scores_table(_horizons_of_columns(header)).schema
    return pl.read_csv(path, glob=False, schema_overrides={name: known.get(name, pl.String()) for name in header})


def read_run_record(scores_path: Path) -> tuple[dict[str, Any], Message | None]:
    """Read the record of a scores file, if it belongs to that file; else return why not."""
    path = scores_path.with_suffix(".run.json")
    if not path.is_file():
        return {}, message("record.no_run", name=path.name)
    try:
        run = read_json(path)
    except (OSError, ValueError):
        return {}, message("record.not_json", name=path.name)
    if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
        return {}, message("record.no_record", name=path.name)
    fault = "digest" if "digest" in run and not has_valid_digest(run) else find_run_record_fault(run)
    if fault:
        return {}, message("record.misshapen", name=path.name, part=fault)
    written = ((run.get("outputs") or {}).get("scores") or {}).get("sha256")
    if written != sha256_of(scores_path):
        return {}, message("record.other_scores", name=path.name, scores=scores_path.name)
    return run, None


def read_monitor_record(scores_path: Path) -> tuple[dict[str, Any], Message | None]:
    """Read the monitoring record of a scores file, if it belongs to that file; else return why not."""
    path = scores_path.with_name(scores_path.stem + MONITOR_SUFFIX)
    if not path.is_file():
        return {}, None
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}, message("record.not_json", name=path.name)
    unknown = message("record.no_monitor", name=path.name)
    if not isinstance(record, dict) or record.get("schema") != _MONITOR_SCHEMA or record.get("command") != "monitor":
        return {}, unknown
    scores = record.get("scores")
    if not isinstance(scores, dict) or scores.get("sha256") != sha256_of(scores_path):
        return {}, message("record.monitor_again", name=path.name)
    if find_monitor_record_fault(record) is not None or ("digest" in record and not has_valid_digest(record)):
        return {}, unknown
    return record, None
