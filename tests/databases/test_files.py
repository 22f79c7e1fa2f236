"""SQLite and DuckDB files, through the same door."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime
from types import SimpleNamespace

import duckdb
import polars as pl
import pytest

from repurchase.errors import OrdersError
from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import clean_orders
from repurchase.settings import Settings
from repurchase.sources.locations import parse_orders_source

SETTINGS = Settings(retry_seconds=0)
HOLD = """
import duckdb, sys
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def rows(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    return cdnow_orders.head(3000).with_columns(pl.col("order_date").dt.strftime("%Y-%m-%d"))


@pytest.fixture
def sqlite_file(rows, tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (customer_id TEXT, order_id, order_date DATE, amount REAL, quantity)")
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows.iter_rows())
        connection.commit()
    return tmp_path / "shop.db"


@pytest.fixture
def duckdb_file(rows, tmp_path):
    rows.write_parquet(tmp_path / "rows.parquet")
    with closing(duckdb.connect(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT customer_id, order_id, order_date::date AS order_date, "
            f"amount::decimal(12, 2) AS amount, quantity FROM '{tmp_path}/rows.parquet'"
        )
    return tmp_path / "shop.duckdb"


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
@pytest.mark.parametrize("words", [{"table": "orders"}, {"query": "select * from orders;"}], ids=["table", "query"])
def test_orders_are_those_of_the_same_csv(rows, sqlite_file, duckdb_file, tmp_path, kind, words):
    rows.write_csv(tmp_path / "orders.csv")
    path = {"sqlite": sqlite_file, "duckdb": duckdb_file}[kind]
    before = path.read_bytes()

    by_csv = read_orders(tmp_path / "orders.csv", settings=SETTINGS)
    by_path = read_orders(parse_orders_source(str(path), **words), settings=SETTINGS)
    by_scheme = read_orders(parse_orders_source(f"{kind}:///{path}", **words), settings=SETTINGS)

    assert clean_orders(by_path).orders.equals(clean_orders(by_csv).orders)
    assert by_scheme.rows.equals(by_path.rows)
    assert by_scheme.files == by_path.files
    (file,) = by_path.files
    assert (file.path, file.rows) == (str(path), rows.height)
    assert path.read_bytes() == before


def test_an_sqlite_column_may_hold_anything(read_database, tmp_path):
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 9007199254740993 AS a, 0.1 + 0.2 AS b UNION ALL SELECT 'x', NULL")
        connection.execute("INSERT INTO t VALUES (x'00ff', '')")
        connection.commit()

    read = read_database(
        parse_orders_source(str(tmp_path / "x.db"), query="select * from t order by rowid"), settings=SETTINGS
    )

    assert read.rows.rows() == [("9007199254740993", "0.30000000000000004"), ("x", None), ("00ff", "")]


def test_duckdb_types_are_kept_or_text(read_database, tmp_path):
    with closing(duckdb.connect(tmp_path / "x.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 7::utinyint AS small, 170141183460469231731687303715884105727::hugeint AS huge, "
            "1.10::decimal(20, 2) AS money, 12.1::float AS real, 0.1::double + 0.2 AS double, "
            "timestamp '2024-01-01 10:00:00.5' AS moment, timestamptz '2024-01-01 23:30:00+00' AS zoned, [1] AS list"
        )
    settings = Settings(timezone="Europe/Oslo", retry_seconds=0)

    (row,) = read_database(parse_orders_source(str(tmp_path / "x.duckdb"), table="t"), settings=settings).rows.rows()

    assert row[:6] == (
        "7",
        "170141183460469231731687303715884105727",
        "1.10",
        "12.1",
        0.1 + 0.2,
        datetime.fromisoformat("2024-01-01T10:00:00.5"),
    )
    assert (row[6].isoformat(), row[7]) == ("2024-01-02T00:30:00+01:00", "[1]")


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"table": "nothing"}, "nothing"),
        ({"query": "select nothing from orders"}, "nothing"),
        ({"query": "select customer_id, customer_id from orders"}, "customer_id"),
        ({"query": "select * from orders where false"}, "no rows. Found the columns customer_id, order_id"),
        ({"query": "with d as (select 1) delete from orders"}, ""),
    ],
)
def test_refusals_are_one_line(read_database, sqlite_file, duckdb_file, kind, words, said):
    path = {"sqlite": sqlite_file, "duckdb": duckdb_file}[kind]
    before = path.read_bytes()

    with pytest.raises(OrdersError) as refused:
        read_database(parse_orders_source(str(path), **words), settings=SETTINGS)

    assert said in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_what_is_no_database_is_said(read_database, tmp_path):
    (tmp_path / "notes.db").write_text("customer_id,order_date\n")

    for name, said in (("notes.db", "neither an SQLite nor a DuckDB file"), ("gone.db", "no such file")):
        with pytest.raises(OrdersError, match=said):
            read_database(parse_orders_source(str(tmp_path / name), table="t"), settings=SETTINGS)


def test_a_file_that_another_program_holds_is_waited_for(read_database, duckdb_file, monkeypatch):
    let_go = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: holder.communicate("", timeout=30))
    monkeypatch.setattr("repurchase.sources.locations.time", let_go)
    source = parse_orders_source(str(duckdb_file), table="orders")

    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(duckdb_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OrdersError, match=r"Conflicting lock.*\(1 try within 0 s\)"):
            read_database(source, settings=SETTINGS)

        read = read_database(source, settings=Settings(retry_seconds=60))

    assert read.rows.height == 3000


def test_a_statement_hidden_from_us_is_not_hidden_from_duckdb(read_database, duckdb_file, tmp_path):
    place = tmp_path / "pwned.csv"
    query = f"select 1 as a$x$ ; copy (select 1) to '{place}'; select 2 as b$x$"

    with pytest.raises(OrdersError):
        read_database(parse_orders_source(str(duckdb_file), query=query), settings=Settings(retry_seconds=0))

    assert not place.exists()
