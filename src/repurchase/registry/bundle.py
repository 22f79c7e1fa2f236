"""Write, validate and load model bundles with their manifest and model card."""

import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import repurchase
from repurchase.errors import BundleError, DeliveryError, first_few
from repurchase.settings import Settings
from repurchase.storage.atomic_files import locked_folder, partial_sibling_path, remove_partial_siblings, sync_folder
from repurchase.storage.json_files import MAX_JSON_BYTES, json_bytes, parse_json, sha256_of

_MAX_DEPTH = 40
_MAX_NOTES, _MAX_TEXT_LENGTH = 200, 2000

_Check = tuple[Callable[[Any], bool], str]


def _number(least: float, most: float) -> _Check:
    return lambda value: _is_number(value) and least <= value <= most, f"a number from {least:g} to {most:g}"


def _whole(least: int, most: int) -> _Check:
    return lambda value: type(value) is int and least <= value <= most, f"a whole number from {least} to {most}"


def _optional(check: _Check) -> _Check:
    return lambda value: value is None or check[0](value), f"{check[1]}, or null"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_horizons(value: Any) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= 60
    return is_list and all(type(day) is int and 1 <= day <= 3650 for day in value) and len(set(value)) == len(value)


def _is_texts(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) <= _MAX_NOTES
    return is_list and all(isinstance(text, str) and len(text) <= _MAX_TEXT_LENGTH for text in value)


def _is_day(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


_SHAPE = _number(1e-12, 1e12)
_DAYS = _optional(_number(0, 1e6))
_SHARE = _optional(_number(0, 1))
_HORIZONS: _Check = (_is_horizons, "1 to 60 different numbers of days, each from 1 to 3650")
_TABLE: _Check = (lambda value: isinstance(value, dict), "a table")
_CHECKS: Mapping[str, Mapping[str, _Check]] = {
    "manifest.json": {
        "as_of": (_is_day, "a day such as 2024-12-31"),
        "horizons": _HORIZONS,
        "model_version": (
            lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d{1,9}|unregistered", value)),
            "a version number",
        ),
        "grade": (lambda value: isinstance(value, str) and len(value) <= 10, "a grade such as B"),
        "settings": _TABLE,
    },
    "model.json": {
        "horizons": _HORIZONS,
        "settings": _TABLE,
        "settings.clv_horizon_days": _whole(1, 3650),
        "settings.discount_rate": _number(0, 0.999999),
        "settings.n_jobs": _whole(-1, 4096),
        "settings.random_state": _whole(0, 2**32 - 1),
        "notes": (_is_texts, f"up to {_MAX_NOTES} texts of up to {_MAX_TEXT_LENGTH} characters"),
    },
    "btyd.json": {
        **{f"{family}.{name}": _SHAPE for family in ("mbgnbd", "bgnbd") for name in ("r", "alpha", "a", "b")},
        **{f"gamma_gamma.{name}": _optional(_SHAPE) for name in ("p", "q", "v")},
        "gamma_gamma.fallback_mean": _optional(_number(0, 1e15)),
    },
    "tiers.json": {
        "risk_horizon_days": _optional(_whole(1, 3650)),
        **dict.fromkeys(("worth_winning", "high_risk_from", "low_risk_below"), _SHARE),
        **dict.fromkeys(("second_purchase_days", "second_purchase_from_days", "second_purchase_median_days"), _DAYS),
        **dict.fromkeys(("usual_gap_days", "late_from"), _DAYS),
        **dict.fromkeys(("high_value", "worth_value"), _optional(_number(-1e15, 1e15))),
        "loyal_purchases": _optional(_whole(1, 100_000)),
    },
}
"""What a part may hold where it holds it; what a model needs, it demands itself when it is put together."""


def _validate_state(folder: Path, parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuse a bundle whose digests are right and whose content no training wrote."""
    for name, content in parts.items():
        _require_max_depth(folder / name, content)
        if not isinstance(content, dict) and content is not None:
            raise BundleError(_invalid_state_message(folder / name, "its content", "a table", content))
        for key, (holds, expected) in _CHECKS.get(name, {}).items():
            for value in _values_at(content or {}, key.split(".")):
                if not holds(value):
                    raise BundleError(_invalid_state_message(folder / name, f"'{key}'", expected, value))
    _require_loadable_model(folder, state)


def _values_at(content: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield content
    elif isinstance(content, dict) and keys[0] in content:
        yield from _values_at(content[keys[0]], keys[1:])


def _require_max_depth(path: Path, content: Any) -> None:
    level, depth = [content], 0
    while level:
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        depth += 1
        if depth > _MAX_DEPTH:
            raise BundleError(
                f"{path}: nested more than {_MAX_DEPTH} levels deep. Fetch the bundle again, or train again."
            )


def _require_loadable_model(folder: Path, state: Mapping[str, Any]) -> None:
    calibration = state.get("calibration")
    if not isinstance(calibration, dict) or "heads" not in calibration:
        return  # kept by a program that has a model of its own; ours always has them
    from repurchase.models.scoring import FittedModel

    try:
        FittedModel.from_state(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as fault:
        raise BundleError(
            f"{folder}: no model can be made of this bundle ({type(fault).__name__}: {fault}). Fetch it again, or "
            "train again."
        ) from fault


def _invalid_state_message(path: Path, what: str, expected: str, value: object) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= _MAX_TEXT_LENGTH // 25 else f"{shown[: _MAX_TEXT_LENGTH // 25]}…"
    return f"{path}: {what} must be {expected}. Got {shown} instead. Fetch the bundle again, or train again."


_SCHEMA = 2
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
        """The model's version, as the manifest says."""
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
        _write_folder(folder, files)
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


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    partial = partial_sibling_path(folder)
    try:
        partial.mkdir()
        for name, content in files.items():
            with (partial / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(partial)
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as fault:
        raise DeliveryError(f"{folder} cannot be written: {fault.strerror}. No bundle was left there.") from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_bundle(folder: Path) -> LoadedBundle:
    """Read a bundle, and refuse it if anything about it is not as it was written.

    Each file is read once, its digest is compared, and what was compared is what is used.
    """
    manifest = read_manifest(folder)
    files = _verified_files(folder, manifest)
    parts = {name: _parse_bundle_json(folder / name, files[name]) for name in files if name.endswith(".json")}
    state = {
        **{part: parts[f"{part}.json"] for part in _STATE_PARTS if parts[f"{part}.json"] is not None},
        **_table(parts[_REMAINING_STATE_FILE], folder / _REMAINING_STATE_FILE),
        **{key: manifest[key] for key in (_VERSION,) if key in manifest},
    }
    _validate_state(folder, {_MANIFEST: manifest, **parts}, state)
    card = files["card.md"].decode("utf-8", errors="replace")
    return LoadedBundle(state, manifest, parts["evaluation.json"], card, folder, profile=parts.get(_PROFILE))


def _table(content: Any, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise BundleError(f"{path}: not the rest of a model. Fetch the bundle again, or train again.")
    return content


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a bundle says about itself, without reading the bundle."""
    path = folder / _MANIFEST
    if not path.exists():
        raise BundleError(f"{folder}: no model bundle there (no {_MANIFEST}). See `repurchase models list`.")
    content = _read_bundle_file(path)
    manifest: dict[str, Any] = _parse_bundle_json(path, content)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if not isinstance(schema, int) or not isinstance(manifest.get("files"), dict):
        raise BundleError(f"{path}: not a manifest of a model bundle. Fetch the bundle again, or train again.")
    if schema > _SCHEMA:
        raise BundleError(
            f"{folder}: bundle schema {schema}; repurchase {repurchase.__version__} reads up to {_SCHEMA}. "
            f"Install repurchase {manifest.get('repurchase_version', 'newer')} or train again."
        )
    if schema < _SCHEMA:
        raise BundleError(
            f"{folder}: bundle schema {schema}, which repurchase {repurchase.__version__} no longer reads. "
            f"Train again, or install repurchase {manifest.get('repurchase_version', 'of that time')}."
        )
    if content != json_bytes(manifest, name=_MANIFEST) or manifest.get(MANIFEST_DIGEST_KEY) != _manifest_digest(
        manifest
    ):
        raise BundleError(_changed_file_message(path))
    return manifest


def _verified_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    listed: dict[str, str] = manifest["files"]
    there = {path.name for path in folder.iterdir()} - {_MANIFEST}
    missing = sorted((set(listed) | set(_REQUIRED_FILES)) - there)
    if missing:
        raise BundleError(f"{folder}: {len(missing)} files are missing: {first_few(missing)}. Fetch the bundle again.")
    unlisted = sorted(there - set(listed))
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
    return f"{path}: changed since it was written (SHA-256 differs). Fetch the bundle again, or train again."


def _read_bundle_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_JSON_BYTES:
            found = f"{size:,} bytes" if path.is_file() else "no regular file"
            raise BundleError(f"{path}: {found}; no training writes such a file. Fetch the bundle again.")
        return path.read_bytes()
    except OSError as fault:
        raise BundleError(f"{path} cannot be read: {fault.strerror}.") from fault


def _parse_bundle_json(path: Path, content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError as fault:  # includes bytes that are not UTF-8
        raise BundleError(f"{path}: not readable as JSON ({fault}). Restore it or fetch the bundle again.") from fault


def model_card(
    *,
    version: str,
    as_of: str,
    horizons: Iterable[int],
    orders: Mapping[str, Any],
    cleaning: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> str:
    """Write the card of a model."""
    ahead = ", ".join(str(days) for days in horizons)
    blocks = [
        f"# repurchase, version {version}",
        f"Knows orders up to {as_of}. Says who buys again within {ahead} days, who does not, and what they spend.",
        "## Data",
        *_bullets(_data_section(orders, cleaning)),
        "## Grade",
        f"Grade **{evaluation.get('grade', '-')}**. {evaluation.get('grade_words', 'This model was not judged.')}",
        *_bullets([*_gains_section(evaluation), *_as_sentences(evaluation, "reasons")]),
        "## Limits",
        *_bullets([*_as_sentences(evaluation, "limits"), *_GENERAL_LIMITS]),
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
                f"{days} days: log loss {model['log_loss']:.4f}, {abs(gain) * 100:.1f} % {better} than the best rule."
            )
        elif horizon.get("why_not_judged"):
            lines.append(f"{days} days: not judged. {horizon['why_not_judged']}")
    return lines


def _as_sentences(evaluation: Mapping[str, Any], key: str) -> list[str]:
    return [str(sentence) for sentence in evaluation.get(key, [])]


def _bullets(sentences: Iterable[str]) -> list[str]:
    lines = [f"- {sentence}" for sentence in sentences]
    return ["\n".join(lines)] if lines else []


CLEANING_SETTINGS = ("columns", "timezone", "currency", "date_order", "duplicates", "returns")


def cleaning_settings(settings: Settings) -> dict[str, Any]:
    """Take from the settings what decides how orders are cleaned."""
    given = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name in CLEANING_SETTINGS}
    return {**given, "columns": dict(settings.columns)}


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a training run leaves behind."""

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
        """Say what the bundle's manifest should know."""
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
        return model_card(
            version=version,
            as_of=self.as_of.isoformat(),
            horizons=self.horizons,
            orders=self.orders,
            cleaning=self.cleaning,
            evaluation=self.evaluation,
        )
