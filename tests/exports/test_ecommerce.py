from collections.abc import Callable
from pathlib import Path

import pytest

from repurchase.errors import InputError
from repurchase.jobs.customer_lists import read_customers
from repurchase.jobs.order_intake import load_orders, workspace
from repurchase.settings import Settings
from tests.exports import ecommerce, european_shops, woocommerce
from tests.exports.judge import assert_read_right, read_export
from tests.exports.shop import Export, Shop, generate_shop

LAYOUTS = (*ecommerce.LAYOUTS, *woocommerce.LAYOUTS, *european_shops.LAYOUTS)


@pytest.fixture(scope="module")
def shop() -> Shop:
    generated = generate_shop(5, n_customers=60, unpaid=0.08, refunds=0.08, extras=True)
    states = [order.state for order in generated.orders]
    assert states[0] == states[-1] == "paid"  # else the days known and the days of sales differ
    assert set(states) == {"paid", "pending", "cancelled", "failed", "refunded", "partially_refunded"}
    return generated


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_the_export_of_a_shop_platform_is_read_right(
    write: Callable[[Shop, Path], Export], shop: Shop, tmp_path: Path
) -> None:
    assert_read_right(write(shop, tmp_path), shop)


def test_states_that_only_the_database_knows_are_not_passed_over(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="order_state_id"):
        read_export(european_shops.write_shopware_default(shop, tmp_path))


def test_a_customer_list_of_shopify_names_the_customers_as_its_orders_do(shop: Shop, tmp_path: Path) -> None:
    export = ecommerce.write_shopify(shop, tmp_path)
    listed = ecommerce.write_shopify_customers(shop, tmp_path)
    with workspace() as folder:
        intake = load_orders(str(export.path), settings=Settings(), folder=folder)
        known = {str(id_) for id_ in intake.ledgers.whole().ids}
        ids = read_customers(listed, column_map=intake.report.columns or {}).rows["customer_id"]
    assert known
    assert known <= set(ids)
