"""A look at a log is the sum of looks at its customers, and so is the sample."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import reduce
from operator import add
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.evaluation import drift as look_module
from repurchase.evaluation.drift import InputSummary, input_profile, measure_drift, summarise_input
from repurchase.features.behaviour import behaviour_table
from repurchase.features.history import day_number
from repurchase.features.ledger import Closing, build_ledger, find_closing
from repurchase.orders.ids import id_hash

START = date(2023, 1, 2)
AS_OF = START + timedelta(days=479)


def log(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Orders from (customer, day, amount[, day of the sale a return reverses])."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "order_id": [f"o{number}" for number in range(len(rows))],
            "order_date": [START + timedelta(days=row[1]) for row in rows],
            "amount": [row[2] for row in rows],
            "sale_date": [START + timedelta(days=row[3]) if len(row) > 3 else None for row in rows],
        },
        schema_overrides={"order_date": pl.Datetime("us"), "amount": pl.Float64(), "sale_date": pl.Date()},
    )


def random_log(seed: int, *, days: int = 540, customers: int = 300, orders: int = 3000) -> pl.DataFrame:
    random = Random(seed)

    def rows() -> Iterator[tuple[Any, ...]]:
        for _ in range(orders):
            who, day = f"c{random.randrange(customers)}", random.randrange(days)
            amount = random.choice([-20.0, 0.0, 5.0, 12.5, 30.0, 99.9])
            yield (who, day, amount, max(day - 9, 0)) if amount < 0 and random.random() < 0.8 else (who, day, amount)

    return log(*rows())


def looked(orders: pl.DataFrame, as_of: date = AS_OF, closing: Closing | None = None) -> InputSummary:
    return summarise_input(
        build_ledger(orders, observed_until=START + timedelta(days=999)), as_of=as_of, closing=closing
    )


def told(summary: InputSummary) -> tuple[Any, ...]:
    return summary.as_of, summary.n_customers, summary.weekly, summary.newcomers, summary.baskets


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So few customers are looked at that most are not."""
    monkeypatch.setattr(look_module, "MAX_SAMPLE_CUSTOMERS", 40)
    return 40


def in_parts(orders: pl.DataFrame, parts: int) -> Iterator[pl.DataFrame]:
    part = pl.col("customer_id").hash(7) % parts
    return (orders.filter(part == number) for number in range(parts))


@pytest.mark.parametrize("parts", [1, 3, 17])
@pytest.mark.parametrize("seed", [1, 2])
def test_looks_at_parts_add_up_to_a_look_at_the_whole(few: int, parts: int, seed: int) -> None:
    orders = random_log(seed)
    whole = looked(orders)
    profile = input_profile(build_ledger(orders, observed_until=AS_OF), as_of=AS_OF - timedelta(days=90))

    looks = [looked(part) for part in in_parts(orders, parts)]

    for ordered in (looks, looks[::-1], Random(3).sample(looks, parts)):
        together = reduce(add, ordered)
        assert told(together) == told(whole)
        assert together.features.equals(whole.features)
        assert measure_drift(profile, together) == measure_drift(profile, whole)


def test_the_sample_is_of_the_smallest_hashes(few: int) -> None:
    orders = random_log(4)
    ids = orders.filter(pl.col("order_date").dt.date() <= AS_OF)["customer_id"].unique()
    chosen = ids.gather(id_hash(ids).arg_sort()[:few])
    alone = orders.filter(pl.col("customer_id").is_in(chosen.implode()))
    ledger = build_ledger(alone, observed_until=AS_OF)

    sample = looked(orders).features

    expected = behaviour_table(ledger.history(AS_OF))
    assert sample.height == expected.height
    assert sample.sort(sample.columns).equals(expected.sort(expected.columns))


def test_as_few_are_kept_of_a_sum_as_of_a_look(few: int) -> None:
    looks = [looked(part) for part in in_parts(random_log(5), 3)]
    together = reduce(add, looks)
    assert [len(summary.sample.drawn) for summary in (*looks, together)] == [few] * 4
    assert together.sample.hashes.max() <= together.sample.drawn[-1]
    assert (np.diff(together.sample.hashes.astype(np.float64)) > 0).all()


def slow_figures(orders: pl.DataFrame, as_of: date) -> tuple[Any, ...]:
    """Weeks, newcomers and baskets, one purchase day at a time."""
    rows = [row for row in orders.iter_rows(named=True) if row["order_date"].date() <= as_of]
    spent: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row["customer_id"], (as_of - row["order_date"].date()).days
        if row["amount"] > 0:
            spent.setdefault(key, 0)
    for row in rows:
        key = row["customer_id"], (as_of - row["order_date"].date()).days
        if key in spent and row["sale_date"] is None:
            spent[key] += round(row["amount"] * 10_000)
    oldest = max(ago for _, ago in spent)
    first = {who: max(ago for name, ago in spent if name == who) for who, _ in spent}
    weekly = [sum(ago // 7 == week for _, ago in spent) for week in range(min(52, (oldest + 1) // 7))]
    newcomers, baskets = [], []
    for window in range(min(364, (oldest + 1) // 2) // 28):
        days = [key for key in spent if key[1] // 28 == window]
        buyers = {who for who, _ in days}
        if days:
            newcomers.append(sum(first[who] // 28 == window for who in buyers) / len(buyers))
            baskets.append(sum(max(spent[key], 0) for key in days) / 10_000 / len(days))
    return tuple(weekly[::-1]), tuple(newcomers[::-1]), tuple(baskets[::-1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("days", [20, 90, 300, 540])
def test_second_opinion(days: int, seed: int) -> None:
    orders = random_log(seed, days=days, customers=40, orders=250 if seed % 2 else 40)
    as_of = START + timedelta(days=days - 5)

    summary = looked(orders, as_of)

    assert (summary.weekly, summary.newcomers, summary.baskets) == slow_figures(orders, as_of)
    assert summary.n_customers == orders.filter(pl.col("order_date").dt.date() <= as_of)["customer_id"].n_unique()


def test_what_was_given_back_the_same_day_is_no_money_of_that_day() -> None:
    rows = [("a", day, 10.0) for day in range(0, 84, 7)] + [("b", 80, 50.0), ("b", 80, -20.0), ("c", 81, 5.0)]
    summary = looked(log(*rows, ("c", 81, -500.0)), START + timedelta(days=83))
    assert summary.baskets == ((10.0 * 4 + 30.0 + 0.0) / 6,)


@pytest.mark.parametrize("until", [AS_OF, START + timedelta(days=999)])
def test_a_closing_is_left_out_of_every_part(until: date) -> None:
    orders = log(*((f"c{day % 40}", day, 1.0 + day % 3) for day in range(400) if not 100 <= day < 200))
    as_of = START + timedelta(days=399)
    closing = find_closing(build_ledger(orders, observed_until=as_of).entries["known"].to_numpy())
    assert closing is not None
    whole = looked(orders, as_of, closing)
    assert min(whole.weekly) >= 6
    assert told(reduce(add, (looked(part, as_of, closing) for part in in_parts(orders, 3)))) == told(whole)
    left_out = build_ledger(orders, observed_until=until).without(closing)
    for told_again in (closing, None):
        again = summarise_input(left_out, as_of=as_of, closing=told_again)
        assert told(again) == told(whole)
        assert again.features.equals(whole.features)


def test_a_closing_that_is_not_over_is_not_left_out() -> None:
    orders = log(*((f"c{day % 40}", day, 1.0) for day in range(300) if not 100 <= day < 200))
    closing = Closing(day_number(START) + 100, day_number(START) + 199)
    on = START + timedelta(days=150)
    assert told(looked(orders, on, closing)) == told(looked(orders, on))


@pytest.mark.parametrize("nobody", [random_log(1).clear(), random_log(1).with_columns(order_date=AS_OF)])
def test_nobody_adds_nothing(nobody: pl.DataFrame) -> None:
    late = nobody.with_columns(pl.col("order_date").cast(pl.Datetime("us")) + pl.duration(days=9), sale_date=None)
    empty, whole = looked(late.cast({"sale_date": pl.Date})), looked(random_log(1))
    assert told(empty) == (AS_OF, 0, (), (), ())
    assert empty.features.height == 0
    for together in (empty + whole, whole + empty):
        assert told(together) == told(whole)
        assert together.features.equals(whole.features)


def without_money(orders: pl.DataFrame) -> pl.DataFrame:
    return orders.with_columns(amount=pl.lit(None, dtype=pl.Float64))


def test_without_money_there_are_no_baskets() -> None:
    orders = without_money(random_log(2).filter(pl.col("amount") > 0))
    summary = looked(orders)
    assert summary.baskets == ()
    assert summary.weekly == looked(random_log(2)).weekly


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda orders: looked(orders, AS_OF - timedelta(days=1)), "Summarise all parts as of one day"),
        (lambda orders: looked(without_money(orders)), "with and without amounts"),
    ],
)
def test_what_does_not_add_up_is_refused(other: Callable[[pl.DataFrame], InputSummary], said: str) -> None:
    orders = random_log(1)
    with pytest.raises(InputError, match=said):
        looked(orders) + other(orders)
