"""What a log says of its products does not depend on how it is read."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from repurchase.jobs.products import ProductHistory, ProductPartition
from repurchase.orders.log import open_orders
from repurchase.orders.pipeline import clean_log
from repurchase.settings import Settings

AS_OF = date(2023, 12, 31)


def renamed() -> pl.DataFrame:
    """Lines of a product that was renamed and sorted anew, which the first customers only knew before."""
    rows = []
    for who in range(60):
        is_late = who >= 30
        told = ("New soap", "body", None) if is_late else ("Old soap", "bath", "Lund")
        start = date(2023, 1, 1) + timedelta(days=who % 10 + (180 if is_late else 0))
        rows += [(start + timedelta(days=40 * turn), f"c{who:02d}", f"o{who}-{turn}", *told) for turn in range(3)]
    names = ["order_date", "customer_id", "order_id", "product_name", "category", "brand"]
    lines = pl.DataFrame(rows, schema=names, orient="row").with_columns(amount=pl.lit(10.0), product_id=pl.lit("P1"))
    return lines.sort("order_date", "customer_id")


def shelf(lines: pl.DataFrame, folder: Path, partitions: int) -> ProductHistory:
    settings = Settings(home=folder, partitions=partitions)
    (folder / "spool").mkdir()
    lines.write_csv(folder / "orders.csv")
    log = open_orders(str(folder / "orders.csv"), settings=settings, spool=folder / "spool")
    _, cleaned = clean_log(log, settings=settings, folder=folder / "rows")
    parts = [ProductPartition.of(rows, AS_OF) for rows in cleaned]
    assert len(parts) == partitions
    return ProductHistory(parts, AS_OF)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_is_called_as_it_was_last(tmp_path: Path, partitions: int, turned: bool) -> None:
    lines = renamed()
    told = shelf(lines.reverse() if turned else lines, tmp_path, partitions)
    expected = {"product_id": "P1", "name": "New soap", "category": "body", "brand": "Lund"}
    assert told.products.to_dicts() == [expected]
    assert told.called == {"P1": "New soap"}
    assert told.kinds == {"category": {"P1": "body"}, "brand": {"P1": "Lund"}}


def test_of_two_names_on_one_day_the_later_by_letter_holds(tmp_path: Path) -> None:
    lines = renamed().with_columns(order_date=pl.lit(AS_OF))
    assert shelf(lines, tmp_path, 3).called == {"P1": "Old soap"}
