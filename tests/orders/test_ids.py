"""One spelling per id."""

import polars as pl
import pytest

from repurchase.orders.ids import clean_ids


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("13085.0", "13085"),
        ("13085", "13085"),
        (" 13085 ", "13085"),
        ("00001", "00001"),
        ("00001.0", "00001.0"),
        ("C-1.0", "C-1.0"),
        ("Anna@Shop.NO", "anna@shop.no"),
        ("Anna", "Anna"),
        ("0", "0"),
        ("", None),
        ("nan", None),
        ("None", None),
    ],
)
def test_text(written: str, meant: str | None) -> None:
    assert clean_ids(pl.Series([written, "other"])).to_list() == [meant, "other"]


def test_typed() -> None:
    assert clean_ids(pl.Series([13085.0, None, float("nan"), 2084680892473.0])).to_list() == [
        "13085",
        None,
        None,
        "2084680892473",
    ]
    assert clean_ids(pl.Series([7, None])).to_list() == ["7", None]
    assert clean_ids(pl.Series(["a", "b"], dtype=pl.Categorical)).to_list() == ["a", "b"]
