"""Addresses, tables and queries, before anything is opened."""

import pickle

import pytest

from repurchase.errors import InputError
from repurchase.sources.locations import (
    is_database,
    parse_orders_source,
    parse_server,
    parse_table_name,
    quote_identifier,
    require_one_select,
)


class TestServers:
    @pytest.mark.parametrize(
        ("text", "shown", "options"),
        [
            ("postgresql://db/shop", "postgresql://db/shop", {"host": "db", "dbname": "shop"}),
            ("postgres://db:5433/", "postgresql://db:5433/", {"host": "db", "port": "5433"}),
            (
                "postgresql+psycopg://anna:geheim@db/shop",
                "postgresql://anna@db/shop",
                {"user": "anna", "password": "geheim", "host": "db", "dbname": "shop"},
            ),
            (
                "postgresql://a%40b:ge%2Fheim@[::1]:5432,db2/shop%20x?sslmode=require",
                "postgresql://a%40b@[::1]:5432,db2/shop x",
                {
                    "user": "a@b",
                    "password": "ge/heim",
                    "host": "::1,db2",
                    "port": "5432",
                    "dbname": "shop x",
                    "sslmode": "require",
                },
            ),
            ("postgresql:///shop?host=/run/pg", "postgresql:///shop", {"dbname": "shop", "host": "/run/pg"}),
        ],
    )
    def test_are_taken_apart(self, text, shown, options):
        server, rest = parse_server(text)

        assert (server.shown, dict(server.options), rest) == (shown, options, [])

    @pytest.mark.parametrize(
        "text",
        [
            "postgresql://anna:ge/heim@db/shop",
            "postgresql://anna:ge#heim@db/shop",
            "postgresql://anna:ge?heim@db/shop",
            "postgresql://anna:geheim/shop",
            "postgresql://anna:ge heim@db/shop",
            "postgresql:/anna:geheim@db/shop",
        ],
    )
    def test_what_cannot_be_taken_apart_is_not_repeated(self, text):
        with pytest.raises(InputError, match="database address") as refused:
            parse_server(text)

        assert "heim" not in str(refused.value)

    def test_do_not_show_their_password(self):
        source = parse_orders_source("postgresql://anna:geheim@db/shop?password=geheim2", table="orders")

        assert "geheim" not in f"{source} {source!r} {source.shown} {source.database!r}"
        assert pickle.loads(pickle.dumps(source)) == source


class TestSources:
    @pytest.mark.parametrize("text", ["shop.db", "x/shop.SQLITE", "shop.duckdb", "sqlite:///shop.x", "duckdb:///shop"])
    def test_files_of_databases_are_known(self, text):
        assert is_database(text)

    @pytest.mark.parametrize(
        "text", ["orders.csv", "orders", "data/*.parquet", "s3://shop/orders.parquet", "db.csv.gz"]
    )
    def test_other_files_are_none(self, text):
        assert parse_orders_source(text) == text

    @pytest.mark.parametrize(("text", "path"), [("sqlite:///a/b.db", "a/b.db"), ("duckdb:////a/b.db", "/a/b.db")])
    def test_three_strokes_are_relative_and_four_absolute(self, text, path):
        assert parse_orders_source(text, table="t").shown == path

    @pytest.mark.parametrize(
        ("text", "words", "said"),
        [
            ("postgresql://db/shop", {}, "neither --query nor --table was given"),
            ("shop.sqlite", {}, "neither --query nor --table was given"),
            ("postgresql://db/shop", {"query": "select 1", "table": "t"}, "both --query and --table were given"),
            ("orders.csv", {"query": "select 1"}, "--query is for databases"),
            ("orders.csv", {"query": "select 1", "table": "t"}, "--query and --table are for databases"),
            ("postgresql://db/shop/sales.orders", {"table": "t"}, "Give the table as --table sales.orders"),
            ("mysql://anna:geheim@db/shop", {"table": "t"}, "such databases are not read"),
            ("postgresql://db/shop", {"table": "a.b.c.d"}, "no table's name"),
            ("postgresql://db/shop", {"table": ""}, "no table's name"),
        ],
    )
    def test_what_does_not_fit_is_said_in_a_line(self, text, words, said):
        with pytest.raises(InputError) as refused:
            parse_orders_source(text, **words)

        assert said in str(refused.value)
        assert "geheim" not in str(refused.value)
        assert "\n" not in str(refused.value)


class TestNames:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("orders", ("orders",)),
            ("Sales.Orders", ("sales", "orders")),
            ('"Sales"."a.b"', ("Sales", "a.b")),
            ('"say ""x"""', ('say "x"',)),
            ("ordrer_ø", ("ordrer_ø",)),
        ],
    )
    def test_are_read_as_in_sql(self, text, parts):
        assert parse_table_name(text) == parts
        assert parse_table_name(quote_identifier(parts)) == parts


class TestQueries:
    @pytest.mark.parametrize(
        "query",
        [
            "select 1",
            "SELECT ';', $x$ ; delete $x$ FROM t",
            "-- all\nwith t as (select 1) select * from t",
            "(select 1) union (select 2)",
            "select E'it\\'s; (' /* ; ( */ as words",
            'select ")" from "a;b"',
        ],
    )
    def test_one_select_passes_as_it_is(self, query):
        assert require_one_select(query) == query

    @pytest.mark.parametrize("end", [";", " ;\n", "; -- that is all", "/* ; */ ;"])
    def test_its_end_is_cut_off(self, end):
        assert require_one_select(f"select 1{end}") == "select 1"

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "-- select",
            "delete from t",
            "selection",
            "explain select 1",
            "select 1; select 2",
            "select 1; drop table t; --",
            "select 1) to stdout; select (2",
            "select (1",
            "copy t to stdout",
        ],
    )
    def test_anything_else_is_refused(self, query):
        with pytest.raises(InputError, match="--query must be one SELECT or WITH"):
            require_one_select(query)
