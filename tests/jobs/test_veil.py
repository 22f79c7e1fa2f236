"""Lists are hashed before they are joined, and so are orders before anything is made of them."""

from dataclasses import replace

import polars as pl
import pytest

from repurchase.jobs.customer_lists import CustomerList, Pseudonymizer
from repurchase.jobs.order_intake import load_orders
from repurchase.orders.ids import IdKey, pseudonymise
from repurchase.settings import Settings

VEIL = Pseudonymizer(IdKey(b"a key of at least sixteen bytes"))
LOG = pl.DataFrame(
    {
        "Kunde": [17.0, 17.0, 8.0, 9.0, None],
        "mail": ["a@b.no", "17", "8", "x", "17"],
        "order_date": ["2024-01-01", "2024-02-01", "2024-01-15", "2024-03-01", "2024-03-01"],
        "amount": [10.0, 20.0, 5.0, 0.0, 7.0],
    }
)


def hashed(*ids: str) -> list[str]:
    return pseudonymise(pl.Series(ids), VEIL.key).to_list()


def test_a_list_loses_ids_order_and_repeats_of_ids():
    rows = pl.DataFrame(
        {"customer_id": ["17", "8", "9"], "number": [17, 8, None], "n": [17, 1, 2], "city": ["B", "C", "D"]}
    )

    asked = VEIL.customer_list(CustomerList(rows, duplicates=("8",), without_id=2))

    assert asked.rows["customer_id"].to_list() == sorted(hashed("17", "8", "9"))
    assert asked.duplicates == tuple(hashed("8"))
    assert asked.without_id == 2
    by = dict(zip(hashed("17", "8", "9"), ["B", "C", "D"], strict=True))
    assert asked.rows["city"].to_list() == [by[one] for one in asked.rows["customer_id"]]
    assert set(asked.rows["number"]) == {*hashed("17", "8"), None}
    assert sorted(asked.rows["n"]) == [1, 2, 17]


@pytest.mark.parametrize("partitions", [1, 2])
def test_orders_are_the_same_under_hashes_in_one_partition_and_in_several(tmp_path, partitions):
    path = tmp_path / "log.parquet"
    LOG.write_parquet(path)
    settings = Settings(columns={"customer_id": "Kunde"})

    plain = load_orders(str(path), settings=settings, folder=tmp_path / "a")
    split = replace(settings, partitions=partitions)
    hidden = load_orders(str(path), settings=split, folder=tmp_path / "b", pseudonymizer=VEIL)

    ids = plain.ledgers.whole().ids
    assert hidden.ledgers.whole().ids.to_list() == sorted(hashed(*ids))
    assert len(hidden.ledgers) == partitions
    assert hidden.report.to_dict() == plain.report.to_dict()
    assert hidden.log.digest == plain.log.digest
    aside = hidden.set_aside.collect()
    assert dict(zip(aside["Kunde"], aside["mail"], strict=True)) == {hashed("9")[0]: "x", None: "17"}
