"""Compare scores that were delivered with what happened since, and say whether to train again."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from repurchase import __version__
from repurchase.errors import BundleError, DeliveryError, InputError
from repurchase.evaluation.advice import MAX_AGE_DAYS, advise, reference_of
from repurchase.evaluation.drift import unknown_drift
from repurchase.evaluation.judgement import plain
from repurchase.evaluation.realised import Delivered, deliver, look_back, range_coverage
from repurchase.jobs.intake import Intake, settings_of, take_in
from repurchase.jobs.outputs import MONITOR_RECORD, RUN, files_read
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.jobs.watch import drift_of
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.pseudonyms import IdKey, key_of, pseudonymise
from repurchase.registry.bundle import LoadedBundle, load_bundle
from repurchase.registry.champion import resolve
from repurchase.registry.monitoring import log_monitoring
from repurchase.report.reading import MONITOR, Facts, gather, read_run, read_scores
from repurchase.settings import Settings
from repurchase.storage.delivery import deliver_to, work_folder
from repurchase.storage.digests import sha256_of, with_digest
from repurchase.storage.outputs import require_apart

__all__ = ["Monitored", "monitor"]

logger = logging.getLogger("repurchase")

RECORD_SCHEMA = 1
USUAL_CLV_DAYS = 365
CAVEAT = (
    "who was contacted because of these scores is not known here; a campaign that worked looks like a risk set too high"
)


@dataclass(frozen=True)
class Monitored:
    """What monitoring came to.

    Parameters
    ----------
    record : dict
        What stands in the file.
    path : Path
        ``<stem>.monitor.json``.
    """

    record: dict[str, Any]
    path: Path


@dataclass(frozen=True)
class _Past:
    """Scores as they were delivered, and what is known of their making."""

    facts: Facts
    as_of: date
    version: str
    bundle: LoadedBundle | None
    why_not: tuple[str, ...]
    key: IdKey | None

    @property
    def evaluation(self) -> Mapping[str, Any]:
        return self.bundle.evaluation if self.bundle else self.facts.evaluation

    @property
    def model_as_of(self) -> date:
        told = self.bundle.manifest["as_of"] if self.bundle else self.facts.run.get("model_as_of")
        return date.fromisoformat(told) if told else self.as_of


def monitor(
    scores: Path,
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date | None = None,
    max_age_days: int = MAX_AGE_DAYS,
    steps: Steps | None = None,
) -> Monitored:
    """Hold scores against the orders that came after them.

    Parameters
    ----------
    scores : Path
        What `repurchase score` wrote on an earlier day.
    source : str or DatabaseSource
        The whole log as it is now, with what lies before that day.
    settings : Settings
        What is not told here is taken from the model's training. ``settings.home`` holds the model, and ``mlruns/``
        to log to.
    as_of : date, optional
        Last day observed; default the last order's day.
    max_age_days : int
        Age above which a model is to be trained again.
    steps : Steps, optional
        Who watches.

    Returns
    -------
    Monitored
        The record, which lies beside the scores. An MLflow store that fails is said in it, and stops nothing.

    Raises
    ------
    InputError
        If scores or orders cannot be used, or do not belong together.
    DeliveryError
        If the record cannot be written.
    """
    steps = steps or LogSteps()
    past = _past(scores, settings.home)
    target = scores.with_name(scores.stem + MONITOR)
    read = [scores, scores.with_name(scores.stem + RUN), *files_read(source)]
    require_apart([target, work_folder(target)], read)
    told = settings_of(settings, past.bundle.manifest.get("settings", {})) if past.bundle else settings
    with deliver_to(target, formats=(target.suffix,), kinds={target: MONITOR_RECORD}) as delivery:
        with steps.step("Reading and cleaning orders") as counts:
            intake = take_in(source, settings=told, folder=delivery.work, as_of=as_of, on_progress=steps.progress)
            _require_later(past, intake, scores)
            counts.update(intake.counts)
        with steps.step("Comparing with what came") as counts:
            book = intake.books.whole()
            if past.key is not None:
                book = replace(book, ids=pseudonymise(book.ids, past.key))
            delivered = deliver(past.facts.scores, book, as_of=past.as_of)
            counts.update(customers=delivered.scores.height)
            found = _compared(past, delivered)
        with steps.step("Looking for drift"):
            drift = drift_of(past.bundle, intake) if past.bundle else unknown_drift("the model is not in models/")
        record = _record(past, intake, delivered, scores, {**found, "drift": drift}, max_age_days=max_age_days)
        with steps.step("Logging"):
            record["mlflow"] = _logged(settings.home, record)
        with steps.step("Writing"):
            text = json.dumps(with_digest(record), indent=1, ensure_ascii=False, allow_nan=False)
            delivery.staged(target).write_text(text + "\n", encoding="utf-8")
            delivery.publish()
    return Monitored(record, target)


def _past(scores: Path, home: Path) -> _Past:
    frame = read_scores(scores)
    run, why_no_run = read_run(scores)
    facts = gather(frame, run, name=str(scores))
    days, versions = (facts.scores[name].unique().to_list() for name in ("as_of", "model_version"))
    if len(days) != 1 or len(versions) != 1:
        raise InputError(
            f"{scores}: scores of {len(days)} days and {len(versions)} models; one of each is needed. Send what one "
            "run of `repurchase score` wrote."
        )
    bundle, why_no_bundle = _bundle(home, str(versions[0]))
    why_not = tuple(words.rstrip(".") for words in (why_no_run, why_no_bundle) if words)
    mark = run.get("pseudonyms")
    return _Past(facts, days[0], str(versions[0]), bundle, why_not, key_of(mark, what=str(scores)) if mark else None)


def _bundle(home: Path, version: str) -> tuple[LoadedBundle | None, str | None]:
    try:
        return load_bundle(resolve(home, version)), None
    except BundleError as fault:
        return None, f"the model of these scores cannot be used, so its settings and drift are not known: {fault}"


def _require_later(past: _Past, intake: Intake, scores: Path) -> None:
    if intake.as_of <= past.as_of:
        raise InputError(
            f"{intake.log.source}: orders up to {intake.as_of}, but {scores} is of {past.as_of}: nothing came after "
            "it. Send the orders as they are now."
        )


def _compared(past: _Past, delivered: Delivered) -> dict[str, Any]:
    rows = [
        {**look_back(delivered, horizon_days=h), "then": reference_of(past.evaluation, horizon_days=h)}
        for h in past.facts.horizons
    ]
    clv_days = int(past.facts.run.get("clv_horizon_days") or _clv_days(past.bundle))
    return {"horizons": rows, "ranges": range_coverage(delivered, clv_horizon_days=clv_days)}


def _clv_days(bundle: LoadedBundle | None) -> int:
    return int(bundle.state["settings"]["clv_horizon_days"]) if bundle else USUAL_CLV_DAYS


def _record(
    past: _Past, intake: Intake, delivered: Delivered, scores: Path, found: Mapping[str, Any], *, max_age_days: int
) -> dict[str, Any]:
    age_days = (intake.as_of - past.model_as_of).days
    advice = advise(
        found["horizons"],
        drift=found["drift"],
        age_days=age_days,
        primary_horizon_days=past.evaluation.get("primary_horizon_days"),
        max_age_days=max_age_days,
    )
    record: dict[str, Any] = plain(
        {
            "schema": RECORD_SCHEMA,
            "command": "monitor",
            "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "repurchase_version": __version__,
            "scores": {"path": scores.name, "sha256": sha256_of(scores)},
            "as_of": past.as_of.isoformat(),
            "observed_until": intake.as_of.isoformat(),
            "model_version": past.version,
            "model_as_of": past.model_as_of.isoformat(),
            "model_age_days": age_days,
            "max_age_days": max_age_days,
            "currency": intake.report.currency,
            "orders": intake.describe(),
            "customers": {"compared": delivered.scores.height, "gone": delivered.n_gone},
            **found,
            "advice": advice,
            "notes": [*past.why_not, *_notes(past, found)],
        }
    )
    return record


def _notes(past: _Past, found: Mapping[str, Any]) -> list[str]:
    notes = []
    if past.model_as_of > past.as_of:
        notes.append(
            f"the model has seen orders up to {past.model_as_of}, later than {past.as_of}: this is no test of it"
        )
    if any(row["passed"] for row in found["horizons"]):
        notes.append("the grade now is of one day only, on which an A cannot be had")
        notes.append(CAVEAT)
    return notes


def _logged(home: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Log to MLflow, or say why not; the record beside the scores is whole either way."""
    try:
        run_id = log_monitoring(home, record)
    except DeliveryError as fault:
        logger.warning("Not logged to MLflow, but written beside the scores: %s", fault)
        return {"run_id": None, "why": str(fault)}
    return {"run_id": run_id, "why": None if run_id else "there is no MLflow store in the home folder"}
