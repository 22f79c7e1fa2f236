"""Products: how often they are bought again, when they run out, and what goes with them."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from repurchase.marketing.products import (
    BOUGHT_NEXT,
    NON_PRODUCT_PATTERN,
    SAME_BRAND,
    SAME_CATEGORY,
    companion_products,
    count_purchase_pairs,
    due_products,
    due_soon,
    most_likely_due,
    product_gaps,
    product_rhythm,
    refill_rates,
)

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


def bought_products() -> pl.DataFrame:
    rows = [(who, what, START + timedelta(days=day)) for (who, what), days in BOUGHT.items() for day in days]
    return pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row")


def test_counted_by_hand() -> None:
    rhythm = product_rhythm(product_gaps(bought_products(), as_of=AS_OF))
    # soap: 4 of 5 came back; mean gaps 7, 20, 30, 50: the 1st, 2nd and 3rd of four are the quartiles
    # oil: 1 of 2 came back, after 12 days; nobody bought salt again
    assert rhythm.drop("due").rows() == [("soap", 5, 4, 0.8, 7.0, 20.0, 30.0), ("oil", 2, 1, 0.5, 12.0, 12.0, 12.0)]
    assert rhythm["due"].to_list() == [None, None]


def test_who_runs_out_is_counted_by_product() -> None:
    due = pl.DataFrame({"customer_id": ["a", "b"], "product_id": ["soap", "soap"]})
    rhythm = product_rhythm(product_gaps(bought_products(), as_of=AS_OF), due=due)
    assert dict(rhythm.select("product_id", "due").iter_rows()) == {"soap": 2, "oil": 0}


def test_the_most_bought_again_come_first_and_no_more_than_asked() -> None:
    assert product_rhythm(product_gaps(bought_products(), as_of=AS_OF), most=1)["product_id"].to_list() == ["soap"]


def test_parts_of_customers_add_up() -> None:
    parts = [bought_products().filter(pl.col("customer_id").is_in(who)) for who in (["a", "d"], ["b", "c", "e"])]
    gaps = pl.concat(product_gaps(part, as_of=AS_OF) for part in parts)
    assert product_rhythm(gaps).equals(product_rhythm(product_gaps(bought_products(), as_of=AS_OF)))


def test_nobody_came_back() -> None:
    once = bought_products().filter(pl.col("product_id") == "salt")
    assert product_rhythm(product_gaps(once, as_of=AS_OF)).height == 0
    assert product_rhythm(product_gaps(once.clear(), as_of=AS_OF)).height == 0


# Refills


def days(*bought: tuple[str, str, int]) -> pl.DataFrame:
    customer, product, day = zip(*bought, strict=True)
    return pl.DataFrame(
        {"customer_id": customer, "product_id": product, "day": [START + timedelta(days=one) for one in day]}
    )


def shop(n: int, *, gap: float, spread: float, stays: float, until: int, seed: int = 1) -> pl.DataFrame:
    """Customers who buy one product at log-normal gaps, and after each purchase stay with a fixed chance."""
    rng = np.random.default_rng(seed)
    bought = []
    for number in range(n):
        day = float(rng.integers(0, 200))
        while day <= until:
            bought.append((f"c{number}", "soap", int(day)))
            if rng.random() > stays:
                break
            day += max(1.0, gap * np.exp(spread * rng.standard_normal()))
    return days(*bought)


def test_gaps_are_summed_up_per_customer_and_product() -> None:
    log = days(("a", "x", 0), ("a", "x", 0), ("a", "x", 10), ("a", "x", 30), ("a", "y", 5), ("a", "x", 99))
    gaps = product_gaps(log, as_of=START + timedelta(days=40))
    assert gaps.select("product_id", "purchases", "last_gap").rows() == [("x", 3, 20), ("y", 1, None)]
    assert gaps["sum_log"][0] == pytest.approx(np.log(10) + np.log(20))
    assert gaps["last"][0] == START + timedelta(days=30)


def test_the_known_process_is_found_again() -> None:
    as_of = START + timedelta(days=600)
    log = shop(1500, gap=30.0, spread=0.3, stays=0.9, until=700)
    gaps = product_gaps(log, as_of=as_of)
    rates = refill_rates(gaps)
    assert np.exp(rates.log_gap) == pytest.approx(30.0, rel=0.05)
    assert rates.spread == pytest.approx(0.3, abs=0.03)
    due = due_products(gaps, rates, as_of=as_of, within_days=30)
    after = log.filter((pl.col("day") > as_of) & (pl.col("day") <= as_of + timedelta(days=30)))
    assert due["chance"].sum() == pytest.approx(after["customer_id"].n_unique(), rel=0.2)
    later = log.filter(pl.col("day") > as_of).group_by("customer_id").agg(next=pl.col("day").min())
    seen = due.join(later, on="customer_id").filter(pl.col("purchases") >= 3)
    inside = seen.select(pl.col("next").is_between(pl.col("refill_low"), pl.col("refill_high")).mean()).item()
    assert 0.7 <= inside <= 0.95


def test_chances_and_dates_keep_their_order() -> None:
    log = shop(300, gap=20.0, spread=0.6, stays=0.7, until=300)
    as_of = START + timedelta(days=300)
    gaps = product_gaps(log, as_of=as_of)
    due = due_products(gaps, refill_rates(gaps), as_of=as_of, within_days=14)
    longer = due_products(gaps, refill_rates(gaps), as_of=as_of, within_days=28)
    assert due["chance"].is_between(0.0, 1.0).all()
    assert (longer["chance"] >= due["chance"]).all()
    assert (due["refill_low"] <= due["refill_on"]).all()
    assert (due["refill_on"] <= due["refill_high"]).all()
    assert (due["refill_low"] > as_of).all()


def test_who_has_been_silent_long_has_left_the_product() -> None:
    log = days(*[("a", "x", day) for day in (0, 10, 20, 30)], *[("b", "x", day) for day in (200, 210, 220, 230)])
    as_of = START + timedelta(days=235)
    gaps = product_gaps(log, as_of=as_of)
    due = due_products(gaps, refill_rates(gaps), as_of=as_of, within_days=14)
    chance = dict(due.select("customer_id", "chance").iter_rows())
    assert chance["a"] < 0.1 < chance["b"]
    soon = due_soon(due, as_of=as_of, within_days=14)
    assert soon["customer_id"].to_list() == ["b"]


def test_the_likeliest_product_of_a_customer() -> None:
    due = pl.DataFrame(
        [("a", "x", 0.2), ("a", "z", 0.5), ("a", "y", 0.5), ("b", "x", 0.1)],
        schema=["customer_id", "product_id", "chance"],
        orient="row",
    )
    assert most_likely_due(due).rows() == [("a", "y", 0.5), ("b", "x", 0.1)]


def test_what_was_bought_next() -> None:
    together = [(f"c{number}", "x", 0) for number in range(30)] + [(f"c{number}", "y", 9) for number in range(30)]
    others = [(f"o{number}", "z", day) for number in range(60) for day in (0, 5)]
    steps = count_purchase_pairs(days(*together, *others), pl.Series(["x", "z"]))
    found = companion_products(steps, least_support=20)
    # 30 of 30 steps from x lead to y; 30 of 90 steps lead to y: lift 3
    assert found.rows() == [("x", "y", pytest.approx(3.0), pytest.approx(1.0), 30, BOUGHT_NEXT)]
    assert not companion_products(steps, least_support=31).height
    apart = count_purchase_pairs(days(*together, *others), pl.Series(["x"]), category={"x": "soap", "y": "oil"})
    assert not companion_products(apart).height
    halves = count_purchase_pairs(days(*together), pl.Series(["x", "z"])) + count_purchase_pairs(
        days(*others), pl.Series(["x", "z"])
    )
    assert companion_products(halves).equals(found)


def test_what_goes_with_it_shares_its_category_or_its_brand() -> None:
    lines = [(f"c{number}", "x", 0) for number in range(90)]
    after = {"food": range(30), "kin": range(30, 60), "stranger": range(60, 90)}
    lines += [(f"c{number}", what, 9) for what, numbers in after.items() for number in numbers]
    lines += [(f"o{number}", "other", day) for number in range(300) for day in (0, 5)]
    log, wanted = days(*lines), pl.Series(["x"])
    category, brand = {"x": "soap", "kin": "soap", "stranger": "food"}, {"x": "Lund", "food": "Lund", "kin": "Berg"}

    def found(**kinds: dict[str, str]) -> dict[str, str]:
        steps = count_purchase_pairs(log, wanted, **kinds)
        rows = companion_products(steps, **kinds).select("goes_with", "relation")
        return dict(rows.iter_rows()) | {"pairs": ",".join(sorted(steps.pairs["goes_with"]))}

    assert found(category=category) == {"kin": SAME_CATEGORY, "pairs": "kin"}
    assert found(brand=brand) == {"food": SAME_BRAND, "pairs": "food"}
    assert found(category=category, brand=brand)["pairs"] == "food,kin"
    assert found()["pairs"] == "food,kin,stranger"
    assert BOUGHT_NEXT in found().values()
    both = found(category=category | {"food": "soap"}, brand=brand)
    assert both == {"food": SAME_CATEGORY, "pairs": "food,kin"}  # the category is told first


@pytest.mark.parametrize(
    ("name", "is_goods"),
    [
        ("Route Shipping Insurance - $0.98", False),
        ("POST", False),
        ("Gift Card", False),
        ("M", False),
        ("Postcard set", True),
        ("Tiptop soap", True),
    ],
)
def test_nobody_runs_out_of_postage(name: str, is_goods: bool) -> None:
    assert pl.Series([name]).str.contains(NON_PRODUCT_PATTERN).item() is not is_goods


def test_a_refill_is_due_at_the_median_of_the_customer_and_the_product() -> None:
    """One product bought every 10 days, so that every mean gap is 10: the spread is the least that is assumed."""
    log = days(*((f"c{number}", "soap", 10 * step) for number in range(40) for step in range(9)))
    as_of = START + timedelta(days=80)
    gaps = product_gaps(log, as_of=as_of)
    rates = refill_rates(gaps)
    assert (rates.spread, np.exp(rates.log_gap)) == (0.2, pytest.approx(10.0))
    assert rates.again == pytest.approx(8 / 9)
    due = due_products(gaps, rates, as_of=as_of, within_days=10)
    waits = [(due[name][0] - as_of).days for name in ("refill_low", "refill_on", "refill_high")]
    # Spread of the next gap: the root of 6 x 0.2^2 / (7 + 6) x (1 + 1 / 11), so quantiles are 10 x exp(z x 0.142).
    assert waits == [8, 10, 12]
    # 9 purchases, of which 8 were followed, the last counted half; half of gaps are over in ten days.
    again = (8 * 40 + 20 * 8 / 9) / (9 * 40 + 20)
    assert due["chance"][0] == pytest.approx((8 + 2 * again) / 10.5 / 2)


def test_a_shop_without_products_has_rates_too() -> None:
    rates = refill_rates(product_gaps(days(("a", "x", 0)).clear(), as_of=START))
    assert (rates.products.height, rates.log_gap, rates.spread) == (0, 0.0, 0.2)
