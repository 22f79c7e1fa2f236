"""Take customers out of everything that is kept in a home folder; order sources are not touched."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.delivery import FORMATS, deliver_to
from repurchase.jobs.forgetting.campaigns import forget_in_campaigns
from repurchase.jobs.forgetting.files import (
    ids_in_page,
    ids_in_table,
    language_of,
    made_from,
    stage_without,
)
from repurchase.jobs.forgetting.lists import (
    Made,
    customers_of,
    folders_of_lists,
    forget_in_folder,
    forget_in_list,
    other_lists,
)
from repurchase.jobs.forgetting.wanted import Wanted, ids_given, under_all_names
from repurchase.jobs.forgetting.words import counted, done, shown
from repurchase.jobs.lists.folder import RECORD
from repurchase.jobs.veil import aside_column
from repurchase.report.page import write_report
from repurchase.report.reading import MONITOR, RUN_SCHEMA, gather, one_run, read_run, read_scores
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


def forget(
    customers: Iterable[str], *, settings: Settings, from_file: Path | None = None, dry_run: bool = False
) -> Iterator[str]:
    """Take customers out of scores, set-aside rows, lists, pages and records.

    Parameters
    ----------
    customers : iterable of str
        Ids, in any spelling that cleaning knows; e-mail addresses too, where lists tell whose they are.
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
    named = ids_given(customers, from_file, settings)
    outputs, pages, left, notes = _search(home)
    made = folders_of_lists(home, skip=NOT_OUTPUTS)
    owners = _owners(named, outputs, made)
    ids = named.union(*owners.values())
    records = {output.record: output.run for output in outputs} | {at / RECORD: told for at, told in made.items()}
    wanted = under_all_names(ids, records)
    wanted.found.update(owners)
    yield from notes
    yield from (f"{one}: the e-mail address of customer {first_few(sorted(whose))}." for one, whose in owners.items())
    for path in left:
        yield from _clear(path, home, dry_run=dry_run)
    for output in outputs:
        yield from _forget_output(output, wanted, home, dry_run=dry_run)
    for page in pages:
        yield from _forget_in_page(page, wanted, home, dry_run=dry_run)
    for folder, record in made.items():
        yield from forget_in_folder(folder, record, wanted, home, refusals=_refusals, dry_run=dry_run)
    reached: list[Path] = []
    for path, found in forget_in_campaigns(home, ids, skip=NOT_OUTPUTS, refusals=_refusals, dry_run=dry_run):
        wanted.saw(found)
        reached.append(path)
        yield f"{shown(path, home)}: {counted(sum(found.values()), 'row')} {done('removed', dry_run)}."
    sent = _lists(outputs)
    for path in sent:  # last: they are not ours, and may be anything by now
        yield from forget_in_list(path, wanted, home, told=settings.columns, dry_run=dry_run)
    known = [*reached, *sent, *(output.scores for output in outputs), *([from_file] if from_file else [])]
    yield from other_lists(home, wanted, made, skip=NOT_OUTPUTS, known=known)
    yield from _end(wanted, ids, outputs, dry_run=dry_run)


def _end(wanted: Wanted, ids: frozenset[str], outputs: Iterable[_Output], *, dry_run: bool) -> Iterator[str]:
    missing = sorted(ids - wanted.found)
    addresses = [one for one in missing if "@" in one]
    if len(addresses) < len(missing):
        yield f"Found nowhere: {first_few(one for one in missing if one not in addresses)}."
    yield from (f"{one} is neither a customer id nor an e-mail address in lists." for one in addresses)
    tables = sorted({str(output.run["outputs"]["scores"]["path"]) for output in outputs if output.is_table})
    yield from (f"{table} was not touched: delete the rows there yourself." for table in tables)
    yield SOURCES_STAY
    if dry_run:
        yield "This was a dry run: nothing was changed."


# Who, and where to look


def _owners(named: Collection[str], outputs: Iterable[_Output], made: Made) -> dict[str, set[str]]:
    """Whose the e-mail addresses are that are no ids themselves, where lists tell."""
    addresses = {one for one in named if "@" in one}
    owners = customers_of(addresses, made)
    ids = {one for one, whose in owners.items() if one in whose}
    for output in outputs if owners else ():
        if output.scores.is_file():
            ids |= ids_in_table(output.scores, "customer_id", addresses).keys()
    return {one: whose for one, whose in sorted(owners.items()) if one not in ids}


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
                    notes.append(f"{shown(here / name, home)}: not a record that this version knows; left alone.")
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
    yield f"{shown(path, home)}: left by a run that was killed; {done('removed', dry_run)}."


def _forget_output(output: _Output, wanted: Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
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
            sizes = {}
            for path in changed:
                staged = delivery.staged(path)
                rows = stage_without(path, there[path], wanted.ids, staged)
                sizes[path] = {"rows": rows, "before": _digest(path), "after": _digest(staged)}
            _stage_records(output, sizes, changed, wanted.ids, delivery.staged)
            delivery.publish()
    for path, rows in changed.items():
        yield f"{shown(path, home)}: {counted(rows, 'row')} {done('removed', dry_run)}."
    if duplicates:
        what = "id" if len(duplicates) == 1 else "ids"
        yield f"{shown(output.record, home)}: {len(duplicates):,} {what} {done('removed', dry_run)}."


def _stage_records(
    output: _Output,
    sizes: Mapping[Path, Mapping[str, Any]],
    removed: Mapping[Path, int],
    ids: Collection[str],
    staged: Any,
) -> None:
    """Write the run's record, and the monitor's, so that they belong to the files as they will be."""
    run = json.loads(json.dumps(output.run))
    run["duplicates"] = [one for one in run.get("duplicates") or () if one not in ids]
    for name, path in (("scores", output.scores), ("quarantine", output.quarantine)):
        told, now = (run.get("outputs") or {}).get(name), sizes.get(path)
        if told and now and told.get("sha256") == now["before"]:
            told.update(rows=now["rows"], sha256=now["after"])
    run.setdefault("forgotten", []).append(
        {
            "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "rows": {path.name: rows for path, rows in removed.items()},
        }
    )
    _write_json(staged(output.record), run)
    now = sizes.get(output.scores)
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


def _forget_in_page(page: Path, wanted: Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
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
        yield f"{shown(page, home)}: {done('made again', dry_run)} from {scores.name}."
        return
    if not dry_run:
        with _refusals(page):
            page.unlink()
    yield f"{shown(page, home)}: {done('removed', dry_run)}, since the scores it was made from are not there."


def _are_scores(path: Path) -> bool:
    try:
        one_run(gather(read_scores(path), read_run(path)[0]))
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
