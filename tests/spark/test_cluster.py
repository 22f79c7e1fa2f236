"""Jobs on a real cluster: the same digits as here, also when a worker dies in the middle."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytestmark = pytest.mark.spark


@pytest.fixture
def stored(shop: pl.DataFrame, tmp_path: Path) -> Path:
    """Three files in two folders, columns as they come out of a database."""
    folder = tmp_path / "orders"
    for number, name in enumerate(("2024/a.parquet", "2024/b 1.parquet", "c.parquet")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shop.gather_every(3, number).write_parquet(folder / name)
    return folder


@pytest.fixture
def awkward(shop: pl.DataFrame, tmp_path: Path) -> Path:
    """Text of two files: day or month first, decimal commas or points; guests known by mail; a line end in a value."""
    folder = tmp_path / "text"
    folder.mkdir()
    is_guest = pl.col("customer_id").str.strip_suffix(".0").str.ends_with("7")
    amount = pl.col("amount").cast(pl.String)
    for number, (dates, money) in enumerate(
        (("%d/%m/%Y", amount.str.replace(".", ",", literal=True)), ("%m/%d/%Y", amount))
    ):
        text = shop.select(
            pl.int_range(pl.len()).cast(pl.String).alias(""),
            pl.when(is_guest).then(pl.lit("Guest")).otherwise("customer_id").alias("Kunde.nr"),
            pl.format("k{}@shop.example", pl.col("customer_id").str.strip_suffix(".0")).alias("E-post"),
            pl.col("order_id").alias("Bestilling"),
            pl.col("order_date").dt.strftime(dates).alias("Dato"),
            money.alias("Beløp"),
            pl.when(pl.int_range(pl.len()) % 50 == 0)
            .then(pl.lit('en "blå"\nkopp; stor'))
            .otherwise("product_id")
            .alias("Vare"),
        )
        lines = text.gather_every(2, number).write_csv(separator=";")
        (folder / f"{number}.csv").write_text(f"{lines}\n;;;;;;\n", encoding="utf-8")
    return folder


def scores_of(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out)


def record_of(out: Path) -> dict[str, Any]:
    return dict(json.loads(out.with_name(f"{out.stem}.run.json").read_text()))


def require_same(here: Path, there: Path) -> None:
    """Scores, rows set aside, and what is said of them."""
    assert scores_of(there).equals(scores_of(here))
    assert scores_of(there).schema == scores_of(here).schema
    aside = [pl.read_parquet(out.with_name(f"{out.stem}.quarantine.parquet")) for out in (here, there)]
    assert aside[1].sort(pl.all()).equals(aside[0].sort(pl.all()))
    mine, theirs = record_of(here), record_of(there)
    files = [[(file["path"], file["rows"]) for file in record["orders"]["files"]] for record in (mine, theirs)]
    assert files[0] == files[1]
    for record in (mine, theirs):  # one machine says it of each file
        notes = record["cleaning"]["notes"]
        record["cleaning"]["notes"] = [note for note in notes if not note["key"].startswith("file_note.delimiter")]
    for part in ("cleaning", "measures", "drift", "counts", "as_of", "notes"):
        assert theirs[part] == mine[part], part


def test_text_scored_there_is_text_scored_here(
    cluster: Any, home: Path, awkward: Path, tmp_path: Path, repurchase: Callable[..., Any]
) -> None:
    names = "customer_id=Kunde.nr,order_id=Bestilling,order_date=Dato,amount=Beløp,product_id=Vare"
    words = [awkward, "--home", home, "--columns", names]
    assert repurchase("score", *words, "--out", tmp_path / "here.parquet").code == 0
    there = repurchase("score", *words, "--out", tmp_path / "there.parquet", *cluster.words)
    assert there.code == 0, there.err
    require_same(tmp_path / "here.parquet", tmp_path / "there.parquet")
    status = dict(scores_of(tmp_path / "there.parquet").select("customer_id", "status").rows())
    assert (status["0900"], status["9998"]) == ("scored", "no_purchases")  # given back, and free
    assert status["k1007@shop.example"] == "scored"
    assert "Guest" not in status
    record = record_of(tmp_path / "there.parquet")
    reading = [record_of(tmp_path / f"{name}.parquet")["orders"]["reading"] for name in ("here", "there")]
    assert reading[1] == reading[0]
    notes = {note["key"]: note["params"] for note in record["cleaning"]["notes"]}
    for kind in ("dates", "numbers"):
        assert notes[f"format_note.files_{kind}"] == {"files": 1, "of": 2}
    assert record["engine"]["master"] == cluster.master
    assert record["engine"]["engine"] == "spark"
    assert record["partitions"]["count"] == 5
    assert [line for line in there.err.splitlines() if " INFO " not in line] == []
    assert "WARN" not in there.out


def test_a_list_scored_there_is_a_list_scored_here(
    cluster: Any, home: Path, stored: Path, tmp_path: Path, repurchase: Callable[..., Any]
) -> None:
    asked = tmp_path / "asked.csv"
    pl.DataFrame({"customer_id": ["1399", "nobody", "1000", "9998"], "group": ["x", "y", "z", "x"]}).write_csv(asked)
    words = [stored, "--home", home, "--customers", asked, "--as-of", "2025-01-15"]
    assert repurchase("score", *words, "--out", tmp_path / "here.parquet").code == 0
    there = repurchase("score", *words, "--out", tmp_path / "there.parquet", *cluster.words)
    assert there.code == 0, there.err
    require_same(tmp_path / "here.parquet", tmp_path / "there.parquet")
    assert scores_of(tmp_path / "there.parquet")["status"].to_list() == [
        "scored",
        "no_history",
        "scored",
        "no_purchases",
    ]


def test_logs_that_cannot_be_shared_out_are_refused(
    cluster: Any, home: Path, tmp_path: Path, repurchase: Callable[..., Any]
) -> None:
    shopify = tmp_path / "shopify.csv"
    heading = (
        "Name,Email,Financial Status,Paid at,Created at,Currency,Total,Lineitem quantity,Lineitem name,Lineitem price"
    )
    first, later = "#1,a@x.no,paid,2024-01-01,2024-01-01,NOK,10,1,cup,5", "#1,,,,,,,1,mug,5"
    shopify.write_text(f"{heading}\n{first}\n{later}\n#2,b@x.no,paid,2024-01-02,2024-01-02,NOK,10,1,cup,10\n")
    refused = repurchase("score", shopify, "--home", home, "--out", tmp_path / "x.parquet", *cluster.words)
    assert refused.code == 2
    assert "--engine local" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "x.parquet").exists()


def test_training_there_learns_from_everyone_and_from_a_sample(
    cluster: Any, home: Path, stored: Path, tmp_path: Path, repurchase: Callable[..., Any]
) -> None:
    own = tmp_path / "home"
    own.mkdir()
    (own / "repurchase.toml").write_text("spark_sample = 300\njobs = 1\n")
    trained = repurchase("train", stored, "--home", own, "--horizon", "30", *cluster.words)
    assert trained.code == 0, trained.err
    everyone, sampled = (folder / "models" / "1" for folder in (home, own))
    fitted, fitted_there = (json.loads((folder / "btyd.json").read_text()) for folder in (everyone, sampled))
    spend = [state.pop("typical_spend") for state in (fitted, fitted_there)]  # the scale of the sample's money
    assert spend[1] == pytest.approx(spend[0], rel=0.1)
    assert fitted_there == fitted
    assert (sampled / "calibration.json").read_text() != (everyone / "calibration.json").read_text()
    profiles = [json.loads((folder / "profile.json").read_text()) for folder in (everyone, sampled)]
    for profile in profiles:
        assert profile.pop("usual")  # of the sample, which is smaller here than what a profile looks at
    assert profiles[0] == profiles[1]
    said = "come from 300 of 401 customers"
    assert said in (sampled / "card.md").read_text()
    scored = repurchase("score", stored, "--home", own, "--out", tmp_path / "scores.parquet")
    assert scored.code == 0, scored.err
    assert scores_of(tmp_path / "scores.parquet").height > 300  # more than those of the sample


def test_a_worker_that_dies_changes_nothing(
    cluster: Any, home: Path, stored: Path, tmp_path: Path, repurchase: Callable[..., Any]
) -> None:
    words = [stored, "--home", home]
    assert repurchase("score", *words, "--out", tmp_path / "here.parquet").code == 0
    killed, over = threading.Event(), threading.Event()

    def kill() -> None:  # as soon as it has finished a partition, which is lost with it
        while not over.is_set():
            if cluster.kept_blocks(1):
                cluster.kill(1)
                killed.set()
                return
            over.wait(0.02)

    assassin = threading.Thread(target=kill)
    assassin.start()
    try:
        there = repurchase("score", *words, "--out", tmp_path / "there.parquet", *cluster.words)
    finally:
        over.set()
        assassin.join(timeout=60)
    assert killed.is_set(), "the job was over before the worker had finished anything"
    assert there.code == 0, there.err
    require_same(tmp_path / "here.parquet", tmp_path / "there.parquet")
    assert cluster.status()["aliveworkers"] < 2 or cluster.workers[1].returncode == -9
