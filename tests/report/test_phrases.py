"""What the model says is known in every language: segments, actions, and every reason it can make."""

import re
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from repurchase.i18n.catalogues import LOCALES, load_catalogue, use_locale
from repurchase.models.explanations import DIRECTIONS
from repurchase.models.reason_texts import FigureTexts, _reason_expressions
from repurchase.models.segments import ACTIONS, RISK_BANDS, SEGMENTS
from repurchase.report.record_texts import SEGMENT_KEYS, action_name, band_name, segment_name, translate_reason

OTHERS = [name for name in LOCALES if name != "en"]


class Told:
    """As much of an explanation as its words need."""

    usual: ClassVar = {
        "rate": 0.01,
        "spend_typical": 37.5,
        "frequency": 1.0,
        "days_since_last": 60.0,
        "days_bought_365d": 2.0,
    }


@pytest.fixture(scope="module")
def reasons() -> list[str]:
    """Every reason of customers with all kinds of figures, money below and above 100."""
    rng = np.random.default_rng(5)
    n = 4000
    days = rng.choice([0, 1, 2, 30, 84, 365, 366, 400, 1200, 3000], n).astype(float)
    figures = {
        "frequency": rng.choice([0, 1, 2, 3, 11, 20], n).astype(float),
        "age_days": days + rng.choice([0, 1, 40, 500, 2000], n),
        "days_since_last": days,
        "rate": rng.choice([0.001, 0.1], n),
        "gap_median_days": rng.choice([0.5, 1.0, 1.5, 2, 21, 101, 400, 1500], n),
        "gap_longest_days": rng.choice([1.0, 22, 111, 500, 1500], n),
        "days_bought_90d": rng.choice([0.0, 1, 2, 5, 21], n),
        "days_bought_90d_before": rng.choice([0.0, 1, 4, 12], n),
        "days_bought_365d": rng.choice([0.0, 1, 3, 22], n),
        "spend_typical": rng.choice([0.5, 12.25, 99.99, 100.0, 1234.6, 1e6], n),
    }
    phrases, rows, told = FigureTexts(figures), np.arange(n), set()
    for pair in _reason_expressions(Told()).values():  # type: ignore[arg-type]
        for side, text in zip(DIRECTIONS, pair, strict=True):
            sentence = pl.format("{} risk: {}", pl.lit(side), text)
            told |= set(phrases.of(rows, sentence.meta.root_names()).select(words=sentence)["words"].drop_nulls())
    return sorted(told)


def test_every_reason_is_recognised_and_english_says_it_again(reasons: list[str]) -> None:
    assert len(reasons) > 500
    for reason in reasons:
        assert re.sub(r"(?<=\d),(?=\d{3})", "", translate_reason(reason)) == reason


@pytest.mark.parametrize("locale", OTHERS)
def test_every_reason_is_said_in_every_language(reasons: list[str], locale: str) -> None:
    english = {
        "risk",
        "order",
        "ago",
        "usually",
        "purchase",
        "purchases",
        "days",
        "day",
        "months",
        "year",
        "years",
        "the",
        "every",
        "here",
    }
    with use_locale(locale):
        for reason in reasons:
            told = translate_reason(reason)
            assert not set(re.findall(r"[a-zA-Z]+", told)) & english, told
            digits = [re.sub(r"\D", "", number) for number in re.findall(r"\d[\d.]*", reason)]
            left = re.sub(r"\D", "", told)
            assert all(number in left for number in digits), (reason, told)


def test_every_template_is_met(reasons: list[str]) -> None:
    with use_locale("ru"):
        told = " | ".join(translate_reason(reason) for reason in reasons)
    for key, text in load_catalogue("ru").messages.items():
        if key.startswith("reason.") and key != "reason.nothing":
            for part in re.split(r"\{\w+\}", str(text)):
                assert part.strip(" ,") in told, key


@pytest.mark.parametrize("locale", LOCALES)
def test_names_and_actions_are_known(locale: str) -> None:
    with use_locale(locale):
        for names, name_of in ((SEGMENTS, segment_name), (ACTIONS.values(), action_name), (RISK_BANDS, band_name)):
            told = [name_of(name) for name in names]
            assert len(set(told)) == len(told)
            assert (told == list(names)) == (locale == "en")
    assert set(SEGMENT_KEYS) == set(SEGMENTS)


def test_words_of_another_version_are_shown_as_they_stand() -> None:
    with use_locale("nl"):
        assert translate_reason("lowers risk: likes the colour") == "verlaagt het risico: likes the colour"
        assert translate_reason("likes the colour") == "likes the colour"
        assert segment_name("odd") == action_name("odd") == band_name("odd") == "odd"
