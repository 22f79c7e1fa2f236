"""What is said of a file from which customers are taken."""

from pathlib import Path

__all__ = ["counted", "done", "shown"]


def shown(path: Path, home: Path) -> str:
    """Name a file as it is seen from the home folder.

    Parameters
    ----------
    path, home : Path
        The file, and the folder it lies in.

    Returns
    -------
    str
        The path from there.
    """
    return str(path.relative_to(home))


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
