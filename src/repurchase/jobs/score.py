"""`repurchase score`: score customers with a kept model, deliver the table whole, or do a dry run."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from repurchase import __version__
from repurchase.errors import DeliveryError
from repurchase.features.ledger import Ledger
from repurchase.jobs.customer_lists import (
    CustomerList,
    Pseudonymizer,
    find_pseudonymizer,
    match_listed_ids,
    read_customers,
    unused_names,
)
from repurchase.jobs.monitor import LastRun, assess_drift, compare_with_last_run, find_last_run
from repurchase.jobs.order_intake import Intake, LogSteps, Steps, load_orders, with_model_settings, workspace
from repurchase.jobs.outputs import QUARANTINE_SUFFIX, TABLE_RECORD_SUFFIX, local_inputs, require_access, score_outputs
from repurchase.jobs.score_delivery import (
    ClusterScores,
    PartitionedScores,
    ScoreBatch,
    ScoresTable,
    TableWriteResult,
    find_scores_table,
    open_partition_store,
    require_compatible_table,
    score_partitions,
    write_scores_table,
)
from repurchase.marketing.purchase_counts import PurchaseCounts, count_purchases
from repurchase.marketing.repeat_business import repeat_business
from repurchase.models.model import RepurchaseModel
from repurchase.models.scoring import select_customers
from repurchase.registry.bundle import LoadedBundle, load_bundle
from repurchase.registry.champion import resolve_version
from repurchase.registry.retry_queue import track_scoring
from repurchase.schemas import STATUSES, scores_table
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import (
    FORMATS,
    Delivery,
    parquet_metadata,
    require_distinct_paths,
    require_file_name,
    require_outside_registry,
    require_replaceable,
    staged_delivery,
    work_folder,
)
from repurchase.storage.json_files import read_json, sha256_of, with_digest
from repurchase.storage.redaction import redact, redact_json


@dataclass(frozen=True)
class _ScoringPlan:
    """What a scoring run is about to do, as far as it is known before any order is read."""

    bundle: LoadedBundle
    settings: Settings
    asked: CustomerList | None
    table: ScoresTable | None
    place: Path
    pseudonymizer: Pseudonymizer | None

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days ahead of the model."""
        return tuple(self.bundle.manifest["horizons"])

    @property
    def formats(self) -> tuple[str, ...]:
        """Endings that ``place`` may have."""
        return (TABLE_RECORD_SUFFIX,) if self.table else FORMATS

    def require_apart(self, intake: Intake) -> None:
        """Refuse to overwrite what was read."""
        _require_other_paths(self.place, [Path(file.path) for file in intake.log.files if "://" not in file.path])


def _plan_scoring(
    source: str | DatabaseSource, *, out: str | Path, settings: Settings, customers: Path | None, model: str
) -> _ScoringPlan:
    """Settle all that can be settled before orders are read; writes nothing."""
    bundle = load_bundle(resolve_version(settings.home, model))
    told = with_model_settings(settings, bundle.manifest.get("settings", {}))
    table = find_scores_table(str(out))
    place = table.record(settings.home) if table else Path(out)
    _require_other_paths(place, [*local_inputs(source, customers), bundle.folder])
    require_file_name(place, formats=(TABLE_RECORD_SUFFIX,) if table else FORMATS)
    require_outside_registry(place, home=settings.home)
    require_replaceable(score_outputs(place))
    asked = read_customers(customers, column_map=told.columns) if customers else None
    pseudonymizer = find_pseudonymizer(settings)
    asked = pseudonymizer.asked(asked) if pseudonymizer and asked else asked
    plan = _ScoringPlan(bundle, told, asked, table, place, pseudonymizer)
    if table:
        further = _further_columns(asked, taken=scores_table(plan.horizons).names).schema if asked else pl.Schema()
        require_compatible_table(table, horizons=plan.horizons, further=further, seconds=settings.retry_seconds)
    return plan


def _require_other_paths(out: Path, inputs: Iterable[Path]) -> None:
    require_distinct_paths([*score_outputs(out), work_folder(out)], inputs)


def _further_columns(asked: CustomerList, *, taken: Iterable[str]) -> pl.DataFrame:
    """Take a list's further columns, under names that scores leave free."""
    further = asked.rows.drop("customer_id")
    return further.rename(unused_names(further.columns, taken=taken))


def _require_own_record(out: Path) -> None:
    """Refuse to overwrite the record of other scores, such as those of scores.csv beside scores.parquet."""
    record = out.with_name(out.stem + ".run.json")
    try:
        theirs = read_json(record)["outputs"]["scores"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if theirs != out.name and (out.parent / str(theirs)).exists():
        raise DeliveryError(
            f"{record} is the record of {theirs}, which lies beside it. Choose another name than {out.name}, "
            "or another folder."
        )


def score_lines(scored: "_ScoringResult") -> list[str]:
    """Say who was scored, where the scores are, and whether the orders have drifted."""
    run, counts = scored.run, scored.run["counts"]
    words = (
        f"{counts['scored']:,} customer{'' if counts['scored'] == 1 else 's'} scored as of {run['as_of']} "
        f"by version {run['model_version']}; {_unscored_summary(counts)}. Scores: {scored.out}{_table_note(scored)}"
    )
    twice = f"{counts['duplicates_in_list']:,} ids stood in the list more than once; each is scored once."
    changed = _change_lines(run["changes"])
    return [words, *([twice] if counts["duplicates_in_list"] else []), *changed, str(run["drift"]["words"])]


def _unscored_summary(counts: Mapping[str, int]) -> str:
    """Say how many customers have no predictions, and why."""
    no_purchases = counts["no_purchases"]
    named = f"{no_purchases:,} with orders but no purchase (all cancelled, returned or free); " if no_purchases else ""
    return f"{named}{counts['no_history']:,} without history"


def _change_lines(changes: dict[str, Any] | None) -> list[str]:
    found = (changes or {}).get("customers") or {}
    named = {
        "corrected": "with other earlier orders than then",
        "gone": "gone",
        "late": "with earlier orders that were not there then",
    }
    told = [f"{found[name]:,} {words}" for name, words in named.items() if found.get(name)]
    if changes is None or not told:
        return []
    return [f"Customers beside the last run (as of {changes['as_of']}): {'; '.join(told)}."]


def _table_note(scored: "_ScoringResult") -> str:
    if isinstance(scored.out, Path):
        return ""
    replaced = scored.run["outputs"]["scores"]["rows_replaced"]
    return f" ({replaced:,} rows of the same day and model replaced). Record: {scored.record}"


_TRIAL_CUSTOMERS = 100
"""Customers that are really scored, so that a model that cannot speak is found out."""


def dry_run_score(
    source: str | DatabaseSource,
    *,
    out: str | Path,
    settings: Settings,
    as_of: date | None = None,
    customers: Path | None = None,
    model: str = "champion",
    steps: Steps | None = None,
) -> list[str]:
    """Do what `score` does, but write nothing."""
    steps = steps or LogSteps()
    plan = _plan_scoring(source, out=out, settings=settings, customers=customers, model=model)
    require_file_name(plan.place, formats=plan.formats)
    _require_own_record(plan.place)
    require_access(plan.place.parent)
    with workspace() as folder:
        with steps.step("Reading and cleaning orders") as counts:
            intake = load_orders(
                source,
                settings=plan.settings,
                folder=folder,
                as_of=as_of,
                on_progress=steps.progress,
                pseudonymizer=plan.pseudonymizer,
            )
            plan.require_apart(intake)
            counts.update(intake.counts)
        with steps.step("Trying the model") as counts:
            found = _count_by_status(plan, intake)
            counts.update(customers=found["scored"])
        with steps.step("Looking for drift"):
            drift = assess_drift(plan.bundle, intake)
    where = plan.table.shown if plan.table else str(plan.place)
    manifest = plan.bundle.manifest
    model_summary = (
        f"version {plan.bundle.version} (grade {plan.bundle.evaluation.get('grade', '-')}, orders up to "
        f"{manifest['as_of']}; days ahead {', '.join(map(str, plan.horizons))})"
    )
    return [
        *intake.report.words(),
        (
            f"Would score {found['scored']:,} customers as of {intake.as_of} by {model_summary}; "
            f"{_unscored_summary(found)}."
        ),
        f"Would write {where}, which can be written{_replacement_note(plan)}.",
        drift["words"],
        "This was a dry run: nothing was written.",
    ]


def _count_by_status(plan: _ScoringPlan, intake: Intake) -> dict[str, int]:
    """Count customers by the status that they would have, and score a few of them."""
    model = RepurchaseModel.from_state(plan.bundle.state)
    requested = plan.asked.rows["customer_id"] if plan.asked else None
    with_orders, scored, tried = 0, 0, 0
    for ledger in intake.ledgers:
        buyers = ledger.ids.gather(ledger.history(intake.as_of).customer)
        ids, buyers = (_restrict_ids(known, requested) for known in (ledger.customers(intake.as_of), buyers))
        with_orders += len(ids)
        scored += len(buyers)
        if tried < _TRIAL_CUSTOMERS and len(buyers):
            tried += model.predict_ledger(ledger, intake.as_of, buyers[: _TRIAL_CUSTOMERS - tried].to_list()).height
    no_history = 0 if requested is None else len(requested) - with_orders
    return {"scored": scored, "no_purchases": with_orders - scored, "no_history": no_history}


def _restrict_ids(ids: pl.Series, requested: pl.Series | None) -> pl.Series:
    return ids if requested is None else ids.filter(ids.is_in(requested.implode()))


def _replacement_note(plan: _ScoringPlan) -> str:
    if plan.table:
        return "; rows of the same day and model are replaced"
    return ", in place of the scores that lie there" if plan.place.exists() else ""


_RUN_SCHEMA = 1


class _ScoringEngine(Protocol):
    """What reads orders and scores customers elsewhere than in this process."""

    def describe(self) -> dict[str, Any]:
        """Describe the engine for ``run.json``."""

    def load_orders(
        self,
        source: str | DatabaseSource,
        *,
        settings: Settings,
        folder: Path,
        as_of: date | None = None,
        pseudonymizer: Pseudonymizer | None = None,
    ) -> Intake:
        """Read and clean orders, and settle the last day known."""

    def score(
        self,
        intake: Intake,
        state: Mapping[str, Any],
        customers: pl.Series | None,
        *,
        folder: Path,
        on_progress: Callable[[int, int], None],
    ) -> ClusterScores:
        """Score every customer."""


@dataclass(frozen=True)
class _ScoringResult:
    """What a scoring run came to."""

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
    cluster: "_ScoringEngine | None" = None,
) -> _ScoringResult:
    """Score everyone in a log, or a list of customers."""
    steps = steps or LogSteps()
    plan = _plan_scoring(source, out=out, settings=settings, customers=customers, model=model)
    table, place = plan.table, plan.place
    with staged_delivery(place, formats=plan.formats) as delivery:
        _require_own_record(delivery.out)
        with steps.step("Reading and cleaning orders") as counts:
            told: dict[str, Any] = {"settings": plan.settings, "folder": delivery.work, "as_of": as_of}
            take = cluster.load_orders if cluster else partial(load_orders, on_progress=steps.progress)
            intake = take(source, **told, pseudonymizer=plan.pseudonymizer)
            plan.require_apart(intake)
            counts.update(intake.counts)
        with steps.step("Scoring") as counts:
            there = _score_on_cluster(plan, intake, delivery, steps, cluster) if cluster else None
            scores = there.scores if there else _score_locally(plan, intake, delivery, steps)
            counts.update(customers=scores.count(), partitions_reused=scores.reused)
        with steps.step("Measuring repeat business"):
            measures = repeat_business(there.counts if there else _count_purchases(intake))
        with steps.step("Looking for drift"):
            drift = assess_drift(plan.bundle, intake, look=there.look if there else None)
        with steps.step("Comparing with the last run"):
            changes = compare_with_last_run(_find_last_run(delivery, plan), intake)
        with steps.step("Writing") as counts:
            scores.require_unique()
            set_aside = intake.report.count("set_aside")
            counts.update(rows=scores.count(), rows_set_aside=set_aside)
            run = {
                **_run_record(plan, intake, scores),
                "outputs": {"scores": None, "quarantine": _stage_set_aside(delivery, intake) if set_aside else None},
                "engine": cluster.describe() if cluster else {"engine": "local"},
                "timings_seconds": dict(steps.timings_seconds),
                "measures": measures,
                "drift": drift,
                "changes": changes,
                "evaluation": plan.bundle.evaluation,
            }
            if table:
                batch = ScoreBatch(scores, intake.as_of, plan.bundle.version, plan.horizons)
                _write_table(delivery, table, batch, run, seconds=settings.retry_seconds)
            else:
                _stage_record(delivery, run, _stage_scores(delivery, scores))
            delivery.publish(removed=[] if set_aside else [delivery.sibling(QUARANTINE_SUFFIX)])
    track_scoring(settings.home, run, seconds=settings.tracking_seconds)
    return _ScoringResult(table.shown if table else place, delivery.sibling(".run.json"), run)


def _count_purchases(intake: Intake) -> PurchaseCounts:
    return sum(
        (count_purchases(ledger, as_of=intake.as_of) for ledger in intake.ledgers), PurchaseCounts.none(intake.as_of)
    )


def _score_on_cluster(
    plan: _ScoringPlan, intake: Intake, delivery: Delivery, steps: Steps, cluster: "_ScoringEngine"
) -> ClusterScores:
    ids = plan.asked.rows["customer_id"] if plan.asked else None
    there = cluster.score(intake, plan.bundle.state, ids, folder=delivery.work / "scores", on_progress=steps.progress)
    if plan.asked is None:
        return there
    scores = _join_list(plan.asked, there.scores.lazy().collect(), as_of=intake.as_of, version=plan.bundle.version)
    return replace(there, scores=PartitionedScores((scores,)))


def _score_locally(plan: _ScoringPlan, intake: Intake, delivery: Delivery, steps: Steps) -> PartitionedScores:
    model = RepurchaseModel.from_state(plan.bundle.state)
    jobs = plan.settings.jobs
    if plan.asked is not None:
        return PartitionedScores((_score_listed(plan.asked, model, intake, jobs),))

    def predict(ledger: Ledger) -> pl.DataFrame:
        return model.predict_ledger(ledger, intake.as_of, n_jobs=jobs)

    folder = (
        open_partition_store(delivery.finished_partitions, _resume_key(plan, intake))
        if len(intake.ledgers) > 1
        else None
    )
    return score_partitions(intake.ledgers, predict, folder, on_progress=steps.progress)


def _score_listed(asked: CustomerList, model: RepurchaseModel, intake: Intake, jobs: int) -> pl.DataFrame:
    asked = match_listed_ids(asked, pl.concat([ledger.customers(intake.as_of) for ledger in intake.ledgers]))
    ids = asked.rows["customer_id"]
    known = [
        model.predict_ledger(
            ledger, intake.as_of, ids.filter(ids.is_in(ledger.customers(intake.as_of).implode())).to_list(), n_jobs=jobs
        )
        for ledger in intake.ledgers
    ]
    return _join_list(asked, pl.concat(known), as_of=intake.as_of, version=model.version_)


def _join_list(asked: CustomerList, known: pl.DataFrame, *, as_of: date, version: str) -> pl.DataFrame:
    ids = asked.rows["customer_id"]
    scores = select_customers(known, ids, as_of=as_of, model_version=version)
    further = _further_columns(asked, taken=scores.columns).insert_column(0, ids)
    return scores.join(further, on="customer_id", how="left", maintain_order="left")


def _resume_key(plan: _ScoringPlan, intake: Intake) -> dict[str, Any]:
    """Name all that scores follow from, so that finished parts are gone on from only where none of it has changed."""
    settings = {name: str(value) for name, value in asdict(plan.settings).items() if name not in {"home", "jobs"}}
    return {
        "orders": intake.log.digest,
        "rows": intake.report.to_dict(),
        "as_of": intake.as_of.isoformat(),
        "model": plan.bundle.manifest,
        "settings": settings,
        "partitions": len(intake.ledgers),
        "pseudonyms": plan.pseudonymizer.mark if plan.pseudonymizer else None,
        "repurchase": __version__,
    }


def _find_last_run(delivery: Delivery, plan: _ScoringPlan) -> LastRun | None:
    try:
        run = json.loads(delivery.sibling(".run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return find_last_run(delivery.out, run, pseudonyms=plan.pseudonymizer.mark if plan.pseudonymizer else None)


def _stage_scores(delivery: Delivery, scores: PartitionedScores) -> dict[str, Any]:
    main = delivery.staged(delivery.out)
    if delivery.out.suffix == ".csv":
        scores.lazy().sink_csv(main)
    else:
        scores.lazy().sink_parquet(main, metadata=parquet_metadata("scores"))
    return _file_record(main, delivery.out, scores.count())


def _stage_set_aside(delivery: Delivery, intake: Intake) -> dict[str, Any]:
    quarantine = delivery.sibling(QUARANTINE_SUFFIX)
    intake.set_aside.sink_parquet(delivery.staged(quarantine), metadata=parquet_metadata("quarantine"))
    return _file_record(delivery.staged(quarantine), quarantine, intake.report.count("set_aside"))


def _stage_record(delivery: Delivery, run: dict[str, Any], scores: dict[str, Any]) -> None:
    run["outputs"]["scores"] = scores
    delivery.staged(delivery.sibling(".run.json")).write_text(
        json.dumps(with_digest(run), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _write_table(
    delivery: Delivery, table: ScoresTable, batch: ScoreBatch, run: dict[str, Any], *, seconds: float
) -> None:
    # The record is made ready before the rows are committed: a full disk then leaves the table as it was.
    def stage(written: TableWriteResult) -> None:
        _stage_record(delivery, run, {"path": table.shown, **asdict(written)})

    write_scores_table(table, batch, seconds=seconds, before_commit=stage)


def _file_record(staged: Path, target: Path, rows: int) -> dict[str, Any]:
    return {"path": target.name, "rows": rows, "sha256": sha256_of(staged)}


def _run_record(plan: _ScoringPlan, intake: Intake, scores: PartitionedScores) -> dict[str, Any]:
    bundle, asked, parameters = plan.bundle, plan.asked, plan.bundle.state
    return {
        "schema": _RUN_SCHEMA,
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
        "orders": redact_json(intake.describe()),
        "cleaning": intake.report.to_dict(),
        "partitions": {
            "count": len(intake.ledgers),
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
        "list": redact(str(asked.path.absolute())) if asked and asked.path else None,
        "pseudonyms": plan.pseudonymizer.mark if plan.pseudonymizer else None,
        "tiers": parameters["tiers"],
        "notes": [*parameters["notes"], *_age_note(intake.as_of, date.fromisoformat(bundle.manifest["as_of"]))],
    }


def _age_note(as_of: date, model_as_of: date) -> list[str]:
    if as_of >= model_as_of:
        return []
    return [f"the model has seen orders up to {model_as_of}, later than {as_of}: these scores are no test of it"]
