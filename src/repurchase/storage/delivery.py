"""Deliver all outputs of a job or none, and replace only files of the same kind."""

import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

import polars as pl

from repurchase.errors import DeliveryError, InputError, RepurchaseError
from repurchase.storage.atomic_files import (
    deferred_signals,
    exclusive_lock,
    partial_prefix,
    publish_files,
    publish_folder,
    real_path,
    recover_interrupted_publication,
    remove_path,
)
from repurchase.storage.json_files import read_json

REGISTRY_FOLDERS = ("models", "mlruns")
"""Folders of a home that hold models and runs, and no other output."""

_PARQUET_KEY = "repurchase"


_HEAD_BYTES = 4096
_PAGE_MARKERS = ('<meta name="generator" content="repurchase ', "<title>Who will buy again")


@dataclass(frozen=True)
class OutputKind:
    """A kind of output."""

    name: str
    recognises: Callable[[Path], bool]


# What an output may not touch


def require_replaceable(outputs: Mapping[Path, OutputKind]) -> None:
    """Refuse to replace what this program did not write as that kind of output."""
    for path, kind in outputs.items():
        require_outside_registry(path)
        if os.path.lexists(path) and not _is_recognised(path, kind):
            raise InputError(
                f"{path}: what lies there was not written as {kind.name} by this program, and is not replaced. Move "
                "it away or choose another --out."
            )


def _is_recognised(path: Path, kind: OutputKind) -> bool:
    if path.is_symlink() and not path.exists():
        return True  # a link to a place where nothing is yet
    try:
        return kind.recognises(path)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, zlib.error, pl.exceptions.PolarsError):
        return not os.path.lexists(path)  # removed in the meantime


def require_outside_registry(path: Path, *, home: Path | None = None) -> None:
    """Refuse to write among models and runs."""
    own = {(home / name).resolve() for name in REGISTRY_FOLDERS} if home else set()
    place = Path(os.path.realpath(path))
    for folder in (place, *place.parents):
        if folder in own or _is_registry_folder(folder):
            raise InputError(f"--out {path}: {folder} holds models and their runs, and no other files. Choose another.")


def _is_registry_folder(folder: Path) -> bool:
    if (folder / "manifest.json").is_file() and (folder / "card.md").is_file():
        return True
    if folder.name == "models":
        return (folder / "aliases.json").is_file() or any(folder.glob("*/manifest.json"))
    return folder.name == "mlruns" and any((folder / name).exists() for name in ("mlflow.db", "artifacts"))


def require_distinct_paths(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse outputs that are inputs, under whatever name."""
    places = [(path, Path(os.path.realpath(path))) for path in outputs]
    known = {identity: path for path, _ in places if (identity := _identity(path)) is not None}
    for read in (file for path in inputs for file in _files(path)):
        real = Path(os.path.realpath(read))
        clash = known.get(_identity(read) or (-1, -1))
        around = clash or next((path for path, place in places if real.is_relative_to(place)), None)
        if around is not None:
            what = f"{around} is" if clash else f"{read} in {around} is"
            raise InputError(
                f"--out: {what} one of the inputs and would be overwritten. Choose another name or folder."
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path, followlinks=True):
            yield from (Path(folder) / name for name in names)
    elif path.exists():
        yield path
    else:
        with suppress(ValueError, NotImplementedError, OSError):
            yield from Path(path.anchor).glob(str(path.relative_to(path.anchor)))


# Kinds


def json_output(name: str, command: str) -> OutputKind:
    """Describe a JSON record."""

    def recognises(path: Path) -> bool:
        record = read_json(path)
        return isinstance(record, dict) and record.get("command") == command and isinstance(record.get("schema"), int)

    return OutputKind(name, recognises)


def parquet_metadata(kind: str) -> dict[str, str]:
    """Return the metadata by which a Parquet file is recognised."""
    return {_PARQUET_KEY: kind}


def table_output(name: str, kind: str, *, columns: Iterable[str], named_by: Callable[[Path], bool]) -> OutputKind:
    """Describe a table, in Parquet or CSV."""
    needed = {*columns}

    def recognises(path: Path) -> bool:
        if path.suffix.lower() == ".csv":
            return needed <= {*read_csv_header(path)} and named_by(path)
        if pl.read_parquet_metadata(path).get(_PARQUET_KEY) == kind:
            return True
        return needed <= {*pl.read_parquet_schema(path)} and named_by(path)

    return OutputKind(name, recognises)


def read_csv_header(path: Path) -> list[str]:
    """Read the names of a CSV file's columns."""
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", errors="replace")
    return [cell.strip().strip('"') for cell in line.split(",")]


def is_report_page(path: Path) -> bool:
    """Tell whether this program wrote a file as a report."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    return any(sign in head for sign in _PAGE_MARKERS)


PAGE_OUTPUT = OutputKind("a report", is_report_page)


def _is_exported(path: Path) -> bool:
    with path.open("rb") as file:
        head = zlib.decompressobj().decompress(file.read(_HEAD_BYTES), _HEAD_BYTES)
    return b"repurchase.models.model" in head and b"RepurchaseModel" in head


EXPORTED_MODEL_OUTPUT = OutputKind("an exported model", _is_exported)


FORMATS = (".parquet", ".csv")
_PARTITIONS = "parts"
_SYSTEM_MESSAGE = re.compile(r"([^:]+?)\s*\(os error \d+\)")
_ABANDONED_AFTER_SECONDS = 7 * 24 * 3600.0
"""How long the partitions of an interrupted run wait to be resumed, where each night's output has its own name."""


@dataclass(frozen=True)
class Delivery:
    """Files that are prepared in a staging folder, and the names they get in the end."""

    out: Path
    staging: Path
    work: Path
    linked_staging: dict[Path, Path] = field(default_factory=dict)

    @property
    def finished_partitions(self) -> Path:
        """The folder of partitions from which the next run resumes."""
        return self.work / _PARTITIONS

    def sibling(self, suffix: str) -> Path:
        """Name a file that belongs to the main one."""
        return self.out.with_name(self.out.stem + suffix)

    def staged(self, target: Path) -> Path:
        """Return the path at which a file is prepared."""
        folder = real_path(target).parent
        if not target.is_symlink() or folder.resolve() == self.out.parent.resolve():
            return self.staging / target.name
        if folder not in self.linked_staging:
            recover_interrupted_publication(real_path(target))
            made = tempfile.mkdtemp(prefix=partial_prefix(real_path(target)), dir=folder)
            self.linked_staging[folder] = Path(made)
        return self.linked_staging[folder] / target.name

    def publish(self, *, removed: Iterable[Path] = ()) -> None:
        """Give every staged file its name, the main one last: once it is visible, all are."""
        folders = (self.staging, *self.linked_staging.values())
        made = [path for folder in folders for path in folder.iterdir() if path.is_file()]
        ordered = sorted(made, key=lambda path: (path.name == self.out.name, path.name))
        publish_files(self.staging, {path: self.out.parent / path.name for path in ordered}, removed=removed)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def staged_delivery(
    out: Path,
    *,
    formats: tuple[str, ...] = FORMATS,
    kinds: dict[Path, OutputKind] | None = None,
) -> Iterator[Delivery]:
    """Prepare the files of one job until they are published."""
    require_file_name(out, formats=formats)
    with _create_folders(out.parent), _refusals_as_delivery_errors(out), ExitStack() as held:
        with deferred_signals():
            held.enter_context(exclusive_lock(out))
            clear_leftovers(out)
            _remove_abandoned(out.parent)
            require_replaceable(kinds or {})
            staging = Path(tempfile.mkdtemp(prefix=partial_prefix(out), dir=out.parent))
            delivery = Delivery(out, staging, work_folder(out))
            held.push(partial(_close_delivery, delivery))
        yield delivery


@contextmanager
def staged_folder_delivery(out: Path, *, kind: OutputKind) -> Iterator[Path]:
    """Prepare a folder and put it in its place at the end, in one step."""
    place = real_path(out)
    require_replaceable({out: kind})
    with _create_folders(place.parent), _refusals_as_delivery_errors(out), exclusive_lock(place):
        recover_interrupted_publication(place)
        require_replaceable({out: kind})
        staging = Path(tempfile.mkdtemp(prefix=partial_prefix(place), dir=place.parent))
        try:
            yield staging
            publish_folder(staging, place)
        finally:
            with deferred_signals():
                shutil.rmtree(staging, ignore_errors=True)


def require_file_name(out: Path, *, formats: tuple[str, ...] = FORMATS) -> None:
    """Refuse a name with another extension, or of a folder."""
    if out.suffix not in formats:
        raise InputError(f"--out {out}: the extension must be {' or '.join(formats)}. Got '{out.suffix}' instead.")
    if out.is_dir():
        raise DeliveryError(f"--out {out}: that is a folder; name a file in it, such as {out / 'scores.parquet'}.")


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written or made, before long work is done for it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".repurchase-", dir=nearest):
            return
    except OSError as fault:
        raise DeliveryError(
            f"{folder} cannot be written: {fault.strerror or fault}. Correct that or choose another folder."
        ) from fault


def work_folder(out: Path) -> Path:
    """Name the folder for data that does not fit into memory."""
    return out.with_name(f".{out.name}.work")


def clear_leftovers(out: Path, *, keep_partitions: bool = True) -> None:
    """Remove what a killed run left; finished partitions stay for the next run."""
    recover_interrupted_publication(out)
    work = work_folder(out)
    if keep_partitions:
        _clear_work(work)
    else:
        _discard(work)


def _clear_work(work: Path) -> None:
    """Keep only finished partitions; links in their place are removed."""
    finished = work / _PARTITIONS
    if work.is_symlink() or finished.is_symlink() or not any(finished.glob("*.parquet")):
        _discard(work)
        return
    for left in work.iterdir():
        if left != finished:
            _discard(left)


def _discard(path: Path) -> None:
    """Remove, ignoring errors; the next write there reports what could not be removed."""
    with suppress(OSError):
        remove_path(path)
    shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove partitions of other outputs' abandoned runs: they hold customers, and fill the disk."""
    for work in folder.glob(".*.work"):
        out = work.with_name(work.name.removeprefix(".").removesuffix(".work"))
        is_ours = out.suffix in {*FORMATS, ".postgresql"} and (work / _PARTITIONS).is_dir() and not work.is_symlink()
        if is_ours and time.time() - _last_changed(work) > _ABANDONED_AFTER_SECONDS:
            with suppress(DeliveryError, OSError), exclusive_lock(out):
                shutil.rmtree(work, ignore_errors=True)


def _last_changed(work: Path) -> float:
    changed = [time.time()]
    with suppress(OSError):
        changed = [path.stat().st_mtime for path in (work, *work.rglob("*"))]
    return max(changed)


def _close_delivery(
    delivery: Delivery, _kind: type[BaseException] | None, fault: BaseException | None, _trace: TracebackType | None
) -> None:
    is_over = fault is None or _refusal_reason(fault) is not None  # a full disk gets all its space back
    with deferred_signals():
        is_published = not delivery.staging.exists()
        for folder in (delivery.staging, *delivery.linked_staging.values()):
            shutil.rmtree(folder, ignore_errors=True)
        if is_over or is_published:
            _discard(delivery.work)
        else:
            _clear_work(delivery.work)


@contextmanager
def _refusals_as_delivery_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        why = _refusal_reason(fault)
        if why is None:
            raise
        is_folder_missing = isinstance(fault, FileNotFoundError) and not out.parent.exists()
        where = f", the folder {out.parent} is gone" if is_folder_missing else ""
        raise DeliveryError(
            f"{out} cannot be written: {why}{where}. Nothing was changed. Correct that or choose another --out."
        ) from fault


def _refusal_reason(fault: BaseException) -> str | None:
    """Return the operating system's reason, also from within Polars' own errors; None for other faults."""
    if isinstance(fault, RepurchaseError):
        return None
    found = _SYSTEM_MESSAGE.search(str(fault)) if isinstance(fault, Exception) else None
    message = found[1].strip() if found else None
    return fault.strerror or message or str(fault) if isinstance(fault, OSError) else message


@contextmanager
def _create_folders(folder: Path) -> Iterator[None]:
    """Make missing folders, and remove them again if they stay empty."""
    made: list[Path] = []
    try:
        with _refusals_as_delivery_errors(folder), deferred_signals():
            for path in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
                path.mkdir()
                made.append(path)
        yield
    finally:
        with deferred_signals():
            for path in reversed(made):
                with suppress(OSError):
                    path.rmdir()
