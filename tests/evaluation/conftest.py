"""Predictions with known truth: what a shop's customers did, and what predictors of known quality had said."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

FIRST_CUTOFF = date(2024, 1, 1)
NOISE = {"model": 0.0, "days_since_last": 1.5, "past_rate": 1.0}


def predict(
    *,
    customers: int = 2000,
    cutoffs: int = 3,
    step_days: int = 90,
    horizon_days: int = 90,
    noise: Mapping[str, float] = NOISE,
    shift: Mapping[str, float] | None = None,
    money: bool = True,
    moves: float = 0.0,
    seed: int = 0,
) -> pl.DataFrame:
    """A long table of predictions. Customers have a steady taste; each predictor sees its log-odds through noise of
    the given size and says the true probability given what it sees, shifted by ``shift`` log-odds."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(-1.5, 1.5, customers)
    level = rng.gamma(3.0, 20.0, customers)
    frames = []
    for number in range(cutoffs):
        odds = taste + moves * number
        bought = rng.random(customers) < 1 / (1 + np.exp(-odds))
        spend = np.where(bought, level * rng.gamma(4.0, 0.25, customers), 0.0)
        for name, size in noise.items():
            p = _told(odds, size, moves * number, rng) if size else 1 / (1 + np.exp(-odds))
            p = 1 / (1 + (1 - p) / p * np.exp(-(shift or {}).get(name, 0.0)))
            expects = money and name != "days_since_last"
            frames.append(
                pl.DataFrame(
                    {
                        "horizon_days": horizon_days,
                        "cutoff": FIRST_CUTOFF + timedelta(days=number * step_days),
                        "predictor": name,
                        "customer": pl.Series(np.arange(customers), dtype=pl.UInt32),
                        "p": p,
                        "spend_expected": pl.Series(p * level if expects else [None] * customers, dtype=pl.Float64),
                        "bought": bought,
                        "spend": pl.Series(spend if money else [None] * customers, dtype=pl.Float64),
                    }
                )
            )
    return pl.concat(frames)


def _told(odds: np.ndarray, size: float, moved: float, rng: np.random.Generator) -> np.ndarray:
    """P(buy | a noisy look at the log-odds): the posterior is normal; the logistic is averaged over it."""
    prior = 1.5**2
    kept = prior / (prior + size**2)
    centre = -1.5 + moved + kept * (odds + rng.normal(0, size, len(odds)) - (-1.5 + moved))
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    at = centre[:, None] + np.sqrt(prior * (1 - kept)) * nodes
    return (1 / (1 + np.exp(-at))) @ (weights / weights.sum())


@pytest.fixture(scope="session")
def make_predictions() -> Callable[..., pl.DataFrame]:
    """A function that makes predictions of known quality (see ``predict``)."""
    return predict
