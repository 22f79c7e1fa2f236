"""What every scores table must satisfy, one shop on which a model is fitted once, and shops with known truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from repurchase.models.model import RepurchaseModel
from repurchase.schemas import scores_table

START = date(2024, 1, 1)
DAY = START + timedelta(days=520)
HORIZONS = (30, 90)

Simulate = Callable[..., pl.DataFrame]
Floats = npt.NDArray[np.float64]


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
    unsold = scores.filter(pl.col("status") == "no_purchases")
    given = {"customer_id", "as_of", "model_version", "status", "orders", *(["spend_total"] if money else [])}
    assert {name for name in unsold.columns if unsold[name].null_count() < unsold.height} <= given
    scores = scores.filter(pl.col("status") != "no_purchases")
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


OPENED = date(2022, 1, 3)
MONTHS = (0.6, 0.7, 0.8, 1.0, 1.0, 0.8, 0.6, 0.7, 0.9, 1.1, 1.6, 1.8)
"""Paces of a strong season: December is three times January."""
FUTURE_DAYS = 365


@dataclass(frozen=True)
class Shop:
    """Orders up to the last of ``days`` days, and the truth of the customers who are known by then, sorted by id.

    Orders are drawn day by day from each customer's own rate and chance of leaving, so that the probability of a
    purchase after the last day, given the orders so far, is exact.
    """

    orders: pl.DataFrame
    days: int
    first_day: Floats
    rate: Floats
    leaves: Floats
    still_here: Floats
    money: Floats
    pace: Floats
    """By which all rates are multiplied, for every day and the year after."""

    @property
    def as_of(self) -> date:
        return OPENED + timedelta(days=self.days - 1)

    def p(self, horizon_days: int) -> Floats:
        ahead = self.pace[self.days : self.days + horizon_days].sum()
        return np.asarray(self.still_here * -np.expm1(-self.rate * ahead))

    def purchase_days(self, horizon_days: int) -> Floats:
        here, total = self.still_here, np.zeros(len(self.rate))
        for pace in self.pace[self.days : self.days + horizon_days]:
            bought = here * -np.expm1(-self.rate * pace)
            here, total = here - bought * self.leaves, total + bought
        return total

    def chance(self, horizon_days: int) -> float:
        """Two standard errors of the share of buyers among those whose outcomes of this length are known."""
        known = int((self.first_day < self.days - horizon_days).sum())
        share = float(self.p(horizon_days).mean())
        return 2.0 * math.sqrt(share * (1.0 - share) / known)


def trade(
    first_day: npt.ArrayLike,
    days: int,
    *,
    gap_days: float = 30.0,
    leaving: tuple[float, float] = (0.8, 3.0),
    rate: Floats | None = None,
    leaves: Floats | None = None,
    pace: Floats | None = None,
    a_day: npt.NDArray[np.int64] | None = None,
) -> Shop:
    """Let customers buy: rates ~ Gamma(1), leaving after a purchase, the first included, with a chance ~ Beta."""
    rng = np.random.default_rng(0)
    first = np.asarray(first_day)
    n = len(first)
    rate = rng.exponential(1.0 / gap_days, n) if rate is None else rate
    leaves = rng.beta(*leaving, n) if leaves is None else leaves
    pace = np.ones(days + FUTURE_DAYS) if pace is None else pace
    money = 40.0 * rng.gamma(4.0, 0.25, n)
    here, last = np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int64)
    rows = []
    for day in range(days):
        buys = (here & (rng.random(n) < -np.expm1(-rate * pace[day]))) | (first == day)
        here = (here | buys) & ~(buys & (rng.random(n) < leaves))
        last[buys] = day
        rows.append((np.flatnonzero(buys), np.full(buys.sum(), day), (money * rng.gamma(3.0, 1 / 3, n))[buys]))
    who, day_of, spent = (np.concatenate(column) for column in zip(*rows, strict=True))
    times = np.ones(len(who), dtype=np.int64) if a_day is None else a_day[who]
    who, day_of, spent = (np.repeat(column, times) for column in (who, day_of, spent / times))
    waited = np.cumsum(np.append(0.0, pace))
    quiet = (1.0 - leaves) * np.exp(-rate * (waited[days] - waited[last + 1]))
    orders = pl.DataFrame({"who": who, "day": day_of, "amount": np.round(spent, 2) + 0.01}).select(
        pl.format("c{}", pl.col("who").cast(pl.String()).str.zfill(5)).alias("customer_id"),
        pl.format("o{}", pl.int_range(pl.len())).alias("order_id"),
        (pl.lit(OPENED) + pl.duration(days="day")).cast(pl.Datetime("us")).alias("order_date"),
        "amount",
    )
    return Shop(orders, days, first, rate, leaves, quiet / (leaves + quiet), money, pace)


def arriving(customers: int, until: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, until, customers)


def steady() -> Shop:
    return trade(arriving(600, 430), 500)


def two_hundred_customers() -> Shop:
    return trade(arriving(200, 330), 420)


def sixty_days() -> Shop:
    return trade(arriving(600, 50), 60, gap_days=15.0)


def all_on_one_day() -> Shop:
    return trade(np.zeros(500), 300)


def all_in_one_week() -> Shop:
    return trade(arriving(500, 7), 300)


def no_amounts() -> Shop:
    shop = trade(arriving(500, 330), 400)
    return replace(shop, orders=shop.orders.with_columns(pl.lit(None, dtype=pl.Float64).alias("amount")))


def mostly_one_time() -> Shop:
    shop = trade(arriving(1_000, 350), 400, gap_days=25.0, leaving=(0.9, 0.32))
    assert 0.75 < (shop.orders["customer_id"].value_counts()["count"] == 1).mean() < 0.85
    return shop


def a_thousand_orders_of_one() -> Shop:
    rng = np.random.default_rng(2)
    first, a_day = arriving(500, 400), np.ones(500, dtype=np.int64)
    rate, leaves = rng.exponential(1 / 30, 500), rng.beta(0.8, 3.0, 500)
    first[7], rate[7], leaves[7], a_day[7] = 0, 2.5, 0.0, 3
    shop = trade(first, 500, rate=rate, leaves=leaves, a_day=a_day)
    assert (shop.orders["customer_id"] == "c00007").sum() > 1_000
    return shop


def doubling_every_month() -> Shop:
    days = 360
    share = np.random.default_rng(3).random(1_200)
    first = np.floor(30.0 * np.log2(1.0 + share * (2.0 ** (days / 30) - 1.0))).astype(np.int64)
    return trade(np.minimum(first, days - 1), days, gap_days=20.0)


def strong_season() -> Shop:
    """Three years, each with the same months: three times as much in December as in January."""
    days = 3 * 365
    pace = np.array([MONTHS[(OPENED + timedelta(days=day)).month - 1] for day in range(days + FUTURE_DAYS)])
    return trade(arriving(800, days - 30), days, gap_days=60.0, leaving=(0.5, 4.0), pace=pace)


def closed_two_months() -> Shop:
    """Until ten days before the last."""
    days = 420
    closing = days - 70
    pace = np.ones(days + FUTURE_DAYS)
    pace[closing : closing + 60] = 0.0
    first = arriving(600, days - 60)
    return trade(np.where(first < closing, first, np.minimum(first + 60, days - 1)), days, pace=pace)


def all_alike() -> Shop:
    return trade(arriving(400, 60), 300, rate=np.full(400, 1 / 40), leaves=np.zeros(400))


SHOPS = {
    shop.__name__: shop
    for shop in (
        steady,
        two_hundred_customers,
        sixty_days,
        all_on_one_day,
        all_in_one_week,
        no_amounts,
        mostly_one_time,
        a_thousand_orders_of_one,
        doubling_every_month,
        strong_season,
        closed_two_months,
        all_alike,
    )
}


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


@pytest.fixture(scope="session")
def known_shop() -> Callable[[str], Shop]:
    """A function that opens a shop of ``SHOPS`` by name; each is made once."""
    return cache(lambda name: SHOPS[name]())
