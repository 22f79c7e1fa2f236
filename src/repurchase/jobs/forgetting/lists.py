"""Take customers out of a folder of lists; its record tells which files it holds, and is kept true."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from repurchase.jobs.forgetting.files import list_without
from repurchase.jobs.lists.folder import RECORD, digest_of, write_record
from repurchase.registry.disk import write_whole

__all__ = ["Refusals", "forget_in_lists"]

_ID = "customer_id"
_RUNS = tuple("=+-@＝＋－＠")


def _ids_in(name: str, told: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The column of ids; lists of an earlier version tell one for all files but repair.csv."""
    of_all = _ID if name == "repair.csv" else record.get("id_column")
    return str(told.get("id_column") or of_all or _ID)


class Refusals(Protocol):
    """Makes a line of what the system refuses."""

    def __call__(self, path: Path, /) -> AbstractContextManager[None]:
        """Watch over the writing of a file."""


def forget_in_lists(
    folder: Path, record: Mapping[str, Any], wanted: Collection[str], *, refusals: Refusals, dry_run: bool
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Take customers out of every file of a folder of lists.

    Parameters
    ----------
    folder : Path
        Of the lists.
    record : mapping
        Its ``lists.json``.
    wanted : collection of str
        Ids, under plain names and hashes.
    refusals : Refusals
        Makes a line of what the system refuses.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    path : Path
        A file that names some of them.
    found : dict of str to int
        Each id that was there, and its rows.
    """
    # Ids that would run as formulas stand there behind an apostrophe.
    spelled = {**{one: one for one in wanted}, **{f"'{one}": one for one in wanted if one.startswith(_RUNS)}}
    files: dict[str, dict[str, Any]] = {}
    for told in record.get("files", []):
        path = folder / Path(str(told["name"])).name
        files[path.name] = dict(told)
        if not path.is_file():
            continue
        column = _ids_in(path.name, told, record)
        content, found = list_without(path, spelled.keys(), told={_ID: column})
        if not found:
            continue
        if not dry_run:
            with refusals(path):
                write_whole(path, content)
            files[path.name].update(rows=int(told["rows"]) - sum(found.values()), sha256=digest_of(path))
        yield path, {spelled[one]: rows for one, rows in found.items()}
    changed = {name: told for name, told in files.items() if told not in record.get("files", [])}
    if changed:
        at = datetime.now(tz=UTC).isoformat(timespec="seconds")
        forgotten = [*record.get("forgotten", []), {"at": at, "files": sorted(changed)}]
        with refusals(folder / RECORD):
            write_record(folder / RECORD, {**record, "files": list(files.values()), "forgotten": forgotten})
