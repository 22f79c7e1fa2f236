"""Predictions that do not fit together are refused in one line."""

from collections.abc import Callable

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.evaluation.comparison import cutoffs_at, rules_at_every_cutoff

Maker = Callable[..., pl.DataFrame]


@pytest.fixture
def predictions(make_predictions: Maker) -> pl.DataFrame:
    return make_predictions(customers=50)


def test_cutoffs_come_by_day_with_customers_rising(predictions: pl.DataFrame) -> None:
    found = cutoffs_at(predictions.sample(fraction=1, shuffle=True, seed=1), horizon_days=90)
    assert [cutoff.day for cutoff in found] == sorted(predictions["cutoff"].unique())
    for cutoff in found:
        assert cutoff.customers.tolist() == list(range(50))
        model = predictions.filter(pl.col("cutoff") == cutoff.day, pl.col("predictor") == "model")
        assert cutoff.outputs["model"].p.tolist() == model["p"].to_list()
        assert cutoff.bought.tolist() == model["bought"].to_list()


def test_who_expects_no_spend_ranks_by_probability(predictions: pl.DataFrame) -> None:
    said = cutoffs_at(predictions, horizon_days=90)[0].outputs
    assert said["days_since_last"].spend_order is said["days_since_last"].p
    assert said["model"].spend_order is said["model"].spend


def test_a_predictor_without_a_word_is_left_out(predictions: pl.DataFrame) -> None:
    first = predictions["cutoff"].min()
    silent = (pl.col("predictor") == "past_rate") & (pl.col("cutoff") == first)
    found = cutoffs_at(predictions.with_columns(pl.when(~silent).then("p").alias("p")), horizon_days=90)
    assert [("past_rate" in cutoff.outputs) for cutoff in found] == [False, True, True]
    assert rules_at_every_cutoff(found) == ["days_since_last"]


def _spoil(predictions: pl.DataFrame, predictor: str, column: str, value: object) -> pl.DataFrame:
    hit = (pl.col("predictor") == predictor) & (pl.col("customer") == 7)
    return predictions.with_columns(pl.when(hit).then(pl.lit(value)).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop("p", "spend"), "2 of 8 columns are missing: p, spend"),
        (lambda rows: rows.filter(pl.col("predictor") != "model"), "none of the model at cut-off 2024-01-01"),
        (lambda rows: _spoil(rows, "model", "p", 1.5), "1 of 50 probabilities of 'model' .* outside 0 to 1"),
        (lambda rows: _spoil(rows, "model", "p", float("nan")), "1 of 50 probabilities of 'model'"),
        (lambda rows: _spoil(rows, "past_rate", "p", None), "1 of 50 probabilities of 'past_rate'"),
        (lambda rows: _spoil(rows, "past_rate", "spend", -1.0), "past_rate at cut-off .* not on the model's 50"),
        (
            lambda rows: rows.filter((pl.col("predictor") != "past_rate") | (pl.col("customer") != 7)),
            "past_rate at cut-off .* not on the model's 50 customers and outcomes",
        ),
        (lambda rows: pl.concat([rows, rows]), "50 customers appear more than once"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    predictions: pl.DataFrame, spoil: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    with pytest.raises(InputError, match=message) as fault:
        cutoffs_at(spoil(predictions), horizon_days=90)
    assert "\n" not in str(fault.value)


def test_without_a_rule_there_is_nothing_to_be_better_than(make_predictions: Maker) -> None:
    alone = make_predictions(customers=50, noise={"model": 0.0})
    with pytest.raises(InputError, match="no rule at every one of 3 cut-offs"):
        rules_at_every_cutoff(cutoffs_at(alone, horizon_days=90))
