"""Scoring replaces nothing that it reads and nothing that it did not write, and damaged parts are computed again."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Command = Callable[..., Any]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def few(shop: Any, tmp_path: Path) -> Path:
    """A short log, in a folder of its own."""
    folder = tmp_path / "log"
    folder.mkdir()
    return Path(shutil.copyfile(shop.orders.with_name("few.csv"), folder / "orders.csv"))


@pytest.mark.parametrize("name", ["scores.csv", "scores.run.json", "scores.quarantine.parquet"])
@pytest.mark.parametrize("source", ["file", "folder", "pattern"])
def test_orders_named_like_an_output_stay(shop: Any, few: Path, repurchase: Command, name: str, source: str) -> None:
    log = few.rename(few.with_name(name))
    orders = {"file": log, "folder": log.parent, "pattern": log.parent / "s*"}[source]
    before = everything(few.parent)

    outcome = repurchase("score", orders, "--home", shop.home, "--out", few.with_name("scores.csv"))

    assert "one of the inputs" in outcome.line
    assert everything(few.parent) == before


@pytest.mark.parametrize("name", ["s.run.json", "s.quarantine.parquet", "s.csv", ".s.csv.work/parts/00000.parquet"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_list_named_like_an_output_stays(
    shop: Any, few: Path, repurchase: Command, name: str, dry: tuple[str, ...]
) -> None:
    listed, out = few.parent / name, few.with_name("s.csv")
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("customer_id\n1\n")

    outcome = repurchase("score", few, "--home", shop.home, "--out", out, "--customers", listed, *dry)

    assert "one of the inputs" in outcome.line
    assert listed.read_text() == "customer_id\n1\n"


def test_orders_under_another_name_stay(shop: Any, few: Path, repurchase: Command) -> None:
    for link in (os.link, os.symlink):
        out = few.with_name("scores.csv")
        link(few, out)
        outcome = repurchase("score", few, "--home", shop.home, "--out", out)
        assert "one of the inputs" in outcome.line
        assert out.read_bytes() == few.read_bytes()
        out.unlink()


@pytest.mark.parametrize("name", ["orders.csv", "scores.run.json", "scores.quarantine.parquet"])
def test_what_somebody_else_keeps_there_stays(shop: Any, few: Path, repurchase: Command, name: str) -> None:
    theirs = few.parent / "theirs" / name
    theirs.parent.mkdir()
    theirs.write_text("customer_id,order_date,amount\n1,2024-01-01,5\n")
    before = everything(theirs.parent)
    out = theirs.parent / ("orders.csv" if name == "orders.csv" else "scores.parquet")

    outcome = repurchase("score", few, "--home", shop.home, "--out", out)

    assert f"{name}: what lies there was not written as" in outcome.line
    assert everything(theirs.parent) == before


@pytest.mark.parametrize("place", ["models/1/scores.parquet", "models/scores.csv", "mlruns/scores.parquet"])
def test_nothing_is_written_among_the_models(home: Path, few: Path, repurchase: Command, place: str) -> None:
    before = everything(home)

    outcome = repurchase("score", few, "--home", home, "--out", home / place)

    assert "holds models and their runs" in outcome.line
    assert everything(home) == before


def test_an_exported_model_replaces_one_and_nothing_else(home: Path, tmp_path: Path, repurchase: Command) -> None:
    out = tmp_path / "model.joblib"
    for _ in range(2):
        assert repurchase("models", "export", "1", "--home", home, "--out", out).code == 0

    for place, content in ((out, b"customer_id,amount\n"), (home / "models" / "1" / "btyd.json", None)):
        if content is not None:
            place.write_bytes(content)
        before = place.read_bytes()
        assert repurchase("models", "export", "1", "--home", home, "--out", place).code == 2
        assert place.read_bytes() == before


def test_damaged_parts_are_computed_again(shop: Any, undisturbed: Any, tmp_path: Path) -> None:
    out = tmp_path / "out" / "scores.parquet"
    fault = shop.signalled(signal.SIGKILL, "os.rename", "00003.partial")
    assert shop.run(*shop.scoring(out), fault=fault).code == -signal.SIGKILL
    parts = out.parent / ".scores.parquet.work" / "parts"
    shutil.copyfile(parts / "00001.parquet", parts / "00002.parquet")
    (parts / "00000.parquet").write_bytes(b"")

    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    assert shop.record(out)["partitions"]["reused"] == 1
    shop.require_whole(out, undisturbed.scores)
    assert pl.read_parquet_metadata(out)["repurchase"] == "scores"
    assert shop.hidden(out.parent) == []
