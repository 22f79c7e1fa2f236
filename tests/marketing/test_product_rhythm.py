"""Products: how many buy them again, and after how long, counted by hand."""

from datetime import date, timedelta

import polars as pl

from repurchase.marketing.products import product_gaps, product_rhythm

START = date(2024, 1, 1)
AS_OF = START + timedelta(days=200)
BOUGHT = {
    ("a", "soap"): (0, 10, 40),  # 20 days on average
    ("b", "soap"): (5, 35),  # 30
    ("c", "soap"): (0, 50),  # 50
    ("d", "soap"): (0, 7, 7, 14, 300),  # 7: a day counts once, and what comes after the last day known does not
    ("e", "soap"): (60,),
    ("a", "oil"): (0, 12),  # 12
    ("b", "oil"): (1,),
    ("c", "salt"): (3,),
}


def log() -> pl.DataFrame:
    rows = [(who, what, START + timedelta(days=day)) for (who, what), days in BOUGHT.items() for day in days]
    return pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row")


def test_counted_by_hand() -> None:
    rhythm = product_rhythm(product_gaps(log(), as_of=AS_OF))
    # soap: 4 of 5 came back; mean gaps 7, 20, 30, 50: the 1st, 2nd and 3rd of four are the quartiles
    # oil: 1 of 2 came back, after 12 days; nobody bought salt again
    assert rhythm.drop("due").rows() == [("soap", 5, 4, 0.8, 7.0, 20.0, 30.0), ("oil", 2, 1, 0.5, 12.0, 12.0, 12.0)]
    assert rhythm["due"].to_list() == [None, None]


def test_who_runs_out_is_counted_by_product() -> None:
    due = pl.DataFrame({"customer_id": ["a", "b"], "product_id": ["soap", "soap"]})
    rhythm = product_rhythm(product_gaps(log(), as_of=AS_OF), due=due)
    assert dict(rhythm.select("product_id", "due").iter_rows()) == {"soap": 2, "oil": 0}


def test_the_most_bought_again_come_first_and_no_more_than_asked() -> None:
    assert product_rhythm(product_gaps(log(), as_of=AS_OF), most=1)["product_id"].to_list() == ["soap"]


def test_parts_of_customers_add_up() -> None:
    parts = [log().filter(pl.col("customer_id").is_in(who)) for who in (["a", "d"], ["b", "c", "e"])]
    gaps = pl.concat(product_gaps(part, as_of=AS_OF) for part in parts)
    assert product_rhythm(gaps).equals(product_rhythm(product_gaps(log(), as_of=AS_OF)))


def test_nobody_came_back() -> None:
    once = log().filter(pl.col("product_id") == "salt")
    assert product_rhythm(product_gaps(once, as_of=AS_OF)).height == 0
    assert product_rhythm(product_gaps(once.clear(), as_of=AS_OF)).height == 0
