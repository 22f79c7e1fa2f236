"""A standalone Spark cluster on loopback: one master and two workers, processes of their own, ended afterwards."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.cli.app import main

SECONDS_TO_START = 180
LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Java that starts soon and takes little: these clusters live for a minute."""


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def repurchase(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """What ``repurchase WORDS`` does; also what other processes write to this one's outputs is caught."""

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        before, code = sys.argv, 0
        sys.argv = ["repurchase", *map(str, words)]
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = before
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@dataclass
class Cluster:
    """A master and workers."""

    folder: Path
    master: str = ""
    pages: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """What a command is told to use it."""
        settings = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.extraJavaOptions": LIGHT,
            "spark.executor.extraJavaOptions": LIGHT,
            "spark.executor.memory": "512m",
            "spark.shuffle.io.retryWait": "1s",
            "spark.local.dir": str(self.folder / "driver"),
        }
        told = [word for name, value in settings.items() for word in ("--spark-conf", f"{name}={value}")]
        return ["--engine", "spark", "--master", self.master, *told]

    def status(self) -> dict[str, Any]:
        """What the master's page says."""
        with urllib.request.urlopen(self.pages, timeout=5) as answer:
            return dict(json.load(answer))

    def kept_blocks(self, worker: int) -> list[Path]:
        """Finished partitions on a worker's disk."""
        return list((self.folder / f"local{worker}").rglob("rdd_*"))

    def kill(self, worker: int) -> None:
        """Let a worker die, and its executors with it, as if its machine had lost power."""
        os.killpg(self.workers[worker].pid, signal.SIGKILL)
        self.workers[worker].wait(timeout=30)


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def started(cluster: Cluster, name: str, *words: str, local: str) -> subprocess.Popen[bytes]:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(cluster.folder / local),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": LIGHT,
    }
    with (cluster.folder / f"{local}.log").open("wb") as log:
        return subprocess.Popen(
            [home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def java_and_spark() -> None:
    """What every test here needs; where CI is set, it must be there."""
    missing = [] if importlib.util.find_spec("pyspark") else ["pyspark"]
    missing += [] if shutil.which("java") or os.environ.get("JAVA_HOME") else ["Java"]
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def cluster(java_and_spark: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One master and two workers of one core each, both known to the master."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    port, page = free_port(), free_port()
    made.master, made.pages = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page}/json/"
    master = started(made, "master.Master", "--port", str(port), "--webui-port", str(page), local="master")
    try:
        for number in range(2):
            words = ["--cores", "1", "--memory", "1g", "--port", str(free_port()), "--webui-port", str(free_port())]
            place = ["--work-dir", str(made.folder / f"work{number}"), made.master]
            made.workers.append(started(made, "worker.Worker", *words, *place, local=f"local{number}"))
        wait_until(lambda: made.status()["aliveworkers"] == 2)
        yield made
    finally:
        for process in (*made.workers, master):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask again and again; a master that is not there yet counts as no."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"did not come within {SECONDS_TO_START} seconds")


@pytest.fixture(scope="session")
def shop(simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """A log with returns, rows written twice, a row without customer and ids that a spreadsheet has spelled."""
    orders = simulate_orders(customers=400, days=420, seed=7)
    number = pl.col("customer_id").str.slice(1).cast(pl.Int64) + 1000
    spelled = (
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(pl.format("{}.0", number)).otherwise(pl.format("{}", number))
    )
    orders = orders.with_columns(spelled.alias("customer_id"), pl.lit("cup").alias("product_id"))
    back = orders.gather_every(29).with_columns(
        -pl.col("amount"), pl.col("order_date").dt.offset_by("3d"), pl.format("R{}", "order_id").alias("order_id")
    )
    nobody = orders.head(1).with_columns(pl.lit(None, pl.String).alias("customer_id"))
    unsold = pl.concat([orders.head(1)] * 3).with_columns(  # all given back, and free
        customer_id=pl.Series(["0900", "0900", "9998"]),
        order_id=pl.Series(["u1", "u2", "u3"]),
        amount=pl.Series([20.0, -20.0, 0.0]),
    )
    return pl.concat([orders, orders.gather_every(41), back, nobody, unsold])


@pytest.fixture(scope="session")
def home(shop: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a model, trained on one machine."""
    from repurchase.jobs.train import train
    from repurchase.settings import Settings

    folder = tmp_path_factory.mktemp("home")
    shop.write_parquet(folder / "orders.parquet")
    train(str(folder / "orders.parquet"), settings=Settings(home=folder, horizons=(30,), jobs=1))
    (folder / "repurchase.toml").write_text("partitions = 5\njobs = 1\n")
    return folder
