"""Every reason told bears its direction out, in that customer's own figures."""

import math
import re
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.features.ledger import build_ledger
from repurchase.models.additive import AdditiveModel
from repurchase.models.explanations import (
    FACT_FEATURES,
    MAX_REASONS,
    MIN_REASON_LOG_ODDS,
    Explanation,
    fit_explanation,
    rank_reasons,
    reason_contributions,
    reason_figures,
)
from repurchase.models.reason_texts import render_reasons
from repurchase.models.snapshots import FeatureMatrix, Snapshot

Who = dict[str, float]

USUAL = {"days_since_last": 50.0, "frequency": 3.0, "days_bought_365d": 3.0, "rate": 0.01, "spend_typical": 40.0}


def reasons_table(features: FeatureMatrix, explanation: Explanation) -> pl.DataFrame:
    return pl.DataFrame(render_reasons(rank_reasons(features, explanation), reason_figures(features), explanation))


HOLDS: dict[str, Callable[[Who, Who], bool]] = {
    "raises risk: one purchase only": lambda who, usual: who["frequency"] == 0,
    "lowers risk: first purchase": lambda who, usual: who["days_since_last"] <= usual["days_since_last"],
    "raises risk: last order": lambda who, usual: (
        who["days_since_last"] > min(who["gap_median_days"], usual["days_since_last"])
    ),
    "lowers risk: last order": lambda who, usual: (
        who["days_since_last"] <= max(who["gap_median_days"], usual["days_since_last"])
    ),
    "usually every": lambda who, usual: who["frequency"] >= 2,
    "only 2 purchases,": lambda who, usual: who["frequency"] == 1,
    "came back once": lambda who, usual: who["frequency"] == 1,
    "raises risk: buying less": lambda who, usual: who["days_bought_90d"] < who["days_bought_90d_before"],
    "lowers risk: buying more": lambda who, usual: who["days_bought_90d"] > who["days_bought_90d_before"],
    "raises risk: uneven rhythm": lambda who, usual: who["gap_longest_days"] > 2 * who["gap_median_days"],
    "lowers risk: steady rhythm": lambda who, usual: who["gap_irregularity"] < 0.6 and who["frequency"] >= 3,
    "raises risk: about": lambda who, usual: who["spend_typical"] < 0.95 * usual["spend_typical"],
    "lowers risk: about": lambda who, usual: who["spend_typical"] > 1.05 * usual["spend_typical"],
}
"""What must be true of a customer of whom the words are used, in a shop where dearer customers stay."""


RARE = {"lowers risk: first purchase", "came back once"}
"""What this shop gives no occasion for; told by hand below."""


def own_figures(who: Who, usual: Who) -> set[float]:
    """Every number that may be told to or about this customer."""
    spans = [who[name] for name in ("days_since_last", "age_days", "gap_median_days", "gap_longest_days")]
    counts = [who[name] for name in ("days_bought_90d", "days_bought_90d_before", "days_bought_365d", "frequency")]
    figures = {90.0, *counts, who["frequency"] + 1}
    for days in filter(math.isfinite, spans):
        figures |= {math.floor(days), math.ceil(days), float(round(days / 30.4375)), float(round(days / 365.25))}
    for money in (who["spend_typical"], usual["spend_typical"]):
        figures |= {round(money, 2), float(round(money))}
    return figures


@pytest.fixture(scope="module")
def explanation(shop_snapshot: Snapshot) -> Explanation:
    """Of a mind that is known: silence, counts, trends, rhythms and money all count, and a good deal."""
    of = {name: np.nan_to_num(values) for name, values in shop_snapshot.features.items()}
    log_odds = (
        -0.6 * np.log1p(of["days_since_last"])
        + 0.6 * np.log1p(of["frequency"])
        + 0.4 * (of["days_bought_90d"] - of["days_bought_90d_before"]).clip(-3, 3)
        - 0.8 * of["gap_irregularity"]
        + 0.8 * np.log(of["spend_typical"])
    )
    return fit_explanation(shop_snapshot.features, log_odds - 2.0)


def test_each_bears_its_direction_out_in_own_figures(shop_snapshot: Snapshot, explanation: Explanation) -> None:
    told = reasons_table(shop_snapshot.features, explanation)
    assert told.columns == [f"reason_{index}" for index in range(1, MAX_REASONS + 1)]
    assert told.dtypes == [pl.String()] * MAX_REASONS
    used = set()
    for who, row in zip(pl.DataFrame(shop_snapshot.features).iter_rows(named=True), told.iter_rows(), strict=True):
        for words in filter(None, row):
            numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", words)}
            assert numbers <= own_figures(who, explanation.usual) | {2.0}, (words, who)
            for phrase in (phrase for phrase in HOLDS if phrase in words):
                assert HOLDS[phrase](who, dict(explanation.usual)), (words, who)
                used.add(phrase)
    assert used >= set(HOLDS) - RARE


def test_the_strongest_come_first_without_gaps_and_with_their_direction(
    shop_snapshot: Snapshot, explanation: Explanation
) -> None:
    parts = reason_contributions(shop_snapshot.features, explanation)
    matrix = np.column_stack(list(parts.values()))
    ranked = -np.sort(-np.abs(matrix), axis=1)[:, :MAX_REASONS]
    by_strength = np.take_along_axis(matrix, np.argsort(-np.abs(matrix), axis=1, kind="stable"), axis=1)
    missing = 0
    for row, sizes, signed in zip(
        reasons_table(shop_snapshot.features, explanation).iter_rows(), ranked, by_strength, strict=True
    ):
        said = [words for words in row if words is not None]
        assert len(said) == (sizes >= MIN_REASON_LOG_ODDS).sum()
        assert list(row[: len(said)]) == said
        assert len(set(said)) == len(said)
        assert [words.startswith("raises") for words in said] == [part < 0 for part in signed[: len(said)]]
        missing += MAX_REASONS - len(said)
    assert missing > 0


def test_told_parts_keep_the_whole_of_a_one_time_buyer(shop_snapshot: Snapshot, explanation: Explanation) -> None:
    once = shop_snapshot.features.rows(shop_snapshot.features["frequency"] == 0)
    parts = explanation.parts(once)
    whole = np.sum([parts[fact] for fact in FACT_FEATURES if fact != "money"], axis=0)
    told = reason_contributions(once, explanation)["once"]
    assert np.array_equal(told[whole < 0], whole[whole < 0])
    assert (told >= np.minimum(whole, 0.0)).all()


def leaning(parts: dict[str, float]) -> Explanation:
    """A mind that moves everybody by the same for each fact, and not at all for the others."""
    heights = {FACT_FEATURES[fact][0]: height for fact, height in parts.items()}
    curves = AdditiveModel(
        tuple(heights),
        ((0.0, 1.0),) * len(heights),
        tuple((height, height) for height in heights.values()),
        tuple(heights.values()),
        0.0,
    )
    return Explanation(curves, (0.0,) * len(heights), USUAL, dearer_stays=True, explained=None)


def told(days_back: list[int], parts: dict[str, float], amount: float = 10.0) -> list[str]:
    as_of = date(2024, 12, 31)
    orders = pl.DataFrame(
        {
            "customer_id": ["a"] * len(days_back),
            "order_id": [str(day) for day in days_back],
            "order_date": [as_of - timedelta(days=day) for day in days_back],
            "amount": [amount] * len(days_back),
        }
    )
    features = Snapshot(build_ledger(orders, observed_until=as_of).history(as_of)).features
    return [words for words in reasons_table(features, leaning(parts)).row(0) if words]


MONTHLY = [300, 270, 240, 210, 180, 150]
RAISED, LOWERED = -1.0, 1.0


@pytest.mark.parametrize(
    ("days_back", "parts", "words"),
    [
        ([84], {"silence": RAISED}, ["raises risk: one purchase only, 84 days ago"]),
        ([1], {"often": RAISED}, ["raises risk: one purchase only, 1 day ago"]),
        ([0], {"silence": RAISED}, ["raises risk: one purchase only, today"]),
        ([5], {"silence": LOWERED}, ["lowers risk: first purchase 5 days ago"]),
        ([51], {"silence": LOWERED}, []),
        ([5], {"silence": LOWERED, "often": -0.95}, []),
        ([2400], {"silence": RAISED}, ["raises risk: one purchase only, 7 years ago"]),
        ([126, 105, 84], {"silence": RAISED}, ["raises risk: last order 84 days ago, usually every 21 days"]),
        ([500, 499, 498], {"silence": RAISED}, ["raises risk: last order 16 months ago, usually every day"]),
        ([460, 260, 60], {"silence": RAISED}, ["raises risk: last order 60 days ago"]),
        ([340, 200, 20], {"silence": RAISED}, ["raises risk: only 3 purchases in 340 days"]),
        ([140, 100, 20], {"silence": LOWERED}, ["lowers risk: last order 20 days ago, usually every 60 days"]),
        ([30, 20, 0], {"silence": LOWERED}, ["lowers risk: last order today, usually every 15 days"]),
        ([20, 18, 15], {"silence": LOWERED}, ["lowers risk: last order 15 days ago"]),
        ([60, 40], {"silence": RAISED}, ["raises risk: last order 40 days ago, 20 days after the first"]),
        ([60, 50], {"silence": RAISED}, ["raises risk: only 2 purchases, the last 50 days ago"]),
        ([60, 10], {"silence": LOWERED}, ["lowers risk: last order 10 days ago"]),
        ([71, 50], {"silence": RAISED, "often": RAISED}, ["raises risk: only 2 purchases, the last 50 days ago"]),
        ([400, 10], {"often": RAISED}, ["raises risk: only 2 purchases, 13 months apart"]),
        ([31, 30], {"often": RAISED}, ["raises risk: only 2 purchases, 1 day apart"]),
        ([40, 10], {"often": LOWERED}, ["lowers risk: came back once, after 30 days"]),
        ([700, 400, 100], {"often": RAISED}, ["raises risk: only 1 purchase in the last year"]),
        ([700, 600, 400], {"often": RAISED}, ["raises risk: only 3 purchases in 23 months"]),
        ([20, 15, 10], {"often": RAISED}, ["raises risk: only 3 purchases so far"]),
        (MONTHLY, {"often": LOWERED}, ["lowers risk: 6 purchases in 300 days"]),
        ([900, 300, 250, 200, 150], {"often": LOWERED}, ["lowers risk: 4 purchases in the last year"]),
        (
            [170, 150, 130, 100, 20],
            {"lately": RAISED},
            ["raises risk: buying less: 1 purchase in the last 90 days, 4 in the 90 before"],
        ),
        (
            [170, 150],
            {"lately": RAISED},
            ["raises risk: buying less: no purchase in the last 90 days, 2 in the 90 before"],
        ),
        (
            [400, 80, 50, 20],
            {"lately": LOWERED},
            ["lowers risk: buying more: 3 purchases in the last 90 days, none in the 90 before"],
        ),
        ([200, 100], {"lately": RAISED}, ["raises risk: last order 100 days ago"]),
        (
            [300, 290, 280, 90, 80],
            {"rhythm": RAISED},
            ["raises risk: uneven rhythm, usually every 10 days but once 190 days"],
        ),
        ([120, 90, 60, 30, 5], {"rhythm": LOWERED}, ["lowers risk: steady rhythm, about every 30 days"]),
        ([84], {"money": RAISED}, ["raises risk: spent 10.00, usual here 40.00"]),
        ([84], {"money": LOWERED}, []),
        ([84], {"silence": RAISED, "money": -2.0}, None),
    ],
)
def test_by_hand(days_back: list[int], parts: dict[str, float], words: list[str] | None) -> None:
    said = told(days_back, parts)
    if words is None:
        assert [one.split()[2] for one in said] == ["spent", "one"]
    else:
        assert said == words


def test_money_is_told_in_round_figures_or_not_at_all() -> None:
    assert told([90, 50, 9], {"money": LOWERED}, amount=99.999) == [
        "lowers risk: about 100 per purchase, usual here 40.00"
    ]
    assert told([9], {"money": LOWERED}, amount=1234.56) == ["lowers risk: spent 1235, usual here 40.00"]
    assert told([9], {"money": LOWERED}, amount=99.999) == ["lowers risk: spent 100, usual here 40.00"]
    assert told([9], {"money": LOWERED}, amount=41.0) == []


def test_what_moves_little_is_not_told() -> None:
    assert told([84], {"silence": -MIN_REASON_LOG_ODDS * 0.99}) == []
    assert len(told([84], {"silence": -MIN_REASON_LOG_ODDS * 1.01})) == 1


def test_of_nobody_nothing_is_told(shop_snapshot: Snapshot, explanation: Explanation) -> None:
    assert reasons_table(shop_snapshot.features.rows(slice(0, 0)), explanation).shape == (0, MAX_REASONS)


def test_some_are_told_the_words_of_all(shop_snapshot: Snapshot, explanation: Explanation) -> None:
    everybody = reasons_table(shop_snapshot.features, explanation)
    for some in (slice(3, 4), slice(0, 500, 7)):
        assert reasons_table(shop_snapshot.features.rows(some), explanation).equals(everybody[some], null_equal=True)
