"""What past campaigns teach: each against its own control group, each once, and only from files nobody has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.jobs.campaign_files import CAMPAIGN_SCHEMA, stage_outcomes
from repurchase.jobs.campaign_planning import read_past_campaigns
from repurchase.storage.delivery import Delivery

DAYS = 30
Write = Callable[..., Path]


def customers(n: int, *, reached: float, season: bool = False, seed: int = 0) -> pl.DataFrame:
    """Nobody is moved; in a season those who bought of late buy far more."""
    random = np.random.default_rng([seed, season])
    p, silent, treated = random.beta(1.2, 6, n).clip(0.01, 0.95), random.integers(1, 400, n), random.random(n) < reached
    bought = random.random(n) < np.clip(p * (1 + 5 * (silent < 100) * season), 0, 0.98)
    known = {"frequency": random.integers(0, 10, n), "age_days": random.integers(400, 900, n)}
    lot = {"stratum": np.zeros(n, dtype=np.int64), "lot": random.random(n), "segment": ["regular"] * n}
    return pl.DataFrame(
        {
            "customer_id": [f"c{number:05d}" for number in range(n)],
            "arm": np.where(treated, "treatment", "control"),
            "p": p,
            "spend": random.gamma(2, 20, n) * p,
            "days_since_last": silent,
            "bought": bought,
            "sales": 30.0 * bought,
            "spend_total": random.gamma(2, 60, n),
            **known,
            **lot,
        }
    )


@pytest.fixture
def past(tmp_path: Path) -> Write:
    """Writes a measured campaign as `measure` does."""

    def write(name: str, rows: pl.DataFrame, *, planned: str | None = None, error: float = 1.0) -> Path:
        path = tmp_path / f"{name}.measured.json"
        effect = {"value": 2.0, "low": 0.1, "high": 3.9, "error": error, "p_value": 0.04}
        record: dict[str, Any] = {
            "schema": CAMPAIGN_SCHEMA,
            "command": "campaign measure",
            "campaign": name,
            "is_over": True,
            "day": "2024-06-30",
            "horizon_days": DAYS,
            "observed_days": DAYS,
            "planned": {"digest": planned or name},
            "repurchase": {"adjusted": effect},
        }
        stage_outcomes(Delivery(path, tmp_path, tmp_path / "work"), record, rows)
        return path

    return write


def test_a_season_in_one_campaign_is_no_effect_of_either(past: Write) -> None:
    """One reached half of its customers, one nine in ten in a season. So the reached bought more; nobody was moved."""
    quiet = past("may", customers(3000, reached=0.5))
    busy = past("december", customers(3000, reached=0.9, season=True))
    found = read_past_campaigns([quiet, busy], horizon_days=DAYS)
    assert found.model is None, found.record
    assert "It does not beat all of them" in found.record["learning"]["words"]


def test_the_order_of_campaigns_changes_nothing(past: Write) -> None:
    one, other = (past(name, customers(800, reached=0.6, seed=seed)) for seed, name in enumerate(("may", "june")))
    found, again = (read_past_campaigns(paths, horizon_days=DAYS) for paths in ([one, other], [other, one]))
    assert found.record == again.record
    assert found.assumption == again.assumption


def test_a_campaign_counts_once(past: Write) -> None:
    one, again = (past(name, customers(100, reached=0.5), planned="x") for name in ("may", "again"))
    with pytest.raises(InputError, match=r"are of the same campaign, '(may|again)': it would count twice"):
        read_past_campaigns([one, again], horizon_days=DAYS)


def test_where_all_did_the_same_chance_cannot_be_told(past: Write) -> None:
    path = past("may", customers(100, reached=0.5), error=0.0)
    with pytest.raises(InputError, match=r"all bought or none did.*Leave it out of --past"):
        read_past_campaigns([path], horizon_days=DAYS)


def test_too_few_customers_are_said_to_be_held_not_reached(past: Write) -> None:
    found = read_past_campaigns([past("may", customers(100, reached=0.5))], horizon_days=DAYS)
    assert "Past campaigns hold 100 customers, too few to learn" in found.record["learning"]["words"]


def test_who_asked_to_be_forgotten_is_missed_by_nobody(past: Write, tmp_path: Path) -> None:
    path, table = past("may", customers(100, reached=0.5)), tmp_path / "may.outcomes.parquet"
    pl.read_parquet(table)[1:].write_parquet(table)
    assert "hold 99 customers" in read_past_campaigns([path], horizon_days=DAYS).record["learning"]["words"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: pl.concat([rows, rows.clear(2000)]), "2,000 rows changed"),
        (lambda rows: rows.with_columns(pl.col("p").cast(pl.String)), "100 rows changed"),
        (lambda rows: rows.with_columns(~pl.col("bought")), "100 rows changed"),
        (lambda rows: rows.with_columns(days_since_last=pl.lit(0)), "100 rows changed"),
        (lambda rows: pl.concat([rows, rows]), "100 repeated"),
        (lambda rows: rows[:50], "50 of 100 are gone"),
        (lambda rows: rows.drop("p"), "p missing"),
    ],
    ids=["null rows", "strings", "outcome", "feature", "twice", "half", "no p"],
)
def test_outcomes_that_were_altered_are_refused(
    past: Write, tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], words: str
) -> None:
    path, table = past("may", customers(100, reached=0.5)), tmp_path / "may.outcomes.parquet"
    change(pl.read_parquet(table)).write_parquet(table)
    with pytest.raises(InputError, match=rf"altered since it was written.*{words}.*Measure the campaign again\.$"):
        read_past_campaigns([path], horizon_days=DAYS)


def test_outcomes_of_another_campaign_or_none_are_refused(past: Write, tmp_path: Path) -> None:
    rows = customers(100, reached=0.5)
    path, other = past("may", rows), past("june", rows)
    table = tmp_path / "may.outcomes.parquet"
    table.write_bytes((tmp_path / "june.outcomes.parquet").read_bytes())
    with pytest.raises(InputError, match="100 rows changed"):
        read_past_campaigns([path], horizon_days=DAYS)
    assert read_past_campaigns([other], horizon_days=DAYS).model is None
    table.unlink()
    with pytest.raises(InputError, match=r"cannot be read.*Measure the campaign again"):
        read_past_campaigns([path], horizon_days=DAYS)
