"""Signals, standard streams and progress display of the process; imports nothing that takes long."""

import errno
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, cast

from repurchase.cli.logs import requested_log_format
from repurchase.storage.atomic_files import restore_handlers, set_handlers
from repurchase.storage.redaction import escape_control_characters, redact

if TYPE_CHECKING:
    from rich.progress import Progress

    from repurchase.jobs.order_intake import Steps

INTERRUPTED, TERMINATED = 130, 143
_SIGNAL_MESSAGES = {INTERRUPTED: "interrupted", TERMINATED: "terminated by SIGTERM"}


class Interruption(KeyboardInterrupt):
    """A signal asks the process to stop."""


def interruption_message(code: int) -> str:
    """Describe a signal."""
    return f"{_SIGNAL_MESSAGES[code]}; no partial output was left."


def exit_on_signals() -> None:
    """End the process on a signal while nothing needs cleaning up, such as during imports; ignored signals stay so."""

    def end(number: int, _frame: FrameType | None) -> None:
        code = 128 + number
        with suppress(OSError):
            os.write(2, f"{_exit_line(code)}\n".encode())
        os._exit(code)  # an exception may be swallowed by the module that is being imported

    set_handlers(end)


def _exit_line(code: int) -> str:
    message = interruption_message(code)
    if requested_log_format(sys.argv[1:]) != "json":
        return f"repurchase: {message}"
    when = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
    line = {"time": when, "level": "error", "event": "error", "exit_code": code, "error": "Interrupted"}
    return json.dumps({**line, "message": message, "logger": "repurchase"})


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Let signals raise `Interruption`; the exit codes of those received are in the list."""
    received: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(128 + number)
        raise Interruption

    before = set_handlers(end)
    try:
        yield received
    finally:
        restore_handlers(before)


STANDARD_STREAMS = (0, 1, 2)


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise the next file that is opened takes its number, and receives what is printed.
    """
    for number in STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


class RedactingStream(io.TextIOBase):
    """A text stream that redacts what is written to it and hides its own errors.

    A closed pipe or a full disk under a log neither stops a job nor changes its exit code. After the first error, what
    is written is discarded.
    """

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, stream: IO[str] | None, *, plain: bool = True) -> None:
        self._stream, self.plain = stream, plain
        self.fault: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=self.errors)

    def write(self, text: str) -> int:
        """Write a text without secrets."""
        if not isinstance(text, str):
            raise TypeError(f"text was expected, got {type(text).__name__}")
        shown = redact(text)
        self.write_as_is(escape_control_characters(shown) if self.plain else shown)
        return len(text)

    def write_as_is(self, text: str) -> None:
        """Write a text that is already redacted, such as a line of JSON."""
        if self._stream is not None:
            with self._own_faults():
                self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        if self._stream is not None:
            with self._own_faults():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """File descriptor of the stream."""
        if self._stream is None:
            raise _closed_stream()
        return self._stream.fileno()

    @contextmanager
    def _own_faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as fault:
            self.fault = fault if isinstance(fault, OSError) else _closed_stream()
            self._discard()

    def _discard(self) -> None:
        # Buffered text would fail again when the interpreter ends, and decide its exit code.
        with suppress(OSError, ValueError, AttributeError), Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), self.fileno())
        self._stream = None


def _closed_stream() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


@dataclass(frozen=True)
class GuardedStreams:
    """Standard output and error while a command runs."""

    out: RedactingStream
    err: RedactingStream
    noise: IO[bytes] | None = None

    @property
    def lost(self) -> str | None:
        """Why standard output is incomplete; None if it is complete, or if its reader closed the pipe."""
        self.out.flush()
        fault = self.out.fault
        return None if fault is None or fault.errno == errno.EPIPE else str(fault.strerror or fault)

    def native_output_lines(self) -> list[str]:
        """Lines printed by native code."""
        if self.noise is None:
            return []
        self.noise.seek(0)
        return [line for line in self.noise.read().decode(errors="replace").splitlines() if line.strip()]


@contextmanager
def guarded_streams(*, lines_only: bool) -> Iterator[GuardedStreams]:
    """Replace standard output and error with redacting streams."""
    with ExitStack() as stack:
        stderr, noise = stack.enter_context(_captured_stderr(sys.stderr)) if lines_only else (sys.stderr, None)
        streams = GuardedStreams(RedactingStream(sys.stdout), RedactingStream(stderr), noise)
        with redirect_stdout(streams.out), redirect_stderr(streams.err):
            try:
                yield streams
            finally:
                streams.out.flush()
                streams.err.flush()


@contextmanager
def _captured_stderr(stream: Any) -> Iterator[tuple[Any, IO[bytes] | None]]:
    """Redirect file descriptor 2 to a temporary file, and yield a stream to its former target."""
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
    with noise, open(kept, "w", encoding="utf-8", buffering=1) as target:  # noqa: PTH123 - a number
        os.dup2(noise.fileno(), STANDARD_STREAMS[-1])
        try:
            yield target, noise
        finally:
            with suppress(OSError, ValueError):
                target.flush()
            os.dup2(kept, STANDARD_STREAMS[-1])


@contextmanager
def styled_output() -> Iterator[None]:
    """Let terminal styles pass to standard output, for text without data."""
    stream = sys.stdout
    if not isinstance(stream, RedactingStream):
        yield
        return
    stream.plain = False
    try:
        yield
    finally:
        stream.plain = True


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class TerminalSteps:
    """Progress on a terminal: one line per step, with a bar where its length is known."""

    def __init__(self, bars: "Progress") -> None:
        self.timings_seconds: dict[str, float] = {}
        self._bars = bars
        self._task = bars.add_task("", visible=False)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Show a step while it runs."""
        begin = time.perf_counter()
        self._task = self._bars.add_task(name, total=None)
        yield {}
        self._bars.update(self._task, total=1, completed=1)
        self.timings_seconds[name] = round(time.perf_counter() - begin, 3)

    def progress(self, done: int, total: int) -> None:
        """Show the progress of the current step."""
        self._bars.update(self._task, total=total, completed=done)


@contextmanager
def progress_display() -> "Iterator[Steps]":
    """Show steps on a terminal, or log them."""
    if sys.stderr.isatty() and requested_log_format(sys.argv[1:]) == "text":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        spinner, bar = SpinnerColumn(finished_text="✓"), BarColumn(bar_width=24)
        console = Console(file=cast("IO[str]", RedactingStream(sys.__stderr__, plain=False)))
        with Progress(spinner, TextColumn("{task.description}"), bar, TimeElapsedColumn(), console=console) as bars:
            yield TerminalSteps(bars)
    else:
        from repurchase.jobs.order_intake import LogSteps

        yield LogSteps()
