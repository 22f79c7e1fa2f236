"""A real run, page and lists in every language: nothing that people read stays English."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repurchase.i18n.catalogues import LOCALES
from repurchase.i18n.messages import render

OTHERS = [name for name in LOCALES if name != "en"]


def messages(run: dict[str, Any]) -> Iterator[Any]:
    """Every message of a record that a page shows."""
    evaluation, cleaning = run["evaluation"], run["cleaning"]
    yield from (evaluation["grade_words"], evaluation["rule"], *evaluation["reasons"], *evaluation["limits"])
    yield from (row["why_not_judged"] for row in evaluation["horizons"] if row["why_not_judged"])
    yield from (*run["notes"], *cleaning["notes"], *(reason["words"] for reason in cleaning["reasons"]))
    yield run["drift"]["words"]


@pytest.mark.parametrize("locale", LOCALES)
def test_the_record_holds_messages_and_no_sentences(scored: Path, locale: str) -> None:
    found = list(messages(json.loads(scored.with_suffix(".run.json").read_text())))
    assert len(found) > 10
    assert all(isinstance(one, dict) for one in found)
    assert [one["key"] for one in found if one["key"] in render(one, locale=locale)] == []


@pytest.mark.parametrize("locale", OTHERS)
def test_the_page_holds_no_english(repurchase: Any, scored: Path, tmp_path: Path, locale: str) -> None:
    page = tmp_path / "page.html"
    outcome = repurchase("report", scored, "--out", page, "--locale", locale)
    assert outcome.code == 0, outcome.err
    text = page.read_text(encoding="utf-8")
    assert f'<html lang="{locale}">' in text
    assert 'lang="en"' not in text
    body = re.sub(r"<(script|style|code).*?</\1>", "", text[text.index("<body>") :], flags=re.DOTALL)
    words = set(re.findall(r"[a-z]+", re.sub(r"<[^>]*>", " ", body).lower()))
    assert not words & {"the", "customers", "with", "bought", "and", "days", "not", "lower", "than", "orders"}


@pytest.mark.parametrize("locale", OTHERS)
def test_the_lists_hold_no_english(repurchase: Any, scored: Path, trained: Any, tmp_path: Path, locale: str) -> None:
    out = tmp_path / "lists"
    outcome = repurchase("lists", scored, "--out", out, "--locale", locale, "--home", trained.home)
    assert outcome.code == 0, outcome.err
    for told in json.loads((out / "lists.json").read_text())["files"]:
        rows = list(csv.reader((out / told["name"]).read_text(encoding="utf-8-sig").splitlines(), delimiter=";"))
        assert rows[0][0] == told["id_column"] != "customer_id"
        words = {word for row in rows for cell in row for word in re.findall(r"[a-z_]+", cell.lower())}
        assert not words & {
            "the",
            "risk",
            "last",
            "only",
            "days",
            "ago",
            "now",
            "yes",
            "customer_id",
            "reach",
            "regular",
        }
