"""Which files an order log consists of: one, those of a folder, or those that match a pattern; and what folders say."""

import difflib
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from repurchase.errors import OrdersError, first_few
from repurchase.orders.archives import is_explanation
from repurchase.orders.walking import files_below, files_matching, require_name

__all__ = [
    "SPARK_TABLES",
    "find_files",
    "fixed_part",
    "is_parquet",
    "nearest_names",
    "partition_columns",
    "readable_among",
]

_PARQUET = (".parquet", ".pq")
_TEXT = tuple(
    text + packed for text in (".csv", ".tsv", ".txt", ".tab") for packed in ("", ".gz", ".bz2", ".xz", ".zst")
)
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".zip")
_UNREADABLE = (".numbers", ".xlsb", ".7z", ".rar", ".tar", ".tgz", ".tar.gz", *_SPREADSHEETS)
_TABLES = _PARQUET + _TEXT + _SPREADSHEETS
SPARK_TABLES = (*_PARQUET, ".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
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
        If there is none, or if folders or files lie among them that cannot be read.
    """
    require_name(source)
    path = Path(source)
    mode = _mode(path)
    if mode is not None:
        return _in_folder(path) if stat.S_ISDIR(mode) else ([path], [])
    if any(sign in source for sign in "*?["):
        matches, notes = files_matching(path, fixed=len(Path(*fixed_part(source)).parts), endings=_TABLES)
        if matches:
            return matches, notes
        raise OrdersError(f"{source}: no file matches. Check the pattern, and put it in quotation marks.")
    raise OrdersError(f"{source}: no such file or folder.{nearest_names(path)}")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as fault:
        if not isinstance(fault, ValueError) and path.is_symlink():
            raise OrdersError(
                f"{path}: a link that leads nowhere, to {path.readlink()}. Check where it leads."
            ) from fault
        return None
    except OSError as fault:
        raise OrdersError(f"{path}: cannot be read ({fault.strerror}). Check the path.") from fault


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
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return " Check the path."
    near = difflib.get_close_matches(path.name, names, n=3)
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


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    entries, notes = files_below(folder, endings=_TABLES)
    names = {entry: entry.relative_to(folder).as_posix() for entry in entries}
    readable, left_out = readable_among([*names.values()], where=str(folder))
    wanted = set(readable)
    return [entry for entry, name in names.items() if name in wanted], [*notes, *left_out]


def readable_among(
    names: Sequence[str], *, where: str, endings: tuple[str, ...] = _TABLES
) -> tuple[list[str], list[str]]:
    """Tell the files of a folder that can hold orders from others, by their names.

    Parameters
    ----------
    names : sequence of str
        All files of the folder, with ``/`` between folders.
    where : str
        What messages call the folder.
    endings : tuple of str
        How the names of files end that can be read.

    Returns
    -------
    names : list of str
        CSV, Parquet, spreadsheets and archives.
    notes : list of str
        What else lay there.

    Raises
    ------
    OrdersError
        If there is none, or if tables lie among them that cannot be read.
    """
    tables = [name for name in names if name.lower().endswith(endings)]
    readable = [name for name in tables if not is_explanation(name)] or tables
    sheets = [_last(name) for name in names if name.lower().endswith(_UNREADABLE) and name not in set(readable)]
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
