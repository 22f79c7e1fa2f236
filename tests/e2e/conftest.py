"""A home folder that was trained through the command line once for all tests."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.storage.atomic_files import locked_folder

HORIZONS = ("--horizon", "30", "--horizon", "90")


Command = Callable[..., Any]
Snapshot = Mapping[str, tuple[int, int, str]]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def sample(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    """Every sixteenth CDNOW customer with all orders, as a shop would export them."""
    number = pl.col("customer_id").cast(pl.Int64)
    return cdnow_orders.filter(number % 16 == 0).select(
        (number + 10_000).cast(pl.String).alias("customer_id"),
        "order_id",
        pl.col("order_date").dt.strftime("%Y-%m-%d"),
        "amount",
    )


@dataclass(frozen=True)
class Trained:
    """A home folder with two versions, and what was said when they were trained."""

    home: Path
    orders: Path
    said: tuple[str, ...]


@pytest.fixture(scope="session")
def trained(once: Path, sample: pl.DataFrame, repurchase: Command) -> Trained:
    """Version 1 looks 30 and 90 days ahead; version 2 of the same orders looks 30. Tests that change it take a copy."""
    home, orders = once / "trained-home", once / "trained-home.csv"
    asked = (HORIZONS, HORIZONS[:2])
    with locked_folder(once / "trained-home.lock"), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        notes = [once / f"trained-home.{number}.txt" for number in range(len(asked))]
        if not notes[-1].exists():
            sample.write_csv(orders)
            home.mkdir()
            (home / "repurchase.toml").write_text("tracking_seconds = 0\n")  # its own tests wait for MLflow
            for note, horizons in zip(notes, asked, strict=True):
                outcome = repurchase("train", orders, "--home", home, "--jobs", 1, *horizons)
                assert outcome.code == 0, outcome.err
                note.write_text(outcome.out)
    return Trained(home, orders, tuple(note.read_text() for note in notes))


@pytest.fixture
def home(trained: Trained, tmp_path: Path) -> Path:
    """A copy that a test may change: bundles only, which is all that scoring needs."""
    shutil.copytree(trained.home / "models", tmp_path / "home" / "models")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def scored(trained: Trained, once: Path, repurchase: Command) -> Path:
    """Scores by version 1 of everyone, with what belongs beside them."""
    out = once / "trained-home-scores" / "scores.parquet"
    with locked_folder(once / "trained-home.lock"):
        if not out.exists():
            outcome = repurchase("score", trained.orders, "--home", trained.home, "--model", 1, "--out", out)
            assert outcome.code == 0, outcome.err
    return out


@pytest.fixture
def snapshot() -> Callable[[Path], Snapshot]:
    """A function that says what is in a folder: names, sizes, times of change and digests."""

    def look(folder: Path) -> Snapshot:
        return {
            str(path.relative_to(folder)): (
                (path.stat().st_size, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
                if path.is_file()
                else (0, 0, "folder")
            )
            for path in sorted(folder.rglob("*"))
        }

    return look
