"""Segments, risk bands and actions."""

import json

import numpy as np
import polars as pl
import pytest

from repurchase.models.segments import (
    ACTIONS,
    SEGMENTS,
    SegmentThresholds,
    fit_segment_thresholds,
    label_segments,
    segment_texts,
)

TIERS = SegmentThresholds(
    risk_horizon_days=365, high_value=100.0, second_purchase_days=60.0, worth_winning=0.10, worth_value=5.0
)


def labelled(
    p: float, *, value: float = 10.0, frequency: float = 4, silence: float = 10, gap: float = 30
) -> dict[str, str]:
    columns = {"p": p, "value": value, "frequency": frequency, "days_since_last": silence, "gap_days": gap}
    found = label_segments(TIERS, **{name: np.array([number], dtype=float) for name, number in columns.items()})
    return {name: words[0] for name, words in segment_texts(found).items()}


@pytest.mark.parametrize(
    ("segment", "who"),
    [
        ("lost", {"p": 0.05, "silence": 400}),
        ("lost", {"p": 0.05, "silence": 400, "value": 500}),
        ("lost", {"p": 0.05, "silence": 400, "frequency": 0, "gap": np.nan}),
        ("first-time buyer", {"p": 0.05, "silence": 60, "frequency": 0, "gap": np.nan}),
        ("first-time buyer", {"p": 0.95, "silence": 1, "frequency": 0, "gap": np.nan, "value": 500}),
        ("win back", {"p": 0.20, "silence": 61, "frequency": 0, "gap": np.nan}),
        ("valuable and slipping", {"p": 0.60, "silence": 46, "value": 100}),
        ("valuable and slipping", {"p": 0.15, "silence": 46, "value": 100}),
        ("valuable and slipping", {"p": 0.75, "silence": 46, "value": 100}),
        ("best and most loyal", {"p": 0.60, "silence": 45, "value": 100}),
        ("best and most loyal", {"p": 0.60, "silence": 45, "value": 100, "frequency": 2}),
        ("regular", {"p": 0.60, "silence": 45, "value": 100, "frequency": 1}),
        ("regular", {"p": 0.20, "silence": 10}),
        ("regular", {"p": 0.20, "silence": 10, "value": 500}),
        ("lost", {"p": 0.60, "silence": 46, "value": 4.9}),
        ("regular", {"p": 0.05, "silence": 10, "value": 1}),
        ("win back", {"p": 0.60, "silence": 46}),
        ("regular", {"p": 0.60, "silence": 45}),
    ],
)
def test_segment(segment: str, who: dict[str, float]) -> None:
    found = labelled(**who)
    assert found["segment"] == segment
    assert found["action"] == ACTIONS[segment]


@pytest.mark.parametrize(
    ("p", "band"), [(0.0, "high"), (0.30, "high"), (0.31, "medium"), (0.70, "medium"), (0.71, "low"), (1.0, "low")]
)
def test_risk_band(p: float, band: str) -> None:
    assert labelled(p)["risk_band"] == band


def test_everyone_has_one_segment_one_band_and_its_action() -> None:
    rng = np.random.default_rng(0)
    n = 3_000
    frequency = np.floor(rng.gamma(0.5, 3, n))
    codes = label_segments(
        TIERS,
        p=rng.random(n),
        value=rng.gamma(1, 70, n),
        frequency=frequency,
        days_since_last=rng.gamma(1, 100, n),
        gap_days=np.where(frequency > 0, rng.gamma(1, 60, n), np.nan),
    )
    found = pl.DataFrame(segment_texts(codes))
    assert found.null_count().row(0) == (0, 0, 0)
    assert set(found["segment"]) == set(SEGMENTS)
    assert set(found["risk_band"]) == {"high", "medium", "low"}
    assert found.select((pl.col("segment").replace_strict(ACTIONS) == pl.col("action")).all()).item()


def test_thresholds_are_the_shops_own() -> None:
    value, gaps = np.arange(1.0, 101.0), np.arange(1.0, 101.0)
    thresholds = fit_segment_thresholds(p=np.full(100, 0.4), value=value, first_gap_days=gaps, risk_horizon_days=90)
    assert (thresholds.risk_horizon_days, thresholds.high_value) == (90, pytest.approx(80.2))
    assert thresholds.second_purchase_days == pytest.approx(80.2)
    quiet = fit_segment_thresholds(p=np.zeros(9), value=np.ones(9), first_gap_days=np.array([]), risk_horizon_days=90)
    assert 0 < quiet.worth_winning < thresholds.worth_winning < 0.4  # below what is usual in the shop
    assert quiet.second_purchase_days > 0
    assert SegmentThresholds.from_dict(json.loads(json.dumps(thresholds.to_dict()))) == thresholds
