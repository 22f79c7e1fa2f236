"""The rules that no linter checks: who imports whom, what is documented, and that the documentation is true."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer

import repurchase
import repurchase.cli.app
import repurchase.settings
from repurchase.schemas import scores_table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "repurchase"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *DOCS)

LAYERS = (
    "errors",
    "validation",
    "settings",
    "schemas",
    "i18n",
    "storage",
    "sources",
    "orders",
    "features",
    "models",
    "evaluation",
    "registry",
    "marketing",
    "campaigns",
    "report",
    "jobs",
    "spark",
    "cli",
)
"""A package may import those before it."""
HEAVY = {
    "babel",
    "duckdb",
    "jinja2",
    "joblib",
    "lifetimes",
    "matplotlib",
    "mlflow",
    "pandas",
    "polars",
    "psycopg",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
}

Definition = ast.FunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module imported anywhere in a file, lazy imports and those for type checkers included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


# Who imports whom


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_one_way() -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        for name in imported(tree_of(path))
        if name.startswith("repurchase.") and layer_of(path) in LAYERS
        if LAYERS.index(name.split(".")[1]) > LAYERS.index(layer_of(path))
    ]
    assert wrong == []


def test_every_package_has_its_layer() -> None:
    inside = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert inside - {"__init__"} == set(LAYERS)


def users_of(library: str) -> set[str]:
    return {name_of(path) for path in MODULES if library in {name.split(".")[0] for name in imported(tree_of(path))}}


def test_a_library_that_may_be_replaced_lives_in_one_place() -> None:
    users = users_of("mlflow")
    assert users
    assert [user for user in users if not user.startswith("registry/")] == []


def test_lifetimes_is_a_second_opinion_and_no_part() -> None:
    assert users_of("lifetimes") == set()


def test_the_command_line_starts_light() -> None:
    code = f"import sys, repurchase.cli.app; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


# What is written, and how


def test_no_print_and_no_assert() -> None:
    nodes = [(name_of(path), node) for path in MODULES for node in ast.walk(tree_of(path))]
    assert [(name, node.lineno) for name, node in nodes if isinstance(node, ast.Assert)] == []
    assert [(name, node.lineno) for name, node in nodes if isinstance(node, ast.Name) and node.id == "print"] == []


def test_public_names() -> None:
    assert sorted(repurchase.__all__) == ["RepurchaseModel", "clean_orders", "read_orders"]
    assert set(repurchase._HOMES) == set(repurchase.__all__)
    for name, home in repurchase._HOMES.items():
        assert hasattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        repurchase.predict  # noqa: B018


DOCUMENTED = {*repurchase._HOMES.values(), "repurchase.schemas", "repurchase.settings"}
"""Modules of the public API, whose public names need full docstrings."""


def public_definitions() -> Iterator[tuple[str, Definition]]:
    for path in MODULES:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        exported = {name for name, home in repurchase._HOMES.items() if home == module}
        for node in tree_of(path).body if module in DOCUMENTED else ():
            if isinstance(node, Definition) and (node.name in exported or (not exported and node.name[0] != "_")):
                yield f"{name_of(path)}:{node.name}", node


def parameters(node: Definition) -> list[str]:
    """Names that a caller gives; a data class takes its fields."""
    if isinstance(node, ast.FunctionDef):
        a = node.args
        given = [
            *a.posonlyargs,
            *a.args,
            *a.kwonlyargs,
            *([a.vararg] if a.vararg else []),
            *([a.kwarg] if a.kwarg else []),
        ]
        return [one.arg for one in given if one.arg not in {"self", "cls"}]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return [ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)]
    makers = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    return [name for maker in makers for name in parameters(maker)]


def sections(docstring: str) -> dict[str, str]:
    """A numpydoc docstring's sections, by their underlined headings."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented_parameters(text: str) -> set[str]:
    heads = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", text, flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def undocumented(node: Definition) -> list[str]:
    described = sections(ast.get_docstring(node) or "")
    missing = sorted(set(parameters(node)) - documented_parameters(described.get("Parameters", "")))
    returns = isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) != "None"
    if returns and not {"Returns", "Yields"} & set(described):
        missing.append("what it returns")
    return missing if ast.get_docstring(node) else ["docstring"]


def test_public_things_are_documented() -> None:
    definitions = dict(public_definitions())
    assert len(definitions) > 5
    assert {name: undocumented(node) for name, node in definitions.items() if undocumented(node)} == {}


def test_a_missing_description_is_noticed() -> None:
    tree = ast.parse(
        'def f(a, *, b=1) -> int:\n    """Do.\n\n    Parameters\n    ----------\n    a : int\n        A.\n    """'
    )
    assert undocumented(tree.body[0]) == ["b", "what it returns"]


def test_references_in_docstrings_lead_somewhere() -> None:
    packages = "|".join(LAYERS)
    pattern = re.compile(rf"`((?:{packages})\.\w+)(?:\.(\w+))?`")
    found = [(name_of(path), match) for path in MODULES for match in pattern.finditer(path.read_text(encoding="utf-8"))]
    assert len(found) > 10
    lost = []
    for name, match in found:
        package, _, inner = match[1].partition(".")
        module = import_module(f"repurchase.{package}")
        target = getattr(module, inner, None) or import_module_or_none(f"repurchase.{match[1]}")
        if target is None or (match[2] and not hasattr(target, match[2])):
            lost.append((name, match[0]))
    assert lost == []


def import_module_or_none(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def test_every_module_has_a_docstring() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))] == []


# The command line and its documentation


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(typer.main.get_command(repurchase.cli.app.app)))


def test_every_command_and_option_has_help() -> None:
    assert len(COMMANDS) > 5
    assert [name for name, command in COMMANDS.items() if not command.help] == []
    options = [(name, one) for name, command in COMMANDS.items() for one in command.params if one.name != "help"]
    assert [(name, one.name) for name, one in options if not one.help] == []


def shell_calls(text: str) -> Iterator[tuple[str, set[str]]]:
    """Every command that is shown in a block for a shell, with its options."""
    for block in re.findall(r"```(?:bash|sh|console|cron)\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for name, rest in re.findall(r"\brepurchase ((?:models |campaign )?[a-z]+)\b([^#|;]*)", line):
                yield name, set(re.findall(r"(?<!\S)--[a-z][a-z-]+", rest))


def options_of(command: Any) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("name", PAGES)
def test_commands_shown_exist_and_take_their_options(name: str) -> None:
    calls = list(shell_calls(page(name)))
    assert [command for command, _ in calls if command not in COMMANDS] == []
    assert [
        (command, options - options_of(COMMANDS[command]))
        for command, options in calls
        if options - options_of(COMMANDS[command])
    ] == []


def test_the_readme_shows_the_main_commands() -> None:
    assert {name for name, _ in shell_calls(page("README.md"))} >= {
        "check",
        "train",
        "score",
        "report",
        "lists",
        "monitor",
    }
    assert len(page("README.md").splitlines()) < 150


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_options_named_exist(name: str) -> None:
    known = {option for command in COMMANDS.values() for option in options_of(command)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page(name)))
    assert named <= known | {"--help", "--version", "--install-completion", "--show-completion", "--now"}


def test_make_targets_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", page("Makefile"), flags=re.MULTILINE))
    named = {target for name in PAGES for target in re.findall(r"`?make ([a-z-]+)", code_of(page(name)))}
    assert {"demo", "test"} <= named
    assert named <= targets


def code_of(text: str) -> str:
    """What stands between backticks, in lines or in blocks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run make with a program that prints its arguments, each on a line."""
    program = tmp_path / "repurchase"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    (tmp_path / "stamp").touch()
    variables = {"BIN": tmp_path, "STAMP": tmp_path / "stamp"}
    plain = {name: value for name, value in os.environ.items() if name not in {"ORDERS", "OUT", "ARGS", "HOME_DIR"}}

    def make(target: str, **further: object) -> "subprocess.CompletedProcess[str]":
        assignments = [f"{name}={value}" for name, value in (variables | further).items()]
        command = ["make", "--no-print-directory", target, *assignments]
        return subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)

    return make


@pytest.mark.parametrize(
    "orders", ["my orders.csv", 'it\'s "mine".csv', "orders/*.csv", "https://shop.example/a?b=c&d=e;f#g", "a,b (1).csv"]
)
@pytest.mark.parametrize("target", ["check", "train", "score", "monitor", "report"])
def test_make_hands_on_orders_as_one_word(
    made: Callable[..., "subprocess.CompletedProcess[str]"], target: str, orders: str
) -> None:
    outcome = made(target, ORDERS=orders, HOME_DIR="my shop", ARGS="--columns 'amount=Total paid'")

    assert outcome.returncode == 0, outcome.stderr
    words = outcome.stdout.splitlines()
    assert orders in words
    assert words[words.index("--home") + 1] == "my shop"
    assert words[-2:] == ["--columns", "amount=Total paid"]


def test_make_knows_the_folder_of_the_user_and_refuses_options_among_orders(
    made: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    assert made("check", ORDERS="~/my orders.csv").stdout.splitlines()[1] == f"{os.environ['HOME']}/my orders.csv"
    outcome = made("train", ORDERS="shop.sqlite --table orders")
    assert outcome.returncode == 2
    assert 'they go into ARGS: make train ORDERS=shop.sqlite ARGS="--table orders"' in outcome.stdout
    assert "ORDERS is missing" in made("train").stdout


def test_every_make_target_has_help() -> None:
    phony = set(re.findall(r"^\.PHONY: (\S+)", page("Makefile"), flags=re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", page("Makefile"), flags=re.MULTILINE))
    assert phony - described <= {"orders-given"}


def test_every_column_of_the_scores_is_explained() -> None:
    text = code_of(page("docs/reference/scores.md"))
    unexplained = [name for name in scores_table([90]).names if f"`{name.replace('90d', '{h}d')}`" not in text]
    assert unexplained == []


def test_every_setting_is_described() -> None:
    described = page("docs/reference/settings.md")
    names = [item.name for item in fields(repurchase.settings.Settings) if item.name != "home"]
    assert [name for name in names if not re.search(rf"^(?:\[{name}\]|{name} = )", described, re.MULTILINE)] == [
        "lists"
    ]
    assert "`[lists]`" in described


def generated_pages() -> set[Path]:
    """Pages of the site that are made when it is built."""
    names = re.findall(r'^    "([a-z/]+\.md)": ', page("docs/hooks.py"), flags=re.MULTILINE)
    return {ROOT / "docs" / name for name in (*names, "reference/cli.md")}


@pytest.mark.parametrize("name", PAGES)
def test_links_inside_the_repository_lead_somewhere(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page(name)) if "://" not in link]
    targets = {link: ((ROOT / name).parent / link).resolve() for link in links}
    assert [link for link, path in targets.items() if not path.exists() and path not in generated_pages()] == []


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r": ([a-z/_]+\.md)|- ([a-z/_]+\.md)", page("mkdocs.yml")))
    listed = {f"docs/{one or other}" for one, other in named}
    assert [name for name in DOCS if name not in listed and not name.startswith("docs/decisions/")] == []


def test_every_decision_is_in_the_index() -> None:
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", page("docs/decisions/index.md")))
    assert {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"index.md"} == listed


# Dependencies, versions, notebooks


def requirement_names() -> list[str]:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    needed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower() for requirement in needed]


def test_every_dependency_has_a_reason() -> None:
    contributing = page("CONTRIBUTING.md")
    names = requirement_names()
    assert [name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", contributing, re.IGNORECASE)] == []


def test_every_dependency_is_locked_with_hashes() -> None:
    entries = re.split(r"^(?=\S)", page("requirements-dev.lock"), flags=re.MULTILINE)
    locked = {entry.split("==")[0]: entry.count("--hash=sha256:") for entry in entries if "==" in entry}
    assert [name for name in requirement_names() if not locked.get(name)] == []
    assert [name for name, hashes in locked.items() if not hashes] == []


def test_one_version_everywhere() -> None:
    version = tomllib.loads(page("pyproject.toml"))["project"]["version"]
    assert repurchase.__version__ == version
    assert f"## [{version}]" in page("CHANGELOG.md")


def test_there_are_three_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_look_at_orders", "02_train_and_compare", "03_read_the_scores"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
