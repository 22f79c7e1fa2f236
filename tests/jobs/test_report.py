"""`repurchase report --orders`: every purchase of the customers listed, and products; or one line, nothing written."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from repurchase.cli.app import app
from repurchase.errors import InputError
from repurchase.jobs.report import find_purchases
from repurchase.orders.ids import key_id, pseudonymise
from repurchase.orders.log import read_orders
from repurchase.report import charts
from repurchase.report import customer_list as people
from repurchase.report import customer_list as purchases
from repurchase.report.customer_list import PurchaseDetails
from repurchase.schemas import scores_table
from repurchase.settings import Settings
from repurchase.storage.run_records import ScoredRun, validate_scored_run

AS_OF = date(2024, 6, 30)
KEY = "a key of at least sixteen bytes"
N = 40
IDS = [f"k{number:02d}" for number in range(N)]
REGULARS = 25  # who buy soap every 30 days, then oil


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")


def order_lines() -> pl.DataFrame:
    """Lines of a shop: regulars of soap, then oil of the same brand; others; returns; and what came later."""
    rng = np.random.default_rng(3)
    rows = [(IDS[who], ago, 10.0 + who, "s1", "Soap ", "Lund") for who in range(REGULARS) for ago in (119, 89, 59, 29)]
    rows += [(IDS[who], 20, 7.5, "o1", "Oil", "Lund") for who in range(REGULARS)]
    rows += [
        (IDS[who], int(ago), round(float(rng.gamma(2, 20)), 2), f"p{ago % 7}", f"Thing {ago % 7}", "Berg")
        for who in range(REGULARS, N)
        for ago in rng.integers(1, 400, 1 + who % 9)
    ]
    rows += [(IDS[who], 20, 0.5, "a2", "Soap", "Lund") for who in range(REGULARS)]  # soap under another id
    rows += [
        (IDS[0], 59, -4.0, "s1", "Soap", "Lund"),  # on the day of the sale: less money, still a purchase
        (IDS[1], 3, -99.0, "x9", "Gift", "Berg"),  # a day of nothing but a return is no purchase
        (IDS[2], -9, 50.0, "s1", "Soap", "Lund"),  # after the scores' day
        ("stranger-1", 30, 50.0, "s1", "Soap", "Lund"),
    ]
    log = pl.DataFrame(rows, schema=["customer_id", "ago", "amount", "product_id", "title", "vendor"], orient="row")
    day = pl.lit(AS_OF) - pl.duration(days=pl.col("ago"))
    return log.select("customer_id", order_date=day.cast(pl.Date)).with_columns(
        log.select("amount", "product_id", "title", "vendor"),
        order_id=pl.format("{}-{}", "customer_id", "order_date"),
    )


def expected_days(lines: pl.DataFrame) -> dict[str, list[tuple[date, float]]]:
    """Purchase days by plain arithmetic."""
    known = lines.filter(pl.col("order_date") <= AS_OF, pl.col("customer_id").is_in(IDS))
    daily = known.group_by("customer_id", "order_date").agg(pl.col("amount").sum()).filter(pl.col("amount") > 0)
    ordered = daily.sort("order_date")
    return {who: ordered.filter(pl.col("customer_id") == who).drop("customer_id").rows() for who in IDS}


def drawn_days(bought: PurchaseDetails) -> dict[str, list[tuple[date, float]]]:
    return {who: bought.days.filter(pl.col("customer_id") == who).drop("customer_id").rows() for who in IDS}


def table(ids: list[str], as_of: date = AS_OF) -> pl.DataFrame:
    given: dict[str, list[Any]] = {
        "customer_id": ids,
        "as_of": [as_of] * N,
        "model_version": ["1"] * N,
        "status": ["scored"] * N,
        "orders": [4] * N,
        "frequency": [3] * N,
        "first_order_date": [as_of - timedelta(days=300)] * N,
        "last_order_date": [as_of - timedelta(days=20)] * N,
        "days_since_last": [20] * N,
        "p_repurchase_90d": [0.4] * N,
        "churn_risk_90d": [0.6] * N,
        "clv": [100.0] * N,
        "value_at_risk": [90.0 - number for number in range(N)],
        "spend_total": [40.0] * N,
        "segment": ["regular"] * N,
        "risk_band": ["medium"] * N,
    }
    schema = scores_table([90]).schema
    return pl.DataFrame({name: pl.Series(given.get(name, [None] * N), dtype=kind) for name, kind in schema.items()})


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    order_lines().write_csv(tmp_path / "orders.csv")
    return tmp_path / "orders.csv"


@pytest.fixture
def write_scores(tmp_path: Path, orders: Path) -> Callable[..., Path]:
    def write(ids: list[str] = IDS, **further: Any) -> Path:
        path = tmp_path / "scores.parquet"
        table(ids).write_parquet(path)
        run = {
            "schema": 1,
            "model_version": "1",
            "orders": {"digest": read_orders(orders).digest},
            "outputs": {"scores": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}},
            **further,
        }
        path.with_suffix(".run.json").write_text(json.dumps(run))
        return path

    return write


@pytest.fixture
def facts(orders: Path) -> ScoredRun:
    return validate_scored_run(table(IDS), {"orders": {"digest": read_orders(orders).digest}})


def found(facts: ScoredRun, orders: Path, **settings: Any) -> PurchaseDetails:
    bought = find_purchases(facts, str(orders), settings=Settings(home=orders.parent, **settings))
    assert bought is not None
    return bought


def page_data(page: str) -> dict[str, Any]:
    told = re.search(r'id="customer-data">(.*?)</script>', page, re.DOTALL)
    assert told
    data: dict[str, Any] = json.loads(told[1])
    return data


def days_on_page(data: dict[str, Any]) -> dict[str, list[tuple[date, int]]]:
    """Unpack as the page's script does."""
    told, place = {}, 0
    for who, n in zip(data["columns"]["id"], data["bought"]["n"], strict=True):
        back, money = (data["bought"][name][place : place + n] for name in ("back", "money"))
        ago = np.cumsum(back)
        told[who] = [
            (date.fromisoformat(data["asOf"]) - timedelta(days=int(days)), paid)
            for days, paid in zip(ago, money, strict=True)
        ][::-1]
        place += n
    return told


def run(*words: object) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REPURCHASE_ID_KEY", raising=False)
        outcome = CliRunner().invoke(app, [str(word) for word in words])
    fault = outcome.exception
    return outcome.exit_code, str(fault if isinstance(fault, InputError) else outcome.output)


@pytest.mark.parametrize("partitions", [1, 3])
def test_the_purchases_are_the_ledgers(facts: ScoredRun, orders: Path, partitions: int) -> None:
    bought = found(facts, orders, partitions=partitions)
    wanted = expected_days(order_lines())
    assert drawn_days(bought) == {
        who: [(day, pytest.approx(money)) for day, money in days] for who, days in wanted.items()
    }
    assert (AS_OF - timedelta(days=59), pytest.approx(6.0)) in drawn_days(bought)["k00"]
    assert not bought.earlier
    assert not bought.changed


def test_products_and_what_runs_out(facts: ScoredRun, orders: Path) -> None:
    bought = found(facts, orders)
    assert bought.products is not None
    assert bought.due is not None
    soap = bought.products.row(0, named=True)
    # The 25 regulars and one stranger bought soap; its regulars came back after 30 days, and oil of its brand followed.
    assert (soap["name"], soap["customers"], soap["again"], soap["median_days"]) == ("Soap", 26, 25, 30.0)
    assert (soap["goes_with"], soap["relation"], soap["support"]) == ("Oil", "same brand", 25)
    assert soap["due"] == REGULARS
    regulars = bought.due.filter(pl.col("name") == "Soap")
    assert sorted(regulars["customer_id"]) == IDS[:REGULARS]
    assert regulars["refill_on"].is_between(AS_OF, AS_OF + timedelta(days=14)).all()


def test_on_the_page_as_in_the_orders(write_scores: Callable[..., Path], orders: Path, tmp_path: Path) -> None:
    code, told = run("report", write_scores(), "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    assert (code, told) == (0, f"Report: {tmp_path / 'page.html'}\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    on_page = days_on_page(page_data(page))
    wanted = expected_days(order_lines())
    assert {who: [day for day, _ in days] for who, days in on_page.items()} == {
        who: [day for day, _ in days] for who, days in wanted.items()
    }
    assert on_page["k00"] == [(AS_OF - timedelta(days=ago), money) for ago, money in zip(
        (119, 89, 59, 29, 20), (10, 10, 6, 10, 8), strict=True)]  # fmt: skip
    assert "stranger-1" not in page
    assert 'id="products"' in page
    assert "The orders given are not" not in page


def test_who_is_not_listed_is_not_on_the_page(
    write_scores: Callable[..., Path], facts: ScoredRun, orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MAX_LISTED", 5)
    bought = found(facts, orders)
    assert bought.due is not None
    assert set(bought.days["customer_id"]) == set(bought.due["customer_id"]) == set(IDS[:5])
    code, _ = run("report", write_scores(), "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = page_data(page)
    assert code == 0
    assert data["columns"]["id"] == IDS[:5]
    assert len(data["bought"]["n"]) == 5
    assert sorted(row[0] for row in data["due"]) == list(range(5))
    assert [who for who in IDS[5:] if f'"{who}"' in page or f">{who}<" in page] == []


def test_the_last_two_hundred_of_many(facts: ScoredRun, orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    often = pl.DataFrame(
        {
            "customer_id": "k03",
            "order_date": [AS_OF - timedelta(days=ago) for ago in range(130, 430)],
            "amount": 5.0,
            "product_id": "p1",
            "title": "Thing",
            "vendor": "Berg",
            "order_id": [f"x{ago}" for ago in range(300)],
        }
    )
    lines = pl.concat([order_lines(), often.select(order_lines().columns)])
    lines.write_csv(orders)
    bought = found(facts, orders)
    wanted = [day for day, _ in expected_days(lines)["k03"]]
    assert len(wanted) == 305
    assert [day for day, _ in drawn_days(bought)["k03"]] == wanted[-200:]
    assert bought.earlier == {"k03": 105}
    monkeypatch.setattr(purchases, "MAX_MARKS", 150)
    fewer = found(facts, orders)
    assert len(drawn_days(fewer)["k03"]) == 10
    assert fewer.earlier["k03"] == 295


def test_orders_that_have_changed_are_told_of(write_scores: Callable[..., Path], orders: Path, tmp_path: Path) -> None:
    scores = write_scores()
    later = order_lines().filter(pl.col("customer_id") != IDS[7])
    later.write_csv(orders)
    code, _ = run("report", scores, "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert code == 0
    assert "The orders given are not those that the scores were made from" in page
    on_page = days_on_page(page_data(page))
    assert on_page[IDS[7]] == []
    assert max(day for days in on_page.values() for day, _ in days) <= AS_OF
    spark = write_scores(engine={"engine": "spark"})  # its digests are of another kind
    run("report", spark, "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    assert "The orders given are not" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_hashed_scores_and_plain_orders(
    write_scores: Callable[..., Path], orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = pseudonymise(pl.Series(IDS), KEY.encode()).to_list()
    scores = write_scores(hashed, pseudonyms=key_id(KEY.encode()))
    asked = ("report", scores, "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    code, told = run(*asked)
    assert code
    assert "its ids are keyed hashes" in told
    assert not (tmp_path / "page.html").exists()
    monkeypatch.setenv("REPURCHASE_ID_KEY", KEY)
    outcome = CliRunner().invoke(app, [str(word) for word in asked])
    assert outcome.exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    on_page, wanted = days_on_page(page_data(page)), expected_days(order_lines())
    assert [len(on_page[one]) for one in hashed] == [len(wanted[who]) for who in IDS]
    assert [who for who in IDS if f'"{who}"' in page or f">{who}<" in page] == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: order_lines().with_columns(pl.format("z{}", "customer_id").alias("customer_id")).write_csv(file),
         "of another shop? None of the 40 customers"),
        (lambda file: file.unlink(), "no such file"),
        (lambda file: file.write_text("a,b\n1,2\n"), "2 required columns were not found"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    write_scores: Callable[..., Path], orders: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    scores = write_scores()
    spoil(orders)
    before = sorted(tmp_path.iterdir())
    code, words = run("report", scores, "--orders", orders, "--home", tmp_path, "--out", tmp_path / "page.html")
    assert code
    assert told in words
    assert "\n" not in words
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--columns", "--table", "--query"])
def test_how_to_read_orders_is_of_no_use_without_them(
    write_scores: Callable[..., Path], tmp_path: Path, option: str
) -> None:
    scores = write_scores()
    code, words = run(
        "report", scores, option, "customer_id=Kunde", "--home", tmp_path, "--out", tmp_path / "page.html"
    )
    assert code
    assert words == f"{option} requires --orders. Add --orders, or leave {option} out."
    assert not (tmp_path / "page.html").exists()


def test_what_the_run_knew_of_the_columns_fills_up(facts: ScoredRun, orders: Path) -> None:
    renamed = order_lines().rename({"customer_id": "Hvem", "order_date": "Dato", "amount": "Kr"})
    renamed.write_csv(orders)
    with pytest.raises(InputError, match="1 required column was not found: customer_id"):
        found(facts, orders)
    columns = {"customer_id": "Hvem", "order_date": "Dato", "amount": "Kr", "product_id": "product_id"}
    recorded = replace(facts, run={"orders": {"columns": columns}})
    assert len(drawn_days(found(recorded, orders))["k00"]) == 5
    assert len(drawn_days(found(facts, orders, columns=columns))["k00"]) == 5


def test_without_money_and_without_products(facts: ScoredRun, orders: Path) -> None:
    bare = order_lines().select("customer_id", "order_id", "order_date").filter(pl.col("order_date") <= AS_OF)
    bare.write_csv(orders)
    bought = found(facts, orders)
    assert bought.products is None
    assert bought.due is None
    assert bought.days["money"].null_count() == bought.days.height
    assert {who: len(days) for who, days in drawn_days(bought).items()} == dict(
        bare.filter(pl.col("customer_id").is_in(IDS))
        .group_by("customer_id")
        .agg(pl.col("order_date").n_unique())
        .iter_rows()
    )


def test_customers_without_history_are_in_no_orders(orders: Path) -> None:
    strangers = table([f"new-{number}" for number in range(N)]).with_columns(status=pl.lit("no_history"))
    assert found(validate_scored_run(strangers, None), orders).days.height == 0


def test_a_log_that_begins_after_the_scores_day_is_refused(facts: ScoredRun, orders: Path) -> None:
    after = order_lines().with_columns(pl.col("order_date") + pl.duration(days=500))
    after.filter(pl.col("order_date") > AS_OF).write_csv(orders)
    with pytest.raises(
        InputError, match=r"begins on 2024-10-\d\d, and none of the 40 .* by 2024-06-30, the day of the s"
    ):
        found(facts, orders)


def test_a_log_without_a_sale_is_refused(facts: ScoredRun, orders: Path) -> None:
    order_lines().filter(pl.col("amount") > 0).with_columns(status=pl.lit("cancelled")).write_csv(orders)
    with pytest.raises(InputError, match=r"none of its [\d,]+ rows is a sale that can be used"):
        found(facts, orders)
