"""Signals that wait while files are moved; imports nothing that takes long."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SIGNALS", "Handler", "deferred_signals", "restore_handlers", "set_handlers"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object]


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let signals wait until a few files are moved or removed, so that a second Ctrl-C leaves no less in order.

    Yields
    ------
    None
        Signals that come are raised at the end.
    """
    held: list[int] = []
    before = set_handlers(lambda number, _frame: held.append(number), only_callable=True)
    try:
        yield
    finally:
        restore_handlers(before)
        for number in held[:1]:
            signal.raise_signal(number)


def set_handlers(handler: Handler, *, only_callable: bool = False) -> dict[int, Handler]:
    """Handle SIGINT and SIGTERM; an ignored one stays ignored.

    Parameters
    ----------
    handler : callable
        Gets the signal's number and the frame.
    only_callable : bool
        Whether signals that Python does not handle are left alone.

    Returns
    -------
    dict of int to callable
        The handlers before; none outside the main thread, where Python gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in SIGNALS}
    before: dict[int, Handler] = {}
    for number, handled in found.items():
        if handled is signal.SIG_IGN or (only_callable and not callable(handled)):
            continue
        before[number] = handled  # type: ignore[assignment]
        signal.signal(number, handler)
    return before


def restore_handlers(before: dict[int, Handler]) -> None:
    """Put handlers back.

    Parameters
    ----------
    before : dict of int to callable
        From `set_handlers`.
    """
    for number, handler in before.items():
        signal.signal(number, handler)
