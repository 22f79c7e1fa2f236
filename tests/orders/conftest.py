"""Orders taken in as a job does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repurchase.i18n.messages import render
from repurchase.jobs.order_intake import OrderCheck, check_orders, load_orders
from repurchase.settings import Settings


@pytest.fixture
def taken_in(tmp_path: Path) -> Callable[..., tuple[tuple[str, ...], float]]:
    """Notes and net sales of a log."""

    def take(source: Path, **settings: object) -> tuple[tuple[str, ...], float]:
        own = Settings(**settings)  # type: ignore[arg-type]
        taken = load_orders(str(source), settings=own, folder=tmp_path / "work")
        return tuple(render(note, locale="en") for note in taken.report.notes), taken.cleaning.counts.sales_total

    return take


@pytest.fixture
def checked(tmp_path: Path) -> Callable[..., OrderCheck]:
    """What ``check`` finds."""

    def check(source: Path, **settings: object) -> OrderCheck:
        own = Settings(**settings)  # type: ignore[arg-type]
        return check_orders(str(source), settings=own, folder=tmp_path / "work")

    return check
