"""Commands that read orders: check, train, score, monitor."""

from pathlib import Path
from typing import Annotated

import typer

from repurchase.cli.options import (
    MODEL,
    OUTPUT,
    CommandGroup,
    EngineOptions,
    Horizons,
    Jobs,
    OrderOptions,
    ScoresFile,
    option,
)
from repurchase.cli.process import print_lines, progress_display
from repurchase.i18n.messages import translate

EXIT_DRIFTED = 3

orders_app = CommandGroup()


@orders_app.command()
def check(orders: OrderOptions, *, horizon: Horizons = None) -> None:
    """Check an order export without writing anything.

    Shows how columns are interpreted, which rows cleaning would set aside, and whether the history is long enough.
    """
    from repurchase.jobs.order_intake import check_orders, workspace
    from repurchase.orders.checks import example_lines, require_plausible, require_sufficient

    with workspace() as folder:
        settings = orders.settings(horizons=horizon)
        checked = check_orders(orders.source, settings=settings, folder=folder, as_of=orders.as_of)
    intake = checked.intake
    print_lines(intake.cleaning.decision.lines())
    print_lines(["", *example_lines(intake.cleaning.counts, has_amounts=intake.report.has_amounts), ""])
    print_lines(intake.report.lines())
    print_lines([translate("line.last_day", day=str(intake.as_of))])
    for rule in checked.rules:
        print_lines([f"{'enough ' if rule.holds else 'MISSING'}  {rule.found} (needed: {rule.needed})"])
        print_lines([] if rule.holds else [f"         {rule.advice}"])
    if checked.horizons:
        print_lines([translate("line.horizons", horizons=list(checked.horizons))])
    require_plausible(intake.cleaning.problems)
    require_sufficient(checked.rules)


@orders_app.command()
def train(
    orders: OrderOptions,
    engine: EngineOptions,
    *,
    horizon: Horizons = None,
    seed: Annotated[int | None, option("Random seed.", MODEL)] = None,
    jobs: Jobs = None,
) -> None:
    """Train a model and grade it on later orders.

    Every model is kept. It becomes the champion if it beats the current champion and two simple rules.
    """
    from repurchase.jobs.train import train as run

    settings = orders.settings(horizons=horizon, random_state=seed, jobs=jobs)
    with engine.start() as job:
        trained = run(orders.source, settings=settings, as_of=orders.as_of, **job)
    print_lines(trained.summary)


@orders_app.command()
def score(
    orders: OrderOptions,
    engine: EngineOptions,
    *,
    out: Annotated[str, option("A .parquet or .csv file, or postgresql://host/database/schema.table.")],
    customers: Annotated[Path | None, option("Score only this list (CSV or Parquet).")] = None,
    model: Annotated[str, option("Version number, champion or latest.", MODEL)] = "champion",
    pseudonyms: Annotated[
        bool | None, option("Write ids as keyed hashes (REPURCHASE_ID_KEY).", OUTPUT, "--pseudonyms/--no-pseudonyms")
    ] = None,
    fail_on_drift: Annotated[
        bool, option("Exit with 3 if the orders have drifted, after writing.", OUTPUT, "--fail-on-drift")
    ] = False,
    jobs: Jobs = None,
) -> None:
    """Score customers with a trained model.

    Writes one row per customer: repurchase probability, churn risk, lifetime value, segment and reasons.
    """
    from repurchase.jobs.score import score as run

    settings = orders.settings(pseudonyms=pseudonyms, jobs=jobs)
    with engine.start() as job:
        scored = run(
            orders.source, out=out, settings=settings, as_of=orders.as_of, customers=customers, model=model, **job
        )
    print_lines(scored.summary)
    if fail_on_drift and not engine.dry_run and scored.record["drift"]["drifted"]:
        raise typer.Exit(EXIT_DRIFTED)


@orders_app.command()
def monitor(
    scores: ScoresFile,
    orders: OrderOptions,
    *,
    max_age_days: Annotated[int, option("Model age above which to train again.", MODEL, min=1)] = 180,
    fail_on_drift: Annotated[bool, option("Exit with 3 if training again is due.", OUTPUT, "--fail-on-drift")] = False,
) -> None:
    """Compare earlier scores with later orders.

    Says whether the predictions were right, and whether to train again.
    """
    from repurchase.jobs.monitor import monitor as run
    from repurchase.report.run_sections import monitoring_lines

    settings = orders.settings()
    with progress_display() as steps:
        result = run(
            scores, orders.source, settings=settings, as_of=orders.as_of, max_age_days=max_age_days, steps=steps
        )
    print_lines([*monitoring_lines(result.record), f"Record: {result.path}"])
    if fail_on_drift and result.record["advice"]["retrain"]:
        raise typer.Exit(EXIT_DRIFTED)
