"""Commands about the model registry: models list, show, promote, rollback, export, relocate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from repurchase.cli.options import CommandGroup, Home, argument, option
from repurchase.cli.process import print_lines

if TYPE_CHECKING:
    from repurchase.registry.champion import VersionRow

models_app = CommandGroup(help="List, show, promote, roll back and export trained models.")

Version = Annotated[str, argument("Version number, champion, previous, challenger or latest.", "VERSION")]


@models_app.command("list")
def list_models(home: Home = Path()) -> None:
    """List all versions."""
    from repurchase.registry.champion import alias_mismatches, list_versions

    print_lines([*map(version_line, list_versions(home)), *alias_mismatches(home)])


@models_app.command()
def show(version: Version = "champion", home: Home = Path()) -> None:
    """Show the card of a version."""
    from repurchase.registry.bundle import load_bundle
    from repurchase.registry.champion import resolve_version

    print_lines([load_bundle(resolve_version(home, version)).card])


@models_app.command()
def promote(
    version: Version,
    home: Home = Path(),
    force: Annotated[
        bool, option("Promote even if the version does not beat the champion and the rules.", None, "--force")
    ] = False,
) -> None:
    """Make a version the champion."""
    from repurchase.registry.champion import promote as run

    print_lines([f"Version {run(home, version, force=force)} is the champion."])


@models_app.command()
def rollback(home: Home = Path()) -> None:
    """Make the previous champion the champion again."""
    from repurchase.registry.champion import rollback as run

    print_lines([f"Version {run(home)} is the champion again."])


@models_app.command()
def export(version: Version, out: Annotated[Path, option("The joblib file to write.")], home: Home = Path()) -> None:
    """Write a version as a joblib file for notebooks.

    Like any pickle, load such a file only if you trust its origin.
    """
    from repurchase.registry.champion import export_version

    print_lines([f"Model: {export_version(home, version, out)}"])


@models_app.command()
def relocate(home: Home = Path()) -> None:
    """Correct the paths in mlruns/ after the home folder was moved or copied."""
    from repurchase.registry.store import relocate as run

    before = run(home)
    print_lines(
        ["The paths are already correct." if before is None else f"mlruns/ was at {before}; its paths are corrected."]
    )


def version_line(row: "VersionRow") -> str:
    """Describe a version in one line."""
    if row.fault:
        return f"{row.version:>4}  unusable: {row.fault}"
    judged = ""
    if row.log_loss is not None and row.best_rule_log_loss is not None:
        comparison = f"log loss {row.log_loss:.4f}, best rule {row.best_rule_log_loss:.4f}"
        judged = f"  grade {row.grade} at {row.horizon_days} days ({comparison})"
    return f"{row.version:>4}  as of {row.as_of}{judged}  {', '.join(row.aliases)}".rstrip()
