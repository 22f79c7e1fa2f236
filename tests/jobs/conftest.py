"""Scores of a generated shop, a campaign planned on them, and the orders that came after it."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.schemas import scores_table

AS_OF, DAYS, N = date(2024, 6, 30), 30, 2400
MONEY = ("--margin", "0.5", "--cost-per-contact", "0.5")
Command = Callable[..., Any]


def chances() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.beta(1.5, 3.0, N), np.exp(random.normal(3.5, 0.5, N))


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    p, spend = chances()
    rows = pl.DataFrame(
        {
            "customer_id": [f"c{number:05d}" for number in range(N)],
            "as_of": [AS_OF] * N,
            "model_version": ["1"] * N,
            "status": ["scored"] * N,
            "orders": [1] * N,
            "days_since_last": np.arange(N) % 200,
            "frequency": np.zeros(N, dtype=np.int64),
            "age_days": np.full(N, 300),
            "spend_total": spend,
            f"p_repurchase_{DAYS}d": p,
            f"churn_risk_{DAYS}d": 1 - p,
            f"spend_expected_{DAYS}d": p * spend,
            "segment": np.where(p > 0.4, "regular", "win back"),
        }
    )
    schema = scores_table([DAYS]).schema
    known = [pl.lit(None).alias(name) for name in schema if name not in rows.columns]
    path = tmp_path / "scores.parquet"
    rows.with_columns(known).select(pl.col(name).cast(dtype) for name, dtype in schema.items()).write_parquet(path)
    return path


@pytest.fixture
def orders(tmp_path: Path) -> Callable[..., Path]:
    """Writes the log after a campaign: everyone bought once before it; those reached buy more often by ``lift``."""

    def write(campaign: Path | None = None, *, lift: float = 0.0, days: int = DAYS, silent: int = 0) -> Path:
        p, spend = chances()
        reached = np.zeros(N, dtype=np.bool_)
        if campaign:
            arms = pl.read_parquet(campaign / "campaign.customers.parquet")
            mine = arms.filter(pl.col("arm") == "treatment")["customer_id"].str.slice(1).cast(pl.Int64).to_numpy()
            reached[mine] = True
        random = np.random.default_rng(7)
        reached &= np.arange(N) % 200 >= silent  # the others are not moved
        bought = random.random(N) < np.clip(p + lift * reached, 0, 1)
        rows = [(f"c{who:05d}", AS_OF - timedelta(days=100 + who % 50), spend[who]) for who in range(N)]
        rows += [
            (f"c{who:05d}", AS_OF + timedelta(days=1 + who % 25), spend[who]) for who in np.flatnonzero(bought).tolist()
        ]
        rows += [("other", AS_OF + timedelta(days=days), 5.0)]
        frame = pl.DataFrame(rows, schema=["customer_id", "order_date", "amount"], orient="row").filter(
            pl.col("order_date") <= AS_OF + timedelta(days=days)
        )
        path = tmp_path / "orders.csv"
        frame.with_row_index("order_id").with_columns(pl.col("amount").round(2)).write_csv(path)
        return path

    return write


@pytest.fixture
def plan(repurchase: Command) -> Command:
    """Plans a campaign in a folder, at home in the folder above it."""

    def call(scores: Path, out: Path, *more: object) -> Any:
        return repurchase("campaign", "plan", scores, "--out", out, "--home", out.parent, "--effect", 5, *MONEY, *more)

    return call


@pytest.fixture
def measure(repurchase: Command) -> Command:
    """Measures it."""

    def call(campaign: Path, log: Path, *more: object) -> Any:
        return repurchase("campaign", "measure", campaign, log, "--home", campaign.parent, *more)

    return call
