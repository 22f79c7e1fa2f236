"""What a fitted model promises of its scores."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from repurchase.errors import InputError, InsufficientHistory, OrdersError
from repurchase.features.ledger import build_ledger
from repurchase.models.model import RepurchaseModel
from repurchase.registry.bundle import load_bundle, save_bundle

DAY = date(2025, 6, 4)
HORIZONS = (30, 90)

SameBits = Callable[[pl.DataFrame, pl.DataFrame], None]


def test_are_honest(model: RepurchaseModel, scores: pl.DataFrame, honest: Callable[..., None]) -> None:
    assert model.learned_ == model.horizons_ == HORIZONS
    honest(scores, HORIZONS)
    assert scores["customer_id"].is_sorted()
    assert scores["as_of"].unique().to_list() == [DAY]


def test_tell_customers_apart(scores: pl.DataFrame) -> None:
    p = scores["p_repurchase_90d"]
    assert p.n_unique() > 0.9 * scores.height
    assert p.std() > 0.1
    active = scores["days_since_last"] < 30
    assert p.filter(active).mean() > p.filter(~active).mean() + 0.2


class TestSubsets:
    @pytest.mark.parametrize("size", [1, 2, 13, 250])
    def test_have_the_bits_of_the_whole(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits, size: int
    ) -> None:
        rng = np.random.default_rng(size)
        for _ in range(4 if size == 1 else 2):
            kept = pl.col("customer_id").is_in(
                pl.Series(rng.choice(scores["customer_id"].to_numpy(), size, replace=False)).implode()
            )
            same_bits(model.predict(shop.filter(kept), DAY), scores.filter(kept))

    def test_of_the_heavy_customer_alone_too(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        who = pl.col("customer_id") == "heavy"
        same_bits(model.predict(shop.filter(who), DAY), scores.filter(who))
        row = scores.filter(who).row(0, named=True)
        assert row["orders"] > 900  # some days were returned in full
        assert row["p_repurchase_90d"] > 0.8

    def test_are_given_in_the_order_asked(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        asked = scores["customer_id"].reverse()[::7].to_list()
        found = model.predict(shop, DAY, customers=asked)
        assert found["customer_id"].to_list() == asked
        same_bits(found.sort("customer_id"), scores.filter(pl.col("customer_id").is_in(asked)))

    def test_without_a_day_take_that_of_the_whole_log(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame
    ) -> None:
        known = shop.filter(pl.col("order_date").dt.date() <= DAY)
        early = scores.sort("last_order_date")["customer_id"][0]
        last = known["order_date"].dt.date().max()
        assert model.predict(known, customers=[early])["as_of"].to_list() == [last]


class TestBlocks:
    """How many customers are looked at together, and by how many threads, is nobody's business."""

    @pytest.mark.parametrize(("size", "threads"), [(1, 1), (7, 1), (64, 2), (137, 3), (100_000, 2)])
    def test_of_any_size_give_the_same_bits(
        self,
        model: RepurchaseModel,
        shop: pl.DataFrame,
        scores: pl.DataFrame,
        same_bits: SameBits,
        size: int,
        threads: int,
    ) -> None:
        ledger = build_ledger(shop, observed_until=DAY)
        if size == 1:  # so many calls that a part must do
            some = scores["customer_id"][:40].to_list()
            found = model.predict_ledger(ledger, DAY, some, n_jobs=threads, customers_per_block=size)
            same_bits(found, scores[:40])
        else:
            same_bits(model.predict_ledger(ledger, DAY, n_jobs=threads, customers_per_block=size), scores)

    def test_of_a_ledger_that_reaches_beyond_the_day_give_the_same_bits(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        ledger = build_ledger(shop, observed_until=DAY + timedelta(days=30))
        same_bits(model.predict_ledger(ledger, DAY), scores)


class TestUnknownCustomers:
    def test_are_there_with_no_history(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        known = scores["customer_id"][5]
        newcomer = shop.filter(pl.col("order_date").dt.date() > DAY).filter(
            ~pl.col("customer_id").is_in(scores["customer_id"].implode())
        )["customer_id"]
        asked = ["nobody", known, "", *newcomer[:1]]
        found = model.predict(shop, DAY, customers=asked)
        assert found["customer_id"].to_list() == asked
        assert found["status"].to_list() == ["no_history", "scored", "no_history", *["no_history"] * len(newcomer[:1])]
        same_bits(found[[1]], scores.filter(pl.col("customer_id") == known))
        empty = found.filter(pl.col("status") == "no_history")
        told = {"customer_id", "as_of", "model_version", "status", "orders"}
        assert {name for name in empty.columns if empty[name].null_count() < empty.height} == told
        assert empty["orders"].to_list() == [0] * empty.height
        assert empty["as_of"].unique().to_list() == [DAY]

    def test_alone_give_a_table_too(self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame) -> None:
        found = model.predict(shop, DAY, customers=["nobody"])
        assert found.schema == scores.schema
        assert found.row(0, named=True)["status"] == "no_history"
        assert found["model_version"].to_list() == scores["model_version"].unique().to_list()
        assert model.predict(shop, DAY, customers=[]).schema == scores.schema


class TestCustomersWhoGaveEverythingBack:
    """Their purchases were purchases, and nobody else's row changes."""

    @pytest.fixture
    def returned(self, shop: pl.DataFrame) -> pl.DataFrame:
        sale = shop.filter((pl.col("amount") > 0) & (pl.col("order_date").dt.date() <= DAY)).head(1)
        bought = pl.concat([sale] * 3).with_columns(
            customer_id=pl.Series(["00-first", "c000001-b", "zz-last"]),
            order_id=pl.Series(["x1", "x2", "x3"]),
            amount=pl.Series([30.0, 40.0, 50.0]),
        )
        back = bought.with_columns(
            pl.col("order_date") + pl.Series([timedelta(days=days) for days in (2, 3, 900)]),
            pl.lit("back").alias("order_id"),
            -pl.col("amount"),
            pl.col("order_date").dt.date().alias("sale_date"),
        )
        return pl.concat([shop, bought, back])

    def test_have_a_row_in_its_place(
        self, model: RepurchaseModel, returned: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        found = model.predict(returned, DAY)

        assert found["customer_id"].is_sorted()
        added = ["00-first", "c000001-b"]  # the last one gave back after this day
        same_bits(found.filter(~pl.col("customer_id").is_in([*added, "zz-last"])), scores)
        rows = found.filter(pl.col("customer_id").is_in(added))
        assert rows["status"].to_list() == ["scored"] * 2
        assert rows["orders"].to_list() == [1, 1]
        assert rows["spend_total"].to_list() == [0.0, 0.0]
        assert rows["p_repurchase_90d"].is_between(0.0, 1.0).all()
        assert found.filter(pl.col("customer_id") == "zz-last")["status"].to_list() == ["scored"]

    def test_are_given_in_the_order_asked(self, model: RepurchaseModel, returned: pl.DataFrame) -> None:
        asked = ["nobody", "zz-last", "00-first"]
        found = model.predict(returned, DAY, customers=asked)
        assert found.select("customer_id", "status").rows() == [
            ("nobody", "no_history"),
            ("zz-last", "scored"),
            ("00-first", "scored"),
        ]


class TestInput:
    def test_in_any_order_and_with_any_future_gives_the_same_scores(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        known = shop.filter(pl.col("order_date").dt.date() <= DAY)
        later = shop.filter(pl.col("order_date").dt.date() > DAY).with_columns(
            pl.lit("c000001").alias("customer_id"), pl.col("amount") * 1e6
        )
        assert later.height > 100
        mixed = pl.concat([later, known]).sample(fraction=1.0, shuffle=True, seed=1)
        same_bits(model.predict(mixed, DAY), scores)

    def test_from_pandas_or_arrow_gives_the_same_scores(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        same_bits(model.predict(shop.to_pandas(), DAY), scores)
        same_bits(model.predict(shop.to_arrow(), DAY), scores)

    def test_is_left_as_it_was(self, model: RepurchaseModel, shop: pl.DataFrame) -> None:
        before = shop.clone()
        columns = list(shop.columns)
        model.predict(shop, DAY, customers=["heavy"])
        assert shop.equals(before, null_equal=True)
        assert shop.columns == columns

    def test_at_a_later_day_is_scored_as_of_then(
        self, model: RepurchaseModel, shop: pl.DataFrame, honest: Callable[..., None]
    ) -> None:
        later = DAY + timedelta(days=45)
        found = model.predict(shop, later)
        honest(found, HORIZONS)
        assert found["as_of"].unique().to_list() == [later]

    def test_that_is_no_log_of_orders_is_refused(self, model: RepurchaseModel, shop: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="no row with an order_date"):
            model.predict(shop.clear())
        with pytest.raises(OrdersError, match="columns are missing: amount"):
            model.predict(shop.drop("amount"), DAY)
        with pytest.raises(OrdersError, match="customer_id"):
            model.predict(shop.drop("customer_id"), DAY, customers=["heavy"])
        with pytest.raises(OrdersError, match="'customer_id' must be String"):
            model.predict(shop.with_columns(pl.lit(7).alias("customer_id")), DAY, customers=["heavy"])
        with pytest.raises(InputError, match="pandas or Polars DataFrame"):
            model.predict({"customer_id": ["heavy"]}, DAY)

    def test_without_the_amounts_that_the_model_learned_from_is_refused(
        self, model: RepurchaseModel, shop: pl.DataFrame
    ) -> None:
        with pytest.raises(OrdersError, match="no amount in any of 1,109 rows"):
            model.predict(shop.with_columns(pl.lit(None, pl.Float64()).alias("amount")), DAY, customers=["heavy"])


class TestEstimator:
    def test_keeps_its_parameters_like_any_of_scikit_learn(self, model: RepurchaseModel) -> None:
        given = {
            "horizons": (30, 60),
            "clv_horizon_days": 180,
            "discount_rate": 0.05,
            "random_state": 3,
            "n_jobs": 2,
        }
        asked = RepurchaseModel(**given)
        assert {name: asked.get_params()[name] for name in given} == given
        assert asked.set_params(random_state=4).random_state == 4
        copy = clone(model)
        assert copy.get_params() == model.get_params()
        assert "horizons" in repr(copy)
        with pytest.raises(NotFittedError, match="not fitted yet"):
            copy.predict(pl.DataFrame())

    def test_refuses_a_horizon_longer_than_the_history(self, shop: pl.DataFrame) -> None:
        with pytest.raises(InsufficientHistory, match="521 days of history"):
            RepurchaseModel(horizons=(30, 600)).fit(shop, DAY)

    def test_refuses_a_day_before_the_first_order(self, shop: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="no row is left"):
            RepurchaseModel(horizons=(30,)).fit(shop, date(2023, 12, 31))

    def test_refuses_a_log_of_returns_only(self, shop: pl.DataFrame) -> None:
        with pytest.raises(InsufficientHistory, match="no customer has a day with net sales above zero"):
            RepurchaseModel(horizons=(30,)).fit(shop.filter(pl.col("amount") < 0), DAY)


class TestSaved:
    def test_and_put_together_again_gives_the_same_bits(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits
    ) -> None:
        again = RepurchaseModel.from_state(model.to_state())
        same_bits(again.predict(shop, DAY), scores)
        assert again.to_state() == model.to_state()
        assert again.get_params()["random_state"] == model.random_state

    def test_as_a_bundle_gives_the_same_bits_in_a_new_process_that_imports_nothing_for_fits(
        self, model: RepurchaseModel, shop: pl.DataFrame, scores: pl.DataFrame, same_bits: SameBits, tmp_path: Path
    ) -> None:
        folder = save_bundle(
            model.to_state(), tmp_path / "7", manifest={"model_version": "7"}, evaluation={}, card="# A card\n"
        )
        orders, out = tmp_path / "orders.parquet", tmp_path / "scores.parquet"
        shop.write_parquet(orders)
        subprocess.run([sys.executable, "-c", SCORE, folder, orders, DAY.isoformat(), out], check=True, timeout=300)
        found = pl.read_parquet(out)
        assert found["model_version"].unique().to_list() == ["7"]
        same_bits(found.with_columns(scores["model_version"]), scores)

    def test_carries_no_customer(self, model: RepurchaseModel, shop: pl.DataFrame, tmp_path: Path) -> None:
        folder = save_bundle(
            model.to_state(), tmp_path / "8", manifest={"model_version": "8"}, evaluation={}, card="# A card\n"
        )
        assert load_bundle(folder).version == "8"
        text = "".join(path.read_text() for path in folder.glob("*.json"))
        assert "c00" not in text
        assert "heavy" not in text.replace("heavy_", "")


SCORE = """
import sys
from datetime import date
from pathlib import Path
import polars as pl
from repurchase.registry.scoring import load_scorer

folder, orders, day, out = sys.argv[1:]
scorer = load_scorer(Path(folder))
scorer(pl.read_parquet(orders), as_of=date.fromisoformat(day)).write_parquet(out)
needed_by_fits = {"sklearn", "scipy.stats", "scipy.optimize", "joblib", "mlflow", "lifetimes"} & sys.modules.keys()
assert not needed_by_fits, needed_by_fits
"""
