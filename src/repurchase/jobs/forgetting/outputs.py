"""Take customers out of what scoring runs wrote: scores, set-aside rows, and the records that name both."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repurchase.jobs.campaigns.files import MEASURED
from repurchase.jobs.forgetting.files import ids_in_table, stage_without
from repurchase.jobs.forgetting.places import Places
from repurchase.jobs.forgetting.wanted import Wanted
from repurchase.jobs.forgetting.words import counted, done, refusals, shown
from repurchase.jobs.outputs import QUARANTINE, RUN
from repurchase.jobs.veil import aside_column
from repurchase.report.reading import MONITOR, RUN_SCHEMA
from repurchase.report.recorded import misshapen
from repurchase.storage.delivery import deliver_to
from repurchase.storage.digests import has_own_digest, sha256_of, with_digest
from repurchase.storage.outputs import read_json

__all__ = ["Output", "forget_in_output", "order_files", "outputs_of"]

TABLE = ".postgresql"


@dataclass(frozen=True)
class Output:
    """What one scoring run left: its record, and what the record names.

    Parameters
    ----------
    record : Path
        ``<stem>.run.json``.
    run : mapping
        What stands in it.
    """

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
        name = f"{self._stem}{TABLE}" if self.table else Path(str(self._file("scores").get("path"))).name or "scores"
        return self.record.with_name(name)

    @property
    def quarantine(self) -> Path:
        """The rows that were set aside."""
        return self.record.with_name(self._stem + QUARANTINE)

    @property
    def monitor(self) -> Path:
        """What `repurchase monitor` wrote."""
        return self.record.with_name(self._stem + MONITOR)

    @property
    def column(self) -> str:
        """The column of ids among the rows that were set aside."""
        return aside_column((self.run.get("orders") or {}).get("columns") or {})

    @property
    def _stem(self) -> str:
        return self.record.name.removesuffix(RUN)

    def _file(self, name: str) -> Mapping[str, Any]:
        found = (self.run.get("outputs") or {}).get(name)
        return found if isinstance(found, Mapping) else {}


def outputs_of(places: Places) -> tuple[list[Output], list[str]]:
    """Find what scoring runs left.

    Parameters
    ----------
    places : Places
        Of the home.

    Returns
    -------
    outputs : list of Output
        In order.
    unknown : list of str
        Lines about records that this version does not know.
    """
    outputs, unknown = [], []
    for path in places.named(RUN):
        run = read_json(path)
        is_ours = run.get("schema") == RUN_SCHEMA and run.get("command") == "score"
        if is_ours and misshapen(run) is None:
            outputs.append(Output(path, run))
        else:
            unknown.append(f"{shown(path, places.home)}: not a record that this version knows; left alone.")
    return outputs, unknown


def order_files(places: Places) -> set[str]:
    """Name the order files that records tell of.

    Parameters
    ----------
    places : Places
        Of the home.

    Returns
    -------
    set of str
        Digests and whole paths.
    """
    found: set[str] = set()
    for record in places.named(RUN, MONITOR, MEASURED):
        orders = read_json(record).get("orders")
        files = orders.get("files") if isinstance(orders, dict) else None
        for file in files if isinstance(files, list) else ():
            if isinstance(file, dict):
                found |= {str(file.get("sha256")), os.path.realpath(str(file.get("path")))}
    return found


def forget_in_output(output: Output, wanted: Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
    """Take customers out of scores and set-aside rows; the records still fit.

    Parameters
    ----------
    output : Output
        From `outputs_of`.
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
    tables = {output.quarantine: output.column, output.scores: "customer_id"}
    there = {path: column for path, column in tables.items() if path.is_file()}
    found = {path: ids_in_table(path, column, wanted.ids) for path, column in there.items()}
    duplicates = [one for one in output.run.get("duplicates") or () if one in wanted.ids]
    for names in (*found.values(), duplicates):
        wanted.saw(names)
    changed = {path: sum(rows.values()) for path, rows in found.items() if rows}
    if not output.table and not os.path.lexists(output.scores):
        yield wanted.may_remain(
            f"{shown(output.record, home)}: its scores, {output.scores.name}, are not there. If they were moved, take "
            "these customers out there; otherwise remove the record."
        )
    if not changed and not duplicates:
        return
    links = {path: path.stat().st_nlink - 1 for path in changed}
    if not dry_run:
        scores = output.scores
        with refusals(scores), deliver_to(scores, formats=(scores.suffix,)) as delivery:
            sizes = {}
            for path in changed:
                staged = delivery.staged(path)
                rows = stage_without(path, there[path], wanted.ids, staged)
                sizes[path] = {"rows": rows, "before": sha256_of(path), "after": sha256_of(staged)}
            _stage_records(output, sizes, changed, wanted.ids, delivery.staged)
            delivery.publish()
    for path, rows in changed.items():
        yield f"{shown(path, home)}: {counted(rows, 'row')} {done('removed', dry_run)}."
        if links[path]:
            yield wanted.may_remain(
                f"{shown(path, home)}: the file has {counted(links[path], 'other name')} (hard links), which still "
                "name them."
            )
    if duplicates:
        what = "id" if len(duplicates) == 1 else "ids"
        yield f"{shown(output.record, home)}: {len(duplicates):,} {what} {done('removed', dry_run)}."


def _stage_records(
    output: Output,
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
    now, record = sizes.get(output.scores), read_json(output.monitor)
    scores = record.get("scores")
    if now and isinstance(scores, dict) and scores.get("sha256") == now["before"]:
        changed = {**record, "scores": {**scores, "sha256": now["after"]}}
        _write_json(staged(output.monitor), changed, before=record)


def _write_json(path: Path, value: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    """Write a record; its digest fits if it fitted before, so that one that was changed by hand stays so."""
    value = with_digest(value) if has_own_digest(before) else value
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
