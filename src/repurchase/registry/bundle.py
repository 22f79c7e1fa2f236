"""Write, validate and load model bundles with their manifest and model card."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import repurchase
from repurchase.errors import BundleError, first_few
from repurchase.i18n.formatting import format_percent
from repurchase.i18n.messages import render
from repurchase.settings import Settings
from repurchase.storage.atomic_files import locked_folder, remove_partial_siblings, write_folder
from repurchase.storage.json_files import json_bytes, parse_json, read_bounded, sha256_of
from repurchase.validation import (
    DAY,
    TABLE,
    Check,
    Nullable,
    Schema,
    first_fault,
    integer,
    is_integer,
    is_statement,
    number,
    optional,
    text_matching,
)

_MAX_DEPTH = 40
_MAX_NOTES, _MAX_NOTE_LENGTH = 200, 2000


def _are_horizons(value: Any) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= 60
    return is_list and all(is_integer(days) and 1 <= days <= 3650 for days in value) and len(set(value)) == len(value)


def _are_notes(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) <= _MAX_NOTES
    return is_list and all(is_statement(note) and len(str(note)) <= _MAX_NOTE_LENGTH for note in value)


_PARAMETER = number(1e-12, 1e12)
_SHARE = optional(number(0, 1))
_DAYS = optional(number(0, 1e6))
_MONEY = optional(number(-1e15, 1e15))
_HORIZONS = Check(_are_horizons, "1 to 60 different numbers of days, each from 1 to 3650")
_BTYD_MODEL = Nullable(dict.fromkeys(("r?", "alpha?", "a?", "b?"), _PARAMETER))
_SCHEMAS: Mapping[str, Schema] = {
    "manifest.json": {
        "as_of?": DAY,
        "horizons?": _HORIZONS,
        "model_version?": text_matching(r"\d{1,9}|unregistered", "a version number"),
        "grade?": text_matching(".{0,10}", "a grade such as B"),
        "settings?": TABLE,
    },
    "model.json": {
        "horizons?": _HORIZONS,
        "settings?": {
            "clv_horizon_days?": integer(1, 3650),
            "discount_rate?": number(0, 0.999999),
            "n_jobs?": integer(-1, 4096),
            "random_state?": integer(0, 2**32 - 1),
        },
        "notes?": Check(_are_notes, f"up to {_MAX_NOTES} texts of up to {_MAX_NOTE_LENGTH} characters"),
    },
    "btyd.json": {
        "mbgnbd?": _BTYD_MODEL,
        "bgnbd?": _BTYD_MODEL,
        "gamma_gamma?": Nullable(
            {
                **dict.fromkeys(("p?", "q?", "v?"), optional(_PARAMETER)),
                "fallback_mean?": optional(number(0, 1e15)),
            }
        ),
    },
    "tiers.json": {
        "risk_horizon_days?": optional(integer(1, 3650)),
        **dict.fromkeys(("worth_winning?", "high_risk_from?", "low_risk_below?"), _SHARE),
        **dict.fromkeys(("second_purchase_days?", "second_purchase_from_days?", "second_purchase_median_days?"), _DAYS),
        **dict.fromkeys(("usual_gap_days?", "late_from?"), _DAYS),
        **dict.fromkeys(("high_value?", "worth_value?"), _MONEY),
        "loyal_purchases?": optional(integer(1, 100_000)),
    },
}
"""What a file may hold where it holds it; a model itself demands what it needs when it is loaded."""


def _validate_state(folder: Path, parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuse a bundle whose digests are right and whose content no training wrote."""
    for name, content in parts.items():
        if _is_nested_deeper(content, _MAX_DEPTH):
            raise BundleError(f"{folder / name}: nested more than {_MAX_DEPTH} levels deep. {_RETRY_HINT}")
        fault = first_fault(content, Nullable(_SCHEMAS.get(name, {})))
        if fault:
            field = f"'{fault.path}'" if fault.path else "its content"
            raise BundleError(f"{folder / name}: {field} {fault} {_RETRY_HINT}")
    _require_loadable_model(folder, state)


def _is_nested_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(isinstance(one, dict | list) and _is_nested_deeper(one, levels - 1) for one in inner)


def _require_loadable_model(folder: Path, state: Mapping[str, Any]) -> None:
    calibration = state.get("calibration")
    if not isinstance(calibration, dict) or "heads" not in calibration:
        return  # written by a program with a model of its own; ours always has them
    from repurchase.models.model import RepurchaseModel

    try:
        RepurchaseModel.from_state(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as fault:
        raise BundleError(
            f"{folder}: no model can be made of this bundle ({type(fault).__name__}: {fault}). {_RETRY_HINT}"
        ) from fault


_SCHEMA = 2
_RETRY_HINT = "Fetch the bundle again, or train again."
_MANIFEST = "manifest.json"
_PROFILE = "profile.json"
_STATE_PARTS = ("btyd", "calibration", "tiers")
_REMAINING_STATE_FILE = "model.json"
_REQUIRED_FILES = (*(f"{part}.json" for part in _STATE_PARTS), _REMAINING_STATE_FILE, "evaluation.json", "card.md")
_DEPENDENCIES = ("numpy", "polars", "scikit-learn", "scipy")
MANIFEST_DIGEST_KEY = "manifest_sha256"
_VERSION = "model_version"


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle that passed every check."""

    state: dict[str, Any]
    manifest: dict[str, Any]
    evaluation: dict[str, Any]
    card: str
    folder: Path
    profile: dict[str, Any] | None = None

    @property
    def version(self) -> str:
        """The model's version according to the manifest."""
        return str(self.manifest.get(_VERSION, "unregistered"))


def save_bundle(
    state: Mapping[str, Any],
    folder: Path,
    *,
    manifest: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    card: str,
    profile: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model as a bundle: all of it, or nothing."""
    if folder.exists():
        raise BundleError(f"{folder} exists already; a version is written once. Choose another name or remove it.")
    files = _bundle_contents(state, evaluation, card, profile)
    files[_MANIFEST] = _manifest_bytes(manifest, files)
    with locked_folder(folder.parent):
        remove_partial_siblings(folder.parent)
        write_folder(folder, files)
    return folder


def _bundle_contents(
    state: Mapping[str, Any], evaluation: Mapping[str, Any], card: str, profile: Mapping[str, Any] | None
) -> dict[str, bytes]:
    parts = {f"{part}.json": state.get(part) for part in _STATE_PARTS}
    parts[_REMAINING_STATE_FILE] = {key: value for key, value in state.items() if key not in _STATE_PARTS}
    parts["evaluation.json"] = evaluation
    if profile is not None:
        parts[_PROFILE] = profile
    files = {name: json_bytes(value, name=name) for name, value in parts.items()}
    files["card.md"] = card.encode("utf-8")
    return files


def _manifest_bytes(given: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    manifest = {
        "schema": _SCHEMA,
        "repurchase_version": repurchase.__version__,
        "dependencies": {name: installed_version(name) for name in _DEPENDENCIES},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **given,
        "files": {name: sha256_of(content) for name, content in sorted(files.items())},
    }
    return json_bytes({**manifest, MANIFEST_DIGEST_KEY: _manifest_digest(manifest)}, name=_MANIFEST)


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    return sha256_of(
        json_bytes({key: value for key, value in manifest.items() if key != MANIFEST_DIGEST_KEY}, name=_MANIFEST)
    )


def load_bundle(folder: Path) -> LoadedBundle:
    """Read a bundle; refuse it if any file differs from what was written.

    Each file is read once, and the bytes whose digest was compared are the ones used.
    """
    manifest = read_manifest(folder)
    files = _verified_files(folder, manifest)
    parts = {name: _parse_bundle_json(folder / name, files[name]) for name in files if name.endswith(".json")}
    rest = parts[_REMAINING_STATE_FILE]
    if not isinstance(rest, dict):
        raise BundleError(f"{folder / _REMAINING_STATE_FILE}: not the rest of a model. {_RETRY_HINT}")
    state = {
        **{part: parts[f"{part}.json"] for part in _STATE_PARTS if parts[f"{part}.json"] is not None},
        **rest,
        **{key: manifest[key] for key in (_VERSION,) if key in manifest},
    }
    _validate_state(folder, {_MANIFEST: manifest, **parts}, state)
    card = files["card.md"].decode("utf-8", errors="replace")
    return LoadedBundle(state, manifest, parts["evaluation.json"], card, folder, profile=parts.get(_PROFILE))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a bundle's manifest, without its other files."""
    path = folder / _MANIFEST
    if not path.exists():
        raise BundleError(f"{folder}: no model bundle there (no {_MANIFEST}). See `repurchase models list`.")
    content = _read_bundle_file(path)
    manifest: dict[str, Any] = _parse_bundle_json(path, content)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if not isinstance(schema, int) or not isinstance(manifest.get("files"), dict):
        raise BundleError(f"{path}: not a manifest of a model bundle. {_RETRY_HINT}")
    if schema != _SCHEMA:
        raise BundleError(f"{folder}: {_other_schema_message(schema, manifest)}")
    if content != json_bytes(manifest, name=_MANIFEST) or manifest.get(MANIFEST_DIGEST_KEY) != _manifest_digest(
        manifest
    ):
        raise BundleError(_changed_file_message(path))
    return manifest


def _other_schema_message(schema: int, manifest: Mapping[str, Any]) -> str:
    ours, theirs = f"repurchase {repurchase.__version__}", manifest.get("repurchase_version")
    if schema > _SCHEMA:
        install = f"Install repurchase {theirs or 'newer'} or train again."
        return f"bundle schema {schema}; {ours} reads up to {_SCHEMA}. {install}"
    install = f"Train again, or install repurchase {theirs or 'of that time'}."
    return f"bundle schema {schema}, which {ours} no longer reads. {install}"


def _verified_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    listed: dict[str, str] = manifest["files"]
    found = {path.name for path in folder.iterdir()} - {_MANIFEST}
    missing = sorted((set(listed) | set(_REQUIRED_FILES)) - found)
    if missing:
        raise BundleError(f"{folder}: {len(missing)} files are missing: {first_few(missing)}. Fetch the bundle again.")
    unlisted = sorted(found - set(listed))
    if unlisted:
        raise BundleError(
            f"{folder}: {len(unlisted)} files that the manifest does not list: {first_few(unlisted)}. "
            "Remove them if you put them there; otherwise do not trust this bundle."
        )
    files = {name: _read_bundle_file(folder / name) for name in listed}
    for name, content in files.items():
        if sha256_of(content) != listed[name]:
            raise BundleError(_changed_file_message(folder / name))
    return files


def _changed_file_message(path: Path) -> str:
    return f"{path}: changed since it was written (SHA-256 differs). {_RETRY_HINT}"


def _read_bundle_file(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except ValueError as fault:
        raise BundleError(f"{path}: {fault}; no training writes such a file. Fetch the bundle again.") from fault
    except OSError as fault:
        raise BundleError(f"{path} cannot be read: {fault.strerror}.") from fault


def _parse_bundle_json(path: Path, content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError as fault:  # includes bytes that are not UTF-8
        raise BundleError(f"{path}: not readable as JSON ({fault}). Restore it or fetch the bundle again.") from fault


CLEANING_SETTINGS = ("columns", "timezone", "currency", "date_order", "duplicates", "returns")


def cleaning_settings(settings: Settings) -> dict[str, Any]:
    """Select the settings that decide how orders are cleaned."""
    return {name: getattr(settings, name) for name in CLEANING_SETTINGS} | {"columns": dict(settings.columns)}


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """The results of a training run."""

    state: Mapping[str, Any]
    as_of: date
    horizons: tuple[int, ...]
    orders: Mapping[str, Any]
    cleaning: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    settings: Settings = field(default_factory=Settings)
    params: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    profile: Mapping[str, Any] | None = None

    def manifest(self, version: str) -> dict[str, Any]:
        """Build the training's part of the bundle's manifest."""
        return {
            "model_version": version,
            "as_of": self.as_of.isoformat(),
            "horizons": list(self.horizons),
            "data_digest": self.orders.get("digest"),
            "grade": self.evaluation.get("grade", "-"),
            "settings": cleaning_settings(self.settings),
        }

    def card(self, version: str) -> str:
        """Write the model card."""
        day, ahead = self.as_of.isoformat(), ", ".join(str(days) for days in self.horizons)
        verdict = self.evaluation.get("grade_words") or "This model was not judged."
        blocks = [
            f"# repurchase, version {version}",
            f"Knows orders up to {day}. Says who buys again within {ahead} days, who does not, and what they spend.",
            "## Data",
            *_bullets(_data_section(self.orders, self.cleaning)),
            "## Grade",
            f"Grade **{self.evaluation.get('grade', '-')}**. {render(verdict, locale='en')}",
            *_bullets([*_gains_section(self.evaluation), *_as_sentences(self.evaluation, "reasons")]),
            "## Limits",
            *_bullets([*_as_sentences(self.evaluation, "limits"), *_GENERAL_LIMITS]),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"


_GENERAL_LIMITS = (
    "It learned from this shop's own past. A new assortment, a price change or a crisis is not in it.",
    "It knows orders only: not who was contacted, and not why someone bought. A low risk is no reason not to ask.",
    "Customers without a purchase have no score.",
    "No customer and no order line is kept in this folder.",
)


def _data_section(orders: Mapping[str, Any], cleaning: Mapping[str, Any]) -> list[str]:
    facts = []
    counts = [f"{orders[key]:,} {word}" for key, word in _COUNTS if isinstance(orders.get(key), int)]
    if counts:
        facts.append(" and ".join(counts) + ".")
    first, last = orders.get("first_order_date"), orders.get("last_order_date")
    if first and last:
        facts.append(f"First order {first}, last order {last}.")
    raw, kept = cleaning.get("n_raw"), cleaning.get("n_kept")
    if isinstance(raw, int) and isinstance(kept, int):
        why = "; why the others were not is in the run's cleaning.json" if kept < raw else ""
        facts.append(f"{kept:,} of {raw:,} rows were used{why}.")
    if orders.get("digest"):
        facts.append(f"SHA-256 of the files: `{orders['digest']}`.")
    return facts


_COUNTS = (("n_customers", "customers"), ("n_orders", "orders"))


def _gains_section(evaluation: Mapping[str, Any]) -> list[str]:
    lines = []
    for horizon in evaluation.get("horizons", []):
        days, model, gain = horizon.get("horizon_days"), horizon.get("model") or {}, horizon.get("log_loss_gain")
        if horizon.get("judged") and gain is not None and model.get("log_loss") is not None:
            better = "better" if gain > 0 else "worse"
            lines.append(
                f"{days} days: log loss {model['log_loss']:.4f}, "
                f"{format_percent(abs(gain), 1)} {better} than the best rule."
            )
        elif horizon.get("why_not_judged"):
            lines.append(f"{days} days: not judged. {horizon['why_not_judged']}")
    return lines


def _as_sentences(evaluation: Mapping[str, Any], key: str) -> list[str]:
    return [render(statement, locale="en") for statement in evaluation.get(key, [])]


def _bullets(sentences: Iterable[str]) -> list[str]:
    lines = [f"- {sentence}" for sentence in sentences]
    return ["\n".join(lines)] if lines else []
