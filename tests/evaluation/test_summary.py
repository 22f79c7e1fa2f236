"""The evaluation as a whole: its shape, its grades on predictions of known quality, its sentences."""

import json
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from repurchase.evaluation.grade import grading_rule
from repurchase.evaluation.metrics import auc, log_loss
from repurchase.evaluation.summary import summarise_evaluation
from repurchase.i18n.messages import Message, message, render

Maker = Callable[..., pl.DataFrame]
WITH_PARTS = {"model": 0.0, "days_since_last": 1.5, "past_rate": 1.0, "btyd": 0.3, "boosting": 0.2}


@pytest.fixture(scope="module")
def predictions(make_predictions: Maker) -> pl.DataFrame:
    return pl.concat(
        [
            make_predictions(noise=WITH_PARTS),
            make_predictions(horizon_days=30, step_days=30, noise=WITH_PARTS | {"model": 2.5}, seed=1),
        ]
    )


@pytest.fixture(scope="module")
def evaluation(predictions: pl.DataFrame) -> dict:
    return summarise_evaluation(predictions, not_judged={365: WHY}, currency="GBP")


WHY = message("not_judged.too_short")


def _holds(messages: list[Message], *parts: str) -> bool:
    return any(all(part in render(one) for part in parts) for one in messages)


def test_it_is_json_and_says_how_it_was_made(evaluation: dict) -> None:
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert evaluation["schema"] == 1
    assert evaluation["rule"] == grading_rule()
    assert (evaluation["primary_horizon_days"], evaluation["best_rule"]) == (90, "past_rate")


def test_knowing_the_truth_earns_an_a(evaluation: dict) -> None:
    assert evaluation["grade"] == "A"
    assert render(evaluation["grade_words"]).startswith("The model explains ")


def test_horizons_hold_the_means_over_cutoffs(evaluation: dict, predictions: pl.DataFrame) -> None:
    short, middle, long = evaluation["horizons"]
    assert [h["horizon_days"] for h in (short, middle, long)] == [30, 90, 365]
    assert set(middle["rules"]) == {"days_since_last", "past_rate"}
    assert set(middle["parts"]) == {"btyd", "boosting"}
    rows = predictions.filter(pl.col("horizon_days") == 90, pl.col("predictor") == "model").partition_by("cutoff")
    assert middle["model"]["auc"] == pytest.approx(np.mean([auc(r["bought"], r["p"]) for r in rows]), abs=1e-6)
    assert middle["model"]["log_loss"] == pytest.approx(
        np.mean([log_loss(r["bought"], r["p"]) for r in rows]), abs=1e-6
    )
    ratio = middle["model"]["log_loss"] / middle["rules"]["past_rate"]["log_loss"]
    assert middle["log_loss_gain"] == pytest.approx(1 - ratio, abs=1e-5)


def test_every_horizon_has_the_same_keys(evaluation: dict) -> None:
    keys = [set(horizon) for horizon in evaluation["horizons"]]
    assert keys[0] == keys[1] == keys[2]
    assert {"horizon_days", "judged", "n_cutoffs", "model", "rules", "parts", "why_not_judged"} <= keys[0]


def test_a_horizon_that_could_not_be_judged_says_why(evaluation: dict) -> None:
    long = evaluation["horizons"][2]
    assert (long["judged"], long["grade"], long["model"]) == (False, "-", None)
    assert long["why_not_judged"] == WHY
    assert message("limit.not_judged", days=365, why=WHY) in evaluation["limits"]
    assert render(message("limit.not_judged", days=365, why=WHY)).startswith("365 days ahead could not be judged: the")


def test_the_backtest_is_one_row_per_horizon_cutoff_and_predictor(evaluation: dict) -> None:
    rows = pl.DataFrame(evaluation["backtest"])
    assert rows.height == 2 * 3 * 5
    assert not rows.select("horizon_days", "cutoff", "predictor").is_duplicated().any()
    assert rows["n_customers"].unique().to_list() == [2000]
    first = rows.filter(horizon_days=90, cutoff="2024-01-01")
    assert first["n_bought"].n_unique() == 1
    by_predictor = rows.filter(pl.col("horizon_days") == 90).group_by("predictor").agg(pl.col("log_loss").mean())
    means = dict(by_predictor.iter_rows())
    middle = evaluation["horizons"][1]
    assert means["model"] == pytest.approx(middle["model"]["log_loss"], abs=1e-6)
    assert means["btyd"] == pytest.approx(middle["parts"]["btyd"]["log_loss"], abs=1e-6)


def test_a_part_that_was_silent_at_first_is_judged_where_it_spoke(predictions: pl.DataFrame) -> None:
    late = predictions.filter((pl.col("predictor") != "btyd") | (pl.col("cutoff") > pl.col("cutoff").min()))
    judged = summarise_evaluation(late)
    rows = [row for row in judged["backtest"] if (row["horizon_days"], row["predictor"]) == (90, "btyd")]
    assert [row["cutoff"] for row in rows] == ["2024-03-31", "2024-06-29"]
    part = judged["horizons"][1]["parts"]["btyd"]
    assert part["n_cutoffs"] == 2
    assert part["auc"] == pytest.approx(np.mean([row["auc"] for row in rows]), abs=1e-6)
    assert judged["horizons"][1]["model"]["n_cutoffs"] == 3


def test_pictures_have_their_tables(evaluation: dict) -> None:
    calibration, gains = evaluation["calibration"], evaluation["gains"]
    assert len(calibration) == len(gains) == 10
    assert [b["n"] for b in calibration[0]["bins"]] == [600] * 10
    for curve in gains:
        assert (curve["contacted_share"][0], curve["contacted_share"][-1]) == (0, 1)
        assert len(curve["buyers_share"]) == len(curve["spend_share"]) == len(curve["contacted_share"])
        assert curve["buyers_share"][-1] == curve["spend_share"][-1] == 1
    model = next(g for g in gains if (g["horizon_days"], g["predictor"]) == (90, "model"))
    tenth = model["buyers_share"][model["contacted_share"].index(0.1)]
    lift = evaluation["horizons"][1]["model"]["top_decile_lift"]
    assert tenth == pytest.approx(lift / 10, abs=1e-6)


def test_money_is_that_of_the_gains_curve(evaluation: dict) -> None:
    money = evaluation["money_top_decile"]
    assert (money["currency"], money["rule"], money["horizon_days"]) == ("GBP", "past_rate", 90)
    assert money["gain"] == pytest.approx(money["model"] - money["best_rule"], abs=1e-5)
    assert money["gain_low"] < money["gain"] < money["gain_high"]
    assert 0 < money["model"] < money["available"]


def test_the_same_predictions_in_any_row_order_give_the_same_digits(
    predictions: pl.DataFrame, evaluation: dict
) -> None:
    shuffled = predictions.sample(fraction=1, shuffle=True, seed=5)
    again = summarise_evaluation(shuffled, not_judged={365: WHY}, currency="GBP")
    assert json.dumps(again) == json.dumps(evaluation)


def test_reasons_tell_lead_cutoffs_calibration_buyers_money_and_totals(evaluation: dict) -> None:
    reasons = evaluation["reasons"]
    money = evaluation["money_top_decile"]
    assert len(reasons) == 8
    assert _holds(reasons, "within 90 days", "the customer's own past rate", "95% interval", "lower")
    assert _holds(reasons, "The purchase-rate model alone (MBG/NBD) explains", "log loss")
    assert _holds(reasons, "beat every rule at 3 of 3 cut-offs")
    assert _holds(reasons, "Promised and actual share")
    assert _holds(reasons, "times the buyers of a random list")
    assert _holds(reasons, f"£{money['model']:,.0f}", f"£{money['best_rule']:,.0f}")
    assert _holds(reasons, "The number of buyers in total: expect an error of")
    assert _holds(reasons, "Spend in total: expect an error of")


def test_a_horizon_where_a_rule_wins_is_named_with_the_rule(evaluation: dict) -> None:
    assert evaluation["horizons"][0]["grade"] == "D"
    assert _holds(evaluation["limits"], "30 days ahead", "use the customer's own past rate there")


def test_another_horizon_can_be_the_primary_one(predictions: pl.DataFrame) -> None:
    short = summarise_evaluation(predictions, primary_horizon_days=30)
    assert (short["primary_horizon_days"], short["grade"]) == (30, "D")
    assert not _holds(short["reasons"], "What keeps it from")
    assert render(short["grade_words"]) == "Worse than a simple rule: use the customer's own past rate instead."
    assert short["money_top_decile"]["currency"] is None


def test_a_primary_horizon_that_could_not_be_judged_gives_way(predictions: pl.DataFrame) -> None:
    given = summarise_evaluation(predictions, primary_horizon_days=365, not_judged={365: "too long"})
    assert (given["primary_horizon_days"], given["grade"]) == (90, "A")
    assert "The grade is for 90 days ahead, as 365 days could not be judged." in [
        render(limit) for limit in given["limits"]
    ]


def test_probabilities_that_promise_too_much_cost_the_grade(make_predictions: Maker) -> None:
    rows = make_predictions(customers=5000, noise={"model": 0.0, "past_rate": 2.0}, shift={"model": 0.5})
    judged = summarise_evaluation(rows)
    assert judged["grade"] == "C"
    assert "its probabilities are off by" in render(judged["grade_words"])
    bias = judged["horizons"][0]["buyers_total"]["bias"]
    assert bias > 0.1
    assert _holds(judged["reasons"], "The number of buyers", f"the model promised {100 * bias:.0f}% more than came")
    assert _holds(judged["reasons"], "What keeps it from an A", "its probabilities are off by")


def test_a_small_world_is_graded_with_its_limits(make_predictions: Maker) -> None:
    judged = summarise_evaluation(make_predictions(customers=200, cutoffs=1))
    assert judged["grade"] in {"B", "C", "D"}
    assert _holds(judged["limits"], "Few to judge by: 200 customers")
    assert _holds(judged["limits"], "Judged at 1 cut-off only")
    assert _holds(judged["limits"], "between 2 January 2024 and 31 March 2024, 90 days")


def test_the_smallest_cutoff_sets_the_limit(make_predictions: Maker) -> None:
    grown = make_predictions().filter((pl.col("customer") < 400) | (pl.col("cutoff") > pl.col("cutoff").min()))
    assert _holds(summarise_evaluation(grown)["limits"], "Few to judge by: 400 customers")


def test_cutoffs_that_share_outcomes_are_said_to(make_predictions: Maker) -> None:
    shared, apart = (
        summarise_evaluation(make_predictions(customers=300, step_days=days))["limits"] for days in (30, 90)
    )
    assert _holds(shared, "30 days apart and look 90 days ahead")
    assert not _holds(apart, "days apart")


def test_a_year_of_outcomes_has_seen_the_season(make_predictions: Maker) -> None:
    for step_days, seen in ((68, False), (69, True)):  # from 1 January: 4 steps and 90 days are 362 and 366 days
        limits = summarise_evaluation(make_predictions(customers=300, cutoffs=5, step_days=step_days))["limits"]
        assert _holds(limits, "rest of the year") is not seen


def test_a_moving_base_rate_is_a_limit(make_predictions: Maker) -> None:
    moved, still = (summarise_evaluation(make_predictions(moves=moves))["limits"] for moves in (0.5, 0.0))
    assert _holds(moved, "The share that bought lay between")
    assert not _holds(still, "The share that bought")


def test_a_base_rate_that_chance_alone_may_have_moved_is_none(make_predictions: Maker) -> None:
    rows = make_predictions(customers=60, cutoffs=2, seed=0)
    rates = sorted(row["base_rate"] for row in summarise_evaluation(rows)["backtest"])
    assert rates[-1] > 1.2 * rates[0]
    assert not _holds(summarise_evaluation(rows)["limits"], "The share that bought")


def test_without_money_only_purchases_are_judged(make_predictions: Maker) -> None:
    judged = summarise_evaluation(make_predictions(money=False))
    assert judged["grade"] == "A"
    assert judged["money_top_decile"] is None
    assert judged["horizons"][0]["spend_total"] is None
    assert judged["horizons"][0]["model"]["spend_gini"] is None
    assert judged["gains"][0]["spend_share"] is None
    assert not _holds(judged["reasons"], "spen")
    assert not _holds(judged["reasons"], "Spend")


@pytest.mark.parametrize("bought", [True, False])
def test_one_outcome_only_is_not_judged(make_predictions: Maker, bought: bool) -> None:
    rows = make_predictions(customers=100).with_columns(pl.lit(bought).alias("bought"))
    judged = summarise_evaluation(rows.with_columns(pl.lit(float(bought)).alias("spend")))
    assert judged["grade"] == "-"
    assert json.dumps(judged, allow_nan=False)


def test_nothing_to_judge_is_no_grade(make_predictions: Maker) -> None:
    none = summarise_evaluation(make_predictions(customers=10).clear(), not_judged={90: "the history is 40 days long"})
    assert (none["grade"], none["best_rule"], none["primary_horizon_days"]) == ("-", None, None)
    assert render(none["grade_words"]).startswith("Not judged")
    assert [render(limit) for limit in none["limits"]] == [
        "90 days ahead could not be judged: the history is 40 days long."
    ]
    assert (none["reasons"], none["backtest"], none["gains"]) == ([], [], [])
