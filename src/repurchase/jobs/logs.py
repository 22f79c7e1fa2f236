"""Log lines on standard error: for people, or one JSON object a line; without passwords and customers."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from repurchase.errors import RepurchaseError
from repurchase.storage.redaction import printable, redacted

__all__ = [
    "FORMATS",
    "JsonLines",
    "asked_format",
    "json_lines",
    "log_defect",
    "log_end",
    "log_fault",
    "log_noise",
    "text_lines",
    "values_wanted",
]

LONGEST_NOISE = 4000
FORMATS = ("text", "json")
OPTION, VALUES_OPTION = "--log-format", "--log-values"
FIELDS = (
    "step",
    "seconds",
    "counts",
    "done",
    "total",
    "command",
    "version",
    "exit_code",
    "error",
    "at",
    "drift",
    "why",
    "role",
    "column",
    "meaning",
)
"""What a line may say beside its time, level, event and message; anything else a logger carries is left out."""

logger = logging.getLogger("repurchase")


def asked_format(words: Sequence[str]) -> str:
    """Find out from the command line how to log, before it is parsed: a fault in it is to be logged so too.

    Parameters
    ----------
    words : sequence of str
        The command line, without the program's name.

    Returns
    -------
    str
        ``text`` or ``json``.

    Examples
    --------
    >>> asked_format(["score", "orders.csv", "--log-format", "json"]), asked_format(["check", "--log-format=text"])
    ('json', 'text')
    """
    asked = FORMATS[0]
    for number, word in enumerate(words):
        if word == "--":
            break
        if word == OPTION and number + 1 < len(words):
            asked = words[number + 1]
        elif word.startswith(f"{OPTION}="):
            asked = word.partition("=")[2]
    return asked if asked in FORMATS else FORMATS[0]


def values_wanted(words: Sequence[str]) -> bool:
    """Find out from the command line whether log lines may hold values of rows.

    Parameters
    ----------
    words : sequence of str
        The command line, without the program's name.

    Returns
    -------
    bool
        Whether ``--log-values`` stands there.

    Examples
    --------
    >>> values_wanted(["score", "--log-values"]), values_wanted(["score", "--", "--log-values"])
    (True, False)
    """
    options = list(words)
    end = options.index("--") if "--" in options else len(options)
    return VALUES_OPTION in options[:end]


class _TextLines(logging.Formatter):
    """A log record as one line of text, whatever line breaks its message holds."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = " ".join(record.message.split())
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record.

        Parameters
        ----------
        record : LogRecord
            Of any logger.

        Returns
        -------
        str
            One line: ``time`` (UTC, ISO), ``level``, ``event``, ``message``, ``logger`` and what the record carries.
        """
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
            "message": printable(" ".join(redacted(record.getMessage()).split())),
            "logger": record.name,
        }
        return _json_line(line)


def _json_line(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, default=lambda value: redacted(str(value)))
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


class _CurrentStderr(logging.Handler):
    """Writes to whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        write = getattr(sys.stderr, "write_as_is", sys.stderr.write)  # redacted already, and a whole value of JSON
        write(self.format(record) + "\n")
        sys.stderr.flush()


@contextmanager
def json_lines() -> Iterator[None]:
    """Log JSON, and nothing but JSON, while a command runs.

    Yields
    ------
    None
        While it is so; Python's warnings become lines too.
    """
    handler = _CurrentStderr()
    handler.setFormatter(JsonLines())
    with _handled_by(handler):
        logging.captureWarnings(capture=True)
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)


@contextmanager
def text_lines() -> Iterator[None]:
    """Log lines for people while a command runs, where nobody else has decided how to log.

    Yields
    ------
    None
        While it is so.
    """
    if logging.getLogger().handlers:
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_TextLines())
    with _handled_by(handler):
        yield


@contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    levels = root.level, logger.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        logger.setLevel(levels[1])


def log_fault(fault: RepurchaseError | str, *, exit_code: int, values: bool = False) -> None:
    """Log why a command stops.

    Parameters
    ----------
    fault : RepurchaseError or str
        The reason; of an error the words that may stand in a log.
    exit_code : int
        What the command returns.
    values : bool
        Whether the line may quote rows.
    """
    words = fault if isinstance(fault, str) else str(fault) if values else fault.log_words
    kind = "Interrupted" if exit_code == 130 else "Usage" if isinstance(fault, str) else type(fault).__name__
    logger.error("%s", words, extra={"event": "error", "error": kind, "exit_code": exit_code})


def log_defect(fault: BaseException, *, values: bool = False) -> None:
    """Log a defect: its kind and where it happened, but not its message, which may quote a row.

    Parameters
    ----------
    fault : BaseException
        What nobody expected.
    values : bool
        Whether the line may quote rows.
    """
    logger.error(
        "A defect%s",
        f": {fault}" if values else f". Run the same with {VALUES_OPTION} or {OPTION} text to see its message.",
        extra={
            "event": "error",
            "error": type(fault).__name__,
            "exit_code": 1,
            "at": list(_places(fault.__traceback__)),
        },
    )


def log_noise(lines: Sequence[str], *, values: bool = False) -> None:
    """Log that native code printed something, which may quote rows, in one line.

    Parameters
    ----------
    lines : sequence of str
        What it printed.
    values : bool
        Whether the line may quote rows.
    """
    if lines:
        words = " / ".join(lines)[:LONGEST_NOISE] if values else f"{VALUES_OPTION} shows them"
        logger.warning(
            "%d lines that libraries printed to standard error were left out: %s",
            len(lines),
            words,
            extra={"event": "noise"},
        )


def log_end(command: str, *, exit_code: int, begun: float) -> None:
    """Log that a command is over.

    Parameters
    ----------
    command : str
        Its name.
    exit_code : int
        What it returns.
    begun : float
        ``time.perf_counter()`` at its start.
    """
    seconds = round(time.perf_counter() - begun, 3)
    logger.info(
        "%s: ended with %d after %.1f s",
        command,
        exit_code,
        seconds,
        extra={"event": "end", "command": command, "exit_code": exit_code, "seconds": seconds},
    )


def _places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
