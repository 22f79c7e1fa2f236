"""`repurchase models`: list, show, promote, roll back, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repurchase.cli.commands import CommandGroup, Home, print_lines

if TYPE_CHECKING:
    from repurchase.registry.champion import VersionRow


models_app = CommandGroup(help="Kept models: list, show, promote, roll back, export.")


Version = Annotated[str, typer.Argument(help="A version number, champion, previous, challenger or latest.")]


@models_app.command("list")
def list_models(home: Home = Path()) -> None:
    """List the kept versions."""
    from repurchase.registry.champion import list_versions

    listing = list_versions(home)
    print_lines([*(version_line(row) for row in listing.rows), *listing.notes])


@models_app.command()
def show(version: Version = "champion", home: Home = Path()) -> None:
    """Show a version's card."""
    from repurchase.registry.champion import show_version as run

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
    from repurchase.registry.champion import export_version as run

    typer.echo(f"Model: {run(home, version, out)}")


@models_app.command()
def relocate(home: Home = Path()) -> None:
    """Mend the paths in mlruns/ after the home folder was copied."""
    from repurchase.registry.store import relocate as run

    before = run(home)
    typer.echo("Nothing to mend." if before is None else f"mlruns/ was at {before}; its paths are mended.")


def version_line(row: "VersionRow") -> str:
    """Show a kept version."""
    if row.fault:
        return f"{row.version:>4}  unusable: {row.fault}"
    judged = ""
    if row.log_loss is not None and row.best_rule_log_loss is not None:
        against = f"log loss {row.log_loss:.4f}, best rule {row.best_rule_log_loss:.4f}"
        judged = f"  grade {row.grade} at {row.horizon_days} days ({against})"
    return f"{row.version:>4}  as of {row.as_of}{judged}  {', '.join(row.aliases)}".rstrip()
