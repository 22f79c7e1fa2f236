"""Figures in words, made once for all who share one."""

import numpy as np
import pytest

from repurchase.models.reason_texts import MAX_LOOKUP_STEPS, FigureTexts


@pytest.mark.parametrize(
    ("name", "figure", "said"),
    [
        ("ago", "days_since_last", {0.0: "today", 1.0: "1 day ago", 84.0: "84 days ago", 500.0: "16 months ago"}),
        ("gap", "gap_median_days", {1.0: "1 day", 10.5: "10 days", 11.5: "12 days", 2400.0: "7 years"}),
        ("every", "gap_median_days", {0.5: "day", 1.0: "day", 30.0: "30 days", np.nan: "day"}),
        ("purchases", "frequency", {0.0: "1 purchase", 4.0: "5 purchases"}),
        ("lately", "days_bought_90d", {0.0: "no purchase", 1.0: "1 purchase", 2.0: "2 purchases"}),
        ("before", "days_bought_90d_before", {0.0: "none", 3.0: "3"}),
        ("money", "spend_typical", {0.0: "0.00", 7.0: "7.00", 41.234: "41.23", 99.994: "99.99", 99.999: "100"}),
        ("money", "spend_typical", {1234.56: "1235", 2.0 * MAX_LOOKUP_STEPS: "2000000"}),
    ],
)
def test_by_hand(name: str, figure: str, said: dict[float, str]) -> None:
    figures = np.array([*said, *said])
    assert FigureTexts({figure: figures}).texts(name).to_list() == [*said.values(), *said.values()]


def test_rows_have_their_own_figures_and_words() -> None:
    phrases = FigureTexts({"frequency": np.array([0.0, 1.0, 2.0]), "age_days": np.array([5.0, 1.0, 5.0])})
    found = phrases.of(np.array([2, 0]), ["age", "frequency"])
    assert found.to_dict(as_series=False) == {"age": ["5 days", "5 days"], "frequency": [2.0, 0.0]}


def test_of_nobody_nothing_is_said() -> None:
    assert FigureTexts({"frequency": np.zeros(0)}).texts("purchases").to_list() == []
