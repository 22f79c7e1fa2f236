"""Scores that are true by construction, and a future that keeps to them or does not."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.evaluation.realised import (
    DeliveredScores,
    evaluate_delivered,
    match_scores,
    range_coverage,
    retraining_advice,
    training_reference,
)
from repurchase.features.ledger import Ledger, build_ledger
from repurchase.i18n.messages import message, render

START, AS_OF = date(2022, 1, 1), date(2023, 1, 1)
STEADY = {"known": True, "drifted": False, "words": "The orders are like before."}
CUSTOMERS = 2500
SPEND = 30.0


def poisson_shop(*, pace: float, days_after: int = 200, known_days: int | None = None) -> tuple[pl.DataFrame, Ledger]:
    """Customers who buy at rates of their own, and scores that know these; later they buy at ``pace`` times those."""
    rng = np.random.default_rng(4)
    rates = rng.gamma(0.8, 1 / 80, CUSTOMERS)
    n_before = (AS_OF - START).days
    rows = []
    for number, rate in enumerate(rates):
        rows.append((number, 0))
        before = rng.random(n_before) < -np.expm1(-rate)
        after = rng.random(days_after) < -np.expm1(-rate * pace)
        rows += [(number, 1 + int(day)) for day in np.flatnonzero(before[1:])]
        rows += [(number, n_before + 1 + int(day)) for day in np.flatnonzero(after)]
    orders = pl.DataFrame(
        [
            (f"c{who:05d}", f"o{n}", START + timedelta(days=day), SPEND)
            for n, (who, day) in enumerate(sorted(set(rows)))
        ],
        schema=["customer_id", "order_id", "order_date", "amount"],
        orient="row",
    ).with_columns(pl.col("order_date").cast(pl.Datetime("us")))
    until = AS_OF + timedelta(days=days_after if known_days is None else known_days)
    return _scores(rates), build_ledger(orders, observed_until=until)


def _scores(rates: np.ndarray) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "customer_id": [f"c{who:05d}" for who in range(CUSTOMERS)],
        "status": ["scored"] * CUSTOMERS,
        "clv_low": np.zeros(CUSTOMERS),
        "clv_high": SPEND * np.ceil(180 * rates + 1.2816 * np.sqrt(180 * rates)),
        "value_at_risk": np.exp(-90 * rates) * rates,
    }
    for h in (30, 90, 180):
        p = -np.expm1(-h * rates)
        columns |= {f"p_repurchase_{h}d": p, f"orders_expected_{h}d": h * -np.expm1(-rates)}
        columns[f"spend_expected_{h}d"] = SPEND * columns[f"orders_expected_{h}d"]
    columns["next_order_date_low"] = [AS_OF + timedelta(days=1)] * CUSTOMERS
    columns["next_order_date_high"] = [AS_OF + timedelta(days=100)] * CUSTOMERS
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def kept() -> DeliveredScores:
    return match_scores(*poisson_shop(pace=1.0), as_of=AS_OF)


@pytest.fixture(scope="module")
def halved() -> DeliveredScores:
    return match_scores(*poisson_shop(pace=0.5), as_of=AS_OF)


def judged(delivered: DeliveredScores, *, grade: str = "A", gain: float = 0.05) -> list[dict[str, Any]]:
    then = {"grade": grade, "log_loss_gain": gain}
    return [{**evaluate_delivered(delivered, horizon_days=h), "then": then} for h in (30, 90, 180)]


def test_what_was_promised_came(kept) -> None:
    row = evaluate_delivered(kept, horizon_days=90)

    assert row["passed"]
    assert row["p_mean_off_low"] < 0 < row["p_mean_off_high"]
    assert row["model"]["excess_ece"] < 0.02
    assert row["orders"]["came"] == pytest.approx(row["orders"]["expected"], rel=0.05)
    assert row["spend"]["came"] == pytest.approx(SPEND * row["orders"]["came"])
    assert row["money_top_decile"]["available"] == row["spend"]["came"]
    assert row["money_top_decile"]["by_expected_spend"] > 3 * row["money_top_decile"]["available"] / 10
    assert set(row["rules"]) == {"days_since_last", "past_rate"}
    assert row["model"]["log_loss"] < min(rule["log_loss"] for rule in row["rules"].values())
    assert row["grade"] in "BC"


def test_counts_are_those_of_the_orders(kept) -> None:
    row = evaluate_delivered(kept, horizon_days=30)
    entries = kept.ledger.entries
    opening = (AS_OF - date(1970, 1, 1)).days
    window = entries.filter(pl.col("day").is_between(opening, opening + 30, closed="right"))

    assert row["n_bought"] == window["customer"].n_unique()
    assert row["orders"]["came"] == window.height
    assert row["bought_share"] == row["n_bought"] / CUSTOMERS


def test_a_shop_that_keeps_to_its_scores_keeps_its_model(kept) -> None:
    advice = retraining_advice(judged(kept), drift=STEADY, age_days=60, primary_horizon_days=90)

    assert not advice["retrain"]
    assert render(advice["words"]).startswith(
        "Keep the model: its probabilities for 30, 90, 180 days were right: off by at most"
    )


def test_halved_rates_are_named(halved) -> None:
    advice = retraining_advice(judged(halved), drift=STEADY, age_days=60, primary_horizon_days=90)

    assert advice["retrain"]
    assert {reason["kind"] for reason in advice["reasons"]} >= {"calibration"}
    assert "90 days ahead probabilities were off by" in render(advice["words"])
    promised, came = (evaluate_delivered(halved, horizon_days=90)[name] for name in ("p_mean", "bought_share"))
    assert came < 0.75 * promised


def test_a_fallen_grade_is_named_only_beyond_chance() -> None:
    row = {
        "horizon_days": 90, "passed": True, "grade": "D", "log_loss_gain": -0.02, "log_loss_gain_high": 0.01,
        "model": {"excess_ece": 0.0}, "then": {"grade": "B", "log_loss_gain": 0.06},
    }  # fmt: skip
    told = {"drift": STEADY, "age_days": 1, "primary_horizon_days": 90}

    fell = retraining_advice([row], **told)

    assert [reason["kind"] for reason in fell["reasons"]] == ["grade"]
    assert "from B to D" in render(fell["words"])
    assert not retraining_advice([{**row, "log_loss_gain_high": 0.09}], **told)["retrain"]
    assert not retraining_advice([{**row, "grade": "B", "then": {"grade": "A", "log_loss_gain": 0.06}}], **told)[
        "retrain"
    ]
    assert not retraining_advice([{**row, "grade": "-"}], **told)["retrain"]


DRIFTED = message("drift.drifted", profile_as_of="2024-01-01", reasons=["fewer"])


def test_drift_and_age_are_reasons_too() -> None:
    drifted = {"known": True, "drifted": True, "words": DRIFTED}

    advice = retraining_advice([], drift=drifted, age_days=200)

    assert [reason["kind"] for reason in advice["reasons"]] == ["drift", "age"]
    assert render(advice["words"]) == (
        "Train again: the orders have drifted from the orders up to 1 January 2024 that the model learned from: fewer; "
        "the model is 200 days old; 180 are allowed."
    )


@pytest.mark.parametrize("age_days", [0, -3])
def test_a_model_of_the_newest_orders_has_no_age(age_days: int) -> None:
    advice = retraining_advice([], drift={"known": False, "drifted": False}, age_days=age_days)

    assert render(advice["words"]) == "Keep the model: it was trained on the newest orders."


def test_a_window_that_is_not_over_is_not_judged() -> None:
    delivered = match_scores(*poisson_shop(pace=1.0, known_days=89), as_of=AS_OF)
    rows = [evaluate_delivered(delivered, horizon_days=h) for h in (30, 90, 180)]

    assert [row["passed"] for row in rows] == [True, False, False]
    assert (rows[1]["ends"], rows[1]["days_missing"]) == ("2023-04-01", 1)
    waiting = retraining_advice(rows[1:], drift={"known": False, "drifted": False, "words": ""}, age_days=89)
    assert render(waiting["words"]) == (
        "Keep the model: no window of these scores has passed yet, the first does on 1 April 2023; it is 89 days old."
    )


def test_ranges(kept) -> None:
    ranges = range_coverage(kept, clv_horizon_days=180)

    assert ranges["clv"]["n"] == CUSTOMERS
    assert 0.85 < ranges["clv"]["inside"] < 0.99
    assert not ranges["next_order"]["passed"]
    assert ranges["next_order"]["inside"] is None


def test_the_next_order_is_judged_after_a_year() -> None:
    delivered = match_scores(*poisson_shop(pace=1.0, days_after=365), as_of=AS_OF)
    wait = delivered.outcomes(365).wait_days
    came = wait[~np.isnan(wait)]

    found = range_coverage(delivered, clv_horizon_days=180)["next_order"]

    assert found["n"] == len(came)
    assert found["inside"] == np.mean(came <= 100)


def test_customers_who_are_no_longer_in_the_orders_are_counted_and_left_out() -> None:
    scores, ledger = poisson_shop(pace=1.0)
    strangers = scores.head(100).with_columns(customer_id=pl.format("gone-{}", "customer_id"))

    delivered = match_scores(pl.concat([strangers, scores]), ledger, as_of=AS_OF)

    assert delivered.n_gone == 100
    assert delivered.scores.height == CUSTOMERS
    with pytest.raises(InputError, match="know 100 of 2,600 scored customers"):
        match_scores(pl.concat([strangers, scores]), _only(ledger, 100), as_of=AS_OF)


def _only(ledger: Ledger, n: int) -> Ledger:
    return Ledger(ledger.ids, ledger.entries.filter(pl.col("customer") < n), ledger.observed_until, ledger.has_amounts)


def test_without_earlier_windows_there_is_no_grade_but_calibration() -> None:
    scores, ledger = poisson_shop(pace=1.0)
    early = START + timedelta(days=20)

    row = evaluate_delivered(match_scores(scores, ledger, as_of=early), horizon_days=90)

    assert row["grade"] == "-"
    assert row["rules"] == {}
    assert row["model"]["log_loss"] > 0


def test_row_order_of_the_scores_changes_nothing(kept) -> None:
    scores, ledger = poisson_shop(pace=1.0)
    mixed = match_scores(scores.sample(fraction=1.0, shuffle=True, seed=1), ledger, as_of=AS_OF)

    assert evaluate_delivered(mixed, horizon_days=90) == evaluate_delivered(kept, horizon_days=90)


def test_the_reference_is_the_trainings_own() -> None:
    evaluation = {
        "horizons": [
            {"horizon_days": 90, "judged": True, "grade": "B", "log_loss_gain": 0.06, "model": {"ece": 0.02}},
            {"horizon_days": 365, "judged": False, "model": None},
        ]
    }

    then = training_reference(evaluation, horizon_days=90)

    assert then is not None
    assert (then["grade"], then["ece"], then["auc"]) == ("B", 0.02, None)
    assert training_reference(evaluation, horizon_days=365) is None
    assert training_reference({}, horizon_days=90) is None
