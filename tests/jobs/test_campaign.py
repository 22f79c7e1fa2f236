"""A campaign through the command line: planned, held out, measured, learned from; and what is refused."""

import hashlib
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

DAYS, N = 30, 2400
MONEY = ("--margin", "0.5", "--cost-per-contact", "0.5")
Command = Callable[..., Any]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_campaign_that_worked(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
    out = tmp_path / "may"
    planned = plan(scores, out)
    assert planned.code == 0, planned.err
    assert "ASSUMED, not known" in planned.out
    assert "randomly assigned to the control group" in planned.out
    assert "95% interval" in planned.out
    assert not re.search(r"\d\s%", planned.out)
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


def test_a_campaign_without_effect_cannot_tell(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
    plan(scores, tmp_path / "may")
    measured = measure(tmp_path / "may", orders(tmp_path / "may"))
    assert "CANNOT TELL" in measured.out.splitlines()[0]
    assert "points" in measured.out.splitlines()[0]


def test_before_its_window_is_over_it_says_how_long(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
    plan(scores, tmp_path / "may")
    measured = measure(tmp_path / "may", orders(tmp_path / "may", lift=0.15, days=20))
    assert measured.out.startswith("CANNOT TELL YET: 20 of 30 days are over")
    assert "2024-07-30" in measured.out
    past = plan(scores, tmp_path / "june", "--past", tmp_path / "may" / "campaign.measured.json")
    assert past.code == 2
    assert "before its window was over" in past.err


def test_past_campaigns_say_what_to_expect(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
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


def test_whom_past_campaigns_moved_is_learned(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
    """Only those silent for 140 days or longer were moved, whatever their risk."""
    plan(scores, tmp_path / "may")
    measure(tmp_path / "may", orders(tmp_path / "may", lift=0.6, silent=140))
    told = ("--past", tmp_path / "may" / "campaign.measured.json", "--budget", 200)
    again = plan(scores, tmp_path / "june", "--name", "June", *told)
    assert again.code == 0, again.err
    assert "It is used." in again.out, again.out
    chosen = pl.read_parquet(tmp_path / "june" / "campaign.customers.parquet")
    assert (chosen["days_since_last"] >= 140).mean() > 0.6  # of all customers 0.3


def test_the_same_plan_is_drawn_again_and_none_is_overwritten(scores: Path, tmp_path: Path, plan: Command) -> None:
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


def test_a_list_and_a_segment_narrow_the_choice(scores: Path, tmp_path: Path, plan: Command) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("customer_id\n" + "\n".join(f"c{number:05d}" for number in range(300)) + "\n")
    plan(scores, tmp_path / "may", "--list", listed, "--segment", "regular")
    chosen = pl.read_parquet(tmp_path / "may" / "campaign.customers.parquet")
    assert set(chosen["segment"]) == {"regular"}
    assert chosen["customer_id"].max() < "c00300"


@pytest.mark.parametrize("told", [("--locale", "nb"), ("--locale", "ru", "--mail-tool", "klaviyo")])
def test_a_list_of_ours_names_its_ids_in_any_language(
    scores: Path, tmp_path: Path, told: tuple[object, ...], plan: Command, repurchase: Command
) -> None:
    """The record beside the lists says which column is the id."""
    contacts = tmp_path / "contacts.csv"
    ids = pl.read_parquet(scores)["customer_id"]
    mail = [f"{one}@example.org" for one in ids]
    pl.DataFrame({"id": ids, "email": mail, "consent": ["yes"] * len(ids)}).write_csv(contacts)
    told = (*told, "--contacts", contacts)
    made = repurchase("lists", scores, "--out", tmp_path / "lists", "--home", tmp_path, *told)
    assert made.code == 0, made.err
    planned = plan(scores, tmp_path / "may", "--list", tmp_path / "lists" / "all.csv")
    assert planned.code == 0, planned.err
    listed = json.loads((tmp_path / "lists" / "lists.json").read_text())["files"]
    rows = next(file["rows"] for file in listed if file["name"] == "all.csv")
    assert json.loads((tmp_path / "may" / "campaign.json").read_text())["candidates"]["asked"] == rows > 0


def test_a_forgotten_customer_is_counted_and_a_changed_file_refused(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
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
    assert "was altered since it was written" in refused.err
    rows.write_parquet(path)
    record = out / "campaign.json"
    record.write_text(record.read_text().replace('"margin": 0.5', '"margin": 0.9'))
    assert "its digest does not match" in measure(out, log).err


def test_forget_takes_a_customer_out_and_the_campaign_can_still_be_measured(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command, repurchase: Command
) -> None:
    out, log = tmp_path / "may", orders()
    plan(scores, out)
    measure(out, log)
    someone = pl.read_csv(out / "campaign.control.csv")["customer_id"][0]
    scores.unlink()  # without a record they would be named as a place where customers remain
    told = repurchase("forget", someone, "--home", tmp_path)
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
        (("--budget", 0.6), "can be chosen for 0.6"),
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
        (("--day", "June"), "is not a day such as 2024-12-31"),
        (("--day", "9999-12-31"), "there are no 30 days after it"),
        (("--name", " "), "--name is empty"),
        (("--power", 1), "--power must be"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line(
    scores: Path, tmp_path: Path, more: tuple[object, ...], words: str, plan: Command
) -> None:
    before = files(tmp_path)
    refused = plan(scores, tmp_path / "may", *more)
    assert refused.code == 2
    assert words in refused.err
    assert len(refused.err.splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["may.csv", "may.XLSX", "may.JSON"])
def test_a_campaign_makes_no_folder_that_is_called_like_a_file(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], name: str, plan: Command, measure: Command
) -> None:
    refused = plan(scores, tmp_path / name)
    assert refused.code == 2
    assert f"{name}: a campaign is written as *.json, or into a folder" in refused.line
    assert plan(scores, tmp_path / "may.2024").code == 0
    refused = measure(tmp_path / "may.2024", orders(), "--out", tmp_path / "it.csv")
    assert refused.code == 2
    assert "it.csv: a measurement is written as *.measured.json, or into a folder" in refused.line
    assert not {name, "it.csv"} & files(tmp_path)


@pytest.mark.parametrize("command", [("campaign", "plan", "--effect", 5, *MONEY), ("economics", "--margin", 0.5)])
def test_scores_of_another_version_are_refused_as_lists_refuse_them(
    scores: Path, tmp_path: Path, command: tuple[object, ...], repurchase: Command
) -> None:
    def refused(path: Path) -> str:
        made = repurchase(*command, path, "--out", tmp_path / "made.json")
        assert made.code == 2
        assert not (tmp_path / "made.json").exists()
        assert repurchase("lists", path, "--out", tmp_path / "lists").line == made.line
        return str(made.line)

    digest = hashlib.sha256(scores.read_bytes()).hexdigest()
    record = {"schema": 1, "model_version": "9", "outputs": {"scores": {"sha256": digest}}}
    scores.with_suffix(".run.json").write_text(json.dumps(record))
    assert "model 1, but their record says 9" in refused(scores)
    renamed, nobody = tmp_path / "renamed.parquet", tmp_path / "nobody.parquet"
    pl.read_parquet(scores).with_columns(segment=pl.lit("dormant")).write_parquet(renamed)
    assert "1 segments are not known here: dormant" in refused(renamed)
    pl.read_parquet(scores).clear().write_parquet(nobody)
    assert "no customers" in refused(nobody)


@pytest.mark.parametrize(
    ("command", "words"), [(("campaign", "plan"), "--effect"), (("economics",), "--margin")], ids=["plan", "economics"]
)
def test_assumptions_must_be_given(
    scores: Path, tmp_path: Path, command: tuple[str, ...], words: str, repurchase: Command
) -> None:
    told = ("--out", tmp_path / "x.json", *(MONEY if "plan" in command else ()))
    refused = repurchase(*command, scores, *told)
    assert refused.code == 2
    assert f"{words} is missing: " in refused.err


def test_scores_that_are_none_are_refused(scores: Path, tmp_path: Path, plan: Command) -> None:
    bare = tmp_path / "bare.parquet"
    pl.read_parquet(scores).drop(f"p_repurchase_{DAYS}d").write_parquet(bare)
    assert "is not a scores table" in plan(bare, tmp_path / "may").err
    mixed = tmp_path / "mixed.parquet"
    version = pl.when(pl.arange(pl.len()) == 0).then(pl.lit("2")).otherwise(pl.lit("1")).alias("model_version")
    pl.read_parquet(scores).with_columns(version).write_parquet(mixed)
    assert "scores of 2 models (1, 2)" in plan(mixed, tmp_path / "may").err
    scores.with_suffix(".run.json").write_text('{"schema": 99}')
    refused = plan(scores, tmp_path / "may")
    assert refused.code == 2
    assert "that this version knows" in refused.err
    assert not (tmp_path / "may").exists()


def test_scores_without_money_give_a_campaign_without_it(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], measure: Command, repurchase: Command
) -> None:
    bare = pl.read_parquet(scores).with_columns(pl.lit(None, pl.Float64).alias(f"spend_expected_{DAYS}d"))
    bare.write_parquet(tmp_path / "bare.parquet")
    wishes = ("--effect", 5, "--cost-per-contact", 1, "--budget", 500)
    planned = repurchase("campaign", "plan", tmp_path / "bare.parquet", "--out", tmp_path / "may", *wishes)
    assert planned.code == 0, planned.err
    assert "profit" not in planned.out
    measured = measure(tmp_path / "may", orders())
    assert measured.code == 0, measured.err
    assert json.loads((tmp_path / "may" / "campaign.measured.json").read_text())["profit"] is None
    refused = repurchase("economics", tmp_path / "bare.parquet", "--margin", 0.5)
    assert "no expected spend within 30 days" in refused.err


def test_scores_of_nobody_with_a_history_are_refused(
    scores: Path, tmp_path: Path, plan: Command, repurchase: Command
) -> None:
    nobody = pl.read_parquet(scores).with_columns(pl.lit("no_history").alias("status"))
    nobody.write_parquet(tmp_path / "new.parquet")
    for refused in (
        plan(tmp_path / "new.parquet", tmp_path / "may"),
        repurchase("economics", tmp_path / "new.parquet", "--margin", 0.5),
    ):
        assert refused.code == 2
        assert len(refused.err.splitlines()) == 1


def test_what_cannot_be_measured_is_said_in_a_line(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
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
        (measure(out / "campaign.treatment.csv", log), "no control group was randomly assigned"),
        (measure(tmp_path / "none.json", log), "no such file"),
    ]
    for refused, words in cases:
        assert refused.code == 2
        assert words in refused.err
    assert files(out) == before


def test_without_a_control_group_nothing_can_be_measured(
    scores: Path, tmp_path: Path, orders: Callable[..., Path], plan: Command, measure: Command
) -> None:
    planned = plan(scores, tmp_path / "may", "--control-share", 0)
    assert "NO CONTROL GROUP" in planned.out
    refused = measure(tmp_path / "may", orders())
    assert refused.code == 2
    assert "there is no control group" in refused.err


def test_economics_of_the_shop(scores: Path, tmp_path: Path, repurchase: Command) -> None:
    out = tmp_path / "economics" / "june.json"
    told = ("--margin", 0.5, "--contact-cost", 0.2, "--new-customer-cost", 30)
    made = repurchase("economics", scores, "--out", out, *told)
    assert made.code == 0, made.err
    assert "One point of retention" in made.out
    assert "Winning a new one costs" in made.out
    assert {path.suffix for path in out.parent.iterdir()} == {".json", ".csv", ".svg", ".png"}
    record = json.loads(out.read_text())
    kept = next(row for row in record["rows"] if row["figure"] == "customers")
    assert kept["value"] == pytest.approx(N / 100)
    assert pl.read_csv(out.with_suffix(".csv")).height == len(record["rows"])
    again = repurchase("economics", scores, "--out", tmp_path / "again.json", *told)
    assert again.code == 0
    assert (tmp_path / "again.svg").read_bytes() == out.with_suffix(".svg").read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--contact-cost", -1), "--contact-cost must be 0 or more"),
        (("--new-customer-cost", -1), "--new-customer-cost must be 0 or more"),
        (("--reach", N + 1), "--reach must be 1 to 2,400"),
        (("--uplift", 0), "--uplift must be above 0"),
        (("--uplift", 51), "at most 50 points, because twice the uplift is calculated too"),
        (("--contact-cost", "1e308"), "--contact-cost must be 0 or more, and at most a trillion"),
        (("--new-customer-cost", "inf"), "--new-customer-cost must be 0 or more, and at most a trillion"),
        (("--horizon", 0), "--horizon 0: these scores look 30 days ahead"),
    ],
)
def test_economics_refuses_in_a_line(
    scores: Path, tmp_path: Path, more: tuple[object, ...], words: str, repurchase: Command
) -> None:
    refused = repurchase("economics", scores, "--out", tmp_path / "e.json", "--margin", 0.5, *more)
    assert refused.code == 2
    assert words in refused.err
    assert not (tmp_path / "e.json").exists()
