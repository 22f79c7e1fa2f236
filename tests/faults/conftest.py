"""A generated shop, a model of it, and the installed command, into which faults are put at exact moments."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from json import loads
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl
import pytest

from repurchase.storage.atomic_files import locked_folder

COMMAND = str(Path(sys.executable).parent / "repurchase")
PARTITIONS = 6
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ ")
LIBC = ctypes.CDLL(None)
INJECT = """
import os, sys
event, word, action = (os.environ.pop(f"FAULT_{name}", "") for name in ("EVENT", "WORD", "ACTION"))
def hook(name, arguments):
    global event
    if name == event and word in str(arguments[0]):
        event = None
        exec(action, {"os": os, "path": str(arguments[0])})
if event:
    sys.addaudithook(hook)
"""


@dataclass(frozen=True)
class Fault:
    """What happens to a run just before it does something: an audit event of Python, and a word in what it is about."""

    event: str
    word: str
    action: str


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """Lines on standard error that are no log lines."""
        return [line for line in self.err.splitlines() if line.strip() and not LOG_LINE.match(line)]


@dataclass(frozen=True)
class Shop:
    """Orders, a home folder with a champion, and a folder of what is put into a run."""

    home: Path
    orders: Path
    hooks: Path
    command: str = COMMAND

    def start(
        self,
        *words: object,
        fault: Fault | None = None,
        env: dict[str, str] | None = None,
        program: list[str] | None = None,
    ) -> subprocess.Popen[str]:
        unset = {"MLFLOW_TRACKING_URI", "REPURCHASE_ID_KEY", "TZ"}
        environment = {name: value for name, value in os.environ.items() if name not in unset} | (env or {})
        if fault:
            told = {"FAULT_EVENT": fault.event, "FAULT_WORD": fault.word, "FAULT_ACTION": fault.action}
            environment |= {"PYTHONPATH": os.pathsep.join([str(self.hooks), os.environ.get("PYTHONPATH", "")]), **told}
        return subprocess.Popen(
            [*(program or [COMMAND]), *map(str, words)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_as_anyone,  # noqa: PLW1509 - no threads run in the tests
        )

    def run(self, *words: object, **settings: Any) -> Outcome:
        return self.finished(self.start(*words, **settings))

    def scoring(self, out: Path, *, orders: Path | None = None, home: Path | None = None) -> tuple[object, ...]:
        """The words of a command that scores."""
        return ("score", orders or self.orders, "--home", home or self.home, "--out", out)

    @staticmethod
    def fault(event: str, word: str, action: str) -> Fault:
        return Fault(event, word, action)

    @staticmethod
    def signalled(number: signal.Signals, event: str, word: str) -> Fault:
        """A fault that is a signal."""
        return Fault(event, word, f"os.kill(os.getpid(), {int(number)})")

    @staticmethod
    def finished(process: subprocess.Popen[str]) -> Outcome:
        out, err = process.communicate(timeout=300)
        return Outcome(process.returncode, out, err)

    @staticmethod
    def visible(folder: Path) -> dict[str, bytes]:
        """Files that are not hidden, byte for byte."""
        if not folder.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}

    @staticmethod
    def hidden(folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) if folder.is_dir() else []

    @staticmethod
    def record(out: Path) -> dict[str, Any]:
        run: dict[str, Any] = loads(out.with_suffix(".run.json").read_bytes())
        return run

    def require_whole(self, out: Path, expected: pl.DataFrame) -> None:
        """All of a job's files are there, belong together, and hold every customer once, as expected."""
        assert set(self.visible(out.parent)) == {out.name, f"{out.stem}.run.json"}
        assert self.record(out)["outputs"]["scores"]["sha256"] == sha256(out.read_bytes()).hexdigest()
        scores = pl.read_parquet(out)
        assert scores["customer_id"].is_unique().all()
        assert scores.equals(expected)


def _as_anyone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    if os.geteuid() == 0:
        for right in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root, too, may write only where modes say so
            LIBC.prctl(24, right, 0, 0, 0)


@pytest.fixture(scope="session")
def shop(simulate_orders: Callable[..., pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The model learns from few customers and scores many: training is not what is tested here."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "fault-shop"
    shop = Shop(folder / "home", folder / "orders.csv", folder / "hooks")
    folder.mkdir(exist_ok=True)
    with locked_folder(folder):
        if not (folder / "ready").exists():
            shop.home.mkdir()
            shop.hooks.mkdir()
            (shop.hooks / "sitecustomize.py").write_text(INJECT)
            (shop.home / "repurchase.toml").write_text(f"tracking_seconds = 0\npartitions = {PARTITIONS}\n")
            days = pl.col("order_date").dt.strftime("%Y-%m-%d")
            simulate_orders(customers=5000, days=500, arrival_days=300, seed=5).with_columns(days).write_csv(
                shop.orders
            )
            few = simulate_orders(customers=400, days=500, arrival_days=300, seed=6).with_columns(days)
            few.write_csv(folder / "few.csv")
            outcome = shop.run("train", folder / "few.csv", "--home", shop.home, "--horizon", 30, "--jobs", 1)
            assert outcome.code == 0, outcome.err
            (folder / "ready").touch()
    return shop


@pytest.fixture
def home(shop: Shop, tmp_path: Path) -> Path:
    """A home folder of a test's own."""
    shutil.copytree(shop.home, tmp_path / "home")
    return tmp_path / "home"


@dataclass(frozen=True)
class Undisturbed:
    """What scoring the whole shop comes to, how long that took, and what the night before came to."""

    scores: pl.DataFrame
    seconds: float
    last_night: Path

    def lay_out(self, folder: Path) -> dict[str, bytes]:
        """Put last night's files where tonight's will be."""
        shutil.copytree(self.last_night, folder)
        return Shop.visible(folder)


@pytest.fixture(scope="session")
def undisturbed(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    orders = pl.read_csv(shop.orders, infer_schema=False)
    orders.filter(pl.col("order_date") < "2025-05-01").write_csv(folder / "before.csv")
    before = shop.run(*shop.scoring(folder / "before" / "scores.parquet", orders=folder / "before.csv"))
    begun = perf_counter()
    outcome = shop.run(*shop.scoring(folder / "out" / "scores.parquet"))
    seconds = perf_counter() - begun
    assert (before.code, outcome.code) == (0, 0), before.err + outcome.err
    scores = pl.read_parquet(folder / "out" / "scores.parquet")
    assert scores.height == orders["customer_id"].n_unique()
    return Undisturbed(scores, seconds, folder / "before")
