"""The model against the rules, on predictions whose quality is known."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from repurchase.evaluation.comparison import (
    Cutoff,
    buyer_total_error,
    buyers_found,
    cutoffs_at,
    gains_by_cutoff,
    log_loss_gain,
    money_found,
    spend_total_error,
)
from repurchase.evaluation.metrics import log_loss

Maker = Callable[..., pl.DataFrame]
RULES = ("days_since_last", "past_rate")


@pytest.fixture(scope="module")
def cutoffs(make_predictions: Maker) -> list[Cutoff]:
    return cutoffs_at(make_predictions(), horizon_days=90)


def test_the_gain_is_the_share_of_mean_log_loss_saved(cutoffs: list[Cutoff]) -> None:
    model, rule = (
        np.mean([log_loss(cutoff.bought, cutoff.outputs[name].p) for cutoff in cutoffs])
        for name in ("model", "past_rate")
    )
    found = log_loss_gain(cutoffs, rule="past_rate")
    assert found.value == pytest.approx(1 - model / rule)
    assert 0 < found.low < found.value < found.high


def test_the_bootstrap_over_customers_gives_the_same_interval(cutoffs: list[Cutoff]) -> None:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 2000, 2000) for _ in range(400)]
    gains = [
        1
        - sum(log_loss(c.bought[i], c.outputs["model"].p[i]) for c in cutoffs)
        / sum(log_loss(c.bought[i], c.outputs["past_rate"].p[i]) for c in cutoffs)
        for i in drawn
    ]
    found = log_loss_gain(cutoffs, rule="past_rate")
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(np.std(gains), rel=0.12)


def test_a_model_that_is_the_rule_gains_exactly_nothing(make_predictions: Maker) -> None:
    rows = make_predictions(customers=300)
    copied = rows.filter(pl.col("predictor") == "past_rate").with_columns(pl.lit("model").alias("predictor"))
    twins = cutoffs_at(pl.concat([rows.filter(pl.col("predictor") != "model"), copied]), horizon_days=90)
    found = log_loss_gain(twins, rule="past_rate")
    assert (found.value, found.low, found.high) == (0, 0, 0)
    money = money_found(twins, rules=["past_rate"])
    assert money is not None
    assert (money.gain.value, money.gain.low, money.gain.high) == (0, 0, 0)


def test_each_cutoff_is_held_against_the_rule_that_was_best_there(cutoffs: list[Cutoff]) -> None:
    both = gains_by_cutoff(cutoffs, rules=RULES)
    alone = [gains_by_cutoff(cutoffs, rules=[rule]) for rule in RULES]
    assert both == tuple(map(min, *alone))
    assert len(both) == 3


def test_lists_are_compared_with_the_rule_that_found_most(cutoffs: list[Cutoff]) -> None:
    money, buyers = money_found(cutoffs, rules=RULES), buyers_found(cutoffs, rules=RULES)
    assert money is not None
    assert money.rule_name == buyers.rule_name == "past_rate"
    assert money.gain.value == pytest.approx(money.model - money.rule)
    assert money.gain.low > 0
    assert money.available == pytest.approx(np.mean([cutoff.spend.sum() for cutoff in cutoffs]))
    top = [cutoff.spend[np.argsort(-cutoff.outputs["model"].spend)[:200]].sum() for cutoff in cutoffs]
    assert money.model == pytest.approx(np.mean(top))


def test_promises_a_fifth_too_high_are_found_a_fifth_too_high(make_predictions: Maker) -> None:
    rows = make_predictions(customers=5000).with_columns(pl.col("p", "spend_expected") * 0.8)
    half = cutoffs_at(rows, horizon_days=90)
    buyers, spend = buyer_total_error(half), spend_total_error(half)
    assert spend is not None
    for totals in (buyers, spend):
        assert totals.bias.low < -0.2 < totals.bias.high
        assert totals.bias.high < 0
        assert totals.bias.value == pytest.approx(np.mean(totals.by_cutoff))
        assert totals.error == pytest.approx(np.mean(np.abs(totals.by_cutoff)))


def test_errors_that_cancel_over_time_are_errors_still(make_predictions: Maker) -> None:
    rows = make_predictions(customers=3000, cutoffs=2)
    up = pl.col("cutoff") == rows["cutoff"].min()
    moved = cutoffs_at(
        rows.with_columns(pl.when(up).then(0.7 * pl.col("p")).otherwise("p").alias("p")), horizon_days=90
    )
    totals = buyer_total_error(moved)
    assert totals.error > abs(totals.bias.value) or min(totals.by_cutoff) * max(totals.by_cutoff) > 0
    assert totals.error >= 0.1


def test_without_money_there_is_none_to_find(make_predictions: Maker) -> None:
    poor = cutoffs_at(make_predictions(customers=100, money=False), horizon_days=90)
    assert money_found(poor, rules=RULES) is None
    assert spend_total_error(poor) is None
