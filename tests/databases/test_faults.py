"""What goes wrong while reading, injected: it is tried again for the stated time, then said in a line."""

import logging
import sys
import threading

import pytest

from repurchase.errors import InputError, OrdersError
from repurchase.settings import Settings
from repurchase.sources import databases as postgres
from repurchase.sources.locations import parse_orders_source

ROWS = 3000
SLOWLY = "select n, pg_sleep((select seconds from pause)) is null as slept from rows order by n"


@pytest.fixture
def slow_shop(shop):
    """A query that takes minutes, until the pause is lifted."""
    shop.ask(
        f"CREATE TABLE rows AS SELECT n FROM generate_series(1, {ROWS}) n; CREATE TABLE pause AS SELECT 0.1 AS seconds"
    )
    shop.ask("GRANT SELECT ON rows, pause TO night")
    return shop


def read(shop, query, *, seconds):
    return shop.read(query=query, settings=Settings(retry_seconds=seconds))


def in_mid_read(shop) -> int:
    return shop.await_session("AND pid IN (SELECT pid FROM pg_stat_progress_copy WHERE tuples_processed > 2)")


class TestReading:
    def test_a_server_that_goes_away_is_read_again_from_the_start(self, slow_shop, caplog):
        def cut() -> None:
            in_mid_read(slow_shop)
            slow_shop.ask("UPDATE pause SET seconds = 0")
            slow_shop.kill()

        cutting = slow_shop.meanwhile(cut)
        with caplog.at_level(logging.WARNING):
            result = read(slow_shop, SLOWLY, seconds=60)
        cutting.join()

        assert result.rows["n"].to_list() == list(range(1, ROWS + 1))
        assert "trying again" in caplog.text
        assert "geheim" not in caplog.text

    def test_after_the_stated_time_it_is_said_in_a_line(self, slow_shop):
        def cut() -> None:
            in_mid_read(slow_shop)
            slow_shop.kill()

        cutting = slow_shop.meanwhile(cut)
        with pytest.raises(OrdersError, match=r"terminating connection.*\(1 try within 0 s\)") as refused:
            read(slow_shop, SLOWLY, seconds=0)
        cutting.join()

        assert "\n" not in str(refused.value)

    def test_a_query_may_rest_as_long_as_the_server_answers(self, slow_shop, monkeypatch, caplog):
        monkeypatch.setattr(postgres, "SILENCE_SECONDS", 0.3)

        result = read(slow_shop, "select 1 as n from pg_sleep(2)", seconds=3)

        assert result.rows.height == 1
        assert "trying again" not in caplog.text

    def test_a_server_that_no_longer_answers_is_given_up(self, slow_shop, monkeypatch, cluster):
        monkeypatch.setattr(postgres, "SILENCE_SECONDS", 0.5)
        in_the_end = threading.Timer(30, cluster.thaw)
        in_the_end.start()
        freezing = slow_shop.meanwhile(lambda: cluster.freeze(in_mid_read(slow_shop)))
        try:
            with pytest.raises(OrdersError, match=r"tr(y|ies) within 1 s") as refused:
                read(slow_shop, SLOWLY, seconds=1)
        finally:
            in_the_end.cancel()
            freezing.join()
            cluster.thaw()

        assert slow_shop.address in str(refused.value)

    def test_a_server_that_is_down_is_waited_for(self, shop, cluster):
        cluster.stop()
        starting = threading.Timer(0.7, cluster.start)
        starting.start()
        try:
            result = read(shop, "select 1 as n", seconds=60)
        finally:
            starting.join()

        assert result.rows.rows() == [(1,)]

    def test_a_server_that_stays_down_is_said_in_a_line(self, shop, cluster):
        cluster.stop()
        try:
            with pytest.raises(OrdersError, match=r"refused \(\d+ tries within 1 s\). See that the database runs"):
                read(shop, "select 1 as n", seconds=1)
        finally:
            cluster.start()

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("geheim", "falsch", "password authentication failed"),
            ("127.0.0.1", "no-such-host.invalid", "no-such-host.invalid"),
            ("/shop", "/no_shop", "does not exist"),
            ("night:", "nobody:", "password authentication failed"),
        ],
    )
    def test_what_time_does_not_heal_is_not_tried_again(self, shop, read_database, caplog, old, new, said):
        address = shop.with_password.replace(old, new)

        with pytest.raises(OrdersError, match=said) as refused:
            read_database(parse_orders_source(address, table="t"), settings=Settings(retry_seconds=3600))

        assert caplog.text == ""
        assert not any(word in f"{refused.value}{refused.value.__cause__}" for word in ("geheim", "falsch"))

    def test_a_missing_driver_is_named_with_what_installs_it(self, shop, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)

        with pytest.raises(InputError, match=r"needs the package psycopg.*pip install 'repurchase\[sql\]'"):
            read(shop, "select 1 as n", seconds=0)
