"""A generated shop, cut at a day."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from repurchase.features.ledger import build_ledger
from repurchase.models.btyd.model import Family
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshot

Floats = npt.NDArray[np.float64]


def simulate(
    family: Family, *, customers: int, r: float, alpha: float, a: float, b: float, until: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, Floats, Floats]:
    """x, t_x, T, and purchases in (T, T + ``until``], in continuous time; T is spread evenly over 100 to 700 days."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(100, 700, customers)
    rate, leaves = rng.gamma(r, 1 / alpha, customers), rng.beta(a, b, customers)
    alive = rng.random(customers) >= leaves if family == "mbgnbd" else np.ones(customers, dtype=bool)
    clock, x, t_x, after = np.zeros(customers), np.zeros(customers), np.zeros(customers), np.zeros(customers)
    while alive.any():
        clock = clock + rng.exponential(1, customers) / rate
        seen = alive & (clock <= age)
        x, t_x = x + seen, np.where(seen, clock, t_x)
        after = after + (alive & (clock > age) & (clock <= age + until))
        alive &= (clock <= age + until) & (rng.random(customers) >= leaves)
    return x, t_x, age, after


@pytest.fixture(scope="session")
def simulate_customers() -> Callable[..., tuple[Floats, ...]]:
    """A function that makes customers of a model with known parameters (see ``simulate``)."""
    return simulate


@pytest.fixture(scope="session")
def cdnow_part(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    """The orders of every fifth customer of CDNOW."""
    return cdnow_orders.filter(pl.col("customer_id").cast(pl.Int64) % 5 == 0)


@pytest.fixture(scope="session")
def cdnow_model(cdnow_part: pl.DataFrame) -> RepurchaseModel:
    """A model of them, on the last day."""
    return RepurchaseModel(horizons=(90,)).fit(cdnow_part)


@pytest.fixture(scope="session")
def cdnow_snapshot(cdnow_part: pl.DataFrame, cdnow_model: RepurchaseModel) -> Snapshot:
    """Them on that day."""
    day = cdnow_model.as_of_
    return Snapshot(build_ledger(cdnow_part, observed_until=day).history(day))
