"""What the orders tell on the page: packed without loss, and products in words."""

import json
import re
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from repurchase.i18n.catalogues import use_locale
from repurchase.marketing.products import SAME_BRAND
from repurchase.report import charts
from repurchase.report.customer_list import (
    PurchaseDetails,
    json_for_html,
    max_days_drawn,
    product_rows,
    purchase_day_data,
)
from repurchase.report.page import build_report

AS_OF = date(2024, 12, 31)
LISTED = pl.DataFrame({"customer_id": ["b", "a", "none"]})


def ago(*days: int) -> list[date]:
    return [AS_OF - timedelta(days=day) for day in days]


def bought(**further: Any) -> PurchaseDetails:
    days = pl.DataFrame(
        {
            "customer_id": ["a", "a", "a", "b", "not listed"],
            "day": ago(40, 10, 0, 7, 3),
            "money": [5.4, 19.6, 0.2, 1234.0, 9.0],
        }
    )
    return PurchaseDetails(days, **further)


def companion(**given: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("goes_with", "relation", "share", "lift", "support"))
    return {**nothing, **given}


def products(*rows: dict[str, Any]) -> pl.DataFrame:
    counted = {"customers": 1200, "again": 300, "share_again": 0.25, "low_days": 20.4, "median_days": 30.0,
               "high_days": 45.5, "due": 17}  # fmt: skip
    return pl.DataFrame([counted | row for row in rows])


def test_packed_from_the_latest_backwards() -> None:
    packed = purchase_day_data(bought(earlier={"a": 4, "not listed": 2}), LISTED, as_of=AS_OF)
    assert packed["bought"] == {
        "n": [1, 3, 0],
        "back": [7, 0, 10, 30],
        "money": [1234, 0, 20, 5],
        "earlier": {"1": 4},
    }
    assert packed["due"] == packed["goods"] == []


def test_a_log_without_money_packs_none() -> None:
    without = PurchaseDetails(bought().days.with_columns(money=pl.lit(None, pl.Float64)))
    assert purchase_day_data(without, LISTED, as_of=AS_OF)["bought"]["money"] is None
    nobody = PurchaseDetails(bought().days.clear())
    assert purchase_day_data(nobody, LISTED, as_of=AS_OF)["bought"]["n"] == [0, 0, 0]


def test_what_runs_out_names_a_product_once() -> None:
    row = {"product_id": "s1", "name": "Soap", "refill_on": AS_OF + timedelta(days=9),
           "refill_low": AS_OF + timedelta(days=1), "refill_high": AS_OF + timedelta(days=30)}  # fmt: skip
    row |= companion(goes_with="Oil", relation=SAME_BRAND, share=0.344, lift=2.44, support=57)
    due = pl.DataFrame([{"customer_id": who, **row} for who in ("a", "b", "not listed")])
    packed = purchase_day_data(bought(due=due), LISTED, as_of=AS_OF)
    assert packed["due"] == [[1, 0, 9, 1, 30], [0, 0, 9, 1, 30]]
    told = "What goes with it: Oil (same brand). Of those who bought the one, 34% bought the other next, "
    assert packed["goods"] == [["Soap", told + "2.4 times as often as by chance (57 customers)."]]


def test_products_in_words() -> None:
    soap = {"name": "Soap"} | companion(goes_with="Oil", relation=SAME_BRAND, share=0.3, lift=2.44, support=1057)
    rows = product_rows(bought(products=products(soap, {"name": "<b>Salt</b>"} | companion())))
    assert rows[0] == {
        "name": "Soap",
        "customers": "1,200",
        "again": "25% (300)",
        "usual": "30 days",
        "half": "half of them: 20–46",
        "due": "17",
        "goes_with": "Oil",
        "how": "same brand; 2.4 times as often as by chance (1,057 customers)",
    }
    assert (rows[1]["goes_with"], rows[1]["how"]) == ("–", "")
    with use_locale("ru"):
        assert product_rows(bought(products=products(soap)))[0]["how"].startswith("та же марка")
    assert product_rows(bought()) == product_rows(None) == []


def test_the_page_stays_of_a_size_that_can_be_sent() -> None:
    assert max_days_drawn(pl.Series([7] * 50_000)) == 200
    assert max_days_drawn(pl.Series([63] * 50_000)) == 10
    assert max_days_drawn(pl.Series([], dtype=pl.Int64)) == 200


def test_fifty_thousand_customers_with_seven_purchases_each() -> None:
    number = pl.int_range(350_000, eager=True)
    listed = pl.DataFrame({"customer_id": pl.int_range(50_000, eager=True)}).select(
        pl.format("customer-{}", "customer_id").alias("customer_id")
    )
    days = pl.DataFrame({"place": number % 50_000, "ago": number * 7919 % 1400, "money": (number * 31 % 90_000) / 100})
    day = pl.lit(AS_OF) - pl.duration(days=pl.col("ago"))
    many = PurchaseDetails(
        days.select(pl.format("customer-{}", "place").alias("customer_id"), day.cast(pl.Date).alias("day"), "money")
    )
    packed = json_for_html(purchase_day_data(many, listed, as_of=AS_OF))
    assert len(packed) < 3_000_000  # beside at most five million of the list itself


@pytest.mark.parametrize("has_products", [True, False])
def test_the_section_is_there_where_products_are(
    scored: pl.DataFrame, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, has_products: bool
) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    told = products({"name": "<b>Salt</b>"} | companion()) if has_products else None
    page = build_report(scored, record, bought=bought(products=told))
    assert ('<section id="products"' in page) == ('href="#products"' in page) == has_products
    assert "<b>Salt</b>" not in page
    assert ("&lt;b&gt;Salt&lt;/b&gt;" in page) == has_products
    assert "--orders ORDERS" not in page
    data = json.loads(re.search(r'id="customer-data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert sum(data["bought"]["n"]) == 0  # none of them is listed
