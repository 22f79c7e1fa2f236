"""Customer lists given with `--customers`, and pseudonymized customer ids."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.jobs.outputs import id_column_of_list
from repurchase.marketing.csv_export import unescape_formulas
from repurchase.orders.ids import IdKey, clean_ids, key_id, pseudonymise, pseudonymise_rows, read_key, read_matching_key
from repurchase.orders.log import OrderLog, pseudonymise_log, read_table
from repurchase.report.record_texts import id_headings
from repurchase.settings import Settings
from repurchase.sources.vocabulary import ColumnName, column_key, parse_name


@dataclass(frozen=True)
class CustomerList:
    """Customers to score."""

    rows: pl.DataFrame
    duplicates: tuple[str, ...]
    without_id: int
    path: Path | None = None


def read_customers(path: Path, *, column_map: Mapping[str, str]) -> CustomerList:
    """Read a customer list."""
    rows = read_table(path)
    name = id_column(rows.columns, column_map=column_map, path=path)
    is_ours = id_column_of_list(path) is not None
    ids = clean_ids(unescape_formulas(rows[name]) if is_ours else rows[name]).alias("customer_id")
    further = rows.drop(name)
    listed = further.rename(unused_names(further.columns, taken=["customer_id"])).insert_column(0, ids)
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


_MIN_MATCHED_IDS = 5


def match_listed_ids(listed: CustomerList, known: pl.Series) -> CustomerList:
    """Name the customers of a list as the orders do, where another of its columns does."""
    if listed.rows["customer_id"].is_in(known.implode()).any() or len(listed.rows) < _MIN_MATCHED_IDS:
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
    rows = listed.rows.rename({"customer_id": unused_names(["customer_id"], taken=listed.rows.columns)["customer_id"]})
    named = rows.drop(best).insert_column(0, ids.alias("customer_id")).filter(pl.col("customer_id").is_not_null())
    return replace(listed, rows=named.unique("customer_id", keep="first", maintain_order=True))


def unused_names(names: Iterable[str], *, taken: Iterable[str]) -> dict[str, str]:
    """Find names for a list's columns beside columns that bear the same."""
    names = list(names)
    others = {*taken}
    free: dict[str, str] = {}
    for name in names:
        new = name
        while new in others or (new != name and new in names):
            new = f"list_{new}"
        free[name] = new
    return free


def id_column(columns: Sequence[str], *, column_map: Mapping[str, str], path: Path, option: bool = False) -> str:
    """Find the column of ids in a customer list."""
    for name in (column_map.get("customer_id"), id_column_of_list(path)):
        if name in columns:
            return str(name)
    ours = {column_key(heading) for heading in id_headings()}
    ranks = {name: _id_name_rank(parse_name(name)) + 20.0 * (column_key(name) in ours) for name in columns}
    ranked = [(ranks[name], -at, name) for at, name in enumerate(columns) if ranks[name]]
    if ranked:
        return max(ranked)[2]
    raise InputError(
        f"{path}: no column of customer ids. Found: {first_few(columns, shown=12)}. "
        f"Give the column of ids the name customer_id{_map_option_hint(columns) if option else ''}."
    )


def _id_name_rank(name: ColumnName) -> float:
    """How well a column's name fits ids of customers; 0 where it does not."""
    if name.has("date", "type", "status", "address", "category", "note", "total", "amount", "currency", "first"):
        return 0.0
    if name.has("customer") and not name.has("person", "email", "phone"):
        return 10.0 + 5.0 * name.has("id") - name.unknown / 4.0
    if name.only("id"):
        return 8.0
    return 6.0 if name.has("email") and not name.has("shipped") else 0.0


def _map_option_hint(columns: Sequence[str]) -> str:
    guess = next((name for name in columns if parse_name(name).has("customer", "person", "id")), "…")
    named = f"customer_id={guess}"
    return f", or say which it is: --columns {shlex.quote(named) if ' ' in named else named}"


@dataclass(frozen=True)
class Pseudonymizer:
    """Replaces customer ids by keyed hashes in orders and lists, before anything else sees them."""

    key: IdKey

    @classmethod
    def of_record(cls, record: Mapping[str, Any], *, name: str) -> "Pseudonymizer | None":
        """Read the key with which the ids of a record were hashed, if they were."""
        key_record = record.get("pseudonyms")
        return cls(read_matching_key(key_record, what=name)) if key_record else None

    @property
    def key_record(self) -> dict[str, str]:
        """How ids were hashed, for the record of the run."""
        return key_id(self.key)

    def ids(self, ids: pl.Series) -> pl.Series:
        """Hash ids."""
        return pseudonymise(ids, self.key)

    def orders(self, log: OrderLog) -> OrderLog:
        """Hash the customers of a log."""
        return pseudonymise_log(log, self.key)

    def customer_list(self, customers: CustomerList) -> CustomerList:
        """Hash the customers of a list, also where further columns repeat them."""
        ids, rows = customers.rows["customer_id"], customers.rows
        numbers = [name for name in rows.columns if rows[name].dtype.is_numeric() and _repeats_ids(rows[name], ids)]
        hashed = pseudonymise_rows(rows.with_columns(pl.col(numbers).cast(pl.String)), ids, self.key)
        duplicates = pseudonymise(pl.Series(customers.duplicates, dtype=pl.String()), self.key)
        return replace(customers, rows=hashed.sort("customer_id"), duplicates=tuple(duplicates))


def _repeats_ids(values: pl.Series, ids: pl.Series) -> bool:
    spelled = clean_ids(values)
    return spelled.null_count() < len(spelled) and bool((spelled == ids).fill_null(value=True).all())


def find_pseudonymizer(settings: Settings) -> Pseudonymizer | None:
    """Read the key where pseudonyms are requested; call it before orders are read."""
    return Pseudonymizer(read_key()) if settings.pseudonyms else None


def set_aside_id_column(columns: Mapping[str, str]) -> str:
    """Name the column of customer ids among rows that were set aside."""
    name = columns.get("customer_id", "customer_id")
    return "reason_in_export" if name == "reason" else name
