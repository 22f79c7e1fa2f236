"""Judge, promote, roll back, list and export model versions."""

import io
import json
import logging
import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from repurchase.errors import BundleError, DeliveryError, InputError, PromotionRefused, first_few
from repurchase.i18n.messages import Message, message, render
from repurchase.registry.bundle import load_bundle, read_manifest
from repurchase.storage.atomic_files import locked_folder, write_file
from repurchase.storage.delivery import EXPORTED_MODEL_OUTPUT, require_outside_registry, require_replaceable
from repurchase.storage.json_files import json_bytes, read_json
from repurchase.validation import FLAG, STATEMENT, TEXT, first_fault

if TYPE_CHECKING:
    from repurchase.registry.store import Store


_Losses = Mapping[str, Mapping[str, float]]
"""By cut-off (ISO): ``log_loss`` and ``n_customers``."""

_MODEL_PREDICTOR = "model"
_RULE_PREDICTORS = ("days_since_last", "past_rate")


_SMALLEST_SHOWN_GAIN = 0.0005
_REFUSED_GRADES = ("D", "-")


@dataclass(frozen=True)
class GateVerdict:
    """The gate's decision on a candidate."""

    passed: bool
    message: Message
    numbers: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {"passed": self.passed, "words": self.message, "numbers": self.numbers}


def judge_evaluation(
    evaluation: Mapping[str, Any], champion: Mapping[str, Any] | None = None, *, tolerance: float = 0.0
) -> GateVerdict:
    """Judge a candidate by its evaluation, on its primary horizon."""
    days = evaluation.get("primary_horizon_days")
    candidate = _losses_of(evaluation, predictor=_MODEL_PREDICTOR, horizon_days=days)
    if not candidate:
        return GateVerdict(False, message("gate.not_judged"))
    rules = {name: _losses_of(evaluation, predictor=name, horizon_days=days) for name in _RULE_PREDICTORS}
    theirs = None if champion is None else _losses_of(champion, predictor=_MODEL_PREDICTOR, horizon_days=days)
    if evaluation.get("grade") in _REFUSED_GRADES:
        refused = message("gate.grade", grade=evaluation["grade"], verdict=evaluation.get("grade_words", ""))
        return GateVerdict(False, refused)
    if theirs is not None and theirs.keys() != candidate.keys():
        return GateVerdict(False, message("gate.not_compared", days=days))
    comparable = {name: losses for name, losses in rules.items() if losses.keys() == candidate.keys()}
    if not comparable:
        return GateVerdict(False, message("gate.no_rule", days=days))
    return judge_candidate(candidate, comparable, theirs, tolerance=tolerance)


def _losses_of(evaluation: Mapping[str, Any], *, predictor: str, horizon_days: int | None) -> _Losses:
    """Take one predictor's log losses out of an evaluation."""
    return {
        row["cutoff"]: {"log_loss": float(row["log_loss"]), "n_customers": int(row["n_customers"])}
        for row in evaluation.get("backtest", [])
        if row["predictor"] == predictor and row["horizon_days"] == horizon_days and row.get("log_loss") is not None
    }


def judge_candidate(
    candidate: _Losses, rules: Mapping[str, _Losses], champion: _Losses | None, *, tolerance: float = 0.0
) -> GateVerdict:
    """Let a candidate pass if its mean log loss over the cut-offs is below the best rule's and the champion's."""
    if not rules:
        raise InputError("The gate needs at least one rule to compare with; none was given.")
    for losses in (*rules.values(), *([champion] if champion is not None else [])):
        _require_same_customers(candidate, losses)
    means = {rule: _mean(losses) for rule, losses in rules.items()}
    best = min(means, key=means.__getitem__)
    own = _mean(candidate)
    numbers = {"candidate": own, "best_rule": means[best], "gain_over_rule": _gain(own, means[best])}
    figures: dict[str, Any] = {
        "loss": own,
        "rule": best,
        "rule_loss": means[best],
        "than_rule": _difference(own, means[best]),
    }
    passed = own < means[best]
    if champion is not None:
        theirs = _mean(champion)
        numbers |= {"champion": theirs, "gain_over_champion": _gain(own, theirs)}
        figures |= {"champion_loss": theirs, "than_champion": _difference(own, theirs)}
        passed = passed and (own < theirs if tolerance == 0 else own <= theirs * (1 + tolerance))
    key = f"gate.{'passed' if passed else 'refused'}{'_first' if champion is None else ''}"
    return GateVerdict(passed, message(key, **figures), numbers)


def _require_same_customers(candidate: _Losses, other: _Losses) -> None:
    mine, theirs = ({day: row["n_customers"] for day, row in sorted(losses.items())} for losses in (candidate, other))
    if mine != theirs or not mine:
        raise InputError(
            f"The gate compares on the same cut-offs and customers only. Candidate: {_counts(mine)}; "
            f"the other: {_counts(theirs)}. Judge both in one backtest."
        )


def _counts(customers: Mapping[str, float]) -> str:
    return ", ".join(f"{day} ({count:,})" for day, count in customers.items()) or "none"


def _mean(losses: _Losses) -> float:
    return math.fsum(row["log_loss"] for row in losses.values()) / len(losses)


def _gain(own: float, other: float) -> float:
    return 1 - own / other if other > 0 else 0.0  # nothing is left to gain over a loss of zero


def _difference(own: float, other: float) -> Message:
    gain = _gain(own, other)
    if own == other:
        return message("comparison.same")
    size = "" if abs(gain) >= _SMALLEST_SHOWN_GAIN else "slightly_"
    return message(f"comparison.{size}{'better' if gain > 0 else 'worse'}", gain=abs(gain))


# Aliases, by which scoring finds its model


_logger = logging.getLogger("repurchase")

ALIASES = ("previous", "champion", "challenger")
"""In the order in which they are written: a crash in between leaves a champion and, at worst, an early `previous`."""

_ALIASES_FILE = "aliases.json"
_ALIASES_SCHEMA = 1
_VERDICT = {"passed": FLAG, "words": STATEMENT}
_ALIASES_RECORD = {"aliases": {"*": TEXT}, "verdicts": {"*": _VERDICT}}


@dataclass(frozen=True)
class _VersionStates:
    """The aliases and the gate's verdicts in ``models/aliases.json``."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def aliases_of(self, version: str) -> tuple[str, ...]:
        order = ("champion", "challenger", "previous")
        return tuple(alias for alias in order if self.aliases.get(alias) == version)

    def gate_text(self, version: str) -> str | None:
        verdict = self.verdicts.get(version)
        return render(verdict["words"]) if verdict else None

    def with_champion(self, version: str) -> Self:
        before = self.aliases.get("champion")
        kept = {alias: held for alias, held in self.aliases.items() if alias != "challenger" or held != version}
        if before is not None and before != version:
            kept["previous"] = before
        return replace(self, aliases={**kept, "champion": version})


def read_version_states(home: Path) -> _VersionStates:
    """Read ``models/aliases.json``."""
    path = home / "models" / _ALIASES_FILE
    try:
        record = read_json(path)
    except FileNotFoundError:
        return _VersionStates()
    except (OSError, ValueError) as fault:
        raise BundleError(f"{path}: not readable ({fault!r}). {_ALIASES_HINT}") from fault
    invalid = first_fault(record, _ALIASES_RECORD)
    if invalid:
        raise BundleError(f"{path}: not readable ('{invalid.path}' {invalid}) {_ALIASES_HINT}")
    return _VersionStates(record["aliases"], record["verdicts"])


_ALIASES_HINT = "Remove it and run `repurchase models promote VERSION`."


def version_numbers(home: Path) -> list[str]:
    """List the versions in ``models/``."""
    models = home / "models"
    if not models.is_dir():
        return []
    return sorted((path.name for path in models.iterdir() if path.name.isdecimal() and path.is_dir()), key=int)


def resolve_version(home: Path, wanted: str = "champion") -> Path:
    """Find a version's bundle, from ``models/`` alone."""
    models, known = home / "models", version_numbers(home)
    if not known and not wanted.isdecimal():
        raise BundleError(f"{models}: no {wanted} yet, no model was trained. Run `repurchase train ORDERS` first.")
    version = known[-1] if wanted == "latest" else read_version_states(home).aliases.get(wanted, wanted)
    if wanted == version == "champion":
        versions = f"version {known[0]}" if len(known) == 1 else f"versions {first_few(known)}"
        raise BundleError(
            f"{models}: no champion yet; {versions} did not pass the gate. See why with `repurchase models list`; take "
            "one all the same with `repurchase models promote VERSION --force`."
        )
    if version not in known:
        hint = (
            f"There: {first_few(known[::-1])}, besides champion, challenger, previous and latest."
            if known
            else "No model was trained yet: run `repurchase train ORDERS` first."
        )
        raise BundleError(f"{models}: no model version '{wanted}'. {hint}")
    return models / version


def apply_gate_verdict(home: Path, version: str, verdict: GateVerdict) -> GateVerdict:
    """Let the gate's verdict on a new version take effect: champion, or challenger."""
    load_bundle(resolve_version(home, version))
    record = verdict.to_dict()
    with locked_folder(home / "models"):
        states = read_version_states(home)
        judged = replace(states, verdicts={**states.verdicts, version: record})
        if verdict.passed:
            after = judged.with_champion(version)
        else:
            after = replace(judged, aliases={**judged.aliases, "challenger": version})
        _publish_aliases(home, after, {version: _gate_tags(record)}, allow_mlflow_failure=True)
    return verdict


def promote(home: Path, version: str, *, force: bool = False) -> str:
    """Make a version the champion; the one before becomes ``previous``."""
    folder = resolve_version(home, version)
    number = folder.name
    load_bundle(folder)
    with locked_folder(home / "models"):
        states = read_version_states(home)
        verdict = states.verdicts.get(number, {"passed": False, "words": message("gate.not_seen")})
        if not force and not verdict["passed"] and states.aliases.get("champion") != number:
            raise PromotionRefused(
                f"Version {number} stays what it is. {render(verdict['words'], locale='en')} "
                "Promote it all the same with --force, or train on newer orders."
            )
        tags = {"promoted_at": _now(), **({} if verdict["passed"] else {"promoted": "by force"})}
        _publish_aliases(home, states.with_champion(number), {number: tags})
    return number


def rollback(home: Path) -> str:
    """Swap champion and previous."""
    if not {"champion", "previous"} <= read_version_states(home).aliases.keys():
        raise PromotionRefused(
            f"{home / 'models'}: no previous champion to go back to. See `repurchase models list`; "
            "`repurchase models promote VERSION` takes any other version."
        )
    load_bundle(resolve_version(home, "previous"))
    with locked_folder(home / "models"):
        states = read_version_states(home)
        champion, previous = states.aliases["champion"], states.aliases["previous"]
        tags = {champion: {"rolled_back_at": _now()}, previous: {"promoted_at": _now()}}
        _publish_aliases(home, states.with_champion(previous), tags)
    return previous


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _publish_aliases(
    home: Path, states: _VersionStates, tags: Mapping[str, Mapping[str, str]], *, allow_mlflow_failure: bool = False
) -> None:
    """Change the aliases in MLflow, then those that scoring follows; a store that cannot be reached gets them later."""
    content = json_bytes({"schema": _ALIASES_SCHEMA, **vars(states)}, name=_ALIASES_FILE)
    from repurchase.registry.retry_queue import write_entry
    from repurchase.registry.store import StoreUnreachable, mlflow_faults, open_existing

    try:
        store = open_existing(home)
        if store is None:
            _logger.warning("There is no MLflow store next to %s; only models/ was changed.", home / "models")
        else:
            with mlflow_faults(store.uri, "No alias was changed for scoring."):
                _set_mlflow_aliases(store, states.aliases, tags)
    except DeliveryError as fault:
        if not allow_mlflow_failure and not isinstance(fault, StoreUnreachable):
            raise
        path, _ = write_entry(home, "alias change", secrets.token_hex(8), {"tags": tags})
        _logger.warning(
            "Aliases are changed in models/, which scoring follows, and not in MLflow yet: %s The change waits in %s; "
            "the next train, score, monitor or campaign that reaches the store makes it there.",
            fault,
            path.relative_to(home),
        )
    write_file(home / "models" / _ALIASES_FILE, content)


def republish_aliases(store: "Store", changes: Iterable[Mapping[str, Mapping[str, str]]]) -> None:
    """Set verdicts and aliases in MLflow as ``models/aliases.json`` has them."""
    from repurchase.registry.store import mlflow_faults

    states = read_version_states(store.home)
    tags = {version: _gate_tags(verdict) for version, verdict in states.verdicts.items()}
    for change in changes:
        for version, pairs in change.items():
            tags[version] = {**tags.get(version, {}), **pairs}
    with mlflow_faults(store.uri, "Aliases wait to be set."):
        _set_mlflow_aliases(store, states.aliases, tags)


def _gate_tags(verdict: Mapping[str, Any]) -> dict[str, str]:
    return {"gate": "passed" if verdict.get("passed") else "failed", "gate_detail": json.dumps(verdict)}


def _set_mlflow_aliases(store: "Store", aliases: Mapping[str, str], tags: Mapping[str, Mapping[str, str]]) -> None:
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
            _logger.warning("MLflow does not know version %s; %s is set in models/ only.", holder, alias)
        if known:
            store.client.delete_registered_model_alias(MODEL, alias)


# Lists and exports


@dataclass(frozen=True)
class VersionRow:
    """One version in a list."""

    version: str
    aliases: tuple[str, ...]
    gate: str | None
    as_of: str | None = None
    created_at: str | None = None
    grade: str = "-"
    horizon_days: int | None = None
    log_loss: float | None = None
    best_rule_log_loss: float | None = None
    fault: str | None = None


def list_versions(home: Path) -> list[VersionRow]:
    """List the versions in ``models/``, the newest first."""
    states = read_version_states(home)
    return [_version_row(home / "models" / version, states) for version in reversed(version_numbers(home))]


def _version_row(folder: Path, states: _VersionStates) -> VersionRow:
    row = VersionRow(folder.name, states.aliases_of(folder.name), states.gate_text(folder.name))
    try:
        manifest = read_manifest(folder)
        about = {name: manifest[name] for name in ("as_of", "created_at", "grade") if name in manifest}
        return replace(row, **about, **_read_losses(folder / "evaluation.json"))
    except BundleError as fault:
        return replace(row, fault=str(fault))


def _read_losses(path: Path) -> dict[str, Any]:
    """Read the log losses at the primary horizon of an evaluation."""
    try:
        evaluation = read_json(path)
        for horizon in evaluation.get("horizons", []):
            if horizon.get("horizon_days") == evaluation.get("primary_horizon_days") and horizon.get("model"):
                rules = [figures.get("log_loss") for figures in (horizon.get("rules") or {}).values()]
                return {
                    "horizon_days": horizon["horizon_days"],
                    "log_loss": horizon["model"].get("log_loss"),
                    "best_rule_log_loss": min((loss for loss in rules if loss is not None), default=None),
                }
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as fault:
        raise BundleError(f"{path}: not readable ({fault}). Fetch the bundle again, or train again.") from fault
    return {}


def alias_mismatches(home: Path) -> list[str]:
    """Say where ``models/`` and MLflow disagree about an alias."""
    if not version_numbers(home):
        return []
    ours = read_version_states(home).aliases
    try:
        theirs = _mlflow_aliases(home)
    except DeliveryError as fault:
        return [f"MLflow could not be read. {fault}"]
    if theirs is None:
        return ["There is no MLflow store in this home folder; scoring does not need one."]
    return [
        f"{alias} is {ours.get(alias, 'nobody')} in models/aliases.json, which scoring follows, and "
        f"{theirs.get(alias, 'nobody')} in MLflow. Make both the same with `repurchase models promote "
        f"{ours.get('champion', 'VERSION')}`."
        for alias in ALIASES
        if ours.get(alias) != theirs.get(alias)
    ]


def _mlflow_aliases(home: Path) -> dict[str, str] | None:
    from repurchase.registry.store import MODEL, mlflow_faults, mlflow_versions, open_existing

    store = open_existing(home)
    if store is None:
        return None
    with mlflow_faults(store.uri, "models/ is not affected."):
        numbers = {theirs: number for number, theirs in mlflow_versions(store).items()}
        found = store.client.search_registered_models(f"name = '{MODEL}'")
        aliases = {alias: str(version) for model in found for alias, version in model.aliases.items()}
        return {alias: numbers.get(version, version) for alias, version in aliases.items()}


def export_version(home: Path, version: str, out: Path) -> Path:
    """Write a version's model as a joblib file, for notebooks.

    Reading it (``joblib.load``) runs code from it, unlike a bundle: only read files whose origin you know.
    """
    require_outside_registry(out, home=home)
    require_replaceable({out: EXPORTED_MODEL_OUTPUT})
    loaded = load_bundle(resolve_version(home, version))
    import joblib

    from repurchase.models.model import RepurchaseModel

    content = io.BytesIO()
    joblib.dump(RepurchaseModel.from_state(loaded.state), content, compress=3)
    write_file(out, content.getvalue())
    return out
