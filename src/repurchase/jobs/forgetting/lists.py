"""Take customers out of lists: of folders of ours, whose records are kept true, and of those that were sent to us."""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.forgetting.files import ids_in_csv, ids_in_parquet, list_without, rows_of_list
from repurchase.jobs.forgetting.places import Places
from repurchase.jobs.forgetting.wanted import Wanted
from repurchase.jobs.forgetting.words import counted, done, refusals, shown
from repurchase.jobs.lists.folder import RECORD, read_record, write_record
from repurchase.marketing.contacts import ROLES
from repurchase.orders.ids import clean_ids
from repurchase.orders.vocabulary import plain
from repurchase.report.list_texts import id_headings
from repurchase.storage.digests import sha256_of
from repurchase.storage.outputs import json_in
from repurchase.storage.publishing import write_file

__all__ = ["Made", "customers_of", "folders_of_lists", "forget_in_folder", "forget_in_list", "other_tables"]

_ID = "customer_id"
Made = Mapping[Path, Mapping[str, Any]]
"""Folders of lists, each with its record."""


def folders_of_lists(places: Places) -> dict[Path, dict[str, Any]]:
    """Find folders of lists, and read their records.

    Parameters
    ----------
    places : Places
        Of the home.

    Returns
    -------
    dict of Path to dict
        Folders with a record.

    Raises
    ------
    InputError
        If a record cannot be read: nobody knows then which files are lists of ours.
    """
    made = {}
    for folder in sorted(path.parent for path in places.named(RECORD) if path.name == RECORD):
        record = read_record(folder)
        if record is not None:
            made[folder] = record
        elif not _is_of_others(folder / RECORD):
            raise InputError(
                f"{folder / RECORD} cannot be read, so it is not known which lists there hold whom. Nothing was "
                "changed. Make these lists again, or remove the folder."
            )
    return made


def _is_of_others(path: Path) -> bool:
    """Whether a file of that name says itself that it is something else."""
    try:
        record = json_in(path)
    except (OSError, ValueError):
        return False
    return not isinstance(record, dict) or record.get("command") != "lists"


def _ids_in(name: str, told: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The column of ids; lists of an earlier version tell one for all files but repair.csv."""
    of_all = _ID if name == "repair.csv" else record.get("id_column")
    return str(told.get("id_column") or of_all or _ID)


def _files(folder: Path, record: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Lists that are there, and their columns of ids."""
    for told in record.get("files", []):
        path = folder / Path(str(told["name"])).name
        if path.is_file():
            yield path, _ids_in(path.name, told, record)


def customers_of(addresses: Collection[str], made: Made) -> dict[str, set[str]]:
    """Find the customers to whom e-mail addresses belong.

    Parameters
    ----------
    addresses : collection of str
        In lower case.
    made : mapping of Path to mapping
        From `folders_of_lists`.

    Returns
    -------
    dict of str to set of str
        Each address that lists know, and its customers' ids; itself, where it is an id.
    """
    owners: dict[str, set[str]] = {}
    for folder, record in made.items():
        for path, column in _files(folder, record) if addresses else ():
            names, cells = rows_of_list(path)
            if column not in names:
                continue
            emails = [place for place, name in enumerate(names) if plain(name) in ROLES["email"]]
            who = names.index(column)
            for row in cells:
                for place in {who, *emails}:
                    address = row[place].strip().lower() if max(place, who) < len(row) else ""
                    if address in addresses:
                        owners.setdefault(address, set()).add(row[who])
    return {address: _cleaned(ids) for address, ids in owners.items()}


def _cleaned(ids: Collection[str]) -> set[str]:
    spelled = pl.Series(sorted(ids), dtype=pl.String()).str.replace(r"^'([=+\-@＝＋－＠])", "$1")
    return set(clean_ids(spelled).drop_nulls())


def forget_in_folder(
    folder: Path, record: Mapping[str, Any], wanted: Wanted, home: Path, *, dry_run: bool
) -> Iterator[str]:
    """Take customers out of every file of a folder of lists.

    Parameters
    ----------
    folder : Path
        Of the lists.
    record : mapping
        Its ``lists.json``.
    wanted : Wanted
        Who.
    home : Path
        For words.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    str
        A line per file that named some of them.
    """
    spelled = wanted.in_cells
    files = {Path(str(told["name"])).name: dict(told) for told in record.get("files", [])}
    changed = []
    for path, column in _files(folder, record):
        content, found = list_without(path, spelled.keys(), told={_ID: column})
        if not found:
            continue
        rows = sum(found.values())
        if not dry_run:
            with refusals(path):
                write_file(path, content)
            files[path.name].update(rows=int(files[path.name]["rows"]) - rows, sha256=sha256_of(path))
            changed.append(path.name)
        wanted.saw(spelled[one] for one in found)
        yield f"{shown(path, home)}: {counted(rows, 'row')} {done('removed', dry_run)}."
    if changed:
        at = datetime.now(tz=UTC).isoformat(timespec="seconds")
        forgotten = [*record.get("forgotten", []), {"at": at, "files": sorted(changed)}]
        with refusals(folder / RECORD):
            write_record(folder / RECORD, {**record, "files": list(files.values()), "forgotten": forgotten})


def forget_in_list(
    path: Path, wanted: Wanted, places: Places, *, columns: Mapping[str, str], dry_run: bool
) -> Iterator[str]:
    """Take customers out of a list that was sent with ``--customers``.

    Parameters
    ----------
    path : Path
        Of the list; outside the home it is named and left alone.
    wanted : Wanted
        Who.
    places : Places
        Within which files are changed.
    columns : mapping
        ``customer_id`` to the name that the column of ids may have.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    str
        One line if it names some of them.
    """
    content, found = list_without(path, wanted.ids, told=columns)
    if not found:
        return
    wanted.saw(found)
    if not places.holds(path):
        yield wanted.may_remain(
            f"{path}: this list names {len(found):,} of these; it lies elsewhere and was not touched."
        )
        return
    if not dry_run:
        write_file(path, content)
    yield f"{shown(path, places.home)}: {counted(sum(found.values()), 'row')} {done('removed', dry_run)}."


def other_tables(
    places: Places, wanted: Wanted, made: Made, *, columns: Collection[str], known: Collection[Path], sources: set[str]
) -> Iterator[str]:
    """Name tables with a column of ids that no record tells of, such as scores or a list that were copied.

    Parameters
    ----------
    places : Places
        Of the home.
    wanted : Wanted
        Who.
    made : mapping of Path to mapping
        From `folders_of_lists`.
    columns : collection of str
        What the column of ids is called in other outputs.
    known : collection of Path
        Further files that were looked through.
    sources : set of str
        Digests and whole paths of order files, which stay.

    Yields
    ------
    str
        A line per file that names some of them; none is touched.
    """
    ours = [file for folder, record in made.items() for file in _files(folder, record)]
    headings = {*id_headings(), *columns, *(column for _, column in ours)}
    looked_through = {path.resolve() for path in (*known, *(path for path, _ in ours))}
    spelled, home = wanted.in_cells, places.home
    for path in places.named(".csv", ".parquet"):
        if path.resolve() in looked_through:
            continue
        try:
            ids_in = ids_in_csv if path.suffix.lower() == ".csv" else ids_in_parquet
            found = ids_in(path, headings, spelled.keys())
        except InputError:
            yield wanted.may_remain(f"{shown(path, home)}: cannot be read; see for yourself whether it names them.")
            continue
        if found:
            wanted.saw(spelled[one] for one in found)
            names = len({spelled[one] for one in found})
            if sources & {sha256_of(path), os.path.realpath(path)}:
                yield f"{shown(path, home)}: names {names:,} of these; these are orders: it was not touched."
                continue
            yield wanted.may_remain(
                f"{shown(path, home)}: names {names:,} of these; no record tells of this file: it was not touched."
            )
