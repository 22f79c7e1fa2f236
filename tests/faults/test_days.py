"""Days begin where the setting says, whatever the clock and the zone of the machine say."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from repurchase.cli.app import main

INSTANTS = {
    "eve": "2024-02-28T23:30:00Z",
    "leap_day": "2024-02-29T12:00:00Z",
    "leap_night": "2024-02-29T23:30:00+00:00",
    "spring_before": "2024-03-31T00:30:00Z",
    "spring_after": "2024-03-31T01:30:00Z",
    "autumn_first_0230": "2024-10-27T00:30:00Z",
    "autumn_second_0230": "2024-10-27T01:30:00Z",
    "new_year": "2024-12-31T23:30:00Z",
    "as_ever": "2024-07-01T10:15:00+05:30",
}
ZONES = ["Europe/Oslo", "Pacific/Kiritimati", "America/St_Johns", "UTC"]

Score = Callable[..., pl.DataFrame]


@pytest.fixture
def scored(shop, tmp_path, monkeypatch) -> Score:
    """A function that scores orders in this process, whose zone is set first."""

    def score(orders: Path, *words: object, machine: str = "UTC") -> pl.DataFrame:
        out = tmp_path / "in-process" / "scores.parquet"
        monkeypatch.setenv("TZ", machine)
        time.tzset()
        told = ["repurchase", *map(str, shop.scoring(out, orders=orders)), *map(str, words)]
        monkeypatch.setattr(sys, "argv", told)
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return pl.read_parquet(out)

    yield score
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def instants(tmp_path) -> Path:
    """One customer for each instant."""
    rows = {"customer_id": list(INSTANTS), "order_date": list(INSTANTS.values()), "amount": ["10"] * len(INSTANTS)}
    pl.DataFrame(rows).write_csv(tmp_path / "instants.csv")
    return tmp_path / "instants.csv"


@pytest.mark.parametrize("zone", ZONES)
def test_days_are_counted_in_the_zone_of_the_setting(scored, instants, zone):
    expected = {
        name: datetime.fromisoformat(instant).astimezone(ZoneInfo(zone)).date() for name, instant in INSTANTS.items()
    }

    frames = [scored(instants, "--timezone", zone, machine=machine) for machine in ("Asia/Tokyo", "America/St_Johns")]

    assert frames[0].equals(frames[1])
    assert dict(frames[0].select("customer_id", "last_order_date").rows()) == expected


@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/St_Johns"])
def test_timestamps_of_parquet_too(scored, tmp_path, zone):
    stamps = pl.Series(list(INSTANTS.values())).str.to_datetime(time_zone="UTC")
    rows = {"customer_id": list(INSTANTS), "order_date": stamps, "amount": [10.0] * len(INSTANTS)}
    pl.DataFrame(rows).write_parquet(tmp_path / "instants.parquet")
    expected = {
        name: datetime.fromisoformat(instant).astimezone(ZoneInfo(zone)).date() for name, instant in INSTANTS.items()
    }

    scores = scored(tmp_path / "instants.parquet", "--timezone", zone, machine="Asia/Tokyo")

    assert dict(scores.select("customer_id", "last_order_date").rows()) == expected


def test_clock_times_of_the_night_that_has_an_hour_twice_or_not_at_all(scored, tmp_path):
    times = {"twice": "2024-10-27 02:30:00", "never": "2024-03-31 02:30:00", "midnight": "2024-03-31 00:00:00"}
    rows = {"customer_id": list(times), "order_date": list(times.values()), "amount": ["10"] * 3}
    pl.DataFrame(rows).write_csv(tmp_path / "times.csv")

    scores = scored(tmp_path / "times.csv", "--timezone", "Europe/Oslo", machine="America/St_Johns")

    assert dict(scores.select("customer_id", "last_order_date").rows()) == {
        name: date.fromisoformat(text[:10]) for name, text in times.items()
    }


def test_the_29th_of_february(scored, shop, tmp_path):
    rows = {"customer_id": ["a", "b"], "order_date": ["2024-02-28", "2024-02-29"], "amount": ["10", "10"]}
    pl.DataFrame(rows).write_csv(tmp_path / "leap.csv")

    on_the_day = scored(tmp_path / "leap.csv", "--as-of", "2024-02-29")
    after = scored(tmp_path / "leap.csv", "--as-of", "2024-03-01")

    assert on_the_day["as_of"].unique().to_list() == [date(2024, 2, 29)]
    assert on_the_day["days_since_last"].to_list() == [1, 0]
    assert after["days_since_last"].to_list() == [2, 1]
    missing = shop.run(*shop.scoring(tmp_path / "s.csv", orders=tmp_path / "leap.csv"), "--as-of", "2023-02-29")
    assert (missing.code, len(missing.said)) == (2, 1)


def test_whole_runs_are_equal_in_any_zone_of_the_machine(shop, undisturbed, tmp_path):
    for zone in ("UTC", "Asia/Tokyo"):
        out = tmp_path / zone / "scores.parquet"
        outcome = shop.run(*shop.scoring(out), env={"TZ": zone})
        assert outcome.code == 0, outcome.err
        shop.require_whole(out, undisturbed.scores)


CLOCK = """
import datetime, repurchase.orders.pipeline as pipeline
class Jumped(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat({now!r})
pipeline.datetime = Jumped
"""


@pytest.mark.parametrize("now", ["2025-05-14T22:00:00+00:00", "2199-01-01T00:00:00+00:00"])
def test_a_clock_that_has_jumped_changes_no_score(shop, undisturbed, tmp_path, now):
    out = tmp_path / "out" / "scores.parquet"

    outcome = shop.run(*shop.scoring(out), fault=shop.fault("sqlite3.connect", ".lock", CLOCK.format(now=now)))

    assert outcome.code == 0, outcome.err
    shop.require_whole(out, undisturbed.scores)


def test_a_clock_that_jumped_back_sets_later_orders_aside_and_says_so(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    fault = shop.fault("sqlite3.connect", ".lock", CLOCK.format(now="2025-04-29T12:00:00+00:00"))

    outcome = shop.run(*shop.scoring(out), fault=fault)

    assert outcome.code == 0, outcome.err
    run = shop.record(out)
    orders = pl.read_csv(shop.orders, infer_schema=False)
    future = orders.filter(pl.col("order_date") > "2025-04-30").height  # it is the 30th already where days begin first
    assert {why["reason"]: why["rows"] for why in run["cleaning"]["reasons"] if why["rows"]} == {"future_date": future}
    assert pl.read_parquet(out)["as_of"].max() == date(2025, 4, 30)


def test_a_clock_that_lost_its_battery_stops_the_run(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    fault = shop.fault("sqlite3.connect", ".lock", CLOCK.format(now=str(datetime(1970, 1, 2, tzinfo=UTC))))

    outcome = shop.run(*shop.scoring(out), fault=fault)

    assert outcome.code == 2, outcome.err
    assert len(outcome.said) == 1
    assert "a date in the future" in outcome.said[0]
    assert shop.visible(out.parent) == earlier
    assert shop.hidden(out.parent) == []
