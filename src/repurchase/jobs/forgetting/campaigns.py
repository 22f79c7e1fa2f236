"""Take customers out of campaigns: who was reached, who was held out, and what they did."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.jobs.campaigns.files import CUSTOMERS, MEASURED, OUTCOMES
from repurchase.jobs.forgetting.files import ids_in_table, stage_without
from repurchase.jobs.forgetting.lists import Refusals
from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.registry.disk import write_whole

__all__ = ["forget_in_campaigns"]

_TABLES = (CUSTOMERS, OUTCOMES, f".{TREATMENT}.csv", f".{CONTROL}.csv")
_RUNS = tuple("=+-@＝＋－＠")


def forget_in_campaigns(
    home: Path, ids: Collection[str], *, skip: Collection[str], refusals: Refusals, dry_run: bool
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Take customers out of every campaign under a folder; it can still be measured, with those who are left.

    Parameters
    ----------
    home : Path
        Is searched, but for hidden folders.
    ids : collection of str
        As cleaning spells them.
    skip : collection of str
        Folders of the home that hold no customer.
    refusals : Refusals
        Makes a line of what the system refuses.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    path : Path
        A file that names some of them.
    found : dict of str to int
        Each id that was there, and its rows.
    """
    for record, tables in _campaigns(home, skip):
        spelled = _spelled(ids, _read(record), record)
        for path in tables:
            found = ids_in_table(path, "customer_id", spelled.keys())
            if not found:
                continue
            if not dry_run:
                with refusals(path):
                    _rewrite(path, spelled.keys())
            yield path, {spelled[one]: rows for one, rows in found.items()}


def _rewrite(path: Path, wanted: Collection[str]) -> None:
    staged = path.with_name(f".partial-{path.name}")
    try:
        stage_without(path, "customer_id", wanted, staged)
        write_whole(path, staged.read_bytes())
    finally:
        staged.unlink(missing_ok=True)


def _campaigns(home: Path, skip: Collection[str]) -> Iterator[tuple[Path, list[Path]]]:
    """Records, each with its tables of customers; a measurement may lie elsewhere than its campaign."""
    for folder, folders, names in os.walk(home):
        here = Path(folder)
        hidden = {name for name in folders if name.startswith(".")} | ({*skip} if here == home else set())
        folders[:] = sorted({*folders} - hidden)
        for name in sorted(names):
            if name.endswith(CUSTOMERS):
                stem = name.removesuffix(CUSTOMERS)
                yield here / f"{stem}.json", [here / (stem + end) for end in _TABLES if stem + end in names]
            stem = name.removesuffix(OUTCOMES)
            if name.endswith(OUTCOMES) and stem + CUSTOMERS not in names:
                yield here / (stem + MEASURED), [here / name]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _spelled(ids: Collection[str], plan: Mapping[str, Any], record: Path) -> dict[str, str]:
    """How an id may stand in a campaign's files: hashed, and in CSV behind an apostrophe if it would run."""
    plain = sorted(ids)
    spelled = {one: one for one in plain}
    mark = plan.get("pseudonyms")
    if mark:
        hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), key_of(mark, what=str(record)))
        spelled.update(zip(hashed.to_list(), plain, strict=True))
    return {**spelled, **{f"'{one}": name for one, name in spelled.items() if one.startswith(_RUNS)}}
