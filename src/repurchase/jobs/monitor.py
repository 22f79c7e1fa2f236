"""`repurchase monitor`: earlier scores compared with outcomes, drift, and changes since the last run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import BundleError, DeliveryError, InputError
from repurchase.evaluation.drift import (
    PROFILE_SCHEMA,
    InputSummary,
    input_profile,
    measure_drift,
    summarise_input,
    unknown_drift,
)
from repurchase.evaluation.realised import (
    MAX_AGE_DAYS,
    DeliveredScores,
    evaluate_delivered,
    match_scores,
    range_coverage,
    retraining_advice,
    training_reference,
)
from repurchase.evaluation.summary import to_json_values
from repurchase.features.behaviour import rfm_of_history
from repurchase.features.ledger import Closing, Ledger
from repurchase.i18n.messages import Message, message, render
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.jobs.order_intake import Intake, LogSteps, Steps, load_orders, with_model_settings
from repurchase.jobs.outputs import MONITOR_OUTPUT, RUN_SUFFIX, JobResult, local_inputs, record_header, stage_record
from repurchase.registry.bundle import LoadedBundle, load_bundle
from repurchase.registry.champion import resolve_version
from repurchase.registry.tracking import log_monitoring
from repurchase.schemas import SCORES
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import require_distinct_paths, staged_delivery, work_folder
from repurchase.storage.json_files import sha256_of, with_digest
from repurchase.storage.run_records import MONITOR_SUFFIX, ScoredRun, read_run_record, read_scores, validate_scored_run

_logger = logging.getLogger("repurchase")


def training_profile(
    intake: Intake, ledger: Ledger, *, closing: Closing | None, summary: InputSummary | None = None
) -> dict[str, Any]:
    """Describe the orders that a model learns from, to be kept with it."""
    share = _set_aside_share(intake)
    return input_profile(ledger, as_of=intake.as_of, closing=closing, set_aside_share=share, summary=summary)


def assess_drift(bundle: LoadedBundle, intake: Intake, *, summary: InputSummary | None = None) -> dict[str, Any]:
    """Compare orders with those a model learned from, and log the result."""
    version, profile = bundle.version, bundle.profile
    if profile is None:
        return unknown_drift(message("drift_unknown.no_profile", version=version))
    if profile.get("schema") != PROFILE_SCHEMA:
        return unknown_drift(message("drift_unknown.other_profile", version=version))
    if summary is None:
        state = bundle.state.get("closing")
        closing = Closing.from_dict(state) if state else None
        parts = (summarise_input(ledger, as_of=intake.as_of, closing=closing) for ledger in intake.ledgers)
        summary = reduce(add, parts)
    drift: dict[str, Any] = to_json_values(measure_drift(profile, summary, set_aside_share=_set_aside_share(intake)))
    level = logging.WARNING if drift["drifted"] else logging.INFO
    _logger.log(level, "%s", render(drift["words"], locale="en"), extra={"event": "drift", "drift": drift["level"]})
    return drift


def _set_aside_share(intake: Intake) -> float | None:
    report = intake.report
    return report.count("set_aside") / report.n_raw if report.n_raw else None


_RECORD_SCHEMA = 1
_DEFAULT_CLV_DAYS = 365
_NO_MODEL = message("drift_unknown.no_model")


@dataclass(frozen=True)
class _PastScores:
    """Scores as they were delivered, and what is known of how they were made."""

    path: Path
    scored: ScoredRun
    as_of: date
    version: str
    bundle: LoadedBundle | None
    why_not: tuple[Message, ...]
    """Why the record or the bundle cannot be used."""

    @property
    def evaluation(self) -> Mapping[str, Any]:
        return self.bundle.evaluation if self.bundle else self.scored.evaluation

    @property
    def model_as_of(self) -> date:
        day = self.bundle.manifest["as_of"] if self.bundle else self.scored.run.get("model_as_of")
        return date.fromisoformat(day) if day else self.as_of


def monitor(
    scores: Path,
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date | None = None,
    max_age_days: int = MAX_AGE_DAYS,
    steps: Steps | None = None,
) -> JobResult:
    """Compare scores with the orders that came after them."""
    steps = steps or LogSteps()
    past = _read_past_scores(scores, settings.home)
    pseudonymizer = Pseudonymizer.of_record(past.scored.run, name=str(scores))
    target = scores.with_name(scores.stem + MONITOR_SUFFIX)
    read = [scores, scores.with_name(scores.stem + RUN_SUFFIX), *local_inputs(source)]
    require_distinct_paths([target, work_folder(target)], read)
    settings = with_model_settings(settings, past.bundle.manifest.get("settings", {})) if past.bundle else settings
    with staged_delivery(target, formats=(target.suffix,), kinds={target: MONITOR_OUTPUT}) as delivery:
        intake = load_orders(source, settings=settings, folder=delivery.work, as_of=as_of, steps=steps)
        _require_later_orders(past, intake)
        with steps.step("Comparing with what came") as counts:
            ledger = intake.ledgers.whole()
            ledger = replace(ledger, ids=pseudonymizer.ids(ledger.ids)) if pseudonymizer else ledger
            delivered = match_scores(past.scored.scores, ledger, as_of=past.as_of)
            counts.update(customers=delivered.scores.height)
            outcomes = _realised_outcomes(past, delivered)
        with steps.step("Looking for drift"):
            drift = assess_drift(past.bundle, intake) if past.bundle else unknown_drift(_NO_MODEL)
        record = _monitor_record(past, intake, delivered, {**outcomes, "drift": drift}, max_age_days=max_age_days)
        with steps.step("Logging"):
            record["mlflow"] = _log_to_mlflow(settings.home, record)
        with steps.step("Writing"):
            stage_record(delivery, with_digest(record))
            delivery.publish()
    return JobResult(target, record)


def _read_past_scores(path: Path, home: Path) -> _PastScores:
    scores = read_scores(path)
    run, why_no_run = read_run_record(path)
    scored = validate_scored_run(scores, run, name=str(path))
    days, versions = (scored.scores[name].unique().to_list() for name in ("as_of", "model_version"))
    if len(days) != 1 or len(versions) != 1:
        raise InputError(
            f"{path}: scores of {len(days)} days and {len(versions)} models; one of each is needed. Send what one "
            "run of `repurchase score` wrote."
        )
    bundle, why_no_bundle = _load_scoring_bundle(home, str(versions[0]))
    why_not = tuple(reason for reason in (why_no_run, why_no_bundle) if reason)
    return _PastScores(path, scored, days[0], str(versions[0]), bundle, why_not)


def _load_scoring_bundle(home: Path, version: str) -> tuple[LoadedBundle | None, Message | None]:
    try:
        return load_bundle(resolve_version(home, version)), None
    except BundleError as fault:
        return None, message("monitor_note.no_model", why=str(fault))


def _require_later_orders(past: _PastScores, intake: Intake) -> None:
    if intake.as_of <= past.as_of:
        raise InputError(
            f"{intake.log.source}: orders up to {intake.as_of}, but {past.path} is of {past.as_of}: nothing came after "
            "it. Send the orders as they are now."
        )


def _realised_outcomes(past: _PastScores, delivered: DeliveredScores) -> dict[str, Any]:
    rows = [
        {**evaluate_delivered(delivered, horizon_days=h), "then": training_reference(past.evaluation, horizon_days=h)}
        for h in past.scored.horizons
    ]
    clv_days = past.scored.run.get("clv_horizon_days")
    if not clv_days and past.bundle:
        clv_days = past.bundle.state["settings"]["clv_horizon_days"]
    return {
        "horizons": rows,
        "ranges": range_coverage(delivered, clv_horizon_days=int(clv_days or _DEFAULT_CLV_DAYS)),
    }


def _monitor_record(
    past: _PastScores, intake: Intake, delivered: DeliveredScores, outcomes: Mapping[str, Any], *, max_age_days: int
) -> dict[str, Any]:
    age_days = (intake.as_of - past.model_as_of).days
    advice = retraining_advice(
        outcomes["horizons"],
        drift=outcomes["drift"],
        age_days=age_days,
        primary_horizon_days=past.evaluation.get("primary_horizon_days"),
        max_age_days=max_age_days,
    )
    record: dict[str, Any] = to_json_values(
        {
            **record_header("monitor", _RECORD_SCHEMA),
            "scores": {"path": past.path.name, "sha256": sha256_of(past.path)},
            "as_of": past.as_of.isoformat(),
            "observed_until": intake.as_of.isoformat(),
            "model_version": past.version,
            "model_as_of": past.model_as_of.isoformat(),
            "model_age_days": age_days,
            "max_age_days": max_age_days,
            "currency": intake.report.currency,
            "orders": intake.describe(),
            "customers": {"compared": delivered.scores.height, "gone": delivered.n_gone},
            **outcomes,
            "advice": advice,
            "notes": [*past.why_not, *_notes(past, outcomes)],
        }
    )
    return record


def _notes(past: _PastScores, outcomes: Mapping[str, Any]) -> list[Message]:
    notes = []
    if past.model_as_of > past.as_of:
        days = {"model_as_of": past.model_as_of.isoformat(), "as_of": past.as_of.isoformat()}
        notes.append(message("monitor_note.seen_later", **days))
    if any(row["passed"] for row in outcomes["horizons"]):
        notes += [message("monitor_note.one_day"), message("monitor_note.campaigns")]
    return notes


def _log_to_mlflow(home: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Log to MLflow, or say why not; the record beside the scores is whole either way."""
    try:
        run_id = log_monitoring(home, record)
    except DeliveryError as fault:
        _logger.warning("Not logged to MLflow, but written beside the scores: %s", fault)
        return {"run_id": None, "why": str(fault)}
    return {"run_id": run_id, "why": None if run_id else "there is no MLflow store in the home folder"}


_HISTORY_COLUMNS = ("orders", "last_order_date", "spend_total")
_MONEY_TOLERANCE = 0.005


@dataclass(frozen=True)
class LastRun:
    """The run whose scores lie where new ones will."""

    run: Mapping[str, Any]
    as_of: date
    scores: pl.LazyFrame | None

    @property
    def is_of_a_list(self) -> bool:
        """Whether it scored a customer list and not everyone."""
        return self.run.get("list") is not None


class _ChangeCounts(NamedTuple):
    """Customers known of the last run's day now: as then, otherwise, or not known then."""

    same: int
    corrected: int
    late: int


def find_last_run(
    scores: Path, run: Mapping[str, Any] | None, *, pseudonyms: Mapping[str, str] | None
) -> LastRun | None:
    """Find the scores that will be replaced."""
    try:
        as_of = date.fromisoformat(str((run or {})["as_of"]))
    except (KeyError, ValueError):
        return None
    comparable = scores.is_file() and (run or {}).get("pseudonyms") == pseudonyms
    return LastRun(run or {}, as_of, _read_customer_history(scores) if comparable else None)


def _read_customer_history(scores: Path) -> pl.LazyFrame | None:
    # Every value of a CSV is read as text: a guess at the type of ids loses their zeros.
    if scores.suffix == ".csv":
        lazy = pl.scan_csv(scores, infer_schema=False, glob=False)
    else:
        lazy = pl.scan_parquet(scores, glob=False, hive_partitioning=False)
    try:
        columns = set(lazy.collect_schema().names())
    except (OSError, pl.exceptions.PolarsError):
        return None
    if not {"customer_id", "status", *_HISTORY_COLUMNS} <= columns:
        return None
    known = lazy.filter(pl.col("status") == "scored")
    return known.select(
        "customer_id", *(pl.col(name).cast(SCORES.schema[name], strict=False) for name in _HISTORY_COLUMNS)
    )


def compare_with_last_run(last: LastRun | None, intake: Intake) -> dict[str, Any] | None:
    """Say what has changed in the orders since the last run.

    What was known of a customer then is compared with what the orders of tonight say of the same day: equal unless
    orders came late, were corrected, or customers were merged or erased. Orders of later days are no change.
    """
    if last is None:
        return None
    try:
        return _describe_changes(last, intake)
    except (OSError, pl.exceptions.PolarsError) as fault:  # the scores of last night, not tonight's
        _logger.warning("What has changed is not known: the earlier scores cannot be read (%s)", type(fault).__name__)
        return None


def _describe_changes(last: LastRun, intake: Intake) -> dict[str, Any]:
    orders, cleaning = last.run.get("orders") or {}, last.run.get("cleaning") or {}
    compared = None
    if last.scores is not None and last.as_of <= intake.as_of:
        same, corrected, late = map(sum, zip(*(_count_changes(ledger, last) for ledger in intake.ledgers), strict=True))
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


def _count_changes(ledger: Ledger, last: LastRun) -> _ChangeCounts:
    if last.scores is None or not len(ledger.ids):
        return _ChangeCounts(0, 0, 0)
    here = pl.col("customer_id").is_between(pl.lit(ledger.ids[0]), pl.lit(ledger.ids[-1]))
    then = last.scores.filter(here).collect(engine="streaming")
    now = rfm_of_history(ledger.history(last.as_of), ledger.ids).select("customer_id", *_HISTORY_COLUMNS)
    both = now.join(then, on="customer_id", suffix="_then")
    other = pl.any_horizontal(
        pl.col("orders") != pl.col("orders_then"),
        pl.col("last_order_date") != pl.col("last_order_date_then"),
        (pl.col("spend_total") - pl.col("spend_total_then")).abs() > _MONEY_TOLERANCE,
    ).fill_null(value=False)
    corrected = int(both.select(other.sum()).item())
    return _ChangeCounts(same=both.height - corrected, corrected=corrected, late=now.height - both.height)
