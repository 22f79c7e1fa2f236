"""A shop that goes on as before is steady; one that changes is said to have drifted, and in what."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.evaluation.drift import (
    PROFILE_BINS,
    bin_edges,
    bin_shares,
    input_profile,
    measure_drift,
    summarise_input,
    unknown_drift,
)
from repurchase.features.ledger import Ledger, build_ledger, find_closing
from repurchase.i18n.formatting import format_day
from repurchase.i18n.messages import render

START = date(2022, 1, 3)
AS_OF = START + timedelta(days=7 * 80 - 1)


def orders_of(rows: list[tuple[str, int, float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(who, f"o{n}", START + timedelta(days=day), amount) for n, (who, day, amount) in enumerate(rows)],
        schema=["customer_id", "order_id", "order_date", "amount"],
        orient="row",
    ).with_columns(pl.col("order_date").cast(pl.Datetime("us")))


def ledger_of(orders: pl.DataFrame) -> Ledger:
    return build_ledger(orders, observed_until=START + timedelta(days=999))


@pytest.fixture(scope="module")
def shop() -> pl.DataFrame:
    """Two years in which every day as many new customers come as go: nothing changes but the calendar."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(2400):
        day, leaves = rng.uniform(-200, 740), rng.exponential(150)
        end = day + leaves
        while day < min(end, 740):
            if day >= 0:
                rows.append((f"SECRET-{number}", int(day), float(np.round(rng.gamma(2.0, 20.0), 2) + 1)))
            day += rng.exponential(25)
    return orders_of(rows)


@pytest.fixture(scope="module")
def profile(shop: pl.DataFrame) -> dict[str, Any]:
    return input_profile(ledger_of(shop), as_of=AS_OF, set_aside_share=0.02)


@pytest.fixture
def drift(profile: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def measure(orders: pl.DataFrame, days: int = 28, **settings: Any) -> dict[str, Any]:
        return measure_drift(
            profile, summarise_input(ledger_of(orders), as_of=AS_OF + timedelta(days=days)), **settings
        )

    return measure


def test_the_same_orders_are_steady_to_the_last_digit(shop, drift) -> None:
    same = drift(shop, days=0, set_aside_share=0.02)

    assert same["level"] == "steady"
    assert same["psi_max"] == 0
    assert (
        render(same["words"])
        == f"The orders are like the orders up to {format_day(AS_OF)} that the model learned from."
    )


@pytest.mark.parametrize("days", [1, 28, 90, 170])
def test_a_shop_that_goes_on_as_before_has_not_drifted(shop, drift, days) -> None:
    later = drift(shop, days=days)

    assert not later["drifted"], render(later["words"])


def test_an_old_shops_age_moves_and_is_no_drift(shop, drift) -> None:
    rows = {row["feature"]: row for row in drift(shop, days=90)["features"]}

    assert rows["age_days"]["psi"] > 0.1
    assert rows["age_days"]["usual"] > 0.1


def test_a_shop_of_one_cohort_grows_older_as_it_always_did() -> None:
    rng = np.random.default_rng(6)
    rows = [
        (f"c{n}", int(day), 10.0)
        for n in range(600)
        for day in np.cumsum([rng.uniform(0, 60), *rng.exponential(30, 18)])
    ]
    orders = orders_of(rows)
    day = START + timedelta(days=300)

    later = measure_drift(
        input_profile(ledger_of(orders), as_of=day), summarise_input(ledger_of(orders), as_of=day + timedelta(days=90))
    )

    ages = next(row for row in later["features"] if row["feature"] == "age_days")
    assert ages["psi"] > 5
    assert ages["level"] == "moved"


def later_than(orders: pl.DataFrame) -> pl.Expr:
    return pl.col("order_date").dt.date() > AS_OF


def test_a_third_of_the_export_is_a_drift_of_volume(shop, drift) -> None:
    kept = (pl.col("order_id").hash(1) % 6 == 0) | ~later_than(shop)

    short = drift(shop.filter(kept))

    assert short["volume"]["level"] == "drifted"
    assert "purchase days in the last week" in render(short["words"])


def test_customers_who_now_come_every_other_day_are_a_drift_of_features(shop, drift) -> None:
    often = [(f"SECRET-{n}", 561 + day, 20.0) for n in range(0, 2400, 2) for day in range(0, 60, 2)]

    eager = drift(pl.concat([shop, orders_of(often)]), days=60)

    assert eager["n_features"]["drifted"] > 10
    assert "PSI" in render(eager["words"])


def test_prices_times_four_are_a_drift_of_baskets(shop, drift) -> None:
    dear = drift(shop.with_columns(pl.when(later_than(shop)).then(pl.col("amount") * 4).otherwise("amount")))

    assert dear["baskets"]["level"] == "drifted"
    assert dear["baskets"]["mean"] == pytest.approx(4 * dear["baskets"]["usual"], rel=0.2)
    assert "spent on a purchase day of the last four weeks" in render(dear["words"])


def test_a_feature_that_was_never_seen_before_is_found(shop, drift) -> None:
    sale = pl.when(later_than(shop)).then(10.0).otherwise(0.0).alias("discount")

    found = drift(shop.with_columns(sale), days=90)

    assert found["drifted"]
    assert found["features"][0]["feature"] == "discount_share"


def test_no_newcomers_any_more(shop, drift) -> None:
    known = shop.filter(~later_than(shop))["customer_id"].implode()

    alone = drift(shop.filter(pl.col("customer_id").is_in(known)), days=60)

    assert alone["newcomers"]["level"] == "drifted"
    assert alone["newcomers"]["share"] == 0
    assert "0% of the last four weeks' buyers are new" in render(alone["words"])


@pytest.mark.parametrize(("share", "level"), [(0.02, "steady"), (0.08, "moved"), (0.4, "drifted")])
def test_rows_set_aside(shop, drift, share, level) -> None:
    assert drift(shop, days=0, set_aside_share=share)["set_aside"]["level"] == level


def test_row_order_changes_nothing(shop, profile) -> None:
    mixed = shop.sample(fraction=1.0, shuffle=True, seed=5)

    assert input_profile(ledger_of(mixed), as_of=AS_OF, set_aside_share=0.02) == profile


def test_later_orders_are_not_looked_at(shop, profile) -> None:
    early = shop.filter(~later_than(shop))

    assert input_profile(ledger_of(early), as_of=AS_OF, set_aside_share=0.02) == profile


def test_a_profile_is_small_has_ten_bins_at_most_and_no_customer(profile) -> None:
    text = json.dumps(profile, allow_nan=False)

    assert "SECRET" not in text
    assert len(text) < 60_000
    assert all(len(known["edges"]) < PROFILE_BINS for known in profile["features"].values())
    assert all(sum(known["shares"]) == pytest.approx(1) for known in profile["features"].values())


def test_a_profile_that_was_written_and_read_compares_alike(shop, profile) -> None:
    summary = summarise_input(ledger_of(shop), as_of=AS_OF + timedelta(days=28))

    assert measure_drift(json.loads(json.dumps(profile)), summary) == measure_drift(profile, summary)


def test_weeks_and_newcomers_by_hand() -> None:
    rows = [("a", day, 1.0) for day in range(0, 84, 7)] + [("b", 60, 1.0), ("b", 60, 2.0), ("c", 83, 1.0)]

    summary = summarise_input(ledger_of(orders_of(rows)), as_of=START + timedelta(days=83))

    assert summary.weekly == (1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 2)
    assert summary.newcomers == (2 / 3,)
    assert summary.baskets == ((4 * 1.0 + 3.0 + 1.0) / 6,)


def test_a_week_in_which_the_shop_was_closed_is_left_out() -> None:
    rows = [(f"c{day % 40}", day, 1.0) for day in range(300) if not 100 <= day < 200]
    orders = orders_of(rows)
    closing = find_closing(orders["order_date"].dt.date().cast(pl.Int32).to_numpy())
    assert closing is not None

    summary = summarise_input(ledger_of(orders), as_of=START + timedelta(days=299), closing=closing)

    assert min(summary.weekly) >= 6


def test_edges_of_what_never_varies_and_never_applies() -> None:
    assert bin_edges(np.full(4, np.nan)) == []
    edges = bin_edges(np.full(50, 2.0))
    assert bin_shares(np.array([1.0, 2.0, 2.0, 3.0]), edges).tolist() == [0.25, 0.5, 0.25, 0.0]


def test_a_model_without_a_profile_says_so() -> None:
    assert render(unknown_drift("it is old")["words"]) == "Drift of the orders is not known: it is old."
    assert not unknown_drift("it is old")["drifted"]
