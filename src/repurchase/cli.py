"""The command line: parse, call, print, exit code; no logic.

Exit codes: 0 done; 1 a defect, with its traceback; 2 the caller's input is at fault, in one line; 3 done, but the data
has drifted, where that was asked for; 130 interrupted; 143 ended by SIGTERM.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.jobs.campaigns.commands import campaign_app, economics_app
from repurchase.jobs.commands import DRIFTED, Commands, run_commands
from repurchase.jobs.engines import EngineName, Master, SparkConf, chosen_engine
from repurchase.jobs.logs import asked_format
from repurchase.jobs.told import Home, Told, pairs, reads_orders

if TYPE_CHECKING:
    from repurchase.jobs.steps import Steps

__all__ = ["app", "main"]

app = Commands(
    name="repurchase",
    help="From an order export to scored customers: who will buy again, who is about to leave, what each is worth.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = Commands(help="Kept models: list, show, promote, roll back, export.")
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
Version = Annotated[str, typer.Argument(help="A version number, champion, previous, challenger or latest.")]


def main() -> None:
    """Run the command line and turn what went wrong into an exit code."""
    sys.exit(run_commands(app))


@app.callback(invoke_without_command=True)
def _start(
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
    from repurchase.jobs.demo import cdnow_orders

    orders = str(cdnow_orders())
    check(orders, home=home, currency="USD")
    train(orders, home=home, currency="USD")
    out = home / "outputs" / "scores.parquet"
    score(orders, out=str(out), home=home)
    report(out, out=home / "outputs" / "report.html", home=home, orders=orders)
    typer.echo(f"Models: {home / 'models'}. Runs: {home / 'mlruns'} (make mlflow). Open the report in a browser.")


@app.command()
@reads_orders
def check(told: Told, *, horizon: Horizons = None) -> None:
    """Check an export. Says which layout was found, what cleaning will do, and whether it is enough; writes nothing."""
    from repurchase.jobs.intake import check_orders, workspace
    from repurchase.orders.plausibility import require_plausible
    from repurchase.orders.reading_summary import example_lines
    from repurchase.orders.sufficiency import require_sufficient

    with workspace() as folder:
        settings = told.settings(horizons=_days_ahead(horizon))
        checked = check_orders(told.source, settings=settings, folder=folder, as_of=told.as_of)
    intake = checked.intake
    _tell(intake.decision.lines())
    _tell(["", *example_lines(intake.tally, has_amounts=intake.report.has_amounts)])
    typer.echo("")
    _tell(intake.report.words())
    typer.echo(f"Last day observed: {intake.as_of}.")
    for rule in checked.rules:
        typer.echo(f"{'enough ' if rule.holds else 'MISSING'}  {rule.found} (needed: {rule.needed})")
        if not rule.holds:
            typer.echo(f"         {rule.advice}")
    if checked.horizons:
        typer.echo(f"Days ahead that this history supports: {', '.join(map(str, checked.horizons))}.")
    require_plausible(intake.doubts)
    require_sufficient(checked.rules)


@app.command()
@reads_orders
def train(
    told: Told,
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
    settings = told.settings(horizons=_days_ahead(horizon), random_state=seed, jobs=jobs)
    if dry_run:
        from repurchase.jobs.rehearsal import rehearse_train

        with chosen_engine(engine, master, spark_conf, dry_run=True), _watching() as steps:
            _tell(rehearse_train(told.source, settings=settings, as_of=told.as_of, steps=steps))
        return
    from repurchase.jobs.train import train as run

    with chosen_engine(engine, master, spark_conf) as cluster, _watching() as steps:
        trained = run(told.source, settings=settings, as_of=told.as_of, steps=steps, cluster=cluster)
    _tell(trained.summary)


@app.command()
@reads_orders
def score(
    told: Told,
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
        from repurchase.jobs.rehearsal import rehearse_score

        with chosen_engine(engine, master, spark_conf, dry_run=True), _watching() as steps:
            _tell(rehearse_score(told.source, **asked, model=model, steps=steps))
        return
    from repurchase.jobs.scoring.score import score as run
    from repurchase.jobs.summary import score_lines

    with chosen_engine(engine, master, spark_conf) as cluster, _watching() as steps:
        scored = run(told.source, **asked, model=model, steps=steps, cluster=cluster)
    _tell(score_lines(scored))
    if fail_on_drift and scored.run["drift"]["drifted"]:
        raise typer.Exit(DRIFTED)


@app.command()
@reads_orders
def monitor(
    told: Told,
    scores: Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote on an earlier day.")],
    *,
    max_age_days: Annotated[int, typer.Option(min=1, help="Age above which a model is to be trained again.")] = 180,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit with 3 if it says to train again.")
    ] = False,
) -> None:
    """Say what came of earlier scores. Holds them against the orders since, and says whether to train again."""
    from repurchase.jobs.monitor import monitor as run
    from repurchase.report.since import since_lines

    settings = told.settings()
    with _watching() as steps:
        seen = run(scores, told.source, settings=settings, as_of=told.as_of, max_age_days=max_age_days, steps=steps)
    _tell([*since_lines(seen.record), f"Record: {seen.path}"])
    if fail_on_drift and seen.record["advice"]["retrain"]:
        raise typer.Exit(DRIFTED)


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
    from repurchase.orders.addresses import orders_source
    from repurchase.settings import Settings

    told = {"--columns": columns, "--query": query, "--table": table}
    if orders is None and (alone := [option for option, value in told.items() if value is not None]):
        raise InputError(f"{alone[0]} says how to read orders, and none were given. Give --orders, or leave it out.")
    source = orders_source(orders, query=query, table=table) if orders is not None else None
    settings = Settings.load(home, columns=pairs(columns)) if orders is not None else Settings(home=home)
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
    from repurchase.jobs.lists.listing import lists
    from repurchase.jobs.lists.record import Asked, list_lines
    from repurchase.marketing.list_rules import list_rules
    from repurchase.marketing.lists import Limit
    from repurchase.settings import Settings

    settings = Settings.load(home, columns=pairs(columns))
    rules = list_rules(
        settings.lists,
        locale=locale,
        mail_tool=mail_tool,
        bought_within_hours=bought_within_hours,
        contacted_within_days=contacted_within_days,
    )
    limit = Limit(budget=budget, cost_per_contact=cost_per_contact, length=length)
    asked = Asked(contacts=contacts, contacted=contacted, since=since, limit=limit, orders=orders)
    made = lists(scores, out=out, asked=asked, rules=rules, settings=settings)
    _tell(list_lines(made.record, made.out))


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
    from repurchase.jobs.forgetting.forget import forget as run
    from repurchase.settings import Settings

    _tell(
        run(customers or [], settings=Settings.load(home, columns=pairs(columns)), from_file=from_file, dry_run=dry_run)
    )


@models_app.command("list")
def list_models(home: Home = Path()) -> None:
    """List the kept versions."""
    from repurchase.jobs.summary import version_line
    from repurchase.registry.versions import list_versions

    listing = list_versions(home)
    _tell([*(version_line(row) for row in listing.rows), *listing.notes])


@models_app.command()
def show(version: Version = "champion", home: Home = Path()) -> None:
    """Show a version's card."""
    from repurchase.registry.versions import show as run

    typer.echo(run(home, version).card)


@models_app.command()
def promote(
    version: Version,
    home: Home = Path(),
    force: Annotated[bool, typer.Option(help="Although the gate refused it.")] = False,
) -> None:
    """Make a version the champion."""
    from repurchase.registry.champion import promote as run

    typer.echo(f"Version {run(home, version, force=force)} is the champion.")


@models_app.command()
def rollback(home: Home = Path()) -> None:
    """Make the previous champion the champion again."""
    from repurchase.registry.champion import rollback as run

    typer.echo(f"Version {run(home)} is the champion again.")


@models_app.command()
def export(
    version: Version,
    out: Annotated[Path, typer.Option(help="Where the joblib file goes.")],
    home: Home = Path(),
) -> None:
    """Write a version as a joblib file for notebooks. Load such a file only if you trust where it comes from."""
    from repurchase.registry.versions import export as run

    typer.echo(f"Model: {run(home, version, out)}")


@models_app.command()
def relocate(home: Home = Path()) -> None:
    """Mend the paths in mlruns/ after the home folder was copied."""
    from repurchase.registry.store import relocate as run

    before = run(home)
    typer.echo("Nothing to mend." if before is None else f"mlruns/ was at {before}; its paths are mended.")


def _days_ahead(horizons: list[int] | None) -> tuple[int, ...] | None:
    return tuple(horizons) if horizons else None


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


@contextmanager
def _watching() -> "Iterator[Steps]":
    if sys.stderr.isatty() and asked_format(sys.argv[1:]) == "text":
        from repurchase.jobs.terminal import TerminalSteps

        with TerminalSteps() as steps:
            yield steps
    else:
        from repurchase.jobs.steps import LogSteps

        yield LogSteps()


if __name__ == "__main__":
    main()
