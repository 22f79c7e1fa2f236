"""A list of customers to score, with whatever else stands in it."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.jobs.lists.folder import ids_of_ours
from repurchase.orders.ids import clean_ids
from repurchase.orders.sources import read_table
from repurchase.orders.vocabulary import ColumnName, parse_name, plain
from repurchase.report.list_texts import id_headings

__all__ = ["CustomerList", "free_names", "id_column", "matched", "read_customers"]

_BEGINS = r"=+\-@＝＋－＠"
"""See ``marketing.cells.safe_text``."""


@dataclass(frozen=True)
class CustomerList:
    """Customers asked for.

    Parameters
    ----------
    rows : DataFrame
        ``customer_id``, each once, and the list's further columns.
    duplicates : tuple of str
        Ids that came more than once; their first row counts.
    without_id : int
        Rows that name no customer.
    path : Path, optional
        Where the list lies.
    """

    rows: pl.DataFrame
    duplicates: tuple[str, ...]
    without_id: int
    path: Path | None = None


def read_customers(path: Path, *, told: Mapping[str, str]) -> CustomerList:
    """Read a customer list.

    Parameters
    ----------
    path : Path
        CSV or Parquet with a column of ids.
    told : mapping
        ``customer_id`` to the name it has among the orders; a list may use that name too.

    Returns
    -------
    CustomerList
        Ids spelled as in the orders.

    Raises
    ------
    InputError
        If there is no such file, no id column, or no id in it.
    """
    rows = read_table(path)
    name = id_column(rows.columns, told=told, path=path)
    ids = clean_ids(_unguarded(rows[name], path)).alias("customer_id")
    further = rows.drop(name)
    listed = further.rename(free_names(further.columns, taken=["customer_id"])).insert_column(0, ids)
    known = listed.filter(pl.col("customer_id").is_not_null())
    if not known.height:
        raise InputError(
            f"{path}: {listed.height:,} rows, and not one id in column '{name}'. Send a list of customer ids."
        )
    twice = known.filter(pl.col("customer_id").is_duplicated())["customer_id"].unique(maintain_order=True)
    return CustomerList(
        rows=known.unique("customer_id", keep="first", maintain_order=True),
        duplicates=tuple(twice.to_list()),
        without_id=listed.height - known.height,
        path=path,
    )


def _unguarded(ids: pl.Series, path: Path) -> pl.Series:
    """Take the apostrophe from ids that would run as formulas, which lists of ours put there."""
    if ids.dtype != pl.String or ids_of_ours(path) is None:
        return ids
    return ids.str.replace(rf"^'([{_BEGINS}])", "$1")


_ENOUGH_IDS = 5


def matched(listed: CustomerList, known: pl.Series) -> CustomerList:
    """Name the customers of a list as the orders do, where another of its columns does.

    Parameters
    ----------
    listed : CustomerList
        As read.
    known : Series of str
        Customers of the orders.

    Returns
    -------
    CustomerList
        The same list, or one with the ids of the column that the orders know.

    Raises
    ------
    InputError
        If the orders know none of at least five ids.
    """
    if listed.rows["customer_id"].is_in(known.implode()).any() or len(listed.rows) < _ENOUGH_IDS:
        return listed
    texts = [name for name, kind in listed.rows.schema.items() if kind == pl.String and name != "customer_id"]
    found = {name: int(clean_ids(listed.rows[name]).is_in(known.implode()).sum()) for name in texts}
    best = max(found, key=lambda name: found[name], default="")
    if not best or not found[best]:
        raise InputError(
            f"{listed.path}: none of the {len(listed.rows):,} customers on the list has orders. An id on the list: "
            f"'{listed.rows['customer_id'][0]}'; an id in the orders: '{known[0]}'. Rename the column that holds the "
            "ids of the orders to customer_id.",
            withheld=(listed.rows["customer_id"][0], known[0]),
        )
    ids = clean_ids(listed.rows[best])
    rows = listed.rows.rename({"customer_id": free_names(["customer_id"], taken=listed.rows.columns)["customer_id"]})
    named = rows.drop(best).insert_column(0, ids.alias("customer_id")).filter(pl.col("customer_id").is_not_null())
    return replace(listed, rows=named.unique("customer_id", keep="first", maintain_order=True))


def free_names(names: Iterable[str], *, taken: Iterable[str]) -> dict[str, str]:
    """Find names for a list's columns beside columns that bear the same.

    Parameters
    ----------
    names : iterable of str
        The list's columns.
    taken : iterable of str
        Names that others have.

    Returns
    -------
    dict of str to str
        ``list_`` put before each name that is taken, more than once if that is taken too (scores sent as a list).

    Examples
    --------
    >>> free_names(["segment", "list_segment", "city"], taken=["segment"])
    {'segment': 'list_list_segment', 'list_segment': 'list_segment', 'city': 'city'}
    """
    names = list(names)
    others = {*taken}
    free: dict[str, str] = {}
    for name in names:
        new = name
        while new in others or (new != name and new in names):
            new = f"list_{new}"
        free[name] = new
    return free


def id_column(columns: Sequence[str], *, told: Mapping[str, str], path: Path, option: bool = False) -> str:
    """Find the column of ids in a customer list.

    Parameters
    ----------
    columns : sequence of str
        The list's columns.
    told : mapping
        ``customer_id`` to the name it has among the orders; a list may use that name too.
    path : Path
        Where the list lies; for a message, and because lists of ours have a record beside them that names the column.
    option : bool
        Whether ``--columns`` of the command tells the list's columns; a message says so.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    InputError
        If there is none.
    """
    for wanted in (told.get("customer_id"), ids_of_ours(path)):
        if wanted in columns:
            return str(wanted)
    ours = {plain(heading) for heading in id_headings()}
    ranks = {name: _rank(parse_name(name)) + 20.0 * (plain(name) in ours) for name in columns}
    ranked = [(ranks[name], -at, name) for at, name in enumerate(columns) if ranks[name]]
    if ranked:
        return max(ranked)[2]
    raise InputError(
        f"{path}: no column of customer ids. Found: {first_few(columns, shown=12)}. "
        f"Give the column of ids the name customer_id{_by_option(columns) if option else ''}."
    )


def _rank(name: ColumnName) -> float:
    """How well a column's name fits ids of customers; 0 where it does not."""
    if name.has("date", "type", "status", "address", "category", "note", "total", "amount", "currency", "first"):
        return 0.0
    if name.has("customer") and not name.has("person", "email", "phone"):
        return 10.0 + 5.0 * name.has("id") - name.unknown / 4.0
    if name.only("id"):
        return 8.0
    return 6.0 if name.has("email") and not name.has("shipped") else 0.0


def _by_option(columns: Sequence[str]) -> str:
    guess = next((name for name in columns if parse_name(name).has("customer", "person", "id")), "…")
    named = f"customer_id={guess}"
    return f", or say which it is: --columns {shlex.quote(named) if ' ' in named else named}"
