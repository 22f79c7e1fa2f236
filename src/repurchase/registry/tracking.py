"""Log training, scoring, campaign and monitoring runs to MLflow and register versions."""

import json
import logging
import os
import shutil
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import repurchase
from repurchase.errors import BundleError, DeliveryError, RepurchaseError
from repurchase.i18n.messages import render
from repurchase.registry.bundle import MANIFEST_DIGEST_KEY, TrainingRun, load_bundle, save_bundle
from repurchase.registry.champion import republish_aliases, version_numbers
from repurchase.registry.retry_queue import (
    RunEntry,
    columns_param,
    locked_queue,
    log_and_return_warning,
    pending_entries,
    write_entry,
)
from repurchase.registry.scoring import write_pyfunc_model
from repurchase.registry.store import (
    BUNDLE,
    MODEL,
    Store,
    active_store,
    database_of,
    experiment_of,
    mlflow_faults,
    open_existing,
    open_store,
)
from repurchase.storage.atomic_files import locked_folder, partial_sibling_path, remove_partial_siblings, sync_folder
from repurchase.storage.json_files import json_bytes, read_json
from repurchase.storage.redaction import redact, redact_json
from repurchase.validation import is_number

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


_logger = logging.getLogger("repurchase")

_MAX_METRICS_PER_BATCH = 500


# Figures


_IDENTIFYING_FIELDS = frozenset({"horizon_days", "cutoff", "predictor"})
_HORIZON_METRICS = ("n_cutoffs", "log_loss_gain", "explained")


def evaluation_metrics(evaluation: Mapping[str, Any], *, model_id: str | None = None) -> list["Metric"]:
    """Convert every figure of an evaluation to a metric that MLflow shows and compares.

    ``log_loss_90d`` is the model's mean over the cut-offs, ``past_rate/log_loss_90d`` a rule's or a part's, and
    ``backtest/model/log_loss_90d`` has one step per cut-off, timed by the cut-off's day.
    """
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    means = [Metric(key, value, now, 0, model_id=model_id) for key, value in _means(evaluation)]
    return [*means, *(Metric(*entry) for entry in _by_cutoff(evaluation))]


def _named_metrics(figures: Mapping[str, Any], *, prefix: str = "", suffix: str = "") -> Iterator[tuple[str, float]]:
    return ((f"{prefix}{key}{suffix}", float(value)) for key, value in figures.items() if is_number(value))


def _means(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for horizon in evaluation.get("horizons", []):
        suffix = f"_{horizon['horizon_days']}d"
        own = {**(horizon.get("model") or {}), **{key: horizon.get(key) for key in _HORIZON_METRICS}}
        yield from _named_metrics(own, suffix=suffix)
        for name, figures in {**(horizon.get("rules") or {}), **(horizon.get("parts") or {})}.items():
            yield from _named_metrics(figures, prefix=f"{name}/", suffix=suffix)


def _by_cutoff(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, int, int]]:
    rows = evaluation.get("backtest", [])
    for row in rows:
        days = row["horizon_days"]
        cutoffs = sorted({other["cutoff"] for other in rows if other["horizon_days"] == days})
        at = int(datetime.fromisoformat(row["cutoff"]).replace(tzinfo=UTC).timestamp() * 1000)
        figures = {key: value for key, value in row.items() if key not in _IDENTIFYING_FIELDS}
        for key, value in _named_metrics(figures, prefix=f"backtest/{row['predictor']}/", suffix=f"_{days}d"):
            yield key, value, at, cutoffs.index(row["cutoff"])


_MONITORED_METRICS = ("log_loss", "auc", "ece", "chance_ece", "excess_ece", "base_rate", "top_decile_lift")


def monitoring_metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Select the figures of a monitoring record that MLflow plots."""
    for row in record["horizons"]:
        if row["passed"]:
            figures = {name: row["model"].get(name) for name in _MONITORED_METRICS}
            figures |= {
                f"{name}_{side}": (row.get(name) or {}).get(side)
                for name in ("orders", "spend")
                for side in ("expected", "came")
            }
            figures |= {name: row.get(name) for name in ("p_mean", "bought_share", "log_loss_gain")}
            yield from _named_metrics(figures, prefix="since/", suffix=f"_{row['horizon_days']}d")
    drift = record["drift"]
    if drift["known"]:
        shifts = {"psi_max": drift["psi_max"], **{f"psi/{row['feature']}": row["psi"] for row in drift["features"]}}
        yield from _named_metrics(shifts, prefix="drift/")
    yield "retrain", float(record["advice"]["retrain"])


# The queue


def log_pending(store: Store) -> int:
    """Log every entry of the queue, each once, and remove its file; return the number of runs logged."""
    _register_pending(store)
    if not pending_entries(store.home, "run"):
        return 0
    with locked_queue(store.home), mlflow_faults(store.uri, "Runs wait to be logged."):
        return sum(_log_run_file(store, path) for path in pending_entries(store.home, "run"))


def try_log_pending(store: Store) -> None:
    """Log every entry of the queue after another job's own run; a fault is a warning."""
    try:
        log_pending(store)
    except DeliveryError as fault:
        log_and_return_warning(f"Runs that wait were not logged: {fault}")


def _register_pending(store: Store) -> None:
    """Register versions that were trained without MLflow, and let it learn of changed aliases."""
    if not (pending_entries(store.home, "registration") or pending_entries(store.home, "alias change")):
        return
    with locked_queue(store.home):
        registered = [_register_version(store, path) for path in pending_entries(store.home, "registration")]
        changes = pending_entries(store.home, "alias change")
        if any(registered) or changes:
            republish_aliases(store, [_read_alias_tags(path) for path in changes])
        for path in changes:
            path.unlink(missing_ok=True)


def _register_version(store: Store, path: Path) -> bool:
    version = path.stem
    if not (store.home / "models" / version).is_dir():
        _logger.warning("Version %s is no longer in models/; it is not registered.", version)
        path.unlink(missing_ok=True)
        return False
    try:
        _register_saved_version(store, version, read_json(path)["training"])
    except (BundleError, OSError, ValueError, KeyError, TypeError) as fault:
        _logger.warning("Version %s cannot be registered (%s); %s is left there.", version, fault, path)
        return False
    path.unlink(missing_ok=True)
    return True


def _read_alias_tags(path: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(read_json(path)["tags"])
    except (OSError, ValueError, KeyError, TypeError):
        _logger.warning("%s is no record of changed aliases; their times are not known.", path)
        return {}


def _log_run_file(store: Store, path: Path) -> bool:
    try:
        entry = RunEntry.from_record(read_json(path))
    except (OSError, ValueError) as fault:
        _logger.warning("%s is no record of a run that this version knows (%s); it is left there.", path, fault)
        return False
    _log_run(store, entry)
    path.unlink()
    return True


def _log_run(store: Store, entry: RunEntry) -> str:
    """Log a run, or finish one that a killed process began: its key is a tag from the start."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = experiment_of(store, entry.experiment)
    run, is_done = _find_run(store, experiment, entry)
    if run is not None and is_done:
        return str(run.info.run_id)
    tags = {
        "mlflow.source.name": entry.source,
        "mlflow.source.type": "JOB",
        _RUN_KEY_TAG: entry.run_key,
        **entry.tags,
    }
    if entry.subject:
        tags |= {_SUBJECT_TAG: entry.subject, _TRACKED_AT_TAG: entry.tracked_at, _STEP_TAG: str(entry.step)}
    begun = _milliseconds(entry.created_at)
    run = run or store.client.create_run(experiment, start_time=begun, run_name=entry.run_name, tags=tags)
    run_id = str(run.info.run_id)
    store.client.update_run(run_id, status="RUNNING")
    at = _milliseconds(entry.tracked_at)
    figures = sorted((key, value) for key, value in entry.metrics.items() if value is not None)
    _log_metrics(store, run_id, [Metric(key, value, at, entry.step) for key, value in figures])
    params = [Param(key, value) for key, value in sorted(entry.params.items())]
    store.client.log_batch(run_id, params=params, tags=[RunTag(*tag) for tag in sorted(tags.items())])
    for file, content in entry.artifacts.items():
        store.client.log_text(run_id, json.dumps(content, indent=1, ensure_ascii=False), file)
    store.client.set_terminated(run_id, "FINISHED", end_time=begun + round(1000 * entry.seconds))
    return run_id


_RUN_KEY_TAG, _SUBJECT_TAG, _TRACKED_AT_TAG, _STEP_TAG = "run_key", "subject", "tracked_at", "step"


def _find_run(store: Store, experiment: str, entry: RunEntry) -> tuple["Run | None", bool]:
    """Find the run to resume, if there is one, and whether nothing is left to do."""
    tag, value = (_SUBJECT_TAG, entry.subject) if entry.subject else (_RUN_KEY_TAG, entry.run_key)
    for run in store.client.search_runs([experiment], filter_string=f"tags.{tag} = '{value}'"):
        params, tags = run.data.params, run.data.tags
        if tags.get(_RUN_KEY_TAG) == entry.run_key:
            return run, run.info.status == "FINISHED"
        if any(params.get(name, value) != value for name, value in entry.params.items()):
            continue  # a parameter cannot be changed: it has a run of its own
        return run, (int(tags[_STEP_TAG]), tags[_TRACKED_AT_TAG]) > (entry.step, entry.tracked_at)
    return None, False


def _log_metrics(store: Store, run_id: str, metrics: list["Metric"]) -> None:
    for first in range(0, len(metrics), _MAX_METRICS_PER_BATCH):
        store.client.log_batch(run_id, metrics=metrics[first : first + _MAX_METRICS_PER_BATCH])


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


_MIN_LOG_SECONDS = 5.0
_TIMEOUT_EXIT_CODE = 75


def _log_pending_main(arguments: list[str]) -> int:
    home, seconds = Path(arguments[0]), float(arguments[1])
    # The parent process may have ended: a store that never answers must not keep this one for ever.
    timeout = threading.Timer(max(seconds, _MIN_LOG_SECONDS), os._exit, (_TIMEOUT_EXIT_CODE,))
    timeout.daemon = True
    timeout.start()
    try:
        store = open_existing(home)
        if store is not None:
            log_pending(store)
    except RepurchaseError as fault:
        sys.stderr.write(f"{' '.join(str(fault).split())}\n")
        return 2
    return 0


def log_monitoring(home: Path, record: Mapping[str, Any]) -> str | None:
    """Log a record of `repurchase monitor`; return the run's id, or None without a store."""
    store = open_existing(home)
    if store is None:
        return None
    entry = RunEntry(
        source="repurchase monitor",
        run_name=f"monitor {record['as_of']}",
        created_at=datetime.now(UTC).isoformat(),
        params={},
        metrics=dict(monitoring_metrics(record)),
        tags={
            "model_version": str(record["model_version"]),
            "observed_until": str(record["observed_until"]),
            "retrain": str(record["advice"]["retrain"]).lower(),
            "advice": render(record["advice"]["words"], locale="en"),
        },
        artifacts={"monitor.json": record},
    )
    content = entry.record()
    path, _ = write_entry(store.home, "run", entry.run_key, content)
    with locked_queue(store.home), mlflow_faults(store.uri, "It waits to be logged."):
        run_id = _log_run(store, RunEntry.from_record(content))
        path.unlink(missing_ok=True)
    try_log_pending(store)
    return run_id


# Trained models


_COMPLETE_TAG = "complete"
_MAX_PARAM_LENGTH = 6000
_MAX_DATASET_DIGEST_LENGTH = 36


@dataclass(frozen=True)
class _ReservedVersion:
    """Where a model will be in MLflow, and where its files are made ready."""

    run_id: str
    model_id: str
    version: str
    staging: Path


def log_training(store: Store, training: TrainingRun) -> str:
    """Log a run, register the model, and put the very same bundle into ``models/<version>/``.

    The bundle appears as the last step: a killed run leaves no version behind that could be scored with.
    """
    models = store.home / "models"
    _register_pending(store)
    with (
        locked_folder(models),
        _reserved_version(
            store, training, taken=_last_version(store.home), outcome="No version was added to models/."
        ) as place,
    ):
        bundle = _save_training_bundle(training, place.version, place.staging / "bundle")
        _log_model_files(store, training, place, bundle)
        bundle.rename(models / place.version)
        sync_folder(models)
    _logger.info("Version %s of model %s is in %s and in MLflow.", place.version, MODEL, models / place.version)
    try_log_pending(store)
    return place.version


def save_training(home: Path, training: TrainingRun) -> str:
    """Keep a trained model: in ``models/`` and in MLflow, or in ``models/`` alone until MLflow can be reached."""
    try:
        return log_training(open_store(home), training)
    except DeliveryError as fault:
        version, path = _save_locally(home.resolve(), training)
        _logger.warning(
            "Version %s is kept in models/ and is not in MLflow yet: %s It waits in %s; the next train, score, monitor "
            "or campaign that reaches the store registers it.",
            version,
            fault,
            path,
        )
        return version


def _save_locally(home: Path, training: TrainingRun) -> tuple[str, Path]:
    models = home / "models"
    with locked_folder(models):
        remove_partial_siblings(models)
        version = str(1 + _last_version(home))
        # The entry is written first: one without a bundle is dropped, a bundle without one would never be registered.
        entry = {"version": version, "training": _to_record(training)}
        path, _ = write_entry(home, "registration", version, entry)
        staging = partial_sibling_path(models / version)
        try:
            _save_training_bundle(training, version, staging / "bundle").rename(models / version)
            sync_folder(models)
        except OSError as fault:
            raise DeliveryError(f"{models / version} cannot be written: {fault.strerror}.") from fault
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return version, path.relative_to(home)


def _to_record(training: TrainingRun) -> dict[str, Any]:
    return {
        "as_of": training.as_of.isoformat(),
        "horizons": list(training.horizons),
        "orders": dict(training.orders),
        "cleaning": dict(training.cleaning),
        "params": {key: str(value) for key, value in training.params.items()},
        "pictures": {name: b64encode(picture).decode() for name, picture in training.pictures.items()},
    }


def _register_saved_version(store: Store, version: str, record: Mapping[str, Any]) -> None:
    """Log the training of a version that was saved while MLflow could not be reached, and register its bundle."""
    models = store.home / "models"
    loaded = load_bundle(models / version)
    pictures = {name: b64decode(picture) for name, picture in record["pictures"].items()}
    known = {**record, "as_of": date.fromisoformat(record["as_of"]), "horizons": tuple(record["horizons"])}
    training = TrainingRun(**{**known, "pictures": pictures}, state=loaded.state, evaluation=loaded.evaluation)
    with (
        locked_folder(models),
        _reserved_version(store, training, taken=int(version) - 1, outcome="It waits to be registered.") as place,
    ):
        bundle = Path(shutil.copytree(models / version, place.staging / "bundle"))
        _log_model_files(store, training, place, bundle)
        if place.version != version:
            digest = str(loaded.manifest[MANIFEST_DIGEST_KEY])
            store.client.set_model_version_tag(MODEL, place.version, BUNDLE, digest)
    _logger.info("Version %s is in MLflow now, as version %s of model %s.", version, place.version, MODEL)


def _last_version(home: Path) -> int:
    return max(map(int, version_numbers(home)), default=0)


@contextmanager
def _reserved_version(store: Store, training: TrainingRun, *, taken: int, outcome: str) -> Iterator[_ReservedVersion]:
    """Begin a run and reserve a version; a fault takes both back. Call it with models/ locked."""
    models = store.home / "models"
    with mlflow_faults(store.uri, outcome), ExitStack() as undo:
        remove_partial_siblings(models)
        _clean_up_incomplete_versions(store, models)
        run_id = _start_run(store, training)
        undo.callback(store.client.set_terminated, run_id, "FAILED")
        place = _reserve_version(store, run_id, taken=taken)
        undo.callback(store.client.delete_model_version, MODEL, place.version)
        undo.callback(shutil.rmtree, place.staging, ignore_errors=True)
        yield place
        undo.pop_all()
    shutil.rmtree(place.staging, ignore_errors=True)
    _mark_complete(store, place)


def _mark_complete(store: Store, place: _ReservedVersion) -> None:
    """Mark a version as complete; it is there already, so a fault is a warning."""
    try:
        with mlflow_faults(store.uri, "The version itself is whole."):
            store.client.set_model_version_tag(MODEL, place.version, _COMPLETE_TAG, "true")
            store.client.set_terminated(place.run_id, "FINISHED")
    except DeliveryError as fault:
        _logger.warning("%s", fault)


def _start_run(store: Store, training: TrainingRun) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    run = store.client.create_run(
        store.experiment_id,
        run_name=f"train {training.as_of.isoformat()}",
        tags={
            "mlflow.source.name": "repurchase train",
            "mlflow.source.type": "JOB",
            "grade": str(training.evaluation.get("grade", "-")),
            "grade_words": render(training.evaluation.get("grade_words", ""), locale="en"),
        },
    )
    run_id: str = run.info.run_id
    store.client.log_batch(run_id, params=[Param(*pair) for pair in sorted(_params(training).items())])
    digest = str(training.orders.get("digest") or "unknown")[:_MAX_DATASET_DIGEST_LENGTH]
    name = redact(Path(str(training.orders.get("source", "orders"))).name)
    orders = Dataset(name=name, digest=digest, source_type="local", source=name)
    store.client.log_inputs(run_id, [DatasetInput(orders, [InputTag("mlflow.data.context", "training")])])
    return run_id


def _reserve_version(store: Store, run_id: str, *, taken: int) -> _ReservedVersion:
    """Take the next number that is free in MLflow and above what is taken in ``models/``."""
    model = store.client.create_logged_model(
        store.experiment_id, name=MODEL, source_run_id=run_id, tags={"repurchase_version": repurchase.__version__}
    )
    _make_registered_model(store)
    while True:
        with active_store(store.uri):  # MLflow's SQL registry looks for the model in the current store
            entry = store.client.create_model_version(
                MODEL,
                f"models:/{model.model_id}",
                run_id=run_id,
                model_id=model.model_id,
                tags={_COMPLETE_TAG: "false"},
            )
        if int(entry.version) > taken:
            staging = partial_sibling_path(store.home / "models" / str(entry.version))
            return _ReservedVersion(run_id, model.model_id, str(entry.version), staging)
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


def _save_training_bundle(training: TrainingRun, version: str, folder: Path) -> Path:
    return save_bundle(
        training.state,
        folder,
        manifest=training.manifest(version),
        evaluation=training.evaluation,
        card=training.card(version),
        profile=training.profile,
    )


def _log_model_files(store: Store, training: TrainingRun, place: _ReservedVersion, bundle: Path) -> None:
    metadata = {"model_version": place.version, "as_of": training.as_of.isoformat()}
    model_folder = write_pyfunc_model(
        bundle, place.staging / "pyfunc", run_id=place.run_id, model_id=place.model_id, metadata=metadata
    )
    store.client.log_model_artifacts(place.model_id, str(model_folder))
    store.client.finalize_logged_model(place.model_id, "READY")
    _log_results(store, training, place)
    card = (bundle / "card.md").read_text(encoding="utf-8")
    store.client.log_artifacts(place.run_id, str(_write_run_files(training, card, place.staging / "run")))
    store.client.update_model_version(MODEL, place.version, description=card)


def _log_results(store: Store, training: TrainingRun, place: _ReservedVersion) -> None:
    from mlflow.entities import LoggedModelOutput

    store.client.log_outputs(place.run_id, [LoggedModelOutput(place.model_id, step=0)])
    _log_metrics(store, place.run_id, evaluation_metrics(training.evaluation, model_id=place.model_id))
    about = training.manifest(place.version)
    for key in ("as_of", "grade"):
        store.client.set_model_version_tag(MODEL, place.version, key, str(about[key]))


def _clean_up_incomplete_versions(store: Store, models: Path) -> None:
    """Take back versions that a killed run reserved; not in a shared store, where they may be another home's."""
    waiting = {path.stem for path in pending_entries(store.home, "registration")}
    database = database_of(store.uri)
    if database is None or database.parent.parent != store.home:
        return
    for entry in store.client.search_model_versions(f"name = '{MODEL}' and tags.{_COMPLETE_TAG} = 'false'"):
        version = str(entry.version)
        if (models / version).is_dir() and version not in waiting:
            store.client.set_model_version_tag(MODEL, version, _COMPLETE_TAG, "true")
        else:
            store.client.delete_model_version(MODEL, version)


def _params(training: TrainingRun) -> dict[str, str]:
    known = {
        "as_of": training.as_of.isoformat(),
        "horizons": " ".join(str(days) for days in training.horizons),
        "data_digest": training.orders.get("digest"),
        "layout": training.orders.get("layout"),
        "columns": columns_param(training.orders),
        "repurchase_version": repurchase.__version__,
    }
    return {key: redact(str(value))[:_MAX_PARAM_LENGTH] for key, value in {**known, **training.params}.items()}


def _write_run_files(training: TrainingRun, card: str, folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    for name in ("cleaning", "evaluation"):
        (folder / f"{name}.json").write_bytes(json_bytes(getattr(training, name), name=f"{name}.json"))
    if training.orders.get("reading"):
        (folder / "reading.json").write_bytes(json_bytes(redact_json(training.orders["reading"]), name="reading.json"))
    (folder / "card.md").write_text(card, encoding="utf-8")
    for name, picture in training.pictures.items():
        (folder / "pictures" / f"{name.removesuffix('.png')}.png").write_bytes(picture)
    return folder


if __name__ == "__main__":
    sys.exit(_log_pending_main(sys.argv[1:]))
