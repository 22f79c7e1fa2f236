"""What all commands share: exit codes, log options, options for orders and engine, progress bars."""

import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from errno import ENAMETOOLONG
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

import typer

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
from repurchase.cli.process import INTERRUPTED, RedactingStream, guarded_streams, interruptible, interruption_message
from repurchase.errors import InputError, RepurchaseError
from repurchase.storage.redaction import register_secrets

if TYPE_CHECKING:
    from repurchase.jobs.order_intake import Steps
    from repurchase.settings import Settings
    from repurchase.sources.locations import DatabaseSource
    from repurchase.spark.cluster import Cluster


logger = logging.getLogger("repurchase")

EXIT_DEFECT, EXIT_FAULT, EXIT_DRIFTED = 1, 2, 3
FILE_UMASK = 0o027
"""Files are made 0640, folders 0750."""

Run = TypeVar("Run", bound=Callable[..., None])
LogFormat = Annotated[
    Literal["text", "json"], typer.Option(help="Log lines on standard error: for people or machines.")
]
LogValues = Annotated[
    bool, typer.Option("--log-values", help="Let log lines of JSON quote values of rows, which may name customers.")
]


class CommandGroup(typer.Typer):
    """Commands that all have ``--log-format`` and ``--log-values``."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Run], Run]:
        """Register a function as a command."""
        register = super().command(name, **settings)

        def add(run: Run) -> Run:
            register(_with_log_options(run))
            return run

        return add


def run_commands(app: typer.Typer) -> int:
    """Run what the command line asks for; whatever goes wrong is one line and an exit code."""
    words = sys.argv[1:]
    as_json, begun = requested_log_format(words) == "json", time.perf_counter()
    register_secrets(words, os.environ)
    with (
        _restricted_permissions(),
        guarded_streams(lines_only=as_json) as streams,
        json_lines() if as_json else text_lines(),
    ):
        with interruptible() as signals:
            code = _exit_code_of(app, signals, as_json=as_json)
        if streams.lost:
            logger.warning("Standard output could not be written (%s); the job itself is not affected.", streams.lost)
        if as_json:
            log_native_output(streams.native_output_lines(), values=requested_log_values(words))
            log_end(next(iter(words)), exit_code=code, begun=begun)
    return code


@contextmanager
def _restricted_permissions() -> Iterator[None]:
    before = os.umask(FILE_UMASK)
    os.umask(before | FILE_UMASK)  # whoever is stricter stays so
    try:
        yield
    finally:
        os.umask(before)


def _exit_code_of(app: typer.Typer, signals: list[int], *, as_json: bool) -> int:
    try:
        _require_no_empty_argument(sys.argv[1:])
        code = int(app(prog_name="repurchase", standalone_mode=False) or 0)
        if code != INTERRUPTED:  # which Typer makes of a KeyboardInterrupt
            return code
        raise KeyboardInterrupt
    except BaseException as fault:  # noqa: BLE001 - the outermost boundary; panics of native code are no Exception
        if signals or isinstance(fault, typer.Abort | KeyboardInterrupt):  # a library may have made another of it
            code = next(iter(signals), INTERRUPTED)
            return _report_fault(interruption_message(code), code, as_json=as_json)
        words = fault if isinstance(fault, RepurchaseError) else _too_long(fault) or _usage_message(fault)
        return (
            _report_defect(fault, as_json=as_json)
            if words is None
            else _report_fault(words, EXIT_FAULT, as_json=as_json)
        )


def _require_no_empty_argument(words: list[str]) -> None:
    """Refuse what a shell makes of a variable that is not set: as a path it would mean the current folder."""
    for place, word in enumerate(words):
        option, is_given, value = word.partition("=") if word.startswith("--") else ("", True, word)
        if is_given and not value.strip():
            after = option or " ".join(words[max(place - 1, 0) : place]) or "repurchase"
            raise InputError(f"the argument after {after} is empty. Say what is meant, or leave it out.")


def _report_defect(fault: BaseException, *, as_json: bool) -> int:
    if as_json:
        log_defect(fault, values=requested_log_values(sys.argv[1:]))
    else:
        traceback.print_exception(fault)
        sys.stderr.write("repurchase: a defect of this program; please report it with the lines above.\n")
    return EXIT_DEFECT


def _too_long(fault: BaseException) -> str | None:
    """Say which name is longer than the file system allows, if that is what went wrong."""
    if not isinstance(fault, OSError) or fault.errno != ENAMETOOLONG:
        return None
    return f"{fault.filename}: a name longer than the file system allows, some 255 bytes. Choose a shorter one."


def _usage_message(fault: BaseException) -> str | None:
    """Say in words how the command line was misused, if that is what went wrong."""
    message = getattr(fault, "format_message", None)
    if message is None:
        return None
    command = getattr(getattr(fault, "ctx", None), "command_path", "repurchase")
    words = message().rstrip(". ")
    return f"{words}{'' if words.endswith('?') else '.'} See `{command} --help`."


def _report_fault(fault: RepurchaseError | str, code: int, *, as_json: bool) -> int:
    if as_json:
        log_fault(fault, exit_code=code, values=requested_log_values(sys.argv[1:]))
    else:
        sys.stderr.write(f"repurchase: {' '.join(str(fault).split())}\n")
    return code


def _with_log_options(run: Callable[..., None]) -> Callable[..., None]:
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


ENGINES = ("local", "spark")

EngineName = Annotated[
    str, typer.Option("--engine", metavar="local|spark", help="Where the heavy part is done: here, or on Spark.")
]
Master = Annotated[str | None, typer.Option(help="Of Spark: spark://host:7077, yarn, k8s://... or local[n].")]
SparkConf = Annotated[
    list[str] | None, typer.Option(help="Of Spark: a setting, spark.name=value; may be given more than once.")
]


@contextmanager
def open_engine(
    engine: str, master: str | None, spark_conf: list[str] | None, *, dry_run: bool = False
) -> Iterator["Cluster | None"]:
    """Hold what does the heavy part of a job."""
    if engine not in ENGINES:
        raise InputError(f"--engine must be {' or '.join(ENGINES)}. Got '{engine}' instead.")
    if engine == "local":
        if master or spark_conf:
            raise InputError("--master and --spark-conf are for --engine spark. Say that, or leave them out.")
        yield None
        return
    if dry_run:
        raise InputError("--dry-run reads everything here, on one machine. Leave --engine spark out for it.")
    from repurchase.jobs.order_intake import workspace
    from repurchase.spark.cluster import open_cluster
    from repurchase.spark.session import parse_spark_settings

    told = parse_spark_settings(spark_conf or [])
    with workspace() as folder, open_cluster(master, told, folder) as cluster:
        yield cluster


class TerminalSteps:
    """One line per step, with a bar where its length is known."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.timings_seconds: dict[str, float] = {}
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(file=cast("IO[str]", RedactingStream(sys.__stderr__, plain=False))),
        )
        self._task = self._bars.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Show a step while it runs."""
        begin = time.perf_counter()
        self._task = self._bars.add_task(name, total=None)
        yield {}
        self._bars.update(self._task, total=1, completed=1)
        self.timings_seconds[name] = round(time.perf_counter() - begin, 3)

    def progress(self, done: int, total: int) -> None:
        """Show how far the current step is."""
        self._bars.update(self._task, total=total, completed=done)


Home = Annotated[Path, typer.Option(help="Folder that holds models/, mlruns/ and outputs/.")]


@dataclass(frozen=True)
class OrderOptions:
    """What a command was told about the orders it reads."""

    source: "str | DatabaseSource"
    home: Path
    as_of: date | None
    flags: dict[str, Any] = field(default_factory=dict)

    def settings(self, **more: Any) -> "Settings":
        """Read the home folder's settings and put what was told over them."""
        from repurchase.settings import Settings

        return Settings.load(self.home, **self.flags, **more)


def _parse_order_options(
    orders: Annotated[
        str, typer.Argument(help="CSV(.gz) or Parquet: a file, a folder or a quoted glob; or a database's address.")
    ],
    *,
    home: Home = Path(),
    as_of: Annotated[
        str | None, typer.Option(help="Last day observed, YYYY-MM-DD; default the last order's day.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Which column is which: customer_id=Kunde,order_date=Dato,...")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone in which days are counted, such as Europe/Oslo.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the amounts, as shown to readers.")] = None,
    date_order: Annotated[str | None, typer.Option(help="What 03/04/2024 means: day_first or month_first.")] = None,
    decimal_mark: Annotated[
        str | None, typer.Option(help="Decimal mark where 12.395 can be read in two ways: point or comma.")
    ] = None,
    sale_statuses: Annotated[
        str | None, typer.Option(help="Statuses of orders that count: paid,sent,... All others do not.")
    ] = None,
    not_sale_statuses: Annotated[
        str | None, typer.Option(help="Statuses of orders that do not count, beside those that say so.")
    ] = None,
    query: Annotated[str | None, typer.Option(help="Of a database: one SELECT or WITH that gives the orders.")] = None,
    table: Annotated[
        str | None, typer.Option(help="Of a database: the table of orders, schema.table as in SQL.")
    ] = None,
    retry_seconds: Annotated[
        int | None, typer.Option(help="Seconds for which a database that has gone away is tried again.")
    ] = None,
    on_bad_file: Annotated[
        str | None,
        typer.Option(
            metavar="fail|set-aside", help="Damaged files and CSV lines among many: fail (default) or set-aside."
        ),
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(help="Gigabytes that may be used, about (default 4); a larger log is partitioned.")
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of customers; default as many as the memory asks for.")
    ] = None,
) -> OrderOptions:
    from repurchase.sources.locations import parse_orders_source

    flags = {
        "columns": parse_columns(columns),
        "timezone": timezone,
        "currency": currency,
        "date_order": date_order,
        "sale_statuses": split_names(sale_statuses),
        "not_sale_statuses": split_names(not_sale_statuses),
        "decimal_mark": decimal_mark,
        "retry_seconds": retry_seconds,
        "on_bad_file": on_bad_file and on_bad_file.replace("-", "_"),
        "memory_gb": memory_gb,
        "partitions": partitions,
    }
    return OrderOptions(
        parse_orders_source(orders, query=query, table=table), home, parse_day(as_of, option="--as-of"), flags
    )


def with_order_options(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments and options of all that read orders."""
    own = dict(list(inspect.signature(run).parameters.items())[1:])
    shared = dict(inspect.signature(_parse_order_options).parameters)
    first = [parameter for parameter in own.values() if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
    later = [parameter for parameter in own.values() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    orders, *options = shared.values()
    signature = inspect.Signature([*first, orders, *later, *options], return_annotation=None)

    @wraps(run)
    def command(*args: Any, **given: Any) -> None:
        bound = signature.bind(*args, **given).arguments
        told = _parse_order_options(**{name: value for name, value in bound.items() if name in shared})
        run(told, **{name: value for name, value in bound.items() if name in own})

    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split ``one,two words,three``."""
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text is not None else None


def parse_columns(text: str | None) -> dict[str, str] | None:
    """Read ``name=column,name=column``."""
    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    wrong = [name for name, sign, column in parts if not (sign and name.strip() and column.strip())]
    if wrong:
        raise InputError(
            f"--columns: '{wrong[0]}' is not of the form name=column. Such as customer_id=Kunde,amount=Sum."
        )
    return {name.strip(): column.strip() for name, _, column in parts}


def parse_day(text: str | None, *, option: str) -> date | None:
    """Read a day that an option was given."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError as fault:
        raise InputError(f"{option} must be a day such as 2024-12-31. Got '{text}' instead.") from fault


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


@contextmanager
def progress_display() -> "Iterator[Steps]":
    if sys.stderr.isatty() and requested_log_format(sys.argv[1:]) == "text":
        with TerminalSteps() as steps:
            yield steps
    else:
        from repurchase.jobs.order_intake import LogSteps

        yield LogSteps()
