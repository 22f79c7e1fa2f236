"""What is said of a file from which customers are taken, also where the system refuses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from repurchase.errors import DeliveryError

__all__ = ["counted", "done", "refusals", "shown"]


def shown(path: Path, home: Path) -> str:
    """Name a file as it is seen from the home folder.

    Parameters
    ----------
    path, home : Path
        The file, and the folder it lies in.

    Returns
    -------
    str
        The path from there; the whole one of a file that lies elsewhere.
    """
    return str(path.relative_to(home) if path.is_relative_to(home) and path != home else path)


def done(what: str, dry_run: bool) -> str:
    """Say what was done, or would be.

    Parameters
    ----------
    what : str
        A participle.
    dry_run : bool
        Whether nothing is changed.

    Returns
    -------
    str
        Words.

    Examples
    --------
    >>> done("removed", False), done("removed", True)
    ('removed', 'would be removed')
    """
    return f"would be {what}" if dry_run else what


def counted(number: int, noun: str) -> str:
    """Say a number of things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        One of them.

    Returns
    -------
    str
        Words.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Make one line of what the system refuses.

    Parameters
    ----------
    path : Path
        The file that is being changed.

    Yields
    ------
    None
        While it is.

    Raises
    ------
    DeliveryError
        If it cannot be written, or another run is writing it.
    """
    try:
        yield
    except DeliveryError as fault:
        if "another run" in str(fault):
            raise
        raise DeliveryError(_refused(path, fault.__cause__)) from fault
    except (OSError, pl.exceptions.ComputeError) as fault:
        raise DeliveryError(_refused(path, fault)) from fault


def _refused(path: Path, fault: BaseException | None) -> str:
    why = (fault.strerror if isinstance(fault, OSError) else None) or "no right or no space"
    return (
        f"{path} cannot be written: {why}. It is as it was; what was named before is done. Correct that and run again."
    )
