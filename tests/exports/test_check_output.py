"""What `check` prints of an export is what the shop's own records say."""

from collections import Counter

import pytest

from repurchase.jobs.order_intake import Intake, check_orders, workspace
from repurchase.settings import Settings
from tests.exports.local_accounts import LAYOUTS
from tests.exports.shop import Shop, generate_shop

WORDS = {
    "paid": "Betalt",
    "partially_refunded": "Delvis refundert",
    "refunded": "Refundert",
    "cancelled": "Kansellert",
    "failed": "Mislykket",
    "pending": "Venter på betaling",
}


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generate_shop(5, n_customers=60, unpaid=0.08, refunds=0.08, extras=True)


@pytest.fixture(scope="module")
def intake(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Intake:
    export = LAYOUTS[0](shop, tmp_path_factory.mktemp("norwegian"))
    with workspace() as folder:
        return check_orders(str(export.path), settings=Settings(), folder=folder).intake


def test_a_line_says_how_each_column_is_read(intake: Intake, shop: Shop) -> None:
    found = Counter(order.state for order in shop.orders)

    def orders(*states: str) -> str:
        ranked = sorted((-found[state], WORDS[state]) for state in states)
        return ", ".join(f"{word} ({-number})" for number, word in ranked)

    assert intake.cleaning.decision.lines() == [
        "Customer  'Kundenr'",
        "          also considered: 'Kundenavn'",
        "Date      'Ordredato': day before month",
        "Order     'Ordrenr'",
        "Money     'Beløp': total of the order, one row per order; decimal comma",
        "Refunds   'Refundert beløp': subtracted from the amount on the same row",
        "Status    'Status': decides which orders are sales",
        f"          sales (orders): {orders('paid', 'partially_refunded')}",
        f"          sales that were paid back in full (orders): {orders('refunded')}",
        f"          not sales (orders): {orders('cancelled', 'failed', 'pending')}",
    ]


def test_the_examples_are_as_the_shop_knows_its_customers(intake: Intake, shop: Shop) -> None:
    assert len(intake.cleaning.counts.examples) == 3
    for example in intake.cleaning.counts.examples:
        orders = [
            order
            for order in shop.orders
            if str(order.customer.number + 10_000) == example.customer_id
            and order.state in {"paid", "partially_refunded", "refunded"}
        ]
        days = [order.placed_at.date() for order in orders]
        assert (example.orders, example.first_day, example.last_day) == (len(orders), min(days), max(days))
        assert example.money == pytest.approx(sum(order.total - order.refunded for order in orders) / 100)
