"""Every reason told is true of the customer it is told about, in that customer's own figures."""

import math
import re
from collections.abc import Callable
from datetime import date, timedelta

import polars as pl
import pytest

from repurchase.estimators.cuts import Cut
from repurchase.estimators.reasons import MOST_REASONS, reasons
from repurchase.features.behaviour import behaviour_table
from repurchase.features.timeline import ledger

HOLDS: dict[str, Callable[[dict[str, float]], bool]] = {
    "usually every": lambda who: who["frequency"] > 0,
    "; usually every": lambda who: who["days_since_last"] > 1.5 * who["gap_median_days"],
    "on rhythm": lambda who: who["days_since_last"] <= who["gap_median_days"],
    "one purchase only": lambda who: who["frequency"] == 0,
    "less": lambda who: who["days_bought_90d"] < who["days_bought_90d_before"],
    "more": lambda who: who["days_bought_90d"] > who["days_bought_90d_before"],
    "no purchase in the last year": lambda who: who["days_since_last"] >= 365,
    "customer for": lambda who: who["age_days"] >= 365,
}
"""What must be true of a customer where the words are used."""


def own_figures(who: dict[str, float]) -> set[int]:
    """Every whole number that may be told to or about this customer."""
    names = ("days_since_last", "days_bought_90d", "days_bought_90d_before", "days_bought_365d")
    figures = {int(who[name]) for name in names} | {round(who["age_days"] / 30.44), 90}
    gap = who["gap_median_days"]
    return figures | (set() if math.isnan(gap) else {math.floor(gap), math.ceil(gap)})


def test_each_is_true_and_in_own_figures(shop_cut: Cut) -> None:
    told = reasons(shop_cut.features)
    assert told.columns == [f"reason_{place}" for place in range(1, MOST_REASONS + 1)]
    used = set()
    for who, row in zip(shop_cut.features.iter_rows(named=True), told.iter_rows(), strict=True):
        for words in filter(None, row):
            assert {int(number) for number in re.findall(r"\d+", words)} <= own_figures(who), (words, who)
            for phrase in (phrase for phrase in HOLDS if phrase in words):
                assert HOLDS[phrase](who), (words, who)
                used.add(phrase)
    assert used == set(HOLDS)


def test_they_differ_and_leave_no_gap(shop_cut: Cut) -> None:
    for row in reasons(shop_cut.features).iter_rows():
        said = [words for words in row if words is not None]
        assert len(set(said)) == len(said)
        assert list(row[: len(said)]) == said


def test_a_one_time_buyer_always_hears_so(shop_cut: Cut) -> None:
    once = shop_cut.features["frequency"] == 0
    first = reasons(shop_cut.features).filter(once & (shop_cut.features["days_since_last"] > 0))["reason_1"]
    assert len(first) > 20
    assert first.str.starts_with("one purchase only").all()


@pytest.mark.parametrize(("days", "figures"), [([0, 30, 60, 90, 120], ["60", "30"]), ([0], ["180"])])
def test_by_hand(days: list[int], figures: list[str]) -> None:
    start = date(2024, 1, 1)
    orders = pl.DataFrame(
        {
            "customer_id": ["a"] * len(days),
            "order_id": [str(day) for day in days],
            "order_date": [start + timedelta(days=day) for day in days],
            "amount": [10.0] * len(days),
        }
    )
    as_of = start + timedelta(days=180)
    told = reasons(behaviour_table(ledger(orders, observed_until=as_of).history(as_of)))
    assert figures in [re.findall(r"\d+", words) for words in told.row(0) if words]
