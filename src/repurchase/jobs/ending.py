"""What Ctrl-C and SIGTERM do: end a job in order, with its exit code and one line; imports nothing that takes long."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["INTERRUPTED", "SIGNALS", "TERMINATED", "Ended", "end_at_once", "ended_in_order", "ending_words", "unbroken"]

INTERRUPTED, TERMINATED = 130, 143
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WORDS = {INTERRUPTED: "interrupted", TERMINATED: "ended by SIGTERM"}

Handler = Callable[[int, FrameType | None], object]


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
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"repurchase: {ending_words(code)}\n".encode())
        os._exit(code)  # an exception may be swallowed, or garbled, by what is being imported

    _handle(end)


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

    before = _handle(end)
    try:
        yield came
    finally:
        _restore(before)


@contextmanager
def unbroken() -> Iterator[None]:
    """Let signals wait until a few files are moved or removed, so that a second Ctrl-C leaves no less in order.

    Yields
    ------
    None
        Signals that come are raised at the end.
    """
    held: list[int] = []
    before = _handle(lambda number, _frame: held.append(number), only_ours=True)
    try:
        yield
    finally:
        _restore(before)
        for number in held[:1]:
            signal.raise_signal(number)


def _handle(handler: Handler, *, only_ours: bool = False) -> dict[int, Handler]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # Python's signals come to the main thread
    found = {number: signal.getsignal(number) for number in SIGNALS}
    before: dict[int, Handler] = {}
    for number, handled in found.items():
        if handled is signal.SIG_IGN or (only_ours and not callable(handled)):
            continue
        before[number] = handled  # type: ignore[assignment]
        signal.signal(number, handler)
    return before


def _restore(before: dict[int, Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
