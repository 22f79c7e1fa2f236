"""The command line: parse, call, print, exit code; no logic.

Exit codes: 0 done; 1 a defect, with its traceback; 2 the caller's input is at fault, in one line; 130 interrupted.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from repurchase import __version__
from repurchase.errors import InputError, RepurchaseError

if TYPE_CHECKING:
    from repurchase.jobs.steps import Steps
    from repurchase.jobs.train import Trained
    from repurchase.registry.versions import VersionRow
    from repurchase.settings import Settings

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="repurchase",
    help="From an order export to scored customers: who will buy again, who is about to leave, what each is worth.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Kept models: list, show, promote, roll back, export.")
app.add_typer(models_app, name="models")

Home = Annotated[Path, typer.Option(help="Folder that holds models/, mlruns/ and outputs/.")]
Orders = Annotated[str, typer.Argument(help="CSV(.gz) or Parquet: a file, a folder or a quoted glob.")]
AsOf = Annotated[str | None, typer.Option(help="Last day observed, YYYY-MM-DD; default the last order's day.")]
Columns = Annotated[str | None, typer.Option(help="Which column is which: customer_id=Kunde,order_date=Dato,...")]
Zone = Annotated[str | None, typer.Option(help="Time zone in which days are counted, such as Europe/Oslo.")]
Currency = Annotated[str | None, typer.Option(help="Currency of the amounts, as shown to readers.")]
DateOrder = Annotated[str | None, typer.Option(help="What 03/04/2024 means: day_first or month_first.")]
Version = Annotated[str, typer.Argument(help="A version number, champion, previous, challenger or latest.")]


def main() -> None:
    """Run the command line and turn what went wrong into an exit code."""
    try:
        code = app(prog_name="repurchase", standalone_mode=False)
    except RepurchaseError as fault:
        _stop(str(fault))
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as fault:
        words = _misuse(fault)
        if words is None:
            raise
        _stop(words)
    if code == INTERRUPTED:
        _stop("interrupted; no half-written output was left.", code=INTERRUPTED)
    sys.exit(code)


def _misuse(fault: Exception) -> str | None:
    """Say in words how the command line was misused, if that is what went wrong."""
    message = getattr(fault, "format_message", None)
    if message is None:
        return None
    command = getattr(getattr(fault, "ctx", None), "command_path", "repurchase")
    words = message().rstrip(". ")
    return f"{words}{'' if words.endswith('?') else '.'} See `{command} --help`."


def _stop(words: str, *, code: int = 2) -> NoReturn:
    sys.stderr.write(f"repurchase: {' '.join(words.split())}\n")
    sys.exit(code)


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
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("repurchase").setLevel(logging.INFO)


@app.command()
def demo(home: Home = Path()) -> None:
    """Do the main job on the CDNOW orders that ship inside lifetimes."""
    from repurchase.jobs.demo import cdnow_orders

    orders = str(cdnow_orders())
    check(orders, home=home)
    train(orders, home=home)
    out = home / "outputs" / "scores.parquet"
    score(orders, out=out, home=home)
    report(out, out=home / "outputs" / "report.html")
    typer.echo(f"Models: {home / 'models'}. Runs: {home / 'mlruns'} (make mlflow). Open the report in a browser.")


@app.command()
def check(
    orders: Orders,
    *,
    home: Home = Path(),
    as_of: AsOf = None,
    columns: Columns = None,
    horizon: Annotated[list[int] | None, typer.Option(help="Days ahead; may be given more than once.")] = None,
    timezone: Zone = None,
    currency: Currency = None,
    date_order: DateOrder = None,
) -> None:
    """Say which layout was found, what cleaning will do, and whether it is enough. Writes nothing."""
    from repurchase.jobs.intake import check_orders
    from repurchase.orders.sufficiency import require_sufficient

    settings = _settings(home, columns, horizons=horizon, timezone=timezone, currency=currency, date_order=date_order)
    checked = check_orders(orders, settings=settings, as_of=_day(as_of))
    for words in checked.intake.clean.report.words():
        typer.echo(words)
    typer.echo(f"Last day observed: {checked.intake.as_of}.")
    for rule in checked.rules:
        typer.echo(f"{'enough ' if rule.holds else 'MISSING'}  {rule.found} (needed: {rule.needed})")
        if not rule.holds:
            typer.echo(f"         {rule.advice}")
    if checked.horizons:
        typer.echo(f"Days ahead that this history supports: {', '.join(map(str, checked.horizons))}.")
    require_sufficient(checked.rules)


@app.command()
def train(
    orders: Orders,
    *,
    home: Home = Path(),
    as_of: AsOf = None,
    horizon: Annotated[list[int] | None, typer.Option(help="Days ahead; may be given more than once.")] = None,
    columns: Columns = None,
    timezone: Zone = None,
    currency: Currency = None,
    date_order: DateOrder = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Fits side by side; default one per core.")] = None,
) -> None:
    """Train, judge on later orders, keep, and promote what beats the champion and the rules."""
    settings = _settings(
        home,
        columns,
        horizons=horizon,
        timezone=timezone,
        currency=currency,
        date_order=date_order,
        random_state=seed,
        jobs=jobs,
    )
    from repurchase.jobs.train import train as run

    with _watching() as steps:
        trained = run(orders, settings=settings, as_of=_day(as_of), steps=steps)
    _tell_training(trained)


@app.command()
def score(
    orders: Orders,
    *,
    out: Annotated[Path, typer.Option(help="Where the scores go: a .parquet or .csv file.")],
    home: Home = Path(),
    as_of: AsOf = None,
    customers: Annotated[Path | None, typer.Option(help="Score only this list (CSV or Parquet).")] = None,
    model: Annotated[str, typer.Option(help="A version number, champion or latest.")] = "champion",
    columns: Columns = None,
    timezone: Zone = None,
    currency: Currency = None,
    date_order: DateOrder = None,
) -> None:
    """Score customers with a kept model."""
    settings = _settings(home, columns, timezone=timezone, currency=currency, date_order=date_order)
    from repurchase.jobs.score import score as run

    with _watching() as steps:
        scored = run(
            orders, out=out, settings=settings, as_of=_day(as_of), customers=customers, model=model, steps=steps
        )
    counts = scored.run["counts"]
    typer.echo(
        f"{counts['scored']:,} customers scored as of {scored.run['as_of']} by version {scored.run['model_version']}; "
        f"{counts['no_history']:,} without history. Scores: {out}"
    )
    if counts["duplicates_in_list"]:
        typer.echo(f"{counts['duplicates_in_list']:,} ids stood in the list more than once; each is scored once.")


@app.command()
def report(
    scores: Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote.")],
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
) -> None:
    """Make one page from scores: what came in, who is at risk, what they are worth, how good this is."""
    from repurchase.report.page import write_report

    typer.echo(f"Report: {write_report(scores, out)}")


@models_app.command("list")
def list_models(home: Home = Path()) -> None:
    """List the kept versions."""
    from repurchase.registry.versions import list_versions

    listing = list_versions(home)
    for row in listing.rows:
        typer.echo(_version_line(row))
    for words in listing.notes:
        typer.echo(words)


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


def _settings(home: Path, columns: str | None, **flags: Any) -> "Settings":
    from repurchase.settings import Settings

    horizons = flags.pop("horizons", None)
    return Settings.load(home, columns=_pairs(columns), horizons=tuple(horizons) if horizons else None, **flags)


def _pairs(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    wrong = [name for name, sign, column in pairs if not (sign and name.strip() and column.strip())]
    if wrong:
        raise InputError(
            f"--columns: '{wrong[0]}' is not of the form name=column. Such as customer_id=Kunde,amount=Sum."
        )
    return {name.strip(): column.strip() for name, _, column in pairs}


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError as fault:
        raise InputError(f"--as-of must be a day such as 2024-12-31. Got '{text}' instead.") from fault


@contextmanager
def _watching() -> "Iterator[Steps]":
    if sys.stderr.isatty():
        from repurchase.jobs.terminal import TerminalSteps

        with TerminalSteps() as steps:
            yield steps
    else:
        from repurchase.jobs.steps import LogSteps

        yield LogSteps()


def _tell_training(trained: "Trained") -> None:
    evaluation = trained.evaluation
    typer.echo("")
    typer.echo(f"Grade {evaluation['grade']}: {evaluation['grade_words']}")
    for words in (*evaluation["reasons"], *evaluation["limits"]):
        typer.echo(f"  - {words}")
    typer.echo(_backtest_table(evaluation))
    typer.echo(trained.verdict.words)
    standing = "is the champion" if trained.verdict.passed else "is kept as challenger"
    typer.echo(f"Version {trained.version} {standing}. Model: {trained.folder}")


def _version_line(row: "VersionRow") -> str:
    if row.fault:
        return f"{row.version:>4}  unusable: {row.fault}"
    judged = ""
    if row.log_loss is not None and row.best_rule_log_loss is not None:
        against = f"log loss {row.log_loss:.4f}, best rule {row.best_rule_log_loss:.4f}"
        judged = f"  grade {row.grade} at {row.horizon_days} days ({against})"
    return f"{row.version:>4}  as of {row.as_of}{judged}  {', '.join(row.aliases)}".rstrip()


def _backtest_table(evaluation: dict[str, Any]) -> str:
    lines = [f"{'days':>5} {'cut-off':<11}{'customers':>10} {'predictor':<16}{'log loss':>9}{'AUC':>8}{'ECE':>8}"]
    lines.extend(
        f"{row['horizon_days']:>5} {row['cutoff']:<11}{row['n_customers']:>10,} {row['predictor']:<16}"
        f"{row['log_loss']:>9.4f}{row['auc']:>8.4f}{row['ece']:>8.4f}"
        for row in evaluation["backtest"]
        if row["predictor"] in {"model", "days_since_last", "past_rate"}
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
