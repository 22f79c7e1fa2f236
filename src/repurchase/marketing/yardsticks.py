"""What others report about repeat business: read from a file that anyone can edit, with source and caveat."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from repurchase.errors import InputError, first_few

__all__ = ["MEASURES", "YARDSTICKS", "Yardstick", "read_yardsticks"]

YARDSTICKS = "yardsticks.toml"
MEASURES = (
    "repeat_purchase_rate",
    "retention",
    "retention_year",
    "lost",
    "lost_year",
    "reorder_rate",
    "returning_sales",
)
"""What may have a yardstick: the measures on the page that are shares of one meaning."""


class Yardstick(NamedTuple):
    """A number from elsewhere.

    Parameters
    ----------
    measure : str
        What it is a yardstick of.
    low, high : float
        Range, as shares.
    source, address : str
        Who says so, and where; the address may be empty.
    caveat : mapping of str to str
        Locale to what speaks against comparing.
    """

    measure: str
    low: float
    high: float
    source: str
    address: str
    caveat: Mapping[str, str]

    def caveat_in(self, locale: str) -> str:
        """Say what speaks against comparing.

        Parameters
        ----------
        locale : str
            The language wanted.

        Returns
        -------
        str
            In that language, else in English.
        """
        return self.caveat.get(locale) or self.caveat["en"]


def read_yardsticks(path: Path | None = None) -> tuple[Yardstick, ...]:
    """Read the yardsticks.

    Parameters
    ----------
    path : Path, optional
        A file of one's own; without it, those that ship with the package.

    Returns
    -------
    tuple of Yardstick
        In the file's order.

    Raises
    ------
    InputError
        If the file is not one of yardsticks.

    Examples
    --------
    >>> [one.measure for one in read_yardsticks()]
    ['repeat_purchase_rate', 'returning_sales', 'lost_year']
    """
    source = files("repurchase.marketing").joinpath(YARDSTICKS) if path is None else path
    try:
        told = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as fault:
        raise InputError(f"{path}: cannot be read as TOML ({fault}). Mend it or remove it.") from fault
    rows, others = told.pop("yardstick", []), list(told)
    if others or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        found = first_few(others) if others else f"yardstick = {rows}"
        raise InputError(f"{source}: each yardstick is a table headed [[yardstick]], and nothing else. Found: {found}.")
    return tuple(_checked(row, f"{source}: yardstick {number}") for number, row in enumerate(rows, start=1))


def _checked(row: Mapping[str, Any], told: str) -> Yardstick:
    missing = [name for name in ("measure", "low", "high", "source", "caveat") if name not in row]
    if missing:
        raise InputError(f"{told} lacks {', '.join(missing)}. A yardstick without source and caveat is not shown.")
    if row["measure"] not in MEASURES:
        known = first_few(MEASURES, shown=len(MEASURES))
        raise InputError(f"{told} is of '{row['measure']}'. A yardstick may be of: {known}.")
    low, high = row["low"], row["high"]
    if not all(_is_number(end) for end in (low, high)) or not 0 <= low <= high <= 1:
        raise InputError(f"{told}: low and high must be shares from 0 to 1, low first. Got {low} and {high} instead.")
    caveat = row["caveat"] if isinstance(row["caveat"], dict) else {}
    if not caveat.get("en") or not _are_texts(row["source"], *caveat.values()):
        raise InputError(f"{told} needs a source, and a caveat in English at least: [yardstick.caveat] en = ...")
    return Yardstick(row["measure"], low, high, row["source"], str(row.get("address") or ""), caveat)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) and value.strip() for value in values)
