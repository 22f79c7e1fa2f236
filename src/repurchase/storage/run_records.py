"""Read and validate scores files with their run and monitoring records."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import InputError
from repurchase.schemas import scores_table
from repurchase.storage.json_files import has_valid_digest, read_untrusted_json, sha256_of

_MAX_NUMBER = 1e15
"""Beyond money and rows of any shop."""


class _Optional(NamedTuple):
    shape: Any


# A shape is a test of one value; [shape], a list of such; or fields by name: "name?" may be absent, "*" is any other.
_Shape = Callable[[Any], bool] | list[Any] | Mapping[str, Any] | _Optional


def find_run_record_fault(run: Any) -> str | None:
    """Say what in the record of a run is not as `repurchase score` writes it."""
    return _first_fault(run, _RUN_SHAPE, "") or _curve_length_fault(run)


def find_monitor_record_fault(record: Any) -> str | None:
    """Say what in a record of monitoring is not as `repurchase monitor` writes it."""
    return _first_fault(record, _MONITOR_SHAPE, "")


def _first_fault(value: Any, shape: _Shape, at: str) -> str | None:
    if isinstance(shape, _Optional):
        is_absent = value is None or (value == {} and isinstance(shape.shape, Mapping))
        return None if is_absent else _first_fault(value, shape.shape, at)
    parts: Iterable[tuple[str, Any, _Shape]] | None
    if isinstance(shape, list):
        parts = ((f"{at}[{n}]", one, shape[0]) for n, one in enumerate(value)) if isinstance(value, list) else None
    elif isinstance(shape, Mapping):
        parts = _fields(value, shape, at) if isinstance(value, dict) else None
    else:
        return None if shape(value) else at
    if parts is None:
        return at
    return next((found for place, one, inner in parts if (found := _first_fault(one, inner, place)) is not None), None)


def _curve_length_fault(run: Mapping[str, Any]) -> str | None:
    """The first gains curve whose two sides differ in length."""
    for number, curve in enumerate((run.get("evaluation") or {}).get("gains") or []):
        buyers, contacted = curve.get("buyers_share"), curve.get("contacted_share")
        if buyers and contacted and len(buyers) != len(contacted):
            return f"evaluation.gains[{number}]"
    return None


def _fields(value: dict[str, Any], shape: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any, _Shape]]:
    for named, inner in shape.items():
        name = named.removesuffix("?")
        if named == "*":
            yield from ((f"{at}.{key}".lstrip("."), one, inner) for key, one in value.items())
        elif name in value:
            yield f"{at}.{name}".lstrip("."), value[name], inner
        elif named == name:
            yield f"{at}.{name}".lstrip("."), None, _is_never


def _is_any(_: Any) -> bool:
    return True


def _is_never(_: Any) -> bool:
    return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER


def _is_day(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def _is_month(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value) is not None


def _is_period(value: Any) -> bool:
    return value in ("week", "month", "quarter", "year")


def _is_param(value: Any) -> bool:
    """A parameter of a fact: text, a number, or a list of texts with the count of each."""
    if not isinstance(value, list):
        return _is_text(value) or _is_number(value)
    pairs = all(isinstance(item, list) and len(item) == 2 for item in value)
    return pairs and all(_is_text(name) and (number is None or _is_count(number)) for name, number in value)


def _mapping_by_days(shape: _Shape) -> _Shape:
    return lambda told: (
        isinstance(told, dict)
        and all(days.isdecimal() and _first_fault(one, shape, days) is None for days, one in told.items())
    )


def _optional_fields(**fields: Any) -> dict[str, Any]:
    return {f"{name}?": _Optional(shape) for name, shape in fields.items()}


_FIGURES = _optional_fields(
    log_loss=_is_number, auc=_is_number, ece=_is_number, base_rate=_is_number, top_decile_lift=_is_number
)
_JUDGED = {
    "horizon_days": _is_count,
    **_optional_fields(
        judged=_is_flag,
        n_cutoffs=_is_count,
        grade=_is_text,
        log_loss_gain=_is_number,
        why_not_judged=_is_text,
        model=_FIGURES,
        rules={"*": _Optional(_FIGURES)},
    ),
}
_CURVE = {"horizon_days": _is_count, "predictor": _is_text}
_BIN = {"n": _is_count, "p_mean": _Optional(_is_number), "bought_share": _Optional(_is_number)}
_GAINS = {**_CURVE, "buyers_share": _Optional([_is_number]), "contacted_share?": _Optional([_is_number])}
_EVALUATION = _optional_fields(
    primary_horizon_days=_is_count,
    grade=_is_text,
    grade_words=_is_text,
    rule=_is_text,
    best_rule=_is_text,
    reasons=[_is_text],
    limits=[_is_text],
    horizons=[_JUDGED],
    backtest=[{**_CURVE, "spend_bias?": _Optional(_is_number)}],
    calibration=[{**_CURVE, "bins": _Optional([_BIN])}],
    gains=[_GAINS],
    money_top_decile=_optional_fields(model=_is_number, best_rule=_is_number, currency=_is_text),
)
_MONTH = {
    "month": _is_month,
    "repeat_rate": _Optional(_is_number),
    "retention": _Optional(_is_number),
    "customers": _is_count,
    "returning_customers": _is_count,
    **_optional_fields(
        new_customers=_is_count, orders=_is_count, sales=_is_number, returning_sales=_is_number, reorders=_is_count
    ),
    **_optional_fields(retention_year=_is_number, complete=_is_flag),
}
_COHORT = {
    "cohort": _is_text,
    "size": _is_count,
    "active_share": [_is_number],
    "sales_share?": _Optional([_Optional(_is_number)]),
}
_SPENDER = {
    "customers": _is_count,
    "sales_per_customer": _Optional(_is_number),
    "sales_per_purchase_day": _Optional(_is_number),
}
_RHYTHM = {"quarter_days": _is_number, "median_days": _is_number, "three_quarters_days": _is_number}
_MEASURES = {
    "as_of": _is_day,
    **_optional_fields(
        n_customers=_is_count,
        n_orders=_is_count,
        repeat_purchase_rate=_is_number,
        repeat_within=_mapping_by_days(_Optional(_is_number)),
        repeat_within_observed=_mapping_by_days(_is_count),
        median_days_to_second=_is_number,
        median_within_days=_is_count,
        sales_total=_is_number,
        returning_sales_share=_is_number,
        reorder_rate=_is_number,
        spenders={"*": _Optional(_SPENDER)},
        rhythm=_RHYTHM,
        monthly=[_MONTH],
        cohorts=[_COHORT],
    ),
    "retention_window_days?": _is_count,
    "cohort_period?": _is_period,
}
_REASON = {
    "reason": _is_text,
    "rows": _is_count,
    **_optional_fields(found=_is_count, treatment=_is_text, words=_is_text),
}
_CLEANING = {
    "reasons?": [_REASON],
    **_optional_fields(n_raw=_is_count, n_kept=_is_count, notes=[_is_text], currency=_is_text),
}
_FEATURE = {"feature": _is_text, "level": _is_text, "psi": _Optional(_is_number), "usual": _Optional(_is_number)}
_DRIFT = {"words": _is_text, "drifted": _is_flag, "features?": _Optional([_FEATURE])}
_SEGMENT_RULES_SHAPE = {
    "risk_horizon_days": _is_count,
    "high_value": _is_number,
    "second_purchase_days": _is_number,
    "worth_winning": _is_number,
    "worth_value?": _is_number,
    "second_purchase_from_days?": _Optional(_is_number),
    "second_purchase_median_days?": _Optional(_is_number),
    "usual_gap_days?": _is_number,
    "late_from?": _is_number,
    "loyal_purchases?": _is_count,
}
_READING_FACT_SHAPE = {"key": _is_text, "params": {"*": _is_param}}
_IGNORED_COLUMN_SHAPE = {"column": _is_text, "why": _READING_FACT_SHAPE}
_READING_ROLE_SHAPE = {
    "role": _is_text,
    "column": _Optional(_is_text),
    "meaning": _READING_FACT_SHAPE,
    "evidence": [_READING_FACT_SHAPE],
    "rejected": [_IGNORED_COLUMN_SHAPE],
}
_READING_SHAPE = {"roles": [_READING_ROLE_SHAPE], "ignored": [_IGNORED_COLUMN_SHAPE]}
_RUN_SHAPE = _optional_fields(
    created_at=_is_text,
    repurchase_version=_is_text,
    model_version=_is_text,
    model_as_of=_is_day,
    clv_horizon_days=_is_count,
    discount_rate=_is_number,
    currency=_is_text,
    notes=[_is_text],
    duplicates=[_is_text],
    forgotten=[{"*": _is_any}],
    list=_is_text,
    pseudonyms={"method": _is_text, "key": _is_text},
    engine=_optional_fields(engine=_is_text),
    orders=_optional_fields(
        source=_is_text, digest=_is_text, layout=_is_text, columns={"*": _is_text}, reading=_READING_SHAPE
    ),
    outputs={"*": _Optional({"path?": _is_text, "sha256?": _Optional(_is_text)})},
    cleaning=_Optional(_CLEANING),
    drift=_DRIFT,
    tiers=_SEGMENT_RULES_SHAPE,
    measures=_MEASURES,
    evaluation=_EVALUATION,
)
_TOTALS = {"expected": _is_number, "came": _is_number}
_TOP_DECILE = {
    "available": _is_number,
    "by_expected_spend": _is_number,
    **_optional_fields(by_value_at_risk=_is_number, by_best_rule=_is_number),
}
_ELAPSED_HORIZON_SHAPE = {
    "passed": _is_flag,
    "horizon_days": _is_count,
    "n_customers": _is_count,
    "p_mean": _is_number,
    "bought_share": _is_number,
    "model": {
        "log_loss": _Optional(_is_number),
        "auc": _Optional(_is_number),
        "ece": _Optional(_is_number),
        "excess_ece?": _Optional(_is_number),
    },
    "rules": {"*": {"log_loss": _Optional(_is_number)}},
    "orders": _TOTALS,
    "spend": _Optional(_TOTALS),
    "money_top_decile": _Optional(_TOP_DECILE),
    "grade": _Optional(_is_text),
    "then?": _Optional(_optional_fields(grade=_is_text, ece=_is_number, auc=_is_number)),
}
_PENDING_HORIZON_SHAPE = {"passed": _is_flag, "horizon_days": _is_count, "days_missing": _is_count, "ends": _is_day}


def _horizon(row: Any) -> bool:
    shape = _ELAPSED_HORIZON_SHAPE if isinstance(row, dict) and row.get("passed") is True else _PENDING_HORIZON_SHAPE
    return _first_fault(row, shape, "") is None


_RANGE = {"n": _is_count, "inside": _Optional(_is_number)}
_MONITOR_SHAPE = {
    "observed_until": _is_day,
    "horizons": [_horizon],
    "ranges": {"clv": _RANGE, "next_order": _RANGE},
    "advice": {"retrain": _is_flag, "words": _is_text},
    "notes?": _Optional([_is_text]),
}


RISK_BANDS = ("high", "medium", "low")
_DEFAULT_HORIZON_DAYS = 90
RUN_SCHEMA = 1
MONITOR_SUFFIX, _MONITOR_SCHEMA = ".monitor.json", 1
_MONEY_COLUMNS = ("spend_total", "spend_mean", "clv", "clv_low", "clv_high", "value_at_risk")


@dataclass(frozen=True)
class ScoredRun:
    """Scores and the record of their run, with what every part of the page asks of them."""

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
            spans = {band: (low, high) for band, low, high in ranges.drop_nulls().iter_rows() if band in RISK_BANDS}
            ordered = [spans[band] for band in RISK_BANDS if band in spans]
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


def order_risk_bands(bands: pl.Series) -> list[str]:
    """List the risk bands there are."""
    there = set(bands.drop_nulls())
    return [band for band in RISK_BANDS if band in there] + sorted(there - set(RISK_BANDS))


def validate_scored_run(scores: pl.DataFrame, run: Mapping[str, Any] | None, *, name: str = "scores") -> ScoredRun:
    """Hold scores against their contract and put them beside the record of their run."""
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
        words = f"{path}: not readable as scores ({why}). Send what `repurchase score` wrote."
        raise InputError(words, withheld=why) from fault


def _read_scores_csv(path: Path) -> pl.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = next(csv.reader(lines), [])
    known = scores_table(_horizons_of_columns(header)).schema
    return pl.read_csv(path, glob=False, schema_overrides={name: known.get(name, pl.String()) for name in header})


def read_run_record(scores_path: Path) -> tuple[dict[str, Any], str | None]:
    """Read the record beside a scores file, if it belongs to that file."""
    path = scores_path.with_suffix(".run.json")
    if not path.is_file():
        return {}, f"There is no {path.name} beside the scores."
    try:
        run = read_untrusted_json(path)
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read as JSON."
    if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
        return {}, f"{path.name} is not the record of a scoring run that this version knows."
    fault = "digest" if "digest" in run and not has_valid_digest(run) else find_run_record_fault(run)
    if fault:
        return {}, f"{path.name} was changed by hand: {fault} is not as `repurchase score` writes it."
    written = ((run.get("outputs") or {}).get("scores") or {}).get("sha256")
    if written != sha256_of(scores_path):
        return {}, f"{path.name} belongs to other scores: their digest is not that of {scores_path.name}."
    return run, None


def read_monitor_record(scores_path: Path) -> tuple[dict[str, Any], str | None]:
    """Read what `repurchase monitor` wrote beside a scores file, if it belongs to that file."""
    path = scores_path.with_name(scores_path.stem + MONITOR_SUFFIX)
    if not path.is_file():
        return {}, None
    try:
        record = read_untrusted_json(path)
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read as JSON."
    unknown = f"{path.name} is not a record of `repurchase monitor` that this version knows."
    if not isinstance(record, dict) or record.get("schema") != _MONITOR_SCHEMA or record.get("command") != "monitor":
        return {}, unknown
    scores = record.get("scores")
    if not isinstance(scores, dict) or scores.get("sha256") != sha256_of(scores_path):
        return {}, f"{path.name} belongs to other scores: monitor these again."
    if find_monitor_record_fault(record) is not None or ("digest" in record and not has_valid_digest(record)):
        return {}, unknown
    return record, None
