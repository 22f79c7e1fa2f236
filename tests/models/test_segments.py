"""Segments, risk bands and actions: each threshold on both sides."""

import json
from dataclasses import replace
from typing import Any

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

THRESHOLDS = SegmentThresholds(
    risk_horizon_days=365, high_value=100.0, second_purchase_days=60.0, worth_winning=0.10, worth_value=5.0
)


def labelled(
    p: float,
    *,
    value: float = 10.0,
    frequency: float = 4,
    silence: float = 10,
    gap: float = 30,
    thresholds: SegmentThresholds = THRESHOLDS,
) -> dict[str, str]:
    columns = {"p": p, "value": value, "frequency": frequency, "days_since_last": silence, "gap_days": gap}
    found = label_segments(thresholds, **{name: np.array([number], dtype=float) for name, number in columns.items()})
    return {name: texts[0] for name, texts in segment_texts(found).items()}


@pytest.mark.parametrize(
    ("segment", "customer"),
    [
        ("lost", {"p": 0.05, "silence": 400}),
        ("lost", {"p": 0.05, "silence": 400, "value": 500}),
        ("lost", {"p": 0.05, "silence": 400, "frequency": 0, "gap": np.nan}),
        ("lost", {"p": 0.0999, "silence": 46}),
        ("win back", {"p": 0.10, "silence": 46}),
        ("lost", {"p": 0.60, "silence": 46, "value": 4.99}),
        ("win back", {"p": 0.60, "silence": 46, "value": 5.0}),
        ("first-time buyer", {"p": 0.05, "silence": 60, "frequency": 0, "gap": np.nan}),
        ("first-time buyer", {"p": 0.95, "silence": 1, "frequency": 0, "gap": np.nan, "value": 500}),
        ("win back", {"p": 0.20, "silence": 60.01, "frequency": 0, "gap": np.nan}),
        ("win back", {"p": 0.20, "silence": 61, "frequency": 0, "gap": np.nan, "value": 500}),
        ("valuable and slipping", {"p": 0.60, "silence": 45.01, "value": 100}),
        ("valuable and slipping", {"p": 0.15, "silence": 46, "value": 100}),
        ("valuable and slipping", {"p": 0.75, "silence": 46, "value": 100, "frequency": 1}),
        ("win back", {"p": 0.60, "silence": 46, "value": 99.99}),
        ("best and most loyal", {"p": 0.60, "silence": 45, "value": 100}),
        ("best and most loyal", {"p": 0.301, "silence": 45, "value": 100, "frequency": 2}),
        ("regular", {"p": 0.30, "silence": 45, "value": 100, "frequency": 2}),
        ("regular", {"p": 0.60, "silence": 45, "value": 99.99, "frequency": 2}),
        ("regular", {"p": 0.60, "silence": 45, "value": 100, "frequency": 1}),
        ("regular", {"p": 0.20, "silence": 10, "value": 500}),
        ("regular", {"p": 0.05, "silence": 10, "value": 1}),
        ("regular", {"p": 0.60, "silence": 45}),
        ("regular", {"p": 0.60, "silence": 90, "gap": np.nan}),
        ("win back", {"p": 0.60, "silence": 90.01, "gap": np.nan}),
    ],
)
def test_segment(segment: str, customer: dict[str, float]) -> None:
    found = labelled(**customer)
    assert found["segment"] == segment
    assert found["action"] == ACTIONS[segment]


@pytest.mark.parametrize(
    ("late_from", "frequency", "last_quiet_day"),
    [(2.0, 4, 2 * (4 * 30 + 40) / 5), (2.0, 1, 2 * (30 + 40) / 2), (1.25, 9, 1.25 * (9 * 30 + 40) / 10)],
)
def test_a_customer_is_late_after_so_many_times_the_own_rhythm(
    late_from: float, frequency: float, last_quiet_day: float
) -> None:
    shop = replace(THRESHOLDS, late_from=late_from, usual_gap_days=40.0)
    for silence, segment in ((last_quiet_day - 1e-6, "regular"), (last_quiet_day + 1e-6, "win back")):
        assert labelled(0.6, frequency=frequency, silence=silence, thresholds=shop)["segment"] == segment


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
        THRESHOLDS,
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


def learned(**changed: Any) -> SegmentThresholds:
    shop = {
        "p": np.full(100, 0.3),
        "value": np.arange(101.0),
        "first_gap_days": np.arange(101.0),
        "risk_horizon_days": 90,
        "purchases": np.array([2.0, 6.0, 9.0]),
        "own_gap_days": np.array([10.0, 20.0, np.nan]),
        "gap_over_own": np.append(np.linspace(0.0, 2.5, 101), np.nan),
    }
    return fit_segment_thresholds(**{**shop, **changed})


def test_thresholds_are_those_quantiles_of_the_shop() -> None:
    thresholds = learned()
    assert thresholds.risk_horizon_days == 90
    assert (thresholds.worth_value, thresholds.high_value) == (pytest.approx(20.0), pytest.approx(80.0))
    assert thresholds.second_purchase_days == pytest.approx(80.0)
    assert thresholds.second_purchase_from_days == pytest.approx(25.0)
    assert thresholds.second_purchase_median_days == pytest.approx(50.0)
    assert thresholds.usual_gap_days == 15.0
    assert thresholds.late_from == pytest.approx(2.0)
    assert thresholds.loyal_purchases == 6


@pytest.mark.parametrize(
    ("mean_p", "worth"), [(0.3, 0.15), (0.1, 0.05), (0.04, 0.02), (0.02, 0.02), (0.4, 0.20), (0.9, 0.20)]
)
def test_half_the_mean_probability_is_worth_winning_within_bounds(mean_p: float, worth: float) -> None:
    assert learned(p=np.array([mean_p - 0.01, mean_p + 0.01])).worth_winning == pytest.approx(worth)


@pytest.mark.parametrize(
    ("ratios", "late_from"), [([1.0] * 5, 1.25), ([1.3] * 5, 1.3), ([2.9] * 5, 2.9), ([9.0] * 5, 3.0), ([np.nan], 1.5)]
)
def test_late_is_bounded(ratios: list[float], late_from: float) -> None:
    assert learned(gap_over_own=np.array(ratios)).late_from == pytest.approx(late_from)


@pytest.mark.parametrize(("purchases", "loyal"), [([2.0] * 9, 3), ([3.9] * 3, 3), ([4.0] * 3, 4), ([], 3)])
def test_nobody_is_loyal_below_three_purchase_days(purchases: list[float], loyal: int) -> None:
    assert learned(purchases=np.array(purchases)).loyal_purchases == loyal


def test_a_shop_without_repeat_buyers_has_defaults() -> None:
    quiet = fit_segment_thresholds(p=np.zeros(9), value=np.ones(9), first_gap_days=np.array([]), risk_horizon_days=30)
    assert quiet == SegmentThresholds(
        risk_horizon_days=30,
        high_value=1.0,
        second_purchase_days=90.0,
        worth_winning=0.02,
        worth_value=1.0,
        usual_gap_days=0.0,
        late_from=1.5,
        loyal_purchases=3,
    )
    assert learned(first_gap_days=np.full(5, 3.0)).second_purchase_days == 7.0
    assert learned(first_gap_days=np.full(5, 8.0)).second_purchase_days == 8.0


def test_stored_thresholds_are_restored_and_show_the_bands() -> None:
    stored = json.loads(json.dumps(learned().to_dict()))
    assert (stored["high_risk_from"], stored["low_risk_below"]) == (0.70, 0.30)
    assert SegmentThresholds.from_dict(stored) == learned()
