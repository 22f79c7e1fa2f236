"""`repurchase lists`: contact lists from scores, one file per segment, and their record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.i18n.catalogues import use_locale
from repurchase.i18n.messages import Message, message, translate, translate_text
from repurchase.jobs.customer_lists import Pseudonymizer, id_column
from repurchase.jobs.order_intake import workspace
from repurchase.jobs.outputs import (
    LISTS_OUTPUT,
    LISTS_RECORD,
    LISTS_SCHEMA,
    JobResult,
    load_scores,
    local_inputs,
    record_header,
    scores_inputs,
    write_lists_record,
)
from repurchase.jobs.products import DueRefills, find_refills
from repurchase.marketing.contacts import (
    REASONS,
    ROLES,
    Contacts,
    RecentContacts,
    read_contacts,
    read_recent_contacts,
    suppression_reasons,
)
from repurchase.marketing.csv_export import csv_bytes, csv_format
from repurchase.marketing.lists import (
    CHANGE_KINDS,
    ListLimit,
    ListSettings,
    export_columns,
    limit_exclusions,
    list_rows,
    segment_changes,
    with_contacts,
)
from repurchase.marketing.segments import FILE_NAMES, LISTED_SEGMENTS, NO_HISTORY, REFILL
from repurchase.models.segments import LOST
from repurchase.orders.log import read_table
from repurchase.report.customer_sections import segment_rule_texts
from repurchase.report.record_texts import render_list_rows, translate_contact_faults, translate_headings
from repurchase.schemas import scores_table
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.sources.vocabulary import column_key
from repurchase.storage.delivery import (
    require_distinct_paths,
    require_outside_registry,
    require_replaceable,
    staged_folder_delivery,
)
from repurchase.storage.json_files import sha256_of
from repurchase.storage.run_records import ScoredRun

_LIMITS = {
    "costs_more_than_it_brings": "a contact costs more than it is expected to bring",
    "beyond_the_budget": "beyond the budget",
    "beyond_the_length": "beyond the length",
}


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Options of a run of lists, besides the rules."""

    contacts: Path | None = None
    contacted: Path | None = None
    since: Path | None = None
    limit: ListLimit = field(default_factory=ListLimit)
    orders: str | DatabaseSource | None = None


@dataclass(frozen=True)
class _ListedCustomers:
    """Every customer's row, with what keeps some off the lists, and where it came from."""

    rows: pl.DataFrame
    contacts: Contacts | None
    matched: int
    scored: ScoredRun
    refills: dict[str, Any] | None = None


def _record_of(
    scores: Path, made: _ListedCustomers, files: list[dict[str, Any]], options: ListOptions, rules: ListSettings
) -> dict[str, Any]:
    """Tell what was listed by which rules, and what was left out."""
    scored, rows = made.scored, made.rows
    tiers = scored.run.get("tiers")
    rule_texts = segment_rule_texts(tiers, has_money=scored.has_money, currency=scored.currency)
    return {
        **record_header("lists", LISTS_SCHEMA),
        "as_of": str(scored.as_of),
        "model_version": scored.scores["model_version"][0],
        "scores": {"path": str(scores.absolute()), "sha256": sha256_of(scores), "customers": rows.height},
        "pseudonyms": scored.run.get("pseudonyms"),
        "locale": rules.locale,
        "mail_tool": rules.mail_tool,
        "id_column": rules.names.get("customer_id", "customer_id"),
        "thresholds": tiers,
        "assumptions": rules.assumptions(),
        "rules": {"words": rule_texts.intro, "tried": list(rule_texts.by_segment)},
        "segments": [
            _segment_record(rows, segment, rule_texts.by_segment)
            for segment in (*LISTED_SEGMENTS, LOST, NO_HISTORY)
            if _is_listed_segment(segment, made)
        ],
        "left_out": _count_by_reason(rows),
        "bought_within_hours": rules.bought_within_hours,
        "contacted_within_days": rules.contacted_within_days if options.contacted else None,
        "limit": {name: value for name, value in vars(options.limit).items() if value is not None},
        "worth": _limit_record(rows, options.limit, rules.costs),
        "changes": _change_counts(rows, options),
        "contacts": _contact_counts(made),
        "refills": made.refills,
        "notes": _record_notes(made, options, rules),
        "files": files,
    }


def _is_listed_segment(segment: str, made: _ListedCustomers) -> bool:
    return segment != REFILL or made.refills is not None


def _segment_record(rows: pl.DataFrame, segment: str, rule_texts: Mapping[str, Message]) -> dict[str, Any]:
    own = rows.filter(pl.col("segment") == segment)
    listed = own.filter(pl.col("left_out").is_null()) if segment != NO_HISTORY else own.clear()
    return {
        "segment": segment,
        "rule": rule_texts[segment],
        "customers": own.height,
        "listed": listed.height,
        "value_at_risk": _sum(own["value_at_risk"]),
        "expected_gain_listed": _sum(listed["contact_cost_at_most"]),
        "left_out": _count_by_reason(own),
        **({"worth_asking_why": int(own["ask_why"].sum())} if segment == LOST else {}),
    }


def _sum(values: pl.Series) -> float | None:
    return round(float(values.sum()), 2) if values.is_not_null().any() else None


def _count_by_reason(rows: pl.DataFrame) -> dict[str, int]:
    counted = dict(rows["left_out"].drop_nulls().value_counts().iter_rows())
    return {why: int(counted[why]) for why in (*REASONS, *_LIMITS) if why in counted}


def _limit_record(rows: pl.DataFrame, limit: ListLimit, costs: Mapping[str, float]) -> dict[str, Any]:
    listed = rows.filter(pl.col("left_out").is_null() & pl.col("segment").is_in(LISTED_SEGMENTS))
    cost = listed["channel"].replace_strict(costs, default=limit.cost_per_contact, return_dtype=pl.Float64)
    return {
        "contacts": listed.height,
        "cost": _sum(cost),
        "expected_gain": _sum(listed["contact_cost_at_most"]),
        "value_at_risk": _sum(listed["value_at_risk"]),
    }


def _change_counts(rows: pl.DataFrame, options: ListOptions) -> dict[str, int] | None:
    if options.since is None:
        return None
    return {change: int((rows["changed"] == change).sum()) for change in CHANGE_KINDS}


def _contact_counts(made: _ListedCustomers) -> dict[str, Any] | None:
    contacts = made.contacts
    if contacts is None:
        return None
    known = made.rows["customer_id"].implode()
    repair = contacts.repair.filter(pl.col("customer_id").is_in(known))
    return {
        "rows": contacts.n_rows,
        "without_id": contacts.without_id,
        "customers": contacts.rows.height,
        "of_the_scores": made.matched,
        "not_in_the_scores": contacts.rows.height - made.matched,
        "repair": dict(repair["what"].value_counts().sort("what").iter_rows()),
    }


def _record_notes(made: _ListedCustomers, options: ListOptions, rules: ListSettings) -> list[str]:
    notes = [
        "all.csv holds everyone to be reached; the lost stand in a list of their own, so that no money goes there.",
        "A customer who is left out is counted under the first reason that holds, in the order given.",
        "Cells that would run as a formula begin with an apostrophe; numbers are as they are.",
    ]
    if made.contacts is None:
        notes.append("No contact file was given: consent was not checked, and there are no addresses.")
    if rules.mail_tool != "plain" and rules.locale != "en":
        notes.append(f"{rules.mail_tool} imports commas and decimal points, so the lists have these.")
    if not made.scored.run:
        notes.append("There is no record beside the scores: thresholds are not known here.")
    if options.contacted is None:
        notes.append("Who was contacted lately is not known: give --contacted FILE.")
    return notes


def list_lines(record: Mapping[str, Any], out: Path) -> list[str]:
    """Say who was listed and who was not."""
    worth = record["worth"]
    lines = [f"{'segment':<24}{'customers':>10}{'listed':>9}{'value at risk':>16}"]
    for row in record["segments"]:
        at_risk = "" if row["value_at_risk"] is None else f"{row['value_at_risk']:,.0f}"
        lines.append(f"{row['segment']:<24}{row['customers']:>10,}{row['listed']:>9,}{at_risk:>16}")
    left = [
        message("line.count_of", n=number, what=message(f"left_out.{why}"))
        for why, number in record["left_out"].items()
    ]
    lines.append(translate("line.left_out", reasons=left) if left else translate("line.nobody_left_out"))
    if record["changes"]:
        changes = _counted_texts(record["changes"], "lists.changed.")
        lines.append(translate("line.since", changes=changes))
    if record["contacts"]:
        faults = _counted_texts(record["contacts"]["repair"], "lists.repair.")
        lines.append(translate("line.repair", faults=faults) if faults else translate("line.no_repair"))
    gain, cost = worth["expected_gain"], worth["cost"]
    to_reach = {
        "n": worth["contacts"],
        "gain": "" if gain is None else message("line.expected_gain", gain=gain),
        "cost": "" if cost is None else message("line.cost", cost=cost),
        "assumptions": record["assumptions"]["words"],
    }
    return [*lines, translate("line.to_reach", **to_reach), translate("line.lists", path=str(out))]


def _counted_texts(counts: Mapping[str, int], prefix: str) -> list[str]:
    return [translate("line.count_of", n=number, what=translate_text(text, prefix)) for text, number in counts.items()]


_ALL, _REPAIR = "all", "repair"
_ID = "customer_id"


def write_lists(scores: Path, *, out: Path, options: ListOptions, rules: ListSettings, settings: Settings) -> JobResult:
    """Make lists from scores."""
    csv_format(rules.locale, mail_tool=rules.mail_tool)
    if rules.mail_tool != "plain" and options.contacts is None:
        raise InputError(f"--mail-tool {rules.mail_tool} needs addresses: give --contacts FILE.")
    _require_place(out, scores, options, settings)
    scored = _load_facts(scores)
    made = _suppressed_rows(scored, options, rules, settings, scores)
    with staged_folder_delivery(out, kind=LISTS_OUTPUT) as staging, use_locale(rules.locale):
        rules = translate_headings(rules)
        files = _write_files(staging, made, rules, since=options.since is not None)
        record = _record_of(scores, made, files, options, rules)
        write_lists_record(staging / LISTS_RECORD, record)
    return JobResult(out, record, tuple(list_lines(record, out)))


def _require_place(out: Path, scores: Path, options: ListOptions, settings: Settings) -> None:
    require_outside_registry(out, home=settings.home)
    read = [
        *scores_inputs(scores),
        *scores_inputs(options.since),
        *local_inputs(options.contacts, options.contacted, options.orders),
    ]
    require_distinct_paths([out], read)
    require_replaceable({out: LISTS_OUTPUT})


def _load_facts(path: Path) -> ScoredRun:
    scored = load_scores(path)
    return ScoredRun(scored.scores.select(scores_table(scored.horizons).names), scored.run, scored.horizons)


def _suppressed_rows(
    scored: ScoredRun, options: ListOptions, rules: ListSettings, settings: Settings, path: Path
) -> _ListedCustomers:
    refills = _refills(options, settings, scored, path)
    risk_days = scored.risk_days if scored.risk_days in scored.horizons else scored.primary_days
    rows = list_rows(
        scored.scores,
        tiers=scored.run.get("tiers"),
        risk_days=risk_days,
        rules=rules,
        name=str(path),
        refills=refills.rows if refills else None,
    )
    if options.since is not None:
        rows = rows.with_columns(_changes(rows, scored, options.since, path))
    contacts, reachable, matched = None, None, 0
    if options.contacts is not None:
        contacts = _contacts(options.contacts, rules, settings, scored)
        rows, reachable = with_contacts(rows, contacts, mail_only=rules.mail_tool != "plain")
        matched = int(rows["in_contacts"].sum())
        _require_same_shop(matched, options.contacts, contacts.rows["customer_id"], rows["customer_id"])
    why = suppression_reasons(
        rows,
        as_of=_scores_day(scored),
        bought_within_hours=rules.bought_within_hours,
        contacted=_contacted(options.contacted, settings, scored) if options.contacted else None,
        contacted_within_days=rules.contacted_within_days,
        reachable=reachable,
    )
    rows = rows.with_columns(why)
    may = rows.filter(pl.col("left_out").is_null() & pl.col("segment").is_in(LISTED_SEGMENTS))
    beyond = pl.DataFrame([may["customer_id"], limit_exclusions(may, options.limit, costs=rules.costs).alias("beyond")])
    rows = rows.join(beyond, on="customer_id", how="left", maintain_order="left")
    rows = rows.with_columns(left_out=pl.coalesce("left_out", "beyond")).drop("beyond")
    return _ListedCustomers(rows, contacts, matched, scored, refills.account if refills else None)


def _scores_day(scored: ScoredRun) -> date:
    if scored.as_of is None:  # `_facts` has seen one
        raise InputError("the scores do not say of which day they are.")
    return scored.as_of


def _changes(rows: pl.DataFrame, scored: ScoredRun, since: Path, path: Path) -> pl.Series:
    before = _load_facts(since)
    if _scores_day(before) >= _scores_day(scored):
        raise InputError(f"--since {since}: scores of {before.as_of}; expected a day before {scored.as_of} ({path}).")
    then, now = before.scores["model_version"][0], scored.scores["model_version"][0]
    if then != now:
        raise InputError(
            f"--since {since}: scores of another version: model {then}, while {path} is of model {now}; what differs "
            f"may be the model. Score {before.as_of} again with --model {now}."
        )
    if before.run.get("pseudonyms") != scored.run.get("pseudonyms"):
        raise InputError(f"--since {since}: its ids are hashed otherwise than those of {path}.")
    _require_same_shop(
        int(rows["customer_id"].is_in(before.scores["customer_id"].implode()).sum()),
        since,
        before.scores["customer_id"],
        rows["customer_id"],
    )
    return segment_changes(rows, before.scores, name=str(since))


def _refills(options: ListOptions, settings: Settings, scored: ScoredRun, path: Path) -> DueRefills | None:
    if options.orders is None:
        return None
    pseudonymizer = Pseudonymizer.of_record(scored.run, name=str(path))
    with workspace() as folder:
        return find_refills(
            options.orders, settings=settings, as_of=_scores_day(scored), folder=folder, pseudonymizer=pseudonymizer
        )


def _contacts(path: Path, rules: ListSettings, settings: Settings, scored: ScoredRun) -> Contacts:
    rows = read_table(path)
    column = _ids_of(rows.columns, settings, path)
    contacts = read_contacts(rows, id_column=column, columns=rules.contacts, source=str(path))
    _require_addresses(contacts, rows.columns, rules.mail_tool, path)
    return Contacts(
        contacts.rows.with_columns(_as_scored(contacts.rows["customer_id"], scored, path)),
        contacts.repair.with_columns(_as_scored(contacts.repair["customer_id"], scored, path)),
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


def _contacted(path: Path, settings: Settings, scored: ScoredRun) -> RecentContacts:
    rows = read_table(path)
    column = _ids_of(rows.columns, settings, path)
    read = read_recent_contacts(rows, id_column=column, source=str(path))
    ids, ours = _as_scored(read.rows["customer_id"], scored, path), scored.scores["customer_id"]
    if len(ids):
        _require_same_shop(int(ids.is_in(ours.implode()).sum()), path, read.rows["customer_id"], ours)
    return RecentContacts(read.rows.with_columns(ids), read.has_days)


def _ids_of(columns: list[str], settings: Settings, path: Path) -> str:
    """The column of ids; an address is one only where there is no other."""
    addresses = [name for name in columns if column_key(name) in (*ROLES["email"], *ROLES["phone"])]
    try:
        return id_column([name for name in columns if name not in addresses], column_map=settings.columns, path=path)
    except InputError:
        return id_column(columns, column_map=settings.columns, path=path, option=True)


def _as_scored(ids: pl.Series, scored: ScoredRun, path: Path) -> pl.Series:
    """Ids as the scores name customers; hashes stay as they are."""
    pseudonymizer = Pseudonymizer.of_record(scored.run, name=str(path))
    if pseudonymizer is None:
        return ids
    are_hashes = ids.is_in(scored.scores["customer_id"].implode()).fill_null(value=False)
    return ids.zip_with(are_hashes, pseudonymizer.ids(ids))


def _require_same_shop(matched: int, path: Path, theirs: pl.Series, ours: pl.Series) -> None:
    if not matched:
        shown = f"'{theirs[0]}' there, '{ours[0]}' in the scores"
        raise InputError(
            f"{path}: of another shop? None of its {len(theirs):,} customer ids is among the scores ({shown}). "
            "Send the file whose ids are those of the orders.",
            withheld=shown,
        )


def _write_files(staging: Path, made: _ListedCustomers, rules: ListSettings, *, since: bool) -> list[dict[str, Any]]:
    rows = made.rows.filter(pl.col("left_out").is_null()).sort("weight", "customer_id", descending=[True, False])
    reached = rows.filter(pl.col("segment").is_in(LISTED_SEGMENTS))
    tables = {_ALL: reached}
    tables |= {FILE_NAMES[segment]: reached.filter(pl.col("segment") == segment) for segment in LISTED_SEGMENTS}
    tables[FILE_NAMES[LOST]] = rows.filter(pl.col("segment") == LOST).sort(
        "ask_why", descending=True, maintain_order=True
    )
    if since:
        tables |= {name: reached.filter(pl.col("changed") == change) for change, name in CHANGE_KINDS.items()}
    if "refill_product" not in rows.columns:
        tables.pop(FILE_NAMES[REFILL])
    files = []
    locale = csv_format(rules.locale, mail_tool=rules.mail_tool)
    checked = {rules.names.get("phone", "phone")} if rules.mail_tool != "plain" else set()
    segments = {name: segment for segment, name in FILE_NAMES.items()}
    for name, table in tables.items():
        path = staging / f"{name}.csv"
        path.write_bytes(csv_bytes(export_columns(render_list_rows(table), rules), locale, checked=checked))
        files.append(_file_record(path, table.height, segments.get(name), rules.names.get(_ID, _ID)))
    if made.contacts is not None:
        path = staging / f"{_REPAIR}.csv"
        known = made.rows["customer_id"].implode()
        repair = translate_contact_faults(made.contacts.repair.filter(pl.col(_ID).is_in(known)))
        path.write_bytes(csv_bytes(repair, csv_format(rules.locale)))
        files.append(_file_record(path, repair.height, None, repair.columns[0]))
    return files


def _file_record(path: Path, rows: int, segment: str | None, id_column: str) -> dict[str, Any]:
    return {
        "name": path.name,
        "rows": rows,
        "segment": segment,
        "id_column": id_column,
        "sha256": sha256_of(path),
    }
