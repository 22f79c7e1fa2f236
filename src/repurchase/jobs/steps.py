"""Tell whoever watches what a job is doing: bars in a terminal, log lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["LogSteps", "Steps"]

logger = logging.getLogger("repurchase")


class Steps(Protocol):
    """Someone who watches a job."""

    timings_seconds: dict[str, float]

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Say that a step runs, and how long it took.

        Parameters
        ----------
        name : str
            In words.

        Yields
        ------
        dict of str to int
            Filled by the step with what it counted.
        """

    def progress(self, done: int, total: int) -> None:
        """Say how far the current step is.

        Parameters
        ----------
        done, total : int
            Parts of it.
        """


class LogSteps:
    """Log lines: one when a step ends, and one at every part of a long one."""

    def __init__(self) -> None:
        self.timings_seconds: dict[str, float] = {}
        self._name = ""

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Log a step when it ends.

        Parameters
        ----------
        name : str
            In words.

        Yields
        ------
        dict of str to int
            Filled by the step with what it counted.
        """
        self._name = name
        counts: dict[str, int] = {}
        begin = time.perf_counter()
        yield counts
        seconds = self.timings_seconds[name] = round(time.perf_counter() - begin, 3)
        about = {"event": "step", "step": name, "seconds": seconds, "counts": counts}
        logger.info("%s: done in %.1f s", name, seconds, extra=about)

    def progress(self, done: int, total: int) -> None:
        """Log how far the current step is.

        Parameters
        ----------
        done, total : int
            Parts of it.
        """
        if 0 < done < total:
            about = {"event": "progress", "step": self._name, "done": done, "total": total}
            logger.info("%s: %d of %d", self._name, done, total, extra=about)
