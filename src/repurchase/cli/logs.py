"""Log lines on standard error: text or one JSON object a line, without passwords and customers."""

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
"""What a line may say beside its time, level, event and message; anything else a logger carries is left out."""

logger = logging.getLogger("repurchase")


def requested_log_format(words: Sequence[str]) -> str:
    """Find out from the command line how to log, before it is parsed: a fault in it is to be logged so too."""
    asked = LOG_FORMATS[0]
    for number, word in enumerate(words):
        if word == "--":
            break
        if word == LOG_FORMAT_OPTION and number + 1 < len(words):
            asked = words[number + 1]
        elif word.startswith(f"{LOG_FORMAT_OPTION}="):
            asked = word.partition("=")[2]
    return asked if asked in LOG_FORMATS else LOG_FORMATS[0]


def requested_log_values(words: Sequence[str]) -> bool:
    """Find out from the command line whether log lines may hold values of rows."""
    options = list(words)
    end = options.index("--") if "--" in options else len(options)
    return LOG_VALUES_OPTION in options[:end]


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
        """Write a record."""
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
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


class _CurrentStderr(logging.Handler):
    """Writes to whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        write = getattr(sys.stderr, "write_as_is", sys.stderr.write)  # redacted already, and a whole value of JSON
        write(self.format(record) + "\n")
        sys.stderr.flush()


@contextmanager
def json_lines() -> Iterator[None]:
    """Log JSON, and nothing but JSON, while a command runs."""
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
    """Log lines for people while a command runs, where nobody else has decided how to log."""
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
    words = fault if isinstance(fault, str) else str(fault) if values else fault.log_message
    kind = "Interrupted" if exit_code == 130 else "Usage" if isinstance(fault, str) else type(fault).__name__
    logger.error("%s", words, extra={"event": "error", "error": kind, "exit_code": exit_code})


def log_defect(fault: BaseException, *, values: bool = False) -> None:
    """Log a defect: its kind and where it happened, but not its message, which may quote a row."""
    logger.error(
        "A defect%s",
        f": {fault}"
        if values
        else f". Run the same with {LOG_VALUES_OPTION} or {LOG_FORMAT_OPTION} text to see its message.",
        extra={
            "event": "error",
            "error": type(fault).__name__,
            "exit_code": 1,
            "at": list(_trace_locations(fault.__traceback__)),
        },
    )


def log_native_output(lines: Sequence[str], *, values: bool = False) -> None:
    """Log that native code printed something, which may quote rows, in one line."""
    if lines:
        words = " / ".join(lines)[:MAX_NATIVE_OUTPUT] if values else f"{LOG_VALUES_OPTION} shows them"
        logger.warning(
            "%d lines that libraries printed to standard error were left out: %s",
            len(lines),
            words,
            extra={"event": "noise"},
        )


def log_end(command: str, *, exit_code: int, begun: float) -> None:
    """Log that a command is over."""
    seconds = round(time.perf_counter() - begun, 3)
    logger.info(
        "%s: ended with %d after %.1f s",
        command,
        exit_code,
        seconds,
        extra={"event": "end", "command": command, "exit_code": exit_code, "seconds": seconds},
    )


def _trace_locations(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
