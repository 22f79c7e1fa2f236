"""`repurchase forget`: take customers out of scores, lists, campaigns, pages and records."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.campaigns.planning import CONTROL, TREATMENT
from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.i18n.messages import format_quantity
from repurchase.jobs.campaign_files import CUSTOMERS_SUFFIX, MEASURED_SUFFIX, OUTCOMES_SUFFIX
from repurchase.jobs.customer_lists import Pseudonymizer, read_customers, set_aside_id_column
from repurchase.jobs.forget_files import (
    HomeContents,
    clear_interrupted_write,
    draws_purchases,
    ids_in_other_table,
    ids_in_page,
    ids_in_table,
    language_of,
    list_without,
    read_list,
    scores_of_page,
    search_home,
    stage_table_without,
    write_refusals,
)
from repurchase.jobs.outputs import (
    LISTS_RECORD,
    QUARANTINE_SUFFIX,
    RUN_SUFFIX,
    TABLE_RECORD_SUFFIX,
    read_lists_record,
    read_scored_run,
    write_lists_record,
)
from repurchase.marketing.contacts import ROLES
from repurchase.marketing.csv_export import unescape_formulas
from repurchase.orders.ids import clean_ids
from repurchase.report.page import write_report
from repurchase.report.record_texts import id_headings
from repurchase.settings import Settings
from repurchase.sources.vocabulary import column_key
from repurchase.storage.atomic_files import real_path, write_file
from repurchase.storage.delivery import FORMATS, staged_delivery
from repurchase.storage.json_files import has_valid_digest, read_json, read_json_object, sha256_of, with_digest
from repurchase.storage.run_records import MONITOR_SUFFIX, RUN_SCHEMA, find_run_record_fault

SOURCES_NOTE = (
    "Order sources were not touched: as long as they hold these customers, the next scores hold them again. "
    "models/ and mlruns/ hold no customers."
)
_ID = "customer_id"
_CAMPAIGN_TABLES = (CUSTOMERS_SUFFIX, OUTCOMES_SUFFIX, f".{TREATMENT}.csv", f".{CONTROL}.csv")


@dataclass(frozen=True)
class _RunOutputs:
    """What one scoring run left: its record, and what the record names."""

    path: Path
    record: Mapping[str, Any]

    @property
    def table(self) -> str | None:
        """The address of the table, if scores went to one."""
        path = self._recorded_scores
        return path if "://" in path else None

    @property
    def scores(self) -> Path:
        """The scores, or what stands for their table."""
        table_record = f"{self._stem}{TABLE_RECORD_SUFFIX}"
        return self.path.with_name(table_record if self.table else Path(self._recorded_scores).name or "scores")

    @property
    def quarantine(self) -> Path:
        """The rows that were set aside."""
        return self.path.with_name(self._stem + QUARANTINE_SUFFIX)

    @property
    def monitor(self) -> Path:
        """What `repurchase monitor` wrote."""
        return self.path.with_name(self._stem + MONITOR_SUFFIX)

    @property
    def quarantine_column(self) -> str:
        """The column of ids among the rows that were set aside."""
        return set_aside_id_column((self.record.get("orders") or {}).get("columns") or {})

    @property
    def _stem(self) -> str:
        return self.path.name.removesuffix(RUN_SUFFIX)

    @property
    def _recorded_scores(self) -> str:
        output = (self.record.get("outputs") or {}).get("scores")
        return str(output.get("path")) if isinstance(output, Mapping) else "None"


@dataclass
class _Erasure:
    """One run of `forget`: what is searched, for whom, and what has been found so far."""

    contents: HomeContents
    runs: list[_RunOutputs]
    list_folders: dict[Path, dict[str, Any]]
    """Folders of lists, each with its record."""
    pages: list[Path]
    column_map: Mapping[str, str]
    dry_run: bool
    plain_of: dict[str, str] = field(default_factory=dict)
    """Ids and keyed hashes to look for, each with the plain id."""
    found: set[str] = field(default_factory=set)
    remaining: list[str] = field(default_factory=list)
    searched: set[Path] = field(default_factory=set)
    """Tables of which records tell."""

    @property
    def ids(self) -> Collection[str]:
        """All spellings to look for."""
        return self.plain_of.keys()

    def note(self, ids: Iterable[str]) -> None:
        """Note who was found."""
        self.found.update(self.plain_of[one] for one in ids)

    def line(self, path: Path, text: str) -> str:
        """Say something of a file."""
        return f"{self.contents.relative_name(path)}: {text}"

    def may_remain(self, line: str) -> str:
        """Note where customers may remain."""
        self.remaining.append(line)
        return line

    def done(self, action: str) -> str:
        """Say what was done, or would be."""
        return f"would be {action}" if self.dry_run else action

    def removed(self, path: Path, count: int, noun: str = "row") -> str:
        """Say how much was removed from a file."""
        return self.line(path, f"{format_quantity(count, noun)} {self.done('removed')}.")


def forget_customers(
    customers: Iterable[str], *, settings: Settings, from_file: Path | None = None, dry_run: bool = False
) -> Iterator[str]:
    """Take customers out of scores, set-aside rows, lists, pages and records."""
    if not settings.home.is_dir():
        raise InputError(f"--home {settings.home}: no such folder.")
    requested = _requested_ids(customers, from_file, settings)
    contents = search_home(settings.home)
    n_cleared = 0
    for leftover, out in contents.leftovers:
        with write_refusals(leftover):
            if not dry_run:
                clear_interrupted_write(leftover, out)
                n_cleared += 1
        name = contents.relative_name(leftover)
        yield f"{name}: left by a run that was killed; {'would be ' if dry_run else ''}removed."
    contents = search_home(settings.home) if contents.leftovers else contents
    runs, unknown = _find_runs(contents)
    pages = [path for path in contents.named(".html") if scores_of_page(path) is not None]
    erasure = _Erasure(contents, runs, _find_list_folders(contents), pages, settings.columns, dry_run)
    erasure.searched.update([from_file.resolve()] if from_file else [])
    owners = _owners_of_addresses(erasure, requested)
    erasure.plain_of = _with_hashed_ids(erasure, requested.union(*owners.values()))
    erasure.found.update(owners)
    yield from (erasure.may_remain(line) for line in (*contents.unreached, *unknown))
    yield from (f"{one}: the e-mail address of customer {first_few(sorted(ids))}." for one, ids in owners.items())
    for erase in _KINDS:
        yield from erase(erasure)
    yield from _summary_lines(erasure, requested, cleared=n_cleared > 0)


def _requested_ids(customers: Iterable[str], from_file: Path | None, settings: Settings) -> frozenset[str]:
    given = list(customers)
    ids = clean_ids(pl.Series(given, dtype=pl.String()))
    if ids.null_count():
        raise InputError(f"{ids.null_count()} of {len(given)} ids are empty. Name each customer to forget.")
    listed = read_customers(from_file, column_map=settings.columns).rows[_ID].to_list() if from_file else []
    if not given and not listed:
        raise InputError("nobody is named. Give ids, or a list with --from-file.")
    return frozenset([*ids.to_list(), *listed])


def _with_hashed_ids(erasure: _Erasure, ids: frozenset[str]) -> dict[str, str]:
    """Map ids, and their hashes with the key of each record that has hashes, to plain ids."""
    plain = sorted(ids)
    plain_of = {one: one for one in plain}
    records = {run.path: run.record for run in erasure.runs}
    records |= {folder / LISTS_RECORD: record for folder, record in erasure.list_folders.items()}
    records |= {path: read_json_object(path) for path, _ in _find_campaigns(erasure.contents)}
    for path, record in records.items():
        if not isinstance(record.get("pseudonyms", {}) or {}, dict):
            continue
        pseudonymizer = Pseudonymizer.of_record(record, name=str(path))
        if pseudonymizer:
            hashed = pseudonymizer.ids(pl.Series(plain, dtype=pl.String()))
            plain_of = {**dict(zip(hashed, plain, strict=True)), **plain_of}
    return plain_of


def _owners_of_addresses(erasure: _Erasure, requested: frozenset[str]) -> dict[str, set[str]]:
    """Find the customers of e-mail addresses that are no ids themselves, as far as lists tell."""
    addresses = {one for one in requested if "@" in one}
    owners: dict[str, set[str]] = {}
    for path, column in _list_files(erasure) if addresses else ():
        rows = read_list(path)
        if column not in rows.columns:
            continue
        ids = clean_ids(unescape_formulas(rows[column]))
        emails = [name for name in rows.columns if column_key(name) in ROLES["email"]]
        for values in (rows[name] for name in {column, *emails}):
            cells = values.cast(pl.String).str.strip_chars().str.to_lowercase()
            for address, one in zip(cells, ids, strict=True):
                if address in addresses and one is not None:
                    owners.setdefault(address, set()).add(one)
    are_ids = {address for address, ids in owners.items() if address in ids}
    for run in erasure.runs if owners else ():
        if run.scores.is_file():
            are_ids |= ids_in_table(run.scores, _ID, addresses).keys()
    return {address: ids for address, ids in sorted(owners.items()) if address not in are_ids}


def _summary_lines(erasure: _Erasure, requested: frozenset[str], *, cleared: bool) -> Iterator[str]:
    missing = sorted(requested - erasure.found)
    tables = sorted({run.table for run in erasure.runs if run.table})
    untouched = [erasure.may_remain(f"{table} was not touched: delete the rows there yourself.") for table in tables]
    if not erasure.found and not erasure.remaining:
        who = first_few(missing)
        raise InputError(
            f"nobody was found, nothing{' else' if cleared else ''} was erased: below {erasure.contents.home} no file "
            f"names {who}. Ids are spelled as in the orders; an e-mail address must be an id or be in lists.",
            withheld=who,
        )
    addresses = [one for one in missing if "@" in one]
    if len(addresses) < len(missing):
        yield f"Not found: {first_few(one for one in missing if one not in addresses)}."
    yield from (f"{one} is neither a customer id nor an e-mail address in lists." for one in addresses)
    yield from untouched
    yield SOURCES_NOTE
    were = "was" if len(missing) == 1 else "were"
    not_found = f"{len(missing):,} of {format_quantity(len(requested), 'name')} {were} not found"
    if erasure.dry_run:
        yield "This was a dry run: nothing was changed."
    elif erasure.remaining:
        places = format_quantity(len(erasure.remaining), "place")
        raise DeliveryError(
            f"these customers may remain in {places} that could not be reached or are not changed: "
            f"{first_few(erasure.remaining)} Everything else is done. Remove them there, then run again."
            f"{f' {not_found}: check the spelling.' if missing else ''}"
        )
    if missing:
        others = (
            f"; the others {'would be' if erasure.dry_run else 'are'} erased" if len(missing) < len(requested) else ""
        )
        raise InputError(
            f"{not_found} and may remain under another spelling{others}. Ids are spelled as in the orders: correct "
            "them and run again."
        )


# Scores, set-aside rows, and the records that name them


def _find_runs(contents: HomeContents) -> tuple[list[_RunOutputs], list[str]]:
    runs, unknown = [], []
    for path in contents.named(RUN_SUFFIX):
        record = read_json_object(path)
        is_ours = record.get("schema") == RUN_SCHEMA and record.get("command") == "score"
        if is_ours and find_run_record_fault(record) is None:
            runs.append(_RunOutputs(path, record))
        else:
            unknown.append(f"{contents.relative_name(path)}: not a record that this version knows; left alone.")
    return runs, unknown


def _erase_run_outputs(erasure: _Erasure) -> Iterator[str]:
    for run in erasure.runs:
        erasure.searched.update((run.scores.resolve(), run.quarantine.resolve()))
        yield from _erase_run(erasure, run)


def _erase_run(erasure: _Erasure, run: _RunOutputs) -> Iterator[str]:
    """Take customers out of scores and set-aside rows; the records are changed with them."""
    tables = {run.quarantine: run.quarantine_column, run.scores: _ID}
    columns = {path: column for path, column in tables.items() if path.is_file()}
    found = {path: ids_in_table(path, column, erasure.ids) for path, column in columns.items()}
    duplicates = [one for one in run.record.get("duplicates") or () if one in erasure.ids]
    for ids in (*found.values(), duplicates):
        erasure.note(ids)
    n_rows = {path: sum(counts.values()) for path, counts in found.items() if counts}
    if not run.table and not os.path.lexists(run.scores):
        missing = (
            f"its scores, {run.scores.name}, are not there. If they were moved, take these customers out there; "
            "otherwise remove the record."
        )
        yield erasure.may_remain(erasure.line(run.path, missing))
    if not n_rows and not duplicates:
        return
    n_links = {path: path.stat().st_nlink - 1 for path in n_rows}
    if not erasure.dry_run:
        _rewrite_run(run, {path: columns[path] for path in n_rows}, n_rows, erasure.ids)
    for path, count in n_rows.items():
        yield erasure.removed(path, count)
        if n_links[path]:
            links = f"the file has {format_quantity(n_links[path], 'other name')} (hard links), which still name them."
            yield erasure.may_remain(erasure.line(path, links))
    if duplicates:
        yield erasure.removed(run.path, len(duplicates), "id")


def _rewrite_run(
    run: _RunOutputs, columns: Mapping[Path, str], n_removed: Mapping[Path, int], ids: Collection[str]
) -> None:
    scores = run.scores
    with write_refusals(scores), staged_delivery(scores, formats=(scores.suffix,)) as delivery:
        sizes = {}
        for path, column in columns.items():
            staged = delivery.staged(path)
            rows = stage_table_without(path, column, ids, staged)
            sizes[path] = {"rows": rows, "before": sha256_of(path), "after": sha256_of(staged)}
        _stage_records(run, sizes, n_removed, ids, delivery.staged)
        delivery.publish()


def _stage_records(
    run: _RunOutputs,
    sizes: Mapping[Path, Mapping[str, Any]],
    n_removed: Mapping[Path, int],
    ids: Collection[str],
    staged: Callable[[Path], Path],
) -> None:
    """Write the run's record, and the monitor's, so that they fit the files as they will be."""
    record = json.loads(json.dumps(run.record))
    record["duplicates"] = [one for one in record.get("duplicates") or () if one not in ids]
    for name, path in (("scores", run.scores), ("quarantine", run.quarantine)):
        output, size = (record.get("outputs") or {}).get(name), sizes.get(path)
        if output and size and output.get("sha256") == size["before"]:
            output.update(rows=size["rows"], sha256=size["after"])
    rows = {path.name: count for path, count in n_removed.items()}
    record["forgotten"] = [*(record.get("forgotten") or []), {"at": _now(), "rows": rows}]
    _write_record(staged(run.path), record, before=run.record)
    size, monitoring = sizes.get(run.scores), read_json_object(run.monitor)
    scores = monitoring.get("scores")
    if size and isinstance(scores, dict) and scores.get("sha256") == size["before"]:
        changed = {**monitoring, "scores": {**scores, "sha256": size["after"]}}
        _write_record(staged(run.monitor), changed, before=monitoring)


def _write_record(path: Path, record: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    """Write a record; its digest is valid if it was before, so that a change by hand stays visible."""
    record = with_digest(record) if has_valid_digest(before) else record
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="seconds")


# Pages


def _erase_pages(erasure: _Erasure) -> Iterator[str]:
    for page in erasure.pages:
        ids = ids_in_page(page, erasure.ids)
        if ids:
            erasure.note(ids)
            yield _erase_page(erasure, page)


def _erase_page(erasure: _Erasure, page: Path) -> str:
    """Make a page again from its scores, or remove it where they are not there."""
    source = scores_of_page(page)
    candidates = [page.parent / f"{source}{ending}" for ending in FORMATS] if source else []
    scores = next((path for path in candidates if _are_scores(path)), None)
    if scores is None:
        if not erasure.dry_run:
            with write_refusals(page):
                real_path(page).unlink()
                page.unlink(missing_ok=True)
        return erasure.line(page, f"{erasure.done('removed')}, since the scores it was made from are not there.")
    text = f"{erasure.done('made again')} from {scores.name}"
    if draws_purchases(page):
        names = [erasure.contents.relative_name(path) for path in (scores, page)]
        text += f", without purchases; `repurchase report {names[0]} --orders ORDERS --out {names[1]}` draws them again"
    if not erasure.dry_run:
        write_report(scores, page, locale=language_of(page))
    return erasure.line(page, f"{text}.")


def _are_scores(path: Path) -> bool:
    try:
        read_scored_run(path)
    except InputError:
        return False
    return True


# Folders of lists


def _find_list_folders(contents: HomeContents) -> dict[Path, dict[str, Any]]:
    folders = {}
    for folder in sorted(path.parent for path in contents.named(LISTS_RECORD) if path.name == LISTS_RECORD):
        record = read_lists_record(folder)
        if record is not None:
            folders[folder] = record
        elif not _is_other_record(folder / LISTS_RECORD):
            raise InputError(
                f"{folder / LISTS_RECORD} cannot be read, so it is not known which lists there hold whom. Nothing was "
                "changed. Make these lists again, or remove the folder."
            )
    return folders


def _is_other_record(path: Path) -> bool:
    """Tell whether a file of that name is something else by its own account."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return False
    return not isinstance(record, dict) or record.get("command") != "lists"


def _list_files(erasure: _Erasure) -> Iterator[tuple[Path, str]]:
    """Iterate over the lists that are there, and their columns of ids."""
    for folder, record in erasure.list_folders.items():
        yield from _files_of_record(folder, record)


def _files_of_record(folder: Path, record: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Iterate over files and id columns; records of an earlier version name one column for all but repair.csv."""
    for file in record.get("files", []):
        path = folder / Path(str(file["name"])).name
        column = _ID if path.name == "repair.csv" else record.get("id_column")
        if path.is_file():
            yield path, str(file.get("id_column") or column or _ID)


def _erase_lists(erasure: _Erasure) -> Iterator[str]:
    for folder, record in erasure.list_folders.items():
        yield from _erase_folder(erasure, folder, record)


def _erase_folder(erasure: _Erasure, folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    files = {Path(str(file["name"])).name: dict(file) for file in record.get("files", [])}
    changed = []
    for path, column in _files_of_record(folder, record):
        erasure.searched.add(path.resolve())
        content, found = list_without(path, erasure.ids, column_map={_ID: column}, escaped=True)
        if not found:
            continue
        erasure.note(found)
        if not erasure.dry_run:
            with write_refusals(path):
                write_file(path, content)
            rows = int(files[path.name]["rows"]) - sum(found.values())
            files[path.name].update(rows=rows, sha256=sha256_of(path))
            changed.append(path.name)
        yield erasure.removed(path, sum(found.values()))
    if changed:
        forgotten = [*record.get("forgotten", []), {"at": _now(), "files": sorted(changed)}]
        with write_refusals(folder / LISTS_RECORD):
            write_lists_record(folder / LISTS_RECORD, {**record, "files": list(files.values()), "forgotten": forgotten})


# Campaigns


def _find_campaigns(contents: HomeContents) -> Iterator[tuple[Path, list[Path]]]:
    """Iterate over records and their tables; a measurement may be in another folder than its campaign."""
    for path in contents.named(CUSTOMERS_SUFFIX):
        stem = path.name.removesuffix(CUSTOMERS_SUFFIX)
        tables = [path.with_name(stem + ending) for ending in _CAMPAIGN_TABLES]
        yield path.with_name(f"{stem}.json"), [table for table in tables if table.is_file()]
    for path in contents.named(OUTCOMES_SUFFIX):
        stem = path.name.removesuffix(OUTCOMES_SUFFIX)
        if not path.with_name(stem + CUSTOMERS_SUFFIX).exists():
            yield path.with_name(stem + MEASURED_SUFFIX), [path]


def _erase_campaigns(erasure: _Erasure) -> Iterator[str]:
    """Take customers out of campaigns, which can still be measured with those who are left."""
    for record, tables in _find_campaigns(erasure.contents):
        plan = read_json_object(record)
        if not isinstance(plan.get("pseudonyms", {}) or {}, dict) or (not plan and tables):
            erasure.may_remain(erasure.line(record, "cannot be read; it tells how ids are written beside it."))
        for path in tables:
            is_csv = path.suffix.lower() == ".csv"
            found = ids_in_table(path, _ID, erasure.ids, escaped=is_csv)
            if not found:
                continue
            if not erasure.dry_run:
                with write_refusals(path), staged_delivery(path, formats=(path.suffix,)) as delivery:
                    stage_table_without(path, _ID, erasure.ids, delivery.staged(path), escaped=is_csv)
                    delivery.publish()
            erasure.note(found)
            erasure.searched.add(path.resolve())
            yield erasure.removed(path, sum(found.values()))


# Lists that were sent with --customers: not written by us, and may be anything by now


def _erase_customer_lists(erasure: _Erasure) -> Iterator[str]:
    recorded = {str(run.record["list"]) for run in erasure.runs if run.record.get("list")}
    for path in (Path(name) for name in sorted(recorded) if Path(name).is_file()):
        erasure.searched.add(path.resolve())
        content, found = list_without(path, erasure.ids, column_map=erasure.column_map)
        if not found:
            continue
        erasure.note(found)
        if not erasure.contents.holds(path):
            elsewhere = f"this list names {len(found):,} of these; it lies outside the home folder and was not touched."
            yield erasure.may_remain(f"{path}: {elsewhere}")
            continue
        if not erasure.dry_run:
            write_file(path, content)
        yield erasure.removed(path, sum(found.values()))


# Other tables, such as copies of scores or lists: they are named, and not changed


def _name_other_tables(erasure: _Erasure) -> Iterator[str]:
    headings = {*id_headings(), *(run.quarantine_column for run in erasure.runs)}
    headings |= {column for _, column in _list_files(erasure)}
    order_files = _recorded_order_files(erasure.contents)
    for path in erasure.contents.named(".csv", ".parquet"):
        if path.resolve() in erasure.searched:
            continue
        try:
            found = ids_in_other_table(path, headings, erasure.ids)
        except InputError:
            unreadable = "cannot be read; check whether it names them."
            yield erasure.may_remain(erasure.line(path, unreadable))
            continue
        if not found:
            continue
        erasure.note(found)
        names = f"names {len({erasure.plain_of[one] for one in found}):,} of these"
        if order_files & {sha256_of(path), os.path.realpath(path)}:
            yield erasure.line(path, f"{names}; these are orders: it was not touched.")
        else:
            yield erasure.may_remain(erasure.line(path, f"{names}; no record names this file: it was not touched."))


def _recorded_order_files(contents: HomeContents) -> set[str]:
    """Return digests and paths of the order files that records name."""
    files: set[str] = set()
    for path in contents.named(RUN_SUFFIX, MONITOR_SUFFIX, MEASURED_SUFFIX):
        orders = read_json_object(path).get("orders")
        recorded = orders.get("files") if isinstance(orders, dict) else None
        for file in recorded if isinstance(recorded, list) else ():
            if isinstance(file, dict):
                files |= {str(file.get("sha256")), os.path.realpath(str(file.get("path")))}
    return files


_KINDS: tuple[Callable[[_Erasure], Iterator[str]], ...] = (
    _erase_run_outputs,
    _erase_pages,
    _erase_lists,
    _erase_campaigns,
    _erase_customer_lists,
    _name_other_tables,
)
"""Kinds of file that can hold a customer, in the order in which they are searched."""
