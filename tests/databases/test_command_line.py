"""From a database to a database, through the command line: the same numbers as from file to file, and no password."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

PASSWORDS = ("geheim", "falsch")


@dataclass(frozen=True)
class Desk:
    """A home folder with a model, and the orders it was trained on: in a database and in a file."""

    home: Path
    orders: Path
    rows: pl.DataFrame
    said: str


@pytest.fixture(scope="module")
def trained(cluster, repurchase, simulate_orders: Callable[..., pl.DataFrame], tmp_path_factory) -> Desk:
    """A model trained from a table, with the password in the address."""
    folder = tmp_path_factory.mktemp("from-database")
    rows = simulate_orders(customers=220, days=200, arrival_days=120, seed=5).with_columns(
        pl.col("order_date").dt.strftime("%Y-%m-%d")
    )
    rows.write_csv(folder / "orders.csv")
    cluster.admin("CREATE DATABASE training OWNER night")
    shop = cluster.shop("training")
    shop.load("orders", rows, order_date="date", amount="numeric(12,2)")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        outcome = repurchase(
            "train", shop.with_password, "--table", "orders", "--home", folder / "home", "--horizon", 30, "--jobs", 1
        )
    cluster.admin("DROP DATABASE training WITH (FORCE)")
    assert outcome.code == 0, outcome.err
    return Desk(folder / "home", folder / "orders.csv", rows, outcome.out + outcome.err)


@pytest.fixture
def desk(trained, shop, tmp_path) -> Desk:
    """A copy that a test may change, beside a database that holds the orders."""
    shutil.copytree(trained.home / "models", tmp_path / "home" / "models")
    shop.load("orders", trained.rows, order_date="timestamp", amount="double precision")
    return Desk(tmp_path / "home", trained.orders, trained.rows, trained.said)


def stored(shop, table="scores"):
    return shop.read(table=table).rows.sort("customer_id")


def record(desk, shop, table="scores"):
    return json.loads((desk.home / "outputs" / f"{shop.name}.{table}.run.json").read_text())


class TestScores:
    def test_are_those_that_a_file_gets(self, repurchase, desk, shop, tmp_path):
        by_table = repurchase(
            "score",
            shop.with_password,
            "--table",
            "orders",
            "--home",
            desk.home,
            "--out",
            f"{shop.with_password}/scores",
        )
        by_file = repurchase("score", desk.orders, "--home", desk.home, "--out", tmp_path / "scores.parquet")

        assert (by_table.code, by_file.code) == (0, 0), by_table.err
        delivered = pl.read_parquet(tmp_path / "scores.parquet").sort("customer_id")
        assert delivered.height > 100
        assert stored(shop).schema == delivered.schema
        assert stored(shop).equals(delivered)

    def test_twice_leave_the_same_rows_and_say_where(self, repurchase, desk, shop):
        words = ["score", desk.orders, "--home", desk.home, "--out", f"{shop.address}/scores"]
        first = repurchase(*words)
        before = stored(shop)

        again = repurchase(*words)

        assert stored(shop).equals(before)
        assert f"Scores: {shop.address}/scores (0 rows of the same day and model replaced)" in first.out
        assert f"({before.height} rows of the same day and model replaced)" in again.out
        assert f"Record: {desk.home}/outputs/{shop.name}.scores.run.json" in again.out
        run = record(desk, shop)
        assert run["outputs"]["scores"]["path"] == f"{shop.address}/scores"
        assert run["outputs"]["scores"]["rows"] == before.height
        assert {path.name for path in (desk.home / "outputs").iterdir()} == {f"{shop.name}.scores.run.json"}

    def test_what_was_set_aside_lies_beside_the_record(self, repurchase, desk, shop):
        shop.ask("INSERT INTO orders SELECT * FROM orders LIMIT 3")

        outcome = repurchase(
            "score",
            shop.address,
            "--query",
            "select * from orders",
            "--home",
            desk.home,
            "--out",
            f"{shop.address}/scores",
        )

        assert outcome.code == 0, outcome.err
        assert pl.read_parquet(desk.home / "outputs" / f"{shop.name}.scores.quarantine.parquet").height == 3
        (file,) = record(desk, shop)["orders"]["files"]
        assert (file["path"], file["query"], file["rows"]) == (
            shop.address,
            "select * from orders",
            desk.rows.height + 3,
        )

    def test_a_customer_list_carries_its_columns(self, repurchase, desk, shop, tmp_path):
        (tmp_path / "list.csv").write_text("customer_id,City,segment\nc000001,Oslo,a\nnobody,Bergen,b\n")
        words = ["--customers", tmp_path / "list.csv", "--home", desk.home]

        outcome = repurchase("score", desk.orders, *words, "--out", f"{shop.address}/vip")

        assert outcome.code == 0, outcome.err
        assert stored(shop, "vip").select("customer_id", "status", "City", "list_segment").rows() == [
            ("c000001", "scored", "Oslo", "a"),
            ("nobody", "no_history", "Bergen", "b"),
        ]

    def test_check_reads_and_writes_nothing(self, repurchase, desk, shop):
        by_table = repurchase("check", shop.address, "--table", "orders", "--home", desk.home)
        by_file = repurchase("check", desk.orders, "--home", desk.home)

        assert (by_table.code, by_table.out) == (0, by_file.out)


class TestPasswords:
    def test_stand_nowhere_after_training(self, trained):
        kept = [path for path in trained.home.rglob("*") if path.is_file()]

        assert any(path.name == "mlflow.db" for path in kept)
        assert [path for path in kept if b"geheim" in path.read_bytes()] == []
        assert "geheim" not in trained.said

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("", ""),
            ("geheim", "falsch"),
            ("127.0.0.1", "no-such-host.invalid"),
            ("%40", "@/"),
            ("%2F", "#"),
            (":geheim", ""),
        ],
        ids=["all right", "wrong password", "wrong host", "not written out", "a sign in it", "no password"],
    )
    @pytest.mark.parametrize("table", ["orders", "wrong_table"])
    def test_stand_in_no_message_log_or_record(self, repurchase, desk, shop, old, new, table, capfd, caplog):
        address = shop.with_password.replace(old, new) if old else shop.with_password

        read = repurchase("score", address, "--table", table, "--home", desk.home, "--out", f"{address}/scores")
        write = repurchase("score", desk.orders, "--home", desk.home, "--out", f"{address}/scores")

        said = f"{read} {write} {capfd.readouterr()} {caplog.text}"
        kept = b"".join(path.read_bytes() for path in desk.home.rglob("*") if path.is_file())
        assert [word for word in PASSWORDS if word in said or word.encode() in kept] == []
        if old:
            assert read.line.startswith("repurchase: ")
            assert write.line.startswith("repurchase: ")

    def test_may_stand_in_a_password_file(self, repurchase, desk, shop, tmp_path, monkeypatch):
        from urllib.parse import unquote

        password = unquote(shop.with_password.partition("night:")[2].partition("@")[0])
        monkeypatch.delenv("PGPASSWORD")
        (tmp_path / "pass").write_text(f"127.0.0.1:*:*:night:{password}\n")
        (tmp_path / "pass").chmod(0o600)
        without = repurchase("check", shop.address, "--table", "orders", "--home", desk.home)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))

        with_file = repurchase("check", shop.address, "--table", "orders", "--home", desk.home)

        assert "Set PGPASSWORD, or name a password file in PGPASSFILE" in without.line
        assert with_file.code == 0


class TestRefusals:
    @pytest.mark.parametrize("command", ["check", "train", "score"])
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "neither --query nor --table"),
            (["--query", "select 1", "--table", "orders"], "both --query and --table"),
            (["--query", "drop table orders"], "--query must be one SELECT or WITH"),
            (["--query", "select 1; select 2"], "Several statements"),
            (["--table", "nothing"], 'relation "nothing" does not exist'),
        ],
    )
    def test_are_one_line(self, repurchase, desk, shop, tmp_path, command, words, said):
        out = ["--out", tmp_path / "scores.csv"] if command == "score" else []

        outcome = repurchase(command, shop.address, *words, *out, "--home", desk.home)

        assert said in outcome.line
        assert not (tmp_path / "scores.csv").exists()

    def test_a_query_for_a_file_is_refused(self, repurchase, desk):
        outcome = repurchase("check", desk.orders, "--query", "select 1", "--home", desk.home)

        assert "--query is for databases, and this is none" in outcome.line

    def test_another_table_in_the_way_is_known_before_orders_are_read(self, repurchase, desk, shop):
        outcome = repurchase("score", desk.orders, "--home", desk.home, "--out", f"{shop.address}/orders")

        assert "other columns than these scores: it lacks" in outcome.line
        assert "Reading" not in outcome.err
        assert not (desk.home / "outputs").exists()

    def test_a_server_that_is_away_is_one_line(self, repurchase, desk, shop, cluster):
        cluster.stop()
        try:
            words = ["--home", desk.home, "--retry-seconds", 1]
            read = repurchase("check", shop.with_password, "--table", "orders", *words)
            write = repurchase("score", desk.orders, "--out", f"{shop.with_password}/scores", *words)
        finally:
            cluster.start()

        for outcome in (read, write):
            assert "refused" in outcome.line
            assert "within 1 s" in outcome.line
            assert "geheim" not in outcome.err
        assert not (desk.home / "outputs").exists()
