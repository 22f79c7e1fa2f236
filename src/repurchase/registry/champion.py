"""Which version scores: aliases in ``models/aliases.json`` for scoring, the same in MLflow for people.

Scoring needs ``models/`` alone and never imports MLflow. Both are written by every change, MLflow first: if it fails,
nothing has changed for scoring. Where its server does not answer at all, ``models/`` is changed and MLflow learns of it
later (see ``registrations``).
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repurchase.errors import BundleError, DeliveryError, PromotionRefused, first_few
from repurchase.registry.bundle import load_bundle
from repurchase.registry.disk import json_bytes, locked, read_json, write_whole
from repurchase.registry.gate import Verdict

if TYPE_CHECKING:
    from repurchase.registry.store import Store

__all__ = [
    "ALIASES",
    "Standings",
    "promote",
    "publish_again",
    "read_standings",
    "resolve",
    "rollback",
    "settle",
    "version_numbers",
]

logger = logging.getLogger(__name__)

ALIASES = ("previous", "champion", "challenger")
"""In the order in which they are written: a crash in between leaves a champion and, at worst, an early `previous`."""

FILE = "aliases.json"
SCHEMA = 1


@dataclass(frozen=True)
class Standings:
    """What ``models/aliases.json`` says.

    Parameters
    ----------
    aliases : dict of str to str
        Alias to version.
    verdicts : dict of str to dict
        Version to what the gate said (see ``gate.Verdict``).
    """

    aliases: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, version: str) -> tuple[str, ...]:
        """Aliases of a version.

        Parameters
        ----------
        version : str
            A version.

        Returns
        -------
        tuple of str
            Champion first.
        """
        order = ("champion", "challenger", "previous")
        return tuple(alias for alias in order if self.aliases.get(alias) == version)


def resolve(home: Path, wanted: str = "champion") -> Path:
    """Find a version's bundle, from ``models/`` alone.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    wanted : str
        A version number, an alias, or ``latest``.

    Returns
    -------
    Path
        Its folder; whether the bundle is sound, `load_bundle` says.

    Raises
    ------
    BundleError
        If there is no such version, or no champion yet.

    Examples
    --------
    >>> resolve(Path("/nowhere"))
    Traceback (most recent call last):
        ...
    repurchase.errors.BundleError: /nowhere/models: no champion yet, no model was trained. ...
    """
    models, there = home / "models", version_numbers(home)
    if not there and not wanted.isdecimal():
        raise BundleError(f"{models}: no {wanted} yet, no model was trained. Run `repurchase train ORDERS` first.")
    version = there[-1] if wanted == "latest" else read_standings(home).aliases.get(wanted, wanted)
    if wanted == version == "champion":
        raise BundleError(
            f"{models}: no champion yet; {_versions(there)} did not pass the gate. See why with "
            "`repurchase models list`; take one all the same with `repurchase models promote VERSION --force`."
        )
    if version not in there:
        raise BundleError(f"{models}: no model version '{wanted}'. {_what_is_there(there)}")
    return models / version


def version_numbers(home: Path) -> list[str]:
    """Versions in ``models/``.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.

    Returns
    -------
    list of str
        Oldest first.
    """
    models = home / "models"
    if not models.is_dir():
        return []
    return sorted((path.name for path in models.iterdir() if path.name.isdecimal() and path.is_dir()), key=int)


def _versions(there: list[str]) -> str:
    return f"version {there[0]}" if len(there) == 1 else f"versions {first_few(there)}"


def _what_is_there(there: list[str]) -> str:
    if not there:
        return "No model was trained yet: run `repurchase train ORDERS` first."
    return f"There: {first_few(there[::-1])}, besides champion, challenger, previous and latest."


def read_standings(home: Path) -> Standings:
    """Read ``models/aliases.json``.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.

    Returns
    -------
    Standings
        Empty if there is no such file.

    Raises
    ------
    BundleError
        If the file is damaged.
    """
    path = home / "models" / FILE
    try:
        return _standings(read_json(path))
    except FileNotFoundError:
        return Standings()
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise BundleError(
            f"{path}: not readable ({fault!r}). Remove it and run `repurchase models promote VERSION`."
        ) from fault


def _standings(content: Mapping[str, Any]) -> Standings:
    aliases, verdicts = dict(content["aliases"]), dict(content["verdicts"])
    if not all(isinstance(held, str) for held in aliases.values()):
        raise TypeError("an alias of something else than a version")
    if not all(isinstance(one, dict) and {"passed", "words"} <= one.keys() for one in verdicts.values()):
        raise TypeError("a verdict without its words")
    return Standings(aliases, verdicts)


def settle(home: Path, version: str, verdict: Verdict) -> Verdict:
    """Let the gate's verdict on a new version take effect: champion, or challenger.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    version : str
        The version that was judged.
    verdict : Verdict
        What the gate said; kept beside the aliases and as MLflow tags.

    Returns
    -------
    Verdict
        The same.

    Raises
    ------
    BundleError
        If there is no such version, or its bundle is damaged.
    DeliveryError
        If the disk refuses; then scoring goes on as before. What MLflow does not take now, it learns later.
    """
    load_bundle(resolve(home, version))
    tags = _gate_tags(verdict.to_dict())
    with locked(home / "models"):
        before = read_standings(home)
        judged = replace(before, verdicts={**before.verdicts, version: verdict.to_dict()})
        aliases = _crowned(judged.aliases, version) if verdict.passed else {**judged.aliases, "challenger": version}
        _publish(home, replace(judged, aliases=aliases), {version: tags}, whatever_mlflow_says=True)
    return verdict


def promote(home: Path, version: str, *, force: bool = False) -> str:
    """Make a version the champion; the one before becomes ``previous``.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.
    version : str
        A version number, an alias, or ``latest``.
    force : bool
        Whether to promote what the gate refused, or never saw.

    Returns
    -------
    str
        The version's number.

    Raises
    ------
    PromotionRefused
        If the gate refused it or never saw it, and ``force`` was not given.
    BundleError
        If there is no such version, or its bundle is damaged.
    DeliveryError
        If MLflow answers and refuses, or the disk does; then scoring goes on as before.
    """
    folder = resolve(home, version)
    number = folder.name
    load_bundle(folder)
    with locked(home / "models"):
        before = read_standings(home)
        verdict = before.verdicts.get(number, {"passed": False, "words": "The gate has not judged it."})
        if not force and not verdict["passed"] and before.aliases.get("champion") != number:
            raise PromotionRefused(
                f"Version {number} stays what it is. {verdict['words']} "
                "Promote it all the same with --force, or train on newer orders."
            )
        tags = {"promoted_at": _now(), **({} if verdict["passed"] else {"promoted": "by force"})}
        _publish(home, replace(before, aliases=_crowned(before.aliases, number)), {number: tags})
    return number


def rollback(home: Path) -> str:
    """Swap champion and previous.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``.

    Returns
    -------
    str
        The version that is champion now.

    Raises
    ------
    PromotionRefused
        If there is no version to go back to.
    BundleError
        If the previous version's bundle is gone or damaged.
    DeliveryError
        If MLflow answers and refuses, or the disk does; then scoring goes on as before.
    """
    _require_previous(read_standings(home), home)
    load_bundle(resolve(home, "previous"))
    with locked(home / "models"):
        before = read_standings(home)
        champion, previous = before.aliases["champion"], before.aliases["previous"]
        aliases = {**before.aliases, "champion": previous, "previous": champion}
        tags = {champion: {"rolled_back_at": _now()}, previous: {"promoted_at": _now()}}
        _publish(home, replace(before, aliases=aliases), tags)
    return previous


def _require_previous(standings: Standings, home: Path) -> None:
    if not {"champion", "previous"} <= standings.aliases.keys():
        raise PromotionRefused(
            f"{home / 'models'}: no previous champion to go back to. See `repurchase models list`; "
            "`repurchase models promote VERSION` takes any other version."
        )


def _crowned(aliases: Mapping[str, str], version: str) -> dict[str, str]:
    before = aliases.get("champion")
    crowned = {alias: held for alias, held in aliases.items() if alias != "challenger" or held != version}
    if before is not None and before != version:
        crowned["previous"] = before
    return {**crowned, "champion": version}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _publish(
    home: Path, standings: Standings, tags: Mapping[str, Mapping[str, str]], *, whatever_mlflow_says: bool = False
) -> None:
    """Change the aliases in MLflow, then those that scoring follows; where MLflow is away, it learns of it later."""
    content = json_bytes({"schema": SCHEMA, "aliases": standings.aliases, "verdicts": standings.verdicts}, name=FILE)
    from repurchase.registry.reachability import StoreUnreachable
    from repurchase.registry.registrations import write_alias_change
    from repurchase.registry.store import mlflow_faults, open_existing

    try:
        store = open_existing(home)
        if store is None:
            logger.warning("There is no MLflow store beside %s; only models/ was changed.", home / "models")
        else:
            with mlflow_faults(store.uri, "No alias was changed for scoring."):
                _tell_mlflow(store, standings.aliases, tags)
    except DeliveryError as fault:
        if not whatever_mlflow_says and not isinstance(fault, StoreUnreachable):
            raise
        path = write_alias_change(home, tags)
        logger.warning(
            "Aliases are changed in models/, which scoring follows, and not in MLflow yet: %s The change waits in %s; "
            "the next train, score, monitor or campaign that reaches the store makes it there.",
            fault,
            path.relative_to(home),
        )
    write_whole(home / "models" / FILE, content)


def publish_again(store: "Store", changes: Iterable[Mapping[str, Mapping[str, str]]]) -> None:
    """Let MLflow learn verdicts and aliases as ``models/aliases.json`` has them.

    Parameters
    ----------
    store : Store
        Where to.
    changes : iterable of mapping
        What was to be noted of versions meanwhile.

    Raises
    ------
    BundleError
        If ``models/aliases.json`` is damaged.
    DeliveryError
        If MLflow refuses.
    """
    from repurchase.registry.store import mlflow_faults

    standings = read_standings(store.home)
    tags = {version: _gate_tags(verdict) for version, verdict in standings.verdicts.items()}
    for change in changes:
        for version, pairs in change.items():
            tags[version] = {**tags.get(version, {}), **pairs}
    with mlflow_faults(store.uri, "Aliases wait to be set."):
        _tell_mlflow(store, standings.aliases, tags)


def _gate_tags(verdict: Mapping[str, Any]) -> dict[str, str]:
    return {"gate": "passed" if verdict.get("passed") else "failed", "gate_detail": json.dumps(verdict)}


def _tell_mlflow(store: "Store", aliases: Mapping[str, str], tags: Mapping[str, Mapping[str, str]]) -> None:
    from repurchase.registry.store import MODEL, mlflow_versions

    known = mlflow_versions(store)
    for version, pairs in tags.items():
        for key, value in pairs.items():
            if version in known:
                store.client.set_model_version_tag(MODEL, known[version], key, value)
    for alias in ALIASES:
        holder = aliases.get(alias)
        if holder in known:
            store.client.set_registered_model_alias(MODEL, alias, known[holder])
            continue
        if holder is not None:
            logger.warning("MLflow does not know version %s; %s is set in models/ only.", holder, alias)
        if known:
            store.client.delete_registered_model_alias(MODEL, alias)
