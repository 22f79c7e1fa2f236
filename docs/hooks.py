"""Pages of the site that are generated: the command-line reference, the changelog, and the tables of the benchmarks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from repurchase.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
COPIES = {
    "changelog.md": "CHANGELOG.md",
    "benchmarks/accuracy.md": "benchmarks/accuracy/results/accuracy.md",
    "benchmarks/findings.md": "benchmarks/FINDINGS.md",
    "benchmarks/speed.md": "benchmarks/speed/results/speed.md",
    "benchmarks/uplift.md": "benchmarks/uplift.md",
    "benchmarks/refill.md": "benchmarks/refill.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the decision records to the navigation."""
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "index.md")
    pages = ["decisions/index.md", *(f"decisions/{name}" for name in records)]
    config.nav = [{"Decisions": pages} if "Decisions" in entry else entry for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for page, source in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "reference/cli.md", content=command_reference()))
    return files


def command_reference() -> str:
    """Describe every command and option, in Markdown."""
    begin = "# Command line\n\nAll commands take `--log-format text|json`, `--log-values` and `--help`.\n"
    return "\n".join([begin, *_sections(typer.main.get_command(app), "repurchase")])


def _sections(command: Any, name: str) -> Iterator[str]:
    commands = getattr(command, "commands", {})
    if not commands:
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        words = [name, *(one.metavar if one.required else f"[{one.metavar}]" for one in arguments), "[OPTIONS]"]
        yield f"## {name}\n\n{command.help}\n\n```\n{' '.join(words)}\n```\n"
        yield from _tables(command)
    for word, child in commands.items():
        yield from _sections(child, f"{name} {word}")


def _tables(command: Any) -> Iterator[str]:
    panels: dict[str, list[str]] = {}
    for one in command.params:
        if one.name not in {"log_format", "log_values"}:
            title, row = _row(one)
            panels.setdefault(title, []).append(row)
    for title, rows in panels.items():
        yield "\n".join([f"| {title} | | default |", "|---|---|---|", *rows, ""])


def _row(parameter: Any) -> tuple[str, str]:
    is_argument = parameter.param_type_name == "argument"
    title = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
    value = parameter.metavar or "|".join(_choices(parameter.type_descriptor.annotation))
    name = value if is_argument else " ".join([", ".join([*parameter.opts, *parameter.secondary_opts]), value]).strip()
    default = "required" if parameter.required else _default(parameter.default)
    return title, f"| `{name}` | {_escaped(parameter.help)} | {default} |"


def _choices(annotation: Any) -> Iterator[str]:
    for part in (annotation, *get_args(annotation)):
        yield from get_args(part) if get_origin(part) is Literal else ()


def _default(value: Any) -> str:
    return "" if value is None or value is False or callable(value) else f"`{value}`"


def _escaped(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
