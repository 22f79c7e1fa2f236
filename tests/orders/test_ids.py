"""One spelling per id, and one number."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.orders.ids import PLACEHOLDER_WORDS, clean_ids, damaged_ids, id_hash, placeholder_ids


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
        ("'7100000000137", "7100000000137"),
        ("'+4791234000", "+4791234000"),
        ("’00123", "00123"),
        ("'t Hart", "'t Hart"),
        ("O'Neil", "O'Neil"),
        ('="00123"', "00123"),
        ('"K-17"', "K-17"),
        ("\u00a0K-17\u202f", "K-17"),
        ("K\u200b-1\u20607", "K-17"),
        ("\ufeff13085.0", "13085"),
        ("K-17\x00\x1f", "K-17"),
        ("１３０８５", "13085"),
        ("Ａnna＠Shop.NO", "anna@shop.no"),
        ("Ærlig Ødegård", "Ærlig Ødegård"),
        ("\u00a0", None),
        ("\u200bnan", None),
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


WRAPPINGS = ("{}", "'{}", '="{}"', '"{}"', " {} ", "\u00a0{}\u2003", "\ufeff{}", "\u200b{}\u200d", "{}\r", "{}.0")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**13), st.sampled_from(WRAPPINGS)), min_size=1, max_size=20))
def test_one_id_however_it_is_wrapped(ids: list[tuple[int, str]]) -> None:
    written = pl.Series("who", [wrapping.format(number) for number, wrapping in ids])
    assert clean_ids(written).to_list() == [str(number) for number, _ in ids]
    assert clean_ids(clean_ids(written)).to_list() == clean_ids(written).to_list()


def test_ids_that_a_spreadsheet_destroyed() -> None:
    destroyed = [
        "7.12E+12",
        "7,12E+12",
        "7E+12",
        "7.1e15",
        "'7.12E+12",
        "########",
        "#REF!",
        "#N/A",
        "#NAME?",
        "#WERT!",
    ]
    assert damaged_ids(pl.Series(destroyed)).to_list() == [True] * len(destroyed)
    sound = ["7120000000001", "7E12", "1e5f", "A7.12E+12", "#1001", "#", "7.12", "", None, "E+12"]
    assert damaged_ids(pl.Series(sound)).to_list() == [False] * len(sound)
    assert damaged_ids(pl.Series([7.12e12, None])).to_list() == [False, False]


def test_ids_of_nobody() -> None:
    words = [word for words in PLACEHOLDER_WORDS.values() for word in words.split("|")]
    assert placeholder_ids(pl.Series(words)).all()
    assert placeholder_ids(pl.Series([word.upper() for word in words if word.upper().lower() == word])).all()
    nobody = [
        "Invité",
        " Гость ",
        "GAST\u200b",
        "Kunde  ohne\u00a0Konto",
        "0",
        "00000",
        "-1",
        "-",
        "--",
        ".",
        "???",
        "'0",
        "0.0",
    ]
    nobody += ["00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "guest@shop.no"]
    nobody += ["noreply@shop.no", "No-Email@shop.no", "walk-in", "(not set)"]
    assert placeholder_ids(pl.Series(nobody)).to_list() == [True] * len(nobody)
    somebody = [
        "Gaston",
        "guest17",
        "Testa",
        "1",
        "10",
        "-7",
        "guest.house@shop.no",
        "annatest@shop.no",
        "Nora",
        "0-1",
        None,
        "",
    ]
    assert placeholder_ids(pl.Series(somebody)).to_list() == [False] * len(somebody)
    assert placeholder_ids(pl.Series("who", [0, 1, -1, None])).to_list() == [True, False, True, False]
    assert placeholder_ids(pl.Series([0.0, 1.0, None])).to_list() == [True, False, False]


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
