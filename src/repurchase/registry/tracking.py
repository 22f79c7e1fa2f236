"""Log training, scoring, campaign and monitoring runs to MLflow and register versions."""

import json
import logging
import math
import os
import shutil
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import repurchase
from repurchase.errors import BundleError, DeliveryError, RepurchaseError
from repurchase.registry.bundle import MANIFEST_DIGEST_KEY, TrainingRun, load_bundle, save_bundle
from repurchase.registry.retry_queue import (
    ALIAS_CHANGE_PREFIX,
    REGISTRATION_FOLDERS,
    REGISTRATION_LOCK_WAIT_SECONDS,
    RUN_ENTRY_SCHEMA,
    RUN_KEY_TAG,
    RUN_LOCK_WAIT_SECONDS,
    STEP_TAG,
    SUBJECT_TAG,
    TRACKED_AT_TAG,
    columns_param,
    log_and_return_warning,
    logger,
    pending_registrations,
    pending_run_files,
    write_registration,
)
from repurchase.registry.scoring import write_pyfunc_model
from repurchase.registry.store import (
    BUNDLE,
    EXPERIMENT,
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

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


_IDENTIFYING_FIELDS = frozenset({"horizon_days", "cutoff", "predictor"})
_HORIZON_METRICS = ("n_cutoffs", "log_loss_gain", "explained")


def evaluation_metrics(evaluation: Mapping[str, Any], *, model_id: str | None = None) -> list["Metric"]:
    """Take every figure of an evaluation to where MLflow shows and compares it.

    ``log_loss_90d`` is the model's mean over the cut-offs, ``past_rate/log_loss_90d`` a rule's or a part's, and
    ``backtest/model/log_loss_90d`` has one step per cut-off, timed by the cut-off's day.
    """
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    means = [Metric(key, value, now, 0, model_id=model_id) for key, value in _means(evaluation)]
    return [*means, *(Metric(*entry) for entry in _by_cutoff(evaluation))]


def _means(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for horizon in evaluation.get("horizons", []):
        days = f"{horizon['horizon_days']}d"
        named = {"": horizon.get("model") or {}, **(horizon.get("rules") or {}), **(horizon.get("parts") or {})}
        named[""] = {**named[""], **{key: horizon.get(key) for key in _HORIZON_METRICS}}
        for predictor, figures in named.items():
            prefix = f"{predictor}/" if predictor else ""
            yield from (
                (f"{prefix}{key}_{days}", float(value)) for key, value in figures.items() if _is_finite_number(value)
            )


def _by_cutoff(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float, int, int]]:
    rows = evaluation.get("backtest", [])
    for row in rows:
        days = row["horizon_days"]
        cutoffs = sorted({other["cutoff"] for other in rows if other["horizon_days"] == days})
        at = int(datetime.fromisoformat(row["cutoff"]).replace(tzinfo=UTC).timestamp() * 1000)
        for key, value in row.items():
            if key not in _IDENTIFYING_FIELDS and _is_finite_number(value):
                yield f"backtest/{row['predictor']}/{key}_{days}d", float(value), at, cutoffs.index(row["cutoff"])


def _register_pending(store: Store) -> None:
    """Let MLflow learn what waits, each once."""
    folders = [store.home / place for place in REGISTRATION_FOLDERS]
    if not any(path for folder in folders for path in folder.glob("*.json")):
        return
    from repurchase.registry.champion import republish_aliases

    with locked_folder(
        next(folder for folder in folders if folder.is_dir()), wait_seconds=REGISTRATION_LOCK_WAIT_SECONDS
    ):
        done = [_register_version(store, version, path) for version, path in pending_registrations(store.home).items()]
        changes = [path for folder in folders for path in sorted(folder.glob(f"{ALIAS_CHANGE_PREFIX}*.json"))]
        if any(done) or changes:
            republish_aliases(store, [_read_alias_tags(path) for path in changes])
        for path in changes:
            path.unlink(missing_ok=True)


def _register_version(store: Store, version: str, path: Path) -> bool:

    if not (store.home / "models" / version).is_dir():
        logger.warning("Version %s is no longer in models/; it is not registered.", version)
        path.unlink(missing_ok=True)
        return False
    try:
        record = read_json(path)
        _register_saved_version(store, version, record["training"])
    except (BundleError, OSError, ValueError, KeyError, TypeError) as fault:
        logger.warning("Version %s cannot be registered (%s); %s is left there.", version, fault, path)
        return False
    path.unlink(missing_ok=True)
    return True


def _read_alias_tags(path: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(read_json(path)["tags"])
    except (OSError, ValueError, KeyError, TypeError):
        logger.warning("%s is no record of changed aliases; their times are not known.", path)
        return {}


_MIN_LOG_SECONDS = 5.0
_TIMEOUT_EXIT_CODE = 75


def log_pending(store: Store) -> int:
    """Log every run that waits, each once, and remove its file."""
    _register_pending(store)
    logged = 0
    for folder in sorted({path.parent for path in pending_run_files(store.home)}):
        with (
            locked_folder(folder, wait_seconds=RUN_LOCK_WAIT_SECONDS),
            mlflow_faults(store.uri, "Runs wait to be logged."),
        ):
            for path in sorted(folder.glob("*.json")):
                logged += _log_run_file(store, path)
    return logged


def try_log_pending(store: Store) -> None:
    """Log every run that waits, after another job's own run; a fault is a warning."""
    try:
        log_pending(store)
    except DeliveryError as fault:
        log_and_return_warning(f"Runs that wait were not logged: {fault}")


def _log_run_file(store: Store, path: Path) -> bool:
    try:
        record = read_json(path)
        is_ours = (
            record["schema"] == RUN_ENTRY_SCHEMA
            and isinstance(record[RUN_KEY_TAG], str)
            and record[RUN_KEY_TAG].isalnum()
        )
        is_ours = is_ours and isinstance(record["params"], dict) and isinstance(record["metrics"], dict)
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        logger.warning("%s is no record of a run that this version knows; it is left there.", path)
        return False
    _log_run(store, record)
    path.unlink()
    return True


def _log_run(store: Store, record: Mapping[str, Any]) -> None:
    """Log a run, or finish one that a killed process began: its key is a tag that is written when it is made."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = experiment_of(store, record.get("experiment", EXPERIMENT))
    run, is_done = _find_run(store, experiment, record)
    if is_done:
        return
    tags = {
        "mlflow.source.name": record.get("source", "repurchase score"),
        "mlflow.source.type": "JOB",
        RUN_KEY_TAG: record[RUN_KEY_TAG],
        **record.get("tags", {}),
    }
    if record.get(SUBJECT_TAG):
        tags |= {
            SUBJECT_TAG: record[SUBJECT_TAG],
            TRACKED_AT_TAG: record[TRACKED_AT_TAG],
            STEP_TAG: str(record[STEP_TAG]),
        }
    begun = _milliseconds(record["created_at"])
    name = record.get("run_name") or f"score {record['params'].get('as_of', '')}".strip()
    run = run or store.client.create_run(experiment, start_time=begun, run_name=name, tags=tags)
    run_id = run.info.run_id
    store.client.update_run(run_id, status="RUNNING")
    at = _milliseconds(record.get(TRACKED_AT_TAG) or record["created_at"])
    metrics = [Metric(key, value, at, record.get(STEP_TAG, 0)) for key, value in sorted(record["metrics"].items())]
    params = [Param(key, value) for key, value in sorted(record["params"].items())]
    store.client.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag(*tag) for tag in sorted(tags.items())])
    for file, content in record.get("artifacts", {}).items():
        store.client.log_text(run_id, json.dumps(content, indent=1, ensure_ascii=False), file)
    seconds = record.get("seconds") or record["metrics"].get("seconds") or 0
    store.client.set_terminated(run_id, "FINISHED", end_time=begun + round(1000 * seconds))


def _find_run(store: Store, experiment: str, record: Mapping[str, Any]) -> tuple["Run | None", bool]:
    """The run to go on with, if there is one, and whether nothing is left to do."""
    about = SUBJECT_TAG if record.get(SUBJECT_TAG) else RUN_KEY_TAG
    for run in store.client.search_runs([experiment], filter_string=f"tags.{about} = '{record[about]}'"):
        known, tags = run.data.params, run.data.tags
        if tags.get(RUN_KEY_TAG) == record[RUN_KEY_TAG]:
            return run, run.info.status == "FINISHED"
        if any(known.get(name, value) != value for name, value in record["params"].items()):
            continue  # a parameter cannot be changed: it has a run of its own
        return run, (int(tags[STEP_TAG]), tags[TRACKED_AT_TAG]) > (record[STEP_TAG], record[TRACKED_AT_TAG])
    return None, False


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _log_pending_main(words: list[str]) -> int:
    home, seconds = Path(words[0]), float(words[1])
    # Who started this may be gone: a store that never answers must not keep a process for ever.
    watch = threading.Timer(max(seconds, _MIN_LOG_SECONDS), os._exit, (_TIMEOUT_EXIT_CODE,))
    watch.daemon = True
    watch.start()
    try:
        store = open_existing(home)
        if store is not None:
            log_pending(store)
    except RepurchaseError as fault:
        sys.stderr.write(f"{' '.join(str(fault).split())}\n")
        return 2
    return 0


_MONITORED_METRICS = ("log_loss", "auc", "ece", "chance_ece", "excess_ece", "base_rate", "top_decile_lift")
_MONITORING_BATCH_SIZE = 500


def log_monitoring(home: Path, record: Mapping[str, Any]) -> str | None:
    """Log a record of `repurchase monitor`."""
    store = open_existing(home)
    if store is None:
        return None
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in monitoring_metrics(record)]
    with mlflow_faults(store.uri, "This was not logged."), ExitStack() as undo:
        run = store.client.create_run(
            store.experiment_id, run_name=f"monitor {record['as_of']}", tags=_monitoring_tags(record)
        )
        run_id: str = run.info.run_id
        undo.callback(store.client.set_terminated, run_id, "FAILED")
        for first in range(0, len(metrics), _MONITORING_BATCH_SIZE):
            store.client.log_batch(run_id, metrics=metrics[first : first + _MONITORING_BATCH_SIZE])
        store.client.log_text(run_id, json.dumps(record, indent=1, ensure_ascii=False), "monitor.json")
        undo.pop_all()
        store.client.set_terminated(run_id, "FINISHED")
    try_log_pending(store)
    return run_id


def monitoring_metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Take from a record what can be drawn."""
    for row in record["horizons"]:
        if row["passed"]:
            days = f"{row['horizon_days']}d"
            figures = {**{name: row["model"].get(name) for name in _MONITORED_METRICS}, **dict(_totals(row))}
            figures |= {name: row.get(name) for name in ("p_mean", "bought_share", "log_loss_gain")}
            yield from (
                (f"since/{key}_{days}", float(value)) for key, value in figures.items() if _is_finite_number(value)
            )
    drift = record["drift"]
    if drift["known"]:
        moved = {"psi_max": drift["psi_max"], **{f"psi/{row['feature']}": row["psi"] for row in drift["features"]}}
        yield from ((f"drift/{key}", float(value)) for key, value in moved.items() if _is_finite_number(value))
    yield "retrain", float(record["advice"]["retrain"])


def _monitoring_tags(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "mlflow.source.name": "repurchase monitor",
        "mlflow.source.type": "JOB",
        "model_version": str(record["model_version"]),
        "observed_until": str(record["observed_until"]),
        "retrain": str(record["advice"]["retrain"]).lower(),
        "advice": str(record["advice"]["words"]),
    }


def _totals(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("orders", "spend"):
        for side in ("expected", "came"):
            yield f"{name}_{side}", (row.get(name) or {}).get(side)


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_logger = logging.getLogger("repurchase")

_COMPLETE_TAG = "complete"
_MAX_PARAM_LENGTH = 6000
_METRICS_PER_BATCH = 500
_MAX_DATASET_DIGEST_LENGTH = 36


@dataclass(frozen=True)
class _ReservedVersion:
    """Where a model will be in MLflow."""

    run_id: str
    model_id: str
    version: str


def log_training(store: Store, training: TrainingRun) -> str:
    """Log a run, register the model, and put the very same bundle into ``models/<version>/``.

    The bundle appears as the last step: a killed run leaves no version behind that could be scored with.
    """
    models = store.home / "models"
    _register_pending(store)
    with locked_folder(models):
        with mlflow_faults(store.uri, "No version was added to models/."), ExitStack() as undo:
            remove_partial_siblings(models)
            _clean_up_incomplete_versions(store, models)
            place = _begin_run(store, training, undo, taken=max(map(int, _local_version_numbers(models)), default=0))
            staging = partial_sibling_path(models / place.version)
            undo.callback(shutil.rmtree, staging, ignore_errors=True)
            bundle = _save_training_bundle(training, place.version, staging / "bundle")
            _log_model_files(store, training, place, bundle, staging)
            bundle.rename(models / place.version)
            sync_folder(models)
            undo.pop_all()
        shutil.rmtree(staging, ignore_errors=True)
        _mark_complete(store, place)
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
        version = str(1 + max(map(int, _local_version_numbers(models)), default=0))
        # The record comes first: one without a bundle is dropped, a bundle without one would never be registered.
        path = write_registration(home, version, _as_record(training))
        staging = partial_sibling_path(models / version)
        try:
            _save_training_bundle(training, version, staging / "bundle").rename(models / version)
            sync_folder(models)
        except OSError as fault:
            raise DeliveryError(f"{models / version} cannot be written: {fault.strerror}.") from fault
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return version, path.relative_to(home)


def _as_record(training: TrainingRun) -> dict[str, Any]:
    return {
        "as_of": training.as_of.isoformat(),
        "horizons": list(training.horizons),
        "orders": dict(training.orders),
        "cleaning": dict(training.cleaning),
        "params": {key: str(value) for key, value in training.params.items()},
        "pictures": {name: b64encode(picture).decode() for name, picture in training.pictures.items()},
    }


def _register_saved_version(store: Store, version: str, record: Mapping[str, Any]) -> None:
    """Log the training of a version that was kept while MLflow was away, and register its bundle."""
    models = store.home / "models"
    loaded = load_bundle(models / version)
    pictures = {name: b64decode(picture) for name, picture in record["pictures"].items()}
    known = {**record, "as_of": date.fromisoformat(record["as_of"]), "horizons": tuple(record["horizons"])}
    training = TrainingRun(**{**known, "pictures": pictures}, state=loaded.state, evaluation=loaded.evaluation)
    with locked_folder(models), mlflow_faults(store.uri, "It waits to be registered."), ExitStack() as undo:
        _clean_up_incomplete_versions(store, models)
        place = _begin_run(store, training, undo, taken=int(version) - 1)
        staging = partial_sibling_path(models / version)
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        bundle = Path(shutil.copytree(models / version, staging / "bundle"))
        _log_model_files(store, training, place, bundle, staging, card=loaded.card)
        if place.version != version:
            digest = str(loaded.manifest[MANIFEST_DIGEST_KEY])
            store.client.set_model_version_tag(MODEL, place.version, BUNDLE, digest)
        undo.pop_all()
        shutil.rmtree(staging, ignore_errors=True)
        _mark_complete(store, place)
    _logger.info("Version %s is in MLflow now, as version %s of model %s.", version, place.version, MODEL)


def _local_version_numbers(models: Path) -> list[str]:
    return [path.name for path in models.iterdir() if path.name.isdecimal()]


def _begin_run(store: Store, training: TrainingRun, undo: ExitStack, *, taken: int) -> _ReservedVersion:
    """Begin a run and take a version, both of which ``undo`` takes back."""
    run_id = _start_run(store, training)
    undo.callback(store.client.set_terminated, run_id, "FAILED")
    place = _reserve_version(store, run_id, taken=taken)
    undo.callback(store.client.delete_model_version, MODEL, place.version)
    return place


def _mark_complete(store: Store, place: _ReservedVersion) -> None:
    """Say that a version is whole; it is there already, so a fault is a warning."""
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
            "grade_words": str(training.evaluation.get("grade_words", "")),
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
            return _ReservedVersion(run_id, model.model_id, str(entry.version))
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


def _log_model_files(
    store: Store,
    training: TrainingRun,
    place: _ReservedVersion,
    bundle: Path,
    staging: Path,
    *,
    card: str | None = None,
) -> None:
    card = training.card(place.version) if card is None else card
    metadata = {"model_version": place.version, "as_of": training.as_of.isoformat()}
    carrier = write_pyfunc_model(
        bundle, staging / "carrier", run_id=place.run_id, model_id=place.model_id, metadata=metadata
    )
    store.client.log_model_artifacts(place.model_id, str(carrier))
    store.client.finalize_logged_model(place.model_id, "READY")
    _log_results(store, training, place)
    store.client.log_artifacts(place.run_id, str(_write_run_files(training, card, staging / "run")))
    store.client.update_model_version(MODEL, place.version, description=card)


def _log_results(store: Store, training: TrainingRun, place: _ReservedVersion) -> None:
    from mlflow.entities import LoggedModelOutput

    store.client.log_outputs(place.run_id, [LoggedModelOutput(place.model_id, step=0)])
    metrics = evaluation_metrics(training.evaluation, model_id=place.model_id)
    for first in range(0, len(metrics), _METRICS_PER_BATCH):
        store.client.log_batch(place.run_id, metrics=metrics[first : first + _METRICS_PER_BATCH])
    about = training.manifest(place.version)
    for key in ("as_of", "grade"):
        store.client.set_model_version_tag(MODEL, place.version, key, str(about[key]))


def _clean_up_incomplete_versions(store: Store, models: Path) -> None:
    """Take back versions that a killed run reserved; not in a shared store, where they may be another home's."""
    waiting = pending_registrations(store.home)
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
