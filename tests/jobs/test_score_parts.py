"""Finished parts of a run are used again only as they were written, and no customer is delivered twice."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import DeliveryError
from repurchase.jobs.score_delivery import PartitionedScores, open_partition_store, score_partitions

BOOKS: Any = ["ab", "cd", "ef", "gh"]
"""A ledger is known by its customers here."""


def predict(ledger: Any) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": list(ledger), "status": ["scored"] * len(ledger)})


def scored(folder: Path, about: str = "these orders") -> PartitionedScores:
    return score_partitions(
        BOOKS, predict, open_partition_store(folder, {"orders": about}), on_progress=lambda *_: None
    )


def customers(parts: PartitionedScores) -> str:
    parts.require_unique()
    return "".join(parts.lazy().collect()["customer_id"])


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "parts"
    assert scored(folder).reused == 0
    return folder


def test_whole_parts_are_used_again(finished: Path) -> None:
    again = scored(finished)

    assert again.reused == 4
    assert customers(again) == "abcdefgh"


def test_a_part_and_its_name_are_on_the_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, named = tmp_path / "work" / "parts", []
    sync = os.fsync

    def note(number: int) -> None:
        if (
            stat.S_ISDIR(os.fstat(number).st_mode)
            and folder.exists()
            and os.path.samestat(os.fstat(number), folder.stat())
        ):
            named.append(len(list(folder.glob("*.parquet"))))
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    scored(folder)

    assert named == [0, 1, 2, 3, 4]


def swapped(folder: Path) -> None:
    shutil.copyfile(folder / "00000.parquet", folder / "00001.parquet")


def cut(folder: Path) -> None:
    (folder / "00001.parquet").write_bytes((folder / "00001.parquet").read_bytes()[:-9])


def emptied(folder: Path) -> None:
    (folder / "00001.parquet").write_bytes(b"")


def removed(folder: Path) -> None:
    (folder / "00001.parquet").unlink()


def a_folder(folder: Path) -> None:
    (folder / "00001.parquet").unlink()
    (folder / "00001.parquet").mkdir()


def a_link(folder: Path) -> None:
    (folder / "00001.parquet").rename(folder.parent / "elsewhere.parquet")
    (folder / "00001.parquet").symlink_to(folder.parent / "elsewhere.parquet")


def rewritten(folder: Path) -> None:
    predict("xy").write_parquet(folder / "00001.parquet")


@pytest.mark.parametrize("damage", [swapped, cut, emptied, removed, a_folder, a_link, rewritten])
def test_a_part_that_is_not_what_was_written_is_computed_again(finished: Path, damage: Callable[[Path], None]) -> None:
    damage(finished)

    again = scored(finished)

    assert again.reused == 3
    assert customers(again) == "abcdefgh"
    assert customers(scored(finished)) == "abcdefgh"


@pytest.mark.parametrize("manifest", ["", "[]", '{"key": 5, "parts": {}}', "0" * 64])
def test_without_its_manifest_nothing_is_used_again(finished: Path, manifest: str) -> None:
    """Among them the key alone, as earlier versions wrote it."""
    (finished / "key.json").write_text(manifest)

    again = scored(finished)

    assert again.reused == 0
    assert customers(again) == "abcdefgh"


def test_parts_of_other_orders_are_not_used(finished: Path) -> None:
    assert scored(finished, "other orders").reused == 0


def test_a_planted_folder_is_not_filled(tmp_path: Path, finished: Path) -> None:
    theirs = Path(shutil.move(finished, tmp_path / "theirs"))
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    finished.symlink_to(theirs)

    again = scored(finished)

    assert again.reused == 0
    assert not finished.is_symlink()
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == before


@pytest.mark.parametrize("parts", [["ab", "bc"], ["ab", "ab"], ["aa"], ["ac", "bd", "cf"], [["a", None]]])
def test_a_customer_who_would_be_delivered_twice_stops_the_delivery(parts: list[Any]) -> None:
    frames = tuple(pl.DataFrame({"customer_id": list(ids)}, schema={"customer_id": pl.String}) for ids in parts)

    with pytest.raises(DeliveryError, match=r"1 of \d rows|2 of 4 rows"):
        PartitionedScores(frames).require_unique()


@pytest.mark.parametrize("parts", [["ab", "cd"], ["ac", "bd"], [""], ["", "a"]])
def test_customers_who_come_once_do_not(parts: list[str]) -> None:
    frames = tuple(pl.DataFrame({"customer_id": list(ids)}, schema={"customer_id": pl.String}) for ids in parts)

    PartitionedScores(frames).require_unique()
