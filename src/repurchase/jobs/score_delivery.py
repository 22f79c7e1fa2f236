"""Where scores go: partitions on disk that a later run resumes, and a PostgreSQL table."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.evaluation.drift import InputSummary
from repurchase.features.ledger import Ledger
from repurchase.jobs.order_intake import LedgerPartitions
from repurchase.jobs.outputs import TABLE_RECORD_SUFFIX
from repurchase.marketing.purchase_counts import PurchaseCounts
from repurchase.schemas import Column, horizon_columns, scores_table
from repurchase.sources.databases import ConnectionMonitor, execute_statement, with_server
from repurchase.sources.locations import Server, is_database, parse_server, parse_table_name, quote_identifier
from repurchase.storage.atomic_files import remove_path, sync_folder, sync_to_disk
from repurchase.storage.json_files import read_json_object, sha256_of

if TYPE_CHECKING:
    from repurchase.sources.databases import Connection


@dataclass(frozen=True)
class ScoresTable:
    """A table to write scores to."""

    server: Server
    name: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The address without password."""
        return f"{self.server.shown}/{'.'.join(self.name)}"

    def record(self, home: Path) -> Path:
        """Name what stands for the table among files."""
        stem = re.sub(r"[^\w.-]", "_", ".".join((self.server.database, *self.name)).strip("."))
        return home / "outputs" / f"{stem}{TABLE_RECORD_SUFFIX}"


def find_scores_table(out: str) -> ScoresTable | None:
    """Say which table is meant."""
    if not is_database(out):
        return None
    if not out.lower().startswith(("postgresql", "postgres")):
        raise InputError(
            "--out: scores go to a .parquet or .csv file, or to postgresql://host/database/schema.table; not to other "
            "databases."
        )
    server, rest = parse_server(out)
    if len(rest) != 1 or not server.database:
        found = "no table is named" if not rest else "more than a database and a table follow the host"
        raise InputError(f"--out {server.shown}: {found}. Expected postgresql://host/database/schema.table.")
    return ScoresTable(server, parse_table_name(rest[0]))


_Predict = Callable[[Ledger], pl.DataFrame]
_Progress = Callable[[int, int], None]
_SORT_KEY = "key.json"
_ID_TYPE = "customer_id"


@dataclass(frozen=True)
class PartitionedScores:
    """Scores, in the order of their rows: one frame, or one file per partition."""

    kept: tuple[pl.DataFrame | Path, ...]
    reused: int = 0

    @property
    def schema(self) -> pl.Schema:
        """The columns and their types."""
        first = self.kept[0]
        return first.schema if isinstance(first, pl.DataFrame) else _scan_partition(first).collect_schema()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Give the scores part by part."""
        for part in self.kept:
            yield part if isinstance(part, pl.DataFrame) else _scan_partition(part).collect()

    def lazy(self) -> pl.LazyFrame:
        """Give the scores as one table that need not be in memory."""
        parts = [_scan_partition(part) for part in self.kept]
        return pl.concat(parts)

    def count(self, **values: str) -> int:
        """Count rows."""
        rows = self.lazy().filter(*(pl.col(name) == value for name, value in values.items()))
        return int(rows.select(pl.len()).collect(engine="streaming").item())

    def require_unique(self) -> None:
        """Require that every customer has one row."""
        figures = [_id_range(part) for part in self.kept]
        rows, distinct = sum(one.rows for one in figures), sum(one.distinct for one in figures)
        ranges = sorted((one.first, one.last) for one in figures if one.rows and one.distinct)
        if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):  # parts that overlap are counted as one
            distinct = _id_range(self.lazy()).distinct
        if distinct != rows:
            raise DeliveryError(
                f"{rows - distinct:,} of {rows:,} rows of the scores repeat a customer or name none. Nothing was "
                "written. Remove the hidden folder .work beside the output and run again; if that does not help, "
                "report it."
            )


class _IdRange(NamedTuple):
    rows: int
    distinct: int
    first: str
    last: str


def _id_range(part: pl.DataFrame | pl.LazyFrame | Path) -> _IdRange:
    ids = pl.col(_ID_TYPE)
    lazy = part if isinstance(part, pl.LazyFrame) else _scan_partition(part)
    figures = lazy.select(pl.len(), n=ids.drop_nulls().n_unique(), first=ids.min(), last=ids.max())
    rows, distinct, first, last = figures.collect(engine="streaming").row(0)
    return _IdRange(int(rows), int(distinct), str(first), str(last))


def _scan_partition(part: pl.DataFrame | Path) -> pl.LazyFrame:
    if isinstance(part, pl.DataFrame):
        return part.lazy()
    return pl.scan_parquet(part, glob=False, hive_partitioning=False)  # the folder's name may hold any signs


class _ScorePartitions:
    """Finished parts of a run, each with its digest."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        manifest = read_json_object(folder / _SORT_KEY)
        digests = manifest.get("parts")
        self.is_same = manifest.get("key") == key and isinstance(digests, dict) and not folder.is_symlink()
        self._digests: dict[str, Any] = dict(digests) if self.is_same and digests else {}

    def restart(self) -> None:
        """Remove what other runs left, and begin a manifest."""
        remove_path(self._folder)
        self._folder.parent.mkdir(exist_ok=True)
        self._folder.mkdir()
        sync_folder(self._folder.parent)
        self._write_manifest()

    def clear_partial(self) -> None:
        """Remove what is half-written."""
        for left in self._folder.glob("*.partial"):
            remove_path(left)

    def finished(self, number: int) -> Path | None:
        """Find a part."""
        path = self._path(number)
        try:
            is_whole = not path.is_symlink() and sha256_of(path) == self._digests.get(path.name)
        except OSError:
            return None
        return path if is_whole else None

    def write(self, number: int, scores: pl.DataFrame) -> Path:
        """Keep a part."""
        path = self._path(number)
        partial = path.with_suffix(".partial")
        scores.write_parquet(partial)
        sync_to_disk(partial)
        digest = sha256_of(partial)
        if path.is_dir():
            remove_path(path)
        partial.replace(path)
        self._digests[path.name] = digest
        self._write_manifest()
        return path

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.parquet"

    def _write_manifest(self) -> None:
        partial = self._folder / f"{_SORT_KEY}.partial"
        partial.write_text(json.dumps({"key": self._key, "parts": self._digests}), encoding="utf-8")
        sync_to_disk(partial)
        partial.replace(self._folder / _SORT_KEY)
        sync_folder(self._folder)  # the names of the parts before it, too


def open_partition_store(folder: Path, about: Mapping[str, Any]) -> _ScorePartitions:
    """Find the parts that an earlier run finished, if it was about the very same; else begin anew."""
    parts = _ScorePartitions(folder, sha256_of(json.dumps(about, sort_keys=True, default=str).encode()))
    if not parts.is_same:
        parts.restart()
    parts.clear_partial()
    return parts


def score_partitions(
    ledgers: LedgerPartitions, predict: _Predict, parts: _ScorePartitions | None, *, on_progress: _Progress
) -> PartitionedScores:
    """Score every customer, one partition after the other."""
    if parts is None:
        return PartitionedScores(tuple(predict(ledger) for ledger in ledgers))
    kept: list[Path] = []
    reused = 0
    for number in range(len(ledgers)):
        finished = parts.finished(number)
        reused += finished is not None
        kept.append(finished or parts.write(number, predict(ledgers[number])))
        on_progress(number + 1, len(ledgers))
    return PartitionedScores(tuple(kept), reused)


@dataclass(frozen=True)
class ClusterScores:
    """Scores that a cluster made, with what was counted of all customers."""

    scores: PartitionedScores
    counts: PurchaseCounts
    input_summary: InputSummary | None


_SLICE_ROWS = 50_000
_LONGEST_NAME = 63
_STAGING = "repurchase_staging"
_KEY_COLUMNS = ("customer_id", "as_of", "model_version")
_HORIZON = re.compile(rf"^(?:{'|'.join(column.name.removesuffix('_1d') for column in horizon_columns(1))})_\d+d$")
_TABLE_COMMENT = "Scores of repurchase: one row per requested customer, last day observed and model version."
_TYPES = {
    pl.Boolean: "boolean",
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.UInt8: "smallint",
    pl.Int32: "integer",
    pl.UInt16: "integer",
    pl.Int64: "bigint",
    pl.UInt32: "bigint",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.Date: "date",
}


@dataclass(frozen=True)
class ScoreBatch:
    """Scores that replace each other."""

    scores: PartitionedScores
    as_of: date
    model_version: str
    horizons: tuple[int, ...]


@dataclass(frozen=True)
class TableWriteResult:
    """What came of writing."""

    rows: int
    rows_replaced: int
    is_new: bool
    columns_added: tuple[str, ...]
    sha256: str


def require_compatible_table(
    table: ScoresTable, *, horizons: Iterable[int], further: pl.Schema, seconds: float
) -> None:
    """Find out whether a table can take scores before long work is done for them; nothing is changed."""
    contract = pl.Schema({column.name: column.dtype for column in scores_table(horizons).columns})

    types = _types({**contract, **further})
    _require_short_names(types, table)

    def work(connection: "Connection", _: ConnectionMonitor) -> None:
        there = _existing_columns(connection, table)
        _columns_to_add(there, types, table)
        _require_rights(connection, table, is_new=there is None)
        _make_staging(connection, types)  # what the server does not take as a column, it refuses now

    with_server(table.server, work, seconds=seconds, refuse=DeliveryError)


def write_scores_table(
    table: ScoresTable, batch: ScoreBatch, *, seconds: float, before_commit: Callable[[TableWriteResult], None]
) -> TableWriteResult:
    """Put scores in the place of those of the same day and model; all of them, or none."""

    def work(connection: "Connection", monitor: ConnectionMonitor) -> TableWriteResult:
        execute_statement(connection, "SELECT set_config('lock_timeout', %s, true)", (f"{max(1, round(seconds))}s",))
        sha256 = _stage(connection, monitor, batch)
        is_new, added = _fit_table(connection, table, batch)
        replaced = _replace(connection, table, batch)
        monitor.note_answer()
        _require_arrived(connection, table, batch)
        monitor.note_answer()
        written = TableWriteResult(batch.scores.count(), replaced, is_new, added, sha256)
        before_commit(written)
        return written

    return with_server(
        table.server,
        work,
        seconds=seconds,
        refuse=lambda words: DeliveryError(f"{table.name[-1]} in {words} The table is as it was."),
    )


# What the columns are


def _types(schema: dict[str, pl.DataType]) -> dict[str, str]:
    return {name: _type(kind) for name, kind in schema.items()}


def _type(kind: pl.DataType) -> str:
    if isinstance(kind, pl.Decimal):
        return f"numeric({kind.precision},{kind.scale})"
    if isinstance(kind, pl.Datetime):
        return "timestamp with time zone" if kind.time_zone else "timestamp without time zone"
    return _TYPES.get(kind.base_type(), "text")


def _column_comments(horizons: Iterable[int]) -> dict[str, Column]:
    return {column.name: column for column in scores_table(horizons).columns}


def _existing_columns(connection: "Connection", table: ScoresTable) -> dict[str, str] | None:
    found = execute_statement(
        connection,
        "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)",
        (quote_identifier(table.name),),
    ).fetchone()
    if found is None:
        return None
    if found[0] not in ("r", "p"):
        raise DeliveryError(f"--out {table.shown}: that is no table (a view, or the like). Name another.")
    rows = execute_statement(
        connection,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (quote_identifier(table.name),),
    ).fetchall()
    return dict(rows)


def _columns_to_add(there: dict[str, str] | None, ours: dict[str, str], table: ScoresTable) -> list[str]:
    """Name the horizons' columns that a table lacks; any other difference is refused."""
    if there is None:
        return []
    missing = [name for name in ours if name not in there]
    differing = [
        f"{name} is {there[name]}, not {ours[name]}" for name in ours if there.get(name, ours[name]) != ours[name]
    ]
    lacking = [name for name in missing if not _HORIZON.match(name)]
    unknown = [name for name in there if name not in ours and not _HORIZON.match(name)]
    mismatches = [
        f"it lacks {first_few(lacking)}" if lacking else "",
        f"it also has {first_few(unknown)}" if unknown else "",
        first_few(differing),
    ]
    if any(mismatches):
        raise DeliveryError(
            f"--out {table.shown}: the table there has other columns than these scores: "
            f"{'; '.join(words for words in mismatches if words)}. Nothing was changed. Name another table."
        )
    return missing


def _require_short_names(names: Iterable[str], table: ScoresTable) -> None:
    """Refuse names that PostgreSQL would cut, and so take for each other."""
    long = [name for name in (*table.name, *names) if len(name.encode()) > _LONGEST_NAME]
    if long:
        raise DeliveryError(
            f"--out {table.shown}: {len(long)} names are longer than the {_LONGEST_NAME} bytes that PostgreSQL takes: "
            f"{first_few(long)}. Rename these columns of the customer list, or name another table."
        )


def _require_rights(connection: "Connection", table: ScoresTable, *, is_new: bool) -> None:
    if not is_new:
        statement = (
            "SELECT has_table_privilege(to_regclass(%s), 'INSERT') AND has_table_privilege(to_regclass(%s), 'DELETE')"
        )
        may = execute_statement(connection, statement, (quote_identifier(table.name),) * 2).fetchone()[0]
        lacking = "write to that table. Ask for the rights INSERT, DELETE and SELECT on it"
    else:
        schema = table.name[0] if len(table.name) > 1 else None
        statement = (
            "SELECT bool_or(has_schema_privilege(oid, 'CREATE')) FROM pg_namespace "
            "WHERE nspname = coalesce(%s::text, current_schema())"
        )
        may = execute_statement(connection, statement, (schema,)).fetchone()[0]
        if may is None:
            raise DeliveryError(f"--out {table.shown}: there is no schema {schema or ''}. Make it, or name another.")
        lacking = "make a table there. Ask for the right CREATE on the schema, or for the table to be made"
    if not may:
        raise DeliveryError(f"--out {table.shown}: this user may not {lacking}.")


# What is done to the table


def _make_staging(connection: "Connection", types: dict[str, str]) -> None:
    columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in types.items())
    execute_statement(connection, f"CREATE TEMPORARY TABLE {_STAGING} ({columns}) ON COMMIT DROP")


def _stage(connection: "Connection", monitor: ConnectionMonitor, batch: ScoreBatch) -> str:
    _make_staging(connection, _types(dict(batch.scores.schema)))
    digest = hashlib.sha256()
    with connection.cursor() as cursor, cursor.copy(f"COPY {_STAGING} FROM STDIN (FORMAT csv)".encode()) as copy:
        for part in (text for frame in batch.scores.frames() for text in _copy_csv(frame)):
            digest.update(part)
            copy.write(part)
            monitor.note_answer()
    return digest.hexdigest()


def _copy_csv(scores: pl.DataFrame) -> Iterator[bytes]:
    nested = pl.col([name for name, kind in scores.schema.items() if kind.is_nested()]).cast(pl.String)
    for part in scores.with_columns(nested).iter_slices(_SLICE_ROWS):
        yield part.write_csv(include_header=False).encode()


def _fit_table(connection: "Connection", table: ScoresTable, batch: ScoreBatch) -> tuple[bool, tuple[str, ...]]:
    types = _types(dict(batch.scores.schema))
    there = _existing_columns(connection, table)
    if there is None:
        _create(connection, table, types, batch)
        return True, ()
    # Others may read meanwhile, but not write: two runs for one table come one after the other.
    execute_statement(connection, f"LOCK TABLE {quote_identifier(table.name)} IN SHARE ROW EXCLUSIVE MODE")
    added = _columns_to_add(_existing_columns(connection, table), types, table)
    for name in added:
        execute_statement(
            connection, f"ALTER TABLE {quote_identifier(table.name)} ADD COLUMN {quote_identifier(name)} {types[name]}"
        )
    _comment(connection, table, added, batch)
    return False, tuple(added)


def _create(connection: "Connection", table: ScoresTable, types: dict[str, str], batch: ScoreBatch) -> None:
    meanings = _column_comments(batch.horizons)
    needed = {name for name, column in meanings.items() if not column.nullable}
    columns = [
        f"{quote_identifier(name)} {kind}{' NOT NULL' if name in needed else ''}" for name, kind in types.items()
    ]
    name = quote_identifier(table.name)
    execute_statement(connection, f"CREATE TABLE {name} ({', '.join(columns)})")
    # The key begins with the customer, whose history it finds; the nights are found by the other.
    execute_statement(connection, f"CREATE UNIQUE INDEX ON {name} ({', '.join(_KEY_COLUMNS)})")
    execute_statement(connection, f"CREATE INDEX ON {name} (as_of, customer_id)")
    execute_statement(connection, f"COMMENT ON TABLE {name} IS {_literal(_TABLE_COMMENT)}")
    _comment(connection, table, types, batch)


def _comment(connection: "Connection", table: ScoresTable, names: Iterable[str], batch: ScoreBatch) -> None:
    meanings = _column_comments(batch.horizons)
    for name in names:
        words = _literal(meanings[name].meaning if name in meanings else "from the customer list")
        execute_statement(
            connection, f"COMMENT ON COLUMN {quote_identifier(table.name)}.{quote_identifier(name)} IS {words}"
        )


def _literal(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


def _replace(connection: "Connection", table: ScoresTable, batch: ScoreBatch) -> int:
    name = quote_identifier(table.name)
    columns = ", ".join(quote_identifier(column) for column in batch.scores.schema)
    deleted = execute_statement(
        connection,
        f"DELETE FROM {name.replace('%', '%%')} WHERE as_of = %s AND model_version = %s",  # noqa: S608 - quoted
        (batch.as_of, batch.model_version),
    )
    execute_statement(connection, f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {_STAGING}")  # noqa: S608 - quoted
    return int(deleted.rowcount)


def _require_arrived(connection: "Connection", table: ScoresTable, batch: ScoreBatch) -> None:
    """Compare what stands in the table with what was sent: a trigger, a rule or row security may have changed it."""
    execute_statement(connection, "SET CONSTRAINTS ALL IMMEDIATE")  # what waits for the commit happens now
    columns = ", ".join(quote_identifier(column).replace("%", "%%") for column in batch.scores.schema)
    counted = f"SELECT count(*), sum(hashtextextended(ROW({columns})::text, 0)) FROM"
    sent = execute_statement(connection, f"{counted} {_STAGING}", ()).fetchone()
    there = execute_statement(
        connection,
        f"{counted} {quote_identifier(table.name).replace('%', '%%')} WHERE as_of = %s AND model_version = %s",
        (batch.as_of, batch.model_version),
    ).fetchone()
    if sent != there:
        found = f"{there[0]:,} stood in the table" if sent[0] != there[0] else "other values stood in the table"
        raise DeliveryError(
            f"--out {table.shown}: {sent[0]:,} rows were sent, and {found}: a trigger, a rule or row security changes "
            "what is written. The table is as it was. Take that away for this user, or name another table."
        )
