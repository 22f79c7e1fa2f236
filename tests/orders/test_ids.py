"""One spelling per id, and one number."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.orders.ids import clean_ids, id_hash


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


def split_mix(state: int) -> int:
    """Read off the paper, one number at a time."""
    whole = 2**64 - 1
    state = (state + 0x9E3779B97F4A7C15) & whole
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & whole
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & whole
    return state ^ (state >> 31)


def hash_one(text: str) -> int:
    content = text.encode()
    state = split_mix(len(content))
    for first in range(0, len(content), 8):
        word = content[first : first + 8]
        state = split_mix(state ^ int.from_bytes(word, "little") << 8 * (8 - len(word)))
    return state


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=20))
def test_a_hash_is_the_same_one_by_one_and_together(ids: list[str]) -> None:
    series = pl.Series(["before", *ids, "after"], dtype=pl.String)
    expected = [hash_one(text) for text in ids]
    assert id_hash(series[1:-1]).to_list() == expected
    assert id_hash(pl.concat([series[:2], series[2:]], rechunk=False))[1:-1].to_list() == expected


def test_hashes_stay_what_they_are() -> None:
    hashes = id_hash(pl.Series("who", ["", "c1", "13085", "anna@shop.no", "ærlig-kunde-0001", None]))
    assert (hashes.name, hashes.dtype) == ("who", pl.UInt64)
    assert [f"{number:016x}" for number in hashes] == [
        "e220a8397b1dcdaf",  # the first number of SplitMix64 from 0, of its reference
        "e2030be457683e1a",
        "59bedd3acb74aba3",
        "58f1252d04faaa39",
        "ee4c31a12d7c0fb0",
        "e220a8397b1dcdaf",
    ]


def test_many_ids_alike_have_hashes_that_are_not() -> None:
    ids = pl.Series([f"{kind}{number}" for kind in ("c", "0000000", "customer-") for number in range(20_000)])
    hashes = id_hash(ids)
    assert hashes.n_unique() == len(ids)
    assert hashes[[0, 20_000, 59_999]].to_list() == [hash_one(ids[place]) for place in (0, 20_000, 59_999)]
    for bits in (hashes % 16, hashes // 2**60):  # 3,750 each, give or take 60
        assert bits.value_counts()["count"].is_between(3450, 4050).all()
