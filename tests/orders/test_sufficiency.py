"""Which logs are too little, and what is said then."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import polars as pl
import pytest

from repurchase.errors import InputError, InsufficientHistory, OrdersError
from repurchase.features.ledger import build_ledger
from repurchase.orders.checks import SufficiencyRule, require_sufficient, resolve_as_of, sufficiency, supported_horizons
from repurchase.settings import Settings

FIRST = datetime(2024, 1, 1)  # noqa: DTZ001
AS_OF = date(2024, 6, 30)


def log(*rows: tuple[str, int], amount: float | None = 10.0) -> pl.DataFrame:
    return pl.DataFrame(
        [(who, FIRST + timedelta(days=day), amount) for who, day in rows],
        schema={"customer_id": pl.String, "order_date": pl.Datetime("us"), "amount": pl.Float64},
        orient="row",
    )


def many(customers: int, *days: int) -> list[tuple[str, int]]:
    return [(f"c{number}", day) for number in range(customers) for day in days]


def days(orders: pl.DataFrame) -> list[date]:
    return orders["order_date"].dt.date().to_list()


def rules_of(orders: pl.DataFrame, as_of: date, settings: Settings | None = None) -> tuple[SufficiencyRule, ...]:
    numbered = orders.with_columns(order_id=pl.int_range(pl.len()).cast(pl.String))
    return sufficiency(build_ledger(numbered, observed_until=as_of).extent(as_of), settings=settings or Settings())


def refusal(orders: pl.DataFrame, as_of: date = AS_OF, settings: Settings | None = None) -> str:
    with pytest.raises(InsufficientHistory) as caught:
        require_sufficient(rules_of(orders, as_of, settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_log_passes(simulate_orders: Callable[..., pl.DataFrame]) -> None:
    orders = simulate_orders(customers=300)
    rules = rules_of(orders, resolve_as_of(days(orders), as_of=None))
    require_sufficient(rules)
    assert [rule.name for rule in rules] == ["days_with_orders", "customers", "repeat_buyers", "history", "amounts"]


def test_one_customer() -> None:
    orders = log(*(("a", day) for day in range(0, 180, 5)))
    assert refusal(orders) == (
        "Not enough orders: 1 customer with a purchase that was kept (required: at least 100); 1 customer "
        "who bought on a second day (required: at least 30). Send a longer export, or lower min_customers in "
        "repurchase.toml."
    )


def test_all_one_time_buyers() -> None:
    orders = log(*((f"c{number}", number) for number in range(150)))
    assert refusal(orders) == (
        "Not enough orders: no customer who bought on a second day (required: at least 30). "
        "Models learn from repeat purchases: send a longer export."
    )


def test_two_orders_on_one_day_are_no_repeat_purchase() -> None:
    assert "no customer who bought on a second day" in refusal(log(*many(150, 3, 3), ("z", 170)))


def test_one_day_of_orders() -> None:
    assert refusal(log(*many(150, 0)), as_of=date(2024, 1, 1)) == (
        "Not enough orders: orders on 1 day (required: orders on at least 2 days); no customer who bought on a second "
        "day (required: at least 30); 1 day of history (required: at least 45 days to predict 30 days ahead). "
        "Send an export that covers more than one day."
    )


def test_history_shorter_than_the_horizon() -> None:
    settings = Settings(horizons=(365,))
    assert refusal(log(*many(150, 0, 20)), settings=settings) == (
        "Not enough orders: 182 days of history (required: at least 365 days to predict 365 days ahead). "
        "Send a longer export, or request a shorter horizon (--horizon)."
    )
    with pytest.raises(InsufficientHistory, match=r"182 days of history .* but a horizon of 365 days was requested"):
        supported_horizons(first_day=FIRST.date(), as_of=AS_OF, settings=settings)


def test_orders_after_the_last_known_day_do_not_count() -> None:
    assert "no customer who bought on a second day" in refusal(log(*many(150, 0, 170)), as_of=date(2024, 5, 1))


def test_a_day_whose_sales_were_returned_is_no_purchase_day() -> None:
    returned = pl.concat([log(*many(150, 0, 20)), log(*many(150, 20), amount=-10.0)])
    assert "no customer who bought on a second day" in refusal(returned)


def test_a_customer_with_a_return_only_is_left_out_and_the_text_says_so() -> None:
    returned = pl.concat([log(*many(150, 0, 20)), log(("z", 5), amount=-10.0)])
    customers = next(rule for rule in rules_of(returned, AS_OF) if rule.name == "customers")
    assert customers.found == "150 customers with a purchase that was kept"


def test_a_log_without_money_is_enough() -> None:
    rules = rules_of(log(*many(150, 0, 20), amount=None), AS_OF)
    assert all(rule.holds for rule in rules)
    assert rules[-1].found == "no money on the orders"


@pytest.mark.parametrize(
    ("history_days", "horizons"),
    [(45, (30,)), (134, (30,)), (135, (30, 90)), (270, (30, 90, 180)), (547, (30, 90, 180)), (548, (30, 90, 180, 365))],
)
def test_default_horizons_fit_into_two_thirds_of_the_history(history_days: int, horizons: tuple[int, ...]) -> None:
    as_of = date(2020, 1, 1) + timedelta(days=history_days - 1)
    assert supported_horizons(first_day=date(2020, 1, 1), as_of=as_of, settings=Settings()) == horizons


def test_too_short_for_any_horizon() -> None:
    with pytest.raises(InsufficientHistory, match="44 days of history"):
        supported_horizons(first_day=date(2020, 1, 1), as_of=date(2020, 2, 13), settings=Settings())


def test_the_last_order_is_the_default() -> None:
    assert resolve_as_of(days(log(("a", 0), ("b", 9))), as_of=None) == date(2024, 1, 10)


@pytest.mark.parametrize(
    ("as_of", "kind", "said"),
    [
        (
            date(2023, 12, 31),
            InsufficientHistory,
            (
                "--as-of 2023-12-31 is before the first order (2024-01-01): there is no order up to that day. "
                "Take a day from 2024-01-01 to 2024-01-21."
            ),
        ),
        (
            date(2024, 4, 1),
            OrdersError,
            (
                "--as-of 2024-04-01 is 71 days after the last order (2024-01-21); the longest time without "
                "orders is 20 days, so the shop was probably not observed that long. Take a day up to 2024-03-21, or "
                "send a newer export."
            ),
        ),
        (
            date(2024, 2, 20),
            OrdersError,
            "--as-of 2024-02-20 is in the future (today is 2024-02-10). Take a day up to today.",
        ),
    ],
)
def test_a_day_that_cannot_be_the_last_known(as_of: date, kind: type[InputError], said: str) -> None:
    with pytest.raises(kind) as caught:
        resolve_as_of(days(log(("a", 0), ("b", 20))), as_of=as_of, today=date(2024, 2, 10))
    assert str(caught.value) == said


def test_quiet_days_are_observations() -> None:
    orders = log(("a", 0), ("b", 1))
    assert resolve_as_of(days(orders), as_of=date(2024, 2, 1)) == date(2024, 2, 1)
    with pytest.raises(OrdersError):
        resolve_as_of(days(orders), as_of=date(2024, 2, 2))


def test_a_stray_last_day_is_asked_about_not_believed() -> None:
    daily = pl.date_range(date(2024, 1, 1), date(2024, 2, 29), eager=True)
    stray = pl.DataFrame({"order_date": [*daily, date(2025, 6, 1)]}).cast(pl.Datetime("us"))
    with pytest.raises(OrdersError, match=r"2025-06-01\) is 458 days after the one before it \(2024-02-29\)"):
        resolve_as_of(days(stray), as_of=None)
    assert resolve_as_of(days(stray), as_of=date(2024, 2, 29)) == date(2024, 2, 29)
    assert resolve_as_of(days(stray), as_of=date(2025, 6, 1)) == date(2025, 6, 1)


def test_a_shop_that_closed_and_opened_again_is_believed() -> None:
    daily = pl.date_range(date(2024, 1, 1), date(2024, 2, 29), eager=True)
    reopened = pl.DataFrame({"order_date": [*daily, date(2024, 5, 10), date(2024, 5, 11)]}).cast(pl.Datetime("us"))
    assert resolve_as_of(days(reopened), as_of=None) == date(2024, 5, 11)
