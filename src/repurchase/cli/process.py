"""Signals and standard streams of the process; imports nothing that takes long."""

import errno
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import IO, Any

from repurchase.cli.logs import requested_log_format
from repurchase.storage.atomic_files import restore_handlers, set_handlers
from repurchase.storage.redaction import escape_control_characters, redact

INTERRUPTED, TERMINATED = 130, 143
_SIGNAL_MESSAGES = {INTERRUPTED: "interrupted", TERMINATED: "ended by SIGTERM"}


class Interruption(KeyboardInterrupt):
    """A signal: what is held is let go."""


def interruption_message(code: int) -> str:
    """Say how a job was ended."""
    return f"{_SIGNAL_MESSAGES[code]}; no half-written output was left."


def exit_on_signals() -> None:
    """Let a signal end the process where nothing was begun, such as while it imports; an ignored one stays ignored."""

    def end(number: int, _frame: FrameType | None) -> None:
        code = 128 + number
        with suppress(OSError):
            os.write(2, f"{_exit_line(code)}\n".encode())
        os._exit(code)  # an exception may be swallowed, or garbled, by what is being imported

    set_handlers(end)


def _exit_line(code: int) -> str:
    words = interruption_message(code)
    if requested_log_format(sys.argv[1:]) != "json":
        return f"repurchase: {words}"
    when = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
    line = {"time": when, "level": "error", "event": "error", "exit_code": code, "error": "Interrupted"}
    return json.dumps({**line, "message": words, "logger": "repurchase"})


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Let signals raise `Ended` within."""
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(128 + number)
        raise Interruption

    before = set_handlers(end)
    try:
        yield came
    finally:
        restore_handlers(before)


STANDARD_STREAMS = (0, 1, 2)


def open_closed_streams() -> None:
    """Give a process that was started without standard input, output or error the null device in their place.

    Otherwise the next file it opens takes their number, and receives what others print.
    """
    for number in STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


class RedactingStream(io.TextIOBase):
    """A text stream that redacts what is written to it and swallows its own faults.

    A pipe whose reader has gone and a full disk under a log are faults of reporting: they neither end a job nor change
    its exit code. From the first one on, what is written is discarded.
    """

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, stream: IO[str] | None, *, plain: bool = True) -> None:
        self._stream, self._plain = stream, plain
        self.fault: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=self.errors)

    def write(self, text: str) -> int:
        """Write a text."""
        if not isinstance(text, str):
            raise TypeError(f"text was expected, got {type(text).__name__}")
        shown = redact(text)
        self.write_as_is(escape_control_characters(shown) if self._plain else shown)
        return len(text)

    def write_as_is(self, text: str) -> None:
        """Write a text that is redacted already, such as a line of JSON."""
        if self._stream is not None:
            with self._own_faults():
                self._stream.write(text)

    def flush(self) -> None:
        """Send what is held back."""
        if self._stream is not None:
            with self._own_faults():
                self._stream.flush()

    def isatty(self) -> bool:
        """Find out whether someone watches."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Name the file below."""
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream.fileno()

    @contextmanager
    def _own_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as fault:
            self.fault = fault if isinstance(fault, OSError) else OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._discard()

    def _discard(self) -> None:
        # What is still held back by the stream would fail again when the interpreter ends, and decide its exit code.
        stream, self._stream = self._stream, None
        with suppress(OSError, ValueError, AttributeError):
            number = stream.fileno()  # type: ignore[union-attr]
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)


@dataclass(frozen=True)
class GuardedStreams:
    """Standard output and error while a command runs."""

    out: RedactingStream
    err: RedactingStream
    noise: IO[bytes] | None = None

    @property
    def lost(self) -> str | None:
        """Why standard output is not whole; None if it is, or if its reader went away."""
        self.out.flush()
        fault = self.out.fault
        return None if fault is None or fault.errno == errno.EPIPE else str(fault.strerror or fault)

    def native_output_lines(self) -> list[str]:
        """Read what native code printed."""
        if self.noise is None:
            return []
        self.noise.seek(0)
        return [line for line in self.noise.read().decode(errors="replace").splitlines() if line.strip()]


@contextmanager
def guarded_streams(*, lines_only: bool) -> Iterator[GuardedStreams]:
    """Put an `Outlet` in the place of standard output and error."""
    before = sys.stdout, sys.stderr
    with ExitStack() as held:
        stream, noise = held.enter_context(_captured_stderr(before[1])) if lines_only else (before[1], None)
        streams = GuardedStreams(RedactingStream(before[0]), RedactingStream(stream), noise)
        held.callback(_restore_streams, before)
        sys.stdout, sys.stderr = streams.out, streams.err
        try:
            yield streams
        finally:
            streams.out.flush()
            streams.err.flush()


def _restore_streams(before: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = before


@contextmanager
def _captured_stderr(stream: Any) -> Iterator[tuple[Any, IO[bytes] | None]]:
    """Let file number 2 lead to a file without a name, and give the way to where it led."""
    try:
        is_ours = stream.fileno() == STANDARD_STREAMS[-1]
        noise = tempfile.TemporaryFile() if is_ours else None  # noqa: SIM115 - closed below
    except (OSError, ValueError, AttributeError):
        noise = None
    if noise is None:
        yield stream, None
        return
    stream.flush()
    kept = os.dup(STANDARD_STREAMS[-1])
    with noise, open(kept, "w", encoding="utf-8", buffering=1) as way:  # noqa: PTH123 - a number
        os.dup2(noise.fileno(), STANDARD_STREAMS[-1])
        try:
            yield way, noise
        finally:
            with suppress(OSError, ValueError):
                way.flush()
            os.dup2(kept, STANDARD_STREAMS[-1])
