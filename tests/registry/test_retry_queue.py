"""Scoring runs reach MLflow once each, now or later, and what happens to MLflow never reaches the scores."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from repurchase.errors import DeliveryError
from repurchase.registry.retry_queue import RunEntry, pending_entries, track_scoring
from repurchase.registry.store import Store, open_store
from repurchase.registry.tracking import log_monitoring, log_pending, log_training

ENOUGH = 60
RUN: dict[str, Any] = {
    "created_at": "2026-11-22T02:00:00+00:00",
    "repurchase_version": "0.1.0",
    "as_of": "2026-11-21",
    "model_version": "3",
    "orders": {"digest": "ab" * 32, "layout": "CDNOW", "source": "/srv/shop-of-the-customer/orders.csv"},
    "cleaning": {
        "n_raw": 1010,
        "reasons": [{"rows": 7, "treatment": "set_aside"}, {"rows": 3, "treatment": "netted"}],
    },
    "counts": {"asked": 500, "scored": 480},
    "duplicates": ["SECRET-17"],
    "timings_seconds": {"Reading": 1.25, "Scoring": 2.5},
    "drift": {"known": True, "drifted": False, "psi_max": 0.07},
}


def scorings(store: Store) -> list[Any]:
    runs = store.client.search_runs([store.experiment_id])
    return [run for run in runs if run.data.tags.get("mlflow.source.name") == "repurchase score"]


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Hold a database as another program might."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.close()


@pytest.fixture
def waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that waits, since the process that would have logged it could not be started."""
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", _no_process)
        note = track_scoring(store.home, RUN, seconds=ENOUGH)
    assert note is not None
    assert "no process could be started to log it (Resource temporarily unavailable)" in note
    (path,) = pending_entries(store.home, "run")
    return path


def _no_process(*_: object, **__: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_a_run_is_logged_with_figures_and_no_customer(store: Store) -> None:
    assert track_scoring(store.home, RUN, seconds=ENOUGH) is None

    (run,) = scorings(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "score 2026-11-21")
    assert run.info.end_time - run.info.start_time == 3750
    assert run.data.params == {
        "model_version": "3",
        "as_of": "2026-11-21",
        "data_digest": "ab" * 32,
        "layout": "CDNOW",
        "repurchase_version": "0.1.0",
    }
    assert run.data.metrics == {
        "customers": 500,
        "customers_scored": 480,
        "rows": 1010,
        "rows_set_aside": 7,
        "seconds": 3.75,
        "drift/psi_max": 0.07,
        "drift/drifted": 0,
    }
    assert pending_entries(store.home, "run") == []
    content = b"".join(path.read_bytes() for path in (store.home / "mlruns").rglob("*") if path.is_file())
    assert b"SECRET" not in content
    assert b"shop-of-the-customer" not in content


def test_a_record_that_waits_names_no_customer(waiting: Path) -> None:
    text = waiting.read_text()
    assert "SECRET" not in text
    assert "shop-of-the-customer" not in text


def test_a_store_that_is_locked_costs_the_stated_time_and_the_run_is_logged_later(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with held(store.home / "mlruns" / "mlflow.db"):
        note = track_scoring(store.home, RUN, seconds=6)

    assert note is not None
    assert "It is kept in mlruns/pending/" in note
    assert [record.getMessage() for record in caplog.records] == [note]
    assert log_pending(store) == 1
    assert log_pending(store) == 0
    assert len(scorings(store)) == 1


def test_a_store_that_is_gone_is_not_made_anew_but_the_next_one_gets_the_run(home: Path) -> None:
    shutil.rmtree(home / "mlruns")

    note = track_scoring(home, RUN, seconds=ENOUGH)

    assert note is not None
    assert "there is no MLflow store in the home folder" in note
    assert [path.name for path in (home / "mlruns").iterdir()] == ["pending"]
    store = open_store(home)
    assert log_pending(store) == 1
    assert len(scorings(store)) == 1


def test_a_store_that_is_broken_is_said(store: Store) -> None:
    database = store.home / "mlruns" / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"not a database" * 100)

    note = track_scoring(store.home, RUN, seconds=ENOUGH)

    assert note is not None
    assert "not readable as an MLflow database" in note
    database.write_bytes(whole)
    assert log_pending(store) == 1


def test_without_a_place_in_mlruns_it_waits_in_outputs(home: Path) -> None:
    moved = home.with_name("moved")
    (home / "mlruns").rename(moved)
    (home / "mlruns").write_text("in the way")

    note = track_scoring(home, RUN, seconds=ENOUGH)

    assert note is not None
    assert "mlruns/pending cannot be written" in note
    assert [path.parent for path in pending_entries(home, "run")] == [home / "outputs" / "pending"]
    (home / "mlruns").unlink()
    moved.rename(home / "mlruns")
    store = open_store(home)
    assert log_pending(store) == 1
    assert len(scorings(store)) == 1


def test_without_any_place_it_is_said_and_nothing_is_raised(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")

    note = track_scoring(home, RUN, seconds=ENOUGH)

    assert note is not None
    assert "could not be kept" in note


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(store: Store) -> None:
    (store.home / "mlruns").chmod(0o500)
    try:
        note = track_scoring(store.home, RUN, seconds=ENOUGH)
    finally:
        (store.home / "mlruns").chmod(0o700)

    assert note is not None
    assert [path.parent.parent.name for path in pending_entries(store.home, "run")] == ["outputs"]


def test_a_process_that_is_killed_leaves_the_run_to_the_next(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def killed(command: list[str], **settings: Any) -> Any:
        return run(["sh", "-c", f"kill -{signal.SIGKILL} $$"], **settings)

    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", killed)
        note = track_scoring(store.home, RUN, seconds=ENOUGH)

    assert note is not None
    assert "ended with -9" in note
    assert log_pending(store) == 1
    assert log_pending(store) == 0
    assert len(scorings(store)) == 1


@pytest.mark.parametrize("moment", ["log_batch", "set_terminated", "unlink"])
def test_a_kill_in_the_middle_of_logging_doubles_nothing(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path if moment == "unlink" else type(store.client), moment, killed)
        with pytest.raises(Killed):
            log_pending(store)
    assert len(scorings(store)) == 1

    assert log_pending(store) == 1

    (logged,) = scorings(store)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["customers"] == 500
    assert pending_entries(store.home, "run") == []


def test_time_that_is_over_ends_the_process(store: Store) -> None:
    note = track_scoring(store.home, RUN, seconds=0.05)

    assert note is not None
    assert "did not answer within 0.05 seconds" in note
    assert len(pending_entries(store.home, "run")) == 1


def test_zero_seconds_is_not_at_all(store: Store) -> None:
    assert track_scoring(store.home, RUN, seconds=0) is None
    assert pending_entries(store.home, "run") == []
    assert scorings(store) == []


def test_the_process_is_told_no_secrets(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, str] = {}

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> None:
        told.update(env)
        raise BlockingIOError(11, "no")

    monkeypatch.setenv("REPURCHASE_ID_KEY", "a key of sixteen bytes")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setattr("subprocess.run", run)

    track_scoring(store.home, RUN, seconds=ENOUGH)

    assert "PATH" in told
    assert not {"REPURCHASE_ID_KEY", "PGPASSWORD"} & set(told)


def test_training_logs_what_waits(store: Store, waiting: Path, make_training) -> None:
    log_training(store, make_training())
    assert len(scorings(store)) == 1
    assert not waiting.exists()


def test_monitoring_logs_what_waits(store: Store, waiting: Path) -> None:
    record = {
        "as_of": "2024-01-01",
        "observed_until": "2024-06-01",
        "model_version": "3",
        "horizons": [],
        "drift": {"known": False},
        "advice": {"retrain": False, "words": "Keep the model."},
    }
    assert log_monitoring(store.home, record) is not None
    assert len(scorings(store)) == 1
    assert not waiting.exists()


def test_what_is_not_ours_stays_and_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    folder = store.home / "mlruns" / "pending"
    folder.mkdir()
    contents = ["not json", json.dumps({"schema": 2}), json.dumps({"schema": 1, "run_key": "x' or 'y"})]
    for number, content in enumerate(contents):
        (folder / f"{number}.json").write_text(content)

    assert log_pending(store) == 0

    assert len(pending_entries(store.home, "run")) == 3
    assert all("is no record of a run" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 3


def test_two_at_once_wait_for_each_other(store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repurchase.registry.retry_queue.LOCK_WAIT_SECONDS", 0.05)
    (waiting.parent / ".lock").touch()

    with held(waiting.parent / ".lock"), pytest.raises(DeliveryError, match="in use by another run"):
        log_pending(store)

    assert waiting.exists()
    assert scorings(store) == []


def test_a_run_about_the_same_takes_no_place_of_one_with_other_parameters(store: Store) -> None:
    """A step back or another parameter never costs what is logged already."""
    for step, day in ((10, "1"), (12, "1"), (5, "1"), (5, "2"), (7, "2")):
        told = {"params": {"day": day}, "metrics": {"figure": step}, "step": step, "subject": "campaign"}
        entry = RunEntry(source="x", run_name="x", created_at=RUN["created_at"], experiment="of-steps", **told)
        folder = store.home / "mlruns" / "pending"
        folder.mkdir(exist_ok=True)
        (folder / f"{day}-{step}.json").write_text(json.dumps(entry.record()))
        assert log_pending(store) == 1
    experiment = store.client.get_experiment_by_name("of-steps").experiment_id
    runs = store.client.search_runs([experiment])
    assert {run.data.params["day"]: run.data.metrics["figure"] for run in runs} == {"1": 12, "2": 7}
    assert len(runs) == 2
