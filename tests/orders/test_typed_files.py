"""Parquet files whose dates Polars cannot hold are read like any other."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import clean_orders

DAYS = [datetime(2024, 1, 1, 23, tzinfo=UTC) + timedelta(days=number) for number in range(200)]


def file(folder: Path, dates: pa.Array) -> Path:
    path = folder / "orders.parquet"
    parquet.write_table(
        pa.table(
            {
                "customer_id": [f"c{number % 40}" for number in range(len(DAYS))],
                "order_id": [f"o{number}" for number in range(len(DAYS))],
                "order_date": dates,
                "amount": [10.0 + number % 7 for number in range(len(DAYS))],
            }
        ),
        path,
    )
    return path


def test_times_with_an_offset_keep_their_local_day(tmp_path: Path) -> None:
    path = file(tmp_path, pa.array(DAYS, pa.timestamp("us", tz="+05:30")))

    orders = clean_orders(read_orders(path)).orders

    assert orders.height == len(DAYS)
    assert orders["order_date"].dt.date().to_list()[0] == date(2024, 1, 2)


@pytest.mark.parametrize("day", [-719_528, 6_672_000, 2**31 - 1], ids=["year 0", "year 20237", "year 5,881,580"])
def test_one_impossible_date_sets_one_row_aside(tmp_path: Path, day: int) -> None:
    days = [(when.date() - date(1970, 1, 1)).days for when in DAYS]
    path = file(tmp_path, pa.array([*days[:-1], day], pa.int32()).cast(pa.date32()))

    cleaned = clean_orders(read_orders(path))

    assert cleaned.orders.height == len(DAYS) - 1
    assert cleaned.set_aside.height == 1
