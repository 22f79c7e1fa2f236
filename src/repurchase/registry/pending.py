"""Runs in MLflow, without ever endangering what was delivered: first written down, then logged by another process.

Importing MLflow takes seconds, and a locked or broken store may hold it for minutes. So a run is first a file in
``mlruns/pending/`` (in ``outputs/pending/`` where that cannot be written). Then ``python -m
repurchase.registry.pending HOME SECONDS`` logs and removes it. If that fails or takes too long, the file stays, and
whatever reaches the store next logs it.
"""

import json
import logging
import math
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repurchase.errors import DeliveryError, RepurchaseError
from repurchase.registry.disk import json_bytes, locked, read_json, write_whole
from repurchase.registry.figures import columns_read
from repurchase.registry.registrations import register_pending
from repurchase.registry.store import (
    EXPERIMENT,
    Store,
    database_of,
    experiment_of,
    mlflow_faults,
    open_existing,
    store_uri,
)
from repurchase.storage.redaction import redacted, redacted_json

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Entry", "log_pending", "pending_records", "settle_pending", "track", "track_scoring"]

logger = logging.getLogger("repurchase")

SCHEMA = 1
PLACES = ("mlruns/pending", "outputs/pending")
KEY = "run_key"
SUBJECT, TRACKED_AT, STEP = "subject", "tracked_at", "step"
LOCK_WAIT_SECONDS = 10.0
LEAST_SECONDS = 5.0
OUT_OF_TIME = 75
_WITHHELD = ("REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE", "PGPASSWORD", "PGPASSFILE")
"""What the process that logs has no need to know."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is to be logged of a command's run. It names no customer.

    Parameters
    ----------
    source : str
        The command, such as ``repurchase score``.
    run_name : str
        As MLflow shows it.
    created_at : str
        When its record was made, ISO 8601 with an offset.
    params, metrics : mapping
        What stands in its record; what is None or not a number is left out.
    seconds : float
        How long it took.
    tags : mapping
        Further words to search by.
    artifacts : mapping of str to mapping
        JSON files by name.
    experiment : str
        Under which it is logged.
    subject : str, optional
        What it is about. A later run about the same, with the same parameters, takes this one's place.
    step : int
        Such as days observed: a run of fewer does not take the place of one of more.
    """

    source: str
    run_name: str
    created_at: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    seconds: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiment: str = EXPERIMENT
    subject: str | None = None
    step: int = 0

    def record(self) -> dict[str, Any]:
        """Say it in JSON.

        Returns
        -------
        dict
            With a key of its own.
        """
        return {
            "schema": SCHEMA,
            KEY: secrets.token_hex(16),
            TRACKED_AT: datetime.now(tz=UTC).isoformat(),
            **vars(self),
            "params": {name: redacted(str(value)) for name, value in self.params.items() if value is not None},
            "metrics": {k: float(v) for k, v in self.metrics.items() if v is not None and math.isfinite(v)},
            "artifacts": redacted_json(self.artifacts),
            "tags": redacted_json(self.tags),
        }


def track(home: Path, entry: Entry, *, seconds: float) -> str | None:
    """Log a run to MLflow within a stated time, or leave it to be logged later. Call it after delivery.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.
    entry : Entry
        What to log.
    seconds : float
        How long it may take; 0 for not at all.

    Returns
    -------
    str or None
        Why it is not in MLflow yet, as a sentence, which is also logged as a warning; None if it is, or need not be.
        It raises nothing: what was asked for is there.
    """
    if seconds <= 0:
        return None
    home = home.resolve()
    try:
        path, why_not_there = _write_down(home, entry.record())
    except RepurchaseError as fault:
        return _warned(f"This run is not in MLflow, and could not be kept to be logged later: {fault}")
    why = why_not_there or _log_elsewhere(home, seconds)
    if not path.exists():
        return None
    where = path.relative_to(home)
    return _warned(
        f"This run is not in MLflow yet: {why.rstrip('.')}. It is kept in {where}; the next train, score, monitor or "
        "campaign that reaches the store logs it."
    )


def track_scoring(home: Path, run: Mapping[str, Any], *, seconds: float) -> str | None:
    """Log a scoring run; see `track`.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.
    run : mapping
        The run's record, as in ``run.json``; figures are taken from it, customers are not.
    seconds : float
        How long it may take; 0 for not at all.

    Returns
    -------
    str or None
        As of `track`.
    """
    return track(home, _of_scoring(run), seconds=seconds)


def _warned(words: str) -> str:
    logger.warning("%s", words)
    return words


def _of_scoring(run: Mapping[str, Any]) -> Entry:
    orders, cleaning = run.get("orders") or {}, run.get("cleaning") or {}
    counts, drift = run.get("counts") or {}, run.get("drift") or {}
    aside = [why.get("rows", 0) for why in cleaning.get("reasons") or () if why.get("treatment") == "set_aside"]
    took = round(sum((run.get("timings_seconds") or {}).values()), 3)
    metrics = {
        "customers": counts.get("asked"),
        "customers_scored": counts.get("scored"),
        "customers_no_purchases": counts.get("no_purchases"),
        "rows": cleaning.get("n_raw"),
        "rows_set_aside": sum(aside),
        "seconds": took,
        "drift/psi_max": drift.get("psi_max"),
        "drift/drifted": float(bool(drift.get("drifted"))) if drift.get("known") else None,
    }
    params = {
        "model_version": run.get("model_version"),
        "as_of": run.get("as_of"),
        "data_digest": orders.get("digest"),
        "layout": orders.get("layout"),
        "columns": columns_read(orders),
        "repurchase_version": run.get("repurchase_version"),
    }
    return Entry(
        source="repurchase score",
        run_name=f"score {run.get('as_of') or ''}".strip(),
        created_at=str(run.get("created_at")),
        params=params,
        metrics=metrics,
        seconds=took,
    )


def _write_down(home: Path, record: Mapping[str, Any]) -> tuple[Path, str]:
    """Write a record where it can be; say why it cannot be logged, if that is plain without asking MLflow."""
    why = ""
    name = f"{record[KEY]}.json"
    for place in PLACES:
        path = home / place / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json_bytes(record, name=name))
        except (OSError, DeliveryError) as fault:
            why = f"{home / place} cannot be written ({getattr(fault, 'strerror', None) or 'no right or no space'})"
            continue
        database = database_of(store_uri(home))
        is_there = database is None or database.is_file()
        return path, why or ("" if is_there else "there is no MLflow store in the home folder")
    raise DeliveryError(f"{why}.")


def _log_elsewhere(home: Path, seconds: float) -> str:
    """Log in a process of its own, and end it when its time is over; say what it said last."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, str(home), str(seconds)]
    environment = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"the store did not answer within {seconds:g} seconds"
    except OSError as fault:
        return f"no process could be started to log it ({fault.strerror or type(fault).__name__})"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if done.returncode == 2 and said else f"what logs it ended with {done.returncode}"


def pending_records(home: Path) -> list[Path]:
    """Runs that wait to be logged.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.

    Returns
    -------
    list of Path
        Their files.
    """
    return sorted(path for place in PLACES for path in (home / place).glob("*.json"))


def log_pending(store: Store) -> int:
    """Log every run that waits, each once, and remove its file.

    Parameters
    ----------
    store : Store
        Where to log.

    Returns
    -------
    int
        How many were logged now.

    Raises
    ------
    DeliveryError
        If the store fails, or another process holds the files; what was not logged stays.
    """
    register_pending(store)
    logged = 0
    for folder in sorted({path.parent for path in pending_records(store.home)}):
        with (
            locked(folder, wait_seconds=LOCK_WAIT_SECONDS),
            mlflow_faults(store.uri, "Runs wait to be logged."),
        ):
            for path in sorted(folder.glob("*.json")):
                logged += _log_file(store, path)
    return logged


def settle_pending(store: Store) -> None:
    """Log every run that waits, after another job's own run; a fault is a warning.

    Parameters
    ----------
    store : Store
        Where to log.
    """
    try:
        log_pending(store)
    except DeliveryError as fault:
        _warned(f"Runs that wait were not logged: {fault}")


def _log_file(store: Store, path: Path) -> bool:
    try:
        record = read_json(path)
        is_ours = record["schema"] == SCHEMA and isinstance(record[KEY], str) and record[KEY].isalnum()
        is_ours = is_ours and isinstance(record["params"], dict) and isinstance(record["metrics"], dict)
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        logger.warning("%s is no record of a run that this version knows; it is left there.", path)
        return False
    _log_once(store, record)
    path.unlink()
    return True


def _log_once(store: Store, record: Mapping[str, Any]) -> None:
    """Log a run, or finish one that a killed process began: its key is a tag that is written when it is made."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = experiment_of(store, record.get("experiment", EXPERIMENT))
    run, is_done = _found(store, experiment, record)
    if is_done:
        return
    tags = {
        "mlflow.source.name": record.get("source", "repurchase score"),
        "mlflow.source.type": "JOB",
        KEY: record[KEY],
        **record.get("tags", {}),
    }
    if record.get(SUBJECT):
        tags |= {SUBJECT: record[SUBJECT], TRACKED_AT: record[TRACKED_AT], STEP: str(record[STEP])}
    begun = _milliseconds(record["created_at"])
    name = record.get("run_name") or f"score {record['params'].get('as_of', '')}".strip()
    run = run or store.client.create_run(experiment, start_time=begun, run_name=name, tags=tags)
    run_id = run.info.run_id
    store.client.update_run(run_id, status="RUNNING")
    at = _milliseconds(record.get(TRACKED_AT) or record["created_at"])
    metrics = [Metric(key, value, at, record.get(STEP, 0)) for key, value in sorted(record["metrics"].items())]
    params = [Param(key, value) for key, value in sorted(record["params"].items())]
    store.client.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag(*tag) for tag in sorted(tags.items())])
    for file, content in record.get("artifacts", {}).items():
        store.client.log_text(run_id, json.dumps(content, indent=1, ensure_ascii=False), file)
    seconds = record.get("seconds") or record["metrics"].get("seconds") or 0
    store.client.set_terminated(run_id, "FINISHED", end_time=begun + round(1000 * seconds))


def _found(store: Store, experiment: str, record: Mapping[str, Any]) -> tuple["Run | None", bool]:
    """The run to go on with, if there is one, and whether nothing is left to do."""
    about = SUBJECT if record.get(SUBJECT) else KEY
    for run in store.client.search_runs([experiment], filter_string=f"tags.{about} = '{record[about]}'"):
        known, tags = run.data.params, run.data.tags
        if tags.get(KEY) == record[KEY]:
            return run, run.info.status == "FINISHED"
        if any(known.get(name, value) != value for name, value in record["params"].items()):
            continue  # a parameter cannot be changed: it has a run of its own
        return run, (int(tags[STEP]), tags[TRACKED_AT]) > (record[STEP], record[TRACKED_AT])
    return None, False


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _main(words: list[str]) -> int:
    home, seconds = Path(words[0]), float(words[1])
    # Who started this may be gone: a store that never answers must not keep a process for ever.
    watch = threading.Timer(max(seconds, LEAST_SECONDS), os._exit, (OUT_OF_TIME,))
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


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
