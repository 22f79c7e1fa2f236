"""Which files each command reads, and which it writes or removes: none may be both."""

from collections.abc import Callable
from pathlib import Path

from repurchase.orders.addresses import DatabaseSource, is_database, orders_source
from repurchase.report.reading import MONITOR
from repurchase.storage.outputs import OutputKind, csv_heading, json_record, read_json, table

__all__ = [
    "MONITOR_RECORD",
    "QUARANTINE",
    "RUN",
    "economics_outputs",
    "files_read",
    "score_outputs",
    "scores_read",
]

RUN, QUARANTINE = ".run.json", ".quarantine.parquet"
MONITOR_RECORD = json_record("a record of `repurchase monitor`", "monitor")
_RUN_RECORD = json_record("the record of a scoring run", "score")
_ECONOMICS = json_record("what `repurchase economics` writes", "economics")
_SCORES_COLUMNS = ("customer_id", "as_of", "model_version", "status")
_PICTURES = {".svg": b"<svg", ".png": b"\x89PNG"}


def files_read(*sources: str | Path | DatabaseSource | None) -> list[Path]:
    """Name the files of this machine among what is read.

    Parameters
    ----------
    *sources : str, Path, DatabaseSource or None
        Files, folders, patterns, and databases; a database on a server is no file.

    Returns
    -------
    list of Path
        Folders and patterns stand for the files in them.
    """
    paths: list[Path] = []
    for source in sources:
        found = orders_source(source) if isinstance(source, str) and is_database(source) else source
        if isinstance(found, DatabaseSource):
            found = found.database if isinstance(found.database, Path) else None
        if found is not None:
            paths.append(Path(found))
    return paths


def scores_read(scores: Path | None) -> list[Path]:
    """Name the files that are read with scores.

    Parameters
    ----------
    scores : Path or None
        Scores, if any.

    Returns
    -------
    list of Path
        The scores and the records beside them.
    """
    return [scores, *(scores.with_name(scores.stem + end) for end in (RUN, MONITOR))] if scores else []


def score_outputs(out: Path) -> dict[Path, OutputKind]:
    """Name what a scoring run writes or removes.

    Parameters
    ----------
    out : Path
        The scores, or what stands for their table and is never made.

    Returns
    -------
    dict of Path to OutputKind
        Scores, record and set-aside rows.
    """
    record = out.with_name(out.stem + RUN)
    return {
        out: table("scores", "scores", columns=_SCORES_COLUMNS, named_by=_named_in(record, "scores")),
        record: _RUN_RECORD,
        out.with_name(out.stem + QUARANTINE): table(
            "set-aside rows", "quarantine", columns=["reason"], named_by=_named_in(record, "quarantine")
        ),
    }


def _named_in(record: Path, output: str) -> Callable[[Path], bool]:
    def is_named(path: Path) -> bool:
        run = read_json(record)
        outputs = run.get("outputs") if run.get("command") == "score" else None
        named = outputs.get(output) if isinstance(outputs, dict) else None
        return isinstance(named, dict) and named.get("path") == path.name

    return is_named


def economics_outputs(out: Path) -> dict[Path, OutputKind]:
    """Name what `economics` writes.

    Parameters
    ----------
    out : Path
        The record.

    Returns
    -------
    dict of Path to OutputKind
        The record, its table and its pictures.
    """

    def is_table(path: Path) -> bool:
        return csv_heading(path)[:3] == ["what", "assumption", "figure"] and _ECONOMICS.recognises(out)

    def is_picture(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(8).startswith(_PICTURES[path.suffix]) and _ECONOMICS.recognises(out)

    name = _ECONOMICS.name
    return {
        out: _ECONOMICS,
        out.with_suffix(".csv"): OutputKind(name, is_table),
        **{out.with_suffix(ending): OutputKind(name, is_picture) for ending in _PICTURES},
    }
