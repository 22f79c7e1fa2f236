"""docs/guides/nightly.md: its options exist, its log lines have real fields, its exit codes are complete."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer

import repurchase.cli.app
from repurchase.cli import app, orders, process
from repurchase.cli.logs import FIELDS

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "guides" / "nightly.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(repurchase.cli.app.app)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_option_belongs_to_the_command_it_is_given_to() -> None:
    lines = [line for block in re.findall(r"```\w+\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
    found = [(name, set(re.findall(r"(?<!\S)--[a-z-]+", rest))) for line in lines for name, rest in calls(line)]
    assert {name for name, _ in found} >= {"score", "train", "monitor", "report"}
    known = {
        name: {option for one in command.params for option in one.opts} for name, command in GROUP.commands.items()
    }
    assert {name: options - known[name] for name, options in found if options - known[name]} == {}


def calls(line: str) -> list[tuple[str, str]]:
    return re.findall(r"(?:repurchase|\{SHOP\}) ([a-z]+) ([^;|]*)", line)


def test_the_log_lines_shown_have_the_fields_that_are_described() -> None:
    lines = [json.loads(line) for block in blocks("json") for line in block.splitlines()]
    assert [line["event"] for line in lines] == ["step", "error"]
    assert {name for line in lines for name in line} <= {"time", "level", "event", "message", "logger", *FIELDS}


def test_every_exit_code_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, flags=re.MULTILINE)}
    assert explained == {
        0,
        app.EXIT_DEFECT,
        app.EXIT_FAULT,
        orders.EXIT_DRIFTED,
        process.INTERRUPTED,
        process.TERMINATED,
    }


def test_the_dag_runs_the_commands_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with a stand-in for Airflow, which is no dependency: what tasks would do, before templates are filled."""
    made: dict[str, str] = {}

    class Task:
        def __init__(self, *, task_id: str, bash_command: str, **_: Any) -> None:
            made[task_id] = bash_command

        def __rshift__(self, other: "Task") -> "Task":
            return other

    class Dag(SimpleNamespace):
        def __init__(self, *_: Any, **settings: Any) -> None:
            super().__init__(**settings)

        def __enter__(self) -> "Dag":
            return self

        def __exit__(self, *_: object) -> None:
            return None

    for name, content in (("airflow", {"DAG": Dag}), ("airflow.operators.bash", {"BashOperator": Task})):
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "airflow.operators", ModuleType("airflow.operators"))

    (source,) = blocks("python")
    exec(compile(source, "dag.py", "exec"), {})

    assert list(made) == ["score", "report", "monitor", "train"]
    assert "--as-of {{ ds }} --out outputs/scores-{{ ds }}.parquet" in made["score"]
    assert "outputs/scores-{{ macros.ds_add(ds, -91) }}.parquet /data/orders/" in made["monitor"]
    assert all("{{{" not in command for command in made.values())
