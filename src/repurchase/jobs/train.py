"""`repurchase train`: fit, judge on later orders, keep, and promote if better; or do a dry run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from repurchase.errors import BundleError
from repurchase.evaluation.backtest import backtest, backtest_days
from repurchase.evaluation.drift import InputSummary
from repurchase.evaluation.summary import summarise_evaluation
from repurchase.features.ledger import Ledger
from repurchase.i18n.messages import Message, message, predictor_name, render, translate
from repurchase.jobs.monitor import training_profile
from repurchase.jobs.order_intake import Intake, LogSteps, OrderEngine, Steps, load_orders, workspace
from repurchase.jobs.outputs import JobResult, require_access
from repurchase.models.btyd.model import BtydModel, Family, GammaGamma
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshots
from repurchase.orders.checks import require_sufficient, sufficiency, supported_horizons
from repurchase.registry.bundle import TrainingRun, load_bundle
from repurchase.registry.champion import (
    apply_gate_verdict,
    judge_evaluation,
    read_version_states,
    resolve_version,
    version_numbers,
)
from repurchase.registry.tracking import save_training
from repurchase.report.prediction_charts import training_charts
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import require_writable


def training_lines(record: Mapping[str, Any], folder: Path) -> list[str]:
    """Say how a model was judged, and where it is."""
    version, verdict, evaluation = record["version"], record["verdict"], record["evaluation"]
    return [
        "",
        translate("line.grade", grade=evaluation["grade"], verdict=evaluation["grade_words"]),
        *(f"  - {render(text)}" for text in (*evaluation["reasons"], *evaluation["limits"])),
        _backtest_table(evaluation),
        render(verdict["words"]),
        translate(f"line.{'champion' if verdict['passed'] else 'challenger'}", version=version, folder=str(folder)),
        *([] if verdict["passed"] else [_next_step_line(version, verdict["numbers"])]),
    ]


def _next_step_line(version: str, numbers: Mapping[str, float]) -> str:
    is_beaten_by_champion = "champion" in numbers and numbers["gain_over_rule"] > 0
    return translate("line.next_nothing" if is_beaten_by_champion else "line.next_rule", version=version)


def _backtest_table(evaluation: dict[str, Any]) -> str:
    lines = [f"{'days':>5} {'cut-off':<11}{'customers':>10} {'predictor':<28}{'log loss':>9}{'AUC':>8}{'ECE':>8}"]
    lines.extend(
        f"{row['horizon_days']:>5} {row['cutoff']:<11}{row['n_customers']:>10,} {predictor_name(row['predictor']):<28}"
        f"{_format_metric(row.get('log_loss')):>9}{_format_metric(row.get('auc')):>8}{_format_metric(row.get('ece')):>8}"
        for row in evaluation["backtest"]
        if row["predictor"] in {"model", "days_since_last", "past_rate"}
    )
    return "\n".join(lines)


def _format_metric(value: float | None) -> str:
    """Four digits, or a dash where the metric is not defined: there is no AUC where nobody, or everybody, bought."""
    return "-" if value is None else f"{value:.4f}"


_logger = logging.getLogger("repurchase")

_TIE_TOLERANCE = 1e-9
"""A candidate that equals the champion has seen newer orders: it passes."""


@dataclass(frozen=True)
class ClusterTrainingData:
    """What a cluster draws and counts for one machine to learn from."""

    ledger: Ledger
    n_customers: int
    btyd: dict[Family, BtydModel]
    gamma_gamma: GammaGamma | None
    input_summary: InputSummary

    @property
    def notes(self) -> tuple[Message, ...]:
        """What the reader of the model must know; nothing where the sample is everyone."""
        n_sampled = len(self.ledger.ids)
        if n_sampled == self.n_customers:
            return ()
        return (message("model_note.sample", sampled=n_sampled, customers=self.n_customers),)


class _TrainingEngine(OrderEngine, Protocol):
    """What reads orders, and fits what needs all customers, outside this process."""

    def collect_training_data(self, intake: Intake, *, most: int) -> ClusterTrainingData:
        """Draw a sample of at most so many customers, and fit what has a closed form to all of them."""


def train(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date | None = None,
    steps: Steps | None = None,
    cluster: "_TrainingEngine | None" = None,
    dry_run: bool = False,
) -> JobResult:
    """Train on a log, from file to champion; a dry run ends before anything is fitted."""
    steps = steps or LogSteps()
    if dry_run:
        require_access(settings.home / "models")
    else:
        require_writable(settings.home)
    with workspace() as folder:
        intake = load_orders(source, settings=settings, folder=folder, as_of=as_of, steps=steps, engine=cluster)
        sample = cluster.collect_training_data(intake, most=settings.spark_sample) if cluster else None
        ledger = sample.ledger if sample else intake.ledgers.whole()
        require_sufficient(sufficiency(ledger.extent(intake.as_of), settings=settings))
        horizons = supported_horizons(first_day=ledger.first_day, as_of=intake.as_of, settings=settings)
        snapshots = Snapshots(ledger, horizons=horizons)
        if sample:
            snapshots.set_fits(intake.as_of, sample.btyd, sample.gamma_gamma)
    if dry_run:
        return JobResult(None, {"horizons": horizons}, tuple(_dry_run_lines(intake, snapshots, settings)))
    with steps.step("Judging on later orders"):
        judged = backtest(
            snapshots,
            intake.as_of,
            random_state=settings.random_state,
            jobs=settings.jobs,
            on_progress=steps.progress,
        )
        evaluation = summarise_evaluation(
            judged.predictions, not_judged=judged.not_judged, currency=intake.report.currency
        )
    with steps.step("Fitting the model"):
        model = _new_model(settings, snapshots.horizons).fit_snapshots(snapshots, intake.as_of)
        if sample:
            model.notes_ = (*model.notes_, *sample.notes)
        evaluation = {**evaluation, "limits": [*evaluation["limits"], *model.notes_]}
    with steps.step("Keeping it"):
        summary = sample.input_summary if sample else None
        profile = training_profile(intake, ledger, closing=model.closing_, summary=summary)
        run = _training_run(intake, model, snapshots, evaluation=evaluation, settings=settings, profile=profile)
        version = save_training(settings.home, run)
    with steps.step("Comparing with the champion"):
        champion = _champion_evaluation(model, snapshots, evaluation, home=settings.home)
        verdict = judge_evaluation(evaluation, champion, tolerance=_TIE_TOLERANCE)
        folder = resolve_version(settings.home, version)
        record = {"version": version, "verdict": verdict.to_dict(), "evaluation": evaluation}
        lines = training_lines(record, folder)  # nothing is promoted that cannot be shown
        apply_gate_verdict(settings.home, version, verdict)
    return JobResult(folder, record, tuple(lines))


def _dry_run_lines(intake: Intake, snapshots: Snapshots, settings: Settings) -> list[str]:
    days = {h: len(backtest_days(snapshots, intake.as_of, horizon_days=h)) for h in snapshots.horizons}
    horizons = "; ".join(f"{h} days ahead, judged on {count} earlier days" for h, count in days.items())
    n_versions = len(version_numbers(settings.home))
    return [
        *intake.report.lines(),
        f"Would train on orders up to {intake.as_of}: {horizons}.",
        f"Would keep it in {settings.home / 'models'}, which can be written and holds {n_versions:,} versions.",
        "This was a dry run: nothing was fitted and nothing was written.",
    ]


def _new_model(settings: Settings, horizons: Sequence[int]) -> RepurchaseModel:
    return RepurchaseModel(
        horizons=tuple(horizons),
        clv_horizon_days=settings.clv_horizon_days,
        discount_rate=settings.discount_rate,
        random_state=settings.random_state,
        n_jobs=settings.jobs,
    )


def _training_run(
    intake: Intake,
    model: RepurchaseModel,
    snapshots: Snapshots,
    *,
    evaluation: Mapping[str, Any],
    settings: Settings,
    profile: dict[str, Any],
) -> TrainingRun:
    scores = model.predict_ledger(snapshots.ledger, intake.as_of, n_jobs=settings.jobs)
    primary_days = evaluation.get("primary_horizon_days") or model.horizons_[0]
    btyd = model.forecaster_.reference.btyd
    return TrainingRun(
        state=model.to_state(),
        as_of=intake.as_of,
        horizons=model.horizons_,
        orders=intake.describe(),
        cleaning=intake.report.to_dict(),
        evaluation=evaluation,
        settings=settings,
        params={
            "btyd_family": btyd.family,
            **{f"btyd_{name}": getattr(btyd, name) for name in ("r", "alpha", "a", "b", "log_likelihood")},
            "learned_horizons": list(model.learned_),
            "train_cutoffs": {h: len(snapshots.train_days(intake.as_of, horizon_days=h)) for h in model.horizons_},
        },
        pictures=training_charts(scores.filter(pl.col("status") == "scored"), evaluation, horizon_days=primary_days),
        profile=profile,
    )


def _champion_evaluation(
    model: RepurchaseModel, snapshots: Snapshots, evaluation: Mapping[str, Any], *, home: Path
) -> Mapping[str, Any] | None:
    """Judge the champion's recipe on the candidate's cut-offs and customers."""
    # The champion's own fit has seen the outcomes of these cut-offs, so it would win for being late. Compared is what
    # its seed says when fitted on what was known at each cut-off; an equal one is the candidate itself.
    champion = read_version_states(home).aliases.get("champion")
    days = evaluation.get("primary_horizon_days")
    if champion is None or days is None:
        return None
    try:
        theirs = RepurchaseModel.from_state(load_bundle(resolve_version(home, champion)).state)
    except BundleError as fault:
        _logger.warning("The champion cannot be compared with and counts as none: %s", fault)
        return None
    if days not in theirs.horizons_:
        return {"backtest": []}
    if theirs.random_state == model.random_state:
        return evaluation
    again = backtest(
        Snapshots(snapshots.ledger, horizons=(days,)),
        model.as_of_,
        random_state=theirs.random_state,
        jobs=model.n_jobs,
    )
    return summarise_evaluation(again.predictions, primary_horizon_days=days)
