"""How every command runs: exit codes, faults in one line, and the option that makes the log lines JSON."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar

import typer

from repurchase.errors import RepurchaseError
from repurchase.jobs.ending import INTERRUPTED, TERMINATED, ended_in_order, ending_words
from repurchase.jobs.logs import asked_format, json_lines, log_defect, log_end, log_fault, scrubbed

__all__ = ["DEFECT", "DRIFTED", "FAULT", "INTERRUPTED", "TERMINATED", "Commands", "run_commands"]

DEFECT, FAULT, DRIFTED = 1, 2, 3
NOT_FOR_OTHERS = 0o027
"""Files are made 0640, folders 0750."""

Run = TypeVar("Run", bound=Callable[..., None])
LogFormat = Annotated[
    Literal["text", "json"], typer.Option(help="Log lines on standard error: for people or machines.")
]


class Commands(typer.Typer):
    """Commands that all have ``--log-format``."""

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
    """Run what the command line asks for, and say in one line what went wrong.

    Parameters
    ----------
    app : Typer
        The commands.

    Returns
    -------
    int
        0 done; 2 the caller's input is at fault; 3 done, but the data has drifted, where that was asked for; 130
        interrupted, 143 by SIGTERM; 1 a defect, which is raised with its traceback unless lines of JSON were asked for.
    """
    words = sys.argv[1:]
    as_json, begun = asked_format(words) == "json", time.perf_counter()
    with _not_for_others(), json_lines() if as_json else nullcontext():
        with ended_in_order() as signals:
            code = _run(app, signals, as_json=as_json)
        if as_json:
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
        code = int(app(prog_name="repurchase", standalone_mode=False) or 0)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as fault:
        words = fault if isinstance(fault, RepurchaseError) else _misuse(fault)
        if words is not None and not signals:
            return _stop(words, FAULT, as_json=as_json)
        if not signals and not as_json:
            raise
        if not signals:
            log_defect(fault)
            return DEFECT
        code = INTERRUPTED  # a library made something else of it
    if code != INTERRUPTED:
        return code
    code = next(iter(signals), INTERRUPTED)
    return _stop(ending_words(code), code, as_json=as_json)


def _misuse(fault: Exception) -> str | None:
    """Say in words how the command line was misused, if that is what went wrong."""
    message = getattr(fault, "format_message", None)
    if message is None:
        return None
    command = getattr(getattr(fault, "ctx", None), "command_path", "repurchase")
    words = message().rstrip(". ")
    return f"{words}{'' if words.endswith('?') else '.'} See `{command} --help`."


def _stop(fault: RepurchaseError | str, code: int, *, as_json: bool) -> int:
    if as_json:
        log_fault(fault, exit_code=code)
    else:
        sys.stderr.write(f"repurchase: {' '.join(scrubbed(str(fault)).split())}\n")
    return code


def _logged(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option that `asked_format` reads."""

    @wraps(run)
    def command(*args: Any, log_format: str = "text", **settings: Any) -> None:  # noqa: ARG001 - read before parsing
        run(*args, **settings)

    signature = inspect.signature(run)
    option = inspect.Parameter("log_format", inspect.Parameter.KEYWORD_ONLY, default="text", annotation=LogFormat)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    command.__annotations__ = {**run.__annotations__, "log_format": LogFormat}
    return command
