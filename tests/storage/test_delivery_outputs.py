"""What an output may replace: nothing that is read, nothing of the models, only what was written as its kind."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.jobs.outputs import MONITOR_OUTPUT, economics_outputs, score_outputs
from repurchase.storage.delivery import (
    EXPORTED_MODEL_OUTPUT,
    PAGE_OUTPUT,
    OutputKind,
    parquet_metadata,
    require_distinct_paths,
    require_outside_registry,
    require_replaceable,
)
from repurchase.storage.json_files import read_json

SCORES = pl.DataFrame({"customer_id": ["1"], "as_of": ["2024-01-01"], "model_version": ["1"], "status": ["scored"]})
ORDERS = pl.DataFrame({"customer_id": ["1"], "order_date": ["2024-01-01"], "amount": [1.0]})
ASIDE = pl.DataFrame({"customer_id": ["1"], "reason": ["return"]})


def write(path: Path, content: pl.DataFrame | str | bytes, mark: str | None = None) -> Path:
    if isinstance(content, pl.DataFrame) and path.suffix == ".csv":
        content.write_csv(path)
    elif isinstance(content, pl.DataFrame):
        content.write_parquet(path, metadata=parquet_metadata(mark) if mark else None)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_record(folder: Path, **outputs: str) -> None:
    named = {name: {"path": path} for name, path in outputs.items()}
    write(folder / "scores.run.json", json.dumps({"schema": 1, "command": "score", "outputs": named}))


# JSON that anyone may have written


def test_json_is_bounded(tmp_path: Path) -> None:
    deep, large, pipe = (tmp_path / name for name in ("deep.json", "large.json", "pipe.json"))
    deep.write_text("[" * 100_000)
    with large.open("wb") as file:
        file.truncate((1 << 28) + 1)
    os.mkfifo(pipe)

    for path, why in ((deep, "nested too deeply"), (large, "bytes, more than"), (pipe, "no regular file")):
        with pytest.raises(ValueError, match=why):
            read_json(path)
    assert read_json(write(tmp_path / "whole.json", "[1]")) == [1]


# What is read


def test_an_input_is_found_under_any_name(tmp_path: Path) -> None:
    orders = write(tmp_path / "orders.csv", ORDERS)
    os.link(orders, tmp_path / "hard.csv")
    (tmp_path / "soft.csv").symlink_to(orders)
    (tmp_path / "way").symlink_to(tmp_path)

    for name in ("orders.csv", "hard.csv", "soft.csv", "way/orders.csv"):
        with pytest.raises(InputError, match="one of the inputs"):
            require_distinct_paths([tmp_path / "new.csv", tmp_path / name], [orders])
    require_distinct_paths([tmp_path / "new.csv"], [orders, tmp_path / "nowhere.csv"])


@pytest.mark.parametrize("source", ["log", "log/*.csv", "log/**/*.csv", "link"])
def test_so_it_is_in_a_folder_or_by_a_pattern(tmp_path: Path, source: str) -> None:
    (tmp_path / "log" / "2024").mkdir(parents=True)
    member = write(tmp_path / "log" / "2024" / "may.csv", ORDERS)
    first = write(tmp_path / "log" / "april.csv", ORDERS)
    (tmp_path / "link").symlink_to(tmp_path / "log")

    with pytest.raises(InputError, match=r"april\.csv"):
        require_distinct_paths([first], [tmp_path / source])
    if source != "log/*.csv":
        with pytest.raises(InputError, match=r"may\.csv"):
            require_distinct_paths([member], [tmp_path / source])
    require_distinct_paths([tmp_path / "log" / "june.csv"], [tmp_path / source])


def test_an_input_in_a_folder_that_goes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    contacted = write(tmp_path / "lists" / "all.csv", ORDERS)

    with pytest.raises(InputError, match=r"all\.csv in .*lists is one of the inputs and would be overwritten"):
        require_distinct_paths([tmp_path / "lists"], [contacted])
    require_distinct_paths([tmp_path / "list"], [contacted])


# The models


@pytest.mark.parametrize("name", ["models/1/btyd.json", "models/new.json", "mlruns/x.html", "mlruns/a/b/c.json"])
@pytest.mark.parametrize("by_link", [False, True])
def test_nothing_is_written_among_models_and_runs(tmp_path: Path, name: str, by_link: bool) -> None:
    home = tmp_path / "home"
    (home / "models" / "1").mkdir(parents=True)
    (home / "mlruns").mkdir()
    write(home / "models" / "1" / "manifest.json", "{}")
    write(home / "mlruns" / "mlflow.db", "")
    (tmp_path / "way").symlink_to(home)
    out = (tmp_path / "way" if by_link else home) / name

    with pytest.raises(InputError, match="holds models and their runs"):
        require_replaceable({out: PAGE_OUTPUT})


def test_the_home_that_is_used_is_refused_before_it_holds_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds models"):
        require_outside_registry(tmp_path / "models" / "page.html", home=tmp_path)
    require_outside_registry(tmp_path / "models" / "page.html")
    require_outside_registry(tmp_path / "models.html", home=tmp_path)


# Kinds


def scores_kind(path: Path) -> OutputKind:
    return score_outputs(path)[path]


OURS: dict[str, tuple[str, Callable[[Path], OutputKind], Callable[[Path], object]]] = {
    "scores": ("scores.parquet", scores_kind, lambda path: write(path, SCORES, "scores")),
    "a record": (
        "scores.run.json",
        lambda path: score_outputs(path.with_name("scores.parquet"))[path],
        lambda path: write_record(path.parent, scores="scores.parquet"),
    ),
    "set-aside rows": (
        "scores.quarantine.parquet",
        lambda path: score_outputs(path.with_name("scores.parquet"))[path],
        lambda path: write(path, ASIDE, "quarantine"),
    ),
    "a monitor record": (
        "scores.monitor.json",
        lambda _: MONITOR_OUTPUT,
        lambda path: write(path, '{"command": "monitor", "schema": 1}'),
    ),
    "a page": (
        "report.html",
        lambda _: PAGE_OUTPUT,
        lambda path: write(path, '<!doctype html>\n<meta name="generator" content="repurchase 0.1.0">'),
    ),
    "a page of an earlier version": (
        "report.html",
        lambda _: PAGE_OUTPUT,
        lambda path: write(path, "<html><head><title>Who will buy again</title>"),
    ),
    "a model": (
        "model.joblib",
        lambda _: EXPORTED_MODEL_OUTPUT,
        lambda path: write(path, zlib.compress(b"\x80\x04\x95crepurchase.models.model\nRepurchaseModel\n")),
    ),
}
THEIRS: dict[str, pl.DataFrame | str | bytes] = {
    "orders": ORDERS,
    "a monitor record": '{"command": "monitored", "schema": 1}',
    "a list": "[1, 2]",
    "deep": "[" * 100_000,
    "text": "Kunde;Dato\n1;2024-01-01\n",
    "a page": "<html><title>Who buys</title>",
    "bytes": b"\x00\xff" * 50,
    "nothing": b"",
}


@pytest.mark.parametrize("kind", OURS)
def test_what_was_written_as_this_kind_is_replaced_and_nothing_else(tmp_path: Path, kind: str) -> None:
    name, kind_of, lay_out = OURS[kind]
    path = tmp_path / name
    expected = kind_of(path)

    require_replaceable({path: expected})
    for content in THEIRS.values():
        write(path, content)
        with pytest.raises(InputError, match=r"not written as .* and is not replaced"):
            require_replaceable({path: expected})
    lay_out(path)
    require_replaceable({path: expected})
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    require_replaceable({path: expected})
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        require_replaceable({path: expected})


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_tables_without_a_mark_are_recognised_by_the_record_beside_them(tmp_path: Path, name: str) -> None:
    """CSV, and Parquet of earlier versions."""
    path = write(tmp_path / name, SCORES)
    with pytest.raises(InputError):
        require_replaceable(score_outputs(path))
    write_record(tmp_path, scores="others.parquet")
    with pytest.raises(InputError):
        require_replaceable(score_outputs(path))

    write_record(tmp_path, scores=name)
    require_replaceable(score_outputs(path))

    write(path, ORDERS)
    with pytest.raises(InputError):
        require_replaceable(score_outputs(path))


def test_set_aside_rows_of_earlier_versions_are_recognised(tmp_path: Path) -> None:
    write(tmp_path / "scores.quarantine.parquet", ASIDE)
    with pytest.raises(InputError, match=r"quarantine\.parquet: what lies there"):
        require_replaceable(score_outputs(tmp_path / "scores.parquet"))

    write_record(tmp_path, quarantine="scores.quarantine.parquet")
    require_replaceable(score_outputs(tmp_path / "scores.parquet"))


def test_economics_replaces_its_table_and_pictures_beside_its_record_alone(tmp_path: Path) -> None:
    out = tmp_path / "worth.json"
    written = {".csv": "what,assumption,figure,value\n", ".svg": "<svg></svg>", ".png": b"\x89PNG\r\n"}
    for ending, content in written.items():
        write(out.with_suffix(ending), content)
        with pytest.raises(InputError):
            require_replaceable(economics_outputs(out))
        out.with_suffix(ending).unlink()
    write(out, '{"command": "economics", "schema": 1}')
    for ending, content in written.items():
        write(out.with_suffix(ending), content)
    require_replaceable(economics_outputs(out))

    write(out.with_suffix(".csv"), ORDERS)
    with pytest.raises(InputError, match=r"worth\.csv"):
        require_replaceable(economics_outputs(out))
