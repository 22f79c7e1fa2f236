"""A model that an earlier version saved: it is loaded and scores the same, and the same orders teach the same model.

``saved/model.json.gz`` is ``RepurchaseModel.to_state()`` and ``saved/scores.parquet`` its scores 45 days later, both
written before predictions and parts moved into `RepurchaseModel`. Write them anew only with an entry under
"Changed models" in the changelog.
"""

import copy
import gzip
import json
import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from repurchase.models.model import RepurchaseModel

SAVED = Path(__file__).parent / "saved"
DAY = date(2024, 3, 1)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress((SAVED / "model.json.gz").read_bytes()))
    return loaded


@pytest.fixture(scope="module")
def shop(simulate_orders: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return simulate_orders(customers=400, days=900, arrival_days=700, start=date(2022, 1, 1), a=0.3, b=4.0, seed=5)


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, numbers by more than rounding."""
    if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
        return [text for key in one for text in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for number, (a, b) in pairs for text in differences(a, b, f"{where}[{number}]")]
    if isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9):
        return []
    return [] if one == other and type(one) is type(other) else [f"{where}: {one} -> {other}"]


def test_an_earlier_model_scores_the_same(state: dict[str, Any], shop: pl.DataFrame) -> None:
    scores = RepurchaseModel.from_state(state).predict(shop, DAY + timedelta(days=45))
    assert_frame_equal(scores, pl.read_parquet(SAVED / "scores.parquet"), check_exact=False, rel_tol=1e-12, abs_tol=0.0)


def test_an_earlier_model_is_stored_the_same(state: dict[str, Any]) -> None:
    assert json.dumps(RepurchaseModel.from_state(state).to_state()) == json.dumps(state)


def test_the_same_orders_teach_the_same_model(state: dict[str, Any], shop: pl.DataFrame) -> None:
    state = {**state, "btyd": copy.deepcopy(state["btyd"])}
    fitted = RepurchaseModel(horizons=(30, 90), random_state=3).fit(shop, DAY)
    found = json.loads(json.dumps(fitted.to_state()))
    for btyd in (state["btyd"], found["btyd"]):
        assert not btyd["mbgnbd"].pop("note")  # "" in bundles of that time, null today
        assert not btyd["bgnbd"].pop("note")
    assert differences(state, found) == []


def test_parameters() -> None:
    model = RepurchaseModel(horizons=(30,), n_jobs=2)
    assert repr(model) == "RepurchaseModel(horizons=(30,), n_jobs=2)"
    assert list(model.get_params()) == ["clv_horizon_days", "discount_rate", "horizons", "n_jobs", "random_state"]
    with pytest.raises(ValueError, match="Invalid parameter 'horizon' for RepurchaseModel"):
        model.set_params(horizon=30)
