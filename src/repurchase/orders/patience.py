"""Try again what a database could not do just now: with growing pauses, for a stated time, and then no more."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from repurchase.errors import RepurchaseError

__all__ = ["retried"]

Result = TypeVar("Result")

logger = logging.getLogger("repurchase")

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0


def retried(
    action: Callable[[], Result],
    *,
    seconds: float,
    faults: tuple[type[Exception], ...],
    may_pass: Callable[[Exception], bool],
    refuse: Callable[[Exception, str], RepurchaseError],
    shown: str,
) -> Result:
    """Do something, again and again while the fault is one that passes.

    Parameters
    ----------
    action : callable
        What to do, whole each time.
    seconds : float
        How long after the first fault another try may begin.
    faults : tuple of exception types
        What to catch; anything else is a defect.
    may_pass : callable
        Whether a fault is worth another try.
    refuse : callable
        Makes the error to raise of the last fault, and of words about the tries.
    shown : str
        What the log calls the database.

    Returns
    -------
    object
        What the action gave.

    Raises
    ------
    RepurchaseError
        What ``refuse`` made, if the fault does not pass, or not in time.

    Examples
    --------
    >>> def fail() -> None:
    ...     raise TimeoutError("no answer")
    >>> retried(
    ...     fail, seconds=0, faults=(OSError,), may_pass=lambda fault: True, shown="db",
    ...     refuse=lambda fault, tries: RepurchaseError(f"db: {fault}{tries}."))
    Traceback (most recent call last):
        ...
    repurchase.errors.RepurchaseError: db: no answer (1 try within 0 s).
    """
    until: float | None = None
    pause, tries = FIRST_PAUSE_SECONDS, 0
    while True:
        tries += 1
        try:
            return action()
        except faults as fault:
            if not may_pass(fault):
                raise refuse(fault, "") from fault
            now = time.monotonic()
            until = now + seconds if until is None else until
            if now >= until:
                count = f"{tries} {'try' if tries == 1 else 'tries'}"
                raise refuse(fault, f" ({count} within {seconds:g} s)") from fault
            wait = min(pause, until - now)
            logger.warning("%s: %s; trying again in %.2f s", shown, str(fault).strip().splitlines()[0], wait)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
