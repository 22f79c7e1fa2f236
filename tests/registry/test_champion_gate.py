import pytest

from repurchase.errors import InputError
from repurchase.i18n.messages import render
from repurchase.registry.champion import GateVerdict, judge_candidate, judge_evaluation


def losses(*values: float, customers: int = 900) -> dict[str, dict[str, float]]:
    return {f"1998-0{i}-01": {"log_loss": v, "n_customers": customers} for i, v in enumerate(values, start=1)}


def text_of(verdict: GateVerdict) -> str:
    return render(verdict.message, locale="en")


RULES = {"days_since_last": losses(0.34, 0.321), "past_rate": losses(0.35, 0.33)}


def test_the_best_rule_is_the_one_with_the_lowest_mean() -> None:
    verdict = judge_candidate(losses(0.3, 0.3242), RULES, None)
    assert verdict.passed
    assert text_of(verdict) == (
        "Passed: log loss 0.3121 against 0.3305 of the best rule (days since the last order): 5.6% better. "
        "No champion yet."
    )
    assert verdict.numbers["candidate"] == pytest.approx(0.3121)
    assert verdict.numbers["best_rule"] == pytest.approx(0.3305)
    assert verdict.numbers["gain_over_rule"] == pytest.approx(1 - 0.3121 / 0.3305)


def test_a_candidate_that_loses_to_a_rule_is_refused_even_without_a_champion() -> None:
    verdict = judge_candidate(losses(0.34, 0.33), RULES, None)
    assert not verdict.passed
    assert text_of(verdict).startswith("Refused: log loss 0.3350 against 0.3305 of the best rule")
    assert "1.4% worse" in text_of(verdict)


def test_a_candidate_that_equals_a_rule_does_not_beat_it() -> None:
    assert not judge_candidate(RULES["past_rate"], {"past_rate": RULES["past_rate"]}, None).passed


@pytest.mark.parametrize(
    ("champion", "tolerance", "passed", "words"),
    [
        (0.320, 0.0, True, "0.3200 of the champion: 3.1% better."),
        (0.310, 0.0, False, "0.3100 of the champion: the same."),
        (0.300, 0.0, False, "0.3000 of the champion: 3.3% worse."),
        (0.30999, 0.0, False, "0.3100 of the champion: less than 0.1% worse."),
        (0.300, 0.05, True, "0.3000 of the champion: 3.3% worse."),
        (0.310, 0.01, True, "0.3100 of the champion: the same."),
    ],
)
def test_the_champion_must_be_beaten_within_the_tolerance(
    champion: float, tolerance: float, passed: bool, words: str
) -> None:
    verdict = judge_candidate(losses(0.31, 0.31), RULES, losses(champion, champion), tolerance=tolerance)
    assert verdict.passed is passed
    assert text_of(verdict).endswith(words)
    assert verdict.numbers["gain_over_champion"] == pytest.approx(1 - 0.31 / champion)


def test_beating_the_champion_does_not_help_against_a_rule() -> None:
    assert not judge_candidate(losses(0.4, 0.4), RULES, losses(0.5, 0.5)).passed


@pytest.mark.parametrize("other", [losses(0.3), losses(0.3, 0.3, 0.3), losses(0.3, 0.3, customers=901)])
def test_other_cutoffs_or_customers_are_not_compared(other: dict[str, dict[str, float]]) -> None:
    with pytest.raises(InputError, match="same cut-offs and customers"):
        judge_candidate(losses(0.3, 0.3), RULES, other)


def test_a_gate_without_rules_is_none() -> None:
    with pytest.raises(InputError, match="at least one rule"):
        judge_candidate(losses(0.3), {}, None)


def test_evaluations_are_compared_at_the_primary_horizon(make_evaluation) -> None:
    assert judge_evaluation(make_evaluation(0.31, 0.33)).passed
    assert not judge_evaluation(make_evaluation(0.34, 0.33)).passed
    assert judge_evaluation(make_evaluation(0.31, 0.33), make_evaluation(0.32, 0.33)).passed
    refused = judge_evaluation(make_evaluation(0.31, 0.33), make_evaluation(0.30, 0.33))
    assert not refused.passed
    assert refused.numbers["champion"] == pytest.approx(0.30)


def test_a_champion_without_that_horizon_is_not_beaten_by_default(make_evaluation) -> None:
    verdict = judge_evaluation(make_evaluation(0.31, 0.33), make_evaluation(days=30))
    assert not verdict.passed
    assert "not judged at 90 days" in text_of(verdict)


def test_a_rule_that_was_silent_at_a_cutoff_is_left_out(make_evaluation) -> None:
    evaluation = make_evaluation(0.34, 0.33)
    evaluation["backtest"].remove(next(row for row in evaluation["backtest"] if row["predictor"] == "past_rate"))
    assert "days since the last order" in text_of(judge_evaluation(evaluation))


@pytest.mark.parametrize("grade", ["D", "-"])
def test_a_grade_that_shows_no_lead_is_refused_though_the_mean_is_lower(grade: str) -> None:
    rows = [
        {"horizon_days": 90, "cutoff": "2024-01-01", "predictor": who, "log_loss": loss, "n_customers": 900}
        for who, loss in (("model", 0.3999), ("days_since_last", 0.4), ("past_rate", 0.41))
    ]
    evaluation = {"primary_horizon_days": 90, "backtest": rows, "grade": grade, "grade_words": "Not shown."}
    assert text_of(judge_evaluation(evaluation)) == f"Refused: grade {grade}. Not shown."
    assert judge_evaluation({**evaluation, "grade": "C"}).passed
