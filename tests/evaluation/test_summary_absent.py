"""A metric that does not exist in a window is left out, wherever an evaluation is shown or decided by."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.evaluation.summary import summarise_evaluation
from repurchase.jobs.train import training_lines
from repurchase.registry.bundle import TrainingRun
from repurchase.registry.champion import GateVerdict, judge_evaluation
from repurchase.registry.tracking import evaluation_metrics
from repurchase.report.prediction_charts import calibration_chart, gains_chart
from repurchase.report.run_sections import evaluation_rows, grade_section

Predict = Callable[..., pl.DataFrame]

ABSENT = ("nan", "None", "inf")
NOTHING = pl.lit(False), pl.lit(0.0)
FIRST, LAST = (pl.col("cutoff") == end(pl.col("cutoff")) for end in (pl.Expr.min, pl.Expr.max))
HORIZON_30 = pl.col("horizon_days") == 30


def changed(rows: pl.DataFrame, where: pl.Expr, bought: pl.Expr, spend: pl.Expr) -> pl.DataFrame:
    known = pl.col("spend").is_not_null()
    return rows.with_columns(
        bought=pl.when(where).then(bought).otherwise("bought"),
        spend=pl.when(where & known).then(spend).otherwise("spend"),
    )


WINDOWS: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "nobody buys in one": lambda rows: changed(rows, LAST, *NOTHING),
    "nobody buys in any": lambda rows: changed(rows, pl.lit(True), *NOTHING),
    "everybody buys in one": lambda rows: changed(rows, FIRST, pl.lit(True), pl.lit(20.0)),
    "everybody buys in all": lambda rows: changed(rows, pl.lit(True), pl.lit(True), pl.lit(20.0)),
    "all is given back": lambda rows: changed(rows, FIRST, pl.col("bought"), -pl.col("spend")),
    "one customer": lambda rows: rows.filter(pl.col("customer") == 0),
    "only one": lambda rows: rows.filter(LAST),
    "nobody within a month": lambda rows: changed(
        pl.concat([rows, rows.with_columns(pl.lit(30).cast(rows.schema["horizon_days"]).alias("horizon_days"))]),
        HORIZON_30,
        *NOTHING,
    ),
}


@pytest.fixture(params=WINDOWS)
def evaluation(request: pytest.FixtureRequest, make_predictions: Predict) -> dict[str, Any]:
    rows = make_predictions(customers=400, money=request.param != "everybody buys in one")
    return summarise_evaluation(WINDOWS[request.param](rows), currency="EUR")


def require_plain(text: str) -> None:
    words = text.replace(",", " ").replace("(", " ").split()
    assert not [word for word in words if word.strip(".;%)") in ABSENT or word.startswith(("nan", "inf "))], text


def card_of(evaluation: dict[str, Any]) -> str:
    about: dict[str, Any] = {"state": {}, "as_of": date(2024, 12, 31), "horizons": (90,), "orders": {}, "cleaning": {}}
    return TrainingRun(**about, evaluation=evaluation).card("1")


def test_is_shown_as_absent(evaluation: dict[str, Any]) -> None:
    json.dumps(evaluation, allow_nan=False)
    verdict = judge_evaluation(evaluation)
    record = {"version": "1", "verdict": verdict.to_dict(), "evaluation": evaluation}
    lines = training_lines(record, Path("models/1"))
    table = next(line for line in lines if "predictor" in line)
    assert "Rule: own past rate" in table
    assert "past_rate" not in table
    require_plain("\n".join(lines))
    require_plain(card_of(evaluation))
    require_plain(json.dumps([evaluation_rows(evaluation), grade_section(evaluation)], ensure_ascii=False))
    assert all(metric.value == metric.value for metric in evaluation_metrics(evaluation))
    for picture in (calibration_chart(evaluation), gains_chart(evaluation)):
        require_plain(picture.finding if picture else "")


def test_every_single_one_may_be_absent(make_predictions: Predict) -> None:
    """Whatever another version or a later metric leaves out."""
    whole = summarise_evaluation(make_predictions(customers=200), currency="EUR")

    def without(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: None if key == name else without(part, name) for key, part in value.items()}
        return [without(part, name) for part in value] if isinstance(value, list) else value

    for name in (*whole["backtest"][0], *whole["horizons"][0]):
        if name in {"horizon_days", "cutoff", "predictor", "n_customers"}:
            continue
        evaluation = without(whole, name)
        verdict = judge_evaluation(evaluation, evaluation)
        record = {"version": "1", "verdict": verdict.to_dict(), "evaluation": evaluation}
        text = "\n".join(training_lines(record, Path("models/1")))
        text += card_of(evaluation)
        evaluation_metrics(evaluation)
        json.dumps([evaluation_rows(evaluation), grade_section(evaluation)])
        assert verdict.passed == judge_evaluation(whole, whole, tolerance=0).passed or name in {"log_loss", "grade"}
        if name not in {"grade", "grade_words"}:
            require_plain(text)


def test_without_buyers_in_one_window_the_others_are_judged(make_predictions: Predict) -> None:
    rows = make_predictions()
    with_all, without = summarise_evaluation(rows.filter(~LAST)), summarise_evaluation(changed(rows, LAST, *NOTHING))

    then, now = (found["horizons"][0] for found in (with_all, without))
    assert now["grade"] in "ABCD"
    assert now["n_cutoffs"] == 3
    for name in ("explained", "explained_by_best_rule"):
        assert now[name] == pytest.approx(then[name])
    for name in ("auc", "top_decile_lift", "buyers_bias", "spend_gini"):
        assert now["model"][name] == pytest.approx(then["model"][name])
    assert now["buyers_total"]["bias"] == pytest.approx(then["buyers_total"]["bias"])
    assert now["buyers_total"]["bias_by_cutoff"] == [*then["buyers_total"]["bias_by_cutoff"], None]
    assert now["model"]["log_loss"] < then["model"]["log_loss"]  # which is measured there too


def test_the_grade_is_of_a_horizon_that_can_be_graded(make_predictions: Predict) -> None:
    rows = make_predictions()
    quiet = changed(rows, pl.lit(True), *NOTHING)
    months = rows.with_columns(pl.lit(30).cast(rows.schema["horizon_days"]).alias("horizon_days"))

    evaluation = summarise_evaluation(pl.concat([quiet, months]))

    assert [row["grade"] for row in evaluation["horizons"]] == [evaluation["grade"], "-"]
    assert evaluation["primary_horizon_days"] == 30
    assert summarise_evaluation(quiet)["grade"] == "-"


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "Next: train on a longer history"),
        ({"gain_over_rule": -0.1}, "days_since_last in the scores (`repurchase score ORDERS --model 7`)"),
        ({"gain_over_rule": 0.1, "champion": 0.3}, "Next: nothing; the champion goes on scoring."),
    ],
)
def test_a_refusal_says_what_to_do_next(numbers: dict[str, float], words: str) -> None:
    verdict = GateVerdict(False, "Refused.", numbers)
    evaluation = {"grade": "D", "grade_words": "", "reasons": [], "limits": [], "backtest": []}
    record = {"version": "7", "verdict": verdict.to_dict(), "evaluation": evaluation}
    last = training_lines(record, Path("models/7"))[-1]
    assert words in last
    assert "`repurchase models promote 7 --force`" in last
