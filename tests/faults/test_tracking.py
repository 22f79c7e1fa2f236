"""MLflow locked or gone while scoring: scores are whole, exit code 0, and the run waits to be logged."""

import shutil
import sqlite3
from contextlib import closing

import pytest


@pytest.mark.parametrize("fault", ["locked", "gone"])
def test_scores_come_and_the_run_waits(shop, undisturbed, home, tmp_path, fault):
    out = tmp_path / "out" / "scores.parquet"
    (home / "repurchase.toml").write_text("tracking_seconds = 3\npartitions = 6\n")
    if fault == "gone":
        shutil.rmtree(home / "mlruns")
        (home / "mlruns").mkdir()

    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db" if fault == "locked" else ":memory:")) as holder:
        holder.isolation_level = None
        holder.execute("BEGIN EXCLUSIVE")
        outcome = shop.run(*shop.scoring(out, home=home))

    assert outcome.code == 0, outcome.err
    assert "This run is not in MLflow yet" in outcome.err
    assert len(list((home / "mlruns" / "pending").glob("*.json"))) == 1
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []
