"""`repurchase forget`: take customers out of scores, lists, campaigns, pages and records."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.campaigns.planning import CONTROL, TREATMENT
from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.campaign_files import CUSTOMERS_SUFFIX, MEASURED_SUFFIX, OUTCOMES_SUFFIX
from repurchase.jobs.customer_lists import set_aside_id_column
from repurchase.jobs.forget_files import (
    ForgetRequest,
    HomeContents,
    action_line,
    clear_interrupted_writes,
    draws_purchases,
    format_count,
    ids_in_csv,
    ids_in_page,
    ids_in_parquet,
    ids_in_table,
    language_of,
    list_without,
    os_refusals,
    relative_name,
    requested_ids,
    rows_of_list,
    scores_of_page,
    search_home,
    stage_table_without,
    with_hashed_ids,
)
from repurchase.jobs.outputs import LISTS_RECORD, QUARANTINE_SUFFIX, RUN_SUFFIX, read_lists_record, write_lists_record
from repurchase.marketing.contacts import ROLES
from repurchase.marketing.csv_export import escaped_ids
from repurchase.marketing.segments import require_single_run
from repurchase.orders.ids import clean_ids, pseudonymise, read_matching_key
from repurchase.report.page import write_report
from repurchase.report.record_texts import id_headings
from repurchase.settings import Settings
from repurchase.sources.vocabulary import column_key
from repurchase.storage.atomic_files import real_path, write_file
from repurchase.storage.delivery import FORMATS, staged_delivery
from repurchase.storage.json_files import has_valid_digest, read_json, read_json_object, sha256_of, with_digest
from repurchase.storage.run_records import (
    MONITOR_SUFFIX,
    RUN_SCHEMA,
    find_run_record_fault,
    read_run_record,
    read_scores,
    validate_scored_run,
)

_CUSTOMER_TABLES = (CUSTOMERS_SUFFIX, OUTCOMES_SUFFIX, f".{TREATMENT}.csv", f".{CONTROL}.csv")


def _forget_in_campaigns(
    places: HomeContents, wanted: ForgetRequest, *, dry_run: bool
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Take customers out of every campaign under a folder; it can still be measured, with those who are left."""
    for record, tables in _find_campaigns(places):
        plan = read_json_object(record)
        if not isinstance(plan.get("pseudonyms", {}) or {}, dict) or (not plan and tables):
            wanted.may_remain(
                f"{relative_name(record, places.home)}: cannot be read; it says how ids are written beside it."
            )
            plan = {}
        spelled = _ids_in_files(wanted.plain_ids, plan, record)
        for path in tables:
            found = ids_in_table(path, "customer_id", spelled.keys())
            if not found:
                continue
            if not dry_run:
                with os_refusals(path):
                    _stage_campaign_without(path, spelled.keys())
            yield path, {spelled[one]: rows for one, rows in found.items()}


def _stage_campaign_without(path: Path, wanted: Collection[str]) -> None:
    with staged_delivery(path, formats=(path.suffix,)) as delivery:
        stage_table_without(path, "customer_id", wanted, delivery.staged(path))
        delivery.publish()


def _find_campaigns(places: HomeContents) -> Iterator[tuple[Path, list[Path]]]:
    """Records, each with its tables of customers; a measurement may lie elsewhere than its campaign."""
    for path in places.named(CUSTOMERS_SUFFIX):
        stem = path.name.removesuffix(CUSTOMERS_SUFFIX)
        tables = [path.with_name(stem + ending) for ending in _CUSTOMER_TABLES]
        yield path.with_name(f"{stem}.json"), [table for table in tables if table.is_file()]
    for path in places.named(OUTCOMES_SUFFIX):
        stem = path.name.removesuffix(OUTCOMES_SUFFIX)
        if not path.with_name(stem + CUSTOMERS_SUFFIX).exists():
            yield path.with_name(stem + MEASURED_SUFFIX), [path]


def _ids_in_files(ids: Collection[str], plan: Mapping[str, Any], record: Path) -> dict[str, str]:
    """How an id may stand in a campaign's files: hashed, and in CSV behind an apostrophe if it would run."""
    plain = sorted(ids)
    spelled = {one: one for one in plain}
    mark = plan.get("pseudonyms")
    if mark:
        hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), read_matching_key(mark, what=str(record)))
        spelled.update(zip(hashed.to_list(), plain, strict=True))
    return {**spelled, **{listed: spelled[one] for listed, one in escaped_ids(spelled).items()}}


_ID_HEADING = "customer_id"
_ListFolders = Mapping[Path, Mapping[str, Any]]
"""Folders of lists, each with its record."""


def _find_list_folders(places: HomeContents) -> dict[Path, dict[str, Any]]:
    """Find folders of lists, and read their records."""
    made = {}
    for folder in sorted(path.parent for path in places.named(LISTS_RECORD) if path.name == LISTS_RECORD):
        record = read_lists_record(folder)
        if record is not None:
            made[folder] = record
        elif not _is_other_record(folder / LISTS_RECORD):
            raise InputError(
                f"{folder / LISTS_RECORD} cannot be read, so it is not known which lists there hold whom. Nothing was "
                "changed. Make these lists again, or remove the folder."
            )
    return made


def _is_other_record(path: Path) -> bool:
    """Whether a file of that name says itself that it is something else."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return False
    return not isinstance(record, dict) or record.get("command") != "lists"


def _id_column_of(name: str, told: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The column of ids; lists of an earlier version tell one for all files but repair.csv."""
    of_all = _ID_HEADING if name == "repair.csv" else record.get("id_column")
    return str(told.get("id_column") or of_all or _ID_HEADING)


def _list_files(folder: Path, record: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Lists that are there, and their columns of ids."""
    for told in record.get("files", []):
        path = folder / Path(str(told["name"])).name
        if path.is_file():
            yield path, _id_column_of(path.name, told, record)


def _find_address_owners(addresses: Collection[str], made: _ListFolders) -> dict[str, set[str]]:
    """Find the customers to whom e-mail addresses belong."""
    owners: dict[str, set[str]] = {}
    for folder, record in made.items():
        for path, column in _list_files(folder, record) if addresses else ():
            names, cells = rows_of_list(path)
            if column not in names:
                continue
            emails = [place for place, name in enumerate(names) if column_key(name) in ROLES["email"]]
            who = names.index(column)
            for row in cells:
                for place in {who, *emails}:
                    address = row[place].strip().lower() if max(place, who) < len(row) else ""
                    if address in addresses:
                        owners.setdefault(address, set()).add(row[who])
    return {address: _clean_ids(ids) for address, ids in owners.items()}


def _clean_ids(ids: Collection[str]) -> set[str]:
    spelled = pl.Series(sorted(ids), dtype=pl.String()).str.replace(r"^'([=+\-@＝＋－＠])", "$1")
    return set(clean_ids(spelled).drop_nulls())


def _forget_in_folder(
    folder: Path, record: Mapping[str, Any], wanted: ForgetRequest, home: Path, *, dry_run: bool
) -> Iterator[str]:
    """Take customers out of every file of a folder of lists."""
    spelled = wanted.find_in_values
    files = {Path(str(told["name"])).name: dict(told) for told in record.get("files", [])}
    changed = []
    for path, column in _list_files(folder, record):
        content, found = list_without(path, spelled.keys(), told={_ID_HEADING: column})
        if not found:
            continue
        rows = sum(found.values())
        if not dry_run:
            with os_refusals(path):
                write_file(path, content)
            files[path.name].update(rows=int(files[path.name]["rows"]) - rows, sha256=sha256_of(path))
            changed.append(path.name)
        wanted.saw(spelled[one] for one in found)
        yield f"{relative_name(path, home)}: {format_count(rows, 'row')} {action_line('removed', dry_run)}."
    if changed:
        at = datetime.now(tz=UTC).isoformat(timespec="seconds")
        forgotten = [*record.get("forgotten", []), {"at": at, "files": sorted(changed)}]
        with os_refusals(folder / LISTS_RECORD):
            write_lists_record(folder / LISTS_RECORD, {**record, "files": list(files.values()), "forgotten": forgotten})


def _forget_in_list(
    path: Path, wanted: ForgetRequest, places: HomeContents, *, columns: Mapping[str, str], dry_run: bool
) -> Iterator[str]:
    """Take customers out of a list that was sent with ``--customers``."""
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
    rows, removed = format_count(sum(found.values()), "row"), action_line("removed", dry_run)
    yield f"{relative_name(path, places.home)}: {rows} {removed}."


def _other_tables(
    places: HomeContents,
    wanted: ForgetRequest,
    made: _ListFolders,
    *,
    columns: Collection[str],
    known: Collection[Path],
    sources: set[str],
) -> Iterator[str]:
    """Name tables with a column of ids that no record tells of, such as scores or a list that were copied."""
    ours = [file for folder, record in made.items() for file in _list_files(folder, record)]
    headings = {*id_headings(), *columns, *(column for _, column in ours)}
    searched_folders = {path.resolve() for path in (*known, *(path for path, _ in ours))}
    spelled, home = wanted.find_in_values, places.home
    for path in places.named(".csv", ".parquet"):
        if path.resolve() in searched_folders:
            continue
        try:
            ids_in = ids_in_csv if path.suffix.lower() == ".csv" else ids_in_parquet
            found = ids_in(path, headings, spelled.keys())
        except InputError:
            yield wanted.may_remain(
                f"{relative_name(path, home)}: cannot be read; see for yourself whether it names them."
            )
            continue
        if found:
            wanted.saw(spelled[one] for one in found)
            names = len({spelled[one] for one in found})
            if sources & {sha256_of(path), os.path.realpath(path)}:
                yield f"{relative_name(path, home)}: names {names:,} of these; these are orders: it was not touched."
                continue
            yield wanted.may_remain(
                f"{relative_name(path, home)}: names {names:,} of these; no record tells of this file: it "
                "was not touched."
            )


_TABLE_RECORD_SUFFIX = ".postgresql"


@dataclass(frozen=True)
class _RunOutputs:
    """What one scoring run left: its record, and what the record names."""

    record: Path
    run: Mapping[str, Any]

    @property
    def table(self) -> str | None:
        """The address of the table, if scores went to one."""
        path = str(self._file("scores").get("path"))
        return path if "://" in path else None

    @property
    def scores(self) -> Path:
        """The scores, or what stands for their table."""
        name = (
            f"{self._stem}{_TABLE_RECORD_SUFFIX}"
            if self.table
            else Path(str(self._file("scores").get("path"))).name or "scores"
        )
        return self.record.with_name(name)

    @property
    def quarantine(self) -> Path:
        """The rows that were set aside."""
        return self.record.with_name(self._stem + QUARANTINE_SUFFIX)

    @property
    def monitor(self) -> Path:
        """What `repurchase monitor` wrote."""
        return self.record.with_name(self._stem + MONITOR_SUFFIX)

    @property
    def column(self) -> str:
        """The column of ids among the rows that were set aside."""
        return set_aside_id_column((self.run.get("orders") or {}).get("columns") or {})

    @property
    def _stem(self) -> str:
        return self.record.name.removesuffix(RUN_SUFFIX)

    def _file(self, name: str) -> Mapping[str, Any]:
        found = (self.run.get("outputs") or {}).get(name)
        return found if isinstance(found, Mapping) else {}


def _find_run_outputs(places: HomeContents) -> tuple[list[_RunOutputs], list[str]]:
    """Find what scoring runs left."""
    outputs, unknown = [], []
    for path in places.named(RUN_SUFFIX):
        run = read_json_object(path)
        is_ours = run.get("schema") == RUN_SCHEMA and run.get("command") == "score"
        if is_ours and find_run_record_fault(run) is None:
            outputs.append(_RunOutputs(path, run))
        else:
            unknown.append(f"{relative_name(path, places.home)}: not a record that this version knows; left alone.")
    return outputs, unknown


def _recorded_order_files(places: HomeContents) -> set[str]:
    """Name the order files that records tell of."""
    found: set[str] = set()
    for record in places.named(RUN_SUFFIX, MONITOR_SUFFIX, MEASURED_SUFFIX):
        orders = read_json_object(record).get("orders")
        files = orders.get("files") if isinstance(orders, dict) else None
        for file in files if isinstance(files, list) else ():
            if isinstance(file, dict):
                found |= {str(file.get("sha256")), os.path.realpath(str(file.get("path")))}
    return found


def _forget_in_output(output: _RunOutputs, wanted: ForgetRequest, home: Path, *, dry_run: bool) -> Iterator[str]:
    """Take customers out of scores and set-aside rows; the records still fit."""
    tables = {output.quarantine: output.column, output.scores: "customer_id"}
    there = {path: column for path, column in tables.items() if path.is_file()}
    found = {path: ids_in_table(path, column, wanted.ids) for path, column in there.items()}
    duplicates = [one for one in output.run.get("duplicates") or () if one in wanted.ids]
    for names in (*found.values(), duplicates):
        wanted.saw(names)
    changed = {path: sum(rows.values()) for path, rows in found.items() if rows}
    if not output.table and not os.path.lexists(output.scores):
        yield wanted.may_remain(
            f"{relative_name(output.record, home)}: its scores, {output.scores.name}, are not there. If "
            "they were moved, take "
            "these customers out there; otherwise remove the record."
        )
    if not changed and not duplicates:
        return
    links = {path: path.stat().st_nlink - 1 for path in changed}
    if not dry_run:
        scores = output.scores
        with os_refusals(scores), staged_delivery(scores, formats=(scores.suffix,)) as delivery:
            sizes = {}
            for path in changed:
                staged = delivery.staged(path)
                rows = stage_table_without(path, there[path], wanted.ids, staged)
                sizes[path] = {"rows": rows, "before": sha256_of(path), "after": sha256_of(staged)}
            _stage_records(output, sizes, changed, wanted.ids, delivery.staged)
            delivery.publish()
    for path, rows in changed.items():
        yield f"{relative_name(path, home)}: {format_count(rows, 'row')} {action_line('removed', dry_run)}."
        if links[path]:
            yield wanted.may_remain(
                f"{relative_name(path, home)}: the file has {format_count(links[path], 'other name')} "
                "(hard links), which still "
                "name them."
            )
    if duplicates:
        what = "id" if len(duplicates) == 1 else "ids"
        yield f"{relative_name(output.record, home)}: {len(duplicates):,} {what} {action_line('removed', dry_run)}."


def _stage_records(
    output: _RunOutputs,
    sizes: Mapping[Path, Mapping[str, Any]],
    removed: Mapping[Path, int],
    ids: Collection[str],
    staged: Callable[[Path], Path],
) -> None:
    """Write the run's record, and the monitor's, so that they belong to the files as they will be."""
    run = json.loads(json.dumps(output.run))
    run["duplicates"] = [one for one in run.get("duplicates") or () if one not in ids]
    for name, path in (("scores", output.scores), ("quarantine", output.quarantine)):
        recorded, now = (run.get("outputs") or {}).get(name), sizes.get(path)
        if recorded and now and recorded.get("sha256") == now["before"]:
            recorded.update(rows=now["rows"], sha256=now["after"])
    at = datetime.now(tz=UTC).isoformat(timespec="seconds")
    rows = {path.name: rows for path, rows in removed.items()}
    run["forgotten"] = [*(run.get("forgotten") or []), {"at": at, "rows": rows}]
    _write_json(staged(output.record), run, before=output.run)
    now, record = sizes.get(output.scores), read_json_object(output.monitor)
    scores = record.get("scores")
    if now and isinstance(scores, dict) and scores.get("sha256") == now["before"]:
        changed = {**record, "scores": {**scores, "sha256": now["after"]}}
        _write_json(staged(output.monitor), changed, before=record)


def _write_json(path: Path, value: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    """Write a record; its digest fits if it fitted before, so that one that was changed by hand stays so."""
    value = with_digest(value) if has_valid_digest(before) else value
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


SOURCES_NOTE = (
    "Order sources were not touched: as long as they hold these customers, the next scores hold them again. "
    "models/ and mlruns/ hold no customers."
)


def forget_customers(
    customers: Iterable[str], *, settings: Settings, from_file: Path | None = None, dry_run: bool = False
) -> Iterator[str]:
    """Take customers out of scores, set-aside rows, lists, pages and records."""
    home = settings.home
    if not home.is_dir():
        raise InputError(f"--home {home}: no such folder.")
    named = requested_ids(customers, from_file, settings)
    places = search_home(home)
    left_behind = places.left
    for left, out in left_behind:
        with os_refusals(left):
            yield from clear_interrupted_writes(left, out, home, dry_run=dry_run)
    if left_behind:
        places = search_home(home)
    outputs, unknown = _find_run_outputs(places)
    made = _find_list_folders(places)
    owners = _address_owners(named, outputs, made)
    ids = named.union(*owners.values())
    records = {output.record: output.run for output in outputs} | {
        at / LISTS_RECORD: found for at, found in made.items()
    }
    wanted = with_hashed_ids(ids, records)
    wanted.found.update(owners)
    yield from (wanted.may_remain(line) for line in (*places.unreached, *unknown))
    yield from (f"{one}: the e-mail address of customer {first_few(sorted(whose))}." for one, whose in owners.items())
    yield from _forget_in_all_files(places, wanted, outputs, made, settings, from_file=from_file, dry_run=dry_run)
    yield from _summary_lines(wanted, named, outputs, home, cleared=bool(left_behind) and not dry_run, dry_run=dry_run)


def _forget_in_all_files(
    places: HomeContents,
    wanted: ForgetRequest,
    outputs: list[_RunOutputs],
    made: _ListFolders,
    settings: Settings,
    *,
    from_file: Path | None,
    dry_run: bool,
) -> Iterator[str]:
    """Go through one kind of file after the other."""
    home = places.home
    pages = [path for path in places.named(".html") if scores_of_page(path) is not None]
    for output in outputs:
        yield from _forget_in_output(output, wanted, home, dry_run=dry_run)
    for page in pages:
        yield from _forget_in_page(page, wanted, home, dry_run=dry_run)
    for folder, record in made.items():
        yield from _forget_in_folder(folder, record, wanted, home, dry_run=dry_run)
    reached: list[Path] = []
    for path, found in _forget_in_campaigns(places, wanted, dry_run=dry_run):
        wanted.saw(found)
        reached.append(path)
        rows, removed = format_count(sum(found.values()), "row"), action_line("removed", dry_run)
        yield f"{relative_name(path, home)}: {rows} {removed}."
    sent = _recorded_lists(outputs)
    for path in sent:  # last: they are not ours, and may be anything by now
        yield from _forget_in_list(path, wanted, places, columns=settings.columns, dry_run=dry_run)
    ours = [path for output in outputs for path in (output.scores, output.quarantine)]
    known = [*reached, *sent, *ours, *([from_file] if from_file else [])]
    columns = {output.column for output in outputs}
    yield from _other_tables(places, wanted, made, columns=columns, known=known, sources=_recorded_order_files(places))


def _summary_lines(
    wanted: ForgetRequest,
    named: frozenset[str],
    outputs: Iterable[_RunOutputs],
    home: Path,
    *,
    cleared: bool,
    dry_run: bool,
) -> Iterator[str]:
    missing = sorted(named - wanted.found)
    tables = sorted({output.table for output in outputs if output.table})
    untouched = [wanted.may_remain(f"{table} was not touched: delete the rows there yourself.") for table in tables]
    if not wanted.found and not wanted.remaining:
        who = first_few(missing)
        raise InputError(
            f"nobody was found, nothing{' else' if cleared else ''} was erased: below {home} no file names {who}. "
            "Ids are spelled as in the orders; an e-mail address must be an id or stand in lists.",
            withheld=who,
        )
    addresses = [one for one in missing if "@" in one]
    if len(addresses) < len(missing):
        yield f"Found nowhere: {first_few(one for one in missing if one not in addresses)}."
    yield from (f"{one} is neither a customer id nor an e-mail address in lists." for one in addresses)
    yield from untouched
    yield SOURCES_NOTE
    if dry_run:
        yield "This was a dry run: nothing was changed."
    elif wanted.remaining:
        raise DeliveryError(
            f"these customers may remain in {format_count(len(wanted.remaining), 'place')} that could not "
            "be reached or "
            f"are not changed: {first_few(wanted.remaining)} Everything else is done. Take them out there, then run "
            f"again.{f' {_require_known(missing, named)}: check the spelling.' if missing else ''}"
        )
    if missing:
        others = f"; the others {'would be' if dry_run else 'are'} erased" if len(missing) < len(named) else ""
        raise InputError(
            f"{_require_known(missing, named)} and may remain under another spelling{others}. Ids are "
            "spelled as in the "
            "orders: correct them and run again."
        )


def _require_known(missing: Collection[str], named: Collection[str]) -> str:
    return (
        f"{len(missing):,} of {format_count(len(named), 'name')} {'was' if len(missing) == 1 else 'were'} found nowhere"
    )


def _address_owners(named: Collection[str], outputs: Iterable[_RunOutputs], made: _ListFolders) -> dict[str, set[str]]:
    """Whose the e-mail addresses are that are no ids themselves, where lists tell."""
    addresses = {one for one in named if "@" in one}
    owners = _find_address_owners(addresses, made)
    ids = {one for one, whose in owners.items() if one in whose}
    for output in outputs if owners else ():
        if output.scores.is_file():
            ids |= ids_in_table(output.scores, "customer_id", addresses).keys()
    return {one: whose for one, whose in sorted(owners.items()) if one not in ids}


def _recorded_lists(outputs: Iterable[_RunOutputs]) -> list[Path]:
    """Lists that were sent with ``--customers`` and are still there."""
    paths = {str(output.run["list"]) for output in outputs if output.run.get("list")}
    return [Path(path) for path in sorted(paths) if Path(path).is_file()]


def _forget_in_page(page: Path, wanted: ForgetRequest, home: Path, *, dry_run: bool) -> Iterator[str]:
    named = ids_in_page(page, wanted.ids.__contains__)
    if not named:
        return
    wanted.saw(named)
    source = scores_of_page(page)
    candidates = [page.parent / f"{source}{ending}" for ending in FORMATS] if source else []
    scores = next((path for path in candidates if _are_scores(path)), None)
    if scores is not None:
        again = f"{action_line('made again', dry_run)} from {scores.name}"
        if draws_purchases(page):
            command = (
                f"repurchase report {relative_name(scores, home)} --orders ORDERS --out {relative_name(page, home)}"
            )
            again = f"{again}, without purchases; `{command}` draws them again"
        if not dry_run:
            write_report(scores, page, locale=language_of(page))
        yield f"{relative_name(page, home)}: {again}."
        return
    if not dry_run:
        with os_refusals(page):
            real_path(page).unlink()
            page.unlink(missing_ok=True)
    removed = action_line("removed", dry_run)
    yield f"{relative_name(page, home)}: {removed}, since the scores it was made from are not there."


def _are_scores(path: Path) -> bool:
    try:
        require_single_run(validate_scored_run(read_scores(path), read_run_record(path)[0]))
    except InputError:
        return False
    return True
