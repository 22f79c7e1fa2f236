"""Ranges of spend and dates of the next order: how often they hold, how wide they are, beside a simulation."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from benchmarks.accuracy.logs import Log, Outcome, as_date
from benchmarks.accuracy.ours import NAME, judged_scores
from benchmarks.accuracy.run import Row
from benchmarks.accuracy.simulation import simulate_spend

TAILS = np.array([0.02, 0.04, 0.06, 0.08, 0.10, 0.12, 0.15, 0.18, 0.20, 0.25, 0.30, 0.35, 0.40])
NOMINAL = 0.20
SIMULATION, SIMULATION_EQUAL = "simulation", "simulation, as sure as ours"


def judge_ranges(log: Log) -> Iterator[Row]:
    """Per cut-off: our 80 % range of spend, the simulation's, and the simulation's at our lowest decile's coverage."""
    for cutoff in log.cutoffs:
        days = log.history(cutoff)
        if not days.has_money:
            return
        outcome, scores = log.outcome(days), judged_scores(log, cutoff)
        expected = scores[f"spend_expected_{log.horizon_days}d"].fill_null(0.0).to_numpy()
        low, high = (scores[name].fill_null(0.0).to_numpy() for name in ("clv_low", "clv_high"))
        about = {"log": log.name, "cutoff": as_date(cutoff).isoformat()}
        ours = _coverage(outcome, expected, low, high)
        yield about | {"model": NAME} | ours
        draws = simulate_spend(days, log.horizon_days)
        if draws is None:
            continue
        mean = draws.mean(axis=0)
        levels = np.quantile(draws, np.concatenate([TAILS / 2, 1 - TAILS / 2]), axis=0)
        rows = [_coverage(outcome, mean, levels[i], levels[i + len(TAILS)]) for i in range(len(TAILS))]
        yield about | {"model": SIMULATION} | rows[int(np.flatnonzero(TAILS == NOMINAL)[0])]
        yield about | {"model": SIMULATION_EQUAL} | _as_sure_as(rows, ours["lowest_decile"])


def _coverage(outcome: Outcome, expected: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    # Money taken back can make an outcome negative; a range that begins at nothing holds it.
    spend = np.maximum(outcome.spend, 0.0)
    inside = (spend >= low - 1e-6) & (spend <= high + 1e-6)
    deciles = [float(inside[part].mean()) for part in np.array_split(np.argsort(expected, kind="stable"), 10)]
    return {
        "coverage": float(inside.mean()),
        "lowest_decile": min(deciles),
        "width": float((high - low).mean()),
    }


def _as_sure_as(rows: list[dict[str, float]], lowest: float) -> dict[str, float]:
    held = np.array([row["lowest_decile"] for row in rows])[::-1]  # rising
    return {
        name: float(np.interp(lowest, np.maximum.accumulate(held), [row[name] for row in rows[::-1]]))
        for name in ("coverage", "lowest_decile", "width")
    }


def judge_dates(log: Log) -> Iterator[Row]:
    """Per cut-off: next-order dates of those who did order before the log ends."""
    for cutoff in log.cutoffs:
        rows = judged_scores(log, cutoff).with_columns(_next_day(log, cutoff))
        given = rows.filter(pl.col("next_order_date").is_not_null())
        came = given.filter(pl.col("next").is_not_null())
        inside = pl.col("next").is_between("next_order_date_low", "next_order_date_high")
        yield {
            "log": log.name,
            "cutoff": as_date(cutoff).isoformat(),
            "watched_days": log.last_day - cutoff,
            "given": given.height,
            "came": came.height,
            "inside": came.select(inside.mean()).item(),
            "early": came.select((pl.col("next") < pl.col("next_order_date_low")).mean()).item(),
            "by_median": came.select((pl.col("next") <= pl.col("next_order_date")).mean()).item(),
        }


def _next_day(log: Log, cutoff: int) -> pl.Series:
    days, later = log.history(cutoff), log.history(log.last_day)
    after = later.day > cutoff
    known = dict(zip(later.customer_id[later.customer[after]][::-1], later.day[after][::-1], strict=True))
    return pl.Series("next", [known.get(who) for who in days.customer_id], dtype=pl.Int32).cast(pl.Date)
