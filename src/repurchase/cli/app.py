"""The command line: all commands, and the exit code of what they did.

Exit codes: 0 done; 1 a defect, with its traceback; 2 invalid input, in one line; 3 done, but the data has drifted, with
``--fail-on-drift`` only; 130 interrupted; 143 terminated by SIGTERM.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Annotated

import typer

from repurchase import __version__
from repurchase.cli.campaigns import campaign_app, economics_app
from repurchase.cli.logs import (
    json_lines,
    log_defect,
    log_end,
    log_fault,
    log_native_output,
    requested_log_format,
    requested_log_values,
    text_lines,
)
from repurchase.cli.models import models_app
from repurchase.cli.options import CommandGroup, EngineOptions, Home, OrderOptions, locale_option, option
from repurchase.cli.orders import check, orders_app, score, train
from repurchase.cli.outputs import outputs_app, report
from repurchase.cli.process import INTERRUPTED, guarded_streams, interruptible, interruption_message, print_lines
from repurchase.errors import InputError, RepurchaseError
from repurchase.i18n.catalogues import environment_locale, set_locale
from repurchase.storage.redaction import register_secrets

logger = logging.getLogger("repurchase")

EXIT_DEFECT, EXIT_FAULT = 1, 2
FILE_UMASK = 0o027
"""Files are created with mode 0640, folders with 0750."""

app = CommandGroup(
    name="repurchase",
    help="From an order export to scored customers: who will buy again, who is about to leave, what each is worth.",
    epilog="Start with `repurchase check orders.csv`, or try `repurchase demo`.",
)


def main() -> None:
    """Run the command line, and exit."""
    sys.exit(run_commands())


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[bool, option("Show the version and exit.", None, "--version")] = False,
    locale: Annotated[str | None, locale_option("Language of the results; default LC_MESSAGES.")] = None,
) -> None:
    if version:
        print_lines([f"repurchase {__version__}"])
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.get_help()  # which prints
        raise InputError("no command was given. Choose one of those above.")
    set_locale(locale or environment_locale())
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@app.command()
def demo(home: Home = Path()) -> None:
    """Check, train, score and report on the CDNOW example orders."""
    from repurchase.jobs.order_intake import cdnow_orders

    orders = OrderOptions(orders=str(cdnow_orders()), home=home, currency="USD")
    check(orders)
    train(orders, EngineOptions())
    out = home / "outputs" / "scores.parquet"
    score(replace(orders, currency=None), EngineOptions(), out=str(out))
    report(out, out=home / "outputs" / "report.html", home=home, orders=orders.orders)
    print_lines([f"Models: {home / 'models'}. Runs: {home / 'mlruns'} (make mlflow). Open the report in a browser."])


for family in (orders_app, outputs_app, economics_app):
    app.add_typer(family)
app.add_typer(campaign_app, name="campaign")
app.add_typer(models_app, name="models")


def run_commands() -> int:
    """Run what the command line asks for; every failure becomes one line and an exit code."""
    arguments = sys.argv[1:]
    as_json, begin = requested_log_format(arguments) == "json", time.perf_counter()
    register_secrets(arguments, os.environ)
    with (
        _restricted_permissions(),
        guarded_streams(lines_only=as_json) as streams,
        json_lines() if as_json else text_lines(),
    ):
        with interruptible() as signals:
            code = _exit_code_of(signals, as_json=as_json)
        if streams.lost:
            logger.warning("Standard output could not be written (%s); the job itself is not affected.", streams.lost)
        if as_json:
            log_native_output(streams.native_output_lines(), values=requested_log_values(arguments))
            log_end(arguments[0], exit_code=code, begin=begin)
    return code


@contextmanager
def _restricted_permissions() -> Iterator[None]:
    before = os.umask(FILE_UMASK)
    os.umask(before | FILE_UMASK)  # a stricter umask stays
    try:
        yield
    finally:
        os.umask(before)


def _exit_code_of(signals: list[int], *, as_json: bool) -> int:
    try:
        _require_no_empty_argument(sys.argv[1:])
        code = int(app(prog_name="repurchase", standalone_mode=False) or 0)
        if code != INTERRUPTED:  # which Typer makes of a KeyboardInterrupt
            return code
        raise KeyboardInterrupt
    except SystemExit as end:
        if not _is_completion():
            return _report_defect(end, as_json=as_json)
        return int(end.code or 0)
    except BaseException as fault:  # noqa: BLE001 - the outermost boundary; panics of native code are no Exception
        if signals or isinstance(fault, typer.Abort | KeyboardInterrupt):  # a library may have replaced the exception
            code = signals[0] if signals else INTERRUPTED
            return _report_fault(interruption_message(code), code, as_json=as_json)
        message = fault if isinstance(fault, RepurchaseError) else _os_message(fault) or _usage_message(fault)
        if message is None:
            return _report_defect(fault, as_json=as_json)
        return _report_fault(message, EXIT_FAULT, as_json=as_json)


def _is_completion() -> bool:
    """Whether the shell asks for completion, which Typer answers with `SystemExit`."""
    return "_REPURCHASE_COMPLETE" in os.environ or bool({"--install-completion", "--show-completion"} & {*sys.argv})


def _require_no_empty_argument(arguments: list[str]) -> None:
    """Refuse what a shell makes of an unset variable: as a path it would mean the current folder."""
    for index, word in enumerate(arguments):
        name, is_given, value = word.partition("=") if word.startswith("--") else ("", True, word)
        if is_given and not value.strip():
            after = name or " ".join(arguments[max(index - 1, 0) : index]) or "repurchase"
            raise InputError(f"the argument after {after} is empty. Give a value, or leave it out.")


def _os_message(fault: BaseException) -> str | None:
    """Explain an error of the operating system that the command line caused."""
    if not isinstance(fault, OSError):
        return None
    if fault.errno == ENAMETOOLONG:
        return (
            f"{fault.filename}: the name is longer than the file system allows (about 255 bytes). Choose a shorter one."
        )
    if "--install-completion" in sys.argv:
        return (
            f"{fault.filename}: {fault.strerror}. Print the script with `repurchase --show-completion`, and load it in "
            "your shell's start file."
        )
    return None


def _usage_message(fault: BaseException) -> str | None:
    """Explain a usage error."""
    format_message = getattr(fault, "format_message", None)
    if format_message is None:
        return None
    command = getattr(getattr(fault, "ctx", None), "command_path", "repurchase")
    message = format_message().replace("Value error, ", "").rstrip(". ")
    return f"{message}{'' if message.endswith('?') else '.'} See `{command} --help`."


def _report_fault(fault: RepurchaseError | str, code: int, *, as_json: bool) -> int:
    if as_json:
        log_fault(fault, exit_code=code, values=requested_log_values(sys.argv[1:]))
    else:
        sys.stderr.write(f"repurchase: {' '.join(str(fault).split())}\n")
    return code


def _report_defect(fault: BaseException, *, as_json: bool) -> int:
    if as_json:
        log_defect(fault, values=requested_log_values(sys.argv[1:]))
    else:
        traceback.print_exception(fault)
        sys.stderr.write("repurchase: this is a defect of the program; please report it with the lines above.\n")
    return EXIT_DEFECT


if __name__ == "__main__":
    main()
