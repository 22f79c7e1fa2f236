"""A campaign through the command line: planned, held out, measured, learned from; and what is refused."""

import contextlib
import io
import json
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from repurchase.cli import main
from repurchase.tables import scores_table

AS_OF, DAYS, N = date(2024, 6, 30), 30, 2400
MONEY = ("--margin", "0.5", "--cost-per-contact", "0.5")


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


def run(*words: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    before, code = sys.argv, 0
    sys.argv = ["repurchase", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return Outcome(code, out.getvalue(), err.getvalue())


def chances() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.beta(1.5, 3.0, N), np.exp(random.normal(3.5, 0.5, N))


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    p, spend = chances()
    rows = pl.DataFrame(
        {
            "customer_id": [f"c{number:05d}" for number in range(N)],
            "as_of": [AS_OF] * N,
            "model_version": ["1"] * N,
            "status": ["scored"] * N,
            "orders": [1] * N,
            "days_since_last": np.arange(N) % 200,
            "frequency": np.zeros(N, dtype=np.int64),
            "age_days": np.full(N, 300),
            "spend_total": spend,
            f"p_repurchase_{DAYS}d": p,
            f"churn_risk_{DAYS}d": 1 - p,
            f"spend_expected_{DAYS}d": p * spend,
            "segment": np.where(p > 0.4, "regular", "win back"),
        }
    )
    schema = scores_table([DAYS]).schema
    known = [pl.lit(None).alias(name) for name in schema if name not in rows.columns]
    path = tmp_path / "scores.parquet"
    rows.with_columns(known).select(pl.col(name).cast(dtype) for name, dtype in schema.items()).write_parquet(path)
    return path


@pytest.fixture
def orders(tmp_path: Path) -> Callable[..., Path]:
    """Writes the log after a campaign: everyone bought once before it; those reached buy more often by ``lift``."""

    def write(campaign: Path | None = None, *, lift: float = 0.0, days: int = DAYS, silent: int = 0) -> Path:
        p, spend = chances()
        reached = np.zeros(N, dtype=np.bool_)
        if campaign:
            arms = pl.read_parquet(campaign / "campaign.customers.parquet")
            mine = arms.filter(pl.col("arm") == "treatment")["customer_id"].str.slice(1).cast(pl.Int64).to_numpy()
            reached[mine] = True
        random = np.random.default_rng(7)
        reached &= np.arange(N) % 200 >= silent  # the others are not moved
        bought = random.random(N) < np.clip(p + lift * reached, 0, 1)
        rows = [(f"c{who:05d}", AS_OF - timedelta(days=100 + who % 50), spend[who]) for who in range(N)]
        rows += [
            (f"c{who:05d}", AS_OF + timedelta(days=1 + who % 25), spend[who]) for who in np.flatnonzero(bought).tolist()
        ]
        rows += [("other", AS_OF + timedelta(days=days), 5.0)]
        frame = pl.DataFrame(rows, schema=["customer_id", "order_date", "amount"], orient="row").filter(
            pl.col("order_date") <= AS_OF + timedelta(days=days)
        )
        path = tmp_path / "orders.csv"
        frame.with_row_index("order_id").with_columns(pl.col("amount").round(2)).write_csv(path)
        return path

    return write


def plan(scores: Path, out: Path, *more: object) -> Outcome:
    return run("campaign", "plan", scores, "--out", out, "--home", out.parent, "--effect", 5, *MONEY, *more)


def measure(campaign: Path, log: Path, *more: object) -> Outcome:
    return run("campaign", "measure", campaign, log, "--home", campaign.parent, *more)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_campaign_that_worked(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    out = tmp_path / "may"
    planned = plan(scores, out)
    assert planned.code == 0, planned.err
    assert "ASSUMED, not known" in planned.out
    assert "held out by lot" in planned.out
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o640}
    record = json.loads((out / "campaign.json").read_text())
    assert "c00001" not in (out / "campaign.json").read_text()
    lists = {arm: pl.read_csv(out / f"campaign.{arm}.csv")["customer_id"] for arm in ("treatment", "control")}
    assert {arm: len(ids) for arm, ids in lists.items()} == {arm: record["arms"][arm] for arm in lists}
    assert not set(lists["treatment"]) & set(lists["control"])
    measured = measure(out, orders(out, lift=0.15))
    assert measured.code == 0, measured.err
    assert "bought MORE often because of the campaign" in measured.out
    found = json.loads((out / "campaign.measured.json").read_text())
    assert found["repurchase"]["adjusted"]["low"] < 15 < found["repurchase"]["adjusted"]["high"]
    assert found["repurchase"]["adjusted"]["error"] < found["repurchase"]["unadjusted"]["error"]
    assert found["sales"]["adjusted"]["can_tell"]
    assert "Return on spend" in measured.out


def test_a_campaign_without_effect_cannot_tell(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    plan(scores, tmp_path / "may")
    measured = measure(tmp_path / "may", orders(tmp_path / "may"))
    assert "CANNOT TELL" in measured.out.splitlines()[0]
    assert "points" in measured.out.splitlines()[0]


def test_before_its_window_is_over_it_says_how_long(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    plan(scores, tmp_path / "may")
    measured = measure(tmp_path / "may", orders(tmp_path / "may", lift=0.15, days=20))
    assert measured.out.startswith("CANNOT TELL YET: 20 of 30 days are over")
    assert "2024-07-30" in measured.out
    past = plan(scores, tmp_path / "june", "--past", tmp_path / "may" / "campaign.measured.json")
    assert past.code == 2
    assert "before its window was over" in past.err


def test_past_campaigns_say_what_to_expect(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    plan(scores, tmp_path / "may")
    measure(tmp_path / "may", orders(tmp_path / "may", lift=0.15))
    again = plan(scores, tmp_path / "june", "--name", "June", "--past", tmp_path / "may" / "campaign.measured.json")
    assert again.code == 0, again.err
    assert "Uplift from past campaigns" in again.out
    assert "ASSUMED" not in again.out
    record = json.loads((tmp_path / "june" / "campaign.json").read_text())
    measured = json.loads((tmp_path / "may" / "campaign.measured.json").read_text())
    value = measured["repurchase"]["adjusted"]["value"]
    assert record["assumption"]["uplift_points"] == pytest.approx(value, abs=1e-3)
    assert record["past"]["learning"]["words"] in again.out


def test_whom_past_campaigns_moved_is_learned(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    """Only those silent for 140 days or longer were moved, whatever their risk."""
    plan(scores, tmp_path / "may")
    measure(tmp_path / "may", orders(tmp_path / "may", lift=0.6, silent=140))
    told = ("--past", tmp_path / "may" / "campaign.measured.json", "--budget", 200)
    again = plan(scores, tmp_path / "june", "--name", "June", *told)
    assert again.code == 0, again.err
    assert "It is used." in again.out, again.out
    chosen = pl.read_parquet(tmp_path / "june" / "campaign.customers.parquet")
    assert (chosen["days_since_last"] >= 140).mean() > 0.6  # of all customers 0.3


def test_the_same_plan_is_drawn_again_and_none_is_overwritten(scores: Path, tmp_path: Path) -> None:
    plan(scores, tmp_path / "may")
    plan(scores, tmp_path / "again")
    first, again = (pl.read_parquet(tmp_path / name / "campaign.customers.parquet") for name in ("may", "again"))
    assert first.equals(again)
    plan(scores, tmp_path / "other", "--seed", 1)
    other = pl.read_parquet(tmp_path / "other" / "campaign.customers.parquet")
    assert not first.equals(other)
    refused = plan(scores, tmp_path / "may")
    assert refused.code == 2
    assert "must not be drawn again" in refused.err


def test_a_list_and_a_segment_narrow_the_choice(scores: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("customer_id\n" + "\n".join(f"c{number:05d}" for number in range(300)) + "\n")
    plan(scores, tmp_path / "may", "--list", listed, "--segment", "regular")
    chosen = pl.read_parquet(tmp_path / "may" / "campaign.customers.parquet")
    assert set(chosen["segment"]) == {"regular"}
    assert chosen["customer_id"].max() < "c00300"


def test_a_forgotten_customer_is_counted_and_a_changed_file_refused(
    scores: Path, tmp_path: Path, orders: Callable[..., Path]
) -> None:
    out, log = tmp_path / "may", orders()
    plan(scores, out)
    path = out / "campaign.customers.parquet"
    rows = pl.read_parquet(path)
    rows[1:].write_parquet(path)
    assert "1 customer of the plan no longer in the file" in measure(out, log).out
    swapped = pl.when(pl.arange(pl.len()) == 3).then(pl.lit("control")).otherwise(pl.lit("treatment"))
    rows.with_columns(arm=swapped).write_parquet(path)
    refused = measure(out, log)
    assert refused.code == 2
    assert "was altered since it was planned" in refused.err
    rows.write_parquet(path)
    record = out / "campaign.json"
    record.write_text(record.read_text().replace('"margin": 0.5', '"margin": 0.9'))
    assert "its digest does not fit" in measure(out, log).err


def test_forget_takes_a_customer_out_and_the_campaign_can_still_be_measured(
    scores: Path, tmp_path: Path, orders: Callable[..., Path]
) -> None:
    out, log = tmp_path / "may", orders()
    plan(scores, out)
    measure(out, log)
    someone = pl.read_csv(out / "campaign.control.csv")["customer_id"][0]
    told = run("forget", someone, "--home", tmp_path)
    assert told.code == 0, told.err
    for name in ("campaign.customers.parquet", "campaign.outcomes.parquet"):
        assert someone not in pl.read_parquet(out / name)["customer_id"].to_list()
    assert someone not in (out / "campaign.control.csv").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o640}
    assert "1 customer of the plan no longer in the file" in measure(out, log).out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--budget", 0), "--budget must be above 0"),
        (("--budget", 0.6), "can be reached and held out for 0.6"),
        (("--control-share", 1), "a control group of everyone"),
        (("--control-share", -0.1), "--control-share must be"),
        (("--margin", 1.5), "--margin must be above 0 and at most 1"),
        (("--margin", 0), "--margin must be above 0 and at most 1"),
        (("--cost-per-contact", -1), "--cost-per-contact must be 0 or more"),
        (("--offer-cost", -1), "--offer-cost must be 0 or more"),
        (("--effect", 0), "--effect must be above 0"),
        (("--horizon", 90), "look 30 days ahead"),
        (("--segment", "nobody"), "not in these scores"),
        (("--day", "2024-01-01"), "a campaign goes out after that"),
        (("--day", "June"), "--day must be a day"),
        (("--power", 1), "--power must be"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line(
    scores: Path, tmp_path: Path, more: tuple[object, ...], words: str
) -> None:
    before = files(tmp_path)
    refused = plan(scores, tmp_path / "may", *more)
    assert refused.code == 2
    assert words in refused.err
    assert len(refused.err.splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "words"), [(("campaign", "plan"), "--effect"), (("economics",), "--margin")], ids=["plan", "economics"]
)
def test_nothing_is_assumed_that_was_not_told(
    scores: Path, tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    told = ("--out", tmp_path / "x.json", *(MONEY if "plan" in command else ()))
    refused = run(*command, scores, *told)
    assert refused.code == 2
    assert f"Say {words}" in refused.err


def test_scores_that_are_none_are_refused(scores: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.parquet"
    pl.read_parquet(scores).drop(f"p_repurchase_{DAYS}d").write_parquet(bare)
    assert "is not a scores table" in plan(bare, tmp_path / "may").err
    mixed = tmp_path / "mixed.parquet"
    version = pl.when(pl.arange(pl.len()) == 0).then(pl.lit("2")).otherwise(pl.lit("1")).alias("model_version")
    pl.read_parquet(scores).with_columns(version).write_parquet(mixed)
    assert "scores of 1 days and 2 models" in plan(mixed, tmp_path / "may").err
    scores.with_suffix(".run.json").write_text('{"schema": 99}')
    refused = plan(scores, tmp_path / "may")
    assert refused.code == 2
    assert "that this version knows" in refused.err
    assert not (tmp_path / "may").exists()


def test_scores_without_money_give_a_campaign_without_it(
    scores: Path, tmp_path: Path, orders: Callable[..., Path]
) -> None:
    bare = pl.read_parquet(scores).with_columns(pl.lit(None, pl.Float64).alias(f"spend_expected_{DAYS}d"))
    bare.write_parquet(tmp_path / "bare.parquet")
    wishes = ("--effect", 5, "--cost-per-contact", 1, "--budget", 500)
    planned = run("campaign", "plan", tmp_path / "bare.parquet", "--out", tmp_path / "may", *wishes)
    assert planned.code == 0, planned.err
    assert "profit" not in planned.out
    measured = measure(tmp_path / "may", orders())
    assert measured.code == 0, measured.err
    assert json.loads((tmp_path / "may" / "campaign.measured.json").read_text())["profit"] is None
    refused = run("economics", tmp_path / "bare.parquet", "--margin", 0.5)
    assert "no expected spend within 30 days" in refused.err


def test_scores_of_nobody_with_a_history_are_refused(scores: Path, tmp_path: Path) -> None:
    nobody = pl.read_parquet(scores).with_columns(pl.lit("no_history").alias("status"))
    nobody.write_parquet(tmp_path / "new.parquet")
    for refused in (
        plan(tmp_path / "new.parquet", tmp_path / "may"),
        run("economics", tmp_path / "new.parquet", "--margin", 0.5),
    ):
        assert refused.code == 2
        assert len(refused.err.splitlines()) == 1


def test_what_cannot_be_measured_is_said_in_a_line(scores: Path, tmp_path: Path, orders: Callable[..., Path]) -> None:
    out, log = tmp_path / "may", orders()
    plan(scores, out)
    before = files(out)
    stranger = tmp_path / "stranger.csv"
    pl.read_csv(log).with_columns(pl.format("x{}", "customer_id").alias("customer_id")).write_csv(stranger)
    cases = [
        (measure(out, log, "--as-of", "2024-06-30"), "it has not begun"),
        (measure(out, log, "--from", "2024-12-01"), "it has not begun"),
        (measure(out, log, "--from", "2024-01-01"), "before the campaign was planned"),
        (measure(out, stranger), "the orders of another shop"),
        (measure(out / "campaign.treatment.csv", log), "nobody was held out by lot"),
        (measure(tmp_path / "none.json", log), "no such file"),
    ]
    for refused, words in cases:
        assert refused.code == 2
        assert words in refused.err
    assert files(out) == before


def test_without_a_control_group_nothing_can_be_measured(
    scores: Path, tmp_path: Path, orders: Callable[..., Path]
) -> None:
    planned = plan(scores, tmp_path / "may", "--control-share", 0)
    assert "NOBODY IS HELD OUT" in planned.out
    refused = measure(tmp_path / "may", orders())
    assert refused.code == 2
    assert "nobody was held out" in refused.err


def test_economics_of_the_shop(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "economics" / "june.json"
    told = ("--margin", 0.5, "--contact-cost", 0.2, "--new-customer-cost", 30)
    made = run("economics", scores, "--out", out, *told)
    assert made.code == 0, made.err
    assert "One point of retention" in made.out
    assert "Winning a new one costs" in made.out
    assert {path.suffix for path in out.parent.iterdir()} == {".json", ".csv", ".svg", ".png"}
    record = json.loads(out.read_text())
    kept = next(row for row in record["rows"] if row["figure"] == "customers")
    assert kept["value"] == pytest.approx(N / 100)
    assert pl.read_csv(out.with_suffix(".csv")).height == len(record["rows"])
    again = run("economics", scores, "--out", tmp_path / "again.json", *told)
    assert again.code == 0
    assert (tmp_path / "again.svg").read_bytes() == out.with_suffix(".svg").read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--contact-cost", -1), "--contact-cost must be 0 or more"),
        (("--new-customer-cost", -1), "--new-customer-cost must be 0 or more"),
        (("--reach", N + 1), "--reach must be 1 to 2,400"),
        (("--uplift", 0), "--uplift must be above 0"),
    ],
)
def test_economics_refuses_in_a_line(scores: Path, tmp_path: Path, more: tuple[object, ...], words: str) -> None:
    refused = run("economics", scores, "--out", tmp_path / "e.json", "--margin", 0.5, *more)
    assert refused.code == 2
    assert words in refused.err
    assert not (tmp_path / "e.json").exists()
