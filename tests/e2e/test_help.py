"""Help texts, grouped in panels, and completion in the shell."""

import re
import sys
from pathlib import Path

import pytest

from repurchase.cli.options import PANELS
from repurchase.cli.process import RedactingStream, styled_output

NEWCOMER = ["--out", "--customers", "--columns", "--as-of", "--home", "--dry-run"]


def panels(text: str) -> dict[str, list[str]]:
    """Options by panel, as help shows them."""
    parts = re.split(r"^╭─ (\w+) ─+╮$", text, flags=re.MULTILINE)
    return {
        title: re.findall(r"^│ [* ]*(--[a-z-]+)", body, flags=re.MULTILINE)
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_score_shows_the_options_a_newcomer_needs_first(repurchase):
    shown = panels(repurchase("score", "--help").out)

    assert list(shown) == ["Arguments", "Options", *PANELS[1:]]
    assert sorted(shown["Options"]) == sorted([*NEWCOMER, "--help"])
    assert "--date-order" in shown["Input"]
    assert "--engine" in shown["Engine"]
    assert {"--log-format", "--log-values"} <= set(shown["Advanced"])


@pytest.mark.parametrize("command", ["check", "train", "monitor", "report", "lists", "forget", "economics"])
def test_panels_have_the_same_order_everywhere(repurchase, command):
    titles = [title for title in panels(repurchase(command, "--help").out) if title in PANELS]

    assert titles == [panel for panel in PANELS if panel in titles]
    assert titles


def test_commands_are_summarised_in_a_line(repurchase):
    text = repurchase("--help").out

    assert "│ score      Score customers with a trained model." in text
    assert "│ campaign   Plan a campaign with a control group, and measure its effect." in text


def complete(repurchase, monkeypatch, *words: str) -> list[str]:
    monkeypatch.setenv("_REPURCHASE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["repurchase", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    outcome = repurchase()
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.split()


def test_the_shell_completes_commands_options_and_languages(repurchase, monkeypatch):
    assert complete(repurchase, monkeypatch, "mod") == ["models"]
    assert complete(repurchase, monkeypatch, "score", "--date") == ["--date-order"]
    assert complete(repurchase, monkeypatch, "report", "--locale", "n") == ["nb", "nl"]


def test_completion_is_installed_or_printed(repurchase, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert repurchase("--install-completion", "bash").code == 0
    assert "_REPURCHASE_COMPLETE" in (tmp_path / ".bash_completions" / "repurchase.sh").read_text()
    assert "_REPURCHASE_COMPLETE" in repurchase("--show-completion", "bash").out


def test_a_home_that_cannot_be_written_is_a_line_that_says_what_to_do(repurchase, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))

    outcome = repurchase("--install-completion", "bash")

    assert "repurchase --show-completion" in outcome.line


def test_styles_pass_within_help_only(monkeypatch, tmp_path):
    path = Path(tmp_path / "out.txt")
    with path.open("w") as file:
        monkeypatch.setattr(sys, "stdout", RedactingStream(file))
        sys.stdout.write("\x1b[1mdata\x1b[0m\n")
        with styled_output():
            sys.stdout.write("\x1b[1mhelp\x1b[0m\n")
        sys.stdout.write("\x1b[1mdata\x1b[0m\n")
        sys.stdout.flush()

    assert path.read_text().splitlines() == ["\\x1b[1mdata\\x1b[0m", "\x1b[1mhelp\x1b[0m", "\\x1b[1mdata\\x1b[0m"]
