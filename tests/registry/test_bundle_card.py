from datetime import date
from typing import Any

from repurchase.registry.bundle import TrainingRun


def card(**changes: Any) -> str:
    known: dict[str, Any] = {"state": {}, "as_of": date(1998, 6, 30), "horizons": (30, 90)}
    known |= {"orders": {}, "cleaning": {}, "evaluation": {}}
    return TrainingRun(**{**known, **changes}).card("3")


def test_what_is_not_known_is_not_said() -> None:
    text = card()
    assert "Grade **-**. This model was not judged." in text
    assert "None" not in text
    assert "within 30, 90 days" in text


def test_data_grade_and_limits_are_said(make_evaluation) -> None:
    text = card(
        orders={
            "n_customers": 23570,
            "n_orders": 69659,
            "first_order_date": "1997-01-01",
            "last_order_date": "1998-06-30",
        },
        cleaning={"n_raw": 69659, "n_kept": 69000},
        evaluation=make_evaluation(0.31, 0.33),
    )
    assert "- 23,570 customers and 69,659 orders.\n- First order 1997-01-01, last order 1998-06-30." in text
    assert "69,000 of 69,659 rows were used; why" in text
    assert "- 90 days: log loss 0.3100, 6.1% better than the best rule." in text
    assert "- It saves log loss at every cut-off." in text
    assert "- One winter only." in text


def test_a_loss_and_a_horizon_without_judgement_are_said(make_evaluation) -> None:
    evaluation = make_evaluation(0.34, 0.33)
    evaluation["horizons"].append({"horizon_days": 365, "judged": False, "why_not_judged": "The history is short."})
    text = card(evaluation=evaluation)
    assert "3.0% worse than the best rule" in text
    assert "365 days: not judged. The history is short." in text
