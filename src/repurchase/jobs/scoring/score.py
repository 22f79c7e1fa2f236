"""Score a log's customers with a kept model, and deliver the table whole."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase import __version__
from repurchase.estimators.fitted import FittedModel
from repurchase.estimators.scores import for_customers
from repurchase.features.timeline import Ledger
from repurchase.jobs.customers import CustomerList, matched
from repurchase.jobs.intake import Intake, take_in
from repurchase.jobs.outputs import QUARANTINE
from repurchase.jobs.scoring.changes import LastRun, changes_since, last_run
from repurchase.jobs.scoring.destinations import ScoresTable
from repurchase.jobs.scoring.parts import ScoreParts, parts_folder, score_books
from repurchase.jobs.scoring.plan import Plan, carried, plan_scoring, require_own_record
from repurchase.jobs.scoring.tables import Batch, Written, write_scores
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.jobs.watch import drift_of
from repurchase.marketing.counting import count_purchases
from repurchase.marketing.counts import Counts
from repurchase.marketing.measures import repeat_business
from repurchase.orders.addresses import DatabaseSource
from repurchase.registry.pending import track_scoring
from repurchase.settings import Settings
from repurchase.storage.delivery import Delivery, deliver_to
from repurchase.storage.digests import sha256_of, with_digest
from repurchase.storage.outputs import parquet_mark
from repurchase.storage.redaction import redacted, redacted_json
from repurchase.tables import STATUSES

if TYPE_CHECKING:
    from repurchase.jobs.spark.engine import Cluster, ScoredThere

__all__ = ["Scored", "score"]

RUN_SCHEMA = 1


@dataclass(frozen=True)
class Scored:
    """What a scoring run came to.

    Parameters
    ----------
    out : Path or str
        Where they are: a file, or a table's address without password.
    record : Path
        ``<stem>.run.json``.
    run : dict
        What stands in it.
    """

    out: Path | str
    record: Path
    run: dict[str, Any]


def score(
    source: str | DatabaseSource,
    *,
    out: str | Path,
    settings: Settings,
    as_of: date | None = None,
    customers: Path | None = None,
    model: str = "champion",
    steps: Steps | None = None,
    cluster: "Cluster | None" = None,
) -> Scored:
    """Score everyone in a log, or a list of customers.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob of orders; or a table or query of a database.
    out : str or Path
        ``.parquet`` or ``.csv``; ``<stem>.run.json`` and, where rows were set aside, ``<stem>.quarantine.parquet``
        appear beside it. Or ``postgresql://host/database/schema.table``: then those two appear in ``outputs/`` of the
        home folder, named for database and table.
    settings : Settings
        What is not told here is taken from the model's training.
    as_of : date, optional
        Last day known; default the last order's day.
    customers : Path, optional
        A customer list; its further columns are carried through.
    model : str
        A version number, ``champion`` or ``latest``.
    steps : Steps, optional
        Who watches.
    cluster : Cluster, optional
        A Spark cluster that does the heavy part.

    Returns
    -------
    Scored
        The table and the record of the run.

    Raises
    ------
    InputError
        If orders or list cannot be used.
    BundleError
        If there is no such model, or it is damaged.
    DeliveryError
        If the output cannot be written; then nothing is.
    """
    steps = steps or LogSteps()
    plan = plan_scoring(source, out=out, settings=settings, customers=customers, model=model)
    table, place = plan.table, plan.place
    with deliver_to(place, formats=plan.formats) as delivery:
        require_own_record(delivery.out)
        with steps.step("Reading and cleaning orders") as counts:
            told: dict[str, Any] = {"settings": plan.settings, "folder": delivery.work, "as_of": as_of}
            take = cluster.take_in if cluster else partial(take_in, on_progress=steps.progress)
            intake = take(source, **told, veil=plan.veil)
            plan.require_apart(intake)
            counts.update(intake.counts)
        with steps.step("Scoring") as counts:
            there = _scored_there(plan, intake, delivery, steps, cluster) if cluster else None
            scores = there.scores if there else _scores(plan, intake, delivery, steps)
            counts.update(customers=scores.count(), partitions_reused=scores.reused)
        with steps.step("Measuring repeat business"):
            measures = repeat_business(there.counts if there else _counts(intake))
        with steps.step("Looking for drift"):
            drift = drift_of(plan.bundle, intake, look=there.look if there else None)
        with steps.step("Comparing with the last run"):
            changes = changes_since(_last_run(delivery, plan), intake)
        with steps.step("Writing") as counts:
            scores.require_unique()
            set_aside = intake.report.count("set_aside")
            counts.update(rows=scores.count(), rows_set_aside=set_aside)
            run = {
                **_record(plan, intake, scores),
                "outputs": {"scores": None, "quarantine": _stage_set_aside(delivery, intake) if set_aside else None},
                "engine": cluster.describe() if cluster else {"engine": "local"},
                "timings_seconds": dict(steps.timings_seconds),
                "measures": measures,
                "drift": drift,
                "changes": changes,
                "evaluation": plan.bundle.evaluation,
            }
            if table:
                batch = Batch(scores, intake.as_of, plan.bundle.version, plan.horizons)
                _write_table(delivery, table, batch, run, seconds=settings.retry_seconds)
            else:
                _stage_record(delivery, run, _stage_scores(delivery, scores))
            delivery.publish(removed=[] if set_aside else [delivery.beside(QUARANTINE)])
    track_scoring(settings.home, run, seconds=settings.tracking_seconds)
    return Scored(table.shown if table else place, delivery.beside(".run.json"), run)


def _counts(intake: Intake) -> Counts:
    return sum((count_purchases(book, as_of=intake.as_of) for book in intake.books), Counts.none(intake.as_of))


def _scored_there(plan: Plan, intake: Intake, delivery: Delivery, steps: Steps, cluster: "Cluster") -> "ScoredThere":
    ids = plan.asked.rows["customer_id"] if plan.asked else None
    there = cluster.score(intake, plan.bundle.state, ids, folder=delivery.work / "scores", on_progress=steps.progress)
    if plan.asked is None:
        return there
    scores = _of_list(plan.asked, there.scores.lazy().collect(), as_of=intake.as_of, version=plan.bundle.version)
    return replace(there, scores=ScoreParts((scores,)))


def _scores(plan: Plan, intake: Intake, delivery: Delivery, steps: Steps) -> ScoreParts:
    model = FittedModel.from_state(plan.bundle.state)
    jobs = plan.settings.jobs
    if plan.asked is not None:
        return ScoreParts((_asked_for(plan.asked, model, intake, jobs),))

    def predict(book: Ledger) -> pl.DataFrame:
        return model.predict(book, intake.as_of, n_jobs=jobs)

    folder = parts_folder(delivery.parts, _all_that_counts(plan, intake)) if len(intake.books) > 1 else None
    return score_books(intake.books, predict, folder, on_progress=steps.progress)


def _asked_for(asked: CustomerList, model: FittedModel, intake: Intake, jobs: int) -> pl.DataFrame:
    asked = matched(asked, pl.concat([book.customers(intake.as_of) for book in intake.books]))
    ids = asked.rows["customer_id"]
    known = [
        model.predict(
            book, intake.as_of, ids.filter(ids.is_in(book.customers(intake.as_of).implode())).to_list(), n_jobs=jobs
        )
        for book in intake.books
    ]
    return _of_list(asked, pl.concat(known), as_of=intake.as_of, version=model.version)


def _of_list(asked: CustomerList, known: pl.DataFrame, *, as_of: date, version: str) -> pl.DataFrame:
    ids = asked.rows["customer_id"]
    scores = for_customers(known, ids, as_of=as_of, model_version=version)
    further = carried(asked, taken=scores.columns).insert_column(0, ids)
    return scores.join(further, on="customer_id", how="left", maintain_order="left")


def _all_that_counts(plan: Plan, intake: Intake) -> dict[str, Any]:
    """Name all that scores follow from, so that finished parts are gone on from only where none of it has changed."""
    settings = {name: str(value) for name, value in asdict(plan.settings).items() if name not in {"home", "jobs"}}
    return {
        "orders": intake.log.digest,
        "rows": intake.report.to_dict(),
        "as_of": intake.as_of.isoformat(),
        "model": plan.bundle.manifest,
        "settings": settings,
        "partitions": len(intake.books),
        "pseudonyms": plan.veil.mark if plan.veil else None,
        "repurchase": __version__,
    }


def _last_run(delivery: Delivery, plan: Plan) -> LastRun | None:
    try:
        run = json.loads(delivery.beside(".run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return last_run(delivery.out, run, pseudonyms=plan.veil.mark if plan.veil else None)


def _stage_scores(delivery: Delivery, scores: ScoreParts) -> dict[str, Any]:
    main = delivery.staged(delivery.out)
    if delivery.out.suffix == ".csv":
        scores.lazy().sink_csv(main)
    else:
        scores.lazy().sink_parquet(main, metadata=parquet_mark("scores"))
    return _file(main, delivery.out, scores.count())


def _stage_set_aside(delivery: Delivery, intake: Intake) -> dict[str, Any]:
    quarantine = delivery.beside(QUARANTINE)
    intake.set_aside.sink_parquet(delivery.staged(quarantine), metadata=parquet_mark("quarantine"))
    return _file(delivery.staged(quarantine), quarantine, intake.report.count("set_aside"))


def _stage_record(delivery: Delivery, run: dict[str, Any], scores: dict[str, Any]) -> None:
    run["outputs"]["scores"] = scores
    delivery.staged(delivery.beside(".run.json")).write_text(
        json.dumps(with_digest(run), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _write_table(delivery: Delivery, table: ScoresTable, batch: Batch, run: dict[str, Any], *, seconds: float) -> None:
    # The record is made ready before the rows are committed: a full disk then leaves the table as it was.
    def stage(written: Written) -> None:
        _stage_record(delivery, run, {"path": table.shown, **asdict(written)})

    write_scores(table, batch, seconds=seconds, before_commit=stage)


def _file(staged: Path, target: Path, rows: int) -> dict[str, Any]:
    return {"path": target.name, "rows": rows, "sha256": sha256_of(staged)}


def _record(plan: Plan, intake: Intake, scores: ScoreParts) -> dict[str, Any]:
    bundle, asked, parameters = plan.bundle, plan.asked, plan.bundle.state
    return {
        "schema": RUN_SCHEMA,
        "command": "score",
        "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "repurchase_version": __version__,
        "as_of": intake.as_of.isoformat(),
        "model_version": bundle.version,
        "model_as_of": bundle.manifest["as_of"],
        "horizons": list(bundle.manifest["horizons"]),
        "clv_horizon_days": parameters["settings"]["clv_horizon_days"],
        "discount_rate": parameters["settings"]["discount_rate"],
        "currency": intake.report.currency,
        "orders": redacted_json(intake.describe()),
        "cleaning": intake.report.to_dict(),
        "partitions": {
            "count": len(intake.books),
            "reused": scores.reused,
            "memory_gb": plan.settings.memory_gb,
        },
        "counts": {
            "asked": scores.count(),
            **{status: scores.count(status=status) for status in STATUSES},
            "duplicates_in_list": len(asked.duplicates) if asked else 0,
            "rows_without_id": asked.without_id if asked else 0,
        },
        "duplicates": list(asked.duplicates[:100]) if asked else [],
        "list": redacted(str(asked.path.absolute())) if asked and asked.path else None,
        "pseudonyms": plan.veil.mark if plan.veil else None,
        "tiers": parameters["tiers"],
        "notes": [*parameters["notes"], *_age_note(intake.as_of, date.fromisoformat(bundle.manifest["as_of"]))],
    }


def _age_note(as_of: date, model_as_of: date) -> list[str]:
    if as_of >= model_as_of:
        return []
    return [f"the model has seen orders up to {model_as_of}, later than {as_of}: these scores are no test of it"]
