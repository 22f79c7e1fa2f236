"""Days without orders up to the last day observed are observations, for every command and in every part of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import repurchase.jobs.train as training
from repurchase.registry.store import relocate

LAST = date(2024, 9, 30)
HORIZON_DAYS = 30
QUIET_DAYS = (0, 1, 10)
Command = Callable[..., Any]


@dataclass(frozen=True)
class Observed:
    """A home with a model of all orders, trained some quiet days after the last one."""

    home: Path
    orders: Path
    day: date

    @property
    def words(self) -> tuple[object, ...]:
        return (self.orders, "--home", self.home)


@pytest.fixture(scope="module")
def orders(simulate_orders: Callable[..., pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop whose last order was on ``LAST``; of three customers all was cancelled, or free."""
    start = LAST - timedelta(days=239)
    sales = simulate_orders(customers=180, days=240, start=start, arrival_days=150, a=0.3).select(
        "customer_id", "order_id", pl.col("order_date").dt.date(), "amount"
    )
    last = pl.DataFrame(
        {"customer_id": ["c000001"], "order_id": ["last"], "order_date": [LAST], "amount": [9.5]}, orient="row"
    )
    days = [start + timedelta(days=number) for number in (60, 60, 100)]
    unsold = pl.DataFrame(
        {
            "customer_id": ["a-off", "z-off", "m-free"],
            "order_id": ["b1", "b2", "f1"],
            "order_date": days,
            "amount": [20.0, 35.0, 0.0],
            "status": ["cancelled", "cancelled", "paid"],
        }
    )
    path = tmp_path_factory.mktemp("quiet") / "orders.csv"
    pl.concat([pl.concat([sales, last]).with_columns(pl.lit("paid").alias("status")), unsold]).write_csv(path)
    return path


@pytest.fixture(scope="module", params=QUIET_DAYS)
def observed(
    request: pytest.FixtureRequest,
    orders: Path,
    empty_home: Path,
    repurchase: Command,
    tmp_path_factory: pytest.TempPathFactory,
) -> Observed:
    home = tmp_path_factory.mktemp(f"after-{request.param}") / "home"
    shutil.copytree(empty_home, home)
    relocate(home)
    (home / "repurchase.toml").write_text(f"tracking_seconds = 0\nhorizons = [{HORIZON_DAYS}]\njobs = 1\n")
    day = LAST + timedelta(days=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        outcome = repurchase("train", orders, "--home", home, "--as-of", day)
    assert outcome.code == 0, outcome.err
    return Observed(home, orders, day)


def scored(repurchase: Command, observed: Observed, out: Path, day: date, *words: object) -> pl.DataFrame:
    outcome = repurchase("score", *observed.words, "--model", "latest", "--out", out, "--as-of", day, *words)
    assert outcome.code == 0, outcome.err
    return pl.read_parquet(out) if out.suffix == ".parquet" else pl.read_csv(out)


def test_the_model_was_judged_up_to_the_day(observed: Observed) -> None:
    model = observed.home / "models" / "1"
    evaluation = json.loads((model / "evaluation.json").read_text())
    manifest = json.loads((model / "manifest.json").read_text())

    assert manifest["as_of"] == str(observed.day)
    judged = max(row["cutoff"] for row in evaluation["backtest"])
    assert judged == str(observed.day - timedelta(days=HORIZON_DAYS))


def test_rehearsals_and_checks_say_the_same_day(observed: Observed, repurchase: Command, tmp_path: Path) -> None:
    day = ("--as-of", observed.day)
    checked = repurchase("check", *observed.words, *day)
    assert checked.code == 0, checked.err
    trained = repurchase("train", *observed.words, *day, "--dry-run")
    assert trained.code == 0, trained.err
    assert f"orders up to {observed.day}: {HORIZON_DAYS} days ahead, judged on 3 earlier days" in trained.out
    out = tmp_path / "scores.parquet"
    tried = repurchase("score", *observed.words, *day, "--model", "latest", "--out", out, "--dry-run")
    assert tried.code == 0, tried.err
    assert f"customers as of {observed.day}" in tried.out
    assert "3 with orders but no purchase" in tried.out
    assert not out.exists()


def test_scores_pages_and_lists_are_of_the_day(observed: Observed, repurchase: Command, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    scores = scored(repurchase, observed, out, observed.day)

    assert scores["as_of"].unique().to_list() == [observed.day]
    assert scores["days_since_last"].min() == (observed.day - LAST).days
    run = json.loads((tmp_path / "scores.run.json").read_text())
    assert run["drift"]["as_of"] == run["measures"]["as_of"] == str(observed.day)
    page = repurchase("report", out, "--out", tmp_path / "report.html", "--home", observed.home)
    assert page.code == 0, page.err
    assert "all cancelled, returned or free): 3" in (tmp_path / "report.html").read_text(encoding="utf-8")
    lists = repurchase("lists", out, "--out", tmp_path / "lists", "--home", observed.home)
    assert lists.code == 0, lists.err
    listed = json.loads((tmp_path / "lists" / "lists.json").read_text())
    assert listed["as_of"] == str(observed.day)


def test_a_window_that_ends_on_the_day_has_passed(observed: Observed, repurchase: Command, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    scored(repurchase, observed, out, observed.day - timedelta(days=HORIZON_DAYS))

    outcome = repurchase("monitor", out, *observed.words, "--as-of", observed.day)

    assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "scores.monitor.json").read_text())
    assert record["observed_until"] == str(observed.day)
    assert [row["passed"] for row in record["horizons"]] == [True]


@pytest.mark.parametrize("observed", [10], indirect=True)
class TestCustomersWithoutPurchases:
    """Every order was cancelled, or free."""

    WHO = ("a-off", "m-free", "z-off")

    def test_are_the_same_in_any_partition_and_format(
        self, observed: Observed, repurchase: Command, tmp_path: Path
    ) -> None:
        whole = scored(repurchase, observed, tmp_path / "one.parquet", observed.day)
        text = scored(repurchase, observed, tmp_path / "text.csv", observed.day)
        settings = (observed.home / "repurchase.toml").read_text()
        shutil.copytree(observed.home / "models", tmp_path / "home" / "models")
        (tmp_path / "home" / "repurchase.toml").write_text(settings + "partitions = 4\n")
        elsewhere = replace(observed, home=tmp_path / "home")
        parts = scored(repurchase, elsewhere, tmp_path / "four.parquet", observed.day)

        assert parts.equals(whole)
        assert json.loads((tmp_path / "four.run.json").read_text())["partitions"]["count"] > 1
        assert whole["customer_id"].is_sorted()
        rows = whole.filter(pl.col("status") == "no_purchases")
        assert tuple(rows["customer_id"]) == self.WHO
        assert rows["orders"].to_list() == [0, 0, 0]  # what cleaning set aside is no order
        assert rows["spend_total"].to_list() == [0.0] * 3
        assert rows["churn_risk_30d"].null_count() == rows["segment"].null_count() == 3
        assert text["status"].to_list() == whole["status"].to_list()
        counts = json.loads((tmp_path / "one.run.json").read_text())["counts"]
        assert (counts["no_purchases"], counts["no_history"]) == (3, 0)
        assert counts["asked"] == whole.height == counts["scored"] + 3

    def test_may_be_on_a_list(self, observed: Observed, repurchase: Command, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("customer_id,city\nm-free,Oslo\nnobody,Bergen\nc000001,Moss\nz-off,Hamar\n")

        rows = scored(repurchase, observed, tmp_path / "s.parquet", observed.day, "--customers", tmp_path / "list.csv")

        assert rows.select("customer_id", "status", "city").rows() == [
            ("m-free", "no_purchases", "Oslo"),
            ("nobody", "no_history", "Bergen"),
            ("c000001", "scored", "Moss"),
            ("z-off", "no_purchases", "Hamar"),
        ]

    def test_are_not_known_before_their_order(self, observed: Observed, repurchase: Command, tmp_path: Path) -> None:
        early = scored(repurchase, observed, tmp_path / "s.parquet", LAST - timedelta(days=150))
        assert early.filter(pl.col("status") == "no_purchases")["customer_id"].to_list() == ["a-off", "z-off"]

    def test_nothing_is_promoted_that_cannot_be_shown(
        self, observed: Observed, repurchase: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> list[str]:
            raise TypeError("unsupported format string passed to NoneType.__format__")

        monkeypatch.setattr(training, "training_lines", fails)
        aliases = observed.home / "models" / "aliases.json"
        before = aliases.read_bytes()

        failed = repurchase("train", *observed.words, "--as-of", observed.day)

        assert failed.code == 1
        assert "NoneType" in failed.err
        assert aliases.read_bytes() == before


def test_a_shop_of_one_month_a_year(
    empty_home: Path, repurchase: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In most windows nobody buys, and there is no AUC: what can be judged is, and the rest is left out."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    rows = [
        (f"c{who:03d}", date(year, 12, 1 + (7 * who + 5 * year) % 25), 20.0 + who % 9)
        for who in range(110)
        for year in (2022, 2023, 2024)
        if (who + year) % 3
    ]
    orders, home, out = tmp_path / "orders.csv", tmp_path / "home", tmp_path / "scores.parquet"
    pl.DataFrame(rows, schema=["customer_id", "order_date", "amount"], orient="row").write_csv(orders)
    shutil.copytree(empty_home, home)
    relocate(home)
    (home / "repurchase.toml").write_text("tracking_seconds = 0\nhorizons = [30, 90]\njobs = 1\n")
    known = Observed(home, orders, date(2025, 2, 20))

    trained = repurchase("train", *known.words, "--as-of", known.day)

    assert trained.code == 0, trained.err
    table = [line.split() for line in trained.out.splitlines()]
    assert {line[6] for line in table if line[3:5] == ["This", "model"]} > {"-"}
    assert not {"nan", "None"} & set(trained.out.split())
    scored(repurchase, known, out, date(2025, 1, 15))
    seen = repurchase("monitor", out, *known.words, "--as-of", known.day)
    assert seen.code == 0, seen.err
    month, quarter = json.loads((tmp_path / "scores.monitor.json").read_text())["horizons"]
    assert (month["passed"], month["n_bought"], month["model"]["auc"]) == (True, 0, None)
    assert not quarter["passed"]
    assert "AUC –" in seen.out
    page = repurchase("report", out, "--out", tmp_path / "report.html", "--home", home)
    assert page.code == 0, page.err
