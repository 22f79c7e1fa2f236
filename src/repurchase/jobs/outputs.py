"""Which files each command reads and writes, and how folders of lists and scores are recognised and read."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repurchase import __version__
from repurchase.errors import DeliveryError, InputError
from repurchase.i18n.messages import Message, render
from repurchase.marketing.segments import require_single_run
from repurchase.sources.locations import DatabaseSource, is_database, parse_orders_source
from repurchase.storage.atomic_files import write_file
from repurchase.storage.delivery import Delivery, OutputKind, json_output, read_csv_header, table_output
from repurchase.storage.json_files import read_json_object
from repurchase.storage.run_records import MONITOR_SUFFIX, ScoredRun, read_run_record, read_scores, validate_scored_run
from repurchase.validation import ANY, COUNT, TABLE, TEXT, Check, Nullable, first_fault, integer, one_of


@dataclass(frozen=True)
class JobResult:
    """What a job wrote, and what it has to say; a dry run writes nothing."""

    path: Path | None
    record: dict[str, Any]
    summary: tuple[str, ...] = ()


def record_header(command: str, schema: int) -> dict[str, Any]:
    """Return the fields with which every record begins."""
    return {
        "schema": schema,
        "command": command,
        "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "repurchase_version": __version__,
    }


def stage_record(delivery: Delivery, record: Mapping[str, Any], path: Path | None = None) -> None:
    """Make a record ready, by default as the main file."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    delivery.staged(path or delivery.out).write_text(text + "\n", encoding="utf-8")


LISTS_RECORD, LISTS_SCHEMA = "lists.json", 1

_FILE_NAME = Check(lambda name: isinstance(name, str) and Path(name).name == name, "the name of a file")
_LISTS_RECORD = {
    "schema": integer(LISTS_SCHEMA, LISTS_SCHEMA),
    "command": one_of("lists"),
    "files": [{"name": _FILE_NAME, "rows": COUNT, "id_column?": TEXT}],  # earlier versions have one column for all
    "pseudonyms?": Nullable(TABLE),
    "forgotten?": [ANY],
}


def read_lists_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a folder of lists; None if there is none that this version knows."""
    record = read_json_object(folder / LISTS_RECORD)
    return record if first_fault(record, _LISTS_RECORD) is None else None


def id_column_of_list(path: Path) -> str | None:
    """Find the column of ids of a list of ours, in whatever language its headings are."""
    files: list[dict[str, Any]] = (read_lists_record(path.parent) or {}).get("files", [])
    return next((file.get("id_column") for file in files if file.get("name") == path.name), None)


def write_lists_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record of lists."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    write_file(path, (text + "\n").encode())


def _is_lists_folder(folder: Path) -> bool:
    """Whether a folder is empty, or holds lists of ours and nothing else; the refusal names what else."""
    if not folder.is_dir():
        raise InputError(f"--out {folder}: that is a file. Name a folder for the lists.")
    record = read_lists_record(folder) or {}
    files = {file["name"]: file.get("id_column") or record.get("id_column") for file in record.get("files", [])}
    ours = {LISTS_RECORD} if record else set()
    ours |= {name for name, column in files.items() if _has_column(folder / name, column)}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        raise InputError(
            f"--out {folder}: the folder holds files that are no lists of ours, such as {others[0]}. Choose another."
        )
    return True


def _has_column(path: Path, column: str | None) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", errors="replace")
    return column is None or column in re.split("[,;\t]", line.strip().replace('"', ""))


LISTS_OUTPUT = OutputKind("a folder of lists", _is_lists_folder)


RUN_SUFFIX, QUARANTINE_SUFFIX, TABLE_RECORD_SUFFIX = ".run.json", ".quarantine.parquet", ".postgresql"
MONITOR_OUTPUT = json_output("a record of `repurchase monitor`", "monitor")
_RUN_OUTPUT = json_output("the record of a scoring run", "score")
_ECONOMICS_OUTPUT = json_output("what `repurchase economics` writes", "economics")
_SCORES_COLUMNS = ("customer_id", "as_of", "model_version", "status")
_PICTURES = {".svg": b"<svg", ".png": b"\x89PNG"}


def local_inputs(*sources: str | Path | DatabaseSource | None) -> list[Path]:
    """Name the files of this machine among what is read."""
    paths: list[Path] = []
    for source in sources:
        found = parse_orders_source(source) if isinstance(source, str) and is_database(source) else source
        if isinstance(found, DatabaseSource):
            found = found.database if isinstance(found.database, Path) else None
        if found is not None:
            paths.append(Path(found))
    return paths


def scores_inputs(scores: Path | None) -> list[Path]:
    """Name the files that are read with scores."""
    return [scores, *(scores.with_name(scores.stem + end) for end in (RUN_SUFFIX, MONITOR_SUFFIX))] if scores else []


def score_outputs(out: Path) -> dict[Path, OutputKind]:
    """Name what a scoring run writes or removes."""
    record = out.with_name(out.stem + RUN_SUFFIX)
    return {
        out: table_output("scores", "scores", columns=_SCORES_COLUMNS, named_by=_named_in(record, "scores")),
        record: _RUN_OUTPUT,
        out.with_name(out.stem + QUARANTINE_SUFFIX): table_output(
            "set-aside rows", "quarantine", columns=["reason"], named_by=_named_in(record, "quarantine")
        ),
    }


def _named_in(record: Path, output: str) -> Callable[[Path], bool]:
    def is_named(path: Path) -> bool:
        run = read_json_object(record)
        outputs = run.get("outputs") if run.get("command") == "score" else None
        named = outputs.get(output) if isinstance(outputs, dict) else None
        return isinstance(named, dict) and named.get("path") == path.name

    return is_named


def economics_outputs(out: Path) -> dict[Path, OutputKind]:
    """Name what `economics` writes."""

    def is_table(path: Path) -> bool:
        return read_csv_header(path)[:3] == ["what", "assumption", "figure"] and _ECONOMICS_OUTPUT.recognises(out)

    def is_picture(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(8).startswith(_PICTURES[path.suffix]) and _ECONOMICS_OUTPUT.recognises(out)

    name = _ECONOMICS_OUTPUT.name
    return {
        out: _ECONOMICS_OUTPUT,
        out.with_suffix(".csv"): OutputKind(name, is_table),
        **{out.with_suffix(ending): OutputKind(name, is_picture) for ending in _PICTURES},
    }


def read_scored_run(path: Path) -> tuple[ScoredRun, Message | None]:
    """Read what one run of `repurchase score` wrote, and why its record cannot be used, if so."""
    scores = read_scores(path)
    run, why_not = read_run_record(path)
    scored = validate_scored_run(scores, run, name=str(path))
    return require_single_run(scored, name=str(path)), why_not


def load_scores(path: Path) -> ScoredRun:
    """Read scores to act on: there must be customers, and a record beside them must fit them."""
    scored, why_not = read_scored_run(path)
    if why_not and path.with_suffix(RUN_SUFFIX).is_file():
        raise InputError(f"{path}: scores of another version: {render(why_not)} Score again with this version.")
    if not scored.scores.height:
        raise InputError(f"{path}: no customers. Send what `repurchase score` wrote.")
    return scored


def require_access(folder: Path) -> None:
    """Ask the system for the right to write, without trying it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise DeliveryError(
            f"{folder} cannot be written: no right to write in {nearest}. Correct that or choose another folder."
        )
