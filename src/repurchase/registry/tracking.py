"""A training run in MLflow: parameters, metrics, pictures, and the bundle as a registered version."""

import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import repurchase
from repurchase.registry.bundle import save_bundle
from repurchase.registry.card import model_card
from repurchase.registry.carrier import write_carrier
from repurchase.registry.disk import clear_partial, json_bytes, locked, partial_sibling
from repurchase.registry.figures import run_metrics
from repurchase.registry.pending import settle_pending
from repurchase.registry.scoring import cleaning_settings
from repurchase.registry.store import MODEL, Store, current, database_of, mlflow_faults
from repurchase.settings import Settings

__all__ = ["Training", "log_training"]

logger = logging.getLogger(__name__)

COMPLETE = "complete"
LONGEST_PARAM = 6000
METRICS_PER_BATCH = 500
LONGEST_DATASET_DIGEST = 36


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training run leaves behind.

    Parameters
    ----------
    state : mapping
        The fitted model, ``RepurchaseModel.to_state()``.
    as_of : date
        Last day the model saw.
    horizons : tuple of int
        Days ahead it speaks about.
    orders : mapping
        What is known of the orders, as in a run's ``orders``: ``source``, ``digest``, ``layout``, days and counts.
    cleaning : mapping
        ``CleaningReport.to_dict()``.
    evaluation : mapping
        How the model was judged.
    settings : Settings
        What the run was asked to do.
    params : mapping, optional
        Further parameters to show in MLflow.
    pictures : mapping of str to bytes, optional
        PNG files by name.
    profile : mapping, optional
        What the orders looked like (see ``evaluation.profile``).
    """

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
        """Say what the bundle's manifest should know.

        Parameters
        ----------
        version : str
            The model's version.

        Returns
        -------
        dict
            JSON-able.
        """
        return {
            "model_version": version,
            "as_of": self.as_of.isoformat(),
            "horizons": list(self.horizons),
            "data_digest": self.orders.get("digest"),
            "grade": self.evaluation.get("grade", "-"),
            "settings": cleaning_settings(self.settings),
        }

    def card(self, version: str) -> str:
        """Write the model card.

        Parameters
        ----------
        version : str
            The model's version.

        Returns
        -------
        str
            Markdown.
        """
        return model_card(
            version=version,
            as_of=self.as_of.isoformat(),
            horizons=self.horizons,
            orders=self.orders,
            cleaning=self.cleaning,
            evaluation=self.evaluation,
        )


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
    with locked(models), mlflow_faults(store.uri, "No version was added to models/."), ExitStack() as undo:
        clear_partial(models)
        _settle_leftovers(store, models)
        run_id = _start_run(store, training)
        undo.callback(store.client.set_terminated, run_id, "FAILED")
        place = _reserve(store, run_id, models)
        version = place.version
        undo.callback(store.client.delete_model_version, MODEL, version)
        staging = partial_sibling(models / version)
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        bundle = _write_and_log(store, training, place, staging)
        bundle.rename(models / version)
        undo.pop_all()
        shutil.rmtree(staging)
        store.client.set_model_version_tag(MODEL, version, COMPLETE, "true")
        store.client.set_terminated(run_id, "FINISHED")
    logger.info("Version %s of model %s is in %s and in MLflow.", version, MODEL, models / version)
    settle_pending(store)
    return version


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
    name = Path(str(training.orders.get("source", "orders"))).name
    orders = Dataset(name=name, digest=digest, source_type="local", source=name)
    store.client.log_inputs(run_id, [DatasetInput(orders, [InputTag("mlflow.data.context", "training")])])
    return run_id


def _reserve(store: Store, run_id: str, models: Path) -> _Place:
    """Take the next number that is free in MLflow and in ``models/``, which may be older or newer than it."""
    model = store.client.create_logged_model(
        store.experiment_id, name=MODEL, source_run_id=run_id, tags={"repurchase_version": repurchase.__version__}
    )
    taken = max((int(path.name) for path in models.iterdir() if path.name.isdecimal()), default=0)
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


def _write_and_log(store: Store, training: Training, place: _Place, staging: Path) -> Path:
    card = training.card(place.version)
    bundle = save_bundle(
        training.state,
        staging / "bundle",
        manifest=training.manifest(place.version),
        evaluation=training.evaluation,
        card=card,
        profile=training.profile,
    )
    metadata = {"model_version": place.version, "as_of": training.as_of.isoformat()}
    carrier = write_carrier(
        bundle, staging / "carrier", run_id=place.run_id, model_id=place.model_id, metadata=metadata
    )
    store.client.log_model_artifacts(place.model_id, str(carrier))
    store.client.finalize_logged_model(place.model_id, "READY")
    _log_results(store, training, place)
    store.client.log_artifacts(place.run_id, str(_write_run_files(training, card, staging / "run")))
    store.client.update_model_version(MODEL, place.version, description=card)
    return bundle


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
    database = database_of(store.uri)
    if database is None or database.parent.parent != store.home:
        return
    for entry in store.client.search_model_versions(f"name = '{MODEL}' and tags.{COMPLETE} = 'false'"):
        version = str(entry.version)
        if (models / version).is_dir():
            store.client.set_model_version_tag(MODEL, version, COMPLETE, "true")
        else:
            store.client.delete_model_version(MODEL, version)


def _params(training: Training) -> dict[str, str]:
    known = {
        "as_of": training.as_of.isoformat(),
        "horizons": " ".join(str(days) for days in training.horizons),
        "data_digest": training.orders.get("digest"),
        "layout": training.orders.get("layout"),
        "repurchase_version": repurchase.__version__,
    }
    return {key: str(value)[:LONGEST_PARAM] for key, value in {**known, **training.params}.items()}


def _write_run_files(training: Training, card: str, folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    for name in ("cleaning", "evaluation"):
        (folder / f"{name}.json").write_bytes(json_bytes(getattr(training, name), name=f"{name}.json"))
    (folder / "card.md").write_text(card, encoding="utf-8")
    for name, picture in training.pictures.items():
        (folder / "pictures" / f"{name.removesuffix('.png')}.png").write_bytes(picture)
    return folder
