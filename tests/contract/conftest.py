"""What every scores table must satisfy, and one shop on which a model is fitted once."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.estimators.model import RepurchaseModel
from repurchase.tables import scores_table

START = date(2024, 1, 1)
DAY = START + timedelta(days=520)
HORIZONS = (30, 90)

Simulate = Callable[..., pl.DataFrame]


def with_returns(orders: pl.DataFrame) -> pl.DataFrame:
    """Every ninth order comes back 20 days later, a third of them without its sale being known."""
    sold = orders.with_row_index("number").filter(pl.col("number") % 9 == 0)
    known = pl.when(pl.col("number") % 27 > 0).then(pl.col("order_date").dt.date())
    back = sold.select(
        "customer_id",
        pl.concat_str(pl.lit("R-"), "order_id").alias("order_id"),
        pl.col("order_date") + pl.duration(days=20),
        -pl.col("amount"),
        known.alias("sale_date"),
    )
    return pl.concat([orders.with_columns(pl.lit(None, pl.Date()).alias("sale_date")), back])


def heavy_customer(*, orders: int = 1_000, days: int = 521) -> pl.DataFrame:
    """One customer who orders every day, often twice, up to ``DAY`` itself."""
    when = [START + timedelta(days=number % days) for number in range(orders)]
    return pl.DataFrame(
        {
            "customer_id": ["heavy"] * orders,
            "order_id": [f"h{number}" for number in range(orders)],
            "order_date": when,
            "amount": 5.0 + np.arange(orders) % 7,
        }
    ).with_columns(pl.col("order_date").cast(pl.Datetime("us")))


def assert_same_bits(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Equal in every column, null where null, floats to the last bit."""
    assert one.schema == other.schema
    assert one.equals(other, null_equal=True)
    for name in one.columns:
        if one.schema[name] == pl.Float64:
            bits, others = (frame[name].fill_null(0.0).to_numpy().view(np.int64) for frame in (one, other))
            assert np.array_equal(bits, others), name


def assert_honest(scores: pl.DataFrame, horizons: tuple[int, ...], *, money: bool = True) -> None:
    """Hold scores of customers with history to everything that is promised of them."""
    scores_table(horizons).check(scores)
    assert scores.columns == list(scores_table(horizons).names)
    assert scores.height > 0
    assert (scores["status"] == "scored").all()
    floats = scores.select(pl.col(pl.Float64))
    assert not floats.select(pl.any_horizontal(pl.all().is_nan() | pl.all().is_infinite()).any()).item()
    one_time_or_moneyless = {
        "spend_mean",
        "next_order_date",
        "next_order_date_low",
        "next_order_date_high",
        "next_order_note",
    }
    without_money = {"spend_total", "clv", "clv_low", "clv_high", "value_at_risk"}
    without_money |= {f"spend_expected_{h}d" for h in horizons}
    may_be_null = one_time_or_moneyless | {"reason_1", "reason_2", "reason_3"} | (set() if money else without_money)
    assert {name for name in scores.columns if scores[name].null_count()} <= may_be_null
    before = {"p_repurchase": 0.0, "orders_expected": 0.0, "spend_expected": 0.0}
    for h in horizons:
        p, orders = scores[f"p_repurchase_{h}d"], scores[f"orders_expected_{h}d"]
        assert p.is_between(0, 1).all()
        assert (scores[f"churn_risk_{h}d"] == 1.0 - p).all()
        assert (orders >= p).all()
        for name in before if money else ("p_repurchase", "orders_expected"):
            now = scores[f"{name}_{h}d"]
            assert (now >= before[name]).all(), (name, h)
            before[name] = now
    assert scores["p_alive"].is_between(0, 1).all()
    if money:
        assert (scores["clv_low"] <= scores["clv_high"]).all()
        assert (scores["clv_low"] >= 0).all()
        assert (scores["clv"] >= 0).all()
    else:
        assert all(scores[name].null_count() == scores.height for name in without_money)
    assert (scores["next_order_note"].is_null() == scores["next_order_date"].is_not_null()).all()
    likely = scores.filter(pl.col("next_order_date").is_not_null())
    assert (likely["next_order_date_low"] > likely["as_of"]).all()
    assert (likely["next_order_date_low"] <= likely["next_order_date"]).all()
    assert (likely["next_order_date"] <= likely["next_order_date_high"]).all()


@pytest.fixture(scope="session")
def honest() -> Callable[..., None]:
    return assert_honest


@pytest.fixture(scope="session")
def same_bits() -> Callable[[pl.DataFrame, pl.DataFrame], None]:
    return assert_same_bits


@pytest.fixture(scope="session")
def heavy() -> pl.DataFrame:
    return heavy_customer()


@pytest.fixture(scope="session")
def shop(simulate_orders: Simulate, heavy: pl.DataFrame) -> pl.DataFrame:
    """700 customers and a heavy one over 600 days, returns included; 80 days lie after ``DAY``."""
    orders = simulate_orders(customers=700, days=600, arrival_days=420, start=START, seed=3)
    return with_returns(pl.concat([orders, heavy]))


@pytest.fixture(scope="session")
def model(shop: pl.DataFrame) -> RepurchaseModel:
    return RepurchaseModel(horizons=HORIZONS).fit(shop, DAY)


@pytest.fixture(scope="session")
def scores(model: RepurchaseModel, shop: pl.DataFrame) -> pl.DataFrame:
    return model.predict(shop, DAY)
