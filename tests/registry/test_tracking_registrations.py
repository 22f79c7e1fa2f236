"""A tracking server that does not answer: nothing is lost, nothing hangs, and MLflow learns of it later."""

import logging
import shutil
import socket
from collections.abc import Iterator

import pytest

from repurchase.errors import DeliveryError
from repurchase.registry import store as reachability
from repurchase.registry.bundle import load_bundle
from repurchase.registry.champion import (
    GateVerdict,
    alias_mismatches,
    apply_gate_verdict,
    promote,
    read_version_states,
    resolve_version,
    rollback,
    version_numbers,
)
from repurchase.registry.retry_queue import pending_entries
from repurchase.registry.store import MODEL, Store, StoreUnreachable, mlflow_versions, open_store, require_reachable
from repurchase.registry.tracking import log_training, save_training, try_log_pending

PASSED = GateVerdict(True, "Passed: 5 % better.", {"candidate": 0.31})


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes a connection and never says a word, as behind a broken proxy."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://ann:s3cret@127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """A server that is down."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://ann:s3cret@127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "PROBE_SECONDS", 0.3)


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_a_server_that_is_down_is_one_line_without_its_password(closed: str, scheme: str) -> None:
    with pytest.raises(StoreUnreachable, match=r"does not answer .*refused") as refused:
        require_reachable(closed.replace("http", scheme))

    assert "s3cret" not in str(refused.value)


def test_a_server_that_never_answers_is_given_up(silent: str) -> None:
    with pytest.raises(StoreUnreachable, match=r"does not answer \((timed out|no answer within 0\.3 s)\)"):
        require_reachable(silent)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "file:///tmp/none", "databricks", "gopher://example.org"])
def test_what_is_no_server_is_not_asked(uri: str) -> None:
    require_reachable(uri)


def test_a_trained_model_is_kept_used_and_registered_later(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, silent: str
) -> None:
    apply_gate_verdict(store.home, log_training(store, make_training()), PASSED)
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", silent)
        assert save_training(store.home, make_training()) == "2"
        apply_gate_verdict(store.home, "2", PASSED)
        assert save_training(store.home, make_training()) == "3"
        promote(store.home, "3", force=True)
        assert rollback(store.home) == "2"

    assert "Version 2 is kept in models/ and is not in MLflow yet" in caplog.text
    assert "s3cret" not in caplog.text
    assert read_version_states(store.home).aliases == {"champion": "2", "previous": "3"}
    assert load_bundle(resolve_version(store.home)).version == "2"
    assert [path.stem for path in pending_entries(store.home, "registration")] == ["2", "3"]
    assert set(mlflow_versions(store)) == {"1"}

    try_log_pending(open_store(store.home))

    assert pending_entries(store.home, "registration") == []
    assert not list((store.home / "mlruns" / "pending" / "registry").glob("*.json"))
    assert mlflow_versions(store) == {number: number for number in "123"}
    aliases = store.client.get_registered_model(MODEL).aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "2", "previous": "3"}
    entry = store.client.get_model_version(MODEL, "2")
    assert entry.tags.keys() >= {"as_of", "grade", "complete", "gate", "promoted_at"}
    assert entry.tags["complete"] == "true"
    assert entry.run_id is not None
    run = store.client.get_run(entry.run_id)
    assert (run.info.status, run.data.params["most_cutoffs"]) == ("FINISHED", "8")
    assert run.data.metrics["log_loss_90d"] == pytest.approx(0.31)
    pictures = {item.path for item in store.client.list_artifacts(run.info.run_id, "pictures")}
    assert pictures == {"pictures/gains.png", "pictures/calibration.png"}
    ours = {path.name: path.read_bytes() for path in (store.home / "models" / "2").iterdir()}
    carried = [
        path for path in (store.home / "mlruns" / "artifacts").rglob("bundle") if load_bundle(path).version == "2"
    ]
    assert [{path.name: path.read_bytes() for path in bundle.iterdir()} for bundle in carried] == [ours]
    assert alias_mismatches(store.home) == []
    assert log_training(store, make_training()) == "4"


def test_what_waits_is_registered_before_a_new_version_takes_its_number(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", closed)
        assert save_training(store.home, make_training()) == "1"

    assert save_training(store.home, make_training()) == "2"

    assert mlflow_versions(store) == {"1": "1", "2": "2"}


def test_where_another_home_took_the_number_the_bundle_is_found_by_its_digest(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", closed)
        assert save_training(store.home, make_training()) == "1"
        apply_gate_verdict(store.home, "1", PASSED)
    elsewhere = Store(store.home.parent / "other", store.uri, store.client, store.experiment_id)
    assert log_training(elsewhere, make_training()) == "1"

    try_log_pending(store)

    assert mlflow_versions(store)["1"] == "2"
    assert str(store.client.get_model_version_by_alias(MODEL, "champion").version) == "2"
    assert alias_mismatches(store.home) == []


def test_a_store_that_breaks_in_the_middle_leaves_the_model_in_use(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.client), "log_artifacts", broken)
        patch.setattr(type(store.client), "set_registered_model_alias", broken)
        version = save_training(store.home, make_training())
        apply_gate_verdict(store.home, version, PASSED)

    assert "connection reset" in caplog.text
    assert resolve_version(store.home).name == version
    try_log_pending(store)
    assert list(mlflow_versions(store)) == version_numbers(store.home)
    assert alias_mismatches(store.home) == []


def test_a_full_disk_is_still_a_fault(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DeliveryError("no space left")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    monkeypatch.setattr("repurchase.registry.tracking.save_bundle", full)

    with pytest.raises(DeliveryError, match="no space left"):
        save_training(store.home, make_training())

    assert version_numbers(store.home) == []


def test_what_was_removed_meanwhile_is_dropped(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", closed)
        save_training(store.home, make_training())
    shutil.rmtree(store.home / "models" / "1")

    with caplog.at_level(logging.WARNING):
        try_log_pending(store)

    assert "Version 1 is no longer in models/" in caplog.text
    assert pending_entries(store.home, "registration") == []
