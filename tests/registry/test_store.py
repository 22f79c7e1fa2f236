import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from repurchase.errors import DeliveryError
from repurchase.registry import store as store_module
from repurchase.registry.store import Store, open_existing, open_store, relocate, rewrite_stored_paths, store_uri
from repurchase.registry.tracking import log_training


def stored_paths(home: Path) -> set[str]:
    queries = (
        "SELECT artifact_location FROM experiments",
        "SELECT artifact_uri FROM runs",
        "SELECT artifact_location FROM logged_models",
        "SELECT storage_location FROM model_versions",
    )
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as connection:
        return {row[0] for query in queries for row in connection.execute(query)}


def test_a_new_store_lies_in_the_home_folder_alone(empty_home: Path) -> None:
    assert sorted(path.name for path in empty_home.iterdir()) == ["mlruns"]
    assert sorted(path.name for path in (empty_home / "mlruns").iterdir()) == [".lock", "mlflow.db"]
    artifacts = empty_home / "mlruns" / "artifacts"
    assert all(path.startswith((artifacts.as_uri(), str(artifacts))) for path in stored_paths(empty_home))


def test_opening_changes_nothing_in_the_process(home: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    open_store(home)
    assert mlflow.get_tracking_uri() == before
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_several_processes_may_create_it_at_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from repurchase.registry.store import open_store\n"
    code += "print(open_store(Path(sys.argv[1])).experiment_id)"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert len(set(said)) == 1
    assert sorted(path.name for path in (tmp_path / "mlruns").iterdir()) == [".lock", "mlflow.db"]


def test_a_new_store_has_its_name_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, named = tmp_path / "mlruns", []
    sync = os.fsync

    def note(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode) and os.path.samestat(os.fstat(number), folder.stat()):
            named.append((folder / "mlflow.db").exists())
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    open_store(tmp_path)

    assert named[-1:] == [True]


def test_a_killed_creation_is_cleared_and_begun_again(empty_home: Path, tmp_path: Path) -> None:
    shutil.copytree(empty_home, tmp_path / "home")
    relocate(tmp_path / "home")
    half = tmp_path / "home" / "mlruns" / ".partial-mlflow.db-00000000"
    half.write_bytes(b"half")
    open_store(tmp_path / "home")
    assert not half.exists()


def test_the_tracking_uri_of_the_environment_is_respected(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(home))
    opened = open_store(tmp_path / "other")
    assert opened.uri == store_uri(home)
    assert opened.home == tmp_path / "other"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("uri", ["file:///tmp/none/mlruns", "gopher://example.org"])
def test_a_store_that_mlflow_refuses_is_one_line(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(DeliveryError, match=f"MLflow at {uri} failed: ") as caught:
        open_store(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    with (
        pytest.raises(DeliveryError, match=r"postgresql://me:…@db/x failed") as caught,
        store_module.mlflow_faults("postgresql://me:secret@db/x", "Nothing was logged."),
    ):
        raise OSError("no")
    assert "secret" not in str(caught.value)


def test_a_database_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"not a database, really not")
    with pytest.raises(DeliveryError, match=r"mlflow\.db: not readable as an MLflow database"):
        open_store(tmp_path)


def test_a_home_without_a_store_gets_none_by_looking(tmp_path: Path) -> None:
    assert open_existing(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_moved_store_works_and_says_so(
    store: Store, make_training, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = log_training(store, make_training())
    moved = tmp_path / "moved here"
    store.home.rename(moved)
    with caplog.at_level(logging.WARNING):
        again = open_store(moved)
    assert f"was moved from {store.home / 'mlruns'}" in caplog.text
    assert all(path.startswith(((moved / "mlruns").as_uri(), str(moved / "mlruns"))) for path in stored_paths(moved))
    assert log_training(again, make_training()) == str(int(first) + 1)
    assert not store.home.exists()
    files = {path.name for path in Path(download(again, first)).iterdir()}
    assert {"MLmodel", "artifacts", "pyfunc_model.py"} <= files


def download(store: Store, version: str) -> str:
    import mlflow

    with store_module.active_store(store.uri):
        return str(mlflow.artifacts.download_artifacts(f"models:/repurchase/{version}", tracking_uri=store.uri))


def test_a_copied_store_is_refused_until_it_is_told_to_stand_on_its_own(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store.home, copy)
    before = (copy / "mlruns" / "mlflow.db").read_bytes()
    with pytest.raises(DeliveryError, match=r"is a copy of .*`repurchase models relocate`"):
        open_store(copy)
    assert (copy / "mlruns" / "mlflow.db").read_bytes() == before
    assert relocate(copy) == store.home / "mlruns"
    open_store(copy)
    assert relocate(copy) is None
    open_store(store.home)


def test_only_whole_path_parts_are_moved(home: Path, tmp_path: Path) -> None:
    database = home / "mlruns" / "mlflow.db"
    beside = (tmp_path / "home" / "mlruns2").as_uri()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES ('x', ?, 'active')", (beside,)
        )
    assert rewrite_stored_paths(database, old=home / "mlruns", new=tmp_path / "new") == 2
    assert beside in stored_paths(home)


def test_relocating_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="to relocate"):
        relocate(tmp_path)
    assert list(tmp_path.iterdir()) == []
