"""Scoring runs in MLflow, without ever endangering scores: first written down, then logged by a process of its own.

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
from datetime import datetime
from pathlib import Path
from typing import Any

from repurchase.errors import DeliveryError, RepurchaseError
from repurchase.registry.disk import json_bytes, locked, write_whole
from repurchase.registry.store import Store, database_of, mlflow_faults, open_existing, store_uri

__all__ = ["log_pending", "pending_records", "settle_pending", "track_scoring"]

logger = logging.getLogger("repurchase")

SCHEMA = 1
PLACES = ("mlruns/pending", "outputs/pending")
KEY = "run_key"
LOCK_WAIT_SECONDS = 10.0
LEAST_SECONDS = 5.0
OUT_OF_TIME = 75
_WITHHELD = ("REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE", "PGPASSWORD", "PGPASSFILE")
"""What the process that logs has no need to know."""


def track_scoring(home: Path, run: Mapping[str, Any], *, seconds: float) -> str | None:
    """Log a scoring run to MLflow within a stated time, or leave it to be logged later. Call it after delivery.

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
        Why it is not in MLflow yet, as a sentence, which is also logged as a warning; None if it is, or need not be.
        It raises nothing: the scores are there.
    """
    if seconds <= 0:
        return None
    home = home.resolve()
    record = {"schema": SCHEMA, KEY: secrets.token_hex(16), **_figures(run)}
    try:
        path, why_not_there = _write_down(home, record)
    except RepurchaseError as fault:
        return _warned(f"This run is not in MLflow, and could not be kept to be logged later: {fault}")
    why = why_not_there or _log_elsewhere(home, seconds)
    if not path.exists():
        return None
    where = path.relative_to(home)
    return _warned(
        f"This run is not in MLflow yet: {why.rstrip('.')}. It is kept in {where}; the next train, score or "
        "monitor that reaches the store logs it."
    )


def _warned(words: str) -> str:
    logger.warning("%s", words)
    return words


def _figures(run: Mapping[str, Any]) -> dict[str, Any]:
    orders, cleaning = run.get("orders") or {}, run.get("cleaning") or {}
    counts, drift = run.get("counts") or {}, run.get("drift") or {}
    aside = [why.get("rows", 0) for why in cleaning.get("reasons") or () if why.get("treatment") == "set_aside"]
    metrics = {
        "customers": counts.get("asked"),
        "customers_scored": counts.get("scored"),
        "rows": cleaning.get("n_raw"),
        "rows_set_aside": sum(aside),
        "seconds": round(sum((run.get("timings_seconds") or {}).values()), 3),
        "drift/psi_max": drift.get("psi_max"),
        "drift/drifted": float(bool(drift.get("drifted"))) if drift.get("known") else None,
    }
    params = {
        "model_version": run.get("model_version"),
        "as_of": run.get("as_of"),
        "data_digest": orders.get("digest"),
        "layout": orders.get("layout"),
        "repurchase_version": run.get("repurchase_version"),
    }
    return {
        "created_at": run.get("created_at"),
        "params": {name: str(value) for name, value in params.items() if value is not None},
        "metrics": {name: float(value) for name, value in metrics.items() if _defined(value)},
    }


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
    logged = 0
    for folder in sorted({path.parent for path in pending_records(store.home)}):
        with (
            locked(folder, wait_seconds=LOCK_WAIT_SECONDS),
            mlflow_faults(store.uri, "Scoring runs wait to be logged."),
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
        _warned(f"Scoring runs that wait were not logged: {fault}")


def _log_file(store: Store, path: Path) -> bool:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
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
    from mlflow.entities import Metric, Param

    found = store.client.search_runs([store.experiment_id], filter_string=f"tags.{KEY} = '{record[KEY]}'")
    if found and found[0].info.status == "FINISHED":
        return
    begun = _milliseconds(record)
    if found:
        run = found[0]
    else:
        run = store.client.create_run(
            store.experiment_id,
            start_time=begun,
            run_name=f"score {record['params'].get('as_of', '')}".strip(),
            tags={"mlflow.source.name": "repurchase score", "mlflow.source.type": "JOB", KEY: record[KEY]},
        )
    run_id = run.info.run_id
    metrics = [Metric(name, value, begun, 0) for name, value in sorted(record["metrics"].items())]
    params = [Param(name, value) for name, value in sorted(record["params"].items())]
    store.client.log_batch(run_id, metrics=metrics, params=params)
    seconds = record["metrics"].get("seconds")
    store.client.set_terminated(run_id, "FINISHED", end_time=begun + round(1000 * (seconds or 0)))


def _milliseconds(record: Mapping[str, Any]) -> int:
    return round(datetime.fromisoformat(record["created_at"]).timestamp() * 1000)


def _defined(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


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
