"""Orders that came late or were corrected, customers merged or erased: scores follow the orders as they are now."""

from pathlib import Path

import polars as pl
import pytest

DAY = "2025-05-01"


@pytest.fixture
def nights(shop, undisturbed, tmp_path) -> tuple[Path, Path, dict[str, list[str]]]:
    """Last night's scores, tonight's orders, and the customers to whom something happened in between."""
    out = tmp_path / "out" / "scores.parquet"
    undisturbed.lay_out(out.parent)
    orders = pl.read_csv(shop.orders, infer_schema=False)
    past = orders.filter(pl.col("order_date") < DAY)
    known = past["customer_id"].unique().sort().to_list()
    late = ["late-1", "late-2"]
    corrected, erased, merged, into = known[10:14], known[20:23], known[30:32], known[40:42]
    who = pl.col("customer_id")
    amount = pl.when(who.is_in(corrected) & (pl.col("order_date") < DAY)).then(pl.lit("999.5"))
    tonight = orders.filter(~who.is_in(erased)).with_columns(
        amount.otherwise(pl.col("amount")).alias("amount"), who.replace(merged, into).alias("customer_id")
    )
    days = ["2024-06-01", "2025-04-30"]
    came = pl.DataFrame({"customer_id": late, "order_id": ["l1", "l2"], "order_date": days, "amount": ["10", "20"]})
    path = tmp_path / "tonight.csv"
    pl.concat([tonight, came]).sample(fraction=1.0, shuffle=True, seed=1).write_csv(path)
    return out, path, {"late": late, "corrected": corrected + into, "gone": erased + merged}


def test_scores_follow_the_orders_as_they_are_now(shop, nights, tmp_path):
    out, orders, happened = nights
    scratch = tmp_path / "scratch" / "scores.parquet"

    outcomes = [shop.run(*shop.scoring(path, orders=orders)) for path in (out, scratch)]

    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].err
    assert pl.read_parquet(out).equals(pl.read_parquet(scratch))
    ids = set(pl.read_parquet(out)["customer_id"])
    assert ids >= {*happened["late"], *happened["corrected"]}
    assert not ids & set(happened["gone"])


def test_the_record_says_what_changed(shop, undisturbed, nights):
    out, orders, happened = nights
    before = shop.record(out)
    then = pl.read_parquet(out)

    assert shop.run(*shop.scoring(out, orders=orders)).code == 0

    changes = shop.record(out)["changes"]
    assert (changes["since"], changes["as_of"]) == (before["created_at"], before["as_of"])
    assert changes["same_orders"] is False
    counts = {name: len(customers) for name, customers in happened.items()}
    assert changes["customers"] == {"same": then.height - counts["corrected"] - counts["gone"], **counts}


def test_the_same_orders_again_change_nothing(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    assert shop.run(*shop.scoring(out)).code == 0
    assert shop.record(out)["changes"] is None

    assert shop.run(*shop.scoring(out)).code == 0

    changes = shop.record(out)["changes"]
    assert changes["same_orders"] is True
    assert changes["customers"] == {"same": undisturbed.scores.height, "corrected": 0, "gone": 0, "late": 0}
    shop.require_whole(out, undisturbed.scores)
