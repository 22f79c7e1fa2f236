"""Every language says everything, with the same figures in it; plurals; and nothing is said that is not used."""

import re
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

import polars as pl
import pytest
from babel.messages.pofile import read_po

from repurchase.errors import InputError
from repurchase.i18n.catalogues import LOCALES, integer_plural_categories, load_catalogue, use_locale
from repurchase.i18n.messages import translate
from repurchase.report import charts
from repurchase.report.page import build_report, write_report

CATALOGUES = files("repurchase.i18n").joinpath("catalogues")
PACKAGE = Path(str(files("repurchase")))
OTHERS = [name for name in LOCALES if name != "en"]


NAMES = (
    r"--[a-z-]+|[a-z]+_[a-z_]+|\[lists\]|repurchase\.toml|repair\.csv|models/|"
    r"CSV|JSON|Parquet|JavaScript|UTF-8|\bID\b|PSI|AUC|BTYD|Metrilo|Yotpo|M?BG/NBD|Gamma-Gamma|\b[A-D]\b"
)
"""What has the same name in every language."""


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def forms(text: Any) -> dict[str, str]:
    return {"": text} if isinstance(text, str) else dict(text)


@pytest.mark.parametrize("locale", OTHERS)
def test_no_language_lacks_a_message_or_a_parameter(locale: str) -> None:
    with CATALOGUES.joinpath(f"{locale}.po").open("rb") as file:
        translated = {one.context: one for one in read_po(file) if one.context and one.string and not one.fuzzy}
    english, other = load_catalogue("en").messages, load_catalogue(locale).messages
    assert set(translated) == set(other) == set(english)
    for key, text in english.items():
        wanted = set().union(*(names(form) for form in forms(text).values())) - {"n"}
        for form in forms(other[key]).values():
            assert names(form) - {"n"} == wanted, key
            assert form, key
        assert isinstance(other[key], str) == isinstance(text, str), key
        source = translated[key].id
        assert source == text or list(source) == list(forms(text).values()), f"{key}: the English text has changed"


@pytest.mark.parametrize("locale", LOCALES)
def test_whatever_counts_has_every_plural_form(locale: str) -> None:
    babel, messages = load_catalogue(locale)
    counting = [text for text in messages.values() if not isinstance(text, str)]
    assert counting
    assert {tuple(text) for text in counting} == {integer_plural_categories(babel)}
    with CATALOGUES.joinpath("messages.pot" if locale == "en" else f"{locale}.po").open("rb") as file:
        assert read_po(file).num_plurals == len(integer_plural_categories(babel))


def test_russian_words_are_russian() -> None:
    allowed = {"people.file", "campaigns.plan_command", "campaigns.measure_command"}
    for key, text in load_catalogue("ru").messages.items():
        for form in forms(text).values():
            bare = re.sub(r"\{[^}]*\}|`[^`]+`|" + NAMES, "", form)
            assert key in allowed or not re.search(r"[A-Za-z]", bare), key


def test_every_message_is_used() -> None:
    """By its key, or by a key that is put together from its beginning and something else."""
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*") if path.suffix in (".py", ".html", ".js")
    )
    messages = load_catalogue("en").messages
    templates = " ".join(form for text in messages.values() for form in forms(text).values())

    def is_used(key: str) -> bool:
        parts = key.split(".")
        beginnings = [f"{'.'.join(parts[:length])}." for length in range(1, len(parts))]
        made = [f"{begin}{sign}" for begin in beginnings for sign in ("{", "$", '"', "'")]
        return (
            f'"{key}"' in sources
            or f"'{key}'" in sources
            or f":{key}}}" in templates
            or any(text in sources for text in made)
            or any(f":{begin}*}}" in templates for begin in beginnings)
        )

    assert [key for key in messages if not is_used(key)] == []


def test_a_language_that_nobody_speaks(tmp_path: Path, scored: pl.DataFrame) -> None:
    scored.write_parquet(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=r"unknown locale 'xx'. Known: en, .*nb, nl, ru"):
        write_report(tmp_path / "scores.parquet", tmp_path / "page.html", locale="xx")
    assert not (tmp_path / "page.html").exists()


def test_english_is_spoken_again_afterwards() -> None:
    with pytest.raises(RuntimeError), use_locale("ru"):
        raise RuntimeError
    assert translate("n.customer", n=1) == "1 customer"


@pytest.mark.parametrize("locale", OTHERS)
def test_what_is_left_in_english_is_marked(
    scored: pl.DataFrame, record: dict[str, Any], locale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    page = build_report(
        scored.with_columns(reason_1=pl.lit(None, pl.String), action=pl.lit(None, pl.String)), record, locale=locale
    )
    assert f'<html lang="{locale}">' in page
    body = re.sub(r"<(script|style).*?</\1>", "", page[page.index("<body>") :], flags=re.DOTALL)
    body = re.sub(r"<(span|ul) lang=\"en\">.*?</\1>|<code>.*?</code>|<footer>.*", "", body, flags=re.DOTALL)
    words = set(re.findall(r"[a-z]+", re.sub(r"<[^>]*>", " ", body).lower()))
    assert words & {"the", "customers", "with", "bought", "and", "risk", "days", "not"} == set()
