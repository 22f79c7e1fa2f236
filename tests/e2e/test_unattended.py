"""What a scheduler sees: lines of JSON, exit codes, a dry run, drift, and what came of earlier scores."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

import repurchase.cli.app
from repurchase.registry.bundle import MANIFEST_DIGEST_KEY, _manifest_digest
from repurchase.storage.json_files import json_bytes

PAST = "1998-01-31"


def commands(group: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name)


COMMANDS = sorted(commands(typer.main.get_command(repurchase.cli.app.app)))


def lines_of(outcome: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.err.splitlines()]


@pytest.fixture(scope="module")
def past(repurchase, trained, tmp_path_factory) -> Path:
    """Scores of a day whose next 90 days are known; its model has seen them, which monitoring says."""
    out = tmp_path_factory.mktemp("past") / "scores.parquet"
    outcome = repurchase("score", trained.orders, "--home", trained.home, "--model", 1, "--as-of", PAST, "--out", out)
    assert outcome.code == 0, outcome.err
    return out


@pytest.fixture
def own(past: Path, tmp_path: Path) -> Path:
    """A copy to write beside."""
    shutil.copytree(past.parent, tmp_path / "past")
    return tmp_path / "past" / "scores.parquet"


@pytest.fixture
def orders_after(sample: pl.DataFrame, tmp_path: Path):
    """A function that changes the orders after the day of the scores."""

    def make(change) -> Path:
        is_past = pl.col("order_date") <= PAST
        path = tmp_path / "since.csv"
        pl.concat([sample.filter(is_past), change(sample.filter(~is_past))]).write_csv(path)
        return path

    return make


class TestJsonLines:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_every_command_takes_it(self, repurchase, words):
        asked = repurchase(*words, "--help")

        assert "--log-format" in asked.out
        refused = repurchase(*words, "--log-format", "json", "--no-such-option")
        assert refused.code == 2
        assert [(line["event"], line["exit_code"]) for line in lines_of(refused)] == [("error", 2), ("end", 2)]

    def test_each_step_is_a_line_and_stdout_is_as_ever(self, repurchase, trained, tmp_path):
        words = ("score", trained.orders, "--home", trained.home, "--model", 1, "--out", tmp_path / "s.parquet")
        usual = repurchase(*words)

        outcome = repurchase(*words, "--log-format", "json")

        assert (outcome.code, outcome.out) == (0, usual.out)
        lines = lines_of(outcome)
        steps = {line["step"]: line for line in lines if line["event"] == "step"}
        assert list(steps) == [
            "Reading and cleaning orders",
            "Scoring",
            "Measuring repeat business",
            "Looking for drift",
            "Comparing with the last run",
            "Writing",
        ]
        assert all({"time", "level", "event", "step", "seconds", "counts"} <= set(line) for line in steps.values())
        read = [(line["role"], line["column"], line["meaning"]) for line in lines if line["event"] == "reading"]
        assert read[0] == ("customer_id", "customer_id", "customer_id")
        assert read[-1] == ("money", "amount", "money_row")
        assert read == [
            (role["role"], role["column"], role["meaning"]["key"])
            for role in json.loads((tmp_path / "s.run.json").read_text())["orders"]["reading"]["roles"]
        ]
        run = json.loads((tmp_path / "s.run.json").read_text())
        assert steps["Reading and cleaning orders"]["counts"]["rows"] == run["cleaning"]["n_raw"]
        assert steps["Scoring"]["counts"]["customers"] == run["counts"]["asked"]
        assert (lines[-1]["event"], lines[-1]["exit_code"]) == ("end", 0)

    def test_no_customer_is_in_a_line(self, repurchase, trained, sample, tmp_path):
        cut = tmp_path / "cut.csv"
        cut.write_text(sample.head(400).write_csv() + "17329,")
        twice = tmp_path / "twice.csv"
        repurchase("score", trained.orders, "--home", trained.home, "--out", twice)
        rows = pl.read_csv(twice, infer_schema=False)
        pl.concat([rows, rows.head(1)]).write_csv(twice)
        ids = {*sample["customer_id"], "17329"}

        outcomes = [
            repurchase("score", trained.orders, "--home", trained.home, "--out", tmp_path / "s.csv", *JSON),
            repurchase("check", cut, "--home", tmp_path, *JSON),
            repurchase("report", twice, "--out", tmp_path / "page.html", *JSON),
        ]

        assert [outcome.code for outcome in outcomes] == [0, 2, 2]
        assert "…" in outcomes[1].err
        assert "…" in outcomes[2].err
        for outcome in outcomes:
            said = {word.strip(".,:;()") for line in lines_of(outcome) for word in line["message"].split()}
            assert said & ids == set()
        assert rows["customer_id"][0] in repurchase("report", twice, "--out", tmp_path / "page.html").err

    def test_no_password_is_in_a_line(self, repurchase, home, trained, tmp_path):
        address = "postgresql://ann:s3cret@127.0.0.1:1/shop"

        outcomes = [
            repurchase("check", address, "--table", "orders", "--retry-seconds", 0, "--home", tmp_path, *JSON),
            repurchase("score", trained.orders, "--home", home, "--out", f"{address}.scores", address, *JSON),
        ]

        assert [outcome.code for outcome in outcomes] == [2, 2]
        assert "s3cret" not in "".join(outcome.err + outcome.out for outcome in outcomes)
        assert all(lines_of(outcome) for outcome in outcomes)

    def test_a_defect_is_a_line_and_exit_code_1(self, repurchase, monkeypatch, tmp_path):
        def broken(*args: object, **kwargs: object) -> None:
            raise ZeroDivisionError("customer 17")

        monkeypatch.setattr("repurchase.jobs.order_intake.check_orders", broken)

        outcome = repurchase("check", "orders.csv", "--home", tmp_path, *JSON)

        assert outcome.code == 1
        error, end = lines_of(outcome)
        assert (error["event"], error["error"], end["exit_code"]) == ("error", "ZeroDivisionError", 1)
        assert "customer 17" not in outcome.err

    def test_an_interruption_is_a_line(self, repurchase, monkeypatch, tmp_path):
        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("repurchase.jobs.order_intake.check_orders", interrupted)

        outcome = repurchase("check", "orders.csv", "--home", tmp_path, *JSON)

        assert outcome.code == 130
        assert lines_of(outcome)[0]["error"] == "Interrupted"


JSON = ("--log-format", "json")


class TestDryRun:
    def test_score_says_everything_and_writes_nothing(self, repurchase, trained, home, snapshot, tmp_path):
        before = snapshot(tmp_path)

        outcome = repurchase(
            "score",
            trained.orders,
            "--home",
            home,
            "--model",
            1,
            "--out",
            tmp_path / "new" / "s.csv",
            "--dry-run",
        )

        assert outcome.code == 0, outcome.err
        assert snapshot(tmp_path) == before
        customers = pl.read_csv(trained.orders, infer_schema=False).filter(pl.col("amount").cast(float) > 0)
        assert f"Would score {customers['customer_id'].n_unique():,} customers as of 1998-06-30" in outcome.out
        assert "by version 1 (grade " in outcome.out
        assert f"Would write {tmp_path / 'new' / 's.csv'}, which can be written." in outcome.out
        assert outcome.out.endswith("This was a dry run: nothing was written.\n")

    def test_a_list_is_counted(self, repurchase, trained, sample, tmp_path):
        (tmp_path / "list.csv").write_text(f"customer_id\n{sample['customer_id'][0]}\n777777\n")

        outcome = repurchase(
            "score", trained.orders, "--home", trained.home, "--out", tmp_path / "s.csv",
            "--customers", tmp_path / "list.csv", "--dry-run",
        )  # fmt: skip

        assert "Would score 1 customers" in outcome.out
        assert "1 without history" in outcome.out

    def test_train_fits_nothing(self, repurchase, trained, snapshot, tmp_path):
        before = snapshot(tmp_path)

        outcome = repurchase("train", trained.orders, "--home", tmp_path, "--horizon", 90, "--dry-run")

        assert outcome.code == 0, outcome.err
        assert snapshot(tmp_path) == before
        assert "90 days ahead, judged on 3 earlier days" in outcome.out

    @pytest.mark.parametrize(
        ("out", "words"),
        [("s.xlsx", "the extension must be"), ("there", "that is a folder"), ("file/s.csv", "no right to write")],
    )
    def test_what_would_fail_fails(self, repurchase, trained, tmp_path, out, words):
        (tmp_path / "there.csv").mkdir()
        (tmp_path / "file").write_text("")
        place = tmp_path / ("there.csv" if out == "there" else out)

        outcome = repurchase("score", trained.orders, "--home", trained.home, "--out", place, "--dry-run")

        assert outcome.code == 2
        assert words in outcome.err

    def test_a_damaged_model_is_found(self, repurchase, trained, home, tmp_path):
        (home / "models" / "1" / "tiers.json").write_text("{}")

        outcome = repurchase(
            "score", trained.orders, "--home", home, "--model", 1, "--out", tmp_path / "s.csv", "--dry-run"
        )

        assert outcome.code == 2
        assert "changed since it was written" in outcome.err


class TestDrift:
    @pytest.fixture
    def dear(self, sample, tmp_path) -> Path:
        late = pl.col("order_date") > "1998-05-15"
        sample.with_columns(pl.when(late).then(pl.col("amount") * 20).otherwise("amount")).write_csv(
            tmp_path / "dear.csv"
        )
        return tmp_path / "dear.csv"

    @pytest.mark.parametrize(("flags", "code"), [((), 0), (("--fail-on-drift",), 3)])
    def test_it_is_said_and_exits_with_3_where_asked(self, repurchase, trained, dear, tmp_path, flags, code):
        out = tmp_path / "s.parquet"

        outcome = repurchase("score", dear, "--home", trained.home, "--out", out, *flags, *JSON)

        assert outcome.code == code
        assert "The orders have drifted" in outcome.out
        run = json.loads((tmp_path / "s.run.json").read_text())
        assert run["drift"]["baskets"]["level"] == "drifted"
        assert pl.read_parquet(out).height == run["counts"]["asked"]
        (line,) = [line for line in lines_of(outcome) if line["event"] == "drift"]
        assert (line["level"], line["drift"]) == ("warning", "drifted")
        assert lines_of(outcome)[-1]["exit_code"] == code

    def test_the_training_orders_themselves_are_steady(self, repurchase, trained, tmp_path):
        outcome = repurchase(
            "score", trained.orders, "--home", trained.home, "--out", tmp_path / "s.csv", "--fail-on-drift"
        )

        assert outcome.code == 0
        assert "The orders are like the orders up to 30 June 1998" in outcome.out
        drift = json.loads((tmp_path / "s.run.json").read_text())["drift"]
        assert drift["psi_max"] == 0

    def test_a_model_without_a_profile_still_scores_and_says_so(self, repurchase, trained, home, scored, tmp_path):
        strip_profile(home / "models" / "1")

        outcome = repurchase(
            "score", trained.orders, "--home", home, "--model", 1, "--out", tmp_path / "s.parquet", "--fail-on-drift"
        )

        assert outcome.code == 0, outcome.err
        assert "Drift of the orders is not known: version 1 was kept without a profile" in outcome.out
        assert (tmp_path / "s.parquet").read_bytes() == scored.read_bytes()


def strip_profile(bundle: Path) -> None:
    """Make of a bundle what an earlier version would have written."""
    (bundle / "profile.json").unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]["profile.json"], manifest[MANIFEST_DIGEST_KEY]
    whole = {**manifest, MANIFEST_DIGEST_KEY: _manifest_digest(manifest)}
    (bundle / "manifest.json").write_bytes(json_bytes(whole, name="manifest.json"))


class TestMonitor:
    def test_scores_that_came_true_keep_their_model(self, repurchase, trained, own, snapshot):
        models = snapshot(trained.home / "models")

        outcome = repurchase("monitor", own, trained.orders, "--home", trained.home, "--fail-on-drift")

        assert outcome.code == 0, outcome.out + outcome.err
        assert "Keep the model: its probabilities for 30, 90 days were right" in outcome.out
        assert (
            "the model has seen orders up to 30 June 1998, later than 31 January 1998: this is no test of it"
            in outcome.out
        )
        record = json.loads(own.with_suffix(".monitor.json").read_text())
        assert record["mlflow"]["run_id"]
        assert [row["passed"] for row in record["horizons"]] == [True, True]
        assert record["horizons"][1]["then"]["grade"] in "ABCD"
        assert not record["ranges"]["clv"]["passed"]
        assert snapshot(trained.home / "models") == models

    def test_what_came_is_what_the_orders_say(self, repurchase, trained, own, sample):
        repurchase("monitor", own, trained.orders, "--home", trained.home)

        row = json.loads(own.with_suffix(".monitor.json").read_text())["horizons"][0]
        window = sample.filter(pl.col("order_date").is_between(pl.lit(PAST), pl.lit("1998-03-02"), closed="right"))
        known = pl.read_parquet(own)["customer_id"]
        bought = window.filter((pl.col("amount") > 0) & pl.col("customer_id").is_in(known.implode()))
        assert row["n_bought"] == bought["customer_id"].n_unique()
        assert row["orders"]["came"] == bought.select("customer_id", "order_date").unique().height
        assert row["spend"]["came"] == pytest.approx(bought["amount"].sum())

    def test_a_season_that_did_not_come_says_train_again_and_why(self, repurchase, trained, own, orders_after):
        quiet = orders_after(lambda later: later.filter(pl.col("customer_id").cast(int) % 3 == 0))

        outcome = repurchase(
            "monitor", own, quiet, "--home", trained.home, "--as-of", "1998-06-30", "--fail-on-drift", *JSON
        )

        assert outcome.code == 3, outcome.out
        record = json.loads(own.with_suffix(".monitor.json").read_text())
        assert record["advice"]["retrain"]
        assert "calibration" in {reason["kind"] for reason in record["advice"]["reasons"]}
        assert "90 days ahead probabilities were off by" in outcome.out

    def test_the_record_is_shown_in_the_report(self, repurchase, trained, own, tmp_path):
        repurchase("monitor", own, trained.orders, "--home", trained.home)

        repurchase("report", own, "--out", tmp_path / "page.html")

        assert "Since then: what came" in (tmp_path / "page.html").read_text()

    def test_a_locked_store_is_a_warning_and_the_record_is_whole(self, repurchase, trained, own, tmp_path, monkeypatch):
        home = tmp_path / "home"
        shutil.copytree(trained.home, home)
        assert repurchase("models", "relocate", "--home", home).code == 0
        monkeypatch.setattr("repurchase.storage.atomic_files.LOCK_WAIT_SECONDS", 0.1)
        holder = sqlite3.connect(home / "mlruns" / ".lock", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            outcome = repurchase("monitor", own, trained.orders, "--home", home, *JSON)
        finally:
            holder.close()

        assert outcome.code == 0, outcome.err
        warned = [line for line in lines_of(outcome) if line["level"] == "warning"]
        assert len(warned) == 1
        assert "Not logged to MLflow" in warned[0]["message"]
        record = json.loads(own.with_suffix(".monitor.json").read_text())
        assert record["mlflow"]["run_id"] is None
        assert "in use by another run" in record["mlflow"]["why"]
        assert repurchase("monitor", own, trained.orders, "--home", home).code == 0
        assert json.loads(own.with_suffix(".monitor.json").read_text())["mlflow"]["run_id"]

    def test_without_its_model_it_still_compares(self, repurchase, trained, own, tmp_path):
        outcome = repurchase("monitor", own, trained.orders, "--home", tmp_path / "elsewhere")

        assert outcome.code == 0, outcome.err
        assert "the model of these scores cannot be used" in outcome.out
        record = json.loads(own.with_suffix(".monitor.json").read_text())
        assert record["horizons"][0]["passed"]
        assert record["horizons"][0]["then"]["grade"] in "ABCD"
        assert not record["drift"]["known"]
        assert not (tmp_path / "elsewhere").exists()

    def test_an_old_model_is_to_be_trained_again(self, repurchase, trained, own):
        asked = ("monitor", own, trained.orders, "--home", trained.home, "--as-of", "1998-07-02")

        assert "Keep the model" in repurchase(*asked).out
        aged = repurchase(*asked, "--max-age-days", 1)

        assert aged.code == 0
        assert "Train again: the model is 2 days old; 1 are allowed." in aged.out

    @pytest.mark.parametrize(("as_of", "words"), [(PAST, "nothing came after"), ("1998-01-15", "nothing came after")])
    def test_orders_that_are_not_later_are_refused(self, repurchase, trained, own, as_of, words, snapshot):
        before = snapshot(own.parent)

        outcome = repurchase("monitor", own, trained.orders, "--home", trained.home, "--as-of", as_of)

        assert outcome.code == 2
        assert words in outcome.err
        assert snapshot(own.parent) == before

    def test_orders_of_another_shop_are_refused(self, repurchase, trained, own, sample, tmp_path):
        sample.with_columns(customer_id=pl.format("other-{}", "customer_id")).write_csv(tmp_path / "other.csv")

        outcome = repurchase("monitor", own, tmp_path / "other.csv", "--home", trained.home)

        assert outcome.code == 2
        assert "The orders know 0 of" in outcome.err
