"""Orders from a real PostgreSQL: every value as it stood there, streamed, and nothing changed."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from repurchase.errors import LayoutError, OrdersError, RepurchaseError
from repurchase.i18n.messages import render
from repurchase.jobs.order_intake import Intake, load_orders
from repurchase.orders.log import RawOrders, read_orders
from repurchase.orders.pipeline import clean_orders
from repurchase.settings import Settings
from repurchase.sources import databases as postgres
from repurchase.sources.locations import parse_orders_source


def texts(messages):
    return [render(one, locale="en") for one in messages]


SETTINGS = Settings(retry_seconds=0)
TEXTS = "tab\t line\n cr\r back\\slash \\N \"q\" 'a' , æ💚"

EVERY_TYPE = r"""
CREATE TABLE kinds (
    n int, customer_id bigint, small smallint, amount numeric(30, 10), free numeric, double double precision,
    real real, day date, moment timestamp, zoned timestamptz, words text, padded char(5), flag boolean, id uuid,
    record jsonb, list int[]
);
INSERT INTO kinds VALUES
    (1, 9007199254740993, -32768, 12345678901234567890.0123456789, 1e-30, 0.1::float8 + 0.2, 12.1, '2024-02-29',
     '2024-02-29 23:59:59.999999', '2024-03-31 01:30:00+00', E'tab\t line\n cr\r back\\slash \\N "q" ''a'' , æ💚', 'ab',
     true, '00000000-0000-0000-0000-000000000001', '{"a": 1}', '{1,2}'),
    (2, 1, 0, 0, 'NaN', '-0', 'Infinity', '1969-12-31', '1583-01-01', '1900-01-01 00:00:00+00', '', '',
     false, null, null, '{}'),
    (3, null, null, null, null, 'NaN', '-Infinity', 'infinity', '0044-03-15 00:00:00 BC', null, E'\\N', null,
     null, null, null, null);
"""


def orders_of(intake: Intake) -> pl.DataFrame:
    return clean_orders(RawOrders(intake.log.read(), intake.log.layout, (), ""), settings=SETTINGS).orders


class TestValues:
    @pytest.fixture
    def kinds(self, shop) -> pl.DataFrame:
        shop.ask(EVERY_TYPE)
        shop.ask("GRANT SELECT ON kinds TO night")
        return shop.read(query="select * from kinds order by n").rows

    def test_types_are_the_database_s_own_or_text(self, kinds):
        numbers = dict.fromkeys(("n", "customer_id", "small"), pl.Int64()) | dict.fromkeys(
            ("double", "real"), pl.Float64()
        )
        times = {"day": pl.Date(), "moment": pl.Datetime("us"), "zoned": pl.Datetime("us", "UTC"), "flag": pl.Boolean()}

        assert dict(kinds.schema) == {name: (numbers | times).get(name, pl.String()) for name in kinds.columns}

    def test_numbers_lose_nothing(self, kinds):
        assert kinds["customer_id"].to_list() == [9007199254740993, 1, None]
        assert kinds["amount"].to_list() == ["12345678901234567890.0123456789", "0.0000000000", None]
        assert kinds["free"].to_list() == ["0.000000000000000000000000000001", "NaN", None]
        assert [repr(value) for value in kinds["double"]] == ["0.30000000000000004", "-0.0", "nan"]
        assert kinds["real"].to_list() == [12.1, float("inf"), float("-inf")]

    def test_days_and_times_lose_nothing(self, kinds):
        utc = ZoneInfo("UTC")

        assert kinds["day"].to_list() == [date(2024, 2, 29), date(1969, 12, 31), None]
        assert kinds["moment"].cast(pl.String).to_list() == [
            "2024-02-29 23:59:59.999999",
            "1583-01-01 00:00:00.000000",
            None,
        ]
        assert kinds["zoned"].to_list() == [
            datetime(2024, 3, 31, 1, 30, tzinfo=utc),
            datetime(1900, 1, 1, tzinfo=utc),
            None,
        ]

    def test_text_keeps_every_sign_and_nothing_is_not_empty(self, kinds):
        assert kinds["words"].to_list() == [TEXTS, "", "\\N"]
        assert kinds["padded"].to_list() == ["ab   ", "     ", None]
        assert kinds["flag"].to_list() == [True, False, None]
        assert kinds["record"].to_list() == ['{"a": 1}', None, None]

    @pytest.mark.parametrize(("zone", "day"), [("Europe/Oslo", 2), ("America/New_York", 1), (None, 1)])
    def test_times_with_a_zone_count_in_the_zone_that_was_set(self, shop, zone, day):
        shop.ask("CREATE TABLE late AS SELECT 'a' AS customer_id, timestamptz '2024-01-01 23:30:00+00' AS order_date")
        shop.ask("GRANT SELECT ON late TO night")
        settings = Settings(timezone=zone, retry_seconds=0)

        by_table = read_orders(parse_orders_source(shop.address, table="late"), settings=settings)
        by_query = shop.read(settings=settings, query="select order_date::date as day from late")

        assert clean_orders(by_table, settings=settings).orders["order_date"].dt.day().to_list() == [day]
        assert by_query.rows["day"].to_list() == [date(2024, 1, day)]
        assert any("UTC, the database's own" in note for note in texts(by_table.notes)) == (zone is None)


class TestAsFiles:
    @pytest.mark.parametrize(
        "types",
        [
            {},
            {"customer_id": "bigint", "order_date": "date", "amount": "numeric(12,2)"},
            {"amount": "double precision"},
        ],
    )
    def test_orders_are_those_of_the_same_csv(self, shop, cdnow_orders, tmp_path, types):
        rows = cdnow_orders.head(5000).with_columns(
            pl.col("customer_id").str.replace("^0", "1"), pl.col("order_date").dt.strftime("%Y-%m-%d")
        )
        rows.write_csv(tmp_path / "orders.csv")
        shop.load("orders", rows, **types)

        by_file = load_orders(str(tmp_path / "orders.csv"), settings=SETTINGS, folder=tmp_path / "a")
        by_table = load_orders(
            parse_orders_source(shop.address, table="orders"), settings=SETTINGS, folder=tmp_path / "b"
        )

        assert orders_of(by_table).equals(orders_of(by_file))
        assert by_table.report.n_kept == by_file.report.n_kept
        assert by_table.as_of == by_file.as_of

    def test_exports_are_recognised_by_their_columns(self, shop):
        shop.ask(
            'CREATE TABLE lines ("Invoice" text, "StockCode" text, "Quantity" int, "InvoiceDate" timestamp, '
            '"Price" numeric, "Customer ID" double precision)'
        )
        shop.ask(
            "INSERT INTO lines SELECT n::text, chr(97 + n % 6), 1 + n / 6, date '2011-01-01' + n, 2.5 + n % 6, 13085.0 "
            "FROM generate_series(0, 17) n"
        )
        shop.ask("GRANT SELECT ON lines TO night")

        raw = read_orders(parse_orders_source(shop.address, table="lines"), settings=SETTINGS)

        assert raw.layout.name == "UCI Online Retail"
        amounts = [("13085", (1 + n // 6) * (2.5 + n % 6)) for n in range(18)]
        assert clean_orders(raw).orders.select("customer_id", "amount").rows() == amounts

    def test_columns_may_be_told(self, shop):
        shop.ask("CREATE TABLE ordrer AS SELECT 7 AS hvem, date '2024-01-01' AS dato, 12.5 AS sum")
        shop.ask("GRANT SELECT ON ordrer TO night")
        told = {"customer_id": "hvem", "order_date": "dato", "amount": "sum"}

        raw = read_orders(
            parse_orders_source(shop.address, table="ordrer"), settings=Settings(columns=told, retry_seconds=0)
        )

        assert clean_orders(raw).orders["amount"].to_list() == [12.5]
        with pytest.raises(LayoutError, match=r"\(table ordrer\): 1 required column was not found: customer_id"):
            read_orders(parse_orders_source(shop.address, table="ordrer"), settings=SETTINGS)

    def test_the_record_says_what_was_asked_and_gives_a_digest(self, shop, tmp_path):
        shop.ask(
            "CREATE TABLE orders AS SELECT n AS customer_id, date '2024-01-01' AS order_date "
            "FROM generate_series(1, 9) n"
        )
        shop.ask("GRANT SELECT ON orders TO night")
        source = parse_orders_source(shop.with_password, query="select * from orders where customer_id < 9 -- not all")

        first = load_orders(source, settings=SETTINGS, folder=tmp_path).describe()
        again = load_orders(source, settings=SETTINGS, folder=tmp_path).describe()
        shop.ask("UPDATE orders SET order_date = '2024-01-02' WHERE customer_id = 8")
        later = load_orders(source, settings=SETTINGS, folder=tmp_path).describe()

        (file,) = first["files"]
        assert (file["path"], file["rows"]) == (shop.address, 8)
        assert file["query"] == "select * from orders where customer_id < 9"
        assert first["source"] == f"{shop.address} (query)"
        assert first["digest"] == again["digest"] != later["digest"]


class TestStreaming:
    def test_rows_come_before_the_query_has_ended(self, shop):
        endless = "select generate_series(1, 10000000000) as n, repeat('x', 100) as words"

        def first_rows(connection, monitor):
            rows = postgres.stream_query(connection, endless, monitor)
            try:
                return next(rows)
            finally:
                rows.close()

        content = postgres.with_server(shop.server, first_rows, seconds=0, refuse=OrdersError)

        assert content.startswith(b"1\txxx")
        assert content.endswith(b"x\n")

    def test_rows_are_the_same_in_pieces_of_any_size(self, shop, monkeypatch):
        query = "select n, repeat(n::text, n % 7) as words, nullif(n % 3, 0) as third from generate_series(1, 2000) n"
        whole = shop.read(query=query)
        monkeypatch.setattr(postgres, "CHUNK_BYTES", 999)
        monkeypatch.setattr("repurchase.sources.tables.SPOOLED_ROWS", 100)

        pieces = shop.read(query=query)

        assert pieces.rows.n_chunks() > 5 * whole.rows.n_chunks()
        assert pieces.rows.equals(whole.rows)
        assert pieces.sha256 == whole.sha256
        assert whole.rows.height == 2000

    def test_the_digest_is_that_of_the_rows_in_any_order(self, shop):
        shop.ask("CREATE TABLE t AS SELECT n, 'line ' || n AS words FROM generate_series(1, 500) n")
        shop.ask("CREATE TABLE mixed AS SELECT * FROM t ORDER BY md5(n::text)")
        shop.ask("CREATE TABLE doubled AS SELECT * FROM t UNION ALL SELECT * FROM t WHERE n IN (7, 8)")
        shop.ask("CREATE TABLE twice AS SELECT * FROM t UNION ALL SELECT * FROM t WHERE n = 7")
        shop.ask("CREATE TABLE renamed AS SELECT n, words AS said FROM t")
        shop.ask("GRANT SELECT ON ALL TABLES IN SCHEMA public TO night")

        read = {name: shop.read(table=name) for name in ("t", "mixed", "doubled", "twice", "renamed")}

        assert read["mixed"].rows["n"].to_list() != read["t"].rows["n"].to_list()
        assert read["mixed"].sha256 == read["t"].sha256
        assert len({answer.sha256 for answer in read.values()}) == 4


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ({"table": "sales.orders"}, 'relation "sales.orders" does not exist'),
            ({"query": "select nothing from pg_class"}, 'column "nothing" does not exist'),
            ({"query": "select from where"}, 'syntax error at or near "where"'),
            ({"query": "select 1 as a, 2 as a"}, "columns that appear more than once: a"),
            ({"query": "select 1 as a where false"}, "no rows. Found the columns a"),
            ({"query": "select 1 / 0 as a"}, "division by zero"),
            ({"query": "with d as (delete from t returning *) select * from d"}, "data-modifying"),
            ({"query": "select nextval('s') as n"}, "read-only transaction"),
            ({"table": "closed"}, "permission denied for table closed"),
        ],
    )
    def test_are_one_line_that_names_the_database(self, shop, words, said):
        shop.ask("CREATE TABLE t (a int); CREATE SEQUENCE s; GRANT ALL ON t, s TO night; CREATE TABLE closed (a int)")

        with pytest.raises(OrdersError) as refused:
            shop.read(**words)

        assert said in str(refused.value)
        assert shop.address in str(refused.value) or "The query" in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_reading_leaves_nothing_behind(self, shop):
        shop.read(query="select lo_create(0) is null as made, set_config('search_path', 'x', false) as path")

        assert shop.ask("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]

    @pytest.mark.parametrize(
        "query",
        [
            "select 1 as a$x$) as q; commit; create table pwned(a int); select * from (select 2 as b$x$",
            "select 1 as a -- \r) as q; commit; create table pwned(a int); select * from (select 2 as b -- \n, 3 as c",
            "select 1 as a$x$) to stdout; commit; create table pwned(a int); copy (select 2 as b$x$",
        ],
        ids=["identifier", "comment", "copy"],
    )
    def test_a_statement_hidden_from_us_is_not_hidden_from_the_server(self, shop, query):
        with pytest.raises(RepurchaseError) as refused:
            shop.read(query=query)

        assert "\n" not in str(refused.value)
        assert shop.ask("SELECT to_regclass('pwned')") == [(None,)]

    def test_a_value_that_the_server_quotes_is_kept_out_of_the_log(self, shop):
        with pytest.raises(OrdersError, match="c000017") as refused:
            shop.read(query="select 'c000017'::int as n")

        assert "c000017" not in refused.value.log_message
