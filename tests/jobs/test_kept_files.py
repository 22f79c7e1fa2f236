"""No command replaces a file that it did not write as that kind of output, nor one that it reads."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
MONEY = ("--margin", "0.5")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def laid_out(folder: Path) -> dict[str, bytes]:
    """Files that somebody keeps beside scores, and a home with a model."""
    (folder / "orders.csv").write_text("customer_id,order_date,amount\n1,2024-01-01,5\n")
    (folder / "orders.html").write_text("<html><title>Orders</title></html>")
    (folder / "orders.json").write_text('[{"customer_id": 1}]')
    (folder / "other.run.json").write_text('{"schema": 1, "command": "score"}')
    (folder / "models" / "1").mkdir(parents=True)
    (folder / "mlruns").mkdir()
    for name in ("manifest.json", "card.md", "btyd.json"):
        (folder / "models" / "1" / name).write_text("{}")
    (folder / "mlruns" / "mlflow.db").write_text("")
    (folder / "thesis").mkdir()
    (folder / "thesis" / "all.csv").write_text("chapter,pages\n")
    return everything(folder)


COMMANDS = {
    "report": ("report", ("--locale", "en")),
    "economics": ("economics", MONEY),
    "lists": ("lists", ()),
    "plan": ("campaign plan", (*MONEY, "--effect", "5")),
}
TARGETS = {
    "report": ("orders.csv", "orders.html", "other.run.json", "models/1/btyd.json", "mlruns/a.html"),
    "economics": ("orders.json", "other.run.json", "models/1/manifest.json", "models/new.json"),
    "lists": ("thesis", "orders.csv", "models", "models/1", "mlruns/lists"),
    "plan": ("orders.json", "other.run.json", "models/1/btyd.json", "models/may", "mlruns/may.json"),
}


@pytest.mark.parametrize(("command", "target"), [(name, one) for name, targets in TARGETS.items() for one in targets])
def test_what_lies_there_stays(scores: Path, repurchase: Command, command: str, target: str) -> None:
    folder = scores.parent
    before = laid_out(folder)
    words, more = COMMANDS[command]
    home = () if command == "economics" else ("--home", folder)

    outcome = repurchase(*words.split(), scores, "--out", folder / target, *home, *more)

    assert outcome.line.startswith("repurchase: ")
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("command", "beside"),
    [("economics", "x.csv"), ("economics", "x.svg"), ("economics", "x.png")]
    + [("plan", f"x.{end}") for end in ("customers.parquet", "treatment.csv", "control.csv")],
)
def test_what_lies_beside_it_stays(scores: Path, repurchase: Command, command: str, beside: str) -> None:
    folder = scores.parent
    (folder / beside).write_text("customer_id,order_date\n1,2024-01-01\n")
    before = everything(folder)
    words, more = COMMANDS[command]

    outcome = repurchase(*words.split(), scores, "--out", folder / "x.json", *more)

    assert beside in outcome.line
    assert everything(folder) == before


@pytest.mark.parametrize("command", ["report", "economics", "lists"])
def test_its_own_output_is_replaced(scores: Path, repurchase: Command, command: str) -> None:
    out = scores.parent / {"report": "page.html", "economics": "worth.json", "lists": "lists"}[command]
    words, more = COMMANDS[command]

    for _ in range(2):
        outcome = repurchase(*words.split(), scores, "--out", out, *more)
        assert outcome.code == 0, outcome.err


def hard_link(there: Path, name: Path) -> None:
    os.link(there, name)


def soft_link(there: Path, name: Path) -> None:
    name.symlink_to(there)


@pytest.mark.parametrize("link", [hard_link, soft_link])
def test_scores_are_not_overwritten_under_another_name(
    scores: Path, repurchase: Command, link: Callable[[Path, Path], None]
) -> None:
    link(scores, scores.parent / "page.html")
    before = everything(scores.parent)

    outcome = repurchase("report", scores, "--out", scores.parent / "page.html")

    assert "one of the inputs" in outcome.line
    assert everything(scores.parent) == before


@pytest.mark.parametrize("option", ["--contacts", "--contacted", "--since", "--orders"])
def test_lists_do_not_replace_the_folder_that_they_read(scores: Path, repurchase: Command, option: str) -> None:
    assert repurchase("lists", scores, "--out", scores.parent / "lists").code == 0
    before = everything(scores.parent)

    outcome = repurchase("lists", scores, "--out", scores.parent / "lists", option, scores.parent / "lists" / "all.csv")

    assert "one of the inputs" in outcome.line
    assert everything(scores.parent) == before


def test_a_plan_does_not_replace_the_list_that_it_reads(scores: Path, repurchase: Command, tmp_path: Path) -> None:
    listed = tmp_path / "may.treatment.csv"
    listed.write_text("customer_id\nc00001\n")

    outcome = repurchase(
        "campaign", "plan", scores, "--out", tmp_path / "may.json", "--list", listed, "--effect", 5, *MONEY
    )

    assert "one of the inputs" in outcome.line
    assert listed.read_text() == "customer_id\nc00001\n"


def test_monitor_does_not_replace_the_orders_that_it_reads(
    scores: Path, orders: Callable[..., Path], repurchase: Command
) -> None:
    log = orders().rename(scores.with_name("scores.monitor.json"))
    before = log.read_bytes()

    outcome = repurchase("monitor", scores, log)

    assert "one of the inputs" in outcome.line
    assert log.read_bytes() == before


def test_a_measurement_does_not_replace_another_file(
    scores: Path, orders: Callable[..., Path], plan: Command, measure: Command, tmp_path: Path
) -> None:
    plan(scores, tmp_path / "may")
    for name in ("campaign.measured.json", "campaign.outcomes.parquet"):
        (tmp_path / "may" / name).write_text("notes")
        outcome = measure(tmp_path / "may", orders())
        assert name in outcome.line
        assert (tmp_path / "may" / name).read_text() == "notes"
        (tmp_path / "may" / name).unlink()
