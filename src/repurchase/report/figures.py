"""All pictures: those of the page, and those a training run keeps."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from repurchase.report.canvas import Picture, to_png, to_svg
from repurchase.report.evaluation_figures import calibration, gains
from repurchase.report.history_figures import (
    cohorts,
    intake,
    money_cohorts,
    repeat_over_time,
    repeat_within,
    sales_by_month,
)
from repurchase.report.score_figures import lifetime_value, probabilities, rfm_map, risk_and_worth

__all__ = [
    "Picture",
    "calibration",
    "cohorts",
    "gains",
    "intake",
    "lifetime_value",
    "money_cohorts",
    "probabilities",
    "repeat_over_time",
    "repeat_within",
    "rfm_map",
    "risk_and_worth",
    "sales_by_month",
    "to_png",
    "to_svg",
    "training_pictures",
]


def training_pictures(
    customers: pl.DataFrame, evaluation: Mapping[str, Any] | None, *, horizon_days: int | None = None
) -> dict[str, bytes]:
    """Draw what a training run keeps beside its numbers.

    Parameters
    ----------
    customers : DataFrame
        Scores, or an RFM table.
    evaluation : mapping, optional
        The evaluation.
    horizon_days : int, optional
        Whose probability colours the map; without it the number of customers does.

    Returns
    -------
    dict of str to bytes
        File name to PNG: the RFM map and, where something was judged, calibration and gains.
    """
    judged = evaluation or {}
    pictures = [rfm_map(customers, horizon_days=horizon_days), calibration(judged), gains(judged)]
    return {f"{picture.name}.png": to_png(picture) for picture in pictures if picture is not None}
