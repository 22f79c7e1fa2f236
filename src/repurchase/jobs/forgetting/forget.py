"""Take customers out of everything that is kept in a home folder; order sources are not touched."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.customers import read_customers
from repurchase.jobs.delivery import FORMATS, deliver_to
from repurchase.jobs.forgetting.campaigns import forget_in_campaigns
from repurchase.jobs.forgetting.files import (
    ids_in_page,
    ids_in_table,
    language_of,
    list_without,
    made_from,
    stage_without,
)
from repurchase.jobs.forgetting.lists import forget_in_lists
from repurchase.jobs.lists.folder import RECORD, read_record
from repurchase.jobs.veil import aside_column
from repurchase.orders.ids import clean_ids
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.registry.disk import write_whole
from repurchase.report.page import write_report
from repurchase.report.reading import MONITOR, RUN_SCHEMA, gather, read_scores
from repurchase.settings import Settings

__all__ = ["forget"]

RUN, QUARANTINE, TABLE = ".run.json", ".quarantine.parquet", ".postgresql"
NOT_OUTPUTS = ("models", "mlruns")
"""Folders of the home that hold no customer; a test looks."""

SOURCES_STAY = (
    "Order sources were not touched: as long as they hold these customers, the next scores hold them again. "
    "models/ and mlruns/ hold no customers."
)
_LEFT_BY_A_KILL = re.compile(r"^\.((?P<out>.+)\.partial-.+|partial-.+|(?P<of>.+\.(parquet|csv|postgresql))\.work)$")


@dataclass(frozen=True)
class _Output:
    """What one scoring run left: its record, and what the record names."""

    record: Path
    run: Mapping[str, Any]

    @property
    def is_table(self) -> bool:
        return "://" in str(self._file("scores").get("path"))

    @property
    def scores(self) -> Path:
        """The scores, or what stands for their table."""
        name = f"{self._stem}{TABLE}" if self.is_table else Path(str(self._file("scores").get("path"))).name
        return self.record.with_name(name)

    @property
    def quarantine(self) -> Path:
        return self.record.with_name(self._stem + QUARANTINE)

    @property
    def monitor(self) -> Path:
        return self.record.with_name(self._stem + MONITOR)

    @property
    def column(self) -> str:
        """The column of ids among the rows that were set aside."""
        return aside_column((self.run.get("orders") or {}).get("columns") or {})

    @property
    def _stem(self) -> str:
        return self.record.name.removesuffix(RUN)

    def _file(self, name: str) -> Mapping[str, Any]:
        told = (self.run.get("outputs") or {}).get(name)
        return told if isinstance(told, Mapping) else {}


@dataclass
class _Wanted:
    """Who is to be forgotten, under plain ids and under hashes, and who was found."""

    ids: frozenset[str]
    plain_of: dict[str, str]
    found: set[str] = field(default_factory=set)

    def saw(self, names: Iterable[str]) -> None:
        self.found.update(self.plain_of[name] for name in names)


def forget(
    customers: Iterable[str], *, settings: Settings, from_file: Path | None = None, dry_run: bool = False
) -> Iterator[str]:
    """Take customers out of scores, set-aside rows, lists, pages and records.

    Parameters
    ----------
    customers : iterable of str
        Ids, in any spelling that cleaning knows.
    settings : Settings
        ``settings.home`` is searched; ``settings.columns`` may name the column of ids in lists.
    from_file : Path, optional
        A customer list with more ids.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    str
        What was done, a line per file, as it is done.

    Raises
    ------
    InputError
        If nobody is named, an id is empty, outputs are hashed with a key that is not there, or a file of ours cannot
        be read.
    DeliveryError
        If a file cannot be written, or another run is writing it. What was said before is done.
    """
    home = settings.home
    if not home.is_dir():
        raise InputError(f"--home {home}: no such folder.")
    ids = _who(customers, from_file, settings)
    outputs, pages, left, notes = _search(home)
    made = {folder: record for folder in _folders(home) if (record := read_record(folder)) is not None}
    wanted = _under_all_names(ids, outputs, made)
    yield from notes
    for path in left:
        yield from _clear(path, home, dry_run=dry_run)
    for output in outputs:
        yield from _forget_output(output, wanted, home, dry_run=dry_run)
    for page in pages:
        yield from _forget_in_page(page, wanted, home, dry_run=dry_run)
    for folder, record in made.items():
        yield from _forget_in_folder(folder, record, wanted, home, dry_run=dry_run)
    for path, found in forget_in_campaigns(home, ids, skip=NOT_OUTPUTS, refusals=_refusals, dry_run=dry_run):
        wanted.saw(found)
        yield f"{_shown(path, home)}: {_counted(sum(found.values()), 'row')} {_done('removed', dry_run)}."
    for path in _lists(outputs):  # last: they are not ours, and may be anything by now
        yield from _forget_in_list(path, wanted, settings, dry_run=dry_run)
    yield from _end(wanted, ids, outputs, dry_run=dry_run)


def _end(wanted: _Wanted, ids: frozenset[str], outputs: Iterable[_Output], *, dry_run: bool) -> Iterator[str]:
    missing = sorted(ids - wanted.found)
    if missing:
        yield f"Found nowhere: {first_few(missing)}."
    tables = sorted({str(output.run["outputs"]["scores"]["path"]) for output in outputs if output.is_table})
    yield from (f"{table} was not touched: delete the rows there yourself." for table in tables)
    yield SOURCES_STAY
    if dry_run:
        yield "This was a dry run: nothing was changed."


# Who, and where to look


def _who(customers: Iterable[str], from_file: Path | None, settings: Settings) -> frozenset[str]:
    given = list(customers)
    ids = clean_ids(pl.Series(given, dtype=pl.String()))
    if ids.null_count():
        raise InputError(f"{ids.null_count()} of {len(given)} ids are empty. Name each customer to forget.")
    listed = read_customers(from_file, told=settings.columns).rows["customer_id"].to_list() if from_file else []
    if not given and not listed:
        raise InputError("nobody is named. Give ids, or a list with --from-file.")
    return frozenset([*ids.to_list(), *listed])


def _search(home: Path) -> tuple[list[_Output], list[Path], list[Path], list[str]]:
    outputs: list[_Output] = []
    pages: list[Path] = []
    left: list[Path] = []
    notes: list[str] = []
    for folder, folders, names in os.walk(home):
        here = Path(folder)
        left.extend(here / name for name in sorted([*folders, *names]) if _LEFT_BY_A_KILL.match(name))
        hidden = {name for name in folders if name.startswith(".")}
        folders[:] = sorted({*folders} - hidden - ({*NOT_OUTPUTS} if here == home else set()))
        for name in sorted(names):
            if name.endswith(RUN):
                run = _read(here / name)
                if run is None:
                    notes.append(f"{_shown(here / name, home)}: not a record that this version knows; left alone.")
                else:
                    outputs.append(_Output(here / name, run))
            elif name.endswith(".html") and not name.startswith(".") and made_from(here / name) is not None:
                pages.append(here / name)
    return outputs, pages, left, notes


def _read(path: Path) -> dict[str, Any] | None:
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(run, dict) and run.get("schema") == RUN_SCHEMA and run.get("command") == "score"
    return run if is_ours else None


def _folders(home: Path) -> list[Path]:
    """Folders of lists: those with a record."""
    found = (path.parent.relative_to(home) for path in home.rglob(RECORD))
    seen = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(home / path for path in seen if not path.parts or path.parts[0] not in NOT_OUTPUTS)


def _under_all_names(
    ids: frozenset[str], outputs: Iterable[_Output], made: Mapping[Path, Mapping[str, Any]]
) -> _Wanted:
    plain_of = {one: one for one in ids}
    marked = [(output.record, output.run) for output in outputs] + [(at / RECORD, told) for at, told in made.items()]
    for record, run in marked:
        if mark := run.get("pseudonyms"):
            plain = sorted(ids)
            hashed = pseudonymise(pl.Series(plain, dtype=pl.String()), key_of(mark, what=str(record)))
            plain_of.update(zip(hashed.to_list(), plain, strict=True))
    return _Wanted(frozenset(plain_of), plain_of)


def _lists(outputs: Iterable[_Output]) -> list[Path]:
    told = {str(output.run["list"]) for output in outputs if output.run.get("list")}
    return [Path(path) for path in sorted(told) if Path(path).is_file()]


# One kind after the other


def _clear(path: Path, home: Path, *, dry_run: bool) -> Iterator[str]:
    """Remove what a killed run left half-written: it holds customers, and nobody reads it."""
    match = _LEFT_BY_A_KILL.match(path.name)
    out = match and (match["out"] or match["of"])
    if not dry_run:
        with _writing(path.with_name(out)) if out else _refusals(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    yield f"{_shown(path, home)}: left by a run that was killed; {_done('removed', dry_run)}."


def _forget_output(output: _Output, wanted: _Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
    tables = {output.quarantine: output.column, output.scores: "customer_id"}
    there = {path: column for path, column in tables.items() if path.is_file()}
    found = {path: ids_in_table(path, column, wanted.ids) for path, column in there.items()}
    duplicates = [one for one in output.run.get("duplicates") or () if one in wanted.ids]
    for names in (*found.values(), duplicates):
        wanted.saw(names)
    changed = {path: sum(rows.values()) for path, rows in found.items() if rows}
    if not changed and not duplicates:
        return
    if not dry_run:
        with _writing(output.scores) as delivery:
            counted = {}
            for path in changed:
                staged = delivery.staged(path)
                rows = stage_without(path, there[path], wanted.ids, staged)
                counted[path] = {"rows": rows, "before": _digest(path), "after": _digest(staged)}
            _stage_records(output, counted, changed, wanted.ids, delivery.staged)
            delivery.publish()
    for path, rows in changed.items():
        yield f"{_shown(path, home)}: {_counted(rows, 'row')} {_done('removed', dry_run)}."
    if duplicates:
        what = "id" if len(duplicates) == 1 else "ids"
        yield f"{_shown(output.record, home)}: {len(duplicates):,} {what} {_done('removed', dry_run)}."


def _stage_records(
    output: _Output,
    counted: Mapping[Path, Mapping[str, Any]],
    removed: Mapping[Path, int],
    ids: Collection[str],
    staged: Any,
) -> None:
    """Write the run's record, and the monitor's, so that they belong to the files as they will be."""
    run = json.loads(json.dumps(output.run))
    run["duplicates"] = [one for one in run.get("duplicates") or () if one not in ids]
    for name, path in (("scores", output.scores), ("quarantine", output.quarantine)):
        told, now = (run.get("outputs") or {}).get(name), counted.get(path)
        if told and now and told.get("sha256") == now["before"]:
            told.update(rows=now["rows"], sha256=now["after"])
    run.setdefault("forgotten", []).append(
        {
            "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "rows": {path.name: rows for path, rows in removed.items()},
        }
    )
    _write_json(staged(output.record), run)
    now = counted.get(output.scores)
    if now and output.monitor.is_file():
        try:
            record = json.loads(output.monitor.read_text(encoding="utf-8"))
            told = record["scores"]
            is_theirs = told["sha256"] == now["before"]
        except (ValueError, KeyError, TypeError):
            return
        if is_theirs:
            told["sha256"] = now["after"]
            _write_json(staged(output.monitor), record)


def _forget_in_list(path: Path, wanted: _Wanted, settings: Settings, *, dry_run: bool) -> Iterator[str]:
    home = settings.home
    content, found = list_without(path, wanted.ids, told=settings.columns)
    if not found:
        return
    if not path.resolve().is_relative_to(home.resolve()):
        yield f"{path}: this list names {len(found):,} of these; it lies elsewhere and was not touched."
        return
    wanted.saw(found)
    if not dry_run:
        write_whole(path, content)
    yield f"{_shown(path, home)}: {_counted(sum(found.values()), 'row')} {_done('removed', dry_run)}."


def _forget_in_folder(
    folder: Path, record: Mapping[str, Any], wanted: _Wanted, home: Path, *, dry_run: bool
) -> Iterator[str]:
    for path, found in forget_in_lists(folder, record, wanted.ids, refusals=_refusals, dry_run=dry_run):
        wanted.saw(found)
        yield f"{_shown(path, home)}: {_counted(sum(found.values()), 'row')} {_done('removed', dry_run)}."


def _forget_in_page(page: Path, wanted: _Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
    named = ids_in_page(page, wanted.ids.__contains__)
    if not named:
        return
    wanted.saw(named)
    told = made_from(page)
    places = [page.parent / f"{told}{ending}" for ending in FORMATS] if told else []
    scores = next((path for path in places if _are_scores(path)), None)
    if scores is not None:
        if not dry_run:
            write_report(scores, page, locale=language_of(page))
        yield f"{_shown(page, home)}: {_done('made again', dry_run)} from {scores.name}."
        return
    if not dry_run:
        with _refusals(page):
            page.unlink()
    yield f"{_shown(page, home)}: {_done('removed', dry_run)}, since the scores it was made from are not there."


def _are_scores(path: Path) -> bool:
    try:
        gather(read_scores(path), None)
    except InputError:
        return False
    return True


# Words and files


@contextmanager
def _writing(out: Path) -> Iterator[Any]:
    """Hold a place as scoring does, but speak of it as it is here."""
    with _refusals(out), deliver_to(out, formats=(out.suffix,)) as delivery:
        yield delivery


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, DeliveryError, pl.exceptions.ComputeError) as fault:
        if isinstance(fault, DeliveryError) and "another run" in str(fault):
            raise
        cause = fault if isinstance(fault, OSError) else fault.__cause__
        why = (cause.strerror if isinstance(cause, OSError) else None) or "no right or no space"
        raise DeliveryError(
            f"{path} cannot be written: {why}. It is as it was; what was named before is done. Mend it and run again."
        ) from fault


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _shown(path: Path, home: Path) -> str:
    return str(path.relative_to(home))


def _done(what: str, dry_run: bool) -> str:
    return f"would be {what}" if dry_run else what


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
