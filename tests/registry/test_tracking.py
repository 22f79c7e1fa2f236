import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import repurchase
from repurchase.errors import BundleError, DeliveryError
from repurchase.registry.bundle import load_bundle
from repurchase.registry.champion import apply_gate_verdict, judge_evaluation, resolve_version, version_numbers
from repurchase.registry.store import MODEL, Store, mlflow_versions
from repurchase.registry.tracking import log_training


@pytest.fixture
def logged(store: Store, make_training) -> str:
    return log_training(store, make_training())


def carried(home: Path) -> Path:
    return next((home / "mlruns" / "artifacts").rglob("bundle"))


def test_models_and_mlflow_hold_the_very_same_files(store: Store, logged: str) -> None:
    mine, theirs = store.home / "models" / logged, carried(store.home)
    names = sorted(path.name for path in mine.iterdir())
    assert names == sorted(path.name for path in theirs.iterdir())
    assert all((mine / name).read_bytes() == (theirs / name).read_bytes() for name in names)
    assert load_bundle(theirs).version == logged == "1"


def test_nothing_else_is_left_in_models(store: Store, logged: str) -> None:
    assert sorted(path.name for path in (store.home / "models").iterdir()) == [".lock", logged]


def test_a_run_shows_what_was_asked_found_and_drawn(store: Store, logged: str) -> None:
    (run,) = store.client.search_runs([store.experiment_id])
    assert run.info.status == "FINISHED"
    assert {key: run.data.params[key] for key in ("as_of", "horizons", "layout", "most_cutoffs")} == {
        "as_of": "1998-06-30",
        "horizons": "90",
        "layout": "own",
        "most_cutoffs": "8",
    }
    assert run.data.metrics["log_loss_90d"] == pytest.approx(0.31)
    assert run.data.metrics["past_rate/log_loss_90d"] == pytest.approx(0.33)
    assert "spend_gini_90d" not in run.data.metrics
    (orders,) = run.inputs.dataset_inputs
    assert (orders.dataset.name, orders.dataset.digest) == ("orders.csv", ("0123456789abcdef" * 4)[:36])
    files = {item.path for item in store.client.list_artifacts(run.info.run_id)}
    assert files == {"card.md", "cleaning.json", "evaluation.json", "pictures", "reading.json"}
    assert run.data.params["columns"] == "customer_id=Kundenr order_date=Dato"
    pictures = {item.path for item in store.client.list_artifacts(run.info.run_id, "pictures")}
    assert pictures == {"pictures/gains.png", "pictures/calibration.png"}


def test_every_cutoff_is_a_step_timed_by_its_day(store: Store, logged: str) -> None:
    (run,) = store.client.search_runs([store.experiment_id])
    history = store.client.get_metric_history(run.info.run_id, "backtest/model/log_loss_90d")
    assert [(entry.step, round(entry.value, 4)) for entry in history] == [(0, 0.30), (1, 0.31), (2, 0.32)]
    days = [datetime.fromtimestamp(entry.timestamp / 1000, tz=UTC).date() for entry in history]
    assert days == [date(1998, 1, 31), date(1998, 2, 28), date(1998, 3, 31)]


def test_the_version_knows_its_day_grade_and_card(store: Store, logged: str) -> None:
    entry = store.client.get_model_version(MODEL, logged)
    assert entry.tags == {"as_of": "1998-06-30", "grade": "B", "complete": "true"}
    assert entry.description is not None
    assert "Clearly better than the rules." in entry.description
    assert entry.description == (store.home / "models" / logged / "card.md").read_text()


def test_many_metrics_are_logged_in_batches(store: Store, make_training, make_evaluation) -> None:
    evaluation = make_evaluation()
    row = evaluation["backtest"][0]
    evaluation["backtest"] = [{**row, **{f"figure_{n}": n / 7 for n in range(1100)}}]
    log_training(store, make_training(evaluation=evaluation))
    (run,) = store.client.search_runs([store.experiment_id])
    assert run.data.metrics["backtest/model/figure_1099_90d"] == pytest.approx(1099 / 7)


def test_numbers_go_on_where_either_side_is_ahead(store: Store, logged: str, make_training) -> None:
    (store.home / "models" / "4").mkdir()
    assert log_training(store, make_training()) == "5"
    store.client.delete_model_version(MODEL, "5")
    assert log_training(store, make_training()) == "6"


def test_a_failed_run_takes_its_version_back(
    store: Store, make_training, state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**state, "btyd": float("nan")}
    with pytest.raises(BundleError, match=r"btyd\.json"):
        log_training(store, make_training(state=broken))
    (run,) = store.client.search_runs([store.experiment_id])
    assert run.info.status == "FAILED"
    assert not mlflow_versions(store)
    assert [path.name for path in (store.home / "models").iterdir()] == [".lock"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store.client), "log_model_artifacts", full)
    with pytest.raises(DeliveryError, match=r"No space left on device\. No version was added"):
        log_training(store, make_training())
    assert [path.name for path in (store.home / "models").iterdir()] == [".lock"]


def test_a_killed_run_is_settled_by_the_next(store: Store, make_training, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(store.client), "log_model_artifacts", killed)
        patch.setattr("contextlib.ExitStack.callback", lambda *_, **__: None)
        with pytest.raises(Killed):
            log_training(store, make_training())
    assert set(mlflow_versions(store)) == {"1"}
    assert log_training(store, make_training()) == "2"
    assert set(mlflow_versions(store)) == {"2"}
    assert version_numbers(store.home) == ["2"]
    assert sorted(path.name for path in (store.home / "models").iterdir()) == [".lock", "2"]


PACKAGE = Path(repurchase.__file__).parent
PREDICT = """
import sys, mlflow, pandas as pd
orders = pd.read_parquet(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/repurchase@champion")
model.predict(orders).to_parquet(sys.argv[2])
model.predict(orders, params={"as_of": "2024-08-31"}).to_parquet(sys.argv[3])
"""


def test_mlflow_scores_as_we_do_keeps_no_customer_and_no_path(
    store: Store, make_training, fitted, shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl

    from repurchase.models.model import RepurchaseModel

    version = log_training(store, make_training(state=fitted.to_state(), horizons=(30,), as_of=fitted.as_of_))
    apply_gate_verdict(store.home, version, judge_evaluation(make_training().evaluation))
    shop.write_parquet(tmp_path / "orders.parquet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # the reader's own cache names the place it read from
    places = [str(tmp_path / name) for name in ("orders.parquet", "all.parquet", "august.parquet")]
    subprocess.run([sys.executable, "-c", PREDICT, *places], check=True, cwd=tmp_path)
    ours = RepurchaseModel.from_state(load_bundle(resolve_version(store.home)).state)
    for place, day in zip(places[1:], (None, date(2024, 8, 31)), strict=True):
        expected = ours.predict(shop, as_of=day)
        theirs = pl.read_parquet(place).select(expected.columns).cast(dict(expected.schema))
        assert theirs.equals(expected)
    assert expected["model_version"].unique().to_list() == ["1"]

    for path in store.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"SECRET" not in content, path
            assert b"shop-of-the-customer" not in content, path
            assert str(PACKAGE).encode() not in content, path
            if path.name != "mlflow.db":
                assert str(tmp_path).encode() not in content, path
