"""Frozen Settings from defaults, repurchase.toml and command-line flags.

``repurchase.toml`` lies in the home folder (``--home``); every key is optional::

    timezone = "Europe/Oslo"        # calendar days in this zone; without it, days as written in the export
    currency = "NOK"
    date_order = "day_first"        # or "month_first": what 03/04/2024 means, where the column is ambiguous
    decimal_mark = "comma"          # or "point": what 1.234 means, where the column is ambiguous
    sale_statuses = ["paid", "sent"]  # statuses of orders that count; without it, inferred from their names
    real_customers = ["B2B-1"]      # customers who do hold most of the orders
    not_sale_statuses = ["on hold"]  # further statuses of orders that do not count
    duplicates = "set_aside"        # or "keep": rows equal in every column
    returns = "net"                 # or "set_aside": cancellations and returns
    on_bad_file = "fail"            # or "set_aside": damaged files and lines of CSV among many
    horizons = [30, 90, 180, 365]
    clv_horizon_days = 365
    discount_rate = 0.10            # a year
    random_state = 0
    jobs = 2                        # side by side: fits, and blocks of customers that are scored
    memory_gb = 4.0                 # a larger log is worked through in partitions of customers
    partitions = 12                 # how many; without it, as many as memory_gb requires
    retry_seconds = 60              # how long a lost database connection is retried
    tracking_seconds = 30           # how long a finished scoring run may take to log itself to MLflow; 0: not at all
    pseudonyms = false              # true: customer ids in outputs as keyed hashes
    spark_sample = 200000           # customers that boosting learns from, where training runs on Spark

    [columns]
    customer_id = "Kunde"
    order_date = "Dato"
    amount = "Beløp"

    [sufficiency]
    min_customers = 100
    min_repeat_buyers = 30

    [lists]                         # see marketing.lists
    margin = 0.30                   # of a sale, after the cost of goods
    effect = 0.05                   # of the value at risk, what one contact is assumed to keep
    locale = "nb"
    mail_tool = "klaviyo"
    [lists.columns.klaviyo]         # our column = the mail tool's; an empty name leaves it out
    segment = "Segment"
    [lists.contacts]                # what a contact file's columns are called
    email = "E-post"
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from repurchase.errors import InputError
from repurchase.validation import (
    FLAG,
    TABLE,
    Check,
    Fault,
    first_fault,
    integer,
    is_number,
    is_text_list,
    one_of,
)

DEFAULT_HORIZONS = (30, 90, 180, 365)
SETTINGS_FILE = "repurchase.toml"
SUFFICIENCY = ("min_customers", "min_repeat_buyers")
MAX_SETTINGS_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of a run; frozen, so no step can change them for the next.

    Parameters
    ----------
    home : Path
        Folder that holds ``models/``, ``mlruns/`` and ``outputs/``.
    columns : mapping of str to str
        Our name to the export's name, for layouts that are not recognised.
    timezone : str, optional
        IANA zone in which calendar days are counted. Without it the day is taken as written in the export.
    currency : str, optional
        The orders' currency, as shown to readers.
    date_order : {"day_first", "month_first"}, optional
        What ``03/04/2024`` means where the column itself does not decide.
    decimal_mark : {"point", "comma"}, optional
        What ``1.234`` means where the column itself does not decide.
    sale_statuses : tuple of str
        Statuses of orders that count as sales; where it is given, no other status does.
    not_sale_statuses : tuple of str
        Statuses of orders that do not count.
    real_customers : tuple of str
        Ids that hold an implausible share of the orders and are customers all the same.
    duplicates : {"set_aside", "keep"}
        Rows equal in every column to an earlier one.
    returns : {"net", "set_aside"}
        Cancellations and returns: netted against the sale or the day, or left out.
    on_bad_file : {"fail", "set_aside"}
        Damaged files among several, and lines of CSV with too many fields: refused, or left out, named and counted.
    horizons : tuple of int, optional
        Days ahead. Without it: 30, 90, 180 and 365, cut to what the history supports.
    clv_horizon_days : int
        Days over which lifetime value is counted.
    discount_rate : float
        Yearly rate at which later money counts less.
    min_customers, min_repeat_buyers : int
        Below these nothing is fitted.
    random_state : int
        Seed of everything random.
    jobs : int
        Fits that run side by side.
    memory_gb : float
        Memory that a job may use, about; it sets the number of partitions.
    partitions : int, optional
        Partitions of customers, whatever their memory.
    retry_seconds : int
        After a database's first fault that may pass, how long another try may begin; also the longest wait for a lock.
    tracking_seconds : int
        How long scoring may take to log its run to MLflow once the scores are delivered; 0 for not at all.
    pseudonyms : bool
        Whether customer ids in outputs are keyed hashes (see ``orders.ids``).
    lists : mapping
        How lists are made (see ``marketing.lists``, which checks it).
    spark_sample : int
        Customers that boosting learns from, at most, where training runs on a Spark cluster.

    Raises
    ------
    InputError
        If a value is outside its range.

    Examples
    --------
    >>> Settings(horizons=(90, 30)).horizons
    (30, 90)
    >>> Settings(returns="keep")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: The setting 'returns' must be one of net, set_aside. Got 'keep' instead.
    """

    home: Path = Path()
    columns: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    currency: str | None = None
    date_order: Literal["day_first", "month_first"] | None = None
    decimal_mark: Literal["point", "comma"] | None = None
    sale_statuses: tuple[str, ...] = ()
    not_sale_statuses: tuple[str, ...] = ()
    real_customers: tuple[str, ...] = ()
    duplicates: Literal["set_aside", "keep"] = "set_aside"
    returns: Literal["net", "set_aside"] = "net"
    on_bad_file: Literal["fail", "set_aside"] = "fail"
    horizons: tuple[int, ...] | None = None
    clv_horizon_days: int = 365
    discount_rate: float = 0.10
    min_customers: int = 100
    min_repeat_buyers: int = 30
    random_state: int = 0
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_gb: float = 4.0
    partitions: int | None = None
    retry_seconds: int = 60
    tracking_seconds: int = 30
    pseudonyms: bool = False
    lists: Mapping[str, Any] = field(default_factory=dict)
    spark_sample: int = 200_000

    def __post_init__(self) -> None:
        """Check every value, and put horizons in order.

        Raises
        ------
        InputError
            If a value is outside its range.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            fault = None if value is None and item.default is None else first_fault(value, _check_of(item))
            if fault:
                raise InputError(f"The setting '{item.name}' {fault}")
        for name in ("sale_statuses", "not_sale_statuses", "real_customers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.horizons is not None:
            object.__setattr__(self, "horizons", tuple(sorted(set(self.horizons))))

    @classmethod
    def load(cls, home: Path = Path(), **flags: Any) -> "Settings":
        """Read the home folder's settings file and let flags override it.

        Parameters
        ----------
        home : Path
            Folder that may hold ``repurchase.toml``.
        **flags
            Fields of `Settings`; None means not given.

        Returns
        -------
        Settings
            Defaults, then the file, then the flags.

        Raises
        ------
        InputError
            If the file cannot be read, or names a key that does not exist.
        """
        given = {key: value for key, value in flags.items() if value is not None}
        from_file = _read_settings_file(home / SETTINGS_FILE)
        columns = {**from_file.pop("columns", {}), **given.pop("columns", {})}
        return cls(home=home, **{**from_file, **given, "columns": columns})


def _is_zone(name: object) -> bool:
    from zoneinfo import available_timezones

    return isinstance(name, str) and name in available_timezones()


def _is_word_list(value: Any) -> bool:
    return is_text_list(value) and all(word.strip() for word in value)


def _is_horizon_list(value: Any) -> bool:
    return isinstance(value, tuple | list) and bool(value) and all(_HORIZON.holds(days) for days in value)


_HORIZON = integer(1, 3650, "1 to 3650 days")
_AT_LEAST_ONE = integer(1, expected="1 or more")
_STATUSES = Check(_is_word_list, "a list of words such as ['paid', 'sent']")
_CHECKS: Mapping[str, Check] = {
    "home": Check(lambda value: isinstance(value, Path), "a folder"),
    "columns": Check(
        lambda value: isinstance(value, Mapping) and is_text_list([*value.values()]),
        "a table of names of columns, such as customer_id = 'Kunde'",
    ),
    "timezone": Check(_is_zone, "an IANA time zone such as Europe/Oslo"),
    "currency": Check(lambda value: isinstance(value, str), "a name such as NOK"),
    "sale_statuses": _STATUSES,
    "not_sale_statuses": _STATUSES,
    "real_customers": _STATUSES,
    "horizons": Check(_is_horizon_list, "a list of 1 to 3650 days each, such as [30, 90]"),
    "clv_horizon_days": _HORIZON,
    "discount_rate": Check(lambda value: is_number(value) and 0 <= value < 1, "a yearly rate from 0 up to 1"),
    "min_customers": _AT_LEAST_ONE,
    "min_repeat_buyers": _AT_LEAST_ONE,
    "random_state": integer(0, 2**32 - 1, "0 to 4294967295"),
    "jobs": _AT_LEAST_ONE,
    "memory_gb": Check(lambda value: is_number(value) and 0.1 <= value < 1e6, "gigabytes, 0.1 or more"),
    "partitions": integer(1, 10_000, "1 to 10000, or left out"),
    "retry_seconds": integer(0, 86_400, "0 to 86400 seconds"),
    "tracking_seconds": integer(0, 3600, "0 to 3600 seconds"),
    "pseudonyms": FLAG,
    "lists": TABLE,
    "spark_sample": _AT_LEAST_ONE,
}
"""For each setting whose type is not a `Literal`."""


def _check_of(item: "Field[Any]") -> Check:
    annotations = (item.type, *get_args(item.type))
    choices = [value for one in annotations if get_origin(one) is Literal for value in get_args(one)]
    return one_of(*choices) if choices else _CHECKS[item.name]


def _read_settings_file(path: Path) -> dict[str, Any]:
    content = _parse_settings_file(path)
    tables = {"columns?": TABLE, "lists?": TABLE, "sufficiency?": TABLE}
    if fault := first_fault(content, tables):
        raise InputError(f"The setting '{fault.path}' {fault}")
    thresholds = content.pop("sufficiency", {})
    if not thresholds.keys() <= set(SUFFICIENCY):
        found = Fault("sufficiency", f"a table of {', '.join(SUFFICIENCY)}", thresholds)
        raise InputError(f"The setting 'sufficiency' {found}")
    content.update(thresholds)
    known = {item.name for item in fields(Settings)} - {"home"}
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(known))}."
            raise InputError(f"{path}: unknown setting '{key}'.{hint}")
    return content


def _parse_settings_file(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_SETTINGS_BYTES:
            found = f"{size:,} bytes, more than {MAX_SETTINGS_BYTES:,}" if path.is_file() else "no regular file"
            raise InputError(f"{path}: {found}. Correct it or move it away.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        if path.is_symlink():
            raise InputError(f"{path}: a link to nothing. Correct it or move it away.") from fault
        return {}
    except NotADirectoryError:
        return {}
    except InputError:
        raise
    except RecursionError as fault:
        raise InputError(f"{path}: nested too deeply for settings. Correct it or move it away.") from fault
    except (ValueError, OSError) as fault:  # of TOML, of its encoding, and of numbers with thousands of digits
        raise InputError(f"{path}: not readable as TOML ({fault}). Correct it or move it away.") from fault
