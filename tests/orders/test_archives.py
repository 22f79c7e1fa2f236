"""Compressed files and zip archives: what they hold is read, what is no table or endless is refused."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from repurchase.errors import OrdersError
from repurchase.orders import log as sources
from repurchase.settings import Settings
from repurchase.sources import encodings as textbytes
from repurchase.sources import folders as archives
from repurchase.sources.files import open_file
from repurchase.sources.tables import OpenedFile

ROWS = [(f"k{n}", "2024-01-31", f"{n}.50") for n in range(40)]
TEXT = "id;day;amount\n" + "".join(";".join(row) + "\n" for row in ROWS)


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def opened(path: Path, **options: object) -> tuple[OpenedFile, pl.DataFrame]:
    file = open_file(path, shown=str(path), spool=path.parent / "spool", **options)
    return file, pl.concat(file.table.batches(tuple(file.table.schema), n_rows=30))


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(OrdersError) as caught:
        opened(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parquet() -> bytes:
    out = io.BytesIO()
    pl.DataFrame(ROWS, schema=["id", "day", "amount"], orient="row").write_parquet(out)
    return out.getvalue()


PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda text: pa.Codec("zstd").compress(text, asbytes=True),
}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_compressed_text(tmp_path: Path, kind: str, codec: str) -> None:
    path = tmp_path / f"orders.csv.{kind}"
    path.write_bytes(PACKED[kind](TEXT.encode(codec)))
    assert opened(path)[1].rows() == ROWS


@pytest.mark.parametrize("kind", PACKED)
def test_compressed_text_that_ends_too_early(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"orders.csv.{kind}"
    whole = PACKED[kind]((TEXT * 50).encode())
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or ends too early" in refusal(path)


@pytest.mark.parametrize(
    "files",
    [
        {"orders.csv": TEXT},
        {"export/orders.tsv": TEXT.replace(";", "\t"), "__MACOSX/._orders.tsv": "x", "read me.pdf": "x"},
        {"orders.csv.gz": gzip.compress(TEXT.encode())},
        {"orders": TEXT},
        {"orders.txt": TEXT.encode("utf-16"), ".hidden.csv": "x"},
        {"orders.parquet": parquet()},
    ],
    ids=lambda files: next(iter(files)),
)
def test_one_table_in_an_archive(tmp_path: Path, files: Mapping[str, bytes | str]) -> None:
    assert opened(zipped(tmp_path / "orders.zip", files))[1].rows() == ROWS


def test_several_tables_of_equal_columns_are_one_log(tmp_path: Path) -> None:
    swapped = "amount;id;day\n1.00;z;2024-02-01\n"
    file, rows = opened(zipped(tmp_path / "a.zip", {"1.csv": TEXT, "2.csv": swapped, "3.parquet": parquet()}))
    assert rows.rows() == [*ROWS, ("z", "2024-02-01", "1.00"), *ROWS]
    assert file.table.n_rows == 81
    path = zipped(tmp_path / "b.zip", {"orders.csv": TEXT, "customers.csv": "id;name\n1;x\n"})
    assert "2 tables with different columns lie in this archive: customers.csv, orders.csv" in refusal(path)


def test_archives_without_a_table(tmp_path: Path) -> None:
    assert "no table in this archive. Found: a.pdf, b.png" in refusal(
        zipped(tmp_path / "a.zip", {"a.pdf": "x", "b.png": "x"})
    )
    assert "no table in this archive. Found: b.zip" in refusal(zipped(tmp_path / "c.zip", {"b.zip": "x"}))
    assert "Found: nothing" in refusal(zipped(tmp_path / "d.zip", {}))


def test_an_archive_with_a_password(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"orders.csv": TEXT})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + at] |= 1
    path.write_bytes(content)
    assert "orders.csv needs a password" in refusal(path)


def test_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("orders.csv", TEXT)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"k7;2024", b"k7;2025"))
    assert "damaged or ends too early" in refusal(path)


def test_what_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_UNPACKED", 500)
    path = zipped(tmp_path / "a.zip", {"orders.parquet": parquet()})
    assert "too much for orders in this format" in refusal(path)


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("orders.csv.gz", ""),
        ("a.zip", "orders.csv"),
        ("a.zip", "orders.parquet"),
        ("orders.xlsx", "xl/workbook.xml"),
    ],
)
def test_little_that_expands_beyond_the_memory_that_may_be_used(tmp_path: Path, name: str, member: str) -> None:
    content = b"id;day;amount\n" + b"k1;2024-01-31;2.50\n" * 200_000
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(content))
    else:
        zipped(path, {member: content})

    assert "to more than" in refusal(path, most_bytes=1_000_000)


def test_orders_that_compress_well_are_read_with_any_memory(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    assert opened(path, most_bytes=1)[0].table.n_rows == 40


def test_the_setting_bounds_what_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[int] = []

    def noted(*_: object, most_bytes: int, **__: object) -> None:
        allowed.append(most_bytes)
        raise OrdersError("enough")

    monkeypatch.setattr(sources, "open_file", noted)
    path = tmp_path / "orders.csv"
    path.write_text(TEXT)
    with pytest.raises(OrdersError, match="enough"):
        sources.open_orders(path, settings=Settings(memory_gb=0.5), spool=tmp_path / "spool")
    assert allowed == [500_000_000]


@pytest.mark.parametrize(
    "content", [b"x" * 300_000, b"id,day\n" + b"y" * 300_000, b"\0" * 300_000, b'id,"' + b"z" * 300_000]
)
def test_little_that_expands_without_a_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """What cannot be a table is refused after a bounded part of it."""
    read: list[int] = []
    stored = archives.decompressed_bytes

    def counted(*given: object, **options: object) -> object:
        for chunk in stored(*given, **options):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(textbytes, "decompressed_bytes", counted)
    monkeypatch.setattr(textbytes, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(textbytes, "EDGE_BYTES", 4000)
    monkeypatch.setattr(textbytes, "LONGEST_LINE", 50_000)
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(content))
    refusal(path)
    assert sum(read) < 100_000
