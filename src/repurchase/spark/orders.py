"""Order files opened by Spark's own reader: which files, columns and row positions."""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from repurchase.errors import InputError, LayoutError, OrdersError, first_few
from repurchase.i18n.messages import Message, first_items, message, render
from repurchase.orders.layout import Layout
from repurchase.settings import Settings
from repurchase.sources.delimited_text import DELIMITER_NAMES, delimiter_of
from repurchase.sources.folders import SPARK_TABLES, readable_files
from repurchase.sources.locations import DatabaseSource, is_database
from repurchase.spark.session import translate_spark_errors
from repurchase.spark.tasks import BLOCK_START, CORRUPT_LINE, FILE_PATH, ROW_POSITION, RowCounts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_PARQUET = (".parquet", ".pq")
_HEAD_LINES = 20
_LOCAL = "Leave --engine spark out"
_UNREAD = Layout("", {}, "orders", "none")


@dataclass(frozen=True)
class _ClusterFile:
    """A file as the storage tells of it."""

    path: str
    bytes: int
    changed: str

    @property
    def digest(self) -> str:
        """A sha256 over address, size and time of writing: its content is not read for it."""
        return hashlib.sha256(f"{self.path}\n{self.bytes}\n{self.changed}".encode()).hexdigest()


@dataclass(frozen=True)
class ClusterLog:
    """An order log on a cluster, opened but not read."""

    source: str
    layout: Layout
    columns: dict[str, str]
    schema: dict[str, pl.DataType]
    files: tuple[_ClusterFile, ...]
    table: "DataFrame"
    notes: tuple[Message, ...]
    counts: RowCounts = field(default_factory=RowCounts)
    delimiter: str | None = None
    has_long_rows: bool = False

    @property
    def is_text(self) -> bool:
        """Whether every value is text."""
        return self.delimiter is not None

    def with_long_rows(self, session: "SparkSession") -> "ClusterLog":
        """Read text once more, values of which may hold line ends; every file is then one task."""
        table = _text(session, self.source, list(self.columns), self.delimiter or ",", long_rows=True)
        return replace(self, table=_placed(table, self.columns), has_long_rows=True)

    @property
    def numbers(self) -> dict[str, int]:
        """Files that have rows, as Spark names them, and their numbers in the order in which one machine reads them."""
        ordered = sorted(self.counts.rows, key=lambda path: unquote(path).split("/"))
        return {path: number for number, path in enumerate(ordered)}

    def interpreted(self, layout: Layout) -> "ClusterLog":
        """Settle which column is which."""
        if layout.first_line_only:
            raise LayoutError(
                f"{self.source}: only the first line of an order names its customer, so that rows cannot be shared out "
                f"by customer. {_LOCAL} (--engine local)."
            )
        return replace(self, layout=layout, notes=(*self.notes, *layout.notes))

    def without(self, names: Sequence[str]) -> "ClusterLog":
        """Leave columns out."""
        kept = {name: stored for name, stored in self.columns.items() if name not in names}
        table = self.table.drop(*(self.columns[name] for name in names))
        return replace(self, columns=kept, schema={name: self.schema[name] for name in kept}, table=table)


def open_on_cluster(session: "SparkSession", source: str | DatabaseSource, *, settings: Settings) -> ClusterLog:
    """Open an order log by Spark's own reader."""
    if isinstance(source, DatabaseSource) or is_database(source):
        raise InputError(f"{source}: --engine spark reads files, not databases. {_LOCAL} to read it here.")
    if settings.on_bad_file != "fail":
        raise InputError(f"--on-bad-file set-aside: Spark does not say which files it skips. {_LOCAL} for it.")
    files, notes = _files(session, source)
    if all(file.path.lower().endswith(_PARQUET) for file in files):
        table, delimiter = _parquet(session, source), None
        nested = [field.name for field in table.schema.fields if _is_nested(field.dataType.typeName())]
        columns = [name for name in table.columns if name not in nested]
        notes += (message("file_note.nested_of_all", names=first_items(nested)),) if nested else ()
    else:
        columns, delimiter = _heading(session, files[0].path)
        table = translate_spark_errors(lambda: _text(session, source, columns, delimiter or ",", long_rows=False))
        notes += (
            (message("file_note.delimiter_of_all", delimiter=DELIMITER_NAMES[delimiter]),) if delimiter != "," else ()
        )
    schema = {name: kind for name, kind in _polars_schema(table).items() if name in columns}
    stored = {name: f"_{number}" for number, name in enumerate(columns)}
    placed = _placed(table, stored)
    return ClusterLog(source, _UNREAD, stored, schema, files, placed, notes, delimiter=delimiter)


def _files(session: "SparkSession", source: str) -> tuple[tuple[_ClusterFile, ...], tuple[Message, ...]]:
    listed = session.read.format("binaryFile").option("recursiveFileLookup", "true")
    rows = translate_spark_errors(lambda: listed.load(source).select("path", "length", "modificationTime").collect())
    files = [_ClusterFile(row["path"], row["length"], str(row["modificationTime"])) for row in rows]
    if not files:
        raise OrdersError(f"{source}: no file there. Check the address.")
    notes: list[Message] = []
    if len(files) > 1:
        names, notes = readable_files([file.path for file in files], where=source, endings=SPARK_TABLES)
        files = [file for file in files if file.path in set(names)]
        if notes:
            raise OrdersError(
                f"{source}: {render(notes[0], locale='en').rstrip('.')}; Spark would read them all. "
                "Name the others by a glob."
            )
    if len({file.path.lower().endswith(_PARQUET) for file in files}) > 1:
        raise OrdersError(f"{source}: CSV and Parquet in one folder. Name one kind by a glob, such as '*.parquet'.")
    return tuple(sorted(files, key=lambda file: file.path.split("/"))), tuple(notes)


def _parquet(session: "SparkSession", source: str) -> "DataFrame":
    reader = session.read.option("recursiveFileLookup", "true").option("mergeSchema", "true")
    return translate_spark_errors(lambda: reader.parquet(source))


def _heading(session: "SparkSession", path: str) -> tuple[list[str], str]:
    lines = [row[0] for row in translate_spark_errors(lambda: session.read.text(path).limit(_HEAD_LINES).collect())]
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise OrdersError(f"{path}: the file is empty. Expected a heading line and one line per order.")
    delimiter = delimiter_of(filled)
    if delimiter == " " or filled[0].lower().startswith("sep="):
        raise LayoutError(f"{path}: columns are separated by blanks, or a line 'sep=' comes first. {_LOCAL} for it.")
    heading = next(csv.reader([filled[0]], delimiter=delimiter))
    if not any(letter.isalpha() for name in heading for letter in name):
        words = first_few(heading)
        raise LayoutError(f"{path}: the first line is data, not a heading: {words}.", withheld=words)
    if len(set(heading)) < len(heading) or "\ufffd" in filled[0] or "\0" in filled[0]:
        raise LayoutError(f"{path}: two columns of one name, or a heading that is not UTF-8. {_LOCAL} for it.")
    return heading, delimiter


def _text(
    session: "SparkSession", source: str, columns: Sequence[str], delimiter: str, *, long_rows: bool
) -> "DataFrame":
    from pyspark.sql.types import StringType, StructField, StructType

    schema = StructType([StructField(name, StringType()) for name in (*columns, CORRUPT_LINE)])
    options: dict[str, str | bool] = {
        "recursiveFileLookup": True,
        "header": True,
        "enforceSchema": False,
        "sep": delimiter,
        "quote": '"',
        "escape": '"',
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT_LINE,
        "maxCharsPerColumn": "-1",
        "multiLine": long_rows,
    }
    return session.read.options(**options).schema(schema).csv(source)


def _placed(table: "DataFrame", columns: Mapping[str, str]) -> "DataFrame":
    from pyspark.sql import functions

    beside = [functions.col(CORRUPT_LINE)] if CORRUPT_LINE in table.columns else []
    return table.select(
        *(functions.col("`" + name.replace("`", "``") + "`").alias(stored) for name, stored in columns.items()),
        *beside,
        functions.col("_metadata.file_path").alias(FILE_PATH),
        functions.col("_metadata.file_block_start").alias(BLOCK_START),
        functions.monotonically_increasing_id().alias(ROW_POSITION),
    )


def _polars_schema(table: "DataFrame") -> dict[str, pl.DataType]:
    return {field.name: _polars_type(field.dataType.simpleString()) for field in table.schema.fields}


def _polars_type(name: str) -> pl.DataType:
    """Tell text, days and times from numbers, which is all that is needed before rows are read."""
    if re.match(r"(string|char|varchar)", name):
        return pl.String()
    if name.startswith("timestamp"):
        return pl.Datetime("us")
    return pl.Date() if name == "date" else pl.Float64()


def _is_nested(name: str) -> bool:
    return name in {"array", "map", "struct", "variant"}
