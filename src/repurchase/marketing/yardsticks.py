"""What others report about repeat business: read from a file that anyone can edit, with source and caveat."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from repurchase.errors import InputError

__all__ = ["YARDSTICKS", "Yardstick", "read_yardsticks"]

YARDSTICKS = "yardsticks.toml"


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
        rows = tomllib.loads(source.read_text(encoding="utf-8")).get("yardstick", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise InputError(f"{path}: cannot be read as TOML ({fault}). Mend it or remove it.") from fault
    return tuple(_checked(row, number, path) for number, row in enumerate(rows, start=1))


def _checked(row: Mapping[str, Any], number: int, path: Path | None) -> Yardstick:
    told = f"{path or YARDSTICKS}: yardstick {number}"
    missing = [name for name in ("measure", "low", "high", "source", "caveat") if name not in row]
    if missing:
        raise InputError(f"{told} lacks {', '.join(missing)}. A yardstick without source and caveat is not shown.")
    low, high = row["low"], row["high"]
    if not all(isinstance(end, int | float) for end in (low, high)) or not 0 <= low <= high <= 1:
        raise InputError(f"{told}: low and high must be shares from 0 to 1, low first. Got {low} and {high} instead.")
    if not isinstance(row["caveat"], dict) or not row["caveat"].get("en") or not str(row["source"]).strip():
        raise InputError(f"{told} needs a source, and a caveat in English at least: [yardstick.caveat] en = ...")
    return Yardstick(row["measure"], low, high, str(row["source"]), str(row.get("address") or ""), row["caveat"])
