"""The rules of the segments: told once, with the shop's thresholds, in every language."""

import re
from typing import Any

import pytest

from repurchase.i18n.catalogues import LOCALES, use_locale
from repurchase.i18n.messages import render
from repurchase.marketing.segments import LISTED_SEGMENTS, NO_HISTORY, REFILL
from repurchase.models.segments import LOST, SEGMENTS, SegmentThresholds
from repurchase.report.customer_sections import RULE_ORDER, segment_rule_texts
from repurchase.report.page import build_report

TIERS = SegmentThresholds(
    risk_horizon_days=90,
    high_value=100.0,
    second_purchase_days=60.0,
    worth_winning=0.10,
    worth_value=5.0,
    second_purchase_from_days=14.0,
    second_purchase_median_days=30.0,
    usual_gap_days=40.0,
    late_from=2.0,
    loyal_purchases=4,
)


def test_rules_tell_the_thresholds() -> None:
    told = segment_rule_texts(TIERS.to_dict(), has_money=True, currency="NOK")
    rules = {name: render(rule).replace("\u00a0", " ") for name, rule in told.by_segment.items()}
    assert set(rules) == {*LISTED_SEGMENTS, LOST, NO_HISTORY}
    assert "bought once, more than 60 days ago" in render(told.intro)
    assert "more than 2.00 times their usual time between purchases" in render(told.intro)
    assert "(a quarter within 14 days, half within 30 days)" in rules["first-time buyer"]
    assert "from NOK 100" in rules["valuable and slipping"]
    assert "at least 4 purchase days, risk below 70%" in rules["best and most loyal"]
    assert "the chance to buy within 90 days is below 10% or the expected value below NOK 5" in rules["lost"]
    assert "a product that runs out" in rules[REFILL]
    assert rules[NO_HISTORY] == "no purchase is known"
    assert "below 5.00 orders" in render(segment_rule_texts(TIERS.to_dict(), has_money=False).by_segment["lost"])


def test_they_are_told_in_the_order_in_which_they_are_tried() -> None:
    order = list(RULE_ORDER)
    assert order[0] == NO_HISTORY
    assert order.index(REFILL) < order.index("regular") == len(order) - 1
    assert {name for name in order if name in SEGMENTS} == set(SEGMENTS)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language_tells_every_threshold(locale: str) -> None:
    with use_locale(locale):
        told = segment_rule_texts(TIERS.to_dict(), has_money=True, currency="NOK")
        rules = {name: render(rule) for name, rule in told.by_segment.items()}
    assert len(set(rules.values())) == len(RULE_ORDER)
    for name, figures in {
        "first-time buyer": (60, 14, 30),
        "lost": (90, 10, 5),
        "best and most loyal": (100, 4, 70),
    }.items():
        assert {*map(int, re.findall(r"\d+", rules[name]))} == set(figures), name


def test_the_page_tells_them_all(scored: Any, record: dict[str, Any]) -> None:
    page = build_report(scored, {**record, "tiers": TIERS.to_dict()})
    told = segment_rule_texts(TIERS.to_dict(), has_money=True, currency="GBP")
    assert all(render(rule) in page for rule in told.by_segment.values())
    assert "<b>due for a refill:</b>" in page
    assert "<b>no history:</b>" in page
