"""Small and odd shops whose every customer is known: what is said of them beside the truth, or why nothing is said.

Predictions are held against each customer's true probability and not against another draw of chance (see ``Shop`` in
this folder's conftest).
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from repurchase import RepurchaseModel
from repurchase.cli.app import main
from repurchase.evaluation.backtest import record_predictions
from repurchase.evaluation.comparison import RULE_SCORES, fit_rule
from repurchase.features.behaviour import rfm_table
from repurchase.features.ledger import build_ledger
from repurchase.i18n.messages import render
from repurchase.models.snapshots import Snapshots

Floats = npt.NDArray[np.float64]
Shop = Any
KnownShop = Callable[[str], Shop]
Command = Callable[..., tuple[int, str, str]]

TOLERANCE, OF_A_SMALL_SHARE = 0.02, 0.1
"""Of a share, beyond what chance did to the outcomes that the model learned from; of a small one, a part of it."""
BESIDE_THE_RULES = 0.005
"""By which log loss may lie above the better rule's."""
VOICES = ("model", *RULE_SCORES)


LOOK_AHEAD: dict[str, tuple[int, ...]] = {
    "steady": (30, 90, 180, 365),
    "two_hundred_customers": (30, 90),
    "sixty_days": (7, 30, 45),
    "all_on_one_day": (30, 90),
    "all_in_one_week": (30, 90),
    "no_amounts": (30, 90),
    "mostly_one_time": (30, 90),
    "a_thousand_orders_of_one": (30, 90),
    "doubling_every_month": (30, 90),
    "strong_season": (30, 90),
    "closed_two_months": (30, 90),
}


def band(shop: Shop, horizon_days: int) -> float:
    """How far a mean probability may lie from the true share."""
    return float(shop.chance(horizon_days) + min(TOLERANCE, OF_A_SMALL_SHARE * shop.p(horizon_days).mean()))


def log_loss(p: Floats, truth: Floats) -> float:
    """Expected, over what chance may do."""
    return float(-np.mean(truth * np.log(p) + (1.0 - truth) * np.log1p(-p)))


def calibration_error(p: Floats, truth: Floats) -> float:
    """Mean gap between what was said and the true share, in ten equal groups."""
    tenths = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(sum(len(some) * abs(p[some].mean() - truth[some].mean()) for some in tenths) / len(p))


def calibration_slope(p: Floats, truth: Floats) -> float:
    """Of the true log odds on those that were said: below 1 they were too sure, above 1 not sure enough."""
    said = np.column_stack([np.ones(len(p)), np.log(p) - np.log1p(-p)])
    line = np.array([0.0, 1.0])
    for _ in range(20):
        now = 1.0 / (1.0 + np.exp(-said @ line))
        line = line + np.linalg.solve(said.T @ (said * (now * (1.0 - now))[:, None]), said.T @ (truth - now))
    return float(line[1])


@dataclass(frozen=True)
class Answer:
    """What a model says of a shop."""

    shop: Shop
    model: RepurchaseModel
    scores: pl.DataFrame

    def p(self, horizon_days: int) -> Floats:
        return self.scores[f"p_repurchase_{horizon_days}d"].to_numpy()

    def by_rules(self, horizon_days: int) -> dict[str, Floats]:
        """The rules' probabilities, learned from the earlier days that the model learned from."""
        snapshots = Snapshots(build_ledger(self.shop.orders, observed_until=self.shop.as_of), horizons=(horizon_days,))
        known = [snapshots.at(day) for day in snapshots.train_days(self.shop.as_of, horizon_days=horizon_days)]
        bought = [snapshots.outcomes(snapshot, horizon_days=horizon_days).bought for snapshot in known]
        now = snapshots.at(self.shop.as_of)
        return {name: fit_rule(name, known, bought, horizon_days=horizon_days).p_purchase(now) for name in RULE_SCORES}


def answer(shop: Shop, horizons: tuple[int, ...]) -> Answer:
    model = RepurchaseModel(horizons=horizons).fit(shop.orders, shop.as_of)
    return Answer(shop, model, model.predict(shop.orders, shop.as_of))


@pytest.fixture(scope="module")
def answer_for(known_shop: KnownShop) -> Callable[[str], Answer]:
    """A function that fits a shop by name, once."""
    return cache(lambda name: answer(known_shop(name), LOOK_AHEAD[name]))


@pytest.fixture(scope="module", params=LOOK_AHEAD)
def answered(request: pytest.FixtureRequest, answer_for: Callable[[str], Answer]) -> Answer:
    return answer_for(request.param)


class TestEveryOddShop:
    def test_is_answered_for_every_customer(self, answered: Answer, honest: Callable[..., None]) -> None:
        horizons = answered.model.horizons_
        money = answered.shop.orders["amount"].null_count() == 0
        honest(answered.scores, horizons, money=money)
        assert answered.scores["customer_id"].to_list() == sorted(answered.shop.orders["customer_id"].unique())
        curve = np.vstack([answered.p(h) for h in horizons])
        assert (curve > 0.0).all()
        assert (curve < 1.0).all()
        assert (np.diff(curve, axis=0) > 0.0).all()
        assert any("no amounts" in note for note in map(render, answered.model.notes_)) is not money

    def test_says_as_many_as_will_buy(self, answered: Answer) -> None:
        """All together, in tenths by what was said, and none of them too sure."""
        for h in answered.model.horizons_:
            p, truth, allowed = answered.p(h), answered.shop.p(h), band(answered.shop, h)
            assert p.mean() == pytest.approx(truth.mean(), abs=allowed), h
            assert calibration_error(p, truth) < allowed, h
            assert 0.65 < calibration_slope(p, truth) < 1 / 0.65, h

    def test_tells_customers_apart_as_well_as_a_rule(self, answered: Answer) -> None:
        for h in answered.model.learned_:
            truth = answered.shop.p(h)
            lost = log_loss(answered.p(h), truth)
            assert lost < log_loss(np.full(len(truth), truth.mean()), truth) - 0.02, h
            assert lost < min(log_loss(p, truth) for p in answered.by_rules(h).values()) + BESIDE_THE_RULES, h

    def test_orders_and_money_add_up(self, answered: Answer) -> None:
        """Within two standard errors of such a total, and a quarter of it."""
        for h in answered.model.horizons_:
            orders = answered.shop.purchase_days(h)
            totals = {"orders": orders, "spend": orders * answered.shop.money}
            for name, truth in totals.items():
                said = answered.scores[f"{name}_expected_{h}d"]
                if said.null_count() == 0:
                    allowed = 2.0 * math.sqrt(np.square(truth).sum()) / truth.sum() + 0.25
                    assert said.sum() == pytest.approx(truth.sum(), rel=allowed), (name, h)


class TestHorizons:
    """One model for four horizons of which 500 days teach three."""

    @pytest.fixture
    def four(self, answer_for: Callable[[str], Answer]) -> Answer:
        return answer_for("steady")

    def test_one_too_long_to_learn_is_named(self, four: Answer) -> None:
        assert four.model.learned_ == (30, 90, 180)
        alone = [note for note in map(render, four.model.notes_) if "answered by BTYD alone" in note]
        assert [note.split()[0] for note in alone] == ["365"]

    def test_one_alone_says_what_it_says_among_others(self, four: Answer) -> None:
        """Each is learned by itself; the curve lifts a probability only where a shorter horizon's is higher."""
        one = answer(four.shop, (90,))
        apart = np.abs(one.p(90) - four.p(90))
        assert apart.max() < 0.03
        assert np.mean(apart > 1e-12) < 0.05

    def test_twice_as_long_is_at_most_twice_as_much(self, four: Answer) -> None:
        """Customers who buy at a rate of their own and may leave: what is so of the truth is so of what is said."""
        for short, long in ((30, 90), (90, 180), (180, 365)):
            times = long / short
            for p in (four.p, four.shop.p):
                assert p(long).mean() <= np.mean(1.0 - (1.0 - p(short)) ** times) + 0.01
            said = {h: four.scores[f"orders_expected_{h}d"].sum() for h in (short, long)}
            true = {h: four.shop.purchase_days(h).sum() for h in (short, long)}
            for orders in (said, true):
                assert orders[short] < orders[long] <= 1.03 * times * orders[short]

    def test_expected_orders_are_at_least_the_chance_of_one(self, four: Answer) -> None:
        for h in four.model.horizons_:
            assert (four.scores[f"orders_expected_{h}d"] >= four.scores[f"p_repurchase_{h}d"]).all()


def test_where_all_are_alike_no_one_is_singled_out(known_shop: KnownShop) -> None:
    """Nothing can be learned; what chance seemed to teach must not cost more than this beside the true share."""
    said = answer(known_shop("all_alike"), (30, 90))
    for h in (30, 90):
        truth = said.shop.p(h)
        assert np.ptp(truth) < 1e-12
        assert said.p(h).mean() == pytest.approx(truth[0], abs=band(said.shop, h))
        assert log_loss(said.p(h), truth) < log_loss(truth, truth) + 0.03


class TestAfterAClosing:
    """Silence of two months, ten days ago, that no customer chose."""

    @pytest.fixture
    def reopened(self, answer_for: Callable[[str], Answer]) -> Answer:
        return answer_for("closed_two_months")

    def test_the_reader_is_told_and_reads_true_dates(self, reopened: Answer) -> None:
        noted = [note for note in map(render, reopened.model.notes_) if "closed" in note]
        assert [note.split(",")[0] for note in noted] == ["no order from 19 December 2022 to 16 February 2023"]
        known = rfm_table(reopened.shop.orders, as_of=reopened.shop.as_of)
        assert reopened.scores.select(known.columns).equals(known)
        silent = reopened.scores.filter(pl.col("reason_1").str.contains("one purchase only, .* days ago"))
        told = silent["reason_1"].str.extract(r"(\d+) days ago").cast(pl.Int64)
        assert told.equals(silent["days_since_last"].rename(told.name))
        assert told.max() > 100

    def test_a_backtest_names_days_by_the_calendar(self, reopened: Answer) -> None:
        shop = reopened.shop
        snapshots = Snapshots(build_ledger(shop.orders, observed_until=shop.as_of), horizons=(30,))
        counted = shop.as_of - timedelta(days=100)
        said = record_predictions(reopened.model.forecaster_, snapshots, counted, horizon_days=30)
        assert said["cutoff"].unique().to_list() == [counted - timedelta(days=59)]  # one of sixty days is counted

    def test_comes_back_from_its_state(self, reopened: Answer) -> None:
        again = RepurchaseModel.from_state(reopened.model.to_state())
        assert again.predict(reopened.shop.orders, reopened.shop.as_of).equals(reopened.scores)

    def test_part_of_the_customers_get_the_bits_of_the_whole(
        self, reopened: Answer, same_bits: Callable[..., None]
    ) -> None:
        few = reopened.scores["customer_id"][::60].implode()
        part = reopened.shop.orders.filter(pl.col("customer_id").is_in(few))
        found = reopened.model.predict(part, reopened.shop.as_of)
        same_bits(found, reopened.scores.filter(pl.col("customer_id").is_in(few)))


class TestTheWholeWay:
    """Through ``train`` and ``score``: a model that is not shown to be better than a rule scores no one unasked."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"

    @pytest.fixture
    def command(self, store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
        """A function that does what ``repurchase WORDS`` does, in this process."""
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

        def run(*words: object) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "argv", ["repurchase", *map(str, words)])
            code = 0
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            return code, *capsys.readouterr()

        return run

    @pytest.mark.parametrize(
        ("world", "grades"),
        [("all_in_one_week", "ABC"), ("all_alike", "D"), ("sixty_days", "-")],
    )
    def test_the_grade_fits_the_shop(
        self, world: str, grades: str, known_shop: KnownShop, command: Command, tmp_path: Path
    ) -> None:
        shop, orders, out = known_shop(world), tmp_path / "orders.csv", tmp_path / "scores.parquet"
        shop.orders.write_csv(orders, datetime_format="%Y-%m-%d")
        where = (orders, "--home", tmp_path, "--as-of", shop.as_of)
        code, said, _ = command("train", *where, "--horizon", 30, "--jobs", 1)
        assert code == 0
        [version] = [folder.name for folder in (tmp_path / "models").iterdir() if folder.is_dir()]
        evaluation = json.loads((tmp_path / "models" / version / "evaluation.json").read_text())
        assert evaluation["grade"] in grades
        assert ("is the champion" in said) is (grades == "ABC")
        lost = {
            name: [row["log_loss"] for row in evaluation["backtest"] if row["predictor"] == name] for name in VOICES
        }
        if grades == "ABC":
            assert all(np.mean(lost["model"]) < np.mean(lost[rule]) for rule in RULE_SCORES)

        code, _, refused = command("score", *where, "--out", out)
        if grades != "ABC":
            assert (code, refused.count("\n")) == (2, 1)
            assert f"version {version} did not pass the gate" in refused
            code, _, _ = command("score", *where, "--out", out, "--model", version)
        assert code == 0
        p = pl.read_parquet(out)["p_repurchase_30d"].to_numpy()
        assert p.mean() == pytest.approx(shop.p(30).mean(), abs=band(shop, 30))

    @pytest.mark.parametrize(
        ("kept", "words"),
        [
            (
                pl.col("customer_id") < "c00060",
                "60 customers with a purchase that was kept (required: at least 100",
            ),
            (pl.col("customer_id").is_first_distinct(), "no customer who bought on a second day (required: at least"),
            (
                pl.col("order_date") - pl.col("order_date").min() < timedelta(days=40),
                "40 days of history (required: at least 45",
            ),
        ],
        ids=["few customers", "one-time buyers only", "forty days"],
    )
    def test_too_little_is_refused_by_name_in_one_line(
        self, kept: pl.Expr, words: str, known_shop: KnownShop, command: Command, tmp_path: Path
    ) -> None:
        orders = tmp_path / "orders.csv"
        some = known_shop("sixty_days").orders.filter(kept)
        some.write_csv(orders, datetime_format="%Y-%m-%d")
        code, said, refused = command("train", orders, "--home", tmp_path)
        assert (code, said, refused.count("\n")) == (2, "", 1)
        assert refused.startswith("repurchase: Not enough orders: ")
        assert words in refused
        assert not (tmp_path / "models").exists()
