"""What was known on a day, and what came after it."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.errors import InputError, InsufficientHistory, LeakageError, OrdersError
from repurchase.features.ledger import Ledger, build_ledger, train_cutoffs

Make = Callable[[list[tuple[Any, ...]]], pl.DataFrame]
DaysOf = Callable[..., dict[str, list[tuple[str, float]]]]

DAY = date(2024, 3, 31)
LATER = date(2024, 12, 31)


def test_the_cut_includes_its_own_day_to_the_last_second(make_orders: Make, days_of: DaysOf) -> None:
    orders = make_orders([("a", "2024-03-31T23:59:59", 5.0), ("a", "2024-04-01T00:00:00", 7.0)])
    ledger = build_ledger(orders, observed_until=LATER)
    assert days_of(ledger.history(DAY), ledger.ids) == {"a": [("2024-03-31", 5.0)]}
    assert days_of(ledger.history(date(2024, 4, 1)), ledger.ids) == {"a": [("2024-03-31", 5.0), ("2024-04-01", 7.0)]}
    assert days_of(ledger.history(date(2024, 3, 30)), ledger.ids) == {}


def test_several_orders_of_a_day_are_one_purchase_day(make_orders: Make) -> None:
    lines = [("a", "2024-01-05T09:00", 5.0, None, "o1"), ("a", "2024-01-05T09:00", 2.5, None, "o1")]
    orders = make_orders([*lines, ("a", "2024-01-05T18:00", 1.0, None, "o2")])
    history = build_ledger(orders, observed_until=DAY).history(DAY)
    assert history.count.tolist() == [1]
    assert (history.orders.tolist(), history.lines.tolist(), history.spend.tolist()) == ([2], [3], [85_000])


class TestReturns:
    ROWS = (
        ("a", "2024-01-10", 50.0),
        ("a", "2024-02-10", 30.0),
        ("a", "2024-03-20", -30.0, "2024-02-10"),
        ("a", "2024-03-25", -20.0, "2024-01-10"),
    )

    @pytest.fixture
    def ledger(self, make_orders: Make) -> Ledger:
        return build_ledger(make_orders(list(self.ROWS)), observed_until=LATER)

    def test_are_unknown_before_their_own_day(self, ledger: Ledger, days_of: DaysOf) -> None:
        before = ledger.history(date(2024, 3, 19))
        assert days_of(before, ledger.ids) == {"a": [("2024-01-10", 50.0), ("2024-02-10", 30.0)]}
        assert before.returned.tolist() == [0]
        assert before.net_total.tolist() == [800_000]

    def test_in_full_take_the_purchase_day_away_once_known(self, ledger: Ledger, days_of: DaysOf) -> None:
        assert days_of(ledger.history(date(2024, 3, 20)), ledger.ids) == {"a": [("2024-01-10", 50.0)]}

    def test_in_part_leave_the_day_with_what_is_left(self, ledger: Ledger, days_of: DaysOf) -> None:
        after = ledger.history(date(2024, 3, 25))
        assert days_of(after, ledger.ids) == {"a": [("2024-01-10", 30.0)]}
        assert after.returned.tolist() == [500_000]
        assert after.net_total.tolist() == [300_000]

    def test_without_a_known_sale_count_on_their_own_day(self, make_orders: Make, days_of: DaysOf) -> None:
        orders = make_orders([("a", "2024-01-10", 50.0), ("a", "2024-02-01", 8.0), ("a", "2024-02-01", -8.0)])
        ledger = build_ledger(orders, observed_until=DAY)
        history = ledger.history(DAY)
        assert days_of(history, ledger.ids) == {"a": [("2024-01-10", 50.0)]}
        assert history.net_total.tolist() == [500_000]

    def test_of_a_sale_yet_to_come_are_a_leak(self, make_orders: Make) -> None:
        orders = make_orders([("a", "2024-01-10", 50.0), ("a", "2024-01-11", -50.0, "2024-01-12")])
        with pytest.raises(LeakageError, match=r"^orders: 1 returns have a sale_date later than their own"):
            build_ledger(orders, observed_until=DAY)

    def test_alone_make_no_history(self, make_orders: Make, days_of: DaysOf) -> None:
        orders = make_orders([("a", "2024-01-10", 50.0), ("b", "2024-01-12", -9.0), ("c", "2024-01-12", 0.0)])
        ledger = build_ledger(orders, observed_until=DAY)
        assert days_of(ledger.history(DAY), ledger.ids) == {"a": [("2024-01-10", 50.0)]}


class TestOutcomes:
    def bought(self, orders: pl.DataFrame, *, horizon_days: int) -> tuple[list[bool], list[int], list[float]]:
        ledger = build_ledger(orders, observed_until=LATER)
        found = ledger.outcomes(ledger.history(DAY), horizon_days=horizon_days)
        return found.bought.tolist(), found.purchase_days.tolist(), found.spend.tolist()

    @pytest.mark.parametrize(
        ("day", "inside"), [("2024-03-31", False), ("2024-04-01", True), ("2024-04-30", True), ("2024-05-01", False)]
    )
    def test_the_window_opens_after_the_day_and_closes_with_its_last(
        self, make_orders: Make, day: str, inside: bool
    ) -> None:
        orders = make_orders([("a", "2024-01-01", 1.0), ("a", f"{day}T12:00", 4.0)])
        assert self.bought(orders, horizon_days=30) == ([inside], [int(inside)], [4.0 * inside])

    def test_who_first_buys_in_the_window_is_not_looked_up(self, make_orders: Make) -> None:
        orders = make_orders([("a", "2024-01-01", 1.0), ("0", "2024-04-05", 4.0), ("z", "2024-04-05", 4.0)])
        assert self.bought(orders, horizon_days=30) == ([False], [0], [0.0])

    def test_a_return_of_an_old_sale_is_money_lost_and_no_purchase(self, make_orders: Make) -> None:
        rows = [("a", "2024-01-01", 10.0), ("a", "2024-04-02", -10.0, "2024-01-01"), ("a", "2024-04-03", 4.0)]
        assert self.bought(make_orders(rows), horizon_days=30) == ([True], [1], [-6.0])

    def test_a_sale_returned_within_the_window_was_no_purchase(self, make_orders: Make) -> None:
        rows = [("a", "2024-01-01", 10.0), ("a", "2024-04-02", 5.0), ("a", "2024-04-09", -5.0, "2024-04-02")]
        assert self.bought(make_orders(rows), horizon_days=30) == ([False], [0], [0.0])
        assert self.bought(make_orders(rows), horizon_days=5) == ([True], [1], [5.0])

    def test_ask_for_a_window_that_was_observed(self, make_orders: Make) -> None:
        ledger = build_ledger(make_orders([("a", "2024-01-01", 1.0)]), observed_until=date(2024, 4, 29))
        history = ledger.history(DAY)
        assert not ledger.outcomes(history, horizon_days=29).bought.any()
        with pytest.raises(
            InsufficientHistory, match=r"known on 2024-04-30, but orders were observed until 2024-04-29"
        ):
            ledger.outcomes(history, horizon_days=30)

    def test_know_no_money_where_the_log_knows_none(self, make_orders: Make) -> None:
        orders = make_orders([("a", "2024-01-01", None), ("a", "2024-04-02", None), ("a", "2024-04-02", None)])
        bought, days, spend = self.bought(orders, horizon_days=30)
        assert (bought, days) == ([True], [1])
        assert np.isnan(spend).all()


def test_money_adds_up_exactly_whatever_the_order_of_rows(make_orders: Make) -> None:
    rows = [("a", "2024-01-01", 0.1), ("a", "2024-01-01", 0.2), ("a", "2024-01-01", 1e9), ("a", "2024-01-01", -0.3)]
    for turn in range(4):
        history = build_ledger(make_orders(rows[turn:] + rows[:turn]), observed_until=DAY).history(DAY)
        assert history.spend.tolist() == [10_000_000_000_000]
    cents = build_ledger(make_orders([("a", "2024-01-01", 0.01)] * 10_001), observed_until=DAY).history(DAY)
    assert cents.net_total.tolist() == [1_000_100]


def test_rows_after_the_observed_end_are_not_read(make_orders: Make) -> None:
    known = [("a", "2024-01-01", 1.0), ("b", "2024-02-01", 2.0)]
    leak = ("a", "2024-04-02", -1.0, "2024-06-01")  # would be refused, were it read
    ledger = build_ledger(make_orders([*known, ("new", "2024-04-01", 9.0), leak]), observed_until=DAY)
    alone = build_ledger(make_orders(known), observed_until=DAY)
    assert ledger.ids.to_list() == ["a", "b"]
    assert ledger.entries.equals(alone.entries)


def test_forgetting_equals_never_having_known(simulate_orders: Callable[..., pl.DataFrame]) -> None:
    orders = simulate_orders(customers=60, days=300, arrival_days=200)
    day, earlier = date(2024, 6, 30), date(2024, 4, 30)
    whole = build_ledger(orders, observed_until=date(2024, 10, 1))
    assert whole.until(day).observed_until == day
    now, then = whole.until(day).history(earlier), whole.history(earlier)
    np.testing.assert_array_equal(now.day, then.day)
    with pytest.raises(InsufficientHistory):
        whole.until(day).outcomes(now, horizon_days=62)
    assert whole.outcomes(then, horizon_days=62).bought.any()


def test_taking_some_customers_equals_a_log_of_only_those(simulate_orders: Callable[..., pl.DataFrame]) -> None:
    orders = simulate_orders(customers=80, days=300)
    day = date(2024, 10, 1)
    ledger = build_ledger(orders, observed_until=day)
    history = ledger.history(day)
    kept = np.sort(np.random.default_rng(3).choice(len(history.customer), 25, replace=False))
    ids = ledger.ids.gather(history.customer[kept])
    alone = build_ledger(orders.filter(pl.col("customer_id").is_in(ids.implode())), observed_until=day)
    taken, theirs = history.take(kept), alone.history(day)
    assert alone.ids.gather(theirs.customer).to_list() == ids.to_list()
    names = ("start", "count", "day", "spend", "orders", "lines", "quantity", "discount", "net_total", "returned")
    for name in names:
        np.testing.assert_array_equal(getattr(taken, name), getattr(theirs, name), err_msg=name)


def test_without_amounts_every_day_with_an_order_counts(make_orders: Make) -> None:
    orders = make_orders([("a", "2024-01-01", None), ("a", "2024-01-08", None), ("b", "2024-01-08", None)])
    history = build_ledger(orders, observed_until=DAY).history(DAY)
    assert not history.has_amounts
    assert history.count.tolist() == [2, 1]


def test_days_before_1970_and_far_ahead_keep_their_order(make_orders: Make, days_of: DaysOf) -> None:
    orders = make_orders([("a", "2024-01-01", 1.0), ("a", "1969-12-30", 2.0), ("b", "1955-05-05", 3.0)])
    ledger = build_ledger(orders, observed_until=DAY)
    history = ledger.history(DAY)
    assert days_of(history, ledger.ids) == {"a": [("1969-12-30", 2.0), ("2024-01-01", 1.0)], "b": [("1955-05-05", 3.0)]}
    assert (history.position(-2) - history.start).tolist() == [1, 1]  # 1969-12-30 is day -2
    assert (history.position(-3) - history.start).tolist() == [0, 1]


class TestRefusals:
    def test_a_missing_column_is_named(self, make_orders: Make) -> None:
        with pytest.raises(OrdersError, match=r"1 of the 4 needed columns are missing: amount\."):
            build_ledger(make_orders([("a", "2024-01-01", 1.0)]).drop("amount"), observed_until=DAY)

    def test_a_missing_customer_is_counted(self, make_orders: Make) -> None:
        with pytest.raises(OrdersError, match=r"'customer_id' has 1 missing values of 2"):
            build_ledger(make_orders([("a", "2024-01-01", 1.0), (None, "2024-01-01", 1.0)]), observed_until=DAY)

    def test_ids_that_are_numbers_are_not_guessed_at(self, make_orders: Make) -> None:
        orders = make_orders([("1", "2024-01-01", 1.0)]).with_columns(pl.col("customer_id").cast(pl.Int64))
        with pytest.raises(OrdersError, match=r"'customer_id' must be String"):
            build_ledger(orders, observed_until=DAY)

    @pytest.mark.parametrize(("name", "value"), [("amount", "twelve"), ("order_date", "Tuesday")])
    def test_text_that_is_not_a_number_or_a_day(self, make_orders: Make, name: str, value: str) -> None:
        orders = make_orders([("a", "2024-01-01", 1.0)]).with_columns(pl.lit(value).alias(name))
        with pytest.raises(OrdersError, match=name):
            build_ledger(orders, observed_until=DAY)

    def test_what_is_no_table(self) -> None:
        with pytest.raises(InputError, match="pandas or Polars DataFrame"):
            build_ledger([("a", "2024-01-01")], observed_until=DAY)

    def test_no_row_left(self, make_orders: Make) -> None:
        ledger = build_ledger(make_orders([("a", "2024-05-01", 1.0)]), observed_until=DAY)
        assert len(ledger.history(DAY).customer) == 0
        with pytest.raises(InputError, match="no row is left"):
            _ = ledger.first_day


def test_pandas_with_nanoseconds_and_dates_gives_the_same_ledger(make_orders: Make) -> None:
    orders = make_orders([("a", "2024-01-01T10:00", 1.25), ("b", "2024-02-01", 2.0)])
    wanted = build_ledger(orders, observed_until=DAY)
    frame = orders.drop("sale_date").to_pandas()
    frame["order_date"] = frame["order_date"].astype("datetime64[ns]")
    for other in (frame, orders.to_arrow(), orders.with_columns(pl.col("order_date").dt.date())):
        assert build_ledger(other, observed_until=DAY).entries.equals(wanted.entries)


def test_cutoffs_leave_their_windows_known_and_some_history_before() -> None:
    first, last = date(2024, 1, 1), date(2024, 12, 31)
    days = train_cutoffs(first_day=first, as_of=last, horizon_days=60, most=50, step_days=20)
    assert days[0] == date(2024, 11, 1)
    assert {(earlier - later).days for later, earlier in zip(days[1:], days, strict=False)} == {20}
    assert (days[-1] - first).days >= 30
    assert train_cutoffs(first_day=first, as_of=date(2024, 2, 1), horizon_days=30, most=9, step_days=7) == []


def test_money_that_cannot_be_counted_exactly_is_refused(make_orders: Make) -> None:
    most = [("a", "2024-01-05", 4.5e14), ("b", "2024-01-06", -4.4e14)]
    assert build_ledger(make_orders(most), observed_until=DAY).entries["spend"].to_list() == [45 * 10**17, -44 * 10**17]
    with pytest.raises(OrdersError, match=r"'amount' adds up to 9\.1e\+14, more than the 9e\+14 that can be counted"):
        build_ledger(make_orders([*most, ("c", "2024-01-07", 2e13)]), observed_until=DAY)
