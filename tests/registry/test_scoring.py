from typing import Any

import polars as pl
import pytest

from repurchase.registry.bundle import cleaning_settings, save_bundle
from repurchase.registry.scoring import Scorer, load_scorer
from repurchase.settings import Settings


@pytest.fixture(scope="module")
def scorer(fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    settings = cleaning_settings(Settings(currency="NOK", columns={"amount": "Beløp"}))
    manifest = {"model_version": "4", "settings": settings}
    return load_scorer(
        save_bundle(fitted.to_state(), tmp_path_factory.mktemp("m") / "4", manifest=manifest, evaluation={}, card="")
    )


def test_orders_are_cleaned_as_the_models_own_were(scorer: Scorer) -> None:
    assert scorer.settings == Settings(currency="NOK", columns={"amount": "Beløp"})


def test_clean_orders_are_scored_as_they_are(scorer: Scorer, fitted: Any, shop: pl.DataFrame) -> None:
    expected = fitted.predict(shop).with_columns(model_version=pl.lit("4"))
    assert scorer(shop).equals(expected)
    assert scorer(shop.to_pandas()).equals(expected)
    assert scorer(shop.to_arrow()).equals(expected)


def test_an_export_is_cleaned_first(scorer: Scorer, shop: pl.DataFrame) -> None:
    export = shop.select(
        pl.col("customer_id"),
        pl.col("order_id"),
        pl.col("order_date").dt.strftime("%Y-%m-%d"),
        pl.col("amount").cast(pl.String()).alias("Beløp"),
    )
    assert scorer(export).equals(scorer(shop))
    assert scorer(export.to_pandas()).equals(scorer(shop))
