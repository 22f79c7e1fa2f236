"""From a scores file to a folder of lists: one file per segment, one for all, and a record of what was left out."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.estimators.tiers import LOST
from repurchase.jobs.customers import id_column
from repurchase.jobs.intake import workspace
from repurchase.jobs.lists.folder import LISTS, RECORD, write_record
from repurchase.jobs.lists.record import Asked, Made, record_of
from repurchase.jobs.outputs import files_read, scores_read
from repurchase.jobs.products.refills import Refills, find_refills
from repurchase.jobs.scored import scores_of
from repurchase.marketing.cells import csv_bytes, locale_of
from repurchase.marketing.contacts import ROLES, Contacts, read_contacts
from repurchase.marketing.list_rules import ListRules
from repurchase.marketing.lists import (
    CHANGES,
    changed_since,
    choose,
    columns_of,
    list_rows,
    with_contacts,
)
from repurchase.marketing.segments import FILE_NAMES, LISTED, REFILL
from repurchase.marketing.suppression import Contacted, read_contacted, suppressed
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.orders.sources import read_table
from repurchase.orders.vocabulary import plain
from repurchase.report.language import speaking
from repurchase.report.list_texts import repair_told, rows_told, with_headings
from repurchase.report.reading import Facts
from repurchase.settings import Settings
from repurchase.storage.delivery import deliver_folder
from repurchase.storage.digests import sha256_of
from repurchase.storage.outputs import require_apart, require_outputs, require_outside_registry
from repurchase.tables import scores_table

__all__ = ["Asked", "Listed", "lists"]

ALL, REPAIR = "all", "repair"
ID = "customer_id"


@dataclass(frozen=True)
class Listed:
    """What was made.

    Parameters
    ----------
    out : Path
        The folder.
    record : dict
        What stands in ``lists.json``.
    """

    out: Path
    record: dict[str, Any]


def lists(scores: Path, *, out: Path, asked: Asked, rules: ListRules, settings: Settings) -> Listed:
    """Make lists from scores.

    Parameters
    ----------
    scores : Path
        What `repurchase score` wrote.
    out : Path
        Folder for the lists; earlier lists of ours there are replaced.
    asked : Asked
        Files and limits.
    rules : ListRules
        Assumptions, locale and column names.
    settings : Settings
        What the column of ids is called.

    Returns
    -------
    Listed
        Folder and record.

    Raises
    ------
    InputError
        If any input is at fault; nothing is written.
    DeliveryError
        If the folder cannot be written; it is as it was.
    """
    locale_of(rules.locale, mail_tool=rules.mail_tool)
    if rules.mail_tool != "plain" and asked.contacts is None:
        raise InputError(f"--mail-tool {rules.mail_tool} needs addresses: give --contacts FILE.")
    _require_place(out, scores, asked, settings)
    facts = _facts(scores)
    made = _left_out(facts, asked, rules, settings, scores)
    with deliver_folder(out, kind=LISTS) as staging, speaking(rules.locale):
        rules = with_headings(rules)
        files = _write(staging, made, rules, since=asked.since is not None)
        record = record_of(scores, made, files, asked, rules)
        write_record(staging / RECORD, record)
    return Listed(out, record)


def _require_place(out: Path, scores: Path, asked: Asked, settings: Settings) -> None:
    require_outside_registry(out, home=settings.home)
    read = [*scores_read(scores), *scores_read(asked.since), *files_read(asked.contacts, asked.contacted, asked.orders)]
    require_apart([out], read)
    require_outputs({out: LISTS})


def _facts(path: Path) -> Facts:
    facts = scores_of(path)
    return Facts(facts.scores.select(scores_table(facts.horizons).names), facts.run, facts.horizons)


def _left_out(facts: Facts, asked: Asked, rules: ListRules, settings: Settings, path: Path) -> Made:
    refills = _refills(asked, settings, facts, path)
    risk_days = facts.risk_days if facts.risk_days in facts.horizons else facts.primary_days
    rows = list_rows(
        facts.scores,
        tiers=facts.run.get("tiers"),
        risk_days=risk_days,
        rules=rules,
        name=str(path),
        refills=refills.rows if refills else None,
    )
    if asked.since is not None:
        rows = rows.with_columns(_changes(rows, facts, asked.since, path))
    contacts, reachable, matched = None, None, 0
    if asked.contacts is not None:
        contacts = _contacts(asked.contacts, rules, settings, facts)
        rows, reachable = with_contacts(rows, contacts, mail_only=rules.mail_tool != "plain")
        matched = int(rows["in_contacts"].sum())
        _require_same_shop(matched, asked.contacts, contacts.rows["customer_id"], rows["customer_id"])
    why = suppressed(
        rows,
        as_of=_day(facts),
        bought_within_hours=rules.bought_within_hours,
        contacted=_contacted(asked.contacted, settings, facts) if asked.contacted else None,
        contacted_within_days=rules.contacted_within_days,
        reachable=reachable,
    )
    rows = rows.with_columns(why)
    may = rows.filter(pl.col("left_out").is_null() & pl.col("segment").is_in(LISTED))
    beyond = pl.DataFrame([may["customer_id"], choose(may, asked.limit, costs=rules.costs).alias("beyond")])
    rows = rows.join(beyond, on="customer_id", how="left", maintain_order="left")
    rows = rows.with_columns(left_out=pl.coalesce("left_out", "beyond")).drop("beyond")
    return Made(rows, contacts, matched, facts, refills.account if refills else None)


def _day(facts: Facts) -> date:
    if facts.as_of is None:  # `_facts` has seen one
        raise InputError("the scores do not say of which day they are.")
    return facts.as_of


def _changes(rows: pl.DataFrame, facts: Facts, since: Path, path: Path) -> pl.Series:
    before = _facts(since)
    if _day(before) >= _day(facts):
        raise InputError(f"--since {since}: scores of {before.as_of}; expected a day before {facts.as_of} ({path}).")
    then, now = before.scores["model_version"][0], facts.scores["model_version"][0]
    if then != now:
        raise InputError(
            f"--since {since}: scores of another version: model {then}, while {path} is of model {now}; what differs "
            f"may be the model. Score {before.as_of} again with --model {now}."
        )
    if before.run.get("pseudonyms") != facts.run.get("pseudonyms"):
        raise InputError(f"--since {since}: its ids are hashed otherwise than those of {path}.")
    _require_same_shop(
        int(rows["customer_id"].is_in(before.scores["customer_id"].implode()).sum()),
        since,
        before.scores["customer_id"],
        rows["customer_id"],
    )
    return changed_since(rows, before.scores, name=str(since))


def _refills(asked: Asked, settings: Settings, facts: Facts, path: Path) -> Refills | None:
    if asked.orders is None:
        return None
    mark = facts.run.get("pseudonyms")
    key = key_of(mark, what=str(path)) if mark else None
    with workspace() as folder:
        return find_refills(asked.orders, settings=settings, as_of=_day(facts), folder=folder, key=key)


def _contacts(path: Path, rules: ListRules, settings: Settings, facts: Facts) -> Contacts:
    rows = read_table(path)
    column = _ids_of(rows.columns, settings, path)
    contacts = read_contacts(rows, id_column=column, told=rules.contacts, source=str(path))
    _require_addresses(contacts, rows.columns, rules.mail_tool, path)
    return Contacts(
        contacts.rows.with_columns(_as_scored(contacts.rows["customer_id"], facts, path)),
        contacts.repair.with_columns(_as_scored(contacts.repair["customer_id"], facts, path)),
        contacts.n_rows,
        contacts.without_id,
    )


def _require_addresses(contacts: Contacts, columns: list[str], mail_tool: str, path: Path) -> None:
    needed = ("email", "phone", "address") if mail_tool == "plain" else ("email",)
    if any(contacts.has(role) for role in needed):
        return
    found = f"Found: {first_few(columns, shown=12)}. "
    advice = 'Name it email, or say which it is: [lists.contacts] email = "…".'
    if mail_tool == "plain":
        raise InputError(
            f"{path}: no column of e-mail addresses, telephone numbers or postal addresses, so nobody can be reached. "
            f"{found}{advice.replace(' it ', ' one ', 1)}"
        )
    raise InputError(
        f"{path}: no column of e-mail addresses, without which {mail_tool} reaches nobody. {found}{advice}"
    )


def _contacted(path: Path, settings: Settings, facts: Facts) -> Contacted:
    rows = read_table(path)
    column = _ids_of(rows.columns, settings, path)
    read = read_contacted(rows, id_column=column, source=str(path))
    ids, ours = _as_scored(read.rows["customer_id"], facts, path), facts.scores["customer_id"]
    if len(ids):
        _require_same_shop(int(ids.is_in(ours.implode()).sum()), path, read.rows["customer_id"], ours)
    return Contacted(read.rows.with_columns(ids), read.has_days)


def _ids_of(columns: list[str], settings: Settings, path: Path) -> str:
    """The column of ids; an address is one only where there is no other."""
    addresses = [name for name in columns if plain(name) in (*ROLES["email"], *ROLES["phone"])]
    try:
        return id_column([name for name in columns if name not in addresses], told=settings.columns, path=path)
    except InputError:
        return id_column(columns, told=settings.columns, path=path, option=True)


def _as_scored(ids: pl.Series, facts: Facts, path: Path) -> pl.Series:
    """Ids as the scores name customers; hashes stay as they are."""
    mark = facts.run.get("pseudonyms")
    if not mark:
        return ids
    hashed = ids.is_in(facts.scores["customer_id"].implode())
    return ids.zip_with(hashed.fill_null(value=False), pseudonymise(ids, key_of(mark, what=str(path))))


def _require_same_shop(matched: int, path: Path, theirs: pl.Series, ours: pl.Series) -> None:
    if not matched:
        shown = f"'{theirs[0]}' there, '{ours[0]}' in the scores"
        raise InputError(
            f"{path}: of another shop? None of its {len(theirs):,} customer ids is among the scores ({shown}). "
            "Send the file whose ids are those of the orders.",
            withheld=shown,
        )


def _write(staging: Path, made: Made, rules: ListRules, *, since: bool) -> list[dict[str, Any]]:
    rows = made.rows.filter(pl.col("left_out").is_null()).sort("weight", "customer_id", descending=[True, False])
    reached = rows.filter(pl.col("segment").is_in(LISTED))
    tables = {ALL: reached}
    tables |= {FILE_NAMES[segment]: reached.filter(pl.col("segment") == segment) for segment in LISTED}
    tables[FILE_NAMES[LOST]] = rows.filter(pl.col("segment") == LOST).sort(
        "ask_why", descending=True, maintain_order=True
    )
    if since:
        tables |= {name: reached.filter(pl.col("changed") == change) for change, name in CHANGES.items()}
    if "refill_product" not in rows.columns:
        tables.pop(FILE_NAMES[REFILL])
    files = []
    locale = locale_of(rules.locale, mail_tool=rules.mail_tool)
    checked = {rules.names.get("phone", "phone")} if rules.mail_tool != "plain" else set()
    segments = {name: segment for segment, name in FILE_NAMES.items()}
    for name, table in tables.items():
        path = staging / f"{name}.csv"
        path.write_bytes(csv_bytes(columns_of(rows_told(table), rules), locale, checked=checked))
        files.append(_file(path, table.height, segments.get(name), rules.names.get(ID, ID)))
    if made.contacts is not None:
        path = staging / f"{REPAIR}.csv"
        known = made.rows["customer_id"].implode()
        repair = repair_told(made.contacts.repair.filter(pl.col(ID).is_in(known)))
        path.write_bytes(csv_bytes(repair, locale_of(rules.locale)))
        files.append(_file(path, repair.height, None, repair.columns[0]))
    return files


def _file(path: Path, rows: int, segment: str | None, id_column: str) -> dict[str, Any]:
    return {
        "name": path.name,
        "rows": rows,
        "segment": segment,
        "id_column": id_column,
        "sha256": sha256_of(path),
    }
