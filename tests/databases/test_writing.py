"""Scores into a real PostgreSQL: exact, typed, explained, replaced whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest

from repurchase.errors import DeliveryError, InputError
from repurchase.jobs import score_delivery as tables
from repurchase.jobs.score_delivery import (
    PartitionedScores,
    ScoreBatch,
    find_scores_table,
    require_compatible_table,
    write_scores_table,
)
from repurchase.schemas import scores_table

NIGHT = date(2024, 12, 31)
HARD = [
    "",
    "NULL",
    "\\N",
    "\\.",
    'say "x"',
    "a,b",
    "line\nline",
    "tab\t",
    " blank ",
    "æøå 💚",
    "'; drop table scores; --",
]


@dataclass(frozen=True)
class Night:
    scores: pl.DataFrame
    as_of: date
    model_version: str
    horizons: tuple[int, ...]


def night(
    *, day: date = NIGHT, version: str = "1", horizons: tuple[int, ...] = (30, 90), customers: int = 200, seed: int = 0
) -> Night:
    """Scores of every type, with gaps, and with the texts and numbers that are hardest to carry."""
    rng = np.random.default_rng(seed)
    table = scores_table(horizons)
    numbers = [5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2, float("nan"), float("inf"), float("-inf")]
    made = {}
    for column in table.columns:
        gaps = rng.random(customers) < (0.3 if column.nullable else 0.0)
        values = {
            pl.String(): lambda: [*HARD, *(f"words {n}" for n in range(len(HARD), customers))],
            pl.Date(): lambda: [date.fromordinal(int(n)) for n in rng.integers(700_000, 740_000, customers)],
            pl.Int64(): lambda: [*rng.integers(-(2**62), 2**62, customers).tolist()],
            pl.Float64(): lambda: [*numbers, *rng.normal(0, 1e6, customers - len(numbers)).tolist()],
        }[column.dtype]()
        made[column.name] = pl.Series(
            [None if gap else value for value, gap in zip(values, gaps, strict=True)], dtype=column.dtype
        )
    scores = pl.DataFrame(made).with_columns(
        pl.Series("customer_id", [f"{text}{n}" for n, text in enumerate(made["customer_id"])]),
        pl.lit(day).alias("as_of"),
        pl.lit(version).alias("model_version"),
    )
    return Night(scores, day, version, horizons)


def stored(shop, table="scores", where="true"):
    query = f"select * from {table} where {where}"
    return shop.read(query=query).rows


def same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Equal in every bit, whatever the order of rows."""
    return left.schema == right.schema and left.sort("customer_id").equals(right.sort("customer_id"))


def write(shop, batch, *, table="scores", seconds=0.0, before_commit=lambda written: None):
    half = batch.scores.height // 2
    parts = PartitionedScores((batch.scores.head(half), batch.scores.slice(half)))
    whole = ScoreBatch(parts, batch.as_of, batch.model_version, batch.horizons)
    return write_scores_table(
        find_scores_table(f"{shop.with_password}/{table}"), whole, seconds=seconds, before_commit=before_commit
    )


class TestRoundTrip:
    def test_scores_come_back_with_every_bit_type_and_gap(self, shop):
        batch = night()

        written = write(shop, batch)

        assert same(stored(shop), batch.scores)
        assert (written.rows, written.rows_replaced, written.is_new) == (200, 0, True)
        assert any(str(value) == "-0.0" for value in stored(shop)["clv"].to_list())

    def test_columns_of_a_customer_list_come_too(self, shop):
        batch = night(customers=20)
        carried = batch.scores.with_columns(
            pl.lit("Oslo").alias("Stad"),
            pl.lit(True).alias('100% "sure"'),
            pl.lit(7, pl.Int32).alias("visits_30d"),
        )

        write(shop, Night(carried, batch.as_of, batch.model_version, batch.horizons))
        write(shop, Night(carried, batch.as_of, batch.model_version, batch.horizons))

        assert same(stored(shop), carried.with_columns(pl.col("visits_30d").cast(pl.Int64)))

    def test_twice_leaves_the_same_rows(self, shop):
        write(shop, night())
        written = write(shop, night())

        assert same(stored(shop), night().scores)
        assert (written.rows, written.rows_replaced, written.is_new) == (200, 200, False)

    def test_only_the_same_day_and_model_are_replaced(self, shop):
        others = [night(day=date(2024, 12, 30), seed=1), night(version="2", seed=2)]
        for batch in (*others, night(customers=150)):
            write(shop, batch)

        again = write(shop, night(customers=120, seed=3))

        assert again.rows_replaced == 150
        assert stored(shop).height == 200 + 200 + 120
        for batch in (*others, night(customers=120, seed=3)):
            assert same(
                stored(shop, where=f"as_of = '{batch.as_of}' and model_version = '{batch.model_version}'"), batch.scores
            )


class TestTable:
    def test_is_typed_and_explained(self, shop):
        write(shop, night(customers=20), table="scores")
        contract = {column.name: column for column in scores_table([30, 90]).columns}
        kinds = {pl.String(): "text", pl.Date(): "date", pl.Float64(): "double precision", pl.Int64(): "bigint"}

        columns = shop.ask(
            "SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum), attnotnull "
            "FROM pg_attribute WHERE attrelid = 'scores'::regclass AND attnum > 0 ORDER BY attnum"
        )

        assert columns == [(name, kinds[one.dtype], one.meaning, not one.nullable) for name, one in contract.items()]
        ((comment,),) = shop.ask("SELECT obj_description('scores'::regclass)")
        assert comment.startswith("Scores of repurchase: one row per requested customer")

    def test_holds_a_customer_once_a_night_and_model_and_finds_it(self, shop):
        write(shop, night(customers=20))

        indexes = shop.ask(
            "SELECT indisunique, array_agg(attname::text ORDER BY position) FROM pg_index, "
            "unnest(indkey) WITH ORDINALITY AS key(number, position) "
            "JOIN pg_attribute ON attnum = number WHERE attrelid = indrelid AND indrelid = 'scores'::regclass "
            "GROUP BY indexrelid, indisunique ORDER BY indisunique"
        )

        assert indexes == [(False, ["as_of", "customer_id"]), (True, ["customer_id", "as_of", "model_version"])]

    def test_lies_where_it_was_named(self, shop):
        shop.ask('CREATE SCHEMA "Marketing" AUTHORIZATION night')

        write(shop, night(customers=20), table="%22Marketing%22.%22Night%20%25%20Scores%22")
        again = write(shop, night(customers=20), table="%22Marketing%22.%22Night%20%25%20Scores%22")

        assert again.rows_replaced == 20
        assert same(stored(shop, '"Marketing"."Night % Scores"'), night(customers=20).scores)

    def test_new_horizons_are_added_and_old_ones_stay(self, shop):
        write(shop, night(horizons=(30,), version="1", customers=20))

        written = write(shop, night(horizons=(90,), version="2", customers=20))
        narrow = write(shop, night(horizons=(30,), version="3", customers=20))

        assert written.columns_added == tuple(
            f"{name}_90d" for name in ("p_repurchase", "churn_risk", "orders_expected", "spend_expected")
        )
        assert narrow.columns_added == ()
        ((words,),) = shop.ask(
            "SELECT col_description('scores'::regclass, attnum) FROM pg_attribute "
            "WHERE attrelid = 'scores'::regclass AND attname = 'p_repurchase_90d'"
        )
        assert words == "probability of a purchase day within 90 days"
        second = stored(shop, where="model_version = '2'")
        assert second["p_repurchase_30d"].null_count() == 20
        assert same(
            second.select(night(horizons=(90,)).scores.columns), night(horizons=(90,), version="2", customers=20).scores
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("ALTER TABLE scores DROP COLUMN clv", "it lacks clv"),
            ("ALTER TABLE scores ADD COLUMN city text", "it also has city"),
            ("ALTER TABLE scores ALTER COLUMN orders TYPE numeric", "orders is numeric, not bigint"),
            ("ALTER TABLE scores RENAME COLUMN action TO deed", "it lacks action; it also has deed"),
        ],
    )
    def test_other_columns_are_named_and_nothing_is_changed(self, shop, change, said):
        write(shop, night(horizons=(30,), customers=20))
        shop.ask(change)
        before = stored(shop)
        destination = find_scores_table(f"{shop.address}/scores")

        with pytest.raises(DeliveryError) as written:
            write(shop, night(horizons=(30, 90), customers=20, seed=1))
        with pytest.raises(DeliveryError) as foreseen:
            require_compatible_table(destination, horizons=(30, 90), further=pl.Schema(), seconds=0)

        assert said in str(written.value)
        assert str(foreseen.value) == str(written.value)
        assert same(stored(shop), before)

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ("a_view", "that is no table"),
            ("closed", "may not write to that table"),
            ("locked_up.scores", "may not make a table there"),
            ("nowhere.scores", "there is no schema nowhere"),
        ],
    )
    def test_what_may_not_be_written_is_known_beforehand(self, shop, table, said):
        shop.ask("CREATE VIEW a_view AS SELECT 1; CREATE SCHEMA locked_up; GRANT USAGE ON SCHEMA locked_up TO night")
        write(shop, night(customers=20), table="closed")
        shop.ask("ALTER TABLE closed OWNER TO admin")

        with pytest.raises(DeliveryError, match=said) as refused:
            require_compatible_table(
                find_scores_table(f"{shop.address}/{table}"), horizons=(30, 90), further=pl.Schema(), seconds=0
            )

        assert "\n" not in str(refused.value)

    def test_looking_beforehand_changes_nothing(self, shop):
        require_compatible_table(
            find_scores_table(f"{shop.address}/scores"), horizons=(30,), further=pl.Schema(), seconds=0
        )

        assert shop.ask("SELECT to_regclass('scores')") == [(None,)]

    @pytest.mark.parametrize("is_new", [True, False])
    def test_a_record_that_cannot_be_kept_leaves_the_table_as_it_was(self, shop, is_new):
        if not is_new:
            write(shop, night())

        def full(written):
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            write(shop, night(customers=100, seed=1), before_commit=full)

        if is_new:
            assert shop.ask("SELECT to_regclass('scores')") == [(None,)]
        else:
            assert same(stored(shop), night().scores)

    def test_a_customer_twice_is_refused_by_the_key(self, shop):
        write(shop, night(customers=20))
        twice = night(customers=20, seed=1)
        rows = pl.concat([twice.scores, twice.scores.head(1)])

        with pytest.raises(DeliveryError, match="duplicate key"):
            write(shop, Night(rows, twice.as_of, twice.model_version, twice.horizons))

        assert same(stored(shop), night(customers=20).scores)

    @pytest.mark.parametrize(
        ("out", "said"),
        [
            ("postgresql://anna:geheim@db/shop", "--out postgresql://anna@db/shop: no table is named"),
            ("postgresql://anna:geheim@db", "no table is named"),
            ("postgresql://anna:geheim@db/shop/a/b", "more than a database and a table"),
            ("postgresql://anna:geheim@db/shop/a.b.c", "'a.b.c' is no table's name"),
            ("sqlite:///scores.db", "not to other databases"),
            ("scores.duckdb", "not to other databases"),
        ],
    )
    def test_addresses_without_a_table(self, out, said):
        with pytest.raises(InputError) as refused:
            find_scores_table(out)

        assert said in str(refused.value)
        assert "geheim" not in str(refused.value)


SWALLOWS = "RETURN CASE WHEN NEW.customer_id < 'm' THEN NULL ELSE NEW END"
FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; END $$; "


class TestWhatArrives:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                FUNCTION.format(SWALLOWS)
                + "CREATE TRIGGER t BEFORE INSERT ON scores FOR EACH ROW EXECUTE FUNCTION f()",
                "stood",
            ),
            ("CREATE RULE r AS ON INSERT TO scores WHERE NEW.customer_id < 'm' DO INSTEAD NOTHING", "stood"),
            (
                FUNCTION.format("NEW.churn_risk_30d = 0; RETURN NEW")
                + "CREATE TRIGGER t BEFORE INSERT ON scores FOR EACH ROW EXECUTE FUNCTION f()",
                "other values",
            ),
            (
                FUNCTION.format("DELETE FROM scores WHERE ctid = NEW.ctid; RETURN NULL")
                + "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON scores DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION f()",
                "0 stood",
            ),
            (
                FUNCTION.format("RETURN NULL")
                + "CREATE TRIGGER t BEFORE DELETE ON scores FOR EACH ROW EXECUTE FUNCTION f()",
                "stood|duplicate key",
            ),
        ],
        ids=["trigger", "rule", "altered", "deferred", "kept"],
    )
    def test_rows_that_the_table_swallows_or_alters_undo_the_night(self, shop, change, said):
        write(shop, night())
        shop.ask(change)
        seen = []

        with pytest.raises(DeliveryError, match=said) as refused:
            write(shop, night(customers=100, seed=1), before_commit=seen.append)

        assert "The table is as it was" in str(refused.value)
        assert seen == []
        assert same(stored(shop), night().scores)

    @pytest.mark.parametrize("long", ["n" * 64, "ø" * 32])
    def test_names_that_would_be_cut_are_refused_beforehand(self, shop, long):
        destination = find_scores_table(f"{shop.address}/scores")

        with pytest.raises(DeliveryError, match="longer than the 63 bytes"):
            require_compatible_table(destination, horizons=(30,), further=pl.Schema({long: pl.String}), seconds=0)
        with pytest.raises(DeliveryError, match="longer than the 63 bytes"):
            require_compatible_table(
                find_scores_table(f"{shop.address}/{long}"), horizons=(30,), further=pl.Schema(), seconds=0
            )

    def test_a_column_that_the_server_does_not_take_is_refused_beforehand(self, shop):
        destination = find_scores_table(f"{shop.address}/scores")

        with pytest.raises(DeliveryError, match="ctid"):
            require_compatible_table(destination, horizons=(30,), further=pl.Schema({"ctid": pl.String}), seconds=0)


class TestFaults:
    @pytest.fixture
    def last_night(self, shop) -> pl.DataFrame:
        """What stands in the table before anything goes wrong."""
        write(shop, night(), seconds=0)
        return night().scores

    @staticmethod
    def cutting_copies(shop, monkeypatch, *, times: int) -> None:
        """Ends the session in the midst of COPY, so many times."""
        monkeypatch.setattr(tables, "_SLICE_ROWS", 25)
        whole = tables._copy_csv
        left = iter(range(times))

        def parts(scores: pl.DataFrame) -> Iterator[bytes]:
            for number, part in enumerate(whole(scores)):
                if number == 2 and next(left, None) is not None:
                    shop.kill()
                    shop.await_session_gone()
                yield part

        monkeypatch.setattr(tables, "_copy_csv", parts)

    def test_a_session_killed_in_mid_copy_is_tried_again(self, shop, last_night, monkeypatch, caplog):
        self.cutting_copies(shop, monkeypatch, times=2)

        written = write(shop, night(seed=1), seconds=60)

        assert (written.rows, written.rows_replaced) == (200, 200)
        assert same(stored(shop), night(seed=1).scores)
        assert caplog.text.count("trying again") == 2
        assert "geheim" not in caplog.text

    def test_killed_for_too_long_the_table_is_as_before(self, shop, last_night, monkeypatch):
        self.cutting_copies(shop, monkeypatch, times=1000)

        with pytest.raises(DeliveryError, match=r"tries within 1 s.*The table is as it was") as refused:
            write(shop, night(seed=1), seconds=1)

        assert same(stored(shop), last_night)
        assert "\n" not in str(refused.value)
        assert "geheim" not in str(refused.value)

    def test_killed_just_before_commit_nothing_is_doubled(self, shop, last_night):
        kills = iter([shop.kill])

        written = write(shop, night(seed=1), seconds=60, before_commit=lambda _: next(kills, lambda: None)())

        assert written.rows_replaced == 200
        assert same(stored(shop), night(seed=1).scores)

    def test_a_killed_first_night_leaves_no_table(self, shop):
        with pytest.raises(DeliveryError, match="1 try within 0 s"):
            write(shop, night(), seconds=0, before_commit=lambda _: shop.kill())

        assert shop.ask("SELECT to_regclass('scores')") == [(None,)]

    def test_a_deadlock_is_tried_again(self, shop, last_night, caplog):
        # Ours holds the table and waits for a row; theirs holds the row and waits for the table. Ours looks first.
        shop.ask("ALTER ROLE night SET deadlock_timeout = '2s'")
        with shop.other_session() as theirs:
            theirs.execute("SET deadlock_timeout = '60s'")
            theirs.execute("SELECT 1 FROM scores ORDER BY customer_id LIMIT 1 FOR UPDATE")

            def wait_for_each_other() -> None:
                shop.await_session("AND wait_event_type = 'Lock'")
                theirs.execute("UPDATE scores SET action = 'theirs' WHERE false")
                theirs.commit()

            other = shop.meanwhile(wait_for_each_other)
            written = write(shop, night(seed=1), seconds=60)
            other.join()

        assert "deadlock detected; trying again" in caplog.text
        assert written.rows_replaced == 200
        assert same(stored(shop), night(seed=1).scores)

    def test_a_lock_that_is_let_go_is_waited_for(self, shop, last_night):
        with shop.other_session() as theirs:
            theirs.execute("LOCK TABLE scores IN SHARE ROW EXCLUSIVE MODE")

            def let_go() -> None:
                shop.await_session("AND wait_event_type = 'Lock'")
                theirs.rollback()

            other = shop.meanwhile(let_go)
            write(shop, night(seed=1), seconds=60)
            other.join()

        assert same(stored(shop), night(seed=1).scores)

    def test_a_lock_that_is_not_let_go_is_said_in_a_line(self, shop, last_night):
        with shop.other_session() as theirs:
            theirs.execute("LOCK TABLE scores IN SHARE ROW EXCLUSIVE MODE")

            with pytest.raises(DeliveryError, match=r"lock timeout\. Another session holds a lock on it"):
                write(shop, night(seed=1), seconds=1)

            theirs.rollback()
        assert same(stored(shop), last_night)

    def test_readers_see_last_night_until_the_new_one_is_whole(self, shop, last_night):
        seen = []

        write(shop, night(seed=1), seconds=0, before_commit=lambda _: seen.append(stored(shop)))

        assert same(seen[0], last_night)
        assert same(stored(shop), night(seed=1).scores)
