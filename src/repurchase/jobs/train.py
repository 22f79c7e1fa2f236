"""`repurchase train`: fit, judge on later orders, keep, and promote if better; or do a dry run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from repurchase.errors import BundleError
from repurchase.evaluation.backtest import backtest, backtest_days
from repurchase.evaluation.drift import InputSummary
from repurchase.evaluation.summary import summarise_evaluation
from repurchase.features.ledger import Ledger
from repurchase.jobs.monitor import training_profile
from repurchase.jobs.order_intake import Intake, LogSteps, Steps, load_orders, workspace
from repurchase.jobs.outputs import require_access
from repurchase.models.btyd.model import BtydModel, Family, GammaGamma
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshots
from repurchase.orders.checks import require_sufficient, sufficiency, supported_horizons
from repurchase.registry.bundle import TrainingRun, load_bundle
from repurchase.registry.champion import (
    GateVerdict,
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


def training_lines(trained: "_TrainingResult") -> list[str]:
    """Say how a model was judged, and where it is."""
    evaluation = trained.evaluation
    standing = "is the champion" if trained.verdict.passed else "is kept as challenger"
    next_step = [] if trained.verdict.passed else [_next_step_line(trained)]
    return [
        "",
        f"Grade {evaluation['grade']}: {evaluation['grade_words']}",
        *(f"  - {words}" for words in (*evaluation["reasons"], *evaluation["limits"])),
        _backtest_table(evaluation),
        trained.verdict.words,
        f"Version {trained.version} {standing}. Model: {trained.folder}",
        *next_step,
    ]


def _next_step_line(trained: "_TrainingResult") -> str:
    version, numbers = trained.version, trained.verdict.numbers
    force = f"`repurchase models promote {version} --force`"
    if "champion" in numbers and numbers["gain_over_rule"] > 0:
        return f"Next: nothing; the champion goes on scoring. {force} takes this one all the same."
    return (
        "Next: train on a longer history, if there is one. Until then rank customers by a rule, such as "
        f"days_since_last in the scores (`repurchase score ORDERS --model {version}`); {force} takes it all the same."
    )


def _backtest_table(evaluation: dict[str, Any]) -> str:
    lines = [f"{'days':>5} {'cut-off':<11}{'customers':>10} {'predictor':<16}{'log loss':>9}{'AUC':>8}{'ECE':>8}"]
    lines.extend(
        f"{row['horizon_days']:>5} {row['cutoff']:<11}{row['n_customers']:>10,} {row['predictor']:<16}"
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
    """What a cluster has of a log for one machine to learn from."""

    ledger: Ledger
    n_customers: int
    btyd: dict[Family, BtydModel]
    gamma_gamma: GammaGamma | None
    look: InputSummary

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the model must know; nothing where the sample is everyone."""
        sampled = len(self.ledger.ids)
        if sampled == self.n_customers:
            return ()
        drawn = f"{sampled:,} of {self.n_customers:,} customers, drawn by a hash of their ids"
        fitted = "purchases and money a purchase (MBG/NBD, BG/NBD, Gamma-Gamma) from all"
        return (f"curves, boosting, ranges and this judgement come from {drawn}; {fitted}",)


class _TrainingEngine(Protocol):
    """What reads orders, and counts what all customers teach, elsewhere than in this process."""

    def load_orders(
        self, source: str | DatabaseSource, *, settings: Settings, folder: Path, as_of: date | None = None
    ) -> Intake:
        """Read and clean orders, and settle the last day known."""

    def collect_training_data(self, intake: Intake, *, most: int) -> ClusterTrainingData:
        """Draw a sample of at most so many customers, and fit what has a closed form to all of them."""


@dataclass(frozen=True)
class _TrainingResult:
    """What a training run came to."""

    version: str
    verdict: GateVerdict
    evaluation: dict[str, Any]
    intake: Intake
    model: RepurchaseModel
    folder: Path
    summary: tuple[str, ...] = ()


def train(
    source: str | DatabaseSource,
    *,
    settings: Settings,
    as_of: date | None = None,
    steps: Steps | None = None,
    cluster: "_TrainingEngine | None" = None,
) -> _TrainingResult:
    """Train on a log, from file to champion."""
    steps = steps or LogSteps()
    require_writable(settings.home)
    with steps.step("Reading and cleaning orders") as counts, workspace() as folder:
        told: dict[str, Any] = {"settings": settings, "folder": folder, "as_of": as_of}
        take = cluster.load_orders if cluster else partial(load_orders, on_progress=steps.progress)
        intake = take(source, **told)
        counts.update(intake.counts)
        sample = cluster.collect_training_data(intake, most=settings.spark_sample) if cluster else None
        ledger = sample.ledger if sample else intake.ledgers.whole()
        require_sufficient(sufficiency(ledger.extent(intake.as_of), settings=settings))
        cuts = _snapshots(ledger, intake, settings)
        if sample:
            cuts.set_fits(intake.as_of, sample.btyd, sample.gamma_gamma)
    with steps.step("Judging on later orders"):
        judged = backtest(
            cuts,
            intake.as_of,
            random_state=settings.random_state,
            jobs=settings.jobs,
            on_progress=steps.progress,
        )
        evaluation = summarise_evaluation(
            judged.predictions, not_judged=judged.not_judged, currency=intake.report.currency
        )
    with steps.step("Fitting the model"):
        model = _new_model(settings, cuts.horizons).fit_snapshots(cuts, intake.as_of)
        if sample:
            model.notes_ = (*model.notes_, *sample.notes)
        evaluation = {**evaluation, "limits": [*evaluation["limits"], *model.notes_]}
    with steps.step("Keeping it"):
        look = sample.look if sample else None
        training = _training_record(intake, ledger, model, cuts, evaluation=evaluation, settings=settings, look=look)
        version = save_training(settings.home, training)
    with steps.step("Comparing with the champion"):
        champion = _champion_evaluation(model, cuts, evaluation, home=settings.home)
        verdict = judge_evaluation(evaluation, champion, tolerance=_TIE_TOLERANCE)
        trained = _TrainingResult(version, verdict, evaluation, intake, model, resolve_version(settings.home, version))
        trained = replace(trained, summary=tuple(training_lines(trained)))  # nothing is promoted that cannot be shown
        apply_gate_verdict(settings.home, version, verdict)
    return trained


def _snapshots(ledger: Ledger, intake: Intake, settings: Settings) -> Snapshots:
    horizons = supported_horizons(first_day=ledger.first_day, as_of=intake.as_of, settings=settings)
    return Snapshots(ledger, horizons=horizons)


def _new_model(settings: Settings, horizons: Sequence[int]) -> RepurchaseModel:
    return RepurchaseModel(
        horizons=tuple(horizons),
        clv_horizon_days=settings.clv_horizon_days,
        discount_rate=settings.discount_rate,
        random_state=settings.random_state,
        n_jobs=settings.jobs,
    )


def _training_record(
    intake: Intake,
    ledger: Ledger,
    model: RepurchaseModel,
    cuts: Snapshots,
    *,
    evaluation: Mapping[str, Any],
    settings: Settings,
    look: InputSummary | None = None,
) -> TrainingRun:
    everyone = model.predict_ledger(ledger, intake.as_of, n_jobs=settings.jobs)
    primary = evaluation.get("primary_horizon_days") or model.horizons_[0]
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
            "train_cutoffs": {h: len(cuts.train_days(intake.as_of, horizon_days=h)) for h in model.horizons_},
        },
        pictures=training_charts(everyone.filter(pl.col("status") == "scored"), evaluation, horizon_days=primary),
        profile=training_profile(intake, cuts.ledger, closing=model.closing_, look=look),
    )


def _champion_evaluation(
    model: RepurchaseModel, cuts: Snapshots, evaluation: Mapping[str, Any], *, home: Path
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
        Snapshots(cuts.ledger, horizons=(days,)),
        model.as_of_,
        random_state=theirs.random_state,
        jobs=model.n_jobs,
    )
    return summarise_evaluation(again.predictions, primary_horizon_days=days)


def dry_run_train(
    source: str | DatabaseSource, *, settings: Settings, as_of: date | None = None, steps: Steps | None = None
) -> list[str]:
    """Do what `train` does before it fits, and write nothing."""
    steps = steps or LogSteps()
    require_access(settings.home / "models")
    with workspace() as folder, steps.step("Reading and cleaning orders") as counts:
        intake = load_orders(source, settings=settings, folder=folder, as_of=as_of, on_progress=steps.progress)
        counts.update(intake.counts)
        ledger = intake.ledgers.whole()
        require_sufficient(sufficiency(ledger.extent(intake.as_of), settings=settings))
    horizons = supported_horizons(first_day=ledger.first_day, as_of=intake.as_of, settings=settings)
    cuts = Snapshots(ledger, horizons=horizons)
    judged = {h: len(backtest_days(cuts, intake.as_of, horizon_days=h)) for h in horizons}
    there = version_numbers(settings.home)
    ahead = "; ".join(f"{h} days ahead, judged on {count} earlier days" for h, count in judged.items())
    return [
        *intake.report.words(),
        f"Would train on orders up to {intake.as_of}: {ahead}.",
        f"Would keep it in {settings.home / 'models'}, which can be written and holds {len(there):,} versions.",
        "This was a dry run: nothing was fitted and nothing was written.",
    ]
