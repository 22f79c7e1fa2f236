"""Log lines on standard error: text or one JSON object per line, without passwords and customers."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from repurchase.errors import RepurchaseError
from repurchase.storage.redaction import escape_control_characters, redact

MAX_NATIVE_OUTPUT = 4000
LOG_FORMATS = ("text", "json")
LOG_FORMAT_OPTION, LOG_VALUES_OPTION = "--log-format", "--log-values"
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
"""What a line may hold besides time, level, event and message; other attributes of a log record are left out."""

logger = logging.getLogger("repurchase")


def requested_log_format(arguments: Sequence[str]) -> str:
    """Find the log format before the command line is parsed, so that usage errors are logged in it too."""
    options = takewhile(lambda word: word != "--", arguments)
    words = [part for word in options for part in (word.split("=", 1) if word.startswith("--log-format=") else [word])]
    values = [value for name, value in pairwise(words) if name == LOG_FORMAT_OPTION]
    return values[-1] if values and values[-1] in LOG_FORMATS else LOG_FORMATS[0]


def requested_log_values(arguments: Sequence[str]) -> bool:
    """Find out before the command line is parsed whether log lines may hold values of rows."""
    return LOG_VALUES_OPTION in takewhile(lambda word: word != "--", arguments)


class _TextLines(logging.Formatter):
    """A log record as one line of text, without the line breaks of its message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = " ".join(record.message.split())
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
            "message": escape_control_characters(" ".join(redact(record.getMessage()).split())),
            "logger": record.name,
        }
        return _json_line(line)


def _json_line(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, default=lambda value: redact(str(value)))
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class _CurrentStderr(logging.Handler):
    """Writes to the current standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        write = getattr(sys.stderr, "write_as_is", sys.stderr.write)  # already redacted, and one value of JSON
        write(self.format(record) + "\n")
        sys.stderr.flush()


@contextmanager
def json_lines() -> Iterator[None]:
    """Log JSON only while a command runs."""
    handler = _CurrentStderr()
    handler.setFormatter(JsonLines())
    with _logging_to(handler):
        logging.captureWarnings(capture=True)
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)


@contextmanager
def text_lines() -> Iterator[None]:
    """Log text while a command runs, unless logging is already configured."""
    if logging.getLogger().handlers:
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_TextLines())
    with _logging_to(handler):
        yield


@contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
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
    """Log why a command stops."""
    message = fault if isinstance(fault, str) else str(fault) if values else fault.log_message
    kind = "Interrupted" if exit_code == 130 else "Usage" if isinstance(fault, str) else type(fault).__name__
    _log(logging.ERROR, "error", message, error=kind, exit_code=exit_code)


def log_defect(fault: BaseException, *, values: bool = False) -> None:
    """Log a defect: its kind and where it happened, but not its message, which may quote a row."""
    advice = f". Run again with {LOG_VALUES_OPTION} or {LOG_FORMAT_OPTION} text to see its message."
    places = [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in traceback.extract_tb(fault.__traceback__)]
    message = f"A defect: {fault}" if values else f"A defect{advice}"
    _log(logging.ERROR, "error", message, error=type(fault).__name__, exit_code=1, at=places)


def log_native_output(lines: Sequence[str], *, values: bool = False) -> None:
    """Log that native code printed something, which may quote rows, in one line."""
    if lines:
        shown = " / ".join(lines)[:MAX_NATIVE_OUTPUT] if values else f"{LOG_VALUES_OPTION} shows them"
        message = f"{len(lines)} lines that libraries printed to standard error were left out: {shown}"
        _log(logging.WARNING, "noise", message)


def log_end(command: str, *, exit_code: int, begin: float) -> None:
    """Log that a command is done."""
    seconds = round(time.perf_counter() - begin, 3)
    message = f"{command}: ended with {exit_code} after {seconds:.1f} s"
    _log(logging.INFO, "end", message, command=command, exit_code=exit_code, seconds=seconds)


def _log(level: int, event: str, message: str, **details: object) -> None:
    logger.log(level, "%s", message, extra={"event": event, **details})
