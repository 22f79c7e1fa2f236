"""Whatever the figures, each message on them is rendered in every language."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from repurchase.evaluation import drift
from repurchase.evaluation import realised as advice
from repurchase.evaluation.grade import GradeInputs, grade_of
from repurchase.evaluation.summary import summarise_evaluation
from repurchase.i18n.catalogues import LOCALES
from repurchase.i18n.messages import Message, message, render

STANDING = GradeInputs("past_rate", 0.40, 0.30, 0.26, 0.05, (0.07, 0.08, 0.09), 0.01, 0.005, 500, 4500)
STANDINGS = {
    "A": STANDING,
    "times as much": replace(STANDING, rule_loss=0.39),
    "the rule explains nothing": replace(STANDING, rule_loss=0.42),
    "much is explained": replace(STANDING, base_loss=0.90, rule_loss=0.10, model_loss=0.06),
    "off": replace(STANDING, ece=0.09),
    "a rule was better once": replace(STANDING, gains_by_cutoff=(0.07, -0.01, 0.09), model_loss=0.299),
    "chance": replace(STANDING, gain_low=-0.01),
    "one cut-off": replace(STANDING, gains_by_cutoff=(0.07,), ece=0.05),
    "explains little": replace(STANDING, base_loss=0.303, rule_loss=0.3025, model_loss=0.3),
    "may be chance": replace(STANDING, gain_low=-0.01, gains_by_cutoff=(0.07,)),
    "worse": replace(STANDING, best_rule="days_since_last", model_loss=0.31, gain_low=-0.1, gains_by_cutoff=(-0.1,)),
    "few buyers": replace(STANDING, n_bought=3),
    "few others": replace(STANDING, n_not=3),
}
WORLDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "in order of money": {"noise": {"model": 0.4, "days_since_last": 1.5, "past_rate": 1.0, "btyd": 0.8}},
    "poor": {"noise": {"model": 2.5, "days_since_last": 1.5, "past_rate": 1.0}, "shift": {"model": 1.0}},
    "one cut-off": {"cutoffs": 1, "customers": 300, "money": False},
    "two close ones": {"cutoffs": 2, "step_days": 30, "customers": 300},
    "a year": {"cutoffs": 3, "step_days": 200, "moves": 1.0, "shift": {"model": -1.0}},
    "hardly anybody": {"customers": 15, "cutoffs": 1},
}
WHY = message("not_judged.too_short")


def assert_rendered(messages: list[Message]) -> None:
    """Each is rendered in every language, with a text for every message within it."""
    assert messages
    for locale in LOCALES:
        for one in messages:
            text = render(one, locale=locale)
            assert not any(key in text for key in keys_of(one)), (locale, text)
            assert "{" not in text


def keys_of(content: Any) -> list[str]:
    """Keys of a message and of those in its parameters, as far as a text cannot hold them by chance."""
    if isinstance(content, dict):
        own = [content["key"]] if "." in content.get("key", "") else []
        return [*own, *(key for part in content.values() for key in keys_of(part))]
    return [key for part in content for key in keys_of(part)] if isinstance(content, list | tuple) else []


@pytest.mark.parametrize("name", STANDINGS)
def test_every_grade(name: str) -> None:
    assert_rendered([grade_of(STANDINGS[name]).message])


@pytest.mark.parametrize("name", WORLDS)
def test_reasons_and_limits(name: str, make_predictions: Callable[..., pl.DataFrame]) -> None:
    near = make_predictions(**WORLDS[name])
    far = make_predictions(**{**WORLDS["poor"], "horizon_days": 180, "customers": 400, "cutoffs": 1})
    for predictions in (near, pl.concat([near, far])):
        told = summarise_evaluation(
            predictions, primary_horizon_days=365, not_judged={365: WHY, 1: WHY}, currency="NOK"
        )
        words = [told["grade_words"], told["rule"], *(row["grade_words"] for row in told["horizons"] if row["judged"])]
        assert_rendered([*words, *told["reasons"], *told["limits"], WHY])
    assert_rendered([summarise_evaluation(near.clear(), not_judged={90: WHY})["grade_words"]])


def part(level: str, **figures: float) -> dict[str, Any]:
    return {"level": level, **figures}


@pytest.mark.parametrize("level", drift.DRIFT_LEVELS)
@pytest.mark.parametrize("features", [0, 1, 3, 9])
def test_drift(level: str, features: int) -> None:
    rows = [{"feature": name, "psi": 12.345, "level": level} for name in ("rate", "days_bought_7d", "age_days") * 3]
    found = {
        "level": level,
        "drifted": level == "drifted",
        "profile_as_of": "2024-06-30",
        "volume": part(level, last_week=1234.0, last_four_weeks=56.7, low=0.0, high=80_000.0),
        "newcomers": part(level, share=0.123, low=0.0, high=1.0),
        "baskets": part(level, mean=1234.5, low=10.0, high=20.0),
        "set_aside": part(level, share=0.2, then=0.01),
        "features": rows[:features],
    }
    words = drift._drift_message(found)
    assert_rendered([words, message(f"drift_level.{level}")])
    row = {
        "passed": True,
        "horizon_days": 90,
        "p_mean": 0.4,
        "bought_share": 0.2,
        "grade": "D",
        "ends": "2024-08-01",
        "log_loss_gain": -0.03,
        "log_loss_gain_high": 0.01,
        "then": {"grade": "A", "log_loss_gain": 0.2},
    }
    for horizons in (
        [],
        [{**row, "model": {"excess_ece": 0.2}}],
        [{**row, "model": {"excess_ece": 0.0}, "then": None}],
    ):
        for age in (1, 900):
            told = advice.retraining_advice(horizons, drift={**found, "known": True, "words": words}, age_days=age)
            assert_rendered([told["words"]])
    waiting = [{"passed": False, "ends": str(date(2024, 8, 1))}]
    assert_rendered([advice.retraining_advice(waiting, drift={"drifted": False, "known": False}, age_days=3)["words"]])
