"""Keyed hashes of ids: the standard's own, the same every time, and of nothing else than ids."""

import hmac

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.errors import InputError
from repurchase.orders.ids import IdKey, clean_ids, key_id, pseudonymise, pseudonymise_rows, read_key, read_matching_key

KEY = b"a key of at least sixteen bytes"


@given(st.binary(min_size=1, max_size=200), st.lists(st.text(max_size=80)))
def test_it_is_hmac_sha_256(key: bytes, ids: list[str]) -> None:
    expected = [hmac.new(key, one.encode(), "sha256").hexdigest()[:32] for one in ids]
    assert pseudonymise(pl.Series(ids, dtype=pl.String()), key).to_list() == expected


def test_order_name_repeats_and_gaps_stay() -> None:
    ids = pl.Series("customer_id", ["b", None, "a", "b"])
    hashed = pseudonymise(ids, KEY)
    assert hashed.name == "customer_id"
    assert hashed[0] == hashed[3]
    assert hashed.is_null().to_list() == [False, True, False, False]
    assert pseudonymise(ids[:2], KEY).to_list() == hashed[:2].to_list()
    assert pseudonymise(ids, KEY + b"!")[0] != hashed[0]


def test_a_row_loses_its_own_id_in_every_spelling_and_keeps_the_rest() -> None:
    rows = pl.DataFrame(
        {
            "Kunde": ["17.0", " 17", "8", None],
            "mail": ["x@shop.no", "17", "8@2024-01-31", "17"],
            "quantity": [17, 1, 1, 8],
            "tags": [["17"], [], ["8"], None],
        }
    )
    hashed = pseudonymise(pl.Series(["17", "8"]), KEY)

    veiled = pseudonymise_rows(rows, clean_ids(rows["Kunde"]), KEY)

    assert veiled.columns == rows.columns
    assert veiled["Kunde"].to_list() == [hashed[0], hashed[0], hashed[1], None]
    assert veiled["mail"].to_list() == ["x@shop.no", hashed[0], f"{hashed[1]}@2024-01-31", "17"]
    assert veiled[["quantity", "tags"]].equals(rows[["quantity", "tags"]])


def test_the_key_comes_from_the_environment_or_a_file_and_shows_itself_nowhere(tmp_path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\r\n")

    from_file = read_key({"REPURCHASE_ID_KEY_FILE": str(file)})

    assert from_file == read_key({"REPURCHASE_ID_KEY": KEY.decode()}) == KEY
    assert "sixteen" not in f"{from_file!r} {from_file} {[from_file]}"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "neither is set"),
        ({"REPURCHASE_ID_KEY": ""}, "neither is set"),
        ({"REPURCHASE_ID_KEY": "sixteen bytes and more", "REPURCHASE_ID_KEY_FILE": "/dev/null"}, "both are set"),
        ({"REPURCHASE_ID_KEY": "fifteen bytes.."}, "has 15 bytes; at least 16"),
        ({"REPURCHASE_ID_KEY_FILE": "/dev/null"}, "has 0 bytes"),
        ({"REPURCHASE_ID_KEY_FILE": "/nowhere/key"}, "/nowhere/key cannot be read: No such file"),
    ],
)
def test_a_key_that_will_not_do_is_refused_without_showing_it(environment, words) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_key(environment)
    assert "fifteen" not in str(refused.value)


def test_another_key_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = key_id(KEY)
    monkeypatch.setenv("REPURCHASE_ID_KEY", KEY.decode())
    assert read_matching_key(mark, what="scores") == IdKey(KEY)
    assert KEY.hex()[:8] not in str(mark)
    monkeypatch.setenv("REPURCHASE_ID_KEY", "another key of sixteen bytes")
    with pytest.raises(InputError, match="scores: its ids were hashed with another key"):
        read_matching_key(mark, what="scores")
