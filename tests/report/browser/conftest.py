"""The page in a headless Chromium from the system's packages, driven by Playwright."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.models.segments import ACTIONS, REGULAR
from repurchase.report.page import build_report

LOCALES = ("en", "nb", "nl", "ru")
REASONS = (
    "raises risk: last order 84 days ago, usually every 21 days",
    "lowers risk: 12 purchases in the last year",
    "lowers risk: steady rhythm, about every 21 days",
)
EVIL = '=HYPERLINK("http://evil.example";"<b>look</b>")'


def lacking(why: str) -> None:
    """Skip, or fail where tests must not be skipped."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def shop(scored: pl.DataFrame) -> pl.DataFrame:
    """300 customers in words that the model says, one of whom has an id that would run as a formula."""
    last = pl.int_range(pl.len()) == pl.len() - 1
    return scored.with_columns(
        *(pl.lit(words).alias(f"reason_{place}") for place, words in enumerate(REASONS, start=1)),
        customer_id=pl.when(last).then(pl.lit(EVIL)).otherwise("customer_id"),
        action=pl.lit(ACTIONS[REGULAR]),
    )


@pytest.fixture(scope="session")
def pages(shop: pl.DataFrame, record: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page in every language, drawn once."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for locale in LOCALES:
        made[locale] = folder / f"{locale}.html"
        made[locale].write_text(build_report(shop, record, locale=locale), encoding="utf-8")
    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        lacking("Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        lacking("there is no chromium on the path; install the system's package")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Open the page; what it asked for and complained of is in ``asked`` and ``complaints``."""
    contexts = []

    def visit_page(locale: str = "en", *, width: int = 1280, file: Path | None = None, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda fault: page.complaints.append(str(fault)))
        page.goto((file or request.getfixturevalue("pages")[locale]).as_uri())
        return page

    yield visit_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        lacking("axe-core (axe-playwright-python) is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
