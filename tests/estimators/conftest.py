"""A generated shop, cut at a day."""

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from repurchase.estimators.cuts import Cut, Cuts
from repurchase.features.timeline import ledger

SHOP_DAY = date(2025, 1, 31)


@pytest.fixture(scope="session")
def shop_cuts(simulate_orders: Callable[..., pl.DataFrame]) -> Cuts:
    """900 customers over 800 days from 2023-06-01, observed to the end."""
    orders = simulate_orders(customers=900, days=800, arrival_days=500, start=date(2023, 6, 1), seed=21)
    return Cuts(ledger(orders, observed_until=date(2025, 8, 8)), horizons=(60,))


@pytest.fixture(scope="session")
def shop_cut(shop_cuts: Cuts) -> Cut:
    """Its customers on 2025-01-31."""
    return shop_cuts.at(SHOP_DAY)
