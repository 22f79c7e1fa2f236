"""Standard output and error: nothing secret or obeyed by a terminal goes out, and their faults stay theirs."""

import errno
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from repurchase.storage.redaction import printable, redacted

__all__ = ["Guarded", "Outlet", "guarded_streams", "open_closed_streams"]

STANDARD = (0, 1, 2)


def open_closed_streams() -> None:
    """Give a process that was started without standard input, output or error the null device in their place.

    Otherwise the next file it opens takes their number, and receives what others print.
    """
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


class Outlet(io.TextIOBase):
    """A text stream that redacts what is written to it and swallows its own faults.

    A pipe whose reader has gone and a full disk under a log are faults of reporting: they neither end a job nor change
    its exit code. From the first one on, what is written is discarded.

    Parameters
    ----------
    stream : text file, optional
        Where it goes; None discards everything.
    plain : bool
        Whether control characters are escaped; not for what draws bars with them.
    """

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, stream: IO[str] | None, *, plain: bool = True) -> None:
        self._stream, self._plain = stream, plain
        self.fault: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=self.errors)

    def write(self, text: str) -> int:
        """Write a text.

        Parameters
        ----------
        text : str
            Any.

        Returns
        -------
        int
            Its length.

        Raises
        ------
        TypeError
            If it is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"text was expected, got {type(text).__name__}")
        shown = redacted(text)
        self.write_as_is(printable(shown) if self._plain else shown)
        return len(text)

    def write_as_is(self, text: str) -> None:
        """Write a text that is redacted already, such as a line of JSON.

        Parameters
        ----------
        text : str
            Any.
        """
        if self._stream is not None:
            with self._own_faults():
                self._stream.write(text)

    def flush(self) -> None:
        """Send what is held back."""
        if self._stream is not None:
            with self._own_faults():
                self._stream.flush()

    def isatty(self) -> bool:
        """Find out whether someone watches.

        Returns
        -------
        bool
            As of the stream.
        """
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Name the file below.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        OSError
            If there is none.
        """
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
class Guarded:
    """Standard output and error while a command runs.

    Parameters
    ----------
    out, err : Outlet
        What stands for them.
    noise : binary file, optional
        What native code and child processes printed to standard error; None where it is not kept apart.
    """

    out: Outlet
    err: Outlet
    noise: IO[bytes] | None = None

    @property
    def lost(self) -> str | None:
        """Why standard output is not whole; None if it is, or if its reader went away."""
        self.out.flush()
        fault = self.out.fault
        return None if fault is None or fault.errno == errno.EPIPE else str(fault.strerror or fault)

    def noise_lines(self) -> list[str]:
        """Read what native code printed.

        Returns
        -------
        list of str
            Its lines that are not empty.
        """
        if self.noise is None:
            return []
        self.noise.seek(0)
        return [line for line in self.noise.read().decode(errors="replace").splitlines() if line.strip()]


@contextmanager
def guarded_streams(*, lines_only: bool) -> Iterator[Guarded]:
    """Put an `Outlet` in the place of standard output and error.

    Parameters
    ----------
    lines_only : bool
        Whether nothing but what Python writes may reach standard error: what native code and child processes print
        there, such as a panic of a library, is kept apart.

    Yields
    ------
    Guarded
        Both.
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as held:
        stream, noise = held.enter_context(_kept_apart(before[1])) if lines_only else (before[1], None)
        streams = Guarded(Outlet(before[0]), Outlet(stream), noise)
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
def _kept_apart(stream: Any) -> Iterator[tuple[Any, IO[bytes] | None]]:
    """Let file number 2 lead to a file without a name, and give the way to where it led."""
    try:
        is_ours = stream.fileno() == STANDARD[-1]
        noise = tempfile.TemporaryFile() if is_ours else None  # noqa: SIM115 - closed below
    except (OSError, ValueError, AttributeError):
        noise = None
    if noise is None:
        yield stream, None
        return
    stream.flush()
    kept = os.dup(STANDARD[-1])
    with noise, open(kept, "w", encoding="utf-8", buffering=1) as way:  # noqa: PTH123 - a number
        os.dup2(noise.fileno(), STANDARD[-1])
        try:
            yield way, noise
        finally:
            with suppress(OSError, ValueError):
                way.flush()
            os.dup2(kept, STANDARD[-1])
