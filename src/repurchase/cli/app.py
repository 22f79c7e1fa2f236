"""The commands about orders, scores, lists and reports: parse, call, print.

Exit codes: 0 done; 1 a defect, with its traceback; 2 the caller's input is at fault, in one line; 3 done, but the data
has drifted, where that was asked for; 130 interrupted; 143 ended by SIGTERM.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from repurchase import __version__
from repurchase.cli.campaigns import campaign_app, economics_app
from repurchase.cli.commands import (
    EXIT_DRIFTED,
    CommandGroup,
    EngineName,
    Home,
    Master,
    OrderOptions,
    SparkConf,
    open_engine,
    parse_columns,
    print_lines,
    progress_display,
    run_commands,
    with_order_options,
)
from repurchase.cli.models import models_app
from repurchase.errors import InputError

app = CommandGroup(
    name="repurchase",
    help="From an order export to scored customers: who will buy again, who is about to leave, what each is worth.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(models_app, name="models")
app.add_typer(campaign_app, name="campaign")
app.add_typer(economics_app)

Pseudonyms = Annotated[
    bool | None,
    typer.Option(
        "--pseudonyms/--no-pseudonyms", help="Write customer ids as keyed hashes; REPURCHASE_ID_KEY is the key."
    ),
]
Horizons = Annotated[list[int] | None, typer.Option(help="Days ahead; may be given more than once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do everything up to writing, and write nothing.")]


def main() -> None:
    """Run the command line and turn what went wrong into an exit code."""
    sys.exit(run_commands(app))


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if version:
        typer.echo(f"repurchase {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise InputError("no command was given. Choose one of those above.")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@app.command()
def demo(home: Home = Path()) -> None:
    """Do the main job on the CDNOW orders that ship inside lifetimes."""
    from repurchase.jobs.order_intake import cdnow_orders

    orders = str(cdnow_orders())
    check(orders, home=home, currency="USD")
    train(orders, home=home, currency="USD")
    out = home / "outputs" / "scores.parquet"
    score(orders, out=str(out), home=home)
    report(out, out=home / "outputs" / "report.html", home=home, orders=orders)
    typer.echo(f"Models: {home / 'models'}. Runs: {home / 'mlruns'} (make mlflow). Open the report in a browser.")


@app.command()
@with_order_options
def check(told: OrderOptions, *, horizon: Horizons = None) -> None:
    """Check an export. Says which layout was found, what cleaning will do, and whether it is enough; writes nothing."""
    from repurchase.jobs.order_intake import check_orders, workspace
    from repurchase.orders.checks import example_lines, require_plausible, require_sufficient

    with workspace() as folder:
        settings = told.settings(horizons=_horizons(horizon))
        checked = check_orders(told.source, settings=settings, folder=folder, as_of=told.as_of)
    intake = checked.intake
    print_lines(intake.cleaning.decision.lines())
    print_lines(["", *example_lines(intake.cleaning.counts, has_amounts=intake.report.has_amounts)])
    typer.echo("")
    print_lines(intake.report.words())
    typer.echo(f"Last day observed: {intake.as_of}.")
    for rule in checked.rules:
        typer.echo(f"{'enough ' if rule.holds else 'MISSING'}  {rule.found} (needed: {rule.needed})")
        if not rule.holds:
            typer.echo(f"         {rule.advice}")
    if checked.horizons:
        typer.echo(f"Days ahead that this history supports: {', '.join(map(str, checked.horizons))}.")
    require_plausible(intake.cleaning.problems)
    require_sufficient(checked.rules)


@app.command()
@with_order_options
def train(
    told: OrderOptions,
    *,
    horizon: Horizons = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Fits side by side; default one per core.")] = None,
    engine: EngineName = "local",
    master: Master = None,
    spark_conf: SparkConf = None,
    dry_run: DryRun = False,
) -> None:
    """Train a model and judge it on later orders. It is kept, and promoted if it beats the champion and the rules."""
    settings = told.settings(horizons=_horizons(horizon), random_state=seed, jobs=jobs)
    if dry_run:
        from repurchase.jobs.train import dry_run_train

        with open_engine(engine, master, spark_conf, dry_run=True), progress_display() as steps:
            print_lines(dry_run_train(told.source, settings=settings, as_of=told.as_of, steps=steps))
        return
    from repurchase.jobs.train import train as run

    with open_engine(engine, master, spark_conf) as cluster, progress_display() as steps:
        trained = run(told.source, settings=settings, as_of=told.as_of, steps=steps, cluster=cluster)
    print_lines(trained.summary)


@app.command()
@with_order_options
def score(
    told: OrderOptions,
    *,
    out: Annotated[
        str,
        typer.Option(
            help="Where the scores go: a .parquet or .csv file, or postgresql://user@host/database/schema.table."
        ),
    ],
    customers: Annotated[Path | None, typer.Option(help="Score only this list (CSV or Parquet).")] = None,
    model: Annotated[str, typer.Option(help="A version number, champion or latest.")] = "champion",
    pseudonyms: Pseudonyms = None,
    jobs: Annotated[int | None, typer.Option(help="Threads; default one per core.")] = None,
    engine: EngineName = "local",
    master: Master = None,
    spark_conf: SparkConf = None,
    dry_run: DryRun = False,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Deliver, but exit with 3 if the orders have drifted.")
    ] = False,
) -> None:
    """Score customers with a kept model."""
    settings = told.settings(pseudonyms=pseudonyms, jobs=jobs)
    asked: dict[str, Any] = {"out": out, "settings": settings, "as_of": told.as_of, "customers": customers}
    if dry_run:
        from repurchase.jobs.score import dry_run_score

        with open_engine(engine, master, spark_conf, dry_run=True), progress_display() as steps:
            print_lines(dry_run_score(told.source, **asked, model=model, steps=steps))
        return
    from repurchase.jobs.score import score as run
    from repurchase.jobs.score import score_lines

    with open_engine(engine, master, spark_conf) as cluster, progress_display() as steps:
        scored = run(told.source, **asked, model=model, steps=steps, cluster=cluster)
    print_lines(score_lines(scored))
    if fail_on_drift and scored.run["drift"]["drifted"]:
        raise typer.Exit(EXIT_DRIFTED)


@app.command()
@with_order_options
def monitor(
    told: OrderOptions,
    scores: Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote on an earlier day.")],
    *,
    max_age_days: Annotated[int, typer.Option(min=1, help="Age above which a model is to be trained again.")] = 180,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit with 3 if it says to train again.")
    ] = False,
) -> None:
    """Say what came of earlier scores. Holds them against the orders since, and says whether to train again."""
    from repurchase.jobs.monitor import monitor as run
    from repurchase.report.run_sections import monitoring_lines

    settings = told.settings()
    with progress_display() as steps:
        seen = run(scores, told.source, settings=settings, as_of=told.as_of, max_age_days=max_age_days, steps=steps)
    print_lines([*monitoring_lines(seen.record), f"Record: {seen.path}"])
    if fail_on_drift and seen.record["advice"]["retrain"]:
        raise typer.Exit(EXIT_DRIFTED)


@app.command()
def report(
    scores: Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote.")],
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
    locale: Annotated[str, typer.Option(metavar="en|nb|nl|ru", help="The page's language.")] = "en",
    campaigns: Annotated[
        Path | None, typer.Option(help="Folder with campaign files; default the one of the scores.")
    ] = None,
    *,
    home: Home = Path(),
    orders: Annotated[
        str | None,
        typer.Option(help="The orders the scores were made from: every purchase is drawn, and products told."),
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Which column is which: customer_id=Kunde,...")] = None,
    query: Annotated[str | None, typer.Option(help="Of a database: one SELECT or WITH that gives the orders.")] = None,
    table: Annotated[str | None, typer.Option(help="Of a database: the table of orders, schema.table.")] = None,
) -> None:
    """Make the page to open first. Repeat business, segments, whom to reach, campaigns, and how good all this is."""
    from repurchase.jobs.report import report as run
    from repurchase.settings import Settings
    from repurchase.sources.locations import parse_orders_source

    told = {"--columns": columns, "--query": query, "--table": table}
    if orders is None and (alone := [option for option, value in told.items() if value is not None]):
        raise InputError(f"{alone[0]} says how to read orders, and none were given. Give --orders, or leave it out.")
    source = parse_orders_source(orders, query=query, table=table) if orders is not None else None
    settings = Settings.load(home, columns=parse_columns(columns)) if orders is not None else Settings(home=home)
    made = run(scores, out, settings=settings, locale=locale, campaigns=campaigns, orders=source)
    typer.echo(f"Report: {made}")


@app.command("lists")
def make_lists(
    scores: Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the lists; earlier lists there are replaced.")],
    home: Home = Path(),
    contacts: Annotated[Path | None, typer.Option(help="Names, addresses and consent (CSV or Parquet).")] = None,
    budget: Annotated[float | None, typer.Option(help="Money for all contacts.")] = None,
    cost_per_contact: Annotated[float | None, typer.Option(help="What one contact costs.")] = None,
    length: Annotated[int | None, typer.Option(help="Customers to reach at most.")] = None,
    locale: Annotated[str | None, typer.Option(metavar="en|nb|nl|ru", help="Whose spreadsheets read them.")] = None,
    mail_tool: Annotated[
        str | None, typer.Option(metavar="plain|klaviyo|mailchimp", help="Whose column names they have.")
    ] = None,
    bought_within_hours: Annotated[int | None, typer.Option(help="Leave alone who just bought (default 24).")] = None,
    contacted: Annotated[Path | None, typer.Option(help="Who was contacted: ids, and days if known.")] = None,
    contacted_within_days: Annotated[
        int | None, typer.Option(help="Leave alone who was contacted so lately (default 14).")
    ] = None,
    since: Annotated[Path | None, typer.Option(help="Earlier scores by the same model: who is newly at risk?")] = None,
    orders: Annotated[str | None, typer.Option(help="Orders that name products: who is due for a refill?")] = None,
    columns: Annotated[str | None, typer.Option(help="Which column is which: customer_id=Kunde,...")] = None,
) -> None:
    """Make lists of whom to reach. With why, what to do, by which channel, when, and at what cost at most."""
    from repurchase.jobs.lists import ListOptions, list_lines, write_lists
    from repurchase.marketing.lists import ListLimit, list_settings
    from repurchase.settings import Settings

    settings = Settings.load(home, columns=parse_columns(columns))
    rules = list_settings(
        settings.lists,
        locale=locale,
        mail_tool=mail_tool,
        bought_within_hours=bought_within_hours,
        contacted_within_days=contacted_within_days,
    )
    limit = ListLimit(budget=budget, cost_per_contact=cost_per_contact, length=length)
    asked = ListOptions(contacts=contacts, contacted=contacted, since=since, limit=limit, orders=orders)
    made = write_lists(scores, out=out, asked=asked, rules=rules, settings=settings)
    print_lines(list_lines(made.record, made.out))


@app.command()
def forget(
    customers: Annotated[
        list[str] | None, typer.Argument(help="Ids as in the orders, or e-mail addresses in lists.")
    ] = None,
    *,
    home: Home = Path(),
    from_file: Annotated[Path | None, typer.Option(help="A list of ids (CSV or Parquet).")] = None,
    columns: Annotated[str | None, typer.Option(help="The list's column of ids: customer_id=Kunde.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Erase customers from what was written. Scores, set-aside rows, lists and pages under --home; orders stay."""
    from repurchase.jobs.forget import forget_customers as run
    from repurchase.settings import Settings

    print_lines(
        run(
            customers or [],
            settings=Settings.load(home, columns=parse_columns(columns)),
            from_file=from_file,
            dry_run=dry_run,
        )
    )


def _horizons(horizons: list[int] | None) -> tuple[int, ...] | None:
    return tuple(horizons) if horizons else None


if __name__ == "__main__":
    main()
