"""What Ctrl-C and SIGTERM do: end a job in order, with its exit code and one line; imports nothing that takes long."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType

from repurchase.jobs.logs import asked_format
from repurchase.storage.signals import restore_handlers, set_handlers

__all__ = ["INTERRUPTED", "TERMINATED", "Ended", "end_at_once", "ended_in_order", "ending_words"]

INTERRUPTED, TERMINATED = 130, 143
_WORDS = {INTERRUPTED: "interrupted", TERMINATED: "ended by SIGTERM"}


class Ended(KeyboardInterrupt):
    """A signal: what is held is let go."""


def ending_words(code: int) -> str:
    """Say how a job was ended.

    Parameters
    ----------
    code : int
        130 or 143.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> ending_words(143)
    'ended by SIGTERM; no half-written output was left.'
    """
    return f"{_WORDS[code]}; no half-written output was left."


def end_at_once() -> None:
    """Let a signal end the process where nothing was begun, such as while it imports; an ignored one stays ignored."""

    def end(number: int, _frame: FrameType | None) -> None:
        code = 128 + number
        with suppress(OSError):
            os.write(2, f"{_line(code)}\n".encode())
        os._exit(code)  # an exception may be swallowed, or garbled, by what is being imported

    set_handlers(end)


def _line(code: int) -> str:
    words = ending_words(code)
    if asked_format(sys.argv[1:]) != "json":
        return f"repurchase: {words}"
    when = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
    line = {"time": when, "level": "error", "event": "error", "exit_code": code, "error": "Interrupted"}
    return json.dumps({**line, "message": words, "logger": "repurchase"})


@contextmanager
def ended_in_order() -> Iterator[list[int]]:
    """Let signals raise `Ended` within.

    Yields
    ------
    list of int
        Exit codes of the signals that came; libraries may make another exception of the one that was raised.
    """
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(128 + number)
        raise Ended

    before = set_handlers(end)
    try:
        yield came
    finally:
        restore_handlers(before)
