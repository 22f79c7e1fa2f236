"""Take customers out of campaigns: who was reached, who was held out, and what they did."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.jobs.campaigns.files import CUSTOMERS, MEASURED, OUTCOMES
from repurchase.jobs.forgetting.files import ids_in_table, stage_without
from repurchase.jobs.forgetting.places import Places
from repurchase.jobs.forgetting.wanted import Wanted
from repurchase.jobs.forgetting.words import refusals, shown
from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.storage.delivery import deliver_to
from repurchase.storage.outputs import read_json

__all__ = ["forget_in_campaigns"]

_TABLES = (CUSTOMERS, OUTCOMES, f".{TREATMENT}.csv", f".{CONTROL}.csv")
_RUNS = tuple("=+-@＝＋－＠")


def forget_in_campaigns(places: Places, wanted: Wanted, *, dry_run: bool) -> Iterator[tuple[Path, dict[str, int]]]:
    """Take customers out of every campaign under a folder; it can still be measured, with those who are left.

    Parameters
    ----------
    places : Places
        Of the home.
    wanted : Wanted
        Who.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    path : Path
        A file that names some of them.
    found : dict of str to int
        Each id that was there, and its rows.
    """
    for record, tables in _campaigns(places):
        plan = read_json(record)
        if not isinstance(plan.get("pseudonyms", {}) or {}, dict) or (not plan and tables):
            wanted.may_remain(f"{shown(record, places.home)}: cannot be read; it says how ids are written beside it.")
            plan = {}
        spelled = _spelled(wanted.plain_ids, plan, record)
        for path in tables:
            found = ids_in_table(path, "customer_id", spelled.keys())
            if not found:
                continue
            if not dry_run:
                with refusals(path):
                    _rewrite(path, spelled.keys())
            yield path, {spelled[one]: rows for one, rows in found.items()}


def _rewrite(path: Path, wanted: Collection[str]) -> None:
    with deliver_to(path, formats=(path.suffix,)) as delivery:
        stage_without(path, "customer_id", wanted, delivery.staged(path))
        delivery.publish()


def _campaigns(places: Places) -> Iterator[tuple[Path, list[Path]]]:
    """Records, each with its tables of customers; a measurement may lie elsewhere than its campaign."""
    for path in places.named(CUSTOMERS):
        stem = path.name.removesuffix(CUSTOMERS)
        tables = [path.with_name(stem + ending) for ending in _TABLES]
        yield path.with_name(f"{stem}.json"), [table for table in tables if table.is_file()]
    for path in places.named(OUTCOMES):
        stem = path.name.removesuffix(OUTCOMES)
        if not path.with_name(stem + CUSTOMERS).exists():
            yield path.with_name(stem + MEASURED), [path]


def _spelled(ids: Collection[str], plan: Mapping[str, Any], record: Path) -> dict[str, str]:
    """How an id may stand in a campaign's files: hashed, and in CSV behind an apostrophe if it would run."""
    plain = sorted(ids)
    spelled = {one: one for one in plain}
    mark = plan.get("pseudonyms")
    if mark:
        hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), key_of(mark, what=str(record)))
        spelled.update(zip(hashed.to_list(), plain, strict=True))
    return {**spelled, **{f"'{one}": name for one, name in spelled.items() if one.startswith(_RUNS)}}
