"""Log lines for machines: one JSON object a line on standard error, without passwords and without customers."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from repurchase.errors import RepurchaseError

__all__ = ["FORMATS", "JsonLines", "asked_format", "json_lines", "log_defect", "log_end", "log_fault", "scrubbed"]

FORMATS = ("text", "json")
OPTION = "--log-format"
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
)
"""What a line may say beside its time, level, event and message; anything else a logger carries is left out."""

_SECRETS = (
    (re.compile(r"(://[^/\s:@]*:)[^/\s]*(?=@)"), r"\1…"),
    (re.compile(r"((?:password|passwd|pwd)\s*[=:]\s*)[^\s&;,]+", re.IGNORECASE), r"\1…"),
)

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


def scrubbed(words: str) -> str:
    """Take passwords out of a text.

    Parameters
    ----------
    words : str
        Any text.

    Returns
    -------
    str
        With a mark in their place.

    Examples
    --------
    >>> scrubbed("postgresql://ann:s3cret@host/shop failed, password=s3cret")
    'postgresql://ann:…@host/shop failed, password=…'
    """
    for pattern, mark in _SECRETS:
        words = pattern.sub(mark, words)
    return words


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
            "message": " ".join(scrubbed(record.getMessage()).split()),
            "logger": record.name,
        }
        return json.dumps(line, ensure_ascii=False, default=str)


class _CurrentStderr(logging.Handler):
    """Writes to whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


@contextmanager
def json_lines() -> Iterator[None]:
    """Log JSON, and nothing but JSON, while a command runs.

    Yields
    ------
    None
        While it is so; Python's warnings become lines too.
    """
    root, handler = logging.getLogger(), _CurrentStderr()
    handler.setFormatter(JsonLines())
    levels = root.level, logger.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logger.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(levels[0])
        logger.setLevel(levels[1])


def log_fault(fault: RepurchaseError | str, *, exit_code: int) -> None:
    """Log why a command stops.

    Parameters
    ----------
    fault : RepurchaseError or str
        The reason; of an error the words that may stand in a log.
    exit_code : int
        What the command returns.
    """
    words = fault if isinstance(fault, str) else fault.log_words
    kind = "Interrupted" if exit_code == 130 else "Usage" if isinstance(fault, str) else type(fault).__name__
    logger.error("%s", words, extra={"event": "error", "error": kind, "exit_code": exit_code})


def log_defect(fault: BaseException) -> None:
    """Log a defect: its kind and where it happened, but not its message, which may quote a row.

    Parameters
    ----------
    fault : BaseException
        What nobody expected.
    """
    logger.error(
        "A defect. Run the same with --log-format text to see its message.",
        extra={
            "event": "error",
            "error": type(fault).__name__,
            "exit_code": 1,
            "at": list(_places(fault.__traceback__)),
        },
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
