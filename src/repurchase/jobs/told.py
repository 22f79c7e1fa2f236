"""What every command that reads orders can be told, said once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repurchase.errors import InputError

if TYPE_CHECKING:
    from repurchase.orders.addresses import DatabaseSource
    from repurchase.settings import Settings

__all__ = ["Home", "Told", "calendar_day", "pairs", "reads_orders"]

Home = Annotated[Path, typer.Option(help="Folder that holds models/, mlruns/ and outputs/.")]


@dataclass(frozen=True)
class Told:
    """What a command was told about the orders it reads.

    Parameters
    ----------
    source : str or DatabaseSource
        The orders.
    home : Path
        Folder that holds models, runs and outputs.
    as_of : date, optional
        Last day observed.
    flags : dict
        Fields of `Settings`; None means not told.
    """

    source: "str | DatabaseSource"
    home: Path
    as_of: date | None
    flags: dict[str, Any] = field(default_factory=dict)

    def settings(self, **more: Any) -> "Settings":
        """Read the home folder's settings and put what was told over them.

        Parameters
        ----------
        **more
            Further fields of `Settings`; None means not told.

        Returns
        -------
        Settings
            Frozen.
        """
        from repurchase.settings import Settings

        return Settings.load(self.home, **self.flags, **more)


def _told(
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
) -> Told:
    from repurchase.orders.addresses import orders_source

    flags = {
        "columns": pairs(columns),
        "timezone": timezone,
        "currency": currency,
        "date_order": date_order,
        "sale_statuses": words(sale_statuses),
        "not_sale_statuses": words(not_sale_statuses),
        "decimal_mark": decimal_mark,
        "retry_seconds": retry_seconds,
        "on_bad_file": on_bad_file and on_bad_file.replace("-", "_"),
        "memory_gb": memory_gb,
        "partitions": partitions,
    }
    return Told(orders_source(orders, query=query, table=table), home, calendar_day(as_of, option="--as-of"), flags)


def reads_orders(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments and options of all that read orders.

    Parameters
    ----------
    run : callable
        Takes a `Told` first, then its own arguments and options; options that do not differ between commands come
        last in its help.

    Returns
    -------
    callable
        The command.
    """
    own = dict(list(inspect.signature(run).parameters.items())[1:])
    shared = dict(inspect.signature(_told).parameters)
    first = [parameter for parameter in own.values() if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
    later = [parameter for parameter in own.values() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    orders, *options = shared.values()
    signature = inspect.Signature([*first, orders, *later, *options], return_annotation=None)

    @wraps(run)
    def command(*args: Any, **given: Any) -> None:
        bound = signature.bind(*args, **given).arguments
        told = _told(**{name: value for name, value in bound.items() if name in shared})
        run(told, **{name: value for name, value in bound.items() if name in own})

    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


def words(text: str | None) -> tuple[str, ...] | None:
    """Split ``one,two words,three``.

    Parameters
    ----------
    text : str, optional
        As given on the command line.

    Returns
    -------
    tuple of str or None
        Without blanks around them; None for nothing.

    Examples
    --------
    >>> words("paid, in progress")
    ('paid', 'in progress')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text is not None else None


def pairs(text: str | None) -> dict[str, str] | None:
    """Read ``name=column,name=column``.

    Parameters
    ----------
    text : str, optional
        As given to ``--columns``.

    Returns
    -------
    dict of str to str or None
        None for nothing.

    Raises
    ------
    InputError
        If a part is not of that form.

    Examples
    --------
    >>> pairs("customer_id=Kunde,amount=Sum")
    {'customer_id': 'Kunde', 'amount': 'Sum'}
    """
    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    wrong = [name for name, sign, column in parts if not (sign and name.strip() and column.strip())]
    if wrong:
        raise InputError(
            f"--columns: '{wrong[0]}' is not of the form name=column. Such as customer_id=Kunde,amount=Sum."
        )
    return {name.strip(): column.strip() for name, _, column in parts}


def calendar_day(text: str | None, *, option: str) -> date | None:
    """Read a day that an option was given.

    Parameters
    ----------
    text : str, optional
        As typed; None means not told.
    option : str
        What a message calls it.

    Returns
    -------
    date or None
        The day.

    Raises
    ------
    InputError
        If it is no day.

    Examples
    --------
    >>> calendar_day("2024-12-31", option="--as-of")
    datetime.date(2024, 12, 31)
    """
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError as fault:
        raise InputError(f"{option} must be a day such as 2024-12-31. Got '{text}' instead.") from fault
