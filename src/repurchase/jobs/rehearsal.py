"""Everything a job does up to writing: reads, cleans, loads, asks whether it may write, and says what would come."""

import os
from datetime import date
from pathlib import Path

import polars as pl

from repurchase.errors import DeliveryError
from repurchase.estimators.cuts import Cuts
from repurchase.estimators.fitted import FittedModel
from repurchase.evaluation.backtest import backtest_days
from repurchase.jobs.intake import Intake, take_in, workspace
from repurchase.jobs.scoring.plan import Plan, plan_scoring, require_own_record
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.jobs.summary import unscored_words
from repurchase.jobs.watch import drift_of
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.sufficiency import require_sufficient, sufficiency, supported_horizons
from repurchase.registry.champion import version_numbers
from repurchase.settings import Settings
from repurchase.storage.delivery import require_file_name

__all__ = ["rehearse_score", "rehearse_train"]

TRIED = 100
"""Customers that are really scored, so that a model that cannot speak is found out."""


def rehearse_score(
    source: str | DatabaseSource,
    *,
    out: str | Path,
    settings: Settings,
    as_of: date | None = None,
    customers: Path | None = None,
    model: str = "champion",
    steps: Steps | None = None,
) -> list[str]:
    """Do what `score` does, but write nothing.

    Parameters
    ----------
    source : str or DatabaseSource
        The orders.
    out : str or Path
        Where the scores would go.
    settings : Settings
        What is not told here is taken from the model's training.
    as_of : date, optional
        Last day known; default the last order's day.
    customers : Path, optional
        A customer list.
    model : str
        A version number, ``champion`` or ``latest``.
    steps : Steps, optional
        Who watches.

    Returns
    -------
    list of str
        What would come, in lines.

    Raises
    ------
    InputError
        If orders or list cannot be used.
    BundleError
        If there is no such model, or it is damaged.
    DeliveryError
        If the output could not be written.
    """
    steps = steps or LogSteps()
    plan = plan_scoring(source, out=out, settings=settings, customers=customers, model=model)
    require_file_name(plan.place, formats=plan.formats)
    require_own_record(plan.place)
    _require_access(plan.place.parent)
    with workspace() as folder:
        with steps.step("Reading and cleaning orders") as counts:
            intake = take_in(
                source,
                settings=plan.settings,
                folder=folder,
                as_of=as_of,
                on_progress=steps.progress,
                veil=plan.veil,
            )
            plan.require_apart(intake)
            counts.update(intake.counts)
        with steps.step("Trying the model") as counts:
            found = _counted(plan, intake)
            counts.update(customers=found["scored"])
        with steps.step("Looking for drift"):
            drift = drift_of(plan.bundle, intake)
    where = plan.table.shown if plan.table else str(plan.place)
    manifest = plan.bundle.manifest
    model_words = (
        f"version {plan.bundle.version} (grade {plan.bundle.evaluation.get('grade', '-')}, orders up to "
        f"{manifest['as_of']}; days ahead {', '.join(map(str, plan.horizons))})"
    )
    return [
        *intake.report.words(),
        f"Would score {found['scored']:,} customers as of {intake.as_of} by {model_words}; {unscored_words(found)}.",
        f"Would write {where}, which can be written{_replaces(plan)}.",
        drift["words"],
        "This was a dry run: nothing was written.",
    ]


def rehearse_train(
    source: str | DatabaseSource, *, settings: Settings, as_of: date | None = None, steps: Steps | None = None
) -> list[str]:
    """Do what `train` does before it fits, and write nothing.

    Parameters
    ----------
    source : str or DatabaseSource
        The orders.
    settings : Settings
        How to read, clean and fit.
    as_of : date, optional
        Last day known; default the last order's day.
    steps : Steps, optional
        Who watches.

    Returns
    -------
    list of str
        What would come, in lines.

    Raises
    ------
    InputError
        If the orders cannot be used or are too few.
    DeliveryError
        If the home folder could not be written.
    """
    steps = steps or LogSteps()
    _require_access(settings.home / "models")
    with workspace() as folder, steps.step("Reading and cleaning orders") as counts:
        intake = take_in(source, settings=settings, folder=folder, as_of=as_of, on_progress=steps.progress)
        counts.update(intake.counts)
        book = intake.books.whole()
        require_sufficient(sufficiency(book.extent(intake.as_of), settings=settings))
    horizons = supported_horizons(first_day=book.first_day, as_of=intake.as_of, settings=settings)
    cuts = Cuts(book, horizons=horizons)
    judged = {h: len(backtest_days(cuts, intake.as_of, horizon_days=h)) for h in horizons}
    there = version_numbers(settings.home)
    ahead = "; ".join(f"{h} days ahead, judged on {count} earlier days" for h, count in judged.items())
    return [
        *intake.report.words(),
        f"Would train on orders up to {intake.as_of}: {ahead}.",
        f"Would keep it in {settings.home / 'models'}, which can be written and holds {len(there):,} versions.",
        "This was a dry run: nothing was fitted and nothing was written.",
    ]


def _counted(plan: Plan, intake: Intake) -> dict[str, int]:
    """Count customers by the status that they would have, and score a few of them."""
    model = FittedModel.from_state(plan.bundle.state)
    requested = plan.asked.rows["customer_id"] if plan.asked else None
    with_orders, scored, tried = 0, 0, 0
    for book in intake.books:
        buyers = book.ids.gather(book.history(intake.as_of).customer)
        ids, buyers = (_among(known, requested) for known in (book.customers(intake.as_of), buyers))
        with_orders += len(ids)
        scored += len(buyers)
        if tried < TRIED and len(buyers):
            tried += model.predict(book, intake.as_of, buyers[: TRIED - tried].to_list()).height
    no_history = 0 if requested is None else len(requested) - with_orders
    return {"scored": scored, "no_purchases": with_orders - scored, "no_history": no_history}


def _among(ids: pl.Series, requested: pl.Series | None) -> pl.Series:
    return ids if requested is None else ids.filter(ids.is_in(requested.implode()))


def _require_access(folder: Path) -> None:
    """Ask the system for the right to write, without trying it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise DeliveryError(f"{folder} cannot be written: no right to write in {nearest}. Mend it or choose another.")


def _replaces(plan: Plan) -> str:
    if plan.table:
        return "; rows of the same day and model are replaced"
    return ", in place of the scores that lie there" if plan.place.exists() else ""
