"""Which files an order log consists of: one, those of a folder, or those that match a pattern; and what folders say."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from repurchase.errors import OrdersError, first_few

__all__ = ["find_files", "fixed_part", "is_parquet", "nearest_names", "partition_columns", "readable_among"]

_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".zip", ".numbers")
_PARQUET_MARK = b"PAR1"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find_files(source: str) -> tuple[list[Path], list[str]]:
    """Name the files of an order log.

    Parameters
    ----------
    source : str
        A file, a folder (searched to the bottom; hidden files are left out), or a glob.

    Returns
    -------
    files : list of Path
        Sorted by path.
    notes : list of str
        What else lay there.

    Raises
    ------
    OrdersError
        If there is none, or if spreadsheets lie among them.
    """
    path = Path(source)
    if path.is_file():
        return [path], []
    if path.is_dir():
        return _in_folder(path)
    if any(sign in source for sign in "*?["):
        matches = _matches(path)
        if matches:
            return matches, []
        raise OrdersError(f"{source}: no file matches. Check the pattern, and put it in quotation marks.")
    raise OrdersError(f"{source}: no such file or folder.{nearest_names(path)}")


def is_parquet(path: Path) -> bool:
    """Say whether a file is Parquet, by its first bytes or by its name.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Otherwise it is taken for text.
    """
    with path.open("rb") as file:
        mark = file.read(4)
    return mark == _PARQUET_MARK or path.suffix.lower() in _PARQUET


def nearest_names(path: Path) -> str:
    """Say what else could have been meant by a path that leads nowhere.

    Parameters
    ----------
    path : Path
        Where nothing is.

    Returns
    -------
    str
        Advice, with a blank before it.
    """
    if not path.parent.is_dir():
        return " Check the path."
    near = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    return f" Did you mean {' or '.join(near)}?" if near else " Check the path."


def partition_columns(paths: Sequence[str], *, root: str) -> list[dict[str, str | None]]:
    """Read the columns that folders' names hold, as in ``year=2024/month=01/part-0.parquet``.

    Parameters
    ----------
    paths : sequence of str
        The files, with ``/`` between folders.
    root : str
        The folder or pattern they were found by; names of folders above it say nothing.

    Returns
    -------
    list of dict
        For each file its columns, as text. Empty for all where they do not all have the same.

    Examples
    --------
    >>> partition_columns(["log/year=2024/a.csv", "log/year=2025/b.csv"], root="log")
    [{'year': '2024'}, {'year': '2025'}]
    >>> partition_columns(["log/year=2024/a.csv", "log/b.csv"], root="log")
    [{}, {}]
    """
    above = len(fixed_part(root))
    found = [_pairs(path.split("/")[above:-1]) for path in paths]
    if len({tuple(pairs) for pairs in found}) > 1:
        return [{} for _ in paths]
    return found


def fixed_part(pattern: str) -> list[str]:
    """Name the folders of a pattern above its first sign.

    Parameters
    ----------
    pattern : str
        A path, with or without ``*``, ``?`` and ``[``.

    Returns
    -------
    list of str
        Its parts; all of them where there is no sign.

    Examples
    --------
    >>> fixed_part("shop/orders/*.csv")
    ['shop', 'orders']
    """
    parts = pattern.rstrip("/").split("/")
    signs = (at for at, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return parts[: next(signs, len(parts))]


def _pairs(folders: Sequence[str]) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs if name}


def _matches(pattern: Path) -> list[Path]:
    try:
        found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        return sorted(match for match in found if match.is_file() and not match.name.startswith((".", "_")))
    except ValueError:
        return []


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    entries = sorted(entry for entry in folder.rglob("*") if entry.is_file() and not _hidden(entry, folder))
    names = {entry: entry.relative_to(folder).as_posix() for entry in entries}
    readable, left_out = readable_among([*names.values()], where=str(folder))
    wanted = set(readable)
    return [entry for entry, name in names.items() if name in wanted], left_out


def readable_among(names: Sequence[str], *, where: str) -> tuple[list[str], list[str]]:
    """Tell the files of a folder that can hold orders from others, by their names.

    Parameters
    ----------
    names : sequence of str
        All files of the folder, with ``/`` between folders.
    where : str
        What messages call the folder.

    Returns
    -------
    names : list of str
        CSV and Parquet files.
    notes : list of str
        What else lay there.

    Raises
    ------
    OrdersError
        If there is none, or if spreadsheets lie among them.
    """
    readable = [name for name in names if name.lower().endswith(_PARQUET + _TEXT)]
    sheets = [_last(name) for name in names if name.lower().endswith(_SPREADSHEETS)]
    others = [_last(name) for name in names if name not in set(readable)]
    if not readable:
        raise OrdersError(
            f"{where}: no CSV or Parquet file in this folder. Found: {first_few(others) if others else 'nothing'}. "
            "Save the orders as CSV or Parquet."
        )
    if sheets:
        raise OrdersError(
            f"{where}: {len(sheets)} of {len(names)} files cannot be read as orders: {first_few(sheets)}. "
            "Save them as CSV or Parquet, or move them away."
        )
    return readable, [f"Left out, as neither CSV nor Parquet: {first_few(others)}."] if others else []


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _hidden(entry: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in entry.relative_to(folder).parts)
