"""A training run in MLflow: parameters, metrics, pictures, and the bundle as a registered version."""

import logging
import shutil
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import repurchase
from repurchase.errors import DeliveryError
from repurchase.registry.bundle import SELF as MANIFEST_DIGEST
from repurchase.registry.bundle import load_bundle, save_bundle
from repurchase.registry.carrier import write_carrier
from repurchase.registry.disk import clear_partial, json_bytes, locked, partial_sibling
from repurchase.registry.figures import columns_read, run_metrics
from repurchase.registry.pending import settle_pending
from repurchase.registry.registrations import register_pending, registrations, write_registration
from repurchase.registry.store import BUNDLE, MODEL, Store, current, database_of, mlflow_faults, open_store
from repurchase.registry.training import Training
from repurchase.storage.publishing import sync_folder
from repurchase.storage.redaction import redacted, redacted_json

__all__ = ["Training", "keep_training", "log_training", "register"]

logger = logging.getLogger(__name__)

COMPLETE = "complete"
LONGEST_PARAM = 6000
METRICS_PER_BATCH = 500
LONGEST_DATASET_DIGEST = 36


@dataclass(frozen=True)
class _Place:
    """Where a model will be in MLflow."""

    run_id: str
    model_id: str
    version: str


def log_training(store: Store, training: Training) -> str:
    """Log a run, register the model, and put the very same bundle into ``models/<version>/``.

    The bundle appears as the last step: a killed run leaves no version behind that could be scored with.

    Parameters
    ----------
    store : Store
        Where to log.
    training : Training
        What there is to keep.

    Returns
    -------
    str
        The version, a number that neither MLflow nor ``models/`` had.

    Raises
    ------
    BundleError
        If the model cannot be written down.
    DeliveryError
        If MLflow or the disk refuses; the run is then marked as failed, and the version is taken back.
    """
    models = store.home / "models"
    register_pending(store)
    with locked(models):
        with mlflow_faults(store.uri, "No version was added to models/."), ExitStack() as undo:
            clear_partial(models)
            _settle_leftovers(store, models)
            place = _begin(store, training, undo, taken=max(map(int, _numbers(models)), default=0))
            staging = partial_sibling(models / place.version)
            undo.callback(shutil.rmtree, staging, ignore_errors=True)
            bundle = _save(training, place.version, staging / "bundle")
            _log(store, training, place, bundle, staging)
            bundle.rename(models / place.version)
            sync_folder(models)
            undo.pop_all()
        shutil.rmtree(staging, ignore_errors=True)
        _finish(store, place)
    logger.info("Version %s of model %s is in %s and in MLflow.", place.version, MODEL, models / place.version)
    settle_pending(store)
    return place.version


def keep_training(home: Path, training: Training) -> str:
    """Keep a trained model: in ``models/`` and in MLflow, or in ``models/`` alone until MLflow can be reached.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/`` and ``mlruns/``.
    training : Training
        What there is to keep.

    Returns
    -------
    str
        The version. Where it is not in MLflow yet, a warning says why; whatever reaches the store next registers it.

    Raises
    ------
    BundleError
        If the model cannot be written down.
    DeliveryError
        If the disk refuses.
    """
    try:
        return log_training(open_store(home), training)
    except DeliveryError as fault:
        version, path = _keep_locally(home.resolve(), training)
        logger.warning(
            "Version %s is kept in models/ and is not in MLflow yet: %s It waits in %s; the next train, score, monitor "
            "or campaign that reaches the store registers it.",
            version,
            fault,
            path,
        )
        return version


def _keep_locally(home: Path, training: Training) -> tuple[str, Path]:
    models = home / "models"
    with locked(models):
        clear_partial(models)
        version = str(1 + max(map(int, _numbers(models)), default=0))
        # The record comes first: one without a bundle is dropped, a bundle without one would never be registered.
        path = write_registration(home, version, _as_record(training))
        staging = partial_sibling(models / version)
        try:
            _save(training, version, staging / "bundle").rename(models / version)
            sync_folder(models)
        except OSError as fault:
            raise DeliveryError(f"{models / version} cannot be written: {fault.strerror}.") from fault
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return version, path.relative_to(home)


def _as_record(training: Training) -> dict[str, Any]:
    return {
        "as_of": training.as_of.isoformat(),
        "horizons": list(training.horizons),
        "orders": dict(training.orders),
        "cleaning": dict(training.cleaning),
        "params": {key: str(value) for key, value in training.params.items()},
        "pictures": {name: b64encode(picture).decode() for name, picture in training.pictures.items()},
    }


def register(store: Store, version: str, record: Mapping[str, Any]) -> None:
    """Log the training of a version that was kept while MLflow was away, and register its bundle.

    Parameters
    ----------
    store : Store
        Where to log.
    version : str
        Its number in ``models/``; where MLflow's has to be another, MLflow's version names the bundle by its digest.
    record : mapping
        What was known of its training.

    Raises
    ------
    BundleError
        If its bundle is gone or damaged.
    DeliveryError
        If MLflow or the disk refuses.
    """
    models = store.home / "models"
    loaded = load_bundle(models / version)
    pictures = {name: b64decode(picture) for name, picture in record["pictures"].items()}
    known = {**record, "as_of": date.fromisoformat(record["as_of"]), "horizons": tuple(record["horizons"])}
    training = Training(**{**known, "pictures": pictures}, state=loaded.state, evaluation=loaded.evaluation)
    with locked(models), mlflow_faults(store.uri, "It waits to be registered."), ExitStack() as undo:
        _settle_leftovers(store, models)
        place = _begin(store, training, undo, taken=int(version) - 1)
        staging = partial_sibling(models / version)
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        bundle = Path(shutil.copytree(models / version, staging / "bundle"))
        _log(store, training, place, bundle, staging, card=loaded.card)
        if place.version != version:
            digest = str(loaded.manifest[MANIFEST_DIGEST])
            store.client.set_model_version_tag(MODEL, place.version, BUNDLE, digest)
        undo.pop_all()
        shutil.rmtree(staging, ignore_errors=True)
        _finish(store, place)
    logger.info("Version %s is in MLflow now, as version %s of model %s.", version, place.version, MODEL)


def _numbers(models: Path) -> list[str]:
    return [path.name for path in models.iterdir() if path.name.isdecimal()]


def _begin(store: Store, training: Training, undo: ExitStack, *, taken: int) -> _Place:
    """Begin a run and take a version, both of which ``undo`` takes back."""
    run_id = _start_run(store, training)
    undo.callback(store.client.set_terminated, run_id, "FAILED")
    place = _reserve(store, run_id, taken=taken)
    undo.callback(store.client.delete_model_version, MODEL, place.version)
    return place


def _finish(store: Store, place: _Place) -> None:
    """Say that a version is whole; it is there already, so a fault is a warning."""
    try:
        with mlflow_faults(store.uri, "The version itself is whole."):
            store.client.set_model_version_tag(MODEL, place.version, COMPLETE, "true")
            store.client.set_terminated(place.run_id, "FINISHED")
    except DeliveryError as fault:
        logger.warning("%s", fault)


def _start_run(store: Store, training: Training) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    run = store.client.create_run(
        store.experiment_id,
        run_name=f"train {training.as_of.isoformat()}",
        tags={
            "mlflow.source.name": "repurchase train",
            "mlflow.source.type": "JOB",
            "grade": str(training.evaluation.get("grade", "-")),
            "grade_words": str(training.evaluation.get("grade_words", "")),
        },
    )
    run_id: str = run.info.run_id
    store.client.log_batch(run_id, params=[Param(*pair) for pair in sorted(_params(training).items())])
    digest = str(training.orders.get("digest") or "unknown")[:LONGEST_DATASET_DIGEST]
    name = redacted(Path(str(training.orders.get("source", "orders"))).name)
    orders = Dataset(name=name, digest=digest, source_type="local", source=name)
    store.client.log_inputs(run_id, [DatasetInput(orders, [InputTag("mlflow.data.context", "training")])])
    return run_id


def _reserve(store: Store, run_id: str, *, taken: int) -> _Place:
    """Take the next number that is free in MLflow and above what is taken in ``models/``."""
    model = store.client.create_logged_model(
        store.experiment_id, name=MODEL, source_run_id=run_id, tags={"repurchase_version": repurchase.__version__}
    )
    _make_registered_model(store)
    while True:
        with current(store.uri):  # MLflow's SQL registry looks for the model in the current store
            entry = store.client.create_model_version(
                MODEL, f"models:/{model.model_id}", run_id=run_id, model_id=model.model_id, tags={COMPLETE: "false"}
            )
        if int(entry.version) > taken:
            return _Place(run_id, model.model_id, str(entry.version))
        store.client.delete_model_version(MODEL, str(entry.version))


def _make_registered_model(store: Store) -> None:
    from mlflow.exceptions import MlflowException

    if store.client.search_registered_models(f"name = '{MODEL}'"):
        return
    try:
        store.client.create_registered_model(MODEL, description="Who buys again, who leaves, what each is worth.")
    except MlflowException as fault:  # another home got there first on a shared server
        if fault.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _save(training: Training, version: str, folder: Path) -> Path:
    return save_bundle(
        training.state,
        folder,
        manifest=training.manifest(version),
        evaluation=training.evaluation,
        card=training.card(version),
        profile=training.profile,
    )


def _log(
    store: Store, training: Training, place: _Place, bundle: Path, staging: Path, *, card: str | None = None
) -> None:
    card = training.card(place.version) if card is None else card
    metadata = {"model_version": place.version, "as_of": training.as_of.isoformat()}
    carrier = write_carrier(
        bundle, staging / "carrier", run_id=place.run_id, model_id=place.model_id, metadata=metadata
    )
    store.client.log_model_artifacts(place.model_id, str(carrier))
    store.client.finalize_logged_model(place.model_id, "READY")
    _log_results(store, training, place)
    store.client.log_artifacts(place.run_id, str(_write_run_files(training, card, staging / "run")))
    store.client.update_model_version(MODEL, place.version, description=card)


def _log_results(store: Store, training: Training, place: _Place) -> None:
    from mlflow.entities import LoggedModelOutput

    store.client.log_outputs(place.run_id, [LoggedModelOutput(place.model_id, step=0)])
    metrics = run_metrics(training.evaluation, model_id=place.model_id)
    for first in range(0, len(metrics), METRICS_PER_BATCH):
        store.client.log_batch(place.run_id, metrics=metrics[first : first + METRICS_PER_BATCH])
    about = training.manifest(place.version)
    for key in ("as_of", "grade"):
        store.client.set_model_version_tag(MODEL, place.version, key, str(about[key]))


def _settle_leftovers(store: Store, models: Path) -> None:
    """Take back versions that a killed run reserved; not in a shared store, where they may be another home's."""
    waiting = registrations(store.home)
    database = database_of(store.uri)
    if database is None or database.parent.parent != store.home:
        return
    for entry in store.client.search_model_versions(f"name = '{MODEL}' and tags.{COMPLETE} = 'false'"):
        version = str(entry.version)
        if (models / version).is_dir() and version not in waiting:
            store.client.set_model_version_tag(MODEL, version, COMPLETE, "true")
        else:
            store.client.delete_model_version(MODEL, version)


def _params(training: Training) -> dict[str, str]:
    known = {
        "as_of": training.as_of.isoformat(),
        "horizons": " ".join(str(days) for days in training.horizons),
        "data_digest": training.orders.get("digest"),
        "layout": training.orders.get("layout"),
        "columns": columns_read(training.orders),
        "repurchase_version": repurchase.__version__,
    }
    return {key: redacted(str(value))[:LONGEST_PARAM] for key, value in {**known, **training.params}.items()}


def _write_run_files(training: Training, card: str, folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    for name in ("cleaning", "evaluation"):
        (folder / f"{name}.json").write_bytes(json_bytes(getattr(training, name), name=f"{name}.json"))
    if training.orders.get("reading"):
        (folder / "reading.json").write_bytes(
            json_bytes(redacted_json(training.orders["reading"]), name="reading.json")
        )
    (folder / "card.md").write_text(card, encoding="utf-8")
    for name, picture in training.pictures.items():
        (folder / "pictures" / f"{name.removesuffix('.png')}.png").write_bytes(picture)
    return folder
