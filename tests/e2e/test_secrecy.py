"""Where customers are, where they are not, who may read it, and how they are forgotten: through the command line."""

import gzip
import io
import json
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from repurchase.jobs.forget import SOURCES_NOTE
from repurchase.registry.store import Store, open_store

JSON = ("--log-format", "json")
MARK = "ZQ7XW-"
KEY = "a key of at least sixteen bytes"


@dataclass(frozen=True)
class Shop:
    """A home folder trained on orders whose ids are found wherever they are."""

    home: Path
    orders: Path
    ids: tuple[str, ...]


@pytest.fixture(scope="module")
def built(repurchase, simulate_orders, tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("secrecy")
    orders = simulate_orders(customers=160, days=300, arrival_days=150)
    orders = orders.with_columns(
        pl.format(MARK + "{}", "customer_id").alias("customer_id"), pl.col("order_date").dt.strftime("%Y-%m-%d")
    )
    gifts = orders.head(2).with_columns(order_id=pl.lit("gift"), amount=pl.lit(0.0))
    pl.concat([orders, gifts]).select("customer_id", "order_id", "order_date", "amount").write_csv(
        folder / "orders.csv"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        trained = repurchase(
            "train", folder / "orders.csv", "--home", folder / "home", "--horizon", 30, "--jobs", 1, "--seed", 1
        )
    assert trained.code == 0, trained.err
    repurchase("models", "promote", 1, "--home", folder / "home", "--force")
    return Shop(folder / "home", folder / "orders.csv", tuple(orders["customer_id"].unique().sort()))


@pytest.fixture
def shop(built: Shop, tmp_path: Path) -> Shop:
    """A copy with models alone, without a store to track in."""
    shutil.copytree(built.home / "models", tmp_path / "home" / "models")
    (tmp_path / "home" / "repurchase.toml").write_text("tracking_seconds = 0\n")
    return Shop(tmp_path / "home", built.orders, built.ids)


def contents(path: Path) -> Iterator[bytes]:
    """Everything that a file says, packed or not."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    elif content.startswith(b"PAR1"):
        yield pl.read_parquet(content).write_ndjson().encode()
    elif content.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as database:
            yield "\n".join(database.iterdump()).encode()


def naming_customers(folder: Path) -> list[str]:
    mark = MARK.encode()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    return [str(path.relative_to(folder)) for path in files if any(mark in part for part in contents(path))]


def scorings(store: Store) -> list[object]:
    runs = store.client.search_runs([store.experiment_id])
    return [run for run in runs if run.data.tags.get("mlflow.source.name") == "repurchase score"]


def test_the_search_finds_what_is_packed(tmp_path):
    text = f'{{"id": "{MARK}1"}}'
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x", text)
    pl.DataFrame({"id": [f"{MARK}{n}" for n in range(99)]}).write_parquet(tmp_path / "c.parquet")
    with closing(sqlite3.connect(tmp_path / "d.db")) as database:
        database.execute("CREATE TABLE t AS SELECT ? AS id", (text,))
        database.commit()
    (tmp_path / "e.json").write_text("{}")

    assert naming_customers(tmp_path) == ["a.gz", "b.zip", "c.parquet", "d.db"]


class TestNoCustomersWhereNoneBelong:
    def test_models_and_mlflow_hold_none_after_training_scoring_and_monitoring(self, repurchase, built, tmp_path):
        home, out = tmp_path / "home", tmp_path / "outputs" / "scores.parquet"
        out.parent.mkdir()
        shutil.copytree(built.home, home)
        (home / "repurchase.toml").write_text("tracking_seconds = 60\n")
        assert repurchase("models", "relocate", "--home", home).code == 0
        listed = tmp_path / "list.csv"
        listed.write_text("\n".join(["customer_id", *built.ids, built.ids[0]]))
        asked = ("--home", home, "--customers", listed, "--as-of", "2024-08-15", "--out", out)

        outcomes = [
            repurchase("score", built.orders, *asked),
            repurchase("monitor", out, built.orders, "--home", home),
        ]

        assert [outcome.code for outcome in outcomes] == [0, 0], [outcome.err for outcome in outcomes]
        assert naming_customers(tmp_path / "outputs") == [
            "scores.parquet",
            "scores.quarantine.parquet",
            "scores.run.json",
        ]
        assert naming_customers(home / "models") == []
        assert naming_customers(home / "mlruns") == []
        assert len(scorings(open_store(home))) == 1
        assert not list((home / "mlruns").glob("pending/*.json"))

    def test_what_waits_for_mlflow_names_none(self, repurchase, built, shop, tmp_path):
        (shop.home / "repurchase.toml").unlink()
        listed = tmp_path / "list.csv"
        listed.write_text(f"customer_id\n{built.ids[0]}\n{built.ids[0]}\n")
        out = tmp_path / "scores.csv"

        outcome = repurchase("score", shop.orders, "--home", shop.home, "--out", out, "--customers", listed, *JSON)

        assert outcome.code == 0
        assert out.exists()
        (warned,) = [line for line in map(json.loads, outcome.err.splitlines()) if line["level"] == "warning"]
        assert "This run is not in MLflow yet: there is no MLflow store in the home folder." in warned["message"]
        (pending,) = (shop.home / "mlruns" / "pending").glob("*.json")
        assert json.loads(pending.read_text())["params"]["as_of"] == "2024-10-26"
        assert naming_customers(shop.home) == []


class TestRights:
    def test_files_are_0640_and_folders_0750(self, repurchase, built, shop, tmp_path):
        out = tmp_path / "new" / "outputs" / "scores.parquet"
        (tmp_path / "list.csv").write_text(f"customer_id\n{built.ids[0]}\n")
        commands = [
            ("score", shop.orders, "--home", shop.home, "--out", out),
            ("score", shop.orders, "--home", shop.home, "--out", out.with_name("early.csv"), "--as-of", "2024-08-15"),
            ("monitor", out.with_name("early.csv"), shop.orders, "--home", shop.home),
            ("report", out, "--out", out.with_name("report.html")),
            ("models", "export", "champion", "--home", shop.home, "--out", out.with_name("model.joblib")),
            ("models", "promote", "1", "--home", shop.home),
            ("forget", built.ids[0], "--home", tmp_path / "new"),
        ]

        outcomes = [repurchase(*words) for words in commands]

        assert [outcome.code for outcome in outcomes] == [0] * len(outcomes), [outcome.err for outcome in outcomes]
        made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
        assert len(made) > 8
        assert {path.name for path in made if path.is_file()} >= {"scores.quarantine.parquet", "early.monitor.json"}
        assert wrong_modes(made) == {}

    def test_of_training_too(self, built):
        assert wrong_modes([built.home, *built.home.rglob("*")]) == {}

    def test_whoever_is_stricter_stays_so_and_the_process_is_as_before(self, repurchase, shop, tmp_path):
        import os

        before = os.umask(0o077)
        try:
            repurchase("score", shop.orders, "--home", shop.home, "--out", tmp_path / "s.csv")
            assert os.umask(0o077) == 0o077
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "s.csv").stat().st_mode) == 0o600


def wrong_modes(made: list[Path]) -> dict[str, str]:
    usual = {path: 0o750 if path.is_dir() else 0o640 for path in made}
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in made}
    return {str(path): oct(mode) for path, mode in modes.items() if mode != usual[path]}


class TestPseudonyms:
    def test_no_plain_id_is_in_any_output_and_the_rest_is_the_same(
        self, repurchase, built, shop, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("REPURCHASE_ID_KEY", KEY)
        listed = tmp_path / "list.csv"
        mine = built.ids[3], built.ids[0], built.ids[3], MARK + "unknown"
        listed.write_text("customer_id,also,city\n" + "".join(f"{one},{one},Bø\n" for one in mine))
        asked = ("score", shop.orders, "--home", shop.home, "--customers", listed)
        assert repurchase(*asked, "--out", tmp_path / "plain.parquet").code == 0

        outcome = repurchase(*asked, "--out", tmp_path / "veiled" / "s.parquet", "--pseudonyms")

        assert outcome.code == 0, outcome.err
        assert naming_customers(tmp_path / "veiled") == []
        assert all(KEY.encode() not in path.read_bytes() for path in (tmp_path / "veiled").iterdir())
        plain, veiled = (pl.read_parquet(tmp_path / name) for name in ("plain.parquet", "veiled/s.parquet"))
        assert veiled["customer_id"].is_sorted()
        assert veiled["also"].to_list() == veiled["customer_id"].to_list()
        assert veiled["city"].to_list() == ["Bø"] * 3
        by = [name for name in plain.columns if name not in ("customer_id", "also")]
        assert veiled.select(by).sort("spend_total").equals(plain.select(by).sort("spend_total"))
        run = json.loads((tmp_path / "veiled" / "s.run.json").read_text())
        assert run["duplicates"] == [one for one in veiled["customer_id"] if one in run["duplicates"]]
        assert len(run["duplicates"]) == 1
        aside = pl.read_parquet(tmp_path / "veiled" / "s.quarantine.parquet")
        assert set(aside["customer_id"].str.len_chars()) == {32}

    def test_the_same_key_gives_the_same_ids_and_monitoring_finds_them(self, repurchase, shop, tmp_path, monkeypatch):
        (tmp_path / "key").write_text(KEY + "\n")
        monkeypatch.setenv("REPURCHASE_ID_KEY_FILE", str(tmp_path / "key"))
        (shop.home / "repurchase.toml").write_text("tracking_seconds = 0\npseudonyms = true\n")
        early, now = tmp_path / "early.csv", tmp_path / "now.csv"
        for out, words in ((early, ("--as-of", "2024-08-15")), (now, ())):
            assert repurchase("score", shop.orders, "--home", shop.home, "--out", out, *words).code == 0
        ids = [set(pl.read_csv(out)["customer_id"]) for out in (early, now)]
        assert ids[0] <= ids[1]

        seen = repurchase("monitor", early, shop.orders, "--home", shop.home)

        assert seen.code == 0, seen.err
        record = json.loads(early.with_name("early.monitor.json").read_text())
        assert record["customers"] == {"compared": len(ids[0]), "gone": 0}
        monkeypatch.delenv("REPURCHASE_ID_KEY_FILE")
        refused = repurchase("monitor", early, shop.orders, "--home", shop.home)
        assert refused.code == 2
        assert "its ids are keyed hashes" in refused.err

    def test_without_a_key_nothing_is_read_or_written(self, repurchase, shop, tmp_path, monkeypatch):
        monkeypatch.setenv("REPURCHASE_ID_KEY", "too short")

        outcome = repurchase(
            "score", "nowhere.csv", "--home", shop.home, "--out", tmp_path / "s.csv", "--pseudonyms", *JSON
        )

        assert outcome.code == 2
        assert "at least 16 are needed" in outcome.err
        assert "too short" not in outcome.err
        assert not (tmp_path / "s.csv").exists()


class TestForget:
    def test_a_customer_is_gone_from_everything_and_the_page_is_made_again(self, repurchase, shop, tmp_path):
        outputs = shop.home / "outputs"
        listed = shop.home / "vip.csv"
        listed.write_text(f"customer_id;city\n{shop.ids[0]};Bø\n{shop.ids[1]};Ål\n{shop.ids[0]};Bø\n")
        asked = ("score", shop.orders, "--home", shop.home)
        assert repurchase(*asked, "--out", outputs / "scores.parquet").code == 0
        assert repurchase(*asked, "--out", outputs / "vip.csv", "--customers", listed).code == 0
        assert repurchase("report", outputs / "vip.csv", "--out", outputs / "report.html").code == 0
        drawn = ("--orders", shop.orders, "--out", outputs / "drawn.html")
        assert repurchase("report", outputs / "scores.parquet", "--home", shop.home, *drawn).code == 0
        shutil.copy(outputs / "report.html", shop.home / "far.html")
        names = pl.read_parquet(outputs / "scores.parquet")["customer_id"].to_list()

        outcome = repurchase("forget", f" {shop.ids[0]}", "--home", shop.home)
        again = "repurchase report outputs/scores.parquet --orders ORDERS --out outputs/drawn.html"

        assert outcome.code == 0, outcome.err
        assert outcome.out.splitlines() == [
            "outputs/scores.quarantine.parquet: 2 rows removed.",
            "outputs/scores.parquet: 1 row removed.",
            "outputs/vip.quarantine.parquet: 2 rows removed.",
            "outputs/vip.csv: 1 row removed.",
            "outputs/vip.run.json: 1 id removed.",
            "far.html: removed, since the scores it was made from are not there.",
            f"outputs/drawn.html: made again from scores.parquet, without purchases; `{again}` draws them again.",
            "outputs/report.html: made again from vip.csv.",
            "vip.csv: 2 rows removed.",
            SOURCES_NOTE,
        ]
        kept = [path for path in shop.home.rglob("*") if path.is_file()]
        assert [path for path in kept if any(shop.ids[0].encode() in part for part in contents(path))] == []
        assert pl.read_parquet(outputs / "scores.parquet")["customer_id"].to_list() == names[1:]
        assert listed.read_text() == f"customer_id;city\n{shop.ids[1]};Ål\n"
        page = (outputs / "report.html").read_text()
        assert shop.ids[1] in page
        assert "belongs to other scores" not in page
        unknown = repurchase("forget", shop.ids[0], "--home", shop.home)
        assert (unknown.code, unknown.out, len(unknown.err.splitlines())) == (2, "", 1)
        assert "nobody was found, nothing was erased" in unknown.err
        again = repurchase("score", shop.orders, "--home", shop.home, "--out", outputs / "scores.parquet")
        assert again.code == 0
        assert pl.read_parquet(outputs / "scores.parquet")["customer_id"].to_list() == names

    def test_nobody_is_misuse_and_no_id_is_in_a_log_line(self, repurchase, shop, tmp_path):
        out = shop.home / "outputs" / "scores.parquet"
        assert repurchase("score", shop.orders, "--home", shop.home, "--out", out).code == 0

        refused = [repurchase("forget", *ids, "--home", shop.home) for ids in ((), ("",))]
        done = repurchase("forget", shop.ids[5], "--home", shop.home, *JSON)

        assert [(one.code, len(one.err.splitlines())) for one in refused] == [(2, 1), (2, 1)]
        assert done.code == 0
        assert shop.ids[5] not in done.err
