"""Train, judge on later orders, keep, and promote if it is better."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase.errors import BundleError
from repurchase.estimators.cuts import Cuts
from repurchase.estimators.model import RepurchaseModel
from repurchase.evaluation.backtest import backtest
from repurchase.evaluation.judgement import judge
from repurchase.evaluation.look import Look
from repurchase.features.timeline import Ledger
from repurchase.jobs.intake import Intake, take_in, workspace
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.jobs.summary import training_lines
from repurchase.jobs.watch import training_profile
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.sufficiency import require_sufficient, sufficiency, supported_horizons
from repurchase.registry.bundle import load_bundle
from repurchase.registry.champion import read_standings, resolve, settle
from repurchase.registry.gate import Verdict, judge_evaluation
from repurchase.registry.tracking import keep_training
from repurchase.registry.training import Training
from repurchase.report.figures import training_pictures
from repurchase.settings import Settings
from repurchase.storage.delivery import require_writable

if TYPE_CHECKING:
    from repurchase.jobs.spark.engine import Cluster
    from repurchase.jobs.spark.training import Taught

__all__ = ["Trained", "train"]

logger = logging.getLogger("repurchase")

TIE = 1e-9
"""A candidate that equals the champion has seen newer orders: it passes."""


@dataclass(frozen=True)
class Trained:
    """What a training run came to.

    Parameters
    ----------
    version : str
        The registered version.
    verdict : Verdict
        Whether it was promoted, and why.
    evaluation : dict
        How it was judged.
    intake : Intake
        What it learned from.
    model : RepurchaseModel
        Fitted.
    folder : Path
        The bundle.
    summary : tuple of str
        All of it in lines, rendered before the version was promoted.
    """

    version: str
    verdict: Verdict
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
    cluster: "Cluster | None" = None,
) -> Trained:
    """Train on a log, from file to champion.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob of orders; or a table or query of a database.
    settings : Settings
        How to read, clean and fit; ``settings.home`` receives ``models/`` and ``mlruns/``.
    as_of : date, optional
        Last day known; default the last order's day.
    steps : Steps, optional
        Who watches.
    cluster : Cluster, optional
        A Spark cluster that reads, and counts what all customers teach; ``spark_sample`` of them teach the rest.

    Returns
    -------
    Trained
        The registered version, and the gate's verdict.

    Raises
    ------
    InputError
        If the orders cannot be used or are too few.
    DeliveryError
        If the home folder cannot be written. Where MLflow cannot, the version is in ``models/`` and registered later.
    """
    steps = steps or LogSteps()
    require_writable(settings.home)
    with steps.step("Reading and cleaning orders") as counts, workspace() as folder:
        told: dict[str, Any] = {"settings": settings, "folder": folder, "as_of": as_of}
        take = cluster.take_in if cluster else partial(take_in, on_progress=steps.progress)
        intake = take(source, **told)
        counts.update(intake.counts)
        taught = _taught(cluster, intake, settings) if cluster else None
        book = taught.book if taught else intake.books.whole()
        require_sufficient(sufficiency(book.extent(intake.as_of), settings=settings))
        cuts = _cuts(book, intake, settings)
        if taught:
            cuts.tell(intake.as_of, taught.btyd, taught.gamma_gamma)
    with steps.step("Judging on later orders"):
        judged = backtest(
            cuts,
            intake.as_of,
            random_state=settings.random_state,
            jobs=settings.jobs,
            on_progress=steps.progress,
        )
        evaluation = judge(judged.predictions, not_judged=judged.not_judged, currency=intake.report.currency)
    with steps.step("Fitting the model"):
        model = _model(settings, cuts.horizons).fit_cuts(cuts, intake.as_of)
        if taught:
            model.fitted_ = replace(model.fitted_, notes=(*model.notes_, *taught.notes))
        evaluation = {**evaluation, "limits": [*evaluation["limits"], *model.notes_]}
    with steps.step("Keeping it"):
        look = taught.look if taught else None
        training = _training(intake, book, model, cuts, evaluation=evaluation, settings=settings, look=look)
        version = keep_training(settings.home, training)
    with steps.step("Comparing with the champion"):
        champion = _champion_evaluation(model, cuts, evaluation, home=settings.home)
        verdict = judge_evaluation(evaluation, champion, tolerance=TIE)
        trained = Trained(version, verdict, evaluation, intake, model, resolve(settings.home, version))
        trained = replace(trained, summary=tuple(training_lines(trained)))  # nothing is promoted that cannot be shown
        settle(settings.home, version, verdict)
    return trained


def _taught(cluster: "Cluster", intake: Intake, settings: Settings) -> "Taught":
    from repurchase.jobs.spark.training import teach

    return teach(cluster, intake, most=settings.spark_sample)


def _cuts(book: Ledger, intake: Intake, settings: Settings) -> Cuts:
    horizons = supported_horizons(first_day=book.first_day, as_of=intake.as_of, settings=settings)
    return Cuts(book, horizons=horizons)


def _model(settings: Settings, horizons: Sequence[int]) -> RepurchaseModel:
    return RepurchaseModel(
        horizons=tuple(horizons),
        clv_horizon_days=settings.clv_horizon_days,
        discount_rate=settings.discount_rate,
        random_state=settings.random_state,
        n_jobs=settings.jobs,
    )


def _training(
    intake: Intake,
    book: Ledger,
    model: RepurchaseModel,
    cuts: Cuts,
    *,
    evaluation: Mapping[str, Any],
    settings: Settings,
    look: Look | None = None,
) -> Training:
    everyone = model.fitted_.predict(book, intake.as_of, n_jobs=settings.jobs)
    primary = evaluation.get("primary_horizon_days") or model.horizons_[0]
    btyd = model.forecaster_.btyd
    return Training(
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
        pictures=training_pictures(everyone.filter(pl.col("status") == "scored"), evaluation, horizon_days=primary),
        profile=training_profile(intake, cuts.book, closing=model.closing_, look=look),
    )


def _champion_evaluation(
    model: RepurchaseModel, cuts: Cuts, evaluation: Mapping[str, Any], *, home: Path
) -> Mapping[str, Any] | None:
    """Judge the champion's recipe on the candidate's cut-offs and customers."""
    # The champion's own fit has seen the outcomes of these cut-offs, so it would win for being late. Compared is what
    # its seed says when fitted on what was known at each cut-off; an equal one is the candidate itself.
    champion = read_standings(home).aliases.get("champion")
    days = evaluation.get("primary_horizon_days")
    if champion is None or days is None:
        return None
    try:
        theirs = RepurchaseModel.from_state(load_bundle(resolve(home, champion)).state)
    except BundleError as fault:
        logger.warning("The champion cannot be compared with and counts as none: %s", fault)
        return None
    if days not in theirs.horizons_:
        return {"backtest": []}
    if theirs.random_state == model.random_state:
        return evaluation
    again = backtest(
        Cuts(cuts.book, horizons=(days,)),
        model.as_of_,
        random_state=theirs.random_state,
        jobs=model.n_jobs,
    )
    return judge(again.predictions, primary_horizon_days=days)
