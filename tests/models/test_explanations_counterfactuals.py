"""Flipping what a reason names moves the score the named way."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from repurchase.features.history import History, day_number
from repurchase.features.ledger import build_ledger
from repurchase.models.explanations import (
    MIN_REASON_LOG_ODDS,
    counterfactual_history,
    learn_explanation,
    reason_contributions,
)
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import Snapshot, logit

Floats = npt.NDArray[np.float64]

USUAL = {"days_since_last": 20.0, "spend_typical": 50.0}
DAY = date(2024, 12, 31)


def history_of(*customers: list[int]) -> History:
    """Customers by the days before ``DAY`` on which they bought for 10.00."""
    rows = [(f"c{who}", DAY - timedelta(days=back)) for who, days in enumerate(customers) for back in days]
    orders = pl.DataFrame(
        {
            "customer_id": [who for who, _ in rows],
            "order_id": [str(number) for number in range(len(rows))],
            "order_date": [day for _, day in rows],
            "amount": [10.0] * len(rows),
        }
    )
    return build_ledger(orders, observed_until=DAY).history(DAY)


def days_back(history: History) -> list[list[int]]:
    back = day_number(DAY) - history.day
    return [part.tolist() for part in np.split(back, history.start[1:])]


@pytest.mark.parametrize(
    ("fact", "side", "before", "after"),
    [
        ("once", "raises", [[300], [1], [0]], [[300, 1], [1, 0], [1, 0]]),
        ("once", "lowers", [[5]], [[95]]),
        ("silence", "raises", [[90, 60, 40], [3, 0]], [[90, 60, 1], [3, 0]]),
        ("silence", "lowers", [[90, 10], [20, 10]], [[330, 250], [110, 100]]),
        ("often", "raises", [[90, 50, 49]], [[90, 70, 50, 49]]),
        ("often", "lowers", [[9, 3], [9, 5, 3], [9, 8, 7, 6], [9, 8, 7, 6, 5]], [[3], [9, 3], [9, 7, 6], [9, 7, 5]]),
        ("lately", "raises", [[300, 170, 100, 60]], [[300, 80, 60, 10]]),
        ("lately", "lowers", [[300, 80, 60, 10]], [[300, 170, 150, 10]]),
        ("rhythm", "raises", [[90, 85, 80, 0]], [[90, 60, 30, 0]]),
        ("rhythm", "lowers", [[90, 60, 30, 0]], [[90, 89, 30, 0]]),
    ],
)
def test_otherwise_changes_the_days(fact: str, side: str, before: list[list[int]], after: list[list[int]]) -> None:
    history = history_of(*before)
    changed = counterfactual_history(history, fact, side, USUAL)
    assert days_back(changed) == after
    assert (changed.spend == history.spend[0]).all()
    assert days_back(history) == before
    assert Snapshot(changed).n_customers == len(before)


def test_otherwise_makes_money_usual() -> None:
    changed = counterfactual_history(history_of([90, 50], [7]), "money", "raises", USUAL)
    assert Snapshot(changed).features["spend_typical"].tolist() == pytest.approx([50.0, 50.0])
    assert days_back(changed) == [[90, 50], [7]]


def test_an_order_the_day_before_lowers_the_risk_of_the_silent(
    cdnow_part: pl.DataFrame, cdnow_model: RepurchaseModel
) -> None:
    scores = cdnow_model.predict(cdnow_part)
    silent = scores.filter(pl.col("reason_1").str.contains("raises risk: (last order|only 2 purchases, the last)"))
    assert silent.height > 500
    day = cdnow_model.as_of_ - timedelta(days=1)
    more = silent.select(
        "customer_id",
        pl.format("new-{}", "customer_id").alias("order_id"),
        pl.lit(day).cast(pl.Datetime("us")).alias("order_date"),
        pl.lit(20.0).alias("amount"),
        pl.lit(1.0).alias("quantity"),
    )
    again = cdnow_model.predict(
        pl.concat([cdnow_part, more]), as_of=cdnow_model.as_of_, customers=silent["customer_id"].to_list()
    )
    assert (again["churn_risk_90d"] < silent["churn_risk_90d"]).all()


def test_flipping_the_strongest_reason_moves_the_model_the_named_way(
    cdnow_model: RepurchaseModel, cdnow_snapshot: Snapshot
) -> None:
    parts = reason_contributions(cdnow_snapshot.features, cdnow_model.explanation_)
    matrix = np.column_stack(list(parts.values()))
    strongest = np.abs(matrix).argmax(axis=1)
    said = logit(cdnow_model.predict_snapshot(cdnow_snapshot).p[90])
    as_named, tried = [], set()
    for number, fact in enumerate(parts):
        for side, sign in (("raises", -1.0), ("lowers", 1.0)):
            told = np.flatnonzero((strongest == number) & (sign * matrix[:, number] >= MIN_REASON_LOG_ODDS))[:400]
            if len(told):
                changed = Snapshot(
                    counterfactual_history(
                        cdnow_snapshot.history.take(told), fact, side, cdnow_model.explanation_.usual
                    )
                )
                moved = logit(cdnow_model.predict_snapshot(changed).p[90]) - said[told]
                as_named.append(sign * moved < 0)
                tried.add((fact, side))
    assert {("once", "raises"), ("silence", "raises"), ("silence", "lowers"), ("often", "lowers")} <= tried
    assert np.concatenate(as_named).mean() > 0.95
    assert min(share.mean() for share in as_named if len(share) >= 20) > 0.8


def test_a_model_of_known_mind_is_agreed_with_and_a_contrary_one_is_not_told(shop_snapshot: Snapshot) -> None:
    def minds_silence(snapshot: Snapshot) -> Floats:
        return -np.log1p(snapshot.features["days_since_last"])

    def contrary(snapshot: Snapshot) -> Floats:
        """Says of changed customers, of whom there are fewer, the opposite of what it says of everybody."""
        return (
            minds_silence(snapshot)
            if snapshot.n_customers == shop_snapshot.n_customers
            else -20.0 - minds_silence(snapshot)
        )

    plain = learn_explanation(shop_snapshot, minds_silence, random_state=0)
    assert plain.agreement["silence"] == {"raises": 1.0, "lowers": 1.0}
    silence = reason_contributions(shop_snapshot.features, plain)["silence"]
    assert (np.abs(silence) >= MIN_REASON_LOG_ODDS).mean() > 0.3
    doubted = learn_explanation(shop_snapshot, contrary, random_state=0)
    assert doubted.agreement["silence"]["raises"] < 0.2
    assert (reason_contributions(shop_snapshot.features, doubted)["silence"] >= 0.0).all()


@pytest.mark.parametrize(
    ("world", "learned"),
    [
        ({"customers": 200}, (30,)),
        ({"customers": 150, "days": 45, "arrival_days": 30}, ()),
        ({"customers": 400, "money": False}, (30,)),
        ({"customers": 300, "r": 0.05}, None),
    ],
    ids=["few customers", "btyd alone", "no money", "nearly all buy once"],
)
def test_every_kind_of_log_is_told_of(
    simulate_orders: Callable[..., pl.DataFrame], world: dict[str, float], learned: tuple[int, ...] | None
) -> None:
    orders = simulate_orders(**world)
    model = RepurchaseModel(horizons=(30,)).fit(orders)
    assert learned is None or model.learned_ == learned
    scores = model.predict(orders)
    again = RepurchaseModel.from_state(model.to_state()).predict(orders)
    assert again.equals(scores, null_equal=True)
    some = scores["customer_id"].gather_every(3).to_list()
    assert model.predict(orders, customers=some).equals(scores.gather_every(3), null_equal=True)
    assert scores["reason_1"].null_count() < 0.7 * scores.height
    words = scores.select("reason_1", "reason_2", "reason_3").unpivot()["value"].drop_nulls()
    assert words.str.contains("^(raises|lowers) risk: ").all()
    assert world.get("money", True) or not words.str.contains("per purchase").any()


def test_one_customer_alone_has_nothing_to_be_held_against() -> None:
    days = [date(2024, 1, 1), date(2024, 2, 1), date(2024, 5, 1)]
    orders = pl.DataFrame(
        {"customer_id": ["a"] * 3, "order_id": ["1", "2", "3"], "order_date": days, "amount": [9.0, 8.0, 7.0]}
    )
    scores = RepurchaseModel(horizons=(30,)).fit(orders).predict(orders)
    assert scores.select("reason_1", "reason_2", "reason_3").row(0) == (None, None, None)
