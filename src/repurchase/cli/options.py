"""Options that commands share, each defined once: an annotated type, or a field of an options class."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from repurchase.cli.process import progress_display, styled_output
from repurchase.errors import InputError
from repurchase.i18n.catalogues import LOCALES

if TYPE_CHECKING:
    from repurchase.settings import Settings
    from repurchase.sources.locations import DatabaseSource
    from repurchase.spark.cluster import Cluster

Run = TypeVar("Run", bound=Callable[..., None])

INPUT, OUTPUT, MODEL, ENGINE, ADVANCED = "Input", "Output", "Model", "Engine", "Advanced"
PANELS = (None, INPUT, OUTPUT, MODEL, ENGINE, ADVANCED)
"""Groups of options in help texts, in the order in which they are shown; None is shown first."""


def option(help_text: str, panel: str | None = None, *names: str, **settings: Any) -> Any:
    """Describe an option."""
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **settings)


def argument(help_text: str, name: str) -> Any:
    """Describe an argument."""
    return typer.Argument(help=help_text, metavar=name)


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _parse_columns(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",")]
    wrong = [name for name, sign, column in parts if not (sign and name.strip() and column.strip())]
    if wrong:
        raise InputError(f"--columns: '{wrong[0]}' is not of the form name=column, such as customer_id=Kunde.")
    return {name.strip(): column.strip() for name, _, column in parts}


def _parse_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError as fault:
        raise typer.BadParameter(f"'{text}' is not a day such as 2024-12-31") from fault


def _complete_locale(start: str) -> list[str]:
    return [code for code in LOCALES if code.startswith(start)]


day_option = partial(option, parser=_parse_day, metavar="YYYY-MM-DD")
columns_option = partial(option, parser=_parse_columns, metavar="NAME=COLUMN")
statuses_option = partial(option, panel=INPUT, parser=_split_names, metavar="NAME,...")
locale_option = partial(option, metavar="|".join(LOCALES), autocompletion=_complete_locale)

ScoresFile = Annotated[Path, argument("Scores written by `repurchase score`.", "SCORES")]
Home = Annotated[Path, option("Folder with models/, mlruns/, outputs/ and repurchase.toml.")]
Columns = Annotated[Any, columns_option("Columns of the orders: customer_id=Kunde,order_date=Dato,...")]
IdColumn = Annotated[Any, columns_option("Column of ids in the list: customer_id=Kunde.", INPUT, "--columns")]
Query = Annotated[str | None, option("Database: one SELECT or WITH statement that returns the orders.", INPUT)]
Table = Annotated[str | None, option("Database: table of the orders, written as in SQL (schema.table).", INPUT)]
Horizons = Annotated[list[int] | None, option("Prediction window; repeatable.", MODEL, metavar="DAYS")]
DryRun = Annotated[bool, option("Run every step except writing.", None, "--dry-run")]
Jobs = Annotated[int | None, option("Parallel workers; default one per core.", ENGINE)]


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """Options of all commands that read orders; most are fields of `Settings`."""

    orders: Annotated[str, argument("Orders: a file, folder, quoted glob, URL or database.", "ORDERS")]
    columns: Columns = None
    as_of: Annotated[date | None, day_option("Last observed day; default the day of the last order.")] = None
    home: Home = Path()
    timezone: Annotated[str | None, option("Time zone of calendar days, such as Europe/Oslo.", INPUT)] = None
    currency: Annotated[str | None, option("Currency of the amounts, such as NOK.", INPUT)] = None
    date_order: Annotated[
        Literal["day_first", "month_first"] | None, option("How to read 03/04/2024 if the column is unclear.", INPUT)
    ] = None
    decimal_mark: Annotated[
        Literal["point", "comma"] | None, option("How to read 1.234 if the column is unclear.", INPUT)
    ] = None
    sale_statuses: Annotated[Any, statuses_option("Statuses that are sales, and no others.")] = None
    not_sale_statuses: Annotated[Any, statuses_option("Further statuses that are not sales.")] = None
    table: Table = None
    query: Query = None
    on_bad_file: Annotated[
        Literal["fail", "set-aside"] | None,
        option("Stop at damaged files and CSV lines (default), or leave them out.", INPUT),
    ] = None
    memory_gb: Annotated[float | None, option("Approximate memory limit in GB (default 4).", ENGINE)] = None
    partitions: Annotated[int | None, option("Customer partitions; default by --memory-gb.", ENGINE)] = None
    retry_seconds: Annotated[int | None, option("How long to retry a database (default 60).", ADVANCED)] = None

    @property
    def source(self) -> "str | DatabaseSource":
        """Where the orders are."""
        from repurchase.sources.locations import parse_orders_source

        return parse_orders_source(self.orders, query=self.query, table=self.table)

    def settings(self, *, horizons: list[int] | None = None, **more: Any) -> "Settings":
        """Load the home folder's settings, overridden by options."""
        from repurchase.settings import Settings

        given = {name: value for name, value in vars(self).items() if name not in {"orders", "as_of", "table", "query"}}
        given["on_bad_file"] = self.on_bad_file and self.on_bad_file.replace("-", "_")
        return Settings.load(**given, horizons=tuple(horizons) if horizons else None, **more)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of commands that can run on a Spark cluster."""

    engine: Annotated[Literal["local", "spark"], option("Run on this machine or on Spark.", ENGINE)] = "local"
    master: Annotated[str | None, option("Spark master: spark://host:7077, yarn, k8s://...", ENGINE)] = None
    spark_conf: Annotated[list[str] | None, option("Spark setting; repeatable.", ENGINE, metavar="NAME=VALUE")] = None
    dry_run: DryRun = False

    @contextmanager
    def start(self) -> Iterator[dict[str, Any]]:
        """Start the engine and the progress display, as arguments of a job."""
        if self.engine == "local" and (self.master or self.spark_conf):
            raise InputError("--master and --spark-conf require --engine spark. Add it, or leave them out.")
        if self.engine == "spark" and self.dry_run:
            raise InputError("--dry-run works with --engine local only. Leave --engine spark out.")
        with self._cluster() as cluster, progress_display() as steps:
            yield {"cluster": cluster, "steps": steps, "dry_run": self.dry_run}

    @contextmanager
    def _cluster(self) -> Iterator["Cluster | None"]:
        if self.engine == "local":
            yield None
            return
        from repurchase.jobs.order_intake import workspace
        from repurchase.spark.cluster import open_cluster
        from repurchase.spark.session import parse_spark_settings

        spark_settings = parse_spark_settings(self.spark_conf or [])
        with workspace() as folder, open_cluster(self.master, spark_settings, folder) as cluster:
            yield cluster


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Options of all commands; `logs` looks for them before the command line is parsed, to log usage errors too."""

    log_format: Annotated[Literal["text", "json"], option("Format of log lines on standard error.", ADVANCED)] = "text"
    log_values: Annotated[
        bool, option("Allow JSON log lines to quote values of rows (personal data).", ADVANCED, "--log-values")
    ] = False


class _Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        with styled_output():
            super().format_help(ctx, formatter)


class _Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        with styled_output():
            super().format_help(ctx, formatter)


class CommandGroup(typer.Typer):
    """Commands whose parameters may be options classes, and which all have `LogOptions`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, rich_markup_mode="rich", pretty_exceptions_enable=False, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Run], Run]:
        """Register a function as a command."""
        register = super().command(name, cls=_Command, **settings)

        def add(run: Run) -> Run:
            register(_expand_options(run))
            return run

        return add


def _expand_options(run: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is an options class by one parameter per field, and add the log options."""
    declared = inspect.signature(run).parameters
    classes: dict[str, Any] = {name: one.annotation for name, one in declared.items() if is_dataclass(one.annotation)}
    expanded = {name: one for name, one in declared.items() if name not in classes}
    for options in (*classes.values(), LogOptions):
        expanded |= inspect.signature(options).parameters

    @wraps(run)
    def command(**values: Any) -> None:
        objects = {name: cls(**{one.name: values[one.name] for one in fields(cls)}) for name, cls in classes.items()}
        run(**{name: objects[name] if name in objects else values[name] for name in declared})

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in expanded.values()]
    vars(command)["__signature__"] = inspect.Signature(sorted(parameters, key=_help_order))
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _help_order(parameter: inspect.Parameter) -> int:
    """Arguments first, then options by panel."""
    (info,) = (one for one in get_args(parameter.annotation) if isinstance(one, ArgumentInfo | OptionInfo))
    return -1 if isinstance(info, ArgumentInfo) else PANELS.index(info.rich_help_panel)
