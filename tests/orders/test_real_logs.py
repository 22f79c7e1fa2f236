"""Real logs, to the row: CDNOW always, the others where they lie beside the checkout."""

from pathlib import Path

import polars as pl
import pytest

from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import CleanOrders, clean_orders
from repurchase.schemas import ORDERS


@pytest.fixture(scope="module")
def online_retail(shared_data: Path) -> CleanOrders:
    """The UCI log as published, cleaned once for this module."""
    return clean_orders(read_orders(shared_data / "raw" / "online_retail_II.csv.gz"))


def account(result: CleanOrders) -> dict[str, tuple[int, int]]:
    return {why.reason: (why.rows, why.found) for why in result.report.reasons}


def test_cdnow(cdnow_file: Path, cdnow_orders: pl.DataFrame) -> None:
    result = clean_orders(read_orders(cdnow_file))
    report = result.report
    assert (report.layout, report.n_raw, report.n_kept) == ("CDNOW", 69_659, 69_579)
    assert account(result) == {"zero_total": (80, 80)}
    assert result.orders["amount"].sum() == pytest.approx(cdnow_orders["amount"].sum())
    assert (str(report.first_day), str(report.last_day)) == ("1997-01-01", "1998-06-30")
    assert result.orders["customer_id"].str.len_chars().unique().to_list() == [5]


def test_online_retail(online_retail: CleanOrders) -> None:
    result, report = online_retail, online_retail.report
    assert (report.layout, report.n_raw) == ("UCI Online Retail", 1_067_371)
    found = {reason: shown for reason, (_, shown) in account(result).items()}
    assert (found["missing_customer"], found["cancellation"], found["duplicate_line"]) == (243_007, 19_494, 34_335)
    assert {reason: rows for reason, (rows, _) in account(result).items()} == {
        "missing_customer": 243_007,
        "duplicate_line": 26_479,
        "zero_total": 9,
        "cancellation": 18_390,
        "return": 0,
    }
    assert report.n_kept == 779_486
    ORDERS.check(result.orders)
    assert "13085" in result.orders["customer_id"]


def test_online_retail_and_its_tidied_copy_agree(online_retail: CleanOrders, shared_data: Path) -> None:
    from_raw = online_retail.orders
    from_copy = clean_orders(read_orders(shared_data / "online_retail_ii.parquet")).orders
    key = ["customer_id", "order_id", "product_id", "order_date"]
    assert from_raw.join(from_copy, on=key, how="anti").is_empty()
    assert from_copy.join(from_raw, on=key, how="anti").is_empty()


def test_shopify_export_and_its_tidied_copy_agree(shared_data: Path) -> None:
    result = clean_orders(read_orders(shared_data / "raw" / "shopify_store_orders_export.csv.gz"))
    assert (result.report.layout, result.report.n_raw, result.report.n_kept) == ("Shopify orders", 83_369, 80_122)
    assert account(result) == {"zero_total": (2_240, 2_240), "refunded_in_full": (1_007, 1_007)}
    ours = result.orders.group_by("order_id").agg(pl.col("amount").sum().round(2), pl.col("customer_id").unique())
    copy = pl.read_parquet(shared_data / "shopify_store.parquet").filter(pl.col("amount") != 0)
    both = copy.join(ours, on="order_id", suffix="_ours", how="full")
    assert both.filter(pl.col("amount_ours").is_null() | pl.col("amount").is_null()).is_empty()
    assert both.filter((pl.col("net_amount") - pl.col("amount_ours")).abs() > 0.005).is_empty()
    assert both.filter(pl.col("customer_id_ours") != pl.concat_list("customer_id")).is_empty()


@pytest.mark.parametrize(
    ("file", "customers", "has_amounts"),
    [
        ("cdnow", 23_502, True),
        ("grocery_elog", 1_525, False),
        ("completejourney", 2_469, True),
        ("shopify_store", 24_148, True),
        ("shopify_store_lines", 24_255, True),
    ],
)
def test_tidied_logs_are_read_unaided(shared_data: Path, file: str, customers: int, has_amounts: bool) -> None:
    report = clean_orders(read_orders(shared_data / f"{file}.parquet")).report
    assert (report.n_customers, report.has_amounts) == (customers, has_amounts)
