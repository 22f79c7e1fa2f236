"""Figures: their sentences follow the data, the same data give the same bytes, and nothing odd breaks them."""

import re
from typing import Any

import matplotlib as mpl
import polars as pl
import pytest

from repurchase.report import charts, history_charts, prediction_charts
from repurchase.report.prediction_charts import buyers_captured
from repurchase.schemas import RFM


def words(picture: charts.Chart | None) -> str:
    assert picture is not None
    drawn = re.sub(r"<[^>]+>", " ", charts.to_svg(picture))
    return " ".join(drawn.replace("\u202f", " ").split())


def test_a_finding_follows_its_numbers() -> None:
    measures = {"repeat_within": {"30": 0.1, "365": 0.42}, "repeat_within_observed": {"30": 900, "365": 500}}
    drawn = words(history_charts.repeat_within_chart(measures | {"median_within_days": 365}))
    assert "42 of 100 first-time customers came back within a year" in drawn
    assert "10%" in drawn
    assert "(900 customers)" in drawn
    other = measures | {"median_within_days": 30}  # too few were watched for a year
    assert "10 of 100 first-time customers came back within 30 days" in words(history_charts.repeat_within_chart(other))


def test_gains_name_the_share_found(judged: dict[str, Any]) -> None:
    drawn = words(prediction_charts.gains_chart(judged))
    assert "A fifth of the customers, the likeliest first, holds 62% of the buyers; under the best rule 44%" in drawn
    judged["gains"][3]["buyers_share"][1] = 0.7
    assert "holds 70% of the buyers" in words(prediction_charts.gains_chart(judged))


def test_calibration_names_the_miss(judged: dict[str, Any]) -> None:
    drawn = words(prediction_charts.calibration_chart(judged))
    assert (
        "Predictions for 90 days missed what happened by 1.1 points on average, the best rule by 14.0 points" in drawn
    )
    assert "within 30 days" in drawn


def test_intake_counts_every_reason(cleaned: dict[str, Any]) -> None:
    drawn = words(history_charts.cleaning_chart(cleaned))
    assert "85% of the 1,000 rows are used as they are" in drawn
    assert "missing customer: 100" in drawn


def test_the_map_holds_every_customer(scored: pl.DataFrame) -> None:
    picture = prediction_charts.rfm_chart(scored, horizon_days=90)
    assert picture is not None
    texts = [text.get_text() for text in picture.figure.axes[0].texts]
    assert sum(int(text.split("\n")[0].replace(",", "")) for text in texts) == scored.height
    assert all("%" in text for text in texts)


def test_the_map_of_an_rfm_table_needs_no_probabilities(scored: pl.DataFrame) -> None:
    picture = prediction_charts.rfm_chart(scored.select(RFM.names))
    assert picture is not None
    assert "will buy" not in picture.finding


def test_the_map_survives_one_customer_and_long_tails(scored: pl.DataFrame) -> None:
    one = prediction_charts.rfm_chart(scored.head(1), horizon_days=30)
    assert one is not None
    assert "The largest group, 1 customers" not in one.finding
    tail = scored.with_columns(frequency=pl.int_range(pl.len()) ** 2, days_since_last=pl.int_range(pl.len()) * 20)
    texts = prediction_charts.rfm_chart(tail, horizon_days=30)
    assert texts is not None
    assert len(texts.figure.axes[0].texts) <= 49


def test_risk_and_worth_sums_the_bands(scored: pl.DataFrame) -> None:
    high = scored.filter(pl.col("risk_band") == "high")
    drawn = words(prediction_charts.risk_chart(scored, currency="USD"))
    assert f"At high risk: {high.height} customers, with US${high['value_at_risk'].sum():,.0f} of the" in drawn


def test_probabilities_count_everyone(scored: pl.DataFrame) -> None:
    picture = prediction_charts.probability_chart(scored, horizon_days=90)
    assert picture is not None
    bars = [bar.get_height() for container in picture.figure.axes[0].containers for bar in container]
    assert sum(bars) == scored.height
    assert f"about {scored['p_repurchase_90d'].sum():,.0f} will buy" in picture.finding


@pytest.mark.parametrize(
    "draw",
    [
        lambda: history_charts.repeat_within_chart({}),
        lambda: history_charts.repeat_over_time_chart({}),
        lambda: history_charts.monthly_sales_chart({}),
        lambda: history_charts.cohort_chart({}),
        lambda: history_charts.cleaning_chart({}),
        lambda: prediction_charts.calibration_chart({}),
        lambda: prediction_charts.gains_chart({}),
    ],
)
def test_nothing_known_is_no_picture(draw: Any) -> None:
    assert draw() is None


def test_same_data_same_bytes_and_no_trace_of_when(scored: pl.DataFrame, judged: dict[str, Any]) -> None:
    first, second = (prediction_charts.rfm_chart(scored, horizon_days=90) for _ in range(2))
    assert first is not None
    assert second is not None
    png = prediction_charts.to_png(first)
    assert png == prediction_charts.to_png(second)
    assert charts.to_svg(first) == charts.to_svg(second)
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    assert not re.search(r"dc:date|Matplotlib v\d", charts.to_svg(first))
    kept = prediction_charts.training_charts(scored, judged, horizon_days=90)
    assert sorted(kept) == ["calibration.png", "gains.png", "rfm-map.png"]
    assert kept["rfm-map.png"] == png
    assert sorted(prediction_charts.training_charts(scored.select(RFM.names), None)) == ["rfm-map.png"]


def test_global_style_is_left_alone(scored: pl.DataFrame) -> None:
    before = dict(mpl.rcParams)
    charts.to_svg(prediction_charts.risk_chart(scored))  # type: ignore[arg-type]
    assert dict(mpl.rcParams) == before


def test_found_among() -> None:
    assert buyers_captured([0.0, 0.2, 1.0], [0.0, 0.6, 1.0], 0.2) == 0.6
    assert buyers_captured([0.0, 1.0], [0.0, 1.0], 0.3) == pytest.approx(0.3)
    assert buyers_captured([0.1, 1.0], [0.4, 1.0], 0.05) == 0.4
