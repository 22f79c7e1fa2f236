from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exports import back_office, local_accounts, receipts
from tests.exports.judge import assert_read_right
from tests.exports.shop import Export, Shop, generate_shop

LAYOUTS = (*back_office.LAYOUTS, *receipts.LAYOUTS, *local_accounts.LAYOUTS)


@pytest.fixture(scope="module")
def shop() -> Shop:
    """Everybody who buys keeps something, so that it does not matter how a customer without any sale is counted."""
    return generate_shop(31, n_customers=60, unpaid=0.08, refunds=0.08, extras=True, price_level=40)


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_the_export_of_a_back_office_is_read_right(
    write: Callable[[Shop, Path], Export], shop: Shop, tmp_path: Path
) -> None:
    assert_read_right(write(shop, tmp_path), shop)
