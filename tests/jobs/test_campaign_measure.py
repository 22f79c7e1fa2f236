"""A campaign measured again and again: nothing is lost, and MLflow has one run for the plan and one for what came."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.registry.retry_queue import CAMPAIGN_EXPERIMENT, pending_entries
from repurchase.registry.store import Store, open_store, relocate
from repurchase.registry.tracking import log_pending
from repurchase.report.history_sections import read_campaigns

Command = Callable[..., Any]
Orders = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def store(empty_home: Path, tmp_path: Path) -> Store:
    """The real SQLite store, in the home of the campaign."""
    shutil.copytree(empty_home / "mlruns", tmp_path / "mlruns")
    relocate(tmp_path)
    return open_store(tmp_path)


def log_here(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Log from this process from now on: starting one per command takes seconds, and is tried once, below."""

    def log(*_: object) -> str:
        log_pending(store)
        return "the store is away"

    patch.setattr("repurchase.registry.retry_queue._log_in_subprocess", log)


@pytest.fixture
def logged_here(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, reached from this process."""
    log_here(store, monkeypatch)
    return store


def runs(store: Store, source: str) -> list[Any]:
    experiment = store.client.get_experiment_by_name(CAMPAIGN_EXPERIMENT)
    found = store.client.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in found if run.data.tags["mlflow.source.name"] == f"repurchase campaign {source}"]


def both(folder: Path, stem: str = "campaign") -> tuple[bytes, bytes]:
    return tuple((folder / f"{stem}.{end}").read_bytes() for end in ("measured.json", "outcomes.parquet"))  # type: ignore[return-value]


# Nothing is lost


def test_a_measurement_of_fewer_days_never_takes_the_place_of_one_of_more(
    scores: Path, tmp_path: Path, orders: Orders, plan: Command, measure: Command
) -> None:
    out = tmp_path / "may"
    plan(scores, out)
    log = orders(out, lift=0.15)
    assert measure(out, log).code == 0
    before = both(out)

    refused = measure(out, log, "--as-of", "2024-07-20")

    assert "measured over 30 days already (up to 2024-07-30), these orders give 20 (up to 2024-07-20)" in refused.line
    assert both(out) == before
    asked = refused.line.split("--out ")[1]
    beside = measure(out, log, "--as-of", "2024-07-20", "--out", asked)
    assert beside.code == 0, beside.err
    assert beside.out.startswith("CANNOT TELL YET: 20 of 30 days are over")
    assert both(out) == before
    assert both(out, "to-2024-07-20")[1] != before[1]
    assert [record["observed_days"] for record in read_campaigns(out)] == [30]  # the page tells a campaign once


def test_each_night_takes_the_place_of_the_last(
    scores: Path, tmp_path: Path, orders: Orders, plan: Command, measure: Command
) -> None:
    out = tmp_path / "may"
    plan(scores, out)
    log = orders(out, lift=0.15)
    for night, days in (("2024-07-10", 10), ("2024-07-20", 20), ("2024-07-20", 20), ("2024-07-30", 30)):
        assert measure(out, log, "--as-of", night).code == 0
        assert json.loads((out / "campaign.measured.json").read_text())["observed_days"] == days


def test_no_other_campaign_and_no_other_file_is_written_over(
    scores: Path, tmp_path: Path, orders: Orders, plan: Command, measure: Command
) -> None:
    plan(scores, tmp_path / "may")
    plan(scores, tmp_path / "june", "--name", "June")
    log = orders(tmp_path / "may", lift=0.15)
    measure(tmp_path / "may", log)
    before = both(tmp_path / "may")
    other = measure(tmp_path / "june", log, "--out", tmp_path / "may")
    assert "is the measurement of another campaign" in other.line
    plain = measure(tmp_path / "june", log, "--out", tmp_path / "may" / "campaign.json")
    assert "Use --out" in plain.line
    assert both(tmp_path / "may") == before


def test_a_measurement_that_lies_elsewhere_forgets_too(
    scores: Path, tmp_path: Path, orders: Orders, plan: Command, measure: Command, repurchase: Command
) -> None:
    plan(scores, tmp_path / "may")
    assert measure(tmp_path / "may", orders(), "--out", tmp_path / "elsewhere").code == 0
    table = tmp_path / "elsewhere" / "campaign.outcomes.parquet"
    someone = pl.read_parquet(table)["customer_id"][0]
    scores.unlink()  # without a record they would be named as a place where customers remain
    assert repurchase("forget", someone, "--home", tmp_path).code == 0
    assert someone not in pl.read_parquet(table)["customer_id"]


# MLflow


def test_plan_and_measurement_are_runs_of_their_own_without_customers(
    scores: Path,
    tmp_path: Path,
    orders: Orders,
    store: Store,
    plan: Command,
    measure: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "may"
    assert plan(scores, out, "--name", "May").err == ""  # logged by a process of its own
    log_here(store, monkeypatch)
    measure(out, orders(out, lift=0.15))

    (planned,), (measured,) = runs(store, "plan"), runs(store, "measure")
    record, found = (json.loads((out / f"campaign.{end}").read_text()) for end in ("json", "measured.json"))
    for run in (planned, measured):
        assert run.info.status == "FINISHED"
        assert run.data.tags["campaign"] == "May"
        assert run.data.tags["model_version"] == "1"
        assert run.data.params["day"] == "2024-06-30"
        assert run.data.params["horizon_days"] == "30"
        assert run.data.params["margin"] == "0.5"
        assert run.data.params["customers_control"] == str(record["arms"]["control"])
    assert planned.data.metrics["expected/profit_low"] == pytest.approx(record["expected"]["profit"]["low"])
    uplift = found["repurchase"]["adjusted"]
    assert measured.data.metrics["uplift/points"] == pytest.approx(uplift["value"])
    assert measured.data.metrics["uplift/points_low"] == pytest.approx(uplift["low"])
    assert measured.data.metrics["profit"] == pytest.approx(found["totals"]["profit"]["value"])
    assert measured.data.metrics["return_on_spend"] == pytest.approx(found["return_on_spend"]["value"])
    assert measured.data.tags["can_tell"] == "true"
    kept = store.client.download_artifacts(measured.info.run_id, "measured.json", str(tmp_path))
    assert json.loads(Path(kept).read_text())["repurchase"] == found["repurchase"]
    content = b"".join(path.read_bytes() for path in (tmp_path / "mlruns").rglob("*") if path.is_file())
    names = pl.read_parquet(out / "campaign.customers.parquet")["customer_id"].to_list()
    words = set(re.findall(rb"[0-9A-Za-z]+", content))  # an id can be part of a digest
    assert not [name for name in names if name.encode() in words]
    assert str(tmp_path / "orders.csv").encode() not in content


def test_measured_again_it_is_the_same_run_a_step_further(
    scores: Path, tmp_path: Path, orders: Orders, logged_here: Store, plan: Command, measure: Command
) -> None:
    store = logged_here
    out = tmp_path / "may"
    plan(scores, out)
    log = orders(out, lift=0.15)
    measure(out, log, "--as-of", "2024-07-20")
    assert runs(store, "measure")[0].data.tags["can_tell"] == "false"
    measure(out, log)
    (run,) = runs(store, "measure")
    assert run.data.tags["can_tell"] == "true"
    history = store.client.get_metric_history(run.info.run_id, "uplift/points")
    assert [one.step for one in history] == [20, 30]
    measure(out, log, "--as-of", "2024-07-20", "--out", tmp_path / "earlier")
    (run,) = runs(store, "measure")
    assert run.data.metrics["observed_days"] == 30
    assert measure(out, log, "--from", "2024-07-01", "--out", tmp_path / "other").code == 0
    days = {run.data.params["day"]: run.data.metrics["observed_days"] for run in runs(store, "measure")}
    assert days == {"2024-06-30": 30, "2024-07-01": 29}  # from another day it is another measurement


def test_a_locked_store_costs_no_campaign_and_the_run_is_logged_later_once(
    scores: Path, tmp_path: Path, store: Store, plan: Command, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "may"
    (tmp_path / "repurchase.toml").write_text("tracking_seconds = 4\n")
    holder = sqlite3.connect(tmp_path / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        planned = plan(scores, out)
    finally:
        holder.close()
    assert planned.code == 0
    assert "not in MLflow yet" in caplog.text
    (waiting,) = pending_entries(tmp_path, "run")
    assert "c00001" not in waiting.read_text()
    assert (log_pending(store), log_pending(store)) == (1, 0)
    (run,) = runs(store, "plan")
    assert run.info.status == "FINISHED"


def test_an_older_measurement_that_waited_does_not_undo_a_later_one(
    scores: Path, tmp_path: Path, orders: Orders, logged_here: Store, plan: Command, measure: Command
) -> None:
    store = logged_here
    out = tmp_path / "may"
    plan(scores, out)
    log = orders(out, lift=0.15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("repurchase.registry.retry_queue._log_in_subprocess", lambda *_: "the store is away")
        measure(out, log, "--as-of", "2024-07-20")
        (waiting,) = pending_entries(tmp_path, "run")
        text = waiting.read_text()
        waiting.unlink()
    measure(out, log)
    waiting.write_text(text)
    assert log_pending(store) == 1
    (run,) = runs(store, "measure")
    assert run.data.metrics["observed_days"] == 30
    assert run.data.tags["is_over"] == "true"
