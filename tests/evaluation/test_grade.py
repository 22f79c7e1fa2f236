"""The grade: each demand, alone, costs the grade it should."""

import math
from dataclasses import replace

import pytest

from repurchase.evaluation.grade import (
    GRADE_REQUIREMENTS,
    MIN_OUTCOMES,
    GradeInputs,
    excess_ece,
    grade_of,
    grading_rule,
    shortfalls,
)
from repurchase.i18n.formatting import format_percent
from repurchase.i18n.messages import Message, render

GOOD = GradeInputs(
    best_rule="past_rate",
    base_loss=0.40,
    rule_loss=0.32,
    model_loss=0.31,  # explains 22.5% against 20%: an eighth more
    gain_low=0.01,
    gains_by_cutoff=(0.03, 0.02, 0.04),
    ece=0.015,
    chance_ece=0.005,
    n_bought=3000,
    n_not=17000,
)


def text_of(message: Message) -> str:
    return render(message)


def lead_of(inputs: GradeInputs) -> str:
    """How far ahead a model is, in the words of its grade."""
    lead = grade_of(replace(inputs, n_bought=MIN_OUTCOMES, n_not=MIN_OUTCOMES)).message["params"]["lead"]
    return text_of(lead)


def test_a_good_model_gets_an_a_in_one_sentence_with_its_figures() -> None:
    assert grade_of(GOOD).letter == "A"
    assert text_of(grade_of(GOOD).message) == (
        "The model explains 12% more of who buys than the best rule (the customer's own past rate), "
        "and its probabilities are off by 0.015 on average, 0.014 more than random variation explains."
    )


@pytest.mark.parametrize(
    ("change", "letter"),
    [
        ({"model_loss": 0.3119}, "A"),
        ({"model_loss": 0.3121}, "B"),
        ({"model_loss": 0.3159}, "B"),
        ({"model_loss": 0.3161}, "C"),
        ({"ece": 0.0210}, "B"),
        ({"ece": 0.0400}, "B"),
        ({"ece": 0.0410}, "C"),
        ({"gains_by_cutoff": (0.03, -0.001, 0.04)}, "B"),
        ({"gains_by_cutoff": (0.03, 0.0, 0.04)}, "B"),
        ({"gains_by_cutoff": (0.03, 0.02)}, "B"),
        ({"gain_low": -0.001}, "C"),
        ({"gain_low": -0.001, "gains_by_cutoff": (0.03, 0.02)}, "D"),
        ({"gain_low": -0.001, "gains_by_cutoff": (0.03, -0.001, 0.04)}, "D"),
        ({"model_loss": 0.32, "gain_low": -0.01}, "D"),
        ({"model_loss": 0.33, "gain_low": -0.05, "gains_by_cutoff": (-0.03, -0.03, 0.0)}, "D"),
        ({"rule_loss": 0.39, "model_loss": 0.381}, "B"),
        ({"rule_loss": 0.3985, "model_loss": 0.393}, "C"),
        ({"rule_loss": 0.41, "model_loss": 0.37}, "A"),
        ({"base_loss": 0.6, "rule_loss": 0.10, "model_loss": 0.0899}, "A"),
        ({"base_loss": 0.6, "rule_loss": 0.10, "model_loss": 0.0949}, "B"),
        ({"n_bought": MIN_OUTCOMES}, "A"),
        ({"n_bought": MIN_OUTCOMES - 1}, "-"),
        ({"n_not": MIN_OUTCOMES - 1}, "-"),
    ],
)
def test_each_demand_decides(change: dict[str, float], letter: str) -> None:
    assert grade_of(replace(GOOD, **change)).letter == letter


def test_a_model_that_loses_names_the_rule_to_use() -> None:
    lost = replace(GOOD, model_loss=0.33, gain_low=-0.05, best_rule="days_since_last")
    assert text_of(grade_of(lost).message) == "Worse than a simple rule: use days since the last order instead."
    unsure = replace(GOOD, gain_low=-0.01, gains_by_cutoff=(0.03,))
    assert text_of(grade_of(unsure).message) == (
        "Not shown to be better than a simple rule: the lead may be chance. Use the customer's own past rate instead."
    )


def test_a_c_says_what_is_missing() -> None:
    words = text_of(grade_of(replace(GOOD, ece=0.08, model_loss=0.318)).message)
    assert words.endswith(
        "but its probabilities are off by 0.080 more than random variation explains and its lead is below 5%."
    )


def test_too_few_outcomes_say_how_many_and_which() -> None:
    assert text_of(grade_of(replace(GOOD, n_bought=3)).message) == (
        "Not judged: only 3 customers bought in the time looked at; 20 are needed."
    )
    assert "only 0 customers did not buy" in text_of(grade_of(replace(GOOD, n_not=0)).message)


def test_whoever_has_few_customers_is_not_blamed_for_chance() -> None:
    assert grade_of(replace(GOOD, ece=0.045, chance_ece=0.042)).letter == "A"
    assert grade_of(replace(GOOD, ece=0.045, chance_ece=0.005)).letter == "C"
    assert excess_ece(0.03, 0.04) == 0


def test_shortfalls_of_an_a_are_all_named() -> None:
    poor = replace(GOOD, ece=0.03, model_loss=0.39, rule_loss=0.392, gain_low=-1.0, gains_by_cutoff=(0.1, -0.1))
    assert len(shortfalls(poor, GRADE_REQUIREMENTS[0])) == 5
    assert shortfalls(GOOD, GRADE_REQUIREMENTS[0]) == []


def test_the_lead_is_told_in_the_terms_that_carry_it() -> None:
    assert lead_of(replace(GOOD, rule_loss=0.41, model_loss=0.3)) == (
        "explains 25% of who buys, where the best rule (the customer's own past rate) explains nothing"
    )
    nearly_all = replace(GOOD, base_loss=0.6, rule_loss=0.10, model_loss=0.089)
    assert lead_of(nearly_all).startswith("leaves 11.0% less of who buys unexplained")
    both_mislead = replace(GOOD, rule_loss=0.50, model_loss=0.405)
    assert math.isnan(both_mislead.explained_more)
    assert lead_of(both_mislead).startswith("leaves 19.0% less of who buys unexplained")
    assert grade_of(both_mislead).letter == "C"
    assert text_of(grade_of(both_mislead).message).endswith(
        "but it explains only 0.0% of who buys and its lead is below 5%."
    )


def test_the_rule_is_written_with_the_thresholds_that_are_used() -> None:
    rule = text_of(grading_rule())
    for level in GRADE_REQUIREMENTS:
        assert f"at least {level.better:.0%}" in rule
        assert f"at most {level.ece}" in rule
        assert f"{level.explained:.0%} of it" in rule or f"{level.explained:.0%}." in rule


def test_shares_are_written_without_minus_zero() -> None:
    assert format_percent(-0.0004, 1) == "0.0%"
    assert format_percent(-0.02) == "-2%"
    assert format_percent(0.025, 1) == "2.5%"


def test_a_lead_of_more_than_the_whole_is_told_in_times() -> None:
    standing = GradeInputs("past_rate", 0.40, 0.39, 0.36, 0.08, (0.08,), 0.01, 0.005, 500, 4500)
    assert lead_of(standing) == "explains 4.0 times as much of who buys as the best rule (the customer's own past rate)"
