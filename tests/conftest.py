"""Orders for tests (CDNOW, generated logs with known truth, the shared real logs), and the command line."""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from repurchase.cli.app import main
from repurchase.features.ledger import build_ledger
from repurchase.models.snapshots import Snapshot, Snapshots
from repurchase.registry.store import open_store

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """What it says of its fault: one line, the last."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        return self.err.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def repurchase() -> Callable[..., Outcome]:
    """What ``repurchase WORDS`` does, without the start of another interpreter."""

    def run(*words: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        before, code = sys.argv, 0
        sys.argv = ["repurchase", *map(str, words)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = before
        return Outcome(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a new tracking store, which takes seconds to make; to be copied, not used."""
    home = tmp_path_factory.mktemp("made") / "my shop å%"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(home)
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real logs beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("real logs are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def cdnow_file() -> Path:
    """CDNOW_master.txt inside the installed lifetimes package, found without importing it."""
    spec = importlib.util.find_spec("lifetimes")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "CDNOW_master.txt"


@pytest.fixture(scope="session")
def cdnow_orders(cdnow_file: Path) -> pl.DataFrame:
    """The full CDNOW log as clean orders (see ``schemas.ORDERS``): 69,659 rows, read by hand, not by our own reader."""
    rows = [line.split() for line in cdnow_file.read_text().splitlines()[1:]]
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "order_id": [f"cdnow-{number:06d}" for number in range(len(rows))],
            "order_date": pl.Series([row[1] for row in rows]).str.to_datetime("%Y%m%d", time_unit="us"),
            "amount": [float(row[3]) for row in rows],
            "quantity": [float(row[2]) for row in rows],
        }
    )


def simulate(
    *,
    customers: int = 500,
    days: int = 400,
    start: date = date(2024, 1, 1),
    arrival_days: int = 200,
    r: float = 0.8,
    alpha: float = 30.0,
    a: float = 0.8,
    b: float = 3.0,
    mean_spend: float = 40.0,
    money: bool = True,
    seed: int = 0,
) -> pl.DataFrame:
    """Orders from a BG/NBD world with known parameters (days), gamma-gamma spend; one order a purchase day."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, max(arrival_days, 1), customers)
    rate = rng.gamma(r, 1 / alpha, customers)
    dropout = rng.beta(a, b, customers)
    level = mean_spend * rng.gamma(4.0, 1 / 4.0, customers)
    rows: list[tuple[str, int, float]] = []
    for number in range(customers):
        day = float(first[number])
        while day < days:
            rows.append((f"c{number:06d}", int(day), level[number] * rng.gamma(3.0, 1 / 3.0)))
            if rng.random() < dropout[number] and day > first[number]:
                break
            day += rng.exponential(1 / rate[number])
    unique = {(who, day): spend for who, day, spend in rows}
    frame = pl.DataFrame(
        [
            (who, f"o{i:07d}", start + timedelta(days=day), round(spend, 2) + 0.01)
            for i, ((who, day), spend) in enumerate(sorted(unique.items()))
        ],
        schema=["customer_id", "order_id", "order_date", "amount"],
        orient="row",
    )
    amount = pl.col("amount") if money else pl.lit(None, dtype=pl.Float64).alias("amount")
    return frame.with_columns(pl.col("order_date").cast(pl.Datetime("us")), amount)


@pytest.fixture(scope="session")
def simulate_orders() -> Callable[..., pl.DataFrame]:
    """A function that makes clean orders with known parameters (see ``simulate``)."""
    return simulate


@pytest.fixture(scope="session")
def shop_snapshots(simulate_orders: Callable[..., pl.DataFrame]) -> Snapshots:
    """900 customers over 800 days from 2023-06-01, observed to the end."""
    orders = simulate_orders(customers=900, days=800, arrival_days=500, start=date(2023, 6, 1), seed=21)
    return Snapshots(build_ledger(orders, observed_until=date(2025, 8, 8)), horizons=(60,))


@pytest.fixture(scope="session")
def shop_snapshot(shop_snapshots: Snapshots) -> Snapshot:
    """Its customers on 2025-01-31."""
    return shop_snapshots.at(date(2025, 1, 31))
