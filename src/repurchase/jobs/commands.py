"""How every command runs: exit codes, faults in one line, and the option that makes the log lines JSON."""

import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENAMETOOLONG
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar

import typer

from repurchase.errors import InputError, RepurchaseError
from repurchase.jobs.ending import INTERRUPTED, TERMINATED, ended_in_order, ending_words
from repurchase.jobs.logs import (
    asked_format,
    json_lines,
    log_defect,
    log_end,
    log_fault,
    log_noise,
    text_lines,
    values_wanted,
)
from repurchase.jobs.streams import guarded_streams
from repurchase.storage.redaction import note_secrets

__all__ = ["DEFECT", "DRIFTED", "FAULT", "INTERRUPTED", "TERMINATED", "Commands", "run_commands"]

logger = logging.getLogger("repurchase")

DEFECT, FAULT, DRIFTED = 1, 2, 3
NOT_FOR_OTHERS = 0o027
"""Files are made 0640, folders 0750."""

Run = TypeVar("Run", bound=Callable[..., None])
LogFormat = Annotated[
    Literal["text", "json"], typer.Option(help="Log lines on standard error: for people or machines.")
]
LogValues = Annotated[
    bool, typer.Option("--log-values", help="Let log lines of JSON quote values of rows, which may name customers.")
]


class Commands(typer.Typer):
    """Commands that all have ``--log-format`` and ``--log-values``."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Run], Run]:
        """Register a function as a command.

        Parameters
        ----------
        name : str, optional
            Default the function's.
        **settings
            As Typer's.

        Returns
        -------
        callable
            A decorator that gives the function back as it was.
        """
        register = super().command(name, **settings)

        def add(run: Run) -> Run:
            register(_logged(run))
            return run

        return add


def run_commands(app: typer.Typer) -> int:
    """Run what the command line asks for; whatever goes wrong is one line and an exit code.

    Parameters
    ----------
    app : Typer
        The commands.

    Returns
    -------
    int
        0 done; 2 the caller's input is at fault; 3 done, but the data has drifted, where that was asked for; 130
        interrupted, 143 by SIGTERM; 1 a defect, which is shown with its traceback unless lines of JSON were asked for.
    """
    words = sys.argv[1:]
    as_json, begun = asked_format(words) == "json", time.perf_counter()
    note_secrets(words, os.environ)
    with (
        _not_for_others(),
        guarded_streams(lines_only=as_json) as streams,
        json_lines() if as_json else text_lines(),
    ):
        with ended_in_order() as signals:
            code = _run(app, signals, as_json=as_json)
        if streams.lost:
            logger.warning("Standard output could not be written (%s); the job itself is not affected.", streams.lost)
        if as_json:
            log_noise(streams.noise_lines(), values=values_wanted(words))
            log_end(next(iter(words)), exit_code=code, begun=begun)
    return code


@contextmanager
def _not_for_others() -> Iterator[None]:
    before = os.umask(NOT_FOR_OTHERS)
    os.umask(before | NOT_FOR_OTHERS)  # whoever is stricter stays so
    try:
        yield
    finally:
        os.umask(before)


def _run(app: typer.Typer, signals: list[int], *, as_json: bool) -> int:
    try:
        _require_no_empty_word(sys.argv[1:])
        code = int(app(prog_name="repurchase", standalone_mode=False) or 0)
        if code != INTERRUPTED:  # which Typer makes of a KeyboardInterrupt
            return code
        raise KeyboardInterrupt
    except BaseException as fault:  # noqa: BLE001 - the outermost boundary; panics of native code are no Exception
        if signals or isinstance(fault, typer.Abort | KeyboardInterrupt):  # a library may have made another of it
            code = next(iter(signals), INTERRUPTED)
            return _stop(ending_words(code), code, as_json=as_json)
        words = fault if isinstance(fault, RepurchaseError) else _too_long(fault) or _misuse(fault)
        return _defect(fault, as_json=as_json) if words is None else _stop(words, FAULT, as_json=as_json)


def _require_no_empty_word(words: list[str]) -> None:
    """Refuse what a shell makes of a variable that is not set: as a path it would mean the current folder."""
    for place, word in enumerate(words):
        option, is_given, value = word.partition("=") if word.startswith("--") else ("", True, word)
        if is_given and not value.strip():
            after = option or " ".join(words[max(place - 1, 0) : place]) or "repurchase"
            raise InputError(f"the argument after {after} is empty. Say what is meant, or leave it out.")


def _defect(fault: BaseException, *, as_json: bool) -> int:
    if as_json:
        log_defect(fault, values=values_wanted(sys.argv[1:]))
    else:
        traceback.print_exception(fault)
        sys.stderr.write("repurchase: a defect of this program; please report it with the lines above.\n")
    return DEFECT


def _too_long(fault: BaseException) -> str | None:
    """Say which name is longer than the file system allows, if that is what went wrong."""
    if not isinstance(fault, OSError) or fault.errno != ENAMETOOLONG:
        return None
    return f"{fault.filename}: a name longer than the file system allows, some 255 bytes. Choose a shorter one."


def _misuse(fault: BaseException) -> str | None:
    """Say in words how the command line was misused, if that is what went wrong."""
    message = getattr(fault, "format_message", None)
    if message is None:
        return None
    command = getattr(getattr(fault, "ctx", None), "command_path", "repurchase")
    words = message().rstrip(". ")
    return f"{words}{'' if words.endswith('?') else '.'} See `{command} --help`."


def _stop(fault: RepurchaseError | str, code: int, *, as_json: bool) -> int:
    if as_json:
        log_fault(fault, exit_code=code, values=values_wanted(sys.argv[1:]))
    else:
        sys.stderr.write(f"repurchase: {' '.join(str(fault).split())}\n")
    return code


def _logged(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `asked_format` and `values_wanted` read before parsing."""

    @wraps(run)
    def command(*args: Any, **settings: Any) -> None:
        run(*args, **{name: value for name, value in settings.items() if name not in options})

    options = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (("log_format", "text", LogFormat), ("log_values", False, LogValues))
    }
    signature = inspect.signature(run)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *options.values()])  # type: ignore[attr-defined]
    command.__annotations__ = {**run.__annotations__, **{name: one.annotation for name, one in options.items()}}
    return command
