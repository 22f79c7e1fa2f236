"""From an order export to scored customers, through the command line."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import joblib
import polars as pl
import pytest

from repurchase.registry.store import store_uri

RULES = ("days_since_last", "past_rate")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(out.with_suffix(".run.json").read_text(encoding="utf-8"))
    return read


@pytest.fixture
def score(repurchase, trained) -> Callable[..., Path]:
    """A function that scores with version 1 and gives the scores' path back."""

    def run(out: Path, *words: object, orders: Path | None = None) -> Path:
        outcome = repurchase(
            "score", orders or trained.orders, "--home", trained.home, "--model", 1, "--out", out, *words
        )
        assert outcome.code == 0, outcome.err
        return out

    return run


class TestTraining:
    def test_check_says_that_it_is_enough_and_writes_nothing(self, repurchase, sample, home, tmp_path, snapshot):
        orders = tmp_path / "orders.csv"
        sample.write_csv(orders)
        before = snapshot(tmp_path)

        outcome = repurchase("check", orders, "--home", home)

        assert (outcome.code, outcome.err) == (0, "")
        assert "MISSING" not in outcome.out
        assert outcome.out.splitlines()[:4] == [
            "Customer  'customer_id'",
            "Date      'order_date'",
            "Order     'order_id'",
            "Money     'amount': total of the order, one row per order",
        ]
        compared = outcome.out[outcome.out.index("Please compare") :].splitlines()
        paid = sample.filter(pl.col("amount") > 0)
        assert compared[1].split()[:3] == ["All", "customers", f"{paid['order_id'].n_unique():,}"]
        customer, orders = compared[2].split()[:2]
        assert paid.filter(pl.col("customer_id") == customer)["order_id"].n_unique() == int(orders)
        assert "30, 90, 180" in outcome.out
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize("version", ["1", "2"])
    def test_beats_both_rules_at_every_cutoff(self, trained, version):
        evaluation = json.loads((trained.home / "models" / version / "evaluation.json").read_text())
        losses = {
            (row["horizon_days"], row["cutoff"], row["predictor"]): row["log_loss"] for row in evaluation["backtest"]
        }
        judged = {(days, cutoff) for days, cutoff, _ in losses}

        assert {days for days, _ in judged} == ({30, 90} if version == "1" else {30})
        assert len({cutoff for _, cutoff in judged}) >= 3
        for days, cutoff in judged:
            for rule in RULES:
                assert losses[days, cutoff, "model"] < losses[days, cutoff, rule]

    def test_says_grade_rules_and_version(self, trained):
        first, second = trained.said

        for said, version in ((first, 1), (second, 2)):
            assert said.strip().startswith("Grade ")
            assert all(rule in said for rule in ("days since last order", "own past rate"))
            assert not any(rule in said for rule in RULES)
            assert f"Version {version} is the champion." in said

    def test_a_second_training_makes_version_2_and_score_uses_it(self, repurchase, trained, tmp_path):
        out = tmp_path / "scores.parquet"

        outcome = repurchase("score", trained.orders, "--home", trained.home, "--out", out)

        assert outcome.code == 0
        assert "by version 2" in outcome.out
        assert pl.read_parquet(out)["model_version"].unique().to_list() == ["2"]
        assert record(out)["model_version"] == "2"

    def test_list_and_show(self, repurchase, trained):
        listed = repurchase("models", "list", "--home", trained.home)
        shown = repurchase("models", "show", "--home", trained.home)

        newest, oldest = listed.out.strip().splitlines()
        assert newest.split()[0] == "2"
        assert newest.endswith("champion")
        assert oldest.split()[0] == "1"
        assert oldest.endswith("previous")
        assert (listed.code, shown.code) == (0, 0)
        assert shown.out.strip() == (trained.home / "models" / "2" / "card.md").read_text().strip()


class TestScoring:
    def test_everyone_who_bought_is_there_once(self, scored, sample):
        scores = pl.read_parquet(scored)

        bought = sample.group_by("customer_id").agg((pl.col("amount") > 0).any())
        assert dict(bought.rows()) == dict(scores.select("customer_id", pl.col("status") == "scored").rows())
        assert scores["customer_id"].is_unique().all()
        assert set(scores["status"]) == {"scored", "no_purchases"}

    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    def test_same_input_same_bytes(self, score, tmp_path, ending):
        one = score(tmp_path / "one" / f"scores.{ending}")
        two = score(tmp_path / "two" / f"scores.{ending}")

        assert one.read_bytes() == two.read_bytes()

    def test_csv_says_what_parquet_says(self, score, scored, tmp_path):
        from repurchase.storage.run_records import read_scores

        assert read_scores(score(tmp_path / "scores.csv")).equals(pl.read_parquet(scored))

    def test_another_process_gives_the_same_bytes(self, trained, scored, tmp_path):
        out = tmp_path / "scores.parquet"
        command = ["score", trained.orders, "--home", trained.home, "--model", "1", "--out", out]

        ended = subprocess.run(
            [sys.executable, "-m", "repurchase.cli.app", *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
        )

        assert ended.returncode == 0, ended.stderr
        assert all(" INFO " in line for line in ended.stderr.splitlines())
        assert out.read_bytes() == scored.read_bytes()

    def test_a_list_gives_the_bits_of_the_whole(self, score, scored, tmp_path):
        whole = pl.read_parquet(scored)
        asked = whole["customer_id"].sample(200, seed=5, shuffle=True)
        pl.DataFrame({"customer_id": asked}).write_csv(tmp_path / "list.csv")

        subset = pl.read_parquet(score(tmp_path / "scores.parquet", "--customers", tmp_path / "list.csv"))

        same = whole.filter(pl.col("customer_id").is_in(asked.implode()))
        assert subset.height == 200
        # As text a float is written with all its digits.
        assert subset.sort("customer_id").write_csv() == same.sort("customer_id").write_csv()

    def test_later_orders_change_nothing(self, score, sample, tmp_path):
        earlier = tmp_path / "earlier.csv"
        sample.filter(pl.col("order_date") <= "1998-03-31").write_csv(earlier)

        one = score(tmp_path / "one" / "scores.parquet", "--as-of", "1998-03-31")
        two = score(tmp_path / "two" / "scores.parquet", "--as-of", "1998-03-31", orders=earlier)

        assert one.read_bytes() == two.read_bytes()
        assert str(pl.read_parquet(one)["as_of"][0]) == "1998-03-31"
        assert record(one)["as_of"] == "1998-03-31"

    def test_quiet_days_after_the_last_order_count(self, score, scored, tmp_path):
        later = pl.read_parquet(score(tmp_path / "scores.parquet", "--as-of", "1998-07-20"))

        waited = (later["days_since_last"] - pl.read_parquet(scored)["days_since_last"]).drop_nulls()
        assert waited.unique().to_list() == [20]

    def test_mlflow_hands_out_the_same_model(self, repurchase, trained, sample, tmp_path):
        import mlflow

        out = tmp_path / "scores.parquet"
        assert repurchase("score", trained.orders, "--home", trained.home, "--out", out).code == 0
        mlflow.set_tracking_uri(store_uri(trained.home))
        try:
            model = mlflow.pyfunc.load_model("models:/repurchase@champion")
        finally:
            mlflow.set_tracking_uri(None)

        predicted = model.predict(sample.to_pandas())

        expected = pl.read_parquet(out).filter(pl.col("status") == "scored")
        given = pl.from_pandas(predicted).cast(dict(expected.schema))
        assert given.filter(pl.col("status") == "scored").equals(expected)


class TestCustomerList:
    @pytest.fixture
    def asked(self, sample, tmp_path) -> tuple[str, str, Path]:
        """Two customers, one of them twice, a stranger and a row without an id; as a spreadsheet saves it."""
        one, two = sample["customer_id"].unique().sort()[:2]
        rows = [
            "Customer ID;city;segment",
            f"{two}.0;Oslo;A",
            "777777;Bergen;B",
            f"{one};Ålesund;A",
            f"{two};Bodø;B",
            ";Hamar;B",
        ]
        (tmp_path / "list.csv").write_text("\n".join(rows) + "\n", encoding="latin-1")
        return one, two, tmp_path / "list.csv"

    def test_carries_columns_and_accounts_for_every_row(self, score, asked, scored, tmp_path):
        one, two, path = asked

        out = score(tmp_path / "scores.parquet", "--customers", path)

        scores = pl.read_parquet(out)
        rows = {row["customer_id"]: row for row in scores.iter_rows(named=True)}
        assert rows.keys() == {one, two, "777777"}
        assert {who: row["city"] for who, row in rows.items()} == {two: "Oslo", "777777": "Bergen", one: "Ålesund"}
        assert rows[two]["list_segment"] == "A"
        assert {who: row["status"] for who, row in rows.items()} == {
            one: "scored",
            two: "scored",
            "777777": "no_history",
        }
        assert rows["777777"]["p_repurchase_90d"] is None
        whole = pl.read_parquet(scored)
        known = scores.filter(pl.col("status") == "scored").select(whole.columns).sort("customer_id")
        assert known.equals(whole.filter(pl.col("customer_id").is_in([one, two])).sort("customer_id"))
        run = record(out)
        assert run["counts"] == {
            "asked": 3,
            "scored": 2,
            "no_history": 1,
            "no_purchases": 0,
            "duplicates_in_list": 1,
            "rows_without_id": 1,
        }
        assert run["duplicates"] == [two]

    def test_says_how_many_were_asked_for_twice(self, repurchase, trained, asked, tmp_path):
        outcome = repurchase(
            "score", trained.orders, "--home", trained.home, "--out", tmp_path / "s.csv", "--customers", asked[2]
        )

        assert "2 customers scored" in outcome.out
        assert "1 without history" in outcome.out
        assert "more than once; each is scored once." in outcome.out

    def test_scores_can_be_the_list_of_the_next_run_and_the_one_after(self, score, asked, tmp_path):
        first = score(tmp_path / "first.csv", "--customers", asked[2])
        second = score(tmp_path / "second.csv", "--customers", first)

        third = score(tmp_path / "third.csv", "--customers", second)

        columns = pl.read_csv(third).columns
        assert len(columns) == len(set(columns))
        assert "city" in columns


class TestRecord:
    @pytest.fixture
    def soiled(self, sample, tmp_path) -> tuple[Path, dict[str, list[str]]]:
        """The log with rows that cannot be sales, and those rows by reason."""
        first, last = sample.row(0), sample.row(-1)
        faults = {
            "missing_customer": [",n9000001,1998-01-05,10.0", ",n9000002,1998-01-06,12.5"],
            "unreadable_date": [f"{first[0]},n9000003,soon,10.0"],
            "future_date": [f"{first[0]},n9000004,2093-01-05,10.0"],
            "amount_not_a_number": [f"{first[0]},n9000005,1998-01-05,a lot"],
            "duplicate_line": [",".join(map(str, last))],
            "zero_total": [f"{first[0]},n9000006,1998-01-05,0.0"],
        }
        lines = sample.write_csv().splitlines() + [line for rows in faults.values() for line in rows]
        (tmp_path / "soiled.csv").write_text("\n".join(lines) + "\n")
        free = sample.filter(pl.col("amount") == 0).write_csv(include_header=False).splitlines()
        return tmp_path / "soiled.csv", {**faults, "zero_total": [*faults["zero_total"], *free]}

    def test_quarantine_holds_exactly_what_was_set_aside(self, score, soiled, scored, tmp_path):
        orders, faults = soiled

        out = score(tmp_path / "out" / "scores.parquet", orders=orders)

        aside = pl.read_parquet(out.with_suffix(".quarantine.parquet"))
        found = {(reason, ",".join(value or "" for value in values)) for *values, reason in aside.iter_rows()}
        assert found == {(reason, line) for reason, lines in faults.items() for line in lines}
        assert aside.height == sum(map(len, faults.values()))
        assert out.read_bytes() == scored.read_bytes()

    def test_counts_add_up_and_digests_are_those_of_the_files(self, score, soiled, tmp_path):
        orders, faults = soiled

        out = score(tmp_path / "out" / "scores.parquet", orders=orders)

        run = record(out)
        cleaning = run["cleaning"]
        assert cleaning["n_raw"] == len(orders.read_text().splitlines()) - 1
        assert cleaning["n_raw"] == cleaning["n_kept"] + sum(reason["rows"] for reason in cleaning["reasons"])
        assert {reason["reason"]: reason["rows"] for reason in cleaning["reasons"] if reason["rows"]} == {
            reason: len(lines) for reason, lines in faults.items()
        }
        assert run["counts"]["asked"] == sum(run["counts"][name] for name in ("scored", "no_purchases", "no_history"))
        assert run["outputs"]["scores"] == {
            "path": "scores.parquet",
            "rows": run["counts"]["asked"],
            "sha256": digest(out),
        }
        assert run["outputs"]["quarantine"]["sha256"] == digest(out.with_suffix(".quarantine.parquet"))
        assert [file["sha256"] for file in run["orders"]["files"]] == [digest(orders)]
        assert run["model_version"] == "1"
        assert run["horizons"] == [30, 90]
        assert all(seconds >= 0 for seconds in run["timings_seconds"].values())
        assert len(run["timings_seconds"]) >= 3
        assert run["evaluation"]["grade"] in "ABCD"

    def test_nothing_else_is_left(self, score, tmp_path, snapshot):
        out = score(tmp_path / "out" / "scores.parquet")

        assert sorted(snapshot(out.parent)) == ["scores.parquet", "scores.quarantine.parquet", "scores.run.json"]

    def test_a_clean_export_takes_the_old_quarantine_away(self, score, soiled, sample, tmp_path):
        clean = tmp_path / "clean.csv"
        sample.filter(pl.col("amount") != 0).write_csv(clean)
        out = score(tmp_path / "out" / "scores.parquet", orders=soiled[0])

        score(out, orders=clean)

        assert record(out)["outputs"]["quarantine"] is None
        assert not out.with_suffix(".quarantine.parquet").exists()

    def test_two_forms_in_one_folder_do_not_share_a_record(self, repurchase, trained, score, tmp_path, snapshot):
        out = score(tmp_path / "out" / "scores.parquet")
        before = snapshot(tmp_path)

        again = repurchase("score", trained.orders, "--home", trained.home, "--out", out.with_suffix(".csv"))

        assert again.code == 2
        assert "scores.run.json is the record of scores.parquet" in again.err
        assert snapshot(tmp_path) == before


class TestReport:
    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    def test_one_page_that_opens_offline(self, repurchase, score, tmp_path, ending):
        out = score(tmp_path / f"scores.{ending}")
        page = tmp_path / "report.html"

        outcome = repurchase("report", out, "--out", page)

        assert outcome.code == 0
        assert str(page) in outcome.out
        html = page.read_text(encoding="utf-8")
        assert html.count("<svg") >= 8
        assert "<script src" not in html
        assert "script-src 'sha256-" in unescape(html)
        assert 'src="http' not in html


class TestModels:
    def test_export_predicts_as_the_champion_does(self, repurchase, trained, sample, tmp_path):
        from repurchase.orders.pipeline import clean_orders

        scores, file = tmp_path / "scores.parquet", tmp_path / "model.joblib"
        assert repurchase("score", trained.orders, "--home", trained.home, "--out", scores).code == 0

        outcome = repurchase("models", "export", "champion", "--home", trained.home, "--out", file)

        assert outcome.code == 0
        expected = pl.read_parquet(scores).filter(pl.col("status") == "scored")  # clean orders hold no others
        assert joblib.load(file).predict(clean_orders(sample).orders).equals(expected)

    def test_rollback_in_a_copied_home(self, repurchase, trained, tmp_path):
        home = tmp_path / "copy"
        shutil.copytree(trained.home, home)
        refused = repurchase("models", "rollback", "--home", home)
        assert refused.code == 2
        assert "relocate" in refused.err
        assert repurchase("models", "relocate", "--home", home).code == 0

        outcome = repurchase("models", "rollback", "--home", home)

        assert outcome.code == 0
        assert "Version 1 is the champion again." in outcome.out
        scored = repurchase("score", trained.orders, "--home", home, "--out", tmp_path / "scores.csv")
        assert "by version 1" in scored.out
        listed = repurchase("models", "list", "--home", home)
        assert [line.split()[-1] for line in listed.out.splitlines()] == ["previous", "champion"]
