"""A fitted model as a folder of plain files that is read without running any of it.

::

    models/3/
      manifest.json     versions, horizons, as_of, digest of the orders, SHA-256 of every other file and of itself
      btyd.json         parameters of BG/NBD and Gamma-Gamma
      calibration.json  curves, trees, levels, seasons and ranges, all as numbers
      tiers.json        thresholds learned in `fit`
      model.json        the rest: settings, horizons, notes
      evaluation.json   how the model was judged
      profile.json      what its orders looked like, to tell drift; may be absent
      card.md           data, grade and limits in words

The digests guard against damage and mix-ups, not against someone who writes a whole new bundle. That such a bundle
cannot run code is what the formats are for, and that its numbers are possible is checked; see ``bundle_schema``.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import repurchase
from repurchase.errors import BundleError, DeliveryError, first_few
from repurchase.registry.bundle_schema import require_sound
from repurchase.registry.disk import (
    MOST_BYTES,
    clear_partial,
    json_bytes,
    locked,
    parse_json,
    partial_sibling,
    sha256,
)
from repurchase.storage.publishing import sync_folder

__all__ = ["LoadedBundle", "load_bundle", "read_manifest", "save_bundle"]

SCHEMA = 2
MANIFEST = "manifest.json"
PROFILE = "profile.json"
PARTS = ("btyd", "calibration", "tiers")
REST = "model.json"
PLAIN = (*(f"{part}.json" for part in PARTS), REST, "evaluation.json", "card.md")
DEPENDENCIES = ("numpy", "polars", "scikit-learn", "scipy")
SELF = "manifest_sha256"
VERSION = "model_version"


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle that passed every check.

    Parameters
    ----------
    state : dict
        What the model is made of; ``RepurchaseModel.from_state`` takes it.
    manifest : dict
        ``manifest.json``.
    evaluation : dict
        ``evaluation.json``.
    card : str
        ``card.md``.
    folder : Path
        Where it was read.
    profile : dict, optional
        ``profile.json``; None where the bundle was kept without one.
    """

    state: dict[str, Any]
    manifest: dict[str, Any]
    evaluation: dict[str, Any]
    card: str
    folder: Path
    profile: dict[str, Any] | None = None

    @property
    def version(self) -> str:
        """The model's version, as the manifest says."""
        return str(self.manifest.get(VERSION, "unregistered"))


def save_bundle(
    state: Mapping[str, Any],
    folder: Path,
    *,
    manifest: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    card: str,
    profile: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model as a bundle: all of it, or nothing.

    Parameters
    ----------
    state : mapping
        What the model is made of, JSON-able.
    folder : Path
        Where; must not exist yet. Its parent is made if need be.
    manifest : mapping
        What the caller knows: ``model_version``, ``horizons``, ``as_of``, ``data_digest`` and so on, JSON-able.
        Versions, time and digests are added here.
    evaluation : mapping
        How the model was judged.
    card : str
        The model card, Markdown.
    profile : mapping, optional
        What the model's orders looked like (see ``evaluation.profile``).

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    BundleError
        If the folder exists, or a part of the state is no plain JSON value.
    DeliveryError
        If the disk refuses.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already; a version is written once. Choose another name or remove it.")
    files = _contents(state, evaluation, card, profile)
    files[MANIFEST] = _manifest_bytes(manifest, files)
    with locked(folder.parent):
        clear_partial(folder.parent)
        _write_folder(folder, files)
    return folder


def _contents(
    state: Mapping[str, Any], evaluation: Mapping[str, Any], card: str, profile: Mapping[str, Any] | None
) -> dict[str, bytes]:
    parts = {f"{part}.json": state.get(part) for part in PARTS}
    parts[REST] = {key: value for key, value in state.items() if key not in PARTS}
    parts["evaluation.json"] = evaluation
    if profile is not None:
        parts[PROFILE] = profile
    files = {name: json_bytes(value, name=name) for name, value in parts.items()}
    files["card.md"] = card.encode("utf-8")
    return files


def _manifest_bytes(given: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    manifest = {
        "schema": SCHEMA,
        "repurchase_version": repurchase.__version__,
        "dependencies": {name: installed_version(name) for name in DEPENDENCIES},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **given,
        "files": {name: sha256(content) for name, content in sorted(files.items())},
    }
    return json_bytes({**manifest, SELF: _self_digest(manifest)}, name=MANIFEST)


def _self_digest(manifest: Mapping[str, Any]) -> str:
    return sha256(json_bytes({key: value for key, value in manifest.items() if key != SELF}, name=MANIFEST))


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    partial = partial_sibling(folder)
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

    Parameters
    ----------
    folder : Path
        A folder that `save_bundle` wrote.

    Returns
    -------
    LoadedBundle
        The parts of the model and what is known about it.

    Raises
    ------
    BundleError
        If a file is missing, changed or not listed, or the schema is newer.

    Examples
    --------
    >>> load_bundle(Path("models/999"))
    Traceback (most recent call last):
        ...
    repurchase.errors.BundleError: models/999: no model bundle there (no manifest.json). See `repurchase models list`.
    """
    manifest = read_manifest(folder)
    files = _verified_files(folder, manifest)
    parts = {name: _parse(folder / name, files[name]) for name in files if name.endswith(".json")}
    state = {
        **{part: parts[f"{part}.json"] for part in PARTS if parts[f"{part}.json"] is not None},
        **_table(parts[REST], folder / REST),
        **{key: manifest[key] for key in (VERSION,) if key in manifest},
    }
    require_sound(folder, {MANIFEST: manifest, **parts}, state)
    card = files["card.md"].decode("utf-8", errors="replace")
    return LoadedBundle(state, manifest, parts["evaluation.json"], card, folder, profile=parts.get(PROFILE))


def _table(content: Any, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise BundleError(f"{path}: not the rest of a model. Fetch the bundle again, or train again.")
    return content


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a bundle says about itself, without reading the bundle.

    Parameters
    ----------
    folder : Path
        A folder that `save_bundle` wrote.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    BundleError
        If there is none, it was changed, or a newer version of this package wrote it.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise BundleError(f"{folder}: no model bundle there (no {MANIFEST}). See `repurchase models list`.")
    content = _read(path)
    manifest: dict[str, Any] = _parse(path, content)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if not isinstance(schema, int) or not isinstance(manifest.get("files"), dict):
        raise BundleError(f"{path}: not a manifest of a model bundle. Fetch the bundle again, or train again.")
    if schema > SCHEMA:
        raise BundleError(
            f"{folder}: bundle schema {schema}; repurchase {repurchase.__version__} reads up to {SCHEMA}. "
            f"Install repurchase {manifest.get('repurchase_version', 'newer')} or train again."
        )
    if schema < SCHEMA:
        raise BundleError(
            f"{folder}: bundle schema {schema}, which repurchase {repurchase.__version__} no longer reads. "
            f"Train again, or install repurchase {manifest.get('repurchase_version', 'of that time')}."
        )
    if content != json_bytes(manifest, name=MANIFEST) or manifest.get(SELF) != _self_digest(manifest):
        raise BundleError(_changed(path))
    return manifest


def _verified_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    listed: dict[str, str] = manifest["files"]
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    missing = sorted((set(listed) | set(PLAIN)) - there)
    if missing:
        raise BundleError(f"{folder}: {len(missing)} files are missing: {first_few(missing)}. Fetch the bundle again.")
    unlisted = sorted(there - set(listed))
    if unlisted:
        raise BundleError(
            f"{folder}: {len(unlisted)} files that the manifest does not list: {first_few(unlisted)}. "
            "Remove them if you put them there; otherwise do not trust this bundle."
        )
    files = {name: _read(folder / name) for name in listed}
    for name, content in files.items():
        if sha256(content) != listed[name]:
            raise BundleError(_changed(folder / name))
    return files


def _changed(path: Path) -> str:
    return f"{path}: changed since it was written (SHA-256 differs). Fetch the bundle again, or train again."


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            found = f"{size:,} bytes" if path.is_file() else "no regular file"
            raise BundleError(f"{path}: {found}; no training writes such a file. Fetch the bundle again.")
        return path.read_bytes()
    except OSError as fault:
        raise BundleError(f"{path} cannot be read: {fault.strerror}.") from fault


def _parse(path: Path, content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError as fault:  # includes bytes that are not UTF-8
        raise BundleError(f"{path}: not readable as JSON ({fault}). Restore it or fetch the bundle again.") from fault
