"""What versions there are, what is known of one, and a file of it for notebooks."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repurchase.errors import BundleError, DeliveryError
from repurchase.registry.bundle import load_bundle, read_manifest
from repurchase.registry.champion import ALIASES, Standings, read_standings, resolve, version_numbers
from repurchase.registry.disk import read_json
from repurchase.storage.outputs import exported_model, require_outputs, require_outside_registry
from repurchase.storage.publishing import write_file

__all__ = ["Listing", "Shown", "VersionRow", "export", "list_versions", "show"]


@dataclass(frozen=True)
class VersionRow:
    """One version in a list.

    Parameters
    ----------
    version : str
        Its number.
    aliases : tuple of str
        Its aliases, champion first.
    as_of, created_at : str, optional
        Last day it saw, and when it was written; ISO.
    grade : str
        Its grade, or "-".
    horizon_days : int, optional
        Horizon it was graded on.
    log_loss, best_rule_log_loss : float, optional
        Means over the backtest's cut-offs at that horizon.
    gate : str, optional
        What the gate said.
    fault : str, optional
        Why its bundle cannot be used.
    """

    version: str
    aliases: tuple[str, ...]
    as_of: str | None = None
    created_at: str | None = None
    grade: str = "-"
    horizon_days: int | None = None
    log_loss: float | None = None
    best_rule_log_loss: float | None = None
    gate: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Listing:
    """Versions, and where ``models/`` and MLflow disagree.

    Parameters
    ----------
    rows : tuple of VersionRow
        Newest first.
    notes : tuple of str
        Disagreements, each with how to mend it.
    """

    rows: tuple[VersionRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """What is known of one version.

    Parameters
    ----------
    version : str
        Its number.
    aliases : tuple of str
        Its aliases.
    manifest : dict
        ``manifest.json``.
    card : str
        ``card.md``.
    gate : str, optional
        What the gate said.
    """

    version: str
    aliases: tuple[str, ...]
    manifest: dict[str, Any]
    card: str
    gate: str | None


def list_versions(home: Path, *, compare: bool = True) -> Listing:
    """List the versions in ``models/``.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    compare : bool
        Whether to hold the aliases against MLflow's, which takes a second or two.

    Returns
    -------
    Listing
        Newest first; empty if nothing was trained yet.

    Raises
    ------
    BundleError
        If ``models/aliases.json`` is damaged.

    Examples
    --------
    >>> list_versions(Path("/nowhere"), compare=False)
    Listing(rows=(), notes=())
    """
    standings = read_standings(home)
    rows = tuple(_row(home, version, standings) for version in reversed(version_numbers(home)))
    return Listing(rows, _disagreements(home, standings) if compare and rows else ())


def _row(home: Path, version: str, standings: Standings) -> VersionRow:
    folder = home / "models" / version
    gate = standings.verdicts.get(version, {}).get("words")
    try:
        manifest = read_manifest(folder)
        judged = _judged(folder)
    except BundleError as fault:
        return VersionRow(version, standings.of(version), gate=gate, fault=str(fault))
    return VersionRow(
        version,
        standings.of(version),
        as_of=manifest.get("as_of"),
        created_at=manifest.get("created_at"),
        grade=manifest.get("grade", "-"),
        gate=gate,
        **judged,
    )


def _judged(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation.json"
    try:
        return _figures(read_json(path))
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as fault:
        raise BundleError(f"{path}: not readable ({fault}). Fetch the bundle again, or train again.") from fault


def _figures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    days = evaluation.get("primary_horizon_days")
    for horizon in evaluation.get("horizons", []):
        if horizon.get("horizon_days") == days and horizon.get("model"):
            rules = [figures.get("log_loss") for figures in (horizon.get("rules") or {}).values()]
            return {
                "horizon_days": days,
                "log_loss": horizon["model"].get("log_loss"),
                "best_rule_log_loss": min((loss for loss in rules if loss is not None), default=None),
            }
    return {}


def _disagreements(home: Path, standings: Standings) -> tuple[str, ...]:
    try:
        theirs = _mlflow_aliases(home)
    except DeliveryError as fault:
        return (f"MLflow could not be asked. {fault}",)
    if theirs is None:
        return ("There is no MLflow store in this home folder; scoring does not need one.",)
    champion = standings.aliases.get("champion")
    return tuple(
        f"{alias} is {standings.aliases.get(alias, 'nobody')} in models/aliases.json, which scoring follows, and "
        f"{theirs.get(alias, 'nobody')} in MLflow. Make both say the same with `repurchase models promote "
        f"{champion or 'VERSION'}`."
        for alias in ALIASES
        if standings.aliases.get(alias) != theirs.get(alias)
    )


def _mlflow_aliases(home: Path) -> dict[str, str] | None:
    from repurchase.registry.store import MODEL, mlflow_faults, mlflow_versions, open_existing

    store = open_existing(home)
    if store is None:
        return None
    with mlflow_faults(store.uri, "models/ is not affected."):
        ours = {theirs: number for number, theirs in mlflow_versions(store).items()}
        found = store.client.search_registered_models(f"name = '{MODEL}'")
        aliases = {alias: str(version) for model in found for alias, version in model.aliases.items()}
        return {alias: ours.get(version, version) for alias, version in aliases.items()}


def show(home: Path, version: str = "champion") -> Shown:
    """Say what is known of a version, after checking its bundle.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    version : str
        A version number, an alias, or ``latest``.

    Returns
    -------
    Shown
        Manifest, card, aliases and the gate's words.

    Raises
    ------
    BundleError
        If there is no such version, or its bundle is damaged.
    """
    loaded = load_bundle(resolve(home, version))
    number = loaded.folder.name
    standings = read_standings(home)
    gate = standings.verdicts.get(number, {}).get("words")
    return Shown(number, standings.of(number), loaded.manifest, loaded.card, gate)


def export(home: Path, version: str, out: Path) -> Path:
    """Write a version's model as a joblib file, for notebooks.

    Reading it (``joblib.load``) runs what is in it, unlike a bundle: only read files whose way you know.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    version : str
        A version number, an alias, or ``latest``.
    out : Path
        The file; an earlier one is replaced.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    BundleError
        If there is no such version, or its bundle is damaged.
    InputError
        If the file is another one than an exported model, or lies among the models.
    DeliveryError
        If the file cannot be written.
    """
    require_outside_registry(out, home=home)
    require_outputs({out: exported_model})
    loaded = load_bundle(resolve(home, version))
    import joblib

    from repurchase.estimators.model import RepurchaseModel

    content = io.BytesIO()
    joblib.dump(RepurchaseModel.from_state(loaded.state), content, compress=3)
    write_file(out, content.getvalue())
    return out
