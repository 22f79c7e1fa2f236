"""Bars in a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Self, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from repurchase.jobs.streams import Outlet

__all__ = ["TerminalSteps"]


class TerminalSteps:
    """One line per step, with a bar where its length is known."""

    def __init__(self) -> None:
        self.timings_seconds: dict[str, float] = {}
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(file=cast("IO[str]", Outlet(sys.__stderr__, plain=False))),
        )
        self._task = self._bars.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Show a step while it runs.

        Parameters
        ----------
        name : str
            In words.

        Yields
        ------
        dict of str to int
            Filled by the step with what it counted.
        """
        begin = time.perf_counter()
        self._task = self._bars.add_task(name, total=None)
        yield {}
        self._bars.update(self._task, total=1, completed=1)
        self.timings_seconds[name] = round(time.perf_counter() - begin, 3)

    def progress(self, done: int, total: int) -> None:
        """Show how far the current step is.

        Parameters
        ----------
        done, total : int
            Parts of it.
        """
        self._bars.update(self._task, total=total, completed=done)
