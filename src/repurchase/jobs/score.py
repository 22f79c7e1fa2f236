"""`repurchase score`: score customers with a kept model, deliver the table whole, or do a dry run."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from repurchase import __version__
from repurchase.errors import DeliveryError
from repurchase.features.ledger import Ledger
from repurchase.i18n.messages import Message, message, render, translate
from repurchase.jobs.customer_lists import (
    CustomerList,
    Pseudonymizer,
    find_pseudonymizer,
    match_listed_ids,
    read_customers,
    unused_names,
)
from repurchase.jobs.monitor import LastRun, assess_drift, compare_with_last_run, find_last_run
from repurchase.jobs.order_intake import (
    Intake,
    LogSteps,
    OrderEngine,
    Steps,
    load_orders,
    with_model_settings,
    workspace,
)
from repurchase.jobs.outputs import (
    QUARANTINE_SUFFIX,
    RUN_SUFFIX,
    TABLE_RECORD_SUFFIX,
    JobResult,
    local_inputs,
    record_header,
    require_access,
    score_outputs,
    stage_record,
)
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
from repurchase.storage.run_records import RUN_SCHEMA


@dataclass(frozen=True)
class _ScoringPlan:
    """What a scoring run is about to do, as far as it is known before any order is read."""

    bundle: LoadedBundle
    settings: Settings
    customers: CustomerList | None
    table: ScoresTable | None
    path: Path
    """The scores file, or the file that stands for the table."""
    pseudonymizer: Pseudonymizer | None

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days ahead of the model."""
        return tuple(self.bundle.manifest["horizons"])

    @property
    def formats(self) -> tuple[str, ...]:
        """Endings that ``path`` may have."""
        return (TABLE_RECORD_SUFFIX,) if self.table else FORMATS

    @property
    def destination(self) -> str:
        """The file or table, without password."""
        return self.table.shown if self.table else str(self.path)

    @property
    def key_record(self) -> dict[str, str] | None:
        """How ids are hashed, for the record."""
        return self.pseudonymizer.key_record if self.pseudonymizer else None

    @property
    def requested_ids(self) -> pl.Series | None:
        """The customers of the list, if there is one."""
        return self.customers.rows["customer_id"] if self.customers else None


def _plan_scoring(
    source: str | DatabaseSource, *, out: str | Path, settings: Settings, customers: Path | None, model: str
) -> _ScoringPlan:
    """Decide all that can be decided before orders are read; writes nothing."""
    bundle = load_bundle(resolve_version(settings.home, model))
    settings = with_model_settings(settings, bundle.manifest.get("settings", {}))
    table = find_scores_table(str(out))
    path = table.record(settings.home) if table else Path(out)
    _require_other_paths(path, [*local_inputs(source, customers), bundle.folder])
    require_file_name(path, formats=(TABLE_RECORD_SUFFIX,) if table else FORMATS)
    require_outside_registry(path, home=settings.home)
    require_replaceable(score_outputs(path))
    customer_list = read_customers(customers, column_map=settings.columns) if customers else None
    pseudonymizer = find_pseudonymizer(settings)
    if pseudonymizer and customer_list:
        customer_list = pseudonymizer.customer_list(customer_list)
    plan = _ScoringPlan(bundle, settings, customer_list, table, path, pseudonymizer)
    if table:
        names = scores_table(plan.horizons).names
        further = _further_columns(customer_list, taken=names).schema if customer_list else pl.Schema()
        require_compatible_table(table, horizons=plan.horizons, further=further, seconds=settings.retry_seconds)
    return plan


def _require_other_paths(out: Path, inputs: Iterable[Path]) -> None:
    require_distinct_paths([*score_outputs(out), work_folder(out)], inputs)


def _further_columns(customers: CustomerList, *, taken: Iterable[str]) -> pl.DataFrame:
    """Take a list's further columns, under names that scores leave free."""
    further = customers.rows.drop("customer_id")
    return further.rename(unused_names(further.columns, taken=taken))


def _require_own_record(out: Path) -> None:
    """Refuse to overwrite the record of other scores, such as those of scores.csv next to scores.parquet."""
    record = out.with_name(out.stem + RUN_SUFFIX)
    try:
        recorded = read_json(record)["outputs"]["scores"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if recorded != out.name and (out.parent / str(recorded)).exists():
        raise DeliveryError(
            f"{record} is the record of {recorded}, in the same folder. Choose another name than {out.name}, or "
            "another folder."
        )


class _ScoringEngine(OrderEngine, Protocol):
    """What reads orders and scores customers outside this process."""

    def describe(self) -> dict[str, Any]:
        """Describe the engine for ``run.json``."""

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
    dry_run: bool = False,
) -> JobResult:
    """Score everyone in a log, or a list of customers; a dry run tries the model on some and writes nothing."""
    steps = steps or LogSteps()
    plan = _plan_scoring(source, out=out, settings=settings, customers=customers, model=model)

    read_orders = partial(_read_orders, plan, source, as_of=as_of, steps=steps, engine=cluster)
    if dry_run:
        return _try_scoring(plan, read_orders, steps)
    with staged_delivery(plan.path, formats=plan.formats) as delivery:
        _require_own_record(delivery.out)
        intake = read_orders(delivery.work)
        with steps.step("Scoring") as counts:
            on_cluster = _score_on_cluster(plan, intake, delivery, steps, cluster) if cluster else None
            scores = on_cluster.scores if on_cluster else _score_locally(plan, intake, delivery, steps)
            counts.update(customers=scores.count(), partitions_reused=scores.reused)
        with steps.step("Measuring repeat business"):
            measures = repeat_business(on_cluster.counts if on_cluster else _count_purchases(intake))
        with steps.step("Looking for drift"):
            drift = assess_drift(plan.bundle, intake, summary=on_cluster.input_summary if on_cluster else None)
        with steps.step("Comparing with the last run"):
            changes = compare_with_last_run(_find_last_run(delivery, plan), intake)
        with steps.step("Writing") as counts:
            scores.require_unique()
            n_set_aside = intake.report.count("set_aside")
            counts.update(rows=scores.count(), rows_set_aside=n_set_aside)
            run = {
                **_run_record(plan, intake, scores),
                "outputs": {"scores": None, "quarantine": _stage_set_aside(delivery, intake) if n_set_aside else None},
                "engine": cluster.describe() if cluster else {"engine": "local"},
                "timings_seconds": dict(steps.timings_seconds),
                "measures": measures,
                "drift": drift,
                "changes": changes,
                "evaluation": plan.bundle.evaluation,
            }
            _stage_outputs(plan, delivery, scores, intake, run)
            delivery.publish(removed=[] if n_set_aside else [delivery.sibling(QUARANTINE_SUFFIX)])
    track_scoring(settings.home, run, seconds=settings.tracking_seconds)
    return JobResult(plan.path, run, tuple(_score_lines(plan, run)))


def _read_orders(plan: _ScoringPlan, source: str | DatabaseSource, folder: Path, **how: Any) -> Intake:
    intake = load_orders(source, settings=plan.settings, folder=folder, pseudonymizer=plan.pseudonymizer, **how)
    _require_other_paths(plan.path, [Path(file.path) for file in intake.log.files if "://" not in file.path])
    return intake


_TRIAL_CUSTOMERS = 100
"""Customers that a dry run scores, so that a model that cannot predict is found out."""


def _try_scoring(plan: _ScoringPlan, read_orders: Callable[[Path], Intake], steps: Steps) -> JobResult:
    """Do what `score` does, but write nothing."""
    require_file_name(plan.path, formats=plan.formats)
    _require_own_record(plan.path)
    require_access(plan.path.parent)
    with workspace() as folder:
        intake = read_orders(folder)
        with steps.step("Trying the model") as counts:
            by_status = _count_by_status(plan, intake)
            counts.update(customers=by_status["scored"])
        with steps.step("Looking for drift"):
            drift = assess_drift(plan.bundle, intake)
    model = (
        f"version {plan.bundle.version} (grade {plan.bundle.evaluation.get('grade', '-')}, orders up to "
        f"{plan.bundle.manifest['as_of']}; days ahead {', '.join(map(str, plan.horizons))})"
    )
    customers = f"{by_status['scored']:,} customers as of {intake.as_of}"
    lines = (
        *intake.report.lines(),
        f"Would score {customers} by {model}; {_unscored_summary(by_status)}.",
        f"Would write {plan.destination}, which can be written{_replacement_note(plan)}.",
        render(drift["words"]),
        "This was a dry run: nothing was written.",
    )
    return JobResult(None, {"counts": by_status, "drift": drift}, lines)


def _count_by_status(plan: _ScoringPlan, intake: Intake) -> dict[str, int]:
    """Count customers by the status that they would have, and score a few of them."""
    model = RepurchaseModel.from_state(plan.bundle.state)
    requested = plan.requested_ids
    with_orders, scored, tried = 0, 0, 0
    for ledger in intake.ledgers:
        buyers = _restrict_ids(ledger.ids.gather(ledger.history(intake.as_of).customer), requested)
        with_orders += len(_restrict_ids(ledger.customers(intake.as_of), requested))
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
    return ", in place of the scores that are there" if plan.path.exists() else ""


def _score_lines(plan: _ScoringPlan, run: Mapping[str, Any]) -> Iterator[str]:
    """Say who was scored, where the scores are, and whether the orders have drifted."""
    counts = run["counts"]
    where = f"{plan.destination}{_table_note(plan, run)}"
    about = {"as_of": run["as_of"], "version": run["model_version"], "unscored": _unscored_summary(counts)}
    yield translate("line.scored", n=counts["scored"], path=where, **about)
    if counts["duplicates_in_list"]:
        yield translate("line.duplicates", n=counts["duplicates_in_list"])
    yield from _change_lines(run["changes"])
    yield render(run["drift"]["words"])


def _unscored_summary(counts: Mapping[str, int]) -> str:
    """Say how many customers have no predictions, and why."""
    no_history, no_purchases = translate("line.no_history", n=counts["no_history"]), counts["no_purchases"]
    if not no_purchases:
        return no_history
    return translate("line.no_purchases", n=no_purchases, no_history=no_history)


def _change_lines(changes: Mapping[str, Any] | None) -> Iterator[str]:
    customers = (changes or {}).get("customers") or {}
    kinds = [kind for kind in ("corrected", "gone", "late") if customers.get(kind)]
    if changes and kinds:
        texts = [message(f"line.change.{kind}", n=customers[kind]) for kind in kinds]
        yield translate("line.changes", as_of=changes["as_of"], changes=texts)


def _table_note(plan: _ScoringPlan, run: Mapping[str, Any]) -> str:
    if not plan.table:
        return ""
    record = plan.path.with_name(plan.path.stem + RUN_SUFFIX)
    return f" ({run['outputs']['scores']['rows_replaced']:,} rows of the same day and model replaced). Record: {record}"


def _count_purchases(intake: Intake) -> PurchaseCounts:
    counts = (count_purchases(ledger, as_of=intake.as_of) for ledger in intake.ledgers)
    return sum(counts, PurchaseCounts.none(intake.as_of))


def _score_on_cluster(
    plan: _ScoringPlan, intake: Intake, delivery: Delivery, steps: Steps, cluster: "_ScoringEngine"
) -> ClusterScores:
    folder = delivery.work / "scores"
    made = cluster.score(intake, plan.bundle.state, plan.requested_ids, folder=folder, on_progress=steps.progress)
    if plan.customers is None:
        return made
    scores = _join_list(plan.customers, made.scores.lazy().collect(), as_of=intake.as_of, version=plan.bundle.version)
    return replace(made, scores=PartitionedScores((scores,)))


def _score_locally(plan: _ScoringPlan, intake: Intake, delivery: Delivery, steps: Steps) -> PartitionedScores:
    model = RepurchaseModel.from_state(plan.bundle.state)
    jobs = plan.settings.jobs
    if plan.customers is not None:
        return PartitionedScores((_score_listed(plan.customers, model, intake, jobs),))

    def predict(ledger: Ledger) -> pl.DataFrame:
        return model.predict_ledger(ledger, intake.as_of, n_jobs=jobs)

    store = (
        open_partition_store(delivery.finished_partitions, _resume_key(plan, intake))
        if len(intake.ledgers) > 1
        else None
    )
    return score_partitions(intake.ledgers, predict, store, on_progress=steps.progress)


def _score_listed(customers: CustomerList, model: RepurchaseModel, intake: Intake, jobs: int) -> pl.DataFrame:
    as_of = intake.as_of
    customers = match_listed_ids(customers, pl.concat([ledger.customers(as_of) for ledger in intake.ledgers]))
    ids = customers.rows["customer_id"]
    known = [
        model.predict_ledger(ledger, as_of, _restrict_ids(ids, ledger.customers(as_of)).to_list(), n_jobs=jobs)
        for ledger in intake.ledgers
    ]
    return _join_list(customers, pl.concat(known), as_of=as_of, version=model.version_)


def _join_list(customers: CustomerList, known: pl.DataFrame, *, as_of: date, version: str) -> pl.DataFrame:
    ids = customers.rows["customer_id"]
    scores = select_customers(known, ids, as_of=as_of, model_version=version)
    further = _further_columns(customers, taken=scores.columns).insert_column(0, ids)
    return scores.join(further, on="customer_id", how="left", maintain_order="left")


def _resume_key(plan: _ScoringPlan, intake: Intake) -> dict[str, Any]:
    """List all that scores follow from: finished partitions are reused only where none of it has changed."""
    settings = {name: str(value) for name, value in asdict(plan.settings).items() if name not in {"home", "jobs"}}
    return {
        "orders": intake.log.digest,
        "rows": intake.report.to_dict(),
        "as_of": intake.as_of.isoformat(),
        "model": plan.bundle.manifest,
        "settings": settings,
        "partitions": len(intake.ledgers),
        "pseudonyms": plan.key_record,
        "repurchase": __version__,
    }


def _find_last_run(delivery: Delivery, plan: _ScoringPlan) -> LastRun | None:
    try:
        run = json.loads(delivery.sibling(RUN_SUFFIX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return find_last_run(delivery.out, run, pseudonyms=plan.key_record)


def _stage_outputs(
    plan: _ScoringPlan, delivery: Delivery, scores: PartitionedScores, intake: Intake, run: dict[str, Any]
) -> None:
    """Make the scores and their record ready; rows of a table are committed last."""

    def stage_run(recorded: dict[str, Any]) -> None:
        run["outputs"]["scores"] = recorded
        stage_record(delivery, with_digest(run), delivery.sibling(RUN_SUFFIX))

    if plan.table is None:
        staged = delivery.staged(delivery.out)
        if delivery.out.suffix == ".csv":
            scores.lazy().sink_csv(staged)
        else:
            scores.lazy().sink_parquet(staged, metadata=parquet_metadata("scores"))
        stage_run(_file_record(staged, delivery.out, scores.count()))
        return

    # The record is made ready before the rows are committed: a full disk then leaves the table as it was.
    def before_commit(written: TableWriteResult) -> None:
        stage_run({"path": plan.destination, **asdict(written)})

    batch = ScoreBatch(scores, intake.as_of, plan.bundle.version, plan.horizons)
    write_scores_table(plan.table, batch, seconds=plan.settings.retry_seconds, before_commit=before_commit)


def _stage_set_aside(delivery: Delivery, intake: Intake) -> dict[str, Any]:
    quarantine = delivery.sibling(QUARANTINE_SUFFIX)
    intake.set_aside.sink_parquet(delivery.staged(quarantine), metadata=parquet_metadata("quarantine"))
    return _file_record(delivery.staged(quarantine), quarantine, intake.report.count("set_aside"))


def _file_record(staged: Path, target: Path, rows: int) -> dict[str, Any]:
    return {"path": target.name, "rows": rows, "sha256": sha256_of(staged)}


def _run_record(plan: _ScoringPlan, intake: Intake, scores: PartitionedScores) -> dict[str, Any]:
    manifest, state, customers = plan.bundle.manifest, plan.bundle.state, plan.customers
    return {
        **record_header("score", RUN_SCHEMA),
        "as_of": intake.as_of.isoformat(),
        "model_version": plan.bundle.version,
        "model_as_of": manifest["as_of"],
        "horizons": list(manifest["horizons"]),
        "clv_horizon_days": state["settings"]["clv_horizon_days"],
        "discount_rate": state["settings"]["discount_rate"],
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
            "duplicates_in_list": len(customers.duplicates) if customers else 0,
            "rows_without_id": customers.without_id if customers else 0,
        },
        "duplicates": list(customers.duplicates[:100]) if customers else [],
        "list": redact(str(customers.path.absolute())) if customers and customers.path else None,
        "pseudonyms": plan.key_record,
        "tiers": state["tiers"],
        "notes": [*state["notes"], *_age_note(intake.as_of, date.fromisoformat(manifest["as_of"]))],
    }


def _age_note(as_of: date, model_as_of: date) -> list[Message]:
    if as_of >= model_as_of:
        return []
    return [message("model_note.seen_later", model_as_of=model_as_of.isoformat(), as_of=as_of.isoformat())]
